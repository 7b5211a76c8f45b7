// Command ocsp measures the OCSP responder of the real server in its own
// process, and beside it that of openssl, with the same requests and client.
package main

import (
	"context"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"flag"
	"fmt"
	"math/big"
	mathrand "math/rand/v2"
	"net/url"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/acmpca"
	"github.com/aws/aws-sdk-go-v2/service/acmpca/types"
	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
	"golang.org/x/crypto/ocsp"

	"chirograph.dev/internal/bench"
	"chirograph.dev/internal/issuance"
	"chirograph.dev/internal/keystore"
	"chirograph.dev/internal/pca"
)

func main() { newProgram().Main() }

type options struct {
	duration             time.Duration
	certificates, cached uint64
	connections          uint64
	openssl              bool
}

func newProgram() *bench.Program {
	o := options{duration: 5 * time.Second, certificates: 100_000, cached: 1000, connections: 32, openssl: true}
	return &bench.Program{
		Name: "ocsp", Unit: "answers",
		Floor: "the CPU time of GET /healthz on the same connections, which is the same HTTP server with a constant answer; for those that are signed, with that of one signature of the key by Go's library",
		Help: `ocsp measures OCSP over kept connections of plain HTTP against the real server in
its own process, with a P-256 CA and an RSA-2048 CA: answers from the cache, by
GET and by POST, and answers that are signed for a nonce about certificates that
are chosen at random. A tenth of all certificates is revoked. The client runs on
the same processors, so what the server's CPU time allows is told as well.
Beside it runs "openssl ocsp -port", over an index of as many of the certificates
as are in the cache, with a key of the same kind; its connections end with every
answer. For these seconds it listens on all addresses of the machine, since it
can be told no other; --openssl=false leaves it out.
With its defaults it takes about two minutes.`,
		Flags: func(set *flag.FlagSet) {
			set.DurationVar(&o.duration, "duration", o.duration, "how long each number is measured")
			bench.Count(set, &o.certificates, "certificates", "that each CA has issued")
			bench.Count(set, &o.cached, "cached", "how many of them are asked for in turn, so that they are in the cache")
			bench.Count(set, &o.connections, "connections", "of the client")
			set.BoolVar(&o.openssl, "openssl", o.openssl, "measure openssl's responder as well")
		},
		Check: func() error {
			if o.certificates < 100 || o.cached < 1 || o.cached > o.certificates || o.connections < 1 {
				return errors.New("--certificates is at least 100, --cached at most as many, and --connections at least 1")
			}
			return nil
		},
		Measure: func(ctx context.Context, r *bench.Run) error { return run(ctx, r, o) },
	}
}

// kind is a CA that is measured.
type kind struct {
	name    string
	key     types.KeyAlgorithm
	signing types.SigningAlgorithm

	arn     string
	cert    *x509.Certificate
	serials [][]byte
}

func run(ctx context.Context, r *bench.Run, o options) error {
	binary, err := bench.Build(r.Dir)
	if err != nil {
		return err
	}
	kinds := []*kind{
		{name: "P-256", key: types.KeyAlgorithmEcPrime256v1, signing: types.SigningAlgorithmSha256withecdsa},
		{name: "RSA-2048", key: types.KeyAlgorithmRsa2048, signing: types.SigningAlgorithmSha256withrsa},
	}
	data := filepath.Join(r.Dir, "data")
	if err := makeCAs(ctx, binary, data, kinds); err != nil {
		return err
	}
	for _, k := range kinds {
		if err := bench.Seed(ctx, data, k.arn, o.certificates, 0.1); err != nil {
			return err
		}
		if k.serials, err = bench.Serials(ctx, data, k.arn, int(o.certificates)); err != nil {
			return err
		}
	}
	s, err := bench.Start(ctx, binary, data)
	if err != nil {
		return err
	}
	for _, k := range kinds {
		if err = measure(ctx, r, o, s, k); err != nil {
			err = fmt.Errorf("%s: %w", k.name, err)
			break
		}
	}
	return errors.Join(err, s.Stop())
}

// makeCAs makes a CA of each kind that answers, through a server that it stops again.
func makeCAs(ctx context.Context, binary, data string, kinds []*kind) (err error) {
	s, err := bench.Start(ctx, binary, data)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Stop()) }()
	for _, k := range kinds {
		on := &types.RevocationConfiguration{OcspConfiguration: &types.OcspConfiguration{Enabled: new(true)}}
		if k.arn, err = s.MakeRoot(ctx, k.key, k.signing, on); err != nil {
			return err
		}
		out, err := s.PCA.GetCertificateAuthorityCertificate(ctx, &acmpca.GetCertificateAuthorityCertificateInput{CertificateAuthorityArn: &k.arn})
		if err != nil {
			return err
		}
		block, _ := pem.Decode([]byte(*out.Certificate))
		if k.cert, err = x509.ParseCertificate(block.Bytes); err != nil {
			return err
		}
	}
	return nil
}

// request is the DER of a request about a certificate, as most clients ask.
func (k *kind) request(serial []byte) ([]byte, error) {
	return ocsp.CreateRequest(&x509.Certificate{SerialNumber: new(big.Int).SetBytes(serial)}, k.cert, nil)
}

// nonced adds a nonce to a request.
func nonced(request []byte) ([]byte, error) {
	s := cryptobyte.String(request)
	var outer, tbs cryptobyte.String
	if !s.ReadASN1(&outer, asn1.SEQUENCE) || !outer.ReadASN1(&tbs, asn1.SEQUENCE) {
		return nil, errors.New("a request that cannot be read")
	}
	var nonce [32]byte
	rand.Read(nonce[:])
	var b cryptobyte.Builder
	b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
			b.AddBytes(tbs)
			b.AddASN1(asn1.Tag(2).Constructed().ContextSpecific(), func(b *cryptobyte.Builder) {
				b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
					b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
						b.AddBytes([]byte("\x06\x09\x2b\x06\x01\x05\x05\x07\x30\x01\x02"))
						b.AddASN1(asn1.OCTET_STRING, func(b *cryptobyte.Builder) { b.AddASN1OctetString(nonce[:]) })
					})
				})
			})
		})
	})
	return b.Bytes()
}

func get(host, path string, der []byte) []byte {
	return fmt.Appendf(nil, "GET %s%s HTTP/1.1\r\nHost: %s\r\n\r\n", path, url.PathEscape(base64.StdEncoding.EncodeToString(der)), host)
}

func post(host, path string, der []byte) []byte {
	head := fmt.Appendf(nil, "POST %s HTTP/1.1\r\nHost: %s\r\nContent-Type: application/ocsp-request\r\nContent-Length: %d\r\n\r\n", path, host, len(der))
	return append(head, der...)
}

// signed checks, with little work, that an answer is a signed one.
func signed(body []byte) error {
	if len(body) < 100 || string(body[:2]) != "\x30\x82" || string(body[4:7]) != "\x0a\x01\x00" {
		return fmt.Errorf("%d bytes %.16x are no OCSP answer with a signature", len(body), body)
	}
	return nil
}

func measure(ctx context.Context, r *bench.Run, o options, s *bench.Server, k *kind) error {
	host := strings.TrimPrefix(s.API, "http://")
	c := newClient(host, int(o.connections))
	defer c.close()
	floorRequest := fmt.Appendf(nil, "GET /healthz HTTP/1.1\r\nHost: %s\r\n\r\n", host)
	floor := func(ctx context.Context) error {
		return c.do(ctx, floorRequest, func([]byte) error { return nil })
	}
	cached := make([][]byte, o.cached)
	for i := range cached {
		var err error
		if cached[i], err = k.request(k.serials[i]); err != nil {
			return err
		}
	}
	sign, err := signatureCPU(ctx, r.Dir, k)
	if err != nil {
		return err
	}
	var freshResult bench.Result
	for _, m := range []struct {
		what   string
		encode func(host, path string, der []byte) []byte
		path   string
		fresh  bool
	}{
		{"cached, GET", get, "/ocsp/", false},
		{"cached, POST", post, "/ocsp", false},
		{"with a nonce, POST", post, "/ocsp", true},
	} {
		requests := make([][]byte, len(cached))
		for i, der := range cached {
			requests[i] = m.encode(host, m.path, der)
			// Once before it is measured, and looked at by somebody else.
			err := c.do(ctx, requests[i], func(body []byte) error {
				answer, err := ocsp.ParseResponse(body, k.cert)
				if err == nil && answer.SerialNumber.Cmp(new(big.Int).SetBytes(k.serials[i])) != 0 {
					err = errors.New("an answer about another certificate")
				}
				return err
			})
			if err != nil {
				return fmt.Errorf("%s: %w", m.what, err)
			}
		}
		call := func(ctx context.Context) error { return c.do(ctx, requests[mathrand.IntN(len(requests))], signed) }
		if m.fresh {
			call = func(ctx context.Context) error {
				der, err := k.request(k.serials[mathrand.IntN(len(k.serials))])
				if err != nil {
					return err
				}
				if der, err = nonced(der); err != nil {
					return err
				}
				return c.do(ctx, m.encode(host, m.path, der), signed)
			}
		}
		res, _, err := s.LoadBeside(ctx, int(o.connections), o.duration, o.duration/4, call, floor)
		if err != nil {
			return fmt.Errorf("%s: %w", m.what, err)
		}
		if res.What = k.name + ", " + m.what; m.fresh {
			res.FloorCPU += sign
			freshResult = res
		}
		r.Report(res)
		if res.CPU > 0 {
			r.Note("the server's CPU time allows %.0f a second on the %d CPUs of this machine", 1e6/res.CPU*float64(runtime.NumCPU()), runtime.NumCPU())
		}
	}
	if !o.openssl {
		return nil
	}
	return besideOpenSSL(ctx, r, o, k, cached, freshResult)
}

// signatureCPU is the CPU time, in microseconds, of one signature.
func signatureCPU(ctx context.Context, dir string, k *kind) (float64, error) {
	keys, err := keystore.Open(keystore.Config{Dir: filepath.Join(dir, "keys-"+k.name)})
	if err != nil {
		return 0, err
	}
	key, err := keys.Generate(ctx, "floor", string(k.key))
	if err != nil {
		return 0, err
	}
	tbs := make([]byte, 200)
	const n = 200
	began := bench.OwnCPU()
	for range n {
		m, err := issuance.NewMessage(key.Public(), pca.SigningAlgorithm(k.signing))
		if err != nil {
			return 0, err
		}
		m.Write(tbs)
		if _, err := m.Sign(key); err != nil {
			return 0, err
		}
	}
	return float64((bench.OwnCPU() - began).Microseconds()) / n, nil
}
