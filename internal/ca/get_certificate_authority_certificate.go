package ca

import (
	"context"

	"chirograph.dev/internal/pca"
)

// GetCertificateAuthorityCertificate gives the installed certificate and its
// chain exactly as they were imported.
func (s *Service) GetCertificateAuthorityCertificate(ctx context.Context, in *pca.GetCertificateAuthorityCertificateRequest) (*pca.GetCertificateAuthorityCertificateResponse, error) {
	arn, err := pca.ParseCAARN(in.CertificateAuthorityArn, s.Partition)
	if err != nil {
		return nil, err
	}
	rec, status, err := s.Record(ctx, arn)
	if err != nil {
		return nil, err
	}
	switch status {
	case pca.CertificateAuthorityStatus_ACTIVE, pca.CertificateAuthorityStatus_DISABLED, pca.CertificateAuthorityStatus_EXPIRED:
	default:
		// The words are AWS's, of the CSR though they are (api.md 4.1).
		return nil, pca.Errorf(pca.InvalidStateException, "The certificate authority %s is not in the correct state to have a certificate signing request. It is in the %s state and has no certificate to show.", rec.ARN, status)
	}
	inst, err := s.Certificates.InstalledCertificate(ctx, rec.ID, rec.Installed)
	if err != nil {
		return nil, unexpected("reading the installed certificate", arn, err)
	}
	return &pca.GetCertificateAuthorityCertificateResponse{Certificate: inst.Certificate, CertificateChain: inst.Chain}, nil
}
