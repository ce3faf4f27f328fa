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
	joined := filepath.Join(dir, "upstream-ca.pem")
	for file, name := range map[string]string{path: filepath.Join(dir, "upstream-ca.yaml"), filepath.Join(dir, "upstream-ca.yaml"): joined} {
		if text, err := os.ReadFile(file); err != nil || !bytes.Contains(text, []byte(name)) {
			t.Errorf("%s is not named in %s: %v", name, file, err)
		}
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

// What Envoy could not read is said here, in one line, before Envoy starts.
func TestWriteChecksTheCertificates(t *testing.T) {
	cert, key := certtest.New(t)
	other, otherKey := certtest.New(t)
	closed := filepath.Join(t.TempDir(), "closed.key")
	if err := os.WriteFile(closed, []byte("x"), 0o000); err != nil {
		t.Fatal(err)
	}
	const certVar, keyVar = "AISIX_PROXY__TLS_CERT_FILE=", "AISIX_PROXY__TLS_KEY_FILE="
	cases := map[string]struct{ env, want []string }{
		"no file":      {[]string{certVar + "/nonexistent/c", keyVar + key}, []string{"proxy.tls_cert_file: open /nonexistent/c: "}},
		"another key":  {[]string{certVar + cert, keyVar + otherKey}, []string{"proxy.tls_cert_file and proxy.tls_key_file: ", "does not match"}},
		"not a key":    {[]string{certVar + cert, keyVar + other}, []string{"proxy.tls_cert_file and proxy.tls_key_file: "}},
		"no CA":        {[]string{"AISIX_PROXY__EXTPROC_CA_FILE=/nonexistent/ca", "AISIX_PROXY__EXTPROC_CERT_FILE=" + cert, "AISIX_PROXY__EXTPROC_KEY_FILE=" + key, "AISIX_EXTPROC__ADDRESS=127.0.0.1:3002"}, []string{"proxy.extproc_ca_file: open /nonexistent/ca: "}},
		"a closed key": {[]string{certVar + cert, keyVar + closed}, []string{"proxy.tls_key_file: open " + closed + ": permission denied", "as which Envoy has to run too", "chmod 640"}},
	}
	if os.Getuid() == 0 { // root reads everything
		delete(cases, "a closed key")
	}
	for name, test := range cases {
		path := filepath.Join(t.TempDir(), "bootstrap.yaml")
		err := Write(load(t, test.env...), path)
		for _, want := range test.want {
			if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("%s: %v, want %q", name, err, want)
			}
		}
		if _, err := os.Stat(path); err == nil {
			t.Errorf("%s: a start file is written", name)
		}
	}
	if err := Write(load(t, certVar+cert, keyVar+key), filepath.Join(t.TempDir(), "bootstrap.yaml")); err != nil {
		t.Error(err)
	}
}
