package main

import (
	"testing"

	"chirograph.dev/internal/bench/benchtest"
)

// TestIssue runs the program small.
func TestIssue(t *testing.T) {
	t.Parallel()
	d := benchtest.Run(t, newProgram(), "--duration", "20ms", "--connections", "1,4")
	if len(d.Results) != 2 {
		t.Fatalf("%+v", d)
	}
	for _, r := range d.Results {
		if r.Units == 0 || r.P50 == 0 || r.FloorCPU == 0 {
			t.Errorf("%+v", r)
		}
	}
}
