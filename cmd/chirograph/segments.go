package main

import (
	"cmp"
	"context"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/spf13/cobra"

	"chirograph.dev/internal/auditreport"
	"chirograph.dev/internal/bucket"
	"chirograph.dev/internal/iam"
)

// internalSegments is the bucket of the embedded service for segments; nobody
// but the server sees it.
const internalSegments = "chirograph-internal-segments"

// segmentConfig is the settings about what reports keep for the next ones.
type segmentConfig struct {
	Segments       bool
	SegmentsBucket string // in an external destination; empty: in the embedded service
}

func (c *segmentConfig) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.BoolVar(&c.Segments, "segments", c.Segments, "keep what reports have in common, so that the next one of a CA renders only what changed")
	f.StringVar(&c.SegmentsBucket, "segments-bucket", "", "bucket of the server's own in --destination to keep it in, from where reports are put together without passing through here (default: the data folder)")
}

func (c *segmentConfig) check(destination string) error {
	switch {
	case c.SegmentsBucket == "":
		return nil
	case !c.Segments:
		return usageError("", "--segments-bucket and --segments=false contradict each other")
	case destination == "embedded":
		return usageError("leave it out", "--segments-bucket is a bucket of an external --destination; the embedded bucket service has one of its own")
	}
	if err := bucket.CheckName(c.SegmentsBucket); err != nil {
		return usageError("", "--segments-bucket %q is not the name of a bucket", c.SegmentsBucket)
	}
	return nil
}

// segments is where the segments of all CAs are kept.
func (h *house) segments(context.Context, string, string) (*bucket.Client, string, error) {
	if h.cfg.SegmentsBucket == "" {
		client, err := h.insideSegments()
		return client, internalSegments, err
	}
	client, err := h.external(&h.beside, bucket.Config{Region: h.destinationRegion()})
	return client, h.cfg.SegmentsBucket, err
}

func (h *house) insideSegments() (*bucket.Client, error) {
	return bucket.New(bucket.Config{Region: h.cfg.Region, Transport: h.buckets.Transport(&iam.Principal{Service: bucket.ServicePrincipal, ARN: bucket.ServicePrincipal})})
}

// dropSegments frees the room of segments that the settings no longer use.
func (h *house) dropSegments(ctx context.Context) {
	if h.cfg.Segments && h.cfg.SegmentsBucket == "" {
		return
	}
	client, err := h.insideSegments()
	if err == nil {
		err = auditreport.DropSegments(ctx, h.db, client, internalSegments)
	}
	if err != nil && ctx.Err() == nil {
		h.log.WarnContext(ctx, "what earlier reports kept for the next ones was not deleted, though the settings no longer use it", "error", err)
	}
}

func (h *house) destinationRegion() string {
	return cmp.Or(h.cfg.DestinationRegion, h.cfg.Region)
}

// endpointOf is the URL of an external destination; empty for Amazon S3.
func endpointOf(destination string) string {
	if destination == "aws" {
		return ""
	}
	return destination
}

// staticCredentials is a key from the settings; nil without one, for the AWS
// SDK's usual sources.
func staticCredentials(id, secret string) aws.CredentialsProvider {
	if id == "" {
		return nil
	}
	return sessionCredentials(id, secret, "")
}

func sessionCredentials(id, secret, token string) aws.CredentialsProvider {
	return aws.NewCredentialsCache(credentials.NewStaticCredentialsProvider(id, secret, token))
}

// external makes a client of an external destination once, since it holds
// connections.
func (h *house) external(kept **bucket.Client, cfg bucket.Config) (_ *bucket.Client, err error) {
	h.destinations.Lock()
	defer h.destinations.Unlock()
	if *kept != nil {
		return *kept, nil
	}
	cfg.Endpoint = endpointOf(h.cfg.Destination)
	cfg.Credentials = staticCredentials(h.cfg.DestinationAccessKeyID, h.cfg.DestinationSecretKey)
	*kept, err = bucket.New(cfg)
	return *kept, err
}
