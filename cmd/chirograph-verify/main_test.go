package main

import (
	"bytes"
	"encoding/json"
	"io"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"chirograph.dev/cmd/internal/verify"
)

// TestLinksNoServer: nothing of a server, a database or a service's client is
// in this program, and nothing of ours speaks HTTP. (Two libraries, torchwood
// with the formats and the progress bar, can; nothing here calls that, so the
// linker leaves it out.)
func TestLinksNoServer(t *testing.T) {
	t.Parallel()
	out, err := exec.Command("go", "list", "-deps", "-json=ImportPath,Imports,Standard", ".").Output()
	if err != nil {
		t.Fatal(err)
	}
	ours := []string{
		"cmd/chirograph-verify", "cmd/internal/verify",
		"internal/certlog", "internal/certlog/rendering", "internal/issuance", "internal/pca", "internal/proof", "internal/terminal",
	}
	d := json.NewDecoder(bytes.NewReader(out))
	for {
		var p struct {
			ImportPath string
			Imports    []string
			Standard   bool
		}
		if err := d.Decode(&p); err == io.EOF {
			return
		} else if err != nil {
			t.Fatal(err)
		}
		if room, ok := strings.CutPrefix(p.ImportPath, "chirograph.dev/"); ok && !slices.Contains(ours, room) {
			t.Errorf("%s is linked", p.ImportPath)
		}
		for _, bad := range []string{"github.com/aws/", "modernc.org/", "github.com/spf13/viper"} {
			if strings.HasPrefix(p.ImportPath, bad) || p.ImportPath == "database/sql" {
				t.Errorf("%s is linked", p.ImportPath)
			}
		}
		http := p.Standard || p.ImportPath == "filippo.io/torchwood" || p.ImportPath == "github.com/schollz/progressbar/v3"
		if !http && slices.ContainsFunc(p.Imports, func(i string) bool { return i == "net/http" || i == "os/exec" }) {
			t.Errorf("%s imports net/http or os/exec", p.ImportPath)
		}
	}
}

func TestCommandLine(t *testing.T) {
	t.Parallel()
	missing := filepath.Join(t.TempDir(), "report.json")
	for _, c := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"--help"}, 0, "Exit codes:"},
		{[]string{"--version"}, 0, "version"},
		{[]string{"completion", "bash"}, 0, "__start_chirograph-verify"},
		{[]string{"__complete", "--output", ""}, 0, "json"},
		{nil, 2, "give one report"},
		{[]string{"a.json", "b.json"}, 2, "give one report"},
		{[]string{"--nonsense"}, 2, "unknown flag"},
		{[]string{missing, "--max-age", "x"}, 2, "36h or 30d"},
		{[]string{missing, "--max-age", "1e-15d"}, 2, "36h or 30d"},
		{[]string{missing, "--policy", ""}, 2, "--policy is empty"},
		{[]string{missing, "--sample", "0%", "--nonce", "n"}, 2, "3%"},
		{[]string{missing, "--output", "yaml"}, 2, "text or json"},
		{[]string{missing}, 2, "opening the report"},
	} {
		var stdout, stderr bytes.Buffer
		code := verify.Main(t.Context(), c.args, "version", &stdout, &stderr)
		if text := stdout.String() + stderr.String(); code != c.code || !strings.Contains(text, c.want) {
			t.Errorf("%q: exit code %d, want %d and %q:\n%s", c.args, code, c.code, c.want, text)
		}
	}
}
