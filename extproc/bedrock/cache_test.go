package bedrock

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"aisix/admin/resource"
	"aisix/extproc/chat"
)

// points writes the blocks of a request down, for reading: a letter for each block, and *
// or h behind it for a cache point of five minutes or of an hour. Tools, system and turns
// are apart.
func points(r *chat.Request) string {
	var out []string
	mark := func(c chat.CachePoint) string {
		if c.TTL == longTTL {
			return "h"
		}
		return "*"
	}
	word := func(blocks []chat.Block) string {
		var w strings.Builder
		for _, b := range blocks {
			switch b := b.(type) {
			case chat.Text:
				w.WriteString("t")
			case chat.Image:
				w.WriteString("i")
			case chat.Document:
				w.WriteString("d")
			case chat.ToolUse:
				w.WriteString("u")
			case chat.ToolResult:
				w.WriteString("r")
			case chat.Thinking, chat.Redacted:
				w.WriteString("T")
			case chat.CachePoint:
				w.WriteString(mark(b))
			}
		}
		return w.String()
	}
	tools := ""
	for _, t := range r.Tools {
		if tools += "f"; t.Cache != nil {
			tools += mark(*t.Cache)
		}
	}
	out = append(out, tools, word(r.System))
	for _, m := range r.Messages {
		out = append(out, word(m.Blocks))
	}
	return strings.Join(out, "|")
}

// written is the request that points would write so, with a call for every result.
func written(t *testing.T, word string) *chat.Request {
	t.Helper()
	r := &chat.Request{}
	parts := strings.Split(word, "|")
	block := func(id string, c rune) chat.Block {
		switch c {
		case 't':
			return chat.Text{Text: "x"}
		case 'i':
			return chat.Image{Format: "png", Data: png}
		case 'd':
			return chat.Document{Name: "a", Format: "txt", Data: []byte("x")}
		case 'D':
			return chat.Document{Name: "a", Format: "docx", Data: []byte("x")}
		case 'P':
			return chat.Document{Name: "a", Format: "pdf", Data: []byte("%PDF-")}
		case 'u':
			return chat.ToolUse{ID: id, Name: "f", Input: json.RawMessage(`{}`)}
		case 'r':
			return chat.ToolResult{ID: id, Blocks: []chat.Block{chat.Text{Text: "x"}}}
		case 'T':
			return chat.Thinking{Text: "x", Signature: "c2ln"}
		case '*':
			return chat.CachePoint{}
		case 'h':
			return chat.CachePoint{TTL: longTTL}
		}
		t.Fatalf("no block is called %c", c)
		return nil
	}
	for _, c := range parts[0] {
		if c == 'f' {
			r.Tools = append(r.Tools, chat.Tool{Name: "f" + strings.Repeat("f", len(r.Tools)), Schema: looseSchema})
			continue
		}
		mark := block("", c).(chat.CachePoint)
		r.Tools[len(r.Tools)-1].Cache = &mark
	}
	for _, c := range parts[1] {
		r.System = append(r.System, block("", c))
	}
	for i, turn := range parts[2:] {
		m := chat.Message{Role: []chat.Role{chat.User, chat.Assistant}[i%2]}
		id := 0
		for _, c := range turn {
			if c == 'u' || c == 'r' {
				id++
			}
			m.Blocks = append(m.Blocks, block(strings.Repeat("c", id), c))
		}
		r.Messages = append(r.Messages, m)
	}
	return r
}

// Where a family takes no point, the mark stands behind the last block before it in the
// turn that carries one, or goes; and the bounds are Bedrock's.
func TestCachePoints(t *testing.T) {
	for _, test := range []struct {
		model, in, want string
		note            string
	}{
		// Nova: system and messages, behind text.
		{nova, "|t*|t*", "|t*|t*", ""},
		{nova, "|th|th", "|t*|t*", ""},
		{nova, "f*|t*|t", "f|t*|t", ""},
		{nova, "||ti*", "||t*i", ""},
		{nova, "||td*", "||t*d", ""},
		{nova, "||i*", "||i", ""},
		{nova, "||d*t*", "||dt*", ""},
		{nova, "||ti*d*", "||t*id", ""},
		{nova, "||t*i*", "||t*i", ""},
		{nova, "||t|tu*|r", "f||t|t*u|r", ""},
		{nova, "||t|u*|r", "f||t|u|r", ""},
		{nova, "||t|tu*|r*t", "f||t|t*u|rt", ""},
		{nova, "||t|uu|rr*t*", "f||t|uu|rrt*", ""},
		{nova, "||t*|t|t*i*", "||t*|t|t*i", ""},
		{nova2, "||td*|t|ti*", "||t*d|t|t*i", ""},
		{nova, "||t*|t*|t*|t*|t*", "||t|t*|t*|t*|t*", "last four"},
		// Claude, by InvokeModel and by Converse: behind everything but reasoning.
		{claude45, "f*|t*|ti*", "f*|t*|ti*", ""},
		{claude45, "||t|tu*|r*t", "f||t|tu*|r*t", ""},
		{claude45, "||t|T*t|t", "||t|Tt|t", ""},
		{claude45, "||D|T*t*|t", "||d|Tt*|t", ""},
		{claude45, "||tD*|tu*|r*", "f||t*d|tu*|r*", ""}, // Converse: not behind documents, but for PDFs
		{claude45, "||D*t*", "||dt*", ""},
		{claude45, "||D*", "||d", ""},
		{claude45, "||td*D*", "||t*dd", ""},
		{claude45, "||DtP*", "||dtd*", ""},
		{claude45, "f*f*|t*t*|t*", "ff*|t*t*|t*", "last four"},
		{claude45, "f*f*f*|t*t*|t*|t*|t*", "fff|tt*|t*|t*|t*", "last four"},
		{claude45, "f*|t*|tD*|t*|t*", "f|t*|t*d|t*|t*", "last four"},
		{claude45, "fh|th|th|t*", "fh|th|th|t*", ""},
		{claude45, "f*|th|th", "f*|t*|t*", "an hour"},
		{claude45, "fh|t*|th|t*", "fh|t*|t*|t*", "an hour"},
		{claude45, "f|t*|Dth|t*", "f|t*|dt*|t*", "an hour"},
		{claude45, "f*|th|th|th|th", "f|th|th|th|th", "last four"}, // the one of five minutes is left out first
		{claude45, "f*|t*|th|th|th", "f|t*|t*|t*|t*", "last four"},
		{claude35, "fh|t*|th", "f*|t*|t*", ""}, // it knows five minutes only
		{claude46, "fh|t*|th", "fh|t*|t*", "an hour"},
		// Families that cache nothing, and models that nobody knows.
		{llama33, "f*|t*|t*", "f|t|t", ""},
		{gptOSS, "f*|t*|t*", "f|t|t", ""},
		{unknownID, "f*|t*|t*t*t*t*t*", "f|t|ttttt", ""},
	} {
		t.Run(test.model+" "+test.in, func(t *testing.T) {
			r := written(t, test.in)
			p, err := prepare(t.Context(), r, compile(&resource.Model{ModelName: test.model}), bodyLimit)
			if err != nil {
				t.Fatal(err)
			}
			if got := points(p.req); got != test.want {
				t.Errorf("%s became %s, want %s", test.in, got, test.want)
			}
			notes := strings.Join(p.notes, "\n")
			if (test.note != "") != (len(p.notes) > 0) || !strings.Contains(notes, test.note) {
				t.Errorf("notes %q, want %q", notes, test.note)
			}
			c := newCall(t, r, compile(&resource.Model{ModelName: test.model}))
			sent := strings.Count(string(c.body), `"cache_control"`) + strings.Count(string(c.body), `"cachePoint"`)
			if want := strings.Count(test.want, "*") + strings.Count(test.want, "h"); sent != want {
				t.Errorf("%d points in %s, want %d", sent, c.body, want)
			}
		})
	}
}

// An operator's word about where points may stand wins over the data file.
func TestCacheAfterOfTheResource(t *testing.T) {
	m := compile(&resource.Model{ModelName: unknownID, Bedrock: resource.Bedrock{Capabilities: &resource.Capabilities{Cache: []string{"messages"}, CacheAfter: "text"}}})
	p, err := prepare(t.Context(), written(t, "f*|t*|ti*"), m, bodyLimit)
	if err != nil {
		t.Fatal(err)
	}
	if got := points(p.req); got != "f|t|t*i" {
		t.Errorf("got %s", got)
	}
}

// A mark inside a result stands beside it, and never leaves the result empty.
func TestMarkInsideAResult(t *testing.T) {
	r := written(t, "||t|u|r")
	r.Messages[2].Blocks[0] = chat.ToolResult{ID: "c", Blocks: []chat.Block{chat.CachePoint{}}}
	for model, want := range map[string]string{claude45: "f||t|u|r*", nova: "f||t|u|r"} {
		p, err := prepare(t.Context(), r, compile(&resource.Model{ModelName: model}), bodyLimit)
		if err != nil {
			t.Fatal(err)
		}
		result := p.req.Messages[2].Blocks[0].(chat.ToolResult)
		if got := points(p.req); got != want || !slices.Equal(result.Blocks, []chat.Block{chat.Text{Text: "(empty)"}}) {
			t.Errorf("%s: %s, %v", model, got, result.Blocks)
		}
	}
}
