package auditlog

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"filippo.io/torchwood"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
	"golang.org/x/sync/errgroup"

	"chirograph.dev/internal/anchor"
	"chirograph.dev/internal/certlog"
	"chirograph.dev/internal/store"
)

// knownHead is a head of a log that the outside knows.
type knownHead struct {
	origin string
	size   uint64
	root   tlog.Hash // zero when only the size is known
	signed bool      // by a key of the log that we have
}

const anchorName = "the anchor"

func anchorSource(a Anchor) Source {
	return Source{Name: anchorName, Trusted: true, Newest: func(ctx context.Context, ca string) ([]byte, error) {
		b, err := a.Newest(ctx, ca)
		if errors.Is(err, anchor.ErrNone) {
			return nil, nil
		}
		return b, err
	}}
}

// Check compares all logs with what the sources and the witnesses know of them,
// before anything is appended. A log that is behind, or differs, refuses entries
// from then on, and the server's log says so; that a place cannot be reached is a
// warning, and Run looks again. It takes half a minute at the most.
func (s *Service) Check(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startFor)
	defer cancel()
	err := s.pass(ctx, s.Witnesses != nil)
	if errors.Is(err, context.DeadlineExceeded) {
		s.Log.WarnContext(ctx, "not all logs could be compared with what is known of them outside; the rest follows in the background")
		return nil
	}
	return err
}

// Run signs, cosigns and anchors the heads of logs that grew, makes the
// comparisons that Check could not make, and reads sealed blocks over, until ctx
// ends; then it returns nil.
func (s *Service) Run(ctx context.Context) error {
	var scrub scrubber
	signed, scrubbed := s.Now(), s.Now()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(s.pause()):
		}
		sign := s.Interval > 0 && s.Now().Sub(signed) >= s.Interval && (s.Witnesses != nil || s.Anchor != nil)
		if sign {
			signed = s.Now()
		}
		if sign || s.behind.Load() {
			if err := s.pass(ctx, sign); err != nil && ctx.Err() == nil {
				s.Log.ErrorContext(ctx, "going over the heads of all logs failed; it is tried again", "error", err)
			}
		}
		if s.Now().Sub(scrubbed) >= scrubEvery {
			scrubbed = s.Now()
			s.scrub(ctx, &scrub)
		}
	}
}

func (s *Service) pause() time.Duration {
	if s.Interval > 0 {
		return min(s.Interval, retryEvery)
	}
	return retryEvery
}

// pass goes over all logs. Sources that do not answer are asked once in it.
func (s *Service) pass(ctx context.Context, sign bool) (err error) {
	silent := &silence{}
	defer func() { s.behind.Store(err != nil || silent.any()) }()
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(parallel)
	err = store.EachCA(ctx, s.Records.CAs, func(rec *store.CertificateAuthority) error {
		if len(rec.CSR) == 0 {
			return nil // it has no log to speak of yet, or never came to have one
		}
		g.Go(func() error {
			s.look(ctx, rec.ID, sign, silent)
			return ctx.Err()
		})
		return nil
	})
	return errors.Join(err, g.Wait())
}

// silence is which trusted sources did not answer in one pass.
type silence struct {
	mu    sync.Mutex
	names map[string]bool
}

func (s *silence) of(name string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.names[name]
}

func (s *silence) any() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.names) > 0
}

// add tells whether it is the first time.
func (s *silence) add(name string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.names == nil {
		s.names = map[string]bool{}
	}
	first := !s.names[name]
	s.names[name] = true
	return first
}

// look compares one log, and signs its head if it grew.
func (s *Service) look(ctx context.Context, ca string, sign bool, silent *silence) {
	st := s.state(ca)
	st.mu.Lock()
	defer st.mu.Unlock()
	if s.Entries.Refused(ca) != nil {
		return
	}
	head, err := s.Entries.Head(ctx, ca)
	if errors.Is(err, certlog.ErrHead) {
		s.refuse(ctx, st, ca, err)
		return
	}
	if err == nil && head.Size > 0 && !st.compared {
		err = s.compare(ctx, st, ca, &head, silent)
	}
	if err == nil && sign && head.Size > 0 && (head.Size != st.newest.size || !st.newest.whole || s.Anchor != nil && st.anchored < head.Size) {
		_, err = s.checkpoint(ctx, st, ca, 0, !silent.of(anchorName)) // an anchor that is away costs one wait, not one for each log
	}
	if err != nil && ctx.Err() == nil && s.Entries.Refused(ca) == nil {
		s.Log.ErrorContext(ctx, "a log cannot be looked over; it is tried again", "ca", ca, "error", err)
	}
}

// compare asks the sources what they know of a log.
func (s *Service) compare(ctx context.Context, st *logState, ca string, head *certlog.Head, silent *silence) error {
	keys, err := s.Records.AuditKeys(ctx, ca)
	if err != nil {
		return err
	}
	if len(keys) == 0 {
		first, err := s.genesisKey(ctx, ca)
		if err != nil {
			return err
		}
		keys = append(keys, first)
	}
	all := true
	for _, src := range s.Sources {
		if silent.of(src.Name) {
			all = false
			continue
		}
		b, err := s.ask(ctx, &src, ca)
		if ctx.Err() != nil {
			return ctx.Err() // no time was left for the answer: that is no comparison
		}
		if err != nil && !src.Trusted {
			s.Log.InfoContext(ctx, "a log cannot be compared with what is kept of it elsewhere", "ca", ca, "where", src.Name, "error", err)
			continue
		}
		if err != nil {
			all = false
			if silent.add(src.Name) {
				s.Log.WarnContext(ctx, "logs cannot be compared with what is kept of them elsewhere; it is tried again", "where", src.Name, "error", err)
			}
			continue
		}
		for _, k := range s.heads(ctx, ca, b) {
			if !k.signed && !src.Trusted {
				s.Log.WarnContext(ctx, "a checkpoint of a log is signed by a key that is not known here; it is no evidence", "ca", ca, "where", src.Name, "size", k.size)
				continue
			}
			why, err := s.contradicts(ctx, keys, head, &k)
			if err != nil {
				return err
			}
			if why != nil {
				return s.refuse(ctx, st, ca, fmt.Errorf("%s: %w", src.Name, why), k)
			}
			if src.Name == s.Sources[0].Name && s.Anchor != nil && k.origin == originOf(&keys[len(keys)-1]) {
				st.anchored = k.size
			}
		}
	}
	st.compared = all
	return nil
}

func (s *Service) ask(ctx context.Context, src *Source, ca string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, sourceTimeout)
	defer cancel()
	return src.Newest(ctx, ca)
}

// heads reads a checkpoint of one of a log's epochs; none when it is something
// else, or not there.
func (s *Service) heads(ctx context.Context, ca string, checkpoint []byte) []knownHead {
	if len(checkpoint) == 0 {
		return nil
	}
	_, err := note.Open(checkpoint, note.VerifierList())
	unverified, ok := errors.AsType[*note.UnverifiedNoteError](err)
	if !ok {
		s.Log.WarnContext(ctx, "what is kept of a log elsewhere is no signed note", "ca", ca, "error", err)
		return nil
	}
	c, err := torchwood.ParseCheckpoint(unverified.Note.Text)
	if err != nil {
		s.Log.WarnContext(ctx, "what is kept of a log elsewhere is no checkpoint", "ca", ca, "error", err)
		return nil
	}
	var verifiers note.Verifiers
	first, err := s.genesisKey(ctx, ca)
	if err == nil {
		verifiers, err = s.verifiers(ctx, ca, c.Origin, epochOf(originOf(&first), c.Origin))
	}
	if err == nil {
		_, err = note.Open(checkpoint, verifiers)
	}
	return []knownHead{{origin: c.Origin, size: uint64(c.N), root: c.Hash, signed: err == nil}}
}

// contradicts says how a log that has this head cannot have had the known one.
// Heads of earlier epochs are what a recovery gave up.
func (s *Service) contradicts(ctx context.Context, keys []store.AuditKey, head *certlog.Head, k *knownHead) (why, err error) {
	first, ours := originOf(&keys[0]), originOf(&keys[len(keys)-1])
	switch {
	case epochOf(first, k.origin) > epochOf(first, ours):
		return fmt.Errorf("%d entries of %s are known there, and this store has no such epoch: it was rolled back", k.size, k.origin), nil
	case k.origin != ours:
		return nil, nil
	case k.size > head.Size:
		return fmt.Errorf("%d entries of %s are known there, and this store has %d: it was rolled back", k.size, k.origin, head.Size), nil
	case k.size == 0:
		return nil, nil
	}
	root, err := s.root(ctx, keys[0].CA, k.size)
	if err != nil {
		return nil, err
	}
	if root != k.root {
		return fmt.Errorf("the first %d entries of %s that are known there are not those of this store: it was rewritten", k.size, k.origin), nil
	}
	return nil, nil
}

// refuse stops a log and keeps the evidence for its recovery. The error wraps
// certlog.ErrHead.
func (s *Service) refuse(ctx context.Context, st *logState, ca string, why error, known ...knownHead) error {
	s.Entries.Refuse(ca, why)
	st.known = append(st.known, known...)
	s.Log.ErrorContext(ctx, "the log of a certificate authority is not what it was. It issues, revokes and reports nothing until the newest data folder is put back and the server started again, or the loss is accepted with chirograph log recover",
		"ca", ca, "error", why)
	return s.Entries.Refused(ca)
}

// scrubber is where the reading over of sealed blocks has come to.
type scrubber struct {
	created time.Time
	id      string
	block   uint64
}

// blockNodes is how many nodes of level 8 a block of the log has.
const blockNodes = certlog.BlockSize >> 8

// scrub reads one sealed block over and goes on to the next: the nodes of the
// tree above it must be what its entries hash to. It finds what disks and other
// programs did to entries that nobody reads.
func (s *Service) scrub(ctx context.Context, at *scrubber) {
	for range 2 { // once more from the beginning
		for {
			recs, err := s.Records.CAs(ctx, "", at.created, at.id, 1)
			if err != nil || len(recs) == 0 {
				break
			}
			ca := recs[0].ID
			head, err := s.Store.LogHead(ctx, ca)
			if err == nil && at.block < head.Size/certlog.BlockSize {
				err = s.scrubBlock(ctx, ca, at.block)
				at.block++
				if errors.Is(err, certlog.ErrHead) && s.Entries.Refused(ca) == nil {
					st := s.state(ca)
					st.mu.Lock()
					s.refuse(ctx, st, ca, err)
					st.mu.Unlock()
				} else if err != nil && ctx.Err() == nil {
					s.Log.ErrorContext(ctx, "a sealed block of a log cannot be read", "ca", ca, "error", err)
				}
				return
			}
			at.created, at.id, at.block = recs[0].CreatedAt, ca, 0
		}
		*at = scrubber{}
	}
}

// scrubBlock compares the entries of a full block with the nodes of level 8.
func (s *Service) scrubBlock(ctx context.Context, ca string, block uint64) error {
	want, err := s.Store.LogNodes(ctx, ca, 8, block*blockNodes, (block+1)*blockNodes)
	if err != nil {
		return err
	}
	leaves := make([]tlog.Hash, 0, 1<<8)
	return s.Store.LogEntries(ctx, ca, block*certlog.BlockSize, (block+1)*certlog.BlockSize, func(i uint64, b []byte) error {
		if leaves = append(leaves, tlog.RecordHash(b)); len(leaves) < cap(leaves) {
			return nil
		}
		if n := i >> 8; certlog.TreeRoot(leaves) != want[n-block*blockNodes] {
			return fmt.Errorf("%w: the entries [%d, %d) do not hash to the node above them; chirograph fsck tells more", certlog.ErrDamaged, n<<8, (n+1)<<8)
		}
		leaves = leaves[:0]
		return nil
	})
}
