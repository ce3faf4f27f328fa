package extproc

import (
	"context"
	"crypto/sha256"
	"log/slog"
	"net/http"

	"aisix/extproc/chat"
	"aisix/extproc/fault"
	"aisix/extproc/ratelimit"
	"aisix/extproc/usage"
)

// settle is the third act, at every exit: it commits the tokens to the limits,
// closes the facts and hands them to the recorder. Neither waits for Redis.
func (s *Server) settle(c *call) {
	c.release()
	c.held.Close()
	if c.probe {
		level := slog.LevelDebug
		if bad := c.facts.Status != http.StatusOK; c.facts.Operation == "readyz" && s.unready.Swap(bad) != bad {
			level = slog.LevelInfo // once: anybody may ask, and as often as they like
		}
		s.Log.Log(context.Background(), level, "probe", "path", c.facts.Path, "status", c.facts.Status)
		return
	}
	f := &c.facts
	f.Usage, f.Partial = c.cost()
	if c.upstream != nil {
		f.Notes = append(f.Notes, c.upstream.Notes()...)
	}
	for _, r := range c.replies {
		f.Notes = append(f.Notes, r.Notes()...)
	}
	f.Outcome, f.Latency = c.outcome(), s.Now().Sub(f.Time)
	s.Recorder.Record(f)
}

// isKey reports whether text is the plaintext of an API key, one that is disabled or
// has expired too.
func (c *call) isKey(text string) bool {
	_, known := c.snapshot.Key(sha256.Sum256([]byte(text)))
	return known
}

// outcome is how the call ended, for totals.
func (c *call) outcome() usage.Outcome {
	f := &c.facts
	switch {
	case c.left:
		return usage.Cancelled
	case f.ErrorType == "":
		return usage.Succeeded
	case len(f.Tries) == 0 && (f.Status < 500 || f.ErrorType == string(fault.Overloaded)):
		return usage.Refused
	default:
		return usage.Failed
	}
}

// bytesPerToken is the rule of thumb by which a prompt, and an answer whose
// usage never came, are estimated.
const bytesPerToken = 4

// promptEstimate is the tokens that the request is sure to use: its text, never
// max_tokens. Images and documents are left to the settlement.
func promptEstimate(r *chat.Request) int64 {
	n := blockBytes(r.System)
	for _, m := range r.Messages {
		n += blockBytes(m.Blocks)
	}
	for _, t := range r.Tools {
		n += len(t.Name) + len(t.Description) + len(t.Schema)
	}
	return int64(n/bytesPerToken) + 1
}

func blockBytes(blocks []chat.Block) int {
	n := 0
	for _, b := range blocks {
		switch b := b.(type) {
		case chat.Text:
			n += len(b.Text)
		case chat.Thinking:
			n += len(b.Text)
		case chat.ToolUse:
			n += len(b.Name) + len(b.Input)
		case chat.ToolResult:
			n += blockBytes(b.Blocks)
		}
	}
	return n
}

// release ends the reservation, at what the call cost, and the call's place among
// those in flight. It goes ahead of the last byte of an answer, so that a caller who
// comes straight back finds its slot free.
func (c *call) release() {
	for _, a := range c.arrivals {
		a.Leave()
	}
	c.place.Close()
	if c.reservation != nil {
		cost, _ := c.cost()
		c.reservation.Settle(ratelimit.Amount{Tokens: int64(cost.Prompt() + cost.Completion())})
	}
}

// cost is what the call is charged for: the upstream's count, or for an answer
// that broke off what was seen of it, and the prompt. (To read on for the count
// once the caller has left is not to be had: Envoy resets the upstream at once.)
// A call that Bedrock did not answer is charged nothing, and one that it answered to no use
// what it says.
func (c *call) cost() (u chat.Usage, partial bool) {
	u, partial = c.lastCost()
	return u.Plus(c.paid), partial
}

// lastCost is the cost of the last try.
func (c *call) lastCost() (u chat.Usage, partial bool) {
	u = c.facts.Usage
	if c.ended || !u.Known() && c.seen == 0 && !c.cut && !(c.left && len(c.facts.Tries) > 0) {
		return u, false
	}
	if u.Input == nil {
		prompt := int(c.prompt)
		u.Input = &prompt
	}
	completion := max(u.Completion(), c.seen/bytesPerToken)
	u.Output = &completion
	return u, true
}
