package bedrock

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"aisix/extproc/chat"
)

// ordinary is what most callers send: a system text, a prompt of 1 KB, a bound, and so
// many tools.
func ordinary(tools int) *chat.Request {
	r := userSays(strings.Repeat("What is the weather like in Oslo, and why? ", 24))
	r.System = []chat.Block{chat.Text{Text: "You are a helpful assistant."}}
	n, temperature := 1024, 0.7
	r.MaxTokens, r.Temperature = &n, &temperature
	for i := range tools {
		r.Tools = append(r.Tools, chat.Tool{
			Name: fmt.Sprintf("get_weather_%d", i), Description: "Tells the weather of a city, now and for the next days, in the units asked for.",
			Schema: json.RawMessage(`{"type":"object","properties":{"city":{"type":"string","description":"the city's name"},"days":{"type":"integer"},"units":{"type":"string","enum":["metric","imperial"]}},"required":["city"]}`),
		})
	}
	return r
}

// The way up, step by step.
func BenchmarkUp(b *testing.B) {
	ctx := b.Context()
	image := userSays("What is this?")
	image.Messages[0].Blocks = append(image.Messages[0].Blocks, chat.Image{Format: "png", Data: append([]byte("\x89PNG\r\n\x1a\n"), make([]byte, 5<<20)...)})
	for _, r := range []struct {
		name string
		*chat.Request
	}{{"Text", ordinary(0)}, {"Tools", ordinary(10)}, {"Talk", conversation()}, {"Image", image}} {
		for _, m := range []struct{ name, model string }{{"InvokeModel", claude45}, {"Converse", nova}} {
			to := target(m.model)
			b.Run(r.name+"/"+m.name+"/prepare", func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					if _, err := prepare(ctx, r.Request, to, bodyLimit); err != nil {
						b.Fatal(err)
					}
				}
			})
			b.Run(r.name+"/"+m.name+"/NewCall", func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					if _, err := NewCall(ctx, r.Request, to, bodyLimit); err != nil {
						b.Fatal(err)
					}
				}
			})
			b.Run(r.name+"/"+m.name+"/Sign", func(b *testing.B) {
				c := newCall(b, r.Request, to)
				b.ReportAllocs()
				for b.Loop() {
					if _, err := c.Sign(token, signedAt); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
