package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"time"

	"aisix/cmd/internal/bootstrap"
	"aisix/cmd/internal/config"
)

// flagged is what the command line asks for.
type flagged struct {
	config    string
	bootstrap bool
	out       string
	version   bool
	probe     bool

	runEnvoy   string
	envoyArgs  []string
	drainEnvoy string
	lameDuck   time.Duration
	drainFor   time.Duration
}

func options(args []string, stderr io.Writer) (o flagged, err error) {
	flags := flag.NewFlagSet("extproc", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.StringVar(&o.config, "config", "", "config.yaml; without it, defaults and environment")
	flags.BoolVar(&o.bootstrap, "bootstrap", false, "print Envoy's start file for the configuration, and end")
	flags.StringVar(&o.out, "o", "", "with -bootstrap and -run-envoy: the `file` to write it to; what it names goes into the same folder")
	flags.StringVar(&o.runEnvoy, "run-envoy", "", "write Envoy's start file, run this `binary` of Envoy with it and what follows the flags, and drain it when told to stop")
	flags.StringVar(&o.drainEnvoy, "drain-envoy", "", "drain the Envoy whose admin interface is this `socket`, and end when no call is in flight")
	flags.DurationVar(&o.lameDuck, "lame-duck", 0, "with -drain-envoy and -run-envoy: how long Envoy still takes connections, while balancers in front find out")
	flags.DurationVar(&o.drainFor, "for", 30*time.Minute, "with -drain-envoy: how long calls in flight have")
	flags.BoolVar(&o.version, "version", false, "say which build this is, and end")
	flags.BoolVar(&o.probe, "probe", false, "ask the extproc at extproc.address whether it is ready, and end: 0 if it is")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	if o.runEnvoy != "" {
		o.envoyArgs = flags.Args()
	} else if flags.NArg() > 0 {
		return o, fmt.Errorf("unexpected argument %q", flags.Arg(0))
	}
	if o.out != "" && !o.bootstrap && o.runEnvoy == "" {
		return o, errors.New("-o goes with -bootstrap or -run-envoy")
	}
	return o, nil
}

// writeBootstrap is -bootstrap.
func writeBootstrap(c *config.Config, path string, stdout io.Writer) error {
	if path != "" {
		return bootstrap.Write(c, path)
	}
	text, err := bootstrap.Text(c)
	if err != nil {
		return err
	}
	_, err = stdout.Write(text)
	return err
}
