package bench

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/binary"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	mathrand "math/rand/v2"
	"path"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"chirograph.dev/internal/certlog"
	"chirograph.dev/internal/store"
	"chirograph.dev/internal/store/sqlite"
)

// Marks of the model certificate, each replaced by something as long.
const (
	seedSerial    = "\x7fSEED-SERIAL-16B" // the serial number
	seedNumber    = "0000000000"          // the host's number
	seedNotBefore = "010203040506Z"
	seedNotAfter  = "020304050607Z"
)

const seedAccount, seedTemplate = "123456789012", "arn:aws:acm-pca:::template/EndEntityCertificate/V1"

// Seeding fills a CA's log with certificates, in the store of a server that is
// not running. The log, its tree and the packs are real; the certificates are
// one real certificate with its serial number, host name and dates exchanged, so
// their signatures do not verify. Memory is bounded, but for two bits a certificate.
type Seeding struct {
	DataDir string // the server's
	CA      string // ARN

	Certificates uint64
	Revoked      float64       // part of them that is revoked
	Compact      bool          // short subjects, small certificates, serial numbers that compress
	Dates        time.Duration // how far back from their issue the certificates' notBefore lies, at random; 0: an hour

	// Progress is told, now and then, how many are stored; may be nil.
	Progress func(certificates uint64)
}

// Seed is Seeding of certificates like those of a real CA.
func Seed(ctx context.Context, dataDir, ca string, certificates uint64, revoked float64) error {
	return Seeding{DataDir: dataDir, CA: ca, Certificates: certificates, Revoked: revoked}.Run(ctx)
}

// Run seeds, and returns when all is durable. When ctx ends it returns its
// error and leaves a sound store with what was written until then.
func (s Seeding) Run(ctx context.Context) (err error) {
	db, err := sqlite.Open(ctx, sqlite.Config{Path: filepath.Join(s.DataDir, "chirograph.db"), Bulk: true, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	ca := path.Base(s.CA)
	model, err := newModel(ctx, db, ca, s.Compact)
	if err != nil {
		return err
	}
	head, err := db.LogHead(ctx, ca)
	if err != nil {
		return err
	}
	p := &seedPlan{
		seeding: s, index: head.Size, begin: head.Size, total: s.Certificates + uint64(float64(s.Certificates)*s.Revoked), random: mathrand.New(mathrand.NewPCG(1, s.Certificates)),
		now: time.Now().UnixMilli(),
	}
	// Times never go back, nor beyond now: entries are a millisecond apart, or
	// as much less as what is in the log already leaves.
	p.first = max(p.now-int64(p.total), head.Time)

	// Blocks are made on all processors, and written in their order by one
	// goroutine. The queue bounds how many there are at once.
	g, ctx := errgroup.WithContext(ctx)
	workers := runtime.GOMAXPROCS(0)
	work := make(chan *seedBlock)
	queue := make(chan *seedBlock, workers+2)
	g.Go(func() error {
		defer close(work)
		defer close(queue)
		for p.issued < s.Certificates {
			b := p.next()
			for _, to := range []chan<- *seedBlock{queue, work} {
				select {
				case to <- b:
				case <-ctx.Done():
					return ctx.Err()
				}
			}
		}
		return nil
	})
	for range workers {
		g.Go(func() error {
			for b := range work {
				if err := b.make(db, ca, model); err != nil {
					return err
				}
				close(b.made)
			}
			return nil
		})
	}
	g.Go(func() error { return s.write(ctx, db, ca, queue) })
	return g.Wait()
}

// write stores the blocks of the queue, each in one transaction.
func (s Seeding) write(ctx context.Context, db *sqlite.DB, ca string, queue <-chan *seedBlock) error {
	var stored uint64
	for b := range queue {
		select {
		case <-b.made:
		case <-ctx.Done():
			return ctx.Err()
		}
		if b.packed == nil { // less than a block, at the begin or the end
			if _, err := db.SeedBlock(ctx, ca, b.records); err != nil {
				return err
			}
		} else if _, err := db.SeedPacked(ctx, ca, b.packed); err != nil {
			return err
		}
		if stored += b.certificates(); s.Progress != nil {
			s.Progress(stored)
		}
	}
	return nil
}

// seedPlan decides what each entry is, in the order of the log.
type seedPlan struct {
	seeding              Seeding
	begin, index, total  uint64 // total is how many entries there will be, about
	issued               uint64
	first, now           int64
	random               *mathrand.Rand
	certificate, revoked []uint64 // bits by index - begin
}

// seedBlock is the entries of one block, or what is seeded of it.
type seedBlock struct {
	lo      uint64
	entries []seedEntry

	made    chan struct{} // closed when the rest is set
	records []certlog.Record
	packed  *sqlite.Block
}

// seedEntry is an entry to be made: of a certificate, or with an origin of the
// revocation of that one.
type seedEntry struct {
	time      int64
	notBefore int64  // of the certificate, seconds
	origin    uint64 // index of the certificate that is revoked; 0, the genesis: none
}

func (b *seedBlock) certificates() (n uint64) {
	for i := range b.entries {
		if b.entries[i].origin == 0 {
			n++
		}
	}
	return n
}

// next plans the entries up to the end of a block.
func (p *seedPlan) next() *seedBlock {
	room := certlog.BlockSize - p.index%certlog.BlockSize
	b := &seedBlock{lo: p.index, made: make(chan struct{}), entries: make([]seedEntry, 0, room)}
	for ; uint64(len(b.entries)) < room && p.issued < p.seeding.Certificates; p.index++ {
		at := p.index - p.begin
		if at%64 == 0 {
			p.certificate, p.revoked = append(p.certificate, 0), append(p.revoked, 0)
		}
		e := seedEntry{time: p.time(p.index), notBefore: p.notBefore(p.index)}
		if e.origin = p.revocation(); e.origin == 0 {
			p.issued++
			p.certificate[at/64] |= 1 << (at % 64)
		} else {
			e.notBefore = p.notBefore(e.origin)
		}
		b.entries = append(b.entries, e)
	}
	return b
}

// time is that of an entry, milliseconds.
func (p *seedPlan) time(index uint64) int64 {
	return min(p.now, p.first+int64(float64(p.now-p.first)*float64(index-p.begin)/float64(p.total)))
}

// notBefore is that of the certificate of an entry, seconds: the same whenever it
// is asked for.
func (p *seedPlan) notBefore(index uint64) int64 {
	back := uint64(max(p.seeding.Dates, time.Hour) / time.Second)
	at := p.time(index)/1000 - int64(back)
	if p.seeding.Dates > 0 {
		at += int64(mathrand.NewPCG(index, 0).Uint64() % back)
	}
	return at
}

// revocation picks, as often as the part of revoked certificates asks for it, a
// random earlier certificate; 0 when this entry is none, or a few tries found none.
func (p *seedPlan) revocation() uint64 {
	revoked := p.seeding.Revoked
	if p.index == p.begin || p.random.Float64()*(1+revoked) >= revoked {
		return 0
	}
	for range 8 {
		i := p.random.Uint64N(p.index - p.begin)
		bit := uint64(1) << (i % 64)
		if p.certificate[i/64]&bit != 0 && p.revoked[i/64]&bit == 0 {
			p.revoked[i/64] |= bit
			return p.begin + i
		}
	}
	return 0
}

// make sets records and, of a whole block, packed.
func (b *seedBlock) make(db *sqlite.DB, ca string, m *model) (err error) {
	n := len(b.entries)
	b.records = make([]certlog.Record, n)
	rows := make([]certlog.Row, n)
	ders := make([]byte, 0, n*len(m.der)) // all in one, so that the collector has little to do
	entries := make([]byte, 0, n*(len(m.subject)+200))
	for i := range b.entries {
		e, index := &b.entries[i], b.lo+uint64(i)
		entry := certlog.Entry{Type: certlog.TypeRevoke, Time: e.time, IssueIndex: e.origin, Reason: [...]uint8{0, 1, 3, 4, 5}[e.origin%5]}
		if e.origin != 0 {
			entry.Serial = m.serial(e.origin)
			rows[i] = &store.Revocation{CA: ca, IssueIndex: e.origin, Time: e.time, Reason: entry.Reason, Serial: entry.Serial, NotAfter: time.Unix(e.notBefore+m.validity, 0)}
		} else {
			at := len(ders)
			ders = m.append(ders, index, e.notBefore)
			der := ders[at:len(ders):len(ders)]
			entry = certlog.Entry{
				Type: certlog.TypeIssue, Time: e.time, Serial: m.serial(index), CertSHA256: sha256.Sum256(der),
				NotBefore: e.notBefore, NotAfter: e.notBefore + m.validity,
				Account: []byte(seedAccount), TemplateARN: []byte(seedTemplate), Subject: m.subjectOf(index),
			}
			rows[i] = &store.Certificate{CA: ca, Serial: entry.Serial, Generation: 1, NotAfter: time.Unix(entry.NotAfter, 0), DER: der}
		}
		at := len(entries)
		if entries, err = entry.Append(entries); err != nil {
			return err
		}
		b.records[i] = certlog.Record{Entry: entries[at:len(entries):len(entries)], Rows: rows[i : i+1 : i+1]}
	}
	if n == certlog.BlockSize {
		b.packed, err = db.PackBlock(b.records)
	}
	return err
}

// model is the certificate that all are made from.
type model struct {
	compact  bool
	der      []byte
	marks    []mark // in the order of der
	subject  string // as reports have it, with seedNumber
	validity int64  // seconds
}

// mark is where something is exchanged.
type mark struct {
	what string
	at   int
}

func newModel(ctx context.Context, db *sqlite.DB, ca string, compact bool) (*model, error) {
	installed, err := db.InstalledCertificate(ctx, ca, 1)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode([]byte(installed.Certificate))
	if block == nil {
		return nil, errors.New("the CA's certificate is not PEM")
	}
	issuer, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, err
	}
	notBefore, err := time.Parse("060102150405Z", seedNotBefore)
	if err != nil {
		return nil, err
	}
	notAfter, err := time.Parse("060102150405Z", seedNotAfter)
	if err != nil {
		return nil, err
	}
	host := "host-" + seedNumber + ".seed.example.com"
	m := &model{compact: compact, validity: 90 * 86400, subject: "CN=" + host + ",OU=Sales,O=Example Company,L=Seattle,ST=Washington,C=US"}
	t := &x509.Certificate{
		SerialNumber: new(big.Int).SetBytes([]byte(seedSerial)), NotBefore: notBefore, NotAfter: notAfter,
		Subject:  pkix.Name{CommonName: host, OrganizationalUnit: []string{"Sales"}, Organization: []string{"Example Company"}, Locality: []string{"Seattle"}, Province: []string{"Washington"}, Country: []string{"US"}},
		DNSNames: []string{host},
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	signer, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	var public crypto.PublicKey = signer.Public()
	if compact {
		host = "h" + seedNumber
		m.subject = "CN=" + host
		t = &x509.Certificate{SerialNumber: t.SerialNumber, NotBefore: notBefore, NotAfter: notAfter, Subject: pkix.Name{CommonName: host}}
		if public, _, err = ed25519.GenerateKey(rand.Reader); err != nil {
			return nil, err
		}
	}
	if m.der, err = x509.CreateCertificate(rand.Reader, t, &x509.Certificate{RawSubject: issuer.RawSubject}, public, signer); err != nil {
		return nil, err
	}
	for at := 0; at < len(m.der); {
		step := 1
		for _, what := range []string{seedSerial, seedNotBefore, seedNotAfter, seedNumber} {
			if bytes.HasPrefix(m.der[at:], []byte(what)) {
				m.marks = append(m.marks, mark{what, at})
				step = len(what)
				break
			}
		}
		at += step
	}
	return m, m.check()
}

// check looks at one certificate the way that clients will.
func (m *model) check() error {
	cert, err := x509.ParseCertificate(m.append(nil, 1234, 1_700_000_000))
	if err != nil {
		return fmt.Errorf("the model certificate: %w", err)
	}
	if !bytes.Equal(cert.SerialNumber.Bytes(), m.serial(1234)) || cert.NotBefore.Unix() != 1_700_000_000 || cert.NotAfter.Unix() != 1_700_000_000+m.validity ||
		!strings.HasPrefix(string(m.subjectOf(1234)), "CN="+cert.Subject.CommonName) {
		return errors.New("the model certificate does not hold its marks")
	}
	return nil
}

// serial depends on the index alone, so that a revocation needs no list of
// serials. It grows with the index, as a real one does with time.
func (m *model) serial(index uint64) []byte {
	b := make([]byte, 16)
	binary.BigEndian.PutUint64(b, (1_700_000_000_000+index)<<16)
	if !m.compact {
		h := sha256.Sum256(binary.BigEndian.AppendUint64(nil, index))
		copy(b[6:], h[:10])
	}
	return b
}

func (m *model) subjectOf(index uint64) []byte {
	b := []byte(m.subject)
	appendNumber(b[:bytes.Index(b, []byte(seedNumber))], index)
	return b
}

// appendNumber appends as many digits as seedNumber has.
func appendNumber(b []byte, n uint64) []byte {
	var digits [20]byte
	s := strconv.AppendUint(digits[:0], 1e10+n%1e10, 10)
	return append(b, s[1:]...)
}

// append appends the certificate of an entry.
func (m *model) append(dst []byte, index uint64, notBefore int64) []byte {
	begin := len(dst)
	dst = append(dst, m.der...)
	for _, k := range m.marks {
		to := dst[:begin+k.at]
		switch k.what {
		case seedSerial:
			_ = append(to, m.serial(index)...)
		case seedNumber:
			_ = appendNumber(to, index)
		case seedNotBefore:
			_ = time.Unix(notBefore, 0).UTC().AppendFormat(to, "060102150405Z")
		case seedNotAfter:
			_ = time.Unix(notBefore+m.validity, 0).UTC().AppendFormat(to, "060102150405Z")
		}
	}
	return dst
}
