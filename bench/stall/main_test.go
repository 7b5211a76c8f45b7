package main

import (
	"bytes"
	"encoding/json"
	"testing"

	"chirograph.dev/internal/bench"
)

func TestStall(t *testing.T) {
	t.Parallel()
	var out, log bytes.Buffer
	err := program().Execute(t.Context(), []string{"--certificates", "5k", "--connections", "2", "--rounds", "1", "--quiet", "100ms", "--output", "json", "--dir", t.TempDir()}, &out, &log)
	if err != nil {
		t.Fatalf("%v\n%s", err, &log)
	}
	var d bench.Document
	if err := json.Unmarshal(out.Bytes(), &d); err != nil {
		t.Fatal(err)
	}
	ratios := 0
	for _, r := range d.Results {
		if r.RatioP99 > 0 && r.P50 > 0 && r.P50 <= r.P99 && r.P99 <= r.P999 && r.P999 <= r.Max {
			ratios++
		}
	}
	if len(d.Results) != 7 || ratios != 2 {
		t.Errorf("%s", &out)
	}
}
