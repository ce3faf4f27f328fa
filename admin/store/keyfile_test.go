package store_test

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"aisix/admin/store"
)

func TestTheMasterKeysFileIsItsOwnersAlone(t *testing.T) {
	before := slog.Default()
	t.Cleanup(func() { slog.SetDefault(before) })
	const key = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=\n"
	dir := t.TempDir()
	// As Kubernetes mounts a secret: the name is a link through a link to a folder.
	if err := os.Mkdir(filepath.Join(dir, "..2026"), 0o755); err != nil {
		t.Fatal(err)
	}
	file, link := filepath.Join(dir, "..2026", "master.key"), filepath.Join(dir, "master.key")
	for name, target := range map[string]string{filepath.Join(dir, "..data"): "..2026", link: filepath.Join("..data", "master.key")} {
		if err := os.Symlink(target, name); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(file, []byte(key), 0o600); err != nil {
		t.Fatal(err)
	}
	for mode, want := range map[os.FileMode]string{0o600: "", 0o400: "", 0o440: "warning", 0o640: "warning", 0o660: "warning", 0o644: "refused", 0o604: "refused", 0o602: "refused", 0o444: "refused", 0o666: "refused", 0o777: "refused"} {
		if err := os.Chmod(file, mode); err != nil {
			t.Fatal(err)
		}
		for _, path := range []string{file, link} {
			var log bytes.Buffer
			slog.SetDefault(slog.New(slog.NewJSONHandler(&log, nil)))
			_, err := store.LoadSealer("", path, "")
			got := ""
			switch {
			case err != nil:
				got = "refused"
				if text := err.Error(); !strings.Contains(text, path) || !strings.Contains(text, "chmod 600") || !strings.Contains(text, "defaultMode") || strings.Contains(text, "admin -create-master-key") {
					t.Errorf("%04o: %v", mode, err)
				}
			case strings.Contains(log.String(), "chmod 600"):
				got = "warning"
			}
			if got != want {
				t.Errorf("%04o is %q, want %q: %v %s", mode, got, want, err, &log)
			}
			if strings.Contains(log.String(), key[:10]) {
				t.Errorf("the key is logged: %s", &log)
			}
		}
		if _, err := store.LoadSealer("0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef", "", file); (err != nil) != (want == "refused") {
			t.Errorf("as the previous key, %04o: %v", mode, err)
		}
	}
	if _, err := store.LoadSealer("", dir, ""); err == nil {
		t.Error("a folder is a key")
	}
}
