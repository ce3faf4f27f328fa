package store_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"aisix/admin/resource"
	"aisix/admin/snapshot"
	"aisix/admin/store"
	"aisix/admin/store/redistest"
)

// lost is what a store says of its loss, and all of it alike.
func lost(t *testing.T, s *store.Store) *store.LostError {
	t.Helper()
	ctx := context.Background()
	var lost *store.LostError
	if _, err := s.Revision(ctx); !errors.As(err, &lost) {
		t.Fatalf("revision: %v", err)
	}
	_, err := s.Get(ctx, resource.APIKeys, "any")
	for what, err := range map[string]error{
		"get": err, "list": second(s.List(ctx, resource.APIKeys, "", 0)), "create": second2(s.Create(ctx, "tester", apiKey("f"))),
		"update": second2(s.Update(ctx, "tester", resource.APIKeys, "any", nil, nil)), "delete": s.Delete(ctx, "tester", resource.APIKeys, "any", nil),
	} {
		var also *store.LostError
		if !errors.As(err, &also) || also.Epoch != lost.Epoch || also.Revision != lost.Revision {
			t.Errorf("%s: %v, and the revision %v", what, err, lost)
		}
	}
	return lost
}

func second[A, B any](_ A, _ B, err error) error { return err }
func second2[A any](_ A, err error) error        { return err }

func hashOf(digit string) (h [32]byte) {
	b := strings.Repeat(digit, 2)[0]
	n := b - '0'
	if b >= 'a' {
		n = b - 'a' + 10
	}
	for i := range h {
		h[i] = n<<4 | n
	}
	return h
}

func served(h *snapshot.Holder, digit string) bool {
	s := h.Load()
	if s == nil {
		return false
	}
	_, ok := s.Key(hashOf(digit))
	return ok
}

// losses are the ways in which a store of three API keys, a to c, loses them.
var losses = map[string]struct {
	lose func(*testing.T, *redistest.Server, *redis.Client)
	says string
	left string // the API keys that are there afterwards
}{
	"emptied": {func(t *testing.T, _ *redistest.Server, c *redis.Client) {
		c.FlushAll(t.Context())
	}, "Redis now holds nothing", ""},
	"restarted without its files": {func(t *testing.T, server *redistest.Server, _ *redis.Client) {
		server.Kill()
		server.Forget()
		server.Restart()
	}, "Redis now holds nothing", ""},
	"rolled back": {func(t *testing.T, _ *redistest.Server, c *redis.Client) {
		backup(t, c, 1)
	}, "Redis now holds only revision 1", "a"},
	"replaced by another": {func(t *testing.T, _ *redistest.Server, c *redis.Client) {
		other := redis.NewClient(&redis.Options{Addr: c.Options().Addr, DB: 1})
		defer other.Close()
		for _, digit := range []string{"d", "e"} {
			must[*store.Entry](t)(newStore(t, other).Create(t.Context(), "tester", apiKey(digit)))
		}
		if err := c.Do(t.Context(), "SWAPDB", 0, 1).Err(); err != nil {
			t.Fatal(err)
		}
	}, "Redis now holds another history, at revision 2", "de"},
	"the rows lost": {func(t *testing.T, _ *redistest.Server, c *redis.Client) {
		c.Del(t.Context(), "{aisix:config}:apikeys")
	}, "Redis now holds 0 rows, 3 ids and 3 names of API keys", ""},
	"one row lost": {func(t *testing.T, _ *redistest.Server, c *redis.Client) {
		c.HDel(t.Context(), "{aisix:config}:apikeys", c.ZRange(t.Context(), "{aisix:config}:apikeys:ids", 0, 0).Val()...)
	}, "Redis now holds 2 rows, 3 ids and 3 names of API keys", "bc"},
	"the ids lost": {func(t *testing.T, _ *redistest.Server, c *redis.Client) {
		c.Del(t.Context(), "{aisix:config}:apikeys:ids")
	}, "Redis now holds 3 rows, 0 ids and 3 names of API keys", "abc"},
	"the names lost": {func(t *testing.T, _ *redistest.Server, c *redis.Client) {
		c.Del(t.Context(), "{aisix:config}:apikeys:names")
	}, "Redis now holds 3 rows, 3 ids and 0 names of API keys", "abc"},
	"rows and ids lost": {func(t *testing.T, _ *redistest.Server, c *redis.Client) {
		c.Del(t.Context(), "{aisix:config}:apikeys", "{aisix:config}:apikeys:ids")
	}, "Redis now holds 0 rows, 0 ids and 3 names of API keys", ""},
}

// backup puts back what the store was at a revision, as a backup of then would.
func backup(t *testing.T, c *redis.Client, revision int) {
	t.Helper()
	ctx := t.Context()
	ids := c.ZRange(ctx, "{aisix:config}:apikeys:ids", int64(revision), -1).Val()
	for _, id := range ids {
		c.HDel(ctx, "{aisix:config}:apikeys", id)
		c.ZRem(ctx, "{aisix:config}:apikeys:ids", id)
	}
	for name, id := range c.HGetAll(ctx, "{aisix:config}:apikeys:names").Val() {
		for _, gone := range ids {
			if id == gone {
				c.HDel(ctx, "{aisix:config}:apikeys:names", name)
			}
		}
	}
	if err := c.Set(ctx, "{aisix:config}:revision", revision, 0).Err(); err != nil {
		t.Fatal(err)
	}
}

// Whoever is served goes on being served, whoever administers is told, until an
// operator confirms; then what Redis holds is in force, for those that knew and for
// those that start.
func TestALostStore(t *testing.T) {
	for name, x := range losses {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx := t.Context()
			server := redistest.Start(t)
			client := server.Client()
			s := newStore(t, client)
			for _, digit := range []string{"a", "b", "c"} {
				must[*store.Entry](t)(s.Create(ctx, "tester", apiKey(digit)))
			}
			holder := follow(t, newStore(t, server.Client()))
			within(t, 5*time.Second, "the snapshot", at(holder, 3))
			before := holder.Load()

			x.lose(t, server, client)
			within(t, 5*time.Second, "the loss is noticed", holder.Lost)
			e := lost(t, s)
			if e.Revision != 3 || !strings.Contains(e.Error(), x.says) || !strings.Contains(e.Error(), e.Epoch) {
				t.Errorf("%+v: %v", e, e)
			}
			// An admin that has started since can't know by itself, and yet says so.
			fresh := newStore(t, server.Client())
			if again := lost(t, fresh); again.Epoch != e.Epoch || again.Revision != 3 {
				t.Errorf("a new process says %v", again)
			}
			// An extproc that has started since serves nobody rather than refuse everybody.
			newcomer := follow(t, newStore(t, server.Client()))
			within(t, 5*time.Second, "the loss is noticed by a new process", newcomer.Lost)
			if holder.Load() != before || newcomer.Load() != nil {
				t.Error("what was lost is in force")
			}

			if _, err := fresh.Confirm(ctx, "tester", "another"); !errors.As(err, new(*store.LostError)) {
				t.Errorf("a confirmation of another loss: %v", err)
			}
			revision, err := fresh.Confirm(ctx, "tester", e.Epoch)
			if err != nil || revision != 4 {
				t.Fatalf("confirmed at revision %d, %v; want 4, as no revision stands for two states", revision, err)
			}
			if _, err := s.Confirm(ctx, "tester", e.Epoch); !errors.Is(err, store.ErrNothingLost) {
				t.Errorf("confirmed twice: %v", err)
			}
			for _, h := range []*snapshot.Holder{holder, newcomer} {
				within(t, 5*time.Second, "what was confirmed", at(h, 4))
				for _, digit := range []string{"a", "b", "c", "d", "e"} {
					if served(h, digit) != strings.Contains(x.left, digit) {
						t.Errorf("%s is served: %t", digit, served(h, digit))
					}
				}
				within(t, 5*time.Second, "all is well again", func() bool { return !h.Lost() })
			}
			if list, _, err := fresh.List(ctx, resource.APIKeys, "", 0); err != nil || len(list) != len(x.left) {
				t.Errorf("%d API keys are listed, %v; want %q", len(list), err, x.left)
			}
			for _, admin := range []*store.Store{s, fresh, newStore(t, client)} {
				if n, err := admin.Revision(ctx); n != 4 || err != nil {
					t.Errorf("revision %d, %v", n, err)
				}
			}
			for _, digit := range []string{"a", "b", "c"} { // names are taken by what is there, and by nothing else
				var taken *store.TakenError
				if _, err := fresh.Create(ctx, "tester", apiKey(digit)); errors.As(err, &taken) != strings.Contains(x.left, digit) {
					t.Errorf("%s once more: %v", digit, err)
				}
			}
			must[*store.Entry](t)(s.Create(ctx, "tester", apiKey("f")))
			within(t, 5*time.Second, "the next write", func() bool { return served(holder, "f") && served(newcomer, "f") })
		})
	}
}

// Data that comes back, from a backup as good as what is in force or from a Redis that
// had started without its files, needs no confirmation.
func TestALostStoreIsRestored(t *testing.T) {
	for name, lose := range map[string]func(*redis.Client){
		"all of it": func(c *redis.Client) { c.FlushAll(t.Context()) },
		"the rows":  func(c *redis.Client) { c.Del(t.Context(), "{aisix:config}:apikeys") },
		"an index":  func(c *redis.Client) { c.Del(t.Context(), "{aisix:config}:apikeys:names") },
	} {
		t.Run(name, func(t *testing.T) { restored(t, lose) })
	}
}

func restored(t *testing.T, lose func(*redis.Client)) {
	ctx := t.Context()
	server := redistest.Start(t)
	client := server.Client()
	s := newStore(t, client)
	must[*store.Entry](t)(s.Create(ctx, "tester", apiKey("a")))
	holder := follow(t, newStore(t, server.Client()))
	within(t, 5*time.Second, "the snapshot", at(holder, 1))
	dump := map[string]string{}
	for _, key := range client.Keys(ctx, "*").Val() {
		dump[key] = client.Dump(ctx, key).Val()
	}
	lose(client)
	within(t, 5*time.Second, "the loss is noticed", holder.Lost)
	lost(t, s)
	newcomer := follow(t, newStore(t, server.Client()))
	within(t, 5*time.Second, "the loss is noticed by a new process", newcomer.Lost)
	if !served(holder, "a") || newcomer.Load() != nil {
		t.Error("what is left is in force")
	}
	_, err := client.TxPipelined(ctx, func(p redis.Pipeliner) error {
		for key, value := range dump {
			p.RestoreReplace(ctx, key, 0, value)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	within(t, 5*time.Second, "the restored store", func() bool { return !holder.Lost() && !newcomer.Lost() && served(newcomer, "a") })
	if _, err := s.Confirm(ctx, "tester", "any"); !errors.Is(err, store.ErrNothingLost) {
		t.Errorf("confirmed: %v", err)
	}
	must[*store.Entry](t)(s.Create(ctx, "tester", apiKey("b")))
	within(t, 5*time.Second, "a write", func() bool { return served(holder, "a") && served(holder, "b") })
}

// What is confirmed is whole: of what is gone nothing is in the way, and what can't be
// read can be deleted, also where the store has lost its epoch too.
func TestAConfirmationMendsTheIndexes(t *testing.T) {
	ctx := t.Context()
	client := redistest.Start(t).Client()
	s := newStore(t, client)
	k := must[*store.Entry](t)(s.Create(ctx, "tester", providerKey("one")))
	must[*store.Entry](t)(s.Create(ctx, "tester", model("gone", k.ID)))
	bad := must[*store.Entry](t)(s.Create(ctx, "tester", model("bad", k.ID)))
	rotated := must[*store.Entry](t)(s.Create(ctx, "tester", &resource.APIKey{KeyHash: strings.Repeat("a", 64), AllowedModels: []string{},
		Previous: &resource.PreviousKey{KeyHash: strings.Repeat("b", 64), ValidUntil: time.Now().Add(time.Hour)}}))
	client.Del(ctx, "{aisix:config}:models", "{aisix:config}:models:names", "{aisix:config}:apikeys:ids", "{aisix:config}:apikeys:names", "{aisix:config}:epoch")
	client.HSet(ctx, "{aisix:config}:models", bad.ID, "3 {")
	s = newStore(t, client) // that knows nothing
	e := lost(t, s)
	if e.Epoch == "" || !strings.Contains(e.Error(), "1 rows, 2 ids and 0 names of models") || !strings.Contains(e.Error(), "1 rows, 0 ids and 0 names of API keys") {
		t.Errorf("%v", e)
	}
	if _, err := s.Create(ctx, "tester", providerKey("two")); !errors.As(err, new(*store.LostError)) {
		t.Errorf("a write of a kind that is whole: %v", err)
	}
	must[int64](t)(s.Confirm(ctx, "tester", e.Epoch))
	for _, digit := range []string{"a", "b"} {
		if _, err := s.Create(ctx, "tester", apiKey(digit)); !errors.As(err, new(*store.TakenError)) {
			t.Errorf("%s once more: %v", digit, err)
		}
	}
	for kind, id := range map[resource.Kind]string{resource.Models: bad.ID, resource.APIKeys: rotated.ID} {
		if err := s.Delete(ctx, "tester", kind, id, nil); err != nil {
			t.Errorf("%s: %v", kind, err)
		}
	}
	if err := s.Delete(ctx, "tester", resource.ProviderKeys, k.ID, nil); err != nil {
		t.Errorf("a provider key that nothing uses: %v", err)
	}
	for _, key := range client.Keys(ctx, "*").Val() { // an empty hash or set is no key
		for _, kind := range resource.Kinds {
			if strings.HasPrefix(key, "{aisix:config}:"+string(kind)) || key == "{aisix:config}:uses" {
				t.Errorf("%s is left", key)
			}
		}
	}
}

// A loss is logged once, and its end.
func TestALossIsLoggedOnce(t *testing.T) {
	var mutex sync.Mutex
	var log bytes.Buffer
	before := slog.Default()
	slog.SetDefault(slog.New(slog.NewJSONHandler(locked{&mutex, &log}, nil)))
	t.Cleanup(func() { slog.SetDefault(before) })
	said := func(text string) int {
		mutex.Lock()
		defer mutex.Unlock()
		return strings.Count(log.String(), text)
	}
	ctx := t.Context()
	server := redistest.Start(t)
	client := server.Client()
	s := newStore(t, client)
	must[*store.Entry](t)(s.Create(ctx, "tester", apiKey("a")))
	holder := follow(t, newStore(t, server.Client()))
	within(t, 5*time.Second, "the snapshot", at(holder, 1))
	client.FlushAll(ctx)
	within(t, 5*time.Second, "the loss is noticed", holder.Lost)
	for polls := client.Info(ctx, "commandstats").Val(); ; { // a few looks of the watch later
		if now := client.Info(ctx, "commandstats").Val(); count(now, "cmdstat_mget") >= count(polls, "cmdstat_mget")+3 {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	if n := said(`"level":"ERROR"`); n != 1 {
		t.Errorf("%d errors logged, want one: %s", n, &log)
	}
	if _, err := s.Confirm(ctx, "tester", lost(t, s).Epoch); err != nil {
		t.Fatal(err)
	}
	within(t, 5*time.Second, "the end of it in the log", func() bool { return said("whole again") >= 1 })
}

// Without the right to leave word of a loss, what was in force stays in force all the same.
func TestALossWithReadRightsOnly(t *testing.T) {
	ctx := t.Context()
	server := redistest.Start(t)
	client := server.Client()
	must[*store.Entry](t)(newStore(t, client).Create(ctx, "tester", apiKey("a")))
	holder := follow(t, newStore(t, reader(t, server)))
	within(t, 5*time.Second, "the snapshot", at(holder, 1))
	client.FlushAll(ctx)
	within(t, 5*time.Second, "the loss is noticed", holder.Lost)
	if !served(holder, "a") || client.Exists(ctx, "{aisix:config}:witnesses").Val() != 0 {
		t.Error("not served, or left word")
	}
}

// count is how often a command was called, of INFO commandstats.
func count(info, name string) int {
	_, after, _ := strings.Cut(info, name+":calls=")
	n := 0
	for _, c := range after {
		if c < '0' || c > '9' {
			break
		}
		n = 10*n + int(c-'0')
	}
	return n
}

type locked struct {
	mutex *sync.Mutex
	w     *bytes.Buffer
}

func (l locked) Write(p []byte) (int, error) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	return l.w.Write(p)
}

// With Redis away, extproc starts from its file, and follows again when Redis is back.
func TestAStartFromTheSnapshotFile(t *testing.T) {
	ctx := t.Context()
	server := redistest.Start(t)
	s := newStore(t, server.Client())
	file := filepath.Join(t.TempDir(), "deep", "snapshot")
	k := must[*store.Entry](t)(s.Create(ctx, "tester", providerKey("one")))
	must[*store.Entry](t)(s.Create(ctx, "tester", model("claude", k.ID)))
	gone := must[*store.Entry](t)(s.Create(ctx, "tester", apiKey("a")))
	holder, stop := followWith(t, newStore(t, server.Client()), file)
	within(t, 5*time.Second, "the snapshot", at(holder, 3))
	if err := s.Delete(ctx, "tester", resource.APIKeys, gone.ID, nil); err != nil { // appended, as the next is
		t.Fatal(err)
	}
	must[*store.Entry](t)(s.Create(ctx, "tester", apiKey("b")))
	within(t, 5*time.Second, "the writes", at(holder, 5))
	stop()
	if info, err := os.Stat(file); err != nil || info.Mode() != 0o600 {
		t.Fatalf("%v, %v", info, err)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, secret := range []string{"AKIAPLAINTEXT", "s3cr3t-plaintext", "claude", strings.Repeat("b", 64)} {
		if bytes.Contains(text, []byte(secret)) {
			t.Errorf("%q stands in the file", secret)
		}
	}

	server.Kill()
	holder, stop = followWith(t, newStore(t, server.Client()), file) // stays, and writes the file on when Redis is back
	within(t, 5*time.Second, "the snapshot of the file", at(holder, 5))
	m, ok := holder.Load().Model("claude")
	if !ok || m.ProviderKey.Credentials != providerKey("").Credentials || served(holder, "a") || !served(holder, "b") {
		t.Errorf("%+v, a is served: %t, b: %t", m, served(holder, "a"), served(holder, "b"))
	}
	if at := holder.Confirmed(); at.IsZero() || time.Since(at) < 0 {
		t.Errorf("confirmed at %v", at)
	}
	server.Restart()
	within(t, 5*time.Second, "Redis is back", func() bool { return time.Since(holder.Confirmed()) < 100*time.Millisecond })
	must[*store.Entry](t)(s.Create(ctx, "tester", apiKey("c")))
	within(t, 5*time.Second, "a write after the restart", func() bool { return served(holder, "b") && served(holder, "c") })
	stop()

	// Redis lost its files meanwhile: what is in the file is in force, and says what was lost.
	server.Kill()
	server.Forget()
	server.Restart()
	holder, _ = followWith(t, newStore(t, server.Client()), file)
	within(t, 5*time.Second, "the snapshot of the file", at(holder, 6))
	if !holder.Lost() || !served(holder, "c") {
		t.Errorf("lost: %t, c is served: %t", holder.Lost(), served(holder, "c"))
	}
	if e := lost(t, newStore(t, server.Client())); e.Revision != 6 {
		t.Errorf("%v", e)
	}
}

// A file that can't be used is named in the log, and extproc waits for Redis as it
// does without one.
func TestASnapshotFileThatCanNotBeUsed(t *testing.T) {
	ctx := t.Context()
	server := redistest.Start(t)
	s := newStore(t, server.Client())
	must[*store.Entry](t)(s.Create(ctx, "tester", apiKey("a")))
	file := filepath.Join(t.TempDir(), "snapshot")
	holder, stop := followWith(t, newStore(t, server.Client()), file)
	within(t, 5*time.Second, "the snapshot", at(holder, 1))
	stop()
	good, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	other, err := store.NewSealer([]byte(strings.Repeat("x", 32)))
	if err != nil {
		t.Fatal(err)
	}
	changed := bytes.Clone(good)
	changed[len(changed)-1] ^= 1
	version := bytes.Clone(good)
	version[15]++
	for name, x := range map[string]struct {
		content []byte
		sealer  *store.Sealer
		says    string
	}{
		"another master key": {good, other, "another master key"},
		"changed":            {changed, nil, "changed at rest"},
		"cut off":            {good[:len(good)-1], nil, "cut off"},
		"another version":    {version, nil, "version"},
		"empty":              {nil, nil, "version"},
		"a folder":           {nil, nil, "no snapshot file"},
	} {
		var mutex sync.Mutex
		var log bytes.Buffer
		before := slog.Default()
		slog.SetDefault(slog.New(slog.NewJSONHandler(locked{&mutex, &log}, nil)))
		path := filepath.Join(t.TempDir(), "snapshot")
		if err = os.WriteFile(path, x.content, 0o600); name == "a folder" {
			os.Remove(path)
			err = os.Mkdir(path, 0o700)
		}
		if err != nil {
			t.Fatal(err)
		}
		reading := newStore(t, server.Client())
		if x.sealer != nil {
			reading = store.New(redis.NewClient(&redis.Options{Addr: "127.0.0.1:1", MaxRetries: -1, DialerRetries: 1}), x.sealer)
		}
		holder, stop := followWith(t, reading, path)
		if x.sealer == nil {
			within(t, 5*time.Second, name+": Redis's own", at(holder, 1))
		} else {
			within(t, 5*time.Second, name+": Redis is away", func() bool {
				mutex.Lock()
				defer mutex.Unlock()
				return strings.Contains(log.String(), "is away")
			})
			if holder.Load() != nil {
				t.Errorf("%s: in force", name)
			}
		}
		stop()
		slog.SetDefault(before)
		if !strings.Contains(log.String(), x.says) {
			t.Errorf("%s: the log says %s", name, &log)
		}
		if again, err := os.ReadFile(path); x.sealer == nil && name != "a folder" && (err != nil || !bytes.HasPrefix(again, []byte("aisix snapshot 1"))) {
			t.Errorf("%s: not written anew: %v", name, err)
		}
	}
}
