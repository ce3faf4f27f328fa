package sim

import (
	"fmt"
	"strings"
)

// readMessages reads what a body for Claude asks for. It is readConverse in Anthropic's words: see
// there.
func readMessages(m model, body any) *ask {
	a := &ask{model: m, maxTokens: whole(body, "max_tokens"), choice: str(body, "tool_choice", "type"), chosen: str(body, "tool_choice", "name")}
	a.faults = faultsOfClaude(body)
	a.look(wishOfMessages(body, nil))
	a.serial, _ = child(body, "tool_choice", "disable_parallel_tool_use").(bool)
	for _, s := range items(body, "stop_sequences") {
		a.stops = append(a.stops, s.(string))
	}
	for _, t := range items(body, "tools") {
		s, _ := child(t, "input_schema").(object)
		a.tools = append(a.tools, toolDef{name: str(t, "name"), schema: s})
	}
	// output_format is the older place, under a beta header.
	for _, f := range []any{child(body, "output_config", "format"), child(body, "output_format")} {
		if s, ok := child(f, "schema").(object); ok {
			a.format = s
		}
	}
	kind := str(body, "thinking", "type")
	a.thinking = kind == "enabled" || kind == "adaptive"
	a.think(kind, str(body, "thinking", "display"))
	messages := items(body, "messages")
	uses := map[string]string{}
	for i, msg := range messages {
		last := i == len(messages)-1 || i == len(messages)-2 && str(messages[len(messages)-1], "role") != "user"
		a.past = append(a.past, pastOfClaude(msg))
		for _, b := range contentOf(msg, "content") {
			if str(b, "type") == "tool_use" {
				uses[str(b, "id")] = str(b, "name")
			}
			if last {
				a.readClaude(str(msg, "role"), b, uses)
			}
		}
	}
	return a
}

func (a *ask) readClaude(role string, b any, uses map[string]string) {
	switch kind := str(b, "type"); {
	case role == "system":
	case role == "assistant":
		a.prefilled = a.prefilled || str(b, "text") != ""
	case kind == "text":
		a.said = append(a.said, str(b, "text"))
	case kind == "image":
		a.seen = append(a.seen, fmt.Sprintf("a %s image of %d bytes", strings.TrimPrefix(str(b, "source", "media_type"), "image/"), len(bytesOf(b, "source", "data"))))
	case kind == "document":
		a.seen = append(a.seen, fmt.Sprintf("the document %q", str(b, "title")))
	case kind == "tool_result":
		var parts []string
		for _, c := range contentOf(b, "content") {
			if str(c, "type") == "text" {
				parts = append(parts, str(c, "text"))
			} else {
				parts = append(parts, "an "+str(c, "type"))
			}
		}
		failed, _ := child(b, "is_error").(bool)
		a.results = append(a.results, result{tool: uses[str(b, "tool_use_id")], text: strings.Join(parts, " "), err: failed})
	}
}

// pastOfClaude is a turn of the conversation; a system message is nobody's.
func pastOfClaude(msg any) past {
	p := past{user: str(msg, "role") != "assistant"}
	var text strings.Builder
	for _, b := range contentOf(msg, "content") {
		switch {
		case str(b, "type") == "tool_use":
			p.calls++
		case str(b, "type") == "text" && str(msg, "role") != "system":
			text.WriteString(str(b, "text") + "\n")
		}
	}
	p.text = text.String()
	return p
}
