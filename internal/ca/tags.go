package ca

import (
	"strings"

	"chirograph.dev/internal/pca"
	"chirograph.dev/internal/store"
)

// maxTags is how many tags a CA has at most.
const maxTags = 50

// taggable refuses the state in which the tags of a CA cannot be touched (api.md 4).
func (s *Service) taggable(rec *store.CertificateAuthority) error {
	return s.usable(rec, pca.CertificateAuthorityStatus_DELETED)
}

func tagValue(t pca.Tag) string {
	if t.Value == nil {
		return ""
	}
	return *t.Value
}

// checkTagKeys refuses the keys that nobody may add, change or remove.
func checkTagKeys(tags []pca.Tag) error {
	for _, t := range tags {
		if lower := strings.ToLower(t.Key); strings.HasPrefix(lower, "aws:") || strings.HasPrefix(t.Key, "rds:") {
			return pca.Errorf(pca.InvalidTagException, "The tag key %q starts with a reserved prefix (aws: or rds:). Choose another key.", t.Key)
		}
	}
	return nil
}

// checkTags also wants every key once.
func checkTags(tags []pca.Tag) error {
	if err := checkTagKeys(tags); err != nil {
		return err
	}
	seen := map[string]bool{}
	for _, t := range tags {
		if seen[t.Key] {
			return pca.Errorf(pca.InvalidTagException, "The tag key %q is given twice. Give every key once.", t.Key)
		}
		seen[t.Key] = true
	}
	return nil
}
