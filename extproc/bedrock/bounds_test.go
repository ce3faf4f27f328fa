package bedrock

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"

	"aisix/extproc/chat"
	"aisix/extproc/fault"
)

func repeat(n int, item func(i int) string) string {
	items := make([]string, n)
	for i := range items {
		items[i] = item(i)
	}
	return strings.Join(items, ",")
}

// What references write is bounded over all schemas of a request, the one of
// structured output included, and by what a body may hold.
func TestExpansionIsBounded(t *testing.T) {
	text := strings.Repeat("x", 10_000)
	twice := `{"type":"object","properties":{"a":{"$ref":"#/$defs/t"},"b":{"$ref":"#/$defs/t"}},"$defs":{"t":{"description":"` + text + `"}}}`
	tools := func(n int) *chat.Request {
		r := userSays("q")
		for i := range n {
			r.Tools = append(r.Tools, chat.Tool{Name: "f" + strconv.Itoa(i), Schema: json.RawMessage(twice), Param: fmt.Sprintf("tools[%d].function.parameters", i)})
		}
		return r
	}
	nova := target("amazon.nova-pro-v1:0")
	c, err := NewCall(t.Context(), tools(10), nova, bodyLimit)
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(c.body), text); n != 20 {
		t.Errorf("the text stands %d times, want 20", n)
	}
	shaped := tools(0)
	shaped.Format = &chat.Format{Schema: json.RawMessage(twice), Param: "response_format.json_schema.schema"}
	for what, test := range map[string]struct {
		request     *chat.Request
		limit       int64
		param, says string
	}{
		"many tools":      {tools(60), bodyLimit, "tools[52].function.parameters", strconv.Itoa(chat.MaxExpansion)},
		"a small limit":   {tools(10), 70_000, "tools[3].function.parameters", "70000"},
		"a limit of less": {shaped, 19_000, "response_format.json_schema.schema", "19000"},
	} {
		_, err := NewCall(t.Context(), test.request, nova, test.limit)
		var f *fault.Error
		if !errors.As(err, &f) || f.Status != 400 || f.Param != test.param || !strings.Contains(f.Message, test.says+" bytes") {
			t.Errorf("%s: %v for %q; want a 400 for %s that says %s", what, err, fault.From(err).Param, test.param, test.says)
		}
	}
	// Other families read references themselves.
	for _, model := range models {
		c, err := NewCall(t.Context(), tools(60), target(model), bodyLimit)
		if err == nil && len(c.body) > 2*60*len(twice) {
			t.Errorf("%s: %d bytes", model, len(c.body))
		}
	}
}

// ends is a context that is done once it was looked at often enough.
type ends struct {
	context.Context
	looks, after int
}

func (e *ends) Err() error {
	if e.looks++; e.looks > e.after {
		return context.Canceled
	}
	return nil
}

// A caller who has left is not worked for: the context is looked at in every long
// loop, and its error comes back as it is.
func TestNobodyIsWaiting(t *testing.T) {
	tools := userSays("q")
	for i := range 500 {
		tools.Tools = append(tools.Tools, chat.Tool{Name: "f" + strconv.Itoa(i), Schema: json.RawMessage(`{"type":"object","properties":{"a":{"$ref":"#/$defs/A"}},"$defs":{"A":{}}}`)})
	}
	schema := userSays("q")
	schema.Tools = []chat.Tool{{Name: "f", Schema: json.RawMessage(`{"type":"object","properties":{` + repeat(8_000, func(i int) string { return fmt.Sprintf(`"%d":{}`, i) }) + `}}`)}}
	turns := &chat.Request{}
	for i := range 500 {
		turns.Messages = append(turns.Messages, chat.Message{Role: []chat.Role{chat.User, chat.Assistant}[i%2], Blocks: []chat.Block{chat.Text{Text: "x"}}})
	}
	for what, test := range map[string]struct {
		request *chat.Request
		looks   int // that a caller who stays is looked for, at least
	}{"tools": {tools, 1000}, "a schema": {schema, 8 + 10}, "turns": {turns, 500}} {
		stays := &ends{Context: t.Context(), after: 1 << 30}
		if _, err := NewCall(stays, test.request, target("amazon.nova-pro-v1:0"), bodyLimit); err != nil || stays.looks < test.looks {
			t.Errorf("%s: looked %d times, want %d; %v", what, stays.looks, test.looks, err)
		}
		for after := 0; after < stays.looks; after += 1 + stays.looks/50 {
			leaves := &ends{Context: t.Context(), after: after}
			if _, err := NewCall(leaves, test.request, target("amazon.nova-pro-v1:0"), bodyLimit); !errors.Is(err, context.Canceled) || leaves.looks > after+5 {
				t.Errorf("%s: after %d looks, %d more: %v", what, after, leaves.looks-after, err)
			}
		}
	}
}
