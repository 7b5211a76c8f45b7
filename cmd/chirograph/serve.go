package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"regexp"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"chirograph.dev/internal/bucket"
	"chirograph.dev/internal/console"
)

// serveConfig is every setting of a server; each field is a flag of serve.
type serveConfig struct {
	DataDir  string // everything the server keeps
	Listen   string // address of the API
	S3Listen string // address of the embedded bucket service

	Account   string // 12 digits; of the administrator, on first start
	Region    string // empty: what the first start fixed, us-east-1 then
	Partition string // of ARNs; empty: what the first start fixed, aws then

	// ServerName starts the name of every CA's log; it is fixed by the first start.
	ServerName    string
	MasterKeyFile string // empty: DataDir/master.key, made on first start
	PublicURL     string // of the API, for the client files; empty: from Listen
	S3PublicURL   string

	TLSCert, TLSKey string
	InsecureHTTP    bool // plain HTTP on addresses that other machines reach

	LogLevel, LogFormat string

	AuditMinInterval   time.Duration
	AuditAllowInactive bool
	AuditPreflight     string
	// AuditAllowedBuckets are the ACCOUNT=BUCKET pairs that reports may go to; empty: any.
	AuditAllowedBuckets string

	ServicePrincipals  string // service principals with an access key of their own, comma-separated
	ResetAdministrator bool   // make a fresh access key for the user admin

	MixedSubjects bool // custom attributes beside standard ones

	KeyStandards         string        // accepted values of KeyStorageSecurityStandard, comma-separated; empty: all
	PermissionPrincipals string        // services that may have permissions, comma-separated
	StrictPolicies       bool          // policies of CAs in the form of 2023 alone
	ClassicTemplates     bool          // other accounts use the six classic templates alone
	SyncValidation       bool          // name constraints are judged before the answer
	VisibilityDelay      time.Duration // until GetCertificate has a certificate, for tests of clients

	Throttle       string // rates, as parseThrottle reads them
	Quota          string // as parseQuota reads them
	MaxInFlight    int    // API calls served at a time; 0: any number
	MaxConnections int    // open connections of each address

	BucketCompression bool // of what the embedded bucket service writes

	// Destination says where reports go: "embedded", "aws", or the URL of an
	// S3-compatible service.
	Destination              string
	DestinationRegion        string
	DestinationAuthorization string // policy or credentials
	DestinationUniformParts  bool
	DestinationAccessKeyID   string // empty: the AWS SDK's usual sources
	DestinationSecretKey     string

	segmentConfig
	witnessConfig
	consoleConfig
	revocationConfig

	now func() time.Time // of certificate authorities and sessions, in tests; nil: time.Now
}

func defaultServeConfig() serveConfig {
	return serveConfig{
		DataDir:                  defaultDataDir(),
		Listen:                   "127.0.0.1:8440",
		S3Listen:                 "127.0.0.1:8441",
		Account:                  "123456789012",
		LogLevel:                 "info",
		LogFormat:                "text",
		AuditMinInterval:         30 * time.Minute,
		AuditAllowInactive:       true,
		AuditPreflight:           string(bucket.PreflightWrite),
		PermissionPrincipals:     "acm.amazonaws.com",
		Throttle:                 "off",
		Quota:                    "off",
		MaxInFlight:              defaultInFlight,
		MaxConnections:           defaultConnections,
		BucketCompression:        true,
		Destination:              "embedded",
		DestinationAuthorization: string(bucket.AuthorizePolicy),
		segmentConfig:            segmentConfig{Segments: true},
		witnessConfig:            defaultWitnessConfig(),
		consoleConfig:            defaultConsoleConfig(),
		revocationConfig:         defaultRevocationConfig(),
	}
}

func newServe() *cobra.Command {
	cfg := defaultServeConfig()
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Run the server: the API, and a bucket service for the reports",
		Long: `serve runs everything in one process: AWS Private CA's API with IAM, STS and
Organizations on --listen, with a console for browsers at /console/, and an
S3-compatible bucket service on --s3-listen. On first start it makes the data folder, an administrator's access key and the files
that point the aws CLI and the AWS SDKs at it (see chirograph env).

SIGINT or SIGTERM stops it gracefully; a report that is being written goes on
at the next start.`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := settings(cmd); err != nil {
				return err
			}
			log, err := newLogger(cmd.ErrOrStderr(), cfg.LogLevel, cfg.LogFormat)
			if err != nil {
				return err
			}
			spareProcessors()
			return serve(cmd.Context(), cfg, log, func(e endpoints) {
				if cfg.LogFormat == "json" { // whoever reads JSON lines wants nothing else among them
					log.Info("serving", "version", version(), "api", e.API, "s3", e.S3, "console", e.Console, "ocsp", e.OCSP, "crls", e.CRLs, "destination", cfg.Destination, "data_dir", e.DataDir, "credentials", e.Credentials, "master_key", e.MasterKey, "master_key_made", e.MasterKeyMade)
					return
				}
				out := cmd.ErrOrStderr()
				fmt.Fprintf(out, "chirograph %s\n  API          %s  (acm-pca, iam, sts, organizations; health at %s/healthz, metrics at %s/metrics)\n", version(), e.API, e.API, e.API)
				if e.Console != "" {
					fmt.Fprintf(out, "  console      %s\n", e.Console)
				}
				if e.S3 != "" {
					fmt.Fprintf(out, "  buckets      %s  (S3)\n", e.S3)
				}
				fmt.Fprintf(out, "  revocation   %s  (OCSP), %s  (CRLs)\n", e.OCSP, e.CRLs)
				fmt.Fprintf(out, "  reports go   %s\n  data         %s\n  credentials  %s\n", e.Destination, e.DataDir, e.Credentials)
				if e.MasterKeyMade {
					fmt.Fprintf(out, "  master key   %s was made now. Whoever reads it and the data folder has every CA key: keep it elsewhere (--master-key-file) and back it up.\n", e.MasterKey)
				}
				fmt.Fprintf(out, "Use it:  eval \"$(%s env --data-dir %s)\"\n", self(), shellQuote(e.DataDir))
			})
		},
	}
	f := cmd.Flags()
	f.StringVar(&cfg.DataDir, "data-dir", cfg.DataDir, "folder for everything the server keeps; one process at a time")
	f.StringVar(&cfg.Listen, "listen", cfg.Listen, "address of the API")
	f.StringVar(&cfg.S3Listen, "s3-listen", cfg.S3Listen, "address of the embedded bucket service")
	f.StringVar(&cfg.Account, "account", cfg.Account, "account id (12 digits) of the administrator, on first start")
	f.StringVar(&cfg.Region, "region", cfg.Region, "region that requests must be signed for and that ARNs carry; fixed by the first start (default us-east-1)")
	f.StringVar(&cfg.Partition, "partition", cfg.Partition, "partition of ARNs; fixed by the first start (default aws)")
	f.StringVar(&cfg.ServerName, "server-name", cfg.ServerName, "name that starts every CA's log, such as pca.example.com; fixed by the first start (default: the host's name)")
	f.StringVar(&cfg.MasterKeyFile, "master-key-file", cfg.MasterKeyFile, "file of the key that seals all private keys (default: master.key in the data folder, made on first start)")
	f.StringVar(&cfg.PublicURL, "public-url", cfg.PublicURL, "URL at which clients reach the API, for the client files (default: from --listen)")
	f.StringVar(&cfg.S3PublicURL, "s3-public-url", cfg.S3PublicURL, "URL at which clients reach the buckets (default: from --s3-listen)")
	f.StringVar(&cfg.TLSCert, "tls-cert", cfg.TLSCert, "PEM certificate chain to serve HTTPS with, on both addresses")
	f.StringVar(&cfg.TLSKey, "tls-key", cfg.TLSKey, "PEM private key of --tls-cert")
	f.BoolVar(&cfg.InsecureHTTP, "insecure-http", cfg.InsecureHTTP, "serve plain HTTP also on addresses that other machines reach")
	f.StringVar(&cfg.LogLevel, "log-level", cfg.LogLevel, "debug, info, warn or error")
	f.StringVar(&cfg.LogFormat, "log-format", cfg.LogFormat, "text or json")
	f.DurationVar(&cfg.AuditMinInterval, "audit-min-interval", cfg.AuditMinInterval, "least time between two reports of a CA; 0 switches the rule off")
	f.BoolVar(&cfg.AuditAllowInactive, "audit-allow-inactive", cfg.AuditAllowInactive, "let expired CAs have reports")
	f.StringVar(&cfg.KeyStandards, "key-standards", cfg.KeyStandards, "values of KeyStorageSecurityStandard that are accepted and shown again, separated by commas; the keys are files whatever is accepted (default: all)")
	f.StringVar(&cfg.PermissionPrincipals, "permission-principals", cfg.PermissionPrincipals, "services that CreatePermission takes, separated by commas")
	f.BoolVar(&cfg.StrictPolicies, "policy-strict-aws-2023", cfg.StrictPolicies, "take policies of certificate authorities in AWS's exact form of 2023 alone")
	f.BoolVar(&cfg.ClassicTemplates, "cross-account-classic-templates", cfg.ClassicTemplates, "let other accounts use the six classic templates alone, whatever a policy says")
	f.BoolVar(&cfg.SyncValidation, "sync-validation", cfg.SyncValidation, "refuse at once what name constraints forbid; AWS answers an ARN whose certificate then fails")
	f.DurationVar(&cfg.VisibilityDelay, "visibility-delay", cfg.VisibilityDelay, "how long GetCertificate says that a certificate is in progress, to test clients with")
	f.StringVar(&cfg.ServicePrincipals, "service-principal", cfg.ServicePrincipals, "services that act here, separated by commas, such as acm.amazonaws.com; each has an access key in a profile of its name in the client files, and may do what resources grant it")
	f.BoolVar(&cfg.ResetAdministrator, "reset-administrator", cfg.ResetAdministrator, "make a fresh access key for the user admin of the first account, which gets AdministratorAccess as its only policy; for whoever locked everybody out")
	f.BoolVar(&cfg.MixedSubjects, "subject-allow-mixed", cfg.MixedSubjects, "let subjects have CustomAttributes beside standard attributes, which come first; AWS documents that as an error")
	f.StringVar(&cfg.AuditPreflight, "audit-preflight", cfg.AuditPreflight, "how a bucket is tried before a report is accepted: off, head or write")
	f.StringVar(&cfg.AuditAllowedBuckets, "audit-allowed-buckets", cfg.AuditAllowedBuckets, "the only buckets that reports may go to: ACCOUNT=BUCKET items separated by commas, * for every account (default: any bucket)")
	f.StringVar(&cfg.Throttle, "throttle", cfg.Throttle, "requests per second of an account: off, aws (AWS's figures), or items such as aws,IssueCertificate=100")
	f.StringVar(&cfg.Quota, "quota", cfg.Quota, "how many there may be: off, aws, or items such as certificate-authorities=200,certificates-per-ca=1000000")
	f.IntVar(&cfg.MaxInFlight, "max-in-flight", cfg.MaxInFlight, "API calls served at a time, of all accounts; 0 is any number")
	f.IntVar(&cfg.MaxConnections, "max-connections", cfg.MaxConnections, "open connections of each address; further ones wait")
	f.BoolVar(&cfg.BucketCompression, "bucket-compression", cfg.BucketCompression, "compress on the disk what the embedded bucket service takes from now on, where it shrinks")
	f.StringVar(&cfg.Destination, "destination", cfg.Destination, "where reports go: embedded, aws, or the URL of an S3-compatible service")
	f.StringVar(&cfg.DestinationRegion, "destination-region", cfg.DestinationRegion, "region of --destination (default: --region)")
	f.StringVar(&cfg.DestinationAuthorization, "destination-authorization", cfg.DestinationAuthorization, "who decides whether a CA may write to a bucket of --destination: policy (the bucket's policy) or credentials (the store, for stores that cannot hold the policy)")
	f.BoolVar(&cfg.DestinationUniformParts, "destination-uniform-parts", cfg.DestinationUniformParts, "upload parts of equal length, for stores that want it")
	f.StringVar(&cfg.DestinationAccessKeyID, "destination-access-key-id", cfg.DestinationAccessKeyID, "access key for --destination (default: the AWS SDK's usual sources)")
	f.StringVar(&cfg.DestinationSecretKey, "destination-secret-access-key", cfg.DestinationSecretKey, "secret of --destination-access-key-id; better given by CHIROGRAPH_DESTINATION_SECRET_ACCESS_KEY or the configuration file than on a command line")
	cfg.segmentConfig.flags(cmd)
	cfg.witnessConfig.flags(cmd)
	cfg.consoleConfig.flags(cmd)
	cfg.revocationConfig.flags(cmd)
	choices(cmd, "log-level", "debug", "info", "warn", "error")
	choices(cmd, "log-format", "text", "json")
	choices(cmd, "audit-preflight", string(bucket.PreflightOff), string(bucket.PreflightHead), string(bucket.PreflightWrite))
	choices(cmd, "destination", "embedded", "aws", "https://")
	choices(cmd, "destination-authorization", string(bucket.AuthorizePolicy), string(bucket.AuthorizeCredentials))
	return cmd
}

var servicePrincipal = regexp.MustCompile(`^[a-z0-9.-]+\.amazonaws\.com(\.cn)?$`)
var accountID = regexp.MustCompile(`^[0-9]{12}$`)
var partitionName = regexp.MustCompile(`^aws(-[a-z]+)*$`)
var regionName = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,62}$`)

// check refuses settings that contradict each other before anything is opened.
func (c *serveConfig) check() error {
	switch {
	case !accountID.MatchString(c.Account):
		return usageError("", "--account %q is not an account id of 12 digits", c.Account)
	case c.Region != "" && !regionName.MatchString(c.Region):
		return usageError("", "--region %q is not a region name such as us-east-1", c.Region)
	case c.Partition != "" && !partitionName.MatchString(c.Partition):
		return usageError("", "--partition %q is not a partition of AWS such as aws, aws-cn or aws-us-gov", c.Partition)
	case (c.TLSCert == "") != (c.TLSKey == ""):
		return usageError("", "--tls-cert and --tls-key belong together")
	case c.AuditMinInterval < 0:
		return usageError("", "--audit-min-interval must not be negative")
	case c.AuditPreflight != string(bucket.PreflightOff) && c.AuditPreflight != string(bucket.PreflightHead) && c.AuditPreflight != string(bucket.PreflightWrite):
		return usageError("", "--audit-preflight is off, head or write, not %q", c.AuditPreflight)
	case c.DestinationAuthorization != string(bucket.AuthorizePolicy) && c.DestinationAuthorization != string(bucket.AuthorizeCredentials):
		return usageError("", "--destination-authorization is policy or credentials, not %q", c.DestinationAuthorization)
	case (c.DestinationAccessKeyID == "") != (c.DestinationSecretKey == ""):
		return usageError("", "--destination-access-key-id and --destination-secret-access-key belong together")
	}
	for _, service := range splitList(c.ServicePrincipals) {
		if !servicePrincipal.MatchString(service) {
			return usageError("", "--service-principal %q is not a service principal such as acm.amazonaws.com", service)
		}
	}
	if err := c.checkLimits(); err != nil {
		return err
	}
	if err := checkDestination("--destination", c.Destination); err != nil {
		return err
	}
	if err := c.segmentConfig.check(c.Destination); err != nil {
		return err
	}
	if err := c.witnessConfig.check(); err != nil {
		return err
	}
	if err := c.consoleConfig.check(c.PublicURL); err != nil {
		return err
	}
	if err := c.revocationConfig.check(); err != nil {
		return err
	}
	for _, l := range []struct{ flag, address string }{{"--listen", c.Listen}, {"--s3-listen", c.S3Listen}} {
		host, _, err := net.SplitHostPort(l.address)
		if err != nil {
			return usageError("", "%s %q is not an address such as 127.0.0.1:8440", l.flag, l.address)
		}
		if c.TLSCert == "" && !c.InsecureHTTP && !loopback(host) {
			return usageError("give --tls-cert and --tls-key, or listen on 127.0.0.1; --insecure-http forces plain HTTP",
				"%s %s is reachable from other machines, and without TLS requests and answers can be read and changed on the way", l.flag, l.address)
		}
	}
	return nil
}

func loopback(host string) bool {
	if host == "localhost" {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}

// endpoints tells a person where a started server is.
type endpoints struct {
	API, S3       string
	Relying       string // --revocation-listen; empty: there is none
	OCSP, CRLs    string // in certificates of CAs without names of their own
	Console       string // for browsers; empty: there is none
	Destination   string
	DataDir       string
	Credentials   string // file
	MasterKey     string // file
	MasterKeyMade bool
}

// serve runs a server until ctx ends; started is called once it serves.
func serve(ctx context.Context, cfg serveConfig, log *slog.Logger, started func(endpoints)) (err error) {
	if err := cfg.check(); err != nil {
		return err
	}
	secure, err := tlsConfig(cfg)
	if err != nil {
		return err
	}
	addresses := 2
	if cfg.RevocationListen != "" {
		addresses++
	}
	if fit := fitConnections(cfg.MaxConnections, addresses); fit < cfg.MaxConnections {
		log.Warn("fewer connections than --max-connections, since the process may open few files", "connections", fit)
		cfg.MaxConnections = fit
	}
	// Addresses are taken first: a second server on the same address fails
	// before it touches the data.
	api, err := listen(ctx, "--listen", cfg.Listen, cfg.MaxConnections)
	if err != nil {
		return err
	}
	defer api.Close()
	s3, err := listen(ctx, "--s3-listen", cfg.S3Listen, cfg.MaxConnections)
	if err != nil {
		return err
	}
	defer s3.Close()
	var relying net.Listener
	if cfg.RevocationListen != "" {
		if relying, err = listen(ctx, "--revocation-listen", cfg.RevocationListen, cfg.MaxConnections); err != nil {
			return err
		}
		defer relying.Close()
	}

	h, err := openHouse(ctx, cfg, log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, h.Close()) }()

	where := endpoints{
		API: publicURL(cfg.PublicURL, secure != nil, api), S3: publicURL(cfg.S3PublicURL, secure != nil, s3),
		DataDir: h.dataDir, MasterKey: h.masterKeyFile, MasterKeyMade: h.masterKeyMade,
		Destination: "to the buckets of this server",
	}
	if cfg.Console {
		where.Console = where.API + console.Home
	}
	switch cfg.Destination {
	case "embedded":
	case "aws":
		where.Destination = "to Amazon S3"
	default:
		where.Destination = "to " + cfg.Destination
	}
	if relying != nil {
		where.Relying = publicURL("", false, relying)
		host, _, _ := net.SplitHostPort(cfg.RevocationListen) // check has looked at it
		if ip := net.ParseIP(host); (host == "" || ip != nil && ip.IsUnspecified()) && (cfg.OCSPURL == "" || cfg.CRLURL == "" && cfg.Destination == "embedded") {
			log.Warn("certificates will name "+where.Relying+", which only this machine reaches, for OCSP or CRLs; say with --ocsp-url and --crl-url what --revocation-listen is called elsewhere", "address", cfg.RevocationListen)
		}
	}
	if where.Credentials, err = h.writeClientFiles(where); err != nil {
		return err
	}
	where.OCSP, where.CRLs = h.ocspURL(), h.crlURL("BUCKET", "KEY", false)

	g, gctx := errgroup.WithContext(ctx)
	var servers []*http.Server
	serveOn := func(l net.Listener, handler http.Handler) {
		s := newHTTPServer(handler, log)
		servers = append(servers, s)
		g.Go(func() error {
			if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
				return fmt.Errorf("serving %s: %w", l.Addr(), err)
			}
			return nil
		})
	}
	for _, a := range []struct {
		l           net.Listener
		main, plain http.Handler
	}{{api, h.api, plainAPI(h.relying)}, {s3, h.s3, plainBuckets(h.s3)}} {
		if secure == nil {
			serveOn(a.l, a.main)
			continue
		}
		overTLS, plain := byFirstByte(a.l)
		serveOn(tls.NewListener(overTLS, secure), a.main)
		serveOn(plain, a.plain)
	}
	if relying != nil {
		serveOn(relying, &h.relying)
	}
	g.Go(func() error { return h.run(gctx) })
	g.Go(func() error {
		<-gctx.Done()
		h.ready.Store(false)
		// Requests under way are answered; those that take longer are cut off,
		// which loses nothing that was acknowledged.
		stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), 20*time.Second)
		defer cancel()
		var errs []error
		for _, s := range servers {
			err := s.Shutdown(stop)
			if errors.Is(err, context.DeadlineExceeded) {
				log.Warn("requests that took too long to end were cut off")
				err = s.Close()
			}
			if err != nil {
				errs = append(errs, fmt.Errorf("stopping: %w", err))
			}
		}
		return errors.Join(errs...)
	})
	h.ready.Store(true)
	go keepSmall(gctx)
	started(where)
	return g.Wait()
}

func newHTTPServer(h http.Handler, log *slog.Logger) *http.Server {
	return &http.Server{
		Handler:           timedBodies{h, bodyIdle, bodyStart},
		ReadHeaderTimeout: 20 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
}

func listen(ctx context.Context, flag, address string, connections int) (net.Listener, error) {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	if err != nil {
		return nil, &exitError{code: exitFailure, hint: "another program may use the address; choose another with " + flag, err: fmt.Errorf("%s: %w", flag, err)}
	}
	return newBoundedListener(l, connections), nil
}

// tlsConfig is how both addresses serve HTTPS; nil without a certificate.
func tlsConfig(cfg serveConfig) (*tls.Config, error) {
	if cfg.TLSCert == "" {
		return nil, nil
	}
	cert, err := tls.LoadX509KeyPair(cfg.TLSCert, cfg.TLSKey)
	if err != nil {
		return nil, usageError("both files must be PEM and belong to each other", "--tls-cert, --tls-key: %w", err)
	}
	return &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12}, nil
}

// publicURL is the URL for clients on this machine unless one is configured.
func publicURL(configured string, secure bool, l net.Listener) string {
	if configured != "" {
		return strings.TrimSuffix(configured, "/")
	}
	scheme := "http"
	if secure {
		scheme = "https"
	}
	host, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		return scheme + "://" + l.Addr().String()
	}
	if ip := net.ParseIP(host); ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	return scheme + "://" + net.JoinHostPort(host, port)
}

func newLogger(w interface{ Write([]byte) (int, error) }, level, format string) (*slog.Logger, error) {
	var l slog.Level
	if err := l.UnmarshalText([]byte(level)); err != nil {
		return nil, usageError("use debug, info, warn or error", "--log-level: %w", err)
	}
	opts := &slog.HandlerOptions{Level: l}
	switch format {
	case "text":
		return slog.New(slog.NewTextHandler(w, opts)), nil
	case "json":
		return slog.New(slog.NewJSONHandler(w, opts)), nil
	}
	return nil, usageError("use text or json", "unknown --log-format %q", format)
}

// hostName is the default of --server-name.
func hostName() string {
	name, err := os.Hostname()
	if err != nil || name == "" {
		return "localhost"
	}
	return strings.ToLower(name)
}
