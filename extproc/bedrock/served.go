package bedrock

import (
	"slices"

	"aisix/extproc/chat"
	"aisix/extproc/completions"

	"github.com/aws/aws-sdk-go-v2/service/bedrockruntime/types"
)

// servedTier is the tier that served an answer of Converse, as an event: none where
// the answer does not tell, or names one that nobody knows.
func servedTier(t *types.ServiceTier) []chat.Event {
	if t == nil || !slices.Contains(t.Type.Values(), t.Type) {
		return nil
	}
	return []chat.Event{chat.ServedTier{Name: string(t.Type)}}
}

// headerTier is that of an answer of InvokeModel, which tells it in a header.
func headerTier(header Header) []chat.Event {
	tier := header.Get("X-Amzn-Bedrock-Service-Tier")
	if tier == "" {
		return nil
	}
	return servedTier(&types.ServiceTier{Type: types.ServiceTierType(tier)})
}

// counted makes input tokens chat's, without those of the cache, where the family
// counts these among them.
func (m *Model) counted(events []chat.Event) []chat.Event {
	if !m.family.InputHoldsCached || m.api != apiConverse {
		return events
	}
	for i, e := range events {
		s, ok := e.(chat.UsageSnapshot)
		if !ok || s.Usage.Input == nil {
			continue
		}
		u := &s.Usage
		u.Input, u.CacheWrite = completions.Shares(u.Input, u.CacheRead, u.CacheWrite)
		events[i] = s
	}
	return events
}
