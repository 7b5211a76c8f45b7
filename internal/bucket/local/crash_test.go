package local

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

const crashFolder = "BUCKET_LOCAL_CRASH_FOLDER"

// TestMain turns the test binary into the process that TestKill kills.
func TestMain(m *testing.M) {
	if dir := os.Getenv(crashFolder); dir != "" {
		if err := crashChild(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

const crashWorkers = 6

// crashContent is what a worker writes as its nth version: any reader can
// check it whole.
func crashContent(worker, n int) []byte {
	r := rand.New(rand.NewPCG(uint64(worker), uint64(n)))
	b := make([]byte, 40+r.IntN(300_000))
	binary.BigEndian.PutUint64(b, uint64(worker))
	binary.BigEndian.PutUint64(b[8:], uint64(n))
	for i := 40; i < len(b); i++ {
		b[i] = byte(i * (n + 1))
	}
	sum := sha256.Sum256(b[40:])
	copy(b[16:40], sum[:])
	return b
}

// roundTrip sends one request in process.
func roundTrip(rt http.RoundTripper, method, path string, body []byte) (int, []byte, http.Header, error) {
	r, err := http.NewRequestWithContext(context.Background(), method, "https://in.process/"+path, bytes.NewReader(body))
	if err != nil {
		return 0, nil, nil, err
	}
	resp, err := rt.RoundTrip(r)
	if err != nil {
		return 0, nil, nil, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return resp.StatusCode, b, resp.Header, err
}

// between cuts the text between two marks.
func between(s, a, b string) string {
	_, s, _ = strings.Cut(s, a)
	s, _, _ = strings.Cut(s, b)
	return s
}

// crashChild replaces objects, in one piece, in parts and by copies, until it
// is killed, and says what was acknowledged.
func crashChild(dir string) error {
	s, err := Open(Config{Dir: dir})
	if err != nil {
		return err
	}
	rt := s.Transport(pca())
	const b = "chirograph-internal-crash"
	if status, text, _, err := roundTrip(rt, http.MethodPut, b, nil); err != nil || status != 200 && status != 409 {
		return fmt.Errorf("%d %s %w", status, text, err)
	}
	start, err := strconv.Atoi(os.Getenv("BUCKET_LOCAL_CRASH_FROM"))
	if err != nil {
		return err
	}
	failed := make(chan error, crashWorkers)
	for w := range crashWorkers {
		go func() {
			key := fmt.Sprintf("%s/w%d", b, w)
			for n := start; ; n++ {
				content := crashContent(w, n)
				if n%3 == 0 {
					status, text, _, err := roundTrip(rt, http.MethodPut, key, content)
					if err != nil || status != 200 {
						failed <- fmt.Errorf("%d %s %w", status, text, err)
						return
					}
				} else {
					_, text, _, err := roundTrip(rt, http.MethodPost, key+"?uploads", nil)
					if err != nil {
						failed <- err
						return
					}
					id := between(string(text), "<UploadId>", "</UploadId>")
					_, _, h, err := roundTrip(rt, http.MethodPut, key+"?partNumber=1&uploadId="+id, content)
					if err != nil {
						failed <- err
						return
					}
					xml := "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>" + strings.Trim(h.Get("Etag"), `"`) + "</ETag></Part></CompleteMultipartUpload>"
					status, text, _, err := roundTrip(rt, http.MethodPost, key+"?uploadId="+id, []byte(xml))
					if err != nil || status != 200 {
						failed <- fmt.Errorf("%d %s %w", status, text, err)
						return
					}
				}
				fmt.Printf("ack %d %d\n", w, n)
				if n%5 == 0 {
					r, err := http.NewRequest(http.MethodPut, "https://in.process/"+key+"-copy", nil)
					if err != nil {
						failed <- err
						return
					}
					r.Header.Set("X-Amz-Copy-Source", key)
					resp, err := rt.RoundTrip(r)
					if err != nil {
						failed <- err
						return
					}
					resp.Body.Close()
				}
			}
		}()
	}
	return <-failed
}

// TestKill kills the service at random moments. After each restart every
// object is whole, none is older than what was acknowledged, and no part file
// is missing or left over.
func TestKill(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "b")
	acked := make([]int, crashWorkers)
	next := 0
	for round := range 8 {
		cmd := exec.Command(os.Args[0], "-test.run=^$")
		cmd.Env = append(os.Environ(), crashFolder+"="+dir, "BUCKET_LOCAL_CRASH_FROM="+strconv.Itoa(next))
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		acks := 0
		for lines.Scan() {
			var w, n int
			if _, err := fmt.Sscanf(lines.Text(), "ack %d %d", &w, &n); err != nil {
				t.Fatalf("%q: %v", lines.Text(), err)
			}
			acked[w], next = n, max(next, n+1)
			if acks++; acks == 1 {
				delay := time.Duration(rand.IntN(150)) * time.Millisecond
				go func() {
					time.Sleep(delay)
					_ = cmd.Process.Kill()
				}()
			}
		}
		_ = cmd.Wait() // killed
		if acks == 0 {
			t.Fatalf("round %d: nothing was acknowledged: %s", round, &stderr)
		}
		checkAfterKill(t, dir, acked)
		next += 10
	}
}

func checkAfterKill(t *testing.T, dir string, acked []int) {
	t.Helper()
	s, err := Open(Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}()
	rt := s.Transport(pca())
	for w := range crashWorkers {
		for _, suffix := range []string{"", "-copy"} {
			status, b, _, err := roundTrip(rt, http.MethodGet, fmt.Sprintf("chirograph-internal-crash/w%d%s", w, suffix), nil)
			if err != nil {
				t.Fatal(err)
			}
			if status == http.StatusNotFound && (suffix != "" || acked[w] == 0) {
				continue
			}
			if status != http.StatusOK {
				t.Fatalf("worker %d: %d %s", w, status, b)
			}
			n := int(binary.BigEndian.Uint64(b[8:]))
			if !bytes.Equal(b, crashContent(w, n)) {
				t.Fatalf("worker %d: version %d is not whole", w, n)
			}
			if suffix == "" && n < acked[w] {
				t.Fatalf("worker %d: version %d where %d was acknowledged", w, n, acked[w])
			}
		}
	}
	// The collector finds everything: as many files as the index refers to.
	f := &fixture{Service: s}
	if err := s.scanFiles(t.Context()); err != nil {
		t.Fatal(err)
	}
	files := f.partFiles(t)
	var referred int
	if err := s.index.r.QueryRowContext(t.Context(), `SELECT count(DISTINCT file) FROM extent`).Scan(&referred); err != nil {
		t.Fatal(err)
	}
	if files != referred {
		t.Fatalf("%d part files, the index refers to %d", files, referred)
	}
}
