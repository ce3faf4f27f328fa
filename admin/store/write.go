package store

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/redis/go-redis/v9"

	"aisix/admin/resource"
)

// Actor is who writes, as the log of writes names them.
type Actor string

// Condition reports whether a write may go on, given the stored revision. nil always
// may.
type Condition func(revision int64) bool

//go:embed write.lua
var writeSource string

var writeScript = redis.NewScript(wholeSource + writeSource)

// operation is the first argument of write.lua.
type operation struct {
	By     Actor         `json:"by"`
	Kind   resource.Kind `json:"kind"`
	ID     string        `json:"id"`
	Expect string        `json:"expect"`
	Free   []string      `json:"free,omitempty"`
	Take   []string      `json:"take,omitempty"`
	Unlink []string      `json:"unlink,omitempty"`
	Link   []string      `json:"link,omitempty"`
	Needs  []need        `json:"needs,omitempty"`
	Unused string        `json:"unused,omitempty"`
	Epoch  string        `json:"epoch"`
	Known  *known        `json:"known,omitempty"`

	bound string // the member because of which nothing may use it; "" of a deletion
}

type need struct {
	kind     resource.Kind
	ID       string `json:"id"`
	Revision string `json:"revision"`
}

type known struct {
	Epoch    string `json:"epoch"`
	Revision int64  `json:"revision"`
}

// Create stores a new resource under a new id. Who writes it stands in the log of
// writes, as with every other write.
func (s *Store) Create(ctx context.Context, by Actor, value resource.Resource) (*Entry, error) {
	id, err := uuid.NewV7() // in the order of creation, so that ids sort oldest first
	if err != nil {
		return nil, err
	}
	now := s.now().UTC().Truncate(time.Millisecond)
	e := &Entry{ID: id.String(), CreatedAt: now, UpdatedAt: now, Value: value}
	for {
		err := s.write(ctx, by, nil, e)
		if err == nil {
			return e, nil
		}
		if !errors.Is(err, errAgain) {
			return nil, err
		}
		// The id is new: if it is there, a write of ours arrived whose answer was lost.
		if stored, err := s.Get(ctx, value.Kind(), e.ID); !errors.Is(err, ErrNotFound) {
			return stored, err
		}
	}
}

// Update replaces a resource by what change makes of it, again when somebody else
// was faster, unless the condition says otherwise. change may run more than once
// and must not keep or alter the value that it was given.
func (s *Store) Update(ctx context.Context, by Actor, kind resource.Kind, id string, cond Condition, change func(*Entry) (resource.Resource, error)) (*Entry, error) {
	for {
		old, err := s.Get(ctx, kind, id)
		if err != nil {
			return nil, err
		}
		if cond != nil && !cond(old.Revision) {
			return nil, ErrMoved
		}
		value, err := change(old)
		if err != nil {
			return nil, err
		}
		e := &Entry{ID: id, CreatedAt: old.CreatedAt, UpdatedAt: s.now().UTC().Truncate(time.Millisecond), Value: value}
		if err = s.write(ctx, by, old, e); err == nil {
			return e, nil
		}
		if !errors.Is(err, errAgain) {
			return nil, err
		}
	}
}

// Delete removes a resource that nothing refers to, also one that can't be read.
func (s *Store) Delete(ctx context.Context, by Actor, kind resource.Kind, id string, cond Condition) error {
	for {
		old, err := s.Get(ctx, kind, id)
		var unreadable *UnreadableError
		if errors.As(err, &unreadable) {
			old, err = &Entry{ID: id, Revision: unreadable.revision}, nil
		}
		if err != nil {
			return err
		}
		if cond != nil && !cond(old.Revision) {
			return ErrMoved
		}
		op := operation{By: by, Kind: kind, ID: id, Expect: strconv.FormatInt(old.Revision, 10)}
		if len(kind.Row().ReferredBy()) > 0 {
			op.Unused = id
		}
		if old.Value != nil {
			op.Free, op.Unlink = old.Value.Names(), usesOf(old)
		} else if err := s.traces(ctx, &op); err != nil {
			return err
		}
		if _, err = s.apply(ctx, op, ""); !errors.Is(err, errAgain) {
			return err
		}
	}
}

// traces adds what the indexes hold of a row that can't tell it itself.
func (s *Store) traces(ctx context.Context, op *operation) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	names, err := s.redis.HGetAll(ctx, namesKey(op.Kind)).Result()
	if err != nil {
		return unavailable("names", err)
	}
	for name, holder := range names {
		if holder == op.ID {
			op.Free = append(op.Free, name)
		}
	}
	if len(op.Kind.Row().Refers) == 0 {
		return nil
	}
	uses, err := s.redis.ZRange(ctx, usesKey(), 0, -1).Result()
	if err != nil {
		return unavailable("uses", err)
	}
	for _, use := range uses {
		if strings.HasSuffix(use, useOf("", op.ID)) {
			op.Unlink = append(op.Unlink, use)
		}
	}
	return nil
}

// errAgain is a write that was decided on what is no longer so.
var errAgain = errors.New("read again and write again")

// write stores e in place of old (nil: none), and sets e.Revision.
func (s *Store) write(ctx context.Context, by Actor, old, e *Entry) error {
	kind := e.Value.Kind()
	op := operation{By: by, Kind: kind, ID: e.ID, Expect: "0", Take: e.Value.Names(), Link: usesOf(e)}
	if old != nil {
		op.Expect = strconv.FormatInt(old.Revision, 10)
		for _, name := range old.Value.Names() {
			if !slices.Contains(op.Take, name) {
				op.Free = append(op.Free, name)
			}
		}
		op.Unlink = usesOf(old)
		if bound := kind.Row().Bound; bound != nil {
			if op.bound = bound(old.Value, e.Value); op.bound != "" {
				op.Unused = e.ID
			}
		}
	}
	var err error
	if op.Needs, err = s.references(ctx, e.Value); err != nil {
		return err
	}
	row, err := s.encode(e)
	if err != nil {
		return err
	}
	e.Revision, err = s.apply(ctx, op, string(row))
	return err
}

// usesOf are the members of uses that an entry has.
func usesOf(e *Entry) (uses []string) {
	for _, r := range e.Value.Kind().Row().Refers {
		for _, id := range r.IDs(e.Value) {
			if use := useOf(id, e.ID); !slices.Contains(uses, use) {
				uses = append(uses, use)
			}
		}
	}
	return uses
}

// references checks what a resource refers to, and pins it for the script.
func (s *Store) references(ctx context.Context, v resource.Resource) (needs []need, err error) {
	for _, r := range v.Kind().Row().Refers {
		seen := map[string]bool{}
		for i, id := range r.IDs(v) {
			if seen[id] {
				continue
			}
			seen[id] = true
			to, err := s.bare(ctx, r.To, id)
			if errors.Is(err, ErrNotFound) {
				return nil, &ReferenceError{Pointer: r.Pointer(v, i), Message: r.Member + " names no " + r.To.Row().One}
			}
			if err != nil {
				return nil, err
			}
			if member, why := r.Misfit(v, to.Value); member != "" {
				return nil, &ReferenceError{Pointer: "/" + member, Message: member + " " + why}
			}
			needs = append(needs, need{r.To, to.ID, strconv.FormatInt(to.Revision, 10)})
		}
	}
	return needs, nil
}

// apply runs write.lua once and tells its answer.
func (s *Store) apply(ctx context.Context, op operation, row string) (revision int64, err error) {
	if err := s.useMasterKey(ctx); err != nil {
		return 0, err
	}
	op.Epoch = uuid.NewString()
	at, canary := s.known.Load(), ""
	if at != nil {
		op.Known = &known{at.epoch, at.revision}
	} else {
		b, err := s.sealer.seal(canaryKey(), []byte(canaryText))
		if err != nil {
			return 0, err
		}
		canary = b.text()
	}
	arg, err := json.Marshal(op)
	if err != nil {
		return 0, err
	}
	bounded, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	keys := []string{revisionKey(), epochKey(), canaryKey(), usesKey(), witnessesKey(), replacedKey(), logKey(),
		rowsKey(op.Kind), orderKey(op.Kind), namesKey(op.Kind)}
	for _, n := range op.Needs {
		keys = append(keys, rowsKey(n.kind))
	}
	keys = append(keys, kindKeys()...)
	answer, err := writeScript.Run(bounded, s.redis, keys, arg, row, channel(), canary).Slice()
	if err != nil {
		return 0, unavailable("write", err)
	}
	switch answer[0] {
	case "ok":
		revision = answer[1].(int64)
		s.remember(at, head{answer[2].(string), revision})
		return revision, nil
	case "lost":
		if _, err := s.look(ctx, "write", nil); err != nil {
			return 0, err
		}
		return 0, errAgain // its data came back meanwhile
	case "taken":
		return 0, &TakenError{Name: answer[1].(string), Pointer: "/" + op.Kind.Row().Named}
	case "used":
		return 0, s.inUse(ctx, op, answer[1].(int64), answer[2:])
	default: // moved, needs
		return 0, errAgain
	}
}

// inUse names some of what uses op's resource, by count resources in all.
func (s *Store) inUse(ctx context.Context, op operation, count int64, members []any) error {
	ids := make([]string, len(members))
	for i, member := range members {
		_, ids[i], _ = strings.Cut(member.(string), "/")
	}
	e := &InUseError{What: op.Kind.Row().One, More: count - int64(len(members))}
	if op.bound != "" {
		e.Pointer = "/" + op.bound
	}
	for _, kind := range op.Kind.Row().ReferredBy() {
		rows, err := s.rows(ctx, kind, ids)
		if err != nil {
			return err
		}
		for i, stored := range rows {
			if stored == nil { // of another kind, or deleted meanwhile
				continue
			}
			name := ids[i]
			if used, err := s.decode(kind, ids[i], stored.(string), bareRow); err == nil {
				name = used.Value.Names()[0]
			}
			e.By, e.Names = kind.Row().Many, append(e.Names, name)
		}
	}
	if len(e.Names) == 0 {
		return errAgain // they have gone since
	}
	return e
}
