package sqlite

import (
	"context"
	"database/sql/driver"
	"fmt"

	"chirograph.dev/internal/certlog"
	"chirograph.dev/internal/store"
)

// Block is a whole block of a log, hashed and packed, that only has to be
// written.
type Block struct {
	records []certlog.Record
	head    certlog.Head // of a log of these entries alone
	nodes   []certlog.Node
	pack    []byte
	ders    []derPack // plain is packed; first counts from the block's begin
}

// PackBlock does the work of a whole block that does not need the database. It
// may run for many blocks at once. The records belong to the Block from then on.
func (db *DB) PackBlock(records []certlog.Record) (*Block, error) {
	if len(records) != certlog.BlockSize {
		return nil, fmt.Errorf("%d records are no block of %d", len(records), certlog.BlockSize)
	}
	b := &Block{records: records}
	entries := make([][]byte, len(records))
	size := 0
	for i := range records {
		entries[i] = records[i].Entry
		size += 2 + len(entries[i])
	}
	var err error
	if b.head, b.nodes, err = new(certlog.Head).Extend(entries); err != nil {
		return nil, err
	}
	bundle := make([]byte, 0, size)
	for _, e := range entries {
		bundle = certlog.AppendBundled(bundle, e)
	}
	b.pack = db.enc.packEntries(bundle)
	var plain []byte
	for first := 0; first < len(records); first += derGroup {
		p := derPack{first: uint64(first), plain: plain[:0]}
		for i := first; i < first+derGroup; i++ {
			for _, row := range records[i].Rows {
				if cert, ok := row.(*store.Certificate); ok {
					p.add(uint64(i), cert.DER)
				}
			}
		}
		if plain = p.plain; len(plain) == 0 {
			continue
		}
		p.plain = db.enc.packDERs(plain)
		b.ders = append(b.ders, p)
	}
	return b, nil
}

// SeedPacked fills a store fast, for benchmarks and imports: it appends a whole
// block to a log that ends where a block does and that nobody else appends to
// meanwhile, with its rows as CommitLog would, in one transaction, and returns
// the head. Nothing of the block sees the tail. A record at fault fails all of it.
func (db *DB) SeedPacked(ctx context.Context, ca string, b *Block) (to certlog.Head, err error) {
	from, err := db.LogHead(ctx, ca)
	if err != nil {
		return certlog.Head{}, err
	}
	to, nodes, err := from.Join(&b.head, b.nodes)
	if err == nil {
		err = db.write(ctx, func(c *conn) error {
			if err := moveHead(c, ca, &from, &to); err != nil {
				return err
			}
			if err := b.insert(c, ca, from.Size); err != nil {
				return err
			}
			return insertNodes(c, ca, nodes)
		})
	}
	if err != nil {
		return certlog.Head{}, fmt.Errorf("seeding log %s: %w", ca, err)
	}
	countSignedCRLs(b.records)
	return to, nil
}

// insert stores the rows and packs of a block that begins at entry lo.
func (b *Block) insert(c *conn, ca string, lo uint64) error {
	var certs []driver.Value
	var lists []bound
	for i := range b.records {
		idx := lo + uint64(i)
		for _, row := range b.records[i].Rows {
			var err error
			if cert, ok := row.(*store.Certificate); ok {
				certs, err = appendCertificate(certs, ca, idx, cert)
				if cert.CRL != 0 {
					lists = bind(lists, cert, b.records[i].Entry)
				}
			} else {
				err = insertRow(c, ca, idx, row)
			}
			if err != nil {
				return err
			}
		}
	}
	if err := insertCertificates(c, certs); err != nil {
		return err
	}
	if err := countBound(c, ca, lists); err != nil {
		return err
	}
	for _, p := range b.ders {
		if err := insertDERPack(c, ca, lo+p.first, p.plain); err != nil {
			return err
		}
	}
	return insertPack(c, ca, lo/certlog.BlockSize, b.pack)
}

// SeedBlock is SeedPacked for records that end at the end of a block or before;
// what is less than a whole block goes to the tail.
func (db *DB) SeedBlock(ctx context.Context, ca string, records []certlog.Record) (certlog.Head, error) {
	from, err := db.LogHead(ctx, ca)
	if err != nil {
		return certlog.Head{}, err
	}
	room := certlog.BlockSize - from.Size%certlog.BlockSize
	if uint64(len(records)) > room {
		return certlog.Head{}, fmt.Errorf("seeding log %s: %d records do not fit into block %d, which has room for %d", ca, len(records), from.Size/certlog.BlockSize, room)
	}
	if len(records) == certlog.BlockSize {
		b, err := db.PackBlock(records)
		if err != nil {
			return certlog.Head{}, fmt.Errorf("seeding log %s: %w", ca, err)
		}
		return db.SeedPacked(ctx, ca, b)
	}
	entries := make([][]byte, len(records))
	for i := range records {
		entries[i] = records[i].Entry
	}
	to, nodes, err := from.Extend(entries)
	if err == nil {
		err = db.CommitLog(ctx, []certlog.Batch{{CA: ca, From: from, To: to, Records: records, Nodes: nodes}})
	}
	if err != nil {
		return certlog.Head{}, fmt.Errorf("seeding log %s: %w", ca, err)
	}
	return to, nil
}
