package sqlite

import (
	"context"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"chirograph.dev/internal/certlog"
	"chirograph.dev/internal/store"
	"chirograph.dev/internal/store/storetest"
)

// BenchmarkAppend issues certificates through the log, durably: entries of
// 236 bytes and DERs of 900. With sealing, the log starts just below a full
// block, and sealing runs beside the appends.
func BenchmarkAppend(b *testing.B) {
	for _, sealing := range []bool{false, true} {
		for _, callers := range []int{1, 16, 64} {
			b.Run(fmt.Sprintf("callers=%d/sealing=%v", callers, sealing), func(b *testing.B) { benchmarkAppend(b, callers, sealing) })
		}
	}
}

func benchmarkAppend(b *testing.B, callers int, sealing bool) {
	db := openDB(b, Config{Path: newPath(b)})
	const ca = "11111111-2222-4333-8444-555555555555"
	log := certlog.New(certlog.Config{Store: db})
	ctx, stop := context.WithCancel(context.Background())
	var background sync.WaitGroup
	if sealing {
		seed(b, db, ca, certlog.BlockSize-1)
		background.Go(func() {
			if err := log.Run(ctx); err != nil {
				b.Error(err)
			}
		})
	}
	rnd := rand.New(rand.NewPCG(1, uint64(time.Now().UnixNano())))
	start := time.Now().UnixMilli()
	records := make([]certlog.Record, b.N)
	for i := range records {
		records[i] = storetest.Issue(ca, rnd, start+int64(i/20))
	}
	latency := make([]time.Duration, b.N)
	runtime.GC()
	cpu := cpuTime()
	b.ResetTimer()
	var wg sync.WaitGroup
	for c := range callers {
		wg.Go(func() {
			for i := c; i < b.N; i += callers {
				t := time.Now()
				if _, err := log.Append(context.Background(), ca, records[i]); err != nil {
					b.Error(err)
					return
				}
				latency[i] = time.Since(t)
			}
		})
	}
	wg.Wait()
	b.StopTimer()
	cpu = cpuTime() - cpu
	stop()
	background.Wait()
	slices.Sort(latency)
	n := float64(b.N)
	b.ReportMetric(n/b.Elapsed().Seconds(), "certs/s")
	b.ReportMetric(float64(cpu.Microseconds())/n, "cpu-us/cert")
	b.ReportMetric(float64(latency[b.N/2].Microseconds()), "p50-us")
	b.ReportMetric(float64(latency[b.N*99/100].Microseconds()), "p99-us")
	b.ReportMetric(float64(latency[b.N-1].Microseconds()), "max-us")
	b.ReportMetric(0, "ns/op")
}

// BenchmarkLogEntries reads sealed blocks, and decodes each entry, as reports do.
func BenchmarkLogEntries(b *testing.B) {
	db := openDB(b, Config{Path: newPath(b)})
	const blocks = 4
	for range blocks {
		seed(b, db, "ca", certlog.BlockSize)
	}
	for _, decode := range []bool{false, true} {
		for _, readers := range []int{1, 2} {
			b.Run(fmt.Sprintf("decode=%v/readers=%d", decode, readers), func(b *testing.B) {
				b.ReportAllocs()
				cpu := cpuTime()
				var wg sync.WaitGroup
				for r := range readers {
					wg.Go(func() {
						var e certlog.Entry
						for i := r; i < b.N; i += readers {
							lo := uint64(i%blocks) * certlog.BlockSize
							err := db.LogEntries(b.Context(), "ca", lo, lo+certlog.BlockSize, func(_ uint64, entry []byte) error {
								if !decode {
									return nil
								}
								return e.Decode(entry)
							})
							if err != nil {
								b.Error(err)
								return
							}
						}
					})
				}
				wg.Wait()
				n := float64(b.N * certlog.BlockSize)
				b.ReportMetric(n/b.Elapsed().Seconds()/1e6, "M-entries/s")
				b.ReportMetric(float64((cpuTime()-cpu).Nanoseconds())/n, "cpu-ns/entry")
			})
		}
	}
}

// BenchmarkCertificate reads single certificates, out of the tail and out of packs.
func BenchmarkCertificate(b *testing.B) {
	db := openDB(b, Config{Path: newPath(b)})
	packed := seed(b, db, "ca", certlog.BlockSize)
	tail := seed(b, db, "ca", certlog.BlockSize/2)
	for name, serials := range map[string][][]byte{"tail": tail, "pack": packed} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				if _, err := db.Certificate(b.Context(), "ca", serials[i%len(serials)]); err != nil {
					b.Fatal(err)
				}
				i += 7919
			}
		})
	}
}

// BenchmarkRevoked reads revocations as CRLs have them: those of a CA, and those
// bound to a list.
func BenchmarkRevoked(b *testing.B) {
	db := openDB(b, Config{Path: newPath(b)})
	const n = 100_000
	const ca = "11111111-2222-4333-8444-555555555555"
	rnd := rand.New(rand.NewPCG(1, 1))
	err := db.write(b.Context(), func(c *conn) error {
		for i := range uint64(n) {
			at := int64(1_790_000_000_000 + i)
			r := store.Revoked{Serial: storetest.Serial(rnd, at), NotAfter: at + 86400_000, Time: at, Reason: 4, RevokeIndex: 3 * i, CRL: 1}
			if err := insertRevokedBytes(c, ca, &r); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
	for name, crl := range map[string]int64{"all": 0, "bound": 1} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			read := 0
			cpu := cpuTime()
			for b.Loop() {
				if err := db.Revoked(b.Context(), ca, crl, 0, 3*n, func(*store.Revoked) error { read++; return nil }); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64((cpuTime()-cpu).Nanoseconds())/float64(read), "cpu-ns/revoked")
		})
	}
}

// BenchmarkSeedPacked fills a store with whole blocks; packing and writing are
// measured apart.
func BenchmarkSeedPacked(b *testing.B) {
	db := openDB(b, Config{Path: newPath(b), Bulk: true})
	rnd := rand.New(rand.NewPCG(1, 1))
	n := 0
	var pack, write time.Duration
	for b.Loop() {
		records := make([]certlog.Record, certlog.BlockSize)
		for i := range records {
			records[i] = storetest.Issue("ca", rnd, int64(n*certlog.BlockSize+i))
		}
		n++
		begin := cpuTime()
		block, err := db.PackBlock(records)
		packed := cpuTime()
		if err == nil {
			_, err = db.SeedPacked(b.Context(), "ca", block)
		}
		if err != nil {
			b.Fatal(err)
		}
		pack, write = pack+packed-begin, write+cpuTime()-packed
	}
	certs := float64(n * certlog.BlockSize)
	b.ReportMetric(float64(pack.Nanoseconds())/certs, "pack-cpu-ns/cert")
	b.ReportMetric(float64(write.Nanoseconds())/certs, "write-cpu-ns/cert")
	var bytes int64
	err := db.one(context.Background(), func(r *rows) { bytes = r.int(0) }, "SELECT (SELECT sum(length(bytes)) FROM log_pack) + (SELECT sum(length(bytes)) FROM der_pack)")
	if err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(bytes)/certs, "packed-B/cert")
	var pages int64
	if err := db.one(context.Background(), func(r *rows) { pages = r.int(0) }, "PRAGMA page_count"); err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(pages*pageSize)/certs, "file-B/cert")
}
