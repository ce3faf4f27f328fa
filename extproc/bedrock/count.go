package bedrock

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"regexp"
	"strings"

	"github.com/aws/smithy-go/encoding/httpbinding"

	"aisix/extproc/chat"
	"aisix/extproc/fault"
	"aisix/extproc/jsonedit"
)

// CountTokens makes the Call that has the upstream count a prompt's tokens, for free: nil
// where it counts none for the model. Errors are *fault.Error.
func CountTokens(v *chat.Verbatim, m *Model) (*Call, error) {
	if !m.family.CountTokens || m.API() != chat.Messages || Publisher(m.ID) == "" {
		return nil, nil
	}
	p := &prepared{req: &chat.Request{}, model: m, family: m.family, invokes: true, notes: v.Notes}
	var err error
	if p.knobs, err = newKnobs(p.req, m); err != nil {
		return nil, err
	}
	inner := p.adopted(v)
	if t := jsonedit.Text(inner); !hasMember(t, "max_tokens") { // the body must have one, and it counts for nothing
		thinking, _ := t.Member(t.Root(), "thinking")
		var e jsonedit.Edits
		e.Object(t, t.Root(), append([]byte(`"max_tokens":`), marshal(budgetOf(t.At(thinking))+minBudget)...), func(m jsonedit.Member) bool { return m.Name != "max_tokens" })
		inner = e.Apply(t)
	}
	body := marshal(map[string]any{"input": map[string]any{"invokeModel": map[string]any{"body": inner}}})
	return &Call{model: m, address: m.countAddress(), header: []Field{{Key: "content-type", Value: contentType}}, body: body, notes: p.notes}, nil
}

// countAddress is that of CountTokens. It knows models by their own ids alone: it refuses
// those of inference profiles. (Boise-State-Development/agentcore-public-stack pull request 430)
func (m *Model) countAddress() *address {
	invoke := m.addresses[opInvoke].url
	id, suffix := baseID(m.ID, m.Publisher), "/count-tokens"
	base := url.URL{
		Path:    strings.TrimSuffix(invoke.Path, "/model/"+m.ID+operationPaths[opInvoke]),
		RawPath: strings.TrimSuffix(invoke.EscapedPath(), "/model/"+httpbinding.EscapePath(m.ID, true)+operationPaths[opInvoke]),
	}
	u := &url.URL{
		Scheme: invoke.Scheme, Host: invoke.Host,
		Path:    base.Path + "/model/" + id + suffix,
		RawPath: base.RawPath + "/model/" + httpbinding.EscapePath(id, true) + suffix,
	}
	path := u.EscapedPath()
	return &address{url: u, path: path, canonical: httpbinding.EscapePath(path, false)}
}

// Tokens decodes the whole reply of CountTokens. An error is a *fault.Error.
func (r *Reply) Tokens(body []byte) (int64, error) {
	if e := exceptionOf(r.status, r.header, body); !r.OK() || e.Type != "" {
		return 0, r.fault(e, r.header)
	}
	var counted struct {
		Input *int64 `json:"inputTokens"`
	}
	if err := json.Unmarshal(body, &counted); err != nil {
		return 0, undecodable(err)
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
		return uncountable.MatchString(e.Message)
	}
	return false
}
