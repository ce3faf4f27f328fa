package fetch

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"aisix/extproc/chat"
	"aisix/extproc/fault"
)

const (
	maxFetches  = 64              // going on in the process
	maxOfKey    = 16              // going on for one key
	maxParallel = 4               // going on for one call
	maxImages   = 100             // of one call
	connectTime = 5 * time.Second // for one address
)

// Config is what the operator decides.
type Config struct {
	Enabled       bool
	MaxBytes      int64          // of one image
	MaxTotalBytes int64          // of the images of one request
	Timeout       time.Duration  // for all of them
	Roots         *x509.CertPool // nil is the system's
}

// Fetcher gets images. It is safe for concurrent use.
type Fetcher struct {
	config Config
	client *http.Client
	slots  *slots

	// The network; tests have their own.
	port   string
	lookup func(ctx context.Context, host string) ([]netip.Addr, error)
	dial   func(ctx context.Context, network, address string) (net.Conn, error)
}

// New builds a Fetcher.
func New(c Config) *Fetcher {
	dialer := &net.Dialer{Timeout: connectTime, ControlContext: vet}
	f := &Fetcher{
		config: c,
		slots:  newSlots(),
		port:   "443",
		lookup: func(ctx context.Context, host string) ([]netip.Addr, error) {
			return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
		},
		dial: dialer.DialContext,
	}
	f.client = f.newClient()
	return f
}

// Caller is for whom images are fetched.
type Caller struct {
	Key string // whose share of the slots it takes
	// Take hears of bytes before they are kept. Its error ends the fetch, and is
	// Images's where it is a *fault.Error.
	Take func(n int64) error
}

// standIn is the shortest image that anybody takes for one.
var standIn = chat.Image{Format: "png", Data: []byte("\x89PNG\r\n\x1a\n")}

// Prepare gives r with stand-ins for the images that it names by URL, so that all
// else can be judged before anything is fetched; r itself where it names none. The
// error is a *fault.Error of status 400, for images that are not to be had
// wherever they are.
func (f *Fetcher) Prepare(r *chat.Request) (*chat.Request, error) {
	wanted := linked(r)
	if len(wanted) == 0 {
		return r, nil
	}
	if !f.config.Enabled {
		return nil, refuse(wanted[0], "fetching images is off at this gateway: send the image inline, as a data: URL", nil)
	}
	if len(wanted) > maxImages {
		return nil, refuse(wanted[maxImages], "too many images to fetch", nil)
	}
	images := make(map[string]chat.Image, len(wanted))
	for _, w := range wanted {
		images[w.URL] = standIn
	}
	return inline(r, images), nil
}

// Images gives r with the images of its https: URLs inline; r itself where it has
// none. The error is Prepare's, a *fault.Error of status 400 that names the image,
// by's own, or ctx's.
func (f *Fetcher) Images(ctx context.Context, by Caller, r *chat.Request) (*chat.Request, error) {
	if prepared, err := f.Prepare(r); err != nil || prepared == r {
		return prepared, err
	}
	images, err := f.all(ctx, by, linked(r))
	if err != nil {
		return nil, err
	}
	return inline(r, images), nil
}

// all gets the wanted images, several at a time and each URL once, and gives
// them by URL. The first that fails ends the others.
func (f *Fetcher) all(parent context.Context, by Caller, wanted []chat.Image) (map[string]chat.Image, error) {
	ctx, cancel := context.WithTimeout(parent, f.config.Timeout)
	defer cancel()
	var (
		total  atomic.Int64
		wait   sync.WaitGroup
		mu     sync.Mutex
		failed error
		images = make(map[string]chat.Image, len(wanted))
		own    = make(chan struct{}, maxParallel)
	)
	asked := map[string]bool{}
	for _, w := range wanted {
		if asked[w.URL] {
			continue
		}
		asked[w.URL] = true
		wait.Go(func() {
			image, err := f.slotted(ctx, by, own, w.URL, &total)
			mu.Lock()
			defer mu.Unlock()
			var full *fault.Error
			switch {
			case err == nil:
				images[w.URL] = image
			case failed != nil:
			case errors.As(err, &full):
				failed = full
				cancel()
			default:
				failed = refuse(w, reason(err), err)
				cancel()
			}
		})
	}
	wait.Wait()
	switch {
	case parent.Err() != nil:
		return nil, parent.Err() // the caller left
	case failed != nil:
		return nil, failed
	}
	left := f.config.MaxTotalBytes
	for _, w := range wanted { // each time that it stands in the request
		if left -= int64(len(images[w.URL].Data)); left < 0 {
			return nil, refuse(w, errTotal.Error(), errTotal)
		}
	}
	return images, nil
}

// slotted gets an image once the call, its key and the process have room for it.
func (f *Fetcher) slotted(ctx context.Context, by Caller, own chan struct{}, url string, total *atomic.Int64) (chat.Image, error) {
	select {
	case own <- struct{}{}:
		defer func() { <-own }()
	case <-ctx.Done():
		return chat.Image{}, ctx.Err()
	}
	give, err := f.slots.take(ctx, by.Key)
	if err != nil {
		return chat.Image{}, err
	}
	defer give()
	return f.get(ctx, by, url, total)
}

// linked are the images of r that are still URLs.
func linked(r *chat.Request) []chat.Image {
	var out []chat.Image
	for _, m := range r.Messages {
		out = links(out, m.Blocks)
	}
	return out
}

func links(out []chat.Image, blocks []chat.Block) []chat.Image {
	for _, b := range blocks {
		switch b := b.(type) {
		case chat.Image:
			if b.URL != "" {
				out = append(out, b)
			}
		case chat.ToolResult:
			out = links(out, b.Blocks)
		}
	}
	return out
}

// inline is a copy of r with the images in place of their URLs.
func inline(r *chat.Request, images map[string]chat.Image) *chat.Request {
	out := *r
	out.Messages = slices.Clone(r.Messages)
	for i := range out.Messages {
		out.Messages[i].Blocks = replace(out.Messages[i].Blocks, images)
	}
	return &out
}

func replace(blocks []chat.Block, images map[string]chat.Image) []chat.Block {
	out := slices.Clone(blocks)
	for i, b := range out {
		switch b := b.(type) {
		case chat.Image:
			if b.URL != "" {
				got := images[b.URL]
				out[i] = chat.Image{Format: got.Format, Data: got.Data, Param: b.Param}
			}
		case chat.ToolResult:
			b.Blocks = replace(b.Blocks, images)
			out[i] = b
		}
	}
	return out
}

func refuse(i chat.Image, why string, err error) *fault.Error {
	out := fault.Invalid(i.Param+".image_url.url", "%s: the image could not be fetched: %s", i.Param+".image_url.url", why)
	out.Err = err
	return out
}

// reason says why an image can't be had, and nothing about our network.
func reason(err error) string {
	var size sizeError
	var status statusError
	var certificate *tls.CertificateVerificationError
	for _, known := range []error{errAddress, errPort, errRedirect, errKind, errTotal} {
		if errors.Is(err, known) {
			return known.Error()
		}
	}
	switch {
	case errors.As(err, &size):
		return size.Error()
	case errors.As(err, &status):
		return status.Error()
	case errors.As(err, &certificate):
		return "its server's certificate is not valid"
	case errors.Is(err, context.DeadlineExceeded):
		return "it took too long"
	}
	return "its server could not be reached, or broke the connection"
}
