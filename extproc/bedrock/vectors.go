package bedrock

import (
	"bytes"
	"encoding/json"
	"errors"
	"strconv"
)

// Embeddings decodes the body of a reply to one of EmbedCalls: a vector for each of its texts,
// and the tokens that they had. Errors are *fault.Error.
func (r *Reply) Embeddings(body []byte) (vectors [][]float32, tokens int, err error) {
	if err := r.answered(body); err != nil {
		return nil, 0, err
	}
	asked := r.call.embeds
	read, counted, err := embedBodies[r.call.model.embedder.Body].vectors(body)
	switch {
	case err != nil:
		return nil, 0, undecodable(err)
	case len(read) != asked.texts:
		return nil, 0, incomplete("vector for each text")
	}
	vectors = make([][]float32, len(read))
	for i, v := range read {
		if len(v) == 0 || asked.dimensions > 0 && len(v) != asked.dimensions {
			return nil, 0, incomplete("vector of the length asked for")
		}
		vectors[i] = v
	}
	return vectors, r.tokens(counted), nil
}

// tokens is what the body counts, else what the header does. Not every model has either.
func (r *Reply) tokens(counted *int) int {
	if counted != nil && *counted >= 0 {
		return *counted
	}
	if n, err := strconv.Atoi(r.header.Get("X-Amzn-Bedrock-Input-Token-Count")); err == nil && n >= 0 {
		return n
	}
	r.notes = append(r.notes, "the upstream told no count of tokens: it is estimated by the length of the texts")
	return r.call.embeds.prompt
}

// vector is a JSON array of numbers, and of nothing else.
type vector []float32

var errVector = errors.New("a vector that is no array of numbers")

// UnmarshalJSON reads what the decoder has found to be JSON.
func (v *vector) UnmarshalJSON(text []byte) error {
	text = bytes.TrimSpace(text)
	if string(text) == "null" {
		return nil
	}
	if len(text) < 2 || text[0] != '[' {
		return errVector
	}
	text = text[1 : len(text)-1]
	if len(bytes.TrimSpace(text)) == 0 {
		*v = vector{}
		return nil
	}
	out := make(vector, 0, bytes.Count(text, []byte(","))+1)
	for more := true; more; {
		var number []byte
		number, text, more = bytes.Cut(text, []byte(","))
		number = bytes.TrimSpace(number)
		if len(number) == 0 || number[0] != '-' && (number[0] < '0' || number[0] > '9') {
			return errVector
		}
		x, err := strconv.ParseFloat(string(number), 32)
		if err != nil {
			return err
		}
		out = append(out, float32(x))
	}
	*v = out
	return nil
}

// titanVectors: version 2 has the floats by their type too, and alone where types were asked for.
func titanVectors(body []byte) ([]vector, *int, error) {
	var b struct {
		Embedding vector `json:"embedding"`
		ByType    struct {
			Float vector `json:"float"`
		} `json:"embeddingsByType"`
		Tokens *int `json:"inputTextTokenCount"`
	}
	if err := json.Unmarshal(body, &b); err != nil {
		return nil, nil, err
	}
	if b.Embedding == nil {
		b.Embedding = b.ByType.Float
	}
	return []vector{b.Embedding}, b.Tokens, nil
}

// cohereVectors: a list, or one for each type.
func cohereVectors(body []byte) ([]vector, *int, error) {
	var b struct {
		Embeddings json.RawMessage `json:"embeddings"`
	}
	if err := json.Unmarshal(body, &b); err != nil {
		return nil, nil, err
	}
	if bytes.HasPrefix(bytes.TrimSpace(b.Embeddings), []byte("{")) {
		var byType struct {
			Float []vector `json:"float"`
		}
		err := json.Unmarshal(b.Embeddings, &byType)
		return byType.Float, nil, err
	}
	var list []vector
	if len(b.Embeddings) == 0 {
		return nil, nil, nil
	}
	err := json.Unmarshal(b.Embeddings, &list)
	return list, nil, err
}

func novaVectors(body []byte) ([]vector, *int, error) {
	var b struct {
		Embeddings []struct {
			Embedding vector `json:"embedding"`
		} `json:"embeddings"`
		Tokens *int `json:"inputTextTokenCount"`
	}
	if err := json.Unmarshal(body, &b); err != nil {
		return nil, nil, err
	}
	vectors := make([]vector, len(b.Embeddings))
	for i, e := range b.Embeddings {
		vectors[i] = e.Embedding
	}
	return vectors, b.Tokens, nil
}
