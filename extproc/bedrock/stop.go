package bedrock

import (
	"net/http"
	"slices"

	"aisix/extproc/chat"
	"aisix/extproc/fault"

	"github.com/aws/aws-sdk-go-v2/service/bedrockruntime/types"
)

// stops sees to it that an answer's stop reason is one that chat knows, and true:
// ToolUseStop exactly where the caller has calls to run and nothing cut the answer.
// Models get that wrong both ways.
type stops struct{ calls, stopped, counted bool }

// name replaces the raw stop reason among the events, which come in the answer's
// order. What goes on after it is no part of the answer, but for its counts and its tier: kept
// is without that. The notes are for the operator: a reason that has no name here.
func (s *stops) name(events []chat.Event) (kept []chat.Event, notes []string, err error) {
	kept = events[:0]
	told := s.stopped && slices.ContainsFunc(events, isUsage) // then the words that tell it pass too
	for _, e := range events {
		_, raw := e.(*chat.Raw)
		_, tier := e.(chat.ServedTier)
		if s.stopped && !isUsage(e) && !tier && !(raw && told) {
			continue
		}
		switch x := e.(type) {
		case chat.ToolStart:
			s.calls = s.calls || !x.Server
		case chat.UsageSnapshot:
			s.counted = true
		case chat.Stop:
			s.stopped = true
			reason, known, err := stopReason(types.StopReason(x.Reason), s.calls)
			if err != nil {
				return nil, nil, err
			}
			if !known {
				notes = append(notes, "unknown stop reason "+quote(string(x.Reason)))
			}
			x.Reason = reason
			e = x
		}
		kept = append(kept, e)
	}
	return kept, notes, nil
}

func isUsage(e chat.Event) bool {
	_, counts := e.(chat.UsageSnapshot)
	return counts
}

// whole names the reason of a whole answer, which lacks neither a stop reason nor usage.
func (s *stops) whole(events []chat.Event) (kept []chat.Event, notes []string, err error) {
	if kept, notes, err = s.name(events); err != nil {
		return nil, nil, err
	}
	if !s.stopped {
		return nil, nil, incomplete("stop reason")
	}
	if !s.counted {
		return nil, nil, incomplete("usage")
	}
	return kept, notes, nil
}

// stopReason maps Converse's stop reasons, which are Claude's too. known is false for
// one that this version has no name for. One that ends a turn in good order is a tool
// use where calls were made, and an end of turn where not; others are so with calls as
// well. The malformed ones are upstream faults.
func stopReason(raw types.StopReason, calls bool) (reason chat.StopReason, known bool, err error) {
	reason, known = chat.StopReason(raw), true
	switch raw {
	case types.StopReasonMaxTokens, types.StopReasonModelContextWindowExceeded, types.StopReasonContentFiltered,
		types.StopReasonGuardrailIntervened, types.StopReason(chat.Refusal), types.StopReason(chat.PauseTurn):
		return reason, true, nil
	case types.StopReasonMalformedModelOutput, types.StopReasonMalformedToolUse:
		return "", true, &fault.Error{Kind: fault.Upstream, Status: http.StatusBadGateway,
			Message: "the model's output was malformed", Err: &Exception{Type: string(raw)}}
	case types.StopReasonEndTurn, types.StopReasonStopSequence:
	case types.StopReasonToolUse:
		reason = chat.EndTurn
	default:
		reason, known = chat.EndTurn, false
	}
	if calls {
		reason = chat.ToolUseStop
	}
	return reason, known, nil
}

// tokenUsage maps Converse's token counts; absent is not zero.
func tokenUsage(u *types.TokenUsage) chat.Usage {
	if u == nil {
		return chat.Usage{}
	}
	usage := chat.Usage{
		Input:      count(u.InputTokens),
		Output:     count(u.OutputTokens),
		CacheRead:  count(u.CacheReadInputTokens),
		CacheWrite: count(u.CacheWriteInputTokens),
	}
	for _, d := range u.CacheDetails {
		if d.Ttl == types.CacheTTLOneHour {
			usage.CacheWrite1h = count(d.InputTokens)
		}
	}
	return usage
}

func count(n *int32) *int {
	if n == nil {
		return nil
	}
	i := int(*n)
	return &i
}
