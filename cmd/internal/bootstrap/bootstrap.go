// Package bootstrap makes Envoy's start file from the configuration, and puts it where Envoy reads it.
//
// It knows which keys are Envoy's, and the files that Envoy reads beside its start file; what stands
// in them package envoy knows. `extproc -bootstrap` and package stack call it.
package bootstrap

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"aisix/cmd/internal/config"
	"aisix/envoy"
)

// Text is Envoy's start file alone, for somebody else to put into its place. Where upstream.ca_file is
// set it is the one bundle that Envoy takes, the public CAs included. Certificates are read once.
func Text(c *config.Config) ([]byte, error) {
	o, err := Options(c)
	if err != nil {
		return nil, err
	}
	if c.Upstream.CAFile != "" {
		if o.UpstreamCAFile, err = filepath.Abs(c.Upstream.CAFile); err != nil {
			return nil, err
		}
	}
	return envoy.Bootstrap(o)
}

// Write puts Envoy's start file at path, whole or not at all, and what it names into the same folder:
// where upstream.ca_file is set, the bundle of this system's CAs and those, and the files by which Envoy
// finds its certificates, and reads them anew when they are renewed. No secret is in any of these, and
// everybody may read them: Envoy often runs as a user of its own. What Envoy could not read stops it: the
// certificates and keys have to be readable for whoever calls this.
func Write(c *config.Config, path string) error { return write(c, path, false) }

// write is Write, where the certificates' names may be spelled in another way than the last time.
func write(c *config.Config, path string, respelled bool) error {
	path, err := filepath.Abs(path)
	if err != nil {
		return err
	}
	o, err := Options(c)
	if err != nil {
		return err
	}
	o.Respelled = respelled
	o.UpstreamCAFile = envoy.SystemCAFile()
	if c.Upstream.CAFile != "" {
		joined, err := bundle(o.UpstreamCAFile, c.Upstream.CAFile)
		if err != nil {
			return err
		}
		o.UpstreamCAFile = filepath.Join(filepath.Dir(path), "upstream-ca.pem")
		if err := replace(o.UpstreamCAFile, joined); err != nil {
			return err
		}
	}
	o.SecretsDir = filepath.Dir(path)
	text, err := envoy.Bootstrap(o)
	if err != nil {
		return err
	}
	if err := checkCertificates(c); err != nil {
		return err
	}
	secrets, err := envoy.Secrets(o)
	if err != nil {
		return err
	}
	for name, secret := range secrets {
		if err := replace(filepath.Join(o.SecretsDir, name), secret); err != nil {
			return err
		}
	}
	return replace(path, text)
}

// checkCertificates says in one line what is wrong with a certificate or a key that Envoy is to show:
// an Envoy that can't read them closes each connection, or starts again and again.
func checkCertificates(c *config.Config) error {
	for _, p := range []struct{ certKey, cert, keyKey, key string }{
		{"proxy.tls_cert_file", c.Proxy.TLSCertFile, "proxy.tls_key_file", c.Proxy.TLSKeyFile},
		{"proxy.extproc_cert_file", c.Proxy.ExtprocCertFile, "proxy.extproc_key_file", c.Proxy.ExtprocKeyFile},
	} {
		if p.cert == "" {
			continue
		}
		if err := readable(p.certKey, p.cert); err != nil {
			return err
		}
		if err := readable(p.keyKey, p.key); err != nil {
			return err
		}
		if _, err := tls.LoadX509KeyPair(p.cert, p.key); err != nil {
			return fmt.Errorf("%s and %s: %s and %s: %w", p.certKey, p.keyKey, p.cert, p.key, err)
		}
	}
	if c.Proxy.ExtprocCAFile != "" {
		return readable("proxy.extproc_ca_file", c.Proxy.ExtprocCAFile)
	}
	return nil
}

func readable(key, path string) error {
	f, err := os.Open(path)
	if err == nil {
		return f.Close()
	}
	if errors.Is(err, fs.ErrPermission) {
		return fmt.Errorf("%s: %w: user %d and group %d, as which Envoy has to run too, may not read it; chgrp %d and chmod 640 it", key, err, os.Getuid(), os.Getgid(), os.Getgid())
	}
	return fmt.Errorf("%s: %w", key, err)
}

// bundle joins the system's CAs and upstream.ca_file, since Envoy's context takes one file.
func bundle(system, path string) ([]byte, error) {
	public, err := os.ReadFile(system)
	if err != nil {
		return nil, fmt.Errorf("the system's CAs: %w", err)
	}
	private, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("upstream.ca_file: %w", err)
	}
	joined, err := envoy.CABundle(public, private)
	if err != nil {
		return nil, fmt.Errorf("upstream.ca_file: %w", err)
	}
	return joined, nil
}

// replace writes a file that everybody may read, and moves it into its place: who reads it sees the
// old one or the new one.
func replace(path string, content []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*")
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("%w: make the folder first", err)
		}
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(content)
	if err := errors.Join(err, f.Chmod(0o644), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}
