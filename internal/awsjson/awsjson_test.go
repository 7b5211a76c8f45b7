package awsjson

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/google/uuid"

	"chirograph.dev/internal/iam"
	"chirograph.dev/internal/pca"
)

const (
	account = "123456789012"
	caARN   = "arn:aws:acm-pca:us-east-1:123456789012:certificate-authority/11223344-1234-1122-2233-112233445566"
	admin   = "AKIDADMIN"
	auditor = "AKIDAUDITOR"
	secret  = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
)

// fixture is a handler with operations that show what reaches them.
type fixture struct {
	*httptest.Server
	mu       sync.Mutex
	log      bytes.Buffer
	observed []string
	calls    int
	do       func(ctx context.Context) error // what DescribeCertificateAuthority does
}

func (f *fixture) Write(p []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.log.Write(p)
}

// lines waits for n log lines: a line is written after its answer.
func (f *fixture) lines(t *testing.T, n int) []map[string]any {
	t.Helper()
	for {
		f.mu.Lock()
		text := f.log.String()
		f.mu.Unlock()
		if strings.Count(text, "\n") >= n {
			var out []map[string]any
			for line := range strings.SplitSeq(strings.TrimSpace(text), "\n") {
				m := map[string]any{}
				if err := json.Unmarshal([]byte(line), &m); err != nil {
					t.Fatal(err)
				}
				out = append(out, m)
			}
			return out
		}
		select {
		case <-t.Context().Done():
			t.Fatal("no log line")
		case <-time.After(time.Millisecond):
		}
	}
}

func principal(t testing.TB, name, policy string) *iam.Principal {
	t.Helper()
	p, err := iam.ParsePolicy([]byte(policy))
	if err != nil {
		t.Fatal(err)
	}
	return &iam.Principal{Account: account, ARN: "arn:aws:iam::" + account + ":user/" + name, ID: "AIDA" + name, Policies: []*iam.Policy{p}}
}

func config(t testing.TB) Config {
	people := map[string]*iam.Principal{
		admin:   principal(t, "admin", `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"acm-pca:*","Resource":"*"}}`),
		auditor: principal(t, "auditor", `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"acm-pca:Describe*","Resource":"*"},{"Effect":"Deny","Action":"acm-pca:RevokeCertificate","Resource":"*"}]}`),
	}
	return Config{
		Regions: []string{"us-east-1"},
		Credentials: keys(func(id string) (string, *iam.Principal, error) {
			if id == "AKIDBROKEN" {
				return "", nil, errors.New("the store is on fire")
			}
			return secret, people[id], nil
		}),
	}
}

// keys is an iam.Credentials of a function.
type keys func(id string) (secret string, p *iam.Principal, err error)

func (k keys) Secret(_ context.Context, id string) (string, bool, error) {
	secret, p, err := k(id)
	return secret, p != nil, err
}

func (k keys) Principal(_ context.Context, id, token string) (*iam.Principal, error) {
	_, p, err := k(id)
	switch {
	case err == nil && (p == nil || token != "" && token != "over"):
		return nil, iam.ErrInvalidToken
	case err == nil && token == "over":
		return nil, iam.ErrExpiredToken
	}
	return p, err
}

func start(t testing.TB, change func(*Config)) *fixture {
	t.Helper()
	f := &fixture{do: func(context.Context) error { return nil }}
	cfg := config(t)
	cfg.Log = slog.New(slog.NewJSONHandler(f, nil))
	cfg.Observe = func(operation, code string, d time.Duration) {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.observed = append(f.observed, operation+" "+code)
	}
	cfg.Operations = []Operation{
		Op("DescribeCertificateAuthority", func(ctx context.Context, in *pca.DescribeCertificateAuthorityRequest) (*pca.DescribeCertificateAuthorityResponse, error) {
			f.calls++
			return &pca.DescribeCertificateAuthorityResponse{CertificateAuthority: &pca.CertificateAuthority{Arn: in.CertificateAuthorityArn, Serial: "<&>\u2028", CreatedAt: pca.NewTimestamp(time.UnixMilli(1526401743081))}}, f.do(ctx)
		}),
		Op("RevokeCertificate", func(context.Context, *pca.RevokeCertificateRequest) (*struct{}, error) { return nil, nil }),
		Op("GetCertificate", func(context.Context, *pca.GetCertificateRequest) (*pca.GetCertificateResponse, error) {
			return nil, nil // a mistake
		}),
		Op("ListCertificateAuthorities", func(context.Context, *pca.ListCertificateAuthoritiesRequest) (*pca.ListCertificateAuthoritiesResponse, error) {
			return &pca.ListCertificateAuthoritiesResponse{}, nil
		}),
		Op("CreateCertificateAuthority", func(ctx context.Context, in *pca.CreateCertificateAuthorityRequest) (*pca.CreateCertificateAuthorityResponse, error) {
			return &pca.CreateCertificateAuthorityResponse{CertificateAuthorityArn: caARN}, Authorize(ctx, "acm-pca:TagCertificateAuthority", "*")
		}),
		Op("IssueCertificate", func(context.Context, *pca.IssueCertificateRequest) (*pca.IssueCertificateResponse, error) {
			return &pca.IssueCertificateResponse{CertificateArn: caARN + "/certificate/e8cbd2bedb122329f97706bcfec990f8"}, nil
		}),
	}
	if change != nil {
		change(&cfg)
	}
	h, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	f.Server = httptest.NewServer(h)
	t.Cleanup(f.Close)
	return f
}

// newRequest is a signed request; edit changes it before it is signed.
func newRequest(t testing.TB, url, key, operation, body string, edit func(*http.Request)) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), "POST", url+"/", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-amz-json-1.1")
	r.Header.Set("X-Amz-Target", "ACMPrivateCA."+operation)
	if edit != nil {
		edit(r)
	}
	sign(t, r, key, body, "us-east-1", "acm-pca", time.Now())
	return r
}

func sign(t testing.TB, r *http.Request, key, body, region, service string, at time.Time) {
	t.Helper()
	sum := sha256.Sum256([]byte(body))
	err := v4.NewSigner().SignHTTP(t.Context(), aws.Credentials{AccessKeyID: key, SecretAccessKey: secret}, r, hex.EncodeToString(sum[:]), service, region, at)
	if err != nil {
		t.Fatal(err)
	}
}

type answer struct {
	status int
	header http.Header
	body   string
	Type   string `json:"__type"`
	Text   string `json:"message"`
}

func send(t testing.TB, r *http.Request) answer {
	t.Helper()
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	a := answer{status: res.StatusCode, header: res.Header, body: string(b)}
	if res.StatusCode != 200 {
		if err := json.Unmarshal(b, &a); err != nil {
			t.Errorf("error body %q: %v", b, err)
		}
		if res.Header.Get("X-Amzn-Errortype") != a.Type {
			t.Errorf("x-amzn-ErrorType %q, __type %q", res.Header.Get("X-Amzn-Errortype"), a.Type)
		}
	}
	if uuid.Validate(res.Header.Get("X-Amzn-Requestid")) != nil || res.Header.Get("Content-Type") != "application/x-amz-json-1.1" ||
		res.Header.Get("Date") == "" || res.ContentLength != int64(len(b)) {
		t.Errorf("header %v for %d bytes", res.Header, len(b))
	}
	return a
}

const describe = `{"CertificateAuthorityArn":"` + caARN + `"}`

func TestSuccess(t *testing.T) {
	t.Parallel()
	f := start(t, nil)
	var seen Call
	f.do = func(ctx context.Context) error {
		seen = Call{Caller(ctx), "", RequestID(ctx), Invocation(ctx)}
		SetHeader(ctx, "X-More", "more")
		return nil
	}
	for _, contentType := range []string{"application/x-amz-json-1.1", "application/x-amz-json-1.1; charset=utf-8"} {
		a := send(t, newRequest(t, f.URL, auditor, "DescribeCertificateAuthority", describe, func(r *http.Request) {
			r.Header.Set("Content-Type", contentType)
			r.Header.Set("Amz-Sdk-Invocation-Id", "invocation-1")
		}))
		// No HTML escapes; a number with three decimals.
		want := `{"CertificateAuthority":{"Arn":"` + caARN + `","CreatedAt":1526401743.081,"Serial":"<&>\u2028"}}`
		if a.status != 200 || a.body != want {
			t.Errorf("%d %s", a.status, a.body)
		}
		if a.header.Get("X-More") != "more" {
			t.Errorf("header %v", a.header)
		}
		if seen.Caller == nil || seen.Caller.ARN != "arn:aws:iam::"+account+":user/auditor" || seen.RequestID != a.header.Get("X-Amzn-Requestid") || seen.Invocation != "invocation-1" {
			t.Errorf("context: %+v", seen)
		}
	}
	a := send(t, newRequest(t, f.URL, admin, "RevokeCertificate", `{"CertificateAuthorityArn":"`+caARN+`","CertificateSerial":"1","RevocationReason":"UNSPECIFIED"}`, nil))
	if a.status != 200 || a.body != "" {
		t.Errorf("operation without output: %d %q", a.status, a.body)
	}
	if a := send(t, newRequest(t, f.URL, admin, "ListCertificateAuthorities", `{}`, nil)); a.body != "{}" {
		t.Errorf("empty output: %q", a.body)
	}
	line := f.lines(t, 1)[0]
	if line["msg"] != "request" || line["level"] != "INFO" || line["operation"] != "DescribeCertificateAuthority" || line["code"] != "OK" || line["principal"] != "arn:aws:iam::"+account+":user/auditor" || line["request_id"] == "" {
		t.Errorf("log line %v", line)
	}
	f.lines(t, 4)
	if got := strings.Join(f.observed, ","); got != "DescribeCertificateAuthority OK,DescribeCertificateAuthority OK,RevokeCertificate OK,ListCertificateAuthorities OK" {
		t.Errorf("observed %s", got)
	}
}

// TestRefusals has the common errors of api.md 1.2 and their order.
func TestRefusals(t *testing.T) {
	t.Parallel()
	f := start(t, nil)
	get := func(ca, cert string) string {
		return fmt.Sprintf(`{"CertificateAuthorityArn":%q,"CertificateArn":%q}`, ca, cert)
	}
	const certificate = caARN + "/certificate/e8cbd2bedb122329f97706bcfec990f8"
	for _, row := range []struct {
		name            string
		key, op, body   string
		before, after   func(*http.Request) // signing
		status          int
		code            pca.Code
		text, operation string
	}{
		{name: "no target", before: func(r *http.Request) { r.Header.Del("X-Amz-Target") }, status: 404, code: pca.UnknownOperationException, operation: "unknown"},
		{name: "unknown operation", op: "MakeCoffee", status: 404, code: pca.UnknownOperationException, operation: "unknown"},
		{name: "operation not built", op: "PutPolicy", status: 404, code: pca.UnknownOperationException, operation: "unknown"},
		{name: "other prefix", before: func(r *http.Request) { r.Header.Set("X-Amz-Target", "CertificateManager.DescribeCertificateAuthority") }, status: 404, code: pca.UnknownOperationException, operation: "unknown"},
		{name: "method", before: func(r *http.Request) { r.Method = "PUT" }, status: 404, code: pca.UnknownOperationException, operation: "unknown"},
		{name: "path", before: func(r *http.Request) { r.URL.Path = "/x" }, status: 404, code: pca.UnknownOperationException, operation: "unknown"},
		{name: "content type", before: func(r *http.Request) { r.Header.Set("Content-Type", "application/json") }, status: 404, code: pca.UnknownOperationException, text: "application/x-amz-json-1.1", operation: "unknown"},
		{name: "too large", body: `{"a":"` + strings.Repeat("x", maxBody) + `"}`, status: 413, code: pca.RequestEntityTooLargeException},
		{name: "too large in chunks", body: `{"a":"` + strings.Repeat("x", maxBody) + `"}`, after: func(r *http.Request) { r.ContentLength = -1; r.Header.Del("Content-Length") }, status: 413, code: pca.RequestEntityTooLargeException},

		{name: "unsigned", after: func(r *http.Request) { r.Header.Del("Authorization") }, status: 403, code: pca.MissingAuthenticationTokenException, text: "Missing Authentication Token"},
		{name: "malformed signature", after: func(r *http.Request) { r.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=x") }, status: 403, code: pca.IncompleteSignatureException, text: "Authorization header requires 'Signature' parameter."},
		{name: "presigned", after: func(r *http.Request) { r.Header.Del("Authorization"); r.URL.RawQuery = "X-Amz-Signature=00" }, status: 403, code: pca.IncompleteSignatureException, text: "Presigned"},
		{name: "unknown key", key: "AKIDNOBODY", status: 403, code: pca.UnrecognizedClientException, text: "The security token included in the request is invalid."},
		{name: "session over", before: func(r *http.Request) { r.Header.Set("X-Amz-Security-Token", "over") }, status: 403, code: pca.ExpiredTokenException, text: "The security token included in the request is expired"},
		{name: "session token", before: func(r *http.Request) { r.Header.Set("X-Amz-Security-Token", "x") }, status: 403, code: pca.UnrecognizedClientException, text: "The security token included in the request is invalid."},
		{name: "changed body", after: func(r *http.Request) {
			r.Body = io.NopCloser(strings.NewReader(strings.Replace(describe, "11223344", "99999999", 1)))
			r.GetBody = nil
		}, status: 403, code: pca.InvalidSignatureException, text: "The request signature we calculated does not match"},
		{name: "changed target", op: "ListCertificateAuthorities", body: `{}`, after: func(r *http.Request) { r.Header.Set("X-Amz-Target", "ACMPrivateCA.IssueCertificate") }, status: 403, code: pca.InvalidSignatureException, operation: "IssueCertificate"},
		{name: "region", after: func(r *http.Request) { sign(t, r, admin, describe, "us-west-2", "acm-pca", time.Now()) }, status: 403, code: pca.InvalidSignatureException, text: "Credential should be scoped to a valid region, not 'us-west-2'."},
		{name: "service", after: func(r *http.Request) { sign(t, r, admin, describe, "us-east-1", "s3", time.Now()) }, status: 403, code: pca.InvalidSignatureException, text: "Credential should be scoped to correct service: 'acm-pca'."},
		{name: "late", after: func(r *http.Request) {
			sign(t, r, admin, describe, "us-east-1", "acm-pca", time.Now().Add(-16*time.Minute))
		}, status: 403, code: pca.InvalidSignatureException, text: "Signature expired: "},
		{name: "early", after: func(r *http.Request) {
			sign(t, r, admin, describe, "us-east-1", "acm-pca", time.Now().Add(16*time.Minute))
		}, status: 403, code: pca.InvalidSignatureException, text: "Signature not yet current: "},
		{name: "broken store", key: "AKIDBROKEN", status: 500, code: pca.InternalFailure},

		{name: "signature before shape", body: `{`, after: func(r *http.Request) { r.Header.Del("Authorization") }, status: 403, code: pca.MissingAuthenticationTokenException},
		{name: "not JSON", body: `{`, status: 400, code: pca.SerializationException},
		{name: "wrong type", body: `{"CertificateAuthorityArn":1}`, status: 400, code: pca.SerializationException, text: "'certificateAuthorityArn'"},
		{name: "no ARN", body: `{}`, status: 400, code: pca.ValidationException, text: "1 validation error detected: Value null at 'certificateAuthorityArn' failed to satisfy constraint: Member must not be null"},
		{name: "no ARN at all", body: `{"CertificateAuthorityArn":"x"}`, status: 400, code: pca.ValidationException},
		{name: "shape before authorisation", key: auditor, op: "IssueCertificate", body: `{}`, status: 400, code: pca.ValidationException},
		{name: "ARN of a template", body: `{"CertificateAuthorityArn":"arn:aws:acm-pca:::template/EndEntityCertificate/V1"}`, status: 400, code: pca.InvalidArnException},
		{name: "ARN of a certificate", body: `{"CertificateAuthorityArn":"` + certificate + `"}`, status: 400, code: pca.InvalidArnException},
		{name: "other partition", body: `{"CertificateAuthorityArn":"` + strings.Replace(caARN, "arn:aws:", "arn:aws-cn:", 1) + `"}`, status: 400, code: pca.InvalidArnException},
		{name: "ARN before authorisation", key: auditor, op: "GetCertificate", body: get("arn:aws:acm-pca:::template/x", certificate), status: 400, code: pca.InvalidArnException},
		{name: "certificate of another CA", op: "GetCertificate", body: get(caARN, strings.Replace(certificate, "11223344-", "99999999-", 1)), status: 400, code: pca.InvalidArnException},
		{name: "CA for a certificate", op: "GetCertificate", body: get(caARN, caARN), status: 400, code: pca.InvalidArnException},

		{name: "not allowed", key: auditor, op: "IssueCertificate", body: `{"CertificateAuthorityArn":"` + caARN + `","Csr":"YQ==","SigningAlgorithm":"SHA256WITHRSA","Validity":{"Value":1,"Type":"DAYS"}}`, status: 403, code: pca.AccessDeniedException,
			text: "User: arn:aws:iam::123456789012:user/auditor is not authorized to perform: acm-pca:IssueCertificate on resource: " + caARN + " because no identity-based policy allows the acm-pca:IssueCertificate action"},
		{name: "forbidden", key: auditor, op: "RevokeCertificate", body: `{"CertificateAuthorityArn":"` + caARN + `","CertificateSerial":"1","RevocationReason":"UNSPECIFIED"}`, status: 403, code: pca.AccessDeniedException,
			text: "User: arn:aws:iam::123456789012:user/auditor is not authorized to perform: acm-pca:RevokeCertificate on resource: " + caARN + " with an explicit deny in an identity-based policy"},
		{name: "other account", body: strings.Replace(describe, account, "999999999999", 1), status: 403, code: pca.AccessDeniedException, text: " because no resource-based policy allows the acm-pca:DescribeCertificateAuthority action"},
		{name: "not allowed without a resource", key: auditor, op: "ListCertificateAuthorities", body: `{}`, status: 403, code: pca.AccessDeniedException, text: "on resource: * because"},
		{name: "an operation without its output", op: "GetCertificate", body: get(caARN, certificate), status: 500, code: pca.InternalFailure},
	} {
		t.Run(row.name, func(t *testing.T) {
			key, op, body := row.key, row.op, row.body
			if key == "" {
				key = admin
			}
			if op == "" {
				op = "DescribeCertificateAuthority"
			}
			if body == "" {
				body = describe
			}
			f.mu.Lock()
			f.log.Reset()
			f.observed = nil
			f.mu.Unlock()
			r := newRequest(t, f.URL, key, op, body, row.before)
			if row.after != nil {
				row.after(r)
			}
			a := send(t, r)
			if a.status != row.status || a.Type != string(row.code) || !strings.Contains(a.Text, row.text) || a.Text == "" {
				t.Errorf("%d %s: %s", a.status, a.Type, a.Text)
			}
			line := f.lines(t, 1)[0]
			want := row.operation
			if want == "" {
				want = op
			}
			if line["operation"] != want || line["code"] != string(row.code) || line["error"] == "" {
				t.Errorf("log line %v", line)
			}
			if len(f.observed) != 1 || f.observed[0] != want+" "+string(row.code) {
				t.Errorf("observed %v", f.observed)
			}
		})
	}
	if f.calls != 0 {
		t.Errorf("a refused call reached its operation %d times", f.calls)
	}
}

func TestErrorsOfOperations(t *testing.T) {
	t.Parallel()
	f := start(t, nil)
	for n, row := range []struct {
		do     func(context.Context) error
		status int
		code   pca.Code
		text   string // of the answer
		log    string // in the log line and not in the answer
	}{
		{func(context.Context) error { return pca.Errorf(pca.ResourceNotFoundException, "No <CA> & no report.") }, 400, pca.ResourceNotFoundException, "No <CA> & no report.", ""},
		{func(context.Context) error {
			return fmt.Errorf("describing: %w", pca.Errorf(pca.InvalidStateException, "Not now."))
		}, 400, pca.InvalidStateException, "Not now.", "describing"},
		{func(context.Context) error {
			return &pca.Error{Code: pca.RequestFailedException, Message: "The bucket is gone.", Err: errors.New("dial 10.0.0.1")}
		}, 400, pca.RequestFailedException, "The bucket is gone.", "10.0.0.1"},
		{func(context.Context) error { return pca.Errorf(pca.ThrottlingException, "Rate exceeded") }, 400, pca.ThrottlingException, "Rate exceeded", ""},
		{func(context.Context) error {
			return pca.Errorf(pca.ServiceUnavailable, "The server is starting; try again.")
		}, 503, pca.ServiceUnavailable, "starting", ""},
		{func(context.Context) error { return errors.New("disk /secret/path is full") }, 500, pca.InternalFailure, "The request processing has failed", "/secret/path"},
		{func(context.Context) error { panic("secret of the panic") }, 500, pca.InternalFailure, "The request processing has failed", "secret of the panic"},
		{func(context.Context) error { var p *Call; _ = p.RequestID; return nil }, 500, pca.InternalFailure, "The request processing has failed", "nil pointer"},
		{func(context.Context) error { return context.Canceled }, 500, pca.InternalFailure, "The request processing has failed", "canceled"},
	} {
		f.do = row.do
		a := send(t, newRequest(t, f.URL, admin, "DescribeCertificateAuthority", describe, nil))
		if a.status != row.status || a.Type != string(row.code) || !strings.Contains(a.Text, row.text) || row.log != "" && strings.Contains(a.body, row.log) {
			t.Errorf("%d %s", a.status, a.body)
		}
		if strings.Contains(a.body, `\u003c`) || strings.Contains(a.body, `\u0026`) {
			t.Errorf("HTML escapes: %s", a.body)
		}
		lines := f.lines(t, n+1)
		line := lines[n]
		if len(lines) != n+1 || !strings.Contains(line["error"].(string), row.log) || (line["level"] == "ERROR") != (row.status >= 500) {
			t.Errorf("%d log lines, the last %v", len(lines), line)
		}
		if strings.HasPrefix(line["error"].(string), "panic") && !strings.Contains(fmt.Sprint(line["stack"]), "awsjson_test.go") {
			t.Errorf("no stack: %v", line)
		}
	}
}

// TestTagsNeedTheirOwnAction is A-11.
func TestTagsNeedTheirOwnAction(t *testing.T) {
	t.Parallel()
	creator := principal(t, "creator", `{"Version":"2012-10-17","Statement":[
		{"Effect":"Allow","Action":"acm-pca:CreateCertificateAuthority","Resource":"*"},
		{"Effect":"Allow","Action":"acm-pca:TagCertificateAuthority","Resource":"*","Condition":{"StringEquals":{"aws:RequestTag/env":"prod"},"ForAllValues:StringEquals":{"aws:TagKeys":["env","team"]}}}]}`)
	f := start(t, func(c *Config) {
		c.Credentials = keys(func(string) (string, *iam.Principal, error) { return secret, creator, nil })
	})
	create := func(tags string) answer {
		return send(t, newRequest(t, f.URL, admin, "CreateCertificateAuthority", `{"CertificateAuthorityType":"ROOT","CertificateAuthorityConfiguration":{"KeyAlgorithm":"RSA_2048","SigningAlgorithm":"SHA256WITHRSA","Subject":{"CommonName":"x"}},"Tags":[`+tags+`]}`, nil))
	}
	if a := create(`{"Key":"env","Value":"prod"},{"Key":"team"}`); a.status != 200 {
		t.Errorf("%d %s", a.status, a.body)
	}
	for _, tags := range []string{`{"Key":"env","Value":"test"}`, `{"Key":"env","Value":"prod"},{"Key":"cost"}`} {
		if a := create(tags); a.Type != string(pca.AccessDeniedException) || !strings.Contains(a.Text, "acm-pca:TagCertificateAuthority on resource: *") {
			t.Errorf("%d %s", a.status, a.body)
		}
	}
}

// TestAuthorizeHook: the hook sees the whole request, before the operation.
func TestAuthorizeHook(t *testing.T) {
	t.Parallel()
	var got *iam.Request
	var owner string
	f := start(t, func(c *Config) {
		c.Authorize = func(_ context.Context, r *iam.Request, account string) (iam.Decision, iam.Reason, error) {
			got, owner = r, account
			if r.Action == "acm-pca:DescribeCertificateAuthority" {
				return iam.ImplicitDeny, iam.NoResourceAllow, errors.New("no policies today")
			}
			return iam.ExplicitDeny, iam.ResourceDeny, nil
		}
	})
	issue := `{"CertificateAuthorityArn":"` + caARN + `","Csr":"YQ==","SigningAlgorithm":"SHA256WITHRSA","Validity":{"Value":1,"Type":"DAYS"}%s}`
	for template, member := range map[string]string{
		"arn:aws:acm-pca:::template/EndEntityCertificate/V1": "",
		"arn:aws:acm-pca:::template/RootCACertificate/V1":    `,"TemplateArn":"arn:aws:acm-pca:::template/RootCACertificate/V1"`,
	} {
		a := send(t, newRequest(t, f.URL, admin, "IssueCertificate", fmt.Sprintf(issue, member), nil))
		if a.Type != string(pca.AccessDeniedException) || !strings.HasSuffix(a.Text, " with an explicit deny in a resource-based policy") {
			t.Errorf("%d %s", a.status, a.body)
		}
		if got.Action != "acm-pca:IssueCertificate" || got.Resource != caARN || owner != account || got.Principal.ARN != "arn:aws:iam::"+account+":user/admin" {
			t.Errorf("request %+v of %s", got, owner)
		}
		if got.Context["acm-pca:TemplateArn"][0] != template || got.Context["aws:SourceIp"][0] != "127.0.0.1" || got.Context["aws:SecureTransport"][0] != "false" || got.Context["aws:CurrentTime"][0] == "" {
			t.Errorf("context %v", got.Context)
		}
	}
	if a := send(t, newRequest(t, f.URL, admin, "DescribeCertificateAuthority", describe, nil)); a.status != 500 || strings.Contains(a.body, "no policies") {
		t.Errorf("error of the hook: %d %s", a.status, a.body)
	}
	if a := send(t, newRequest(t, f.URL, admin, "ListCertificateAuthorities", `{}`, nil)); a.status != 403 || got.Resource != "*" || owner != "" {
		t.Errorf("request %+v of %q", got, owner)
	}
}

// TestCutBody: a client that stops in the middle is answered 408.
// A template of another partition is the same template: naming it so does not
// get around a policy that speaks of this partition's.
func TestTemplatesOfOtherPartitions(t *testing.T) {
	t.Parallel()
	const policy = `{"Version":"2012-10-17","Statement":[
		{"Effect":"Allow","Action":"acm-pca:IssueCertificate","Resource":"*"},
		{"Effect":"Deny","Action":"acm-pca:IssueCertificate","Resource":"*","Condition":{"ArnLike":{"acm-pca:TemplateArn":"arn:aws:acm-pca:::template/SubordinateCACertificate*"}}}]}`
	f := start(t, func(cfg *Config) {
		cfg.Credentials = keys(func(string) (string, *iam.Principal, error) { return secret, principal(t, "issuer", policy), nil })
	})
	for template, code := range map[string]string{
		"arn:aws:acm-pca:::template/EndEntityCertificate/V1":                     "",
		"arn:aws-cn:acm-pca:::template/EndEntityCertificate/V1":                  "",
		"arn:aws:acm-pca:::template/SubordinateCACertificate_PathLen0/V1":        "AccessDeniedException",
		"arn:aws-cn:acm-pca:::template/SubordinateCACertificate_PathLen0/V1":     "AccessDeniedException",
		"arn:aws-us-gov:acm-pca:::template/SubordinateCACertificate_PathLen0/V1": "AccessDeniedException",
	} {
		body := `{"CertificateAuthorityArn":"` + caARN + `","Csr":"eA==","SigningAlgorithm":"SHA256WITHECDSA","Validity":{"Type":"DAYS","Value":1},"TemplateArn":"` + template + `"}`
		if a := send(t, newRequest(t, f.URL, admin, "IssueCertificate", body, nil)); a.Type != code {
			t.Errorf("%s: %d %s", template, a.status, a.body)
		}
	}
}

func TestCutBody(t *testing.T) {
	t.Parallel()
	f := start(t, nil)
	conn, err := net.Dial("tcp", f.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	r := newRequest(t, f.URL, admin, "ListCertificateAuthorities", "{}", nil)
	fmt.Fprintf(conn, "POST / HTTP/1.1\r\nHost: %s\r\n", r.Host)
	if err := r.Header.Write(conn); err != nil {
		t.Fatal(err)
	}
	fmt.Fprint(conn, "Content-Length: 100\r\n\r\n{}")
	if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(conn)
	if err != nil || !strings.HasPrefix(string(b), "HTTP/1.1 408 ") || !strings.Contains(string(b), `"__type":"RequestTimeoutException"`) {
		t.Errorf("%s, %v", b, err)
	}
}

// A stranger's body is not waited for, let alone held: the refusal comes while
// the body is still on its way.
func TestBodiesOfStrangersAreNotRead(t *testing.T) {
	t.Parallel()
	f := start(t, nil)
	for _, test := range []struct {
		key  string
		edit func(h http.Header)
		code string
	}{
		{admin, func(h http.Header) { h.Del("Authorization") }, "MissingAuthenticationTokenException"},
		{admin, func(h http.Header) { h.Set("Authorization", "AWS4-HMAC-SHA256 x") }, "IncompleteSignatureException"},
		{"AKIDNOBODY", func(http.Header) {}, "UnrecognizedClientException"},
	} {
		r := newRequest(t, f.URL, test.key, "ListCertificateAuthorities", "{}", nil)
		test.edit(r.Header)
		body, more := io.Pipe()
		r.Body, r.ContentLength = body, 4<<20
		if a := send(t, r); a.Type != test.code {
			t.Errorf("answer %d %s, want %s", a.status, a.body, test.code)
		}
		more.Close()
	}
}

// Large bodies are held within a budget, and every request gives its share back.
func TestLargeBodies(t *testing.T) {
	t.Parallel()
	f := start(t, nil)
	body := `{"Unknown":"` + strings.Repeat("a", maxBody-100) + `"}`
	for range 2 {
		var wg sync.WaitGroup
		for range largeBodies/maxBody + 4 {
			wg.Go(func() {
				a := send(t, newRequest(t, f.URL, admin, "ListCertificateAuthorities", body, nil))
				if a.status != 200 {
					t.Errorf("answer %d %s", a.status, a.body)
				}
			})
		}
		wg.Wait()
	}
}

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	op := func(name string) Operation {
		return Op(name, func(context.Context, *pca.ListTagsRequest) (*pca.ListTagsResponse, error) { return nil, nil })
	}
	for _, ops := range [][]Operation{{op("ListTag")}, {op("ListTags"), op("ListTags")}} {
		cfg := config(t)
		cfg.Operations = ops
		if _, err := New(cfg); err == nil {
			t.Error("accepted")
		}
	}
}

func TestContextOutsideOfACall(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	SetHeader(ctx, "X-More", "nowhere")
	if Caller(ctx) != nil || RequestID(ctx) != "" || Invocation(ctx) != "" || Authorize(ctx, "a:b", "*") == nil {
		t.Error("an empty context has a call")
	}
	p := &iam.Principal{ARN: "x"}
	ctx = NewContext(ctx, Call{Caller: p, RequestID: "r", Invocation: "i"})
	if Caller(ctx) != p || RequestID(ctx) != "r" || Invocation(ctx) != "i" {
		t.Error("NewContext lost something")
	}
}

// TestConcurrentCalls mixes large and small bodies over the pooled buffers.
func TestConcurrentCalls(t *testing.T) {
	t.Parallel()
	f := start(t, func(c *Config) {
		c.Operations = []Operation{Op("PutPolicy", func(_ context.Context, in *pca.PutPolicyRequest) (*pca.GetPolicyResponse, error) {
			return &pca.GetPolicyResponse{Policy: in.Policy}, nil
		})}
	})
	var wg sync.WaitGroup
	for n := range 16 {
		wg.Go(func() {
			for m := range 20 {
				policy := strings.Repeat(string(rune('a'+n)), 1+(n*m*977)%80000)
				a := send(t, newRequest(t, f.URL, admin, "PutPolicy", `{"ResourceArn":"`+caARN+`","Policy":"`+policy+`"}`, nil))
				if a.body != `{"Policy":"`+policy+`"}` {
					t.Errorf("%d bytes of %d came back", len(a.body), len(policy))
				}
			}
		})
	}
	wg.Wait()
}

func TestErrorEnvelopeIsValidUTF8(t *testing.T) {
	t.Parallel()
	var buf bytes.Buffer
	appendError(&buf, pca.Errorf(pca.InvalidArgsException, "bad \xff byte"))
	if got := buf.String(); !regexp.MustCompile(`^\{"__type":"InvalidArgsException","message":"bad .{1,6} byte"\}$`).MatchString(got) {
		t.Errorf("%s", got)
	}
}

// BenchmarkIssueCertificate is one signed IssueCertificate through the
// handler, without the network and with an operation that does nothing.
func BenchmarkIssueCertificate(b *testing.B) {
	cfg := config(b)
	cfg.Log = slog.New(slog.NewJSONHandler(io.Discard, nil))
	cfg.Operations = []Operation{Op("IssueCertificate", func(context.Context, *pca.IssueCertificateRequest) (*pca.IssueCertificateResponse, error) {
		return &pca.IssueCertificateResponse{CertificateArn: caARN + "/certificate/e8cbd2bedb122329f97706bcfec990f8"}, nil
	})}
	h, err := New(cfg)
	if err != nil {
		b.Fatal(err)
	}
	body := `{"CertificateAuthorityArn":"` + caARN + `","Csr":"` + base64.StdEncoding.EncodeToString(make([]byte, 600)) +
		`","SigningAlgorithm":"SHA256WITHECDSA","TemplateArn":"arn:aws:acm-pca:::template/EndEntityCertificate/V1","Validity":{"Type":"DAYS","Value":30},"IdempotencyToken":"4f2c"}`
	r := newRequest(b, "http://127.0.0.1:8440", admin, "IssueCertificate", body, nil)
	r.RemoteAddr = "127.0.0.1:40000"
	reader := strings.NewReader(body)
	w := &discard{header: http.Header{}}
	b.ReportAllocs()
	for b.Loop() {
		reader.Reset(body)
		r.Body = io.NopCloser(reader)
		clear(w.header)
		h.ServeHTTP(w, r)
		if w.status != 200 {
			b.Fatal(w.status)
		}
	}
}

type discard struct {
	header http.Header
	status int
}

func (d *discard) Header() http.Header         { return d.header }
func (d *discard) WriteHeader(status int)      { d.status = status }
func (d *discard) Write(p []byte) (int, error) { return len(p), nil }
