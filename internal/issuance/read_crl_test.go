package issuance

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"math/big"
	"testing"
	"time"
)

// newCRL makes a CRL with Go's own encoder.
func newCRL(tb testing.TB, entries int, extra ...pkix.Extension) (der, spki []byte, issuer *x509.Certificate) {
	tb.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	issuer = &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "CA"}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCRLSign, SubjectKeyId: []byte{1, 2, 3}, NotAfter: time.Unix(2e9, 0)}
	if der, err = x509.CreateCertificate(rand.Reader, issuer, issuer, key.Public(), key); err != nil {
		tb.Fatal(err)
	}
	if issuer, err = x509.ParseCertificate(der); err != nil {
		tb.Fatal(err)
	}
	list := &x509.RevocationList{Number: big.NewInt(1519676905984), ThisUpdate: time.Unix(1_790_000_000, 0), NextUpdate: time.Unix(2_600_000_000, 0), ExtraExtensions: extra}
	for i := range entries {
		e := x509.RevocationListEntry{SerialNumber: new(big.Int).Lsh(big.NewInt(0x80+int64(i)), uint(i%19)*8), RevocationTime: time.Unix(1_789_000_000+int64(i/3), 0), ReasonCode: i % 7}
		if i%5 == 0 {
			e.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{1, 2, 3}, Value: bytes.Repeat([]byte{0}, i%400)}}
		}
		list.RevokedCertificateEntries = append(list.RevokedCertificateEntries, e)
	}
	if der, err = x509.CreateRevocationList(rand.Reader, list, issuer, key); err != nil {
		tb.Fatal(err)
	}
	return der, issuer.RawSubjectPublicKeyInfo, issuer
}

// TestReadCRL reads what Go wrote, as Go reads it.
func TestReadCRL(t *testing.T) {
	t.Parallel()
	idp := pkix.Extension{Id: asn1.ObjectIdentifier{2, 5, 29, 28}, Critical: true, Value: []byte("\x30\x0e\xa0\x0c\xa0\x0a\x86\x08http://x")}
	for _, n := range []int{0, 1, 3000} {
		der, spki, issuer := newCRL(t, n, idp)
		want, err := x509.ParseRevocationList(der)
		if err != nil {
			t.Fatal(err)
		}
		c, err := ReadCRL(bytes.NewReader(der), int64(len(der)))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(c.Issuer, issuer.RawSubject) || !c.ThisUpdate.Equal(want.ThisUpdate) || !c.NextUpdate.Equal(want.NextUpdate) || !bytes.Equal(c.AuthorityKeyID, want.AuthorityKeyId) ||
			new(big.Int).SetBytes(c.Number).Cmp(want.Number) != 0 || c.BaseNumber != nil || c.DistributionPoint != "http://x" || c.Limited {
			t.Errorf("%+v", c)
		}
		i := 0
		err = c.Entries(func(e *CRLEntry) error {
			w := want.RevokedCertificateEntries[i]
			if !bytes.Equal(e.Serial, w.SerialNumber.Bytes()) || e.Time != w.RevocationTime.Unix() || int(e.Reason) != w.ReasonCode {
				t.Errorf("entry %d: %+v", i, e)
			}
			i++
			return nil
		})
		if digest, derr := c.Digest(); err != nil || i != n || derr != nil || digest != sha256.Sum256(der) {
			t.Errorf("%d of %d entries: %v, %v", i, n, err, derr)
		}
		if err := c.SignedBy(spki); err != nil {
			t.Error(err)
		}
		_, other, _ := newCRL(t, 0)
		if err := c.SignedBy(other); !errors.Is(err, errSignature) {
			t.Errorf("another key: %v", err)
		}
	}
}

// TestCRLDamage: every byte that is changed, and every cut, is noticed.
func TestCRLDamage(t *testing.T) {
	t.Parallel()
	der, spki, _ := newCRL(t, 4)
	for i := range der {
		for _, b := range [][]byte{der[:i], append(append(bytes.Clone(der[:i]), der[i]^0x41), der[i+1:]...)} {
			if readAll(b, spki) == nil {
				t.Errorf("byte %d of %d: nothing is wrong with %d bytes", i, len(der), len(b))
			}
		}
	}
}

func readAll(der, spki []byte) error {
	c, err := ReadCRL(bytes.NewReader(der), int64(len(der)))
	if err != nil {
		return err
	}
	if err := c.Entries(func(*CRLEntry) error { return nil }); err != nil {
		return err
	}
	return c.SignedBy(spki)
}

// FuzzReadCRL: whatever it is given, it returns; and what it takes, Go takes,
// but for extensions that only Go looks into.
func FuzzReadCRL(f *testing.F) {
	der, _, _ := newCRL(f, 3)
	f.Add(der)
	empty, _, _ := newCRL(f, 0)
	f.Add(empty)
	f.Fuzz(func(t *testing.T, der []byte) {
		c, err := ReadCRL(bytes.NewReader(der), int64(len(der)))
		if err != nil {
			return
		}
		n := 0
		if c.Entries(func(*CRLEntry) error { n++; return nil }) != nil {
			return
		}
		if want, err := x509.ParseRevocationList(der); err == nil && len(want.RevokedCertificateEntries) != n {
			t.Errorf("%d entries, Go reads %d", n, len(want.RevokedCertificateEntries))
		}
	})
}
