package usage

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestMetricsHandler(t *testing.T) {
	h := NewMetrics().Handler()
	for _, test := range []struct {
		method, path string
		status       int
		allow        string
	}{
		{"GET", "/metrics", 200, ""}, {"HEAD", "/metrics", 200, ""}, {"GET", "/metrics?x=y", 200, ""},
		{"POST", "/metrics", 405, "GET, HEAD"}, {"DELETE", "/metrics", 405, "GET, HEAD"},
		{"GET", "/", 404, ""}, {"GET", "/metrics/", 404, ""}, {"GET", "//metrics", 404, ""}, {"POST", "/debug/pprof/", 404, ""},
	} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(test.method, test.path, nil))
		if w.Code != test.status || w.Header().Get("Allow") != test.allow {
			t.Errorf("%s %s: %d, allow %q", test.method, test.path, w.Code, w.Header().Get("Allow"))
		}
		if told := strings.Contains(w.Body.String(), "aisix_"); told != (test.status == http.StatusOK) {
			t.Errorf("%s %s: metrics %v", test.method, test.path, told)
		}
	}
}
