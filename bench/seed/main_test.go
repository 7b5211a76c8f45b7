package main

import (
	"testing"

	"chirograph.dev/internal/bench/benchtest"
)

// TestSeed makes a store and fills it.
func TestSeed(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	d := benchtest.Run(t, newProgram(), "--data-dir", dir+"/data", "--certificates", "500")
	if len(d.Results) != 1 || d.Results[0].Units != 500 || d.Results[0].Bytes == 0 {
		t.Errorf("%+v", d)
	}
	benchtest.Refuse(t, newProgram, []string{}, []string{"--data-dir", dir, "--revoked", "0.6"})
}
