package openai

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"aisix/admin/strict"
	"aisix/extproc/chat"
	"aisix/extproc/embeddings"
	"aisix/extproc/fault"
	"aisix/extproc/jsonappend"
)

// Embeddings is the dialect of POST /v1/embeddings.
type Embeddings struct{ API }

// Name is the dialect's in usage records.
func (Embeddings) Name() string { return "openai.embeddings" }

// embeddingsRequest is the body of a call: every member that it may have.
type embeddingsRequest struct {
	Model          *string       `json:"model"`
	Input          inputs        `json:"input"`
	Dimensions     strict.Number `json:"dimensions"`
	EncodingFormat *string       `json:"encoding_format"`
	User           string        `json:"user"`
	InputType      *string       `json:"input_type"` // not OpenAI's: Cohere's, as LiteLLM has it

	Unknown strict.Unknown `json:",embed"`
}

// inputs are a string, token ids, or a list of either. They are counted and not kept where
// they are token ids.
type inputs struct {
	given  bool
	texts  []string
	tokens int // inputs that are token ids
	listed bool
}

const wantInputs = "a string, an array of strings, an array of token ids or an array of such arrays"

func (in *inputs) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	switch dec.PeekKind() {
	case 'n':
		return dec.SkipValue()
	case '"':
		in.given = true
		return in.text(dec)
	case '[':
	default:
		return strict.Mismatch(dec, wantInputs)
	}
	in.given, in.listed = true, true
	if _, err := dec.ReadToken(); err != nil {
		return err
	}
	kind := dec.PeekKind()
	if kind == '0' {
		in.tokens, in.listed = 1, false
	}
	for n := 0; dec.PeekKind() != ']'; n++ {
		switch got := dec.PeekKind(); {
		case kind != '0' && n == embeddings.MaxInputs:
			return strict.Errorf("", "must have at most %d inputs", embeddings.MaxInputs)
		case got != kind, got != '"' && got != '0' && got != '[':
			want := map[jsontext.Kind]string{'"': "a string", '0': "a token id", '[': "an array of token ids"}[kind]
			if want == "" {
				want = "a string or an array of token ids"
			}
			return mismatchHere(dec, want)
		}
		var err error
		switch kind {
		case '"':
			err = in.text(dec)
		case '0':
			err = tokenID(dec)
		default:
			in.tokens++
			err = tokenIDs(dec)
		}
		if err != nil {
			return err
		}
	}
	_, err := dec.ReadToken()
	if err == nil && len(in.texts) == 0 && in.tokens == 0 {
		return strict.Errorf("", "must not be empty")
	}
	return err
}

func (in *inputs) text(dec *jsontext.Decoder) error {
	text, err := strict.Text(dec)
	if err != nil {
		return err
	}
	if len(text) == 0 {
		return here(dec, "must not be empty")
	}
	in.texts = append(in.texts, string(text))
	return nil
}

// tokenIDs reads one input of token ids.
func tokenIDs(dec *jsontext.Decoder) error {
	if _, err := dec.ReadToken(); err != nil {
		return err
	}
	empty := true
	for ; dec.PeekKind() != ']'; empty = false {
		if err := tokenID(dec); err != nil {
			return err
		}
	}
	if _, err := dec.ReadToken(); err != nil || !empty {
		return err
	}
	return here(dec, "must not be empty")
}

func tokenID(dec *jsontext.Decoder) error {
	if dec.PeekKind() != '0' {
		return mismatchHere(dec, "a token id")
	}
	v, err := dec.ReadValue()
	if err != nil {
		return err
	}
	if id, err := strconv.ParseInt(string(v), 10, 64); err != nil || id < 0 {
		return here(dec, "must be a token id: an integer from 0 on")
	}
	return nil
}

// mismatchHere is strict.Mismatch of an item.
func mismatchHere(dec *jsontext.Decoder, want string) error {
	err := strict.Mismatch(dec, want)
	var own *strict.Error
	if errors.As(err, &own) {
		return &json.SemanticError{JSONPointer: dec.StackPointer(), Err: own}
	}
	return err
}

// here is an error of the value that was just read.
func here(dec *jsontext.Decoder, message string) error {
	return &json.SemanticError{JSONPointer: dec.StackPointer(), Err: strict.Errorf("", "%s", message)}
}

// Check says what can't be had.
func (r *embeddingsRequest) Check() *strict.Error {
	if !r.Input.given {
		return strict.Required("/input")
	}
	for _, err := range []*strict.Error{
		r.Dimensions.IntWithin("/dimensions", 1, math.MaxInt32),
		strict.OneOf("/encoding_format", r.EncodingFormat, "float", "base64"),
		strict.OneOf("/input_type", r.InputType, "search_document", "search_query", "classification", "clustering"),
	} {
		if err != nil {
			return err
		}
	}
	return nil
}

// askedEmbeddings is a body that is good JSON and names a model, as asked is.
type askedEmbeddings struct {
	model  string
	base64 bool // the form of the answer's vectors, once Request was called

	// Until Request is called.
	text    []byte
	request *embeddingsRequest
	err     error // why there is none
}

// Parse reads a body as strict JSON and finds the model in it, as Chat's does.
func (Embeddings) Parse(_ chat.Header, text []byte) (embeddings.Asked, error) {
	a := &askedEmbeddings{text: text, request: &embeddingsRequest{}}
	a.err = strict.Unmarshal(text, a.request)
	var err error
	if a.model, err = modelOf(text, a.request.Model, a.err); err != nil {
		return nil, err
	}
	return a, nil
}

func (a *askedEmbeddings) Model() string { return a.model }

// Request gives the request, and lets go of the body. What is to be embedded can't be ignored.
func (a *askedEmbeddings) Request(ignore []string) (*embeddings.Request, error) {
	text, r, err := a.text, a.request, a.err
	a.text, a.request, a.err = nil, nil, nil
	ignore = slices.DeleteFunc(slices.Clone(ignore), func(name string) bool { return name == "input" || strings.HasPrefix(name, "input.") })
	if len(ignore) > 0 {
		r = &embeddingsRequest{}
		err = strict.Unmarshal(without(text, ignore), r)
	}
	if err != nil {
		return nil, fault.Body(err)
	}
	a.base64 = is(r.EncodingFormat, "base64")
	out := &embeddings.Request{Texts: r.Input.texts, Tokens: r.Input.tokens, Listed: r.Input.listed}
	if n := integer(r.Dimensions); n != nil {
		out.Dimensions = *n
	}
	if r.InputType != nil {
		out.InputType = *r.InputType
	}
	return out, nil
}

// Of a number in an answer: its bytes in either form, at most; and of what stands around a
// vector.
const (
	floatBytes  = 16 // -1.2345678e-10, and a comma
	vectorBytes = 64
)

// Most counts the vectors' own bytes.
func (a *askedEmbeddings) Most(numbers int) int64 {
	if a.base64 {
		return int64(base64.StdEncoding.EncodedLen(4 * numbers))
	}
	return int64(numbers) * floatBytes
}

// Answer is the list of vectors: of numbers, or in base64 of float32 in little-endian order, as
// OpenAI's clients ask for where nobody says otherwise.
func (a *askedEmbeddings) Answer(answer *embeddings.Answer) ([]byte, error) {
	size := a.Most(answer.Numbers()) + vectorBytes*int64(len(answer.Vectors)+4)
	out := append(make([]byte, 0, size), `{"object":"list","data":[`...)
	var packed []byte
	for i, v := range answer.Vectors {
		if i > 0 {
			out = append(out, ',')
		}
		out = append(out, `{"object":"embedding","index":`...)
		out = strconv.AppendInt(out, int64(i), 10)
		out = append(out, `,"embedding":`...)
		if a.base64 {
			packed = packed[:0]
			for _, x := range v {
				packed = binary.LittleEndian.AppendUint32(packed, math.Float32bits(x))
			}
			out = append(base64.StdEncoding.AppendEncode(append(out, '"'), packed), '"', '}')
			continue
		}
		out = append(out, '[')
		for j, x := range v {
			if j > 0 {
				out = append(out, ',')
			}
			out = appendFloat(out, x)
		}
		out = append(out, ']', '}')
	}
	out = append(out, `],"model":`...)
	out = jsonappend.String(out, a.model)
	out = append(out, `,"usage":{"prompt_tokens":`...)
	out = strconv.AppendInt(out, int64(answer.Tokens), 10)
	out = append(out, `,"total_tokens":`...)
	out = strconv.AppendInt(out, int64(answer.Tokens), 10)
	return append(out, '}', '}'), nil
}

// appendFloat writes as few digits as tell the number from all other float32, as
// encoding/json does.
func appendFloat(dst []byte, x float32) []byte {
	form := byte('f')
	if abs := math.Abs(float64(x)); abs != 0 && (float32(abs) < 1e-6 || float32(abs) >= 1e21) {
		form = 'e'
	}
	return strconv.AppendFloat(dst, float64(x), form, -1, 32)
}
