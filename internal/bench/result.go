package bench

import (
	"fmt"
	"io"
	"strings"
	"time"
)

// Run is one run of a Program.
type Run struct {
	Flags
	Stderr io.Writer // what is not a result: progress

	program  *Program
	out      io.Writer
	date     time.Time
	machine  string
	results  []Result
	notes    []string
	printed  bool    // the head of the table is
	peered   bool    // the program has run its peers where it wants them
	failures []error // of peers
}

// Result is one measurement. What is 0 was not measured. The ratios follow from
// the rest (Run.Report).
type Result struct {
	What string `json:"what"`           // such as "64 connections" or "JSON, second report"
	Size uint64 `json:"size,omitempty"` // certificates in the store, where that is what varies
	// At is where the measurement stands on the axis of its picture, such as the
	// fraction of segments that changed.
	At float64 `json:"at,omitempty"`

	Units     float64 `json:"units"` // how many were handled
	Seconds   float64 `json:"seconds"`
	PerSecond float64 `json:"perSecond"`
	CPU       float64 `json:"cpuMicroseconds,omitempty"`       // of the measured process, user and system, for each unit
	System    float64 `json:"systemCPUMicroseconds,omitempty"` // the kernel's part of CPU

	P50  float64 `json:"p50Milliseconds,omitempty"`
	P99  float64 `json:"p99Milliseconds,omitempty"`
	P999 float64 `json:"p999Milliseconds,omitempty"`
	Max  float64 `json:"maxMilliseconds,omitempty"`

	Bytes   int64 `json:"bytes,omitempty"`             // of the outcome, such as the report
	Written int64 `json:"writtenBytes,omitempty"`      // that the measured process sent to the disk
	Peak    int64 `json:"peakResidentBytes,omitempty"` // of the measured process

	FloorCPU     float64 `json:"floorCPUMicroseconds,omitempty"` // for each unit, in the same run
	FloorSeconds float64 `json:"floorSeconds,omitempty"`         // for all units, in the same run
	FloorP99     float64 `json:"floorP99Milliseconds,omitempty"` // in the same run
	RatioCPU     float64 `json:"ratioCPU,omitempty"`             // CPU to FloorCPU
	RatioSeconds float64 `json:"ratioSeconds,omitempty"`         // Seconds to FloorSeconds
	RatioP99     float64 `json:"ratioP99,omitempty"`             // P99 to FloorP99

	Peer *Peer `json:"peer,omitempty"` // What is of somebody else
}

// Peer says whose Result it is, and how it compares.
type Peer struct {
	Command      string  `json:"command"`
	RatioCPU     float64 `json:"ratioCPU,omitempty"`     // its CPU for each unit, to ours
	RatioSeconds float64 `json:"ratioSeconds,omitempty"` // its seconds for each unit, to ours
}

// Document is what --output json writes.
type Document struct {
	Program string    `json:"program"`
	Date    time.Time `json:"date"` // when it began
	Machine string    `json:"machine"`
	Unit    string    `json:"unit"`
	Floor   string    `json:"floor,omitempty"`
	Results []Result  `json:"results"`
	Notes   []string  `json:"notes,omitempty"`
}

// Document gives what was reported until now.
func (r *Run) Document() *Document {
	return &Document{Program: r.program.Name, Date: r.date, Machine: r.machine, Unit: r.program.Unit, Floor: r.program.Floor, Results: r.results, Notes: r.notes}
}

// Report takes a result, computes the ratios, and prints it.
func (r *Run) Report(res Result) {
	if res.PerSecond == 0 && res.Seconds > 0 {
		res.PerSecond = res.Units / res.Seconds
	}
	if res.FloorCPU > 0 {
		res.RatioCPU = res.CPU / res.FloorCPU
	}
	if res.FloorSeconds > 0 {
		res.RatioSeconds = res.Seconds / res.FloorSeconds
	}
	if res.FloorP99 > 0 {
		res.RatioP99 = res.P99 / res.FloorP99
	}
	r.results = append(r.results, res)
	if r.Output != "text" {
		return
	}
	if !r.printed {
		r.printed = true
		fmt.Fprintf(r.out, "\n%11s  %-34s %9s %11s %9s %8s %8s %8s %9s %9s %8s\n", r.program.Unit, "", "seconds", "a second", "CPU us", "p50 ms", "p99 ms", "max ms", "MB", "MB disk", "peak MiB")
	}
	size := ""
	if res.Size > 0 {
		size = fmt.Sprint(res.Size)
	}
	line := fmt.Sprintf("%11s  %-34s %9s %11s %9s %8s %8s %8s %9s %9s %8s", size, res.What,
		number(res.Seconds, 2), number(res.PerSecond, 0), number(res.CPU, 2), number(res.P50, 2), number(res.P99, 2), number(res.Max, 2),
		number(float64(res.Bytes)/1e6, 1), number(float64(res.Written)/1e6, 1), number(float64(res.Peak)/(1<<20), 0))
	fmt.Fprintln(r.out, strings.TrimRight(line, " "))
	if res.RatioP99 > 0 {
		fmt.Fprintf(r.out, "%13sp99 is %.2f times, p99.9 is %.2f ms\n", "", res.RatioP99, res.P999)
	}
	if res.RatioCPU > 0 {
		fmt.Fprintf(r.out, "%13s%.3g times the floor's CPU time, %.3g us\n", "", res.RatioCPU, res.FloorCPU)
	}
	if res.RatioSeconds > 0 {
		fmt.Fprintf(r.out, "%13s%.3g times the floor's seconds, %.3g\n", "", res.RatioSeconds, res.FloorSeconds)
	}
	if p := res.Peer; p != nil {
		fmt.Fprintf(r.out, "%13sneeds %s times our seconds and %s times our CPU time for each of the %s\n", "", number(p.RatioSeconds, 2), number(p.RatioCPU, 2), r.program.Unit)
	}
}

// Note prints a line that is no result.
func (r *Run) Note(format string, args ...any) {
	note := fmt.Sprintf(format, args...)
	r.notes = append(r.notes, note)
	if r.Output == "text" {
		fmt.Fprintf(r.out, "%13s%s\n", "", note)
	}
}

// number is empty for what was not measured.
func number(f float64, digits int) string {
	if f == 0 {
		return "-"
	}
	return fmt.Sprintf("%.*f", digits, f)
}
