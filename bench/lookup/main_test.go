package main

import (
	"bytes"
	"encoding/json"
	"testing"

	"chirograph.dev/internal/bench"
)

// TestLookup runs the program small.
func TestLookup(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	args := []string{"--dir", t.TempDir(), "--output", "json", "--duration", "20ms", "--certificates", "100,200", "--connections", "1"}
	if err := newProgram().Execute(t.Context(), args, &out, t.Output()); err != nil {
		t.Fatal(err)
	}
	var d bench.Document
	if err := json.Unmarshal(out.Bytes(), &d); err != nil {
		t.Fatal(err)
	}
	if len(d.Results) != 2 || d.Results[0].Size != 100 || d.Results[1].Size != 200 || d.Results[1].Units == 0 || d.Results[1].P99 == 0 {
		t.Errorf("%+v", d.Results)
	}
	for _, args := range [][]string{{"--connections", "0"}, {"--certificates", "0"}, {"more"}} {
		if err := newProgram().Execute(t.Context(), args, &out, t.Output()); err == nil {
			t.Errorf("%q was accepted", args)
		}
	}
}
