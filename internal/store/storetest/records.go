package storetest

import (
	"errors"
	"fmt"
	"math"
	"reflect"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"chirograph.dev/internal/certlog"
	"chirograph.dev/internal/pca"
	"chirograph.dev/internal/store"
)

var epoch = time.UnixMilli(now).UTC()

func pointer[T any](v T) *T { return &v }

func newCA(n int, account string, created time.Time) *store.CertificateAuthority {
	id := caID(n)
	return &store.CertificateAuthority{
		ID: id, ARN: "arn:aws:acm-pca:us-east-1:" + account + ":certificate-authority/" + id, Account: account,
		Type: "ROOT", Status: "CREATING",
		Configuration: pca.CertificateAuthorityConfiguration{
			KeyAlgorithm: "EC_prime256v1", SigningAlgorithm: "SHA256WITHECDSA",
			Subject: pca.ASN1Subject{CommonName: "Root \"<ü>\"", CustomAttributes: []pca.CustomAttribute{{ObjectIdentifier: "1.2.3", Value: "v"}}},
		},
		Revocation:  pca.RevocationConfiguration{CrlConfiguration: &pca.CrlConfiguration{Enabled: true, ExpirationInDays: 7, S3BucketName: "b"}},
		KeyStandard: "FIPS_140_2_LEVEL_3_OR_HIGHER", UsageMode: "GENERAL_PURPOSE",
		Tags:        []pca.Tag{{Key: "k", Value: pointer("v")}, {Key: "empty"}},
		Permissions: []store.Permission{{Principal: "acm.amazonaws.com", SourceAccount: account, Actions: []pca.ActionType{"IssueCertificate", "GetCertificate"}, CreatedAt: created}},
		Policy:      `{"Version":"2012-10-17"}`,
		CreatedAt:   created, LastStateChangeAt: created.Add(time.Millisecond), KeyID: "key-" + id, AuditKey: "vkey",
	}
}

func testAuthorities(t *testing.T, e Engine) {
	ctx := t.Context()
	ca := newCA(1, "123456789012", epoch)
	if err := e.CreateCA(ctx, ca, nil); err != nil {
		t.Fatal(err)
	}
	if ca.Version != 1 {
		t.Fatalf("version %d, want 1", ca.Version)
	}
	check := func() {
		t.Helper()
		got, err := e.CA(ctx, ca.ID)
		if err != nil || !reflect.DeepEqual(got, ca) {
			t.Fatalf("read %+v (%v), stored %+v", got, err, ca)
		}
	}
	check()
	var exists *store.ExistsError
	if err := e.CreateCA(ctx, newCA(1, "1", epoch), nil); !errors.As(err, &exists) || exists.Value != ca.ID {
		t.Fatalf("second one with the same id: %v", err)
	}
	stale := *ca
	ca.Status, ca.FailureReason, ca.CSR, ca.RestorableUntil, ca.Tags, ca.Permissions, ca.Policy = "DELETED", "OTHER", []byte{1, 2}, epoch.Add(time.Hour), nil, nil, ""
	ca.DeletedFrom = "DISABLED"
	ca.Installed, ca.NotAfter, ca.Revocation = 3, epoch.Add(48*time.Hour), pca.RevocationConfiguration{}
	if err := e.UpdateCA(ctx, ca); err != nil {
		t.Fatal(err)
	}
	if ca.Version != 2 {
		t.Fatalf("version %d, want 2", ca.Version)
	}
	check()
	if err := e.UpdateCA(ctx, &stale); !errors.Is(err, store.ErrConflict) || stale.Version != 1 {
		t.Fatalf("update of an old version: %v, version %d", err, stale.Version)
	}
	check()
	notFound(t, "CA", e.UpdateCA(ctx, newCA(2, "1", epoch)))
	_, err := e.CA(ctx, caID(2))
	notFound(t, "CA", err)
}

func testAuthorityList(t *testing.T, e Engine) {
	ctx := t.Context()
	for i := range 30 {
		// Three at a time have the same time, and they come out of order.
		n := (i * 7) % 30
		account := []string{"111111111111", "222222222222"}[n%2]
		if err := e.CreateCA(ctx, newCA(n, account, epoch.Add(time.Duration(n/3)*time.Second)), nil); err != nil {
			t.Fatal(err)
		}
	}
	for account, want := range map[string]int{"": 30, "111111111111": 15, "222222222222": 15, "333333333333": 0} {
		var after time.Time
		id, seen := "", 0
		last := -1
		for {
			page, err := e.CAs(ctx, account, after, id, 4)
			if err != nil || len(page) > 4 {
				t.Fatalf("%d CAs, %v", len(page), err)
			}
			for _, ca := range page {
				var n int
				if _, err := fmt.Sscanf(ca.ID, "%08d", &n); err != nil || n <= last || account != "" && ca.Account != account {
					t.Fatalf("CA %s of %s after %d (%v)", ca.ID, ca.Account, last, err)
				}
				last = n
				after, id = ca.CreatedAt, ca.ID
				seen++
			}
			if len(page) < 4 {
				break
			}
		}
		if seen != want {
			t.Errorf("account %q: %d CAs, want %d", account, seen, want)
		}
	}
	testOverview(t, e)
}

// testOverview goes on with the 30 CAs of testAuthorityList, each with a policy.
func testOverview(t *testing.T, e Engine) {
	ctx := t.Context()
	change := func(n int, edit func(*store.CertificateAuthority)) {
		t.Helper()
		ca, err := e.CA(ctx, caID(n))
		if err == nil {
			edit(ca)
			err = e.UpdateCA(ctx, ca)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	// 1 can be restored for a minute, 3 is gone.
	change(1, func(ca *store.CertificateAuthority) {
		ca.Status, ca.RestorableUntil = "DELETED", epoch.Add(time.Minute)
	})
	change(3, func(ca *store.CertificateAuthority) { ca.Status, ca.Policy = "DELETED", "" })
	for at, want := range map[time.Time]int64{epoch: 14, epoch.Add(time.Minute): 13} {
		if n, err := e.CountCAs(ctx, "222222222222", at); err != nil || n != want {
			t.Errorf("%d CAs at %v, want %d (%v)", n, at, want, err)
		}
	}
	for account, want := range map[string]int{"111111111111": 14, "222222222222": 15, "333333333333": 29} {
		first, err := e.SharedCAs(ctx, account, time.Time{}, "", 2)
		if err != nil || len(first) != 2 {
			t.Fatalf("%d CAs, %v", len(first), err)
		}
		rest, err := e.SharedCAs(ctx, account, first[1].CreatedAt, first[1].ID, 100)
		if err != nil || len(first)+len(rest) != want {
			t.Errorf("%d CAs are shared by others than %s, want %d (%v)", len(first)+len(rest), account, want, err)
		}
		for _, ca := range append(first, rest...) {
			if ca.Account == account || ca.Policy == "" {
				t.Errorf("CA %s of %s with the policy %q is shared with %s", ca.ID, ca.Account, ca.Policy, account)
			}
		}
	}
	if n, err := e.CountCertificates(ctx, caID(1)); err != nil || n != 0 {
		t.Errorf("%d certificates, %v", n, err)
	}
}

func testInstall(t *testing.T, e Engine) {
	ctx := t.Context()
	ca := newCA(1, "123456789012", epoch)
	if err := e.CreateCA(ctx, ca, nil); err != nil {
		t.Fatal(err)
	}
	stale := *ca
	for g := int64(1); g <= 2; g++ {
		ca.Status, ca.Installed, ca.NotAfter = "ACTIVE", g, epoch.Add(time.Duration(g)*time.Hour)
		cert := &store.InstalledCertificate{CA: ca.ID, Generation: g, Certificate: fmt.Sprint("PEM ", g), Chain: "chain", InstalledAt: epoch}
		if err := e.InstallCertificate(ctx, ca, cert); err != nil {
			t.Fatal(err)
		}
		got, err := e.InstalledCertificate(ctx, ca.ID, g)
		if err != nil || !reflect.DeepEqual(got, cert) {
			t.Fatalf("read %+v (%v), stored %+v", got, err, cert)
		}
	}
	if got, err := e.CA(ctx, ca.ID); err != nil || got.Installed != 2 || got.Version != 3 || ca.Version != 3 {
		t.Fatalf("%+v, %v", got, err)
	}
	// An import based on an old version changes neither record.
	err := e.InstallCertificate(ctx, &stale, &store.InstalledCertificate{CA: ca.ID, Generation: 3, InstalledAt: epoch})
	if !errors.Is(err, store.ErrConflict) {
		t.Fatalf("import of an old version: %v", err)
	}
	_, err = e.InstalledCertificate(ctx, ca.ID, 3)
	notFound(t, "certificate", err)
	var exists *store.ExistsError
	if err := e.InstallCertificate(ctx, ca, &store.InstalledCertificate{CA: ca.ID, Generation: 2, InstalledAt: epoch}); !errors.As(err, &exists) {
		t.Fatalf("second certificate of a generation: %v", err)
	}
	if got, err := e.CA(ctx, ca.ID); err != nil || got.Version != 3 {
		t.Fatalf("%+v, %v", got, err)
	}
}

func testTokens(t *testing.T, e Engine) {
	ctx := t.Context()
	token := func(key, value string, at time.Time) *store.Token {
		return &store.Token{Key: key, Value: value, Now: at, Expires: at.Add(5 * time.Minute)}
	}
	if err := e.CreateCA(ctx, newCA(1, "1", epoch), token("a/CreateCA/t", "arn1", epoch)); err != nil {
		t.Fatal(err)
	}
	var exists *store.ExistsError
	err := e.CreateCA(ctx, newCA(2, "1", epoch), token("a/CreateCA/t", "arn2", epoch.Add(time.Minute)))
	if !errors.As(err, &exists) || exists.Kind != "token" || exists.Value != "arn1" {
		t.Fatalf("live token: %v", err)
	}
	_, err = e.CA(ctx, caID(2))
	notFound(t, "CA of a refused token", err)
	if v, err := e.Token(ctx, "a/CreateCA/t", epoch.Add(time.Minute)); v != "arn1" || err != nil {
		t.Fatalf("%q, %v", v, err)
	}
	_, err = e.Token(ctx, "a/CreateCA/t", epoch.Add(5*time.Minute))
	notFound(t, "expired token", err)
	_, err = e.Token(ctx, "other", epoch)
	notFound(t, "token", err)
	if err := e.CreateCA(ctx, newCA(2, "1", epoch), token("a/CreateCA/t", "arn2", epoch.Add(5*time.Minute))); err != nil {
		t.Fatalf("token again after it expired: %v", err)
	}
	if v, err := e.Token(ctx, "a/CreateCA/t", epoch.Add(6*time.Minute)); v != "arn2" || err != nil {
		t.Fatalf("%q, %v", v, err)
	}
}

func newReport(n int, ca string, created time.Time) *store.AuditReport {
	return &store.AuditReport{
		ID: fmt.Sprintf("%08d-2222-4222-8222-222222222222", n), CA: ca, CAARN: "arn", Account: "123456789012", Bucket: "b", Key: "k",
		Format: "JSON", Status: "CREATING", CreatedAt: created, Interval: 30 * time.Minute, Invocation: "i",
	}
}

func reportRecord(r *store.AuditReport) certlog.Record {
	b, err := (&certlog.Entry{Type: certlog.TypeReport, Time: r.CreatedAt.UnixMilli(), Label: []byte(r.ID), Extra: []byte(r.Format)}).Append(nil)
	if err != nil {
		panic(err)
	}
	return certlog.Record{Entry: b, Rows: []certlog.Row{r}}
}

func testReports(t *testing.T, e Engine) {
	ctx := t.Context()
	ca := caID(1)
	fill(t, e, ca, 3, random(1))
	_, err := e.LastReport(ctx, ca)
	notFound(t, "report", err)
	var all []*store.AuditReport
	for i := range 5 {
		r := newReport(i, ca, epoch.Add(time.Duration(i)*time.Hour))
		commit(t, e, ca, reportRecord(r))
		if want := uint64(3 + i + 1); r.TreeSize != want {
			t.Fatalf("tree size %d, want %d", r.TreeSize, want)
		}
		if un, err := e.UnfinishedReports(ctx); err != nil || len(un) != 1 || !reflect.DeepEqual(un[0], r) {
			t.Fatalf("%v, %v", un, err)
		}
		stale := *r
		r.Status, r.Reason, r.FinishedAt, r.Rows, r.Revoked, r.Bytes, r.SHA256, r.UploadID, r.Checkpoint = "SUCCESS", "why", epoch, 1, 2, 3, []byte{4}, "up", []byte("head")
		if err := e.UpdateReport(ctx, r); err != nil {
			t.Fatal(err)
		}
		if err := e.UpdateReport(ctx, &stale); !errors.Is(err, store.ErrConflict) {
			t.Fatalf("update of an old version: %v", err)
		}
		got, err := e.Report(ctx, ca, r.ID)
		if err != nil || !reflect.DeepEqual(got, r) {
			t.Fatalf("read %+v (%v), stored %+v", got, err, r)
		}
		if got, err = e.LastReport(ctx, ca); err != nil || got.ID != r.ID {
			t.Fatalf("%+v, %v", got, err)
		}
		all = append(all, r)
	}
	// The report before another one: it succeeded, and has a proof.
	previous := func(of *store.AuditReport, want *store.AuditReport) {
		t.Helper()
		got, err := e.PreviousReport(ctx, ca, of.TreeSize)
		if want == nil {
			notFound(t, "previous report", err)
		} else if err != nil || !reflect.DeepEqual(got, want) {
			t.Fatalf("before %d entries: %+v (%v), want %+v", of.TreeSize, got, err, want)
		}
	}
	previous(all[0], nil)
	previous(all[4], all[3])
	all[3].Status, all[2].Checkpoint = pca.AuditReportStatus_FAILED, nil
	for _, r := range all[2:4] {
		if err := e.UpdateReport(ctx, r); err != nil {
			t.Fatal(err)
		}
	}
	previous(all[4], all[1])
	for _, page := range []struct {
		before uint64
		want   []*store.AuditReport
	}{{math.MaxInt64, []*store.AuditReport{all[4], all[3], all[2]}}, {all[2].TreeSize, []*store.AuditReport{all[1], all[0]}}, {all[0].TreeSize, nil}} {
		if got, err := e.Reports(ctx, ca, page.before, 3); err != nil || !reflect.DeepEqual(got, page.want) {
			t.Fatalf("before %d entries: %v, %v", page.before, got, err)
		}
	}
	if un, err := e.UnfinishedReports(ctx); err != nil || len(un) != 0 {
		t.Fatalf("%v, %v", un, err)
	}
	_, err = e.Report(ctx, ca, "none")
	notFound(t, "report", err)
	_, err = e.Report(ctx, caID(2), all[0].ID)
	notFound(t, "report of another CA", err)
	notFound(t, "report", e.UpdateReport(ctx, newReport(9, ca, epoch)))
}

// testReportSlot holds the rule of one report at a time and one in an interval.
func testReportSlot(t *testing.T, e Engine) {
	ctx := t.Context()
	ca := caID(1)
	n := 0
	try := func(at time.Time, interval time.Duration, holder string) *store.AuditReport {
		t.Helper()
		n++
		r := newReport(n, ca, at)
		r.Interval = interval
		err := e.CommitLog(ctx, []certlog.Batch{batch(t, e, ca, reportRecord(r))})
		var exists *store.ExistsError
		switch {
		case holder == "" && err != nil:
			t.Fatalf("free slot: %v", err)
		case holder != "" && (!errors.As(err, &exists) || exists.Kind != "report slot" || exists.Value != holder):
			t.Fatalf("slot of %s: %v", holder, err)
		}
		return r
	}
	end := func(r *store.AuditReport, status pca.AuditReportStatus) {
		t.Helper()
		r.Status = status
		if err := e.UpdateReport(ctx, r); err != nil {
			t.Fatal(err)
		}
	}
	const half = 30 * time.Minute
	first := try(epoch, half, "")
	try(epoch.Add(24*time.Hour), half, first.ID) // CREATING, however old
	end(first, pca.AuditReportStatus_FAILED)
	second := try(epoch.Add(time.Second), half, "")
	end(second, pca.AuditReportStatus_SUCCESS)
	try(second.CreatedAt.Add(half-time.Millisecond), half, second.ID)
	third := try(second.CreatedAt.Add(half), half, "")
	end(third, pca.AuditReportStatus_SUCCESS)
	// The interval in force now counts, and not the one in force then.
	try(third.CreatedAt.Add(half), 2*half, third.ID)
	fourth := try(third.CreatedAt.Add(time.Minute), 0, "")
	try(third.CreatedAt.Add(2*time.Minute), 0, fourth.ID) // CREATING
	end(fourth, pca.AuditReportStatus_FAILED)
	// A clock that was set back: a little changes nothing, much frees the slot
	// of what was made in the future, but not while it is being made.
	future := try(epoch.Add(8760*time.Hour), half, "")
	try(epoch.Add(48*time.Hour), half, future.ID)
	end(future, pca.AuditReportStatus_SUCCESS)
	try(future.CreatedAt.Add(-store.ClockSkew), half, future.ID)
	fifth := try(future.CreatedAt.Add(-store.ClockSkew-time.Millisecond), half, "")
	end(fifth, pca.AuditReportStatus_FAILED)
	ca = caID(2)
	try(epoch, half, "")
}

// testReportSlotRace lets many callers ask for the same slot at once, in one
// commit and in several.
func testReportSlotRace(t *testing.T, e Engine) {
	log := certlog.New(certlog.Config{Store: e})
	var wg sync.WaitGroup
	var won atomic.Int32
	for i := range 32 {
		wg.Go(func() {
			_, err := log.Append(t.Context(), caID(1), reportRecord(newReport(i, caID(1), epoch)))
			var exists *store.ExistsError
			switch {
			case err == nil:
				won.Add(1)
			case !errors.As(err, &exists):
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if won.Load() != 1 {
		t.Fatalf("%d reports have the slot", won.Load())
	}
	if h := Verify(t, e, caID(1)); h.Size != 1 {
		t.Fatalf("%d entries, want 1", h.Size)
	}
}

func testParts(t *testing.T, e Engine) {
	ctx := t.Context()
	var want []store.UploadedPart
	for _, n := range []int32{3, 1, 2} {
		for _, report := range []string{"r1", "r2"} {
			p := store.UploadedPart{Report: report, Number: n, Lo: uint64(n), Hi: uint64(n) + 1, Rows: 5, Revoked: 1, Bytes: 6, ETag: "e", Checksum: "c"}
			again := p
			again.ETag, again.SHA256 = "e2", []byte{7}
			if err := e.PutUploadedParts(ctx, []store.UploadedPart{p, again}); err != nil {
				t.Fatal(err)
			}
		}
	}
	for n := int32(1); n <= 3; n++ {
		want = append(want, store.UploadedPart{Report: "r1", Number: n, Lo: uint64(n), Hi: uint64(n) + 1, Rows: 5, Revoked: 1, Bytes: 6, ETag: "e2", Checksum: "c", SHA256: []byte{7}})
	}
	if got, err := e.UploadedParts(ctx, "r1"); err != nil || !reflect.DeepEqual(got, want) {
		t.Fatalf("%+v, %v", got, err)
	}
	for range 2 {
		if err := e.DeleteUploadedParts(ctx, "r1"); err != nil {
			t.Fatal(err)
		}
	}
	for report, want := range map[string]int{"r1": 0, "r2": 3} {
		if got, err := e.UploadedParts(ctx, report); err != nil || len(got) != want {
			t.Fatalf("%s: %d parts, %v", report, len(got), err)
		}
	}
}

func testSegments(t *testing.T, e Engine) {
	ctx := t.Context()
	const format = pca.AuditReportResponseFormat_JSON
	_, _, err := e.Segments(ctx, caID(1), format)
	notFound(t, "a set", err)

	none := store.SegmentSet{CA: caID(1), Format: format}
	set := store.SegmentSet{CA: caID(1), Format: format, Rendering: 1, Place: "here", Size: 100}
	other := store.SegmentSet{CA: caID(1), Format: pca.AuditReportResponseFormat_CSV, Rendering: 1, Place: "here", Size: 7}
	segment := func(lo, hi uint64, key string) store.Segment {
		return store.Segment{Lo: lo, Hi: hi, Rows: hi - lo, Revoked: 1, Bytes: 100, SHA256: []byte(key), Checksum: "c", ETag: "e", Key: key, Stale: key == ""}
	}
	check := func(set store.SegmentSet, want ...store.Segment) {
		t.Helper()
		got, segments, err := e.Segments(ctx, set.CA, set.Format)
		if err != nil || got != set || !reflect.DeepEqual(segments, want) {
			t.Errorf("%+v %+v, %v; want %+v %+v", got, segments, err, set, want)
		}
	}
	ok := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	conflict := func(err error) {
		t.Helper()
		if !errors.Is(err, store.ErrConflict) {
			t.Errorf("%v, want a conflict", err)
		}
	}
	conflict(e.PutSegments(ctx, set, []store.Segment{segment(0, 5, "a")}))
	conflict(e.MoveSegments(ctx, set, set, nil))
	ok(e.MoveSegments(ctx, none, set, nil))
	conflict(e.MoveSegments(ctx, none, set, nil))
	check(set)
	ok(e.MoveSegments(ctx, store.SegmentSet{CA: caID(1), Format: other.Format}, other, nil))
	ok(e.PutSegments(ctx, other, []store.Segment{segment(0, 3, "csv")}))
	a, b, c, d, none4 := segment(0, 5, "a"), segment(5, 9, "b"), segment(9, 12, "c"), segment(12, 20, "d"), segment(20, 30, "")
	none4.SHA256 = nil
	ok(e.PutSegments(ctx, set, []store.Segment{d, a, none4}))
	ok(e.PutSegments(ctx, set, []store.Segment{c, b}))
	check(set, a, b, c, d, none4)

	// Revocations make segments stale, once only.
	next := set
	next.Size = 120
	ok(e.MoveSegments(ctx, set, next, []uint64{5, 12, 13}))
	conflict(e.MoveSegments(ctx, set, next, nil))
	conflict(e.PutSegments(ctx, set, []store.Segment{b}))
	b.Stale, d.Stale = true, true
	check(next, a, b, c, d, none4)

	// A merged one takes the place of both; so does one that is made again.
	bc, d2 := segment(5, 12, "bc"), segment(12, 20, "d2")
	ok(e.PutSegments(ctx, next, []store.Segment{bc, d2}))
	check(next, a, bc, d2, none4)
	ok(e.PutSegments(ctx, next, []store.Segment{segment(3, 13, "over")}))
	check(next, segment(3, 13, "over"), none4)
	ok(e.MoveSegments(ctx, next, next, []uint64{3}))
	over := segment(3, 13, "over")
	over.Stale = true
	check(next, over, none4)

	if sets, err := e.SegmentSets(ctx); err != nil || !reflect.DeepEqual(sets, []store.SegmentSet{other, next}) {
		t.Errorf("%+v, %v", sets, err)
	}
	// Another rendering, or another place, begins with nothing.
	moved := next
	moved.Place = "there"
	ok(e.MoveSegments(ctx, next, moved, nil))
	check(moved)
	ok(e.PutSegments(ctx, moved, []store.Segment{a}))
	ok(e.MoveSegments(ctx, moved, none, nil))
	_, _, err = e.Segments(ctx, caID(1), format)
	notFound(t, "a dropped set", err)
	ok(e.MoveSegments(ctx, none, set, nil))
	check(set)
	check(other, segment(0, 3, "csv"))
}

func testAuditKeys(t *testing.T, e Engine) {
	ca := caID(1)
	if keys, err := e.AuditKeys(t.Context(), ca); err != nil || len(keys) != 0 {
		t.Fatalf("%+v, %v", keys, err)
	}
	record := func(vkey string) certlog.Record {
		b, err := (&certlog.Entry{Type: certlog.TypeKey, Time: now, Label: []byte(vkey)}).Append(nil)
		if err != nil {
			t.Fatal(err)
		}
		return certlog.Record{Entry: b, Rows: []certlog.Row{&store.AuditKey{CA: ca, Verifier: vkey, KeyID: "k", Algorithm: "ML_DSA_65", Endorsement: []byte{1, 2}}}}
	}
	commit(t, e, ca, Issue(ca, random(1), now), record("z"))
	commit(t, e, ca, record("a"))
	var exists *store.ExistsError
	if err := e.CommitLog(t.Context(), []certlog.Batch{batch(t, e, ca, record("z"))}); !errors.As(err, &exists) || exists.Kind != store.KindAuditKey || exists.Value != "1" {
		t.Fatalf("the same key again: %v", err)
	}
	want := []store.AuditKey{
		{CA: ca, Verifier: "z", Index: 1, KeyID: "k", Algorithm: "ML_DSA_65", Endorsement: []byte{1, 2}},
		{CA: ca, Verifier: "a", Index: 2, KeyID: "k", Algorithm: "ML_DSA_65", Endorsement: []byte{1, 2}},
	}
	if got, err := e.AuditKeys(t.Context(), ca); err != nil || !reflect.DeepEqual(got, want) {
		t.Fatalf("%+v, %v", got, err)
	}
}

func testSettings(t *testing.T, e Engine) {
	ctx := t.Context()
	_, err := e.Setting(ctx, "none")
	notFound(t, "setting", err)
	for _, v := range []string{"one", "two", ""} {
		if err := e.PutSetting(ctx, "name", v); err != nil {
			t.Fatal(err)
		}
		if got, err := e.Setting(ctx, "name"); err != nil || got != v {
			t.Fatalf("%q, %v", got, err)
		}
	}
	if err := e.PutSetting(ctx, "format", "9"); err == nil {
		t.Fatal("the format can be set from outside")
	}
}

// testConcurrentUpdates lets many change the same CA, each based on what it
// read: every change that was accepted is in the end.
func testConcurrentUpdates(t *testing.T, e Engine) {
	ctx := t.Context()
	if err := e.CreateCA(ctx, newCA(1, "1", epoch), nil); err != nil {
		t.Fatal(err)
	}
	const callers, each = 8, 5
	var wg sync.WaitGroup
	for range callers {
		wg.Go(func() {
			for done := 0; done < each; {
				ca, err := e.CA(ctx, caID(1))
				if err != nil {
					t.Error(err)
					return
				}
				ca.Installed++
				switch err := e.UpdateCA(ctx, ca); {
				case err == nil:
					done++
				case !errors.Is(err, store.ErrConflict):
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	if ca, err := e.CA(ctx, caID(1)); err != nil || ca.Installed != callers*each || ca.Version != 1+callers*each {
		t.Fatalf("%+v, %v", ca, err)
	}
}

func testFailedIssuances(t *testing.T, e Engine) {
	ctx := t.Context()
	_, err := e.FailedIssuance(ctx, caID(1), []byte{1})
	notFound(t, "failed issuance", err)
	token := &store.Token{Key: "k", Value: "first", Now: epoch, Expires: epoch.Add(time.Minute)}
	if err := e.PutFailedIssuance(ctx, caID(1), []byte{1}, "a name is not permitted", token); err != nil {
		t.Fatal(err)
	}
	if got, err := e.FailedIssuance(ctx, caID(1), []byte{1}); err != nil || got != "a name is not permitted" {
		t.Fatalf("%q, %v", got, err)
	}
	_, err = e.FailedIssuance(ctx, caID(2), []byte{1})
	notFound(t, "failed issuance of another CA", err)
	if got, err := e.Token(ctx, "k", epoch); err != nil || got != "first" {
		t.Fatalf("token: %q, %v", got, err)
	}
	// A token that is taken stores nothing.
	var exists *store.ExistsError
	again := *token
	again.Value = "second"
	if err := e.PutFailedIssuance(ctx, caID(1), []byte{2}, "another", &again); !errors.As(err, &exists) || exists.Kind != store.KindToken || exists.Value != "first" {
		t.Fatalf("taken token: %v", err)
	}
	_, err = e.FailedIssuance(ctx, caID(1), []byte{2})
	notFound(t, "failed issuance of a refused call", err)
	if err := e.PutFailedIssuance(ctx, caID(1), []byte{3}, "without a token", nil); err != nil {
		t.Fatal(err)
	}
}
