package chat

// API is a format of conversations that callers and upstreams may both speak.
type API string

// The formats. Converse is no caller's.
const (
	Completions API = "chat"      // OpenAI's chat completions
	Messages    API = "messages"  // Anthropic's, InvokeModel's body for Claude too
	Responses   API = "responses" // OpenAI's
)

// Verbatim is what a caller asks in the upstream's own format: it goes up as it is but for
// what must change, and comes back so (Raw), since a Request has no place for all that the
// format can say, and an order of its own. Of it we refuse nothing but bad JSON, an unknown
// model and what the limits hold: the rest is the upstream's, in its own words. Nobody
// changes it: another target may be tried with it.
type Verbatim struct {
	API    API
	Body   []byte   // one JSON object, strictly read; Model is still in it
	Stream bool     // answer with SSE
	Beta   []string // anthropic-beta's flags, in the caller's order
	Prompt int64    // an estimate of its tokens: texts alone, never max_tokens or files
	// Foreign tells that reasoning of another family's was left out: a turn of the model's may be
	// without any now.
	Foreign bool
	Notes   []string // for the operator's log: what of the caller's the dialect left out
}
