package inventory

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	cryptorand "crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode"

	"chirograph.dev/internal/certlog"
	"chirograph.dev/internal/store"
	"chirograph.dev/internal/store/sqlite"
)

const (
	testCA  = "11111111-2222-3333-4444-555555555555"
	otherCA = "22222222-2222-3333-4444-555555555555"
)

// now is when the tests search: in the middle of what their certificates live.
var now = time.Date(2026, 5, 17, 10, 30, 0, 0, time.UTC)

// wanted is a certificate as a search must show it, with the names that it is
// found by.
type wanted struct {
	Certificate
	texts []string // in lower case
}

// house is a real store with the logs of a test, and what must be found in them.
type house struct {
	t      *testing.T
	dir    string
	db     *sqlite.DB
	random *rand.Rand
	ders   []der
	all    map[string][]wanted // by CA, in the order of the log
}

type der struct {
	bytes     []byte
	algorithm string
	names     []string
}

func newHouse(t *testing.T) *house {
	t.Helper()
	h := &house{t: t, dir: t.TempDir(), random: rand.New(rand.NewPCG(1, 2)), all: map[string][]wanted{}}
	h.db = h.openStore(h.dir)
	rsaKey, err := rsa.GenerateKey(cryptorand.Reader, 2048)
	h.check(err)
	ec, err := ecdsa.GenerateKey(elliptic.P384(), cryptorand.Reader)
	h.check(err)
	_, signer, err := ed25519.GenerateKey(cryptorand.Reader)
	h.check(err)
	for _, d := range []struct {
		key       crypto.PublicKey
		algorithm string
		names     []string
	}{
		{rsaKey.Public(), "RSA_2048", nil},
		{ec.Public(), "EC_secp384r1", []string{"alt.example.net", "192.0.2.7", "someone@mail.example"}},
		{signer.Public(), "Ed25519", []string{"*.wild.example.org"}},
	} {
		c := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "a model"}}
		for _, n := range d.names {
			switch ip := net.ParseIP(n); {
			case ip != nil:
				c.IPAddresses = append(c.IPAddresses, ip)
			case strings.Contains(n, "@"):
				c.EmailAddresses = append(c.EmailAddresses, n)
			default:
				c.DNSNames = append(c.DNSNames, n)
			}
		}
		b, err := x509.CreateCertificate(cryptorand.Reader, c, c, d.key, signer)
		h.check(err)
		h.ders = append(h.ders, der{b, d.algorithm, d.names})
	}
	return h
}

func (h *house) check(err error) {
	h.t.Helper()
	if err != nil {
		h.t.Fatal(err)
	}
}

func (h *house) openStore(dir string) *sqlite.DB {
	h.t.Helper()
	db, err := sqlite.Open(h.t.Context(), sqlite.Config{Path: filepath.Join(dir, "chirograph.db"), Log: slog.New(slog.DiscardHandler)})
	h.check(err)
	h.t.Cleanup(func() { _ = db.Close() })
	return db
}

// open opens an index of the store.
func (h *house) open() *Index {
	h.t.Helper()
	x, err := Open(h.t.Context(), Config{Path: filepath.Join(h.dir, "inventory.db"), Logs: h.db, Certificates: h.db, Log: slog.New(slog.DiscardHandler), Now: func() time.Time { return now }})
	h.check(err)
	h.t.Cleanup(func() { _ = x.Close() })
	x.patience = time.Hour
	return x
}

// subjects are what people and attackers write.
var subjects = []string{
	"CN=www.example.com,O=Acme\\, Inc.,C=US", "CN=host-%d.seed.example.com,OU=Sales,O=Acme Sales", "CN=API-%d.Example.ORG",
	`CN=<script>alert("x")</script>,O=NEAR("a" "b"\, 3)`, "CN=AND OR NOT * ( ) ' -- ; DROP TABLE rows", "CN=Müller %d\\+Söhne,L=ZÜRICH", "CN=nul\x00byte", "CN=not UTF-8 \xff\xfe %d", "",
}

// entry makes the next entry of a log: a certificate now and then revoked.
func (h *house) entry(ca string, index uint64) certlog.Record {
	at := now.Add(-100*24*time.Hour + time.Duration(index)*7*time.Minute)
	all := h.all[ca]
	if h.random.IntN(8) == 0 && len(all) > 0 {
		w := &all[h.random.IntN(len(all))]
		if w.Status != Revoked {
			w.Status, w.RevokedAt, w.Reason = Revoked, at, uint8(h.random.IntN(6))
			return h.record(&certlog.Entry{Type: certlog.TypeRevoke, Time: at.UnixMilli(), Serial: w.Serial, IssueIndex: w.Index, Reason: w.Reason},
				&store.Revocation{CA: ca, IssueIndex: w.Index, Time: at.UnixMilli(), Reason: w.Reason, Serial: w.Serial})
		}
	}
	subject := subjects[h.random.IntN(len(subjects))]
	if strings.Contains(subject, "%d") {
		subject = fmt.Sprintf(subject, h.random.IntN(500))
	}
	return h.issue(ca, index, at, subject)
}

func (h *house) record(e *certlog.Entry, rows ...certlog.Row) certlog.Record {
	h.t.Helper()
	b, err := e.Append(nil)
	h.check(err)
	return certlog.Record{Entry: b, Rows: rows}
}

func (h *house) issue(ca string, index uint64, at time.Time, subject string) certlog.Record {
	d := h.ders[h.random.IntN(len(h.ders))]
	sum := sha256.Sum256([]byte(fmt.Sprint(ca, index)))
	serial := sum[:1+h.random.IntN(20)]
	if len(serial) < 4 {
		serial = sum[:16]
	}
	serial[0] |= 1
	w := wanted{Certificate: Certificate{
		Serial: serial, Subject: subject, TemplateARN: fmt.Sprintf("arn:aws:acm-pca:::template/T%d/V1", h.random.IntN(3)), Account: "123456789012", Principal: fmt.Sprintf("arn:aws:iam::123456789012:user/u%d", h.random.IntN(40)),
		KeyAlgorithm: d.algorithm, NotBefore: at.Add(-time.Hour).Truncate(time.Second), NotAfter: at.Add(time.Duration(1+h.random.IntN(200)) * 24 * time.Hour).Truncate(time.Second), IssuedAt: at, Status: Valid, Index: index,
	}}
	for _, text := range append([]string{subject}, d.names...) {
		w.texts = append(w.texts, strings.ToLower(strings.ReplaceAll(string([]rune(text)), `\`, "")))
	}
	h.all[ca] = append(h.all[ca], w)
	e := &certlog.Entry{Type: certlog.TypeIssue, Time: at.UnixMilli(), Serial: serial, NotBefore: w.NotBefore.Unix(), NotAfter: w.NotAfter.Unix(),
		Account: []byte(w.Account), Principal: []byte(w.Principal), TemplateARN: []byte(w.TemplateARN), Subject: []byte(subject)}
	return h.record(e, &store.Certificate{CA: ca, Serial: serial, NotAfter: w.NotAfter, DER: d.bytes})
}

// grow appends n entries to a log; whole blocks are packed.
func (h *house) grow(ca string, n uint64) {
	h.t.Helper()
	head, err := h.db.LogHead(h.t.Context(), ca)
	h.check(err)
	for n > 0 {
		var records []certlog.Record
		for room := certlog.BlockSize - head.Size%certlog.BlockSize; n > 0 && room > 0; n, room = n-1, room-1 {
			index := head.Size + uint64(len(records))
			if index == 0 {
				records = append(records, h.record(&certlog.Entry{Type: certlog.TypeGenesis, Label: []byte("test/" + ca), Extra: []byte("key")}))
				continue
			}
			records = append(records, h.entry(ca, index))
		}
		head, err = h.db.SeedBlock(h.t.Context(), ca, records)
		h.check(err)
	}
}

// size is the number of entries of a log.
func (h *house) size(ca string) uint64 {
	h.t.Helper()
	head, err := h.db.LogHead(h.t.Context(), ca)
	h.check(err)
	return head.Size
}

// matches says what a Query means, with other means than the index.
func (w *wanted) matches(q *Query) bool {
	status := w.status()
	inside := func(t, from, to time.Time) bool {
		return (from.IsZero() || !t.Before(from)) && (to.IsZero() || t.Before(to))
	}
	digits := strings.ToLower(strings.ReplaceAll(q.Serial, ":", ""))
	if q.Status != "" && q.Status != status || q.TemplateARN != "" && q.TemplateARN != w.TemplateARN ||
		!strings.HasPrefix(hex.EncodeToString(w.Serial), digits) || !inside(w.IssuedAt, q.IssuedFrom, q.IssuedTo) || !inside(w.NotAfter, q.ExpiresFrom, q.ExpiresTo) {
		return false
	}
	for _, term := range strings.Fields(q.Subject) {
		if term = strings.ToLower(strings.ReplaceAll(term, `\`, "")); term != "" && !anyHolds(w.texts, term) {
			return false
		}
	}
	return true
}

func anyHolds(texts []string, term string) bool {
	word := func(r rune) bool { return r > unicode.MaxASCII || unicode.IsLetter(r) || unicode.IsDigit(r) }
	first := []rune(term)[0]
	for _, text := range texts {
		before := ' '
		for i, r := range text {
			if strings.HasPrefix(text[i:], term) && !(word(first) && word(before)) {
				return true
			}
			before = r
		}
	}
	return false
}

func (w *wanted) status() Status {
	if w.Status == Valid && now.After(w.NotAfter) {
		return Expired
	}
	return w.Status
}

// expect gives what a Query must find.
func (h *house) expect(q *Query) (list []Certificate) {
	all := h.all[q.CA]
	for i := len(all) - 1; i >= 0; i-- {
		if all[i].matches(q) {
			c := all[i].Certificate
			c.Status = all[i].status()
			list = append(list, c)
		}
	}
	return list
}

// pages follows a search to its end, or for some pages.
func (h *house) pages(x *Index, q Query) (list []Certificate, all bool) {
	h.t.Helper()
	for range 12 {
		p, err := x.Search(h.t.Context(), q)
		h.check(err)
		if p.Behind != 0 || len(p.Certificates) > max(q.Limit, 1) && q.Limit > 0 {
			h.t.Fatalf("%+v: %d certificates, %d behind", q, len(p.Certificates), p.Behind)
		}
		list = append(list, p.Certificates...)
		if q.Cursor = p.Cursor; p.Cursor == "" {
			return list, true
		}
	}
	return list, false
}

// query makes a random Query that finds something more often than not.
func (h *house) query(ca string) Query {
	q := Query{CA: ca, Limit: []int{1, 7, 50, 1000}[h.random.IntN(4)]}
	w := h.all[ca][h.random.IntN(len(h.all[ca]))]
	coin := func(n int) bool { return h.random.IntN(n) == 0 }
	if coin(2) {
		q.Subject = []string{
			"example.com", "CN=www", "acme sales", "acme, inc.", "host-1", "SEED", "xample", `"x"`, "<script>", "near(", "and or not", "*", "( ' --", "müller", "zür", "nul", "byte\x00", "\x00", "\xff", "alt.example.net", "192.0.2", "*.wild", "mail.example acme", "no such words",
			fmt.Sprintf("host-%d.seed", h.random.IntN(500)), fmt.Sprintf("api-%d", h.random.IntN(500)), w.Subject[:min(len(w.Subject), 9)],
		}[h.random.IntN(27)]
	}
	if coin(6) {
		q.Serial = hex.EncodeToString(w.Serial)[:1+h.random.IntN(2*len(w.Serial))]
		if coin(2) {
			q.Serial = strings.ToUpper(q.Serial)
		}
	}
	if coin(3) {
		q.Status = []Status{Valid, Revoked, Expired}[h.random.IntN(3)]
	}
	if coin(4) {
		q.TemplateARN = w.TemplateARN
	}
	around := func(t time.Time, from, to *time.Time) {
		if coin(2) {
			*from = t.Add(-time.Duration(h.random.IntN(int(20 * 24 * time.Hour))))
		}
		if coin(2) {
			*to = t.Add(time.Duration(h.random.IntN(int(20 * 24 * time.Hour))))
		}
	}
	if coin(4) {
		around(w.IssuedAt, &q.IssuedFrom, &q.IssuedTo)
	}
	if coin(4) {
		around(w.NotAfter, &q.ExpiresFrom, &q.ExpiresTo)
	}
	return q
}

func (h *house) compare(x *Index, queries int, cas ...string) {
	h.t.Helper()
	found := 0
	for i := range queries {
		q := h.query(cas[i%len(cas)])
		got, all := h.pages(x, q)
		want := h.expect(&q)
		if !all {
			want = want[:min(len(got), len(want))]
		}
		if len(got)+len(want) > 0 && !reflect.DeepEqual(got, want) {
			h.t.Fatalf("%+v: %d certificates, want %d\n%+v\n%+v", q, len(got), len(want), first(got), first(want))
		}
		found += len(got)
	}
	if found < queries {
		h.t.Errorf("%d queries found %d certificates: they test nothing", queries, found)
	}
	for _, ca := range cas {
		h.compareStatistics(x, ca)
	}
}

func first(list []Certificate) []Certificate { return list[:min(1, len(list))] }

// compareStatistics counts what the counters say.
func (h *house) compareStatistics(x *Index, ca string) {
	h.t.Helper()
	want := &Statistics{}
	templates, algorithms, expiring := map[string]uint64{}, map[string]uint64{}, map[string]uint64{}
	issued, revoked := map[string]uint64{}, map[string]uint64{}
	for _, w := range h.all[ca] {
		want.Issued++
		templates[w.TemplateARN]++
		algorithms[w.KeyAlgorithm]++
		issued[w.IssuedAt.Format(time.DateOnly)]++
		switch {
		case w.Status == Revoked:
			want.Revoked++
			revoked[w.RevokedAt.Format(time.DateOnly)]++
		case w.NotAfter.Before(now.Truncate(time.Hour)):
			want.Expired++
		default:
			want.Valid++
			expiring[w.NotAfter.Format(time.DateOnly)]++
		}
	}
	got, err := x.Statistics(h.t.Context(), ca)
	h.check(err)
	if len(got.PerDay) != 90 || len(got.Expiring) != 91 || got.PerDay[89].Date != "2026-05-17" || got.Expiring[0].Date != "2026-05-17" || got.Expiring[90].Date != "2026-08-15" {
		h.t.Fatalf("days: %+v %+v", got.PerDay, got.Expiring)
	}
	for _, d := range got.PerDay {
		if d.Issued != issued[d.Date] || d.Revoked != revoked[d.Date] {
			h.t.Errorf("%+v, want %d and %d", d, issued[d.Date], revoked[d.Date])
		}
	}
	for _, d := range got.Expiring {
		if d.Count != expiring[d.Date] {
			h.t.Errorf("%+v expire, want %d", d, expiring[d.Date])
		}
	}
	for _, names := range []struct {
		got  []NameCount
		want map[string]uint64
	}{{got.Templates, templates}, {got.KeyAlgorithms, algorithms}} {
		for i, n := range names.got {
			if n.Count != names.want[n.Name] || i > 0 && n.Count > names.got[i-1].Count {
				h.t.Errorf("%+v, want %d", n, names.want[n.Name])
			}
		}
		if len(names.got) != len(names.want) {
			h.t.Errorf("%+v, want %+v", names.got, names.want)
		}
	}
	if got.Issued != want.Issued || got.Revoked != want.Revoked || got.Valid != want.Valid || got.Expired != want.Expired || got.Behind != 0 {
		h.t.Errorf("%+v, want %+v", got, want)
	}
	n, err := x.Counts(h.t.Context(), ca)
	if want := (Counts{want.Issued, want.Revoked, 0}); err != nil || n != want {
		h.t.Errorf("%+v (%v), want %+v", n, err, want)
	}
}

// TestRandomSearches compares the index with a scan of what was issued: blocks that have a
// dictionary and the one that has none yet, after growing in steps of all sizes.
func TestRandomSearches(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.grow(testCA, certlog.BlockSize+700) // more than a search does by itself
	h.grow(otherCA, 5)
	x := h.open()
	p, err := x.Search(t.Context(), Query{CA: testCA})
	if err != nil || len(p.Certificates) != 0 || p.Cursor != "" || p.Behind != h.size(testCA) {
		t.Fatalf("%+v, %v", p, err)
	}
	h.check(x.follow(t.Context()))
	h.compare(x, 80, testCA, otherCA)
	// What was issued just now is found, without the follower.
	for _, n := range []uint64{1, 3, 300, 1, 1500} {
		h.grow(testCA, n)
		h.grow(otherCA, 1)
		h.compare(x, 6, testCA, otherCA)
	}
	h.grow(testCA, certlog.BlockSize-2505) // to the end of a block
	h.check(x.follow(t.Context()))
	h.compare(x, 20, testCA)
	if got := h.size(testCA); got%certlog.BlockSize != 0 {
		t.Errorf("the log has %d entries, which does not end a block", got)
	}
	h.check(x.Close())
	x = h.open()
	x.patience = 0 // each search looks at as little as it may, and the next goes on
	for _, q := range []Query{{CA: testCA, Subject: "host-7 seed"}, {CA: testCA, Status: Revoked, Subject: "zürich"}, {CA: testCA, Serial: "a"}, {CA: testCA, Subject: "no such"}} {
		var got []Certificate
		for {
			p, err := x.Search(t.Context(), q)
			h.check(err)
			got = append(got, p.Certificates...)
			if q.Cursor = p.Cursor; q.Cursor == "" {
				break
			}
		}
		if want := h.expect(&q); len(got)+len(want) > 0 && !reflect.DeepEqual(got, want) {
			t.Errorf("%+v without time: %d certificates, want %d", q, len(got), len(want))
		}
	}
}

// TestPages has certificates come in between the pages: none is shown twice or missed.
func TestPages(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.grow(testCA, 400)
	x := h.open()
	for _, q := range []Query{{CA: testCA, Limit: 7}, {CA: testCA, Limit: 3, Subject: "example.com"}} {
		want := h.expect(&q)
		var got []Certificate
		for {
			p, err := x.Search(t.Context(), q)
			h.check(err)
			got = append(got, p.Certificates...)
			if q.Cursor = p.Cursor; q.Cursor == "" {
				break
			}
			h.grow(testCA, uint64(h.random.IntN(4)))
		}
		if len(got) != len(want) {
			t.Fatalf("%d certificates, want %d", len(got), len(want))
		}
		for i := range got { // those of the first pages were revoked meanwhile, perhaps
			if got[i].Index != want[i].Index {
				t.Fatalf("certificate %d is entry %d, want %d", i, got[i].Index, want[i].Index)
			}
		}
	}
}

// TestRefused has queries and cursors that cannot be answered.
func TestRefused(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.grow(testCA, 100)
	x := h.open()
	for _, q := range []Query{
		{Status: "GONE"}, {Serial: "xyz"}, {Serial: strings.Repeat("ab", 21)}, {Subject: strings.Repeat("x", 2000)}, {Subject: strings.Repeat("x ", 100)}, {Limit: -1},
	} {
		q.CA = testCA
		if _, err := x.Search(t.Context(), q); !errors.Is(err, ErrQuery) {
			t.Errorf("%+v: %v", q, err)
		}
	}
	q := Query{CA: testCA, Limit: 2}
	p, err := x.Search(t.Context(), q)
	h.check(err)
	for _, cursor := range []string{"x", p.Cursor[1:], p.Cursor + "A", p.Cursor[:4], strings.Repeat("A", len(p.Cursor)), "\x00"} {
		if _, err := x.Search(t.Context(), Query{CA: testCA, Cursor: cursor}); !errors.Is(err, ErrCursor) {
			t.Errorf("cursor %q: %v", cursor, err)
		}
	}
	for _, other := range []Query{{CA: otherCA}, {CA: testCA, Subject: "a"}, {CA: testCA, Status: Valid}, {CA: testCA, IssuedFrom: now}, {CA: testCA, ExpiresTo: now}} {
		if other.Cursor = p.Cursor; !errors.Is(func() error { _, err := x.Search(t.Context(), other); return err }(), ErrCursor) {
			t.Errorf("the cursor of another search was taken by %+v", other)
		}
	}
	if p, err := x.Search(t.Context(), Query{CA: "no such"}); err != nil || len(p.Certificates) != 0 || p.Cursor != "" || p.Behind != 0 {
		t.Errorf("%+v, %v", p, err)
	}
	// Serials as people write them.
	w := h.all[testCA][40]
	text := hex.EncodeToString(w.Serial)
	for _, s := range []string{text, strings.ToUpper(text), "00" + text, " 00:" + text + " ", text[:2] + ":" + text[2:7]} {
		if p, err := x.Search(t.Context(), Query{CA: testCA, Serial: s}); err != nil || len(p.Certificates) != 1 || p.Certificates[0].Index != w.Index {
			t.Errorf("serial %q: %+v, %v", s, p, err)
		}
	}
}

// TestLargeSubjects has the largest entries that there can be.
func TestLargeSubjects(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.grow(testCA, 10)
	var words strings.Builder
	for i := range 7000 {
		fmt.Fprintf(&words, "word%d ", i)
	}
	var records []certlog.Record
	for i, s := range []string{words.String(), strings.Repeat("x", 60_000), strings.Repeat("\xff", 60_000), strings.Repeat("é ", 20_000)} {
		records = append(records, h.issue(testCA, 10+uint64(i), now, s))
	}
	_, err := h.db.SeedBlock(t.Context(), testCA, records)
	h.check(err)
	h.grow(testCA, certlog.BlockSize-14)
	x := h.open()
	h.check(x.follow(t.Context()))
	for subject, want := range map[string]int{"word6999": 1, "word699": 1, strings.Repeat("x", 100): 1, strings.Repeat("x", 20): 1, "é word1": 0, "word1 word2": 1} {
		q := Query{CA: testCA, Subject: subject}
		if got, _ := h.pages(x, q); len(got) != want || !reflect.DeepEqual(got, h.expect(&q)) {
			t.Errorf("%q: %d certificates", subject, len(got))
		}
	}
	h.compare(x, 20, testCA)
}

// TestDamage deletes the index, damages it, and puts another program's in its place.
func TestDamage(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.grow(testCA, 1500)
	x := h.open()
	h.check(x.follow(t.Context()))
	path := filepath.Join(h.dir, "inventory.db")
	for name, damage := range map[string]func(b []byte) []byte{
		"cut":      func(b []byte) []byte { return b[:len(b)/2] },
		"empty":    func([]byte) []byte { return nil },
		"not ours": func([]byte) []byte { return bytes.Repeat([]byte("nothing "), 4000) },
		"zeros":    func(b []byte) []byte { clear(b[8192:]); return b },
		"scribbled": func(b []byte) []byte {
			for i := 8192; i < len(b); i += 97 {
				b[i] ^= 0x55
			}
			return b
		},
		"older format": func(b []byte) []byte { b[71]--; return b },
	} {
		h.check(x.Close())
		b, err := os.ReadFile(path)
		h.check(err)
		h.check(os.WriteFile(path, damage(b), 0o600))
		x = h.open()
		// A search that meets the damage is answered, and has the index made anew.
		_, err = x.Search(t.Context(), Query{CA: testCA})
		h.check(err)
		h.check(x.follow(t.Context()))
		h.compare(x, 10, testCA)
		if t.Failed() {
			t.Fatalf("after damage: %s", name)
		}
	}
	// While it is open, too.
	h.check(x.file.write(t.Context(), func(c *conn) error { return c.exec(t.Context(), "UPDATE rows SET bytes = x'00'") }))
	_, err := x.Search(t.Context(), Query{CA: testCA})
	h.check(err)
	h.check(x.follow(t.Context()))
	h.compare(x, 10, testCA)
}

// TestOtherLog puts an older store, and one with another history, under an index.
func TestOtherLog(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.grow(testCA, 1000)
	h.grow(otherCA, 500)
	x := h.open()
	h.check(x.follow(t.Context()))
	h.check(x.Close())
	for _, entries := range []uint64{600, 1000, 1400} { // fewer, as many, more
		other := newHouse(t)
		other.random = rand.New(rand.NewPCG(3, entries))
		other.grow(testCA, entries)
		h.check(h.db.Close())
		h.db, h.all = other.db, other.all
		x = h.open()
		h.check(x.follow(t.Context()))
		h.compare(x, 10, testCA)
		var rows, logs int
		h.check(x.file.read(t.Context(), func(c *conn) error {
			return errors.Join(c.row(t.Context(), "SELECT count(*) FROM rows").Scan(&rows), c.row(t.Context(), "SELECT count(*) FROM log").Scan(&logs))
		}))
		if logs != 1 || rows != int(entries+groupSize-1)/groupSize {
			t.Errorf("%d logs with %d groups are left", logs, rows)
		}
		h.check(x.Close())
	}
}

// TestRun follows a log that grows, is stopped in the middle, and goes on.
func TestRun(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.grow(testCA, 2*certlog.BlockSize+3000)
	for {
		x := h.open()
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- x.Run(ctx) }()
		before, err := x.Counts(t.Context(), testCA)
		h.check(err)
		n := before
		for n.Behind == before.Behind && n.Behind > 0 {
			n, err = x.Counts(t.Context(), testCA)
			h.check(err)
		}
		cancel()
		h.check(<-done)
		h.check(x.Close())
		if n.Behind == 0 {
			break
		}
	}
	h.compare(h.open(), 5, testCA)
}

func FuzzQuery(f *testing.F) {
	for _, s := range subjects {
		f.Add(s, "00:Ab", "VALID", "arn", "AQAAAAAAAAAAAAAAAAAAAAA", int64(0), int64(1))
	}
	f.Fuzz(func(t *testing.T, subject, serial, status, template, cursor string, from, to int64) {
		q := &Query{CA: testCA, Subject: subject, Serial: serial, Status: Status(status), TemplateARN: template, IssuedFrom: time.Unix(from, 0), ExpiresTo: time.Unix(to, 1), Cursor: cursor}
		p, err := parseQuery(q, now)
		if err != nil {
			if !errors.Is(err, ErrQuery) && !errors.Is(err, ErrCursor) {
				t.Fatal(err)
			}
			return
		}
		// A row whose subject is what is searched is found, and by the dictionary, too.
		r := &row{index: 77, subject: []byte(subject), template: []byte(template), issued: p.issued[0], notAfter: p.expires[1] - 1}
		if p.serial.lo != nil {
			r.serial = p.serial.lo
		}
		text := []byte(nil)
		if p.expires[0] <= r.notAfter && r.issued < p.issued[1] && !p.matches(r, p.status == Revoked, &text) {
			t.Fatalf("%+v does not match itself", q)
		}
		d := dictionary{postings: map[string]*posting{}}
		d.addRow(r)
		directory, pages := d.encode()
		for _, in := range p.spans {
			var of set
			if err := union(&of, in, directory, func(n int) ([]byte, error) { return pages[n], nil }); err != nil {
				t.Fatal(err)
			}
			if i, ok := of.highest(); !ok || i != 77 {
				t.Fatalf("%+v: the dictionary lacks %q", q, in.lo)
			}
		}
	})
}
