package bedrock

import (
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"aisix/extproc/chat"
	"aisix/extproc/embeddings"
	"aisix/extproc/fault"
)

// embedded is what a Call asks to have embedded.
type embedded struct {
	texts      int
	dimensions int // that the caller asked for; 0 is any
	prompt     int // an estimate of the tokens
}

// Embeds refuses a model that is known to make no embeddings.
func (m *Model) Embeds() error {
	switch {
	case m.embedder == nil:
		return fault.Invalid("model", "this model makes no embeddings, as far as the gateway knows it: ask it at POST /v1/chat/completions, or name a model of embeddings")
	case m.host == mantleHost:
		return fault.Invalid("model", "this model's host, bedrock-mantle, makes no embeddings")
	}
	return nil
}

// converses refuses a model of embeddings.
func (m *Model) converses() error {
	if m.embedder != nil {
		return fault.Invalid("model", "this model makes embeddings, and no answers: ask it at POST /v1/embeddings")
	}
	return nil
}

// Dimensions is how long the vectors for r are: what it asks for, else the model's own.
func (m *Model) Dimensions(r *embeddings.Request) int {
	if r.Dimensions > 0 {
		return r.Dimensions
	}
	return m.embedder.Dimensions[0]
}

// Batch is how many texts it takes at a time.
func (m *Model) Batch() int { return m.embedder.Batch }

// EmbedCalls makes the Calls that embed r's texts, in order: as many as it takes, since some
// models take one text at a time. Errors are *fault.Error, a 400 that names the member at
// fault. The model is one that Embeds.
func EmbedCalls(r *embeddings.Request, m *Model) ([]*Call, error) {
	e := m.embedder
	if err := e.check(r); err != nil {
		return nil, err
	}
	p := &prepared{req: &chat.Request{}, model: m, family: m.family}
	var err error
	if p.knobs, err = newKnobs(p.req, m); err != nil {
		return nil, err
	}
	header := invokeHeader(p)
	calls := make([]*Call, 0, (len(r.Texts)+e.Batch-1)/e.Batch)
	for texts := range slices.Chunk(r.Texts, e.Batch) {
		body, err := e.body(r, texts, m.additional)
		if err != nil {
			return nil, err
		}
		said := chat.Message{Role: chat.User} // what a message of AWS's may quote
		size := 0
		for _, text := range texts {
			said.Blocks = append(said.Blocks, chat.Text{Text: text})
			size += len(text)
		}
		calls = append(calls, &Call{
			model: m, api: apiInvoke, address: &m.addressed[opInvoke], header: header, body: body,
			request: &chat.Request{Messages: []chat.Message{said}},
			embeds:  embedded{len(texts), r.Dimensions, size/4 + 1},
		})
	}
	return calls, nil
}

// check refuses what the model is known not to have.
func (e *embedder) check(r *embeddings.Request) error {
	if r.Tokens > 0 {
		return fault.Invalid("input", "this model takes text, and no token ids: send a string, or an array of strings")
	}
	if r.Dimensions > 0 && !slices.Contains(e.Dimensions, r.Dimensions) {
		var all []string
		for _, n := range slices.Backward(e.Dimensions) {
			all = append(all, strconv.Itoa(n))
		}
		return fault.Invalid("dimensions", "dimensions must be %s for this model", or(enumerate(all), "left out"))
	}
	if r.InputType != "" && e.InputTypes[r.InputType] == "" {
		return fault.Invalid("input_type", "input_type is not supported by this model: it embeds all texts alike")
	}
	for i, text := range r.Texts {
		if most := e.MaxCharacters; most > 0 && len(text) > most {
			if n := utf8.RuneCountInString(text); n > most {
				param := "input"
				if r.Listed {
					param = "input[" + strconv.Itoa(i) + "]"
				}
				f := fault.Invalid(param, "%s must have at most %d characters for this model, and has %d", param, most, n)
				f.Code = "context_length_exceeded"
				return f
			}
		}
	}
	return nil
}

// enumerate is a list as a sentence has it.
func enumerate(all []string) string {
	if len(all) < 2 {
		return strings.Join(all, "")
	}
	last := len(all) - 1
	return strings.Join(all[:last], ", ") + " or " + all[last]
}

// shape is an object of a body.
type shape = map[string]any

// body is the request of a few texts: our defaults, the operator's fields over them, and over
// both what the caller asks for.
func (e *embedder) body(r *embeddings.Request, texts []string, operators map[string]json.RawMessage) ([]byte, error) {
	b := embedBodies[e.Body]
	out := shape{}
	lay(out, b.defaults)
	for name, raw := range operators {
		var v any
		if err := json.Unmarshal(raw, &v); err != nil {
			return nil, fault.From(err)
		}
		lay(out, shape{name: v})
	}
	lay(out, b.texts(texts))
	if r.Dimensions > 0 && !e.OneSize {
		lay(out, b.dimensions(r.Dimensions))
	}
	if r.InputType != "" {
		lay(out, b.inputType(e.InputTypes[r.InputType]))
	}
	return marshal(out), nil
}

// lay puts members over those of dst, object by object. from stays as it is.
func lay(dst, from shape) {
	for name, v := range from {
		inner, isObject := v.(shape)
		if !isObject {
			dst[name] = v
			continue
		}
		below, there := dst[name].(shape)
		if !there {
			below = shape{}
			dst[name] = below
		}
		lay(below, inner)
	}
}

// embedBody is the shape of one maker's requests and answers.
type embedBody struct {
	defaults   shape
	texts      func([]string) shape
	dimensions func(int) shape
	inputType  func(string) shape
	// vectors reads an answer, and the tokens that it counts: nil where it counts none.
	vectors func([]byte) ([]vector, *int, error)
}

// embedBodies: a text that is too long is refused, and not cut, as with OpenAI; an operator's
// fields may say otherwise.
var embedBodies = map[string]embedBody{
	"titan": {
		texts:      func(texts []string) shape { return shape{"inputText": texts[0]} },
		dimensions: func(n int) shape { return shape{"dimensions": n} },
		vectors:    titanVectors,
	},
	"titan_image": {
		texts: func(texts []string) shape { return shape{"inputText": texts[0]} },
		dimensions: func(n int) shape {
			return shape{"embeddingConfig": shape{"outputEmbeddingLength": n}}
		},
		vectors: titanVectors,
	},
	"cohere": {
		defaults:   shape{"input_type": "search_document", "truncate": "NONE"},
		texts:      func(texts []string) shape { return shape{"texts": texts} },
		dimensions: func(n int) shape { return shape{"output_dimension": n} },
		inputType:  func(word string) shape { return shape{"input_type": word} },
		vectors:    cohereVectors,
	},
	"nova": {
		defaults: shape{
			"schemaVersion": "nova-multimodal-embed-v1", "taskType": "SINGLE_EMBEDDING",
			"singleEmbeddingParams": shape{"embeddingPurpose": "GENERIC_INDEX", "text": shape{"truncationMode": "NONE"}},
		},
		texts: func(texts []string) shape {
			return shape{"singleEmbeddingParams": shape{"text": shape{"value": texts[0]}}}
		},
		dimensions: func(n int) shape { return shape{"singleEmbeddingParams": shape{"embeddingDimension": n}} },
		inputType:  func(word string) shape { return shape{"singleEmbeddingParams": shape{"embeddingPurpose": word}} },
		vectors:    novaVectors,
	},
}
