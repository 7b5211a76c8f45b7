package main

import (
	"context"
	"encoding/pem"
	"fmt"
	"net"
	"net/http"
	"path"
	"time"

	"chirograph.dev/internal/awsjson"
	"chirograph.dev/internal/bucket"
	"chirograph.dev/internal/iam"
	"chirograph.dev/internal/store"
)

// bucketsFor is the bucket service that a CA's reports go to, for somebody to
// see buckets and have them made there. The embedded one decides what they may.
func (h *house) bucketsFor(ctx context.Context, who *iam.Principal, account, caARN string) (client *bucket.Client, decides bool, err error) {
	if h.cfg.Destination != "embedded" {
		client, err = h.destination(ctx, account, caARN)
		return client, false, err
	}
	cfg := h.embeddedConfig(account, caARN)
	cfg.Caller = callFrom{awsjson.Conditions(ctx), h.buckets.Transport(who)}
	client, err = bucket.New(cfg)
	return client, true, err
}

// callFrom sends requests as if they came from where a call came from, since
// policies may ask for that.
type callFrom struct {
	conditions map[string][]string // of the call
	next       http.RoundTripper
}

// RoundTrip implements http.RoundTripper.
func (c callFrom) RoundTrip(r *http.Request) (*http.Response, error) {
	q := r.Clone(r.Context())
	if ip := c.conditions["aws:SourceIp"]; len(ip) == 1 {
		q.RemoteAddr = net.JoinHostPort(ip[0], "0")
	}
	if agent := c.conditions["aws:UserAgent"]; len(agent) == 1 {
		q.Header.Set("User-Agent", agent[0])
	}
	return c.next.RoundTrip(q)
}

// reportLink signs a URL for the object of a report, or what lies beside it
// under a suffix: of the embedded service with credentials that can do nothing
// else, of another one with the server's own.
func (h *house) reportLink(ctx context.Context, r *store.AuditReport, suffix string, life time.Duration) (string, error) {
	key := r.Key + suffix
	if h.cfg.Destination != "embedded" {
		client, err := h.destination(ctx, r.Account, r.CAARN)
		if err != nil {
			return "", err
		}
		return client.Link(ctx, r.Bucket, key, path.Base(key), life)
	}
	c, err := h.people.ReadObject(r.Account, r.Bucket, key, life)
	if err != nil {
		return "", err
	}
	client, err := bucket.New(bucket.Config{Endpoint: h.where.Load().S3, Region: h.cfg.Region, Credentials: sessionCredentials(c.AccessKeyId, c.SecretAccessKey, c.SessionToken)})
	if err != nil {
		return "", fmt.Errorf("the address of the buckets (--s3-public-url): %w", err)
	}
	return client.Link(ctx, r.Bucket, key, path.Base(key), life)
}

// installed are the certificates that were ever installed in a CA, DER.
func (h *house) installed(ctx context.Context, ca *store.CertificateAuthority) ([][]byte, error) {
	var ders [][]byte
	for generation := int64(1); generation <= ca.Installed; generation++ {
		c, err := h.db.InstalledCertificate(ctx, ca.ID, generation)
		if err != nil {
			return nil, err
		}
		if block, _ := pem.Decode([]byte(c.Certificate)); block != nil {
			ders = append(ders, block.Bytes)
		}
	}
	return ders, nil
}
