package fsck

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"hash/maphash"
	"math"
	"slices"
	"sync"
	"time"

	"golang.org/x/mod/sumdb/tlog"
	"golang.org/x/sync/errgroup"

	"chirograph.dev/internal/certlog"
	"chirograph.dev/internal/issuance"
	"chirograph.dev/internal/store"
)

const (
	tileLevel = 8 // the lowest level of the tree that is stored
	tileWidth = 1 << tileLevel
)

// sum is a set of rows or of what the entries say of them: how many, and the sum
// of their hashes under a secret key. Two sums are equal when the sets are, so
// no set needs to be held in memory.
type sum struct{ n, hash uint64 }

func (s *sum) add(o sum) { s.n, s.hash = s.n+o.n, s.hash+o.hash }

// logCheck is the check of one log.
type logCheck struct {
	*checker
	ca   string
	head certlog.Head
	rec  *store.CertificateAuthority // nil when there is none

	tiles []tlog.Hash // roots of the complete tiles of leaves
	edge  []tlog.Hash // leaves after them

	mu       sync.Mutex
	unread   bool           // some entries could not be read
	special  []specialEntry // what is compared with records
	issued   []sum          // by block of the issue entry: certificates and revocations, as entries say
	revoked  []sum
	rows     []sum // and as rows say
	revRows  []sum
	lastTime int64
	lastCRL  int64 // index of the newest crl entry; -1: there is none

	crls          []*store.CRL
	forgotten     time.Time             // CRLs need not have certificates that expired before
	own           *issuance.Certificate // of the CA, that was looked at last; nil: none was
	ownGeneration int64
}

// specialEntry is a genesis, report, endorsement, key or recovery entry.
type specialEntry struct {
	index uint64
	certlog.Entry
}

func (c *checker) checkLog(ctx context.Context, ca string, head certlog.Head) error {
	rec, err := c.Records.CA(ctx, ca)
	switch {
	case errors.Is(err, store.ErrNotFound):
		c.find(ca, ClassRecord, "there is a log of %d entries and no record of the certificate authority", head.Size)
		rec = nil
	case err != nil:
		if err := c.unreadable(ctx, ca, ClassRecord, err); err != nil {
			return err
		}
	}
	if head.Size == 0 {
		if rec != nil && rec.AuditKey != "" { // set by the end of its birth, which the log begins with
			c.find(ca, ClassHead, "the certificate authority is %s and its log has no head", rec.Status)
		}
		return nil
	}
	if err := head.Check(&certlog.Head{}); err != nil {
		c.find(ca, ClassHead, "%v", err)
	}
	shape, err := c.Rows.LogShape(ctx, ca, head.Size)
	if err != nil {
		return c.unreadable(ctx, ca, ClassEntry, err)
	}
	c.shape(ca, head.Size, shape)
	blocks := (head.Size + certlog.BlockSize - 1) / certlog.BlockSize
	l := &logCheck{checker: c, ca: ca, head: head, rec: rec, lastCRL: -1}
	if c.Quick {
		return l.quick(ctx, shape)
	}
	l.tiles, l.edge = make([]tlog.Hash, head.Size/tileWidth), make([]tlog.Hash, head.Size%tileWidth)
	l.issued, l.revoked = make([]sum, blocks), make([]sum, blocks)
	l.rows, l.revRows = make([]sum, blocks), make([]sum, blocks)
	return l.full(ctx, blocks)
}

// shape checks that the parts of a log are those that its size asks for. A full
// block need not be packed yet.
func (c *checker) shape(ca string, size uint64, s store.LogShape) {
	if s.PacksTo > size/certlog.BlockSize {
		c.find(ca, ClassEntry, "pack %d lies beyond the log's %d entries: the head went back, or the pack came from elsewhere", s.PacksTo-1, size)
	}
	if s.LooseTo > size {
		c.find(ca, ClassEntry, "there are entries up to %d and the head knows %d: the head went back", s.LooseTo-1, size)
	}
	if stored := s.Packs*certlog.BlockSize + s.Loose; stored < size {
		c.find(ca, ClassEntry, "%d of the %d entries are not stored", size-stored, size)
	}
	if s.NodesBeyond > 0 {
		c.find(ca, ClassNode, "%d stored hashes cover entries beyond the log's %d", s.NodesBeyond, size)
	}
}

// quick checks the right edge of the tree, and the last pack and what follows it.
func (l *logCheck) quick(ctx context.Context, shape store.LogShape) error {
	var genesis certlog.Entry
	err := l.Log.LogEntries(ctx, l.ca, 0, 1, func(_ uint64, entry []byte) error { return genesis.Decode(entry) })
	if err != nil {
		if err := l.unreadable(ctx, l.ca, ClassEntry, err); err != nil {
			return err
		}
	} else if genesis.Type != certlog.TypeGenesis {
		l.findAt(l.ca, ClassEntry, 0, "it is no genesis entry")
	}
	root, err := tlog.TreeHash(int64(l.head.Size), certlog.NewHashReader(ctx, l.Log, l.ca, l.head.Size))
	if err != nil {
		return l.unreadable(ctx, l.ca, ClassNode, err)
	}
	if root != l.head.Root {
		l.find(l.ca, ClassHead, "the stored hashes and the last entries hash to %v, the head's root is %v", root, l.head.Root)
	}
	first := max(shape.PacksTo, 1) - 1
	// From the end on: what was written last is what a crash may have damaged.
	for b := (l.head.Size - 1) / certlog.BlockSize; ; b-- {
		if n := min(l.head.Size-b*certlog.BlockSize, certlog.BlockSize); l.Budget > 0 && l.budget.Add(-int64(n)) < 0 {
			l.budget.Add(int64(n))
			return nil
		}
		if err := l.block(ctx, b); err != nil || b <= first {
			return err
		}
	}
}

func (l *logCheck) full(ctx context.Context, blocks uint64) error {
	if err := l.readLists(ctx); err != nil {
		return err
	}
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() error { return l.countRows(gctx) })
	for b := range blocks {
		select {
		case l.slots <- struct{}{}:
		case <-gctx.Done():
			return g.Wait()
		}
		g.Go(func() error {
			defer func() { <-l.slots }()
			return l.block(gctx, b)
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	if l.unread { // the rest would be noise
		return nil
	}
	if err := l.tree(ctx); err != nil {
		return err
	}
	for _, check := range []func(context.Context) error{l.certificates, l.revocations, l.reports, l.auditKeys, l.keys, l.lists, l.responders} {
		if err := check(ctx); err != nil {
			return err
		}
	}
	return nil
}

// block reads the entries of one block, hashes them, and compares them with the
// stored nodes and, unless the check is quick, with the certificates.
func (l *logCheck) block(ctx context.Context, b uint64) error {
	lo := b * certlog.BlockSize
	hi := min(lo+certlog.BlockSize, l.head.Size)
	p := blockCheck{logCheck: l, block: b, lo: lo, revoked: map[uint64]sum{}, lastCRL: -1}
	if !l.Quick {
		p.digests = make([][32]byte, hi-lo)
		p.issue = make([]bool, hi-lo)
	}
	if !l.Quick && l.Lists != nil {
		if err := p.readRevoked(ctx, hi); err != nil {
			return err
		}
	}
	next := lo
	err := l.Log.LogEntries(ctx, l.ca, lo, hi, func(index uint64, entry []byte) error {
		next = index + 1
		return p.entry(ctx, index, entry)
	})
	l.advance(next - lo)
	if err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		l.findAt(l.ca, ClassEntry, next, "%v; so rows are not compared with entries", err)
		l.mu.Lock()
		l.unread = true
		l.mu.Unlock()
	}
	tiles := uint64(len(p.tiles))
	want, nodesErr := l.Log.LogNodes(ctx, l.ca, tileLevel, lo/tileWidth, lo/tileWidth+tiles)
	if nodesErr != nil {
		if err := l.unreadable(ctx, l.ca, ClassNode, nodesErr); err != nil {
			return err
		}
	}
	for i := range want {
		if at := lo + uint64(i)*tileWidth; want[i] != p.tiles[i] {
			l.findAt(l.ca, ClassEntry, at, "one of the entries %d to %d is not the one that was committed", at, at+tileWidth-1)
		}
	}
	if l.Quick || err != nil {
		return nil
	}
	p.leftRevoked()
	l.keep(&p)
	return l.ders(ctx, &p, lo, hi)
}

// keep takes over what a block's entries say.
func (l *logCheck) keep(p *blockCheck) {
	l.mu.Lock()
	defer l.mu.Unlock()
	copy(l.tiles[p.lo/tileWidth:], p.tiles)
	if int(p.lo/certlog.BlockSize) == len(l.issued)-1 {
		copy(l.edge, p.leaves)
		l.lastTime = p.time
	}
	l.issued[p.block].add(p.issued)
	for b, s := range p.revoked {
		l.revoked[b].add(s)
	}
	l.special = append(l.special, p.special...)
	l.lastCRL = max(l.lastCRL, p.lastCRL)
	l.checker.mu.Lock()
	l.result.Certificates += p.issued.n
	l.checker.mu.Unlock()
}

// blockCheck is the check of one block.
type blockCheck struct {
	*logCheck
	block, lo uint64
	tiles     []tlog.Hash
	leaves    []tlog.Hash
	buf       []byte
	e         certlog.Entry
	time      int64

	issued  sum
	revoked map[uint64]sum // by block of the issue entry
	digests [][32]byte     // of the certificates, by place in the block
	issue   []bool
	special []specialEntry
	lastCRL int64
	listed  map[uint64]store.Revoked // what CRLs are made of, by the revoke entry; nil: not read
}

func (p *blockCheck) entry(ctx context.Context, index uint64, entry []byte) error {
	p.leaves = append(p.leaves, tlog.RecordHash(entry))
	if len(p.leaves) == tileWidth {
		p.tiles = append(p.tiles, certlog.TreeRoot(p.leaves))
		p.leaves = p.leaves[:0]
	}
	if err := p.e.Decode(entry); err != nil {
		p.findAt(p.ca, ClassEntry, index, "%v", err)
		return nil
	}
	p.time = p.e.Time
	if (p.e.Type == certlog.TypeGenesis) != (index == 0) {
		p.findAt(p.ca, ClassEntry, index, "the first entry of a log, and no other, is its genesis; this one has type %d", p.e.Type)
		return nil
	}
	if p.Quick {
		return nil
	}
	switch p.e.Type {
	case certlog.TypeIssue:
		p.issued.add(p.certificate(index, p.e.Serial, p.e.NotAfter*1000))
		p.digests[index-p.lo], p.issue[index-p.lo] = p.e.CertSHA256, true
	case certlog.TypeRevoke:
		return p.revoke(ctx, index)
	case certlog.TypeCRL:
		p.lastCRL = max(p.lastCRL, int64(index))
	case certlog.TypeSign:
		if string(p.e.Label) == certlog.LabelEndorsement {
			p.special = append(p.special, specialEntry{index, p.own()})
		}
	case certlog.TypeGenesis, certlog.TypeReport, certlog.TypeKey, certlog.TypeRecovery:
		p.special = append(p.special, specialEntry{index, p.own()})
	}
	return nil
}

// own is the entry with a label and an extra of its own.
func (p *blockCheck) own() certlog.Entry {
	e := p.e
	e.Label, e.Extra = bytes.Clone(e.Label), bytes.Clone(e.Extra)
	return e
}

func (p *blockCheck) revoke(ctx context.Context, index uint64) error {
	var at uint64
	var err error
	if p.listed != nil {
		at, err = p.revokedStatus(ctx, index)
	} else {
		at, err = p.Rows.CertificateIndex(ctx, p.ca, p.e.Serial)
	}
	switch {
	case errors.Is(err, store.ErrNotFound):
		p.findAt(p.ca, ClassCertificate, index, "it revokes the certificate %x, of which there is no row", p.e.Serial)
	case err != nil:
		return err
	case at != p.e.IssueIndex:
		p.findAt(p.ca, ClassCertificate, index, "it revokes the certificate %x of entry %d; its row names entry %d", p.e.Serial, p.e.IssueIndex, at)
	}
	if p.e.IssueIndex >= index {
		p.findAt(p.ca, ClassEntry, index, "it revokes entry %d, which is not older", p.e.IssueIndex)
		return nil
	}
	b := p.e.IssueIndex / certlog.BlockSize
	s := p.revoked[b]
	s.add(p.revocation(p.e.IssueIndex, index, p.e.Time, p.e.Reason))
	p.revoked[b] = s
	return nil
}

func (c *checker) certificate(index uint64, serial []byte, notAfter int64) sum {
	var b [36]byte
	binary.BigEndian.PutUint64(b[:], index)
	binary.BigEndian.PutUint64(b[8:], uint64(notAfter))
	return sum{1, maphash.Bytes(c.seed, append(b[:16:len(b)], serial...))}
}

func (c *checker) revocation(issued, revoked uint64, time int64, reason uint8) sum {
	var b [26]byte
	binary.BigEndian.PutUint64(b[:], issued)
	binary.BigEndian.PutUint64(b[8:], revoked)
	binary.BigEndian.PutUint64(b[16:], uint64(time))
	b[24] = reason
	return sum{1, maphash.Bytes(c.seed, b[:])}
}

// tree computes the levels above the tiles and compares them, and the head, with
// what is stored.
func (l *logCheck) tree(ctx context.Context) error {
	if back := l.head.Time - l.lastTime; back < 0 || back > certlog.MaxClockStep.Milliseconds() {
		l.find(l.ca, ClassHead, "its time is %d, that of the last entry %d", l.head.Time, l.lastTime)
	}
	row := l.tiles
	for level := 2 * tileLevel; len(row) >= tileWidth; level += tileLevel {
		above := make([]tlog.Hash, len(row)/tileWidth)
		for i := range above {
			above[i] = certlog.TreeRoot(slices.Clone(row[i*tileWidth : (i+1)*tileWidth]))
		}
		want, err := l.Log.LogNodes(ctx, l.ca, level, 0, uint64(len(above)))
		if err != nil {
			if err := l.unreadable(ctx, l.ca, ClassNode, err); err != nil {
				return err
			}
		}
		for i := range want {
			if want[i] != above[i] {
				l.find(l.ca, ClassNode, "the stored hash %d of level %d is not that of its entries", i, level)
			}
		}
		row = above
	}
	if root := l.root(); root != l.head.Root {
		l.find(l.ca, ClassHead, "the %d entries hash to %v, the head's root is %v", l.head.Size, root, l.head.Root)
	}
	return nil
}

// root is the root over all entries as they were read.
func (l *logCheck) root() tlog.Hash {
	row := slices.Clone(l.tiles)
	if len(l.edge) > 0 {
		row = append(row, certlog.TreeRoot(slices.Clone(l.edge)))
	}
	return certlog.TreeRoot(row)
}

// ders compares the certificates with the digests in the entries.
func (l *logCheck) ders(ctx context.Context, p *blockCheck, lo, hi uint64) error {
	seen := make([]bool, hi-lo)
	err := l.Rows.LogDERs(ctx, l.ca, lo, hi, func(index uint64, der []byte) error {
		switch i := index - lo; {
		case !p.issue[i]:
			l.findAt(l.ca, ClassCertificate, index, "there is a certificate (%d bytes) of an entry that issued none", len(der))
		case seen[i]:
			l.findAt(l.ca, ClassCertificate, index, "its certificate is stored twice")
		case sha256.Sum256(der) != p.digests[i]:
			l.findAt(l.ca, ClassCertificate, index, "the stored certificate is not the one that was signed: its SHA-256 is not the entry's")
		}
		seen[index-lo] = true
		return nil
	})
	if err != nil {
		return l.unreadable(ctx, l.ca, ClassCertificate, err)
	}
	for i, issued := range p.issue {
		if issued && !seen[i] {
			l.findAt(l.ca, ClassCertificate, lo+uint64(i), "its certificate (DER) is missing")
		}
	}
	return nil
}

// countRows sums the rows of certificates and revocations by block.
func (l *logCheck) countRows(ctx context.Context) error {
	err := l.Rows.CertificateRows(ctx, l.ca, func(serial []byte, index uint64, notAfter int64) error {
		if index >= l.head.Size {
			l.findAt(l.ca, ClassCertificate, index, "there is a row of the certificate %x and the log has %d entries", serial, l.head.Size)
			return nil
		}
		l.rows[index/certlog.BlockSize].add(l.certificate(index, serial, notAfter))
		return nil
	})
	if err != nil {
		if err := l.unreadable(ctx, l.ca, ClassCertificate, err); err != nil {
			return err
		}
	}
	n := uint64(0)
	err = l.Rows.Revocations(ctx, l.ca, 0, math.MaxInt64, math.MaxInt64, func(r store.Revocation) error {
		n++
		if r.IssueIndex >= l.head.Size {
			l.findAt(l.ca, ClassRevocation, r.IssueIndex, "there is a row of its revocation and the log has %d entries", l.head.Size)
			return nil
		}
		l.revRows[r.IssueIndex/certlog.BlockSize].add(l.revocation(r.IssueIndex, r.RevokeIndex, r.Time, r.Reason))
		return nil
	})
	l.checker.mu.Lock()
	l.result.Revocations += n
	l.checker.mu.Unlock()
	if err != nil {
		return l.unreadable(ctx, l.ca, ClassRevocation, err)
	}
	return nil
}
