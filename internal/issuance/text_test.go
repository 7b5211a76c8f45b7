package issuance

import (
	"bytes"
	"encoding/pem"
	"strings"
	"testing"

	"chirograph.dev/internal/pca"
)

// TestSignText has every key sign a text with each of its algorithms, which
// openssl verifies and VerifyText takes for this text alone.
func TestSignText(t *testing.T) {
	t.Parallel()
	for _, k := range keyAlgorithms {
		t.Run(string(k), func(t *testing.T) {
			t.Parallel()
			key := newKey(t, k)
			spki, err := MarshalPublicKey(key.Public())
			if err != nil {
				t.Fatal(err)
			}
			if csr, err := createCSR(key, &pca.ASN1Subject{CommonName: "x"}, nil, signingAlgorithms(k)[0]); err != nil {
				t.Error(err)
			} else if got, err := RequestKey(csr); err != nil || !bytes.Equal(got, spki) {
				t.Errorf("the key of the CSR is %x, want %x (%v)", got, spki, err)
			}
			text := []byte("chirograph.audit-key/v1\nkey of " + k + "\n")
			public := file(t, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: spki}))
			for _, alg := range signingAlgorithms(k) {
				sig, err := SignText(key, alg, text)
				if err != nil {
					t.Fatal(err)
				}
				if err := VerifyText(spki, alg, text, sig); err != nil {
					t.Errorf("%s: %v", alg, err)
				}
				if err := VerifyText(spki, alg, text[1:], sig); err == nil {
					t.Errorf("%s: the signature of another text was accepted", alg)
				}
				hash, _, hashed := strings.Cut(string(alg), "WITH")
				switch {
				case alg == pca.SigningAlgorithm_SM3WITHSM2:
					openssl(t, text, "dgst", "-sm3", "-verify", public, "-sigopt", distID, "-signature", file(t, sig))
				case hashed:
					openssl(t, text, "dgst", "-"+strings.ToLower(hash), "-verify", public, "-signature", file(t, sig))
				default:
					openssl35(t, nil, "pkeyutl", "-verify", "-rawin", "-pubin", "-inkey", public, "-in", file(t, text), "-sigfile", file(t, sig))
				}
			}
			if _, err := SignText(key, "SHA1WITHRSA", text); err == nil {
				t.Error("an unknown algorithm was accepted")
			}
		})
	}
}
