package proof

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash/maphash"
	"io/fs"
	"math"
	"slices"
	"sync"

	"golang.org/x/mod/sumdb/tlog"

	"chirograph.dev/internal/certlog"
	"chirograph.dev/internal/certlog/rendering"
)

// A replay reads the log once, block by block, the newest first, and renders
// the report from it. So the revocations of a block are all known when it is
// rendered, and are forgotten after it: memory holds a few blocks and 16 bytes
// for each revocation that still waits for its certificate.
//
// What it finds is kept until the root of the log is known to be the signed
// one; see verifier.judge.
type replay struct {
	*verifier
	packs *Packs
	caARN []byte
	end   uint64 // entries that are hashed: the report's, and beyond it as far as a known head needs
	seen  map[string][]*seenCertificate
	seed  maphash.Seed

	blocks []block
	units  []unit
	last   *PackReader // for rootAt, after the replay

	mu              sync.Mutex
	scanned         sync.Cond
	next            int // unit that the next worker takes
	ready           int // units [0, ready) are scanned
	done            []bool
	stopped         bool // a worker gave up
	issued, revoked uint64
	special         []special
	found           int
	findings        []finding
	difference      *difference
	serials         [][16]byte
}

// block is what is kept of a block of the log.
type block struct {
	root          tlog.Hash // of its hashed entries
	oldest, newer int64     // times of the entries that count: the earliest and the latest
	peak          int64     // the latest before a recovery
	recovered     bool      // newer is that of the entries from the last recovery on, oldest of those before the first

	mu          sync.Mutex
	parts       int // that have entries of the block and are not rendered yet
	sorted      bool
	revocations []revocation
}

// revocation waits for its certificate: its place in the block and its time in
// milliseconds, its reason and a hash of the serial with a secret seed.
type revocation struct{ placeTime, hashReason uint64 }

func (r revocation) place() int    { return int(r.placeTime >> 48) }
func (r revocation) time() int64   { return int64(r.placeTime & (1<<48 - 1)) }
func (r revocation) reason() uint8 { return uint8(r.hashReason) }

// unit is a part of the report, or blocks that are only hashed.
type unit struct {
	lo, hi      uint64
	first, last uint64 // blocks that are scanned with it
	part        int    // index; -1 when there is none
	offset      int64  // in the file
	rows        uint64 // rows of the parts before it
}

// finding is a place where a log breaks its rules.
type finding struct {
	index        uint64
	class, words string
}

// difference is where the file is not what the log gives.
type difference struct {
	part   int
	at     int64
	signed bool // the file is what was signed
	words  string
}

// special is an entry that says who signs for the log.
type special struct {
	index uint64
	entry certlog.Entry // with bytes of its own
}

// maxFindings and maxSpecial bound what a bad log makes the verifier keep.
const (
	maxFindings = 1000
	maxSpecial  = 1 << 16
)

// replay replays the log. It gives nil when the log cannot be read, with the
// verdicts set; the error is one of reading, or the context's.
func (v *verifier) replay(ctx context.Context) (*replay, error) {
	if v.Log == nil {
		v.fail(Completeness, ClassLogMissing, "The log's folder was not given.")
		return nil, v.hashParts(ctx)
	}
	packs, err := openPacks(v.Log, cmp.Or(v.MaxBlock, maxFrame))
	if err == nil && packs.End() < v.m.Size {
		err = fmt.Errorf("%w: there are %d, the report covers %d", ErrNoPack, packs.End(), v.m.Size)
	}
	if err != nil {
		return nil, v.noLog(ctx, err)
	}
	l := &replay{verifier: v, packs: packs, caARN: []byte(v.m.CA), end: v.m.Size, seed: maphash.MakeSeed()}
	l.scanned.L = &l.mu
	for _, k := range v.Known {
		if k.Origin == v.m.Origin && k.Size <= packs.End() {
			l.end = max(l.end, k.Size)
		}
	}
	if l.seen, err = v.readSeen(); err != nil {
		return nil, err
	}
	l.plan()
	if err := v.parallel(ctx, l.work); err != nil {
		return nil, v.noLog(ctx, err)
	}
	if l.last, err = packs.Reader(); err != nil {
		return nil, err
	}
	return l, nil
}

// noLog sets the verdict when the log cannot be read; the file is then checked
// against the manifest alone.
func (v *verifier) noLog(ctx context.Context, err error) error {
	switch {
	case errors.Is(err, ErrNoPack), errors.Is(err, fs.ErrNotExist):
		v.fail(Completeness, ClassLogMissing, "The log beside the report is not complete: %v. Fetch its folder again.", err)
	case errors.Is(err, ErrPack):
		v.fail(Completeness, ClassLogEntries, "The log beside the report cannot be read: %v. Fetch its folder again.", err)
	case ctx.Err() != nil || errors.Is(err, ErrCannotCheck):
		return err
	default:
		return fmt.Errorf("%w: %w", ErrCannotCheck, err)
	}
	v.read.Store(0)
	return v.hashParts(ctx)
}

// plan makes the units, the newest first. A block at the border of two parts
// is scanned with the newer one.
func (l *replay) plan() {
	const size = certlog.BlockSize
	l.blocks = make([]block, (l.end+size-1)/size)
	border := uint64(len(l.blocks)) // blocks from here on belong to newer units
	for b := border; b > (l.m.Size+size-1)/size; b-- {
		l.units = append(l.units, unit{lo: (b - 1) * size, hi: l.end, first: b - 1, last: b, part: -1})
		border = b - 1
	}
	offset, rows := l.m.Bytes, l.m.Issued
	for i := len(l.m.Parts) - 1; i >= 0; i-- {
		p := l.m.Parts[i]
		var lo uint64
		if i > 0 {
			lo = l.m.Parts[i-1].Hi
		}
		offset -= p.Length
		rows -= p.Rows
		u := unit{lo: lo, hi: p.Hi, first: min(lo/size, border), last: border, part: i, offset: offset, rows: rows}
		border = u.first
		l.units = append(l.units, u)
		for b := lo / size; b*size < p.Hi; b++ {
			l.blocks[b].parts++
		}
	}
	l.done = make([]bool, len(l.units))
}

// worker is what one goroutine of a replay needs.
type worker struct {
	*replay
	ctx     context.Context
	packs   *PackReader
	loaded  uint64 // block in data
	data    []byte
	starts  []uint32
	leaves  []tlog.Hash
	entry   certlog.Entry
	row     rendering.Row
	encoder rendering.Encoder
	chunk   []byte // rendered
	rows    []rowStart
	file    []byte // the same place of the report

	issued, revoked uint64
	serials         [][16]byte
}

// rowStart says where a row begins in a chunk.
type rowStart struct {
	at    int
	place uint64 // index of the entry
}

// chunkSize is how much of the report is rendered and compared at a time: small
// enough to stay in the processor's cache.
const chunkSize = 128 << 10

// work takes units until there are no more.
func (l *replay) work(ctx context.Context) (err error) {
	w := &worker{replay: l, ctx: ctx, loaded: math.MaxUint64, leaves: make([]tlog.Hash, certlog.BlockSize)}
	defer func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.stopped = l.stopped || err != nil
		l.scanned.Broadcast()
		l.issued += w.issued
		l.revoked += w.revoked
		l.serials = append(l.serials, w.serials...)
	}()
	if w.packs, err = l.packs.Reader(); err != nil {
		return err
	}
	defer w.packs.Close()
	for {
		l.mu.Lock()
		i := l.next
		l.next++
		l.mu.Unlock()
		if i >= len(l.units) {
			return nil
		}
		u := &l.units[i]
		for b := u.last; b > u.first; b-- {
			if err := w.scan(b - 1); err != nil {
				return err
			}
		}
		if !l.await(i) {
			return context.Cause(ctx)
		}
		if u.part >= 0 {
			if err := w.render(u); err != nil {
				return err
			}
		}
	}
}

// await says that unit i is scanned, and waits for all that are newer. It gives
// false when a worker gave up.
func (l *replay) await(i int) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.done[i] = true
	for l.ready < len(l.done) && l.done[l.ready] {
		l.ready++
	}
	l.scanned.Broadcast()
	for l.ready < i && !l.stopped {
		l.scanned.Wait()
	}
	return !l.stopped
}

func (l *replay) find(index uint64, class, format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.found++; len(l.findings) < maxFindings {
		l.findings = append(l.findings, finding{index, class, fmt.Sprintf("entry %d ", index) + fmt.Sprintf(format, args...)})
		return
	}
	if last := &l.findings[maxFindings-1]; index < last.index {
		*last = finding{index, class, fmt.Sprintf("entry %d ", index) + fmt.Sprintf(format, args...)}
	}
}

// load brings a block into memory, split into its entries, of which there are
// at least as many as are hashed.
func (w *worker) load(b uint64) error {
	if w.loaded == b {
		return nil
	}
	if err := w.ctx.Err(); err != nil {
		return context.Cause(w.ctx)
	}
	w.loaded = math.MaxUint64
	var err error
	if w.data, err = w.packs.Block(w.data, b); err != nil {
		return err
	}
	if w.starts, err = splitBlock(w.data, w.starts); err != nil {
		return err
	}
	if have, want := len(w.starts)-1, int(w.blockEnd(b)-b*certlog.BlockSize); have < want {
		return fmt.Errorf("%w: block %d has %d entries of %d", ErrPack, b, have, want)
	}
	w.loaded = b
	return nil
}

// blockEnd is the end of the entries of a block that are hashed.
func (l *replay) blockEnd(b uint64) uint64 { return min(l.end, (b+1)*certlog.BlockSize) }

func (w *worker) bytes(place int) []byte { return w.data[w.starts[place]+2 : w.starts[place+1]] }

// scan hashes the entries of a block, checks them, and hands their revocations
// to the blocks that they point into.
func (w *worker) scan(b uint64) error {
	if err := w.load(b); err != nil {
		return err
	}
	base := b * certlog.BlockSize
	end := w.blockEnd(b)
	leaves := hashLeaves(w.data, w.starts[:end-base+1], w.leaves)
	blk := &w.blocks[b]
	blk.oldest, blk.newer = math.MaxInt64, 0
	for index := base; index < min(end, w.m.Size); index++ {
		w.check(blk, index, w.bytes(int(index-base)))
	}
	blk.root = certlog.TreeRoot(leaves)
	return nil
}

// check looks at one entry that the report covers.
func (w *worker) check(blk *block, index uint64, raw []byte) {
	e := &w.entry
	if err := e.Decode(raw); err != nil {
		w.find(index, ClassLogEntries, "cannot be read: %v", err)
		return
	}
	if e.Time >= 1<<48 {
		w.find(index, ClassLogRules, "is dated beyond what is possible")
		e.Time = 1<<48 - 1
	}
	if e.Type == certlog.TypeRecovery {
		// What a log was dated while its clock was ahead ends here, visibly.
		blk.recovered, blk.peak, blk.newer = true, max(blk.peak, blk.newer), 0
	}
	if e.Time < blk.newer-delta {
		w.find(index, ClassBackDated, "is dated %s, after one of %s", stamp(e.Time), stamp(blk.newer))
	}
	if blk.newer = max(blk.newer, e.Time); !blk.recovered {
		blk.oldest = min(blk.oldest, e.Time)
	}
	if (e.Type == certlog.TypeGenesis) != (index == 0) {
		w.find(index, ClassLogRules, "is of type %d: a log begins with its genesis and has no other", e.Type)
	}
	if index == w.m.Size-1 && (e.Type != certlog.TypeReport || string(e.Label) != w.m.Report || string(e.Extra) != w.m.Format || e.Time != w.m.Created) {
		w.find(index, ClassLogRules, "is the last, but does not record this report: it is of another one, or of an older prefix of the log")
	}
	switch e.Type {
	case certlog.TypeIssue:
		w.issued++
		if w.Serials {
			var h [16]byte
			sum := sha256.Sum256(e.Serial)
			copy(h[:], sum[:])
			w.serials = append(w.serials, h)
		}
		if w.seen != nil {
			w.meet(index, e)
		}
	case certlog.TypeRevoke:
		switch {
		case e.IssueIndex >= index:
			w.find(index, ClassLogRules, "revokes entry %d, which comes later", e.IssueIndex)
		case !rendering.KnownReason(e.Reason):
			w.find(index, ClassLogRules, "revokes for the unknown reason %d", e.Reason)
		default:
			target := &w.blocks[e.IssueIndex/certlog.BlockSize]
			r := revocation{
				placeTime:  e.IssueIndex%certlog.BlockSize<<48 | uint64(e.Time),
				hashReason: maphash.Bytes(w.seed, e.Serial)<<8 | uint64(e.Reason),
			}
			target.mu.Lock()
			target.revocations = append(target.revocations, r)
			target.mu.Unlock()
		}
	case certlog.TypeCRL:
		w.meetCRL(index, e)
	case certlog.TypeGenesis, certlog.TypeKey, certlog.TypeRecovery:
		w.keep(index)
	case certlog.TypeSign:
		if string(e.Label) == certlog.LabelEndorsement {
			w.keep(index)
		}
	}
}

// keep remembers the entry.
func (w *worker) keep(index uint64) {
	e := w.entry
	e.Label, e.Extra = bytes.Clone(e.Label), bytes.Clone(e.Extra)
	w.mu.Lock()
	full := len(w.special) >= maxSpecial
	if !full {
		w.special = append(w.special, special{index, e})
	}
	w.mu.Unlock()
	if full {
		w.find(index, ClassLogRules, "is one key too many")
	}
}

// render writes the rows of a part from the log and compares them with the
// file, which it hashes on the way.
func (w *worker) render(u *unit) error {
	part := &w.m.Parts[u.part]
	c := comparison{w: w, part: u.part, at: u.offset, end: u.offset + part.Length, sum: sha256.New()}
	csv := w.m.Format == "CSV"
	w.chunk, w.rows = w.chunk[:0], w.rows[:0]
	if csv && u.part == 0 {
		w.chunk = append(w.chunk, rendering.CSVHeader...)
	}
	first := u.rows == 0
	issued := uint64(0)
	for b := u.lo / certlog.BlockSize; b*certlog.BlockSize < u.hi; b++ {
		if err := w.load(b); err != nil {
			return err
		}
		base := b * certlog.BlockSize
		lo, hi := int(max(u.lo, base)-base), int(min(u.hi, base+certlog.BlockSize)-base)
		revocations := w.blocks[b].take(lo, hi)
		for place := lo; place < hi; place++ {
			index := base + uint64(place)
			raw := w.bytes(place)
			ok := len(raw) > 1 && certlog.EntryType(raw[1]) == certlog.TypeIssue && w.entry.Decode(raw) == nil
			revoked := len(revocations) > 0 && revocations[0].place() == place
			if !ok {
				for ; len(revocations) > 0 && revocations[0].place() == place; revocations = revocations[1:] {
					w.find(index, ClassLogRules, "is revoked by a later one, but issued nothing")
				}
				continue
			}
			e := &w.entry
			w.row.Issued(e, w.caARN)
			if revoked {
				r := revocations[0]
				if revocations = revocations[1:]; len(revocations) > 0 && revocations[0].place() == place {
					w.find(index, ClassLogRules, "is revoked more than once")
					for len(revocations) > 0 && revocations[0].place() == place {
						revocations = revocations[1:]
					}
				}
				if maphash.Bytes(w.seed, e.Serial)<<8 != r.hashReason&^0xff {
					w.find(index, ClassLogRules, "is revoked by a later one, which names another serial number")
				}
				if r.time() < e.Time-delta {
					w.find(index, ClassLogRules, "issued at %s what was revoked at %s already", stamp(e.Time), stamp(r.time()))
				}
				w.row.Revoke(r.time(), r.reason())
				w.revoked++
			}
			w.rows = append(w.rows, rowStart{len(w.chunk), index})
			if csv {
				w.chunk = w.encoder.AppendCSV(w.chunk, &w.row)
			} else {
				if first {
					w.chunk = append(w.chunk, rendering.JSONStart...)
				} else {
					w.chunk = append(w.chunk, rendering.JSONSeparator...)
				}
				w.chunk = w.encoder.AppendJSON(w.chunk, &w.row)
			}
			first = false
			issued++
			if len(w.chunk) >= chunkSize {
				if err := c.flush(); err != nil {
					return err
				}
			}
		}
		w.blocks[b].rendered()
	}
	if u.part == len(w.m.Parts)-1 && !csv {
		if first {
			w.chunk = append(w.chunk, rendering.JSONEmpty...)
		} else {
			w.chunk = append(w.chunk, rendering.JSONEnd...)
		}
	}
	if err := c.flush(); err != nil {
		return err
	}
	return c.finish(issued)
}

// take gives the revocations of the entries [lo, hi) of the block, in order.
func (b *block) take(lo, hi int) []revocation {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.sorted {
		slices.SortFunc(b.revocations, func(x, y revocation) int { return cmp.Compare(x.placeTime, y.placeTime) })
		b.sorted = true
	}
	from, _ := slices.BinarySearchFunc(b.revocations, lo, func(r revocation, n int) int { return cmp.Compare(r.place(), n) })
	to, _ := slices.BinarySearchFunc(b.revocations, hi, func(r revocation, n int) int { return cmp.Compare(r.place(), n) })
	return b.revocations[from:to]
}

// rendered says that one more part has what it needs of the block. The last one
// frees the revocations; parts come in any order.
func (b *block) rendered() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.parts--; b.parts == 0 {
		b.revocations = nil
	}
}

// hashLeaves hashes the entries of a block (RFC 9162 2.1.1). The byte before an
// entry, the second of its length, becomes the prefix of a leaf: nothing is
// copied.
func hashLeaves(data []byte, starts []uint32, leaves []tlog.Hash) []tlog.Hash {
	leaves = leaves[:len(starts)-1]
	for i := range leaves {
		data[starts[i]+1] = 0
		leaves[i] = sha256.Sum256(data[starts[i]+1 : starts[i+1]])
	}
	return leaves
}

// rootAt is the root of the first size entries, and the earliest time of those
// that follow in the report. Only after the replay.
func (l *replay) rootAt(size uint64) (root tlog.Hash, earliest int64, err error) {
	full := size / certlog.BlockSize
	earliest = math.MaxInt64
	hashes := make([]tlog.Hash, 0, full+1)
	for b := range l.blocks {
		if uint64(b) < full {
			hashes = append(hashes, l.blocks[b].root)
		} else if uint64(b) > full || size%certlog.BlockSize == 0 {
			earliest = min(earliest, l.blocks[b].oldest)
		}
	}
	switch {
	case size%certlog.BlockSize == 0:
		return certlog.TreeRoot(hashes), earliest, nil
	case size == l.end:
		return certlog.TreeRoot(append(hashes, l.blocks[full].root)), earliest, nil
	}
	w := &worker{replay: l, ctx: context.Background(), loaded: math.MaxUint64, packs: l.last, leaves: make([]tlog.Hash, certlog.BlockSize)}
	if err := w.load(full); err != nil {
		return root, 0, fmt.Errorf("%w: %w", ErrCannotCheck, err)
	}
	base := full * certlog.BlockSize
	leaves := hashLeaves(w.data, w.starts[:l.blockEnd(full)-base+1], w.leaves)
	for index := size; index < min(l.blockEnd(full), l.m.Size); index++ {
		if w.entry.Decode(w.bytes(int(index-base))) == nil {
			earliest = min(earliest, w.entry.Time)
		}
	}
	hashes = append(hashes, certlog.TreeRoot(leaves[:size-base]))
	return certlog.TreeRoot(hashes), earliest, nil
}

// times checks what single blocks cannot: that no entry is dated before an
// entry of an older block by more than delta, and none after the report.
func (l *replay) times() {
	var latest int64
	for i := range l.blocks {
		b := &l.blocks[i]
		if b.oldest < latest-delta {
			l.find(uint64(i)*certlog.BlockSize, ClassBackDated, "or one of the %d after it is dated %s, after one of %s", certlog.BlockSize-1, stamp(b.oldest), stamp(latest))
		}
		if b.newer > l.m.Created+delta {
			l.find(uint64(i)*certlog.BlockSize, ClassBackDated, "or one of the %d after it is dated %s, after the report of %s", certlog.BlockSize-1, stamp(b.newer), stamp(l.m.Created))
		}
		if latest = max(latest, b.newer); b.recovered {
			latest = b.newer
		}
	}
}

// duplicates looks for a serial that was issued twice.
func (l *replay) duplicates() {
	slices.SortFunc(l.serials, func(a, b [16]byte) int { return bytes.Compare(a[:], b[:]) })
	for i := 1; i < len(l.serials); i++ {
		if l.serials[i] == l.serials[i-1] {
			l.find(l.m.Size-1, ClassLogRules, "is the last of a log in which a serial number was issued twice")
			return
		}
	}
}
