package ca

import (
	"context"

	"chirograph.dev/internal/pca"
	"chirograph.dev/internal/store"
)

// DeletePolicy takes the policy of a CA away, and so ends its sharing; that
// there is none is no error.
func (s *Service) DeletePolicy(ctx context.Context, in *pca.DeletePolicyRequest) (*struct{}, error) {
	_, a, err := s.find(ctx, in.ResourceArn)
	if err != nil {
		return nil, err
	}
	return nil, s.change(ctx, a, func(next *store.CertificateAuthority) (bool, error) {
		if err := s.governable(next); err != nil {
			return false, err
		}
		changed := next.Policy != ""
		next.Policy = ""
		return changed, nil
	})
}
