package openai

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"aisix/extproc/chat"
	"aisix/extproc/fault"
)

// seeds are bodies that reach every part of the decoder: the samples of
// fields.json and some conversations.
func seeds(f *testing.F) {
	openai, ours := fieldGroups(f)
	for _, group := range append(openai, ours...) {
		raw, err := json.Marshal(whole(group.Sample))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw)
	}
	for _, messages := range []string{
		`{"role":"assistant","content":""},{"role":"user","content":" "},{"role":"user","content":"a"},{"role":"assistant","content":"b  "}`,
		`{"role":"user","content":"a"},{"role":"assistant","tool_calls":[{"id":"a","type":"function","function":{"name":"f","arguments":"{"}},{"id":"b","type":"function","function":{"name":"f","arguments":""}}]},
		 {"role":"tool","tool_call_id":"b","content":""},{"role":"user","content":"x"},{"role":"tool","tool_call_id":"a","content":[{"type":"text","text":"y","cache_control":{"type":"ephemeral"}}]}`,
		`{"role":"user","content":"a","cache_control":{"type":"ephemeral"}},{"role":"assistant","content":null,"reasoning_content":"r","thinking_blocks":[{"type":"redacted_thinking","data":"AA=="}],"refusal":"no"}`,
		`{"role":"tool","tool_call_id":"zz","content":"a"}`,
		`{"role":"user","content":"a"},{"role":"assistant","content":""},{"role":"system","content":"s","cache_control":{"type":"ephemeral"}},{"role":"assistant","tool_calls":[{"id":"a","type":"function","function":{"name":"f"}}]},
		 {"role":"developer","content":"t"},{"role":"user","content":" "},{"role":"assistant","content":null},{"role":"tool","tool_call_id":"a","content":"r"},{"role":"system","content":"u"},{"role":"user","content":"b"}`,
		`{"role":"user","content":[],"cache_control":{"type":"ephemeral"}},{"role":"user","content":"a"},{"role":"assistant","content":[],"x":1},{"role":"user","content":"b"},{"role":"assistant","content":" "}`,
	} {
		f.Add([]byte(`{"model":"m","messages":[` + messages + `]}`))
	}
}

// FuzzDecode: no body makes us panic; what is refused is a 400 that says why; what
// is accepted is a conversation as every Bedrock family wants it.
func FuzzDecode(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, body []byte) {
		r, err := Chat{}.Decode(body)
		if err != nil {
			want400(t, err)
			return
		}
		before, _ := json.Marshal(r)
		if err := chat.Check(r); err != nil {
			want400(t, err)
			return
		}
		n, err := chat.Tidy(r)
		if after, _ := json.Marshal(r); string(after) != string(before) {
			t.Errorf("Tidy changed its argument to %s", after)
		}
		if err != nil {
			want400(t, err)
			return
		}
		if err := chat.Check(n); err != nil {
			t.Errorf("what is tidy is refused: %v", err)
		}
		again, err := chat.Tidy(n)
		if err != nil {
			t.Fatalf("what is tidy is refused: %v", err)
		}
		if diff := cmp.Diff(n, again); diff != "" {
			t.Errorf("tidied twice is not tidied once:\n%s", diff)
		}
		checkConversation(t, n)
	})
}

func want400(t *testing.T, err error) {
	t.Helper()
	var f *fault.Error
	if !errors.As(err, &f) || f.Status != 400 || f.Kind != fault.InvalidRequest || f.Message == "" || len(f.Message) > 2000 {
		t.Errorf("%v is no 400 with a message", err)
	}
}

func checkConversation(t *testing.T, r *chat.Request) {
	t.Helper()
	pending := []string{} // calls of the turn before, in order
	for i, m := range r.Messages {
		if i > 0 && r.Messages[i-1].Role == m.Role {
			t.Errorf("turn %d does not alternate", i)
		}
		if m.Role == chat.System {
			for _, b := range m.Blocks {
				notBlank(t, b)
			}
			continue
		}
		if len(m.Blocks) == 0 || m.Param == "" {
			t.Errorf("turn %d is empty or has no place", i)
		}
		var results, calls []string
		rank := 0 // a user's results, then the rest; an assistant speaks in any order
		for j, b := range m.Blocks {
			now := rank
			switch b := b.(type) {
			case chat.ToolResult:
				now = 0
				results = append(results, b.ID)
				if len(b.Blocks) == 0 {
					t.Errorf("turn %d: an empty result", i)
				}
				for _, x := range b.Blocks {
					notBlank(t, x)
				}
			case chat.Thinking:
				if b.Signature == "" || m.Role != chat.Assistant {
					t.Errorf("turn %d: unsigned reasoning, or the user's", i)
				}
			case chat.Redacted:
			case chat.ToolUse:
				calls = append(calls, b.ID)
				var object map[string]any
				if json.Unmarshal(b.Input, &object) != nil || object == nil || m.Role != chat.Assistant {
					t.Errorf("turn %d: the input %q is no object, or the user's", i, b.Input)
				}
			case chat.CachePoint:
				if j == 0 {
					t.Errorf("turn %d begins with a cache point", i)
				}
			default:
				now = 1
				notBlank(t, b)
			}
			if now < rank && m.Role == chat.User {
				t.Errorf("turn %d is out of order", i)
			}
			rank = now
		}
		if diff := cmp.Diff(pending, append([]string{}, results...)); diff != "" {
			t.Errorf("turn %d does not answer the calls before it, in order:\n%s", i, diff)
		}
		pending = append([]string{}, calls...)
	}
}

func notBlank(t *testing.T, b chat.Block) {
	t.Helper()
	switch b := b.(type) {
	case chat.Text:
		if strings.TrimSpace(b.Text) == "" {
			t.Error("a blank text")
		}
	case chat.Image:
		if (len(b.Data) == 0) == (b.URL == "") || b.Param == "" {
			t.Errorf("an image with data or a URL, and a place: %+v", b)
		}
	case chat.Document:
		if len(b.Data) == 0 || b.Format == "" || b.Param == "" {
			t.Errorf("a document without data, format or place: %+v", b)
		}
	}
}
