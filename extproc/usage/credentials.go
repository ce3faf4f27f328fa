package usage

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Credentials are temporary ones of a provider key, for the metrics.
type Credentials struct {
	ProviderKey, Kind string
	Since             time.Time // when they were got; zero: never
	Expires           time.Time // zero: never, or not known
}

var (
	credentialsAge = prometheus.NewDesc("aisix_credentials_age_seconds", "Since the temporary credentials of a provider key were got; -1 before the first.", []string{"provider_key", "type"}, nil)
	credentialsEnd = prometheus.NewDesc("aisix_credentials_expire_seconds", "Until the temporary credentials of a provider key expire; less than 0 once they have, absent where they do not.", []string{"provider_key", "type"}, nil)
)

// CredentialsFailed counts an attempt to get credentials that failed.
func (m *Metrics) CredentialsFailed(kind string) { m.credentials.WithLabelValues(kind).Inc() }

// Credentials adds how old temporary credentials are. Call it once.
func (m *Metrics) Credentials(all func() []Credentials) {
	m.registry.MustRegister(credentialsCollector(all))
}

type credentialsCollector func() []Credentials

// Describe is prometheus.Collector's.
func (credentialsCollector) Describe(to chan<- *prometheus.Desc) {
	to <- credentialsAge
	to <- credentialsEnd
}

// Collect is prometheus.Collector's. A provider key whose secret was replaced has the new
// credentials only: of two with one name, the younger count.
func (c credentialsCollector) Collect(to chan<- prometheus.Metric) {
	type key struct{ name, kind string }
	latest := map[key]Credentials{}
	for _, one := range c() {
		k := key{one.ProviderKey, one.Kind}
		if was, ok := latest[k]; !ok || one.Since.After(was.Since) {
			latest[k] = one
		}
	}
	for k, one := range latest {
		age := -1.0
		if !one.Since.IsZero() {
			age = time.Since(one.Since).Seconds()
		}
		to <- prometheus.MustNewConstMetric(credentialsAge, prometheus.GaugeValue, age, k.name, k.kind)
		if !one.Expires.IsZero() {
			to <- prometheus.MustNewConstMetric(credentialsEnd, prometheus.GaugeValue, time.Until(one.Expires).Seconds(), k.name, k.kind)
		}
	}
}
