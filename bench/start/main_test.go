package main

import (
	"testing"

	"chirograph.dev/internal/bench/benchtest"
)

// TestStart runs the program small.
func TestStart(t *testing.T) {
	t.Parallel()
	d := benchtest.Run(t, newProgram(), "--rounds", "1", "--certificates", "100", "--objects", "2", "--load", "50ms")
	if len(d.Results) != 6 {
		t.Fatalf("%+v", d.Results)
	}
	for _, r := range d.Results {
		if r.Seconds == 0 || r.RatioSeconds == 0 || r.Size != 100 {
			t.Errorf("%+v", r)
		}
	}
	benchtest.Refuse(t, newProgram, []string{"--rounds", "0"})
}
