package egress

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"time"

	"aisix/extproc/exchange"
)

// The headers between this client and the listener, beside those that lead out: what proves
// it, and whose an answer is. Package envoy has the same words.
const (
	secretHeader  = "x-aisix-egress-secret"
	detailsHeader = "x-aisix-details"
)

// viaUpstream is in detailsHeader of an answer that an upstream gave.
const viaUpstream = "via_upstream"

const (
	connectTime = 5 * time.Second  // to the listener, which is on this machine
	maxIdle     = 256              // connections that are kept
	idleTime    = 90 * time.Second // less than Envoy keeps them
	maxHeader   = 128 << 10        // of an answer, in bytes
)

var (
	// ErrUnreachable is that nobody listens: this Envoy has no such listener, or is gone.
	ErrUnreachable = errors.New("egress: Envoy's egress listener cannot be reached")
	// ErrBroken is an answer that broke off, or never began.
	ErrBroken = errors.New("egress: the connection broke")
)

// Options says where the listener is.
type Options struct {
	Network, Address string // as net.Dial wants them
	Secret           string // that it asks for; "" is none
}

// Client makes requests. It is safe for concurrent use.
type Client struct {
	transport *http.Transport
	secret    string
}

// New builds a client. It does not connect yet.
func New(o Options) *Client {
	dialer := &net.Dialer{Timeout: connectTime}
	return &Client{secret: o.Secret, transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			nc, err := dialer.DialContext(ctx, o.Network, o.Address)
			if err != nil && ctx.Err() == nil {
				err = fmt.Errorf("%w: %w", ErrUnreachable, err)
			}
			return nc, err
		},
		DisableCompression:     true,
		MaxIdleConns:           maxIdle,
		MaxIdleConnsPerHost:    maxIdle,
		IdleConnTimeout:        idleTime,
		MaxResponseHeaderBytes: maxHeader,
	}}
}

// Close lets idle connections go.
func (c *Client) Close() { c.transport.CloseIdleConnections() }

// Request is a POST to an upstream.
type Request struct {
	URL    *url.URL    // scheme and host lead to the upstream; the path goes out as it is escaped
	Header http.Header // the client's to keep
	Body   []byte
}

// Response is the head of an answer, and its body to come.
type Response struct {
	Status int
	Header http.Header
	// Local: Envoy made the answer by itself; Details says why.
	Local   bool
	Details string
	Body    *Body // to be closed
}

// Post sends a request and waits for the head of its answer, until head at the latest: its error
// is then context.DeadlineExceeded. The end of ctx ends the body, too. Other errors are
// ctx's, ErrUnreachable and ErrBroken.
func (c *Client) Post(ctx context.Context, r Request, head time.Time) (*Response, error) {
	life, end := context.WithCancelCause(ctx)
	late := time.AfterFunc(time.Until(head), func() { end(context.DeadlineExceeded) })
	response, err := c.transport.RoundTrip(c.request(life, r))
	inTime := late.Stop()
	switch {
	case err == nil && inTime:
		details := response.Header.Get(detailsHeader)
		response.Header.Del(detailsHeader)
		return &Response{
			Status: response.StatusCode, Header: response.Header, Local: details != viaUpstream, Details: details,
			Body: newBody(life, end, response.Body),
		}, nil
	case err == nil:
		response.Body.Close()
	}
	cause := context.Cause(life)
	end(nil)
	switch {
	case cause != nil:
		return nil, cause
	case errors.Is(err, ErrUnreachable):
		return nil, err
	}
	return nil, fmt.Errorf("%w: %w", ErrBroken, err)
}

func (c *Client) request(ctx context.Context, r Request) *http.Request {
	way := exchange.Plaintext
	if r.URL.Scheme == "https" {
		way = exchange.TLS
	}
	header := r.Header
	header.Set(exchange.EgressHeader, string(way))
	header.Set(exchange.HostHeader, r.URL.Host)
	header.Set("User-Agent", "") // none, and not Go's
	if c.secret != "" {
		header.Set(secretHeader, c.secret)
	}
	request := &http.Request{
		Method: http.MethodPost,
		// One host for all, so that one pool of connections serves them.
		URL:           &url.URL{Scheme: "http", Host: "egress", Path: r.URL.Path, RawPath: r.URL.RawPath},
		Host:          r.URL.Host,
		Header:        header,
		Body:          http.NoBody,
		ContentLength: int64(len(r.Body)),
	}
	if len(r.Body) > 0 {
		request.Body = readCloser{bytes.NewReader(r.Body)}
	}
	return request.WithContext(ctx)
}

type readCloser struct{ *bytes.Reader }

func (readCloser) Close() error { return nil }
