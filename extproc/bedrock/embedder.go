package bedrock

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"fmt"
)

// embeddings.json holds what is known of models that make embeddings, in rows as families.json
// has them. A model that no row knows makes none, as far as anybody here can tell: each maker's
// bodies are of their own shape.
//
//go:embed embeddings.json
var embeddingsJSON []byte

// embedder is what is known of a model that makes embeddings.
type embedder struct {
	// Body is the shape of its requests and answers, one of embedBodies.
	Body string `json:"body"`
	// Batch is how many texts one request may have.
	Batch int `json:"batch"`
	// Dimensions are the lengths that a vector may have, of which the first is its own where
	// nobody says; OneSize tells that its requests have no member for that.
	Dimensions []int `json:"dimensions"`
	OneSize    bool  `json:"one_size"`
	// MaxCharacters is the longest text that is not refused unseen; 0 is not known.
	MaxCharacters int `json:"max_characters"`
	// InputTypes are its words for what vectors are for, by Cohere's; none has no such member.
	InputTypes map[string]string `json:"input_types"`
}

type embedderRow struct {
	match []string
	says  json.RawMessage
}

var embedderRows = mustEmbedders(embeddingsJSON)

// mustEmbedders reads the rows as mustFamilies does its own.
func mustEmbedders(data []byte) []embedderRow {
	var raws []json.RawMessage
	if err := json.Unmarshal(data, &raws); err != nil {
		panic(fmt.Sprintf("bedrock: embeddings.json: %v", err))
	}
	rows := make([]embedderRow, len(raws))
	for i, raw := range raws {
		var row struct {
			Match  []string `json:"match"`
			AsOf   string   `json:"as_of"`
			Source string   `json:"source"`
			embedder
		}
		dec := json.NewDecoder(bytes.NewReader(raw))
		dec.DisallowUnknownFields()
		if err := dec.Decode(&row); err != nil {
			panic(fmt.Sprintf("bedrock: embeddings.json: row %d: %v", i, err))
		}
		if row.AsOf == "" || row.Source == "" {
			panic(fmt.Sprintf("bedrock: embeddings.json: row %d has no date or no source", i))
		}
		rows[i] = embedderRow{row.Match, raw}
	}
	return rows
}

// embedderOf is what is known of a model by its base id, nil where it makes no embeddings.
func embedderOf(id string) *embedder {
	var e *embedder
	for _, row := range embedderRows {
		if !matches(row.match, id) {
			continue
		}
		if e == nil {
			e = &embedder{}
		}
		e.Dimensions = nil // said whole
		if err := json.Unmarshal(row.says, e); err != nil {
			panic(fmt.Sprintf("bedrock: an embedder that was read before: %v", err))
		}
	}
	return e
}
