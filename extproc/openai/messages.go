package openai

import (
	"cmp"
	"encoding/json"
	"slices"
	"strconv"

	"aisix/admin/strict"
	"aisix/extproc/chat"
)

// message is one message, with the members of every role.
type message struct {
	Role       string  `json:"role"`
	Content    content `json:"content"`
	Name       string  `json:"name"` // of a tool message it is its call's, which the call has too
	ToolCallID *string `json:"tool_call_id"`
	cacheMark

	// The assistant's.
	Refusal          *string                   `json:"refusal"`
	ReasoningContent *string                   `json:"reasoning_content"`
	ThinkingBlocks   strict.List[pastThinking] `json:"thinking_blocks"` // in full; reasoning_content has only the text
	ToolCalls        strict.List[pastCall]     `json:"tool_calls"`
	FunctionCall     strict.Ignored            `json:"function_call"`
	Audio            strict.Ignored            `json:"audio"`
	Annotations      strict.Ignored            `json:"annotations"` // what clients send back of an answer, and no model reads
	Parsed           strict.Ignored            `json:"parsed"`

	// The assistant's may have what another provider's answer had, and its calls and parts too.
	Others strict.Others `json:",embed"`
}

// Check holds a message to its role. One struct reads all roles, so that a member of another role
// is told from an unknown one only in that it has a name.
func (m *message) Check() *strict.Error {
	assistant := m.Role == "assistant"
	switch m.Role {
	case "":
		return strict.Required("/role")
	case "function":
		return strict.Variant("/role", "function messages are not supported: use tool calls and tool messages")
	case "system", "developer", "user", "assistant", "tool":
	default:
		return strict.Variant("/role", "must be one of system, developer, user, assistant, tool")
	}
	if !assistant {
		if err := m.Others.Refuse(); err != nil {
			return err
		}
	}
	if m.Role != "tool" && m.ToolCallID != nil {
		return m.foreign("tool_call_id")
	}
	if !assistant {
		for _, x := range []struct {
			name  string
			given bool
		}{
			{"refusal", m.Refusal != nil}, {"reasoning_content", m.ReasoningContent != nil}, {"thinking_blocks", m.ThinkingBlocks != nil}, {"tool_calls", m.ToolCalls != nil},
			{"function_call", bool(m.FunctionCall)}, {"audio", bool(m.Audio)}, {"annotations", bool(m.Annotations)}, {"parsed", bool(m.Parsed)},
		} {
			if x.given {
				return m.foreign(x.name)
			}
		}
	}
	switch {
	case bool(m.FunctionCall):
		return strict.Errorf("/function_call", "is not supported: use tool_calls")
	case bool(m.Audio):
		return strict.Errorf("/audio", "audio is not supported")
	// Without content: an assistant who only calls tools, and a tool with nothing
	// to say, which is not the same as a forgotten member.
	case m.Content.kind == 0 && !assistant, m.Content.kind == 'n' && !assistant && m.Role != "tool":
		return strict.Required("/content")
	case m.Role == "tool" && m.ToolCallID == nil:
		return strict.Required("/tool_call_id")
	case m.Role == "tool" && *m.ToolCallID == "":
		return strict.Errorf("/tool_call_id", "must not be empty")
	}
	for i, p := range m.Content.parts {
		if !carries(m.Role, p.Type) {
			return strict.Errorf("/content/"+strconv.Itoa(i), "a content part of type %q is not allowed in a message with role %s", p.Type, m.Role)
		}
		if name := p.stray(); name != "" && !assistant {
			return strict.Errorf("/content/"+strconv.Itoa(i)+"/"+name, "unknown member in a content part of type %s", p.Type)
		}
		if err := p.Others.Refuse(); err != nil && !assistant {
			err.Pointer = "/content/" + strconv.Itoa(i) + err.Pointer
			return err
		}
	}
	return nil
}

// foreign is a member that other roles have. To OpenAI it is as unknown as any other.
func (m *message) foreign(name string) *strict.Error {
	return strict.Errorf("/"+name, "unknown member in a message with role %s", m.Role)
}

// pastThinking is reasoning that a model wrote before.
type pastThinking struct {
	Type         *string        `json:"type"`
	Thinking     string         `json:"thinking"`
	Signature    string         `json:"signature"`
	Data         string         `json:"data"`
	After        place          `json:"after"`
	Publisher    string         `json:"publisher"`
	Index        strict.Ignored `json:"index"` // of our own deltas
	CacheControl strict.Ignored `json:"cache_control"`
	Others       strict.Others  `json:",embed"`
}

func (b *pastThinking) Check() *strict.Error {
	if b.Type == nil {
		return strict.Required("/type")
	}
	if err := strict.OneOf("/type", b.Type, "thinking", "redacted_thinking"); err != nil {
		return err
	}
	if b.CacheControl {
		return strict.Errorf("/cache_control", "is not allowed on reasoning")
	}
	if *b.Type == "redacted_thinking" && b.Data == "" {
		return strict.Required("/data")
	}
	return nil
}

func (b *pastThinking) toChat() chat.Block {
	if *b.Type == "thinking" {
		return chat.Thinking{Text: b.Thinking, Signature: b.Signature, Publisher: b.Publisher}
	}
	return chat.Redacted{Data: b.Data, Publisher: b.Publisher} // the provider's own string, not ours to read
}

// conversation is a request's messages in the making.
type conversation struct {
	request    *chat.Request
	assistants []assistantName
	anonymous  bool // names are ignored
	anyDetail  bool // so is the detail of images
	foreign    foreign
	texts      []chat.Block // room for messages of one text
}

func (c *conversation) add(messages []message) error {
	c.request.Messages = make([]chat.Message, 0, len(messages))
	c.texts = make([]chat.Block, 0, len(messages))
	for i := range messages {
		if err := c.message(&messages[i], placeOf(i)); err != nil {
			return err
		}
	}
	c.nameAssistants()
	c.request.Notes = c.foreign.notes()
	return nil
}

// places are those of the messages of most requests.
var places = func() (p [64]string) {
	for i := range p {
		p[i] = "messages[" + strconv.Itoa(i) + "]"
	}
	return p
}()

// placeOf is where the caller wrote a message.
func placeOf(i int) string {
	if i < len(places) {
		return places[i]
	}
	return "messages[" + strconv.Itoa(i) + "]"
}

func (c *conversation) message(m *message, param string) error {
	blocks, err := c.blocks(m.Content, param)
	if err != nil {
		return err
	}
	name := m.Name
	if c.anonymous || name == m.Role { // AutoGen names every user "user": that tells nobody apart
		name = ""
	}
	turn := chat.Message{Role: chat.User, Param: param}
	switch m.Role {
	// Hoisted until the assistant has spoken. To hoist a later one would change the beginning of
	// the conversation, and what was cached of it would be paid for anew.
	case "system", "developer":
		blocks = mark(named(name, blocks), m.cachePoint())
		if len(c.assistants) == 0 {
			c.request.System = append(c.request.System, blocks...)
			return nil
		}
		turn.Role, turn.Blocks = chat.System, blocks
	case "user":
		turn.Blocks = mark(named(name, blocks), m.cachePoint())
	case "assistant":
		c.foreign.see(m)
		c.assistants = append(c.assistants, assistantName{name, len(c.request.Messages)})
		turn.Role, turn.Blocks = chat.Assistant, mark(m.assistant(blocks), m.cachePoint())
	case "tool":
		turn.Blocks = m.toolResult(blocks, param)
	}
	c.request.Messages = append(c.request.Messages, turn)
	return nil
}

// assistant puts blocks in the order in which the model wrote them, as far as its reasoning tells;
// else in that in which a model writes, since OpenAI's members have none: reasoning, text, calls.
// A refusal is text that the model said.
func (m *message) assistant(said []chat.Block) []chat.Block {
	thoughts := m.ThinkingBlocks
	if slices.ContainsFunc(m.Content.parts, func(p part) bool { return p.reasoning() != nil }) {
		thoughts = strict.List[pastThinking]{} // in its place among the parts already
	}
	if kind := "thinking"; thoughts == nil && m.ReasoningContent != nil && *m.ReasoningContent != "" {
		thoughts = []pastThinking{{Type: &kind, Thinking: *m.ReasoningContent}}
	}
	if m.Refusal != nil && *m.Refusal != "" {
		said = append(said, chat.Text{Text: *m.Refusal})
	}
	var calls []chat.Block
	for _, call := range m.ToolCalls {
		calls = append(calls, chat.ToolUse{ID: call.ID, Name: call.Function.Name, Input: json.RawMessage(call.Function.Arguments)})
		calls = mark(calls, cmp.Or(call.cachePoint(), call.Function.cachePoint()))
	}
	return spoken(thoughts, said, calls)
}

// toolResult is a user's turn. Tidy merges it with those beside it, in the order of the calls.
func (m *message) toolResult(said []chat.Block, param string) []chat.Block {
	// A cache point stands beside a tool result, never inside it.
	result := chat.ToolResult{ID: *m.ToolCallID, Param: param + ".tool_call_id"}
	cache := m.cachePoint()
	for _, b := range said {
		if p, ok := b.(chat.CachePoint); ok {
			cache = &p
			continue
		}
		result.Blocks = append(result.Blocks, b)
	}
	return mark([]chat.Block{result}, cache)
}
