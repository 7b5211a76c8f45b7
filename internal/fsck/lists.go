package fsck

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/pem"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"io/fs"
	"math"
	"math/big"
	"time"

	"chirograph.dev/internal/certlog"
	"chirograph.dev/internal/crl"
	"chirograph.dev/internal/issuance"
	"chirograph.dev/internal/store"
)

func stamp(ms int64) string { return time.UnixMilli(ms).UTC().Format(time.RFC3339) }

// now is the time at which the store was last in use, or later: what had
// expired before may be gone.
func (l *logCheck) now() time.Time {
	return time.UnixMilli(max(l.head.Time, time.Now().UnixMilli()))
}

// readLists reads the records of a CA's lists, and from when on certificates
// must have expired that may have been forgotten.
func (l *logCheck) readLists(ctx context.Context) error {
	if l.Lists == nil {
		return nil
	}
	l.forgotten = l.now()
	for after := int64(0); ; {
		const page = 1000
		some, err := l.Lists.CRLs(ctx, l.ca, after, page)
		if err != nil {
			return l.unreadable(ctx, l.ca, ClassCRL, err)
		}
		for _, c := range some {
			after = c.ID
			l.crls = append(l.crls, c)
			if c.Active && c.Base.Number != 0 && c.Base.Since.Before(l.forgotten) {
				l.forgotten = c.Base.Since
			}
		}
		if len(some) < page {
			return nil
		}
	}
}

// readRevoked reads what the lists are made of, of the revocations in a block.
func (p *blockCheck) readRevoked(ctx context.Context, hi uint64) error {
	p.listed = map[uint64]store.Revoked{}
	err := p.Lists.Revoked(ctx, p.ca, 0, p.lo, hi, func(r *store.Revoked) error {
		own := *r
		own.Serial = bytes.Clone(r.Serial)
		p.listed[r.RevokeIndex] = own
		return nil
	})
	if err != nil {
		return p.unreadable(ctx, p.ca, ClassCRLEntry, err)
	}
	return nil
}

// leftRevoked names the rows that no entry of the block accounts for.
func (p *blockCheck) leftRevoked() {
	for index, r := range p.listed {
		p.findAt(p.ca, ClassCRLEntry, index, "CRLs would list the certificate %x, which the entry did not revoke", r.Serial)
	}
}

// revokedStatus compares what OCSP answers and CRLs are made of with the entry
// that revokes, and gives the index of the certificate's row.
func (p *blockCheck) revokedStatus(ctx context.Context, index uint64) (uint64, error) {
	cert, revoked, err := p.Lists.CertificateStatus(ctx, p.ca, p.e.Serial)
	r, ok := p.listed[index]
	delete(p.listed, index)
	if err != nil {
		return 0, err
	}
	switch e := &p.e; {
	case revoked == nil:
		p.findAt(p.ca, ClassOCSP, index, "it revokes the certificate %x, and OCSP would not say that it is revoked", e.Serial)
	case revoked.Time/1000 != e.Time/1000 || revoked.Reason != e.Reason:
		p.findAt(p.ca, ClassOCSP, index, "it revokes the certificate %x at %s for reason %d, and OCSP would say at %s for reason %d",
			e.Serial, stamp(e.Time), e.Reason, stamp(revoked.Time), revoked.Reason)
	}
	switch e := &p.e; {
	case !ok && cert.NotAfter.Before(p.forgotten): // no list is to have it any more
	case !ok:
		p.findAt(p.ca, ClassCRLEntry, index, "it revokes the certificate %x, and CRLs would not list it", e.Serial)
	case !bytes.Equal(r.Serial, e.Serial):
		p.findAt(p.ca, ClassCRLEntry, index, "it revokes the certificate %x, and CRLs would list %x in its place", e.Serial, r.Serial)
	case r.Time != e.Time || r.Reason != e.Reason:
		p.findAt(p.ca, ClassCRLEntry, index, "it revokes the certificate %x at %s for reason %d, and CRLs would say at %s for reason %d",
			e.Serial, stamp(e.Time), e.Reason, stamp(r.Time), r.Reason)
	case r.NotAfter != cert.NotAfter.UnixMilli():
		p.findAt(p.ca, ClassCRLEntry, index, "it revokes the certificate %x, which expires at %s, and CRLs would leave it out from %s on",
			e.Serial, stamp(cert.NotAfter.UnixMilli()), stamp(r.NotAfter))
	case r.CRL != cert.CRL:
		p.findAt(p.ca, ClassCRLEntry, index, "it revokes the certificate %x, which is bound to the list %d, and is kept for the list %d", e.Serial, cert.CRL, r.CRL)
	}
	return cert.Index, nil
}

// lists compares the lists with their entries, their files and objects, and
// with what their entries cover.
func (l *logCheck) lists(ctx context.Context) error {
	if l.Lists == nil {
		return nil
	}
	err := l.Lists.Revoked(ctx, l.ca, 0, l.head.Size, math.MaxInt64, func(r *store.Revoked) error {
		l.findAt(l.ca, ClassCRLEntry, r.RevokeIndex, "CRLs would list the certificate %x, and the log has %d entries", r.Serial, l.head.Size)
		return nil
	})
	if err != nil {
		if err := l.unreadable(ctx, l.ca, ClassCRLEntry, err); err != nil {
			return err
		}
	}
	newest, n := int64(-1), uint64(0)
	for _, c := range l.crls {
		for _, s := range []*store.SignedCRL{&c.Base, &c.Delta} {
			if s.Number == 0 {
				continue
			}
			if c.Active {
				n++
			}
			newest = max(newest, int64(s.Index))
			if err := l.list(ctx, c, s); err != nil {
				if err := l.unreadable(ctx, l.ca, ClassCRL, err); err != nil {
					return err
				}
			}
		}
	}
	// What is made later takes the place of what was made before, in the
	// transaction of its entry.
	if newest != l.lastCRL && l.lastCRL >= 0 {
		l.findAt(l.ca, ClassCRL, uint64(l.lastCRL), "it is the newest CRL of the log, and no list's record has it")
	}
	l.checker.mu.Lock()
	l.result.CRLs += n
	l.checker.mu.Unlock()
	return nil
}

// listName names a list for people.
func listName(c *store.CRL, s *store.SignedCRL) string {
	name := fmt.Sprintf("the CRL %d of list %d (%s)", s.Number, c.ID, c.Key)
	if s == &c.Delta {
		name = fmt.Sprintf("the delta CRL %d of list %d (%s)", s.Number, c.ID, c.Key)
	}
	return name
}

// list checks one list.
func (l *logCheck) list(ctx context.Context, c *store.CRL, s *store.SignedCRL) error {
	name, found := listName(c, s), false
	err := l.entries(ctx, s.Index, s.Index+1, func(_ uint64, e *certlog.Entry) {
		found = e.Type == certlog.TypeCRL
		switch {
		case !found:
		case !bytes.Equal(e.Digest[:], s.SHA256) || e.Covered != s.Covered || e.NextUpdate != uint64(s.NextUpdate.Unix()) || !bytes.Equal(e.Number, big.NewInt(s.Number).Bytes()):
			l.findAt(l.ca, ClassCRL, s.Index, "the record of %s says another number, digest, nextUpdate or prefix of the log than the entry", name)
		case e.Covered > s.Index:
			l.findAt(l.ca, ClassCRL, s.Index, "%s is said to cover %d entries, and is older than that", name, e.Covered)
		}
	})
	if err != nil {
		return err
	}
	if !found {
		l.findAt(l.ca, ClassCRL, s.Index, "%s is said to be recorded here, and is not", name)
	}
	// A list that is to be made anew became another one, or is kept again: its file
	// and object may be those of another list, which had its place meanwhile.
	if c.Base.Certificate == 0 {
		return nil
	}
	if err := l.listFile(ctx, c, s, name); err != nil {
		return err
	}
	return l.listObject(ctx, c, s, name)
}

// listFile checks the file of a list, whose bytes are what is written to the
// bucket. Of one that was not written the file may be missing, or that of the
// one before: the server was killed in between, and makes or names it anew.
func (l *logCheck) listFile(ctx context.Context, c *store.CRL, s *store.SignedCRL, name string) error {
	if l.Files == nil || !c.Active {
		return nil
	}
	path := crl.FileName(c.Bucket, crl.Key(c, s == &c.Delta))
	f, err := l.Files.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		if !s.WrittenAt.IsZero() {
			l.findAt(l.ca, ClassCRL, s.Index, "the file of %s, %s, is missing", name, path)
		}
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	r, ok := f.(io.ReaderAt)
	if !ok {
		return fmt.Errorf("%s: a %T cannot be read at places", path, f)
	}
	digest, err := sum256(io.NewSectionReader(r, 0, info.Size()))
	if err != nil {
		return err
	}
	if digest != string(s.SHA256) {
		if !s.WrittenAt.IsZero() {
			l.findAt(l.ca, ClassCRL, s.Index, "the file of %s, %s, is not what was signed: its SHA-256 is not the entry's", name, path)
		}
		return nil
	}
	list, err := issuance.ReadCRL(r, info.Size())
	if errors.Is(err, issuance.ErrCRL) {
		l.findAt(l.ca, ClassCRL, s.Index, "%s cannot be read: %v", name, err)
		return nil
	}
	if err != nil {
		return err
	}
	if err := l.listHead(ctx, c, s, list, name); err != nil {
		return err
	}
	return l.listEntries(ctx, c, s, list, name)
}

// sum256 is the SHA-256 of what r gives.
func sum256(r io.Reader) (string, error) {
	h := sha256.New()
	_, err := io.Copy(h, r)
	return string(h.Sum(nil)), err
}

// listHead checks all of a list but its entries.
func (l *logCheck) listHead(ctx context.Context, c *store.CRL, s *store.SignedCRL, list *issuance.CRL, name string) error {
	wrong := func(format string, args ...any) {
		l.findAt(l.ca, ClassCRL, s.Index, "%s "+format, append([]any{name}, args...)...)
	}
	var base []byte
	if s.BaseNumber != 0 {
		base = big.NewInt(s.BaseNumber).Bytes()
	}
	switch {
	case !bytes.Equal(list.Number, big.NewInt(s.Number).Bytes()) || !bytes.Equal(list.BaseNumber, base):
		wrong("has another number, %x, or base, %x", list.Number, list.BaseNumber)
	case list.NextUpdate.Unix() != s.NextUpdate.Unix():
		wrong("says nextUpdate %s, and its record %s", stamp(list.NextUpdate.UnixMilli()), stamp(s.NextUpdate.UnixMilli()))
	case list.Limited || list.DistributionPoint != "" && list.DistributionPoint != c.URI:
		wrong("says that it is that of %s, and certificates refer to it as %s", list.DistributionPoint, c.URI)
	case (list.DistributionPoint != "") != c.Partitioned:
		wrong("does not say whether it is a partition as its record does")
	}
	ca, err := l.caCertificate(ctx, s.Certificate)
	if errors.Is(err, store.ErrNotFound) {
		wrong("has the name of certificate %d of the CA, which is not there", s.Certificate)
		return nil
	}
	if err != nil {
		return err
	}
	if !bytes.Equal(list.Issuer, ca.RawSubject) {
		wrong("has another issuer than the CA's name")
	}
	if err := list.SignedBy(ca.SPKI); err != nil {
		wrong("is not signed by the CA's key: %v", err)
	}
	return nil
}

// caCertificate reads a certificate of the CA, whose key is that of the genesis
// entry; the last one is kept.
func (l *logCheck) caCertificate(ctx context.Context, generation int64) (*issuance.Certificate, error) {
	if l.own != nil && l.ownGeneration == generation {
		return l.own, nil
	}
	installed, err := l.Lists.InstalledCertificate(ctx, l.ca, generation)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode([]byte(installed.Certificate))
	if block == nil {
		return nil, fmt.Errorf("certificate %d of the CA is not PEM", generation)
	}
	c, err := issuance.ReadCertificate(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("certificate %d of the CA: %w", generation, err)
	}
	for i := range l.special {
		if e := &l.special[i]; e.Type == certlog.TypeGenesis && e.Digest != sha256.Sum256(c.SPKI) {
			return nil, fmt.Errorf("certificate %d of the CA has another key than the log names", generation)
		}
	}
	l.own, l.ownGeneration = c, generation
	return c, nil
}

// entryHash stands for an entry of a CRL.
func (c *checker) entryHash(serial []byte, seconds int64, reason uint8) uint64 {
	var b [32]byte
	binary.BigEndian.PutUint64(b[:], uint64(seconds))
	b[8] = reason
	return maphash.Bytes(c.seed, append(b[:9], serial...))
}

// listEntries compares the entries of a list with the revocations that its
// prefix of the log has. That these are the log's was checked before.
func (l *logCheck) listEntries(ctx context.Context, c *store.CRL, s *store.SignedCRL, list *issuance.CRL, name string) error {
	of, lo := int64(0), uint64(0)
	if list.DistributionPoint != "" {
		of = c.ID
	}
	if s.BaseNumber != 0 {
		if s.BaseNumber != c.Base.Number { // its base was replaced: nobody looks at it any more
			return nil
		}
		lo = c.Base.Covered
	}
	want := func(yield func(r *store.Revoked) error) error {
		return l.Lists.Revoked(ctx, l.ca, of, lo, s.Covered, func(r *store.Revoked) error {
			if r.NotAfter < s.Since.UnixMilli() {
				return nil
			}
			return yield(r)
		})
	}
	var has, should sum
	err := list.Entries(func(e *issuance.CRLEntry) error {
		has.add(sum{1, l.entryHash(e.Serial, e.Time, e.Reason)})
		return nil
	})
	if err == nil {
		err = want(func(r *store.Revoked) error {
			should.add(sum{1, l.entryHash(r.Serial, r.Time/1000, r.Reason)})
			return nil
		})
	}
	if err == nil && has != should {
		err = l.differingEntries(max(has.n, should.n), list, want, func(format string, args ...any) {
			l.findAt(l.ca, ClassCRL, s.Index, "%s "+format, append([]any{name}, args...)...)
		})
	}
	if errors.Is(err, issuance.ErrCRL) {
		l.findAt(l.ca, ClassCRL, s.Index, "%s cannot be read: %v", name, err)
		return nil
	}
	return err
}

// differingEntries names the entries of a list that are missing, too many or
// other than the log says. It goes through both as often as it takes to have
// few of them in memory at a time.
func (l *logCheck) differingEntries(n uint64, list *issuance.CRL, want func(func(r *store.Revoked) error) error, wrong func(string, ...any)) error {
	const inMemory = 1 << 17
	type entry struct {
		seconds int64
		reason  uint8
	}
	passes := n/inMemory + 1
	for pass := range passes {
		mine := func(serial []byte) bool { return maphash.Bytes(l.seed, serial)%passes == pass }
		entries := map[string]entry{}
		err := list.Entries(func(e *issuance.CRLEntry) error {
			if !mine(e.Serial) {
				return nil
			}
			if _, twice := entries[string(e.Serial)]; twice {
				wrong("lists the certificate %x twice", e.Serial)
			}
			entries[string(e.Serial)] = entry{e.Time, e.Reason}
			return nil
		})
		if err == nil {
			err = want(func(r *store.Revoked) error {
				if !mine(r.Serial) {
					return nil
				}
				e, ok := entries[string(r.Serial)]
				delete(entries, string(r.Serial))
				switch {
				case !ok:
					wrong("lacks the certificate %x, which entry %d revoked", r.Serial, r.RevokeIndex)
				case e != entry{r.Time / 1000, r.Reason}:
					wrong("says that the certificate %x was revoked at %s for reason %d; entry %d says at %s for reason %d",
						r.Serial, stamp(e.seconds*1000), e.reason, r.RevokeIndex, stamp(r.Time), r.Reason)
				}
				return nil
			})
		}
		if err != nil {
			return err
		}
		for serial := range entries {
			wrong("lists the certificate %x, which was not revoked, or not in it", serial)
		}
	}
	return nil
}

// listObject checks that the object in an embedded bucket is the list.
func (l *logCheck) listObject(ctx context.Context, c *store.CRL, s *store.SignedCRL, name string) error {
	if l.Objects == nil || !c.Active || s.WrittenAt.IsZero() {
		return nil
	}
	key := crl.Key(c, s == &c.Delta)
	if there, err := l.Objects.Bucket(ctx, c.Bucket); err != nil || !there {
		return err // it went elsewhere
	}
	body, err := l.Objects.Object(ctx, c.Bucket, key)
	if errors.Is(err, fs.ErrNotExist) {
		l.findAt(l.ca, ClassCRL, s.Index, "%s is not in the bucket: there is no s3://%s/%s", name, c.Bucket, key)
		return nil
	}
	if err != nil {
		return err
	}
	defer body.Close()
	digest, err := sum256(body)
	if err == nil && digest != string(s.SHA256) {
		l.findAt(l.ca, ClassCRL, s.Index, "the object s3://%s/%s is not %s: it was put there since by somebody else, or is damaged", c.Bucket, key, name)
	}
	return err
}

// responders compares the certificates that sign OCSP answers with the log, and
// looks for their keys.
func (l *logCheck) responders(ctx context.Context) error {
	if l.Lists == nil {
		return nil
	}
	records, err := l.Lists.Responders(ctx, l.ca, time.Time{})
	if err != nil {
		return l.unreadable(ctx, l.ca, ClassOCSP, err)
	}
	for _, r := range records {
		if err := l.responder(ctx, r); err != nil {
			if err := l.unreadable(ctx, l.ca, ClassOCSP, err); err != nil {
				return err
			}
		}
	}
	return nil
}

func (l *logCheck) responder(ctx context.Context, r *store.Responder) error {
	issued := false
	err := l.entries(ctx, r.Index, r.Index+1, func(_ uint64, e *certlog.Entry) {
		issued = e.Type == certlog.TypeIssue && bytes.Equal(e.Serial, r.Serial) && e.NotAfter*1000 == r.NotAfter.UnixMilli()
	})
	if err != nil {
		return err
	}
	if !issued {
		l.findAt(l.ca, ClassOCSP, r.Index, "the record of the OCSP responder %x says that it was issued here until %s, and it was not", r.Serial, stamp(r.NotAfter.UnixMilli()))
		return nil
	}
	gone := l.rec == nil || l.rec.KeyID == "" // and so are the keys of its responders
	if l.Keys == nil || gone || !l.now().Before(r.NotAfter) {
		return nil
	}
	signer, err := l.Keys.Signer(ctx, r.KeyID)
	if err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		l.findAt(l.ca, ClassOCSP, r.Index, "the key of the OCSP responder %x, keys/%s.key: %v", r.Serial, r.KeyID, err)
		return nil
	}
	spki, err := issuance.MarshalPublicKey(signer.Public())
	if err != nil {
		return err
	}
	return l.Rows.LogDERs(ctx, l.ca, r.Index, r.Index+1, func(_ uint64, der []byte) error {
		c, err := issuance.ReadCertificate(der)
		if err == nil && !bytes.Equal(c.SPKI, spki) {
			l.findAt(l.ca, ClassOCSP, r.Index, "the key of the OCSP responder %x, keys/%s.key, is not that of its certificate", r.Serial, r.KeyID)
		}
		return err
	})
}
