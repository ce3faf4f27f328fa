package store_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"aisix/admin/resource"
	"aisix/admin/store"
	"aisix/admin/store/redistest"
)

var masterKey = []byte("0123456789abcdef0123456789abcdef")

func newStore(t *testing.T, client redis.UniversalClient) *store.Store {
	t.Helper()
	sealer, err := store.NewSealer(masterKey)
	if err != nil {
		t.Fatal(err)
	}
	return store.New(client, sealer)
}

func providerKey(name string) *resource.ProviderKey {
	return &resource.ProviderKey{DisplayName: name, Provider: "amazon-bedrock", Adapter: "bedrock",
		Credentials: resource.Static{AccessKeyID: "AKIAPLAINTEXT", SecretAccessKey: "s3cr3t-plaintext", SessionToken: "tok3n-plaintext", Region: "us-west-2"}}
}

func model(name, providerKeyID string) *resource.Model {
	return &resource.Model{DisplayName: name, ModelName: "anthropic.claude-3-5-sonnet-20241022-v2:0", ProviderKeyID: providerKeyID, Provider: "amazon-bedrock"}
}

func apiKey(digit string) *resource.APIKey {
	return &resource.APIKey{KeyHash: strings.Repeat(digit, 64), AllowedModels: []string{"*"}}
}

func must[T any](t *testing.T) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func TestCreateGetListDelete(t *testing.T) {
	ctx := context.Background()
	s := newStore(t, redistest.Start(t).Client())
	ok := must[*store.Entry](t)
	k := ok(s.Create(ctx, providerKey("one")))
	m := ok(s.Create(ctx, model("claude", k.ID)))
	a := ok(s.Create(ctx, apiKey("a")))
	if k.Revision != 1 || m.Revision != 2 || a.Revision != 3 {
		t.Errorf("revisions %d %d %d, want the store-wide counter 1 2 3", k.Revision, m.Revision, a.Revision)
	}
	got := ok(s.Get(ctx, resource.ProviderKeys, k.ID))
	if c := got.Value.(*resource.ProviderKey).Credentials; c != providerKey("").Credentials {
		t.Errorf("credentials did not survive: %+v", c)
	}
	if got.Revision != 1 || !got.CreatedAt.Equal(k.CreatedAt) {
		t.Errorf("got %+v, want %+v", got, k)
	}
	if err := s.Delete(ctx, resource.APIKeys, a.ID, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Get(ctx, resource.APIKeys, a.ID); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("get of a deleted: %v", err)
	}
	if err := s.Delete(ctx, resource.APIKeys, a.ID, nil); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("second delete: %v", err)
	}
	ok(s.Create(ctx, apiKey("a"))) // the name is free again
}

func TestListIsOldestFirstAndPaged(t *testing.T) {
	ctx := context.Background()
	s := newStore(t, redistest.Start(t).Client())
	var want []string
	for i := range 5 {
		want = append(want, must[*store.Entry](t)(s.Create(ctx, apiKey(fmt.Sprint(i)))).ID)
	}
	ids := func(after string, limit int) string {
		list, next, err := s.List(ctx, resource.APIKeys, after, limit)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, e := range list {
			got = append(got, e.ID)
		}
		if follows := limit > 0 && got[len(got)-1] != want[4]; follows && next != got[len(got)-1] || !follows && next != "" {
			t.Errorf("after %q, %d: next %q", after, limit, next)
		}
		return strings.Join(got, " ")
	}
	if got := ids("", 0); got != strings.Join(want, " ") {
		t.Errorf("all: %s, want %s", got, want)
	}
	if got := ids(want[1], 2); got != want[2]+" "+want[3] {
		t.Errorf("page: %s", got)
	}
	if got := ids(want[2], 2); got != want[3]+" "+want[4] {
		t.Errorf("last page: %s", got)
	}
	if err := s.Delete(ctx, resource.APIKeys, want[1], nil); err != nil {
		t.Fatal(err)
	}
	if got := ids(want[1], 2); got != want[2]+" "+want[3] {
		t.Errorf("page behind a deleted one: %s", got)
	}
}

func TestNamesAreUniqueAlsoBetweenConcurrentWriters(t *testing.T) {
	ctx := context.Background()
	server := redistest.Start(t)
	one, two := newStore(t, server.Client()), newStore(t, server.Client())
	var won, lost atomic.Int32
	var wg sync.WaitGroup
	for i := range 40 {
		wg.Go(func() {
			_, err := []*store.Store{one, two}[i%2].Create(ctx, providerKey("same"))
			var taken *store.TakenError
			switch {
			case err == nil:
				won.Add(1)
			case errors.As(err, &taken) && taken.Error() == `name "same" already in use by another resource`:
				lost.Add(1)
			default:
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if won.Load() != 1 || lost.Load() != 39 {
		t.Errorf("%d won, %d lost", won.Load(), lost.Load())
	}
}

func TestRenameFreesTheOldNameAndKeepsToItsOwn(t *testing.T) {
	ctx := context.Background()
	s := newStore(t, redistest.Start(t).Client())
	ok := must[*store.Entry](t)
	k := ok(s.Create(ctx, providerKey("one")))
	rename := func(name string) func(*store.Entry) (resource.Resource, error) {
		return func(*store.Entry) (resource.Resource, error) { return providerKey(name), nil }
	}
	ok(s.Update(ctx, resource.ProviderKeys, k.ID, nil, rename("one")))
	ok(s.Update(ctx, resource.ProviderKeys, k.ID, nil, rename("two")))
	ok(s.Create(ctx, providerKey("one")))
	var taken *store.TakenError
	if _, err := s.Update(ctx, resource.ProviderKeys, k.ID, nil, rename("one")); !errors.As(err, &taken) {
		t.Errorf("rename to a taken name: %v", err)
	}
}

func TestUpdatesOfOneResourceLoseNothing(t *testing.T) {
	ctx := context.Background()
	s := newStore(t, redistest.Start(t).Client())
	a := must[*store.Entry](t)(s.Create(ctx, &resource.APIKey{KeyHash: strings.Repeat("a", 64)}))
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			_, err := s.Update(ctx, resource.APIKeys, a.ID, nil, func(e *store.Entry) (resource.Resource, error) {
				v := *e.Value.(*resource.APIKey)
				v.AllowedModels = append(v.AllowedModels[:len(v.AllowedModels):len(v.AllowedModels)], fmt.Sprint(i))
				return &v, nil
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	got := must[*store.Entry](t)(s.Get(ctx, resource.APIKeys, a.ID))
	if n := len(got.Value.(*resource.APIKey).AllowedModels); n != 16 || got.Revision != 17 {
		t.Errorf("%d of 16 updates at revision %d", n, got.Revision)
	}
}

func TestConditionHolds(t *testing.T) {
	ctx := context.Background()
	s := newStore(t, redistest.Start(t).Client())
	a := must[*store.Entry](t)(s.Create(ctx, apiKey("a")))
	same := func(e *store.Entry) (resource.Resource, error) { return e.Value, nil }
	at := func(r int64) store.Condition { return func(got int64) bool { return got == r } }
	if _, err := s.Update(ctx, resource.APIKeys, a.ID, at(a.Revision), same); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Update(ctx, resource.APIKeys, a.ID, at(a.Revision), same); !errors.Is(err, store.ErrMoved) {
		t.Errorf("update at an old revision: %v", err)
	}
	if err := s.Delete(ctx, resource.APIKeys, a.ID, at(a.Revision)); !errors.Is(err, store.ErrMoved) {
		t.Errorf("delete at an old revision: %v", err)
	}
}

func TestReferences(t *testing.T) {
	ctx := context.Background()
	s := newStore(t, redistest.Start(t).Client())
	ok := must[*store.Entry](t)
	k1, k2 := ok(s.Create(ctx, providerKey("one"))), ok(s.Create(ctx, providerKey("two")))
	var ref *store.ReferenceError
	if _, err := s.Create(ctx, model("m", "nowhere")); !errors.As(err, &ref) || ref.Pointer != "/provider_key_id" {
		t.Errorf("unknown provider key: %v", err)
	}
	other := model("m", k1.ID)
	other.Provider = "other"
	if _, err := s.Create(ctx, other); !errors.As(err, &ref) || ref.Pointer != "/provider" {
		t.Errorf("another label: %v", err)
	}
	m := ok(s.Create(ctx, model("claude", k1.ID)))
	var used *store.InUseError
	if err := s.Delete(ctx, resource.ProviderKeys, k1.ID, nil); !errors.As(err, &used) || strings.Join(used.Models, " ") != "claude" {
		t.Errorf("delete of a used provider key: %v", err)
	}
	relabel := func(*store.Entry) (resource.Resource, error) {
		v := providerKey("one")
		v.Provider = "other"
		return v, nil
	}
	if _, err := s.Update(ctx, resource.ProviderKeys, k1.ID, nil, relabel); !errors.As(err, &used) {
		t.Errorf("relabel of a used provider key: %v", err)
	}
	ok(s.Update(ctx, resource.Models, m.ID, nil, func(*store.Entry) (resource.Resource, error) { return model("claude", k2.ID), nil }))
	if err := s.Delete(ctx, resource.ProviderKeys, k1.ID, nil); err != nil {
		t.Errorf("delete after the model moved: %v", err)
	}
	if err := s.Delete(ctx, resource.Models, m.ID, nil); err != nil {
		t.Fatal(err)
	}
	if err := s.Delete(ctx, resource.ProviderKeys, k2.ID, nil); err != nil {
		t.Errorf("delete after the model went: %v", err)
	}
}

// No model is ever left without its provider key, whoever is faster.
func TestReferenceRace(t *testing.T) {
	ctx := context.Background()
	s := newStore(t, redistest.Start(t).Client())
	for i := range 30 {
		k := must[*store.Entry](t)(s.Create(ctx, providerKey(fmt.Sprint("k", i))))
		var created, deleted error
		var wg sync.WaitGroup
		wg.Go(func() { _, created = s.Create(ctx, model(fmt.Sprint("m", i), k.ID)) })
		wg.Go(func() { deleted = s.Delete(ctx, resource.ProviderKeys, k.ID, nil) })
		wg.Wait()
		if (created == nil) == (deleted == nil) {
			t.Fatalf("create: %v, delete: %v; exactly one must win", created, deleted)
		}
	}
}

func TestRedisAwayIsToldQuickly(t *testing.T) {
	ctx := context.Background()
	server := redistest.Start(t)
	s := newStore(t, server.Client())
	a := must[*store.Entry](t)(s.Create(ctx, apiKey("a")))
	for name, away := range map[string][2]func(){"stopped": {server.Kill, server.Restart}, "silent": {server.Freeze, server.Thaw}} {
		t.Run(name, func(t *testing.T) {
			away[0]()
			start := time.Now()
			if _, err := s.Create(ctx, apiKey("b")); !errors.Is(err, store.ErrUnavailable) {
				t.Errorf("create: %v", err)
			}
			if _, _, err := s.List(ctx, resource.APIKeys, "", 0); !errors.Is(err, store.ErrUnavailable) {
				t.Errorf("list: %v", err)
			}
			if took := time.Since(start); took > 6*time.Second {
				t.Errorf("took %v", took)
			}
			away[1]()
			if _, err := s.Get(ctx, resource.APIKeys, a.ID); err != nil {
				t.Errorf("after it is back: %v", err)
			}
		})
	}
}
