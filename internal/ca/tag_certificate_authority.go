package ca

import (
	"context"
	"slices"

	"chirograph.dev/internal/pca"
	"chirograph.dev/internal/store"
)

// TagCertificateAuthority adds tags to a CA and overwrites those of the same
// key; all or none.
func (s *Service) TagCertificateAuthority(ctx context.Context, in *pca.TagCertificateAuthorityRequest) (*struct{}, error) {
	_, a, err := s.find(ctx, in.CertificateAuthorityArn)
	if err != nil {
		return nil, err
	}
	return nil, s.settle(ctx, a, func(next *store.CertificateAuthority) (bool, error) {
		if err := s.taggable(next); err != nil {
			return false, err
		}
		if err := checkTags(in.Tags); err != nil {
			return false, err
		}
		tags := slices.Clone(next.Tags)
		for _, t := range in.Tags {
			if i := slices.IndexFunc(tags, func(old pca.Tag) bool { return old.Key == t.Key }); i >= 0 {
				tags[i] = t
			} else {
				tags = append(tags, t)
			}
		}
		if len(tags) > maxTags {
			return false, pca.Errorf(pca.TooManyTagsException, "The certificate authority would have %d tags; at most %d are possible. Remove some first.", len(tags), maxTags)
		}
		next.Tags = tags
		return true, nil
	})
}
