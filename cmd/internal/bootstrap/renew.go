package bootstrap

import (
	"context"
	"crypto/sha256"
	"log/slog"
	"os"
	"time"

	"aisix/cmd/internal/config"
)

// every is how often Follow looks at the files.
const every = 2 * time.Second

// Follow has the Envoy of the start file at path take up certificates, keys and CAs that were changed, until
// ctx ends. Envoy itself notices what is moved into their folders; what is written over, as `cp` and many
// clients of a CA do, only we do. What cannot be used, a key that does not fit yet, is left alone and said.
func Follow(ctx context.Context, c *config.Config, path string, log *slog.Logger) {
	f := follower{config: c, path: path, log: log}
	f.seen = f.sum()
	for ticks := time.Tick(every); ; {
		select {
		case <-ctx.Done():
			return
		case <-ticks:
			f.look()
		}
	}
}

type follower struct {
	config    *config.Config
	path      string
	log       *slog.Logger
	seen      [sha256.Size]byte // of what was read last
	respelled bool
}

// look reads the files, and writes anew what Envoy has of them where they are others than the last time.
func (f *follower) look() {
	sum := f.sum()
	if sum == f.seen {
		return
	}
	f.seen = sum
	if err := write(f.config, f.path, !f.respelled); err != nil {
		f.log.Error("changed certificates cannot be used: those before stay in force", "error", err)
		return
	}
	f.respelled = !f.respelled
	f.log.Info("changed certificates were handed to Envoy")
}

// sum is of all that is in the files. One that cannot be read is as good as empty.
func (f *follower) sum() (sum [sha256.Size]byte) {
	p := f.config.Proxy
	h := sha256.New()
	for _, path := range []string{p.TLSCertFile, p.TLSKeyFile, p.ExtprocCertFile, p.ExtprocKeyFile, p.ExtprocCAFile, f.config.Upstream.CAFile} {
		content, _ := os.ReadFile(path)
		one := sha256.Sum256(content)
		h.Write(one[:])
	}
	h.Sum(sum[:0])
	return sum
}
