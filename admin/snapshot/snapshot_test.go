package snapshot

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"aisix/admin/resource"
)

func hash(plaintext string) (sum [32]byte, text string) {
	sum = sha256.Sum256([]byte(plaintext))
	return sum, hex.EncodeToString(sum[:])
}

// of builds a snapshot of models ("alias=model id") and one API key that may use
// the allowed ones.
func of(t *testing.T, models []string, allowed ...string) (*Snapshot, *Key) {
	t.Helper()
	sum, text := hash("sk")
	rows := []Row{
		{ID: "pk", Value: &resource.ProviderKey{DisplayName: "pk"}},
		{ID: "key", Value: &resource.APIKey{KeyHash: text, AllowedModels: allowed}},
	}
	for _, m := range models {
		alias, id, _ := strings.Cut(m, "=")
		rows = append(rows, Row{ID: "id of " + alias, Value: &resource.Model{DisplayName: alias, ModelName: id, ProviderKeyID: "pk"}})
	}
	// Redis gives rows in no order.
	rand.Shuffle(len(rows), func(i, j int) { rows[i], rows[j] = rows[j], rows[i] })
	s, dropped := Build(7, rows)
	if len(dropped) > 0 {
		t.Fatal(dropped)
	}
	k, ok := s.Key(sum)
	if !ok || s.Revision != 7 {
		t.Fatal("no key", s.Revision)
	}
	return s, k
}

func TestModel(t *testing.T) {
	s, _ := of(t, []string{
		"claude=anthropic.claude-v2:1",
		"claude-*=anthropic.claude-*",
		"claude-3-*=anthropic.claude-3-*-v1:0",
		"*-prod=amazon.nova-*-v1:0",
		"claude-*-prod=prod.*",
		"a*=front.*",
		"*a=back.*",
		"fixed-*=meta.llama3-3-70b-instruct-v1:0",
		"any/*=*",
		"deep/*/x=deep.*",
	})
	for alias, want := range map[string]string{
		"claude":                             "claude anthropic.claude-v2:1", // an exact name first
		"claude-2":                           "claude-* anthropic.claude-2",
		"claude-3-haiku":                     "claude-3-* anthropic.claude-3-haiku-v1:0", // the longest literal part
		"claude-3-prod":                      "claude-*-prod prod.3",
		"nova-prod":                          "*-prod amazon.nova-nova-v1:0",
		"aba":                                "a* front.ba", // of two as long, the longer beginning
		"fixed-x":                            "fixed-* meta.llama3-3-70b-instruct-v1:0",
		"claude-*":                           "", // a star is no capture
		"claude-":                            "", // nor is nothing
		"Claude":                             "",
		"claude-é":                           "",
		"claude-a b":                         "",
		"claude-a/b":                         "",
		"claude-a.B_c:d":                     "claude-* anthropic.claude-a.B_c:d",
		"deep/y/x":                           "deep/*/x deep.y",
		"any/x":                              "any/* x",
		"any/.":                              "", // as a segment of a path it would lead to another place
		"any/..":                             "",
		"any/...":                            "any/* ...",
		"claude-..":                          "",
		"":                                   "",
		"claude-" + strings.Repeat("x", 128): "claude-* anthropic.claude-" + strings.Repeat("x", 128),
		"claude-" + strings.Repeat("x", 129): "",
	} {
		got := ""
		if m, ok := s.Model(alias); ok {
			got = m.Alias + " " + m.UpstreamID
			if m.ModelID != "id of "+m.Alias || m.ProviderKeyID != "pk" || m.ProviderKey == nil || m.Model.DisplayName != m.Alias {
				t.Errorf("%s: %+v", alias, m)
			}
		}
		if got != want {
			t.Errorf("%.40q is %q, want %q", alias, got, want)
		}
	}
	one, _ := s.Model("claude-2")
	two, _ := s.Model("claude-9")
	if one.UpstreamID != "anthropic.claude-2" || two.UpstreamID != "anthropic.claude-9" {
		t.Error("one lookup changed another's match")
	}
}

func TestAllowed(t *testing.T) {
	for _, x := range []struct {
		allowed []string
		alias   string
		want    bool
	}{
		{nil, "claude", false},
		{[]string{}, "claude", false},
		{[]string{"claude"}, "claude", true},
		{[]string{"claude"}, "claude-3", false},
		{[]string{"claude"}, "Claude", false},
		{[]string{"*"}, "any thing/é", true},
		{[]string{"claude-*"}, "claude-", true},
		{[]string{"claude-*"}, "claude-3", true},
		{[]string{"claude-*"}, "claude", false},
		{[]string{"*-prod"}, "a-prod", true},
		{[]string{"a*a"}, "a", false},
		{[]string{"a*a"}, "aa", true},
		{[]string{"x", "nova-*"}, "nova-pro", true},
		{[]string{"claude.3"}, "claudex3", false}, // no regular expression
	} {
		s, k := of(t, nil, x.allowed...)
		if got := s.Allowed(k, x.alias); got != x.want {
			t.Errorf("%q allows %q: %t", x.allowed, x.alias, got)
		}
	}
}

func TestList(t *testing.T) {
	models := []string{"nova=n", "claude=c", "claude-*=c.*", "*-prod=p", "é=e"}
	for _, x := range []struct{ allowed, want []string }{
		{[]string{}, []string{}},
		{[]string{"*"}, []string{"*-prod", "claude", "claude-*", "nova", "é"}},
		{[]string{"claude*"}, []string{"*-prod", "claude", "claude-*"}},
		{[]string{"claude-3"}, []string{"claude-*"}},
		{[]string{"nova", "unknown"}, []string{"nova"}},
		{[]string{"é*"}, []string{"é"}}, // no capture of *-prod begins with é
	} {
		s, k := of(t, models, x.allowed...)
		got := []string{}
		for _, m := range s.List(k) {
			got = append(got, m.Alias)
			if same, ok := s.Listed(k, m.Alias); !ok || same != m || m.ProviderKey == nil {
				t.Errorf("%q is listed, and found as %+v", m.Alias, same)
			}
		}
		if diff := cmp.Diff(x.want, got); diff != "" {
			t.Errorf("%q (-want +got):\n%s", x.allowed, diff)
		}
		for _, alias := range []string{"*-prod", "claude", "claude-*", "nova", "é", "claude-3", "a-prod", ""} {
			if _, ok := s.Listed(k, alias); ok != slices.Contains(x.want, alias) {
				t.Errorf("%q: %q is listed: %t", x.allowed, alias, ok)
			}
		}
	}
}

// A wildcard alias is listed where, and only where, there is a name that both the
// alias and a pattern have: every one of up to eight letters is tried.
func TestMeetsAgainstAllNames(t *testing.T) {
	const alphabet = "a./" // the last is no part of a capture, and the second none alone or twice
	var names []string
	for level := []string{""}; len(level[0]) < 8; {
		var next []string
		for _, s := range level {
			for _, c := range alphabet {
				next = append(next, s+string(c))
			}
		}
		level = next
		names = append(names, level...)
	}
	random := rand.New(rand.NewPCG(1, 2))
	part := func() string {
		b := make([]byte, random.IntN(4))
		for i := range b {
			b[i] = alphabet[random.IntN(len(alphabet))]
		}
		return string(b)
	}
	for range 400 {
		alias, pattern := part()+"*"+part(), part()+"*"+part()
		g, p := newGlob(alias), newGlob(pattern)
		want := ""
		for _, s := range names {
			if c, ok := g.capture(s); ok && capturable(c) && p.match(s) {
				want = s
				break
			}
		}
		if got := g.meets(p); got != (want != "") {
			t.Errorf("%q meets %q: %t, but for %q", alias, pattern, got, want)
		}
	}
}

func TestKeys(t *testing.T) {
	until := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	earlier, later := until.Add(-time.Hour), until.Add(time.Hour)
	newSum, newText := hash("new")
	oldSum, oldText := hash("old")
	for name, x := range map[string]struct {
		expires *time.Time
		want    time.Time
	}{
		"no end of its own": {nil, until},
		"an earlier end":    {&earlier, earlier},
		"a later end":       {&later, until},
	} {
		v := &resource.APIKey{KeyHash: newText, AllowedModels: []string{"a*"}, ExpiresAt: x.expires, TeamID: "t",
			Previous: &resource.PreviousKey{KeyHash: oldText, ValidUntil: until}}
		s, _ := Build(1, []Row{{ID: "k", Value: v}})
		current, ok := s.Key(newSum)
		if !ok || current.APIKey != v || current.ID != "k" {
			t.Errorf("%s: the current key: %+v", name, current)
		}
		old, ok := s.Key(oldSum)
		if !ok || old.ID != "k" || !old.APIKey.ExpiresAt.Equal(x.want) || old.APIKey.TeamID != "t" || !s.Allowed(old, "ab") {
			t.Errorf("%s: the replaced key: %+v", name, old)
		}
		if v.ExpiresAt != x.expires {
			t.Errorf("%s: the resource was changed", name)
		}
	}
	s, _ := Build(1, nil)
	if _, ok := s.Key(newSum); ok {
		t.Error("an empty snapshot has a key")
	}
}

func TestWhatCanNotBeServedIsDroppedAndNamed(t *testing.T) {
	s, dropped := Build(1, []Row{
		{ID: "m1", Value: &resource.Model{DisplayName: "orphan", ProviderKeyID: "gone"}},
		{ID: "k1", Value: &resource.APIKey{KeyHash: "zz"}},
		{ID: "k2", Value: &resource.APIKey{KeyHash: strings.Repeat("z", 64)}},
	})
	if _, ok := s.Model("orphan"); ok {
		t.Error("a model without its provider key is served")
	}
	if text := fmt.Sprint(dropped); len(dropped) != 3 || !strings.Contains(text, "models/m1") || !strings.Contains(text, "apikeys/k1") || !strings.Contains(text, "apikeys/k2") {
		t.Errorf("dropped %v", dropped)
	}
}

func TestHolder(t *testing.T) {
	var h Holder
	if h.Load() != nil || !h.Confirmed().IsZero() {
		t.Error("a new holder holds something")
	}
	s, _ := Build(1, nil)
	now := time.Now()
	h.Store(s)
	h.Confirm(now)
	if h.Load() != s || !h.Confirmed().Equal(now) {
		t.Error("not what was stored")
	}
}
