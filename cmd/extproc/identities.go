package main

import (
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"os"

	"aisix/admin/resource"
	"aisix/admin/snapshot"
	"aisix/cmd/internal/config"
	"aisix/extproc/identity"
	"aisix/extproc/usage"
)

// newIdentities is what provider keys' credentials are got by, and shown in the metrics.
func newIdentities(c *config.Config, holder *snapshot.Holder, metrics *usage.Metrics, log *slog.Logger) (*identity.Source, error) {
	cas, err := trusted(c.Upstream.CAFile)
	if err != nil {
		return nil, fmt.Errorf("upstream.ca_file: %w", err)
	}
	source := identity.New(identity.Options{
		Grants:      resource.Grants{Ambient: c.Credentials.Ambient, TokenDirs: c.Credentials.TokenDirs},
		STSEndpoint: c.Credentials.STSEndpoint,
		CAs:         cas,
		Log:         log,
		InForce: func(c resource.Credentials) bool {
			s := holder.Load()
			return s == nil || s.Uses(c)
		},
		Failed: metrics.CredentialsFailed,
	})
	metrics.Credentials(func() (all []usage.Credentials) {
		for _, s := range source.States() {
			all = append(all, usage.Credentials{ProviderKey: s.ProviderKey, Kind: s.Kind, Since: s.Since, Expires: s.Expires})
		}
		return all
	})
	return source, nil
}

// trusted is the system's CAs and those of a file; nil: the system's alone.
func trusted(file string) (*x509.CertPool, error) {
	if file == "" {
		return nil, nil
	}
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool()
	}
	if !pool.AppendCertsFromPEM(pem) {
		return nil, errors.New("no certificate in it")
	}
	return pool, nil
}
