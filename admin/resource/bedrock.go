package resource

import (
	"encoding/json"
	"reflect"

	"github.com/go-json-experiment/json/jsontext"
)

// Bedrock is a model's defaults for what only Bedrock knows, and what a caller may
// change of them. The members are spelled as in Bedrock's API.
type Bedrock struct {
	// What a request that names no maximum gets.
	MaxTokens *int `json:"max_tokens,omitempty" min:"1" max:"2147483647"`
	// The guardrail that judges what is asked and answered.
	GuardrailConfig *GuardrailConfig `json:"guardrailConfig,omitempty"`
	// How fast it is asked to answer.
	PerformanceConfig *Performance `json:"performanceConfig,omitempty"`
	// Which service tier is asked for.
	ServiceTier *ServiceTier `json:"serviceTier,omitempty"`
	// Bedrock's member of this name: parameters of the model's own. They win over what
	// the gateway derives.
	AdditionalModelRequestFields json.RawMessage `json:"additionalModelRequestFields,omitempty" is:"object"`
	// Bedrock's member of this name: labels for the invocation logs.
	RequestMetadata map[string]string `json:"requestMetadata,omitempty" is:"metadata"`
	// Anthropic's beta features.
	AnthropicBeta []string `json:"anthropic_beta,omitempty" is:"name" max:"1024"`
	// Whether callers may have answers stored at AWS, in the region that gives them: store
	// and previous_response_id of the Responses API. Default false.
	AllowStore bool `json:"allow_store,omitempty"`
	// Whether callers of the Responses API may use tools that AWS runs itself, with the
	// rights of the provider key: mcp with a connector of the caller's naming. Default false.
	AllowHostedTools bool `json:"allow_hosted_tools,omitempty"`
	// Which of the members above a request may set for itself.
	AllowOverride []string `json:"allow_override,omitempty" of:"guardrailConfig performanceConfig serviceTier additionalModelRequestFields requestMetadata anthropic_beta"`
	// Parameters of OpenAI's to ignore where the model can't honour them, instead of
	// refusing the request. A dot leads into an object, or into each one of a list:
	// messages.reasoning_details.
	IgnoreParams []string `json:"ignore_params,omitempty" is:"parameter" max:"1024"`
	// What the model can do, where the gateway knows wrong or does not know.
	Capabilities *Capabilities `json:"capabilities,omitempty"`
}

// GuardrailConfig is Bedrock's guardrailConfig.
type GuardrailConfig struct {
	// Id or ARN.
	Identifier string `json:"guardrailIdentifier" is:"required guardrail"`
	// A version's number, or DRAFT.
	Version string `json:"guardrailVersion" is:"required guardrail_version"`
	// Whether answers tell what the guardrail did.
	Trace string `json:"trace,omitempty" of:"enabled disabled enabled_full"`
	// Of streams only.
	StreamMode string `json:"streamProcessingMode,omitempty" of:"sync async"`
}

// Performance is Bedrock's performanceConfig.
type Performance struct {
	// Its latency.
	Latency string `json:"latency" is:"required" of:"standard optimized"`
}

// ServiceTier is Bedrock's serviceTier.
type ServiceTier struct {
	// Its name.
	Type string `json:"type" is:"required" of:"default priority flex reserved"`
}

// Capabilities is what the model can do, over what the gateway knows of its family:
// an absent member is as known there, an empty list is none.
//
// The same type is the row of the data file in extproc/bedrock and the overrule in a
// model resource; nil members are "not said".
type Capabilities struct {
	// Takes system prompts.
	System *bool `json:"system,omitempty"`
	// Takes a system message between turns, as a message of role system. Where not, its text
	// goes into the user's turn at its place.
	SystemTurns *bool `json:"system_turns,omitempty"`
	// Takes a conversation that ends with the assistant's turn, and goes on with it.
	Prefill *bool `json:"prefill,omitempty"`
	// Takes temperature, top_p and top_k.
	Sampling *bool `json:"sampling,omitempty"`
	// Takes tool definitions.
	Tools *bool `json:"tools,omitempty"`
	// Which tool choices it takes.
	ToolChoice []string `json:"tool_choice,omitzero" of:"auto any tool"`
	// Takes disable_parallel_tool_use.
	SerialTools *bool `json:"serial_tools,omitempty"`
	// Takes images in user turns.
	Images *bool `json:"images,omitempty"`
	// Takes images in tool results.
	ToolResultImages *bool `json:"tool_result_images,omitempty"`
	// Takes documents.
	Documents *bool `json:"documents,omitempty"`
	// Where cache points may stand.
	Cache []string `json:"cache,omitzero" of:"system messages tools"`
	// Which times to live a cache point may have.
	CacheTTL []string `json:"cache_ttl,omitzero" of:"5m 1h"`
	// After what a cache point of a message may stand: text only, or any block.
	CacheAfter string `json:"cache_after,omitempty" of:"text any"`
	// How response_format is made: by Bedrock's own outputConfig, or by a tool that the
	// model is made to call.
	StructuredOutput string `json:"structured_output,omitempty" of:"native tool"`
	// Takes strict on a tool.
	StrictTools *bool `json:"strict_tools,omitempty"`
	// Which schemas its tools may have: any, or plain ones, with type, properties,
	// required, additionalProperties and title alone at the root and no references (the
	// gateway writes them so).
	ToolSchema string `json:"tool_schema,omitempty" of:"plain any"`
	// Ids of tool calls are so many letters and digits (the gateway gives others one).
	CallIDLength *int `json:"call_id_length,omitempty" min:"8" max:"64"`
	// Whether ids of tool calls must fit Bedrock's pattern (the gateway gives others one),
	// or the model wants its own back as they are.
	CallIDs string `json:"call_ids,omitempty" of:"bedrock any"`
	// When it thinks: if asked, unless told not to, or always.
	Thinks string `json:"thinks,omitempty" of:"asked unasked always"`
	// Which reasoning of earlier turns it takes back.
	PastReasoning []string `json:"past_reasoning,omitzero" of:"signed redacted"`
	// Its control of reasoning: none, a budget of tokens, adaptive thinking with an
	// effort, or an effort alone.
	Reasoning string `json:"reasoning,omitempty" of:"none budget adaptive effort"`
	// Takes frequency_penalty and presence_penalty.
	Penalties *bool `json:"penalties,omitempty"`
	// Takes seed.
	Seed *bool `json:"seed,omitempty"`
	// A turn may hold text beside tool calls or results. Where not, the user's text goes
	// into the last result, and the model's is left out.
	MixedTurns *bool `json:"mixed_turns,omitempty"`
	// The most stop sequences.
	StopMax *int `json:"stop_max,omitempty" min:"0" max:"9007199254740991"`
	// Where top_k goes in additionalModelRequestFields: a name, or names with dots
	// between.
	TopKField string `json:"top_k_field,omitempty" is:"field_path"`
}

// Overridable are the members of Bedrock that a request may set where the model's
// allow_override has them.
var Overridable = fieldNamed(reflect.TypeFor[Bedrock](), "allow_override").words

// DecodeOverride reads one of Overridable as a request gives it, by the same rules
// as a model resource. Errors are *strict.Error.
func DecodeOverride(name string, raw []byte) (*Bedrock, error) {
	text, err := jsontext.AppendQuote([]byte("{"), name)
	if err != nil {
		return nil, err
	}
	b := &Bedrock{}
	return b, read(append(append(append(text, ':'), raw...), '}'), b)
}
