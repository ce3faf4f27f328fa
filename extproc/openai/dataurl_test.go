package openai

import (
	"encoding/base64"
	"net/url"
	"testing"
)

// FuzzDataURL: no data: URL makes us panic or weighs more than it did, and what a client
// encodes in either way comes out as it was.
func FuzzDataURL(f *testing.F) {
	for _, s := range []string{"data:,", "data:text/plain,Hello%20World", "DATA:;base64;x=y,aGk", `data:a/b;name="%41.txt";BASE64,_-8=`, "data:text/csv;charset=utf-8,a%2Cb%", "data:,%%%41"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		if isDataURL(raw) {
			if u, ok := parseDataURL(raw); ok && len(u.data)+len(u.name)+len(u.media) > len(raw)+len("text/plain") {
				t.Errorf("%q became %+v", raw, u)
			}
		}
		for name, encoded := range map[string]string{
			"percent": "data:text/plain," + url.PathEscape(string(raw)),
			"base64":  "data:text/plain;base64," + base64.StdEncoding.EncodeToString(raw),
			"both":    "data:text/plain;base64," + url.QueryEscape(base64.StdEncoding.EncodeToString(raw)),
		} {
			if u, ok := parseDataURL([]byte(encoded)); !ok || string(u.data) != string(raw) || u.media != "text/plain" {
				t.Errorf("%s: %q became %+v, %v", name, raw, u, ok)
			}
		}
	})
}
