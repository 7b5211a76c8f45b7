package auditreport

import (
	"context"
	"errors"
	"hash/fnv"
	"slices"
	"time"

	"chirograph.dev/internal/bucket"
	"chirograph.dev/internal/pace"
	"chirograph.dev/internal/pca"
	"chirograph.dev/internal/store"
)

const (
	// tendAgain is how often segments are tended.
	tendAgain = time.Hour
	// tendShares is how many passes it takes to read every segment once: those of a week.
	tendShares = 7 * 24
)

// collect deletes the segments that no record names, after a report.
func (s *segments) collect(ctx context.Context) {
	if s == nil || !s.begun {
		return
	}
	if err := s.collectNow(ctx); err != nil && ctx.Err() == nil {
		s.job.log.WarnContext(ctx, "segments that are no longer used stay until the next audit report", "bucket", s.bucket, "error", err)
	}
}

func (s *segments) collectNow(ctx context.Context) error {
	// The list comes before the records: what another report adds from now on
	// is not in it.
	keys, err := listSegments(ctx, s.client, s.bucket, prefix(s.set))
	if err != nil {
		return err
	}
	set, all, err := s.job.service.cfg.SegmentRecords.Segments(ctx, s.set.CA, s.set.Format)
	if err != nil || set != s.set { // the report that moved it collects
		return err
	}
	named := make(map[string]bool, len(all))
	for i := range all {
		named[all[i].Key] = true
	}
	return s.client.Delete(ctx, s.bucket, "", slices.DeleteFunc(keys, func(key string) bool { return named[key] }))
}

// listSegments lists the objects with a prefix; none when there is no bucket.
func listSegments(ctx context.Context, client *bucket.Client, name, prefix string) (keys []string, err error) {
	err = client.List(ctx, name, "", prefix, func(key string) error {
		keys = append(keys, key)
		return nil
	})
	if errors.Is(err, bucket.ErrNoBucket) {
		err = nil
	}
	return keys, err
}

// deleteSegments deletes the objects with a prefix.
func deleteSegments(ctx context.Context, client *bucket.Client, name, prefix string) error {
	keys, err := listSegments(ctx, client, name, prefix)
	if err != nil {
		return err
	}
	return client.Delete(ctx, name, "", keys)
}

// tend looks after the segments that lie there between reports, until ctx ends.
func (s *Service) tend(ctx context.Context) {
	if s.cfg.Segments == nil {
		return
	}
	tick := time.NewTicker(tendAgain)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if err := s.tendOnce(ctx, s.now().Unix()/int64(tendAgain/time.Second)%tendShares); err != nil && ctx.Err() == nil {
				s.log.WarnContext(ctx, "looking after the segments of audit reports", "error", err)
			}
		}
	}
}

// tendOnce reads a share of all segments and compares them with what was
// written, and drops those of certificate authorities that are gone.
func (s *Service) tendOnce(ctx context.Context, share int64) error {
	sets, err := s.cfg.SegmentRecords.SegmentSets(ctx)
	if err != nil {
		return err
	}
	var errs []error
	for _, set := range sets {
		if err := s.tendSet(ctx, set, share); err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

func (s *Service) tendSet(ctx context.Context, set store.SegmentSet, share int64) error {
	last, err := s.last(ctx, set.CA)
	if last == nil || err != nil {
		return err
	}
	client, name, err := s.cfg.Segments(ctx, last.Account, last.CAARN)
	if err != nil {
		return err
	}
	if set.Place != place(client, name) {
		return nil // the next report drops it
	}
	_, _, err = s.authority(ctx, last.CAARN)
	var refused *pca.Error
	switch {
	case errors.As(err, &refused) && refused.Code == pca.ResourceNotFoundException:
		return s.drop(ctx, set, client, name)
	case err != nil:
		return err
	}
	set, all, err := s.cfg.SegmentRecords.Segments(ctx, set.CA, set.Format)
	if err != nil {
		return err
	}
	for i := range all {
		if all[i].Key == "" || shareOf(all[i].Key) != share {
			continue
		}
		if err := s.check(ctx, set, &all[i], client, name); err != nil {
			return err
		}
	}
	return nil
}

// shareOf is the pass that reads a segment.
func shareOf(key string) int64 {
	h := fnv.New32a()
	h.Write([]byte(key))
	return int64(h.Sum32() % tendShares)
}

// check reads a segment, in the lane of large reports, whose memory it takes.
func (s *Service) check(ctx context.Context, set store.SegmentSet, g *store.Segment, client *bucket.Client, name string) error {
	leave, err := enter(ctx, s.large)
	if err != nil {
		return err
	}
	defer leave()
	err = pace.Aside(func() error {
		b, err := client.Get(ctx, make([]byte, 0, g.Bytes), bucket.Source{Bucket: name, Key: g.Key, ETag: g.ETag, Size: int64(g.Bytes)})
		if err != nil {
			return err
		}
		return intact(g, b)
	})
	if !errors.Is(err, bucket.ErrSource) {
		return err
	}
	switch moved := s.cfg.SegmentRecords.MoveSegments(ctx, set, set, []uint64{g.Lo}); {
	case errors.Is(moved, store.ErrConflict):
		return nil // a report moved on, may have deleted it, and finds what is damaged
	case moved != nil:
		return moved
	}
	s.log.WarnContext(ctx, "a segment of audit reports is damaged; the next report renders it again", "ca", set.CA, "bucket", name, "key", g.Key, "error", err)
	return nil
}

// drop forgets the segments of a CA that is gone for good.
func (s *Service) drop(ctx context.Context, set store.SegmentSet, client *bucket.Client, name string) error {
	if err := deleteSegments(ctx, client, name, prefix(set)); err != nil {
		return err
	}
	// A crash before this line has the same keys deleted again.
	return forget(ctx, s.cfg.SegmentRecords, set)
}

// forget drops the records of a set, unless a report moved it meanwhile.
func forget(ctx context.Context, records Segments, set store.SegmentSet) error {
	err := records.MoveSegments(ctx, set, store.SegmentSet{CA: set.CA, Format: set.Format}, nil)
	if errors.Is(err, store.ErrConflict) {
		return nil
	}
	return err
}

// DropSegments forgets and deletes every segment in a bucket of the server's
// own, which is used no more. A crash leaves objects that the next start deletes.
func DropSegments(ctx context.Context, records Segments, client *bucket.Client, name string) error {
	sets, err := records.SegmentSets(ctx)
	if err != nil {
		return err
	}
	for _, set := range sets {
		if set.Place != place(client, name) {
			continue
		}
		if err := forget(ctx, records, set); err != nil {
			return err
		}
	}
	return deleteSegments(ctx, client, name, "")
}
