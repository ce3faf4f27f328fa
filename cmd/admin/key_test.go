package main

import (
	"context"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"aisix/admin/store/redistest"
)

// A key file that is named and not there is made at the first start, kept at the second, and opens the API
// where the sample key does not any more.
func TestTheAdminKeyIsMade(t *testing.T) {
	env := environment(redistest.Start(t).URL, masterKeyFile(t))
	env["AISIX_ADMIN__KEY"] = "admin-local-only-change-me"
	path := filepath.Join(t.TempDir(), "keys", "admin.key")
	env["AISIX_ADMIN__KEY_FILE"] = path
	status := func(p *process, key string) int {
		r, _ := http.NewRequest(http.MethodGet, "http://"+p.address+"/admin/v1/models", nil)
		r.Header.Set("Authorization", "Bearer "+key)
		response, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		return response.StatusCode
	}
	made := ""
	for range 2 {
		p := begin(t, env)
		p.until(10*time.Second, "/readyz", http.StatusOK)
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		key := strings.TrimSpace(string(b))
		if made == "" {
			made = key
		}
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 || key != made || len(key) < 40 {
			t.Errorf("%v, %v, %d characters, the same as before: %t", info.Mode(), err, len(key), key == made)
		}
		if s := status(p, key); s != http.StatusOK {
			t.Errorf("the key: %d", s)
		}
		if s := status(p, "admin-local-only-change-me"); s != http.StatusUnauthorized {
			t.Errorf("the sample key: %d", s)
		}
		if strings.Contains(p.log.String(), key) {
			t.Error("the key is in the log")
		}
		p.stop()
		if err := p.end(10 * time.Second); err != nil {
			t.Error(err)
		}
	}
	other := filepath.Join(t.TempDir(), "other.key")
	if err := run(context.Background(), []string{"-create-admin-key", other}, io.Discard, io.Discard); err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(other); err != nil || len(b) < 40 {
		t.Errorf("%d bytes, %v", len(b), err)
	}
}
