package store_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"aisix/admin/resource"
	"aisix/admin/snapshot"
	"aisix/admin/store"
	"aisix/admin/store/redistest"
)

// follow runs Watch until the test ends.
func follow(t *testing.T, s *store.Store) *snapshot.Holder {
	t.Helper()
	holder, _ := followWith(t, s, "")
	return holder
}

// followWith runs Watch with a snapshot file until stop is called, or the test ends.
func followWith(t *testing.T, s *store.Store, file string) (holder *snapshot.Holder, stop func()) {
	t.Helper()
	holder = &snapshot.Holder{}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Watch(ctx, holder, file) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Watch: %v", err)
		}
	})
	t.Cleanup(stop)
	return holder, stop
}

// within polls, as no event tells when a snapshot was swapped.
func within(t *testing.T, d time.Duration, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(d); !is(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %s", d, what)
		}
	}
}

func at(h *snapshot.Holder, revision int64) func() bool {
	return func() bool { s := h.Load(); return s != nil && s.Revision == revision }
}

func TestWatchFollowsWrites(t *testing.T) {
	ctx := context.Background()
	server := redistest.Start(t)
	s := newStore(t, server.Client())
	holder := follow(t, newStore(t, server.Client()))
	within(t, 5*time.Second, "the first, empty snapshot", at(holder, 0))

	ok := must[*store.Entry](t)
	hash := sha256.Sum256([]byte("sk-bedrock-caller"))
	k := ok(s.Create(ctx, providerKey("one")))
	m := ok(s.Create(ctx, model("claude", k.ID)))
	a := ok(s.Create(ctx, &resource.APIKey{KeyHash: hex.EncodeToString(hash[:]), AllowedModels: []string{"claude"}}))
	within(t, 500*time.Millisecond, "the three writes", at(holder, a.Revision))
	snap := holder.Load()
	key, found := snap.Key(hash)
	match, known := snap.Model("claude")
	if !found || key.ID != a.ID || !known || match.ModelID != m.ID || match.ProviderKeyID != k.ID ||
		match.ProviderKey.Credentials != providerKey("").Credentials {
		t.Fatalf("key %+v, match %+v", key, match)
	}
	if holder.Confirmed().IsZero() {
		t.Error("not confirmed")
	}
	if err := s.Delete(ctx, resource.APIKeys, a.ID, nil); err != nil {
		t.Fatal(err)
	}
	within(t, 500*time.Millisecond, "the delete", at(holder, 4))
	if _, found := holder.Load().Key(hash); found {
		t.Error("a deleted key is still served")
	}
}

func TestWatchMakesUpForMissedAnnouncements(t *testing.T) {
	ctx := context.Background()
	server := redistest.Start(t)
	client := server.Client()
	holder := follow(t, newStore(t, server.Client()))
	within(t, 5*time.Second, "the first snapshot", at(holder, 0))
	// Nobody may hear announcements, but reading goes on.
	if err := client.Do(ctx, "ACL", "SETUSER", "default", "resetchannels").Err(); err != nil {
		t.Fatal(err)
	}
	if err := client.Do(ctx, "CLIENT", "KILL", "TYPE", "pubsub").Err(); err != nil {
		t.Fatal(err)
	}
	// The writer announces as another user.
	if err := client.Do(ctx, "ACL", "SETUSER", "writer", "on", "nopass", "~*", "&*", "+@all").Err(); err != nil {
		t.Fatal(err)
	}
	writer := redis.NewClient(&redis.Options{Addr: server.Addr, Username: "writer", Password: "x"})
	defer writer.Close()
	must[*store.Entry](t)(newStore(t, writer).Create(ctx, apiKey("a")))
	within(t, 500*time.Millisecond, "the missed write", at(holder, 1))
}

func TestWatchKeepsTheLastSnapshotAndRecovers(t *testing.T) {
	ctx := context.Background()
	server := redistest.Start(t)
	s := newStore(t, server.Client())
	must[*store.Entry](t)(s.Create(ctx, apiKey("a")))
	holder := follow(t, newStore(t, server.Client()))
	within(t, 5*time.Second, "the first snapshot", at(holder, 1))
	last := holder.Load()
	server.Kill()
	seen := holder.Confirmed()
	time.Sleep(2 * 250 * time.Millisecond) // there is no event for "still there"
	if holder.Load() != last || holder.Confirmed().After(seen.Add(250*time.Millisecond)) {
		t.Error("the snapshot changed, or was confirmed, with Redis away")
	}
	server.Restart()
	must[*store.Entry](t)(s.Create(ctx, apiKey("b")))
	within(t, 5*time.Second, "a write after the restart", at(holder, 2))
}

// A row that can't be read is left out; the others are served.
func TestWatchLeavesOutWhatItCanNotRead(t *testing.T) {
	ctx := context.Background()
	server := redistest.Start(t)
	client := server.Client()
	s := newStore(t, client)
	k := must[*store.Entry](t)(s.Create(ctx, providerKey("one")))
	must[*store.Entry](t)(s.Create(ctx, model("claude", k.ID)))
	other := must[*store.Entry](t)(s.Create(ctx, providerKey("two")))
	must[*store.Entry](t)(s.Create(ctx, model("nova", other.ID)))
	for _, broken := range []string{"", "5", "5 {", `5 {"value":5}`, `5 {"value":{"display_name":"two"}}`, `5 {"value":{},"secret":{"key_id":"x"}}`} {
		client.HSet(ctx, "{aisix:config}:provider_keys", other.ID, broken)
		holder := follow(t, newStore(t, server.Client()))
		within(t, 5*time.Second, "a snapshot beside a broken row", at(holder, 4))
		if _, ok := holder.Load().Model("claude"); !ok {
			t.Errorf("%q took others along", broken)
		}
		if _, ok := holder.Load().Model("nova"); ok {
			t.Errorf("%q: a model is served without its provider key", broken)
		}
		if _, err := s.Get(ctx, resource.ProviderKeys, other.ID); err == nil || errors.Is(err, store.ErrUnavailable) {
			t.Errorf("get of %q: %v", broken, err)
		}
	}
}

// reader is a client of a user without any right to write.
func reader(t *testing.T, server *redistest.Server) *redis.Client {
	t.Helper()
	err := server.Client().Do(context.Background(), "ACL", "SETUSER", "reader", "on", "nopass", "%R~{aisix:config}:*", "&{aisix:config}:changes",
		"+@read", "+@connection", "+subscribe", "+multi", "+exec").Err()
	if err != nil {
		t.Fatal(err)
	}
	c := redis.NewClient(&redis.Options{Addr: server.Addr, Username: "reader", Password: "x"})
	t.Cleanup(func() { c.Close() })
	return c
}

// extproc's user needs no right to write.
func TestWatchWithReadRightsOnly(t *testing.T) {
	server := redistest.Start(t)
	must[*store.Entry](t)(newStore(t, server.Client()).Create(context.Background(), apiKey("a")))
	holder := follow(t, newStore(t, reader(t, server)))
	within(t, 5*time.Second, "the snapshot", at(holder, 1))
}

func TestWatchRefusesAnotherMasterKey(t *testing.T) {
	ctx := context.Background()
	client := redistest.Start(t).Client()
	if err := newStore(t, client).CheckMasterKey(ctx); err != nil {
		t.Fatal(err)
	}
	other, _ := store.NewSealer(make([]byte, 32))
	if err := store.New(client, other).Watch(ctx, &snapshot.Holder{}, ""); !errors.Is(err, store.ErrMasterKey) {
		t.Errorf("Watch: %v", err)
	}
}
