package backup_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/redis/go-redis/v9"

	"aisix/admin/backup"
	"aisix/admin/ledger"
	"aisix/admin/resource"
	"aisix/admin/snapshot"
	"aisix/admin/store"
	"aisix/admin/store/redistest"
)

var (
	masterKey = []byte("0123456789abcdef0123456789abcdef")
	otherKey  = []byte("fedcba9876543210fedcba9876543210")
)

func sealer(t testing.TB, key []byte, previous ...[]byte) *store.Sealer {
	t.Helper()
	s, err := store.NewSealer(key, previous...)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func must[T any](t testing.TB) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// place is a Redis with what a backup is made of.
type place struct {
	client *redis.Client
	store  *store.Store
	ledger *ledger.Ledger
}

func newPlace(t *testing.T) *place {
	client := redistest.Start(t).Client()
	return &place{client, store.New(client, sealer(t, masterKey)), ledger.New(client)}
}

// again is what a process that starts now has of it.
func (p *place) again(t *testing.T) *place {
	return &place{p.client, store.New(p.client, sealer(t, masterKey)), ledger.New(p.client)}
}

const today = "2026-05-02"

var now = time.Date(2026, 5, 2, 15, 0, 0, 0, time.UTC)

// fill writes a provider key, a model, an API key that was rotated, and totals of two days.
func (p *place) fill(t *testing.T) (apiKeyID string) {
	t.Helper()
	ctx := t.Context()
	ok := must[*store.Entry](t)
	k := ok(p.store.Create(ctx, "tester", &resource.ProviderKey{DisplayName: "prod", Provider: "amazon-bedrock", Adapter: "bedrock",
		Credentials: resource.Static{AccessKeyID: "AKIAPLAINTEXT", SecretAccessKey: "s3cr3t-plaintext", Region: "us-west-2"}}))
	ok(p.store.Create(ctx, "tester", &resource.Model{DisplayName: "claude", ModelName: "anthropic.claude-3-5-sonnet-20241022-v2:0", ProviderKeyID: k.ID, Provider: "amazon-bedrock"}))
	a := ok(p.store.Create(ctx, "tester", &resource.APIKey{KeyHash: strings.Repeat("a", 64), AllowedModels: []string{"*"}}))
	ok(p.store.Update(ctx, "tester", resource.APIKeys, a.ID, nil, func(e *store.Entry) (resource.Resource, error) {
		return resource.APIKeys.Row().Issues.Rotate(e.Value, strings.Repeat("b", 64), time.Now().Add(time.Hour)), nil
	}))
	for day, n := range map[string]int{"2026-05-01": 7, today: 3} {
		for field, amount := range map[string]int{"requests": n, "total_tokens": 100 * n} {
			p.count(t, day, field, amount)
		}
	}
	return a.ID
}

func (p *place) count(t *testing.T, day, counter string, amount int) {
	t.Helper()
	if err := p.client.HIncrBy(t.Context(), "{aisix:usage}:totals:"+day, "k1\nclaude\n"+counter, int64(amount)).Err(); err != nil {
		t.Fatal(err)
	}
}

// holds is everything that Redis holds of resources, without what stands for this life of the store.
func (p *place) holds(t *testing.T) map[string]any {
	t.Helper()
	all := map[string]any{}
	for _, key := range must[[]string](t)(p.client.Keys(t.Context(), "{aisix:config}:*").Result()) {
		switch name := strings.TrimPrefix(key, "{aisix:config}:"); name {
		case "epoch", "revision", "log", "replaced", "witnesses", "canary":
		default:
			if kind := must[string](t)(p.client.Type(t.Context(), key).Result()); kind == "hash" {
				all[name] = must[map[string]string](t)(p.client.HGetAll(t.Context(), key).Result())
			} else {
				all[name] = must[[]redis.Z](t)(p.client.ZRangeWithScores(t.Context(), key, 0, -1).Result())
			}
		}
	}
	return all
}

func (p *place) totals(t *testing.T) []ledger.Day {
	t.Helper()
	return must[[]ledger.Day](t)(p.ledger.Days(t.Context(), now))
}

// copied is a backup of p, written and read again.
func (p *place) copied(t *testing.T) *backup.Contents {
	t.Helper()
	c := must[*backup.Contents](t)(backup.Take(t.Context(), p.store, p.ledger, now))
	var file bytes.Buffer
	if err := c.Write(&file, sealer(t, masterKey)); err != nil {
		t.Fatal(err)
	}
	return must[*backup.Contents](t)(backup.Read(&file, sealer(t, masterKey)))
}

func (p *place) put(t *testing.T, c *backup.Contents, overwrite bool) backup.Restored {
	t.Helper()
	return must[backup.Restored](t)(c.Put(t.Context(), p.store, p.ledger, overwrite))
}

// What was lost is there again as it was: rows, revisions, indexes, secrets, totals; and writes go on.
func TestRestoreIntoAnEmptyStore(t *testing.T) {
	ctx := t.Context()
	p := newPlace(t)
	p.fill(t)
	rows, days := p.holds(t), p.totals(t)
	if len(days) != 2 || len(rows) != 10 {
		t.Fatalf("days %v, keys %v", days, rows)
	}
	c := p.copied(t)
	if want := "revision 4 of store " + c.Rows.Epoch + ", 1 provider key, 1 model, 1 API key, 2 days of usage"; c.Summary() != want {
		t.Errorf("summary %q, want %q", c.Summary(), want)
	}

	if err := p.client.FlushAll(ctx).Err(); err != nil {
		t.Fatal(err)
	}
	var lost *store.LostError
	if _, err := backup.Take(ctx, p.store, p.ledger, now); !errors.As(err, &lost) {
		t.Errorf("a backup of a lost store: %v", err)
	}
	if r := p.put(t, c, false); r.Revision != 5 || r.Kept != 0 {
		t.Errorf("restored %+v", r)
	}
	if d := cmp.Diff(rows, p.holds(t)); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff(days, p.totals(t)); d != "" {
		t.Error(d)
	}
	for _, key := range must[[]string](t)(p.client.Keys(ctx, "{aisix:config}:*").Result()) {
		if ttl := p.client.TTL(ctx, key).Val(); ttl != -1 {
			t.Errorf("%s ends in %v", key, ttl)
		}
	}
	for _, s := range []*store.Store{p.store, p.again(t).store} { // one that knew the store, and one that starts
		if n, err := s.Revision(ctx); n != 5 || err != nil {
			t.Errorf("revision %d, %v", n, err)
		}
		var taken *store.TakenError
		if _, err := s.Create(ctx, "tester", &resource.APIKey{KeyHash: strings.Repeat("a", 64)}); !errors.As(err, &taken) {
			t.Errorf("the hash of before a rotation: %v", err)
		}
		list, _, err := s.List(ctx, resource.ProviderKeys, "", 0)
		if err != nil || len(list) != 1 {
			t.Fatal(list, err)
		}
		if c := list[0].Value.(*resource.ProviderKey).Credentials.(resource.Static); c.SecretAccessKey != "s3cr3t-plaintext" {
			t.Errorf("credentials %+v", c)
		}
		var used *store.InUseError
		if err := s.Delete(ctx, "tester", resource.ProviderKeys, list[0].ID, nil); !errors.As(err, &used) {
			t.Errorf("delete of what a model uses: %v", err)
		}
	}
}

// Whoever serves what was lost takes the backup at once, an older one too, without a confirmation.
func TestRestoreIsTheWordThatALossWaitsFor(t *testing.T) {
	p := newPlace(t)
	id := p.fill(t)
	c := p.copied(t)
	if err := p.store.Delete(t.Context(), "tester", resource.APIKeys, id, nil); err != nil { // what the backup does not know
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "snapshot")
	h, stop := watched(t, p, file)
	eventually(t, func() bool { return h.Load() != nil && h.Load().Revision == 5 })
	if err := p.client.FlushAll(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	eventually(t, h.Lost)
	if r := p.put(t, c, false); r.Revision != 6 {
		t.Errorf("revision %d: one that was in force stands for two states", r.Revision)
	}
	eventually(t, func() bool { return !h.Lost() && h.Load().Revision == 6 })
	stop()
	again, stop := watched(t, p, file) // with the file of before, or of now
	defer stop()
	eventually(t, func() bool { return again.Load() != nil && again.Load().Revision == 6 && !again.Lost() })
}

func watched(t *testing.T, p *place, file string) (*snapshot.Holder, func()) {
	h := new(snapshot.Holder)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- p.again(t).store.Watch(ctx, h, file) }()
	stop := func() { cancel(); <-done }
	return h, stop
}

// eventually waits for what no event tells.
func eventually(t *testing.T, is func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !is(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it does not come")
		}
	}
}

// A store that has resources loses none to a restore unless the operator says so; then it has the
// backup's, and keeps the usage that it has counted.
func TestRestoreOverResources(t *testing.T) {
	ctx := t.Context()
	p := newPlace(t)
	p.fill(t)
	c, rows := p.copied(t), p.holds(t)
	must[*store.Entry](t)(p.store.Create(ctx, "tester", &resource.APIKey{KeyHash: strings.Repeat("c", 64), AllowedModels: []string{"*"}}))
	p.count(t, today, "requests", 1)
	if err := p.client.Del(ctx, "{aisix:usage}:totals:2026-05-01").Err(); err != nil {
		t.Fatal(err)
	}
	after, days := p.holds(t), p.totals(t)
	if _, err := c.Put(ctx, p.store, p.ledger, false); err == nil || !strings.Contains(err.Error(), "-overwrite") {
		t.Errorf("error %v", err)
	}
	if d := cmp.Diff([]any{after, days}, []any{p.holds(t), p.totals(t)}); d != "" {
		t.Errorf("a restore that was refused has changed: %s", d)
	}
	if r := p.put(t, c, true); r.Kept != 1 {
		t.Errorf("restored %+v", r)
	}
	if d := cmp.Diff(rows, p.holds(t)); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff(append(c.Days[:1:1], days...), p.totals(t)); d != "" {
		t.Error(d)
	}
}

// Usage that was counted while the store was lost is added to, once, however often the restore is tried.
func TestUsageIsAddedOnce(t *testing.T) {
	p := newPlace(t)
	p.fill(t)
	c := p.copied(t)
	p.client.FlushAll(t.Context())
	p.count(t, today, "requests", 4) // of calls since
	for range 2 {
		if kept := must[int](t)(p.ledger.Return(t.Context(), c.ID, c.Days, true)); kept != 0 {
			t.Errorf("%d days kept", kept)
		}
	}
	p.put(t, c, false)
	want := []ledger.Day{
		{Name: "2026-05-01", Totals: map[string]int64{"k1\nclaude\nrequests": 7, "k1\nclaude\ntotal_tokens": 700}},
		{Name: today, Totals: map[string]int64{"k1\nclaude\nrequests": 3 + 4, "k1\nclaude\ntotal_tokens": 300}},
	}
	if d := cmp.Diff(want, p.totals(t)); d != "" {
		t.Error(d)
	}
	if ttl := p.client.TTL(t.Context(), "{aisix:usage}:totals:2026-05-01").Val(); ttl <= 0 {
		t.Errorf("the totals of a day never end: %v", ttl)
	}
}

// While others write, a backup holds exactly what one revision had.
func TestABackupIsOfOneRevision(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	p := newPlace(t)
	wrote := make(chan struct{})
	done := make(chan map[int64]int)
	go func() { // at each revision it is known how many keys there are
		counts := map[int64]int{}
		defer func() { done <- counts }()
		var ids []string
		for i := 0; ctx.Err() == nil; i++ {
			e, err := p.store.Create(context.Background(), "tester", &resource.APIKey{KeyHash: fmt.Sprintf("%064x", i), AllowedModels: []string{"*"}})
			if err != nil {
				t.Error(err)
				return
			}
			ids = append(ids, e.ID)
			counts[e.Revision] = len(ids)
			if i == 50 {
				close(wrote)
			}
			if i%3 == 0 {
				if err := p.store.Delete(context.Background(), "tester", resource.APIKeys, ids[0], nil); err != nil {
					t.Error(err)
					return
				}
				ids = ids[1:]
				counts[e.Revision+1] = len(ids)
			}
		}
	}()
	<-wrote
	other := p.again(t)
	var all []*store.Copy
	for range 20 {
		all = append(all, must[*store.Copy](t)(other.store.Copy(ctx)))
	}
	cancel()
	counts := <-done
	for _, c := range all {
		if n := len(c.Rows[resource.APIKeys]); n != counts[c.Revision] || n == 0 {
			t.Errorf("revision %d: %d rows, there were %d", c.Revision, n, counts[c.Revision])
		}
		for id, stored := range c.Rows[resource.APIKeys] {
			var at int64
			if _, err := fmt.Sscan(stored, &at); err != nil || at > c.Revision {
				t.Errorf("revision %d has row %s of %d, %v", c.Revision, id, at, err)
			}
		}
	}
}

// A row that nobody can read is kept as it stands, and can be deleted after a restore as before.
func TestRowsThatCannotBeRead(t *testing.T) {
	ctx := t.Context()
	p := newPlace(t)
	id := p.fill(t)
	if err := p.client.HSet(ctx, "{aisix:config}:apikeys", id, "4 \xff{").Err(); err != nil {
		t.Fatal(err)
	}
	c := p.copied(t)
	if taken := must[*store.Copy](t)(p.store.Copy(ctx)); len(taken.Unreadable) != 1 || !strings.Contains(taken.Unreadable[0].Error(), id) {
		t.Errorf("unreadable: %v", taken.Unreadable)
	}
	p.client.FlushAll(ctx)
	p.put(t, c, false)
	if got := p.client.HGet(ctx, "{aisix:config}:apikeys", id).Val(); got != "4 \xff{" {
		t.Errorf("row %q", got)
	}
	if err := p.store.Delete(ctx, "tester", resource.APIKeys, id, nil); err != nil {
		t.Error(err)
	}
	if _, err := p.store.Revision(ctx); err != nil {
		t.Error(err)
	}
}

// What stands in the way stops a restore before anything is changed, and leaves nothing staged.
func TestARestoreThatFailsChangesNothing(t *testing.T) {
	ctx := t.Context()
	p := newPlace(t)
	p.fill(t)
	c := p.copied(t)
	for what, spoil := range map[string]func(*store.Copy){
		"a kind of a later version": func(c *store.Copy) { c.Rows["policies"] = map[string]string{"x": "1 {}"} },
		"two of one name": func(c *store.Copy) {
			for _, stored := range c.Rows[resource.Models] {
				c.Rows[resource.Models]["another"] = stored
				break
			}
		},
		"of another master key": func(c *store.Copy) { c.Canary = strings.Replace(c.Canary, `"key_id":"`, `"key_id":"0`, 1) },
	} {
		spoilt := *c.Rows
		spoilt.Rows = map[resource.Kind]map[string]string{}
		for kind, rows := range c.Rows.Rows {
			spoilt.Rows[kind] = maps.Clone(rows)
		}
		spoil(&spoilt)
		before := p.holds(t)
		if _, err := p.store.Replace(ctx, &spoilt, true); err == nil {
			t.Errorf("%s: no error", what)
		}
		if d := cmp.Diff(before, p.holds(t)); d != "" {
			t.Errorf("%s: %s", what, d)
		}
	}
	p.client.Del(ctx, "{aisix:config}:replaced")
	p.client.Set(ctx, "{aisix:config}:replaced", "somebody else's", 0)
	before := p.holds(t)
	if _, err := p.store.Replace(ctx, c.Rows, true); err == nil || !strings.Contains(err.Error(), "WRONGTYPE") {
		t.Errorf("error %v", err)
	}
	if d := cmp.Diff(before, p.holds(t)); d != "" {
		t.Error(d)
	}
}

func TestNothingToBackUp(t *testing.T) {
	p := newPlace(t)
	if _, err := backup.Take(t.Context(), p.store, p.ledger, now); err == nil || !strings.Contains(err.Error(), "no resources") {
		t.Errorf("error %v", err)
	}
	if keys := must[[]string](t)(p.client.Keys(t.Context(), "*").Result()); len(keys) > 0 {
		t.Errorf("it has written %v", keys)
	}
}

func init() { slog.SetDefault(slog.New(slog.DiscardHandler)) }

// The rights that an admin needs anyway are enough for both.
func TestByAnACLUser(t *testing.T) {
	ctx := t.Context()
	server := redistest.Start(t)
	root := server.Client()
	rule := []any{"ACL", "SETUSER", "admin", "on", ">secret", "resetchannels", "&{aisix:config}:changes", "~{aisix:config}:*", "~{aisix:usage}:*", "+@all", "-@admin", "-@dangerous"}
	if err := root.Do(ctx, rule...).Err(); err != nil {
		t.Fatal(err)
	}
	client := redis.NewClient(&redis.Options{Addr: server.Addr, Username: "admin", Password: "secret", MaxRetries: -1})
	t.Cleanup(func() { client.Close() })
	p := &place{client, store.New(client, sealer(t, masterKey)), ledger.New(client)}
	p.fill(t)
	c := p.copied(t)
	p.put(t, c, true)
	if err := root.FlushAll(ctx).Err(); err != nil {
		t.Fatal(err)
	}
	p.put(t, c, false)
	if days := p.totals(t); len(days) != 2 {
		t.Errorf("totals %v", days)
	}
}
