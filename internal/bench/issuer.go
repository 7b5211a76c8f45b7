package bench

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
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

// Issuer has certificates issued over HTTP with Signature V4, with no more work
// on its side than that takes. Safe for concurrent use.
type Issuer struct {
	server      *Server
	client      *http.Client
	signer      *v4.Signer
	credentials aws.Credentials
	requests    [][]byte
	next        atomic.Uint64
}

// Issuer makes an Issuer of a CA that keeps so many connections open and sends
// the CSRs one after the other, over and over.
func (s *Server) Issuer(ctx context.Context, ca string, csrs [][]byte, connections int) (*Issuer, error) {
	credentials, err := s.Config.Credentials.Retrieve(ctx)
	if err != nil {
		return nil, err
	}
	i := &Issuer{
		server: s, signer: v4.NewSigner(), credentials: credentials, requests: make([][]byte, len(csrs)),
		client: &http.Client{Transport: &http.Transport{MaxIdleConns: connections, MaxIdleConnsPerHost: connections, MaxConnsPerHost: connections, DisableCompression: true}},
	}
	for j, csr := range csrs {
		i.requests[j], err = json.Marshal(map[string]any{
			"CertificateAuthorityArn": ca, "Csr": csr, "SigningAlgorithm": "SHA256WITHECDSA",
			"Validity": map[string]any{"Type": "DAYS", "Value": 90},
		})
		if err != nil {
			return nil, err
		}
	}
	return i, nil
}

// Issue has one certificate issued; it is durable when Issue returns nil.
func (i *Issuer) Issue(ctx context.Context) error {
	body := i.requests[i.next.Add(1)%uint64(len(i.requests))]
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, i.server.API+"/", bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/x-amz-json-1.1")
	req.Header.Set("X-Amz-Target", "ACMPrivateCA.IssueCertificate")
	sum := sha256.Sum256(body)
	if err := i.signer.SignHTTP(ctx, i.credentials, req, hex.EncodeToString(sum[:]), "acm-pca", i.server.Config.Region, time.Now()); err != nil {
		return err
	}
	resp, err := i.client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("status %d: %s", resp.StatusCode, answer)
	}
	return nil
}

// Close closes the connections.
func (i *Issuer) Close() { i.client.CloseIdleConnections() }
