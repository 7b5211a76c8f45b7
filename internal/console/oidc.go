package console

import (
	"cmp"
	"context"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"chirograph.dev/internal/awsjson"
	"chirograph.dev/internal/identity"
)

// OIDC is how people sign in with an OIDC provider, one that accounts here have
// too: which of its people get which role is what the roles' trust policies say.
type OIDC struct {
	Name   string // shown to people; empty: the issuer's host
	Issuer string // URL
	// ClientID and ClientSecret are this server's at the issuer; a public
	// client has no secret. Scopes are asked for besides openid.
	ClientID, ClientSecret string
	Scopes                 []string
	// Roles are tried in this order; the first that trusts the token is what
	// the person gets.
	Roles []string
	// PublicURL is this server's, which the issuer sends browsers back to, at
	// CallbackPath below it.
	PublicURL string
	// Assume gives the session of a role to who holds a token.
	Assume func(ctx context.Context, in *identity.AssumeRoleWithWebIdentityInput) (*identity.AssumeRoleWithWebIdentityOutput, error)
}

// CallbackPath is where an issuer sends browsers back to.
const CallbackPath = api + "oidc/callback"

const (
	oidcCookie = "chirograph-oidc"
	oidcPath   = api + "oidc"
	// oidcLife is how long somebody may take to sign in at the issuer,
	// issuerTimeout how long the issuer may take to answer, with issuerBytes at
	// the most, and issuerLife how long what it says of itself holds.
	oidcLife      = 10 * time.Minute
	issuerTimeout = 10 * time.Second
	issuerBytes   = 1 << 20
	// issuerPause is how long one that could not be asked is left alone.
	issuerLife  = time.Hour
	issuerPause = 5 * time.Second
)

// attempt is what the browser keeps while its person is at the issuer.
type attempt struct {
	State    string `json:"s"`
	Nonce    string `json:"n"`
	Verifier string `json:"v"` // PKCE
	Return   string `json:"r"` // page to go to then
}

// issuer is what the OIDC provider says of itself, asked for when needed.
type issuer struct {
	client *http.Client

	mu       sync.Mutex
	provider *oidc.Provider
	err      error // why it could not be asked
	until    time.Time
}

func newIssuer() *issuer {
	return &issuer{client: &http.Client{
		Timeout: issuerTimeout, Transport: boundedTransport{http.DefaultTransport},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// boundedTransport bounds answers.
type boundedTransport struct{ http.RoundTripper }

// RoundTrip implements http.RoundTripper.
func (t boundedTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := t.RoundTripper.RoundTrip(r)
	if err == nil {
		resp.Body = struct {
			io.Reader
			io.Closer
		}{io.LimitReader(resp.Body, issuerBytes), resp.Body}
	}
	return resp, err
}

// open gives the provider and this server as its client.
func (i *issuer) open(ctx context.Context, cfg *OIDC, now func() time.Time) (*oidc.Provider, *oauth2.Config, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if !now().Before(i.until) {
		// The provider asks for keys later on, too: not within this request.
		i.provider, i.err = oidc.NewProvider(oidc.ClientContext(context.WithoutCancel(ctx), i.client), cfg.Issuer)
		// From when it failed: those who waited do not ask again one by one.
		if i.until = now().Add(issuerLife); i.err != nil {
			i.until = now().Add(issuerPause)
		}
	}
	if i.err != nil {
		return nil, nil, fmt.Errorf("asking the issuer %s: %w", cfg.Issuer, i.err)
	}
	return i.provider, &oauth2.Config{
		ClientID: cfg.ClientID, ClientSecret: cfg.ClientSecret, Endpoint: i.provider.Endpoint(),
		RedirectURL: strings.TrimSuffix(cfg.PublicURL, "/") + CallbackPath, Scopes: append([]string{oidc.ScopeOpenID}, cfg.Scopes...),
	}, nil
}

// redirect answers with another place.
func redirect(ctx context.Context, to string) (any, error) {
	awsjson.SetHeader(ctx, "Location", to)
	return nil, nil
}

// failed sends a person back to the page to sign in, which puts the reason into
// words of its own: none of ours come by a URL that anybody can make up.
func (c *Console) failed(ctx context.Context, reason string, err error) (any, error) {
	c.cfg.API.Log.WarnContext(ctx, "signing in with the OIDC provider", slog.String("reason", reason), slog.String("request_id", awsjson.RequestID(ctx)), slog.Any("error", err))
	return redirect(ctx, Home+"sign-in?error="+reason)
}

// Reasons why signing in with the provider failed.
const (
	failedIssuer  = "issuer"  // it could not be asked, or did not answer as it must
	failedRefused = "refused" // the issuer says no, or the person did
	failedExpired = "expired" // this is no answer to what this browser asked, or it comes too late
	failedDenied  = "denied"  // no role trusts the token
	failedBusy    = "busy"    // too many attempts from the same address failed of late
)

// page is a page of the console to go to: nothing of elsewhere, and none of
// the API's routes.
func page(to string) string {
	u, err := url.Parse(to)
	if err != nil || len(to) > 1024 || u.Scheme != "" || u.Host != "" || u.Opaque != "" || !strings.HasPrefix(u.Path, Home) || strings.HasPrefix(u.Path, api) ||
		strings.ContainsFunc(to, func(r rune) bool { return r <= ' ' || r >= 0x7f || r == '\\' }) || strings.Contains(u.Path, "..") {
		return Home
	}
	return to
}

func (c *Console) oidcCookie(r *http.Request, value string) string {
	k := &http.Cookie{
		Name: oidcCookie, Value: value, Path: oidcPath, HttpOnly: true, SameSite: http.SameSiteLaxMode, // the issuer's page leads back here
		Secure: c.cfg.Secure || r.TLS != nil, MaxAge: int(oidcLife / time.Second),
	}
	if value == "" {
		k.MaxAge = -1
	}
	return k.String()
}

// toIssuer is GET oidc/start.
func (c *Console) toIssuer(ctx context.Context, in *request) (any, error) {
	_, client, err := c.issuer.open(ctx, c.cfg.OIDC, c.cfg.API.Now)
	if err != nil {
		return c.failed(ctx, failedIssuer, err)
	}
	a := attempt{State: secretText(), Nonce: secretText(), Verifier: oauth2.GenerateVerifier(), Return: page(in.Get("return"))}
	b, err := json.Marshal(&a)
	if err != nil {
		return nil, fmt.Errorf("encoding an attempt to sign in: %w", err)
	}
	awsjson.AddHeader(ctx, "Set-Cookie", c.oidcCookie(in.http, base64.RawURLEncoding.EncodeToString(b)))
	return redirect(ctx, client.AuthCodeURL(a.State, oidc.Nonce(a.Nonce), oauth2.S256ChallengeOption(a.Verifier)))
}

// fromIssuer is GET oidc/callback: it makes the code a token, the token a
// session of a role, and that one of the console.
func (c *Console) fromIssuer(ctx context.Context, in *request) (any, error) {
	a, ok := attempted(in.http)
	awsjson.AddHeader(ctx, "Set-Cookie", c.oidcCookie(in.http, ""))
	// The state first: whoever sent the browser here, with an error or a code of
	// his own, does not know it.
	if !ok || subtle.ConstantTimeCompare([]byte(a.State), []byte(in.Get("state"))) != 1 {
		return c.failed(ctx, failedExpired, errors.New("the state is not this browser's"))
	}
	if code := in.Get("error"); code != "" {
		return c.failed(ctx, failedRefused, fmt.Errorf("the issuer answers %.100q: %.500q", code, in.Get("error_description")))
	}
	now := c.cfg.API.Now()
	back, wait := c.byAddress.take(addressOf(in.http.RemoteAddr), now) // the issuer is not asked for everybody's made-up codes
	if wait > 0 {
		return c.failed(ctx, failedBusy, errors.New("too many attempts"))
	}
	ctx, cancel := context.WithTimeout(ctx, 2*issuerTimeout)
	defer cancel()
	provider, client, err := c.issuer.open(ctx, c.cfg.OIDC, c.cfg.API.Now)
	if err != nil {
		return c.failed(ctx, failedIssuer, err)
	}
	tokens, err := client.Exchange(oidc.ClientContext(ctx, c.issuer.client), in.Get("code"), oauth2.VerifierOption(a.Verifier))
	if err != nil {
		return c.failed(ctx, failedIssuer, fmt.Errorf("exchanging the code: %.500s", err.Error()))
	}
	raw, _ := tokens.Extra("id_token").(string)
	known, err := provider.Verifier(&oidc.Config{ClientID: c.cfg.OIDC.ClientID, Now: c.cfg.API.Now}).Verify(ctx, raw)
	if err != nil {
		return c.failed(ctx, failedIssuer, fmt.Errorf("verifying the token: %.500s", err.Error()))
	}
	if subtle.ConstantTimeCompare([]byte(known.Nonce), []byte(a.Nonce)) != 1 {
		return c.failed(ctx, failedExpired, errors.New("the token is not for this attempt"))
	}
	keys, err := c.assume(ctx, raw, known)
	if err != nil {
		return c.failed(ctx, failedDenied, err)
	}
	p, err := c.cfg.API.Credentials.Principal(ctx, keys.AccessKeyId, keys.SessionToken)
	if err == nil {
		err = admissible(p)
	}
	if err != nil {
		return c.failed(ctx, failedDenied, err)
	}
	back()
	c.begin(ctx, in.http, p, keys.AccessKeyId, keys.SessionToken)
	return redirect(ctx, page(a.Return))
}

// attempted is what a browser kept of its attempt.
func attempted(r *http.Request) (a attempt, ok bool) {
	k, err := r.Cookie(oidcCookie)
	if err != nil {
		return a, false
	}
	b, err := base64.RawURLEncoding.DecodeString(k.Value)
	return a, err == nil && json.Unmarshal(b, &a) == nil && a.State != "" && a.Nonce != "" && a.Verifier != ""
}

var notOfSessionNames = regexp.MustCompile(`[^\w+=,.@-]+`)

// sessionName names the sessions of a person in ARNs, and so in logs: the
// address that the issuer has verified, or else the subject.
func sessionName(t *oidc.IDToken) string {
	var claims struct {
		Email    string `json:"email"`
		Verified bool   `json:"email_verified"`
	}
	name := t.Subject
	if err := t.Claims(&claims); err == nil && claims.Verified && claims.Email != "" {
		name = claims.Email
	}
	name = notOfSessionNames.ReplaceAllString(name, "-")
	for len(name) < 2 {
		name += "-"
	}
	return name[:min(len(name), 64)]
}

// assume gets a session of the first role that trusts the token.
func (c *Console) assume(ctx context.Context, raw string, t *oidc.IDToken) (*identity.Credentials, error) {
	var refused error
	for _, role := range c.cfg.OIDC.Roles {
		out, err := c.cfg.OIDC.Assume(ctx, &identity.AssumeRoleWithWebIdentityInput{RoleArn: role, RoleSessionName: sessionName(t), WebIdentityToken: raw})
		if err == nil {
			return out.Credentials, nil
		}
		refused = fmt.Errorf("%s: %w", role, err)
		if e, ok := errors.AsType[*identity.Error](err); !ok || e.Code != "AccessDenied" {
			return nil, refused
		}
	}
	return nil, cmp.Or(refused, errors.New("there are no roles"))
}

// check refuses an OIDC that lacks something.
func (o *OIDC) check() error {
	if o.Issuer == "" || o.ClientID == "" || len(o.Roles) == 0 || slices.Contains(o.Roles, "") || o.PublicURL == "" || o.Assume == nil {
		return errors.New("console: OIDC needs Issuer, ClientID, Roles, PublicURL and Assume")
	}
	return nil
}

// name is how pages call the provider.
func (o *OIDC) name() string {
	if o.Name != "" {
		return o.Name
	}
	if u, err := url.Parse(o.Issuer); err == nil && u.Host != "" {
		return u.Host
	}
	return o.Issuer
}
