package main

import (
	"testing"

	"chirograph.dev/internal/bench/benchtest"
)

// TestSearch runs the program small.
func TestSearch(t *testing.T) {
	t.Parallel()
	d := benchtest.Run(t, newProgram(), "--duration", "4ms", "--certificates", "300")
	if len(d.Results) != 19 || d.Results[0].Bytes == 0 || d.Results[0].CPU == 0 || d.Results[1].Units == 0 || d.Results[18].P99 == 0 {
		t.Errorf("%+v", d.Results)
	}
	benchtest.Refuse(t, newProgram, []string{"--certificates", "0"}, []string{"more"})
}
