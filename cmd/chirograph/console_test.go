package main

import (
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"chirograph.dev/internal/console"
)

// TestConsoleSettings: what the settings say reaches the console; without one
// there is none of it.
func TestConsoleSettings(t *testing.T) {
	t.Parallel()
	get := func(url string) (int, string) {
		t.Helper()
		resp, err := http.Get(url)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, string(b)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	l.Close()
	i := start(t, func(cfg *serveConfig) {
		cfg.PublicURL = "https://pca.example.com"
		cfg.ConsoleOIDCIssuer, cfg.ConsoleOIDCClientID, cfg.ConsoleOIDCName = "https://id.example.com", "console", "Example"
		cfg.ConsoleOIDCRoles = []string{"arn:aws:iam::123456789012:role/auditors"}
		cfg.Listen = address // the public one leads elsewhere
	})
	if i.Console != "https://pca.example.com/console/" {
		t.Error(i.Console)
	}
	at := "http://" + address + "/console/"
	if status, body := get(at); status != 200 || !strings.Contains(body, "<script") {
		t.Errorf("%d %s", status, body)
	}
	_, body := get(at + "api/settings")
	var s console.Settings
	if err := json.Unmarshal([]byte(body), &s); err != nil || s.OIDC == nil || s.OIDC.Name != "Example" || s.IdleSeconds != 1800 || s.Destination != "the embedded bucket service" {
		t.Errorf("%s, %v", body, err)
	}
	if _, err := os.Stat(filepath.Join(i.DataDir, "inventory.db")); err != nil {
		t.Error(err)
	}

	i = start(t, func(cfg *serveConfig) { cfg.Console = false })
	if status, body := get(i.API + "/console/"); status != 404 || !strings.Contains(body, "UnknownOperationException") || i.Console != "" {
		t.Errorf("%d %s, %s", status, body, i.Console)
	}
	if _, err := os.Stat(filepath.Join(i.DataDir, "inventory.db")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("without a console there is an inventory: %v", err)
	}
}
