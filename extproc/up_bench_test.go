package extproc

import (
	"encoding/base64"
	"strings"
	"testing"
	"time"

	"aisix/admin/resource"
	"aisix/extproc/bedrock"
	"aisix/extproc/identity"
	"aisix/extproc/openai"
)

// The way up from the body that came to the one that goes out, signed: a prompt of 1 KB,
// and an image of 5 MB.
func BenchmarkUp(b *testing.B) {
	image := append([]byte("\x89PNG\r\n\x1a\n"), make([]byte, 5<<20)...)
	for _, body := range []struct{ name, text string }{
		{"Text", `{"model":"m","max_tokens":1024,"messages":[{"role":"system","content":"You are helpful."},{"role":"user","content":"` + strings.Repeat("What is the weather like? ", 40) + `"}]}`},
		{"Image", `{"model":"m","messages":[{"role":"user","content":[{"type":"text","text":"What is this?"},{"type":"image_url","image_url":{"url":"data:image/png;base64,` + base64.StdEncoding.EncodeToString(image) + `"}}]}]}`},
	} {
		for _, id := range []string{"anthropic.claude-sonnet-4-5-20250929-v1:0", "amazon.nova-pro-v1:0"} {
			model := compiled(b, id)
			b.Run(body.name+"/"+resource.Publisher(id), func(b *testing.B) {
				text := []byte(body.text)
				b.ReportAllocs()
				for b.Loop() {
					up(b, text, model)
				}
			})
		}
	}
}

// compiled is a model by its id, as Bedrock's own endpoint has it.
func compiled(tb testing.TB, id string) *bedrock.Model {
	tb.Helper()
	model, err := bedrock.Compile(&resource.Model{ModelName: id}, id, &resource.ProviderKey{Credentials: resource.Static{Region: "us-west-2"}})
	if err != nil {
		tb.Fatal(err)
	}
	return model
}

// up takes a body the whole way to what goes out.
func up(tb testing.TB, body []byte, model *bedrock.Model) {
	tb.Helper()
	asked, err := openai.Chat{}.Parse(nil, body)
	if err != nil {
		tb.Fatal(err)
	}
	request, err := asked.Request(nil)
	if err != nil {
		tb.Fatal(err)
	}
	call, err := bedrock.NewCall(tb.Context(), request, model, 1<<24)
	if err != nil {
		tb.Fatal(err)
	}
	if _, err := call.Sign(identity.Token{AccessKeyID: "a", SecretAccessKey: "s"}, time.Unix(1, 0)); err != nil {
		tb.Fatal(err)
	}
}
