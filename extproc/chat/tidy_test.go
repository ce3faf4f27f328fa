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
		{"reasoning at the end is left out, and the turn that is nothing else",
			[]Message{says(User, text("a")), says(Assistant, signed), says(User, text("b")), says(Assistant, Redacted{Data: "r"}, cached, signed)},
			[]Message{says(User, text("a")), says(Assistant, signed), says(User, text("b"), cached)}},
		{"a prefill ends where the model spoke last",
			[]Message{says(User, text("a")), says(Assistant, signed, text("b\n"), signed, Redacted{Data: "r"}), says(Assistant)},
			[]Message{says(User, text("a")), says(Assistant, signed, text("b"))}},
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
		{"arguments that not every service reads are kept as text",
			[]Message{says(Assistant, use("a", `{"x":"\ud83d"}`), use("b", `{"x":1,"x":2}`), use("c", `{"x":"\ud83d\ude00","y":{"x":1}}`)), says(User, answers("a", text("1")), answers("b", text("1")), answers("c", text("1")))},
			[]Message{says(Assistant, use("a", `{"arguments":"{\"x\":\"\\ud83d\"}"}`), use("b", `{"arguments":"{\"x\":1,\"x\":2}"}`), use("c", `{"x":"\ud83d\ude00","y":{"x":1}}`)), says(User, answers("a", text("1")), answers("b", text("1")), answers("c", text("1")))}},
		{"cache points follow their block; that of a dropped block moves to the one before",
			[]Message{says(Assistant, use("a", "{}"), cached, text("t"), text(""), cached), says(User, text("u"), answers("a", text("1")), cached)},
			[]Message{says(Assistant, use("a", "{}"), cached, text("t"), cached), says(User, answers("a", text("1")), cached, text("u"))}},
		{"a cache point with nothing before it marks nothing, two on one spot are one",
			[]Message{says(User, cached, text("u"), cached, cached)},
			[]Message{says(User, text("u"), cached)}},
		{"an assistant's turn with nothing in it is left out, and the user's become one",
			[]Message{says(User, text("hi")), says(Assistant, text("")), says(User, text("go on"))},
			[]Message{says(User, text("hi"), text("go on"))}},
		{"so are ones of white space, of unsigned reasoning, of no block, and a row of them",
			[]Message{says(User, text("a")), says(Assistant, text(" \n"), text("")), says(Assistant), says(Assistant, Thinking{Text: "x"}), says(User, text("b")), says(Assistant, text("c")), says(User, text("d"))},
			[]Message{says(User, text("a"), text("b")), says(Assistant, text("c")), says(User, text("d"))}},
		{"a blank turn of the user's in mid-history makes the assistant's one",
			[]Message{says(User, text("a")), says(Assistant, text("b ")), says(User, text(" ")), says(Assistant, text("c")), says(User, text("d"))},
			[]Message{says(User, text("a")), says(Assistant, text("b "), text("c")), says(User, text("d"))}},
		{"turns with nothing in them between calls and results, and behind them",
			[]Message{says(User, text("q")), says(Assistant, use("a", "{}")), says(User, text("")), says(Assistant, text("")), says(User, answers("a", text("1"))), says(Assistant), says(User, text("x"))},
			[]Message{says(User, text("q")), says(Assistant, use("a", "{}")), says(User, answers("a", text("1")), text("x"))}},
		{"a last turn by the assistant with nothing in it is left out",
			[]Message{says(User, text("a")), says(Assistant, text("b ")), says(User, text("c ")), says(Assistant, text(" "))},
			[]Message{says(User, text("a")), says(Assistant, text("b ")), says(User, text("c "))}},
		{"a first turn with nothing in it too",
			[]Message{says(User, text("")), says(Assistant, text("")), says(User, text("c"))},
			[]Message{says(User, text("c"))}},
		{"the cache mark of a turn that is left out moves to the block before it",
			[]Message{says(User, text("a"), text("b")), says(Assistant, text(""), cached), says(User, text("c")), says(Assistant, text("d")), says(User, cached), says(Assistant, text("e")), says(User, text("f"))},
			[]Message{says(User, text("a"), text("b"), cached, text("c")), says(Assistant, text("d"), cached, text("e")), says(User, text("f"))}},
		{"that of a turn's first blank block as well, unless there is one",
			[]Message{says(User, text("a")), says(Assistant, text("b"), CachePoint{}), says(User, text(""), cached, text("c"))},
			[]Message{says(User, text("a")), says(Assistant, text("b"), CachePoint{}), says(User, text("c"))}},

		{"a system message keeps its place and its mark",
			[]Message{says(User, text("a")), says(Assistant, text("b")), says(System, text("s"), cached, text("")), says(System, text("t")), says(User, text("c")), says(System, text("u"))},
			[]Message{says(User, text("a")), says(Assistant, text("b")), says(System, text("s"), cached, text("t")), says(User, text("c")), says(System, text("u"))}},
		{"between two of the assistant's it parts them; a blank one does not",
			[]Message{says(User, text("a")), says(Assistant, text("b")), says(System, text("s")), says(Assistant, text("c")), says(System, text(" ")), says(Assistant, text("d")), says(User, text("e"))},
			[]Message{says(User, text("a")), says(Assistant, text("b")), says(System, text("s")), says(Assistant, text("c"), text("d")), says(User, text("e"))}},
		{"between calls and results, and between results, it stands behind the results",
			[]Message{says(User, text("q")), says(Assistant, use("a", "{}"), use("b", "{}")), says(System, text("s"), cached), says(User, answers("b", text("2"))), says(System, text("t")), says(User, answers("a", text("1"))), says(User, text("x"))},
			[]Message{says(User, text("q")), says(Assistant, use("a", "{}"), use("b", "{}")), says(User, answers("a", text("1")), answers("b", text("2"))), says(System, text("s"), cached, text("t")), says(User, text("x"))}},
		{"between two assistant messages the first of which calls too",
			[]Message{says(User, text("q")), says(Assistant, use("a", "{}")), says(System, text("s")), says(Assistant, use("b", "{}")), says(User, answers("b", text("2"))), says(User, answers("a", text("1")))},
			[]Message{says(User, text("q")), says(Assistant, use("a", "{}"), use("b", "{}")), says(User, answers("a", text("1")), answers("b", text("2"))), says(System, text("s"))}},
		{"it may be the last thing said, behind a result",
			[]Message{says(User, text("q")), says(Assistant, use("a", "{}")), says(User, answers("a", text("1"))), says(System, text("s"))},
			[]Message{says(User, text("q")), says(Assistant, use("a", "{}")), says(User, answers("a", text("1"))), says(System, text("s"))}},
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
	got, err := Tidy(&Request{System: []Block{CachePoint{}, text("a"), text(" "), CachePoint{}, text("b")}, Messages: []Message{says(User, text(""), CachePoint{TTL: "1h"}, text("u"))}})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]Block{text("a"), CachePoint{}, text("b"), CachePoint{TTL: "1h"}}, got.System); diff != "" {
		t.Error(diff)
	}
}

// TestTidyCache: a mark on the whole request stands where the conversation ends, however
// its last turn is ordered.
func TestTidyCache(t *testing.T) {
	mark := CachePoint{TTL: "1h"}
	asked := says(User, text("q"))
	called := says(Assistant, use("a", "{}"), use("b", "{}"))
	for name, test := range map[string]struct{ messages, want []Message }{
		"the last text":         {[]Message{says(User, text("a"), text("b"), text(" "))}, []Message{says(User, text("a"), text("b"), mark)}},
		"not over a mark":       {[]Message{says(User, text("a"), CachePoint{})}, []Message{says(User, text("a"), CachePoint{})}},
		"the last result":       {[]Message{asked, called, says(User, answers("b", text("2"))), says(User, answers("a", text("1")))}, []Message{asked, called, says(User, answers("a", text("1")), answers("b", text("2")), mark)}},
		"never reasoning":       {[]Message{asked, says(Assistant, Thinking{Signature: "s"})}, []Message{says(User, text("q"), mark)}},
		"a turn that is left":   {[]Message{asked, says(Assistant, text(""))}, []Message{says(User, text("q"), mark)}},
		"a system message last": {[]Message{asked, says(Assistant, text("a")), says(System, text("s"))}, []Message{asked, says(Assistant, text("a")), says(System, text("s"), mark)}},
	} {
		got, err := Tidy(&Request{Messages: test.messages, Cache: &mark})
		if err != nil || got.Cache != nil {
			t.Errorf("%s: %v, %v", name, err, got)
			continue
		}
		for i := range got.Messages {
			got.Messages[i].Param = ""
		}
		if diff := cmp.Diff(test.want, got.Messages); diff != "" {
			t.Errorf("%s:\n%s", name, diff)
		}
	}
}

// TestJoin: what becomes of turns of which blocks were left out after Tidy.
func TestJoin(t *testing.T) {
	mark := CachePoint{TTL: "1h"}
	for name, test := range map[string]struct{ messages, want []Message }{
		"a turn with nothing but a mark": {
			[]Message{says(User, answers("a", text("1")), text("x")), says(Assistant, mark), says(User, text("y"))},
			[]Message{says(User, answers("a", text("1")), text("x"), mark, text("y"))}},
		"a last turn": {[]Message{says(User, text("x")), says(Assistant)}, []Message{says(User, text("x"))}},
		"system text that became the user's": {
			[]Message{says(User, text("x")), says(Assistant, text("a")), says(User, text("s")), says(User, text("y"))},
			[]Message{says(User, text("x")), says(Assistant, text("a")), says(User, text("s"), text("y"))}},
		"beside a system message": {
			[]Message{says(User, text("x")), says(System, text("s")), says(Assistant), says(System, text("t")), says(User, text("y"))},
			[]Message{says(User, text("x")), says(System, text("s"), text("t")), says(User, text("y"))}},
	} {
		got := Join(placed(test.messages))
		for i := range got {
			got[i].Param = ""
		}
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%s:\n%s", name, diff)
		}
	}
}

func TestNothingIsLeft(t *testing.T) {
	for name, test := range map[string]struct {
		messages []Message
		param    string
	}{
		"no messages":                        {nil, "messages"},
		"a cache point":                      {[]Message{says(User, CachePoint{})}, "messages[0]"},
		"no block":                           {[]Message{says(User)}, "messages[0]"},
		"several blank messages":             {[]Message{says(User, text("")), says(User, text("\n"))}, "messages[0]"},
		"the last turn is blank":             {[]Message{says(User, text("a")), says(Assistant, text("b")), says(User, text(" ")), says(User)}, "messages[2]"},
		"behind an answer that is empty":     {[]Message{says(User, text("a")), says(Assistant, text("")), says(User, text(" "))}, "messages[2]"},
		"before an answer that is empty":     {[]Message{says(User, text("a")), says(Assistant, text("b")), says(User, text(" ")), says(Assistant)}, "messages[2]"},
		"behind a system message":            {[]Message{says(User, text("a")), says(Assistant, text("b")), says(System, text("s")), says(User, text(""))}, "messages[3]"},
		"the user's only turn, not the last": {[]Message{says(User, text("")), says(Assistant, text("b"))}, "messages"},
		"the assistant alone":                {[]Message{says(Assistant, text("b"))}, "messages"},
		"a system message later":             {[]Message{says(Assistant, text("b")), says(System, text("s"))}, "messages"},
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
