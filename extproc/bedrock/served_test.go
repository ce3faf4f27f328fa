package bedrock

import (
	"bytes"
	"net/http"
	"testing"

	"aisix/extproc/chat"
)

// The tier that served is told once, by every operation that tells it, and never ahead
// of an answer: an error is an error.
func TestServedTier(t *testing.T) {
	json := func(tier string) http.Header {
		return http.Header{"Content-Type": {"application/json"}, "X-Amzn-Bedrock-Service-Tier": {tier}}
	}
	claude := `{"id":"m","type":"message","role":"assistant","content":[{"type":"text","text":"a"}],"stop_reason":"end_turn","usage":{"input_tokens":1,"output_tokens":1}}`
	converse := func(tier string) string {
		return `{"output":{"message":{"role":"assistant","content":[{"text":"a"}]}},"stopReason":"end_turn","usage":{"inputTokens":1,"outputTokens":1,"totalTokens":2}` + tier + `}`
	}
	for _, test := range []struct {
		model  string
		header http.Header
		body   string
		want   string
	}{
		{claude45, json("flex"), claude, "flex"},
		{claude45, json("default"), claude, "default"},
		{claude45, json("reserved"), claude, "reserved"},
		{claude45, json(""), claude, ""},
		{claude45, json("made up"), claude, ""},
		{nova, json(""), converse(`,"serviceTier":{"type":"priority"}`), "priority"},
		{nova, json(""), converse(`,"serviceTier":{"type":"default"}`), "default"},
		{nova, json(""), converse(``), ""},
		{nova, json(""), converse(`,"serviceTier":{}`), ""},
		{nova, json(""), converse(`,"serviceTier":{"type":"made up"}`), ""},
	} {
		c := newCall(t, userSays("hi"), target(test.model))
		events, err := c.reply(200, test.header).Whole([]byte(test.body))
		if err != nil {
			t.Fatalf("%s: %v", test.body, err)
		}
		if r, err := chat.Collect(events); err != nil || r.Tier != test.want || len(r.Blocks) != 1 {
			t.Errorf("%s %v %s: %+v, %v, want the tier %q", test.model, test.header, test.body, r, err, test.want)
		}
	}
	r := userSays("hi")
	r.Stream = true
	header := http.Header{"Content-Type": {"application/vnd.amazon.eventstream"}, "X-Amzn-Bedrock-Service-Tier": {"flex"}}
	stream := bytes.Join([][]byte{
		chunk(t, `{"type":"ping"}`),
		chunk(t, `{"type":"message_start","message":{"id":"m","usage":{"input_tokens":1,"output_tokens":1}}}`),
		chunk(t, `{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"a"}}`),
		chunk(t, `{"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":1}}`),
		chunk(t, `{"type":"message_stop"}`),
	}, nil)
	events := newCall(t, r, target(claude45)).reply(200, header).Events(bytes.NewReader(stream))
	told := 0
	for i, e := range all(t, events) {
		if tier, ok := e.(chat.ServedTier); ok {
			if told++; tier.Name != "flex" || i != 0 {
				t.Errorf("event %d is %+v", i, tier)
			}
		}
	}
	if told != 1 {
		t.Errorf("the tier is told %d times", told)
	}
	broken := frame(t, "exception", "throttlingException", `{"message":"slow down"}`)
	if got, err := newCall(t, r, target(claude45)).reply(200, header).Events(bytes.NewReader(broken)).Next(); err == nil || len(got) > 0 {
		t.Errorf("before an exception: %v, %v", got, err)
	}
}

// Input tokens that hold those of the cache are counted once, whole and streamed, and
// only where the family counts so.
func TestInputThatHoldsTheCache(t *testing.T) {
	const gpt = "us.openai.gpt-5.6-sol"
	for _, test := range []struct {
		model, counts string
		prompt        int
	}{
		{gpt, `"inputTokens":100,"outputTokens":1,"cacheReadInputTokens":60`, 100},
		{gpt, `"inputTokens":100,"outputTokens":1,"cacheReadInputTokens":60,"cacheWriteInputTokens":30`, 100},
		{gpt, `"inputTokens":100,"outputTokens":1`, 100},
		{gpt, `"inputTokens":10,"outputTokens":1,"cacheReadInputTokens":60`, 60},
		{"global.openai.gpt-6.1", `"inputTokens":100,"outputTokens":1,"cacheReadInputTokens":0`, 100},
		{nova, `"inputTokens":100,"outputTokens":1,"cacheReadInputTokens":60`, 160},
		{gptOSS, `"inputTokens":100,"outputTokens":1,"cacheReadInputTokens":60`, 160},
	} {
		usage := `{` + test.counts + `,"totalTokens":101}`
		c := newCall(t, userSays("hi"), target(test.model))
		whole, err := c.reply(200, http.Header{"Content-Type": {"application/json"}}).Whole([]byte(`{"output":{"message":{"role":"assistant","content":[{"text":"a"}]}},"stopReason":"end_turn","usage":` + usage + `}`))
		if err != nil {
			t.Fatal(err)
		}
		stream := bytes.Join([][]byte{
			frame(t, "event", "messageStart", `{"role":"assistant"}`),
			frame(t, "event", "contentBlockDelta", `{"contentBlockIndex":0,"delta":{"text":"a"}}`),
			frame(t, "event", "messageStop", `{"stopReason":"end_turn"}`),
			frame(t, "event", "metadata", `{"usage":`+usage+`}`),
		}, nil)
		for name, events := range map[string][]chat.Event{"whole": whole, "streamed": all(t, c.reply(200, nil).Events(bytes.NewReader(stream)))} {
			r, err := chat.Collect(events)
			if err != nil || r.Usage.Prompt() != test.prompt {
				t.Errorf("%s, %s %s: prompt %d, %v, want %d", name, test.model, test.counts, r.Usage.Prompt(), err, test.prompt)
			}
		}
	}
}
