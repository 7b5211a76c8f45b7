package crl

import (
	"bytes"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"math/big"
	"testing"
	"time"

	"chirograph.dev/internal/store"
)

// TestEntries encodes entries beside encoding/asn1.
func TestEntries(t *testing.T) {
	t.Parallel()
	var d dates
	for _, reason := range []uint8{0, 1, 2, 3, 4, 5, 9, 10} {
		for _, serial := range [][]byte{{1}, {0x80}, bytes.Repeat([]byte{0xff}, 20), append([]byte{0x7f}, make([]byte, 15)...)} {
			for _, at := range []string{"1970-01-01T00:00:00Z", "2026-11-22T10:00:00Z", "2026-11-22T23:59:59Z", "2028-02-29T12:34:56Z", "2049-12-31T23:59:59Z", "2050-01-01T00:00:00Z", "2051-07-08T09:10:11Z"} {
				when, err := time.Parse(time.RFC3339, at)
				if err != nil {
					t.Fatal(err)
				}
				want := pkix.RevokedCertificate{SerialNumber: new(big.Int).SetBytes(serial), RevocationTime: when}
				if reason != 0 {
					value, err := asn1.Marshal(asn1.Enumerated(reason))
					if err != nil {
						t.Fatal(err)
					}
					want.Extensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 21}, Value: value}}
				}
				der, err := asn1.Marshal(want)
				if err != nil {
					t.Fatal(err)
				}
				got := d.appendEntry(nil, &store.Revoked{Serial: serial, Time: when.UnixMilli() + 999, Reason: reason})
				if !bytes.Equal(got, der) || len(got) > maxEntry {
					t.Errorf("serial %x, reason %d, %s: %x, want %x", serial, reason, at, got, der)
				}
			}
		}
	}
}

// TestFrame reads what is around entries with encoding/asn1.
func TestFrame(t *testing.T) {
	t.Parallel()
	name, err := asn1.Marshal(pkix.Name{CommonName: "Root"}.ToRDNSequence())
	if err != nil {
		t.Fatal(err)
	}
	at := time.Date(2049, 12, 31, 23, 30, 0, 0, time.UTC)
	f := frame{
		algorithm: []byte("\x30\x0a\x06\x08\x2a\x86\x48\xce\x3d\x04\x03\x02"), issuer: name, thisUpdate: at, nextUpdate: at.Add(time.Hour),
		keyID: []byte{1, 2, 3}, number: 1519676905984, baseNumber: 7, partitionURI: "http://a/b.crl", freshest: "http://a/b-delta.crl",
	}
	for _, entries := range []int{0, 1, 2, 3, 7, 2000} {
		var body []byte
		var d dates
		for i := range entries {
			body = d.appendEntry(body, &store.Revoked{Serial: []byte{byte(i)%127 + 1}, Time: int64(i) * 1000})
		}
		before, after, err := f.encode(int64(len(body)))
		if err != nil {
			t.Fatal(err)
		}
		der := append(append(before, body...), after...)
		var tbs pkix.TBSCertificateList
		if rest, err := asn1.Unmarshal(der, &tbs); err != nil || len(rest) > 0 {
			t.Fatalf("%d entries: %v, %d octets left", entries, err, len(rest))
		}
		if len(tbs.RevokedCertificates) != entries || (entries == 0) != (tbs.RevokedCertificates == nil) || len(tbs.Extensions) != 5 || tbs.Version != 1 {
			t.Errorf("%d entries: %+v", entries, tbs)
		}
		if !tbs.ThisUpdate.Equal(at) || !tbs.NextUpdate.Equal(at.Add(time.Hour)) {
			t.Errorf("%s to %s", tbs.ThisUpdate, tbs.NextUpdate)
		}
		for i, want := range []struct {
			id       int
			critical bool
		}{{35, false}, {20, false}, {27, true}, {28, true}, {46, false}} {
			if e := tbs.Extensions[i]; !e.Id.Equal(asn1.ObjectIdentifier{2, 5, 29, want.id}) || e.Critical != want.critical {
				t.Errorf("extension %d is %v, critical %t", i, e.Id, e.Critical)
			}
		}
		whole, err := asn1.Marshal(pkix.CertificateList{SignatureAlgorithm: tbs.Signature, SignatureValue: asn1.BitString{Bytes: []byte{1}, BitLength: 8},
			TBSCertList: pkix.TBSCertificateList{Raw: der}})
		if err != nil {
			t.Fatal(err)
		}
		if list, err := x509.ParseRevocationList(whole); err != nil || len(list.RevokedCertificateEntries) != entries || list.Number.Int64() != f.number {
			t.Errorf("%d entries: %v", entries, err)
		}
	}
}

func TestPartitionNames(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for range 1000 {
		name := partitionName()
		if len(name) != 11 || seen[name] {
			t.Fatalf("%q", name)
		}
		seen[name] = true
	}
}
