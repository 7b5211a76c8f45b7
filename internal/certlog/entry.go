package certlog

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// EntryType says what an entry records. Part of the format.
type EntryType uint8

// The entry types. Numbers and layouts are part of the format; new types are
// added, old ones never change.
const (
	TypeGenesis  EntryType = 0 // index 0 of every log, and nowhere else
	TypeIssue    EntryType = 1 // a certificate was signed
	TypeRevoke   EntryType = 2 // a certificate of this log was revoked
	TypeCRL      EntryType = 3 // a CRL was signed
	TypeSign     EntryType = 4 // the CA key signed something else: a CSR, the CA certificate, an endorsement
	TypeReport   EntryType = 5 // an audit report was ordered; it covers the entries up to this one
	TypeKey      EntryType = 6 // the log's own signing key changed
	TypeRecovery EntryType = 7 // the log continues after a restore
)

// MaxEntrySize is the largest encoded entry in bytes: what a C2SP entry bundle
// can hold.
const MaxEntrySize = 65535

// ErrMalformedEntry is wrapped by every error of Append and Decode.
var ErrMalformedEntry = errors.New("malformed log entry")

// Entry is one entry of a log, of any type. Encoded it is, all integers
// big-endian,
//
//	u8 version(1) u8 type u64 Time, then by type
//	genesis, sign          Digest[32] Label<u8> Extra<u16>
//	issue                  Serial<u8> CertSHA256[32] i64 NotBefore i64 NotAfter
//	                       Account<u8> Principal<u8> TemplateARN<u8> Subject<u16>
//	revoke                 Serial<u8> u64 IssueIndex u8 Reason
//	crl                    Digest[32] u64 NextUpdate u64 Covered Number<u8>
//	report, key, recovery  Label<u8> Extra<u16>
//
// where X<u8> is a length byte (X<u16>: two) and the bytes. There is one
// encoding of an entry: Decode accepts exactly what Append writes. Part of the
// format.
type Entry struct {
	Type EntryType
	Time int64 // milliseconds since the epoch, not negative

	Serial []byte // issue, revoke: 1 to 20 bytes, big-endian, without leading zeros

	CertSHA256  [32]byte // issue: of the certificate's DER
	NotBefore   int64    // issue: seconds since the epoch
	NotAfter    int64    // issue: seconds since the epoch
	Account     []byte   // issue: account of the caller
	Principal   []byte   // issue: ARN of the caller
	TemplateARN []byte   // issue
	Subject     []byte   // issue: as the report renders it

	IssueIndex uint64 // revoke: index of the entry that issued Serial
	Reason     uint8  // revoke: CRLReason of RFC 5280

	NextUpdate uint64 // crl: seconds since the epoch
	Covered    uint64 // crl: number of entries of this log that it reflects
	Number     []byte // crl: CRL number, 1 to 20 bytes, big-endian, shortest form

	// Digest is the SHA-256 of the CA's SPKI (genesis), of the signed object
	// (sign) or of the CRL's DER (crl).
	Digest [32]byte
	// Label is the log's origin (genesis, recovery), what was signed (sign),
	// the report's UUID (report) or the new verifier key (key).
	Label []byte
	// Extra is the log's verifier key (genesis), free (sign; of LabelEndorsement
	// the endorsement), JSON or CSV (report), the endorsement (key) or the
	// lines of FormatRecovery.
	Extra []byte
}

const entryVersion = 1

// Append appends the entry's encoding to dst. Fields that do not belong to
// the type are ignored. The error wraps ErrMalformedEntry, and dst is
// returned as it was.
func (e *Entry) Append(dst []byte) ([]byte, error) {
	if e.Time < 0 {
		return dst, malformed("time %d lies before the epoch", e.Time)
	}
	start := len(dst)
	b := append(dst, entryVersion, byte(e.Type))
	b = binary.BigEndian.AppendUint64(b, uint64(e.Time))
	var err error
	switch e.Type {
	case TypeGenesis, TypeSign:
		b = append(b, e.Digest[:]...)
		if b, err = append8(b, "label", e.Label); err == nil {
			b, err = append16(b, "extra", e.Extra)
		}
	case TypeReport, TypeKey, TypeRecovery:
		if b, err = append8(b, "label", e.Label); err == nil {
			b, err = append16(b, "extra", e.Extra)
		}
	case TypeIssue:
		b, err = e.appendIssue(b)
	case TypeRevoke:
		if err = checkSerial(e.Serial); err != nil {
			break
		}
		b, _ = append8(b, "serial", e.Serial)
		b = binary.BigEndian.AppendUint64(b, e.IssueIndex)
		b = append(b, e.Reason)
	case TypeCRL:
		if err = checkNumber(e.Number); err != nil {
			break
		}
		b = append(b, e.Digest[:]...)
		b = binary.BigEndian.AppendUint64(b, e.NextUpdate)
		b = binary.BigEndian.AppendUint64(b, e.Covered)
		b, _ = append8(b, "number", e.Number)
	default:
		err = malformed("unknown type %d", e.Type)
	}
	if err == nil && len(b)-start > MaxEntrySize {
		err = malformed("%d bytes, at most %d are possible", len(b)-start, MaxEntrySize)
	}
	if err != nil {
		return dst, err
	}
	return b, nil
}

func (e *Entry) appendIssue(b []byte) ([]byte, error) {
	if err := checkSerial(e.Serial); err != nil {
		return nil, err
	}
	b, _ = append8(b, "serial", e.Serial)
	b = append(b, e.CertSHA256[:]...)
	b = binary.BigEndian.AppendUint64(b, uint64(e.NotBefore))
	b = binary.BigEndian.AppendUint64(b, uint64(e.NotAfter))
	b, err := append8(b, "account", e.Account)
	if err != nil {
		return nil, err
	}
	if b, err = append8(b, "principal", e.Principal); err != nil {
		return nil, err
	}
	if b, err = append8(b, "template ARN", e.TemplateARN); err != nil {
		return nil, err
	}
	return append16(b, "subject", e.Subject)
}

// Decode sets e to the entry that b encodes. The byte slices of e are parts
// of b. The error wraps ErrMalformedEntry; e is then undefined.
func (e *Entry) Decode(b []byte) error {
	if len(b) > MaxEntrySize {
		return malformed("%d bytes, at most %d are possible", len(b), MaxEntrySize)
	}
	r := reader{b: b}
	if v := r.u8(); r.ok() && v != entryVersion {
		return malformed("unknown version %d", v)
	}
	*e = Entry{Type: EntryType(r.u8()), Time: int64(r.u64())}
	switch e.Type {
	case TypeGenesis, TypeSign:
		r.digest(&e.Digest)
		e.Label, e.Extra = r.bytes8(), r.bytes16()
	case TypeReport, TypeKey, TypeRecovery:
		e.Label, e.Extra = r.bytes8(), r.bytes16()
	case TypeIssue:
		e.Serial = r.bytes8()
		r.digest(&e.CertSHA256)
		e.NotBefore, e.NotAfter = int64(r.u64()), int64(r.u64())
		e.Account, e.Principal, e.TemplateARN = r.bytes8(), r.bytes8(), r.bytes8()
		e.Subject = r.bytes16()
	case TypeRevoke:
		e.Serial, e.IssueIndex, e.Reason = r.bytes8(), r.u64(), r.u8()
	case TypeCRL:
		r.digest(&e.Digest)
		e.NextUpdate, e.Covered, e.Number = r.u64(), r.u64(), r.bytes8()
	default:
		return malformed("unknown type %d", e.Type)
	}
	switch {
	case !r.ok():
		return malformed("ends early")
	case len(r.b) != 0:
		return malformed("%d bytes too many", len(r.b))
	case e.Time < 0:
		return malformed("time lies beyond what is possible")
	case e.Type == TypeIssue, e.Type == TypeRevoke:
		return checkSerial(e.Serial)
	case e.Type == TypeCRL:
		return checkNumber(e.Number)
	}
	return nil
}

// EntryTime is the time of an encoded entry, without decoding the rest.
func EntryTime(b []byte) (int64, error) {
	if len(b) < 10 || b[0] != entryVersion {
		return 0, malformed("no header")
	}
	return int64(binary.BigEndian.Uint64(b[2:])), nil
}

func malformed(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrMalformedEntry, fmt.Sprintf(format, args...))
}

func checkSerial(s []byte) error {
	if len(s) < 1 || len(s) > 20 || s[0] == 0 {
		return malformed("serial %x is not a positive number of at most 20 bytes in its shortest form", s)
	}
	return nil
}

func checkNumber(n []byte) error {
	if len(n) < 1 || len(n) > 20 || n[0] == 0 && len(n) > 1 {
		return malformed("CRL number %x is not a number of at most 20 bytes in its shortest form", n)
	}
	return nil
}

func append8(b []byte, name string, v []byte) ([]byte, error) {
	if len(v) > 255 {
		return nil, malformed("%s has %d bytes, at most 255 are possible", name, len(v))
	}
	return append(append(b, byte(len(v))), v...), nil
}

func append16(b []byte, name string, v []byte) ([]byte, error) {
	if len(v) > 65535 {
		return nil, malformed("%s has %d bytes, at most 65535 are possible", name, len(v))
	}
	return append(binary.BigEndian.AppendUint16(b, uint16(len(v))), v...), nil
}

// reader takes an entry apart; a read beyond the end gives zeros and makes ok
// false for good.
type reader struct {
	b     []byte
	short bool
}

func (r *reader) ok() bool { return !r.short }

func (r *reader) take(n int) []byte {
	if len(r.b) < n {
		r.short, r.b = true, nil
		return nil
	}
	v := r.b[:n:n]
	r.b = r.b[n:]
	return v
}

func (r *reader) u8() uint8 {
	if v := r.take(1); v != nil {
		return v[0]
	}
	return 0
}

func (r *reader) u64() uint64 {
	if v := r.take(8); v != nil {
		return binary.BigEndian.Uint64(v)
	}
	return 0
}

func (r *reader) bytes8() []byte { return r.take(int(r.u8())) }

func (r *reader) bytes16() []byte {
	if v := r.take(2); v != nil {
		return r.take(int(binary.BigEndian.Uint16(v)))
	}
	return nil
}

func (r *reader) digest(d *[32]byte) { copy(d[:], r.take(len(d))) }
