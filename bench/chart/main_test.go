package main

import (
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestRun draws a picture of a few results, whose text is text, and none of
// what there are no results of.
func TestRun(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	results := filepath.Join(dir, "results.json")
	const text = `{"program": "report", "machine": "a machine", "results": [
		{"what": "JSON, first report", "size": 1000000, "seconds": 1.5, "peakResidentBytes": 150000000},
		{"what": "JSON, first report", "size": 10000000, "seconds": 14, "peakResidentBytes": 160000000},
		{"what": "JSON, 1000 revoked, recent", "size": 1000000, "seconds": 0.5},
		{"what": "JSON, 0 of 62 blocks changed", "size": 1000000, "seconds": 0.3},
		{"what": "JSON, 62 of 62 blocks changed", "size": 1000000, "at": 1, "seconds": 1.4},
		{"what": "peer: something", "size": 1000000, "seconds": 9, "peer": {"command": "something"}}]}`
	if err := os.WriteFile(results, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := run(dir, []string{results}); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string][]string{
		"report-json.svg":    {"a machine", "first report", "1M", "10M", "linear"},
		"report-memory.svg":  {"MiB"},
		"report-changed.svg": {"JSON, 1M certificates", "0"},
	} {
		got, err := texts(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		for _, w := range want {
			if !strings.Contains(got, "|"+w+"|") {
				t.Errorf("%s lacks %q: %s", name, w, got)
			}
		}
	}
	if files, err := filepath.Glob(filepath.Join(dir, "*.svg")); err != nil || len(files) != 3 {
		t.Errorf("%v %v", files, err)
	}
}

// texts gives the texts of a picture, each between bars.
func texts(name string) (string, error) {
	f, err := os.Open(name)
	if err != nil {
		return "", err
	}
	defer f.Close()
	all := "|"
	for d := xml.NewDecoder(f); ; {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return all, nil
		} else if err != nil {
			return "", err
		}
		if c, ok := token.(xml.CharData); ok {
			if s := strings.TrimSpace(string(c)); s != "" {
				all += s + "|"
			}
		}
	}
}
