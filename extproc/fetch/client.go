package fetch

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"sync/atomic"
	"syscall"

	"aisix/extproc/chat"
)

const (
	maxRedirects = 3
	maxHeaders   = 64 << 10 // bytes of a response's headers
	magicBytes   = 12       // what chat.ImageFormat looks at
)

// Why an image can't be had, in words for the caller. They do not tell a name
// that does not resolve from one that resolves to an address of ours.
var (
	errAddress  = errors.New("its host has no public address")
	errPort     = errors.New("only port 443 is allowed")
	errRedirect = fmt.Errorf("it redirects more than %d times, or to a URL that is not https", maxRedirects)
	errKind     = errors.New("it is not a supported image: must be png, jpeg, gif or webp")
	errTotal    = errors.New("the images of the request are too large in total")
)

type statusError int

func (e statusError) Error() string { return fmt.Sprintf("its server answered %d", int(e)) }

type sizeError int64

func (e sizeError) Error() string { return fmt.Sprintf("it is larger than %d bytes", int64(e)) }

// newClient speaks HTTP/1.1 over TLS to public addresses: no proxy, no cookies,
// no compression, no connection that outlives its request.
func (f *Fetcher) newClient() *http.Client {
	return &http.Client{
		Transport: &http.Transport{
			DialContext:            f.connect,
			TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: f.config.Roots},
			DisableCompression:     true,
			DisableKeepAlives:      true,
			MaxResponseHeaderBytes: maxHeaders,
		},
		CheckRedirect: func(r *http.Request, via []*http.Request) error {
			if len(via) > maxRedirects || r.URL.Scheme != "https" || r.URL.User != nil {
				return errRedirect
			}
			r.Header.Del("Referer") // the first URL may hold a signature
			return nil
		},
	}
}

// connect resolves a host once and dials its addresses, which vet lets through. One
// that is not public spoils the host: nobody needs such a mixture.
func (f *Fetcher) connect(ctx context.Context, network, address string) (net.Conn, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	if port != f.port {
		return nil, errPort
	}
	var addresses []netip.Addr
	if a, err := netip.ParseAddr(host); err == nil {
		addresses = []netip.Addr{a}
	} else if addresses, err = f.lookup(ctx, host); err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, fmt.Errorf("%w: %w", errAddress, err)
	}
	for _, a := range addresses {
		if !public(a) {
			return nil, errAddress
		}
	}
	err = errAddress // of a host without any
	for _, a := range addresses {
		var c net.Conn
		if c, err = f.dial(ctx, network, net.JoinHostPort(a.Unmap().String(), port)); err == nil {
			return c, nil
		}
	}
	return nil, err
}

// vet refuses an address that is not public when the socket for it is there and before
// it connects: whatever was said of the host before, this is where it would go.
func vet(_ context.Context, _, address string, _ syscall.RawConn) error {
	a, err := netip.ParseAddrPort(address)
	if err != nil || !public(a.Addr()) {
		return errAddress
	}
	return nil
}

// get reads one image. total counts the bytes of all images of the request, and
// by hears of them. The error is without the URL, which may hold a signature.
func (f *Fetcher) get(ctx context.Context, by Caller, address string, total *atomic.Int64) (chat.Image, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return chat.Image{}, bare(err)
	}
	r.Header.Set("Accept", "image/png, image/jpeg, image/gif, image/webp")
	r.Header.Set("User-Agent", "aisix")
	response, err := f.client.Do(r)
	if err != nil {
		return chat.Image{}, bare(err)
	}
	defer response.Body.Close()
	switch {
	case response.StatusCode != http.StatusOK:
		return chat.Image{}, statusError(response.StatusCode)
	case response.ContentLength > f.config.MaxBytes:
		return chat.Image{}, sizeError(f.config.MaxBytes)
	}
	body := &countingReader{r: io.LimitReader(response.Body, f.config.MaxBytes+1), total: total, most: f.config.MaxTotalBytes, take: by.Take}
	head := make([]byte, magicBytes)
	n, err := io.ReadFull(body, head)
	if err != nil && err != io.ErrUnexpectedEOF && err != io.EOF {
		return chat.Image{}, err
	}
	format := chat.ImageFormat(head[:n])
	if format == "" {
		return chat.Image{}, errKind
	}
	rest, err := io.ReadAll(body)
	if err != nil {
		return chat.Image{}, err
	}
	data := append(head[:n], rest...)
	if int64(len(data)) > f.config.MaxBytes {
		return chat.Image{}, sizeError(f.config.MaxBytes)
	}
	return chat.Image{Format: format, Data: data}, nil
}

// bare is an error of net/http without the URL that it names.
func bare(err error) error {
	var named *url.Error
	if errors.As(err, &named) {
		return named.Err
	}
	return err
}

// countingReader breaks off when all readers together have read too much, or take
// refuses what was read.
type countingReader struct {
	r     io.Reader
	total *atomic.Int64
	most  int64
	take  func(n int64) error // may be nil
}

func (c *countingReader) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	if c.total.Add(int64(n)) > c.most {
		return n, errTotal
	}
	if c.take != nil && n > 0 {
		if err := c.take(int64(n)); err != nil {
			return n, err
		}
	}
	return n, err
}
