package crl

import (
	"strconv"

	"github.com/prometheus/client_golang/prometheus"

	"chirograph.dev/internal/store"
)

// metrics are those of operations.md 9.
type metrics struct {
	generated, misconfigured, failures *prometheus.CounterVec
	nextUpdate, entries, bytes         *prometheus.GaugeVec
	delay                              prometheus.Histogram
}

func newMetrics(r prometheus.Registerer) (*metrics, error) {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	}
	gauge := func(name, help string) *prometheus.GaugeVec {
		return prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: name, Help: help}, []string{"ca", "partition"})
	}
	m := &metrics{
		generated:     counter("pca_crl_generated_total", "CRLs that were made and written.", "ca"),
		misconfigured: counter("pca_crl_bucket_misconfigured_total", "CRLs that their bucket refused.", "ca"),
		failures:      counter("pca_crl_failures_total", "CRLs that were not made, or not written, by reason.", "ca", "reason"),
		nextUpdate:    gauge("pca_crl_next_update_timestamp_seconds", "When a CRL that was written ends to be valid."),
		entries:       gauge("pca_crl_entries", "Certificates that a CRL lists."),
		bytes:         gauge("pca_crl_bytes", "Size of a CRL."),
		delay: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "pca_revocation_to_crl_seconds", Help: "Time from a revocation until the CRL that lists it was written.",
			Buckets: []float64{0.1, 0.5, 1, 2, 5, 10, 30, 60, 300, 900, 1800, 3600, 7200},
		}),
	}
	if r == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{m.generated, m.misconfigured, m.failures, m.nextUpdate, m.entries, m.bytes, m.delay} {
		if err := r.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// partitionLabel is - for the complete list of a CA; older ones, at another
// place, have their ID.
func partitionLabel(c *store.CRL) string {
	switch {
	case c.Name != "":
		return c.Name
	case c.Open:
		return "-"
	}
	return "-" + strconv.FormatInt(c.ID, 10)
}

// written shows a base that is in its bucket.
func (m *metrics) written(arn string, c *store.CRL) {
	labels := []string{arn, partitionLabel(c)}
	m.nextUpdate.WithLabelValues(labels...).Set(float64(c.Base.NextUpdate.Unix()))
	m.entries.WithLabelValues(labels...).Set(float64(c.Base.Entries))
	m.bytes.WithLabelValues(labels...).Set(float64(c.Base.Bytes))
}

// forget ends showing a list, by its label.
func (m *metrics) forget(arn, partition string) {
	labels := []string{arn, partition}
	m.nextUpdate.DeleteLabelValues(labels...)
	m.entries.DeleteLabelValues(labels...)
	m.bytes.DeleteLabelValues(labels...)
}
