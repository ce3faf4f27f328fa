package bedrock

import (
	"strings"
	"testing"

	"aisix/extproc/chat"
)

func TestObjectText(t *testing.T) {
	for in, want := range map[string]string{
		`{"a":1}`:                          `{"a":1}`,
		"```json\n{\"a\": 1}\n```":         `{"a": 1}`,
		"```\n{\"a\":\"```\"}\n```\nDone.": "{\"a\":\"```\"}",
		"Here you are:\n\n{ \"a\": {} }\n": `{ "a": {} }`,
		`{}`:                               `{}`,
		"{\n}":                             "{\n}",
		`{"a":"}\"}\\"} tail {"b":2}`:      `{"a":"}\"}\\"}`,
		`{"a":[{"b":[]}]}]`:                `{"a":[{"b":[]}]}`,
		`A set {a, b} is {"a":1}`:          `{"a":1}`,
		`{"a":1`:                           `{"a":1`, // cut off
		`[{"a":1},{"b":2}]`:                `[{"a":1},{"b":2}]`,
		"```json\n[{\"a\":1}]\n```":        "```json\n[{\"a\":1}]\n```",
		"I can't do that.":                 "I can't do that.",
		"{":                                "{",
		"so {  ":                           "so {  ",
		``:                                 ``,
		"é {\"é\":\"👍\"} é":                `{"é":"👍"}`,
	} {
		for _, n := range []int{1, 2, 3, 5, 1000} {
			if got := pieces(new(objectText), in, n); got != want {
				t.Errorf("%q by %d bytes is %q, want %q", in, n, got, want)
			}
		}
	}
}

// FuzzObjectText: any cut gives what the whole gives, which is a part of the text.
func FuzzObjectText(f *testing.F) {
	for _, s := range []string{`{"a":1}`, "```json\n{\"a\":\"\\\"}\"}\n```", "x {y {\"z\":{}}", "``` [", "{ \n\"", "```js{\"a\":1}\n[", strings.Repeat(" ", 70) + `[{"a":1}]`} {
		f.Add(s, 3)
	}
	f.Fuzz(func(t *testing.T, text string, n int) {
		n = 1 + max(n, -n)&15
		whole := pieces(new(objectText), text, len(text)+1)
		if got := pieces(new(objectText), text, n); got != whole {
			t.Errorf("%q by %d bytes is %q, whole it is %q", text, n, got, whole)
		}
		if !strings.Contains(text, whole) || whole == "" && text != "" {
			t.Errorf("%q became %q", text, whole)
		}
	})
}

// Nothing of an object that has begun is held back.
func TestObjectTextStreams(t *testing.T) {
	var o objectText
	for _, step := range []struct{ in, out string }{{"```json\n", ""}, {"{\"a", "{\"a"}, {"\":1", "\":1"}, {"}\n", "}"}, {"```", ""}} {
		if got := string(o.write(nil, step.in)); got != step.out {
			t.Errorf("%q gave %q, want %q", step.in, got, step.out)
		}
	}
}

func TestInside(t *testing.T) {
	for in, want := range map[string]string{
		`{"answer":{"a":1}}`:                     `{"a":1}`,
		" {\n \"answer\" : [1, {\"}\":2}] \n}\n": "[1, {\"}\":2}] \n",
		`{"answer":"a}\",b"}`:                    `"a}\",b"`,
		`{"answer":12}`:                          `12`,
		`{"answer":null,"x":1}`:                  `null`,
		`{"a":1}`:                                `{"a":1}`,
		`{"answers":1}`:                          `{"answers":1}`,
		`{"answer":{"a":`:                        `{"a":`,
		`{"answ`:                                 `{"answ`,
		`{}`:                                     `{}`,
		`No.`:                                    `No.`,
		``:                                       ``,
	} {
		for _, n := range []int{1, 2, 3, 5, 1000} {
			if got := pieces(&unwrap{name: "answer"}, in, n); got != want {
				t.Errorf("%q by %d bytes is %q, want %q", in, n, got, want)
			}
		}
	}
}

func FuzzInside(f *testing.F) {
	for _, s := range []string{`{"answer":{"a":1}}`, `{ "answer" : "\"}" , "b":1}`, `{"answer"`, `{"answer":]`, "\n{"} {
		f.Add(s, 3)
	}
	f.Fuzz(func(t *testing.T, text string, n int) {
		n = 1 + max(n, -n)&15
		names := map[string]string{"a": "ä"}
		fresh := func() filter { return filters{&unwrap{name: "answer"}, newKeys(names)} }
		whole := pieces(fresh(), text, len(text)+1)
		if got := pieces(fresh(), text, n); got != whole {
			t.Errorf("%q by %d bytes is %q, whole it is %q", text, n, got, whole)
		}
	})
}

// Where the instruction stands: behind the caller's cache points, in every family.
func TestJSONObjectIsAskedForInWords(t *testing.T) {
	for _, id := range append(realIDs, "novel.model-v1:0", "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/abc") {
		for _, schema := range []string{``, `{"type":"object"}`, `{"type":"object","properties":{},"additionalProperties":true}`, `{}`} {
			r := userSays("q")
			m := target(id)
			if !denies(m.family.Capabilities.System) {
				r.System = []chat.Block{chat.Text{Text: "s"}, chat.CachePoint{}}
			}
			r.Format = &chat.Format{Schema: []byte(schema)}
			body := string(newCall(t, r, m).body)
			if strings.Contains(body, "json_output") || strings.Contains(body, "toolC") || strings.Contains(body, "tool_c") || strings.Contains(body, "utput") || strings.Count(body, objectInstruction) != 1 {
				t.Errorf("%s: %s", id, body)
			}
			// The prefix up to the caller's cache point is what it is without a format.
			plain := *r
			plain.Format = nil
			without := string(newCall(t, &plain, m).body)
			if before, _, _ := strings.Cut(body, objectInstruction); m.apiOf(r).anthropic() && !strings.HasPrefix(without, strings.TrimSuffix(before, `,{"type":"text","text":"`)) {
				t.Errorf("%s: the prefix is %s, without a format %s", id, before, without)
			}
		}
	}
}

func TestJSONObjectBesideWhatElseIsAsked(t *testing.T) {
	tool := chat.Tool{Name: "f"}
	for name, test := range map[string]struct {
		change        func(r *chat.Request)
		asked, object bool
	}{
		"a tool that may be called":     {func(r *chat.Request) { r.Tools = []chat.Tool{tool} }, true, true},
		"a tool that may not be called": {func(r *chat.Request) { r.Tools, r.ToolChoice.Mode = []chat.Tool{tool}, chat.ToolChoiceNone }, true, true},
		"a tool that must be called":    {func(r *chat.Request) { r.Tools, r.ToolChoice.Mode = []chat.Tool{tool}, chat.ToolChoiceAny }, false, false},
		"an answer that the caller began": {func(r *chat.Request) {
			r.Messages = append(r.Messages, chat.Message{Role: chat.Assistant, Blocks: []chat.Block{chat.Text{Text: "{"}}})
		}, true, false},
		"thinking": {func(r *chat.Request) { r.Reasoning = &chat.Reasoning{Effort: "high"} }, true, true},
	} {
		r := userSays("q")
		r.Format = &chat.Format{}
		test.change(r)
		c := newCall(t, r, target("anthropic.claude-sonnet-4-20250514-v1:0"))
		if asked := strings.Contains(string(c.body), objectInstruction); asked != test.asked || c.object != test.object {
			t.Errorf("%s: asked %t, cleaned %t: %s", name, asked, c.object, c.body)
		}
	}
}

// A call of a tool takes nothing from what was said before it.
func TestObjectBesideACall(t *testing.T) {
	for name, test := range map[string]struct {
		events []chat.Event
		want   string
	}{
		"text, then a call":    {[]chat.Event{chat.TextDelta{Text: "Let me "}, chat.TextDelta{Text: "see."}, chat.BlockStop{}, chat.ToolStart{Index: 1, Name: "f"}, chat.BlockStop{Index: 1}, chat.Stop{Reason: chat.ToolUseStop}}, "Let me see."},
		"an object and a call": {[]chat.Event{chat.TextDelta{Text: "x {\"a\""}, chat.TextDelta{Text: ":1} y"}, chat.BlockStop{}, chat.ToolStart{Index: 1, Name: "f"}, chat.BlockStop{Index: 1}, chat.Stop{Reason: chat.ToolUseStop}}, `{"a":1}`},
		"two blocks":           {[]chat.Event{chat.TextDelta{Text: "Here: "}, chat.BlockStop{}, chat.TextDelta{Index: 1, Text: `{"a":1}`}, chat.BlockStop{Index: 1}, chat.Stop{Reason: chat.EndTurn}}, `{"a":1}`},
		"a server's tool":      {[]chat.Event{chat.TextDelta{Text: "Searching. "}, chat.BlockStop{}, chat.ToolStart{Index: 1, Name: "s", Server: true}, chat.BlockStop{Index: 1}, chat.TextDelta{Index: 2, Text: `{"a":1}`}, chat.Stop{Reason: chat.EndTurn}}, `{"a":1}`},
		"none":                 {[]chat.Event{chat.TextDelta{Text: "No."}, chat.BlockStop{}, chat.Stop{Reason: chat.Refusal}}, "No."},
	} {
		r := restorer{object: true, answer: filters{new(objectText)}}
		text := ""
		for _, e := range test.events {
			for _, e := range r.events([]chat.Event{e}) {
				if d, ok := e.(chat.TextDelta); ok {
					text += d.Text
				}
			}
		}
		if text != test.want {
			t.Errorf("%s: %q, want %q", name, text, test.want)
		}
	}
}

// Reasoning stands where it stood: its signature holds for that order.
func TestObjectBesideReasoning(t *testing.T) {
	says := func(i int, s string) []chat.Event {
		return []chat.Event{chat.TextDelta{Index: i, Text: s}, chat.BlockStop{Index: i}}
	}
	thinks := func(i int, s string) []chat.Event {
		return []chat.Event{chat.ThinkingDelta{Index: i, Text: s}, chat.ThinkingDelta{Index: i, Signature: "c2ln"}, chat.BlockStop{Index: i}}
	}
	calls := func(i int) []chat.Event {
		return []chat.Event{chat.ToolStart{Index: i, ID: "c", Name: "f"}, chat.BlockStop{Index: i}}
	}
	for name, test := range map[string]struct {
		events [][]chat.Event
		want   string
	}{
		"text between, then a call":   {[][]chat.Event{thinks(0, "a"), says(1, "Let me "), thinks(2, "b"), says(3, "see."), thinks(4, "c"), calls(5)}, "<a>Let me <b>see.<c>f()"},
		"text between, and no object": {[][]chat.Event{thinks(0, "a"), says(1, "No."), thinks(2, "b"), says(3, "Never.")}, "<a>No.<b>Never."},
		"text between, then a list":   {[][]chat.Event{thinks(0, "a"), says(1, "```"), thinks(2, "b"), says(3, "[1]")}, "<a>```<b>[1]"},
		"text between, then it":       {[][]chat.Event{thinks(0, "a"), says(1, "Here: "), thinks(2, "b"), says(3, `x {"a":1} y`)}, `<a><b>{"a":1}`},
		"behind the object":           {[][]chat.Event{says(0, `{"a":1}`), thinks(1, "a"), says(2, "y")}, `{"a":1}<a>`},
		"called between":              {[][]chat.Event{says(0, "One."), calls(1), thinks(2, "a"), says(3, "Two."), thinks(4, "b")}, "One.f()<a>Two.<b>"},
	} {
		for _, r := range []restorer{{object: true, answer: filters{new(objectText)}}, {object: true, output: "out"}} {
			byTool := r.output != ""
			var in, got []chat.Event
			for _, events := range test.events {
				in = append(in, events...)
			}
			for _, e := range append(in, chat.Stop{Reason: chat.EndTurn}) {
				got = append(got, r.events([]chat.Event{e})...)
			}
			text := ""
			for _, e := range got {
				switch e := e.(type) {
				case chat.TextDelta:
					text += e.Text
				case chat.ThinkingDelta:
					if e.Text != "" {
						text += "<" + e.Text + ">"
					}
				case chat.ToolStart:
					text += e.Name + "()"
				}
			}
			if byTool && name == "called between" { // the call does not wait for the text; how much of it came is told by count
				continue
			}
			if _, stop := got[len(got)-1].(chat.Stop); text != test.want || !stop || len(r.behind) > 0 {
				t.Errorf("%s, by a tool %v: %q, want %q", name, byTool, text, test.want)
			}
		}
	}
}
