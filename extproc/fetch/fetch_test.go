package fetch

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"aisix/extproc/chat"
	"aisix/extproc/fault"
)

const (
	png  = "\x89PNG\r\n\x1a\n and the rest"
	jpeg = "\xff\xd8\xff\xe0 and the rest"
)

// publicAddress is where the test's server seems to be.
var publicAddress = netip.MustParseAddr("93.184.215.14")

// site is a server of images at a public address, and the Fetcher that reaches it.
type site struct {
	*Fetcher
	dialed atomic.Int64
}

// newSite serves h as example.com. Other hosts resolve to what hosts say.
func newSite(t *testing.T, h http.HandlerFunc, hosts map[string][]netip.Addr) *site {
	t.Helper()
	server := httptest.NewTLSServer(h)
	t.Cleanup(server.Close)
	roots := x509.NewCertPool()
	roots.AddCert(server.Certificate())
	s := &site{Fetcher: New(Config{Enabled: true, MaxBytes: 1000, MaxTotalBytes: 2500, Timeout: 10 * time.Second, Roots: roots})}
	s.lookup = func(_ context.Context, host string) ([]netip.Addr, error) {
		if host == "example.com" {
			return []netip.Addr{publicAddress}, nil
		}
		if a, ok := hosts[host]; ok {
			return a, nil
		}
		return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
	}
	s.dial = func(ctx context.Context, network, address string) (net.Conn, error) {
		if a := netip.MustParseAddrPort(address); a.Addr() != publicAddress || a.Port() != 443 {
			t.Errorf("dialed %s", address)
			return nil, errors.New("not dialed")
		}
		s.dialed.Add(1)
		var d net.Dialer
		return d.DialContext(ctx, network, server.Listener.Addr().String())
	}
	return s
}

func images(urls ...string) *chat.Request {
	m := chat.Message{Role: chat.User, Param: "messages[0]"}
	for i, u := range urls {
		m.Blocks = append(m.Blocks, chat.Image{URL: u, Param: fmt.Sprintf("messages[0].content[%d]", i)})
	}
	return &chat.Request{Messages: []chat.Message{m}}
}

func TestImages(t *testing.T) {
	var serving, most atomic.Int64
	s := newSite(t, func(w http.ResponseWriter, r *http.Request) {
		most.Store(max(most.Load(), serving.Add(1)))
		defer serving.Add(-1)
		if r.Header.Get("Referer")+r.Header.Get("Cookie")+r.Header.Get("Authorization")+r.Header.Get("Accept-Encoding") != "" {
			t.Errorf("sent %v", r.Header)
		}
		http.SetCookie(w, &http.Cookie{Name: "a", Value: "b"})
		switch r.URL.Path {
		case "/moved":
			http.Redirect(w, r, "/png", http.StatusFound)
		case "/png":
			w.Header().Set("Content-Type", "text/html") // the first bytes decide
			_, _ = w.Write([]byte(png))
		default:
			time.Sleep(5 * time.Millisecond) // so that they overlap
			_, _ = w.Write([]byte(jpeg))
		}
	}, nil)
	t.Setenv("HTTPS_PROXY", "http://127.0.0.1:1") // not to be used
	r := images("https://example.com/moved?signature=secret", "https://example.com/1", "https://example.com/1")
	r.Messages[0].Blocks = append(r.Messages[0].Blocks, chat.Text{Text: "look"}, chat.Image{Format: "gif", Data: []byte("GIF89a"), Param: "p"})
	for i := range 9 {
		r.Messages[0].Blocks = append(r.Messages[0].Blocks, chat.Image{URL: fmt.Sprintf("https://example.com/more/%d", i)})
	}
	r.Messages = append(r.Messages,
		chat.Message{Role: chat.Assistant, Blocks: []chat.Block{chat.ToolUse{ID: "c", Name: "f"}}},
		chat.Message{Role: chat.User, Blocks: []chat.Block{chat.ToolResult{ID: "c", Blocks: []chat.Block{chat.Image{URL: "https://example.com/png", Param: "q"}}}}})
	got, err := s.Images(t.Context(), Caller{Key: "k"}, r)
	if err != nil {
		t.Fatal(err)
	}
	want := []chat.Block{
		chat.Image{Format: "png", Data: []byte(png), Param: "messages[0].content[0]"},
		chat.Image{Format: "jpeg", Data: []byte(jpeg), Param: "messages[0].content[1]"},
		chat.Image{Format: "jpeg", Data: []byte(jpeg), Param: "messages[0].content[2]"},
		chat.Text{Text: "look"},
		chat.Image{Format: "gif", Data: []byte("GIF89a"), Param: "p"},
	}
	if diff := cmp.Diff(want, got.Messages[0].Blocks[:5]); diff != "" {
		t.Error(diff)
	}
	result := chat.ToolResult{ID: "c", Blocks: []chat.Block{chat.Image{Format: "png", Data: []byte(png), Param: "q"}}}
	if diff := cmp.Diff([]chat.Block{result}, got.Messages[2].Blocks); diff != "" {
		t.Error(diff)
	}
	if first := r.Messages[0].Blocks[0].(chat.Image); first.URL == "" || first.Data != nil {
		t.Error("the request was changed")
	}
	if n := s.dialed.Load(); n != 13 { // 12 URLs, one of them leads on
		t.Errorf("%d connections, want 13: each URL once", n)
	}
	if n := most.Load(); n < 2 || n > maxParallel {
		t.Errorf("%d fetches at a time, want 2 to %d", n, maxParallel)
	}
}

func TestNothingToFetch(t *testing.T) {
	r := &chat.Request{Messages: []chat.Message{{Role: chat.User, Blocks: []chat.Block{chat.Text{Text: "a"}, chat.Image{Format: "png", Data: []byte(png)}}}}}
	if got, err := New(Config{}).Images(t.Context(), Caller{Key: "k"}, r); err != nil || got != r {
		t.Errorf("Images = %v, %v; want the request itself", got, err)
	}
}

func TestOff(t *testing.T) {
	s := newSite(t, nil, nil)
	s.config.Enabled = false
	wantRefused(t, s, images("https://example.com/a"), "messages[0].content[0].image_url.url", "is off")
}

// TestPrepare: what takes the images' places is taken for images, and the request stays as it is.
func TestPrepare(t *testing.T) {
	s := newSite(t, nil, nil)
	r := images("https://example.com/a", "https://example.com/b")
	r.Messages[0].Blocks = append(r.Messages[0].Blocks, chat.Text{Text: "look"})
	got, err := s.Prepare(r)
	if err != nil {
		t.Fatal(err)
	}
	for i, b := range got.Messages[0].Blocks[:2] {
		if image := b.(chat.Image); chat.ImageFormat(image.Data) != image.Format || image.Param != fmt.Sprintf("messages[0].content[%d]", i) || image.URL != "" {
			t.Errorf("%+v", image)
		}
	}
	if r.Messages[0].Blocks[0].(chat.Image).URL == "" || s.dialed.Load() != 0 {
		t.Error("the request was changed, or the image fetched")
	}
	plain := images()
	if got, err := s.Prepare(plain); got != plain || err != nil {
		t.Errorf("%v, %v; want the request itself", got, err)
	}
}

func wantRefused(t *testing.T, s *site, r *chat.Request, param, says string) {
	t.Helper()
	got, err := s.Images(t.Context(), Caller{Key: "k"}, r)
	var f *fault.Error
	if !errors.As(err, &f) {
		t.Errorf("Images = %v, %v; want a fault", got, err)
		return
	}
	if f.Status != 400 || f.Param != param || !strings.Contains(f.Message, says) {
		t.Errorf("got %d, param %q, %q; want 400, %q and %q in the message", f.Status, f.Param, f.Message, param, says)
	}
	if strings.Contains(f.Error(), "secret") {
		t.Errorf("the log would show the URL: %v", f)
	}
}

func TestRefused(t *testing.T) {
	release := make(chan struct{})
	s := newSite(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/large":
			_, _ = w.Write(append([]byte(png), make([]byte, 1000)...))
		case "/large-and-says-so":
			w.Header().Set("Content-Length", "5000000000")
			w.WriteHeader(200)
		case "/endless":
			_, _ = w.Write([]byte(png))
			for r.Context().Err() == nil {
				if _, err := w.Write(make([]byte, 1<<16)); err != nil {
					return
				}
			}
		case "/800":
			_, _ = w.Write(append([]byte(png), make([]byte, 800)...))
		case "/html":
			_, _ = w.Write([]byte("<html>"))
		case "/empty":
		case "/gone":
			w.WriteHeader(404)
			_, _ = w.Write([]byte(png))
		case "/cut":
			w.Header().Set("Content-Length", "500")
			_, _ = w.Write([]byte(png))
			panic(http.ErrAbortHandler)
		case "/stalled":
			_, _ = w.Write([]byte(png))
			w.(http.Flusher).Flush()
			<-release
		case "/loop":
			http.Redirect(w, r, "/loop", http.StatusFound)
		case "/plain":
			http.Redirect(w, r, "http://example.com/png", http.StatusFound)
		case "/port":
			http.Redirect(w, r, "https://example.com:8443/png", http.StatusFound)
		}
	}, map[string][]netip.Addr{"other.example": {publicAddress}, "nowhere.example": {}})
	defer close(release)
	s.config.Timeout = 300 * time.Millisecond
	for url, says := range map[string]string{
		"https://example.com/large?secret":      "larger than 1000 bytes",
		"https://example.com/large-and-says-so": "larger than 1000 bytes",
		"https://example.com/endless":           "larger than 1000 bytes",
		"https://example.com/html":              "not a supported image",
		"https://example.com/empty":             "not a supported image",
		"https://example.com/gone?secret":       "answered 404",
		"https://example.com/cut?secret":        "broke the connection",
		"https://example.com/stalled?secret":    "too long",
		"https://example.com/loop?secret":       "redirects",
		"https://example.com/plain":             "redirects",
		"https://example.com/port":              "port 443",
		"https://example.com:22/":               "port 443",
		"https://nothing.example/?secret":       "no public address",
		"https://nowhere.example/":              "no public address",
		"https://other.example/?secret":         "certificate",
		"https://example.com/%zz":               "broke the connection", // no URL at all; the dialect refuses it
	} {
		wantRefused(t, s, images(url), "messages[0].content[0].image_url.url", says)
	}
	// The total counts every time that an image stands in the request.
	for _, r := range []*chat.Request{
		images("https://example.com/800?1", "https://example.com/800?2", "https://example.com/800?3", "https://example.com/800?4"),
		images("https://example.com/800", "https://example.com/800", "https://example.com/800", "https://example.com/800"),
	} {
		_, err := s.Images(t.Context(), Caller{Key: "k"}, r)
		if f := fault.From(err); f.Status != 400 || !strings.Contains(f.Message, "too large in total") {
			t.Errorf("%v", err)
		}
	}
	many := make([]string, maxImages+1)
	for i := range many {
		many[i] = "https://example.com/800"
	}
	wantRefused(t, s, images(many...), "messages[0].content[100].image_url.url", "too many")
}

// TestTheFirstFailureIsTold: the others, which it ended, are not.
func TestTheFirstFailureIsTold(t *testing.T) {
	release := make(chan struct{})
	s := newSite(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/gone" {
			w.WriteHeader(410)
			return
		}
		<-r.Context().Done() // ended with its connection
	}, nil)
	defer close(release)
	wantRefused(t, s, images("https://example.com/a", "https://example.com/b", "https://example.com/gone"), "messages[0].content[2].image_url.url", "answered 410")
}

func TestTheCallerLeaves(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	s := newSite(t, func(_ http.ResponseWriter, r *http.Request) {
		cancel()
		<-r.Context().Done()
	}, nil)
	if _, err := s.Images(ctx, Caller{Key: "k"}, images("https://example.com/a")); !errors.Is(err, context.Canceled) {
		t.Errorf("%v, want context.Canceled", err)
	}
}

// TestOneKeyTakesItsShare: however many calls of a key wait for a slow site, another key's image is
// fetched beside them.
func TestOneKeyTakesItsShare(t *testing.T) {
	var serving atomic.Int64
	release, busy := make(chan struct{}), make(chan struct{}, 1000)
	s := newSite(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/other" {
			_, _ = w.Write([]byte(png))
			return
		}
		serving.Add(1)
		busy <- struct{}{}
		select {
		case <-release:
			_, _ = w.Write([]byte(png))
		case <-r.Context().Done():
		}
	}, nil)
	const calls = 2 * maxFetches / maxParallel
	var done sync.WaitGroup
	for i := range calls {
		done.Go(func() {
			var urls []string
			for j := range maxParallel {
				urls = append(urls, fmt.Sprintf("https://example.com/%d/%d", i, j))
			}
			if _, err := s.Images(t.Context(), Caller{Key: "hog"}, images(urls...)); err != nil {
				t.Error(err)
			}
		})
	}
	for range maxOfKey {
		<-busy
	}
	if _, err := s.Images(t.Context(), Caller{Key: "other"}, images("https://example.com/other")); err != nil {
		t.Error(err)
	}
	if n := serving.Load(); n != maxOfKey {
		t.Errorf("one key has %d fetches going on, want %d", n, maxOfKey)
	}
	close(release)
	done.Wait()
	if n := len(s.slots.keys); n != 0 || len(s.slots.all) != 0 {
		t.Errorf("left: %d keys, %d slots", n, len(s.slots.all))
	}
}

// TestTake: every byte is announced, and who has no room for them ends the fetch with an error of
// their own.
func TestTake(t *testing.T) {
	s := newSite(t, func(w http.ResponseWriter, r *http.Request) { _, _ = w.Write([]byte(png)) }, nil)
	var took atomic.Int64
	by := Caller{Key: "k", Take: func(n int64) error { took.Add(n); return nil }}
	if _, err := s.Images(t.Context(), by, images("https://example.com/a", "https://example.com/b")); err != nil || took.Load() != 2*int64(len(png)) {
		t.Errorf("%d bytes taken, %v", took.Load(), err)
	}
	full := &fault.Error{Kind: fault.Overloaded, Status: 503}
	by.Take = func(int64) error { return full }
	if _, err := s.Images(t.Context(), by, images("https://example.com/a", "https://example.com/b")); err != full {
		t.Errorf("%v, want Take's own error", err)
	}
}

// victim is a service on loopback that must not be reached: it counts who connects.
func victim(t *testing.T, address string) (port string, connected *atomic.Int64) {
	t.Helper()
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Skip(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	connected = new(atomic.Int64)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			connected.Add(1)
			_ = c.Close()
		}
	}()
	_, port, _ = net.SplitHostPort(l.Addr().String())
	return port, connected
}

// TestNoConnectionToRefusedAddresses: with the real resolver and the real
// dialer, nothing on loopback is reached, by whatever name; nor by the dialer alone,
// which looks at the address that it is about to connect to. The control at its end
// shows that the victim could have been.
func TestNoConnectionToRefusedAddresses(t *testing.T) {
	port, connected := victim(t, "127.0.0.1:0")
	f := New(Config{Enabled: true, MaxBytes: 1000, MaxTotalBytes: 1000, Timeout: 10 * time.Second})
	f.port = port
	dial := f.dial
	var dialed atomic.Int64
	f.dial = func(ctx context.Context, network, address string) (net.Conn, error) {
		dialed.Add(1)
		return dial(ctx, network, address)
	}
	for _, host := range []string{
		"127.0.0.1", "127.1.2.3", "localhost", "localhost.", "[::1]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[::127.0.0.1]", "[64:ff9b::7f00:1]", "[2002:7f00:1::]",
		"0.0.0.0", "[::]", "0", "2130706433", "0x7f000001", "0177.0.0.1", "127.1",
	} {
		_, err := f.Images(t.Context(), Caller{Key: "k"}, images("https://"+host+":"+port+"/"))
		if f := fault.From(err); f.Status != 400 || !strings.Contains(f.Message, "no public address") {
			t.Errorf("%s: %v", host, err)
		}
	}
	if dialed.Load() != 0 || connected.Load() != 0 {
		t.Errorf("%d dialed, %d connections to refused addresses", dialed.Load(), connected.Load())
	}
	for _, address := range []string{"127.0.0.1", "localhost", "::ffff:127.0.0.1", "::1"} { // as if nobody had looked before
		if c, err := dial(t.Context(), "tcp", net.JoinHostPort(address, port)); !errors.Is(err, errAddress) || connected.Load() != 0 {
			t.Errorf("dialed %s: %v, %v", address, c, err)
		}
	}
	if c, err := net.Dial("tcp", "127.0.0.1:"+port); err != nil {
		t.Fatal("the victim can't be reached at all")
	} else {
		_ = c.Close()
	}
}

// TestNoConnectionByRedirectOrRebinding: a public host that leads to a private
// one, or that resolves to another address the second time.
func TestNoConnectionByRedirectOrRebinding(t *testing.T) {
	private := netip.MustParseAddr("10.0.0.5")
	var s *site
	targets := []string{"https://inside.example/", "https://10.0.0.5/", "https://[::ffff:169.254.169.254]/latest/meta-data/", "https://both.example/", "//inside.example/"}
	s = newSite(t, func(w http.ResponseWriter, r *http.Request) {
		var n int
		_, _ = fmt.Sscanf(r.URL.Path, "/%d", &n)
		http.Redirect(w, r, targets[n], http.StatusTemporaryRedirect)
	}, map[string][]netip.Addr{"inside.example": {private}, "both.example": {publicAddress, private}})
	for i := range targets { // the site's dialer fails the test for any other address than its own
		_, err := s.Images(t.Context(), Caller{Key: "k"}, images(fmt.Sprintf("https://example.com/%d", i)))
		if f := fault.From(err); f.Status != 400 || !strings.Contains(f.Message, "no public address") {
			t.Errorf("%s: %v", targets[i], err)
		}
	}
	asked := 0
	s.lookup = func(context.Context, string) ([]netip.Addr, error) {
		if asked++; asked > 1 {
			return []netip.Addr{private}, nil
		}
		return []netip.Addr{publicAddress}, nil
	}
	if _, err := s.Images(t.Context(), Caller{Key: "k"}, images("https://example.com/0")); err == nil || asked != 2 {
		t.Errorf("%v after %d lookups", err, asked) // one for the host, one for where it leads
	}
}

func TestPublic(t *testing.T) {
	for _, a := range []string{"8.8.8.8", "93.184.215.14", "52.216.1.2", "2606:4700::6810:84e5", "2a00:1450:4001:82a::200e", "::ffff:8.8.8.8", "172.15.255.255", "172.32.0.0", "100.63.0.1", "169.253.1.1"} {
		if !public(netip.MustParseAddr(a)) {
			t.Errorf("%s is public", a)
		}
	}
	for _, a := range []string{
		"0.0.0.0", "0.1.2.3", "10.0.0.1", "100.64.0.1", "100.100.100.200", "127.0.0.1", "127.255.255.254", "169.254.169.254", "169.254.170.2", "168.63.129.16", "172.16.0.1", "172.31.255.255",
		"192.0.0.192", "192.0.2.1", "192.88.99.1", "192.168.0.1", "198.18.0.1", "198.19.255.255", "198.51.100.1", "203.0.113.1", "224.0.0.1", "239.1.1.1", "240.0.0.1", "255.255.255.255",
		"::", "::1", "::ffff:10.0.0.1", "::ffff:127.0.0.1", "::ffff:169.254.169.254", "::10.0.0.1", "64:ff9b::a00:1", "64:ff9b:1::1", "100::1", "2001::1", "2001:db8::1", "2002:a00:1::", "3fff::1",
		"fc00::1", "fd00:ec2::254", "fe80::1", "fe80::1%eth0", "2606:4700::1%eth0", "fec0::1", "ff02::1", "4000::1",
	} {
		if public(netip.MustParseAddr(a)) {
			t.Errorf("%s is not public", a)
		}
	}
	if public(netip.Addr{}) {
		t.Error("the zero address is not public")
	}
}

// FuzzURL: whatever a URL says, only public addresses on port 443 are dialed.
func FuzzURL(f *testing.F) {
	for _, s := range []string{"https://example.com/", "https://127.0.0.1/", "https://[::1]:443", "https://a@10.0.0.1", "https://0x7f.1/", "https://example.com:8443/", "https://exa%6dple.com/", "https://[fe80::1%25eth0]/", "https://ⓔxample.com"} {
		f.Add(s)
	}
	fetcher := New(Config{Enabled: true, MaxBytes: 10, MaxTotalBytes: 10, Timeout: time.Second})
	fetcher.lookup = func(_ context.Context, host string) ([]netip.Addr, error) {
		sum := byte(len(host))
		return []netip.Addr{netip.AddrFrom4([4]byte{sum, 1, 1, 1})}, nil
	}
	f.Fuzz(func(t *testing.T, url string) {
		fetcher.dial = func(_ context.Context, _, address string) (net.Conn, error) {
			if a, err := netip.ParseAddrPort(address); err != nil || a.Port() != 443 || !public(a.Addr()) {
				t.Errorf("%q: dialed %s", url, address)
			}
			return nil, errors.New("not dialed")
		}
		if !bytes.HasPrefix([]byte(url), []byte("https://")) {
			return
		}
		if _, err := fetcher.Images(t.Context(), Caller{Key: "k"}, images(url)); fault.From(err).Status != 400 {
			t.Errorf("%q: %v", url, err)
		}
	})
}
