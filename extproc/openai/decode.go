package openai

import (
	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"aisix/admin/strict"
	"aisix/extproc/chat"
	"aisix/extproc/fault"
)

// Chat is the dialect of POST /v1/chat/completions.
type Chat struct{}

// Body is a body that is good JSON and names a model. What else is wrong with it
// comes out with Request: an unknown or forbidden model comes before a bad parameter.
type Body struct {
	Model   string // the alias, as the caller sent it
	text    []byte
	request *chatRequest
	err     error // why there is none
}

// Parse reads a body as strict JSON and finds the model in it. The error is a
// *fault.Error of status 400.
func (Chat) Parse(text []byte) (*Body, error) {
	b := &Body{text: text, request: &chatRequest{}}
	b.err = strict.Unmarshal(text, b.request)
	model := b.request.Model
	if b.err != nil { // perhaps before the model was reached, or the end
		var only struct {
			Model *string `json:"model"`
		}
		if err := strict.Peek(text, &only); err != nil {
			return nil, fault.Body(err)
		}
		model = only.Model
	}
	switch {
	case model == nil:
		return nil, fault.Body(strict.Required("/model").Of(text))
	case *model == "":
		return nil, fault.Body(strict.Errorf("/model", "must not be empty").Of(text))
	}
	b.Model = *model
	return b, nil
}

// Request gives the request: every parameter is honoured or refused by a
// *fault.Error of status 400 whose Param names it. Parameters in ignore are taken as
// absent (the operator's choice), "name" also in messages and "detail" in images; the
// conversation and the model can't be ignored.
func (b *Body) Request(ignore []string) (*chat.Request, error) {
	r, err := b.request, b.err
	if len(ignore) > 0 {
		r = &chatRequest{}
		err = strict.Unmarshal(without(b.text, ignore), r)
	}
	if err != nil {
		return nil, fault.Body(err)
	}
	return r.toChat(b.Model, ignore)
}

// without is an object's text without some of its members; messages stay.
func without(text []byte, names []string) []byte {
	var members map[string]jsontext.Value
	if err := json.Unmarshal(text, &members); err != nil {
		return text // no object: it is refused as it is
	}
	for _, name := range names {
		if name != "messages" {
			delete(members, name)
		}
	}
	out, err := json.Marshal(members, json.Deterministic(true))
	if err != nil {
		return text
	}
	return out
}
