package bedrock

import (
	"bytes"
	"context"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"time"

	"aisix/extproc/bedrock/redact"
	"aisix/extproc/chat"
	"aisix/extproc/fault"

	"github.com/aws/aws-sdk-go-v2/service/bedrockruntime/schemas"
)

// Call is one request to Bedrock, encoded for one target, and the decoder of its
// answer. It is encoded once; Sign makes each attempt of it.
type Call struct {
	target Target
	stream bool
	url    *url.URL // Path is decoded, RawPath as it goes out
	header http.Header
	body   []byte

	request *chat.Request     // as the caller sent it; for what a message may quote of it
	said    []string          // that alone, after Forget
	names   map[string]string // tool aliases of this request → the caller's names
	output  string            // the tool that stands in for structured output

	keyID     string    // of the last signature
	signed    time.Time // when that was
	requestID string    // AWS's, once a reply came
	notes     []string  // what the operator's log should tell
}

// NewCall checks and tidies req, checks it against what the target's model can do, and
// encodes it. req stays as it is: another target may be tried after this one.
// Errors are *fault.Error, a 400 that names the member at fault, or ctx's own once
// that is done.
//
// What is sent may weigh more than what the caller sent: the references of schemas
// are written out for some families. limit bounds, in bytes, what that may add.
func NewCall(ctx context.Context, req *chat.Request, t Target, limit int64) (*Call, error) {
	base, err := t.base()
	if err != nil {
		return nil, fault.From(err)
	}
	p, err := prepare(ctx, req, t, limit)
	if err != nil {
		return nil, err
	}
	encode := encodeConverse
	if t.invokes() {
		encode = encodeInvoke
	}
	w, err := encode(ctx, p, t)
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case err != nil:
		return nil, fault.From(err)
	}
	c := &Call{
		target:  t,
		stream:  req.Stream,
		url:     &url.URL{Scheme: base.Scheme, Host: base.Host, Path: base.Path + w.path, RawPath: base.EscapedPath() + w.rawPath},
		header:  w.header,
		body:    w.body,
		request: req,
		names:   p.names,
		output:  p.output,
		notes:   p.notes,
	}
	c.header.Del("Content-Length")
	if c.header.Get("Content-Type") == "" {
		c.header.Set("Content-Type", "application/json")
	}
	return c, nil
}

// Method is the HTTP method.
func (c *Call) Method() string { return http.MethodPost }

// Host is the authority that the signature names.
func (c *Call) Host() string { return c.url.Host }

// Path is the path as it goes out: the model id is one encoded segment.
func (c *Call) Path() string { return c.url.EscapedPath() }

// TLS tells whether the endpoint is https.
func (c *Call) TLS() bool { return c.url.Scheme == "https" }

// Body is the encoded body; not to be changed.
func (c *Call) Body() []byte { return c.body }

// Header is what goes out beside host and signature: content-type, and knobs of
// InvokeModel. Not to be changed.
func (c *Call) Header() http.Header { return c.header }

// Stream tells whether the answer is to be an event stream.
func (c *Call) Stream() bool { return c.stream }

// Notes are things that the operator's log should tell: an unknown stop reason,
// history that the model does not take.
func (c *Call) Notes() []string { return c.notes }

// IsStream tells whether a reply is the event stream that was asked for. If
// not, its body is to be read whole and given to Fault.
func (c *Call) IsStream(status int, header http.Header) bool {
	c.requestID = RequestID(header)
	return status == http.StatusOK && mediaType(header) == "application/vnd.amazon.eventstream"
}

// Whole decodes a whole reply. A status other than 200, an exception in a 200,
// and an answer that lacks message, stop reason or usage are a *fault.Error.
func (c *Call) Whole(status int, header http.Header, body []byte) ([]chat.Event, error) {
	c.requestID = RequestID(header)
	if status != http.StatusOK {
		return nil, c.Fault(status, header, body)
	}
	if header.Get("X-Amzn-Errortype") != "" || bytes.Contains(body, []byte(`"__type"`)) {
		if e := exceptionOf(status, header, body); e.Type != "" {
			return nil, c.fault(e, header)
		}
	}
	if mediaType(header) != "application/json" {
		return nil, undecodable(&Exception{Type: "unexpected content type " + quote(header.Get("Content-Type")), RequestID: c.requestID, Status: status})
	}
	decode := converseReply
	if c.target.invokes() {
		decode = invokeReply
	}
	events, err := decode(header, body)
	if err != nil {
		return nil, c.decodeFault(err)
	}
	notes, err := new(stops).whole(events)
	if err != nil {
		return nil, c.decodeFault(err)
	}
	c.notes = append(c.notes, notes...)
	restore := restorer{names: c.names, output: c.output}
	return restore.events(events), nil
}

// Events reads the event stream r.
func (c *Call) Events(r io.Reader) *Events {
	e := &Events{call: c, frames: frameReader{r: r}, restore: restorer{names: c.names, output: c.output}}
	if c.target.invokes() {
		e.codec, e.decode = newEventCodec(schemas.ResponseStream), new(invokeStream).decode
	} else {
		e.codec, e.decode = newEventCodec(schemas.ConverseStreamOutput), new(converseStream).decode
	}
	return e
}

// Fault turns a reply that is no answer into what the caller may see: an error
// status, or a 2xx whose body is an exception or nothing that can be decoded.
func (c *Call) Fault(status int, header http.Header, body []byte) *fault.Error {
	c.requestID = RequestID(header)
	e := exceptionOf(status, header, body)
	f := c.fault(e, header)
	if date, err := http.ParseTime(header.Get("Date")); err == nil && !c.signed.IsZero() && e.Hint == "" &&
		(status == http.StatusForbidden || status == http.StatusUnauthorized) && date.Sub(c.signed).Abs() > maxSkew {
		e.Hint = clockHint
	}
	return f
}

// redactor knows what of this call must not show.
func (c *Call) redactor() redact.Redactor {
	secrets := []string{c.url.Host, c.url.Hostname(), c.target.Region, c.keyID, c.requestID}
	if id := c.target.ModelID; strings.HasPrefix(id, arnPrefix) {
		secrets = append(secrets, id)
		if Publisher(id) == "" { // the account's own name for it, not the model's
			secrets = append(secrets, id[strings.LastIndexByte(id, '/')+1:])
		}
	}
	if g := c.target.Options.GuardrailConfig; g != nil {
		secrets = append(secrets, g.Identifier)
	}
	return redact.New(secrets...)
}

func mediaType(header http.Header) string {
	t, _, err := mime.ParseMediaType(header.Get("Content-Type"))
	if err != nil {
		return ""
	}
	return t
}
