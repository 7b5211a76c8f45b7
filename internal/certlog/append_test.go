package certlog

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/tlog"
)

func newLog(m *memory) *Log { return New(Config{Store: m}) }

func rec(i int, keys ...string) Record {
	r := Record{Entry: testEntry(uint64(i))}
	for _, k := range keys {
		r.Rows = append(r.Rows, unique{k})
	}
	return r
}

// verify compares a log's head with the library's root over its entries.
func verify(t *testing.T, l *Log, m *memory, ca string) Head {
	t.Helper()
	h, err := l.Head(t.Context(), ca)
	if err != nil {
		t.Fatal(err)
	}
	var lib libraryTree
	err = m.LogEntries(t.Context(), ca, 0, h.Size, func(i uint64, e []byte) error {
		hashes, err := tlog.StoredHashes(int64(i), e, lib)
		lib = append(lib, hashes...)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	want, err := tlog.TreeHash(int64(h.Size), lib)
	if err != nil || want != h.Root {
		t.Fatalf("head of %d entries has root %v, want %v (%v)", h.Size, h.Root, want, err)
	}
	return h
}

func TestAppendConcurrently(t *testing.T) {
	t.Parallel()
	m := newMemory()
	l := New(Config{Store: m, Batch: 50})
	const callers, each = 64, 100
	var seen sync.Map
	var wg sync.WaitGroup
	for c := range callers {
		wg.Go(func() {
			for i := range each {
				ca := fmt.Sprint("ca", (c+i)%3)
				// Every tenth record contradicts one that is stored, or one
				// that is in the same batch.
				r, bad := rec(i, fmt.Sprint(c, "/", i)), false
				if i%10 == 9 {
					r, bad = rec(i, fmt.Sprint(c, "/", i-1)), true
				}
				index, err := l.Append(t.Context(), ca, r)
				if bad {
					if !errors.Is(err, errTaken) {
						t.Errorf("record at fault got %v", err)
					}
					continue
				}
				if err != nil {
					t.Error(err)
				}
				if _, dup := seen.LoadOrStore(fmt.Sprint(ca, index), true); dup {
					t.Errorf("index %d of %s given twice", index, ca)
				}
			}
		})
	}
	wg.Wait()
	total := uint64(0)
	for i := range 3 {
		total += verify(t, l, m, fmt.Sprint("ca", i)).Size
	}
	if want := uint64(callers * each * 9 / 10); total != want {
		t.Fatalf("%d entries, want %d", total, want)
	}
	if m.largest > 50 {
		t.Fatalf("a commit had %d records, at most 50 were asked for", m.largest)
	}
	if l.leading || len(l.queue) != 0 {
		t.Fatal("somebody still leads or waits")
	}
}

// hold makes the next commit wait, so that callers gather behind it.
func hold(m *memory) (entered, release chan struct{}) {
	entered, release = make(chan struct{}), make(chan struct{})
	var once sync.Once
	m.fault = func([]Batch) error {
		once.Do(func() {
			close(entered)
			<-release
		})
		return nil
	}
	return entered, release
}

// waiting blocks until n callers are in the queue.
func waiting(l *Log, n int) {
	for {
		l.mu.Lock()
		k := len(l.queue)
		l.mu.Unlock()
		if k == n {
			return
		}
		time.Sleep(100 * time.Microsecond)
	}
}

func TestOneCommitForAll(t *testing.T) {
	t.Parallel()
	m := newMemory()
	l := newLog(m)
	entered, release := hold(m)
	var wg sync.WaitGroup
	add := func(ca string, r Record, want error) {
		wg.Go(func() {
			if _, err := l.Append(t.Context(), ca, r); !errors.Is(err, want) {
				t.Errorf("got %v, want %v", err, want)
			}
		})
	}
	add("a", rec(0, "k0"), nil)
	<-entered
	for i := 1; i <= 20; i++ {
		add([]string{"a", "b"}[i%2], rec(i, fmt.Sprint("k", i)), nil)
	}
	waiting(l, 20)
	for range 3 { // poison that must not spread
		add("b", rec(99, "k0"), errTaken)
	}
	waiting(l, 23)
	close(release)
	wg.Wait()
	if m.commits != 2 {
		t.Fatalf("%d commits, want 2", m.commits)
	}
	if a, b := verify(t, l, m, "a"), verify(t, l, m, "b"); a.Size != 11 || b.Size != 10 {
		t.Fatalf("sizes %d and %d, want 11 and 10", a.Size, b.Size)
	}
}

func TestWithdraw(t *testing.T) {
	t.Parallel()
	m := newMemory()
	l := newLog(m)
	entered, release := hold(m)
	first, cancelFirst := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	// The leader's own end does not end the commit that it makes for others.
	wg.Go(func() {
		if _, err := l.Append(first, "a", rec(0)); err != nil {
			t.Error(err)
		}
	})
	<-entered
	cancelFirst()
	// Who gives up while waiting leaves nothing behind.
	second, cancelSecond := context.WithCancel(t.Context())
	gone := make(chan error, 1)
	go func() {
		_, err := l.Append(second, "a", rec(1, "key"))
		gone <- err
	}()
	waiting(l, 1)
	cancelSecond()
	if err := <-gone; !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v", err)
	}
	wg.Go(func() {
		if i, err := l.Append(t.Context(), "a", rec(2, "key")); err != nil || i != 1 {
			t.Errorf("index %d, %v", i, err)
		}
	})
	close(release)
	wg.Wait()
	if _, err := l.Append(second, "a", rec(3)); !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v", err)
	}
	if h := verify(t, l, m, "a"); h.Size != 2 {
		t.Fatalf("%d entries, want 2", h.Size)
	}
}

func TestHeadMoved(t *testing.T) {
	t.Parallel()
	m := newMemory()
	l, other := newLog(m), newLog(m)
	for i := range 20 {
		for _, l := range []*Log{l, other} {
			if _, err := l.Append(t.Context(), "a", rec(i)); err != nil {
				t.Fatal(err)
			}
		}
	}
	if h := verify(t, l, m, "a"); h.Size != 40 {
		t.Fatalf("%d entries, want 40", h.Size)
	}
}

var errDisk = errors.New("disk failed")

// TestFailedCommit has both faults that a store can have: nothing is stored,
// or everything is and nobody learns of it.
func TestFailedCommit(t *testing.T) {
	t.Parallel()
	for name, lost := range map[string]bool{"before": false, "after": true} {
		m := newMemory()
		l := newLog(m)
		if _, err := l.Append(t.Context(), "a", rec(0)); err != nil {
			t.Fatal(err)
		}
		once := func() error {
			m.fault, m.lose = nil, nil
			return errDisk
		}
		want := uint64(1)
		if lost {
			m.lose, want = once, 2
		} else {
			m.fault = func([]Batch) error { return once() }
		}
		if _, err := l.Append(t.Context(), "a", rec(1)); !errors.Is(err, errDisk) {
			t.Fatalf("%s: got %v", name, err)
		}
		if i, err := l.Append(t.Context(), "a", rec(2)); err != nil || i != want {
			t.Fatalf("%s: index %d, want %d (%v)", name, i, want, err)
		}
		verify(t, l, m, "a")
	}
}

// TestRefusalWaitsForCommit has two records with one key in one batch. The
// second may hear of the first only when that is durable: here the commit
// fails after the second was sorted out.
func TestRefusalWaitsForCommit(t *testing.T) {
	t.Parallel()
	m := newMemory()
	l := newLog(m)
	entered, release := hold(m)
	var wg sync.WaitGroup
	wg.Go(func() {
		if _, err := l.Append(t.Context(), "a", rec(0)); err != nil {
			t.Error(err)
		}
	})
	<-entered
	for i := range 2 {
		wg.Go(func() {
			if _, err := l.Append(t.Context(), "a", rec(1+i, "key")); !errors.Is(err, errDisk) || errors.Is(err, errTaken) {
				t.Errorf("got %v", err)
			}
		})
	}
	waiting(l, 2)
	m.fault = func(batches []Batch) error {
		// Twice: the held commit must go through, as must the first attempt.
		if len(batches[0].Records) == 1 && batches[0].From.Size == 1 {
			m.fault = nil
			return errDisk
		}
		return nil
	}
	close(release)
	wg.Wait()
	if _, err := l.Append(t.Context(), "a", rec(3, "key")); err != nil {
		t.Fatal(err)
	}
	if h := verify(t, l, m, "a"); h.Size != 2 {
		t.Fatalf("%d entries, want 2", h.Size)
	}
}

// TestRefusalIsReviewed has the head move between a refusal and the commit:
// who was refused is tried again.
func TestRefusalIsReviewed(t *testing.T) {
	t.Parallel()
	m := newMemory()
	m.keys["key"] = true
	l := newLog(m)
	calls := 0
	entered, release := hold(m)
	inner := m.fault
	m.fault = func(batches []Batch) error {
		if batches[0].From.Size == 1 {
			if calls++; calls == 2 { // after the refusal
				delete(m.keys, "key")
				return ErrHeadMoved
			}
		}
		return inner(batches)
	}
	var wg sync.WaitGroup
	add := func(r Record) {
		wg.Go(func() {
			if _, err := l.Append(t.Context(), "a", r); err != nil {
				t.Error(err)
			}
		})
	}
	add(rec(0))
	<-entered
	add(rec(1, "key"))
	add(rec(2, "other"))
	waiting(l, 2)
	close(release)
	wg.Wait()
	if h := verify(t, l, m, "a"); h.Size != 3 || calls != 3 {
		t.Fatalf("%d entries after %d commits, want 3 after 3", h.Size, calls)
	}
}

func TestPanickingStore(t *testing.T) {
	t.Parallel()
	m := newMemory()
	l := newLog(m)
	entered, release := make(chan struct{}), make(chan struct{})
	first := true
	m.fault = func([]Batch) error {
		if first {
			first = false
			close(entered)
			<-release
			panic("defect")
		}
		return nil
	}
	done := make(chan any, 1)
	go func() {
		defer func() { done <- recover() }()
		_, err := l.Append(t.Context(), "a", rec(0))
		done <- err
	}()
	<-entered
	var wg sync.WaitGroup
	wg.Go(func() {
		if _, err := l.Append(t.Context(), "a", rec(1)); err != nil {
			t.Error(err)
		}
	})
	waiting(l, 1)
	close(release)
	if v := <-done; v != "defect" {
		t.Fatalf("got %v", v)
	}
	wg.Wait()
}

// TestFailClosed rolls one of two logs back under a running Log: it takes
// nothing more, the other goes on.
func TestFailClosed(t *testing.T) {
	t.Parallel()
	m := newMemory()
	l := newLog(m)
	var early Head
	for i := range 10 {
		for _, ca := range []string{"a", "b"} {
			if _, err := l.Append(t.Context(), ca, rec(i)); err != nil {
				t.Fatal(err)
			}
		}
		if i == 5 {
			early = m.heads["a"].cloneForTest()
		}
	}
	m.heads["a"] = early
	// The next commit learns that the head is not the one it knows.
	for range 3 {
		if _, err := l.Append(t.Context(), "a", rec(11)); !errors.Is(err, ErrHead) {
			t.Fatalf("got %v", err)
		}
		if _, err := l.Head(t.Context(), "a"); !errors.Is(err, ErrHead) {
			t.Fatalf("got %v", err)
		}
		if _, err := l.Append(t.Context(), "b", rec(11)); err != nil {
			t.Fatal(err)
		}
	}
	if l.Refused("a") == nil || l.CountRefused() != 1 {
		t.Errorf("%v, %d logs are counted that take no entries", l.Refused("a"), l.CountRefused())
	}
	// The same in one batch.
	entered, release := hold(m)
	var wg sync.WaitGroup
	wg.Go(func() {
		if _, err := l.Append(t.Context(), "b", rec(12)); err != nil {
			t.Error(err)
		}
	})
	<-entered
	wg.Go(func() {
		if _, err := l.Append(t.Context(), "a", rec(12)); !errors.Is(err, ErrHead) {
			t.Errorf("got %v", err)
		}
	})
	wg.Go(func() {
		if _, err := l.Append(t.Context(), "b", rec(13)); err != nil {
			t.Error(err)
		}
	})
	waiting(l, 2)
	close(release)
	wg.Wait()
	if h := verify(t, l, m, "b"); h.Size != 15 {
		t.Fatalf("%d entries, want 15", h.Size)
	}
}

func (h Head) cloneForTest() Head { return h.clone() }

func TestAppendRefusals(t *testing.T) {
	t.Parallel()
	l := newLog(newMemory())
	for _, e := range [][]byte{nil, make([]byte, 10), make([]byte, MaxEntrySize+1)} {
		if _, err := l.Append(t.Context(), "a", Record{Entry: e}); !errors.Is(err, ErrMalformedEntry) {
			t.Errorf("entry of %d bytes: %v", len(e), err)
		}
	}
	h, err := l.Head(t.Context(), "a")
	if empty, _ := tlog.TreeHash(0, nil); err != nil || h.Size != 0 || h.Root != empty {
		t.Fatalf("%+v, %v", h, err)
	}
}

// TestRefuse: a log that refuses takes the entry of its recovery and nothing
// before it, and the other logs do not notice.
func TestRefuse(t *testing.T) {
	t.Parallel()
	m := newMemory()
	l := newLog(m)
	if _, err := l.Append(t.Context(), "a", rec(0)); err != nil {
		t.Fatal(err)
	}
	evidence := errors.New("a witness knows more")
	l.Refuse("a", evidence)
	for _, r := range []error{l.Refused("a"), second(l.Append(t.Context(), "a", rec(1)))} {
		if !errors.Is(r, ErrHead) || !errors.Is(r, evidence) {
			t.Errorf("a log that refuses: %v", r)
		}
	}
	if h, err := l.Head(t.Context(), "a"); err != nil || h.Size != 1 {
		t.Errorf("reading a log that refuses: %+v, %v", h, err)
	}
	// All in one commit, the recovery in the middle.
	entered, release := hold(m)
	var wg sync.WaitGroup
	wg.Go(func() {
		if _, err := l.Append(t.Context(), "b", rec(10)); err != nil {
			t.Error(err)
		}
	})
	<-entered
	refused := func() {
		if _, err := l.Append(t.Context(), "a", rec(2)); !errors.Is(err, ErrHead) {
			t.Errorf("beside its recovery: %v", err)
		}
	}
	wg.Go(refused)
	waiting(l, 1)
	wg.Go(func() {
		if i, err := l.Recover(t.Context(), "a", rec(3)); i != 1 || err != nil {
			t.Errorf("the recovery got %d, %v", i, err)
		}
	})
	waiting(l, 2)
	wg.Go(refused)
	waiting(l, 3)
	close(release)
	wg.Wait()
	if l.Refused("a") != nil || l.CountRefused() != 0 {
		t.Error("a log that was recovered refuses")
	}
	if i, err := l.Append(t.Context(), "a", rec(4)); i != 2 || err != nil {
		t.Errorf("after the recovery: %d, %v", i, err)
	}
	verify(t, l, m, "a")
}

func second[T any](_ T, err error) error { return err }

// BenchmarkLog is what the log itself costs: a store that does nothing.
func BenchmarkLog(b *testing.B) {
	entry := make([]byte, 236)
	entry[0] = entryVersion
	for _, callers := range []int{1, 64} {
		b.Run(fmt.Sprint(callers), func(b *testing.B) {
			l := New(Config{Store: discard{}})
			b.ReportAllocs()
			b.ResetTimer()
			var wg sync.WaitGroup
			for c := range callers {
				wg.Go(func() {
					for range b.N/callers + min(1, max(0, b.N%callers-c)) {
						if _, err := l.Append(b.Context(), "a", Record{Entry: entry}); err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			wg.Wait()
		})
	}
}

type discard struct{ *memory }

func (discard) LogHead(context.Context, string) (Head, error) { return Head{}, nil }
func (discard) CommitLog(context.Context, []Batch) error      { return nil }

// A log is not dated back: a clock that went back more than MaxClockStep stops
// it, and only a recovery lets it go on.
func TestClockWentBack(t *testing.T) {
	t.Parallel()
	l := newLog(newMemory())
	const now = int64(1_790_000_000_000)
	entry := func(typ EntryType, ms int64) Record {
		e := Entry{Type: typ, Time: ms, Label: []byte("csr")}
		b, err := e.Append(nil)
		if err != nil {
			t.Fatal(err)
		}
		return Record{Entry: b}
	}
	step := MaxClockStep.Milliseconds()
	for _, tt := range []struct {
		typ   EntryType
		ms    int64
		clock bool // refused
	}{
		{TypeGenesis, now, false},
		{TypeSign, now - step, false},
		{TypeSign, now - step - 1, true}, // measured from the latest, not from the last
		{TypeSign, now + 1, false},
		{TypeSign, now - step, true},
		{TypeRecovery, now - 10*step, false},
		{TypeSign, now - 10*step, false},
		{TypeSign, now - 11*step - 1, true},
	} {
		_, err := l.Append(t.Context(), "ca", entry(tt.typ, tt.ms))
		if errors.Is(err, ErrClock) != tt.clock || (err != nil) != tt.clock {
			t.Errorf("type %d at %+d ms: %v", tt.typ, tt.ms-now, err)
		}
		told, ok := errors.AsType[interface {
			error
			ErrorMessage() string
		}](fmt.Errorf("issuing: %w", err))
		if ok != tt.clock || ok && (!strings.Contains(told.ErrorMessage(), "clock") || !strings.Contains(told.Error(), "log recover --force")) {
			t.Errorf("the caller is told %v", told)
		}
	}
}
