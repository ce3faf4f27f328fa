package bedrock

import (
	"bytes"
	"context"
	"encoding/json"
	"slices"

	"aisix/admin/resource"
	"aisix/extproc/bedrock/schema"
	"aisix/extproc/chat"
	"aisix/extproc/fault"
)

// prepared is a request made ready for one target: legal names and ids, tools
// from history, cache points where the family takes them, and what stands in for
// structured output and reasoning. Both encodings start from it.
type prepared struct {
	req    *chat.Request // our own, down to the blocks of messages and System; what blocks hold is shared
	asked  *chat.Request // as the caller sent it; nil where it was adopted
	model  *Model
	family *family // the model's
	knobs  knobs

	api     api
	invokes bool // its body is Anthropic's, not Converse's or OpenAI's

	names  map[string]string // alias → name
	output string            // the tool that stands in for structured output, "" is none
	object bool              // a text that is the answer is to be a JSON object
	notes  []string          // for the operator's log
	points int               // cache points

	properties map[string]map[string]string // by a tool's own name: name of a property → alias
	fields     map[string]map[string]string // by a tool's name on the wire: alias of a property → name

	maxTokens       *int
	format          *chat.Format               // natively structured output, nil is none
	closed          schema.Closed              // its schema
	answer          schema.Input               // that of structured output in either form
	thinking        json.RawMessage            // Anthropic's thinking object
	effort          string                     // output_config.effort
	callersThinking bool                       // thinking is the caller's own object
	additional      map[string]json.RawMessage // additional fields of the model
}

// prepare checks and rewrites; req stays as it is. Tidy's copy has turns and blocks
// of its own, so that the steps change them in place; only Tools is the caller's
// until the step tools.
func prepare(ctx context.Context, req *chat.Request, m *Model, limit int64) (*prepared, error) {
	if err := m.converses(); err != nil {
		return nil, err
	}
	// Check on what the caller wrote, for its errors name the place, and before Tidy,
	// which relies on it: calls and results pair.
	if err := chat.Check(req); err != nil {
		return nil, err
	}
	own, err := chat.Tidy(m.withoutForeign(req)) // merges the neighbours of a turn that is nothing else
	if err != nil {
		return nil, err
	}
	k, err := newKnobs(own, m)
	if err != nil {
		return nil, err
	}
	p := &prepared{req: own, asked: req, model: m, family: m.family, knobs: k, api: m.apiOf(own), additional: map[string]json.RawMessage{}, maxTokens: own.MaxTokens, notes: slices.Clip(own.Notes)}
	p.invokes = p.api.anthropic()
	if p.maxTokens == nil {
		p.maxTokens = m.options.MaxTokens
	}
	for _, step := range []func() error{
		p.turns,         // first: whose they are
		p.checkContent,  // what is refused by a look comes before what costs
		p.habits,        // before what nobody insists on is refused
		p.writtenFields, // before what they replace is refused
		p.sampling,
		p.verbosity,
		func() error { return p.tools(ctx) }, // settles definitions and choice, which the next ones ask for
		p.serialTools,
		p.ownThinking,      // before what may force a tool: thinking and a forced tool exclude each other
		p.structuredOutput, // may add a tool of ours, as the last one, and force it
		p.strictTools,      // all strict schemas are there
		p.reasoning,        // what it makes of an effort gives way to a forced tool
		p.room,             // holds what is thought, too
		p.thinkingSamples,
		p.mergeFields, // what was written by hand wins over what we derived
		p.effortExcludes,
		func() error { return p.plainSchemas(ctx, limit) }, // all tools are there, ours too
		p.separateTools, // moves blocks into results
		p.resultStatus,
		p.rename, // all names are there; until here they are the caller's
		p.anthropicMembers,
		p.cache, // last: a mark stands after the block that it came with
	} {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if err := step(); err != nil {
			return nil, err
		}
	}
	return p, nil
}

// checkContent refuses what the family is known not to take, before it costs a
// call.
func (p *prepared) checkContent() error {
	c := &p.family.Capabilities
	if denies(c.System) && len(p.req.System) > 0 {
		return fault.Invalid("messages", "this model does not support system messages")
	}
	if err := checkImages(p.req, c); err != nil {
		return err
	}
	for _, m := range p.req.Messages {
		if err := p.checkBlocks(m.Blocks, m.Param); err != nil {
			return err
		}
	}
	return nil
}

// CheckImages refuses images that the model is known not to take, before those are
// fetched that the request names by URL. Its errors are NewCall's.
func (m *Model) CheckImages(req *chat.Request) error {
	return checkImages(req, &m.family.Capabilities)
}

func checkImages(req *chat.Request, c *resource.Capabilities) error {
	if !denies(c.Images) && !denies(c.ToolResultImages) {
		return nil
	}
	for _, m := range req.Messages {
		if err := refuseImages(m.Blocks, m.Param, c, denies(c.Images)); err != nil {
			return err
		}
	}
	return nil
}

func refuseImages(blocks []chat.Block, param string, c *resource.Capabilities, none bool) error {
	for _, b := range blocks {
		switch b := b.(type) {
		case chat.Image:
			if none {
				return fault.Invalid(or(b.Param, param), "this model does not support images here")
			}
		case chat.ToolResult:
			if err := refuseImages(b.Blocks, or(b.Param, param), c, none || denies(c.ToolResultImages)); err != nil {
				return err
			}
		}
	}
	return nil
}

func (p *prepared) checkBlocks(blocks []chat.Block, param string) error {
	c := &p.family.Capabilities
	for _, b := range blocks {
		switch b := b.(type) {
		case chat.Image:
			if !b.Inline() {
				return fault.Invalid(or(b.Param, param), "the image must be sent inline, as a data: URL")
			}
		case chat.Document:
			if denies(c.Documents) {
				return fault.Invalid(or(b.Param, param), "this model does not support documents")
			}
		case chat.ToolUse:
			if denies(c.Tools) {
				return fault.Invalid(param, "this model does not support tools")
			}
		case chat.ToolResult:
			if err := p.checkBlocks(b.Blocks, or(b.Param, param)); err != nil {
				return err
			}
		}
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

// marshal is v's JSON, without HTML escapes: a < would weigh six times what the
// caller sent.
func marshal(v any) json.RawMessage {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if enc.Encode(v) != nil {
		return json.RawMessage("null") // only for a number that is none; dialects refuse it
	}
	return bytes.TrimSuffix(buf.Bytes(), []byte("\n"))
}

func object(fields map[string]json.RawMessage) json.RawMessage {
	return marshal(fields) // of members that are JSON: decoding saw to that
}

func or(a, b string) string {
	if a != "" {
		return a
	}
	return b
}
