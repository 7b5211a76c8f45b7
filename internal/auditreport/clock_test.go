package auditreport

import (
	"testing"
	"time"

	"chirograph.dev/internal/pca"
)

// TestClockSetBack: a report that was made while the clock stood in the future
// does not keep others away until then.
func TestClockSetBack(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.bucket()
	clock := newClock()
	s := clock.of(h.service())
	defer start(t, s)()
	clock.add(8760 * time.Hour)
	first := h.mustCreate(s, pca.AuditReportResponseFormat_JSON)
	h.wait(s, first.AuditReportId)
	_, err := h.create(s, pca.AuditReportResponseFormat_JSON)
	wantCode(t, err, pca.RequestInProgressException, first.AuditReportId)

	clock.add(-8760 * time.Hour)
	second := h.mustCreate(s, pca.AuditReportResponseFormat_JSON)
	h.wait(s, second.AuditReportId)
	// The rule goes on from there.
	clock.add(10 * time.Minute)
	_, err = h.create(s, pca.AuditReportResponseFormat_JSON)
	wantCode(t, err, pca.RequestInProgressException, second.AuditReportId)
}
