package snapshot

import (
	"encoding/hex"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"aisix/admin/resource"
)

// told is all that a snapshot tells, as text.
func (s *Snapshot) told() []string {
	all := []string{fmt.Sprint("revision ", s.Revision)}
	for _, shard := range s.keys.maps {
		for hash, k := range shard {
			if found, ok := s.Key(hash); !ok || found != k {
				all = append(all, "a key in the wrong shard")
			}
			all = append(all, fmt.Sprintf("key %x %s %v %v %v", hash, k.ID, k.APIKey.AllowedModels, k.APIKey.ExpiresAt, len(k.allowed)))
		}
	}
	for _, shard := range s.exact.maps {
		for alias, m := range shard {
			if found, ok := s.Model(alias); !ok || found != m {
				all = append(all, "a model in the wrong shard")
			}
			all = append(all, fmt.Sprintf("exact %s %s %s %v%v", alias, m.ModelID, m.UpstreamID, m.ProviderKey.APIBase, told(m)))
		}
	}
	slices.Sort(all)
	for _, m := range s.sorted {
		all = append(all, fmt.Sprintf("listed %s %s %s %v%v", m.Alias, m.ModelID, m.UpstreamID, m.ProviderKey.APIBase, told(m)))
	}
	for _, m := range s.wildcards {
		all = append(all, fmt.Sprintf("wildcard %s %s %s %v", m.Alias, m.ModelID, m.UpstreamID, m.ProviderKey.APIBase))
	}
	return all
}

// told is what a match tells of its targets.
func told(m *Match) (all string) {
	for _, t := range m.Targets {
		all += fmt.Sprint(" ", t.ID, " ", t.UpstreamID, " ", t.ProviderKeyID, " ", t.ProviderKey.APIBase, " ", t.Model.ModelName)
	}
	return all
}

// Whatever was written, in whatever order and however many writes went into one
// snapshot: it tells what one made of all rows at once tells, and those of before tell
// what they told.
func TestFollowingIsBuilding(t *testing.T) {
	for round := range uint64(20) {
		random := rand.New(rand.NewPCG(round, 1))
		b := NewBuilder()
		rows := map[string]Row{}
		left := map[string]bool{}
		type past struct {
			s    *Snapshot
			told []string
		}
		var before []past
		for revision := int64(1); revision <= 300; revision++ {
			r := someRow(random)
			if random.IntN(4) == 0 {
				b.Remove(r.Value.Kind(), r.ID)
				delete(rows, string(r.Value.Kind())+r.ID)
			} else {
				b.Put(r)
				rows[string(r.Value.Kind())+r.ID] = r
			}
			if random.IntN(3) > 0 {
				continue
			}
			s, dropped := b.Snapshot(revision)
			want, left2 := Build(revision, slices.Collect(maps.Values(rows)))
			if diff := cmp.Diff(want.told(), s.told()); diff != "" {
				t.Fatalf("round %d, revision %d (-built +followed):\n%s", round, revision, diff)
			}
			now := map[string]bool{}
			for _, d := range left2 {
				now[d] = true
				if !left[d] && !slices.Contains(dropped, d) {
					t.Errorf("%s is left out untold", d)
				}
			}
			for _, d := range dropped {
				if !now[d] {
					t.Errorf("told that %s is left out", d)
				}
			}
			left = now
			before = append(before, past{s, s.told()})
		}
		for _, p := range before {
			if diff := cmp.Diff(p.told, p.s.told()); diff != "" {
				t.Fatalf("a snapshot has changed (-then +now):\n%s", diff)
			}
		}
	}
}

// someRow is a resource out of so few that they meet; hashes and aliases are each
// one's own, as the store has it.
func someRow(random *rand.Rand) Row {
	n := random.IntN(8)
	id := fmt.Sprint(n)
	switch random.IntN(3) {
	case 0:
		return Row{ID: id, Value: &resource.ProviderKey{DisplayName: id, APIBase: fmt.Sprint("http://", random.IntN(3))}}
	case 1:
		alias := []string{"m%d", "m%d-*", "*-m%d"}[random.IntN(3)]
		if random.IntN(2) == 0 {
			m := &resource.Model{DisplayName: fmt.Sprintf(alias, n)}
			for i := range 1 + random.IntN(3) {
				m.Targets = append(m.Targets, resource.Target{Name: fmt.Sprint("t", i), ModelName: fmt.Sprint("id.", random.IntN(3)), ProviderKeyID: fmt.Sprint(random.IntN(8))})
			}
			return Row{ID: id, Value: m}
		}
		return Row{ID: id, Value: &resource.Model{DisplayName: fmt.Sprintf(alias, n), ModelName: fmt.Sprint("id.", random.IntN(3)), ProviderKeyID: fmt.Sprint(random.IntN(8))}}
	}
	k := &resource.APIKey{KeyHash: strings.Repeat(hex.EncodeToString([]byte{byte(n), byte(random.IntN(3))}), 16), AllowedModels: []string{fmt.Sprint("m", random.IntN(8))}}
	switch random.IntN(4) {
	case 0:
		k.KeyHash = "none"
	case 1:
		k.Previous = &resource.PreviousKey{KeyHash: strings.Repeat(hex.EncodeToString([]byte{byte(n), byte(random.IntN(3))}), 16), ValidUntil: time.Unix(int64(random.IntN(3)), 0).UTC()}
	}
	return Row{ID: id, Value: k}
}

// A model is out of force while its provider key is missing, and comes back with it;
// the wildcard that it stood before serves meanwhile.
func TestAModelFollowsItsProviderKey(t *testing.T) {
	b := NewBuilder()
	model := func(id, alias, key string) {
		b.Put(Row{ID: id, Value: &resource.Model{DisplayName: alias, ModelName: "id." + alias, ProviderKeyID: key}})
	}
	key := func(id, base string) {
		b.Put(Row{ID: id, Value: &resource.ProviderKey{DisplayName: id, APIBase: base}})
	}
	serves := func(want string, told ...string) {
		t.Helper()
		s, dropped := b.Snapshot(1)
		got := ""
		if m, ok := s.Model("nova-pro"); ok {
			got = m.ModelID + " " + m.ProviderKey.APIBase
		}
		if got != want || !slices.Equal(dropped, told) {
			t.Errorf("served by %q, want %q; told %q, want %q", got, want, dropped, told)
		}
	}
	const missing = ": its provider key is missing or unusable"
	model("exact", "nova-pro", "one")
	model("wild", "nova-*", "two")
	serves("", "models/exact"+missing, "models/wild"+missing)
	key("two", "http://two")
	serves("wild http://two")
	key("one", "http://one")
	serves("exact http://one")
	key("one", "http://other")
	serves("exact http://other")
	b.Remove(resource.ProviderKeys, "one")
	serves("wild http://two", "models/exact"+missing)
	serves("wild http://two") // told once
	b.Remove(resource.ProviderKeys, "one")
	key("one", "http://back")
	serves("exact http://back")
	b.Remove(resource.ProviderKeys, "one")
	key("one", "http://again") // in one step: never out of force, nothing to tell
	serves("exact http://again")
	b.Remove(resource.Models, "exact")
	serves("wild http://two")
	b.Remove(resource.Models, "never there")
	serves("wild http://two")
}

// filled is a builder with so many API keys and a tenth as many models.
func filled(n int) (*Builder, []Row) {
	b := NewBuilder()
	rows := []Row{{ID: "pk", Value: &resource.ProviderKey{DisplayName: "pk"}}}
	for i := range n {
		_, text := hash(fmt.Sprint(i))
		rows = append(rows, Row{ID: fmt.Sprint("k", i), Value: &resource.APIKey{KeyHash: text, AllowedModels: []string{"model-1", "nova-*"}}})
		if i%10 == 0 {
			rows = append(rows, Row{ID: fmt.Sprint("m", i), Value: &resource.Model{DisplayName: fmt.Sprint("model-", i), ModelName: "amazon.nova-pro-v1:0", ProviderKeyID: "pk"}})
		}
	}
	for _, r := range rows {
		b.Put(r)
	}
	b.Snapshot(1)
	return b, rows
}

// What a change of an API key costs has nothing to do with how many there are; that of
// a model copies one pointer for each, in one allocation.
func TestAChangeCostsWhatChanged(t *testing.T) {
	cost := func(n int) (key, model float64) {
		b, rows := filled(n)
		put := func(i int) float64 {
			return testing.AllocsPerRun(100, func() {
				b.Put(rows[i])
				b.Snapshot(2)
			})
		}
		return put(1), put(2)
	}
	keyOfFew, modelOfFew := cost(10)
	keyOfMany, modelOfMany := cost(20_000)
	// A shard of many holds more than one group of Go's map.
	if keyOfMany > keyOfFew+4 || modelOfMany > modelOfFew+4 || keyOfMany > 20 || modelOfMany > 40 {
		t.Errorf("allocations: of an API key %v, of one among many %v; of a model %v, among many %v", keyOfFew, keyOfMany, modelOfFew, modelOfMany)
	}
}

func BenchmarkPut(b *testing.B) {
	for _, n := range []int{10, 100_000} {
		builder, rows := filled(n)
		for what, i := range map[string]int{"provider key": 0, "API key": 1, "model": 2} {
			b.Run(fmt.Sprintf("%s of %d", what, n), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					builder.Put(rows[i])
					builder.Snapshot(2)
				}
			})
		}
	}
}

func BenchmarkLookup(b *testing.B) {
	for _, n := range []int{10, 100_000} {
		builder, _ := filled(n)
		s, _ := builder.Snapshot(3)
		var sums [][32]byte
		for i := range min(n, 10_000) {
			sum, _ := hash(fmt.Sprint(i))
			sums = append(sums, sum)
		}
		b.Run(fmt.Sprintf("key of %d", n), func(b *testing.B) {
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				if _, ok := s.Key(sums[i%len(sums)]); !ok {
					b.Fatal("no key")
				}
			}
		})
		b.Run(fmt.Sprintf("model of %d", n/10), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, ok := s.Model("model-0"); !ok {
					b.Fatal("no model")
				}
			}
		})
	}
	flat := map[[32]byte]*Key{}
	var sums [][32]byte
	for i := range 100_000 {
		sum, _ := hash(fmt.Sprint(i))
		if flat[sum] = new(Key); i < 10_000 {
			sums = append(sums, sum)
		}
	}
	b.Run("one map of 100000, to compare", func(b *testing.B) {
		for i := 0; b.Loop(); i++ {
			if _, ok := flat[sums[i%len(sums)]]; !ok {
				b.Fatal("no key")
			}
		}
	})
}

func BenchmarkBuild(b *testing.B) {
	_, rows := filled(100_000)
	for b.Loop() {
		Build(1, rows)
	}
}

// A model is served by those of its targets whose provider keys are there.
func TestTargetsFollowTheirProviderKeys(t *testing.T) {
	b := NewBuilder()
	b.Put(Row{ID: "m", Value: &resource.Model{DisplayName: "nova-*", Targets: []resource.Target{
		{Name: "east", ModelName: "amazon.nova-*", ProviderKeyID: "one"}, {Name: "west", ModelName: "us.amazon.nova-*", ProviderKeyID: "two"}}}})
	serves := func(want string, left bool) {
		t.Helper()
		s, dropped := b.Snapshot(1)
		got := ""
		if m, ok := s.Model("nova-pro"); ok {
			for _, target := range m.Targets {
				got += target.Name + "=" + target.UpstreamID + "@" + target.ProviderKey.APIBase + " "
			}
		}
		if got != want || (len(dropped) > 0) != left {
			t.Errorf("served by %q, want %q; told %q", got, want, dropped)
		}
	}
	key := func(id, base string) {
		b.Put(Row{ID: id, Value: &resource.ProviderKey{DisplayName: id, APIBase: base}})
	}
	serves("", true)
	key("two", "http://two")
	serves("west=us.amazon.nova-pro@http://two ", true)
	key("one", "http://one")
	serves("east=amazon.nova-pro@http://one west=us.amazon.nova-pro@http://two ", false)
	key("one", "http://other")
	serves("east=amazon.nova-pro@http://other west=us.amazon.nova-pro@http://two ", false)
	b.Remove(resource.ProviderKeys, "one")
	serves("west=us.amazon.nova-pro@http://two ", true)
	b.Remove(resource.Models, "m")
	serves("", false)
}
