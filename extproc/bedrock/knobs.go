package bedrock

import (
	"bytes"
	"encoding/json"
	"maps"
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

func newKnobs(req *chat.Request, m *Model) (knobs, error) {
	o := &m.options
	k := knobs{
		guardrail:   o.GuardrailConfig,
		performance: o.PerformanceConfig,
		tier:        o.ServiceTier,
		metadata:    o.RequestMetadata,
		beta:        o.AnthropicBeta,
		additional:  m.additional,
	}
	if len(req.Extensions) == 0 {
		if len(m.refused) > 0 {
			k.beta = slices.DeleteFunc(slices.Clone(k.beta), func(flag string) bool { return !m.takesBeta(flag) })
		}
		return k, k.tierOf(req, o)
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
		if !slices.Contains(resource.Overridable, name) {
			return knobs{}, fault.Invalid(name, "unknown member %s", quote(name))
		}
		if !slices.Contains(o.AllowOverride, name) {
			return knobs{}, fault.Invalid(name, "%s is set by the model's configuration and must not be set in a request", name)
		}
		if name == "anthropic_beta" && m.Publisher != "" && m.Publisher != "anthropic" {
			return knobs{}, fault.Invalid(name, "this model does not support anthropic_beta")
		}
		if err := k.override(name, raw); err != nil {
			return knobs{}, err
		}
	}
	return k, k.tierOf(req, o)
}

// override takes one member of the request, by the rules of a model resource.
func (k *knobs) override(name string, raw json.RawMessage) error {
	b, err := resource.DecodeOverride(name, raw)
	if err != nil {
		return fault.Body(err)
	}
	switch name {
	case "guardrailConfig":
		k.guardrail = b.GuardrailConfig
	case "performanceConfig":
		k.performance = b.PerformanceConfig
	case "serviceTier":
		k.tier = b.ServiceTier
	case "additionalModelRequestFields":
		var fields map[string]json.RawMessage
		if err := json.Unmarshal(b.AdditionalModelRequestFields, &fields); err != nil {
			return fault.From(err)
		}
		k.additional = maps.Clone(k.additional) // the model's own stay as they are
		if k.additional == nil {
			k.additional = fields
		}
		maps.Copy(k.additional, fields)
	case "requestMetadata":
		if k.metadata = maps.Clone(k.metadata); k.metadata == nil {
			k.metadata = map[string]string{}
		}
		maps.Copy(k.metadata, b.RequestMetadata)
		if len(k.metadata) > resource.MaxMetadata {
			return fault.Invalid(name, "requestMetadata must have at most %d entries, the model's own included", resource.MaxMetadata)
		}
	case "anthropic_beta":
		k.beta = b.AnthropicBeta
	}
	return nil
}

// tierOf honours OpenAI's service_tier where the resource lets requests choose.
// auto and default ask for nothing that is not so anyway.
func (k *knobs) tierOf(req *chat.Request, o *resource.Bedrock) error {
	switch req.ServiceTier {
	case "", "auto", "default":
		return nil
	}
	if !slices.Contains(o.AllowOverride, "serviceTier") {
		return fault.Invalid("service_tier", "service_tier %s is not allowed for this model", quote(req.ServiceTier))
	}
	if !oneOf(req.ServiceTier, "flex", "priority", "reserved") {
		return fault.Invalid("service_tier", "service_tier must be one of auto, default, flex, priority and reserved")
	}
	k.tier = &resource.ServiceTier{Type: req.ServiceTier}
	return nil
}

func isNull(raw json.RawMessage) bool { return len(raw) == 0 || string(bytes.TrimSpace(raw)) == "null" }

func oneOf(s string, of ...string) bool { return slices.Contains(of, s) }
