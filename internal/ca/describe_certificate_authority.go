package ca

import (
	"context"

	"chirograph.dev/internal/pca"
	"chirograph.dev/internal/store"
)

// DescribeCertificateAuthority works in every status.
func (s *Service) DescribeCertificateAuthority(ctx context.Context, in *pca.DescribeCertificateAuthorityRequest) (*pca.DescribeCertificateAuthorityResponse, error) {
	_, a, err := s.find(ctx, in.CertificateAuthorityArn)
	if err != nil {
		return nil, err
	}
	a.mu.RLock()
	defer a.mu.RUnlock()
	serial, notBefore, notAfter := a.issuer.validity()
	return &pca.DescribeCertificateAuthorityResponse{CertificateAuthority: s.describe(a.rec, serial, notBefore, notAfter)}, nil
}

// describe is the API's view of a record. Members that are not known yet stay absent (api.md 3).
func (s *Service) describe(rec *store.CertificateAuthority, serial string, notBefore, notAfter *pca.EpochSeconds) *pca.CertificateAuthority {
	revocation := revocation(rec.Revocation)
	configuration := rec.Configuration
	out := &pca.CertificateAuthority{
		Arn:                               rec.ARN,
		OwnerAccount:                      rec.Account,
		CreatedAt:                         pca.NewTimestamp(rec.CreatedAt),
		LastStateChangeAt:                 pca.NewTimestamp(rec.LastStateChangeAt),
		Type:                              rec.Type,
		Serial:                            serial,
		Status:                            s.status(rec),
		NotBefore:                         notBefore,
		NotAfter:                          notAfter,
		FailureReason:                     rec.FailureReason,
		CertificateAuthorityConfiguration: &configuration,
		RevocationConfiguration:           &revocation,
		KeyStorageSecurityStandard:        rec.KeyStandard,
		UsageMode:                         rec.UsageMode,
	}
	if !rec.RestorableUntil.IsZero() {
		out.RestorableUntil = pca.NewTimestamp(rec.RestorableUntil)
	}
	return out
}
