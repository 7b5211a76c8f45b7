// Command crl measures CRLs: how long it takes to make, sign and store one of
// many entries, and what one more revocation costs.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"time"

	"chirograph.dev/internal/bench"
)

func main() { newProgram().Main() }

type options struct {
	entries bench.Counts
	beside  uint64
	delta   int
}

func newProgram() *bench.Program {
	o := options{entries: bench.Counts{100_000, 1_000_000}, beside: 200_000, delta: 5}
	return &bench.Program{
		Name: "crl", Unit: "entries",
		Floor: "hashing the same CRL with SHA-256 and writing it to a file, with one sync",
		Help: `crl measures CRLs, without HTTP, of a seeded CA with a P-256 key, three quarters of whose
certificates are revoked. Each CRL is made from the store, signed, an entry of the
log, kept in a file and written to the embedded bucket service. "again" is the same
after one more revocation. "delta" is the CPU time and the seconds until a delta CRL
with one more revocation is in the bucket, for each of its entries; the server
looks for revocations once a second, and rests after making a CRL.
CRLs of the same entries by Go's x509 package and by openssl ca -gencrl, when it is
there, are made for up to --beside entries and written to a file.
With its defaults it takes about two minutes, and two gigabytes of disk.`,
		Flags: func(set *flag.FlagSet) {
			set.Var(&o.entries, "entries", "sizes of the CRL, separated by commas")
			bench.Count(set, &o.beside, "beside", "entries up to which others make the same CRL; 0: none")
			set.IntVar(&o.delta, "deltas", o.delta, "how many delta CRLs are waited for; 0: none")
		},
		Measure: func(ctx context.Context, r *bench.Run) error {
			binary, err := bench.Build(r.Dir)
			if err != nil {
				return err
			}
			for _, n := range o.entries {
				if err := measure(ctx, r, o, binary, n); err != nil {
					return fmt.Errorf("%d entries: %w", n, err)
				}
			}
			return nil
		},
	}
}

func measure(ctx context.Context, r *bench.Run, o options, binary string, n uint64) (err error) {
	dir := filepath.Join(r.Dir, fmt.Sprint(n))
	data := filepath.Join(dir, "data")
	arn, err := bench.MakeStore(ctx, binary, data, bucketName)
	if err != nil {
		return err
	}
	// Now and then none is found that can be revoked; so there are some more.
	if err := (bench.Seeding{DataDir: data, CA: arn, Certificates: n + 2*n/3, Revoked: 0.75}).Run(ctx); err != nil {
		return err
	}
	h, err := openHouse(ctx, data, arn, false)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, h.close()) }()
	if err := h.configure(ctx); err != nil {
		return err
	}
	var first bench.Result
	for _, what := range []string{"first", "again"} {
		if what == "again" {
			if err := h.revokeOne(ctx); err != nil {
				return err
			}
		}
		res, err := h.publish(ctx, what)
		if err != nil {
			return err
		}
		if res.FloorCPU, res.FloorSeconds, err = floor(dir, h.file()); err != nil {
			return err
		}
		res.FloorCPU *= 1e6 / res.Units
		r.Report(res)
		if what == "first" {
			first = res
		}
	}
	list := first
	if uint64(list.Units) <= o.beside {
		if err := beside(ctx, r, h, dir, list); err != nil {
			return err
		}
	}
	if err := r.Peer(ctx, list, "CHIROGRAPH_BENCH_CRL="+h.file()); err != nil {
		return err
	}
	return deltas(ctx, r, o, h, data, arn)
}

// deltas measures from a revocation to the delta CRL that has it.
func deltas(ctx context.Context, r *bench.Run, o options, h *house, data, arn string) (err error) {
	if o.delta == 0 {
		return nil
	}
	if err := h.serve(true); err != nil {
		return err
	}
	if err := h.lists.Publish(ctx, h.id); err != nil { // with the URI of the delta
		return err
	}
	running, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- h.lists.Run(running) }()
	defer func() {
		stop()
		err = errors.Join(err, <-ended)
	}()
	begun, cpu := time.Now(), bench.OwnCPU()
	var entries uint64
	for range o.delta {
		if err := h.revokeOne(ctx); err != nil {
			return err
		}
		if entries, err = h.deltaWith(ctx, entries+1); err != nil {
			return err
		}
	}
	n := float64(o.delta)
	r.Report(bench.Result{What: "delta CRLs", Units: n, Seconds: time.Since(begun).Seconds(), CPU: (bench.OwnCPU() - cpu).Seconds() * 1e6 / n, Size: uint64(h.entries)})
	return nil
}

// resetPeak has the peak of this process's memory counted from now on, where
// the kernel does.
func resetPeak() {
	debug.FreeOSMemory()
	_ = os.WriteFile("/proc/self/clear_refs", []byte("5"), 0) // elsewhere the peak is that of the whole run
}

// floor hashes a file's bytes and writes them. It gives seconds.
func floor(dir, path string) (cpu, seconds float64, err error) {
	body, err := os.ReadFile(path)
	if err != nil {
		return 0, 0, err
	}
	return timed(func() error { return hashAndWrite(filepath.Join(dir, "floor"), body) })
}

func timed(f func() error) (cpu, seconds float64, err error) {
	begun, before := time.Now(), bench.OwnCPU()
	err = f()
	return (bench.OwnCPU() - before).Seconds(), time.Since(begun).Seconds(), err
}

// beside has others make a list of the same entries.
func beside(ctx context.Context, r *bench.Run, h *house, dir string, ours bench.Result) error {
	report := func(what string, u bench.Usage) {
		res := bench.Result{What: what, Units: ours.Units, Size: ours.Size, Seconds: u.Seconds, CPU: u.CPU * 1e6 / ours.Units, Peak: u.Peak, Peer: &bench.Peer{Command: what}}
		res.Peer.RatioSeconds, res.Peer.RatioCPU = u.Seconds/ours.Seconds, res.CPU/ours.CPU
		r.Report(res)
	}
	entries, err := h.read()
	if err != nil {
		return err
	}
	u, err := goCRL(filepath.Join(dir, "go.crl"), entries)
	if err != nil {
		return err
	}
	report("Go's x509.CreateRevocationList", u)
	if _, err := exec.LookPath("openssl"); err != nil {
		r.Note("openssl is not there")
		return nil
	}
	if u, err = openSSL(ctx, filepath.Join(dir, "openssl"), entries); err != nil {
		return err
	}
	report("openssl ca -gencrl", u)
	return nil
}
