package snapshot

import "strings"

// glob is a pattern with at most one *, which stands for any text, none included.
type glob struct {
	prefix, suffix string // around the star; without one the whole is the prefix
	star           bool
}

func newGlob(pattern string) glob {
	prefix, suffix, star := strings.Cut(pattern, "*")
	return glob{prefix: prefix, suffix: suffix, star: star}
}

func (g glob) match(s string) bool {
	_, ok := g.capture(s)
	return ok
}

// capture is what the star stands for in s.
func (g glob) capture(s string) (string, bool) {
	if !g.star {
		return "", s == g.prefix
	}
	if len(s) < len(g.prefix)+len(g.suffix) || !strings.HasPrefix(s, g.prefix) || !strings.HasSuffix(s, g.suffix) {
		return "", false
	}
	return s[len(g.prefix) : len(s)-len(g.suffix)], true
}

// meets reports whether alias g and pattern p have a name in common. g's star
// captures as an alias does.
func (g glob) meets(p glob) bool {
	switch {
	case !g.star:
		return p.match(g.prefix)
	case !p.star:
		capture, ok := g.capture(p.prefix)
		return ok && capturable(capture)
	case !agree(g.prefix, p.prefix, strings.HasPrefix) || !agree(g.suffix, p.suffix, strings.HasSuffix):
		return false // as most do not
	}
	// A capture longer than both of p's ends is bound by nothing more.
	for n := 1; n <= min(maxCapture, len(p.prefix)+len(p.suffix)+1); n++ {
		if g.meetsWith(n, p) {
			return true
		}
	}
	return false
}

func agree(a, b string, has func(s, part string) bool) bool { return has(a, b) || has(b, a) }

// meetsWith is meets for captures of n bytes: name holds what g and p fix, and zero
// where anything may stand.
func (g glob) meetsWith(n int, p glob) bool {
	name := make([]byte, len(g.prefix)+n+len(g.suffix))
	if len(name) < len(p.prefix)+len(p.suffix) {
		return false
	}
	end := len(name) - len(g.suffix)
	for _, part := range []struct {
		at   int
		text string
	}{{0, g.prefix}, {end, g.suffix}, {0, p.prefix}, {len(name) - len(p.suffix), p.suffix}} {
		for i := range len(part.text) {
			if c := &name[part.at+i]; *c == 0 || *c == part.text[i] {
				*c = part.text[i]
			} else {
				return false
			}
		}
	}
	for _, c := range name[len(g.prefix):end] {
		if c != 0 && !inCapture(c) {
			return false
		}
	}
	return true
}
