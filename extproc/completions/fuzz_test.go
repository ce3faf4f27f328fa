package completions

import (
	"encoding/json"
	"errors"
	"testing"

	"aisix/extproc/chat"
)

// Whatever an upstream sends is decoded, or an error: never a panic, and no fragment of a
// call that did not begin.
func FuzzDecode(f *testing.F) {
	for _, seed := range []string{
		`{"id":"a","choices":[{"delta":{"role":"assistant","content":"x","reasoning":"y"}}]}`,
		`{"choices":[{"delta":{"tool_calls":[{"index":3,"id":"c","function":{"name":"f","arguments":"{"}},{"index":3,"function":{"arguments":"}"}}]},"finish_reason":"tool_calls"}],"usage":{"prompt_tokens":1,"completion_tokens":2,"prompt_tokens_details":{"cached_tokens":9}}}`,
		`{"choices":[{"message":{"content":null,"refusal":"no","tool_calls":[{"id":"a","function":{"name":"f","arguments":""}},{"id":"b","function":{"name":"f"}}]},"finish_reason":"stop"}]}`,
		`{"choices":[{"delta":{"content":"x","tool_calls":[{"index":1,"id":"a","function":{"name":"f","arguments":"{"}},{"index":0,"id":"b","function":{"name":"g","arguments":"{\"x\":\"\\\"}\""}},{"index":1,"function":{"arguments":"}"}}]}}]}`,
		`{"choices":[{"delta":{"tool_calls":[{"function":{"arguments":"{}"}},{"id":"a"},{"index":null,"function":{"name":"f","arguments":""}},{"id":"a","function":{"name":"g","arguments":"{}"}}]}}]}`,
		`{"choices":[{"delta":{"tool_calls":[{"index":0,"function":{"name":"f","arguments":"{}"}},{"index":0,"id":"c","function":{"name":"g","arguments":"{}"}},{"index":0,"id":"d","function":{"name":"g","arguments":" "}}]},"finish_reason":"stop"}],"service_tier":"flex"}`,
		`{"choices":[{"delta":{"tool_calls":[{"index":0,"id":"c","function":{"arguments":"{}"}},{"index":0,"id":"d","function":{"name":"g","arguments":" "}}]},"finish_reason":"stop"}]}`,
		`{"error":{"message":"m","code":429}}`, `{"error":"text"}`, `{"choices":[{}]}`, `[]`, `null`,
	} {
		f.Add([]byte(seed), []byte(seed))
	}
	f.Fuzz(func(t *testing.T, first, second []byte) {
		var d EventDecoder
		open := map[int]bool{}
		for _, chunk := range [][]byte{first, second} {
			events, err := d.Decode(chunk)
			var e *Error
			if errors.As(err, &e) && DecodeError(chunk) == nil && json.Valid(chunk) {
				t.Errorf("%s is an error %v here, and none there", chunk, err)
			}
			if err != nil {
				return // nothing of the stream is read behind it
			}
			for _, e := range events {
				switch e := e.(type) {
				case chat.ToolStart:
					open[e.Index] = true
				case chat.ToolDelta:
					if !open[e.Index] {
						t.Errorf("a fragment of block %d, which is no call", e.Index)
					}
				case chat.UsageSnapshot:
					if e.Usage.Input != nil && *e.Usage.Input < 0 {
						t.Errorf("%d tokens", *e.Usage.Input)
					}
				}
			}
		}
	})
}

// A stream and a whole answer that say the same are the same.
func TestWholeIsStream(t *testing.T) {
	whole := `{"id":"c","choices":[{"message":{"reasoning_content":"hm","content":"Sunny.","tool_calls":[{"id":"a","function":{"name":"f","arguments":"{\"x\":1}"}},{"id":"b","function":{"name":"g","arguments":"{}"}}]},"finish_reason":"tool_calls"}],"usage":{"prompt_tokens":9,"completion_tokens":3}}`
	chunks := []string{
		`{"id":"c","choices":[{"delta":{"role":"assistant","reasoning_content":"h"}}]}`, `{"id":"c","choices":[{"delta":{"reasoning_content":"m"}}]}`,
		`{"id":"c","choices":[{"delta":{"content":"Sun"}}]}`, `{"id":"c","choices":[{"delta":{"content":"ny."}}]}`,
		`{"id":"c","choices":[{"delta":{"tool_calls":[{"index":0,"id":"a","function":{"name":"f","arguments":""}}]}}]}`,
		`{"id":"c","choices":[{"delta":{"tool_calls":[{"index":0,"function":{"arguments":"{\"x\":"}}]}}]}`,
		`{"id":"c","choices":[{"delta":{"tool_calls":[{"index":1,"id":"b","function":{"name":"g","arguments":"{}"}},{"index":0,"function":{"arguments":"1}"}}]}}]}`,
		`{"id":"c","choices":[{"delta":{},"finish_reason":"tool_calls"}]}`, `{"id":"c","choices":[],"usage":{"prompt_tokens":9,"completion_tokens":3}}`,
	}
	events, err := DecodeCompletion([]byte(whole))
	if err != nil {
		t.Fatal(err)
	}
	want, err := chat.Collect(events)
	if err != nil {
		t.Fatal(err)
	}
	var d EventDecoder
	var all []chat.Event
	for _, c := range chunks {
		events, err := d.Decode([]byte(c))
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, events...)
	}
	got, err := chat.Collect(all)
	if err != nil {
		t.Fatal(err)
	}
	a, _ := json.Marshal(want)
	b, _ := json.Marshal(got)
	if string(a) != string(b) || len(want.Blocks) != 4 {
		t.Errorf("%s\nstreamed %s", a, b)
	}
}

// What is only skimmed is a text that grows, and no more than that.
func FuzzRaw(f *testing.F) {
	for _, seed := range []string{
		`{"id":"a","model":"m","choices":[{"index":0,"delta":{"content":"x\u00e9"},"finish_reason":null,"logprobs":null}],"usage":null}`,
		`{"choices":[{"delta":{"role":"assistant","content":"x","refusal":null}}]}`, `{"choices":[{"delta":{"content":"x","reasoning":"y"}}]}`,
		`{"choices":[{"delta":{"content":"x"},"finish_reason":"stop"}]}`, `{"choices":[{"delta":{"content":"x"}}],"error":{"message":"m"}}`,
		`{"choices":[{"delta":{"content":""}}]}`, `{"choices":[{"delta":{"tool_calls":[{"index":0}]}}]}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, chunk []byte) {
		seen := skim(chunk)
		if seen == 0 {
			return
		}
		events, err := (&EventDecoder{started: true, open: -1}).Decode(chunk)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range events {
			switch e := e.(type) {
			case chat.TextDelta:
				if len(e.Text) == 0 || len(e.Text) > seen {
					t.Errorf("%d bytes of text, skimmed %d", len(e.Text), seen)
				}
			case chat.ServedTier:
			default:
				t.Errorf("a skimmed chunk says %#v", e)
			}
		}
	})
}
