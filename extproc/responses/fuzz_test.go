package responses

import (
	"testing"

	"aisix/extproc/chat"
)

// Whatever an upstream sends is decoded, or an error: never a panic.
func FuzzDecode(f *testing.F) {
	for _, seed := range []string{
		`{"type":"response.created","response":{"id":"r"}}`,
		`{"type":"response.output_item.added","output_index":1,"item":{"type":"function_call","call_id":"c","name":"f"}}`,
		`{"type":"response.function_call_arguments.delta","output_index":1,"delta":"{}"}`,
		`{"type":"response.output_item.done","output_index":1,"item":{"type":"reasoning","id":"rs","summary":[{"text":"a"}],"encrypted_content":"e"}}`,
		`{"type":"response.completed","response":{"status":"completed","usage":{"input_tokens":1,"output_tokens":2,"input_tokens_details":{"cached_tokens":7}}}}`,
		`{"type":"response.failed"}`, `{"type":"error","message":"m","code":null}`, `{"status":"incomplete","output":[{"type":"message","content":[{"refusal":"no"}]}]}`,
		`null`, `[]`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var d EventDecoder
		for range 2 {
			events, _ := d.Decode(data)
			check(t, events)
		}
		events, _ := DecodeResponse(data)
		check(t, events)
	})
}

func check(t *testing.T, events []chat.Event) {
	t.Helper()
	for _, e := range events {
		if u, ok := e.(chat.UsageSnapshot); ok && u.Usage.Input != nil && *u.Usage.Input < 0 {
			t.Errorf("%d tokens", *u.Usage.Input)
		}
	}
}

// A reasoning item comes back as it went, whatever its id and content are.
func FuzzSigned(f *testing.F) {
	f.Add("rs_1", "gAAAA==")
	f.Add("", "x:y")
	f.Fuzz(func(t *testing.T, id, encrypted string) {
		if encrypted == "" {
			if Signed(id, encrypted) != "" {
				t.Error("a signature of nothing")
			}
			return
		}
		gotID, gotEncrypted, ok := Unsigned(Signed(id, encrypted))
		if !ok {
			t.Fatal("not ours")
		}
		for i := range id { // ids have no colon; with one, what is joined is the same still
			if id[i] == ':' {
				return
			}
		}
		if gotID != id || gotEncrypted != encrypted {
			t.Errorf("%q %q", gotID, gotEncrypted)
		}
	})
}

// What is only skimmed says what decoding it says, and leaves the decoder in the same state.
func FuzzRaw(f *testing.F) {
	for _, seed := range []string{
		`{"type":"response.output_text.delta","output_index":1,"delta":"a\n","logprobs":[],"sequence_number":7}`,
		`{"type":"response.custom_tool_call_input.delta","output_index":2,"delta":"x"}`,
		`{"delta":"","type":"response.refusal.delta"}`, `{"type":"response.output_text.delta","delta":null}`,
		`{"type":"response.output_text.delta","delta":"x","error":{"message":"m"}}`, `{"type":"a\nb"}`, `{}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var passing, plain EventDecoder
		raw, events, err := passing.Raw(data)
		want, wantErr := plain.Decode(data)
		if (err == nil) != (wantErr == nil) {
			t.Fatalf("%v, decoded %v", err, wantErr)
		}
		if err != nil {
			return
		}
		if string(raw.Data) != string(data) || raw.Name != "" && !isEventName(raw.Name) {
			t.Errorf("%q %q", raw.Name, raw.Data)
		}
		if raw.Seen == 0 && raw.Name != "" && len(events) != len(want) {
			t.Errorf("%v, decoded %v", events, want)
		}
		if len(passing.seen) != len(plain.seen) && raw.Name != "response.custom_tool_call_input.delta" {
			t.Errorf("%v, decoded %v", passing.seen, plain.seen)
		}
		if raw.Seen > 0 && len(events) == 0 && raw.Name != "response.custom_tool_call_input.delta" {
			said := 0
			for _, e := range want {
				switch e := e.(type) {
				case chat.TextDelta:
					said += len(e.Text)
				case chat.ThinkingDelta:
					said += len(e.Text)
				case chat.ToolDelta:
					said += len(e.JSON)
				default:
					t.Errorf("a delta says %#v", e)
				}
			}
			if said == 0 || said > raw.Seen {
				t.Errorf("%d bytes of text, skimmed %d", said, raw.Seen)
			}
		}
	})
}
