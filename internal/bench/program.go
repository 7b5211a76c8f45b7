package bench

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"time"
)

// Program is one of the programs under bench/: what it says about itself, its
// flags, and what it measures. All of them take the flags of Flags beside
// their own, with one dash or two.
type Program struct {
	Name string // of its folder: go run ./bench/NAME

	// Help tells a stranger what is measured, how long it takes and how much
	// disk it needs.
	Help string

	Unit  string // plural of what is counted, such as certificates
	Floor string // what Result.FloorCPU or FloorSeconds is: the work that nobody can leave out

	// Flags adds the program's own flags; may be nil.
	Flags func(*flag.FlagSet)
	// Check looks at the flags before anything is done; may be nil.
	Check func() error
	// Measure does the work and hands each Result to r as soon as it is there.
	Measure func(ctx context.Context, r *Run) error
}

// Flags are what every program takes.
type Flags struct {
	Output    string   // text or json
	Dir       string   // folder to work in
	Peers     []string // commands of others, run through sh
	PeerCount uint64   // units that such a command handles
}

// Main runs the program on the command line's arguments and ends the process:
// 0 when all was measured, 1 when something failed, 2 when the flags are wrong.
func (p *Program) Main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := p.Execute(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	var usage *usageError
	switch {
	case errors.Is(err, flag.ErrHelp):
	case errors.As(err, &usage):
		fmt.Fprintf(os.Stderr, "%s: %v\nTry: go run ./bench/%s --help\n", p.Name, err, p.Name)
		os.Exit(2)
	case err != nil:
		fmt.Fprintf(os.Stderr, "%s: %v\n", p.Name, err)
		os.Exit(1)
	}
}

// usageError says that the flags are wrong.
type usageError struct{ err error }

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }

// Execute is Main without a process: flag.ErrHelp when help was asked for.
func (p *Program) Execute(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	r := &Run{program: p, out: stdout, Stderr: stderr}
	set := flag.NewFlagSet(p.Name, flag.ContinueOnError)
	set.SetOutput(io.Discard) // what is wrong is said once, by Main
	set.StringVar(&r.Output, "output", "text", "`format` of the results: text, or json with the date and the machine")
	set.StringVar(&r.Dir, "dir", "", "`folder` to work in; what is made there is deleted afterwards (default: a new one in "+os.TempDir()+")")
	set.Func("peer", "`command` of another program that does the same, run through sh right after what it is compared with; its wall time, CPU time and peak memory are printed with the ratio to ours. It finds CHIROGRAPH_BENCH_UNITS in its environment, and what else this text names. Only processes that it waits for count. May be given several times", func(s string) error {
		r.Peers = append(r.Peers, s)
		return nil
	})
	set.Var((*count)(&r.PeerCount), "peer-count", "how many "+p.Unit+" one run of the peer's command handles (default: as many as ours did)")
	if p.Flags != nil {
		p.Flags(set)
	}
	if err := set.Parse(args); errors.Is(err, flag.ErrHelp) {
		fmt.Fprintf(stdout, "%s\n\nUsage: go run ./bench/%s [flags]\n\nFlags:\n", strings.TrimSpace(p.Help), p.Name)
		set.SetOutput(stdout)
		set.PrintDefaults()
		return err
	} else if err != nil {
		return &usageError{err}
	}
	switch {
	case set.NArg() != 0:
		return &usageError{fmt.Errorf("%q is not expected", set.Arg(0))}
	case r.Output != "text" && r.Output != "json":
		return &usageError{fmt.Errorf("--output is text or json, not %q", r.Output)}
	}
	if p.Check != nil {
		if err := p.Check(); err != nil {
			return &usageError{err}
		}
	}
	return r.run(ctx)
}

func (r *Run) run(ctx context.Context) (err error) {
	if r.Dir != "" {
		if err := os.MkdirAll(r.Dir, 0o700); err != nil {
			return err
		}
	}
	// A folder of our own even below Dir: nobody else's files are deleted.
	if r.Dir, err = os.MkdirTemp(r.Dir, "chirograph-bench-"); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(r.Dir)) }()
	r.date, r.machine = time.Now().UTC(), Machine()
	if r.Output == "text" {
		fmt.Fprintln(r.out, r.machine)
		if r.program.Floor != "" {
			fmt.Fprintf(r.out, "floor: %s\n", r.program.Floor)
		}
	}
	err = r.program.Measure(ctx, r)
	if n := len(r.results); err == nil && !r.peered && n > 0 {
		err = r.Peer(ctx, r.results[n-1])
	}
	err = errors.Join(append(r.failures, err)...)
	if r.Output == "text" || len(r.results) == 0 {
		return err
	}
	// What was measured before something failed is shown, too.
	e := json.NewEncoder(r.out)
	e.SetIndent("", "  ")
	return errors.Join(err, e.Encode(r.Document()))
}

// Counts is a flag: numbers separated by commas, such as 1,16,64 or
// 500k,1M,10M, none of them 0.
type Counts []uint64

// String implements flag.Value.
func (c *Counts) String() string {
	texts := make([]string, len(*c))
	for i, n := range *c {
		texts[i] = (*count)(&n).String()
	}
	return strings.Join(texts, ",")
}

// Set implements flag.Value.
func (c *Counts) Set(s string) error {
	var counts Counts
	for _, text := range strings.Split(s, ",") {
		var n count
		if err := n.Set(text); err != nil {
			return err
		}
		if n == 0 {
			return errors.New("0 is too few")
		}
		counts = append(counts, uint64(n))
	}
	*c = counts
	return nil
}

// Count makes a flag of one number, such as 1000, 10k or 100M.
func Count(set *flag.FlagSet, n *uint64, name, usage string) {
	set.Var((*count)(n), name, usage)
}

type count uint64

func (c *count) String() string {
	n := uint64(*c)
	switch {
	case n >= 1e6 && n%1e6 == 0:
		return fmt.Sprintf("%dM", n/1e6)
	case n >= 1e3 && n%1e3 == 0:
		return fmt.Sprintf("%dk", n/1e3)
	}
	return strconv.FormatUint(n, 10)
}

func (c *count) Set(s string) error {
	digits, unit := strings.TrimSpace(s), uint64(1)
	switch {
	case strings.HasSuffix(digits, "M"):
		unit = 1e6
	case strings.HasSuffix(digits, "k"), strings.HasSuffix(digits, "K"):
		unit = 1e3
	}
	n, err := strconv.ParseUint(strings.TrimRight(digits, "kKM"), 10, 40)
	if err != nil {
		return fmt.Errorf("%q is not a number such as 1000, 10k or 1M", s)
	}
	*c = count(n * unit)
	return nil
}
