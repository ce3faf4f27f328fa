package openai

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"aisix/admin/resource"
	"aisix/extproc/bedrock"
	"aisix/extproc/chat"
	"aisix/extproc/identity"
	"aisix/extproc/jsonappend"
)

// spokenBy is an answer: each block is thinking, redacted, unsigned reasoning, text,
// a call, or a call that the model ran itself.
func spokenBy(r *rand.Rand, ids *int) []chat.Block {
	var blocks []chat.Block
	for range 1 + r.IntN(8) {
		*ids++
		id := strconv.Itoa(*ids)
		switch r.IntN(8) {
		case 0, 1:
			blocks = append(blocks, chat.Thinking{Text: []string{"", "hm é😀 \"\u2028 " + id}[r.IntN(2)], Signature: "sig<&>" + id})
		case 2:
			blocks = append(blocks, chat.Redacted{Data: []string{"AAE=", "AAEC", "/+8="}[r.IntN(3)], Publisher: []string{"", "anthropic"}[r.IntN(2)]})
		case 3:
			blocks = append(blocks, chat.Thinking{Text: "unsigned " + id})
		case 4, 5:
			blocks = append(blocks, chat.Text{Text: []string{"\n\n", "text " + id + " ", "é\u0301😀👩‍💻" + id, "模型\n", "<>&\u0000" + id}[r.IntN(5)]})
		default:
			blocks = append(blocks, chat.ToolUse{ID: "toolu_" + id, Name: "f", Input: json.RawMessage(`{"n":` + id + `}`)})
		}
	}
	return blocks
}

// eventsOf are what a stream brings of an answer, in pieces.
func eventsOf(r *rand.Rand, blocks []chat.Block) []chat.Event {
	var events []chat.Event
	pieces := func(s string, add func(string)) {
		runes := []rune(s)
		for len(runes) > 0 {
			n := 1 + r.IntN(len(runes))
			add(string(runes[:n]))
			runes = runes[n:]
		}
	}
	for i, b := range blocks {
		switch b := b.(type) {
		case chat.Thinking:
			pieces(b.Text, func(s string) { events = append(events, chat.ThinkingDelta{Index: i, Text: s}) })
			if b.Signature != "" {
				events = append(events, chat.ThinkingDelta{Index: i, Signature: b.Signature})
			}
		case chat.Redacted:
			events = append(events, chat.RedactedDelta{Index: i, Data: b.Data, Publisher: b.Publisher})
		case chat.Text:
			pieces(b.Text, func(s string) { events = append(events, chat.TextDelta{Index: i, Text: s}) })
		case chat.ToolUse:
			if r.IntN(4) == 0 { // and one of the model's own before it, which nobody sees
				events = append(events, chat.ToolStart{Index: 100 + i, ID: "srv", Name: "web_search", Server: true}, chat.ToolDelta{Index: 100 + i, JSON: "{}"}, chat.BlockStop{Index: 100 + i})
			}
			events = append(events, chat.ToolStart{Index: i, ID: b.ID, Name: b.Name})
			pieces(string(b.Input), func(s string) { events = append(events, chat.ToolDelta{Index: i, JSON: s}) })
		}
		events = append(events, chat.BlockStop{Index: i})
	}
	n := 1
	return append(events, chat.Stop{Reason: chat.EndTurn}, chat.UsageSnapshot{Usage: chat.Usage{Input: &n, Output: &n}})
}

// order is a turn's blocks as words: what must come back. Between two blocks of
// reasoning all text comes before all calls, white space alone is nothing, and so is
// reasoning without a signature.
func order(blocks []chat.Block) []string {
	if unsigned(blocks) {
		return unthought(blocks)
	}
	var out, calls []string
	text := ""
	end := func() {
		if strings.TrimSpace(text) != "" {
			out = append(out, "text "+text)
		}
		out, text, calls = append(out, calls...), "", nil
	}
	for _, b := range blocks {
		switch b := b.(type) {
		case chat.Text:
			text += b.Text
		case chat.ToolUse:
			calls = append(calls, "call "+b.ID+" "+string(b.Input))
		case chat.Thinking:
			if b.Signature != "" || len(calls) > 0 {
				end()
			}
			if b.Signature != "" {
				out = append(out, "thinking "+b.Text+"|"+b.Signature)
			}
		case chat.Redacted:
			end()
			out = append(out, "redacted "+b.Data)
		}
	}
	end()
	return joined(out)
}

// unthought is order for one to whom none of it goes: text, then calls.
func unthought(blocks []chat.Block) []string {
	return order(slices.DeleteFunc(slices.Clone(blocks), func(b chat.Block) bool {
		switch b.(type) {
		case chat.Thinking, chat.Redacted:
			return true
		}
		return false
	}))
}

// unsigned reports whether there is reasoning, none of which goes to anybody.
func unsigned(blocks []chat.Block) bool {
	some := false
	for _, b := range blocks {
		t, ok := b.(chat.Thinking)
		if _, redacted := b.(chat.Redacted); redacted || ok && t.Signature != "" {
			return false
		}
		some = some || ok
	}
	return some
}

// joined makes one of texts that stand side by side.
func joined(words []string) (out []string) {
	for _, w := range words {
		if text, ok := strings.CutPrefix(w, "text "); ok && len(out) > 0 && strings.HasPrefix(out[len(out)-1], "text ") {
			out[len(out)-1] += text
			continue
		}
		out = append(out, w)
	}
	return out
}

// upstream is what the second turn of a body is on its way to a model, as order has it.
func upstream(t *testing.T, model, body string) []string {
	t.Helper()
	target, err := bedrock.Compile(&resource.Model{}, model, &resource.ProviderKey{Credentials: resource.Static{Region: "us-east-1"}})
	if err != nil {
		t.Fatal(err)
	}
	r, err := Chat{}.Decode([]byte(body))
	if err != nil {
		t.Fatalf("%v: %s", err, body)
	}
	c, err := bedrock.NewCall(t.Context(), r, target, 10<<20)
	if err != nil {
		t.Fatalf("%v: %s", err, body)
	}
	signed, err := c.Sign(identity.Token{}, time.Unix(0, 0))
	if err != nil {
		t.Fatal(err)
	}
	var sent struct {
		Messages []struct {
			Role    string
			Content []struct {
				Type, Text, Thinking, Signature, Data, ID string
				Input                                     json.RawMessage
				ReasoningContent                          *struct {
					ReasoningText   *struct{ Text, Signature string }
					RedactedContent string
				}
				ToolUse *struct {
					ToolUseID string
					Input     json.RawMessage
				}
			}
		}
	}
	if err := json.Unmarshal(signed.Body(), &sent); err != nil {
		t.Fatal(err)
	}
	if len(sent.Messages) < 2 || sent.Messages[1].Role != "assistant" {
		return nil
	}
	var out []string
	for _, b := range sent.Messages[1].Content {
		switch {
		case b.Type == "thinking":
			out = append(out, "thinking "+b.Thinking+"|"+b.Signature)
		case b.Type == "redacted_thinking":
			out = append(out, "redacted "+b.Data)
		case b.Type == "tool_use":
			out = append(out, "call "+b.ID+" "+string(b.Input))
		case b.ToolUse != nil:
			out = append(out, "call "+b.ToolUse.ToolUseID+" "+string(b.ToolUse.Input))
		case b.ReasoningContent != nil && b.ReasoningContent.ReasoningText != nil:
			out = append(out, "thinking "+b.ReasoningContent.ReasoningText.Text+"|"+b.ReasoningContent.ReasoningText.Signature)
		case b.ReasoningContent != nil:
			out = append(out, "redacted "+b.ReasoningContent.RedactedContent)
		default:
			out = append(out, "text "+b.Text)
		}
	}
	return joined(out)
}

// wholeMessage is the message of an answer, and streamedMessage that which a client
// has who adds up deltas: by index as openai-python does, one behind the other, or
// keeping the last of what it does not know, as openai-node does.
func wholeMessage(t *testing.T, events []chat.Event) map[string]any {
	t.Helper()
	answer, err := chat.Collect(events)
	if err != nil {
		t.Fatal(err)
	}
	body, err := (&asked{model: "m"}).Whole(chat.Heading{ID: "1"}, answer)
	if err != nil {
		t.Fatal(err)
	}
	var c struct {
		Choices []struct{ Message map[string]any }
	}
	if err := json.Unmarshal(body, &c); err != nil {
		t.Fatal(err)
	}
	return c.Choices[0].Message
}

func streamedMessage(t *testing.T, events []chat.Event, style string) map[string]any {
	t.Helper()
	s := (&asked{model: "m"}).Stream(chat.Heading{ID: "1"})
	var stream []byte
	for _, e := range ordered(events) {
		stream, _ = s.Append(stream, e)
	}
	stream, err := s.Finish(stream)
	if err != nil {
		t.Fatal(err)
	}
	message := map[string]any{"content": ""}
	var calls []any
	for _, event := range strings.Split(string(stream), "\n\n") {
		data, ok := strings.CutPrefix(event, "data: ")
		if !ok || data == "[DONE]" {
			continue
		}
		var c struct {
			Choices []struct{ Delta map[string]any }
		}
		if err := json.Unmarshal([]byte(data), &c); err != nil {
			t.Fatal(err)
		}
		for name, value := range c.Choices[0].Delta {
			switch name {
			case "content":
				message["content"] = message["content"].(string) + value.(string)
			case "tool_calls":
				for _, one := range value.([]any) {
					one := one.(map[string]any)
					i := int(one["index"].(float64))
					if i == len(calls) {
						calls = append(calls, one)
						continue
					}
					f := calls[i].(map[string]any)["function"].(map[string]any)
					f["arguments"] = f["arguments"].(string) + one["function"].(map[string]any)["arguments"].(string)
				}
			case "thinking_blocks":
				if style == "last" || message[name] == nil {
					message[name] = []any{}
				}
				for _, one := range value.([]any) {
					if style == "index" && int(one.(map[string]any)["index"].(float64)) != len(message[name].([]any)) {
						t.Fatalf("%v has no index of its own", one)
					}
					message[name] = append(message[name].([]any), one)
				}
			default:
				message[name] = value
			}
		}
	}
	if calls != nil {
		message["tool_calls"] = calls
	}
	return message
}

// parts has content as an array of texts.
func parts(r *rand.Rand, message map[string]any) map[string]any {
	content, _ := message["content"].(string)
	runes := []rune(content)
	list := []any{}
	for len(runes) > 0 {
		n := 1 + r.IntN(len(runes))
		list = append(list, map[string]any{"type": "text", "text": string(runes[:n])})
		runes = runes[n:]
	}
	message["content"] = list
	return message
}

// bodyWith is a conversation that goes on behind some messages: their calls have results.
func bodyWith(t *testing.T, messages ...map[string]any) string {
	t.Helper()
	all := []any{map[string]any{"role": "user", "content": "hi"}}
	var results []any
	for _, m := range messages {
		m["role"] = "assistant"
		all = append(all, m, map[string]any{"role": "user", "content": ""}) // left out: the messages are one turn
		calls, _ := m["tool_calls"].([]any)
		for _, c := range calls {
			results = append([]any{map[string]any{"role": "tool", "tool_call_id": c.(map[string]any)["id"], "content": "ok"}}, results...)
		}
	}
	all = append(append(all[:len(all)-1], results...), map[string]any{"role": "user", "content": "go on"})
	body, err := marshal(map[string]any{"model": "m", "messages": all})
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

const (
	claudeModel = "anthropic.claude-sonnet-4-5-20250929-v1:0"
	novaModel   = "amazon.nova-pro-v1:0"
	opaqueModel = "arn:aws:bedrock:us-west-2:123456789012:application-inference-profile/ab12" // Claude or not, by Converse
)

// TestOrderComesBack: a message that comes back as it went out is upstream the turn
// that the model spoke, block for block, however the client got it.
func TestOrderComesBack(t *testing.T) {
	for seed := range uint64(100) {
		r := rand.New(rand.NewPCG(seed, 1))
		ids := 0
		one, two := spokenBy(r, &ids), spokenBy(r, &ids)
		first, second := eventsOf(r, one), eventsOf(r, two)
		for client, message := range map[string]func([]chat.Event) map[string]any{
			"whole":    func(e []chat.Event) map[string]any { return wholeMessage(t, e) },
			"parts":    func(e []chat.Event) map[string]any { return parts(r, wholeMessage(t, e)) },
			"by index": func(e []chat.Event) map[string]any { return streamedMessage(t, e, "index") },
			"appended": func(e []chat.Event) map[string]any { return streamedMessage(t, e, "append") },
			"the last": func(e []chat.Event) map[string]any { return streamedMessage(t, e, "last") },
		} {
			// Blank parts are left out: those that a client makes of content, too.
			spaced := cmp.Options{}
			if client == "parts" {
				spaced = cmp.Options{cmp.Comparer(func(a, b string) bool {
					return strings.Join(strings.Fields(a), "") == strings.Join(strings.Fields(b), "")
				})}
			}
			for _, model := range []string{claudeModel, opaqueModel} {
				if want := order(one); len(want) > 0 {
					if diff := cmp.Diff(want, upstream(t, model, bodyWith(t, message(first))), spaced); diff != "" {
						t.Fatalf("seed %d, %s, %s:\n%s\n%#v", seed, client, model, diff, one)
					}
				}
				// A family that takes none of it has text and calls as ever.
				if want := unthought(one); len(want) > 0 {
					if diff := cmp.Diff(want, upstream(t, novaModel, bodyWith(t, message(first))), spaced); diff != "" {
						t.Fatalf("seed %d, %s, Nova:\n%s", seed, client, diff)
					}
				}
				// Two messages that are merged, each in its order.
				if a, b := order(one), order(two); len(a) > 0 && len(b) > 0 {
					if diff := cmp.Diff(joined(append(a, b...)), upstream(t, model, bodyWith(t, message(first), message(second))), spaced); diff != "" {
						t.Fatalf("seed %d, %s, %s, two messages:\n%s", seed, client, model, diff)
					}
				}
			}
		}
	}
}

// TestPlaces: what a place says is taken as far as it goes, and nothing of it is a
// reason to refuse a conversation.
func TestPlaces(t *testing.T) {
	for after, want := range map[string]string{
		`{"content":2,"tool_calls":0}`:                     "hé T llo u v",
		`{"content":2,"tool_calls":1}`:                     "hé u T llo v",
		`{"content":5,"tool_calls":2}`:                     "héllo u v T",
		`{"content":0,"tool_calls":1}`:                     "u T héllo v",
		`{"content":99,"tool_calls":99}`:                   "héllo u v T",
		`{"content":1e300,"tool_calls":1e999}`:             "héllo u v T",
		`{"content":9223372036854775808,"tool_calls":1.9}`: "héllo u T v",
		`{"content":-1,"tool_calls":-9e99}`:                "T héllo u v",
		`{"content":2.5}`:                                  "hé T llo u v",
		`{"tool_calls":2}`:                                 "u v T héllo",
		`{"content":"2","tool_calls":[1]}`:                 "T héllo u v",
		`{"content":null,"tool_calls":null}`:               "T héllo u v",
		`{"content":2,"novel":{"a":[]}}`:                   "hé T llo u v",
		`{}`:                                               "T héllo u v",
		`null`:                                             "T héllo u v",
		`"2"`:                                              "T héllo u v",
		`[2,1]`:                                            "T héllo u v",
		`7`:                                                "T héllo u v",
	} {
		for name, content := range map[string]string{"text": `"héllo"`, "parts": `[{"type":"text","text":"h"},{"type":"text","text":"é"},{"type":"text","text":""},{"type":"text","text":"llo","cache_control":{"type":"ephemeral"}}]`} {
			body := `{"model":"m","messages":[{"role":"user","content":"q"},{"role":"assistant","content":` + content + `,"thinking_blocks":[{"type":"thinking","thinking":"T","signature":"s","after":` + after + `}],` +
				`"tool_calls":[{"id":"u","type":"function","function":{"name":"f","arguments":"{}"}},{"id":"v","type":"function","function":{"name":"f","arguments":"{}"}}]},` +
				`{"role":"tool","tool_call_id":"u","content":"1"},{"role":"tool","tool_call_id":"v","content":"2"}]}`
			var words []string
			for _, w := range upstream(t, claudeModel, body) {
				_, w, _ = strings.Cut(w, " ")
				words = append(words, strings.TrimSuffix(strings.TrimSuffix(w, "|s"), " {}"))
			}
			if got := strings.Join(words, " "); got != want {
				t.Errorf("%s, %s: %q, want %q", after, name, got, want)
			}
		}
	}
}

// A cache point stays behind the text or the call that it marks, wherever that is cut.
func TestPlacesAndCachePoints(t *testing.T) {
	_, turns := blocksOf(t, `{"role":"assistant","content":[{"type":"text","text":"abc","cache_control":{"type":"ephemeral"}},{"type":"text","text":"d"}],"cache_control":{"type":"ephemeral","ttl":"1h"},`+
		`"thinking_blocks":[{"type":"thinking","signature":"1","after":{"content":1}},{"type":"thinking","signature":"2","after":{"content":3}},{"type":"thinking","signature":"3","after":{"content":2}}]}`)
	want := []chat.Block{text("a"), chat.Thinking{Signature: "1"}, text("bc"), chat.CachePoint{}, chat.Thinking{Signature: "2"}, chat.Thinking{Signature: "3"}, text("d"), chat.CachePoint{TTL: "1h"}}
	if diff := cmp.Diff([][]chat.Block{want}, turns); diff != "" {
		t.Error(diff)
	}
}

// Many places in a long text cost one walk along it.
func TestPlacesAreFoundInOneWalk(t *testing.T) {
	content := strings.Repeat("é", 1<<20)
	thoughts := make([]pastThinking, chat.MaxThinkingBlocks)
	kind := "thinking"
	for i := range thoughts {
		thoughts[i] = pastThinking{Type: &kind, Signature: "s", After: place{Content: i * 100}}
	}
	blocks := spoken(thoughts, []chat.Block{chat.Text{Text: content}}, nil)
	got := 0
	for _, b := range blocks {
		if b, ok := b.(chat.Text); ok {
			got += len(b.Text)
		}
	}
	if got != len(content) || len(blocks) != 2*len(thoughts) {
		t.Errorf("%d bytes in %d blocks", got, len(blocks))
	}
}

// FuzzPlaces: whatever comes back, nothing is lost and nothing is out of turn.
func FuzzPlaces(f *testing.F) {
	f.Add("héllo", "{}", `{"content":2}`, `{"tool_calls":1}`)
	f.Add("", "x", `{"content":-2}`, `null`)
	f.Add("\U0001f600\u2028", "", `{"content":1e400,"tool_calls":0.5}`, `[]`)
	f.Fuzz(func(t *testing.T, content, arguments, a, b string) {
		body := fmt.Sprintf(`{"model":"m","messages":[{"role":"assistant","content":%s,"thinking_blocks":[{"type":"thinking","signature":"1","after":%s},{"type":"redacted_thinking","data":"2","after":%s}],"tool_calls":[{"id":"u","type":"function","function":{"name":"f","arguments":%s}}]}]}`,
			jsonappend.String(nil, content), a, b, jsonappend.String(nil, arguments))
		r, err := Chat{}.Decode([]byte(body))
		if err != nil {
			if json.Valid([]byte(body)) && json.Valid([]byte(a)) && json.Valid([]byte(b)) && !strings.Contains(err.Error(), "member") && !strings.Contains(err.Error(), "JSON") && !strings.Contains(err.Error(), "UTF-8") && !strings.Contains(err.Error(), "levels") {
				t.Fatalf("%v: %s", err, body)
			}
			return
		}
		said, thought, called := "", "", ""
		for _, b := range r.Messages[0].Blocks {
			switch b := b.(type) {
			case chat.Text:
				said += b.Text
			case chat.Thinking:
				thought += b.Signature
			case chat.Redacted:
				thought += b.Data
			case chat.ToolUse:
				called += b.ID
			}
		}
		if want := strings.ToValidUTF8(content, "\ufffd"); len(r.Messages) == 1 && (thought != "12" || called != "u" || len([]rune(said)) != len([]rune(content)) && said != want) {
			t.Fatalf("%q, %q, %q of %s", said, thought, called, body)
		}
	})
}
