package bootstrap

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"aisix/cmd/internal/certtest"
)

// A certificate that is written over in its place is handed to Envoy by a file that says something else than
// before, since Envoy takes no notice of one that says the same; half of a pair is not.
func TestFollow(t *testing.T) {
	dir := t.TempDir()
	cert, key := filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key")
	over := func(path, from string) {
		t.Helper()
		content, err := os.ReadFile(from)
		if err == nil {
			err = os.WriteFile(path, content, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	renew := func() (string, string) { return certtest.New(t) }
	a, b := renew()
	over(cert, a)
	over(key, b)
	c := load(t, "AISIX_PROXY__TLS_CERT_FILE="+cert, "AISIX_PROXY__TLS_KEY_FILE="+key)
	path := filepath.Join(t.TempDir(), "bootstrap.yaml")
	if err := Write(c, path); err != nil {
		t.Fatal(err)
	}
	named := func() string {
		text, err := os.ReadFile(filepath.Join(filepath.Dir(path), "callers-tls.yaml"))
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	var log bytes.Buffer
	f := follower{config: c, path: path, log: slog.New(slog.NewTextHandler(&log, nil))}
	f.seen = f.sum()
	start, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	last := named()
	wants := func(what string, changed bool, says string) {
		t.Helper()
		log.Reset()
		f.look()
		if now := named(); (now != last) != changed {
			t.Errorf("%s: Envoy is told something new: %t", what, now != last)
		} else {
			last = now
		}
		if got := log.String(); says == "" && got != "" || !strings.Contains(got, says) {
			t.Errorf("%s: the log says %q", what, got)
		}
	}
	wants("nothing", false, "")
	for range 3 {
		a, b = renew()
		over(key, b)
		wants("the key alone", false, "level=ERROR")
		wants("still", false, "")
		over(cert, a)
		wants("both", true, "handed to Envoy")
		wants("nothing more", false, "")
	}
	if err := os.Remove(cert); err != nil {
		t.Fatal(err)
	}
	wants("no certificate", false, "proxy.tls_cert_file")
	if now, _ := os.ReadFile(path); !bytes.Equal(now, start) {
		t.Error("the start file is another")
	}
}
