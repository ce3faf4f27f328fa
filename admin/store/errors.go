package store

import (
	"errors"
	"fmt"
	"strings"

	"aisix/admin/resource"
)

// The errors that a write can meet.
var (
	ErrNotFound    = errors.New("resource not found")
	ErrMoved       = errors.New("the resource has moved on")
	ErrUnavailable = errors.New("the store is not available")
)

// TakenError is a name that another resource of the kind has.
type TakenError struct {
	Name    string
	Pointer string // JSON pointer of the member that holds names
}

func (e *TakenError) Error() string {
	return fmt.Sprintf("name %q already in use by another resource", e.Name)
}

// InUseError is a resource that others refer to.
type InUseError struct {
	What    string   // it is, for people: provider key
	By      string   // what refers to it: models
	Names   []string // of some of them
	More    int64    // how many others there are
	Pointer string   // JSON pointer of the member that can't change; "" of a deletion
}

func (e *InUseError) Error() string {
	names := strings.Join(e.Names, ", ")
	if e.More > 0 {
		names += fmt.Sprintf(" and %d more", e.More)
	}
	return e.What + " is in use by " + e.By + ": " + names
}

// ReferenceError is a reference that does not hold.
type ReferenceError struct {
	Pointer string // JSON pointer of the member
	Message string
}

func (e *ReferenceError) Error() string { return e.Message }

// UnreadableError is a row that somebody else has written or corrupted. It can be
// deleted, and nothing else.
type UnreadableError struct {
	Kind resource.Kind
	ID   string
	Err  error

	revision int64 // 0 where even that is not there
}

func (e *UnreadableError) Error() string { return fmt.Sprintf("row %s/%s: %v", e.Kind, e.ID, e.Err) }
func (e *UnreadableError) Unwrap() error { return e.Err }

func unavailable(what string, err error) error {
	return fmt.Errorf("%s: %w: %w", what, ErrUnavailable, err)
}
