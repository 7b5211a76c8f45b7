package sqlite

import (
	"path/filepath"
	"testing"

	"chirograph.dev/internal/store/storetest"
)

// engine is a DB that the suite can open again.
type engine struct {
	*DB
	cfg Config
}

func (e *engine) Reopen(t *testing.T) storetest.Engine {
	t.Helper()
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	return openEngine(t, e.cfg)
}

func openEngine(t *testing.T, cfg Config) *engine {
	t.Helper()
	return &engine{DB: openDB(t, cfg), cfg: cfg}
}

// openDB opens a store that is closed when the test ends.
func openDB(t testing.TB, cfg Config) *DB {
	t.Helper()
	db, err := Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return db
}

func newPath(t testing.TB) string { return filepath.Join(t.TempDir(), "data", "chirograph.db") }

func TestEngine(t *testing.T) {
	storetest.Run(t, func(t *testing.T) storetest.Engine { return openEngine(t, Config{Path: newPath(t)}) })
}
