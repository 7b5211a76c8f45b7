package main

import (
	"testing"

	"chirograph.dev/internal/bench/benchtest"
)

// TestProof runs the program small.
func TestProof(t *testing.T) {
	t.Parallel()
	d := benchtest.Run(t, newProgram(), "--certificates", "300", "--repeat", "1", "--rounds", "0")
	if len(d.Results) != 12 {
		t.Fatalf("%+v", d.Results)
	}
	for _, r := range d.Results {
		if r.Size != 300 || r.Bytes == 0 && r.Seconds == 0 {
			t.Errorf("%+v", r)
		}
	}
}
