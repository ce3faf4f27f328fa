package anthropic

import (
	"encoding/json"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"aisix/admin/strict"
	"aisix/extproc/chat"
	"aisix/extproc/fault"
	"aisix/extproc/jsonedit"
)

// body is a request for a model of another family: every member that it may have. Absent and
// null are the same.
type body struct {
	Model    *string           `json:"model"`
	System   content           `json:"system"`
	Messages strict.List[turn] `json:"messages"`

	Tools      strict.List[definition] `json:"tools"`
	ToolChoice *choice                 `json:"tool_choice"`

	MaxTokens     strict.Number       `json:"max_tokens"`
	Temperature   strict.Number       `json:"temperature"`
	TopP          strict.Number       `json:"top_p"`
	TopK          strict.Number       `json:"top_k"`
	StopSequences strict.List[string] `json:"stop_sequences"`
	Stream        bool                `json:"stream"`

	Thinking     *thinkingWish `json:"thinking"`
	OutputConfig *outputWish   `json:"output_config"`
	OutputFormat *formatWish   `json:"output_format"` // of before output_config

	Metadata     *callerMetadata `json:"metadata"`
	ServiceTier  *string         `json:"service_tier"`
	CacheControl *mark           `json:"cache_control"` // marks the end of the conversation

	// Left out with a note: agents send them always, and an answer without them is one.
	ContextManagement strict.Ignored `json:"context_management"`
	Betas             strict.Ignored `json:"betas"`
	AnthropicBeta     strict.Ignored `json:"anthropic_beta"`
	AnthropicVersion  strict.Ignored `json:"anthropic_version"`
	InferenceGeo      strict.Ignored `json:"inference_geo"`
	Speed             strict.Ignored `json:"speed"`
	Diagnostics       strict.Ignored `json:"diagnostics"`
	Safeguards        strict.Ignored `json:"safeguards"`
	Fallbacks         strict.Ignored `json:"fallbacks"`
	FallbackCredit    strict.Ignored `json:"fallback_credit_token"`

	// Refused: an answer without them is another one.
	Container  strict.Ignored          `json:"container"`
	MCPServers strict.List[strict.Raw] `json:"mcp_servers"`
	Thread     strict.Ignored          `json:"thread"`

	Unknown strict.Unknown `json:",embed"`
}

type thinkingWish struct {
	raw    jsontext.Value
	kind   *string
	budget strict.Number
}

func (t *thinkingWish) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	if k := dec.PeekKind(); k != '{' && k != 'n' {
		return strict.Mismatch(dec, "an object")
	}
	v, err := dec.ReadValue()
	if err != nil || v.Kind() == 'n' {
		return err
	}
	t.raw = v.Clone()
	var says struct {
		Type   *string       `json:"type"`
		Budget strict.Number `json:"budget_tokens"`
	}
	if err := strict.Peek(t.raw, &says); err != nil {
		return err
	}
	t.kind, t.budget = says.Type, says.Budget
	if t.kind == nil {
		return strict.Required("/type")
	}
	if err := strict.OneOf("/type", t.kind, "enabled", "adaptive", "disabled"); err != nil {
		return err
	}
	if *t.kind == "enabled" && t.budget == "" {
		return strict.Required("/budget_tokens")
	}
	if err := t.budget.IntWithin("/budget_tokens", 1, math.MaxInt32); err != nil {
		return err
	}
	return nil
}

type outputWish struct {
	Effort     *string        `json:"effort"`
	Format     *formatWish    `json:"format"`
	TaskBudget strict.Ignored `json:"task_budget"` // hints
	Timing     strict.Ignored `json:"timing"`
	Unknown    strict.Unknown `json:",embed"`
}

func (o *outputWish) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	type members outputWish
	return strict.Object(dec, (*members)(o), o)
}

func (o *outputWish) Check() *strict.Error {
	return strict.OneOf("/effort", o.Effort, "low", "medium", "high", "xhigh", "max")
}

type formatWish struct {
	Type    *string          `json:"type"`
	Schema  strict.RawObject `json:"schema"`
	Name    strict.Ignored   `json:"name"`
	Unknown strict.Unknown   `json:",embed"`
}

func (f *formatWish) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	type members formatWish
	return strict.Object(dec, (*members)(f), f)
}

func (f *formatWish) Check() *strict.Error {
	if f.Type == nil {
		return strict.Required("/type")
	}
	if err := strict.OneOf("/type", f.Type, "json_schema"); err != nil {
		return err
	}
	if f.Schema == nil {
		return strict.Required("/schema")
	}
	return nil
}

type callerMetadata struct {
	UserID *string       `json:"user_id"`
	Others strict.Others `json:",embed"`
}

// choice is which tool is to be called.
type choice struct {
	Type            *string        `json:"type"`
	Name            string         `json:"name"`
	DisableParallel *bool          `json:"disable_parallel_tool_use"`
	Unknown         strict.Unknown `json:",embed"`
}

func (c *choice) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	type members choice
	return strict.Object(dec, (*members)(c), c)
}

func (c *choice) Check() *strict.Error {
	switch {
	case c.Type == nil:
		return strict.Required("/type")
	case *c.Type == "tool" && c.Name == "":
		return strict.Required("/name")
	}
	return strict.OneOf("/type", c.Type, "auto", "any", "tool", "none")
}

// choices are the words for them.
var choices = map[string]chat.ToolChoiceMode{"auto": chat.ToolChoiceAuto, "any": chat.ToolChoiceAny, "tool": chat.ToolChoiceTool, "none": chat.ToolChoiceNone}

// definition is a tool. What a type other than custom names is Claude's own: other models
// have no schema for it, and nobody to run it.
type definition struct {
	Type         *string          `json:"type"`
	Name         string           `json:"name"`
	Description  string           `json:"description"`
	InputSchema  strict.RawObject `json:"input_schema"`
	Strict       bool             `json:"strict"`
	CacheControl *mark            `json:"cache_control"`
	DeferLoading bool             `json:"defer_loading"`

	// Hints that say nothing to other families.
	EagerInputStreaming strict.Ignored `json:"eager_input_streaming"`
	AllowedCallers      strict.Ignored `json:"allowed_callers"`
	InputExamples       strict.Ignored `json:"input_examples"`

	Others strict.Others `json:",embed"`
}

// Check says what is wrong with it, nil where nothing is.
func (d *definition) Check() *strict.Error {
	switch {
	case d.Type != nil && *d.Type != "custom":
		return strict.Variant("/type", "tools of type %s are not supported by this model: only custom tools are", strict.Clip(*d.Type, 64))
	case d.Name == "":
		return strict.Required("/name")
	case len(d.Name) > chat.MaxToolName:
		return strict.Errorf("/name", "must be at most %d bytes long", chat.MaxToolName)
	case d.InputSchema == nil:
		return strict.Required("/input_schema")
	}
	return d.Others.Refuse()
}

// mark is Anthropic's {"type":"ephemeral","ttl":"5m"|"1h"}. What else it says is of caches that
// Bedrock does not have.
type mark struct {
	Type   *string       `json:"type"`
	TTL    *string       `json:"ttl"`
	Others strict.Others `json:",embed"`
}

func (m *mark) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	type members mark
	return strict.Object(dec, (*members)(m), m)
}

func (m *mark) Check() *strict.Error {
	if m.Type == nil {
		return strict.Required("/type")
	}
	if err := strict.OneOf("/type", m.Type, "ephemeral"); err != nil {
		return err
	}
	return strict.OneOf("/ttl", m.TTL, "5m", "1h")
}

func (m *mark) toChat() *chat.CachePoint {
	switch {
	case m == nil || m.Type == nil:
		return nil
	case m.TTL == nil:
		return &chat.CachePoint{}
	}
	return &chat.CachePoint{TTL: *m.TTL}
}

// Check says what can't be had, and what does not fit together.
func (r *body) Check() *strict.Error {
	switch {
	case r.Messages == nil:
		return strict.Required("/messages")
	case len(r.Messages) == 0:
		return strict.Errorf("/messages", "must not be empty")
	case bool(r.Container):
		return strict.Errorf("/container", "containers are not supported by this model")
	case len(r.MCPServers) > 0:
		return strict.Errorf("/mcp_servers", "MCP servers are not supported by this model")
	case bool(r.Thread):
		return strict.Errorf("/thread", "is not supported, since nothing is stored: send the whole conversation")
	}
	for _, n := range []*strict.Number{&r.TopP, &r.TopK} { // LangChain.js says -1 where nothing is set, and Anthropic takes it
		if i, ok := n.Int(); ok && i == -1 {
			*n = ""
		}
	}
	for _, err := range []*strict.Error{
		r.checkMessages(),
		atMost("/stop_sequences", len(r.StopSequences), chat.MaxStop, "stop sequences"),
		r.MaxTokens.IntWithin("/max_tokens", 1, math.MaxInt32),
		r.Temperature.Within("/temperature", 0, 1),
		r.TopP.Within("/top_p", 0, 1),
		r.TopK.IntWithin("/top_k", 0, math.MaxInt32),
		strict.OneOf("/service_tier", r.ServiceTier, "auto", "standard_only"),
		r.checkTools(),
	} {
		if err != nil {
			return err
		}
	}
	return nil
}

// checkMessages counts what a request may hold so many of, over all messages, and holds the
// system text to text.
func (r *body) checkMessages() *strict.Error {
	if err := atMost("/messages", len(r.Messages), chat.MaxMessages, "messages"); err != nil {
		return err
	}
	if err := onlyText(r.System.blocks, "/system"); err != nil {
		return err
	}
	blocks := 0
	for i := range r.Messages {
		if blocks += r.Messages[i].Content.count(); blocks > chat.MaxParts {
			return atMost("/messages/"+strconv.Itoa(i)+"/content", blocks, chat.MaxParts, "content blocks")
		}
	}
	return nil
}

func atMost(pointer string, n, most int, what string) *strict.Error {
	if n <= most {
		return nil
	}
	return strict.Errorf(pointer, "a request must have at most %d %s", most, what)
}

// Request is what was asked, for a model that does not speak this format. The error is a
// *fault.Error of status 400. Members of the body that ignore names are taken as absent.
func (a *asked) Request(ignore []string) (*chat.Request, error) {
	text, err := a.text, a.err
	a.text, a.err = nil, nil
	if err != nil {
		return nil, err
	}
	text = withoutBilling(text)
	if len(ignore) > 0 {
		t := jsonedit.Text(text)
		var e jsonedit.Edits
		e.Object(t, t.Root(), nil, func(m jsonedit.Member) bool {
			return m.Name == "model" || m.Name == "messages" || !slices.Contains(ignore, m.Name)
		})
		text = e.Apply(t)
	}
	r := &body{}
	if err := strict.Unmarshal(text, r); err != nil {
		return nil, fault.Body(err)
	}
	out := r.toChat()
	if len(a.beta) > 0 {
		out.Notes = append(out.Notes, "anthropic-beta has no meaning for this model and was left out: "+chat.AllNamed(a.beta))
	}
	return out, nil
}

// toChat gives the request as the caller meant it.
func (r *body) toChat() *chat.Request {
	out := &chat.Request{
		MaxTokens:     integer(r.MaxTokens),
		MaxTokensWish: true,
		Temperature:   float(r.Temperature),
		TopP:          float(r.TopP),
		Stream:        r.Stream,
		Reasoning:     r.reasoning(),
		Format:        r.format(),
		Cache:         r.CacheControl.toChat(),
	}
	if r.TopK != "" {
		out.Extensions = map[string]json.RawMessage{"top_k": json.RawMessage(r.TopK)}
	}
	if r.Metadata != nil && r.Metadata.UserID != nil {
		out.User = *r.Metadata.UserID
	}
	for _, s := range r.StopSequences {
		if strings.TrimSpace(s) != "" {
			out.Stop = append(out.Stop, s)
		}
	}
	if c := r.ToolChoice; c != nil && c.Type != nil {
		out.ToolChoice = chat.ToolChoice{Mode: choices[*c.Type]}
		if out.ToolChoice.Mode == chat.ToolChoiceTool {
			out.ToolChoice.Name = c.Name
		}
		if c.DisableParallel != nil && *c.DisableParallel {
			parallel := false
			out.ParallelToolCalls = &parallel
		}
	}
	var notes []string
	out.Tools, notes = r.toolsToChat()
	c := conversation{request: out}
	c.add(r)
	out.Notes = append(append(r.notes(), notes...), c.notes()...)
	return out
}

// reasoning is how much the model is to think: a wish, which no answer fails for.
func (r *body) reasoning() *chat.Reasoning {
	out := &chat.Reasoning{Wish: true}
	if r.OutputConfig != nil && r.OutputConfig.Effort != nil {
		out.Effort = *r.OutputConfig.Effort
	}
	for i := range r.Messages { // a message's is for what follows it
		if o := r.Messages[i].OutputConfig; o != nil && o.Effort != nil && r.Messages[i].Role != "assistant" {
			out.Effort = *o.Effort
		}
	}
	if t := r.Thinking; t != nil && t.kind != nil {
		out.Thinking = json.RawMessage(t.raw)
		if *t.kind == "disabled" {
			out.Effort = "none"
		}
	}
	if out.Effort == "" && out.Thinking == nil {
		return nil
	}
	return out
}

func (r *body) format() *chat.Format {
	f, param := r.OutputFormat, "output_format.schema"
	if r.OutputConfig != nil && r.OutputConfig.Format != nil {
		f, param = r.OutputConfig.Format, "output_config.format.schema"
	}
	if f == nil || f.Type == nil {
		return nil
	}
	return &chat.Format{Name: "output", Schema: json.RawMessage(f.Schema), Strict: true, Param: param}
}

// notes tell the operator what was left out.
func (r *body) notes() (notes []string) {
	var names []string
	for _, x := range []struct {
		name  string
		given strict.Ignored
	}{
		{"context_management", r.ContextManagement}, {"betas", r.Betas}, {"anthropic_beta", r.AnthropicBeta},
		{"inference_geo", r.InferenceGeo}, {"speed", r.Speed}, {"diagnostics", r.Diagnostics},
		{"safeguards", r.Safeguards}, {"fallbacks", r.Fallbacks}, {"fallback_credit_token", r.FallbackCredit},
	} {
		if x.given {
			names = append(names, x.name)
		}
	}
	if o := r.OutputConfig; o != nil && bool(o.TaskBudget) {
		names = append(names, "output_config.task_budget")
	}
	if o := r.OutputConfig; o != nil && bool(o.Timing) {
		names = append(names, "output_config.timing")
	}
	if r.Metadata != nil {
		for _, name := range r.Metadata.Others.Names() {
			names = append(names, "metadata."+chat.Named(name))
		}
	}
	if len(names) > 0 {
		notes = append(notes, "left out, for this model has no place for them: "+strings.Join(names, ", "))
	}
	return notes
}

// integer is of what Check has held within int32; nil is absent.
func integer(n strict.Number) *int {
	i, ok := n.Int()
	if !ok {
		return nil
	}
	small := int(i)
	return &small
}

func float(n strict.Number) *float64 {
	f, ok := n.Float()
	if !ok {
		return nil
	}
	return &f
}
