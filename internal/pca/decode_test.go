package pca

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os/exec"
	"reflect"
	"slices"
	"strings"
	"testing"
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

// apiModel is the API model as botocore ships it: an oracle that is not ours.
type apiModel struct {
	Operations map[string]struct{ Input struct{ Shape string } }
	Shapes     map[string]*struct {
		Type     string
		Required []string
		Members  map[string]struct{ Shape string }
		Member   struct{ Shape string }
		Min, Max *int
		Pattern  string
		Enum     []string
	}
}

func loadModel(t *testing.T) *apiModel {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "python3", "-c",
		"import json, botocore.loaders; print(json.dumps(botocore.loaders.Loader().load_service_model('acm-pca', 'service-2')))").Output()
	if err != nil {
		t.Fatalf("python3 with botocore: %v", err)
	}
	m := new(apiModel)
	if err := json.Unmarshal(out, m); err != nil {
		t.Fatal(err)
	}
	return m
}

// samples are a value that fits and one that breaks the pattern alone, for
// every shape with a pattern.
var samples = map[string][2]string{
	"ASN1PrintableString64":  {"SN 1", "SN_1"},
	"AWSPolicy":              {`{"a":"é"}`, "\u0100"},
	"AccountId":              {"123456789012", "12345678901x"},
	"Arn":                    {testCA, "arn:aws:s3:::bucket"},
	"AuditReportId":          {"11223344-1234-1122-2233-112233445566", "11223344x1234-1122-2233-112233445566"},
	"Base64String1To4096":    {"AQID", "AQI"},
	"CnameString":            {"crl.example.com", "crl example"},
	"CountryCodeString":      {"DE", "D1"},
	"CrlPathString":          {"a/b", "a//b"},
	"CustomObjectIdentifier": {"1.3.6.1.4.1.37476.1", "3.1"},
	"IdempotencyToken":       {"token-ü", "token\u0100"},
	"Principal":              {"acm.amazonaws.com", "acm.*"},
	"S3BucketName3To255":     {"bucket.name/x", "bucket name"},
	"TagKey":                 {"Key é", "key%"},
	"TagValue":               {"value", "value<"},
}

type mutation struct {
	name string
	body any
	code Code   // empty: accepted
	text string // in the message
}

// build makes a valid value of a shape, with every member.
func (m *apiModel) build(name string) any {
	s := m.Shapes[name]
	switch s.Type {
	case "string":
		if len(s.Enum) > 0 {
			return s.Enum[len(s.Enum)-1]
		}
		if v, ok := samples[name]; ok {
			return v[0]
		}
		n := 3
		if s.Max != nil && *s.Max < n {
			n = *s.Max
		}
		if s.Min != nil && *s.Min > n {
			n = *s.Min
		}
		return strings.Repeat("x", n)
	case "integer", "long":
		if s.Min != nil {
			return *s.Min
		}
		return 1
	case "boolean":
		return true
	case "blob":
		return base64.StdEncoding.EncodeToString([]byte("-----BEGIN"))
	case "list":
		return []any{m.build(s.Member.Shape)}
	case "structure":
		v := map[string]any{}
		for member, ref := range s.Members {
			v[member] = m.build(ref.Shape)
		}
		return v
	}
	panic("a shape of type " + s.Type)
}

// mutate calls yield with every way to break one value of the shape. put puts
// the replacement into a copy of the whole request.
func (m *apiModel) mutate(name, path string, value any, put func(any) any, yield func(mutation)) {
	s := m.Shapes[name]
	at := "at '" + path + "' failed to satisfy constraint: "
	bad := func(what string, v any, code Code, text string) {
		yield(mutation{path + " " + what, put(v), code, text})
	}
	length := func(make func(n int) any) {
		if s.Min != nil && *s.Min > 0 {
			bad("too short", make(*s.Min-1), ValidationException, at+fmt.Sprintf("Member must have length greater than or equal to %d", *s.Min))
		}
		if s.Max != nil {
			bad("too long", make(*s.Max+1), ValidationException, at+fmt.Sprintf("Member must have length less than or equal to %d", *s.Max))
		}
	}
	wrong := func(values ...any) {
		for _, v := range values {
			bad(fmt.Sprintf("of type %T", v), v, SerializationException, "The value at '"+path+"'")
		}
	}
	switch s.Type {
	case "string":
		wrong(5, true, []any{}, map[string]any{})
		if len(s.Enum) > 0 {
			bad("enum", "NO_SUCH_VALUE", ValidationException, "Value 'NO_SUCH_VALUE' "+at+"Member must satisfy enum value set: [")
			bad("enum in lower case", strings.ToLower(s.Enum[0])+"x", ValidationException, at)
			break
		}
		length(func(n int) any { return strings.Repeat("1", n) })
		if s.Pattern != "" {
			bad("pattern", samples[name][1], ValidationException, at+"Member must satisfy regular expression pattern: "+s.Pattern)
		}
		if s.Pattern == "" && s.Max != nil && *s.Max > 0 {
			bad("as long as allowed, in characters", strings.Repeat("ü", *s.Max), "", "")
		}
	case "integer", "long":
		wrong("5", 1.5, true, []any{})
		if s.Min != nil {
			bad("too small", *s.Min-1, ValidationException, at+fmt.Sprintf("Member must have value greater than or equal to %d", *s.Min))
		}
		if s.Max != nil {
			bad("too large", *s.Max+1, ValidationException, at+fmt.Sprintf("Member must have value less than or equal to %d", *s.Max))
		}
	case "boolean":
		wrong("true", 1, map[string]any{})
	case "blob":
		wrong(5, "not base64!", "YQ", []any{})
		length(func(n int) any { return base64.StdEncoding.EncodeToString(make([]byte, n)) })
	case "list":
		wrong("x", 5, map[string]any{})
		element := value.([]any)[0]
		length(func(n int) any { return slices.Repeat([]any{element}, n) })
		bad("null element", []any{nil}, ValidationException, "Value null at '"+path+".1.member' failed to satisfy constraint: Member must not be null")
		m.mutate(s.Member.Shape, path+".2.member", element, func(v any) any { return put([]any{element, v}) }, yield)
	case "structure":
		if path != "" {
			wrong("x", 5, []any{})
		}
		members := value.(map[string]any)
		for member, ref := range s.Members {
			with := func(v any) any {
				c := maps.Clone(members)
				c[member] = v
				return put(c)
			}
			below := lowerFirst(member)
			if path != "" {
				below = path + "." + below
			}
			code, text := Code(""), ""
			if slices.Contains(s.Required, member) {
				code, text = ValidationException, "Value null at '"+below+"' failed to satisfy constraint: Member must not be null"
			}
			without := maps.Clone(members)
			delete(without, member)
			yield(mutation{below + " absent", put(without), code, text})
			yield(mutation{below + " null", with(nil), code, text})
			m.mutate(ref.Shape, below, members[member], with, yield)
		}
		more := maps.Clone(members)
		more["NoSuchMember"] = map[string]any{"a": []any{1, nil, "x"}}
		bad("unknown member", more, "", "")
	}
}

func check(t *testing.T, operation, name string, body []byte, code Code, text string) {
	t.Helper()
	err := requests[operation]().Decode(body)
	var e *Error
	switch {
	case err == nil && code == "":
	case err == nil || !errors.As(err, &e) || e.Code != code || !strings.Contains(e.Message, text):
		t.Errorf("%s, %s: got %v, want %s with %q; request %.300s", operation, name, err, code, text, body)
	case code == ValidationException && !strings.HasPrefix(e.Message, "1 validation error detected: Value "):
		// Some constraints overlap: what is too short breaks its pattern too.
		if !strings.HasPrefix(e.Message, "2 validation errors detected: Value ") {
			t.Errorf("%s, %s: message %q", operation, name, e.Message)
		}
	}
}

// TestMalformedRequests breaks every member of every request in every way that
// the model knows, one at a time.
func TestMalformedRequests(t *testing.T) {
	t.Parallel()
	m := loadModel(t)
	total := 0
	for _, op := range Operations() {
		shape := m.Operations[op.Name].Input.Shape
		if m.Shapes[shape] == nil || requests[op.Name] == nil {
			t.Fatalf("%s is not in the model, or not in this test", op.Name)
		}
		good := m.build(shape)
		encode := func(v any) []byte {
			b, err := json.Marshal(v)
			if err != nil {
				t.Fatal(err)
			}
			return b
		}
		// All members arrive where they belong.
		in := requests[op.Name]()
		if err := in.Decode(encode(good)); err != nil {
			t.Errorf("%s: %v", op.Name, err)
			continue
		}
		var back, want any
		if json.Unmarshal(encode(in), &back) != nil || json.Unmarshal(encode(good), &want) != nil || !reflect.DeepEqual(back, want) {
			t.Errorf("%s: read %s as %s", op.Name, encode(good), encode(in))
		}
		m.mutate(shape, "", good, func(v any) any { return v }, func(x mutation) {
			total++
			check(t, op.Name, x.name, encode(x.body), x.code, x.text)
		})
		for _, body := range []string{``, ` `, `null`, `[]`, `"x"`, `{`, `{}x`, `{} {}`, `{"a":1,}`, `{"a":1,"a":2}`, `{'a':1}`, "{\"a\":\"\xff\"}", `{"a":nul}`} {
			total++
			check(t, op.Name, body, []byte(body), SerializationException, "The request body ")
		}
	}
	if len(requests) != len(Operations()) {
		t.Errorf("%d requests for %d operations", len(requests), len(Operations()))
	}
	if total < 2000 {
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
