package inventory

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/klauspost/compress/zstd"
)

// errFile says that the index does not hold what was written into it; it is
// then made anew.
var errFile = errors.New("the index is damaged")

// groupSize is how many consecutive entries' rows are compressed together: enough
// to find what they have in common, few enough to decode for one of them.
const groupSize = 256

// row is what the index knows of a certificate, but for its revocation.
type row struct {
	index               uint64
	issued              int64 // milliseconds
	notBefore, notAfter int64 // seconds
	serial              []byte
	subject, names      []byte // names are the alternative ones that the subject does not have, each ending with a newline
	template            []byte
	account, principal  []byte
	algorithm           []byte
}

// shared are the fields whose values many rows of a group share.
func (r *row) shared() [4]*[]byte {
	return [...]*[]byte{&r.template, &r.account, &r.principal, &r.algorithm}
}

// appendGroup appends the encoding of rows of one group: their number, the
// values that they share, each row's numbers, all serials, all texts.
func appendGroup(dst []byte, rows []row) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(rows)))
	values, places := [][]byte{}, map[string]uint64{}
	for i := range rows {
		for _, f := range rows[i].shared() {
			if _, ok := places[string(*f)]; !ok {
				places[string(*f)] = uint64(len(values))
				values = append(values, *f)
			}
		}
	}
	dst = binary.AppendUvarint(dst, uint64(len(values)))
	for _, v := range values {
		dst = appendBytes(dst, v)
	}
	issued := int64(0)
	for i := range rows {
		r := &rows[i]
		dst = append(dst, byte(r.index%groupSize))
		for _, f := range r.shared() {
			dst = binary.AppendUvarint(dst, places[string(*f)])
		}
		dst = binary.AppendVarint(dst, r.issued-issued)
		dst = binary.AppendVarint(dst, r.notBefore-r.issued/1000)
		dst = binary.AppendVarint(dst, r.notAfter-r.notBefore)
		issued = r.issued
	}
	for i := range rows {
		dst = appendBytes(dst, rows[i].serial)
	}
	for i := range rows {
		dst = appendBytes(appendBytes(dst, rows[i].subject), rows[i].names)
	}
	return dst
}

// readGroup appends the rows of the group that begins with entry first to dst.
// They are parts of plain.
func readGroup(dst []row, plain []byte, first uint64) ([]row, error) {
	r := reader{b: plain}
	n := r.uvarint()
	values := make([][]byte, min(r.uvarint(), uint64(len(plain))))
	if n > groupSize {
		return dst, fmt.Errorf("%w: a group of %d rows", errFile, n)
	}
	for i := range values {
		values[i] = r.bytes()
	}
	start := len(dst)
	dst = slices.Grow(dst, int(n))
	issued := int64(0)
	for range n {
		row := row{index: first + uint64(r.byte())}
		for _, f := range row.shared() {
			if i := r.uvarint(); i < uint64(len(values)) {
				*f = values[i]
			} else {
				r.bad = true
			}
		}
		row.issued = issued + r.varint()
		row.notBefore = row.issued/1000 + r.varint()
		row.notAfter = row.notBefore + r.varint()
		issued = row.issued
		dst = append(dst, row)
	}
	for i := start; i < len(dst); i++ {
		dst[i].serial = r.bytes()
	}
	for i := start; i < len(dst); i++ {
		dst[i].subject, dst[i].names = r.bytes(), r.bytes()
	}
	if r.bad || r.more() {
		return dst[:start], fmt.Errorf("%w: the group of entry %d", errFile, first)
	}
	return dst, nil
}

func appendBytes(dst, b []byte) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(b))), b...)
}

// reader takes apart what was written with varints; a read beyond the end gives
// zeros and makes bad true for good.
type reader struct {
	b   []byte
	at  int
	bad bool
}

// more tells whether something is left.
func (r *reader) more() bool { return r.at < len(r.b) }

func (r *reader) uvarint() uint64 {
	v, n := binary.Uvarint(r.b[r.at:])
	if n <= 0 {
		r.fail()
		return 0
	}
	r.at += n
	return v
}

func (r *reader) varint() int64 {
	v, n := binary.Varint(r.b[r.at:])
	if n <= 0 {
		r.fail()
		return 0
	}
	r.at += n
	return v
}

func (r *reader) fail() { r.bad, r.at = true, len(r.b) }

func (r *reader) byte() byte {
	if !r.more() {
		r.fail()
		return 0
	}
	r.at++
	return r.b[r.at-1]
}

func (r *reader) bytes() []byte { return r.take(r.uvarint()) }

func (r *reader) take(n uint64) []byte {
	if uint64(len(r.b)-r.at) < n {
		r.fail()
		return nil
	}
	end := r.at + int(n)
	v := r.b[r.at:end:end]
	r.at = end
	return v
}

// codec compresses groups. Safe for concurrent use.
type codec struct {
	enc *zstd.Encoder
	dec *zstd.Decoder
}

func newCodec() (*codec, error) {
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithWindowSize(1<<18), zstd.WithEncoderCRC(true))
	if err != nil {
		return nil, err
	}
	dec, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(0), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxMemory(maxGroup))
	if err != nil {
		return nil, err
	}
	return &codec{enc, dec}, nil
}

// maxGroup bounds the memory of decoding: a group of the largest entries, each
// with a certificate whose names are as large.
const maxGroup = groupSize << 18

func (c *codec) encode(plain []byte) []byte { return c.enc.EncodeAll(plain, nil) }

func (c *codec) decode(dst, packed []byte) ([]byte, error) {
	b, err := c.dec.DecodeAll(packed, dst)
	if err != nil {
		return dst, fmt.Errorf("%w: %w", errFile, err)
	}
	return b, nil
}
