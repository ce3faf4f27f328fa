package exchange_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"aisix/extproc/exchange"
)

// scenePasses is an answer whose body we do not see: counted, gathered where it is not what it
// should be, broken off by us.
func scenePasses(s *scene) {
	const events = `data: {"id":"1","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{"content":"x"}}]}` + "\n\n"
	const usage = `data: {"id":"1","object":"chat.completion.chunk","created":1,"model":"m","choices":[],"usage":{"prompt_tokens":7,"completion_tokens":5,"total_tokens":12}}` + "\n\ndata: [DONE]\n\n"
	host := s.upstream(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		w.Header().Set("Content-Type", "text/event-stream")
		w.Header().Set("X-Theirs", "1")
		io.WriteString(w, events)
		w.(http.Flusher).Flush()
		if string(b) == "HANG" {
			<-r.Context().Done()
			return
		}
		io.WriteString(w, usage)
	})
	var counted exchange.Counted
	let := func(pass bool) func(x *exchange.Exchange) error {
		return func(x *exchange.Exchange) error {
			ctx := x.Context()
			if _, err := x.Header(ctx); err != nil {
				return err
			}
			body, err := x.ReadBody(ctx, exchange.Intake{Limit: limit})
			if err != nil {
				return err
			}
			if err := x.Forward(ctx, exchange.Request{Host: host, Path: "/", Egress: "plaintext", Body: []byte(strings.ToUpper(string(body.Bytes()))), LetPass: true}); err != nil {
				return err
			}
			if _, err := x.Response(ctx); err != nil {
				return err
			}
			if x.Passes() != (s.mode == "counting") {
				return fmt.Errorf("Passes: %v", x.Passes())
			}
			if !x.Passes() || !pass {
				b, err := io.ReadAll(x)
				if err != nil || string(b) != events+usage {
					return fmt.Errorf("%q, %v", b, err)
				}
				if err := x.Respond(200, ours()); err != nil {
					return err
				}
				return x.Finish(b)
			}
			if err := x.LetPass(200, ours("x-ours", "1")); err != nil {
				return err
			}
			waiting, cancel := context.WithTimeout(ctx, 10*time.Second)
			if string(body.Bytes()) == "hang" {
				waiting, cancel = context.WithTimeout(ctx, 50*time.Millisecond)
			}
			defer cancel()
			if counted, err = x.Counted(waiting); errors.Is(err, context.DeadlineExceeded) {
				x.Abort(err)
				return nil
			}
			if err != nil {
				return err
			}
			return x.Finish(nil)
		}
	}
	for _, pass := range []bool{true, false} {
		s.handle(let(pass))
		r, b, err := s.do("POST", strings.NewReader("body"))
		if err != nil || r.StatusCode != 200 || string(b) != events+usage || r.Header.Get("x-theirs") != "" {
			s.Fatalf("%v %q %v", r, b, err)
		}
		s.want(nil, nil)
	}
	if s.mode != "counting" {
		return
	}
	if counted.Input == nil || *counted.Input != 7 || counted.Output == nil || *counted.Output != 5 {
		s.Errorf("counted %+v", counted)
	}
	s.handle(let(true))
	if r, b, err := s.do("POST", strings.NewReader("hang")); err == nil {
		s.Errorf("broken off, and looks whole: %v %q", r, b)
	}
	s.want(nil, errAny)
}
