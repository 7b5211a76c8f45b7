package local

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
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

// TestSharedCommitUndone lets a change end the transaction that others share.
// Those who were in it have one each when the disk was full, and an error after
// a panic, but never an answer that was true only in what is lost.
func TestSharedCommitUndone(t *testing.T) {
	t.Parallel()
	for _, panics := range []bool{false, true} {
		t.Run(fmt.Sprintf("panics=%v", panics), func(t *testing.T) {
			t.Parallel()
			x := newCommits(start(t).index.db)
			seen := make([]int, 4) // by each change, of those before it
			errs := together(x, 4, func(i int) (err error) {
				defer func() {
					if recover() != nil { // of who led
						err = &storageError{errors.ErrUnsupported}
					}
				}()
				return x.write(t.Context(), func(ctx context.Context, tx *txn) error {
					if err := tx.QueryRowContext(ctx, `SELECT count(*) FROM bucket`).Scan(&seen[i]); err != nil {
						return err
					}
					switch {
					case i == 1:
						return errNoSuchBucket("x")
					case i == 2 && panics:
						panic("a mistake")
					case i == 2: // what SQLite itself does where the disk is full
						_, err := tx.ExecContext(ctx, `ROLLBACK`)
						return errors.Join(err, errors.New("full"))
					}
					return addBucket(ctx, tx, fmt.Sprintf("b%d", i))
				})
			}, func() {})
			for i, err := range errs {
				var known *apiError
				var disk *storageError
				switch {
				case panics || i == 2:
					if !errors.As(err, &disk) {
						t.Errorf("change %d: %v", i, err)
					}
				case i == 1:
					if !errors.As(err, &known) {
						t.Errorf("change %d: %v", i, err)
					}
				case err != nil:
					t.Errorf("change %d: %v", i, err)
				}
			}
			if want := []int{0, 1, 1, 1}; !panics && !slices.Equal(seen, want) {
				t.Errorf("the changes saw %v buckets, want %v", seen, want)
			}
			if err := x.write(t.Context(), func(context.Context, *txn) error { return nil }); err != nil {
				t.Error(err)
			}
		})
	}
}

func addBucket(ctx context.Context, tx *txn, name string) error {
	_, err := tx.ExecContext(ctx, `INSERT INTO bucket (name, account, region, created, acl, ownership, public_access, object_lock) VALUES (?, '', '', 0, '', '', 0, 0)`, name)
	return err
}

// TestSharedCommit puts changes into one transaction: each sees those before
// it, and one that fails, or whose caller has gone, undoes its own alone.
func TestSharedCommit(t *testing.T) {
	t.Parallel()
	index := start(t).index
	x := newCommits(index.db) // which only this test uses
	gone, cancel := context.WithCancel(t.Context())
	errs := together(x, 8, func(i int) error {
		ctx := t.Context()
		if i == 5 {
			ctx = gone
		}
		return x.write(ctx, func(ctx context.Context, tx *txn) error {
			if err := addBucket(ctx, tx, fmt.Sprintf("b%d", i)); err != nil {
				return err
			}
			switch i {
			case 2:
				return errNoSuchBucket("x")
			case 3:
				return addBucket(ctx, tx, "b0") // the name is taken, by who came before
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
