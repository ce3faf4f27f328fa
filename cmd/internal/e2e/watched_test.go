package e2e

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"aisix/cmd/internal/stack"
)

// The dashboard and the alerts ask for metrics that are there: every name in them stands in what extproc
// or Envoy exports, and every metric of ours but Go's own is on the dashboard or in an alert.
func TestDashboardAndAlertsNameMetricsThatAreThere(t *testing.T) {
	t.Parallel()
	address, err := stack.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	g := start(t, options{env: []string{
		"AISIX_PROXY__ENVOY_ADMIN=unix:" + filepath.Join(bin, fmt.Sprintf("s%d", sockets.Add(1))), "AISIX_PROXY__STATS_ADDRESS=" + address,
	}})
	c := g.tenant(t, newUpstream(t, func(w http.ResponseWriter, _ *http.Request) { whole(w, "Hello.") }).URL, settings{key: map[string]any{"rate_limit": map[string]any{"rpd": 1}}})
	c.served(t)
	if a, err := c.chat(t.Context(), "Hello"); err != nil || a.status != http.StatusTooManyRequests {
		t.Fatal(a, err)
	}
	exported := map[string]bool{}
	text := ""
	for _, url := range []string{g.metrics, "http://" + address + "/stats/prometheus"} {
		a, err := do(t.Context(), http.MethodGet, url, "", "")
		if err != nil || a.status != http.StatusOK {
			t.Fatal(a.status, err)
		}
		text += a.body
	}
	for _, name := range regexp.MustCompile(`(?m)^([a-z_]+)[{ ]`).FindAllStringSubmatch(text, -1) {
		exported[name[1]] = true
	}
	var asked strings.Builder
	for _, file := range []string{"alerts.yml", "grafana/dashboards/gateway.json"} {
		b, err := os.ReadFile(filepath.Join("../../../deploy/observability", file))
		if err != nil {
			t.Fatal(err)
		}
		asked.Write(b)
	}
	named := map[string]bool{}
	for _, name := range regexp.MustCompile(`\b(aisix|envoy|process|go)_[a-z_]+`).FindAllString(asked.String(), -1) {
		named[name] = true
		isLabel := name == "envoy_http_conn_manager_prefix" || name == "envoy_response_code_class" || name == "envoy_cluster_name"
		if !exported[name] && !isLabel && name != "aisix_redis_failures_total" { // that one is there after a failure only
			t.Errorf("%s is asked for, and nobody exports it", name)
		}
	}
	for _, metric := range regexp.MustCompile(`(?m)^# TYPE (aisix_\w+) (\w+)`).FindAllStringSubmatch(text, -1) {
		name := metric[1]
		if metric[2] == "histogram" {
			name += "_bucket"
		}
		if !named[name] && name != "aisix_build_info" {
			t.Errorf("%s is exported, and neither on the dashboard nor in an alert", name)
		}
	}
}
