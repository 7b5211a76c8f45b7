package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
)

func newEnv() *cobra.Command {
	var dataDir, output string
	cmd := &cobra.Command{
		Use:   "env",
		Short: "Print the variables that point the aws CLI and the AWS SDKs at a server",
		Long: `env prints shell commands that set AWS_CONFIG_FILE and
AWS_SHARED_CREDENTIALS_FILE to the files that the server wrote at its start:

  eval "$(chirograph env --data-dir DIR)"
  aws sts get-caller-identity

With them, aws acm-pca, aws iam, aws organizations, aws s3, aws sts, boto3 and
the AWS SDKs reach the server with no other setting. The files have a profile
for every key that was made with --profile.`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := settings(cmd); err != nil {
				return err
			}
			if output != "text" && output != "json" {
				return usageError("use text or json", "unknown output %q", output)
			}
			config, credentials, err := clientFiles(dataDir)
			if err != nil {
				return err
			}
			if _, err := os.Stat(config); errors.Is(err, fs.ErrNotExist) {
				return noServerYet(dataDir, config)
			} else if err != nil {
				return err
			}
			if output == "json" {
				return printJSON(cmd.OutOrStdout(), map[string]string{"AWS_CONFIG_FILE": config, "AWS_SHARED_CREDENTIALS_FILE": credentials})
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "export AWS_CONFIG_FILE=%s\nexport AWS_SHARED_CREDENTIALS_FILE=%s\nunset AWS_PROFILE AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY AWS_SESSION_TOKEN AWS_REGION AWS_DEFAULT_REGION AWS_ROLE_ARN AWS_WEB_IDENTITY_TOKEN_FILE AWS_ENDPOINT_URL AWS_ENDPOINT_URL_ACM_PCA AWS_ENDPOINT_URL_IAM AWS_ENDPOINT_URL_STS AWS_ENDPOINT_URL_ORGANIZATIONS AWS_ENDPOINT_URL_S3\n", shellQuote(config), shellQuote(credentials))
			return err
		},
	}
	cmd.Flags().StringVar(&dataDir, "data-dir", defaultDataDir(), "the server's data folder")
	cmd.Flags().StringVar(&output, "output", "text", "text (shell commands) or json")
	choices(cmd, "output", "text", "json")
	return cmd
}

// noServerYet is the answer for a folder without client files.
func noServerYet(dataDir, config string) error {
	return &exitError{code: exitFailure, hint: "start the server once: " + self() + " serve --data-dir " + shellQuote(dataDir), err: fmt.Errorf("no server has written %s yet", config)}
}

// clientFiles names the two files that AWS clients read.
func clientFiles(dataDir string) (config, credentials string, err error) {
	abs, err := filepath.Abs(dataDir)
	if err != nil {
		return "", "", fmt.Errorf("resolving the data folder: %w", err)
	}
	return filepath.Join(abs, "aws", "config"), filepath.Join(abs, "aws", "credentials"), nil
}

func shellQuote(s string) string {
	if s != "" && !strings.ContainsFunc(s, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("/._-+:@%", r))
	}) {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
