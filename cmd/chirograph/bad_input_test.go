package main

import (
	"encoding/json"
	"maps"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"chirograph.dev/internal/pca"
	"chirograph.dev/internal/pca/pcatest"
)

// TestBadInput sends, for every operation, every malformed, oversized, wrongly
// typed and unknown value that the API's model knows, foreign ARNs, and calls
// of those who may not, over HTTP. Each has its code; nothing is an error of
// the server's, and nothing leaves a trace in its store.
func TestBadInput(t *testing.T) {
	t.Parallel()
	m := pcatest.Load(t)
	s := serveHouse(t, nil)
	root := s.root(t)
	leaf := must(root.issue(t.Context(), newCSR(t, newKey(t), "leaf.example.com"), nil))(t)
	const account = "123456789012"
	nobody := s.user(t, "AKIANOBODY", account, `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":["iam:*","s3:*"],"Resource":"*"}}`)
	denied := s.user(t, "AKIADENIED", account, `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"},{"Effect":"Deny","Action":"acm-pca:*","Resource":"*"}]}`)
	foreign := s.user(t, "AKIAFOREIGN", "210987654321", administratorPolicy)
	before := s.stored(t)

	t.Run("operations", func(t *testing.T) {
		for _, op := range pca.Operations() {
			t.Run(op.Name, func(t *testing.T) {
				t.Parallel()
				body := m.Minimal(op.Name)
				about := "" // the member with the CA's ARN
				for _, name := range []string{"CertificateAuthorityArn", "ResourceArn"} {
					if body[name] != nil {
						about = name
					}
				}
				s.badShapes(t, m, op.Name)
				// What follows would be well-formed calls about what there is.
				if about != "" {
					body[about] = root.arn
				}
				if op.Name == "GetCertificate" {
					body["CertificateArn"] = leaf
				}
				if about != "" {
					s.badARNs(t, op.Name, body, about)
				}
				s.badCallers(t, op.Name, encodeJSON(t, body), nobody, denied)
				if about != "" {
					a := s.send(t, call{operation: op.Name, body: encodeJSON(t, body), who: foreign})
					if a.code != "AccessDeniedException" || !strings.HasSuffix(a.message, " because no resource-based policy allows the acm-pca:"+op.Name+" action") {
						t.Errorf("%s by another account: %d %s %s", op.Name, a.status, a.code, a.message)
					}
				}
			})
		}
	})
	s.unchanged(t, before)
}

func encodeJSON(t *testing.T, v any) []byte {
	t.Helper()
	return must(json.Marshal(v))(t)
}

func (s *served) badShapes(t *testing.T, m *pcatest.Model, operation string) {
	m.Cases(operation, func(c pcatest.Case) {
		a := s.send(t, call{operation: operation, body: c.Body, who: s.admin})
		switch {
		case c.Code != "":
			if wrong := c.Wrong(a.code, a.message); wrong != "" || a.status != 400 {
				t.Errorf("%s, %s: %d, %s", operation, c.Name, a.status, wrong)
			}
		case a.status == 200 && operation == "ListCertificateAuthorities":
		case a.code == "SerializationException" || strings.Contains(a.message, "detected: ") || a.status != 400:
			// It has its shape, but is about what there is not.
			t.Errorf("%s, %s: %d %s %s", operation, c.Name, a.status, a.code, a.message)
		}
	})
	huge := `{"Unknown":"` + strings.Repeat("x", 4<<20) + `"}`
	if a := s.send(t, call{operation: operation, body: []byte(huge), who: s.admin}); a.status != 413 || a.code != "RequestEntityTooLargeException" {
		t.Errorf("%s with %d bytes: %d %s", operation, len(huge), a.status, a.code)
	}
}

// badARNs are ARNs of what the operation is not about.
func (s *served) badARNs(t *testing.T, operation string, body map[string]any, member string) {
	arn := body[member].(string)
	try := func(member, arn, code string) {
		t.Helper()
		b := maps.Clone(body)
		b[member] = arn
		if member == "CertificateAuthorityArn" && operation == "GetCertificate" && code != "InvalidArnException" {
			b["CertificateArn"] = arn + "/certificate/0123456789abcdef0123456789abcdef"
		}
		if a := s.send(t, call{operation: operation, body: encodeJSON(t, b), who: s.admin}); a.code != code {
			t.Errorf("%s of %s: %d %s %s, want %s", operation, arn, a.status, a.code, a.message, code)
		}
	}
	const certificate = "/certificate/0123456789abcdef0123456789abcdef"
	for text, code := range map[string]string{
		strings.Replace(arn, "arn:aws:", "arn:aws-cn:", 1): "InvalidArnException",
		arn + certificate: "InvalidArnException",
		arn + "/permission/0123456789abcdef0123456789abcdef":   "InvalidArnException",
		"arn:aws:acm-pca:::template/EndEntityCertificate/V1":   "InvalidArnException",
		strings.ToUpper(arn[len(arn)-36:]):                     "ValidationException",
		arn[:len(arn)-36] + strings.ToUpper(arn[len(arn)-36:]): "InvalidArnException",
		arn[:len(arn)-1]:                                                    "InvalidArnException",
		strings.Replace(arn, "us-east-1", "", 1):                            "InvalidArnException",
		strings.Replace(arn, "123456789012", "", 1):                         "InvalidArnException",
		strings.Replace(arn, "certificate-authority", "audit-report", 1):    "InvalidArnException",
		strings.Replace(arn, "acm-pca", "acm", 1):                           "ValidationException",
		"arn:aws:s3:::bucket":                                               "ValidationException",
		"arn:aws:acm-pca:us-east-1:" + strings.Repeat("1", 200) + ":x":      "ValidationException",
		strings.Replace(arn, "us-east-1", "eu-west-1", 1):                   "ResourceNotFoundException",
		arn[:len(arn)-36] + "00000000-0000-4000-8000-000000000000":          "ResourceNotFoundException",
		strings.Replace(arn, "123456789012", "210987654321", 1):             "AccessDeniedException",
		"arn:aws:acm-pca:us-east-1:123456789012:certificate-authority/\x00": "ValidationException",
	} {
		try(member, text, code)
	}
	if operation == "GetCertificate" {
		for text, code := range map[string]string{
			arn: "InvalidArnException",
			strings.Replace(arn, "arn:aws:", "arn:aws-cn:", 1) + certificate:         "InvalidArnException",
			strings.Replace(arn, "us-east-1", "eu-west-1", 1) + certificate:          "InvalidArnException",
			arn[:len(arn)-36] + "00000000-0000-4000-8000-000000000000" + certificate: "InvalidArnException",
			arn + "/certificate/01":                               "InvalidArnException",
			arn + "/certificate/0123456789abcdef0123456789abcdeg": "InvalidArnException",
			"arn:aws:acm-pca:::template/EndEntityCertificate/V1":  "InvalidArnException",
			arn + certificate:                                     "ResourceNotFoundException",
		} {
			try("CertificateArn", text, code)
		}
	}
}

// badCallers are calls of those who are nobody, or may not.
func (s *served) badCallers(t *testing.T, operation string, body []byte, nobody, denied aws.Credentials) {
	type header = func(*http.Request)
	with := func(who aws.Credentials, change func(*aws.Credentials)) aws.Credentials {
		change(&who)
		return who
	}
	for name, c := range map[string]struct {
		call
		code, text string
	}{
		"no policy":     {call{who: nobody}, "AccessDeniedException", " because no identity-based policy allows the acm-pca:" + operation + " action"},
		"explicit deny": {call{who: denied}, "AccessDeniedException", " with an explicit deny in an identity-based policy"},
		"unsigned":      {call{}, "MissingAuthenticationTokenException", ""},
		"no signature": {call{who: s.admin, edit: header(func(r *http.Request) {
			h, _, _ := strings.Cut(r.Header.Get("Authorization"), ", Signature=")
			r.Header.Set("Authorization", h)
		})}, "IncompleteSignatureException", ""},
		"another scheme": {call{who: s.admin, edit: header(func(r *http.Request) { r.Header.Set("Authorization", "Basic YTpi") })}, "IncompleteSignatureException", ""},
		"presigned": {call{edit: header(func(r *http.Request) {
			r.URL.RawQuery = "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Signature=00"
		})}, "IncompleteSignatureException", ""},
		"unknown key":   {call{who: with(s.admin, func(c *aws.Credentials) { c.AccessKeyID = "AKIAUNKNOWN" })}, "UnrecognizedClientException", "The security token included in the request is invalid."},
		"wrong secret":  {call{who: with(s.admin, func(c *aws.Credentials) { c.SecretAccessKey += "x" })}, "InvalidSignatureException", ""},
		"session token": {call{who: with(s.admin, func(c *aws.Credentials) { c.SessionToken = "junk" })}, "UnrecognizedClientException", "The security token included in the request is invalid."},
		"session key":   {call{who: with(s.admin, func(c *aws.Credentials) { c.AccessKeyID, c.SessionToken = "ASIAUNKNOWN", "junk" })}, "UnrecognizedClientException", "The security token included in the request is invalid."},
		"late":          {call{who: s.admin, at: -16 * time.Minute}, "InvalidSignatureException", "Signature expired: "},
		"early":         {call{who: s.admin, at: 16 * time.Minute}, "InvalidSignatureException", "Signature not yet current: "},
		"region":        {call{who: s.admin, region: "eu-west-1"}, "InvalidSignatureException", ""},
		"service":       {call{who: s.admin, service: "s3"}, "InvalidSignatureException", ""},
		"another body":  {call{who: s.admin, edit: header(func(r *http.Request) { r.Body = http.NoBody; r.ContentLength = 0; r.GetBody = nil })}, "InvalidSignatureException", ""},
		"another operation": {call{who: s.admin, edit: header(func(r *http.Request) {
			r.Header.Set("X-Amz-Target", "ACMPrivateCA.GetCertificateAuthorityCertificate"+operation[len(operation):])
			if operation == "GetCertificateAuthorityCertificate" {
				r.Header.Set("X-Amz-Target", "ACMPrivateCA.IssueCertificate")
			}
		})}, "InvalidSignatureException", ""},
	} {
		c.operation, c.body = operation, body
		if a := s.send(t, c.call); a.status != 403 || a.code != c.code || !strings.Contains(a.message, c.text) {
			t.Errorf("%s, %s: %d %s %s, want %s %s", operation, name, a.status, a.code, a.message, c.code, c.text)
		}
	}
}
