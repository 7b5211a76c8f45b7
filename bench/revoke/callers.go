package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"chirograph.dev/internal/bench"
	"chirograph.dev/internal/ca"
	"chirograph.dev/internal/certlog"
	"chirograph.dev/internal/iam"
	"chirograph.dev/internal/keystore"
	"chirograph.dev/internal/pca"
	"chirograph.dev/internal/store/sqlite"
)

// inProcess has callers call the service itself, over the same store.
func inProcess(ctx context.Context, r *bench.Run, o options, data, arn string, serials [][]byte) (err error) {
	log := slog.New(slog.DiscardHandler)
	db, err := sqlite.Open(ctx, sqlite.Config{Path: filepath.Join(data, "chirograph.db"), Log: log})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	master, err := keystore.LoadMasterKey(filepath.Join(data, "master.key"))
	if err != nil {
		return err
	}
	keys, err := keystore.Open(keystore.Config{Dir: filepath.Join(data, "keys"), MasterKey: master})
	if err != nil {
		return err
	}
	parsed, err := pca.ParseCAARN(arn, "aws")
	if err != nil {
		return err
	}
	entries := certlog.New(certlog.Config{Store: db, Log: log})
	service, err := ca.New(ctx, ca.Config{
		Partition: "aws", Region: parsed.Region, ServerName: "bench",
		Records: db, Overview: db, Certificates: db, Entries: entries, Keys: keys,
		Caller: func(context.Context) ca.Caller {
			return ca.Caller{Account: parsed.Account, Principal: &iam.Principal{Account: parsed.Account}}
		},
		AuthorizeAlso: func(context.Context, string, string) error { return nil },
		Log:           log,
	})
	if err != nil {
		return err
	}
	defer service.Close()
	// As the server does, blocks are sealed beside the callers.
	sealing, stop := context.WithCancel(ctx)
	sealed := make(chan error, 1)
	go func() { sealed <- entries.Run(sealing) }()
	defer func() {
		stop()
		err = errors.Join(err, <-sealed)
	}()
	for i, n := range o.callers {
		floor, err := rawAppend(r.Dir, int(n), o.duration/4)
		if err != nil {
			return err
		}
		q := share(serials, i, len(o.callers))
		res, err := bench.Load(ctx, int(n), o.duration, ownCPU, func(ctx context.Context) error {
			serial, err := q.take()
			if err != nil {
				return err
			}
			_, err = service.RevokeCertificate(ctx, &pca.RevokeCertificateRequest{CertificateAuthorityArn: arn, CertificateSerial: fmt.Sprintf("%x", serial), RevocationReason: pca.RevocationReason_SUPERSEDED})
			return err
		})
		if err != nil {
			return fmt.Errorf("%d callers: %w", n, err)
		}
		res.What = fmt.Sprintf("%d callers", n)
		res.FloorSeconds = res.Units * floor
		r.Report(res)
	}
	return nil
}

func ownCPU() (user, system time.Duration, err error) { return bench.OwnCPU(), 0, nil }

// rawAppend gives the seconds for each entry of a revocation when n at a time
// are appended to a plain file with one sync.
func rawAppend(dir string, n int, duration time.Duration) (seconds float64, err error) {
	entry := certlog.Entry{Type: certlog.TypeRevoke, Time: time.Now().UnixMilli(), Serial: make([]byte, 16), IssueIndex: 1 << 20, Reason: 4}
	if _, err := rand.Read(entry.Serial); err != nil {
		return 0, err
	}
	var batch []byte
	for range n {
		if batch, err = entry.Append(batch); err != nil {
			return 0, err
		}
	}
	f, err := os.CreateTemp(dir, "raw-*")
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, f.Close(), os.Remove(f.Name())) }()
	start, syncs := time.Now(), 0
	for ; syncs == 0 || time.Since(start) < duration; syncs++ {
		if _, err := f.Write(batch); err != nil {
			return 0, err
		}
		if err := f.Sync(); err != nil {
			return 0, err
		}
	}
	return time.Since(start).Seconds() / float64(syncs*n), nil
}
