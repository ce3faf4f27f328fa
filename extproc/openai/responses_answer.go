package openai

import (
	"bytes"
	"cmp"
	"encoding/json"
	"slices"
	"strconv"
	"strings"

	"aisix/extproc/chat"
	"aisix/extproc/jsonappend"
	"aisix/extproc/jsonedit"
)

// echo is what an answer repeats of its request, as members of a JSON object with a comma
// behind each.
type echo []byte

// echoed are the members, and what they are where the request does not say.
var echoed = []struct{ name, unsaid string }{
	{"instructions", "null"}, {"max_output_tokens", "null"}, {"max_tool_calls", "null"}, {"metadata", "{}"},
	{"parallel_tool_calls", "true"}, {"previous_response_id", "null"}, {"prompt_cache_key", "null"},
	{"reasoning", `{"effort":null,"summary":null}`}, {"safety_identifier", "null"}, {"temperature", "1"},
	{"text", `{"format":{"type":"text"},"verbosity":"medium"}`}, {"tool_choice", `"auto"`}, {"tools", "[]"},
	{"top_logprobs", "0"}, {"top_p", "1"}, {"truncation", `"disabled"`}, {"user", "null"},
}

func echoOf(request []byte) echo {
	t := jsonedit.Text(request)
	given := map[string]jsonedit.Span{}
	for m := range t.Members(t.Root()) {
		given[m.Name] = m.Value
	}
	var out []byte
	for _, e := range echoed {
		out = append(append(append(out, '"'), e.name...), `":`...)
		at, ok := given[e.name]
		switch {
		case !ok, t.Kind(at) == 'n':
			out = append(out, e.unsaid...)
		default:
			var line bytes.Buffer // an event is one line
			if json.Compact(&line, t.At(at)) != nil {
				line.Reset()
				line.WriteString(e.unsaid)
			}
			out = append(out, line.Bytes()...)
		}
		out = append(out, ',')
	}
	return out
}

// answering is what the events of a stream, and a whole answer, are written with.
type answering struct {
	asked   *askedResponse
	id      string // of the response
	suffix  string // of the items' ids
	created int64
	tier    string // the service tier that served; "" if nobody told
}

func (a *askedResponse) answering(h chat.Heading, upstream string) answering {
	id := upstream
	if !strings.HasPrefix(id, "resp_") {
		id = "resp_" + h.ID
	}
	return answering{asked: a, id: id, suffix: h.ID, created: h.Created.Unix()}
}

// itemID is an item's id by its kind and place.
func (w *answering) itemID(prefix string, index int) string {
	return prefix + w.suffix + strconv.Itoa(index)
}

// appendResponse appends the response object. output are its items, joined.
func (w *answering) appendResponse(dst []byte, status string, output []byte, usage *chat.Usage, ended string) []byte {
	dst = appendMember(dst, `{"id":`, w.id)
	dst = append(dst, `,"object":"response","created_at":`...)
	dst = strconv.AppendInt(dst, w.created, 10)
	dst = appendMember(dst, `,"status":`, status)
	dst = append(dst, `,"background":false,"store":false,"conversation":null,`...)
	dst = append(dst, cmp.Or(ended, `"error":null,"incomplete_details":null`)...)
	echo := w.asked.echo
	if len(echo) == 0 { // the body was not taken apart
		echo = echoOf([]byte("{}"))
	}
	dst = append(append(dst, ','), echo...)
	dst = appendMember(dst, `"service_tier":`, cmp.Or(w.tier, "default"))
	dst = appendMember(dst, `,"model":`, w.asked.model)
	dst = append(append(append(dst, `,"output":[`...), output...), `],"usage":`...)
	if usage == nil {
		return append(dst, "null}"...)
	}
	return append(appendResponseUsage(dst, *usage), '}')
}

// appendResponseUsage counts as OpenAI does: what was cached is in input_tokens. All members
// must be there.
func appendResponseUsage(dst []byte, u chat.Usage) []byte {
	n := func(p *int) int64 {
		if p == nil {
			return 0
		}
		return int64(*p)
	}
	prompt, completion := int64(u.Prompt()), int64(u.Completion())
	dst = strconv.AppendInt(append(dst, `{"input_tokens":`...), prompt, 10)
	dst = strconv.AppendInt(append(dst, `,"input_tokens_details":{"cached_tokens":`...), n(u.CacheRead), 10)
	dst = strconv.AppendInt(append(dst, `,"cache_write_tokens":`...), n(u.CacheWrite), 10)
	dst = strconv.AppendInt(append(dst, `},"output_tokens":`...), completion, 10)
	dst = strconv.AppendInt(append(dst, `,"output_tokens_details":{"reasoning_tokens":`...), n(u.Reasoning), 10)
	dst = strconv.AppendInt(append(dst, `},"total_tokens":`...), prompt+completion, 10)
	return append(dst, '}')
}

// ending is an answer's status by why it stopped, and what its object says of that.
func ending(stop chat.StopReason) (status, says string) {
	reason := ""
	switch stop {
	case chat.MaxTokens, chat.ContextExceeded:
		reason = "max_output_tokens"
	case chat.ContentFiltered, chat.Guardrail, chat.Refusal:
		reason = "content_filter"
	default:
		return "completed", ""
	}
	return "incomplete", `"error":null,"incomplete_details":{"reason":"` + reason + `"}`
}

// Whole writes a response object: the upstream's own where it speaks this format.
func (a *askedResponse) Whole(h chat.Heading, r *chat.Response) ([]byte, error) {
	if r.Raw != nil {
		return renamed(r.Raw, a.model), nil
	}
	w := a.answering(h, r.ID)
	w.tier = r.Tier
	var output []byte
	for i, item := range w.items(r.Blocks) {
		if i > 0 {
			output = append(output, ',')
		}
		output = append(output, item...)
	}
	status, ended := ending(r.Stop)
	return w.appendResponse(make([]byte, 0, 1024+len(output)+len(a.echo)), status, output, &r.Usage, ended), nil
}

// items are the blocks of an answer as items: texts that follow each other are one message, and
// a block that holds nothing is no item, as in a stream.
func (w *answering) items(blocks []chat.Block) (out [][]byte) {
	blocks = slices.DeleteFunc(slices.Clone(blocks), holdsNothing)
	for i := 0; i < len(blocks); i++ {
		index := len(out)
		switch b := blocks[i].(type) {
		case chat.Text:
			text := b.Text
			for i+1 < len(blocks) {
				next, ok := blocks[i+1].(chat.Text)
				if !ok {
					break
				}
				text += next.Text
				i++
			}
			out = append(out, w.message(index, text, "completed"))
		case chat.Thinking, chat.Redacted:
			out = append(out, w.reasoning(index, b, false))
		case chat.ToolUse:
			out = append(out, w.call(index, b, "completed"))
		}
	}
	return out
}

func holdsNothing(b chat.Block) bool {
	switch b := b.(type) {
	case chat.Text:
		return b.Text == ""
	case chat.Thinking:
		return b.Text == "" && b.Signature == ""
	case chat.Redacted:
		return b.Data == ""
	}
	return false
}

func (w *answering) message(index int, text, status string) []byte {
	dst := appendMember(nil, `{"id":`, w.itemID("msg_", index))
	dst = appendMember(dst, `,"type":"message","status":`, status)
	dst = append(dst, `,"role":"assistant","content":[`...)
	if status != "in_progress" {
		dst = appendTextPart(dst, text)
	}
	return append(dst, `]}`...)
}

func appendTextPart(dst []byte, text string) []byte {
	dst = appendMember(dst, `{"type":"output_text","annotations":[],"logprobs":[],"text":`, text)
	return append(dst, '}')
}

// reasoning is the item of a block of reasoning. begun is one whose content is to come.
func (w *answering) reasoning(index int, b chat.Block, begun bool) []byte {
	id, encrypted := sealed(b)
	dst := appendMember(nil, `{"id":`, cmp.Or(id, w.itemID("rs_", index)))
	dst = append(dst, `,"type":"reasoning","summary":[`...)
	if t, ok := b.(chat.Thinking); ok && w.asked.wants.summary && t.Text != "" && !begun {
		dst = append(appendMember(dst, `{"type":"summary_text","text":`, t.Text), '}')
	}
	dst = append(dst, `]`...)
	if w.asked.wants.encrypted && encrypted != "" && !begun {
		dst = appendMember(dst, `,"encrypted_content":`, encrypted)
	}
	return append(dst, '}')
}

// call is the item of a tool call, in the form in which its tool was offered.
func (w *answering) call(index int, b chat.ToolUse, status string) []byte {
	t := w.asked.tools.of(b.Name)
	begun := status == "in_progress"
	var dst []byte
	switch t.kind {
	case localShell:
		dst = appendMember(dst, `{"id":`, w.itemID("lsh_", index))
		dst = append(dst, `,"type":"local_shell_call","action":`...)
		dst = appendAction(dst, b.Input)
	case customTool:
		dst = appendMember(dst, `{"id":`, w.itemID("ctc_", index))
		input := ""
		if !begun {
			input = customText(b.Input)
		}
		dst = appendMember(dst, `,"type":"custom_tool_call","input":`, input)
		dst = appendNames(dst, t)
	default:
		dst = appendMember(dst, `{"id":`, w.itemID("fc_", index))
		arguments := ""
		if !begun {
			arguments = string(b.Input)
		}
		dst = appendMember(dst, `,"type":"function_call","arguments":`, arguments)
		dst = appendNames(dst, t)
	}
	dst = appendMember(dst, `,"call_id":`, b.ID)
	dst = appendMember(dst, `,"status":`, status)
	return append(dst, '}')
}

func appendNames(dst []byte, t toolName) []byte {
	dst = appendMember(dst, `,"name":`, t.name)
	if t.namespace != "" {
		dst = appendMember(dst, `,"namespace":`, t.namespace)
	}
	return dst
}

// customText is a custom tool's input in what the model wrote; all of it where that is not
// what it was asked for.
func customText(input json.RawMessage) string {
	var members map[string]json.RawMessage
	var text string
	if json.Unmarshal(input, &members) == nil && json.Unmarshal(members[customInput], &text) == nil && members[customInput] != nil {
		return text
	}
	return string(input)
}

// appendAction appends what a local shell is to run, as the model wrote it.
func appendAction(dst []byte, input json.RawMessage) []byte {
	var in shellInput
	var text struct{ Command string }
	if len(input) > 0 && json.Unmarshal(input, &in) != nil && json.Unmarshal(input, &text) == nil {
		in = shellInput{Command: []string{"bash", "-lc", text.Command}} // a line in place of a list
	}
	dst = append(dst, `{"type":"exec","command":[`...)
	for i, word := range in.Command {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = jsonappend.String(dst, word)
	}
	dst = append(dst, `],"env":{`...)
	names := make(map[string]bool, len(in.Env))
	for name := range in.Env {
		names[name] = true
	}
	for i, name := range sorted(names) {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(jsonappend.String(dst, name), ':')
		dst = jsonappend.String(dst, in.Env[name])
	}
	dst = append(dst, '}')
	if in.TimeoutMS != "" {
		dst = append(append(dst, `,"timeout_ms":`...), in.TimeoutMS...)
	}
	if in.WorkingDirectory != "" {
		dst = appendMember(dst, `,"working_directory":`, in.WorkingDirectory)
	}
	return append(dst, '}')
}

// renamed is a response object of an upstream's with the model's name as the caller knows it.
func renamed(text []byte, alias string, path ...string) []byte {
	t := jsonedit.Text(text)
	at, ok := t.Root(), true
	for _, name := range append(path, "model") {
		if at, ok = t.Member(at, name); !ok {
			return text
		}
	}
	var e jsonedit.Edits
	e.Replace(at, jsonappend.String(nil, alias))
	return e.Apply(t)
}
