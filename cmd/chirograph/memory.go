package main

import (
	"context"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// leastMemory is the Go heap that the collector lets a process grow to without
// working harder: a server that writes a report of any size stays below it.
const leastMemory = 112 << 20

// keepSmall holds the collector to leastMemory, or to one and a half times what
// is really in use when that is more, so that a large installation is not
// slowed down. Below that it lets garbage be: left alone, the collector would
// double whatever is in use, which is too much for a report and, with the few
// megabytes that issuing needs, a collection every few hundred certificates.
// GOMEMLIMIT or GOGC in the environment win.
func keepSmall(ctx context.Context) {
	if os.Getenv("GOMEMLIMIT") != "" || os.Getenv("GOGC") != "" {
		return
	}
	debug.SetGCPercent(400)
	live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	limit := int64(leastMemory)
	debug.SetMemoryLimit(limit)
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		metrics.Read(live)
		if now := max(leastMemory, int64(live[0].Value.Uint64())*3/2); now != limit {
			limit = now
			debug.SetMemoryLimit(limit)
		}
	}
}

// spareThreads is how many threads may wait for a processor without anybody
// waiting for them: those that write a report give way to the others.
const spareThreads = 4

// spareProcessors lets the system share the processors, and not the language's
// scheduler, which would let a report that is written have one for 10 ms at a
// time. GOMAXPROCS in the environment wins.
func spareProcessors() {
	if os.Getenv("GOMAXPROCS") == "" {
		runtime.GOMAXPROCS(runtime.GOMAXPROCS(0) + spareThreads)
	}
}
