package openai

import (
	"aisix/admin/strict"
	"aisix/extproc/chat"
	"aisix/extproc/fault"
)

// Chat is the dialect of POST /v1/chat/completions.
type Chat struct{ API }

// Name is the dialect's in usage records.
func (Chat) Name() string { return "openai.chat" }

// InStream is false: clients of this format read an error of HTTP.
func (Chat) InStream(*fault.Error) bool { return false }

// asked is a body that is good JSON and names a model. What else is wrong with it
// comes out with Request: an unknown or forbidden model comes before a bad parameter.
type asked struct {
	model string
	usage bool // stream_options.include_usage, once Request was called

	// Until Request is called.
	text    []byte
	request *chatRequest
	err     error // why there is none
}

// Parse reads a body as strict JSON and finds the model in it; the header says nothing.
// The error is a *fault.Error of status 400.
func (Chat) Parse(h chat.Header, text []byte) (chat.Asked, error) {
	a := &asked{text: text, request: &chatRequest{}}
	a.err = strict.Unmarshal(text, a.request)
	if a.err != nil && isResponse(text) {
		return Responses{}.Parse(h, text)
	}
	var err error
	if a.model, err = modelOf(text, a.request.Model, a.err); err != nil {
		return nil, err
	}
	return a, nil
}

// modelOf is the model that a text names, given what was read of it until err.
func modelOf(text []byte, read *string, err error) (string, error) {
	if err != nil { // perhaps before the model was reached, or the end
		var only struct {
			Model *string `json:"model"`
		}
		if err := strict.Peek(text, &only); err != nil {
			return "", fault.Body(err)
		}
		read = only.Model
	}
	switch {
	case read == nil:
		return "", fault.Body(strict.Required("/model").Of(text))
	case *read == "":
		return "", fault.Body(strict.Errorf("/model", "must not be empty").Of(text))
	}
	return *read, nil
}

// isResponse reports whether a body is one of the Responses API's, which Cursor sends here:
// it is taken, and answered, as what it is.
func isResponse(text []byte) bool {
	var b struct {
		Input    strict.Ignored `json:"input"`
		Messages strict.Ignored `json:"messages"`
	}
	return strict.Peek(text, &b) == nil && bool(b.Input) && !bool(b.Messages)
}

// Model is the alias, as the caller sent it.
func (a *asked) Model() string { return a.model }

// Verbatim is none: what this dialect holds a request to holds for every upstream. A request
// that may go up as it came says so itself (chat.Request.Came).
func (*asked) Verbatim(chat.API) *chat.Verbatim { return nil }

// Forget has nothing to let go of: Request did.
func (*asked) Forget() {}

// Request gives the request, and lets go of the body. The error is a *fault.Error of
// status 400 whose Param names the parameter. Those in ignore are the operator's choice:
// "name" is ignored in messages too and "detail" in images, and one with dots is of an
// inner object, or of each object of a list: messages.reasoning_details. The conversation
// and the model can't be ignored.
func (a *asked) Request(ignore []string) (*chat.Request, error) {
	text, r, err := a.text, a.request, a.err
	a.text, a.request, a.err = nil, nil, nil
	if len(ignore) > 0 {
		r = &chatRequest{}
		err = strict.Unmarshal(without(text, ignore), r)
	}
	if err != nil {
		return nil, fault.Body(err)
	}
	a.usage = r.StreamOptions != nil && r.StreamOptions.IncludeUsage
	out, err := r.toChat(ignore)
	if err == nil && len(ignore) == 0 && r.plain() {
		out.Came = text
	}
	return out, err
}
