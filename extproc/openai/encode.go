package openai

import (
	"bytes"
	"encoding/json"
	"strings"

	"aisix/extproc/chat"
)

// answerID is the upstream's id where there is one.
func answerID(h chat.Heading, upstream string) string {
	if upstream != "" {
		return upstream
	}
	return "chatcmpl-" + h.ID
}

type completion struct {
	ID      string   `json:"id"`
	Object  string   `json:"object"`
	Created int64    `json:"created"`
	Model   string   `json:"model"`
	Choices []choice `json:"choices"`
	Usage   usage    `json:"usage"`
	Tier    string   `json:"service_tier,omitempty"`
}

type choice struct {
	Index        int     `json:"index"`
	Message      reply   `json:"message"`
	FinishReason *string `json:"finish_reason"`
}

// reply is the assistant's message. reasoning_content is DeepSeek's member, thinking_blocks is
// LiteLLM's: clients know both, and OpenAI has neither.
type reply struct {
	Role             string          `json:"role"`
	Content          *string         `json:"content"` // null where there are only tool calls
	ReasoningContent string          `json:"reasoning_content,omitempty"`
	ThinkingBlocks   []thinkingBlock `json:"thinking_blocks,omitempty"`
	ToolCalls        []toolCall      `json:"tool_calls,omitempty"`
}

type toolCall struct {
	ID       string       `json:"id"`
	Type     string       `json:"type"`
	Function functionCall `json:"function"`
}

type functionCall struct {
	Name      string `json:"name"`
	Arguments string `json:"arguments"`
}

type usage struct {
	Prompt            int                `json:"prompt_tokens"`
	Completion        int                `json:"completion_tokens"`
	Total             int                `json:"total_tokens"`
	PromptDetails     *promptDetails     `json:"prompt_tokens_details,omitempty"`
	CompletionDetails *completionDetails `json:"completion_tokens_details,omitempty"`
}

// promptDetails are parts of prompt_tokens. What the upstream did not tell is absent, not 0.
type promptDetails struct {
	Cached     *int `json:"cached_tokens,omitempty"`
	CacheWrite *int `json:"cache_write_tokens,omitempty"`
}

type completionDetails struct {
	Reasoning *int `json:"reasoning_tokens,omitempty"`
}

// Whole writes a chat.completion, the upstream's own where that passes, else: text blocks joined with nothing between,
// reasoning as reasoning_content and, with what it takes to send it back, as
// thinking_blocks.
func (a *asked) Whole(h chat.Heading, r *chat.Response) ([]byte, error) {
	if r.Raw != nil {
		return renamed(r.Raw, a.model), nil
	}
	c := a.completion(h, r)
	size := 512 // of all but the texts
	for _, b := range r.Blocks {
		switch b := b.(type) {
		case chat.Text:
			size += len(b.Text) + len(b.Text)/16 // escapes
		case chat.ToolUse:
			size += len(b.Input) + len(b.Input)/4 + 128
		}
	}
	return c.append(make([]byte, 0, size))
}

func (a *asked) completion(h chat.Heading, r *chat.Response) completion {
	message := reply{Role: "assistant"}
	var text, reasoning texts
	var at place
	for i, b := range r.Blocks {
		switch b := b.(type) {
		case chat.Text:
			text.add(b.Text)
			if i+1 < len(r.Blocks) { // else nobody asks where it ends
				at.text(b.Text)
			}
		case chat.Thinking:
			reasoning.add(b.Text)
			message.ThinkingBlocks = append(message.ThinkingBlocks, thinking(b, at))
		case chat.Redacted:
			message.ThinkingBlocks = append(message.ThinkingBlocks, redacted(b, at))
		case chat.ToolUse:
			message.ToolCalls = append(message.ToolCalls, toolCall{b.ID, "function", functionCall{b.Name, string(b.Input)}})
			at.ToolCalls++
		default: // a model answers with nothing else
		}
	}
	// OpenAI has null only where there are calls and nothing is said; an answer of nothing is "".
	message.ReasoningContent = reasoning.join()
	if content := text.join(); content != "" || len(message.ToolCalls) == 0 {
		message.Content = &content
	}
	reason := finishReason(r.Stop, len(message.ToolCalls))
	return completion{
		ID:      answerID(h, r.ID),
		Object:  "chat.completion",
		Created: h.Created.Unix(),
		Model:   a.model,
		Choices: []choice{{Message: message, FinishReason: &reason}},
		Usage:   newUsage(r.Usage),
		Tier:    r.Tier,
	}
}

// texts are joined with nothing between; one alone, as most are, is not copied.
type texts struct {
	one  string
	more strings.Builder
}

func (t *texts) add(s string) {
	switch {
	case t.more.Len() > 0:
		t.more.WriteString(s)
	case t.one == "":
		t.one = s
	default:
		t.more.WriteString(t.one)
		t.more.WriteString(s)
	}
}

func (t *texts) join() string {
	if t.more.Len() > 0 {
		return t.more.String()
	}
	return t.one
}

// newUsage counts as OpenAI does: cached tokens are in prompt_tokens, where Anthropic has them
// beside, and reasoning is in completion_tokens.
func newUsage(u chat.Usage) usage {
	out := usage{Prompt: u.Prompt(), Completion: u.Completion(), Total: u.Prompt() + u.Completion()}
	if u.CacheRead != nil || u.CacheWrite != nil {
		out.PromptDetails = &promptDetails{Cached: u.CacheRead, CacheWrite: u.CacheWrite}
	}
	if u.Reasoning != nil {
		out.CompletionDetails = &completionDetails{Reasoning: u.Reasoning}
	}
	return out
}

// finishReason maps every stop reason; one that is not known ended the turn, or
// asked for the calls that were made.
func finishReason(s chat.StopReason, calls int) string {
	switch s {
	// The calls do not decide here: bedrock has settled which reason an answer with calls has,
	// and one without.
	case chat.EndTurn, chat.StopSequence, chat.PauseTurn:
		return "stop"
	case chat.MaxTokens, chat.ContextExceeded:
		return "length"
	case chat.ToolUseStop:
		return "tool_calls"
	case chat.ContentFiltered, chat.Guardrail, chat.Refusal:
		return "content_filter"
	}
	if calls > 0 {
		return "tool_calls"
	}
	return "stop"
}

// marshal is json.Marshal without HTML escapes.
func marshal(v any) ([]byte, error) {
	var out bytes.Buffer
	e := json.NewEncoder(&out)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(out.Bytes(), []byte("\n")), nil
}
