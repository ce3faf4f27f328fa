package bedrock

import (
	"bytes"
	"encoding/json"
	"maps"
	"regexp"
	"slices"

	"aisix/admin/resource"
	"aisix/extproc/chat"
	"aisix/extproc/fault"
)

// knobs are what only Bedrock knows, as they are in force for one call: the model
// resource's defaults with what this request may and does change.
type knobs struct {
	guardrail   *resource.GuardrailConfig
	performance *resource.Performance
	tier        *resource.ServiceTier
	additional  map[string]json.RawMessage // additionalModelRequestFields
	metadata    map[string]string          // requestMetadata
	beta        []string
	topK        json.RawMessage
}

func newKnobs(req *chat.Request, t Target) (knobs, error) {
	o := t.Options
	k := knobs{
		guardrail:   o.GuardrailConfig,
		performance: o.PerformanceConfig,
		tier:        o.ServiceTier,
		metadata:    maps.Clone(o.RequestMetadata),
		beta:        o.AnthropicBeta,
		additional:  map[string]json.RawMessage{},
	}
	if len(o.AdditionalModelRequestFields) > 0 {
		if err := json.Unmarshal(o.AdditionalModelRequestFields, &k.additional); err != nil {
			return knobs{}, fault.From(err)
		}
	}
	// In the order of names, so that the same request meets the same error.
	for _, name := range slices.Sorted(maps.Keys(req.Extensions)) {
		raw := req.Extensions[name]
		if isNull(raw) {
			continue
		}
		if name == "top_k" {
			k.topK = raw
			continue
		}
		if !slices.Contains(overridable, name) {
			return knobs{}, fault.Invalid(name, "unknown member %s", quote(name))
		}
		if !slices.Contains(o.AllowOverride, name) {
			return knobs{}, fault.Invalid(name, "%s is set by the model's configuration and may not be set by a request", name)
		}
		if name == "anthropic_beta" && t.Publisher != "" && t.Publisher != "anthropic" {
			return knobs{}, fault.Invalid(name, "this model takes no anthropic_beta")
		}
		if err := k.override(name, raw); err != nil {
			return knobs{}, err
		}
	}
	return k, k.tierOf(req, o)
}

// overridable are the names that allow_override may hold.
var overridable = []string{"guardrailConfig", "performanceConfig", "serviceTier", "additionalModelRequestFields", "requestMetadata", "anthropic_beta"}

func (k *knobs) override(name string, raw json.RawMessage) error {
	switch name {
	case "guardrailConfig":
		k.guardrail = new(resource.GuardrailConfig)
		if strict(raw, k.guardrail) != nil || k.guardrail.Identifier == "" || k.guardrail.Version == "" {
			return fault.Invalid(name, "guardrailConfig is an object with guardrailIdentifier and guardrailVersion")
		}
		if !oneOf(k.guardrail.Trace, "", "enabled", "disabled", "enabled_full") {
			return fault.Invalid(name+".trace", "trace is one of enabled, disabled and enabled_full")
		}
		if !oneOf(k.guardrail.StreamMode, "", "sync", "async") {
			return fault.Invalid(name+".streamProcessingMode", "streamProcessingMode is sync or async")
		}
	case "performanceConfig":
		k.performance = new(resource.Performance)
		if strict(raw, k.performance) != nil || !oneOf(k.performance.Latency, "standard", "optimized") {
			return fault.Invalid(name, "performanceConfig is an object whose latency is standard or optimized")
		}
	case "serviceTier":
		k.tier = new(resource.ServiceTier)
		if strict(raw, k.tier) != nil || !oneOf(k.tier.Type, "default", "priority", "flex", "reserved") {
			return fault.Invalid(name, "serviceTier is an object whose type is default, priority, flex or reserved")
		}
	case "additionalModelRequestFields":
		var fields map[string]json.RawMessage
		if json.Unmarshal(raw, &fields) != nil {
			return fault.Invalid(name, "additionalModelRequestFields is an object")
		}
		maps.Copy(k.additional, fields)
	case "requestMetadata":
		var labels map[string]string
		if strict(raw, &labels) != nil {
			return fault.Invalid(name, "requestMetadata is an object of strings")
		}
		if k.metadata == nil {
			k.metadata = map[string]string{}
		}
		maps.Copy(k.metadata, labels)
		for key, value := range k.metadata {
			if key == "" || !label.MatchString(key) || !label.MatchString(value) {
				return fault.Invalid(name, "requestMetadata takes keys and values of up to 256 letters, digits, spaces and any of _ : @ $ # = / + , - .")
			}
		}
		if len(k.metadata) > maxLabels {
			return fault.Invalid(name, "requestMetadata takes at most %d entries", maxLabels)
		}
	case "anthropic_beta":
		var beta []string
		if strict(raw, &beta) != nil {
			return fault.Invalid(name, "anthropic_beta is a list of strings")
		}
		k.beta = beta
	}
	return nil
}

// What Bedrock takes as requestMetadata.
var label = regexp.MustCompile(`^[a-zA-Z0-9\s:_@$#=/+,.-]{0,256}$`)

const maxLabels = 16

// tierOf honours OpenAI's service_tier where the resource lets requests choose.
// auto and default ask for nothing that is not so anyway.
func (k *knobs) tierOf(req *chat.Request, o resource.Bedrock) error {
	switch req.ServiceTier {
	case "", "auto", "default":
		return nil
	}
	if !slices.Contains(o.AllowOverride, "serviceTier") {
		return fault.Invalid("service_tier", "service_tier %s is not allowed for this model", quote(req.ServiceTier))
	}
	if !oneOf(req.ServiceTier, "flex", "priority") {
		return fault.Invalid("service_tier", "service_tier is one of auto, default, flex and priority")
	}
	k.tier = &resource.ServiceTier{Type: req.ServiceTier}
	return nil
}

// strict decodes raw into v and refuses unknown members.
func strict(raw json.RawMessage, v any) error {
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.DisallowUnknownFields()
	return dec.Decode(v)
}

func isNull(raw json.RawMessage) bool { return len(raw) == 0 || string(bytes.TrimSpace(raw)) == "null" }

func oneOf(s string, of ...string) bool { return slices.Contains(of, s) }
