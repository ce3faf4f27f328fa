package openai

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"aisix/extproc/chat"
)

// What is taken for standard base64 is what an encoder writes of what it decodes to.
func TestStandardBase64(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	taken := 0
	hold := func(s string) {
		t.Helper()
		data, err := base64.StdEncoding.DecodeString(s)
		want := err == nil && s != "" && base64.StdEncoding.EncodeToString(data) == s
		if got := standardBase64([]byte(s)); got != want {
			t.Errorf("%q: %v, want %v", s, got, want)
		}
		if want {
			taken++
		}
	}
	for range 3000 {
		data := make([]byte, r.IntN(60))
		for i := range data {
			data[i] = byte(r.Uint32())
		}
		s := base64.StdEncoding.EncodeToString(data)
		hold(s)
		if s == "" {
			continue
		}
		broken := []byte(s)
		broken[r.IntN(len(broken))] = "\r\n =-_%AQ\x00\xff"[r.IntN(11)]
		hold(string(broken))
		hold(strings.TrimRight(s, "="))
	}
	for _, s := range []string{"", "=", "====", "A===", "AB==", "AA==", "AAB=", "AAA=", "AAAA=", "AA==AAAA", "AAAA\nAA=", "AA\n=", "A\r\nA", "\n\n\n\n"} {
		hold(s)
	}
	if taken < 1000 {
		t.Errorf("only %d were taken", taken)
	}
}

func FuzzStandardBase64(f *testing.F) {
	f.Add("AAAA")
	f.Add("AB==")
	f.Fuzz(func(t *testing.T, s string) {
		data, err := base64.StdEncoding.DecodeString(s)
		if want := err == nil && s != "" && base64.StdEncoding.EncodeToString(data) == s; standardBase64([]byte(s)) != want {
			t.Errorf("%q: not %v", s, want)
		}
	})
}

var large Chat

// A large image goes on as it came where that is standard base64; in any other form, and
// where it is no image, it is decoded.
func TestLargeImages(t *testing.T) {
	image := append([]byte("\x89PNG\r\n\x1a\n"), bytes.Repeat([]byte{0xfb, 0xff, 1}, 10_000)...)
	text := base64.StdEncoding.EncodeToString(image)
	for name, test := range map[string]struct {
		url  string
		came bool
	}{
		"standard base64":         {"data:image/png;base64," + text, true},
		"of another media type":   {"data:image/jpeg;base64," + text, true},
		"without one":             {"data:;base64," + text, true},
		"with a name":             {"data:image/png;name=a.png;base64," + text, true},
		"with a line end":         {`data:image/png;base64,` + text[:76] + `\n` + text[76:], false},
		"of the other alphabet":   {"data:image/png;base64," + base64.URLEncoding.EncodeToString(image), false},
		"without padding":         {"data:image/png;base64," + base64.RawStdEncoding.EncodeToString(image), false},
		"percent-encoded":         {"data:image/png;base64," + text[:40] + fmt.Sprintf("%%%02X", text[40]) + text[41:], false},
		"the word not the last":   {"data:image/png;base64;name=a," + text, false},
		"in upper case":           {"DATA:image/png;BASE64," + text, false},
		"escaped in JSON":         {"data:image/png;base64," + strings.ReplaceAll(text, "/", `\/`), true},
		"with white space around": {"  data:image/png;base64," + text + " ", true},
	} {
		r, err := large.Decode([]byte(`{"model":"m","messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"` + test.url + `"}}]}]}`))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		got := r.Messages[0].Blocks[0].(chat.Image)
		if came := got.Base64 != nil; came != test.came || came == (got.Data != nil) || got.Format != "png" || !got.Inline() {
			t.Errorf("%s: came %v, %d bytes of data, format %q", name, came, len(got.Data), got.Format)
		}
		if got.Base64 != nil && string(got.Base64) != text || got.Data != nil && !bytes.Equal(got.Data, image) {
			t.Errorf("%s: another image", name)
		}
	}
	for name, data := range map[string]string{"bad base64": text[:len(text)-8] + "!AAA" + text[len(text)-4:], "no image": base64.StdEncoding.EncodeToString(make([]byte, 30_000))} {
		if _, err := large.Decode([]byte(`{"model":"m","messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"data:image/png;base64,` + data + `"}}]}]}`)); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
	pdf := base64.StdEncoding.EncodeToString(append([]byte("%PDF-1.4\n"), make([]byte, 30_000)...))
	r, err := large.Decode([]byte(`{"model":"m","messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"data:application/pdf;base64,` + pdf + `"}}]}]}`))
	if err != nil {
		t.Fatal(err)
	}
	if d, ok := r.Messages[0].Blocks[0].(chat.Document); !ok || len(d.Data) < 30_000 {
		t.Errorf("a document became %T", r.Messages[0].Blocks[0])
	}
}
