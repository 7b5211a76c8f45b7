package awsquery

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	awsiam "github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"

	"chirograph.dev/internal/iam"
)

const (
	account = "123456789012"
	secret  = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
)

// people is an iam.Credentials: keys by id, a session for AKIDSESSION with the token "good".
type people map[string]*iam.Principal

func (p people) Secret(_ context.Context, id string) (string, bool, error) {
	return secret, p[id] != nil, nil
}

func (p people) Principal(_ context.Context, id, token string) (*iam.Principal, error) {
	switch {
	case id == "AKIDCLOSED":
		return nil, &Error{Status: 403, Code: "AccessDenied", Message: "The account is closed."}
	case token == "over":
		return nil, fmt.Errorf("session: %w", iam.ErrExpiredToken)
	case id == "AKIDSESSION" && token != "good", id != "AKIDSESSION" && token != "":
		return nil, iam.ErrInvalidToken
	}
	return p[id], nil
}

// directory is a little IAM: users and their policy documents.
type directory struct {
	mu    sync.Mutex
	users map[string]string
}

type user struct {
	UserName   string
	Arn        string
	CreateDate time.Time
	Tags       []tag
}
type tag struct{ Key, Value string }

type CreateUserInput struct {
	UserName string `aws:"required" min:"1" max:"64" pattern:"[\\w+=,.@-]+"`
	Tags     []tag
}
type CreateUserOutput struct{ User *user }

func (in *CreateUserInput) Resource(partition string, caller *iam.Principal) string {
	return "arn:" + partition + ":iam::" + caller.Account + ":user/" + in.UserName
}
func (in *CreateUserInput) Conditions() map[string][]string {
	m := map[string][]string{"aws:SourceIp": {"203.0.113.1"}} // not for the input to say
	for _, t := range in.Tags {
		m["aws:RequestTag/"+t.Key] = []string{t.Value}
	}
	return m
}

func (d *directory) CreateUser(_ context.Context, in *CreateUserInput) (*CreateUserOutput, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if in.UserName == "panics" {
		panic("a bug")
	}
	if _, ok := d.users[in.UserName]; ok {
		return nil, fmt.Errorf("creating: %w", &Error{Status: 409, Code: "EntityAlreadyExists", Message: "User <" + in.UserName + "> exists."})
	}
	d.users[in.UserName] = ""
	return &CreateUserOutput{&user{UserName: in.UserName, Arn: "arn:aws:iam::" + account + ":user/" + in.UserName, CreateDate: time.Unix(1795342830, 0), Tags: in.Tags}}, nil
}

type PutUserPolicyInput struct {
	UserName       string `aws:"required"`
	PolicyName     string `aws:"required"`
	PolicyDocument string `aws:"required" max:"131072"`
}
type PutUserPolicyOutput struct{}

func (in *PutUserPolicyInput) Resource(string, *iam.Principal) string {
	return "arn:aws:iam::" + account + ":user/" + in.UserName
}

func (d *directory) PutUserPolicy(_ context.Context, in *PutUserPolicyInput) (*PutUserPolicyOutput, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.users[in.UserName] = in.PolicyDocument
	return &PutUserPolicyOutput{}, nil
}

type GetUserPolicyInput struct {
	UserName   string `aws:"required"`
	PolicyName string `aws:"required"`
}
type GetUserPolicyOutput struct {
	UserName, PolicyName string
	PolicyDocument       string `aws:"url"`
}

func (in *GetUserPolicyInput) Resource(string, *iam.Principal) string {
	return "arn:aws:iam::" + account + ":user/" + in.UserName
}

func (d *directory) GetUserPolicy(_ context.Context, in *GetUserPolicyInput) (*GetUserPolicyOutput, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return &GetUserPolicyOutput{UserName: in.UserName, PolicyName: in.PolicyName, PolicyDocument: d.users[in.UserName]}, nil
}

type GetPolicyInput struct{ PolicyArn string }
type GetPolicyOutput struct{ Policy *struct{ Arn string } }

func (in *GetPolicyInput) Resource(string, *iam.Principal) string { return in.PolicyArn }

func (d *directory) GetPolicy(_ context.Context, in *GetPolicyInput) (*GetPolicyOutput, error) {
	return &GetPolicyOutput{&struct{ Arn string }{in.PolicyArn}}, nil
}

type ListUsersInput struct{ PathPrefix string }
type ListUsersOutput struct {
	Users       []user
	IsTruncated bool
}

func (in *ListUsersInput) Resource(string, *iam.Principal) string { return "*" }

func (d *directory) ListUsers(context.Context, *ListUsersInput) (*ListUsersOutput, error) {
	return nil, errors.New("the store is on fire")
}

type GetCallerIdentityInput struct{}
type GetCallerIdentityOutput struct{ UserId, Account, Arn string }

func getCallerIdentity(ctx context.Context, _ *GetCallerIdentityInput) (*GetCallerIdentityOutput, error) {
	if Caller(ctx) == nil || RequestID(ctx) == "" || Conditions(ctx)["aws:SecureTransport"] == nil {
		return nil, errors.New("the context has no call")
	}
	return &GetCallerIdentityOutput{Arn: Caller(ctx).ARN}, nil
}

type AssumeRoleWithWebIdentityInput struct {
	RoleArn          string `aws:"required"`
	WebIdentityToken string `aws:"required"`
}
type AssumeRoleWithWebIdentityOutput struct{ Provider string }

func assumeRoleWithWebIdentity(ctx context.Context, in *AssumeRoleWithWebIdentityInput) (*AssumeRoleWithWebIdentityOutput, error) {
	if Caller(ctx) != nil {
		return nil, errors.New("an unsigned call has a caller")
	}
	if in.WebIdentityToken != "token" {
		return nil, &Error{Status: 400, Code: "InvalidIdentityToken", Message: "No."}
	}
	return &AssumeRoleWithWebIdentityOutput{"https://issuer"}, nil
}

type fixture struct {
	*httptest.Server
	mu   sync.Mutex
	seen []string // of Observe
	log  strings.Builder
}

func (f *fixture) Write(p []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.log.Write(p)
}

func serve(t *testing.T) *fixture {
	t.Helper()
	who := people{}
	for id, policy := range map[string]string{
		"AKIDADMIN":   `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"*","Resource":"*"}}`,
		"AKIDSESSION": `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"*","Resource":"*"}}`,
		"AKIDISSUER":  `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"acm-pca:*","Resource":"*"}}`,
		"AKIDTEAM":    `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"iam:CreateUser","Resource":"arn:aws:iam::123456789012:user/team-*","Condition":{"StringEquals":{"aws:RequestTag/team":"a"},"IpAddress":{"aws:SourceIp":"127.0.0.0/8"}}}}`,
		"AKIDCLOSED":  `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"*","Resource":"*"}}`,
	} {
		p, err := iam.ParsePolicy([]byte(policy))
		if err != nil {
			t.Fatal(err)
		}
		who[id] = &iam.Principal{Account: account, ARN: "arn:aws:iam::" + account + ":user/" + strings.ToLower(id), ID: id, Policies: []*iam.Policy{p}}
	}
	d, f := &directory{users: map[string]string{}}, &fixture{}
	h, err := New(Config{
		Credentials: who,
		Services: []Service{
			{"iam", "2010-05-08", "https://iam.amazonaws.com/doc/2010-05-08/", []Operation{Op(d.CreateUser), Op(d.PutUserPolicy), Op(d.GetUserPolicy), Op(d.GetPolicy), Op(d.ListUsers)}, nil},
			{"sts", "2011-06-15", "https://sts.amazonaws.com/doc/2011-06-15/", []Operation{Signed(getCallerIdentity), Unsigned(assumeRoleWithWebIdentity)}, who},
		},
		Observe: func(operation, code string, _ time.Duration) {
			f.mu.Lock()
			defer f.mu.Unlock()
			f.seen = append(f.seen, operation+" "+code)
		},
		Log: slog.New(slog.NewTextHandler(f, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	f.Server = httptest.NewServer(h)
	t.Cleanup(f.Close)
	return f
}

func (f *fixture) iam(id, token string) *awsiam.Client {
	return awsiam.New(awsiam.Options{Region: "eu-north-1", BaseEndpoint: &f.URL, RetryMaxAttempts: 1, Credentials: credentials.NewStaticCredentialsProvider(id, secret, token)})
}

func (f *fixture) sts(id, token string) *sts.Client {
	return sts.New(sts.Options{Region: "us-east-1", BaseEndpoint: &f.URL, RetryMaxAttempts: 1, Credentials: credentials.NewStaticCredentialsProvider(id, secret, token)})
}

func wantCode(t *testing.T, err error, code, message string) {
	t.Helper()
	var e smithy.APIError
	if !errors.As(err, &e) || e.ErrorCode() != code || !strings.Contains(e.ErrorMessage(), message) {
		t.Errorf("%v, want %s %q", err, code, message)
	}
}

// TestSDK calls the operations through the SDKs.
func TestSDK(t *testing.T) {
	t.Parallel()
	f, ctx := serve(t), t.Context()
	admin := f.iam("AKIDADMIN", "")
	out, err := admin.CreateUser(ctx, &awsiam.CreateUserInput{UserName: aws.String("a+b@c"), Tags: []types.Tag{{Key: aws.String("k ü"), Value: aws.String("<&>")}}})
	if err != nil || *out.User.UserName != "a+b@c" || out.User.CreateDate.Unix() != 1795342830 || *out.User.Tags[0].Key != "k ü" || *out.User.Tags[0].Value != "<&>" {
		t.Fatalf("%+v, %v", out, err)
	}
	_, err = admin.CreateUser(ctx, &awsiam.CreateUserInput{UserName: aws.String("a+b@c")})
	wantCode(t, err, "EntityAlreadyExists", "User <a+b@c> exists.")
	if e := (*types.EntityAlreadyExistsException)(nil); !errors.As(err, &e) {
		t.Errorf("%T", err)
	}
	document := `{"a": "` + strings.Repeat("+", 100_000) + `"}`
	if _, err := admin.PutUserPolicy(ctx, &awsiam.PutUserPolicyInput{UserName: aws.String("u"), PolicyName: aws.String("p"), PolicyDocument: &document}); err != nil {
		t.Fatal(err)
	}
	got, err := admin.GetUserPolicy(ctx, &awsiam.GetUserPolicyInput{UserName: aws.String("u"), PolicyName: aws.String("p")})
	if err != nil {
		t.Fatal(err)
	}
	if text, err := url.PathUnescape(*got.PolicyDocument); err != nil || text != document {
		t.Errorf("%.100s, %v", text, err)
	}
	_, err = admin.CreateUser(ctx, &awsiam.CreateUserInput{UserName: aws.String("a b")})
	wantCode(t, err, "ValidationError", "1 validation error detected: Value 'a b' at 'userName' failed to satisfy constraint: Member must satisfy regular expression pattern: ")
	_, err = admin.CreateUser(ctx, &awsiam.CreateUserInput{UserName: aws.String("panics")})
	wantCode(t, err, "InternalFailure", "request id")
	_, err = admin.ListUsers(ctx, nil)
	wantCode(t, err, "InternalFailure", "request id")
	_, err = admin.ListRoles(ctx, nil)
	wantCode(t, err, "InvalidAction", "ListRoles")

	for id, token := range map[string]string{"AKIDISSUER": "", "AKIDSESSION": "good"} {
		if out, err := f.sts(id, token).GetCallerIdentity(ctx, nil); err != nil || !strings.HasSuffix(*out.Arn, "/"+strings.ToLower(id)) {
			t.Errorf("%s: %+v, %v", id, out, err)
		}
	}
	if out, err := f.sts("AKIDNOBODY", "").AssumeRoleWithWebIdentity(ctx, &sts.AssumeRoleWithWebIdentityInput{RoleArn: aws.String("r"), RoleSessionName: aws.String("s"), WebIdentityToken: aws.String("token")}); err != nil || *out.Provider != "https://issuer" {
		t.Errorf("%+v, %v", out, err)
	}
	if text := f.log.String(); strings.Contains(text, "WebIdentityToken") || strings.Contains(text, secret) || !strings.Contains(text, "the store is on fire") || !strings.Contains(text, "awsquery_test.go") {
		t.Errorf("the log is\n%s", text)
	}
	if !strings.Contains(strings.Join(f.seen, "\n"), "iam:CreateUser EntityAlreadyExists") || !strings.Contains(strings.Join(f.seen, "\n"), "sts:GetCallerIdentity OK") {
		t.Errorf("observed %q", f.seen)
	}
}

func TestWhoMay(t *testing.T) {
	t.Parallel()
	f, ctx := serve(t), t.Context()
	create := func(id, token, name, team string) error {
		_, err := f.iam(id, token).CreateUser(ctx, &awsiam.CreateUserInput{UserName: &name, Tags: []types.Tag{{Key: aws.String("team"), Value: &team}}})
		return err
	}
	const not = "is not authorized to perform: iam:CreateUser on resource: arn:aws:iam::123456789012:user/x because no identity-based policy allows the iam:CreateUser action"
	wantCode(t, create("AKIDISSUER", "", "x", "a"), "AccessDenied", "User: arn:aws:iam::123456789012:user/akidissuer "+not)
	wantCode(t, create("AKIDTEAM", "", "x", "a"), "AccessDenied", not)
	wantCode(t, create("AKIDTEAM", "", "team-x", "b"), "AccessDenied", "team-x")
	if err := create("AKIDTEAM", "", "team-x", "a"); err != nil {
		t.Error(err)
	}
	wantCode(t, create("AKIDNOBODY", "", "x", "a"), "InvalidClientTokenId", "invalid")
	wantCode(t, create("AKIDADMIN", "foreign", "x", "a"), "InvalidClientTokenId", "invalid")
	wantCode(t, create("AKIDSESSION", "", "x", "a"), "InvalidClientTokenId", "invalid")
	wantCode(t, create("AKIDSESSION", "over", "x", "a"), "ExpiredToken", "expired")
	wantCode(t, create("AKIDCLOSED", "", "x", "a"), "AccessDenied", "The account is closed.")
	for arn, allowed := range map[string]bool{
		"arn:aws:iam::aws:policy/AdministratorAccess": true,
		"arn:aws:iam::123456789012:policy/p":          true,
		"arn:aws:iam::210987654321:policy/p":          false,
	} {
		_, err := f.iam("AKIDADMIN", "").GetPolicy(ctx, &awsiam.GetPolicyInput{PolicyArn: &arn})
		if (err == nil) != allowed {
			t.Errorf("%s: %v", arn, err)
		}
	}
	// A signature for one service is none for another.
	r, err := http.NewRequestWithContext(ctx, "POST", f.URL, strings.NewReader("Action=CreateUser&Version=2010-05-08&UserName=x"))
	if err != nil {
		t.Fatal(err)
	}
	var auth string
	_, err = f.sts("AKIDADMIN", "").GetCallerIdentity(ctx, nil, func(o *sts.Options) {
		o.HTTPClient = doer(func(r *http.Request) (*http.Response, error) {
			auth = r.Header.Get("Authorization")
			return http.DefaultClient.Do(r)
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", FormType)
	r.Header.Set("Authorization", auth)
	r.Header.Set("X-Amz-Date", time.Now().UTC().Format("20060102T150405Z"))
	if status, body := send(t, r); status != 403 || !strings.Contains(body, "<Code>SignatureDoesNotMatch</Code>") && !strings.Contains(body, "<Code>IncompleteSignature</Code>") {
		t.Errorf("%d %s", status, body)
	}
}

type doer func(*http.Request) (*http.Response, error)

func (d doer) Do(r *http.Request) (*http.Response, error) { return d(r) }

func send(t *testing.T, r *http.Request) (int, string) {
	t.Helper()
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(body)
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	f := serve(t)
	const web = "Version=2011-06-15&Action=AssumeRoleWithWebIdentity&"
	for _, row := range []struct {
		body, authorization string
		status              int
		code                string
	}{
		{"", "", 400, "MissingAction"},
		{"Action=%zz", "", 400, "MalformedInput"},
		{"Action=CreateUser&Version=2011-06-15", "", 400, "InvalidAction"},
		{"Action=CreateUser&Version=2010-05-08&UserName=x", "", 403, "MissingAuthenticationToken"},
		{"Action=CreateUser&Version=2010-05-08&UserName=x", "AWS4-HMAC-SHA256 x", 403, "IncompleteSignature"},
		{strings.Repeat("x", 65<<10), "", 413, "RequestEntityTooLarge"},
		{strings.Repeat("x", 65<<10), "AWS4-HMAC-SHA256 x", 403, "IncompleteSignature"},
		{web + "RoleArn=r&WebIdentityToken=other", "", 400, "InvalidIdentityToken"},
		{web + "RoleArn=r", "", 400, "ValidationError"},
		{web + "RoleArn=r&RoleArn=r&WebIdentityToken=token", "", 400, "MalformedInput"},
		{web + "RoleArn=r&WebIdentityToken=token", "nonsense", 200, ""},
	} {
		r, err := http.NewRequestWithContext(t.Context(), "POST", f.URL, strings.NewReader(row.body))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", FormType)
		if row.authorization != "" {
			r.Header.Set("Authorization", row.authorization)
		}
		status, body := send(t, r)
		if status != row.status || row.code != "" && !strings.Contains(body, "<Type>Sender</Type><Code>"+row.code+"</Code>") {
			t.Errorf("%.80s: %d %s", row.body, status, body)
		}
	}
	large := strings.Repeat("x", maxSigned)
	_, err := f.iam("AKIDADMIN", "").PutUserPolicy(t.Context(), &awsiam.PutUserPolicyInput{UserName: aws.String("u"), PolicyName: aws.String("p"), PolicyDocument: &large})
	wantCode(t, err, "RequestEntityTooLarge", "524288")
}

func TestIsRequest(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		method, target, contentType, header string
		want                                bool
	}{
		{"POST", "/", FormType, "", true},
		{"POST", "/", FormType + "; charset=utf-8", "", true},
		{"POST", "/", FormType, "ACMPrivateCA.GetPolicy", false},
		{"POST", "/", "application/x-amz-json-1.1", "", false},
		{"POST", "/?Action=x", "", "", false},
		{"GET", "/?Action=x", "", "", true},
		{"GET", "/", "", "", false},
		{"PUT", "/?Action=x", FormType, "", false},
	} {
		r := httptest.NewRequest(row.method, row.target, nil)
		r.Header.Set("Content-Type", row.contentType)
		if row.header != "" {
			r.Header.Set("X-Amz-Target", row.header)
		}
		if IsRequest(r) != row.want {
			t.Errorf("%+v", row)
		}
	}
	d := &directory{}
	if _, err := New(Config{Credentials: people{}, Services: []Service{{Name: "iam", Operations: []Operation{Op(d.CreateUser), Op(d.CreateUser)}}}}); err == nil {
		t.Error("an operation was given twice")
	}
}
