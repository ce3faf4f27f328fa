package bedrock

import (
	"strings"
	"testing"

	"aisix/admin/resource"
	"aisix/extproc/chat"
	"aisix/extproc/fault"
)

// Reasoning that another model's answer had goes out of what passes: sealed by us, or with nothing
// to know it by where nothing is stored. The upstream's own, and gpt-oss's in the open, stay.
func TestAdoptLeavesOutReasoningOfOthers(t *testing.T) {
	const (
		said   = `{"role":"user","content":"\"reasoning\""}`
		sealed = `{"type":"reasoning","id":"rs_1","summary":[],"encrypted_content":"aisix1.eyJ9"}`
		bare   = `{"id":"rs_2","summary":[{"type":"summary_text","text":"s"}],"type":"reasoning","encrypted_content":null,"content":null}`
		own    = `{"type":"reasoning","id":"rs_3","summary":[],"encrypted_content":"gAAA"}`
		open   = `{"type":"reasoning","id":"rs_4","summary":[],"content":[{"type":"reasoning_text","text":"r"}]}`
	)
	for _, stored := range []bool{false, true} {
		model := &resource.Model{API: "responses"}
		model.AllowStore = stored
		m, err := Compile(model, "us.openai.gpt-5.6-sol", &resource.ProviderKey{Credentials: creds})
		if err != nil {
			t.Fatal(err)
		}
		c, err := Adopt(&chat.Verbatim{API: chat.Responses, Body: []byte(`{"model":"x","input":[` + strings.Join([]string{said, sealed, bare, own, open}, ",") + `]}`)}, m)
		if err != nil {
			t.Fatal(err)
		}
		want := []string{said, own, open}
		if stored {
			want = []string{said, bare, own, open}
		}
		if !strings.Contains(string(c.body), `"input":[`+strings.Join(want, ",")+`]`) || len(c.Notes()) != 1 {
			t.Errorf("stored %t: %s, notes %q", stored, c.body, c.Notes())
		}
		c, err = Adopt(&chat.Verbatim{API: chat.Responses, Body: []byte(`{"model":"x","input":[` + said + `,` + own + `]}`)}, m)
		if err != nil || len(c.Notes()) > 0 {
			t.Errorf("nothing was left out: notes %q, %v", c.Notes(), err)
		}
	}
}

// An item that is named instead of sent is nowhere where nothing is stored.
func TestAdoptRefusesReferences(t *testing.T) {
	body := []byte(`{"model":"x","input":[{"role":"user","content":"item_reference"},{"type":"item_reference","id":"msg_1"}]}`)
	for _, stored := range []bool{false, true} {
		model := &resource.Model{API: "responses"}
		model.AllowStore = stored
		m, err := Compile(model, "us.openai.gpt-5.6-sol", &resource.ProviderKey{Credentials: creds})
		if err != nil {
			t.Fatal(err)
		}
		_, err = Adopt(&chat.Verbatim{API: chat.Responses, Body: body}, m)
		if f := fault.From(err); stored != (err == nil) || err != nil && (f.Status != 400 || f.Param != "input[1]") {
			t.Errorf("stored %t: %v", stored, err)
		}
	}
	m := compile(&resource.Model{ModelName: "us.openai.gpt-5.6-sol", API: "responses"})
	if _, err := Adopt(&chat.Verbatim{API: chat.Responses, Body: []byte(`{"input":"item_reference"}`)}, m); err != nil {
		t.Error(err)
	}
}
