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
	x.turn <- struct{}{} // a transaction is under way
	var wg sync.WaitGroup
	errs := make([]error, 8)
	for i := range errs {
		ctx := t.Context()
		if i == 5 {
			ctx = gone
		}
		wg.Go(func() {
			errs[i] = x.write(ctx, func(ctx context.Context, tx *txn) error {
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
		})
		for n := 0; n != i+1; runtime.Gosched() { // in this order
			x.mu.Lock()
			n = len(x.waiting)
			x.mu.Unlock()
		}
	}
	cancel()
	<-x.turn
	wg.Wait()
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
