package bedrock

import (
	"crypto/sha256"
	"encoding/hex"
	"strconv"
	"strings"

	"aisix/admin/resource"
	"aisix/extproc/bedrock/schema"
)

// maxName is how long a name may be at Bedrock, in bytes.
const maxName = 64

// legal reports whether Bedrock takes s as a tool's name and as a tool use's id.
func legal(s string) bool {
	return s != "" && len(s) <= maxName && strings.IndexFunc(s, notInName) < 0
}

// notInID is of what Converse takes as an id, which is more than a name.
func notInID(c rune) bool { return notInName(c) && c != '.' && c != ':' }

func notInName(c rune) bool { return !alphanumeric(c) && c != '_' && c != '-' }

func alphanumeric(c rune) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
}

// aliases gives names that Bedrock does not take another one, reversibly.
type aliases struct {
	names  []string // all of them
	legal  func(string) bool
	taken  map[string]bool   // names on the wire; made where one is asked for, since most requests have nothing to alias
	alias  map[string]string // name → alias
	origin map[string]string // alias → name
}

// newAliases aliases every illegal one of names of tools. Legal names stay, whatever
// order they come in: an alias never takes one of them.
func newAliases(names []string) *aliases { return aliasesOf(names, legal, "tool") }

// propertyAliases is schema's Alias: other names for the properties of one schema.
func propertyAliases(names []string) map[string]string {
	return aliasesOf(names, schema.LegalName, "property").alias
}

// aliasesOf is newAliases for names of any kind; one that has no letter becomes bare.
func aliasesOf(names []string, legal func(string) bool, bare string) *aliases {
	a := &aliases{names: names, legal: legal}
	for _, n := range names {
		if legal(n) {
			continue
		}
		if _, done := a.alias[n]; done {
			continue
		}
		if a.alias == nil {
			a.alias, a.origin = map[string]string{}, map[string]string{}
		}
		alias := a.free(or(sanitize(n), bare), n)
		a.alias[n], a.origin[alias] = alias, n
	}
	return a
}

// wire is the name that goes out.
func (a *aliases) wire(name string) string {
	if alias, ok := a.alias[name]; ok {
		return alias
	}
	return name
}

// free reserves a name that begins with stem and ends in a digest of seed: the
// same for the same name in every request, so that caches of prompts hit.
func (a *aliases) free(stem, seed string) string {
	for i := 0; ; i++ {
		once := seed
		if i > 0 { // somebody's own name ends so
			once += "#" + strconv.Itoa(i)
		}
		name := stem + "_" + digest(once)[:8]
		if a.take(name) {
			return name
		}
	}
}

// take takes a name, unless it is taken.
func (a *aliases) take(name string) bool {
	if a.taken == nil {
		a.taken = map[string]bool{}
		for _, n := range a.names {
			if a.legal(n) {
				a.taken[n] = true
			}
		}
	}
	if a.taken[name] {
		return false
	}
	a.taken[name] = true
	return true
}

// reserve is stem itself where no tool has that name, else a free one like it.
func (a *aliases) reserve(stem string) string {
	if a.take(stem) {
		return stem
	}
	return a.free(stem, stem)
}

// sanitize leaves room for a digest.
func sanitize(name string) string {
	s := strings.Trim(strings.Join(strings.FieldsFunc(name, notInName), "_"), "_")
	if len(s) > 55 {
		s = s[:55]
	}
	return s
}

// callID is the id on the wire of a tool use and its result. Some families take
// ids of one length, of letters and digits, and no others: not even those that
// Bedrock made for their own calls. Some write ids that Bedrock's pattern does not
// allow (functions.f:0) and read in them which call was which: they get any as it is,
// as long as Converse takes it.
func callID(id string, c *resource.Capabilities) string {
	length := c.CallIDLength
	switch {
	case length != nil && len(id) == *length && strings.IndexFunc(id, func(c rune) bool { return !alphanumeric(c) }) < 0:
		return id
	case length != nil:
		return digest(id)[:*length]
	case c.CallIDs == "any" && id != "" && len(id) <= maxName && strings.IndexFunc(id, notInID) < 0, legal(id):
		return id
	}
	return "call_" + digest(id)[:32]
}

// wireIDs are the ids of a conversation's calls on the wire, no two alike: some services
// count anew in each answer (call_0), and Claude refuses a conversation of such ("tool_use
// ids must be unique"). A result is of the last call that has its id, since it stands in the
// turn behind it.
type wireIDs struct {
	c    *resource.Capabilities
	uses map[string]int // of an id, so far
}

func (w *wireIDs) use(id string) string {
	if w.uses == nil {
		w.uses = map[string]int{}
	}
	w.uses[id]++
	return w.result(id)
}

func (w *wireIDs) result(id string) string {
	if n := w.uses[id]; n > 1 && w.c.CallIDs != "any" {
		id += "#" + strconv.Itoa(n) // no id of Bedrock's, so that it gets one
	}
	return callID(id, w.c)
}

func digest(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:])
}
