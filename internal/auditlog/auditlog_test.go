package auditlog

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"chirograph.dev/internal/anchor"
	"chirograph.dev/internal/certlog"
	"chirograph.dev/internal/issuance"
	"chirograph.dev/internal/keystore"
	"chirograph.dev/internal/pca"
	"chirograph.dev/internal/proof"
	"chirograph.dev/internal/store"
	"chirograph.dev/internal/store/sqlite"
	"chirograph.dev/internal/witness"
)

const testID = "11111111-2222-4333-8444-555555555555"

// house is a Service over real parts, with CAs whose logs it fills.
type house struct {
	*Service
	db   *sqlite.DB
	keys *keystore.Store
	log  *certlog.Log
	dir  string
}

func open(t *testing.T, dir string, edit func(*Config)) *house {
	t.Helper()
	db, err := sqlite.Open(t.Context(), sqlite.Config{Path: filepath.Join(dir, "chirograph.db"), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	keys, err := keystore.Open(keystore.Config{Dir: filepath.Join(dir, "keys"), MasterKey: keystore.MasterKey{1}})
	if err != nil {
		t.Fatal(err)
	}
	h := &house{db: db, keys: keys, log: certlog.New(certlog.Config{Store: db}), dir: dir}
	cfg := Config{Entries: h.log, Store: db, Records: db, Keys: keys, Log: slog.New(slog.DiscardHandler)}
	if edit != nil {
		edit(&cfg)
	}
	if h.Service, err = New(cfg); err != nil {
		t.Fatal(err)
	}
	return h
}

// oldCA makes a CA as versions before format 3 did: its audit key is not endorsed.
func (h *house) oldCA(t *testing.T, algorithm pca.KeyAlgorithm, signing pca.SigningAlgorithm) {
	t.Helper()
	key, err := h.keys.Generate(t.Context(), testID, string(algorithm))
	if err != nil {
		t.Fatal(err)
	}
	audit, err := h.keys.Generate(t.Context(), testID+"-audit", "ED25519")
	if err != nil {
		t.Fatal(err)
	}
	origin := "pca.example.com/audit/" + testID
	vkey, err := certlog.VerifierKey(origin, audit.Public())
	if err != nil {
		t.Fatal(err)
	}
	rec := &store.CertificateAuthority{
		ID: testID, ARN: "arn:aws:acm-pca:us-east-1:123456789012:certificate-authority/" + testID, Account: "123456789012",
		Type: pca.CertificateAuthorityType_ROOT, Status: pca.CertificateAuthorityStatus_PENDING_CERTIFICATE, KeyID: testID, AuditKey: vkey,
		Configuration: pca.CertificateAuthorityConfiguration{KeyAlgorithm: algorithm, SigningAlgorithm: signing, Subject: pca.ASN1Subject{CommonName: "Old"}},
	}
	if rec.CSR, err = issuance.CreateCSR(key, &rec.Configuration, true); err != nil {
		t.Fatal(err)
	}
	if err := h.db.CreateCA(t.Context(), rec, nil); err != nil {
		t.Fatal(err)
	}
	spki, err := issuance.RequestKey(rec.CSR)
	if err != nil {
		t.Fatal(err)
	}
	h.add(t, certlog.Entry{Type: certlog.TypeGenesis, Digest: sha256.Sum256(spki), Label: []byte(origin), Extra: []byte(vkey)})
	h.add(t, certlog.Entry{Type: certlog.TypeSign, Label: []byte("csr")})
}

func (h *house) add(t *testing.T, e certlog.Entry) {
	t.Helper()
	if err := h.tryAdd(t.Context(), e); err != nil {
		t.Fatal(err)
	}
}

func (h *house) tryAdd(ctx context.Context, e certlog.Entry) error {
	b, err := e.Append(nil)
	if err == nil {
		_, err = h.log.Append(ctx, testID, certlog.Record{Entry: b})
	}
	return err
}

// grow adds n entries that differ by what they are called.
func (h *house) grow(t *testing.T, n int, label string) {
	t.Helper()
	for i := range n {
		h.add(t, certlog.Entry{Type: certlog.TypeSign, Time: time.Now().UnixMilli(), Label: fmt.Appendf(nil, "%s %d", label, i)})
	}
}

func (h *house) size(t *testing.T) uint64 {
	t.Helper()
	head, err := h.log.Head(t.Context(), testID)
	if err != nil {
		t.Fatal(err)
	}
	return head.Size
}

// last decodes the newest entry.
func (h *house) last(t *testing.T) (e certlog.Entry) {
	t.Helper()
	size := h.size(t)
	err := h.db.LogEntries(t.Context(), testID, size-1, size, func(_ uint64, b []byte) error { return e.Decode(bytes.Clone(b)) })
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// head takes a checkpoint and checks all of it with what an auditor has.
func (h *house) head(t *testing.T, size uint64) *proof.Head {
	t.Helper()
	head, err := h.Checkpoint(t.Context(), testID, size)
	if err != nil {
		t.Fatal(err)
	}
	origin, n, root, err := proof.OpenCheckpoint(head.Signed, head.Key)
	if err != nil || origin != head.Origin || n != head.Size || root != head.Root || size > 0 && n != size {
		t.Fatalf("checkpoint of %d entries: %s %d %v, %v; the head is %+v", size, origin, n, root, err, head)
	}
	if err := head.Endorsement.Check(head.SPKI, origin, head.Key); err != nil {
		t.Fatal(err)
	}
	again, err := h.Head(t.Context(), testID, head.Size, head.Signed)
	if err != nil || again.Key != head.Key || again.Root != head.Root {
		t.Fatalf("the head of a checkpoint: %+v, %v", again, err)
	}
	return head
}

// copyDir is a backup, or its restore.
func copyDir(t *testing.T, from, to string) {
	t.Helper()
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
}

// TestEndorsement has the first checkpoint of an old CA endorse its audit key,
// once, and openssl take the endorsement.
func TestEndorsement(t *testing.T) {
	t.Parallel()
	for algorithm, signing := range map[pca.KeyAlgorithm]pca.SigningAlgorithm{
		pca.KeyAlgorithm_EC_prime256v1: pca.SigningAlgorithm_SHA384WITHECDSA,
		pca.KeyAlgorithm_RSA_2048:      pca.SigningAlgorithm_SHA256WITHRSA,
	} {
		t.Run(string(algorithm), func(t *testing.T) {
			t.Parallel()
			h := open(t, t.TempDir(), nil)
			h.oldCA(t, algorithm, signing)
			head := h.head(t, 0)
			if head.Size != 3 || h.size(t) != 3 {
				t.Fatalf("the endorsement made a log of %d entries, its head has %d", h.size(t), head.Size)
			}
			text := certlog.EndorsementText(sha256.Sum256(head.SPKI), head.Origin, head.Key)
			e := h.last(t)
			if e.Digest != sha256.Sum256(text) || string(e.Label) != certlog.LabelEndorsement || string(e.Extra) != certlog.FormatEndorsement(string(signing), head.Endorsement.Signature) {
				t.Errorf("the endorsement's entry is %+v", e)
			}
			dir := t.TempDir()
			for name, content := range map[string][]byte{
				"public.pem": pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: head.SPKI}), "text": text, "signature": head.Endorsement.Signature,
			} {
				if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			hash, _, _ := strings.Cut(string(signing), "WITH")
			cmd := exec.Command("openssl", "dgst", "-"+strings.ToLower(hash), "-verify", "public.pem", "-signature", "signature", "text")
			cmd.Dir = dir
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("openssl: %v\n%s", err, out)
			}
		})
	}
}

// TestNoEndorsement: a CA whose key is gone still has heads.
func TestNoEndorsement(t *testing.T) {
	t.Parallel()
	h := open(t, t.TempDir(), nil)
	if e, ok := errors.AsType[*pca.Error](second(h.RotateKey(t.Context(), testID))); !ok || e.Code != pca.InvalidStateException {
		t.Errorf("without a log: %v", e)
	}
	h.oldCA(t, pca.KeyAlgorithm_EC_prime256v1, pca.SigningAlgorithm_SHA256WITHECDSA)
	if err := h.keys.Delete(t.Context(), testID); err != nil {
		t.Fatal(err)
	}
	head, err := h.Checkpoint(t.Context(), testID, 0)
	if err != nil || head.Size != 2 || head.Endorsement.Signature != nil || len(head.SPKI) == 0 {
		t.Fatalf("%+v, %v", head, err)
	}
	for name, err := range map[string]error{
		"rotation": second(h.RotateKey(t.Context(), testID)), "recovery": second(h.Recover(t.Context(), testID, RecoverRequest{Force: true})),
	} {
		if e, ok := errors.AsType[*pca.Error](err); !ok || e.Code != pca.InvalidStateException {
			t.Errorf("%s without the CA key: %v", name, err)
		}
	}
	if h.size(t) != 2 {
		t.Errorf("the log has %d entries", h.size(t))
	}
}

func second[T any](_ T, err error) error { return err }

// TestRotateKey has the key of each size stay the one that it was, whatever
// interrupts a rotation.
func TestRotateKey(t *testing.T) {
	t.Parallel()
	h := open(t, t.TempDir(), nil)
	h.oldCA(t, pca.KeyAlgorithm_EC_prime256v1, pca.SigningAlgorithm_SHA256WITHECDSA)
	first := h.head(t, 0)

	// A crash before the entry: the key is made, nothing names it.
	faulty := &faultyLog{Log: h.log, before: errors.New("disk is full")}
	h.Entries = faulty
	if _, err := h.RotateKey(t.Context(), testID); !errors.Is(err, faulty.before) {
		t.Fatal(err)
	}
	if k := h.head(t, 0); k.Key != first.Key {
		t.Fatalf("a rotation that did not happen changed the key to %s", k.Key)
	}
	// A crash after it: the key is in force.
	faulty.before, faulty.after = nil, errors.New("answer is lost")
	if _, err := h.RotateKey(t.Context(), testID); !errors.Is(err, faulty.after) {
		t.Fatal(err)
	}
	faulty.after = nil
	size := h.size(t)
	secondKey := h.head(t, 0)
	if secondKey.Key == first.Key || string(h.last(t).Label) != secondKey.Key || h.last(t).Type != certlog.TypeKey {
		t.Fatalf("after the rotation the key is %s, the entry has %s", secondKey.Key, h.last(t).Label)
	}
	vkey, err := h.RotateKey(t.Context(), testID)
	if err != nil {
		t.Fatal(err)
	}
	if k := h.head(t, 0); k.Key != vkey || k.Key == secondKey.Key {
		t.Errorf("the second rotation gave %s, the head has %s", vkey, k.Key)
	}
	for n, want := range map[uint64]string{1: first.Key, size - 1: first.Key, size: secondKey.Key, size + 1: vkey} {
		if k := h.head(t, n); k.Key != want || k.Origin != first.Origin {
			t.Errorf("the head of %d entries of %s is signed by %s, want %s", n, k.Origin, k.Key, want)
		}
	}
	p, err := h.Consistency(t.Context(), testID, size, size+1)
	if err != nil {
		t.Fatal(err)
	}
	if err := tlog.CheckTree(p, int64(size+1), h.head(t, size+1).Root, int64(size), secondKey.Root); err != nil {
		t.Error(err)
	}
	inclusion, err := h.InclusionProof(t.Context(), testID, 0, size)
	if err != nil || len(inclusion) == 0 {
		t.Errorf("%v, %v", inclusion, err)
	}
}

// faultyLog is a log whose Append and Recover fail before or after they did it.
type faultyLog struct {
	*certlog.Log
	before, after error
}

func (l *faultyLog) Append(ctx context.Context, ca string, r certlog.Record) (uint64, error) {
	return l.put(ctx, ca, r, l.Log.Append)
}

func (l *faultyLog) Recover(ctx context.Context, ca string, r certlog.Record) (uint64, error) {
	return l.put(ctx, ca, r, l.Log.Recover)
}

func (l *faultyLog) put(ctx context.Context, ca string, r certlog.Record, put func(context.Context, string, certlog.Record) (uint64, error)) (uint64, error) {
	if l.before != nil {
		return 0, l.before
	}
	index, err := put(ctx, ca, r)
	return index, errors.Join(err, l.after)
}

// shelf is an anchor in memory.
type shelf struct {
	mu     sync.Mutex
	newest []byte
}

func (s *shelf) Put(_ context.Context, _, _ string, _ uint64, checkpoint []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.newest = checkpoint
	return nil
}

func (s *shelf) Newest(context.Context, string) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.newest == nil {
		return nil, anchor.ErrNone
	}
	return s.newest, nil
}

// away is an anchor that may not answer.
type away struct {
	shelf
	down atomic.Bool
	puts atomic.Int32
}

func (a *away) Put(ctx context.Context, ca, origin string, size uint64, checkpoint []byte) error {
	a.puts.Add(1)
	return a.shelf.Put(ctx, ca, origin, size, checkpoint)
}

func (a *away) Newest(ctx context.Context, ca string) ([]byte, error) {
	if a.down.Load() {
		return nil, errors.New("no answer")
	}
	return a.shelf.Newest(ctx, ca)
}

// TestAnchorAway: an anchor that did not say what it has is not waited for a
// second time, and gets the head when it is back.
func TestAnchorAway(t *testing.T) {
	t.Parallel()
	place := &away{}
	place.down.Store(true)
	h := open(t, t.TempDir(), func(c *Config) { c.Anchor, c.Witnesses = place, &steady{} })
	h.oldCA(t, pca.KeyAlgorithm_EC_prime256v1, pca.SigningAlgorithm_SHA256WITHECDSA)
	for _, down := range []bool{true, false} {
		place.down.Store(down)
		if err := h.pass(t.Context(), true); err != nil {
			t.Fatal(err)
		}
		if n := place.puts.Load(); (n == 0) != down || h.behind.Load() != down {
			t.Errorf("down %v: %d heads, behind %v", down, n, h.behind.Load())
		}
	}
}

// TestNoTimeToCompare: a log whose comparison the end of the start cut off is
// compared later.
func TestNoTimeToCompare(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	asked := 0
	h := open(t, t.TempDir(), func(c *Config) {
		c.Sources = []Source{{Name: "a bucket", Newest: func(ctx context.Context, _ string) ([]byte, error) {
			asked++
			cancel()
			return nil, ctx.Err()
		}}}
	})
	h.oldCA(t, pca.KeyAlgorithm_EC_prime256v1, pca.SigningAlgorithm_SHA256WITHECDSA)
	if err := h.pass(ctx, false); !errors.Is(err, context.Canceled) || !h.behind.Load() {
		t.Errorf("%v, behind %v", err, h.behind.Load())
	}
	for range 2 {
		if err := h.pass(t.Context(), false); err != nil || h.behind.Load() {
			t.Errorf("%v, behind %v", err, h.behind.Load())
		}
	}
	if asked != 2 {
		t.Errorf("the source was asked %d times", asked)
	}
}

// TestRollback restores an older store beside an anchor: the log refuses, is
// recovered whatever interrupts that, and goes on in epochs that nobody had.
func TestRollback(t *testing.T) {
	t.Parallel()
	place := &shelf{}
	anchored := func(c *Config) { c.Anchor = place }
	h := open(t, t.TempDir(), anchored)
	h.oldCA(t, pca.KeyAlgorithm_EC_prime256v1, pca.SigningAlgorithm_SHA256WITHECDSA)
	h.head(t, 0)
	h.grow(t, 5, "kept")
	kept := h.size(t)
	if err := h.db.Close(); err != nil {
		t.Fatal(err)
	}
	backup := t.TempDir()
	copyDir(t, h.dir, backup)
	h = open(t, h.dir, anchored)
	h.grow(t, 7, "lost")
	lost := h.head(t, h.size(t)) // by name, so it is anchored
	if err := h.Check(t.Context()); err != nil || h.log.Refused(testID) != nil {
		t.Fatalf("%v, %v", err, h.log.Refused(testID))
	}
	if _, err := h.Recover(t.Context(), testID, RecoverRequest{}); err == nil {
		t.Fatal("a log that lost nothing was recovered")
	}

	restore := func(dir string) *house {
		t.Helper()
		h := open(t, dir, anchored)
		if err := h.Check(t.Context()); err != nil {
			t.Fatal(err)
		}
		err := h.tryAdd(t.Context(), certlog.Entry{Type: certlog.TypeSign, Label: []byte("refused")})
		if !errors.Is(err, certlog.ErrHead) || h.log.CountRefused() != 1 {
			t.Fatalf("a store that was rolled back: %v", err)
		}
		if _, err := h.Checkpoint(t.Context(), testID, 0); !errors.Is(err, certlog.ErrHead) {
			t.Fatalf("its head was signed: %v", err)
		}
		if _, err := h.RotateKey(t.Context(), testID); !errors.Is(err, certlog.ErrHead) {
			t.Fatalf("its key was rotated: %v", err)
		}
		return h
	}
	first := t.TempDir()
	copyDir(t, backup, first)
	h = restore(first)
	faulty := &faultyLog{Log: h.log, before: errors.New("disk is full")}
	h.Entries = faulty
	if _, err := h.Recover(t.Context(), testID, RecoverRequest{}); !errors.Is(err, faulty.before) || h.log.CountRefused() != 1 {
		t.Fatalf("an interrupted recovery: %v", err)
	}
	faulty.before = nil
	out, err := h.Recover(t.Context(), testID, RecoverRequest{})
	// Epoch 2 may have been seen, for all that the interrupted one knows.
	if err != nil || out.Origin != lost.Origin+"/3" || out.Surviving != kept || out.Known != lost.Size {
		t.Fatalf("%+v, %v; %d entries survive of %d", out, err, kept, lost.Size)
	}
	e := h.last(t)
	if e.Type != certlog.TypeRecovery || string(e.Label) != out.Origin || !strings.HasSuffix(string(e.Extra), fmt.Sprintf("\nlast %d %s\n", lost.Size, lost.Root)) {
		t.Errorf("the recovery's entry is %+v", e)
	}
	h.grow(t, 1, "new")
	if k := h.head(t, h.size(t)); k.Origin != out.Origin || k.Key != out.Key {
		t.Errorf("the new head is %+v", k)
	}
	if k := h.head(t, kept); k.Origin != lost.Origin {
		t.Errorf("the head of %d entries is of %s", kept, k.Origin)
	}

	// The new epoch is anchored: it is fine after a restart, and a store that
	// lost it again is not.
	h.db.Close()
	h = open(t, h.dir, anchored)
	if err := h.Check(t.Context()); err != nil || h.log.Refused(testID) != nil {
		t.Fatalf("%v, %v", err, h.log.Refused(testID))
	}
	h.db.Close()
	again := t.TempDir()
	copyDir(t, backup, again)
	if out, err := restore(again).Recover(t.Context(), testID, RecoverRequest{}); err != nil || out.Origin != lost.Origin+"/4" {
		t.Fatalf("%+v, %v", out, err)
	}

	// Another history is evidence too, an unknown log's checkpoint is none, and
	// so is what only a stranger signed where others write.
	place.newest = lost.Signed
	rewritten := t.TempDir()
	copyDir(t, backup, rewritten)
	h = open(t, rewritten, nil)
	h.grow(t, 9, "rewritten")
	h.db.Close()
	restore(rewritten).db.Close()
	for name, checkpoint := range map[string]string{"junk": "junk", "another log's": strings.ReplaceAll(string(lost.Signed), testID, "x")} {
		place.newest = []byte(checkpoint)
		h = open(t, rewritten, anchored)
		if err := h.Check(t.Context()); err != nil || h.log.Refused(testID) != nil {
			t.Errorf("%s: %v, %v", name, err, h.log.Refused(testID))
		}
		h.db.Close()
	}
	stranger := strings.Replace(string(lost.Signed), fmt.Sprintf("\n%d\n", lost.Size), "\n99999\n", 1)
	for _, trusted := range []bool{false, true} {
		h = open(t, rewritten, func(c *Config) {
			c.Sources = []Source{{Name: "somewhere", Trusted: trusted, Newest: func(context.Context, string) ([]byte, error) { return []byte(stranger), nil }}}
		})
		if err := h.Check(t.Context()); err != nil || (h.log.Refused(testID) != nil) != trusted {
			t.Errorf("trusted %v: %v, %v", trusted, err, h.log.Refused(testID))
		}
		h.db.Close()
	}
}

// TestKnownHeads recovers a log that nothing outside knows with what its
// auditor holds.
func TestKnownHeads(t *testing.T) {
	t.Parallel()
	h := open(t, t.TempDir(), nil)
	h.oldCA(t, pca.KeyAlgorithm_EC_prime256v1, pca.SigningAlgorithm_SHA256WITHECDSA)
	h.grow(t, 3, "kept")
	h.db.Close()
	backup := t.TempDir()
	copyDir(t, h.dir, backup)
	h = open(t, h.dir, nil)
	h.grow(t, 3, "lost")
	lost := h.head(t, 0)
	h = open(t, backup, nil)
	for _, body := range []string{`{"Known":["junk"],"Force":true}`, `{"Known":[` + fmt.Sprintf("%q", strings.ReplaceAll(string(lost.Signed), testID, "x")) + `],"Force":true}`, `[]`} {
		if e, ok := errors.AsType[*pca.Error](second(h.RecoverText(t.Context(), testID, []byte(body)))); !ok || e.Code != pca.ValidationException {
			t.Errorf("%s: %v", body, e)
		}
	}
	out, err := h.Recover(t.Context(), testID, RecoverRequest{Known: []string{string(lost.Signed)}, Force: true})
	if err != nil || out.Origin != lost.Origin+"/2" || out.Surviving != 5 || out.Known != lost.Size {
		t.Fatalf("%+v, %v", out, err)
	}
}

// steady is a witness that cosigns nothing and takes sizes in order only.
type steady struct {
	size uint64
	root tlog.Hash
	seen []uint64
	down bool
}

func (w *steady) Cosign(_ context.Context, checkpoint []byte, prove func(from, to uint64) (tlog.TreeProof, error)) ([]byte, error) {
	if w.down {
		return checkpoint, witness.ErrQuorum
	}
	known, err := proof.ParseKnown(checkpoint, "")
	if err != nil {
		return nil, err
	}
	k := known[0]
	if k.Size < w.size {
		return nil, &witness.ConflictError{Origin: k.Origin, Size: w.size, Have: k.Size}
	}
	p, err := prove(w.size, k.Size)
	if err != nil {
		return nil, err
	}
	if w.size > 0 && w.size != k.Size && tlog.CheckTree(p, int64(k.Size), k.Root, int64(w.size), w.root) != nil {
		return nil, &witness.ConflictError{Origin: k.Origin, Size: w.size, Have: k.Size}
	}
	w.size, w.root, w.seen = k.Size, k.Root, append(w.seen, k.Size)
	return checkpoint, nil
}

// TestWitnesses shows sizes in order, a report's before a later head, and stops
// when a witness knows more than the store.
func TestWitnesses(t *testing.T) {
	t.Parallel()
	w := &steady{}
	h := open(t, t.TempDir(), func(c *Config) { c.Witnesses = w })
	h.oldCA(t, pca.KeyAlgorithm_EC_prime256v1, pca.SigningAlgorithm_SHA256WITHECDSA)
	h.head(t, 0)
	report := &store.AuditReport{ID: "r", CA: testID, Status: pca.AuditReportStatus_CREATING, Format: "JSON"}
	e, err := (&certlog.Entry{Type: certlog.TypeReport, Time: time.Now().UnixMilli(), Label: []byte("r"), Extra: []byte("JSON")}).Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := h.log.Append(t.Context(), testID, certlog.Record{Entry: e, Rows: []certlog.Row{report}}); err != nil {
		t.Fatal(err)
	}
	h.grow(t, 3, "after")
	h.head(t, 0)
	h.head(t, report.TreeSize)
	if fmt.Sprint(w.seen) != "[3 4 7]" {
		t.Errorf("the witness saw %v", w.seen)
	}
	// One that is away is asked again, once there is a reason to.
	w.down = true
	h.grow(t, 1, "unseen")
	h.head(t, 0)
	w.down = false
	if n, err := h.Newest(t.Context(), testID, 0); err != nil || n.Size != 8 || len(w.seen) != 3 {
		t.Errorf("%+v, %v, %v", n, err, w.seen)
	}
	h.head(t, 0)
	if fmt.Sprint(w.seen) != "[3 4 7 8]" {
		t.Errorf("the witness saw %v", w.seen)
	}
	w.size = 100
	h.grow(t, 1, "behind")
	if _, err := h.Checkpoint(t.Context(), testID, 0); !errors.Is(err, certlog.ErrHead) || h.log.Refused(testID) == nil {
		t.Errorf("a witness that knows more: %v", err)
	}
	if _, err := h.Newest(t.Context(), testID, 0); !errors.Is(err, certlog.ErrHead) {
		t.Errorf("readers are told %v", err)
	}
}

// cosigners are what witnesses answer.
type cosigners func(ctx context.Context, checkpoint []byte) ([]byte, error)

func (c cosigners) Cosign(ctx context.Context, checkpoint []byte, _ func(from, to uint64) (tlog.TreeProof, error)) ([]byte, error) {
	return c(ctx, checkpoint)
}

// TestCosignaturesStay has witnesses asked for a head by somebody who does not
// wait for them, and asked again when one of them has gone on.
func TestCosignaturesStay(t *testing.T) {
	t.Parallel()
	var answer cosigners
	h := open(t, t.TempDir(), func(c *Config) {
		c.Witnesses = cosigners(func(ctx context.Context, b []byte) ([]byte, error) { return answer(ctx, b) })
	})
	h.oldCA(t, pca.KeyAlgorithm_EC_prime256v1, pca.SigningAlgorithm_SHA256WITHECDSA)
	ctx, cancel := context.WithCancel(t.Context())
	answer = func(_ context.Context, b []byte) ([]byte, error) {
		cancel()
		return b, witness.ErrQuorum
	}
	if _, err := h.Newest(ctx, testID, 0); !errors.Is(err, context.Canceled) {
		t.Errorf("a caller who left: %v", err)
	}
	const a, b, a2 = "— a.example.com AAAAAAAAAAAA\n", "— b.example.com AAAAAAAAAAAA\n", "— a.example.com AAAAAAAABBBB\n"
	for _, step := range []struct{ answered, want string }{{a, a}, {b, b + a}, {"", b + a}, {a2, a2 + b}} {
		answer = func(_ context.Context, c []byte) ([]byte, error) {
			return append(c, step.answered...), witness.ErrQuorum
		}
		n, err := h.Checkpoint(t.Context(), testID, 3)
		if err != nil || !strings.HasSuffix(string(n.Signed), "=\n"+step.want) {
			t.Fatalf("%q: %v\n%s", step.answered, err, n.Signed)
		}
	}
}

// block is a log of one full block in memory.
type block struct {
	certlog.Store
	head    certlog.Head
	entries [][]byte
	nodes   []certlog.Node
}

func (b *block) LogHead(context.Context, string) (certlog.Head, error) { return b.head, nil }

func (b *block) LogEntries(_ context.Context, _ string, lo, hi uint64, yield func(uint64, []byte) error) error {
	for i := lo; i < hi; i++ {
		if err := yield(i, b.entries[i]); err != nil {
			return err
		}
	}
	return nil
}

func (b *block) LogNodes(_ context.Context, _ string, level int, lo, hi uint64) (hashes []tlog.Hash, err error) {
	for _, n := range b.nodes {
		if n.Level == level && lo <= n.N && n.N < hi {
			hashes = append(hashes, n.Hash)
		}
	}
	return hashes, nil
}

// busy is a log that grows whenever somebody looks.
type busy struct {
	certlog.Store
	looks chan uint64
	size  atomic.Uint64
}

func (b *busy) LogHead(context.Context, string) (certlog.Head, error) {
	n := b.size.Add(1)
	b.looks <- n
	return certlog.Head{Size: n}, nil
}

// TestReadersWaitTogether: while a head is signed, which lasts as long as the
// slowest witness, all who ask for one wait for that.
func TestReadersWaitTogether(t *testing.T) {
	t.Parallel()
	const readers = 8
	log := &busy{looks: make(chan uint64, readers)}
	var signed atomic.Int32
	release := make(chan struct{})
	e := &Endpoints{Store: log, Newest: func(_ context.Context, _ string, atLeast uint64) (*SignedHead, error) {
		signed.Add(1)
		<-release
		return &SignedHead{Size: atLeast}, nil
	}}
	var wg sync.WaitGroup
	for range readers {
		wg.Go(func() {
			if _, err := e.head(t.Context(), testID, 0); err != nil {
				t.Error(err)
			}
		})
	}
	for range readers {
		<-log.looks
	}
	close(release)
	wg.Wait()
	if n := signed.Load(); n > readers/2 { // one, on a machine that is not too slow
		t.Errorf("%d heads were signed for %d readers", n, readers)
	}
}

// TestScrub reads full blocks over, one after the other, and stops a log whose
// entries are not what they were.
func TestScrub(t *testing.T) {
	t.Parallel()
	h := open(t, t.TempDir(), nil)
	h.oldCA(t, pca.KeyAlgorithm_EC_prime256v1, pca.SigningAlgorithm_SHA256WITHECDSA)
	b := &block{}
	for i := range certlog.BlockSize {
		e, err := (&certlog.Entry{Type: certlog.TypeSign, Label: fmt.Append(nil, i)}).Append(nil)
		if err != nil {
			t.Fatal(err)
		}
		b.entries = append(b.entries, e)
	}
	var err error
	if b.head, b.nodes, err = b.head.Extend(b.entries); err != nil {
		t.Fatal(err)
	}
	h.Store = b
	var at scrubber
	h.scrub(t.Context(), &at)
	if err := h.log.Refused(testID); err != nil || at.block != 1 {
		t.Fatalf("%v, %+v", err, at)
	}
	b.entries[certlog.BlockSize-300][20] ^= 1
	h.scrub(t.Context(), &at)
	if err := h.log.Refused(testID); !errors.Is(err, certlog.ErrHead) || at.block != 1 {
		t.Errorf("%v, %+v", err, at)
	}
	// That is no loss, and a new epoch would go on with entries that prove nothing.
	for _, force := range []bool{false, true} {
		_, err := h.Recover(t.Context(), testID, RecoverRequest{Force: force})
		if e, ok := errors.AsType[*pca.Error](err); !ok || e.Code != pca.InvalidStateException || !strings.Contains(e.Message, "chirograph fsck") || h.log.Refused(testID) == nil {
			t.Errorf("a damaged log is recovered: %v", err)
		}
	}
}
