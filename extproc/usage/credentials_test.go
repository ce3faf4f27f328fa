package usage

import (
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// Of two credentials with one name the younger are shown, and of none that do not expire
// the end.
func TestCredentials(t *testing.T) {
	m, now := NewMetrics(), time.Now()
	m.Credentials(func() []Credentials {
		return []Credentials{
			{ProviderKey: "a", Kind: "assume_role", Since: now.Add(-time.Hour), Expires: now.Add(time.Hour)},
			{ProviderKey: "a", Kind: "assume_role", Since: now.Add(-time.Minute), Expires: now.Add(time.Hour)},
			{ProviderKey: "b", Kind: "ambient", Since: now.Add(-time.Minute)},
			{ProviderKey: "c", Kind: "web_identity"},
		}
	})
	m.CredentialsFailed("web_identity")
	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	var got []string
	for line := range strings.Lines(w.Body.String()) {
		if strings.HasPrefix(line, "aisix_credentials_") {
			got = append(got, regexp.MustCompile(`(\} -?[0-9]{1,2})[0-9.]*\n`).ReplaceAllString(line, "$1"))
		}
	}
	want := []string{
		`aisix_credentials_age_seconds{provider_key="a",type="assume_role"} 60`,
		`aisix_credentials_age_seconds{provider_key="b",type="ambient"} 60`,
		`aisix_credentials_age_seconds{provider_key="c",type="web_identity"} -1`,
		`aisix_credentials_expire_seconds{provider_key="a",type="assume_role"} 35`,
		`aisix_credentials_refresh_failures_total{type="ambient"} 0`,
		`aisix_credentials_refresh_failures_total{type="assume_role"} 0`,
		`aisix_credentials_refresh_failures_total{type="web_identity"} 1`,
	}
	if !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
}
