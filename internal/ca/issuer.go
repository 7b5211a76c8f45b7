package ca

import (
	"context"
	"encoding/pem"
	"fmt"
	"math/big"
	"strings"

	"chirograph.dev/internal/issuance"
	"chirograph.dev/internal/pca"
	"chirograph.dev/internal/store"
)

// issuer is one installed certificate made ready for issuing. It does not change.
type issuer struct {
	*issuance.Issuer
	keyErr     error // why the key cannot be had; then nothing is issued
	generation int64
	chain      string // PEM of the certificates that an issued certificate chains to, this CA's first
}

// newIssuer prepares the installed certificate of a CA. inst is nil while there
// is none; what it returns then signs only the CA's own root certificate. A key
// that cannot be had is no error of its own: the CA can still be described, its
// certificates read and revoked, its reports made.
func (s *Service) newIssuer(ctx context.Context, rec *store.CertificateAuthority, inst *store.InstalledCertificate) (*issuer, error) {
	cfg := issuance.IssuerConfig{Type: rec.Type, UsageMode: rec.UsageMode, Partition: s.Partition, MixedSubjects: s.MixedSubjects}
	i := &issuer{}
	signer, err := s.Keys.Signer(ctx, rec.KeyID)
	if err != nil {
		i.keyErr = fmt.Errorf("finding the key of CA %s: %w", rec.ID, err)
		s.Log.ErrorContext(ctx, "a certificate authority is without its key; restore the key folder and start again", "ca", rec.ID, "error", err)
	} else {
		cfg.Signer = signer
	}
	if inst != nil {
		ders := decodePEM(inst.Certificate)
		if len(ders) != 1 {
			return nil, fmt.Errorf("installed certificate %d holds %d certificates, want 1", inst.Generation, len(ders))
		}
		cfg.Certificate, cfg.Chain = ders[0], decodePEM(inst.Chain)
		i.generation = inst.Generation
		i.chain = chainOf(inst)
	}
	if i.Issuer, err = issuance.NewIssuer(cfg); err != nil {
		return nil, err
	}
	return i, nil
}

// chainOf is the CertificateChain of what an installed certificate signed: that
// certificate, then its own chain, root last, blocks joined by one newline and
// none at the end (api.md 5.11).
func chainOf(inst *store.InstalledCertificate) string {
	var b strings.Builder
	for _, der := range append(decodePEM(inst.Certificate), decodePEM(inst.Chain)...) {
		b.Write(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// decodePEM gives the contents of all CERTIFICATE blocks of text that was checked at import.
func decodePEM(text string) [][]byte {
	var ders [][]byte
	rest := []byte(text)
	for {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			return ders
		}
		if block.Type == "CERTIFICATE" {
			ders = append(ders, block.Bytes)
		}
	}
}

// validity gives the members of CertificateAuthority that come from the
// installed certificate; absent when i is nil. Serial is decimal (api.md 3).
func (i *issuer) validity() (serial string, notBefore, notAfter *pca.EpochSeconds) {
	if i == nil {
		return "", nil, nil
	}
	number, begin, end := i.Validity()
	return new(big.Int).SetBytes(number).String(), pca.NewEpochSeconds(begin), pca.NewEpochSeconds(end)
}
