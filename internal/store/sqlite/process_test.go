//go:build linux

package sqlite

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"modernc.org/sqlite"

	"chirograph.dev/internal/certlog"
	"chirograph.dev/internal/store/storetest"
)

// A test that needs a process of its own starts this binary again with these.
const (
	childTask = "CHIROGRAPH_TEST_CHILD"
	childPath = "CHIROGRAPH_TEST_PATH"
)

func TestMain(m *testing.M) {
	task := os.Getenv(childTask)
	if task == "" {
		os.Exit(m.Run())
	}
	if err := child(task, os.Getenv(childPath)); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

func child(task, path string) (err error) {
	ctx := context.Background()
	cfg := Config{Path: path}
	if task == "load" {
		cfg.WAL = 1 << 20 // so that kills hit checkpoints too
	}
	db, err := Open(ctx, cfg)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	switch task {
	case "load":
		return storetest.Load(ctx, db, os.Stdout)
	case "sync":
		return childSync(ctx, db)
	case "full":
		return childFull(ctx, db)
	case "hold":
		fmt.Println("open")
		_, err := io.Copy(io.Discard, os.Stdin)
		return err
	}
	return fmt.Errorf("unknown task %q", task)
}

// childCommand is the command that starts a child.
func childCommand(t *testing.T, task, path string, wrapper ...string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	args := append(wrapper, self)
	cmd := exec.CommandContext(t.Context(), args[0], args[1:]...)
	cmd.Env = append(os.Environ(), childTask+"="+task, childPath+"="+path)
	return cmd
}

// TestKill kills a process with all its callers in the middle of their work,
// again and again, on the same store.
func TestKill(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	var answers bytes.Buffer
	for round := range 8 {
		cmd := childCommand(t, "load", path)
		var stderr bytes.Buffer
		cmd.Stdout, cmd.Stderr = &answers, &stderr
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(100*time.Millisecond + rand.N(600*time.Millisecond))
		if err := cmd.Process.Signal(syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		if err := cmd.Wait(); err == nil || stderr.Len() > 0 {
			t.Fatalf("child ended by itself: %v\n%s", err, stderr.String())
		}
		// What is cut off was not read by anybody as an answer.
		if i := bytes.LastIndexByte(answers.Bytes(), '\n'); i >= 0 {
			answers.Truncate(i + 1)
		}
		e := openEngine(t, Config{Path: path})
		n := storetest.CheckLoad(t, e, bytes.NewReader(answers.Bytes()))
		t.Logf("round %d: %d answers hold", round, n)
		if err := e.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if answers.Len() == 0 {
		t.Fatal("no answers in any round")
	}
}

const syncCommits = 25

func childSync(ctx context.Context, db *DB) error {
	log := certlog.New(certlog.Config{Store: db})
	rnd := rand.New(rand.NewPCG(1, 1))
	for i := range syncCommits {
		if _, err := log.Append(ctx, "ca", storetest.Issue("ca", rnd, 1)); err != nil {
			return err
		}
		fmt.Println("ack", i)
	}
	return nil
}

// TestSync watches the system calls: between the writes to the WAL and the
// answer to the caller lies a sync of the WAL that succeeded, for each commit.
func TestSync(t *testing.T) {
	t.Parallel()
	strace, err := exec.LookPath("strace")
	if err != nil {
		t.Fatal("this test watches system calls and needs strace: apt-get install strace")
	}
	path := newPath(t)
	trace := filepath.Join(t.TempDir(), "trace")
	cmd := childCommand(t, "sync", path, strace, "-f", "-y", "-e", "trace=pwrite64,write,fsync,fdatasync", "-o", trace)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	f, err := os.Open(trace)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	wal := regexp.QuoteMeta(path) + "-wal>"
	write := regexp.MustCompile(`^\d+ +p?write(64)?\(\d+<` + wal)
	sync := regexp.MustCompile(`^(\d+) +f(data)?sync\(\d+<` + wal)
	acks, dirty, syncs := 0, false, 0
	pending := map[string]bool{} // threads inside of a sync
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		line := lines.Text()
		thread, _, _ := strings.Cut(line, " ")
		switch m := sync.FindStringSubmatch(line); {
		case write.MatchString(line):
			dirty = true
		case m != nil && strings.Contains(line, "unfinished"):
			pending[m[1]] = true
		case m != nil || pending[thread] && strings.Contains(line, "sync resumed"):
			delete(pending, thread)
			if !strings.HasSuffix(line, "= 0") {
				t.Fatalf("sync failed: %s", line)
			}
			dirty = false
			syncs++
		case strings.Contains(line, `"ack `):
			if dirty || syncs == 0 {
				t.Fatalf("answer %d came with %d syncs before it, writes after the last one: %v", acks, syncs, dirty)
			}
			acks, syncs = acks+1, 0
		}
	}
	if err := lines.Err(); err != nil || acks != syncCommits {
		t.Fatalf("%d answers in the trace, want %d (%v)", acks, syncCommits, err)
	}
}

// childFull fills the space that files may have, sees commits fail, gets room
// again, and goes on.
func childFull(ctx context.Context, db *DB) error {
	signal.Ignore(syscall.SIGXFSZ)
	rnd := rand.New(rand.NewPCG(1, 1))
	log := certlog.New(certlog.Config{Store: db})
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &limit); err != nil {
		return err
	}
	stored := 0
	for range 3 {
		info, err := os.Stat(db.cfg.Path + "-wal")
		if err != nil {
			return err
		}
		small := limit
		small.Cur = uint64(info.Size() + 300_000)
		if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &small); err != nil {
			return err
		}
		failures := 0
		for failures < 5 {
			r := storetest.Issue("ca", rnd, 1)
			_, err := log.Append(ctx, "ca", r)
			var e *sqlite.Error
			switch {
			case err == nil:
				stored++
				if failures > 0 {
					return errors.New("a commit after a failed one went through without space")
				}
				continue
			case !errors.As(err, &e):
				return fmt.Errorf("failure does not wrap SQLite's: %w", err)
			}
			failures++
			// Nothing of it is there, and what was is.
			h, err := log.Head(ctx, "ca")
			if err != nil || h.Size != uint64(stored) {
				return fmt.Errorf("head has %d entries, %d were acknowledged: %w", h.Size, stored, err)
			}
			if err := db.PutSetting(ctx, "s", strings.Repeat("x", 100_000)); err == nil {
				return errors.New("a setting was stored without space")
			}
		}
		if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &limit); err != nil {
			return err
		}
		for range 50 {
			if _, err := log.Append(ctx, "ca", storetest.Issue("ca", rnd, 1)); err != nil {
				return fmt.Errorf("commit after there is space again: %w", err)
			}
			stored++
		}
	}
	fmt.Println(stored)
	return nil
}

func TestDiskFull(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	out, err := childCommand(t, "full", path).Output()
	if err != nil {
		var exit *exec.ExitError
		errors.As(err, &exit)
		t.Fatalf("%v\n%s%s", err, out, exit.Stderr)
	}
	var stored uint64
	if _, err := fmt.Sscan(string(out), &stored); err != nil {
		t.Fatalf("%q: %v", out, err)
	}
	e := openEngine(t, Config{Path: path})
	if h := storetest.Verify(t, e, "ca"); h.Size != stored || stored < 150 {
		t.Fatalf("%d entries, %d acknowledged", h.Size, stored)
	}
	checkIntegrity(t, e.DB)
}

func TestInUse(t *testing.T) {
	t.Parallel()
	path := newPath(t)
	cmd := childCommand(t, "hold", path)
	stdin, err1 := cmd.StdinPipe()
	stdout, err2 := cmd.StdoutPipe()
	if err := errors.Join(err1, err2, cmd.Start()); err != nil {
		t.Fatal(err)
	}
	if _, err := bufio.NewReader(stdout).ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	_, err := Open(t.Context(), Config{Path: path})
	if !errors.Is(err, ErrInUse) || !strings.Contains(err.Error(), fmt.Sprint("process ", cmd.Process.Pid)) {
		t.Fatalf("got %v, want the pid %d", err, cmd.Process.Pid)
	}
	if err := errors.Join(stdin.Close(), cmd.Wait()); err != nil {
		t.Fatal(err)
	}
	db := openDB(t, Config{Path: path})
	// The same in one process.
	if _, err := Open(t.Context(), Config{Path: path}); !errors.Is(err, ErrInUse) {
		t.Fatalf("got %v", err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	openDB(t, Config{Path: path})
}
