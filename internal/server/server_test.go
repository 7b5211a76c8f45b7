package server

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/acmpca"
	"github.com/aws/aws-sdk-go-v2/service/acmpca/types"
	awssts "github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"
	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"

	"chirograph.dev/internal/awsjson"
	"chirograph.dev/internal/awsquery"
	"chirograph.dev/internal/iam"
	"chirograph.dev/internal/identity"
	"chirograph.dev/internal/pca"
)

const (
	account = "123456789012"
	caARN   = "arn:aws:acm-pca:us-east-1:123456789012:certificate-authority/11223344-1234-1122-2233-112233445566"
	secret  = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
	adminID = "AKIDADMIN"
)

func principal(t *testing.T, name, policy string) *iam.Principal {
	t.Helper()
	p, err := iam.ParsePolicy([]byte(policy))
	if err != nil {
		t.Fatal(err)
	}
	return &iam.Principal{Account: account, ARN: "arn:aws:iam::" + account + ":user/" + name, ID: "AIDA" + name, Policies: []*iam.Policy{p}}
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

// config is a server with three operations; what they do depends on the CA's id.
func config(t *testing.T) Config {
	people := map[string]*iam.Principal{
		adminID:       principal(t, "admin", `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"acm-pca:*","Resource":"*"}}`),
		"AKIDAUDITOR": principal(t, "auditor", `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"acm-pca:Describe*","Resource":"*"}}`),
	}
	return Config{Query: []awsquery.Service{{
		Name: "sts", Version: "2011-06-15", Namespace: "https://sts.amazonaws.com/doc/2011-06-15/",
		Operations: []awsquery.Operation{awsquery.Signed(getCallerIdentity)},
	}}, API: awsjson.Config{
		Regions: []string{"us-east-1"},
		Log:     slog.New(slog.NewTextHandler(io.Discard, nil)),
		Credentials: keys(func(id string) (string, *iam.Principal, error) {
			if id == "AKIDBROKEN" {
				return "", nil, errors.New("the store is on fire")
			}
			return secret, people[id], nil
		}),
		Operations: []awsjson.Operation{
			awsjson.Op("DescribeCertificateAuthority", func(_ context.Context, in *pca.DescribeCertificateAuthorityRequest) (*pca.DescribeCertificateAuthorityResponse, error) {
				switch arn := in.CertificateAuthorityArn; {
				case strings.Contains(arn, "/00000000-"):
					panic("a bug")
				case strings.Contains(arn, "/11111111-"):
					return nil, pca.Errorf(pca.ThrottlingException, "Rate exceeded")
				case arn != caARN:
					return nil, pca.Errorf(pca.ResourceNotFoundException, "Could not find the certificate authority %s.", arn)
				}
				return &pca.DescribeCertificateAuthorityResponse{CertificateAuthority: &pca.CertificateAuthority{
					Arn: in.CertificateAuthorityArn, CreatedAt: pca.NewTimestamp(time.UnixMilli(1526401743081)), NotAfter: pca.NewEpochSeconds(time.Unix(1795342830, 0)),
					Status: pca.CertificateAuthorityStatus_ACTIVE, CertificateAuthorityConfiguration: &pca.CertificateAuthorityConfiguration{Subject: pca.ASN1Subject{CommonName: "<a & b>"}},
				}}, nil
			}),
			awsjson.Op("IssueCertificate", func(_ context.Context, in *pca.IssueCertificateRequest) (*pca.IssueCertificateResponse, error) {
				if string(in.Csr) != "-----BEGIN" {
					return nil, pca.Errorf(pca.MalformedCSRException, "The CSR is not PEM.")
				}
				return &pca.IssueCertificateResponse{CertificateArn: caARN + "/certificate/e8cbd2bedb122329f97706bcfec990f8"}, nil
			}),
			awsjson.Op("RevokeCertificate", func(context.Context, *pca.RevokeCertificateRequest) (*struct{}, error) { return nil, nil }),
		},
	}}
}

func getCallerIdentity(ctx context.Context, _ *identity.GetCallerIdentityInput) (*identity.GetCallerIdentityOutput, error) {
	p := awsquery.Caller(ctx)
	return &identity.GetCallerIdentityOutput{UserId: p.ID, Account: p.Account, Arn: p.ARN}, nil
}

func serve(t *testing.T, cfg Config) *httptest.Server {
	t.Helper()
	h, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s
}

// code is what an SDK makes of an error.
func code(err error) string {
	var e smithy.APIError
	if errors.As(err, &e) {
		return e.ErrorCode()
	}
	return ""
}

func TestGoSDK(t *testing.T) {
	t.Parallel()
	s := serve(t, config(t))
	client := func(change func(*acmpca.Options)) *acmpca.Client {
		o := acmpca.Options{Region: "us-east-1", BaseEndpoint: &s.URL, RetryMaxAttempts: 1, Credentials: credentials.NewStaticCredentialsProvider(adminID, secret, "")}
		if change != nil {
			change(&o)
		}
		return acmpca.New(o)
	}
	c := client(nil)
	out, err := c.DescribeCertificateAuthority(t.Context(), &acmpca.DescribeCertificateAuthorityInput{CertificateAuthorityArn: aws.String(caARN)})
	if err != nil {
		t.Fatal(err)
	}
	if ca := out.CertificateAuthority; *ca.Arn != caARN || !ca.CreatedAt.Equal(time.UnixMilli(1526401743081)) || ca.NotAfter.Unix() != 1795342830 || ca.Status != types.CertificateAuthorityStatusActive || *ca.CertificateAuthorityConfiguration.Subject.CommonName != "<a & b>" {
		t.Errorf("%+v", ca)
	}
	validity := &types.Validity{Type: types.ValidityPeriodTypeDays, Value: aws.Int64(30)}
	issued, err := c.IssueCertificate(t.Context(), &acmpca.IssueCertificateInput{CertificateAuthorityArn: aws.String(caARN), Csr: []byte("-----BEGIN"), SigningAlgorithm: types.SigningAlgorithmSha256withecdsa, Validity: validity})
	if err != nil || *issued.CertificateArn != caARN+"/certificate/e8cbd2bedb122329f97706bcfec990f8" {
		t.Errorf("%+v, %v", issued, err)
	}
	if _, err := c.RevokeCertificate(t.Context(), &acmpca.RevokeCertificateInput{CertificateAuthorityArn: aws.String(caARN), CertificateSerial: aws.String("1"), RevocationReason: types.RevocationReasonUnspecified}); err != nil {
		t.Errorf("an operation without output: %v", err)
	}

	_, err = c.IssueCertificate(t.Context(), &acmpca.IssueCertificateInput{CertificateAuthorityArn: aws.String(caARN), Csr: []byte("x"), SigningAlgorithm: types.SigningAlgorithmSha256withecdsa, Validity: validity})
	var malformed *types.MalformedCSRException
	if !errors.As(err, &malformed) || malformed.ErrorMessage() != "The CSR is not PEM." {
		t.Errorf("a modelled error: %v", err)
	}
	var response *smithyhttp.ResponseError
	if !errors.As(err, &response) || response.HTTPStatusCode() != 400 || uuid.Validate(response.Response.Header.Get("X-Amzn-Requestid")) != nil {
		t.Errorf("%v", err)
	}
	describe := func(c *acmpca.Client, arn string) error {
		_, err := c.DescribeCertificateAuthority(t.Context(), &acmpca.DescribeCertificateAuthorityInput{CertificateAuthorityArn: &arn})
		return err
	}
	other := func(id string) string { return strings.Replace(caARN, "11223344-", id+"-", 1) }
	for want, got := range map[string]error{
		"ResourceNotFoundException": describe(c, other("99999999")),
		"InternalFailure":           describe(c, other("00000000")),
		"ThrottlingException":       describe(c, other("11111111")),
		"ValidationException":       describe(c, "arn:aws:s3:::bucket"),
		"InvalidArnException":       describe(c, caARN+"/certificate/e8cbd2bedb122329f97706bcfec990f8"),
		"UnrecognizedClientException": describe(client(func(o *acmpca.Options) {
			o.Credentials = credentials.NewStaticCredentialsProvider("AKIDNOBODY", secret, "")
		}), caARN),
		"InvalidSignatureException": describe(client(func(o *acmpca.Options) { o.Region = "eu-west-1" }), caARN),
		"UnknownOperationException": func() error {
			_, err := c.ListTags(t.Context(), &acmpca.ListTagsInput{CertificateAuthorityArn: aws.String(caARN)})
			return err
		}(),
		"AccessDeniedException": func() error {
			_, err := client(func(o *acmpca.Options) {
				o.Credentials = credentials.NewStaticCredentialsProvider("AKIDAUDITOR", secret, "")
			}).RevokeCertificate(t.Context(), &acmpca.RevokeCertificateInput{CertificateAuthorityArn: aws.String(caARN), CertificateSerial: aws.String("1"), RevocationReason: types.RevocationReasonUnspecified})
			return err
		}(),
	} {
		if code(got) != want {
			t.Errorf("want %s, got %v", want, got)
		}
	}
}

// TestClockSkew: the server's clock is an hour off the client's; the refusal
// carries a Date, which is what SDKs correct their clock by.
func TestClockSkew(t *testing.T) {
	t.Parallel()
	cfg := config(t)
	cfg.API.Now = func() time.Time { return time.Now().Add(time.Hour) }
	s := serve(t, cfg)
	creds := credentials.NewStaticCredentialsProvider(adminID, secret, "")
	_, err := acmpca.New(acmpca.Options{Region: "us-east-1", BaseEndpoint: &s.URL, RetryMaxAttempts: 1, Credentials: creds}).
		DescribeCertificateAuthority(t.Context(), &acmpca.DescribeCertificateAuthorityInput{CertificateAuthorityArn: aws.String(caARN)})
	var response *smithyhttp.ResponseError
	if code(err) != "InvalidSignatureException" || !strings.Contains(err.Error(), "Signature expired: ") || !errors.As(err, &response) || response.Response.Header.Get("Date") == "" {
		t.Errorf("%v", err)
	}
	_, err = awssts.New(awssts.Options{Region: "us-east-1", BaseEndpoint: &s.URL, RetryMaxAttempts: 1, Credentials: creds}).GetCallerIdentity(t.Context(), nil)
	if code(err) != "SignatureDoesNotMatch" || !strings.Contains(err.Error(), "Signature expired: ") {
		t.Errorf("%v", err)
	}
}

func TestSTS(t *testing.T) {
	t.Parallel()
	s := serve(t, config(t))
	client := func(id, secret, session string) *awssts.Client {
		return awssts.New(awssts.Options{Region: "eu-north-1", BaseEndpoint: &s.URL, RetryMaxAttempts: 1, Credentials: credentials.NewStaticCredentialsProvider(id, secret, session)})
	}
	out, err := client("AKIDAUDITOR", secret, "").GetCallerIdentity(t.Context(), nil)
	if err != nil || *out.Arn != "arn:aws:iam::"+account+":user/auditor" || *out.Account != account || *out.UserId != "AIDAauditor" {
		t.Errorf("%+v, %v", out, err)
	}
	for want, c := range map[string]*awssts.Client{
		"InvalidClientTokenId":  client("AKIDNOBODY", secret, ""),
		"SignatureDoesNotMatch": client(adminID, "wrong", ""),
		"InternalFailure":       client("AKIDBROKEN", secret, ""),
	} {
		if _, err := c.GetCallerIdentity(t.Context(), nil); code(err) != want {
			t.Errorf("want %s, got %v", want, err)
		}
	}
	if _, err := client(adminID, secret, "token").GetCallerIdentity(t.Context(), nil); code(err) != "InvalidClientTokenId" {
		t.Errorf("foreign session: %v", err)
	}
	if _, err := client(adminID, secret, "over").GetCallerIdentity(t.Context(), nil); code(err) != "ExpiredToken" {
		t.Errorf("session that is over: %v", err)
	}
	if _, err := client(adminID, secret, "").AssumeRole(t.Context(), &awssts.AssumeRoleInput{RoleArn: aws.String("arn:aws:iam::123456789012:role/r"), RoleSessionName: aws.String("s")}); code(err) != "InvalidAction" {
		t.Errorf("AssumeRole: %v", err)
	}

	// The query form, signed in the header and presigned.
	query := s.URL + "/?Action=GetCallerIdentity&Version=2011-06-15"
	signed, err := http.NewRequestWithContext(t.Context(), "GET", query, nil)
	if err != nil {
		t.Fatal(err)
	}
	const empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
	if err := v4.NewSigner().SignHTTP(t.Context(), aws.Credentials{AccessKeyID: adminID, SecretAccessKey: secret}, signed, empty, "sts", "us-east-1", time.Now()); err != nil {
		t.Fatal(err)
	}
	presigned, err := awssts.NewPresignClient(client(adminID, secret, "")).PresignGetCallerIdentity(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	ahead, err := http.NewRequestWithContext(t.Context(), presigned.Method, presigned.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	ahead.Header = presigned.SignedHeader.Clone()
	type identity struct {
		XMLName xml.Name `xml:"https://sts.amazonaws.com/doc/2011-06-15/ GetCallerIdentityResponse"`
		ARN     string   `xml:"GetCallerIdentityResult>Arn"`
		ID      string   `xml:"ResponseMetadata>RequestId"`
	}
	for _, r := range []*http.Request{signed, ahead} {
		status, header, body := send(t, r)
		var got identity
		if err := xml.Unmarshal(body, &got); err != nil || status != 200 || got.ARN != "arn:aws:iam::"+account+":user/admin" || got.ID != header.Get("X-Amzn-Requestid") || header.Get("Content-Type") != "text/xml" {
			t.Errorf("%s %s: %d %s", r.Method, r.URL, status, body)
		}
	}

	// Refusals in the XML envelope.
	for _, row := range []struct {
		method, query, body, code string
		status                    int
	}{
		{"GET", "Action=GetCallerIdentity&Version=2011-06-15", "", "MissingAuthenticationToken", 403},
		{"POST", "", "Action=GetCallerIdentity&Version=2011-06-15", "MissingAuthenticationToken", 403},
		{"POST", "", "Action=GetCallerIdentity&Version=2010-01-01", "InvalidAction", 400},
		{"POST", "", "Action=<b>&Version=2011-06-15", "InvalidAction", 400},
		{"POST", "", "Version=2011-06-15", "MissingAction", 400},
		{"POST", "", "Action=%zz", "MalformedInput", 400},
		{"POST", "", "Action=" + strings.Repeat("x", 64<<10), "RequestEntityTooLarge", 413},
		{"GET", "Action=AssumeRole&Version=2011-06-15", "", "InvalidAction", 400},
		{"GET", "Action=GetCallerIdentity&Version=2011-06-15&X-Amz-Signature=0", "", "IncompleteSignature", 403},
		{"POST", "X-Amz-Signature=0", "Action=GetCallerIdentity&Version=2011-06-15", "MissingAuthenticationToken", 403},
	} {
		r, err := http.NewRequestWithContext(t.Context(), row.method, s.URL+"/?"+row.query, strings.NewReader(row.body))
		if err != nil {
			t.Fatal(err)
		}
		if row.method == "POST" {
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded; charset=utf-8")
		}
		status, header, body := send(t, r)
		var got struct {
			XMLName xml.Name `xml:"https://sts.amazonaws.com/doc/2011-06-15/ ErrorResponse"`
			Type    string   `xml:"Error>Type"`
			Code    string   `xml:"Error>Code"`
			Message string   `xml:"Error>Message"`
			ID      string   `xml:"RequestId"`
		}
		if err := xml.Unmarshal(body, &got); err != nil || status != row.status || got.Code != row.code || got.Type != "Sender" || got.Message == "" || got.ID != header.Get("X-Amzn-Requestid") {
			t.Errorf("%s %s: %d %s", row.method, row.query+row.body[:min(len(row.body), 60)], status, body)
		}
	}
}

func send(t *testing.T, r *http.Request) (int, http.Header, []byte) {
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
	return res.StatusCode, res.Header, b
}

func get(t *testing.T, url string) (int, http.Header, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), "GET", url, nil)
	if err != nil {
		t.Fatal(err)
	}
	status, header, b := send(t, r)
	return status, header, string(b)
}

func TestHealth(t *testing.T) {
	t.Parallel()
	var ready atomic.Bool
	cfg := config(t)
	cfg.Ready = func(context.Context) bool { return ready.Load() }
	s := serve(t, cfg)
	if status, _, body := get(t, s.URL+"/healthz"); status != 503 || body != "not ready\n" {
		t.Errorf("%d %s", status, body)
	}
	ready.Store(true)
	if status, _, body := get(t, s.URL+"/healthz"); status != 200 || body != "ok\n" {
		t.Errorf("%d %s", status, body)
	}
	if status, _, _ := get(t, serve(t, config(t)).URL+"/healthz"); status != 200 {
		t.Errorf("without Ready: %d", status)
	}
}

func TestMetrics(t *testing.T) {
	t.Parallel()
	cfg := config(t)
	cfg.Registry = prometheus.NewRegistry()
	var seen atomic.Int32
	cfg.API.Observe = func(string, string, time.Duration) { seen.Add(1) }
	s := serve(t, cfg)
	c := acmpca.New(acmpca.Options{Region: "us-east-1", BaseEndpoint: &s.URL, RetryMaxAttempts: 1, Credentials: credentials.NewStaticCredentialsProvider(adminID, secret, "")})
	for _, arn := range []string{caARN, caARN, strings.Replace(caARN, "11223344-", "99999999-", 1)} {
		_, _ = c.DescribeCertificateAuthority(t.Context(), &acmpca.DescribeCertificateAuthorityInput{CertificateAuthorityArn: &arn}) // one of them fails
	}
	_, _ = c.ListTags(t.Context(), &acmpca.ListTagsInput{CertificateAuthorityArn: aws.String(caARN)}) // not an operation here
	if _, err := awssts.New(awssts.Options{Region: "us-east-1", BaseEndpoint: &s.URL, Credentials: credentials.NewStaticCredentialsProvider(adminID, secret, "")}).GetCallerIdentity(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	for seen.Load() < 5 { // a call is counted after its answer
		select {
		case <-t.Context().Done():
			t.Fatal("calls were not observed")
		case <-time.After(time.Millisecond):
		}
	}
	status, _, text := get(t, s.URL+"/metrics")
	if status != 200 {
		t.Errorf("%d %.2000s", status, text)
	}
	for _, line := range []string{
		"# TYPE pca_api_requests_total counter",
		`pca_api_requests_total{code="OK",operation="DescribeCertificateAuthority"} 2`,
		`pca_api_requests_total{code="OK",operation="sts:GetCallerIdentity"} 1`,
		`pca_api_requests_total{code="ResourceNotFoundException",operation="DescribeCertificateAuthority"} 1`,
		`pca_api_requests_total{code="UnknownOperationException",operation="unknown"} 1`,
		"# TYPE pca_api_request_duration_seconds histogram",
		`pca_api_request_duration_seconds_count{operation="DescribeCertificateAuthority"} 3`,
		"# TYPE go_goroutines gauge",
	} {
		if !strings.Contains(text, line+"\n") {
			t.Errorf("no line %s in\n%s", line, text)
		}
	}
	if _, err := New(cfg); err == nil {
		t.Error("a registry that has these metrics already was accepted")
	}
	elsewhere := config(t)
	elsewhere.MetricsFrom = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}
	if status, _, _ := get(t, serve(t, elsewhere).URL+"/metrics"); status != 404 {
		t.Errorf("metrics for a stranger: %d", status)
	}
}

func TestElsewhere(t *testing.T) {
	t.Parallel()
	s := serve(t, config(t))
	for _, path := range []string{"/", "/x", "/healthz/x", "/metrics/", "/?x=1", "//healthz"} {
		status, header, body := get(t, s.URL+path)
		if status != 404 || header.Get("Content-Type") != "application/x-amz-json-1.1" || !strings.HasPrefix(body, `{"__type":"UnknownOperationException","message":"`) {
			t.Errorf("%s: %d %s", path, status, body)
		}
	}
	res, err := http.PostForm(s.URL+"/x", url.Values{"Action": {"GetCallerIdentity"}})
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if res.StatusCode != 404 {
		t.Errorf("POST /x: %d", res.StatusCode)
	}
}

type CloseAccountInput struct {
	AccountId string `aws:"required" pattern:"[0-9]{12}"`
}

func (in *CloseAccountInput) Resource(partition string, caller *iam.Principal) string {
	return "arn:" + partition + ":organizations::" + caller.Account + ":account/o-1/" + in.AccountId
}

type DescribeOrganizationInput struct{}
type DescribeOrganizationOutput struct {
	Organization *struct {
		Id string
		At time.Time
	}
	Empty []string
}

type toldError struct{}

func (toldError) Error() string        { return "told" }
func (toldError) ErrorCode() string    { return "AccountNotFoundException" }
func (toldError) ErrorMessage() string { return "There is no such account." }

// TestOthers serves another service of the API's protocol at the same address.
func TestOthers(t *testing.T) {
	t.Parallel()
	cfg := config(t)
	manager := principal(t, "manager", `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"organizations:*","Resource":["*"],"Condition":{"Bool":{"aws:SecureTransport":"false"}}}}`)
	one := principal(t, "one", `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"organizations:CloseAccount","Resource":"arn:aws:organizations::123456789012:account/o-1/111111111111"}}`)
	cfg.Others = []awsjson.Config{{
		Service: "organizations", TargetPrefix: "AWSOrganizationsV20161128",
		Credentials: keys(func(id string) (string, *iam.Principal, error) {
			return secret, map[string]*iam.Principal{"AKIDMANAGER": manager, "AKIDONE": one}[id], nil
		}),
		Operations: []awsjson.Operation{
			awsjson.ShapeOp(func(ctx context.Context, _ *DescribeOrganizationInput) (*DescribeOrganizationOutput, error) {
				out := &DescribeOrganizationOutput{Organization: &struct {
					Id string
					At time.Time
				}{awsjson.Caller(ctx).ID, time.UnixMilli(1526401743081)}}
				return out, nil
			}),
			awsjson.ShapeOp(func(_ context.Context, in *CloseAccountInput) (*struct{}, error) {
				if in.AccountId == "222222222222" {
					return nil, toldError{}
				}
				return &struct{}{}, nil
			}),
		},
	}}
	s := serve(t, cfg)
	call := func(id, service, target, body string) string {
		r, err := http.NewRequestWithContext(t.Context(), "POST", s.URL+"/", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", "application/x-amz-json-1.1")
		r.Header.Set("X-Amz-Target", target)
		sum := sha256.Sum256([]byte(body))
		if err := v4.NewSigner().SignHTTP(t.Context(), aws.Credentials{AccessKeyID: id, SecretAccessKey: secret}, r, hex.EncodeToString(sum[:]), service, "eu-west-1", time.Now()); err != nil {
			t.Fatal(err)
		}
		status, _, answer := send(t, r)
		return fmt.Sprint(status, " ", string(answer))
	}
	const target = "AWSOrganizationsV20161128."
	for _, row := range []struct{ id, service, target, body, want string }{
		{"AKIDMANAGER", "organizations", target + "DescribeOrganization", `{}`, `200 {"Organization":{"Id":"AIDAmanager","At":1526401743.081},"Empty":[]}`},
		{"AKIDMANAGER", "organizations", target + "CloseAccount", `{"AccountId":"111111111111"}`, "200 "},
		{"AKIDMANAGER", "organizations", target + "CloseAccount", `{"AccountId":"222222222222"}`, `400 {"__type":"AccountNotFoundException","message":"There is no such account."}`},
		{"AKIDONE", "organizations", target + "CloseAccount", `{"AccountId":"111111111111"}`, "200 "},
		{"AKIDONE", "organizations", target + "CloseAccount", `{"AccountId":"222222222222"}`, `403 {"__type":"AccessDeniedException"`},
		{"AKIDONE", "organizations", target + "DescribeOrganization", `{}`, `403 {"__type":"AccessDeniedException"`},
		{"AKIDMANAGER", "organizations", target + "CloseAccount", `{"AccountId":"x"}`, `400 {"__type":"ValidationException"`},
		{"AKIDMANAGER", "organizations", target + "CloseAccount", `{"AccountId":1}`, `400 {"__type":"SerializationException"`},
		{"AKIDMANAGER", "organizations", target + "ListAccounts", `{}`, `404 {"__type":"UnknownOperationException"`},
		{"AKIDMANAGER", "acm-pca", target + "CloseAccount", `{"AccountId":"111111111111"}`, `403 {"__type":"InvalidSignatureException"`},
		{adminID, "organizations", target + "DescribeOrganization", `{}`, `403 {"__type":"UnrecognizedClientException"`},
	} {
		if got := call(row.id, row.service, row.target, row.body); !strings.HasPrefix(got, row.want) {
			t.Errorf("%s %s %s: %s, want %s", row.id, row.target, row.body, got, row.want)
		}
	}
}

func TestBadConfig(t *testing.T) {
	t.Parallel()
	cfg := config(t)
	cfg.API.Operations = append(cfg.API.Operations, cfg.API.Operations[0])
	if _, err := New(cfg); err == nil {
		t.Error("an operation was given twice")
	}
}

// environment is this process's, without what would lead an AWS client elsewhere.
func environment() []string {
	return slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "AWS_") })
}

// TestBoto3 runs testdata/clients.py.
func TestBoto3(t *testing.T) {
	t.Parallel()
	s := serve(t, config(t))
	cmd := exec.CommandContext(t.Context(), "python3", "testdata/clients.py", s.URL)
	cmd.Env = append(environment(), "AWS_CONFIG_FILE=/dev/null", "AWS_SHARED_CREDENTIALS_FILE=/dev/null", "AWS_EC2_METADATA_DISABLED=true")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	b, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, stderr.Bytes())
	}
	type outcome struct {
		Status  int
		ID      string
		Code    string
		Message string
		Out     map[string]any
	}
	var got map[string]outcome
	if err := json.Unmarshal(b, &got); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]outcome{
		"describe":           {Status: 200},
		"issue":              {Status: 200},
		"revoke":             {Status: 200},
		"identity":           {Status: 200},
		"identity elsewhere": {Status: 200},
		"unknown operation":  {Status: 404, Code: "UnknownOperationException"},
		"pattern":            {Status: 400, Code: "ValidationException", Message: "1 validation error detected: Value 'arn:aws:s3:::bucket' at 'certificateAuthorityArn' failed to satisfy constraint: Member must satisfy regular expression pattern: arn:"},
		"enum":               {Status: 400, Code: "ValidationException", Message: "Value 'BOREDOM' at 'revocationReason' failed to satisfy constraint: Member must satisfy enum value set: ["},
		"kind of ARN":        {Status: 400, Code: "InvalidArnException"},
		"not found":          {Status: 400, Code: "ResourceNotFoundException"},
		"panic":              {Status: 500, Code: "InternalFailure"},
		"throttled":          {Status: 400, Code: "ThrottlingException", Message: "Rate exceeded"},
		"denied":             {Status: 403, Code: "AccessDeniedException", Message: "User: arn:aws:iam::123456789012:user/auditor is not authorized to perform: acm-pca:RevokeCertificate on resource: " + caARN + " because no identity-based policy allows the acm-pca:RevokeCertificate action"},
		"unknown key":        {Status: 403, Code: "UnrecognizedClientException", Message: "The security token included in the request is invalid."},
		"wrong secret":       {Status: 403, Code: "InvalidSignatureException", Message: "The request signature we calculated does not match the signature you provided."},
		"session token":      {Status: 403, Code: "UnrecognizedClientException"},
		"wrong region":       {Status: 403, Code: "InvalidSignatureException", Message: "Credential should be scoped to a valid region, not 'eu-west-1'."},
		"tampered body":      {Status: 403, Code: "InvalidSignatureException"},
		"unsigned":           {Status: 403, Code: "MissingAuthenticationTokenException"},
		"clock skew":         {Status: 403, Code: "InvalidSignatureException", Message: "Signature expired: "},
		"sts unknown key":    {Status: 403, Code: "InvalidClientTokenId"},
		"sts wrong secret":   {Status: 403, Code: "SignatureDoesNotMatch"},
		"sts other action":   {Status: 400, Code: "InvalidAction", Message: "Could not find operation GetSessionToken for version 2011-06-15"},
		"sts clock skew":     {Status: 403, Code: "SignatureDoesNotMatch", Message: "Signature expired: "},
	} {
		g, ok := got[name]
		if !ok || g.Status != want.Status || g.Code != want.Code || !strings.Contains(g.Message, want.Message) || uuid.Validate(g.ID) != nil {
			t.Errorf("%s: %+v", name, g)
		}
		delete(got, name)
		switch name {
		case "describe":
			ca, _ := g.Out["CertificateAuthority"].(map[string]any)
			if ca["Arn"] != caARN || !strings.HasPrefix(ca["CreatedAt"].(string), "2018-05-15 ") || !strings.Contains(ca["CreatedAt"].(string), ".081") {
				t.Errorf("%v", ca)
			}
		case "issue":
			if g.Out["CertificateArn"] != caARN+"/certificate/e8cbd2bedb122329f97706bcfec990f8" {
				t.Errorf("%v", g.Out)
			}
		case "revoke":
			if len(g.Out) != 0 {
				t.Errorf("%v", g.Out)
			}
		case "identity":
			if g.Out["Arn"] != "arn:aws:iam::"+account+":user/admin" {
				t.Errorf("%v", g.Out)
			}
		}
	}
	for name := range got {
		t.Errorf("nothing is expected of %q", name)
	}
}

// TestCLI runs the aws command with nothing but a configuration file.
func TestCLI(t *testing.T) {
	t.Parallel()
	s := serve(t, config(t))
	dir := t.TempDir()
	const profile = "region = us-east-1\nretry_mode = standard\nmax_attempts = 1\nservices = here\n"
	conf := "[default]\n" + profile + "[profile auditor]\n" + profile + "[services here]\nacm_pca =\n  endpoint_url = " + s.URL + "\nsts =\n  endpoint_url = " + s.URL + "\n"
	creds := "[default]\naws_access_key_id = " + adminID + "\naws_secret_access_key = " + secret + "\n[auditor]\naws_access_key_id = AKIDAUDITOR\naws_secret_access_key = " + secret + "\n"
	for name, text := range map[string]string{"config": conf, "credentials": creds, "csr": "-----BEGIN"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	run := func(args ...string) (string, error) {
		cmd := exec.CommandContext(t.Context(), "aws", append(args, "--output", "json")...)
		cmd.Env = append(environment(), "AWS_CONFIG_FILE="+filepath.Join(dir, "config"), "AWS_SHARED_CREDENTIALS_FILE="+filepath.Join(dir, "credentials"), "AWS_PAGER=", "AWS_EC2_METADATA_DISABLED=true")
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	for _, row := range []struct {
		want string
		ok   bool
		args []string
	}{
		{`"Arn": "` + caARN + `"`, true, []string{"acm-pca", "describe-certificate-authority", "--certificate-authority-arn", caARN}},
		{`/certificate/e8cbd2bedb122329f97706bcfec990f8"`, true, []string{"acm-pca", "issue-certificate", "--certificate-authority-arn", caARN, "--csr", "fileb://" + filepath.Join(dir, "csr"), "--signing-algorithm", "SHA256WITHECDSA", "--validity", "Value=30,Type=DAYS"}},
		{``, true, []string{"acm-pca", "revoke-certificate", "--certificate-authority-arn", caARN, "--certificate-serial", "01", "--revocation-reason", "UNSPECIFIED"}},
		{`"Arn": "arn:aws:iam::` + account + `:user/admin"`, true, []string{"sts", "get-caller-identity"}},
		{`"UserId": "AIDAauditor"`, true, []string{"sts", "get-caller-identity", "--profile", "auditor"}},
		{`(AccessDeniedException)`, false, []string{"acm-pca", "revoke-certificate", "--profile", "auditor", "--certificate-authority-arn", caARN, "--certificate-serial", "01", "--revocation-reason", "UNSPECIFIED"}},
		{`(ValidationException)`, false, []string{"acm-pca", "describe-certificate-authority", "--certificate-authority-arn", "nonsense"}},
		{`(UnknownOperationException)`, false, []string{"acm-pca", "get-policy", "--resource-arn", caARN}},
		{`(InvalidSignatureException)`, false, []string{"acm-pca", "describe-certificate-authority", "--region", "eu-west-1", "--certificate-authority-arn", caARN}},
	} {
		out, err := run(row.args...)
		if (err == nil) != row.ok || !strings.Contains(out, row.want) {
			t.Errorf("aws %s: %v\n%s", strings.Join(row.args, " "), err, out)
		}
	}
}

// TestConsole: the console gets what lies below its path, and the API's rules
// with the server's metrics.
func TestConsole(t *testing.T) {
	t.Parallel()
	cfg := config(t)
	cfg.Console = func(api awsjson.Config) (http.Handler, error) {
		if api.Limits == nil || len(api.Operations) != 3 {
			t.Errorf("%+v", api)
		}
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			api.Observe("console:X", "OK", time.Second)
			fmt.Fprint(w, r.URL.Path)
		}), nil
	}
	s := serve(t, cfg)
	get := func(path string) string {
		resp, err := http.Get(s.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	for _, path := range []string{"/console", "/console/", "/console/api/x"} {
		if got := get(path); got != path {
			t.Errorf("%s: %s", path, got)
		}
	}
	if got := get("/consoles"); !strings.Contains(got, "UnknownOperationException") {
		t.Error(got)
	}
	if got := get("/metrics"); !strings.Contains(got, `pca_api_requests_total{code="OK",operation="console:X"} 3`) {
		t.Error(got)
	}
	cfg = config(t)
	cfg.Console = func(awsjson.Config) (http.Handler, error) { return nil, errors.New("no files") }
	if _, err := New(cfg); err == nil {
		t.Error("a console that cannot be made")
	}
}
