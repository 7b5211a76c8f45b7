// Command search measures the index of certificates: how quickly it is made from a
// log, how large it is, and how long searches and statistics take.
package main

import (
	"context"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path"
	"path/filepath"
	"time"

	"chirograph.dev/internal/bench"
	"chirograph.dev/internal/inventory"
)

func main() { newProgram().Main() }

func newProgram() *bench.Program {
	duration := 2 * time.Second
	sizes := bench.Counts{1_000_000}
	return &bench.Program{
		Name: "search", Unit: "searches",
		Floor: "reading one certificate's row by its primary key, out of the same store",
		Help: `search measures the index of certificates that the console searches, without HTTP:
making it from the log of a seeded CA, 2 % of it revoked; then pages of 50 for searches
of each kind, one after the other, and the statistics.
With its defaults it takes about a minute, and half a gigabyte of disk; ten million
certificates (--certificates 10M) need some five minutes and four gigabytes.`,
		Flags: func(set *flag.FlagSet) {
			set.DurationVar(&duration, "duration", duration, "how long each kind of search is measured")
			set.Var(&sizes, "certificates", "sizes of the CA, separated by commas")
		},
		Measure: func(ctx context.Context, r *bench.Run) error {
			binary, err := bench.Build(r.Dir)
			if err != nil {
				return err
			}
			for _, n := range sizes {
				if err := measure(ctx, r, binary, n, duration); err != nil {
					return fmt.Errorf("%d certificates: %w", n, err)
				}
			}
			return nil
		},
	}
}

func measure(ctx context.Context, r *bench.Run, binary string, n uint64, duration time.Duration) (err error) {
	data := filepath.Join(r.Dir, fmt.Sprint(n))
	arn, err := bench.MakeStore(ctx, binary, data, "")
	if err != nil {
		return err
	}
	if err := (bench.Seeding{DataDir: data, CA: arn, Certificates: n, Revoked: 0.02, Dates: 60 * 24 * time.Hour}).Run(ctx); err != nil {
		return err
	}
	serials, err := bench.Serials(ctx, data, arn, 10_000)
	if err != nil {
		return err
	}
	db, err := bench.OpenStopped(ctx, data)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	ca := path.Base(arn)
	// The server that made the CA left an index of it.
	file := filepath.Join(r.Dir, fmt.Sprintf("inventory-%d.db", n))
	x, err := inventory.Open(ctx, inventory.Config{Path: file, Logs: db, Certificates: db, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, x.Close()) }()
	if err := build(ctx, r, x, ca, n, file); err != nil {
		return err
	}

	next := 0
	serial := func() []byte {
		next++
		return serials[next%len(serials)]
	}
	lookUp := func(ctx context.Context) error {
		_, _, err := db.CertificateStatus(ctx, ca, serial())
		return err
	}
	number := func() string { return fmt.Sprintf("%010d", 2+rand.Uint64N(n)) }
	now := time.Now()
	soon := func() time.Time { return now.Add(30*24*time.Hour + rand.N(60*24*time.Hour)) }
	template := "arn:aws:acm-pca:::template/EndEntityCertificate/V1"
	for _, k := range []struct {
		what  string
		query func() inventory.Query
	}{
		{"newest", func() inventory.Query { return inventory.Query{} }},
		{"host name", func() inventory.Query { return inventory.Query{Subject: "host-" + number() + ".seed.example.com"} }},
		{"beginning of a host name", func() inventory.Query { return inventory.Query{Subject: "host-" + number()[:8]} }},
		{"words of all subjects", func() inventory.Query { return inventory.Query{Subject: "sales example company"} }},
		{"words that none has", func() inventory.Query { return inventory.Query{Subject: "example.com nobody" + number()} }},
		{"serial", func() inventory.Query { return inventory.Query{Serial: hex.EncodeToString(serial())} }},
		{"beginning of a serial", func() inventory.Query { return inventory.Query{Serial: hex.EncodeToString(serial())[:11]} }},
		{"revoked", func() inventory.Query { return inventory.Query{Status: inventory.Revoked} }},
		{"expired, which none is", func() inventory.Query { return inventory.Query{Status: inventory.Expired} }},
		{"template", func() inventory.Query { return inventory.Query{TemplateARN: template} }},
		{"template that none has", func() inventory.Query { return inventory.Query{TemplateARN: template + number()} }},
		{"issued in a second", func() inventory.Query {
			at := now.Add(-time.Duration(rand.Uint64N(n)) * time.Millisecond)
			return inventory.Query{IssuedFrom: at, IssuedTo: at.Add(time.Second)}
		}},
		{"expires on a day", func() inventory.Query {
			at := soon().UTC().Truncate(24 * time.Hour)
			return inventory.Query{ExpiresFrom: at, ExpiresTo: at.Add(24 * time.Hour)}
		}},
		{"expires in a minute", func() inventory.Query {
			at := soon()
			return inventory.Query{ExpiresFrom: at, ExpiresTo: at.Add(time.Minute)}
		}},
		{"all together, few", func() inventory.Query {
			at := soon()
			return inventory.Query{Status: inventory.Revoked, TemplateARN: template, Subject: "host-" + number()[:7] + " example", ExpiresFrom: at, ExpiresTo: at.Add(24 * time.Hour), IssuedFrom: now.Add(-24 * time.Hour)}
		}},
		{"all together, many", func() inventory.Query {
			return inventory.Query{Status: inventory.Valid, TemplateARN: template, Subject: "host example", ExpiresFrom: now, ExpiresTo: now.Add(60 * 24 * time.Hour), IssuedFrom: now.Add(-24 * time.Hour)}
		}},
	} {
		rest, rows := 0, 0
		err := search(ctx, r, k.what, n, duration, lookUp, func(ctx context.Context) error {
			q := k.query()
			q.CA = ca
			p, err := x.Search(ctx, q)
			if err == nil {
				rows += len(p.Certificates)
			}
			if err == nil && len(p.Certificates) < 50 && p.Cursor != "" {
				rest++
			}
			return err
		})
		if err != nil {
			return err
		}
		if rest > 0 {
			r.Note("%d of them ran out of their time and are to be continued", rest)
		}
	}
	err = search(ctx, r, "statistics", n, duration, lookUp, func(ctx context.Context) error {
		_, err := x.Statistics(ctx, ca)
		return err
	})
	if err != nil {
		return err
	}
	return search(ctx, r, "counts", n, duration, lookUp, func(ctx context.Context) error {
		_, err := x.Counts(ctx, ca)
		return err
	})
}

// search measures one kind of search, and the floor after it.
func search(ctx context.Context, r *bench.Run, what string, n uint64, duration time.Duration, floor, call func(ctx context.Context) error) error {
	if _, err := bench.Load(ctx, 1, duration/4, cpu, call); err != nil { // warm up
		return err
	}
	res, err := bench.Load(ctx, 1, duration, cpu, call)
	if err != nil {
		return err
	}
	least, err := bench.Load(ctx, 1, duration/4, cpu, floor)
	if err != nil {
		return err
	}
	res.What, res.Size, res.FloorCPU = what, n, least.CPU
	r.Report(res)
	return nil
}

// cpu is the clock of this process.
func cpu() (user, system time.Duration, err error) { return bench.OwnCPU(), 0, nil }

// build has the index made, and measures that.
func build(ctx context.Context, r *bench.Run, x *inventory.Index, ca string, n uint64, file string) error {
	began, used := time.Now(), bench.OwnCPU()
	following, stop := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- x.Run(following) }()
	var err error
	for behind := true; behind && err == nil && ctx.Err() == nil; {
		time.Sleep(5 * time.Millisecond)
		var c inventory.Counts
		c, err = x.Counts(ctx, ca)
		behind = c.Behind > 0
	}
	seconds := time.Since(began).Seconds()
	used = bench.OwnCPU() - used
	stop()
	if err := errors.Join(err, <-done, ctx.Err()); err != nil {
		return err
	}
	var size int64
	for _, suffix := range []string{"", "-wal"} {
		info, err := os.Stat(file + suffix)
		if err != nil {
			return err
		}
		size += info.Size()
	}
	r.Report(bench.Result{What: "making the index (certificates)", Size: n, Units: float64(n), Seconds: seconds, CPU: float64(used.Microseconds()) / float64(n), Bytes: size})
	r.Note("%.1f bytes of disk for each certificate", float64(size)/float64(n))
	return nil
}
