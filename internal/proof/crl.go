package proof

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"math"
	"math/big"
	"slices"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"chirograph.dev/internal/certlog"
	"chirograph.dev/internal/issuance"
)

// CRLFile is a certificate revocation list that is compared with the log.
type CRLFile struct {
	Name   string // for people
	Reader io.ReaderAt
	Size   int64
}

// crlCheck is the check of one CRL. Memory is 9 bytes for each of its entries,
// and 24 for each revocation that it lacks.
type crlCheck struct {
	name    string // begins its verdict's words
	verdict *Verdict
	list    *issuance.CRL // nil: it failed before
	digest  [sha256.Size]byte
	made    int64 // milliseconds: its number, or thisUpdate

	index   uint64 // of its entry in the log
	entry   certlog.Entry
	logged  bool
	covered uint64 // entries of the log that it is a reading of
	whole   bool   // it has all revoked certificates, not those of a partition or of a time

	hashes  []uint64 // of its entries, sorted
	found   []bool   // those that the log has, too
	later   uint64   // revocations after what it covers
	missing uint64
	first   string // the first that is missing, in words
}

func (c *crlCheck) set(status, class, format string, args ...any) {
	if c.verdict.Status != Fail {
		c.verdict.Status, c.verdict.Class, c.verdict.Words = status, class, c.name+fmt.Sprintf(format, args...)
	}
}

// readCRLs reads the lists, and checks that the CA's key signed them.
func (v *verifier) readCRLs() error {
	v.crls = make([]*crlCheck, len(v.CRLs))
	for i, f := range v.CRLs {
		c := &crlCheck{verdict: &v.res.Verdicts[len(v.res.Verdicts)-len(v.CRLs)+i]}
		if len(v.CRLs) > 1 {
			c.name = f.Name + ": "
		}
		v.crls[i] = c
		list, err := issuance.ReadCRL(f.Reader, f.Size)
		if err == nil {
			err = v.readCRL(c, list)
		}
		switch {
		case errors.Is(err, issuance.ErrCRL):
			c.set(Fail, ClassCRL, "It cannot be read: %v.", err)
			c.list = nil
		case err != nil:
			return fmt.Errorf("%w: reading the CRL %s: %w", ErrCannotCheck, f.Name, err)
		}
	}
	return nil
}

func (v *verifier) readCRL(c *crlCheck, list *issuance.CRL) (err error) {
	if c.digest, err = list.Digest(); err != nil {
		return err
	}
	if err := list.SignedBy(v.m.SPKI); err != nil {
		c.set(Fail, ClassCRL, "It is not signed by the CA's key: %v.", err)
		return nil
	}
	c.list, c.made = list, list.ThisUpdate.UnixMilli()
	if len(list.Number) <= 8 { // a time in milliseconds (revocation.md 4.2)
		c.made = max(c.made, new(big.Int).SetBytes(list.Number).Int64())
	}
	c.whole = list.BaseNumber == nil && list.DistributionPoint == "" && !list.Limited
	c.set(Unknown, "", "It is signed by the CA's key. What it lists was not compared: the log was not replayed.")
	return list.Entries(func(e *issuance.CRLEntry) error {
		c.hashes = append(c.hashes, v.hashRevoked(e.Serial, e.Time, e.Reason))
		return nil
	})
}

func (v *verifier) hashRevoked(serial []byte, seconds int64, reason uint8) uint64 {
	var b [32]byte
	binary.BigEndian.PutUint64(b[:], uint64(seconds))
	b[8] = reason
	return maphash.Bytes(v.crlSeed, append(b[:9], serial...))
}

// meetCRL compares an entry with the lists that it may be of.
func (w *worker) meetCRL(index uint64, e *certlog.Entry) {
	for _, c := range w.crls {
		if c.list != nil && c.digest == e.Digest {
			w.mu.Lock()
			c.logged, c.index, c.entry = true, index, *e
			c.entry.Number = bytes.Clone(e.Number)
			w.mu.Unlock()
		}
	}
}

// lacking is a revocation that a list does not have; whether it should its
// certificate tells.
type lacking struct {
	list  int
	place int    // of the issue entry in its block
	index uint64 // of the revoke entry
}

// checkCRLs compares the lists with the log, which is the signed one. The log is
// read once more, the newest block first.
func (v *verifier) checkCRLs(ctx context.Context, l *replay) error {
	open := 0
	for _, c := range v.crls {
		if c.list == nil {
			continue
		}
		open++
		c.covered = min(c.entry.Covered, c.index)
		if !c.logged {
			c.covered = v.m.Size
		}
		slices.Sort(c.hashes)
		c.found = make([]bool, len(c.hashes))
	}
	if open == 0 {
		return nil
	}
	w := &worker{replay: l, ctx: ctx, loaded: math.MaxUint64, packs: l.last, leaves: make([]tlog.Hash, certlog.BlockSize)}
	waiting := map[uint64][]lacking{} // by the block of the certificate
	for b := (v.m.Size + certlog.BlockSize - 1) / certlog.BlockSize; b > 0; b-- {
		if err := w.compareCRLs(b-1, waiting); err != nil {
			if ctx.Err() != nil {
				return err
			}
			return fmt.Errorf("%w: %w", ErrCannotCheck, err)
		}
	}
	for _, c := range v.crls {
		if c.list == nil {
			continue
		}
		if err := v.judgeCRL(c); err != nil {
			return fmt.Errorf("%w: reading the CRL: %w", ErrCannotCheck, err)
		}
	}
	return nil
}

// compareCRLs looks the revocations of a block up in the lists, and of those
// that were not found the certificates in it.
func (w *worker) compareCRLs(b uint64, waiting map[uint64][]lacking) error {
	if err := w.load(b); err != nil {
		return err
	}
	base, e := b*certlog.BlockSize, &w.entry
	for index := base; index < min(w.blockEnd(b), w.m.Size); index++ {
		raw := w.bytes(int(index - base))
		if len(raw) < 2 || certlog.EntryType(raw[1]) != certlog.TypeRevoke || e.Decode(raw) != nil {
			continue
		}
		h := w.hashRevoked(e.Serial, e.Time/1000, e.Reason)
		for n, c := range w.crls {
			if c.list == nil {
				continue
			}
			if index >= c.covered {
				c.later++
				continue
			}
			if i, ok := slices.BinarySearch(c.hashes, h); ok {
				c.found[i] = true
			} else if c.whole {
				of := e.IssueIndex / certlog.BlockSize
				waiting[of] = append(waiting[of], lacking{n, int(e.IssueIndex % certlog.BlockSize), index})
			}
		}
	}
	for _, k := range waiting[b] {
		c := w.crls[k.list]
		if k.place >= len(w.starts)-1 || e.Decode(w.bytes(k.place)) != nil || e.Type != certlog.TypeIssue || e.NotAfter*1000 < c.made {
			continue // an expired certificate may be left out
		}
		if c.missing++; c.first == "" {
			c.first = fmt.Sprintf("%x, which entry %d revoked", e.Serial, k.index)
		}
	}
	delete(waiting, b)
	return nil
}

// judgeCRL says what was found out about a list.
func (v *verifier) judgeCRL(c *crlCheck) error {
	list, number := c.list, new(big.Int).SetBytes(c.list.Number)
	late := !c.logged && c.made > v.m.Created // the report ends before it
	extra, foreign := 0, ""
	err := list.Entries(func(e *issuance.CRLEntry) error {
		i, _ := slices.BinarySearch(c.hashes, v.hashRevoked(e.Serial, e.Time, e.Reason))
		if c.found[i] || late && e.Time >= (v.m.Created-delta)/1000 {
			return nil
		}
		if extra++; foreign == "" {
			foreign = fmt.Sprintf("%x, since %s for reason %d", e.Serial, time.Unix(e.Time, 0).UTC().Format(time.RFC3339), e.Reason)
		}
		return nil
	})
	if err != nil {
		return err
	}
	switch twice := len(c.hashes) - len(slices.Compact(slices.Clone(c.hashes))); {
	case !c.logged && !late:
		c.set(Fail, ClassUnlogged, "The CA's key signed it and the log does not have it: it was changed and signed anew, or signed outside.")
	case c.logged && (!bytes.Equal(c.entry.Number, list.Number) || c.entry.NextUpdate != uint64(list.NextUpdate.Unix())):
		c.set(Fail, ClassCRLDiffers, "Its entry %d in the log says another number or nextUpdate than it does.", c.index)
	case extra > 0:
		c.set(Fail, ClassCRLDiffers, "It lists %d certificates that the log did not revoke then so; the first: %s.", extra, foreign)
	case c.missing > 0:
		c.set(Fail, ClassCRLDiffers, "It lacks %d certificates that were revoked and had not expired; the first: %s.", c.missing, c.first)
	case twice > 0:
		c.set(Fail, ClassCRLDiffers, "It lists %d certificates twice.", twice)
	case list.NextUpdate.UnixMilli() < v.m.Created:
		c.set(Fail, ClassStale, "It had expired at %s, before the report was made: there is a newer one.", list.NextUpdate.UTC().Format(time.RFC3339))
	case late:
		v.res.doubtful = true
		c.set(Unknown, "", "It is signed by the CA's key, and was made at %s, after the report: what it says of revocations until then is right. A newer report proves the rest.", stamp(c.made))
	default:
		words := fmt.Sprintf("It is signed by the CA's key, and entry %d of the log (CRL number %s).", c.index, number)
		if c.whole {
			words += fmt.Sprintf(" It lists exactly the %d certificates that the log's first %d entries revoke and that had not expired.", len(c.hashes), c.covered)
		} else {
			words += fmt.Sprintf(" The log's first %d entries revoke each of the %d certificates that it lists, at that second and for that reason. Which others belong to it the log does not say: not proven is that it is complete.", c.covered, len(c.hashes))
		}
		if c.later > 0 {
			words += fmt.Sprintf(" Of the report's revocations %d came after it.", c.later)
		}
		if list.NextUpdate.Before(v.Now) {
			words += fmt.Sprintf(" It has expired since, at %s.", list.NextUpdate.UTC().Format(time.RFC3339))
		}
		c.set(Pass, "", "%s", words)
	}
	return nil
}
