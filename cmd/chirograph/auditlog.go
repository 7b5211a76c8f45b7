package main

import (
	"context"
	"errors"
	"fmt"
	"math"

	"github.com/prometheus/client_golang/prometheus"

	"chirograph.dev/internal/auditlog"
	"chirograph.dev/internal/bucket"
	"chirograph.dev/internal/proof"
	"chirograph.dev/internal/store"
)

// openLogs makes the signer of the logs' heads, with the witnesses and the
// places outside the data folder that know heads of them.
func (h *house) openLogs() error {
	cfg := auditlog.Config{
		Entries: h.entries, Store: h.db, Records: h.db, Keys: h.keys,
		Sources:  []auditlog.Source{{Name: "the bucket of its reports", Newest: h.besideReports}},
		Interval: h.cfg.CheckpointInterval,
		Log:      h.log,
		Now:      h.cfg.now,
	}
	witnesses, err := h.witnesses()
	if err != nil {
		return fmt.Errorf("opening the witnesses: %w", err)
	}
	if witnesses != nil { // and not an interface that holds a nil
		cfg.Witnesses = witnesses
	}
	anchors, err := h.anchors()
	if err != nil {
		return fmt.Errorf("opening the anchors: %w", err)
	}
	if anchors != nil {
		cfg.Anchor = anchors
	}
	if h.logs, err = auditlog.New(cfg); err != nil {
		return err
	}
	return h.registry.Register(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "pca_log_refused", Help: "Logs that take no entries because their store is not what it was.",
	}, func() float64 { return float64(h.entries.CountRefused()) }))
}

// besideReports reads the checkpoint beside the newest report of a CA, of this
// epoch or of one that the store may have lost; nil when there is none.
func (h *house) besideReports(ctx context.Context, ca string) ([]byte, error) {
	r, err := h.db.PreviousReport(ctx, ca, math.MaxInt64)
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	client, err := h.destination(ctx, r.Account, r.CAARN)
	if err != nil {
		return nil, err
	}
	epoch, err := h.logs.Epoch(ctx, ca)
	if err != nil {
		return nil, err
	}
	for _, e := range []int{epoch + 1, epoch} {
		var b []byte
		b, err = client.Read(ctx, r.Bucket, r.Account, proof.LogFolder(ca, e)+"/"+proof.CheckpointName, "", proof.MaxManifest)
		if err == nil {
			return b, nil
		}
		// Whom S3 does not list a bucket to, it refuses what is not there.
	}
	if errors.Is(err, bucket.ErrNoObject) {
		return nil, nil
	}
	return nil, err
}

// logEndpoints are the logs over HTTP.
func (h *house) logEndpoints() *auditlog.Endpoints {
	return &auditlog.Endpoints{
		Partition: h.cfg.Partition, Region: h.cfg.Region,
		Store: h.db, Certificates: h.db,
		Find:   h.find,
		Newest: h.logs.Newest,
		RotateKey: func(ctx context.Context, ca string) ([]byte, error) {
			key, err := h.logs.RotateKey(ctx, ca)
			return []byte(key + "\n"), err
		},
		Recover: h.logs.RecoverText,
	}
}
