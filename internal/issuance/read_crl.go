package issuance

import (
	"bufio"
	"bytes"
	"crypto"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"time"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
)

// Object identifiers of CRLs and their entries (RFC 5280 5.2, 5.3).
const (
	oidCRLNumber                = "\x55\x1d\x14"
	oidReasonCode               = "\x55\x1d\x15"
	oidDeltaCRLIndicator        = "\x55\x1d\x1b"
	oidIssuingDistributionPoint = "\x55\x1d\x1c"
	oidFreshestCRL              = "\x55\x1d\x2e"
)

// ErrCRL is wrapped by what is wrong with the bytes of a CRL; other errors are
// those of reading it.
var ErrCRL = errors.New("not a DER certificate revocation list")

func crlError(what string) error { return fmt.Errorf("%w: %s", ErrCRL, what) }

// CRL is a certificate revocation list (RFC 5280 5), read from where it lies: of
// its entries one is in memory at a time.
type CRL struct {
	Issuer                 []byte // DER Name
	ThisUpdate, NextUpdate time.Time
	AuthorityKeyID         []byte // its key identifier; nil: none
	Number                 []byte // big-endian in the shortest form; nil: none
	BaseNumber             []byte // of a delta CRL; nil: it is none
	// DistributionPoint is the one URI of a critical IssuingDistributionPoint
	// that says no more; Limited that it says anything else, so that the CRL is
	// one of a kind that this product does not make.
	DistributionPoint string
	Limited           bool
	Extensions        []Extension

	r                    io.ReaderAt
	size                 int64
	tbs, end             int64 // what is signed
	entries, entriesEnd  int64 // equal: there are none
	algorithm, signature []byte
}

// CRLEntry is one revoked certificate of a CRL.
type CRLEntry struct {
	Serial []byte // magnitude without leading zeros; valid until the next entry
	Time   int64  // seconds since the epoch
	Reason uint8  // CRLReason; 0 when there is none
}

// Sizes that the parts of a CRL have at most, its entries apart.
const (
	maxCRLPart  = 1 << 16
	maxCRLEntry = 1 << 12
)

// ReadCRL reads all of a CRL but its entries.
func ReadCRL(r io.ReaderAt, size int64) (*CRL, error) {
	c := &CRL{r: r, size: size}
	outer, end, err := c.element(0, size, asn1.SEQUENCE)
	if err != nil {
		return nil, err
	}
	if end != size {
		return nil, crlError("there is something after it")
	}
	c.tbs = outer
	at, tbsEnd, err := c.element(outer, end, asn1.SEQUENCE)
	if err != nil {
		return nil, err
	}
	c.end = tbsEnd
	if err := c.readOuter(end); err != nil {
		return nil, err
	}
	if at, err = c.readHead(at); err != nil {
		return nil, err
	}
	return c, c.readRest(at)
}

// element finds where the content of the element at a place begins and ends.
func (c *CRL) element(at, limit int64, want asn1.Tag) (content, end int64, err error) {
	var head [6]byte
	n, err := c.r.ReadAt(head[:min(int64(len(head)), limit-at)], at)
	if err != nil && !(errors.Is(err, io.EOF) && n > 0) {
		if errors.Is(err, io.EOF) {
			return 0, 0, crlError("it is cut off")
		}
		return 0, 0, err
	}
	if n < 2 || head[0] != byte(want) {
		return 0, 0, crlError("structure")
	}
	length, more := int64(head[1]), int64(0)
	if length >= 0x80 {
		more = length & 0x7f
		if more == 0 || more > 4 || int64(n) < 2+more || head[2] == 0 {
			return 0, 0, crlError("length")
		}
		length = 0
		for _, b := range head[2 : 2+more] {
			length = length<<8 | int64(b)
		}
		if length < 0x80 {
			return 0, 0, crlError("length")
		}
	}
	content = at + 2 + more
	if limit-content < length {
		return 0, 0, crlError("it is cut off")
	}
	return content, content + length, nil
}

// bytes reads a part that is not large.
func (c *CRL) bytes(from, to int64) (cryptobyte.String, error) {
	if to-from > maxCRLPart {
		return nil, crlError(fmt.Sprintf("a part of %d bytes", to-from))
	}
	b := make([]byte, to-from)
	if _, err := io.ReadFull(io.NewSectionReader(c.r, from, to-from), b); err != nil {
		return nil, err
	}
	return b, nil
}

// readOuter reads what follows what is signed.
func (c *CRL) readOuter(end int64) error {
	s, err := c.bytes(c.end, end)
	if err != nil {
		return err
	}
	var algorithm cryptobyte.String
	if !s.ReadASN1Element(&algorithm, asn1.SEQUENCE) || !s.ReadASN1BitStringAsBytes(&c.signature) || !s.Empty() {
		return crlError("signature")
	}
	c.algorithm = algorithm
	return nil
}

// readHead reads up to the entries and tells where they begin.
func (c *CRL) readHead(at int64) (int64, error) {
	s, err := c.bytes(at, min(c.end, at+maxCRLPart))
	if err != nil {
		return 0, err
	}
	size := len(s)
	var version uint
	var algorithm, issuer cryptobyte.String
	switch {
	case !s.ReadASN1Integer(&version) || version != 1:
		return 0, crlError("version")
	case !s.ReadASN1Element(&algorithm, asn1.SEQUENCE) || !bytes.Equal(algorithm, c.algorithm):
		return 0, crlError("the signature algorithm differs inside and outside")
	case !s.ReadASN1Element(&issuer, asn1.SEQUENCE):
		return 0, crlError("issuer")
	case !readTime(&s, &c.ThisUpdate):
		return 0, crlError("thisUpdate")
	case (s.PeekASN1Tag(asn1.UTCTime) || s.PeekASN1Tag(asn1.GeneralizedTime)) && !readTime(&s, &c.NextUpdate):
		return 0, crlError("nextUpdate")
	}
	if _, err := checkName(issuer); err != nil {
		return 0, crlError("issuer")
	}
	c.Issuer = issuer
	return at + int64(size-len(s)), nil
}

// readRest finds the entries and reads the extensions after them.
func (c *CRL) readRest(at int64) (err error) {
	if at == c.end {
		return nil
	}
	tag := asn1.Tag(0).Constructed().ContextSpecific()
	if c.entries, c.entriesEnd, err = c.element(at, c.end, asn1.SEQUENCE); err == nil {
		if c.entries == c.entriesEnd {
			return crlError("an empty list of entries")
		}
		at = c.entriesEnd
	} else if !errors.Is(err, ErrCRL) {
		return err
	}
	if at == c.end {
		return nil
	}
	from, to, err := c.element(at, c.end, tag)
	if err != nil {
		return err
	}
	s, err := c.bytes(from, to)
	if err != nil {
		return err
	}
	var list cryptobyte.String
	if to != c.end || !s.ReadASN1(&list, asn1.SEQUENCE) || !s.Empty() {
		return crlError("extensions")
	}
	return c.readExtensions(list)
}

func (c *CRL) readExtensions(list cryptobyte.String) error {
	var duplicate string
	var ok bool
	if c.Extensions, duplicate, ok = readExtensions(list); !ok || duplicate != "" {
		return crlError("extensions")
	}
	for _, e := range c.Extensions {
		value := cryptobyte.String(e.Value)
		ok := true
		switch e.OID {
		case oidCRLNumber:
			c.Number, ok = readNumber(value)
		case oidDeltaCRLIndicator:
			c.BaseNumber, ok = readNumber(value)
			ok = ok && e.Critical
		case oidAuthorityKeyIdentifier:
			var body, id cryptobyte.String
			var present bool
			ok = value.ReadASN1(&body, asn1.SEQUENCE) && value.Empty() && body.ReadOptionalASN1(&id, &present, asn1.Tag(0).ContextSpecific())
			c.AuthorityKeyID = id
		case oidIssuingDistributionPoint:
			c.DistributionPoint, ok = readDistributionPoint(value)
			c.Limited, ok = !ok || !e.Critical, true
		default:
			ok = !e.Critical
		}
		if !ok {
			return crlError("the extension " + oidText(e.OID) + " cannot be read")
		}
	}
	return nil
}

func readNumber(s cryptobyte.String) ([]byte, bool) {
	var n cryptobyte.String
	if !s.ReadASN1(&n, asn1.INTEGER) || !s.Empty() || !minimalInteger(n) || n[0] >= 0x80 || len(n) > 21 {
		return nil, false
	}
	if len(n) > 1 && n[0] == 0 {
		n = n[1:]
	}
	return n, true
}

// readDistributionPoint reads an IssuingDistributionPoint that has a
// distributionPoint with one URI, and nothing else.
func readDistributionPoint(s cryptobyte.String) (uri string, ok bool) {
	var body, name, full, one cryptobyte.String
	tag := asn1.Tag(0).Constructed().ContextSpecific()
	ok = s.ReadASN1(&body, asn1.SEQUENCE) && s.Empty() && body.ReadASN1(&name, tag) && body.Empty() &&
		name.ReadASN1(&full, tag) && name.Empty() && full.ReadASN1(&one, asn1.Tag(6).ContextSpecific()) && full.Empty()
	return string(one), ok
}

// Entries calls yield for every entry, in the order of the file. An error of
// yield ends it.
func (c *CRL) Entries(yield func(e *CRLEntry) error) error {
	r := bufio.NewReaderSize(io.NewSectionReader(c.r, c.entries, c.entriesEnd-c.entries), 1<<16)
	var e CRLEntry
	var buf [maxCRLEntry]byte
	var lastTime []byte // its DER: many entries have the time of the one before
	for at := c.entries; at < c.entriesEnd; {
		head, err := r.Peek(int(min(4, c.entriesEnd-at)))
		if err != nil {
			return err
		}
		skip, length := 2, 0
		switch {
		case len(head) < 2 || head[0] != byte(asn1.SEQUENCE):
			return crlError("an entry")
		case head[1] < 0x80:
			length = int(head[1])
		case head[1] == 0x81 && len(head) > 2 && head[2] >= 0x80:
			skip, length = 3, int(head[2])
		case head[1] == 0x82 && len(head) > 3 && head[2] > 0:
			skip, length = 4, int(head[2])<<8|int(head[3])
		default:
			return crlError("an entry")
		}
		if length > len(buf) || int64(skip+length) > c.entriesEnd-at {
			return crlError("an entry")
		}
		if _, err := r.Discard(skip); err != nil {
			return err
		}
		if _, err := io.ReadFull(r, buf[:length]); err != nil {
			return err
		}
		at += int64(skip + length)
		if lastTime, err = e.read(buf[:length], lastTime); err != nil {
			return err
		}
		if err := yield(&e); err != nil {
			return err
		}
	}
	return nil
}

// read reads the content of an entry; its time stays when its DER is last.
func (e *CRLEntry) read(s cryptobyte.String, last []byte) ([]byte, error) {
	var serial, list, value cryptobyte.String
	if !s.ReadASN1(&serial, asn1.INTEGER) || !minimalInteger(serial) || serial[0] >= 0x80 {
		return nil, crlError("a serial number")
	}
	e.Serial, e.Reason = bytes.TrimLeft(serial, "\x00"), 0
	if len(last) > 0 && bytes.HasPrefix(s, last) {
		s = s[len(last):]
	} else {
		rest := s
		var t time.Time
		if !readTime(&s, &t) {
			return nil, crlError("a revocation date")
		}
		last, e.Time = append(last[:0], rest[:len(rest)-len(s)]...), t.Unix()
	}
	if s.Empty() {
		return last, nil
	}
	if !s.ReadASN1(&list, asn1.SEQUENCE) || !s.Empty() {
		return nil, crlError("an entry's extensions")
	}
	for !list.Empty() {
		var ext, oid cryptobyte.String
		var critical bool
		if !list.ReadASN1(&ext, asn1.SEQUENCE) || !ext.ReadASN1(&oid, asn1.OBJECT_IDENTIFIER) ||
			ext.PeekASN1Tag(asn1.BOOLEAN) && !ext.ReadASN1Boolean(&critical) || !ext.ReadASN1(&value, asn1.OCTET_STRING) || !ext.Empty() {
			return nil, crlError("an entry's extensions")
		}
		switch {
		case string(oid) == oidReasonCode && len(value) == 3 && value[0] == byte(asn1.ENUM) && value[1] == 1:
			e.Reason = value[2]
		case critical || string(oid) == oidReasonCode:
			return nil, crlError("an entry's extension " + oidText(string(oid)))
		}
	}
	return last, nil
}

// Digest is the SHA-256 of the CRL.
func (c *CRL) Digest() (digest [sha256.Size]byte, err error) {
	h := sha256.New()
	_, err = io.Copy(h, io.NewSectionReader(c.r, 0, c.size))
	return [sha256.Size]byte(h.Sum(nil)), err
}

// SignedBy checks the signature with a DER SubjectPublicKeyInfo. Memory does
// not grow with the CRL but for algorithms that hash by themselves.
func (c *CRL) SignedBy(spki []byte) error {
	key, err := publicKey(spki)
	if err != nil {
		return err
	}
	_, err = verifyDigest(key, c.algorithm, c.signature, func(h crypto.Hash) ([]byte, error) {
		message := io.NewSectionReader(c.r, c.tbs, c.end-c.tbs)
		to, err := messageHash(key, h)
		if err != nil {
			return nil, err
		}
		if to == nil {
			return io.ReadAll(message)
		}
		_, err = io.Copy(to, message)
		return to.Sum(nil), err
	})
	return err
}
