package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/acmpca/types"

	"chirograph.dev/internal/bench/benchtest"
)

// TestOCSP runs the program small.
func TestOCSP(t *testing.T) {
	t.Parallel()
	d := benchtest.Run(t, newProgram(), "--duration", "40ms", "--certificates", "200", "--cached", "10", "--connections", "2", "--openssl=false")
	if len(d.Results) != 6 {
		t.Fatalf("%+v", d.Results)
	}
	for _, r := range d.Results {
		if r.Units == 0 || r.P50 == 0 {
			t.Errorf("%+v", r)
		}
	}
	benchtest.Refuse(t, newProgram, []string{"--certificates", "10"}, []string{"--cached", "1M"})
}

// TestResponderFiles has openssl answer from the files that it is measured with,
// without a port.
func TestResponderFiles(t *testing.T) {
	t.Parallel()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	root := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Root"}, NotBefore: time.Now(), NotAfter: time.Now().AddDate(1, 0, 0), IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, root, root, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	k := &kind{key: types.KeyAlgorithmEcPrime256v1, serials: [][]byte{{0x12, 0x34}}}
	if k.cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := writeResponder(dir, k, 1); err != nil {
		t.Fatal(err)
	}
	request, err := k.request(k.serials[0])
	if err != nil {
		t.Fatal(err)
	}
	if request, err = nonced(request); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "request"), request, 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "openssl", append(responderArgs(), "-reqin", "request", "-respout", "answer")...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	answer, err := os.ReadFile(filepath.Join(dir, "answer"))
	if err != nil {
		t.Fatal(err)
	}
	if err := signed(answer); err != nil {
		t.Error(err)
	}
}
