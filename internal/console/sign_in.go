package console

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"chirograph.dev/internal/awsjson"
	"chirograph.dev/internal/iam"
	"chirograph.dev/internal/pca"
)

const (
	cookieName = "chirograph-session"
	csrfHeader = "X-Csrf-Token"
	// backgroundHeader marks requests that a page makes by itself, such as
	// looking whether a report is done: they are no use of the session.
	backgroundHeader = "X-Background"
)

// Session is what a page knows of who is signed in.
type Session struct {
	Account     string    `json:"account"`
	ARN         string    `json:"arn"`
	UserID      string    `json:"userId"`
	CSRF        string    `json:"csrf"`        // for the header X-CSRF-Token of whatever changes something
	IdleExpires time.Time `json:"idleExpires"` // without further use
	Expires     time.Time `json:"expires"`     // whatever its use
	Region      string    `json:"region"`
	Partition   string    `json:"partition"`
}

func sessionOver(format string, args ...any) error {
	return pca.Errorf(pca.SessionExpired, format, args...)
}

// cookie is the session's; an empty token takes it away. Other sites' pages do
// not send it, not even with a link, and no script reads it.
func (c *Console) cookie(r *http.Request, token string) string {
	k := &http.Cookie{
		Name: cookieName, Value: token, Path: Prefix, HttpOnly: true, SameSite: http.SameSiteStrictMode,
		Secure: c.cfg.Secure || r.TLS != nil,
	}
	if token == "" {
		k.MaxAge = -1
	}
	return k.String()
}

// token is what a request's cookie holds; empty when it has none, and when it
// has two: one of them another program on this host made, since cookies know
// no ports, and nobody is to act in a session that was put upon him.
func token(r *http.Request) string {
	found := r.CookiesNamed(cookieName)
	if len(found) != 1 {
		return ""
	}
	return found[0].Value
}

// authenticate tells who is signed in with the browser that sends a request.
// The access key is looked up each time: one that was deleted or switched off,
// a policy that changed, an account that was closed counts from the next
// request on.
func (c *Console) authenticate(r *http.Request) (*iam.Principal, error) {
	now := c.cfg.API.Now()
	in, _ := c.sessions.find(token(r), now)
	if in == nil {
		return nil, sessionOver("Nobody is signed in, or the session is over. Sign in.")
	}
	if r.Method != http.MethodGet && !in.vouches(r.Header.Get(csrfHeader)) {
		return nil, pca.Errorf(pca.AccessDeniedException, "The request does not carry the X-CSRF-Token of its session. Load the page again.")
	}
	p, err := c.cfg.API.Credentials.Principal(r.Context(), in.accessKeyID, in.sessionToken)
	switch {
	case errors.Is(err, iam.ErrExpiredToken), errors.Is(err, iam.ErrInvalidToken):
		c.sessions.end(token(r))
		return nil, &pca.Error{Code: pca.SessionExpired, Message: "The credentials that you signed in with are over, deleted or switched off. Sign in with others.", Err: err}
	case err != nil:
		return nil, fmt.Errorf("looking up the principal of %s: %w", in.accessKeyID, err)
	case p.Suspended:
		c.sessions.end(token(r))
		return nil, sessionOver("The account %s is closed.", p.Account)
	}
	if r.Header.Get(backgroundHeader) == "" && !(r.Method == http.MethodGet && r.URL.Path == api+"session") {
		c.sessions.use(in, now)
	}
	return p, nil
}

// begin makes a session for a principal, in place of the one that the browser
// has, and gives what a page may know of it.
func (c *Console) begin(ctx context.Context, r *http.Request, p *iam.Principal, accessKeyID, sessionToken string) *Session {
	now := c.cfg.API.Now()
	in := &session{accessKeyID: accessKeyID, sessionToken: sessionToken, account: p.Account, principal: p.ID, expires: now.Add(c.cfg.Longest)}
	if !p.Expires.IsZero() && p.Expires.Before(in.expires) {
		in.expires = p.Expires
	}
	c.sessions.end(token(r))
	fresh := c.sessions.begin(in, now)
	awsjson.SetCaller(ctx, p)
	awsjson.AddHeader(ctx, "Set-Cookie", c.cookie(r, fresh))
	_, idle := c.sessions.find(fresh, now)
	return c.shown(p, in, idle)
}

func (c *Console) shown(p *iam.Principal, in *session, idle time.Time) *Session {
	return &Session{
		Account: p.Account, ARN: p.ARN, UserID: p.ID, CSRF: in.csrf, IdleExpires: idle.UTC(), Expires: in.expires.UTC(),
		Region: c.cfg.Region, Partition: c.cfg.API.Partition,
	}
}

// signIn is POST session.
func (c *Console) signIn(ctx context.Context, in *request) (any, error) {
	var body struct {
		AccessKeyID     string `json:"accessKeyId"`
		SecretAccessKey string `json:"secretAccessKey"`
		SessionToken    string `json:"sessionToken"`
	}
	if err := in.read(&body); err != nil {
		return nil, err
	}
	if body.AccessKeyID == "" || body.SecretAccessKey == "" || len(body.AccessKeyID) > 128 {
		return nil, pca.Errorf(pca.ValidationException, "Give an access key ID and its secret access key.")
	}
	now := c.cfg.API.Now()
	address := addressOf(in.http.RemoteAddr)
	ofAddress, wait := c.byAddress.take(address, now)
	if wait > 0 {
		return nil, tooMany(ctx, wait)
	}
	// Not of a key alone: whoever knows its id, which is no secret, could keep
	// its holder out.
	ofKey, wait := c.byKey.take(address+" "+body.AccessKeyID, now)
	if wait > 0 {
		ofAddress()
		return nil, tooMany(ctx, wait)
	}
	p, err := c.holder(ctx, body.AccessKeyID, body.SecretAccessKey, body.SessionToken)
	if err != nil {
		return nil, err
	}
	ofAddress()
	ofKey()
	return c.begin(ctx, in.http, p, body.AccessKeyID, body.SessionToken), nil
}

func tooMany(ctx context.Context, wait time.Duration) error {
	seconds := int(wait/time.Second) + 1
	awsjson.SetHeader(ctx, "Retry-After", strconv.Itoa(seconds))
	return pca.Errorf(pca.ThrottlingException, "Too many attempts to sign in have failed. Try again in %d seconds.", seconds)
}

// holder finds out who has an access key and its secret. Which of them is
// wrong it does not tell.
func (c *Console) holder(ctx context.Context, id, secret, sessionToken string) (*iam.Principal, error) {
	wrong := pca.Errorf(pca.UnrecognizedClientException, "The access key ID, the secret access key or the session token is wrong, or the key is deleted or switched off.")
	have, ok, err := c.cfg.API.Credentials.Secret(ctx, id)
	if err != nil {
		return nil, fmt.Errorf("looking up the secret of an access key: %w", err)
	}
	given, known := sha256.Sum256([]byte(secret)), sha256.Sum256([]byte(have))
	if subtle.ConstantTimeCompare(given[:], known[:]) != 1 || !ok || have == "" {
		return nil, wrong
	}
	p, err := c.cfg.API.Credentials.Principal(ctx, id, sessionToken)
	switch {
	case errors.Is(err, iam.ErrExpiredToken):
		return nil, pca.Errorf(pca.ExpiredTokenException, "The session of these credentials is over. Get new ones.")
	case errors.Is(err, iam.ErrInvalidToken):
		return nil, wrong
	case err != nil:
		return nil, fmt.Errorf("looking up the principal of %s: %w", id, err)
	}
	return p, admissible(p)
}

// admissible refuses whom the console is not for.
func admissible(p *iam.Principal) error {
	switch {
	case p.Service != "":
		return pca.Errorf(pca.AccessDeniedException, "This access key is the service %s's. Sign in with a user's or a role's.", p.Service)
	case p.Suspended:
		return pca.Errorf(pca.AccessDeniedException, "The account %s is closed.", p.Account)
	}
	return nil
}

// whoami is GET session. It is no use of the session.
func (c *Console) whoami(ctx context.Context, in *request) (any, error) {
	p, err := caller(ctx)
	if err != nil {
		return nil, err
	}
	s, idle := c.sessions.find(token(in.http), c.cfg.API.Now())
	if s == nil {
		return nil, sessionOver("The session is over. Sign in.")
	}
	return c.shown(p, s, idle), nil
}

// signOut is DELETE session.
func (c *Console) signOut(ctx context.Context, in *request) (any, error) {
	c.sessions.end(token(in.http))
	awsjson.AddHeader(ctx, "Set-Cookie", c.cookie(in.http, ""))
	return nil, nil
}
