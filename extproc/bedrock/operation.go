package bedrock

import (
	"encoding/json"
	"slices"

	"aisix/extproc/anthropic"
	"aisix/extproc/chat"
)

func (m *Model) converseOnly(blocks []chat.Block) bool {
	return slices.ContainsFunc(blocks, func(b chat.Block) bool {
		switch b := b.(type) {
		case chat.Document:
			return !slices.Contains(m.family.InvokeDocuments, b.Format)
		case chat.ToolResult:
			return m.converseOnly(b.Blocks)
		}
		return false
	})
}

// anthropicMembers puts into the additional fields what Claude's own body has a member
// for and Converse has none, so that a request means the same by either operation.
func (p *prepared) anthropicMembers() error {
	r := p.req
	if p.api != apiConverse || p.model.Publisher != "anthropic" {
		return nil
	}
	// What was written by hand is there already, and wins.
	if id := anthropic.UserID(r.User); id != "" && p.additional["metadata"] == nil {
		p.additional["metadata"] = object(map[string]json.RawMessage{"user_id": marshal(id)})
	}
	if r.ParallelToolCalls == nil || *r.ParallelToolCalls || len(r.Tools) == 0 || p.additional["tool_choice"] != nil || denies(p.family.Capabilities.SerialTools) {
		return nil
	}
	choice := map[string]json.RawMessage{"type": marshal("auto"), "disable_parallel_tool_use": json.RawMessage("true")}
	switch r.ToolChoice.Mode {
	case chat.ToolChoiceNone:
		return nil
	case chat.ToolChoiceAny:
		choice["type"] = marshal("any")
	case chat.ToolChoiceTool:
		choice["type"], choice["name"] = marshal("tool"), marshal(r.ToolChoice.Name)
	}
	p.additional["tool_choice"] = object(choice)
	p.note("a document needs Converse, which has no member for parallel_tool_calls: it went as tool_choice in additionalModelRequestFields")
	return nil
}
