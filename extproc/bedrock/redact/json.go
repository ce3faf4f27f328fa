package redact

import (
	"bytes"
	"errors"
	"io"
	"regexp"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

// readJSON reads a JSON text as it goes out, without spaces, and what its strings
// say where that is written otherwise. Names that are not the caller's are no part
// of it: what stands before one and what stands behind are read apart.
func (q *quotes) readJSON(text Text) {
	dec := jsontext.NewDecoder(strings.NewReader(text.said), jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
	var (
		written tail
		around  []form // of the objects and arrays that are open
		value   = text.form
	)
	for q.left > 0 {
		in, n := dec.StackIndex(dec.StackDepth())
		kind := dec.PeekKind()
		token, err := next(dec, kind)
		switch {
		case errors.Is(err, io.EOF) && in == 0:
			return
		case err != nil: // it is none: a model may have written it
			read(q, new(tail), text.said)
			return
		}
		behindName := in == '{' && n%2 == 1
		name := in == '{' && !behindName && kind == '"'
		switch {
		case kind == '}', kind == ']':
			around = around[:len(around)-1]
			read(q, &written, token)
			continue
		case behindName:
			read(q, &written, ":")
		case n > 0:
			read(q, &written, ",")
		}
		if in == '[' {
			value = around[len(around)-1]
		}
		if kind == '{' || kind == '[' {
			around = append(around, value)
		}
		plain := token
		if kind == '"' {
			plain = token[1 : len(token)-1]
			if bytes.IndexByte(plain, '\\') >= 0 {
				plain, _ = jsontext.AppendUnquote(nil, token) // of a valid one
			}
		}
		if !name && value == enumerated && kinds.Match(token) {
			written = tail{}
			continue
		}
		if name {
			var callers bool
			if value, callers = member(around[len(around)-1], plain); !callers {
				written = tail{}
				continue
			}
		}
		read(q, &written, token)
		if kind == '"' && len(plain) != len(token)-2 {
			read(q, new(tail), plain)
		}
	}
}

// next is what dec has next: a brace, a bracket, or a whole string, number or word.
func next(dec *jsontext.Decoder, kind jsontext.Kind) ([]byte, error) {
	switch kind {
	case '{', '[', '}', ']':
		_, err := dec.ReadToken()
		return braces[kind], err
	}
	return dec.ReadValue()
}

var braces = map[jsontext.Kind][]byte{'{': {'{'}, '[': {'['}, '}': {'}'}, ']': {']'}}

// member is how the value of an object's member is to be read, and whether its name
// is the caller's.
func member(of form, name []byte) (value form, callers bool) {
	switch of {
	case schemas:
		return schema, true
	case schema:
		if value, known := keywords[string(name)]; known {
			return value, false
		}
		return data, true
	case parameters:
		return parameters, !known[string(name)]
	case messages, responses:
		if value, known := bodies[of][string(name)]; known {
			return value, false
		}
		return of, false
	}
	return of, true
}

// bodies are the members of requests that are read otherwise than what they are in, wherever they are.
var bodies = map[form]map[string]form{
	messages:  {"type": enumerated, "role": enumerated, "input": data, "input_schema": schema, "schema": schema, "metadata": data},
	responses: {"type": enumerated, "role": enumerated, "include": enumerated, "parameters": schema, "schema": schema, "metadata": data, "client_metadata": data},
}

// kinds are those that APIs have: anything else is the caller's.
var kinds = regexp.MustCompile(`^"[a-z_.]{1,40}"$`)

// keywords are those of JSON Schema, all drafts, with what their values are.
var keywords = func() map[string]form {
	out := map[string]form{}
	for form, names := range map[form]string{
		schema: `$schema $id id $ref $anchor $dynamicRef $dynamicAnchor $recursiveRef $recursiveAnchor $vocabulary $comment
			type format title description required readOnly writeOnly deprecated nullable discriminator
			items prefixItems additionalItems unevaluatedItems contains minContains maxContains minItems maxItems uniqueItems
			additionalProperties unevaluatedProperties propertyNames minProperties maxProperties
			minimum maximum exclusiveMinimum exclusiveMaximum multipleOf minLength maxLength pattern
			allOf anyOf oneOf not if then else contentEncoding contentMediaType contentSchema`,
		schemas: `properties patternProperties $defs definitions dependentSchemas dependentRequired dependencies`,
		data:    `enum const default examples example`,
	} {
		for _, name := range strings.Fields(names) {
			out[name] = form
		}
	}
	return out
}()

// known are parameters that AWS's messages name by themselves, and are long enough
// to be taken for a quote.
var known = func() map[string]bool {
	out := map[string]bool{}
	for _, name := range strings.Fields(`guardrailIdentifier guardrailVersion streamProcessingMode
		anthropic_beta anthropic_version budget_tokens output_config reasoning_config reasoning_effort reasoningConfig
		maxReasoningEffort inferenceConfig frequency_penalty presence_penalty stop_sequences max_completion_tokens`) {
		out[name] = true
	}
	return out
}()
