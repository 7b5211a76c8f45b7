package auditlog

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strconv"

	"filippo.io/torchwood"
	"golang.org/x/mod/sumdb/tlog"

	"chirograph.dev/internal/certlog"
	"chirograph.dev/internal/pca"
	"chirograph.dev/internal/store"
)

// proof makes a tlog-proof of one entry under a signed checkpoint.
func (e *Endpoints) proof(ctx context.Context, ca string, query url.Values) ([]byte, error) {
	index, err := e.index(ctx, ca, query)
	if err != nil {
		return nil, err
	}
	size, err := e.size(ctx, ca)
	if err != nil {
		return nil, err
	}
	if index >= size {
		return nil, pca.Errorf(pca.ResourceNotFoundException, "The log has no entry %d: it has %d entries.", index, size)
	}
	head, err := e.head(ctx, ca, index+1)
	if err != nil {
		return nil, err
	}
	var entry []byte
	err = e.Store.LogEntries(ctx, ca, index, index+1, func(_ uint64, b []byte) error {
		entry = append(entry, b...)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("reading entry %d of log %s: %w", index, ca, err)
	}
	p, err := tlog.ProveRecord(int64(head.Size), int64(index), certlog.NewHashReader(ctx, e.Store, ca, head.Size))
	if err != nil {
		return nil, fmt.Errorf("proving entry %d of log %s: %w", index, ca, err)
	}
	plainText(ctx, "no-cache")
	return torchwood.FormatProofWithExtraData(int64(index), entry, p, head.Signed), nil
}

func (e *Endpoints) size(ctx context.Context, ca string) (uint64, error) {
	head, err := e.Store.LogHead(ctx, ca)
	if err != nil {
		return 0, fmt.Errorf("reading the head of log %s: %w", ca, err)
	}
	return head.Size, nil
}

// index finds the entry that a query asks for.
func (e *Endpoints) index(ctx context.Context, ca string, query url.Values) (uint64, error) {
	serials, indexes := query["serial"], query["index"]
	if len(query) != 1 || len(serials)+len(indexes) != 1 {
		return 0, pca.Errorf(pca.ValidationException, "Ask for proof?serial=HEX or for proof?index=N.")
	}
	if len(indexes) == 1 {
		n, err := strconv.ParseInt(indexes[0], 10, 64)
		if err != nil || n < 0 {
			return 0, pca.Errorf(pca.ValidationException, "The index %.40q is not a number from 0 on.", indexes[0])
		}
		return uint64(n), nil
	}
	serial, err := pca.ParseSerial(serials[0])
	if err != nil || len(serial) == 0 {
		return 0, pca.Errorf(pca.ValidationException, "The serial number %.80q is not a positive number of at most 20 bytes in hexadecimal digits.", serials[0])
	}
	c, err := e.Certificates.Certificate(ctx, ca, serial)
	if errors.Is(err, store.ErrNotFound) {
		return 0, pca.Errorf(pca.ResourceNotFoundException, "The certificate authority issued no certificate with the serial number %x.", serial)
	}
	if err != nil {
		return 0, fmt.Errorf("looking for certificate %x of CA %s: %w", serial, ca, err)
	}
	return c.Index, nil
}
