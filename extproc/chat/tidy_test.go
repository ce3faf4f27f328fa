package chat

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"aisix/extproc/fault"
)

func text(s string) Block             { return Text{Text: s} }
func use(id, input string) ToolUse    { return ToolUse{ID: id, Name: "f", Input: json.RawMessage(input)} }
func says(r Role, b ...Block) Message { return Message{Role: r, Blocks: b} }

func answers(id string, b ...Block) ToolResult { return ToolResult{ID: id, Blocks: b} }

// placed gives messages the Params that a dialect gives them.
func placed(messages []Message) []Message {
	for i := range messages {
		messages[i].Param = "messages[" + string(rune('0'+i)) + "]"
	}
	return messages
}

func TestTidy(t *testing.T) {
	cached := CachePoint{TTL: "1h"}
	signed := Thinking{Text: "hm", Signature: "s"}
	for _, test := range []struct {
		name     string
		messages []Message
		want     []Message // without Param
	}{
		{"neighbours of one role are merged part by part, texts not joined",
			[]Message{says(User, text("a")), says(User, text("b"), text("c"))},
			[]Message{says(User, text("a"), text("b"), text("c"))}},
		{"results of one assistant turn stand in one user turn, first, in the order of the calls",
			[]Message{says(User, text("q")), says(Assistant, use("a", "{}"), use("b", "{}")), says(User, answers("b", text("2"))), says(User, text("and?")), says(User, answers("a", text("1")))},
			[]Message{says(User, text("q")), says(Assistant, use("a", "{}"), use("b", "{}")), says(User, answers("a", text("1")), answers("b", text("2")), text("and?"))}},
		{"calls of neighbouring assistant messages are one turn's",
			[]Message{says(User, text("q")), says(Assistant, use("a", "{}")), says(Assistant, use("b", "{}")), says(User, answers("b", text("2"))), says(User, answers("a", text("1")))},
			[]Message{says(User, text("q")), says(Assistant, use("a", "{}"), use("b", "{}")), says(User, answers("a", text("1")), answers("b", text("2")))}},
		{"assistant blocks go out in the order in which the model spoke",
			[]Message{says(Assistant, signed, text("t"), Redacted{Data: "r"}, use("a", "{}"), Thinking{Signature: "t"}, use("b", "{}")), says(User, answers("b", text("2")), answers("a", text("1")))},
			[]Message{says(Assistant, signed, text("t"), Redacted{Data: "r"}, use("a", "{}"), Thinking{Signature: "t"}, use("b", "{}")), says(User, answers("a", text("1")), answers("b", text("2")))}},
		{"of messages that are merged each keeps its own order, one after the other",
			[]Message{says(Assistant, signed, text("t"), use("a", "{}")), says(Assistant, Thinking{Signature: "t"}, text("u"), use("b", "{}")), says(User, answers("b", text("2")), text("and?"), answers("a", text("1")))},
			[]Message{says(Assistant, signed, text("t"), use("a", "{}"), Thinking{Signature: "t"}, text("u"), use("b", "{}")), says(User, answers("a", text("1")), answers("b", text("2")), text("and?"))}},
		{"signed reasoning without text stays, unsigned is left out",
			[]Message{says(Assistant, Thinking{Text: "x"}, Thinking{Signature: "s"}, text("t")), says(User, text("u"))},
			[]Message{says(Assistant, Thinking{Signature: "s"}, text("t")), says(User, text("u"))}},
		{"blank text is dropped where another block remains",
			[]Message{says(User, text(""), text("a"), text(" \n\t"))},
			[]Message{says(User, text("a"))}},
		{"a blank message beside another of its role is dropped",
			[]Message{says(User, text("")), says(User, text("a"))},
			[]Message{says(User, text("a"))}},
		{"the last assistant text of a prefill loses trailing white space, others keep it",
			[]Message{says(User, text("a ")), says(Assistant, text("b ")), says(User, text("c ")), says(Assistant, text("{ "), text("x \n"))},
			[]Message{says(User, text("a ")), says(Assistant, text("b ")), says(User, text("c ")), says(Assistant, text("{ "), text("x"))}},
		{"a trailing call is sent on: the conversation does not go on",
			[]Message{says(User, text("a")), says(Assistant, use("a", "{}"))},
			[]Message{says(User, text("a")), says(Assistant, use("a", "{}"))}},
		{"a first turn by the assistant is sent on",
			[]Message{says(Assistant, text("b")), says(User, text("a"))},
			[]Message{says(Assistant, text("b")), says(User, text("a"))}},
		{"a tool result is never empty, in errors too; blank text beside something is dropped",
			[]Message{says(Assistant, use("a", "{}"), use("b", "{}"), use("c", "{}")),
				says(User, answers("a"), ToolResult{ID: "b", Blocks: []Block{text(" ")}, IsError: true}, answers("c", text(""), text("x")))},
			[]Message{says(Assistant, use("a", "{}"), use("b", "{}"), use("c", "{}")),
				says(User, answers("a", text("(empty)")), ToolResult{ID: "b", Blocks: []Block{text("(empty)")}, IsError: true}, answers("c", text("x")))}},
		{"arguments in history become an object",
			[]Message{says(Assistant, use("a", " "), use("b", `{"x": 1}`), use("c", `[1]`), use("d", `{"x":`), use("e", `"s"`)),
				says(User, answers("a", text("1")), answers("b", text("1")), answers("c", text("1")), answers("d", text("1")), answers("e", text("1")))},
			[]Message{says(Assistant, use("a", "{}"), use("b", `{"x": 1}`), use("c", `{"arguments":"[1]"}`), use("d", `{"arguments":"{\"x\":"}`), use("e", `{"arguments":"\"s\""}`)),
				says(User, answers("a", text("1")), answers("b", text("1")), answers("c", text("1")), answers("d", text("1")), answers("e", text("1")))}},
		{"cache points follow their block; that of a dropped block moves to the one before",
			[]Message{says(Assistant, use("a", "{}"), cached, text("t"), text(""), cached), says(User, text("u"), answers("a", text("1")), cached)},
			[]Message{says(Assistant, use("a", "{}"), cached, text("t"), cached), says(User, answers("a", text("1")), cached, text("u"))}},
		{"a cache point with nothing before it marks nothing, two on one spot are one",
			[]Message{says(User, cached, text("u"), cached, cached)},
			[]Message{says(User, text("u"), cached)}},
		{"no messages are no error here", nil, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			in := &Request{Messages: placed(test.messages)}
			before, _ := json.Marshal(in)
			if err := Check(in); err != nil {
				t.Fatal(err)
			}
			got, err := Tidy(in)
			if err != nil {
				t.Fatal(err)
			}
			if after, _ := json.Marshal(in); string(after) != string(before) {
				t.Errorf("Tidy changed its argument to %s", after)
			}
			if err := Check(got); err != nil {
				t.Errorf("what is tidy is refused: %v", err)
			}
			again, err := Tidy(got)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(got, again); diff != "" {
				t.Errorf("tidied twice is not tidied once:\n%s", diff)
			}
			for i := range got.Messages {
				if got.Messages[i].Param == "" {
					t.Errorf("turn %d lost its place", i)
				}
				got.Messages[i].Param = ""
			}
			if diff := cmp.Diff(append([]Message{}, test.want...), got.Messages); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestTidySystem(t *testing.T) {
	got, err := Tidy(&Request{System: []Block{text("a"), text(" "), CachePoint{}, text("b")}})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]Block{text("a"), CachePoint{}, text("b")}, got.System); diff != "" {
		t.Error(diff)
	}
}

func TestNothingIsLeft(t *testing.T) {
	for name, test := range map[string]struct {
		messages []Message
		param    string
	}{
		"a blank turn":           {[]Message{says(User, text("a")), says(Assistant, text(" ")), says(User, text("b"))}, "messages[1]"},
		"unsigned reasoning":     {[]Message{says(User, text("a")), says(Assistant, Thinking{Text: "x"})}, "messages[1]"},
		"a cache point":          {[]Message{says(User, CachePoint{})}, "messages[0]"},
		"several blank messages": {[]Message{says(User, text("")), says(User, text("\n"))}, "messages[0]"},
	} {
		in := &Request{Messages: placed(test.messages)}
		if err := Check(in); err != nil {
			t.Errorf("%s: %v; that is for Tidy to say", name, err)
		}
		_, err := Tidy(in)
		if f := fault.From(err); err == nil || f.Status != 400 || f.Param != test.param || !strings.Contains(f.Message, test.param) {
			t.Errorf("%s: %v, want a 400 for %s", name, err, test.param)
		}
	}
}

// What a caller sent does not grow where it is kept as text, nor in what is said of
// it.
func TestNothingGrows(t *testing.T) {
	input := strings.Repeat("<&>", 100_000)
	got, err := Tidy(&Request{Messages: placed([]Message{says(Assistant, use("a", input)), says(User, answers("a", text("1")))})})
	if err != nil {
		t.Fatal(err)
	}
	if kept := got.Messages[0].Blocks[0].(ToolUse).Input; len(kept) != len(input)+len(`{"arguments":""}`) {
		t.Errorf("arguments of %d bytes became %d", len(input), len(kept))
	}
	id := strings.Repeat("ü", 1<<20)
	for name, messages := range map[string][]Message{
		"no call":     {says(User, answers(id, text("1")))},
		"no result":   {says(Assistant, use(id, "")), says(User, text("q"))},
		"two results": {says(Assistant, use(id, "")), says(User, answers(id), answers(id))},
		"two calls":   {says(Assistant, use(id, ""), use(id, "")), says(User, answers(id))},
	} {
		err := Check(&Request{Messages: placed(messages)})
		if f := fault.From(err); f.Status != 400 || len(f.Message) > 400 || !strings.Contains(f.Message, id[:60]) {
			t.Errorf("%s: %d %.500s", name, f.Status, f.Message)
		}
	}
}

func TestImageFormat(t *testing.T) {
	for data, want := range map[string]string{
		"\x89PNG\r\n\x1a\n...": "png", "\xff\xd8\xff\xe0": "jpeg", "GIF89a": "gif", "GIF87a": "gif",
		"RIFF\x00\x00\x00\x00WEBPVP8 ": "webp", "RIFF\x00\x00\x00\x00WAVE": "", "": "", "<svg>": "", "BM": "",
	} {
		if got := ImageFormat([]byte(data)); got != want {
			t.Errorf("ImageFormat(%q) = %q, want %q", data, got, want)
		}
	}
}
