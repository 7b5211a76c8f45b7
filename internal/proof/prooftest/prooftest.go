// Package prooftest makes logs, reports and their proofs with real keys, fast
// and without a store: for tests of the verifier and for benchmarks.
package prooftest

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/binary"
	"fmt"
	"io"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"chirograph.dev/internal/certlog"
	"chirograph.dev/internal/certlog/rendering"
	"chirograph.dev/internal/issuance"
	"chirograph.dev/internal/pca"
	"chirograph.dev/internal/proof"
)

// Start is the time of the first entry, Step the time between two, in
// milliseconds.
const (
	Start = 1_790_000_000_000
	Step  = 1000
)

const account = "123456789012"

// CA is a certificate authority with the first key of its log.
type CA struct {
	ID, ARN     string
	Origin      string // of the log
	Certificate []byte // DER, self-signed
	SPKI        []byte
	Key         crypto.Signer
	LogKey      string // verifier key
	LogSigner   note.Signer
	Endorsement proof.Endorsement
}

// NewCA makes a CA with fresh keys.
func NewCA(id string) (*CA, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Test CA " + id}, NotBefore: time.UnixMilli(Start), NotAfter: time.UnixMilli(Start).AddDate(10, 0, 0),
		BasicConstraintsValid: true, IsCA: true,
	}
	c := &CA{ID: id, ARN: "arn:aws:acm-pca:us-east-1:" + account + ":certificate-authority/" + id, Origin: "pca.example.com/audit/" + id, Key: key}
	if c.Certificate, err = x509.CreateCertificate(rand.Reader, template, template, key.Public(), key); err != nil {
		return nil, err
	}
	if c.SPKI, err = issuance.MarshalPublicKey(key.Public()); err != nil {
		return nil, err
	}
	if c.LogSigner, c.LogKey, err = NewLogKey(c.Origin); err != nil {
		return nil, err
	}
	c.Endorsement, err = c.Endorse(c.Origin, c.LogKey)
	return c, err
}

// NewLogKey makes a key that signs for a log.
func NewLogKey(origin string) (note.Signer, string, error) {
	private, public, err := note.GenerateKey(rand.Reader, origin)
	if err != nil {
		return nil, "", err
	}
	signer, err := note.NewSigner(private)
	return signer, public, err
}

// Endorse has the CA's key endorse a key of a log.
func (c *CA) Endorse(origin, vkey string) (proof.Endorsement, error) {
	const algorithm = pca.SigningAlgorithm_SHA256WITHECDSA
	signature, err := issuance.SignText(c.Key, algorithm, certlog.EndorsementText(sha256.Sum256(c.SPKI), origin, vkey))
	return proof.Endorsement{Algorithm: string(algorithm), Signature: signature}, err
}

// Genesis is the first entry of the log.
func (c *CA) Genesis() certlog.Entry {
	return certlog.Entry{Type: certlog.TypeGenesis, Time: Start, Digest: sha256.Sum256(c.SPKI), Label: []byte(c.Origin), Extra: []byte(c.LogKey)}
}

// Endorsed is the entry that records the endorsement of the log's key.
func (c *CA) Endorsed() certlog.Entry {
	return certlog.Entry{
		Type: certlog.TypeSign, Time: Start, Label: []byte(certlog.LabelEndorsement),
		Digest: sha256.Sum256(certlog.EndorsementText(sha256.Sum256(c.SPKI), c.Origin, c.LogKey)),
		Extra:  []byte(certlog.FormatEndorsement(c.Endorsement.Algorithm, c.Endorsement.Signature)),
	}
}

// Log gives the entries of a log: it is called for each index in order, more
// than once, and sets e.
type Log struct {
	Size  uint64
	Entry func(index uint64, e *certlog.Entry)
}

// Entries gives copies of all entries of a log, to be changed.
func (l Log) Entries() []certlog.Entry {
	entries := make([]certlog.Entry, l.Size)
	for i := range entries {
		e := &entries[i]
		l.Entry(uint64(i), e)
		for _, b := range []*[]byte{&e.Serial, &e.Account, &e.Principal, &e.TemplateARN, &e.Subject, &e.Number, &e.Label, &e.Extra} {
			*b = bytes.Clone(*b)
		}
	}
	return entries
}

// Slice is a Log of given entries.
func Slice(entries []certlog.Entry) Log {
	return Log{uint64(len(entries)), func(i uint64, e *certlog.Entry) { *e = entries[i] }}
}

var templateARN = []byte("arn:aws:acm-pca:::template/EndEntityCertificate/V1")

// Typical is a log of certificates with a revocation in every twentieth entry,
// of certificates of all ages, that ends with the entry of a report.
func (c *CA) Typical(size uint64, report, format string) Log {
	genesis, endorsed := c.Genesis(), c.Endorsed()
	var serial [16]byte
	var subject []byte
	set := func(i uint64, e *certlog.Entry) []byte {
		h := sha256.Sum256(binary.BigEndian.AppendUint64(nil, i))
		serial = [16]byte(h[:])
		serial[0] |= 0x40
		serial[0] &= 0x7f
		return serial[:]
	}
	return Log{size, func(i uint64, e *certlog.Entry) {
		at := Start + int64(i)*Step
		switch {
		case i == 0:
			*e = genesis
		case i == size-1:
			*e = certlog.Entry{Type: certlog.TypeReport, Time: at, Label: []byte(report), Extra: []byte(format)}
		case i == 1:
			*e = endorsed
		case i%20 == 19:
			// Revocation k is of group k>>s, at a place that s and the bits
			// shifted out determine: no certificate is met twice.
			k, s := i/20, i/20%4
			target := k>>s*20 + 2 + 1<<s - 1 + k&(1<<s-1)
			*e = certlog.Entry{Type: certlog.TypeRevoke, Time: at, Serial: set(target, e), IssueIndex: target, Reason: []uint8{0, 1, 2, 3, 4, 5, 9, 10}[k%8]}
		default:
			subject = fmt.Appendf(subject[:0], "CN=host-%d.example.com,OU=Engineering,O=Example Company,L=Seattle,ST=Washington,C=US", i)
			*e = certlog.Entry{
				Type: certlog.TypeIssue, Time: at, Serial: set(i, e), CertSHA256: sha256.Sum256(serial[:]),
				NotBefore: at/1000 - 3600, NotAfter: at/1000 + 395*86400, Account: []byte(account),
				Principal: []byte("arn:aws:iam::" + account + ":role/issuer"), TemplateARN: templateARN, Subject: subject,
			}
		}
	}}
}

// Options are what else a report is made of.
type Options struct {
	Report, Format string
	Previous       *proof.Previous // its consistency proof is made with all hashes in memory
	PartBytes      int             // a part ends with the block after which it has as many; 0 is 5 MiB
	PartEntries    uint64          // a part ends after so many entries instead, wherever that is
	// Raw, when set, changes encoded entries before they are hashed and packed.
	Raw func(index uint64, entry []byte) []byte
	// Change, when set, changes the manifest before it is signed.
	Change func(*proof.Manifest)
	// Signer and what goes with it replace the CA's first key.
	Signer      note.Signer
	LogKey      string
	Endorsement *proof.Endorsement
	Cosign      func(checkpoint []byte) ([]byte, error)
}

// Write makes the report of a log and its proof. The report goes to w, each
// pack to pack; the result is the signed manifest.
func (c *CA) Write(log Log, o Options, w io.Writer, pack func(name string, content []byte) error) ([]byte, *proof.Manifest, error) {
	signer, logKey, endorsement := c.LogSigner, c.LogKey, c.Endorsement
	if o.Signer != nil {
		signer, logKey = o.Signer, o.LogKey
	}
	if o.Endorsement != nil {
		endorsement = *o.Endorsement
	}
	m := &proof.Manifest{
		Origin: signer.Name(), CA: c.ARN, Report: o.Report, Format: o.Format, Rendering: rendering.Version, Created: Start + int64(log.Size-1)*Step,
		Size: log.Size, Key: logKey, SPKI: c.SPKI, Endorsement: endorsement,
	}
	revoked, err := c.packs(log, o, m, pack)
	if err != nil {
		return nil, nil, err
	}
	if err := c.render(log, o, m, revoked, w); err != nil {
		return nil, nil, err
	}
	if o.Previous != nil {
		if err := prove(log, o.Previous, m); err != nil {
			return nil, nil, err
		}
	}
	if m.Checkpoint, err = proof.SignCheckpoint(signer, m.Size, m.Root); err != nil {
		return nil, nil, err
	}
	if o.Cosign != nil {
		if m.Checkpoint, err = o.Cosign(m.Checkpoint); err != nil {
			return nil, nil, err
		}
	}
	if o.Change != nil {
		o.Change(m)
	}
	signed, err := proof.SignManifest(m, signer)
	return signed, m, err
}

type revocation struct {
	time   int64
	reason uint8
}

// packs writes the packs, sets the manifest's root and gives the revocations.
func (c *CA) packs(log Log, o Options, m *proof.Manifest, pack func(string, []byte) error) (map[uint64]revocation, error) {
	encoder, err := proof.NewEncoder()
	if err != nil {
		return nil, err
	}
	revoked := map[uint64]revocation{}
	var head certlog.Head
	var e certlog.Entry
	var content, bundle []byte
	for lo := uint64(0); lo < log.Size; lo += certlog.BlockSize {
		hi := min(lo+certlog.BlockSize, log.Size)
		bundle = bundle[:0]
		entries := make([][]byte, 0, hi-lo)
		for i := lo; i < hi; i++ {
			log.Entry(i, &e)
			if e.Type == certlog.TypeRevoke {
				if _, twice := revoked[e.IssueIndex]; !twice {
					revoked[e.IssueIndex] = revocation{e.Time, e.Reason}
				}
			}
			raw, err := e.Append(nil)
			if err != nil {
				return nil, err
			}
			if o.Raw != nil {
				raw = o.Raw(i, raw)
			}
			entries = append(entries, raw)
			bundle = certlog.AppendBundled(bundle, raw)
		}
		if head, _, err = head.Extend(entries); err != nil {
			return nil, err
		}
		content = encoder.AppendFrame(content, bundle)
		if first := lo / proof.PackSize * proof.PackSize; hi == min(first+proof.PackSize, log.Size) {
			if err := pack(proof.PackName(first, hi), content); err != nil {
				return nil, err
			}
			content = nil
		}
	}
	m.Root = head.Root
	return revoked, nil
}

// render writes the report and sets the manifest's parts and counts.
func (c *CA) render(log Log, o Options, m *proof.Manifest, revoked map[uint64]revocation, w io.Writer) error {
	var buf []byte
	var e certlog.Entry
	var row rendering.Row
	var encoder rendering.Encoder
	var part proof.Part
	limit := o.PartBytes
	if limit == 0 {
		limit = 5 << 20
	}
	if o.Format == "CSV" {
		buf = append(buf, rendering.CSVHeader...)
	}
	for i := range log.Size {
		log.Entry(i, &e)
		if e.Type == certlog.TypeIssue {
			row.Issued(&e, []byte(c.ARN))
			if r, ok := revoked[i]; ok {
				row.Revoke(r.time, r.reason)
				m.Revoked++
			}
			switch {
			case o.Format == "CSV":
				buf = encoder.AppendCSV(buf, &row)
			case m.Issued == 0:
				buf = encoder.AppendJSON(append(buf, rendering.JSONStart...), &row)
			default:
				buf = encoder.AppendJSON(append(buf, rendering.JSONSeparator...), &row)
			}
			m.Issued++
			part.Rows++
		}
		last := i == log.Size-1
		if last && o.Format == "JSON" {
			if m.Issued == 0 {
				buf = append(buf, rendering.JSONEmpty...)
			} else {
				buf = append(buf, rendering.JSONEnd...)
			}
		}
		ends := (i+1)%certlog.BlockSize == 0 && len(buf) >= limit
		if o.PartEntries > 0 {
			ends = (i+1)%o.PartEntries == 0
		}
		if last || ends {
			part.Hi, part.Length, part.SHA256 = i+1, int64(len(buf)), sha256.Sum256(buf)
			if len(buf) > 0 {
				m.Parts = append(m.Parts, part)
			} else {
				m.Parts[len(m.Parts)-1].Hi = i + 1
			}
			m.Bytes += part.Length
			if _, err := w.Write(buf); err != nil {
				return err
			}
			part, buf = proof.Part{}, buf[:0]
		}
	}
	return nil
}

// hashes is a tree with all its hashes.
type hashes []tlog.Hash

func (h hashes) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	out := make([]tlog.Hash, len(indexes))
	for i, n := range indexes {
		out[i] = h[n]
	}
	return out, nil
}

func tree(log Log) (hashes, error) {
	var h hashes
	var e certlog.Entry
	for i := range log.Size {
		log.Entry(i, &e)
		raw, err := e.Append(nil)
		if err != nil {
			return nil, err
		}
		more, err := tlog.StoredHashes(int64(i), raw, h)
		if err != nil {
			return nil, err
		}
		h = append(h, more...)
	}
	return h, nil
}

func prove(log Log, p *proof.Previous, m *proof.Manifest) error {
	h, err := tree(log)
	if err != nil {
		return err
	}
	previous := *p
	m.Previous = &previous
	m.Consistency, err = tlog.ProveTree(int64(log.Size), int64(p.Size), h)
	return err
}

// Inclusion gives the proof that entry index is in the log's first size
// entries, and the entry.
func (l Log) Inclusion(size, index uint64) (tlog.RecordProof, []byte, error) {
	h, err := tree(l)
	if err != nil {
		return nil, nil, err
	}
	path, err := tlog.ProveRecord(int64(size), int64(index), h)
	if err != nil {
		return nil, nil, err
	}
	var e certlog.Entry
	l.Entry(index, &e)
	raw, err := e.Append(nil)
	return path, raw, err
}

// Root is the root of the log's first size entries, by the library.
func (l Log) Root(size uint64) (tlog.Hash, error) {
	h, err := tree(l)
	if err != nil {
		return tlog.Hash{}, err
	}
	return tlog.TreeHash(int64(size), h)
}

// WriteFiles makes a report in a folder, with its manifest beside it and its log
// in the folder "log"; it gives the report's path.
func (c *CA) WriteFiles(dir string, log Log, o Options) (report string, err error) {
	folder := filepath.Join(dir, "log", proof.EntriesFolder)
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return "", err
	}
	report = filepath.Join(dir, o.Report+"."+strings.ToLower(o.Format))
	f, err := os.Create(report)
	if err != nil {
		return "", err
	}
	signed, m, err := c.Write(log, o, f, func(name string, content []byte) error {
		return os.WriteFile(filepath.Join(dir, "log", filepath.FromSlash(name)), content, 0o644)
	})
	if err == nil {
		err = f.Close()
	} else {
		f.Close()
	}
	if err != nil {
		return "", err
	}
	if err := os.WriteFile(filepath.Join(dir, "log", proof.CheckpointName), m.Checkpoint, 0o644); err != nil {
		return "", err
	}
	return report, os.WriteFile(report+proof.ManifestSuffix, signed, 0o644)
}

// Bundle is a report with its proof, in memory.
type Bundle struct {
	Report   []byte
	Manifest []byte            // signed
	Packs    map[string][]byte // by name in the log's folder
	M        *proof.Manifest
}

// Bundle makes a report in memory.
func (c *CA) Bundle(log Log, o Options) (*Bundle, error) {
	b := &Bundle{Packs: map[string][]byte{}}
	var report bytes.Buffer
	var err error
	b.Manifest, b.M, err = c.Write(log, o, &report, func(name string, content []byte) error {
		b.Packs[name] = content
		return nil
	})
	b.Report = report.Bytes()
	return b, err
}
