package sqlite

import (
	"context"
	"fmt"

	"chirograph.dev/internal/pca"
	"chirograph.dev/internal/store"
)

const setColumns = "ca, format, rendering, place, size"

func scanSet(r *rows) store.SegmentSet {
	return store.SegmentSet{CA: r.text(0), Format: pca.AuditReportResponseFormat(r.text(1)), Rendering: r.int(2), Place: r.text(3), Size: uint64(r.int(4))}
}

// SegmentSets lists the sets of all CAs.
func (db *DB) SegmentSets(ctx context.Context) (sets []store.SegmentSet, err error) {
	err = db.list(ctx, func(r *rows) { sets = append(sets, scanSet(r)) }, "SELECT "+setColumns+" FROM segment_set ORDER BY ca, format")
	if err != nil {
		return nil, fmt.Errorf("listing sets of segments: %w", err)
	}
	return sets, nil
}

// Segments gives the set of a CA's reports of a format with its segments, in
// the order of the log; store.ErrNotFound when there is none.
func (db *DB) Segments(ctx context.Context, ca string, format pca.AuditReportResponseFormat) (set store.SegmentSet, segments []store.Segment, err error) {
	err = db.read(ctx, func(c *conn) error {
		// One statement, so that both are of one state.
		r, err := c.query(`SELECT s.ca, s.format, s.rendering, s.place, s.size, g.lo, g.hi, g.total_rows, g.revoked, g.size, g.sha256, g.checksum, g.etag, g.key, g.stale
			FROM segment_set s LEFT JOIN segment g ON g.ca = s.ca AND g.format = s.format WHERE s.ca = ? AND s.format = ? ORDER BY g.lo`, ca, string(format))
		if err != nil {
			return err
		}
		for r.next() {
			set = scanSet(r)
			if g := (store.Segment{
				Lo: uint64(r.int(5)), Hi: uint64(r.int(6)), Rows: uint64(r.int(7)), Revoked: uint64(r.int(8)), Bytes: uint64(r.int(9)),
				SHA256: r.blob(10), Checksum: r.text(11), ETag: r.text(12), Key: r.text(13), Stale: r.int(14) != 0,
			}); g.Hi > 0 {
				segments = append(segments, g)
			}
		}
		return r.close()
	})
	if err = must(set.CA != "", err); err != nil {
		return store.SegmentSet{}, nil, fmt.Errorf("reading the segments of CA %s: %w", ca, err)
	}
	return set, segments, nil
}

// moveSet replaces from by to if from is what is stored; otherwise the error
// wraps store.ErrConflict.
func moveSet(c *conn, from, to *store.SegmentSet) (err error) {
	ca, format := from.CA, string(from.Format)
	var stored store.SegmentSet
	if _, err := c.queryRow(func(r *rows) { stored = scanSet(r) }, "SELECT "+setColumns+" FROM segment_set WHERE ca = ? AND format = ?", ca, format); err != nil {
		return err
	}
	if stored != *from && (stored.CA != "" || from.Size != 0) {
		return store.ErrConflict
	}
	if *to == stored {
		return nil
	}
	if to.Size == 0 || to.Rendering != stored.Rendering || to.Place != stored.Place {
		if _, err := c.exec("DELETE FROM segment WHERE ca = ? AND format = ?", ca, format); err != nil {
			return err
		}
	}
	if to.Size == 0 {
		_, err = c.exec("DELETE FROM segment_set WHERE ca = ? AND format = ?", ca, format)
		return err
	}
	_, err = c.exec("INSERT INTO segment_set ("+setColumns+") VALUES (?, ?, ?, ?, ?) ON CONFLICT (ca, format) DO UPDATE SET rendering = excluded.rendering, place = excluded.place, size = excluded.size",
		to.CA, string(to.Format), to.Rendering, to.Place, int64(to.Size))
	return err
}

// MoveSegments replaces the set from, of Size 0 when there is none yet, by the
// set to of the same CA and format, and makes the segments that begin at the
// entries stale so. When from is not what is stored the error wraps
// store.ErrConflict, and nothing changes. A set of Size 0 is none.
func (db *DB) MoveSegments(ctx context.Context, from, to store.SegmentSet, stale []uint64) error {
	err := db.write(ctx, func(c *conn) error {
		if err := moveSet(c, &from, &to); err != nil {
			return err
		}
		for _, lo := range stale {
			if _, err := c.exec("UPDATE segment SET stale = 1 WHERE ca = ? AND format = ? AND lo = ?", to.CA, string(to.Format), int64(lo)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("moving the segments of CA %s from %d to %d entries: %w", to.CA, from.Size, to.Size, err)
	}
	return nil
}

// PutSegments stores segments of a set, in the place of all that they overlap.
// When the set is not what is stored the error wraps store.ErrConflict, and
// nothing changes.
func (db *DB) PutSegments(ctx context.Context, set store.SegmentSet, segments []store.Segment) error {
	err := db.write(ctx, func(c *conn) error {
		if err := moveSet(c, &set, &set); err != nil {
			return err
		}
		for i := range segments {
			g := &segments[i]
			// A segment reaches at most to where the next one begins, so only
			// the last one before lo can reach beyond it.
			_, err := c.exec(`DELETE FROM segment WHERE ca = ?1 AND format = ?2 AND lo < ?4 AND hi > ?3
				AND lo >= ifnull((SELECT max(lo) FROM segment WHERE ca = ?1 AND format = ?2 AND lo <= ?3), ?3)`, set.CA, string(set.Format), int64(g.Lo), int64(g.Hi))
			if err != nil {
				return err
			}
			stale := int64(0)
			if g.Stale {
				stale = 1
			}
			_, err = c.exec("INSERT INTO segment (ca, format, lo, hi, total_rows, revoked, size, sha256, checksum, etag, key, stale) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
				set.CA, string(set.Format), int64(g.Lo), int64(g.Hi), int64(g.Rows), int64(g.Revoked), int64(g.Bytes), blob(g.SHA256), g.Checksum, g.ETag, g.Key, stale)
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("storing segments of CA %s: %w", set.CA, err)
	}
	return nil
}
