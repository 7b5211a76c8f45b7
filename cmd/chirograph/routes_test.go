package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/iam"

	"chirograph.dev/internal/identity"
)

// route is one operation of IAM, STS or Organizations.
type route struct {
	service, name string
	input         map[string]any // that has the shape it needs
}

// sample gives the members that inputs ask for something that fits.
var sample = map[string]any{
	"UserName": "nobody", "RoleName": "norole", "PolicyName": "nopolicy", "PolicyDocument": "{}", "AssumeRolePolicyDocument": "{}",
	"PolicyArn": "arn:aws:iam::123456789012:policy/nopolicy", "PermissionsBoundary": "arn:aws:iam::aws:policy/AWSPrivateCAUser",
	"AccessKeyId": "AKIAAAAAAAAAAAAAAAAA", "Status": "Inactive", "VersionId": "v1", "Url": "https://issuer.example.com",
	"OpenIDConnectProviderArn": "arn:aws:iam::123456789012:oidc-provider/issuer.example.com", "ClientID": "c",
	"ThumbprintList": []string{strings.Repeat("a", 40)}, "TagKeys": []string{"k"}, "Tags": []string{},
	"PolicySourceArn": "arn:aws:iam::123456789012:user/nobody", "ActionNames": []string{"iam:GetUser"},
	"RoleArn": "arn:aws:iam::123456789012:role/norole", "RoleSessionName": "session", "WebIdentityToken": "token",
	"Email": "a@example.com", "AccountName": "name", "AccountId": "210987654321", "CreateAccountRequestId": "car-12345678",
}

// logRoutes are the paths of a log, by method.
var logRoutes = map[string][]string{
	"GET":  {"checkpoint", "key", "proof?index=0", "tile/0/000.p/1", "tile/entries/000.p/1"},
	"HEAD": {"checkpoint", "key", "proof?index=0", "tile/0/000.p/1", "tile/entries/000.p/1"},
	"POST": {"rotate-key", "recover"},
}

// routes are all operations that identity.Service has.
func routes(t *testing.T) []route {
	t.Helper()
	sts := []string{"GetCallerIdentity", "AssumeRole", "AssumeRoleWithWebIdentity", "GetSessionToken", "GetAccessKeyInfo"}
	organizations := regexp.MustCompile(`Organization$|Account$|Accounts$|AccountStatus$`)
	var all []route
	service := reflect.TypeFor[*identity.Service]()
	for i := range service.NumMethod() {
		m := service.Method(i)
		if m.Type.NumIn() != 3 || m.Type.In(2).Kind() != reflect.Pointer || m.Type.In(2).Elem().Name() != m.Name+"Input" {
			continue
		}
		r := route{"iam", m.Name, map[string]any{}}
		switch {
		case slices.Contains(sts, m.Name):
			r.service = "sts"
		case organizations.MatchString(m.Name):
			r.service = "organizations"
		}
		for _, f := range reflect.VisibleFields(m.Type.In(2).Elem()) {
			if !strings.Contains(f.Tag.Get("aws"), "required") {
				continue
			}
			value, ok := sample[f.Name]
			if !ok {
				t.Fatalf("%s needs %s, which this test does not know", m.Name, f.Name)
			}
			r.input[f.Name] = value
		}
		all = append(all, r)
	}
	if len(all) < 70 {
		t.Fatalf("there are %d operations only", len(all))
	}
	return all
}

// request makes the call as a client puts it on the wire.
func (r route) request(t *testing.T, endpoint string) (*http.Request, string) {
	t.Helper()
	var body string
	header := http.Header{}
	if r.service == "organizations" {
		b, err := json.Marshal(r.input)
		if err != nil {
			t.Fatal(err)
		}
		body = string(b)
		header.Set("Content-Type", "application/x-amz-json-1.1")
		header.Set("X-Amz-Target", "AWSOrganizationsV20161128."+r.name)
	} else {
		form := url.Values{"Action": {r.name}, "Version": {"2010-05-08"}}
		if r.service == "sts" {
			form.Set("Version", "2011-06-15")
		}
		for name, value := range r.input {
			switch value := value.(type) {
			case string:
				form.Set(name, value)
			case []string:
				if name == "Tags" {
					form.Set("Tags.member.1.Key", "k")
				} else {
					form.Set(name+".member.1", value[0])
				}
			}
		}
		body = form.Encode()
		header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	req, err := http.NewRequestWithContext(t.Context(), "POST", endpoint+"/", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header = header
	return req, body
}

var errorCode = regexp.MustCompile(`<Code>(\w+)</Code>|"__type":"(\w+)"`)

// call gives the code of the answer; OK when there was none.
func (r route) call(t *testing.T, endpoint string, credentials *aws.Credentials) (code, body string) {
	t.Helper()
	req, text := r.request(t, endpoint)
	if credentials != nil {
		sum := sha256.Sum256([]byte(text))
		if err := v4.NewSigner().SignHTTP(t.Context(), *credentials, req, hex.EncodeToString(sum[:]), r.service, "us-east-1", time.Now()); err != nil {
			t.Fatal(err)
		}
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	if m := errorCode.FindStringSubmatch(string(answer)); m != nil {
		return m[1] + m[2], string(answer)
	}
	if res.StatusCode != 200 {
		t.Errorf("%s: %d %s", r.name, res.StatusCode, answer)
	}
	return "OK", string(answer)
}

// walkLogs asks every path of a log: unsigned, as each of those who may not,
// and as the administrator, who learns that there is no such CA.
func (i *instance) walkLogs(t *testing.T, nothing, issuer, root *aws.Credentials) {
	t.Helper()
	for method, paths := range logRoutes {
		for _, path := range paths {
			for who, want := range map[*aws.Credentials]string{nil: "MissingAuthenticationTokenException", nothing: "AccessDeniedException", issuer: "AccessDeniedException", root: "ResourceNotFoundException"} {
				req := must(http.NewRequestWithContext(t.Context(), method, i.API+"/audit-log/11223344-1234-1122-2233-112233445566/"+path, nil))(t)
				transport := http.DefaultTransport
				if who != nil {
					cfg := i.aws.Copy()
					cfg.Credentials = credentials.StaticCredentialsProvider{Value: *who}
					transport = signing{cfg, http.DefaultClient, v4.NewSigner()}
				}
				res := must(transport.RoundTrip(req))(t)
				res.Body.Close()
				if got := res.Header.Get("X-Amzn-Errortype"); got != want {
					t.Errorf("%s %s: %q, want %q", method, path, got, want)
				}
			}
		}
	}
}

// TestNoRouteWithoutAllow walks every operation of IAM, STS and Organizations,
// and every path of a log: unsigned, with a key that has no policy, and with one that may do everything
// with CAs. None is served but those that AWS serves so.
func TestNoRouteWithoutAllow(t *testing.T) {
	t.Parallel()
	i := start(t, nil)
	ctx := t.Context()
	admin := iam.NewFromConfig(i.aws)
	keyOf := func(name string, policies ...string) *aws.Credentials {
		must(admin.CreateUser(ctx, &iam.CreateUserInput{UserName: &name}))(t)
		for _, p := range policies {
			must(admin.AttachUserPolicy(ctx, &iam.AttachUserPolicyInput{UserName: &name, PolicyArn: aws.String("arn:aws:iam::aws:policy/" + p)}))(t)
		}
		k := must(admin.CreateAccessKey(ctx, &iam.CreateAccessKeyInput{UserName: &name}))(t).AccessKey
		return &aws.Credentials{AccessKeyID: *k.AccessKeyId, SecretAccessKey: *k.SecretAccessKey}
	}
	nothing, issuer := keyOf("nothing"), keyOf("issuer", "AWSPrivateCAFullAccess")
	all := routes(t)
	for _, r := range all {
		switch code, body := r.call(t, i.API, nil); {
		case r.name == "AssumeRoleWithWebIdentity":
			if code == "OK" || code == "MissingAuthenticationToken" {
				t.Errorf("unsigned %s: %s", r.name, body)
			}
		case code != "MissingAuthenticationToken" && code != "MissingAuthenticationTokenException":
			t.Errorf("unsigned %s: %s", r.name, body)
		}
		for _, who := range []*aws.Credentials{nothing, issuer} {
			code, body := r.call(t, i.API, who)
			switch r.name {
			case "GetCallerIdentity", "GetSessionToken":
				if code != "OK" {
					t.Errorf("%s: %s", r.name, body)
				}
			case "AssumeRoleWithWebIdentity":
				if code == "OK" {
					t.Errorf("%s: %s", r.name, body)
				}
			case "GetAccessKeyInfo": // asks for a key that there is not
				if code != "ValidationError" {
					t.Errorf("%s: %s", r.name, body)
				}
			default:
				if code != "AccessDenied" && code != "AccessDeniedException" {
					t.Errorf("%s: %s", r.name, body)
				}
			}
		}
	}
	// Every operation is wired: the administrator learns something else.
	root, err := i.aws.Credentials.Retrieve(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range all {
		if r.name == "CreateAccount" || r.name == "AssumeRole" || r.name == "AssumeRoleWithWebIdentity" {
			continue
		}
		switch code, body := r.call(t, i.API, &root); code {
		case "InvalidAction", "UnknownOperationException", "InternalFailure", "AccessDenied", "AccessDeniedException", "SerializationException", "MalformedInput":
			t.Errorf("%s: %s", r.name, body)
		}
	}
	i.walkLogs(t, nothing, issuer, &root)
	// Nothing of all this was done.
	users := must(admin.ListUsers(context.WithoutCancel(ctx), &iam.ListUsersInput{}))(t)
	var names []string
	for _, u := range users.Users {
		names = append(names, *u.UserName)
	}
	if !slices.Equal(names, []string{"admin", "issuer", "nothing"}) {
		t.Errorf("the users are %q", names)
	}
}
