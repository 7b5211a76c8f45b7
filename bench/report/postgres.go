package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sort"
	"time"
)

var errNoPostgreSQL = errors.New("PostgreSQL is not installed")

// copyWithPostgreSQL loads the rows of a CSV report into a PostgreSQL of its
// own and times COPY (SELECT json...) of them to nowhere.
func copyWithPostgreSQL(ctx context.Context, dir, csv string) (took time.Duration, err error) {
	bins, err := filepath.Glob("/usr/lib/postgresql/*/bin")
	if err != nil || len(bins) == 0 {
		return 0, errNoPostgreSQL
	}
	sort.Strings(bins)
	bin := bins[len(bins)-1]
	cluster, socket := filepath.Join(dir, "postgres"), filepath.Join(dir, "socket")
	for _, d := range []string{cluster, socket} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			return 0, err
		}
	}
	as := func(name string, args ...string) *exec.Cmd {
		if os.Getuid() == 0 { // PostgreSQL refuses to run as root
			return exec.CommandContext(ctx, "runuser", append([]string{"-u", "postgres", "--", name}, args...)...)
		}
		return exec.CommandContext(ctx, name, args...)
	}
	if os.Getuid() == 0 {
		if out, err := exec.CommandContext(ctx, "chown", "-R", "postgres", cluster, socket, csv).CombinedOutput(); err != nil {
			return 0, fmt.Errorf("%w: %s", err, out)
		}
		// The server's user must reach the folder through its parents.
		for d := dir; d != "/" && d != os.TempDir(); d = filepath.Dir(d) {
			if err := os.Chmod(d, 0o711); err != nil {
				return 0, err
			}
		}
	}
	run := func(c *exec.Cmd) error {
		c.Dir = "/"
		if out, err := c.CombinedOutput(); err != nil {
			return fmt.Errorf("%s: %w\n%s", c.Args, err, out)
		}
		return nil
	}
	if err := run(as(filepath.Join(bin, "initdb"), "-D", cluster, "-U", "postgres", "--auth=trust", "--no-sync")); err != nil {
		return 0, err
	}
	ctl := filepath.Join(bin, "pg_ctl")
	if err := run(as(ctl, "-D", cluster, "-w", "-l", filepath.Join(cluster, "log"), "-o", "-c listen_addresses= -c unix_socket_directories="+socket+" -c shared_buffers=512MB", "start")); err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, run(as(ctl, "-D", cluster, "-m", "immediate", "stop"))) }()
	psql := func(sql string) error {
		return run(as(filepath.Join(bin, "psql"), "-h", socket, "-U", "postgres", "-v", "ON_ERROR_STOP=1", "-q", "-c", sql))
	}
	const columns = `"awsAccountId" text, "requestedByServicePrincipal" text, "certificateArn" text, serial text, subject text, "notBefore" text, "notAfter" text, "issuedAt" text, "revokedAt" text, "revocationReason" text, "templateArn" text`
	for _, sql := range []string{
		"CREATE UNLOGGED TABLE report (" + columns + ")",
		"COPY report FROM " + quote(csv) + " CSV HEADER",
		"VACUUM ANALYZE report",
	} {
		if err := psql(sql); err != nil {
			return 0, err
		}
	}
	start := time.Now()
	err = psql("COPY (SELECT json_strip_nulls(row_to_json(report)) FROM report) TO '/dev/null'")
	return time.Since(start), err
}

func quote(s string) string { return "'" + s + "'" }
