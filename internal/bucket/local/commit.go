package local

import (
	"context"
	"errors"
	"sync"
)

// commits is the way into the index: those who come while a transaction is
// under way share the next one, and its sync.
type commits struct {
	db   *database
	turn chan struct{} // held by who commits for all that wait

	mu      sync.Mutex
	waiting []*change
}

// change is a caller's part of a transaction.
type change struct {
	ctx  context.Context
	fn   func(context.Context, *txn) error
	err  error
	done chan struct{}
}

func newCommits(db *database) *commits { return &commits{db: db, turn: make(chan struct{}, 1)} }

// write runs fn in a transaction that is durable when write returns nil. Others
// may share it, in the order in which they came: each sees the changes before
// its own, and its error undoes only what it did itself. fn gets a context that
// does not end, since SQLite undoes the whole transaction of a statement that
// is interrupted. It runs again, alone, when another's error undid all.
//
// An error of the database comes as *storageError; it is then unknown whether
// the last step, the commit, reached the disk.
func (w *commits) write(ctx context.Context, fn func(context.Context, *txn) error) error {
	c := &change{ctx: ctx, fn: fn, done: make(chan struct{})}
	w.mu.Lock()
	w.waiting = append(w.waiting, c)
	w.mu.Unlock()
	for {
		select {
		case <-c.done:
			return c.err
		case w.turn <- struct{}{}:
			w.commit()
		}
	}
}

// commit makes the changes that wait now, perhaps none, in one transaction, and
// gives the turn back.
func (w *commits) commit() {
	defer func() { <-w.turn }()
	w.mu.Lock()
	batch := w.waiting
	w.waiting = nil
	w.mu.Unlock()
	if len(batch) == 0 {
		return
	}
	defer func() {
		for _, c := range batch {
			close(c.done)
		}
	}()
	if culprit := w.share(batch); culprit != nil {
		for _, c := range batch {
			if c != culprit {
				w.share([]*change{c})
			}
		}
	}
}

// share makes changes in one transaction and sets their errors. culprit is the
// change whose error undid all of it, as that of a full disk does.
func (w *commits) share(batch []*change) (culprit *change) {
	err := errors.New("the transaction did not come to an end") // after a panic of a change
	defer func() {
		for _, c := range batch {
			// What S3 would be told may rest on a change that is lost.
			var known *apiError
			if err != nil && (c.err == nil || errors.As(c.err, &known)) {
				c.err = &storageError{err}
			}
		}
	}()
	culprit, err = w.transact(batch)
	return culprit
}

// transact returns an error of the transaction as a whole, and whose it was;
// those of single changes are in them.
func (w *commits) transact(batch []*change) (culprit *change, err error) {
	ctx := context.Background()
	tx, err := w.db.begin(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { _ = tx.Rollback() }() // after Commit it does nothing
	made := false
	for _, c := range batch {
		if c.err = c.ctx.Err(); c.err != nil {
			continue
		}
		if _, err := tx.ExecContext(ctx, beginChange); err != nil {
			return nil, err
		}
		if err := c.fn(ctx, tx); err == nil {
			made = true
		} else {
			var known *apiError
			if c.err = err; !errors.As(err, &known) {
				c.err = &storageError{err}
			}
			// Fails when the error was the disk's and undid the transaction.
			if _, err := tx.ExecContext(ctx, undoChange); err != nil {
				return c, err
			}
		}
		if _, err := tx.ExecContext(ctx, endChange); err != nil {
			return c, err
		}
	}
	if !made {
		return nil, nil
	}
	return nil, tx.Commit()
}
