package extproc

import (
	"context"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"aisix/extproc/anthropic"
	"aisix/extproc/chat"
	"aisix/extproc/fault"
	"aisix/extproc/openai"
)

// operation is what callers may ask.
type operation struct {
	name    string // for logs and records
	dialect dialect
	open    bool // needs no key; nor is it recorded
	// anthropic is the operation in whose place it is for Anthropic's clients, whose
	// requests have an anthropic-version; nil where they ask elsewhere.
	anthropic *operation
	// run answers one call. It returns a fault to be told to the caller, or nil when
	// it has answered by itself.
	run func(ctx context.Context, c *call) error
}

// dialect is in whose API's shape an operation is asked. It follows from path and
// method, before anything is known of the caller, so that whoever is refused, for want
// of a key too, is told so in the shape that the caller's client reads.
type dialect interface {
	// Fault tells an error of the request that requestID names.
	Fault(f *fault.Error, requestID string) (status int, header http.Header, body []byte)
	// IDHeader is the field in which each of its answers tells the request's id, beside
	// ours; "" is none.
	IDHeader() string
}

// question is a dialect in which a conversation is put before a model.
type question interface {
	dialect
	Name() string // for records
	Parse(h chat.Header, body []byte) (chat.Asked, error)
}

// conversation is one in which the model is asked for an answer.
type conversation interface {
	question
	// InStream reports whether a fault of the upstream's, in place of a stream, is told as a
	// stream that fails at once: where clients act on it only so.
	InStream(f *fault.Error) bool
}

// counter is a dialect in which a prompt's tokens are counted.
type counter interface {
	question
	Count(tokens int64) []byte
}

// catalogue is a dialect in which models are listed.
type catalogue interface {
	dialect
	// List is the answer of a list, or of the part of it that query asks for.
	List(models []chat.Model, query url.Values) ([]byte, error)
	Object(m chat.Model) ([]byte, error)
}

// elsewhere is the dialect where there is no operation, and of the probes.
var elsewhere dialect = openai.API{}

// table is what callers may ask, by path and method. A path that ends in "/" takes what
// follows, slashes too (an alias may hold one).
type table map[string]map[string]operation

// operations is the table. Every operation that reaches Bedrock goes through arrive and
// reserve, so limits guard all of them.
func (s *Server) operations() table {
	live := operation{name: "livez", dialect: elsewhere, open: true, run: s.livez}
	ready := operation{name: "readyz", dialect: elsewhere, open: true, run: s.readyz}
	list, get := listModels(openai.Models{}), getModel(openai.Models{})
	anthropicList, anthropicGet := listModels(anthropic.Models{}), getModel(anthropic.Models{})
	list.anthropic, get.anthropic = &anthropicList, &anthropicGet
	return table{
		"/v1/chat/completions":      {http.MethodPost: s.converse(openai.Chat{})},
		"/v1/responses":             {http.MethodPost: s.converse(openai.Responses{})},
		"/v1/embeddings":            {http.MethodPost: s.embed(openai.Embeddings{})},
		"/v1/messages":              {http.MethodPost: s.converse(anthropic.Messages{})},
		"/v1/messages/count_tokens": {http.MethodPost: s.countTokens(anthropic.Count{})},
		"/v1/models":                {http.MethodGet: list},
		"/v1/models/":               {http.MethodGet: get},
		"/livez":                    {http.MethodGet: live, http.MethodHead: live},
		"/readyz":                   {http.MethodGet: ready, http.MethodHead: ready},
	}
}

// doors are the paths under which every answer is in one API's shape, that of what is not there too.
var doors = map[string]dialect{"/v1/messages": anthropic.API{}}

// dialectAt is in whose shape a caller is told that there is no operation at a path: its
// door's, else that of Anthropic's clients, who name their API's version.
func dialectAt(c *call) dialect {
	for door, d := range doors {
		if c.facts.Path == door || strings.HasPrefix(c.facts.Path, door+"/") {
			return d
		}
	}
	if c.header.Get("anthropic-version") != "" {
		return anthropic.API{}
	}
	return elsewhere
}

// String lists what needs a key, for who has one and asked for something else.
func (t table) String() string {
	var all []string
	for _, path := range slices.Sorted(maps.Keys(t)) {
		for _, method := range slices.Sorted(maps.Keys(t[path])) {
			if t[path][method].open {
				continue
			}
			name := method + " " + path
			if strings.HasSuffix(path, "/") {
				name += "{id}"
			}
			all = append(all, name)
		}
	}
	last := len(all) - 1
	return strings.Join(all[:last], ", ") + " and " + all[last]
}

// operation finds what c asks for, or the 404 or 405 that says there is none.
func (s *Server) operation(c *call) (operation, error) {
	methods, ok := s.table[c.facts.Path]
	for i := len(c.facts.Path) - 1; !ok && i > 0; {
		i = strings.LastIndexByte(c.facts.Path[:i], '/')
		methods, ok = s.table[c.facts.Path[:i+1]]
	}
	if !ok {
		return operation{dialect: dialectAt(c)}, &fault.Error{Kind: fault.InvalidRequest, Status: http.StatusNotFound, Message: "unknown endpoint; this gateway serves " + s.table.String()}
	}
	op, ok := methods[c.facts.Method]
	if !ok {
		c.allow = strings.Join(slices.Sorted(maps.Keys(methods)), ", ")
		var d dialect
		for _, other := range methods { // of one path they have one
			d = other.at(c).dialect
		}
		return operation{dialect: d}, &fault.Error{Kind: fault.InvalidRequest, Status: http.StatusMethodNotAllowed, Message: "method not allowed here; use " + c.allow}
	}
	return op.at(c), nil
}

// at is the operation in the dialect of the caller's client.
func (o operation) at(c *call) operation {
	if o.anthropic != nil && c.header.Get("anthropic-version") != "" {
		return *o.anthropic
	}
	return o
}

func (s *Server) livez(_ context.Context, c *call) error { return c.reply([]byte(`{"status":"ok"}`)) }

func (s *Server) readyz(_ context.Context, c *call) error {
	if !s.Ready() {
		return unavailable("not ready: no configuration read yet, or stopping")
	}
	if s.Snapshots.Lost() { // callers are served all the same
		return c.reply([]byte(`{"status":"ok","configuration":"lost: Redis was emptied, rolled back or lost in part, and what was in force before is served"}`))
	}
	return c.reply([]byte(`{"status":"ok"}`))
}
