package stack

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"aisix/cmd/internal/config"
	"aisix/envoy"
)

// Bootstrap is Envoy's start file for this configuration. Where upstream.ca_file is set, the
// bundle of the system's CAs and those is written to Dir and named in it.
func (s *Stack) Bootstrap() ([]byte, error) {
	o, err := EnvoyOptions(s.Config)
	if err != nil {
		return nil, err
	}
	o.UpstreamCAFile = envoy.SystemCAFile()
	if s.Config.Upstream.CAFile != "" {
		if o.UpstreamCAFile, err = s.bundle(o.UpstreamCAFile); err != nil {
			return nil, err
		}
	}
	return envoy.Bootstrap(o)
}

// EnvoyOptions is what the configuration says about Envoy, but for the CAs.
func EnvoyOptions(c *config.Config) (envoy.Options, error) {
	o := envoy.Defaults()
	if c.Extproc.TLSCertFile != "" {
		return o, errors.New("extproc.tls_cert_file: the generated bootstrap reaches extproc on loopback or a Unix socket, without TLS")
	}
	listen, err := literal(c.Proxy.Address)
	if err != nil {
		return o, fmt.Errorf("proxy.address: %w", err)
	}
	o.Listen, o.ExtProc = listen, c.Extproc.Address
	if !strings.HasPrefix(o.ExtProc, "unix:") {
		if o.ExtProc, err = literal(o.ExtProc); err != nil {
			return o, fmt.Errorf("extproc.address: %w", err)
		}
	}
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
	o.StallTimeout = min(o.StallTimeout, c.Timeouts.StreamGap/2)
	if runtime.GOOS != "linux" {
		o.StallTimeout = 0
	}
	o.StreamIdleTimeout = max(o.StreamIdleTimeout, 2*max(c.Timeouts.Call, c.Timeouts.StreamGap, time.Minute))
	return o, nil
}

// bundle joins the system's CAs and upstream.ca_file in one file, which Envoy's context takes.
func (s *Stack) bundle(system string) (path string, err error) {
	public, err := os.ReadFile(system)
	if err != nil {
		return "", fmt.Errorf("the system's CAs: %w", err)
	}
	private, err := os.ReadFile(s.Config.Upstream.CAFile)
	if err != nil {
		return "", fmt.Errorf("upstream.ca_file: %w", err)
	}
	joined, err := envoy.CABundle(public, private)
	if err != nil {
		return "", fmt.Errorf("upstream.ca_file: %w", err)
	}
	path = filepath.Join(s.Dir, "upstream-ca.pem")
	return path, os.WriteFile(path, joined, 0o600)
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
