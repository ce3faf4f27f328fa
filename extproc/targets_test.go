package extproc

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"aisix/admin/resource"
	"aisix/admin/snapshot"
)

// Ten thousand models asked for in turn are compiled once each: after that none costs an allocation.
func TestManyModelsStayCompiled(t *testing.T) {
	many, kept := models(10_000), newTargets()
	ask := func() {
		for _, m := range many {
			if _, err := kept.compiled(m.Model, m.ProviderKey, m.UpstreamID); err != nil {
				t.Fatal(err)
			}
		}
	}
	ask()
	if n := testing.AllocsPerRun(3, ask); n != 0 {
		t.Errorf("%v allocations for 10,000 models that are compiled already", n)
	}
}

// models are so many of their own, of few ids as in life.
func models(n int) []*snapshot.Match {
	all := make([]*snapshot.Match, n)
	for i := range all {
		all[i] = match(fmt.Sprintf("anthropic.claude-3-5-sonnet-%d-v2:0", 20240000+i%50))
	}
	return all
}

// What a request pays for its model, by how many there are.
func BenchmarkCompiled(b *testing.B) {
	for _, n := range []int{1, 1000, 10_000, 100_000} {
		b.Run(fmt.Sprintf("models=%d", n), func(b *testing.B) {
			many, kept := models(n), newTargets()
			for _, m := range many {
				if _, err := kept.compiled(m.Model, m.ProviderKey, m.UpstreamID); err != nil {
					b.Fatal(err)
				}
			}
			for b.Loop() {
				if _, err := kept.compiled(of(many[rand.IntN(n)])); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// of is what a match's model is compiled of.
func of(m *snapshot.Match) (*resource.Model, *resource.ProviderKey, string) {
	return m.Model, m.ProviderKey, m.UpstreamID
}
