package main

import (
	"errors"
	"flag"
	"fmt"
	"io"

	"aisix/cmd/internal/bootstrap"
	"aisix/cmd/internal/config"
)

// flagged is what the command line asks for.
type flagged struct {
	config    string
	bootstrap bool
	out       string
	version   bool
}

func options(args []string, stderr io.Writer) (o flagged, err error) {
	flags := flag.NewFlagSet("extproc", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.StringVar(&o.config, "config", "", "config.yaml; without it, defaults and environment")
	flags.BoolVar(&o.bootstrap, "bootstrap", false, "print Envoy's start file for the configuration, and end")
	flags.StringVar(&o.out, "o", "", "with -bootstrap: the `file` to write it to; what it names goes into the same folder")
	flags.BoolVar(&o.version, "version", false, "say which build this is, and end")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	if flags.NArg() > 0 {
		return o, fmt.Errorf("unexpected argument %q", flags.Arg(0))
	}
	if o.out != "" && !o.bootstrap {
		return o, errors.New("-o goes with -bootstrap")
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
