package issuance

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	_ "crypto/md5" // verifying old roots of imported chains
	"crypto/rand"
	"crypto/rsa"
	_ "crypto/sha1" // verifying CSRs and old roots
	_ "crypto/sha256"
	_ "crypto/sha512"
	"crypto/x509"
	"errors"
	"fmt"
	"hash"
	"math/big"
	"slices"
	"strings"

	"filippo.io/mldsa"
	"github.com/emmansun/gmsm/ecdh"
	"github.com/emmansun/gmsm/sm2"
	"github.com/emmansun/gmsm/sm3"
	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"

	"chirograph.dev/internal/pca"
)

// oidSM2 is SM2 with SM3 (GM/T 0015), curveSM2 and curveP256 the DER of the
// curves' names, and userSM2 the user id that certificates are signed with
// (GB/T 35276). OIDs of ML-DSA (RFC 9881 2) end with the octet that oidMLDSA lacks.
const (
	oidSM2         = "\x2a\x81\x1c\xcf\x55\x01\x83\x75"
	oidEC          = "\x2a\x86\x48\xce\x3d\x02\x01"
	curveSM2       = "\x06\x08\x2a\x81\x1c\xcf\x55\x01\x82\x2d"
	curveP256      = "\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07"
	oidMLDSA       = "\x60\x86\x48\x01\x65\x03\x04\x03"
	userSM2        = "1234567812345678"
	partitionOfSM2 = "aws-cn"
)

// signatureAlgorithm is one way to sign that the API names.
type signatureAlgorithm struct {
	identifier []byte      // DER AlgorithmIdentifier
	hash       crypto.Hash // 0 when the scheme hashes by itself
}

// lookupSignatureAlgorithm finds an algorithm by the API's name.
func lookupSignatureAlgorithm(name pca.SigningAlgorithm) (signatureAlgorithm, bool) {
	const (
		rsaPrefix   = "\x30\x0d\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01"
		ecdsaPrefix = "\x30\x0a\x06\x08\x2a\x86\x48\xce\x3d\x04\x03"
		mldsaPrefix = "\x30\x0b\x06\x09" + oidMLDSA
	)
	switch name {
	case pca.SigningAlgorithm_SHA256WITHRSA:
		return signatureAlgorithm{[]byte(rsaPrefix + "\x0b\x05\x00"), crypto.SHA256}, true
	case pca.SigningAlgorithm_SHA384WITHRSA:
		return signatureAlgorithm{[]byte(rsaPrefix + "\x0c\x05\x00"), crypto.SHA384}, true
	case pca.SigningAlgorithm_SHA512WITHRSA:
		return signatureAlgorithm{[]byte(rsaPrefix + "\x0d\x05\x00"), crypto.SHA512}, true
	case pca.SigningAlgorithm_SHA256WITHECDSA:
		return signatureAlgorithm{[]byte(ecdsaPrefix + "\x02"), crypto.SHA256}, true
	case pca.SigningAlgorithm_SHA384WITHECDSA:
		return signatureAlgorithm{[]byte(ecdsaPrefix + "\x03"), crypto.SHA384}, true
	case pca.SigningAlgorithm_SHA512WITHECDSA:
		return signatureAlgorithm{[]byte(ecdsaPrefix + "\x04"), crypto.SHA512}, true
	case pca.SigningAlgorithm_ML_DSA_44:
		return signatureAlgorithm{identifier: []byte(mldsaPrefix + "\x11")}, true
	case pca.SigningAlgorithm_ML_DSA_65:
		return signatureAlgorithm{identifier: []byte(mldsaPrefix + "\x12")}, true
	case pca.SigningAlgorithm_ML_DSA_87:
		return signatureAlgorithm{identifier: []byte(mldsaPrefix + "\x13")}, true
	case pca.SigningAlgorithm_SM3WITHSM2:
		return signatureAlgorithm{identifier: []byte("\x30\x0a\x06\x08" + oidSM2)}, true
	}
	return signatureAlgorithm{}, false
}

// CheckKeyAlgorithm refuses, as an InvalidArgsException, the key algorithms
// that a server of the partition does not make: SM2 is for aws-cn, as at AWS.
func CheckKeyAlgorithm(a pca.KeyAlgorithm, partition string) error {
	if a == pca.KeyAlgorithm_SM2 && partition != partitionOfSM2 {
		return pca.Errorf(pca.InvalidArgsException, "The key algorithm SM2 is offered only in the partition %s; this server's partition is %s. Use RSA, EC or ML_DSA.", partitionOfSM2, partition)
	}
	if signingAlgorithms(a) == nil {
		return pca.Errorf(pca.InvalidArgsException, "The key algorithm %s is not supported here. Use RSA_2048, RSA_3072, RSA_4096, EC_prime256v1, EC_secp384r1, EC_secp521r1, ML_DSA_44, ML_DSA_65 or ML_DSA_87.", a)
	}
	return nil
}

// signingAlgorithms lists what goes with a key algorithm (CA lifecycle 3); nil for one that is not known.
func signingAlgorithms(a pca.KeyAlgorithm) []pca.SigningAlgorithm {
	switch a {
	case pca.KeyAlgorithm_RSA_2048, pca.KeyAlgorithm_RSA_3072, pca.KeyAlgorithm_RSA_4096:
		return []pca.SigningAlgorithm{pca.SigningAlgorithm_SHA256WITHRSA, pca.SigningAlgorithm_SHA384WITHRSA, pca.SigningAlgorithm_SHA512WITHRSA}
	case pca.KeyAlgorithm_EC_prime256v1, pca.KeyAlgorithm_EC_secp384r1, pca.KeyAlgorithm_EC_secp521r1:
		return []pca.SigningAlgorithm{pca.SigningAlgorithm_SHA256WITHECDSA, pca.SigningAlgorithm_SHA384WITHECDSA, pca.SigningAlgorithm_SHA512WITHECDSA}
	case pca.KeyAlgorithm_ML_DSA_44:
		return []pca.SigningAlgorithm{pca.SigningAlgorithm_ML_DSA_44}
	case pca.KeyAlgorithm_ML_DSA_65:
		return []pca.SigningAlgorithm{pca.SigningAlgorithm_ML_DSA_65}
	case pca.KeyAlgorithm_ML_DSA_87:
		return []pca.SigningAlgorithm{pca.SigningAlgorithm_ML_DSA_87}
	case pca.KeyAlgorithm_SM2:
		return []pca.SigningAlgorithm{pca.SigningAlgorithm_SM3WITHSM2}
	}
	return nil
}

// keyKind gives a key algorithm whose signing algorithms are those of the key;
// empty for keys that no CA has, such as Ed25519.
func keyKind(key crypto.PublicKey) pca.KeyAlgorithm {
	switch key := key.(type) {
	case *rsa.PublicKey:
		return pca.KeyAlgorithm_RSA_2048
	case *ecdsa.PublicKey:
		if sm2.IsSM2PublicKey(key) {
			return pca.KeyAlgorithm_SM2
		}
		return pca.KeyAlgorithm_EC_prime256v1
	case *mldsa.PublicKey:
		switch key.Parameters() {
		case mldsa.MLDSA44():
			return pca.KeyAlgorithm_ML_DSA_44
		case mldsa.MLDSA65():
			return pca.KeyAlgorithm_ML_DSA_65
		case mldsa.MLDSA87():
			return pca.KeyAlgorithm_ML_DSA_87
		}
	}
	return ""
}

// listed writes names for a message: a, b or c.
func listed(names []pca.SigningAlgorithm) string {
	var b strings.Builder
	for i, name := range names {
		switch {
		case i > 0 && i == len(names)-1:
			b.WriteString(" or ")
		case i > 0:
			b.WriteString(", ")
		}
		b.WriteString(string(name))
	}
	return b.String()
}

// CheckSigningAlgorithm refuses, as an InvalidArgsException, a signing
// algorithm that does not go with the key algorithm (CA lifecycle 3).
func CheckSigningAlgorithm(k pca.KeyAlgorithm, s pca.SigningAlgorithm) error {
	if allowed := signingAlgorithms(k); !slices.Contains(allowed, s) {
		return pca.Errorf(pca.InvalidArgsException, "The signing algorithm %s does not go with the key algorithm %s. Use %s.", s, k, listed(allowed))
	}
	return nil
}

// algorithmFor finds the algorithm for a request on a CA with that key.
func algorithmFor(name pca.SigningAlgorithm, key crypto.PublicKey) (signatureAlgorithm, error) {
	a, known := lookupSignatureAlgorithm(name)
	if allowed := signingAlgorithms(keyKind(key)); !known || !slices.Contains(allowed, name) {
		return a, pca.Errorf(pca.InvalidArgsException, "The signing algorithm %s does not go with the key of the certificate authority. Use %s.", name, listed(allowed))
	}
	return a, nil
}

// messageDigest is what a signer of that key is given: the hash of messageHash;
// for schemes that hash by themselves the message.
func messageDigest(key crypto.PublicKey, hash crypto.Hash, message []byte) ([]byte, error) {
	h, err := messageHash(key, hash)
	if h == nil || err != nil {
		return message, err
	}
	h.Write(message)
	return h.Sum(make([]byte, 0, 64)), nil
}

// messageHash is what messages to be signed with a key are hashed by: for SM2
// SM3, begun with the signer's default user id, curve and key (GB/T 32918.2);
// nil for schemes that hash by themselves.
func messageHash(key crypto.PublicKey, h crypto.Hash) (hash.Hash, error) {
	if h != 0 {
		return h.New(), nil
	}
	k, ok := key.(*ecdsa.PublicKey)
	if !ok || !sm2.IsSM2PublicKey(k) {
		return nil, nil
	}
	za, err := sm2.CalculateZA(k, []byte(userSM2))
	if err != nil {
		return nil, fmt.Errorf("hashing for SM2: %w", err)
	}
	s := sm3.New()
	s.Write(za)
	return s, nil
}

// sign signs message and gives the DER SEQUENCE {message, algorithm, signature}
// that certificates and certification requests are. With verify it checks the
// signature with the public key first.
func (a *signatureAlgorithm) sign(signer crypto.Signer, message []byte, verify bool) ([]byte, error) {
	digest, err := messageDigest(signer.Public(), a.hash, message)
	if err != nil {
		return nil, err
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

// SignText signs a text with a CA's key, as it would sign a certificate. The
// signature is one that openssl dgst -verify takes, or openssl pkeyutl for
// schemes that hash by themselves. The caller sees to it that the text cannot be
// taken for anything else that a CA signs, and that its log has it first.
func SignText(signer crypto.Signer, algorithm pca.SigningAlgorithm, text []byte) ([]byte, error) {
	a, err := algorithmFor(algorithm, signer.Public())
	if err != nil {
		return nil, err
	}
	digest, err := messageDigest(signer.Public(), a.hash, text)
	if err != nil {
		return nil, err
	}
	signature, err := signer.Sign(rand.Reader, digest, a.hash)
	if err != nil {
		return nil, fmt.Errorf("signing: %w", err)
	}
	if _, err := verifySignature(signer.Public(), a.identifier, text, signature); err != nil {
		return nil, fmt.Errorf("checking the signature that the key store made: %w", err)
	}
	return signature, nil
}

// VerifyText checks a signature of SignText with the DER SubjectPublicKeyInfo
// of the CA's key.
func VerifyText(spki []byte, algorithm pca.SigningAlgorithm, text, signature []byte) error {
	key, err := publicKey(spki)
	if err != nil {
		return err
	}
	a, err := algorithmFor(algorithm, key)
	if err != nil {
		return err
	}
	_, err = verifySignature(key, a.identifier, text, signature)
	return err
}

func isRSA(key crypto.PublicKey) bool {
	_, ok := key.(*rsa.PublicKey)
	return ok
}

func isECDSA(key crypto.PublicKey) bool { return keyKind(key) == pca.KeyAlgorithm_EC_prime256v1 }

var (
	errAlgorithm = errors.New("signature algorithm is unknown or does not go with the key")
	errSignature = errors.New("signature does not verify")
)

// verifySignature checks a signature under a DER AlgorithmIdentifier and tells
// the hash that it rests on: 0 when the algorithm hashes by itself.
func verifySignature(key crypto.PublicKey, identifier, message, signature []byte) (crypto.Hash, error) {
	return verifyDigest(key, identifier, signature, func(h crypto.Hash) ([]byte, error) { return messageDigest(key, h, message) })
}

// verifyDigest is verifySignature of a message that digestOf hashes, as
// messageDigest does.
func verifyDigest(key crypto.PublicKey, identifier, signature []byte, digestOf func(crypto.Hash) ([]byte, error)) (crypto.Hash, error) {
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
	case oidSM2:
		fits = func(key crypto.PublicKey) bool { return keyKind(key) == pca.KeyAlgorithm_SM2 }
	default:
		if parameters, ok := mldsaParameters(oid); ok && body.Empty() {
			fits = func(key crypto.PublicKey) bool {
				k, ok := key.(*mldsa.PublicKey)
				return ok && k.Parameters() == parameters
			}
		}
	}
	if fits == nil || !fits(key) || !noParameters {
		return 0, errAlgorithm
	}
	digest, err := digestOf(hash)
	if err != nil {
		return 0, err
	}
	var valid bool
	switch key := key.(type) {
	case *ecdsa.PublicKey:
		if hash == 0 {
			valid = sm2.VerifyASN1(key, digest, signature)
		} else {
			valid = ecdsa.VerifyASN1(key, digest, signature)
		}
	case *mldsa.PublicKey:
		valid = mldsa.Verify(key, digest, signature, nil) == nil
	case ed25519.PublicKey:
		valid = ed25519.Verify(key, digest, signature)
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
const acceptedKeys = "RSA with 2048 to 8192 bits and an odd exponent of at least 3, EC on P-256, P-384 or P-521, Ed25519, or ML-DSA-44, ML-DSA-65 or ML-DSA-87"

var errKey = errors.New("public key is not of an accepted kind")

// publicKey reads a SubjectPublicKeyInfo and lets the accepted kinds pass
// (T-35), and SM2, which only servers of its partition accept in CSRs.
func publicKey(spki []byte) (crypto.PublicKey, error) {
	algorithm, bits, ok := splitPublicKey(spki)
	if !ok {
		return nil, errKey
	}
	var oid cryptobyte.String
	parameters := algorithm
	if !parameters.ReadASN1(&oid, asn1.OBJECT_IDENTIFIER) {
		return nil, errKey
	}
	if params, ok := mldsaParameters(oid); ok {
		key, err := mldsa.NewPublicKey(params, bits)
		if err != nil || !parameters.Empty() {
			return nil, errKey
		}
		return key, nil
	}
	if string(oid) == oidEC && string(parameters) == curveSM2 {
		return sm2PublicKey(bits)
	}
	// What nearly all keys are: x509 takes three times as long to find out.
	if string(oid) == oidEC && string(parameters) == curveP256 {
		key, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), bits)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", errKey, err)
		}
		return key, nil
	}
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

// mldsaParameters finds the parameter set of an OID of RFC 9881.
func mldsaParameters(oid []byte) (mldsa.Parameters, bool) {
	if last, ok := bytes.CutPrefix(oid, []byte(oidMLDSA)); ok && len(last) == 1 {
		switch last[0] {
		case 17:
			return mldsa.MLDSA44(), true
		case 18:
			return mldsa.MLDSA65(), true
		case 19:
			return mldsa.MLDSA87(), true
		}
	}
	return mldsa.Parameters{}, false
}

// sm2PublicKey reads an uncompressed point and checks that it is on the curve.
func sm2PublicKey(bits []byte) (crypto.PublicKey, error) {
	if _, err := ecdh.P256().NewPublicKey(bits); err != nil {
		return nil, fmt.Errorf("%w: %w", errKey, err)
	}
	half := len(bits) / 2
	return &ecdsa.PublicKey{Curve: sm2.P256(), X: new(big.Int).SetBytes(bits[1 : 1+half]), Y: new(big.Int).SetBytes(bits[1+half:])}, nil
}

// MarshalPublicKey encodes a public key of any kind that CAs have as a DER
// SubjectPublicKeyInfo.
func MarshalPublicKey(key crypto.PublicKey) ([]byte, error) {
	var oid, parameters string
	var bits []byte
	switch kind := keyKind(key); kind {
	case pca.KeyAlgorithm_SM2:
		point, err := sm2.PublicKeyToECDH(key.(*ecdsa.PublicKey))
		if err != nil {
			return nil, fmt.Errorf("encoding the public key: %w", err)
		}
		oid, parameters, bits = oidEC, curveSM2, point.Bytes()
	case pca.KeyAlgorithm_ML_DSA_44, pca.KeyAlgorithm_ML_DSA_65, pca.KeyAlgorithm_ML_DSA_87:
		last := map[pca.KeyAlgorithm]string{pca.KeyAlgorithm_ML_DSA_44: "\x11", pca.KeyAlgorithm_ML_DSA_65: "\x12", pca.KeyAlgorithm_ML_DSA_87: "\x13"}[kind]
		oid, bits = oidMLDSA+last, key.(*mldsa.PublicKey).Bytes()
	default:
		spki, err := x509.MarshalPKIXPublicKey(key)
		if err != nil {
			return nil, fmt.Errorf("encoding the public key: %w", err)
		}
		return spki, nil
	}
	return asDER(func(b *cryptobyte.Builder) {
		b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
			b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
				addOID(b, oid)
				b.AddBytes([]byte(parameters))
			})
			b.AddASN1BitString(bits)
		})
	})
}

func isEven(n *big.Int) bool { return n.Bit(0) == 0 }

// splitPublicKey gives the content of a SubjectPublicKeyInfo's algorithm and
// of its subjectPublicKey BIT STRING.
func splitPublicKey(spki []byte) (algorithm cryptobyte.String, bits []byte, ok bool) {
	s := cryptobyte.String(spki)
	var body cryptobyte.String
	ok = s.ReadASN1(&body, asn1.SEQUENCE) && s.Empty() && body.ReadASN1(&algorithm, asn1.SEQUENCE) && body.ReadASN1BitStringAsBytes(&bits) && body.Empty()
	return algorithm, bits, ok
}

// samePublicKey compares two keys of any kind.
func samePublicKey(a, b crypto.PublicKey) bool {
	k, ok := a.(interface{ Equal(crypto.PublicKey) bool })
	return ok && k.Equal(b)
}
