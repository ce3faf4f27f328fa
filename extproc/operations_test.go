package extproc_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"

	"aisix/admin/snapshot"
	"aisix/admin/store/redistest"
	"aisix/extproc"
	"aisix/extproc/chat"
	"aisix/extproc/exchange/exchangetest"
	"aisix/extproc/fault"
)

// telegrams is a dialect of its own: a header names the model, the body is what the
// user says, and an answer repeats that.
type telegrams struct{}

func (telegrams) Name() string { return "telegrams" }

func (telegrams) InStream(*fault.Error) bool { return false }

func (telegrams) IDHeader() string { return "" }

func (telegrams) Fault(f *fault.Error, _ string) (int, http.Header, []byte) {
	return f.Status, http.Header{"Content-Type": {"text/plain"}}, []byte("ALAS " + string(f.Kind))
}

func (telegrams) Parse(h chat.Header, body []byte) (chat.Asked, error) {
	to := h.Values("To")
	if len(to) != 1 {
		return nil, fault.Invalid("to", "name one model")
	}
	return &telegram{model: to[0], text: string(body), stream: len(h.Values("Word-By-Word")) > 0}, nil
}

type telegram struct {
	model, text string
	stream      bool
}

func (m *telegram) Model() string { return m.model }

func (*telegram) Forget() {}

func (*telegram) Retold(f *fault.Error) *fault.Error { return f }

func (*telegram) Verbatim(chat.API) *chat.Verbatim { return nil }

func (m *telegram) Request([]string) (*chat.Request, error) {
	if m.text == "" {
		return nil, fault.Invalid("text", "say something")
	}
	return &chat.Request{Stream: m.stream, Messages: []chat.Message{{Role: chat.User, Blocks: []chat.Block{chat.Text{Text: m.text}}}}}, nil
}

func (m *telegram) Whole(_ chat.Heading, r *chat.Response) ([]byte, error) {
	return fmt.Appendf(nil, "RE %s %s", m.text, r.Blocks), nil
}

func (m *telegram) Stream(chat.Heading) chat.Writer { return wire{} }

type wire struct{}

func (wire) Append(dst []byte, e chat.Event) ([]byte, error) {
	if text, ok := e.(chat.TextDelta); ok {
		dst = append(dst, text.Text+" STOP "...)
	}
	return dst, nil
}
func (wire) Idle(dst []byte) []byte                  { return append(dst, "HOLD "...) }
func (wire) Finish(dst []byte) ([]byte, error)       { return append(dst, "END"...), nil }
func (wire) Fault(dst []byte, f *fault.Error) []byte { return append(dst, "ALAS "+string(f.Kind)...) }

// telegraph is a server that has a row for telegrams.
func telegraph(t *testing.T, model string, change func(*extproc.Parts)) *caller {
	c := server(t, model, change)
	c.Converse("/telegrams", telegrams{})
	return c
}

// Whatever is wrong is told in the dialect of the operation that was asked for, be it
// before anything is known of the caller; elsewhere, in OpenAI's.
func TestFaultsAreInTheOperationsDialect(t *testing.T) {
	const model = `{"display_name":"here","model_name":"amazon.nova-pro-v1:0","rate_limit":{"rpm":0}}`
	c := telegraph(t, model, func(p *extproc.Parts) { p.Limiter = newGrants(t, redistest.Start(t).Client()) })
	unready := telegraph(t, "", func(p *extproc.Parts) { p.Snapshots = new(snapshot.Holder) })
	full := telegraph(t, "", func(p *extproc.Parts) { p.Config.MaxBufferedBytes = 1 })
	broken := telegraph(t, "", nil)
	broken.upstream = exchangetest.Reply{Status: 500}
	for _, test := range []struct {
		name, method, path, body string
		header                   []string
		caller                   *caller
		status                   int
		kind                     fault.Kind
	}{
		{"no key", "POST", "/telegrams", "hi", []string{"authorization", ""}, c, 401, fault.InvalidAPIKey},
		{"wrong key", "POST", "/telegrams", "hi", []string{"authorization", "Bearer no"}, c, 401, fault.InvalidAPIKey},
		{"no configuration", "POST", "/telegrams", "hi", nil, unready, 503, fault.GatewayUnavailable},
		{"no room", "POST", "/telegrams", "hi", nil, full, 503, fault.Overloaded},
		{"too long", "POST", "/telegrams", strings.Repeat("x", 2<<20), nil, c, 413, fault.InvalidRequest},
		{"packed in a way of its own", "POST", "/telegrams", "hi", []string{"content-encoding", "br"}, c, 415, fault.InvalidRequest},
		{"no model", "POST", "/telegrams", "hi", nil, c, 400, fault.InvalidRequest},
		{"unknown model", "POST", "/telegrams", "hi", []string{"to", "there"}, c, 404, fault.ModelNotFound},
		{"forbidden model", "POST", "/telegrams", "hi", []string{"to", "here", "authorization", "Bearer sk-narrow"}, c, 403, fault.PermissionDenied},
		{"limit", "POST", "/telegrams", "hi", []string{"to", "here"}, c, 429, fault.RateLimited},
		{"upstream", "POST", "/telegrams", "hi", []string{"to", "amazon.nova-pro-v1:0"}, broken, 502, fault.Upstream},
		{"wrong method", "GET", "/telegrams", "", nil, c, 405, fault.InvalidRequest},
		{"unknown path", "POST", "/telexes", "hi", nil, c, 404, "openai"},
		{"no key, unknown path", "POST", "/telexes", "hi", []string{"authorization", ""}, c, 401, "openai"},
	} {
		a := test.caller.ask(test.method, test.path, test.body, test.header...)
		want := "ALAS " + string(test.kind)
		if test.kind == "openai" {
			want = `{"error":{"message":`
		}
		if a.Status != test.status || !strings.HasPrefix(string(a.Body), want) {
			t.Errorf("%s: %d %s, want %d %s", test.name, a.Status, a.Body, test.status, want)
		}
	}
}

// What was asked knows how it is answered, whole and as a stream, to a bad end too.
func TestAnswersAreInTheOperationsDialect(t *testing.T) {
	c := telegraph(t, "", nil)
	if a := c.ask("POST", "/telegrams", "hi", "to", "amazon.nova-pro-v1:0"); a.Status != 200 || string(a.Body) != "RE hi [{Hello.}]" {
		t.Errorf("%d %s", a.Status, a.Body)
	}
	streamed := func(dir string) *exchangetest.Answer {
		c.upstream = reply(t, "testdata/converse/"+dir)
		return c.ask("POST", "/telegrams", "hi", "to", "amazon.nova-pro-v1:0", "word-by-word", "yes")
	}
	if a := streamed("converse_stream"); a.Status != 200 || !strings.HasSuffix(string(a.Body), " STOP END") {
		t.Errorf("%d %s", a.Status, a.Body)
	}
	if a := streamed("stream_corrupt"); a.Status != 200 || !strings.HasSuffix(string(a.Body), " STOP ALAS upstream_error") {
		t.Errorf("%d %s", a.Status, a.Body)
	}
}

// A silence is filled in the words of the dialect.
func TestSilenceIsFilledInTheOperationsDialect(t *testing.T) {
	c := telegraph(t, "", func(p *extproc.Parts) { p.Config.KeepAlive = time.Millisecond })
	s := exchangetest.New(t)
	returned := make(chan error, 1)
	go func() { returned <- c.Process(s) }()
	s.Put(exchangetest.First(exchangetest.RequestHeaders(false, ":method", "POST", ":path", "/telegrams", "authorization", "Bearer "+plaintext,
		"to", "amazon.nova-pro-v1:0", "word-by-word", "yes"), exchangetest.FullDuplex))
	s.Put(exchangetest.RequestBody([]byte("hi"), true))
	s.Put(exchangetest.Attribute(exchangetest.ResponseHeaders(false, ":status", "200", "content-type", "application/vnd.amazon.eventstream"), "response.code_details", "via_upstream"))
	s.Put(exchangetest.ResponseBody(frames(t, `{"type":"messageStart","payload":{"role":"assistant"}}
{"type":"contentBlockDelta","payload":{"contentBlockIndex":0,"delta":{"text":"Hello"}}}`), false))
	said := ""
	for !strings.Contains(said, "Hello STOP HOLD ") {
		m := s.Next()
		if m == nil {
			break
		}
		if r, ok := m.GetResponse().(*extprocv3.ProcessingResponse_ResponseBody); ok {
			said += string(r.ResponseBody.GetResponse().GetBodyMutation().GetStreamedResponse().GetBody())
		}
	}
	s.Reset()
	<-returned
}

// An unknown path is told what there is: what the table has, but for the probes.
func TestUnknownPathListsTheTable(t *testing.T) {
	c := telegraph(t, "", nil)
	var body struct{ Error struct{ Message string } }
	if err := json.Unmarshal(c.ask("GET", "/v2", "").Body, &body); err != nil {
		t.Fatal(err)
	}
	list, ok := strings.CutPrefix(body.Error.Message, "unknown endpoint; this gateway serves ")
	if !ok || !strings.HasSuffix(list, "GET /v1/models, GET /v1/models/{id} and POST /v1/responses") {
		t.Error(body.Error.Message)
	}
	list = strings.ReplaceAll(list, ",", "") + " "
	for path, methods := range c.Table() {
		if path == "/v1/models/" {
			path += "{id}"
		}
		for _, method := range methods {
			if listed := strings.Contains(list, method+" "+path+" "); listed == strings.HasSuffix(path, "z") {
				t.Errorf("%s %s is listed: %t", method, path, listed)
			}
		}
	}
}
