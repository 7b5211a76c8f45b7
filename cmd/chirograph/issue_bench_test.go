package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/acmpca"

	"chirograph.dev/internal/bench"
)

// BenchmarkIssueCertificate is the whole walk of an issuance in one process,
// from the handler to the disk: all but net/http and the network. bench/issue
// measures the server that people start.
func BenchmarkIssueCertificate(b *testing.B) {
	cfg := defaultServeConfig()
	cfg.DataDir = filepath.Join(b.TempDir(), "data")
	log := slog.New(slog.NewTextHandler(io.Discard, &slog.HandlerOptions{Level: slog.LevelError}))
	ctx, stop := context.WithCancel(b.Context())
	h, err := openHouse(ctx, cfg, log)
	if err != nil {
		b.Fatal(err)
	}
	var running sync.WaitGroup
	running.Go(func() {
		if err := h.run(ctx); err != nil {
			b.Error(err)
		}
	})
	defer func() {
		stop()
		running.Wait()
		if err := h.Close(); err != nil {
			b.Error(err)
		}
	}()
	requests := signedIssuances(b, h)
	for _, callers := range []int{1, 16, 64} {
		b.Run(fmt.Sprintf("callers=%d", callers), func(b *testing.B) {
			b.ReportAllocs()
			cpu := bench.OwnCPU()
			var wg sync.WaitGroup
			for c := range callers {
				wg.Go(func() {
					for i := c; i < b.N; i += callers {
						r := requests[i%len(requests)]
						w := httptest.NewRecorder()
						h.api.ServeHTTP(w, r.request(b.Context()))
						if w.Code != http.StatusOK {
							b.Errorf("%d %s", w.Code, w.Body)
							return
						}
					}
				})
			}
			wg.Wait()
			b.ReportMetric(float64((bench.OwnCPU()-cpu).Microseconds())/float64(b.N), "cpu-us/cert")
		})
	}
}

// signedIssuance is a request that may be sent again and again.
type signedIssuance struct {
	signed *http.Request
	body   []byte
}

func (s *signedIssuance) request(ctx context.Context) *http.Request {
	r := s.signed.WithContext(ctx)
	r.Body = io.NopCloser(bytes.NewReader(s.body))
	return r
}

// signedIssuances makes a CA, and requests to it.
func signedIssuances(b *testing.B, h *house) []signedIssuance {
	id, secret, _, err := h.people.AdministratorKey(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	keys := aws.Credentials{AccessKeyID: id, SecretAccessKey: secret}
	api := httptest.NewServer(h.api)
	defer api.Close()
	server := bench.Server{PCA: acmpca.New(acmpca.Options{
		Region: h.cfg.Region, BaseEndpoint: &api.URL, Credentials: credentials.NewStaticCredentialsProvider(id, secret, ""),
	})}
	ca, err := server.MakeCA(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	csrs, err := bench.CSRs(64)
	if err != nil {
		b.Fatal(err)
	}
	requests := make([]signedIssuance, len(csrs))
	for i, csr := range csrs {
		body := bench.IssueBody(ca, csr)
		r := httptest.NewRequest(http.MethodPost, "http://127.0.0.1:8440/", bytes.NewReader(body))
		if err := bench.SignCall(b.Context(), v4.NewSigner(), keys, h.cfg.Region, r, "IssueCertificate", body); err != nil {
			b.Fatal(err)
		}
		requests[i] = signedIssuance{r, body}
	}
	return requests
}
