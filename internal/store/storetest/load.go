package storetest

import (
	"bufio"
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"chirograph.dev/internal/certlog"
	"chirograph.dev/internal/store"
)

// loadCAs is the number of logs that Load appends to.
const loadCAs = 2

// Load is the work of a process that is to be killed: callers append to
// several logs, which are sealed meanwhile, and every answer goes to w, one
// line in one write: CA, index, and the serial or "revoke" with the index of
// the certificate. It ends when ctx does, or with the first error.
func Load(ctx context.Context, e interface {
	certlog.Store
	certlog.Sealer
}, w io.Writer) error {
	ctx, cancel := context.WithCancelCause(ctx)
	log := certlog.New(certlog.Config{Store: e})
	var wg sync.WaitGroup
	wg.Go(func() { cancel(log.Run(ctx)) })
	var out sync.Mutex
	for c := range 16 {
		wg.Go(func() {
			rnd := rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), uint64(c)))
			ca := caID(c % loadCAs)
			var serial []byte
			var index uint64
			for i := 0; ctx.Err() == nil; i++ {
				at := time.Now().UnixMilli()
				r := Issue(ca, rnd, at)
				what := ""
				if i%5 == 4 {
					r, what = Revoke(ca, serial, index, at), fmt.Sprint("revoke ", index)
				} else {
					serial = r.Rows[0].(*store.Certificate).Serial
					what = hex.EncodeToString(serial)
				}
				n, err := log.Append(ctx, ca, r)
				if err != nil {
					cancel(err)
					return
				}
				if i%5 != 4 {
					index = n
				}
				out.Lock()
				_, err = fmt.Fprintf(w, "%s %d %s\n", ca, n, what)
				out.Unlock()
				if err != nil {
					cancel(err)
					return
				}
			}
		})
	}
	wg.Wait()
	if err := context.Cause(ctx); err != context.Canceled {
		return err
	}
	return nil
}

// CheckLoad compares a store with what Load wrote before it was killed, in
// one run or in several: every answer is true, and the logs verify. It gives
// the number of answers. A last line that is cut off was no answer.
func CheckLoad(t *testing.T, e Engine, answers io.Reader) int {
	t.Helper()
	n := 0
	lines := bufio.NewReader(answers)
	for {
		line, err := lines.ReadString('\n')
		if err != nil {
			break
		}
		var ca, what string
		var index, revoked uint64
		if _, err := fmt.Sscan(line, &ca, &index, &what); err != nil {
			t.Fatalf("answer %q: %v", line, err)
		}
		n++
		if what == "revoke" {
			if _, err := fmt.Sscan(line, &ca, &index, &what, &revoked); err != nil {
				t.Fatalf("answer %q: %v", line, err)
			}
			stored := false
			err := e.Revocations(t.Context(), ca, revoked, revoked+1, index+1, func(r store.Revocation) error {
				stored = r.RevokeIndex == index
				return nil
			})
			if err != nil || !stored {
				t.Fatalf("acknowledged %q, stored: %t (%v)", line, stored, err)
			}
			continue
		}
		serial, err := hex.DecodeString(what)
		if err != nil {
			t.Fatalf("answer %q: %v", line, err)
		}
		if c, err := e.Certificate(t.Context(), ca, serial); err != nil || c.Index != index {
			t.Fatalf("acknowledged %q, stored %+v (%v)", line, c, err)
		}
	}
	for i := range loadCAs {
		Verify(t, e, caID(i))
	}
	return n
}
