package usage

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
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

// scraped reads the gauge as a scrape does, without the others.
func scraped(t *testing.T, m *Metrics) float64 {
	r := prometheus.NewRegistry()
	r.MustRegister(m.away)
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	return families[0].GetMetric()[0].GetGauge().GetValue()
}

// Who scrapes while Redis is away reads 1, whenever that is.
func TestAwayDoesNotTouchZero(t *testing.T) {
	m := NewMetrics()
	m.RedisAway(true)
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			select {
			case <-stop:
				return
			default:
				m.RedisAway(true)
			}
		}
	}()
	for range 2_000 {
		if got := scraped(t, m); got != 1 {
			t.Errorf("read %v", got)
			break
		}
	}
	close(stop)
	<-stopped
	if m.RedisAway(false); scraped(t, m) != 0 {
		t.Error("away for ever")
	}
}
