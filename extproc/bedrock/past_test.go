package bedrock

import (
	"bytes"
	"net/http"
	"strings"
	"testing"

	"aisix/admin/resource"
	"aisix/extproc/chat"

	"github.com/google/go-cmp/cmp"
)

var jsonHeader = http.Header{"Content-Type": {"application/json"}}

const (
	claude  = "anthropic.claude-sonnet-4-5-20250929-v1:0"
	opaque  = "arn:aws:bedrock:us-west-2:123456789012:application-inference-profile/ab12"
	gpt     = "us.openai.gpt-5.6-sol"
	unknown = "acme.model-1"
)

// takeNone are families that read no reasoning of earlier turns.
var takeNone = []string{"openai.gpt-oss-120b-1:0", "qwen.qwen3-32b-v1:0", "moonshot.kimi-k2-thinking", "moonshotai.kimi-k2.5", "minimax.minimax-m2", "us.deepseek.r1-v1:0", "deepseek.v3-v1:0",
	"amazon.nova-pro-v1:0", "amazon.nova-2-lite-v1:0", "us.meta.llama3-3-70b-instruct-v1:0", "mistral.mistral-large-2407-v1:0", "cohere.command-r-plus-v1:0", "zai.glm-4.7", "ai21.jamba-1-5-mini-v1:0", "us.writer.palmyra-x5-v1:0",
	"amazon.titan-text-express-v1"}

func TestWhoTakesReasoningBack(t *testing.T) {
	signed := func(publisher string) chat.Block {
		return chat.Thinking{Text: "hm", Signature: "s", Publisher: publisher}
	}
	redacted := func(publisher string) chat.Block {
		return chat.Redacted{Data: "AAE=", Publisher: publisher}
	}
	type who map[string]bool
	tests := []struct {
		name  string
		block chat.Block
		takes who
	}{
		{"unsigned", chat.Thinking{Text: "hm"}, who{claude: false, opaque: false, gpt: false, unknown: false}},
		{"signed", signed(""), who{claude: true, opaque: true, gpt: false, unknown: false}}, // Claude's, since others' have a name
		{"signed without text", chat.Thinking{Signature: "s"}, who{claude: true, opaque: true, gpt: false, unknown: false}},
		{"signed by the model's own", signed("acme"), who{claude: false, opaque: true, gpt: false, unknown: true}},
		{"redacted", redacted(""), who{claude: true, opaque: true, gpt: true, unknown: true}},
		{"signed by Nova", signed("amazon"), who{claude: false, opaque: true, gpt: false, unknown: false}},
		{"redacted by Claude", redacted("anthropic"), who{claude: true, opaque: true, gpt: false, unknown: false}},
		{"redacted by GPT", redacted("openai"), who{claude: false, opaque: true, gpt: true, unknown: false}},
		{"redacted, in no bytes", chat.Redacted{Data: "not base64"}, who{claude: true, opaque: false, gpt: false, unknown: false}},
	}
	for _, tt := range tests {
		for _, model := range takeNone {
			tt.takes[model] = false
		}
		for model, takes := range tt.takes {
			// Beside a text, alone in the middle, and alone at the end.
			beside := &chat.Request{Messages: []chat.Message{userSays("a").Messages[0], {Role: chat.Assistant, Blocks: []chat.Block{tt.block, chat.Text{Text: "said"}}}, userSays("b").Messages[0]}}
			alone := &chat.Request{Messages: []chat.Message{userSays("a").Messages[0], {Role: chat.Assistant, Blocks: []chat.Block{tt.block, chat.Text{Text: ""}, chat.CachePoint{}}}, userSays("b").Messages[0]}}
			last := &chat.Request{Messages: alone.Messages[:2]}
			for at, r := range map[string]*chat.Request{"beside": beside, "alone": alone, "last": last} {
				if at == "last" && takes {
					continue // who takes no prefill says so elsewhere
				}
				c, err := NewCall(t.Context(), r, target(model), bodyLimit)
				if err != nil {
					t.Errorf("%s, %s, %s: %v", tt.name, at, model, err)
					continue
				}
				body := string(c.body)
				if goes := strings.Contains(body, "reasoningContent") || strings.Contains(body, "thinking\""); goes != takes {
					t.Errorf("%s, %s: goes to %s: %t, want %t: %s", tt.name, at, model, goes, takes, body)
				}
				if turns := strings.Count(body, `"role"`); turns != map[string]int{"beside": 3, "alone": 1, "last": 1}[at] && !takes {
					t.Errorf("%s, %s, %s: %d turns in %s", tt.name, at, model, turns, body)
				}
			}
		}
	}
}

// What is left out is left out of a copy: another model may be asked next.
func TestForeignReasoningStaysTheCallers(t *testing.T) {
	r := &chat.Request{Messages: []chat.Message{userSays("a").Messages[0], {Role: chat.Assistant, Blocks: []chat.Block{chat.Thinking{Text: "hm", Signature: "s"}, chat.Text{Text: "b"}, chat.Thinking{Text: "unsigned"}}}, userSays("c").Messages[0]}}
	before := string(marshal(r))
	newCall(t, r, target("amazon.nova-pro-v1:0"))
	newCall(t, r, target(claude))
	if after := string(marshal(r)); after != before {
		t.Errorf("the request is now %s", after)
	}
	plain := userSays("a")
	if got := target(claude).withoutForeign(plain); got != plain {
		t.Error("a request without reasoning was copied")
	}
}

// What reasoning kept apart is together again once it is left out.
func TestNothingIsLeftOfForeignReasoning(t *testing.T) {
	signed, unsigned := chat.Thinking{Text: "hm", Signature: "s"}, chat.Thinking{Text: "hm"}
	text := func(s string) chat.Block { return chat.Text{Text: s} }
	f, g, mark := chat.ToolUse{ID: "1", Name: "f"}, chat.ToolUse{ID: "2", Name: "g"}, chat.CachePoint{}
	for name, tt := range map[string]struct {
		model        string
		blocks, want []chat.Block
	}{
		"a text that was cut":       {converseModel, []chat.Block{text("hel"), signed, signed, text("lo"), signed}, []chat.Block{text("hello")}},
		"several times":             {converseModel, []chat.Block{text("h"), signed, text("el"), signed, text("lo"), text("!")}, []chat.Block{text("hello"), text("!")}},
		"calls between":             {converseModel, []chat.Block{signed, text("a"), signed, f, mark, signed, text("b"), signed, g}, []chat.Block{text("ab"), f, mark, g}},
		"a mark keeps texts apart":  {converseModel, []chat.Block{text("a"), mark, signed, text("b")}, []chat.Block{text("a"), mark, text("b")}},
		"the caller's own parts":    {converseModel, []chat.Block{signed, text("a"), text("b")}, []chat.Block{text("a"), text("b")}},
		"order matters to the rest": {claude, []chat.Block{signed, text("a"), unsigned, text("b"), f, signed, text("c"), g}, []chat.Block{signed, text("ab"), f, signed, text("c"), g}},
		"and not to none":           {claude, []chat.Block{unsigned, f, unsigned, text("c"), g}, []chat.Block{text("c"), f, g}},
	} {
		r := &chat.Request{Messages: []chat.Message{{Role: chat.Assistant, Blocks: tt.blocks}}}
		if diff := cmp.Diff(tt.want, target(tt.model).withoutForeign(r).Messages[0].Blocks); diff != "" {
			t.Errorf("%s:\n%s", name, diff)
		}
	}
}

// The resource's word wins.
func TestPastReasoningOfTheResource(t *testing.T) {
	r := &chat.Request{Messages: []chat.Message{userSays("a").Messages[0], {Role: chat.Assistant, Blocks: []chat.Block{chat.Thinking{Text: "hm", Signature: "s"}, chat.Redacted{Data: "AAE="}, chat.Text{Text: "b"}}}, userSays("c").Messages[0]}}
	for capability, want := range map[string][2]bool{`{"past_reasoning":["signed"]}`: {true, false}, `{"past_reasoning":["redacted"]}`: {false, true}, `{"past_reasoning":["signed","redacted"]}`: {true, true}, `{"past_reasoning":[]}`: {}} {
		for _, model := range []string{claude, "amazon.nova-pro-v1:0"} {
			body := string(newCall(t, r, compile(&resource.Model{ModelName: model, Bedrock: resource.Bedrock{Capabilities: capabilities(t, capability)}})).body)
			if got := [2]bool{strings.Contains(body, `"hm"`), strings.Contains(body, `AAE=`)}; got != want {
				t.Errorf("%s, %s: %v, want %v: %s", model, capability, got, want, body)
			}
		}
	}
}

// Reasoning says who wrote it where the next model could not tell; whole and streamed.
func TestWhoWroteReasoning(t *testing.T) {
	for model, want := range map[string][]chat.Block{
		claude:                    {chat.Thinking{Text: "hm", Signature: "s"}, chat.Redacted{Data: "AAE=", Publisher: "anthropic"}, chat.Thinking{Text: "unsigned"}},
		"amazon.nova-2-lite-v1:0": {chat.Thinking{Text: "hm", Signature: "s", Publisher: "amazon"}, chat.Redacted{Data: "AAE=", Publisher: "amazon"}, chat.Thinking{Text: "unsigned"}},
		gpt:                       {chat.Thinking{Text: "hm", Signature: "s", Publisher: "openai"}, chat.Redacted{Data: "AAE=", Publisher: "openai"}, chat.Thinking{Text: "unsigned"}},
		opaque:                    {chat.Thinking{Text: "hm", Signature: "s"}, chat.Redacted{Data: "AAE="}, chat.Thinking{Text: "unsigned"}},
	} {
		whole := []byte(`{"output":{"message":{"role":"assistant","content":[{"reasoningContent":{"reasoningText":{"text":"hm","signature":"s"}}},{"reasoningContent":{"redactedContent":"AAE="}},{"reasoningContent":{"reasoningText":{"text":"unsigned"}}}]}},"stopReason":"end_turn","usage":{"inputTokens":1,"outputTokens":2,"totalTokens":3}}`)
		var frames []byte
		if model == claude {
			whole = []byte(`{"type":"message","id":"m","content":[{"type":"thinking","thinking":"hm","signature":"s"},{"type":"redacted_thinking","data":"AAE="},{"type":"thinking","thinking":"unsigned","signature":""}],"stop_reason":"end_turn","usage":{"input_tokens":1,"output_tokens":2}}`)
			for _, e := range []string{`{"type":"content_block_start","index":0,"content_block":{"type":"thinking","thinking":"","signature":""}}`, `{"type":"content_block_delta","index":0,"delta":{"type":"thinking_delta","thinking":"hm"}}`, `{"type":"content_block_delta","index":0,"delta":{"type":"signature_delta","signature":"s"}}`, `{"type":"content_block_stop","index":0}`,
				`{"type":"content_block_start","index":1,"content_block":{"type":"redacted_thinking","data":"AAE="}}`, `{"type":"content_block_stop","index":1}`,
				`{"type":"content_block_start","index":2,"content_block":{"type":"thinking","thinking":"unsigned","signature":""}}`, `{"type":"content_block_stop","index":2}`,
				`{"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"input_tokens":1,"output_tokens":2}}`, `{"type":"message_stop"}`} {
				frames = append(frames, chunk(t, e)...)
			}
		} else {
			for _, e := range []string{`contentBlockDelta {"contentBlockIndex":0,"delta":{"reasoningContent":{"text":"hm"}}}`, `contentBlockDelta {"contentBlockIndex":0,"delta":{"reasoningContent":{"signature":"s"}}}`, `contentBlockStop {"contentBlockIndex":0}`,
				`contentBlockDelta {"contentBlockIndex":1,"delta":{"reasoningContent":{"redactedContent":"AAE="}}}`, `contentBlockStop {"contentBlockIndex":1}`,
				`contentBlockDelta {"contentBlockIndex":2,"delta":{"reasoningContent":{"text":"unsigned"}}}`, `contentBlockStop {"contentBlockIndex":2}`,
				`messageStop {"stopReason":"end_turn"}`, `metadata {"usage":{"inputTokens":1,"outputTokens":2,"totalTokens":3}}`} {
				name, payload, _ := strings.Cut(e, " ")
				frames = append(frames, frame(t, "event", name, payload)...)
			}
		}
		events, err := newCall(t, userSays("q"), target(model)).reply(200, jsonHeader).Whole(whole)
		if err != nil {
			t.Fatal(err)
		}
		r := userSays("q")
		r.Stream = true
		streamed := all(t, newCall(t, r, target(model)).reply(200, nil).Events(bytes.NewReader(frames)))
		for name, events := range map[string][]chat.Event{"whole": events, "streamed": streamed} {
			answer, err := chat.Collect(events)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, answer.Blocks); diff != "" {
				t.Errorf("%s, %s:\n%s", model, name, diff)
			}
		}
	}
}

// Reasoning does not overtake text that waits for the tool of structured output.
func TestRestoredOrder(t *testing.T) {
	signed := func(i int) []chat.Event {
		return []chat.Event{chat.ThinkingDelta{Index: i, Text: "hm"}, chat.ThinkingDelta{Index: i, Signature: "s"}, chat.BlockStop{Index: i}}
	}
	says := func(i int, s string) []chat.Event {
		return []chat.Event{chat.TextDelta{Index: i, Text: s}, chat.BlockStop{Index: i}}
	}
	use := func(i int, name string) []chat.Event {
		return []chat.Event{chat.ToolStart{Index: i, ID: "t", Name: name}, chat.ToolDelta{Index: i, JSON: `{"a":1}`}, chat.BlockStop{Index: i}}
	}
	thought := chat.Thinking{Text: "hm", Signature: "s"}
	f := chat.ToolUse{ID: "t", Name: "f", Input: []byte(`{"a":1}`)}
	for name, tt := range map[string]struct {
		events [][]chat.Event
		want   []chat.Block
	}{
		"text alone":           {[][]chat.Event{signed(0), says(1, "a"), signed(2), says(3, "b")}, []chat.Block{thought, chat.Text{Text: "a"}, thought, chat.Text{Text: "b"}}},
		"and a call":           {[][]chat.Event{signed(0), says(1, "a"), signed(2), use(3, "f"), signed(4)}, []chat.Block{thought, chat.Text{Text: "a"}, thought, f, thought}},
		"the tool, in the end": {[][]chat.Event{signed(0), says(1, "a"), signed(2), use(3, "out")}, []chat.Block{thought, thought, chat.Text{Text: `{"a":1}`}}},
		"behind a call":        {[][]chat.Event{says(0, "a"), signed(1), use(2, "f"), use(3, "out"), signed(4)}, []chat.Block{thought, f, chat.Text{Text: `{"a":1}`}, thought}},
	} {
		r := restorer{output: "out"}
		var got []chat.Event
		for _, block := range append(tt.events, []chat.Event{chat.Stop{Reason: chat.EndTurn}, chat.UsageSnapshot{Usage: chat.Usage{Input: ptr(1)}}}) {
			for _, e := range block {
				got = append(got, r.events([]chat.Event{e})...)
			}
		}
		answer, err := chat.Collect(got)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(tt.want, answer.Blocks); diff != "" {
			t.Errorf("%s:\n%s", name, diff)
		}
	}
}
