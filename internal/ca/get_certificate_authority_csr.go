package ca

import (
	"context"
	"encoding/pem"

	"chirograph.dev/internal/pca"
)

// GetCertificateAuthorityCsr gives the CSR of the CA, the same bytes at every
// call, also when the CA is active (renewal).
func (s *Service) GetCertificateAuthorityCsr(ctx context.Context, in *pca.GetCertificateAuthorityCsrRequest) (*pca.GetCertificateAuthorityCsrResponse, error) {
	arn, err := pca.ParseCAARN(in.CertificateAuthorityArn, s.Partition)
	if err != nil {
		return nil, err
	}
	rec, status, err := s.Record(ctx, arn)
	if err != nil {
		return nil, err
	}
	switch status {
	case pca.CertificateAuthorityStatus_CREATING:
		return nil, pca.Errorf(pca.RequestInProgressException, "The key pair of the certificate authority is still being made. Try again in a few seconds.")
	case pca.CertificateAuthorityStatus_FAILED, pca.CertificateAuthorityStatus_DELETED:
		return nil, pca.Errorf(pca.InvalidStateException, "The certificate authority %s is not in the correct state to have a certificate signing request.", rec.ARN)
	}
	return &pca.GetCertificateAuthorityCsrResponse{
		Csr: string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: rec.CSR})),
	}, nil
}
