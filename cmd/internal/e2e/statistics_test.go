package e2e

import (
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"aisix/cmd/internal/stack"
)

// Prometheus gets Envoy's statistics over a port, and nobody gets anything else of its admin interface.
func TestEnvoyStatistics(t *testing.T) {
	t.Parallel()
	address, err := stack.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	g := start(t, options{env: []string{
		"AISIX_PROXY__ENVOY_ADMIN=unix:" + filepath.Join(bin, fmt.Sprintf("s%d", sockets.Add(1))), "AISIX_PROXY__STATS_ADDRESS=" + address,
	}})
	g.tenant(t, newUpstream(t, nil).URL, settings{}).served(t)
	for _, path := range []string{"/stats/prometheus", "/metrics", "/stats/prometheus?usedonly"} {
		a, err := do(t.Context(), http.MethodGet, "http://"+address+path, "", "")
		if err != nil || a.status != http.StatusOK || !strings.Contains(a.body, `envoy_http_downstream_rq_active{envoy_http_conn_manager_prefix="callers"}`) {
			t.Errorf("%s: %d %.300s, %v", path, a.status, a.body, err)
		}
	}
	for _, path := range []string{
		"/", "/stats", "/stats/", "/stats/prometheus/", "/stats/prometheus/..", "/stats/prometheus/../../config_dump", "/stats/prometheus%2f..%2f..%2fconfig_dump",
		"/config_dump", "/clusters", "/certs", "/listeners", "/quitquitquit", "/healthcheck/fail", "/drain_listeners", "/logging", "/reset_counters", "/runtime", "/metrics/../quitquitquit", "/metricsx", "//config_dump",
	} {
		for _, method := range []string{http.MethodGet, http.MethodPost} {
			a, err := do(t.Context(), method, "http://"+address+path, "", "")
			if err != nil || a.status != http.StatusNotFound && a.status != http.StatusBadRequest || len(a.body) > 200 {
				t.Errorf("%s %s: %d %.300s, %v", method, path, a.status, a.body, err)
			}
		}
	}
	for _, method := range []string{http.MethodPost, http.MethodPut, http.MethodDelete, "CONNECT"} {
		if a, err := do(t.Context(), method, "http://"+address+"/stats/prometheus", "", ""); err == nil && a.status < 400 {
			t.Errorf("%s: %d %.300s", method, a.status, a.body)
		}
	}
	g.tenant(t, newUpstream(t, nil).URL, settings{}).served(t) // nothing was stopped, nothing drained
}
