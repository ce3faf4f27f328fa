package sim

import (
	"maps"
	"regexp"
	"slices"
)

// finding is what a rule found, by the names that the table's words have for it; nil is nothing.
type finding map[string]string

// rules see what a request does. For which models that is refused, and in which words, is in the
// table.
var rules = map[string]func(*wish, refusalRow) finding{
	"system":      func(w *wish, _ refusalRow) finding { return when(w.system) },
	"tools":       func(w *wish, _ refusalRow) finding { return when(len(w.tools) > 0) },
	"tool_choice": func(w *wish, r refusalRow) finding { return oneOf(r.Values, w.choice) },
	"serial":      func(w *wish, _ refusalRow) finding { return when(w.serial) },
	"format":      func(w *wish, _ refusalRow) finding { return when(w.format != nil) },

	"cache":                func(w *wish, _ refusalRow) finding { return when(len(w.marks) > 0) },
	"cache_count":          func(w *wish, r refusalRow) finding { return over(len(w.marks), r.Limit) },
	"cache_in":             marked(func(m mark, r refusalRow) bool { return slices.Contains(r.Values, m.section) }),
	"cache_after":          marked(func(m mark, r refusalRow) bool { return !slices.Contains(r.Values, m.after) }),
	"cache_after_document": marked(func(m mark, _ refusalRow) bool { return m.after == "document" && m.format != "pdf" }),
	"cache_ttl":            marked(func(m mark, r refusalRow) bool { return slices.Contains(r.Values, m.ttl) }),
	"cache_order":          cacheOrder,

	"system_turn":       turned(func(t wishTurn) bool { return t.role == "system" }),
	"system_turn_place": systemTurnPlace,
	"mixed_turns":       mixedTurns,
	"prefill":           func(w *wish, _ refusalRow) finding { return when(w.lastRole() == "assistant") },
	"call_ids":          callIDs,

	"strict":          tooled(func(t wishTool, _ refusalRow) (string, bool) { return "", t.strict }),
	"strict_closed":   tooled(strictClosed),
	"root_union":      tooled(rootUnion),
	"property_names":  tooled(propertyNames),
	"plain_schema":    tooled(plainSchema),
	"strict_count":    func(w *wish, r refusalRow) finding { n, _, _ := w.grammar(); return over(n, r.Limit) },
	"strict_optional": func(w *wish, r refusalRow) finding { _, n, _ := w.grammar(); return over(n, r.Limit) },
	"strict_unions":   func(w *wish, r refusalRow) finding { _, _, n := w.grammar(); return over(n, r.Limit) },
	"format_strict": func(w *wish, _ refusalRow) finding {
		return when(w.format != nil && child(w.fields, "text", "format", "strict") != true)
	},

	"fields": func(w *wish, r refusalRow) finding {
		for _, name := range slices.Sorted(maps.Keys(w.fields)) {
			if slices.Contains(r.Values, name) {
				return finding{"what": name}
			}
		}
		return nil
	},
	"nova_effort": func(w *wish, _ refusalRow) finding {
		config := child(w.fields, "reasoningConfig")
		kind, effort := str(config, "type"), str(config, "maxReasoningEffort")
		return when(config != nil && (!slices.Contains([]string{"enabled", "disabled"}, kind) || effort != "" && (kind == "disabled" || !slices.Contains([]string{"low", "medium", "high"}, effort))))
	},
	"high_effort": highEffort,
	"effort":      func(w *wish, r refusalRow) finding { return oneOf(r.Values, w.level) },

	"thinking":      func(w *wish, _ refusalRow) finding { return when(w.thinking != "" && w.thinking != "disabled") },
	"thinking_kind": func(w *wish, r refusalRow) finding { return oneOf(r.Values, w.thinking) },
	"thinking_forced": func(w *wish, _ refusalRow) finding {
		return when(w.thinks() && w.forced())
	},
	"thinking_temperature": func(w *wish, _ refusalRow) finding {
		return when(w.thinks() && w.temperature != nil && number(1, 1)("", w.temperature) != nil)
	},
	"thinking_top_k": func(w *wish, _ refusalRow) finding { return when(w.thinks() && w.topK != nil) },
	"thinking_top_p": func(w *wish, _ refusalRow) finding {
		return when(w.thinks() && w.topP != nil && number(0.95, 1)("", w.topP) != nil)
	},
	"thinking_first": thinkingFirst,
	// Converse without maxTokens has the model's own bound.
	"budget": func(w *wish, _ refusalRow) finding {
		return when(w.thinking == "enabled" && w.maxTokens > 0 && w.budget >= w.maxTokens)
	},
	"sampling":    sampling,
	"one_sampler": func(w *wish, _ refusalRow) finding { return when(w.temperature != nil && w.topP != nil) },

	"reasoning":      pastReasoning,
	"last_reasoning": lastReasoning,
	"as_issued": func(w *wish, _ refusalRow) finding {
		for i, t := range w.turns {
			if j := w.issued.broken(t.blocks); j >= 0 {
				return at2(i, j)
			}
		}
		return nil
	},
}

// lastReasoning: a conversation does not end with reasoning.
func lastReasoning(w *wish, _ refusalRow) finding {
	i := len(w.turns) - 1
	if i < 0 || w.lastRole() != "assistant" {
		return nil
	}
	blocks := w.turns[i].blocks
	if n := len(blocks); n > 0 && (blocks[n-1].kind == "thinking" || blocks[n-1].kind == "redacted") {
		return finding{"i": digits(i)}
	}
	return nil
}

func when(broken bool) finding {
	if broken {
		return finding{}
	}
	return nil
}

func oneOf(values []string, what string) finding {
	if slices.Contains(values, what) {
		return finding{"what": what}
	}
	return nil
}

func over(n, limit int) finding {
	if n > limit {
		return finding{"n": digits(n)}
	}
	return nil
}

// at2 is a block of a turn.
func at2(i, j int) finding { return finding{"i": digits(i), "j": digits(j)} }

// marked finds the first cache point that is wrong.
func marked(wrong func(mark, refusalRow) bool) func(*wish, refusalRow) finding {
	return func(w *wish, r refusalRow) finding {
		for _, m := range w.marks {
			if wrong(m, r) {
				return finding{"i": digits(m.i), "j": digits(m.j), "what": m.ttl}
			}
		}
		return nil
	}
}

// tooled finds the first tool that is wrong, and what of it.
func tooled(wrong func(wishTool, refusalRow) (string, bool)) func(*wish, refusalRow) finding {
	return func(w *wish, r refusalRow) finding {
		for i, t := range w.tools {
			if what, bad := wrong(t, r); bad {
				return finding{"i": digits(i), "what": what}
			}
		}
		return nil
	}
}

func turned(wrong func(wishTurn) bool) func(*wish, refusalRow) finding {
	return func(w *wish, _ refusalRow) finding {
		for i, t := range w.turns {
			if wrong(t) {
				return finding{"i": digits(i)}
			}
		}
		return nil
	}
}

// cacheOrder: longer lived points come first.
func cacheOrder(w *wish, _ refusalRow) finding {
	short := false
	for _, m := range w.marks {
		if short && m.ttl == "1h" {
			return finding{}
		}
		short = short || m.ttl == "5m"
	}
	return nil
}

func (w *wish) lastRole() string {
	if len(w.turns) == 0 {
		return ""
	}
	return w.turns[len(w.turns)-1].role
}

// systemTurnPlace: a system message in the conversation follows a user's and stands last or before
// an assistant's.
func systemTurnPlace(w *wish, _ refusalRow) finding {
	for i, t := range w.turns {
		if t.role != "system" {
			continue
		}
		if i == 0 || w.turns[i-1].role != "user" || i+1 < len(w.turns) && w.turns[i+1].role != "assistant" {
			return finding{"i": digits(i)}
		}
	}
	return nil
}

// mixedTurns: what is said and tools do not share a turn.
func mixedTurns(w *wish, _ refusalRow) finding {
	for i, t := range w.turns {
		has := map[string]bool{}
		for _, b := range t.blocks {
			has[b.kind] = true
		}
		if !has["text"] && !has["image"] && !has["document"] {
			continue
		}
		switch {
		case has["tool_use"]:
			return finding{"i": digits(i), "what": "tool use"}
		case has["tool_result"]:
			return finding{"i": digits(i), "what": "tool result"}
		}
	}
	return nil
}

var plainID = regexp.MustCompile(`^[a-zA-Z0-9_-]+$`)

func callIDs(w *wish, _ refusalRow) finding {
	for i, t := range w.turns {
		for j, b := range t.blocks {
			if (b.kind == "tool_use" || b.kind == "tool_result") && !plainID.MatchString(b.id) {
				return finding{"path": w.path(i, j, b.kind)}
			}
		}
	}
	return nil
}

// highEffort: Nova 2 at its highest effort chooses these itself.
func highEffort(w *wish, _ refusalRow) finding {
	if str(w.fields, "reasoningConfig", "type") != "enabled" || str(w.fields, "reasoningConfig", "maxReasoningEffort") != "high" {
		return nil
	}
	switch {
	case w.maxTokens > 0:
		return finding{"what": "maxTokens"}
	case w.temperature != nil:
		return finding{"what": "temperature"}
	case w.topP != nil:
		return finding{"what": "topP"}
	}
	return nil
}

func sampling(w *wish, _ refusalRow) finding {
	switch {
	case w.temperature != nil:
		return finding{"what": "temperature"}
	case w.topP != nil:
		return finding{"what": "top_p"}
	case w.topK != nil:
		return finding{"what": "top_k"}
	}
	return nil
}

// pastReasoning finds reasoning of these kinds in the history: signed, redacted, plain.
func pastReasoning(w *wish, r refusalRow) finding {
	for i, t := range w.turns {
		for j, b := range t.blocks {
			kind := ""
			switch {
			case b.kind == "redacted":
				kind = "redacted"
			case b.kind == "thinking" && b.signed:
				kind = "signed"
			case b.kind == "thinking":
				kind = "plain"
			}
			if slices.Contains(r.Values, kind) {
				return at2(i, j)
			}
		}
	}
	return nil
}

// thinkingFirst: under thinking with a budget, the turn whose calls are answered last begins with a
// thinking block.
func thinkingFirst(w *wish, _ refusalRow) finding {
	n := len(w.turns)
	if w.thinking != "enabled" || n < 2 || w.turns[n-2].role != "assistant" {
		return nil
	}
	turn := w.turns[n-2]
	calls := slices.ContainsFunc(turn.blocks, func(b wishBlock) bool { return b.kind == "tool_use" })
	if first := turn.blocks; calls && first[0].kind != "thinking" && first[0].kind != "redacted" {
		return finding{"i": digits(n - 2), "what": first[0].kind}
	}
	return nil
}

// strictClosed: a strict tool's schema is compiled into a grammar, as that of structured output is.
func strictClosed(t wishTool, _ refusalRow) (string, bool) {
	if !t.strict {
		return "", false
	}
	f := closed("", t.schema)
	if f == nil {
		return "", false
	}
	return f.message, true
}

func rootUnion(t wishTool, _ refusalRow) (string, bool) {
	for _, word := range []string{"oneOf", "allOf", "anyOf"} {
		if _, ok := t.schema[word]; ok {
			return word, true
		}
	}
	return "", false
}

var propertyName = regexp.MustCompile(`^[a-zA-Z0-9_.-]{1,64}$`)

// propertyNames looks at the root alone, as was measured.
func propertyNames(t wishTool, _ refusalRow) (string, bool) {
	properties, _ := t.schema["properties"].(object)
	for name := range properties {
		if !propertyName.MatchString(name) {
			return name, true
		}
	}
	return "", false
}

func plainSchema(t wishTool, r refusalRow) (string, bool) {
	for _, name := range slices.Sorted(maps.Keys(t.schema)) {
		if !slices.Contains(r.Values, name) {
			return name, true
		}
	}
	return "", false
}

// grammar counts what Bedrock bounds of what it compiles: strict tools, and over their schemas and that
// of structured output the optional properties and those with a union.
func (w *wish) grammar() (tools, optional, unions int) {
	for _, t := range w.tools {
		if t.strict {
			tools++
			count(t.schema, &optional, &unions)
		}
	}
	count(w.format, &optional, &unions)
	return tools, optional, unions
}

// count walks a schema. A union is a list of types, or anyOf.
func count(v any, optional, unions *int) {
	switch v := v.(type) {
	case object:
		properties, _ := v["properties"].(object)
		required := items(v, "required")
		for name := range properties {
			if !slices.Contains(required, any(name)) {
				*optional++
			}
		}
		if types, ok := v["type"].([]any); ok && len(types) > 1 {
			*unions++
		}
		if _, ok := v["anyOf"].([]any); ok {
			*unions++
		}
		for name, e := range v {
			switch {
			case name == "properties":
				for _, p := range properties {
					count(p, optional, unions)
				}
			case !schemaData[name]:
				count(e, optional, unions)
			}
		}
	case []any:
		for _, e := range v {
			count(e, optional, unions)
		}
	}
}

// schemaData are the keywords whose values are data, not schemas.
var schemaData = map[string]bool{"enum": true, "const": true, "default": true, "examples": true, "required": true}
