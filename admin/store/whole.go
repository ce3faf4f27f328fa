package store

import (
	"context"
	_ "embed"
	"fmt"
	"strings"

	"github.com/redis/go-redis/v9"

	"aisix/admin/resource"
)

//go:embed whole.lua
var wholeSource string

// standing is where a store stands, and whether it is all there.
type standing struct {
	head
	gap string // what does not agree in it, "" of a store that is whole
}

// tally is the question for a standing. It costs the same whatever the store holds.
// What asks it asks in a transaction: a write changes rows and indexes in one step.
type tally struct {
	at    *redis.SliceCmd
	kinds map[resource.Kind][3]*redis.IntCmd // rows, ids, names
}

func queueTally(ctx context.Context, p redis.Pipeliner) *tally {
	t := &tally{at: p.MGet(ctx, epochKey(), revisionKey()), kinds: map[resource.Kind][3]*redis.IntCmd{}}
	for _, k := range resource.Kinds {
		t.kinds[k] = [3]*redis.IntCmd{p.HLen(ctx, rowsKey(k)), p.ZCard(ctx, orderKey(k)), p.HLen(ctx, namesKey(k))}
	}
	return t
}

func (t *tally) standing() (standing, error) {
	if err := t.at.Err(); err != nil {
		return standing{}, err
	}
	gap, err := t.gap()
	return standing{headOf(t.at.Val()), gap}, err
}

// gap names the kinds whose keys do not agree in number: some were evicted, deleted or
// written to by another program. A resource has a row, an id and a name, or two names
// after a rotation.
func (t *tally) gap() (string, error) {
	var gaps []string
	for _, k := range resource.Kinds {
		var n [3]int64
		for i, c := range t.kinds[k] {
			if c.Err() != nil {
				return "", c.Err()
			}
			n[i] = c.Val()
		}
		if rows, ids, names := n[0], n[1], n[2]; rows != ids || names < rows || names > 2*rows {
			gaps = append(gaps, fmt.Sprintf("%d rows, %d ids and %d names of %s (%s, %s, %s)", rows, ids, names, k.Row().Many, rowsKey(k), orderKey(k), namesKey(k)))
		}
	}
	return strings.Join(gaps, ", "), nil
}

// kindKeys are the keys that whole.lua compares.
func kindKeys() (keys []string) {
	for _, k := range resource.Kinds {
		keys = append(keys, rowsKey(k), orderKey(k), namesKey(k))
	}
	return keys
}
