package envoy_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"aisix/envoy"
	"aisix/envoy/envoytest"
	"aisix/extproc/egress"
)

const egressSecret = "correct-horse-battery-staple"

// withEgress starts Envoy with an egress listener on a Unix socket.
func withEgress(t *testing.T, o envoy.Options) (*egress.Client, *envoytest.Envoy) {
	t.Helper()
	path := filepath.Join(envoytest.SocketDir(t), "egress.sock")
	o.Egress = "unix:" + path
	b, err := envoy.Bootstrap(o)
	if err != nil {
		t.Fatal(err)
	}
	e := envoytest.Start(t, b)
	awaitSocket(t, "unix", path)
	c := egress.New(egress.Options{Network: "unix", Address: path, Secret: o.EgressSecret})
	t.Cleanup(c.Close)
	return c, e
}

// awaitSocket waits until somebody listens: Envoy's main thread is up before its workers are.
func awaitSocket(t *testing.T, network, address string) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(time.Millisecond) {
		nc, err := net.Dial(network, address)
		if err == nil {
			nc.Close()
			return
		}
		if time.Now().After(end) {
			t.Fatal(err)
		}
	}
}

func ask(t *testing.T, c *egress.Client, raw string) (r *egress.Response, body string, err error) {
	t.Helper()
	u, err := url.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	r, err = c.Post(t.Context(), egress.Request{URL: u, Header: http.Header{"X-Signed": {u.Host}}, Body: []byte("{}")}, time.Now().Add(20*time.Second))
	if err != nil {
		return nil, "", err
	}
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	return r, string(b), err
}

// The upstream gets from the egress listener what it gets from the callers': the host that was
// named in Host, SNI and certificate, the path as it was signed, and nothing of what led there.
func TestTheWireOfEgress(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t)
	o := options(t)
	o.UpstreamCAFile = write(t, "ca.pem", ca.pem())
	plain := newWire(t, "127.0.0.1", nil)
	secure := newWire(t, "127.0.0.1", ca.issueFor(t, []string{"localhost", "a.localhost"}, net.ParseIP("127.0.0.1")))
	c, _ := withEgress(t, o)
	for _, test := range []struct {
		w            *wire
		scheme, host string
		sni          string
		fails        bool
	}{
		{w: plain, scheme: "http", host: "127.0.0.1:" + plain.port()},
		{w: secure, scheme: "https", host: "localhost:" + secure.port(), sni: "localhost"},
		{w: secure, scheme: "https", host: "b.localhost:" + secure.port(), fails: true},
		{w: secure, scheme: "https", host: "a.localhost:" + secure.port(), sni: "a.localhost"},
		{w: secure, scheme: "http", host: "127.0.0.1:" + secure.port(), fails: true},
		{w: plain, scheme: "https", host: "127.0.0.1:" + plain.port(), fails: true},
	} {
		test.w.take()
		r, body, err := ask(t, c, test.scheme+"://"+test.host+"/model/m/converse")
		heads, names := test.w.take()
		if test.fails {
			if err != nil || !r.Local || r.Status != 503 || len(heads) > 0 {
				t.Errorf("%+v: %+v %v, went out: %q", test, r, err, heads)
			}
			continue
		}
		if err != nil || r.Status != 200 || r.Local || body != "fine" || len(heads) != 1 {
			t.Fatalf("%+v: %+v %q %v, went out: %q", test, r, body, err, heads)
		}
		wantHead(t, heads[0], test.host)
		for _, word := range []string{"user-agent", "accept-encoding", "via:", "server"} {
			if strings.Contains(strings.ToLower(heads[0]), word) {
				t.Errorf("%s in %q", word, heads[0])
			}
		}
		if test.sni != "" && (len(names) != 1 || names[0] != test.sni) {
			t.Errorf("SNI %q, want %q", names, test.sni)
		}
	}
}

// Whose an answer is: an upstream that says of itself that it is Envoy is believed nothing.
func TestWhoseAnAnswerIs(t *testing.T) {
	t.Parallel()
	hang := make(chan struct{})
	u := newUpstream(t, httptest.NewServer, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/reset":
			panic(http.ErrAbortHandler)
		case "/half":
			w.Header().Set("Content-Length", "9")
			io.WriteString(w, "half")
			w.(http.Flusher).Flush()
			panic(http.ErrAbortHandler)
		case "/hang":
			select {
			case <-r.Context().Done():
				close(hang)
			case <-t.Context().Done():
			}
		default:
			w.Header().Set(envoy.DetailsHeader, "direct_response")
			w.WriteHeader(503)
			io.WriteString(w, "busy")
		}
	})
	c, e := withEgress(t, options(t))
	r, body, err := ask(t, c, u.URL+"/lies")
	if err != nil || r.Status != 503 || r.Local || body != "busy" {
		t.Errorf("%+v %q %v", r, body, err)
	}
	for _, raw := range []string{u.URL + "/reset", "http://127.0.0.1:1/", "http://nowhere.invalid/"} {
		if r, _, err := ask(t, c, raw); err != nil || r.Status != 503 || !r.Local || r.Details == "" {
			t.Errorf("%s: %+v %v", raw, r, err)
		}
	}
	if r, body, err := ask(t, c, u.URL+"/half"); !errors.Is(err, egress.ErrBroken) || r.Local || body != "half" {
		t.Errorf("%+v %q %v", r, body, err)
	}
	// Who asks leaves, and the upstream hears of it.
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	at, _ := url.Parse(u.URL + "/hang")
	if _, err := c.Post(ctx, egress.Request{URL: at, Header: http.Header{}}, time.Now().Add(time.Minute)); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
	select {
	case <-hang:
	case <-time.After(10 * time.Second):
		t.Error("the upstream was not told that nobody waits")
	}
	if n := e.Stat(t, "cluster.bedrock_plaintext.upstream_rq_total"); n < 4 {
		t.Errorf("%d requests in the cluster's statistics", n)
	}
	if n := e.Stat(t, "http.egress.downstream_cx_total"); n > 5 {
		t.Errorf("%d connections to the listener for 6 requests", n)
	}
}

// The listener is no proxy for anybody: without extproc's headers, and its secret where there
// is one, nothing leaves.
func TestNobodyElseLeavesByEgress(t *testing.T) {
	t.Parallel()
	u := newUpstream(t, httptest.NewServer, ok)
	o := options(t)
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := free.Addr().String()
	free.Close()
	o.Egress, o.EgressSecret = address, egressSecret
	b, err := envoy.Bootstrap(o)
	if err != nil {
		t.Fatal(err)
	}
	callers := envoytest.Start(t, b).Address(t, "callers")
	awaitSocket(t, "tcp", address)
	out := envoy.EgressHeader + ": plaintext\r\n" + envoy.HostHeader + ": " + u.host() + "\r\n"
	for name, request := range map[string]string{
		"nothing":          "POST / HTTP/1.1\r\nhost: " + u.host() + "\r\ncontent-length: 0\r\n\r\n",
		"no secret":        "POST / HTTP/1.1\r\nhost: e\r\n" + out + "content-length: 0\r\n\r\n",
		"a wrong secret":   "POST / HTTP/1.1\r\nhost: e\r\n" + out + envoy.SecretHeader + ": " + egressSecret + "x\r\ncontent-length: 0\r\n\r\n",
		"no host":          "POST / HTTP/1.1\r\nhost: " + u.host() + "\r\n" + envoy.EgressHeader + ": plaintext\r\n" + envoy.SecretHeader + ": " + egressSecret + "\r\ncontent-length: 0\r\n\r\n",
		"no egress":        "POST / HTTP/1.1\r\nhost: " + u.host() + "\r\n" + envoy.HostHeader + ": " + u.host() + "\r\n" + envoy.SecretHeader + ": " + egressSecret + "\r\ncontent-length: 0\r\n\r\n",
		"absolute":         "GET " + u.URL + "/ HTTP/1.1\r\nhost: " + u.host() + "\r\n\r\n",
		"CONNECT":          "CONNECT " + u.host() + " HTTP/1.1\r\nhost: " + u.host() + "\r\n\r\n",
		"CONNECT and host": "CONNECT " + u.host() + " HTTP/1.1\r\nhost: " + u.host() + "\r\n" + out + "\r\n",
		"an upgrade":       "GET / HTTP/1.1\r\nhost: " + u.host() + "\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n",
	} {
		if a := raw(t, address, request); a.status != 404 && a.status != 403 && a.status != 400 {
			t.Errorf("%s: %d %s", name, a.status, a.body)
		}
	}
	// Nor does the secret open anything to callers.
	wantError(t, post(t, callers, "{}", "Host", u.host(), envoy.EgressHeader, "plaintext", envoy.HostHeader, u.host(), envoy.SecretHeader, egressSecret), 503, "gateway_unavailable")
	if n := len(u.requests()); n != 0 {
		t.Fatalf("%d requests left", n)
	}
	c := egress.New(egress.Options{Network: "tcp", Address: address, Secret: egressSecret})
	defer c.Close()
	if r, body, err := ask(t, c, u.URL+"/"); err != nil || r.Status != 200 || body != "fine" {
		t.Fatalf("with the secret: %+v %q %v", r, body, err)
	}
	for name := range u.requests()[0].Header {
		if lower := strings.ToLower(name); strings.HasPrefix(lower, "x-aisix") || strings.HasPrefix(lower, "x-envoy") || strings.HasPrefix(lower, "x-forwarded") {
			t.Errorf("%s went out", name)
		}
	}
}

// The socket is its owner's and the group's, and replaces one that a dead Envoy left.
func TestEgressSocket(t *testing.T) {
	t.Parallel()
	o := options(t)
	path := filepath.Join(envoytest.SocketDir(t), "egress.sock")
	left, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	left.SetUnlinkOnClose(false)
	left.Close()
	o.Egress = "unix:" + path
	b, err := envoy.Bootstrap(o)
	if err != nil {
		t.Fatal(err)
	}
	envoytest.Start(t, b)
	awaitSocket(t, "unix", path)
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o660 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
}

// A body that is longer than a buffer goes both ways, and a slow reader is waited for.
func TestEgressOfLargeBodies(t *testing.T) {
	t.Parallel()
	large := strings.Repeat("x", 3<<20)
	u := newUpstream(t, httptest.NewServer, func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, large) })
	c, _ := withEgress(t, options(t))
	at, _ := url.Parse(u.URL + "/")
	r, err := c.Post(t.Context(), egress.Request{URL: at, Header: http.Header{}, Body: []byte(large)}, time.Now().Add(20*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	if body, err := io.ReadAll(r.Body); err != nil || string(body) != large || u.size[0] != int64(len(large)) {
		t.Errorf("%d of %d bytes came back, %d went out, %v", len(body), len(large), u.size[0], err)
	}
}

func TestEgressOptions(t *testing.T) {
	for name, change := range map[string]func(o *envoy.Options){
		"not loopback": func(o *envoy.Options) { o.Egress, o.EgressSecret = "0.0.0.0:3003", egressSecret },
		"no secret":    func(o *envoy.Options) { o.Egress = "127.0.0.1:3003" },
		"short secret": func(o *envoy.Options) { o.Egress, o.EgressSecret = "127.0.0.1:3003", "short" },
		"secret":       func(o *envoy.Options) { o.Egress, o.EgressSecret = "unix:/run/e", "with a space in it, long" },
		"relative":     func(o *envoy.Options) { o.Egress = "unix:run/e" },
		"name":         func(o *envoy.Options) { o.Egress, o.EgressSecret = "localhost:3003", egressSecret },
	} {
		o := envoy.Defaults()
		change(&o)
		if _, err := envoy.Bootstrap(o); err == nil || !strings.Contains(err.Error(), "egress") || strings.Contains(err.Error(), o.EgressSecret) && o.EgressSecret != "" {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// The listener of the fragments works in somebody else's Envoy, with the clusters of the fragments.
func TestEgressAttached(t *testing.T) {
	t.Parallel()
	folder := map[bool]string{true: "envoy-1.39", false: "envoy-1.36"}[envoytest.Version(t) >= 39]
	u := newUpstream(t, httptest.NewServer, ok)
	root := attached(t, folder)
	resources := root["static_resources"].(map[string]any)
	listeners := load(t, filepath.Join("..", "deploy", "attach", folder, "egress.yaml"))["listeners"].([]any)
	resources["listeners"] = append(resources["listeners"].([]any), listeners...)
	path := filepath.Join(envoytest.SocketDir(t), "egress.sock")
	b := places(t, root, "unix:"+socket(t), u.host())
	envoytest.Start(t, []byte(strings.ReplaceAll(string(b), "/run/aisix/egress.sock", path)))
	awaitSocket(t, "unix", path)
	c := egress.New(egress.Options{Network: "unix", Address: path})
	defer c.Close()
	if r, body, err := ask(t, c, u.URL+"/"); err != nil || r.Status != 200 || r.Local || body != "fine" {
		t.Fatalf("%+v %q %v", r, body, err)
	}
	for name := range u.requests()[0].Header {
		if lower := strings.ToLower(name); strings.HasPrefix(lower, "x-aisix") || strings.HasPrefix(lower, "x-envoy") || strings.HasPrefix(lower, "x-forwarded") {
			t.Errorf("%s went out", name)
		}
	}
}
