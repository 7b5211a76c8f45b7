// Package benchtest runs the programs under bench/ in their tests.
package benchtest

import (
	"bytes"
	"encoding/json"
	"testing"

	"chirograph.dev/internal/bench"
)

// Run runs a program in a folder of its own and gives what it measured.
func Run(t *testing.T, p *bench.Program, args ...string) *bench.Document {
	t.Helper()
	var out bytes.Buffer
	if err := p.Execute(t.Context(), append([]string{"--dir", t.TempDir(), "--output", "json"}, args...), &out, t.Output()); err != nil {
		t.Fatal(err)
	}
	d := new(bench.Document)
	if err := json.Unmarshal(out.Bytes(), d); err != nil {
		t.Fatal(err)
	}
	return d
}

// Refuse fails the test unless a program, made anew each time, refuses every
// one of these arguments.
func Refuse(t *testing.T, program func() *bench.Program, all ...[]string) {
	t.Helper()
	for _, args := range all {
		if err := program().Execute(t.Context(), args, t.Output(), t.Output()); err == nil {
			t.Errorf("%q was accepted", args)
		}
	}
}
