package ca

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/google/uuid"

	"chirograph.dev/internal/issuance"
	"chirograph.dev/internal/pca"
	"chirograph.dev/internal/store"
)

const defaultStandard = pca.KeyStorageSecurityStandard_FIPS_140_2_LEVEL_3_OR_HIGHER

// CreateCertificateAuthority records the CA and answers at once; the key pair
// and the CSR are made in the background while the status is CREATING.
func (s *Service) CreateCertificateAuthority(ctx context.Context, in *pca.CreateCertificateAuthorityRequest) (*pca.CreateCertificateAuthorityResponse, error) {
	revocation, err := s.checkCreate(ctx, in)
	if err != nil {
		return nil, err
	}
	caller := s.Caller(ctx)
	now := s.stamp()
	id := uuid.NewString()
	rec := &store.CertificateAuthority{
		ID:                id,
		ARN:               pca.ARN{Partition: s.Partition, Region: s.Region, Account: caller.Account, CA: id}.String(),
		Account:           caller.Account,
		Type:              in.CertificateAuthorityType,
		Status:            pca.CertificateAuthorityStatus_CREATING,
		Configuration:     in.CertificateAuthorityConfiguration,
		KeyStandard:       in.KeyStorageSecurityStandard,
		UsageMode:         in.UsageMode,
		Tags:              in.Tags,
		CreatedAt:         now,
		LastStateChangeAt: now,
		KeyID:             id,
	}
	if revocation != nil {
		rec.Revocation = *revocation
	}
	if rec.KeyStandard == "" {
		rec.KeyStandard = defaultStandard
	}
	if rec.UsageMode == "" {
		rec.UsageMode = pca.CertificateAuthorityUsageMode_GENERAL_PURPOSE
	}
	var token *store.Token
	if in.IdempotencyToken != "" {
		token = reserve(strings.Join([]string{caller.Account, "CreateCertificateAuthority", in.IdempotencyToken}, "/"), rec.ARN, contentOf(in), now)
	}
	if token != nil && crlOf(revocation) != nil {
		// A replay does not depend on what became of the bucket.
		if first, err := s.replay(ctx, token); err != nil {
			return nil, err
		} else if first != "" {
			return &pca.CreateCertificateAuthorityResponse{CertificateAuthorityArn: first}, nil
		}
	}
	if err := s.checkBucket(ctx, rec); err != nil {
		return nil, err
	}
	if first, err := s.addCA(ctx, rec, token); err != nil {
		return nil, err
	} else if first != "" {
		return &pca.CreateCertificateAuthorityResponse{CertificateAuthorityArn: first}, nil
	}
	a, err := s.load(ctx, rec)
	if err != nil {
		return nil, err
	}
	s.create(a)
	return &pca.CreateCertificateAuthorityResponse{CertificateAuthorityArn: rec.ARN}, nil
}

// addCA stores a new CA, or gives the ARN that was answered to the first use of
// the token. The quota is judged here: of two calls at once one is too many.
func (s *Service) addCA(ctx context.Context, rec *store.CertificateAuthority, t *store.Token) (first string, err error) {
	if quota := s.Quotas.CertificateAuthorities; quota > 0 {
		s.counting.Lock()
		defer s.counting.Unlock()
		if first, err := s.replay(ctx, t); first != "" || err != nil {
			return first, err
		}
		n, err := s.Overview.CountCAs(ctx, rec.Account, s.Now())
		if err != nil {
			return "", fmt.Errorf("judging the quota: %w", err)
		}
		if n >= quota {
			return "", pca.Errorf(pca.LimitExceededException, "The account %s has %d certificate authorities, which is the quota of certificate authorities of an account (%d). Deleted ones count until they can no longer be restored.", rec.Account, n, quota)
		}
	}
	// A caller who hangs up does not make the outcome unknown.
	err = s.Records.CreateCA(context.WithoutCancel(ctx), rec, t)
	if exists, ok := errors.AsType[*store.ExistsError](err); ok && t != nil {
		return s.first(ctx, t, exists.Value), nil
	}
	if err != nil {
		return "", fmt.Errorf("storing CA %s: %w", rec.ID, err)
	}
	return "", nil
}

// checkCreate judges a request by itself and gives its revocation configuration
// with the defaults.
func (s *Service) checkCreate(ctx context.Context, in *pca.CreateCertificateAuthorityRequest) (*pca.RevocationConfiguration, error) {
	c := &in.CertificateAuthorityConfiguration
	if err := issuance.CheckKeyAlgorithm(c.KeyAlgorithm, s.Partition); err != nil {
		return nil, err
	}
	if err := issuance.CheckSigningAlgorithm(c.KeyAlgorithm, c.SigningAlgorithm); err != nil {
		return nil, err
	}
	if err := issuance.CheckNames(in.CertificateAuthorityType, c, s.MixedSubjects); err != nil {
		return nil, err
	}
	revocation, err := s.revocationOf(in.RevocationConfiguration)
	if err != nil {
		return nil, err
	}
	if !s.acceptsStandard(in.KeyStorageSecurityStandard) {
		return nil, pca.Errorf(pca.InvalidArgsException, "A certificate authority cannot be created in this region with the specified security standard.")
	}
	if err := checkTags(in.Tags); err != nil {
		return nil, err
	}
	if len(in.Tags) > 0 {
		err = s.AuthorizeAlso(ctx, "acm-pca:TagCertificateAuthority", "*")
	}
	return revocation, err
}

// acceptsStandard judges the standard that is asked for, or the default.
func (s *Service) acceptsStandard(standard pca.KeyStorageSecurityStandard) bool {
	if standard == "" {
		standard = defaultStandard
	}
	return s.KeyStandards == nil || slices.Contains(s.KeyStandards, standard)
}
