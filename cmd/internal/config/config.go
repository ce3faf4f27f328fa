// Package config reads config.yaml and the environment into one validated Config.
//
// It knows every key, its default and what makes a value wrong, and it owns viper. It does not open
// files that values name (but for TLS and Redis, when asked), does not know resources (those are
// data, behind the Admin API), and keeps nothing. The binaries under cmd call Load once, at start.
//
// A key is named section.key, or section.group.key; its environment override is AISIX_SECTION__KEY. Only variables of
// that shape are ours (one underscore too few is refused as the mistake that it is): AISIX_ADMIN_KEY,
// which the documentation page exports, is not.
package config

import (
	"log/slog"
	"time"
)

// SampleAdminKey is the admin key of the shipped config.yaml. A start with it on an address that
// others can reach is refused unless admin.allow_sample_key says otherwise, and it opens the Admin
// API to requests of this machine only.
const SampleAdminKey = "admin-local-only-change-me"

// Secret is a string that prints, marshals and logs as "[redacted]".
type Secret string

func (Secret) String() string               { return "[redacted]" }
func (Secret) GoString() string             { return "[redacted]" }
func (Secret) MarshalText() ([]byte, error) { return []byte("[redacted]"), nil }
func (Secret) LogValue() slog.Value         { return slog.StringValue("[redacted]") }

// Reveal is the secret itself.
func (s Secret) Reveal() string { return string(s) }

// Config is the whole of config.yaml. docs/configuration.md says what each key means; a test holds
// the two together.
type Config struct {
	Proxy       Proxy       `key:"proxy"`
	Extproc     Extproc     `key:"extproc"`
	Egress      Egress      `key:"egress"`
	Admin       Admin       `key:"admin"`
	Redis       Redis       `key:"redis"`
	Secrets     Secrets     `key:"secrets"`
	Limits      Limits      `key:"limits"`
	Images      Images      `key:"images"`
	Timeouts    Timeouts    `key:"timeouts"`
	Upstream    Upstream    `key:"upstream"`
	Credentials Credentials `key:"credentials"`
	Usage       Usage       `key:"usage"`
	Logging     Logging     `key:"logging"`
	Metrics     Metrics     `key:"metrics"`
}

// Proxy is the listener that callers reach: Envoy's. The bootstrap is generated from it.
type Proxy struct {
	Address        string `key:"address"` // host:port
	TLSCertFile    string `key:"tls_cert_file"`
	TLSKeyFile     string `key:"tls_key_file"`
	MaxBodyBytes   int    `key:"max_body_bytes"`              // of a request, as sent and as decompressed
	MinBodyRate    int    `key:"min_body_rate"`               // bytes a second that a body must bring; 0 asks for nothing
	MaxConnections int    `key:"max_connections"`             // callers' connections at a time
	MaxPerAddress  int    `key:"max_connections_per_address"` // callers' connections of one address; 0: no limit
	MaxMemoryBytes int    `key:"max_memory_bytes"`            // of Envoy's heap
	Workers        int    `key:"workers"`                     // threads of Envoy's that carry calls; 0 goes by the machine
	TrustedHops    int    `key:"trusted_hops"`                // proxies in front of Envoy whose x-forwarded-for counts
	EnvoyAdmin     string `key:"envoy_admin"`                 // unix:/path, or empty: off
	StatsAddress   string `key:"stats_address"`               // host:port of Envoy's own statistics, or empty: off
	CORS           CORS   `key:"cors"`

	// Envoy's end of mutual TLS with extproc.
	ExtprocCAFile   string `key:"extproc_ca_file"`
	ExtprocCertFile string `key:"extproc_cert_file"`
	ExtprocKeyFile  string `key:"extproc_key_file"`
}

// CORS is which pages of browsers may call, by their origins.
type CORS struct {
	AllowOrigins []string `key:"allow_origins"` // exact, with * for subdomains or the port, or * alone
}

// Extproc is where Envoy reaches extproc, and what extproc keeps. Whoever reaches this address can
// pose as Envoy, so that anything but loopback and a Unix socket takes a certificate of its clients.
type Extproc struct {
	Address      string `key:"address"` // host:port or unix:/path
	TLSCertFile  string `key:"tls_cert_file"`
	TLSKeyFile   string `key:"tls_key_file"`
	ClientCAFile string `key:"client_ca_file"`
	// Addresses are where Envoy reaches the extprocs, where it is not at the address of one.
	Addresses    []string `key:"addresses"`
	SnapshotFile string   `key:"snapshot_file"` // what is served, for a start while Redis is away; empty: kept nowhere

	// What one process takes on at a time; 0 goes by its memory.
	MaxCalls         int `key:"max_calls"`          // calls in flight
	MaxCallsPerKey   int `key:"max_calls_per_key"`  // of one API key without a limit on concurrency
	MaxBufferedBytes int `key:"max_buffered_bytes"` // request bodies, and what is made of them

	// MaxDelay is how late Envoy and extproc may get to what the other has sent before new calls are
	// refused; 0 refuses none for that.
	MaxDelay time.Duration `key:"max_delay"`

	// LameDuck is how long new calls are still served after the first signal, while Envoy finds out
	// that they should go elsewhere.
	LameDuck time.Duration `key:"lame_duck"`
}

// Egress is a listener of Envoy's that only extproc reaches: by it go the upstream calls that are
// not a caller's own request going on.
type Egress struct {
	Address    string `key:"address"`     // unix:/path, host:port on loopback, auto, or empty: off
	SecretFile string `key:"secret_file"` // what proves extproc to the listener, where it is host:port
}

// Admin is the Admin API's listener.
type Admin struct {
	Address        string   `key:"address"` // host:port
	Key            Secret   `key:"key"`
	KeyFile        string   `key:"key_file"`
	AllowSampleKey bool     `key:"allow_sample_key"`
	AllowedHosts   []string `key:"allowed_hosts"` // of the headers Host and Origin, beside loopback and address
	TLSCertFile    string   `key:"tls_cert_file"`
	TLSKeyFile     string   `key:"tls_key_file"`
}

// Redis is the store of resources, limits and usage: Redis or Valkey.
type Redis struct {
	URL      string `key:"url"` // redis://, rediss:// or unix://; may hold user and password
	Username string `key:"username"`
	Password Secret `key:"password"`
	// Files with the same, in place of the values.
	URLFile      string `key:"url_file"`
	PasswordFile string `key:"password_file"`

	CAFile   string        `key:"ca_file"`
	CertFile string        `key:"cert_file"`
	KeyFile  string        `key:"key_file"`
	Timeout  time.Duration `key:"timeout"` // of connecting and of one command
}

// Secrets is what seals provider keys at rest. admin and extproc need the same one.
type Secrets struct {
	MasterKey     Secret `key:"master_key"`
	MasterKeyFile string `key:"master_key_file"`
	// PreviousMasterKeyFile is the key that master_key replaces: what it sealed still opens.
	PreviousMasterKeyFile string `key:"previous_master_key_file"`
}

// Limits is what to do about rate limits.
type Limits struct {
	OnRedisFailure string `key:"on_redis_failure"` // local, open or closed
}

// Images is whether and how far images are fetched that callers name by an https: URL.
type Images struct {
	Fetch         bool          `key:"fetch"`
	MaxBytes      int           `key:"max_bytes"`       // of one image
	MaxTotalBytes int           `key:"max_total_bytes"` // of the images of one request
	Timeout       time.Duration `key:"timeout"`         // for all of them
}

// Timeouts are the waits that are not a resource's own.
type Timeouts struct {
	FirstByte time.Duration `key:"first_byte"` // before a new connection has said anything
	Idle      time.Duration `key:"idle"`       // of a connection without a request
	Request   time.Duration `key:"request"`    // for receiving a caller's whole request
	Body      time.Duration `key:"body"`       // over which a body must keep proxy.min_body_rate
	Connect   time.Duration `key:"connect"`    // to an upstream
	Call      time.Duration `key:"call"`       // a whole call, where the model does not say
	StreamGap time.Duration `key:"stream_gap"` // before the first and between chunks, where the model does not say
	KeepAlive time.Duration `key:"keep_alive"` // silence before a comment line in an SSE stream
	Drain     time.Duration `key:"drain"`      // for calls in flight after the first signal
}

// Upstream is how Bedrock is reached.
type Upstream struct {
	CAFile       string `key:"ca_file"`        // PEM bundle of CAs beside the system's, for https endpoints
	CountInEnvoy bool   `key:"count_in_envoy"` // Envoy counts the tokens of streams that pass as they are
	HTTP2        bool   `key:"http2"`          // with the hosts that agree to it
}

// Credentials is what of extproc's host provider keys may use, and where STS is.
type Credentials struct {
	Ambient     bool     `key:"ambient"`      // what the host itself has
	TokenDirs   []string `key:"token_dirs"`   // under which web identity tokens may lie
	STSEndpoint string   `key:"sts_endpoint"` // a private STS; empty: AWS's of the provider key's region
}

// Usage is where records wait while Redis is away.
type Usage struct {
	SpoolDir string `key:"spool_dir"`
}

// Logging is what goes to standard error.
type Logging struct {
	Level string `key:"level"` // debug, info, warn or error
}

// Metrics is Prometheus's listener.
type Metrics struct {
	Address   string `key:"address"`   // host:port, or empty: off
	Profiling bool   `key:"profiling"` // the CPU profile too, on loopback only
}

// Default is the configuration of an empty file and an empty environment.
func Default() *Config {
	return &Config{
		Proxy: Proxy{
			Address:        "0.0.0.0:3000",
			MaxBodyBytes:   10 << 20,
			MinBodyRate:    1000,
			MaxConnections: 10_000,
			MaxMemoryBytes: 2 << 30,
		},
		Extproc: Extproc{Address: "unix:/run/aisix/extproc.sock", MaxDelay: 50 * time.Millisecond, LameDuck: 5 * time.Second},
		Egress:  Egress{Address: EgressAuto},
		Admin:   Admin{Address: "127.0.0.1:3001"},
		Redis:   Redis{URL: "redis://127.0.0.1:6379", Timeout: time.Second},
		Limits:  Limits{OnRedisFailure: "local"},
		Images:  Images{MaxBytes: 5 << 20, MaxTotalBytes: 16 << 20, Timeout: 10 * time.Second},
		Timeouts: Timeouts{
			FirstByte: 15 * time.Second,
			Idle:      10 * time.Minute,
			Request:   5 * time.Minute,
			Body:      20 * time.Second,
			Connect:   5 * time.Second,
			Call:      30 * time.Minute,
			StreamGap: 10 * time.Minute,
			KeepAlive: 15 * time.Second,
			Drain:     30 * time.Minute,
		},
		Logging: Logging{Level: "info"},
		Metrics: Metrics{Address: "127.0.0.1:9090"},
	}
}
