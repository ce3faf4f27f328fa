package openai

import (
	"strconv"

	"aisix/extproc/jsonappend"
)

// append writes what encoding/json would, without its reflection: TestCompletion and a
// fuzz target hold the two together.
func (c *completion) append(dst []byte) ([]byte, error) {
	dst = appendMember(dst, `{"id":`, c.ID)
	dst = appendMember(dst, `,"object":`, c.Object)
	dst = strconv.AppendInt(append(dst, `,"created":`...), c.Created, 10)
	dst = appendMember(dst, `,"model":`, c.Model)
	dst = append(dst, `,"choices":[`...)
	for i := range c.Choices {
		if i > 0 {
			dst = append(dst, ',')
		}
		var err error
		if dst, err = c.Choices[i].append(dst); err != nil {
			return nil, err
		}
	}
	dst = c.Usage.append(append(dst, `],"usage":`...))
	if c.Tier != "" {
		dst = appendMember(dst, `,"service_tier":`, c.Tier)
	}
	return append(dst, '}'), nil
}

func (c *choice) append(dst []byte) ([]byte, error) {
	dst = strconv.AppendInt(append(dst, `{"index":`...), int64(c.Index), 10)
	dst = appendMember(dst, `,"message":{"role":`, c.Message.Role)
	dst = append(dst, `,"content":`...)
	if c.Message.Content == nil {
		dst = append(dst, "null"...)
	} else {
		dst = jsonappend.String(dst, *c.Message.Content)
	}
	if c.Message.ReasoningContent != "" {
		dst = appendMember(dst, `,"reasoning_content":`, c.Message.ReasoningContent)
	}
	if len(c.Message.ThinkingBlocks) > 0 {
		blocks, err := marshal(c.Message.ThinkingBlocks)
		if err != nil {
			return nil, err
		}
		dst = append(append(dst, `,"thinking_blocks":`...), blocks...)
	}
	for i, t := range c.Message.ToolCalls {
		if i == 0 {
			dst = append(dst, `,"tool_calls":[`...)
		} else {
			dst = append(dst, ',')
		}
		dst = appendMember(dst, `{"id":`, t.ID)
		dst = appendMember(dst, `,"type":`, t.Type)
		dst = appendMember(dst, `,"function":{"name":`, t.Function.Name)
		dst = appendMember(dst, `,"arguments":`, t.Function.Arguments)
		dst = append(dst, `}}`...)
	}
	if len(c.Message.ToolCalls) > 0 {
		dst = append(dst, ']')
	}
	dst = append(dst, `},"finish_reason":`...)
	if c.FinishReason == nil {
		dst = append(dst, "null"...)
	} else {
		dst = jsonappend.String(dst, *c.FinishReason)
	}
	return append(dst, '}'), nil
}

func (u *usage) append(dst []byte) []byte {
	dst = strconv.AppendInt(append(dst, `{"prompt_tokens":`...), int64(u.Prompt), 10)
	dst = strconv.AppendInt(append(dst, `,"completion_tokens":`...), int64(u.Completion), 10)
	dst = strconv.AppendInt(append(dst, `,"total_tokens":`...), int64(u.Total), 10)
	if d := u.PromptDetails; d != nil {
		dst = append(dst, `,"prompt_tokens_details":{`...)
		dst = appendCount(dst, `"cached_tokens":`, d.Cached)
		if d.Cached != nil && d.CacheWrite != nil {
			dst = append(dst, ',')
		}
		dst = append(appendCount(dst, `"cache_write_tokens":`, d.CacheWrite), '}')
	}
	if d := u.CompletionDetails; d != nil {
		dst = append(dst, `,"completion_tokens_details":{`...)
		dst = append(appendCount(dst, `"reasoning_tokens":`, d.Reasoning), '}')
	}
	return append(dst, '}')
}

// appendMember appends a member of an object: before is its name, and what goes ahead of it.
func appendMember(dst []byte, before, value string) []byte {
	return jsonappend.String(append(dst, before...), value)
}

// appendCount appends a member, where there is a count.
func appendCount(dst []byte, before string, n *int) []byte {
	if n == nil {
		return dst
	}
	return strconv.AppendInt(append(dst, before...), int64(*n), 10)
}
