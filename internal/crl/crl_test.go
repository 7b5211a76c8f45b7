package crl

import (
	"bytes"
	"context"
	"crypto"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	zx509 "github.com/zmap/zcrypto/x509"
	"github.com/zmap/zlint/v3"
	"github.com/zmap/zlint/v3/lint"

	"chirograph.dev/internal/bucket"
	"chirograph.dev/internal/ca"
	"chirograph.dev/internal/certlog"
	"chirograph.dev/internal/issuance"
	"chirograph.dev/internal/pca"
	"chirograph.dev/internal/store"
)

var complete = pca.CrlConfiguration{}

// TestComplete follows one complete list from its first certificate on: numbers,
// times, all reasons, their order, and what objects are written with.
func TestComplete(t *testing.T) {
	t.Parallel()
	h := newHouse(t, complete)
	h.settle()
	if lists := h.all(); len(lists) != 1 || lists[0].Base.Number != 0 {
		t.Fatal("a list is made without a certificate")
	}
	h.issue(90 * day)
	h.tick()
	c := h.all()[0]
	if c.Key != "crl/"+testCA+".crl" || c.URI != "http://127.0.0.1/"+testBucket+"/"+c.Key || c.Name != "" || c.Partitioned || !c.Open || c.Certificates != 1 {
		t.Errorf("%+v", c)
	}
	list := h.goList(c, false)
	made := h.clock()
	if n := list.Number.Int64(); n != made.UnixMilli() || n != c.Base.Number {
		t.Errorf("number %d at %d", n, made.UnixMilli())
	}
	if !list.ThisUpdate.Equal(made.Add(-time.Hour).Truncate(time.Second)) || !list.NextUpdate.Equal(made.Add(7*day).Truncate(time.Second)) {
		t.Errorf("made at %s: %s to %s", made, list.ThisUpdate, list.NextUpdate)
	}
	if len(list.RevokedCertificateEntries) != 0 || len(list.Extensions) != 2 || h.read(c, false).DistributionPoint != "" {
		t.Errorf("%+v", list)
	}
	_, out := h.object(c.Bucket, c.Key)
	if *out.ContentType != "application/pkix-crl" || *out.CacheControl != "max-age=3600" {
		t.Errorf("%s, %s", *out.ContentType, *out.CacheControl)
	}

	var revoked []*store.Certificate
	var reasons []int
	for _, reason := range []uint8{0, 1, 2, 3, 4, 5, 9, 10} {
		cert := h.issue(90 * day)
		h.pass(time.Second)
		h.revoke(cert, reason)
		revoked, reasons = slices.Insert(revoked, 0, cert), slices.Insert(reasons, 0, int(reason))
	}
	h.settle()
	c = h.all()[0]
	h.has(c, false, revoked...)
	last := list.Number
	list = h.goList(c, false)
	if list.Number.Cmp(last) <= 0 {
		t.Errorf("number %d after %d", list.Number, last)
	}
	at := h.clock()
	for i, e := range list.RevokedCertificateEntries {
		if e.ReasonCode != reasons[i] || len(e.Extensions) != min(reasons[i], 1) || e.RevocationTime.After(at) || e.RevocationTime.Before(made) {
			t.Errorf("%+v, want reason %d", e, reasons[i])
		}
	}
	h.lint(c)
	if n := h.metric("pca_crl_generated_total"); n != 2 {
		t.Errorf("%g lists were written", n)
	}
	if n := h.metric("pca_crl_entries"); n != 8 {
		t.Errorf("%g entries", n)
	}

	// The clock stands still, and goes back: numbers grow.
	for _, back := range []time.Duration{0, time.Minute} {
		h.pass(-back)
		before := h.all()[0].Base.Number
		if err := h.Publish(t.Context(), testCA); err != nil {
			t.Fatal(err)
		}
		if n := h.all()[0].Base.Number; n <= before {
			t.Errorf("number %d after %d", n, before)
		}
	}
}

// lint holds a list against zlint, but for rules of the public web, and one that
// forbids what the specification demands: thisUpdate is an hour before the
// list's making, and revocations are in it at once.
func (h *house) lint(c *store.CRL) {
	h.t.Helper()
	der, _ := h.object(c.Bucket, c.Key)
	parsed, err := zx509.ParseRevocationList(der)
	if err != nil {
		h.t.Fatal(err)
	}
	for name, r := range zlint.LintRevocationList(parsed).Results {
		meta := lint.GlobalRegistry().RevocationListLints().ByName(name)
		if r.Status > lint.Pass && meta.Source != lint.CABFBaselineRequirements && meta.Source != lint.MozillaRootStorePolicy && name != "e_crl_revocation_time_after_this_update" {
			h.t.Errorf("%s: %s %s", name, r.Status, r.Details)
		}
	}
}

// TestExpiry: a certificate that has expired is in one further list,
// and then forgotten.
func TestExpiry(t *testing.T) {
	t.Parallel()
	h := newHouse(t, complete)
	short, long := h.issue(4*day), h.issue(90*day)
	h.revoke(short, 1)
	h.revoke(long, 0)
	for i, want := range [][]*store.Certificate{{long, short}, {long, short}, {long, short}, {long}, {long}} {
		h.settle() // after 0, 3.5, 7, ... days
		if c := h.all()[0]; i > 0 && c.Base.Number == 0 {
			t.Fatal("no list")
		}
		h.has(h.all()[0], false, want...)
		h.pass(7 * day / 2)
	}
	left := 0
	if err := h.db.Revoked(t.Context(), testCA, 0, 0, 1<<40, func(*store.Revoked) error { left++; return nil }); err != nil || left != 1 {
		t.Errorf("%d revoked certificates are kept, %v", left, err)
	}
}

// TestRefresh: a list is made again at half of its validity; a bucket that
// fails is tried every 15 minutes, told of each time, and found again.
func TestRefresh(t *testing.T) {
	t.Parallel()
	h := newHouse(t, pca.CrlConfiguration{ExpirationInDays: 2})
	cert := h.issue(90 * day)
	h.settle()
	first := h.all()[0]
	for _, step := range []struct {
		after time.Duration
		again bool
	}{{12 * time.Hour, false}, {12*time.Hour - 5*time.Second, false}, {5 * time.Second, true}} {
		h.pass(step.after)
		h.tick()
		if again := h.all()[0].Base.Number != first.Base.Number; again != step.again {
			t.Fatalf("after %s: made again: %t", step.after, again)
		}
	}

	h.down(true)
	h.revoke(cert, 1) // is not kept up by it
	h.pass(time.Minute)
	h.tick()
	failed := h.all()[0]
	if failed.Failures != 1 || failed.Failure == "" || !failed.FailedAt.Equal(h.clock().Truncate(time.Millisecond)) || failed.Base.Entries != 1 || !failed.Base.WrittenAt.IsZero() {
		t.Fatalf("%+v", failed)
	}
	for i := range 3 {
		h.pass(15*time.Minute - time.Second)
		h.tick()
		if n := h.all()[0].Failures; n != int64(i+1) {
			t.Errorf("%d failures before its time", n)
		}
		h.pass(time.Second)
		h.tick()
		if n := h.all()[0].Failures; n != int64(i+2) {
			t.Errorf("%d failures, want %d", n, i+2)
		}
	}
	if n := h.metric("pca_crl_failures_total", "write"); n != 4 {
		t.Errorf("%g failures were counted", n)
	}
	// Revocations meanwhile are in what is served here, and the bucket is left alone.
	second := h.issue(90 * day)
	h.revoke(second, 4)
	h.mu.Lock()
	puts := h.puts
	h.mu.Unlock()
	h.pass(time.Minute)
	h.tick()
	c := h.all()[0]
	if c.Base.Entries != 2 || c.Failures != 4 || h.puts != puts {
		t.Errorf("%d puts after %d: %+v", h.puts, puts, c)
	}
	if body := h.mirrored(c.Bucket, c.Key, http.StatusOK); int64(len(body)) != c.Base.Bytes {
		t.Errorf("%d octets are served, want %d", len(body), c.Base.Bytes)
	}
	number := c.Base.Number
	h.down(false)
	h.pass(15 * time.Minute)
	h.settle()
	c = h.all()[0]
	if c.Failures != 0 || c.Failure != "" || !c.FailedAt.IsZero() || c.Base.Number != number {
		t.Errorf("%+v", c)
	}
	h.has(c, false, second, cert)

	// A policy that says no is the owner's to mend.
	h.policy(testBucket, `{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Principal":{"Service":"acm-pca.amazonaws.com"},"Action":"s3:PutObject","Resource":"arn:aws:s3:::`+testBucket+`/*"}]}`)
	h.pass(25 * time.Hour)
	h.tick()
	if c = h.all()[0]; c.Failures != 1 || h.metric("pca_crl_bucket_misconfigured_total") != 1 || !strings.Contains(c.Failure, "policy") {
		t.Errorf("%+v", c)
	}
	refused, ok := errors.AsType[*pca.Error](h.Publish(t.Context(), testCA))
	if !ok || refused.Code != pca.RequestFailedException {
		t.Errorf("%v", refused)
	}
	refused, ok = errors.AsType[*pca.Error](h.Check(t.Context(), h.record()))
	if !ok || refused.Code != pca.ValidationException {
		t.Errorf("%v", refused)
	}
	h.policy(testBucket, string(bucket.PolicyFor(testBucket, "", "")))
	if err := h.Check(t.Context(), h.record()); err != nil {
		t.Error(err)
	}
	if err := h.Publish(t.Context(), testCA); err != nil {
		t.Error(err)
	}
	if c = h.all()[0]; c.Failures != 0 {
		t.Errorf("%+v", c)
	}
}

// down makes the bucket service unreachable, or reachable again.
func (h *house) down(down bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.broken = nil; down {
		h.broken = func(*http.Request) bool { return true }
	}
}

func (h *house) mirrored(name, key string, status int) []byte {
	h.t.Helper()
	w := httptest.NewRecorder()
	h.Mirror().ServeHTTP(w, httptest.NewRequestWithContext(h.t.Context(), http.MethodGet, "/crl/"+name+"/"+key, nil))
	if w.Code != status {
		h.t.Errorf("%s is answered %d, want %d", key, w.Code, status)
	}
	return w.Body.Bytes()
}

// TestPacing: what comes soon after a list waits a little, and for Delay.
func TestPacing(t *testing.T) {
	t.Parallel()
	h := newHouse(t, complete, func(h *house) { h.cfg.Delay = 10 * time.Second })
	cert, second := h.issue(90*day), h.issue(90*day)
	h.settle()
	h.pass(time.Minute)
	h.revoke(cert, 1)
	for _, step := range []struct {
		after time.Duration
		want  uint64
	}{{9 * time.Second, 0}, {time.Second, 1}} {
		h.pass(step.after)
		h.tick()
		if n := h.all()[0].Base.Entries; n != step.want {
			t.Errorf("after %s: %d entries", step.after, n)
		}
	}
	h.cfg.Delay = 0
	h.open()
	h.settle()
	h.revoke(second, 1)
	h.tick()
	h.pass(time.Second)
	third := h.issue(90 * day)
	h.revoke(third, 1)
	h.pass(time.Second)
	h.tick()
	if n := h.all()[0].Base.Entries; n != 2 {
		t.Errorf("%d entries", n)
	}
	h.pass(time.Minute)
	h.tick()
	h.has(h.all()[0], false, third, second, cert)
}

// TestPartitions fills partitions, switches both ways, and follows what the
// URIs of certificates lead to.
func TestPartitions(t *testing.T) {
	t.Parallel()
	h := newHouse(t, complete, func(h *house) { h.cfg.PartitionSize = 10 })
	before := h.issue(90 * day)
	h.settle()
	h.configure(pca.CrlConfiguration{CrlType: pca.CrlType_PARTITIONED})
	bound := map[int64][]*store.Certificate{1: {before}}
	var certs []*store.Certificate
	var mu sync.Mutex
	var wg sync.WaitGroup
	for range 4 { // Bind is asked by many at once
		wg.Go(func() {
			for range 8 {
				id, uri, err := h.Bind(t.Context(), h.record())
				mu.Lock()
				if err != nil || uri == "" {
					t.Error(id, uri, err)
				}
				certs = append(certs, &store.Certificate{CRL: id})
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	counts := map[int64]int{}
	for _, c := range certs {
		counts[c.CRL]++
	}
	if len(counts) != 4 || counts[2] != 10 || counts[3] != 10 || counts[4] != 10 || counts[5] != 2 {
		t.Fatalf("%v", counts)
	}
	for range 25 { // fills 5 with 8, 6 with 10 and 7 with 7
		c := h.issue(90 * day)
		bound[c.CRL] = append(bound[c.CRL], c)
	}
	h.settle()
	if len(bound[5]) != 8 || len(bound[6]) != 10 || len(bound[7]) != 7 {
		t.Fatalf("%d, %d and %d", len(bound[5]), len(bound[6]), len(bound[7]))
	}
	h.pass(time.Minute)
	for id, certs := range bound {
		for i, c := range certs {
			if id == 7 && i > 0 {
				continue
			}
			h.revoke(c, 1)
		}
	}
	bound[7] = bound[7][:1]
	h.settle()
	names := map[string]bool{}
	for _, c := range h.all() {
		list := h.goList(c, false)
		if got := h.read(c, false); got.DistributionPoint != c.URI || got.Limited {
			t.Errorf("list %d: %q and %q", c.ID, got.DistributionPoint, c.URI)
		}
		certs := slices.Clone(bound[c.ID])
		slices.Reverse(certs)
		h.has(c, false, certs...)
		if len(list.RevokedCertificateEntries) > 10 || !c.Partitioned || c.Open != (c.ID == 7) || names[c.Name] {
			t.Errorf("%+v", c)
		}
		names[c.Name] = true
		if c.ID == 1 && c.Key != "crl/"+testCA+".crl" || c.ID > 1 && c.Key != "crl/"+testCA+"/"+c.Name+".crl" {
			t.Errorf("list %d has the key %s", c.ID, c.Key)
		}
	}
	h.lint(h.all()[6])

	// One revocation makes one list.
	h.pass(time.Minute)
	numbers := map[int64]int64{}
	for _, c := range h.all() {
		numbers[c.ID] = c.Base.Number
	}
	late := h.issue(90 * day)
	h.revoke(late, 2)
	h.settle()
	for _, c := range h.all() {
		if (c.Base.Number != numbers[c.ID]) != (c.ID == 7) {
			t.Errorf("list %d was made, or was not", c.ID)
		}
	}

	// Back: the first list is complete again, the partitions are kept.
	h.configure(complete)
	h.pass(time.Minute)
	after := h.issue(90 * day)
	if after.CRL != 1 {
		t.Errorf("bound to %d", after.CRL)
	}
	h.settle()
	h.pass(time.Minute)
	h.revoke(after, 3)
	h.settle()
	lists := h.all()
	if len(lists) != 7 || lists[0].Partitioned || !lists[0].Open || h.read(lists[0], false).DistributionPoint != "" {
		t.Errorf("%+v", lists[0])
	}
	if n := lists[0].Base.Entries; n != 22 {
		t.Errorf("the complete list has %d entries", n)
	}
	h.has(lists[6], false, late, bound[7][0])
	if !lists[6].Active || lists[6].Open {
		t.Errorf("%+v", lists[6])
	}

	// A URI that is omitted is in the list alone.
	h.configure(pca.CrlConfiguration{CrlType: pca.CrlType_PARTITIONED, CustomPath: "a/b", CrlDistributionPointExtensionConfiguration: &pca.CrlDistributionPointExtensionConfiguration{OmitExtension: true}})
	id, uri, err := h.Bind(t.Context(), h.record())
	if err != nil || uri != "" {
		t.Errorf("%d, %q, %v", id, uri, err)
	}
	h.pass(time.Minute)
	h.settle()
	if c := h.all()[id-1]; c.Key != "a/b/"+c.Name+".crl" || h.read(c, false).DistributionPoint != c.URI {
		t.Errorf("%+v", c)
	}
}

// TestPlaces changes where lists are: what certificates refer to is kept until
// the last of them has expired, and not while CRLs are off.
func TestPlaces(t *testing.T) {
	t.Parallel()
	h := newHouse(t, complete)
	h.bucket("other-bucket")
	first := h.issue(20 * day)
	h.settle()
	h.configure(pca.CrlConfiguration{S3BucketName: "other-bucket", S3ObjectAcl: pca.S3ObjectAcl_BUCKET_OWNER_FULL_CONTROL, CustomPath: "x+y?z/100%", CustomCname: "crl.example.com"})
	h.settle()
	second := h.issue(90 * day)
	h.pass(time.Minute)
	h.revoke(first, 1)
	h.settle()
	lists := h.all()
	if len(lists) != 2 || lists[1].Key != "x+y?z/100%/"+testCA+".crl" || lists[1].URI != "http://crl.example.com/x%2By%3Fz/100%25/"+testCA+".crl" || second.CRL != 2 {
		t.Fatalf("%+v", lists[1])
	}
	if !lists[0].Active || lists[0].Open || !lists[1].Open {
		t.Errorf("%+v and %+v", lists[0], lists[1])
	}
	h.has(lists[0], false, first)
	h.has(lists[1], false, first)
	h.mirrored("other-bucket", "x%2By%3Fz/100%25/"+testCA+".crl", http.StatusOK)

	// Another validity and ACL: the same lists, at once.
	h.configure(pca.CrlConfiguration{S3BucketName: "other-bucket", CustomPath: "x+y?z/100%", CustomCname: "crl.example.com", ExpirationInDays: 3})
	h.pass(time.Minute)
	h.settle()
	lists = h.all()
	for _, c := range lists {
		if list := h.read(c, false); len(lists) != 2 || list.NextUpdate.Sub(list.ThisUpdate) != 3*day+time.Hour {
			t.Errorf("%+v", c)
		}
	}
	if lists[1].ACL != pca.S3ObjectAcl_PUBLIC_READ || lists[0].Days != 3 {
		t.Errorf("%+v", lists[1])
	}

	// Another name of the same object: a new URI, and one list.
	h.configure(pca.CrlConfiguration{S3BucketName: "other-bucket", CustomPath: "x+y?z/100%", CustomCname: "other.example.com", ExpirationInDays: 3})
	third := h.issue(90 * day)
	h.pass(time.Minute)
	h.settle()
	lists = h.all()
	if third.CRL != 3 || lists[1].Active || !lists[2].Active || lists[2].Partitioned {
		t.Errorf("%+v", lists)
	}
	// As partitions they would have two URIs and one object: it stays complete.
	h.configure(pca.CrlConfiguration{S3BucketName: "other-bucket", CustomPath: "x+y?z/100%", CustomCname: "other.example.com", ExpirationInDays: 3, CrlType: pca.CrlType_PARTITIONED})
	h.pass(time.Minute)
	h.settle()
	lists = h.all()
	if len(lists) != 4 || lists[2].Partitioned || lists[2].Open || !lists[2].Active || !lists[3].Partitioned || lists[3].Name == "" {
		t.Errorf("%+v and %+v", lists[2], lists[3])
	}
	h.has(lists[2], false, first)

	h.pass(20 * day)
	h.settle()
	if lists = h.all(); lists[0].Active || !lists[2].Active {
		t.Errorf("%+v", lists[0])
	}
	h.mirrored(testBucket, lists[0].Key, http.StatusNotFound)
	if der, _ := h.object(testBucket, lists[0].Key); der == nil {
		t.Error("the last object of an old place is gone")
	}

	// Off: nothing is made, what there is stays. On again: the same list.
	h.change(func(a *ca.Authority) {
		a.Record.Revocation.CrlConfiguration = &pca.CrlConfiguration{}
	})
	h.pass(30 * day)
	h.revoke(second, 1)
	h.settle()
	for i, c := range h.all() {
		if c.Active || c.Open || c.Base.Number != lists[i].Base.Number {
			t.Errorf("%+v", c)
		}
	}
	if err := h.Publish(t.Context(), testCA); err == nil {
		t.Error("something was published")
	}
	h.configure(pca.CrlConfiguration{S3BucketName: "other-bucket", CustomPath: "x+y?z/100%", CustomCname: "other.example.com"})
	h.settle()
	lists = h.all()
	if len(lists) != 4 || !lists[2].Open || lists[2].Days != 7 {
		t.Errorf("%+v", lists[2])
	}
	h.has(lists[2], false, second)
}

// TestStates: who signs nothing makes no list, and goes on when it does again
// (revocation.md 1.2); a new certificate of the CA is a new name of its lists.
func TestStates(t *testing.T) {
	t.Parallel()
	h := newHouse(t, complete)
	cert := h.issue(90 * day)
	h.settle()
	for _, s := range []struct {
		status pca.CertificateAuthorityStatus
		makes  bool
	}{{pca.CertificateAuthorityStatus_DISABLED, true}, {pca.CertificateAuthorityStatus_DELETED, false}, {pca.CertificateAuthorityStatus_DISABLED, true}, {pca.CertificateAuthorityStatus_EXPIRED, false}, {pca.CertificateAuthorityStatus_ACTIVE, true}} {
		before := h.all()[0].Base.Number
		h.change(func(a *ca.Authority) { a.Status = s.status })
		h.pass(5 * day)
		h.settle()
		c := h.all()[0]
		if !c.Active || (c.Base.Number != before) != s.makes {
			t.Errorf("%s: %+v", s.status, c)
		}
		if err := h.Publish(t.Context(), testCA); (err == nil) != s.makes {
			t.Errorf("%s: %v", s.status, err)
		}
	}
	h.pass(time.Minute)
	h.install()
	before := h.all()[0].Base.Number
	h.settle()
	if c := h.all()[0]; c.Base.Certificate != 2 || c.Base.Number == before {
		t.Errorf("%+v", c)
	}
	h.pass(time.Minute)
	h.revoke(cert, 1)
	h.mu.Lock()
	h.ca.Record = nil // gone for good
	h.mu.Unlock()
	h.settle()
	if c := h.all()[0]; c.Active {
		t.Errorf("%+v", c)
	}
}

// TestDeltas: a delta within seconds, the list that it adds to within half an
// hour.
func TestDeltas(t *testing.T) {
	t.Parallel()
	h := newHouse(t, pca.CrlConfiguration{CrlType: pca.CrlType_PARTITIONED}, func(h *house) { h.cfg.Deltas = true })
	var certs []*store.Certificate
	for range 4 {
		certs = append(certs, h.issue(90*day))
	}
	h.settle()
	c := h.all()[0]
	base := h.goList(c, false)
	freshest := base.Extensions[len(base.Extensions)-1]
	uri := strings.TrimSuffix(c.URI, ".crl") + "-delta.crl"
	if freshest.Id.String() != "2.5.29.46" || freshest.Critical || !bytes.Contains(freshest.Value, []byte(uri)) {
		t.Errorf("%+v", freshest)
	}
	h.has(c, true)
	h.pass(time.Minute)
	h.revoke(certs[0], 1)
	h.tick()
	h.pass(time.Minute)
	h.revoke(certs[1], 0)
	h.tick()
	number := c.Base.Number
	c = h.all()[0]
	h.has(c, false)
	h.has(c, true, certs[1], certs[0])
	delta := h.read(c, true)
	if c.Base.Number != number || c.Delta.BaseNumber != number || c.Delta.Number <= number || delta.DistributionPoint != c.URI || !slices.Equal(delta.BaseNumber, bigBytes(number)) {
		t.Errorf("%+v", c)
	}
	h.lint(c)
	h.pass(29 * time.Minute)
	h.settle()
	h.has(h.all()[0], false, certs[1], certs[0])
	h.has(h.all()[0], true)
	c = h.all()[0]
	if c.Delta.BaseNumber != c.Base.Number || c.Delta.Number <= c.Base.Number {
		t.Errorf("%+v", c)
	}
	if _, out := h.object(c.Bucket, Key(c, true)); *out.CacheControl != "max-age=60" {
		t.Error(*out.CacheControl)
	}
	if err := h.Check(t.Context(), h.record()); err != nil {
		t.Error(err)
	}
}

func bigBytes(n int64) []byte {
	var b []byte
	for ; n > 0; n >>= 8 {
		b = slices.Insert(b, 0, byte(n))
	}
	return b
}

// TestCrash ends the server between each two steps of making a list; the next
// one writes the same bytes, or, when the file is lost, a new list.
func TestCrash(t *testing.T) {
	t.Parallel()
	h := newHouse(t, complete)
	cert := h.issue(90 * day)
	h.settle()
	for i, s := range []struct {
		name string
		cut  func() // what happens at the crash, and before the start
		same bool
	}{
		{"after the commit", func() { h.cut = errors.New("power is gone") }, true},
		{"after the rename", func() { h.down(true) }, true},
		{"after the write", func() {
			h.broken = func(r *http.Request) bool { return r.Method == http.MethodPut || r.Method == http.MethodHead }
		}, true},
		{"file lost", func() { h.down(true) }, false},
	} {
		h.pass(time.Hour)
		if i == 0 {
			h.revoke(cert, 1)
		} else {
			h.revoke(h.issue(90*day), 1)
		}
		s.cut()
		h.tick()
		signed := h.all()[0].Base
		if !signed.WrittenAt.IsZero() || signed.Entries != uint64(i+1) {
			t.Fatalf("%s: %+v", s.name, signed)
		}
		h.cut, h.broken = nil, nil
		if !s.same {
			if err := os.Remove(h.path(h.all()[0], false)); err != nil {
				t.Fatal(err)
			}
		}
		h.pass(time.Hour)
		h.open()
		if err := os.WriteFile(h.cfg.Dir+"/"+spoolPrefix+"1", nil, 0o600); err != nil {
			t.Fatal(err)
		}
		h.open()
		if _, err := os.Stat(h.cfg.Dir + "/" + spoolPrefix + "1"); !errors.Is(err, os.ErrNotExist) {
			t.Error(err)
		}
		h.settle()
		c := h.all()[0]
		h.read(c, false)
		if same := bytes.Equal(c.Base.SHA256, signed.SHA256); same != s.same || c.Base.WrittenAt.IsZero() {
			t.Errorf("%s: the same list: %t", s.name, same)
		}
	}
}

// TestStart: what a CA became before a crash, and nobody told of.
func TestStart(t *testing.T) {
	t.Parallel()
	h := newHouse(t, complete)
	cert := h.issue(90 * day)
	h.settle()
	crash := func(change func(*ca.Authority)) {
		h.pass(time.Minute)
		h.Service = nil
		h.change(change)
		h.open()
		h.settle()
	}
	h.Service = nil
	h.install()
	h.open()
	h.settle()
	if c := h.all()[0]; c.Base.Certificate != 2 {
		t.Errorf("under the CA's new name: %+v", c)
	}
	crash(func(a *ca.Authority) { a.Record.Revocation.CrlConfiguration = &pca.CrlConfiguration{} })
	if c := h.all()[0]; c.Active {
		t.Errorf("off: %+v", c)
	}
	h.revoke(cert, 1)
	crash(func(a *ca.Authority) {
		a.Record.Revocation.CrlConfiguration = configured(pca.CrlConfiguration{CustomPath: "other"})
	})
	for _, c := range h.all() {
		h.has(c, false, cert)
	}
}

// TestClock: once the log is recovered from a clock that was ahead, nothing
// waits for that time, and nothing is lost that had expired by it.
func TestClock(t *testing.T) {
	t.Parallel()
	h := newHouse(t, complete)
	revoked := []*store.Certificate{h.issue(30 * day)}
	h.settle()
	h.revoke(revoked[0], 1)
	h.pass(time.Minute)
	h.settle()
	for what, wrong := range map[string]func(){
		"made":    func() { h.settle(); h.pass(4 * day); h.settle() },
		"failed":  func() { h.down(true); h.settle(); h.down(false) },
		"revoked": func() {},
	} {
		right := h.clock()
		h.pass(400 * day)
		cert := h.issue(3000 * day)
		h.revoke(cert, 1)
		revoked = append([]*store.Certificate{cert}, revoked...)
		wrong()
		h.pass(right.Add(day / 4).Sub(h.clock()))
		recovery := certlog.Entry{Type: certlog.TypeRecovery, Time: h.clock().UnixMilli(), Label: []byte("test"), Extra: []byte("key")}
		b, err := recovery.Append(nil)
		if err == nil {
			_, err = h.log.Recover(t.Context(), testCA, certlog.Record{Entry: b})
		}
		if err != nil {
			t.Fatal(err)
		}
		h.open()
		h.settle()
		c := h.all()[0]
		if list := h.read(c, false); list.ThisUpdate.After(h.clock()) || c.Failures != 0 {
			t.Errorf("%s: from %s on at %s: %+v", what, list.ThisUpdate, h.clock(), c)
		}
		h.has(c, false, revoked...)
	}
}

// TestSamePlace: of two lists that are one object the older one is not written last.
func TestSamePlace(t *testing.T) {
	t.Parallel()
	h := newHouse(t, complete)
	cert := h.issue(90 * day)
	h.settle()
	h.pass(time.Minute)
	h.revoke(cert, 1)
	slow, on := make(chan struct{}), make(chan struct{})
	var put atomic.Bool
	h.mu.Lock()
	h.broken = func(r *http.Request) bool {
		if r.Method == http.MethodPut && put.CompareAndSwap(false, true) {
			close(slow)
			<-on
		}
		return false
	}
	h.mu.Unlock()
	var older, newer sync.WaitGroup
	h.follow(t.Context(), &older)
	<-slow
	h.configure(pca.CrlConfiguration{CustomCname: "crl.example.com"})
	h.pass(time.Minute)
	h.follow(t.Context(), &newer)
	newer.Wait()
	close(on)
	older.Wait()
	h.settle()
	if lists := h.all(); len(lists) != 2 || lists[0].Active {
		t.Fatalf("%+v", lists)
	}
	h.has(h.all()[1], false, cert)
}

// TestHanging: a CA with many lists whose bucket does not answer keeps no other
// CA waiting.
func TestHanging(t *testing.T) {
	t.Parallel()
	h := newHouse(t, complete)
	h.settle()
	var lists []*store.CRL
	for id := int64(2); id < 400; id++ {
		key := fmt.Sprint(id, ".crl")
		lists = append(lists, &store.CRL{CA: testCA, ID: id, Name: "x", Key: key, Bucket: testBucket, URI: key, Days: 7, Partitioned: true, Active: true, Certificates: 1, NotAfter: h.clock().Add(day), Due: h.clock()})
	}
	other := &store.CRL{CA: "99999999-2222-3333-4444-555555555555", ID: 1, Active: true, Days: 7, Due: h.clock().Add(time.Second)}
	if err := h.db.AddCRLs(t.Context(), append(lists, other), nil); err != nil {
		t.Fatal(err)
	}
	h.pass(time.Minute)
	ctx, end := context.WithCancel(t.Context())
	h.Service.cfg.Destination = func(ctx context.Context, _, _ string) (*bucket.Client, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	var work sync.WaitGroup
	h.follow(ctx, &work)
	for looked := false; !looked; {
		c, err := h.db.CRL(t.Context(), other.CA, other.ID)
		if err != nil {
			t.Fatal(err)
		}
		looked = !c.Active // its CA is gone
	}
	end()
	work.Wait()
}

// TestSettings goes through settings and starts in any order: every certificate
// has its list, which lists it when it is revoked, and says that it is that of
// the certificate.
func TestSettings(t *testing.T) {
	t.Parallel()
	for _, seed := range []uint64{22, 1021, 1065} {
		random := rand.New(rand.NewPCG(seed, 7))
		h := newHouse(t, complete, func(h *house) {
			h.cfg.PartitionSize, h.cfg.Deltas = 3, seed%2 == 1
		})
		h.bucket("other-bucket")
		type party struct {
			*store.Certificate
			list    *store.CRL
			revoked bool
		}
		var parties []*party
		pick := func(texts ...string) string { return texts[random.IntN(len(texts))] }
		on := func() {
			h.configure(pca.CrlConfiguration{
				S3BucketName: pick(testBucket, "other-bucket"), CustomPath: pick("", "", "path"), CustomCname: pick("", "a.example.com", "b.example.com"),
				CrlType: pca.CrlType(pick("COMPLETE", "PARTITIONED")), S3ObjectAcl: pca.S3ObjectAcl(pick("PUBLIC_READ", "BUCKET_OWNER_FULL_CONTROL")), ExpirationInDays: 1 + random.Int32N(7),
			})
		}
		for range 200 {
			switch n := random.IntN(20); {
			case n < 4:
				on()
			case n < 5:
				h.change(func(a *ca.Authority) { a.Record.Revocation.CrlConfiguration = &pca.CrlConfiguration{} })
			case n < 7:
				h.open()
			case n < 8:
				h.install()
			case n < 10:
				h.tick()
			case n < 12:
				h.pass(time.Duration(random.IntN(60)) * time.Hour)
			case n < 14 && len(parties) > 0:
				if p := parties[random.IntN(len(parties))]; !p.revoked && p.NotAfter.After(h.clock()) {
					p.revoked = true
					h.revoke(p.Certificate, 1)
				}
			default:
				p := &party{Certificate: h.issue(time.Duration(5+random.IntN(60)) * day)}
				if p.CRL != 0 {
					c, err := h.db.CRL(t.Context(), testCA, p.CRL)
					if err != nil {
						t.Fatal(err)
					}
					p.list = c
					parties = append(parties, p)
				}
			}
		}
		on()
		h.settle()
		lists := h.all()
		for _, p := range parties {
			if !p.NotAfter.After(h.clock()) {
				continue
			}
			i := slices.IndexFunc(lists, func(c *store.CRL) bool { return c.Active && placeOf(c) == placeOf(p.list) })
			if i < 0 {
				t.Errorf("%d: the list of %x, %s, is not kept", seed, p.Serial, p.list.URI)
				continue
			}
			if point := h.read(lists[i], false).DistributionPoint; point != "" && point != p.list.URI || (point == "") != !lists[i].Partitioned {
				t.Errorf("%d: %x has %s, and the list there %s", seed, p.Serial, p.list.URI, point)
			}
			if lists[i].Certificates > 3 && lists[i].Name != "" {
				t.Errorf("%d: %d certificates in a partition", seed, lists[i].Certificates)
			}
			listed := h.serials(lists[i], false)
			if h.cfg.Deltas {
				listed = append(listed, h.serials(lists[i], true)...)
			}
			if slices.Contains(listed, fmt.Sprintf("%x", p.Serial)) != p.revoked {
				t.Errorf("%d: of %x, revoked: %t, %s lists %v", seed, p.Serial, p.revoked, p.list.URI, listed)
			}
		}
	}
}

// TestBuildFails: what cannot be made is told of and tried again, not at every
// revocation.
func TestBuildFails(t *testing.T) {
	t.Parallel()
	h := newHouse(t, complete)
	cert, second := h.issue(90*day), h.issue(90*day)
	h.settle()
	h.pass(time.Minute)
	h.cfg.Authorities = &failing{h}
	h.open()
	for range 2 {
		h.tick()
		h.revoke(cert, 1)
		cert = second
		h.pass(time.Minute)
	}
	h.tick()
	c := h.all()[0]
	if c.Failures != 1 || c.Failure != reasonBuild || h.metric("pca_crl_failures_total", "build") != 1 {
		t.Errorf("%+v", c)
	}
	h.cfg.Authorities = h
	h.open()
	h.pass(15 * time.Minute)
	h.settle()
	if c := h.all()[0]; c.Failures != 0 || c.Base.Entries != 2 {
		t.Errorf("%+v", c)
	}
}

type failing struct{ *house }

func (f *failing) UseKey(context.Context, string, func(ca.Authority, crypto.Signer) (certlog.Record, error)) (uint64, error) {
	return 0, errors.New("the key is away")
}

// TestAlgorithms makes a list with every kind of key, long enough for the
// entries to be in a file, and with every digest.
func TestAlgorithms(t *testing.T) {
	t.Parallel()
	for _, a := range []struct {
		key     pca.KeyAlgorithm
		signing pca.SigningAlgorithm
	}{
		{pca.KeyAlgorithm_EC_prime256v1, pca.SigningAlgorithm_SHA256WITHECDSA},
		{pca.KeyAlgorithm_EC_prime256v1, pca.SigningAlgorithm_SHA512WITHECDSA},
		{pca.KeyAlgorithm_EC_secp384r1, pca.SigningAlgorithm_SHA384WITHECDSA},
		{pca.KeyAlgorithm_EC_secp521r1, pca.SigningAlgorithm_SHA512WITHECDSA},
		{pca.KeyAlgorithm_RSA_2048, pca.SigningAlgorithm_SHA256WITHRSA},
		{pca.KeyAlgorithm_RSA_2048, pca.SigningAlgorithm_SHA384WITHRSA},
		{pca.KeyAlgorithm_RSA_2048, pca.SigningAlgorithm_SHA512WITHRSA},
		{pca.KeyAlgorithm_ML_DSA_44, pca.SigningAlgorithm_ML_DSA_44},
		{pca.KeyAlgorithm_ML_DSA_65, pca.SigningAlgorithm_ML_DSA_65},
		{pca.KeyAlgorithm_ML_DSA_87, pca.SigningAlgorithm_ML_DSA_87},
		{pca.KeyAlgorithm_SM2, pca.SigningAlgorithm_SM3WITHSM2},
	} {
		t.Run(fmt.Sprint(a), func(t *testing.T) {
			t.Parallel()
			h := newHouse(t, complete, func(h *house) {
				h.ca.Record.Configuration.KeyAlgorithm, h.ca.Record.Configuration.SigningAlgorithm = a.key, a.signing
			})
			cert := h.issue(90 * day)
			h.revoke(cert, 1)
			h.settle()
			h.has(h.all()[0], false, cert)
			if h.ca.Record.Configuration.KeyAlgorithm == pca.KeyAlgorithm_SM2 || strings.HasPrefix(string(a.key), "ML_DSA") {
				return // crypto/x509 knows them not
			}
			h.goList(h.all()[0], false)
		})
	}
}

// many is a great many revoked certificates.
type many struct {
	Revocations
	n int
}

func (m *many) Revoked(_ context.Context, _ string, _ int64, _, _ uint64, yield func(*store.Revoked) error) error {
	r := store.Revoked{Serial: make([]byte, 16), NotAfter: 1 << 60, Time: 1, Reason: 1}
	for i := range m.n {
		r.Serial[0], r.Serial[14], r.Serial[15] = 1, byte(i>>8), byte(i)
		if err := yield(&r); err != nil {
			return err
		}
	}
	return nil
}

// TestLong makes a list whose entries do not fit in memory, and lists around
// the lengths where DER's own lengths grow, whose signatures vary.
func TestLong(t *testing.T) {
	t.Parallel()
	h := newHouse(t, complete)
	m := &many{Revocations: h.db}
	h.cfg.Revocations = m
	h.open()
	h.issue(90 * day)
	for _, m.n = range []int{30000, 1325, 1326, 1327, 1328, 1329, 1330, 1331, 1332, 1333, 1334, 1335} {
		if err := h.Publish(t.Context(), testCA); err != nil {
			t.Fatal(err)
		}
		c, n := h.all()[0], 0
		if err := h.read(c, false).Entries(func(*issuance.CRLEntry) error { n++; return nil }); err != nil || n != m.n {
			t.Errorf("%d entries, want %d: %v", n, m.n, err)
		}
	}
}

// TestRoutes reads requests; who may what is awsjson's.
func TestRoutes(t *testing.T) {
	t.Parallel()
	h := newHouse(t, complete)
	for _, c := range []struct{ method, path, action string }{
		{"GET", "/revocation/" + testCA + "/crls", "acm-pca:DescribeCertificateAuthority"},
		{"POST", "/revocation/" + testCA + "/publish", "pcaaudit:PublishCRL"},
		{"POST", "/revocation/" + testCA + "/crls", ""}, {"GET", "/revocation/" + testCA + "/publish", ""}, {"GET", "/revocation/x/crls", ""}, {"GET", "/" + testCA + "/crls", ""},
	} {
		route, err := h.Route(httptest.NewRequestWithContext(t.Context(), c.method, c.path, nil))
		if route.Action != c.action || (err == nil) != (c.action != "") {
			t.Errorf("%s %s: %+v, %v", c.method, c.path, route, err)
		}
	}
	cert := h.issue(90 * day)
	h.revoke(cert, 1)
	h.settle()
	lists, err := h.List(t.Context(), testCA)
	if err != nil || len(lists) != 1 || lists[0].Signed == nil || lists[0].Entries != 1 || lists[0].WrittenAt == nil || lists[0].Delta != nil || lists[0].Due == nil ||
		!lists[0].ThisUpdate.Equal(h.read(h.all()[0], false).ThisUpdate) {
		t.Errorf("%+v, %v", lists, err)
	}
	w := httptest.NewRecorder()
	h.Mirror().ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), "POST", "/crl/"+testBucket+"/"+lists[0].Key, nil))
	if w.Code != http.StatusMethodNotAllowed {
		t.Error(w.Code)
	}
	w = httptest.NewRecorder()
	h.Mirror().ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), "HEAD", "/crl/"+testBucket+"/"+lists[0].Key, nil))
	if w.Code != http.StatusOK || w.Header().Get("Content-Type") != "application/pkix-crl" || w.Header().Get("Cache-Control") != "max-age=3600" || w.Header().Get("Content-Length") != fmt.Sprint(lists[0].Bytes) {
		t.Errorf("%d, %v", w.Code, w.Header())
	}
	for _, path := range []string{"nothing", "../../store.db", testBucket + "/crl/x.crl", ""} {
		h.mirrored(path, "", http.StatusNotFound)
	}
}

// TestRun has the real loop make a list.
func TestRun(t *testing.T) {
	t.Parallel()
	h := newHouse(t, complete)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- h.Run(ctx) }()
	cert := h.issue(90 * day)
	h.revoke(cert, 1)
	for lists := h.all(); lists[0].Base.WrittenAt.IsZero() || lists[0].Base.Entries == 0; lists = h.all() {
		if lists[0].Failures > 0 {
			t.Fatal(lists[0].Failure)
		}
		h.pass(time.Second)
		time.Sleep(5 * time.Millisecond)
	}
	h.has(h.all()[0], false, cert)
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	for _, change := range []func(*Config){func(c *Config) { c.Dir = "" }, func(c *Config) { c.Delay = -1 }, func(c *Config) { c.PartitionSize = -1 }, func(c *Config) { c.Records = nil }} {
		cfg := h.cfg
		change(&cfg)
		if _, err := New(cfg); err == nil {
			t.Error("it was accepted")
		}
	}
}

// TestNews: a bucket that was put right has a revocation that came meanwhile
// soon, and another one when its time comes.
func TestNews(t *testing.T) {
	t.Parallel()
	h := newHouse(t, complete)
	first, second := h.issue(90*day), h.issue(90*day)
	h.settle()
	h.down(true)
	h.pass(time.Minute)
	h.revoke(first, 1)
	h.settle()
	if c := h.all()[0]; c.Failures != 1 {
		t.Fatalf("%+v", c)
	}
	h.down(false)
	h.pass(2 * retryNews)
	h.settle()
	if c := h.all()[0]; !c.Base.WrittenAt.IsZero() {
		t.Error("it was tried again without news")
	}
	h.revoke(second, 1)
	h.settle()
	h.pass(retryNews)
	h.settle()
	h.has(h.all()[0], false, second, first)
}

// TestStillPublic: what certificates name in a bucket stays readable when those
// issued from now on name another place.
func TestStillPublic(t *testing.T) {
	t.Parallel()
	h := newHouse(t, pca.CrlConfiguration{CrlType: pca.CrlType_PARTITIONED}, func(h *house) {
		public := h.cfg.URL
		h.cfg.URL = func(bucket, key string, private bool) string {
			if private {
				return "http://127.0.0.1:8440/crl/" + bucket + "/" + key
			}
			return public(bucket, key, false)
		}
	})
	cert := h.issue(90 * day)
	h.settle()
	h.configure(pca.CrlConfiguration{CrlType: pca.CrlType_PARTITIONED, S3ObjectAcl: pca.S3ObjectAcl_BUCKET_OWNER_FULL_CONTROL})
	h.revoke(cert, 1)
	other := h.issue(90 * day)
	h.pass(time.Minute)
	h.settle()
	lists := h.all()
	if len(lists) != 2 || lists[0].ACL != pca.S3ObjectAcl_PUBLIC_READ || lists[1].ACL != pca.S3ObjectAcl_BUCKET_OWNER_FULL_CONTROL || other.CRL != lists[1].ID {
		t.Fatalf("%+v", lists)
	}
	h.has(lists[0], false, cert)

	// Nobody refers to it any more.
	h.pass(91 * day)
	h.configure(pca.CrlConfiguration{S3ObjectAcl: pca.S3ObjectAcl_BUCKET_OWNER_FULL_CONTROL})
	h.settle()
	if c := h.all()[0]; c.Active {
		t.Errorf("%+v", c)
	}
}
