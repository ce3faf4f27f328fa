package sim

import (
	"fmt"
	"strconv"
)

// wish is what a request wants of a model, in whichever shape it came, as far as the table's rules
// look at it. Its shape was checked before; its conversation need not make sense.
type wish struct {
	converse bool
	system   bool
	tools    []wishTool
	choice   string // auto, any, tool, none; "" is not said
	serial   bool   // disable_parallel_tool_use is there
	format   any    // schema of natively structured output
	marks    []mark // cache points, in the order in which caching sees them
	turns    []wishTurn
	fields   object // additionalModelRequestFields

	maxTokens                int // 0 is not said
	temperature, topP, topK  any
	thinking, display, level string // of Claude: kind, display, and output_config.effort
	budget                   int

	issued *issues
}

type wishTool struct {
	strict bool
	schema object
}

// mark is a cache point: where it stands and what it is for.
type mark struct {
	section string // tools, system, messages
	i, j    int    // turn and block, or tool or block of system
	ttl     string
	after   string // the kind of block that it marks
	format  string // of a document that it marks
}

type wishTurn struct {
	role   string
	blocks []wishBlock
}

// wishBlock is a block by a name of its own for both shapes: text, image, document, tool_use,
// tool_result, thinking, redacted, cache, other.
type wishBlock struct {
	kind      string
	text      string // of text and thinking
	signature string
	signed    bool // a signature is there, if only an empty one
	data      string
	id        string // of tool_use and tool_result
}

// wishOfConverse reads a body of Converse. Claude's own parameters are in additionalModelRequestFields.
func wishOfConverse(body any, issued *issues) *wish {
	w := &wish{converse: true, issued: issued, system: len(items(body, "system")) > 0, maxTokens: whole(body, "inferenceConfig", "maxTokens")}
	w.temperature, w.topP = child(body, "inferenceConfig", "temperature"), child(body, "inferenceConfig", "topP")
	w.fields, _ = child(body, "additionalModelRequestFields").(object)
	if c, ok := child(body, "toolConfig", "toolChoice").(object); ok {
		for kind := range c {
			w.choice = kind
		}
	}
	if s := str(body, "outputConfig", "textFormat", "structure", "jsonSchema", "schema"); s != "" {
		w.format, _ = parse([]byte(s))
	}
	w.claude(w.fields)
	if effort := str(body, "outputConfig", "effort"); effort != "" {
		w.level = effort
	}
	for i, t := range items(body, "toolConfig", "tools") {
		if child(t, "cachePoint") != nil {
			w.marks = append(w.marks, mark{section: "tools", i: i, ttl: or(str(t, "cachePoint", "ttl"), "5m"), after: "tool"})
			continue
		}
		tool := wishTool{}
		tool.strict, _ = child(t, "toolSpec", "strict").(bool)
		tool.schema, _ = child(t, "toolSpec", "inputSchema", "json").(object)
		w.tools = append(w.tools, tool)
	}
	for i, b := range items(body, "system") {
		if child(b, "cachePoint") != nil {
			w.marks = append(w.marks, mark{section: "system", i: i, ttl: or(str(b, "cachePoint", "ttl"), "5m"), after: "text"})
		}
	}
	for i, m := range items(body, "messages") {
		t := wishTurn{role: str(m, "role")}
		for j, b := range items(m, "content") {
			t.blocks = append(t.blocks, wishBlockOfConverse(b))
			if child(b, "cachePoint") != nil {
				point := mark{section: "messages", i: i, j: j, ttl: or(str(b, "cachePoint", "ttl"), "5m")}
				if j > 0 {
					point.after, point.format = t.blocks[j-1].kind, str(items(m, "content")[j-1], "document", "format")
				}
				w.marks = append(w.marks, point)
			}
		}
		w.turns = append(w.turns, t)
	}
	return w
}

func wishBlockOfConverse(b any) wishBlock {
	o, _ := b.(object)
	for kind := range o {
		switch kind {
		case "text":
			return wishBlock{kind: "text", text: str(b, "text")}
		case "image", "document":
			return wishBlock{kind: kind}
		case "cachePoint":
			return wishBlock{kind: "cache"}
		case "toolUse":
			return wishBlock{kind: "tool_use", id: str(b, "toolUse", "toolUseId")}
		case "toolResult":
			return wishBlock{kind: "tool_result", id: str(b, "toolResult", "toolUseId")}
		case "reasoningContent":
			if data := str(b, "reasoningContent", "redactedContent"); data != "" {
				return wishBlock{kind: "redacted", data: data}
			}
			text := child(b, "reasoningContent", "reasoningText")
			return wishBlock{kind: "thinking", text: str(text, "text"), signature: str(text, "signature"), signed: child(text, "signature") != nil}
		}
	}
	return wishBlock{kind: "other"}
}

// wishOfMessages reads a body for Claude.
func wishOfMessages(body any, issued *issues) *wish {
	w := &wish{issued: issued, maxTokens: whole(body, "max_tokens"), choice: str(body, "tool_choice", "type")}
	w.system = child(body, "system") != nil
	w.temperature, w.topP = child(body, "temperature"), child(body, "top_p")
	w.claude(body)
	note := func(section string, i, j int, b any) {
		if c := child(b, "cache_control"); c != nil {
			w.marks = append(w.marks, mark{section: section, i: i, j: j, ttl: or(str(c, "ttl"), "5m"), after: "text"})
		}
	}
	for i, t := range items(body, "tools") {
		note("tools", i, 0, t)
		tool := wishTool{}
		tool.strict, _ = child(t, "strict").(bool)
		tool.schema, _ = child(t, "input_schema").(object)
		w.tools = append(w.tools, tool)
	}
	for i, b := range items(body, "system") {
		note("system", i, 0, b)
	}
	for i, m := range items(body, "messages") {
		t := wishTurn{role: str(m, "role")}
		for j, b := range contentOf(m, "content") {
			t.blocks = append(t.blocks, wishBlockOfClaude(b))
			for _, inner := range items(b, "content") {
				note("messages", i, j, inner)
			}
			note("messages", i, j, b)
		}
		w.turns = append(w.turns, t)
	}
	return w
}

func wishBlockOfClaude(b any) wishBlock {
	switch kind := str(b, "type"); kind {
	case "text":
		return wishBlock{kind: kind, text: str(b, "text")}
	case "image", "document":
		return wishBlock{kind: kind}
	case "tool_use":
		return wishBlock{kind: kind, id: str(b, "id")}
	case "tool_result":
		return wishBlock{kind: kind, id: str(b, "tool_use_id")}
	case "thinking":
		return wishBlock{kind: kind, text: str(b, "thinking"), signature: str(b, "signature"), signed: true}
	case "redacted_thinking":
		return wishBlock{kind: "redacted", data: str(b, "data")}
	}
	return wishBlock{kind: "other"}
}

// claude reads the members that Claude has in both shapes: in InvokeModel's body, and in Converse's
// additionalModelRequestFields.
func (w *wish) claude(v any) {
	w.topK = child(v, "top_k")
	for _, name := range []string{"thinking", "reasoning_config"} {
		if kind := str(v, name, "type"); kind != "" {
			w.thinking, w.display, w.budget = kind, str(v, name, "display"), whole(v, name, "budget_tokens")
		}
	}
	w.level = str(v, "output_config", "effort")
	w.serial = child(v, "tool_choice", "disable_parallel_tool_use") != nil
	for _, f := range []any{child(v, "output_config", "format"), child(v, "output_format")} {
		if s := child(f, "schema"); s != nil {
			w.format = s
		}
	}
	if kind := str(v, "tool_choice", "type"); kind != "" {
		w.choice = kind
	}
}

// thinks reports whether the request asks Claude to think.
func (w *wish) thinks() bool { return w.thinking == "enabled" || w.thinking == "adaptive" }

// forced reports whether a tool must be called.
func (w *wish) forced() bool { return w.choice == "any" || w.choice == "tool" }

// path is where a block is, for a message.
func (w *wish) path(i, j int, kind string) string {
	path := fmt.Sprintf("messages.%d.content.%d", i, j)
	switch {
	case !w.converse && kind == "tool_use":
		return path + ".id"
	case !w.converse:
		return path + ".tool_use_id"
	case kind == "tool_use":
		return path + ".toolUse.toolUseId"
	}
	return path + ".toolResult.toolUseId"
}

func digits(n int) string { return strconv.Itoa(n) }
