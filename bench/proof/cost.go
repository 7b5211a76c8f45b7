package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"database/sql"
	"errors"
	"fmt"
	"math/big"
	"syscall"
	"time"

	_ "modernc.org/sqlite"

	"chirograph.dev/internal/certlog"
	"chirograph.dev/internal/proof"
)

// cost is CPU time per certificate, in microseconds, of one processor that does
// nothing else.
type cost struct {
	Issue   float64 `json:"issueMicroseconds"`  // check a CSR, build and sign a certificate (P-256)
	Log     float64 `json:"logMicroseconds"`    // encode the entry, hash it into the tree
	Pack    float64 `json:"packMicroseconds"`   // compress full blocks, in the background
	Percent float64 `json:"percentOfIssuing"`   // Log and Pack, of Issue
	Entry   float64 `json:"entryBytes"`         // as hashed
	Packed  float64 `json:"packedEntryBytes"`   // as stored
	Batch   int     `json:"entriesOfOneCommit"` // that share a root
}

func (c *cost) print() {
	fmt.Printf("\nissuing (check a CSR, build and sign, P-256): %.1f us of CPU\n", c.Issue)
	fmt.Printf("added by the log: %.2f us (encode, hash, tree; %d entries in a commit) + %.2f us (packing) = %.2f %% of issuing\n", c.Log, c.Batch, c.Pack, c.Percent)
	fmt.Printf("an entry has %.0f bytes, %.1f packed\n", c.Entry, c.Packed)
}

// issuing measures certificates with and without the log, in turns, so that
// both see the same machine.
func issuing() (*cost, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{CommonName: "host.example.com", Organization: []string{"Example"}}, DNSNames: []string{"host.example.com"}}, key)
	if err != nil {
		return nil, err
	}
	encoder, err := proof.NewEncoder()
	if err != nil {
		return nil, err
	}
	const rounds, issued, batch = 5, 1500, 64
	c := &cost{Batch: batch}
	var head certlog.Head
	var issue, logged, packed time.Duration
	for range rounds {
		start := ownCPU()
		for i := range issued {
			if err := issueOne(csr, key, int64(i)); err != nil {
				return nil, err
			}
		}
		issue += ownCPU() - start

		serials := make([][sha256.Size]byte, certlog.BlockSize)
		for i := range serials {
			if _, err := rand.Read(serials[i][:]); err != nil {
				return nil, err
			}
		}
		entries := make([][]byte, certlog.BlockSize)
		start = ownCPU()
		for at := 0; at < len(entries); at += batch {
			for i := at; i < at+batch; i++ {
				if entries[i], err = entry(&serials[i], i); err != nil {
					return nil, err
				}
			}
			if head, _, err = head.Extend(entries[at : at+batch]); err != nil {
				return nil, err
			}
		}
		logged += ownCPU() - start

		var bundle []byte
		start = ownCPU()
		for _, e := range entries {
			bundle = certlog.AppendBundled(bundle, e)
		}
		c.Packed = float64(len(encoder.AppendFrame(nil, bundle))) / certlog.BlockSize
		packed += ownCPU() - start
		c.Entry = float64(len(bundle))/certlog.BlockSize - 2
	}
	c.Issue = float64(issue.Nanoseconds()) / 1e3 / (rounds * issued)
	c.Log = float64(logged.Nanoseconds()) / 1e3 / (rounds * certlog.BlockSize)
	c.Pack = float64(packed.Nanoseconds()) / 1e3 / (rounds * certlog.BlockSize)
	c.Percent = 100 * (c.Log + c.Pack) / c.Issue
	return c, nil
}

func issueOne(der []byte, key *ecdsa.PrivateKey, serial int64) error {
	csr, err := x509.ParseCertificateRequest(der)
	if err == nil {
		err = csr.CheckSignature()
	}
	if err != nil {
		return err
	}
	t := &x509.Certificate{
		SerialNumber: big.NewInt(serial + 1), Subject: csr.Subject, DNSNames: csr.DNSNames,
		NotBefore: time.Now(), NotAfter: time.Now().AddDate(0, 3, 0),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	_, err = x509.CreateCertificate(rand.Reader, t, t, csr.PublicKey, key)
	return err
}

// entry is what the log keeps of a certificate.
func entry(random *[sha256.Size]byte, i int) ([]byte, error) {
	e := certlog.Entry{
		Type: certlog.TypeIssue, Time: 1_790_000_000_000 + int64(i), Serial: append([]byte{1}, random[:15]...), CertSHA256: *random,
		NotBefore: 1_790_000_000, NotAfter: 1_797_776_000,
		Account: []byte("123456789012"), Principal: []byte("arn:aws:iam::123456789012:user/admin"),
		TemplateARN: []byte("arn:aws:acm-pca:::template/EndEntityCertificate/V1"),
		Subject:     fmt.Appendf(nil, "CN=host-%010d.example.com,O=Example", i),
	}
	return e.Append(nil)
}

// ownCPU is the CPU time of this process.
func ownCPU() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err) // only for arguments that there are not
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// stored measures what a stopped server's log takes in its database.
func (r *result) stored(path string) (err error) {
	db, err := sql.Open("sqlite", path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	var entries, nodes float64
	err = db.QueryRow(`SELECT (SELECT max(size) FROM log_head),
		(SELECT ifnull(sum(length(bytes)), 0) FROM log_pack) + (SELECT ifnull(sum(length(bytes)), 0) FROM log_entry),
		(SELECT ifnull(sum(length(hash)), 0) FROM log_node)`).Scan(&r.Entries, &entries, &nodes)
	r.EntryPerCert, r.TreePerCert = entries/float64(r.Rows), nodes/float64(r.Rows)
	return err
}
