// Package store keeps resources in Redis.
//
// It knows the keys, the atomic write script with its revision, uniqueness and
// references, how secrets are sealed, and how a change reaches a snapshot. It knows
// no HTTP, and takes values as already validated by admin/resource. Callers: admin
// (reads and writes), extproc's wiring (Watch; it needs no right to write).
package store

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/redis/go-redis/v9"

	"aisix/admin/resource"
)

// timeout bounds one round trip: Redis away must be an answer, not a wait.
const timeout = 2 * time.Second

// Entry is a resource with what the store knows about it.
type Entry struct {
	ID        string
	Revision  int64 // the store-wide write counter at this entry's last write
	CreatedAt time.Time
	UpdatedAt time.Time
	Value     resource.Resource
}

// Store reads and writes resources. Errors are the ones of this package, or wrap
// ErrUnavailable when Redis did not answer as it should.
type Store struct {
	redis  redis.UniversalClient
	sealer *Sealer
	now    func() time.Time
	log    *slog.Logger

	masterKey atomic.Bool // it was seen to fit
}

// New makes a store. The client should have ContextTimeoutEnabled, so that a silent
// Redis is noticed within the store's own two seconds.
func New(client redis.UniversalClient, sealer *Sealer) *Store {
	return &Store{redis: client, sealer: sealer, now: time.Now, log: slog.Default()}
}

// The errors that a write can meet.
var (
	ErrNotFound    = errors.New("resource not found")
	ErrMoved       = errors.New("the resource has moved on")
	ErrUnavailable = errors.New("the store is not available")
)

// TakenError is a name that another resource of the kind has.
type TakenError struct{ Name string }

func (e *TakenError) Error() string {
	return fmt.Sprintf("name %q already in use by another resource", e.Name)
}

// InUseError is a provider key that models refer to.
type InUseError struct{ Models []string } // their display names

func (e *InUseError) Error() string {
	return "provider key is in use by models: " + strings.Join(e.Models, ", ")
}

// ReferenceError is a reference that does not hold.
type ReferenceError struct {
	Pointer string // JSON pointer of the member
	Message string
}

func (e *ReferenceError) Error() string { return e.Message }

// Condition tells whether a write may go on, given the stored revision. nil always
// may.
type Condition func(revision int64) bool

//go:embed write.lua
var writeSource string

var writeScript = redis.NewScript(writeSource)

// operation is the first argument of write.lua.
type operation struct {
	Kind   resource.Kind `json:"kind"`
	ID     string        `json:"id"`
	Expect string        `json:"expect"`
	Free   []string      `json:"free,omitempty"`
	Take   []string      `json:"take,omitempty"`
	Unlink []string      `json:"unlink,omitempty"`
	Link   []string      `json:"link,omitempty"`
	Need   *need         `json:"need,omitempty"`
	Unused string        `json:"unused,omitempty"`
	Epoch  string        `json:"epoch"`
}

type need struct {
	ID       string `json:"id"`
	Revision string `json:"revision"`
}

// Create stores a new resource under a new id.
func (s *Store) Create(ctx context.Context, value resource.Resource) (*Entry, error) {
	id, err := uuid.NewV7() // in the order of creation, so that ids sort oldest first
	if err != nil {
		return nil, err
	}
	now := s.now().UTC().Truncate(time.Millisecond)
	e := &Entry{ID: id.String(), CreatedAt: now, UpdatedAt: now, Value: value}
	for {
		err := s.write(ctx, nil, e)
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
func (s *Store) Update(ctx context.Context, kind resource.Kind, id string, cond Condition, change func(*Entry) (resource.Resource, error)) (*Entry, error) {
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
		if err = s.write(ctx, old, e); err == nil {
			return e, nil
		}
		if !errors.Is(err, errAgain) {
			return nil, err
		}
	}
}

// Delete removes a resource that nothing refers to.
func (s *Store) Delete(ctx context.Context, kind resource.Kind, id string, cond Condition) error {
	for {
		old, err := s.Get(ctx, kind, id)
		if err != nil {
			return err
		}
		if cond != nil && !cond(old.Revision) {
			return ErrMoved
		}
		op := operation{Kind: kind, ID: id, Expect: strconv.FormatInt(old.Revision, 10), Free: old.Value.Names()}
		switch v := old.Value.(type) {
		case *resource.ProviderKey:
			op.Unused = id
		case *resource.Model:
			op.Unlink = []string{useOf(v.ProviderKeyID, id)}
		}
		if _, err = s.apply(ctx, op, ""); !errors.Is(err, errAgain) {
			return err
		}
	}
}

// errAgain is a write that was decided on what is no longer so.
var errAgain = errors.New("read again and write again")

// write stores e in place of old (nil: none), and sets e.Revision.
func (s *Store) write(ctx context.Context, old, e *Entry) error {
	kind := e.Value.Kind()
	op := operation{Kind: kind, ID: e.ID, Expect: "0", Take: e.Value.Names()}
	if old != nil {
		op.Expect = strconv.FormatInt(old.Revision, 10)
		for _, name := range old.Value.Names() {
			if !slices.Contains(op.Take, name) {
				op.Free = append(op.Free, name)
			}
		}
	}
	switch v := e.Value.(type) {
	case *resource.Model:
		n, err := s.reference(ctx, v)
		if err != nil {
			return err
		}
		op.Need, op.Link = n, []string{useOf(v.ProviderKeyID, e.ID)}
		if old != nil {
			op.Unlink = []string{useOf(old.Value.(*resource.Model).ProviderKeyID, e.ID)}
		}
	case *resource.ProviderKey:
		if old != nil && old.Value.(*resource.ProviderKey).Provider != v.Provider {
			op.Unused = e.ID // its models carry the label that they were checked against
		}
	}
	row, err := s.encode(e)
	if err != nil {
		return err
	}
	e.Revision, err = s.apply(ctx, op, string(row))
	return err
}

// reference checks what a model refers to, and pins it for the script.
func (s *Store) reference(ctx context.Context, m *resource.Model) (*need, error) {
	e, err := s.Get(ctx, resource.ProviderKeys, m.ProviderKeyID)
	if errors.Is(err, ErrNotFound) {
		return nil, &ReferenceError{Pointer: "/provider_key_id", Message: "provider_key_id names no provider key"}
	}
	if err != nil {
		return nil, err
	}
	if e.Value.(*resource.ProviderKey).Provider != m.Provider {
		return nil, &ReferenceError{Pointer: "/provider", Message: "provider differs from the provider key's"}
	}
	return &need{ID: e.ID, Revision: strconv.FormatInt(e.Revision, 10)}, nil
}

// apply runs write.lua once and tells its answer.
func (s *Store) apply(ctx context.Context, op operation, row string) (revision int64, err error) {
	if err := s.useMasterKey(ctx); err != nil {
		return 0, err
	}
	op.Epoch = uuid.NewString()
	arg, err := json.Marshal(op)
	if err != nil {
		return 0, err
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	keys := []string{revisionKey(), epochKey(), rowsKey(op.Kind), orderKey(op.Kind), namesKey(op.Kind), rowsKey(resource.ProviderKeys), usesKey()}
	answer, err := writeScript.Run(ctx, s.redis, keys, arg, row, channel()).Slice()
	if err != nil {
		return 0, unavailable("write", err)
	}
	switch answer[0] {
	case "ok":
		return answer[1].(int64), nil
	case "taken":
		return 0, &TakenError{Name: answer[1].(string)}
	case "used":
		return 0, s.inUse(ctx, answer[1:])
	default: // moved, needs
		return 0, errAgain
	}
}

// inUse names the models of members of uses.
func (s *Store) inUse(ctx context.Context, members []any) error {
	e := &InUseError{}
	for _, member := range members {
		_, id, _ := strings.Cut(member.(string), "/")
		m, err := s.Get(ctx, resource.Models, id)
		if errors.Is(err, ErrNotFound) {
			continue
		}
		if err != nil {
			return err
		}
		e.Models = append(e.Models, m.Value.(*resource.Model).DisplayName)
	}
	return e
}

// Get reads one resource; ErrNotFound if there is none.
func (s *Store) Get(ctx context.Context, kind resource.Kind, id string) (*Entry, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	stored, err := s.redis.HGet(ctx, rowsKey(kind), id).Result()
	if errors.Is(err, redis.Nil) {
		return nil, ErrNotFound
	}
	if err != nil {
		return nil, unavailable("get", err)
	}
	return s.decode(kind, id, stored)
}

// List reads up to limit resources (0: all), oldest first, behind the id after (""
// from the first). after need not exist any more.
func (s *Store) List(ctx context.Context, kind resource.Kind, after string, limit int) ([]*Entry, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	from := "-"
	if after != "" {
		from = "(" + after
	}
	ids, err := s.redis.ZRangeByLex(ctx, orderKey(kind), &redis.ZRangeBy{Min: from, Max: "+", Count: int64(limit)}).Result()
	if err != nil {
		return nil, unavailable("list", err)
	}
	list := []*Entry{}
	for batch := range slices.Chunk(ids, 512) {
		rows, err := s.redis.HMGet(ctx, rowsKey(kind), batch...).Result()
		if err != nil {
			return nil, unavailable("list", err)
		}
		for i, stored := range rows {
			if stored == nil { // deleted meanwhile
				continue
			}
			e, err := s.decode(kind, batch[i], stored.(string))
			if err != nil {
				return nil, err
			}
			list = append(list, e)
		}
	}
	return list, nil
}

// Revision is the store-wide write counter, 0 before the first write. It is also
// the question whether the store can be used: Redis answers, and holds what the
// sealer opens.
func (s *Store) Revision(ctx context.Context) (int64, error) {
	if err := s.useMasterKey(ctx); err != nil {
		return 0, err
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	n, err := s.redis.Get(ctx, revisionKey()).Int64()
	if err != nil && !errors.Is(err, redis.Nil) {
		return 0, unavailable("revision", err)
	}
	return n, nil
}

func unavailable(what string, err error) error {
	return fmt.Errorf("%s: %w: %w", what, ErrUnavailable, err)
}
