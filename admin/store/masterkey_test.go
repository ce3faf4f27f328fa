package store_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"aisix/admin/resource"
	"aisix/admin/store"
	"aisix/admin/store/redistest"
)

func TestSecretsAreSealedAtRest(t *testing.T) {
	ctx := context.Background()
	client := redistest.Start(t).Client()
	s := newStore(t, client)
	if err := s.CheckMasterKey(ctx); err != nil {
		t.Fatal(err)
	}
	k := must[*store.Entry](t)(s.Create(ctx, "tester", providerKey("one")))
	stored := client.HGet(ctx, "{aisix:config}:provider_keys", k.ID).Val()
	for _, plain := range []string{"AKIAPLAINTEXT", "s3cr3t-plaintext", "tok3n-plaintext"} {
		if strings.Contains(stored, plain) {
			t.Errorf("%q stands in Redis", plain)
		}
	}
	if !strings.Contains(stored, `"key_id":"`) {
		t.Error("no key id stored")
	}

	other, _ := store.NewSealer([]byte(strings.Repeat("x", 32)))
	wrong := store.New(client, other)
	if err := wrong.CheckMasterKey(ctx); !errors.Is(err, store.ErrMasterKey) {
		t.Errorf("another master key: %v", err)
	}
	if _, err := wrong.Get(ctx, resource.ProviderKeys, k.ID); !errors.Is(err, store.ErrMasterKey) {
		t.Errorf("get under another master key: %v", err)
	}
	rotated, _ := store.NewSealer([]byte(strings.Repeat("x", 32)), masterKey)
	if err := store.New(client, rotated).CheckMasterKey(ctx); err != nil {
		t.Errorf("a previous key must open: %v", err)
	}
	// A row moved under another id does not open there.
	client.HSet(ctx, "{aisix:config}:provider_keys", "elsewhere", stored)
	client.ZAdd(ctx, "{aisix:config}:provider_keys:ids", redis.Z{Member: "elsewhere"})
	client.HSet(ctx, "{aisix:config}:provider_keys:names", "elsewhere", "elsewhere")
	if _, err := s.Get(ctx, resource.ProviderKeys, "elsewhere"); !errors.Is(err, store.ErrMasterKey) {
		t.Errorf("a moved secret: %v", err)
	}
}

func TestReseal(t *testing.T) {
	ctx := context.Background()
	client := redistest.Start(t).Client()
	s := newStore(t, client)
	ok := must[*store.Entry](t)
	one, two := ok(s.Create(ctx, "tester", providerKey("one"))), ok(s.Create(ctx, "tester", providerKey("two")))
	newKey := []byte(strings.Repeat("n", 32))
	both, _ := store.NewSealer(newKey, masterKey)
	alone, _ := store.NewSealer(newKey)
	if err := store.New(client, alone).CheckMasterKey(ctx); !errors.Is(err, store.ErrMasterKey) {
		t.Fatalf("the new key alone, before: %v", err)
	}
	changing := store.New(client, both)
	ok(changing.Update(ctx, "tester", resource.ProviderKeys, two.ID, nil, func(*store.Entry) (resource.Resource, error) { return providerKey("two"), nil })) // sealed anew by this already
	for _, want := range []int{1, 0} {
		if n, err := changing.Reseal(ctx); err != nil || n != want {
			t.Errorf("%d sealed anew, %v; want %d", n, err, want)
		}
	}
	changed := store.New(client, alone)
	if err := changed.CheckMasterKey(ctx); err != nil {
		t.Errorf("the new key alone, after: %v", err)
	}
	for _, id := range []string{one.ID, two.ID} {
		if e := ok(changed.Get(ctx, resource.ProviderKeys, id)); e.Value.(*resource.ProviderKey).Credentials != providerKey("").Credentials {
			t.Errorf("the secret did not survive: %+v", e.Value)
		}
	}
	if err := newStore(t, client).CheckMasterKey(ctx); !errors.Is(err, store.ErrMasterKey) {
		t.Errorf("the old key, after: %v", err)
	}
}

// A store that was emptied under a running admin is again one of its master key.
func TestAnEmptiedStoreIsMarkedAgain(t *testing.T) {
	ctx := context.Background()
	client := redistest.Start(t).Client()
	s := newStore(t, client)
	must[*store.Entry](t)(s.Create(ctx, "tester", providerKey("one")))
	if err := client.FlushAll(ctx).Err(); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Confirm(ctx, "tester", lost(t, s).Epoch); err != nil {
		t.Fatal(err)
	}
	must[*store.Entry](t)(s.Create(ctx, "tester", providerKey("one")))
	other, _ := store.NewSealer([]byte(strings.Repeat("x", 32)))
	if err := store.New(client, other).CheckMasterKey(ctx); !errors.Is(err, store.ErrMasterKey) {
		t.Errorf("another master key: %v", err)
	}
}
