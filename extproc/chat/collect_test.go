package chat

import (
	"errors"
	"io"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func n(i int) *int { return &i }

func counts(in, out int) UsageSnapshot {
	return UsageSnapshot{Usage: Usage{Input: n(in), Output: n(out)}}
}

func TestCollect(t *testing.T) {
	got, err := Collect([]Event{
		Start{ID: "msg_1"},
		UsageSnapshot{Usage: Usage{Input: n(3), CacheRead: n(9)}},
		ThinkingDelta{Index: 0, Text: "h"}, ThinkingDelta{Index: 0, Text: "m"}, ThinkingDelta{Index: 0, Signature: "sig"}, BlockStop{Index: 0},
		RedactedDelta{Index: 1, Data: "a"}, RedactedDelta{Index: 1, Data: "b"}, BlockStop{Index: 1},
		TextDelta{Index: 2, Text: "a"}, TextDelta{Index: 2, Text: "b"}, BlockStop{Index: 2},
		ToolStart{Index: 3, ID: "c1", Name: "f"}, ToolDelta{Index: 3, JSON: `{"a"`}, ToolDelta{Index: 3, JSON: `:1}`}, BlockStop{Index: 3},
		ToolStart{Index: 4, ID: "s1", Name: "web_search", Server: true}, ToolDelta{Index: 4, JSON: `{}`}, BlockStop{Index: 4},
		ToolStart{Index: 5, ID: "c2", Name: "g"}, BlockStop{Index: 5},
		Stop{Reason: ToolUseStop},
		UsageSnapshot{Usage: Usage{Output: n(7)}},
	})
	if err != nil {
		t.Fatal(err)
	}
	want := &Response{
		ID: "msg_1",
		Blocks: []Block{
			Thinking{Text: "hm", Signature: "sig"}, Redacted{Data: "ab"}, Text{Text: "ab"},
			ToolUse{ID: "c1", Name: "f", Input: []byte(`{"a":1}`)}, ToolUse{ID: "c2", Name: "g", Input: []byte(`{}`)},
		},
		Stop:  ToolUseStop,
		Usage: Usage{Input: n(3), Output: n(7), CacheRead: n(9)}, // a later snapshot does not unsay a count
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// TestCollectKeepsTextInOrder: a client reads a stream's text as it comes, so the
// whole answer has it in that order, even of blocks that interrupt each other.
func TestCollectKeepsTextInOrder(t *testing.T) {
	got, err := Collect([]Event{TextDelta{Index: 0, Text: "a"}, TextDelta{Index: 1, Text: "b"}, TextDelta{Index: 0, Text: "c"}, TextDelta{Index: 0, Text: "d"},
		ToolStart{Index: 2, ID: "t", Name: "f"}, TextDelta{Index: 0, Text: "e"}, Stop{Reason: EndTurn}, counts(1, 1)})
	if err != nil {
		t.Fatal(err)
	}
	want := []Block{Text{Text: "a"}, Text{Text: "b"}, Text{Text: "cd"}, ToolUse{ID: "t", Name: "f", Input: []byte("{}")}, Text{Text: "e"}}
	if diff := cmp.Diff(want, got.Blocks); diff != "" {
		t.Error(diff)
	}
}

func TestCollectWantsAnEnd(t *testing.T) {
	for name, test := range map[string]struct {
		events []Event
		want   error
	}{
		"nothing":  {nil, ErrNoStop},
		"no stop":  {[]Event{TextDelta{Text: "a"}, counts(1, 2)}, ErrNoStop},
		"no usage": {[]Event{TextDelta{Text: "a"}, Stop{Reason: EndTurn}}, ErrNoUsage},
		"empty but whole is a legal empty answer": {[]Event{Stop{Reason: EndTurn}, counts(1, 0)}, nil},
	} {
		_, err := Collect(test.events)
		if !errors.Is(err, test.want) || test.want != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%s: %v, want %v", name, err, test.want)
		}
	}
}
