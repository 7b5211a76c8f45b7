// Package local is the embedded bucket service: the part of Amazon S3 that
// reports, certificate revocation lists and their readers need, served to the
// unmodified aws CLI and SDKs from one folder.
//
// An object is absent or whole at every instant. Its bytes lie in immutable
// part files, packed with S2 where they shrink; a small database holds what
// objects are made of. A part file is durable before the database refers to it,
// the database is durable before a request is answered, and a part file is
// removed only when the durable database does not refer to it and no reader can
// still need it. So a crash leaves at worst files that nothing refers to; they
// are collected.
//
// Limits: a body of one request 5 GiB, a part 5 MiB (the last may be smaller)
// to 5 GiB, 10,000 parts, keys of 1,024 bytes, XML of 4 MiB, metadata of 2 KiB,
// policies of 20 KiB. Memory does not grow with the size of an object.
//
// Not kept: versions, tags, encryption at rest, ACLs other than the canned
// ones. What is not kept is refused with NotImplemented, never ignored. Object
// Lock is kept, and without versions means that a locked key is not written again.
package local

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"chirograph.dev/internal/iam"
	"chirograph.dev/internal/sigv4"
)

// Config says where a Service keeps its objects and whom it knows.
type Config struct {
	// Dir is the folder of the service; it is made when absent. One process
	// at a time.
	Dir string
	// Credentials knows who signs, the same people as for the CA's API. Nil:
	// only in-process requests and public reads are served.
	Credentials iam.Credentials
	// Region is where CreateBucket without a location puts a bucket; default
	// us-east-1. Signatures for any region are accepted (D-33).
	Region string
	// Domain switches on virtual-host addressing (bucket.Domain); empty: path style only.
	Domain string
	// InternalBuckets is the name prefix of the server's own buckets; default
	// "chirograph-internal-". Only in-process principals with a Service reach
	// them, with every right; for all others they do not exist.
	InternalBuckets string
	// Plain writes part files as their bytes are. Otherwise those that shrink
	// are packed with S2; what is there already stays as it is.
	Plain bool
	// Log takes denied requests, background failures and the causes of InternalError answers; default slog.Default.
	Log *slog.Logger
	// Now is the clock; default time.Now.
	Now func() time.Time
}

// Service is the bucket service. It is an http.Handler and safe for concurrent use.
type Service struct {
	cfg      Config
	lock     io.Closer
	index    *index
	files    *files
	verifier *sigv4.Verifier
	buffers  sync.Pool // *[]byte of bufferSize
	routes   map[string]*operation

	policies struct { // of buckets, parsed; dropped when the bucket changes
		sync.Mutex
		m map[string]*parsedBucket
	}

	collector struct {
		working sync.Mutex // held by who takes garbage out of the index until its files are gone
		sync.Mutex
		suspects []fileID
		wake     chan struct{}
		stop     context.CancelFunc
		done     chan struct{}
	}
}

const bufferSize = 512 << 10 // blocks of packed files divide it

// sweepBatch is how many extents the collector takes out of the index in one
// transaction, so that writers wait little.
const sweepBatch = 512

// Open opens or makes the folder of a bucket service and starts collecting
// what a crash may have left there.
func Open(cfg Config) (*Service, error) {
	if cfg.Dir == "" {
		return nil, errors.New("the bucket service needs a folder")
	}
	dir, err := filepath.Abs(cfg.Dir)
	if err != nil {
		return nil, fmt.Errorf("finding the bucket folder: %w", err)
	}
	cfg.Dir = dir
	if cfg.Region == "" {
		cfg.Region = "us-east-1"
	}
	if cfg.InternalBuckets == "" {
		cfg.InternalBuckets = "chirograph-internal-"
	}
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("making the bucket folder: %w", err)
	}
	s := &Service{cfg: cfg, routes: operations()}
	s.buffers.New = func() any { b := make([]byte, bufferSize); return &b }
	s.policies.m = map[string]*parsedBucket{}
	s.verifier = sigv4.New(sigv4.Config{Secret: s.secret, Services: []string{"s3"}, Now: cfg.Now})

	if s.lock, err = lockFolder(filepath.Join(cfg.Dir, "lock")); err != nil {
		return nil, err
	}
	if s.files, err = openFiles(cfg.Dir, cfg.Now); err != nil {
		s.lock.Close()
		return nil, err
	}
	ctx, stop := context.WithCancel(context.Background())
	if s.index, err = openIndex(ctx, filepath.Join(cfg.Dir, "index.db"), s.files.any); err != nil {
		stop()
		s.lock.Close()
		return nil, err
	}
	s.collector.wake = make(chan struct{}, 1)
	s.collector.stop = stop
	s.collector.done = make(chan struct{})
	go s.collect(ctx)
	return s, nil
}

// Close ends the background work and closes the folder. Requests must have ended.
func (s *Service) Close() error {
	s.collector.stop()
	<-s.collector.done
	err := s.index.close()
	if lerr := s.lock.Close(); err == nil {
		err = lerr
	}
	return err
}

// secret serves the verifier.
func (s *Service) secret(ctx context.Context, id string) (string, bool, error) {
	if s.cfg.Credentials == nil {
		return "", false, nil
	}
	return s.cfg.Credentials.Secret(ctx, id)
}

// wake tells the collector that there is garbage.
func (s *Service) wake() {
	select {
	case s.collector.wake <- struct{}{}:
	default:
	}
}

// suspect hands over a committed part file whose entry in the index failed or
// may have failed: the collector asks the index.
func (s *Service) suspect(id fileID) {
	s.collector.Lock()
	s.collector.suspects = append(s.collector.suspects, id)
	s.collector.Unlock()
	s.files.settle(id)
	s.wake()
}

// collect removes garbage until ctx ends: first what an earlier process left,
// then what requests leave. A crash anywhere loses only the list of buried
// files, which the next start finds again by looking.
func (s *Service) collect(ctx context.Context) {
	defer close(s.collector.done)
	s.reportCollect(ctx, s.sweepAll(ctx))
	s.reportCollect(ctx, s.scanFiles(ctx))
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.collector.wake:
			s.reportCollect(ctx, s.sweepAll(ctx))
		}
	}
}

func (s *Service) reportCollect(ctx context.Context, err error) {
	if err != nil && ctx.Err() == nil {
		s.cfg.Log.ErrorContext(ctx, "collecting unreferenced part files", slog.Any("error", err))
	}
}

// sweepAll clears the garbage of the index and removes the files that became
// free. When it returns nil, files stay only for readers.
func (s *Service) sweepAll(ctx context.Context) error {
	s.collector.working.Lock()
	defer s.collector.working.Unlock()
	s.collector.Lock()
	suspects := s.collector.suspects
	s.collector.suspects = nil
	s.collector.Unlock()
	if err := s.buryUnused(ctx, suspects); err != nil {
		return err
	}
	for {
		freed, done, err := s.index.sweep(ctx, sweepBatch)
		if err != nil {
			return err
		}
		s.files.bury(freed)
		if _, err := s.files.unlink(); err != nil {
			return fmt.Errorf("removing a part file: %w", err)
		}
		if done {
			return nil
		}
	}
}

// scanFiles buries the part files that the index does not know.
func (s *Service) scanFiles(ctx context.Context) error {
	s.collector.working.Lock()
	defer s.collector.working.Unlock()
	for shard := range 256 {
		err := s.files.each(byte(shard), func(ids []fileID) error {
			idle := ids[:0]
			for _, id := range ids {
				if !s.files.isWriting(id) { // once settled, the index tells the truth
					idle = append(idle, id)
				}
			}
			return s.buryUnused(ctx, idle)
		})
		if err != nil {
			return err
		}
	}
	_, err := s.files.unlink()
	return err
}

// buryUnused buries those of the files that the index does not refer to. It
// asks in a writing transaction, behind every commit that is under way.
func (s *Service) buryUnused(ctx context.Context, ids []fileID) error {
	if len(ids) == 0 {
		return nil
	}
	var free []fileID
	err := s.index.write(ctx, func(ctx context.Context, tx *txn) error {
		free = free[:0]
		for _, id := range ids {
			used, err := fileUsed(ctx, tx, id)
			if err != nil {
				return err
			}
			if !used {
				free = append(free, id)
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	s.files.bury(free)
	return nil
}
