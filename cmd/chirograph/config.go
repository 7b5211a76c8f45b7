package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"github.com/spf13/viper"
)

// settings fills the flags of cmd that were not given on the command line from
// the environment (CHIROGRAPH_FLAG_NAME) and then from the configuration file.
func settings(cmd *cobra.Command) error {
	v := viper.New()
	v.SetEnvPrefix("chirograph")
	v.SetEnvKeyReplacer(strings.NewReplacer("-", "_"))
	v.AutomaticEnv()
	path, err := cmd.Flags().GetString("config")
	if err != nil {
		return err
	}
	if path == "" {
		path = os.Getenv("CHIROGRAPH_CONFIG")
	}
	if path != "" {
		v.SetConfigFile(path)
		if err := v.ReadInConfig(); err != nil {
			hint := "it holds one key per flag, such as listen: 127.0.0.1:8440, and its name ends in .yaml, .toml or .json"
			if errors.Is(err, fs.ErrNotExist) {
				hint = "check --config or CHIROGRAPH_CONFIG"
			}
			return usageError(hint, "reading the configuration file %s: %w", path, err)
		}
		for _, key := range v.AllKeys() {
			// One file may serve all commands, so a key must only be some command's flag.
			if !knownFlag(cmd.Root(), key) {
				return usageError(fmt.Sprintf("see %q for the names", "chirograph serve --help"), "the configuration file %s sets %q, which is not a flag", path, key)
			}
		}
	}
	var errs []error
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if f.Changed || !v.IsSet(f.Name) || f.Name == "config" {
			return
		}
		if err := cmd.Flags().Set(f.Name, v.GetString(f.Name)); err != nil {
			source := "CHIROGRAPH_" + strings.ToUpper(strings.ReplaceAll(f.Name, "-", "_"))
			if os.Getenv(source) == "" {
				source = path
			}
			errs = append(errs, fmt.Errorf("%s: %w", source, err))
		}
	})
	if err := errors.Join(errs...); err != nil {
		return usageError("", "%w", err)
	}
	return nil
}

func knownFlag(cmd *cobra.Command, name string) bool {
	if cmd.Flags().Lookup(name) != nil || cmd.PersistentFlags().Lookup(name) != nil {
		return true
	}
	for _, c := range cmd.Commands() {
		if knownFlag(c, name) {
			return true
		}
	}
	return false
}

// defaultDataDir is where a server keeps everything unless told otherwise.
func defaultDataDir() string {
	if d := os.Getenv("XDG_DATA_HOME"); d != "" {
		return filepath.Join(d, "chirograph")
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "chirograph-data"
	}
	return filepath.Join(home, ".local", "share", "chirograph")
}
