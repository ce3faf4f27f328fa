package sim

import (
	"crypto/sha256"
	"encoding/binary"
	"math"
	"math/rand/v2"
	"slices"

	"github.com/google/uuid"
)

// readTitan reads one text.
func (e *embedding) readTitan(body any) *fault {
	e.texts, e.dimensions, e.types = []string{str(body, "inputText")}, whole(body, "dimensions"), texts(child(body, "embeddingTypes"))
	normalize, said := child(body, "normalize").(bool)
	e.raw = said && !normalize
	if e.texts[0] == "" {
		return invalid("Malformed input request: #/inputText: expected minLength: 1, actual: 0, please reformat your input and try again.")
	}
	// aws-samples/amazon-bedrock-workshop issue 136.
	if n := tokens(e.texts[0]); n > maxTitanTokens {
		return invalid("400 Bad Request: Too many input tokens. Max input tokens: %d, request input token count: %d ", maxTitanTokens, n)
	}
	return nil
}

// titanReply: version 1 has 1,536 dimensions and no types.
func (e *embedding) titanReply() object {
	if e.maker == "titan v1" {
		e.dimensions = 1536
		return object{"embedding": e.vector(e.texts[0]), "inputTextTokenCount": e.tokens}
	}
	if e.dimensions == 0 {
		e.dimensions = 1024
	}
	vector := e.vector(e.texts[0])
	byType := object{}
	for _, kind := range e.types {
		byType[kind] = vector
		if kind == "binary" {
			byType[kind] = signs(vector)
		}
	}
	if len(e.types) == 0 {
		byType["float"] = vector
	}
	return object{"embedding": vector, "embeddingsByType": byType, "inputTextTokenCount": e.tokens}
}

// readCohere reads texts, or images, or both mixed.
func (e *embedding) readCohere(body any) *fault {
	e.texts, e.images, e.types = texts(child(body, "texts")), texts(child(body, "images")), texts(child(body, "embedding_types"))
	e.dimensions = 1024 // version 3 knows no other
	if e.maker == "cohere v4" {
		e.dimensions = 1536
	}
	if n := whole(body, "output_dimension"); n > 0 {
		e.dimensions = n
	}
	kinds := 0
	for _, name := range []string{"texts", "images", "inputs"} {
		if len(items(body, name)) > 0 {
			kinds++
		}
	}
	switch {
	case kinds == 0:
		return invalid("Malformed input request: #: required key [texts] not found, please reformat your input and try again.")
	case kinds > 1:
		return invalid("invalid request: only one of texts, images and inputs may be specified")
	case e.maker == "cohere v3" && (len(e.images) > 0) != (str(body, "input_type") == "image"):
		return invalid("invalid request: input_type image is for images, and images are for no other")
	}
	for _, input := range items(body, "inputs") {
		e.inputs = true
		e.texts = append(e.texts, compact(child(input, "content")))
	}
	if slices.Contains(e.texts, "") {
		return invalid("invalid request: texts must not be empty")
	}
	return nil
}

// cohereReply: with types asked for, a list for each, and else the floats alone.
func (e *embedding) cohereReply() object {
	all := append(slices.Clone(e.texts), e.images...)
	reply := object{"id": uuid.NewString(), "response_type": "embeddings_floats", "texts": e.texts}
	if e.inputs || e.texts == nil {
		reply["texts"] = []string{}
	}
	floats := []any{}
	for _, t := range all {
		floats = append(floats, e.vector(t))
	}
	reply["embeddings"] = floats
	if len(e.types) == 0 {
		return reply
	}
	byType := object{}
	for _, kind := range e.types {
		list := []any{}
		for _, t := range all {
			list = append(list, e.quantized(kind, e.vector(t)))
		}
		byType[kind] = list
	}
	reply["response_type"], reply["embeddings"] = "embeddings_by_type", byType
	return reply
}

// readNova reads one text or one image.
func (e *embedding) readNova(body any) *fault {
	params := child(body, "singleEmbeddingParams")
	e.dimensions = 3072
	if n := whole(params, "embeddingDimension"); n > 0 {
		e.dimensions = n
	}
	text, image := child(params, "text"), child(params, "image")
	if (text == nil) == (image == nil) {
		return invalid("Malformed input request: #/singleEmbeddingParams: exactly one of text, image, video and audio is required, please reformat your input and try again.")
	}
	if image != nil {
		e.images = []string{str(image, "source", "bytes")}
		return nil
	}
	value := str(text, "value")
	if value == "" {
		return invalid("Malformed input request: #/singleEmbeddingParams/text/value: expected minLength: 1, actual: 0, please reformat your input and try again.")
	}
	if runes := []rune(value); len(runes) > maxNovaText {
		switch str(text, "truncationMode") {
		case "NONE":
			return invalid("Malformed input request: #/singleEmbeddingParams/text/value: expected maxLength: %d, actual: %d, please reformat your input and try again.", maxNovaText, len(runes))
		case "START":
			value = string(runes[len(runes)-maxNovaText:])
		default:
			value = string(runes[:maxNovaText])
		}
		e.truncated = true
	}
	e.texts = []string{value}
	return nil
}

func (e *embedding) novaReply() object {
	if len(e.images) > 0 {
		return object{"embeddings": []any{object{"embeddingType": "IMAGE", "embedding": e.vector(e.images[0])}}}
	}
	one := object{"embeddingType": "TEXT", "embedding": e.vector(e.texts[0])}
	if e.truncated {
		one["truncatedCharLength"] = maxNovaText
	}
	return object{"embeddings": []any{one}}
}

// vector is the same for the same text of the same model, and of length 1 unless that was not wanted.
func (e *embedding) vector(text string) []float32 {
	sum := sha256.Sum256([]byte(e.model.publisher + e.model.name + "\x00" + text))
	r := rand.New(rand.NewPCG(binary.BigEndian.Uint64(sum[:8]), binary.BigEndian.Uint64(sum[8:16])))
	v := make([]float32, e.dimensions)
	length := 0.0
	for i := range v {
		x := r.Float64()*2 - 1
		v[i] = float32(x)
		length += x * x
	}
	if !e.raw {
		for i := range v {
			v[i] = float32(float64(v[i]) / math.Sqrt(length))
		}
	}
	return v
}

// signs is a vector of bits, a number each.
func signs(v []float32) []int {
	bits := make([]int, len(v))
	for i, x := range v {
		if x > 0 {
			bits[i] = 1
		}
	}
	return bits
}

// quantized is a vector in one of Cohere's types; bits are packed, eight in a number.
func (e *embedding) quantized(kind string, v []float32) any {
	if kind == "float" {
		return v
	}
	if kind == "int8" || kind == "uint8" {
		out := make([]int, len(v))
		for i, x := range v {
			out[i] = max(-128, min(127, int(math.Round(float64(x)*127*math.Sqrt(float64(len(v)))/3))))
			if kind == "uint8" {
				out[i] += 128
			}
		}
		return out
	}
	out := make([]int, len(v)/8)
	for i, bit := range signs(v) {
		out[i/8] |= bit << (7 - i%8)
	}
	if kind == "binary" {
		for i := range out {
			out[i] -= 128
		}
	}
	return out
}
