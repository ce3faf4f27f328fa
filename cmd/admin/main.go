// Command admin serves the Admin API. It reads config.yaml, needs Redis and the
// master key, and ends in good order on SIGTERM or interrupt; a second signal ends
// it at once.
//
//	admin -config config.yaml
//	admin -create-master-key FILE    makes a master key, unless there is one
//	admin -create-secrets FOLDER     makes an admin key and Redis's users, unless they are there
//	admin -create-admin-key FILE     the same for the admin key (admin.key_file)
//	admin -version
//	admin -config config.yaml -backup FILE                  writes resources and usage totals to FILE
//	admin -config config.yaml -restore FILE [-overwrite]    puts them back; FILE may be - for standard output and input
package main

import (
	"context"
	"crypto/tls"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"aisix/admin"
	"aisix/admin/cooling"
	"aisix/admin/ledger"
	"aisix/admin/resource"
	"aisix/admin/store"
	"aisix/cmd/internal/config"
	"aisix/cmd/internal/machine"
	"aisix/cmd/internal/version"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	if err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "admin:", err)
		os.Exit(1)
	}
}

// run is the command until ctx ends.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	flags := flag.NewFlagSet("admin", flag.ContinueOnError)
	flags.SetOutput(stderr)
	file := flags.String("config", "", "config.yaml; none: defaults and the environment")
	create := flags.String("create-master-key", "", "make a master key in this file, unless it is there, and end")
	secrets := flags.String("create-secrets", "", "make an admin key, passwords of Redis's users and its file of them in this folder, unless they are there, and end")
	createAdmin := flags.String("create-admin-key", "", "make an admin key in this file, unless it is there, and end")
	showVersion := flags.Bool("version", false, "say which build this is, and end")
	backup := flags.String("backup", "", "write resources and usage totals to this file, - for standard output, and end")
	restore := flags.String("restore", "", "put what -backup wrote to this file, - for standard input, back, and end")
	overwrite := flags.Bool("overwrite", false, "with -restore: the resources that are there may go")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q", flags.Arg(0))
	}
	if *showVersion {
		return version.Print(stdout, "admin")
	}
	if *backup != "" && *restore != "" || *overwrite && *restore == "" {
		return errors.New("-backup and -restore exclude each other, and -overwrite goes with -restore")
	}
	if *create != "" || *createAdmin != "" || *secrets != "" {
		return createFiles(*create, *createAdmin, *secrets)
	}
	c, err := config.Load(*file, os.Environ())
	if err != nil {
		return err
	}
	log := c.Logging.Logger(stderr)
	slog.SetDefault(log) // of packages that are not given one
	switch {
	case *backup != "":
		return makeBackup(ctx, c, *backup, stdout, log)
	case *restore != "":
		return restoreBackup(ctx, c, *restore, os.Stdin, *overwrite, log)
	}
	machine.Fit(log)
	return serve(ctx, c, log)
}

// createFiles makes what a first start needs, as far as files are named: a master key, an admin key, and the folder
// of secrets.
func createFiles(masterKey, adminKey, secrets string) error {
	if masterKey != "" {
		if err := store.CreateMasterKey(masterKey); err != nil {
			return err
		}
	}
	if adminKey != "" {
		if err := store.CreateKey(adminKey); err != nil {
			return err
		}
	}
	if secrets != "" {
		return createSecrets(secrets)
	}
	return nil
}

// serve runs the Admin API until ctx ends.
func serve(ctx context.Context, c *config.Config, log *slog.Logger) error {
	sealer, err := store.LoadSealer(c.Secrets.MasterKey.Reveal(), c.Secrets.MasterKeyFile, c.Secrets.PreviousMasterKeyFile)
	if err != nil {
		return err
	}
	client, err := c.Redis.Client(log)
	if err != nil {
		return err
	}
	defer client.Close()
	resources := store.New(client, sealer)
	key, err := adminKey(c.Admin, log)
	if err != nil {
		return err
	}
	sample := key.Reveal() == config.SampleAdminKey
	server, err := admin.New(admin.Options{Store: resources, Usage: ledger.New(client), Cooling: cooling.New(client), Key: key.Reveal(), SampleKey: sample,
		Address: c.Admin.Address, AllowedHosts: c.Admin.AllowedHosts, Log: log,
		Grants: resource.Grants{Ambient: c.Credentials.Ambient, TokenDirs: c.Credentials.TokenDirs}})
	if err != nil {
		return err
	}
	tlsConfig, err := c.Admin.TLS()
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", c.Admin.Address)
	if err != nil {
		return fmt.Errorf("admin.address: %w", err)
	}
	if tlsConfig != nil {
		listener = tls.NewListener(listener, tlsConfig)
	}
	if sample {
		log.Warn("the sample admin key is in use: it opens the Admin API to requests of this machine; set admin.key to a key of your own")
	}
	build := version.Of()
	log.Info("the Admin API listens", "address", listener.Addr().String(), "version", build.Version, "commit", build.Commit)

	h := &http.Server{Handler: server, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 30 * time.Second,
		WriteTimeout: time.Minute, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 64 << 10,
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug)}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return checkMasterKey(ctx, resources, log) })
	group.Go(func() error { return h.Serve(listener) })
	group.Go(func() error {
		<-ctx.Done()
		server.Drain()
		drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
		defer cancel()
		if h.Shutdown(drain) != nil {
			h.Close()
		}
		return nil
	})
	err = group.Wait()
	if errors.Is(err, http.ErrServerClosed) || errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// adminKey is the admin key. A file that is named and not there is made: a first start.
func adminKey(c config.Admin, log *slog.Logger) (config.Secret, error) {
	if c.KeyFile != "" {
		if _, err := os.Stat(c.KeyFile); errors.Is(err, fs.ErrNotExist) {
			if err := store.CreateKey(c.KeyFile); err != nil {
				return "", fmt.Errorf("admin.key_file: making it: %w", err)
			}
			log.Warn("an admin key was made: it is in this file", "file", c.KeyFile)
		}
	}
	return c.Secret(log)
}

// checkMasterKey waits for Redis, fails if the store was written with another
// master key, and seals anew what a previous one sealed; it returns only at ctx's
// end. Until the check has passed, the store refuses to write.
func checkMasterKey(ctx context.Context, s *store.Store, log *slog.Logger) error {
	for waiting := false; ; waiting = true {
		err := s.CheckMasterKey(ctx)
		resealed := 0
		if err == nil {
			resealed, err = s.Reseal(ctx)
		}
		if resealed > 0 {
			log.Info("secrets are sealed under the new master key", "secrets", resealed)
		}
		switch {
		case err == nil:
			<-ctx.Done()
			return ctx.Err()
		case errors.Is(err, store.ErrMasterKey):
			return err
		case ctx.Err() != nil:
			return ctx.Err()
		case !waiting:
			log.Error("waiting for Redis", "error", err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(250 * time.Millisecond):
		}
	}
}
