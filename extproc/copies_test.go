package extproc

import (
	"encoding/base64"
	"runtime"
	"testing"
)

// On its way from the body that came to the body that goes out, a large image is written
// once: there is no other copy of its size but the one that joins the pieces it came in.
func TestALargeImageIsWrittenOnce(t *testing.T) {
	image := append([]byte("\x89PNG\r\n\x1a\n"), make([]byte, 4<<20)...)
	body := []byte(`{"model":"m","messages":[{"role":"user","content":[{"type":"text","text":"What is this?"},{"type":"image_url","image_url":{"url":"data:image/png;base64,` + base64.StdEncoding.EncodeToString(image) + `"}}]}]}`)
	for _, id := range []string{"anthropic.claude-sonnet-4-5-20250929-v1:0", "amazon.nova-pro-v1:0"} {
		model := compiled(t, id)
		perCall := allocated(func() {
			up(t, body, model)
		})
		if most := int64(len(body)) * 11 / 10; perCall > most {
			t.Errorf("%s: %d bytes are allocated for a body of %d, want at most %d", id, perCall, len(body), most)
		}
	}
}

// allocated is how many bytes f allocates, once what it keeps is there.
func allocated(f func()) int64 {
	f()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return int64(after.TotalAlloc - before.TotalAlloc)
}
