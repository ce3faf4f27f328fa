package extproc

import (
	"net/http"
	"strings"
	"testing"

	"aisix/extproc/admission"
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
