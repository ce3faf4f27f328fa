package config

import (
	"context"
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
	dial := options.Dialer
	if dial == nil {
		dial = redis.NewDialer(options)
	}
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
	if options.TLSConfig != nil {
		now, err := r.clientTLS(options.TLSConfig)
		if err != nil {
			return nil, err
		}
		options.TLSConfig = now()
		options.Dialer = func(ctx context.Context, network, address string) (net.Conn, error) {
			return redis.NewDialer(&redis.Options{TLSConfig: now(), DialTimeout: r.Timeout})(ctx, network, address)
		}
	}
	return options, nil
}

// Network is e.Address as net.Listen wants it: "tcp" and host:port, or "unix" and a path.
func (e Extproc) Network() (network, address string) { return Network(e.Address) }

// Network is an address of unix:/path or host:port as net.Dial wants it.
func Network(of string) (network, address string) {
	if path, ok := strings.CutPrefix(of, "unix:"); ok {
		return "unix", path
	}
	return "tcp", of
}

// Logger writes JSON lines to w, from the configured level on.
func (l Logging) Logger(w io.Writer) *slog.Logger {
	var level slog.Level
	if err := level.UnmarshalText([]byte(l.Level)); err != nil {
		level = slog.LevelInfo
	}
	return slog.New(slog.NewJSONHandler(w, &slog.HandlerOptions{Level: level}))
}
