package crl

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"chirograph.dev/internal/bucket"
	"chirograph.dev/internal/ca"
	"chirograph.dev/internal/store"
)

// How long caches may keep a list; a delta is there for its age alone
// (revocation.md 4.3). Half of the validity, a day at least, is always more.
const (
	cacheBase  = "max-age=3600"
	cacheDelta = "max-age=60"
)

func cacheControl(delta bool) string {
	if delta {
		return cacheDelta
	}
	return cacheBase
}

// open opens the file of a list as it was signed; fs.ErrNotExist when it is not
// there any more. After a crash it may still be called new.
func (s *Service) open(c *store.CRL, delta bool) (*os.File, error) {
	signed, path := signedOf(c, delta), s.path(c, delta)
	for _, name := range []string{path, path + suffixNew} {
		f, err := os.Open(name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		info, err := f.Stat()
		if err == nil && info.Size() == signed.Bytes {
			digest, err := hashOf(f, signed.Bytes)
			if err == nil && bytes.Equal(digest[:], signed.SHA256) {
				if name == path {
					return f, nil
				}
				return f, os.Rename(name, path)
			}
		}
		if err := errors.Join(err, f.Close()); err != nil {
			return nil, err
		}
	}
	return nil, fs.ErrNotExist
}

// kept tells whether a list that was signed can be written as it is.
func (s *Service) kept(c *store.CRL, delta bool) bool {
	f, err := s.open(c, delta)
	if err != nil {
		return false
	}
	return f.Close() == nil
}

// write writes a list, or its delta, as it was signed, and records it. Its
// errors are *failure, or those of records. A crash before the record repeats
// it with the same bytes.
func (s *Service) write(ctx context.Context, a *ca.Authority, c *store.CRL, delta bool) error {
	signed := signedOf(c, delta)
	f, err := s.open(c, delta)
	if err != nil {
		return &failure{reasonWrite, reasonWrite, "write", err}
	}
	err = s.put(ctx, a, c, delta, f)
	if err := errors.Join(err, f.Close()); err != nil {
		return notWritten(err)
	}
	s.metrics.generated.WithLabelValues(a.Record.ARN).Inc()
	s.cfg.Log.InfoContext(ctx, "a CRL was written", "event", event, "result", "success", "ca", a.Record.ARN, "bucket", c.Bucket, "key", Key(c, delta),
		"number", signed.Number, "entries", signed.Entries, "bytes", signed.Bytes, "covered", signed.Covered)
	now, number := s.cfg.Now(), signed.Number
	err = s.update(ctx, c.CA, c.ID, func(c *store.CRL) {
		if signed := signedOf(c, delta); signed.Number == number {
			signed.WrittenAt = now
		}
	})
	if err != nil {
		return err
	}
	as, err := s.cfg.Records.CRL(ctx, c.CA, c.ID)
	if err != nil {
		return err
	}
	*c = *as
	if !delta {
		s.metrics.written(a.Record.ARN, c)
	}
	return nil
}

func (s *Service) put(ctx context.Context, a *ca.Authority, c *store.CRL, delta bool, f *os.File) error {
	size := signedOf(c, delta).Bytes
	ctx, cancel := context.WithTimeout(ctx, writeTimeout+time.Duration(size>>20)*writeTimeout/8)
	defer cancel()
	client, err := s.cfg.Destination(ctx, a.Record.Account, a.Record.ARN)
	if err != nil {
		return err
	}
	key := Key(c, delta)
	if err := client.GateCRL(ctx, bucket.CRLGateRequest{Bucket: c.Bucket, Keys: []string{key}, ACL: c.ACL, CAARN: a.Record.ARN, Account: a.Record.Account}); err != nil {
		return err
	}
	return client.PutCRL(ctx, bucket.Object{Bucket: c.Bucket, Key: key, Account: a.Record.Account}, c.ACL, cacheControl(delta), f, size)
}

// MirrorPrefix is the path that Mirror serves: below it the bucket, and the key.
const MirrorPrefix = "/crl/"

// Mirror serves the newest list of every place at /crl/<bucket>/<key>, also one
// that its bucket did not take yet.
func (s *Service) Mirror() http.Handler { return http.HandlerFunc(s.mirror) }

func (s *Service) mirror(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "CRLs are read with GET and HEAD.", http.StatusMethodNotAllowed)
		return
	}
	name, key, ok := strings.Cut(strings.TrimPrefix(r.URL.Path, MirrorPrefix), "/")
	var f *os.File
	err := fs.ErrNotExist
	if ok && strings.HasPrefix(r.URL.Path, MirrorPrefix) {
		f, err = os.Open(filepath.Join(s.cfg.Dir, FileName(name, key)))
	}
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			s.cfg.Log.ErrorContext(r.Context(), "a CRL cannot be read", "bucket", name, "key", key, "error", err)
			http.Error(w, "The CRL cannot be read now.", http.StatusInternalServerError)
			return
		}
		http.Error(w, "There is no such CRL.", http.StatusNotFound)
		return
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		s.cfg.Log.ErrorContext(r.Context(), "a CRL cannot be read", "bucket", name, "key", key, "error", err)
		http.Error(w, "The CRL cannot be read now.", http.StatusInternalServerError)
		return
	}
	h := w.Header()
	h.Set("Content-Type", bucket.ContentTypeCRL)
	h.Set("Cache-Control", cacheControl(strings.HasSuffix(key, "-delta.crl")))
	http.ServeContent(w, r, "", info.ModTime(), f)
}
