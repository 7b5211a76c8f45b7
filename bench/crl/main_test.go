package main

import (
	"testing"

	"chirograph.dev/internal/bench/benchtest"
)

// TestCRL runs the program small.
func TestCRL(t *testing.T) {
	t.Parallel()
	d := benchtest.Run(t, newProgram(), "--entries", "300", "--deltas", "1")
	if len(d.Results) < 4 {
		t.Fatalf("%+v", d.Results)
	}
	for _, r := range d.Results[:3] {
		if r.Units < 200 || r.CPU == 0 || r.Peak == 0 {
			t.Errorf("%+v", r)
		}
	}
	if d.Results[1].Units != d.Results[0].Units+1 || d.Results[0].RatioCPU == 0 || d.Results[0].Bytes == 0 {
		t.Errorf("%+v", d.Results[:2])
	}
	benchtest.Refuse(t, newProgram, []string{"--entries", "0"})
}
