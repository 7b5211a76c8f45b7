package main

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// program runs a foreign program in testdata as a user of the server would,
// with nothing set but what `chirograph env` prints, and more.
func (i *instance) program(t *testing.T, name string, args, more []string) {
	t.Helper()
	config, credentials, err := clientFiles(i.DataDir)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = "testdata"
	cmd.Env = append(append(cleanEnvironment(), "PATH="+tools(t)+":"+os.Getenv("PATH"), "HOME="+t.TempDir(), "AWS_CONFIG_FILE="+config, "AWS_SHARED_CREDENTIALS_FILE="+credentials), more...)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

// tools is the folder in which make tools installs programs.
func tools(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs(filepath.Join("..", "..", ".tools"))
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// TestCLI drives all operations with the aws CLI.
func TestCLI(t *testing.T) {
	t.Parallel()
	i := start(t, nil)
	i.program(t, "bash", []string{"aws.sh", t.TempDir()}, nil)
}

// TestSDKForPython checks what programs on boto3 lean on: waiters, paginators,
// exception classes and retries.
func TestSDKForPython(t *testing.T) {
	t.Parallel()
	i := start(t, func(c *serveConfig) { c.Throttle = "ListTags=5:2" })
	i.program(t, "python3", []string{"sdk.py"}, nil)
}

// TestSDKForJavaScript drives a CA's life with the AWS SDK for JavaScript,
// which make tools installs.
func TestSDKForJavaScript(t *testing.T) {
	t.Parallel()
	i := start(t, nil)
	i.program(t, "node", []string{filepath.Join("javascript", "lifecycle.cjs")}, []string{"NODE_PATH=" + filepath.Join(tools(t), "javascript", "node_modules")})
}
