package main

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"net/url"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"

	"chirograph.dev/internal/crl"
	"chirograph.dev/internal/ocsp"
	"chirograph.dev/internal/server"
	"chirograph.dev/internal/store"
)

// revocationConfig says how relying parties learn what is revoked (docs/revocation.md).
type revocationConfig struct {
	CRLURL           string // template of the URIs of CRLs; empty: of this server, or of the destination
	OCSPURL          string // empty: of this server
	RevocationListen string // address for CRLs and OCSP alone; empty: none

	CRLDelay     time.Duration // from a revocation to the CRL that has it, at least
	CRLDelta     bool
	CRLPartition int64 // certificates of a partition

	OCSPValidity      time.Duration
	OCSPUnknownSerial string // ocsp.UnknownSerial
	OCSPCache         int64  // MiB

	RevokeRequireBucketWrite bool
}

func defaultRevocationConfig() revocationConfig {
	return revocationConfig{CRLPartition: crl.DefaultPartitionSize, OCSPValidity: 24 * time.Hour, OCSPUnknownSerial: string(ocsp.Unauthorized), OCSPCache: 64}
}

func (c *revocationConfig) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&c.CRLURL, "crl-url", "", "URL of the CRLs that certificates carry, with {bucket}, {region} and {key}, such as http://crl.example.com/{bucket}/{key}; a CA's CustomCname goes before it (default: where this server or --destination has them)")
	f.StringVar(&c.OCSPURL, "ocsp-url", "", "URL of the OCSP responder that certificates carry, such as http://ocsp.example.com; a CA's OcspCustomCname goes before it (default: this server's)")
	f.StringVar(&c.RevocationListen, "revocation-listen", "", "address of CRLs and OCSP alone, over plain HTTP, which may be shown to other machines; the URLs of OCSP, and of CRLs in the embedded buckets, then lead there (default: none; both are served on --listen)")
	f.DurationVar(&c.CRLDelay, "crl-delay", 0, "how long revocations are gathered before the CRL that has them is made; at most 30m")
	f.BoolVar(&c.CRLDelta, "crl-delta", false, "make delta CRLs within seconds of a revocation, and the CRLs that they add to within 30 minutes")
	f.Int64Var(&c.CRLPartition, "crl-partition-certificates", c.CRLPartition, "certificates of one CRL of a CA whose CRLs are partitioned")
	f.DurationVar(&c.OCSPValidity, "ocsp-validity", c.OCSPValidity, "how long an OCSP answer may be kept; from 1h to 240h")
	f.StringVar(&c.OCSPUnknownSerial, "ocsp-unknown-serial", c.OCSPUnknownSerial, "the OCSP answer about a serial number that the CA never issued: unauthorized (unsigned), unknown or revoked")
	f.Int64Var(&c.OCSPCache, "ocsp-cache", c.OCSPCache, "memory for signed OCSP answers, in MiB")
	f.BoolVar(&c.RevokeRequireBucketWrite, "revoke-require-bucket-write", false, "refuse to revoke while the CA's bucket of CRLs cannot be written, as AWS does; otherwise the revocation counts and the CRL follows once it can be")
	choices(cmd, "ocsp-unknown-serial", string(ocsp.Unauthorized), string(ocsp.Unknown), string(ocsp.RevokedToo))
}

// check refuses what contradicts itself before anything is opened.
func (c *revocationConfig) check() error {
	for _, u := range []struct{ flag, url string }{{"--crl-url", c.CRLURL}, {"--ocsp-url", c.OCSPURL}} {
		// Clients of HTTPS would have to ask for the revocation of its certificate first.
		if p, err := url.Parse(strings.NewReplacer("{bucket}", "bucket", "{region}", "region", "{key}", "key").Replace(u.url)); u.url != "" && (err != nil || p.Scheme != "http" || p.Host == "") {
			return usageError("relying parties fetch CRLs and OCSP answers over plain HTTP; both are signed", "%s %q is not a URL that begins with http://", u.flag, u.url)
		}
	}
	switch unknown := ocsp.UnknownSerial(c.OCSPUnknownSerial); {
	case c.CRLURL != "" && !strings.Contains(c.CRLURL, "{key}"):
		return usageError("such as http://crl.example.com/{bucket}/{key}", "--crl-url %q has no {key}, so all CRLs would have one URL", c.CRLURL)
	case c.CRLDelay < 0 || c.CRLDelay > 30*time.Minute:
		return usageError("", "--crl-delay is from 0 to 30m")
	case c.CRLPartition < 1 || c.CRLPartition > crl.DefaultPartitionSize:
		return usageError("more would let a CRL grow beyond 1 MB", "--crl-partition-certificates is from 1 to %d", crl.DefaultPartitionSize)
	case c.OCSPValidity < time.Hour || c.OCSPValidity > 240*time.Hour:
		return usageError("", "--ocsp-validity is from 1h to 240h")
	case unknown != ocsp.Unauthorized && unknown != ocsp.Unknown && unknown != ocsp.RevokedToo:
		return usageError("", "--ocsp-unknown-serial is unauthorized, unknown or revoked, not %q", c.OCSPUnknownSerial)
	case c.OCSPCache < 1 || c.OCSPCache > 1<<20:
		return usageError("", "--ocsp-cache is from 1 to %d MiB", 1<<20)
	case c.RevocationListen == "":
		return nil
	}
	if _, _, err := net.SplitHostPort(c.RevocationListen); err != nil {
		return usageError("", "--revocation-listen %q is not an address such as 0.0.0.0:8080", c.RevocationListen)
	}
	return nil
}

// publishers are those whom the CA room tells of revocations. They are made of
// that room, so it has them before they are there.
type publishers struct{ made atomic.Pointer[house] }

// Check implements ca.CRLs.
func (p *publishers) Check(ctx context.Context, rec *store.CertificateAuthority) error {
	return p.made.Load().lists.Check(ctx, rec)
}

// Bind implements ca.CRLs.
func (p *publishers) Bind(ctx context.Context, rec *store.CertificateAuthority) (list int64, uri string, err error) {
	return p.made.Load().lists.Bind(ctx, rec)
}

// changed tells of a CA. Before they are made it is their own reading of the
// store that tells them.
func (p *publishers) changed(rec *store.CertificateAuthority) {
	if h := p.made.Load(); h != nil {
		h.lists.Changed(rec)
		h.ocsp.Changed(rec)
	}
}

func (p *publishers) revoked(ca string, serial []byte) {
	if h := p.made.Load(); h != nil {
		h.ocsp.Revoked(ca, serial)
	}
}

// openPublishers makes the rooms of CRLs and OCSP.
func (h *house) openPublishers(ctx context.Context, told *publishers) (err error) {
	h.lists, err = crl.New(crl.Config{
		Dir: filepath.Join(h.dataDir, "crl"), Records: h.db, Revocations: h.db, Authorities: h.cas,
		Destination: h.destination, URL: h.crlURL,
		Find: h.find, CAs: h.db.CAs, Partition: h.cfg.Partition, Region: h.cfg.Region,
		Delay: h.cfg.CRLDelay, PartitionSize: h.cfg.CRLPartition, Deltas: h.cfg.CRLDelta,
		Registerer: h.registry, Log: h.log, Now: h.cfg.now,
	})
	if err != nil {
		return fmt.Errorf("opening the CRLs: %w", err)
	}
	h.ocsp, err = ocsp.New(ctx, ocsp.Config{
		Records: h.db, Authorities: h.cas, Keys: h.keys,
		Validity: h.cfg.OCSPValidity, UnknownSerial: ocsp.UnknownSerial(h.cfg.OCSPUnknownSerial), CacheBytes: h.cfg.OCSPCache << 20,
		Registerer: h.registry, Log: h.log, Now: h.cfg.now,
	})
	if err != nil {
		return fmt.Errorf("opening OCSP: %w", err)
	}
	h.relying = server.Relying{OCSP: h.ocsp, CRL: h.lists.Mirror()}
	told.made.Store(h)
	return nil
}

// plainURL is a URL for relying parties, who use no TLS.
func plainURL(u string) string {
	if rest, ok := strings.CutPrefix(u, "https://"); ok {
		return "http://" + rest
	}
	return u
}

// forRelying is where this server has CRLs and OCSP.
func (e *endpoints) forRelying() string { return cmp.Or(e.Relying, plainURL(e.API)) }

// ocspURL is the URL of OCSP in certificates of CAs that have no name of their own for it.
func (h *house) ocspURL() string {
	return cmp.Or(h.cfg.OCSPURL, h.where.Load().forRelying()+"/ocsp")
}

// crlURL is the URL of a CRL in certificates of CAs that have no name of their
// own for it, of a key as the path of a URI has it; private says that the bucket
// lets nobody read it.
func (h *house) crlURL(bucket, key string, private bool) string {
	where, region := h.where.Load(), h.destinationRegion()
	switch {
	case h.cfg.CRLURL != "":
		return strings.NewReplacer("{bucket}", bucket, "{region}", region, "{key}", key).Replace(h.cfg.CRLURL)
	case h.cfg.Destination == "aws":
		host := "s3." + region + ".amazonaws.com"
		if strings.HasPrefix(region, "cn-") {
			host += ".cn"
		}
		if strings.Contains(bucket, ".") {
			return "http://" + host + "/" + bucket + "/" + key
		}
		return "http://" + bucket + "." + host + "/" + key
	case h.cfg.Destination != "embedded":
		return plainURL(strings.TrimSuffix(h.cfg.Destination, "/")) + "/" + bucket + "/" + key
	case private || where.Relying != "":
		return where.forRelying() + "/crl/" + bucket + "/" + key
	}
	return plainURL(where.S3) + "/" + bucket + "/" + key
}
