package bedrock

import (
	"math/rand/v2"
	"strings"
	"testing"

	"aisix/extproc/chat"
)

// reads is what a caller reads of text blocks that come in pieces: reasoning, and text.
// Every event but the last of a block may be cut anywhere; stopped tells whether the
// blocks end with an event of their own.
func reads(t testing.TB, blocks []string, stopped bool, pieces func(string) []string) (reasoning, text string) {
	t.Helper()
	tag := newTagged("thinking")
	var events []chat.Event
	for i, b := range blocks {
		for _, p := range pieces(b) {
			events = append(events, tag.events([]chat.Event{chat.TextDelta{Index: i, Text: p}})...)
		}
		if stopped {
			events = append(events, tag.events([]chat.Event{chat.BlockStop{Index: i}})...)
		}
	}
	events = append(events, tag.events([]chat.Event{chat.Stop{Reason: chat.EndTurn}, chat.UsageSnapshot{Usage: chat.Usage{Input: ptr(1)}}})...)
	answer, err := chat.Collect(events)
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range answer.Blocks {
		switch b := b.(type) {
		case chat.Text:
			text += b.Text
		case chat.Thinking:
			reasoning += b.Text
			if b.Signature != "" {
				t.Errorf("a signature out of nothing: %+v", b)
			}
		}
	}
	return reasoning, text
}

func uncut(s string) []string { return []string{s} }

func bytewise(s string) []string { return strings.Split(s, "") }

var tagCases = []struct {
	name, reasoning, text string
	blocks                []string
}{
	{"the usual", "I should call f.", "Hello", []string{"<thinking>I should call f.</thinking>\n\nHello"}},
	{"white space inside is the model's", " hm \n", "Hello ", []string{"<thinking> hm \n</thinking> Hello "}},
	{"white space in front", "hm", "Hi", []string{"\n <thinking>hm</thinking>Hi"}},
	{"nothing but thinking", "hm", "", []string{"<thinking>hm</thinking>\n"}},
	{"several in a row", "ab", "Hi", []string{"<thinking>a</thinking>\n<thinking>b</thinking> Hi"}},
	{"in every block", "ab", "HiHo", []string{"<thinking>a</thinking>Hi", "<thinking>b</thinking>Ho"}},
	{"never closed: cut", "hm, so </thin", "", []string{"<thinking>hm, so </thin"}},
	{"never closed, and another block", "hm", "Hi", []string{"<thinking>hm", "Hi"}},
	{"empty", "", "Hi", []string{"<thinking></thinking>Hi"}},
	{"other tags inside", "a <b> </b> < </ <thinking> c", "Hi", []string{"<thinking>a <b> </b> < </ <thinking> c</thinking>Hi"}},
	{"what begins like the end", "a</thinking </thinkin</", "Hi", []string{"<thinking>a</thinking </thinkin</</thinking>Hi"}},
	{"text", "", "Hi <there>", []string{"Hi <there>"}},
	{"text that begins like it", "", "<think>hm</think>", []string{"<think>hm</think>"}},
	{"text that is the start of it", "", " <thinki", []string{" <thinki"}},
	{"text that is a tag with attributes", "", "<thinking a=1>", []string{"<thinking a=1>"}},
	{"a start behind an end", "hm", "<thinki", []string{"<thinking>hm</thinking> <thinki"}},
	{"text about tags", "", "Write `<thinking>x</thinking>` so:\n```\n<thinking>x</thinking>\n```\n", []string{"Write `<thinking>x</thinking>` so:\n```\n<thinking>x</thinking>\n```\n"}},
	{"and behind thinking", "hm", "```\n<thinking>x</thinking>\n```", []string{"<thinking>hm</thinking>```\n<thinking>x</thinking>\n```"}},
	{"an answer that is JSON", "", `{"a":"<thinking>x</thinking>"}`, []string{`{"a":"<thinking>x</thinking>"}`}},
	{"a closing tag alone", "", "</thinking>Hi", []string{"</thinking>Hi"}},
	{"white space alone", "", " \n", []string{" \n"}},
	{"characters of several bytes", "é模型", "😀 <", []string{"<thinking>é模型</thinking>\n😀 <"}},
	{"much white space in front", "hm", "Hi", []string{strings.Repeat("\n", 64) + "<thinking>hm</thinking>Hi"}},
	{"too much", "", strings.Repeat("\n", 65) + "<thinking>hm</thinking>Hi", []string{strings.Repeat("\n", 65) + "<thinking>hm</thinking>Hi"}},
	{"much behind", "hm", "Hi", []string{"<thinking>hm</thinking>" + strings.Repeat(" \n", 100) + "Hi"}},
	{"nothing", "", "", []string{""}},
}

func TestTaggedThinking(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	anywhere := func(s string) (out []string) {
		for s != "" {
			n := r.IntN(len(s) + 1)
			out, s = append(out, s[:n]), s[n:]
		}
		return out
	}
	for _, tt := range tagCases {
		for i := range 40 {
			pieces := anywhere
			switch i {
			case 0:
				pieces = uncut
			case 1:
				pieces = bytewise
			}
			for _, stopped := range []bool{true, false} {
				if reasoning, text := reads(t, tt.blocks, stopped, pieces); reasoning != tt.reasoning || text != tt.text {
					t.Fatalf("%s, cut %d: reasoning %q, text %q; want %q and %q", tt.name, i, reasoning, text, tt.reasoning, tt.text)
				}
			}
		}
	}
}

// Nothing waits that can't be a tag any more.
func TestTaggedHoldsNoMoreThanATag(t *testing.T) {
	for s, held := range map[string]string{
		"Hi": "", " Hi": "", "<": "<", "\n\n": "\n\n", " <thinking": " <thinking", "<thinkinG": "", "Hi <thinking": "", strings.Repeat(" ", 65): "",
		"<thinking>": "", "<thinking>a": "", "<thinking>a </": "</", "<thinking>a </x": "", "<thinking>a</thinking>": "", "<thinking>a</thinking> \n": "", "<thinking>a</thinking> \n<t": "<t",
	} {
		for _, pieces := range [][]string{uncut(s), bytewise(s)} {
			tag := newTagged("thinking")
			for _, p := range pieces {
				tag.events([]chat.Event{chat.TextDelta{Text: p}})
			}
			if tag.block.held != held {
				t.Errorf("%q: %q is held, want %q", s, tag.block.held, held)
			}
		}
	}
	// Behind what is decided an event passes as it is.
	tag := newTagged("thinking")
	tag.events([]chat.Event{chat.TextDelta{Text: "Hi"}})
	in := []chat.Event{chat.TextDelta{Text: " <thinking>"}}
	if n := testing.AllocsPerRun(10, func() { tag.events(in) }); n > 0 {
		t.Errorf("%v allocations for text that passes", n)
	}
}

// Only those who write so are read so.
func TestWhoWritesTags(t *testing.T) {
	const said = "<thinking>hm</thinking>Hi"
	for model, tagged := range map[string]bool{"us.amazon.nova-lite-v1:0": true, "amazon.nova-2-lite-v1:0": false, "qwen.qwen3-32b-v1:0": false, "acme.model-1": false} {
		events, err := newCall(t, userSays("q"), target(model)).reply(200, jsonHeader).Whole([]byte(`{"output":{"message":{"role":"assistant","content":[{"text":"` + said + `"}]}},"stopReason":"end_turn","usage":{"inputTokens":1,"outputTokens":2,"totalTokens":3}}`))
		if err != nil {
			t.Fatal(err)
		}
		answer, err := chat.Collect(events)
		if err != nil {
			t.Fatal(err)
		}
		want := []chat.Block{chat.Text{Text: said}}
		if tagged {
			want = []chat.Block{chat.Thinking{Text: "hm"}, chat.Text{Text: "Hi"}}
		}
		if len(answer.Blocks) != len(want) || answer.Blocks[0] != want[0] || answer.Blocks[len(want)-1] != want[len(want)-1] {
			t.Errorf("%s: %+v, want %+v", model, answer.Blocks, want)
		}
	}
}

// FuzzTagged: however a text is cut, the caller reads the same, and but for tags and
// the white space beside them nothing is lost.
func FuzzTagged(f *testing.F) {
	for _, tt := range tagCases {
		f.Add(strings.Join(tt.blocks, "\x00"), uint64(len(tt.name)))
	}
	f.Fuzz(func(t *testing.T, s string, seed uint64) {
		r := rand.New(rand.NewPCG(seed, 1))
		blocks := strings.Split(s, "\x00")
		reasoning, text := reads(t, blocks, true, uncut)
		cutReasoning, cutText := reads(t, blocks, seed%2 == 0, func(s string) (out []string) {
			for s != "" {
				n := 1 + r.IntN(len(s))
				out, s = append(out, s[:n]), s[n:]
			}
			return out
		})
		if reasoning != cutReasoning || text != cutText {
			t.Fatalf("%q: uncut %q, %q; cut %q, %q", s, reasoning, text, cutReasoning, cutText)
		}
		strip := strings.NewReplacer("<thinking>", "", "</thinking>", "", "\x00", "", " ", "", "\n", "", "\t", "", "\r", "")
		if len(strip.Replace(reasoning))+len(strip.Replace(text)) > len(s) || !strings.Contains(s, "<thinking>") && text != strings.Join(blocks, "") {
			t.Fatalf("%q became %q, %q", s, reasoning, text)
		}
	})
}
