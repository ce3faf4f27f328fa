package usage

import (
	"iter"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"aisix/extproc/chat"
	usagev1 "aisix/proto/aisix/v1"
)

// Outcome is how a call ended.
type Outcome int

// The outcomes.
const (
	Succeeded Outcome = iota + 1 // a whole answer, or a stream to its clean end, even if the caller left just then
	Refused                      // we said no before any upstream was asked
	Failed                       // the upstream, the way to it, or we ourselves
	Cancelled                    // the caller left before the end
)

func (o Outcome) String() string {
	return [...]string{"", "succeeded", "refused", "failed", "cancelled"}[o]
}

// Facts are what is told of a call: each act of it writes what it learns, and settle
// the rest. No member may hold a prompt or an answer. What a caller or an upstream
// chose may be anything: Record cleans and cuts it, and takes keys out.
type Facts struct {
	// Arrival: the request headers, and whose key it is.
	RequestID     string // ours; may be of the caller's choosing
	Time          time.Time
	Method, Path  string // the path may have a query: it is left out
	Operation     string // converse, list_models, …; "" for none
	Dialect       string // in whose API shape a model is asked: openai.chat; "" where none is
	ClientAddress string
	KeyID         string // the API key's resource id
	TeamID        string // whom the key belongs to, as its resource says
	UserID        string
	LimitScope    string // kind of the bucket that refused: apikey, model; "" if none did
	Limit         string // the limit that refused: rpm, tpm, …

	// IsKey reports whether a text is the plaintext of an API key; nil knows none.
	IsKey func(string) bool

	// Admission.
	Alias         string // as the caller wrote it, in model
	ModelAlias    string // as the model's resource has it; "" while unknown
	ModelID       string // the model's resource id
	Provider      string // the provider key's label
	ProviderKeyID string
	UpstreamModel string // the model id Bedrock was asked for
	Target        string // by which of the model's targets, the last one; "" where it has no such
	Stream        bool

	// The attempts.
	Tries    []Try    // oldest first
	NoEgress bool     // of a model whose calls are to go by the egress listener, which was not there
	Refused  []string // fields of our choice that the upstream refused by their names

	// The answer.
	Status    int       // what the caller got; 0 while nothing was told, or if it left before
	FirstByte time.Time // when the answer began; zero if it never did
	Usage     chat.Usage
	ErrorType string // the fault's kind; "" on success
	ErrorCode string
	Err       error // for the operator: AWS's own words, a panic, …; nil if the fault says it all
	Panicked  bool
	Notes     []string // what else the operator should know of the upstream's answer

	// The end.
	Outcome Outcome
	Partial bool          // Usage is what was seen until somebody left
	Latency time.Duration // to the last byte

	hidden []string // what no line may show
}

// Try is one request to an upstream.
type Try struct {
	ProviderKeyID string        // whose credentials signed it
	RequestID     string        // AWS's; "" where no answer came
	Status        int           // the upstream's; 0 where no answer came
	Latency       time.Duration // to the headers of its answer, or until it was given up
	Target        string        // the target's name; "" of a model that has no such
	Reason        string        // what came of it
	Sent          time.Time     // when it was signed; not told
}

// Try adds a request that is about to be made, for its maker to fill in.
func (f *Facts) Try(target, providerKeyID string) *Try {
	f.Tries = append(f.Tries, Try{Target: target, ProviderKeyID: providerKeyID})
	return &f.Tries[len(f.Tries)-1]
}

// maxLogged is how many of AWS's ids stand in a line: a batch of embeddings may have
// thousands. The record has them all.
const maxLogged = 32

// upstreamRequestIDs are AWS's ids of the tries that got an answer, for a line.
func (f *Facts) upstreamRequestIDs() iter.Seq[string] {
	return func(yield func(string) bool) {
		left := maxLogged
		for i := range f.Tries {
			if id := f.Tries[i].RequestID; id != "" {
				if left--; left < 0 || !yield(id) {
					return
				}
			}
		}
	}
}

// firstByte is how long the first byte of the answer took; 0 if there was none.
func (f *Facts) firstByte() time.Duration {
	if f.FirstByte.IsZero() {
		return 0
	}
	return f.FirstByte.Sub(f.Time)
}

// record is the usage record of facts that were cleaned.
func (f *Facts) record() *usagev1.Record {
	r := &usagev1.Record{
		RequestId:     f.RequestID,
		Time:          timestamppb.New(f.Time),
		KeyId:         f.KeyID,
		TeamId:        f.TeamID,
		UserId:        f.UserID,
		Alias:         f.Alias,
		ModelAlias:    f.ModelAlias,
		ModelId:       f.ModelID,
		UpstreamModel: f.UpstreamModel,
		ProviderKeyId: f.ProviderKeyID,
		Status:        int32(f.Status),
		ErrorType:     f.ErrorType,
		Outcome:       usagev1.Outcome(f.Outcome),
		Latency:       durationpb.New(f.Latency),
		Stream:        f.Stream,
		Attempts:      int32(len(f.Tries)),
		Tries:         tries(f.Tries),
		ClientAddress: f.ClientAddress,
		Partial:       f.Partial,
		Operation:     f.Operation,
		Dialect:       f.Dialect,
	}
	var counts counts
	r.CachedTokens, r.CacheWriteTokens, r.ReasoningTokens = counts.add(f.Usage.CacheRead), counts.add(f.Usage.CacheWrite), counts.add(f.Usage.Reasoning)
	r.CacheWrite_1HTokens, r.ServerToolRequests = counts.add(f.Usage.CacheWrite1h), counts.add(f.Usage.ServerTools)
	if f.Usage.Known() {
		prompt, completion := f.Usage.Prompt(), f.Usage.Completion()
		r.PromptTokens, r.CompletionTokens = counts.add(&prompt), counts.add(&completion)
	}
	if d := f.firstByte(); d > 0 {
		r.TimeToFirstToken = durationpb.New(d)
	}
	return r
}

// counts are the token counts of one record, in one piece.
type counts []int64

// add takes a count over; an absent one stays absent.
func (c *counts) add(n *int) *int64 {
	if n == nil {
		return nil
	}
	if *c == nil {
		*c = make([]int64, 0, 7) // never more: what was given out must stay where it is
	}
	*c = append(*c, int64(*n))
	return &(*c)[len(*c)-1]
}

// tries are the messages of so many tries, in one piece.
func tries(of []Try) []*usagev1.Try {
	if len(of) == 0 {
		return nil
	}
	messages := make([]struct {
		try     usagev1.Try
		latency durationpb.Duration
	}, len(of))
	out := make([]*usagev1.Try, len(of))
	for i, t := range of {
		m := &messages[i]
		m.latency.Seconds, m.latency.Nanos = int64(t.Latency/time.Second), int32(t.Latency%time.Second)
		m.try.UpstreamRequestId, m.try.Status, m.try.Latency, m.try.ProviderKeyId = t.RequestID, int32(t.Status), &m.latency, t.ProviderKeyID
		m.try.Target, m.try.Reason = t.Target, t.Reason
		out[i] = &m.try
	}
	return out
}
