package bench

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
)

// Caller calls operations over HTTP with Signature V4, with no more work on its
// side than that takes. Safe for concurrent use.
type Caller struct {
	server      *Server
	client      *http.Client
	signer      *v4.Signer
	credentials aws.Credentials
}

// StatusError is an answer other than 200.
type StatusError struct {
	Status int
	Body   []byte
}

func (e *StatusError) Error() string { return fmt.Sprintf("status %d: %s", e.Status, e.Body) }

// Caller makes a Caller that keeps so many connections open.
func (s *Server) Caller(ctx context.Context, connections int) (*Caller, error) {
	credentials, err := s.Config.Credentials.Retrieve(ctx)
	if err != nil {
		return nil, err
	}
	return &Caller{
		server: s, signer: v4.NewSigner(), credentials: credentials,
		client: &http.Client{Transport: &http.Transport{MaxIdleConns: connections, MaxIdleConnsPerHost: connections, MaxConnsPerHost: connections, DisableCompression: true}},
	}, nil
}

// Call sends a request of an operation such as IssueCertificate and gives the
// answer's body; any status but 200 is a *StatusError.
func (c *Caller) Call(ctx context.Context, operation string, body []byte) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.server.API+"/", bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	if err := SignCall(ctx, c.signer, c.credentials, c.server.Config.Region, req, operation, body); err != nil {
		return nil, err
	}
	resp, err := c.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		return nil, &StatusError{resp.StatusCode, answer}
	}
	return answer, nil
}

// SignCall makes a request with that body one of an operation, and signs it.
func SignCall(ctx context.Context, signer *v4.Signer, credentials aws.Credentials, region string, req *http.Request, operation string, body []byte) error {
	req.Header.Set("Content-Type", "application/x-amz-json-1.1")
	req.Header.Set("X-Amz-Target", "ACMPrivateCA."+operation)
	sum := sha256.Sum256(body)
	return signer.SignHTTP(ctx, credentials, req, hex.EncodeToString(sum[:]), "acm-pca", region, time.Now())
}

// Close closes the connections.
func (c *Caller) Close() { c.client.CloseIdleConnections() }
