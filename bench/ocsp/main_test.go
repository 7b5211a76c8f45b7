package main

import (
	"os/exec"
	"testing"

	"chirograph.dev/internal/bench/benchtest"
)

// TestOCSP runs the program small.
func TestOCSP(t *testing.T) {
	t.Parallel()
	want := 6
	if _, err := exec.LookPath("openssl"); err == nil {
		want = 8
	}
	d := benchtest.Run(t, newProgram(), "--duration", "40ms", "--certificates", "200", "--cached", "10", "--connections", "2")
	if len(d.Results) != want {
		t.Fatalf("%+v", d.Results)
	}
	for _, r := range d.Results {
		if r.Units == 0 || r.P50 == 0 {
			t.Errorf("%+v", r)
		}
	}
	benchtest.Refuse(t, newProgram, []string{"--certificates", "10"}, []string{"--cached", "1M"})
}
