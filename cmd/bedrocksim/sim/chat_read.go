package sim

import (
	"fmt"
	"slices"
	"strings"
)

// readChat checks a body of Chat Completions and reads what it asks for.
func (s *Server) readChat(m model, host string, body any) (*ask, *fault) {
	if f := chatBodies[host]("", body); f != nil {
		return nil, f
	}
	if f := checkChat(body); f != nil {
		return nil, f
	}
	if f := refuse(m, wishOfChat(body)); f != nil {
		return nil, f
	}
	a := &ask{model: m, maxTokens: max(whole(body, "max_tokens"), whole(body, "max_completion_tokens")), tier: str(body, "service_tier")}
	a.streamed, _ = child(body, "stream").(bool)
	a.usage, _ = child(body, "stream_options", "include_usage").(bool)
	a.stops = texts(child(body, "stop"))
	for _, t := range items(body, "tools") {
		parameters, _ := child(t, "function", "parameters").(object)
		a.tools = append(a.tools, toolDef{name: str(t, "function", "name"), schema: parameters})
	}
	a.choice, a.chosen = choiceOf(child(body, "tool_choice")), str(body, "tool_choice", "function", "name")
	a.allow(child(body, "tool_choice", "allowed_tools"), "function", "name")
	if parallel, ok := child(body, "parallel_tool_calls").(bool); ok {
		a.serial = !parallel
	}
	if f := child(body, "response_format"); str(f, "type") == "json_schema" {
		a.format, _ = child(f, "json_schema", "schema").(object)
	}
	effort := str(body, "reasoning_effort")
	a.thinking = effort != "" && effort != "none"
	for _, msg := range items(body, "messages") {
		a.readChatMessage(msg)
	}
	a.cache, a.input = s.cache.use(m.id, a.marked(items(body, "tools"), items(body, "messages")))
	return a, nil
}

// marked is the prompt in pieces. Who caches unasked, caches every prefix.
func (a *ask) marked(lists ...[]any) (prompt []piece) {
	for _, l := range lists {
		for _, v := range l {
			prompt = append(prompt, piece{text: compact(v), mark: a.model.has("input_holds_cached")})
		}
	}
	return prompt
}

// choiceOf is a choice of tools in Converse's words.
func choiceOf(v any) string {
	switch s, _ := v.(string); s {
	case "required":
		return "any"
	case "":
		if v != nil {
			return "tool"
		}
		return ""
	default:
		return s
	}
}

// allow keeps, of the tools, those that a choice among some of them names, at a path in each.
func (a *ask) allow(choice any, name ...string) {
	if str(choice, "mode") == "" {
		return
	}
	a.choice = choiceOf(child(choice, "mode"))
	names := map[string]bool{}
	for _, t := range items(choice, "tools") {
		names[or(str(t, name...), str(t, "type"))] = true
	}
	a.tools = slices.DeleteFunc(a.tools, func(t toolDef) bool { return !names[or(t.name, t.kind)] })
}

// readChatMessage reads one message: what came before an answer of the model's is past.
func (a *ask) readChatMessage(msg any) {
	switch role := str(msg, "role"); role {
	case "assistant":
		a.said, a.seen, a.results = nil, nil, nil
		var names []string
		for _, c := range items(msg, "tool_calls") {
			names = append(names, str(c, "function", "name"))
			a.called(str(c, "id"), str(c, "function", "name"))
		}
		a.past = append(a.past, past{calls: len(names), text: strings.Join(partTexts(msg), "\n")})
	case "tool":
		a.results = append(a.results, result{tool: a.uses[str(msg, "tool_call_id")], text: strings.Join(partTexts(msg), " ")})
	case "user":
		a.said = append(a.said, partTexts(msg)...)
		a.past = append(a.past, past{user: true, text: strings.Join(partTexts(msg), "\n")})
		for _, p := range items(msg, "content") {
			if url := str(p, "image_url", "url"); url != "" {
				a.seen = append(a.seen, imageSeen(url))
			}
		}
	}
}

// imageSeen says what image a data URL holds.
func imageSeen(url string) string {
	media, data, _ := strings.Cut(strings.TrimPrefix(url, "data:image/"), ";base64,")
	return fmt.Sprintf("a %s image of %d bytes", media, len(data)/4*3-strings.Count(data, "="))
}

// partTexts are the texts of a message, whichever of its two forms its content has.
func partTexts(msg any) (texts []string) {
	if s, ok := child(msg, "content").(string); ok {
		return []string{s}
	}
	for _, p := range items(msg, "content") {
		if s, ok := child(p, "text").(string); ok {
			texts = append(texts, s)
		}
	}
	return texts
}

func texts(v any) (all []string) {
	if s, ok := v.(string); ok {
		return []string{s}
	}
	l, _ := v.([]any)
	for _, e := range l {
		all = append(all, e.(string))
	}
	return all
}

// checkChat holds messages, tools and options to each other, in OpenAI's words.
func checkChat(body any) *fault {
	names := map[string]bool{}
	for i, t := range items(body, "tools") {
		name := str(t, "function", "name")
		if names[name] {
			return at(fmt.Sprintf("tools.%d.function.name", i), "tool names must be unique, and '%s' is used twice", name)
		}
		names[name] = true
	}
	if child(body, "tool_choice") != nil && len(names) == 0 {
		return at("tool_choice", "'tool_choice' is only allowed when 'tools' are specified.")
	}
	if child(body, "parallel_tool_calls") != nil && len(names) == 0 {
		return at("parallel_tool_calls", "'parallel_tool_calls' is only allowed when 'tools' are specified.")
	}
	if name := str(body, "tool_choice", "function", "name"); name != "" && !names[name] {
		return at("tool_choice", "Tool choice '%s' not found in 'tools' parameter.", name)
	}
	for _, t := range items(body, "tool_choice", "allowed_tools", "tools") {
		if name := str(t, "function", "name"); !names[name] {
			return at("tool_choice", "Tool choice '%s' not found in 'tools' parameter.", name)
		}
	}
	if stream, _ := child(body, "stream").(bool); child(body, "stream_options") != nil && !stream {
		return at("stream_options", "The 'stream_options' parameter is only allowed when 'stream' is enabled.")
	}
	if child(body, "max_tokens") != nil && child(body, "max_completion_tokens") != nil {
		return at("max_tokens", "Setting 'max_tokens' and 'max_completion_tokens' at the same time is not supported.")
	}
	return checkChatPairs(items(body, "messages"))
}

// checkChatPairs: every call is answered right after it, once.
func checkChatPairs(messages []any) *fault {
	open := map[string]bool{}
	for i, msg := range append(messages, object{"role": "end"}) {
		if str(msg, "role") == "tool" {
			id := str(msg, "tool_call_id")
			if !open[id] {
				return at(fmt.Sprintf("messages.%d.role", i), "messages with role 'tool' must be a response to a preceeding message with 'tool_calls'.")
			}
			delete(open, id)
			continue
		}
		if len(open) > 0 {
			ids := make([]string, 0, len(open))
			for id := range open {
				ids = append(ids, id)
			}
			return invalid("An assistant message with 'tool_calls' must be followed by tool messages responding to each 'tool_call_id'. The following tool_call_ids did not have response messages: %s", strings.Join(sorted(ids), ", "))
		}
		if str(msg, "role") != "assistant" {
			continue
		}
		if child(msg, "content") == nil && child(msg, "tool_calls") == nil {
			return at(fmt.Sprintf("messages.%d.content", i), "expected a string, got null.")
		}
		for j, c := range items(msg, "tool_calls") {
			if !arguments(str(c, "function", "arguments")) {
				return at(fmt.Sprintf("messages.%d.tool_calls.%d.function.arguments", i, j), "the arguments of a call have to be a JSON object")
			}
			open[str(c, "id")] = true
		}
	}
	return nil
}

// wishOfChat is what the table's rules look at of a body of Chat Completions.
func wishOfChat(body any) *wish {
	w := &wish{maxTokens: whole(body, "max_tokens"), choice: choiceOf(child(body, "tool_choice"))}
	for _, t := range items(body, "tools") {
		tool := wishTool{}
		tool.strict, _ = child(t, "function", "strict").(bool)
		tool.schema, _ = child(t, "function", "parameters").(object)
		w.tools = append(w.tools, tool)
	}
	return w
}
