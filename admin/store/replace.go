package store

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/redis/go-redis/v9"

	"aisix/admin/resource"
)

//go:embed replace.lua
var replaceSource string

var replaceScript = redis.NewScript(replaceSource)

// stagedLife is how long an interrupted Replace leaves what it had staged.
const stagedLife = time.Hour

// ErrFull is a store that has rows, where none may be overwritten.
var ErrFull = errors.New("the store has resources")

// Empty reports whether there is not a single row, lost ones or not.
func (s *Store) Empty(ctx context.Context) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	var lengths []*redis.IntCmd
	_, err := s.redis.Pipelined(ctx, func(p redis.Pipeliner) error {
		for _, kind := range resource.Kinds {
			lengths = append(lengths, p.HLen(ctx, rowsKey(kind)))
		}
		return nil
	})
	if err != nil && !redis.HasErrorPrefix(err, "WRONGTYPE") { // of another program: it is not empty
		return false, unavailable("look", err)
	}
	return !slices.ContainsFunc(lengths, func(n *redis.IntCmd) bool { return n.Err() != nil || n.Val() > 0 }), nil
}

// Replace puts the rows of a copy in force in place of all that the store holds, in one
// step, under a new epoch: it is an operator's word that the copy is meant, so whoever
// holds its store, or one that was lost meanwhile, takes it without being asked again.
// Nothing has changed where it fails. Errors: ErrMasterKey, ErrFull.
func (s *Store) Replace(ctx context.Context, c *Copy, overwrite bool) (revision int64, err error) {
	if err := s.checkCanary(c.Canary); err != nil {
		return 0, err
	}
	known := s.known.Load()
	stage := stage{store: s, prefix: prefix + "staged:" + uuid.NewString() + ":"}
	defer stage.drop(context.WithoutCancel(ctx))
	counts, err := stage.fill(ctx, c)
	if err != nil {
		return 0, err
	}
	next := uuid.NewString()
	keys := []string{revisionKey(), epochKey(), canaryKey(), witnessesKey(), replacedKey(), logKey(), usesKey(), stage.key(usesKey())}
	for _, kind := range resource.Kinds {
		for _, key := range [...]func(string) string{func(k string) string { return k }, stage.key} {
			keys = append(keys, key(rowsKey(kind)), key(orderKey(kind)), key(namesKey(kind)))
		}
	}
	allowed := ""
	if overwrite {
		allowed = "1"
	}
	args := []any{c.Epoch, c.Revision, next, s.now().UTC().Format(time.RFC3339), c.Canary, channel(), allowed, counts[0], len(c.Replaced)}
	for _, epoch := range slices.Sorted(maps.Keys(c.Replaced)) {
		args = append(args, epoch, c.Replaced[epoch])
	}
	for _, n := range counts[1:] {
		args = append(args, n)
	}
	bounded, cancel := context.WithTimeout(ctx, 30*time.Second) // what is overwritten is freed in it
	defer cancel()
	answer, err := replaceScript.Run(bounded, s.redis, keys, args...).Slice()
	if err != nil {
		return 0, unavailable("replace", err)
	}
	switch answer[0] {
	case "ok":
		revision = answer[1].(int64)
		s.remember(known, head{next, revision})
		return revision, nil
	case "full":
		return 0, ErrFull
	default:
		return 0, fmt.Errorf("replace: %w: what was staged has gone", ErrUnavailable)
	}
}

// stage is where rows and indexes wait, under keys of their own, to take their places.
type stage struct {
	store  *Store
	prefix string
	keys   []string
}

func (g *stage) key(of string) string { return g.prefix + of[len(prefix):] }

// fill stages a copy, and counts what it staged: uses, and then rows, ids and names of
// every kind.
func (g *stage) fill(ctx context.Context, c *Copy) (counts []int, err error) {
	counts = []int{0}
	uses := map[string]bool{}
	for _, kind := range resource.Kinds {
		names := map[string]string{}
		for page := range slices.Chunk(slices.Sorted(maps.Keys(c.Rows[kind])), pageSize) {
			var rows, taken []any
			var ids, used []redis.Z
			for _, id := range page {
				stored := c.Rows[kind][id]
				mine := []string{id} // of one that can't be read: it can still be deleted
				if e, err := g.store.decode(kind, id, stored, g.store.decodeRow); err == nil {
					mine = e.Value.Names()
					for _, use := range usesOf(e) {
						if !uses[use] {
							uses[use], used = true, append(used, redis.Z{Member: use})
						}
					}
				}
				for _, name := range mine {
					if holder, ok := names[name]; ok {
						return nil, fmt.Errorf("%s %s and %s have one name", kind.Row().One, holder, id)
					}
					names[name] = id
					taken = append(taken, name, id)
				}
				rows = append(rows, id, stored)
				ids = append(ids, redis.Z{Member: id})
			}
			if err := g.put(ctx, kind, rows, ids, taken, used); err != nil {
				return nil, err
			}
		}
		counts = append(counts, len(c.Rows[kind]), len(c.Rows[kind]), len(names))
	}
	for kind := range c.Rows {
		if !slices.Contains(resource.Kinds, kind) {
			return nil, fmt.Errorf("it holds %q, a kind of resource that this version does not know", kind)
		}
	}
	counts[0] = len(uses)
	return counts, nil
}

func (g *stage) put(ctx context.Context, kind resource.Kind, rows []any, ids []redis.Z, names []any, uses []redis.Z) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	_, err := g.store.redis.TxPipelined(ctx, func(p redis.Pipeliner) error {
		keep := func(key string) string {
			g.keys = append(g.keys, g.key(key))
			return g.key(key)
		}
		p.HSet(ctx, keep(rowsKey(kind)), rows...)
		p.ZAdd(ctx, keep(orderKey(kind)), ids...)
		p.HSet(ctx, keep(namesKey(kind)), names...)
		if len(uses) > 0 {
			p.ZAdd(ctx, keep(usesKey()), uses...)
		}
		for _, key := range g.keys[len(g.keys)-min(4, len(g.keys)):] {
			p.Expire(ctx, key, stagedLife)
		}
		return nil
	})
	if err != nil {
		return unavailable("stage", err)
	}
	return nil
}

// drop takes away what is still staged.
func (g *stage) drop(ctx context.Context) {
	if len(g.keys) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	slices.Sort(g.keys)
	g.store.redis.Unlink(ctx, slices.Compact(g.keys)...)
}
