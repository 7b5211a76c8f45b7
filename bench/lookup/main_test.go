package main

import (
	"testing"

	"chirograph.dev/internal/bench/benchtest"
)

// TestLookup runs the program small.
func TestLookup(t *testing.T) {
	t.Parallel()
	d := benchtest.Run(t, newProgram(), "--duration", "20ms", "--certificates", "100,200", "--connections", "1")
	if len(d.Results) != 2 || d.Results[0].Size != 100 || d.Results[1].Size != 200 || d.Results[1].Units == 0 || d.Results[1].P99 == 0 {
		t.Errorf("%+v", d.Results)
	}
	benchtest.Refuse(t, newProgram, []string{"--connections", "0"}, []string{"--certificates", "0"}, []string{"more"})
}
