package ca

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"strings"

	"chirograph.dev/internal/pca"
)

// maxResults is the most that a page of permissions or tags holds, and its size when none is asked for.
const maxResults = 1000

// scope is what the tokens of a list are bound to: the operation, what it is
// about, and the account that asks.
func (s *Service) scope(ctx context.Context, operation, about string) string {
	return strings.Join([]string{operation, s.Caller(ctx).Account, about}, "/")
}

// pageOf cuts a page out of a list that is sorted by key; token is empty on the last one.
func pageOf[T any](s *Service, scope string, sorted []T, key func(T) string, max int32, token string) (shown []T, next string, err error) {
	if token != "" {
		var after page
		if err := s.openPage(scope, token, &after); err != nil {
			return nil, "", err
		}
		for len(sorted) > 0 && key(sorted[0]) <= after.ID {
			sorted = sorted[1:]
		}
	}
	limit := maxResults
	if max > 0 {
		limit = min(limit, int(max))
	}
	if len(sorted) <= limit {
		return sorted, "", nil
	}
	return sorted[:limit], s.sealPage(scope, page{ID: key(sorted[limit-1])}), nil
}

// page says behind which record a page begins: keys, not an offset, so that it
// is stable when records are added.
type page struct {
	Created int64  `json:"c,omitempty"`
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
	// Other texts of the same bytes, with line breaks for example, are none of ours.
	if err != nil || base64.RawURLEncoding.EncodeToString(b) != token || len(b) <= sha256.Size || !hmac.Equal(b[:sha256.Size], s.pageMAC(scope, b[sha256.Size:])) || json.Unmarshal(b[sha256.Size:], p) != nil {
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
