package proof

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
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

// readSeen reads the certificates that the log must have, by serial. Those of
// other CAs, which are found in the same places, are counted.
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
		if c.SignedBy(v.m.SPKI) != nil {
			v.foreign++
			continue
		}
		key := string(c.Serial)
		seen[key] = append(seen[key], &seenCertificate{Certificate: c, digest: sha256.Sum256(der)})
	}
	if len(seen) == 0 {
		return nil, fmt.Errorf("%w: none of the %d certificates that were seen was issued by this CA", ErrCannotCheck, v.foreign)
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

// checkSeen says which certificates are not in the log, or in words that all are.
func (v *verifier) checkSeen(l *replay) (words string) {
	var missing []*seenCertificate
	of := 0
	for _, all := range l.seen {
		for _, c := range all {
			of++
			if !c.logged {
				missing = append(missing, c)
			}
		}
	}
	switch {
	case len(missing) > 0:
		first := slices.MinFunc(missing, func(a, b *seenCertificate) int { return bytes.Compare(a.Serial, b.Serial) })
		v.fail(Completeness, ClassUnlogged, "Of %d certificates that were seen and that the CA's key signed, the log up to %s does not have %d: issued later, or the key was used outside. The first: %s, valid from %s.",
			of, v.res.Created.Format(time.RFC3339), len(missing), hex.EncodeToString(first.Serial), first.NotBefore.UTC().Format(time.RFC3339))
	case of > 0:
		words = fmt.Sprintf(" It has, as they are, the %d certificates of the CA that were seen", of)
		if v.foreign > 0 {
			words += fmt.Sprintf("; of %d more its key does not verify the signature, or not by an algorithm that is known here", v.foreign)
		}
		words += "."
	}
	return words
}
