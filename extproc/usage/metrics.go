package usage

import (
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Metrics are extproc's, in a registry of their own.
type Metrics struct {
	registry    *prometheus.Registry
	requests    *prometheus.CounterVec
	duration    *prometheus.HistogramVec
	firstToken  *prometheus.HistogramVec
	tokens      *prometheus.CounterVec
	serverTools *prometheus.CounterVec
	rejections  *prometheus.CounterVec
	attempts    *prometheus.CounterVec
	refused     *prometheus.CounterVec
	noEgress    *prometheus.CounterVec
	redis       *prometheus.CounterVec
	away        prometheus.Gauge
	repaired    prometheus.Counter
	panics      prometheus.Counter
	pending     prometheus.Gauge
	lost        prometheus.Counter
	credentials *prometheus.CounterVec

	// What every call counts in.
	requestsOf           func([4]string) prometheus.Counter
	durationOf, firstOf  func([3]string) prometheus.Observer
	tokensOf, attemptsOf func([3]string) prometheus.Counter
}

var seconds = []float64{.05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600}

// NewMetrics makes the metrics; Go's and the process's own are among them.
func NewMetrics() *Metrics {
	m := &Metrics{
		registry:    prometheus.NewRegistry(),
		requests:    prometheus.NewCounterVec(prometheus.CounterOpts{Name: "aisix_requests_total", Help: "Requests by how they ended. A wildcard alias is one model."}, []string{"provider", "model", "status", "outcome"}),
		duration:    prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "aisix_request_duration_seconds", Help: "From the request headers to the last byte of the answer.", Buckets: seconds}, []string{"provider", "model", "stream"}),
		firstToken:  prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "aisix_time_to_first_token_seconds", Help: "From the request headers to the first byte of the answer.", Buckets: seconds}, []string{"provider", "model", "stream"}),
		tokens:      prometheus.NewCounterVec(prometheus.CounterOpts{Name: "aisix_tokens_total", Help: "Tokens by kind: prompt, completion; cached and cache_write are of prompt, cache_write_1h of cache_write, reasoning of completion."}, []string{"provider", "model", "kind"}),
		serverTools: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "aisix_server_tool_requests_total", Help: "Uses of tools that the provider ran itself (web search and the like)."}, []string{"provider", "model"}),
		rejections:  prometheus.NewCounterVec(prometheus.CounterOpts{Name: "aisix_rate_limit_rejections_total", Help: "Requests refused by a limit."}, []string{"scope", "limit"}),
		attempts:    prometheus.NewCounterVec(prometheus.CounterOpts{Name: "aisix_attempts_total", Help: "Upstream calls by the model's target and by what came of them: served, or why not."}, []string{"model", "target", "reason"}),
		refused:     prometheus.NewCounterVec(prometheus.CounterOpts{Name: "aisix_refused_fields_total", Help: "Fields of the gateway's choice that an upstream refused by name, and that its model is asked without for an hour."}, []string{"model", "field"}),
		noEgress:    prometheus.NewCounterVec(prometheus.CounterOpts{Name: "aisix_egress_missing_total", Help: "Calls of models with routing.first_byte_timeout that found no egress listener of Envoy's, and were served without it."}, []string{"model"}),
		redis:       prometheus.NewCounterVec(prometheus.CounterOpts{Name: "aisix_redis_failures_total", Help: "Calls to Redis that failed, by use: limits, usage."}, []string{"use"}),
		away:        prometheus.NewGauge(prometheus.GaugeOpts{Name: "aisix_redis_away", Help: "1 while limits follow the failure policy because Redis is away."}),
		repaired:    prometheus.NewCounter(prometheus.CounterOpts{Name: "aisix_limit_keys_repaired_total", Help: "Keys of limits in Redis that were not as the limiter writes them, and were repaired."}),
		panics:      prometheus.NewCounter(prometheus.CounterOpts{Name: "aisix_panics_total", Help: "Calls that ended in a panic."}),
		pending:     prometheus.NewGauge(prometheus.GaugeOpts{Name: "aisix_usage_records_pending", Help: "Usage records in memory, not yet in Redis or on the disk."}),
		lost:        prometheus.NewCounter(prometheus.CounterOpts{Name: "aisix_usage_records_lost_total", Help: "Calls that are missing in the usage totals: their records found no room, or cannot be read or stored."}),
	}
	m.credentials = prometheus.NewCounterVec(prometheus.CounterOpts{Name: "aisix_credentials_refresh_failures_total", Help: "Attempts to get temporary credentials that failed, by the type of the secret."}, []string{"type"})
	m.registry.MustRegister(m.credentials)
	for _, kind := range []string{"assume_role", "web_identity", "ambient"} {
		m.credentials.WithLabelValues(kind)
	}
	m.requestsOf = once(func(l [4]string) prometheus.Counter { return m.requests.WithLabelValues(l[:]...) })
	m.durationOf = once(func(l [3]string) prometheus.Observer { return m.duration.WithLabelValues(l[:]...) })
	m.firstOf = once(func(l [3]string) prometheus.Observer { return m.firstToken.WithLabelValues(l[:]...) })
	m.tokensOf = once(func(l [3]string) prometheus.Counter { return m.tokens.WithLabelValues(l[:]...) })
	m.attemptsOf = once(func(l [3]string) prometheus.Counter { return m.attempts.WithLabelValues(l[:]...) })
	for _, use := range []string{"limits", "usage"} {
		m.redis.WithLabelValues(use) // there from the start, at 0
	}
	m.registry.MustRegister(m.requests, m.duration, m.firstToken, m.tokens, m.serverTools, m.rejections, m.attempts, m.refused, m.noEgress, m.redis, m.away, m.repaired, m.panics, m.pending, m.lost,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// Handler serves GET /metrics, and nothing else.
func (m *Metrics) Handler() http.Handler {
	metrics := promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path != "/metrics":
			http.Error(w, "not found; the metrics are at /metrics", http.StatusNotFound)
		case r.Method != http.MethodGet && r.Method != http.MethodHead:
			w.Header().Set("Allow", "GET, HEAD")
			http.Error(w, "method not allowed; use GET or HEAD", http.StatusMethodNotAllowed)
		default:
			metrics.ServeHTTP(w, r)
		}
	})
}

// Build says which build this is. Call it once.
func (m *Metrics) Build(version, commit, goVersion string) {
	info := prometheus.NewGauge(prometheus.GaugeOpts{Name: "aisix_build_info", Help: "1; the labels say which build of extproc this is.",
		ConstLabels: prometheus.Labels{"version": version, "commit": commit, "goversion": goVersion}})
	info.Set(1)
	m.registry.MustRegister(info)
}

// Config adds the snapshot's revision and age. state gives the revision and when
// the snapshot was last known to be current; zero time before the first. Call it
// once.
func (m *Metrics) Config(state func() (revision int64, current time.Time)) {
	m.registry.MustRegister(
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "aisix_config_revision", Help: "Revision of the resources being served."}, func() float64 {
			revision, _ := state()
			return float64(revision)
		}),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "aisix_config_age_seconds", Help: "Since the resources were last known to be current; -1 before the first."}, func() float64 {
			_, current := state()
			if current.IsZero() {
				return -1
			}
			return time.Since(current).Seconds()
		}))
}

// ConfigLost adds whether Redis has lost what the resources being served were read
// from. Call it once.
func (m *Metrics) ConfigLost(lost func() bool) {
	m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "aisix_config_lost", Help: "1 while the last resources are served because Redis has lost them."}, func() float64 {
		if lost() {
			return 1
		}
		return 0
	}))
}

// Load adds what the process has taken on: calls in flight, and bytes of bodies.
// Call it once.
func (m *Metrics) Load(load func() (calls, bytes int64)) {
	m.registry.MustRegister(
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "aisix_calls_in_flight", Help: "Calls to models, from their request headers to the last byte of the answer."}, func() float64 {
			calls, _ := load()
			return float64(calls)
		}),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "aisix_buffered_bytes", Help: "Bytes of request and answer bodies in memory, and of what is made of them."}, func() float64 {
			_, bytes := load()
			return float64(bytes)
		}))
}

// Refusing adds the share of new calls that is refused because the process has more to
// do than it can in time. Call it once.
func (m *Metrics) Refusing(share func() float64) {
	m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "aisix_overload_refused_share", Help: "Share of new calls that is refused at the moment because there are more than can be answered in time."}, share))
}

// RedisFailed counts a call to Redis that failed; use is limits or usage.
func (m *Metrics) RedisFailed(use string) { m.redis.WithLabelValues(use).Inc() }

// RedisAway shows whether limits follow the failure policy.
func (m *Metrics) RedisAway(away bool) {
	value := 0.0
	if away {
		value = 1
	}
	m.away.Set(value) // once: a scrape in between must not read the other
}

// LimitRepaired counts a key of a limit that somebody else had written to.
func (m *Metrics) LimitRepaired() { m.repaired.Inc() }

// Take counts a call.
func (m *Metrics) Take(f *Facts) {
	model := f.ModelAlias
	if model == "" && f.Alias != "" {
		model = "unknown" // callers choose these: one label for all of them
	}
	provider, stream := f.Provider, strconv.FormatBool(f.Stream)
	m.requestsOf([4]string{provider, model, strconv.Itoa(f.Status), f.Outcome.String()}).Inc()
	m.durationOf([3]string{provider, model, stream}).Observe(f.Latency.Seconds())
	if d := f.firstByte(); d > 0 && f.ErrorType == "" {
		m.firstOf([3]string{provider, model, stream}).Observe(d.Seconds())
	}
	for i := range f.Tries {
		t := &f.Tries[i]
		m.attemptsOf([3]string{model, t.Target, t.Reason}).Inc()
	}
	for _, field := range f.Refused {
		kind, _, _ := strings.Cut(field, ":") // a flag is a caller's to choose
		m.refused.WithLabelValues(model, kind).Inc()
	}
	if f.NoEgress {
		m.noEgress.WithLabelValues(model).Inc()
	}
	if f.Panicked {
		m.panics.Inc()
	}
	if f.Limit != "" {
		m.rejections.WithLabelValues(f.LimitScope, f.Limit).Inc()
	}
	count := func(kind string, n *int) {
		if n != nil && *n > 0 {
			m.tokensOf([3]string{provider, model, kind}).Add(float64(*n))
		}
	}
	prompt, completion := f.Usage.Prompt(), f.Usage.Completion()
	count("prompt", &prompt)
	count("completion", &completion)
	count("cached", f.Usage.CacheRead)
	count("cache_write", f.Usage.CacheWrite)
	count("cache_write_1h", f.Usage.CacheWrite1h)
	count("reasoning", f.Usage.Reasoning)
	if n := f.Usage.ServerTools; n != nil && *n > 0 {
		m.serverTools.WithLabelValues(provider, model).Add(float64(*n))
	}
}

// once remembers what of gives: to look a series up by its labels costs several times as much
// as to count in it. There are as many as the vector has, which forgets none either.
func once[labels comparable, series any](of func(labels) series) func(labels) series {
	var known sync.Map
	return func(l labels) series {
		if s, ok := known.Load(l); ok {
			return s.(series)
		}
		s := of(l)
		known.Store(l, s)
		return s
	}
}
