package kube

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Envoy's heap is three quarters of its memory limit, in whatever words Kubernetes takes for that. Helm has
// numbers of YAML as floats, so that large ones come as 3.221225472e+09.
func TestMemoryLimits(t *testing.T) {
	for limit, heap := range map[string]int64{
		"2Gi":        1 << 30 / 2 * 3,
		"1.5Gi":      1 << 30 / 8 * 9,
		"1536Mi":     1 << 30 / 8 * 9,
		"2G":         1500000000,
		"2e9":        1500000000,
		`"2e9"`:      1500000000,
		"3221225472": 2415919104,
	} {
		file := filepath.Join(t.TempDir(), "values.yaml")
		if err := os.WriteFile(file, []byte("gateway: {envoy: {resources: {limits: {memory: "+limit+"}}}}\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		got := string(helm(t, "template", "gw", chart, "--kube-version", kubeVersion, "-f", "../../helm/values/sidecar.yaml", "-f", file))
		want := fmt.Sprintf("name: AISIX_PROXY__MAX_MEMORY_BYTES\n              value: \"%d\"\n", heap)
		if n := strings.Count(got, want); n != 2 { // the container that writes the start file, and extproc
			t.Errorf("%s: %d times %q", limit, n, want)
		}
	}
}

// A helm that was built with `go build` takes itself for one of Kubernetes 1.20's days; ours says what it is.
func TestHelmTakesTheChartAsItStands(t *testing.T) {
	helm(t, "template", "gw", chart, "-f", "../../helm/values/sidecar.yaml")
}
