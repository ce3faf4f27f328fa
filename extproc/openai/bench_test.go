package openai

import (
	"encoding/base64"
	"strings"
	"testing"
	"time"

	"aisix/extproc/chat"
)

// bodies are requests as callers send them, by what is large in them.
func bodies() map[string][]byte {
	turn := `{"role":"user","content":"What is the weather in Bonn, and what in Köln?"},` +
		`{"role":"assistant","content":"Let me see.","tool_calls":[{"id":"c1","type":"function","function":{"name":"weather","arguments":"{\"city\":\"Bonn\"}"}}]},` +
		`{"role":"tool","tool_call_id":"c1","content":"12 °C, light rain"},{"role":"assistant","content":"12 °C and light rain."},`
	tools := `"tools":[` + join(10, func(i int) string {
		return `{"type":"function","function":{"name":"tool` + itoa(i) + `","description":"Does a thing.","parameters":{"type":"object","properties":{"city":{"type":"string"},"days":{"type":"integer"}},"required":["city"]}}}`
	}) + `]`
	last := `{"role":"user","content":"And tomorrow?"}`
	image := base64.StdEncoding.EncodeToString([]byte(png + strings.Repeat("\x00\xff\x10", 1<<20)))
	return map[string][]byte{
		"short":        []byte(`{"model":"m","messages":[{"role":"user","content":"Say hello."}]}`),
		"tools":        []byte(`{"model":"m",` + tools + `,"messages":[` + turn + last + `]}`),
		"conversation": []byte(`{"model":"m",` + tools + `,"messages":[` + strings.Repeat(turn, 100) + last + `]}`),
		"long text":    []byte(`{"model":"m","messages":[{"role":"user","content":"` + strings.Repeat(`A line of a long document.\n`, 40_000) + `"}]}`),
		"image":        []byte(`{"model":"m","messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"data:image/png;base64,` + image + `"}}]}]}`),
	}
}

func BenchmarkDecode(b *testing.B) {
	for name, body := range bodies() {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(body)))
			b.ReportAllocs()
			for b.Loop() {
				r, err := Chat{}.Decode(body)
				if err != nil {
					b.Fatal(err)
				}
				if err := chat.Check(r); err != nil {
					b.Fatal(err)
				}
				if _, err := chat.Tidy(r); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkAnswer(b *testing.B) {
	n := 7
	r := &chat.Response{ID: "msg_1", Stop: chat.EndTurn, Usage: chat.Usage{Input: &n, Output: &n, CacheRead: &n, CacheWrite: &n},
		Blocks: []chat.Block{chat.Text{Text: strings.Repeat("A line of an \"answer\".\n", 50)}}}
	a, h := &asked{model: "m"}, chat.Heading{ID: "1", Created: time.Unix(7, 0)}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := a.Whole(h, r); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkStream(b *testing.B) {
	b.ReportAllocs()
	s := (&asked{model: "m", usage: true}).Stream(chat.Heading{ID: "1", Created: time.Unix(7, 0)})
	var e chat.Event = chat.TextDelta{Text: "a few words of text"}
	var out []byte
	for b.Loop() {
		out, _ = s.Append(out[:0], e)
	}
}

// TestAllocations keeps what every call pays from growing unseen.
func TestAllocations(t *testing.T) {
	all := bodies()
	for name, most := range map[string]float64{"short": 40, "tools": 400} {
		if n := testing.AllocsPerRun(5, func() {
			r, _ := Chat{}.Decode(all[name])
			_ = chat.Check(r)
			_, _ = chat.Tidy(r)
		}); n > most {
			t.Errorf("%s: %.0f allocations, want at most %.0f", name, n, most)
		}
	}
	s := (&asked{model: "m", usage: true}).Stream(chat.Heading{ID: "1"})
	var e chat.Event = chat.TextDelta{Text: "a few words of text"}
	out, _ := s.Append(make([]byte, 0, 1<<12), e)
	if n := testing.AllocsPerRun(100, func() { out, _ = s.Append(out[:0], e) }); n > 0 {
		t.Errorf("a chunk of text: %.0f allocations, want none", n)
	}
}
