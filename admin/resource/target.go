package resource

import (
	"strconv"
	"strings"

	"aisix/admin/strict"
)

// Target is one of the places where a model is asked for.
type Target struct {
	// Its name, unique among the model's targets: records, metrics and x-aisix-target say it.
	Name string `json:"name" is:"required label"`
	// The id of a provider key.
	ProviderKeyID string `json:"provider_key_id" is:"required"`
	// What Bedrock is asked for there: a model id, an inference profile id, or an ARN.
	ModelName string `json:"model_name" is:"required model_id"`
	// The region of the upstream, and of its signatures. Default the provider key's.
	Region string `json:"region,omitempty" is:"region"`
	// The upstream API that it is asked by. Default as the gateway knows of the model id.
	API string `json:"api,omitempty" of:"converse invoke messages chat responses"`
	// The AWS host that has it. Default as the gateway knows of the model id.
	Host string `json:"host,omitempty" of:"runtime mantle"`
	// Who made the model, for ids that do not show it.
	Publisher string `json:"publisher,omitempty" is:"publisher"`
	// Its share of the conversations among the targets of one priority. Default 1; one of 0
	// gets those alone that the others can't serve.
	Weight *int `json:"weight,omitempty" min:"0" max:"1000000"`
	// The lowest is asked first; the next ones where none of it serves the call. Default 0.
	Priority int `json:"priority,omitempty" min:"0" max:"1000"`
	// What its tokens cost. Default the model's.
	Cost *Cost `json:"cost,omitempty"`
}

// Share is the target's weight, with the default.
func (t *Target) Share() int {
	if t.Weight == nil {
		return 1
	}
	return *t.Weight
}

// Routing is how a model's calls find their way over its targets.
type Routing struct {
	// Whether a conversation stays with one target, so that prompt caches pay. Default true.
	Sticky *bool `json:"sticky,omitempty"`
	// The most upstream calls that a caller's call is worth. Default each target once, and as
	// often more as retries say.
	MaxAttempts *int `json:"max_attempts,omitempty" min:"1" max:"64"`
	// How many more times a target is asked, once all have been. Default 0.
	Retries int `json:"retries,omitempty" min:"0" max:"8"`
	// The longest wait for the first byte of an answer before the next target is asked, in
	// milliseconds. Of a stream that is its first event; of an answer that is none each pause counts,
	// until it is whole. Default 0: as long as timeout and stream_timeout say. Set, the calls go by
	// Envoy's egress listener from the start.
	FirstByteTimeout int64 `json:"first_byte_timeout,omitempty" is:"milliseconds" min:"0" max:"86400000"`
	// After which refusals the next target is asked, too, that are no fault of the moment.
	AlsoOn []string `json:"also_on,omitempty" of:"access_denied model_not_found"`
}

// IsSticky is Sticky, with the default.
func (r *Routing) IsSticky() bool { return r == nil || r.Sticky == nil || *r.Sticky }

// At is the model as if the target were its one place.
func (m *Model) At(t *Target) *Model {
	at := *m
	at.Targets = nil
	at.ModelName, at.ProviderKeyID = t.ModelName, t.ProviderKeyID
	at.Region, at.API, at.Host, at.Publisher = t.Region, t.API, t.Host, t.Publisher
	if t.Cost != nil {
		at.Cost = t.Cost
	}
	return &at
}

// checkTargets refuses targets beside what they are in the place of, and those that are not
// fit to be one.
func (m *Model) checkTargets() *strict.Error {
	for _, beside := range []struct{ name, value string }{
		{"model_name", m.ModelName}, {"provider_key_id", m.ProviderKeyID},
		{"region", m.Region}, {"api", m.API}, {"host", m.Host}, {"publisher", m.Publisher},
	} {
		if beside.value != "" {
			return strict.Errorf("/"+beside.name, "must not stand beside targets: each of them has its own")
		}
	}
	if len(m.Targets) == 0 {
		return strict.Errorf("/targets", "must have 1 to 16 targets")
	}
	names := make(map[string]bool, len(m.Targets))
	for i := range m.Targets {
		t, pointer := &m.Targets[i], "/targets/"+strconv.Itoa(i)
		if names[t.Name] {
			return strict.Errorf(pointer+"/name", "must be unique among the model's targets")
		}
		names[t.Name] = true
		if strings.Count(t.ModelName, "*") > strings.Count(m.DisplayName, "*") {
			return strict.Errorf(pointer+"/model_name", "may contain one *, and only where display_name does")
		}
		if err := m.At(t).checkAPI(pointer); err != nil {
			return err
		}
	}
	return nil
}

// providerKeys are the ids of those that the model refers to, in the order of its targets.
func (m *Model) providerKeys() []string {
	if m.Targets == nil {
		return []string{m.ProviderKeyID}
	}
	ids := make([]string, len(m.Targets))
	for i := range m.Targets {
		ids[i] = m.Targets[i].ProviderKeyID
	}
	return ids
}

// ProviderKeys are the ids of those that the model refers to, each once.
func (m *Model) ProviderKeys() map[string]bool {
	ids := make(map[string]bool, 1)
	for _, id := range m.providerKeys() {
		ids[id] = true
	}
	return ids
}

// keyPointer leads to the i-th of providerKeys.
func (m *Model) keyPointer(i int) string {
	if m.Targets == nil {
		return "/provider_key_id"
	}
	return "/targets/" + strconv.Itoa(i) + "/provider_key_id"
}
