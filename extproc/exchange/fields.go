package exchange

import (
	"net/http"
	"slices"
	"strings"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
)

// KeyValue is one header field. Keys are lower case.
type KeyValue struct{ Key, Value string }

// Fields are header fields in the order of the wire, without pseudo-headers.
type Fields []KeyValue

// Get is the first value of a field, "" when there is none. name may be in any
// case.
func (f Fields) Get(name string) string {
	for _, kv := range f {
		if strings.EqualFold(kv.Key, name) {
			return kv.Value
		}
	}
	return ""
}

// Values are all values of a field, nil when there is none.
func (f Fields) Values(name string) []string {
	var vs []string
	for _, kv := range f {
		if strings.EqualFold(kv.Key, name) {
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

// decodeFields parts a header map into pseudo-headers (given to pseudo, with the
// colon) and fields. Envoy puts values into raw_value; value is for fakes and
// older versions.
func decodeFields(m *corev3.HeaderMap, pseudo func(key, value string)) Fields {
	headers := m.GetHeaders()
	size := 0
	for _, h := range headers {
		size += len(h.GetRawValue())
	}
	var all strings.Builder // the raw values, in one piece
	all.Grow(size)
	fields := make(Fields, 0, len(headers))
	for _, h := range headers {
		v := h.GetValue()
		if raw := h.GetRawValue(); len(raw) > 0 {
			begin := all.Len()
			all.Write(raw)
			v = all.String()[begin:]
		}
		if strings.HasPrefix(h.GetKey(), ":") {
			if pseudo != nil {
				pseudo(h.GetKey(), v)
			}
			continue
		}
		fields = append(fields, KeyValue{strings.ToLower(h.GetKey()), v})
	}
	return fields
}

// trailers are a body's trailers that wait for their answer.
type trailers struct{ fields Fields }

func newTrailers(t *extprocv3.HttpTrailers) *trailers {
	return &trailers{decodeFields(t.GetTrailers(), nil)}
}

// emptied lets them go on without a field: nothing passes that was not listed.
func (t *trailers) emptied() *extprocv3.TrailersResponse {
	return &extprocv3.TrailersResponse{HeaderMutation: mutation(nil, t.fields)}
}

// mutation sets fields and removes every one of old that is not among them, so
// that nothing passes that was not listed. A name that is set twice keeps its
// last value.
func mutation(set []KeyValue, old Fields) *extprocv3.HeaderMutation {
	size := 0
	for _, kv := range set {
		size += len(kv.Value)
	}
	options := make([]headerOption, 0, len(set)) // never more: what points into them must stay
	values := make([]byte, 0, size)
	m := &extprocv3.HeaderMutation{SetHeaders: make([]*corev3.HeaderValueOption, 0, len(set))}
	for i := len(set) - 1; i >= 0; i-- { // backwards, so that the last value is the one kept
		key := strings.ToLower(set[i].Key)
		if sets(m, key) {
			continue
		}
		begin := len(values)
		values = append(values, set[i].Value...)
		options = append(options, headerOption{})
		m.SetHeaders = append(m.SetHeaders, options[len(options)-1].overwrite(key, values[begin:len(values):len(values)]))
	}
	for _, kv := range old {
		// Envoy refuses to remove host and pseudo-headers, and finds no route for a
		// request without x-forwarded-proto: that one is its routes' to remove.
		if kv.Key == "host" || kv.Key == "x-forwarded-proto" || strings.HasPrefix(kv.Key, ":") || sets(m, kv.Key) || slices.Contains(m.RemoveHeaders, kv.Key) {
			continue
		}
		if m.RemoveHeaders == nil {
			m.RemoveHeaders = make([]string, 0, len(old))
		}
		m.RemoveHeaders = append(m.RemoveHeaders, kv.Key)
	}
	return m
}

// sets reports whether m sets the field. There are few: Envoy takes no more than a
// hundred of a caller's, and we set a dozen.
func sets(m *extprocv3.HeaderMutation, key string) bool {
	for _, o := range m.SetHeaders {
		if o.Header.Key == key {
			return true
		}
	}
	return false
}

// headerOption is a HeaderValueOption in one piece.
type headerOption struct {
	option corev3.HeaderValueOption
	header corev3.HeaderValue
}

// overwrite always overwrites: the default of Envoy is to append, and then a
// caller's own copy of a header that steers routing stays beside ours.
func (o *headerOption) overwrite(key string, value []byte) *corev3.HeaderValueOption {
	o.header.Key, o.header.RawValue = key, value
	o.option.Header, o.option.AppendAction = &o.header, corev3.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD
	return &o.option
}
