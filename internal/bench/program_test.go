package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"math"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// demo measures nothing: it reports what its flags say.
func demo() *Program {
	sizes, one := Counts{500_000, 1_000_000}, uint64(10_000)
	return &Program{
		Name: "demo", Unit: "things", Floor: "nothing", Help: "demo shows.",
		Flags: func(set *flag.FlagSet) {
			set.Var(&sizes, "sizes", "sizes")
			Count(set, &one, "one", "a number")
		},
		Check: func() error {
			if one == 13 {
				return errors.New("13 is not taken")
			}
			return nil
		},
		Measure: func(ctx context.Context, r *Run) error {
			for _, n := range sizes {
				res := Result{What: "demo", Size: n, Units: float64(one), Seconds: 2, CPU: 3, FloorCPU: 1.5, FloorSeconds: 4}
				r.Report(res)
				if err := r.Peer(ctx, res, "CHIROGRAPH_BENCH_SIZE=7"); err != nil {
					return err
				}
			}
			r.Note("a note")
			return nil
		},
	}
}

func TestProgram(t *testing.T) {
	t.Parallel()
	run := func(args ...string) (string, error) {
		var out bytes.Buffer
		err := demo().Execute(t.Context(), args, &out, t.Output())
		return out.String(), err
	}
	help, err := run("-help")
	if !errors.Is(err, flag.ErrHelp) {
		t.Fatal(err)
	}
	for _, want := range []string{"demo shows.", "go run ./bench/demo", "default 500k,1M", "default 10k", "-peer ", "-peer-count", "-output", "-dir"} {
		if !strings.Contains(help, want) {
			t.Errorf("the help lacks %q:\n%s", want, help)
		}
	}
	dir := t.TempDir()
	text, err := run("--output=text", "-sizes", "3k,20", "--one", "5", "--dir", dir, "--peer", `test $CHIROGRAPH_BENCH_SIZE$CHIROGRAPH_BENCH_UNITS = 72`, "--peer-count", "2")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"floor: nothing", "3000  demo", "20  demo", "2 times the floor's CPU time, 1.5 us", "0.5 times the floor's seconds, 4", "peer: test", "a note"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is missing:\n%s", want, text)
		}
	}
	if left, err := filepath.Glob(filepath.Join(dir, "*")); err != nil || len(left) != 0 {
		t.Errorf("%v is left, %v", left, err)
	}

	text, err = run("--output", "json", "--sizes", "1", "--dir", dir, "--peer", "sleep 0.05", "--peer", "seq 200000 | sort -R > /dev/null")
	if err != nil {
		t.Fatal(err)
	}
	var d Document
	if err := json.Unmarshal([]byte(text), &d); err != nil {
		t.Fatal(err)
	}
	if d.Program != "demo" || d.Unit != "things" || d.Machine == "" || d.Date.IsZero() || len(d.Results) != 3 || d.Results[0].RatioCPU != 2 || d.Results[0].PerSecond != 5000 {
		t.Fatalf("%+v", d)
	}
	for i, r := range d.Results[1:] {
		if r.Peer == nil || r.Units != 10_000 || r.Seconds == 0 || math.Abs(r.Peer.RatioSeconds-r.Seconds/2) > 1e-9 {
			t.Errorf("peer %d: %+v", i, r)
		}
	}
	if busy := d.Results[2]; busy.CPU == 0 || busy.Peak < 1<<20 { // of sort, a grandchild
		t.Errorf("%+v", busy)
	}

	for _, args := range [][]string{{"--output", "xml"}, {"--sizes", "0"}, {"--sizes", "1,"}, {"--sizes", "1T"}, {"--one", "-1"}, {"--one", "13"}, {"more"}, {"--none"}} {
		var usage *usageError
		if _, err := run(args...); !errors.As(err, &usage) {
			t.Errorf("%q: %v", args, err)
		}
	}
	var exit *exec.ExitError
	text, err = run("--dir", dir, "--output", "json", "--peer", "echo no >&2; exit 3")
	if !errors.As(err, &exit) || exit.ExitCode() != 3 || !strings.Contains(err.Error(), "no\n") || json.Unmarshal([]byte(text), &d) != nil || len(d.Results) != 2 || !slices.Equal(d.Notes, []string{"a note"}) {
		t.Errorf("a peer that fails: %v, %s", err, text)
	}
	if c := (Counts{1, 1500, 2000, 3_000_000}); !slices.Equal(strings.Split(c.String(), ","), []string{"1", "1500", "2k", "3M"}) {
		t.Error(c.String())
	}
}
