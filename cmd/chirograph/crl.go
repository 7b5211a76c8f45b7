package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"chirograph.dev/internal/crl"
)

func newCRL() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "crl",
		Short: "See the CRLs of a CA, and have them made now",
		Long: `A CA whose revocation configuration has CRLs enabled writes them to an S3 bucket
by itself, when something was revoked and before they expire. These commands show
what it wrote, or why it did not, and have it done at once.`,
		Args: noArguments,
		RunE: showHelp,
	}
	list := crlCommand(http.MethodGet, "crls")
	list.Use = "list --ca ARN"
	list.Short = "List the CRLs of a CA: where they are, what is in them, when they were written"
	list.Long = list.Short + `.

It needs acm-pca:DescribeCertificateAuthority. With --output json there is more, such
as how many entries of the CA's log each CRL covers.`
	list.Example = `  chirograph crl list --ca "$CA"`
	publish := crlCommand(http.MethodPost, "publish")
	publish.Use = "publish --ca ARN"
	publish.Short = "Make and write all CRLs of a CA now"
	publish.Long = publish.Short + `.

They are made by themselves, too: this is for when somebody waits, or a bucket works
again. It needs pcaaudit:PublishCRL.`
	publish.Example = `  chirograph crl publish --ca "$CA"`
	cmd.AddCommand(list, publish)
	return cmd
}

// crlCommand is a command that sends one request about a CA's lists, and shows
// the lists that it is answered.
func crlCommand(method, path string) *cobra.Command {
	var (
		f  clientFlags
		ca string
	)
	cmd := &cobra.Command{
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := settings(cmd); err != nil {
				return err
			}
			if ca == "" {
				return usageError(cmd.CommandPath()+" --ca ARN", "--ca is needed")
			}
			id, err := caID(ca)
			if err != nil {
				return err
			}
			cfg, err := f.aws(cmd.Context())
			if err != nil {
				return err
			}
			server, err := newRemote(cfg, crl.PathPrefix, id)
			if err != nil {
				return err
			}
			server.asking = "asking for the CA's "
			if method == http.MethodPost {
				server.doing = "having the CRLs made and written"
			}
			server.denied = map[string]string{http.MethodGet: "AWSPrivateCAReadOnly, among others, lets somebody see them", http.MethodPost: "the policy PCAFullAccess lets somebody have CRLs made"}
			b, err := server.do(cmd.Context(), method, path, nil)
			if err != nil {
				return err
			}
			var lists []crl.List
			if err := json.Unmarshal(b, &lists); err != nil {
				return fmt.Errorf("reading the server's answer: %w", err)
			}
			if f.output == "json" {
				return printJSON(cmd.OutOrStdout(), lists)
			}
			return printCRLs(cmd.OutOrStdout(), lists)
		},
	}
	f.register(cmd)
	cmd.Flags().StringVar(&ca, "ca", "", "ARN of the certificate authority")
	return cmd
}

func printCRLs(w io.Writer, lists []crl.List) error {
	if len(lists) == 0 {
		_, err := fmt.Fprintln(w, "The CA has no CRLs: they are off, or it has issued no certificate since they were switched on.")
		return err
	}
	var failures []string
	table := [][]string{{"CRL", "ENTRIES", "NEXT UPDATE", "WRITTEN", "STATE"}}
	for _, l := range lists {
		row := []string{l.URI, "", "", "", "made again " + shortTime(l.Due)}
		if l.Signed != nil {
			row[1], row[2], row[3] = strconv.FormatUint(l.Entries, 10), shortTime(&l.NextUpdate), shortTime(l.WrittenAt)
		}
		switch {
		case l.Failure != "":
			row[4] = "failed " + shortTime(l.FailedAt) + ", tried again " + shortTime(l.Due)
			if l.WrittenAt == nil {
				row[3] = "not yet"
			}
			failures = append(failures, l.URI+": "+l.Failure)
		case l.ReplacedBy != 0:
			row[4] = "renewed under another URL"
		case !l.Active:
			row[4] = "no longer renewed"
		case l.Signed == nil:
			row[4] = "not made yet"
		case l.Due == nil:
			row[4] = "no longer renewed, as the CA is"
		}
		table = append(table, row)
		if d := l.Delta; d != nil {
			table = append(table, []string{l.DeltaURI, "+" + strconv.FormatUint(d.Entries, 10), shortTime(&d.NextUpdate), shortTime(d.WrittenAt), "delta"})
		}
	}
	if err := printTable(w, table); err != nil {
		return err
	}
	for _, f := range failures {
		if _, err := fmt.Fprintf(w, "\n%s\n", printable(f)); err != nil {
			return err
		}
	}
	return nil
}

func shortTime(t *time.Time) string {
	if t == nil {
		return "-"
	}
	return t.UTC().Format(time.RFC3339)
}
