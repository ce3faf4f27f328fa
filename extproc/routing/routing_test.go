package routing

import (
	"context"
	"fmt"
	"hash/fnv"
	"io"
	"log/slog"
	"net/http"
	"testing"
	"time"

	"aisix/admin/cooling"
	"aisix/admin/store/redistest"

	"github.com/redis/go-redis/v9"
)

// clock is a time that tests move.
type clock struct{ time.Time }

func (c *clock) now() time.Time { return c.Time }

func newClock() *clock { return &clock{time.Unix(1_700_000_000, 0)} }

// Conversations spread by weight, whatever the order in which targets are written; one that goes
// moves its own share alone.
func TestOrderSpreadsByWeight(t *testing.T) {
	b := NewBoard(nil)
	all := []Target{{"m/a", 1, 0}, {"m/b", 2, 0}, {"m/c", 1, 0}, {"m/d", 0, 0}, {"m/e", 9, 1}}
	const n = 20_000
	first := map[int]int{}
	for conversation := range uint64(n) {
		order := b.Order(all, conversation)
		first[order[0]]++
		if order[3] != 3 || order[4] != 4 {
			t.Fatalf("%v: no weight, and another priority, come last", order)
		}
		if rest := b.Order(all[1:], conversation); order[0] != 0 && rest[0]+1 != order[0] {
			t.Fatalf("%d was moved from %d to %d", conversation, order[0], rest[0]+1)
		}
	}
	for i, share := range []float64{.25, .5, .25} {
		if got := float64(first[i]) / n; got < share-.02 || got > share+.02 {
			t.Errorf("target %d has %.3f of the conversations, want %.2f", i, got, share)
		}
	}
}

func TestCoolDown(t *testing.T) {
	c := newClock()
	b := NewBoard(c.now)
	left := func(id string) time.Duration {
		until := b.until(id, c.Time)
		if until.IsZero() {
			return 0
		}
		return until.Sub(c.Time)
	}
	for _, want := range []time.Duration{1, 2, 4, 8, 16, 32, 60, 60} {
		b.Throttled("a", "throttled", 0)
		b.Throttled("a", "throttled", 0) // was under way with it
		if got := left("a"); got != want*time.Second {
			t.Errorf("cools down for %v, want %v s", got, want)
		}
		c.Time = c.Add(want * time.Second)
	}
	b.Served("a", c.Time)
	b.Throttled("a", "throttled", 0)
	if left("a") != time.Second {
		t.Errorf("%v behind an answer", left("a"))
	}
	b.Throttled("a", "throttled", 7*time.Second)
	if left("a") != 7*time.Second {
		t.Errorf("%v, want what it asks for", left("a"))
	}
	b.Throttled("a", "throttled", 100*time.Hour)
	if left("a") != longestAsked {
		t.Errorf("%v", left("a"))
	}
	b.Served("a", c.Add(-time.Second)) // was sent before
	if left("a") == 0 {
		t.Error("an answer to a call of before ends the cool-down")
	}
	b.Served("a", c.Time)
	if left("a") != 0 {
		t.Error("an answer does not end the cool-down")
	}
	for _, want := range []time.Duration{5, 10, 20, 40, 60} {
		for range failures {
			if left("b") != 0 {
				t.Fatal("cools down too soon")
			}
			c.Time = c.Add(time.Second)
			b.Failed("b", "transport")
		}
		if left("b") != want*time.Second {
			t.Errorf("%v, want %v s", left("b"), want)
		}
		c.Time = c.Add(want * time.Second)
	}
	for range 10 {
		c.Time = c.Add(6 * time.Second)
		if b.Failed("c", "transport"); left("c") != 0 {
			t.Error("two failures in ten seconds")
		}
	}
}

// One that cools down is last, and never left out.
func TestCoolingIsLast(t *testing.T) {
	c := newClock()
	b := NewBoard(c.now)
	all := []Target{{"m/a", 1, 0}, {"m/b", 1, 1}, {"m/c", 1, 2}}
	b.Throttled("m/a", "throttled", 9*time.Second)
	b.Throttled("m/b", "throttled", 3*time.Second)
	if order := fmt.Sprint(b.Order(all, 1)); order != "[2 1 0]" {
		t.Error(order)
	}
	if order := fmt.Sprint(b.Order(all[:1], 1)); order != "[0]" {
		t.Error(order)
	}
	c.Time = c.Add(9 * time.Second)
	if order := fmt.Sprint(b.Order(all, 1)); order != "[0 1 2]" {
		t.Error(order)
	}
}

// Boards that share know what one of them learns, its end too; what is no cool-down harms nothing.
func TestBoardsShare(t *testing.T) {
	options, err := redis.ParseURL(redistest.Start(t).URL)
	if err != nil {
		t.Fatal(err)
	}
	client := redis.NewClient(options)
	defer client.Close()
	ctx := t.Context()
	client.HSet(ctx, "{aisix:targets}:cooling", "odd", "nonsense", "old", "1 2 3 throttled", "far", "1 99999999999999 1 throttled")
	a, b, with := NewBoard(nil), NewBoard(nil), cooling.New(client)
	both := func() {
		t.Helper()
		for _, x := range []*Board{a, b, a} {
			if err := x.exchange(ctx, with); err != nil {
				t.Fatal(err)
			}
		}
	}
	a.Throttled("m/x", "throttled", time.Minute)
	both()
	if b.until("m/x", time.Now()).IsZero() {
		t.Error("not learnt")
	}
	if n := client.HLen(ctx, "{aisix:targets}:cooling").Val(); n != 1 {
		t.Errorf("%d fields", n)
	}
	b.Served("m/x", time.Now().Add(time.Second))
	for _, x := range []*Board{b, a} {
		if err := x.exchange(ctx, with); err != nil {
			t.Fatal(err)
		}
	}
	if !a.until("m/x", time.Now()).IsZero() {
		t.Error("its end was not learnt")
	}
	ended := make(chan error, 1)
	life, end := context.WithCancel(ctx)
	go func() { ended <- a.Share(life, with, slog.New(slog.NewTextHandler(io.Discard, nil))) }()
	end()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestConversation(t *testing.T) {
	of := func(body string, header ...string) uint64 {
		h := http.Header{}
		for i := 0; i+1 < len(header); i += 2 {
			h.Set(header[i], header[i+1])
		}
		return Conversation("key", h, []byte(body))
	}
	for name, pair := range map[string][2]uint64{
		"cache key":    {of(`{"prompt_cache_key":"a","messages":[1]}`), of(`{"prompt_cache_key":"a","user":"x"}`)},
		"session":      {of(`{"messages":[{"role":"user","content":"1"}]}`, "session-id", "a"), of(`{"input":"x"}`, "session-id", "a")},
		"user":         {of(`{"user":"u","input":"1"}`), of(`{"metadata":{"user_id":"u"}}`)},
		"turns":        {of(`{"messages":[{"role":"system","content":"s"},{"role":"user","content":"1"}]}`), of(`{"messages":[{"role":"system","content":"s"},{"role":"user","content":"1"},{"role":"assistant","content":"2"},{"role":"user","content":"3"}]}`)},
		"cache marks":  {of(`{"system":[{"type":"text","text":"s","cache_control":{"type":"ephemeral"}}],"messages":[{"role":"user","content":[{"type":"text","text":"1","cache_control":{"type":"ephemeral"}}]}]}`), of(`{"system":"s","messages":[{"role":"user","content":"1"},{"role":"assistant","content":"2"}]}`)},
		"instructions": {of(`{"instructions":"s","input":[{"role":"user","content":[{"type":"input_text","text":"1"}]}]}`), of(`{"instructions":"s","input":[{"role":"user","content":"1"},{"type":"function_call"}]}`)},
	} {
		if pair[0] != pair[1] {
			t.Errorf("%s: one conversation is two", name)
		}
	}
	if of(`{"messages":[{"role":"user","content":"1"}]}`) == of(`{"messages":[{"role":"user","content":"2"}]}`) || of(`{"user":"a"}`) == of(`{"user":"b"}`) {
		t.Error("two conversations are one")
	}
}

func FuzzConversation(f *testing.F) {
	f.Add([]byte(`{"messages":[{"role":"user","content":[{"text":"a"}]}],"metadata":{"user_id":1}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		h := http.Header{}
		first := Conversation("k", h, body)
		if again := Conversation("k", h, body); again != first {
			t.Error("not the same twice")
		}
	})
}

// Orders stay as they are from version to version, and cost two allocations, however many targets
// there are: a conversation would change its target on an update otherwise.
func TestOrdersStay(t *testing.T) {
	b := NewBoard(nil)
	var targets []Target
	for i := range 16 {
		targets = append(targets, Target{ID: fmt.Sprint("target-", i), Weight: 1 + i%3})
	}
	if got, want := fmt.Sprint(b.Order(targets, 7)), "[2 15 12 5 4 11 14 1 13 8 10 6 7 9 3 0]"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if n := testing.AllocsPerRun(100, func() { b.Order(targets, 7) }); n > 2 {
		t.Errorf("%v allocations", n)
	}
	for _, text := range []string{"", "a", "0198c1de-7a10-7000-8000-000000000001/west"} {
		h := fnv.New64a()
		h.Write([]byte(text))
		if hash(text) != h.Sum64() {
			t.Errorf("the hash of %q", text)
		}
	}
}
