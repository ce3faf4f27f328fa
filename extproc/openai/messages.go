package openai

import (
	"encoding/json"
	"fmt"
	"slices"

	"aisix/extproc/chat"
)

func (d *decoder) conversation(v value) {
	d.messages = v
	n := 0
	d.some(v, &n, chat.MaxMessages, "messages", func(item value) { d.message(item, fmt.Sprintf("messages[%d]", n-1)) })
	if d.err == nil && n == 0 {
		d.fail(v, "must not be empty")
	}
}

// message is the members of one message, whatever its role.
type message struct {
	content        value
	name           string
	cache          *chat.CachePoint
	refusal        string
	reasoning      string
	thinkingBlocks value
	toolCalls      value
	toolCallID     value
}

func (d *decoder) message(v value, param string) {
	if !d.is(v, objectKind) {
		return
	}
	if !v.member("role").present() {
		d.missing(v, "role")
		return
	}
	var m message
	role := d.word(v.member("role"), "system", "developer", "user", "assistant", "tool", "function")
	if role == "function" {
		d.fail(v.member("role"), "function messages are not supported: use tool calls and tool messages")
		return
	}
	d.each(v, func(name string, f value) bool { return d.messageMember(&m, role, name, f) })
	if d.err != nil {
		return
	}
	// Without content: an assistant who only calls tools, and a tool with nothing
	// to say, which is not the same as a forgotten member.
	if !m.content.present() && role != "assistant" && (role != "tool" || !v.has("content")) {
		d.missing(v, "content")
		return
	}
	switch role {
	case "system", "developer":
		d.request.System = append(d.request.System, mark(named(m.name, d.parts(m.content, role, param)), m.cache)...)
	case "user":
		d.add(chat.User, mark(named(m.name, d.parts(m.content, role, param)), m.cache), param)
	case "assistant":
		d.assistants = append(d.assistants, assistantName{m.name, len(d.request.Messages)})
		d.add(chat.Assistant, mark(d.assistant(m, param), m.cache), param)
	case "tool":
		d.add(chat.User, d.toolResult(v, m, param), param)
	}
}

func (d *decoder) add(role chat.Role, blocks []chat.Block, param string) {
	d.request.Messages = append(d.request.Messages, chat.Message{Role: role, Blocks: blocks, Param: param})
}

// messageMember reads one member of a message; false is "unknown to this role".
func (d *decoder) messageMember(m *message, role, name string, v value) bool {
	switch name {
	case "role":
		return true
	case "content":
		m.content = v
		return true
	case "cache_control":
		m.cache = d.cacheControl(v)
		return true
	case "name":
		if !slices.Contains(d.ignore, name) {
			m.name = d.text(v) // of a tool message it is its call's, which the call has too
		}
		if m.name == role { // AutoGen names every user "user": that tells nobody apart
			m.name = ""
		}
		return true
	case "tool_call_id":
		m.toolCallID = v
		return role == "tool"
	}
	if role != "assistant" {
		return false
	}
	switch name {
	case "refusal":
		m.refusal = d.text(v)
	case "reasoning_content":
		m.reasoning = d.text(v)
	case "thinking_blocks":
		m.thinkingBlocks = v
	case "tool_calls":
		m.toolCalls = v
	case "function_call":
		d.fail(v, "is not supported: use tool_calls")
	case "audio":
		d.fail(v, "audio is not supported")
	case "annotations", "parsed": // what clients send back of an answer, and no model reads
	default:
		return false
	}
	return true
}

func (d *decoder) assistant(m message, param string) []chat.Block {
	var blocks []chat.Block
	if m.thinkingBlocks.present() { // in full; reasoning_content has only the text
		d.some(m.thinkingBlocks, &d.thoughtCount, chat.MaxThinkingBlocks, "thinking blocks", func(item value) { blocks = append(blocks, d.thinkingBlock(item)) })
	} else if m.reasoning != "" {
		blocks = append(blocks, chat.Thinking{Text: m.reasoning})
	}
	blocks = append(blocks, d.parts(m.content, "assistant", param)...)
	if m.refusal != "" {
		blocks = append(blocks, chat.Text{Text: m.refusal})
	}
	if m.toolCalls.present() {
		d.some(m.toolCalls, &d.callCount, chat.MaxToolCalls, "tool calls", func(item value) { blocks = append(blocks, d.toolCall(item)) })
	}
	return blocks
}

func (d *decoder) thinkingBlock(v value) chat.Block {
	var kind, text, signature, data string
	d.each(v, func(name string, m value) bool {
		switch name {
		case "type":
			kind = d.word(m, "thinking", "redacted_thinking")
		case "thinking":
			text = d.text(m)
		case "signature":
			signature = d.text(m)
		case "data":
			data = d.text(m)
		case "index": // of our own deltas
		case "cache_control": // reasoning can't be marked
			d.fail(m, "reasoning can't carry a cache point")
		default:
			return false
		}
		return true
	})
	if d.err == nil && kind == "" {
		d.missing(v, "type")
	}
	if kind != "redacted_thinking" {
		return chat.Thinking{Text: text, Signature: signature}
	}
	if d.err == nil && data == "" {
		d.missing(v, "data")
	}
	return chat.Redacted{Data: data}
}

func (d *decoder) toolCall(v value) chat.Block {
	var use chat.ToolUse
	function := d.variant(v, "calls", func(name string, m value) bool {
		if name == "id" {
			use.ID = d.text(m)
		}
		return name == "id" || name == "index" // clients that add up deltas leave index in
	})
	if d.err == nil && use.ID == "" {
		d.missing(v, "id")
	}
	if d.err != nil {
		return use
	}
	d.each(function, func(name string, m value) bool {
		switch name {
		case "name":
			use.Name = d.toolName(m)
		case "arguments":
			use.Input = json.RawMessage(d.text(m))
		case "parsed_arguments": // openai-python's own, beside arguments
		default:
			return false
		}
		return true
	})
	if d.err == nil && use.Name == "" {
		d.missing(function, "name")
	}
	return use
}

func (d *decoder) toolResult(v value, m message, param string) []chat.Block {
	if !m.toolCallID.present() {
		d.missing(v, "tool_call_id")
		return nil
	}
	id := d.text(m.toolCallID)
	if d.err == nil && id == "" {
		d.fail(m.toolCallID, "must not be empty")
	}
	// A cache point stands beside a tool result, never inside it.
	result := chat.ToolResult{ID: id, Param: param + ".tool_call_id"}
	cache := m.cache
	for _, b := range d.parts(m.content, "tool", param) {
		if p, ok := b.(chat.CachePoint); ok {
			cache = &p
			continue
		}
		result.Blocks = append(result.Blocks, b)
	}
	return mark([]chat.Block{result}, cache)
}
