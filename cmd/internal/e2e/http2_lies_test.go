package e2e

import "testing"

// Where Envoy speaks HTTP/2 to the regions, and they share connections with one another's calls, what
// they do means the same: what can be served is, nothing is sent twice after its first byte, what came is
// signed for the host that it came to, and the records say what there was.
func TestRegionsThatLieByHTTP2(t *testing.T) {
	t.Parallel()
	g, seed := agreeing(t), seed(t)
	all := regionsThatLieBy(t, seed, true)
	t.Run("each once", func(t *testing.T) {
		t.Parallel()
		c := g.among(t, all, gap(map[string]any{}), nil)
		lied(t, c, all, load{calls: 100, seed: seed, tries: 7, rounds: 1})
	})
	t.Run("by egress from the start", func(t *testing.T) {
		t.Parallel()
		c := g.among(t, all, gap(map[string]any{"first_byte_timeout": 1000}), nil)
		lied(t, c, all, load{calls: 60, first: 4000, seed: seed, tries: 7, rounds: 1, direct: true})
	})
}

// A stream that is reset in mid-answer ends as a connection does that breaks.
func TestBrokenOffInMidAnswerByHTTP2(t *testing.T) {
	t.Parallel()
	brokenOff(t, agreeing(t), regionsThatLieBy(t, 1, true))
}
