package local

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"sync"

	"github.com/klauspost/compress/s2"
)

// A part file whose bytes shrink is a stream of S2 blocks: the head, then
// chunks of a type, a length, a masked CRC-32C of the plain bytes, and a block.
// All blocks but the last hold packedBlock plain bytes, so that a range is
// found by the lengths of the chunks before it.
//
// The library's reader is not used, since it does not tell every damage: it
// passes over chunks of types that it does not know, seeks by an index without
// a checksum, and into an uncompressed block without looking at its checksum.
const (
	packedBlock = 256 << 10 // divides bufferSize
	packedHead  = "\xff\x06\x00\x00S2sTwO"

	// minPacked is how long a body is that is worth it: a short one takes the
	// disk's blocks, and a GET of a plain one goes by sendfile.
	minPacked = 64 << 10
)

// The types of chunks; part of the format.
const (
	chunkPacked = 0
	chunkPlain  = 1
)

// shrinks guesses from the beginning of a body whether packing it saves at
// least a quarter.
func shrinks(beginning []byte) bool {
	if len(beginning) < minPacked {
		return false
	}
	n := s2.EstimateBlockSize(beginning[:minPacked])
	return n >= 0 && n <= minPacked*3/4
}

// packers keeps encoders and decoders, about 600 KiB each, for those who write
// and read now.
type packers struct {
	writers sync.Pool // *s2.Writer
	readers sync.Pool // *unpacker
}

func newPackers() *packers {
	p := &packers{}
	p.writers.New = func() any { return s2.NewWriter(nil, s2.WriterConcurrency(1), s2.WriterBlockSize(packedBlock)) }
	p.readers.New = func() any {
		return &unpacker{chunk: make([]byte, 4+s2.MaxEncodedLen(packedBlock)), block: make([]byte, packedBlock)}
	}
	return p
}

func (p *packers) writer(w io.Writer) *s2.Writer {
	out := p.writers.Get().(*s2.Writer)
	out.Reset(w)
	return out
}

func (p *packers) keepWriter(w *s2.Writer) {
	w.Reset(nil)
	p.writers.Put(w)
}

// reader reads a packed file from a place in the plain bytes on.
func (p *packers) reader(f *os.File, start int64) (*unpacker, error) {
	u := p.readers.Get().(*unpacker)
	u.f, u.rest, u.short = f, nil, false
	if err := u.seek(start); err != nil {
		p.keepReader(u)
		return nil, err
	}
	return u, nil
}

func (p *packers) keepReader(u *unpacker) {
	u.f = nil
	p.readers.Put(u)
}

// unpacker gives the plain bytes of a packed file, none that it has not compared
// with their checksum.
type unpacker struct {
	f            *os.File
	chunk, block []byte
	rest         []byte // plain bytes that were not given yet
	short        bool   // the last block was read
}

var errPacked = errors.New("not a block of the stream")

// header is the type and the length of the rest of a chunk.
func header(b []byte) (kind byte, n int, err error) {
	kind, n = b[0], int(b[1])|int(b[2])<<8|int(b[3])<<16
	if kind > chunkPlain || n < 5 || n > 4+s2.MaxEncodedLen(packedBlock) {
		return 0, 0, errPacked
	}
	return kind, n, nil
}

func (u *unpacker) seek(start int64) error {
	head := u.chunk[:len(packedHead)]
	if _, err := u.f.ReadAt(head, 0); err != nil {
		return fmt.Errorf("reading the head: %w", err)
	}
	if string(head) != packedHead {
		return errPacked
	}
	at := int64(len(packedHead))
	for range start / packedBlock {
		if _, err := u.f.ReadAt(u.chunk[:4], at); err != nil {
			return fmt.Errorf("looking for a block: %w", err)
		}
		_, n, err := header(u.chunk)
		if err != nil {
			return err
		}
		at += 4 + int64(n)
	}
	if _, err := u.f.Seek(at, io.SeekStart); err != nil {
		return fmt.Errorf("looking for a block: %w", err)
	}
	skip := int(start % packedBlock)
	if skip == 0 {
		return nil
	}
	if err := u.next(); err != nil {
		return err
	}
	if skip >= len(u.rest) {
		return io.ErrUnexpectedEOF
	}
	u.rest = u.rest[skip:]
	return nil
}

// next reads a block into rest; io.ErrUnexpectedEOF when there is none.
func (u *unpacker) next() error {
	if _, err := io.ReadFull(u.f, u.chunk[:4]); err != nil {
		return cut(err)
	}
	kind, n, err := header(u.chunk)
	if err != nil {
		return err
	}
	if u.short {
		return errPacked
	}
	b := u.chunk[:n]
	if _, err := io.ReadFull(u.f, b); err != nil {
		return cut(err)
	}
	sum := binary.LittleEndian.Uint32(b)
	b = b[4:]
	if kind == chunkPacked {
		if size, err := s2.DecodedLen(b); err != nil || size > packedBlock {
			return errPacked
		}
		if b, err = s2.Decode(u.block, b); err != nil {
			return err
		}
	}
	crc := crc32.Checksum(b, castagnoli)
	if len(b) > packedBlock || (crc>>15|crc<<17)+0xa282ead8 != sum {
		return errors.New("another checksum")
	}
	u.rest, u.short = b, len(b) < packedBlock
	return nil
}

func cut(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)
