package main

import (
	"testing"

	"chirograph.dev/internal/bench/benchtest"
)

// TestStall runs the program small.
func TestStall(t *testing.T) {
	t.Parallel()
	d := benchtest.Run(t, newProgram(), "--certificates", "5k", "--connections", "2", "--rounds", "1", "--quiet", "100ms")
	ratios := 0
	for _, r := range d.Results {
		if r.RatioP99 > 0 && r.P50 > 0 && r.P50 <= r.P99 && r.P99 <= r.P999 && r.P999 <= r.Max {
			ratios++
		}
	}
	if len(d.Results) != 7 || ratios != 2 {
		t.Errorf("%+v", d.Results)
	}
}
