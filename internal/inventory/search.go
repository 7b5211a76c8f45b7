package inventory

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/fnv"
	"math"
	"slices"
	"strings"
	"time"
)

const (
	defaultLimit = 50
	maxLimit     = 1000

	maxSubject = 1024 // bytes of Query.Subject
	maxTerms   = 16   // of it

	// searchTime bounds a search; what was not looked at until then is left to the
	// next one.
	searchTime = 100 * time.Millisecond

	// maxSerials is how many certificates are looked up by the beginning of a
	// serial; with more of them, looking at one after the other finds a page as
	// quickly.
	maxSerials = 4096

	// maxRevoked is how many revoked certificates of a block are found one by one.
	maxRevoked = 1024
)

// plan is what a Query asks for, of one CA.
type plan struct {
	terms  [][]byte // folded
	serial span     // nil lo: any
	status Status
	now    int64 // milliseconds

	template []byte
	issued   [2]int64 // milliseconds, from and before
	expires  [2]int64 // seconds, from and before

	spans  []span // keys, one of each of which a row has; days apart
	days   *span  // of notAfter; nil when it may be any
	limit  int
	below  uint64 // entries from here on were looked at; math.MaxUint64: none
	digest uint64
}

func queryError(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrQuery, fmt.Sprintf(format, args...))
}

// parseQuery makes a plan. Its errors wrap ErrQuery or ErrCursor.
func parseQuery(q *Query, now time.Time) (*plan, error) {
	p := &plan{status: q.Status, now: now.UnixMilli(), template: []byte(q.TemplateARN), limit: q.Limit}
	switch q.Status {
	case "", Valid, Revoked, Expired:
	default:
		return nil, queryError("the status is VALID, REVOKED or EXPIRED, not %.40q", string(q.Status))
	}
	switch {
	case q.Limit < 0:
		return nil, queryError("a page of %d certificates", q.Limit)
	case q.Limit == 0:
		p.limit = defaultLimit
	default:
		p.limit = min(q.Limit, maxLimit)
	}
	if err := p.parseSubject(q.Subject); err != nil {
		return nil, err
	}
	if err := p.parseSerial(q.Serial); err != nil {
		return nil, err
	}
	if q.TemplateARN != "" {
		p.spans = append(p.spans, exactly(append([]byte{kindTemplate}, p.template...)))
	}
	p.parseTimes(q)
	if len(p.spans) == 0 && p.days == nil {
		p.spans = append(p.spans, exactly([]byte{kindRow}))
	}
	h := fnv.New64a()
	fmt.Fprintf(h, "%q %q %q %q %q %d %d", q.CA, q.Subject, q.Serial, q.Status, q.TemplateARN, p.issued, []int64{q.ExpiresFrom.Unix(), q.ExpiresTo.Unix()})
	p.digest = h.Sum64()
	return p, p.parseCursor(q.Cursor)
}

// parseSubject finds the words that a row has when it holds all terms: whole ones
// but for the last of each term, which may go on.
func (p *plan) parseSubject(subject string) error {
	if len(subject) > maxSubject {
		return queryError("a subject of %d bytes; %d are possible", len(subject), maxSubject)
	}
	for _, field := range strings.Fields(subject) {
		term := fold(nil, []byte(field))
		if len(term) == 0 {
			continue
		}
		if p.terms = append(p.terms, term); len(p.terms) > maxTerms {
			return queryError("more than %d words", maxTerms)
		}
		for rest := term; ; {
			begin, end := cutWord(rest)
			if begin == end {
				break
			}
			key := append([]byte{kindWord}, rest[begin:min(end, begin+maxWord)]...)
			in := exactly(key)
			if end == len(rest) && end-begin < maxWord {
				in = beginning(key)
			}
			p.spans = append(p.spans, in)
			rest = rest[end:]
		}
	}
	// Long words are rare, and one that a block lacks ends the work on it.
	slices.SortStableFunc(p.spans, func(a, b span) int { return len(b.lo) - len(a.lo) })
	return nil
}

// parseSerial makes the range of the serials that begin with the digits.
func (p *plan) parseSerial(text string) error {
	digits := strings.ReplaceAll(strings.TrimSpace(text), ":", "")
	for len(digits) > 2 && strings.HasPrefix(digits, "00") { // the number has no such octets
		digits = digits[2:]
	}
	if digits == "" {
		return nil
	}
	if len(digits) > 40 {
		return queryError("a serial number has at most 40 hexadecimal digits")
	}
	odd := len(digits)%2 == 1
	if odd {
		digits += "0"
	}
	lo, err := hex.DecodeString(digits)
	if err != nil {
		return queryError("a serial number is hexadecimal digits, with or without colons, not %.80q", text)
	}
	last := bytes.Clone(lo)
	if odd {
		last[len(last)-1] |= 0x0f
	}
	p.serial = span{lo, after(last)}
	return nil
}

func (p *plan) parseTimes(q *Query) {
	p.issued, p.expires = [2]int64{math.MinInt64, math.MaxInt64}, [2]int64{math.MinInt64, math.MaxInt64}
	if !q.IssuedFrom.IsZero() {
		p.issued[0] = q.IssuedFrom.UnixMilli()
	}
	if !q.IssuedTo.IsZero() {
		p.issued[1] = q.IssuedTo.UnixMilli()
	}
	if !q.ExpiresFrom.IsZero() {
		p.expires[0] = ceiling(q.ExpiresFrom)
	}
	if !q.ExpiresTo.IsZero() {
		p.expires[1] = ceiling(q.ExpiresTo)
	}
	// A certificate is valid at its notAfter.
	now := ceiling(time.UnixMilli(p.now))
	switch p.status {
	case Valid:
		p.expires[0] = max(p.expires[0], now)
	case Expired:
		p.expires[1] = min(p.expires[1], now)
	}
	if p.expires == [2]int64{math.MinInt64, math.MaxInt64} {
		return
	}
	days := &span{lo: []byte{kindExpiry}, hi: []byte{kindExpiry + 1}}
	if p.expires[0] != math.MinInt64 {
		days.lo = appendDay(days.lo, p.expires[0])
	}
	if p.expires[1] != math.MaxInt64 {
		days.hi = append(appendDay([]byte{kindExpiry}, p.expires[1]-1), 0)
	}
	p.days = days
}

// ceiling is a time in whole seconds, rounded up.
func ceiling(t time.Time) int64 {
	if t.Nanosecond() > 0 {
		return t.Unix() + 1
	}
	return t.Unix()
}

const cursorVersion = 1

// cursor names the entry below which the next page goes on, and the search.
func (p *plan) cursor(below uint64) string {
	b := binary.BigEndian.AppendUint64([]byte{cursorVersion}, below)
	return base64.RawURLEncoding.EncodeToString(binary.BigEndian.AppendUint64(b, p.digest))
}

func (p *plan) parseCursor(text string) error {
	p.below = math.MaxUint64
	if text == "" {
		return nil
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil || len(b) != 17 || b[0] != cursorVersion || binary.BigEndian.Uint64(b[9:]) != p.digest {
		return ErrCursor
	}
	p.below = binary.BigEndian.Uint64(b[1:])
	return nil
}

// matches tells whether a row is wanted, revoked or not.
func (p *plan) matches(r *row, revoked bool, text *[]byte) bool {
	switch {
	case p.status != "" && revoked != (p.status == Revoked),
		r.issued < p.issued[0] || r.issued >= p.issued[1],
		r.notAfter < p.expires[0] || r.notAfter >= p.expires[1],
		len(p.template) > 0 && !bytes.Equal(p.template, r.template),
		p.serial.lo != nil && !p.serial.has(r.serial):
		return false
	}
	if len(p.terms) == 0 {
		return true
	}
	*text = r.appendText((*text)[:0])
	for _, term := range p.terms {
		if !holds(*text, term) {
			return false
		}
	}
	return true
}

// has tells whether a key lies in the span.
func (s span) has(key []byte) bool {
	return bytes.Compare(key, s.lo) >= 0 && (s.hi == nil || bytes.Compare(key, s.hi) < 0)
}

// Search finds certificates. Errors of the caller wrap ErrQuery or ErrCursor.
func (x *Index) Search(ctx context.Context, q Query) (page *Page, err error) {
	p, err := parseQuery(&q, x.cfg.Now())
	if err != nil {
		return nil, err
	}
	err = x.snapshot(ctx, q.CA, func(c *conn, at place, behind uint64) error {
		s := search{plan: p, x: x, c: c, number: at.number, size: at.size, ca: q.CA, until: time.Now().Add(x.patience), page: &Page{Behind: behind}}
		page = s.page
		return s.run(ctx)
	})
	if err != nil {
		return nil, fmt.Errorf("searching the certificates of CA %s: %w", q.CA, err)
	}
	return page, nil
}

// search is one Search on its snapshot.
type search struct {
	*plan
	x      *Index
	c      *conn
	ca     string
	number int64
	size   uint64 // of the log, as far as it is in the index
	until  time.Time
	page   *Page

	looked  bool         // the search is further than where it began, so time may end it
	serials []uint64     // entries to look at, in their order; nil: all
	few     bool         // serials is all there are
	ahead   []blockAhead // blocks to come, newest first
	rows    []row
	plain   []byte
	text    []byte
	revoked map[uint64]revocation
}

// run looks at block after block, newest first, until the page is full or the time
// is over.
func (s *search) run(ctx context.Context) error {
	if err := s.lookUpSerials(ctx); err != nil {
		return err
	}
	tail := s.size &^ (blockSize - 1) // what follows is in no dictionary yet
	for below := min(s.below, s.size); below > 0; {
		if s.late() {
			s.page.Cursor = s.cursor(below)
			return nil
		}
		var err error
		if below, err = s.skip(ctx, below); err != nil || below == 0 {
			return err
		}
		lo, candidates := tail, new(set)
		if below > tail {
			candidates.addRange(0, blockSize)
		} else if lo, err = s.lookUp(ctx, below, candidates); err != nil {
			return err
		}
		if err := s.leave(ctx, candidates, lo, below); err != nil {
			return err
		}
		end, err := s.block(ctx, lo, candidates)
		if err != nil {
			return err
		}
		if end > lo || len(s.page.Certificates) == s.limit {
			if end > 0 {
				s.page.Cursor = s.cursor(end)
			}
			return nil
		}
		below, s.looked = lo, true
	}
	return nil
}

// lookUpSerials finds the entries of the serials that are asked for, if they are few.
func (s *search) lookUpSerials(ctx context.Context) error {
	if s.serial.lo == nil {
		return nil
	}
	indices, err := s.x.cfg.Certificates.SerialRange(ctx, s.ca, s.serial.lo, s.serial.hi, maxSerials+1)
	if err != nil {
		return err
	}
	if s.few = len(indices) <= maxSerials; s.few {
		slices.Sort(indices)
		s.serials = indices
	}
	return nil
}

// skip lowers an entry to just above the next one that can be wanted; 0 when there
// is none.
func (s *search) skip(ctx context.Context, below uint64) (next uint64, err error) {
	if s.few {
		n, _ := slices.BinarySearch(s.serials, below)
		if n == 0 {
			return 0, nil
		}
		below = s.serials[n-1] + 1
	}
	if s.status != Revoked {
		return below, nil
	}
	_, err = s.revocations(ctx, 0, below, 1, func(r *revocation) { next = r.index + 1 })
	return next, err
}

// revocations calls yield for the newest n certificates of the entries [lo, below)
// that are revoked, and tells how many there are.
func (s *search) revocations(ctx context.Context, lo, below uint64, n int, yield func(*revocation)) (count int, err error) {
	base := s.number << entryBits
	err = s.c.each(ctx, func(rows *sql.Rows) error {
		var id int64
		var r revocation
		if err := rows.Scan(&id, &r.time, &r.reason); err != nil {
			return err
		}
		r.index = uint64(id - base)
		count++
		yield(&r)
		return nil
	}, "SELECT id, time, reason FROM revocation WHERE id >= ? AND id < ? ORDER BY id DESC LIMIT ?", base+int64(lo), base+int64(below), n)
	return count, err
}

// late tells whether the time of the search is over.
func (s *search) late() bool { return s.looked && time.Now().After(s.until) }

// leave leaves in a set of the block that begins at lo what lies below an entry, has
// one of the serials that are looked for, and is revoked if it must be.
func (s *search) leave(ctx context.Context, candidates *set, lo, below uint64) error {
	below = min(below, lo+blockSize)
	candidates.below(int(below - lo))
	if s.few {
		from, _ := slices.BinarySearch(s.serials, lo)
		var of set
		for _, i := range s.serials[from:] {
			if i >= below {
				break
			}
			of.add(uint16(i % blockSize))
		}
		candidates.keep(&of)
	}
	if _, some := candidates.highest(); !some || s.status != Revoked {
		return nil
	}
	var of set
	last := below
	n, err := s.revocations(ctx, lo, below, maxRevoked, func(r *revocation) {
		last = r.index
		of.add(uint16(last % blockSize))
	})
	if n == maxRevoked { // there are more, and it is as well to look at all
		of.addRange(0, int(last-lo))
	}
	candidates.keep(&of)
	return err
}

// lookUp finds the newest block that begins below an entry and whose rows lie where
// they are wanted, and sets all, which is empty, to what its dictionary finds. lo is
// the block's first entry, 0 when there is none.
func (s *search) lookUp(ctx context.Context, below uint64, all *set) (lo uint64, err error) {
	base := s.number << blockBits
	newest := base + int64((below-1)/blockSize)
	for len(s.ahead) > 0 && s.ahead[0].id > newest {
		s.ahead = s.ahead[1:]
	}
	if len(s.ahead) == 0 {
		if err := s.blocks(ctx, base, newest); err != nil || len(s.ahead) == 0 {
			return 0, err
		}
	}
	id, b := s.ahead[0].id, &s.ahead[0].block
	lo = uint64(id-base) * blockSize
	page := func(n int) (_ []byte, err error) {
		s.plain, err = s.c.blob(ctx, s.plain[:0], "SELECT bytes FROM page WHERE id = ?", id<<(pageBits-blockBits)+int64(n))
		if errors.Is(err, sql.ErrNoRows) {
			err = fmt.Errorf("%w: page %d of the block of entry %d is missing", errFile, n, lo)
		}
		return s.plain, err
	}
	all.addRange(0, blockSize)
	for i, in := range s.spans {
		var of set
		if err := union(&of, in, b.directory, page); err != nil {
			return lo, err
		}
		if !all.keep(&of) {
			// What this block lacks others are likely to lack, too: it goes first.
			copy(s.spans[1:i+1], s.spans[:i])
			s.spans[0] = in
			return lo, nil
		}
	}
	if s.days != nil && (b.firstExpires < s.expires[0] || b.lastExpires >= s.expires[1]) {
		var of set
		if err := union(&of, *s.days, b.directory, page); err != nil {
			return lo, err
		}
		all.keep(&of)
	}
	return lo, nil
}

// blockAhead is a block that a search comes to.
type blockAhead struct {
	id int64
	block
}

// blocksAhead is how many blocks are read with one statement.
const blocksAhead = 16

// blocks reads the newest blocks in [base, newest] whose rows lie where they are
// wanted into s.ahead.
func (s *search) blocks(ctx context.Context, base, newest int64) error {
	s.ahead = s.ahead[:0]
	return s.c.each(ctx, func(rows *sql.Rows) error {
		var b blockAhead
		err := rows.Scan(&b.id, &b.firstExpires, &b.lastExpires, &b.directory)
		s.ahead = append(s.ahead, b)
		return err
	}, "SELECT id, first_expires, last_expires, directory FROM block WHERE id <= ? AND id >= ? AND last_issued >= ? AND first_issued < ? AND last_expires >= ? AND first_expires < ? AND last_serial >= ? AND (? OR first_serial < ?) ORDER BY id DESC LIMIT ?",
		newest, base, s.issued[0], s.issued[1], s.expires[0], s.expires[1], notNull(s.serial.lo), s.serial.hi == nil, notNull(s.serial.hi), blocksAhead)
}

// block looks at the candidates of the block that begins at lo, newest first. It
// gives the entry from which on all was looked at: lo unless the search ends there.
func (s *search) block(ctx context.Context, lo uint64, candidates *set) (end uint64, err error) {
	for {
		i, some := candidates.highest()
		if !some {
			return lo, nil
		}
		if s.late() {
			return lo + uint64(i) + 1, nil
		}
		first := lo + uint64(i)&^(groupSize-1)
		if err := s.read(ctx, first); err != nil {
			return 0, err
		}
		s.looked = true
		for n := len(s.rows) - 1; n >= 0; n-- {
			r := &s.rows[n]
			if at := r.index % blockSize; candidates[at/64]&(1<<(at%64)) == 0 {
				continue
			}
			rev, revoked := s.revoked[r.index]
			if !s.matches(r, revoked, &s.text) {
				continue
			}
			s.page.Certificates = append(s.page.Certificates, s.certificate(r, rev, revoked))
			if len(s.page.Certificates) == s.limit {
				return r.index, nil
			}
		}
		candidates.below(int(first % blockSize))
	}
}

// read reads the rows of a group and their revocations.
func (s *search) read(ctx context.Context, first uint64) error {
	s.rows = s.rows[:0]
	err := s.x.eachGroup(ctx, s.c, s.number, first, first+groupSize, func(first uint64, plain []byte) (err error) {
		s.plain = append(s.plain[:0], plain...)
		s.rows, err = readGroup(s.rows, s.plain, first)
		return err
	})
	if err != nil || len(s.rows) == 0 {
		return err
	}
	if s.revoked == nil {
		s.revoked = map[uint64]revocation{}
	}
	clear(s.revoked)
	_, err = s.revocations(ctx, first, first+groupSize, groupSize, func(r *revocation) { s.revoked[r.index] = *r })
	return err
}

// certificate is a row as it is shown.
func (s *search) certificate(r *row, rev revocation, revoked bool) Certificate {
	c := Certificate{
		Serial: bytes.Clone(r.serial), Subject: string(r.subject), TemplateARN: string(r.template), Account: string(r.account), Principal: string(r.principal), KeyAlgorithm: string(r.algorithm),
		NotBefore: time.Unix(r.notBefore, 0).UTC(), NotAfter: time.Unix(r.notAfter, 0).UTC(), IssuedAt: time.UnixMilli(r.issued).UTC(), Status: Valid, Index: r.index,
	}
	switch {
	case revoked:
		c.Status, c.RevokedAt, c.Reason = Revoked, time.UnixMilli(rev.time).UTC(), rev.reason
	case r.notAfter*1000 < s.now:
		c.Status = Expired
	}
	return c
}
