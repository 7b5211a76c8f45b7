package ca

import (
	"context"
	"errors"
	"strings"

	"chirograph.dev/internal/certlog"
	"chirograph.dev/internal/pca"
	"chirograph.dev/internal/store"
)

// crlReasons are the CRLReason codes of RFC 5280 5.3.1 (revocation.md 1.1).
func crlReason(r pca.RevocationReason) uint8 {
	switch r {
	case pca.RevocationReason_KEY_COMPROMISE:
		return 1
	case pca.RevocationReason_CERTIFICATE_AUTHORITY_COMPROMISE:
		return 2
	case pca.RevocationReason_AFFILIATION_CHANGED:
		return 3
	case pca.RevocationReason_SUPERSEDED:
		return 4
	case pca.RevocationReason_CESSATION_OF_OPERATION:
		return 5
	case pca.RevocationReason_PRIVILEGE_WITHDRAWN:
		return 9
	case pca.RevocationReason_A_A_COMPROMISE:
		return 10
	}
	return 0 // UNSPECIFIED
}

// RevokeCertificate revokes a certificate for good. The revocation is an entry
// of the log; when the call returns, every later report, CRL and OCSP answer has
// it.
func (s *Service) RevokeCertificate(ctx context.Context, in *pca.RevokeCertificateRequest) (*struct{}, error) {
	arn, a, err := s.find(ctx, in.CertificateAuthorityArn)
	if err != nil {
		return nil, err
	}
	if s.RequireBucketWrite {
		if err := s.requireBucket(ctx, arn, a, in); err != nil {
			return nil, err
		}
	}
	a.mu.RLock()
	defer a.mu.RUnlock()
	revocation, err := s.revocation(ctx, arn, a, in)
	if err != nil {
		return nil, err
	}
	end, err := s.beginRevoke(ctx, a)
	if err != nil {
		return nil, err
	}
	defer func() { end(err == nil) }()
	entry := certlog.Entry{Type: certlog.TypeRevoke, Time: revocation.Time, Serial: revocation.Serial, IssueIndex: revocation.IssueIndex, Reason: revocation.Reason}
	b, err := entry.Append(nil)
	if err != nil {
		return nil, unexpected("encoding a revocation", arn, err)
	}
	// Uniqueness is the store's: of two racing calls the commit refuses one.
	_, err = s.Entries.Append(ctx, arn.CA, certlog.Record{Entry: b, Rows: []certlog.Row{revocation}})
	if s.Revoked != nil {
		s.Revoked(arn.CA, revocation.Serial) // whatever the error: it may come after the commit
	}
	if _, ok := errors.AsType[*store.ExistsError](err); ok {
		return nil, revokedAlready(in.CertificateSerial)
	}
	if err != nil {
		return nil, unexpected("committing a revocation", arn, err)
	}
	return nil, nil
}

// revocation judges a request and gives what is to be recorded. The caller
// holds a.mu.
func (s *Service) revocation(ctx context.Context, arn pca.ARN, a *authority, in *pca.RevokeCertificateRequest) (*store.Revocation, error) {
	switch status := s.status(a.rec); status {
	case pca.CertificateAuthorityStatus_ACTIVE, pca.CertificateAuthorityStatus_DISABLED:
	default:
		return nil, pca.Errorf(pca.InvalidStateException, "The certificate authority %s is in the %s state. Certificates can be revoked in the states ACTIVE and DISABLED.", a.rec.ARN, status)
	}
	serial, err := parseSerial(in.CertificateSerial)
	if err != nil {
		return nil, err
	}
	c, before, err := s.Certificates.CertificateStatus(ctx, arn.CA, serial)
	if errors.Is(err, store.ErrNotFound) {
		return nil, s.noCertificate(ctx, arn.CA, padSerial(serial), "Could not find a certificate with the serial number "+in.CertificateSerial+" that this certificate authority issued. Give the serial number as the audit report or the certificate's ARN shows it.")
	}
	if err != nil {
		return nil, unexpected("reading a certificate", arn, err)
	}
	now := s.Now()
	switch {
	case c.Generation == 0:
		return nil, pca.Errorf(pca.InvalidRequestException, "Self-signed certificate can not be revoked. Relying parties stop trusting a root by removing it from their trust stores.")
	case s.invisible(c.Serial):
		return nil, inProgress()
	case before != nil:
		return nil, revokedAlready(in.CertificateSerial)
	case now.Unix() > c.NotAfter.Unix():
		return nil, pca.Errorf(pca.InvalidRequestException, "The certificate %s has expired. An expired certificate cannot be revoked.", in.CertificateSerial)
	}
	return &store.Revocation{
		CA: arn.CA, IssueIndex: c.Index, Time: now.UnixMilli(), Reason: crlReason(in.RevocationReason),
		Serial: serial, NotAfter: c.NotAfter, CRL: c.CRL,
	}, nil
}

// requireBucket refuses a revocation, if nothing else does, that no CRL could
// tell of. No CA is locked while the bucket is asked.
func (s *Service) requireBucket(ctx context.Context, arn pca.ARN, a *authority, in *pca.RevokeCertificateRequest) error {
	a.mu.RLock()
	rec := a.rec
	_, err := s.revocation(ctx, arn, a, in)
	a.mu.RUnlock()
	if err != nil {
		return err
	}
	err = s.checkBucket(ctx, rec)
	if refused, ok := errors.AsType[*pca.Error](err); ok {
		return &pca.Error{Code: pca.RequestFailedException, Message: "The certificate was not revoked, since this server is set to require that its CRL can be written. " + refused.Message, Err: err}
	}
	return err
}

func revokedAlready(serial string) error {
	return pca.Errorf(pca.RequestAlreadyProcessedException, "The certificate %s is revoked already. The first revocation stands.", serial)
}

// parseSerial reads a serial number as clients send it. It returns the magnitude
// without leading zeros.
func parseSerial(text string) ([]byte, error) {
	b, err := pca.ParseSerial(text)
	if err != nil || strings.Trim(text, ":") == "" {
		return nil, pca.Errorf(pca.InvalidRequestException, "The serial number %s is not valid. Give it in hexadecimal, with or without colons, as the audit report or the certificate's ARN shows it.", text)
	}
	if len(b) == 0 {
		b = []byte{0}
	}
	return b, nil
}

// padSerial gives a serial number in the 16 octets of an ARN.
func padSerial(b []byte) []byte {
	if len(b) >= 16 {
		return b
	}
	padded := make([]byte, 16)
	copy(padded[16-len(b):], b)
	return padded
}
