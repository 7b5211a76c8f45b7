package ca

import (
	"context"
	"fmt"

	"chirograph.dev/internal/bucket"
	"chirograph.dev/internal/issuance"
	"chirograph.dev/internal/pca"
	"chirograph.dev/internal/store"
)

// IssueResponder signs a certificate of an OCSP responder: for the key r.KeyID,
// in the name of the installed certificate r.Generation of the CA r.CA. r.NotAfter
// is when it is to end at the latest; what else r has is set. It is an entry of
// the log like every certificate, in the name of the service, and durable
// when this returns nil. No quota refuses it, and no CRL has it. A CA that does
// not publish (see Authority.Publishes) is an InvalidStateException.
func (s *Service) IssueResponder(ctx context.Context, r *store.Responder) (der []byte, err error) {
	a, err := s.byID(ctx, r.CA)
	if err != nil {
		return nil, err
	}
	if a == nil {
		return nil, unknownCA(r.CA)
	}
	// Held until the entry is durable, as in issue.
	a.mu.RLock()
	defer a.mu.RUnlock()
	if err := s.mayPublish(a); err != nil {
		return nil, err
	}
	i := a.issuer
	if r.Generation != i.generation {
		inst, err := s.Certificates.InstalledCertificate(ctx, r.CA, r.Generation)
		if err != nil {
			return nil, fmt.Errorf("reading certificate %d of CA %s: %w", r.Generation, r.CA, err)
		}
		if i, err = s.newIssuer(ctx, a.rec, inst); err != nil {
			return nil, fmt.Errorf("preparing certificate %d of CA %s: %w", r.Generation, r.CA, err)
		}
	}
	if i.keyErr != nil {
		return nil, i.keyErr
	}
	key, err := s.Keys.Signer(ctx, r.KeyID)
	if err != nil {
		return nil, fmt.Errorf("finding the responder's key: %w", err)
	}
	now := s.Now()
	serial, err := issuance.NewSerial(now)
	if err != nil {
		return nil, fmt.Errorf("making a serial number: %w", err)
	}
	issued, template, err := i.IssueResponder(issuance.ResponderRequest{
		PublicKey: key.Public(), SigningAlgorithm: a.rec.Configuration.SigningAlgorithm, Now: now, NotAfter: r.NotAfter, Serial: serial,
	})
	if err != nil {
		return nil, fmt.Errorf("issuing an OCSP responder certificate of CA %s: %w", r.CA, err)
	}
	caller := Caller{Account: a.rec.Account, Service: bucket.ServicePrincipal}
	rec, err := s.issueRecord(caller, template, issued, &store.Certificate{CA: r.CA, Generation: i.generation})
	if err != nil {
		return nil, fmt.Errorf("encoding the log entry: %w", err)
	}
	r.Serial, r.NotBefore, r.NotAfter = trimZeros(serial[:]), issued.NotBefore, issued.NotAfter
	rec.Rows = append(rec.Rows, r)
	// A crash before the commit loses a certificate that nobody received; one
	// after it leaves one whose key is in the keystore, and its row tells.
	if _, err := s.Entries.Append(ctx, r.CA, rec); err != nil {
		return nil, fmt.Errorf("committing an OCSP responder certificate of CA %s: %w", r.CA, err)
	}
	a.issued.add()
	return issued.DER, nil
}

// mayPublish refuses a CA that signs nothing about revocations. The caller
// holds a.mu.
func (s *Service) mayPublish(a *authority) error {
	if s.gone(a.rec) {
		return unknownCA(a.rec.ID)
	}
	if v := s.view(a); !v.Publishes() {
		return pca.Errorf(pca.InvalidStateException, "The certificate authority %s is in the %s state and signs nothing about revocations.", a.rec.ARN, v.Status)
	}
	return nil
}

func unknownCA(id string) error {
	return pca.Errorf(pca.ResourceNotFoundException, "Could not find the certificate authority %s.", id)
}
