package extproc

import (
	"net/http"
	"strings"
	"testing"

	"aisix/extproc/admission"
	"aisix/extproc/anthropic"
	"aisix/extproc/chat"
	"aisix/extproc/fault"
	"aisix/extproc/openai"
)

// What of an answer waits behind a call that is not at its end is counted as long as it waits;
// where that is more than there is room for, the stream ends with a fault.
func TestWhatWaitsIsCounted(t *testing.T) {
	room := admission.NewShared(10_000) // half of it for one key
	asked, err := openai.Responses{}.Parse(nil, []byte(`{"model":"m","input":"q","stream":true}`))
	if err != nil {
		t.Fatal(err)
	}
	y := relay{c: &call{began: true, held: room.Account("k")}, s: &Server{}, writer: asked.Stream(chat.Heading{ID: "1"})}
	some := strings.Repeat("x", 1000)
	for i, batch := range [][]chat.Event{
		{chat.Start{}, chat.ToolStart{Index: 0, ID: "a", Name: "f"}},
		{chat.ToolDelta{Index: 0, JSON: some}},
		{chat.ToolStart{Index: 1, ID: "b", Name: "f"}, chat.ToolDelta{Index: 1, JSON: some}},
		{chat.ToolDelta{Index: 1, JSON: some}},
		{chat.BlockStop{Index: 0}},
	} {
		if err := y.append(batch); err != nil {
			t.Fatal(err)
		}
		if used, least := room.Used(), [...]int64{0, 0, 1000, 2000, 0}[i]; used < least || used > least+least/2 {
			t.Errorf("after batch %d %d bytes are counted, want %d and little more", i, used, least)
		}
	}
	var f *fault.Error
	for range 10 {
		if err := y.append([]chat.Event{chat.ToolStart{Index: 2, ID: "c", Name: "f"}, chat.ToolDelta{Index: 2, JSON: some}}); err != nil {
			f = fault.From(err)
			break
		}
	}
	if f == nil || f.Status != http.StatusServiceUnavailable || room.Used() > 5000 {
		t.Errorf("%v with %d bytes counted", f, room.Used())
	}
}

// One stream holds back no more than a whole answer may have.
func TestWhatWaitsIsBounded(t *testing.T) {
	asked, err := openai.Responses{}.Parse(nil, []byte(`{"model":"m","input":"q","stream":true}`))
	if err != nil {
		t.Fatal(err)
	}
	y := relay{c: &call{began: true}, s: &Server{}, writer: asked.Stream(chat.Heading{ID: "1"})}
	batch := []chat.Event{chat.ToolStart{Index: 0, ID: "a", Name: "f"}, chat.ToolStart{Index: 1, ID: "b", Name: "f"}}
	for range maxReply >> 20 {
		batch = append(batch, chat.ToolDelta{Index: 1, JSON: strings.Repeat("x", 1<<20)})
	}
	if err := y.append(batch); err == nil || fault.From(err).Status != http.StatusBadGateway {
		t.Errorf("%v", err)
	}
}

// A fragment of the block that grows costs no allocation on its way to the caller. (Responses keeps
// what was said, for its last event.)
func TestFragmentsAllocateNothing(t *testing.T) {
	parse := func(asked chat.Asked, err error) chat.Asked {
		if err != nil {
			t.Fatal(err)
		}
		return asked
	}
	for name, x := range map[string]struct {
		asked chat.Asked
		most  float64
	}{
		"chat completions": {parse(openai.Chat{}.Parse(noHeader{}, []byte(`{"model":"m","messages":[{"role":"user","content":"q"}]}`))), 0},
		"messages":         {parse(anthropic.Messages{}.Parse(noHeader{}, []byte(`{"model":"m","max_tokens":9,"messages":[{"role":"user","content":"q"}]}`))), 0},
		"responses":        {parse(openai.Responses{}.Parse(noHeader{}, []byte(`{"model":"m","input":"q"}`))), 1},
	} {
		for kind, block := range map[string][]chat.Event{
			"text": {chat.TextDelta{Index: 1, Text: "a few words"}},
			"call": {chat.ToolStart{Index: 1, ID: "a", Name: "f"}, chat.ToolDelta{Index: 1, JSON: "a few words"}},
		} {
			y := relay{c: &call{began: true}, s: &Server{}, writer: x.asked.Stream(chat.Heading{ID: "1"}), out: make([]byte, 0, 1<<12)}
			if err := y.append(block); err != nil {
				t.Fatal(err)
			}
			fragment := block[len(block)-1:]
			if n := testing.AllocsPerRun(100, func() {
				y.out = y.out[:0]
				if err := y.append(fragment); err != nil || len(y.out) == 0 {
					t.Errorf("%d bytes, %v", len(y.out), err)
				}
			}); n > x.most {
				t.Errorf("%s, %s: %.0f allocations a fragment, want at most %.0f", name, kind, n, x.most)
			}
		}
	}
}
