package main

import (
	"bytes"
	"encoding/json"
	"testing"

	"chirograph.dev/internal/bench"
)

// TestRevoke runs the program small: each number of callers revokes until its
// part of the certificates is used up, or the time is.
func TestRevoke(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	args := []string{"--dir", t.TempDir(), "--output", "json", "--duration", "40ms", "--certificates", "400", "--connections", "1,4", "--callers", "8"}
	if err := newProgram().Execute(t.Context(), args, &out, t.Output()); err != nil {
		t.Fatal(err)
	}
	var d bench.Document
	if err := json.Unmarshal(out.Bytes(), &d); err != nil {
		t.Fatal(err)
	}
	if len(d.Results) != 3 {
		t.Fatalf("%+v", d.Results)
	}
	for _, r := range d.Results {
		if r.Units == 0 || r.Units > 200 || r.P50 == 0 {
			t.Errorf("%+v", r)
		}
	}
	if err := newProgram().Execute(t.Context(), []string{"--certificates", "10"}, &out, t.Output()); err == nil {
		t.Error("a store that is too small was accepted")
	}
}
