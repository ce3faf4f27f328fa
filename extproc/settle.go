package extproc

import (
	"context"
	"crypto/sha256"
	"log/slog"
	"net/http"
	"slices"

	"aisix/extproc/chat"
	"aisix/extproc/fault"
	"aisix/extproc/ratelimit"
	"aisix/extproc/usage"
)

// settle is the third act, at every exit: it commits the tokens to the limits
// and hands the call to the recorder. Neither waits for Redis.
func (s *Server) settle(c *call) {
	c.release()
	c.held.Close()
	if c.probe {
		level := slog.LevelDebug
		if bad := c.status != http.StatusOK; c.operation == "readyz" && s.unready.Swap(bad) != bad {
			level = slog.LevelInfo // once: anybody may ask, and as often as they like
		}
		s.Log.Log(context.Background(), level, "probe", "path", c.path, "status", c.status)
		return
	}
	u := &usage.Call{
		RequestID: c.requestID,
		Time:      c.started,
		Method:    c.method,
		Path:      c.path,
		Operation: c.operation,
		Alias:     c.alias,
		Attempts:  len(c.tries),
		Status:    c.status,
		Outcome:   c.outcome(),
		Panicked:  c.panicked,
		Latency:   s.Now().Sub(c.started),
		IsKey:     c.isKey,
		Stream:    c.stream,
	}
	u.Usage, u.Partial = c.cost()
	if a := c.header.ClientAddress; a.IsValid() {
		u.ClientAddress = a.String()
	}
	if c.key != nil {
		u.KeyID = c.key.ID
	}
	if c.upstream != nil {
		u.Notes = slices.Clip(c.upstream.Notes())
	}
	for _, t := range c.tries {
		if t.reply == nil {
			continue
		}
		u.Notes = append(u.Notes, t.reply.Notes()...)
		if id := t.reply.RequestID(); id != "" {
			u.UpstreamRequestIDs = append(u.UpstreamRequestIDs, id)
		}
	}
	if m := c.match; m != nil {
		u.ModelAlias, u.ModelID, u.UpstreamModel = m.Alias, m.ModelID, m.UpstreamID
		u.Provider, u.ProviderKeyID = m.ProviderKey.Provider, m.ProviderKeyID
	}
	if c.rejection != nil {
		u.LimitScope = c.rejection.Scope.Kind // of which kind, not whose
		u.Limit = c.rejection.Limit
	}
	if f := c.fault; f != nil {
		u.ErrorType, u.ErrorCode, u.Err = string(f.Kind), f.Code, f.Err
	}
	if !c.firstByte.IsZero() {
		u.FirstByte = c.firstByte.Sub(c.started)
	}
	s.Recorder.Record(u)
}

// isKey reports whether text is the plaintext of an API key, one that is disabled or
// has expired too.
func (c *call) isKey(text string) bool {
	if c.snapshot == nil {
		return false
	}
	_, known := c.snapshot.Key(sha256.Sum256([]byte(text)))
	return known
}

// outcome is how the call ended, for totals.
func (c *call) outcome() usage.Outcome {
	switch {
	case c.left:
		return usage.Cancelled
	case c.fault == nil:
		return usage.Succeeded
	case len(c.tries) == 0 && (c.fault.Status < 500 || c.fault.Kind == fault.Overloaded):
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
// A call that Bedrock did not answer is charged nothing.
func (c *call) cost() (u chat.Usage, partial bool) {
	u = c.usage
	if c.ended || !u.Known() && c.seen == 0 && !(c.left && len(c.tries) > 0) {
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
