package bench

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"sync/atomic"
)

// CSRs makes n P-256 certificate requests in PEM, of one key.
func CSRs(n int) ([][]byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	csrs := make([][]byte, n)
	for i := range csrs {
		name := fmt.Sprintf("host-%05d.bench.example.com", i)
		der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{
			Subject: pkix.Name{CommonName: name, Organization: []string{"Example"}, Country: []string{"US"}}, DNSNames: []string{name},
		}, key)
		if err != nil {
			return nil, err
		}
		csrs[i] = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der})
	}
	return csrs, nil
}

// Issuer has certificates issued. Safe for concurrent use.
type Issuer struct {
	*Caller
	requests [][]byte
	next     atomic.Uint64
}

// Issuer makes an Issuer of a CA that keeps so many connections open and sends
// the CSRs one after the other, over and over.
func (s *Server) Issuer(ctx context.Context, ca string, csrs [][]byte, connections int) (*Issuer, error) {
	c, err := s.Caller(ctx, connections)
	if err != nil {
		return nil, err
	}
	i := &Issuer{Caller: c, requests: make([][]byte, len(csrs))}
	for j, csr := range csrs {
		i.requests[j] = IssueBody(ca, csr)
	}
	return i, nil
}

// IssueBody is an IssueCertificate request of a CA with a P-256 key.
func IssueBody(ca string, csr []byte) []byte {
	return Body(map[string]any{
		"CertificateAuthorityArn": ca, "Csr": csr, "SigningAlgorithm": "SHA256WITHECDSA",
		"Validity": map[string]any{"Type": "DAYS", "Value": 90},
	})
}

// Issue has one certificate issued; it is durable when Issue returns nil.
func (i *Issuer) Issue(ctx context.Context) error {
	_, err := i.Call(ctx, "IssueCertificate", i.requests[i.next.Add(1)%uint64(len(i.requests))])
	return err
}
