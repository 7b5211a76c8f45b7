package ca

import (
	"context"
	"fmt"
	"time"

	"chirograph.dev/internal/pca"
)

// maxPage is the most that a page of ListCertificateAuthorities holds, also when MaxResults asks for more (api.md 5.3).
const maxPage = 100

// ListCertificateAuthorities lists the caller's CAs, or those of other accounts
// whose policy grants the caller anything; oldest first.
func (s *Service) ListCertificateAuthorities(ctx context.Context, in *pca.ListCertificateAuthoritiesRequest) (*pca.ListCertificateAuthoritiesResponse, error) {
	caller := s.Caller(ctx)
	list, listed, owner := s.Records.CAs, func(*access) bool { return true }, pca.ResourceOwner_SELF
	if in.ResourceOwner == pca.ResourceOwner_OTHER_ACCOUNTS {
		owner = in.ResourceOwner
		list, listed = s.Overview.SharedCAs, func(v *access) bool { return s.sharedWith(v, &caller) }
	}
	scope := s.scope(ctx, "ListCertificateAuthorities", string(owner))
	var after page
	if in.NextToken != "" {
		if err := s.openPage(scope, in.NextToken, &after); err != nil {
			return nil, err
		}
	}
	out := &pca.ListCertificateAuthoritiesResponse{CertificateAuthorities: []pca.CertificateAuthority{}}
	limit := maxPage
	if in.MaxResults > 0 {
		limit = min(limit, int(in.MaxResults))
	}
	for {
		recs, err := list(ctx, caller.Account, time.UnixMilli(after.Created).UTC(), after.ID, limit+1)
		if err != nil {
			return nil, fmt.Errorf("listing CAs: %w", err)
		}
		for _, rec := range recs {
			// The loaded authority is at least as new as the record of the list.
			a, err := s.load(ctx, rec)
			if err != nil {
				return nil, err
			}
			view := a.access.Load()
			shown := !s.gone(view.rec) && listed(view)
			if shown && len(out.CertificateAuthorities) == limit {
				out.NextToken = s.sealPage(scope, after)
				return out, nil
			}
			after = page{Created: rec.CreatedAt.UnixMilli(), ID: rec.ID}
			if !shown {
				continue
			}
			a.mu.RLock()
			serial, notBefore, notAfter := a.issuer.validity()
			out.CertificateAuthorities = append(out.CertificateAuthorities, *s.describe(a.rec, serial, notBefore, notAfter))
			a.mu.RUnlock()
		}
		if len(recs) <= limit {
			return out, nil
		}
	}
}
