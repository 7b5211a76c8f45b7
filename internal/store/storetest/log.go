package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
	"golang.org/x/mod/sumdb/tlog"

	"chirograph.dev/internal/certlog"
	"chirograph.dev/internal/store"
)

func testEmptyLog(t *testing.T, e Engine) {
	ctx := t.Context()
	h, err := e.LogHead(ctx, caID(1))
	if err != nil || h.Size != 0 || len(h.Edge) != 0 {
		t.Fatalf("%+v, %v", h, err)
	}
	if err := e.LogEntries(ctx, caID(1), 0, 1, func(uint64, []byte) error { return nil }); err == nil {
		t.Fatal("a log without entries gave one")
	}
	if err := e.LogEntries(ctx, caID(1), 0, 0, nil); err != nil {
		t.Fatal(err)
	}
	if nodes, err := e.LogNodes(ctx, caID(1), 8, 0, 0); err != nil || len(nodes) != 0 {
		t.Fatalf("%v, %v", nodes, err)
	}
	if _, err := e.LogNodes(ctx, caID(1), 8, 0, 1); err == nil {
		t.Fatal("a log without entries gave a node")
	}
	if blocks, err := e.UnsealedBlocks(ctx); err != nil || len(blocks) != 0 {
		t.Fatalf("%v, %v", blocks, err)
	}
	if err := e.CommitLog(ctx, nil); err != nil {
		t.Fatal(err)
	}
	Verify(t, e, caID(1))
}

func testCommit(t *testing.T, e Engine) {
	ctx := t.Context()
	ca := caID(1)
	records := fill(t, e, ca, 2500, random(1))
	head := Verify(t, e, ca)
	if head.Size != 2500 || head.Time != now+2499 {
		t.Fatalf("size %d, time %d", head.Size, head.Time)
	}
	for _, c := range [][2]uint64{{0, 2500}, {0, 1}, {2499, 2500}, {1000, 2100}, {1023, 1025}, {7, 7}} {
		i := c[0]
		err := e.LogEntries(ctx, ca, c[0], c[1], func(index uint64, entry []byte) error {
			if index != i || !bytes.Equal(entry, records[i].Entry) {
				return fmt.Errorf("entry %d differs from what was stored as %d", index, i)
			}
			i++
			return nil
		})
		if err != nil || i != c[1] {
			t.Fatalf("[%d, %d): stopped at %d: %v", c[0], c[1], i, err)
		}
	}
	stop := errors.New("enough")
	n := 0
	if err := e.LogEntries(ctx, ca, 0, 2500, func(uint64, []byte) error { n++; return stop }); !errors.Is(err, stop) || n != 1 {
		t.Fatalf("%d calls, %v", n, err)
	}
	if err := e.LogEntries(ctx, ca, 2499, 2501, func(uint64, []byte) error { return nil }); !errors.Is(err, store.ErrNotFound) {
		t.Fatalf("entry beyond the end: %v", err)
	}
	if nodes, err := e.LogNodes(ctx, ca, 8, 2, 9); err != nil || len(nodes) != 7 {
		t.Fatalf("%d nodes, %v", len(nodes), err)
	}
	if _, err := e.LogNodes(ctx, ca, 8, 2, 10); err == nil {
		t.Fatal("a node beyond the end was given")
	}
	// An entry of the largest size.
	large, err := (&certlog.Entry{Type: certlog.TypeSign, Extra: make([]byte, certlog.MaxEntrySize-45)}).Append(nil)
	if err != nil || len(large) != certlog.MaxEntrySize {
		t.Fatalf("%d bytes, %v", len(large), err)
	}
	commit(t, e, ca, certlog.Record{Entry: large})
	Verify(t, e, ca)
}

func testMovedHead(t *testing.T, e Engine) {
	ctx := t.Context()
	rnd := random(1)
	a, b := caID(1), caID(2)
	empty := certlog.Head{}
	first := extend(t, a, empty, Issue(a, rnd, now))
	if err := e.CommitLog(ctx, []certlog.Batch{first}); err != nil {
		t.Fatal(err)
	}
	// From an empty log that is not empty, from an old head, and from a head of
	// the right size with another root.
	other := extend(t, a, empty, Issue(a, rnd, now))
	commit(t, e, a, Issue(a, rnd, now))
	for name, from := range map[string]certlog.Head{"empty": empty, "old": first.To, "fork": extend(t, a, other.To, Issue(a, rnd, now)).To} {
		// The other log of the same commit stays as it was.
		err := e.CommitLog(ctx, []certlog.Batch{extend(t, b, empty, Issue(b, rnd, now)), extend(t, a, from, Issue(a, rnd, now))})
		if !errors.Is(err, certlog.ErrHeadMoved) {
			t.Fatalf("%s: %v", name, err)
		}
	}
	if h := Verify(t, e, a); h.Size != 2 {
		t.Fatalf("%d entries, want 2", h.Size)
	}
	if h := Verify(t, e, b); h.Size != 0 {
		t.Fatalf("%d entries, want 0", h.Size)
	}
	// A head that exists nowhere.
	if err := e.CommitLog(ctx, []certlog.Batch{extend(t, b, first.To, Issue(b, rnd, now))}); !errors.Is(err, certlog.ErrHeadMoved) {
		t.Fatal(err)
	}
}

// rowErrors are the places of the row errors of err, in order.
func rowErrors(err error) (at [][2]int) {
	var all certlog.RowErrors
	var one *certlog.RowError
	if errors.As(err, &all) {
		for _, e := range all {
			at = append(at, [2]int{e.Batch, e.Record})
		}
	} else if errors.As(err, &one) {
		at = append(at, [2]int{one.Batch, one.Record})
	}
	return at
}

func testRowErrors(t *testing.T, e Engine) {
	ctx := t.Context()
	ca := caID(1)
	rnd := random(1)
	token := func(value string, at time.Time) *store.Token {
		return &store.Token{Key: "k", Value: value, Now: at, Expires: at.Add(time.Minute)}
	}
	with := func(r certlog.Record, rows ...certlog.Row) certlog.Record {
		r.Rows = append(r.Rows, rows...)
		return r
	}
	first := Issue(ca, rnd, now)
	commit(t, e, ca, with(first, token("v", epoch)))
	commit(t, e, ca, Revoke(ca, certificate(first).Serial, 0, now))
	foreign := Issue(caID(2), rnd, now)
	for name, c := range map[string]struct {
		record      certlog.Record
		kind, value string // of the ExistsError; empty for another error
	}{
		"serial":              {IssueSerial(ca, rnd, now, certificate(first).Serial), "certificate", "0"},
		"revocation":          {Revoke(ca, certificate(first).Serial, 0, now), "revocation", "1"},
		"live token":          {with(Issue(ca, rnd, now), token("w", epoch.Add(time.Minute-time.Millisecond))), "token", "v"},
		"revoked later":       {Revoke(ca, certificate(first).Serial, 3, now), "", ""},
		"row of another CA":   {foreign, "", ""},
		"row of unknown kind": {with(Issue(ca, rnd, now), unknownRow{}), "", ""},
		"no DER":              {certlog.Record{Entry: first.Entry, Rows: []certlog.Row{&store.Certificate{CA: ca, Serial: []byte{9}}}}, "", ""},
	} {
		good := Issue(ca, rnd, now)
		err := e.CommitLog(ctx, []certlog.Batch{
			extend(t, caID(2), certlog.Head{}, Issue(caID(2), rnd, now)),
			batch(t, e, ca, good, c.record),
		})
		if at := rowErrors(err); !reflect.DeepEqual(at, [][2]int{{1, 1}}) {
			t.Fatalf("%s: records at fault: %v (%v)", name, at, err)
		}
		var exists *store.ExistsError
		if is := errors.As(err, &exists); is != (c.kind != "") || is && (exists.Kind != c.kind || exists.Value != c.value) {
			t.Fatalf("%s: %v", name, err)
		}
		_, err = e.Certificate(ctx, ca, certificate(good).Serial)
		notFound(t, name+": certificate beside the one at fault", err)
	}
	if v, err := e.Token(ctx, "k", epoch); v != "v" || err != nil {
		t.Fatalf("%q, %v", v, err)
	}
	if h := Verify(t, e, ca); h.Size != 2 {
		t.Fatalf("%d entries, want 2", h.Size)
	}
	if h := Verify(t, e, caID(2)); h.Size != 0 {
		t.Fatalf("%d entries, want 0", h.Size)
	}
	// The token is free again once it expired.
	commit(t, e, ca, with(Issue(ca, rnd, now), token("w", epoch.Add(time.Minute))))
	if v, err := e.Token(ctx, "k", epoch.Add(time.Minute)); v != "w" || err != nil {
		t.Fatalf("%q, %v", v, err)
	}
}

type unknownRow struct{}

func (unknownRow) LogRow() {}

// testAllRowErrors has many records at fault in one commit, some against each
// other. Whatever the engine reports at a time, the log gets to the same end:
// the first of each key is stored, with nothing of the others.
func testAllRowErrors(t *testing.T, e Engine) {
	ctx := t.Context()
	ca := caID(1)
	rnd := random(1)
	log := certlog.New(certlog.Config{Store: e})
	var wg sync.WaitGroup
	var won [8]atomic.Int32
	for i := range 64 {
		key := i % len(won)
		r := Issue(ca, rnd, now)
		r.Rows = append(r.Rows, &store.Token{Key: fmt.Sprint("k", key), Value: fmt.Sprint(i), Now: epoch, Expires: epoch.Add(time.Minute)})
		wg.Go(func() {
			_, err := log.Append(ctx, ca, r)
			var exists *store.ExistsError
			switch {
			case err == nil:
				won[key].Add(1)
				if v, err := e.Token(ctx, fmt.Sprint("k", key), epoch); err != nil || v != fmt.Sprint(i) {
					t.Errorf("token of %d holds %q, %v", i, v, err)
				}
			case errors.As(err, &exists):
				// The answer names a record that is durable.
				if v, err := e.Token(ctx, fmt.Sprint("k", key), epoch); err != nil || v != exists.Value {
					t.Errorf("told of %q, the token holds %q (%v)", exists.Value, v, err)
				}
				_, err := e.Certificate(ctx, ca, certificate(r).Serial)
				notFound(t, "refused certificate", err)
			default:
				t.Error(err)
			}
		})
	}
	wg.Wait()
	for i := range won {
		if n := won[i].Load(); n != 1 {
			t.Errorf("token %d was given %d times", i, n)
		}
	}
	if h := Verify(t, e, ca); h.Size != uint64(len(won)) {
		t.Fatalf("%d entries, want %d", h.Size, len(won))
	}
}

func testCertificates(t *testing.T, e Engine) {
	ctx := t.Context()
	ca := caID(1)
	records := fill(t, e, ca, 10, random(1))
	for i, r := range records {
		want := certificate(r)
		got, err := e.Certificate(ctx, ca, want.Serial)
		if err != nil || !reflect.DeepEqual(got, want) || got.Index != uint64(i) {
			t.Fatalf("read %+v (%v), stored %+v", got, err, want)
		}
	}
	serial := certificate(records[0]).Serial
	_, err := e.Certificate(ctx, caID(2), serial)
	notFound(t, "certificate of another CA", err)
	_, err = e.Certificate(ctx, ca, serial[:15])
	notFound(t, "certificate", err)
	if sizes, err := e.LogSizes(ctx); err != nil || !reflect.DeepEqual(sizes, map[string]uint64{ca: 10}) {
		t.Errorf("sizes %v, %v", sizes, err)
	}
	testSerialRange(t, e, ca, records)
	// The same serial is free in another CA.
	commit(t, e, caID(2), IssueSerial(caID(2), random(2), now, serial))
}

// testSerialRange compares ranges of serials with the certificates' own.
func testSerialRange(t *testing.T, e Engine, ca string, records []certlog.Record) {
	t.Helper()
	bySerial := make([]uint64, len(records))
	for i := range bySerial {
		bySerial[i] = uint64(i)
	}
	serial := func(i int) []byte { return certificate(records[bySerial[i]]).Serial }
	slices.SortFunc(bySerial, func(a, b uint64) int {
		return bytes.Compare(certificate(records[a]).Serial, certificate(records[b]).Serial)
	})
	for _, c := range []struct {
		lo, hi []byte
		limit  int
		want   []uint64
	}{
		{[]byte{}, nil, 100, bySerial},
		{[]byte{}, nil, 3, bySerial[:3]},
		{serial(4), nil, 100, bySerial[4:]},
		{serial(4), serial(7), 100, bySerial[4:7]},
		{serial(4), serial(7), 2, bySerial[4:6]},
		{append(bytes.Clone(serial(4)), 0), serial(7), 100, bySerial[5:7]},
		{serial(7), serial(4), 100, nil},
	} {
		if got, err := e.SerialRange(t.Context(), ca, c.lo, c.hi, c.limit); err != nil || !slices.Equal(got, c.want) {
			t.Errorf("serials from %x to %x, at most %d: %v (%v), want %v", c.lo, c.hi, c.limit, got, err, c.want)
		}
	}
	if got, err := e.SerialRange(t.Context(), caID(2), []byte{}, nil, 100); err != nil || len(got) != 0 {
		t.Errorf("serials of another CA: %v, %v", got, err)
	}
}

func testRevocations(t *testing.T, e Engine) {
	ctx := t.Context()
	ca := caID(1)
	records := fill(t, e, ca, 100, random(1))
	for _, i := range []uint64{50, 10, 90, 11} { // at 100, 101, 102, 103
		commit(t, e, ca, Revoke(ca, certificate(records[i]).Serial, i, now+int64(i)))
	}
	for _, c := range []struct {
		lo, hi, before uint64
		want           []uint64
	}{
		{0, 100, 200, []uint64{10, 11, 50, 90}},
		{0, 100, 104, []uint64{10, 11, 50, 90}},
		{0, 100, 103, []uint64{10, 50, 90}},
		{0, 100, 100, nil},
		{11, 90, 104, []uint64{11, 50}},
		{11, 91, 104, []uint64{11, 50, 90}},
		{20, 20, 104, nil},
	} {
		var got []uint64
		err := e.Revocations(ctx, ca, c.lo, c.hi, c.before, func(r store.Revocation) error {
			got = append(got, r.IssueIndex)
			_, one, err := e.CertificateStatus(ctx, ca, certificate(records[r.IssueIndex]).Serial)
			if err != nil || one == nil || !reflect.DeepEqual(*one, r) || r.Time != now+int64(r.IssueIndex) || r.Reason != 4 || r.CA != ca {
				return fmt.Errorf("%+v and %+v: %w", r, one, err)
			}
			return nil
		})
		if err != nil || !reflect.DeepEqual(got, c.want) {
			t.Errorf("%+v: %v, %v", c, got, err)
		}
	}
	want := *certificate(records[51])
	cert, rev, err := e.CertificateStatus(ctx, ca, want.Serial)
	if want.DER = nil; err != nil || rev != nil || !reflect.DeepEqual(cert, &want) {
		t.Errorf("read %+v and %+v (%v), stored %+v", cert, rev, err, want)
	}
	_, _, err = e.CertificateStatus(ctx, caID(2), want.Serial)
	notFound(t, "status of a certificate of another CA", err)
	stop := errors.New("enough")
	if err := e.Revocations(ctx, ca, 0, 100, 104, func(store.Revocation) error { return stop }); !errors.Is(err, stop) {
		t.Fatal(err)
	}
}

func testManyRevocations(t *testing.T, e Engine) {
	ca := caID(1)
	const n = 5000
	records := fill(t, e, ca, n, random(1))
	var revokes []certlog.Record
	for i := range uint64(n) {
		revokes = append(revokes, revokeBound(records, i, now))
	}
	commit(t, e, ca, revokes...)
	next := uint64(0)
	err := e.Revocations(t.Context(), ca, 0, n, 2*n, func(r store.Revocation) error {
		if r.IssueIndex != next || r.RevokeIndex != n+next {
			return fmt.Errorf("%+v where %d should be", r, next)
		}
		next++
		return nil
	})
	if err != nil || next != n {
		t.Fatalf("%d revocations, %v", next, err)
	}
	testManyRevoked(t, e, records)
}

// testConcurrentAppends is the load of a busy server: 64 callers on 3 CAs,
// with tokens, revocations, and records at fault among them.
func testConcurrentAppends(t *testing.T, e Engine) {
	const callers, each, cas = 64, 40, 3
	log := certlog.New(certlog.Config{Store: e})
	var seen sync.Map
	var good, bad atomic.Uint64
	var wg sync.WaitGroup
	for c := range callers {
		wg.Go(func() {
			rnd := random(uint64(c))
			type issued struct {
				serial []byte
				index  uint64
			}
			last := map[string]issued{}
			for i := range each {
				ca := caID((c + i) % cas)
				r, fault := Issue(ca, rnd, now), false
				switch prev, ok := last[ca]; {
				case i%8 == 5 && ok:
					r = Revoke(ca, prev.serial, prev.index, now)
					delete(last, ca)
				case i%8 == 7 && ok:
					r, fault = IssueSerial(ca, rnd, now, prev.serial), true
				}
				index, err := log.Append(t.Context(), ca, r)
				if fault {
					bad.Add(1)
					var exists *store.ExistsError
					if !errors.As(err, &exists) {
						t.Errorf("second certificate with a serial: %v", err)
					}
					continue
				}
				if err != nil {
					t.Error(err)
					continue
				}
				good.Add(1)
				if _, dup := seen.LoadOrStore(fmt.Sprint(ca, index), true); dup {
					t.Errorf("index %d of %s was given twice", index, ca)
				}
				if cert, ok := r.Rows[0].(*store.Certificate); ok {
					if cert.Index != index {
						t.Errorf("certificate has index %d, its entry %d", cert.Index, index)
					}
					last[ca] = issued{cert.Serial, index}
					// What is acknowledged can be read.
					if got, err := e.Certificate(t.Context(), ca, cert.Serial); err != nil || got.Index != index {
						t.Errorf("certificate %d: %+v, %v", index, got, err)
					}
				}
			}
		})
	}
	wg.Wait()
	total := uint64(0)
	for i := range cas {
		h := Verify(t, e, caID(i))
		total += h.Size
		got, err := log.Head(t.Context(), caID(i))
		if err != nil || got.Root != h.Root {
			t.Errorf("head of the log %+v, of the store %+v (%v)", got, h, err)
		}
	}
	if total != good.Load() || bad.Load() == 0 {
		t.Fatalf("%d entries, %d acknowledged, %d at fault", total, good.Load(), bad.Load())
	}
}

// testSeveralLogs has two Logs over one store, as two nodes over one database.
func testSeveralLogs(t *testing.T, e Engine) {
	const nodes, callers, each = 2, 8, 25
	var wg sync.WaitGroup
	for n := range nodes {
		log := certlog.New(certlog.Config{Store: e})
		for c := range callers {
			wg.Go(func() {
				rnd := random(uint64(n*callers + c))
				for range each {
					if _, err := log.Append(t.Context(), caID(1), Issue(caID(1), rnd, now)); err != nil {
						t.Error(err)
					}
				}
			})
		}
	}
	wg.Wait()
	if h := Verify(t, e, caID(1)); h.Size != nodes*callers*each {
		t.Fatalf("%d entries, want %d", h.Size, nodes*callers*each)
	}
}

// testSealing compares what readers see before and after.
func testSealing(t *testing.T, e Engine) {
	ctx := t.Context()
	ca := caID(1)
	const size = 2*certlog.BlockSize + 300
	records := fill(t, e, ca, size, random(1))
	head := Verify(t, e, ca)
	blocks, err := e.UnsealedBlocks(ctx)
	if err != nil || !reflect.DeepEqual(blocks, map[string][]uint64{ca: {0, 1}}) {
		t.Fatalf("%v, %v", blocks, err)
	}
	_, err = e.LogPack(ctx, ca, 0)
	notFound(t, "pack of a block that is not sealed", err)
	for _, block := range []uint64{0, 0, 1, 0, 1} { // idempotent
		if err := e.SealLog(ctx, ca, block); err != nil {
			t.Fatal(err)
		}
	}
	if blocks, err := e.UnsealedBlocks(ctx); err != nil || len(blocks) != 0 {
		t.Fatalf("%v, %v", blocks, err)
	}
	if h := Verify(t, e, ca); h.Root != head.Root {
		t.Fatal("the head changed")
	}
	const b = certlog.BlockSize
	testPack(t, e, ca, 1, records[b:2*b])
	for _, c := range [][2]uint64{{0, size}, {b - 1, b + 1}, {b, b + 1}, {2*b - 3, 2*b + 7}, {5, 9}, {b, 2 * b}} {
		i := c[0]
		err := e.LogEntries(ctx, ca, c[0], c[1], func(index uint64, entry []byte) error {
			if index != i || !bytes.Equal(entry, records[i].Entry) {
				return fmt.Errorf("entry %d differs from what was stored as %d", index, i)
			}
			i++
			return nil
		})
		if err != nil || i != c[1] {
			t.Fatalf("[%d, %d): stopped at %d: %v", c[0], c[1], i, err)
		}
	}
	for i := 0; i < size; i += 257 {
		want := certificate(records[i])
		got, err := e.Certificate(ctx, ca, want.Serial)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Fatalf("read %+v (%v), stored %+v", got, err, want)
		}
	}
	rnd := random(2)
	r := certlog.NewHashReader(ctx, e, ca, size)
	for range 5 {
		n := rnd.Int64N(size)
		proof, err := tlog.ProveRecord(size, n, r)
		if err != nil {
			t.Fatal(err)
		}
		if err := tlog.CheckRecord(proof, size, head.Root, n, tlog.RecordHash(records[n].Entry)); err != nil {
			t.Fatal(err)
		}
	}
	// Life goes on: a serial stays taken, a certificate can be revoked.
	again := IssueSerial(ca, rnd, now, certificate(records[3]).Serial)
	if err := e.CommitLog(ctx, []certlog.Batch{batch(t, e, ca, again)}); len(rowErrors(err)) != 1 {
		t.Fatalf("serial of a sealed certificate: %v", err)
	}
	commit(t, e, ca, Revoke(ca, certificate(records[3]).Serial, 3, now))
}

// testPack decodes a sealed block without the engine.
func testPack(t *testing.T, e Engine, ca string, block uint64, records []certlog.Record) {
	t.Helper()
	frame, err := e.LogPack(t.Context(), ca, block)
	if err != nil {
		t.Fatal(err)
	}
	d, err := zstd.NewReader(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	bundle, err := d.DecodeAll(frame, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := range records {
		entry, rest, ok := certlog.CutBundled(bundle)
		if !ok || !bytes.Equal(entry, records[i].Entry) {
			t.Fatalf("entry %d of pack %d differs from what was stored", i, block)
		}
		bundle = rest
	}
	if len(bundle) != 0 {
		t.Fatalf("%d bytes behind the last entry of pack %d", len(bundle), block)
	}
}

func testSealTooEarly(t *testing.T, e Engine) {
	fill(t, e, caID(1), 1000, random(1))
	if err := e.SealLog(t.Context(), caID(1), 0); err == nil {
		t.Fatal("a block that is not full was sealed")
	}
	Verify(t, e, caID(1))
}

// testSealingUnderLoad appends while a Log seals beside it, and reads all the
// time: every read is whole.
func testSealingUnderLoad(t *testing.T, e Engine) {
	ca := caID(1)
	rnd := random(1)
	records := fill(t, e, ca, certlog.BlockSize-200, rnd)
	ctx, stop := context.WithCancel(t.Context())
	log := certlog.New(certlog.Config{Store: e})
	var background, wg sync.WaitGroup
	background.Go(func() {
		if err := log.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	for c := range 2 {
		background.Go(func() {
			rnd := random(uint64(100 + c))
			for ctx.Err() == nil {
				lo := rnd.Uint64N(uint64(len(records)) - 2000)
				i := lo
				err := e.LogEntries(t.Context(), ca, lo, lo+2000, func(index uint64, entry []byte) error {
					if index != i || !bytes.Equal(entry, records[i].Entry) {
						return fmt.Errorf("entry %d differs from what was stored as %d", index, i)
					}
					i++
					return nil
				})
				if err != nil || i != lo+2000 {
					t.Errorf("stopped at %d of [%d, %d): %v", i, lo, lo+2000, err)
				}
				for range 50 {
					want := certificate(records[rnd.IntN(len(records))])
					if got, err := e.Certificate(t.Context(), ca, want.Serial); err != nil || !bytes.Equal(got.DER, want.DER) {
						t.Errorf("certificate %x: %v", want.Serial, err)
					}
				}
			}
		})
	}
	for c := range 16 {
		wg.Go(func() {
			rnd := rand.New(rand.NewPCG(7, uint64(c)))
			for range 50 {
				if _, err := log.Append(t.Context(), ca, Issue(ca, rnd, now)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	sealed(t, e)
	stop()
	background.Wait()
	if h := Verify(t, e, ca); h.Size != certlog.BlockSize+600 {
		t.Fatalf("%d entries, want %d", h.Size, certlog.BlockSize+600)
	}
}

// sealed waits until no full block is in a tail.
func sealed(t *testing.T, e Engine) {
	t.Helper()
	for {
		blocks, err := e.UnsealedBlocks(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if len(blocks) == 0 {
			return
		}
		time.Sleep(time.Millisecond)
	}
}

// testSealingLeftovers ends sealing in the middle, again and again, and lets a
// later process bring it to its end.
func testSealingLeftovers(t *testing.T, e Engine) {
	ca := caID(1)
	fill(t, e, ca, certlog.BlockSize+5, random(1))
	head := Verify(t, e, ca)
	for i := range 6 {
		ctx, cancel := context.WithTimeout(t.Context(), time.Duration(5+20*i)*time.Millisecond)
		err := e.SealLog(ctx, ca, 0)
		cancel()
		if err != nil && !errors.Is(err, context.DeadlineExceeded) {
			t.Fatal(err)
		}
		e = e.Reopen(t)
		Verify(t, e, ca)
	}
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := certlog.New(certlog.Config{Store: e}).Run(ctx); err != nil {
			t.Error(err)
		}
	})
	sealed(t, e)
	stop()
	wg.Wait()
	if h := Verify(t, e, ca); h.Root != head.Root {
		t.Fatal("the head changed")
	}
}

func testRestart(t *testing.T, e Engine) {
	ca := caID(1)
	rnd := random(1)
	for i := range 5 {
		log := certlog.New(certlog.Config{Store: e})
		for range 20 {
			if _, err := log.Append(t.Context(), ca, Issue(ca, rnd, now)); err != nil {
				t.Fatal(err)
			}
		}
		if err := e.CreateCA(t.Context(), newCA(i, "1", epoch), &store.Token{Key: fmt.Sprint(i), Value: "v", Now: epoch, Expires: time.Now().Add(time.Hour)}); err != nil {
			t.Fatal(err)
		}
		old := e
		e = e.Reopen(t)
		if _, err := old.LogHead(t.Context(), ca); err == nil {
			t.Fatal("a closed store answers")
		}
		if h := Verify(t, e, ca); h.Size != uint64(20*(i+1)) {
			t.Fatalf("%d entries, want %d", h.Size, 20*(i+1))
		}
		if cas, err := e.CAs(t.Context(), "", time.Time{}, "", 100); err != nil || len(cas) != i+1 {
			t.Fatalf("%d CAs, %v", len(cas), err)
		}
		if v, err := e.Token(t.Context(), fmt.Sprint(i), epoch); v != "v" || err != nil {
			t.Fatalf("%q, %v", v, err)
		}
	}
}

func testEndedContext(t *testing.T, e Engine) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	b := batch(t, e, caID(1), Issue(caID(1), random(1), now))
	if err := e.CommitLog(ctx, []certlog.Batch{b}); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	if _, err := e.CA(ctx, caID(1)); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	if h := Verify(t, e, caID(1)); h.Size != 0 {
		t.Fatalf("%d entries, want 0", h.Size)
	}
}
