package snapshot

import (
	"cmp"
	"encoding/binary"
	"encoding/hex"
	"hash/maphash"
	"maps"
	"slices"
	"strings"
	"time"

	"aisix/admin/resource"
)

// Row is one resource as the store has it.
type Row struct {
	ID        string
	CreatedAt time.Time
	Value     resource.Resource
}

// Builder follows the store row by row, in any order, and gives a snapshot after each
// change: what that costs is what has changed since the one before. It is for one
// goroutine.
type Builder struct {
	keys  edit[[32]byte, *Key]
	exact edit[string, *Match]
	lists [2]list // all models by alias, and the wildcards

	apiKeys   map[string]answers
	models    map[string]*modelOf
	providers map[string]*resource.ProviderKey
	users     map[string]map[string]*modelOf // provider key id -> its models by id, those that are left out too

	left map[string]string // resources that can't be served -> why
	news []string          // those of them that the next snapshot tells
}

// answers are the hashes that an API key answers to: before, while a rotation's grace
// lasts.
type answers struct{ now, before answer }

type answer struct {
	hash [32]byte
	key  *Key // nil where there is none
}

// modelOf is a model and what became of it.
type modelOf struct {
	row   Row
	model *resource.Model
	match *Match            // nil while its provider key is missing
	ats   []*resource.Model // at
}

// list is matches in an order, and what changes in it.
type list struct {
	now     []*Match // never changed in place: snapshots have it
	out, in map[*Match]bool
	compare func(a, b *Match) int
}

func newList(compare func(a, b *Match) int) list {
	return list{out: map[*Match]bool{}, in: map[*Match]bool{}, compare: compare}
}

const allModels, wildcards = 0, 1

var seed = maphash.MakeSeed()

// NewBuilder begins with nothing.
func NewBuilder() *Builder {
	return &Builder{
		keys:      newEdit[[32]byte, *Key](func(hash [32]byte) int { return int(binary.LittleEndian.Uint16(hash[:]) % shards) }),
		exact:     newEdit[string, *Match](func(alias string) int { return int(maphash.String(seed, alias) % shards) }),
		lists:     [2]list{newList(byAlias), newList(byLength)},
		apiKeys:   map[string]answers{},
		models:    map[string]*modelOf{},
		providers: map[string]*resource.ProviderKey{},
		users:     map[string]map[string]*modelOf{},
		left:      map[string]string{},
	}
}

// Build compiles rows. A model whose provider key is not among them is left out; so is
// an API key whose hash is no SHA-256. dropped names what was left out, for the
// operator's log.
func Build(revision int64, rows []Row) (s *Snapshot, dropped []string) {
	b := NewBuilder()
	for _, r := range rows {
		b.Put(r)
	}
	return b.Snapshot(revision)
}

// Snapshot gives what has been put, at a revision. dropped names what is left out
// since the last one, and was not before.
func (b *Builder) Snapshot(revision int64) (s *Snapshot, dropped []string) {
	s = &Snapshot{Revision: revision, keys: b.keys.share(), exact: b.exact.share(),
		sorted: b.lists[allModels].merge(), wildcards: b.lists[wildcards].merge()}
	slices.Sort(b.news)
	for _, what := range slices.Compact(b.news) {
		if why, still := b.left[what]; still {
			dropped = append(dropped, what+": "+why)
		}
	}
	b.news = b.news[:0]
	return s, dropped
}

// Put adds a resource, or replaces the one with its id.
func (b *Builder) Put(r Row) {
	switch v := r.Value.(type) {
	case *resource.ProviderKey:
		b.putProviderKey(r.ID, v)
	case *resource.Model:
		b.removeModel(r.ID)
		m := &modelOf{row: r, model: v}
		b.models[r.ID] = m
		for id := range v.ProviderKeys() {
			if b.users[id] == nil {
				b.users[id] = map[string]*modelOf{}
			}
			b.users[id][r.ID] = m
		}
		b.match(m)
	case *resource.APIKey:
		b.removeAPIKey(r.ID)
		b.putAPIKey(r.ID, v)
	}
}

// Remove takes a resource away. It need not be there.
func (b *Builder) Remove(kind resource.Kind, id string) {
	switch kind {
	case resource.ProviderKeys:
		b.removeProviderKey(id)
	case resource.Models:
		b.removeModel(id)
	case resource.APIKeys:
		b.removeAPIKey(id)
	}
}

// leave takes note of what can't be served, and why ("": it can).
func (b *Builder) leave(kind resource.Kind, id, why string) {
	if why == "" && len(b.left) == 0 {
		return
	}
	what := string(kind) + "/" + id
	if why == "" {
		delete(b.left, what)
		return
	}
	if b.left[what] != why {
		b.left[what] = why
		b.news = append(b.news, what)
	}
}

func (b *Builder) putAPIKey(id string, v *resource.APIKey) {
	hash, ok := decodeHash(v.KeyHash)
	if !ok {
		b.leave(resource.APIKeys, id, "key_hash is no SHA-256")
		return
	}
	allowed := make([]glob, len(v.AllowedModels))
	for i, p := range v.AllowedModels {
		allowed[i] = newGlob(p)
	}
	a := answers{now: answer{hash, &Key{ID: id, APIKey: v, allowed: allowed}}}
	if v.Previous != nil {
		if old, ok := decodeHash(v.Previous.KeyHash); ok {
			graced := *v
			if v.ExpiresAt == nil || v.Previous.ValidUntil.Before(*v.ExpiresAt) {
				until := v.Previous.ValidUntil
				graced.ExpiresAt = &until
			}
			a.before = answer{old, &Key{ID: id, APIKey: &graced, allowed: allowed}}
			b.keys.set(a.before.hash, a.before.key)
		}
	}
	b.keys.set(a.now.hash, a.now.key)
	b.apiKeys[id] = a
	b.leave(resource.APIKeys, id, "")
}

// removeAPIKey takes away what is still the key's own: a name that was free again may
// have been taken by another, whose row came first.
func (b *Builder) removeAPIKey(id string) {
	all := b.apiKeys[id]
	for _, a := range [2]answer{all.now, all.before} {
		if a.key != nil {
			b.keys.remove(a.hash, func(k *Key) bool { return k == a.key })
		}
	}
	delete(b.apiKeys, id)
	b.leave(resource.APIKeys, id, "")
}

func (b *Builder) removeModel(id string) {
	m := b.models[id]
	if m == nil {
		return
	}
	b.unmatch(m)
	delete(b.models, id)
	for key := range m.model.ProviderKeys() {
		users := b.users[key]
		if delete(users, id); len(users) == 0 {
			delete(b.users, key)
		}
	}
	b.leave(resource.Models, id, "")
}

func (b *Builder) putProviderKey(id string, k *resource.ProviderKey) {
	_, replaces := b.providers[id]
	b.providers[id] = k
	if replaces {
		b.rematch(id, k)
		return
	}
	for _, m := range b.users[id] {
		b.unmatch(m) // others of its targets may be in force
		b.match(m)
	}
}

func (b *Builder) removeProviderKey(id string) {
	if _, ok := b.providers[id]; !ok {
		return
	}
	delete(b.providers, id)
	for _, m := range b.users[id] {
		b.unmatch(m)
		b.match(m)
	}
}

// rematch gives the models of a provider key its new form. They stay in their places:
// there may be thousands.
func (b *Builder) rematch(id string, k *resource.ProviderKey) {
	if len(b.users[id]) == 0 {
		return
	}
	fresh := make([]Match, 0, len(b.users[id]))
	replace := func(old *Match) *Match {
		m := b.models[old.ModelID]
		if m.match == old {
			fresh = append(fresh, *old)
			m.match = &fresh[len(fresh)-1]
			m.match.renew(id, k)
			if now, _ := b.exact.get(old.Alias); now == old {
				b.exact.set(old.Alias, m.match)
			}
		}
		return m.match
	}
	for i := range b.lists { // the second has some of the first
		l := &b.lists[i]
		l.now = slices.Clone(l.merge())
		for j, m := range l.now {
			if m.uses(id) {
				l.now[j] = replace(m)
			}
		}
	}
}

// match puts a model in force, if its provider key is there: one of them, where it has
// several targets.
func (b *Builder) match(m *modelOf) {
	v := m.model
	first, targets := v, b.targets(m)
	switch {
	case targets != nil:
		first = targets[0].Model
	case v.Targets != nil || b.providers[v.ProviderKeyID] == nil:
		b.leave(resource.Models, m.row.ID, "its provider key is missing or unusable")
		return
	}
	m.match = &Match{ModelID: m.row.ID, Model: v, Alias: v.DisplayName, UpstreamID: first.ModelName,
		ProviderKeyID: first.ProviderKeyID, ProviderKey: b.providers[first.ProviderKeyID], CreatedAt: m.row.CreatedAt, Targets: targets, alias: newGlob(v.DisplayName)}
	b.lists[allModels].in[m.match] = true
	if m.match.alias.star {
		b.lists[wildcards].in[m.match] = true
	} else {
		b.exact.set(m.match.Alias, m.match)
	}
	why := ""
	if len(targets) < len(v.Targets) {
		why = "some of its targets are not asked: their provider keys are missing or unusable"
	}
	b.leave(resource.Models, m.row.ID, why)
}

// targets are those of a model whose provider keys are there.
func (b *Builder) targets(m *modelOf) (all []*Target) {
	for i := range m.model.Targets {
		t := &m.model.Targets[i]
		k, ok := b.providers[t.ProviderKeyID]
		if !ok {
			continue
		}
		at := m.at(i)
		all = append(all, &Target{ID: TargetID(m.row.ID, t.Name), Name: t.Name, Weight: t.Share(), Priority: t.Priority,
			Model: at, UpstreamID: at.ModelName, ProviderKeyID: t.ProviderKeyID, ProviderKey: k})
	}
	return all
}

// at is the model at its i-th target: the same one as long as the model is.
func (m *modelOf) at(i int) *resource.Model {
	if m.ats == nil {
		m.ats = make([]*resource.Model, len(m.model.Targets))
	}
	if m.ats[i] == nil {
		m.ats[i] = m.model.At(&m.model.Targets[i])
	}
	return m.ats[i]
}

// uses reports whether a provider key is the match's.
func (m *Match) uses(keyID string) bool {
	return m.ProviderKeyID == keyID || slices.ContainsFunc(m.Targets, func(t *Target) bool { return t.ProviderKeyID == keyID })
}

// renew gives the match another form of a provider key of its own.
func (m *Match) renew(keyID string, k *resource.ProviderKey) {
	if m.ProviderKeyID == keyID {
		m.ProviderKey = k
	}
	if m.Targets == nil {
		return
	}
	targets := make([]*Target, len(m.Targets))
	for i, t := range m.Targets {
		target := *t
		if t.ProviderKeyID == keyID {
			target.ProviderKey = k
		}
		targets[i] = &target
	}
	m.Targets = targets
}

func (b *Builder) unmatch(m *modelOf) {
	old := m.match
	if old == nil {
		return
	}
	m.match = nil
	b.lists[allModels].remove(old)
	if old.alias.star {
		b.lists[wildcards].remove(old)
	} else {
		b.exact.remove(old.Alias, func(m *Match) bool { return m == old })
	}
}

// remove takes m out, which may have come in since the last merge.
func (l *list) remove(m *Match) {
	if l.in[m] {
		delete(l.in, m)
	} else {
		l.out[m] = true
	}
}

// merge is the list with what has changed.
func (l *list) merge() []*Match {
	if len(l.out) == 0 && len(l.in) == 0 {
		return l.now
	}
	out, in := slices.SortedFunc(maps.Keys(l.out), l.compare), slices.SortedFunc(maps.Keys(l.in), l.compare)
	merged := make([]*Match, 0, len(l.now)-len(out)+len(in))
	for _, m := range l.now {
		if len(out) > 0 && m == out[0] {
			out = out[1:]
			continue
		}
		for len(in) > 0 && l.compare(in[0], m) < 0 {
			merged, in = append(merged, in[0]), in[1:]
		}
		merged = append(merged, m)
	}
	l.now = append(merged, in...)
	l.out, l.in = map[*Match]bool{}, map[*Match]bool{} // new: what is cleared stays as large as it was
	return l.now
}

func byAlias(a, b *Match) int {
	return cmp.Or(strings.Compare(a.Alias, b.Alias), strings.Compare(a.ModelID, b.ModelID))
}

// byLength puts the longest literal part first.
func byLength(a, b *Match) int {
	return cmp.Or(
		cmp.Compare(len(b.Alias), len(a.Alias)),
		cmp.Compare(len(b.alias.prefix), len(a.alias.prefix)),
		byAlias(a, b))
}

func decodeHash(s string) (hash [32]byte, ok bool) {
	if len(s) != hex.EncodedLen(len(hash)) {
		return hash, false
	}
	_, err := hex.Decode(hash[:], []byte(s))
	return hash, err == nil
}
