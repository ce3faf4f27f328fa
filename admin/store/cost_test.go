package store

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"log/slog"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"aisix/admin/resource"
	"aisix/admin/snapshot"
	"aisix/admin/store/redistest"
)

const providerKeyID = "0198c1de-7a10-7000-8000-000000000000"

func testStore(tb testing.TB, client redis.UniversalClient) *Store {
	tb.Helper()
	sealer, err := NewSealer([]byte(strings.Repeat("k", MasterKeySize)))
	if err != nil {
		tb.Fatal(err)
	}
	s := New(client, sealer)
	s.log = slog.New(slog.DiscardHandler)
	return s
}

// large is a store of so many API keys, and a tenth as many models of one provider key,
// as it stands in Redis.
func large(tb testing.TB, s *Store, n int) *state {
	tb.Helper()
	all := &state{at: head{"e", int64(n)}, time: time.Now(), rows: map[resource.Kind]map[string]string{resource.ProviderKeys: {}, resource.Models: {}, resource.APIKeys: {}}}
	put := func(id string, v resource.Resource) {
		row, err := s.encode(&Entry{ID: id, CreatedAt: time.Now().UTC(), UpdatedAt: time.Now().UTC(), Value: v})
		if err != nil {
			tb.Fatal(err)
		}
		all.rows[v.Kind()][id] = string(row)
	}
	put(providerKeyID, &resource.ProviderKey{DisplayName: "one", Provider: "amazon-bedrock", Adapter: "bedrock",
		Credentials: resource.Static{AccessKeyID: "AKIAIOSFODNN7EXAMPLE", SecretAccessKey: "secret", Region: "us-west-2"}})
	rpm := int64(600)
	for i := range n {
		id := fmt.Sprintf("0198c1de-7a10-7000-8000-%012d", i+1)
		put(id, &resource.APIKey{KeyHash: hashed(fmt.Sprint(i)), AllowedModels: []string{"claude-1", "nova-*"}, DisplayName: "a caller", RateLimit: &resource.RateLimit{RPM: &rpm}})
		if i%10 == 0 {
			put(id, &resource.Model{DisplayName: fmt.Sprint("claude-", i), ModelName: "us.anthropic.claude-sonnet-4-5-20250929-v1:0", ProviderKeyID: providerKeyID, Provider: "amazon-bedrock"})
		}
	}
	return all
}

func hashed(plaintext string) string {
	sum := sha256.Sum256([]byte(plaintext))
	return hex.EncodeToString(sum[:])
}

// write puts a state into Redis as it stands there after as many writes.
func (s *state) write(tb testing.TB, client redis.UniversalClient) {
	tb.Helper()
	ctx := context.Background()
	pipe := client.Pipeline()
	for kind, rows := range s.rows {
		for id, body := range rows {
			pipe.HSet(ctx, rowsKey(kind), id, "1 "+body)
			pipe.ZAdd(ctx, orderKey(kind), redis.Z{Member: id})
			pipe.HSet(ctx, namesKey(kind), "the name of "+id, id)
			if pipe.Len() > 10_000 {
				if _, err := pipe.Exec(ctx); err != nil {
					tb.Fatal(err)
				}
			}
		}
	}
	pipe.MSet(ctx, epochKey(), s.at.epoch, revisionKey(), s.at.revision)
	if _, err := pipe.Exec(ctx); err != nil {
		tb.Fatal(err)
	}
}

// following is a watch that has all in force, without a Redis.
func following(tb testing.TB, s *Store, all *state) *watch {
	tb.Helper()
	w := &watch{store: s, holder: &snapshot.Holder{}, at: all.at, saved: all}
	w.restore(context.Background())
	if got := w.holder.Load(); got == nil || got.Revision != all.at.revision {
		tb.Fatal("not in force")
	}
	return w
}

// payload is the announcement of the next write.
func (w *watch) payload(kind resource.Kind, id, body string) string {
	return fmt.Sprintf("%s %d %s %s %s", w.at.epoch, w.at.revision+1, kind, id, body)
}

// What a watch does for an announced write, and for one that it missed, is what was
// written: one row is decoded, and the allocations do not depend on how much there is.
func TestAWriteCostsWhatItChanged(t *testing.T) {
	cost := func(n int) map[string]float64 {
		s := testStore(t, nil)
		all := large(t, s, n)
		key := fmt.Sprintf("0198c1de-7a10-7000-8000-%012d", 1)
		bodies := map[string]change{
			"API key": {resource.APIKeys, key, all.rows[resource.APIKeys][key]}, "model": {resource.Models, key, all.rows[resource.Models][key]},
		}
		w := following(t, s, all)
		allocs := map[string]float64{}
		for what, c := range bodies {
			before := w.decoded
			allocs[what] = testing.AllocsPerRun(50, func() { w.apply(w.payload(c.kind, c.id, c.body), nil) })
			if n := w.decoded - before; n != 51 { // one run more, to warm up
				t.Errorf("%d rows decoded for 51 writes of a %s", n, what)
			}
		}
		if got := w.holder.Load().Revision; got != int64(n)+102 {
			t.Errorf("at revision %d", got)
		}
		return allocs
	}
	few, many := cost(10), cost(10_000)
	for what := range few {
		if many[what] > few[what]+4 { // a shard of many is more than one group of Go's map
			t.Errorf("a write of one %s costs %v allocations, of one among many %v", what, few[what], many[what])
		}
	}
}

// A write whose announcement was missed is read by itself, in commands whose number
// does not depend on how much there is; looking for one costs one transaction, and a page
// of a list one for its ids and one for its rows.
func TestCommandsDoNotGrow(t *testing.T) {
	ctx := t.Context()
	server := redistest.Start(t)
	client := server.Client()
	s := testStore(t, client)
	large(t, s, 3000).write(t, client)
	w := &watch{store: s, holder: &snapshot.Holder{}, keeper: newKeeper(filepath.Join(t.TempDir(), "snapshot"), s)}
	if err := w.poll(ctx); err != nil {
		t.Fatal(err)
	}
	const rows = 3000 + 300 + 1
	if w.at != (head{"e", 3000}) || w.decoded < rows || w.decoded > rows+rows/10 { // Redis may give a row twice
		t.Fatalf("at %v, %d rows decoded", w.at, w.decoded)
	}
	commands := func(do func()) map[string]int {
		t.Helper()
		if err := client.ConfigResetStat(ctx).Err(); err != nil {
			t.Fatal(err)
		}
		do()
		used := map[string]int{}
		for line := range strings.Lines(client.Info(ctx, "commandstats").Val()) {
			name, rest, _ := strings.Cut(line, ":calls=")
			n := 0
			if fmt.Sscanf(rest, "%d", &n); n > 0 && name != "cmdstat_config|resetstat" {
				used[strings.TrimPrefix(name, "cmdstat_")] = n
			}
		}
		return used
	}
	poll := func() {
		w.polled = time.Time{}
		if err := w.poll(ctx); err != nil {
			t.Fatal(err)
		}
	}
	want := func(what string, got, want map[string]int) {
		t.Helper()
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%s took %v, want %v", what, got, want)
		}
	}
	want("a look", commands(poll), map[string]int{"multi": 1, "mget": 1, "hlen": 6, "zcard": 3, "exec": 1})

	e, err := s.Create(ctx, "tester", &resource.APIKey{KeyHash: hashed("new"), AllowedModels: []string{}})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Delete(ctx, "another", resource.APIKeys, fmt.Sprintf("0198c1de-7a10-7000-8000-%012d", 2), nil); err != nil {
		t.Fatal(err)
	}
	for i, by := range []string{"tester", "another"} {
		m := client.XRange(ctx, logKey(), logID(3001+int64(i)), logID(3001+int64(i))).Val()
		if len(m) != 1 || m[0].Values["by"] != by || m[0].Values["kind"] != "apikeys" {
			t.Errorf("the log has %v, want a write by %s", m, by)
		}
	}
	before := w.decoded
	want("two missed writes", commands(poll), map[string]int{"mget": 3, "multi": 3, "exec": 3, "hlen": 18, "zcard": 9, "xrange": 2, "hmget": 1})
	if w.at.revision != 3002 || w.decoded != before+1 {
		t.Errorf("at %v, %d rows decoded", w.at, w.decoded-before)
	}
	got := w.holder.Load()
	if k, ok := got.Key(sha256.Sum256([]byte("new"))); !ok || k.ID != e.ID {
		t.Error("the new key is not in force")
	}
	if _, ok := got.Key(sha256.Sum256([]byte("1"))); ok {
		t.Error("the deleted key is in force")
	}

	for _, size := range []int{10, 1000} {
		want(fmt.Sprintf("a page of %d", size), commands(func() {
			list, next, err := s.List(ctx, resource.APIKeys, "", size)
			if err != nil || len(list) != size || next == "" {
				t.Errorf("%d, %q, %v", len(list), next, err)
			}
		}), map[string]int{"zrangebylex": 1, "hmget": (size + 511) / 512, "multi": 1, "mget": 1, "hlen": 6, "zcard": 3, "hgetall": 1, "exec": 1})
	}
	want("a write", commands(func() {
		if _, err := s.Create(ctx, "tester", &resource.APIKey{KeyHash: hashed("newer"), AllowedModels: []string{}}); err != nil {
			t.Fatal(err)
		}
	}), map[string]int{"evalsha": 1, "get": 2, "hgetall": 1, "hlen": 6, "zcard": 3, "hget": 2, "incr": 1, "hset": 2, "zadd": 1, "xadd": 1, "publish": 1})
}

// Where the log does not reach back, or does not agree, everything is read.
func TestWhatTheLogDoesNotTellIsReadWhole(t *testing.T) {
	ctx := t.Context()
	server := redistest.Start(t)
	client := server.Client()
	s := testStore(t, client)
	create := func(name string) {
		t.Helper()
		if _, err := s.Create(ctx, "tester", &resource.APIKey{KeyHash: hashed(name), AllowedModels: []string{}}); err != nil {
			t.Fatal(err)
		}
	}
	create("0")
	w := &watch{store: s, holder: &snapshot.Holder{}}
	for i, harm := range []func(){
		func() {},
		func() { client.Del(ctx, logKey()) },
		func() { client.XTrimMaxLen(ctx, logKey(), 1) },
		func() { client.XDel(ctx, logKey(), logID(w.at.revision+1)) },
		func() { client.Del(ctx, logKey()); client.Set(ctx, logKey(), "no stream", 0) },
		func() {
			client.Del(ctx, logKey())
			client.XAdd(ctx, &redis.XAddArgs{Stream: logKey(), ID: "999999-0", Values: []string{"kind", "apikeys", "id", "x"}})
		},
	} {
		if err := w.poll(ctx); err != nil {
			t.Fatal(err)
		}
		for _, half := range []string{"a", "b"} {
			create(fmt.Sprint(i, half))
		}
		harm()
		create(fmt.Sprint(i, "c"))
		w.polled = time.Time{}
		if err := w.poll(ctx); err != nil {
			t.Fatal(err)
		}
		if at := w.holder.Load().Revision; at != int64(4+3*i) || w.away {
			t.Errorf("%d: at revision %d of %d, away: %t", i, at, 4+3*i, w.away)
		}
		for _, name := range []string{"a", "b", "c"} {
			if _, ok := w.holder.Load().Key(sha256.Sum256([]byte(fmt.Sprint(i, name)))); !ok {
				t.Errorf("%d: key %s is not in force", i, name)
			}
		}
	}
}

// A store that is written to while it is read is in force at one revision all the same:
// no model without its provider key, no key of before.
func TestALoadUnderWrites(t *testing.T) {
	ctx := t.Context()
	server := redistest.Start(t)
	client := server.Client()
	s := testStore(t, client)
	large(t, s, 2000).write(t, client)
	stop, done := make(chan struct{}), make(chan error, 1)
	var written int64
	go func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				done <- nil
				return
			default:
			}
			k, err := s.Create(ctx, "tester", &resource.ProviderKey{DisplayName: fmt.Sprint("k", i), Provider: "amazon-bedrock", Adapter: "bedrock", Credentials: resource.Static{AccessKeyID: "AKIAPLAINTEXT", SecretAccessKey: "secret", Region: "us-west-2"}})
			if err == nil {
				_, err = s.Create(ctx, "tester", &resource.Model{DisplayName: fmt.Sprint("m", i), ModelName: "amazon.nova-pro-v1:0", ProviderKeyID: k.ID, Provider: "amazon-bedrock"})
			}
			if written += 2; err != nil {
				done <- err
				return
			}
		}
	}()
	reading := testStore(t, server.Client())
	for range 20 {
		w := &watch{store: reading, holder: &snapshot.Holder{}}
		for w.builder == nil {
			w.polled = time.Time{}
			if err := w.poll(ctx); err != nil {
				t.Fatal(err)
			}
		}
		got := w.holder.Load()
		// Models come in the order of their revisions: all up to the snapshot's are there, and no other.
		models := int(w.at.revision-2000) / 2
		for i := range models + 2 {
			if m, ok := got.Model(fmt.Sprint("m", i)); ok != (i < models) || ok && m.ProviderKey.DisplayName != fmt.Sprint("k", i) {
				t.Fatalf("at revision %d: model m%d of %d is there: %t", w.at.revision, i, models, ok)
			}
		}
	}
	close(stop)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

func BenchmarkApplyWrite(b *testing.B) {
	for _, n := range []int{10, 100_000} {
		s := testStore(b, nil)
		all := large(b, s, n)
		key := fmt.Sprintf("0198c1de-7a10-7000-8000-%012d", 1)
		changes := []change{{resource.APIKeys, key, all.rows[resource.APIKeys][key]}, {resource.Models, key, all.rows[resource.Models][key]},
			{resource.ProviderKeys, providerKeyID, all.rows[resource.ProviderKeys][providerKeyID]}}
		w := following(b, s, all)
		for _, c := range changes {
			b.Run(fmt.Sprintf("%s of %d", c.kind, n), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					w.apply(w.payload(c.kind, c.id, c.body), nil)
				}
			})
		}
	}
}

// From Redis, with 10,000 models beside them.
func BenchmarkLoad100k(b *testing.B) {
	client := redistest.Start(b).Client()
	s := testStore(b, client)
	all := large(b, s, 100_000)
	all.write(b, client)
	file := filepath.Join(b.TempDir(), "snapshot")
	b.Run("Redis", func(b *testing.B) {
		for b.Loop() {
			w := &watch{store: s, holder: &snapshot.Holder{}}
			if err := w.poll(b.Context()); err != nil || w.holder.Load() == nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("Redis, kept in a file", func(b *testing.B) {
		for b.Loop() {
			w := &watch{store: s, holder: &snapshot.Holder{}, keeper: newKeeper(file, s)}
			if err := w.poll(b.Context()); err != nil || w.holder.Load() == nil {
				b.Fatal(err)
			}
			w.keeper.write()
		}
	})
	b.Run("file", func(b *testing.B) {
		for b.Loop() {
			saved, err := readFile(file, s.sealer)
			if err != nil {
				b.Fatal(err)
			}
			following(b, s, saved)
		}
	})
	b.Run("memory", func(b *testing.B) {
		var before, after runtime.MemStats
		for b.Loop() {
			runtime.GC()
			runtime.ReadMemStats(&before)
			w := &watch{store: s, holder: &snapshot.Holder{}}
			if err := w.poll(b.Context()); err != nil {
				b.Fatal(err)
			}
			runtime.GC()
			runtime.ReadMemStats(&after)
			b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc), "held-bytes")
			runtime.KeepAlive(w)
		}
	})
}
