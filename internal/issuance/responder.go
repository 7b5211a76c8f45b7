package issuance

import (
	"crypto"
	"errors"
	"fmt"
	"time"
	"unicode/utf8"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"

	"chirograph.dev/internal/pca"
)

// responderName follows the CA's in the common name of its responder certificates.
const responderName = "OCSP Responder"

// ResponderRequest is a certificate that signs OCSP responses for the CA.
type ResponderRequest struct {
	PublicKey        crypto.PublicKey
	SigningAlgorithm pca.SigningAlgorithm // of the CA's signature
	Now              time.Time
	NotAfter         time.Time // at the latest: it ends earlier when the CA does, or issues for less
	Serial           [16]byte
}

// IssueResponder signs a certificate of the template OCSPSigningCertificate with
// id-pkix-ocsp-nocheck and nothing about revocation. Its subject is the CA's with
// another common name, or, where the name constraints of the CA's chain forbid
// that, one that they permit. The template's ARN is the other result.
func (i *Issuer) IssueResponder(r ResponderRequest) (_ *Issued, template string, err error) {
	switch {
	case i.cfg.Signer == nil:
		return nil, "", errors.New("issuing without the CA's key")
	case i.rawName == nil:
		return nil, "", errors.New("issuing without the CA's certificate")
	}
	t, err := LookupTemplate(pca.TemplateARN(i.cfg.Partition, responderTemplate), i.cfg.Partition)
	if err != nil {
		return nil, "", err
	}
	t.CSRPassthrough = true // for the one extension that the template lacks
	spki, err := MarshalPublicKey(r.PublicKey)
	if err != nil {
		return nil, "", err
	}
	end := r.NotAfter
	if end.After(i.notAfter) {
		end = i.notAfter
	}
	if limit := r.Now.Truncate(time.Second).Add(shortLived); i.cfg.UsageMode == pca.CertificateAuthorityUsageMode_SHORT_LIVED_CERTIFICATE && end.After(limit) {
		end = limit
	}
	subject, err := i.responderSubject()
	if err != nil {
		return nil, "", fmt.Errorf("naming a responder: %w", err)
	}
	issued, err := i.issue(&Request{
		Template: t, SigningAlgorithm: r.SigningAlgorithm, Now: r.Now, Serial: r.Serial,
		Validity: pca.Validity{Type: pca.ValidityPeriodType_ABSOLUTE, Value: end.Unix()},
	}, &CSR{
		RawSubject: subject, RawSPKI: spki, PublicKey: r.PublicKey,
		Extensions: []Extension{{OID: oidOCSPNoCheck, Value: []byte{5, 0}}},
	}, &passthrough{})
	return issued, t.ARN, err
}

// responderSubject gives the first name that the constraints of the chain let
// pass: the CA's own one with another common name, then that in each permitted
// subtree of directory names; the first of all when none does.
func (i *Issuer) responderSubject() ([]byte, error) {
	rdns, common, err := splitCommonName(i.rawName)
	if err != nil {
		return nil, err
	}
	name := responderName
	if row, _ := standardAttribute(oidCommonName); common != "" && utf8.RuneCountInString(common+" "+name) <= row.limit {
		name = common + " " + name
	}
	places := [][][]byte{rdns}
	for _, c := range i.constraints {
		for _, p := range c.permitted {
			if p.tag != nameDirectory {
				continue
			}
			below, err := appendRDNs(nil, p.value)
			if err != nil {
				return nil, err
			}
			places = append(places, below)
		}
	}
	var first []byte
	for _, rdns := range places {
		subject, err := nameBelow(rdns, name)
		if err != nil || checkNameConstraints(i.constraints, subject, nil) == nil {
			return subject, err
		}
		if first == nil {
			first = subject
		}
	}
	return first, nil
}

// splitCommonName gives the RDNs of a Name without those that hold a common
// name, and the last of these as text; empty when there is none that can be read.
func splitCommonName(rawName []byte) (rdns [][]byte, common string, err error) {
	all, err := appendRDNs(nil, rawName)
	if err != nil {
		return nil, "", err
	}
	for _, rdn := range all {
		keep := true
		for s := cryptobyte.String(rdn); !s.Empty(); {
			a, err := readAttribute(&s)
			if err != nil {
				return nil, "", err
			}
			if string(a.oid) == oidCommonName {
				keep = false
				common, _ = a.text()
			}
		}
		if keep {
			rdns = append(rdns, rdn)
		}
	}
	return rdns, common, nil
}

// nameBelow is the Name of the RDNs with a common name after them.
func nameBelow(rdns [][]byte, common string) ([]byte, error) {
	return asDER(func(b *cryptobyte.Builder) {
		b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
			for _, rdn := range rdns {
				b.AddASN1(asn1.SET, func(b *cryptobyte.Builder) { b.AddBytes(rdn) })
			}
			b.AddASN1(asn1.SET, func(b *cryptobyte.Builder) {
				b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
					addOID(b, oidCommonName)
					addString(b, stringType(oidCommonName), common)
				})
			})
		})
	})
}
