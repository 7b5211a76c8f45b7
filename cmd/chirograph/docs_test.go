package main

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"chirograph.dev/internal/bench"
)

// TestDocs runs every command that the documentation shows, page by page, as
// a reader would: in a copy of the sources, with an empty HOME.
func TestDocs(t *testing.T) {
	t.Parallel()
	pages := []string{"README.md"}
	more, err := filepath.Glob("../../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range more {
		pages = append(pages, filepath.Join("docs", filepath.Base(p)))
	}
	built, err := bench.Build(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for _, page := range pages {
		t.Run(strings.TrimSuffix(filepath.Base(page), ".md"), func(t *testing.T) {
			text, err := os.ReadFile(filepath.Join("..", "..", page))
			if err != nil {
				t.Fatal(err)
			}
			script := consoleCommands(string(text))
			if page != "README.md" {
				// The README's own build is run; the pages begin with the same one.
				script = strings.ReplaceAll(script, buildCommand, "cp "+shellQuote(built)+" chirograph\n")
			}
			if script != "" {
				runAsReader(t, script)
			}
		})
	}
}

const buildCommand = "go build -o chirograph ./cmd/chirograph\n"

var consoleBlock = regexp.MustCompile("(?ms)^```console\n(.*?)^```$")

// consoleCommands collects the lines of console blocks that begin with "$ ",
// with their continuations.
func consoleCommands(page string) string {
	var script strings.Builder
	for _, block := range consoleBlock.FindAllStringSubmatch(page, -1) {
		for line := range strings.Lines(block[1]) {
			script.WriteString(strings.TrimPrefix(line, "$ "))
		}
	}
	return script.String()
}

func runAsReader(t *testing.T, script string) {
	t.Helper()
	dir := t.TempDir()
	// The working tree, as git would hand it out.
	clone := "git -C ../.. ls-files -z --cached --others --exclude-standard | tar -C ../.. --null -T - -cf - --ignore-failed-read 2>/dev/null | tar -C " + shellQuote(dir) + " -xf -"
	if out, err := exec.Command("bash", "-c", clone).CombinedOutput(); err != nil {
		t.Fatalf("copying the sources: %v\n%s", err, out)
	}
	env, err := exec.Command("go", "env", "GOMODCACHE", "GOCACHE").Output()
	if err != nil {
		t.Fatal(err)
	}
	caches := strings.Fields(string(env))
	ctx, cancel := context.WithTimeout(t.Context(), 8*time.Minute)
	defer cancel()
	// make test would run this very test again: make -n reads the rule and says what it would run.
	script = strings.ReplaceAll(script, "make test\n", "make -n test > /dev/null\n")
	cmd := exec.CommandContext(ctx, "bash", "-c", "set -euo pipefail\ntrap 'kill $(jobs -p) 2>/dev/null || true; wait' EXIT\nset -x\n"+script)
	cmd.Dir = dir
	tools, err := filepath.Abs(filepath.Join("..", "..", ".tools"))
	if err != nil {
		t.Fatal(err)
	}
	cmd.Env = append(cleanEnvironment(), "PATH="+tools+":"+os.Getenv("PATH"), "HOME="+t.TempDir(), "GOMODCACHE="+caches[0], "GOCACHE="+caches[1], "GOFLAGS=-buildvcs=false", "CGO_ENABLED=0")
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
}

// cleanEnvironment is the environment without what points AWS clients somewhere.
func cleanEnvironment() []string {
	var env []string
	for _, e := range os.Environ() {
		if !strings.HasPrefix(e, "AWS_") && !strings.HasPrefix(e, "HOME=") && !strings.HasPrefix(e, "CHIROGRAPH_") && !strings.HasPrefix(e, "XDG_") {
			env = append(env, e)
		}
	}
	return env
}
