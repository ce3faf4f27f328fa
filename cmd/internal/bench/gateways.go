package main

import (
	"bytes"
	"context"
	_ "embed"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"text/template"
	"time"

	"aisix/admin/store"
	"aisix/cmd/internal/stack"
)

// A gateway is what a row of the table is about: an Envoy, and what is behind it.
type gateway struct {
	name    string
	address string // where callers reach it
	parts   []part
	asks    asks
	metrics string // host:port of extproc's, of this gateway's
}

// A part is one process of a gateway. What decides a request is Envoy and extproc;
// Valkey is told beside them.
type part struct {
	name string
	pid  int
}

const (
	partEnvoy   = "Envoy"
	partExtproc = "extproc"
	partValkey  = "Valkey"
)

//go:embed envoy.yaml.tmpl
var envoyTemplate string

// plain is Envoy alone; behind noop, an ext_proc that decides nothing.
func (b *bench) plain(ctx context.Context) (*gateway, error) {
	envoy, address, err := b.startEnvoy(ctx, "plain", "")
	if err != nil {
		return nil, err
	}
	return &gateway{name: namePlain, address: address, parts: []part{{partEnvoy, envoy}}, asks: asksPlain}, nil
}

func (b *bench) noop(ctx context.Context) (*gateway, error) {
	socket := filepath.Join(b.dir, fmt.Sprintf("noop%d.sock", b.started)) // one that was killed leaves its own
	extproc, err := b.helper(ctx, helperNoop, "unix", socket)
	if err != nil {
		return nil, err
	}
	envoy, address, err := b.startEnvoy(ctx, "noop", socket)
	if err != nil {
		return nil, err
	}
	return &gateway{name: nameNoop, address: address, parts: []part{{partEnvoy, envoy}, {partExtproc, extproc}}, asks: asksNoop}, nil
}

const (
	namePlain = "plain Envoy"
	nameNoop  = "no-op ext_proc"
	nameOurs  = "this gateway"
)

// startEnvoy runs an Envoy of the template.
func (b *bench) startEnvoy(ctx context.Context, name, extproc string) (pid int, address string, err error) {
	if address, err = stack.FreePort(); err != nil {
		return 0, "", err
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return 0, "", err
	}
	upstreamHost, upstreamPort, err := net.SplitHostPort(b.upstream)
	if err != nil {
		return 0, "", err
	}
	var config bytes.Buffer
	err = template.Must(template.New("envoy").Parse(envoyTemplate)).Execute(&config, map[string]string{
		"Host": host, "Port": port, "UpstreamHost": upstreamHost, "UpstreamPort": upstreamPort, "ExtProc": extproc,
	})
	if err != nil {
		return 0, "", err
	}
	path := filepath.Join(b.dir, name+".yaml")
	if err := os.WriteFile(path, config.Bytes(), 0o600); err != nil {
		return 0, "", err
	}
	pid, err = b.start(ctx, name, "tcp", address, b.envoy, "--config-path", path, "--log-level", "error", "--disable-hot-restart")
	return pid, address, err
}

// product is this gateway as `make run` starts it, but for the simulator: the
// configuration that ships, Valkey, logs in files. It has as many API keys, with
// limits, and models as stock says; env sets more of its configuration.
func (b *bench) product(ctx context.Context, name string, s stock, env ...string) (*gateway, error) {
	addresses := make([]string, 4)
	for i := range addresses {
		var err error
		if addresses[i], err = stack.FreePort(); err != nil {
			return nil, err
		}
	}
	dir, err := os.MkdirTemp(b.dir, "gw")
	if err != nil {
		return nil, err
	}
	key := filepath.Join(dir, "master.key")
	spool := filepath.Join(dir, "spool")
	if err := os.MkdirAll(spool, 0o700); err != nil {
		return nil, err
	}
	if err := store.CreateMasterKey(key); err != nil {
		return nil, err
	}
	base := "http://" + b.upstream
	if s.tls {
		base = "https://" + b.upstreamTLS
		env = append(env, "AISIX_UPSTREAM__CA_FILE="+b.upstreamCA)
	}
	gw, err := stack.New(stack.Options{
		Dir: dir, Bin: b.bin, Envoy: b.envoy, Valkey: b.valkey, ConfigFile: b.config,
		Env: slices.Concat(processEnv(), env, []string{
			"AISIX_PROXY__ADDRESS=" + addresses[0],
			"AISIX_ADMIN__ADDRESS=" + addresses[1],
			"AISIX_METRICS__ADDRESS=" + addresses[2],
			"AISIX_REDIS__URL=redis://" + addresses[3],
			"AISIX_EXTPROC__ADDRESS=unix:" + filepath.Join(dir, "extproc.sock"),
			"AISIX_EXTPROC__SNAPSHOT_FILE=" + filepath.Join(dir, "resources.snapshot"),
			"AISIX_SECRETS__MASTER_KEY_FILE=" + key,
			"AISIX_USAGE__SPOOL_DIR=" + spool,
			fmt.Sprintf("AISIX_METRICS__PROFILING=%t", b.profiling),
		}),
	})
	if err != nil {
		return nil, err
	}
	b.stacks = append(b.stacks, gw)
	for _, p := range []*stack.Part{gw.Valkey, gw.Admin} {
		if err := p.Start(ctx); err != nil {
			return nil, err
		}
	}
	if err := s.fill(ctx, gw, base); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	for _, p := range []*stack.Part{gw.Extproc, gw.Envoy} {
		if err := p.Start(ctx); err != nil {
			return nil, err
		}
	}
	return &gateway{
		name: name, address: addresses[0], asks: s.asks(), metrics: addresses[2],
		parts: []part{{partEnvoy, gw.Envoy.PID()}, {partExtproc, gw.Extproc.PID()}, {partValkey, gw.Valkey.PID()}},
	}, nil
}

// processEnv is what the gateway's processes have of this one's environment: the
// settings of Go's runtime, which may be what is being tried.
func processEnv() (env []string) {
	for _, name := range []string{"GOMAXPROCS", "GOGC", "GOMEMLIMIT", "GODEBUG"} {
		if v, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+v)
		}
	}
	return env
}

// helper runs this program as one of its helpers, with further arguments behind its address.
func (b *bench) helper(ctx context.Context, name, network, address string, more ...string) (pid int, err error) {
	self, err := os.Executable()
	if err != nil {
		return 0, err
	}
	return b.start(ctx, name, network, address, self, append([]string{name, address}, more...)...)
}

// start runs a process until the bench ends, and returns when it listens.
func (b *bench) start(ctx context.Context, name, network, address, path string, args ...string) (pid int, err error) {
	log, err := os.Create(filepath.Join(b.dir, name+".log"))
	if err != nil {
		return 0, err
	}
	defer log.Close()
	cmd := exec.Command(path, args...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	b.started++
	ended := make(chan struct{})
	go func() { cmd.Wait(); close(ended) }()                        //nolint:errcheck // it is killed, or said so in its log
	b.kill = append(b.kill, func() { cmd.Process.Kill(); <-ended }) //nolint:errcheck // the only error is that it has ended
	deadline := time.After(20 * time.Second)
	for {
		c, err := net.Dial(network, address)
		if err == nil {
			return cmd.Process.Pid, c.Close()
		}
		select {
		case <-ctx.Done():
			return 0, ctx.Err()
		case <-ended:
		case <-deadline:
		case <-time.After(20 * time.Millisecond):
			continue
		}
		said, _ := os.ReadFile(log.Name())
		return 0, fmt.Errorf("%s does not listen on %s: %w\n%s", name, address, err, said)
	}
}
