// Package console is everything below /console: the files of the browser's
// application, which dist holds, and the JSON that it asks for below
// /console/api/.
//
// Whoever is signed in has a session here, which the browser knows by a cookie
// and this process by the cookie's hash alone; no secret is kept. Every request
// looks up anew who the session acts for, and is decided, limited and logged as
// the API's are, by the same code. So the console can do what the signed-in
// principal may, and nothing else.
package console

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"maps"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"time"

	"golang.org/x/sync/semaphore"

	"chirograph.dev/internal/auditreport"
	"chirograph.dev/internal/awsjson"
	"chirograph.dev/internal/bucket"
	"chirograph.dev/internal/ca"
	"chirograph.dev/internal/certlog"
	"chirograph.dev/internal/crl"
	"chirograph.dev/internal/iam"
	"chirograph.dev/internal/inventory"
	"chirograph.dev/internal/pca"
	"chirograph.dev/internal/store"
)

// Prefix is the path below which the console lies; Home is its first page.
const (
	Prefix = "/console"
	Home   = Prefix + "/"
	api    = Home + "api/"
)

// Defaults of Config.
const (
	DefaultIdle    = 30 * time.Minute
	DefaultLongest = 12 * time.Hour
)

// Records is what the console reads of the store itself; the store is one.
type Records interface {
	InstalledCertificate(ctx context.Context, ca string, generation int64) (*store.InstalledCertificate, error)
	// CAs gives every account's CAs for an empty account; see sqlite.DB.
	CAs(ctx context.Context, account string, afterCreated time.Time, afterID string, limit int) ([]*store.CertificateAuthority, error)
	Certificate(ctx context.Context, ca string, serial []byte) (*store.Certificate, error)
	// Revocations calls yield for the revocations of entries [lo, hi) whose own
	// entry lies before before.
	Revocations(ctx context.Context, ca string, lo, hi, before uint64, yield func(store.Revocation) error) error
}

// Config is all that a Console needs.
type Config struct {
	// API is the API's: its operations, who may call them, its limits, its log
	// and its metrics. Authenticate of it is the console's own.
	API awsjson.Config
	// Authorities are the certificate authorities behind the API, Records and
	// Entries what the store has of them and of their logs.
	Authorities *ca.Service
	Records     Records
	Entries     certlog.Store
	// Reports are the audit reports, Inventory is what knows how many
	// certificates there are without counting them.
	Reports   *auditreport.Service
	Inventory *inventory.Index

	// Buckets gives the bucket service that the reports of a CA go to, for
	// somebody to see buckets and have them made there; decides tells that the
	// service itself decides what that principal may.
	Buckets func(ctx context.Context, who *iam.Principal, account, caARN string) (client *bucket.Client, decides bool, err error)
	// Link gives a URL at which whoever has it downloads the object of a report,
	// or what lies beside it under a suffix, for as long as life.
	Link func(ctx context.Context, r *store.AuditReport, suffix string, life time.Duration) (url string, err error)

	// CRLs are the revocation lists of the CAs, and OCSPURL gives the URL of the
	// responder for CAs that have no name of their own for it.
	CRLs    *crl.Service
	OCSPURL func() string

	// OIDC lets people sign in with an OIDC provider; nil: with access keys alone.
	OIDC *OIDC

	Files       fs.FS         // of the application; nil: those of this program
	Version     string        // of the program
	Region      string        // of the server
	Destination string        // where reports go, in words
	MinInterval time.Duration // between two reports of a CA

	// Idle is how long a session lasts without use, Longest how long at the
	// most; 0: DefaultIdle and DefaultLongest.
	Idle, Longest time.Duration
	// Secure says that browsers reach this server by HTTPS although it serves
	// HTTP, behind a proxy: cookies are for HTTPS alone.
	Secure bool
}

// Console answers requests at /console and below it. It is safe for concurrent use.
type Console struct {
	cfg        Config
	files      map[string]*file // by name
	sessions   *sessions
	byAddress  *tries
	byKey      *tries
	crossSite  *http.CrossOriginProtection
	families   families
	issuer     *issuer
	previews   *semaphore.Weighted
	table      map[string]route
	operations *awsjson.Handler
	doors      *awsjson.Plain // for who is not signed in
	rooms      *awsjson.Plain // for who is
}

// New makes a Console. Errors are mistakes of cfg.
func New(cfg Config) (*Console, error) {
	if cfg.Idle == 0 {
		cfg.Idle = DefaultIdle
	}
	if cfg.Longest == 0 {
		cfg.Longest = DefaultLongest
	}
	if cfg.API.Now == nil {
		cfg.API.Now = time.Now
	}
	if cfg.API.Log == nil {
		cfg.API.Log = slog.Default()
	}
	if cfg.API.Credentials == nil || cfg.API.Authorize == nil {
		return nil, errors.New("console: API.Credentials and API.Authorize are needed")
	}
	if cfg.OIDC != nil {
		if err := cfg.OIDC.check(); err != nil {
			return nil, err
		}
	}
	if cfg.Files == nil {
		var err error
		if cfg.Files, err = Files(); err != nil {
			return nil, fmt.Errorf("console: %w", err)
		}
	}
	c := &Console{
		cfg: cfg, sessions: newSessions(cfg.Idle), crossSite: http.NewCrossOriginProtection(),
		byAddress: newTries(addressTries, addressPause), byKey: newTries(keyTries, keyPause),
		families: families{m: map[string]family{}}, issuer: newIssuer(),
		previews: semaphore.NewWeighted(maxPreviews),
	}
	var err error
	if c.files, err = readFiles(cfg.Files); err != nil {
		return nil, err
	}
	c.table = c.routes()
	known := cfg.API
	known.Authenticate = c.authenticate
	if c.operations, err = awsjson.New(known); err != nil {
		return nil, err
	}
	if c.rooms, err = awsjson.NewPlain(known, c.find(func(r route) bool { return !r.open })); err != nil {
		return nil, err
	}
	// Strangers take no places of those who are known.
	strangers := cfg.API
	strangers.Limits, strangers.Rates, strangers.MaxInFlight = nil, nil, maxStrangers
	strangers.Authenticate = func(*http.Request) (*iam.Principal, error) { return &iam.Principal{}, nil }
	strangers.Authorize = func(context.Context, *iam.Request, string) (iam.Decision, iam.Reason, error) {
		return iam.ImplicitDeny, iam.NoIdentityAllow, nil
	}
	c.doors, err = awsjson.NewPlain(strangers, c.find(func(r route) bool { return r.open }))
	return c, err
}

// contentSecurity lets a page load what this server has, and nothing else: no
// script of elsewhere, none in the page itself, and no page around it.
const contentSecurity = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"

// ServeHTTP answers one request.
func (c *Console) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Security-Policy", contentSecurity)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	path, ofAPI := strings.CutPrefix(r.URL.Path, api)
	if r.URL.Path == Prefix {
		http.Redirect(w, r, Home, http.StatusMovedPermanently)
		return
	}
	if !ofAPI {
		c.serveFile(w, r)
		return
	}
	// Nothing of an account lies in a cache after its person has gone.
	h.Set("Cache-Control", "no-store")
	if err := c.crossSite.Check(r); err != nil {
		h.Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusForbidden)
		// Two strings, without anything of the request's.
		_, _ = io.WriteString(w, `{"__type":"AccessDeniedException","message":"The request comes from another site's page."}`)
		return
	}
	operation, isCall := strings.CutPrefix(path, "call/")
	switch {
	case isCall:
		c.operations.ServeHTTP(w, asOperation(r, operation))
	case c.table[r.Method+" "+path].open:
		c.doors.ServeHTTP(w, r)
	default:
		c.rooms.ServeHTTP(w, r)
	}
}

// asOperation is a page's call of an operation in the form of the API's.
func asOperation(r *http.Request, operation string) *http.Request {
	q := r.Clone(r.Context())
	q.URL = &url.URL{Path: "/"}
	q.Header.Set("X-Amz-Target", pca.TargetPrefix+"."+operation)
	if t := q.Header.Get("Content-Type"); t == "application/json" || strings.HasPrefix(t, "application/json;") {
		q.Header.Set("Content-Type", "application/x-amz-json-1.1")
	}
	return q
}

// route is one of the console's own routes below /console/api/.
type route struct {
	action  string // that it needs; its name in logs and metrics, too
	own     bool   // it needs none: it tells callers what is theirs to know
	open    bool   // it is for who is not signed in, and needs none
	maxBody int64  // bytes
	status  int    // of a success; 0: 200
	// serve gives what is answered as JSON; nil: nothing.
	serve func(ctx context.Context, in *request) (any, error)
}

// request is what a route gets: the query, the body, and where it comes from.
type request struct {
	url.Values
	body []byte
	http *http.Request // its body has been read
}

// read decodes the body, a JSON object with members that into knows.
func (in *request) read(into any) error {
	d := json.NewDecoder(strings.NewReader(string(in.body)))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return pca.Errorf(pca.SerializationException, "The body is not the JSON that this route takes.")
	}
	return nil
}

// maxStrangers is how many requests of people who are not signed in are served
// at a time; some wait for an OIDC provider.
const maxStrangers = 64

// maxBody is the largest body of the console's own routes, but for those that
// say otherwise.
const maxBody = 64 << 10

// routes are the console's own routes by method and path. What needs an action
// has it allowed with authority or awsjson.Authorize before it tells anything.
func (c *Console) routes() map[string]route {
	table := map[string]route{
		"GET settings":   {action: "console:GetSettings", open: true, serve: c.settings},
		"POST session":   {action: "console:SignIn", open: true, maxBody: maxBody, serve: c.signIn},
		"GET session":    {action: "console:GetSession", own: true, serve: c.whoami},
		"DELETE session": {action: "console:SignOut", own: true, status: http.StatusNoContent, serve: c.signOut},
		"POST may":       {action: "console:May", own: true, maxBody: maxBody, serve: c.may},
		"GET templates":  {action: "console:ListTemplates", own: true, serve: c.templates},
		"GET overview":   {action: actionList, serve: c.overview},
		"GET authority":  {action: actionDescribe, serve: c.describe},
		"GET events":     {action: actionGetProof, serve: c.events},
	}
	maps.Copy(table, c.reportRoutes())
	maps.Copy(table, c.certificateRoutes())
	maps.Copy(table, c.revocationRoutes())
	if c.cfg.OIDC != nil {
		table["GET oidc/start"] = route{action: "console:SignInWithOIDC", open: true, status: http.StatusFound, serve: c.toIssuer}
		table["GET oidc/callback"] = route{action: "console:SignInWithOIDC", open: true, status: http.StatusFound, serve: c.fromIssuer}
	}
	return table
}

// find gives the routes of one of the two doors.
func (c *Console) find(one func(route) bool) func(*http.Request) (awsjson.Route, error) {
	return func(r *http.Request) (awsjson.Route, error) {
		path := strings.TrimPrefix(r.URL.Path, api)
		found, ok := c.table[r.Method+" "+path]
		if !ok || !one(found) {
			return awsjson.Route{}, pca.Errorf(pca.UnknownOperationException, "The console has no %.20s %.100q.", r.Method, path)
		}
		// No form of another site's page can send this type.
		if t, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); found.maxBody > 0 && (err != nil || t != "application/json") {
			return awsjson.Route{}, pca.Errorf(pca.UnknownOperationException, "The Content-Type must be application/json.")
		}
		query, err := url.ParseQuery(r.URL.RawQuery)
		if err != nil {
			return awsjson.Route{}, pca.Errorf(pca.ValidationException, "The query of the URL cannot be read.")
		}
		return awsjson.Route{Action: found.action, Own: found.own || found.open, MaxBody: found.maxBody, Status: found.status, Serve: func(ctx context.Context, body []byte) ([]byte, error) {
			out, err := found.serve(ctx, &request{Values: query, body: body, http: r})
			if err != nil || out == nil {
				return nil, err
			}
			b, err := json.Marshal(out)
			if err != nil {
				return nil, fmt.Errorf("encoding the answer of %s: %w", found.action, err)
			}
			awsjson.SetHeader(ctx, "Content-Type", "application/json")
			return b, nil
		}}, nil
	}
}

// authority reads the ARN of a certificate authority, and has the action on it
// allowed for the caller.
func (c *Console) authority(ctx context.Context, action, arn string) (pca.ARN, error) {
	a, err := pca.ParseCAARN(arn, c.cfg.API.Partition)
	if err != nil {
		return a, err
	}
	return a, awsjson.Authorize(ctx, action, arn)
}

// caller is who is signed in.
func caller(ctx context.Context) (*iam.Principal, error) {
	if p := awsjson.Caller(ctx); p != nil {
		return p, nil
	}
	return nil, errors.New("console: outside of a call")
}

// Settings is what a page knows before anybody is signed in.
type Settings struct {
	Version            string        `json:"version"`
	Region             string        `json:"region"`
	Partition          string        `json:"partition"`
	IdleSeconds        int64         `json:"idleSeconds"`
	OIDC               *OIDCSettings `json:"oidc"`
	Destination        string        `json:"destination"`
	MinIntervalSeconds int64         `json:"minIntervalSeconds"`
}

// OIDCSettings is what a page knows of the OIDC provider.
type OIDCSettings struct {
	Name string `json:"name"`
}

// settings is GET settings.
func (c *Console) settings(context.Context, *request) (any, error) {
	out := &Settings{
		Version: c.cfg.Version, Region: c.cfg.Region, Partition: c.cfg.API.Partition, Destination: c.cfg.Destination,
		IdleSeconds: int64(c.cfg.Idle / time.Second), MinIntervalSeconds: int64(c.cfg.MinInterval / time.Second),
	}
	if c.cfg.OIDC != nil {
		out.OIDC = &OIDCSettings{Name: c.cfg.OIDC.name()}
	}
	return out, nil
}
