package ca

import (
	"context"

	"chirograph.dev/internal/pca"
	"chirograph.dev/internal/store"
)

// UpdateCertificateAuthority switches a CA on or off, or changes how it tells
// of revocations. It waits for the issuances under way: what comes after it is
// judged by the new status (ca-lifecycle.md 8).
func (s *Service) UpdateCertificateAuthority(ctx context.Context, in *pca.UpdateCertificateAuthorityRequest) (*struct{}, error) {
	_, a, err := s.find(ctx, in.CertificateAuthorityArn)
	if err != nil {
		return nil, err
	}
	edit := func(next *store.CertificateAuthority) (changed bool, err error) {
		switch s.status(next) {
		case pca.CertificateAuthorityStatus_ACTIVE, pca.CertificateAuthorityStatus_DISABLED:
		default:
			return false, pca.Errorf(pca.InvalidStateException, "The certificate authority must be in the ACTIVE or DISABLED state to be updated.")
		}
		switch in.Status {
		case "", pca.CertificateAuthorityStatus_ACTIVE, pca.CertificateAuthorityStatus_DISABLED:
		default:
			return false, pca.Errorf(pca.InvalidArgsException, "The Status of a certificate authority can be set to ACTIVE or DISABLED, not to %s.", in.Status)
		}
		if in.Status == "" && in.RevocationConfiguration == nil {
			return false, pca.Errorf(pca.InvalidArgsException, "There is nothing to update. Give a Status, a RevocationConfiguration, or both.")
		}
		given, err := s.revocationOf(in.RevocationConfiguration)
		if err != nil {
			return false, err
		}
		if given != nil {
			next.Revocation, changed = replaceRevocation(next.Revocation, given)
		}
		if in.Status != "" && in.Status != next.Status {
			next.Status, changed = in.Status, true
		}
		next.LastStateChangeAt = s.stamp()
		return changed, nil
	}
	if crlOf(in.RevocationConfiguration) != nil {
		next := *a.access.Load().rec
		if _, err := edit(&next); err != nil {
			return nil, err
		}
		if err := s.checkBucket(ctx, &next); err != nil {
			return nil, err
		}
	}
	return nil, s.change(ctx, a, edit)
}
