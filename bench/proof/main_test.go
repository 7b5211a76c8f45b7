package main

import (
	"bytes"
	"encoding/json"
	"testing"

	"chirograph.dev/internal/bench"
)

// TestProof runs the program small.
func TestProof(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	args := []string{"--dir", t.TempDir(), "--output", "json", "--certificates", "300", "--repeat", "1", "--rounds", "0"}
	if err := newProgram().Execute(t.Context(), args, &out, t.Output()); err != nil {
		t.Fatal(err)
	}
	var d bench.Document
	if err := json.Unmarshal(out.Bytes(), &d); err != nil {
		t.Fatal(err)
	}
	if len(d.Results) != 12 {
		t.Fatalf("%+v", d.Results)
	}
	for _, r := range d.Results {
		if r.Size != 300 || r.Bytes == 0 && r.Seconds == 0 {
			t.Errorf("%+v", r)
		}
	}
}
