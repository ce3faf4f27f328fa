package sim

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// What is random in an answer is replaced by what it is.
var randoms = []struct {
	is   *regexp.Regexp
	with string
}{
	{regexp.MustCompile(`\b((?:msg|toolu|req|resp|rs|fc|ctc|lsh|call|item|chatcmpl|fp|emb)_?-?(?:bdrk_)?)(?:01)?[A-Za-z0-9]{16,}\b`), "${1}ID"},
	{regexp.MustCompile(`"(signature|encrypted_content)":"[A-Za-z0-9+/=]{20,}"`), `"$1":"SEALED"`},
	{regexp.MustCompile(`"obfuscation":"[A-Za-z0-9]+"`), `"obfuscation":"PADDING"`},
	{regexp.MustCompile(`"(created|created_at|completed_at)":1[6-9]\d{8}\b`), `"$1":TIME`},
}

// golden compares an answer with the file that is kept of it: its status, the headers that matter and
// its body. -update writes the file.
func golden(t *testing.T, name string, r *http.Response) string {
	t.Helper()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%d\n", r.StatusCode)
	for _, h := range []string{"Content-Type", "X-Amzn-Errortype", "Retry-After", "X-Amzn-Bedrock-Input-Token-Count", "Request-Id", "X-Request-Id"} {
		if v := r.Header.Get(h); v != "" {
			fmt.Fprintf(&b, "%s: %s\n", h, v)
		}
	}
	fmt.Fprintf(&b, "\n%s\n", body)
	got := b.String()
	for _, x := range randoms {
		got = x.is.ReplaceAllString(got, x.with)
	}
	path := filepath.Join("testdata", "golden", name+".txt")
	if *update {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s:\n%s\nwant\n%s", name, got, want)
	}
	return string(body)
}
