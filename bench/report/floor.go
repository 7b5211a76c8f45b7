package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/acmpca/types"
	"golang.org/x/sync/errgroup"

	"chirograph.dev/internal/bench"

	"chirograph.dev/internal/certlog"
	"chirograph.dev/internal/certlog/rendering"
)

// What the floor is measured with: more would show nothing else.
const (
	floorBlocks = 48      // 786,432 rows
	floorBytes  = 1 << 30 // that are written
)

// floors is the least that a report of all rows takes on this machine: render
// is rendering and hashing rows that are in memory already, on all processors,
// and write is putting as many bytes to the disk and syncing them. Both are taken
// from a part of the rows when there are many.
type floors struct {
	rows          uint64
	render, write float64 // seconds for all rows
	renderCPU     float64 // microseconds for each row
	bytesPerRow   float64
}

// seconds is what neither can be left out of a report that is written at once
// with the rendering.
func (f *floors) seconds() float64 { return max(f.render, f.write) }

// measureFloors reads the store of a server that is not running.
func measureFloors(ctx context.Context, s *target, dir string, format types.AuditReportResponseFormat) (f *floors, err error) {
	bundles, err := readBundles(ctx, s)
	if err != nil {
		return nil, err
	}
	f = &floors{rows: s.certificates}
	var rows, size atomic.Int64
	var next atomic.Int64
	start, before := time.Now(), bench.OwnCPU()
	var g errgroup.Group
	for range runtime.GOMAXPROCS(0) {
		g.Go(func() error {
			var buf []byte
			for {
				i := int(next.Add(1)) - 1
				if i >= len(bundles) {
					return nil
				}
				n := 0
				if buf, n, err = renderBundle(buf[:0], bundles[i], []byte(s.ca), format); err != nil {
					return err
				}
				_ = sha256.Sum256(buf)
				rows.Add(int64(n))
				size.Add(int64(len(buf)))
			}
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	cpu := bench.OwnCPU() - before
	if rows.Load() == 0 {
		return nil, errors.New("the log has no certificates at its begin")
	}
	n := float64(rows.Load())
	f.renderCPU = float64(cpu.Nanoseconds()) / 1e3 / n
	f.render = time.Since(start).Seconds() * float64(s.certificates) / n
	f.bytesPerRow = float64(size.Load()) / n
	f.write, err = writePlainly(filepath.Join(dir, "plain"), int64(f.bytesPerRow*float64(s.certificates)))
	return f, err
}

func readBundles(ctx context.Context, s *target) (bundles [][]byte, err error) {
	db, err := bench.OpenStopped(ctx, s.data)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	ca := path.Base(s.ca)
	head, err := db.LogHead(ctx, ca)
	if err != nil {
		return nil, err
	}
	for lo := uint64(0); lo < head.Size && len(bundles) < floorBlocks; lo += certlog.BlockSize {
		b, err := db.AppendLogBundle(ctx, nil, ca, lo, min(lo+certlog.BlockSize, head.Size))
		if err != nil {
			return nil, err
		}
		bundles = append(bundles, b)
	}
	return bundles, nil
}

func renderBundle(dst, bundle, ca []byte, format types.AuditReportResponseFormat) (_ []byte, rows int, err error) {
	var entry certlog.Entry
	var row rendering.Row
	var encoder rendering.Encoder
	for {
		b, rest, ok := certlog.CutBundled(bundle)
		if !ok {
			return dst, rows, nil
		}
		bundle = rest
		if err := entry.Decode(b); err != nil {
			return nil, 0, err
		}
		if entry.Type != certlog.TypeIssue {
			continue
		}
		row.Issued(&entry, ca)
		if format == types.AuditReportResponseFormatCsv {
			dst = encoder.AppendCSV(dst, &row)
		} else {
			dst = append(dst, rendering.JSONSeparator...)
			dst = encoder.AppendJSON(dst, &row)
		}
		rows++
	}
}

// writePlainly is the seconds of writing so many bytes to a file in one go and
// syncing it. The bytes are of a report's kind of entropy for the disk: none is 0.
func writePlainly(name string, size int64) (seconds float64, err error) {
	f, err := os.Create(name)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, f.Close(), os.Remove(name)) }()
	chunk := make([]byte, 1<<20)
	for i := range chunk {
		chunk[i] = byte('a' + i*7%26)
	}
	written := int64(0)
	start := time.Now()
	for written < min(size, floorBytes) {
		n, err := f.Write(chunk[:min(int64(len(chunk)), size-written)])
		if err != nil {
			return 0, fmt.Errorf("writing plainly: %w", err)
		}
		written += int64(n)
	}
	if err := f.Sync(); err != nil {
		return 0, fmt.Errorf("writing plainly: %w", err)
	}
	return time.Since(start).Seconds() * float64(size) / float64(max(written, 1)), nil
}
