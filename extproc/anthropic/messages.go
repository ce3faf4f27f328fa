package anthropic

import (
	"slices"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"aisix/admin/strict"
	"aisix/extproc/chat"
	"aisix/extproc/fault"
)

// Messages is the dialect of POST /v1/messages.
type Messages struct{ API }

// Name is the dialect's in usage records.
func (Messages) Name() string { return "anthropic.messages" }

// InStream is false: Anthropic's clients read an error of HTTP.
func (Messages) InStream(*fault.Error) bool { return false }

// asked is a body that is good JSON and names a model. What else is wrong with it comes
// out with Request, or is the upstream's to say (Verbatim).
type asked struct {
	model  string
	stream bool
	prompt int64 // tokens, by estimate
	says   bool  // there are messages
	beta   []string

	text []byte // until Request or Forget
	err  error  // why it can be asked in neither way
}

// outline is what of a body is looked at whoever answers it.
type outline struct {
	Model    *string `json:"model"`
	Stream   bool    `json:"stream"`
	System   texts   `json:"system"`
	Messages *texts  `json:"messages"`
	Tools    texts   `json:"tools"`
}

// Parse reads a body as strict JSON and finds the model in it. The error is a *fault.Error
// of status 400.
func (Messages) Parse(h chat.Header, text []byte) (chat.Asked, error) {
	a, err := parse(h, text)
	if err != nil {
		return nil, err
	}
	return a, nil
}

func parse(h chat.Header, text []byte) (*asked, error) {
	var o outline
	a := &asked{text: text, beta: flags(h)}
	if err := strict.Peek(text, &o); err != nil {
		// An unknown model comes before what else is wrong.
		a.err = fault.Body(err)
		var only struct {
			Model *string `json:"model"`
		}
		if err := strict.Peek(text, &only); err != nil {
			return nil, fault.Body(err)
		}
		o.Model = only.Model
	}
	switch {
	case o.Model == nil:
		return nil, fault.Body(strict.Required("/model").Of(text))
	case *o.Model == "":
		return nil, fault.Body(strict.Errorf("/model", "must not be empty").Of(text))
	}
	a.model, a.stream = *o.Model, o.Stream
	read := o.System + o.Tools
	if a.says = o.Messages != nil; a.says {
		read += *o.Messages
	}
	a.prompt = int64(read)/bytesPerToken + 1
	return a, nil
}

// bytesPerToken is the rule of thumb by which a prompt is estimated.
const bytesPerToken = 4

// flags are those of the header anthropic-beta: lists, in any number of lines.
func flags(h chat.Header) (all []string) {
	for _, line := range h.Values("anthropic-beta") {
		for flag := range strings.SplitSeq(line, ",") {
			if flag = strings.TrimSpace(flag); flag != "" && !slices.Contains(all, flag) {
				all = append(all, flag)
			}
		}
	}
	return all
}

// Model is the alias, as the caller sent it.
func (a *asked) Model() string { return a.model }

// Forget lets the body go.
func (a *asked) Forget() { a.text = nil }

// Verbatim is the body as it came, but for what only Claude Code's own servers take, and
// what other families thought.
func (a *asked) Verbatim(api chat.API) *chat.Verbatim {
	if api != chat.Messages || a.err != nil {
		return nil
	}
	v := &chat.Verbatim{API: api, Body: a.text, Stream: a.stream, Beta: a.beta, Prompt: a.prompt}
	v.Body = withoutBilling(v.Body)
	v.Body, v.Notes = withoutForeign(v.Body)
	v.Foreign = len(v.Notes) > 0
	return v
}

// texts is how many bytes of a value a model reads as text: names, descriptions, schemas
// and inputs too, but no files.
type texts int64

func (t *texts) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	for depth := 0; ; {
		switch dec.PeekKind() {
		case '{', '[':
			depth++
		case '}', ']':
			depth--
		}
		value := dec.StackIndex
		if kind, n := value(dec.StackDepth()); kind == '{' && n%2 == 0 && dec.PeekKind() == '"' {
			if err := t.member(dec); err != nil {
				return err
			}
			continue
		}
		if dec.PeekKind() == '"' {
			v, err := dec.ReadValue()
			if err != nil {
				return err
			}
			*t += texts(len(v) - 2)
		} else if _, err := dec.ReadToken(); err != nil {
			return err
		}
		if depth == 0 {
			return nil
		}
	}
}

// member reads a member's name, and the value too where it is no text, or one as a whole.
func (t *texts) member(dec *jsontext.Decoder) error {
	name, err := dec.ReadValue()
	if err != nil {
		return err
	}
	switch string(name) {
	case `"input"`, `"input_schema"`:
		v, err := dec.ReadValue()
		*t += texts(len(v))
		return err
	case `"text"`, `"thinking"`, `"content"`, `"name"`, `"description"`:
		return nil // what is inside counts
	case `"title"`, `"context"`:
		return nil
	case `"source"`:
		return t.source(dec)
	}
	return dec.SkipValue()
}

// source counts a document that is text.
func (t *texts) source(dec *jsontext.Decoder) error {
	if dec.PeekKind() != '{' {
		return dec.SkipValue()
	}
	if _, err := dec.ReadToken(); err != nil {
		return err
	}
	length, text := 0, false
	for dec.PeekKind() == '"' {
		name, err := dec.ReadValue()
		if err != nil {
			return err
		}
		data, kind, content := string(name) == `"data"`, string(name) == `"type"`, string(name) == `"content"`
		switch {
		case content:
			if err := t.UnmarshalJSONFrom(dec); err != nil {
				return err
			}
			continue
		case !data && !kind:
			if err := dec.SkipValue(); err != nil {
				return err
			}
			continue
		}
		v, err := dec.ReadValue()
		if err != nil {
			return err
		}
		if data {
			length = len(v)
		} else {
			text = string(v) == `"text"`
		}
	}
	if text {
		*t += texts(length)
	}
	_, err := dec.ReadToken()
	return err
}
