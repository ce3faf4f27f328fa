package exchange_test

import (
	"bytes"
	"io"
	"net"
	"net/http"
	"runtime/pprof"
	"strings"
	"sync"
	"testing"
	"time"

	"aisix/extproc/exchange"
)

// Callers who leave in every phase, many at once, leave no goroutine behind.
func sceneLeftovers(s *scene) {
	host := s.upstream(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		if bytes.Contains(b, []byte("STREAM")) {
			io.WriteString(w, "event")
			w.(http.Flusher).Flush()
		}
		<-r.Context().Done()
	})
	s.handle(func(x *exchange.Exchange) error { return relay(x, host) })
	address := s.envoys[s.mode].Address(s.T, "callers")
	const head = "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: 6\r\n\r\n"
	phases := []struct{ request, answer string }{
		{head, ""},                   // the header alone
		{head + "str", ""},           // half a body
		{head + "silent", ""},        // the upstream thinks
		{head + "stream", "HTTP/1."}, // the answer has begun
	}
	const each = 20
	var all sync.WaitGroup
	for _, phase := range phases {
		for range each {
			all.Go(func() {
				c, err := net.Dial("tcp", address)
				if err != nil {
					s.Error(err)
					return
				}
				defer c.Close()
				io.WriteString(c, phase.request)
				if _, err := io.ReadFull(c, make([]byte, len(phase.answer))); err != nil {
					s.Error(err)
				}
			})
		}
	}
	all.Wait()
	// Callers who were gone before Envoy looked have no stream.
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		left := running()
		if left == "" {
			break
		}
		if time.Now().After(deadline) {
			s.Fatalf("still running:\n%s", left)
		}
	}
	for len(s.results) > 0 {
		<-s.results
	}
}

// running are the stacks of all goroutines of this package's.
func running() string {
	var all bytes.Buffer
	pprof.Lookup("goroutine").WriteTo(&all, 2)
	var ours []string
	for _, stack := range strings.Split(all.String(), "\n\n") {
		if strings.Contains(stack, "exchange.(*Exchange)") || strings.Contains(stack, "exchange_test.(*gateway)") {
			ours = append(ours, stack)
		}
	}
	return strings.Join(ours, "\n\n")
}

// A handler that panics, in the middle of anything, leaves no goroutine either.
func TestPanicLeavesNothing(t *testing.T) {
	s, x := begin(t, false)
	func() {
		defer func() { recover() }()
		defer x.Close()
		panic("as told")
	}()
	s.Reset() // gRPC ends the stream when its handler returns
	for deadline := time.Now().Add(10 * time.Second); running() != ""; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("still running:\n%s", running())
		}
	}
}
