package local

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
)

// together runs n writers whose changes share a transaction, in their order;
// before is called when all of them wait.
func together(x *commits, n int, writer func(i int) error, before func()) []error {
	x.turn <- struct{}{} // a transaction is under way
	var wg sync.WaitGroup
	errs := make([]error, n)
	for i := range errs {
		wg.Go(func() { errs[i] = writer(i) })
		for waiting := 0; waiting != i+1; runtime.Gosched() {
			x.mu.Lock()
			waiting = len(x.waiting)
			x.mu.Unlock()
		}
	}
	before()
	<-x.turn
	wg.Wait()
	return errs
}

// TestSharedCommitFails loses a transaction that several share: nobody is told
// anything that was only true in it, and who comes next is served.
func TestSharedCommitFails(t *testing.T) {
	t.Parallel()
	index := start(t).index
	for name, fail := range map[string]func(context.Context, *txn) error{
		"the disk undoes it": func(ctx context.Context, tx *txn) error {
			_, err := tx.ExecContext(ctx, `ROLLBACK`)
			return errors.Join(err, errors.New("full"))
		},
		"a change panics": func(context.Context, *txn) error { panic("a mistake") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			x := newCommits(index.db)
			var panics atomic.Int32
			errs := together(x, 4, func(i int) (err error) {
				defer func() {
					if recover() != nil { // of who led
						panics.Add(1)
						err = &storageError{errors.ErrUnsupported}
					}
				}()
				return x.write(t.Context(), func(ctx context.Context, tx *txn) error {
					switch i {
					case 1:
						return errNoSuchBucket("x")
					case 2:
						return fail(ctx, tx)
					}
					return nil
				})
			}, func() {})
			for i, err := range errs {
				var disk *storageError
				if !errors.As(err, &disk) {
					t.Errorf("change %d: %v", i, err)
				}
			}
			if panics.Load() > 1 {
				t.Errorf("%d panics", panics.Load())
			}
			if err := x.write(t.Context(), func(context.Context, *txn) error { return nil }); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestSharedCommit puts changes into one transaction: each sees those before
// it, and one that fails, or whose caller has gone, undoes its own alone.
func TestSharedCommit(t *testing.T) {
	t.Parallel()
	index := start(t).index
	x := newCommits(index.db) // which only this test uses
	gone, cancel := context.WithCancel(t.Context())
	add := func(ctx context.Context, tx *txn, name string) error {
		_, err := tx.ExecContext(ctx, `INSERT INTO bucket (name, account, region, created, acl, ownership, public_access, object_lock) VALUES (?, '', '', 0, '', '', 0, 0)`, name)
		return err
	}
	errs := together(x, 8, func(i int) error {
		ctx := t.Context()
		if i == 5 {
			ctx = gone
		}
		return x.write(ctx, func(ctx context.Context, tx *txn) error {
			if err := add(ctx, tx, fmt.Sprintf("b%d", i)); err != nil {
				return err
			}
			switch i {
			case 2:
				return errNoSuchBucket("x")
			case 3:
				return add(ctx, tx, "b0") // the name is taken, by who came before
			}
			return nil
		})
	}, cancel)
	for i, err := range errs {
		var known *apiError
		var disk *storageError
		switch i {
		case 2:
			if !errors.As(err, &known) {
				t.Errorf("change %d: %v", i, err)
			}
		case 3:
			if !errors.As(err, &disk) {
				t.Errorf("change %d: %v", i, err)
			}
		case 5:
			if !errors.Is(err, context.Canceled) {
				t.Errorf("change %d: %v", i, err)
			}
		default:
			if err != nil {
				t.Errorf("change %d: %v", i, err)
			}
		}
	}
	rows, err := index.r.QueryContext(t.Context(), `SELECT name FROM bucket ORDER BY name`)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	var names []string
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			t.Fatal(err)
		}
		names = append(names, name)
	}
	if want := []string{"b0", "b1", "b4", "b6", "b7"}; !slices.Equal(names, want) || rows.Err() != nil {
		t.Errorf("%q, want %q, %v", names, want, rows.Err())
	}
}
