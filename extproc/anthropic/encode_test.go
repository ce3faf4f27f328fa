package anthropic

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"aisix/extproc/chat"
	"aisix/extproc/fault"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func ptr[T any](v T) *T { return &v }

// requests are encoded into testdata/request/<name>.json.
var requests = map[string]struct {
	req chat.Request
	o   Options
}{
	"plain": {req: chat.Request{Stream: true, MaxTokens: ptr(4096), Messages: []chat.Message{{Role: chat.User, Blocks: []chat.Block{chat.Text{Text: "Say <hello> & go."}}}}}},
	"parameters": {
		req: chat.Request{
			System:    []chat.Block{chat.Text{Text: "Be brief."}, chat.CachePoint{TTL: "1h"}, chat.Text{Text: "Be kind."}},
			Messages:  []chat.Message{{Role: chat.User, Blocks: []chat.Block{chat.Text{Text: "Hi"}, chat.CachePoint{}}}},
			MaxTokens: ptr(0o144), Temperature: ptr(0.0), TopP: ptr(0.9), Stop: []string{"END"}, User: "caller-7",
			Format: &chat.Format{Name: "answer", Schema: json.RawMessage(`{"type":"object","properties":{"b":{},"a":{}}}`)},
		},
		o: Options{
			Beta: []string{"context-1m-2025-08-07"}, Effort: "low", Thinking: json.RawMessage(`{"type":"enabled","budget_tokens":2048}`),
			Extra: map[string]json.RawMessage{"top_k": json.RawMessage("40"), "temperature": json.RawMessage("1"), "output_config": json.RawMessage(`{"effort":"max","x":1}`), "thinking": json.RawMessage(`{"type":"disabled"}`), "context_management": json.RawMessage(`{"edits":[]}`)},
		},
	},
	"extra_max_tokens": {req: chat.Request{}, o: Options{Extra: map[string]json.RawMessage{"max_tokens": json.RawMessage("77")}}},
	"email_user":       {req: chat.Request{MaxTokens: ptr(4096), User: "someone@example.com"}},
	"tools": {req: chat.Request{
		MaxTokens: ptr(4096),
		Messages: []chat.Message{
			{Role: chat.User, Blocks: []chat.Block{chat.Text{Text: "Weather in Oslo and Rome?"}}},
			{Role: chat.Assistant, Blocks: []chat.Block{
				chat.Thinking{Text: "unsigned: left out"},
				chat.Thinking{Text: "", Signature: "c2ln"},
				chat.Redacted{Data: "AQID"},
				chat.CachePoint{},
				chat.Text{Text: "Looking."},
				chat.ToolUse{ID: "t1", Name: "weather", Input: json.RawMessage(`{"z":1.50,"city":"Oslo"}`)},
				chat.ToolUse{ID: "t2", Name: "weather"},
			}},
			{Role: chat.User, Blocks: []chat.Block{
				chat.ToolResult{ID: "t1", Blocks: []chat.Block{chat.Text{Text: "rain"}, chat.Image{Format: "png", Data: []byte("\x89PNG")}}},
				chat.ToolResult{ID: "t2", Blocks: []chat.Block{chat.Text{Text: "(empty)"}}, IsError: true},
				chat.CachePoint{TTL: "5m"},
				chat.Document{Name: "facts", Format: "pdf", Data: []byte("%PDF-")},
				chat.Document{Name: "notes", Format: "md", Data: []byte("# Hei")},
			}},
		},
		Tools: []chat.Tool{
			{Name: "weather", Description: "Tells the weather.", Schema: json.RawMessage(`{"type":"object","properties":{"city":{"type":"string"}}}`), Strict: true, Cache: &chat.CachePoint{}},
			{Name: "time"},
		},
		ToolChoice:        chat.ToolChoice{Mode: chat.ToolChoiceTool, Name: "weather"},
		ParallelToolCalls: ptr(false),
	}, o: Options{StrictTools: true}},
}

func TestEncodeRequestGolden(t *testing.T) {
	for name, c := range requests {
		t.Run(name, func(t *testing.T) {
			got, err := EncodeRequest(&c.req, c.o)
			if err != nil {
				t.Fatal(err)
			}
			golden(t, filepath.Join("testdata", "request", name+".json"), got)
		})
	}
}

// golden compares got with the indented JSON in a file.
func golden(t *testing.T, path string, got []byte) {
	t.Helper()
	var buf bytes.Buffer
	if err := json.Indent(&buf, got, "", "  "); err != nil {
		t.Fatalf("%v in %s", err, got)
	}
	buf.WriteByte('\n')
	if *update {
		if err := os.WriteFile(path, buf.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), buf.String()); d != "" {
		t.Errorf("%s (-want +got):\n%s", path, d)
	}
}

func TestEncodeToolChoice(t *testing.T) {
	tools := []chat.Tool{{Name: "f"}}
	for _, c := range []struct {
		name     string
		tools    []chat.Tool
		mode     chat.ToolChoiceMode
		parallel *bool
		want     string // "" is absent
	}{
		{"unset", tools, chat.ToolChoiceUnset, nil, ""},
		{"unset, parallel", tools, chat.ToolChoiceUnset, ptr(true), ""},
		{"unset, serial", tools, chat.ToolChoiceUnset, ptr(false), `{"type":"auto","disable_parallel_tool_use":true}`},
		{"auto", tools, chat.ToolChoiceAuto, nil, `{"type":"auto"}`},
		{"none, serial", tools, chat.ToolChoiceNone, ptr(false), `{"type":"none"}`},
		{"any, serial", tools, chat.ToolChoiceAny, ptr(false), `{"type":"any","disable_parallel_tool_use":true}`},
		{"named", tools, chat.ToolChoiceTool, nil, `{"type":"tool","name":"f"}`},
		{"nothing to choose", nil, chat.ToolChoiceAuto, ptr(false), ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			body, err := EncodeRequest(&chat.Request{Tools: c.tools, ToolChoice: chat.ToolChoice{Mode: c.mode, Name: "f"}, ParallelToolCalls: c.parallel}, Options{})
			if err != nil {
				t.Fatal(err)
			}
			var got struct {
				ToolChoice json.RawMessage `json:"tool_choice"`
			}
			if err := json.Unmarshal(body, &got); err != nil {
				t.Fatal(err)
			}
			if c.mode == chat.ToolChoiceTool {
				c.want = `{"type":"tool","name":"f"}`
			}
			if string(got.ToolChoice) != c.want {
				t.Errorf("tool_choice = %s, want %s", got.ToolChoice, c.want)
			}
		})
	}
}

func TestEncodeRequestRefuses(t *testing.T) {
	user := func(b chat.Block) chat.Request {
		return chat.Request{Messages: []chat.Message{{Role: chat.User, Param: "messages[0]", Blocks: []chat.Block{b}}}}
	}
	for _, c := range []struct {
		name, param string
		req         chat.Request
		o           Options
	}{
		{name: "an image by URL", param: "messages[0].content[1]", req: user(chat.Image{URL: "https://x.invalid/a.png", Param: "messages[0].content[1]"})},
		{name: "a spreadsheet", param: "messages[0]", req: user(chat.Document{Format: "xlsx", Data: []byte("PK")})},
		{name: "text that is none", param: "messages[0]", req: user(chat.Document{Format: "txt", Data: []byte{0xff}})},
		{name: "text of control characters", param: "messages[0]", req: user(chat.Document{Format: "csv", Data: make([]byte, 4096)})},
		{name: "a spreadsheet in a result", param: "messages[3]", req: user(chat.ToolResult{Param: "messages[3]", Blocks: []chat.Block{chat.Document{Format: "doc"}}})},
		{name: "an extra that is the request", param: "messages", o: Options{Extra: map[string]json.RawMessage{"messages": json.RawMessage("[]")}}},
		{name: "an extra that is not JSON", param: "top_k", o: Options{Extra: map[string]json.RawMessage{"top_k": json.RawMessage("4,")}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := EncodeRequest(&c.req, c.o)
			var f *fault.Error
			if !errors.As(err, &f) || f.Status != 400 || f.Param != c.param {
				t.Errorf("err = %v, want a 400 for %s", err, c.param)
			}
		})
	}
}

// What the caller sent goes out at its own size, or little more: a < is not escaped,
// and a document of characters that must be is none of text.
func TestEncodeRequestDoesNotGrow(t *testing.T) {
	const n = 1 << 20
	colored := []byte(strings.Repeat("\x1b[31mfailed\x1b[0m: a longer line of a log\n", n/45))
	r := chat.Request{Messages: []chat.Message{{Role: chat.User, Blocks: []chat.Block{chat.Text{Text: strings.Repeat("<&>", n/3)}, chat.Document{Format: "txt", Data: colored}}}}}
	name, value := strings.Repeat("<", n), json.RawMessage(`"`+strings.Repeat(">", n)+`"`)
	body, err := EncodeRequest(&r, Options{Extra: map[string]json.RawMessage{name: value, "max_tokens": json.RawMessage("7"), "temperature": json.RawMessage("1")}})
	if err != nil {
		t.Fatal(err)
	}
	if most := 4*n + n/2; len(body) > most {
		t.Errorf("%d bytes, want at most %d", len(body), most)
	}
	var got map[string]json.RawMessage
	if err := json.Unmarshal(body, &got); err != nil || string(got["max_tokens"]) != "7" || string(got["temperature"]) != "1" || len(got[name]) != len(value) {
		t.Errorf("%v, %.200s", err, body)
	}
}

func TestUserIDThatAnthropicWouldRefuseGoesHashed(t *testing.T) {
	for user, verbatim := range map[string]bool{"u-1": true, "0b5e4c2a-7f": true, "a@b.c": false, "+47 400 00 000": false, strings.Repeat("x", 257): false} {
		if got := userMetadata(user).UserID; (got == user) != verbatim || len(got) > 256 {
			t.Errorf("user %q goes as %q", user, got)
		}
	}
}

// Redacted reasoning goes back as it came, base64 or not.
func FuzzRedactedRoundTrip(f *testing.F) {
	for _, data := range []string{"", "EmwKAhgBIgw=", "not base64!", "YQ", "YR==", "\x00<é>"} {
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data string) {
		if !utf8.ValidString(data) {
			return // no JSON holds it
		}
		reply, err := json.Marshal(map[string]any{"type": "message", "content": []any{map[string]any{"type": "redacted_thinking", "data": data}}})
		if err != nil {
			t.Fatal(err)
		}
		events, err := DecodeResponse(reply)
		if err != nil {
			t.Fatal(err)
		}
		var got chat.RedactedDelta
		for _, e := range events {
			if d, ok := e.(chat.RedactedDelta); ok {
				got = d
			}
		}
		sent, err := new(encoder).block(chat.Redacted{Data: got.Data}, "")
		if err != nil || *sent.Data != data {
			t.Errorf("%q came back as %q, %v", data, *sent.Data, err)
		}
	})
}
