package certlog

import (
	"crypto"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// LabelEndorsement is the Label of the sign entry whose Digest is the SHA-256
// of the EndorsementText of the log's first key, and whose Extra is its
// FormatEndorsement. Part of the format.
const LabelEndorsement = "audit-key-endorsement"

// VerifierKey is the verifier key of the log of that origin (C2SP signed-note),
// whose heads the Ed25519 key signs.
func VerifierKey(origin string, public crypto.PublicKey) (string, error) {
	key, ok := public.(ed25519.PublicKey)
	if !ok {
		return "", fmt.Errorf("audit key is a %T, not an Ed25519 key", public)
	}
	vkey, err := note.NewEd25519VerifierKey(origin, key)
	if err != nil {
		return "", fmt.Errorf("encoding the audit key: %w", err)
	}
	return vkey, nil
}

// EndorsementText is what the CA key signs to make an audit key the signer of
// the heads of its log (proof.md 2.2). It starts with text, so that nothing a
// CA issues can be taken for it. Part of the format.
func EndorsementText(spkiSHA256 [sha256.Size]byte, origin, vkey string) []byte {
	return []byte("chirograph.audit-key/v1\nca " + base64.StdEncoding.EncodeToString(spkiSHA256[:]) + "\nlog " + origin + "\nkey " + vkey + "\n")
}

// FormatEndorsement is an endorsement as entries carry it: the API's name of
// the signing algorithm and the signature in base64. Part of the format.
func FormatEndorsement(algorithm string, signature []byte) string {
	return algorithm + " " + base64.StdEncoding.EncodeToString(signature)
}

// FormatRecovery is the Extra of a recovery entry: the new epoch's verifier key,
// its FormatEndorsement, and the newest head of the epoch before that anybody
// still knows. Part of the format.
func FormatRecovery(vkey, endorsement string, size uint64, root tlog.Hash) string {
	return "key " + vkey + "\nendorsement " + endorsement + "\nlast " + strconv.FormatUint(size, 10) + " " + root.String() + "\n"
}

// ParseEndorsement reads what FormatEndorsement writes.
func ParseEndorsement(s string) (algorithm string, signature []byte, ok bool) {
	algorithm, b, ok := strings.Cut(s, " ")
	signature, err := base64.StdEncoding.Strict().DecodeString(b)
	ok = ok && err == nil && algorithm != "" && FormatEndorsement(algorithm, signature) == s
	return algorithm, signature, ok
}

// ParseRecovery reads what FormatRecovery writes.
func ParseRecovery(s string) (vkey, endorsement string, size uint64, root tlog.Hash, ok bool) {
	f := strings.Split(s, "\n")
	if len(f) != 4 {
		return "", "", 0, tlog.Hash{}, false
	}
	vkey, _ = strings.CutPrefix(f[0], "key ")
	endorsement, _ = strings.CutPrefix(f[1], "endorsement ")
	last, _ := strings.CutPrefix(f[2], "last ")
	number, hash, _ := strings.Cut(last, " ")
	size, err1 := strconv.ParseUint(number, 10, 64)
	root, err2 := tlog.ParseHash(hash)
	ok = err1 == nil && err2 == nil && FormatRecovery(vkey, endorsement, size, root) == s
	return vkey, endorsement, size, root, ok
}
