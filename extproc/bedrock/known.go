package bedrock

import lru "github.com/hashicorp/golang-lru/v2"

// known keeps what familiesJSON says of the base ids that were asked for last: to find
// it takes all of compiling a model but a few microseconds, and many models are of few
// ids. Nobody changes what it holds. Captures of wildcards come from callers, so it is
// bounded.
var known, _ = lru.New[string, *family](1024) // fails without a size only

// knownFamily is familyOf, found once.
func knownFamily(id, api string) *family {
	key := id + " " + api
	if f, ok := known.Get(key); ok {
		return f
	}
	f := familyOf(id, api)
	known.Add(key, &f)
	return &f
}
