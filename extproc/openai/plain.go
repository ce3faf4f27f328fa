package openai

import "aisix/extproc/jsonedit"

// plain reports whether the conversation and the tools are what every service of this format
// takes as they are written: text and calls, with no member of other providers', of ours, or
// that a client left in. What was sent beside them is told as ever.
func (r *chatRequest) plain() bool {
	if r.CacheControl != nil || r.Thinking != nil || r.ResponseFormat != nil || len(r.extensions()) > 0 ||
		r.PromptCacheOptions != nil || r.PromptCacheRetention != nil {
		return false
	}
	for i := range r.Messages {
		if !r.Messages[i].plain() {
			return false
		}
	}
	for i := range r.Tools {
		t := &r.Tools[i]
		if t.marked() || t.Function == nil || t.Function.marked() || t.Function.Parameters == nil {
			return false
		}
	}
	return true
}

func (m *message) plain() bool {
	if m.Role == "developer" || m.Name != "" || m.marked() || m.Refusal != nil || m.ReasoningContent != nil || m.ThinkingBlocks != nil ||
		bool(m.FunctionCall) || bool(m.Audio) || bool(m.Annotations) || bool(m.Parsed) || len(m.Others) > 0 {
		return false
	}
	for i := range m.Content.parts {
		p := &m.Content.parts[i]
		if p.Type != "text" || p.marked() || p.PromptCacheBreakpoint != nil || bool(p.Annotations) || len(p.Others) > 0 {
			return false
		}
	}
	for i := range m.ToolCalls {
		c := &m.ToolCalls[i]
		if bool(c.Index) || c.marked() || len(c.Others) > 0 || c.Function == nil || c.Function.marked() || bool(c.Function.ParsedArguments) || len(c.Function.Others) > 0 {
			return false
		}
	}
	return true
}

func (m *cacheMark) marked() bool { return m.CacheControl != nil || m.CopilotCacheControl != nil }

// written reports whether the body's messages and tools have no member that is null, as clients
// write what they do not say, nor an empty list of calls: a service may refuse either.
func written(body []byte) bool {
	t := jsonedit.Text(body)
	for m := range t.Members(t.Root()) {
		if (m.Name == "messages" || m.Name == "tools") && !said(t, m.Value) {
			return false
		}
	}
	return true
}

func said(t jsonedit.Text, value jsonedit.Span) bool {
	for item := range t.Items(value) {
		if !said(t, item) {
			return false
		}
	}
	for m := range t.Members(value) {
		switch {
		case m.Name == "parameters": // a schema, which may well have a null
		case t.Kind(m.Value) == 'n':
			if m.Name != "content" {
				return false
			}
		case m.Name == "tool_calls" && empty(t, m.Value), !said(t, m.Value):
			return false
		}
	}
	return true
}

func empty(t jsonedit.Text, list jsonedit.Span) bool {
	for range t.Items(list) {
		return false
	}
	return true
}
