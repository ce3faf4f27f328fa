package exchange_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"aisix/extproc/exchange"
)

// flood is what a caller or an upstream tries to get rid of, in bytes, and spare
// is what of it may stand in sockets and buffers, and the most that Envoy may
// grow by.
const (
	flood = 200 << 20
	spare = 48 << 20
)

// pour writes flood to w and counts what was taken.
func pour(w io.Writer, taken *atomic.Int64, frame func(piece string) string) error {
	piece := strings.Repeat("x", 64<<10)
	framed := frame(piece)
	for taken.Load() < flood {
		if _, err := io.WriteString(w, framed); err != nil {
			return err
		}
		taken.Add(int64(len(piece)))
	}
	return nil
}

func plain(piece string) string   { return piece }
func chunked(piece string) string { return fmt.Sprintf("%x\r\n%s\r\n", len(piece), piece) }

// stands waits until nothing more is taken.
func stands(taken *atomic.Int64) int64 {
	for last := int64(-1); ; time.Sleep(250 * time.Millisecond) {
		now := taken.Load()
		if now == last && now > 0 || now >= flood {
			return now
		}
		last = now
	}
}

func dial(t *testing.T, address string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(30 * time.Second))
	return c
}

// A body that is far too large is refused without reading it all, in bounded
// memory, and the caller gets to see the answer.
func sceneFlood(s *scene) {
	s.handle(func(x *exchange.Exchange) error {
		if _, err := x.Header(x.Context()); err != nil {
			return err
		}
		switch _, err := x.ReadBody(x.Context(), exchange.Intake{Limit: limit}); {
		case errors.Is(err, exchange.ErrAnswered): // Envoy buffers, and has a limit of its own
			return x.Pass(x.Context(), nil)
		case err != exchange.ErrTooLarge:
			return fmt.Errorf("ReadBody: %v", err)
		}
		return x.Reject(413, ours("content-type", "application/json"), []byte("{}"))
	})
	before := s.envoys[s.mode].Memory(s.T)
	for name, framing := range map[string]struct {
		header string
		frame  func(string) string
	}{
		"content-length": {fmt.Sprintf("content-length: %d", flood), plain},
		"chunked":        {"transfer-encoding: chunked", chunked},
	} {
		c := dial(s.T, s.envoys[s.mode].Address(s.T, "callers"))
		var taken atomic.Int64
		wrote := make(chan error, 1)
		go func() {
			io.WriteString(c, "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\n"+framing.header+"\r\n\r\n")
			wrote <- pour(c, &taken, framing.frame)
		}()
		r, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil || r.StatusCode != 413 || r.Header.Get("content-type") != "application/json" {
			s.Fatalf("%s: %v %v", name, r, err)
		}
		if err := <-wrote; err == nil {
			s.Errorf("%s: all of it was read", name)
		}
		if n := taken.Load(); n > spare+limit {
			s.Errorf("%s: %d MB were read", name, n>>20)
		}
		s.want(nil, nil)
	}
	s.grown(before)
}

func (s *scene) grown(before int) {
	s.Helper()
	if grown := s.envoys[s.mode].Memory(s.T) - before; grown > spare {
		s.Errorf("Envoy grew by %d MB", grown>>20)
	}
}

// A handler that does not read slows the caller down.
func sceneSlowHandler(s *scene) {
	if s.mode != "FULL_DUPLEX_STREAMED" {
		s.Skip("a buffered body has a limit instead")
	}
	release := make(chan struct{})
	s.handle(func(x *exchange.Exchange) error {
		if _, err := x.Header(x.Context()); err != nil {
			return err
		}
		<-release
		_, err := x.ReadBody(x.Context(), exchange.Intake{Limit: flood})
		return err
	})
	before := s.envoys[s.mode].Memory(s.T)
	c := dial(s.T, s.envoys[s.mode].Address(s.T, "callers"))
	var taken atomic.Int64
	go func() {
		fmt.Fprintf(c, "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n", flood)
		pour(c, &taken, plain)
	}()
	if n := stands(&taken); n > spare {
		s.Errorf("%d MB were taken of a body that nobody reads", n>>20)
	}
	s.grown(before)
	c.Close()
	close(release)
	s.want(exchange.ErrReset, nil)
}

// A caller who does not read slows the upstream down, through Envoy and the
// exchange.
func sceneSlowCaller(s *scene) {
	var taken atomic.Int64
	host := s.upstream(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		pour(w, &taken, plain)
	})
	s.handle(func(x *exchange.Exchange) error { return relay(x, host) })
	before := s.envoys[s.mode].Memory(s.T)
	c := dial(s.T, s.envoys[s.mode].Address(s.T, "callers"))
	io.WriteString(c, "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n{}")
	if n := stands(&taken); n > spare {
		s.Errorf("%d MB were taken of an answer that nobody reads", n>>20)
	}
	s.grown(before)
	c.Close()
	s.want(exchange.ErrReset, nil)
}

// A caller who stops in the middle of a body gets Envoy's answer, which the
// handler passes on; the exchange does not wait for ever.
func sceneHalfBody(s *scene) {
	s.handle(func(x *exchange.Exchange) error {
		if _, err := x.Header(x.Context()); err != nil {
			return err
		}
		if _, err := x.ReadBody(x.Context(), exchange.Intake{Limit: limit}); !errors.Is(err, exchange.ErrAnswered) {
			return fmt.Errorf("ReadBody: %v", err)
		}
		return x.Pass(x.Context(), nil)
	})
	var waiting []net.Conn
	for _, half := range []string{
		"content-length: 10\r\n\r\n{",
		"transfer-encoding: chunked\r\n\r\n1\r\n{\r\n",
		"content-length: 10\r\n\r\n",
	} {
		c := dial(s.T, s.envoys[s.mode].Address(s.T, "callers"))
		io.WriteString(c, "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\n"+half)
		waiting = append(waiting, c)
	}
	for i, c := range waiting {
		r, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil || r.StatusCode != 408 {
			s.Fatalf("%d: %v %v", i, r, err)
		}
		s.want(nil, nil)
	}
}
