package local

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/klauspost/compress/s2"
	"github.com/minio/crc64nvme"
)

// fileID names a part file: 48 bits of milliseconds, so that the index of
// extents grows at its end, and 80 random bits.
type fileID [16]byte

func newFileID(now time.Time) fileID {
	var id fileID
	_, _ = rand.Read(id[6:]) // crypto/rand.Read never fails
	ms := uint64(now.UnixMilli())
	binary.BigEndian.PutUint16(id[0:], uint16(ms>>32))
	binary.BigEndian.PutUint32(id[2:], uint32(ms))
	return id
}

func (id fileID) String() string { return hex.EncodeToString(id[:]) }

// time is when the file was begun. A part file is made as old as that, so that
// one which was written to later shows it.
func (id fileID) time() time.Time {
	return time.UnixMilli(int64(binary.BigEndian.Uint16(id[0:]))<<32 | int64(binary.BigEndian.Uint32(id[2:])))
}

// files is the folder of part files: parts/XX/ID, where XX is the last byte of
// ID. A part file is written once, under a temporary name, and never changed.
// What refers to it is in the index; a file that nothing refers to is garbage.
type files struct {
	dir     string
	now     func() time.Time
	packers *packers

	mu      sync.Mutex
	writing map[fileID]struct{} // named, but perhaps not yet in the index
	readers map[uint64]struct{} // tickets of those who may still open a file that the index has let go
	ticket  uint64
	dead    []deadFile // in the order of after
}

type deadFile struct {
	id    fileID
	after uint64 // readers with a ticket up to this one may need it
}

func openFiles(dir string, now func() time.Time) (*files, error) {
	f := &files{dir: dir, now: now, packers: newPackers(), writing: map[fileID]struct{}{}, readers: map[uint64]struct{}{}}
	// What is in tmp was never acknowledged.
	if err := os.RemoveAll(f.tmp()); err != nil {
		return nil, fmt.Errorf("clearing temporary part files: %w", err)
	}
	for i := range 256 {
		if err := os.MkdirAll(f.shard(byte(i)), 0o700); err != nil {
			return nil, fmt.Errorf("making the folders of part files: %w", err)
		}
	}
	if err := os.MkdirAll(f.tmp(), 0o700); err != nil {
		return nil, fmt.Errorf("making the folder of temporary part files: %w", err)
	}
	for _, d := range []string{filepath.Join(dir, "parts"), dir} {
		if err := syncDir(d); err != nil {
			return nil, err
		}
	}
	return f, nil
}

func (f *files) tmp() string { return filepath.Join(f.dir, "tmp") }
func (f *files) shard(b byte) string {
	return filepath.Join(f.dir, "parts", hex.EncodeToString([]byte{b}))
}
func (f *files) path(id fileID) string    { return filepath.Join(f.shard(id[15]), id.String()) }
func (f *files) tmpPath(id fileID) string { return filepath.Join(f.tmp(), id.String()) }

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("opening a folder to sync it: %w", err)
	}
	defer d.Close()
	if err := d.Sync(); err != nil {
		return fmt.Errorf("syncing a folder: %w", err)
	}
	return nil
}

// partFile is a part file being written. It ends with commit or abort.
type partFile struct {
	id     fileID
	files  *files
	file   *os.File
	packed *s2.Writer // nil: the bytes go into the file as they are
	stored int64      // length of a packed file, once committed; 0: it is plain
}

func (f *files) create(packed bool) (*partFile, error) {
	id := newFileID(f.now())
	file, err := os.OpenFile(f.tmpPath(id), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, &storageError{err}
	}
	f.mu.Lock()
	f.writing[id] = struct{}{}
	f.mu.Unlock()
	p := &partFile{id: id, files: f, file: file}
	if packed {
		p.packed = f.packers.writer(file)
	}
	return p, nil
}

// write appends b, which is bufferSize long in all calls but the last.
func (p *partFile) write(b []byte) (err error) {
	if p.packed != nil {
		err = p.packed.EncodeBuffer(b)
	} else {
		_, err = p.file.Write(b)
	}
	if err != nil {
		return &storageError{err}
	}
	return nil
}

// finish ends the stream of a packed file.
func (p *partFile) finish() error {
	if p.packed == nil {
		return nil
	}
	err := p.packed.Close()
	p.files.packers.keepWriter(p.packed)
	p.packed = nil
	if err != nil {
		return err
	}
	st, err := p.file.Stat()
	if err == nil {
		p.stored = st.Size()
	}
	return err
}

// commit makes the file durable under its name. The caller then enters it in
// the index and calls files.settle; a crash between the two leaves a file
// that nothing refers to, which the next start collects.
func (p *partFile) commit() error {
	err := p.finish()
	if err == nil {
		err = os.Chtimes(p.files.tmpPath(p.id), time.Time{}, p.id.time())
	}
	if err == nil {
		err = p.file.Sync()
	}
	if cerr := p.file.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(p.files.tmpPath(p.id), p.files.path(p.id))
	}
	if err == nil {
		err = syncDir(p.files.shard(p.id[15]))
	}
	if err != nil {
		p.discard()
		return &storageError{err}
	}
	return nil
}

// abort removes a file that was not committed.
func (p *partFile) abort() {
	_ = p.finish() // the file goes
	p.file.Close()
	p.discard()
}

func (p *partFile) discard() {
	// A leftover is collected at the next start, so a failing removal is not an error.
	_ = os.Remove(p.files.tmpPath(p.id))
	_ = os.Remove(p.files.path(p.id))
	p.files.settle(p.id)
}

// settle says that the index refers to the file, or never will.
func (f *files) settle(id fileID) {
	f.mu.Lock()
	delete(f.writing, id)
	f.mu.Unlock()
}

func (f *files) isWriting(id fileID) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	_, ok := f.writing[id]
	return ok
}

// enter gives a reader's ticket: files that the index refers to now are kept
// until leave.
func (f *files) enter() uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ticket++
	f.readers[f.ticket] = struct{}{}
	return f.ticket
}

// leave gives a ticket back and says whether files wait for removal.
func (f *files) leave(ticket uint64) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.readers, ticket)
	return len(f.dead) > 0
}

// bury marks files for removal that the durable index does not refer to.
func (f *files) bury(ids []fileID) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, id := range ids {
		f.dead = append(f.dead, deadFile{id: id, after: f.ticket})
	}
}

// unlink removes the buried files that no reader can need. A file that stays
// because removing failed is found again at the next start.
func (f *files) unlink() (n int, err error) {
	f.mu.Lock()
	oldest := f.ticket + 1
	for t := range f.readers {
		oldest = min(oldest, t)
	}
	var ready []fileID
	keep := f.dead[:0]
	for _, d := range f.dead {
		if d.after < oldest {
			ready = append(ready, d.id)
		} else {
			keep = append(keep, d)
		}
	}
	f.dead = keep
	f.mu.Unlock()
	for _, id := range ready {
		if rerr := os.Remove(f.path(id)); rerr != nil && !os.IsNotExist(rerr) {
			err = rerr
			continue
		}
		n++
	}
	return n, err
}

// each calls fn with the names in one shard, a bounded number at a time.
func (f *files) each(shard byte, fn func([]fileID) error) error {
	d, err := os.Open(f.shard(shard))
	if err != nil {
		return fmt.Errorf("listing part files: %w", err)
	}
	defer d.Close()
	for {
		names, err := d.Readdirnames(1024)
		var ids []fileID
		for _, name := range names {
			b, derr := hex.DecodeString(name)
			if derr != nil || len(b) != len(fileID{}) || b[15] != shard {
				continue // not ours
			}
			ids = append(ids, fileID(b))
		}
		if len(ids) > 0 {
			if ferr := fn(ids); ferr != nil {
				return ferr
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return fmt.Errorf("listing part files: %w", err)
		}
	}
}

// any tells whether there is a part file.
func (f *files) any() (bool, error) {
	for shard := range 256 {
		found := false
		if err := f.each(byte(shard), func([]fileID) error { found = true; return nil }); found || err != nil {
			return found, err
		}
	}
	return false, nil
}

// damageError says that a part file is not what was written.
type damageError struct {
	file fileID
	err  error
}

func (e *damageError) Error() string {
	return fmt.Sprintf("part file %s is damaged: %v", e.file, e.err)
}
func (e *damageError) Unwrap() error { return e.err }

// extentReader reads the bytes of extents one file after the other. It keeps
// its files from being collected until Close. A file that is gone, too short,
// or packed and not as it was written is a *damageError.
type extentReader struct {
	s       *Service
	ticket  uint64
	extents []extent
	current fileID
	file    *os.File
	packed  *unpacker // nil: the open file is plain
	left    int64     // of the open extent
	closed  bool
}

func (r *extentReader) damaged(err error) error { return &damageError{file: r.current, err: err} }

// unopened is the error of opening or finding the current file.
func (r *extentReader) unopened(err error) error {
	if os.IsNotExist(err) {
		return r.damaged(err)
	}
	return fmt.Errorf("opening a part file: %w", err)
}

func (r *extentReader) closeFile() {
	if r.packed != nil {
		r.s.files.packers.keepReader(r.packed)
		r.packed = nil
	}
	if r.file != nil {
		r.file.Close()
		r.file = nil
	}
}

// next opens an extent; io.EOF after the last, whose file stays open.
func (r *extentReader) next() (err error) {
	if len(r.extents) == 0 {
		return io.EOF
	}
	r.closeFile()
	e := r.extents[0]
	r.extents, r.current = r.extents[1:], e.file
	if r.file, err = os.Open(r.s.files.path(e.file)); err != nil {
		r.file = nil
		return r.unopened(err)
	}
	if e.stored > 0 {
		r.packed, err = r.s.files.packers.reader(r.file, e.start)
	} else if e.start > 0 {
		_, err = r.file.Seek(e.start, io.SeekStart)
	}
	if err != nil {
		r.closeFile()
		return r.damaged(err)
	}
	r.left = e.size
	return nil
}

// more makes bytes of the open extent ready; io.EOF after the last extent.
func (r *extentReader) more() error {
	for r.file == nil || r.left == 0 {
		if err := r.next(); err != nil {
			return err
		}
	}
	if r.packed != nil && len(r.packed.rest) == 0 {
		if err := r.packed.next(); err != nil {
			return r.damaged(err)
		}
	}
	return nil
}

func (r *extentReader) Read(p []byte) (int, error) {
	if err := r.more(); err != nil {
		return 0, err
	}
	if int64(len(p)) > r.left {
		p = p[:r.left]
	}
	if r.packed != nil {
		n := copy(p, r.packed.rest)
		r.packed.rest = r.packed.rest[n:]
		r.left -= int64(n)
		return n, nil
	}
	n, err := r.file.Read(p)
	r.left -= int64(n)
	if err == io.EOF {
		if r.left > 0 && n == 0 {
			return 0, r.damaged(io.ErrUnexpectedEOF)
		}
		err = nil
	}
	return n, err
}

// WriteTo lets the kernel send file to socket where it can, and gives w the
// blocks of a packed file as they are.
func (r *extentReader) WriteTo(w io.Writer) (int64, error) {
	var total int64
	for {
		err := r.more()
		if err == io.EOF {
			return total, nil
		}
		if err != nil {
			return total, err
		}
		var n int64
		if r.packed != nil {
			b := r.packed.rest[:min(int64(len(r.packed.rest)), r.left)]
			var m int
			m, err = w.Write(b)
			n, r.packed.rest = int64(m), r.packed.rest[m:]
		} else if n, err = io.CopyN(w, r.file, r.left); err == io.EOF {
			err = r.damaged(io.ErrUnexpectedEOF)
		}
		total += n
		r.left -= n
		if err != nil {
			return total, err
		}
	}
}

// check reads e, which is a whole extent of the index, unless its file was not
// touched since it was committed. One that is untouched may still be damaged by
// its disk, which the checksum of a packed file shows to who reads it.
func (r *extentReader) check(ctx context.Context, e extent) error {
	r.current = e.file
	path := r.s.files.path(e.file)
	st, err := os.Stat(path)
	if err != nil {
		return r.unopened(err)
	}
	if e.stored > 0 && st.Size() != e.stored || e.stored == 0 && st.Size() < e.start+e.size {
		return r.damaged(fmt.Errorf("it is %d bytes long", st.Size()))
	}
	made := e.file.time()
	if st.ModTime().Equal(made) {
		return nil
	}
	crc := crc64nvme.New()
	r.extents = append(r.extents[:0], e)
	if _, err := r.s.readThrough(ctx, crc, r); err != nil {
		return err
	}
	if crc.Sum64() != e.crc64 {
		return r.damaged(errors.New("another checksum"))
	}
	at, err := r.file.Seek(0, io.SeekCurrent)
	if err == nil && e.start == 0 && at == st.Size() && (r.packed == nil || len(r.packed.rest) == 0) { // that was all of it
		// Where this fails, the next copy reads the file once more.
		_ = os.Chtimes(path, time.Time{}, made)
	}
	return nil
}

func (r *extentReader) Close() error {
	if r.closed {
		return nil
	}
	r.closed = true
	r.closeFile()
	if r.s.files.leave(r.ticket) {
		r.s.wake()
	}
	return nil
}
