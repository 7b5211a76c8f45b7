package main

import (
	"context"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"chirograph.dev/internal/awsjson"
	"chirograph.dev/internal/console"
)

// consoleConfig says whether there is a console, how long people stay signed
// in, and with what they may sign in besides access keys (docs/console.md).
type consoleConfig struct {
	Console        bool
	ConsoleIdle    time.Duration
	ConsoleSession time.Duration

	ConsoleOIDCIssuer       string // empty: access keys alone
	ConsoleOIDCName         string
	ConsoleOIDCClientID     string
	ConsoleOIDCClientSecret string
	ConsoleOIDCScopes       []string
	ConsoleOIDCRoles        []string // ARNs
}

func defaultConsoleConfig() consoleConfig {
	return consoleConfig{Console: true, ConsoleIdle: console.DefaultIdle, ConsoleSession: console.DefaultLongest, ConsoleOIDCScopes: []string{"email"}}
}

func (c *consoleConfig) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.BoolVar(&c.Console, "console", c.Console, "serve the console for browsers at /console/ on --listen")
	f.DurationVar(&c.ConsoleIdle, "console-idle", c.ConsoleIdle, "how long a session of the console lasts without use")
	f.DurationVar(&c.ConsoleSession, "console-session", c.ConsoleSession, "how long a session of the console lasts at the most")
	f.StringVar(&c.ConsoleOIDCIssuer, "console-oidc-issuer", "", "URL of an OIDC provider that people may sign in to the console with; it is also a provider of the roles' account, with --console-oidc-client-id among its clients")
	f.StringVar(&c.ConsoleOIDCName, "console-oidc-name", "", "what the console calls that provider (default: its host)")
	f.StringVar(&c.ConsoleOIDCClientID, "console-oidc-client-id", "", "this server's client id at that provider")
	f.StringVar(&c.ConsoleOIDCClientSecret, "console-oidc-client-secret", "", "this server's secret at that provider; better given by CHIROGRAPH_CONSOLE_OIDC_CLIENT_SECRET or the configuration file than on a command line (default: none, as a public client)")
	f.StringSliceVar(&c.ConsoleOIDCScopes, "console-oidc-scopes", c.ConsoleOIDCScopes, "scopes to ask that provider for besides openid")
	f.StringSliceVar(&c.ConsoleOIDCRoles, "console-oidc-roles", nil, "ARNs of the roles for people of that provider, repeated or separated by commas; the first whose trust policy allows the token is what a person gets")
}

var consoleRole = regexp.MustCompile(`^arn:aws[a-z-]*:iam::[0-9]{12}:role/[!-~]+$`)

// check refuses what contradicts itself before anything is opened.
func (c *consoleConfig) check(publicURL string) error {
	switch {
	case c.ConsoleIdle < time.Minute || c.ConsoleSession < c.ConsoleIdle:
		return usageError("", "--console-idle is at least 1m, and --console-session at least --console-idle")
	case c.ConsoleOIDCIssuer == "" && (c.ConsoleOIDCClientID != "" || c.ConsoleOIDCClientSecret != "" || c.ConsoleOIDCName != "" || len(c.ConsoleOIDCRoles) > 0):
		return usageError("name the provider with --console-oidc-issuer", "there are settings of an OIDC provider and no provider")
	case c.ConsoleOIDCIssuer == "":
		return nil
	case c.ConsoleOIDCClientID == "" || len(c.ConsoleOIDCRoles) == 0:
		return usageError("", "--console-oidc-issuer needs --console-oidc-client-id and --console-oidc-roles")
	case publicURL == "":
		return usageError("give the URL at which browsers reach this server, such as https://pca.example.com", "--console-oidc-issuer needs --public-url, which the provider sends browsers back to")
	}
	if u, err := url.Parse(c.ConsoleOIDCIssuer); err != nil || u.Host == "" || u.Scheme != "https" && !(u.Scheme == "http" && loopback(u.Hostname())) {
		return usageError("", "--console-oidc-issuer %q is not a URL that begins with https://", c.ConsoleOIDCIssuer)
	}
	for _, role := range c.ConsoleOIDCRoles {
		if !consoleRole.MatchString(role) {
			return usageError("", "--console-oidc-roles %q is not a role's ARN such as arn:aws:iam::123456789012:role/auditors", role)
		}
	}
	return nil
}

// console is what server.Config.Console makes.
func (h *house) console(api awsjson.Config) (http.Handler, error) {
	api.Now = h.cfg.now
	cfg := console.Config{
		API: api, Authorities: h.cas, Records: h.db, Entries: h.db, Reports: h.reports, Inventory: h.inventory,
		CRLs: h.lists, OCSPURL: h.ocspURL,
		Buckets: h.bucketsFor, Link: h.reportLink,
		Version: version(), Region: h.cfg.Region, Destination: destinationWords(h.cfg.Destination), MinInterval: h.cfg.AuditMinInterval,
		Idle: h.cfg.ConsoleIdle, Longest: h.cfg.ConsoleSession,
		Secure: strings.HasPrefix(h.cfg.PublicURL, "https:"),
	}
	if h.cfg.ConsoleOIDCIssuer != "" {
		cfg.OIDC = &console.OIDC{
			Name: h.cfg.ConsoleOIDCName, Issuer: h.cfg.ConsoleOIDCIssuer,
			ClientID: h.cfg.ConsoleOIDCClientID, ClientSecret: h.cfg.ConsoleOIDCClientSecret,
			Scopes: h.cfg.ConsoleOIDCScopes, Roles: h.cfg.ConsoleOIDCRoles,
			PublicURL: h.cfg.PublicURL, Assume: h.people.AssumeRoleWithWebIdentity,
		}
	}
	return console.New(cfg)
}

// destinationWords says where reports go.
func destinationWords(destination string) string {
	switch destination {
	case "embedded":
		return "the embedded bucket service"
	case "aws":
		return "Amazon S3"
	}
	return destination
}

// followLogs keeps the console's inventory. Nothing else needs it: what is
// wrong with it ends the following alone.
func (h *house) followLogs(ctx context.Context) {
	if err := h.inventory.Run(ctx); err != nil && ctx.Err() == nil {
		h.log.ErrorContext(ctx, "the console's inventory no longer follows the logs; delete inventory.db and start again", "error", err)
	}
}
