package pca

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	"chirograph.dev/internal/pca/pcatest"
)

type decoded interface{ Decode([]byte) error }

// requests makes the request of every operation.
var requests = map[string]func() decoded{
	"CreateCertificateAuthority":              func() decoded { return new(CreateCertificateAuthorityRequest) },
	"CreateCertificateAuthorityAuditReport":   func() decoded { return new(CreateCertificateAuthorityAuditReportRequest) },
	"CreatePermission":                        func() decoded { return new(CreatePermissionRequest) },
	"DeleteCertificateAuthority":              func() decoded { return new(DeleteCertificateAuthorityRequest) },
	"DeletePermission":                        func() decoded { return new(DeletePermissionRequest) },
	"DeletePolicy":                            func() decoded { return new(DeletePolicyRequest) },
	"DescribeCertificateAuthority":            func() decoded { return new(DescribeCertificateAuthorityRequest) },
	"DescribeCertificateAuthorityAuditReport": func() decoded { return new(DescribeCertificateAuthorityAuditReportRequest) },
	"GetCertificate":                          func() decoded { return new(GetCertificateRequest) },
	"GetCertificateAuthorityCertificate":      func() decoded { return new(GetCertificateAuthorityCertificateRequest) },
	"GetCertificateAuthorityCsr":              func() decoded { return new(GetCertificateAuthorityCsrRequest) },
	"GetPolicy":                               func() decoded { return new(GetPolicyRequest) },
	"ImportCertificateAuthorityCertificate":   func() decoded { return new(ImportCertificateAuthorityCertificateRequest) },
	"IssueCertificate":                        func() decoded { return new(IssueCertificateRequest) },
	"ListCertificateAuthorities":              func() decoded { return new(ListCertificateAuthoritiesRequest) },
	"ListPermissions":                         func() decoded { return new(ListPermissionsRequest) },
	"ListTags":                                func() decoded { return new(ListTagsRequest) },
	"PutPolicy":                               func() decoded { return new(PutPolicyRequest) },
	"RestoreCertificateAuthority":             func() decoded { return new(RestoreCertificateAuthorityRequest) },
	"RevokeCertificate":                       func() decoded { return new(RevokeCertificateRequest) },
	"TagCertificateAuthority":                 func() decoded { return new(TagCertificateAuthorityRequest) },
	"UntagCertificateAuthority":               func() decoded { return new(UntagCertificateAuthorityRequest) },
	"UpdateCertificateAuthority":              func() decoded { return new(UpdateCertificateAuthorityRequest) },
}

// TestMalformedRequests breaks every member of every request in every way that
// the model knows, one at a time.
func TestMalformedRequests(t *testing.T) {
	t.Parallel()
	m := pcatest.Load(t)
	total := 0
	for _, op := range Operations() {
		if m.Shapes[m.Operations[op.Name].Input.Shape] == nil || requests[op.Name] == nil {
			t.Fatalf("%s is not in the model, or not in this test", op.Name)
		}
		// All members arrive where they belong.
		good, err := json.Marshal(m.Request(op.Name))
		if err != nil {
			t.Fatal(err)
		}
		in := requests[op.Name]()
		if err := in.Decode(good); err != nil {
			t.Errorf("%s: %v", op.Name, err)
			continue
		}
		read, err := json.Marshal(in)
		var back, want any
		if err != nil || json.Unmarshal(read, &back) != nil || json.Unmarshal(good, &want) != nil || !reflect.DeepEqual(back, want) {
			t.Errorf("%s: read %s as %s", op.Name, good, read)
		}
		m.Cases(op.Name, func(c pcatest.Case) {
			total++
			var e Error
			if err := requests[op.Name]().Decode(c.Body); err != nil {
				var got *Error
				if !errors.As(err, &got) {
					t.Fatalf("%s, %s: %v", op.Name, c.Name, err)
				}
				e = *got
			}
			if wrong := c.Wrong(string(e.Code), e.Message); wrong != "" {
				t.Errorf("%s, %s: %s; request %.300s", op.Name, c.Name, wrong, c.Body)
			}
		})
	}
	if len(requests) != len(Operations()) {
		t.Errorf("%d requests for %d operations", len(requests), len(Operations()))
	}
	if total < 2500 {
		t.Errorf("%d cases", total)
	}
	t.Logf("%d cases", total)
}

func TestManyViolations(t *testing.T) {
	t.Parallel()
	var in CreatePermissionRequest
	err := in.Decode([]byte(`{}`))
	const want = "3 validation errors detected: Value null at 'certificateAuthorityArn' failed to satisfy constraint: Member must not be null; " +
		"Value null at 'principal' failed to satisfy constraint: Member must not be null; Value null at 'actions' failed to satisfy constraint: Member must not be null"
	var e *Error
	if !errors.As(err, &e) || e.Message != want {
		t.Errorf("got %v", err)
	}

	// The message stays short whatever is sent.
	var tags TagCertificateAuthorityRequest
	element := `{"Key":"` + strings.Repeat("%", 100_000) + `"}`
	err = tags.Decode([]byte(`{"CertificateAuthorityArn":"` + testCA + `","Tags":[` + strings.Repeat(element+",", 30) + element + `]}`))
	if !errors.As(err, &e) || !strings.HasPrefix(e.Message, "62 validation errors detected: ") || len(e.Message) > 8<<10 {
		t.Errorf("got %.300v, %d bytes", err, len(e.Message))
	}
	var issue IssueCertificateRequest
	err = issue.Decode([]byte(`{"Validity":{"Type":"DAYS","Value":0.` + strings.Repeat("0", 100_000) + `}}`))
	if !errors.As(err, &e) || e.Code != ValidationException || len(e.Message) > 8<<10 {
		t.Errorf("got %.300v", err)
	}

	// A list that is too long is counted, not kept.
	err = tags.Decode([]byte(`{"CertificateAuthorityArn":"` + testCA + `","Tags":[` + strings.Repeat(`{"Key":"k"},`, 100_000) + `{}]}`))
	if !errors.As(err, &e) || len(tags.Tags) > 100 || !strings.Contains(e.Message, "length less than or equal to 50") {
		t.Errorf("%d tags, %.300v", len(tags.Tags), err)
	}
}

func TestNumbers(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]int64{"1": 1, "1e2": 100, "20301231235959": 20301231235959, "5.0": 5, "9223372036854775807": 1<<63 - 1,
		"9223372036854775808": 0, "1.5": 0, "1e400": 0, "-1": -1, "0": -1} {
		var v IssueCertificateRequest
		err := v.Decode([]byte(`{"CertificateAuthorityArn":"` + testCA + `","Csr":"YQ==","SigningAlgorithm":"SHA256WITHECDSA","Validity":{"Type":"DAYS","Value":` + text + `}}`))
		var e *Error
		errors.As(err, &e)
		switch {
		case want > 0 && (err != nil || v.Validity.Value != want):
			t.Errorf("%s: %d, %v", text, v.Validity.Value, err)
		case want == 0 && (e == nil || e.Code != SerializationException):
			t.Errorf("%s: %v", text, err)
		case want < 0 && (e == nil || e.Code != ValidationException):
			t.Errorf("%s: %v", text, err)
		}
	}
}

// FuzzDecode: whatever is sent, the answer is a request or one of two errors,
// and a request survives being written and read again.
func FuzzDecode(f *testing.F) {
	names := slices.Sorted(maps.Keys(requests))
	f.Add(uint8(13), []byte(`{"CertificateAuthorityArn":"`+testCA+`","Csr":"YQ==","SigningAlgorithm":"SHA256WITHECDSA","Validity":{"Type":"DAYS","Value":1},"ApiPassthrough":{"Extensions":{"KeyUsage":{"CRLSign":true},"SubjectAlternativeNames":[{"DnsName":"a"}]},"Subject":{"Country":"DE","CustomAttributes":[{"ObjectIdentifier":"1.2","Value":"x"}]}}}`))
	f.Add(uint8(0), []byte(`{"CertificateAuthorityType":"ROOT","CertificateAuthorityConfiguration":{"KeyAlgorithm":"RSA_2048","SigningAlgorithm":"SHA256WITHRSA","Subject":{}},"Tags":[{"Key":"a","Value":null}]}`))
	f.Add(uint8(6), []byte(`{"CertificateAuthorityArn":null}`))
	f.Fuzz(func(t *testing.T, n uint8, body []byte) {
		mk := requests[names[int(n)%len(names)]]
		in := mk()
		if err := in.Decode(body); err != nil {
			var e *Error
			if !errors.As(err, &e) || e.Code != SerializationException && e.Code != ValidationException || len(e.Message) > 16<<10 {
				t.Fatalf("%v", err)
			}
			return
		}
		b, err := json.Marshal(in)
		if err != nil {
			t.Fatal(err)
		}
		again := mk()
		if err := again.Decode(b); err != nil {
			t.Fatalf("%s was accepted, %s is not: %v", body, b, err)
		}
		c, err := json.Marshal(again)
		if err != nil || string(b) != string(c) {
			t.Fatalf("%s became %s, %v", b, c, err)
		}
	})
}

func BenchmarkDecodeIssueCertificate(b *testing.B) {
	body := []byte(`{"CertificateAuthorityArn":"` + testCA + `","Csr":"` + base64.StdEncoding.EncodeToString(make([]byte, 600)) +
		`","SigningAlgorithm":"SHA256WITHECDSA","TemplateArn":"arn:aws:acm-pca:::template/EndEntityCertificate/V1","Validity":{"Type":"DAYS","Value":30},"IdempotencyToken":"4f2c"}`)
	b.ReportAllocs()
	for b.Loop() {
		var in IssueCertificateRequest
		if err := in.Decode(body); err != nil {
			b.Fatal(err)
		}
	}
}

func FuzzARNPattern(f *testing.F) {
	for _, s := range []string{
		testCA, "arn:aws:acm-pca:::template/EndEntityCertificate/V1", "arn:aws:acm-pca:us-east-1:1:a//b", "arn:aws:acm-pca:us-east-1:1:a/",
		"arn:aws:acm-pca:us-east-1:x:a", "arn::acm-pca:::a", "arn:aws:acm-pca:::", "arn:aws:acm-pca:::a:b", "arn:aws:pca:::a", "arn:a/b:acm-pca:c/d::e\n", "ARN:aws:acm-pca:::a", "arn:aws:acm-pca:é::a",
	} {
		f.Add(s)
	}
	if pattern03.text != arnPattern {
		f.Fatalf("the model asks for %s now", pattern03.text)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if got, want := isARN(s), pattern03.re.MatchString(s); got != want {
			t.Errorf("%q: %v, the pattern says %v", s, got, want)
		}
	})
}
