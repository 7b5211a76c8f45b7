package crl

import (
	"math/big"
	"time"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"

	"chirograph.dev/internal/store"
)

// Object identifiers of the extensions of a CRL (RFC 5280 5.2), as content octets.
const (
	oidNumber                  = "\x55\x1d\x14"
	oidDeltaIndicator          = "\x55\x1d\x1b"
	oidDistributionPoint       = "\x55\x1d\x1c"
	oidAuthorityKeyID          = "\x55\x1d\x23"
	oidFreshestCRL             = "\x55\x1d\x2e"
	nameURI                    = asn1.Tag(6) | 0x80
	choice0                    = asn1.Tag(0) | 0xa0
	reasonExtension            = "\x30\x0c\x30\x0a\x06\x03\x55\x1d\x15\x04\x03\x0a\x01" // and the reason
	firstGeneralizedTime       = 2524608000                                             // 2050-01-01
	secondsPerDay              = 86400
	maxEntry                   = 64 // octets of an entry, more than it can have
	maxTime              int64 = 253402300799
)

// frame is all of a list but its entries.
type frame struct {
	algorithm  []byte // DER AlgorithmIdentifier of the signature
	issuer     []byte // DER Name
	thisUpdate time.Time
	nextUpdate time.Time

	keyID        []byte
	number       int64
	baseNumber   int64  // of a delta; 0: it is none
	partitionURI string // of a partition; empty: all certificates
	freshest     string // URI of the delta; empty: none
}

// appendEntry appends a revokedCertificates element. The date of the day is
// kept for the next one.
func (d *dates) appendEntry(dst []byte, r *store.Revoked) []byte {
	at := len(dst)
	dst = append(dst, 0x30, 0, 0x02, 0)
	if r.Serial[0] >= 0x80 {
		dst = append(dst, 0)
	}
	dst = append(dst, r.Serial...)
	dst[at+3] = byte(len(dst) - at - 4)
	dst = d.append(dst, r.Time/1000)
	if r.Reason != 0 { // UNSPECIFIED is told by saying nothing (RFC 5280 5.3.1)
		dst = append(dst, reasonExtension...)
		dst = append(dst, r.Reason)
	}
	dst[at+1] = byte(len(dst) - at - 2)
	return dst
}

// dates encodes times, those of one day quickly.
type dates struct {
	day int64 // since the epoch, of text
	// text is a Time with its tag and length, as it was encoded last; nil: none was.
	text []byte
}

// append appends a Time: UTCTime until 2049, GeneralizedTime from then on.
func (d *dates) append(dst []byte, seconds int64) []byte {
	seconds = min(max(seconds, 0), maxTime)
	if day := seconds / secondsPerDay; d.text == nil || day != d.day {
		layout, tag := "060102150405Z", asn1.UTCTime
		if seconds >= firstGeneralizedTime {
			layout, tag = "20060102150405Z", asn1.GeneralizedTime
		}
		d.day = day
		d.text = append(d.text[:0], byte(tag), byte(len(layout)))
		d.text = time.Unix(seconds, 0).UTC().AppendFormat(d.text, layout)
	}
	dst = append(dst, d.text...)
	clock, s := dst[len(dst)-7:], seconds%secondsPerDay
	h, m := s/3600, s/60%60
	s %= 60
	clock[0], clock[1] = '0'+byte(h/10), '0'+byte(h%10)
	clock[2], clock[3] = '0'+byte(m/10), '0'+byte(m%10)
	clock[4], clock[5] = '0'+byte(s/10), '0'+byte(s%10)
	return dst
}

// appendHeader appends the tag and length of an element.
func appendHeader(dst []byte, tag asn1.Tag, length int64) []byte {
	dst = append(dst, byte(tag))
	if length < 0x80 {
		return append(dst, byte(length))
	}
	octets := big.NewInt(length).Bytes()
	return append(append(dst, 0x80|byte(len(octets))), octets...)
}

// encode gives what comes before and after so many octets of entries in the
// TBSCertList, with its header.
func (f *frame) encode(entries int64) (before, after []byte, err error) {
	var b cryptobyte.Builder
	b.AddASN1Int64(1) // v2
	b.AddBytes(f.algorithm)
	b.AddBytes(f.issuer)
	var d dates
	b.AddBytes(d.append(nil, f.thisUpdate.Unix()))
	b.AddBytes(d.append(nil, f.nextUpdate.Unix()))
	if entries > 0 { // never an empty SEQUENCE
		b.AddBytes(appendHeader(nil, asn1.SEQUENCE, entries))
	}
	if before, err = b.Bytes(); err != nil {
		return nil, nil, err
	}
	if after, err = f.extensions(); err != nil {
		return nil, nil, err
	}
	tbs := appendHeader(nil, asn1.SEQUENCE, int64(len(before))+entries+int64(len(after)))
	return append(tbs, before...), after, nil
}

func (f *frame) extensions() ([]byte, error) {
	var b cryptobyte.Builder
	b.AddASN1(choice0, func(b *cryptobyte.Builder) {
		b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
			addExtension(b, oidAuthorityKeyID, false, func(b *cryptobyte.Builder) {
				b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
					b.AddASN1(asn1.Tag(0).ContextSpecific(), func(b *cryptobyte.Builder) { b.AddBytes(f.keyID) })
				})
			})
			addExtension(b, oidNumber, false, func(b *cryptobyte.Builder) { b.AddASN1Int64(f.number) })
			if f.baseNumber != 0 {
				addExtension(b, oidDeltaIndicator, true, func(b *cryptobyte.Builder) { b.AddASN1Int64(f.baseNumber) })
			}
			if f.partitionURI != "" {
				addExtension(b, oidDistributionPoint, true, func(b *cryptobyte.Builder) {
					b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) { addPoint(b, f.partitionURI) })
				})
			}
			if f.freshest != "" {
				addExtension(b, oidFreshestCRL, false, func(b *cryptobyte.Builder) {
					b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
						b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) { addPoint(b, f.freshest) })
					})
				})
			}
		})
	})
	return b.Bytes()
}

func addExtension(b *cryptobyte.Builder, oid string, critical bool, value func(*cryptobyte.Builder)) {
	b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1(asn1.OBJECT_IDENTIFIER, func(b *cryptobyte.Builder) { b.AddBytes([]byte(oid)) })
		if critical {
			b.AddASN1Boolean(true)
		}
		b.AddASN1(asn1.OCTET_STRING, value)
	})
}

// addPoint adds a distributionPoint whose fullName is one URI.
func addPoint(b *cryptobyte.Builder, uri string) {
	b.AddASN1(choice0, func(b *cryptobyte.Builder) {
		b.AddASN1(choice0, func(b *cryptobyte.Builder) {
			b.AddASN1(nameURI, func(b *cryptobyte.Builder) { b.AddBytes([]byte(uri)) })
		})
	})
}
