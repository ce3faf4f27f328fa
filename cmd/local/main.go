// Command local is `make run`: the whole gateway on this machine, with a Valkey and a Bedrock
// simulator of its own, for people who try it and for those who work on it.
//
// It makes what a first start needs (folders, the master key), has package stack
// run the processes, and prints the documentation page's commands, ready to paste.
package main

import (
	"context"
	_ "embed"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"text/template"
	"time"

	"aisix/admin/store"
	"aisix/cmd/internal/config"
	"aisix/cmd/internal/stack"
	"aisix/cmd/internal/version"
)

//go:embed commands.txt
var commands string

func main() {
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	if !signal.Ignored(syscall.SIGHUP) { // as nohup has it
		signal.Notify(signals, syscall.SIGHUP)
		go func() {
			<-hungUp(os.Stdin)
			signals <- syscall.SIGHUP
		}()
	}
	if err := run(os.Args[1:], os.Environ(), os.Stdout, os.Stderr, signals); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "local:", err)
		os.Exit(1)
	}
}

// run starts everything, says so on stdout, and returns once everything has stopped after a signal.
func run(args, env []string, stdout, stderr io.Writer, signals <-chan os.Signal) error {
	flags := flag.NewFlagSet("local", flag.ContinueOnError)
	flags.SetOutput(stderr)
	configFile := flags.String("config", "", "config.yaml; without it, defaults and environment")
	data := flags.String("data", ".data", "folder to keep data, master key and logs in")
	bin := flags.String("bin", ".bin", "folder with admin, extproc and bedrocksim")
	envoyPath := flags.String("envoy", ".tools/envoy", "Envoy's binary")
	valkey := flags.String("valkey", ".tools/valkey-server", "Valkey's binary; not started when AISIX_REDIS__URL is set")
	redis := flags.String("redis", "redis://127.0.0.1:6390", "where Valkey is started")
	sim := flags.String("sim", "127.0.0.1:3010", "address of the Bedrock simulator; empty: none")
	showVersion := flags.Bool("version", false, "say which build this is, and end")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q", flags.Arg(0))
	}
	if *showVersion {
		return version.Print(stdout, "local")
	}
	for _, path := range []*string{data, bin, envoyPath, valkey} {
		absolute, err := filepath.Abs(*path)
		if err != nil {
			return err
		}
		*path = absolute
	}
	if slices.ContainsFunc(env, func(v string) bool { return strings.HasPrefix(v, "AISIX_REDIS__URL=") }) {
		*valkey = ""
	} else {
		env = append(slices.Clone(env), "AISIX_REDIS__URL="+*redis)
	}
	env, err := complete(*configFile, env, *data, stdout)
	if err != nil {
		return err
	}
	s, err := stack.New(stack.Options{
		Dir: *data, Bin: *bin, Envoy: *envoyPath, Valkey: *valkey,
		ConfigFile: *configFile, Env: env, SimAddress: *sim,
	})
	if err != nil {
		return err
	}
	return serve(s, stdout, signals)
}

// serve is the life of a stack: start, announce, wait for a signal, stop.
func serve(s *stack.Stack, stdout io.Writer, signals <-chan os.Signal) error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	started := make(chan error, 1)
	go func() { started <- s.Start(ctx) }()
	select {
	case err := <-started:
		if err != nil {
			return err
		}
	case <-signals:
		cancel()
		<-started
		s.Kill()
		return nil
	}
	if err := announce(s, stdout); err != nil {
		s.Kill()
		return err
	}
	supervised := make(chan struct{})
	go func() {
		defer close(supervised)
		s.Supervise(ctx, func(part string, err error) { fmt.Fprintf(stdout, "%s: %v\n", part, err) })
	}()

	<-signals
	fmt.Fprintln(stdout, "\nStopping: calls in flight end first. A second Ctrl-C ends them.")
	cancel()
	<-supervised
	deadline, end := context.WithTimeout(context.Background(), s.Config.Timeouts.Drain+10*time.Second)
	defer end()
	go func() {
		// make passes on a signal that its group got as well: what comes at once is the first one again
		time.Sleep(300 * time.Millisecond)
		for len(signals) > 0 {
			<-signals
		}
		select {
		case <-signals:
			end()
		case <-deadline.Done():
		}
	}()
	s.Stop(deadline)
	fmt.Fprintln(stdout, "Stopped.")
	return nil
}

// announce says what runs where, and prints the page's commands for it.
func announce(s *stack.Stack, stdout io.Writer) error {
	fmt.Fprintf(stdout, "\nThe gateway is ready.\n\n  proxy      %s\n  admin      %s\n", s.ProxyURL(), s.AdminURL())
	if s.Sim != nil {
		fmt.Fprintf(stdout, "  simulator  %s\n", s.SimURL())
	}
	fmt.Fprintf(stdout, "  data, logs %s (kept; `make clean-data` forgets it, and then the resources too)\n\n", s.Dir)
	key := "the admin.key of your configuration"
	if s.Config.Admin.Key.Reveal() == config.SampleAdminKey {
		key = config.SampleAdminKey
	}
	err := template.Must(template.New("commands").Parse(commands)).Execute(stdout, map[string]string{
		"AdminKey": key, "Admin": s.AdminURL(), "Proxy": s.ProxyURL(), "Sim": s.SimURL(),
	})
	fmt.Fprint(stdout, "\nThe resources are kept: after a second start the last command is enough. Ctrl-C stops everything.\n")
	return err
}

// complete is env with what a first start makes: a master key, a folder for the spool, a place for the
// snapshot file and extproc's socket, all in the data folder. What the configuration names stays, but
// for the socket's place in an installation, its default.
func complete(configFile string, env []string, data string, stdout io.Writer) ([]string, error) {
	c, err := config.Load(configFile, env)
	if err != nil {
		return nil, err
	}
	env = slices.Clone(env)
	if c.Secrets.MasterKey == "" && c.Secrets.MasterKeyFile == "" {
		path := filepath.Join(data, "master.key")
		if err := store.CreateMasterKey(path); err != nil {
			return nil, fmt.Errorf("making the master key: %w", err)
		}
		env = append(env, "AISIX_SECRETS__MASTER_KEY_FILE="+path)
	}
	if c.Usage.SpoolDir == "" {
		path := filepath.Join(data, "spool")
		if err := os.MkdirAll(path, 0o700); err != nil {
			return nil, err
		}
		env = append(env, "AISIX_USAGE__SPOOL_DIR="+path)
	}
	if c.Extproc.SnapshotFile == "" {
		env = append(env, "AISIX_EXTPROC__SNAPSHOT_FILE="+filepath.Join(data, "resources.snapshot"))
	}
	if c.Extproc.LameDuck == config.Default().Extproc.LameDuck {
		env = append(env, config.EnvName("extproc.lame_duck")+"=0s") // nobody takes over here
	}
	if c.Extproc.Address == config.Default().Extproc.Address {
		address, err := socket(data)
		if err != nil {
			fmt.Fprintf(stdout, "%v: extproc listens on %s instead.\n", err, address)
		}
		env = append(env, config.EnvName("extproc.address")+"="+address)
	}
	return env, nil
}

// socket is where extproc listens under make run: in the data folder, or on loopback where its path
// would be too long for a socket.
func socket(data string) (address string, err error) {
	path := filepath.Join(data, "extproc.sock")
	if most := len(syscall.RawSockaddrUnix{}.Path) - 1; len(path) > most {
		return "127.0.0.1:3002", fmt.Errorf("a Unix socket's path may have %d bytes, and %s has %d", most, path, len(path))
	}
	return "unix:" + path, nil
}
