package envoy

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"time"
)

// BodyMode is how Envoy hands request bodies to extproc. Answers always come
// in full duplex.
type BodyMode string

const (
	// FullDuplex passes chunks on as they come and lets extproc answer the request
	// headers after the body. Needs Envoy 1.38 or newer for a content-length that
	// reaches AWS.
	FullDuplex BodyMode = "full_duplex"
	// Buffered hands the body over as one piece, at most MaxRequestBytes; for meshes
	// with Envoy 1.36 or 1.37.
	Buffered BodyMode = "buffered"
)

// The Envoys that are known: 1.36 has the first ext_proc that suits, and each of
// these was tried.
const (
	oldest = 36
	newest = 40
)

// DefaultCAFile is where Debian, Ubuntu and Alpine keep the public CAs.
const DefaultCAFile = "/etc/ssl/certs/ca-certificates.crt"

// Options is what may differ between two Envoys of this gateway. Defaults
// returns the values that the documentation names; the zero Options is not
// usable.
type Options struct {
	Listen  string // where callers come in, "ip:port"
	ExtProc string // extproc's gRPC address: "host:port" or "unix:/absolute/path"
	// MoreExtProcs are further ones, among all of which the calls are shared: one can be
	// replaced, or die, while the others serve.
	MoreExtProcs []string
	// ExtProcCAFile, ExtProcCertFile and ExtProcKeyFile (PEM, absolute paths) are mutual
	// TLS with extproc: the CA of its certificate, which must be for the host of ExtProc, and
	// Envoy's own certificate and key. All or none; needed where an address is neither a
	// socket nor loopback.
	ExtProcCAFile, ExtProcCertFile, ExtProcKeyFile string
	// AdminSocket is the absolute path of the Unix socket for Envoy's admin
	// interface (mode 0600); "" leaves the interface off. There is no TCP form: who
	// reaches it can stop Envoy and read its configuration.
	AdminSocket string
	// Egress is where extproc comes in with the attempts that it makes itself:
	// "unix:/absolute/path", or "ip:port" on loopback with EgressSecret, which each of its
	// requests must carry then. "" has no such listener.
	Egress, EgressSecret string
	// Reconnects leaves it to extproc to try again, by Egress, what no upstream has taken:
	// Envoy then keeps no request for that. It can't where answers pass extproc by (CountInEnvoy).
	Reconnects bool

	// StatisticsListen is where Envoy's own statistics are served for Prometheus, and
	// nothing else of its admin interface, which they take; "" serves them nowhere.
	StatisticsListen string

	// Version is which Envoy 1.x takes the configuration: fields that it would refuse
	// are left out. What `make run` fetches is the newest known, and the default.
	Version  int
	BodyMode BodyMode
	// CountInEnvoy has Envoy count the tokens of server-sent events, whose bodies extproc then
	// need not see. Needs Envoy 1.40 and FullDuplex.
	CountInEnvoy bool

	// UpstreamHTTP2 has Envoy speak HTTP/2 to the hosts that agree to it by ALPN: many calls then
	// share a connection. Without TLS it is HTTP/1.1 as ever.
	UpstreamHTTP2 bool

	// TLSCertFile and TLSKeyFile (PEM, absolute paths) switch Listen to TLS. Both
	// or none.
	TLSCertFile, TLSKeyFile string
	// UpstreamCAFile is the one bundle (PEM) that Bedrock's certificate must chain
	// to. For a private CA beside the public ones, see CABundle.
	UpstreamCAFile string

	// SecretsDir is the folder (absolute) of the files that Secrets makes: certificates
	// are then read anew when they are renewed. Without it, once.
	SecretsDir string
	// Respelled has Secrets name its files in other words (/etc/tls/./tls.crt): Envoy reads files anew
	// where they were moved, or where their names are new to it.
	Respelled bool

	// MaxRequestBytes is the largest request body. extproc enforces it, after it
	// knows the key (the contract checks the key first); Envoy does so only where
	// it buffers the body (Buffered).
	MaxRequestBytes int64
	// AllowOrigins are the origins of web pages that may call from a browser: exact, with
	// * for the labels before a domain (https://*.example.com) or for the port, or * for
	// all. None: no CORS headers.
	AllowOrigins []string
	// TrustedHops is the number of proxies in front of Envoy whose X-Forwarded-For
	// entries are believed; 0 takes the peer's address.
	TrustedHops int

	// FirstByteTimeout is how long a new connection may say nothing.
	FirstByteTimeout time.Duration
	// IdleTimeout is how long a connection may stay open without a request under way.
	IdleTimeout time.Duration
	// RequestTimeout bounds the receiving of one whole request, headers included.
	RequestTimeout time.Duration
	// StreamIdleTimeout ends a request on which no byte moved in either direction.
	// extproc's own deadlines (a model's timeout and stream_timeout) come first:
	// this one is the net below them and must be longer than any of them.
	StreamIdleTimeout time.Duration
	// FlushTimeout is how long a caller may leave the rest of a finished answer
	// unread.
	FlushTimeout time.Duration
	// ExtProcSilence is after how long a silent extproc is asked whether it is there,
	// and how long its answer may take before what is under way there is ended.
	ExtProcSilence time.Duration
	// HealthInterval is how often each extproc is asked whether it is ready. One that is
	// not gets no new calls while another is.
	HealthInterval time.Duration
	// StallTimeout is how long a caller may take nothing of what is sent to it, in the
	// middle of an answer too, before its connection is closed; 0 waits for ever. It is
	// an option of Linux's TCP. A model's stream_timeout should be longer: a caller who
	// stalls keeps Envoy from reading the upstream, which then looks silent.
	StallTimeout time.Duration
	// ConnectTimeout bounds TCP and TLS to Bedrock.
	ConnectTimeout time.Duration
	// DrainTimeout is the grace between the GOAWAY that announces the end of an
	// HTTP/2 connection and the one that refuses new streams.
	DrainTimeout time.Duration

	// MaxConnections bounds callers' open connections; one more is closed at once.
	MaxConnections int
	// MaxPerAddress bounds them by address; 0 does not. extproc counts them, since
	// Envoy can't.
	MaxPerAddress int
	// MaxUpstream bounds connections to, and requests under way at, Bedrock and
	// extproc. Envoy's own default, 1024, is less than a busy gateway holds open.
	MaxUpstream int
	// MaxMemoryBytes is the heap that Envoy may fill. Close to it, it takes no new
	// requests, and ends those that hold most.
	MaxMemoryBytes int64
}

// Defaults is what the shipped configuration asks for.
func Defaults() Options {
	return Options{
		Listen:            "0.0.0.0:3000",
		ExtProc:           "unix:/run/aisix/extproc.sock",
		Version:           newest,
		BodyMode:          FullDuplex,
		UpstreamCAFile:    DefaultCAFile,
		MaxRequestBytes:   10 << 20,
		FirstByteTimeout:  15 * time.Second,
		IdleTimeout:       10 * time.Minute, // longer than most load balancers keep theirs
		RequestTimeout:    5 * time.Minute,
		StreamIdleTimeout: time.Hour,
		FlushTimeout:      2 * time.Minute,
		ExtProcSilence:    3 * time.Second,
		HealthInterval:    2 * time.Second, // extproc.lame_duck must be longer
		StallTimeout:      time.Minute,
		ConnectTimeout:    5 * time.Second,
		DrainTimeout:      10 * time.Second,
		MaxConnections:    10_000,
		MaxUpstream:       10_000,
		MaxMemoryBytes:    2 << 30,
	}
}

// since reports whether Envoy is 1.version or newer.
func (o Options) since(version int) bool { return o.Version >= version }

// check reports everything that is wrong with o at once.
func (o Options) check() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }

	if _, err := netip.ParseAddrPort(o.Listen); err != nil {
		bad("listen %q: want ip:port", o.Listen)
	}
	errs = append(errs, o.checkExtProcs()...)
	if o.StatisticsListen != "" {
		if _, err := netip.ParseAddrPort(o.StatisticsListen); err != nil {
			bad("statistics listen %q: want ip:port", o.StatisticsListen)
		}
		if o.AdminSocket == "" {
			bad("statistics: they are a page of the admin interface, so set its socket too (proxy.envoy_admin)")
		}
	}
	errs = append(errs, o.checkEgress()...)
	if o.BodyMode != FullDuplex && o.BodyMode != Buffered {
		bad("body mode %q: want %s or %s", o.BodyMode, FullDuplex, Buffered)
	}
	if o.Version < oldest || o.Version > newest {
		bad("envoy version 1.%d: want 1.%d to 1.%d", o.Version, oldest, newest)
	} else if o.BodyMode == FullDuplex && !o.since(38) {
		bad("body mode %s: want Envoy 1.38 or newer, or %s", FullDuplex, Buffered)
	}
	if o.CountInEnvoy && (!o.since(40) || o.BodyMode != FullDuplex) {
		bad("count in Envoy: want Envoy 1.40 or newer, and body mode %s", FullDuplex)
	}
	if (o.TLSCertFile == "") != (o.TLSKeyFile == "") {
		bad("tls: certificate and key go together")
	}
	if o.UpstreamCAFile == "" {
		bad("upstream CA file: empty")
	}
	for _, f := range []struct{ name, path string }{
		{"admin socket", o.AdminSocket}, {"tls certificate", o.TLSCertFile}, {"tls key", o.TLSKeyFile}, {"upstream CA file", o.UpstreamCAFile}, {"secrets folder", o.SecretsDir},
		{"extproc's CA file", o.ExtProcCAFile}, {"certificate for extproc", o.ExtProcCertFile}, {"key for extproc", o.ExtProcKeyFile},
	} {
		if f.path != "" && !filepath.IsAbs(f.path) {
			bad("%s %q: want an absolute path", f.name, f.path)
		}
	}
	for _, n := range []struct {
		name string
		v    int64
	}{{"max request bytes", o.MaxRequestBytes}, {"max connections", int64(o.MaxConnections)}, {"max upstream", int64(o.MaxUpstream)}} {
		if n.v <= 0 || n.v > 1<<31 {
			bad("%s %d: want 1 to 2^31", n.name, n.v)
		}
	}
	for _, origin := range o.AllowOrigins {
		if err := checkOrigin(origin); err != nil {
			errs = append(errs, err)
		}
	}
	if o.MaxPerAddress < 0 {
		bad("max connections per address %d: want 0 or more", o.MaxPerAddress)
	}
	if o.MaxMemoryBytes <= 0 {
		bad("max memory bytes %d: must be positive", o.MaxMemoryBytes)
	}
	if o.TrustedHops < 0 || o.TrustedHops > 32 {
		bad("trusted hops %d: want 0 to 32", o.TrustedHops)
	}
	for _, d := range []struct {
		name string
		v    time.Duration
	}{
		{"first byte timeout", o.FirstByteTimeout}, {"idle timeout", o.IdleTimeout}, {"request timeout", o.RequestTimeout},
		{"stream idle timeout", o.StreamIdleTimeout}, {"flush timeout", o.FlushTimeout},
		{"extproc silence", o.ExtProcSilence}, {"health interval", o.HealthInterval}, {"connect timeout", o.ConnectTimeout}, {"drain timeout", o.DrainTimeout},
	} {
		if d.v <= 0 { // 0 is "never" to Envoy, or "at once": either way not what was meant
			bad("%s %v: must be positive", d.name, d.v)
		}
	}
	if o.StallTimeout < 0 || o.StallTimeout > time.Hour {
		bad("stall timeout %v: want 0 to 1h", o.StallTimeout)
	}
	return errors.Join(errs...)
}

// SystemCAFile finds the public CAs of this machine: the first that exists of
// the places where distributions keep them, DefaultCAFile if none does.
func SystemCAFile() string {
	for _, p := range []string{DefaultCAFile, "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem", "/etc/ssl/ca-bundle.pem"} {
		if _, err := os.Stat(p); err == nil {
			return p
		}
	}
	return DefaultCAFile
}
