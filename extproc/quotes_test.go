package extproc_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"testing"

	"aisix/extproc"
	"aisix/extproc/exchange/exchangetest"
)

// What AWS quotes of a request is for no log: at each door, by each way of asking, refused or broken off,
// of long requests too, of which nothing is kept once the answer has begun. What AWS says itself is.
func TestNoLogQuotesARequest(t *testing.T) {
	const nova = "amazon.nova-pro-v1:0"
	const said = "Where is my submarine parked?"
	refused := func(message string) exchangetest.Reply {
		return exchangetest.Reply{Status: 400, Header: http.Header{"Content-Type": {"application/json"}, "X-Amzn-Errortype": {"ValidationException"}},
			Body: fmt.Appendf(nil, `{"message":%q}`, message)}
	}
	brokenOff := exchangetest.Reply{Header: http.Header{"Content-Type": {"application/vnd.amazon.eventstream"}},
		Body: frames(t, textFrames+"\n"+`{"type":"modelStreamErrorException","payload":{"message":"The model returned the following errors: '`+said+`' is bad"}}`)}
	one := func(said string) string { return `[{"role":"user","content":"` + said + `"}]` }
	long := strings.Repeat("Where is it? ", 2000) + said
	for _, test := range []struct {
		name, path, model, body string
		upstream                exchangetest.Reply
		want                    string
	}{
		{"chat", "/v1/chat/completions", nova, `"messages":` + one(said), refused("Value '" + said + "' at 'messages' failed"), "Value '[quoted from the request]' at 'messages' failed"},
		{"messages", "/v1/messages", claude, `"max_tokens":5,"messages":` + one(said), refused("messages.0.content: '" + said + "' failed"), "messages.0.content: '[quoted from the request]' failed"},
		{"messages, long", "/v1/messages", claude, `"max_tokens":5,"messages":` + one(long), refused("messages.0.content: '" + said + "' failed"), "messages.0.content: '[quoted from the request]' failed"},
		{"messages on mantle", "/v1/messages", claude + `","api":"messages","host":"mantle`, `"max_tokens":5,"messages":` + one(said), refused("messages.0.content: '" + said + "' failed"), "messages.0.content: '[quoted from the request]' failed"},
		{"count_tokens", "/v1/messages/count_tokens", claude, `"messages":` + one(said), refused("messages.0.content: '" + said + "' failed"), "messages.0.content: '[quoted from the request]' failed"},
		{"responses", "/v1/responses", `openai.gpt-oss-120b","api":"responses","host":"mantle`, `"input":"` + said + `"`, refused("Invalid 'input': '" + said + "'"), "Invalid 'input': '[quoted from the request]'"},
		{"responses, translated", "/v1/responses", nova, `"input":"` + said + `"`, refused("Value '" + said + "' at 'messages' failed"), "Value '[quoted from the request]' at 'messages' failed"},
		{"embeddings", "/v1/embeddings", titan, `"input":"` + said + `"`, refused("Value '" + said + "' at 'inputText' failed"), "Value '[quoted from the request]' at 'inputText' failed"},
		{"a stream", "/v1/chat/completions", nova, `"stream":true,"messages":` + one(said), brokenOff, "The model returned the following errors: '[quoted from the request]' is bad"},
		{"a stream, long", "/v1/chat/completions", nova, `"stream":true,"messages":` + one(long), brokenOff, "The model returned the following errors: [not kept: it may quote the request]"},
	} {
		var log bytes.Buffer
		c := server(t, `{"display_name":"here","model_name":"`+test.model+`"}`, func(p *extproc.Parts) {
			p.Log = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
		})
		c.upstream = test.upstream
		a := c.ask("POST", test.path, `{"model":"here",`+test.body+`}`)
		call := c.one(t)
		told := fmt.Sprint(call.Err, call.Notes, log.String())
		if strings.Contains(told, "submarine") || !strings.Contains(fmt.Sprint(call.Err), test.want) {
			t.Errorf("%s: %d %s\n told %s\n want %q", test.name, a.Status, a.Body, told, test.want)
		}
	}
}
