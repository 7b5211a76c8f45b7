package main

import (
	"testing"

	"chirograph.dev/internal/bench/benchtest"
)

// TestRevoke runs the program small: each number of callers revokes until its
// part of the certificates is used up, or the time is.
func TestRevoke(t *testing.T) {
	t.Parallel()
	d := benchtest.Run(t, newProgram(), "--duration", "40ms", "--certificates", "400", "--connections", "1,4", "--callers", "8")
	if len(d.Results) != 3 {
		t.Fatalf("%+v", d.Results)
	}
	for _, r := range d.Results {
		if r.Units == 0 || r.Units > 200 || r.P50 == 0 {
			t.Errorf("%+v", r)
		}
	}
	benchtest.Refuse(t, newProgram, []string{"--certificates", "10"})
}
