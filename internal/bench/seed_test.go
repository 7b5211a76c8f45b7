package bench

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"path"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/acmpca"

	"chirograph.dev/internal/certlog"
	"chirograph.dev/internal/fsck"
)

// TestSeeding seeds, twice, and revokes: the store is what its log says, and the
// server gives out the certificates.
func TestSeeding(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	binary, err := Build(dir)
	if err != nil {
		t.Fatal(err)
	}
	data := filepath.Join(dir, "data")
	ca, err := MakeStore(t.Context(), binary, data, "bench-seeding")
	if err != nil {
		t.Fatal(err)
	}
	check := func(certificates, revocations uint64) *fsck.Result {
		t.Helper()
		db, err := OpenStopped(t.Context(), data)
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		r, err := fsck.Run(t.Context(), fsck.Config{Log: db, Rows: db, Records: db, Lists: db})
		if err != nil {
			t.Fatal(err)
		}
		if len(r.Findings) != 0 || r.Certificates != certificates || r.Revocations < revocations {
			t.Fatalf("%+v", r)
		}
		return r
	}
	s := Seeding{DataDir: data, CA: ca, Certificates: 300, Revoked: 0.1, Compact: true, Dates: 1000 * time.Hour}
	var stored uint64
	s.Progress = func(n uint64) { stored = n }
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Run(ended); !errors.Is(err, context.Canceled) || stored != 0 {
		t.Fatalf("%d certificates: %v", stored, err)
	}
	if err := s.Run(t.Context()); err != nil || stored != 300 {
		t.Fatalf("%d certificates: %v", stored, err)
	}
	if err := Seed(t.Context(), data, ca, 500, 0); err != nil {
		t.Fatal(err)
	}
	before := check(stored+501, 1)
	n, err := SeedRevocations(t.Context(), data, ca, []uint64{10, 11, 400, before.Entries - 2, before.Entries - 1, before.Entries})
	if err != nil || n != 5 {
		t.Fatalf("%d revoked, %v", n, err)
	}
	after := check(stored+501, before.Revocations+5)
	if entries, certificates, err := CountLog(t.Context(), data, ca); err != nil || entries != after.Entries || certificates != stored+501 {
		t.Fatalf("%d entries, %d certificates, %v", entries, certificates, err)
	}

	db, err := OpenStopped(t.Context(), data)
	if err != nil {
		t.Fatal(err)
	}
	var serials [][]byte
	err = db.LogEntries(t.Context(), path.Base(ca), 5, 8, func(_ uint64, b []byte) error {
		var e certlog.Entry
		if err := e.Decode(b); err != nil {
			return err
		}
		if e.Type == certlog.TypeIssue {
			serials = append(serials, slices.Clone(e.Serial))
		}
		return nil
	})
	if err := errors.Join(err, db.Close()); err != nil || len(serials) == 0 {
		t.Fatal(serials, err)
	}
	server, err := Start(t.Context(), binary, data)
	if err != nil {
		t.Fatal(err)
	}
	defer server.Stop()
	for _, serial := range serials {
		out, err := server.PCA.GetCertificate(t.Context(), &acmpca.GetCertificateInput{CertificateAuthorityArn: &ca, CertificateArn: aws.String(CertificateARN(ca, serial))})
		if err != nil {
			t.Fatal(err)
		}
		block, _ := pem.Decode([]byte(*out.Certificate))
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil || !bytes.Equal(cert.SerialNumber.Bytes(), serial) || cert.Issuer.CommonName != "Bench Root" || len(cert.Subject.CommonName) > 12 {
			t.Errorf("%+v, %v", cert, err)
		}
	}
}
