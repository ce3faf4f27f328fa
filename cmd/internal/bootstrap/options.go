package bootstrap

import (
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"aisix/cmd/internal/config"
	"aisix/envoy"
)

// Options is what the configuration says about Envoy, but for the CAs.
func Options(c *config.Config) (envoy.Options, error) {
	o := envoy.Defaults()
	listen, err := literal(c.Proxy.Address)
	if err != nil {
		return o, fmt.Errorf("proxy.address: %w", err)
	}
	o.Listen = listen
	if err := reach(&o, c); err != nil {
		return o, err
	}
	if c.Proxy.StatsAddress != "" {
		if o.StatisticsListen, err = literal(c.Proxy.StatsAddress); err != nil {
			return o, fmt.Errorf("proxy.stats_address: %w", err)
		}
	}
	if o.Egress = c.EgressAddress(); o.Egress != "" && !strings.HasPrefix(o.Egress, "unix:") {
		if o.Egress, err = literal(o.Egress); err != nil {
			return o, fmt.Errorf("egress.address: %w", err)
		}
	}
	secret, err := c.Egress.Secret()
	if err != nil {
		return o, err
	}
	o.EgressSecret = secret.Reveal()
	o.AdminSocket = strings.TrimPrefix(c.Proxy.EnvoyAdmin, "unix:")
	if o.TLSCertFile, err = absolute(c.Proxy.TLSCertFile); err != nil {
		return o, err
	}
	if o.TLSKeyFile, err = absolute(c.Proxy.TLSKeyFile); err != nil {
		return o, err
	}
	o.MaxRequestBytes, o.MaxConnections, o.TrustedHops = int64(c.Proxy.MaxBodyBytes), c.Proxy.MaxConnections, c.Proxy.TrustedHops
	o.MaxPerAddress, o.AllowOrigins = c.Proxy.MaxPerAddress, c.Proxy.CORS.AllowOrigins
	o.MaxMemoryBytes = int64(c.Proxy.MaxMemoryBytes)
	o.FirstByteTimeout, o.IdleTimeout = c.Timeouts.FirstByte, c.Timeouts.Idle
	o.RequestTimeout, o.ConnectTimeout = c.Timeouts.Request, c.Timeouts.Connect
	o.CountInEnvoy, o.UpstreamHTTP2 = c.Upstream.CountInEnvoy, c.Upstream.HTTP2
	o.Reconnects = o.Egress != "" && !o.CountInEnvoy
	o.StallTimeout = min(o.StallTimeout, c.Timeouts.StreamGap/2)
	if runtime.GOOS != "linux" {
		o.StallTimeout = 0
	}
	o.StreamIdleTimeout = max(o.StreamIdleTimeout, 2*max(c.Timeouts.Call, c.Timeouts.StreamGap, time.Minute))
	return o, nil
}

// reach says where Envoy reaches extproc, and how.
func reach(o *envoy.Options, c *config.Config) error {
	if c.Extproc.TLSCertFile != "" && c.Proxy.ExtprocCAFile == "" {
		return errors.New("extproc.tls_cert_file: extproc takes connections over TLS only, so Envoy needs proxy.extproc_ca_file, proxy.extproc_cert_file and proxy.extproc_key_file")
	}
	addresses := []string{c.Extproc.Address}
	if len(c.Extproc.Addresses) > 0 {
		addresses = slices.Clone(c.Extproc.Addresses)
	}
	for i, address := range addresses {
		if strings.HasPrefix(address, "unix:") {
			continue
		}
		var err error
		if addresses[i], err = literal(address); err != nil {
			return fmt.Errorf("extproc.addresses: %w", err)
		}
	}
	o.ExtProc = addresses[0]
	if len(addresses) > 1 {
		o.MoreExtProcs = addresses[1:]
	}
	for _, f := range []struct {
		to   *string
		path string
	}{{&o.ExtProcCAFile, c.Proxy.ExtprocCAFile}, {&o.ExtProcCertFile, c.Proxy.ExtprocCertFile}, {&o.ExtProcKeyFile, c.Proxy.ExtprocKeyFile}} {
		var err error
		if *f.to, err = absolute(f.path); err != nil {
			return err
		}
	}
	return nil
}

// literal is host:port with the host as an IP address, as Envoy's listener wants it.
func literal(address string) (string, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return "", err
	}
	switch host {
	case "":
		host = "0.0.0.0"
	case "localhost":
		host = "127.0.0.1"
	}
	return net.JoinHostPort(host, port), nil
}

// absolute is a path as seen from anywhere; empty stays empty.
func absolute(path string) (string, error) {
	if path == "" {
		return "", nil
	}
	return filepath.Abs(path)
}
