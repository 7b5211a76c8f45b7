package console

import (
	"context"
	"log/slog"
	"math"
	"time"

	"chirograph.dev/internal/awsjson"
	"chirograph.dev/internal/iam"
	"chirograph.dev/internal/pca"
)

// Summary is a certificate authority with what it did and what can be asked of it.
type Summary struct {
	Authority     *pca.CertificateAuthority `json:"authority"`
	Issued        *uint64                   `json:"issued"` // null: not known yet, or not the caller's to know
	Revoked       *uint64                   `json:"revoked"`
	LastReport    *Report                   `json:"lastReport"`
	ReportAllowed ReportAllowed             `json:"reportAllowed"`
}

// OverviewRow is a certificate authority in the table of all.
type OverviewRow struct {
	*Summary
	Shared bool `json:"shared"` // it is another account's
}

// ReportAllowed says whether a CA's status and its last report allow another one.
type ReportAllowed struct {
	Allowed bool       `json:"allowed"`
	Reason  string     `json:"reason"`
	At      *time.Time `json:"at"` // when it will be; null: time alone does not help
}

const (
	actionList            = "acm-pca:ListCertificateAuthorities"
	actionDescribe        = "acm-pca:DescribeCertificateAuthority"
	actionDescribeReports = "acm-pca:DescribeCertificateAuthorityAuditReport"
)

// overview is GET overview: the caller's certificate authorities, deleted ones
// too, and those that others share with the caller. It counts nothing: what
// was issued is counted in the inventory.
func (c *Console) overview(ctx context.Context, _ *request) (any, error) {
	if err := awsjson.Authorize(ctx, actionList, "*"); err != nil {
		return nil, err
	}
	rows := []*OverviewRow{}
	for _, owner := range []pca.ResourceOwner{pca.ResourceOwner_SELF, pca.ResourceOwner_OTHER_ACCOUNTS} {
		in := &pca.ListCertificateAuthoritiesRequest{ResourceOwner: owner}
		for {
			page, err := c.cfg.Authorities.ListCertificateAuthorities(ctx, in)
			if err != nil {
				return nil, err
			}
			for i := range page.CertificateAuthorities {
				shared := owner == pca.ResourceOwner_OTHER_ACCOUNTS
				one, err := c.summary(ctx, &page.CertificateAuthorities[i], shared)
				if err != nil {
					return nil, err
				}
				rows = append(rows, &OverviewRow{one, shared})
			}
			if in.NextToken = page.NextToken; in.NextToken == "" {
				break
			}
		}
	}
	return map[string]any{"authorities": rows}, nil
}

func (c *Console) summary(ctx context.Context, a *pca.CertificateAuthority, shared bool) (*Summary, error) {
	arn, err := pca.ParseCAARN(a.Arn, c.cfg.API.Partition)
	if err != nil {
		return nil, err
	}
	out := &Summary{Authority: a}
	// How much another account issues is no part of what it shares.
	if !shared {
		out.Issued, out.Revoked = c.counts(ctx, arn)
	}
	if out.LastReport, err = c.lastReport(ctx, arn); err != nil {
		return nil, err
	}
	out.ReportAllowed, err = c.reportAllowed(ctx, arn)
	return out, err
}

// counts are what a CA issued and revoked; nil while the inventory cannot tell.
func (c *Console) counts(ctx context.Context, arn pca.ARN) (issued, revoked *uint64) {
	n, err := c.cfg.Inventory.Counts(ctx, arn.CA)
	if err != nil {
		c.cfg.API.Log.WarnContext(ctx, "counting certificates", slog.String("ca", arn.CAARN()), slog.Any("error", err))
		return nil, nil
	}
	return &n.Issued, &n.Revoked
}

// lastReport is the newest report of a CA; nil when there is none, or the
// caller may not describe the CA's reports.
func (c *Console) lastReport(ctx context.Context, arn pca.ARN) (*Report, error) {
	if ok, err := c.allowed(ctx, actionDescribeReports, arn); !ok || err != nil {
		return nil, err
	}
	last, err := c.cfg.Reports.List(ctx, arn.CA, math.MaxInt64, 1)
	if len(last) == 0 || err != nil {
		return nil, err
	}
	return c.shownReport(ctx, last[0])
}

func (c *Console) reportAllowed(ctx context.Context, arn pca.ARN) (ReportAllowed, error) {
	if ok, err := c.allowed(ctx, "acm-pca:CreateCertificateAuthorityAuditReport", arn); !ok || err != nil {
		return ReportAllowed{Reason: "Your permissions do not allow the acm-pca:CreateCertificateAuthorityAuditReport action on this certificate authority."}, err
	}
	rec, status, err := c.cfg.Authorities.Record(ctx, arn)
	if err != nil {
		return ReportAllowed{}, err
	}
	refused, at, err := c.cfg.Reports.Allowed(ctx, rec, status)
	if refused == nil || err != nil {
		return ReportAllowed{Allowed: err == nil}, err
	}
	out := ReportAllowed{Reason: refused.Message}
	if !at.IsZero() {
		at = at.UTC()
		out.At = &at
	}
	return out, nil
}

// allowed says whether the caller may do something with a CA, without that
// being what was asked for.
func (c *Console) allowed(ctx context.Context, action string, arn pca.ARN) (bool, error) {
	p, err := caller(ctx)
	if err != nil {
		return false, err
	}
	d, _, err := c.cfg.API.Authorize(ctx, &iam.Request{Principal: p, Action: action, Resource: arn.CAARN(), Context: awsjson.Conditions(ctx)}, arn.Account)
	return d == iam.Allow, err
}
