package admin

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"aisix/admin/ledger"
	"aisix/admin/store"
	"aisix/admin/store/redistest"
	usagev1 "aisix/proto/aisix/v1"
)

const adminKey = "test-admin-key"

// api is an Admin API on a Valkey of its own, reached as an administrator does.
type api struct {
	t      testing.TB
	server *Server
	valkey *redistest.Server
	url    string
	log    *bytes.Buffer
}

func start(t testing.TB) *api {
	t.Helper()
	valkey := redistest.Start(t)
	return startOn(t, valkey)
}

func startOn(t testing.TB, valkey *redistest.Server) *api {
	t.Helper()
	sealer, err := store.NewSealer([]byte("0123456789abcdef0123456789abcdef"))
	if err != nil {
		t.Fatal(err)
	}
	client := redis.NewClient(&redis.Options{Addr: valkey.Addr, ContextTimeoutEnabled: true, MaxRetries: -1, DialerRetries: 1, // as cmd/admin has it
		DialTimeout: time.Second, ReadTimeout: time.Second, WriteTimeout: time.Second})
	t.Cleanup(func() { client.Close() })
	a := &api{t: t, valkey: valkey, log: &bytes.Buffer{}}
	a.server, err = New(Options{Store: store.New(client, sealer), Usage: ledger.New(client), Key: adminKey, After: at(time.Time{}),
		Log: slog.New(slog.NewJSONHandler(a.log, nil)), Random: rand.NewChaCha8([32]byte{})})
	if err != nil {
		t.Fatal(err)
	}
	h := httptest.NewServer(a.server)
	t.Cleanup(h.Close)
	a.url = h.URL
	return a
}

// spend appends usage records.
func (a *api) spend(records ...*usagev1.Record) {
	a.t.Helper()
	entries := make([]ledger.Entry, len(records))
	for i, r := range records {
		var err error
		if entries[i], err = ledger.NewEntry(r); err != nil {
			a.t.Fatal(err)
		}
	}
	if err := ledger.New(a.valkey.Client()).AppendBatch(a.t.Context(), ledger.NewBatch(entries)); err != nil {
		a.t.Fatal(err)
	}
}

// at is a time.After whose time has come.
func at(now time.Time) func(time.Duration) <-chan time.Time {
	return func(time.Duration) <-chan time.Time {
		c := make(chan time.Time, 1)
		c <- now
		return c
	}
}

// reply is an answer, read whole.
type reply struct {
	status int
	header http.Header
	body   string
}

// do asks with the admin key and, if there is a body, as JSON; header wins over
// both. Every answer is held to openapi.json.
func (a *api) do(method, path, body string, header ...string) reply {
	a.t.Helper()
	r, err := http.NewRequestWithContext(context.Background(), method, a.url+path, strings.NewReader(body))
	if err != nil {
		a.t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+adminKey)
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	for _, h := range header {
		name, value, _ := strings.Cut(h, ":")
		if value = strings.TrimSpace(value); value == "" {
			r.Header.Del(name)
		} else {
			r.Header.Set(name, value)
		}
	}
	return a.send(r)
}

func (a *api) send(r *http.Request) reply {
	a.t.Helper()
	client := http.Client{Timeout: 20 * time.Second}
	response, err := client.Do(r)
	if err != nil {
		a.t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		a.t.Fatal(err)
	}
	got := reply{response.StatusCode, response.Header, string(text)}
	if t := got.header.Get("Content-Type"); t != "application/json" {
		a.t.Errorf("%s %s: Content-Type %q", r.Method, r.URL.Path, t)
	}
	if r.Method != http.MethodHead {
		described(a.t, r.Method, r.URL.EscapedPath(), got)
	}
	return got
}

// must is do with an answer of 200 or 201.
func (a *api) must(method, path, body string, header ...string) reply {
	a.t.Helper()
	got := a.do(method, path, body, header...)
	if got.status != http.StatusOK && got.status != http.StatusCreated {
		a.t.Fatalf("%s %s: %d %s", method, path, got.status, got.body)
	}
	return got
}
