package auditreport

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"

	"chirograph.dev/internal/bucket"
	"chirograph.dev/internal/pace"
	"chirograph.dev/internal/proof"
	"chirograph.dev/internal/store"
)

// files is what lies in the bucket for a report: the report, its manifest, and
// the log's folder, whose packs it is as a file system. What others may wait
// for in the bucket service is done at the server's own priority.
type files struct {
	ctx    context.Context // of the reading as a whole: files have none
	client *bucket.Client
	report *store.AuditReport
	prefix string // key of the log's folder, with a slash
	packs  []packFile
}

// packFile is a file of the log's folder; it is its own fs.FileInfo.
type packFile struct {
	name   string
	lo, hi uint64
	size   int64
}

func (f packFile) Name() string     { return f.name }
func (f packFile) Size() int64      { return f.size }
func (packFile) Mode() fs.FileMode  { return 0o444 }
func (packFile) ModTime() time.Time { return time.Time{} }
func (packFile) IsDir() bool        { return false }
func (packFile) Sys() any           { return nil }

// manifest reads the report's manifest; nil when there is none. Of one that is
// longer than any it gives what no manifest is, either.
func (f *files) manifest() (signed []byte, err error) {
	err = pace.Hurry(func() (err error) {
		signed, err = f.client.Read(f.ctx, f.report.Bucket, f.report.Account, f.report.Key+proof.ManifestSuffix, "", proof.MaxManifest)
		return err
	})
	switch {
	case errors.Is(err, bucket.ErrNoObject):
		return nil, nil
	case errors.Is(err, bucket.ErrTooLong):
		return []byte("too long"), nil
	}
	return signed, err
}

// list looks what packs the log's folder has of the entries up to end. Further
// ones, which anybody may have put there, nobody asks for.
func (f *files) list(prefix string, end uint64) error {
	f.prefix = prefix
	return pace.Hurry(func() error {
		return f.client.ListSizes(f.ctx, f.report.Bucket, f.report.Account, prefix+proof.EntriesFolder+"/", func(key string, size int64) error {
			if lo, hi, ok := proof.ParsePackName(path.Base(key)); ok && lo < end {
				f.packs = append(f.packs, packFile{path.Base(key), lo, hi, size})
			}
			return nil
		})
	})
}

// reach is how many entries the packs have without a gap; they are listed in
// the order of their first and then of their last entry.
func (f *files) reach() (end uint64) {
	for _, p := range f.packs {
		if p.lo <= end {
			end = max(end, p.hi)
		}
	}
	return end
}

// open looks at an object, to read it at any place.
func (f *files) open(key string) (o *object, err error) {
	err = pace.Hurry(func() error {
		r, err := f.client.Open(f.ctx, f.report.Bucket, f.report.Account, key)
		o = &object{Reader: r}
		return err
	})
	return o, err
}

// ReadDir implements fs.ReadDirFS.
func (f *files) ReadDir(name string) ([]fs.DirEntry, error) {
	if name != proof.EntriesFolder {
		return nil, &fs.PathError{Op: "readdir", Path: name, Err: fs.ErrNotExist}
	}
	list := make([]fs.DirEntry, len(f.packs))
	for i, p := range f.packs {
		list[i] = fs.FileInfoToDirEntry(p)
	}
	return list, nil
}

// Open implements fs.FS.
func (f *files) Open(name string) (fs.File, error) {
	base, ok := strings.CutPrefix(name, proof.EntriesFolder+"/")
	i := slices.IndexFunc(f.packs, func(p packFile) bool { return p.name == base })
	if !ok || i < 0 {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	o, err := f.open(f.prefix + name)
	if err != nil {
		return nil, err
	}
	o.info = packFile{name: base, size: o.Size()}
	return o, nil
}

// object is an object of the bucket; one of the log's folder is a file.
type object struct {
	*bucket.Reader
	info packFile
	at   int64
}

// ReadAt implements io.ReaderAt.
func (o *object) ReadAt(p []byte, at int64) (n int, err error) {
	err = pace.Hurry(func() (err error) {
		n, err = o.Reader.ReadAt(p, at)
		return err
	})
	return n, err
}

// Read implements fs.File.
func (o *object) Read(p []byte) (int, error) {
	n, err := o.ReadAt(p, o.at)
	o.at += int64(n)
	if n > 0 && errors.Is(err, io.EOF) {
		err = nil
	}
	return n, err
}

// Stat implements fs.File.
func (o *object) Stat() (fs.FileInfo, error) { return o.info, nil }

// Close implements fs.File.
func (o *object) Close() error { return nil }
