package console

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"maps"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"chirograph.dev/internal/identity"
)

// provider is an OIDC provider at which everybody is the person that it says:
// real keys, real signatures, the code flow with PKCE over HTTP.
type provider struct {
	*httptest.Server
	t   *testing.T
	key *rsa.PrivateKey
	mu  sync.Mutex
	// codes are what was asked for with each, change what the next token says otherwise.
	codes  map[string]url.Values
	change map[string]any
	refuse string
}

func newProvider(t *testing.T) *provider {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	p := &provider{t: t, key: key, codes: map[string]url.Values{}}
	mux := http.NewServeMux()
	answer := func(w http.ResponseWriter, v any) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(v)
	}
	text := base64.RawURLEncoding.EncodeToString
	mux.HandleFunc("/.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, map[string]any{
			"issuer": p.URL, "authorization_endpoint": p.URL + "/authorize", "token_endpoint": p.URL + "/token", "jwks_uri": p.URL + "/keys",
			"id_token_signing_alg_values_supported": []string{"RS256"},
		})
	})
	mux.HandleFunc("/keys", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, map[string]any{"keys": []any{map[string]string{"kty": "RSA", "kid": "1", "alg": "RS256", "use": "sig", "n": text(key.N.Bytes()), "e": text(big.NewInt(int64(key.E)).Bytes())}}})
	})
	mux.HandleFunc("/authorize", func(w http.ResponseWriter, r *http.Request) {
		p.mu.Lock()
		defer p.mu.Unlock()
		q := r.URL.Query()
		back := url.Values{"state": {q.Get("state")}}
		if p.refuse != "" {
			back.Set("error", p.refuse)
		} else {
			back.Set("code", rand.Text())
			p.codes[back.Get("code")] = q
		}
		http.Redirect(w, r, q.Get("redirect_uri")+"?"+back.Encode(), http.StatusFound)
	})
	mux.HandleFunc("/token", func(w http.ResponseWriter, r *http.Request) {
		p.mu.Lock()
		defer p.mu.Unlock()
		id, secret, _ := r.BasicAuth()
		asked := p.codes[r.FormValue("code")]
		delete(p.codes, r.FormValue("code"))
		sum := sha256.Sum256([]byte(r.FormValue("code_verifier")))
		if asked == nil || id != "console" || secret != "s3cret" || asked.Get("code_challenge_method") != "S256" || asked.Get("code_challenge") != text(sum[:]) || asked.Get("redirect_uri") != r.FormValue("redirect_uri") {
			w.WriteHeader(http.StatusBadRequest)
			answer(w, map[string]string{"error": "invalid_grant"})
			return
		}
		claims := map[string]any{
			"iss": p.URL, "sub": "0042", "aud": "console", "nonce": asked.Get("nonce"), "iat": time.Now().Unix(), "exp": time.Now().Add(time.Hour).Unix(),
			"email": "ana@example.com", "email_verified": true,
		}
		maps.Copy(claims, p.change)
		answer(w, map[string]any{"access_token": "x", "token_type": "Bearer", "id_token": p.sign(claims)})
	})
	p.Server = httptest.NewServer(mux)
	t.Cleanup(p.Close)
	return p
}

func (p *provider) sign(claims map[string]any) string {
	text := base64.RawURLEncoding.EncodeToString
	body, err := json.Marshal(claims)
	if err != nil {
		p.t.Error(err)
	}
	signed := text([]byte(`{"alg":"RS256","kid":"1","typ":"JWT"}`)) + "." + text(body)
	sum := sha256.Sum256([]byte(signed))
	signature, err := rsa.SignPKCS1v15(rand.Reader, p.key, crypto.SHA256, sum[:])
	if err != nil {
		p.t.Error(err)
	}
	return signed + "." + text(signature)
}

func (p *provider) set(refuse string, change map[string]any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.refuse, p.change = refuse, change
}

// follow sends a browser to a URL of anywhere and gives where it is sent on to.
func (b *browser) follow(to string) (next string, resp *http.Response) {
	b.h.t.Helper()
	r, err := http.NewRequestWithContext(b.h.t.Context(), "GET", to, nil)
	if err != nil {
		b.h.t.Fatal(err)
	}
	r.Header.Set("Sec-Fetch-Site", "cross-site")
	if resp, err = b.client.Do(r); err != nil {
		b.h.t.Fatal(err)
	}
	resp.Body.Close()
	return resp.Header.Get("Location"), resp
}

func TestOIDC(t *testing.T) {
	t.Parallel()
	issuer := newProvider(t)
	h := newHouse(t, func(h *house) {
		h.Start()
		h.cfg.OIDC = &OIDC{
			Name: "Example", Issuer: issuer.URL, ClientID: "console", ClientSecret: "s3cret", Scopes: []string{"email"}, PublicURL: h.URL,
			Roles:  []string{"arn:aws:iam::" + management + ":role/admins", "arn:aws:iam::" + management + ":role/auditors"},
			Assume: h.people.AssumeRoleWithWebIdentity,
		}
	})
	host := strings.TrimPrefix(issuer.URL, "http://")
	ctx := h.root(management)
	created, err := h.people.CreateOpenIDConnectProvider(ctx, &identity.CreateOpenIDConnectProviderInput{Url: issuer.URL, ClientIDList: []string{"console"}})
	if err != nil {
		t.Fatal(err)
	}
	for name, sub := range map[string]string{"admins": "0001", "auditors": "0042"} {
		trust := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Federated":"` + created.OpenIDConnectProviderArn + `"},"Action":"sts:AssumeRoleWithWebIdentity","Condition":{"StringEquals":{"` + host + `:aud":"console","` + host + `:sub":"` + sub + `"},"IpAddress":{"aws:SourceIp":"127.0.0.1/32"}}}]}`
		if _, err := h.people.CreateRole(ctx, &identity.CreateRoleInput{RoleName: name, AssumeRolePolicyDocument: trust}); err != nil {
			t.Fatal(err)
		}
		if _, err := h.people.PutRolePolicy(ctx, &identity.PutRolePolicyInput{RoleName: name, PolicyName: "p", PolicyDocument: policyOf("Allow", "acm-pca:List*")}); err != nil {
			t.Fatal(err)
		}
	}
	var settings Settings
	h.browser().get("settings").read(t, &settings)
	if settings.OIDC == nil || settings.OIDC.Name != "Example" {
		t.Errorf("%+v", settings)
	}
	start := h.URL + Home + "api/oidc/start?return="
	// through goes the whole way and gives where it ends.
	through := func(b *browser, back string) (string, *http.Response) {
		t.Helper()
		to, resp := b.follow(start + url.QueryEscape(back))
		cookie := resp.Header.Get("Set-Cookie")
		if resp.StatusCode != 302 || !strings.HasPrefix(cookie, oidcCookie+"=") || !strings.HasSuffix(cookie, "; Path=/console/api/oidc; Max-Age=600; HttpOnly; SameSite=Lax") || !strings.HasPrefix(to, issuer.URL+"/authorize?") {
			t.Fatalf("%d %s, %v", resp.StatusCode, to, resp.Header)
		}
		to, _ = b.follow(to)
		if !strings.HasPrefix(to, h.URL+CallbackPath+"?") {
			t.Fatal(to)
		}
		return b.follow(to)
	}
	b := h.browser()
	to, resp := through(b, "/console/authorities?x=1")
	cookies := strings.Join(resp.Header.Values("Set-Cookie"), "\n")
	if resp.StatusCode != 302 || to != "/console/authorities?x=1" || !strings.Contains(cookies, cookieName+"=") || !strings.Contains(cookies, oidcCookie+"=; Path=/console/api/oidc; Max-Age=0") || resp.Header.Get("Cache-Control") != "no-store" {
		t.Fatalf("%d %s, %v\n%s", resp.StatusCode, to, resp.Header, h.logged())
	}
	var s Session
	b.get("session").read(t, &s)
	if s.ARN != "arn:aws:sts::"+management+":assumed-role/auditors/ana@example.com" || time.Until(s.Expires) > time.Hour {
		t.Errorf("%+v", s)
	}
	b.csrf = s.CSRF
	if a := b.get("overview"); a.status != 200 {
		t.Error(a.body)
	}
	want(t, "what the role may not", b.post("call/GetCertificate", `{"CertificateAuthorityArn":"`+absent+`","CertificateArn":"`+absent+`/certificate/`+strings.Repeat("a", 32)+`"}`), 403, "AccessDeniedException")
	if !strings.Contains(h.logged(), "operation=console:SignInWithOIDC code=OK") {
		t.Error(h.logged())
	}

	// Whom the issuer knows and no role trusts, whom it refuses, and tokens
	// that are not for this browser, server or attempt.
	for what, row := range map[string]struct {
		refuse, reason string
		change         map[string]any
	}{
		"a stranger":      {"", failedDenied, map[string]any{"sub": "0099"}},
		"refused":         {"access_denied", failedRefused, nil},
		"another attempt": {"", failedExpired, map[string]any{"nonce": "x"}},
		"another client":  {"", failedIssuer, map[string]any{"aud": "other"}},
		"old":             {"", failedIssuer, map[string]any{"exp": time.Now().Add(-time.Hour).Unix()}},
		"another issuer":  {"", failedIssuer, map[string]any{"iss": "https://evil.example"}},
	} {
		issuer.set(row.refuse, row.change)
		b := h.browser()
		if to, _ := through(b, "/console/"); to != Home+"sign-in?error="+row.reason {
			t.Errorf("%s: sent to %s", what, to)
		}
		want(t, what, b.get("session"), 401, "SessionExpired")
	}
	issuer.set("", map[string]any{"sub": "0099"})
	for range addressTries {
		through(h.browser(), "")
	}
	if to, _ := through(h.browser(), ""); to != Home+"sign-in?error="+failedBusy {
		t.Errorf("sent to %s", to)
	}
	issuer.set("", nil)

	// An answer that this browser did not ask for: somebody else's sign-in.
	attacker, victim := h.browser(), h.browser()
	to, _ = attacker.follow(start)
	to, _ = attacker.follow(to)
	if to, _ := victim.follow(to); to != Home+"sign-in?error="+failedExpired {
		t.Errorf("sent to %s", to)
	}
	victim.follow(start)
	if to, _ := victim.follow(to); to != Home+"sign-in?error="+failedExpired {
		t.Errorf("sent to %s", to)
	}
	if to, _ := victim.follow(h.URL + CallbackPath + "?error=x&state="); to != Home+"sign-in?error="+failedExpired {
		t.Errorf("sent to %s", to)
	}
	want(t, "the victim", victim.get("session"), 401, "SessionExpired")

	issuer.Close()
	h.pass(2 * issuerLife) // what it said of itself is old by then
	if to, _ := h.browser().follow(start); to != Home+"sign-in?error="+failedIssuer {
		t.Errorf("sent to %s", to)
	}
}

// TestPage: whoever makes the link, it leads to a page of this console.
func TestPage(t *testing.T) {
	t.Parallel()
	for _, good := range []string{"/console/", "/console/authorities/1/2?tab=reports#x", "/console/authorities?q=https%3A%2F%2Fx"} {
		if got := page(good); got != good {
			t.Errorf("%s leads to %s", good, got)
		}
	}
	for _, bad := range []string{
		"", "/", "/console", "/other", "//evil.example/console/", "https://evil.example/console/", "/\\evil.example", "/console/../x", "/console/%2e%2e/x",
		"/console/api/session", "/console/\r\nX: y", "javascript:alert(1)", "/console/\\evil", "/console/ü", " /console/", "evil.example/console/",
	} {
		if got := page(bad); got != Home {
			t.Errorf("%q leads to %s", bad, got)
		}
	}
}

func TestOIDCConfig(t *testing.T) {
	t.Parallel()
	if err := (&OIDC{Issuer: "https://id.example.com", ClientID: "x"}).check(); err == nil {
		t.Error("half a provider was taken")
	}
	for want, o := range map[string]*OIDC{"Us": {Name: "Us", Issuer: "https://id.example.com"}, "id.example.com": {Issuer: "https://id.example.com/realms/x"}} {
		if got := o.name(); got != want {
			t.Errorf("%+v is called %s", o, got)
		}
	}
}

// TestSlowIssuer: an issuer that takes long to fail is asked once for all who wait.
func TestSlowIssuer(t *testing.T) {
	t.Parallel()
	var asked atomic.Int64
	now := func() time.Time { return time.Unix(1_800_000_000, 0).Add(time.Duration(asked.Load()) * issuerTimeout) }
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		w.WriteHeader(http.StatusBadGateway)
	}))
	t.Cleanup(s.Close)
	i := newIssuer()
	for range 3 {
		if _, _, err := i.open(t.Context(), &OIDC{Issuer: s.URL}, now); err == nil {
			t.Error("it answered")
		}
	}
	if n := asked.Load(); n != 1 {
		t.Errorf("it was asked %d times", n)
	}
}
