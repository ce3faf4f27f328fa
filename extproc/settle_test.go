package extproc_test

import (
	"bytes"
	"cmp"
	"errors"
	"net/http"
	"strconv"
	"testing"
	"time"

	"aisix/admin/store/redistest"
	"aisix/extproc"
	"aisix/extproc/exchange/exchangetest"
	"aisix/extproc/usage"
)

const (
	textFrames = `{"type":"messageStart","payload":{"role":"assistant"}}
{"type":"contentBlockDelta","payload":{"contentBlockIndex":0,"delta":{"text":"0123456789012345678901234567890123456789"}}}`
	endFrames = `
{"type":"messageStop","payload":{"stopReason":"end_turn"}}
{"type":"metadata","payload":{"usage":{"inputTokens":30,"outputTokens":20,"totalTokens":50}}}`
	claudeFrames = `{"type":"chunk","payload":{"type":"message_start","message":{"id":"msg_1","role":"assistant","content":[],"usage":{"input_tokens":30,"cache_read_input_tokens":5,"output_tokens":1}}}}
{"type":"chunk","payload":{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}}
{"type":"chunk","payload":{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"0123456789012345678901234567890123456789"}}}`
)

// At every exit the reservation becomes what the call cost, slots are free again, and the record
// says the same.
func TestEveryExitSettles(t *testing.T) {
	stream := func(events string) exchangetest.Reply {
		return exchangetest.Reply{Header: http.Header{"Content-Type": {"application/vnd.amazon.eventstream"}}, Body: frames(t, events)}
	}
	redis := redistest.Start(t).Client()
	reset := func(r exchangetest.Reply) exchangetest.Reply { r.Reset = true; return r }
	const nova, claude = "amazon.nova-pro-v1:0", "anthropic.claude-3-5-sonnet-20241022-v2:0"
	for _, test := range []struct {
		name    string
		model   string
		stream  bool
		reply   exchangetest.Reply
		outcome usage.Outcome
		cost    int // tokens, the prompt's included
		partial bool
	}{
		{"a whole answer", nova, false, jsonReply(`{"output":{"message":{"role":"assistant","content":[{"text":"x"}]}},"stopReason":"end_turn","usage":{"inputTokens":30,"outputTokens":20,"totalTokens":50}}`), usage.Succeeded, 50, false},
		{"a refusal of Bedrock's", nova, false, exchangetest.Reply{Status: 429, Body: []byte("{}")}, usage.Failed, 0, false},
		{"an answer without usage", nova, false, jsonReply(`{"output":{"message":{"role":"assistant","content":[{"text":"x"}]}},"stopReason":"end_turn"}`), usage.Failed, 0, false},
		{"Envoy could not connect", nova, false, exchangetest.Reply{Status: 503, Details: "upstream_reset_before_response_started{connection_refused}"}, usage.Failed, 0, false},
		{"a whole stream", nova, true, stream(textFrames + endFrames), usage.Succeeded, 50, false},
		{"an exception first", nova, true, stream(`{"type":"throttlingException","payload":{"message":"x"}}`), usage.Failed, 0, false},
		{"an exception late", nova, true, stream(textFrames + "\n" + `{"type":"modelStreamErrorException","payload":{"message":"x"}}`), usage.Failed, 1 + 10, true}, // 40 bytes of text, 2 of the prompt
		{"a cut", nova, true, stream(textFrames + endFrames + "\n" + `{"type":"cut"}`), usage.Failed, 1 + 10, true},
		{"a reset", nova, true, reset(stream(textFrames)), usage.Cancelled, 1 + 10, true},
		{"Claude's stream, cut after its first count", claude, true, stream(claudeFrames), usage.Failed, 35 + 10, true},
		{"Claude's stream, reset", claude, true, reset(stream(claudeFrames)), usage.Cancelled, 35 + 10, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := server(t, `{"display_name":"*","model_name":"*","rate_limit":{"tpd":1000,"concurrency":1}}`, func(p *extproc.Parts) { p.Limiter = newGrants(t, redis) })
			defer redis.FlushAll(t.Context())
			body := `{"model":"` + test.model + `","stream":` + strconv.FormatBool(test.stream) + `,"messages":[{"role":"user","content":"Hi"}]}`
			reserved := 1
			c.upstream = test.reply
			c.ask(http.MethodPost, "/v1/chat/completions", body)
			got := c.one(t)
			if got.Outcome != test.outcome || got.Partial != test.partial || got.Usage.Prompt()+got.Usage.Completion() != test.cost {
				t.Errorf("recorded %v, partial %v, %d+%d tokens; want %v, %v, %d", got.Outcome, got.Partial, got.Usage.Prompt(), got.Usage.Completion(), test.outcome, test.partial, test.cost)
			}
			if want := cmp.Or(test.reply.Status, 200); len(got.Tries) != 1 || got.Tries[0].ProviderKeyID != providerKeyID ||
				got.Tries[0].Status != want && !(test.reply.Details != "" && got.Tries[0].Status == 0) || got.Tries[0].Latency < 0 {
				t.Errorf("tries %+v, want one that was answered %d", got.Tries, want)
			}
			if got.TeamID != "team" || got.UserID != "user" || got.Dialect != "openai.chat" || got.Latency <= 0 {
				t.Errorf("%+v", got)
			}
			c.calls, c.upstream = nil, jsonReply(`{}`)
			a := c.ask(http.MethodPost, "/v1/chat/completions", body)
			if left := a.Header.Get("X-Ratelimit-Remaining-Tokens"); left != strconv.Itoa(1000-test.cost-reserved) {
				t.Errorf("%d: %s tokens are left of 1000, with %d reserved after a cost of %d", a.Status, left, reserved, test.cost)
			}
		})
	}
}

// leaver is a caller that is gone when a piece with the given text is about to be sent.
type leaver struct {
	*exchangetest.Stream
	at string
}

func (l leaver) SendMsg(m any) error {
	if bytes.Contains(m.(interface{ Append([]byte) []byte }).Append(nil), []byte(l.at)) {
		l.Reset()
	}
	return l.Stream.SendMsg(m)
}

func (l leaver) SendLast(first, second any) error {
	if first != nil {
		return l.SendBoth(first, second)
	}
	return l.SendMsg(second)
}

func (l leaver) SendBoth(first, second any) error {
	return errors.Join(l.SendMsg(first), l.SendMsg(second))
}

// A caller who leaves after the clean end of a stream makes it no failure; one who leaves before is
// billed what was seen.
func TestCallerLeaves(t *testing.T) {
	for _, test := range []struct {
		name, at string
		outcome  usage.Outcome
		partial  bool
	}{
		{"in the middle", "0123456789", usage.Cancelled, true},
		{"at the end", "[DONE]", usage.Succeeded, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := server(t, "", nil)
			s := exchangetest.New(t)
			returned := make(chan error, 1)
			go func() { returned <- c.Process(leaver{s, test.at}) }()
			s.Put(exchangetest.First(exchangetest.RequestHeaders(false, ":method", "POST", ":path", "/v1/chat/completions", "authorization", "Bearer "+plaintext), exchangetest.FullDuplex))
			s.Put(exchangetest.RequestBody([]byte(`{"model":"amazon.nova-pro-v1:0","stream":true,"messages":[{"role":"user","content":"Hi"}]}`), true))
			s.Put(exchangetest.Attribute(exchangetest.ResponseHeaders(false, ":status", "200", "content-type", "application/vnd.amazon.eventstream"), "response.code_details", "via_upstream"))
			s.Put(exchangetest.ResponseBody(frames(t, textFrames), false))
			s.TryPut(exchangetest.ResponseBody(frames(t, endFrames), true), 10*time.Second)
			select {
			case <-returned:
			case <-time.After(10 * time.Second):
				t.Fatal("the handler did not return")
			}
			if got := c.one(t); got.Outcome != test.outcome || got.Partial != test.partial {
				t.Errorf("recorded %v, partial %v; want %v, %v", got.Outcome, got.Partial, test.outcome, test.partial)
			}
		})
	}
}
