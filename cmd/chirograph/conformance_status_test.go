package main

import (
	"slices"
	"strings"
	"testing"

	"chirograph.dev/internal/pca"
)

const (
	ok         = ""
	badState   = "InvalidStateException"
	inProgress = "RequestInProgressException"
	notFound   = "ResourceNotFoundException"
)

// matrix is api.md 4: what a well-formed call is answered, by the status of the
// certificate authority in the order of statuses().
func matrix() map[string][8]string {
	governed := [8]string{badState, ok, ok, ok, ok, badState, badState, notFound}
	tagged := [8]string{ok, ok, ok, ok, ok, ok, badState, notFound}
	return map[string][8]string{
		"DescribeCertificateAuthority":            {ok, ok, ok, ok, ok, ok, ok, notFound},
		"ListCertificateAuthorities":              {},
		"GetCertificateAuthorityCsr":              {inProgress, ok, ok, ok, ok, badState, badState, notFound},
		"GetCertificateAuthorityCertificate":      {badState, badState, ok, ok, ok, badState, badState, notFound},
		"ImportCertificateAuthorityCertificate":   {badState, ok, ok, badState, ok, badState, badState, notFound},
		"IssueCertificate":                        {badState, badState, ok, badState, badState, badState, badState, notFound},
		"GetCertificate":                          {badState, ok, ok, ok, ok, badState, badState, notFound},
		"RevokeCertificate":                       {badState, badState, ok, ok, badState, badState, badState, notFound},
		"CreateCertificateAuthorityAuditReport":   {badState, badState, ok, ok, ok, badState, badState, notFound},
		"DescribeCertificateAuthorityAuditReport": {notFound, notFound, ok, ok, ok, notFound, ok, notFound},
		"UpdateCertificateAuthority":              {badState, badState, ok, ok, badState, badState, badState, notFound},
		"DeleteCertificateAuthority":              {ok, ok, badState, ok, ok, ok, badState, notFound},
		"RestoreCertificateAuthority":             {badState, badState, badState, badState, badState, badState, ok, notFound},
		"TagCertificateAuthority":                 tagged,
		"UntagCertificateAuthority":               tagged,
		"ListTags":                                tagged,
		"CreatePermission":                        governed,
		"DeletePermission":                        governed,
		"ListPermissions":                         governed,
		"PutPolicy":                               governed,
		"GetPolicy":                               governed,
		"DeletePolicy":                            governed,
	}
}

// request is a call about a CA that succeeds when the CA's status lets it. It
// prepares what the call needs beside the status.
func (w *world) request(t *testing.T, operation string, s *subject) m {
	t.Helper()
	body := m{"CertificateAuthorityArn": s.arn}
	switch operation {
	case "ImportCertificateAuthorityCertificate":
		body["Certificate"] = []byte("-----BEGIN CERTIFICATE-----")
		if _, a := w.answer(t, "GetCertificateAuthorityCsr", m{"CertificateAuthorityArn": s.arn}); a.status == 200 {
			issued, a := w.answer(t, "IssueCertificate", w.selfSign(t, s, m{"Type": "YEARS", "Value": 11}))
			if a.status == 200 {
				body["Certificate"] = []byte(w.certificate(t, s, issued["CertificateArn"].(string))["Certificate"].(string))
			}
		}
	case "IssueCertificate":
		return w.issue(t, s)
	case "GetCertificate":
		body["CertificateArn"] = s.leaf
		if strings.HasSuffix(s.leaf, "/0123456789abcdef0123456789abcdef") {
			// A root that awaits its certificate has it before it is imported.
			if _, a := w.answer(t, "GetCertificateAuthorityCsr", m{"CertificateAuthorityArn": s.arn}); a.status == 200 {
				body["CertificateArn"] = w.ok(t, "IssueCertificate", w.selfSign(t, s, m{"Type": "DAYS", "Value": 1}))["CertificateArn"]
			}
		}
	case "RevokeCertificate":
		return with(body, "CertificateSerial", serialOf(s.leaf), "RevocationReason", "SUPERSEDED")
	case "CreateCertificateAuthorityAuditReport":
		return w.reportOf(s)
	case "DescribeCertificateAuthorityAuditReport":
		body["AuditReportId"] = s.report
	case "UpdateCertificateAuthority":
		body["Status"] = "DISABLED"
	case "TagCertificateAuthority", "UntagCertificateAuthority":
		body["Tags"] = []m{{"Key": "key", "Value": "value"}}
	case "CreatePermission":
		return permissionFor(s)
	case "DeletePermission":
		w.answer(t, "CreatePermission", permissionFor(s))
		body["Principal"] = "acm.amazonaws.com"
	case "PutPolicy":
		return policyFor(s)
	case "GetPolicy", "DeletePolicy":
		w.answer(t, "PutPolicy", policyFor(s))
		return m{"ResourceArn": s.arn}
	}
	return body
}

func permissionFor(s *subject) m {
	return m{"CertificateAuthorityArn": s.arn, "Principal": "acm.amazonaws.com", "Actions": []string{"IssueCertificate", "GetCertificate", "ListPermissions"}}
}

const otherAccount = "210987654321"

func policyFor(s *subject) m {
	return m{"ResourceArn": s.arn, "Policy": `{"Version":"2012-10-17","Statement":[{"Sid":"1","Effect":"Allow","Principal":{"AWS":"` + otherAccount + `"},"Action":["acm-pca:DescribeCertificateAuthority","acm-pca:GetCertificate"],"Resource":"` + s.arn + `"}]}`}
}

// listed says whether ListCertificateAuthorities lists a CA.
func (w *world) listed(t *testing.T, s *subject) bool {
	t.Helper()
	token := any(nil)
	for {
		out := w.ok(t, "ListCertificateAuthorities", m{"NextToken": token})
		for _, c := range out["CertificateAuthorities"].([]any) {
			if c.(m)["Arn"] == s.arn {
				return true
			}
		}
		if token = out["NextToken"]; token == nil {
			return false
		}
	}
}

// statusRules are the cells of the matrix, and the errors that follow from them.
func statusRules() (list []rule) {
	cells := matrix()
	for _, op := range pca.Operations() {
		row, found := cells[op.Name]
		if !found {
			continue // CreateCertificateAuthority
		}
		list = append(list, successRule(op.Name, row))
		for i, status := range statuses() {
			list = append(list, statusRule(op.Name, status, row[i]))
		}
		if op.Name == "ListCertificateAuthorities" {
			continue
		}
		if i := slices.Index(row[:], badState); i >= 0 {
			list = append(list, rule{operation: op.Name, id: "error InvalidStateException", holds: "a status that does not allow it, such as " + statuses()[i], check: func(t *testing.T, w *world) {
				s := w.in(t, statuses()[i])
				w.refused(t, op.Name, w.request(t, op.Name, s), badState, "")
			}})
		}
		list = append(list,
			rule{operation: op.Name, id: "error ResourceNotFoundException", holds: "a CA that there never was, here or in another region", check: func(t *testing.T, w *world) {
				for _, arn := range []string{
					"arn:aws:acm-pca:us-east-1:123456789012:certificate-authority/00000000-0000-4000-8000-000000000000",
					strings.Replace(w.gone.arn, "us-east-1", "eu-west-1", 1),
				} {
					s := &subject{arn: arn, leaf: arn + "/certificate/0123456789abcdef0123456789abcdef", report: "00000000-0000-4000-8000-000000000000"}
					w.refused(t, op.Name, w.request(t, op.Name, s), notFound, arn)
				}
			}},
			rule{operation: op.Name, id: "error InvalidArnException", holds: "the ARN of a certificate, of a template, or of another partition", check: func(t *testing.T, w *world) {
				for _, arn := range []string{
					w.gone.arn + "/certificate/0123456789abcdef0123456789abcdef",
					"arn:aws:acm-pca:::template/EndEntityCertificate/V1",
					strings.Replace(w.gone.arn, "arn:aws:", "arn:aws-us-gov:", 1),
				} {
					s := &subject{arn: arn, leaf: w.gone.arn + "/certificate/0123456789abcdef0123456789abcdef", report: "00000000-0000-4000-8000-000000000000"}
					w.refused(t, op.Name, w.request(t, op.Name, s), "InvalidArnException", "")
				}
			}})
	}
	return list
}

func successRule(operation string, row [8]string) rule {
	i := 2 // ACTIVE
	for row[i] != ok {
		i = (i + 1) % len(row)
	}
	return rule{operation: operation, id: "success", holds: "a well-formed call that its caller may make", check: func(t *testing.T, w *world) {
		s := w.in(t, statuses()[i])
		out, a := w.answer(t, operation, w.request(t, operation, s))
		if a.status != 200 {
			t.Fatalf("%d %s %s", a.status, a.code, a.message)
		}
		// An operation without output has an empty body, the others have theirs.
		outputs := map[string]string{
			"CreateCertificateAuthorityAuditReport": "AuditReportId S3Key", "DescribeCertificateAuthority": "CertificateAuthority",
			"DescribeCertificateAuthorityAuditReport": "AuditReportStatus CreatedAt S3BucketName S3Key",
			"GetCertificate": "Certificate CertificateChain", "GetCertificateAuthorityCertificate": "Certificate",
			"GetCertificateAuthorityCsr": "Csr", "GetPolicy": "Policy", "IssueCertificate": "CertificateArn",
			"ListPermissions": "Permissions", "ListTags": "Tags",
		}
		if operation == "ListCertificateAuthorities" {
			if out["CertificateAuthorities"] == nil {
				t.Errorf("the answer is %s", a.body)
			}
			return
		}
		want := strings.Fields(outputs[operation])
		for _, member := range want {
			if out[member] == nil {
				t.Errorf("the answer %s has no %s", a.body, member)
			}
		}
		if len(out) != len(want) || len(want) == 0 && len(a.body) > 0 {
			t.Errorf("the answer is %s, want %v", a.body, want)
		}
	}}
}

func statusRule(operation, status, code string) rule {
	r := rule{operation: operation, id: "status " + status, holds: "answered " + code}
	switch {
	case operation == "ListCertificateAuthorities" && status == "gone":
		r.holds = "not in the list"
		r.check = func(t *testing.T, w *world) {
			if w.listed(t, w.gone) {
				t.Error("a CA that is gone is listed")
			}
		}
		return r
	case operation == "ListCertificateAuthorities":
		r.holds = "in the list"
		r.check = func(t *testing.T, w *world) {
			if !w.listed(t, w.in(t, status)) {
				t.Error("it is not listed")
			}
		}
		return r
	case operation == "IssueCertificate" && (status == "PENDING_CERTIFICATE" || status == "EXPIRED"):
		r.holds = "answered InvalidStateException, but a root signs its own certificate"
		r.check = func(t *testing.T, w *world) {
			s := w.in(t, status)
			w.refused(t, operation, w.issue(t, s), code, "")
			w.outcome(t, operation, w.selfSign(t, s, m{"Type": "DAYS", "Value": 30}), ok)
			other := newCSR(t, newKey(t), "other.example.com")
			if _, a := w.answer(t, operation, with(w.selfSign(t, s, m{"Type": "DAYS", "Value": 30}), "Csr", other)); a.status == 200 {
				t.Error("the root's template signs another key")
			}
		}
		return r
	case code == ok:
		r.holds = "allowed"
	}
	r.check = func(t *testing.T, w *world) {
		s := w.in(t, status)
		w.outcome(t, operation, w.request(t, operation, s), code)
	}
	if operation == "DeleteCertificateAuthority" && (status == "CREATING" || status == "FAILED") {
		r.holds = "allowed, and final"
		r.check = func(t *testing.T, w *world) {
			s := w.in(t, status)
			w.ok(t, operation, m{"CertificateAuthorityArn": s.arn})
			w.refused(t, "DescribeCertificateAuthority", m{"CertificateAuthorityArn": s.arn}, notFound, "")
		}
	}
	return r
}
