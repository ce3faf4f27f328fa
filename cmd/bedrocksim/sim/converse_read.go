package sim

import (
	"fmt"
	"strings"
)

// readConverse reads what a body of Converse asks for. The body was checked: what is absent is
// zero, and what is there has its type.
//
// Only the last user turn is answered; of what came before it, the names of the tools that were
// called are remembered, for their results name the call alone.
func readConverse(m model, body any) *ask {
	a := &ask{model: m, maxTokens: whole(body, "inferenceConfig", "maxTokens")}
	for _, s := range items(body, "inferenceConfig", "stopSequences") {
		a.stops = append(a.stops, s.(string))
	}
	for _, p := range items(body, "additionalModelResponseFieldPaths") {
		a.paths = append(a.paths, p.(string))
	}
	for _, t := range items(body, "toolConfig", "tools") {
		if spec, ok := child(t, "toolSpec").(object); ok {
			s, _ := child(spec, "inputSchema", "json").(object)
			a.tools = append(a.tools, toolDef{name: str(spec, "name"), schema: s})
		}
	}
	if c, ok := child(body, "toolConfig", "toolChoice").(object); ok {
		for kind := range c {
			a.choice = kind
		}
		a.chosen = str(c, "tool", "name")
	}
	if s := str(body, "outputConfig", "textFormat", "structure", "jsonSchema", "schema"); s != "" {
		v, _ := parse([]byte(s))
		a.format, _ = v.(object)
	}
	// Each family has a name of its own for reasoning: thinking is Claude's, reasoningConfig Nova's;
	// gpt-oss has an effort.
	fields := child(body, "additionalModelRequestFields")
	for _, name := range []string{"thinking", "reasoning_config", "reasoningConfig"} {
		kind := str(fields, name, "type")
		a.thinking = a.thinking || kind == "enabled" || kind == "adaptive"
	}
	a.thinking = a.thinking || str(fields, "reasoning_effort") != "" || str(fields, "reasoning_config") != "" || str(fields, "reasoning", "effort") != "" || str(body, "outputConfig", "effort") != ""
	a.tier = str(body, "serviceTier", "type")
	a.look(wishOfConverse(body, nil))
	a.think(str(fields, "thinking", "type"), str(fields, "thinking", "display"))
	messages := items(body, "messages")
	uses := map[string]string{}
	for i, msg := range messages {
		// A trailing turn by the assistant is the beginning of the answer: the question is before it, as it
		// is before a trailing system message.
		last := i == len(messages)-1 || i == len(messages)-2 && str(messages[len(messages)-1], "role") != "user"
		a.past = append(a.past, pastOfConverse(msg))
		for _, b := range items(msg, "content") {
			if u := child(b, "toolUse"); u != nil {
				uses[str(u, "toolUseId")] = str(u, "name")
			}
			if last {
				a.readConverse(str(msg, "role"), b, uses)
			}
		}
	}
	return a
}

// readConverse reads one block of the turn that is answered, or of the prefill after it. Images
// and documents are only told apart: the answer says that they arrived, and how large.
func (a *ask) readConverse(role string, b any, uses map[string]string) {
	switch {
	case role == "system":
	case role == "assistant":
		a.prefilled = a.prefilled || str(b, "text") != ""
	case child(b, "text") != nil:
		a.said = append(a.said, str(b, "text"))
	case child(b, "image") != nil:
		a.seen = append(a.seen, fmt.Sprintf("a %s image of %d bytes", str(b, "image", "format"), len(bytesOf(b, "image", "source", "bytes"))))
	case child(b, "document") != nil:
		a.seen = append(a.seen, fmt.Sprintf("the %s document %q", str(b, "document", "format"), str(b, "document", "name")))
	case child(b, "toolResult") != nil:
		r := child(b, "toolResult")
		var parts []string
		for _, c := range items(r, "content") {
			switch {
			case child(c, "text") != nil:
				parts = append(parts, str(c, "text"))
			case child(c, "json") != nil:
				parts = append(parts, compact(child(c, "json")))
			case child(c, "image") != nil:
				parts = append(parts, "a "+str(c, "image", "format")+" image")
			default:
				parts = append(parts, "something else")
			}
		}
		a.results = append(a.results, result{tool: uses[str(r, "toolUseId")], text: strings.Join(parts, " "), err: str(r, "status") == "error"})
	}
}

// pastOfConverse is a turn of the conversation; a system message is nobody's.
func pastOfConverse(msg any) past {
	p := past{user: str(msg, "role") != "assistant"}
	var text strings.Builder
	for _, b := range items(msg, "content") {
		if child(b, "toolUse") != nil {
			p.calls++
		}
		if s, ok := child(b, "text").(string); ok && str(msg, "role") != "system" {
			text.WriteString(s + "\n")
		}
	}
	p.text = text.String()
	return p
}
