package main

import (
	"bytes"
	"encoding/json"
	"testing"

	"chirograph.dev/internal/bench"
)

// TestIssue runs the program small.
func TestIssue(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	if err := newProgram().Execute(t.Context(), []string{"--dir", t.TempDir(), "--output", "json", "--duration", "20ms", "--connections", "1,4"}, &out, t.Output()); err != nil {
		t.Fatal(err)
	}
	var d bench.Document
	if err := json.Unmarshal(out.Bytes(), &d); err != nil {
		t.Fatal(err)
	}
	if len(d.Results) != 2 {
		t.Fatalf("%+v", d)
	}
	for _, r := range d.Results {
		if r.Units == 0 || r.P50 == 0 || r.FloorCPU == 0 {
			t.Errorf("%+v", r)
		}
	}
}
