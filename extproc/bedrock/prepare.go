package bedrock

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"

	"aisix/extproc/chat"
	"aisix/extproc/fault"
)

// prepared is a request made ready for one target: legal names and ids, tools
// from history, cache points where the family takes them, and what stands in for
// structured output and reasoning. Both encodings start from it.
type prepared struct {
	req    *chat.Request // own copy of what was changed; the rest is shared
	family family
	knobs  knobs

	names  map[string]string // alias → name
	output string            // the tool that stands in for structured output, "" is none

	maxTokens  *int
	format     *chat.Format               // natively structured output, nil is none
	thinking   json.RawMessage            // Anthropic's thinking object
	effort     string                     // output_config.effort
	additional map[string]json.RawMessage // additional fields of the model
}

// prepare checks and rewrites; req stays as it is.
func prepare(req *chat.Request, t Target) (*prepared, error) {
	normal, err := chat.Normalize(req)
	if err != nil {
		return nil, err
	}
	k, err := newKnobs(normal, t)
	if err != nil {
		return nil, err
	}
	own := *normal
	p := &prepared{req: &own, family: familyOf(t), knobs: k, additional: map[string]json.RawMessage{}, maxTokens: own.MaxTokens}
	if p.maxTokens == nil {
		p.maxTokens = t.Options.MaxTokens
	}
	if len(own.Messages) == 0 && !t.invokes() {
		return nil, fault.Invalid("messages", "a conversation needs a user message beside system messages")
	}
	ignored := func(param string) bool { return slices.Contains(t.Options.IgnoreParams, param) }
	for _, step := range []func() error{
		func() error { return p.foreignReasoning(t) },
		p.checkContent,
		func() error { return p.sampling(ignored) },
		func() error { return p.tools(t) },
		func() error { return p.reasoning(t, ignored) },
		func() error { return p.structuredOutput(ignored) },
		p.plainSchemas,
		p.rename,
		p.cache,
	} {
		if err := step(); err != nil {
			return nil, err
		}
	}
	// What was written by hand wins over what we derived.
	for name, raw := range k.additional {
		p.additional[name] = raw
	}
	return p, nil
}

// foreignReasoning leaves out reasoning that this family can't have written: it
// has none, so another provider's model did, and nobody else takes it back.
func (p *prepared) foreignReasoning(t Target) error {
	if t.Publisher == "" || t.Publisher == "anthropic" || p.family.Capabilities.Reasoning != "none" {
		return nil
	}
	p.req.Messages = slices.Clone(p.req.Messages)
	for i, m := range p.req.Messages {
		kept := slices.DeleteFunc(slices.Clone(m.Blocks), func(b chat.Block) bool {
			switch b.(type) {
			case chat.Thinking, chat.Redacted:
				return true
			}
			return false
		})
		if !slices.ContainsFunc(kept, func(b chat.Block) bool { _, mark := b.(chat.CachePoint); return !mark }) {
			return fault.Invalid(m.Param, "%s holds nothing but another model's reasoning", m.Param)
		}
		p.req.Messages[i].Blocks = kept
	}
	return nil
}

// checkContent refuses what the family is known not to take, before it costs a
// call.
func (p *prepared) checkContent() error {
	c := p.family.Capabilities
	if denies(c.System) && len(p.req.System) > 0 {
		return fault.Invalid("messages", "this model takes no system messages")
	}
	for _, m := range p.req.Messages {
		if err := p.checkBlocks(m.Blocks, m.Param, denies(c.Images)); err != nil {
			return err
		}
	}
	return nil
}

func (p *prepared) checkBlocks(blocks []chat.Block, param string, noImages bool) error {
	c := p.family.Capabilities
	for _, b := range blocks {
		switch b := b.(type) {
		case chat.Image:
			if len(b.Data) == 0 {
				return fault.Invalid(or(b.Param, param), "the image must be sent inline, as a data: URL")
			}
			if noImages {
				return fault.Invalid(or(b.Param, param), "this model takes no images here")
			}
		case chat.Document:
			if denies(c.Documents) {
				return fault.Invalid(or(b.Param, param), "this model takes no documents")
			}
		case chat.ToolUse:
			if denies(c.Tools) {
				return fault.Invalid(param, "this model takes no tools")
			}
			if b.ID == "" {
				return fault.Invalid(param, "a tool call's id is empty")
			}
		case chat.ToolResult:
			if b.ID == "" {
				return fault.Invalid(or(b.Param, param), "a tool result's call id is empty")
			}
			if err := p.checkBlocks(b.Blocks, or(b.Param, param), noImages || denies(c.ToolResultImages)); err != nil {
				return err
			}
		}
	}
	return nil
}

// sampling places what Converse has no member for, or refuses it by name.
func (p *prepared) sampling(ignored func(string) bool) error {
	c, r := p.family.Capabilities, p.req
	if c.StopMax != nil && len(r.Stop) > *c.StopMax && !ignored("stop") {
		return fault.Invalid("stop", "this model takes at most %d stop sequences", *c.StopMax)
	}
	for _, x := range []struct {
		name  string
		value *float64
	}{{"frequency_penalty", r.FrequencyPenalty}, {"presence_penalty", r.PresencePenalty}} {
		if x.value == nil || *x.value == 0 || ignored(x.name) {
			continue
		}
		if denies(c.Penalties) {
			return fault.Invalid(x.name, "this model takes no %s", x.name)
		}
		p.additional[x.name] = number(*x.value)
	}
	if r.Seed != nil && has(c.Seed) {
		p.additional["seed"] = number(*r.Seed)
	}
	if k := p.knobs.topK; k != nil && !ignored("top_k") {
		var n int
		if json.Unmarshal(k, &n) != nil || n < 0 {
			return fault.Invalid("top_k", "top_k is a whole number")
		}
		if c.TopKField == "" {
			return fault.Invalid("top_k", "this model takes no top_k")
		}
		place(p.additional, strings.Split(c.TopKField, "."), k)
	}
	return nil
}

// place puts raw at a path of nested objects.
func place(fields map[string]json.RawMessage, path []string, raw json.RawMessage) {
	if len(path) == 1 {
		fields[path[0]] = raw
		return
	}
	inner := map[string]json.RawMessage{}
	_ = json.Unmarshal(fields[path[0]], &inner) // absent is empty
	place(inner, path[1:], raw)
	fields[path[0]] = object(inner)
}

// looseSchema is the schema of a tool that came without one.
var looseSchema = json.RawMessage(`{"type":"object","properties":{}}`)

// tools settles definitions and choice: the subset that may be called, none,
// and definitions for a history whose tools are gone.
func (p *prepared) tools(t Target) error {
	r, c := p.req, p.family.Capabilities
	used := usedTools(r.Messages)
	if len(r.Tools) > 0 && denies(c.Tools) {
		return fault.Invalid("tools", "this model takes no tools")
	}
	tools := slices.Clone(r.Tools)
	if len(r.ToolChoice.Only) > 0 {
		only := make(map[string]bool, len(r.ToolChoice.Only))
		for _, name := range r.ToolChoice.Only {
			only[name] = true
		}
		tools = slices.DeleteFunc(tools, func(t chat.Tool) bool { return !only[t.Name] })
	}
	if r.ToolChoice.Mode == chat.ToolChoiceTool && !slices.ContainsFunc(tools, func(t chat.Tool) bool { return t.Name == r.ToolChoice.Name }) {
		return fault.Invalid("tool_choice", "tool_choice names a tool that tools does not define")
	}
	if len(tools) == 0 && (r.ToolChoice.Mode == chat.ToolChoiceAny || r.ToolChoice.Mode == chat.ToolChoiceTool) {
		return fault.Invalid("tool_choice", "tool_choice needs tools")
	}
	if r.ToolChoice.Mode == chat.ToolChoiceNone && len(used) == 0 && !t.invokes() {
		tools = nil // Converse has no word for none
	}
	if len(tools) == 0 && len(used) > 0 {
		for _, name := range used {
			tools = append(tools, chat.Tool{Name: name})
		}
		r.ToolChoice = chat.ToolChoice{Mode: chat.ToolChoiceNone} // the caller offers none: nobody would run a call
	}
	for i := range tools {
		if isNull(tools[i].Schema) {
			tools[i].Schema = looseSchema
		}
		schema, err := toolSchema(tools[i].Schema)
		if err != nil {
			return fault.Invalid("tools", "the schema of the tool %s %s", quote(tools[i].Name), err)
		}
		tools[i].Schema = schema
		if tools[i].Strict = tools[i].Strict && has(c.StrictTools); tools[i].Strict {
			schema, err := nativeSchema(tools[i].Schema)
			if errors.Is(err, errOpen) { // strict is best effort
				tools[i].Strict = false
				continue
			}
			if err != nil {
				return fault.Invalid("tools", "the schema of the strict tool %s %s", quote(tools[i].Name), err)
			}
			tools[i].Schema = schema
		}
	}
	if r.ToolChoice.Mode == chat.ToolChoiceTool && !p.canChoose(chat.ToolChoiceTool) && p.canChoose(chat.ToolChoiceAny) {
		// Any of one is that one.
		tools = slices.DeleteFunc(tools, func(t chat.Tool) bool { return t.Name != r.ToolChoice.Name })
		r.ToolChoice = chat.ToolChoice{Mode: chat.ToolChoiceAny}
	}
	mode := r.ToolChoice.Mode
	if (mode == chat.ToolChoiceAny || mode == chat.ToolChoiceTool) && !p.canChoose(mode) {
		return fault.Invalid("tool_choice", "this model can't be made to call a tool: tool_choice may be auto or none")
	}
	r.Tools = tools
	return nil
}

// plainSchemas writes the tools' schemas as a family wants them that takes plain
// ones only. Ours for structured output is the last one.
func (p *prepared) plainSchemas() error {
	if p.family.Capabilities.ToolSchema != "plain" {
		return nil
	}
	p.req.Tools = slices.Clone(p.req.Tools)
	left := maxPlainSize
	for i, t := range p.req.Tools {
		left += len(t.Schema) // as many as it can hold itself
		schema, err := plainSchema(t.Schema, &left)
		switch {
		case err != nil && t.Name == p.output:
			return fault.Invalid("response_format", "the schema %s", err)
		case err != nil:
			return fault.Invalid("tools", "the schema of the tool %s %s", quote(t.Name), err)
		}
		p.req.Tools[i].Schema = schema
	}
	return nil
}

// canChoose tells whether the family takes a tool choice; not said is yes.
func (p *prepared) canChoose(mode chat.ToolChoiceMode) bool {
	c := p.family.Capabilities.ToolChoice
	return c == nil || slices.Contains(c, string(mode))
}

// usedTools are the names in the history, in order, once each.
func usedTools(messages []chat.Message) []string {
	var names []string
	seen := map[string]bool{}
	for _, m := range messages {
		for _, b := range m.Blocks {
			if u, ok := b.(chat.ToolUse); ok && !seen[u.Name] {
				seen[u.Name] = true
				names = append(names, u.Name)
			}
		}
	}
	return names
}

// rename gives tools and calls names and ids that Bedrock takes, the same in
// definitions, choice and history.
func (p *prepared) rename() error {
	r := p.req
	callers := r.Tools
	if p.output != "" { // ours is the last definition
		callers = r.Tools[:len(r.Tools)-1]
	}
	names := usedTools(r.Messages)
	for _, t := range callers {
		names = append(names, t.Name)
	}
	a := newAliases(names)
	p.names = a.origin
	for i := range callers {
		callers[i].Name = a.wire(callers[i].Name)
	}
	r.ToolChoice.Name = a.wire(r.ToolChoice.Name)
	if p.output != "" {
		p.output = a.reserve(outputTool)
		r.Tools[len(r.Tools)-1].Name = p.output
		if r.ToolChoice.Mode == chat.ToolChoiceTool {
			r.ToolChoice.Name = p.output
		}
	}
	length := p.family.Capabilities.CallIDLength
	r.Messages = slices.Clone(r.Messages)
	for i, m := range r.Messages {
		r.Messages[i].Blocks = slices.Clone(m.Blocks)
		for j, b := range m.Blocks {
			switch b := b.(type) {
			case chat.ToolUse:
				b.ID, b.Name = callID(b.ID, length), a.wire(b.Name)
				r.Messages[i].Blocks[j] = b
			case chat.ToolResult:
				b.ID = callID(b.ID, length)
				r.Messages[i].Blocks[j] = b
			}
		}
	}
	return nil
}

// cache leaves cache points only where the family takes them, with a TTL that
// it knows. A mark is a hint: without effect elsewhere.
func (p *prepared) cache() error {
	r, c := p.req, p.family.Capabilities
	r.System = cachePoints(r.System, slices.Contains(c.Cache, "system"), c.CacheTTL)
	for i, m := range r.Messages {
		r.Messages[i].Blocks = cachePoints(m.Blocks, slices.Contains(c.Cache, "messages"), c.CacheTTL)
	}
	for i, t := range r.Tools {
		if t.Cache == nil {
			continue
		}
		if !slices.Contains(c.Cache, "tools") {
			r.Tools[i].Cache = nil
			continue
		}
		r.Tools[i].Cache = &chat.CachePoint{TTL: knownTTL(t.Cache.TTL, c.CacheTTL)}
	}
	return nil
}

func cachePoints(blocks []chat.Block, legal bool, ttls []string) []chat.Block {
	var out []chat.Block
	for _, b := range blocks {
		switch b := b.(type) {
		case chat.CachePoint:
			if legal && len(out) > 0 {
				out = append(out, chat.CachePoint{TTL: knownTTL(b.TTL, ttls)})
			}
		case chat.ToolResult:
			// A mark inside a result stands beside it.
			inner, mark := []chat.Block(nil), (*chat.CachePoint)(nil)
			for _, x := range b.Blocks {
				if c, ok := x.(chat.CachePoint); ok {
					mark = &c
					continue
				}
				inner = append(inner, x)
			}
			if len(inner) == 0 {
				inner = []chat.Block{chat.Text{Text: "(empty)"}} // a result is never empty
			}
			b.Blocks = inner
			out = append(out, b)
			if mark != nil && legal {
				out = append(out, chat.CachePoint{TTL: knownTTL(mark.TTL, ttls)})
			}
		default:
			out = append(out, b)
		}
	}
	return out
}

// knownTTL is ttl where the family has it, else the family's default.
func knownTTL(ttl string, ttls []string) string {
	if slices.Contains(ttls, ttl) {
		return ttl
	}
	return ""
}

func number(v any) json.RawMessage {
	raw, err := json.Marshal(v)
	if err != nil {
		return json.RawMessage("null") // not a number; dialects refuse it
	}
	return raw
}

func object(fields map[string]json.RawMessage) json.RawMessage {
	raw, err := json.Marshal(fields)
	if err != nil {
		return json.RawMessage("{}") // only for members that are no JSON, which decoding refused
	}
	return raw
}

func or(a, b string) string {
	if a != "" {
		return a
	}
	return b
}
