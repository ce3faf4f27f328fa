package bedrock

import (
	"slices"
	"strconv"
	"strings"

	"aisix/extproc/chat"
	"aisix/extproc/fault"
)

// turns settles whose the turns are: system messages in mid-conversation are the user's
// where the model has no others, turns that lost all that they had are left out, and the
// last one is the assistant's only where the model goes on with it.
func (p *prepared) turns() error {
	r, c := p.req, &p.family.Capabilities
	join := false
	for i := range r.Messages {
		m := &r.Messages[i]
		if m.Role == chat.System && !has(c.SystemTurns) {
			m.Role, join = chat.User, true
		}
		left := len(m.Blocks) == 0
		if !left {
			_, left = m.Blocks[0].(chat.CachePoint) // what it stood behind is gone
		}
		join = join || left
	}
	if join {
		r.Messages = chat.Join(r.Messages)
	}
	if last := r.Messages[len(r.Messages)-1]; last.Role == chat.Assistant && denies(c.Prefill) {
		return fault.Invalid(last.Param, "%s: this model does not support a conversation that ends with an assistant message (prefill): the last message must be from the user", last.Param)
	}
	return nil
}

// separateTools makes turns legal for models that take tool calls and results in
// turns of their own only (Bedrock: "Conversation blocks and tool use blocks
// cannot be provided in the same turn").
//
// What the user says beside results goes into the last of them. What the model
// said before it called has no place at all: it is left out, with a note.
func (p *prepared) separateTools() error {
	r, c := p.req, &p.family.Capabilities
	if !denies(c.MixedTurns) {
		return nil
	}
	var left []string // where text was left out
	for i, m := range r.Messages {
		var tools, rest []chat.Block
		for _, b := range m.Blocks {
			switch b.(type) {
			case chat.Text, chat.Image, chat.Document:
				rest = append(rest, b)
			case chat.CachePoint: // none of these models caches
			default:
				tools = append(tools, b)
			}
		}
		if len(tools) == 0 || len(rest) == 0 {
			continue
		}
		switch last := tools[len(tools)-1].(type) {
		case chat.ToolResult:
			last.Blocks = append(slices.Clip(last.Blocks), rest...)
			tools[len(tools)-1] = last
		case chat.ToolUse:
			left = append(left, m.Param)
		default: // reasoning alone
			continue
		}
		r.Messages[i].Blocks = tools
	}
	if len(left) > 0 {
		p.notes = append(p.notes, "the model does not support text beside tool calls: that of "+some(left)+" was left out")
	}
	return nil
}

// resultStatus leaves out that a tool failed where nothing takes it: what it said of that stays.
func (p *prepared) resultStatus() error {
	if p.invokes || p.api == apiConverse && p.family.ResultStatus {
		return nil
	}
	var left []string
	for i := range p.req.Messages {
		m := &p.req.Messages[i]
		for j, b := range m.Blocks {
			if r, ok := b.(chat.ToolResult); ok && r.IsError {
				left = append(left, or(r.Param, m.Param))
				r.IsError = false
				m.Blocks[j] = r
			}
		}
	}
	if len(left) > 0 {
		p.note("the model does not take that a tool failed: is_error of " + some(left) + " was left out")
	}
	return nil
}

// some names the first few of many places.
func some(places []string) string {
	const few = 8
	if len(places) <= few {
		return strings.Join(places, ", ")
	}
	return strings.Join(places[:few], ", ") + " and " + strconv.Itoa(len(places)-few) + " more"
}
