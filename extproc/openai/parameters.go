package openai

import (
	"bytes"
	"encoding/json"
	"math"
	"strings"

	"aisix/extproc/chat"
)

// parameters is every member that a request may have. Null members are absent
// and never get here.
var parameters map[string]func(*decoder, value)

func init() { // not a literal: the functions lead back to the table
	parameters = map[string]func(*decoder, value){
		"model":    func(*decoder, value) {}, // Parse
		"messages": (*decoder).conversation,

		"tools":       (*decoder).tools,
		"tool_choice": func(d *decoder, v value) { d.toolChoice = v },
		"parallel_tool_calls": func(d *decoder, v value) {
			if no := d.boolean(v); !no {
				d.request.ParallelToolCalls = &no
			}
		},

		"max_tokens":            func(d *decoder, v value) { d.maxTokens = d.count(v) },
		"max_completion_tokens": func(d *decoder, v value) { d.maxCompletionTokens = d.count(v) },
		"temperature":           func(d *decoder, v value) { d.request.Temperature = d.number(v, 0, 2) },
		"top_p":                 func(d *decoder, v value) { d.request.TopP = d.number(v, 0, 1) },
		"frequency_penalty":     func(d *decoder, v value) { d.request.FrequencyPenalty = d.penalty(v) },
		"presence_penalty":      func(d *decoder, v value) { d.request.PresencePenalty = d.penalty(v) },
		"stop":                  (*decoder).stop,
		"seed": func(d *decoder, v value) {
			n := d.integer(v, math.MinInt64, math.MaxInt64)
			d.request.Seed = &n
		},

		"response_format": (*decoder).responseFormat,
		"reasoning_effort": func(d *decoder, v value) {
			d.reasoning().Effort = d.word(v, "none", "minimal", "low", "medium", "high", "xhigh", "max")
		},
		"thinking": func(d *decoder, v value) { d.reasoning().Thinking = d.object(v) },

		"user": func(d *decoder, v value) { d.user = d.text(v) },
		"safety_identifier": func(d *decoder, v value) {
			d.request.User = d.text(v)
		},
		"metadata": (*decoder).metadata,
		"service_tier": func(d *decoder, v value) {
			if d.request.ServiceTier = d.word(v, "auto", "default", "flex", "priority", "fast"); d.request.ServiceTier == "fast" {
				d.request.ServiceTier = "priority" // OpenAI's other name for it
			}
		},
		"store":            func(d *decoder, v value) { d.only(v, !d.boolean(v), "answers are not stored here") },
		"prompt_cache_key": func(d *decoder, v value) { d.text(v) },
		"prompt_cache_options": func(d *decoder, v value) {
			d.each(v, func(name string, m value) bool {
				switch name {
				case "mode":
					d.word(m, "implicit", "explicit") // Bedrock makes no cache point by itself
				case "ttl":
					d.word(m, "30m")
				default:
					return false
				}
				return true
			})
		},
		"prompt_cache_retention": func(d *decoder, v value) {
			// Clients before 2026 spell it with a hyphen.
			d.only(v, d.word(v, "in_memory", "in-memory", "24h") != "24h", "24h is not possible: Bedrock keeps a cache for an hour at most")
		},

		"stream": func(d *decoder, v value) { d.request.Stream = d.boolean(v) },
		"stream_options": func(d *decoder, v value) {
			d.each(v, func(name string, m value) bool {
				switch name {
				case "include_usage":
					d.usage, d.request.StreamUsage = m, d.boolean(m)
				case "include_obfuscation":
					d.boolean(m)
				default:
					return false
				}
				return true
			})
		},

		// Refused, but for the value that is the default anyway.
		"n": func(d *decoder, v value) {
			d.only(v, d.integer(v, math.MinInt64, math.MaxInt64) == 1, "only one choice is possible")
		},
		"logprobs": func(d *decoder, v value) { d.only(v, !d.boolean(v), "log probabilities are not available") },
		"top_logprobs": func(d *decoder, v value) {
			d.only(v, d.integer(v, math.MinInt64, math.MaxInt64) == 0, "log probabilities are not available")
		},
		"logit_bias": func(d *decoder, v value) { d.only(v, d.empty(v), "is not supported") },
		"modalities": func(d *decoder, v value) {
			d.list(v, func(item value) { d.only(item, d.text(item) == "text", "only text is possible") })
		},
		"verbosity": func(d *decoder, v value) {
			d.only(v, d.word(v, "low", "medium", "high") == "medium", "only medium is possible: say in the prompt how long an answer should be")
		},
		"functions": func(d *decoder, v value) { d.list(v, func(value) { d.fail(v, "is not supported: use tools") }) },
		"function_call": func(d *decoder, v value) {
			d.only(v, v.kind() == stringKind && d.text(v) == "none", "is not supported: use tool_choice")
		},
		"audio":              refuse("audio is not supported"),
		"prediction":         refuse("is not supported"),
		"moderation":         refuse("is not supported"),
		"web_search_options": refuse("web search is not supported"),

		// Only Bedrock knows what these mean: the bedrock package checks them.
		"guardrailConfig":              extension("guardrailConfig"),
		"performanceConfig":            extension("performanceConfig"),
		"serviceTier":                  extension("serviceTier"),
		"additionalModelRequestFields": extension("additionalModelRequestFields"),
		"requestMetadata":              extension("requestMetadata"),
		"anthropic_beta":               extension("anthropic_beta"),
		"top_k":                        extension("top_k"),
	}
}

func refuse(why string) func(*decoder, value) {
	return func(d *decoder, v value) { d.fail(v, "%s", why) }
}

func extension(name string) func(*decoder, value) {
	return func(d *decoder, v value) {
		if d.request.Extensions == nil {
			d.request.Extensions = map[string]json.RawMessage{}
		}
		d.request.Extensions[name] = bytes.Clone(v.raw())
	}
}

// only fails unless the value is the one that changes nothing.
func (d *decoder) only(v value, ok bool, why string) {
	if !ok {
		d.fail(v, "%s", why)
	}
}

func (d *decoder) count(v value) *int {
	n := int(d.integer(v, 1, math.MaxInt32))
	return &n
}

// penalty is nil for 0, which is the default.
func (d *decoder) penalty(v value) *float64 {
	p := d.number(v, -2, 2)
	if p != nil && *p == 0 {
		return nil
	}
	return p
}

func (d *decoder) reasoning() *chat.Reasoning {
	if d.request.Reasoning == nil {
		d.request.Reasoning = &chat.Reasoning{}
	}
	return d.request.Reasoning
}

func (d *decoder) stop(v value) {
	add := func(item value) {
		if s := d.text(item); strings.TrimSpace(s) != "" {
			d.request.Stop = append(d.request.Stop, s)
		}
	}
	switch v.kind() {
	case stringKind:
		add(v)
	case arrayKind:
		n := 0
		d.some(v, &n, chat.MaxStop, "stop sequences", add)
	default:
		d.fail(v, "must be a string or an array of strings")
	}
}

func (d *decoder) metadata(v value) {
	labels := map[string]string{}
	d.each(v, func(name string, m value) bool {
		if labels[name] = d.text(m); len(labels) > chat.MaxLabels {
			d.fail(v, "may hold at most %d members", chat.MaxLabels)
		}
		return true
	})
	if len(labels) > 0 {
		d.request.Metadata = labels
	}
}
