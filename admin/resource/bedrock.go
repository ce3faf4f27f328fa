package resource

import (
	"encoding/json"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strings"
)

// Bedrock are a model's defaults for what only Bedrock knows, and what a caller
// may change of them. The members are spelled as in Bedrock's API.
type Bedrock struct {
	MaxTokens                    *int              `json:"max_tokens,omitempty"` // where the caller gave none
	GuardrailConfig              *GuardrailConfig  `json:"guardrailConfig,omitempty"`
	PerformanceConfig            *Performance      `json:"performanceConfig,omitempty"`
	ServiceTier                  *ServiceTier      `json:"serviceTier,omitempty"`
	AdditionalModelRequestFields json.RawMessage   `json:"additionalModelRequestFields,omitempty"` // an object
	RequestMetadata              map[string]string `json:"requestMetadata,omitempty"`
	AnthropicBeta                []string          `json:"anthropic_beta,omitempty"`
	AllowOverride                []string          `json:"allow_override,omitempty"` // names of the members above that a request may set
	IgnoreParams                 []string          `json:"ignore_params,omitempty"`  // OpenAI parameters to ignore instead of refusing
	Capabilities                 *Capabilities     `json:"capabilities,omitempty"`   // overrules the data file on families
}

// GuardrailConfig is Bedrock's guardrailConfig.
type GuardrailConfig struct {
	Identifier string `json:"guardrailIdentifier"`
	Version    string `json:"guardrailVersion"`
	Trace      string `json:"trace,omitempty"`                // enabled, disabled, enabled_full
	StreamMode string `json:"streamProcessingMode,omitempty"` // sync, async
}

// Performance is Bedrock's performanceConfig.
type Performance struct {
	Latency string `json:"latency"` // standard, optimized
}

// ServiceTier is Bedrock's serviceTier.
type ServiceTier struct {
	Type string `json:"type"` // default, priority, flex, reserved
}

// Capabilities say what a model family can do; nil members are "not said", an empty
// list is "none". The same type is the row of the data file in extproc/bedrock and
// the overrule in a model resource.
type Capabilities struct {
	System           *bool    `json:"system,omitempty"`             // takes system prompts
	Tools            *bool    `json:"tools,omitempty"`              // takes tool definitions
	ToolChoice       []string `json:"tool_choice,omitzero"`         // of auto, any, tool
	Images           *bool    `json:"images,omitempty"`             // in user turns
	ToolResultImages *bool    `json:"tool_result_images,omitempty"` // in tool results
	Documents        *bool    `json:"documents,omitempty"`
	Cache            []string `json:"cache,omitzero"`              // where cache points may stand: system, messages, tools
	CacheTTL         []string `json:"cache_ttl,omitzero"`          // of 5m, 1h
	StructuredOutput string   `json:"structured_output,omitempty"` // native, tool
	StrictTools      *bool    `json:"strict_tools,omitempty"`      // takes strict on a tool
	ToolSchema       string   `json:"tool_schema,omitempty"`       // any; plain: no references, and little at the root
	CallIDLength     *int     `json:"call_id_length,omitempty"`    // call ids are so many letters and digits
	Reasoning        string   `json:"reasoning,omitempty"`         // none, budget, adaptive, effort (the family's own control)
	Penalties        *bool    `json:"penalties,omitempty"`         // takes frequency_penalty, presence_penalty
	Seed             *bool    `json:"seed,omitempty"`
	MixedTurns       *bool    `json:"mixed_turns,omitempty"` // a turn may hold text beside tool calls or results
	StopMax          *int     `json:"stop_max,omitempty"`    // most stop sequences
	TopKField        string   `json:"top_k_field,omitempty"` // path in additionalModelRequestFields, "" is none
}

// Overridable are the members of Bedrock that a request may set where the model's
// allow_override has them.
var Overridable = []string{"guardrailConfig", "performanceConfig", "serviceTier",
	"additionalModelRequestFields", "requestMetadata", "anthropic_beta"}

// never are the parameters that ignore_params can't hold: without them there is no
// request, or the caller could not read the answer.
var never = []string{"model", "messages", "stream"}

// Bedrock's own shapes, of its service model (bedrock-runtime).
var (
	guardrailID      = regexp.MustCompile(`^([a-z0-9]+|arn:aws(-[^:]+)?:bedrock:[a-z0-9-]{1,20}:[0-9]{12}:guardrail/[a-z0-9]+)$`)
	guardrailVersion = regexp.MustCompile(`^([1-9][0-9]{0,7}|DRAFT)$`)
	metadataKey      = regexp.MustCompile(`^[a-zA-Z0-9\s\v:_@$#=/+,.-]{1,256}$`)
	metadataValue    = regexp.MustCompile(`^[a-zA-Z0-9\s\v:_@$#=/+,.-]{0,256}$`)
)

// MaxMetadata is how many members Bedrock's requestMetadata takes.
const MaxMetadata = 16

// MetadataFits tells whether Bedrock's requestMetadata takes a member.
func MetadataFits(key, value string) bool {
	return metadataKey.MatchString(key) && metadataValue.MatchString(value)
}

const maxMaxTokens = 1<<31 - 1

// DecodeOverride reads one of Overridable as a request gives it, by the same rules
// as a model resource. Errors are *Invalid.
func DecodeOverride(name string, raw []byte) (*Bedrock, error) {
	value, invalid := parse(raw)
	if invalid != nil {
		return nil, invalid
	}
	b, n := &Bedrock{}, &node{kind: '{'}
	n.add(name, value)
	if invalid := fill(reflect.ValueOf(b).Elem(), n, ""); invalid != nil {
		return nil, invalid
	}
	if invalid := b.check(); invalid != nil {
		return nil, invalid
	}
	return b, nil
}

func (b *Bedrock) check() *Invalid {
	if b.MaxTokens != nil && (*b.MaxTokens < 1 || *b.MaxTokens > maxMaxTokens) {
		return &Invalid{Pointer: "/max_tokens", Message: fmt.Sprintf("must be 1 to %d", maxMaxTokens)}
	}
	if f := b.AdditionalModelRequestFields; f != nil && f[0] != '{' {
		return &Invalid{Pointer: "/additionalModelRequestFields", Message: "must be an object"}
	}
	for _, check := range []func() *Invalid{b.checkWords, b.checkMetadata, b.checkLists, b.Capabilities.check} {
		if invalid := check(); invalid != nil {
			return invalid
		}
	}
	return nil
}

// checkWords checks the members that hold words of Bedrock's.
func (b *Bedrock) checkWords() *Invalid {
	var checks choices
	if g := b.GuardrailConfig; g != nil {
		if !guardrailID.MatchString(g.Identifier) || len(g.Identifier) > 2048 {
			return &Invalid{Pointer: "/guardrailConfig/guardrailIdentifier", Message: "is required: a guardrail's id or ARN"}
		}
		if !guardrailVersion.MatchString(g.Version) {
			return &Invalid{Pointer: "/guardrailConfig/guardrailVersion", Message: "is required: a version's number, or DRAFT"}
		}
		checks.optional("/guardrailConfig/trace", g.Trace, "enabled", "disabled", "enabled_full")
		checks.optional("/guardrailConfig/streamProcessingMode", g.StreamMode, "sync", "async")
	}
	if p := b.PerformanceConfig; p != nil {
		checks.one("/performanceConfig/latency", p.Latency, "standard", "optimized")
	}
	if t := b.ServiceTier; t != nil {
		checks.one("/serviceTier/type", t.Type, "default", "priority", "flex", "reserved")
	}
	checks.all("/allow_override", b.AllowOverride, Overridable...)
	return checks.first
}

func (b *Bedrock) checkMetadata() *Invalid {
	if len(b.RequestMetadata) > MaxMetadata {
		return &Invalid{Pointer: "/requestMetadata", Message: fmt.Sprintf("may hold at most %d members", MaxMetadata)}
	}
	for key, value := range b.RequestMetadata {
		if !MetadataFits(key, value) {
			return &Invalid{Pointer: "/requestMetadata",
				Message: "takes names and values of up to 256 letters, digits, spaces and any of _ : @ $ # = / + , - . (a name needs one)"}
		}
	}
	return nil
}

func (b *Bedrock) checkLists() *Invalid {
	for _, list := range []struct {
		pointer string
		names   []string
	}{{"/anthropic_beta", b.AnthropicBeta}, {"/ignore_params", b.IgnoreParams}} {
		if len(list.names) > maxPattern {
			return &Invalid{Pointer: list.pointer, Message: fmt.Sprintf("may hold at most %d names", maxPattern)}
		}
		for i, name := range list.names {
			if invalid := checkName(at(list.pointer, i), name); invalid != nil {
				return invalid
			}
		}
	}
	for i, name := range b.IgnoreParams {
		if slices.Contains(never, name) {
			return &Invalid{Pointer: at("/ignore_params", i), Message: "can't be ignored: " + strings.Join(never, ", ")}
		}
	}
	return nil
}

func (c *Capabilities) check() *Invalid {
	if c == nil {
		return nil
	}
	var checks choices
	checks.all("/capabilities/tool_choice", c.ToolChoice, "auto", "any", "tool")
	checks.all("/capabilities/cache", c.Cache, "system", "messages", "tools")
	checks.all("/capabilities/cache_ttl", c.CacheTTL, "5m", "1h")
	checks.optional("/capabilities/structured_output", c.StructuredOutput, "native", "tool")
	checks.optional("/capabilities/tool_schema", c.ToolSchema, "plain", "any")
	checks.optional("/capabilities/reasoning", c.Reasoning, "none", "budget", "adaptive", "effort")
	if c.StopMax != nil && *c.StopMax < 0 {
		return &Invalid{Pointer: "/capabilities/stop_max", Message: "must be 0 or more"}
	}
	if c.CallIDLength != nil && (*c.CallIDLength < 8 || *c.CallIDLength > 64) {
		return &Invalid{Pointer: "/capabilities/call_id_length", Message: "must be from 8 to 64"}
	}
	if c.TopKField != "" && !fieldPath.MatchString(c.TopKField) {
		return &Invalid{Pointer: "/capabilities/top_k_field", Message: "must be a member's name, or names with dots between"}
	}
	return checks.first
}

var fieldPath = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}(\.[A-Za-z0-9_-]{1,64}){0,7}$`)

// choices checks members that take one of some words, and keeps the first problem.
type choices struct{ first *Invalid }

func (c *choices) one(pointer, word string, words ...string) {
	if !slices.Contains(words, word) && c.first == nil {
		c.first = &Invalid{Pointer: pointer, Message: "must be one of " + strings.Join(words, ", ")}
	}
}

func (c *choices) optional(pointer, word string, words ...string) {
	if word != "" {
		c.one(pointer, word, words...)
	}
}

func (c *choices) all(pointer string, list []string, words ...string) {
	for i, word := range list {
		c.one(at(pointer, i), word, words...)
	}
}
