package sim

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"
)

// first are the members that the APIs write before others: who looks for a model or an id in the bytes
// finds it where the services have it.
var first = func() map[string]int {
	rank := map[string]int{}
	for i, name := range []string{
		"type", "sequence_number", "response", "message", "id", "object", "created", "created_at", "status", "background", "error", "role", "model", "index",
		"output_index", "item_id", "content_index", "summary_index", "item", "part", "content_block", "delta", "choices", "name", "namespace", "call_id",
	} {
		rank[name] = i - 1000
	}
	return rank
}()

// wire is JSON as the OpenAI and Anthropic servers write it: in their order, < and > as they are.
func wire(v any) []byte {
	var b bytes.Buffer
	write(&b, v)
	return b.Bytes()
}

func write(b *bytes.Buffer, v any) {
	switch v := v.(type) {
	case object:
		names := slices.SortedFunc(maps.Keys(v), func(x, y string) int {
			if d := first[x] - first[y]; d != 0 {
				return d
			}
			return bytes.Compare([]byte(x), []byte(y))
		})
		b.WriteByte('{')
		for i, name := range names {
			if i > 0 {
				b.WriteByte(',')
			}
			write(b, name)
			b.WriteByte(':')
			write(b, v[name])
		}
		b.WriteByte('}')
	case []any:
		b.WriteByte('[')
		for i, e := range v {
			if i > 0 {
				b.WriteByte(',')
			}
			write(b, e)
		}
		b.WriteByte(']')
	default:
		e := json.NewEncoder(b)
		e.SetEscapeHTML(false)
		if err := e.Encode(v); err != nil {
			panic("sim: wire: " + err.Error()) // only values of our own making come here
		}
		b.Truncate(b.Len() - 1) // the encoder ends with a line break
	}
}
