package identity

import (
	"bytes"
	"context"
	"crypto/sha1"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/sync/singleflight"

	"chirograph.dev/internal/iam"
	"chirograph.dev/internal/store"
)

const (
	// An issuer has issuerTimeout to answer, with at most issuerBytes. What it
	// said of itself holds for issuerLife; its keys are asked for when a token
	// names one that is not known, at most every issuerPause.
	issuerTimeout = 10 * time.Second
	issuerBytes   = 1 << 20
	issuerLife    = time.Hour
	issuerPause   = 5 * time.Second
)

// Claims of AWS in a web identity's token.
const (
	tagsClaim   = "https://aws.amazon.com/tags"
	sourceClaim = "https://aws.amazon.com/source_identity"
)

func invalidToken(format string, args ...any) error {
	return refuse(http.StatusBadRequest, "InvalidIdentityToken", format, args...)
}

// webIdentity is a verified token.
type webIdentity struct {
	subject, audience string
	conditions        map[string][]string // <issuer>:sub and so on
	tags              []Tag
	transitive        []string
	source            string
	provider          *store.OIDCProvider
}

// AssumeRoleWithWebIdentity is sts:AssumeRoleWithWebIdentity: a session of a
// role for who holds a token of an OIDC provider of the role's account. Nobody
// signs the request.
func (s *Service) AssumeRoleWithWebIdentity(ctx context.Context, in *AssumeRoleWithWebIdentityInput) (*AssumeRoleWithWebIdentityOutput, error) {
	m := roleARN.FindStringSubmatch(in.RoleArn)
	switch {
	case m == nil:
		return nil, invalid("%s is invalid", in.RoleArn)
	case in.ProviderId != "":
		return nil, invalid("ProviderId is for OAuth 2.0 tokens of other providers; leave it out.")
	}
	// The token first: who has none does not learn which roles there are.
	w, err := s.verify(ctx, m[2], in.WebIdentityToken)
	if err != nil {
		return nil, err
	}
	role, err := s.role(ctx, in.RoleArn)
	if err != nil {
		return nil, err
	}
	refused := denied("Not authorized to perform sts:AssumeRoleWithWebIdentity")
	if role == nil {
		return nil, refused
	}
	conditions := maps.Clone(s.cfg.Conditions(ctx))
	if conditions == nil {
		conditions = map[string][]string{}
	}
	maps.Copy(conditions, in.Conditions())
	maps.Copy(conditions, w.conditions)
	maps.Copy(conditions, tagConditions(w.tags))
	who := &iam.Principal{Federated: w.provider.ARN}
	actions := []string{"sts:AssumeRoleWithWebIdentity"}
	if len(w.tags) > 0 {
		actions = append(actions, "sts:TagSession")
		conditions["sts:TransitiveTagKeys"] = w.transitive
	}
	if w.source != "" {
		actions = append(actions, "sts:SetSourceIdentity")
		conditions["sts:SourceIdentity"] = []string{w.source}
	}
	for _, action := range actions {
		if err := s.trusts(ctx, role, &iam.Request{Principal: who, Action: action, Resource: in.RoleArn, Context: conditions}); err != nil {
			if _, ok := errors.AsType[*Error](err); ok {
				return nil, refused
			}
			return nil, err
		}
	}
	d, err := duration(in.DurationSeconds, role.MaxSession, false)
	if err != nil {
		return nil, err
	}
	tags, err := sessionTags(w.tags)
	if err != nil {
		return nil, err
	}
	next := session{Name: in.RoleSessionName, Policy: in.Policy, Tags: tags, Transitive: map[string]string{}, SourceIdentity: w.source, Provider: w.provider.ARN}
	for _, key := range w.transitive {
		if value, ok := tags[key]; ok {
			next.Transitive[key] = value
		}
	}
	c, user, packed, err := s.assume(ctx, role, next, in.PolicyArns, d)
	if err != nil {
		return nil, err
	}
	return &AssumeRoleWithWebIdentityOutput{
		Credentials: c, SubjectFromWebIdentityToken: w.subject, AssumedRoleUser: user, PackedPolicySize: packed,
		Provider: w.provider.ARN, Audience: w.audience, SourceIdentity: w.source,
	}, nil
}

// verify checks a token: issued by a provider of the account, for one of its
// clients, signed by a key that the issuer publishes now, and not over.
func (s *Service) verify(ctx context.Context, account, raw string) (*webIdentity, error) {
	issuer, err := issuerOf(raw)
	if err != nil {
		return nil, err
	}
	short, err := issuerURL(issuer)
	if err != nil {
		return nil, invalidToken("The issuer of the token, %.200q, is not a URL that begins with https://.", issuer)
	}
	provider, err := s.cfg.Records.Provider(ctx, s.providerARN(account, short))
	if errors.Is(err, store.ErrNotFound) || err == nil && strings.TrimSuffix(provider.URL, "/") != strings.TrimSuffix(issuer, "/") {
		return nil, invalidToken("No OpenIDConnect provider found in your account for %.200s", issuer)
	}
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, 2*issuerTimeout)
	defer cancel()
	known, err := s.issuers.open(ctx, provider, issuer, s.cfg.Now)
	if err != nil {
		return nil, notAsked(err)
	}
	keys := &askedKeys{KeySet: known.keys}
	token, err := oidc.NewVerifier(issuer, keys, &oidc.Config{SkipClientIDCheck: true, SupportedSigningAlgs: known.algorithms, Now: s.cfg.Now}).Verify(ctx, raw)
	_, unasked := errors.AsType[*issuerError](keys.err)
	expired, isExpired := errors.AsType[*oidc.TokenExpiredError](err)
	switch {
	case err == nil:
	case isExpired:
		return nil, refuse(http.StatusBadRequest, "ExpiredTokenException", "Token expired: current date/time must be before the expiration date/time %s", expired.Expiry.UTC().Format(time.RFC3339))
	case unasked, errors.Is(keys.err, context.DeadlineExceeded):
		return nil, notAsked(keys.err)
	case keys.err != nil:
		return nil, &Error{Code: "InvalidIdentityToken", Status: http.StatusBadRequest, Message: "Couldn't verify the signature of the token with the keys of its issuer.", Err: bounded(keys.err)}
	default:
		return nil, &Error{Code: "InvalidIdentityToken", Status: http.StatusBadRequest, Message: "The token could not be verified: its form, its algorithm or its time (nbf) is not accepted.", Err: bounded(err)}
	}
	var claims struct {
		AMR    []string `json:"amr"`
		Source string   `json:"https://aws.amazon.com/source_identity"`
		Tags   struct {
			Principal  map[string][]string `json:"principal_tags"`
			Transitive []string            `json:"transitive_tag_keys"`
		} `json:"https://aws.amazon.com/tags"`
	}
	if err := token.Claims(&claims); err != nil {
		return nil, invalidToken("A claim of the token (amr, %s or %s) does not have the form that it must have.", tagsClaim, sourceClaim)
	}
	w := &webIdentity{subject: token.Subject, source: claims.Source, transitive: claims.Tags.Transitive, provider: provider}
	for _, audience := range token.Audience {
		if slices.Contains(provider.ClientIDs, audience) {
			w.audience = audience
		}
	}
	switch {
	case w.audience == "":
		return nil, invalidToken("Incorrect token audience")
	case w.subject == "":
		return nil, invalidToken("The token has no subject (sub).")
	}
	w.conditions = map[string][]string{short + ":sub": {w.subject}, short + ":aud": {w.audience}}
	if len(claims.AMR) > 0 {
		w.conditions[short+":amr"] = claims.AMR
	}
	for key, values := range claims.Tags.Principal {
		if len(values) != 1 || key == "" || len(key) > 128 || len(values[0]) > 256 {
			return nil, invalidToken("The tag %.128q of the token needs one value.", key)
		}
		w.tags = append(w.tags, Tag{Key: key, Value: values[0]})
	}
	return w, nil
}

// issuerOf reads who issued a token, before anything of it is verified.
func issuerOf(raw string) (string, error) {
	parts := strings.Split(raw, ".")
	var claims struct {
		Issuer string `json:"iss"`
	}
	if len(parts) == 3 {
		payload, err := base64.RawURLEncoding.DecodeString(parts[1])
		if err == nil && json.Unmarshal(payload, &claims) == nil && claims.Issuer != "" {
			return claims.Issuer, nil
		}
	}
	return "", invalidToken("The ID Token provided is not a valid JWT. (You may see this error if you sent an Access Token)")
}

// notAsked is the answer when an issuer could not be asked. Nobody has signed
// the request, and the issuer's address is some account's choice: why, which
// may hold what stands at that address, is for the log alone.
func notAsked(err error) error {
	return &Error{
		Code: "IDPCommunicationError", Status: http.StatusBadRequest, Err: bounded(err),
		Message: "Couldn't retrieve verification key from your identity provider; the server's log says why.",
	}
}

// bounded keeps what an issuer answered from filling the log.
func bounded(err error) error { return fmt.Errorf("%.500s", err.Error()) }

// issuerError says that an issuer could not be asked.
type issuerError struct{ err error }

func (e *issuerError) Error() string { return e.err.Error() }
func (e *issuerError) Unwrap() error { return e.err }

// issuers holds what issuers say of themselves, with their keys.
type issuers struct {
	sync.Mutex
	m      map[string]*issuer // by the provider's ARN and the issuer's URL
	asking singleflight.Group
}

type issuer struct {
	keys       oidc.KeySet
	algorithms []string
	mark       string // of the provider's record
	until      time.Time
	err        error // why it could not be asked
}

// algorithms are those of signatures that are taken; of them an issuer uses
// what it says, RS256 when it says nothing.
var algorithms = []string{oidc.RS256, oidc.RS384, oidc.RS512, oidc.ES256, oidc.ES384, oidc.ES512, oidc.PS256, oidc.PS384, oidc.PS512, oidc.EdDSA}

// askedKeys keeps the error of its one question, of which the verifier passes
// on the text alone.
type askedKeys struct {
	oidc.KeySet
	err error
}

func (k *askedKeys) VerifySignature(ctx context.Context, jwt string) (payload []byte, err error) {
	payload, k.err = k.KeySet.VerifySignature(ctx, jwt)
	return payload, k.err
}

// open gives the issuer of a provider, asked anew when it was asked long ago or
// the provider was changed. One that could not be asked is left alone for a while.
// Those who come meanwhile wait for the one answer; whoever goes away does not
// end the question, or strangers could keep it from ever being answered.
func (is *issuers) open(ctx context.Context, p *store.OIDCProvider, url string, now func() time.Time) (*issuer, error) {
	mark := fmt.Sprint(p.CreatedAt.UnixMilli(), "/", p.Version)
	key := p.ARN + " " + url // with a slash at its end or without
	find := func() *issuer {
		is.Lock()
		defer is.Unlock()
		if known := is.m[key]; known != nil && known.mark == mark && now().Before(known.until) {
			return known
		}
		return nil
	}
	known := find()
	if known == nil {
		answer := is.asking.DoChan(key+" "+mark, func() (any, error) {
			if known := find(); known != nil {
				return known, nil
			}
			return is.ask(context.WithoutCancel(ctx), p, url, key, mark, now), nil
		})
		select {
		case a := <-answer:
			known = a.Val.(*issuer)
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	return known, known.err
}

func (is *issuers) ask(ctx context.Context, p *store.OIDCProvider, url, key, mark string, now func() time.Time) *issuer {
	ctx, cancel := context.WithTimeout(ctx, issuerTimeout)
	defer cancel()
	known, err := askIssuer(ctx, p, url)
	life := issuerLife
	if err != nil {
		known, life = &issuer{err: err}, issuerPause
	}
	known.mark, known.until = mark, now().Add(life)
	is.Lock()
	defer is.Unlock()
	if is.m == nil {
		is.m = map[string]*issuer{}
	}
	if len(is.m) >= maxKnown {
		clear(is.m)
	}
	is.m[key] = known
	return known
}

// askIssuer asks an issuer where its keys are.
func askIssuer(ctx context.Context, p *store.OIDCProvider, url string) (*issuer, error) {
	client := &http.Client{Timeout: issuerTimeout, Transport: newIssuerTransport(p.Thumbprints), CheckRedirect: func(*http.Request, []*http.Request) error {
		return http.ErrUseLastResponse // an issuer's documents are where it says
	}}
	ctx = oidc.ClientContext(ctx, client)
	provider, err := oidc.NewProvider(ctx, url)
	if err != nil {
		return nil, err
	}
	var said struct {
		Keys       string   `json:"jwks_uri"`
		Algorithms []string `json:"id_token_signing_alg_values_supported"`
	}
	if err := provider.Claims(&said); err != nil {
		return nil, err
	}
	// An issuer elsewhere does not send us to services of this machine.
	if _, err := issuerURL(strings.SplitN(said.Keys, "?", 2)[0]); err != nil || !isHTTPS(said.Keys) && isHTTPS(url) {
		return nil, fmt.Errorf("its jwks_uri is %.200q, which does not begin with https://", said.Keys)
	}
	said.Algorithms = slices.DeleteFunc(said.Algorithms, func(a string) bool { return !slices.Contains(algorithms, a) })
	if len(said.Algorithms) == 0 {
		said.Algorithms = algorithms[:1]
	}
	return &issuer{keys: oidc.NewRemoteKeySet(context.WithoutCancel(ctx), said.Keys), algorithms: said.Algorithms}, nil
}

func isHTTPS(url string) bool { return len(url) > 6 && strings.EqualFold(url[:6], "https:") }

// issuerTransport asks one issuer. It bounds answers, and repeats one that is
// issuerPause old at most: strangers whose tokens name unknown keys must not
// make this server ask for every one of them.
type issuerTransport struct {
	http.RoundTripper
	mu      sync.Mutex
	answers map[string]issuerAnswer
}

type issuerAnswer struct {
	at     time.Time
	header http.Header
	body   []byte
}

func newIssuerTransport(thumbprints []string) *issuerTransport {
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.DisableKeepAlives = true
	if len(thumbprints) > 0 {
		t.TLSClientConfig = &tls.Config{
			InsecureSkipVerify: true, // trusts verifies, which knows thumbprints besides
			VerifyConnection:   func(c tls.ConnectionState) error { return trusts(c, thumbprints) },
		}
	}
	return &issuerTransport{RoundTripper: t, answers: map[string]issuerAnswer{}}
}

// trusts verifies the certificate of an issuer: against the roots of this
// machine, or against a certificate of the chain that has a known thumbprint.
func trusts(c tls.ConnectionState, thumbprints []string) error {
	options := x509.VerifyOptions{DNSName: c.ServerName, Intermediates: x509.NewCertPool()}
	known := x509.NewCertPool()
	for _, cert := range c.PeerCertificates {
		sum := sha1.Sum(cert.Raw)
		if slices.ContainsFunc(thumbprints, func(t string) bool { return strings.EqualFold(t, hex.EncodeToString(sum[:])) }) {
			known.AddCert(cert)
		}
		options.Intermediates.AddCert(cert)
	}
	_, err := c.PeerCertificates[0].Verify(options)
	if err == nil {
		return nil
	}
	options.Roots = known
	if _, again := c.PeerCertificates[0].Verify(options); again == nil {
		return nil
	}
	return fmt.Errorf("no certificate of it is trusted here, nor has a thumbprint of the provider: %w", err)
}

func (t *issuerTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	t.mu.Lock()
	defer t.mu.Unlock() // one question at a time
	url := r.URL.String()
	a, ok := t.answers[url]
	if !ok || time.Since(a.at) > issuerPause {
		resp, err := t.RoundTripper.RoundTrip(r)
		if err != nil {
			return nil, &issuerError{err}
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(io.LimitReader(resp.Body, issuerBytes+1))
		switch {
		case err != nil:
			return nil, &issuerError{err}
		case resp.StatusCode != http.StatusOK:
			return nil, &issuerError{fmt.Errorf("%s answered %s", url, resp.Status)}
		case len(body) > issuerBytes:
			return nil, &issuerError{fmt.Errorf("%s answered with more than %d bytes", url, issuerBytes)}
		}
		a = issuerAnswer{time.Now(), resp.Header, body}
		t.answers[url] = a
	}
	return &http.Response{
		Status: "200 OK", StatusCode: http.StatusOK, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Request: r,
		Header: a.header, Body: io.NopCloser(bytes.NewReader(a.body)), ContentLength: int64(len(a.body)),
	}, nil
}
