package main

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	mathrand "math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/acmpca/types"

	"chirograph.dev/internal/bench"
)

// besideOpenSSL measures openssl's responder with the same requests by POST,
// with a nonce: it keeps no answers, and signs each.
func besideOpenSSL(ctx context.Context, r *bench.Run, o options, k *kind, requests [][]byte, ours bench.Result) (err error) {
	dir := filepath.Join(r.Dir, "openssl-"+k.name)
	if err := os.Mkdir(dir, 0o700); err != nil {
		return err
	}
	if err := writeResponder(dir, k, int(o.cached)); err != nil {
		return err
	}
	address, err := bench.FreePort()
	if err != nil {
		return err
	}
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, "openssl", append(responderArgs(), "-port", port, "-ignore_err")...)
	var said bytes.Buffer
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, &said, &said
	if err := cmd.Start(); err != nil {
		return err
	}
	defer func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // says that it was killed
	}()
	c := newClient(address, int(o.connections))
	defer c.close()
	// A whole request: on a connection that ends without one it would read for ever.
	for began := time.Now(); ; time.Sleep(10 * time.Millisecond) {
		err := c.do(ctx, post(address, "/", requests[0]), signed)
		if err == nil {
			break
		}
		if time.Since(began) > 10*time.Second {
			return fmt.Errorf("openssl does not answer: %w\n%s", err, said.String())
		}
	}
	cpu := func() (user, system time.Duration, err error) { return bench.CPU(cmd.Process.Pid) }
	theirs, err := bench.Load(ctx, int(o.connections), o.duration, cpu, func(ctx context.Context) error {
		der, err := nonced(requests[mathrand.IntN(len(requests))])
		if err != nil {
			return err
		}
		return c.do(ctx, post(address, "/", der), signed)
	})
	if err != nil {
		return fmt.Errorf("openssl: %w\n%s", err, said.String())
	}
	theirs.What = k.name + ", openssl ocsp -port"
	theirs.Peer = &bench.Peer{Command: "openssl ocsp -port", RatioSeconds: theirs.Seconds / theirs.Units / (ours.Seconds / ours.Units)}
	if ours.CPU > 0 {
		theirs.Peer.RatioCPU = theirs.CPU / ours.CPU
	}
	r.Report(theirs)
	return nil
}

// responderArgs are the arguments of a responder over the files of writeResponder.
func responderArgs() []string {
	return []string{"ocsp", "-index", "index.txt", "-CA", "ca.pem", "-rsigner", "responder.pem", "-rkey", "key.pem"}
}

// writeResponder makes the files of a responder of openssl for a CA's name and
// key. It does not look who signed its certificate, so that is its own.
func writeResponder(dir string, k *kind, n int) error {
	var key crypto.Signer
	var err error
	if k.key == types.KeyAlgorithmRsa2048 {
		key, err = rsa.GenerateKey(rand.Reader, 2048)
	} else {
		key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	}
	if err != nil {
		return err
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	t := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Responder"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageOCSPSigning},
	}
	cert, err := x509.CreateCertificate(rand.Reader, t, t, key.Public(), key)
	if err != nil {
		return err
	}
	var index bytes.Buffer
	for i, serial := range k.serials[:n] {
		state, at := "V", ""
		if i%10 == 0 {
			state, at = "R", time.Now().UTC().Format("060102150405Z")+",superseded"
		}
		fmt.Fprintf(&index, "%s\t%s\t%s\t%X\tunknown\t/CN=host-%d\n", state, time.Now().AddDate(0, 3, 0).UTC().Format("060102150405Z"), at, serial, i)
	}
	write := func(name, kind string, der []byte) error {
		return os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600)
	}
	return errors.Join(
		write("ca.pem", "CERTIFICATE", k.cert.Raw), write("responder.pem", "CERTIFICATE", cert), write("key.pem", "PRIVATE KEY", keyDER),
		os.WriteFile(filepath.Join(dir, "index.txt"), index.Bytes(), 0o600),
	)
}
