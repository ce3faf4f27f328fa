package sim

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// responses are those that were kept: store is true where nothing is said, as it is with AWS.
type responses struct {
	mu    sync.Mutex
	kept  map[string]kept
	items map[string]object // those of their output, by id
}

// kept is a response and the items that led to it.
type kept struct {
	input    []any
	response object
}

const maxKept = 1000

func (s *responses) keep(id string, k kept) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.kept == nil || len(s.kept) > maxKept {
		s.kept, s.items = map[string]kept{}, map[string]object{}
	}
	s.kept[id] = k
	for _, item := range items(k.response, "output") {
		s.items[str(item, "id")] = item.(object)
	}
}

func (s *responses) item(id string) (object, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	o, ok := s.items[id]
	return o, ok
}

func (s *responses) find(id string) (kept, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	k, ok := s.kept[id]
	return k, ok
}

// serveStored answers GET and DELETE of a stored response.
func (s *Server) serveStored(v *visit) *fault {
	k, ok := s.stored.find(v.door.segment)
	if !ok {
		return &fault{status: http.StatusNotFound, kind: "ResourceNotFoundException", code: "response_not_found", message: "Response with id '" + v.door.segment + "' not found."}
	}
	switch v.r.Method {
	case http.MethodGet:
		writeJSON(v.w, http.StatusOK, k.response)
	case http.MethodDelete:
		s.stored.mu.Lock()
		delete(s.stored.kept, v.door.segment)
		s.stored.mu.Unlock()
		writeJSON(v.w, http.StatusOK, object{"id": v.door.segment, "object": "response.deleted", "deleted": true})
	default:
		return &fault{status: http.StatusMethodNotAllowed, kind: "UnknownOperationException", message: "The requested operation is not recognized by the service."}
	}
	return nil
}

// readResponses checks a body of Responses and reads what it asks for.
func (s *Server) readResponses(m model, body any) (*ask, *fault) {
	if f := responseBody("", body); f != nil {
		return nil, f
	}
	input, f := s.items(body)
	if f != nil {
		return nil, f
	}
	if f := pairsOfItems(input); f != nil {
		return nil, f
	}
	a := &ask{model: m, maxTokens: whole(body, "max_output_tokens"), tier: str(body, "service_tier")}
	a.streamed, _ = child(body, "stream").(bool)
	a.choice, a.chosen = choiceOf(child(body, "tool_choice")), str(body, "tool_choice", "name")
	if parallel, ok := child(body, "parallel_tool_calls").(bool); ok {
		a.serial = !parallel
	}
	if f := child(body, "text", "format"); str(f, "type") == "json_schema" {
		a.format, _ = child(f, "schema").(object)
	}
	effort := str(body, "reasoning", "effort")
	a.thinking = effort != "none" && (effort != "" || !strings.HasPrefix(m.name, "gpt-oss") && m.publisher == "openai")
	a.sealed = slices.Contains(items(body, "include"), any("reasoning.encrypted_content"))
	a.omitted = !strings.HasPrefix(m.name, "gpt-oss") && !slices.Contains([]string{"auto", "concise", "detailed"}, str(body, "reasoning", "summary"))
	a.persisted = s.stored.item
	a.readTools("", items(body, "tools"))
	var blocks []wishBlock
	for i, item := range input {
		if f := a.readItem(fmt.Sprintf("input.%d", i), item, &blocks); f != nil {
			return nil, f
		}
	}
	// Reasoning stands where it stood.
	if s.issued.misplaced(blocks) >= 0 {
		return nil, about("input", "Reasoning items have to come back in the order in which they were given out, with the items that followed them.")
	}
	if f := a.checkToolNames(); f != nil {
		return nil, f
	}
	a.allow(child(body, "tool_choice"), "name")
	a.cache, a.input = s.cache.use(m.id, a.marked(items(body, "tools"), input))
	a.begin(body, input)
	return a, nil
}

// items is the input as items, behind those of the response that it goes on from.
func (s *Server) items(body any) ([]any, *fault) {
	var before []any
	if id := str(body, "previous_response_id"); id != "" {
		k, ok := s.stored.find(id)
		if !ok {
			f := about("previous_response_id", "Previous response with id '%s' not found.", id)
			f.code = "previous_response_not_found"
			return nil, f
		}
		before = append(slices.Clone(k.input), items(k.response, "output")...)
	}
	if text, ok := child(body, "input").(string); ok {
		return append(before, object{"type": "message", "role": "user", "content": text}), nil
	}
	for i, item := range items(body, "input") {
		if str(item, "type") == "item_reference" {
			known, ok := s.stored.item(str(item, "id"))
			if !ok {
				f := about(fmt.Sprintf("input[%d].id", i), "Item with id '%s' not found.", str(item, "id"))
				f.kind, f.status, f.code = "ResourceNotFoundException", http.StatusNotFound, "item_not_found"
				return nil, f
			}
			item = known
		}
		before = append(before, item)
	}
	return before, nil
}

// readTools adds tools: those of a namespace are called by it.
func (a *ask) readTools(namespace string, tools []any) {
	for _, t := range tools {
		switch kind := str(t, "type"); kind {
		case "namespace":
			a.readTools(str(t, "name"), items(t, "tools"))
		case "local_shell":
			a.tools = append(a.tools, toolDef{name: kind, kind: kind})
		default:
			parameters, _ := child(t, "parameters").(object)
			a.tools = append(a.tools, toolDef{name: str(t, "name"), kind: kind, namespace: namespace, schema: parameters})
		}
	}
}

// checkToolNames: a name is one tool's, within its namespace.
func (a *ask) checkToolNames() *fault {
	seen := map[string]bool{}
	for _, t := range a.tools {
		name := t.namespace + "." + t.name
		if seen[name] {
			return about("tools", "Tool names must be unique, and '%s' is used twice.", t.name)
		}
		seen[name] = true
	}
	if a.chosen != "" && !slices.ContainsFunc(a.tools, func(t toolDef) bool { return t.name == a.chosen }) {
		return about("tool_choice", "Tool choice '%s' not found in 'tools' parameter.", a.chosen)
	}
	return nil
}

// readItem reads one item. What came before an answer of the model's is past.
func (a *ask) readItem(path string, item any, blocks *[]wishBlock) *fault {
	switch kind := str(item, "type"); kind {
	case "additional_tools":
		a.readTools("", items(item, "tools"))
	case "reasoning":
		sealed := str(item, "encrypted_content")
		if sealed == "" {
			if _, ok := a.persisted(str(item, "id")); !ok {
				f := about(openaiPath(path)+".id", "Item with id '%s' not found. Items are not persisted when `store` is set to false. Try again with `store` set to true, or remove this item from your input.", str(item, "id"))
				f.kind, f.status, f.code = "ResourceNotFoundException", http.StatusNotFound, "item_not_found"
				return f
			}
			return nil
		}
		if !a.model.unseal(sealed) {
			f := invalid("The encrypted content %s could not be verified. Reason: Encrypted content could not be decrypted or parsed.", abbreviated(sealed))
			f.code = "invalid_encrypted_content"
			return f
		}
		*blocks = append(*blocks, wishBlock{kind: "thinking", signature: sealed})
	case "function_call", "custom_tool_call", "local_shell_call":
		name, namespace := or(str(item, "name"), "local_shell"), str(item, "namespace")
		a.called(str(item, "call_id"), name)
		a.turn(past{calls: 1})
		*blocks = append(*blocks, wishBlock{kind: "tool_use"})
		for _, t := range a.tools {
			if t.name == name && t.namespace != "" && namespace == "" {
				a.faults = append(a.faults, path+": a call of a tool in a namespace came back without its namespace")
			}
		}
	case "function_call_output", "custom_tool_call_output", "local_shell_call_output":
		a.results = append(a.results, result{tool: a.uses[str(item, "call_id")], text: strings.Join(outputTexts(item), " ")})
		*blocks = append(*blocks, wishBlock{kind: "other"})
	default:
		a.readResponseMessage(item, blocks)
	}
	return nil
}

func (a *ask) readResponseMessage(item any, blocks *[]wishBlock) {
	text := strings.Join(partTexts(item), "\n")
	switch str(item, "role") {
	case "assistant":
		a.turn(past{text: text})
		*blocks = append(*blocks, wishBlock{kind: "text", text: text})
	case "user":
		*blocks = append(*blocks, wishBlock{kind: "other"})
		a.said = append(a.said, partTexts(item)...)
		a.past = append(a.past, past{user: true, text: text})
		for _, p := range items(item, "content") {
			if url := str(p, "image_url"); url != "" {
				a.seen = append(a.seen, imageSeen(url))
			}
		}
	}
}

// turn adds to what the model has said: its calls and texts between two users' are one turn, until a
// result came.
func (a *ask) turn(p past) {
	last := len(a.past) - 1
	if last < 0 || a.past[last].user || len(a.results) > 0 {
		a.past = append(a.past, p)
	} else {
		a.past[last].calls += p.calls
		a.past[last].text += p.text
	}
	a.said, a.seen, a.results = nil, nil, nil
}

func outputTexts(item any) (texts []string) {
	if s, ok := child(item, "output").(string); ok {
		return []string{s}
	}
	for _, p := range items(item, "output") {
		if str(p, "type") == "input_text" {
			texts = append(texts, str(p, "text"))
		} else {
			texts = append(texts, "an image")
		}
	}
	return texts
}

// seal makes a reasoning item's encrypted content: opaque to callers, and good for this model alone.
func (m model) seal(text string) string {
	nonce := make([]byte, nonceSize)
	rand.Read(nonce)
	return "gAAAAA" + base64.StdEncoding.EncodeToString([]byte(sealed(nonce, m.publisher+"."+m.name+"\x00"+text)+"\x00"+text))
}

// unseal reports whether it is the simulator's own, of this model, and as it was given out.
func (m model) unseal(s string) bool {
	inner, ok := strings.CutPrefix(s, "gAAAAA")
	b, err := base64.StdEncoding.DecodeString(inner)
	mark, text, found := bytes.Cut(b, []byte{0})
	raw, err2 := base64.StdEncoding.DecodeString(string(mark))
	own, ours := bytes.CutPrefix(raw, []byte(signatureMark))
	if !ok || err != nil || err2 != nil || !found || !ours || len(own) < nonceSize {
		return false
	}
	return string(mark) == sealed(own[:nonceSize], m.publisher+"."+m.name+"\x00"+string(text))
}

// abbreviated is how OpenAI shows a long value in a message.
func abbreviated(s string) string {
	if len(s) <= 8 {
		return s
	}
	return s[:4] + "..." + s[len(s)-4:]
}

// begin makes what a response says of its request, and whether it will be kept.
func (a *ask) begin(body any, input []any) {
	said := func(name string, otherwise any) any {
		if v := child(body, name); v != nil {
			return v
		}
		return otherwise
	}
	a.keep = said("store", true) == true
	a.items = input
	format := said("text", object{})
	reasoning, _ := said("reasoning", object{}).(object)
	a.head = object{
		"id": "resp_" + random(48), "object": "response", "created_at": time.Now().Unix(), "background": false, "error": nil, "incomplete_details": nil, "model": a.model.id,
		"instructions": said("instructions", nil), "max_output_tokens": said("max_output_tokens", nil), "max_tool_calls": said("max_tool_calls", nil), "metadata": said("metadata", object{}),
		"parallel_tool_calls": said("parallel_tool_calls", true), "previous_response_id": said("previous_response_id", nil), "prompt_cache_key": said("prompt_cache_key", nil),
		"reasoning": merged(object{"effort": nil, "summary": nil}, reasoning), "safety_identifier": said("safety_identifier", nil), "service_tier": or(a.tier, "default"), "store": a.keep,
		"temperature": said("temperature", 1.0), "top_p": said("top_p", 1.0), "top_logprobs": said("top_logprobs", 0), "tool_choice": said("tool_choice", "auto"), "tools": said("tools", []any{}),
		"text": merged(object{"format": object{"type": "text"}, "verbosity": "medium"}, format.(object)), "truncation": said("truncation", "disabled"), "user": said("user", nil),
	}
	maps.DeleteFunc(a.head, func(k string, v any) bool { return k == "prompt_cache_key" && v == nil })
	a.padded, _ = child(body, "stream_options", "include_obfuscation").(bool)
	if child(body, "stream_options", "include_obfuscation") == nil {
		a.padded = true
	}
}
