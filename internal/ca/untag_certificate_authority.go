package ca

import (
	"context"
	"slices"

	"chirograph.dev/internal/pca"
	"chirograph.dev/internal/store"
)

// UntagCertificateAuthority removes tags by key, or by key and value where a
// value is given; what is not there is no error.
func (s *Service) UntagCertificateAuthority(ctx context.Context, in *pca.UntagCertificateAuthorityRequest) (*struct{}, error) {
	_, a, err := s.find(ctx, in.CertificateAuthorityArn)
	if err != nil {
		return nil, err
	}
	return nil, s.settle(ctx, a, func(next *store.CertificateAuthority) (bool, error) {
		if err := s.taggable(next); err != nil {
			return false, err
		}
		if err := checkTagKeys(in.Tags); err != nil {
			return false, err
		}
		before := len(next.Tags)
		next.Tags = slices.DeleteFunc(slices.Clone(next.Tags), func(t pca.Tag) bool {
			return slices.ContainsFunc(in.Tags, func(gone pca.Tag) bool {
				return gone.Key == t.Key && (gone.Value == nil || *gone.Value == tagValue(t))
			})
		})
		return len(next.Tags) < before, nil
	})
}
