package main

import (
	"context"
	"crypto/hkdf"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"chirograph.dev/internal/auditlog"
	"chirograph.dev/internal/auditreport"
	"chirograph.dev/internal/awsjson"
	"chirograph.dev/internal/bucket"
	"chirograph.dev/internal/bucket/local"
	"chirograph.dev/internal/ca"
	"chirograph.dev/internal/certlog"
	"chirograph.dev/internal/crl"
	"chirograph.dev/internal/iam"
	"chirograph.dev/internal/identity"
	"chirograph.dev/internal/inventory"
	"chirograph.dev/internal/keystore"
	"chirograph.dev/internal/ocsp"
	"chirograph.dev/internal/pca"
	"chirograph.dev/internal/server"
	"chirograph.dev/internal/store"
	"chirograph.dev/internal/store/sqlite"
)

// house is all rooms wired together.
type house struct {
	cfg           serveConfig
	log           *slog.Logger
	dataDir       string
	masterKeyFile string
	masterKeyMade bool

	db      *sqlite.DB
	keys    *keystore.Store
	entries *certlog.Log
	logs    *auditlog.Service
	cas     *ca.Service
	reports *auditreport.Service
	buckets *local.Service
	people  *identity.Service
	lists   *crl.Service
	ocsp    *ocsp.Service

	inventory *inventory.Index // nil: no console

	where        atomic.Pointer[endpoints] // known before the house serves
	destinations sync.Mutex
	elsewhere    *bucket.Client // of an external destination; nil before its first use
	beside       *bucket.Client // of the segments in it

	registry *prometheus.Registry
	api, s3  http.Handler
	relying  server.Relying
	ready    atomic.Bool
}

// openHouse opens the data folder and wires the rooms. What it opened before an
// error is closed again.
func openHouse(ctx context.Context, cfg serveConfig, log *slog.Logger) (_ *house, err error) {
	h := &house{cfg: cfg, log: log, registry: prometheus.NewRegistry()}
	defer func() {
		if err != nil {
			err = errors.Join(err, h.Close())
		}
	}()
	if h.dataDir, err = filepath.Abs(cfg.DataDir); err != nil {
		return nil, fmt.Errorf("resolving the data folder: %w", err)
	}
	if err := os.MkdirAll(h.dataDir, 0o700); err != nil {
		return nil, &exitError{code: exitFailure, hint: "choose a folder you can write to with --data-dir", err: fmt.Errorf("making the data folder: %w", err)}
	}
	// The database holds the folder's lock, so it comes first.
	if h.db, err = sqlite.Open(ctx, sqlite.Config{Path: filepath.Join(h.dataDir, "chirograph.db"), Log: log}); err != nil {
		return nil, explainOpen(h.dataDir, err)
	}
	masterKey, err := h.openMasterKey(ctx)
	if err != nil {
		return nil, err
	}
	if h.keys, err = keystore.Open(keystore.Config{Dir: filepath.Join(h.dataDir, "keys"), MasterKey: masterKey}); err != nil {
		return nil, fmt.Errorf("opening the keys: %w", err)
	}
	serverName, err := h.serverName(ctx)
	if err != nil {
		return nil, err
	}
	if err := h.pinRegion(ctx); err != nil {
		return nil, err
	}
	cfg = h.cfg
	if err := h.openPeople(ctx, masterKey); err != nil {
		return nil, err
	}

	h.entries = certlog.New(certlog.Config{Store: h.db, Log: log})
	if err := h.checkStore(ctx); err != nil {
		return nil, err
	}
	pageKey, err := hkdf.Key(sha256.New, masterKey[:], nil, "chirograph page tokens", sha256.Size)
	if err != nil {
		return nil, fmt.Errorf("deriving the page key: %w", err)
	}
	quota, err := parseQuota(cfg.Quota)
	if err != nil {
		return nil, err
	}
	standards, err := parseStandards(cfg.KeyStandards)
	if err != nil {
		return nil, err
	}
	told := &publishers{}
	h.cas, err = ca.New(ctx, ca.Config{
		Partition: cfg.Partition, Region: cfg.Region, ServerName: serverName, MixedSubjects: cfg.MixedSubjects,
		Records: h.db, Overview: h.db, Certificates: h.db, Entries: h.entries, Keys: h.keys,
		Caller:        caller,
		AuthorizeAlso: awsjson.Authorize,
		PageKey:       [32]byte(pageKey),
		Quotas:        ca.Quotas(quota),
		KeyStandards:  standards, PermissionPrincipals: splitList(cfg.PermissionPrincipals),
		StrictAWS2023: cfg.StrictPolicies, CrossAccountClassicSix: cfg.ClassicTemplates,
		SyncValidation: cfg.SyncValidation, VisibilityDelay: cfg.VisibilityDelay,
		CRLs: told, OCSPURL: h.ocspURL, Changed: told.changed, Revoked: told.revoked, RequireBucketWrite: cfg.RevokeRequireBucketWrite,
		Log: log,
		Now: cfg.now,
	})
	if err != nil {
		return nil, fmt.Errorf("opening the certificate authorities: %w", err)
	}
	h.buckets, err = local.Open(local.Config{Dir: filepath.Join(h.dataDir, "buckets"), Credentials: h.people.For("s3"), Region: cfg.Region, Plain: !cfg.BucketCompression, Log: log})
	if err != nil {
		return nil, fmt.Errorf("opening the buckets: %w", err)
	}
	if err := h.openPublishers(ctx, told); err != nil {
		return nil, err
	}
	if err := h.openLogs(); err != nil {
		return nil, err
	}
	buckets, err := parseAllowedBuckets(cfg.AuditAllowedBuckets)
	if err != nil {
		return nil, err
	}
	reports := auditreport.Config{
		Log: h.entries, Entries: h.db, Reports: h.db, Parts: h.db,
		Checkpoints: h.logs, Packs: h.db, Settings: h.db,
		Authorities:   authorities{h.cas, cfg},
		Destination:   h.destination,
		Certificates:  h.installed,
		AllowBucket:   buckets.allow,
		Partition:     cfg.Partition,
		MinInterval:   cfg.AuditMinInterval,
		RefuseExpired: !cfg.AuditAllowInactive,
		Logger:        log,
		Now:           cfg.now,
	}
	if cfg.Segments {
		reports.Segments, reports.SegmentRecords = h.segments, h.db
	}
	if h.reports, err = auditreport.New(reports); err != nil {
		return nil, fmt.Errorf("opening the audit reports: %w", err)
	}
	if cfg.Console {
		h.inventory, err = inventory.Open(ctx, inventory.Config{Path: filepath.Join(h.dataDir, "inventory.db"), Logs: h.db, Certificates: h.db, Log: log, Now: cfg.now})
		if err != nil {
			return nil, fmt.Errorf("opening the console's inventory: %w", err)
		}
	}
	if err := h.logs.Check(ctx); err != nil {
		return nil, fmt.Errorf("comparing the logs with what is known of them elsewhere: %w", err)
	}
	return h, h.wire()
}

// wire puts the operations behind the front.
func (h *house) wire() error {
	rates, err := parseThrottle(h.cfg.Throttle)
	if err != nil {
		return err
	}
	h.s3 = h.buckets
	var browsers func(awsjson.Config) (http.Handler, error)
	if h.cfg.Console {
		browsers = h.console
	}
	h.api, err = server.New(server.Config{
		Console: browsers,
		API: awsjson.Config{
			Partition: h.cfg.Partition, Regions: []string{h.cfg.Region},
			Credentials: h.people.For(pca.Service),
			Authorize:   h.cas.Authorize,
			Rates:       rates, MaxInFlight: h.cfg.MaxInFlight,
			Log: h.log,
			Operations: []awsjson.Operation{
				awsjson.Op("CreateCertificateAuthority", h.cas.CreateCertificateAuthority),
				awsjson.Op("DescribeCertificateAuthority", h.cas.DescribeCertificateAuthority),
				awsjson.Op("ListCertificateAuthorities", h.cas.ListCertificateAuthorities),
				awsjson.Op("UpdateCertificateAuthority", h.cas.UpdateCertificateAuthority),
				awsjson.Op("DeleteCertificateAuthority", h.cas.DeleteCertificateAuthority),
				awsjson.Op("RestoreCertificateAuthority", h.cas.RestoreCertificateAuthority),
				awsjson.Op("GetCertificateAuthorityCsr", h.cas.GetCertificateAuthorityCsr),
				awsjson.Op("ImportCertificateAuthorityCertificate", h.cas.ImportCertificateAuthorityCertificate),
				awsjson.Op("GetCertificateAuthorityCertificate", h.cas.GetCertificateAuthorityCertificate),
				awsjson.Op("IssueCertificate", h.cas.IssueCertificate),
				awsjson.Op("GetCertificate", h.cas.GetCertificate),
				awsjson.Op("RevokeCertificate", h.cas.RevokeCertificate),
				awsjson.Op("CreatePermission", h.cas.CreatePermission),
				awsjson.Op("DeletePermission", h.cas.DeletePermission),
				awsjson.Op("ListPermissions", h.cas.ListPermissions),
				awsjson.Op("PutPolicy", h.cas.PutPolicy),
				awsjson.Op("GetPolicy", h.cas.GetPolicy),
				awsjson.Op("DeletePolicy", h.cas.DeletePolicy),
				awsjson.Op("TagCertificateAuthority", h.cas.TagCertificateAuthority),
				awsjson.Op("UntagCertificateAuthority", h.cas.UntagCertificateAuthority),
				awsjson.Op("ListTags", h.cas.ListTags),
				awsjson.Op("CreateCertificateAuthorityAuditReport", h.reports.CreateCertificateAuthorityAuditReport),
				awsjson.Op("DescribeCertificateAuthorityAuditReport", h.describeReport),
			},
		},
		AuditLog: h.logEndpoints().Route, Revocation: h.lists.Route, OCSP: h.relying.OCSP, CRL: h.relying.CRL, PathRates: ofPaths(rates),
		Query: h.queryServices(), Resource: h.resource,
		Registry: h.registry,
		Others:   []awsjson.Config{h.organizationsService()},
		Ready:    func(context.Context) bool { return h.ready.Load() },
	})
	return err
}

// describeReport adds what the API has no members for, as headers: how far a
// report has come, and why it failed.
func (h *house) describeReport(ctx context.Context, in *pca.DescribeCertificateAuthorityAuditReportRequest) (*pca.DescribeCertificateAuthorityAuditReportResponse, error) {
	out, err := h.reports.DescribeCertificateAuthorityAuditReport(ctx, in)
	if err != nil {
		return nil, err
	}
	arn, err := pca.ParseCAARN(in.CertificateAuthorityArn, h.cfg.Partition)
	if err != nil {
		return nil, err
	}
	p, err := h.reports.Progress(ctx, arn.CA, in.AuditReportId)
	if err != nil {
		return nil, fmt.Errorf("reading the progress of report %s: %w", in.AuditReportId, err)
	}
	awsjson.SetHeader(ctx, progressHeader, fmt.Sprintf("%d/%d", p.Done, p.Total))
	if p.Reason != "" {
		awsjson.SetHeader(ctx, reasonHeader, strings.Map(func(r rune) rune {
			if r < ' ' || r > '~' {
				return '?' // headers are printable ASCII
			}
			return r
		}, p.Reason))
	}
	return out, nil
}

// Close closes the rooms in the reverse order of their opening.
func (h *house) Close() error {
	var errs []error
	if h.cas != nil {
		h.cas.Close()
	}
	if h.buckets != nil {
		errs = append(errs, h.buckets.Close())
	}
	if h.inventory != nil {
		errs = append(errs, h.inventory.Close())
	}
	if h.db != nil {
		errs = append(errs, h.db.Close())
	}
	return errors.Join(errs...)
}

// run does the background work until ctx ends.
func (h *house) run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return h.entries.Run(ctx) })
	g.Go(func() error { return h.logs.Run(ctx) })
	g.Go(func() error { return h.reports.Run(ctx) })
	g.Go(func() error { return h.lists.Run(ctx) })
	g.Go(func() error { return h.ocsp.Run(ctx) })
	g.Go(func() error { h.dropSegments(ctx); return nil })
	if h.inventory != nil {
		g.Go(func() error { h.followLogs(ctx); return nil })
	}
	g.Go(func() error { return h.people.Run(ctx) })
	return g.Wait()
}

// explainOpen gives the errors of opening a data folder their exit codes and advice.
func explainOpen(dir string, err error) error {
	code, hint := exitFailure, ""
	switch {
	case errors.Is(err, sqlite.ErrInUse):
		code, hint = exitInUse, "stop the other server, or give this one its own --data-dir"
	case errors.Is(err, sqlite.ErrNewerFormat):
		hint = "the folder was written by a newer version; run that version or a later one"
	case errors.Is(err, fs.ErrPermission):
		hint = "run as the user who owns the folder, or choose another with --data-dir"
	default:
		hint = "look whether the disk is full or read-only; a damaged folder is restored from a backup"
	}
	return &exitError{code: code, hint: hint, err: fmt.Errorf("opening the data folder %s: %w", dir, err)}
}

// openMasterKey reads the master key, or makes it when the folder is new. A
// folder that was used before must find its key: a fresh one would open nothing.
func (h *house) openMasterKey(ctx context.Context) (keystore.MasterKey, error) {
	h.masterKeyFile = h.cfg.MasterKeyFile
	if h.masterKeyFile == "" {
		h.masterKeyFile = filepath.Join(h.dataDir, "master.key")
	}
	key, err := keystore.LoadMasterKey(h.masterKeyFile)
	if err == nil {
		return key, nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return key, err // the message says what to do
	}
	if _, err := h.db.Setting(ctx, settingServerName); err == nil {
		return key, &exitError{code: exitFailure, hint: "restore the file from its backup, or name it with --master-key-file", err: fmt.Errorf("the data folder was used before and its master key %s is missing", h.masterKeyFile)}
	} else if !errors.Is(err, store.ErrNotFound) {
		return key, fmt.Errorf("reading a setting: %w", err)
	}
	if key, err = keystore.CreateMasterKey(h.masterKeyFile); err != nil {
		return key, fmt.Errorf("making the master key: %w", err)
	}
	h.masterKeyMade = true
	return key, nil
}

// settingServerName is the setting that a first start writes; its presence says the folder is in use.
const settingServerName = "server-name"

// serverName is fixed by the first start: it is part of every log's name.
func (h *house) serverName(ctx context.Context) (string, error) {
	name, err := h.db.Setting(ctx, settingServerName)
	if err == nil {
		if h.cfg.ServerName != "" && h.cfg.ServerName != name {
			return "", usageError("leave --server-name out", "the data folder belongs to the server %q; logs keep the name they began with", name)
		}
		return name, nil
	}
	if !errors.Is(err, store.ErrNotFound) {
		return "", fmt.Errorf("reading a setting: %w", err)
	}
	// A new database beside old keys is one that was lost: going on would hide
	// every CA, and hand out new credentials in place of the old ones.
	if empty, err := h.keys.Empty(); err != nil {
		return "", err
	} else if !empty {
		return "", &exitError{code: exitFailure, hint: "restore chirograph.db from its backup, or choose another folder with --data-dir",
			err: fmt.Errorf("the data folder %s holds keys of certificate authorities but its database is new or empty", h.dataDir)}
	}
	if name = h.cfg.ServerName; name == "" {
		name = hostName()
	}
	return name, h.db.PutSetting(ctx, settingServerName, name)
}

// Settings that the first start writes beside the server's name: every ARN
// carries them, so they stay.
const (
	settingRegion    = "region"
	settingPartition = "partition"
)

// pinRegion fixes region and partition at the first start; later starts need
// not name them, and may not name others.
func (h *house) pinRegion(ctx context.Context) error {
	for _, s := range []struct {
		setting, first string
		value          *string
	}{{settingRegion, "us-east-1", &h.cfg.Region}, {settingPartition, "aws", &h.cfg.Partition}} {
		stored, err := h.db.Setting(ctx, s.setting)
		if errors.Is(err, store.ErrNotFound) {
			if stored = *s.value; stored == "" {
				stored = s.first
			}
			err = h.db.PutSetting(ctx, s.setting, stored)
		}
		if err != nil {
			return fmt.Errorf("fixing the %s: %w", s.setting, err)
		}
		if *s.value != "" && *s.value != stored {
			return usageError("leave --"+s.setting+" out", "the data folder belongs to the %s %s, which the ARN of every certificate authority in it carries; it cannot become %s", s.setting, stored, *s.value)
		}
		*s.value = stored
	}
	return nil
}

// caller tells the CA room who sent a request.
func caller(ctx context.Context) ca.Caller {
	p := awsjson.Caller(ctx)
	if p == nil {
		return ca.Caller{}
	}
	return ca.Caller{Account: p.Account, ARN: p.ARN, Service: p.Service, Principal: p, Conditions: awsjson.Conditions(ctx)}
}

// find gives the ARN and the account of the CA with an id, whoever owns it.
func (h *house) find(ctx context.Context, id string) (arn, account string, err error) {
	rec, err := h.cas.Find(ctx, id)
	if err != nil {
		return "", "", err
	}
	return rec.ARN, rec.Account, nil
}

// authorities shows the CA room to the report room.
type authorities struct {
	cas *ca.Service
	cfg serveConfig
}

func (a authorities) Record(ctx context.Context, arn pca.ARN) (*store.CertificateAuthority, pca.CertificateAuthorityStatus, error) {
	return a.cas.Record(ctx, arn)
}

// destination is the client for the buckets that a CA's reports go to.
func (h *house) destination(_ context.Context, account, caARN string) (*bucket.Client, error) {
	if h.cfg.Destination != "embedded" {
		return h.external(&h.elsewhere, h.destinationConfig())
	}
	return bucket.New(h.embeddedConfig(account, caARN))
}

func (h *house) destinationConfig() bucket.Config {
	return bucket.Config{
		Region:        h.destinationRegion(),
		Authorization: bucket.Authorization(h.cfg.DestinationAuthorization),
		Preflight:     bucket.Preflight(h.cfg.AuditPreflight),
		UniformParts:  h.cfg.DestinationUniformParts,
		Retention:     h.cfg.AuditRetention,
		RetentionMode: bucket.LockMode(h.cfg.AuditRetentionMode),
	}
}

// embeddedConfig is the embedded bucket service as a CA writes there.
func (h *house) embeddedConfig(account, caARN string) bucket.Config {
	cfg := h.destinationConfig()
	cfg.Authorization = bucket.AuthorizePolicy
	cfg.Transport = h.buckets.Transport(&iam.Principal{
		Account: account, Service: bucket.ServicePrincipal, ARN: bucket.ServicePrincipal,
		Context: map[string][]string{"aws:SourceAccount": {account}, "aws:SourceArn": {caARN}},
	})
	cfg.Owner = h.buckets.Transport(h.people.Operator(account))
	return cfg
}

// writeClientFiles writes the files that point AWS clients at this server and
// returns the path of the credentials. The files follow the addresses at every
// start; profiles that somebody added stay.
func (h *house) writeClientFiles(where endpoints) (string, error) {
	h.where.Store(&where)
	config, credentials, err := clientFiles(h.dataDir)
	if err != nil {
		return "", err
	}
	known, err := readSections(credentials)
	if err != nil {
		return "", err
	}
	keys, err := h.clientKeys(context.Background(), known)
	if err != nil {
		return "", err
	}
	if err := os.MkdirAll(filepath.Dir(config), 0o700); err != nil {
		return "", fmt.Errorf("making the folder of the client files: %w", err)
	}
	s3 := where.S3
	destination := ""
	switch h.cfg.Destination {
	case "embedded":
		destination = "\ns3 =\n  endpoint_url = " + s3
	case "aws": // aws s3 goes where it always goes
	default:
		destination = "\ns3 =\n  endpoint_url = " + h.cfg.Destination
	}
	files, err := readSections(config)
	if err != nil {
		return "", err
	}
	var services strings.Builder
	for _, service := range []string{"acm_pca", "sts", "iam", "organizations"} {
		services.WriteString(service + " =\n  endpoint_url = " + where.API + "\n")
	}
	files = files.with(defaultProfile, profileText(h.cfg.Region)).with(servicesSection, services.String()+strings.TrimPrefix(destination, "\n")+"\n")
	for _, k := range keys {
		known = known.with(k.profile, k.text)
		if k.profile != defaultProfile {
			files = files.with("profile "+k.profile, profileText(h.cfg.Region))
		}
	}
	if err := writeFile(config, files.String()); err != nil {
		return "", err
	}
	return credentials, writeFile(credentials, known.String())
}

// clientKey is a profile of the client files and what stands in it.
type clientKey struct{ profile, text string }

// clientKeys are the access keys that this server puts into the client files:
// the administrator's, and those of the service principals that are set up.
// known is what the files have already.
func (h *house) clientKeys(ctx context.Context, known sections) ([]clientKey, error) {
	id, secret, ok, err := h.people.AdministratorKey(ctx)
	if err != nil {
		return nil, fmt.Errorf("reading the administrator's access key: %w", err)
	}
	text := func(id, secret string) string {
		return "aws_access_key_id = " + id + "\naws_secret_access_key = " + secret + "\n"
	}
	keys := []clientKey{{defaultProfile, text(id, secret)}}
	if !ok {
		// Whoever replaced the key may have put the new one into the files.
		other := known.accessKey(defaultProfile)
		if secret, ok, err = h.people.Secret(ctx, other); err != nil {
			return nil, fmt.Errorf("looking at the access key %s: %w", other, err)
		}
		keys[0].text = text(other, secret)
	}
	if !ok {
		h.log.WarnContext(ctx, "the administrator's access key was deleted or switched off, so the client files have none; start once with --reset-administrator to make another", slog.String("access_key", id))
		keys[0].text = "# The access key " + id + " is deleted or switched off. chirograph serve --reset-administrator makes another.\n"
	}
	for _, service := range splitList(h.cfg.ServicePrincipals) {
		id, secret, err := h.people.ServiceKey(ctx, service)
		if err != nil {
			return nil, fmt.Errorf("making the access key of %s: %w", service, err)
		}
		keys = append(keys, clientKey{service, text(id, secret)})
	}
	return keys, nil
}

// openPeople opens the identities, and makes what a first start or the settings
// ask for.
func (h *house) openPeople(ctx context.Context, masterKey keystore.MasterKey) error {
	key, err := hkdf.Key(sha256.New, masterKey[:], nil, "chirograph identities", sha256.Size)
	if err != nil {
		return fmt.Errorf("deriving the key of sessions: %w", err)
	}
	h.people, err = identity.New(ctx, identity.Config{
		Partition: h.cfg.Partition, Region: h.cfg.Region, Account: h.cfg.Account,
		Records: h.db, Sealer: h.keys, Key: [32]byte(key),
		Caller: whoCalls, Conditions: conditions,
		Log: h.log,
		Now: h.cfg.now,
	})
	if err != nil {
		return fmt.Errorf("opening the identities: %w", err)
	}
	if err := h.people.EnsureAdministrator(ctx); err != nil {
		return err
	}
	if h.cfg.ResetAdministrator {
		if err := h.people.ResetAdministrator(ctx); err != nil {
			return err
		}
		h.log.WarnContext(ctx, "the user admin has a new access key, and AdministratorAccess as its only policy; leave --reset-administrator out from now on", slog.String("account", h.people.ManagementAccount()))
	}
	// A service that is no longer set up is nobody here.
	return h.people.DropServiceKeys(ctx, splitList(h.cfg.ServicePrincipals))
}

// writeFile replaces a file in one step; a crash leaves the old one or the new one.
func writeFile(path, text string) error {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*")
	if err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	defer os.Remove(f.Name())
	_, err = f.WriteString(text) // CreateTemp makes it 0600
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	return nil
}
