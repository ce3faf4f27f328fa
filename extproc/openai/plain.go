package openai

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
