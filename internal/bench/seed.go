package bench

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	mathrand "math/rand/v2"
	"path/filepath"
	"strings"
	"time"

	"chirograph.dev/internal/certlog"
	"chirograph.dev/internal/store"
	"chirograph.dev/internal/store/sqlite"
)

const (
	seedSerial = "\x7fSEED-SERIAL-16B" // 16 octets that stand for the serial in the model certificate
	seedNumber = "0000000000"          // stands for the host's number
	seedHost   = "host-" + seedNumber + ".seed.example.com"
)

// Seed appends n certificates to a CA's log, with the given part of them
// revoked, to the store of a server that is not running. The log, its tree and
// the packs are real; the certificates are one real certificate with its serial
// number and host name exchanged, so their signatures do not verify.
func Seed(ctx context.Context, dataDir, caARN string, n uint64, revoked float64) (err error) {
	db, err := sqlite.Open(ctx, sqlite.Config{Path: filepath.Join(dataDir, "chirograph.db"), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	defer func() {
		if cerr := db.Close(); err == nil {
			err = cerr
		}
	}()
	ca := caARN[strings.LastIndexByte(caARN, '/')+1:]
	head, err := db.LogHead(ctx, ca)
	if err != nil {
		return err
	}
	s := &seeder{ca: ca, index: head.Size, begin: head.Size, random: mathrand.New(mathrand.NewPCG(1, n))}
	total := n + uint64(float64(n)*revoked)
	s.certificate = make([]uint64, (total+63)/64)
	s.revoked = make([]uint64, (total+63)/64)
	// Times never go back, nor beyond now: entries are a millisecond apart, or
	// as much less as what is in the log already leaves.
	now := time.Now().UnixMilli()
	first := max(now-int64(total), head.Time)
	s.time = first
	if s.model, err = modelCertificate(); err != nil {
		return err
	}
	records := make([]certlog.Record, 0, certlog.BlockSize)
	var issued uint64
	for issued < n {
		records = records[:0]
		room := certlog.BlockSize - s.index%certlog.BlockSize
		for uint64(len(records)) < room && issued < n {
			var r certlog.Record
			ok := false
			if s.random.Float64()*(1+revoked) < revoked {
				r, ok, err = s.revoke()
			}
			if err == nil && !ok {
				r, err = s.issue()
				issued++
			}
			if err != nil {
				return err
			}
			records = append(records, r)
			s.index++
			s.time = min(now, first+int64(float64(now-first)*float64(s.index-s.begin)/float64(total)))
		}
		if _, err := db.SeedBlock(ctx, ca, records); err != nil {
			return err
		}
	}
	return nil
}

type seeder struct {
	ca                   string
	begin, index         uint64
	time                 int64
	random               *mathrand.Rand
	model                []byte
	certificate, revoked []uint64 // bits by index - begin
}

// serial depends on the index alone, so that a revocation needs no list of serials.
func (s *seeder) serial(index uint64) []byte {
	var b [16]byte
	binary.BigEndian.PutUint64(b[:], (1_700_000_000_000+index)<<16)
	h := sha256.Sum256(binary.BigEndian.AppendUint64(nil, index))
	copy(b[6:], h[:10])
	return b[:]
}

func (s *seeder) issue() (certlog.Record, error) {
	serial := s.serial(s.index)
	number := fmt.Sprintf("%010d", s.index)
	der := exchange(exchange(s.model, seedSerial, string(serial)), seedNumber, number)
	seconds := s.time / 1000
	e := certlog.Entry{
		Type: certlog.TypeIssue, Time: s.time, Serial: serial, CertSHA256: sha256.Sum256(der),
		NotBefore: seconds - 3600, NotAfter: seconds + 90*86400,
		Account:     []byte("123456789012"),
		TemplateARN: []byte("arn:aws:acm-pca:::template/EndEntityCertificate/V1"),
		Subject:     []byte("CN=" + strings.Replace(seedHost, seedNumber, number, 1) + ",OU=Sales,O=Example Company,L=Seattle,ST=Washington,C=US"),
	}
	b, err := e.Append(nil)
	if err != nil {
		return certlog.Record{}, err
	}
	i := s.index - s.begin
	for uint64(len(s.certificate)) <= i/64 {
		s.certificate, s.revoked = append(s.certificate, 0), append(s.revoked, 0)
	}
	s.certificate[i/64] |= 1 << (i % 64)
	return certlog.Record{Entry: b, Rows: []certlog.Row{&store.Certificate{
		CA: s.ca, Serial: serial, Generation: 1, NotAfter: time.Unix(seconds+90*86400, 0), DER: der,
	}}}, nil
}

// revoke revokes a random earlier certificate; not ok when a few tries found none.
func (s *seeder) revoke() (certlog.Record, bool, error) {
	if s.index == s.begin {
		return certlog.Record{}, false, nil
	}
	for range 8 {
		i := s.random.Uint64N(s.index - s.begin)
		bit := uint64(1) << (i % 64)
		if i/64 >= uint64(len(s.certificate)) || s.certificate[i/64]&bit == 0 || s.revoked[i/64]&bit != 0 {
			continue
		}
		s.revoked[i/64] |= bit
		r := &store.Revocation{CA: s.ca, IssueIndex: s.begin + i, Time: s.time, Reason: [...]uint8{0, 1, 3, 4, 5}[i%5]}
		e := certlog.Entry{Type: certlog.TypeRevoke, Time: s.time, Serial: s.serial(s.begin + i), IssueIndex: r.IssueIndex, Reason: r.Reason}
		b, err := e.Append(nil)
		return certlog.Record{Entry: b, Rows: []certlog.Row{r}}, true, err
	}
	return certlog.Record{}, false, nil
}

// exchange copies b with every old replaced by new of the same length.
func exchange(b []byte, old, new string) []byte {
	return bytes.ReplaceAll(b, []byte(old), []byte(new))
}

func modelCertificate() ([]byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	t := &x509.Certificate{
		SerialNumber: new(big.Int).SetBytes([]byte(seedSerial)),
		Subject:      pkix.Name{CommonName: seedHost, OrganizationalUnit: []string{"Sales"}, Organization: []string{"Example Company"}, Locality: []string{"Seattle"}, Province: []string{"Washington"}, Country: []string{"US"}},
		NotBefore:    time.Now(), NotAfter: time.Now().AddDate(0, 3, 0),
		DNSNames: []string{seedHost},
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, t, t, key.Public(), key)
	if err != nil {
		return nil, err
	}
	if !strings.Contains(string(der), seedSerial) || !strings.Contains(string(der), seedHost) {
		return nil, errors.New("the model certificate does not hold its marks")
	}
	return der, nil
}
