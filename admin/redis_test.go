package admin

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"aisix/admin/snapshot"
	"aisix/admin/store"
)

// What is written here is in force where snapshots are followed within 500 ms.
func TestWritesAreInForceSoon(t *testing.T) {
	a := start(t)
	sealer, _ := store.NewSealer([]byte("0123456789abcdef0123456789abcdef"))
	holder := &snapshot.Holder{}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- store.New(a.valkey.Client(), sealer).Watch(ctx, holder, "") }()
	defer func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}()
	within := func(d time.Duration, what string, is func(*snapshot.Snapshot) bool) {
		t.Helper()
		for start := time.Now(); ; time.Sleep(time.Millisecond) { // no event tells of a swap
			if s := holder.Load(); s != nil && is(s) {
				return
			}
			if time.Since(start) > d {
				t.Fatalf("not within %v: %s", d, what)
			}
		}
	}
	within(5*time.Second, "the first snapshot", func(*snapshot.Snapshot) bool { return true })
	location := a.must("POST", "/admin/v1/apikeys", fmt.Sprintf(`{"key_hash":"%x","allowed_models":["a"]}`, sha256.Sum256([]byte("sk-1")))).header.Get("Location")
	has := func(plaintext string) func(*snapshot.Snapshot) bool {
		return func(s *snapshot.Snapshot) bool { _, ok := s.Key(sha256.Sum256([]byte(plaintext))); return ok }
	}
	within(500*time.Millisecond, "the key", has("sk-1"))

	rotated := a.must("POST", location+"/rotate", `{"grace_seconds":60}`)
	_, after, _ := strings.Cut(rotated.body, `"plaintext":"`)
	plaintext, _, _ := strings.Cut(after, `"`)
	within(500*time.Millisecond, "the rotated key", has(plaintext))
	old, ok := holder.Load().Key(sha256.Sum256([]byte("sk-1")))
	if !ok || old.APIKey.ExpiresAt == nil || time.Until(*old.APIKey.ExpiresAt) > time.Minute {
		t.Errorf("the old key in its grace: %+v", old)
	}
	a.must("POST", location+"/rotate", "")
	within(500*time.Millisecond, "a rotation without a grace", func(s *snapshot.Snapshot) bool { return !has(plaintext)(s) })
	a.must("DELETE", location, "")
	within(500*time.Millisecond, "the deletion", func(s *snapshot.Snapshot) bool { return s.Revision == 4 })
}

// Redis away is a 503, promptly, on every path that needs it; then all goes on.
func TestRedisAway(t *testing.T) {
	a := start(t)
	location := a.must("POST", "/admin/v1/apikeys", `{"allowed_models":[]}`).header.Get("Location")
	ask := []struct{ method, path, body string }{
		{"GET", "/admin/v1/models", ""}, {"GET", location, ""}, {"POST", "/admin/v1/provider_keys", fmt.Sprintf(aProviderKey, "one")},
		{"PUT", location, `{"allowed_models":[]}`}, {"PATCH", location, `{}`}, {"DELETE", location, ""}, {"POST", location + "/rotate", ""},
		{"GET", "/admin/v1/usage", ""}, {"GET", "/admin/v1/health", ""}, {"GET", "/readyz", ""},
	}
	for name, away := range map[string]struct{ begin, end func() }{
		"stopped": {a.valkey.Kill, a.valkey.Restart},
		"silent":  {a.valkey.Freeze, a.valkey.Thaw},
	} {
		t.Run(name, func(t *testing.T) {
			away.begin()
			var wg sync.WaitGroup
			for _, x := range ask {
				wg.Go(func() {
					start := time.Now()
					if got := a.do(x.method, x.path, x.body); got.status != http.StatusServiceUnavailable || time.Since(start) > 3*time.Second {
						t.Errorf("%s %s: %d after %v: %s", x.method, x.path, got.status, time.Since(start), got.body)
					}
				})
			}
			wg.Wait()
			a.must("GET", "/livez", "")
			away.end()
			a.must("GET", "/readyz", "")
			a.must("PATCH", location, `{"team_id":"`+name+`"}`)
		})
	}
}

// A store that came back empty is a 503 that says what to do, on every path, until an
// operator has confirmed it.
func TestALostStore(t *testing.T) {
	a := start(t)
	location := a.must("POST", "/admin/v1/apikeys", `{"allowed_models":[]}`).header.Get("Location")
	if got := a.do("POST", "/admin/v1/store/any/confirm", ""); got.status != http.StatusConflict {
		t.Errorf("nothing is lost: %d %s", got.status, got.body)
	}
	a.valkey.Client().FlushAll(t.Context())
	confirm := ""
	for _, x := range []struct{ method, path, body string }{
		{"GET", "/admin/v1/models", ""}, {"GET", "/admin/v1/apikeys?limit=1", ""}, {"GET", location, ""}, {"POST", "/admin/v1/provider_keys", fmt.Sprintf(aProviderKey, "one")},
		{"PUT", location, `{"allowed_models":[]}`}, {"PATCH", location, `{}`}, {"DELETE", location, ""}, {"POST", location + "/rotate", ""},
		{"GET", "/admin/v1/usage", ""}, {"GET", "/admin/v1/health", ""}, {"GET", "/readyz", ""}, {"POST", "/admin/v1/store/another/confirm", ""},
	} {
		got := a.do(x.method, x.path, x.body)
		if got.status != http.StatusServiceUnavailable || !strings.Contains(got.body, `"code":"store_lost"`) {
			t.Errorf("%s %s: %d %s", x.method, x.path, got.status, got.body)
		}
		_, after, _ := strings.Cut(got.body, "POST ")
		confirm, _, _ = strings.Cut(after, `"`)
	}
	a.must("GET", "/livez", "")
	if got := a.must("POST", confirm, ""); got.body != `{"status":"ok","revision":2}` {
		t.Errorf("POST %s: %s", confirm, got.body)
	}
	a.must("GET", "/readyz", "")
	if got := a.do("GET", location, ""); got.status != http.StatusNotFound {
		t.Errorf("%d %s", got.status, got.body)
	}
	a.must("POST", "/admin/v1/apikeys", `{"allowed_models":[]}`)
}

// A row that was corrupted at rest hides none of the others, and can be got rid of.
func TestACorruptedRowCanBeDeleted(t *testing.T) {
	var log bytes.Buffer // of the store
	before := slog.Default()
	slog.SetDefault(slog.New(slog.NewJSONHandler(&log, nil)))
	t.Cleanup(func() { slog.SetDefault(before) })
	a := start(t)
	key := a.must("POST", "/admin/v1/provider_keys", `{"display_name":"k","secret":"{\"access_key_id\":\"a\",\"secret_access_key\":\"b\",\"region\":\"r\"}"}`).header.Get("Location")
	keyID := key[strings.LastIndex(key, "/")+1:]
	model := func(name string) string {
		return fmt.Sprintf(`{"display_name":%q,"model_name":"amazon.nova-pro-v1:0","provider_key_id":%q}`, name, keyID)
	}
	good := a.must("POST", "/admin/v1/models", model("good")).header.Get("Location")
	for _, row := range []string{"7 {", "no revision"} {
		corrupted := a.must("POST", "/admin/v1/models", model("corrupted")).header.Get("Location")
		id := corrupted[strings.LastIndex(corrupted, "/")+1:]
		if err := a.valkey.Client().HSet(t.Context(), "{aisix:config}:models", id, row).Err(); err != nil {
			t.Fatal(err)
		}
		list := a.must("GET", "/admin/v1/models", "").body
		if !strings.Contains(list, good[strings.LastIndex(good, "/")+1:]) || strings.Contains(list, id) || !strings.Contains(log.String(), id) {
			t.Errorf("%s: the list is %s, the log %s", row, list, &log)
		}
		if r := a.do("GET", corrupted, ""); r.status != 500 || !strings.Contains(r.body, "models/"+id) || !strings.Contains(r.body, "Delete and recreate it") {
			t.Errorf("%s: %d %s", row, r.status, r.body)
		}
		if r := a.do("DELETE", key, ""); r.status != 409 || !strings.Contains(r.body, id) {
			t.Errorf("%s: deleting its provider key: %d %s", row, r.status, r.body)
		}
		a.must("DELETE", corrupted, "")
		a.must("DELETE", a.must("POST", "/admin/v1/models", model("corrupted")).header.Get("Location"), "") // its name was free
	}
	a.must("DELETE", good, "")
	// The secret of a provider key too.
	if err := a.valkey.Client().HSet(t.Context(), "{aisix:config}:provider_keys", keyID, `9 {"value":{},"secret":{}}`).Err(); err != nil {
		t.Fatal(err)
	}
	if r := a.do("GET", "/admin/v1/provider_keys", ""); r.status != 200 || r.body != "[]" {
		t.Errorf("%d %s", r.status, r.body)
	}
	a.must("DELETE", key, "") // no trace of the corrupted models holds it
}
