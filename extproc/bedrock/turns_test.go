package bedrock

import (
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"testing"

	"aisix/admin/resource"
	"aisix/extproc/chat"
	"aisix/extproc/fault"
)

const llama = "us.meta.llama3-3-70b-instruct-v1:0"

// A turn of text and tools is legal for most, and refused by some: "Conversation
// blocks and tool use blocks cannot be provided in the same turn".
func TestTurnsWhereToolsStandAlone(t *testing.T) {
	r := asks(chat.ToolChoice{}, chat.Tool{Name: "f"})
	r.Messages = append(r.Messages,
		chat.Message{Role: chat.Assistant, Param: "messages[1]", Blocks: []chat.Block{chat.Text{Text: "let me see"}, chat.ToolUse{ID: "call00001", Name: "f"}, chat.ToolUse{ID: "call00002", Name: "f"}}},
		chat.Message{Role: chat.User, Param: "messages[2]", Blocks: []chat.Block{chat.ToolResult{ID: "call00001", Blocks: []chat.Block{chat.Text{Text: "1"}}}, chat.ToolResult{ID: "call00002", Blocks: []chat.Block{chat.Text{Text: "2"}}}}},
		chat.Message{Role: chat.User, Param: "messages[3]", Blocks: []chat.Block{chat.Text{Text: "and?"}, chat.CachePoint{}}})
	const alone = `{"content":[{"toolUse":{"input":{},"name":"f","toolUseId":"call00001"}},{"toolUse":{"input":{},"name":"f","toolUseId":"call00002"}}],"role":"assistant"},` +
		`{"content":[{"toolResult":{"content":[{"text":"1"}],"toolUseId":"call00001"}},{"toolResult":{"content":[{"text":"2"},{"text":"and?"}],"toolUseId":"call00002"}}],"role":"user"}`
	for _, model := range []string{llama, "mistral.mistral-large-2407-v1:0"} {
		c := newCall(t, r, target(model))
		if body := string(c.body); !strings.Contains(body, alone) {
			t.Errorf("%s: %s", model, body)
		}
		if n := c.Notes(); len(n) != 1 || !strings.Contains(n[0], "messages[1]") {
			t.Errorf("%s: notes %q", model, n)
		}
	}
	c := newCall(t, r, target(converseModel))
	if body := string(c.body); !strings.Contains(body, `{"text":"let me see"},{"toolUse"`) || !strings.Contains(body, `{"text":"and?"}`) || len(c.Notes()) > 0 {
		t.Errorf("%s, %q", body, c.Notes())
	}
	overruled := compile(&resource.Model{ModelName: llama, Bedrock: resource.Bedrock{Capabilities: capabilities(t, `{"mixed_turns":true}`)}})
	if body := string(newCall(t, r, overruled).body); !strings.Contains(body, `{"text":"let me see"},{"toolUse"`) {
		t.Errorf("overruled: %s", body)
	}
}

// TestWhoseTurn: a model resource says what a model takes for a turn, over the family.
func TestWhoseTurn(t *testing.T) {
	says := func(role chat.Role, blocks ...chat.Block) chat.Message {
		return chat.Message{Role: role, Blocks: blocks}
	}
	text := func(s string) chat.Block { return chat.Text{Text: s} }
	prefill := []chat.Message{says(chat.User, text("a")), says(chat.Assistant, text("b "))}
	midway := []chat.Message{says(chat.User, text("a")), says(chat.Assistant, text("b")), says(chat.System, text("s")), says(chat.User, text("c"))}
	reasoned := []chat.Message{says(chat.User, text("a")), says(chat.Assistant, chat.Thinking{Text: "hm", Signature: "s"}), says(chat.System, text("s")), says(chat.User, text("c"))}
	last := []chat.Message{says(chat.User, text("a")), says(chat.Assistant, chat.Thinking{Text: "hm", Signature: "s"}, chat.CachePoint{})}
	for _, test := range []struct {
		model, capabilities string
		messages            []chat.Message
		want                string // in the body; "" is a 400
	}{
		{claude45, ``, prefill, `{"role":"assistant","content":[{"type":"text","text":"b"}]}]`},
		{claude45, `{"prefill":false}`, prefill, ``},
		{claude46, ``, prefill, ``},
		{claude46, `{"prefill":true}`, prefill, `{"role":"assistant","content":[{"type":"text","text":"b"}]}]`},
		{"anthropic.claude-opus-4-8", ``, prefill, ``},
		{"us.anthropic.claude-fable-5", ``, prefill, ``},
		{nova, ``, prefill, `{"content":[{"text":"b"}],"role":"assistant"}]`},
		{nova, `{"prefill":false}`, prefill, ``},
		{unknownID, ``, prefill, `{"content":[{"text":"b"}],"role":"assistant"}]`},
		{claude46, ``, midway, `{"role":"user","content":[{"type":"text","text":"s"},{"type":"text","text":"c"}]}]`},
		{claude46, `{"system_turns":true}`, midway, `{"role":"system","content":[{"type":"text","text":"s"}]},{"role":"user","content":[{"type":"text","text":"c"}]}]`},
		{nova, ``, midway, `{"content":[{"text":"s"},{"text":"c"}],"role":"user"}]`},
		{nova, `{"system_turns":true}`, midway, `{"content":[{"text":"s"}],"role":"system"},{"content":[{"text":"c"}],"role":"user"}]`},
		{titan, ``, midway, `{"content":[{"text":"s"},{"text":"c"}],"role":"user"}]`},
		{nova, ``, reasoned, `"messages":[{"content":[{"text":"a"},{"text":"s"},{"text":"c"}],"role":"user"}]`},
		{nova, `{"system_turns":true}`, reasoned, `"messages":[{"content":[{"text":"a"}],"role":"user"},{"content":[{"text":"s"}],"role":"system"},{"content":[{"text":"c"}],"role":"user"}]`},
		{nova, ``, last, `"messages":[{"content":[{"text":"a"},{"cachePoint":{"type":"default"}}],"role":"user"}]`},
		{nova, ``, []chat.Message{says(chat.User, text("a")), says(chat.Assistant, chat.Thinking{Text: "hm", Signature: "s"}, chat.CachePoint{}), says(chat.Assistant, text("b")), says(chat.User, text("c"))},
			`"messages":[{"content":[{"text":"a"},{"cachePoint":{"type":"default"}}],"role":"user"},{"content":[{"text":"b"}],"role":"assistant"},{"content":[{"text":"c"}],"role":"user"}]`},
		{cohere, ``, last, `"messages":[{"content":[{"text":"a"}],"role":"user"}]`},
	} {
		m := &resource.Model{ModelName: test.model}
		if test.capabilities != "" {
			m.Capabilities = capabilities(t, test.capabilities)
		}
		c, err := NewCall(t.Context(), &chat.Request{Messages: test.messages, Notes: []string{"of the dialect"}}, compile(m), bodyLimit)
		if test.want == "" {
			if f := fault.From(err); err == nil || f.Status != 400 || f.Param != "messages[1]" || !strings.Contains(f.Message, "prefill") {
				t.Errorf("%s %s: %v, want a 400 for messages[1]", test.model, test.capabilities, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s %s: %v", test.model, test.capabilities, err)
			continue
		}
		if !strings.Contains(string(c.body), test.want) || !slices.Equal(c.Notes(), []string{"of the dialect"}) {
			t.Errorf("%s %s: %s\nwant %s, notes %q", test.model, test.capabilities, c.body, test.want, c.Notes())
		}
	}
}

// "Text is required when using documents", says Converse.
func TestADocumentAlone(t *testing.T) {
	r := &chat.Request{Messages: []chat.Message{{Role: chat.User, Param: "messages[0]", Blocks: []chat.Block{chat.Document{Name: "q3.report.pdf", Format: "pdf", Data: pdf}, chat.Document{Name: "Q3 Report PDF", Format: "pdf", Data: pdf}}}}}
	body := string(newCall(t, r, target(converseModel)).body)
	if !strings.Contains(body, `"name":"q3 report pdf"`) || !strings.Contains(body, `"name":"Q3 Report PDF (2)"`) || !strings.Contains(body, `},{"text":"q3 report pdf"}],"role":"user"`) {
		t.Errorf("Converse: %s", body)
	}
	if body := string(newCall(t, r, target(claudeModel)).body); strings.Contains(body, `"type":"text",`) {
		t.Errorf("Claude: %s", body)
	}
	r.Messages[0].Blocks = append(r.Messages[0].Blocks, chat.Text{Text: "sum up"})
	if body := string(newCall(t, r, target(converseModel)).body); strings.Count(body, `"text"`) != 1 {
		t.Errorf("with text: %s", body)
	}
}

// capabilities are those of a model resource.
func capabilities(t testing.TB, raw string) *resource.Capabilities {
	t.Helper()
	var c resource.Capabilities
	if err := json.Unmarshal([]byte(raw), &c); err != nil {
		t.Fatal(err)
	}
	return &c
}

// Notes for the operator do not grow with the conversation.
func TestNotesAreBounded(t *testing.T) {
	r := &chat.Request{}
	for i := range 1000 {
		id := strconv.Itoa(i)
		r.Messages = append(r.Messages,
			chat.Message{Role: chat.User, Blocks: []chat.Block{chat.Text{Text: "q"}}},
			chat.Message{Role: chat.Assistant, Param: "messages[" + id + "]", Blocks: []chat.Block{chat.Text{Text: "let me see"}, chat.ToolUse{ID: id, Name: "f"}}},
			chat.Message{Role: chat.User, Blocks: []chat.Block{chat.ToolResult{ID: id}}},
			chat.Message{Role: chat.Assistant, Blocks: []chat.Block{chat.Text{Text: "so"}}})
	}
	r.Messages = append(r.Messages, chat.Message{Role: chat.User, Blocks: []chat.Block{chat.Text{Text: "q"}}})
	notes := newCall(t, r, target(llama)).Notes()
	if len(notes) != 1 || len(notes[0]) > 300 || !strings.HasSuffix(notes[0], "messages[7] and 992 more was left out") {
		t.Errorf("%q", notes)
	}
}
