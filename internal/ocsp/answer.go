package ocsp

import (
	"fmt"
	"time"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"

	"chirograph.dev/internal/issuance"
)

// code is an OCSPResponseStatus (RFC 6960 4.2.1).
type code uint8

const (
	successful       code = 0
	malformedRequest code = 1
	internalError    code = 2
	tryLater         code = 3
	unauthorized     code = 6
)

// errorResponse is the whole of an answer that is not signed.
func errorResponse(c code) []byte { return []byte{0x30, 3, 0x0a, 1, byte(c)} }

// single is one certificate's part of an answer.
type single struct {
	id     certID
	status Status
}

// period is from thisUpdate to nextUpdate.
type period struct{ from, to time.Time }

// periodAt is the period of an answer that r signs now for i.
func (s *Service) periodAt(now time.Time, r *responder, i *issuer) period {
	from := now.UTC().Truncate(time.Minute)
	to := from.Add(s.cfg.Validity)
	for _, end := range []time.Time{r.row.NotAfter, i.current.Load().notAfter} {
		if to.After(end) {
			to = end.UTC()
		}
	}
	return period{from, to}
}

// build makes a successful OCSPResponse and signs it.
func (s *Service) build(r *responder, now time.Time, p period, singles []single, nonce []byte) ([]byte, error) {
	message, err := issuance.NewMessage(r.key.Public(), r.algorithm)
	if err != nil {
		return nil, err
	}
	var b cryptobyte.Builder
	b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) { // ResponseData
		b.AddASN1(contextTag(2), func(b *cryptobyte.Builder) { b.AddASN1OctetString(r.keyHash[:]) })
		b.AddASN1GeneralizedTime(now.UTC())
		b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
			for i := range singles {
				singles[i].add(b, p, s.cfg.UnknownSerial)
			}
		})
		s.addExtensions(b, singles, nonce)
	})
	tbs, err := b.Bytes()
	if err != nil {
		return nil, fmt.Errorf("encoding an answer: %w", err)
	}
	message.Write(tbs)
	signature, err := message.Sign(r.key)
	if err != nil {
		return nil, err
	}
	b = *cryptobyte.NewBuilder(make([]byte, 0, len(tbs)+len(signature)+len(r.der)+96))
	b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) { // OCSPResponse
		b.AddASN1Enum(int64(successful))
		b.AddASN1(contextTag(0), func(b *cryptobyte.Builder) {
			b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
				addBytes(b, asn1.OBJECT_IDENTIFIER, []byte(oidBasic))
				b.AddASN1(asn1.OCTET_STRING, func(b *cryptobyte.Builder) {
					b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) { // BasicOCSPResponse
						b.AddBytes(tbs)
						b.AddBytes(message.Algorithm())
						b.AddASN1BitString(signature)
						b.AddASN1(contextTag(0), func(b *cryptobyte.Builder) {
							b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) { b.AddBytes(r.der) })
						})
					})
				})
			})
		})
	})
	der, err := b.Bytes()
	if err != nil {
		return nil, fmt.Errorf("encoding an answer: %w", err)
	}
	return der, nil
}

// add adds a SingleResponse. It repeats the CertID as it was asked.
func (x *single) add(b *cryptobyte.Builder, p period, unknown UnknownSerial) {
	revoked := func(b *cryptobyte.Builder, at time.Time, reason uint8) {
		b.AddASN1(contextTag(1), func(b *cryptobyte.Builder) {
			b.AddASN1GeneralizedTime(at)
			if reason != 0 { // revocation.md 1.1
				b.AddASN1(contextTag(0), func(b *cryptobyte.Builder) { b.AddASN1Enum(int64(reason)) })
			}
		})
	}
	b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) { b.AddBytes(x.id.content) })
		switch {
		case x.status.State == Good:
			addBytes(b, asn1.Tag(0).ContextSpecific(), nil)
		case x.status.State == Revoked:
			revoked(b, x.status.RevokedAt, x.status.Reason)
		case x.status.State == NeverIssued && unknown == RevokedToo:
			revoked(b, time.Unix(0, 0).UTC(), 6) // certificateHold: RFC 6960 2.2
		default:
			addBytes(b, asn1.Tag(2).ContextSpecific(), nil)
		}
		from := p.from
		if at := x.status.RevokedAt; x.status.State == Revoked && at.After(from) { // in the minute that has begun
			from = at
		}
		b.AddASN1GeneralizedTime(from)
		b.AddASN1(contextTag(0), func(b *cryptobyte.Builder) { b.AddASN1GeneralizedTime(p.to) })
	})
}

// addExtensions adds the responseExtensions: the nonce, and what tells that
// serial numbers which were never issued are called revoked (RFC 6960 4.4.8).
func (s *Service) addExtensions(b *cryptobyte.Builder, singles []single, nonce []byte) {
	extended := false
	for i := range singles {
		extended = extended || singles[i].status.State == NeverIssued && s.cfg.UnknownSerial == RevokedToo
	}
	if nonce == nil && !extended {
		return
	}
	add := func(b *cryptobyte.Builder, oid string, value func(b *cryptobyte.Builder)) {
		b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
			addBytes(b, asn1.OBJECT_IDENTIFIER, []byte(oid))
			b.AddASN1(asn1.OCTET_STRING, value)
		})
	}
	b.AddASN1(contextTag(1), func(b *cryptobyte.Builder) {
		b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
			if nonce != nil {
				add(b, oidNonce, func(b *cryptobyte.Builder) { b.AddASN1OctetString(nonce) })
			}
			if extended {
				add(b, oidExtendedRevoked, func(b *cryptobyte.Builder) { b.AddASN1NULL() })
			}
		})
	})
}
