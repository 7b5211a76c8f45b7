package ca

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"chirograph.dev/internal/auditlog"
	"chirograph.dev/internal/auditreport"
	"chirograph.dev/internal/bucket"
	"chirograph.dev/internal/certlog"
	"chirograph.dev/internal/pca"
	"chirograph.dev/internal/store"
)

// TestStatusMatrix is the table of api.md 4: every operation of the API in
// every status. A status that forbids an operation comes before what is wrong
// with its arguments.
func TestStatusMatrix(t *testing.T) {
	t.Parallel()
	const (
		ok  = pca.Code("")
		is  = pca.InvalidStateException
		rip = pca.RequestInProgressException
		rnf = pca.ResourceNotFoundException
	)
	statuses := []pca.CertificateAuthorityStatus{"CREATING", "PENDING_CERTIFICATE", "ACTIVE", "DISABLED", "EXPIRED", "FAILED", "DELETED", "gone"}
	matrix := map[string][8]pca.Code{
		"DescribeCertificateAuthority":            {ok, ok, ok, ok, ok, ok, ok, rnf},
		"ListCertificateAuthorities":              {ok, ok, ok, ok, ok, ok, ok, rnf}, // rnf: not in the list
		"GetCertificateAuthorityCsr":              {rip, ok, ok, ok, ok, is, is, rnf},
		"GetCertificateAuthorityCertificate":      {is, is, ok, ok, ok, is, is, rnf},
		"ImportCertificateAuthorityCertificate":   {is, ok, ok, is, ok, is, is, rnf},
		"IssueCertificate":                        {is, is, ok, is, is, is, is, rnf},
		"IssueCertificate, root self-sign":        {is, ok, ok, is, ok, is, is, rnf},
		"GetCertificate":                          {is, rnf, ok, ok, ok, is, is, rnf}, // a pending CA issued none
		"RevokeCertificate":                       {is, is, ok, ok, is, is, is, rnf},
		"CreateCertificateAuthorityAuditReport":   {is, is, ok, ok, ok, is, is, rnf},
		"DescribeCertificateAuthorityAuditReport": {rnf, rnf, ok, ok, ok, rnf, ok, rnf},
		"UpdateCertificateAuthority":              {is, is, ok, ok, is, is, is, rnf},
		"RestoreCertificateAuthority":             {is, is, is, is, is, is, ok, rnf},
		"TagCertificateAuthority":                 {ok, ok, ok, ok, ok, ok, is, rnf},
		"UntagCertificateAuthority":               {ok, ok, ok, ok, ok, ok, is, rnf},
		"ListTags":                                {ok, ok, ok, ok, ok, ok, is, rnf},
		"CreatePermission":                        {is, ok, ok, ok, ok, is, is, rnf},
		"ListPermissions":                         {is, ok, ok, ok, ok, is, is, rnf},
		"DeletePermission":                        {is, rnf, rnf, rnf, rnf, is, is, rnf}, // there is none
		"PutPolicy":                               {is, ok, ok, ok, ok, is, is, rnf},
		"GetPolicy":                               {is, rnf, rnf, rnf, rnf, is, is, rnf}, // there is none
		"DeletePolicy":                            {is, ok, ok, ok, ok, is, is, rnf},
		"DeleteCertificateAuthority":              {ok, ok, is, ok, ok, ok, is, rnf},
		"CreateCertificateAuthority":              {ok, ok, ok, ok, ok, ok, ok, ok}, // another one
	}
	operations := map[string]bool{}
	for name := range matrix {
		name, _, _ = strings.Cut(name, ",")
		operations[name] = true
	}
	for _, op := range pca.Operations() {
		if !operations[op.Name] {
			t.Errorf("the matrix lacks %s", op.Name)
		}
	}
	// In the words that clients match (api.md 4.1).
	texts := map[string]string{
		"IssueCertificate":                   "The certificate authority is not in a valid state for issuing certificates",
		"UpdateCertificateAuthority":         "The certificate authority must be in the ACTIVE or DISABLED state to be updated",
		"DeleteCertificateAuthority":         "The certificate authority is not in a valid state for deletion.",
		"RestoreCertificateAuthority":        "The certificate authority is not in a valid state for restoration.",
		"GetCertificate":                     " is not in the correct state to have issued certificates.",
		"GetCertificateAuthorityCsr":         " is not in the correct state to have a certificate signing request.",
		"GetCertificateAuthorityCertificate": " is not in the correct state to have a certificate signing request.",
	}
	for n, status := range statuses {
		t.Run(string(status), func(t *testing.T) {
			t.Parallel()
			c := newStatusCase(t, status)
			names := slices.Sorted(maps.Keys(matrix))
			// Last, as it destroys the key.
			names = append(slices.DeleteFunc(names, func(s string) bool { return s == "DeleteCertificateAuthority" }), "DeleteCertificateAuthority")
			for _, name := range names {
				c.reset(t)
				want := matrix[name][n]
				err := c.call(t, name, want == is)
				code := ok
				if e, is := errors.AsType[*pca.Error](err); is {
					code = e.Code
				} else if err != nil {
					code = pca.InternalFailure
				}
				if code != want {
					t.Errorf("%s: %q (%v), want %q", name, code, err, want)
				}
				if text := texts[name]; code == is && !strings.Contains(err.Error(), text) {
					t.Errorf("%s: %v does not say %q", name, err, text)
				}
			}
		})
	}
}

// statusCase is a CA that can be brought back to a status again and again.
type statusCase struct {
	*house
	reports     *auditreport.Service
	ca, leaf    string
	csr         []byte
	certificate []byte
	rec         *store.CertificateAuthority
	report      string
}

var errReached = errors.New("the bucket is asked")

func newStatusCase(t *testing.T, status pca.CertificateAuthorityStatus) *statusCase {
	t.Helper()
	h := open(t, t.TempDir())
	c := &statusCase{house: h, ca: h.create(t, pca.CertificateAuthorityType_ROOT), report: "00000000-0000-4000-8000-000000000000"}
	c.csr, c.leaf = h.csr(t, c.ca), c.ca+"/certificate/01a203ca24fa92e9b3cf52abddc3f347"
	cert, err := h.issue(t, c.ca, c.csr, rootTemplate, 7200)
	if err != nil {
		t.Fatal(err)
	}
	got, err := h.get(c.ca, cert)
	if err != nil {
		t.Fatal(err)
	}
	c.certificate = []byte(got.Certificate)
	id := mustARN(t, c.ca).CA
	switch status {
	case pca.CertificateAuthorityStatus_CREATING, pca.CertificateAuthorityStatus_PENDING_CERTIFICATE, pca.CertificateAuthorityStatus_FAILED:
	default:
		h.activate(t, c.ca, 3600)
		if c.leaf, err = h.issue(t, c.ca, leafCSR(t, "leaf.example.com"), "", 3000); err != nil {
			t.Fatal(err)
		}
		e := certlog.Entry{Type: certlog.TypeReport, Time: h.Now().UnixMilli(), Label: []byte(c.report), Extra: []byte("JSON")}
		entry, err := e.Append(nil)
		if err != nil {
			t.Fatal(err)
		}
		row := &store.AuditReport{ID: c.report, CA: id, CAARN: c.ca, Account: "123456789012", Bucket: "reports", Key: "k", Format: "JSON", Status: pca.AuditReportStatus_FAILED, CreatedAt: h.Now()}
		if _, err := h.log.Append(t.Context(), id, certlog.Record{Entry: entry, Rows: []certlog.Row{row}}); err != nil {
			t.Fatal(err)
		}
	}
	if c.rec, err = h.db.CA(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	switch status {
	case "gone", pca.CertificateAuthorityStatus_DELETED:
		c.rec.DeletedFrom, c.rec.Status = c.rec.Status, pca.CertificateAuthorityStatus_DELETED
		c.rec.RestorableUntil = h.Now().Add(time.Hour)
		if status == "gone" {
			h.pass(time.Hour)
		}
	case pca.CertificateAuthorityStatus_EXPIRED:
		h.pass(time.Hour + time.Second)
	default:
		c.rec.Status = status
	}
	heads, err := auditlog.New(auditlog.Config{Entries: h.log.Log.(*certlog.Log), Store: h.db, Records: h.db, Keys: h.Keys})
	if err != nil {
		t.Fatal(err)
	}
	c.reports, err = auditreport.New(auditreport.Config{
		Log: h.log, Entries: h.db, Reports: h.db, Parts: h.db, Checkpoints: heads, Packs: h.db, Settings: h.db, Authorities: h.Service,
		Destination: func(context.Context, string, string) (*bucket.Client, error) { return nil, errReached },
	})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// reset stores the record of the status and forgets what is loaded.
func (c *statusCase) reset(t *testing.T) {
	t.Helper()
	now, err := c.db.CA(t.Context(), c.rec.ID)
	if err != nil {
		t.Fatal(err)
	}
	rec := *c.rec
	rec.Version = now.Version
	if err := c.db.UpdateCA(t.Context(), &rec); err != nil {
		t.Fatal(err)
	}
	c.mu.Lock()
	c.authorities = map[string]*authority{}
	c.mu.Unlock()
}

// call calls an operation, with arguments that are wrong as well where the
// status alone should decide.
func (c *statusCase) call(t *testing.T, name string, wrong bool) error {
	ctx, s := t.Context(), c.Service
	pick := func(good, bad string) string {
		if wrong {
			return bad
		}
		return good
	}
	var err error
	switch name {
	case "CreateCertificateAuthority":
		c.create(t, pca.CertificateAuthorityType_ROOT)
	case "DescribeCertificateAuthority":
		_, err = s.DescribeCertificateAuthority(ctx, &pca.DescribeCertificateAuthorityRequest{CertificateAuthorityArn: c.ca})
	case "ListCertificateAuthorities":
		var out *pca.ListCertificateAuthoritiesResponse
		out, err = s.ListCertificateAuthorities(ctx, &pca.ListCertificateAuthoritiesRequest{})
		if err == nil && !slices.ContainsFunc(out.CertificateAuthorities, func(a pca.CertificateAuthority) bool { return a.Arn == c.ca }) {
			err = notFound(c.ca)
		}
	case "GetCertificateAuthorityCsr":
		_, err = s.GetCertificateAuthorityCsr(ctx, &pca.GetCertificateAuthorityCsrRequest{CertificateAuthorityArn: c.ca})
	case "GetCertificateAuthorityCertificate":
		_, err = s.GetCertificateAuthorityCertificate(ctx, &pca.GetCertificateAuthorityCertificateRequest{CertificateAuthorityArn: c.ca})
	case "ImportCertificateAuthorityCertificate":
		_, err = s.ImportCertificateAuthorityCertificate(ctx, &pca.ImportCertificateAuthorityCertificateRequest{CertificateAuthorityArn: c.ca, Certificate: []byte(pick(string(c.certificate), "none"))})
	case "IssueCertificate":
		_, err = c.issue(t, c.ca, []byte(pick(string(leafCSR(t, "x.example.com")), "none")), pick("", "arn:aws:acm-pca:::template/None/V1"), 60)
	case "IssueCertificate, root self-sign":
		_, err = c.issue(t, c.ca, []byte(pick(string(c.csr), "none")), rootTemplate, 7200)
	case "GetCertificate":
		_, err = c.get(c.ca, c.leaf)
	case "RevokeCertificate":
		_, err = s.RevokeCertificate(ctx, &pca.RevokeCertificateRequest{CertificateAuthorityArn: c.ca, CertificateSerial: pick(c.leaf[strings.LastIndexByte(c.leaf, '/')+1:], "no serial")})
	case "CreateCertificateAuthorityAuditReport":
		_, err = c.reports.CreateCertificateAuthorityAuditReport(ctx, &pca.CreateCertificateAuthorityAuditReportRequest{CertificateAuthorityArn: c.ca, S3BucketName: pick("reports", "X"), AuditReportResponseFormat: "JSON"})
		if errors.Is(err, errReached) {
			err = nil
		}
	case "DescribeCertificateAuthorityAuditReport":
		_, err = c.reports.DescribeCertificateAuthorityAuditReport(ctx, &pca.DescribeCertificateAuthorityAuditReportRequest{CertificateAuthorityArn: c.ca, AuditReportId: c.report})
	case "UpdateCertificateAuthority":
		_, err = s.UpdateCertificateAuthority(ctx, &pca.UpdateCertificateAuthorityRequest{CertificateAuthorityArn: c.ca, Status: pca.CertificateAuthorityStatus(pick("DISABLED", "FAILED"))})
	case "DeleteCertificateAuthority":
		_, err = s.DeleteCertificateAuthority(ctx, &pca.DeleteCertificateAuthorityRequest{CertificateAuthorityArn: c.ca})
	case "RestoreCertificateAuthority":
		_, err = s.RestoreCertificateAuthority(ctx, &pca.RestoreCertificateAuthorityRequest{CertificateAuthorityArn: c.ca})
	case "TagCertificateAuthority":
		_, err = s.TagCertificateAuthority(ctx, &pca.TagCertificateAuthorityRequest{CertificateAuthorityArn: c.ca, Tags: []pca.Tag{{Key: pick("k", "aws:k")}}})
	case "UntagCertificateAuthority":
		_, err = s.UntagCertificateAuthority(ctx, &pca.UntagCertificateAuthorityRequest{CertificateAuthorityArn: c.ca, Tags: []pca.Tag{{Key: pick("k", "aws:k")}}})
	case "ListTags":
		_, err = s.ListTags(ctx, &pca.ListTagsRequest{CertificateAuthorityArn: c.ca, NextToken: pick("", "forged")})
	case "CreatePermission":
		_, err = s.CreatePermission(ctx, &pca.CreatePermissionRequest{CertificateAuthorityArn: c.ca, Principal: pick(acmPrincipal, "other"), Actions: []pca.ActionType{"GetCertificate"}})
	case "ListPermissions":
		_, err = s.ListPermissions(ctx, &pca.ListPermissionsRequest{CertificateAuthorityArn: c.ca, NextToken: pick("", "forged")})
	case "DeletePermission":
		_, err = s.DeletePermission(ctx, &pca.DeletePermissionRequest{CertificateAuthorityArn: c.ca, Principal: acmPrincipal})
	case "PutPolicy":
		_, err = s.PutPolicy(ctx, &pca.PutPolicyRequest{ResourceArn: c.ca, Policy: pick(sharePolicy(c.ca, "111122223333"), "{}")})
	case "GetPolicy":
		_, err = s.GetPolicy(ctx, &pca.GetPolicyRequest{ResourceArn: c.ca})
	case "DeletePolicy":
		_, err = s.DeletePolicy(ctx, &pca.DeletePolicyRequest{ResourceArn: c.ca})
	default:
		t.Fatalf("no call of %s", name)
	}
	return err
}

// sharePolicy is AWS's policy for another account.
func sharePolicy(ca, account string) string {
	return `{"Version":"2012-10-17","Statement":[
  {"Sid":"1","Effect":"Allow","Principal":{"AWS":"` + account + `"},"Action":["acm-pca:DescribeCertificateAuthority","acm-pca:GetCertificate","acm-pca:GetCertificateAuthorityCertificate","acm-pca:ListPermissions","acm-pca:ListTags"],"Resource":"` + ca + `"},
  {"Sid":"1","Effect":"Allow","Principal":{"AWS":"` + account + `"},"Action":["acm-pca:IssueCertificate"],"Resource":"` + ca + `","Condition":{"StringEquals":{"acm-pca:TemplateArn":"arn:aws:acm-pca:::template/EndEntityCertificate/V1"}}}
]}`
}
