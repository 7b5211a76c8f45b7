package main

import (
	"bytes"
	"encoding/json"
	"testing"

	"chirograph.dev/internal/bench"
)

// TestStart runs the program small.
func TestStart(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	args := []string{"--dir", t.TempDir(), "--output", "json", "--rounds", "1", "--certificates", "100", "--objects", "2", "--load", "50ms"}
	if err := newProgram().Execute(t.Context(), args, &out, t.Output()); err != nil {
		t.Fatal(err)
	}
	var d bench.Document
	if err := json.Unmarshal(out.Bytes(), &d); err != nil {
		t.Fatal(err)
	}
	if len(d.Results) != 6 {
		t.Fatalf("%+v", d.Results)
	}
	for _, r := range d.Results {
		if r.Seconds == 0 || r.RatioSeconds == 0 || r.Size != 100 {
			t.Errorf("%+v", r)
		}
	}
	if err := newProgram().Execute(t.Context(), []string{"--rounds", "0"}, &out, t.Output()); err == nil {
		t.Error("no rounds were accepted")
	}
}
