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
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"chirograph.dev/internal/awsjson"
	"chirograph.dev/internal/ca"
	"chirograph.dev/internal/certlog"
	"chirograph.dev/internal/iam"
	"chirograph.dev/internal/pca"
)

// Prefix is the path below which the console lies; Home is its first page.
const (
	Prefix = "/console"
	Home   = Prefix + "/"
	api    = Home + "api/"
)

// Config is all that a Console needs.
type Config struct {
	// API is the API's: its operations, who may call them, its limits, its log
	// and its metrics. Authenticate of it is the console's own.
	API awsjson.Config
	// Authorities are the certificate authorities behind the API.
	Authorities *ca.Service
	// Entries are the logs.
	Entries certlog.Store

	Version     string // of the program
	Region      string
	Destination string        // where reports go, in words
	MinInterval time.Duration // between two reports of a CA

	// Idle is how long a session lasts without use, Longest how long at the
	// most; 0: 30 minutes and 12 hours.
	Idle, Longest time.Duration
	// Secure says that browsers reach this server by HTTPS although it serves
	// HTTP, behind a proxy: cookies are for HTTPS alone.
	Secure bool
}

// Console answers requests at /console and below it. It is safe for concurrent use.
type Console struct {
	cfg Config
}

// New makes a Console. Errors are mistakes of cfg.
func New(cfg Config) (*Console, error) {
	return &Console{cfg: cfg}, nil
}

// ServeHTTP answers one request.
func (c *Console) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	http.NotFound(w, r)
}

// route is one of the console's own routes below /console/api/.
type route struct {
	action  string // that it needs; its name in logs and metrics, too
	own     bool   // it needs none: it tells callers what is theirs to know
	maxBody int64  // bytes
	serve   func(ctx context.Context, in *request) (any, error)
}

// request is what a route gets: the query, and the body.
type request struct {
	url.Values
	body []byte
}

// read decodes the body, a JSON object of known members.
func (in *request) read(into any) error {
	d := json.NewDecoder(strings.NewReader(string(in.body)))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return pca.Errorf(pca.SerializationException, "The body is not the JSON that this route takes: %v", err)
	}
	return nil
}

// routes are the console's own routes by method and path. What needs an action
// has it allowed with authority or awsjson.Authorize before it tells anything.
func (c *Console) routes() map[string]route {
	return map[string]route{}
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
	return nil, fmt.Errorf("console: outside of a call")
}
