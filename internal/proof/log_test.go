package proof_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/binary"
	"errors"
	"io"
	"math"
	"math/big"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"

	"chirograph.dev/internal/certlog"
	"chirograph.dev/internal/proof"
	"chirograph.dev/internal/proof/prooftest"
)

// rotated is a log whose key is another from entry 200 on.
func (w *world) rotated() (entries []certlog.Entry, signer note.Signer, key string, e proof.Endorsement) {
	w.t.Helper()
	signer, key = w.logKey(w.ca.Origin)
	e, err := w.ca.Endorse(w.ca.Origin, key)
	if err != nil {
		w.t.Fatal(err)
	}
	entries = w.copied()
	entries[200] = certlog.Entry{Type: certlog.TypeKey, Time: entries[200].Time, Label: []byte(key), Extra: []byte(certlog.FormatEndorsement(e.Algorithm, e.Signature))}
	return entries, signer, key, e
}

func TestKeyRotation(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	entries, signer, key, e := w.rotated()
	good := w.build(entries, prooftest.Options{Signer: signer, LogKey: key, Endorsement: &e})
	foreign, err := newCA(t, testCA).Endorse(w.ca.Origin, key)
	if err != nil {
		t.Fatal(err)
	}
	unendorsed := slices.Clone(entries)
	unendorsed[200].Extra = []byte(certlog.FormatEndorsement(foreign.Algorithm, foreign.Signature))
	for _, tt := range []struct {
		name   string
		bundle *prooftest.Bundle
		change func(*proof.VerifyConfig)
		want   string
		code   int
	}{
		{"new key", good, func(*proof.VerifyConfig) {}, "", 0},
		{"old key", w.build(entries, prooftest.Options{}), func(*proof.VerifyConfig) {}, proof.ClassAuditKey, 1},
		{"new key pinned", good, func(c *proof.VerifyConfig) { c.LogKeys, c.CACertificates = []string{key}, nil }, "", 0},
		{"old key pinned", good, func(c *proof.VerifyConfig) { c.LogKeys = []string{w.ca.LogKey} }, "", 0},
		{"old key pinned, quick", good, func(c *proof.VerifyConfig) { c.LogKeys, c.Quick = []string{w.ca.LogKey}, true }, proof.ClassAuditKey, 1},
		{"another key pinned", good, func(c *proof.VerifyConfig) { c.LogKeys = []string{newCA(t, otherCA).LogKey} }, proof.ClassAuditKey, 1},
		{"not endorsed in the log", w.build(unendorsed, prooftest.Options{Signer: signer, LogKey: key, Endorsement: &e}), func(*proof.VerifyConfig) {}, proof.ClassAuditKey, 1},
	} {
		c := config(w.ca, tt.bundle)
		c.Known = known(t, w.first)
		tt.change(&c)
		r := verify(t, c)
		if got := class(r); got != tt.want || r.ExitCode() != tt.code {
			t.Errorf("%s: %q, exit code %d: %+v", tt.name, got, r.ExitCode(), r.Verdicts)
		}
	}
}

func TestTrust(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	unendorsed := w.resign(func(m *proof.Manifest) { m.Endorsement = proof.Endorsement{} })
	state, err := proof.ParseKnown([]byte(known(t, w.first)[0].StateLine()), "state")
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name   string
		bundle *prooftest.Bundle
		change func(*proof.VerifyConfig)
		want   string
	}{
		{"CA's key", w.second, func(c *proof.VerifyConfig) { c.CAKeys, c.CACertificates = [][32]byte{sha256.Sum256(w.ca.SPKI)}, nil }, proof.Pass},
		{"nobody", w.second, func(c *proof.VerifyConfig) { c.CACertificates = nil }, proof.Unknown},
		{"accepted before", w.second, func(c *proof.VerifyConfig) { c.CACertificates, c.Known = nil, state }, proof.Pass},
		{"a manifest is no acceptance", w.second, func(c *proof.VerifyConfig) { c.CACertificates, c.Known = nil, known(t, w.first) }, proof.Unknown},
		{"another CA", w.second, func(c *proof.VerifyConfig) { c.CACertificates = [][]byte{newCA(t, otherCA).Certificate} }, proof.Fail},
		{"not endorsed", unendorsed, func(*proof.VerifyConfig) {}, proof.Fail},
		{"not endorsed, pinned", unendorsed, func(c *proof.VerifyConfig) { c.LogKeys = []string{w.ca.LogKey} }, proof.Pass},
	} {
		c := config(w.ca, tt.bundle)
		tt.change(&c)
		r := verify(t, c)
		if got := r.Verdict(proof.Authenticity); got.Status != tt.want {
			t.Errorf("%s: %+v", tt.name, got)
		}
		if tt.want == proof.Unknown && r.ExitCode() != 3 {
			t.Errorf("%s: exit code %d", tt.name, r.ExitCode())
		}
	}
}

// TestRecovery: of a log with a report of 150 entries the first 120 survived.
func TestRecovery(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	origin := w.ca.Origin + "/2"
	signer, key := w.logKey(origin)
	e, err := w.ca.Endorse(origin, key)
	if err != nil {
		t.Fatal(err)
	}
	root := func(size uint64) []proof.KnownHead {
		r, err := prooftest.Slice(w.entries).Root(size)
		if err != nil {
			t.Fatal(err)
		}
		signed, err := proof.SignCheckpoint(w.ca.LogSigner, size, r)
		if err != nil {
			t.Fatal(err)
		}
		k, err := proof.ParseKnown(signed, "a checkpoint")
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	recovered := func(size uint64) []certlog.Entry {
		entries := append(w.copied()[:120], w.copied()[160:]...)
		for i := 120; i < len(entries); i++ {
			entries[i].Time = prooftest.Start + int64(i)*prooftest.Step
		}
		entries = slices.DeleteFunc(entries, func(e certlog.Entry) bool { return e.Type == certlog.TypeRevoke && e.IssueIndex >= 120 })
		last := w.first.M.Root
		if size != firstSize {
			last = root(size)[0].Root
		}
		entries[120] = certlog.Entry{
			Type: certlog.TypeRecovery, Time: entries[120].Time, Label: []byte(origin),
			Extra: []byte(certlog.FormatRecovery(key, certlog.FormatEndorsement(e.Algorithm, e.Signature), size, last)),
		}
		entries[len(entries)-1].Time = prooftest.Start + int64(len(entries)-1)*prooftest.Step
		return entries
	}
	o := prooftest.Options{Signer: signer, LogKey: key, Endorsement: &e}
	b := w.build(recovered(firstSize), o)
	for _, tt := range []struct {
		name    string
		bundle  *prooftest.Bundle
		known   []proof.KnownHead
		want    string
		code    int
		contain string
	}{
		{"nothing known", b, nil, "", 3, ""},
		{"what survived was known", b, root(100), "", 3, ""},
		{"what was lost was known", b, append(known(t, w.first), root(100)...), "", 3, "it grew from 1 of the 2 known tree heads. The log was recovered since: of the 150 entries that the manifest kept knows of epoch 1, 30 were lost"},
		{"a later epoch was known", w.second, known(t, b), proof.ClassRollback, 1, ""},
		{"nothing was lost", w.build(recovered(110), o), root(110), "", 3, ""},
		{"the old key signs on", w.build(recovered(firstSize), prooftest.Options{}), nil, proof.ClassAuditKey, 1, ""},
	} {
		c := config(w.ca, tt.bundle)
		c.Known = tt.known
		r := verify(t, c)
		if got := class(r); got != tt.want || r.ExitCode() != tt.code || !strings.Contains(r.Verdict(proof.Consistency).Words, tt.contain) {
			t.Errorf("%s: %q, exit code %d: %+v", tt.name, got, r.ExitCode(), r.Verdicts)
		}
	}
	c := config(w.ca, b)
	if r := verify(t, c); r.Epoch != 2 || len(r.Epochs) != 1 || r.Epochs[0] != "epoch 2; epoch 1 was known with 150 entries, 120 survive, 30 lost" {
		t.Errorf("epoch %d: %q", r.Epoch, r.Epochs)
	}
	// A recovery ends what a clock that was ahead dated, and says so: nothing is dated back behind it.
	ahead := recovered(firstSize)
	for i := 100; i < 120; i++ {
		ahead[i].Time += day
	}
	c = config(w.ca, w.build(ahead, o))
	if r := verify(t, c); r.ExitCode() != 3 || !strings.Contains(r.Epochs[0], "; epoch 2 begins at 2026-") {
		t.Errorf("a clock set back: %+v, %q", r.Verdicts, r.Epochs)
	}
	lie := recovered(110)
	lie[50].Subject = []byte("CN=rewritten in the recovery")
	c = config(w.ca, w.build(lie, o))
	if got := class(verify(t, c)); got != proof.ClassLogRules {
		t.Errorf("a recovery with another history: %q", got)
	}
}

// TestOlderReport: a report that is older than what is known is fine when the
// log's folder goes on to there.
func TestOlderReport(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := *w.first
	b.Packs = map[string][]byte{}
	for _, packs := range []map[string][]byte{w.first.Packs, w.second.Packs} {
		for name, content := range packs {
			b.Packs[name] = content
		}
	}
	c := config(w.ca, &b)
	c.Known = known(t, w.second)
	if r := verify(t, c); r.ExitCode() != 0 {
		t.Errorf("%+v", r.Verdicts)
	}
	c.Quick = true
	if r := verify(t, c); r.ExitCode() != 3 {
		t.Errorf("quick: %+v", r.Verdicts)
	}
	// The known heads of quick: the report itself, and the one before.
	for _, k := range []*prooftest.Bundle{w.first, w.second} {
		c := config(w.ca, w.second)
		c.Quick, c.Known = true, known(t, k)
		if r := verify(t, c); r.ExitCode() != 0 {
			t.Errorf("quick: %+v", r.Verdicts)
		}
	}
	fork := w.build(entryChanges["subject"](w.copied()), prooftest.Options{})
	c = config(w.ca, w.second)
	c.Quick, c.Known = true, known(t, fork)
	if got := class(verify(t, c)); got != proof.ClassSplitView {
		t.Errorf("quick: %q", got)
	}
	// One head that agrees does not speak for others, before it or after it.
	shorter := w.build(without(append(w.copied()[:201:201], w.entries[secondSize-1]), 200, false), prooftest.Options{Previous: &proof.Previous{Report: reportID, Size: firstSize, Root: w.first.M.Root}})
	c = config(w.ca, shorter)
	c.Quick, c.Known = true, append(known(t, w.first), known(t, w.second)...)
	if r := verify(t, c); r.ExitCode() != 3 {
		t.Errorf("quick: a longer log is known: %+v", r.Verdicts)
	}
	for _, k := range []*prooftest.Bundle{w.secondLog("elsewhere.example.com", testCA), w.secondLog("pca.example.com", otherCA)} {
		c = config(w.ca, w.second)
		c.Quick, c.Known = true, append(known(t, w.first), known(t, k)...)
		if got := class(verify(t, c)); got != proof.ClassSplitView {
			t.Errorf("quick: %q", got)
		}
	}
	state, err := proof.ParseKnown([]byte(known(t, w.secondLog("pca.example.com", otherCA))[0].StateLine()), "state")
	if err != nil {
		t.Fatal(err)
	}
	for _, quick := range []bool{false, true} {
		c = config(w.ca, w.second)
		c.Quick, c.Known = quick, append(known(t, w.first), state...)
		if got := class(verify(t, c)); got != proof.ClassSplitView {
			t.Errorf("another log of the CA's key was accepted before, quick=%v: %q", quick, got)
		}
	}
	c.Seen, c.Known = [][]byte{w.ca.Certificate}, nil
	if _, err := proof.Verify(t.Context(), c); !errors.Is(err, proof.ErrCannotCheck) {
		t.Errorf("quick, with certificates that were seen: %v", err)
	}
}

// TestForgedEvidence: a checkpoint that no key of the log signed accuses nobody.
func TestForgedEvidence(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	signer, _ := w.logKey(w.ca.Origin)
	for _, size := range []uint64{100, 10000} {
		forged, err := proof.SignCheckpoint(signer, size, w.first.M.Root)
		if err != nil {
			t.Fatal(err)
		}
		c := config(w.ca, w.build(w.entries, prooftest.Options{Cosign: cosign(w.witness)}))
		if c.Known, err = proof.ParseKnown(forged, "forged"); err != nil {
			t.Fatal(err)
		}
		c.Policy = w.policy(1, w.witness)
		if r := verify(t, c); r.Verdict(proof.Consistency).Status != proof.Unknown || r.ExitCode() != 3 {
			t.Errorf("%+v", r.Verdicts)
		}
		genuine, err := proof.SignCheckpoint(w.ca.LogSigner, size, w.first.M.Root)
		if err != nil {
			t.Fatal(err)
		}
		if c.Known, err = proof.ParseKnown(genuine, "genuine"); err != nil {
			t.Fatal(err)
		}
		if r := verify(t, c); r.Verdict(proof.Consistency).Status != proof.Fail {
			t.Errorf("%+v", r.Verdicts)
		}
	}
}

// TestBlocksTampered changes entries in other blocks than those that they are
// compared with.
func TestBlocksTampered(t *testing.T) {
	t.Parallel()
	ca := newCA(t, testCA)
	const size = certlog.BlockSize + 700
	entries := ca.Typical(size, reportID, "JSON").Entries()
	// The last revocation of the log, of a certificate in the first block.
	late := slices.IndexFunc(entries, func(e certlog.Entry) bool {
		return e.Type == certlog.TypeRevoke && e.Time > prooftest.Start+certlog.BlockSize*prooftest.Step && e.IssueIndex < certlog.BlockSize
	})
	build := func(change func(e []certlog.Entry)) *prooftest.Bundle {
		e := slices.Clone(entries)
		change(e)
		b, err := ca.Bundle(prooftest.Slice(e), prooftest.Options{Report: reportID, Format: "JSON", PartBytes: 1})
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	good := build(func([]certlog.Entry) {})
	root, err := prooftest.Slice(entries).Root(certlog.BlockSize + 17)
	if err != nil {
		t.Fatal(err)
	}
	line := (&proof.KnownHead{Origin: ca.Origin, Size: certlog.BlockSize + 17, Root: root, Key: "k", Time: 0}).StateLine()
	heads, err := proof.ParseKnown([]byte(line), "state")
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name, want string
		change     func(e []certlog.Entry)
	}{
		{"nothing", "", func([]certlog.Entry) {}},
		{"serial", proof.ClassLogRules, func(e []certlog.Entry) { e[late].Serial = []byte{1} }},
		{"twice", proof.ClassLogRules, func(e []certlog.Entry) {
			other := slices.IndexFunc(e, func(x certlog.Entry) bool { return x.Type == certlog.TypeRevoke && x.IssueIndex < 1000 })
			e[late].Serial, e[late].IssueIndex = e[other].Serial, e[other].IssueIndex
		}},
		{"no certificate", proof.ClassLogRules, func(e []certlog.Entry) { e[late].IssueIndex = 39 }},
		{"back-dated", proof.ClassBackDated, func(e []certlog.Entry) { e[certlog.BlockSize+5].Time -= day }},
		{"rewritten", proof.ClassSplitView, func(e []certlog.Entry) { e[certlog.BlockSize+8].CertSHA256[0] ^= 1 }},
		{"rewritten before", proof.ClassSplitView, func(e []certlog.Entry) { e[8].CertSHA256[0] ^= 1 }},
		{"rewritten after what was known", "", func(e []certlog.Entry) { e[certlog.BlockSize+28].CertSHA256[0] ^= 1 }},
	} {
		c := config(ca, build(tt.change))
		c.Known = heads
		if r := verify(t, c); class(r) != tt.want {
			t.Errorf("%s: %q: %+v", tt.name, class(r), r.Verdicts)
		}
	}
	// A row of the first block.
	bad := *good
	bad.Report = bytes.Replace(bad.Report, []byte("host-4242."), []byte("host-4243."), 1)
	r := verify(t, config(ca, &bad))
	serial := big.NewInt(0).SetBytes(entries[4242].Serial).Text(16)
	if v := r.Verdict(proof.Completeness); v.Class != proof.ClassReportBytes || !strings.Contains(v.Words, serial) || !strings.Contains(v.Words, "entry 4242 ") {
		t.Errorf("%+v, want serial %s", v, serial)
	}
	// A part less.
	bad = *good
	bad.Report = bad.Report[:good.M.Parts[0].Length]
	if got := class(verify(t, config(ca, &bad))); got != proof.ClassReportBytes {
		t.Error(got)
	}
}

func TestSeen(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	parent, err := x509.ParseCertificate(w.ca.Certificate)
	if err != nil {
		t.Fatal(err)
	}
	at := time.UnixMilli(prooftest.Start).UTC()
	leaf, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{SerialNumber: big.NewInt(0x123456), Subject: pkix.Name{CommonName: "leaf"}, NotBefore: at, NotAfter: at.AddDate(1, 0, 0)}, parent, w.ca.Key.Public(), w.ca.Key)
	if err != nil {
		t.Fatal(err)
	}
	logged := func(change func(*certlog.Entry)) *prooftest.Bundle {
		entries := w.copied()
		e := &entries[24]
		e.Serial, e.Subject, e.CertSHA256 = []byte{0x12, 0x34, 0x56}, []byte("CN=leaf"), sha256.Sum256(leaf)
		e.NotBefore, e.NotAfter = at.Unix(), at.AddDate(1, 0, 0).Unix()
		change(e)
		return w.build(entries, prooftest.Options{})
	}
	for _, tt := range []struct {
		name, want string
		bundle     *prooftest.Bundle
	}{
		{"logged", "", logged(func(*certlog.Entry) {})},
		{"not logged", proof.ClassUnlogged, w.second},
		{"another of that serial", proof.ClassUnlogged, logged(func(e *certlog.Entry) { e.CertSHA256[0] ^= 1 })},
		{"another subject", proof.ClassUnlogged, logged(func(e *certlog.Entry) { e.Subject = []byte("CN=other") })},
		{"another time", proof.ClassUnlogged, logged(func(e *certlog.Entry) { e.NotAfter++ })},
	} {
		c := config(w.ca, tt.bundle)
		c.Seen = [][]byte{leaf, newCA(t, otherCA).Certificate}
		r := verify(t, c)
		words := r.Verdict(proof.Completeness).Words
		if got := class(r); got != tt.want || got == "" && !strings.HasSuffix(words, "the 1 certificates of the CA that were seen; of 1 more its key does not verify the signature, or not by an algorithm that is known here.") {
			t.Errorf("%s: %q: %s", tt.name, got, words)
		}
	}
	c := config(w.ca, w.second)
	for _, seen := range [][]byte{newCA(t, otherCA).Certificate, []byte("x")} {
		c.Seen = [][]byte{seen}
		if _, err := proof.Verify(t.Context(), c); !errors.Is(err, proof.ErrCannotCheck) {
			t.Errorf("%v", err)
		}
	}
}

// TestSample draws rows and recomputes the draw from its description.
func TestSample(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, format := range []string{"JSON", "CSV"} {
		entries := w.copied()
		entries[secondSize-1].Extra = []byte(format)
		entries[5].Subject = []byte("CN=two\nlines")
		b := w.build(entries, prooftest.Options{Format: format})
		c := config(w.ca, b)
		c.Sample = proof.Sample{Count: 40, Nonce: "nonce"}
		var rows []proof.SampledRow
		c.OnSample = func(r proof.SampledRow) error { rows = append(rows, r); return nil }
		verify(t, c)
		drawn := map[uint64]bool{}
		for counter := uint64(0); len(drawn) < 40; counter++ {
			h := sha256.Sum256(binary.BigEndian.AppendUint64(append(b.M.Root[:], "nonce"...), counter))
			x := binary.BigEndian.Uint64(h[:8])
			if top := math.MaxUint64 / b.M.Issued * b.M.Issued; x < top {
				drawn[x%b.M.Issued+1] = true
			}
		}
		if len(rows) != 40 {
			t.Fatalf("%d rows", len(rows))
		}
		var certificates []certlog.Entry
		for _, e := range entries {
			if e.Type == certlog.TypeIssue {
				certificates = append(certificates, e)
			}
		}
		for _, r := range rows {
			e := certificates[r.Row-1]
			if !drawn[r.Row] || !bytes.HasPrefix(b.Report[r.Offset:], []byte(r.Text)) || r.Serial != big.NewInt(0).SetBytes(e.Serial).Text(16) ||
				!strings.Contains(r.Text, strings.TrimPrefix(string(e.Subject[:6]), "CN=")) {
				t.Errorf("%+v", r)
			}
		}
		c.Sample, c.OnSample, c.Quick = proof.Sample{Percent: 100}, nil, true
		if r := verify(t, c); uint64(len(r.Sample)) != b.M.Issued || r.Sample[4].Row != 5 {
			t.Errorf("%d rows of %d", len(r.Sample), b.M.Issued)
		}
		c.Report = bytes.NewReader(append([]byte{' '}, b.Report[1:]...))
		if r := verify(t, c); r.Sample != nil {
			t.Error("rows of a file that is not the one that was signed")
		}
	}
	for rows, n := range map[uint64]uint64{1: 1, 5: 5, 1000: 30} {
		bits := 0
		for _, word := range proof.DrawSample(w.second.M.Root, "", rows, n) {
			for ; word != 0; word &= word - 1 {
				bits++
			}
		}
		if uint64(bits) != n {
			t.Errorf("%d of %d rows, want %d", bits, rows, n)
		}
	}
}

type brokenFile struct{ io.ReaderAt }

func (brokenFile) ReadAt([]byte, int64) (int, error) { return 0, errors.New("broken disk") }

func TestCannotCheck(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for name, change := range map[string]func(*proof.VerifyConfig){
		"disk":             func(c *proof.VerifyConfig) { c.Report = brokenFile{} },
		"disk, quick":      func(c *proof.VerifyConfig) { c.Report, c.Quick = brokenFile{}, true },
		"CA's certificate": func(c *proof.VerifyConfig) { c.CACertificates = [][]byte{[]byte("x")} },
		"rendering": func(c *proof.VerifyConfig) {
			c.Manifest = w.resign(func(m *proof.Manifest) { m.Rendering = 2 }).Manifest
		},
	} {
		c := config(w.ca, w.second)
		change(&c)
		if _, err := proof.Verify(t.Context(), c); !errors.Is(err, proof.ErrCannotCheck) {
			t.Errorf("%s: %v", name, err)
		}
	}
	c := config(w.ca, w.second)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := proof.Verify(ctx, c); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	c.Log = nil
	if got := class(verify(t, c)); got != proof.ClassLogMissing {
		t.Error(got)
	}
	var last atomic.Int64
	c = config(w.ca, w.second)
	c.Progress = func(done, total int64) {
		if total != int64(len(w.second.Report)) {
			t.Errorf("of %d", total)
		}
		last.Store(done)
	}
	if r := verify(t, c); last.Load() != int64(len(w.second.Report)) || len(r.NotProven) < 5 {
		t.Errorf("progress %d, not proven %q", last.Load(), r.NotProven)
	}
}

// TestEmptyReport: logs without certificates.
func TestEmptyReport(t *testing.T) {
	t.Parallel()
	ca := newCA(t, testCA)
	for _, format := range []string{"JSON", "CSV"} {
		b, err := ca.Bundle(ca.Typical(2, reportID, format), prooftest.Options{Report: reportID, Format: format})
		if err != nil {
			t.Fatal(err)
		}
		if r := verify(t, config(ca, b)); class(r) != "" || r.Rows != 0 {
			t.Errorf("%+v", r.Verdicts)
		}
	}
}
