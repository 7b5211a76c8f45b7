package bucket

import (
	"bytes"
	"encoding/json"
	"strings"
)

// PolicyFor is the bucket policy that lets a CA write its audit reports, as
// indented JSON with a final newline: the statement of AWS's guide, with the
// condition that the request is made for account, and for the one CA, when
// they are given (audit-report.md 9.1).
func PolicyFor(bucket, account, caARN string) []byte {
	return policyFor(partition(caARN), bucket, account, caARN)
}

// partition of an ARN; aws when there is no ARN.
func partition(arn string) string {
	if f := strings.SplitN(arn, ":", 3); len(f) == 3 && f[1] != "" {
		return f[1]
	}
	return "aws"
}

// policyFor is the policy for what this client writes into a bucket.
func (c *Client) policyFor(partition, bucket, account string) []byte {
	if c.cfg.Retention > 0 {
		return policyFor(partition, bucket, account, "", putRetention)
	}
	return policyFor(partition, bucket, account, "")
}

// putRetention is what retaining an object takes beside s3:PutObject.
const putRetention = "s3:PutObjectRetention"

func policyFor(partition, bucket, account, caARN string, more ...string) []byte {
	type statement struct {
		Effect    string
		Principal map[string]string
		Action    []string
		Resource  []string
		Condition map[string]map[string]string `json:",omitempty"`
	}
	s := statement{
		Effect:    "Allow",
		Principal: map[string]string{"Service": ServicePrincipal},
		Action:    []string{"s3:PutObject", "s3:PutObjectAcl", "s3:GetBucketAcl", "s3:GetBucketLocation"},
		Resource:  []string{"arn:" + partition + ":s3:::" + bucket + "/*", "arn:" + partition + ":s3:::" + bucket},
	}
	s.Action = append(s.Action, more...)
	equals := map[string]string{}
	if account != "" {
		equals["aws:SourceAccount"] = account
	}
	if caARN != "" {
		equals["aws:SourceArn"] = caARN
	}
	if len(equals) > 0 {
		s.Condition = map[string]map[string]string{"StringEquals": equals}
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "    ")
	// Strings, lists and maps of strings always encode.
	if err := e.Encode(struct {
		Version   string
		Statement []statement
	}{"2012-10-17", []statement{s}}); err != nil {
		panic(err)
	}
	return b.Bytes()
}

// compact is a policy on one line, for messages.
func compact(policy []byte) []byte {
	var b bytes.Buffer
	if err := json.Compact(&b, policy); err != nil {
		panic(err)
	}
	return b.Bytes()
}
