package ca

import (
	"context"
	"crypto"
	"errors"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"chirograph.dev/internal/keystore"
	"chirograph.dev/internal/pca"
	"chirograph.dev/internal/store"
)

const day = 24 * time.Hour

func (h *house) update(ca string, status pca.CertificateAuthorityStatus) error {
	_, err := h.UpdateCertificateAuthority(context.Background(), &pca.UpdateCertificateAuthorityRequest{CertificateAuthorityArn: ca, Status: status})
	return err
}

func (h *house) remove(ca string, days int32) error {
	_, err := h.DeleteCertificateAuthority(context.Background(), &pca.DeleteCertificateAuthorityRequest{CertificateAuthorityArn: ca, PermanentDeletionTimeInDays: days})
	return err
}

func (h *house) restore(ca string) error {
	_, err := h.RestoreCertificateAuthority(context.Background(), &pca.RestoreCertificateAuthorityRequest{CertificateAuthorityArn: ca})
	return err
}

func (h *house) describe(t *testing.T, ca string) *pca.CertificateAuthority {
	t.Helper()
	out, err := h.DescribeCertificateAuthority(t.Context(), &pca.DescribeCertificateAuthorityRequest{CertificateAuthorityArn: ca})
	if err != nil {
		t.Fatal(err)
	}
	return out.CertificateAuthority
}

// keyFiles lists the files of a CA's keys.
func (h *house) keyFiles(t *testing.T, ca string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(h.dir, "keys", mustARN(t, ca).CA+"*"))
	if err != nil {
		t.Fatal(err)
	}
	for i := range files {
		files[i] = filepath.Base(files[i])
	}
	return files
}

// TestDeleteAndRestore goes around the states from which a CA is deleted, and back.
func TestDeleteAndRestore(t *testing.T) {
	t.Parallel()
	h := open(t, t.TempDir())
	ca := h.create(t, pca.CertificateAuthorityType_ROOT)
	step := func(doing string, err error, want pca.CertificateAuthorityStatus) *pca.CertificateAuthority {
		t.Helper()
		if err != nil {
			t.Fatalf("%s: %v", doing, err)
		}
		d := h.describe(t, ca)
		if d.Status != want {
			t.Errorf("after %s the status is %s, want %s", doing, d.Status, want)
		}
		if (d.RestorableUntil != nil) != (want == pca.CertificateAuthorityStatus_DELETED) {
			t.Errorf("after %s RestorableUntil is %v", doing, d.RestorableUntil)
		}
		h.pass(time.Second)
		return d
	}
	const pending, active, disabled, expired, deleted = pca.CertificateAuthorityStatus_PENDING_CERTIFICATE, pca.CertificateAuthorityStatus_ACTIVE, pca.CertificateAuthorityStatus_DISABLED, pca.CertificateAuthorityStatus_EXPIRED, pca.CertificateAuthorityStatus_DELETED

	before := h.Now()
	d := step("delete while pending", h.remove(ca, 7), deleted)
	if want := before.Truncate(time.Millisecond).Add(7 * day); !time.Time(*d.RestorableUntil).Equal(want) || !time.Time(*d.LastStateChangeAt).Equal(before.Truncate(time.Millisecond)) {
		t.Errorf("deleted at %v it is restorable until %v and was last changed at %v", before, d.RestorableUntil, d.LastStateChangeAt)
	}
	h.pass(7*day - 2*time.Second)
	step("restore", h.restore(ca), pending)
	h.activate(t, ca, 3600*24*300)
	step("activate", nil, active)
	wantCode(t, h.remove(ca, 0), pca.InvalidStateException)
	step("disable", h.update(ca, disabled), disabled)
	changed := h.describe(t, ca).LastStateChangeAt
	if d := step("disable again", h.update(ca, disabled), disabled); *d.LastStateChangeAt != *changed {
		t.Error("an update that changes nothing counts as a change")
	}
	before = h.Now()
	if d := step("delete", h.remove(ca, 0), deleted); !time.Time(*d.RestorableUntil).Equal(before.Truncate(time.Millisecond).Add(30 * day)) {
		t.Errorf("by default restorable until %v", d.RestorableUntil)
	}
	step("restore", h.restore(ca), disabled)
	step("enable", h.update(ca, active), active)
	h.pass(300 * day)
	step("expiry", nil, expired)
	wantCode(t, h.update(ca, disabled), pca.InvalidStateException)
	step("delete", h.remove(ca, 7), deleted) // also when expired
	step("restore", h.restore(ca), expired)
	h.activate(t, ca, 3600)
	step("renewal", nil, active) // what it was before it expired
	step("disable", h.update(ca, disabled), disabled)
	step("delete", h.remove(ca, 7), deleted)
	h.pass(time.Hour)
	step("restore after expiry", h.restore(ca), expired)
	h.activate(t, ca, 3600)
	step("renewal", nil, disabled)
}

// TestEndOfRestoration: at the end the CA is gone and its key destroyed; what
// it issued and its log stay. A crash between the steps is finished later.
func TestEndOfRestoration(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	h := open(t, dir)
	ca := h.create(t, pca.CertificateAuthorityType_ROOT)
	h.activate(t, ca, 3600)
	leaf, err := h.issue(t, ca, leafCSR(t, "leaf.example.com"), "", 60)
	if err != nil {
		t.Fatal(err)
	}
	entries := h.entries(t, ca)
	if err := h.update(ca, pca.CertificateAuthorityStatus_DISABLED); err != nil {
		t.Fatal(err)
	}
	if err := h.remove(ca, 7); err != nil {
		t.Fatal(err)
	}
	id := mustARN(t, ca).CA
	h.pass(7*day - time.Second)
	h.destroyDue(t.Context())
	if files := h.keyFiles(t, ca); len(files) != 2 {
		t.Fatalf("before the end the keys are %v", files)
	}
	// The disk fails between the first step and the second, and the process ends.
	h.Close()
	h.Keys = &faultyKeys{Keys: h.Keys, remove: errors.New("disk is read-only")}
	h.pass(time.Second)
	wantCode(t, h.restore(ca), pca.ResourceNotFoundException)
	h.destroyDue(t.Context())
	rec, err := h.db.CA(t.Context(), id)
	if err != nil || !rec.RestorableUntil.IsZero() || rec.KeyID == "" || len(h.keyFiles(t, ca)) != 2 {
		t.Fatalf("after the first step: %+v, %v", rec, err)
	}
	now := h.Now()
	h.close()
	h = open(t, dir)
	h.pass(-time.Until(now) - 30*day) // nor does a clock that was wrong bring it back
	wantCode(t, h.restore(ca), pca.ResourceNotFoundException)
	h.destroyDue(t.Context())
	if files := h.keyFiles(t, ca); len(files) != 1 || files[0] != id+"-audit.key" {
		t.Errorf("in the end the keys are %v", files)
	}
	if rec, err := h.db.CA(t.Context(), id); err != nil || rec.KeyID != "" {
		t.Errorf("in the end the record is %+v, %v", rec, err)
	}
	h.close()
	h = open(t, dir) // a tombstone does not trouble a start
	_, err = h.get(ca, leaf)
	wantCode(t, err, pca.ResourceNotFoundException)
	if after := h.entries(t, ca); !maps.Equal(after, entries) {
		t.Errorf("the log has %v, had %v", after, entries)
	}
	if _, err := h.db.Certificate(t.Context(), id, serialOf(t, leaf)); err != nil {
		t.Errorf("the certificate for offline audit: %v", err)
	}
	if len(h.deleted) != 0 {
		t.Errorf("%d CAs wait for the destruction of their keys", len(h.deleted))
	}
}

func serialOf(t *testing.T, arn string) []byte {
	t.Helper()
	serial, err := parseSerial(arn[strings.LastIndexByte(arn, '/')+1:])
	if err != nil {
		t.Fatal(err)
	}
	return serial
}

// faultyKeys passes on to a real keystore unless a fault is set. Making a key
// waits for hold, where there is one.
type faultyKeys struct {
	Keys
	mu           sync.Mutex
	make, remove error
	asked        int
	begun, hold  chan struct{}
}

func (k *faultyKeys) Generate(ctx context.Context, id, algorithm string) (crypto.Signer, error) {
	k.mu.Lock()
	fault := k.make
	k.asked++
	k.mu.Unlock()
	if fault != nil {
		return nil, fault
	}
	signer, err := k.Keys.Generate(ctx, id, algorithm)
	if k.hold != nil {
		k.begun <- struct{}{}
		<-k.hold
	}
	return signer, err
}

func (k *faultyKeys) Delete(ctx context.Context, id string) error {
	if k.remove != nil {
		return k.remove
	}
	return k.Keys.Delete(ctx, id)
}

// TestDeleteWhileCreating: the key that was being made does not outlive the CA.
func TestDeleteWhileCreating(t *testing.T) {
	t.Parallel()
	h := open(t, t.TempDir())
	keys := &faultyKeys{Keys: h.Keys, begun: make(chan struct{}, 2), hold: make(chan struct{})}
	h.Keys = keys
	out, err := h.CreateCertificateAuthority(t.Context(), createRequest())
	if err != nil {
		t.Fatal(err)
	}
	ca := out.CertificateAuthorityArn
	<-keys.begun // the key is on the disk, the CSR is not yet made
	if s := h.status(t, ca); s != pca.CertificateAuthorityStatus_CREATING {
		t.Fatalf("the status is %s", s)
	}
	if _, err := h.TagCertificateAuthority(t.Context(), &pca.TagCertificateAuthorityRequest{CertificateAuthorityArn: ca, Tags: []pca.Tag{{Key: "k"}}}); err != nil {
		t.Errorf("tagging while the key is made: %v", err)
	}
	if err := h.remove(ca, 7); err != nil {
		t.Fatal(err)
	}
	_, err = h.DescribeCertificateAuthority(t.Context(), &pca.DescribeCertificateAuthorityRequest{CertificateAuthorityArn: ca})
	wantCode(t, err, pca.ResourceNotFoundException)
	close(keys.hold)
	h.creations.Wait()
	h.destroyDue(t.Context())
	if files := h.keyFiles(t, ca); len(files) != 0 {
		t.Errorf("of a deleted CA the keys %v are left", files)
	}
	if rec, err := h.db.CA(t.Context(), mustARN(t, ca).CA); err != nil || !tombstone(rec) || rec.KeyID != "" || rec.FailureReason != "" {
		t.Errorf("the record is %+v, %v", rec, err)
	}
}

// TestDeleteFailed: one whose creation failed is gone at once.
func TestDeleteFailed(t *testing.T) {
	t.Parallel()
	h := open(t, t.TempDir())
	h.CreateFor = 0
	h.log.set(errors.New("disk is full"), nil)
	ca := h.create(t, pca.CertificateAuthorityType_ROOT)
	h.log.set(nil, nil)
	if err := h.remove(ca, 30); err != nil {
		t.Fatal(err)
	}
	wantCode(t, h.restore(ca), pca.ResourceNotFoundException)
	h.destroyDue(t.Context())
	if files := h.keyFiles(t, ca); len(files) != 0 {
		t.Errorf("the keys %v are left", files)
	}
}

// TestCreationIsTriedAgain: an error of the disk costs nobody a CA, unless it lasts.
func TestCreationIsTriedAgain(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		fault  error
		lasts  bool
		status pca.CertificateAuthorityStatus
		reason pca.FailureReason
		asked  int // at least
	}{
		"for a moment":  {&os.PathError{Op: "write", Path: "k", Err: errors.New("no space left")}, false, pca.CertificateAuthorityStatus_PENDING_CERTIFICATE, "", 3},
		"for too long":  {&os.PathError{Op: "write", Path: "k", Err: errors.New("no space left")}, true, pca.CertificateAuthorityStatus_FAILED, pca.FailureReason_REQUEST_TIMED_OUT, 3},
		"not supported": {keystore.ErrUnsupportedAlgorithm, true, pca.CertificateAuthorityStatus_FAILED, pca.FailureReason_UNSUPPORTED_ALGORITHM, 1},
		"damaged":       {keystore.ErrCorrupt, true, pca.CertificateAuthorityStatus_FAILED, pca.FailureReason_OTHER, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := open(t, t.TempDir())
			keys := &faultyKeys{Keys: h.Keys, make: c.fault}
			h.Keys, h.pause = keys, time.Microsecond
			h.Log = slog.New(onWarning{slog.DiscardHandler, func() {
				keys.mu.Lock()
				defer keys.mu.Unlock()
				switch {
				case keys.asked < 3:
				case c.lasts:
					h.pass(defaultCreateFor)
				default:
					keys.make = nil
				}
			}})
			ca := h.describe(t, h.create(t, pca.CertificateAuthorityType_ROOT))
			if ca.Status != c.status || ca.FailureReason != c.reason || keys.asked < c.asked || c.asked == 1 && keys.asked > 1 {
				t.Errorf("after %d attempts the CA is %s (%s), want %s (%s)", keys.asked, ca.Status, ca.FailureReason, c.status, c.reason)
			}
		})
	}
}

// onWarning calls a function for every warning.
type onWarning struct {
	slog.Handler
	warned func()
}

func (w onWarning) Enabled(_ context.Context, l slog.Level) bool { return l == slog.LevelWarn }
func (w onWarning) Handle(context.Context, slog.Record) error    { w.warned(); return nil }
func (w onWarning) WithAttrs([]slog.Attr) slog.Handler           { return w }

// TestUpdateRefusals are the rules of api.md 3 and 5.4.
func TestUpdateRefusals(t *testing.T) {
	t.Parallel()
	h := open(t, t.TempDir())
	ca := h.create(t, pca.CertificateAuthorityType_ROOT)
	h.activate(t, ca, 3600)
	before := h.describe(t, ca)
	h.pass(time.Second)
	for name, c := range map[string]struct {
		change pca.UpdateCertificateAuthorityRequest
		text   string
	}{
		"nothing":        {pca.UpdateCertificateAuthorityRequest{}, "nothing to update"},
		"other status":   {pca.UpdateCertificateAuthorityRequest{Status: pca.CertificateAuthorityStatus_DELETED}, "ACTIVE or DISABLED"},
		"CRL":            {crl(pca.CrlConfiguration{Enabled: true, S3BucketName: "b", ExpirationInDays: 7}), "not served by this server"},
		"OCSP":           {ocsp(pca.OcspConfiguration{Enabled: true}), "not served by this server"},
		"CRL off, more":  {crl(pca.CrlConfiguration{ExpirationInDays: 7}), "no other member"},
		"OCSP off, more": {ocsp(pca.OcspConfiguration{OcspCustomCname: "x"}), "no other member"},
		"CRL and a good status": {pca.UpdateCertificateAuthorityRequest{Status: pca.CertificateAuthorityStatus_DISABLED,
			RevocationConfiguration: &pca.RevocationConfiguration{CrlConfiguration: &pca.CrlConfiguration{Enabled: true}}}, "not served"},
	} {
		in := c.change
		in.CertificateAuthorityArn = ca
		_, err := h.UpdateCertificateAuthority(t.Context(), &in)
		wantCode(t, err, pca.InvalidArgsException)
		if err != nil && !strings.Contains(err.Error(), c.text) {
			t.Errorf("%s: %v does not say %q", name, err, c.text)
		}
	}
	for _, off := range []pca.UpdateCertificateAuthorityRequest{crl(pca.CrlConfiguration{}), ocsp(pca.OcspConfiguration{}), {RevocationConfiguration: &pca.RevocationConfiguration{}}} {
		off.CertificateAuthorityArn = ca
		if _, err := h.UpdateCertificateAuthority(t.Context(), &off); err != nil {
			t.Errorf("switching off what is off: %v", err)
		}
	}
	after := h.describe(t, ca)
	if after.Status != before.Status || *after.LastStateChangeAt != *before.LastStateChangeAt || *after.RevocationConfiguration.CrlConfiguration != (pca.CrlConfiguration{}) {
		t.Errorf("after refused updates the CA is %+v, was %+v", after, before)
	}
}

func crl(c pca.CrlConfiguration) pca.UpdateCertificateAuthorityRequest {
	return pca.UpdateCertificateAuthorityRequest{RevocationConfiguration: &pca.RevocationConfiguration{CrlConfiguration: &c}}
}

func ocsp(c pca.OcspConfiguration) pca.UpdateCertificateAuthorityRequest {
	return pca.UpdateCertificateAuthorityRequest{RevocationConfiguration: &pca.RevocationConfiguration{OcspConfiguration: &c}}
}

// TestLostRace: a record that somebody else changed is not overwritten. The
// operations that model it say so; the others decide again.
func TestLostRace(t *testing.T) {
	t.Parallel()
	h := open(t, t.TempDir())
	ca := h.create(t, pca.CertificateAuthorityType_ROOT)
	h.activate(t, ca, 3600)
	elsewhere := func(edit func(*store.CertificateAuthority)) {
		t.Helper()
		rec, err := h.db.CA(t.Context(), mustARN(t, ca).CA)
		if err == nil {
			edit(rec)
			err = h.db.UpdateCA(t.Context(), rec)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	elsewhere(func(r *store.CertificateAuthority) { r.Tags = []pca.Tag{{Key: "theirs"}} })
	wantCode(t, h.update(ca, pca.CertificateAuthorityStatus_DISABLED), pca.ConcurrentModificationException)
	if err := h.update(ca, pca.CertificateAuthorityStatus_DISABLED); err != nil {
		t.Errorf("trying again: %v", err)
	}
	elsewhere(func(r *store.CertificateAuthority) { r.Status = pca.CertificateAuthorityStatus_ACTIVE })
	if _, err := h.TagCertificateAuthority(t.Context(), &pca.TagCertificateAuthorityRequest{CertificateAuthorityArn: ca, Tags: []pca.Tag{{Key: "ours"}}}); err != nil {
		t.Error(err)
	}
	if s := h.status(t, ca); s != pca.CertificateAuthorityStatus_ACTIVE {
		t.Errorf("the status is %s", s)
	}
	if out, err := h.ListTags(t.Context(), &pca.ListTagsRequest{CertificateAuthorityArn: ca}); err != nil || len(out.Tags) != 2 {
		t.Errorf("the tags are %v, %v", out, err)
	}
	if _, err := h.issue(t, ca, leafCSR(t, "leaf.example.com"), "", 60); err != nil {
		t.Error(err)
	}
}

// TestIssueWhileChanging lets issuances, updates, tags and a deletion run into
// each other: what was issued was issued by an active CA, and all of it is in the log.
func TestIssueWhileChanging(t *testing.T) {
	t.Parallel()
	h := open(t, t.TempDir())
	ca := h.create(t, pca.CertificateAuthorityType_ROOT)
	h.activate(t, ca, 3600)
	before := h.entries(t, ca)
	csr := leafCSR(t, "leaf.example.com")
	var wg sync.WaitGroup
	issued := make([][]string, 4)
	deleted := make(chan struct{})
	for i := range issued {
		wg.Go(func() {
			for {
				arn, err := h.issue(t, ca, csr, "", 60)
				if err == nil {
					issued[i] = append(issued[i], arn)
				} else if e, ok := errors.AsType[*pca.Error](err); !ok || e.Code != pca.InvalidStateException {
					t.Errorf("issuing: %v", err)
				}
				select {
				case <-deleted:
					return
				default:
				}
			}
		})
	}
	wg.Go(func() {
		for i := range 20 {
			key := string(rune('a' + i))
			if _, err := h.TagCertificateAuthority(context.Background(), &pca.TagCertificateAuthorityRequest{CertificateAuthorityArn: ca, Tags: []pca.Tag{{Key: key}}}); err != nil {
				if e, ok := errors.AsType[*pca.Error](err); !ok || e.Code != pca.InvalidStateException {
					t.Errorf("tagging: %v", err)
				}
			}
		}
	})
	wg.Go(func() {
		defer close(deleted)
		for range 10 {
			for _, status := range []pca.CertificateAuthorityStatus{"DISABLED", "ACTIVE", "DISABLED"} {
				if err := h.update(ca, status); err != nil {
					t.Errorf("updating: %v", err)
				}
			}
			size := h.entries(t, ca)
			if again := h.entries(t, ca); !maps.Equal(again, size) {
				t.Errorf("a disabled CA goes on issuing: %v, then %v", size, again)
			}
		}
		if err := h.remove(ca, 7); err != nil {
			t.Errorf("deleting: %v", err)
		}
	})
	wg.Wait()
	total := 0
	for _, arns := range issued {
		total += len(arns)
	}
	after := h.entries(t, ca)
	grown := 0
	for typ := range after {
		grown += after[typ] - before[typ]
	}
	if grown != total {
		t.Errorf("%d certificates were issued, the log grew by %d", total, grown)
	}
	if s := h.status(t, ca); s != pca.CertificateAuthorityStatus_DELETED {
		t.Errorf("the status is %s", s)
	}
}

// TestRestoreAtTheEnd: while the clock passes the ends of many restoration
// periods, callers restore. What is restored has its key, what is not is gone
// with its key; nothing lies between.
func TestRestoreAtTheEnd(t *testing.T) {
	t.Parallel()
	h := open(t, t.TempDir())
	cas := make([]string, 24)
	for i := range cas {
		cas[i] = h.create(t, pca.CertificateAuthorityType_ROOT)
		if err := h.remove(cas[i], 7); err != nil {
			t.Fatal(err)
		}
		h.pass(time.Millisecond)
	}
	h.pass(7*day - time.Duration(len(cas))*time.Millisecond)
	var wg sync.WaitGroup
	restored := make([]bool, len(cas))
	for i, ca := range cas {
		wg.Go(func() {
			err := h.restore(ca)
			if restored[i] = err == nil; !restored[i] {
				wantCode(t, err, pca.ResourceNotFoundException)
			}
		})
		wg.Go(func() {
			h.pass(time.Millisecond)
			h.destroyDue(t.Context())
		})
	}
	wg.Wait()
	h.pass(time.Second)
	h.destroyDue(t.Context())
	for i, ca := range cas {
		if !restored[i] {
			if files := h.keyFiles(t, ca); len(files) != 1 { // the one that signs its log
				t.Errorf("a CA that is gone has the keys %v", files)
			}
			continue
		}
		h.activate(t, ca, 3600)
		if s := h.status(t, ca); s != pca.CertificateAuthorityStatus_ACTIVE {
			t.Errorf("a CA that was restored is %s", s)
		}
	}
	if len(h.deleted) != 0 {
		t.Errorf("%d CAs wait for the destruction of their keys", len(h.deleted))
	}
}
