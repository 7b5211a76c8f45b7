package keystore

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"filippo.io/mldsa"
	"github.com/emmansun/gmsm/sm2"
)

var testMaster = MasterKey{1, 2, 3, 31: 200}

func open(t *testing.T, dir string) *Store {
	t.Helper()
	s, err := Open(Config{Dir: dir, MasterKey: testMaster})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func verify(t *testing.T, k crypto.Signer, public crypto.PublicKey) {
	t.Helper()
	message := []byte("message")
	digest := sha256.Sum256(message)
	var ok bool
	switch public := public.(type) {
	case ed25519.PublicKey:
		sig, err := k.Sign(rand.Reader, message, crypto.Hash(0))
		ok = err == nil && ed25519.Verify(public, message, sig)
	case *ecdsa.PublicKey:
		check := ecdsa.VerifyASN1
		if sm2.IsSM2PublicKey(public) {
			check = sm2.VerifyASN1
		}
		sig, err := k.Sign(rand.Reader, digest[:], crypto.SHA256)
		ok = err == nil && check(public, digest[:], sig)
	case *rsa.PublicKey:
		sig, err := k.Sign(rand.Reader, digest[:], crypto.SHA256)
		ok = err == nil && rsa.VerifyPKCS1v15(public, crypto.SHA256, digest[:], sig) == nil
	case *mldsa.PublicKey:
		sig, err := k.Sign(rand.Reader, message, crypto.Hash(0))
		ok = err == nil && mldsa.Verify(public, message, sig, nil) == nil
	}
	if !ok {
		t.Errorf("signature of %v does not verify", k)
	}
}

func TestGenerateAndReopen(t *testing.T) {
	t.Parallel()
	for algorithm, size := range map[string]int{
		"RSA_2048": 2048, "RSA_3072": 3072, "RSA_4096": 4096,
		"EC_prime256v1": 256, "EC_secp384r1": 384, "EC_secp521r1": 521, "ED25519": 256,
		"ML_DSA_44": 8 * mldsa.MLDSA44PublicKeySize, "ML_DSA_65": 8 * mldsa.MLDSA65PublicKeySize, "ML_DSA_87": 8 * mldsa.MLDSA87PublicKeySize, "SM2": 256,
	} {
		t.Run(algorithm, func(t *testing.T) {
			t.Parallel()
			dir := filepath.Join(t.TempDir(), "keys")
			s := open(t, dir)
			k, err := s.Generate(t.Context(), "a", algorithm)
			if err != nil {
				t.Fatal(err)
			}
			got := 256
			switch public := k.Public().(type) {
			case *rsa.PublicKey:
				got = public.N.BitLen()
			case *ecdsa.PublicKey:
				got = public.Curve.Params().BitSize
			case *mldsa.PublicKey:
				got = 8 * len(public.Bytes())
			}
			if got != size {
				t.Errorf("key has %d bits, want %d", got, size)
			}
			verify(t, k, k.Public())

			again, err := open(t, dir).Signer(t.Context(), "a")
			if err != nil {
				t.Fatal(err)
			}
			verify(t, again, k.Public())
			for path, want := range map[string]fs.FileMode{dir: 0o700 | fs.ModeDir, filepath.Join(dir, "a.key"): 0o600} {
				if info, err := os.Stat(path); err != nil || info.Mode() != want {
					t.Errorf("%s: mode %v, %v", path, info.Mode(), err)
				}
			}
		})
	}
}

// What is sealed of an ML-DSA key is its seed alone (RFC 9881 6).
func TestSeed(t *testing.T) {
	t.Parallel()
	key, err := generate("ML_DSA_87")
	if err != nil {
		t.Fatal(err)
	}
	der, err := marshalPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	want := "3034020100300b0609608648016503040313" + "0422" + "8020" + hex.EncodeToString(key.(*mldsa.PrivateKey).Bytes())
	if got := hex.EncodeToString(der); got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

// Another implementation reads the SM2 key and finds the same public key.
func TestSM2KeyAsOpenSSL(t *testing.T) {
	t.Parallel()
	for range 4 {
		key, err := generate("SM2")
		if err != nil {
			t.Fatal(err)
		}
		der, err := marshalPrivateKey(key)
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.CommandContext(t.Context(), "openssl", "pkey", "-inform", "DER", "-pubout", "-outform", "DER")
		cmd.Stdin = bytes.NewReader(der)
		public, err := cmd.Output()
		if err != nil {
			t.Fatal(err)
		}
		point, err := sm2.PublicKeyToECDH(key.Public().(*ecdsa.PublicKey))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.HasSuffix(public, point.Bytes()) {
			t.Errorf("openssl finds %x, want %x", public, point.Bytes())
		}
	}
	for _, scalar := range [][]byte{nil, {1}, make([]byte, 32), bytes.Repeat([]byte{0xff}, 32)} {
		if _, err := newSM2Key(scalar); err == nil {
			t.Errorf("%x was taken as an SM2 key", scalar)
		}
	}
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	s := open(t, t.TempDir())
	ctx := t.Context()
	if _, err := s.Generate(ctx, "a", "EC_prime256v1"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Generate(ctx, "a", "EC_prime256v1"); !errors.Is(err, ErrExists) {
		t.Errorf("second key of one name: %v", err)
	}
	for _, algorithm := range []string{"", "ML_DSA_66", "SM3", "RSA_1024", "ec_prime256v1"} {
		if _, err := s.Generate(ctx, "b", algorithm); !errors.Is(err, ErrUnsupportedAlgorithm) {
			t.Errorf("algorithm %q: %v", algorithm, err)
		}
	}
	if _, err := s.Signer(ctx, "b"); !errors.Is(err, ErrNotFound) {
		t.Errorf("missing key: %v", err)
	}
	if err := s.Delete(ctx, "b"); !errors.Is(err, ErrNotFound) {
		t.Errorf("deleting a missing key: %v", err)
	}
	for _, id := range []string{"", ".", "..", "../a", "a/b", ".tmp-a", "a b", "ä", strings.Repeat("a", 129), "a\x00"} {
		if _, err := s.Generate(ctx, id, "ED25519"); err == nil {
			t.Errorf("Generate took the id %q", id)
		}
		if _, err := s.Signer(ctx, id); err == nil {
			t.Errorf("Signer took the id %q", id)
		}
		if err := s.Delete(ctx, id); err == nil {
			t.Errorf("Delete took the id %q", id)
		}
	}
	ended, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := s.Generate(ended, "c", "ED25519"); !errors.Is(err, context.Canceled) {
		t.Errorf("Generate after the context ended: %v", err)
	}
	if _, err := s.Signer(ctx, "c"); !errors.Is(err, ErrNotFound) {
		t.Errorf("key of an ended context: %v", err)
	}
}

func TestWrongMasterKey(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	open(t, dir)
	other := testMaster
	other[7] ^= 1
	if _, err := Open(Config{Dir: dir, MasterKey: other}); !errors.Is(err, ErrWrongMasterKey) {
		t.Errorf("wrong master key: %v", err)
	}
	sealed, err := os.ReadFile(filepath.Join(dir, checkFile))
	if err != nil {
		t.Fatal(err)
	}
	sealed[0] = formatVersion + 1
	if err := os.WriteFile(filepath.Join(dir, checkFile), sealed, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(Config{Dir: dir, MasterKey: testMaster}); !errors.Is(err, ErrNewerFormat) {
		t.Errorf("newer format: %v", err)
	}
}

// A folder whose check file is gone is not sealed again under whatever master
// key comes along.
func TestKeysWithoutCheckFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if _, err := open(t, dir).Generate(t.Context(), "a", "ED25519"); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(dir, checkFile)); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(Config{Dir: dir, MasterKey: testMaster}); !errors.Is(err, ErrCorrupt) {
		t.Errorf("got %v", err)
	}
}

func TestTampering(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := open(t, dir)
	for _, id := range []string{"a", "b"} {
		if _, err := s.Generate(t.Context(), id, "ED25519"); err != nil {
			t.Fatal(err)
		}
	}
	path := filepath.Join(dir, "a.key")
	sealed, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	try := func(what string, content []byte) {
		t.Helper()
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := open(t, dir).Signer(t.Context(), "a")
		if !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrNewerFormat) {
			t.Errorf("%s: %v", what, err)
		}
	}
	for i := range sealed {
		changed := bytes.Clone(sealed)
		changed[i] ^= 0x80
		try(fmt.Sprintf("byte %d changed", i), changed)
		try(fmt.Sprintf("cut at byte %d", i), sealed[:i])
	}
	try("a byte added", append(bytes.Clone(sealed), 0))
	other, err := os.ReadFile(filepath.Join(dir, "b.key"))
	if err != nil {
		t.Fatal(err)
	}
	try("another key's file", other)
	if err := os.WriteFile(path, sealed, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := open(t, dir).Signer(t.Context(), "a"); err != nil {
		t.Errorf("the file as it was: %v", err)
	}
}

func TestDelete(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := open(t, dir)
	k, err := s.Generate(t.Context(), "a", "ED25519")
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Delete(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	if _, err := k.Sign(rand.Reader, []byte("m"), crypto.Hash(0)); !errors.Is(err, ErrNotFound) {
		t.Errorf("signing with a destroyed key: %v", err)
	}
	if _, err := s.Signer(t.Context(), "a"); !errors.Is(err, ErrNotFound) {
		t.Errorf("finding a destroyed key: %v", err)
	}
	if names := list(t, dir); len(names) != 1 || names[0] != checkFile {
		t.Errorf("the folder still holds %v", names)
	}
	again, err := s.Generate(t.Context(), "a", "ED25519")
	if err != nil {
		t.Fatal(err)
	}
	if again.Public().(ed25519.PublicKey).Equal(k.Public()) {
		t.Error("the new key is the destroyed one")
	}
}

// TestDeleteGoesOn: a file that could not be overwritten at first is not
// forgotten, and the key is not said to be destroyed.
func TestDeleteGoesOn(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := open(t, dir)
	if _, err := s.Generate(t.Context(), "a", "ED25519"); err != nil {
		t.Fatal(err)
	}
	aside := filepath.Join(t.TempDir(), "a.key")
	if err := errors.Join(os.Rename(s.path("a"), aside), os.Mkdir(s.path("a"), 0o700)); err != nil {
		t.Fatal(err)
	}
	for range 2 { // what stands there cannot be opened for writing
		if err := s.Delete(t.Context(), "a"); err == nil || errors.Is(err, ErrNotFound) {
			t.Fatalf("destroying what cannot be overwritten: %v", err)
		}
	}
	dying := filepath.Join(dir, diePrefix+"a")
	if err := errors.Join(os.Remove(dying), os.Rename(aside, dying)); err != nil {
		t.Fatal(err)
	}
	if err := s.Delete(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	if names := list(t, dir); len(names) != 1 || names[0] != checkFile {
		t.Errorf("the folder still holds %v", names)
	}
	if err := s.Delete(t.Context(), "a"); !errors.Is(err, ErrNotFound) {
		t.Errorf("destroying it once more: %v", err)
	}
}

func list(t *testing.T, dir string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

func TestOpenSweepsCrashLeftovers(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := open(t, dir)
	if _, err := s.Generate(t.Context(), "a", "ED25519"); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{tmpPrefix + "123", diePrefix + "b", "note.txt"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("half a file"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	s = open(t, dir)
	if got, want := fmt.Sprint(list(t, dir)), "[a.key master.check note.txt]"; got != want {
		t.Errorf("after Open the folder holds %s, want %s", got, want)
	}
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("folder: %v, %v", info.Mode(), err)
	}
	if _, err := s.Signer(t.Context(), "a"); err != nil {
		t.Error(err)
	}
}

// A write that fails leaves nothing behind and the store usable.
func TestFailedWrite(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := open(t, dir)
	if err := os.Mkdir(filepath.Join(dir, "a.key"), 0o700); err != nil { // the rename cannot replace a folder
		t.Fatal(err)
	}
	if err := s.write("a.key", []byte("x")); err == nil {
		t.Error("write replaced a folder")
	}
	if got, want := fmt.Sprint(list(t, dir)), "[a.key master.check]"; got != want {
		t.Errorf("the folder holds %s, want %s", got, want)
	}
	if _, err := s.Generate(t.Context(), "b", "ED25519"); err != nil {
		t.Error(err)
	}
}

// forms gives the ways in which bytes might show in text.
func forms(secret []byte) []string {
	decimal := strings.Trim(fmt.Sprint(secret), "[]")
	return []string{
		string(secret), hex.EncodeToString(secret), strings.ToUpper(hex.EncodeToString(secret)),
		base64.StdEncoding.EncodeToString(secret)[:len(secret)], decimal, strings.ReplaceAll(decimal, " ", ", "),
		fmt.Sprintf("%#v", secret)[7:],
	}
}

func TestNothingSecretIsPrinted(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := open(t, dir)
	var secrets [][]byte
	var values []any
	for _, algorithm := range []string{"ED25519", "EC_prime256v1", "RSA_2048"} {
		k, err := s.Generate(t.Context(), algorithm, algorithm)
		if err != nil {
			t.Fatal(err)
		}
		switch private := (*k.(*signer).private.Load()).(type) {
		case ed25519.PrivateKey:
			secrets = append(secrets, private.Seed())
		case *ecdsa.PrivateKey:
			d, err := private.Bytes()
			if err != nil {
				t.Fatal(err)
			}
			secrets = append(secrets, d, []byte(new(big.Int).SetBytes(d).String()))
		case *rsa.PrivateKey:
			secrets = append(secrets, private.D.Bytes(), private.Primes[0].Bytes(), []byte(private.Primes[0].String()))
		}
		for _, known := range []bool{isA[*ecdsa.PrivateKey](k), isA[*rsa.PrivateKey](k), isA[ed25519.PrivateKey](k), isA[*ed25519.PrivateKey](k)} {
			if known {
				t.Errorf("%s: the signer is a private key", algorithm)
			}
		}
		if _, err := x509.MarshalPKCS8PrivateKey(k); err == nil {
			t.Errorf("%s: the signer can be exported", algorithm)
		}
		values = append(values, k, []crypto.Signer{k}, struct{ K crypto.Signer }{k}, struct{ k crypto.Signer }{k})
	}
	secrets = append(secrets, testMaster[:])
	cfg := Config{Dir: dir, MasterKey: testMaster}
	values = append(values, s, testMaster, &cfg, cfg, &testMaster)

	var text strings.Builder
	for _, v := range values {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d"} {
			fmt.Fprintf(&text, verb+"\n", v)
		}
		j, _ := json.Marshal(v)
		text.Write(j)
		slog.New(slog.NewJSONHandler(&text, nil)).Info("m", "value", v)
		slog.New(slog.NewTextHandler(&text, nil)).Info("m", "value", v)
	}
	for i, secret := range secrets {
		for _, form := range forms(secret) {
			if strings.Contains(text.String(), form) {
				t.Errorf("secret %d is printed as %q", i, form)
			}
		}
		for _, name := range list(t, dir) {
			content, err := os.ReadFile(filepath.Join(dir, name))
			if err != nil {
				t.Fatal(err)
			}
			if bytes.Contains(content, secret) {
				t.Errorf("secret %d is in the file %s", i, name)
			}
		}
	}
	if !strings.Contains(text.String(), "key RSA_2048") {
		t.Error("a signer does not print its name")
	}
}

func isA[T any](v any) bool { _, ok := v.(T); return ok }

func TestSecrets(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := open(t, dir)
	sealed, err := s.SealSecret([]byte("wJalrXUtnFEMI"), "access-key/AKIA1")
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(sealed, []byte("wJalr")) {
		t.Error("the secret is not sealed")
	}
	if again, err := s.SealSecret([]byte("wJalrXUtnFEMI"), "access-key/AKIA1"); err != nil || bytes.Equal(again, sealed) {
		t.Errorf("sealing twice gives the same bytes, %v", err)
	}
	got, err := open(t, dir).OpenSecret(sealed, "access-key/AKIA1")
	if err != nil || string(got) != "wJalrXUtnFEMI" {
		t.Errorf("opened %q, %v", got, err)
	}
	if _, err := s.OpenSecret(sealed, "access-key/AKIA2"); !errors.Is(err, ErrCorrupt) {
		t.Errorf("another context: %v", err)
	}
	for i := range sealed {
		changed := bytes.Clone(sealed)
		changed[i] ^= 1
		if _, err := s.OpenSecret(changed, "access-key/AKIA1"); err == nil {
			t.Errorf("byte %d changed: opened", i)
		}
	}
	if _, err := s.OpenSecret(nil, ""); !errors.Is(err, ErrCorrupt) {
		t.Errorf("empty: %v", err)
	}
}

func TestMasterKeyFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "master.key")
	key, err := CreateMasterKey(path)
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	if again, err := LoadMasterKey(path); err != nil || again != key || key == (MasterKey{}) {
		t.Errorf("loading what was made: %v", err)
	}
	if _, err := CreateMasterKey(path); !errors.Is(err, fs.ErrExist) {
		t.Errorf("making it twice: %v", err)
	}
	if again, err := LoadMasterKey(path); err != nil || again != key {
		t.Errorf("the second making changed the file: %v", err)
	}
	for _, mode := range []fs.FileMode{0o640, 0o604, 0o660, 0o620, 0o644} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		if _, err := LoadMasterKey(path); err == nil || !strings.Contains(err.Error(), "chmod 600") {
			t.Errorf("mode %o: %v", mode, err)
		}
	}
	digits := hex.EncodeToString(key[:])
	for name, text := range map[string]string{
		"empty": "", "short": digits[:62], "odd": digits[:63], "long": digits + "00", "no digits": strings.Repeat("xy", 32), "raw": string(key[:]), "spaces": " " + digits,
	} {
		other := filepath.Join(t.TempDir(), "k")
		if err := os.WriteFile(other, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if got, err := LoadMasterKey(other); err == nil || got != (MasterKey{}) || strings.Contains(err.Error(), digits[:20]) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, text := range []string{digits, digits + "\r\n", strings.ToUpper(digits) + "\n"} {
		other := filepath.Join(t.TempDir(), "k")
		if err := os.WriteFile(other, []byte(text), 0o400); err != nil {
			t.Fatal(err)
		}
		if got, err := LoadMasterKey(other); err != nil || got != key {
			t.Errorf("%q: %v", text[64:], err)
		}
	}
	if _, err := LoadMasterKey(path + "x"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing file: %v", err)
	}
}

func TestConcurrentUse(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := open(t, dir)
	if _, err := s.Generate(t.Context(), "shared", "ED25519"); err != nil {
		t.Fatal(err)
	}
	s = open(t, dir)
	var wg sync.WaitGroup
	made := make([]crypto.Signer, 8)
	for n := range 8 {
		wg.Go(func() {
			k, err := s.Signer(t.Context(), "shared")
			if err != nil {
				t.Error(err)
				return
			}
			verify(t, k, k.Public())
			if k, err := s.Generate(t.Context(), "race", "ED25519"); err == nil {
				made[n] = k
			} else if !errors.Is(err, ErrExists) {
				t.Error(err)
			}
			own := fmt.Sprintf("own-%d", n)
			if _, err := s.Generate(t.Context(), own, "EC_prime256v1"); err != nil {
				t.Error(err)
			}
			if err := s.Delete(t.Context(), own); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	winners := 0
	for _, k := range made {
		if k != nil {
			winners++
		}
	}
	if winners != 1 {
		t.Errorf("%d callers made the same key", winners)
	}
	if got, want := fmt.Sprint(list(t, dir)), "[master.check race.key shared.key]"; got != want {
		t.Errorf("the folder holds %s, want %s", got, want)
	}
}
