package proof

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"time"

	"chirograph.dev/internal/certlog"
	"chirograph.dev/internal/issuance"
)

// seenCertificate is a certificate of the CA that was found somewhere.
type seenCertificate struct {
	*issuance.Certificate
	digest [sha256.Size]byte
	logged bool
}

// readSeen reads the certificates that the log must have, by serial.
func (v *verifier) readSeen() (map[string][]*seenCertificate, error) {
	if len(v.Seen) == 0 {
		return nil, nil
	}
	seen := map[string][]*seenCertificate{}
	for i, der := range v.Seen {
		c, err := issuance.ReadCertificate(der)
		if err != nil {
			return nil, fmt.Errorf("%w: certificate %d of those that were seen: %w", ErrCannotCheck, i+1, err)
		}
		if err := c.SignedBy(v.m.SPKI); err != nil {
			return nil, fmt.Errorf("%w: the certificate %x was not issued by this CA: %w", ErrCannotCheck, c.Serial, err)
		}
		key := string(c.Serial)
		seen[key] = append(seen[key], &seenCertificate{Certificate: c, digest: sha256.Sum256(der)})
	}
	return seen, nil
}

// meet compares an issue entry with the certificates of its serial.
func (w *worker) meet(index uint64, e *certlog.Entry) {
	for _, c := range w.seen[string(e.Serial)] {
		if c.digest != e.CertSHA256 {
			continue
		}
		w.mu.Lock()
		c.logged = true
		w.mu.Unlock()
		if e.NotBefore != c.NotBefore.Unix() || e.NotAfter != c.NotAfter.Unix() || !bytes.Equal(e.Subject, c.Subject) {
			w.find(index, ClassUnlogged, "describes the certificate %x other than it is", e.Serial)
		}
	}
}

// checkSeen says which certificates are not in the log.
func (v *verifier) checkSeen(l *replay) {
	for _, all := range l.seen {
		for _, c := range all {
			if !c.logged {
				v.fail(Completeness, ClassUnlogged, "The CA's key signed the certificate %s (valid from %s), and the log up to %s does not have it: it was issued later, or the key was used outside.",
					hex.EncodeToString(c.Serial), c.NotBefore.UTC().Format(time.RFC3339), v.res.Created.Format(time.RFC3339))
			}
		}
	}
}
