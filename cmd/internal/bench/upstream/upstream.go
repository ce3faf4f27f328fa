// Package upstream is a Bedrock that costs as little as one can: InvokeModel and
// Converse, whole and streamed, and the streams of Messages and Responses, with answers
// that were made before.
//
// It reads each request to its end and refuses one that is not signed (though it
// checks no signature: the simulator does) or that is no JSON object by its ends. It
// counts what it answered, so that a gateway cannot look fast by not asking. It runs
// as a process of its own, so that its CPU is not the gateway's.
package upstream

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Paths of what is not Bedrock's.
const (
	SettingsPath = "/settings" // POST: Settings
	ReleasePath  = "/release"  // POST: let go what Settings.Hold holds
	CountPath    = "/count"    // GET: Count
)

// Count is what was answered since the start.
type Count struct {
	Answered int64 `json:"answered"` // to the end
	Refused  int64 `json:"refused"`
}

// Serve answers on l until that fails, and on secure, which speaks TLS, HTTP/2 too.
func Serve(l, secure net.Listener) error {
	u := &upstream{}
	u.set(Settings{Deltas: 1})
	server := &http.Server{Handler: u, ReadHeaderTimeout: time.Minute}
	failed := make(chan error, 2)
	go func() { failed <- server.Serve(secure) }()
	go func() { failed <- server.Serve(l) }()
	return <-failed
}

type upstream struct {
	state    atomic.Pointer[state]
	answered atomic.Int64
	refused  atomic.Int64
}

// state is what settings decide.
type state struct {
	Settings
	answers  map[string]*answer
	released chan struct{}
	release  func()
}

func (u *upstream) set(s Settings) {
	next := &state{Settings: s, answers: answers(s), released: make(chan struct{})}
	next.release = sync.OnceFunc(func() { close(next.released) })
	u.state.Store(next)
}

func (u *upstream) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case SettingsPath:
		var s Settings
		if err := json.NewDecoder(r.Body).Decode(&s); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		u.set(s)
	case ReleasePath:
		u.state.Load().release()
	case CountPath:
		json.NewEncoder(w).Encode(Count{u.answered.Load(), u.refused.Load()}) //nolint:errcheck // who asked is gone
	default:
		if err := u.model(w, r); err != nil {
			u.refused.Add(1)
			return
		}
		u.answered.Add(1)
	}
}

// model answers /model/{id}/{operation}, and bedrock-mantle's paths. Its error is that of a request that was not
// answered in full.
func (u *upstream) model(w http.ResponseWriter, r *http.Request) error {
	s := u.state.Load()
	read := drain(r.Body)
	path := r.URL.EscapedPath()
	a := s.answers[path[strings.LastIndexByte(path, '/')+1:]]
	switch {
	case read != nil:
		return refuse(w, http.StatusBadRequest, "ValidationException", read)
	case !strings.HasPrefix(r.Header.Get("Authorization"), "AWS4-HMAC-SHA256 ") || r.Header.Get("X-Amz-Date") == "":
		return refuse(w, http.StatusForbidden, "MissingAuthenticationTokenException", errors.New("not signed"))
	case a == nil || a.contentType != sseStream && !strings.HasPrefix(path, "/model/"):
		return refuse(w, http.StatusNotFound, "UnknownOperationException", fmt.Errorf("no operation at %s", path))
	}
	h := w.Header()
	h["Content-Type"] = []string{a.contentType}
	h["X-Amzn-Requestid"] = []string{"5b1cbe5f-0a3b-4f0b-9d0e-3f2d7c1a9e10"}
	if a.whole != nil {
		h["Content-Length"] = []string{strconv.Itoa(len(a.whole))}
		_, err := w.Write(a.whole)
		return err
	}
	return s.stream(w, r, a)
}

// stream writes the events: those before the first delta and after the last at once,
// the deltas at their pace.
func (s *state) stream(w http.ResponseWriter, r *http.Request, a *answer) error {
	controller := http.NewResponseController(w)
	next := time.Now()
	for i, event := range a.events {
		delta := i - a.first
		if delta > 0 && delta < s.Deltas {
			next = next.Add(s.Interval)
			time.Sleep(time.Until(next))
		}
		if s.Hold > 0 && delta == s.Hold {
			select {
			case <-s.released:
			case <-r.Context().Done():
				return r.Context().Err()
			}
			next = time.Now()
		}
		if _, err := w.Write(event); err != nil {
			return err
		}
		if err := controller.Flush(); err != nil {
			return err
		}
	}
	return nil
}

var buffers = sync.Pool{New: func() any { return new([64 << 10]byte) }}

// drain reads a body to its end, and says whether it may be a JSON object.
func drain(body io.Reader) error {
	buffer := buffers.Get().(*[64 << 10]byte)
	defer buffers.Put(buffer)
	var first, last byte
	for {
		n, err := body.Read(buffer[:])
		if n > 0 {
			if last = buffer[n-1]; first == 0 {
				first = buffer[0]
			}
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
	}
	if first != '{' || last != '}' {
		return errors.New("the body is no JSON object")
	}
	return nil
}

func refuse(w http.ResponseWriter, status int, kind string, err error) error {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Amzn-Errortype", kind)
	w.WriteHeader(status)
	w.Write(marshal(object{"message": err.Error()})) //nolint:errcheck // who asked is gone
	return err
}
