package ca

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"chirograph.dev/internal/pca"
	"chirograph.dev/internal/store"
)

// tokenWindow is how long an idempotency token stands for its first answer (api.md 6).
const tokenWindow = 5 * time.Minute

// reserve is the record of a token: what is answered to its uses, and what
// its first use asked for.
func reserve(key, arn, content string, now time.Time) *store.Token {
	return &store.Token{Key: key, Value: arn + " " + content, Now: now, Expires: now.Add(tokenWindow)}
}

// contentOf tells requests apart. The members that may differ between the
// retries of one call are left out: the validity that cert-manager's issuer
// counts from now (T-97), and the token itself.
func contentOf(in any) string {
	switch r := in.(type) {
	case *pca.IssueCertificateRequest:
		c := *r
		c.Validity, c.ValidityNotBefore, c.IdempotencyToken = pca.Validity{}, nil, ""
		in = c
	case *pca.CreateCertificateAuthorityRequest:
		c := *r
		c.IdempotencyToken = ""
		in = c
	}
	b, err := json.Marshal(in)
	if err != nil {
		panic(err) // it was JSON before
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:16])
}

// replay gives what was answered to the first use of a token; empty when this
// is the first, or t is nil.
func (s *Service) replay(ctx context.Context, t *store.Token) (string, error) {
	if t == nil {
		return "", nil
	}
	value, err := s.Certificates.Token(ctx, t.Key, t.Now)
	if errors.Is(err, store.ErrNotFound) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("looking up an idempotency token: %w", err)
	}
	return s.first(ctx, t, value), nil
}

// first is the ARN in a token's value. The token alone decides, so that a use
// that asks for something else is only worth a warning (api.md 6).
func (s *Service) first(ctx context.Context, t *store.Token, value string) string {
	arn, content, _ := strings.Cut(value, " ")
	if _, asked, _ := strings.Cut(t.Value, " "); content != "" && content != asked {
		s.Log.WarnContext(ctx, "an idempotency token was used again with another request; it is answered as the first one", "first", arn, "account", s.Caller(ctx).Account)
	}
	return arn
}
