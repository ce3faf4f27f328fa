// Package stack runs the whole gateway on one machine: Valkey, admin, extproc, Envoy and the
// Bedrock simulator, each a process of its own, as they run anywhere else.
//
// It knows in which order they start, when each is ready and how they stop; addresses come from
// the configuration, through the loader that the processes themselves use. It knows nothing of
// requests. `make run` (cmd/local) and the end-to-end tests call it.
package stack

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"aisix/cmd/internal/config"
)

// Names of the parts, as the processes are called.
const (
	Valkey  = "valkey-server"
	Admin   = "admin"
	Extproc = "extproc"
	Envoy   = "envoy"
	Sim     = "bedrocksim"
)

// Options says what to run and where.
type Options struct {
	Dir string // absolute; holds data, logs, the bootstrap: everything that is written
	Bin string // folder of the built binaries admin, extproc and bedrocksim

	Envoy  string // path of the binary
	Valkey string // path of the binary; empty: redis.url names a server that runs already

	ConfigFile string   // for admin and extproc; empty: defaults and Env
	Env        []string // NAME=value, for the configuration and as the processes' whole environment
	SimAddress string   // host:port; empty: no simulator
	SimArgs    []string // further arguments of the simulator

	Parts []string // the parts to run; nil: all that the fields above allow
}

// A Stack is a gateway on this machine. Its fields are set by New and do not change.
type Stack struct {
	Config *config.Config
	Dir    string

	Valkey, Admin, Extproc, Envoy, Sim *Part // nil where left out

	simAddress string
}

// New loads the configuration, makes the folder and its files, and starts nothing.
func New(o Options) (*Stack, error) {
	c, err := config.Load(o.ConfigFile, o.Env)
	if err != nil {
		return nil, err
	}
	for _, dir := range []string{o.Dir, filepath.Join(o.Dir, "log"), filepath.Join(o.Dir, "valkey")} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, err
		}
	}
	s := &Stack{Config: c, Dir: o.Dir, simAddress: o.SimAddress}
	wanted := func(name string) bool { return o.Parts == nil || slices.Contains(o.Parts, name) }
	if o.Valkey != "" && wanted(Valkey) {
		var socket string
		if s.Valkey, socket, err = s.valkey(o); err != nil {
			return nil, err
		}
		if socket != "" {
			o.Env = append(slices.Clone(o.Env), config.EnvName("redis.url")+"="+socket) // the last one counts
		}
	}
	if wanted(Admin) {
		s.Admin = s.admin(o)
	}
	if o.SimAddress != "" && wanted(Sim) {
		s.Sim = s.sim(o)
	}
	if wanted(Extproc) {
		s.Extproc = s.extproc(o)
	}
	if wanted(Envoy) {
		if s.Envoy, err = s.envoy(o); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// Parts is those that run here, in the order of their start.
func (s *Stack) Parts() []*Part {
	parts := []*Part{s.Valkey, s.Admin, s.Sim, s.Extproc, s.Envoy}
	return slices.DeleteFunc(parts, func(p *Part) bool { return p == nil })
}

// Start returns once every part is ready. Before anything runs it checks every address, and the
// error names all that are taken. When one part cannot start, what had started is stopped.
func (s *Stack) Start(ctx context.Context) error {
	var taken []error
	for _, p := range s.Parts() {
		for _, l := range p.listens {
			taken = append(taken, l.free(p.Name))
		}
	}
	if err := errors.Join(taken...); err != nil {
		return err
	}
	for _, p := range s.Parts() {
		if err := p.Start(ctx); err != nil {
			s.Kill()
			return err
		}
	}
	return nil
}

// Stop ends all parts: extproc first, so that calls in flight end while what they need still
// runs, then Envoy and the rest, Valkey last. When ctx ends, what still runs is killed.
func (s *Stack) Stop(ctx context.Context) {
	for _, p := range []*Part{s.Extproc, s.Envoy, s.Admin, s.Sim, s.Valkey} {
		if p != nil {
			p.Stop(ctx)
		}
	}
}

// Kill ends all parts without notice.
func (s *Stack) Kill() {
	for _, p := range s.Parts() {
		p.Kill()
	}
}

// Supervise starts again what ends by itself, until ctx ends: after a second, then with growing
// pauses while it cannot be started. It returns once nothing is being started any more.
func (s *Stack) Supervise(ctx context.Context, report func(part string, err error)) {
	const first, longest = time.Second, 10 * time.Second
	var group sync.WaitGroup
	for _, p := range s.Parts() {
		group.Go(func() {
			pause := first
			for {
				select {
				case <-ctx.Done():
					return
				case <-p.Exited():
				}
				if ctx.Err() != nil {
					return
				}
				report(p.Name, fmt.Errorf("ended (%w): starting it again", p.exit()))
				for !p.Running() {
					select {
					case <-ctx.Done():
						return
					case <-time.After(pause):
					}
					if err := p.Start(ctx); err != nil && ctx.Err() == nil {
						report(p.Name, err)
						pause = min(2*pause, longest)
					} else {
						pause = first
					}
				}
			}
		})
	}
	group.Wait()
}

// ProxyURL is where callers of this machine reach the gateway, without a trailing slash.
func (s *Stack) ProxyURL() string {
	return scheme(s.Config.Proxy.TLSCertFile) + reachable(s.Config.Proxy.Address)
}

// AdminURL is where this machine reaches the Admin API, without a trailing slash.
func (s *Stack) AdminURL() string {
	return scheme(s.Config.Admin.TLSCertFile) + reachable(s.Config.Admin.Address)
}

// SimURL is the api_base of the simulator; empty when there is none.
func (s *Stack) SimURL() string {
	if s.simAddress == "" {
		return ""
	}
	return "http://" + reachable(s.simAddress)
}

func scheme(certFile string) string {
	if certFile != "" {
		return "https://"
	}
	return "http://"
}

// part is what all parts have in common.
func (s *Stack) part(name, path string, env []string, args ...string) *Part {
	return &Part{Name: name, path: path, args: args, env: env, logPath: filepath.Join(s.Dir, "log", name+".log")}
}

// withConfig is the -config argument, where there is a file.
func (o Options) withConfig() []string {
	if o.ConfigFile == "" {
		return nil
	}
	return []string{"-config", o.ConfigFile}
}

// tcp is host and port of an address, or why it has none.
func tcp(address string) (host, port string, err error) {
	host, port, err = net.SplitHostPort(address)
	if err != nil {
		return "", "", fmt.Errorf("%q: %w", address, err)
	}
	return strings.Trim(host, "[]"), port, nil
}
