package resource

import (
	"fmt"
	"slices"
	"strings"
)

// Overridable are the names that allow_override may hold.
var Overridable = []string{"max_tokens", "guardrailConfig", "performanceConfig", "serviceTier",
	"additionalModelRequestFields", "requestMetadata", "anthropic_beta"}

func (b *Bedrock) check() *Invalid {
	if b.MaxTokens != nil && *b.MaxTokens < 1 {
		return &Invalid{Pointer: "/max_tokens", Message: "must be 1 or more"}
	}
	var checks choices
	if g := b.GuardrailConfig; g != nil {
		if g.Identifier == "" || g.Version == "" {
			return &Invalid{Pointer: "/guardrailConfig", Message: "needs guardrailIdentifier and guardrailVersion"}
		}
		checks.one("/guardrailConfig/trace", g.Trace, "enabled", "disabled", "enabled_full")
		checks.one("/guardrailConfig/streamProcessingMode", g.StreamMode, "sync", "async")
	}
	if p := b.PerformanceConfig; p != nil {
		checks.one("/performanceConfig/latency", p.Latency, "standard", "optimized")
	}
	if t := b.ServiceTier; t != nil {
		checks.one("/serviceTier/type", t.Type, "default", "priority", "flex", "reserved")
	}
	if f := b.AdditionalModelRequestFields; f != nil && f[0] != '{' {
		return &Invalid{Pointer: "/additionalModelRequestFields", Message: "must be an object"}
	}
	checks.all("/allow_override", b.AllowOverride, Overridable...)
	for _, list := range []struct {
		pointer string
		names   []string
	}{{"/anthropic_beta", b.AnthropicBeta}, {"/ignore_params", b.IgnoreParams}} {
		for i, name := range list.names {
			if invalid := checkName(at(list.pointer, i), name); invalid != nil {
				return invalid
			}
		}
	}
	if len(b.RequestMetadata) > 16 { // Bedrock's own bound
		return &Invalid{Pointer: "/requestMetadata", Message: "may hold 16 members"}
	}
	if c := b.Capabilities; c != nil {
		checks.all("/capabilities/tool_choice", c.ToolChoice, "auto", "any", "tool")
		checks.all("/capabilities/cache", c.Cache, "system", "messages", "tools")
		checks.all("/capabilities/cache_ttl", c.CacheTTL, "5m", "1h")
		checks.one("/capabilities/structured_output", c.StructuredOutput, "native", "tool")
		checks.one("/capabilities/reasoning", c.Reasoning, "none", "budget", "adaptive", "effort")
		if c.StopMax != nil && *c.StopMax < 0 {
			return &Invalid{Pointer: "/capabilities/stop_max", Message: "must be 0 or more"}
		}
	}
	return checks.first
}

// choices checks members that take one of some words, and keeps the first problem.
type choices struct{ first *Invalid }

func (c *choices) one(pointer, word string, words ...string) {
	if word != "" && !slices.Contains(words, word) && c.first == nil {
		c.first = &Invalid{Pointer: pointer, Message: fmt.Sprintf("must be one of %s", strings.Join(words, ", "))}
	}
}

func (c *choices) all(pointer string, list []string, words ...string) {
	for i, word := range list {
		if word == "" {
			word = "?" // no word of any list
		}
		c.one(at(pointer, i), word, words...)
	}
}
