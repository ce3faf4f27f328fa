package bedrock

import (
	"bytes"
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"

	"aisix/extproc/chat"
)

// Names that Bedrock does not take come back as the caller wrote them, in whole
// answers and in streams, and so do ids in history as far as the model repeats them.
func TestToolNamesBothWays(t *testing.T) {
	long := strings.Repeat("n", 65)
	names := []string{"get_weather", "hyphen-ated", "with space", "with.space", "with/space", "ünïcode", "模型", long, long + "2", "with_space", " ", "a"}
	r := userSays("q")
	for _, n := range names {
		r.Tools = append(r.Tools, chat.Tool{Name: n})
	}
	r.Messages = append(r.Messages,
		chat.Message{Role: chat.Assistant, Blocks: []chat.Block{chat.ToolUse{ID: "call 1", Name: "gone tool"}, chat.ToolUse{ID: "call.1", Name: "with.space"}}},
		chat.Message{Role: chat.User, Blocks: []chat.Block{chat.ToolResult{ID: "call.1"}, chat.ToolResult{ID: "call 1"}}})
	r.ToolChoice = chat.ToolChoice{Mode: chat.ToolChoiceTool, Name: "ünïcode"}
	for _, model := range []string{converseModel, claudeModel} {
		c := newCall(t, r, target(model))
		var wire []string
		for _, name := range append(slices.Clone(names), "gone tool") {
			found := name
			for alias, origin := range c.names {
				if origin == name {
					found = alias
				}
			}
			if !legal(found) {
				t.Errorf("%s: %q goes out as %q", model, name, found)
			}
			if slices.Contains(wire, found) {
				t.Errorf("%s: two tools are %q", model, found)
			}
			wire = append(wire, found)
			if legal(name) && found != name {
				t.Errorf("%s: %q is legal and goes out as %q", model, name, found)
			}
		}
		if n := strings.Count(string(c.body), wire[5]); n != 2 {
			t.Errorf("%s: the tool that is chosen stands %d times in %s", model, n, c.body)
		}
		for i, name := range append(slices.Clone(names), "gone tool", "made up") {
			called := "made up"
			if i < len(wire) {
				called = wire[i]
			}
			var reply []byte
			var frames []byte
			if model == converseModel {
				reply = []byte(`{"output":{"message":{"role":"assistant","content":[{"toolUse":{"toolUseId":"t","name":"` + called + `","input":{}}}]}},"stopReason":"tool_use","usage":{"inputTokens":1,"outputTokens":1,"totalTokens":2}}`)
				frames = frame(t, "event", "contentBlockStart", `{"contentBlockIndex":0,"start":{"toolUse":{"toolUseId":"t","name":"`+called+`"}}}`)
			} else {
				reply = []byte(`{"type":"message","id":"m","content":[{"type":"tool_use","id":"t","name":"` + called + `","input":{}}],"stop_reason":"tool_use","usage":{"input_tokens":1,"output_tokens":1}}`)
				frames = chunk(t, `{"type":"content_block_start","index":0,"content_block":{"type":"tool_use","id":"t","name":"`+called+`","input":{}}}`)
			}
			events, err := c.reply(200, http.Header{"Content-Type": {"application/json"}}).Whole(reply)
			if err != nil {
				t.Fatal(err)
			}
			streaming := *r
			streaming.Stream = true
			streamed, err := newCall(t, &streaming, target(model)).reply(200, nil).Events(bytes.NewReader(frames)).Next()
			if err != nil {
				t.Fatal(err)
			}
			for _, got := range []chat.Event{events[1], streamed[0]} {
				if got.(chat.ToolStart).Name != name {
					t.Errorf("%s: %q came back as %q", model, name, got.(chat.ToolStart).Name)
				}
			}
		}
	}
}

func FuzzAliases(f *testing.F) {
	f.Add("a b", "a_b", "a.b", "json_output")
	f.Add("", " ", "tool", "tool_e3b0c442")
	f.Add(strings.Repeat("x", 200), strings.Repeat("x", 64), "\xff", "é")
	f.Fuzz(func(t *testing.T, a, b, c, d string) {
		names := []string{a, b, c, d}
		aliases := newAliases(names)
		reserved := aliases.reserve(outputTool)
		wire := map[string]string{reserved: "\x00reserved"}
		for _, n := range names {
			w := aliases.wire(n)
			if !legal(w) {
				t.Errorf("%q goes out as %q", n, w)
			}
			if other, taken := wire[w]; taken && other != n {
				t.Errorf("%q and %q both go out as %q", n, other, w)
			}
			wire[w] = n
			if back, ok := aliases.origin[w]; ok && back != n || !ok && w != n {
				t.Errorf("%q comes back as %q", n, back)
			}
		}
	})
}

// The tool that stands in for structured output is the answer's text, and its use
// an ordinary end.
func TestOutputToolIsTheText(t *testing.T) {
	use := func(i int, name, input string) []chat.Event {
		events := []chat.Event{chat.ToolStart{Index: i, ID: "t" + strconv.Itoa(i), Name: name}}
		for len(input) > 0 {
			n := min(3, len(input))
			events, input = append(events, chat.ToolDelta{Index: i, JSON: input[:n]}), input[n:]
		}
		return append(events, chat.BlockStop{Index: i})
	}
	says := func(i int, s string) []chat.Event {
		return []chat.Event{chat.TextDelta{Index: i, Text: s}, chat.BlockStop{Index: i}}
	}
	for name, tt := range map[string]struct {
		events [][]chat.Event
		stop   chat.StopReason
		want   string // text, calls, stop
	}{
		"alone":                    {[][]chat.Event{use(0, "out", `{"a":1}`)}, chat.ToolUseStop, `{"a":1}||end_turn`},
		"without input":            {[][]chat.Event{use(0, "out", ``)}, chat.ToolUseStop, `{}||end_turn`},
		"with chatter around":      {[][]chat.Event{says(0, "Sure: "), use(1, "out", `{"a":1}`), says(2, " done")}, chat.ToolUseStop, `{"a":1}||end_turn`},
		"twice":                    {[][]chat.Event{use(0, "out", `{"a":1}`), use(1, "out", `{"b":2}`)}, chat.ToolUseStop, `{"a":1}||end_turn`},
		"cut":                      {[][]chat.Event{use(0, "out", `{"a":`)}, chat.MaxTokens, `{"a":||max_tokens`},
		"not used: the text is it": {[][]chat.Event{says(0, `{"a":1}`)}, chat.EndTurn, `{"a":1}||end_turn`},
		"never begun":              {[][]chat.Event{{chat.ToolStart{Index: 0, ID: "t", Name: "out"}}}, chat.ToolUseStop, `{}||end_turn`},
		"a call beside it":         {[][]chat.Event{use(0, "out", `{"a":1}`), use(1, "f", `{"b":1}`)}, chat.ToolUseStop, `{"a":1}|f{"b":1}|tool_use`},
		"said to be the end":       {[][]chat.Event{use(0, "out", `{"a":1}`)}, chat.EndTurn, `{"a":1}||end_turn`},
		"not used, in a fence":     {[][]chat.Event{says(0, "```json\n{\"a\":"), says(1, "1}\n```")}, chat.EndTurn, `{"a":1}||end_turn`},
		"not used, and no answer":  {[][]chat.Event{says(0, "Which city?")}, chat.EndTurn, `Which city?||end_turn`},
		"another tool instead":     {[][]chat.Event{says(0, "let me see"), use(1, "f", `{"b":1}`)}, chat.ToolUseStop, `let me see|f{"b":1}|tool_use`},
	} {
		r, ends := restorer{output: "out", object: true}, stops{}
		var got []chat.Event
		for _, batch := range append(tt.events, []chat.Event{chat.Stop{Reason: tt.stop}}, []chat.Event{chat.UsageSnapshot{Usage: chat.Usage{Input: ptr(1), Output: ptr(1)}}}) {
			for _, e := range batch { // one by one, as a stream brings them
				kept, _, err := ends.name(r.events([]chat.Event{e}))
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, kept...)
			}
		}
		answer, err := chat.Collect(got)
		if err != nil {
			t.Fatal(err)
		}
		var text, calls string
		for _, b := range answer.Blocks {
			switch b := b.(type) {
			case chat.Text:
				text += b.Text
			case chat.ToolUse:
				calls += b.Name + string(b.Input)
			}
		}
		if s := text + "|" + calls + "|" + string(answer.Stop); s != tt.want {
			t.Errorf("%s: %s, want %s", name, s, tt.want)
		}
	}
}

func TestServerToolsAreNoCallsOfTheCallers(t *testing.T) {
	events, err := newCall(t, userSays("q"), target(claudeModel)).reply(200, http.Header{"Content-Type": {"application/json"}}).Whole([]byte(
		`{"type":"message","id":"m","content":[{"type":"server_tool_use","id":"s","name":"web_search","input":{"query":"x"}},{"type":"web_search_tool_result","tool_use_id":"s","content":[{"type":"web_search_result","title":"t","encrypted_content":"e"}]},{"type":"text","text":"found","citations":[{"type":"web_search_result_location","cited_text":"c","url":"u"}]}],"stop_reason":"end_turn","usage":{"input_tokens":1,"output_tokens":1,"server_tool_use":{"web_search_requests":1}}}`))
	if err != nil {
		t.Fatal(err)
	}
	answer, err := chat.Collect(events)
	if err != nil || len(answer.Blocks) != 1 || answer.Blocks[0] != (chat.Text{Text: "found"}) || answer.Stop != chat.EndTurn {
		t.Errorf("%+v, %v", answer, err)
	}
}

func TestToolInputKeepsDigitsAndOrder(t *testing.T) {
	const input = `{"z":1.50,"big":12345678901234567890123,"a":"<&>\u00e9","n":{"y":1E+2,"x":[]}}`
	events, err := newCall(t, userSays("q"), target(converseModel)).reply(200, http.Header{"Content-Type": {"application/json"}}).Whole([]byte(
		`{"output":{"message":{"role":"assistant","content":[{"text":"a"},{"novel":{}},{"toolUse":{"toolUseId":"t","name":"f","input":` + input + `}}]}},"stopReason":"tool_use","usage":{"inputTokens":1,"outputTokens":2,"totalTokens":3}}`))
	if err != nil {
		t.Fatal(err)
	}
	answer, err := chat.Collect(events)
	if err != nil || len(answer.Blocks) != 2 || string(answer.Blocks[1].(chat.ToolUse).Input) != input {
		t.Errorf("%+v, %v", answer, err)
	}
	// And in history, back to the model.
	r := userSays("q")
	r.Messages = append(r.Messages, chat.Message{Role: chat.Assistant, Blocks: []chat.Block{chat.ToolUse{ID: "t", Name: "f", Input: json.RawMessage(input)}}},
		chat.Message{Role: chat.User, Blocks: []chat.Block{chat.ToolResult{ID: "t"}}})
	for _, model := range []string{converseModel, claudeModel} {
		if body := string(newCall(t, r, target(model)).body); !strings.Contains(body, `"input":`+input) {
			t.Errorf("%s: %s", model, body)
		}
	}
}
