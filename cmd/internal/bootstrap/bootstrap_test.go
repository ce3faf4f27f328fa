package bootstrap

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"aisix/cmd/internal/certtest"
	"aisix/cmd/internal/config"
)

// load is the configuration of these variables.
func load(t *testing.T, env ...string) *config.Config {
	t.Helper()
	c, err := config.Load("", env)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// Two ways out, one text; a file that was there is replaced whole, and everybody may read it.
func TestWrite(t *testing.T) {
	c := load(t, "AISIX_PROXY__MAX_BODY_BYTES=12345678")
	path := filepath.Join(t.TempDir(), "bootstrap.yaml")
	if err := os.WriteFile(path, bytes.Repeat([]byte("old"), 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := Write(c, path); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(path)
	if err != nil || bytes.Contains(got, []byte("oldold")) || !bytes.HasPrefix(got, []byte("# Generated")) {
		t.Errorf("%.60q, %v", got, err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o644 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	if text, err := Text(c); err != nil || !bytes.Equal(text, got) {
		t.Errorf("what is printed is not what is written: %v", err)
	}
	if files, _ := os.ReadDir(filepath.Dir(path)); len(files) != 1 {
		t.Errorf("%d files are left", len(files))
	}
	if err := Write(c, filepath.Join(t.TempDir(), "none", "b.yaml")); err == nil || !strings.Contains(err.Error(), "make the folder first") {
		t.Errorf("into no folder: %v", err)
	}
}

// Envoy takes one file of CAs: the public ones and upstream.ca_file are joined beside the start file.
func TestWriteJoinsTheCAs(t *testing.T) {
	dir := t.TempDir()
	ca, _ := certtest.New(t)
	c := load(t, "AISIX_UPSTREAM__CA_FILE="+ca)
	path := filepath.Join(dir, "bootstrap.yaml")
	if err := Write(c, path); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	joined := filepath.Join(dir, "upstream-ca.pem")
	if err != nil || !bytes.Contains(text, []byte(joined)) {
		t.Errorf("%s is not named: %v", joined, err)
	}
	own, err := os.ReadFile(ca)
	if err != nil {
		t.Fatal(err)
	}
	if all, err := os.ReadFile(joined); err != nil || !bytes.Contains(all, bytes.TrimSpace(own)) || len(all) <= len(own) {
		t.Errorf("%d bytes, %v", len(all), err)
	}
	if err := os.WriteFile(ca, []byte("no PEM"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := Write(c, path); err == nil || !strings.Contains(err.Error(), "upstream.ca_file: ") {
		t.Errorf("%v", err)
	}
}
