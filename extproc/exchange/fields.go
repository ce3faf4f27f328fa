package exchange

import (
	"net/http"
	"strings"
)

// KeyValue is one header field. Keys are lower case.
type KeyValue struct{ Key, Value string }

// Fields are header fields in the order of the wire, without pseudo-headers.
type Fields []KeyValue

// Get is the first value of a field, "" when there is none. name may be in any
// case.
func (f Fields) Get(name string) string {
	for _, kv := range f {
		if len(kv.Key) == len(name) && strings.EqualFold(kv.Key, name) {
			return kv.Value
		}
	}
	return ""
}

// Values are all values of a field, nil when there is none.
func (f Fields) Values(name string) []string {
	var vs []string
	for _, kv := range f {
		if len(kv.Key) == len(name) && strings.EqualFold(kv.Key, name) {
			vs = append(vs, kv.Value)
		}
	}
	return vs
}

// Size is how many bytes the names and values take.
func (f Fields) Size() int64 {
	var n int
	for _, kv := range f {
		n += len(kv.Key) + len(kv.Value)
	}
	return int64(n)
}

// HTTP is a copy as an http.Header.
func (f Fields) HTTP() http.Header {
	h := make(http.Header, len(f))
	for _, kv := range f {
		h.Add(kv.Key, kv.Value)
	}
	return h
}

// trailers are a body's trailers that wait for their answer.
type trailers struct{ fields Fields }

// emptied lets them go on without a field: nothing passes that was not listed.
func (t *trailers) emptied(of kind) *answer { return mutation(of, nil, t.fields) }

// mutation is the answer that sets fields and removes every one of old that is not among
// them, so that nothing passes that was not listed.
func mutation(of kind, set []KeyValue, old Fields) *answer {
	a := (&answer{set: make([]KeyValue, 0, len(set)), remove: make([]string, 0, len(old))}).begin(of)
	for _, kv := range set {
		a.put(kv)
	}
	a.removeOthers(old)
	return a
}

// begin makes a an answer that changes nothing yet, in the room that it has.
func (a *answer) begin(of kind) *answer {
	clear(a.set) // what it holds is somebody's to free
	clear(a.remove)
	*a = answer{kind: of, set: a.set[:0], remove: a.remove[:0]}
	return a
}

// put sets a field. A name that is set twice keeps its last value.
func (a *answer) put(kv KeyValue) {
	kv.Key = strings.ToLower(kv.Key)
	for i := range a.set {
		if a.set[i].Key == kv.Key {
			a.set[i].Value = kv.Value
			return
		}
	}
	a.set = append(a.set, kv)
}

// removeOthers removes every field of old that is not set.
func (a *answer) removeOthers(old Fields) {
	for i, kv := range old {
		// Envoy refuses to remove host and pseudo-headers, and finds no route for a
		// request without x-forwarded-proto: that one is its routes' to remove.
		if kv.Key == "host" || kv.Key == "x-forwarded-proto" || has(a.set, kv.Key) || has(old[:i], kv.Key) {
			continue
		}
		a.remove = append(a.remove, kv.Key)
	}
}

// has reports whether one of fields has the name.
func has(fields []KeyValue, name string) bool {
	for i := range fields {
		if fields[i].Key == name {
			return true
		}
	}
	return false
}
