// Command issue measures durable issuance: P-256 certificates over HTTP with
// Signature V4, against the real server in its own process, and prints the
// server's CPU time per certificate as a ratio to the floor: checking a CSR and
// signing once, measured on the same machine in the same run.
package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"flag"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"chirograph.dev/internal/bench"
)

func main() {
	log.SetFlags(0)
	log.SetPrefix("issue: ")
	duration := flag.Duration("duration", 5*time.Second, "how long each number of connections is measured")
	connections := flag.String("connections", "1,16,64", "numbers of connections, separated by commas")
	output := flag.String("output", "text", "text or json")
	flag.Usage = func() {
		fmt.Fprintln(flag.CommandLine.Output(), "issue measures durable P-256 issuance over HTTP with Signature V4.\n\nFlags:")
		flag.PrintDefaults()
	}
	flag.Parse()
	var conns []int
	for _, s := range strings.Split(*connections, ",") {
		n, err := strconv.Atoi(s)
		if err != nil || n < 1 {
			log.Fatalf("-connections: %q is not a number of connections", s)
		}
		conns = append(conns, n)
	}
	if err := run(context.Background(), *duration, conns, *output); err != nil {
		log.Fatal(err)
	}
}

// result is one line of the table.
type result struct {
	Connections     int     `json:"connections"`
	PerSecond       float64 `json:"certificatesPerSecond"`
	P50Milliseconds float64 `json:"p50Milliseconds"`
	P99Milliseconds float64 `json:"p99Milliseconds"`
	ServerCPU       float64 `json:"serverCPUMicrosecondsPerCertificate"`
	Ratio           float64 `json:"ratioToFloor"`
}

func run(ctx context.Context, duration time.Duration, conns []int, output string) error {
	dir, err := os.MkdirTemp("", "chirograph-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	binary, err := bench.Build(dir)
	if err != nil {
		return err
	}
	csrs, err := bench.CSRs(512)
	if err != nil {
		return err
	}
	s, err := bench.Start(ctx, binary, filepath.Join(dir, "data"))
	if err != nil {
		return err
	}
	defer s.Stop()
	ca, err := s.MakeCA(ctx)
	if err != nil {
		return err
	}
	// The floor is taken before and after the runs: the machine may be shared.
	before, err := floor(csrs)
	if err != nil {
		return err
	}
	if _, err := load(ctx, s, ca, csrs, 8, time.Second); err != nil { // warm up
		return err
	}
	var results []result
	for _, n := range conns {
		r, err := load(ctx, s, ca, csrs, n, duration)
		if err != nil {
			return err
		}
		results = append(results, r)
	}
	after, err := floor(csrs)
	if err != nil {
		return err
	}
	mean := (before + after) / 2
	for i := range results {
		results[i].Ratio = results[i].ServerCPU / mean
	}
	if output == "json" {
		e := json.NewEncoder(os.Stdout)
		e.SetIndent("", "  ")
		return e.Encode(map[string]any{"machine": bench.Machine(), "floorMicroseconds": mean, "results": results})
	}
	fmt.Printf("%s\nfloor (check a CSR and sign once, P-256, on every CPU at once): %.0f us of CPU (before %.0f, after %.0f)\n\n", bench.Machine(), mean, before, after)
	fmt.Printf("%11s %15s %9s %9s %18s %9s\n", "connections", "certificates/s", "p50 ms", "p99 ms", "server CPU us/cert", "x floor")
	for _, r := range results {
		fmt.Printf("%11d %15.0f %9.2f %9.2f %18.0f %9.2f\n", r.Connections, r.PerSecond, r.P50Milliseconds, r.P99Milliseconds, r.ServerCPU, r.Ratio)
	}
	fmt.Println("\nEvery certificate is synced to disk before it is answered; the client runs on the same processors.")
	return nil
}

// floor is the CPU time in microseconds of what nobody can leave out: parsing
// and checking the CSR, and one signature. Every processor does it at once, as
// in the runs: processors that share a core are slower then.
func floor(csrs [][]byte) (float64, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return 0, err
	}
	const rounds = 6000
	before, err := ownCPU()
	if err != nil {
		return 0, err
	}
	var g errgroup.Group
	for range runtime.NumCPU() {
		g.Go(func() error {
			for i := range rounds {
				block, _ := pem.Decode(csrs[i%len(csrs)])
				csr, err := x509.ParseCertificateRequest(block.Bytes)
				if err != nil {
					return err
				}
				if err := csr.CheckSignature(); err != nil {
					return err
				}
				digest := sha256.Sum256(block.Bytes)
				if _, err := key.Sign(rand.Reader, digest[:], nil); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return 0, err
	}
	after, err := ownCPU()
	return float64((after - before).Microseconds()) / float64(rounds*runtime.NumCPU()), err
}

// ownCPU is the CPU time of this process.
func ownCPU() (time.Duration, error) {
	var u syscall.Rusage
	err := syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()), err
}

// load keeps n connections busy for the duration.
func load(ctx context.Context, s *bench.Server, ca string, csrs [][]byte, n int, duration time.Duration) (result, error) {
	issuer, err := s.Issuer(ctx, ca, csrs, n)
	if err != nil {
		return result{}, err
	}
	defer issuer.Close()
	var mu sync.Mutex
	var latencies []time.Duration
	var failure error
	user, system, err := s.CPU()
	if err != nil {
		return result{}, err
	}
	start := time.Now()
	var wg sync.WaitGroup
	for range n {
		wg.Go(func() {
			var mine []time.Duration
			for time.Since(start) < duration {
				began := time.Now()
				if err := issuer.Issue(ctx); err != nil {
					mu.Lock()
					failure = err
					mu.Unlock()
					return
				}
				mine = append(mine, time.Since(began))
			}
			mu.Lock()
			latencies = append(latencies, mine...)
			mu.Unlock()
		})
	}
	wg.Wait()
	wall := time.Since(start)
	if failure != nil {
		return result{}, failure
	}
	userAfter, systemAfter, err := s.CPU()
	if err != nil {
		return result{}, err
	}
	slices.Sort(latencies)
	count := len(latencies)
	ms := func(p int) float64 { return float64(latencies[(count-1)*p/100].Microseconds()) / 1e3 }
	return result{
		Connections:     n,
		PerSecond:       float64(count) / wall.Seconds(),
		P50Milliseconds: ms(50), P99Milliseconds: ms(99),
		ServerCPU: float64((userAfter + systemAfter - user - system).Microseconds()) / float64(count),
	}, nil
}
