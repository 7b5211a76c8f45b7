package verify

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/note"

	"chirograph.dev/internal/certlog"
	"chirograph.dev/internal/issuance"
	"chirograph.dev/internal/proof"
)

// inclusion is what is printed of a proof that holds.
type inclusion struct {
	Serial   string    `json:"serial"`
	Subject  string    `json:"subject"`
	IssuedAt time.Time `json:"issuedAt"`
	Origin   string    `json:"origin"`
	Entries  uint64    `json:"entries"`
	LogKey   string    `json:"logKey"`
}

// verifyInclusion checks that one certificate is in its CA's log.
func verifyInclusion(w io.Writer, o *options) error {
	text, err := readFile(o.inclusion)
	if err != nil {
		return cannotCheck("", "--inclusion: %w", err)
	}
	ders, err := certificates(o.cert)
	if err != nil {
		return cannotCheck("give the certificate as PEM or DER", "--cert: %w", err)
	}
	var in input
	if err := in.trust(&proof.Manifest{}, o); err != nil {
		return err
	}
	issuer, err := issuedBy(ders[0], in.config.CACertificates)
	if err != nil {
		return err
	}
	keys, err := inclusionKeys(string(text), issuer, o)
	if err != nil {
		return err
	}
	var entry *certlog.Entry
	for _, key := range keys {
		var size uint64
		// A file with a chain begins with the certificate itself.
		entry, size, err = proof.VerifyInclusion(text, proof.Inclusion{LogKey: key, Policy: in.config.Policy, Certificate: ders[0]})
		if err != nil {
			continue
		}
		name, _, _ := strings.Cut(key, "+")
		if v, err := note.NewVerifier(key); err == nil {
			name = v.Name()
		}
		return printInclusion(w, o.output, inclusion{fmt.Sprintf("%x", entry.Serial), string(entry.Subject), time.UnixMilli(entry.Time).UTC(), name, size, key})
	}
	if errors.Is(err, proof.ErrInclusion) {
		return &Error{exitTampered, "the certificate was not issued by this log, the proof was changed, or the log's key is another one", err}
	}
	return cannotCheck("", "%w", err)
}

// issuedBy gives the DER SubjectPublicKeyInfo of that one of the CAs that
// issued the certificate, nil when no CA was given. A log can hold whatever its
// server wrote: the certificate must be of the log's CA.
func issuedBy(der []byte, cas [][]byte) (spki []byte, err error) {
	if len(cas) == 0 {
		return nil, nil
	}
	cert, err := issuance.ReadCertificate(der)
	if err != nil {
		return nil, cannotCheck("give the certificate as PEM or DER", "--cert: %w", err)
	}
	for _, ca := range cas {
		c, err := issuance.ReadCertificate(ca)
		if err != nil {
			return nil, cannotCheck("give the CA's certificate as PEM or DER", "--ca-certificate: %w", err)
		}
		if cert.SignedBy(c.SPKI) == nil {
			return c.SPKI, nil
		}
	}
	return nil, &Error{exitTampered, "", errors.New("the certificate was not issued by the CA of --ca-certificate")}
}

// inclusionKeys are the keys that the proof's log may have: those that were
// given, those that were accepted before, and those of manifests that the key of
// the certificate's issuer endorses.
func inclusionKeys(text string, issuer []byte, o *options) ([]string, error) {
	keys := o.logKeys
	ours := func(origin string) bool { return strings.Contains("\n"+text, "\n"+origin+"\n") }
	if o.state != "off" {
		known, err := readState(o.state)
		if err != nil {
			return nil, cannotCheck("name another with --state, or --state off", "%w", err)
		}
		for _, k := range known {
			if ours(k.Origin) && k.Key != "" && (issuer == nil || k.SPKI == sha256.Sum256(issuer)) {
				keys = append(keys, k.Key)
			}
		}
	}
	for _, file := range o.known {
		b, err := readFile(file)
		if err != nil {
			return nil, cannotCheck("", "--known: %w", err)
		}
		m, err := proof.OpenManifest(b)
		if err != nil || !ours(m.Origin) {
			continue // a checkpoint or a state file names no key that the CA endorsed
		}
		if issuer != nil && m.Endorsement.Check(issuer, m.Origin, m.Key) == nil {
			keys = append(keys, m.Key)
		}
	}
	if len(keys) == 0 {
		return nil, cannotCheck("give its verifier key with --log-key, or a manifest of it with --known and the CA's certificate with --ca-certificate; a report of the log that was verified before does, too",
			"nothing says which key the log has")
	}
	return keys, nil
}

func printInclusion(w io.Writer, output string, in inclusion) error {
	if output == "json" {
		e := json.NewEncoder(w)
		e.SetEscapeHTML(false)
		e.SetIndent("", "  ")
		return e.Encode(in)
	}
	_, err := fmt.Fprintf(w, "certificate  %s, %s\nissued at    %s\nlog          %s: among its first %d entries\n\nVerified: the CA's log has this certificate, so every report since must list it.\nNot proven by this: that it was not revoked since, and that the log shows everybody the same.\n",
		in.Serial, plain(in.Subject), in.IssuedAt.Format(time.RFC3339), in.Origin, in.Entries)
	return err
}
