package auditreport

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/tlog"

	"chirograph.dev/internal/bucket"
	"chirograph.dev/internal/certlog"
	"chirograph.dev/internal/certlog/rendering"
	"chirograph.dev/internal/pace"
	"chirograph.dev/internal/proof"
	"chirograph.dev/internal/store"
)

// Checkpoints signs the heads of logs; *auditlog.Service is one. An error that
// wraps certlog.ErrHead says that the log is not what it was; no retry helps.
type Checkpoints interface {
	// Checkpoint gives the signed and cosigned tree head of the first size
	// entries with what a bundle needs beside it.
	Checkpoint(ctx context.Context, ca string, size uint64) (*proof.Head, error)
	// Head gives what Checkpoint gave when it made signed; nobody is asked to
	// sign anything, since witnesses sign no head behind their newest.
	Head(ctx context.Context, ca string, size uint64, signed []byte) (*proof.Head, error)
	// Consistency proves that the first to entries extend the first from.
	Consistency(ctx context.Context, ca string, from, to uint64) (tlog.TreeProof, error)
	// Sign signs a manifest with the key that was in force at its tree.
	Sign(ctx context.Context, ca string, m *proof.Manifest) ([]byte, error)
}

// Packs reads a CA's log block by block; the store is one.
type Packs interface {
	// LogPack gives a whole block as the one zstd frame that it is stored as;
	// store.ErrNotFound when it is not sealed.
	LogPack(ctx context.Context, ca string, block uint64) (frame []byte, err error)
	// AppendLogBundle appends entries of one block to dst, each after its length.
	AppendLogBundle(ctx context.Context, dst []byte, ca string, lo, hi uint64) ([]byte, error)
}

// Settings remembers what was written into buckets that are not listed to this
// server; the store is one.
type Settings interface {
	Setting(ctx context.Context, name string) (string, error)
	PutSetting(ctx context.Context, name, value string) error
}

// errProof says that the proof of a report cannot be made. Without it there is
// no report.
var errProof = errors.New("making the proof of the report")

// head is the tree head that the report is proven by. It is taken once and kept
// with the report's record, so that every attempt writes the same proof.
func (j *job) head(ctx context.Context) (*proof.Head, error) {
	r := j.report
	if r.Checkpoint != nil {
		h, err := j.service.cfg.Checkpoints.Head(ctx, r.CA, r.TreeSize, r.Checkpoint)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", errProof, err)
		}
		return h, nil
	}
	h, err := j.service.cfg.Checkpoints.Checkpoint(ctx, r.CA, r.TreeSize)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errProof, err)
	}
	// A crash before this line has the same head signed once more.
	r.Checkpoint = h.Signed
	if err := j.update(ctx); err != nil {
		r.Checkpoint = nil
		return nil, fmt.Errorf("recording the checkpoint: %w", err)
	}
	return h, nil
}

// bundle is what is written beside one report, so that it proves itself: the
// entries that the bucket lacks, the manifest, and the newest checkpoint, in
// this order, all before the report becomes visible. Each may be there already,
// from an earlier attempt or an earlier report; a crash anywhere leaves objects
// that are true by themselves.
type bundle struct {
	job    *job
	client *bucket.Client
	head   *proof.Head
	folder string // of the log
}

func (j *job) bundle(client *bucket.Client, head *proof.Head) *bundle {
	_, epoch := proof.SplitOrigin(head.Origin, j.report.CA)
	return &bundle{job: j, client: client, head: head, folder: proof.LogFolder(j.report.CA, epoch)}
}

// beside are keys for which the gate is asked together with the report's.
func beside(r *store.AuditReport, folder string) []string {
	return []string{r.Key + proof.ManifestSuffix, folder + "/" + proof.CheckpointName, folder + "/" + proof.PackName(0, 1)}
}

func (b *bundle) write(ctx context.Context, w *writer, gate *bucket.GateDecision) error {
	if err := b.packs(ctx); err != nil {
		return err
	}
	signed, err := b.manifest(ctx, w, gate)
	if err != nil {
		return fmt.Errorf("%w: %w", errProof, err)
	}
	r := b.job.report
	if err := b.client.Replace(ctx, b.object(r.Key+proof.ManifestSuffix, "text/plain; charset=utf-8"), signed); err != nil {
		return err
	}
	err = b.client.Replace(ctx, b.object(b.folder+"/"+proof.CheckpointName, "text/plain; charset=utf-8"), b.head.Signed)
	if errors.Is(err, bucket.ErrLocked) { // by the bucket's own default; the manifest has the checkpoint too
		b.job.log.WarnContext(ctx, "the newest checkpoint cannot be put beside the reports, since the bucket retains the one before", "bucket", r.Bucket, "error", err)
		return nil
	}
	return err
}

// retain locks the manifest, which attempts replace until the report is there,
// and a report that was uploaded in parts once more: its retention began with
// the upload.
func (b *bundle) retain(ctx context.Context, w *writer) error {
	if w.multipart() {
		if err := b.client.Retain(ctx, b.job.object()); err != nil {
			return err
		}
	}
	return b.client.Retain(ctx, b.object(b.job.report.Key+proof.ManifestSuffix, ""))
}

func (b *bundle) object(key, contentType string) bucket.Object {
	r := b.job.report
	return bucket.Object{Bucket: r.Bucket, Key: key, Account: r.Account, ContentType: contentType}
}

// packs writes the entries of the report that the bucket lacks.
func (b *bundle) packs(ctx context.Context) error {
	there, listed, err := b.there(ctx)
	if err != nil {
		return err
	}
	size := b.head.Size
	encoder, err := proof.NewEncoder()
	if err != nil {
		return err
	}
	var body, plain []byte
	for lo := uint64(0); lo < size; lo += proof.PackSize {
		hi := min(lo+proof.PackSize, size)
		if end := there(lo); end >= hi {
			b.prolong(ctx, proof.PackName(lo, end))
			continue
		}
		if body, plain, err = b.pack(ctx, encoder, body[:0], plain, lo, hi); err != nil {
			return fmt.Errorf("%w: %w", errProof, err)
		}
		err = pace.Aside(func() error {
			return b.client.Add(ctx, b.object(b.folder+"/"+proof.PackName(lo, hi), "application/zstd"), body)
		})
		if err != nil {
			return err
		}
		b.job.packs.Add(1)
	}
	if listed {
		return nil
	}
	// A crash before this line has the same packs sent once more.
	if err := b.job.service.cfg.Settings.PutSetting(ctx, b.setting(), strconv.FormatUint(size, 10)); err != nil {
		return fmt.Errorf("remembering what bucket %s holds of log %s: %w", b.job.report.Bucket, b.head.Origin, err)
	}
	return nil
}

// prolong retains a pack of an earlier report for as long as this one, which it
// proves, too. One that is locked in another mode stays as it is.
func (b *bundle) prolong(ctx context.Context, pack string) {
	if err := b.client.Retain(ctx, b.object(b.folder+"/"+pack, "")); err != nil {
		b.job.log.WarnContext(ctx, "entries of the log beside the reports are not retained for as long as the new report", "bucket", b.job.report.Bucket, "error", err)
	}
}

// there tells how far the bucket's longest pack from lo on reaches; listed is
// false when the bucket did not say so and an earlier report did.
func (b *bundle) there(ctx context.Context) (there func(lo uint64) (hi uint64), listed bool, err error) {
	r := b.job.report
	ends := map[uint64]uint64{}
	prefix := b.folder + "/" + proof.EntriesFolder + "/"
	err = b.client.List(ctx, r.Bucket, r.Account, prefix, func(key string) error {
		if lo, hi, ok := proof.ParsePackName(strings.TrimPrefix(key, prefix)); ok {
			ends[lo] = max(ends[lo], hi)
		}
		return nil
	})
	if err == nil {
		return func(lo uint64) uint64 { return ends[lo] }, true, nil
	}
	if !errors.Is(err, bucket.ErrNoListing) {
		return nil, false, err
	}
	var size uint64
	switch value, err := b.job.service.cfg.Settings.Setting(ctx, b.setting()); {
	case errors.Is(err, store.ErrNotFound):
	case err != nil:
		return nil, false, fmt.Errorf("reading what bucket %s holds of log %s: %w", r.Bucket, b.head.Origin, err)
	default:
		if size, err = strconv.ParseUint(value, 10, 64); err != nil {
			return nil, false, fmt.Errorf("reading what bucket %s holds of log %s: %w", r.Bucket, b.head.Origin, err)
		}
	}
	return func(lo uint64) uint64 { return min(lo+proof.PackSize, size) }, false, nil
}

// setting names the memory of a bucket that is not listed.
func (b *bundle) setting() string {
	return strings.Join([]string{"audit-log packs", b.client.Name(), b.job.report.Bucket, b.folder}, "/")
}

// pack makes the pack of the entries [lo, hi) in body: whole blocks as the
// store has them, the rest compressed here. plain is room for one block.
func (b *bundle) pack(ctx context.Context, encoder *proof.Encoder, body, plain []byte, lo, hi uint64) ([]byte, []byte, error) {
	ca := b.job.report.CA
	for ; lo < hi; lo += certlog.BlockSize {
		end := min(lo+certlog.BlockSize, hi)
		if end == lo+certlog.BlockSize {
			frame, err := b.job.service.cfg.Packs.LogPack(ctx, ca, lo/certlog.BlockSize)
			if err == nil {
				body = append(body, frame...)
				continue
			}
			if !errors.Is(err, store.ErrNotFound) {
				return body, plain, err
			}
		}
		var err error
		if plain, err = b.job.service.cfg.Packs.AppendLogBundle(ctx, plain[:0], ca, lo, end); errors.Is(err, store.ErrNotFound) {
			return body, plain, fmt.Errorf("%w: %w", errLog, err)
		} else if err != nil {
			return body, plain, err
		}
		body = encoder.AppendFrame(body, plain)
	}
	return body, plain, nil
}

// manifest says, signed, what the report is a report of.
func (b *bundle) manifest(ctx context.Context, w *writer, gate *bucket.GateDecision) ([]byte, error) {
	r, h := b.job.report, b.head
	m := &proof.Manifest{
		Origin: h.Origin, CA: r.CAARN, Report: r.ID, Format: string(r.Format), Rendering: rendering.Version, Created: r.CreatedAt.UnixMilli(),
		Size: h.Size, Root: h.Root, Issued: w.rows, Revoked: w.revoked,
		Key: h.Key, SPKI: h.SPKI, Endorsement: h.Endorsement, Checkpoint: h.Signed,
	}
	m.Parts = w.wholeRows()
	for _, p := range m.Parts {
		m.Bytes += p.Length
	}
	if gate.PolicySHA256 != nil {
		m.GatePolicy = (*[32]byte)(gate.PolicySHA256)
	}
	previous, err := b.job.service.cfg.Reports.PreviousReport(ctx, r.CA, r.TreeSize)
	switch {
	case errors.Is(err, store.ErrNotFound):
	case err != nil:
		return nil, err
	default:
		if m.Previous, err = previousTree(previous); err != nil {
			return nil, err
		}
		if m.Consistency, err = b.job.service.cfg.Checkpoints.Consistency(ctx, r.CA, m.Previous.Size, h.Size); err != nil {
			return nil, err
		}
	}
	return b.job.service.cfg.Checkpoints.Sign(ctx, r.CA, m)
}

// previousTree is the tree that a report before this one was proven by.
func previousTree(r *store.AuditReport) (*proof.Previous, error) {
	heads, err := proof.ParseKnown(r.Checkpoint, "the checkpoint of report "+r.ID)
	if err == nil && (len(heads) != 1 || heads[0].Size != r.TreeSize) {
		err = fmt.Errorf("the checkpoint of report %s is not of its %d entries", r.ID, r.TreeSize)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errLog, err)
	}
	return &proof.Previous{Report: r.ID, Size: r.TreeSize, Root: heads[0].Root}, nil
}
