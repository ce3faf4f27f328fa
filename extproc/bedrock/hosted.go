package bedrock

import (
	"maps"
	"slices"

	"aisix/extproc/chat"
	"aisix/extproc/fault"
	"aisix/extproc/jsonedit"
)

// hosted takes out of a Responses request the tools that a service runs itself, unless the model
// resource allows them. Two kinds are there, and both are the operator's to allow. OpenAI's own
// (web_search, code_interpreter, …) are nowhere at Bedrock, which refuses the whole request for
// them; Codex offers web_search always. Bedrock's (mcp with a connector_id, on the mantle host) run
// a Lambda function or an AgentCore gateway that the caller names, with the rights of the provider
// key.
//
// One that is only offered goes, with a note; one that is forced is a 400, as where the request is
// translated. Tools that wait to be found by tool_search (defer_loading) are there from the start
// where it goes: nothing else would find them.
type hosted struct {
	p      *prepared
	e      *jsonedit.Edits
	t      jsonedit.Text
	gone   map[string]bool
	search bool // tool_search is among them
}

// callersTools are the types of tools that the caller runs.
var callersTools = []string{"", "function", "custom", "local_shell", "namespace", "shell", "apply_patch"}

// leaveOut looks at all places for tools, of a request with these members: drop is what else of
// it goes.
func (h *hosted) leaveOut(members map[string]jsonedit.Span, drop map[string]bool) error {
	if h.p.model.options.AllowHostedTools {
		return nil
	}
	for tool := range h.t.Items(members["tools"]) {
		h.search = h.search || h.kind(tool) == "tool_search"
	}
	if h.all(members["tools"]) {
		drop["tools"] = true
	}
	for item := range h.t.Items(members["input"]) {
		if kind, _ := h.t.Member(item, "type"); h.t.String(kind) == "additional_tools" {
			tools, _ := h.t.Member(item, "tools")
			h.from(tools)
		}
	}
	choice := members["tool_choice"]
	switch kind := h.kind(choice); kind {
	case "":
	case "allowed_tools":
		if err := h.allowed(choice); err != nil {
			return err
		}
	default:
		if !slices.Contains(callersTools, kind) {
			return refuseHosted("tool_choice", kind)
		}
	}
	if len(h.gone) == 0 {
		return nil
	}
	if word := h.t.String(choice); drop["tools"] && (word == "auto" || word == "none") {
		drop["tool_choice"] = true // among no tools
	}
	h.p.note("tools that a service runs itself were left out: " + chat.AllNamed(slices.Collect(maps.Keys(h.gone))))
	return nil
}

// allowed takes them out of a choice among some tools, which must not be forced to be one of them.
func (h *hosted) allowed(choice jsonedit.Span) error {
	mode, _ := h.t.Member(choice, "mode")
	tools, _ := h.t.Member(choice, "tools")
	if h.t.String(mode) == "required" {
		for tool := range h.t.Items(tools) {
			if kind := h.kind(tool); !slices.Contains(callersTools, kind) {
				return refuseHosted("tool_choice", kind)
			}
		}
	}
	if h.all(tools) {
		h.e.Replace(choice, []byte(`"none"`))
	}
	return nil
}

func refuseHosted(param, kind string) error {
	return fault.Invalid(param, "%s: a tool of type %s can't be called: nothing here runs it", param, quote(kind))
}

func (h *hosted) kind(tool jsonedit.Span) string {
	kind, _ := h.t.Member(tool, "type")
	return h.t.String(kind)
}

// all takes them out of a list, and reports whether it holds nothing else.
func (h *hosted) all(tools jsonedit.Span) bool {
	kept, gone := h.from(tools)
	return kept == 0 && gone > 0
}

func (h *hosted) from(tools jsonedit.Span) (kept, gone int) {
	h.e.Array(h.t, tools, func(tool jsonedit.Span) bool {
		kind := h.kind(tool)
		if slices.Contains(callersTools, kind) {
			kept++
			h.load(tool)
			return true
		}
		gone++
		h.gone[kind] = true
		return false
	})
	return kept, gone
}

// load has a tool, or those of a namespace, wait for no search that is not to come.
func (h *hosted) load(tool jsonedit.Span) {
	if !h.search {
		return
	}
	h.loadOne(tool)
	inner, _ := h.t.Member(tool, "tools")
	for t := range h.t.Items(inner) {
		h.loadOne(t)
	}
}

func (h *hosted) loadOne(tool jsonedit.Span) {
	if _, waits := h.t.Member(tool, "defer_loading"); waits {
		h.e.Object(h.t, tool, nil, func(m jsonedit.Member) bool { return m.Name != "defer_loading" })
	}
}
