package issuance

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	_ "crypto/md5" // verifying old roots of imported chains
	"crypto/rand"
	"crypto/rsa"
	_ "crypto/sha1" // verifying CSRs and old roots
	_ "crypto/sha256"
	_ "crypto/sha512"
	"crypto/x509"
	"errors"
	"fmt"
	"math/big"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"

	"chirograph.dev/internal/pca"
)

// signatureAlgorithm is one way to sign that the API names.
type signatureAlgorithm struct {
	identifier []byte // DER AlgorithmIdentifier
	hash       crypto.Hash
	fits       func(crypto.PublicKey) bool
}

func isRSA(key crypto.PublicKey) bool {
	_, ok := key.(*rsa.PublicKey)
	return ok
}

func isECDSA(key crypto.PublicKey) bool {
	_, ok := key.(*ecdsa.PublicKey)
	return ok
}

// lookupSignatureAlgorithm finds an algorithm by the API's name; the others
// that the API names are not supported.
func lookupSignatureAlgorithm(name pca.SigningAlgorithm) (signatureAlgorithm, bool) {
	const (
		rsaPrefix   = "\x30\x0d\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01"
		ecdsaPrefix = "\x30\x0a\x06\x08\x2a\x86\x48\xce\x3d\x04\x03"
	)
	switch name {
	case pca.SigningAlgorithm_SHA256WITHRSA:
		return signatureAlgorithm{[]byte(rsaPrefix + "\x0b\x05\x00"), crypto.SHA256, isRSA}, true
	case pca.SigningAlgorithm_SHA384WITHRSA:
		return signatureAlgorithm{[]byte(rsaPrefix + "\x0c\x05\x00"), crypto.SHA384, isRSA}, true
	case pca.SigningAlgorithm_SHA512WITHRSA:
		return signatureAlgorithm{[]byte(rsaPrefix + "\x0d\x05\x00"), crypto.SHA512, isRSA}, true
	case pca.SigningAlgorithm_SHA256WITHECDSA:
		return signatureAlgorithm{[]byte(ecdsaPrefix + "\x02"), crypto.SHA256, isECDSA}, true
	case pca.SigningAlgorithm_SHA384WITHECDSA:
		return signatureAlgorithm{[]byte(ecdsaPrefix + "\x03"), crypto.SHA384, isECDSA}, true
	case pca.SigningAlgorithm_SHA512WITHECDSA:
		return signatureAlgorithm{[]byte(ecdsaPrefix + "\x04"), crypto.SHA512, isECDSA}, true
	}
	return signatureAlgorithm{}, false
}

const rsaAlgorithms, ecdsaAlgorithms = "SHA256WITHRSA, SHA384WITHRSA or SHA512WITHRSA", "SHA256WITHECDSA, SHA384WITHECDSA or SHA512WITHECDSA"

// CheckKeyAlgorithm refuses, as an InvalidArgsException, the key algorithms
// that this server cannot make.
func CheckKeyAlgorithm(a pca.KeyAlgorithm) error {
	if signingAlgorithmsOf(a) == "" {
		return pca.Errorf(pca.InvalidArgsException, "The key algorithm %s is not supported here. Use RSA_2048, RSA_3072, RSA_4096, EC_prime256v1, EC_secp384r1 or EC_secp521r1.", a)
	}
	return nil
}

// signingAlgorithmsOf lists what goes with a key algorithm; empty for one that is not supported.
func signingAlgorithmsOf(a pca.KeyAlgorithm) string {
	switch a {
	case pca.KeyAlgorithm_RSA_2048, pca.KeyAlgorithm_RSA_3072, pca.KeyAlgorithm_RSA_4096:
		return rsaAlgorithms
	case pca.KeyAlgorithm_EC_prime256v1, pca.KeyAlgorithm_EC_secp384r1, pca.KeyAlgorithm_EC_secp521r1:
		return ecdsaAlgorithms
	}
	return ""
}

// CheckSigningAlgorithm refuses, as an InvalidArgsException, a signing
// algorithm that does not go with the key algorithm (CA lifecycle 3).
func CheckSigningAlgorithm(k pca.KeyAlgorithm, s pca.SigningAlgorithm) error {
	if err := CheckKeyAlgorithm(k); err != nil {
		return err
	}
	allowed := signingAlgorithmsOf(k)
	algorithm, ok := lookupSignatureAlgorithm(s)
	if !ok || algorithm.fits(&rsa.PublicKey{}) != (allowed == rsaAlgorithms) {
		return pca.Errorf(pca.InvalidArgsException, "The signing algorithm %s does not go with the key algorithm %s. Use %s.", s, k, allowed)
	}
	return nil
}

// algorithmFor finds the algorithm for a request on a CA with that key.
func algorithmFor(name pca.SigningAlgorithm, key crypto.PublicKey) (signatureAlgorithm, error) {
	a, ok := lookupSignatureAlgorithm(name)
	if ok && a.fits(key) {
		return a, nil
	}
	allowed := ecdsaAlgorithms
	if isRSA(key) {
		allowed = rsaAlgorithms
	}
	return a, pca.Errorf(pca.InvalidArgsException, "The signing algorithm %s does not go with the key of the certificate authority. Use %s.", name, allowed)
}

// sign signs message and gives the DER SEQUENCE {message, algorithm, signature}
// that certificates and certification requests are. With verify it checks the
// signature with the public key first.
func (a *signatureAlgorithm) sign(signer crypto.Signer, message []byte, verify bool) ([]byte, error) {
	digest := message
	if a.hash != 0 {
		h := a.hash.New()
		h.Write(message)
		digest = h.Sum(make([]byte, 0, 64))
	}
	signature, err := signer.Sign(rand.Reader, digest, a.hash)
	if err != nil {
		return nil, fmt.Errorf("signing: %w", err)
	}
	if verify {
		if _, err := verifySignature(signer.Public(), a.identifier, message, signature); err != nil {
			return nil, fmt.Errorf("checking the signature that the key store made: %w", err)
		}
	}
	b := cryptobyte.NewBuilder(make([]byte, 0, len(message)+len(a.identifier)+len(signature)+16))
	b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddBytes(message)
		b.AddBytes(a.identifier)
		b.AddASN1BitString(signature)
	})
	return b.Bytes()
}

var (
	errAlgorithm = errors.New("signature algorithm is unknown or does not go with the key")
	errSignature = errors.New("signature does not verify")
)

// verifySignature checks a signature under a DER AlgorithmIdentifier and tells
// the hash that it rests on: 0 when the algorithm hashes by itself.
func verifySignature(key crypto.PublicKey, identifier, message, signature []byte) (crypto.Hash, error) {
	s := cryptobyte.String(identifier)
	var body, oid cryptobyte.String
	if !s.ReadASN1(&body, asn1.SEQUENCE) || !s.Empty() || !body.ReadASN1(&oid, asn1.OBJECT_IDENTIFIER) {
		return 0, errAlgorithm
	}
	// PKCS#1 v1.5 asks for NULL parameters, ECDSA for none; both are met without.
	noParameters := body.Empty() || string(body) == "\x05\x00"
	var pss *rsa.PSSOptions
	var hash crypto.Hash
	var fits func(crypto.PublicKey) bool
	switch string(oid) {
	case "\x2a\x86\x48\x86\xf7\x0d\x01\x01\x04":
		hash, fits = crypto.MD5, isRSA
	case "\x2a\x86\x48\x86\xf7\x0d\x01\x01\x05", "\x2b\x0e\x03\x02\x1d":
		hash, fits = crypto.SHA1, isRSA
	case "\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0b":
		hash, fits = crypto.SHA256, isRSA
	case "\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0c":
		hash, fits = crypto.SHA384, isRSA
	case "\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0d":
		hash, fits = crypto.SHA512, isRSA
	case "\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0e":
		hash, fits = crypto.SHA224, isRSA
	case "\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0a":
		if hash, pss = readPSS(body); pss != nil {
			noParameters, fits = true, isRSA
		}
	case "\x2a\x86\x48\xce\x3d\x04\x01":
		hash, fits = crypto.SHA1, isECDSA
	case "\x2a\x86\x48\xce\x3d\x04\x03\x01":
		hash, fits = crypto.SHA224, isECDSA
	case "\x2a\x86\x48\xce\x3d\x04\x03\x02":
		hash, fits = crypto.SHA256, isECDSA
	case "\x2a\x86\x48\xce\x3d\x04\x03\x03":
		hash, fits = crypto.SHA384, isECDSA
	case "\x2a\x86\x48\xce\x3d\x04\x03\x04":
		hash, fits = crypto.SHA512, isECDSA
	case "\x2b\x65\x70":
		fits = func(key crypto.PublicKey) bool { _, ok := key.(ed25519.PublicKey); return ok }
	}
	if fits == nil || !fits(key) || !noParameters {
		return 0, errAlgorithm
	}
	digest := message
	if hash != 0 {
		h := hash.New()
		h.Write(message)
		digest = h.Sum(make([]byte, 0, 64))
	}
	var valid bool
	switch key := key.(type) {
	case *ecdsa.PublicKey:
		valid = ecdsa.VerifyASN1(key, digest, signature)
	case ed25519.PublicKey:
		valid = ed25519.Verify(key, message, signature)
	case *rsa.PublicKey:
		if pss != nil {
			valid = rsa.VerifyPSS(key, hash, digest, signature, pss) == nil
		} else {
			valid = rsa.VerifyPKCS1v15(key, hash, digest, signature) == nil
		}
	}
	if !valid {
		return 0, errSignature
	}
	return hash, nil
}

// readPSS reads RSASSA-PSS parameters (RFC 4055 3.1) that use one hash for the
// message and the mask; nil options for others.
func readPSS(s cryptobyte.String) (crypto.Hash, *rsa.PSSOptions) {
	tag := func(n uint8) asn1.Tag { return asn1.Tag(n).Constructed().ContextSpecific() }
	var params, field, alg, oid cryptobyte.String
	if !s.ReadASN1(&params, asn1.SEQUENCE) || !s.Empty() {
		return 0, nil
	}
	readHash := func(s *cryptobyte.String) (crypto.Hash, bool) {
		if !s.ReadASN1(&alg, asn1.SEQUENCE) || !alg.ReadASN1(&oid, asn1.OBJECT_IDENTIFIER) || !alg.Empty() && string(alg) != "\x05\x00" {
			return 0, false
		}
		switch string(oid) {
		case "\x2b\x0e\x03\x02\x1a":
			return crypto.SHA1, true
		case "\x60\x86\x48\x01\x65\x03\x04\x02\x01":
			return crypto.SHA256, true
		case "\x60\x86\x48\x01\x65\x03\x04\x02\x02":
			return crypto.SHA384, true
		case "\x60\x86\x48\x01\x65\x03\x04\x02\x03":
			return crypto.SHA512, true
		}
		return 0, false
	}
	hash, mask, salt, ok := crypto.SHA1, crypto.SHA1, 20, true
	if params.PeekASN1Tag(tag(0)) {
		if !params.ReadASN1(&field, tag(0)) {
			return 0, nil
		}
		if hash, ok = readHash(&field); !ok || !field.Empty() {
			return 0, nil
		}
	}
	if params.PeekASN1Tag(tag(1)) {
		var mgf cryptobyte.String
		if !params.ReadASN1(&field, tag(1)) || !field.ReadASN1(&mgf, asn1.SEQUENCE) || !mgf.ReadASN1(&oid, asn1.OBJECT_IDENTIFIER) ||
			string(oid) != "\x2a\x86\x48\x86\xf7\x0d\x01\x01\x08" {
			return 0, nil
		}
		if mask, ok = readHash(&mgf); !ok || !mgf.Empty() || !field.Empty() {
			return 0, nil
		}
	}
	if params.PeekASN1Tag(tag(2)) {
		if !params.ReadASN1(&field, tag(2)) || !field.ReadASN1Integer(&salt) || !field.Empty() {
			return 0, nil
		}
	}
	if params.PeekASN1Tag(tag(3)) { // trailerField: 1 is the only value
		var trailer int
		if !params.ReadASN1(&field, tag(3)) || !field.ReadASN1Integer(&trailer) || !field.Empty() || trailer != 1 {
			return 0, nil
		}
	}
	if !params.Empty() || mask != hash || salt < 1 || salt > 1024 {
		return 0, nil
	}
	return hash, &rsa.PSSOptions{SaltLength: salt, Hash: hash}
}

// acceptedKeys names what publicKey accepts, for messages.
const acceptedKeys = "RSA with 2048 to 8192 bits and an odd exponent of at least 3, EC on P-256, P-384 or P-521, or Ed25519"

var errKey = errors.New("public key is not of an accepted kind")

// publicKey reads a SubjectPublicKeyInfo and lets the accepted kinds pass (T-35).
func publicKey(spki []byte) (crypto.PublicKey, error) {
	key, err := x509.ParsePKIXPublicKey(spki)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errKey, err)
	}
	switch key := key.(type) {
	case *rsa.PublicKey:
		if bits := key.N.BitLen(); bits < 2048 || bits > 8192 || key.E < 3 || key.E&1 == 0 || key.E > 1<<31-1 || isEven(key.N) {
			return nil, errKey
		}
	case *ecdsa.PublicKey:
		if key.Curve.Params().BitSize < 256 {
			return nil, errKey
		}
	case ed25519.PublicKey:
	default:
		return nil, errKey
	}
	return key, nil
}

func isEven(n *big.Int) bool { return n.Bit(0) == 0 }

// publicKeyBits gives the content of the subjectPublicKey BIT STRING.
func publicKeyBits(spki []byte) ([]byte, bool) {
	s := cryptobyte.String(spki)
	var body cryptobyte.String
	var bits []byte
	ok := s.ReadASN1(&body, asn1.SEQUENCE) && body.SkipASN1(asn1.SEQUENCE) && body.ReadASN1BitStringAsBytes(&bits) && body.Empty()
	return bits, ok
}

// samePublicKey compares two keys of any kind.
func samePublicKey(a, b crypto.PublicKey) bool {
	k, ok := a.(interface{ Equal(crypto.PublicKey) bool })
	return ok && k.Equal(b)
}
