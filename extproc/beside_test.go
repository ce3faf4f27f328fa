package extproc_test

import (
	"bytes"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"aisix/extproc/egress"
	"aisix/extproc/exchange"
	"aisix/extproc/exchange/exchangetest"
)

// sideDoor stands in for Envoy's egress listener: answer says what the upstream does with a
// request, or with an empty Details of its header x-aisix-details what Envoy does.
type sideDoor struct {
	client *egress.Client
	mu     sync.Mutex
	seen   []*exchangetest.Forwarded
}

func openSideDoor(t *testing.T, answer func(body []byte, w http.ResponseWriter, r *http.Request)) *sideDoor {
	t.Helper()
	dir, err := os.MkdirTemp("", "e") // a socket's path has to be short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	path := filepath.Join(dir, "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	d := &sideDoor{client: egress.New(egress.Options{Network: "unix", Address: path})}
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		f := &exchangetest.Forwarded{Method: r.Method, Path: r.RequestURI, Authority: r.Header.Get(exchange.HostHeader), Header: r.Header.Clone(), Body: body}
		f.Header.Del(exchange.EgressHeader)
		f.Header.Del(exchange.HostHeader)
		f.Header.Set("Content-Length", r.Header.Get("Content-Length"))
		d.mu.Lock()
		d.seen = append(d.seen, f)
		d.mu.Unlock()
		w.Header().Set("X-Aisix-Details", "via_upstream")
		answer(body, w, r)
	}))
	s.Listener.Close()
	s.Listener = l
	s.Start()
	t.Cleanup(func() { d.client.Close(); s.CloseClientConnections(); s.Close() })
	return d
}

// requests are those that came, by their bodies.
func (d *sideDoor) requests() []*exchangetest.Forwarded {
	d.mu.Lock()
	defer d.mu.Unlock()
	all := slices.Clone(d.seen)
	slices.SortFunc(all, func(a, b *exchangetest.Forwarded) int { return bytes.Compare(a.Body, b.Body) })
	return all
}

// replies has the upstream answer as the files of a case say: a request with a text in it by
// reply.<text>.json, under the head of reply.<text>.head. nil where the case has none.
func replies(t *testing.T, dir string) *sideDoor {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "reply.*.json"))
	if err != nil {
		t.Fatal(err)
	}
	if len(files) == 0 {
		return nil
	}
	var all sync.WaitGroup // of the calls: none is answered before they are made, so that a failure keeps none back
	all.Add(len(files))
	return openSideDoor(t, func(body []byte, w http.ResponseWriter, _ *http.Request) {
		all.Done()
		all.Wait()
		for _, file := range files {
			name := strings.TrimSuffix(filepath.Base(file), ".json")
			if text := strings.TrimPrefix(name, "reply."); !bytes.Contains(body, []byte(`"`+text+`"`)) {
				continue
			}
			r := replyNamed(t, dir, name)
			for key, values := range r.Header {
				w.Header()[key] = values
			}
			w.WriteHeader(max(r.Status, 200))
			w.Write(r.Body)
			return
		}
		t.Errorf("no file answers %s", body)
	})
}
