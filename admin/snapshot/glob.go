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

// meets tells whether alias g and pattern p have a name in common. g's star
// captures as an alias does.
func (g glob) meets(p glob) bool {
	switch {
	case !g.star:
		return p.match(g.prefix)
	case !p.star:
		capture, ok := g.capture(p.prefix)
		return ok && capturable(capture)
	default:
		return agree(g.prefix, p.prefix, strings.HasPrefix) && agree(g.suffix, p.suffix, strings.HasSuffix)
	}
}

func agree(a, b string, has func(s, part string) bool) bool { return has(a, b) || has(b, a) }
