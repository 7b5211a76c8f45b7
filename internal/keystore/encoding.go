package keystore

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
	"math/big"
	"slices"

	"filippo.io/mldsa/x509"
	"github.com/emmansun/gmsm/ecdh"
	"github.com/emmansun/gmsm/sm2"
)

// Private keys are kept as PKCS #8, part of the format: ML-DSA keys as their
// seed (RFC 9881 6), SM2 keys as EC keys of their curve (RFC 5915).

// sm2Algorithm is the AlgorithmIdentifier of SM2 keys: id-ecPublicKey with the
// curve 1.2.156.10197.1.301.
const sm2Algorithm = "\x30\x13\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\x2a\x81\x1c\xcf\x55\x01\x82\x2d"

type pkcs8 struct {
	Version    int
	Algorithm  asn1.RawValue
	PrivateKey []byte
	Attributes []pkix.AttributeTypeAndValue `asn1:"optional,tag:0,set"`
}

type ecPrivateKey struct {
	Version    int
	PrivateKey []byte
}

func marshalPrivateKey(private crypto.Signer) ([]byte, error) {
	key, ok := private.(*sm2.PrivateKey)
	if !ok {
		return x509.MarshalPKCS8PrivateKey(private)
	}
	scalar := key.D.FillBytes(make([]byte, 32))
	defer clear(scalar)
	inner, err := asn1.Marshal(ecPrivateKey{Version: 1, PrivateKey: scalar})
	if err != nil {
		return nil, err
	}
	defer clear(inner)
	return asn1.Marshal(pkcs8{Algorithm: asn1.RawValue{FullBytes: []byte(sm2Algorithm)}, PrivateKey: inner})
}

func parsePrivateKey(der []byte) (crypto.Signer, error) {
	var outer pkcs8
	if rest, err := asn1.Unmarshal(der, &outer); err == nil && len(rest) == 0 && string(outer.Algorithm.FullBytes) == sm2Algorithm {
		defer clear(outer.PrivateKey)
		var inner ecPrivateKey
		if _, err := asn1.Unmarshal(outer.PrivateKey, &inner); err != nil {
			return nil, fmt.Errorf("reading an SM2 key: %w", err)
		}
		defer clear(inner.PrivateKey)
		return newSM2Key(inner.PrivateKey)
	}
	key, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, err
	}
	private, ok := key.(crypto.Signer)
	if !ok {
		return nil, errors.New("not a key that signs")
	}
	return private, nil
}

func newSM2Key(scalar []byte) (*sm2.PrivateKey, error) {
	checked, err := ecdh.P256().NewPrivateKey(slices.Clone(scalar))
	if err != nil {
		return nil, fmt.Errorf("reading an SM2 key: %w", err)
	}
	point := checked.PublicKey().Bytes() // uncompressed
	return &sm2.PrivateKey{PrivateKey: ecdsa.PrivateKey{
		D: new(big.Int).SetBytes(scalar),
		PublicKey: ecdsa.PublicKey{
			Curve: sm2.P256(), X: new(big.Int).SetBytes(point[1:33]), Y: new(big.Int).SetBytes(point[33:]),
		},
	}}, nil
}
