package envoy

import (
	"fmt"
	"path/filepath"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/protobuf/types/known/anypb"
)

// Certificates come to Envoy in two ways. Named in its start file, they are read once.
// Named in a file of their own (SDS), which the start file names, Envoy reads them anew
// when something is moved into their folder: a renewed file, or the link that Kubernetes
// swaps. Calls in flight keep the connection that they have.

// The files of secrets, and what the secrets are called.
const (
	secretCallers    = "callers-tls"
	secretExtProc    = "extproc-tls"
	secretExtProcCA  = "extproc-ca"
	secretUpstreamCA = "upstream-ca"
)

// Secrets are the files that Envoy's start file names where o.SecretsDir is set, by
// their names there. They hold the names of certificates and keys, and none of these.
func Secrets(o Options) (map[string][]byte, error) {
	files := map[string][]byte{}
	add := func(s *tlsv3.Secret) error {
		text, err := render(&discoveryv3.DiscoveryResponse{Resources: []*anypb.Any{pack(s)}})
		files[s.Name+".yaml"] = text
		return err
	}
	if o.SecretsDir == "" {
		return files, nil
	}
	for _, p := range []struct{ name, cert, key string }{{secretCallers, o.TLSCertFile, o.TLSKeyFile}, {secretExtProc, o.ExtProcCertFile, o.ExtProcKeyFile}} {
		if p.cert == "" {
			continue
		}
		if err := add(&tlsv3.Secret{Name: p.name, Type: &tlsv3.Secret_TlsCertificate{TlsCertificate: o.pair(p.cert, p.key)}}); err != nil {
			return nil, fmt.Errorf("envoy secrets: %w", err)
		}
	}
	for _, p := range []struct{ name, ca string }{{secretUpstreamCA, o.watchedCA()}, {secretExtProcCA, o.ExtProcCAFile}} {
		if p.ca == "" {
			continue
		}
		trusted := &tlsv3.CertificateValidationContext{TrustedCa: file(o.spelled(p.ca)), WatchedDirectory: watched(p.ca)}
		if err := add(&tlsv3.Secret{Name: p.name, Type: &tlsv3.Secret_ValidationContext{ValidationContext: trusted}}); err != nil {
			return nil, fmt.Errorf("envoy secrets: %w", err)
		}
	}
	return files, nil
}

// hasSecrets reports whether any file of Secrets is named.
func (o Options) hasSecrets() bool {
	return o.SecretsDir != "" && (o.TLSCertFile != "" || o.ExtProcCAFile != "" || o.watchedCA() != "")
}

// watchedCA is the bundle for Bedrock where it is ours, in the folder of secrets. The
// system's own changes with the system.
func (o Options) watchedCA() string {
	if o.SecretsDir == "" || filepath.Dir(o.UpstreamCAFile) != filepath.Clean(o.SecretsDir) {
		return ""
	}
	return o.UpstreamCAFile
}

// pair is a certificate and its key. Of two folders each file's own is watched.
func (o Options) pair(cert, key string) *tlsv3.TlsCertificate {
	c := &tlsv3.TlsCertificate{CertificateChain: file(o.spelled(cert)), PrivateKey: file(o.spelled(key))}
	if filepath.Dir(cert) == filepath.Dir(key) {
		c.WatchedDirectory = watched(cert)
	}
	return c
}

// spelled is the path, in one of two spellings.
func (o Options) spelled(path string) string {
	if !o.Respelled {
		return path
	}
	dir, name := filepath.Split(path)
	return dir + "./" + name
}

func watched(path string) *corev3.WatchedDirectory {
	return &corev3.WatchedDirectory{Path: filepath.Dir(path)}
}

// shows has c show a certificate.
func (o Options) shows(c *tlsv3.CommonTlsContext, secret, cert, key string) {
	if o.SecretsDir == "" {
		c.TlsCertificates = []*tlsv3.TlsCertificate{{CertificateChain: file(cert), PrivateKey: file(key)}}
		return
	}
	c.TlsCertificateSdsSecretConfigs = []*tlsv3.SdsSecretConfig{o.secret(secret)}
}

// trusts has c take certificates of this CA, within what else v asks of them.
func (o Options) trusts(c *tlsv3.CommonTlsContext, secret, ca string, v *tlsv3.CertificateValidationContext) {
	if o.SecretsDir == "" || secret == secretUpstreamCA && o.watchedCA() == "" {
		v.TrustedCa = file(ca)
		c.ValidationContextType = &tlsv3.CommonTlsContext_ValidationContext{ValidationContext: v}
		return
	}
	c.ValidationContextType = &tlsv3.CommonTlsContext_CombinedValidationContext{CombinedValidationContext: &tlsv3.CommonTlsContext_CombinedCertificateValidationContext{
		DefaultValidationContext: v, ValidationContextSdsSecretConfig: o.secret(secret),
	}}
}

func (o Options) secret(name string) *tlsv3.SdsSecretConfig {
	return &tlsv3.SdsSecretConfig{Name: name, SdsConfig: &corev3.ConfigSource{
		ResourceApiVersion: corev3.ApiVersion_V3,
		ConfigSourceSpecifier: &corev3.ConfigSource_PathConfigSource{PathConfigSource: &corev3.PathConfigSource{
			Path: filepath.Join(o.SecretsDir, name+".yaml"), WatchedDirectory: &corev3.WatchedDirectory{Path: o.SecretsDir},
		}},
	}}
}
