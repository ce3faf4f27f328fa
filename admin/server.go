// Package admin is the Admin HTTP API.
//
// It knows routes, authentication, the entry envelope, conditional writes and how
// errors look. What a resource means is admin/resource's, how it is kept
// admin/store's. It opens no listener: cmd/admin serves the handler that New gives.
package admin

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"runtime/debug"
	"strings"
	"sync/atomic"
	"time"

	"aisix/admin/resource"
	"aisix/admin/store"
)

// MaxBody is the largest request body in bytes.
const MaxBody = 2 << 20

// Server is the Admin API as an http.Handler.
type Server struct {
	store     *store.Store
	usage     Usage
	cooling   Cooling
	key       [sha256.Size]byte // of the admin key
	sampleKey bool
	hosts     hosts
	grants    resource.Grants
	brake     *brake
	log       *slog.Logger
	now       func() time.Time
	random    io.Reader
	routes    []route
	draining  atomic.Bool
}

// Options are what a Server needs. Store and Key are required.
type Options struct {
	Store        *store.Store
	Usage        Usage           // nil: GET /admin/v1/usage is 404
	Cooling      Cooling         // nil: GET /admin/v1/health tells of no targets
	Key          string          // the admin key
	SampleKey    bool            // Key is the one that everybody knows: only requests of this machine may use it
	Address      string          // host:port where the API is reached: requests may name its host
	AllowedHosts []string        // further hosts that requests may name; "*" is any
	Grants       resource.Grants // what of extproc's host provider keys may use
	Log          *slog.Logger
	Now          func() time.Time                     // default time.Now
	After        func(time.Duration) <-chan time.Time // what the answer to a wrong key waits for; default time.After
	Random       io.Reader                            // of generated keys; default crypto/rand
}

// New makes a server.
func New(o Options) (*Server, error) {
	if o.Key == "" {
		return nil, errors.New("no admin key is configured: set admin.key")
	}
	s := &Server{store: o.Store, usage: o.Usage, cooling: o.Cooling, key: sha256.Sum256([]byte(o.Key)), sampleKey: o.SampleKey,
		hosts: newHosts(o.Address, o.AllowedHosts), grants: o.Grants, log: o.Log, now: o.Now, random: o.Random}
	if s.log == nil {
		s.log = slog.Default()
	}
	if s.now == nil {
		s.now = time.Now
	}
	if s.random == nil {
		s.random = rand.Reader
	}
	if o.After == nil {
		o.After = time.After
	}
	s.brake = newBrake(s.now, o.After)
	s.routes = s.table()
	return s, nil
}

// Drain makes /readyz fail from now on; everything else goes on being served.
func (s *Server) Drain() {
	if !s.draining.Swap(true) {
		close(s.brake.released)
	}
}

// ServeHTTP answers one request, and logs it once.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	start := s.now()
	a := &answer{ResponseWriter: w, unread: r.ContentLength != 0}
	defer func() {
		if cause := recover(); cause != nil {
			s.log.Error("panic in the Admin API", "error", cause, "stack", string(debug.Stack()))
			a.fail(asProblem(errors.New("panic")))
		}
		level := slog.LevelInfo
		if probe := r.URL.Path == "/livez" || r.URL.Path == "/readyz"; probe && a.status == http.StatusOK {
			level = slog.LevelDebug // health checks come all the time
		}
		s.log.Log(context.Background(), level, "admin request", "method", clip(r.Method), "path", clip(r.URL.Path), "status", a.status,
			"actor", a.actor, "client_address", r.RemoteAddr, "host", clip(r.Host), "duration_ms", s.now().Sub(start).Milliseconds())
	}()
	h := a.Header()
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	if err := s.serve(a, r); err != nil {
		p := asProblem(err)
		if p.status >= 500 && r.Context().Err() == nil {
			s.log.Error("admin request failed", "method", r.Method, "path", clip(r.URL.Path), "error", err)
		}
		a.fail(p)
	}
}

// serve is the story of one request.
func (s *Server) serve(a *answer, r *http.Request) error {
	route, id, err := s.match(r)
	if route == nil || !route.probe {
		if err := s.hosts.check(r); err != nil {
			return err
		}
	}
	if route == nil || route.role != anyone {
		var err error
		if a.actor, err = s.principal(r); err != nil {
			return err
		}
	}
	if err != nil {
		return err
	}
	action, err := route.action(r.Method)
	if err != nil {
		return err
	}
	if route.role != anyone { // probes may add what they like
		if err := action.checkQuery(r); err != nil {
			return err
		}
	}
	return action.do(a, &request{Request: r, id: id})
}

// clip is s as far as a log line holds what anybody may send.
func clip(s string) string {
	const most = 256
	if len(s) > most {
		return strings.ToValidUTF8(s[:most], "") + "…"
	}
	return s
}

// answer writes JSON once.
type answer struct {
	http.ResponseWriter
	actor  store.Actor // who asks; "" where that is not known, or a route is for anyone
	status int
	unread bool // the request has a body that nobody has read yet
}

func (a *answer) WriteHeader(status int) {
	a.status = status
	a.ResponseWriter.WriteHeader(status)
}

// json answers with v.
func (a *answer) json(status int, v any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return a.bytes(status, body)
}

func (a *answer) bytes(status int, body []byte) error {
	a.Header().Set("Content-Type", "application/json")
	a.WriteHeader(status)
	a.Write(body) // an error is the client leaving: nobody is there to be told
	return nil
}

// fail answers with a problem, unless an answer has begun.
func (a *answer) fail(p *problem) {
	if a.status != 0 {
		return
	}
	for name, values := range p.header {
		a.Header()[name] = values
	}
	if a.unread { // else net/http would wait for the body before it lets the answer go
		a.Header().Set("Connection", "close")
	}
	a.json(p.status, p)
}
