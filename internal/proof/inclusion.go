package proof

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"

	"filippo.io/torchwood"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"chirograph.dev/internal/certlog"
	"chirograph.dev/internal/issuance"
)

// ErrInclusion is wrapped by the errors of VerifyInclusion: the proof does not
// show what it is to show.
var ErrInclusion = errors.New("inclusion proof does not hold")

// FormatInclusion is the proof, as a file of the form c2sp.org/tlog-proof@v1,
// that a log has an entry: its bytes are the extra data.
func FormatInclusion(index uint64, entry []byte, path tlog.RecordProof, checkpoint []byte) []byte {
	return torchwood.FormatProofWithExtraData(int64(index), entry, path, checkpoint)
}

// Inclusion is what VerifyInclusion is asked.
type Inclusion struct {
	LogKey      string  // verifier key of the log
	Policy      *Policy // witnesses that must have cosigned; nil: none
	Certificate []byte  // DER, or
	Serial      []byte  // big-endian
}

// VerifyInclusion checks, offline, that a proof of FormatInclusion is of the
// entry that issued the certificate, or that serial, and gives the entry and
// the size of the log that it was in. With a certificate the entry has its
// digest; with a serial alone the entry tells which certificate it was. It
// says nothing of revocation. The error wraps ErrInclusion.
func VerifyInclusion(proof []byte, in Inclusion) (entry *certlog.Entry, size uint64, err error) {
	bad := func(format string, args ...any) (*certlog.Entry, uint64, error) {
		return nil, 0, fmt.Errorf("%w: %w", ErrInclusion, fmt.Errorf(format, args...))
	}
	log, err := note.NewVerifier(in.LogKey)
	if err != nil {
		return bad("verifier key %q: %w", in.LogKey, err)
	}
	raw, err := torchwood.ProofExtraData(proof)
	if err != nil {
		return bad("%w", err)
	}
	if err := torchwood.VerifyProof(in.Policy.withLog(log), tlog.RecordHash(raw), proof); err != nil {
		return bad("%w", err)
	}
	entry = new(certlog.Entry)
	if err := entry.Decode(raw); err != nil {
		return bad("%w", err)
	}
	serial := in.Serial
	if len(in.Certificate) > 0 {
		c, err := issuance.ReadCertificate(in.Certificate)
		if err != nil {
			return bad("%w", err)
		}
		serial = c.Serial
	}
	switch {
	case entry.Type != certlog.TypeIssue:
		return bad("the entry issued nothing")
	case !bytes.Equal(entry.Serial, bytes.TrimLeft(serial, "\x00")):
		return bad("the entry issued the serial %x", entry.Serial)
	case len(in.Certificate) > 0 && entry.CertSHA256 != sha256.Sum256(in.Certificate):
		return bad("the entry issued another certificate of that serial")
	}
	// What VerifyProof has verified.
	_, signed, _ := strings.Cut(string(proof), "\n\n")
	_, size, _, err = OpenCheckpoint([]byte(signed), in.LogKey)
	if err != nil {
		return bad("%w", err)
	}
	return entry, size, nil
}
