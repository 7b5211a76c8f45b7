package main

import (
	"testing"

	"chirograph.dev/internal/bench"
	"chirograph.dev/internal/bench/benchtest"
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
	d := benchtest.Run(t, newProgram(), "-data-dir", dir+"/data", "--ca", ca, "--formats", "CSV", "--postgres", "0", "--fresh", "10", "--recent", "0.5", "--fractions", "1", "--peer", `test "$(wc -l < "$CHIROGRAPH_BENCH_ROWS")" = $((CHIROGRAPH_BENCH_UNITS + 1))`)
	want := []string{"CSV, floor: rendered in memory", "CSV, floor: written plainly", "CSV, first report", "", "CSV, 10 revoked, recent", "CSV, 10 revoked, scattered", "CSV, 1 of 1 blocks changed"}
	if len(d.Results) != len(want) {
		t.Fatalf("%+v", d.Results)
	}
	for i, r := range d.Results {
		if (want[i] == "") != (r.Peer != nil) || r.Peer == nil && (r.What != want[i] || r.Bytes == 0) || r.Size != 301 || r.Units != 301 || r.Seconds == 0 {
			t.Errorf("%d: %+v", i, r)
		}
	}
	benchtest.Refuse(t, newProgram, []string{"--ca", "a"}, []string{"--formats", "XML"}, []string{"--fractions", "2"}, []string{"--recent", "0"})
}
