package ca

import (
	"context"

	"chirograph.dev/internal/issuance"
	"chirograph.dev/internal/pca"
	"chirograph.dev/internal/store"
)

// ImportCertificateAuthorityCertificate installs the certificate of a CA, or a
// newer one (renewal). Nothing changes when a check fails (ca-lifecycle.md 5).
func (s *Service) ImportCertificateAuthorityCertificate(ctx context.Context, in *pca.ImportCertificateAuthorityCertificateRequest) (*struct{}, error) {
	arn, a, err := s.find(ctx, in.CertificateAuthorityArn)
	if err != nil {
		return nil, err
	}
	// Held over the whole import: certificates issued meanwhile wait, and are
	// then signed under the new one.
	a.mu.Lock()
	defer a.mu.Unlock()
	rec := a.rec
	if s.gone(rec) {
		return nil, notFound(rec.ARN)
	}
	switch status := s.status(rec); status {
	case pca.CertificateAuthorityStatus_PENDING_CERTIFICATE, pca.CertificateAuthorityStatus_ACTIVE, pca.CertificateAuthorityStatus_EXPIRED:
	default:
		return nil, pca.Errorf(pca.InvalidStateException, "The certificate authority %s is in the %s state. A certificate can be imported in the states PENDING_CERTIFICATE, ACTIVE and EXPIRED.", rec.ARN, status)
	}
	signer, err := s.Keys.Signer(ctx, rec.KeyID)
	if err != nil {
		return nil, unexpected("finding the key", arn, err)
	}
	now := s.Now()
	imported, err := issuance.CheckImport(issuance.ImportRequest{
		Type: rec.Type, PublicKey: signer.Public(), Certificate: in.Certificate, Chain: in.CertificateChain, Now: now,
	})
	if err != nil {
		return nil, err
	}
	next := *rec
	if next.Status == pca.CertificateAuthorityStatus_PENDING_CERTIFICATE {
		next.Status = pca.CertificateAuthorityStatus_ACTIVE
	}
	next.Installed++
	next.NotAfter = imported.NotAfter
	next.LastStateChangeAt = s.stamp()
	inst := &store.InstalledCertificate{
		CA: rec.ID, Generation: next.Installed,
		Certificate: string(in.Certificate), Chain: string(in.CertificateChain), InstalledAt: next.LastStateChangeAt,
	}
	issuer, err := s.newIssuer(ctx, &next, inst)
	if err != nil {
		return nil, unexpected("preparing the imported certificate", arn, err)
	}
	return nil, s.commit(ctx, a, &next, issuer, func(ctx context.Context) error { return s.Records.InstallCertificate(ctx, &next, inst) })
}
