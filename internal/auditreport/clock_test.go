package auditreport

import (
	"errors"
	"testing"
	"time"

	"chirograph.dev/internal/certlog"
	"chirograph.dev/internal/pca"
)

// TestClockSetBack: a report that was made while the clock stood in the future
// does not keep others away until then, once the log has come back from there.
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
	if _, err = h.create(s, pca.AuditReportResponseFormat_JSON); !errors.Is(err, certlog.ErrClock) {
		t.Errorf("a report before the last: %v", err)
	}
	recovery, err := (&certlog.Entry{Type: certlog.TypeRecovery, Time: clock.now().UnixMilli()}).Append(nil)
	if err == nil {
		_, err = h.log.Recover(t.Context(), testCA, certlog.Record{Entry: recovery})
	}
	if err != nil {
		t.Fatal(err)
	}
	second := h.mustCreate(s, pca.AuditReportResponseFormat_JSON)
	h.wait(s, second.AuditReportId)
	// The rule goes on from there.
	clock.add(10 * time.Minute)
	_, err = h.create(s, pca.AuditReportResponseFormat_JSON)
	wantCode(t, err, pca.RequestInProgressException, second.AuditReportId)
}
