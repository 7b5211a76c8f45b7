package console

import (
	"context"
	"encoding/hex"
	"math"
	"strconv"
	"time"

	"chirograph.dev/internal/awsjson"
	"chirograph.dev/internal/pca"
	"chirograph.dev/internal/proof"
	"chirograph.dev/internal/store"
)

const actionGetReport = "pcaaudit:GetReport"

// reportRoutes are the routes about audit reports and the buckets that they
// go to.
func (c *Console) reportRoutes() map[string]route {
	return map[string]route{
		"GET reports":              {action: actionDescribeReports, serve: c.reports},
		"GET report":               {action: actionDescribeReports, serve: c.report},
		"GET report/link":          {action: actionGetReport, serve: c.reportLink},
		"GET report/preview":       {action: actionGetReport, serve: c.reportPreview},
		"GET report/verification":  {action: actionGetReport, serve: c.verification},
		"POST report/verification": {action: actionGetReport, maxBody: maxBody, serve: c.verifyReport},
		// The embedded bucket service decides these by itself.
		"GET buckets":        {action: actionListBuckets, own: true, serve: c.buckets},
		"GET bucket":         {action: actionGetBucketPolicy, own: true, serve: c.bucket},
		"POST bucket":        {action: actionCreateBucket, own: true, maxBody: maxBody, serve: c.createBucket},
		"POST bucket/policy": {action: actionPutBucketPolicy, own: true, maxBody: maxBody, serve: c.attachPolicy},
	}
}

// Report is an audit report as pages know it.
type Report struct {
	ID         string     `json:"id"`
	Bucket     string     `json:"bucket"`
	Key        string     `json:"key"`
	Format     string     `json:"format"`
	Status     string     `json:"status"`
	Reason     string     `json:"reason"` // of a failure, in words
	CreatedAt  time.Time  `json:"createdAt"`
	FinishedAt *time.Time `json:"finishedAt,omitempty"`
	Rows       uint64     `json:"rows"`
	Revoked    uint64     `json:"revoked"`
	Bytes      uint64     `json:"bytes"`
	SHA256     string     `json:"sha256"`
	Entries    uint64     `json:"entries"` // of the log, that it covers
	Done       uint64     `json:"done"`    // of them, that are in the bucket
	Total      uint64     `json:"total"`
	Proof      string     `json:"proof"`
	VerifiedAt *time.Time `json:"verifiedAt,omitempty"` // also of a verification that failed
}

// What is known of a report's proof.
const (
	proofNone     = "NONE"
	proofSigned   = "SIGNED" // and not verified here yet
	proofVerified = "VERIFIED"
	proofFailed   = "FAILED"
)

// shownReport is a report's record as pages know it.
func (c *Console) shownReport(ctx context.Context, r *store.AuditReport) (*Report, error) {
	p := c.cfg.Reports.ProgressOf(r)
	out := &Report{
		ID: r.ID, Bucket: r.Bucket, Key: r.Key, Format: string(r.Format), Status: string(r.Status), Reason: r.Reason,
		CreatedAt: r.CreatedAt.UTC(), Rows: p.Rows, Revoked: r.Revoked, Bytes: p.Bytes, SHA256: hex.EncodeToString(r.SHA256),
		Entries: r.TreeSize, Done: p.Done, Total: p.Total, Proof: proofNone,
	}
	if !r.FinishedAt.IsZero() {
		at := r.FinishedAt.UTC()
		out.FinishedAt = &at
	}
	if r.Status != pca.AuditReportStatus_SUCCESS || len(r.Checkpoint) == 0 {
		return out, nil
	}
	v, err := c.cfg.Reports.Verification(ctx, r.ID)
	if err != nil {
		return nil, err
	}
	switch {
	case v.Failed():
		out.Proof = proofFailed
	case v.Verified():
		out.Proof = proofVerified
	default:
		out.Proof = proofSigned
		return out, nil
	}
	at := v.FinishedAt.UTC()
	out.VerifiedAt = &at
	return out, nil
}

// reports is GET reports: a page of a CA's reports, newest first.
func (c *Console) reports(ctx context.Context, in *request) (any, error) {
	arn, err := c.existing(ctx, actionDescribeReports, in.Get("ca"))
	if err != nil {
		return nil, err
	}
	limit, err := in.limit(20, 100)
	if err != nil {
		return nil, err
	}
	// A report covers more entries than any before it, its own at least.
	before := uint64(math.MaxInt64)
	if cursor := in.Get("cursor"); cursor != "" {
		if before, err = strconv.ParseUint(cursor, 10, 63); err != nil {
			return nil, errCursor()
		}
	}
	records, err := c.cfg.Reports.List(ctx, arn.CA, before, limit+1)
	if err != nil {
		return nil, err
	}
	page := struct {
		Reports []*Report `json:"reports"`
		Cursor  string    `json:"cursor"`
	}{Reports: []*Report{}}
	if len(records) > limit {
		records = records[:limit]
		page.Cursor = strconv.FormatUint(records[limit-1].TreeSize, 10)
	}
	for _, r := range records {
		shown, err := c.shownReport(ctx, r)
		if err != nil {
			return nil, err
		}
		page.Reports = append(page.Reports, shown)
	}
	return page, nil
}

// limit reads how many rows a page may have.
func (in *request) limit(usual, most int) (int, error) {
	text := in.Get("limit")
	if text == "" {
		return usual, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > most {
		return 0, pca.Errorf(pca.ValidationException, "The limit of a page is a number from 1 to %d.", most)
	}
	return n, nil
}

func errCursor() error {
	return pca.Errorf(pca.ValidationException, "The cursor is not one that this list gave. Begin with the first page.")
}

// existing is authority for a CA that there is.
func (c *Console) existing(ctx context.Context, action, text string) (pca.ARN, error) {
	arn, err := c.authority(ctx, action, text)
	if err == nil {
		_, _, err = c.cfg.Authorities.Record(ctx, arn)
	}
	return arn, err
}

// found is the report that a request names, if the caller may do something
// with it.
func (c *Console) found(ctx context.Context, action, ca, id string) (*store.AuditReport, error) {
	arn, err := c.existing(ctx, action, ca)
	if err != nil {
		return nil, err
	}
	return c.cfg.Reports.Find(ctx, arn.CA, id)
}

// report is GET report.
func (c *Console) report(ctx context.Context, in *request) (any, error) {
	r, err := c.found(ctx, actionDescribeReports, in.Get("ca"), in.Get("report"))
	if err != nil {
		return nil, err
	}
	return c.shownReport(ctx, r)
}

// LinkLife is how long a link to a report can be followed.
const LinkLife = 5 * time.Minute

// reportLink is GET report/link: a URL of the bucket service from which
// whoever has it downloads a report, or its manifest, for LinkLife. What an
// identity may do with the bucket does not matter (audit-report.md 11).
func (c *Console) reportLink(ctx context.Context, in *request) (any, error) {
	r, err := c.found(ctx, actionGetReport, in.Get("ca"), in.Get("report"))
	if err != nil {
		return nil, err
	}
	suffix := ""
	switch in.Get("file") {
	case "", "report":
	case "manifest":
		suffix = proof.ManifestSuffix
	default:
		return nil, pca.Errorf(pca.ValidationException, "The file is report or manifest.")
	}
	// A link to nothing would show a page of XML.
	if _, err := c.cfg.Reports.Open(ctx, r, suffix); err != nil {
		return nil, err
	}
	expires := c.cfg.API.Now().Add(LinkLife).UTC().Truncate(time.Second)
	url, err := c.cfg.Link(ctx, r, suffix, LinkLife)
	if err != nil {
		return nil, err
	}
	return map[string]any{"url": url, "expires": expires}, nil
}

// verifyReport is POST report/verification.
func (c *Console) verifyReport(ctx context.Context, in *request) (any, error) {
	var body struct {
		CA     string `json:"ca"`
		Report string `json:"report"`
	}
	if err := in.read(&body); err != nil {
		return nil, err
	}
	r, err := c.found(ctx, actionGetReport, body.CA, body.Report)
	if err != nil {
		return nil, err
	}
	return c.cfg.Reports.Verify(ctx, r.CA, r.ID)
}

// verification is GET report/verification.
func (c *Console) verification(ctx context.Context, in *request) (any, error) {
	r, err := c.found(ctx, actionGetReport, in.Get("ca"), in.Get("report"))
	if err != nil {
		return nil, err
	}
	return c.cfg.Reports.Verification(ctx, r.ID)
}

// authorizeS3 has an action on a bucket allowed by the caller's own policies,
// where no service that knows callers decides.
func (c *Console) authorizeS3(ctx context.Context, action, bucket string) error {
	resource := "*"
	if bucket != "" {
		resource = "arn:" + c.cfg.API.Partition + ":s3:::" + bucket
	}
	return awsjson.Authorize(ctx, action, resource)
}
