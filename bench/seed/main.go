// Command seed fills the CA of a data folder whose server is not running with
// certificates, for tests and benchmarks: real log, tree and packs, millions of
// certificates a minute.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"time"

	"chirograph.dev/internal/bench"
)

func main() {
	log.SetFlags(0)
	log.SetPrefix("seed: ")
	dataDir := flag.String("data-dir", "", "the server's data folder")
	ca := flag.String("ca", "", "ARN of the certificate authority")
	n := flag.Uint64("certificates", 1_000_000, "how many certificates to add")
	revoked := flag.Float64("revoked", 0.02, "part of them that is revoked")
	flag.Usage = func() {
		fmt.Fprintln(flag.CommandLine.Output(), "seed fills a CA with certificates while its server is stopped.\n\nFlags:")
		flag.PrintDefaults()
	}
	flag.Parse()
	if *dataDir == "" || *ca == "" || *revoked < 0 || *revoked > 0.5 {
		log.Fatal("give -data-dir and -ca, and a -revoked from 0 to 0.5")
	}
	start := time.Now()
	if err := bench.Seed(context.Background(), *dataDir, *ca, *n, *revoked); err != nil {
		log.Fatal(err)
	}
	took := time.Since(start)
	fmt.Printf("%d certificates in %.1f s: %.1f million a minute\n", *n, took.Seconds(), float64(*n)/took.Minutes()/1e6)
}
