package responses

import (
	"cmp"
	"encoding/json"
	"fmt"
	"strings"

	"aisix/extproc/chat"
	"aisix/extproc/completions"
)

// response is an answer of an upstream's, whole or as far as it came.
type response struct {
	ID         string      `json:"id"`
	Status     string      `json:"status"` // completed, incomplete, failed, in_progress, …
	Output     []item      `json:"output"`
	Usage      *usage      `json:"usage"`
	Tier       string      `json:"service_tier"`
	Error      *errorBody  `json:"error"`
	Incomplete *incomplete `json:"incomplete_details"`
}

// errorBody is an error object; another value is none that says anything.
type errorBody struct{ completions.Error }

func (e *errorBody) UnmarshalJSON(text []byte) error {
	if o := completions.ErrorOf(text); o != nil {
		e.Error = *o
	}
	return nil
}

type incomplete struct {
	Reason string `json:"reason"`
}

// item is one of an answer's; which members stand is up to Type.
type item struct {
	Type      string `json:"type"` // message, function_call, custom_tool_call, reasoning, …
	ID        string `json:"id"`
	CallID    string `json:"call_id"`
	Name      string `json:"name"`
	Arguments string `json:"arguments"`
	Content   []part `json:"content"`
	Summary   []part `json:"summary"`
	Encrypted string `json:"encrypted_content"`
}

var toldItems = []string{"message", "function_call", "reasoning"}

// UnmarshalJSON reads the members of an item that is told; those of one that the upstream ran itself, or
// that is yet to come, may be of any kind.
func (i *item) UnmarshalJSON(text []byte) error {
	type members item
	err := json.Unmarshal(text, (*members)(i))
	if err != nil {
		if kind, ok := chat.Untold(text, toldItems); ok {
			*i, err = item{Type: kind}, nil
		}
	}
	return err
}

type part struct {
	Type    string `json:"type"` // one of toldParts
	Text    string `json:"text"`
	Refusal string `json:"refusal"`
}

var toldParts = []string{"output_text", "refusal", "summary_text", "reasoning_text", "text"}

// UnmarshalJSON reads the members of a part that is told; those of another one may be of any kind.
func (p *part) UnmarshalJSON(text []byte) error {
	type members part
	err := json.Unmarshal(text, (*members)(p))
	if err != nil {
		if _, ok := chat.Untold(text, toldParts); ok {
			*p, err = part{}, nil
		}
	}
	return err
}

type usage struct {
	Input        *int `json:"input_tokens"`
	Output       *int `json:"output_tokens"`
	InputDetails *struct {
		Cached     *int `json:"cached_tokens"`
		CacheWrite *int `json:"cache_write_tokens"`
	} `json:"input_tokens_details"`
	OutputDetails *struct {
		Reasoning *int `json:"reasoning_tokens"`
	} `json:"output_tokens_details"`
}

// counts are chat's, which has what was cached beside what was read.
func (u *usage) counts() chat.Usage {
	out := chat.Usage{Input: u.Input, Output: u.Output}
	if d := u.InputDetails; d != nil {
		out.CacheRead = d.Cached
		out.Input, out.CacheWrite = completions.Shares(u.Input, d.Cached, d.CacheWrite)
	}
	if d := u.OutputDetails; d != nil {
		out.Reasoning = d.Reasoning
	}
	return out
}

// event is any event of a stream.
type event struct {
	Type         string     `json:"type"`
	Response     *response  `json:"response"`
	OutputIndex  int        `json:"output_index"`
	SummaryIndex int        `json:"summary_index"`
	Item         *item      `json:"item"`
	Delta        string     `json:"delta"`
	Code         string     `json:"code"` // of an error event
	Message      string     `json:"message"`
	Param        string     `json:"param"`
	Error        *errorBody `json:"error"` // of services that nest it
}

// DecodeResponse decodes a whole answer into the events that a stream would have brought.
// The error is an *completions.Error, or that of a body which is no answer.
func DecodeResponse(body []byte) ([]chat.Event, error) {
	var r response
	if err := json.Unmarshal(body, &r); err != nil {
		return nil, fmt.Errorf("responses: a body that is no JSON object of its kind: %w", err)
	}
	if r.Error != nil {
		return nil, &r.Error.Error
	}
	d := EventDecoder{}
	events := []chat.Event{chat.Start{ID: r.ID}}
	for i := range r.Output {
		events = append(events, d.begin(i, &r.Output[i])...)
		events = append(events, d.end(i, &r.Output[i])...)
	}
	return append(events, r.end()...), nil
}

// end is what an answer says at its end.
func (r *response) end() (out []chat.Event) {
	if r.Tier != "" && r.Tier != "auto" {
		out = append(out, chat.ServedTier{Name: r.Tier})
	}
	switch r.Status {
	case "completed":
		out = append(out, chat.Stop{Reason: chat.EndTurn}) // with calls it is theirs
	case "incomplete":
		reason := chat.MaxTokens
		if r.Incomplete != nil && r.Incomplete.Reason == "content_filter" {
			reason = chat.ContentFiltered
		}
		out = append(out, chat.Stop{Reason: reason})
	}
	if r.Usage != nil {
		counts := r.Usage.counts()
		counts.ServerTools = r.ran()
		out = append(out, chat.UsageSnapshot{Usage: counts})
	}
	return out
}

// ran is how many calls of tools the upstream ran itself (mcp_call and the like), nil for none.
func (r *response) ran() *int {
	n := 0
	for i := range r.Output {
		switch kind := r.Output[i].Type; kind {
		case "function_call", "custom_tool_call", "local_shell_call", "shell_call", "apply_patch_call":
		default:
			if strings.HasSuffix(kind, "_call") {
				n++
			}
		}
	}
	if n == 0 {
		return nil
	}
	return &n
}

// EventDecoder decodes the events of one stream. Not for concurrent use.
type EventDecoder struct {
	seen map[int]bool // items whose text, or input, came in deltas
}

// Decode gives what an event says. The error is an *completions.Error, or that of data which is
// no event.
func (d *EventDecoder) Decode(data []byte) ([]chat.Event, error) {
	_, events, err := d.decode(data)
	return events, err
}

// decode gives an event's name, and what it says.
func (d *EventDecoder) decode(data []byte) (name string, events []chat.Event, err error) {
	var e event
	if err := json.Unmarshal(data, &e); err != nil {
		if name, ok := chat.Untold(data, toldEvents); ok {
			return name, nil, nil
		}
		return "", nil, fmt.Errorf("responses: an event that is no JSON object of its kind: %w", err)
	}
	events, err = d.event(&e)
	return e.Type, events, err
}

// toldEvents are those that event reads; the members of others may be of any kind.
var toldEvents = append([]string{"response.created", "response.output_item.added", "response.reasoning_summary_part.added",
	"response.output_item.done", "response.completed", "response.incomplete", "response.failed", "error"}, deltas...)

func (d *EventDecoder) event(e *event) ([]chat.Event, error) {
	at := e.OutputIndex
	switch e.Type {
	case "response.created":
		if e.Response != nil {
			return []chat.Event{chat.Start{ID: e.Response.ID}}, nil
		}
	case "response.output_item.added":
		if e.Item != nil {
			return d.begin(at, e.Item), nil
		}
	case "response.output_text.delta", "response.refusal.delta":
		return d.said(at, e.Delta, chat.TextDelta{Index: at, Text: e.Delta}), nil
	case "response.reasoning_summary_part.added":
		if e.SummaryIndex > 0 {
			return []chat.Event{chat.ThinkingDelta{Index: at, Text: betweenSummaries}}, nil
		}
	case "response.reasoning_summary_text.delta", "response.reasoning_text.delta":
		return d.said(at, e.Delta, chat.ThinkingDelta{Index: at, Text: e.Delta}), nil
	case "response.function_call_arguments.delta":
		return d.said(at, e.Delta, chat.ToolDelta{Index: at, JSON: e.Delta}), nil
	case "response.output_item.done":
		if e.Item != nil {
			return d.end(at, e.Item), nil
		}
	case "response.completed", "response.incomplete":
		if e.Response != nil {
			return e.Response.end(), nil
		}
	case "response.failed":
		if e.Response != nil && e.Response.Error != nil {
			return nil, &e.Response.Error.Error
		}
		return nil, &completions.Error{Message: "the response failed", Code: "server_error"}
	case "error":
		if e.Error != nil {
			return nil, &e.Error.Error
		}
		return nil, &completions.Error{Message: e.Message, Code: cmp.Or(e.Code, "server_error"), Param: e.Param}
	}
	return nil, nil // the rest says again what was said, or is yet to come
}

const betweenSummaries = "\n\n"

func (d *EventDecoder) said(at int, delta string, e chat.Event) []chat.Event {
	if delta == "" {
		return nil
	}
	if d.seen == nil {
		d.seen = map[int]bool{}
	}
	d.seen[at] = true
	return []chat.Event{e}
}

// begin opens the block of an item.
func (d *EventDecoder) begin(at int, i *item) []chat.Event {
	switch i.Type {
	case "function_call":
		return []chat.Event{chat.ToolStart{Index: at, ID: i.CallID, Name: i.Name}}
	}
	return nil
}

// end closes the block of an item, and gives what of it did not come in deltas.
func (d *EventDecoder) end(at int, i *item) (out []chat.Event) {
	seen := d.seen[at]
	delete(d.seen, at)
	switch i.Type {
	case "function_call":
		if !seen && i.Arguments != "" {
			out = append(out, chat.ToolDelta{Index: at, JSON: i.Arguments})
		}
	case "message":
		for _, p := range i.Content {
			if text := p.Text + p.Refusal; !seen && text != "" {
				out = append(out, chat.TextDelta{Index: at, Text: text})
			}
		}
	case "reasoning":
		if text := i.reasoning(); !seen && text != "" {
			out = append(out, chat.ThinkingDelta{Index: at, Text: text})
		}
		if signature := Signed(i.ID, i.Encrypted); signature != "" {
			out = append(out, chat.ThinkingDelta{Index: at, Signature: signature})
		}
	default: // what the upstream ran itself is not shown
		return nil
	}
	return append(out, chat.BlockStop{Index: at})
}

// reasoning is the text of a reasoning item: its summary, else what it thought.
func (i *item) reasoning() string {
	parts := i.Summary
	if len(parts) == 0 {
		parts = i.Content
	}
	var texts []string
	for _, p := range parts {
		texts = append(texts, p.Text)
	}
	return strings.Join(texts, betweenSummaries)
}
