package inventory

import (
	"bytes"
	"context"
	"fmt"
	"slices"

	"chirograph.dev/internal/certlog"
	"chirograph.dev/internal/pace"
)

// Kinds of counters. Part of the format.
const (
	countIssued    = 1 // by the day of the entry
	countRevoked   = 2 // by the day of the entry
	countExpiring  = 3 // by the hour of notAfter, of what is not revoked
	countTemplate  = 4 // by ARN
	countAlgorithm = 5 // by name
)

// Seconds of what counters count by.
const (
	hour = 3600
	day  = 24 * hour
)

// counterKey names a counter of a log: key is an int64 or a string.
type counterKey struct {
	kind int
	key  any
}

// piece is what entries of one block become.
type piece struct {
	lo, hi      uint64
	rows        []row // of [lo, hi), and of the same block or group what is before
	revocations []revocation
	groups      []group
	block       *block // nil unless the piece ends it
	counts      map[counterKey]int64
	issued      int64
}

type revocation struct {
	index  uint64 // of the issue entry
	time   int64  // milliseconds
	reason uint8
}

type group struct {
	first uint64
	bytes []byte
}

// block is a dictionary and what rows of other blocks are told apart by.
type block struct {
	firstIssued, lastIssued   int64
	firstExpires, lastExpires int64
	firstSerial, lastSerial   []byte
	directory                 []byte
	pages                     [][]byte
}

// make reads the entries [lo, hi) of one block and makes of them what is to be
// stored. p.rows are rows that are stored already: those of the block when hi ends
// it, or else those of the group that lo is in.
func (x *Index) make(ctx context.Context, ca string, p *piece) error {
	p.counts = map[counterKey]int64{}
	known := len(p.rows)
	// Who commits may wait for a connection, so it is not taken at a low priority.
	if err := pace.Hurry(func() error { return x.readEntries(ctx, ca, p) }); err != nil {
		return err
	}
	if err := pace.Hurry(func() error { return x.readCertificates(ctx, ca, p, known) }); err != nil {
		return err
	}
	for i := known; i < len(p.rows); i++ {
		r := &p.rows[i]
		p.issued++
		p.counts[counterKey{countIssued, floor(r.issued/1000, day)}]++
		p.counts[counterKey{countExpiring, floor(r.notAfter, hour)}]++
		p.counts[counterKey{countTemplate, string(r.template)}]++
		p.counts[counterKey{countAlgorithm, string(r.algorithm)}]++
	}
	for i := range p.revocations {
		p.counts[counterKey{countRevoked, floor(p.revocations[i].time/1000, day)}]++
	}
	p.makeGroups(x.codec)
	if p.hi%blockSize == 0 {
		p.makeBlock()
	}
	return nil
}

// readEntries adds the rows and revocations of the entries, but for what is only
// in the certificates.
func (x *Index) readEntries(ctx context.Context, ca string, p *piece) error {
	var e certlog.Entry
	var buf []byte
	keep := func(b []byte) []byte {
		if cap(buf)-len(buf) < len(b) {
			buf = make([]byte, 0, max(1<<16, len(b)))
		}
		start := len(buf)
		buf = append(buf, b...)
		return buf[start:len(buf):len(buf)]
	}
	// What many entries share is kept once.
	var last row
	again := func(before, b []byte) []byte {
		if bytes.Equal(before, b) {
			return before
		}
		return keep(b)
	}
	p.rows = slices.Grow(p.rows, int(p.hi-p.lo))
	err := x.cfg.Logs.LogEntries(ctx, ca, p.lo, p.hi, func(index uint64, entry []byte) error {
		if err := e.Decode(entry); err != nil {
			return fmt.Errorf("entry %d: %w", index, err)
		}
		switch e.Type {
		case certlog.TypeIssue:
			last = row{
				index: index, issued: e.Time, notBefore: e.NotBefore, notAfter: e.NotAfter,
				serial: keep(e.Serial), subject: keep(e.Subject),
				template: again(last.template, e.TemplateARN), account: again(last.account, e.Account), principal: again(last.principal, e.Principal),
			}
			p.rows = append(p.rows, last)
		case certlog.TypeRevoke:
			p.revocations = append(p.revocations, revocation{e.IssueIndex, e.Time, e.Reason})
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("reading the log of CA %s: %w", ca, err)
	}
	return nil
}

// readCertificates adds to the rows from the known on what only the certificates
// have. A certificate that is moved from the tail to a pack meanwhile may be missed
// once.
func (x *Index) readCertificates(ctx context.Context, ca string, p *piece, known int) error {
	rows := p.rows[known:]
	algorithms := map[string][]byte{}
	var text []byte
	read := 0
	for range 2 {
		err := x.cfg.Certificates.LogDERs(ctx, ca, p.lo, p.hi, func(index uint64, der []byte) error {
			i, ok := slices.BinarySearchFunc(rows, index, func(r row, index uint64) int { return int(int64(r.index) - int64(index)) })
			if !ok || rows[i].algorithm != nil {
				return nil
			}
			read++
			text = fold(text[:0], rows[i].subject)
			name, names := readDER(der, text)
			if algorithms[name] == nil {
				algorithms[name] = append(make([]byte, 0, len(name)+1), name...)
			}
			rows[i].algorithm, rows[i].names = algorithms[name], names
			return nil
		})
		if err != nil {
			return fmt.Errorf("reading certificates of CA %s: %w", ca, err)
		}
		if read == len(rows) {
			return nil
		}
	}
	return nil
}

// makeGroups encodes the groups that [lo, hi) is in.
func (p *piece) makeGroups(c *codec) {
	var plain []byte
	for first := p.lo &^ (groupSize - 1); first < p.hi; first += groupSize {
		rows := between(p.rows, first, first+groupSize)
		if len(rows) == 0 {
			continue
		}
		plain = appendGroup(plain[:0], rows)
		p.groups = append(p.groups, group{first, c.encode(plain)})
	}
}

// between gives the rows of the entries [lo, hi).
func between(rows []row, lo, hi uint64) []row {
	at := func(index uint64) int {
		i, _ := slices.BinarySearchFunc(rows, index, func(r row, index uint64) int { return int(int64(r.index) - int64(index)) })
		return i
	}
	return rows[at(lo):at(hi)]
}

// makeBlock makes the dictionary of all rows.
func (p *piece) makeBlock() {
	p.block = &block{}
	if len(p.rows) == 0 {
		return
	}
	b, first := p.block, &p.rows[0]
	b.firstIssued, b.lastIssued, b.firstExpires, b.lastExpires, b.firstSerial, b.lastSerial = first.issued, first.issued, first.notAfter, first.notAfter, first.serial, first.serial
	d := dictionary{postings: make(map[string]*posting, 2*len(p.rows))}
	for i := range p.rows {
		r := &p.rows[i]
		d.addRow(r)
		b.firstIssued, b.lastIssued = min(b.firstIssued, r.issued), max(b.lastIssued, r.issued)
		b.firstExpires, b.lastExpires = min(b.firstExpires, r.notAfter), max(b.lastExpires, r.notAfter)
		if bytes.Compare(r.serial, b.firstSerial) < 0 {
			b.firstSerial = r.serial
		}
		if bytes.Compare(r.serial, b.lastSerial) > 0 {
			b.lastSerial = r.serial
		}
	}
	b.directory, b.pages = d.encode()
}
