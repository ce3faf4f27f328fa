package config

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"
)

// Certificates are read anew when their files change, at the next handshake: what is renewed is in force
// without a restart, however it was put there (written over, moved, a link of Kubernetes's swapped).

// renewed is what was made of some files, made anew once they are others.
type renewed[T any] struct {
	key   string // of the configuration, for what is said
	paths []string
	load  func() (T, error)

	mu    sync.Mutex
	value T
	stamp string
}

// first is the value at the start, when a fault is the start's.
func (r *renewed[T]) first() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	stamp := r.look()
	value, err := r.load()
	if err != nil {
		return fmt.Errorf("%s: %w", r.key, err)
	}
	r.value, r.stamp = value, stamp
	return nil
}

// now is the value of the files as they are. Where they can't be read, or do not fit together yet, it stays
// what it was; that is said once for each change.
func (r *renewed[T]) now() T {
	r.mu.Lock()
	defer r.mu.Unlock()
	stamp := r.look()
	if stamp == r.stamp {
		return r.value
	}
	r.stamp = stamp
	value, err := r.load()
	if err != nil {
		slog.Error("a certificate that was renewed can't be used: the one before stays", "key", r.key, "error", err)
		return r.value
	}
	slog.Info("a certificate was read anew", "key", r.key)
	r.value = value
	return value
}

// look is what tells one state of the files from another, behind all links.
func (r *renewed[T]) look() (stamp string) {
	for _, path := range r.paths {
		info, err := os.Stat(path)
		if err != nil {
			stamp += "none;"
			continue
		}
		stamp += fmt.Sprint(inode(info), " ", info.Size(), " ", info.ModTime().Format(time.RFC3339Nano), ";")
	}
	return stamp
}

// keyPair is a certificate with its key; nil where none is configured.
func keyPair(key, certFile, keyFile string) (*renewed[*tls.Certificate], error) {
	if certFile == "" {
		return nil, nil
	}
	r := &renewed[*tls.Certificate]{key: key, paths: []string{certFile, keyFile}, load: func() (*tls.Certificate, error) {
		cert, err := tls.LoadX509KeyPair(certFile, keyFile)
		return &cert, err
	}}
	return r, r.first()
}

// authorities are the CAs of a file; nil where none is configured.
func authorities(key, path string) (*renewed[*x509.CertPool], error) {
	if path == "" {
		return nil, nil
	}
	r := &renewed[*x509.CertPool]{key: key, paths: []string{path}, load: func() (*x509.CertPool, error) { return pool(path) }}
	return r, r.first()
}

func pool(path string) (*x509.CertPool, error) {
	pem, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s holds no PEM certificate", path)
	}
	return pool, nil
}

// TLS is the server side of the Admin API; nil when it is plaintext.
func (a Admin) TLS() (*tls.Config, error) {
	cert, err := keyPair("admin.tls_cert_file", a.TLSCertFile, a.TLSKeyFile)
	if cert == nil || err != nil {
		return nil, err
	}
	return serverTLS(cert), nil
}

// TLS is the server side of extproc, which asks its clients for a certificate where a CA for them
// is set; nil when it is plaintext. It is for gRPC.
func (e Extproc) TLS() (*tls.Config, error) {
	cert, err := keyPair("extproc.tls_cert_file", e.TLSCertFile, e.TLSKeyFile)
	if cert == nil || err != nil {
		return nil, err
	}
	c := serverTLS(cert)
	c.NextProtos = []string{"h2"}
	clients, err := authorities("extproc.client_ca_file", e.ClientCAFile)
	if clients == nil || err != nil {
		return c, err
	}
	c.ClientAuth = tls.RequireAndVerifyClientCert
	c.ClientCAs = clients.now()
	each := c.Clone()
	c.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
		now := each.Clone()
		now.ClientCAs = clients.now()
		return now, nil
	}
	return c, nil
}

func serverTLS(cert *renewed[*tls.Certificate]) *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return cert.now(), nil }}
}

// clientTLS completes the client side of Redis's TLS, as it is at each connection.
func (r Redis) clientTLS(base *tls.Config) (now func() *tls.Config, err error) {
	cas, err := authorities("redis.ca_file", r.CAFile)
	if err != nil {
		return nil, err
	}
	cert, err := keyPair("redis.cert_file", r.CertFile, r.KeyFile)
	if err != nil {
		return nil, err
	}
	return func() *tls.Config {
		c := base.Clone()
		c.MinVersion = tls.VersionTLS12
		if cas != nil {
			c.RootCAs = cas.now()
		}
		if cert != nil {
			c.Certificates = []tls.Certificate{*cert.now()}
		}
		return c
	}, nil
}
