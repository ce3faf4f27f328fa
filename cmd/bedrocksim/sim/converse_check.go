package sim

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// checkConverse checks a body of Converse and reads what it asks for.
func checkConverse(m model, body any, stream bool, issued *issues) (*ask, *fault) {
	if f := converseShapes[stream]("", body); f != nil {
		return nil, f
	}
	if f := checkConverseClaude(m, body); f != nil {
		return nil, f
	}
	if f := refuse(m, wishOfConverse(body, issued)); f != nil {
		return nil, f
	}
	if f := checkConverseMembers(body); f != nil {
		return nil, f
	}
	if f := checkConverseMessages(body); f != nil {
		return nil, f
	}
	if f := checkConversePrefill(m, body); f != nil {
		return nil, f
	}
	return readConverse(m, body), nil
}

// checkConverseClaude holds Claude's own members among additionalModelRequestFields to their shape.
func checkConverseClaude(m model, body any) *fault {
	fields, _ := child(body, "additionalModelRequestFields").(object)
	if m.publisher != "anthropic" {
		return nil
	}
	if f := checkBetas(m, apiConverse, bodyFlags(fields), any(fields)); f != nil {
		return invalid("The model returned the following errors: %s", f.message)
	}
	for _, name := range slices.Sorted(maps.Keys(claudeFields)) {
		if fields[name] == nil {
			continue
		}
		if f := claudeFields[name](name, fields[name]); f != nil {
			return invalid("The model returned the following errors: %s", f.message)
		}
	}
	return nil
}

// checkConverseMembers holds the members beside the messages to each other, in the words of the
// service. What only the model itself refuses begins with "The model returned the following errors":
// Converse passes those on.
func checkConverseMembers(body any) *fault {
	names := map[string]bool{}
	for i, t := range items(body, "toolConfig", "tools") {
		name := str(t, "toolSpec", "name")
		if name != "" && names[name] {
			return invalid("The tool name %s at toolConfig.tools.%d is already used. Tool names must be unique.", name, i)
		}
		names[name] = true
	}
	if name := str(body, "toolConfig", "toolChoice", "tool", "name"); name != "" && !names[name] {
		return invalid("The tool name %s at toolConfig.toolChoice.tool.name is not one of the tools.", name)
	}
	for i, s := range items(body, "system") {
		if t, ok := child(s, "text").(string); ok && blank(t) {
			return invalid("The text field in the SystemContentBlock object at system.%d is blank. Add text to the text field, and try again.", i)
		}
	}
	// Each alone is legal by the shape, both empty too: no guardrail.
	if g := child(body, "guardrailConfig"); g != nil && (str(g, "guardrailIdentifier") == "") != (str(g, "guardrailVersion") == "") {
		return invalid("guardrailIdentifier and guardrailVersion must both be set.")
	}
	for i, s := range items(body, "inferenceConfig", "stopSequences") {
		if blank(s.(string)) {
			return invalid("The model returned the following errors: stop_sequences.%d: each stop sequence must contain non-whitespace", i)
		}
	}
	return checkConverseCache(body)
}

// checkConverseCache wants each cache point after something.
func checkConverseCache(body any) *fault {
	look := func(path string, blocks []any) *fault {
		for i, b := range blocks {
			if child(b, "cachePoint") != nil && (i == 0 || child(blocks[i-1], "cachePoint") != nil) {
				return invalid("The cachePoint at %s.%d has nothing before it to cache.", path, i)
			}
		}
		return nil
	}
	if f := look("toolConfig.tools", items(body, "toolConfig", "tools")); f != nil {
		return f
	}
	if f := look("system", items(body, "system")); f != nil {
		return f
	}
	for i, msg := range items(body, "messages") {
		if f := look(fmt.Sprintf("messages.%d.content", i), items(msg, "content")); f != nil {
			return f
		}
	}
	return nil
}

// checkConverseMessages holds the conversation to the rules of AWS's pages API_runtime_Message and
// API_runtime_ContentBlock: it begins with the user, roles alternate, no text is blank, a document
// has a text beside it. Up to 20 images and five documents: read strictly, of the whole request.
func checkConverseMessages(body any) *fault {
	messages := items(body, "messages")
	if len(messages) == 0 || str(messages[0], "role") != "user" {
		return invalid("A conversation must start with a user message. Try again with a conversation that starts with a user message.")
	}
	var turns []turn
	names := map[string]bool{}
	images, documents := 0, 0
	for i, m := range messages {
		t := turn{role: str(m, "role")}
		if i > 0 && t.role == turns[i-1].role {
			return invalid("A conversation must alternate between user and assistant roles. Make sure the conversation alternates between user and assistant roles and try again.")
		}
		content := items(m, "content")
		if len(content) == 0 {
			return invalid("The content field in the Message object at messages.%d is empty. Add a ContentBlock object to the content field and try again.", i)
		}
		hasText, hasDocument := false, false
		for j, b := range content {
			path := fmt.Sprintf("messages.%d.content.%d", i, j)
			if f := placed(path, t.role, b); f != nil {
				return f
			}
			if s, ok := child(b, "text").(string); ok {
				hasText = true
				if blank(s) {
					return invalid("The text field in the ContentBlock object at %s is blank. Add text to the text field, and try again.", path)
				}
			}
			if child(b, "image") != nil {
				images++
			}
			if d := child(b, "document"); d != nil {
				documents++
				hasDocument = true
				name := strings.ToLower(str(d, "name"))
				if names[name] {
					return invalid("Document names must be unique: %s at %s is used twice.", str(d, "name"), path)
				}
				names[name] = true
			}
			if id := str(b, "toolUse", "toolUseId"); id != "" {
				t.uses = append(t.uses, id)
			}
			if r := child(b, "toolResult"); r != nil {
				if f := checkResult(path, r); f != nil {
					return f
				}
				t.results = append(t.results, str(r, "toolUseId"))
			}
		}
		if hasDocument && !hasText {
			return invalid("A document at messages.%d needs a text block in the same message.", i)
		}
		turns = append(turns, t)
	}
	if images > 20 {
		return invalid("too many images: %d, at most 20", images)
	}
	if documents > 5 {
		return invalid("too many documents: %d, at most 5", documents)
	}
	return checkPairs(turns, child(body, "toolConfig") != nil)
}

// checkConversePrefill is Claude's own rule, which reaches it through Converse too.
func checkConversePrefill(m model, body any) *fault {
	messages := items(body, "messages")
	last := messages[len(messages)-1]
	content := items(last, "content")
	if m.publisher == "anthropic" && str(last, "role") == "assistant" && trailingSpace.MatchString(str(content[len(content)-1], "text")) {
		return invalid("The model returned the following errors: messages: final assistant content cannot end with trailing whitespace")
	}
	return nil
}

// placed refuses a block in a turn of the wrong role.
func placed(path, role string, b any) *fault {
	// The shapes have one ContentBlock for both roles; the pages of its members say whose each is.
	only := map[string]string{"toolUse": "assistant", "reasoningContent": "assistant", "citationsContent": "assistant", "toolResult": "user", "image": "user", "document": "user", "video": "user", "audio": "user"}
	for kind := range b.(object) {
		if want, ok := only[kind]; ok && want != role {
			return invalid("The %s content block at %s is only allowed in messages of role %s.", kind, path, want)
		}
	}
	if s, ok := child(b, "reasoningContent", "reasoningText").(object); ok {
		if f := checkThought(str(s, "text"), str(s, "signature")); f != nil {
			return at(path, "%s", f.message)
		}
	}
	return nil
}

// checkResult holds a tool result to having content: one without would look unanswered.
func checkResult(path string, r any) *fault {
	content := items(r, "content")
	if len(content) == 0 {
		return invalid("The content field in the ToolResultBlock object at %s.toolResult is empty. Add content and try again.", path)
	}
	for j, c := range content {
		if s, ok := child(c, "text").(string); ok && blank(s) {
			return invalid("The text field in the ToolResultContentBlock object at %s.toolResult.content.%d is blank. Add text to the text field, and try again.", path, j)
		}
	}
	return nil
}

// checkPairs holds tool uses and their results together.
func checkPairs(turns []turn, configured bool) *fault {
	for i, t := range turns {
		if !configured && len(t.uses)+len(t.results) > 0 {
			return invalid("The toolConfig field must be defined when using toolUse and toolResult content blocks.")
		}
		if id := twice(t.uses); id != "" {
			return invalid("The toolUse blocks at messages.%d.content contain duplicate Ids: %s", i, id)
		}
		if id := twice(t.results); id != "" {
			return invalid("The toolResult blocks at messages.%d.content contain duplicate Ids: %s", i, id)
		}
		var open []string
		if i > 0 {
			open = turns[i-1].uses
		}
		if len(t.results) > len(open) {
			return invalid("The number of toolResult blocks at messages.%d.content exceeds the number of toolUse blocks of previous turn.", i)
		}
		if missing := without(open, t.results); len(missing) > 0 {
			return invalid("Expected toolResult blocks at messages.%d.content for the following Ids: %s", i, strings.Join(missing, ", "))
		}
	}
	// A conversation can't end with a call: nobody would be left to answer it.
	if last := turns[len(turns)-1]; len(last.uses) > 0 {
		return invalid("Expected toolResult blocks at messages.%d.content for the following Ids: %s", len(turns), strings.Join(last.uses, ", "))
	}
	return nil
}

// twice is the first id that comes again, "" where none does.
func twice(ids []string) string {
	seen := make(map[string]bool, len(ids))
	for _, id := range ids {
		if seen[id] {
			return id
		}
		seen[id] = true
	}
	return ""
}

// without is the ids that others does not have.
func without(ids, others []string) (missing []string) {
	have := make(map[string]bool, len(others))
	for _, id := range others {
		have[id] = true
	}
	for _, id := range ids {
		if !have[id] {
			missing = append(missing, id)
		}
	}
	return missing
}
