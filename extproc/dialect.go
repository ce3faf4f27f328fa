package extproc

import (
	"net/http"
	"time"

	"aisix/extproc/chat"
	"aisix/extproc/fault"
	"aisix/extproc/openai"
)

// dialect is in whose API shape a call is asked and answered. It is all that the
// three acts know of one: another dialect is a package beside openai and a value
// like chatCompletions.
type dialect interface {
	parse(body []byte) (question, error)
	encode(a answer, r *chat.Response) ([]byte, error)
	stream(a answer, usage bool) dialectStream // usage: the caller asked for the token counts
	fault(f *fault.Error) (status int, header http.Header, body []byte)
}

// question is a body that is well-formed and names a model.
type question struct {
	model string // the alias, as the caller sent it
	// request decodes the rest; the parameters in ignore are taken as absent.
	request func(ignore []string) (*chat.Request, error)
}

// answer is what an answer says beside what the model said.
type answer struct {
	id      string // where the upstream has none
	created time.Time
	model   string // the alias, as the caller sent it
}

// dialectStream writes one stream in a dialect.
type dialectStream interface {
	Append(dst []byte, e chat.Event) ([]byte, error)
	Finish(dst []byte) ([]byte, error)
	Fault(dst []byte, f *fault.Error) []byte
}

// chatCompletions is OpenAI's POST /v1/chat/completions.
type chatCompletions struct{}

func (chatCompletions) parse(body []byte) (question, error) {
	b, err := openai.Chat{}.Parse(body)
	if err != nil {
		return question{}, err
	}
	return question{model: b.Model, request: b.Request}, nil
}

func (chatCompletions) encode(a answer, r *chat.Response) ([]byte, error) {
	return openai.Chat{}.Encode(openai.Answer{ID: a.id, Created: a.created, Model: a.model}, r)
}

func (chatCompletions) stream(a answer, usage bool) dialectStream {
	return openai.Chat{}.Stream(openai.Answer{ID: a.id, Created: a.created, Model: a.model}, usage)
}

func (chatCompletions) fault(f *fault.Error) (status int, header http.Header, body []byte) {
	return openai.Chat{}.Fault(f)
}
