package openai

import (
	"encoding/json"
	"math"
	"slices"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"

	"aisix/admin/strict"
	"aisix/extproc/chat"
)

// responseRequest is the body of a call: every member that it may have. Absent, null and the
// default are the same. (OpenAI's API reference, "Create a model response")
type responseRequest struct {
	Model        *string   `json:"model"`
	Input        inputList `json:"input"`
	Instructions *string   `json:"instructions"`

	Tools             strict.List[responseTool] `json:"tools"`
	ToolChoice        responseChoice            `json:"tool_choice"`
	ParallelToolCalls *bool                     `json:"parallel_tool_calls"`

	MaxOutputTokens strict.Number     `json:"max_output_tokens"`
	Temperature     strict.Number     `json:"temperature"`
	TopP            strict.Number     `json:"top_p"`
	Reasoning       *responseThinking `json:"reasoning"`
	Text            *responseText     `json:"text"`

	Stream        bool           `json:"stream"`
	StreamOptions *streamOptions `json:"stream_options"`

	User                 string              `json:"user"`
	SafetyIdentifier     string              `json:"safety_identifier"` // wins over user
	Metadata             map[string]*string  `json:"metadata"`
	ServiceTier          *string             `json:"service_tier"`
	PromptCacheKey       string              `json:"prompt_cache_key"`
	PromptCacheOptions   *cacheOptions       `json:"prompt_cache_options"`
	PromptCacheRetention *string             `json:"prompt_cache_retention"`
	Include              strict.List[string] `json:"include"`
	Truncation           *string             `json:"truncation"`
	ClientMetadata       strict.Ignored      `json:"client_metadata"` // Codex's own, for OpenAI's logs
	ContextManagement    strict.Ignored      `json:"context_management"`

	// What keeps state is refused, but for the value that keeps none.
	Store              *bool          `json:"store"` // true, the default, is taken and not done
	Background         bool           `json:"background"`
	PreviousResponseID *string        `json:"previous_response_id"`
	Conversation       strict.Ignored `json:"conversation"`
	Prompt             strict.Ignored `json:"prompt"`
	Moderation         strict.Ignored `json:"moderation"`
	MaxToolCalls       strict.Number  `json:"max_tool_calls"`
	TopLogprobs        strict.Number  `json:"top_logprobs"`

	// Only Bedrock knows what these mean, as in chat completions.
	GuardrailConfig              strict.Raw `json:"guardrailConfig"`
	PerformanceConfig            strict.Raw `json:"performanceConfig"`
	BedrockServiceTier           strict.Raw `json:"serviceTier"`
	AdditionalModelRequestFields strict.Raw `json:"additionalModelRequestFields"`
	RequestMetadata              strict.Raw `json:"requestMetadata"`
	AnthropicBeta                strict.Raw `json:"anthropic_beta"`

	Unknown strict.Unknown `json:",embed"`
}

// responseThinking is reasoning.
type responseThinking struct {
	Effort          *string        `json:"effort"`
	Summary         *string        `json:"summary"`
	GenerateSummary *string        `json:"generate_summary"` // its old name
	Context         *string        `json:"context"`          // which turns' reasoning counts: we send back what comes
	Mode            *string        `json:"mode"`
	Unknown         strict.Unknown `json:",embed"`
}

func (r *responseThinking) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	type members responseThinking
	return strict.Object(dec, (*members)(r), r)
}

// Check says what can't be had.
func (r *responseThinking) Check() *strict.Error {
	return strict.OneOf("/effort", r.Effort, "none", "minimal", "low", "medium", "high", "xhigh", "max")
}

// summarized reports whether a summary of what was thought is asked for.
func (r *responseThinking) summarized() bool {
	asked := func(s *string) bool { return s != nil && *s != "" && *s != "none" }
	return r != nil && (asked(r.Summary) || asked(r.GenerateSummary))
}

// responseText is text.
type responseText struct {
	Format    *textFormat    `json:"format"`
	Verbosity *string        `json:"verbosity"`
	Unknown   strict.Unknown `json:",embed"`
}

func (r *responseText) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	type members responseText
	return strict.Object(dec, (*members)(r), r)
}

// Check says what can't be had.
func (r *responseText) Check() *strict.Error {
	return strict.OneOf("/verbosity", r.Verbosity, "low", "medium", "high")
}

// textFormat is response_format, flat.
type textFormat struct {
	Type        *string          `json:"type"`
	Name        string           `json:"name"`
	Description string           `json:"description"`
	Schema      strict.RawObject `json:"schema"`
	Strict      *bool            `json:"strict"`
	Unknown     strict.Unknown   `json:",embed"`
}

func (f *textFormat) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	type members textFormat
	return strict.Object(dec, (*members)(f), f)
}

// Check wants the members that the type needs.
func (f *textFormat) Check() *strict.Error {
	switch {
	case f.Type == nil:
		return strict.Required("/type")
	case *f.Type == "json_schema" && f.Name == "":
		return strict.Required("/name")
	case *f.Type == "json_schema" && f.Schema == nil:
		return strict.Required("/schema")
	}
	return strict.OneOf("/type", f.Type, "text", "json_object", "json_schema")
}

func (f *textFormat) toChat() *chat.Format {
	switch {
	case f == nil || *f.Type == "text":
		return nil
	case *f.Type == "json_object":
		return &chat.Format{}
	}
	return &chat.Format{Name: f.Name, Description: f.Description, Schema: json.RawMessage(f.Schema), Strict: f.Strict != nil && *f.Strict, Param: "text.format.schema"}
}

// stateless is said of what would need state.
const stateless = "is not supported: this gateway keeps no state; send the whole conversation in input"

// Check says what can't be had, and what does not fit together.
func (r *responseRequest) Check() *strict.Error {
	switch {
	case r.Input.kind == 0 || r.Input.kind == 'n':
		return strict.Required("/input")
	case r.Input.kind == '[' && len(r.Input.items) == 0:
		return strict.Errorf("/input", "must not be empty")
	case len(r.Metadata) > chat.MaxLabels:
		return strict.Errorf("/metadata", "must have at most %d members", chat.MaxLabels)
	}
	for _, err := range []*strict.Error{
		r.checkInput(),
		atMost("/tools", len(r.Tools), chat.MaxTools, "tools"),
		typedTools(r.Tools),
		r.MaxOutputTokens.IntWithin("/max_output_tokens", 1, math.MaxInt32),
		r.Temperature.Within("/temperature", 0, 2),
		r.TopP.Within("/top_p", 0, 1),
		strict.OneOf("/service_tier", r.ServiceTier, "auto", "default", "flex", "priority", "fast", "reserved"),
		strict.OneOf("/truncation", r.Truncation, "auto", "disabled"),
		strict.OneOf("/prompt_cache_retention", r.PromptCacheRetention, "in_memory", "in-memory", "24h"),
		only("/prompt_cache_retention", !is(r.PromptCacheRetention, "24h"), "24h is not supported: Bedrock keeps a cache for at most an hour"),
		only("/truncation", !is(r.Truncation, "auto"), "auto is not supported: leave out of input what the model's context has no room for"),
		only("/background", !r.Background, "is not supported: answers are not stored"),
		only("/previous_response_id", r.PreviousResponseID == nil || *r.PreviousResponseID == "", stateless),
		only("/conversation", !bool(r.Conversation), stateless),
		only("/prompt", !bool(r.Prompt), "is not supported: there are no stored prompts; send instructions and input"),
		only("/moderation", !bool(r.Moderation), "is not supported"),
		only("/top_logprobs", r.TopLogprobs == "" || equals(r.TopLogprobs, 0), "log probabilities are not available"),
		only("/include", !slices.Contains(r.Include, "message.output_text.logprobs"), "message.output_text.logprobs: log probabilities are not available"),
	} {
		if err != nil {
			return err
		}
	}
	return nil
}

// checkInput counts what a request may hold so many of.
func (r *responseRequest) checkInput() *strict.Error {
	if err := atMost("/input", len(r.Input.items), chat.MaxMessages, "items"); err != nil {
		return err
	}
	parts := 0
	for i := range r.Input.items {
		parts += len(r.Input.items[i].Content.parts) + len(r.Input.items[i].Output.parts)
		if parts > chat.MaxParts {
			return atMost("/input/"+strconv.Itoa(i), parts, chat.MaxParts, "content parts")
		}
	}
	return nil
}

// includes reports whether an answer is to hold something that it holds only then.
func (r *responseRequest) includes(name string) bool { return slices.Contains(r.Include, name) }

// toChat gives the request as the caller meant it, and tells a which tools it has.
func (r *responseRequest) toChat(a *askedResponse) (*chat.Request, error) {
	out := &chat.Request{
		MaxTokens:   integer(r.MaxOutputTokens),
		Temperature: float(r.Temperature),
		TopP:        float(r.TopP),
		User:        r.User,
		Stream:      r.Stream,
	}
	if r.SafetyIdentifier != "" {
		out.User = r.SafetyIdentifier
	}
	if r.ParallelToolCalls != nil && !*r.ParallelToolCalls {
		out.ParallelToolCalls = r.ParallelToolCalls
	}
	if r.Reasoning != nil && r.Reasoning.Effort != nil {
		out.Reasoning = &chat.Reasoning{Effort: *r.Reasoning.Effort, Wish: true} // Codex asks every model, by the alias
	}
	if r.Text != nil {
		out.Format = r.Text.Format.toChat()
		out.Verbosity, out.VerbosityWish = verbosity(r.Text.Verbosity), true // Codex asks every model, by the alias
	}
	if r.ServiceTier != nil {
		out.ServiceTier = *r.ServiceTier
		if out.ServiceTier == "fast" {
			out.ServiceTier = "priority"
		}
	}
	for name, label := range r.Metadata {
		if label == nil {
			continue
		}
		if out.Metadata == nil {
			out.Metadata = map[string]string{}
		}
		out.Metadata[name] = *label
	}
	chats := chatRequest{
		GuardrailConfig: r.GuardrailConfig, PerformanceConfig: r.PerformanceConfig, BedrockServiceTier: r.BedrockServiceTier,
		AdditionalModelRequestFields: r.AdditionalModelRequestFields, RequestMetadata: r.RequestMetadata, AnthropicBeta: r.AnthropicBeta,
	}
	out.Extensions = chats.extensions()
	t := tooling{request: out, names: toolNames{}}
	if err := t.offer(r); err != nil {
		return nil, err
	}
	if r.Instructions != nil && *r.Instructions != "" {
		out.System = append(out.System, chat.Text{Text: *r.Instructions})
	}
	if err := t.converse(&r.Input); err != nil {
		return nil, err
	}
	a.tools = t.names
	return out, nil
}
