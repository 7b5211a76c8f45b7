// Package server is the whole house behind one http.Handler: the API, STS'
// GetCallerIdentity, health and metrics. Listeners, TLS, time-outs and limits
// of connections belong to the program that serves it.
package server

import (
	"context"
	"fmt"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"chirograph.dev/internal/awsjson"
	"chirograph.dev/internal/pca"
)

// Config is what a server is made of.
type Config struct {
	// API is the operations and who may call them. Its Observe, when set, is
	// called besides the server's own metrics. STS uses its Credentials.
	API awsjson.Config
	// Ready says whether the server serves; GET /healthz answers 503 until it
	// does. Nil: always.
	Ready func(ctx context.Context) bool
	// Registry holds the metrics of GET /metrics; New adds those of requests,
	// of the Go runtime and of the process. Nil: a registry of its own.
	Registry *prometheus.Registry
	// MetricsFrom are the networks that may read GET /metrics, which asks for
	// no signature; for others it is not there. Nil: this machine alone.
	MetricsFrom []netip.Prefix
}

type server struct {
	api     *awsjson.Handler
	sts     *sts
	metrics http.Handler
	cfg     Config
}

// New makes the handler. Errors are mistakes of cfg: an operation that the API
// does not have, or a registry that has metrics of these names already.
func New(cfg Config) (http.Handler, error) {
	if cfg.Registry == nil {
		cfg.Registry = prometheus.NewRegistry()
	}
	if cfg.Ready == nil {
		cfg.Ready = func(context.Context) bool { return true }
	}
	if cfg.MetricsFrom == nil {
		cfg.MetricsFrom = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}
	}
	requests := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "pca_api_requests_total", Help: "Answered API requests by operation and error code (OK when there was none).",
	}, []string{"operation", "code"})
	durations := prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "pca_api_request_duration_seconds", Help: "Time from the first byte of an API request to the last of its answer.",
		Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10},
	}, []string{"operation"})
	throttled := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "pca_api_throttled_total", Help: "API requests answered ThrottlingException, by operation.",
	}, []string{"operation"})
	for _, c := range []prometheus.Collector{requests, durations, throttled, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{})} {
		if err := cfg.Registry.Register(c); err != nil {
			return nil, fmt.Errorf("registering the metrics of requests: %w", err)
		}
	}
	next := cfg.API.Observe
	cfg.API.Observe = func(operation, code string, d time.Duration) {
		requests.WithLabelValues(operation, code).Inc()
		durations.WithLabelValues(operation).Observe(d.Seconds())
		if code == string(pca.ThrottlingException) {
			throttled.WithLabelValues(operation).Inc()
		}
		if next != nil {
			next(operation, code, d)
		}
	}
	api, err := awsjson.New(cfg.API)
	if err != nil {
		return nil, err
	}
	return &server{
		api: api, sts: newSTS(cfg.API), cfg: cfg,
		metrics: promhttp.HandlerFor(cfg.Registry, promhttp.HandlerOpts{Registry: cfg.Registry}),
	}, nil
}

// ServeHTTP routes: what nobody else takes is the API's to refuse.
func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	read := r.Method == http.MethodGet || r.Method == http.MethodHead
	switch {
	case r.URL.Path == "/healthz" && read:
		s.health(w, r)
	case r.URL.Path == "/metrics" && read && s.mayReadMetrics(r):
		s.metrics.ServeHTTP(w, r)
	case r.URL.Path == "/" && isQueryProtocol(r):
		s.sts.ServeHTTP(w, r)
	default:
		s.api.ServeHTTP(w, r)
	}
}

// isQueryProtocol tells STS' requests from the API's, which name their target
// in a header.
func isQueryProtocol(r *http.Request) bool {
	if r.Header.Get("X-Amz-Target") != "" {
		return false
	}
	switch r.Method {
	case http.MethodPost:
		return strings.HasPrefix(strings.ToLower(r.Header.Get("Content-Type")), formType)
	case http.MethodGet:
		return r.URL.Query().Has("Action")
	}
	return false
}

func (s *server) health(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	status, text := http.StatusOK, "ok\n"
	if !s.cfg.Ready(r.Context()) {
		status, text = http.StatusServiceUnavailable, "not ready\n"
	}
	w.WriteHeader(status)
	_, _ = w.Write([]byte(text)) // a prober that has gone needs no answer
}

func (s *server) mayReadMetrics(r *http.Request) bool {
	a, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return false
	}
	for _, n := range s.cfg.MetricsFrom {
		if n.Contains(a.Addr().Unmap().WithZone("")) {
			return true
		}
	}
	return false
}
