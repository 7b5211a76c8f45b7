package main

import (
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials/stscreds"
	"github.com/aws/aws-sdk-go-v2/service/acmpca"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/organizations"
	"github.com/aws/aws-sdk-go-v2/service/sts"
)

// oidcIssuer is an OpenID Connect issuer with a certificate of its own, as a
// Kubernetes cluster has one. GitHub's differs in name and claims.
type oidcIssuer struct {
	URL        string
	thumbprint string
	key        *ecdsa.PrivateKey
}

func startIssuer(t *testing.T) *oidcIssuer {
	t.Helper()
	o := &oidcIssuer{key: newKey(t)}
	encode := func(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }
	mux := http.NewServeMux()
	answer := func(path string, body any) {
		mux.HandleFunc("GET "+path, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			if err := json.NewEncoder(w).Encode(body); err != nil {
				t.Error(err)
			}
		})
	}
	s := httptest.NewTLSServer(mux)
	t.Cleanup(s.Close)
	o.URL = s.URL
	sum := sha1.Sum(s.Certificate().Raw)
	o.thumbprint = hex.EncodeToString(sum[:])
	answer("/.well-known/openid-configuration", map[string]any{
		"issuer": o.URL, "jwks_uri": o.URL + "/keys", "response_types_supported": []string{"id_token"},
		"subject_types_supported": []string{"public"}, "id_token_signing_alg_values_supported": []string{"ES256"},
	})
	point := must(o.key.PublicKey.Bytes())(t)
	answer("/keys", map[string]any{"keys": []map[string]string{{
		"kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": "1", "x": encode(point[1:33]), "y": encode(point[33:]),
	}}})
	return o
}

// token is one that the issuer gives to a subject, for AWS.
func (o *oidcIssuer) token(t *testing.T, subject, audience string) string {
	t.Helper()
	part := func(v any) string { return base64.RawURLEncoding.EncodeToString(must(json.Marshal(v))(t)) }
	now := time.Now().Unix()
	text := part(map[string]string{"alg": "ES256", "typ": "JWT", "kid": "1"}) + "." +
		part(map[string]any{"iss": o.URL, "sub": subject, "aud": []string{audience}, "iat": now, "nbf": now - 60, "exp": now + 3600})
	digest := sha256.Sum256([]byte(text))
	r, s, err := ecdsa.Sign(rand.Reader, o.key, digest[:])
	if err != nil {
		t.Fatal(err)
	}
	signature := append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...)
	return text + "." + base64.RawURLEncoding.EncodeToString(signature)
}

// mayIssue is the policy that cert-manager's issuer and SPIRE ask for.
func mayIssue(ca string) string {
	return `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Resource":"` + ca + `",
		"Action":["acm-pca:DescribeCertificateAuthority","acm-pca:GetCertificate","acm-pca:IssueCertificate"]}]}`
}

// role makes a role with an inline policy, and returns its ARN.
func (i *instance) role(t *testing.T, name, trust, policy string) string {
	t.Helper()
	c := iam.NewFromConfig(i.aws)
	out := must(c.CreateRole(t.Context(), &iam.CreateRoleInput{RoleName: &name, AssumeRolePolicyDocument: &trust}))(t)
	must(c.PutRolePolicy(t.Context(), &iam.PutRolePolicyInput{RoleName: &name, PolicyName: aws.String("work"), PolicyDocument: &policy}))(t)
	return *out.Role.Arn
}

const trustAccount = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"123456789012"},"Action":"sts:AssumeRole"}]}`

// federate enters an issuer and makes a role for one of its subjects.
func (i *instance) federate(t *testing.T, o *oidcIssuer, name, subject, ca string) string {
	t.Helper()
	c := iam.NewFromConfig(i.aws)
	provider := must(c.CreateOpenIDConnectProvider(t.Context(), &iam.CreateOpenIDConnectProviderInput{
		Url: &o.URL, ClientIDList: []string{"sts.amazonaws.com"}, ThumbprintList: []string{o.thumbprint},
	}))(t)
	host := strings.TrimPrefix(o.URL, "https://")
	return i.role(t, name, `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Federated":"`+*provider.OpenIDConnectProviderArn+`"},
		"Action":"sts:AssumeRoleWithWebIdentity","Condition":{"StringEquals":{"`+host+`:aud":"sts.amazonaws.com"},"StringLike":{"`+host+`:sub":"`+subject+`"}}}]}`, mayIssue(ca))
}

// account makes another account of the organization, and is the server as that
// account's administrator sees it.
func (i *instance) account(t *testing.T, name string) (id string, there *instance) {
	t.Helper()
	made := must(organizations.NewFromConfig(i.aws).CreateAccount(t.Context(), &organizations.CreateAccountInput{AccountName: &name, Email: aws.String(name + "@example.com")}))(t)
	id = *made.CreateAccountStatus.AccountId
	cfg := i.aws.Copy()
	cfg.Credentials = aws.NewCredentialsCache(stscreds.NewAssumeRoleProvider(i.sts, "arn:aws:iam::"+id+":role/"+accountRole))
	return id, &instance{endpoints: i.endpoints, aws: cfg, pca: acmpca.NewFromConfig(cfg), sts: sts.NewFromConfig(cfg)}
}

// checkSTS: the three operations of STS that clients call, in the Query
// protocol, where the API is.
func (i *instance) checkSTS(t *testing.T) {
	ctx := t.Context()
	a := i.root(t)
	url := i.API
	client := sts.NewFromConfig(i.aws, func(o *sts.Options) { o.BaseEndpoint = &url })
	me := must(client.GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{}))(t)
	if *me.Account != "123456789012" || !strings.HasPrefix(*me.Arn, "arn:aws:iam::123456789012:user/") || *me.UserId == "" {
		t.Errorf("the caller is %s %s %s", *me.Account, *me.Arn, *me.UserId)
	}
	check := func(name string, provider aws.CredentialsProvider, who string) {
		t.Helper()
		cfg := i.aws.Copy()
		cfg.Credentials = aws.NewCredentialsCache(provider)
		pca := acmpca.NewFromConfig(cfg)
		if _, err := pca.DescribeCertificateAuthority(ctx, &acmpca.DescribeCertificateAuthorityInput{CertificateAuthorityArn: &a.arn}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		_, err := pca.ListCertificateAuthorities(ctx, &acmpca.ListCertificateAuthoritiesInput{})
		wantMessage(t, err, "AccessDeniedException", "User: "+who+" is not authorized to perform: acm-pca:ListCertificateAuthorities")
		if id := must(sts.NewFromConfig(cfg).GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{}))(t); *id.Arn != who {
			t.Errorf("%s: the caller is %s", name, *id.Arn)
		}
	}
	role := i.role(t, "checked", trustAccount, mayIssue(a.arn))
	check("AssumeRole", stscreds.NewAssumeRoleProvider(client, role, func(o *stscreds.AssumeRoleOptions) { o.RoleSessionName = "row-10" }),
		"arn:aws:sts::123456789012:assumed-role/checked/row-10")
	o := startIssuer(t)
	role = i.federate(t, o, "federated", "repo:example/app:*", a.arn)
	token := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(token, []byte(o.token(t, "repo:example/app:ref:refs/heads/main", "sts.amazonaws.com")), 0o600); err != nil {
		t.Fatal(err)
	}
	check("AssumeRoleWithWebIdentity", stscreds.NewWebIdentityRoleProvider(client, role, stscreds.IdentityTokenFile(token), func(o *stscreds.WebIdentityRoleOptions) { o.RoleSessionName = "row-10" }),
		"arn:aws:sts::123456789012:assumed-role/federated/row-10")
	for name, text := range map[string]string{
		"another repository": o.token(t, "repo:another/app:ref:refs/heads/main", "sts.amazonaws.com"),
		"another audience":   o.token(t, "repo:example/app:ref:refs/heads/main", "somebody else"),
		"another issuer":     startIssuer(t).token(t, "repo:example/app:ref:refs/heads/main", "sts.amazonaws.com"),
	} {
		_, err := client.AssumeRoleWithWebIdentity(ctx, &sts.AssumeRoleWithWebIdentityInput{RoleArn: &role, RoleSessionName: aws.String("row-10"), WebIdentityToken: &text})
		code := "InvalidIdentityToken"
		if name == "another repository" {
			code = "AccessDenied"
		}
		if err == nil {
			t.Errorf("%s: accepted", name)
		}
		wantCode(t, err, code)
	}
}

// TestRolesForPython lets boto3 find its credentials: a profile with role_arn,
// and the two variables that Kubernetes sets for a service account (IRSA).
func TestRolesForPython(t *testing.T) {
	t.Parallel()
	i := start(t, nil)
	root := i.root(t)
	o := startIssuer(t)
	assumed := i.role(t, "issuing", trustAccount, mayIssue(root.arn))
	federated := i.federate(t, o, "irsa", "system:serviceaccount:web:issuer", root.arn)
	dir := t.TempDir()
	token, config := filepath.Join(dir, "token"), filepath.Join(dir, "config")
	profile := "[profile issuing]\nrole_arn = " + assumed + "\nsource_profile = default\nrole_session_name = boto3\n"
	for path, text := range map[string]string{token: o.token(t, "system:serviceaccount:web:issuer", "sts.amazonaws.com"), config: profile} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	i.program(t, "python3", []string{"roles.py", root.arn}, []string{
		"AWS_CONFIG_FILE=" + config, "AWS_REGION=us-east-1", "AWS_DEFAULT_REGION=us-east-1",
		"AWS_ENDPOINT_URL_ACM_PCA=" + i.API, "AWS_ENDPOINT_URL_STS=" + i.API,
		"TEST_ROLE_ARN=" + federated, "TEST_TOKEN_FILE=" + token,
	})
}
