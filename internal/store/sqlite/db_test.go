package sqlite

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"sync"
	"testing"
	"time"

	"chirograph.dev/internal/certlog"
	"chirograph.dev/internal/store"
	"chirograph.dev/internal/store/storetest"
)

func checkIntegrity(t *testing.T, db *DB) {
	t.Helper()
	var text string
	err := db.one(t.Context(), func(r *rows) { text = r.text(0) }, "PRAGMA integrity_check")
	if err != nil || text != "ok" {
		t.Fatalf("%q, %v", text, err)
	}
}

func TestOpen(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	db := openDB(t, Config{Path: path})
	if runtime.GOOS != "windows" {
		for _, p := range []string{path, path + "-wal", filepath.Join(filepath.Dir(path), LockName)} {
			info, err := os.Stat(p)
			if err != nil || info.Mode().Perm() != 0o600 {
				t.Errorf("%s: %v, %v", p, info.Mode(), err)
			}
		}
	}
	for range 2 {
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := db.CA(t.Context(), "x"); !errors.Is(err, ErrClosed) {
		t.Fatalf("closed store: %v", err)
	}
	if err := db.PutSetting(t.Context(), "x", "y"); !errors.Is(err, ErrClosed) {
		t.Fatalf("closed store: %v", err)
	}
	// A folder whose name SQLite could take for parameters.
	odd := filepath.Join(t.TempDir(), "a ?mode=ro&x#%41'", "s.db")
	db = openDB(t, Config{Path: odd})
	if err := db.PutSetting(t.Context(), "x", "y"); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(odd); err != nil {
		t.Fatal(err)
	}
}

func TestFormats(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	db := openDB(t, Config{Path: path})
	set := func(value string) {
		t.Helper()
		if err := db.change(t.Context(), "UPDATE setting SET value = ? WHERE name = 'format'", value); err != nil {
			t.Fatal(err)
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
	}
	set(strconv.Itoa(Format + 1))
	if _, err := Open(t.Context(), Config{Path: path}); !errors.Is(err, ErrNewerFormat) {
		t.Fatalf("newer format: %v", err)
	}
	// A refusal changes nothing and gives the lock back.
	if _, err := Open(t.Context(), Config{Path: path}); !errors.Is(err, ErrNewerFormat) {
		t.Fatalf("newer format: %v", err)
	}
	path = newPath(t)
	db = openDB(t, Config{Path: path})
	set("one")
	if _, err := Open(t.Context(), Config{Path: path}); !errors.Is(err, ErrForeign) {
		t.Fatalf("broken format: %v", err)
	}

	path = filepath.Join(t.TempDir(), "text.db")
	if err := os.WriteFile(path, bytes.Repeat([]byte("no database "), 1000), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), Config{Path: path}); !errors.Is(err, ErrForeign) {
		t.Fatalf("text file: %v", err)
	}

	path = filepath.Join(t.TempDir(), "other.db")
	c, err := openConn(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.exec("CREATE TABLE someone_elses (x)"); err != nil {
		t.Fatal(err)
	}
	if err := c.close(); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), Config{Path: path}); !errors.Is(err, ErrForeign) {
		t.Fatalf("another program's database: %v", err)
	}
}

func TestVersionLess(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		a, b string
		less bool
	}{
		{"3.51.2", "3.51.3", true}, {"3.51.3", "3.51.3", false}, {"3.52.0", "3.51.3", false}, {"3.9.9", "3.51.3", true},
		{"3.51", "3.51.3", true}, {"4", "3.51.3", false}, {"3.51.10", "3.51.3", false},
	} {
		if got := versionLess(c.a, c.b); got != c.less {
			t.Errorf("%s < %s: %v", c.a, c.b, got)
		}
	}
}

// TestEveryConnectionSyncs asks the connections themselves, of each kind.
func TestEveryConnectionSyncs(t *testing.T) {
	t.Parallel()
	db := openDB(t, Config{Path: newPath(t)})
	for _, open := range []func() (*conn, error){db.openWriter, db.openReader} {
		c, err := open()
		if err != nil {
			t.Fatal(err)
		}
		for pragma, want := range map[string]int64{"synchronous": 2, "wal_autocheckpoint": 0, "fullfsync": 1, "checkpoint_fullfsync": 1, "page_size": pageSize} {
			var got int64
			if _, err := c.queryRow(func(r *rows) { got = r.int(0) }, "PRAGMA "+pragma); err != nil || got != want {
				t.Errorf("%s is %d, want %d (%v)", pragma, got, want, err)
			}
		}
		if err := c.close(); err != nil {
			t.Fatal(err)
		}
	}
}

func walSize(t *testing.T, db *DB) int64 {
	t.Helper()
	info, err := os.Stat(db.cfg.Path + "-wal")
	if err != nil {
		t.Fatal(err)
	}
	return info.Size()
}

// TestWALBound writes many times the limit while others read without a pause,
// one of them slowly.
func TestWALBound(t *testing.T) {
	t.Parallel()
	const limit = 2 << 20
	db := openDB(t, Config{Path: newPath(t), WAL: limit})
	log := certlog.New(certlog.Config{Store: db})
	ctx, stop := context.WithCancel(t.Context())
	var readers, writers sync.WaitGroup
	for i := range 4 {
		readers.Go(func() {
			for ctx.Err() == nil {
				h, err := db.LogHead(t.Context(), "ca")
				if err != nil {
					t.Error(err)
					return
				}
				err = db.LogEntries(t.Context(), "ca", h.Size-min(h.Size, 3000), h.Size, func(index uint64, _ []byte) error {
					if i == 0 && index%500 == 0 {
						time.Sleep(10 * time.Millisecond)
					}
					return nil
				})
				if err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	var largest int64
	for c := range 16 {
		writers.Go(func() {
			rnd := rand.New(rand.NewPCG(1, uint64(c)))
			for i := range 300 {
				if _, err := log.Append(t.Context(), "ca", storetest.Issue("ca", rnd, 1)); err != nil {
					t.Error(err)
					return
				}
				if c == 0 && i%10 == 0 {
					largest = max(largest, walSize(t, db))
				}
			}
		})
	}
	writers.Wait()
	stop()
	readers.Wait()
	t.Logf("largest WAL %d bytes", max(largest, walSize(t, db)))
	if largest > 8*limit {
		t.Fatalf("the WAL grew to %d bytes, its limit is %d", largest, limit)
	}
}

// TestForeignReader has another connection hold a snapshot, as a shell might.
// The WAL must grow then, commits must not fail, and it shrinks when the
// snapshot is gone.
func TestForeignReader(t *testing.T) {
	t.Parallel()
	const limit = 1 << 20
	path := newPath(t)
	var logged bytes.Buffer
	db := openDB(t, Config{Path: path, WAL: limit, Log: slog.New(slog.NewTextHandler(&logged, nil))})
	foreign, err := openConn(path)
	if err != nil {
		t.Fatal(err)
	}
	r, err := foreign.query("SELECT name FROM setting")
	if err != nil || !r.next() {
		t.Fatal(err)
	}
	written := 0
	write := func(n int) {
		t.Helper()
		for range n {
			written++
			if err := db.PutSetting(t.Context(), fmt.Sprint("s", written%100), fmt.Sprintf("%050000d", written)); err != nil {
				t.Fatal(err)
			}
		}
	}
	write(100)
	if n := walSize(t, db); n < 4*limit {
		t.Fatalf("WAL of %d bytes: the reader holds nothing", n)
	}
	if err := errors.Join(r.close(), foreign.close()); err != nil {
		t.Fatal(err)
	}
	for walSize(t, db) > 2*limit {
		write(1)
		time.Sleep(10 * time.Millisecond)
	}
}

// TestForeignWriter has another connection hold the write lock for a while:
// commits wait for it.
func TestForeignWriter(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	db := openDB(t, Config{Path: path})
	foreign, err := openConn(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := foreign.exec("BEGIN IMMEDIATE"); err != nil {
		t.Fatal(err)
	}
	stored := make(chan error, 1)
	go func() { stored <- db.PutSetting(t.Context(), "name", "value") }()
	select {
	case err := <-stored:
		t.Fatalf("commit beside a foreign transaction: %v", err)
	case <-time.After(100 * time.Millisecond):
	}
	if _, err := foreign.exec("ROLLBACK"); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(<-stored, foreign.close()); err != nil {
		t.Fatal(err)
	}
}

func TestPurgeTokens(t *testing.T) {
	t.Parallel()
	clock := time.UnixMilli(1_790_000_000_000)
	db := openDB(t, Config{Path: newPath(t), Purge: 5 * time.Millisecond, Now: func() time.Time { return clock }})
	err := db.write(t.Context(), func(c *conn) error {
		for i := range 3000 {
			expires := clock.Add(time.Duration(i-2000) * time.Second)
			if err := insertToken(c, &store.Token{Key: fmt.Sprint(i), Value: "v", Now: clock.Add(-time.Hour), Expires: expires}); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	count := func() (n, oldest int64) {
		t.Helper()
		err := db.one(t.Context(), func(r *rows) { n, oldest = r.int(0), r.int(1) }, "SELECT count(*), min(expires) FROM token")
		if err != nil {
			t.Fatal(err)
		}
		return n, oldest
	}
	for n, oldest := count(); n != 999; n, oldest = count() { // those that expire after clock
		if n < 999 {
			t.Fatalf("%d tokens, the oldest expires at %d: a live one was purged", n, oldest)
		}
		time.Sleep(time.Millisecond)
	}
}

// TestDamagedRows changes a committed entry behind the store's back: it is
// never sealed into a pack, so the evidence stays.
func TestDamagedRows(t *testing.T) {
	t.Parallel()
	db := openDB(t, Config{Path: newPath(t)})
	seed(t, db, "ca", certlog.BlockSize-1)
	seed(t, db, "ca", 1)
	if err := db.change(t.Context(), "UPDATE log_entry SET bytes = (SELECT bytes FROM log_entry WHERE idx = 7) WHERE idx = 8"); err != nil {
		t.Fatal(err)
	}
	if err := db.SealLog(t.Context(), "ca", 0); !errors.Is(err, certlog.ErrHead) {
		t.Fatalf("got %v", err)
	}
	if err := db.LogEntries(t.Context(), "ca", 0, certlog.BlockSize, func(uint64, []byte) error { return nil }); err != nil {
		t.Fatal(err)
	}
}

func TestDamagedPack(t *testing.T) {
	t.Parallel()
	db := openDB(t, Config{Path: newPath(t)})
	serials := seed(t, db, "ca", certlog.BlockSize)
	for _, table := range []string{"log_pack", "der_pack"} {
		if err := db.change(t.Context(), "UPDATE "+table+" SET bytes = CAST(substr(bytes, 1, 1000) || x'ff' || substr(bytes, 1002) AS BLOB)"); err != nil {
			t.Fatal(err)
		}
	}
	if err := db.LogEntries(t.Context(), "ca", 0, 10, func(uint64, []byte) error { return nil }); !errors.Is(err, errPack) {
		t.Fatalf("got %v", err)
	}
	if _, err := db.Certificate(t.Context(), "ca", serials[0]); !errors.Is(err, errPack) {
		t.Fatalf("got %v", err)
	}
}

// seed appends n certificates with SeedBlock and gives their serials.
func seed(t testing.TB, db *DB, ca string, n int) (serials [][]byte) {
	t.Helper()
	h, err := db.LogHead(t.Context(), ca)
	if err != nil {
		t.Fatal(err)
	}
	rnd := rand.New(rand.NewPCG(h.Size, 9))
	records := make([]certlog.Record, n)
	for i := range records {
		records[i] = storetest.Issue(ca, rnd, int64(h.Size)+int64(i))
		serials = append(serials, records[i].Rows[0].(*store.Certificate).Serial)
	}
	if _, err := db.SeedBlock(t.Context(), ca, records); err != nil {
		t.Fatal(err)
	}
	return serials
}

func TestSeedBlock(t *testing.T) {
	t.Parallel()
	e := openEngine(t, Config{Path: newPath(t)})
	var serials [][]byte
	for _, n := range []int{3, certlog.BlockSize - 3, certlog.BlockSize, 100} {
		serials = append(serials, seed(t, e.DB, "ca", n)...)
	}
	h := storetest.Verify(t, e, "ca")
	if h.Size != 2*certlog.BlockSize+100 {
		t.Fatalf("%d entries", h.Size)
	}
	if blocks, err := e.UnsealedBlocks(t.Context()); err != nil || len(blocks["ca"]) != 1 {
		t.Fatalf("%v, %v", blocks, err)
	}
	if err := e.SealLog(t.Context(), "ca", 0); err != nil {
		t.Fatal(err)
	}
	for i, s := range serials {
		if i%509 != 0 {
			continue
		}
		if c, err := e.Certificate(t.Context(), "ca", s); err != nil || c.Index != uint64(i) || len(c.DER) != 900 {
			t.Fatalf("%d: %+v, %v", i, c, err)
		}
	}
	if _, err := e.SeedBlock(t.Context(), "ca", make([]certlog.Record, certlog.BlockSize)); err == nil {
		t.Fatal("a seed across blocks was taken")
	}
	// Bundles of a pack, and of the tail.
	for _, c := range [][2]uint64{{certlog.BlockSize, certlog.BlockSize + 1000}, {certlog.BlockSize + 500, 2 * certlog.BlockSize}, {2 * certlog.BlockSize, h.Size}, {5, 5}} {
		bundle, err := e.AppendLogBundle(t.Context(), []byte("dst"), "ca", c[0], c[1])
		if err != nil || string(bundle[:3]) != "dst" {
			t.Fatal(err)
		}
		bundle = bundle[3:]
		err = e.LogEntries(t.Context(), "ca", c[0], c[1], func(i uint64, entry []byte) error {
			got, rest, ok := certlog.CutBundled(bundle)
			if !ok || !bytes.Equal(got, entry) {
				return fmt.Errorf("entry %d differs", i)
			}
			bundle = rest
			return nil
		})
		if err != nil || len(bundle) != 0 {
			t.Fatalf("%d bytes left, %v", len(bundle), err)
		}
	}
	if _, err := e.AppendLogBundle(t.Context(), nil, "ca", 5, certlog.BlockSize+5); err == nil {
		t.Fatal("a bundle over two blocks was given")
	}
	// The log goes on as any other.
	log := certlog.New(certlog.Config{Store: e})
	if _, err := log.Append(t.Context(), "ca", storetest.Issue("ca", rand.New(rand.NewPCG(5, 5)), 1)); err != nil {
		t.Fatal(err)
	}
	storetest.Verify(t, e, "ca")
	checkIntegrity(t, e.DB)
}
