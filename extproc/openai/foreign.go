package openai

import (
	"slices"
	"strconv"
	"strings"

	"aisix/admin/strict"
)

// foreign are the members of assistant messages that this dialect does not know: what
// another provider put into the answer that comes back, and no wish of the caller's. They
// are left out, and the operator's log says so once for all messages.
type foreign map[string]bool

// see remembers the unknown members of an assistant message, of its parts and of its calls,
// each by the name that ignore_params has for it.
func (f *foreign) see(m *message) {
	f.add("messages.", m.Others)
	for i := range m.Content.parts {
		f.add("messages.content.", m.Content.parts[i].Others)
	}
	for i := range m.ThinkingBlocks {
		f.add("messages.thinking_blocks.", m.ThinkingBlocks[i].Others)
	}
	for i := range m.ToolCalls {
		f.add("messages.tool_calls.", m.ToolCalls[i].Others)
		f.add("messages.tool_calls.function.", m.ToolCalls[i].Function.Others)
	}
}

func (f *foreign) add(place string, others strict.Others) {
	for _, name := range others.Names() {
		if *f == nil {
			*f = foreign{}
		}
		(*f)[place+strict.Clip(name, 64)] = true
	}
}

func (f foreign) notes() []string {
	if len(f) == 0 {
		return nil
	}
	const few = 8
	names := make([]string, 0, len(f))
	for name := range f {
		names = append(names, name)
	}
	slices.Sort(names)
	more := ""
	if n := len(names) - few; n > 0 {
		names, more = names[:few], " and "+strconv.Itoa(n)+" more"
	}
	return []string{"unknown members of assistant messages were left out: " + strings.Join(names, ", ") + more}
}
