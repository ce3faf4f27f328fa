package usage

import (
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"aisix/extproc/chat"
	usagev1 "aisix/proto/aisix/v1"
)

// Outcome is how a call ended.
type Outcome int

// The outcomes. The zero value lets Record decide by status and attempts.
const (
	Unset     Outcome = iota
	Succeeded         // a whole answer, or a stream to its clean end, even if the caller left just then
	Refused           // we said no before any upstream was asked
	Failed            // the upstream, the way to it, or we ourselves
	Cancelled         // the caller left before the end
)

func (o Outcome) String() string {
	return [...]string{"unset", "succeeded", "refused", "failed", "cancelled"}[o]
}

// Call is a finished call, as the one who served it knows it. No member may hold
// a prompt or an answer. What a caller or an upstream chose may be anything: Record
// cleans and cuts it, and takes keys out.
type Call struct {
	// The request headers.
	RequestID     string // ours; may be of the caller's choosing
	Time          time.Time
	Method, Path  string // the path may have a query: it is left out
	Operation     string // converse, list_models, …; "" for none
	ClientAddress string

	// Admission.
	KeyID         string // the API key's resource id
	Alias         string // as the caller wrote it, in model
	ModelAlias    string // as the model's resource has it; "" while unknown
	ModelID       string // the model's resource id
	Provider      string // the provider key's label
	ProviderKeyID string
	UpstreamModel string // the model id Bedrock was asked for
	LimitScope    string // kind of the bucket that refused: apikey, model; "" if none did
	Limit         string // the limit that refused: rpm, tpm, …
	Stream        bool

	// The attempts.
	Attempts           int
	UpstreamRequestIDs []string // AWS's, oldest first

	// The answer.
	Status    int    // what the caller got; 0 if it left before any
	ErrorType string // the fault's kind; "" on success
	ErrorCode string
	Err       error // for the operator: AWS's own words, a panic, …; nil if the fault says it all
	Panicked  bool
	Notes     []string // what else the operator should know of the upstream's answer
	Outcome   Outcome
	Usage     chat.Usage
	Partial   bool          // Usage is what was seen until somebody left
	Latency   time.Duration // to the last byte
	FirstByte time.Duration // to the first byte of an answer; 0 if none

	// IsKey reports whether a text is the plaintext of an API key; nil knows none.
	IsKey func(string) bool

	hidden []string // what no line may show
}

func (c *Call) outcome() Outcome {
	switch {
	case c.Outcome != Unset:
		return c.Outcome
	case c.Status == 0:
		return Cancelled
	case c.Status < 400 && c.ErrorType == "":
		return Succeeded
	case c.Status < 500 && c.Attempts == 0:
		return Refused
	}
	return Failed
}

// record is the usage record of a call that was cleaned.
func (c *Call) record() *usagev1.Record {
	r := &usagev1.Record{
		RequestId:          c.RequestID,
		UpstreamRequestIds: c.UpstreamRequestIDs,
		Time:               timestamppb.New(c.Time),
		KeyId:              c.KeyID,
		Alias:              c.Alias,
		ModelAlias:         c.ModelAlias,
		ModelId:            c.ModelID,
		UpstreamModel:      c.UpstreamModel,
		ProviderKeyId:      c.ProviderKeyID,
		Status:             int32(c.Status),
		ErrorType:          c.ErrorType,
		Outcome:            usagev1.Outcome(c.outcome()),
		CachedTokens:       widen(c.Usage.CacheRead),
		CacheWriteTokens:   widen(c.Usage.CacheWrite),
		ReasoningTokens:    widen(c.Usage.Reasoning),
		Latency:            durationpb.New(c.Latency),
		Stream:             c.Stream,
		Attempts:           int32(c.Attempts),
		ClientAddress:      c.ClientAddress,
		Partial:            c.Partial,
		Operation:          c.Operation,
	}
	if c.Usage.Known() {
		prompt, completion := c.Usage.Prompt(), c.Usage.Completion()
		r.PromptTokens, r.CompletionTokens = widen(&prompt), widen(&completion)
	}
	if c.FirstByte > 0 {
		r.TimeToFirstToken = durationpb.New(c.FirstByte)
	}
	return r
}

func widen(n *int) *int64 {
	if n == nil {
		return nil
	}
	wide := int64(*n)
	return &wide
}
