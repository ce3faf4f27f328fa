package bootstrap

import (
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"aisix/cmd/internal/config"
	"aisix/envoy"
)

// Options is what the configuration says about Envoy, but for the CAs.
func Options(c *config.Config) (envoy.Options, error) {
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
