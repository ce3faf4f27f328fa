package extproc_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"aisix/extproc"
	"aisix/extproc/exchange/exchangetest"
	"aisix/extproc/usage"
)

// What a refusal has to say is not waited for as an answer is, which models take minutes to write: its
// status has told what happened, and the next target is asked. A good status that is followed by
// nothing has told nothing.
func TestARefusalThatHangsIsNotWaitedFor(t *testing.T) {
	hangs := func(status int, contentType, begins string) heard {
		return func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", contentType)
			w.WriteHeader(status)
			io.WriteString(w, begins)
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		}
	}
	for _, stream := range []bool{false, true} {
		cases := map[string]struct {
			says   heard
			reason string
		}{
			"500 alone":    {hangs(500, "application/json", ""), "server_error"},
			"503 and half": {hangs(503, "application/json", `{"mess`), "overloaded"},
			"429 and half": {hangs(429, "application/json", `{"mess`), "throttled"},
			"202":          {hangs(202, "application/json", `{`), "server_error"},
			"503 drips": {func(w http.ResponseWriter, r *http.Request) {
				w.WriteHeader(503)
				drips("text/plain", bytes.Repeat([]byte("x"), 1<<20))(w, r)
			}, "overloaded"},
		}
		if stream { // of an answer that is no stream it would be the beginning
			cases["no stream"] = struct {
				says   heard
				reason string
			}{hangs(200, "application/json", novaWhole[:20]), "timeout"}
		}
		for name, test := range cases {
			t.Run(fmt.Sprint(name, stream), func(t *testing.T) {
				t.Parallel()
				brief := func(p *extproc.Parts) { p.Config.ErrorWait = 50 * time.Millisecond }
				c, side := places(t, `"routing":{"first_byte_timeout":3600000}`, brief, test.says, speaks(t, stream))
				a := c.ask("POST", doors[0].path, fmt.Sprintf(doors[0].body, stream))
				if a.Status != 200 || !bytes.Contains(a.Body, []byte("Hello.")) || len(side.requests()) != 2 || a.Header.Get("x-aisix-target") != "west" {
					t.Errorf("%d upstream calls, %+v\n%s", len(side.requests()), a, a.Body)
				}
				if f := c.one(t); len(f.Tries) != 2 || f.Tries[0].Reason != test.reason || f.Outcome != usage.Succeeded {
					t.Errorf("%+v", f)
				}
				c.idle()
			})
		}
	}
}

// The same of the caller's own request, and of a model that is asked once.
func TestARefusalThatHangsReachesTheCaller(t *testing.T) {
	for _, stream := range []bool{false, true} {
		c := server(t, "", func(p *extproc.Parts) { p.Config.ErrorWait = 50 * time.Millisecond })
		s := exchangetest.New(t)
		returned := make(chan error, 1)
		go func() { returned <- c.Process(s) }()
		s.Put(exchangetest.First(exchangetest.RequestHeaders(false, ":method", "POST", ":path", "/v1/chat/completions", "authorization", "Bearer "+plaintext), exchangetest.FullDuplex))
		s.Put(exchangetest.RequestBody(fmt.Appendf(nil, `{"model":"amazon.nova-pro-v1:0","stream":%v,"messages":[{"role":"user","content":"Hi"}]}`, stream), true))
		s.Put(exchangetest.Attribute(exchangetest.ResponseHeaders(false, ":status", "500", "content-type", "application/json"), "response.code_details", "via_upstream"))
		s.Put(exchangetest.ResponseBody([]byte(`{"mess`), false))
		select {
		case err := <-returned:
			if err != nil {
				t.Error(err)
			}
		case <-time.After(20 * time.Second):
			t.Fatal("the call did not end within 20 s")
		}
		if f := c.one(t); f.Status != 502 || f.Outcome != usage.Failed || f.ErrorType != "upstream_error" || len(f.Tries) != 1 || !strings.Contains(f.Tries[0].Reason, "server_error") {
			t.Errorf("stream %v: %+v", stream, f)
		}
		c.idle()
	}
}
