package openai

import (
	"bytes"

	"aisix/admin/strict"
	"aisix/extproc/chat"
	"aisix/extproc/fault"
	"aisix/extproc/jsonedit"
)

// Responses is the dialect of POST /v1/responses.
type Responses struct{ API }

// Name is the dialect's in usage records.
func (Responses) Name() string { return "openai.responses" }

// InStream is so of a prompt that is too long: OpenAI's own clients make room for it (they
// compact the conversation) where response.failed says so, and give up on an error of HTTP.
func (Responses) InStream(f *fault.Error) bool { return f.Code == "context_length_exceeded" }

// askedResponse is a body that is good JSON and names a model. What else is wrong with it
// comes out with Request: an unknown or forbidden model comes before a bad parameter.
type askedResponse struct {
	model string
	echo  echo // what an answer repeats of the request
	tools toolNames
	wants wants

	text    []byte // until the request has gone out
	request *responseRequest
	err     error // why there is none
}

// wants is what of an answer is asked for.
type wants struct {
	summary   bool // of what was thought, in words
	encrypted bool // and in the form in which it can come back
}

// Parse reads a body as strict JSON and finds the model in it; the header says nothing. The
// error is a *fault.Error of status 400.
func (Responses) Parse(_ chat.Header, text []byte) (chat.Asked, error) {
	a := &askedResponse{text: text, request: &responseRequest{}}
	a.err = strict.Unmarshal(text, a.request)
	model := a.request.Model
	if a.err != nil { // perhaps before the model was reached, or the end
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
	a.model = *model
	return a, nil
}

// Model is the alias, as the caller sent it.
func (a *askedResponse) Model() string { return a.model }

// Verbatim is the body as it came, for an upstream of this format.
func (a *askedResponse) Verbatim(api chat.API) *chat.Verbatim {
	if api != chat.Responses {
		return nil
	}
	t := jsonedit.Text(a.text)
	stream, _ := t.Member(t.Root(), "stream")
	v := &chat.Verbatim{API: api, Body: a.text, Stream: t.Kind(stream) == 't', Prompt: int64(a.said())/bytesPerToken + 1}
	a.request, a.err = nil, nil
	return v
}

// bytesPerToken is the rule of thumb by which a prompt is estimated.
const bytesPerToken = 4

// said is how many bytes of text a body asks with: all but the data of files.
func (a *askedResponse) said() int {
	n := len(a.text)
	for rest := a.text; ; {
		_, after, ok := bytes.Cut(rest, []byte(";base64,"))
		if !ok {
			return n
		}
		end := bytes.IndexByte(after, '"')
		if end < 0 {
			return n
		}
		n -= end
		rest = after[end:]
	}
}

// Forget lets go of the body.
func (a *askedResponse) Forget() { a.text, a.request = nil, nil }

// Request gives the request. The error is a *fault.Error of status
// 400 whose Param names the parameter. Those in ignore are the operator's choice, as in chat
// completions.
func (a *askedResponse) Request(ignore []string) (*chat.Request, error) {
	text, r, err := a.text, a.request, a.err
	a.request, a.err = nil, nil
	if r == nil || len(ignore) > 0 { // or it went to another target as it came
		r = &responseRequest{}
		err = strict.Unmarshal(without(text, ignore), r)
	}
	if err != nil {
		return nil, fault.Body(err)
	}
	a.echo = echoOf(text)
	a.wants = wants{summary: r.Reasoning.summarized(), encrypted: r.includes("reasoning.encrypted_content")}
	return r.toChat(a)
}
