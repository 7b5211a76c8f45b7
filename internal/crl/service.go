package crl

import (
	"context"
	"fmt"
	"net/http"

	"chirograph.dev/internal/awsjson"
	"chirograph.dev/internal/store"
)

// Service makes and writes lists. Safe for concurrent use. It is a ca.CRLs.
type Service struct {
	cfg Config
}

// New makes a Service; nothing is made or written before Run.
func New(cfg Config) (*Service, error) {
	return nil, fmt.Errorf("no")
}

// Run follows the logs until ctx ends: it makes and writes what is due.
func (s *Service) Run(ctx context.Context) error { return nil }

// Changed tells of a CA that was made or loaded, or has changed. It is quick.
func (s *Service) Changed(rec *store.CertificateAuthority) {}

// Check implements ca.CRLs.
func (s *Service) Check(ctx context.Context, rec *store.CertificateAuthority) error { return nil }

// Bind implements ca.CRLs.
func (s *Service) Bind(ctx context.Context, rec *store.CertificateAuthority) (crl int64, uri string, err error) {
	return 0, "", nil
}

// Publish makes and writes all lists of a CA now.
func (s *Service) Publish(ctx context.Context, ca string) error { return nil }

// List is a list as the API shows it. Times are RFC 3339, absent when zero.
type List struct{}

// List gives the lists of a CA, the oldest first.
func (s *Service) List(ctx context.Context, ca string) ([]List, error) { return nil, nil }

// Route takes requests below /revocation/ apart; it is the route of an awsjson.Plain.
func (s *Service) Route(r *http.Request) (awsjson.Route, error) { return awsjson.Route{}, nil }

// Mirror serves the newest of every list at /crl/<bucket>/<key>.
func (s *Service) Mirror() http.Handler { return nil }
