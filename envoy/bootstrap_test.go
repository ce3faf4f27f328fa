package envoy_test

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"testing"

	"aisix/envoy"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "rewrite golden files and the copies in deploy/")

// golden compares got with the file, or writes it with -update.
func golden(t *testing.T, path string, got []byte) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s is not what the package builds (go test ./envoy -update):\n%s", path, cmp.Diff(string(want), string(got)))
	}
}

func TestShippedBootstrap(t *testing.T) {
	b, err := envoy.Bootstrap(envoy.Defaults())
	if err != nil {
		t.Fatal(err)
	}
	golden(t, filepath.Join("..", "deploy", "bootstrap.yaml"), b)
}
