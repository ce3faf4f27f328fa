package openai

import (
	"slices"

	"aisix/extproc/chat"
)

// Chat is the dialect of POST /v1/chat/completions.
type Chat struct{}

// Body is a body that is good JSON and names a model. What else it says is not
// judged yet: an unknown or forbidden model comes before a bad parameter.
type Body struct {
	Model string // the alias, as the caller sent it
	root  value
}

// Parse reads a body as strict JSON and finds the model in it. The error is a
// *fault.Error of status 400.
func (Chat) Parse(body []byte) (*Body, error) {
	root, err := parse(body)
	if err != nil {
		return nil, err
	}
	var r reader
	if !r.is(root, objectKind) {
		return nil, r.err
	}
	model := r.required(root, "model")
	if r.err != nil {
		return nil, r.err
	}
	return &Body{Model: model, root: root}, nil
}

// Request decodes the whole body: every parameter is honoured or refused by a
// *fault.Error of status 400 whose Param names it. Parameters in ignore are
// taken as absent (the operator's choice), "name" also in messages and "detail"
// in images; the conversation and the model can't be ignored.
func (b *Body) Request(ignore []string) (*chat.Request, error) {
	d := &decoder{request: &chat.Request{Model: b.Model}, ignore: ignore}
	d.each(b.root, func(name string, v value) bool {
		if slices.Contains(ignore, name) && name != "messages" {
			return true
		}
		p, ok := parameters[name]
		if ok {
			p(d, v)
		}
		return ok
	})
	d.finish(b.root)
	if d.err != nil {
		return nil, d.err
	}
	return d.request, nil
}

// decoder is a request in the making.
type decoder struct {
	reader
	request *chat.Request
	ignore  []string

	maxTokens           *int
	maxCompletionTokens *int
	user                string
	messages            value
	assistants          []assistantName
	toolChoice          value
	usage               value // stream_options.include_usage
	toolNames           map[string]bool

	// So far, in the whole request.
	partCount, callCount, thoughtCount int
}

// finish settles what depends on more than one member.
func (d *decoder) finish(root value) {
	if d.err != nil {
		return
	}
	if !d.messages.present() {
		d.missing(root, "messages")
		return
	}
	d.nameAssistants()
	r := d.request
	r.MaxTokens = d.maxTokens
	if d.maxCompletionTokens != nil {
		r.MaxTokens = d.maxCompletionTokens
	}
	if r.User == "" {
		r.User = d.user
	}
	if r.StreamUsage && !r.Stream {
		d.fail(d.usage, "is possible only where stream is true")
	}
	if d.toolChoice.present() {
		d.choice(d.toolChoice)
	}
}
