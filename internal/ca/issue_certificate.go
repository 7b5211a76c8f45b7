package ca

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"strings"

	"chirograph.dev/internal/certlog"
	"chirograph.dev/internal/issuance"
	"chirograph.dev/internal/pca"
	"chirograph.dev/internal/store"
)

// maxSerialTries bounds the retries after a serial number that is taken. With
// 80 random bits a millisecond a second try is already a miracle.
const maxSerialTries = 3

// IssueCertificate signs a certificate and answers its ARN once its log entry
// is durable. Gates are passed in the order of templates.md 6.2.
func (s *Service) IssueCertificate(ctx context.Context, in *pca.IssueCertificateRequest) (*pca.IssueCertificateResponse, error) {
	arn, a, err := s.find(ctx, in.CertificateAuthorityArn)
	if err != nil {
		return nil, err
	}
	caller := s.Caller(ctx)
	var token *store.Token
	if in.IdempotencyToken != "" {
		key := strings.Join([]string{caller.Account, "IssueCertificate", arn.CA, in.IdempotencyToken}, "/")
		token = reserve(key, "", contentOf(in), s.Now())
		// The status comes first (api.md 5.10). What else the request says does
		// not matter to a replay: the token alone decides (T-97).
		tmpl, _ := issuance.LookupTemplate(in.TemplateArn, s.Partition)
		if err := s.mayIssue(a.access.Load().rec, tmpl); err != nil {
			return nil, err
		}
		first, err := s.replay(ctx, token)
		if err != nil {
			return nil, unexpected("replaying an issuance", arn, err)
		}
		if first != "" {
			return &pca.IssueCertificateResponse{CertificateArn: first}, nil
		}
	}
	for try := 1; ; try++ {
		out, err := s.issue(ctx, arn, a, in, caller, token)
		exists, taken := errors.AsType[*store.ExistsError](err)
		switch {
		case !taken:
			return out, err
		case exists.Kind == store.KindToken: // a concurrent call with the same token was first
			return &pca.IssueCertificateResponse{CertificateArn: s.first(ctx, token, exists.Value)}, nil
		case try == maxSerialTries:
			return nil, unexpected("finding a free serial number", arn, err)
		}
	}
}

// issue makes one attempt with one serial number.
func (s *Service) issue(ctx context.Context, arn pca.ARN, a *authority, in *pca.IssueCertificateRequest, caller Caller, token *store.Token) (_ *pca.IssueCertificateResponse, err error) {
	// Held until the entry is durable, so that the status cannot change between
	// the decision and the commit.
	a.mu.RLock()
	defer a.mu.RUnlock()

	tmpl, templateErr := issuance.LookupTemplate(in.TemplateArn, s.Partition)
	if err := s.mayIssue(a.rec, tmpl); err != nil {
		return nil, err
	}
	if templateErr != nil {
		return nil, templateErr
	}
	i := a.issuer
	if i == nil {
		if i, err = s.newIssuer(ctx, a.rec, nil); err != nil {
			return nil, unexpected("preparing the key", arn, err)
		}
	}
	if i.keyErr != nil {
		return nil, i.keyErr
	}
	now := s.Now()
	serial, err := issuance.NewSerial(now)
	if err != nil {
		return nil, unexpected("making a serial number", arn, err)
	}
	request := issuance.Request{
		Template: tmpl, CSR: in.Csr, Passthrough: in.ApiPassthrough, SigningAlgorithm: in.SigningAlgorithm,
		Validity: in.Validity, NotBefore: in.ValidityNotBefore, Now: now, Serial: serial,
		OCSPURL: s.ocspURL(a.rec),
	}
	var crl int64 // that it is bound to
	bind := func() (uri string, err error) {
		if crl, uri, err = s.CRLs.Bind(ctx, a.rec); err != nil {
			return "", unexpected("binding a certificate to a CRL", arn, err)
		}
		return uri, nil
	}
	cfg := crlOf(&a.rec.Revocation)
	binds := cfg != nil && !tmpl.SelfSigned
	if binds && !omitsCRL(cfg) {
		request.CRLURL = bind
	}
	issued, err := i.Issue(request)
	certARN := arn.WithCertificate(serial[:]).String()
	if token != nil {
		token = reserve(token.Key, certARN, contentOf(in), now)
	}
	if violation, ok := errors.AsType[*issuance.NameConstraintError](err); ok {
		if s.SyncValidation {
			return nil, &pca.Error{Code: pca.ValidationException, Message: violation.Reason}
		}
		// As at AWS the call succeeds and the issuance fails: the ARN is
		// answered, GetCertificate tells the reason, no report lists it (T-93).
		if err := s.Certificates.PutFailedIssuance(ctx, arn.CA, serial[:], violation.Reason, token); err != nil {
			return nil, unexpected("recording a failed issuance", arn, err)
		}
		return &pca.IssueCertificateResponse{CertificateArn: certARN}, nil
	}
	if err != nil {
		return nil, err
	}
	if err == nil && binds && omitsCRL(cfg) { // what the certificate does not say holds nevertheless
		if _, err := bind(); err != nil {
			return nil, err
		}
	}
	if err := s.beginIssue(ctx, a); err != nil {
		return nil, err
	}
	defer func() { s.endIssue(a, err == nil) }()
	for _, w := range issued.Warnings {
		s.Log.WarnContext(ctx, w, "certificate", certARN)
	}
	if tmpl.SelfSigned {
		configured, err := issuance.EncodeSubject(&a.rec.Configuration.Subject, true)
		if err != nil || !bytes.Equal(configured, issued.RawSubject) {
			s.Log.WarnContext(ctx, "the subject of a root certificate is not the one that its CA was created with", "certificate", certARN) // T-82
		}
	}
	generation := i.generation
	if tmpl.SelfSigned {
		generation = 0
	}
	rec, err := s.issueRecord(caller, tmpl.ARN, issued, &store.Certificate{CA: arn.CA, Generation: generation, CRL: crl})
	if err != nil {
		return nil, unexpected("encoding the log entry", arn, err)
	}
	if token != nil {
		rec.Rows = append(rec.Rows, token)
	}
	// From here on the certificate exists: a crash before the commit loses a
	// signature that nobody received; a crash after it leaves a certificate
	// that the report lists and nobody received, which is correct.
	if _, err := s.Entries.Append(ctx, arn.CA, rec); err != nil {
		return nil, unexpected("committing a certificate", arn, err)
	}
	return &pca.IssueCertificateResponse{CertificateArn: certARN}, nil
}

// mayIssue is the row IssueCertificate of the status matrix (api.md 4): an
// ACTIVE CA issues; a root that is pending or expired only signs itself.
func (s *Service) mayIssue(rec *store.CertificateAuthority, tmpl *issuance.Template) error {
	status := s.status(rec)
	selfSign := tmpl != nil && tmpl.SelfSigned && rec.Type == pca.CertificateAuthorityType_ROOT
	switch status {
	case pca.CertificateAuthorityStatus_ACTIVE:
		return nil
	case pca.CertificateAuthorityStatus_PENDING_CERTIFICATE, pca.CertificateAuthorityStatus_EXPIRED:
		if selfSign {
			return nil
		}
	}
	return pca.Errorf(pca.InvalidStateException, "The certificate authority is not in a valid state for issuing certificates. %s is in the %s state.", rec.ARN, status)
}

// issueRecord is the entry of an issued certificate with row, which it completes.
func (s *Service) issueRecord(caller Caller, template string, issued *issuance.Issued, row *store.Certificate) (certlog.Record, error) {
	e := certlog.Entry{
		Type: certlog.TypeIssue,
		// issuedAt is a clock reading of its own, not before the validity's base (audit-report.md 8.1).
		Time:        s.Now().UnixMilli(),
		Serial:      trimZeros(issued.Serial[:]),
		CertSHA256:  sha256.Sum256(issued.DER),
		NotBefore:   issued.NotBefore.Unix(),
		NotAfter:    issued.NotAfter.Unix(),
		Account:     []byte(caller.Account),
		Principal:   []byte(caller.Service),
		TemplateARN: []byte(template),
		Subject:     issued.Subject,
	}
	b, err := e.Append(make([]byte, 0, 320))
	if err != nil {
		return certlog.Record{}, err
	}
	row.Serial, row.NotAfter, row.DER = e.Serial, issued.NotAfter, issued.DER
	return certlog.Record{Entry: b, Rows: []certlog.Row{row}}, nil
}

// trimZeros gives the magnitude of a big-endian number without leading zeros.
func trimZeros(b []byte) []byte {
	for len(b) > 1 && b[0] == 0 {
		b = b[1:]
	}
	return b
}
