package main

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/acmpca"
	"github.com/aws/aws-sdk-go-v2/service/acmpca/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"golang.org/x/crypto/ocsp"
)

// eventually waits for what the server does by itself.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for begun := time.Now(); !is(); time.Sleep(20 * time.Millisecond) {
		if time.Since(begun) > time.Minute {
			t.Fatalf("it did not happen within a minute: %s", what)
		}
	}
}

// listed reads the list that a certificate names.
func (p party) listed(t *testing.T) (list *x509.RevocationList, serials []string) {
	t.Helper()
	list = must(x509.ParseRevocationList(p.named(t)))(t)
	return list, serialsOf(list)
}

func serialsOf(list *x509.RevocationList) (serials []string) {
	for _, e := range list.RevokedCertificateEntries {
		serials = append(serials, fmt.Sprintf("%032x", e.SerialNumber))
	}
	return serials
}

// TestRevocationInTime: a bucket that fails for an hour and comes back, lists
// that are renewed before they expire, certificates that expire, and a clock
// that goes back.
func TestRevocationInTime(t *testing.T) {
	t.Parallel()
	var s *served
	t.Cleanup(func() { // after the server's own: its log is complete
		for _, want := range []string{
			`event="ACM Private CA CRL Generation" result=success`,
			`event="ACM Private CA CRL Generation" result=failure`, `reason="Failed to write CRL to S3. Check your S3 bucket permissions."`,
		} {
			if !strings.Contains(s.instance.log.String(), want) {
				t.Errorf("the log does not say %s", want)
			}
		}
	})
	s = serveHouse(t, nil)
	dir, b := t.TempDir(), s.publicBucket(t, "crls")
	root := s.root(t)
	root.publish(t, types.CrlConfiguration{ExpirationInDays: aws.Int32(2), S3BucketName: &b})
	ca := root.own(t, dir, "root")
	short := func(in *acmpca.IssueCertificateInput) { in.Validity.Value = aws.Int64(1) }
	one, two := root.party(t, dir, "one", nil), root.party(t, dir, "two", nil)
	expiring, expired := root.party(t, dir, "expiring", short), root.party(t, dir, "expired", short)
	key := fmt.Sprintf("crl/%s.crl", must(caID(root.arn))(t))
	eventually(t, "the first list", func() bool {
		status, _ := fetched(t, http.MethodGet, one.CRLDistributionPoints[0], "", nil)
		return status == http.StatusOK
	})

	// The bucket fails for an hour.
	before, _ := one.listed(t)
	must(s.s3.DeleteBucketPolicy(t.Context(), &s3.DeleteBucketPolicyInput{Bucket: &b}))(t)
	failures := func() string { return s.metric(t, fmt.Sprintf("pca_crl_bucket_misconfigured_total{ca=%q}", root.arn)) }
	mirrored := func() []string {
		status, body := fetched(t, http.MethodGet, s.API+"/crl/"+b+"/"+key, "", nil)
		if status != http.StatusOK {
			t.Fatalf("the server's own copy: %d %s", status, body)
		}
		return serialsOf(must(x509.ParseRevocationList(body))(t))
	}
	s.pass(6 * time.Second) // beyond the pause between two lists
	if err := root.revoke(t, one.serial(), types.RevocationReasonSuperseded); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a failure", func() bool { return failures() == "1" })
	for n := 2; n <= 5; n++ {
		s.pass(15*time.Minute + time.Second)
		eventually(t, fmt.Sprintf("failure %d", n), func() bool { return failures() == fmt.Sprint(n) })
		if n == 3 { // revocations count meanwhile, and the server has lists of its own
			if err := root.revoke(t, two.serial(), types.RevocationReasonSuperseded); err != nil {
				t.Fatal(err)
			}
			s.pass(6 * time.Second)
			eventually(t, "the server's own copy", func() bool { return slices.Contains(mirrored(), two.serial()) })
			if got := failures(); got != "3" {
				t.Errorf("a list that was made between two tries was tried: %s failures", got)
			}
			if answer := must(ocsp.ParseResponseForCert(two.asked(t, ca, crypto.SHA1), two.Certificate, ca.Certificate))(t); answer.Status != ocsp.Revoked {
				t.Errorf("OCSP says %d", answer.Status)
			}
		}
	}
	if still, _ := one.listed(t); still.Number.Cmp(before.Number) != 0 {
		t.Error("the bucket took a list that it refuses")
	}
	if code, stdout, stderr := command(t, "crl", "list", "--data-dir", s.DataDir, "--ca", root.arn); code != exitOK || !strings.Contains(stdout, "Permission error with your S3 bucket 'crls'.") {
		t.Errorf("crl list: exit code %d:\n%s%s", code, stdout, stderr)
	}
	must(s.s3.PutBucketPolicy(t.Context(), &s3.PutBucketPolicyInput{Bucket: &b, Policy: aws.String(grantPolicy(b))}))(t)
	s.pass(15*time.Minute + time.Second)
	eventually(t, "the list in the bucket", func() bool {
		_, serials := one.listed(t)
		return slices.Contains(serials, one.serial()) && slices.Contains(serials, two.serial())
	})

	// Half of the validity: a new list, for no other reason.
	if err := root.revoke(t, expired.serial(), types.RevocationReasonSuperseded); err != nil {
		t.Fatal(err)
	}
	root.makeCRLs(t)
	last, serials := one.listed(t)
	if len(serials) != 3 {
		t.Errorf("the list has %v", serials)
	}
	s.pass(24*time.Hour + time.Second)
	eventually(t, "a list at half of the validity", func() bool {
		list, _ := one.listed(t)
		return list.Number.Int64() >= last.Number.Int64()+24*3600*1000
	})
	// An expired certificate is on one more list (test 3), and OCSP knows a good
	// one for a day more.
	if _, serials := one.listed(t); !slices.Contains(serials, expired.serial()) {
		t.Error("an expired certificate is not on the next list")
	}
	root.makeCRLs(t)
	if _, serials := one.listed(t); len(serials) != 2 || slices.Contains(serials, expired.serial()) {
		t.Errorf("the second list after a certificate expired has %v", serials)
	}
	wantCode(t, root.revoke(t, expiring.serial(), types.RevocationReasonSuperseded), "InvalidRequestException")
	if answer := must(ocsp.ParseResponseForCert(expiring.asked(t, ca, crypto.SHA1), expiring.Certificate, ca.Certificate))(t); answer.Status != ocsp.Good {
		t.Errorf("OCSP says %d of a certificate that expired a moment ago", answer.Status)
	}
	s.pass(25 * time.Hour)
	if got := expiring.asked(t, ca, crypto.SHA1); string(got) != string(ocsp.UnauthorizedErrorResponse) {
		t.Errorf("OCSP says %x of a certificate that expired a day ago", got)
	}

	// The responder's certificate has expired, and there is another one.
	first := must(ocsp.ParseResponseForCert(two.asked(t, ca, crypto.SHA1), two.Certificate, ca.Certificate))(t).Certificate
	s.pass(31 * 24 * time.Hour)
	answer := must(ocsp.ParseResponseForCert(two.asked(t, ca, crypto.SHA256), two.Certificate, ca.Certificate))(t)
	if c := answer.Certificate; answer.Status != ocsp.Revoked || c == nil || first == nil || c.SerialNumber.Cmp(first.SerialNumber) == 0 || !c.NotAfter.After(first.NotAfter) ||
		!slices.Contains(c.ExtKeyUsage, x509.ExtKeyUsageOCSPSigning) {
		t.Errorf("the answer of a month later: %+v", answer)
	}

	// A clock that goes back by a little: numbers go up nevertheless.
	root.makeCRLs(t)
	last, _ = two.listed(t)
	s.pass(-2 * time.Minute)
	root.makeCRLs(t)
	if list, _ := two.listed(t); list.Number.Cmp(last.Number) <= 0 {
		t.Errorf("the number %v after %v", list.Number, last.Number)
	}
}

// TestDeltaCRL: OpenSSL learns of a revocation from a delta CRL that it finds by
// its base's.
func TestDeltaCRL(t *testing.T) {
	t.Parallel()
	s := serveHouse(t, func(c *serveConfig) { c.CRLDelta = true })
	dir := t.TempDir()
	root := s.root(t)
	root.publish(t, types.CrlConfiguration{ExpirationInDays: aws.Int32(7), S3BucketName: aws.String(s.publicBucket(t, "crls"))})
	ca, one, two := root.own(t, dir, "root"), root.party(t, dir, "one", nil), root.party(t, dir, "two", nil)
	root.makeCRLs(t)
	s.pass(6 * time.Second) // beyond the pause between two lists
	if err := root.revoke(t, one.serial(), types.RevocationReasonKeyCompromise); err != nil {
		t.Fatal(err)
	}
	url := strings.TrimSuffix(one.CRLDistributionPoints[0], ".crl") + "-delta.crl"
	var delta []byte
	eventually(t, "the delta", func() bool {
		_, delta = fetched(t, http.MethodGet, url, "", nil)
		list, err := x509.ParseRevocationList(delta)
		return err == nil && slices.Equal(serialsOf(list), []string{one.serial()})
	})
	base := one.named(t)
	if list := must(x509.ParseRevocationList(base))(t); len(list.RevokedCertificateEntries) != 0 || !bytes.Contains(base, []byte(url)) {
		t.Errorf("the base has %v, and is to refer to %s", serialsOf(list), url)
	}
	alone, both := filepath.Join(dir, "base.pem"), filepath.Join(dir, "both.pem")
	text := pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: base})
	write(t, alone, text)
	write(t, both, slices.Concat(text, pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: delta})))
	for _, c := range []struct {
		ok   bool
		want string
		more []string
	}{
		{true, "one.pem: OK", []string{"-CRLfile", alone, one.file}},
		{false, "certificate revoked", []string{"-CRLfile", both, "-extended_crl", "-use_deltas", one.file}},
		{true, "two.pem: OK", []string{"-CRLfile", both, "-extended_crl", "-use_deltas", two.file}},
	} {
		tool(t, c.ok, []string{c.want}, "openssl", append([]string{"verify", "-crl_check", "-CAfile", ca.file}, c.more...)...)
	}
	if code, stdout, stderr := command(t, "crl", "list", "--data-dir", s.DataDir, "--ca", root.arn); code != exitOK || !strings.Contains(stdout, url) {
		t.Errorf("crl list: %d %s%s", code, stdout, stderr)
	}
}
