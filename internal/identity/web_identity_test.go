package identity

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"log"
	"maps"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// issuerServer is an OIDC issuer: real keys, real signatures, real HTTP.
type issuerServer struct {
	*httptest.Server
	path  string
	rsa   *rsa.PrivateKey
	ec    *ecdsa.PrivateKey
	asked atomic.Int64 // for keys
	down  atomic.Bool
	large atomic.Bool
	keys  string // jwks_uri; empty: its own
}

func encode(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

func newIssuer(t *testing.T, path string, secure bool) *issuerServer {
	t.Helper()
	i := &issuerServer{path: path}
	i.rsa = must(rsa.GenerateKey(rand.Reader, 2048))(t)
	i.ec = must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))(t)
	mux := http.NewServeMux()
	mux.HandleFunc(path+"/.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		if i.down.Load() {
			http.Error(w, "down", http.StatusServiceUnavailable)
			return
		}
		keys := i.keys
		if keys == "" {
			keys = i.url() + "/keys"
		}
		i.write(w, map[string]any{"issuer": i.url(), "jwks_uri": keys, "id_token_signing_alg_values_supported": []string{"RS256", "ES256"}})
	})
	mux.HandleFunc(path+"/keys", func(w http.ResponseWriter, _ *http.Request) {
		i.asked.Add(1)
		if i.large.Load() {
			_, _ = w.Write(make([]byte, issuerBytes+1))
			return
		}
		point := must(i.ec.PublicKey.Bytes())(t)
		i.write(w, map[string]any{"keys": []any{
			map[string]string{"kty": "RSA", "kid": "rsa", "alg": "RS256", "use": "sig", "n": encode(i.rsa.N.Bytes()), "e": encode(big.NewInt(int64(i.rsa.E)).Bytes())},
			map[string]string{"kty": "EC", "kid": "ec", "alg": "ES256", "use": "sig", "crv": "P-256", "x": encode(point[1:33]), "y": encode(point[33:])},
		}})
	})
	i.Server = httptest.NewUnstartedServer(mux)
	i.Config.ErrorLog = log.New(io.Discard, "", 0) // handshakes fail on purpose
	if secure {
		i.StartTLS()
	} else {
		i.Start()
	}
	t.Cleanup(i.Close)
	return i
}

func (i *issuerServer) write(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v)
}

func (i *issuerServer) url() string { return i.URL + i.path }

// host is the issuer in condition keys and ARNs.
func (i *issuerServer) host() string { return strings.SplitN(i.url(), "://", 2)[1] }

// token signs claims with the key of a kid; what is not given is filled.
func (i *issuerServer) token(t *testing.T, kid string, claims map[string]any) string {
	t.Helper()
	all := map[string]any{"iss": i.url(), "sub": "system:serviceaccount:apps:web", "aud": "sts", "iat": time.Now().Unix(), "exp": time.Now().Add(time.Hour).Unix()}
	maps.Copy(all, claims)
	maps.DeleteFunc(all, func(_ string, v any) bool { return v == nil })
	algorithm := map[string]string{"rsa": "RS256", "ec": "ES256", "none": "none", "other": "RS256"}[kid]
	head := must(json.Marshal(map[string]string{"alg": algorithm, "kid": kid, "typ": "JWT"}))(t)
	body := must(json.Marshal(all))(t)
	text := encode(head) + "." + encode(body)
	sum := sha256.Sum256([]byte(text))
	switch kid {
	case "rsa", "other":
		return text + "." + encode(must(rsa.SignPKCS1v15(rand.Reader, i.rsa, crypto.SHA256, sum[:]))(t))
	case "ec":
		r, s, err := ecdsa.Sign(rand.Reader, i.ec, sum[:])
		if err != nil {
			t.Fatal(err)
		}
		return text + "." + encode(append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...))
	}
	return text + "."
}

func (h *house) trustIssuer(t *testing.T, i *issuerServer, thumbprints ...string) string {
	t.Helper()
	return must(h.CreateOpenIDConnectProvider(h.root(t, management), &CreateOpenIDConnectProviderInput{Url: i.url(), ClientIDList: []string{"other", "sts"}, ThumbprintList: thumbprints}))(t).OpenIDConnectProviderArn
}

func TestWebIdentity(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	issuer, another := newIssuer(t, "/realms/a", false), newIssuer(t, "", false)
	provider := h.trustIssuer(t, issuer)
	if provider != "arn:aws:iam::"+management+":oidc-provider/"+issuer.host() {
		t.Fatal(provider)
	}
	trust := func(condition string) string {
		return trustingTo("sts:AssumeRoleWithWebIdentity sts:TagSession", `{"Federated":"`+provider+`"}`, condition)
	}
	role := h.newRole(t, management, "web", trust(`{"StringEquals":{"`+issuer.host()+`:aud":"sts"},"StringLike":{"`+issuer.host()+`:sub":"system:serviceaccount:apps:*"}}`), aws+"AWSPrivateCAUser")
	ask := func(token string, change ...func(*AssumeRoleWithWebIdentityInput)) (*AssumeRoleWithWebIdentityOutput, error) {
		in := &AssumeRoleWithWebIdentityInput{RoleArn: role, RoleSessionName: "pod", WebIdentityToken: token}
		for _, f := range change {
			f(in)
		}
		return h.AssumeRoleWithWebIdentity(t.Context(), in) // nobody signs it
	}
	for _, kid := range []string{"rsa", "ec"} {
		out, err := ask(issuer.token(t, kid, nil))
		if err != nil {
			t.Fatal(err)
		}
		if out.SubjectFromWebIdentityToken != "system:serviceaccount:apps:web" || out.Audience != "sts" || out.Provider != provider {
			t.Errorf("%+v", out)
		}
		p := h.who(t, out.Credentials.AccessKeyId, out.Credentials.SessionToken)
		if p.ARN != "arn:aws:sts::"+management+":assumed-role/web/pod" || p.Role != role || p.Federated != provider || !can(p, "acm-pca:IssueCertificate", caARN) || can(p, "s3:GetObject", "*") {
			t.Errorf("%+v", p)
		}
	}
	if n := issuer.asked.Load(); n != 1 {
		t.Errorf("the keys were asked for %d times", n)
	}
	expired := map[string]any{"iat": time.Now().Add(-2 * time.Hour).Unix(), "exp": time.Now().Add(-time.Hour).Unix()}
	payload := strings.Split(issuer.token(t, "rsa", map[string]any{"sub": "system:serviceaccount:apps:admin"}), ".")[1]
	good := strings.Split(issuer.token(t, "rsa", nil), ".")
	for what, row := range map[string]struct{ token, code string }{
		"expired":          {issuer.token(t, "rsa", expired), "ExpiredTokenException"},
		"without an end":   {issuer.token(t, "rsa", map[string]any{"exp": nil}), "ExpiredTokenException"},
		"another audience": {issuer.token(t, "rsa", map[string]any{"aud": "elsewhere"}), "InvalidIdentityToken"},
		"no subject":       {issuer.token(t, "rsa", map[string]any{"sub": ""}), "InvalidIdentityToken"},
		"another subject":  {issuer.token(t, "rsa", map[string]any{"sub": "system:serviceaccount:kube-system:x"}), "AccessDenied"},
		"another client":   {issuer.token(t, "rsa", map[string]any{"aud": "other"}), "AccessDenied"}, // a client of the provider, not of the role
		"unknown issuer":   {another.token(t, "rsa", nil), "InvalidIdentityToken"},
		"foreign key":      {another.token(t, "rsa", map[string]any{"iss": issuer.url()}), "InvalidIdentityToken"},
		"unknown key":      {issuer.token(t, "other", nil), "InvalidIdentityToken"},
		"no signature":     {issuer.token(t, "none", nil), "InvalidIdentityToken"},
		"tampered":         {good[0] + "." + payload + "." + good[2], "InvalidIdentityToken"},
		"no JWT":           {"token", "InvalidIdentityToken"},
		"no issuer":        {issuer.token(t, "rsa", map[string]any{"iss": ""}), "InvalidIdentityToken"},
		"issuer elsewhere": {issuer.token(t, "rsa", map[string]any{"iss": "http://192.0.2.1/realms/a"}), "InvalidIdentityToken"},
		"not yet":          {issuer.token(t, "rsa", map[string]any{"nbf": time.Now().Add(time.Hour).Unix()}), "InvalidIdentityToken"},
	} {
		_, err := ask(row.token)
		if wantCode(t, err, row.code); t.Failed() {
			t.Fatal(what)
		}
	}
	// Strangers with made-up keys do not make the server ask each time.
	if n := issuer.asked.Load(); n > 2 {
		t.Errorf("the keys were asked for %d times", n)
	}
	_, err := ask(issuer.token(t, "rsa", nil), func(in *AssumeRoleWithWebIdentityInput) { in.RoleArn += "x" })
	wantCode(t, err, "AccessDenied")
	_, err = ask(issuer.token(t, "rsa", nil), func(in *AssumeRoleWithWebIdentityInput) { in.DurationSeconds = 7201 })
	wantCode(t, err, "ValidationError")
	_, err = ask(issuer.token(t, "rsa", nil), func(in *AssumeRoleWithWebIdentityInput) { in.ProviderId = "www.amazon.com" })
	wantCode(t, err, "ValidationError")
	// A role of another account does not know the provider.
	abroad := h.newRole(t, stranger, "web", trust(""))
	_, err = ask(issuer.token(t, "rsa", nil), func(in *AssumeRoleWithWebIdentityInput) { in.RoleArn = abroad })
	wantCode(t, err, "InvalidIdentityToken")

	// Tags and the source identity of a token, which the trust must allow.
	tags := map[string]any{tagsClaim: map[string]any{"principal_tags": map[string][]string{"team": {"a"}}, "transitive_tag_keys": []string{"team"}}}
	out, err := ask(issuer.token(t, "ec", tags))
	if err != nil {
		t.Fatal(err)
	}
	if p := h.who(t, out.Credentials.AccessKeyId, out.Credentials.SessionToken); p.Context["aws:PrincipalTag/team"][0] != "a" || p.Transitive["team"] != "a" {
		t.Errorf("%+v", p)
	}
	_, err = ask(issuer.token(t, "ec", map[string]any{sourceClaim: "ann"}))
	wantCode(t, err, "AccessDenied")

	// A client that is taken away is refused at once; so is a provider.
	ctx := h.root(t, management)
	must(h.RemoveClientIDFromOpenIDConnectProvider(ctx, &RemoveClientIDFromOpenIDConnectProviderInput{OpenIDConnectProviderArn: provider, ClientID: "sts"}))(t)
	_, err = ask(issuer.token(t, "rsa", nil))
	wantCode(t, err, "InvalidIdentityToken")
	must(h.AddClientIDToOpenIDConnectProvider(ctx, &AddClientIDToOpenIDConnectProviderInput{OpenIDConnectProviderArn: provider, ClientID: "sts"}))(t)
	must(ask(issuer.token(t, "rsa", nil)))(t)
	must(h.DeleteOpenIDConnectProvider(ctx, &DeleteOpenIDConnectProviderInput{OpenIDConnectProviderArn: provider}))(t)
	_, err = ask(issuer.token(t, "rsa", nil))
	wantCode(t, err, "InvalidIdentityToken")
	h.who(t, out.Credentials.AccessKeyId, out.Credentials.SessionToken) // what was given lasts
}

// TestIssuersThatFail: an issuer that cannot be asked is told from a bad token.
func TestIssuersThatFail(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	ask := func(i *issuerServer, provider string) error {
		role := "arn:aws:iam::" + management + ":role/r" + hex.EncodeToString([]byte(i.host()))
		if _, err := h.GetRole(h.root(t, management), &GetRoleInput{RoleName: role[strings.LastIndexByte(role, '/')+1:]}); err != nil {
			role = h.newRole(t, management, role[strings.LastIndexByte(role, '/')+1:], trustingTo("sts:AssumeRoleWithWebIdentity", `{"Federated":"`+provider+`"}`, ""))
		}
		_, err := h.AssumeRoleWithWebIdentity(t.Context(), &AssumeRoleWithWebIdentityInput{RoleArn: role, RoleSessionName: "pod", WebIdentityToken: i.token(t, "rsa", nil)})
		return err
	}
	down := newIssuer(t, "", false)
	down.down.Store(true)
	provider := h.trustIssuer(t, down)
	wantCode(t, ask(down, provider), "IDPCommunicationError")
	down.down.Store(false)
	wantCode(t, ask(down, provider), "IDPCommunicationError") // it is not asked again at once
	h.pass(issuerPause)
	if err := ask(down, provider); err != nil {
		t.Errorf("after it came back: %v", err)
	}
	large := newIssuer(t, "", false)
	large.large.Store(true)
	wantCode(t, ask(large, h.trustIssuer(t, large)), "IDPCommunicationError")
	elsewhere := newIssuer(t, "", false)
	elsewhere.keys = "http://192.0.2.1/keys"
	wantCode(t, ask(elsewhere, h.trustIssuer(t, elsewhere)), "IDPCommunicationError")

	// TLS: a certificate that nothing here trusts, and its thumbprint.
	secure := newIssuer(t, "/x", true)
	provider = h.trustIssuer(t, secure)
	wantCode(t, ask(secure, provider), "IDPCommunicationError")
	ctx := h.root(t, management)
	must(h.UpdateOpenIDConnectProviderThumbprint(ctx, &UpdateOpenIDConnectProviderThumbprintInput{OpenIDConnectProviderArn: provider, ThumbprintList: []string{strings.Repeat("0", 40)}}))(t)
	wantCode(t, ask(secure, provider), "IDPCommunicationError")
	sum := sha1.Sum(secure.Certificate().Raw)
	must(h.UpdateOpenIDConnectProviderThumbprint(ctx, &UpdateOpenIDConnectProviderThumbprintInput{OpenIDConnectProviderArn: provider, ThumbprintList: []string{strings.ToUpper(hex.EncodeToString(sum[:]))}}))(t)
	if err := ask(secure, provider); err != nil {
		t.Errorf("with its thumbprint: %v", err)
	}
}

func TestProviders(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	ctx := h.root(t, management)
	for _, url := range []string{"issuer.example.com", "http://issuer.example.com", "https://user@issuer.example.com", "https://issuer.example.com?x=y", "https://", "ftp://127.0.0.1"} {
		_, err := h.CreateOpenIDConnectProvider(ctx, &CreateOpenIDConnectProviderInput{Url: url})
		wantCode(t, err, "InvalidInput")
	}
	_, err := h.CreateOpenIDConnectProvider(ctx, &CreateOpenIDConnectProviderInput{Url: "https://issuer.example.com", ThumbprintList: []string{strings.Repeat("x", 40)}})
	wantCode(t, err, "InvalidInput")
	arn := must(h.CreateOpenIDConnectProvider(ctx, &CreateOpenIDConnectProviderInput{Url: "https://issuer.example.com/a", ClientIDList: []string{"c"}, Tags: []Tag{{"k", "v"}}}))(t).OpenIDConnectProviderArn
	_, err = h.CreateOpenIDConnectProvider(ctx, &CreateOpenIDConnectProviderInput{Url: "https://issuer.example.com/a"})
	wantCode(t, err, "EntityAlreadyExists")
	got := must(h.GetOpenIDConnectProvider(ctx, &GetOpenIDConnectProviderInput{OpenIDConnectProviderArn: arn}))(t)
	if got.Url != "issuer.example.com/a" || len(got.ClientIDList) != 1 || len(got.Tags) != 1 {
		t.Errorf("%+v", got)
	}
	for _, f := range []func(context.Context) error{
		func(ctx context.Context) error {
			_, err := h.GetOpenIDConnectProvider(ctx, &GetOpenIDConnectProviderInput{OpenIDConnectProviderArn: arn})
			return err
		},
		func(ctx context.Context) error {
			_, err := h.DeleteOpenIDConnectProvider(ctx, &DeleteOpenIDConnectProviderInput{OpenIDConnectProviderArn: arn})
			return err
		},
	} {
		wantCode(t, f(h.root(t, stranger)), "NoSuchEntity")
	}
	if list := must(h.ListOpenIDConnectProviders(ctx, &ListOpenIDConnectProvidersInput{}))(t); len(list.OpenIDConnectProviderList) != 1 || list.OpenIDConnectProviderList[0].Arn != arn {
		t.Errorf("%+v", list)
	}
}

// TestStrangersLearnNothing: without a token of the account's own provider one
// does not learn which roles there are; and what stands at the addresses that
// a provider names does not come back with the error.
func TestStrangersLearnNothing(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	issuer := newIssuer(t, "", false)
	provider := h.trustIssuer(t, issuer)
	role := h.newRole(t, management, "web", trustingTo("sts:AssumeRoleWithWebIdentity", `{"Federated":"`+provider+`"}`, ""))
	ask := func(role, token string) error {
		_, err := h.AssumeRoleWithWebIdentity(t.Context(), &AssumeRoleWithWebIdentityInput{RoleArn: role, RoleSessionName: "pod", WebIdentityToken: token})
		return err
	}
	for _, token := range []string{"token", issuer.token(t, "none", nil), issuer.token(t, "rsa", map[string]any{"exp": 1}), newIssuer(t, "", false).token(t, "rsa", nil)} {
		if there, not := ask(role, token), ask(role+"-not", token); there == nil || not == nil || there.Error() != not.Error() {
			t.Errorf("%v, and without the role %v", there, not)
		}
	}

	const secret = "what-a-service-of-this-machine-says"
	inside := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, secret) }))
	t.Cleanup(inside.Close)
	curious := newIssuer(t, "/curious", false)
	curious.keys = inside.URL
	h.trustIssuer(t, curious)
	h.trustIssuer(t, &issuerServer{Server: inside})
	for _, iss := range []string{curious.url(), inside.URL} {
		err := ask(role, curious.token(t, "rsa", map[string]any{"iss": iss}))
		if e, ok := errors.AsType[*Error](err); !ok || strings.Contains(e.Message, secret) || strings.Contains(e.Message, "127.0.0.1") {
			t.Errorf("%v", err)
		}
		if !strings.Contains(err.Error(), secret) && !strings.Contains(err.Error(), "decode") {
			t.Errorf("the log does not say why: %v", err)
		}
	}
	// An issuer elsewhere cannot name keys on this machine.
	secure := newIssuer(t, "/secure", true)
	secure.keys = inside.URL
	sum := sha1.Sum(secure.Certificate().Raw)
	h.trustIssuer(t, secure, hex.EncodeToString(sum[:]))
	wantCode(t, ask(role, secure.token(t, "rsa", nil)), "IDPCommunicationError")
}

// TestIssuerIsAskedOnce: strangers who all come at once, go away before the
// answer, or write the issuer with a slash, neither multiply the questions nor
// keep others from the answer.
func TestIssuerIsAskedOnce(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	issuer := newIssuer(t, "", false)
	var asked atomic.Int64
	arrived, release := make(chan struct{}, 100), make(chan struct{})
	next := issuer.Config.Handler
	issuer.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "openid-configuration") {
			asked.Add(1)
			arrived <- struct{}{}
			<-release
		}
		next.ServeHTTP(w, r)
	})
	role := h.newRole(t, management, "web", trustingTo("sts:AssumeRoleWithWebIdentity", `{"Federated":"`+h.trustIssuer(t, issuer)+`"}`, ""))
	in := &AssumeRoleWithWebIdentityInput{RoleArn: role, RoleSessionName: "pod", WebIdentityToken: issuer.token(t, "rsa", nil)}
	impatient, leave := context.WithCancel(t.Context())
	left := make(chan error, 1)
	go func() {
		_, err := h.AssumeRoleWithWebIdentity(impatient, in)
		left <- err
	}()
	<-arrived
	leave()
	if err := <-left; err == nil {
		t.Error("an answer before the issuer's")
	}
	answers := make(chan error, 10)
	for range cap(answers) {
		go func() {
			_, err := h.AssumeRoleWithWebIdentity(t.Context(), in)
			answers <- err
		}()
	}
	close(release)
	for range cap(answers) {
		if err := <-answers; err != nil {
			t.Error(err)
		}
	}
	if n := asked.Load(); n != 1 {
		t.Errorf("the issuer was asked %d times", n)
	}
	// With a slash it is another issuer, which is asked once; the first stays known.
	slash := &AssumeRoleWithWebIdentityInput{RoleArn: role, RoleSessionName: "pod", WebIdentityToken: issuer.token(t, "rsa", map[string]any{"iss": issuer.url() + "/"})}
	for range 3 {
		if _, err := h.AssumeRoleWithWebIdentity(t.Context(), slash); err == nil {
			t.Error("an issuer that it is not")
		}
		if _, err := h.AssumeRoleWithWebIdentity(t.Context(), in); err != nil {
			t.Error(err)
		}
	}
	if n := asked.Load(); n != 2 {
		t.Errorf("the issuer was asked %d times", n)
	}
}
