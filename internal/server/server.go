// Package server is the whole house behind one http.Handler: the API, IAM, STS
// and Organizations, the audit logs below /audit-log/, the console below
// /console/, health and metrics. Listeners, TLS, time-outs and limits
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
	"chirograph.dev/internal/awsquery"
	"chirograph.dev/internal/iam"
	"chirograph.dev/internal/pca"
)

// Config is what a server is made of.
type Config struct {
	// API is the operations and who may call them. Its Observe, when set, is
	// called besides the server's own metrics.
	API awsjson.Config
	// Query is the services of the Query protocol, IAM and STS; Resource as
	// there, may be nil.
	Query    []awsquery.Service
	Resource func(ctx context.Context, in awsquery.Input, caller *iam.Principal) (arn string, conditions map[string][]string, err error)
	// Others are more services of the API's protocol, such as Organizations.
	// They know callers and write logs as the API does.
	Others []awsjson.Config
	// AuditLog and Revocation are the routes of what lies below /audit-log/ and
	// /revocation/, and PathRates are their rates by action. They know callers,
	// decide and write logs as the API does. Nil: there is nothing.
	AuditLog, Revocation func(*http.Request) (awsjson.Route, error)
	PathRates            map[string]awsjson.Rate
	// Console makes what lies at /console and below it. It gets API, whose
	// operations, rules, limits and logs it shares, with the server's metrics.
	// Nil: there is nothing.
	Console func(api awsjson.Config) (http.Handler, error)
	// OCSP answers requests at /ocsp and below it, those at / with the content
	// type of OCSP, and GET requests below / that are the DER of one in base64
	// . Nil: there is nothing.
	OCSP http.Handler
	// CRL serves /crl/<bucket>/<key>: the newest of every CRL, whatever became of
	// its bucket. Nil: there is nothing.
	CRL http.Handler
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
	query   *awsquery.Handler
	others  map[string]*awsjson.Handler // by prefix of X-Amz-Target
	logs    *awsjson.Plain              // nil: none
	lists   *awsjson.Plain              // of revocations; nil: none
	public  *Relying
	console http.Handler // nil: none
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
	observe := func(operation, code string, d time.Duration) {
		requests.WithLabelValues(operation, code).Inc()
		durations.WithLabelValues(operation).Observe(d.Seconds())
		if code == string(pca.ThrottlingException) {
			throttled.WithLabelValues(operation).Inc()
		}
		if next != nil {
			next(operation, code, d)
		}
	}
	cfg.API.Observe = observe
	s := &server{
		cfg: cfg, public: &Relying{OCSP: cfg.OCSP, CRL: cfg.CRL}, others: map[string]*awsjson.Handler{},
		metrics: promhttp.HandlerFor(cfg.Registry, promhttp.HandlerOpts{Registry: cfg.Registry}),
	}
	var err error
	if s.api, err = awsjson.New(cfg.API); err != nil {
		return nil, err
	}
	paths := cfg.API
	paths.Rates = cfg.PathRates
	if cfg.AuditLog != nil {
		if s.logs, err = awsjson.NewPlain(paths, cfg.AuditLog); err != nil {
			return nil, err
		}
	}
	if cfg.Revocation != nil {
		if s.lists, err = awsjson.NewPlain(paths, cfg.Revocation); err != nil {
			return nil, err
		}
	}
	if cfg.Console != nil {
		shared := cfg.API
		shared.Limits = s.api.Limits
		if s.console, err = cfg.Console(shared); err != nil {
			return nil, err
		}
	}
	for _, other := range cfg.Others {
		other.Partition, other.Log, other.Now = cfg.API.Partition, cfg.API.Log, cfg.API.Now
		if other.Credentials == nil {
			other.Credentials = cfg.API.Credentials
		}
		// Operations of two services may have one name.
		other.Observe = func(operation, code string, d time.Duration) { observe(other.Service+":"+operation, code, d) }
		if s.others[other.TargetPrefix], err = awsjson.New(other); err != nil {
			return nil, err
		}
	}
	s.query, err = awsquery.New(awsquery.Config{
		Partition: cfg.API.Partition, Credentials: cfg.API.Credentials, Services: cfg.Query, Resource: cfg.Resource,
		Observe: observe, Log: cfg.API.Log, Now: cfg.API.Now,
	})
	return s, err
}

// ServeHTTP routes: what nobody else takes is the API's to refuse.
func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	read := r.Method == http.MethodGet || r.Method == http.MethodHead
	switch {
	case r.URL.Path == "/healthz" && read:
		s.health(w, r)
	case r.URL.Path == "/metrics" && read && s.mayReadMetrics(r):
		s.metrics.ServeHTTP(w, r)
	case s.public.handler(r) != nil:
		s.public.ServeHTTP(w, r)
	case s.logs != nil && strings.HasPrefix(r.URL.Path, "/audit-log/"):
		s.logs.ServeHTTP(w, r)
	case s.lists != nil && strings.HasPrefix(r.URL.Path, "/revocation/"):
		s.lists.ServeHTTP(w, r)
	case s.console != nil && (r.URL.Path == "/console" || strings.HasPrefix(r.URL.Path, "/console/")):
		s.console.ServeHTTP(w, r)
	case r.URL.Path == "/" && awsquery.IsRequest(r):
		s.query.ServeHTTP(w, r)
	default:
		service, _, _ := strings.Cut(r.Header.Get("X-Amz-Target"), ".")
		if other := s.others[service]; other != nil {
			other.ServeHTTP(w, r)
			return
		}
		s.api.ServeHTTP(w, r)
	}
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
