package fsck

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"fmt"
	"math"
	"strings"

	"golang.org/x/mod/sumdb/note"

	"chirograph.dev/internal/certlog"
	"chirograph.dev/internal/issuance"
	"chirograph.dev/internal/store"
)

// worst is how many blocks whose sums differ are gone through row by row.
const worst = 16

// differing lists the blocks in which rows and entries differ, the first few.
func (l *logCheck) differing(class string, entries, rows []sum) map[uint64]bool {
	blocks := map[uint64]bool{}
	for b := range entries {
		if entries[b] == rows[b] {
			continue
		}
		if len(blocks) == worst {
			l.find(l.ca, class, "from entry %d on more rows differ from the log; these are not listed", uint64(b)*certlog.BlockSize)
			break
		}
		blocks[uint64(b)] = true
	}
	return blocks
}

// certificates names the certificates whose row and entry differ.
func (l *logCheck) certificates(ctx context.Context) error {
	blocks := l.differing(ClassCertificate, l.issued, l.rows)
	if len(blocks) == 0 {
		return nil
	}
	type row struct {
		serial   []byte
		notAfter int64
	}
	rows := map[uint64][]row{}
	err := l.Rows.CertificateRows(ctx, l.ca, func(serial []byte, index uint64, notAfter int64) error {
		if blocks[index/certlog.BlockSize] {
			rows[index] = append(rows[index], row{bytes.Clone(serial), notAfter})
		}
		return nil
	})
	for b := range blocks {
		if err != nil {
			break
		}
		err = l.entries(ctx, b*certlog.BlockSize, (b+1)*certlog.BlockSize, func(index uint64, e *certlog.Entry) {
			if e.Type != certlog.TypeIssue {
				return
			}
			switch found := rows[index]; {
			case len(found) == 0:
				l.findAt(l.ca, ClassCertificate, index, "the row of the certificate %x is missing", e.Serial)
			default:
				switch first := found[0]; {
				case !bytes.Equal(first.serial, e.Serial):
					l.findAt(l.ca, ClassCertificate, index, "it issued the certificate %x, and the row names %x", e.Serial, first.serial)
				case first.notAfter != e.NotAfter*1000:
					l.findAt(l.ca, ClassCertificate, index, "it issued the certificate %x until %s, and the row says until %s", e.Serial, stamp(e.NotAfter*1000), stamp(first.notAfter))
				}
				if rows[index] = found[1:]; len(found) == 1 {
					delete(rows, index)
				}
			}
		})
	}
	if err != nil {
		return l.unreadable(ctx, l.ca, ClassCertificate, err)
	}
	for index, more := range rows {
		for _, r := range more {
			l.findAt(l.ca, ClassCertificate, index, "there is a row of the certificate %x, which the entry did not issue", r.serial)
		}
	}
	return nil
}

// revocations names the revocations whose row and entry differ.
func (l *logCheck) revocations(ctx context.Context) error {
	blocks := l.differing(ClassRevocation, l.revoked, l.revRows)
	if len(blocks) == 0 {
		return nil
	}
	rows, first := map[uint64]store.Revocation{}, uint64(math.MaxUint64)
	for b := range blocks {
		first = min(first, b*certlog.BlockSize)
		err := l.Rows.Revocations(ctx, l.ca, b*certlog.BlockSize, (b+1)*certlog.BlockSize, math.MaxInt64, func(r store.Revocation) error {
			rows[r.IssueIndex] = r
			return nil
		})
		if err != nil {
			return l.unreadable(ctx, l.ca, ClassRevocation, err)
		}
	}
	err := l.entries(ctx, first, l.head.Size, func(index uint64, e *certlog.Entry) {
		if e.Type != certlog.TypeRevoke || !blocks[e.IssueIndex/certlog.BlockSize] {
			return
		}
		row, ok := rows[e.IssueIndex]
		delete(rows, e.IssueIndex)
		switch {
		case !ok:
			l.findAt(l.ca, ClassRevocation, index, "it revokes the certificate %x, and there is no row of that", e.Serial)
		case row.RevokeIndex != index:
			l.findAt(l.ca, ClassRevocation, index, "it revokes the certificate %x, and the row says that entry %d does", e.Serial, row.RevokeIndex)
		case row.Time != e.Time:
			l.findAt(l.ca, ClassRevocation, index, "it revokes the certificate %x at %d, and the row says at %d", e.Serial, e.Time, row.Time)
		case row.Reason != e.Reason:
			l.findAt(l.ca, ClassRevocation, index, "it revokes the certificate %x for reason %d, and the row says %d", e.Serial, e.Reason, row.Reason)
		}
	})
	if err != nil {
		return l.unreadable(ctx, l.ca, ClassRevocation, err)
	}
	for _, r := range rows {
		l.findAt(l.ca, ClassRevocation, r.IssueIndex, "there is a row of its revocation by entry %d, which did not revoke it", r.RevokeIndex)
	}
	return nil
}

// entries calls yield for the entries [lo, hi) that can be decoded.
func (l *logCheck) entries(ctx context.Context, lo, hi uint64, yield func(index uint64, e *certlog.Entry)) error {
	var e certlog.Entry
	return l.Log.LogEntries(ctx, l.ca, lo, min(hi, l.head.Size), func(index uint64, b []byte) error {
		if e.Decode(b) == nil { // else it was said already
			yield(index, &e)
		}
		return nil
	})
}

// reports compares the records of reports with the entries that ordered them.
func (l *logCheck) reports(ctx context.Context) error {
	records, err := l.Records.Reports(ctx, l.ca, math.MaxInt64, math.MaxInt32)
	if err != nil {
		return l.unreadable(ctx, l.ca, ClassReport, err)
	}
	byIndex := map[uint64]*store.AuditReport{}
	for _, r := range records {
		if byIndex[r.TreeSize-1] != nil {
			l.findAt(l.ca, ClassReport, r.TreeSize-1, "two reports, %s and %s, claim it", byIndex[r.TreeSize-1].ID, r.ID)
		}
		byIndex[r.TreeSize-1] = r
	}
	n := uint64(0)
	for i := range l.special {
		e := &l.special[i]
		if e.Type != certlog.TypeReport {
			continue
		}
		n++
		r := byIndex[e.index]
		delete(byIndex, e.index)
		switch {
		case r == nil:
			l.findAt(l.ca, ClassReport, e.index, "it ordered the report %s, of which there is no record", e.Label)
		case r.ID != string(e.Label) || string(r.Format) != string(e.Extra):
			l.findAt(l.ca, ClassReport, e.index, "it ordered the %s report %s, and the record says %s report %s", e.Extra, e.Label, r.Format, r.ID)
		}
	}
	for index, r := range byIndex {
		l.findAt(l.ca, ClassReport, index, "the record of report %s says that it was ordered here, and it was not", r.ID)
	}
	l.checker.mu.Lock()
	l.result.Reports += n
	l.checker.mu.Unlock()
	return nil
}

// auditKeys compares the keys that sign heads with the entries that brought them.
func (l *logCheck) auditKeys(ctx context.Context) error {
	records, err := l.Records.AuditKeys(ctx, l.ca)
	if err != nil {
		return l.unreadable(ctx, l.ca, ClassAuditKey, err)
	}
	byIndex := map[uint64]*store.AuditKey{}
	for i := range records {
		byIndex[records[i].Index] = &records[i]
	}
	var genesis []byte
	for i := range l.special {
		if l.special[i].Type == certlog.TypeGenesis {
			genesis = l.special[i].Extra
		}
	}
	if l.rec != nil && l.rec.AuditKey != "" && genesis != nil && l.rec.AuditKey != string(genesis) {
		l.findAt(l.ca, ClassAuditKey, 0, "the genesis names the key %s, and the record of the certificate authority %s", genesis, l.rec.AuditKey)
	}
	for i := range l.special {
		e := &l.special[i]
		var vkey, endorsement string
		switch e.Type {
		case certlog.TypeSign:
			vkey, endorsement = string(genesis), string(e.Extra)
		case certlog.TypeKey:
			vkey, endorsement = string(e.Label), string(e.Extra)
		case certlog.TypeRecovery:
			for line := range strings.Lines(string(e.Extra)) {
				switch name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " "); name {
				case "key":
					vkey = value
				case "endorsement":
					endorsement = value
				}
			}
		default:
			continue
		}
		r := byIndex[e.index]
		delete(byIndex, e.index)
		switch {
		case r == nil:
			l.findAt(l.ca, ClassAuditKey, e.index, "it names the key %s, of which there is no record", vkey)
		case r.Verifier != vkey || certlog.FormatEndorsement(string(r.Algorithm), r.Endorsement) != endorsement:
			l.findAt(l.ca, ClassAuditKey, e.index, "the key or its endorsement is another one in the entry than in the record")
		}
	}
	for index, r := range byIndex {
		l.findAt(l.ca, ClassAuditKey, index, "the record of the key %s says that it came here, and it did not", r.Verifier)
	}
	return nil
}

// keys looks for the private keys of a CA, and whether they are those that the
// log names. The key of a CA that is gone for good is, too.
func (l *logCheck) keys(ctx context.Context) error {
	if l.Keys == nil || l.rec == nil || l.rec.KeyID == "" || l.rec.AuditKey == "" {
		return nil
	}
	records, err := l.Records.AuditKeys(ctx, l.ca)
	if err != nil {
		return l.unreadable(ctx, l.ca, ClassAuditKey, err)
	}
	vkey, id := l.rec.AuditKey, l.rec.KeyID+"-audit"
	if n := len(records); n > 0 { // the newest signs; older ones are done
		vkey, id = records[n-1].Verifier, records[n-1].KeyID
	}
	for _, key := range []struct {
		id, what string
		same     func(public any) (bool, error)
	}{
		{l.rec.KeyID, "the key of the certificate authority", func(public any) (bool, error) {
			spki, err := issuance.MarshalPublicKey(public)
			if err != nil {
				return false, err
			}
			for i := range l.special {
				if l.special[i].Type == certlog.TypeGenesis {
					return l.special[i].Digest == sha256.Sum256(spki), nil
				}
			}
			return true, nil // no genesis was found, which is a finding of its own
		}},
		{id, "the key that signs the log's heads", func(public any) (bool, error) {
			v, err := note.NewVerifier(vkey)
			if err != nil {
				return false, err
			}
			raw, ok := public.(ed25519.PublicKey)
			if !ok {
				return false, fmt.Errorf("it is a %T", public)
			}
			own, err := note.NewEd25519VerifierKey(v.Name(), raw)
			return own == vkey, err
		}},
	} {
		signer, err := l.Keys.Signer(ctx, key.id)
		if err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			l.find(l.ca, ClassKey, "%s, keys/%s.key: %v", key.what, key.id, err)
			continue
		}
		same, err := key.same(signer.Public())
		switch {
		case err != nil:
			l.find(l.ca, ClassKey, "%s, keys/%s.key: %v", key.what, key.id, err)
		case !same:
			l.find(l.ca, ClassKey, "%s, keys/%s.key, is not the one that the log names", key.what, key.id)
		}
	}
	return nil
}
