package ocsp

import (
	"context"
	"errors"
	"fmt"
	"time"

	"chirograph.dev/internal/store"
)

// State is what a responder knows of a serial number.
type State int

// The states. An answer about NeverIssued is what Config.UnknownSerial says;
// one about Expired is unauthorized.
const (
	Good State = iota
	Revoked
	NeverIssued
	Expired // not revoked, and its notAfter lies more than 24 hours back
)

// Status is what an answer says about a serial number.
type Status struct {
	State     State
	RevokedAt time.Time // whole seconds, UTC; zero unless Revoked
	Reason    uint8     // CRLReason
}

// keptGood is how long after its notAfter a certificate is still said to be good.
const keptGood = 24 * time.Hour

// Status tells what is answered about a serial number of a CA at this moment,
// whether or not that CA has OCSP on. serial is big-endian without leading zeros.
func (s *Service) Status(ctx context.Context, ca string, serial []byte) (Status, error) {
	c, r, err := s.cfg.Records.CertificateStatus(ctx, ca, serial)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return Status{State: NeverIssued}, nil
	case err != nil:
		return Status{}, fmt.Errorf("reading the status of a certificate: %w", err)
	case r != nil:
		return Status{State: Revoked, RevokedAt: time.Unix(r.Time/1000, 0).UTC(), Reason: r.Reason}, nil
	case s.cfg.Now().After(c.NotAfter.Add(keptGood)):
		return Status{State: Expired}, nil
	}
	return Status{State: Good}, nil
}
