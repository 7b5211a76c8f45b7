package sqlite

import (
	"encoding/binary"
	"errors"
	"fmt"
	"runtime"

	"github.com/klauspost/compress/zstd"

	"chirograph.dev/internal/certlog"
)

// derGroup is how many entries' certificates share a pack: enough for zstd to
// find what they have in common, few enough to decode for one of them. Part of
// the format.
const derGroup = 64

// maxDecoded bounds the memory of decoding: a block of the largest entries.
const maxDecoded = certlog.BlockSize * (certlog.MaxEntrySize + 2)

var errPack = errors.New("pack is damaged")

// encoders compress. They are shared; a caller waits for the one before, unless
// the store is being filled.
type encoders struct {
	entries, der *zstd.Encoder
}

func newEncoders(bulk bool) (*encoders, error) {
	concurrency := 1
	if bulk {
		concurrency = runtime.GOMAXPROCS(0)
	}
	entries, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(concurrency), zstd.WithWindowSize(1<<20), zstd.WithEncoderCRC(true))
	if err != nil {
		return nil, err
	}
	// Groups this small get no smaller at the higher levels.
	der, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(concurrency), zstd.WithWindowSize(1<<17), zstd.WithEncoderCRC(true))
	if err != nil {
		return nil, err
	}
	return &encoders{entries: entries, der: der}, nil
}

// newDecoder makes the decoder that all readers share, each with a state of
// its own.
func newDecoder() (*zstd.Decoder, error) {
	return zstd.NewReader(nil, zstd.WithDecoderConcurrency(0), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxMemory(maxDecoded))
}

func (db *DB) buffer() *[]byte {
	if b, ok := db.buffers.Get().(*[]byte); ok {
		return b
	}
	return new([]byte)
}

// bufferKeep is the largest buffer that is kept for the next reader.
const bufferKeep = 16 << 20

func (db *DB) release(b *[]byte) {
	if cap(*b) <= bufferKeep {
		*b = (*b)[:0]
		db.buffers.Put(b)
	}
}

// decode decompresses a pack behind dst.
func (db *DB) decode(dst, pack []byte) ([]byte, error) {
	b, err := db.dec.DecodeAll(pack, dst)
	if err != nil {
		return dst, fmt.Errorf("%w: %w", errPack, err)
	}
	return b, nil
}

// derPack collects the certificates of one group.
type derPack struct {
	first uint64
	plain []byte
}

func (p *derPack) add(idx uint64, der []byte) {
	p.plain = append(p.plain, byte(idx-p.first))
	p.plain = binary.BigEndian.AppendUint32(p.plain, uint32(len(der)))
	p.plain = append(p.plain, der...)
}

// findDER takes one certificate out of a decoded pack; nil when it has none.
func findDER(plain []byte, offset byte) ([]byte, error) {
	for len(plain) > 0 {
		at, der, rest, err := cutDER(plain)
		if err != nil {
			return nil, err
		}
		if at == offset {
			return der, nil
		}
		plain = rest
	}
	return nil, nil
}

// cutDER takes the first certificate off a decoded pack that is not empty.
func cutDER(plain []byte) (offset byte, der, rest []byte, err error) {
	if len(plain) < 5 {
		return 0, nil, nil, errPack
	}
	n := uint64(binary.BigEndian.Uint32(plain[1:]))
	if uint64(len(plain)-5) < n {
		return 0, nil, nil, errPack
	}
	return plain[0], plain[5 : 5+n : 5+n], plain[5+n:], nil
}

func (e *encoders) packEntries(bundle []byte) []byte {
	return e.entries.EncodeAll(bundle, nil)
}

func (e *encoders) packDERs(plain []byte) []byte {
	return e.der.EncodeAll(plain, nil)
}
