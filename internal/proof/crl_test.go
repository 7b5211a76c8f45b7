package proof_test

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"math/big"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"chirograph.dev/internal/certlog"
	"chirograph.dev/internal/proof"
	"chirograph.dev/internal/proof/prooftest"
)

// list is a CRL to be made: a reading of the first covered entries of a log.
type list struct {
	covered uint64
	made    int64 // milliseconds
	days    int
	key     crypto.Signer // nil: the CA's
	change  func(*x509.RevocationList)
}

// make gives the list and its entry of the log.
func (l list) make(t *testing.T, ca *prooftest.CA, entries []certlog.Entry) ([]byte, certlog.Entry) {
	t.Helper()
	made := time.UnixMilli(l.made)
	template := &x509.RevocationList{Number: big.NewInt(l.made), ThisUpdate: made.Add(-time.Hour), NextUpdate: made.AddDate(0, 0, l.days)}
	for _, e := range entries[:l.covered] {
		if e.Type == certlog.TypeRevoke && entries[e.IssueIndex].NotAfter*1000 >= l.made {
			template.RevokedCertificateEntries = append(template.RevokedCertificateEntries, x509.RevocationListEntry{
				SerialNumber: new(big.Int).SetBytes(e.Serial), RevocationTime: time.Unix(e.Time/1000, 0), ReasonCode: int(e.Reason)})
		}
	}
	if l.change != nil {
		l.change(template)
	}
	issuer, err := x509.ParseCertificate(ca.Certificate)
	if err != nil {
		t.Fatal(err)
	}
	issuer.KeyUsage, issuer.SubjectKeyId = x509.KeyUsageCRLSign, []byte{1}
	signer := ca.Key
	if l.key != nil {
		signer, issuer.PublicKey = l.key, l.key.Public()
	}
	der, err := x509.CreateRevocationList(rand.Reader, template, issuer, signer)
	if err != nil {
		t.Fatal(err)
	}
	return der, certlog.Entry{Type: certlog.TypeCRL, Time: l.made, Digest: sha256.Sum256(der), Covered: l.covered,
		NextUpdate: uint64(template.NextUpdate.Unix()), Number: template.Number.Bytes()}
}

// TestVerifyCRL: a list is held against the log of a report.
func TestVerifyCRL(t *testing.T) {
	t.Parallel()
	ca, other := newCA(t, testCA), newCA(t, testCA)
	const covered, at = 200, 201
	made := int64(prooftest.Start + at*prooftest.Step)
	idp := pkix.Extension{Id: asn1.ObjectIdentifier{2, 5, 29, 28}, Critical: true, Value: []byte("\x30\x0e\xa0\x0c\xa0\x0a\x86\x08http://x")}
	entries := ca.Typical(secondSize, reportID2, "JSON").Entries()
	revoked := slices.IndexFunc(entries, func(e certlog.Entry) bool { return e.Type == certlog.TypeRevoke })
	entries[entries[revoked].IssueIndex].NotAfter = made/1000 - 1 // expired: the list leaves it out
	drop := func(l *x509.RevocationList) { l.RevokedCertificateEntries = l.RevokedCertificateEntries[1:] }
	for name, c := range map[string]struct {
		list
		unlogged      bool
		instead       *list // is in the log in its place
		tamper        func([]byte) []byte
		quick         bool
		status, class string
		words         string
	}{
		"complete":      {status: proof.Pass, words: "exactly the 9 certificates that the log's first 200 entries"},
		"later":         {status: proof.Pass, words: "4 came after it"},
		"expired since": {status: proof.Pass, words: "expired since"},
		"old":           {list: list{covered: 100, made: made - 2*86_400_000, days: 1}, status: proof.Fail, class: proof.ClassStale},
		"partition":     {list: list{change: func(l *x509.RevocationList) { drop(l); l.ExtraExtensions = []pkix.Extension{idp} }}, status: proof.Pass, words: "not proven is that it is complete"},
		"entry removed": {list: list{change: drop}, unlogged: true, status: proof.Fail, class: proof.ClassUnlogged},
		"entry lacking": {list: list{change: drop}, status: proof.Fail, class: proof.ClassCRLDiffers, words: "lacks 1"},
		"another key":   {list: list{change: drop, key: other.Key}, status: proof.Fail, class: proof.ClassCRL},
		"bit":           {tamper: func(b []byte) []byte { b[len(b)/2] ^= 1; return b }, status: proof.Fail, class: proof.ClassCRL},
		"cut":           {tamper: func(b []byte) []byte { return b[:len(b)-1] }, status: proof.Fail, class: proof.ClassCRL},
		"entry too many": {list: list{change: func(l *x509.RevocationList) {
			l.RevokedCertificateEntries = append(l.RevokedCertificateEntries, x509.RevocationListEntry{SerialNumber: big.NewInt(9), RevocationTime: time.UnixMilli(made)})
		}}, status: proof.Fail, class: proof.ClassCRLDiffers, words: "lists 1 certificates that"},
		"another reason": {list: list{change: func(l *x509.RevocationList) { l.RevokedCertificateEntries[2].ReasonCode ^= 1 }}, status: proof.Fail, class: proof.ClassCRLDiffers},
		"another second": {list: list{change: func(l *x509.RevocationList) {
			e := &l.RevokedCertificateEntries[2]
			e.RevocationTime = e.RevocationTime.Add(time.Second)
		}}, status: proof.Fail, class: proof.ClassCRLDiffers},
		"twice": {list: list{change: func(l *x509.RevocationList) {
			l.RevokedCertificateEntries = append(l.RevokedCertificateEntries, l.RevokedCertificateEntries[0])
		}}, status: proof.Fail, class: proof.ClassCRLDiffers, words: "twice"},
		"another number":  {list: list{change: func(l *x509.RevocationList) { l.Number.Add(l.Number, big.NewInt(1)) }}, instead: &list{}, status: proof.Fail, class: proof.ClassCRLDiffers, words: "another number"},
		"made afterwards": {list: list{covered: secondSize, made: made + 86_400_000, days: 7}, unlogged: true, status: proof.Unknown, words: "after the report"},
		"quick":           {quick: true, status: proof.Unknown, words: "was not replayed"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if c.covered == 0 {
				c.covered, c.made, c.days = covered, made, 7
			}
			der, entry := c.make(t, ca, entries)
			log := slices.Clone(entries)
			if c.instead != nil { // the log has the list's digest, and another number
				entry.Number = []byte{7}
			}
			if !c.unlogged {
				log[at] = entry
				log[at].Time = made
			}
			if c.tamper != nil {
				der = c.tamper(der)
			}
			b, err := ca.Bundle(prooftest.Slice(log), prooftest.Options{Report: reportID2, Format: "JSON"})
			if err != nil {
				t.Fatal(err)
			}
			packs := fstest.MapFS{}
			for name, content := range b.Packs {
				packs[name] = &fstest.MapFile{Data: content}
			}
			cfg := proof.VerifyConfig{Report: bytes.NewReader(b.Report), ReportSize: int64(len(b.Report)), Manifest: b.Manifest, Log: packs, CACertificates: [][]byte{ca.Certificate},
				Quick: c.quick, Now: time.UnixMilli(made).AddDate(0, 0, 8), CRLs: []proof.CRLFile{{Name: "x.crl", Reader: bytes.NewReader(der), Size: int64(len(der))}}}
			r, err := proof.Verify(t.Context(), cfg)
			if err != nil {
				t.Fatal(err)
			}
			if v := r.Verdict(proof.CRL); v.Status != c.status || v.Class != c.class || !strings.Contains(v.Words, c.words) {
				t.Errorf("%+v", v)
			}
			if v := r.Verdict(proof.Completeness); !c.quick && v.Status != proof.Pass {
				t.Errorf("%+v", v)
			}
			if code, want := r.ExitCode(), map[string]int{proof.Fail: 1, proof.Pass: 3, proof.Unknown: 3}[c.status]; code != want {
				t.Errorf("exit code %d, want %d", code, want)
			}
		})
	}
}
