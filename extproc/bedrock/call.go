package bedrock

import (
	"context"
	"mime"

	"aisix/extproc/bedrock/redact"
	"aisix/extproc/bedrock/schema"
	"aisix/extproc/chat"
	"aisix/extproc/fault"
	"aisix/extproc/jsonedit"
)

// Call is one request to Bedrock, encoded for one model. Sign makes any number of
// attempts of it. It never changes, but for Forget, after which there are no more.
type Call struct {
	model  *Model
	stream bool
	api    api
	// verbatim tells that the caller speaks the upstream's format: of what comes back it is
	// given the upstream's own words (chat.Raw).
	verbatim bool
	passes   bool // what the caller gets of it may be the upstream's own bytes (Passes)
	address  *address
	header   []Field // what goes out beside host and signature: content-type, InvokeModel's knobs
	body     []byte

	embeds embedded // of EmbedCalls

	chosen chosen
	asked  *chat.Verbatim // of Adopt, until Forget

	// What a message of AWS's may quote: one of these has it, until Forget.
	request *chat.Request
	came    came
	said    []redact.Text     // after Forget, of a request
	unsaid  bool              // it is gone
	names   map[string]string // tool aliases of this request → the caller's names
	output  string            // the tool that stands in for structured output
	object  bool              // a text that is the answer is to be a JSON object
	answer  schema.Input      // the schema of structured output, for what was done to it

	fields map[string]map[string]string // by a tool's name on the wire: aliases of its properties → the caller's names
	notes  []string                     // what the operator's log should tell of the request
}

// NewCall checks and tidies req, checks it against what the model can do, and
// encodes it. req stays as it is: another model may be tried after this one. Errors are
// *fault.Error, a 400 that names the member at fault, or ctx's own once that is done.
//
// What is sent may weigh more than what the caller sent: the references of schemas
// are written out for some families. limit bounds, in bytes, what that may add.
func NewCall(ctx context.Context, req *chat.Request, m *Model, limit int64) (*Call, error) {
	p, err := prepare(ctx, req, m, limit)
	if err != nil {
		return nil, err
	}
	w, err := encoders[p.api](ctx, p)
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case err != nil:
		return nil, fault.From(err)
	}
	return &Call{
		model:    m,
		stream:   req.Stream,
		api:      p.api,
		address:  &m.addressed[operationOf(p.api, req.Stream)],
		header:   w.header,
		body:     w.body,
		verbatim: w.asCame,
		passes:   w.asCame && req.Stream,
		request:  req,
		names:    p.names,
		output:   p.output,
		object:   p.object,
		answer:   schema.Input{Names: p.answer.Names, Inside: p.answer.Inside},
		fields:   p.fields,
		notes:    p.notes,
		chosen:   p.chose(),
	}, nil
}

// encoders write a prepared request in the format of each API.
var encoders = [...]func(context.Context, *prepared) (wireRequest, error){
	apiConverse:  encodeConverse,
	apiInvoke:    encodeInvoke,
	apiMessages:  encodeMessages,
	apiChat:      encodeChat,
	apiResponses: encodeResponses,
}

// Passes reports whether the answer may go to the caller in the upstream's own bytes: a stream of
// server-sent events, in the caller's format, with nothing in it that was not asked for. It looks
// through the request, and does not know after Forget.
func (c *Call) Passes() bool {
	return c.passes && (c.api != apiChat || c.request != nil && wantsUsage(c.request.Came))
}

// wantsUsage reports whether a request in the format of Chat Completions asks for the chunk
// with the usage, which is always asked for upstream.
func wantsUsage(came []byte) bool {
	t := jsonedit.Text(came)
	options, _ := t.Member(t.Root(), "stream_options")
	wanted, ok := t.Member(options, "include_usage")
	return ok && t.Kind(wanted) == 't'
}

// Size is the length of the encoded body, in bytes.
func (c *Call) Size() int64 { return int64(len(c.body)) }

// Notes are what the operator's log should tell of the request: history that the
// model does not take.
func (c *Call) Notes() []string { return c.notes }

func mediaType(header Header) string {
	value := header.Get("Content-Type")
	if value == contentType || value == eventStreamType { // as it is, but for what is odd
		return value
	}
	t, _, err := mime.ParseMediaType(value)
	if err != nil {
		return ""
	}
	return t
}
