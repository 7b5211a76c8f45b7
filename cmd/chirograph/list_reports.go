package main

import (
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/spf13/cobra"

	"chirograph.dev/internal/proof"
)

// listedReport is a report in a bucket.
type listedReport struct {
	ID      string    `json:"auditReportId"`
	Key     string    `json:"s3Key"`
	Written time.Time `json:"lastModified"`
	Bytes   int64     `json:"bytes"`
	Proof   bool      `json:"manifest"` // its manifest lies beside it
}

func newAuditReportList() *cobra.Command {
	var (
		f                      clientFlags
		ca, bucket, s3Endpoint string
	)
	cmd := &cobra.Command{
		Use:   "list --ca ARN --bucket BUCKET",
		Short: "List the reports of a certificate authority that are in a bucket, the newest last",
		Args:  noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := settings(cmd); err != nil {
				return err
			}
			if ca == "" || bucket == "" {
				return usageError("chirograph audit-report list --ca ARN --bucket BUCKET", "--ca and --bucket are needed")
			}
			f.endpoint = s3Endpoint
			cfg, err := f.aws(cmd.Context())
			if err != nil {
				return err
			}
			client := s3.NewFromConfig(cfg, func(o *s3.Options) { o.UsePathStyle = true })
			reports := []listedReport{}
			place := map[string]int{}
			// The log lies in folders below, which the delimiter leaves out.
			pages := s3.NewListObjectsV2Paginator(client, &s3.ListObjectsV2Input{
				Bucket: &bucket, Prefix: aws.String(path.Dir(proof.LogFolder(ca[strings.LastIndexByte(ca, '/')+1:], 1)) + "/"), Delimiter: aws.String("/"),
			})
			for pages.HasMorePages() {
				page, err := pages.NextPage(cmd.Context())
				if err != nil {
					return apiFailure("listing the bucket", err)
				}
				for _, o := range page.Contents { // a manifest follows its report
					key := aws.ToString(o.Key)
					if report, ok := strings.CutSuffix(key, proof.ManifestSuffix); ok {
						if i, ok := place[report]; ok {
							reports[i].Proof = true
						}
						continue
					}
					place[key] = len(reports)
					name := path.Base(key)
					reports = append(reports, listedReport{strings.TrimSuffix(name, path.Ext(name)), key, aws.ToTime(o.LastModified).UTC(), aws.ToInt64(o.Size), false})
				}
			}
			slices.SortStableFunc(reports, func(a, b listedReport) int { return a.Written.Compare(b.Written) })
			if f.output == "json" {
				return printJSON(cmd.OutOrStdout(), reports)
			}
			for _, r := range reports {
				with := "no proof"
				if r.Proof {
					with = "proof"
				}
				if _, err := fmt.Fprintf(cmd.OutOrStdout(), "%s  %-8s  %12d bytes  s3://%s/%s\n", r.Written.Format(time.RFC3339), with, r.Bytes, bucket, r.Key); err != nil {
					return err
				}
			}
			return nil
		},
	}
	f.register(cmd)
	cmd.Flags().StringVar(&ca, "ca", "", "ARN of the certificate authority")
	cmd.Flags().StringVar(&bucket, "bucket", "", "bucket that has the reports")
	cmd.Flags().StringVar(&s3Endpoint, "s3-endpoint-url", "", "URL of the bucket service; without it the AWS configuration decides")
	return cmd
}
