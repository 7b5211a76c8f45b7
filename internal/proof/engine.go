package proof

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"math"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"chirograph.dev/internal/certlog"
	"chirograph.dev/internal/certlog/rendering"
	"chirograph.dev/internal/issuance"
)

// delta is how far the times of a log may go back, in milliseconds.
const delta = int64(certlog.MaxClockStep / time.Millisecond)

// verifier verifies one report.
type verifier struct {
	VerifyConfig
	res *Result
	m   *Manifest

	base  string // origin of the log's first epoch, as far as the manifest tells
	epoch int

	pinned    bool // the manifest's CA is the one that was given
	endorsed  bool
	keyPinned bool // the manifest's key is one of LogKeys
	foreign   int  // of Seen: certificates of other CAs
	crls      []*crlCheck
	crlSeed   maphash.Seed
	read      atomic.Int64 // bytes of the report
	mu        sync.Mutex   // of the verdicts, while there are several goroutines
}

func (v *verifier) run(ctx context.Context) (*Result, error) {
	if v.Now.IsZero() {
		v.Now = time.Now()
	}
	if v.Workers <= 0 {
		v.Workers = runtime.GOMAXPROCS(0)
	}
	v.res, v.crlSeed = &Result{Epoch: 1}, maphash.MakeSeed()
	names := []string{Integrity, Authenticity, Completeness, Consistency, Witnesses, Freshness}
	for _, name := range append(names, slices.Repeat([]string{CRL}, len(v.CRLs))...) {
		v.res.Verdicts = append(v.res.Verdicts, Verdict{Name: name, Status: Unknown, Words: "Not checked, because of what failed before."})
	}
	defer v.notProven()

	if len(v.Manifest) == 0 {
		v.fail(Integrity, ClassManifestMissing, "The manifest of the report is missing: without it nothing says what the file should be.")
		return v.res, nil
	}
	m, err := OpenManifest(v.Manifest)
	if err != nil {
		v.fail(Integrity, ClassManifestSignature, "The manifest is not the one that was signed: %v.", err)
		return v.res, nil
	}
	if m.Rendering != rendering.Version {
		return v.res, fmt.Errorf("%w: the report is of rendering version %d, this program knows %d; use a newer one", ErrCannotCheck, m.Rendering, rendering.Version)
	}
	if v.Quick && (v.Serials || len(v.Seen) > 0) {
		return v.res, fmt.Errorf("%w: serial numbers and certificates that were seen are looked up in the log, which a quick verification does not read", ErrCannotCheck)
	}
	v.m = m
	r := v.res
	r.Manifest, r.Report, r.CA, r.Origin, r.Created = m, m.Report, m.CA, m.Origin, time.UnixMilli(m.Created).UTC()
	r.Rows, r.Revoked, r.Entries = m.Issued, m.Revoked, m.Size
	v.base, v.epoch = SplitOrigin(m.Origin, m.CA)
	r.Epoch = max(1, v.epoch)

	if v.ReportSize != m.Bytes {
		v.fail(Integrity, ClassReportBytes, "The file has %d bytes, the manifest was signed for %d.", v.ReportSize, m.Bytes)
	}
	if err := v.checkKey(); err != nil {
		return v.res, err
	}
	if err := v.readCRLs(); err != nil {
		return v.res, err
	}
	v.checkWitnesses()
	v.checkFreshness()
	previous := v.checkPrevious()

	var log *replay
	if v.Quick {
		v.set(Completeness, Unknown, "Not asked for: the log was not replayed.")
		if err := v.hashParts(ctx); err != nil {
			return v.res, err
		}
		v.checkKnownQuick(previous)
	} else {
		if log, err = v.replay(ctx); err != nil {
			return v.res, err
		}
		if log != nil {
			defer log.last.Close()
			if err := v.judge(ctx, log, previous); err != nil {
				return v.res, err
			}
		}
	}
	if v.status(Integrity) == Unknown {
		v.set(Integrity, Pass, "The file is the one that the manifest was signed for: %d bytes, %d certificates, %d of them revoked.", m.Bytes, m.Issued, m.Revoked)
	}
	if v.status(Integrity) == Pass && v.status(Completeness) != Fail {
		if err := v.sample(ctx); err != nil {
			return v.res, err
		}
	}
	r.Head = &KnownHead{Origin: m.Origin, Size: m.Size, Root: m.Root, Key: m.Key, SPKI: sha256.Sum256(m.SPKI), Time: m.Created}
	return r, nil
}

func (v *verifier) verdict(name string) *Verdict {
	i := slices.IndexFunc(v.res.Verdicts, func(d Verdict) bool { return d.Name == name })
	return &v.res.Verdicts[i]
}

func (v *verifier) status(name string) string { return v.verdict(name).Status }

func (v *verifier) set(name, status, format string, args ...any) {
	d := v.verdict(name)
	d.Status, d.Class, d.Words = status, "", fmt.Sprintf(format, args...)
}

// fail makes a verdict a failure; the first one stands.
func (v *verifier) fail(name, class, format string, args ...any) {
	d := v.verdict(name)
	if d.Status != Fail {
		d.Status, d.Class, d.Words = Fail, class, fmt.Sprintf(format, args...)
	}
}

// checkKey answers who stands behind the manifest's key, and whether it
// signed the checkpoint.
func (v *verifier) checkKey() error {
	m := v.m
	keys := slices.Clone(v.CAKeys)
	for _, der := range v.CACertificates {
		c, err := issuance.ReadCertificate(der)
		if err != nil {
			return fmt.Errorf("%w: reading the CA's certificate: %w", ErrCannotCheck, err)
		}
		keys = append(keys, sha256.Sum256(c.SPKI))
	}
	v.pinned = slices.Contains(keys, sha256.Sum256(m.SPKI))
	v.keyPinned = slices.Contains(v.LogKeys, m.Key)
	accepted := slices.ContainsFunc(v.Known, func(k KnownHead) bool {
		return k.signed == nil && k.manifest == nil && k.Key == m.Key && k.Origin == m.Origin
	})
	err := m.Endorsement.Check(m.SPKI, m.Origin, m.Key)
	v.endorsed = m.Endorsement.Algorithm != "" && err == nil
	switch {
	case v.base == "":
		v.fail(Authenticity, ClassManifest, "The log %s is not one of the CA %s.", m.Origin, m.CA)
	case len(keys) > 0 && !v.pinned:
		v.fail(Authenticity, ClassAuditKey, "The report is of another CA: the manifest names a CA key that is not the key of the certificate that was given.")
	case m.Endorsement.Algorithm != "" && !v.endorsed:
		v.fail(Authenticity, ClassAuditKey, "The key that signed is not endorsed by the CA's key for this log: %v.", err)
	case v.endorsed && v.pinned:
		v.set(Authenticity, Pass, "The CA's own key endorsed the key that signed the manifest and the checkpoint, for this log.")
	case v.keyPinned:
		v.set(Authenticity, Pass, "The manifest and the checkpoint are signed by the log key that was given.")
	case !v.endorsed:
		v.fail(Authenticity, ClassAuditKey, "The key that signed is not endorsed: when it was needed the CA's key was gone. Give the log's key (--log-key) if you know it from elsewhere.")
	case accepted:
		v.set(Authenticity, Pass, "The manifest and the checkpoint are signed by the log key that you accepted before.")
	default:
		v.set(Authenticity, Unknown, "The key that signed is endorsed by a CA key that the manifest itself names. Give the CA's certificate (--ca-certificate) to know whose that is.")
	}
	if v.status(Authenticity) != Fail && len(v.LogKeys) > 0 && !v.keyPinned && (!v.endorsed || v.Quick) {
		v.fail(Authenticity, ClassAuditKey, "The manifest is signed by the key %s, which is none of those that were given.", m.Key)
	}
	origin, size, root, err := OpenCheckpoint(m.Checkpoint, m.Key)
	switch {
	case err != nil:
		v.fail(Authenticity, ClassCheckpoint, "The checkpoint is not signed by the key of the log: %v.", err)
	case origin != m.Origin || size != m.Size || root != m.Root:
		v.fail(Authenticity, ClassCheckpoint, "The checkpoint is of another tree than the manifest: %d entries, not %d.", size, m.Size)
	}
	return nil
}

func (v *verifier) checkWitnesses() {
	if v.Policy == nil {
		v.set(Witnesses, Unknown, "Not asked for: no witness was named.")
		return
	}
	names, newest, err := v.Policy.check(v.m.Checkpoint, v.m.Origin)
	if err != nil {
		v.fail(Witnesses, ClassWitnessQuorum, "The checkpoint does not have the cosignatures of %s: %v.", v.Policy.words, err)
		return
	}
	if newest == 0 {
		v.set(Witnesses, Unknown, "The policy asks for no witness.")
		return
	}
	v.set(Witnesses, Pass, "The checkpoint has the cosignatures of %s (%s), the newest of %s: they saw no other history up to here.",
		v.Policy.words, strings.Join(names, ", "), time.Unix(newest, 0).UTC().Format(time.RFC3339))
}

func (v *verifier) checkFreshness() {
	m := v.m
	age := v.Now.Sub(time.UnixMilli(m.Created)).Truncate(time.Second)
	switch {
	case v.ReportID != "" && m.Report != v.ReportID:
		v.fail(Freshness, ClassManifest, "The manifest is of the report %s, not of %s.", m.Report, v.ReportID)
	case v.MaxAge > 0 && age > v.MaxAge:
		v.fail(Freshness, ClassStale, "The report was made at %s, %v ago; at most %v were asked for.", v.res.Created.Format(time.RFC3339), age, v.MaxAge)
	case v.MaxAge > 0 && age < -certlog.MaxClockStep:
		v.fail(Freshness, ClassStale, "The report says it was made at %s, which is in the future.", v.res.Created.Format(time.RFC3339))
	case v.MaxAge > 0:
		v.set(Freshness, Pass, "The report was made at %s, %v ago.", v.res.Created.Format(time.RFC3339), age)
	default:
		v.set(Freshness, Unknown, "The report was made at %s, %v ago. How old it may be was not said (--max-age).", v.res.Created.Format(time.RFC3339), age)
	}
}

// checkPrevious checks the consistency proof from the report before.
func (v *verifier) checkPrevious() error {
	p := v.m.Previous
	if p == nil {
		return nil
	}
	return tlog.CheckTree(v.m.Consistency, int64(v.m.Size), v.m.Root, int64(p.Size), p.Root)
}

// checkKnownQuick compares known heads as far as it goes without the log.
func (v *verifier) checkKnownQuick(previous error) {
	m := v.m
	if previous != nil {
		v.fail(Consistency, ClassSplitView, "The log of the report before, with %d entries, did not grow into this one: %v.", m.Previous.Size, previous)
		return
	}
	var matched, newest uint64
	for i := range v.Known {
		k := &v.Known[i]
		base, epoch := SplitOrigin(k.Origin, m.CA)
		switch same := k.Origin == m.Origin; {
		case !v.genuine(k, nil):
		case v.elsewhere(k):
			v.fail(Consistency, ClassSplitView, "There are two histories: %s is of the log %s of another CA, which has the same key.", k.Source, k.Origin)
			return
		case base == "":
		case base != v.base, same && v.forks(k):
			v.fail(Consistency, ClassSplitView, "There are two histories: %s has another one of %d entries.", k.Source, k.Size)
			return
		case epoch > v.epoch:
			v.fail(Consistency, ClassRollback, "The log was in epoch %d already (%s); this report is of epoch %d.", epoch, k.Source, v.epoch)
			return
		case same && v.compared(k):
			matched, newest = matched+1, max(newest, k.Size)
		}
	}
	// What was remembered together agrees, so the newest speaks for all before it.
	open := slices.ContainsFunc(v.Known, func(k KnownHead) bool {
		older := k.manifest == nil && k.signed == nil && k.Size < newest
		return k.OfCA(m) && !(k.Origin == m.Origin && (v.compared(&k) && !v.forks(&k) || older))
	})
	switch {
	case matched > 0 && !open:
		v.set(Consistency, Pass, "The log grew from what was known before.")
	case matched > 0:
		v.set(Consistency, Unknown, "The log grew from a part of what was known before; the rest cannot be compared without the log.")
	default:
		v.set(Consistency, Unknown, "The tree of no earlier report or checkpoint that was given can be compared without the log.")
	}
}

// elsewhere tells whether a known head is of a log of the same CA key under
// another CA's name.
func (v *verifier) elsewhere(k *KnownHead) bool {
	base, _ := SplitOrigin(k.Origin, v.m.CA)
	return k.SPKI == sha256.Sum256(v.m.SPKI) && (base == "" || k.manifest != nil && k.manifest.CA != v.m.CA)
}

// compared tells whether the manifest itself has the tree of a known head of
// the same log.
func (v *verifier) compared(k *KnownHead) bool {
	return k.Size == v.m.Size || v.m.Previous != nil && k.Size == v.m.Previous.Size
}

// forks tells whether the manifest has another tree of that size.
func (v *verifier) forks(k *KnownHead) bool {
	return k.Size == v.m.Size && k.Root != v.m.Root || v.m.Previous != nil && k.Size == v.m.Previous.Size && k.Root != v.m.Previous.Root
}

// genuine tells whether a known head is evidence: it was accepted before, or
// signed by a key of this CA's log.
func (v *verifier) genuine(k *KnownHead, keys []string) bool {
	switch {
	case k.manifest != nil:
		m := k.manifest
		return slices.Contains(keys, m.Key) || m.Key == v.m.Key || slices.Contains(v.LogKeys, m.Key) ||
			string(m.SPKI) == string(v.m.SPKI) && m.Endorsement.Check(m.SPKI, m.Origin, m.Key) == nil
	case k.signed != nil:
		for _, key := range slices.Concat(keys, v.LogKeys, []string{v.m.Key}) {
			if _, err := openNote(k.signed, key, k.Origin); err == nil {
				return true
			}
		}
		return false
	}
	return true
}

// hashParts checks the file against the hashes of its parts. The error is one
// of reading.
func (v *verifier) hashParts(ctx context.Context) error {
	var next atomic.Int64
	offsets := v.offsets()
	return v.parallel(ctx, func(ctx context.Context) error {
		buf := make([]byte, 1<<20)
		for {
			i := int(next.Add(1) - 1)
			if i >= len(v.m.Parts) {
				return nil
			}
			h := sha256.New()
			for at, end := offsets[i], offsets[i+1]; at < end; {
				if err := ctx.Err(); err != nil {
					return err
				}
				n := min(int64(len(buf)), end-at)
				ok, err := v.readReport(buf[:n], at)
				if err != nil {
					return err
				}
				if !ok {
					break // the sum will differ
				}
				h.Write(buf[:n])
				at += n
				v.progress(n)
			}
			if [sha256.Size]byte(h.Sum(nil)) != v.m.Parts[i].SHA256 {
				v.differs(i)
			}
		}
	})
}

// differs says that part i of the file is not what was signed.
func (v *verifier) differs(i int) {
	v.mu.Lock()
	defer v.mu.Unlock()
	offsets := v.offsets()
	v.fail(Integrity, ClassReportBytes, "The file is not the one that was signed: bytes %d to %d differ.", offsets[i], offsets[i+1])
}

// offsets are where the parts begin, and the end.
func (v *verifier) offsets() []int64 {
	at := make([]int64, len(v.m.Parts)+1)
	for i, p := range v.m.Parts {
		at[i+1] = at[i] + p.Length
	}
	return at
}

// readReport fills buf from the report; ok is false when the file ends before.
func (v *verifier) readReport(buf []byte, at int64) (ok bool, err error) {
	n, err := v.Report.ReadAt(buf, at)
	if n == len(buf) {
		return true, nil
	}
	if errors.Is(err, io.EOF) {
		return false, nil
	}
	return false, fmt.Errorf("%w: reading the report: %w", ErrCannotCheck, err)
}

func (v *verifier) progress(n int64) {
	done := v.read.Add(n)
	if v.Progress != nil {
		v.Progress(done, v.m.Bytes)
	}
}

// parallel runs f in every worker and gives the first error.
func (v *verifier) parallel(ctx context.Context, f func(context.Context) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var wg sync.WaitGroup
	for range v.Workers {
		wg.Go(func() {
			if v.OnWorker != nil {
				v.OnWorker()
			}
			if err := f(ctx); err != nil {
				cancel(err)
			}
		})
	}
	wg.Wait()
	return context.Cause(ctx)
}

// judge says what a replay means: authenticate first, then interpret.
func (v *verifier) judge(ctx context.Context, l *replay, previous error) error {
	m := v.m
	root, _, err := l.rootAt(m.Size)
	if err != nil {
		return err
	}
	if root != m.Root {
		v.fail(Completeness, ClassLogDiffers, "The entries of the log are not those that the checkpoint was signed for: something was changed, added or removed after it, or other entries were handed out.")
		v.set(Consistency, Unknown, "Not checked: the log is not the one that was signed.")
		return nil
	}
	chain := l.keys()
	if err := v.checkKnown(l, chain, previous); err != nil {
		return err
	}
	l.times()
	if l.Serials {
		l.duplicates()
	}
	d := l.difference
	switch {
	case len(l.findings) > 0:
		first := slices.MinFunc(l.findings, func(a, b finding) int { return cmp.Compare(a.index, b.index) })
		v.fail(Completeness, first.class, "The signed log contradicts itself, at %d places; the first: %s.", l.found, first.words)
	case d != nil && d.signed:
		v.fail(Completeness, ClassReportDiffers, "What was signed as the report is not what the log says: %s.", d.words)
	case d != nil:
		v.fail(Completeness, ClassReportBytes, "The log is whole, but the file is not what it says: %s.", d.words)
	case v.ReportSize > m.Bytes:
		v.fail(Completeness, ClassReportBytes, "The log is whole, but the file is not what it says: from byte %d on it has what the log does not have.", m.Bytes)
	case l.issued != m.Issued || l.revoked != m.Revoked:
		v.fail(Completeness, ClassManifest, "The manifest counts %d certificates and %d revocations, the log has %d and %d.", m.Issued, m.Revoked, l.issued, l.revoked)
	}
	seen := v.checkSeen(l)
	if v.status(Completeness) == Unknown {
		v.set(Completeness, Pass, "All %d entries of the log are those of the checkpoint, keep the log's rules, and give this report byte for byte: nothing is missing, added or changed.%s", m.Size, seen)
	}
	if len(v.LogKeys) > 0 && !v.keyPinned && !slices.ContainsFunc(chain, func(k logKey) bool { return slices.Contains(v.LogKeys, k.key) }) {
		v.fail(Authenticity, ClassAuditKey, "The log never had one of the keys that were given.")
	}
	return v.checkCRLs(ctx, l)
}

// checkKnown compares the log with all that was known of it.
func (v *verifier) checkKnown(l *replay, chain []logKey, previous error) error {
	m := v.m
	if p := m.Previous; p != nil {
		root, _, err := l.rootAt(p.Size)
		switch {
		case err != nil:
			return err
		case root != p.Root:
			v.fail(Consistency, ClassSplitView, "The log of the report before, with %d entries, did not grow into this one: history was rewritten.", p.Size)
		case previous != nil:
			v.fail(Consistency, ClassManifest, "The manifest's consistency proof from the report before does not hold: %v.", previous)
		}
	}
	var keys []string
	for _, k := range chain {
		keys = append(keys, k.key)
	}
	matched, others := 0, 0
	var lost, doubtful []string
	for i := range v.Known {
		k := &v.Known[i]
		base, epoch := SplitOrigin(k.Origin, m.CA)
		limit := uint64(math.MaxUint64) // entries of that epoch that are in this log
		for _, c := range chain {
			if c.epoch > epoch {
				limit = min(limit, c.from)
			}
		}
		switch {
		case v.elsewhere(k) && v.genuine(k, keys):
			v.fail(Consistency, ClassSplitView, "There are two histories: %s is of the log %s of another CA, which has the same key.", k.Source, k.Origin)
		case base == "":
			others++
		case base != v.base && !v.genuine(k, keys):
			doubtful = append(doubtful, k.Source)
		case base != v.base:
			// The name of a CA's log never changes, but for the epoch.
			v.fail(Consistency, ClassSplitView, "There are two histories: %s is of a log %s of this CA, the report of %s.", k.Source, base, v.base)
		case epoch > v.epoch:
			older := ""
			if k.Time > m.Created {
				older = " This report says that it is older than that: rely on a newer one."
			}
			v.fail(Consistency, ClassRollback, "The log was in epoch %d already (%s); this report is of epoch %d.%s", epoch, k.Source, v.epoch, older)
		case k.Size > limit:
			lost = append(lost, fmt.Sprintf("of the %d entries that %s knows of epoch %d, %d were lost", k.Size, k.Source, epoch, k.Size-limit))
		case k.Size > l.end:
			if !v.genuine(k, keys) {
				doubtful = append(doubtful, k.Source)
				continue
			}
			older := ""
			if k.Time > m.Created {
				older = " This report says that it is older than that: if it is, fetch the log's folder as it is now and verify again."
			}
			v.fail(Consistency, ClassRollback, "The log was longer before: %s knows %d entries, here are %d.%s", k.Source, k.Size, l.end, older)
		case k.Size == 0:
		default:
			root, earliest, err := l.rootAt(k.Size)
			switch {
			case err != nil:
				return err
			case root != k.Root && !v.genuine(k, keys):
				doubtful = append(doubtful, k.Source)
			case root != k.Root:
				v.fail(Consistency, ClassSplitView, "There are two histories: the first %d entries are not those that %s knows.", k.Size, k.Source)
			case k.Time > 0 && epoch == v.epoch && earliest < k.Time-delta:
				v.fail(Consistency, ClassBackDated, "An entry that was added after %s, when the log had %d entries (%s), is dated %s.",
					stamp(k.Time), k.Size, k.Source, stamp(earliest))
			default:
				matched++
			}
		}
	}
	words := ""
	if len(lost) > 0 {
		words = " The log was recovered since: " + strings.Join(lost, "; ") + "."
	}
	if len(doubtful) > 0 {
		words += " Not taken as evidence, because no key of this log signed it: " + strings.Join(doubtful, ", ") + "."
	}
	if others > 0 {
		words += fmt.Sprintf(" %d of the known heads are of other logs.", others)
	}
	switch {
	case v.status(Consistency) == Fail:
	case len(doubtful) > 0:
		v.res.doubtful = true
		v.set(Consistency, Unknown, "A checkpoint that was given does not fit this log.%s", words)
	case len(lost) > 0:
		v.set(Consistency, Unknown, "Not all that was known of this log before is in it any more; it grew from %d of the %d known tree heads.%s", matched, matched+len(lost), words)
	case matched > 0:
		heads := "the tree head that was"
		if matched > 1 {
			heads = fmt.Sprintf("all %d tree heads that were", matched)
		}
		v.set(Consistency, Pass, "The log grew from %s known before; nothing in it was changed or removed.%s", heads, words)
	default:
		v.set(Consistency, Unknown, "No earlier tree head of this log was known, so a history that was rewritten before cannot be told from the true one. Keep this report's manifest: it is the earlier one of the next.%s", words)
	}
	return nil
}

func stamp(ms int64) string { return time.UnixMilli(ms).UTC().Format("2006-01-02T15:04:05.000Z") }

// logKey is a key of the log, in force from an entry on.
type logKey struct {
	from   uint64
	origin string
	key    string
	epoch  int
}

// validKey tells whether a verifier key signs for the origin.
func validKey(vkey, origin string) bool {
	v, err := note.NewVerifier(vkey)
	return err == nil && v.Name() == origin
}

// notProven says what a verification of this kind does not show (proof.md 5).
func (v *verifier) notProven() {
	add := func(words string) { v.res.NotProven = append(v.res.NotProven, words) }
	add("That the CA's key was not used outside of this system: compare the counts of the HSM or of the key service, or look for certificates in the wild (--seen).")
	if v.Quick {
		add("That the report is complete: the log was not replayed.")
	}
	but := ""
	if len(v.Seen) > 0 && !v.Quick {
		but = ", but for those that were seen"
	}
	add("That the log describes the certificates as they are" + but + ": of each it has the SHA-256, to be compared with certificates that you have (--seen, or a sample).")
	if v.status(Consistency) != Pass {
		add("That history was not rewritten before the first tree head that anybody kept.")
	}
	if v.status(Witnesses) != Pass {
		add("That others were shown the same history: compare tree heads with them, or ask for witnesses.")
	}
	if v.status(Freshness) != Pass {
		add("That there is no newer report.")
	}
	add(fmt.Sprintf("The times of certificates and revocations, closer than %d minutes.", delta/60000))
	add("That the operator has no CA that you do not know: the certificate of each is in the report of the CA above it.")
}
