package sim

import (
	"fmt"
	"strings"
)

// checkConverse checks a body of Converse and reads what it asks for.
func checkConverse(m model, body any, stream bool) (*ask, *fault) {
	if f := converseShapes[stream]("", body); f != nil {
		return nil, f
	}
	if f := checkConverseModel(m, body); f != nil {
		return nil, f
	}
	if f := checkConverseMessages(body); f != nil {
		return nil, f
	}
	if f := checkConversePrefill(m, body); f != nil {
		return nil, f
	}
	if f := checkConverseMixed(m, body); f != nil {
		return nil, f
	}
	return readConverse(m, body), nil
}

// checkConverseModel holds the members beside the messages to what the model can do, in the
// words of the service. What only the model itself refuses begins with "The model returned the
// following errors": Converse passes those on.
func checkConverseModel(m model, body any) *fault {
	if len(items(body, "system")) > 0 && !m.takesSystem() {
		return invalid("This model doesn't support system messages. Try again without a system message or use a model that supports system messages.")
	}
	if child(body, "toolConfig") != nil && !m.takesTools() {
		return invalid("This model doesn't support tool use.")
	}
	for _, kind := range []string{"any", "tool"} {
		if child(body, "toolConfig", "toolChoice", kind) != nil && !m.takesForcedTool() {
			return invalid("This model doesn't support the toolConfig.toolChoice.%s field. Remove toolConfig.toolChoice.%s and try again.", kind, kind)
		}
	}
	if m.oneSampler() && child(body, "inferenceConfig", "temperature") != nil && child(body, "inferenceConfig", "topP") != nil {
		return invalid("The model returned the following errors: `temperature` and `top_p` cannot both be specified for this model. Please use only one.")
	}
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
	return checkConverseCache(m, body)
}

// checkConverseCache counts cache points and wants each after something.
func checkConverseCache(m model, body any) *fault {
	count := 0
	look := func(path string, blocks []any) *fault {
		for i, b := range blocks {
			if child(b, "cachePoint") == nil {
				continue
			}
			count++
			if i == 0 || child(blocks[i-1], "cachePoint") != nil {
				return invalid("The cachePoint at %s.%d has nothing before it to cache.", path, i)
			}
		}
		return nil
	}
	if f := look("toolConfig.tools", items(body, "toolConfig", "tools")); f != nil {
		return f
	}
	// User guide, Prompt caching: Nova caches system and messages, no tools.
	if count > 0 && m.is("amazon.nova") {
		return invalid("This model doesn't support cachePoint in toolConfig.tools.")
	}
	if f := look("system", items(body, "system")); f != nil {
		return f
	}
	for i, msg := range items(body, "messages") {
		if f := look(fmt.Sprintf("messages.%d.content", i), items(msg, "content")); f != nil {
			return f
		}
	}
	// The words are Claude's, which calls a cache point by its own name for it.
	if count > 4 {
		return invalid("A maximum of 4 blocks with cache_control may be provided. Found %d.", count)
	}
	if count > 0 && !m.takesCachePoints() {
		return &fault{status: 403, kind: "AccessDeniedException", message: "You invoked an unsupported model or your request did not allow prompt caching. See the documentation for more information."}
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

// checkConverseMixed is a rule of models whose prompts have no place for both: what is said and
// tools do not share a turn.
func checkConverseMixed(m model, body any) *fault {
	if m.takesMixedTurns() {
		return nil
	}
	for i, msg := range items(body, "messages") {
		has := map[string]bool{}
		for _, b := range items(msg, "content") {
			for kind := range b.(object) {
				has[kind] = true
			}
		}
		if !has["text"] && !has["image"] && !has["document"] {
			continue
		}
		for kind, name := range map[string]string{"toolUse": "tool use", "toolResult": "tool result"} {
			if has[kind] {
				return invalid("messages.%d.content: Conversation blocks and %s blocks cannot be provided in the same turn.", i, name)
			}
		}
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
