package sim

import (
	"fmt"
	"runtime"
	"testing"
	"time"
)

// Checking and answering are linear in the body: a wide one is no way to hold the simulator up.
func TestWideBodiesAreAnsweredSoon(t *testing.T) {
	const n = 9_000 // about the most that Converse takes
	var texts, uses, results, converseTexts, converseUses, converseResults []any
	for i := range n {
		id := fmt.Sprintf("id-%d", i)
		texts = append(texts, object{"type": "text", "text": "some words to be read"})
		uses = append(uses, object{"type": "tool_use", "id": id, "name": "x", "input": object{}})
		results = append(results, object{"type": "tool_result", "tool_use_id": id, "content": "y"})
		converseTexts = append(converseTexts, object{"text": "some words to be read"})
		converseUses = append(converseUses, object{"toolUse": object{"toolUseId": id, "name": "x", "input": object{}}})
		converseResults = append(converseResults, object{"toolResult": object{"toolUseId": id, "content": []any{object{"text": "y"}}}})
	}
	hi := object{"role": "user", "content": []any{object{"type": "text", "text": "Hi"}}}
	m, _ := resolve(escape(claude), "us-west-2")
	for name, read := range map[string]func() (*ask, *fault){
		"texts": func() (*ask, *fault) {
			return checkMessages(m, reparse(t, object{"anthropic_version": "bedrock-2023-05-31", "max_tokens": 9, "messages": []any{object{"role": "user", "content": texts}}}), nil)
		},
		"tools": func() (*ask, *fault) {
			return checkMessages(m, reparse(t, object{"anthropic_version": "bedrock-2023-05-31", "max_tokens": 9, "messages": []any{
				hi, object{"role": "assistant", "content": uses}, object{"role": "user", "content": results},
			}}), nil)
		},
		"converse texts": func() (*ask, *fault) {
			return checkConverse(m, reparse(t, object{"messages": []any{object{"role": "user", "content": converseTexts}}}), false, nil)
		},
		"converse tools": func() (*ask, *fault) {
			return checkConverse(m, reparse(t, object{
				"messages": []any{
					object{"role": "user", "content": []any{object{"text": "Hi"}}}, object{"role": "assistant", "content": converseUses}, object{"role": "user", "content": converseResults},
				},
				"toolConfig": object{"tools": []any{object{"toolSpec": object{"name": "x", "inputSchema": object{"json": object{"type": "object"}}}}}},
			}), false, nil)
		},
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		begun := time.Now()
		a, f := read()
		if f != nil {
			t.Errorf("%s: %v", name, f)
			continue
		}
		a.finish(nil)
		a.answer()
		runtime.ReadMemStats(&after)
		// joined one by one, the texts alone would take a gigabyte
		if d, b := time.Since(begun), after.TotalAlloc-before.TotalAlloc; d > 20*time.Second || b > 256<<20 {
			t.Errorf("%s: %v, %d bytes", name, d, b)
		}
	}
}

func reparse(t *testing.T, v any) any {
	t.Helper()
	out, err := parse(marshal(v))
	if err != nil {
		t.Fatal(err)
	}
	return out
}
