package issuance

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"testing"
	"time"

	"chirograph.dev/internal/pca"
)

func benchRequest(b *testing.B) (*Issuer, Request) {
	key := ecKey(b, elliptic.P256())
	spec := csrSpec{subject: name(b, pca.ASN1Subject{CommonName: "www.example.com", Organization: "Example"}), extensions: []Extension{{OID: oidSubjectAltName, Value: dnsNames(b, "www.example.com")}}}
	return p256Root().issuer(b), request(b, "EndEntityServerAuthCertificate", spec.pem(b, key))
}

// BenchmarkIssue is the whole walk: CSR, checks, assembly, P-256 signature.
// Its floor is BenchmarkFloorCSR + BenchmarkFloorSign.
func BenchmarkIssue(b *testing.B) {
	i, r := benchRequest(b)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := i.Issue(r); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkIssueByKey issues a certificate for a P-256 CSR with a CA key of
// each algorithm. x/sign is the ratio to the bare signature of the same bytes,
// x/floor to that and the bare verification that a CSR needs.
func BenchmarkIssueByKey(b *testing.B) {
	_, r := benchRequest(b)
	csr, err := ParseCSR(r.CSR)
	if err != nil {
		b.Fatal(err)
	}
	leaf := csr.PublicKey.(*ecdsa.PublicKey)
	parts := splitSequence(b, csr.Raw)
	signature, digest := parts[2][3:], sha256.Sum256(parts[0])
	verify := each(func() {
		if !ecdsa.VerifyASN1(leaf, digest[:], signature) {
			b.Fatal("does not verify")
		}
	})
	for _, k := range keyAlgorithms {
		b.Run(string(k), func(b *testing.B) {
			key := newKey(b, k)
			i := newRoot(b, key, anyAlgorithm(key), "RootCACertificate", nil).issuer(b)
			r := r
			r.SigningAlgorithm = anyAlgorithm(key)
			out, err := i.Issue(r)
			if err != nil {
				b.Fatal(err)
			}
			algorithm, err := algorithmFor(r.SigningAlgorithm, key.Public())
			if err != nil {
				b.Fatal(err)
			}
			tbs := splitSequence(b, out.DER)[0]
			sign := each(func() {
				digest, err := messageDigest(key.Public(), algorithm.hash, tbs)
				if err == nil {
					_, err = key.Sign(rand.Reader, digest, algorithm.hash)
				}
				if err != nil {
					b.Fatal(err)
				}
			})
			for b.Loop() {
				if _, err := i.Issue(r); err != nil {
					b.Fatal(err)
				}
			}
			took := float64(b.Elapsed()) / float64(b.N)
			b.ReportMetric(sign/1e3, "µs/sign")
			b.ReportMetric(took/sign, "x/sign")
			b.ReportMetric(took/(sign+verify), "x/floor")
			b.ReportMetric(float64(len(out.DER)), "B/cert")
		})
	}
}

// each gives the nanoseconds that f takes, on average over half a second.
func each(f func()) float64 {
	f() // once for what is prepared at first use
	begin, n := time.Now(), 0
	for ; time.Since(begin) < time.Second/2; n++ {
		f()
	}
	return float64(time.Since(begin)) / float64(n)
}

// BenchmarkBuildAndSign is Issue without the CSR's intake; its floor is
// BenchmarkFloorSign.
func BenchmarkBuildAndSign(b *testing.B) {
	i, r := benchRequest(b)
	csr, err := ParseCSR(r.CSR)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		c, err := i.assemble(&r, csr, &passthrough{})
		if err != nil {
			b.Fatal(err)
		}
		alg, err := algorithmFor(r.SigningAlgorithm, i.public)
		if err != nil {
			b.Fatal(err)
		}
		if c.period, err = requestedPeriod(&r); err != nil {
			b.Fatal(err)
		}
		tbs, err := c.tbs(r.Serial, alg.identifier)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := alg.sign(i.cfg.Signer, tbs, false); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkParseCSR(b *testing.B) {
	_, r := benchRequest(b)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ParseCSR(r.CSR); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkFloorSign is a bare P-256 signature of a digest.
func BenchmarkFloorSign(b *testing.B) {
	b.ReportAllocs()
	key := ecKey(b, elliptic.P256())
	digest := sha256.Sum256([]byte("x"))
	for b.Loop() {
		if _, err := key.Sign(rand.Reader, digest[:], crypto.SHA256); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkFloorVerify is a bare P-256 verification of a digest.
func BenchmarkFloorVerify(b *testing.B) {
	key := ecKey(b, elliptic.P256())
	digest := sha256.Sum256([]byte("x"))
	sig, err := key.Sign(rand.Reader, digest[:], crypto.SHA256)
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if !ecdsa.VerifyASN1(&key.PublicKey, digest[:], sig) {
			b.Fatal("does not verify")
		}
	}
}

// BenchmarkFloorCSR is what crypto/x509 needs for the same CSR in DER.
func BenchmarkFloorCSR(b *testing.B) {
	_, r := benchRequest(b)
	der, err := requestBlock(r.CSR)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		csr, err := x509.ParseCertificateRequest(der)
		if err != nil {
			b.Fatal(err)
		}
		if err := csr.CheckSignature(); err != nil {
			b.Fatal(err)
		}
	}
}
