package proof

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"regexp"
	"strconv"

	"github.com/klauspost/compress/zstd"

	"chirograph.dev/internal/certlog"
)

// PackSize is the number of entries of a full pack: four blocks. Part of the
// format.
const PackSize = 4 * certlog.BlockSize

// maxFrame is the most that the entries of a block can be in bytes, each with
// its length: what a frame may decompress to.
const maxFrame = certlog.BlockSize * (certlog.MaxEntrySize + 2)

// leastZstdBlock is what the blocks of a frame hold on average at the least.
// Without it the headers of empty ones would be walked over for hours.
const leastZstdBlock = 4 << 10

// EntriesFolder is the folder of the packs in a log's folder, CheckpointName
// the log's newest signed checkpoint there. Part of the format.
const (
	EntriesFolder  = "entries"
	CheckpointName = "checkpoint"
)

// LogFolder is the object key prefix of a log's files, without a slash at the
// end: the first epoch's for 1, and so on. Part of the format.
func LogFolder(ca string, epoch int) string {
	if epoch <= 1 {
		return "audit-report/" + ca + "/log"
	}
	return "audit-report/" + ca + "/log-" + strconv.Itoa(epoch)
}

// PackName is the name, within a log's folder, of the pack with the entries
// [lo, hi). lo is a multiple of PackSize. A pack is one zstd frame for each
// block of the log, in order; a frame holds the block's entries, as many as
// there were, each in the form of certlog.AppendBundled. Immutable; a pack of
// the same lo that reaches farther is another file. Part of the format.
func PackName(lo, hi uint64) string { return fmt.Sprintf("%s/%012d-%012d.zst", EntriesFolder, lo, hi) }

var packName = regexp.MustCompile(`^([0-9]{12,19})-([0-9]{12,19})\.zst$`)

// ParsePackName reads the name of a file in EntriesFolder.
func ParsePackName(name string) (lo, hi uint64, ok bool) {
	m := packName.FindStringSubmatch(name)
	if m == nil {
		return 0, 0, false
	}
	lo, err1 := strconv.ParseUint(m[1], 10, 63)
	hi, err2 := strconv.ParseUint(m[2], 10, 63)
	ok = err1 == nil && err2 == nil && lo%PackSize == 0 && lo < hi && hi-lo <= PackSize && PackName(lo, hi) == EntriesFolder+"/"+name
	return lo, hi, ok
}

// Encoder makes frames of packs. Not safe for concurrent use.
type Encoder struct{ zstd *zstd.Encoder }

// NewEncoder makes an Encoder.
func NewEncoder() (*Encoder, error) {
	e, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(1<<20), zstd.WithEncoderCRC(true))
	if err != nil {
		return nil, fmt.Errorf("making the compressor: %w", err)
	}
	return &Encoder{e}, nil
}

// AppendFrame appends the frame of a block, or of as much of one as there is,
// to dst. bundled holds the entries in the form of certlog.AppendBundled.
func (e *Encoder) AppendFrame(dst, bundled []byte) []byte { return e.zstd.EncodeAll(bundled, dst) }

// Errors of packs: a file that the log needs is not there, or it is none of the
// form of PackName.
var (
	ErrNoPack = errors.New("entries of the log are missing")
	ErrPack   = errors.New("malformed pack")
)

// ErrMaxBlock says that VerifyConfig.MaxBlock does not do for the log; it wraps
// ErrCannotCheck.
var ErrMaxBlock = fmt.Errorf("%w: the blocks of the log are too large", ErrCannotCheck)

// Packs reads the packs of a log's folder. Safe for concurrent use.
type Packs struct {
	folder fs.FS
	most   int64           // bytes of a block
	files  map[uint64]pack // by lo
	end    uint64          // entries [0, end) are there
}

type pack struct {
	name   string
	hi     uint64
	frames []frame // one for each block
}

type frame struct{ offset, length int64 }

// OpenPacks looks at the folder of a log and finds the frames in its packs: of
// several with one beginning the one that reaches farthest. Files of other
// names are nobody's. The error wraps ErrPack when a file is not a pack;
// errors of reading wrap the file system's.
func OpenPacks(folder fs.FS) (*Packs, error) { return openPacks(folder, maxFrame) }

// openPacks is OpenPacks of a log whose blocks have most bytes: a larger one is
// tooLarge.
func openPacks(folder fs.FS, most int64) (*Packs, error) {
	p := &Packs{folder: folder, most: most, files: map[uint64]pack{}}
	files, err := fs.ReadDir(folder, EntriesFolder)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("reading the log's folder: %w", err)
	}
	for _, f := range files {
		lo, hi, ok := ParsePackName(f.Name())
		if ok && hi > p.files[lo].hi {
			p.files[lo] = pack{name: EntriesFolder + "/" + f.Name(), hi: hi}
		}
	}
	for f, ok := p.files[p.end]; ok; f, ok = p.files[p.end] {
		if f.frames, err = findFrames(folder, f.name, most); err != nil {
			return nil, err
		}
		if want := (f.hi - p.end + certlog.BlockSize - 1) / certlog.BlockSize; uint64(len(f.frames)) != want {
			return nil, fmt.Errorf("%w: %s has %d frames, its name asks for %d", ErrPack, f.name, len(f.frames), want)
		}
		p.files[p.end] = f
		p.end = f.hi
	}
	return p, nil
}

// End is the number of entries that the packs have without a gap.
func (p *Packs) End() uint64 { return p.end }

// tooLarge is the error of a block that has more than most bytes: no log has one
// of more than maxFrame, and one of less says nothing about the log.
func tooLarge(name string, most int64) error {
	if most < maxFrame {
		return fmt.Errorf("%w: %s has one of more than %d bytes", ErrMaxBlock, name, most)
	}
	return fmt.Errorf("%w: %s: more than a block can be", ErrPack, name)
}

// findFrames walks over the headers of a pack (RFC 8878 3.1.1).
func findFrames(folder fs.FS, name string, most int64) ([]frame, error) {
	f, err := folder.Open(name)
	if err != nil {
		return nil, fmt.Errorf("opening pack: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("opening pack: %w", err)
	}
	r, ok := f.(io.ReaderAt)
	if !ok {
		return nil, fmt.Errorf("opening pack %s: files of this kind cannot be read at an offset", name)
	}
	size := info.Size()
	bad := func(what string) ([]frame, error) { return nil, fmt.Errorf("%w: %s: %s", ErrPack, name, what) }
	var frames []frame
	var buf [zstd.HeaderMaxSize]byte
	for at := int64(0); at < size; {
		if len(frames) == PackSize/certlog.BlockSize {
			return bad("more frames than blocks")
		}
		n, err := r.ReadAt(buf[:], at)
		if err != nil && !errors.Is(err, io.EOF) {
			return nil, fmt.Errorf("reading pack: %w", err)
		}
		var h zstd.Header
		if err := h.Decode(buf[:n]); err != nil || h.Skippable || h.DictionaryID != 0 {
			return bad("not a zstd frame")
		}
		if h.HasFCS && h.FrameContentSize > uint64(most) {
			return nil, tooLarge(name, most)
		}
		end := at + int64(h.HeaderSize)
		blocks := int64(0)
		for last := false; !last; blocks++ {
			if end+3 > size {
				return bad("it ends early")
			}
			// What does not shrink has 3 bytes more for every 128 KiB.
			if end-at > most+most>>10+64 {
				return nil, tooLarge(name, most)
			}
			if blocks > most/leastZstdBlock {
				return bad("more zstd blocks than a block has")
			}
			if _, err := r.ReadAt(buf[:3], end); err != nil {
				return nil, fmt.Errorf("reading pack: %w", err)
			}
			b := uint32(buf[0]) | uint32(buf[1])<<8 | uint32(buf[2])<<16
			last = b&1 != 0
			switch length := int64(b >> 3); b >> 1 & 3 {
			case 0, 2: // raw, compressed
				end += 3 + length
			case 1: // one byte, repeated
				end += 4
			default:
				return bad("a block of an unknown type")
			}
		}
		if h.HasCheckSum {
			end += 4
		}
		if end > size {
			return bad("it ends early")
		}
		frames = append(frames, frame{at, end - at})
		at = end
	}
	return frames, nil
}

// PackReader reads blocks of a log, one at a time, into memory of its own. Not
// safe for concurrent use: there is one for each worker.
type PackReader struct {
	packs      *Packs
	dec        *zstd.Decoder
	compressed []byte
	name       string  // of the open file
	file       fs.File // nil: none
}

// Reader makes a PackReader; Close ends it.
func (p *Packs) Reader() (*PackReader, error) {
	d, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(uint64(p.most)), zstd.WithDecodeAllCapLimit(false))
	if err != nil {
		return nil, fmt.Errorf("making the decompressor: %w", err)
	}
	return &PackReader{packs: p, dec: d}, nil
}

// Close ends the reader.
func (r *PackReader) Close() {
	r.dec.Close()
	if r.file != nil {
		r.file.Close()
	}
}

// Block gives the entries of block n, as many as there are, in the form of
// certlog.AppendBundled: in dst, which grows when it must. The error wraps
// ErrNoPack or ErrPack, or is the file system's.
func (r *PackReader) Block(dst []byte, n uint64) ([]byte, error) {
	lo := n * certlog.BlockSize / PackSize * PackSize
	p, ok := r.packs.files[lo]
	i := n - lo/certlog.BlockSize
	if !ok || i >= uint64(len(p.frames)) {
		return nil, fmt.Errorf("%w: from %d on", ErrNoPack, n*certlog.BlockSize)
	}
	if r.name != p.name {
		if r.file != nil {
			r.file.Close()
			r.file, r.name = nil, ""
		}
		f, err := r.packs.folder.Open(p.name)
		if err != nil {
			return nil, fmt.Errorf("opening pack: %w", err)
		}
		r.file, r.name = f, p.name
	}
	f := p.frames[i]
	if int64(cap(r.compressed)) < f.length {
		r.compressed = make([]byte, f.length+f.length/8)
	}
	r.compressed = r.compressed[:f.length]
	if _, err := r.file.(io.ReaderAt).ReadAt(r.compressed, f.offset); err != nil {
		return nil, fmt.Errorf("reading pack %s: %w", p.name, err)
	}
	block, err := r.dec.DecodeAll(r.compressed, dst[:0])
	if errors.Is(err, zstd.ErrDecoderSizeExceeded) || errors.Is(err, zstd.ErrWindowSizeExceeded) {
		return nil, tooLarge(p.name, r.packs.most)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrPack, p.name, err)
	}
	return block, nil
}

// splitBlock finds the entries of a block: entry i is
// block[starts[i]+2 : starts[i+1]]. The error wraps ErrPack.
func splitBlock(block []byte, starts []uint32) ([]uint32, error) {
	starts = starts[:0]
	at := 0
	for at < len(block) {
		starts = append(starts, uint32(at))
		if len(block)-at < 2 || len(starts) > certlog.BlockSize {
			return nil, fmt.Errorf("%w: not a bundle of at most %d entries", ErrPack, certlog.BlockSize)
		}
		at += 2 + int(binary.BigEndian.Uint16(block[at:]))
	}
	if at != len(block) {
		return nil, fmt.Errorf("%w: its last entry ends early", ErrPack)
	}
	return append(starts, uint32(at)), nil
}
