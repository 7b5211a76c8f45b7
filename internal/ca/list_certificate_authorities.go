package ca

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"chirograph.dev/internal/pca"
)

// maxPage is the most that a page of ListCertificateAuthorities holds, also when MaxResults asks for more (api.md 5.3).
const maxPage = 100

// ListCertificateAuthorities lists the caller's CAs, oldest first. Nothing can
// be shared between accounts yet, so OTHER_ACCOUNTS is an empty list.
func (s *Service) ListCertificateAuthorities(ctx context.Context, in *pca.ListCertificateAuthoritiesRequest) (*pca.ListCertificateAuthoritiesResponse, error) {
	caller := s.Caller(ctx)
	scope := strings.Join([]string{"ListCertificateAuthorities", caller.Account, string(in.ResourceOwner)}, "/")
	var after page
	if in.NextToken != "" {
		if err := s.openPage(scope, in.NextToken, &after); err != nil {
			return nil, err
		}
	}
	out := &pca.ListCertificateAuthoritiesResponse{CertificateAuthorities: []pca.CertificateAuthority{}}
	if in.ResourceOwner == pca.ResourceOwner_OTHER_ACCOUNTS {
		return out, nil
	}
	limit := maxPage
	if in.MaxResults > 0 {
		limit = min(limit, int(in.MaxResults))
	}
	for {
		recs, err := s.Records.CAs(ctx, caller.Account, time.UnixMilli(after.Created).UTC(), after.ID, limit+1)
		if err != nil {
			return nil, fmt.Errorf("listing CAs: %w", err)
		}
		for _, rec := range recs {
			gone := s.gone(rec)
			if !gone && len(out.CertificateAuthorities) == limit {
				out.NextToken = s.sealPage(scope, after)
				return out, nil
			}
			after = page{Created: rec.CreatedAt.UnixMilli(), ID: rec.ID}
			if gone {
				continue
			}
			// The loaded authority is at least as new as the record of the list.
			a, err := s.load(ctx, rec)
			if err != nil {
				return nil, err
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

// page says behind which record a page begins: keys, not an offset, so that it
// is stable when CAs are added.
type page struct {
	Created int64  `json:"c"`
	ID      string `json:"i"`
}

// sealPage makes the token of a page: bound to the operation, its arguments
// and the account by scope, and unforgeable.
func (s *Service) sealPage(scope string, p page) string {
	b, err := json.Marshal(p)
	if err != nil {
		panic(err) // a struct of a number and a string always encodes
	}
	return base64.RawURLEncoding.EncodeToString(append(s.pageMAC(scope, b), b...))
}

func (s *Service) openPage(scope, token string, p *page) error {
	b, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil || len(b) <= sha256.Size || !hmac.Equal(b[:sha256.Size], s.pageMAC(scope, b[sha256.Size:])) || json.Unmarshal(b[sha256.Size:], p) != nil {
		return pca.Errorf(pca.InvalidNextTokenException, "The NextToken was not issued for this call. Repeat the call without NextToken and follow the tokens it returns.")
	}
	return nil
}

func (s *Service) pageMAC(scope string, b []byte) []byte {
	h := hmac.New(sha256.New, s.PageKey[:])
	h.Write([]byte(scope))
	h.Write([]byte{0})
	h.Write(b)
	return h.Sum(nil)
}
