package crl

import (
	"bufio"
	"context"
	"crypto"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/big"
	"os"
	"path/filepath"
	"time"

	"chirograph.dev/internal/ca"
	"chirograph.dev/internal/certlog"
	"chirograph.dev/internal/issuance"
	"chirograph.dev/internal/pca"
	"chirograph.dev/internal/store"
)

// typicalSignature is the size of a signature in octets for as long as it is not
// known; of another one only the outermost length is another, nearly always.
const typicalSignature = 256

// syncAside is from how many octets on a list is synced before its CA is locked.
const syncAside = 1 << 20

// FileName is the file in Config.Dir that has the newest list of a place.
func FileName(bucketName, key string) string {
	sum := sha256.Sum256([]byte(bucketName + "/" + key))
	return hex.EncodeToString(sum[:16]) + ".crl"
}

// Key is the key of the object that a list, or its delta, is in a bucket.
func Key(c *store.CRL, delta bool) string {
	if delta {
		return deltaOf(c.Key)
	}
	return c.Key
}

func (s *Service) path(c *store.CRL, delta bool) string {
	return filepath.Join(s.cfg.Dir, FileName(c.Bucket, Key(c, delta)))
}

// suffixNew is what a file is called until its list is in the log.
const suffixNew = ".new"

// make makes a list, or its delta, and sets Base or Delta of c to it. Its errors
// are *failure, errMoved or those of records.
//
// The list is a reading of the log's first entries; it is in the log, and its
// file synced, before anybody sees it. A crash before the commit loses a
// signature that nobody received, and leaves a file that the next making
// replaces; a crash after it leaves a record that was not written, and the file
// under one of its two names: it is written as it is.
func (s *Service) make(ctx context.Context, a *ca.Authority, c *store.CRL, delta bool) error {
	s.making.Lock()
	defer s.making.Unlock()
	err := s.build(ctx, a, c, delta)
	if err != nil && !errors.Is(err, errMoved) {
		return &failure{reasonBuild, reasonBuild, "build", err}
	}
	if err == nil && !delta {
		s.prune(ctx, c.CA)
	}
	return err
}

func (s *Service) build(ctx context.Context, a *ca.Authority, c *store.CRL, delta bool) (err error) {
	head, err := s.cfg.Revocations.LogHead(ctx, c.CA)
	if err != nil {
		return err
	}
	own, err := issuance.ReadCertificate(a.Certificate)
	if err != nil {
		return err
	}
	message, err := issuance.NewMessage(own.PublicKey, a.Record.Configuration.SigningAlgorithm)
	if err != nil {
		return err
	}
	now := s.cfg.Now()
	validity := time.Duration(c.Days) * 24 * time.Hour
	signed := store.SignedCRL{
		Number: s.authority(c.CA).next(now), Covered: head.Size, Since: now,
		NextUpdate: now.Add(validity).Truncate(time.Second), Certificate: a.Generation,
	}
	f := frame{
		algorithm: message.Algorithm(), issuer: own.RawSubject, keyID: own.KeyIdentifier,
		thisUpdate: now.Add(-time.Hour), nextUpdate: signed.NextUpdate, number: signed.Number,
	}
	var lo uint64
	switch {
	case delta:
		lo, signed.BaseNumber, signed.Since = c.Base.Covered, c.Base.Number, c.Base.Since
		f.baseNumber = signed.BaseNumber
	case c.Base.Number != 0: // what expired since then is listed once more
		signed.Since = earlier(now, time.UnixMilli(c.Base.Number))
	}
	if !delta && s.cfg.Deltas {
		f.freshest = deltaOf(c.URI)
	}
	var partition int64
	if c.Partitioned {
		partition, f.partitionURI = c.ID, c.URI
	}

	entries := &spool{dir: s.cfg.Dir}
	defer func() { err = errors.Join(err, entries.close()) }()
	var d dates
	since := signed.Since.UnixMilli()
	err = s.cfg.Revocations.Revoked(ctx, c.CA, partition, lo, head.Size, func(r *store.Revoked) error {
		if r.NotAfter < since {
			return nil
		}
		buffer, err := entries.room()
		if err != nil {
			return err
		}
		entries.put(d.appendEntry(buffer, r))
		return nil
	})
	if err != nil {
		return fmt.Errorf("reading revoked certificates: %w", err)
	}
	signed.Entries = entries.count

	l := &listFile{path: s.path(c, delta) + suffixNew, entries: entries, algorithm: f.algorithm}
	if l.before, l.after, err = f.encode(entries.length); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.close()) }()
	if err := l.write(typicalSignature, message); err != nil {
		return err
	}
	return s.sign(ctx, a, c, delta, l, message, signed)
}

// sign has the CA sign a list and commit its entry, and gives the file its name.
func (s *Service) sign(ctx context.Context, a *ca.Authority, c *store.CRL, delta bool, l *listFile, message *issuance.Message, signed store.SignedCRL) error {
	next := *c
	_, err := s.cfg.Authorities.UseKey(ctx, c.CA, func(now ca.Authority, key crypto.Signer) (certlog.Record, error) {
		if now.Generation != a.Generation || now.Record.Configuration.SigningAlgorithm != a.Record.Configuration.SigningAlgorithm {
			return certlog.Record{}, errMoved
		}
		signature, err := message.Sign(key)
		if err != nil {
			return certlog.Record{}, err
		}
		digest, err := l.finish(signature)
		if err != nil {
			return certlog.Record{}, err
		}
		signed.SHA256, signed.Bytes = digest[:], l.size
		entry := certlog.Entry{
			Type: certlog.TypeCRL, Time: s.cfg.Now().UnixMilli(), Digest: digest,
			NextUpdate: uint64(signed.NextUpdate.Unix()), Covered: signed.Covered, Number: big.NewInt(signed.Number).Bytes(),
		}
		b, err := entry.Append(nil)
		if err != nil {
			return certlog.Record{}, err
		}
		*signedOf(&next, delta) = signed
		next.Due = s.cfg.Now() // until it is written
		return certlog.Record{Entry: b, Rows: []certlog.Row{&store.SignedCRLRow{CRL: &next, Delta: delta}}}, nil
	})
	refused, _ := errors.AsType[*pca.Error](err)
	if errors.Is(err, store.ErrConflict) || refused != nil && (refused.Code == pca.InvalidStateException || refused.Code == pca.ResourceNotFoundException) {
		return errMoved
	}
	if err != nil {
		return err
	}
	*c = next
	return os.Rename(l.path, s.path(c, delta))
}

// prune forgets, once a day for each CA, the expired certificates that no list
// of it has any more.
func (s *Service) prune(ctx context.Context, id string) {
	now := s.cfg.Now()
	if last, ok := s.pruned[id]; ok && now.Sub(last) < 24*time.Hour {
		return
	}
	s.pruned[id] = now
	lists, err := s.lists(ctx, id)
	before := now
	for _, c := range lists {
		if c.Active && c.Base.Number != 0 {
			before = earlier(before, c.Base.Since)
		}
	}
	if err == nil {
		err = s.cfg.Revocations.PruneRevoked(ctx, id, before)
	}
	if err != nil && ctx.Err() == nil {
		s.cfg.Log.WarnContext(ctx, "expired certificates were not taken from what CRLs are made of; it is tried again tomorrow", "ca", id, "error", err)
	}
}

// listFile is a list that is being put together in a file.
type listFile struct {
	path          string
	before, after []byte // of the TBSCertList, around the entries
	entries       *spool
	algorithm     []byte

	file *os.File
	head int   // octets of the outermost header
	size int64 // of the whole
}

func (l *listFile) tbsSize() int64 {
	return int64(len(l.before)) + l.entries.length + int64(len(l.after))
}

// outer is the outermost header, and what comes before the signature's octets.
func (l *listFile) outer(signature int) (header, bits []byte) {
	bits = appendHeader(nil, 0x03, int64(signature)+1)
	bits = append(bits, 0) // no unused bits
	return appendHeader(nil, 0x30, l.tbsSize()+int64(len(l.algorithm)+len(bits)+signature)), bits
}

// write writes all up to a signature of so many octets, and what is to be signed
// to message.
func (l *listFile) write(signature int, message io.Writer) (err error) {
	if l.file == nil {
		if l.file, err = os.OpenFile(l.path, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600); err != nil {
			return err
		}
	} else if _, err := l.file.Seek(0, io.SeekStart); err != nil {
		return err
	}
	header, _ := l.outer(signature)
	l.head = len(header)
	buffer := bufio.NewWriterSize(l.file, 1<<16)
	buffer.Write(header)
	both := io.MultiWriter(buffer, message)
	both.Write(l.before)
	if _, err := io.CopyBuffer(struct{ io.Writer }{both}, l.entries.reader(), make([]byte, 1<<16)); err != nil {
		return err
	}
	both.Write(l.after)
	buffer.Write(l.algorithm)
	if err := buffer.Flush(); err != nil {
		return err
	}
	if l.tbsSize() < syncAside {
		return nil
	}
	return l.file.Sync() // so that finish has little to sync
}

// finish writes the signature and syncs the file. It gives the list's hash.
func (l *listFile) finish(signature []byte) (digest [sha256.Size]byte, err error) {
	header, bits := l.outer(len(signature))
	if len(header) != l.head {
		if err := l.write(len(signature), io.Discard); err != nil {
			return digest, err
		}
	}
	if _, err := l.file.WriteAt(header, 0); err != nil {
		return digest, err
	}
	at := int64(l.head) + l.tbsSize() + int64(len(l.algorithm))
	bits = append(bits, signature...)
	if _, err := l.file.WriteAt(bits, at); err != nil {
		return digest, err
	}
	l.size = at + int64(len(bits))
	if err := l.file.Sync(); err != nil {
		return digest, err
	}
	return hashOf(l.file, l.size)
}

func hashOf(f io.ReaderAt, size int64) (digest [sha256.Size]byte, err error) {
	h := sha256.New()
	if _, err := io.CopyBuffer(h, io.NewSectionReader(f, 0, size), make([]byte, 1<<16)); err != nil {
		return digest, err
	}
	h.Sum(digest[:0])
	return digest, nil
}

func (l *listFile) close() error {
	if l.file == nil {
		return nil
	}
	return l.file.Close()
}
