package inventory

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"maps"
	"math/bits"
	"slices"

	"chirograph.dev/internal/certlog"
)

// blockSize is how many consecutive entries share a dictionary.
const blockSize = certlog.BlockSize

// set is a set of the entries of one block.
type set [blockSize / 64]uint64

func (s *set) add(i uint16) { s[i/64] |= 1 << (i % 64) }

// addRange adds [lo, hi).
func (s *set) addRange(lo, hi int) {
	for lo < hi {
		end := min((lo/64+1)*64, hi)
		s[lo/64] |= (^uint64(0) >> (64 - (end - lo))) << (lo % 64)
		lo = end
	}
}

// keep leaves what o has, too, and tells whether that is anything.
func (s *set) keep(o *set) (some bool) {
	for i := range s {
		s[i] &= o[i]
		some = some || s[i] != 0
	}
	return some
}

// below leaves what is less than n.
func (s *set) below(n int) {
	var all set
	all.addRange(0, n)
	s.keep(&all)
}

// Kinds of what a dictionary knows of rows: a key begins with one.
const (
	kindRow      = 'r' // nothing follows; every row has it
	kindTemplate = 't' // and the template's ARN
	kindExpiry   = 'e' // and the day, see appendDay
	kindWord     = 'w' // and a word of the subject or the names, folded, cut after maxWord bytes
)

// span is all keys in [lo, hi).
type span struct{ lo, hi []byte }

// exactly is the span of one key.
func exactly(key []byte) span { return span{key, append(bytes.Clone(key), 0)} }

// beginning is the span of the keys that begin with key.
func beginning(key []byte) span { return span{key, after(key)} }

// after is the least key that is greater than all that begin with key; nil when
// there is none.
func after(key []byte) []byte {
	for i := len(key) - 1; i >= 0; i-- {
		if key[i] != 0xff {
			hi := bytes.Clone(key[:i+1])
			hi[i]++
			return hi
		}
	}
	return nil
}

// appendDay appends the day of a time in seconds so that bytes compare as days do.
func appendDay(dst []byte, seconds int64) []byte {
	return binary.BigEndian.AppendUint64(dst, uint64(floor(seconds, 86400))^1<<63)
}

// floor is n / d, rounded down.
func floor(n, d int64) int64 {
	if n < 0 {
		n -= d - 1
	}
	return n / d
}

// posting is the entries of a key: rarely more than one.
type posting struct {
	first uint16
	more  []uint16
}

func (p *posting) last() uint16 {
	if n := len(p.more); n > 0 {
		return p.more[n-1]
	}
	return p.first
}

// dictionary collects what the rows of a block are found by.
type dictionary struct {
	postings  map[string]*posting
	key, text []byte
}

func (d *dictionary) add(key []byte, i uint16) {
	p := d.postings[string(key)]
	switch {
	case p == nil:
		d.postings[string(key)] = &posting{first: i}
	case p.last() != i:
		p.more = append(p.more, i)
	}
}

// addRow adds a row; rows come in the order of the log.
func (d *dictionary) addRow(r *row) {
	i := uint16(r.index % blockSize)
	d.key = append(d.key[:0], kindRow)
	d.add(d.key, i)
	d.key = append(append(d.key[:0], kindTemplate), r.template...)
	d.add(d.key, i)
	d.key = appendDay(append(d.key[:0], kindExpiry), r.notAfter)
	d.add(d.key, i)
	d.text = r.appendText(d.text[:0])
	for text := d.text; ; {
		begin, end := cutWord(text)
		if begin == end {
			return
		}
		d.key = append(append(d.key[:0], kindWord), text[begin:min(end, begin+maxWord)]...)
		d.add(d.key, i)
		text = text[end:]
	}
}

// pageTarget is how many bytes a page of a dictionary has, about: it is read for
// one key.
const pageTarget = 4000

// maxPages is how many pages a dictionary can have.
const maxPages = 1 << 12

// encode writes the dictionary: its pages, and the first key of each. A page is
// its keys in their order, each as the number of bytes that it shares with the
// one before, the others, and its entries.
func (d *dictionary) encode() (directory []byte, pages [][]byte) {
	keys := slices.Sorted(maps.Keys(d.postings))
	total := 0
	for _, k := range keys {
		total += len(k)
	}
	target := max(pageTarget, 2*total/maxPages) // subjects can be large
	var page []byte
	var before string
	end := func() {
		if len(page) > 0 {
			pages, page = append(pages, page), nil
		}
	}
	for _, k := range keys {
		if len(page) >= target {
			end()
		}
		shared := 0
		if page == nil {
			page = make([]byte, 0, target+256)
			directory = appendBytes(directory, []byte(k))
		} else {
			for shared < min(len(k), len(before)) && k[shared] == before[shared] {
				shared++
			}
		}
		page = binary.AppendUvarint(page, uint64(shared))
		page = appendBytes(page, []byte(k[shared:]))
		page = d.postings[k].append(page)
		before = k
	}
	end()
	return directory, pages
}

// append appends the entries: the number of runs and each as the gap before it
// and its length less one, or 0 and the set where that is smaller.
func (p *posting) append(dst []byte) []byte {
	if p.more == nil {
		return append(binary.AppendUvarint(append(dst, 1), uint64(p.first)), 0)
	}
	start := len(dst)
	runs, lo, hi, at := uint64(0), int(p.first), int(p.first)+1, 0
	var list []byte
	end := func() {
		list = binary.AppendUvarint(binary.AppendUvarint(list, uint64(lo-at)), uint64(hi-lo-1))
		runs, at = runs+1, hi
	}
	for _, i := range p.more {
		if int(i) == hi {
			hi++
			continue
		}
		end()
		lo, hi = int(i), int(i)+1
	}
	end()
	var s set
	if len(list) < len(s)*8 {
		return append(binary.AppendUvarint(dst, runs), list...)
	}
	s.add(p.first)
	for _, i := range p.more {
		s.add(i)
	}
	dst = append(dst[:start], 0)
	for _, w := range s {
		dst = binary.LittleEndian.AppendUint64(dst, w)
	}
	return dst
}

// union adds the entries of all keys of a span to s. page reads one page, which is
// valid until the next.
func union(s *set, in span, directory []byte, page func(n int) ([]byte, error)) error {
	from, to, at := 0, 0, 0 // pages that keys of the span can be on
	for r := (reader{b: directory}); r.more(); at++ {
		first := r.bytes()
		if r.bad {
			return fmt.Errorf("%w: a directory", errFile)
		}
		if bytes.Compare(first, in.lo) <= 0 {
			from = at
		}
		if in.hi != nil && bytes.Compare(first, in.hi) >= 0 {
			break
		}
		to = at + 1
	}
	key := make([]byte, 0, 128)
	for n := from; n < to; n++ {
		b, err := page(n)
		if err != nil {
			return err
		}
		for r := (reader{b: b}); r.more(); {
			shared := r.uvarint()
			suffix := r.bytes()
			if r.bad || shared > uint64(len(key)) {
				return fmt.Errorf("%w: a page of a dictionary", errFile)
			}
			key = append(key[:shared], suffix...)
			if in.hi != nil && bytes.Compare(key, in.hi) >= 0 {
				return nil
			}
			if !r.posting(s, bytes.Compare(key, in.lo) >= 0) {
				return fmt.Errorf("%w: the entries of a key", errFile)
			}
		}
	}
	return nil
}

// posting reads the entries of a key and adds them to s if they are wanted.
func (r *reader) posting(s *set, wanted bool) bool {
	runs := r.uvarint()
	if runs == 0 {
		b := r.take(uint64(len(s) * 8))
		for i := 0; wanted && i < len(s) && b != nil; i++ {
			s[i] |= binary.LittleEndian.Uint64(b[8*i:])
		}
		return !r.bad
	}
	for at := uint64(0); runs > 0 && !r.bad; runs-- {
		lo := at + r.uvarint()
		at = lo + r.uvarint() + 1
		if lo >= blockSize || at > blockSize {
			return false
		}
		if wanted {
			s.addRange(int(lo), int(at))
		}
	}
	return !r.bad
}

// highest is the greatest element of s; ok is false when it is empty.
func (s *set) highest() (i int, ok bool) {
	for w := len(s) - 1; w >= 0; w-- {
		if s[w] != 0 {
			return w*64 + 63 - bits.LeadingZeros64(s[w]), true
		}
	}
	return 0, false
}
