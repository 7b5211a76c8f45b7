package sqlite

import (
	"context"
	"fmt"

	"golang.org/x/mod/sumdb/tlog"

	"chirograph.dev/internal/certlog"
	"chirograph.dev/internal/store"
)

// Sealing works in transactions of a few milliseconds, between which commits
// have their turn: that many groups of certificates, and that many rows, at a
// time.
const (
	sealGroups = 2
	sealRows   = 256
)

// SealLog implements certlog.Sealer. A crash anywhere leaves a mix of packs
// and rows that readers see as the same block, and that the next SealLog
// brings to its end: first the certificates go, group by group; then the
// entries' pack appears, which from then on is what readers take; then the
// rows under it go.
func (db *DB) SealLog(ctx context.Context, ca string, block uint64) error {
	db.sealing.Lock()
	defer db.sealing.Unlock()
	head, err := db.LogHead(ctx, ca)
	if err != nil {
		return err
	}
	lo := block * certlog.BlockSize
	hi := lo + certlog.BlockSize
	if head.Size < hi {
		return fmt.Errorf("block %d of log %s is not full: the log has %d entries", block, ca, head.Size)
	}
	for first := lo; first < hi; first += sealGroups * derGroup {
		if err := db.sealDERs(ctx, ca, first, first+sealGroups*derGroup); err != nil {
			return fmt.Errorf("packing certificates of entries [%d, %d): %w", first, first+sealGroups*derGroup, err)
		}
	}
	if err := db.sealEntries(ctx, ca, block); err != nil {
		return fmt.Errorf("packing entries: %w", err)
	}
	for first := lo; first < hi; first += sealRows {
		err := db.write(ctx, func(c *conn) error {
			_, err := c.exec("DELETE FROM log_entry WHERE ca = ? AND idx >= ? AND idx < ?", ca, int64(first), int64(first+sealRows))
			return err
		})
		if err != nil {
			return fmt.Errorf("deleting packed entries: %w", err)
		}
	}
	return nil
}

// sealDERs moves the certificates of whole groups from rows into packs, in
// one transaction.
func (db *DB) sealDERs(ctx context.Context, ca string, lo, hi uint64) error {
	var packs []derPack
	err := db.read(ctx, func(c *conn) error {
		r, err := c.query("SELECT idx, der FROM certificate_der WHERE ca = ? AND idx >= ? AND idx < ? ORDER BY idx", ca, int64(lo), int64(hi))
		if err != nil {
			return err
		}
		for r.next() {
			idx := uint64(r.int(0))
			if first := idx &^ (derGroup - 1); len(packs) == 0 || packs[len(packs)-1].first != first {
				packs = append(packs, derPack{first: first})
			}
			packs[len(packs)-1].add(idx, r.blob(1))
		}
		return r.close()
	})
	if err != nil || len(packs) == 0 {
		return err
	}
	packed := make([][]byte, len(packs))
	for i := range packs {
		packed[i] = db.enc.packDERs(packs[i].plain)
	}
	return db.write(ctx, func(c *conn) error {
		for i := range packs {
			// Never replaces a pack: rows of a group that has one are damage.
			if err := insertDERPack(c, ca, packs[i].first, packed[i]); err != nil {
				return err
			}
		}
		_, err := c.exec("DELETE FROM certificate_der WHERE ca = ? AND idx >= ? AND idx < ?", ca, int64(lo), int64(hi))
		return err
	})
}

func insertDERPack(c *conn, ca string, first uint64, pack []byte) error {
	_, err := c.exec("INSERT INTO der_pack (ca, first, bytes) VALUES (?, ?, ?)", ca, int64(first), pack)
	return err
}

// sealEntries makes the pack of a full block, unless it is there.
func (db *DB) sealEntries(ctx context.Context, ca string, block uint64) error {
	sealed := false
	err := db.read(ctx, func(c *conn) (err error) {
		sealed, err = c.queryRow(func(*rows) {}, "SELECT 1 FROM log_pack WHERE ca = ? AND block = ?", ca, int64(block))
		return err
	})
	if err != nil || sealed {
		return err
	}
	buf := db.buffer()
	defer db.release(buf)
	lo := block * certlog.BlockSize
	bundle, err := db.AppendLogBundle(ctx, (*buf)[:0], ca, lo, lo+certlog.BlockSize)
	if err != nil {
		return err
	}
	*buf = bundle
	// The rows are about to go: what replaces them must be what was committed.
	if err := db.checkBundle(ctx, ca, block, bundle); err != nil {
		return err
	}
	pack := db.enc.packEntries(bundle)
	return db.write(ctx, func(c *conn) error { return insertPack(c, ca, block, pack) })
}

func insertPack(c *conn, ca string, block uint64, pack []byte) error {
	_, err := c.exec("INSERT INTO log_pack (ca, block, bytes) VALUES (?, ?, ?)", ca, int64(block), pack)
	return err
}

// checkBundle compares the entries of a full block with the nodes that were
// stored when they were appended.
func (db *DB) checkBundle(ctx context.Context, ca string, block uint64, bundle []byte) error {
	const level, leaves = 8, 1 << 8
	lo := block * certlog.BlockSize / leaves
	want, err := db.LogNodes(ctx, ca, level, lo, lo+certlog.BlockSize/leaves)
	if err != nil {
		return err
	}
	var row [leaves]tlog.Hash
	for i := range want {
		for j := range row {
			entry, rest, ok := certlog.CutBundled(bundle)
			if !ok {
				return fmt.Errorf("block %d has fewer entries than it must: %w", block, store.ErrNotFound)
			}
			row[j], bundle = tlog.RecordHash(entry), rest
		}
		if certlog.TreeRoot(row[:]) != want[i] {
			at := (lo + uint64(i)) * leaves
			return fmt.Errorf("%w: the entries [%d, %d) are not those that were committed", certlog.ErrHead, at, at+leaves)
		}
	}
	return nil
}

// UnsealedBlocks implements certlog.Sealer. It looks at where each tail
// begins, so a log without full blocks costs two look-ups.
func (db *DB) UnsealedBlocks(ctx context.Context) (map[string][]uint64, error) {
	type span struct {
		ca         string
		begin, end uint64
	}
	blocks := map[string][]uint64{}
	err := db.read(ctx, func(c *conn) error {
		var spans []span
		r, err := c.query(`SELECT ca, size,
			(SELECT idx FROM log_entry e WHERE e.ca = h.ca ORDER BY idx LIMIT 1),
			(SELECT idx FROM certificate_der d WHERE d.ca = h.ca ORDER BY idx LIMIT 1)
			FROM log_head h WHERE size >= ?`, int64(certlog.BlockSize))
		if err != nil {
			return err
		}
		for r.next() {
			s := span{ca: r.text(0), end: uint64(r.int(1)) / certlog.BlockSize}
			s.begin = s.end
			for i := 2; i <= 3; i++ {
				if !r.null(i) {
					s.begin = min(s.begin, uint64(r.int(i))/certlog.BlockSize)
				}
			}
			spans = append(spans, s)
		}
		if err := r.close(); err != nil {
			return err
		}
		for _, s := range spans {
			for b := s.begin; b < s.end; b++ {
				lo, hi := int64(b*certlog.BlockSize), int64((b+1)*certlog.BlockSize)
				left, err := c.queryRow(func(*rows) {}, `SELECT 1 WHERE EXISTS (SELECT 1 FROM log_entry WHERE ca = ? AND idx >= ? AND idx < ?)
					OR EXISTS (SELECT 1 FROM certificate_der WHERE ca = ? AND idx >= ? AND idx < ?)`, s.ca, lo, hi, s.ca, lo, hi)
				if err != nil {
					return err
				}
				if left {
					blocks[s.ca] = append(blocks[s.ca], b)
				}
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("listing unsealed blocks: %w", err)
	}
	return blocks, nil
}
