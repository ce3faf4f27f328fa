package resource

import (
	"reflect"
	"slices"
	"strings"
	"time"

	"aisix/admin/strict"
)

// Kind names a kind of resource, and its collection, as the Admin API spells it.
type Kind string

// The kinds, for those to whom one means something of its own.
const (
	ProviderKeys Kind = "provider_keys"
	Models       Kind = "models"
	APIKeys      Kind = "apikeys"
)

// Table is all kinds; one stands behind those that it refers to. A new kind is a file
// with its struct and its row, and a line here.
var Table = []*Row{&providerKeys, &models, &apiKeys}

// A Row is what there is to know about a kind. What treats all kinds alike (decoding
// here, the routes and openapi.json in admin) reads it and knows none by name.
type Row struct {
	Kind   Kind
	Alias  string // another name of its collection, "" if none
	One    string // of them, for people: provider key
	Many   string
	Named  string // the member that holds its Names
	Refers []Reference
	// Bound is the member, "" if none, in which now differs from old although what
	// refers to it agrees with it in that: it stays as long as there is any. nil: none is.
	Bound  func(old, now Resource) string
	Secret *Sealed // nil: it has none
	Issues *Issue  // nil: the server makes no secrets for it

	body func() body     // a new one
	new  func() Resource // an empty one

	// What is kept beside the value, in clear, and not shown; nil: nothing is.
	beside func(Resource) any
	adjoin func(r Resource, beside []byte) error
}

// A Reference is a member that holds the id of a resource of another kind; there may be
// several.
type Reference struct {
	Member  string
	To      Kind
	IDs     func(Resource) []string
	Pointer func(r Resource, i int) string // to where the i-th of IDs stands
	// Misfit is the member, "" if none, in which r does not agree with what it refers
	// to, and how it does not.
	Misfit func(r, to Resource) (member, why string)
}

// Sealed is how a kind has a secret that no read shows: the members of a write that
// may hold it, and what a read shows of it instead, as secret_info.
type Sealed struct {
	Members []string
	info    func(Resource) any
	shows   reflect.Type                   // what info gives
	reveal  func(Resource) ([]byte, error) // the secret as JSON, to be sealed
	take    func(r Resource, secret []byte) error
}

// An Issue is how a kind has a secret of which only the hash is kept, so that whoever
// made it shows it once. The server makes it for a resource that was written without.
type Issue struct {
	Lacks  func(Resource) bool
	Give   func(r Resource, hash string)
	Rotate func(old Resource, hash string, grace time.Time) Resource // zero: old's secret ends at once
}

// body is what a write may hold, as a struct for read. It becomes a resource in place
// of old, nil if there is none, and stays of no further use.
type body interface {
	resource(old Resource) (Resource, *strict.Error)
}

// Resource is a value of one of the kinds.
type Resource interface {
	Kind() Kind
	// Names are the names that no other resource of the kind may have.
	Names() []string
	sealed()
}

// Kinds are the kinds of the table, in its order.
var Kinds = func() (kinds []Kind) {
	for _, row := range Table {
		kinds = append(kinds, row.Kind)
	}
	return kinds
}()

// ReferredBy are the kinds that refer to this one.
func (r *Row) ReferredBy() (kinds []Kind) {
	for _, row := range Table {
		if slices.ContainsFunc(row.Refers, func(f Reference) bool { return f.To == r.Kind }) {
			kinds = append(kinds, row.Kind)
		}
	}
	return kinds
}

// Title is One as one word, for programs: ProviderKey. It is also the name of the
// kind's struct.
func (r *Row) Title() string { return title(r.One) }

// Titles is Many as one word.
func (r *Row) Titles() string { return title(r.Many) }

func title(words string) string {
	one := ""
	for word := range strings.FieldsSeq(words) {
		one += strings.ToUpper(word[:1]) + word[1:]
	}
	return one
}

// Row is the kind's row, nil if there is no such kind.
func (k Kind) Row() *Row {
	for _, row := range Table {
		if row.Kind == k {
			return row
		}
	}
	return nil
}
