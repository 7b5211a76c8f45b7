package auditreport

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"

	"chirograph.dev/internal/bucket"
	"chirograph.dev/internal/certlog"
	"chirograph.dev/internal/certlog/rendering/renderingtest"
	"chirograph.dev/internal/pca"
	"chirograph.dev/internal/store"
)

var update = flag.Bool("update", false, "write the golden files anew")

// render makes the parts of a report from where a former part ended.
func (h *house) render(l layout, format pca.AuditReportResponseFormat, workers int, after []part) (parts []part, rows, revoked uint64) {
	h.t.Helper()
	var b buffers
	a := &assembler{
		layout: l, format: format, buffers: &b, next: part{number: 1},
		emit: func(p part) error { parts = append(parts, p); return nil },
	}
	var from uint64
	for _, p := range after {
		a.next.number, a.next.lo, a.next.hi = p.number+1, p.hi, p.hi
		if l.uniform > 0 {
			a.skip += int64(len(p.buf))
			continue
		}
		a.rows, a.revoked, from, a.begun = a.rows+p.rows, a.revoked+p.revoked, p.hi, true
	}
	r := &renderer{entries: h.db, ca: testCA, caARN: []byte(caARN(testCA)), format: format, layout: l, workers: workers, buffers: &b}
	if err := r.run(context.Background(), from, a.add); err != nil {
		h.t.Fatal(err)
	}
	if err := a.finish(); err != nil {
		h.t.Fatal(err)
	}
	return parts, a.rows, a.revoked
}

func join(parts []part) []byte {
	var b []byte
	for _, p := range parts {
		b = append(b, p.buf...)
	}
	return b
}

// checkParts checks what every list of parts must keep to.
func checkParts(t *testing.T, parts []part, l layout) {
	t.Helper()
	var lo uint64
	for i, p := range parts {
		last := i == len(parts)-1
		switch {
		case p.number != int32(i+1), p.lo != lo, p.hi < p.lo, p.hi == l.size && !last, len(p.buf) == 0:
			t.Fatalf("part %d of %d: number %d, entries %d to %d of %d after %d, %d bytes", i, len(parts), p.number, p.lo, p.hi, l.size, lo, len(p.buf))
		case !last && len(p.buf) < l.min:
			t.Fatalf("part %d of %d has %d bytes", p.number, len(parts), len(p.buf))
		case l.uniform > 0 && !last && len(p.buf) != l.uniform:
			t.Fatalf("part %d of %d has %d bytes, want %d", p.number, len(parts), len(p.buf), l.uniform)
		}
		lo = p.hi
	}
}

// TestRender: rendering in parts, rendering on from any part, and a replay of
// the log by the simplest program give the same bytes, for random logs.
func TestRender(t *testing.T) {
	t.Parallel()
	subjects := func(rnd *rand.Rand, long int) func() string {
		return func() string {
			s := fmt.Sprintf("CN=host-%d.example,O=%s", rnd.IntN(1e9), renderingtest.Awkward[rnd.IntN(len(renderingtest.Awkward))])
			if long > 0 {
				s += strings.Repeat("x", rnd.IntN(long))
			}
			return strings.ToValidUTF8(s, "")
		}
	}
	for _, tt := range []struct {
		name    string
		size    int
		revoked float64
		long    int // random extra length of subjects
		small   int // bytes of a chunk, for parts that end inside of blocks; 0 as in the product
	}{
		{"one entry", 1, 0, 0, 0},
		{"some", 700, 0.3, 0, 0},
		{"almost all revoked", 900, 0.5, 0, 0},
		{"one block and one", certlog.BlockSize + 1, 0.1, 0, 0},
		{"several blocks", 2*certlog.BlockSize + 4711, 0.05, 100, 0},
		{"blocks too short for a part", 2*certlog.BlockSize + 100, 0.5, 0, 0},
		{"parts inside of blocks", 2000, 0.1, 0, 20 << 10},
		{"giant rows", 1000, 0.05, 3000, 12 << 10},
		{"a part for every row", 60, 0.1, 0, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			rnd := rand.New(rand.NewPCG(uint64(tt.size), 1))
			h := emptyHouse(t)
			h.seed(tt.size, rnd, tt.revoked, subjects(rnd, tt.long))
			sizes := []uint64{uint64(tt.size)}
			if tt.size > 1 && tt.size < 2*certlog.BlockSize {
				sizes = append(sizes, 1+uint64(rnd.IntN(tt.size)))
			}
			for _, size := range sizes {
				for _, format := range bothFormats {
					want := h.replay(size, format)
					for _, uniform := range []bool{false, true} {
						if uniform && format == pca.AuditReportResponseFormat_CSV && size > certlog.BlockSize {
							continue // long, and nothing new
						}
						l := newLayout(size, uniform)
						if tt.small > 0 {
							l.chunk, l.min = tt.small, tt.small
							if uniform {
								l.uniform = 3*tt.small + 3001
							}
						}
						parts, rows, revoked := h.render(l, format, 2, nil)
						checkParts(t, parts, l)
						same(t, fmt.Sprintf("%s, %d entries, uniform=%v", format, size, uniform), join(parts), want)
						for at := 1; at < len(parts); at += 1 + len(parts)/4 {
							rest, r, v := h.render(l, format, 1, parts[:at])
							if r != rows || v != revoked {
								t.Errorf("after part %d: %d rows, %d revoked; want %d, %d", at, r, v, rows, revoked)
							}
							if !slices.EqualFunc(rest, parts[at:], func(a, b part) bool {
								return a.number == b.number && a.lo == b.lo && a.hi == b.hi && a.rows == b.rows && a.revoked == b.revoked && bytes.Equal(a.buf, b.buf)
							}) {
								t.Errorf("uniform=%v: rendering on after part %d gives other parts", uniform, at)
							}
						}
					}
				}
			}
		})
	}
}

func TestLayout(t *testing.T) {
	t.Parallel()
	for _, size := range []uint64{1, certlog.BlockSize, 1e6, 1e7, 1e8, 1e9} {
		l := newLayout(size, false)
		blocks := (size + certlog.BlockSize - 1) / certlog.BlockSize
		if parts := (blocks + l.blocks - 1) / l.blocks; parts > targetParts {
			t.Errorf("%d entries make %d parts", size, parts)
		}
		if l.partSize() > 5<<30 {
			t.Errorf("%d entries make parts of %d bytes", size, l.partSize())
		}
	}
	// Many long rows still fit.
	var all int
	for n := int32(1); n <= bucket.MaxParts; n++ {
		all += newLayout(1e8, false).limit(n)
	}
	if all < 1<<39 {
		t.Errorf("the parts hold %d bytes", all)
	}
}

// goldenLog is a log of the worked examples of audit-report.md 14, with the
// other kinds of entries between them.
func goldenLog(t testing.TB) (*house, uint64) {
	h := emptyHouse(t)
	var head certlog.Head
	add := func(e certlog.Entry, rows ...certlog.Row) (index uint64) {
		b, err := e.Append(nil)
		if err == nil { // the examples are not in the order of their times, which a log asks for
			head, err = h.db.SeedBlock(t.Context(), testCA, []certlog.Record{{Entry: b, Rows: rows}})
		}
		if err != nil {
			t.Fatal(err)
		}
		return head.Size - 1
	}
	add(h.genesis())
	add(certlog.Entry{Type: certlog.TypeSign, Time: 2, Label: []byte("csr")})
	for _, v := range renderingtest.Vectors(t) {
		row := v.Row(t)
		e := certlog.Entry{
			Type: certlog.TypeIssue, Time: row.IssuedAt*1000 + 999, Serial: row.Serial, NotBefore: row.NotBefore, NotAfter: row.NotAfter,
			Account: row.Account, Principal: row.Principal, TemplateARN: row.Template, Subject: row.Subject,
		}
		index := add(e, &store.Certificate{CA: testCA, Serial: row.Serial, DER: row.Serial})
		if row.Revoked {
			add(certlog.Entry{Type: certlog.TypeRevoke, Time: row.RevokedAt*1000 + 999, Serial: row.Serial, IssueIndex: index, Reason: row.Reason},
				&store.Revocation{CA: testCA, IssueIndex: index, Time: row.RevokedAt*1000 + 999, Reason: row.Reason, Serial: row.Serial})
		}
	}
	return h, head.Size
}

// TestGolden pins the rendering: a change of these files changes the format of
// reports that exist.
func TestGolden(t *testing.T) {
	t.Parallel()
	h, size := goldenLog(t)
	for _, format := range bothFormats {
		parts, rows, revoked := h.render(newLayout(size, false), format, 2, nil)
		if rows != 14 || revoked != 3 || len(parts) != 1 {
			t.Errorf("%d rows, %d revoked, %d parts", rows, revoked, len(parts))
		}
		got := join(parts)
		file := "testdata/report." + strings.ToLower(string(format))
		if *update {
			if err := os.WriteFile(file, got, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		same(t, file, got, want)
		for i, v := range renderingtest.Vectors(t) {
			if format == pca.AuditReportResponseFormat_CSV && !strings.Contains(string(got), "\n"+strings.ReplaceAll(v.WantCSVRecord, renderingtest.CA, caARN(testCA))+"\n") {
				t.Errorf("%s is not row %d", v.Name, i)
			}
		}
	}
}

// damaged is a store whose log does not read as it was written.
type damaged struct {
	Entries
	drop   uint64
	change bool
	lost   bool
	extra  *store.Revocation
}

func (d damaged) AppendLogBundle(ctx context.Context, dst []byte, ca string, lo, hi uint64) ([]byte, error) {
	b, err := d.Entries.AppendLogBundle(ctx, nil, ca, lo, hi)
	for index := lo; index < hi && err == nil; index++ {
		entry, rest, _ := certlog.CutBundled(b)
		b = rest
		switch {
		case index != d.drop:
			dst = certlog.AppendBundled(dst, entry)
		case d.lost:
			err = store.ErrNotFound
		case d.change:
			dst = certlog.AppendBundled(dst, entry[:len(entry)-1])
		}
	}
	return dst, err
}

func (d damaged) Revocations(ctx context.Context, ca string, lo, hi, before uint64, yield func(store.Revocation) error) error {
	if d.extra != nil {
		return yield(*d.extra)
	}
	return d.Entries.Revocations(ctx, ca, lo, hi, before, yield)
}

func TestDamagedLog(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	for i := range 10 {
		h.issue(fmt.Sprintf("CN=%d", i))
	}
	for _, tt := range []struct {
		name string
		log  damaged
	}{
		{"an entry is missing", damaged{drop: 5}},
		{"an entry is not in the store", damaged{drop: 5, lost: true}},
		{"the last entry is missing", damaged{drop: 10}},
		{"an entry is cut", damaged{drop: 5, change: true}},
		{"a revocation of nothing", damaged{drop: 99, extra: &store.Revocation{IssueIndex: 0, RevokeIndex: 7}}},
		{"an unknown reason", damaged{drop: 99, extra: &store.Revocation{IssueIndex: 3, RevokeIndex: 7, Reason: 6}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			tt.log.Entries = h.db
			r := &renderer{entries: tt.log, ca: testCA, caARN: []byte(caARN(testCA)), layout: newLayout(11, false), workers: 2, buffers: &buffers{}}
			if err := r.run(t.Context(), 0, func(chunk) error { return nil }); !errors.Is(err, errLog) {
				t.Errorf("%v, want errLog", err)
			}
		})
	}
}

// TestRenderLong: memory does not grow with the log, and rendering ends when it should.
func TestRenderLong(t *testing.T) {
	t.Parallel()
	h := emptyHouse(t)
	rnd := rand.New(rand.NewPCG(1, 1))
	h.seed(3*certlog.BlockSize, rnd, 0, func() string { return "CN=x" })
	r := &renderer{entries: h.db, ca: testCA, caARN: []byte(caARN(testCA)), layout: newLayout(3*certlog.BlockSize, false), workers: 2, buffers: &buffers{}}
	// There are about as many buffers as are in use at a time, however many chunks
	// there were. (About: the end of a block asks for shorter ones.)
	const inUse = 2
	var held [inUse][]byte
	chunks := 0
	r.layout.chunk = 1 << 16
	err := r.run(t.Context(), 0, func(c chunk) error {
		r.buffers.put(held[chunks%inUse])
		held[chunks%inUse] = c.buf
		chunks++
		return nil
	})
	if made := len(r.buffers.free) + inUse; err != nil || chunks < 100 || made > 4*(r.workers+inUse) {
		t.Errorf("%d buffers for %d chunks: %v", made, chunks, err)
	}
	stop := errors.New("stop")
	if err := r.run(t.Context(), 0, func(chunk) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("%v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	if err := r.run(ctx, 0, func(chunk) error { cancel(); return nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}
