package bedrock

import (
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"

	"aisix/extproc/chat"
)

// The operator's log may hold AWS's words, and no word of the conversation.
func TestLogKeepsNoPrompt(t *testing.T) {
	request := &chat.Request{
		System: []chat.Block{chat.Text{Text: "You guard the harbour of Øresund."}},
		Messages: []chat.Message{
			{Role: chat.User, Blocks: []chat.Block{chat.Text{Text: "Where is my submarine parked?"}}},
			{Role: chat.Assistant, Blocks: []chat.Block{chat.ToolUse{ID: "c1", Name: "look", Input: json.RawMessage(`{"berth":"number seven, north quay"}`)}}},
			{Role: chat.User, Blocks: []chat.Block{chat.ToolResult{ID: "c1", Blocks: []chat.Block{chat.Text{Text: "it sank on Tuesday"}}}}},
		},
	}
	for name, c := range map[string]struct{ said, want string }{
		"quoted": {
			"1 validation error detected: Value 'Where is my submarine parked?' at 'messages.1.member.content' failed to satisfy constraint",
			"1 validation error detected: Value '[quoted from the request]' at 'messages.1.member.content' failed to satisfy constraint"},
		"cut short": {"bad text: Where is my subm…", "bad text: [quoted from the request]…"},
		"several":   {"harbour of Øresund / number seven, north quay / it sank on Tuesday", "[quoted from the request]/[quoted from the request]/[quoted from the request]"},
		"none":      {"Input is too long for requested model.", "Input is too long for requested model."},
		"short":     {"no", "no"},
	} {
		t.Run(name, func(t *testing.T) {
			call, err := NewCall(request, Target{ModelID: "amazon.nova-pro-v1:0", Publisher: "amazon", Region: "us-west-2"})
			if err != nil {
				t.Fatal(err)
			}
			body, _ := json.Marshal(map[string]string{"message": c.said})
			f := call.Fault(http.StatusBadRequest, http.Header{"X-Amzn-Errortype": {"ValidationException"}}, body)
			var e *Exception
			if !errors.As(f.Err, &e) {
				t.Fatalf("no exception in %v", f)
			}
			if got := strings.ReplaceAll(e.Message, " / ", "/"); got != c.want {
				t.Errorf("logged %q, want %q", got, c.want)
			}
			if name != "several" && f.Message != c.said {
				t.Errorf("the caller reads %q, want its own words %q", f.Message, c.said)
			}
		})
	}
}
