package ca

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"strings"
	"time"

	"chirograph.dev/internal/pca"
	"chirograph.dev/internal/store"
)

// GetCertificate gives a certificate, also a revoked or expired one, and the
// chain of the day it was issued.
func (s *Service) GetCertificate(ctx context.Context, in *pca.GetCertificateRequest) (*pca.GetCertificateResponse, error) {
	caARN, err := pca.ParseCAARN(in.CertificateAuthorityArn, s.Partition)
	if err != nil {
		return nil, err
	}
	arn, err := pca.ParseARN(in.CertificateArn, s.Partition)
	if err != nil {
		return nil, err
	}
	if arn.Certificate == "" || arn.CAARN() != caARN.CAARN() {
		return nil, pca.Errorf(pca.InvalidArnException, "The certificate ARN %s does not lie below the certificate authority %s.", in.CertificateArn, in.CertificateAuthorityArn)
	}
	a, err := s.authority(ctx, caARN)
	if err != nil {
		return nil, err
	}
	a.mu.RLock()
	rec, status, current := a.rec, s.status(a.rec), a.issuer
	a.mu.RUnlock()
	switch status {
	case pca.CertificateAuthorityStatus_CREATING, pca.CertificateAuthorityStatus_FAILED, pca.CertificateAuthorityStatus_DELETED:
		return nil, pca.Errorf(pca.InvalidStateException, "The certificate authority %s is not in the correct state to have issued certificates.", rec.ARN)
	}
	serial, err := hex.DecodeString(arn.Certificate)
	if err != nil {
		return nil, pca.Errorf(pca.InvalidArnException, "The certificate ARN %s does not end in a serial number.", in.CertificateArn)
	}
	c, err := s.Certificates.Certificate(ctx, rec.ID, trimZeros(serial))
	if errors.Is(err, store.ErrNotFound) {
		return nil, s.noCertificate(ctx, rec.ID, serial, "Could not find the certificate "+in.CertificateArn+". Check the ARN.")
	}
	if err != nil {
		return nil, unexpected("reading a certificate", arn, err)
	}
	if s.invisible(c.Serial) {
		return nil, inProgress()
	}
	out := &pca.GetCertificateResponse{
		// No newline at the end: cert-manager's issuer appends one (clients.md 4).
		Certificate: strings.TrimSuffix(string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.DER})), "\n"),
	}
	switch {
	case c.Generation == 0: // self-signed: no chain
	case current != nil && current.generation == c.Generation:
		out.CertificateChain = current.chain
	default:
		inst, err := s.Certificates.InstalledCertificate(ctx, rec.ID, c.Generation)
		if err != nil {
			return nil, unexpected("reading the chain of a certificate", arn, err)
		}
		out.CertificateChain = chainOf(inst)
	}
	return out, nil
}

// noCertificate tells an issuance that failed after its ARN was answered from a serial that never was.
func (s *Service) noCertificate(ctx context.Context, ca string, serial []byte, notFound string) error {
	reason, err := s.Certificates.FailedIssuance(ctx, ca, serial)
	if err == nil && s.invisible(trimZeros(serial)) {
		return inProgress()
	}
	if err == nil {
		return pca.Errorf(pca.RequestFailedException, "The certificate could not be issued. %s", reason)
	}
	if !errors.Is(err, store.ErrNotFound) {
		return err
	}
	return &pca.Error{Code: pca.ResourceNotFoundException, Message: notFound}
}

// invisible says whether a certificate of ours with that serial, which begins
// with the milliseconds of its issuance, is younger than the VisibilityDelay.
func (s *Service) invisible(serial []byte) bool {
	if s.VisibilityDelay <= 0 {
		return false
	}
	var padded [16]byte
	copy(padded[max(0, len(padded)-len(serial)):], serial)
	issued := time.UnixMilli(int64(binary.BigEndian.Uint64(padded[:8]) >> 16))
	return s.Now().Before(issued.Add(s.VisibilityDelay))
}

func inProgress() error {
	return pca.Errorf(pca.RequestInProgressException, "The certificate is still being issued. Try again in a second.")
}
