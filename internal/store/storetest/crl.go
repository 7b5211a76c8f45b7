package storetest

import (
	"context"
	"errors"
	"fmt"
	"math"
	"reflect"
	"slices"
	"testing"
	"time"

	"chirograph.dev/internal/certlog"
	"chirograph.dev/internal/pca"
	"chirograph.dev/internal/store"
)

// CRLs keeps revocation lists.
type CRLs interface {
	AddCRLs(ctx context.Context, add, change []*store.CRL) error
	CRL(ctx context.Context, ca string, id int64) (*store.CRL, error)
	CRLs(ctx context.Context, ca string, after int64, limit int) ([]*store.CRL, error)
	DueCRLs(ctx context.Context, now time.Time, limit int) ([]*store.CRL, error)
	UpdateCRL(ctx context.Context, c *store.CRL) error
}

// Revoked reads what revocation lists and OCSP answers are made of.
type Revoked interface {
	Revoked(ctx context.Context, ca string, crl int64, lo, hi uint64, yield func(r *store.Revoked) error) error
	PruneRevoked(ctx context.Context, ca string, before time.Time) error
	RestoreRevoked(ctx context.Context, ca string) error
	Responders(ctx context.Context, ca string, after time.Time) ([]*store.Responder, error)
}

func millis(ms int64) time.Time { return time.UnixMilli(ms).UTC() }

// list is a new list of a CA with something in every field.
func list(ca string, id int64) *store.CRL {
	return &store.CRL{
		CA: ca, ID: id, Name: "EoNIZbjA9td", Partitioned: true, Active: true, Bucket: "bucket", Key: fmt.Sprintf("crl/%d.crl", id),
		ACL: pca.S3ObjectAcl_PUBLIC_READ, URI: fmt.Sprintf("http://crl.example.com/%d.crl", id), Days: 7,
		Certificates: 1, NotAfter: millis(2000), RevokeIndex: 3, ChangedAt: millis(4000),
		Base: store.SignedCRL{
			Number: 5, Index: 6, Covered: 7, Since: millis(8000), NextUpdate: millis(9000), Entries: 10, Bytes: 11, SHA256: []byte{12}, Certificate: 13, WrittenAt: millis(14000),
		},
		Delta: store.SignedCRL{
			Number: 15, BaseNumber: 16, Index: 17, Covered: 18, Since: millis(19000), NextUpdate: millis(20000), Entries: 21, Bytes: 22, SHA256: []byte{23}, Certificate: 24, WrittenAt: millis(25000),
		},
		Due: millis(26000), Failures: 27, FailedAt: millis(28000), Failure: "why",
	}
}

// sameCRL compares a list with what is stored.
func sameCRL(t *testing.T, e Engine, want *store.CRL) {
	t.Helper()
	got, err := e.CRL(t.Context(), want.CA, want.ID)
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("read %+v (%v), stored %+v", got, err, want)
	}
}

func testCRLs(t *testing.T, e Engine) {
	ctx, ca := t.Context(), caID(1)
	first, other := list(ca, 1), list(caID(2), 1)
	first.Open = true
	if err := e.AddCRLs(ctx, []*store.CRL{first, other}, nil); err != nil || first.Version != 1 || other.Version != 1 {
		t.Fatalf("%d, %d, %v", first.Version, other.Version, err)
	}
	sameCRL(t, e, first)
	sameCRL(t, e, other)
	for name, add := range map[string]*store.CRL{"the same ID": list(ca, 1), "two open ones": {CA: ca, ID: 2, Open: true}} {
		if err := e.AddCRLs(ctx, []*store.CRL{list(ca, 3), add}, nil); !errors.Is(err, store.ErrConflict) {
			t.Errorf("%s: %v", name, err)
		}
	}
	_, err := e.CRL(ctx, ca, 3)
	notFound(t, "list that came with a refused one", err)

	// The open one is closed when the next one is opened, by one of two.
	closed, stale := *first, *first
	closed.Open = false
	second := &store.CRL{CA: ca, ID: 2, Open: true, Active: true, Due: millis(1000)}
	if err := e.AddCRLs(ctx, []*store.CRL{second}, []*store.CRL{&closed}); err != nil || closed.Version != 2 {
		t.Fatal(closed.Version, err)
	}
	sameCRL(t, e, &closed)
	sameCRL(t, e, second)
	stale.Open = false
	if err := e.AddCRLs(ctx, []*store.CRL{list(ca, 3)}, []*store.CRL{&stale}); !errors.Is(err, store.ErrConflict) || stale.Version != 1 {
		t.Errorf("a list that was closed by somebody else: %v", err)
	}
	if err := e.UpdateCRL(ctx, &stale); !errors.Is(err, store.ErrConflict) {
		t.Errorf("stale list: %v", err)
	}
	notFound(t, "list to update", e.UpdateCRL(ctx, list(ca, 3)))
	reopen, shut := closed, *second
	reopen.Open, shut.Open = true, false
	if err := e.UpdateCRL(ctx, &reopen); !errors.Is(err, store.ErrConflict) {
		t.Errorf("opening a second one: %v", err)
	}
	if err := e.AddCRLs(ctx, nil, []*store.CRL{&reopen, &shut}); err != nil {
		t.Errorf("opening the one and closing the other: %v", err)
	}

	for after, want := range map[int64]int{0: 2, 1: 1, 2: 0} {
		if lists, err := e.CRLs(ctx, ca, after, 10); err != nil || len(lists) != want || want > 0 && lists[0].ID != after+1 {
			t.Errorf("after %d: %+v, %v", after, lists, err)
		}
	}
	if lists, err := e.CRLs(ctx, ca, 0, 1); err != nil || len(lists) != 1 || !reflect.DeepEqual(lists[0], &reopen) {
		t.Errorf("%+v, %v", lists, err)
	}
	for now, want := range map[int64][]int64{999: nil, 1000: {2}, 25999: {2}, 26000: {2, 1, 1}} {
		lists, err := e.DueCRLs(ctx, millis(now), 10)
		var ids []int64
		for _, l := range lists {
			ids = append(ids, l.ID)
		}
		if err != nil || !slices.Equal(ids, want) {
			t.Errorf("due at %d: %v, %v", now, ids, err)
		}
	}
	shut.Active, other.Due = false, time.Time{}
	if err := errors.Join(e.UpdateCRL(ctx, &shut), e.UpdateCRL(ctx, other)); err != nil {
		t.Fatal(err)
	}
	if lists, err := e.DueCRLs(ctx, millis(26000), 10); err != nil || len(lists) != 1 || lists[0].CA != ca || lists[0].ID != 1 {
		t.Errorf("%+v, %v", lists, err)
	}
}

// revoked are the issue entries of what a list is to have; serials are those of
// the entries.
func revoked(t *testing.T, e Engine, records []certlog.Record, crl int64, lo, hi uint64) (issued []uint64) {
	t.Helper()
	ca := certificate(records[0]).CA
	last := hi
	err := e.Revoked(t.Context(), ca, crl, lo, hi, func(r *store.Revoked) error {
		i := slices.IndexFunc(records, func(c certlog.Record) bool { return string(certificate(c).Serial) == string(r.Serial) })
		c, v, err := e.CertificateStatus(t.Context(), ca, r.Serial)
		if err != nil || i < 0 || r.RevokeIndex >= last || r.RevokeIndex < lo || v == nil ||
			!reflect.DeepEqual(*r, store.Revoked{Serial: r.Serial, NotAfter: c.NotAfter.UnixMilli(), Time: v.Time, Reason: v.Reason, RevokeIndex: v.RevokeIndex, CRL: c.CRL}) {
			return fmt.Errorf("%+v, %+v, %+v: %w", r, c, v, err)
		}
		last, issued = r.RevokeIndex, append(issued, uint64(i))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return issued
}

// bound is Issue for a certificate that is bound to a list.
func bound(ca string, seed uint64, at, crl int64) certlog.Record {
	r := Issue(ca, random(seed), at)
	certificate(r).CRL = crl
	return r
}

// revokeBound is Revoke with all that the certificate's row says.
func revokeBound(records []certlog.Record, i uint64, at int64) certlog.Record {
	c := certificate(records[i])
	r := Revoke(c.CA, c.Serial, i, at)
	v := r.Rows[0].(*store.Revocation)
	v.NotAfter, v.CRL = c.NotAfter, c.CRL
	return r
}

// signed is the record of a CRL that covers the log's first entries up to now.
func signed(t *testing.T, e Engine, ca string, id int64, delta bool) (certlog.Record, *store.CRL) {
	t.Helper()
	c, err := e.CRL(t.Context(), ca, id)
	if err != nil {
		t.Fatal(err)
	}
	head, err := e.LogHead(t.Context(), ca)
	if err != nil {
		t.Fatal(err)
	}
	s := &c.Base
	if delta {
		s = &c.Delta
	}
	s.Number, s.Covered = head.Time, head.Size
	entry := certlog.Entry{Type: certlog.TypeCRL, Time: head.Time, Number: []byte{1}, Covered: head.Size}
	b, err := entry.Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	return certlog.Record{Entry: b, Rows: []certlog.Row{&store.SignedCRLRow{CRL: c, Delta: delta}}}, c
}

// testBoundCRLs follows lists through what certificates and revocations do to them.
func testBoundCRLs(t *testing.T, e Engine) {
	ctx, ca := t.Context(), caID(1)
	complete := &store.CRL{CA: ca, ID: 1, Open: true, Active: true}
	full := &store.CRL{CA: ca, ID: 2, Partitioned: true, Active: true}
	empty := &store.CRL{CA: ca, ID: 3, Partitioned: true, Active: true}
	old := &store.CRL{CA: ca, ID: 4}
	if err := e.AddCRLs(ctx, []*store.CRL{complete, full, empty, old, {CA: caID(2), ID: 1, Active: true}}, nil); err != nil {
		t.Fatal(err)
	}
	// check compares what the rows keep; the rest is what the test last stored.
	check := func(what string) {
		t.Helper()
		for _, c := range []*store.CRL{complete, full, empty, old, {CA: caID(2), ID: 1, Active: true, Version: 1}} {
			sameCRL(t, e, c)
		}
		if t.Failed() {
			t.Fatal(what)
		}
	}

	// Entries 0 to 3: one of no list, two of the partition, one of the complete list.
	records := []certlog.Record{Issue(ca, random(1), now), bound(ca, 2, now+1, 2), bound(ca, 3, now+2, 2), bound(ca, 4, now+3, 1)}
	certificate(records[1]).NotAfter = millis(now + 1e12)
	commit(t, e, ca, records...)
	full.Certificates, full.NotAfter, full.Due = 2, millis(now+1e12), millis(now+2)
	complete.Certificates, complete.NotAfter, complete.Due = 1, certificate(records[3]).NotAfter, millis(now+3)
	check("first certificates")
	records = append(records, bound(ca, 5, now+4, 2))
	commit(t, e, ca, records[4])
	full.Certificates++
	check("one more")
	err := e.CommitLog(ctx, []certlog.Batch{batch(t, e, ca, bound(ca, 6, now+5, 9))})
	if row, ok := errors.AsType[certlog.RowErrors](err); !ok || len(row) != 1 || !errors.Is(row[0].Err, store.ErrNotFound) {
		t.Fatalf("certificate of a list that is not there: %v", err)
	}

	// Entries 5 and 6: revocations, of no list and of the partition.
	commit(t, e, ca, revokeBound(records, 0, now+10))
	complete.RevokeIndex, complete.ChangedAt = 5, millis(now+10)
	check("revocation of a certificate of no list")
	commit(t, e, ca, revokeBound(records, 2, now+11))
	complete.RevokeIndex = 6
	full.RevokeIndex, full.ChangedAt = 6, millis(now+11)
	check("revocation of a certificate of a partition")
	for _, c := range []struct {
		crl    int64
		lo, hi uint64
		want   []uint64
	}{{0, 0, math.MaxUint64, []uint64{2, 0}}, {0, 0, 6, []uint64{0}}, {0, 6, 7, []uint64{2}}, {2, 0, 7, []uint64{2}}, {2, 0, 6, nil}, {1, 0, 7, nil}} {
		if got := revoked(t, e, records, c.crl, c.lo, c.hi); !slices.Equal(got, c.want) {
			t.Errorf("%+v: %v", c, got)
		}
	}

	// Entry 7 is a revocation that the list of entry 8 does not cover.
	rec, c := signed(t, e, ca, 1, false)
	c.Due = millis(now + 1e9)
	stale := *c
	commit(t, e, ca, revokeBound(records, 1, now+20))
	full.RevokeIndex = 7
	commit(t, e, ca, rec)
	complete.Base = store.SignedCRL{Number: now + 11, Covered: 7, Index: 8}
	complete.Version, complete.RevokeIndex, complete.ChangedAt = 2, 7, millis(now+20)
	check("revocation while the list was made")
	if c.Version != 2 || c.Base.Index != 8 {
		t.Errorf("signed: %+v", c)
	}
	rec.Rows = []certlog.Row{&store.SignedCRLRow{CRL: &stale}}
	err = e.CommitLog(ctx, []certlog.Batch{batch(t, e, ca, rec)})
	if row, ok := errors.AsType[certlog.RowErrors](err); !ok || len(row) != 1 || !errors.Is(row[0].Err, store.ErrConflict) || stale.Version != 1 {
		t.Fatalf("list that was made twice: %v", err)
	}

	// The caller knows of it now, and may put it off. Entry 9 covers it.
	if c, err = e.CRL(ctx, ca, 1); err != nil {
		t.Fatal(err)
	}
	complete.Failures, complete.Due = 1, millis(now+1e9)
	c.Failures, c.Due = complete.Failures, complete.Due
	if err := e.UpdateCRL(ctx, c); err != nil {
		t.Fatal(err)
	}
	complete.Version = 3
	check("put off")
	rec, _ = signed(t, e, ca, 1, true)
	commit(t, e, ca, rec)
	complete.Delta = store.SignedCRL{Number: now + 20, Covered: 9, Index: 9}
	complete.Version = 4
	check("delta")
	rec, _ = signed(t, e, ca, 1, false)
	commit(t, e, ca, rec)
	complete.Base = store.SignedCRL{Number: now + 20, Covered: 10, Index: 10}
	complete.Version = 5
	check("nothing is missing")

	// Entry 11: the list lacks something again.
	commit(t, e, ca, revokeBound(records, 3, now+30))
	complete.RevokeIndex, complete.ChangedAt, complete.Due = 11, millis(now+30), millis(now+30)
	check("revocation after a list")

	// A first certificate that the caller did not know of.
	if c, err = e.CRL(ctx, ca, 3); err != nil {
		t.Fatal(err)
	}
	records = append(records, bound(ca, 7, now+40, 3))
	commit(t, e, ca, records[5])
	if err := e.UpdateCRL(ctx, c); err != nil {
		t.Fatal(err)
	}
	empty.Certificates, empty.NotAfter, empty.Due, empty.Version = 1, certificate(records[5]).NotAfter, millis(now+40), 2
	check("certificate while the list was changed")

	if err := e.PruneRevoked(ctx, ca, certificate(records[2]).NotAfter.Add(time.Second)); err != nil {
		t.Fatal(err)
	}
	if got := revoked(t, e, records, 0, 0, 100); !slices.Equal(got, []uint64{1}) {
		t.Errorf("after those that expired were forgotten: %v", got)
	}
}

// testManyRevoked reads and forgets more than fits into one step: all of records
// are revoked, by the entries that follow them.
func testManyRevoked(t *testing.T, e Engine, records []certlog.Record) {
	ca, n := certificate(records[0]).CA, len(records)
	read := func() (indices []uint64) {
		err := e.Revoked(t.Context(), ca, 0, 0, math.MaxUint64, func(r *store.Revoked) error {
			indices = append(indices, r.RevokeIndex)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return indices
	}
	if got := read(); len(got) != n || got[0] != uint64(2*n-1) || got[n-1] != uint64(n) || !slices.IsSortedFunc(got, func(a, b uint64) int { return int(b) - int(a) }) {
		t.Errorf("%d revocations", len(got))
	}
	middle := certificate(records[n/2]).NotAfter
	left := 0
	for _, r := range records {
		if !certificate(r).NotAfter.Before(middle) {
			left++
		}
	}
	if err := e.PruneRevoked(t.Context(), ca, middle); err != nil {
		t.Fatal(err)
	}
	if got := read(); len(got) != left || left == 0 || left == n {
		t.Errorf("%d revocations left, not %d", len(got), left)
	}
	for range 2 {
		if err := e.RestoreRevoked(t.Context(), ca); err != nil {
			t.Fatal(err)
		}
		if got := read(); len(got) != n {
			t.Errorf("%d revocations again", len(got))
		}
	}
	stop := errors.New("enough")
	if err := e.Revoked(t.Context(), ca, 0, 0, math.MaxUint64, func(*store.Revoked) error { return stop }); !errors.Is(err, stop) {
		t.Error(err)
	}
}

func testResponders(t *testing.T, e Engine) {
	ca := caID(1)
	var want []*store.Responder
	for i := range int64(2) {
		r := Issue(ca, random(uint64(i+1)), now+i)
		c := certificate(r)
		responder := &store.Responder{CA: ca, Serial: c.Serial, Generation: 1, KeyID: fmt.Sprint("key", i), NotBefore: millis(now), NotAfter: millis(now + 1000*(i+1))}
		r.Rows = append(r.Rows, responder)
		if head := commit(t, e, ca, r); responder.Index != head.Size-1 {
			t.Errorf("%+v", responder)
		}
		want = append([]*store.Responder{responder}, want...)
	}
	for after, want := range map[time.Time][]*store.Responder{{}: want, millis(now + 999): want, millis(now + 1000): want[:1], millis(now + 2000): nil} {
		if got, err := e.Responders(t.Context(), ca, after); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("after %v: %+v, %v", after, got, err)
		}
	}
	if got, err := e.Responders(t.Context(), caID(2), time.Time{}); err != nil || got != nil {
		t.Errorf("of another CA: %+v, %v", got, err)
	}
}
