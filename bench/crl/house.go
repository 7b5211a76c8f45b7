package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"chirograph.dev/internal/bench"
	"chirograph.dev/internal/bucket"
	"chirograph.dev/internal/bucket/local"
	"chirograph.dev/internal/ca"
	"chirograph.dev/internal/certlog"
	"chirograph.dev/internal/crl"
	"chirograph.dev/internal/iam"
	"chirograph.dev/internal/issuance"
	"chirograph.dev/internal/keystore"
	"chirograph.dev/internal/pca"
	"chirograph.dev/internal/store"
	"chirograph.dev/internal/store/sqlite"
)

const (
	bucketName = "crls"
	partition  = "aws"
)

// house is what a server makes CRLs with, in this process.
type house struct {
	arn, id string
	account string
	data    string
	db      *sqlite.DB
	buckets *local.Service
	cas     *ca.Service
	lists   *crl.Service
	log     *slog.Logger

	csr     []byte
	entries float64 // of the newest list
}

func openHouse(ctx context.Context, data, arn string, deltas bool) (h *house, err error) {
	h = &house{arn: arn, id: path.Base(arn), data: data, log: slog.New(slog.DiscardHandler)}
	parsed, err := pca.ParseCAARN(arn, partition)
	if err != nil {
		return nil, err
	}
	h.account = parsed.Account
	if h.db, err = sqlite.Open(ctx, sqlite.Config{Path: filepath.Join(data, "chirograph.db"), Log: h.log}); err != nil {
		return nil, err
	}
	master, err := keystore.LoadMasterKey(filepath.Join(data, "master.key"))
	if err != nil {
		return nil, err
	}
	keys, err := keystore.Open(keystore.Config{Dir: filepath.Join(data, "keys"), MasterKey: master})
	if err != nil {
		return nil, err
	}
	if h.buckets, err = local.Open(local.Config{Dir: filepath.Join(data, "buckets"), Log: h.log}); err != nil {
		return nil, err
	}
	csrs, err := bench.CSRs(1)
	if err != nil {
		return nil, err
	}
	h.csr = csrs[0]
	h.cas, err = ca.New(ctx, ca.Config{
		Partition: partition, Region: parsed.Region, ServerName: "bench",
		Records: h.db, Overview: h.db, Certificates: h.db, Entries: certlog.New(certlog.Config{Store: h.db, Log: h.log}), Keys: keys,
		CRLs: h, Changed: func(rec *store.CertificateAuthority) {
			if h.lists != nil {
				h.lists.Changed(rec)
			}
		},
		Caller: func(context.Context) ca.Caller {
			return ca.Caller{Account: parsed.Account, Principal: &iam.Principal{Account: parsed.Account}}
		},
		AuthorizeAlso: func(context.Context, string, string) error { return nil },
		Log:           h.log,
	})
	if err != nil {
		return nil, err
	}
	return h, h.serve(deltas)
}

// serve makes the lists' service, as a start of the server does.
func (h *house) serve(deltas bool) (err error) {
	h.lists, err = crl.New(crl.Config{
		Dir: h.dir(), Records: h.db, Revocations: h.db, Authorities: h.cas, CAs: h.db.CAs, Deltas: deltas, Log: h.log,
		URL: func(bucket, key string, _ bool) string { return "http://127.0.0.1/" + bucket + "/" + key },
		Destination: func(_ context.Context, account, arn string) (*bucket.Client, error) {
			return bucket.New(bucket.Config{Transport: h.buckets.Transport(bucket.Principal(account, arn)), Owner: h.buckets.Transport(owner(h.account))})
		},
	})
	return err
}

func owner(account string) *iam.Principal {
	all, err := iam.ParsePolicy([]byte(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:*","Resource":"*"}]}`))
	if err != nil {
		panic(err) // of a text of this program
	}
	return &iam.Principal{Account: account, ARN: "arn:" + partition + ":iam::" + account + ":root", ID: account, Policies: []*iam.Policy{all}}
}

func (h *house) dir() string { return filepath.Join(h.data, "crl") }

// Check and Bind make a house the ca.CRLs of whichever service there is.
func (h *house) Check(ctx context.Context, rec *store.CertificateAuthority) error {
	return h.lists.Check(ctx, rec)
}

// Bind implements ca.CRLs.
func (h *house) Bind(ctx context.Context, rec *store.CertificateAuthority) (int64, string, error) {
	return h.lists.Bind(ctx, rec)
}

func (h *house) close() error {
	h.cas.Close()
	return errors.Join(h.buckets.Close(), h.db.Close())
}

// configure switches CRLs on, to objects that only the bucket's owner reads.
func (h *house) configure(ctx context.Context) error {
	_, err := h.cas.UpdateCertificateAuthority(ctx, &pca.UpdateCertificateAuthorityRequest{
		CertificateAuthorityArn: h.arn,
		RevocationConfiguration: &pca.RevocationConfiguration{CrlConfiguration: &pca.CrlConfiguration{
			Enabled: true, ExpirationInDays: 7, S3BucketName: bucketName, S3ObjectAcl: pca.S3ObjectAcl_BUCKET_OWNER_FULL_CONTROL,
		}},
	})
	return err
}

// revokeOne issues a certificate and revokes it.
func (h *house) revokeOne(ctx context.Context) error {
	out, err := h.cas.IssueCertificate(ctx, &pca.IssueCertificateRequest{
		CertificateAuthorityArn: h.arn, Csr: h.csr, SigningAlgorithm: pca.SigningAlgorithm_SHA256WITHECDSA,
		Validity: pca.Validity{Type: pca.ValidityPeriodType_DAYS, Value: 90},
	})
	if err != nil {
		return err
	}
	_, err = h.cas.RevokeCertificate(ctx, &pca.RevokeCertificateRequest{
		CertificateAuthorityArn: h.arn, CertificateSerial: path.Base(out.CertificateArn), RevocationReason: pca.RevocationReason_KEY_COMPROMISE,
	})
	return err
}

// publish makes the list and measures that.
func (h *house) publish(ctx context.Context, what string) (bench.Result, error) {
	resetPeak()
	cpu, seconds, err := timed(func() error { return h.lists.Publish(ctx, h.id) })
	if err != nil {
		return bench.Result{}, err
	}
	_, peak, err := bench.Memory(os.Getpid())
	if err != nil {
		return bench.Result{}, err
	}
	lists, err := h.lists.List(ctx, h.id)
	if err != nil {
		return bench.Result{}, err
	}
	l := lists[0]
	if l.Signed == nil || l.WrittenAt == nil || l.Entries == 0 {
		return bench.Result{}, fmt.Errorf("the CRL was not made: %+v", l)
	}
	h.entries = float64(l.Entries)
	return bench.Result{What: what, Size: l.Entries, Units: h.entries, Seconds: seconds, CPU: cpu * 1e6 / h.entries, Bytes: l.Bytes, Peak: peak}, nil
}

// deltaWith waits until a delta with so many entries is in the bucket.
func (h *house) deltaWith(ctx context.Context, entries uint64) (uint64, error) {
	for {
		lists, err := h.lists.List(ctx, h.id)
		if err != nil {
			return 0, err
		}
		if l := lists[0]; l.Failure != "" {
			return 0, errors.New(l.Failure)
		} else if l.Delta != nil && l.Delta.Entries >= entries && l.Delta.WrittenAt != nil {
			return l.Delta.Entries, nil
		}
		select {
		case <-ctx.Done():
			return 0, ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// file is the newest list.
func (h *house) file() string {
	return filepath.Join(h.dir(), crl.FileName(bucketName, "crl/"+h.id+".crl"))
}

// read reads the entries of the newest list.
func (h *house) read() (entries []x509.RevocationListEntry, err error) {
	f, err := os.Open(h.file())
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	list, err := issuance.ReadCRL(f, info.Size())
	if err != nil {
		return nil, err
	}
	err = list.Entries(func(e *issuance.CRLEntry) error {
		entries = append(entries, x509.RevocationListEntry{SerialNumber: new(big.Int).SetBytes(e.Serial), RevocationTime: time.Unix(e.Time, 0).UTC(), ReasonCode: int(e.Reason)})
		return nil
	})
	return entries, err
}

func hashAndWrite(path string, body []byte) error {
	sum := sha256.Sum256(body)
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	_, err = f.Write(body)
	if err == nil {
		_, err = f.Write(sum[:])
	}
	return errors.Join(err, f.Sync(), f.Close())
}

// newIssuer makes a CA for others: they cannot use ours, whose key is sealed.
func newIssuer() (*ecdsa.PrivateKey, *x509.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Root"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().AddDate(1, 0, 0),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCRLSign | x509.KeyUsageCertSign, SubjectKeyId: []byte{1, 2, 3, 4},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, nil, err
	}
	cert, err := x509.ParseCertificate(der)
	return key, cert, err
}

// goCRL makes a list with Go's x509 package.
func goCRL(path string, entries []x509.RevocationListEntry) (u bench.Usage, err error) {
	key, issuer, err := newIssuer()
	if err != nil {
		return u, err
	}
	resetPeak()
	u.CPU, u.Seconds, err = timed(func() error {
		der, err := x509.CreateRevocationList(rand.Reader, &x509.RevocationList{
			RevokedCertificateEntries: entries, Number: big.NewInt(1), ThisUpdate: time.Now(), NextUpdate: time.Now().AddDate(0, 0, 7),
		}, issuer, key)
		if err != nil {
			return err
		}
		return hashAndWrite(path, der)
	})
	if err != nil {
		return u, err
	}
	_, u.Peak, err = bench.Memory(os.Getpid())
	return u, err
}

// openSSL makes a list with openssl's CA, whose store is a text.
func openSSL(ctx context.Context, dir string, entries []x509.RevocationListEntry) (u bench.Usage, err error) {
	key, issuer, err := newIssuer()
	if err != nil {
		return u, err
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return u, err
	}
	var index strings.Builder
	reasons := []string{"unspecified", "keyCompromise", "CACompromise", "affiliationChanged", "superseded", "cessationOfOperation"}
	for i := range entries {
		e := &entries[i]
		reason := ""
		if e.ReasonCode > 0 && e.ReasonCode < len(reasons) {
			reason = "," + reasons[e.ReasonCode]
		}
		fmt.Fprintf(&index, "R\t%s\t%s%s\t%X\tunknown\t/CN=host-%d\n", time.Now().AddDate(0, 3, 0).UTC().Format("060102150405Z"), e.RevocationTime.Format("060102150405Z"), reason, e.SerialNumber.FillBytes(make([]byte, len(e.SerialNumber.Bytes()))), i)
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		return u, err
	}
	for name, body := range map[string][]byte{
		"index.txt": []byte(index.String()), "crlnumber": []byte("01\n"),
		"key.pem": pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}),
		"ca.pem":  pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: issuer.Raw}),
		"ca.cnf":  []byte("[ca]\ndefault_ca=d\n[d]\ndatabase=index.txt\ncrlnumber=crlnumber\ndefault_md=sha256\ndefault_crl_days=7\ncrl_extensions=x\nunique_subject=no\n[x]\nauthorityKeyIdentifier=keyid\n"),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), body, 0o600); err != nil {
			return u, err
		}
	}
	cmd := exec.CommandContext(ctx, "openssl", slices.Concat([]string{"ca", "-gencrl"}, []string{"-config", "ca.cnf", "-cert", "ca.pem", "-keyfile", "key.pem", "-out", "openssl.crl"})...)
	cmd.Dir = dir
	return bench.RunCommand(cmd)
}
