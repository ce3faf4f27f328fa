package bedrock

import (
	"encoding/json"
	"errors"
	"net/http"
	"regexp"

	"aisix/admin/resource"
	"aisix/extproc/bedrock/redact"
	"aisix/extproc/chat"
	"aisix/extproc/fault"
	"aisix/extproc/jsonedit"
)

// CountTokens makes the Call that has the upstream count a prompt's tokens, for free: nil
// where it counts none for the model. Errors are *fault.Error.
func CountTokens(v *chat.Verbatim, m *Model) (*Call, error) {
	if err := m.converses(); err != nil {
		return nil, err
	}
	api := m.api
	if api == apiConverse { // the same host counts, and takes the caller's own format
		api = apiInvoke
	}
	if !m.family.CountTokens || !api.anthropic() || api == apiInvoke && resource.Publisher(m.ID) == "" {
		return nil, nil
	}
	p := &prepared{req: &chat.Request{}, model: m, family: m.family, api: api, invokes: true, notes: v.Notes}
	var err error
	if p.knobs, err = newKnobs(p.req, m); err != nil {
		return nil, err
	}
	c := &Call{model: m, api: api, came: came{body: v.Body, read: redact.Messages}}
	if api == apiMessages { // Anthropic's own operation, whose body says nothing of the answer
		if err := p.adoptMessages(c, &chat.Verbatim{API: v.API, Body: v.Body, Beta: v.Beta}); err != nil {
			return nil, err
		}
		t := jsonedit.Text(c.body)
		var e jsonedit.Edits
		e.Object(t, t.Root(), nil, func(m jsonedit.Member) bool {
			return !oneOf(m.Name, "max_tokens", "metadata", "service_tier", "stop_sequences", "stream", "temperature", "top_k", "top_p")
		})
		c.address, c.body = &m.addressed[opMessagesCount], e.Apply(t)
	} else {
		inner := p.adopted(v)
		if t := jsonedit.Text(inner); !hasMember(t, "max_tokens") { // the body must have one, and it counts for nothing
			thinking, _ := t.Member(t.Root(), "thinking")
			var e jsonedit.Edits
			e.Object(t, t.Root(), append([]byte(`"max_tokens":`), marshal(budgetOf(t.At(thinking))+minBudget)...), func(m jsonedit.Member) bool { return m.Name != "max_tokens" })
			inner = e.Apply(t)
		}
		c.address, c.header = &m.addressed[opCountTokens], converseHeader
		c.body = marshal(map[string]any{"input": map[string]any{"invokeModel": map[string]any{"body": inner}}})
	}
	c.notes = p.notes
	return c, nil
}

// Tokens decodes the whole reply of CountTokens. An error is a *fault.Error.
func (r *Reply) Tokens(body []byte) (int64, error) {
	if e := exceptionOf(r.status, r.header, body); !r.OK() || e.Type != "" {
		return 0, r.fault(e, r.header)
	}
	var counted struct {
		Input     *int64 `json:"inputTokens"`
		Anthropic *int64 `json:"input_tokens"` // of Anthropic's own operation
	}
	if err := json.Unmarshal(body, &counted); err != nil {
		return 0, undecodable(err)
	}
	if counted.Input == nil {
		counted.Input = counted.Anthropic
	}
	if counted.Input == nil || *counted.Input < 0 {
		return 0, incomplete("inputTokens")
	}
	return *counted.Input, nil
}

// uncountable is what a ValidationException says of a model that CountTokens does not know.
var uncountable = regexp.MustCompile(`(?i)count(ing)? ?tokens|on-demand throughput|model identifier|not support`)

// CannotCount reports whether err is an upstream's word that it does not count tokens for the
// model, or may not for the account. What else it says is wrong is wrong.
func CannotCount(err error) bool {
	var f *fault.Error
	var e *Exception
	if !errors.As(err, &f) || !errors.As(f.Err, &e) {
		return false
	}
	switch e.Status {
	case http.StatusNotFound:
		return true
	case http.StatusForbidden:
		return answers[e.Type] == accessDenied
	case http.StatusBadRequest:
		return uncountable.MatchString(e.said)
	}
	return false
}
