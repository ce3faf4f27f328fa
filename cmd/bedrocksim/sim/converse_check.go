package sim

import (
	"fmt"
	"math"
	"regexp"
	"slices"
	"strings"
)

const (
	toolName   = `[a-zA-Z0-9_-]+`
	maxImage   = 3_932_160 // 3.75 MB
	maxDoc     = 4_718_592 // 4.5 MB
	maxInt     = math.MaxInt32
	metaChars  = `[a-zA-Z0-9\s:_@$#=/+,.-]*`
	oneSpace   = `[a-zA-Z0-9()\[\]-]+( [a-zA-Z0-9()\[\]-]+)*`
	guardrails = `(|([a-z0-9]+)|(arn:aws(-[^:]+)?:bedrock:[a-z0-9-]{1,20}:[0-9]{12}:guardrail/[a-z0-9]+))`
)

var (
	cachePoint = members(map[string]check{"*type": enum("default"), "ttl": enum("5m", "1h")})
	s3Location = members(map[string]check{"*uri": text(1, 1024, `s3://.+`), "bucketOwner": text(12, 12, `[0-9]+`)})
	imageBlock = all(members(map[string]check{
		"*format": enum("png", "jpeg", "gif", "webp"),
		"*source": union(map[string]check{"bytes": blob(maxImage), "s3Location": s3Location}),
	}), imageMatches)
	documentBlock = members(map[string]check{
		"*name":   text(1, 200, oneSpace),
		"format":  enum("pdf", "csv", "doc", "docx", "xls", "xlsx", "html", "txt", "md"),
		"*source": union(map[string]check{"bytes": blob(maxDoc), "s3Location": s3Location, "text": text(1, maxInt, ""), "content": list(1, 1000, union(map[string]check{"text": text(1, maxInt, "")}))}),
		"context": anyText, "citations": members(map[string]check{"*enabled": boolean}),
	})
	videoBlock = members(map[string]check{"*format": anyText, "*source": free})
	audioBlock = members(map[string]check{"*format": anyText, "*source": free})
	search     = members(map[string]check{"*source": anyText, "*title": anyText, "*content": list(1, 1000, members(map[string]check{"*text": anyText})), "citations": members(map[string]check{"*enabled": boolean})})
	toolUse    = members(map[string]check{"*toolUseId": text(1, 64, toolName), "*name": text(1, 64, toolName), "*input": freeObject, "type": enum("server_tool_use")})
	toolResult = members(map[string]check{
		"*toolUseId": text(1, 64, toolName), "status": enum("success", "error"), "type": anyText,
		"*content": list(0, 1000, union(map[string]check{
			"text": anyText, "json": freeObject, "image": imageBlock, "document": documentBlock, "video": videoBlock, "searchResult": search,
		})),
	})
	reasoning = union(map[string]check{
		"reasoningText":   members(map[string]check{"*text": anyText, "signature": anyText}),
		"redactedContent": blob(maxInt),
	})
	guardContent  = union(map[string]check{"text": members(map[string]check{"*text": anyText, "qualifiers": list(0, 3, enum("grounding_source", "query", "guard_content"))}), "image": free})
	converseBlock = union(map[string]check{
		"text": anyText, "image": imageBlock, "document": documentBlock, "video": videoBlock, "audio": audioBlock, "searchResult": search,
		"toolUse": toolUse, "toolResult": toolResult, "reasoningContent": reasoning, "cachePoint": cachePoint, "guardContent": guardContent, "citationsContent": free,
	})
	toolSpec = members(map[string]check{
		"*name": text(1, 64, toolName), "description": text(1, maxInt, ""), "strict": boolean,
		"*inputSchema": union(map[string]check{"json": schema}),
	})
	empty     = members(nil)
	guardrail = map[string]check{"guardrailIdentifier": text(0, 2048, guardrails), "guardrailVersion": text(0, 5, `(|([1-9][0-9]{0,7})|(DRAFT))`), "trace": enum("enabled", "disabled", "enabled_full")}
)

// converseRequest is ConverseRequest, and with stream ConverseStreamRequest.
func converseRequest(stream bool) check {
	guard := map[string]check{"streamProcessingMode": enum("sync", "async")}
	if !stream {
		guard = map[string]check{}
	}
	for k, v := range guardrail {
		guard[k] = v
	}
	return members(map[string]check{
		"messages": list(0, 10000, members(map[string]check{"*role": enum("user", "assistant"), "*content": list(0, 10000, converseBlock)})),
		"system":   list(0, 1000, union(map[string]check{"text": text(1, maxInt, ""), "cachePoint": cachePoint, "guardContent": guardContent})),
		"inferenceConfig": members(map[string]check{
			"maxTokens": integer(1, maxInt), "temperature": number(0, 1), "topP": number(0, 1), "stopSequences": list(0, 2500, text(1, maxInt, "")),
		}),
		"toolConfig": members(map[string]check{
			"*tools":     list(1, 1000, union(map[string]check{"toolSpec": toolSpec, "cachePoint": cachePoint, "systemTool": members(map[string]check{"*name": text(1, 64, toolName)})})),
			"toolChoice": union(map[string]check{"auto": empty, "any": empty, "tool": members(map[string]check{"*name": text(1, 64, toolName)})}),
		}),
		"guardrailConfig":                   members(guard),
		"additionalModelRequestFields":      freeObject,
		"additionalModelResponseFieldPaths": list(0, 10, text(1, 256, "")),
		"promptVariables":                   freeObject,
		"requestMetadata":                   mapOf(16, text(1, 256, metaChars), text(0, 256, metaChars)),
		"performanceConfig":                 members(map[string]check{"latency": enum("standard", "optimized")}),
		"serviceTier":                       members(map[string]check{"*type": enum("priority", "default", "flex", "reserved")}),
		"outputConfig": members(map[string]check{
			"effort": anyText,
			"textFormat": members(map[string]check{
				"*type":      enum("json_schema"),
				"*structure": union(map[string]check{"jsonSchema": members(map[string]check{"*schema": jsonSchemaText, "name": text(1, 256, ""), "description": anyText})}),
			}),
		}),
	})
}

var converseShapes = map[bool]check{false: converseRequest(false), true: converseRequest(true)}

func imageMatches(path string, v any) *fault {
	if b := bytesOf(v, "source", "bytes"); len(b) > 0 && imageKind(b) != str(v, "format") {
		return at(path, "The provided image is not a valid %s image.", str(v, "format"))
	}
	return nil
}

func jsonSchemaText(path string, v any) *fault {
	s, ok := v.(string)
	if !ok {
		return at(path, "Input should be a string of JSON")
	}
	o, err := parse([]byte(s))
	if err != nil {
		return at(path, "The schema is not valid JSON.")
	}
	return structured(path, o)
}

// structured checks a schema of structured output: its objects must be closed.
func structured(path string, v any) *fault {
	if f := schema(path, v); f != nil {
		return f
	}
	return closed(path, v)
}

func closed(path string, v any) *fault {
	switch v := v.(type) {
	case object:
		if v["type"] == "object" && v["additionalProperties"] != false {
			return at(path, "For 'object' type, 'additionalProperties' must be explicitly set to false")
		}
		for _, word := range []string{"minimum", "maximum", "multipleOf", "minLength", "maxLength"} {
			if _, ok := v[word]; ok && v["type"] != nil {
				return at(path, "For '%v' type, property '%s' is not supported", v["type"], word)
			}
		}
		for name, e := range v {
			if name == "enum" || name == "const" || name == "default" || name == "examples" {
				continue
			}
			if f := closed(join(path, name), e); f != nil {
				return f
			}
		}
	case []any:
		for i, e := range v {
			if f := closed(fmt.Sprintf("%s.%d", path, i), e); f != nil {
				return f
			}
		}
	}
	return nil
}

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
	return readConverse(m, body), nil
}

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

// checkConverseCache counts cache points and wants each behind something.
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
	if count > 4 {
		return invalid("A maximum of 4 blocks with cache_control may be provided. Found %d.", count)
	}
	if count > 0 && !m.takesCachePoints() {
		return &fault{status: 403, kind: "AccessDeniedException", message: "You invoked an unsupported model or your request did not allow prompt caching. See the documentation for more information."}
	}
	return nil
}

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

// placed refuses a block in a turn of the wrong role.
func placed(path, role string, b any) *fault {
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
		var missing []string
		for _, id := range open {
			if !slices.Contains(t.results, id) {
				missing = append(missing, id)
			}
		}
		if len(missing) > 0 {
			return invalid("Expected toolResult blocks at messages.%d.content for the following Ids: %s", i, strings.Join(missing, ", "))
		}
	}
	if last := turns[len(turns)-1]; len(last.uses) > 0 {
		return invalid("Expected toolResult blocks at messages.%d.content for the following Ids: %s", len(turns), strings.Join(last.uses, ", "))
	}
	return nil
}

func twice(ids []string) string {
	for i, id := range ids {
		if slices.Contains(ids[:i], id) {
			return id
		}
	}
	return ""
}

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
	fields := child(body, "additionalModelRequestFields")
	for _, name := range []string{"thinking", "reasoning_config", "reasoningConfig"} {
		kind := str(fields, name, "type")
		a.thinking = a.thinking || kind == "enabled" || kind == "adaptive"
	}
	a.thinking = a.thinking || str(fields, "reasoning_effort") != ""
	messages := items(body, "messages")
	uses := map[string]string{}
	for i, msg := range messages {
		last := i == len(messages)-1 || i == len(messages)-2 && str(messages[len(messages)-1], "role") == "assistant"
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

func (a *ask) readConverse(role string, b any, uses map[string]string) {
	switch {
	case role == "assistant":
		a.prefill += str(b, "text")
	case child(b, "text") != nil:
		a.say(str(b, "text"))
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

var trailingSpace = regexp.MustCompile(`\s$`)
