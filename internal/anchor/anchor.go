// Package anchor keeps checkpoints of the logs in a bucket of their own, best
// one that Object Lock holds and that other people administer. A log that is
// behind its newest anchor, or differs from it, was rolled back or rewritten;
// whoever did that with the database alone could not reach the anchors.
package anchor

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"filippo.io/torchwood"

	"chirograph.dev/internal/bucket"
)

// maxCheckpoint is the longest checkpoint that is read, in bytes: one with a
// hundred cosignatures has 20 KiB.
const maxCheckpoint = 64 << 10

// ErrNone says that no checkpoint of the log is anchored.
var ErrNone = errors.New("no checkpoint of this log is anchored")

// ConflictError says that the anchored checkpoint of a size is one of another
// tree: the log was rewritten, or two servers write one log.
type ConflictError struct {
	Key      string // of the anchor
	Anchored []byte // checkpoint
}

func (e *ConflictError) Error() string {
	return fmt.Sprintf("the anchor %s holds a checkpoint of another tree: the store was rewritten, or two servers write one log", e.Key)
}

// Config says where anchors lie.
type Config struct {
	// Client writes with its own retention and reads as the bucket's owner.
	Client  *bucket.Client
	Bucket  string
	Account string // the bucket's owner, on AWS
	Prefix  string // of the keys, without a slash at its end; default "anchors"
}

// Store keeps anchors. Safe for concurrent use.
type Store struct{ cfg Config }

// New makes a Store; it does not reach for the bucket.
func New(cfg Config) (*Store, error) {
	if cfg.Client == nil {
		return nil, errors.New("anchors need a client for their bucket")
	}
	if err := bucket.CheckName(cfg.Bucket); err != nil {
		return nil, err
	}
	if cfg.Prefix == "" {
		cfg.Prefix = "anchors"
	}
	return &Store{cfg: cfg}, nil
}

// Put anchors a signed checkpoint of a CA's log. A checkpoint of the same tree
// that is anchored already is enough, whatever its cosignatures; one of another
// tree is a *ConflictError, and what is none is an error and no evidence. It is durable when Put returns nil.
func (s *Store) Put(ctx context.Context, ca, origin string, size uint64, checkpoint []byte) error {
	key := fmt.Sprintf("%s/%s/%d/%020d.checkpoint", s.cfg.Prefix, ca, epoch(ca, origin), size)
	tree := sha256.Sum256([]byte(text(checkpoint)))
	_, err := s.cfg.Client.Put(ctx, bucket.Object{
		Bucket: s.cfg.Bucket, Key: key, Account: s.cfg.Account, ContentType: "text/plain; charset=utf-8",
		ReportID: hex.EncodeToString(tree[:]), // tells it from one of another tree, which is as long
	}, checkpoint, sha256.Sum256(checkpoint))
	if !errors.Is(err, bucket.ErrForeignObject) {
		if err != nil {
			return fmt.Errorf("anchoring %d entries of %s: %w", size, origin, err)
		}
		return nil
	}
	there, err := s.oldest(ctx, key)
	if err != nil {
		return fmt.Errorf("reading the anchor of %d entries of %s: %w", size, origin, err)
	}
	switch {
	case text(there) == text(checkpoint):
		return nil
	case !isAnchor(there, ca, epoch(ca, origin), size): // of the bucket's other writers, if there are any
		return fmt.Errorf("anchoring %d entries of %s: %s of bucket %s is no checkpoint of them", size, origin, key, s.cfg.Bucket)
	}
	return &ConflictError{Key: key, Anchored: there}
}

// isAnchor tells whether an object is what its key says, by whomever it is signed.
func isAnchor(checkpoint []byte, ca string, e, size uint64) bool {
	c, err := torchwood.ParseCheckpoint(text(checkpoint) + "\n")
	return err == nil && uint64(c.N) == size && epoch(ca, c.Origin) == e
}

// Newest is the anchored checkpoint of a CA's log with the most entries of its
// latest epoch, or ErrNone. Where the bucket keeps versions it is the first
// that was ever written, which Object Lock keeps also when somebody hides it.
// What is no checkpoint of the size that its key says is passed over; whether
// the log's key signed it is the caller's to check.
func (s *Store) Newest(ctx context.Context, ca string) ([]byte, error) {
	prefix := s.cfg.Prefix + "/" + ca + "/"
	var newest []found // in descending order
	err := s.cfg.Client.Versions(ctx, s.cfg.Bucket, s.cfg.Account, prefix, func(key, version string) error {
		if p, ok := parsePlace(strings.TrimPrefix(key, prefix)); ok {
			newest = insert(newest, found{p, key, version})
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("looking for anchors of %s: %w", ca, err)
	}
	if len(newest) == 0 {
		return nil, fmt.Errorf("%w: %s", ErrNone, ca)
	}
	for _, f := range newest {
		b, err := s.cfg.Client.Read(ctx, s.cfg.Bucket, s.cfg.Account, f.key, f.version, maxCheckpoint)
		if errors.Is(err, bucket.ErrTooLong) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("reading an anchor of %s: %w", ca, err)
		}
		if isAnchor(b, ca, f.epoch, f.size) {
			return b, nil
		}
	}
	return nil, fmt.Errorf("%s of bucket %s, the newest of %s, is no checkpoint, and neither are those before it", newest[0].key, s.cfg.Bucket, ca)
}

// maxFound is how many newest objects may be something else than checkpoints.
const maxFound = 16

// found is an object in the place of an anchor, of its first version.
type found struct {
	place
	key, version string
}

// insert keeps the newest of what is found; a later version of a key is older.
func insert(list []found, f found) []found {
	i, there := slices.BinarySearchFunc(list, f, func(a, b found) int {
		return cmp.Or(cmp.Compare(b.epoch, a.epoch), cmp.Compare(b.size, a.size))
	})
	if there && list[i].key == f.key {
		list[i] = f
		return list
	}
	list = slices.Insert(list, i, f)
	return list[:min(len(list), maxFound)]
}

// oldest reads the first version of a key.
func (s *Store) oldest(ctx context.Context, key string) ([]byte, error) {
	var version string
	err := s.cfg.Client.Versions(ctx, s.cfg.Bucket, s.cfg.Account, key, func(_, v string) error { version = v; return nil })
	if err != nil {
		return nil, err
	}
	return s.cfg.Client.Read(ctx, s.cfg.Bucket, s.cfg.Account, key, version, maxCheckpoint)
}

// text is what is signed of a checkpoint: the log, its size and its root.
func text(checkpoint []byte) string {
	t, _, _ := strings.Cut(string(checkpoint), "\n\n")
	return t
}

// epoch is the number at the end of the origins of recovered logs, .../<CA>/2.
func epoch(ca, origin string) uint64 {
	_, after, _ := strings.Cut(origin, "/audit/"+ca+"/")
	if n, err := strconv.ParseUint(after, 10, 32); err == nil && n > 1 {
		return n
	}
	return 1
}

// place is where an anchor stands in its log's history.
type place struct{ epoch, size uint64 }

func parsePlace(s string) (p place, ok bool) {
	e, file, _ := strings.Cut(s, "/")
	n, ok := strings.CutSuffix(file, ".checkpoint")
	var err1, err2 error
	p.epoch, err1 = strconv.ParseUint(e, 10, 32)
	p.size, err2 = strconv.ParseUint(n, 10, 64)
	return p, ok && err1 == nil && err2 == nil
}
