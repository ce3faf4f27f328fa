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
	Known  *known        `json:"known,omitempty"`
}

type need struct {
	ID       string `json:"id"`
	Revision string `json:"revision"`
}

type known struct {
	Epoch    string `json:"epoch"`
	Revision int64  `json:"revision"`
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

// Delete removes a resource that nothing refers to, also one that can't be read.
func (s *Store) Delete(ctx context.Context, kind resource.Kind, id string, cond Condition) error {
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
		op := operation{Kind: kind, ID: id, Expect: strconv.FormatInt(old.Revision, 10)}
		if kind == resource.ProviderKeys {
			op.Unused = id
		}
		if old.Value != nil {
			op.Free = old.Value.Names()
			if m, ok := old.Value.(*resource.Model); ok {
				op.Unlink = []string{useOf(m.ProviderKeyID, id)}
			}
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
	if op.Kind != resource.Models {
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
	canary, err := s.sealer.seal(canaryKey(), []byte(canaryText))
	if err != nil {
		return 0, err
	}
	op.Epoch = uuid.NewString()
	at := s.known.Load()
	if at != nil {
		op.Known = &known{at.epoch, at.revision}
	}
	arg, err := json.Marshal(op)
	if err != nil {
		return 0, err
	}
	bounded, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	keys := []string{revisionKey(), epochKey(), rowsKey(op.Kind), orderKey(op.Kind), namesKey(op.Kind), rowsKey(resource.ProviderKeys), usesKey(), canaryKey(),
		witnessesKey(), replacedKey()}
	answer, err := writeScript.Run(bounded, s.redis, keys, arg, row, channel(), canary.text()).Slice()
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
		e := &TakenError{Name: answer[1].(string), Pointer: "/display_name"}
		if op.Kind == resource.APIKeys {
			e.Pointer = "/key_hash"
		}
		return 0, e
	case "used":
		pointer := "/provider" // what models carry too
		if row == "" {
			pointer = ""
		}
		return 0, s.inUse(ctx, answer[1:], pointer)
	default: // moved, needs
		return 0, errAgain
	}
}

// inUse names the models of members of uses.
func (s *Store) inUse(ctx context.Context, members []any, pointer string) error {
	e := &InUseError{Pointer: pointer}
	for _, member := range members {
		_, id, _ := strings.Cut(member.(string), "/")
		m, err := s.Get(ctx, resource.Models, id)
		var unreadable *UnreadableError
		switch {
		case errors.Is(err, ErrNotFound):
			continue
		case errors.As(err, &unreadable):
			e.Models = append(e.Models, id)
			continue
		case err != nil:
			return err
		}
		e.Models = append(e.Models, m.Value.(*resource.Model).DisplayName)
	}
	if len(e.Models) == 0 {
		return errAgain // they have gone since
	}
	return e
}
