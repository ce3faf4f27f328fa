package sim

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// contentOf gives content's blocks, whichever of its two forms it has.
func contentOf(v any, name string) []any {
	if s, ok := child(v, name).(string); ok {
		return []any{object{"type": "text", "text": s}}
	}
	return items(v, name)
}

// checkMessages checks a body for Claude and reads what it asks for.
func checkMessages(m model, body any, issued *issues) (*ask, *fault) {
	// InvokeModel takes each publisher's own body; another one sees an unknown member first.
	if m.publisher != "" && m.publisher != "anthropic" {
		return nil, invalid("Malformed input request: #: extraneous key [anthropic_version] is not permitted, please reformat your input and try again.")
	}
	if f := checkBetas(m, apiInvoke, bodyFlags(body), body); f != nil {
		return nil, f
	}
	if f := messagesBody("", body); f != nil {
		return nil, f
	}
	if f := checkClaude(m, body, issued); f != nil {
		return nil, f
	}
	return readMessages(m, body), nil
}

// checkClaude checks what the body of InvokeModel and that of mantle's Messages have in common, beyond
// the shape.
func checkClaude(m model, body any, issued *issues) *fault {
	for _, check := range []func(any) *fault{
		func(v any) *fault { return refuse(m, wishOfMessages(v, issued)) },
		checkClaudeTexts, checkClaudeTurns, checkClaudeTools,
	} {
		if f := check(body); f != nil {
			return f
		}
	}
	return nil
}

// checkClaudeTexts refuses blank text, in system, turns and tool results, blank stop sequences, and a
// prefill that ends in white space.
func checkClaudeTexts(body any) *fault {
	if s, ok := child(body, "system").(string); ok && blank(s) {
		return at("system", "text content blocks must be non-empty")
	}
	for _, b := range items(body, "system") {
		if blank(str(b, "text")) {
			return at("system", "text content blocks must be non-empty")
		}
	}
	for i, s := range items(body, "stop_sequences") {
		if blank(s.(string)) {
			return at(fmt.Sprintf("stop_sequences.%d", i), "each stop sequence must contain non-whitespace")
		}
	}
	messages := items(body, "messages")
	for i, m := range messages {
		content := contentOf(m, "content")
		if len(content) == 0 && (str(m, "role") != "system" || child(m, "output_config") == nil) {
			return at(fmt.Sprintf("messages.%d", i), "all messages must have non-empty content except for the optional final assistant message")
		}
		for j, b := range content {
			if f := checkClaudeText(fmt.Sprintf("messages.%d.content.%d", i, j), b); f != nil {
				return f
			}
			for k, c := range contentOf(b, "content") {
				if f := checkClaudeText(fmt.Sprintf("messages.%d.content.%d.content.%d", i, j, k), c); f != nil {
					return f
				}
			}
		}
		if len(content) == 0 {
			continue // an effort alone
		}
		if last := content[len(content)-1]; i == len(messages)-1 && str(m, "role") == "assistant" && trailingSpace.MatchString(str(last, "text")) {
			return at("messages", "final assistant content cannot end with trailing whitespace")
		}
	}
	return nil
}

func checkClaudeText(path string, b any) *fault {
	if str(b, "type") != "text" {
		return nil
	}
	switch s := str(b, "text"); {
	case s == "":
		return at("messages", "text content blocks must be non-empty (%s)", path)
	case blank(s):
		return at("messages", "text content blocks must contain non-whitespace text (%s)", path)
	}
	return nil
}

// checkClaudeTurns holds turns to their order and blocks to their role. Anthropic's own API merges
// neighbours of one role; InvokeModel's validation has refused them, so we do.
func checkClaudeTurns(body any) *fault {
	var turns []turn
	for i, m := range items(body, "messages") {
		t := turn{role: str(m, "role")}
		if i == 0 && t.role != "user" {
			return at("messages", "first message must use the \"user\" role")
		}
		if i > 0 && t.role == turns[i-1].role {
			return at("messages", "roles must alternate between \"user\" and \"assistant\", but found multiple %q roles in a row", t.role)
		}
		other := false
		for j, b := range contentOf(m, "content") {
			path := fmt.Sprintf("messages.%d.content.%d", i, j)
			switch kind := str(b, "type"); {
			case kind == "tool_use" && t.role == "assistant":
				t.uses = append(t.uses, str(b, "id"))
			case kind == "tool_result" && t.role == "user":
				t.results = append(t.results, str(b, "tool_use_id"))
				t.late = t.late || other
			case (kind == "thinking" || kind == "redacted_thinking") && t.role == "assistant":
				if f := checkThought(str(b, "thinking"), str(b, "signature")); f != nil {
					return at(path, "%s", f.message)
				}
			case kind == "text":
				other = true
			case t.role == "user" && slices.Contains([]string{"image", "document", "search_result"}, kind):
				other = true
			default:
				return at(path, "`%s` blocks are not permitted in messages of role %s", kind, t.role)
			}
		}
		turns = append(turns, t)
	}
	return checkClaudePairs(turns)
}

// checkClaudePairs holds calls and results together: every call is answered in the next turn, once,
// and before anything else is said there ("immediately after").
func checkClaudePairs(turns []turn) *fault {
	for i, t := range turns {
		if id := twice(t.uses); id != "" {
			return at("messages", "`tool_use` ids must be unique: %s", id)
		}
		if id := twice(t.results); id != "" {
			return at(fmt.Sprintf("messages.%d", i), "each tool_use must have a single result. Found multiple `tool_result` blocks with id: %s", id)
		}
		var open []string
		if i > 0 {
			open = turns[i-1].uses
		}
		if stray := without(t.results, open); len(stray) > 0 {
			id := stray[0]
			return at(fmt.Sprintf("messages.%d.content.%d", i, slices.Index(t.results, id)), "unexpected `tool_use_id` found in `tool_result` blocks: %s. Each `tool_result` block must have a corresponding `tool_use` block in the previous message.", id)
		}
		missing := without(open, t.results)
		if t.late {
			missing = open
		}
		if len(missing) > 0 {
			return unanswered(i-1, missing)
		}
	}
	if last := turns[len(turns)-1]; len(last.uses) > 0 {
		return unanswered(len(turns)-1, last.uses)
	}
	return nil
}

// unanswered names all calls of turn i that wait.
func unanswered(i int, ids []string) *fault {
	return at(fmt.Sprintf("messages.%d", i), "`tool_use` ids were found without `tool_result` blocks immediately after: %s. Each `tool_use` block must have a corresponding `tool_result` block in the next message.", strings.Join(ids, ", "))
}

// checkClaudeTools: names are unique, and a choice needs something to choose from.
func checkClaudeTools(body any) *fault {
	names := map[string]bool{}
	for i, t := range items(body, "tools") {
		if names[str(t, "name")] {
			return at(fmt.Sprintf("tools.%d", i), "Tool names must be unique.")
		}
		names[str(t, "name")] = true
	}
	if child(body, "tool_choice") != nil && len(names) == 0 {
		return at("tool_choice", "may only be specified while providing tools")
	}
	if name := str(body, "tool_choice", "name"); name != "" && !names[name] {
		return at("tool_choice", "Tool '%s' not found in provided tools", name)
	}
	return nil
}

var trailingSpace = regexp.MustCompile(`\s$`)
