package chat

// Event is one step of an answer. A whole (non-stream) reply is turned into
// events too, so that one fold, Collect, serves both.
//
// Order: Start, then per block ToolStart (of a tool use only), deltas, BlockStop,
// then Stop and UsageSnapshot in either order; Anthropic counts at the start as
// well. Text and reasoning have no start: a delta with a new Index opens the
// block. Index is the upstream's block index, not a dialect's. Blocks may grow beside each
// other, and their stops be left out: Order sets that right.
type Event interface{ event() }

// Start opens the answer. ID is the upstream's message id, "" where it has none
// (Converse).
type Start struct{ ID string }

// ToolStart opens a ToolUse block. Server tells a tool that the model ran
// itself, which no caller is shown.
type ToolStart struct {
	Index  int
	ID     string
	Name   string
	Server bool
}

// TextDelta adds text to a text block.
type TextDelta struct {
	Index int
	Text  string
}

// ToolDelta adds a fragment of JSON to a tool use's input.
type ToolDelta struct {
	Index int
	JSON  string
}

// ThinkingDelta adds text, or the signature, to a reasoning block. Publisher is the
// block's, in any of its deltas.
type ThinkingDelta struct {
	Index     int
	Text      string
	Signature string
	Publisher string
}

// RedactedDelta adds to a redacted reasoning block's Data. Publisher is the block's.
type RedactedDelta struct {
	Index     int
	Data      string
	Publisher string
}

// BlockStop closes a block.
type BlockStop struct{ Index int }

// Stop says why the model stopped.
type Stop struct {
	Reason   StopReason
	Sequence string // the stop sequence that hit, if the upstream told
}

// UsageSnapshot carries the token counts so far: the last one wins.
type UsageSnapshot struct{ Usage Usage }

// ServedTier is the service tier that served the answer, where the upstream tells.
// It may come at any place, even after Stop.
type ServedTier struct{ Name string }

// Raw is what the upstream itself wrote, where the caller speaks its format: of a stream
// one event, of a whole answer the body. It comes ahead of the events that it means, which
// a Writer of that format then only looks at. Data is valid until the next event is asked
// for; it holds no word that a caller may not see, but the model is the upstream's name for it.
// It is an event by its pointer, so that a delta costs no allocation: the next event may be
// told in the same Raw.
type Raw struct {
	Name string // of the server-sent event; "" where the format has no names
	Data []byte // one JSON value without line breaks in a stream
	Seen int    // bytes of text in it, where no other event tells them: a delta is not taken apart
	Idle bool   // it says no more than that the upstream is there
}

func (*Raw) event()          {}
func (Start) event()         {}
func (ToolStart) event()     {}
func (TextDelta) event()     {}
func (ToolDelta) event()     {}
func (ThinkingDelta) event() {}
func (RedactedDelta) event() {}
func (BlockStop) event()     {}
func (Stop) event()          {}
func (UsageSnapshot) event() {}
func (ServedTier) event()    {}

// StopReason is why a model stopped, in Bedrock's words.
type StopReason string

// Stop reasons. Malformed ones (malformed_model_output, malformed_tool_use) are
// faults and never reach here. One that is not in this list is EndTurn, or
// ToolUseStop where calls were made, and a note in the operator's log.
const (
	EndTurn         StopReason = "end_turn"
	StopSequence    StopReason = "stop_sequence"
	MaxTokens       StopReason = "max_tokens"
	ContextExceeded StopReason = "model_context_window_exceeded"
	ToolUseStop     StopReason = "tool_use"
	ContentFiltered StopReason = "content_filtered"
	Guardrail       StopReason = "guardrail_intervened"
	Refusal         StopReason = "refusal"
	PauseTurn       StopReason = "pause_turn"
)

// Usage counts tokens. A nil count was not told, which is not zero.
type Usage struct {
	Input        *int // read and not from the cache, nor written to it
	Output       *int
	CacheRead    *int
	CacheWrite   *int // all TTLs
	CacheWrite1h *int // of CacheWrite, those kept for an hour
	Reasoning    *int // of Output
	ServerTools  *int // no tokens: uses of tools that the provider ran, which it may charge for
}

// Prompt is all that the model read: input, cache reads and cache writes.
func (u Usage) Prompt() int { return count(u.Input) + count(u.CacheRead) + count(u.CacheWrite) }

// Completion is all that the model wrote, reasoning included.
func (u Usage) Completion() int { return count(u.Output) }

// Known reports whether the upstream counted at all.
func (u Usage) Known() bool { return u.Input != nil || u.Output != nil }

func count(n *int) int {
	if n == nil {
		return 0
	}
	return *n
}

// Response is a whole answer: the fold of its events.
type Response struct {
	ID     string
	Blocks []Block // Text, Thinking, Redacted, ToolUse (server tools left out)
	Stop   StopReason
	// Sequence is the stop sequence that hit, if the upstream told.
	Sequence string
	Usage    Usage
	Tier     string // the service tier that served; "" if the upstream did not tell
	Raw      []byte // the answer as the upstream wrote it, where the caller speaks its format; else nil
}
