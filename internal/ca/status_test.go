package ca

import (
	"errors"
	"strings"
	"testing"
	"time"

	"chirograph.dev/internal/pca"
)

// TestStatusMatrix is the table of api.md 4 for the operations of this package:
// every operation in every status, whether a check of the arguments would
// refuse the call as well or not.
func TestStatusMatrix(t *testing.T) {
	t.Parallel()
	const (
		ok  = pca.Code("")
		is  = pca.InvalidStateException
		rip = pca.RequestInProgressException
		rnf = pca.ResourceNotFoundException
	)
	operations := []string{"describe", "csr", "certificate", "import", "issue", "self-sign", "get", "revoke"}
	matrix := map[pca.CertificateAuthorityStatus][]pca.Code{
		pca.CertificateAuthorityStatus_CREATING:            {ok, rip, is, is, is, is, is, is},
		pca.CertificateAuthorityStatus_PENDING_CERTIFICATE: {ok, ok, is, ok, is, ok, rnf, is},
		pca.CertificateAuthorityStatus_ACTIVE:              {ok, ok, ok, ok, ok, ok, ok, ok},
		pca.CertificateAuthorityStatus_DISABLED:            {ok, ok, ok, is, is, is, ok, ok},
		pca.CertificateAuthorityStatus_EXPIRED:             {ok, ok, ok, ok, is, ok, ok, is},
		pca.CertificateAuthorityStatus_FAILED:              {ok, is, is, is, is, is, is, is},
		pca.CertificateAuthorityStatus_DELETED:             {ok, is, is, is, is, is, is, is},
		"gone":                                             {rnf, rnf, rnf, rnf, rnf, rnf, rnf, rnf},
	}
	for status, want := range matrix {
		t.Run(string(status), func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			h := open(t, dir)
			ca := h.create(t, pca.CertificateAuthorityType_ROOT)
			csr, leaf := h.csr(t, ca), ca+"/certificate/01a203ca24fa92e9b3cf52abddc3f347"
			pending := status == pca.CertificateAuthorityStatus_PENDING_CERTIFICATE || status == pca.CertificateAuthorityStatus_CREATING || status == pca.CertificateAuthorityStatus_FAILED
			cert, err := h.issue(t, ca, csr, rootTemplate, 7200)
			if err != nil {
				t.Fatal(err)
			}
			got, err := h.get(ca, cert)
			if err != nil {
				t.Fatal(err)
			}
			if !pending {
				h.activate(t, ca, 3600)
				if leaf, err = h.issue(t, ca, leafCSR(t, "leaf.example.com"), "", 3000); err != nil {
					t.Fatal(err)
				}
			}
			rec, err := h.db.CA(t.Context(), ca[strings.LastIndexByte(ca, '/')+1:])
			if err != nil {
				t.Fatal(err)
			}
			switch status {
			case "gone":
				rec.Status, rec.RestorableUntil = pca.CertificateAuthorityStatus_DELETED, time.Now().Add(-time.Minute)
			case pca.CertificateAuthorityStatus_DELETED:
				rec.Status, rec.RestorableUntil = status, time.Now().Add(time.Hour)
			case pca.CertificateAuthorityStatus_EXPIRED:
			default:
				rec.Status = status
			}
			if err := h.db.UpdateCA(t.Context(), rec); err != nil {
				t.Fatal(err)
			}
			// A Service that has not loaded the CA yet; the old one would go on
			// with what it knows.
			s := h.Service
			s.authorities = map[string]*authority{}
			if status == pca.CertificateAuthorityStatus_EXPIRED {
				h.pass(time.Hour + time.Second)
			}
			calls := map[string]func() error{
				"describe": func() error {
					_, err := s.DescribeCertificateAuthority(t.Context(), &pca.DescribeCertificateAuthorityRequest{CertificateAuthorityArn: ca})
					return err
				},
				"csr": func() error {
					_, err := s.GetCertificateAuthorityCsr(t.Context(), &pca.GetCertificateAuthorityCsrRequest{CertificateAuthorityArn: ca})
					return err
				},
				"certificate": func() error {
					_, err := s.GetCertificateAuthorityCertificate(t.Context(), &pca.GetCertificateAuthorityCertificateRequest{CertificateAuthorityArn: ca})
					return err
				},
				"import": func() error {
					_, err := s.ImportCertificateAuthorityCertificate(t.Context(), &pca.ImportCertificateAuthorityCertificateRequest{CertificateAuthorityArn: ca, Certificate: []byte(got.Certificate)})
					return err
				},
				"issue":     func() error { _, err := h.issue(t, ca, leafCSR(t, "x.example.com"), "", 60); return err },
				"self-sign": func() error { _, err := h.issue(t, ca, csr, rootTemplate, 7200); return err },
				"get":       func() error { _, err := h.get(ca, leaf); return err },
				"revoke":    func() error { return h.revoke(ca, leaf) },
			}
			// The status comes before the arguments.
			if want[7] == is {
				_, err := s.RevokeCertificate(t.Context(), &pca.RevokeCertificateRequest{CertificateAuthorityArn: ca, CertificateSerial: "no serial"})
				wantCode(t, err, is)
			}
			if want[4] == is && !pending {
				_, err := s.IssueCertificate(t.Context(), &pca.IssueCertificateRequest{CertificateAuthorityArn: ca, Csr: []byte("no CSR"), TemplateArn: "arn:aws:acm-pca:::template/None/V1"})
				wantCode(t, err, is)
			}
			// In this order an import does not change what the others see.
			for _, n := range []int{0, 1, 2, 4, 5, 6, 7, 3} {
				err := calls[operations[n]]()
				code := ok
				if e, is := errors.AsType[*pca.Error](err); is {
					code = e.Code
				} else if err != nil {
					code = pca.InternalFailure
				}
				if code != want[n] {
					t.Errorf("%s: %q (%v), want %q", operations[n], code, err, want[n])
				}
			}
			if status != "gone" {
				return
			}
			out, err := s.ListCertificateAuthorities(t.Context(), &pca.ListCertificateAuthoritiesRequest{})
			if err != nil || len(out.CertificateAuthorities) != 0 {
				t.Errorf("a CA that is gone is listed: %v, %v", out, err)
			}
		})
	}
}
