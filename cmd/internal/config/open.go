package config

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"

	"github.com/redis/go-redis/v9"

	"aisix/extproc/sockets"
)

// Client makes a client that tells soon when Redis is away and never sends a command twice: whoever
// wants to try again knows whether that is safe. Its own words go to log. It does not connect yet.
func (r Redis) Client(log *slog.Logger) (*redis.Client, error) {
	options, err := r.Options()
	if err != nil {
		return nil, err
	}
	for key, path := range map[string]string{"redis.url_file": r.URLFile, "redis.password_file": r.PasswordFile} {
		if path != "" {
			warnOfMode(log, key, path)
		}
	}
	redis.SetLogger(redisLog{log}) // of the whole process
	dial := redis.NewDialer(options)
	options.Dialer = func(ctx context.Context, network, address string) (net.Conn, error) {
		nc, err := dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		return sockets.Conn(nc), nil
	}
	return redis.NewClient(options), nil
}

// redisLog has what the client says by itself at debug: its callers log what matters, once.
type redisLog struct{ log *slog.Logger }

func (l redisLog) Printf(ctx context.Context, format string, args ...any) {
	l.log.DebugContext(ctx, "redis client", "message", fmt.Sprintf(format, args...))
}

// Options is how a client of Redis is made. It reads the files that the section names.
func (r Redis) Options() (*redis.Options, error) {
	key, address, err := r.url()
	if err != nil {
		return nil, err
	}
	options, err := redis.ParseURL(address)
	if err != nil {
		return nil, fmt.Errorf("%s: cannot be parsed", key) // the parser's words may hold the password
	}
	if r.Username != "" {
		options.Username = r.Username
	}
	password, err := r.password()
	if err != nil {
		return nil, err
	}
	if password != "" {
		options.Password = password
	}
	if user := options.Username; r.PasswordFile != "" {
		options.CredentialsProviderContext = func(context.Context) (string, string, error) {
			password, err := r.password()
			return user, password, err
		}
	}
	options.DialTimeout, options.ReadTimeout, options.WriteTimeout = r.Timeout, r.Timeout, r.Timeout
	options.ContextTimeoutEnabled, options.MaxRetries, options.DialerRetries = true, -1, 1
	if options.TLSConfig == nil {
		return options, nil
	}
	options.TLSConfig.MinVersion = tls.VersionTLS12
	if r.CAFile != "" {
		if options.TLSConfig.RootCAs, err = pool("redis.ca_file", r.CAFile); err != nil {
			return nil, err
		}
	}
	if r.CertFile != "" {
		cert, err := tls.LoadX509KeyPair(r.CertFile, r.KeyFile)
		if err != nil {
			return nil, fmt.Errorf("redis.cert_file: %w", err)
		}
		options.TLSConfig.Certificates = []tls.Certificate{cert}
	}
	return options, nil
}

// TLS is the server side of the Admin API; nil when it is plaintext.
func (a Admin) TLS() (*tls.Config, error) {
	return serverTLS("admin.tls_cert_file", a.TLSCertFile, a.TLSKeyFile)
}

// TLS is the server side of extproc, which asks its clients for a certificate where a CA for them
// is set; nil when it is plaintext.
func (e Extproc) TLS() (*tls.Config, error) {
	c, err := serverTLS("extproc.tls_cert_file", e.TLSCertFile, e.TLSKeyFile)
	if c == nil || err != nil || e.ClientCAFile == "" {
		return c, err
	}
	c.ClientAuth = tls.RequireAndVerifyClientCert
	c.ClientCAs, err = pool("extproc.client_ca_file", e.ClientCAFile)
	return c, err
}

// Network is e.Address as net.Listen wants it: "tcp" and host:port, or "unix" and a path.
func (e Extproc) Network() (network, address string) {
	if path, ok := strings.CutPrefix(e.Address, "unix:"); ok {
		return "unix", path
	}
	return "tcp", e.Address
}

// Logger writes JSON lines to w, from the configured level on.
func (l Logging) Logger(w io.Writer) *slog.Logger {
	var level slog.Level
	if err := level.UnmarshalText([]byte(l.Level)); err != nil {
		level = slog.LevelInfo
	}
	return slog.New(slog.NewJSONHandler(w, &slog.HandlerOptions{Level: level}))
}

func serverTLS(key, certFile, keyFile string) (*tls.Config, error) {
	if certFile == "" {
		return nil, nil
	}
	cert, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", key, err)
	}
	return &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12}, nil
}

func pool(key, path string) (*x509.CertPool, error) {
	pem, err := readFile(key, path)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s: %s holds no PEM certificate", key, path)
	}
	return pool, nil
}
