package bench

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Usage is what a process used.
type Usage struct {
	Seconds float64
	CPU     float64 // seconds, user and system
	Peak    int64   // bytes resident, of the largest of its processes
}

// OwnCPU is the CPU time that this process has used, user and system.
func OwnCPU() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err) // only for arguments that there are not
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// Peer runs the commands of --peer, right after the measurement ours, and
// reports each beside it. env are variables such as "CHIROGRAPH_BENCH_ROWS=file"
// that the program's help names; CHIROGRAPH_BENCH_UNITS is set here. One that
// fails does not end the run, whose own results are good; it fails in the end.
func (r *Run) Peer(ctx context.Context, ours Result, env ...string) error {
	r.peered = true
	for _, command := range r.Peers {
		units := float64(r.PeerCount)
		if units == 0 {
			units = ours.Units
		}
		cmd := exec.CommandContext(ctx, "sh", "-c", command)
		cmd.Env = append(append(os.Environ(), env...), fmt.Sprintf("CHIROGRAPH_BENCH_UNITS=%.0f", units))
		u, err := RunCommand(cmd)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			r.failures = append(r.failures, fmt.Errorf("peer: %w", err))
			continue
		}
		theirs := Result{What: "peer: " + shorten(command, 28), Size: ours.Size, At: ours.At, Units: units, Seconds: u.Seconds, CPU: u.CPU * 1e6 / units, Peak: u.Peak, Peer: &Peer{Command: command}}
		if ours.Seconds > 0 && ours.Units > 0 {
			theirs.Peer.RatioSeconds = (u.Seconds / units) / (ours.Seconds / ours.Units)
		}
		if ours.CPU > 0 {
			theirs.Peer.RatioCPU = theirs.CPU / ours.CPU
		}
		r.Report(theirs)
	}
	return nil
}

func shorten(s string, n int) string {
	if r := []rune(s); len(r) > n {
		return string(r[:n-1]) + "…"
	}
	return s
}

// RunCommand runs a command to its end and measures it with all its
// descendants that are waited for. What it says is in the error, which wraps
// *exec.ExitError when it failed by itself.
func RunCommand(cmd *exec.Cmd) (Usage, error) {
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // so that its descendants are found, and end with it
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	start := time.Now()
	if err := cmd.Start(); err != nil {
		return Usage{}, err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	// The peak that the kernel tells at a process's end includes that of whoever
	// started it, so it is looked at while it runs.
	var u Usage
	for pause := time.Millisecond; ; pause = min(2*pause, 50*time.Millisecond) {
		select {
		case err := <-ended:
			u.Seconds = time.Since(start).Seconds()
			u.CPU = (cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()).Seconds()
			if err != nil {
				err = fmt.Errorf("%s: %w\n%s", strings.Join(cmd.Args, " "), err, said.String())
			}
			return u, err
		case <-time.After(pause):
			u.Peak = max(u.Peak, groupPeak(cmd.Process.Pid))
		}
	}
}

// groupPeak is the highest resident set that any process of a group has had.
func groupPeak(group int) (peak int64) {
	if _, p, err := Memory(group); err == nil { // else it has just ended
		peak = p
	}
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return peak
	}
	for _, stat := range stats {
		b, err := os.ReadFile(stat)
		if err != nil {
			continue // ended
		}
		f := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
		if len(f) < 3 || f[2] != strconv.Itoa(group) {
			continue
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(stat)))
		if err != nil {
			continue
		}
		if _, p, err := Memory(pid); err == nil {
			peak = max(peak, p)
		}
	}
	return peak
}

// Written is how many bytes the process has sent to the disk, or to the cache
// in front of it from where they will go.
func (s *Server) Written() (int64, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/io", s.cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(b)) {
		if value, ok := strings.CutPrefix(line, "write_bytes: "); ok {
			return strconv.ParseInt(strings.TrimSpace(value), 10, 64)
		}
	}
	return 0, errors.New("the kernel does not count the bytes of a process")
}
