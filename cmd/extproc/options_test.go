package main

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestBootstrapIsPrintedOrWritten(t *testing.T) {
	setenv(t, "AISIX_PROXY__ADDRESS=127.0.0.1:3456", "AISIX_PROXY__MAX_CONNECTIONS=77")
	var out strings.Builder
	if err := run(t.Context(), []string{"-bootstrap"}, &out, io.Discard); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(out.String(), "port_value: 3456") || !strings.Contains(out.String(), "77") {
		t.Errorf("%.2000s", out.String())
	}
	path := filepath.Join(t.TempDir(), "bootstrap.yaml")
	var nothing strings.Builder
	if err := run(t.Context(), []string{"-bootstrap", "-o", path}, &nothing, io.Discard); err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(path); err != nil || !strings.Contains(string(b), "port_value: 3456") || nothing.Len() != 0 {
		t.Errorf("%v, and on standard output %q", err, nothing.String())
	}
	if err := run(t.Context(), []string{"-o", path}, io.Discard, io.Discard); err == nil || !strings.Contains(err.Error(), "-o goes with -bootstrap") {
		t.Errorf("%v", err)
	}
}

func TestVersion(t *testing.T) {
	setenv(t, "AISIX_NOSUCH__KEY=1") // asked before anything is read
	var out strings.Builder
	if err := run(t.Context(), []string{"-version"}, &out, io.Discard); err != nil || !strings.HasPrefix(out.String(), "extproc ") || !strings.Contains(out.String(), "commit ") {
		t.Errorf("%q, %v", out.String(), err)
	}
}
