package openai

import (
	"cmp"
	"encoding/json"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"aisix/admin/strict"
	"aisix/extproc/chat"
)

// chatRequest is the body of a call: every member that it may have. Absent, null and
// the default are the same.
type chatRequest struct {
	Model    *string              `json:"model"`
	Messages strict.List[message] `json:"messages"`

	Tools             strict.List[tool] `json:"tools"`
	ToolChoice        toolChoice        `json:"tool_choice"`
	ParallelToolCalls *bool             `json:"parallel_tool_calls"`

	MaxTokens           strict.Number `json:"max_tokens"`
	MaxCompletionTokens strict.Number `json:"max_completion_tokens"` // wins over max_tokens
	Temperature         strict.Number `json:"temperature"`
	TopP                strict.Number `json:"top_p"`
	FrequencyPenalty    strict.Number `json:"frequency_penalty"`
	PresencePenalty     strict.Number `json:"presence_penalty"`
	Stop                stop          `json:"stop"`
	Seed                strict.Number `json:"seed"`

	ResponseFormat  *responseFormat  `json:"response_format"`
	ReasoningEffort *string          `json:"reasoning_effort"`
	Thinking        strict.RawObject `json:"thinking"`
	Verbosity       *string          `json:"verbosity"`

	User                 string             `json:"user"`
	SafetyIdentifier     string             `json:"safety_identifier"` // wins over user
	Metadata             map[string]*string `json:"metadata"`
	ServiceTier          *string            `json:"service_tier"`
	Store                bool               `json:"store"`
	CacheControl         *cacheControl      `json:"cache_control"` // marks the end of the conversation
	PromptCacheKey       string             `json:"prompt_cache_key"`
	PromptCacheOptions   *cacheOptions      `json:"prompt_cache_options"`
	PromptCacheRetention *string            `json:"prompt_cache_retention"`

	Stream        bool           `json:"stream"`
	StreamOptions *streamOptions `json:"stream_options"`

	// Refused, but for the value that is the default anyway.
	N                strict.Number             `json:"n"`
	Logprobs         bool                      `json:"logprobs"`
	TopLogprobs      strict.Number             `json:"top_logprobs"`
	LogitBias        map[string]strict.Ignored `json:"logit_bias"`
	Modalities       strict.List[string]       `json:"modalities"`
	Functions        strict.List[strict.Raw]   `json:"functions"`
	FunctionCall     strict.Raw                `json:"function_call"`
	Audio            strict.Ignored            `json:"audio"`
	Prediction       strict.Ignored            `json:"prediction"`
	Moderation       strict.Ignored            `json:"moderation"`
	WebSearchOptions strict.Ignored            `json:"web_search_options"`

	// Only Bedrock knows what these mean: the bedrock package checks them.
	GuardrailConfig              strict.Raw `json:"guardrailConfig"`
	PerformanceConfig            strict.Raw `json:"performanceConfig"`
	BedrockServiceTier           strict.Raw `json:"serviceTier"`
	AdditionalModelRequestFields strict.Raw `json:"additionalModelRequestFields"`
	RequestMetadata              strict.Raw `json:"requestMetadata"`
	AnthropicBeta                strict.Raw `json:"anthropic_beta"`
	TopK                         strict.Raw `json:"top_k"`

	Unknown strict.Unknown `json:",embed"`
}

type streamOptions struct {
	IncludeUsage       bool           `json:"include_usage"`
	IncludeObfuscation bool           `json:"include_obfuscation"`
	Unknown            strict.Unknown `json:",embed"`
}

// stop is a string or an array of strings.
type stop strict.List[string]

func (s *stop) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	switch dec.PeekKind() {
	case '"':
		one, err := strict.Text(dec)
		*s = stop{string(one)}
		return err
	case '[', 'n':
		return (*strict.List[string])(s).UnmarshalJSONFrom(dec)
	}
	return strict.Mismatch(dec, "a string or an array of strings")
}

// Check says what can't be had, and what does not fit together.
func (r *chatRequest) Check() *strict.Error {
	switch {
	case r.Messages == nil:
		return strict.Required("/messages")
	case len(r.Messages) == 0:
		return strict.Errorf("/messages", "must not be empty")
	case len(r.Metadata) > chat.MaxLabels:
		return strict.Errorf("/metadata", "must have at most %d members", chat.MaxLabels)
	}
	for _, err := range []*strict.Error{
		r.checkMessages(),
		atMost("/tools", len(r.Tools), chat.MaxTools, "tools"),
		atMost("/stop", len(r.Stop), chat.MaxStop, "stop sequences"),
		r.MaxTokens.IntWithin("/max_tokens", 1, math.MaxInt32),
		r.MaxCompletionTokens.IntWithin("/max_completion_tokens", 1, math.MaxInt32),
		r.Temperature.Within("/temperature", 0, 2),
		r.TopP.Within("/top_p", 0, 1),
		r.FrequencyPenalty.Within("/frequency_penalty", -2, 2),
		r.PresencePenalty.Within("/presence_penalty", -2, 2),
		r.Seed.IntWithin("/seed", math.MinInt64, math.MaxInt64),
		strict.OneOf("/reasoning_effort", r.ReasoningEffort, "none", "minimal", "low", "medium", "high", "xhigh", "max"),
		strict.OneOf("/verbosity", r.Verbosity, "low", "medium", "high"),
		strict.OneOf("/service_tier", r.ServiceTier, "auto", "default", "flex", "priority", "fast", "reserved"),
		// These change what is answered, not how: who asks for one must be told that it is not had. Their
		// defaults are harmless, and many clients send them.
		only("/store", !r.Store, "is not supported: answers are not stored"),
		// Clients before 2026 spell in_memory with a hyphen.
		strict.OneOf("/prompt_cache_retention", r.PromptCacheRetention, "in_memory", "in-memory", "24h"),
		only("/prompt_cache_retention", !is(r.PromptCacheRetention, "24h"), "24h is not supported: Bedrock keeps a cache for at most an hour"),
		only("/stream_options/include_usage", r.Stream || r.StreamOptions == nil || !r.StreamOptions.IncludeUsage, "is only allowed when stream is true"),
		only("/n", r.N == "" || equals(r.N, 1), "must be 1: only one choice is supported"),
		only("/logprobs", !r.Logprobs, "log probabilities are not available"),
		only("/top_logprobs", r.TopLogprobs == "" || equals(r.TopLogprobs, 0), "log probabilities are not available"),
		only("/logit_bias", !slices.Contains(slices.Collect(maps.Values(r.LogitBias)), true), "is not supported"),
		only("/functions", len(r.Functions) == 0, "is not supported: use tools"),
		only("/function_call", r.FunctionCall == nil || string(r.FunctionCall) == `"none"`, "is not supported: use tool_choice"),
		only("/audio", !bool(r.Audio), "audio is not supported"),
		only("/prediction", !bool(r.Prediction), "is not supported"),
		only("/moderation", !bool(r.Moderation), "is not supported"),
		only("/web_search_options", !bool(r.WebSearchOptions), "web search is not supported"),
		r.checkTools(),
	} {
		if err != nil {
			return err
		}
	}
	for i, m := range r.Modalities {
		if m != "text" {
			return strict.Errorf("/modalities/"+strconv.Itoa(i), "must be text")
		}
	}
	return nil
}

// checkMessages counts what a request may hold so many of, over all messages.
func (r *chatRequest) checkMessages() *strict.Error {
	if err := atMost("/messages", len(r.Messages), chat.MaxMessages, "messages"); err != nil {
		return err
	}
	parts, calls, thoughts := 0, 0, 0
	for i := range r.Messages {
		m := &r.Messages[i]
		parts += len(m.Content.parts)
		calls += len(m.ToolCalls)
		thoughts += len(m.ThinkingBlocks)
		if parts <= chat.MaxParts && calls <= chat.MaxToolCalls && thoughts <= chat.MaxThinkingBlocks {
			continue
		}
		place := "/messages/" + strconv.Itoa(i)
		return cmp.Or(
			atMost(place+"/content", parts, chat.MaxParts, "content parts"),
			atMost(place+"/tool_calls", calls, chat.MaxToolCalls, "tool calls"),
			atMost(place+"/thinking_blocks", thoughts, chat.MaxThinkingBlocks, "thinking blocks"),
		)
	}
	return nil
}

func atMost(pointer string, n, most int, what string) *strict.Error {
	if n <= most {
		return nil
	}
	return strict.Errorf(pointer, "a request must have at most %d %s", most, what)
}

// only is the Error of a value that is not the one that changes nothing.
func only(pointer string, harmless bool, why string) *strict.Error {
	if harmless {
		return nil
	}
	return strict.Errorf(pointer, "%s", why)
}

func is(s *string, word string) bool { return s != nil && *s == word }

func equals(n strict.Number, i int64) bool {
	got, ok := n.Int()
	return ok && got == i
}

// toChat gives the request as the caller meant it.
func (r *chatRequest) toChat(ignore []string) (*chat.Request, error) {
	out := &chat.Request{
		MaxTokens:        integer(r.MaxTokens),
		Temperature:      float(r.Temperature),
		TopP:             float(r.TopP),
		FrequencyPenalty: penalty(r.FrequencyPenalty),
		PresencePenalty:  penalty(r.PresencePenalty),
		User:             r.User,
		Stream:           r.Stream,
		ToolChoice:       r.ToolChoice.toChat(),
		Format:           r.ResponseFormat.toChat(),
		Cache:            r.CacheControl.toChat(),
		Verbosity:        verbosity(r.Verbosity),
	}
	if r.MaxCompletionTokens != "" {
		out.MaxTokens = integer(r.MaxCompletionTokens)
	}
	if r.SafetyIdentifier != "" {
		out.User = r.SafetyIdentifier
	}
	if n, ok := r.Seed.Int(); ok {
		out.Seed = &n
	}
	// True is the default: only false says something.
	if r.ParallelToolCalls != nil && !*r.ParallelToolCalls {
		out.ParallelToolCalls = r.ParallelToolCalls
	}
	// A blank one stops nothing with OpenAI, and is refused by Bedrock.
	for _, s := range r.Stop {
		if strings.TrimSpace(s) != "" {
			out.Stop = append(out.Stop, s)
		}
	}
	if r.ReasoningEffort != nil || r.Thinking != nil {
		out.Reasoning = &chat.Reasoning{Thinking: json.RawMessage(r.Thinking)}
		if r.ReasoningEffort != nil {
			out.Reasoning.Effort = *r.ReasoningEffort
		}
	}
	if r.ServiceTier != nil {
		out.ServiceTier = *r.ServiceTier
		if out.ServiceTier == "fast" { // OpenAI's other name for it
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
	for i := range r.Tools {
		out.Tools = append(out.Tools, r.Tools[i].toChat("tools["+strconv.Itoa(i)+"]"))
	}
	out.Extensions = r.extensions()
	c := conversation{request: out, anonymous: slices.Contains(ignore, "name"), anyDetail: slices.Contains(ignore, "detail")}
	return out, c.add(r.Messages)
}

// extensions are passed on as they are. Absent and null are no extension.
func (r *chatRequest) extensions() map[string]json.RawMessage {
	var all map[string]json.RawMessage
	for _, x := range []struct {
		name string
		raw  strict.Raw
	}{
		{"guardrailConfig", r.GuardrailConfig}, {"performanceConfig", r.PerformanceConfig}, {"serviceTier", r.BedrockServiceTier},
		{"additionalModelRequestFields", r.AdditionalModelRequestFields}, {"requestMetadata", r.RequestMetadata},
		{"anthropic_beta", r.AnthropicBeta}, {"top_k", r.TopK},
	} {
		if x.raw == nil {
			continue
		}
		if all == nil {
			all = map[string]json.RawMessage{}
		}
		all[x.name] = json.RawMessage(x.raw)
	}
	return all
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

// verbosity is "" for medium, which is the default.
func verbosity(word *string) string {
	if word == nil || *word == "medium" {
		return ""
	}
	return *word
}

// penalty is nil for 0, which is the default.
func penalty(n strict.Number) *float64 {
	if f := float(n); f != nil && *f != 0 {
		return f
	}
	return nil
}
