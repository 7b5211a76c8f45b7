package main

import (
	"bytes"
	"context"
	"strings"
	"testing"
)

func TestCommandLineMistakes(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"srve"}, `did you mean "chirograph serve"?`},
		{[]string{"nonsense"}, `see "chirograph --help"`},
		{[]string{"audit-report", "creat"}, `did you mean "chirograph audit-report create"?`},
		{[]string{"serve", "now"}, "takes flags only"},
		{[]string{"tour", "--certificates", "1"}, "from 2 to"},
		{[]string{"env", "--output", "yaml", "--data-dir", "/nonexistent"}, "unknown output"},
		{[]string{"audit-report", "create", "--ca", "arn", "--bucket", "b", "--format", "pdf"}, "use JSON or CSV"},
	} {
		t.Run(strings.Join(c.args, " "), func(t *testing.T) {
			t.Parallel()
			code, stdout, stderr := command(t, c.args...)
			if code != exitUsage || stdout != "" || !strings.Contains(stderr, c.want) {
				t.Errorf("exit code %d, want %d and a message that says %q:\n%s%s", code, exitUsage, c.want, stdout, stderr)
			}
		})
	}
}

func TestCommandsWithoutArgumentsShowHelp(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{{}, {"audit-report"}, {"log"}, {"account"}, {"user"}, {"role"}, {"key"}, {"policy"}, {"oidc-provider"}} {
		code, stdout, _ := command(t, args...)
		if code != exitOK || !strings.Contains(stdout, "Available Commands:") {
			t.Errorf("chirograph %s: exit code %d:\n%s", strings.Join(args, " "), code, stdout)
		}
	}
}

// stopAt ends a context when something is written that holds text.
type stopAt struct {
	bytes.Buffer
	text string
	stop context.CancelFunc
}

func (w *stopAt) Write(p []byte) (int, error) {
	n, err := w.Buffer.Write(p)
	if strings.Contains(w.String(), w.text) {
		w.stop()
	}
	return n, err
}

// TestTourInterrupted stops a tour that would take minutes while it issues.
func TestTourInterrupted(t *testing.T) {
	t.Parallel()
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	out := &stopAt{text: "A root CA, active", stop: stop}
	var errs bytes.Buffer
	code := run(ctx, []string{"tour", "--certificates", "1000000"}, out, &errs)
	if code != exitFailure || errs.String() != "chirograph: interrupted\n" {
		t.Errorf("exit code %d:\n%s", code, errs.String())
	}
}
