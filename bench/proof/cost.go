package main

import (
	"context"
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
	"time"

	_ "modernc.org/sqlite"

	"chirograph.dev/internal/bench"
	"chirograph.dev/internal/certlog"
	"chirograph.dev/internal/proof"
)

// issuing reports what the log adds to a certificate, beside issuing it. Both
// are measured in turns, so that both see the same machine.
func issuing(r *bench.Run, rounds int) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{CommonName: "host.example.com", Organization: []string{"Example"}}, DNSNames: []string{"host.example.com"}}, key)
	if err != nil {
		return err
	}
	encoder, err := proof.NewEncoder()
	if err != nil {
		return err
	}
	const issued, batch = 1500, 64
	var head certlog.Head
	var issue, logged, packed time.Duration
	var plain, frames int
	for range rounds {
		start := bench.OwnCPU()
		for i := range issued {
			if err := issueOne(csr, key, int64(i)); err != nil {
				return err
			}
		}
		issue += bench.OwnCPU() - start

		serials := make([][sha256.Size]byte, certlog.BlockSize)
		for i := range serials {
			if _, err := rand.Read(serials[i][:]); err != nil {
				return err
			}
		}
		entries := make([][]byte, certlog.BlockSize)
		start = bench.OwnCPU()
		for at := 0; at < len(entries); at += batch {
			for i := at; i < at+batch; i++ {
				if entries[i], err = entry(&serials[i], i); err != nil {
					return err
				}
			}
			if head, _, err = head.Extend(entries[at : at+batch]); err != nil {
				return err
			}
		}
		logged += bench.OwnCPU() - start

		var bundle []byte
		start = bench.OwnCPU()
		for _, e := range entries {
			bundle = certlog.AppendBundled(bundle, e)
		}
		frames += len(encoder.AppendFrame(nil, bundle))
		packed += bench.OwnCPU() - start
		plain += len(bundle) - 2*len(entries)
	}
	n := float64(rounds * certlog.BlockSize)
	floor := float64(issue.Nanoseconds()) / 1e3 / float64(rounds*issued)
	r.Report(bench.Result{What: "issued: checked, built, signed", Units: float64(rounds * issued), CPU: floor})
	r.Report(bench.Result{What: "added: entry, tree, root of 64", Units: n, CPU: float64(logged.Nanoseconds()) / 1e3 / n, FloorCPU: floor, Bytes: int64(plain)})
	r.Report(bench.Result{What: "added: packed, in the background", Units: n, CPU: float64(packed.Nanoseconds()) / 1e3 / n, FloorCPU: floor, Bytes: int64(frames)})
	return nil
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

// stored measures what a stopped server's log takes in its database, in bytes.
func stored(ctx context.Context, path string) (entries, nodes int64, err error) {
	db, err := sql.Open("sqlite", path)
	if err != nil {
		return 0, 0, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	err = db.QueryRowContext(ctx, `SELECT (SELECT ifnull(sum(length(bytes)), 0) FROM log_pack) + (SELECT ifnull(sum(length(bytes)), 0) FROM log_entry),
		(SELECT ifnull(sum(length(hash)), 0) FROM log_node)`).Scan(&entries, &nodes)
	return entries, nodes, err
}
