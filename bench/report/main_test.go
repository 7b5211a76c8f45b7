package main

import (
	"bytes"
	"encoding/json"
	"testing"

	"chirograph.dev/internal/bench"
)

// TestReport runs the program small, and once more over a store that it is given.
func TestReport(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	binary, err := bench.Build(dir)
	if err != nil {
		t.Fatal(err)
	}
	ca, err := bench.MakeStore(t.Context(), binary, dir+"/data", "bench-reports")
	if err != nil {
		t.Fatal(err)
	}
	if err := bench.Seed(t.Context(), dir+"/data", ca, 300, 0.02); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	args := []string{"--dir", dir, "--output", "json", "-data-dir", dir + "/data", "--ca", ca, "--formats", "CSV", "--postgres", "0", "--fresh", "10", "--recent", "0.5", "--fractions", "1", "--peer", `test "$(wc -l < "$CHIROGRAPH_BENCH_ROWS")" = $((CHIROGRAPH_BENCH_UNITS + 1))`}
	if err := newProgram().Execute(t.Context(), args, &out, t.Output()); err != nil {
		t.Fatal(err)
	}
	var d bench.Document
	if err := json.Unmarshal(out.Bytes(), &d); err != nil {
		t.Fatal(err)
	}
	want := []string{"CSV, floor: rendered in memory", "CSV, floor: written plainly", "CSV, first report", "", "CSV, 10 revoked, recent", "CSV, 10 revoked, scattered", "CSV, 1 of 1 blocks changed"}
	if len(d.Results) != len(want) {
		t.Fatalf("%+v", d.Results)
	}
	for i, r := range d.Results {
		if (want[i] == "") != (r.Peer != nil) || r.Peer == nil && (r.What != want[i] || r.Bytes == 0) || r.Size != 301 || r.Units != 301 || r.Seconds == 0 {
			t.Errorf("%d: %+v", i, r)
		}
	}
	for _, args := range [][]string{{"--ca", "a"}, {"--formats", "XML"}, {"--fractions", "2"}, {"--recent", "0"}} {
		if err := newProgram().Execute(t.Context(), args, &out, t.Output()); err == nil {
			t.Errorf("%q was accepted", args)
		}
	}
}
