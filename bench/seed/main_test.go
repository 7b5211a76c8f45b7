package main

import (
	"bytes"
	"encoding/json"
	"testing"

	"chirograph.dev/internal/bench"
)

// TestSeed makes a store and fills it.
func TestSeed(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	dir := t.TempDir()
	if err := newProgram().Execute(t.Context(), []string{"--dir", dir, "--output", "json", "--data-dir", dir + "/data", "--certificates", "500"}, &out, t.Output()); err != nil {
		t.Fatal(err)
	}
	var d bench.Document
	if err := json.Unmarshal(out.Bytes(), &d); err != nil {
		t.Fatal(err)
	}
	if len(d.Results) != 1 || d.Results[0].Units != 500 || d.Results[0].Bytes == 0 {
		t.Errorf("%+v", d)
	}
	for _, args := range [][]string{{}, {"--data-dir", dir, "--revoked", "0.6"}} {
		if err := newProgram().Execute(t.Context(), args, &out, t.Output()); err == nil {
			t.Errorf("%q was accepted", args)
		}
	}
}
