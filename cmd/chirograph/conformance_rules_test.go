package main

import (
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net/http"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// rules are all rules of all operations.
func rules() []rule {
	list := statusRules()
	list = append(list, creationRules()...)
	list = append(list, errorRules()...)
	list = append(list, neverRules()...)
	list = append(list, textRules()...)
	list = append(list, pageRules()...)
	list = append(list, tokenRules()...)
	list = append(list, behaviourRules()...)
	return append(list, sharingRules()...)
}

func creation(more ...any) m {
	return with(m{"CertificateAuthorityType": "ROOT", "CertificateAuthorityConfiguration": configuration()}, more...)
}

func creationRules() []rule {
	const op = "CreateCertificateAuthority"
	refuse := func(code, text string, bodies ...m) func(*testing.T, *world) {
		return func(t *testing.T, w *world) {
			for _, body := range bodies {
				w.refused(t, op, body, code, text)
			}
		}
	}
	with2 := func(more ...any) m {
		return creation("CertificateAuthorityConfiguration", with(configuration(), more...))
	}
	return []rule{
		{operation: op, id: "success", holds: "an ARN that Describe finds at once; PENDING_CERTIFICATE until a certificate is imported; defaults as AWS has them (5.1, 8)", check: func(t *testing.T, w *world) {
			s := &subject{arn: w.ok(t, op, creation())["CertificateAuthorityArn"].(string)}
			if c := w.describe(t, s); c["Status"] != "CREATING" && c["Status"] != "PENDING_CERTIFICATE" {
				t.Errorf("%v", c)
			}
			w.csr(t, s)
			c := w.describe(t, s)
			for member, want := range map[string]any{
				"Arn": s.arn, "OwnerAccount": "123456789012", "Status": "PENDING_CERTIFICATE", "Type": "ROOT", "UsageMode": "GENERAL_PURPOSE",
				"KeyStorageSecurityStandard": "FIPS_140_2_LEVEL_3_OR_HIGHER",
				"Serial":                     nil, "NotBefore": nil, "NotAfter": nil, "FailureReason": nil, "RestorableUntil": nil,
			} {
				if c[member] != want {
					t.Errorf("%s is %v, want %v", member, c[member], want)
				}
			}
			revocation := c["RevocationConfiguration"].(m)
			if revocation["CrlConfiguration"].(m)["Enabled"] != false || revocation["OcspConfiguration"].(m)["Enabled"] != false {
				t.Errorf("%v", revocation)
			}
		}},
		{operation: op, id: "error InvalidArgsException", holds: "algorithms that do not fit, an empty subject, both kinds of attributes, settings beside Enabled=false", check: refuse("InvalidArgsException", "",
			with2("SigningAlgorithm", "SHA256WITHRSA"), with2("Subject", m{}), with2("KeyAlgorithm", "ML_DSA_44", "SigningAlgorithm", "ML_DSA_65"),
			with2("Subject", m{"CommonName": "x", "CustomAttributes": []m{{"ObjectIdentifier": "2.5.4.3", "Value": "x"}}}),
			creation("RevocationConfiguration", m{"CrlConfiguration": m{"Enabled": false, "ExpirationInDays": 7}}),
			creation("RevocationConfiguration", m{"OcspConfiguration": m{"Enabled": false, "OcspCustomCname": "ocsp.example.com"}}))},
		{operation: op, id: "revocation", holds: "CRLs and OCSP as they are asked for, with the defaults of what is left out (R-24, R-29)", check: func(t *testing.T, w *world) {
			s := &subject{arn: w.ok(t, op, creation("RevocationConfiguration", m{"CrlConfiguration": w.lists(), "OcspConfiguration": m{"Enabled": true}}))["CertificateAuthorityArn"].(string)}
			got := w.describe(t, s)["RevocationConfiguration"].(m)
			want := with(w.lists(), "CrlType", "COMPLETE", "ExpirationInDays", 7.0)
			if !reflect.DeepEqual(got["CrlConfiguration"], want) || !reflect.DeepEqual(got["OcspConfiguration"], m{"Enabled": true}) {
				t.Errorf("%v, want %v", got, want)
			}
		}},
		{operation: op, id: "text 4.1 of CRL buckets", holds: "`Check your S3 bucket permissions and try again`, a ValidationException, and no CA (R-23)", check: refuse("ValidationException", "Check your S3 bucket permissions and try again",
			creation("RevocationConfiguration", m{"CrlConfiguration": m{"Enabled": true, "ExpirationInDays": 7, "S3BucketName": "no-such-bucket"}}))},
		{operation: op, id: "error InvalidTagException", holds: "reserved prefixes and keys that are given twice (A-52, A-53)", check: refuse("InvalidTagException", "",
			creation("Tags", []m{{"Key": "aws:x"}}), creation("Tags", []m{{"Key": "AWS:x"}}), creation("Tags", []m{{"Key": "rds:x"}}), creation("Tags", []m{{"Key": "a"}, {"Key": "a"}}))},
		{operation: op, id: "tags", holds: "none or more than fifty in a list is a ValidationException (A-50)", check: func(t *testing.T, w *world) {
			w.refused(t, op, creation("Tags", []m{}), "ValidationException", "at 'tags' failed to satisfy constraint: Member must have length greater than or equal to 1")
			w.refused(t, op, creation("Tags", tags(0, 51)), "ValidationException", "at 'tags' failed to satisfy constraint: Member must have length less than or equal to 50")
		}},
		{operation: op, id: "error LimitExceededException", holds: "one CA more than the quota, which counts those that can be restored (O-22)", check: func(t *testing.T, _ *world) {
			w := smallWorld(t, func(c *serveConfig) { c.Quota = "certificate-authorities=2" })
			w.pending(t)
			deleted := w.pending(t)
			w.ok(t, "DeleteCertificateAuthority", m{"CertificateAuthorityArn": deleted.arn, "PermanentDeletionTimeInDays": 7})
			w.refused(t, op, creation(), "LimitExceededException", "quota")
			w.pass(8 * 24 * time.Hour)
			w.pending(t)
			w.refused(t, op, creation(), "LimitExceededException", "quota")
		}},
	}
}

// lists is a configuration of CRLs in the world's bucket.
func (w *world) lists() m {
	return m{"Enabled": true, "ExpirationInDays": 7, "S3BucketName": w.bucket, "S3ObjectAcl": "BUCKET_OWNER_FULL_CONTROL"}
}

// withLists is an active CA that has CRLs.
func (w *world) withLists(t *testing.T) *subject {
	t.Helper()
	s := w.active(t)
	w.ok(t, "UpdateCertificateAuthority", m{"CertificateAuthorityArn": s.arn, "RevocationConfiguration": m{"CrlConfiguration": w.lists()}})
	return s
}

// smallWorld is a house of its own with other settings.
func smallWorld(t *testing.T, change func(*serveConfig)) *world {
	t.Helper()
	w := &world{served: serveHouse(t, change)}
	w.bucket = w.served.bucket(t, "conformance-reports", true)
	return w
}

func tags(from, to int) (list []m) {
	for n := from; n < to; n++ {
		list = append(list, m{"Key": fmt.Sprintf("key%02d", n), "Value": fmt.Sprint(n)})
	}
	return list
}

func errorRules() []rule {
	refused := func(operation, code, holds, text string, body func(t *testing.T, w *world, s *subject) m) rule {
		return rule{operation: operation, id: "error " + code, holds: holds, check: func(t *testing.T, w *world) {
			s := w.active(t)
			w.refused(t, operation, body(t, w, s), code, text)
		}}
	}
	raced := func(operation, status string) rule {
		return rule{operation: operation, id: "error ConcurrentModificationException", holds: "another change of the CA came first; the call can be tried again", check: func(t *testing.T, w *world) {
			s := w.in(t, status)
			body := w.request(t, operation, s)
			w.touch(t, s)
			w.refused(t, operation, body, "ConcurrentModificationException", "Try again")
			w.outcome(t, operation, body, ok)
		}}
	}
	return []rule{
		raced("DeleteCertificateAuthority", "DISABLED"),
		raced("ImportCertificateAuthorityCertificate", "PENDING_CERTIFICATE"),
		raced("PutPolicy", "ACTIVE"),
		raced("DeletePolicy", "ACTIVE"),
		raced("UpdateCertificateAuthority", "ACTIVE"),

		refused("CreateCertificateAuthorityAuditReport", "InvalidArgsException", "a name that no bucket has", "", func(_ *testing.T, w *world, s *subject) m {
			return with(w.reportOf(s), "S3BucketName", "Not_A_Bucket")
		}),
		{operation: "CreateCertificateAuthorityAuditReport", id: "error RequestInProgressException", holds: "a second report within the interval (audit-report.md 4)", check: func(t *testing.T, _ *world) {
			w := smallWorld(t, func(c *serveConfig) { c.AuditMinInterval = 30 * time.Minute })
			s := w.in(t, "ACTIVE")
			w.refused(t, "CreateCertificateAuthorityAuditReport", w.reportOf(s), inProgress, "30 minutes")
		}},
		{operation: "CreateCertificateAuthorityAuditReport", id: "error RequestFailedException", holds: "the buckets cannot be reached", check: func(t *testing.T, _ *world) {
			w := &world{served: serveHouse(t, func(c *serveConfig) {
				c.Destination, c.DestinationAccessKeyID, c.DestinationSecretKey = "http://127.0.0.1:1", "AKIA", "secret"
			}), bucket: "reports"}
			w.refused(t, "CreateCertificateAuthorityAuditReport", w.reportOf(w.active(t)), "RequestFailedException", "")
		}},
		{operation: "CreateCertificateAuthorityAuditReport", id: "bucket", holds: "an unknown bucket is not found; one that does not let the CA write is a ValidationException that says so (2.1)", check: func(t *testing.T, w *world) {
			s := w.active(t)
			w.refused(t, "CreateCertificateAuthorityAuditReport", with(w.reportOf(s), "S3BucketName", "there-is-no-such-bucket"), notFound, "")
			w.served.bucket(t, "closed-reports", false)
			w.refused(t, "CreateCertificateAuthorityAuditReport", with(w.reportOf(s), "S3BucketName", "closed-reports"), "ValidationException", "Check your S3 bucket permissions and try again")
		}},
		refused("CreatePermission", "PermissionAlreadyExistsException", "one permission for a service and source account (A-24)", "", func(t *testing.T, w *world, s *subject) m {
			w.ok(t, "CreatePermission", permissionFor(s))
			return with(permissionFor(s), "SourceAccount", "123456789012", "Actions", []string{"GetCertificate"})
		}),
		{operation: "GetCertificate", id: "error RequestFailedException", holds: "the issuance failed after its ARN was answered: the name is outside the CA's constraints (T-93)", check: func(t *testing.T, w *world) {
			s := w.constrained(t)
			arn := w.ok(t, "IssueCertificate", with(w.issue(t, s), "Csr", newCSR(t, newKey(t), "leaf.elsewhere.example.com")))["CertificateArn"]
			w.refused(t, "GetCertificate", m{"CertificateAuthorityArn": s.arn, "CertificateArn": arn}, "RequestFailedException", "")
			inside := w.ok(t, "IssueCertificate", with(w.issue(t, s), "Csr", newCSR(t, newKey(t), "leaf.inside.example.com")))["CertificateArn"]
			w.ok(t, "GetCertificate", m{"CertificateAuthorityArn": s.arn, "CertificateArn": inside})
		}},
		{operation: "GetCertificate", id: "error RequestInProgressException", holds: "not visible yet, where a server delays it for the tests of clients (5.10)", check: func(t *testing.T, _ *world) {
			w := smallWorld(t, func(c *serveConfig) { c.VisibilityDelay = time.Hour })
			s := w.pending(t)
			arn := w.ok(t, "IssueCertificate", w.selfSign(t, s, m{"Type": "YEARS", "Value": 1}))["CertificateArn"]
			w.refused(t, "GetCertificate", m{"CertificateAuthorityArn": s.arn, "CertificateArn": arn}, inProgress, "")
			w.pass(time.Hour + time.Second)
			w.ok(t, "GetCertificate", m{"CertificateAuthorityArn": s.arn, "CertificateArn": arn})
		}},
		{operation: "GetCertificateAuthorityCsr", id: "error RequestInProgressException", holds: "while the key is being made", check: func(t *testing.T, w *world) {
			w.refused(t, "GetCertificateAuthorityCsr", m{"CertificateAuthorityArn": w.in(t, "CREATING").arn}, inProgress, "")
		}},
		refused("ImportCertificateAuthorityCertificate", "CertificateMismatchException", "another key's certificate", "", func(t *testing.T, w *world, s *subject) m {
			other := w.active(t)
			return m{"CertificateAuthorityArn": s.arn, "Certificate": []byte(w.certificate(t, other, other.root)["Certificate"].(string))}
		}),
		refused("ImportCertificateAuthorityCertificate", "MalformedCertificateException", "what is no certificate", "", func(_ *testing.T, _ *world, s *subject) m {
			return m{"CertificateAuthorityArn": s.arn, "Certificate": []byte("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")}
		}),
		refused("ImportCertificateAuthorityCertificate", "InvalidRequestException", "a chain for a root", "", func(t *testing.T, w *world, s *subject) m {
			text := []byte(w.certificate(t, s, s.root)["Certificate"].(string))
			return m{"CertificateAuthorityArn": s.arn, "Certificate": text, "CertificateChain": text}
		}),
		refused("IssueCertificate", "InvalidArgsException", "a template that there is not", "", func(t *testing.T, w *world, s *subject) m {
			return with(w.issue(t, s), "TemplateArn", "arn:aws:acm-pca:::template/NoSuchCertificate/V1")
		}),
		refused("IssueCertificate", "MalformedCSRException", "what is no CSR", "", func(t *testing.T, w *world, s *subject) m {
			return with(w.issue(t, s), "Csr", []byte("-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n"))
		}),
		{operation: "IssueCertificate", id: "error LimitExceededException", holds: "one certificate more than the quota of a CA (O-22)", check: func(t *testing.T, _ *world) {
			w := smallWorld(t, func(c *serveConfig) { c.Quota = "certificates-per-ca=3" })
			s := w.active(t) // its own certificate, and one
			w.ok(t, "IssueCertificate", w.issue(t, s))
			for range 2 {
				w.refused(t, "IssueCertificate", w.issue(t, s), "LimitExceededException", "quota")
			}
			other := w.active(t)
			w.ok(t, "IssueCertificate", w.issue(t, other))
		}},
		{operation: "ListCertificateAuthorities", id: "error InvalidNextTokenException", holds: "a token that was not issued for this call", check: func(t *testing.T, w *world) {
			w.refused(t, "ListCertificateAuthorities", m{"NextToken": "bm90aGluZw"}, "InvalidNextTokenException", "")
		}},
		refused("ListPermissions", "InvalidNextTokenException", "a token that was not issued for this call", "", func(_ *testing.T, _ *world, s *subject) m {
			return m{"CertificateAuthorityArn": s.arn, "NextToken": "bm90aGluZw"}
		}),
		refused("PutPolicy", "LockoutPreventedException", "a Deny that hits its author's own access to the policy (A-34)", "", func(_ *testing.T, _ *world, s *subject) m {
			return m{"ResourceArn": s.arn, "Policy": `{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Principal":"*","Action":"acm-pca:PutPolicy","Resource":"` + s.arn + `"}]}`}
		}),
		{operation: "PutPolicy", id: "error InvalidPolicyException", holds: "what the table of access.md 4.2 does not take", check: func(t *testing.T, w *world) {
			s := w.active(t)
			statement := func(text string) m {
				return m{"ResourceArn": s.arn, "Policy": `{"Version":"2012-10-17","Statement":[` + strings.ReplaceAll(text, "CA", s.arn) + `]}`}
			}
			for _, body := range []m{
				{"ResourceArn": s.arn, "Policy": "not JSON"},
				{"ResourceArn": s.arn, "Policy": `{"Version":"2012-10-17","Statement":[]}`},
				{"ResourceArn": s.arn, "Policy": `{"Version":"2020-01-01","Statement":[{"Effect":"Allow","Principal":{"AWS":"210987654321"},"Action":"acm-pca:GetCertificate","Resource":"` + s.arn + `"}]}`},
				statement(`{"Effect":"Allow","Principal":{"AWS":"210987654321"},"Action":"acm-pca:*","Resource":"CA"}`),
				statement(`{"Effect":"Allow","Principal":{"AWS":"210987654321"},"Action":"acm-pca:CreateCertificateAuthorityAuditReport","Resource":"CA"}`),
				statement(`{"Effect":"Allow","Principal":{"AWS":"210987654321"},"NotAction":"acm-pca:GetCertificate","Resource":"CA"}`),
				statement(`{"Effect":"Allow","Principal":{"AWS":"210987654321"},"Action":"acm-pca:GetCertificate","Resource":"CA/certificate/01"}`),
				statement(`{"Effect":"Allow","Principal":"*","Action":"acm-pca:GetCertificate","Resource":"CA"}`),
				statement(`{"Effect":"Allow","Action":"acm-pca:GetCertificate","Resource":"CA"}`),
				statement(`{"Effect":"Allow","Principal":{"AWS":"210987654321"},"Action":"acm-pca:IssueCertificate","Resource":"CA","Condition":{"StringEquals":{"acm-pca:TemplateArn":"` + rootTemplate + `"}}}`),
				statement(`{"Effect":"Allow","Principal":{"AWS":"210987654321"},"Action":"acm-pca:GetCertificate","Resource":"CA","Condition":{"StringEquals":{"no:such-key":"x"}}}`),
			} {
				w.refused(t, "PutPolicy", body, "InvalidPolicyException", "")
			}
			w.refused(t, "GetPolicy", m{"ResourceArn": s.arn}, notFound, "")
		}},
		refused("RevokeCertificate", "RequestAlreadyProcessedException", "a certificate that is revoked; the first reason stands", "", func(t *testing.T, w *world, s *subject) m {
			body := m{"CertificateAuthorityArn": s.arn, "CertificateSerial": serialOf(s.leaf), "RevocationReason": "KEY_COMPROMISE"}
			w.ok(t, "RevokeCertificate", body)
			return with(body, "RevocationReason", "SUPERSEDED")
		}),
		{operation: "RevokeCertificate", id: "error LimitExceededException", holds: "one certificate more than the quota of a complete CRL; none without one (R-12)", check: func(t *testing.T, _ *world) {
			w := smallWorld(t, func(c *serveConfig) { c.Quota = "revoked-per-ca=1" })
			s := w.withLists(t)
			more := w.ok(t, "IssueCertificate", w.issue(t, s))["CertificateArn"].(string)
			w.ok(t, "RevokeCertificate", m{"CertificateAuthorityArn": s.arn, "CertificateSerial": serialOf(s.leaf), "RevocationReason": "SUPERSEDED"})
			w.refused(t, "RevokeCertificate", m{"CertificateAuthorityArn": s.arn, "CertificateSerial": serialOf(more), "RevocationReason": "SUPERSEDED"}, "LimitExceededException", "quota")
		}},
		{operation: "RevokeCertificate", id: "error RequestFailedException", holds: "a bucket of CRLs that cannot be written, in the strict mode alone; nothing is revoked (R-11)", check: func(t *testing.T, _ *world) {
			for _, strict := range []bool{false, true} {
				w := smallWorld(t, func(c *serveConfig) { c.RevokeRequireBucketWrite = strict })
				s := w.withLists(t)
				must(w.s3.DeleteBucketPolicy(t.Context(), &s3.DeleteBucketPolicyInput{Bucket: &w.bucket}))(t)
				revoke := m{"CertificateAuthorityArn": s.arn, "CertificateSerial": serialOf(s.leaf), "RevocationReason": "SUPERSEDED"}
				if !strict {
					w.ok(t, "RevokeCertificate", revoke)
					continue
				}
				w.refused(t, "RevokeCertificate", revoke, "RequestFailedException", "bucket")
				must(w.s3.PutBucketPolicy(t.Context(), &s3.PutBucketPolicyInput{Bucket: &w.bucket, Policy: aws.String(grantPolicy(w.bucket))}))(t)
				w.ok(t, "RevokeCertificate", revoke)
			}
		}},
		{operation: "RevokeCertificate", id: "error InvalidRequestException", holds: "a serial number that is none, an expired certificate", check: func(t *testing.T, _ *world) {
			w := smallWorld(t, nil)
			s := w.active(t)
			for _, serial := range []string{"", "xyz", strings.Repeat("ab", 21)} {
				w.refused(t, "RevokeCertificate", m{"CertificateAuthorityArn": s.arn, "CertificateSerial": serial, "RevocationReason": "SUPERSEDED"}, "InvalidRequestException", "")
			}
			w.pass(2 * time.Hour)
			w.refused(t, "RevokeCertificate", m{"CertificateAuthorityArn": s.arn, "CertificateSerial": serialOf(s.leaf), "RevocationReason": "SUPERSEDED"}, "InvalidRequestException", "expired")
		}},
		{operation: "RevokeCertificate", id: "error RequestInProgressException", holds: "a certificate that is not visible yet", check: func(t *testing.T, _ *world) {
			w := smallWorld(t, func(c *serveConfig) { c.VisibilityDelay = time.Minute })
			s := w.pending(t)
			body := w.selfSign(t, s, m{"Type": "YEARS", "Value": 1})
			s.root = w.ok(t, "IssueCertificate", body)["CertificateArn"].(string)
			w.pass(2 * time.Minute)
			w.ok(t, "ImportCertificateAuthorityCertificate", m{"CertificateAuthorityArn": s.arn, "Certificate": []byte(w.certificate(t, s, s.root)["Certificate"].(string))})
			leaf := w.ok(t, "IssueCertificate", w.issue(t, s))["CertificateArn"].(string)
			revoke := m{"CertificateAuthorityArn": s.arn, "CertificateSerial": serialOf(leaf), "RevocationReason": "SUPERSEDED"}
			w.refused(t, "RevokeCertificate", revoke, inProgress, "")
			w.pass(2 * time.Minute)
			w.ok(t, "RevokeCertificate", revoke)
		}},
		{operation: "TagCertificateAuthority", id: "error InvalidTagException", holds: "reserved prefixes and keys that are given twice (A-52, A-53)", check: func(t *testing.T, w *world) {
			s := w.pending(t)
			for _, list := range [][]m{{{"Key": "aws:x"}}, {{"Key": "Aws:x"}}, {{"Key": "rds:x"}}, {{"Key": "a"}, {"Key": "a", "Value": "b"}}} {
				w.refused(t, "TagCertificateAuthority", m{"CertificateAuthorityArn": s.arn, "Tags": list}, "InvalidTagException", "")
			}
		}},
		{operation: "TagCertificateAuthority", id: "error TooManyTagsException", holds: "fifty in all; counted after what is replaced, and nothing applied beyond (A-50, A-55)", check: func(t *testing.T, w *world) {
			s := w.pending(t)
			w.ok(t, "TagCertificateAuthority", m{"CertificateAuthorityArn": s.arn, "Tags": tags(0, 50)})
			w.ok(t, "TagCertificateAuthority", m{"CertificateAuthorityArn": s.arn, "Tags": tags(0, 50)})
			w.refused(t, "TagCertificateAuthority", m{"CertificateAuthorityArn": s.arn, "Tags": []m{{"Key": "key00", "Value": "changed"}, {"Key": "one more"}}}, "TooManyTagsException", "")
			for _, tag := range w.ok(t, "ListTags", m{"CertificateAuthorityArn": s.arn})["Tags"].([]any) {
				if tag.(m)["Value"] == "changed" {
					t.Error("a refused change is applied")
				}
			}
		}},
		{operation: "UntagCertificateAuthority", id: "error InvalidTagException", holds: "reserved prefixes (A-52)", check: func(t *testing.T, w *world) {
			w.refused(t, "UntagCertificateAuthority", m{"CertificateAuthorityArn": w.pending(t).arn, "Tags": []m{{"Key": "aws:x"}}}, "InvalidTagException", "")
		}},
		{operation: "UpdateCertificateAuthority", id: "error InvalidArgsException", holds: "nothing to change, or a status that nobody sets", check: func(t *testing.T, w *world) {
			s := w.active(t)
			w.refused(t, "UpdateCertificateAuthority", m{"CertificateAuthorityArn": s.arn}, "InvalidArgsException", "")
			for _, status := range []string{"CREATING", "PENDING_CERTIFICATE", "DELETED", "EXPIRED", "FAILED"} {
				w.refused(t, "UpdateCertificateAuthority", m{"CertificateAuthorityArn": s.arn, "Status": status}, "InvalidArgsException", "")
			}
			for _, c := range []m{
				{"OcspConfiguration": m{"Enabled": true, "OcspCustomCname": "http://ocsp.example.com"}}, {"CrlConfiguration": m{"Enabled": false, "CustomCname": "crl.example.com"}},
				{"CrlConfiguration": with(w.lists(), "CustomCname", "crl.example.com", "CrlDistributionPointExtensionConfiguration", m{"OmitExtension": true})},
			} {
				w.refused(t, "UpdateCertificateAuthority", m{"CertificateAuthorityArn": s.arn, "RevocationConfiguration": c}, "InvalidArgsException", "")
			}
		}},
	}
}

// neverRules are errors of the model that this server has no case of.
func neverRules() (list []rule) {
	const (
		local  = "the operation is done when it is answered; it asks nobody else"
		bucket = "a bucket whose policy refuses CRLs is a ValidationException with the text of 4.1 (R-23)"
	)
	for _, r := range []struct{ operation, code, never string }{
		{"CreateCertificateAuthority", "InvalidPolicyException", bucket},
		{"UpdateCertificateAuthority", "InvalidPolicyException", bucket},
		{"CreatePermission", "LimitExceededException", "there is one permission for a service and source account, and no quota"},
		{"DeletePolicy", "LockoutPreventedException", "to take a policy away cannot lock the owner out (A-34)"},
		{"DescribeCertificateAuthorityAuditReport", "InvalidArgsException", "its two members are checked by their shape: ValidationException"},
		{"ImportCertificateAuthorityCertificate", "RequestInProgressException", "changes of a CA wait for each other; one that lost is a ConcurrentModificationException"},
		{"RevokeCertificate", "ConcurrentModificationException", "a revocation is an entry of the log, not a change of the CA's record"},
		{"CreatePermission", "RequestFailedException", local},
		{"DeletePermission", "RequestFailedException", local},
		{"ListPermissions", "RequestFailedException", local},
		{"PutPolicy", "RequestFailedException", local},
		{"GetPolicy", "RequestFailedException", local},
		{"DeletePolicy", "RequestFailedException", local},
		{"ListTags", "RequestFailedException", local},
		{"GetCertificateAuthorityCsr", "RequestFailedException", "a CA whose creation failed is FAILED, which is an InvalidStateException"},
		{"ImportCertificateAuthorityCertificate", "RequestFailedException", local},
	} {
		list = append(list, rule{operation: r.operation, id: "error " + r.code, holds: "not answered", never: r.never})
	}
	return list
}

// textRules are the texts of api.md 4.1, which clients match.
func textRules() []rule {
	text := func(operation, status, code, text string) rule {
		return rule{operation: operation, id: "text 4.1", holds: "`" + text + "`", check: func(t *testing.T, w *world) {
			s := w.in(t, status)
			w.refused(t, operation, w.request(t, operation, s), code, strings.ReplaceAll(text, "<CA ARN>", s.arn))
		}}
	}
	return []rule{
		text("IssueCertificate", "PENDING_CERTIFICATE", badState, "The certificate authority is not in a valid state for issuing certificates"),
		text("UpdateCertificateAuthority", "PENDING_CERTIFICATE", badState, "The certificate authority must be in the ACTIVE or DISABLED state to be updated"),
		text("ListPermissions", "DELETED", badState, "The certificate authority is in the DELETED state"),
		text("DeleteCertificateAuthority", "ACTIVE", badState, "The certificate authority is not in a valid state for deletion."),
		text("RestoreCertificateAuthority", "ACTIVE", badState, "The certificate authority is not in a valid state for restoration."),
		text("GetCertificateAuthorityCertificate", "PENDING_CERTIFICATE", badState, "The certificate authority <CA ARN> is not in the correct state to have a"),
		{operation: "GetPolicy", id: "text 4.1", holds: "`Could not find policy for resource <CA ARN>.`", check: func(t *testing.T, w *world) {
			s := w.active(t)
			w.refused(t, "GetPolicy", m{"ResourceArn": s.arn}, notFound, "Could not find policy for resource "+s.arn+".")
		}},
		{operation: "RevokeCertificate", id: "text 4.1", holds: "`Self-signed certificate can not be revoked`", check: func(t *testing.T, w *world) {
			s := w.active(t)
			w.refused(t, "RevokeCertificate", m{"CertificateAuthorityArn": s.arn, "CertificateSerial": serialOf(s.root), "RevocationReason": "UNSPECIFIED"}, "InvalidRequestException", "Self-signed certificate can not be revoked")
		}},
		{operation: "CreateCertificateAuthority", id: "text 4.1", holds: "`A certificate authority cannot be created in this region with the specified security standard.`", check: func(t *testing.T, _ *world) {
			w := smallWorld(t, func(c *serveConfig) { c.KeyStandards = "FIPS_140_2_LEVEL_3_OR_HIGHER" })
			w.refused(t, "CreateCertificateAuthority", creation("KeyStorageSecurityStandard", "CCPC_LEVEL_1_OR_HIGHER"), "InvalidArgsException", "A certificate authority cannot be created in this region with the specified security standard.")
			w.ok(t, "CreateCertificateAuthority", creation("KeyStorageSecurityStandard", "FIPS_140_2_LEVEL_3_OR_HIGHER"))
		}},
	}
}

// pageRules are api.md 7.
func pageRules() []rule {
	// pages reads a list in pages of one and tells what it found.
	pages := func(t *testing.T, w *world, operation, member, key string, body m, between func(n int)) (found []string, tokens []string) {
		t.Helper()
		for n := 0; ; n++ {
			out := w.ok(t, operation, with(body, "MaxResults", 1))
			list := out[member].([]any)
			if len(list) > 1 {
				t.Errorf("%d on a page of one", len(list))
			}
			for _, one := range list {
				found = append(found, fmt.Sprint(one.(m)[key]))
			}
			token, more := out["NextToken"].(string)
			if !more {
				return found, tokens
			}
			if token == "" || strings.ContainsAny(token, "+/ ") {
				t.Errorf("the token %q", token)
			}
			tokens = append(tokens, token)
			body = with(body, "NextToken", token)
			between(n)
		}
	}
	// bound: a token that is changed, or used elsewhere, is refused.
	bound := func(t *testing.T, w *world, operation string, body m, tokens []string) {
		t.Helper()
		if len(tokens) == 0 {
			t.Fatal("there is one page")
		}
		last := tokens[len(tokens)-1]
		flipped := "A" + last[1:]
		if last[0] == 'A' {
			flipped = "B" + last[1:]
		}
		for _, token := range []string{flipped, last[:len(last)-1], last + "A", "A"} {
			w.refused(t, operation, with(body, "NextToken", token), "InvalidNextTokenException", "")
		}
	}
	return []rule{
		{operation: "ListCertificateAuthorities", id: "pagination 7", holds: "keyset pages in the order of creation, stable while CAs are added; tokens are bound to their list and cannot be made", check: func(t *testing.T, _ *world) {
			w := smallWorld(t, nil)
			var want []string
			for range 3 {
				want = append(want, w.pending(t).arn)
				w.pass(time.Second)
			}
			found, tokens := pages(t, w, "ListCertificateAuthorities", "CertificateAuthorities", "Arn", m{}, func(n int) {
				if n == 0 {
					want = append(want, w.pending(t).arn)
				}
			})
			if strings.Join(found, " ") != strings.Join(want, " ") {
				t.Errorf("found %v, want %v", found, want)
			}
			bound(t, w, "ListCertificateAuthorities", m{}, tokens)
			w.refused(t, "ListCertificateAuthorities", m{"NextToken": tokens[0], "ResourceOwner": "OTHER_ACCOUNTS"}, "InvalidNextTokenException", "")
		}},
		{operation: "ListTags", id: "pagination 7", holds: "in the order of keys (A-57), stable while tags are added; tokens are bound to the CA", check: func(t *testing.T, w *world) {
			s := w.pending(t)
			w.ok(t, "TagCertificateAuthority", m{"CertificateAuthorityArn": s.arn, "Tags": []m{{"Key": "c"}, {"Key": "a"}, {"Key": "B"}}})
			body := m{"CertificateAuthorityArn": s.arn}
			found, tokens := pages(t, w, "ListTags", "Tags", "Key", body, func(n int) {
				if n == 0 { // before the page, and after it
					w.ok(t, "TagCertificateAuthority", m{"CertificateAuthorityArn": s.arn, "Tags": []m{{"Key": "A"}, {"Key": "b"}}})
				}
			})
			if strings.Join(found, "") != "Babc" {
				t.Errorf("found %v", found)
			}
			bound(t, w, "ListTags", body, tokens)
			w.refused(t, "ListTags", m{"CertificateAuthorityArn": w.pending(t).arn, "NextToken": tokens[0]}, "InvalidNextTokenException", "")
		}},
		{operation: "ListPermissions", id: "pagination 7", holds: "stable pages; tokens are bound to the CA", check: func(t *testing.T, w *world) {
			s := w.pending(t)
			for _, account := range []string{"111111111111", "333333333333", "222222222222"} {
				w.ok(t, "CreatePermission", with(permissionFor(s), "SourceAccount", account))
			}
			body := m{"CertificateAuthorityArn": s.arn}
			found, tokens := pages(t, w, "ListPermissions", "Permissions", "SourceAccount", body, func(int) {})
			if strings.Join(found, " ") != "111111111111 222222222222 333333333333" {
				t.Errorf("found %v", found)
			}
			bound(t, w, "ListPermissions", body, tokens)
			w.refused(t, "ListPermissions", m{"CertificateAuthorityArn": w.pending(t).arn, "NextToken": tokens[0]}, "InvalidNextTokenException", "")
		}},
	}
}

// tokenRules are api.md 6.
func tokenRules() []rule {
	return []rule{
		{operation: "CreateCertificateAuthority", id: "idempotency 6", holds: "a token stands for its first ARN for five minutes, whatever else is asked; at once, too", check: func(t *testing.T, _ *world) {
			w := smallWorld(t, nil)
			arns := w.together(t, "CreateCertificateAuthority", "CertificateAuthorityArn", creation("IdempotencyToken", "token"))
			again := creation("IdempotencyToken", "token", "CertificateAuthorityType", "SUBORDINATE")
			if arn := w.ok(t, "CreateCertificateAuthority", again)["CertificateAuthorityArn"]; arn != arns {
				t.Errorf("%v, want %v", arn, arns)
			}
			if n := len(w.ok(t, "ListCertificateAuthorities", m{})["CertificateAuthorities"].([]any)); n != 1 {
				t.Errorf("%d CAs", n)
			}
			w.pass(5*time.Minute + time.Second)
			if arn := w.ok(t, "CreateCertificateAuthority", again)["CertificateAuthorityArn"]; arn == arns {
				t.Error("a token stands for longer than five minutes")
			}
			w.refused(t, "CreateCertificateAuthority", creation("IdempotencyToken", "failed", "Tags", []m{{"Key": "aws:x"}}), "InvalidTagException", "")
			w.ok(t, "CreateCertificateAuthority", creation("IdempotencyToken", "failed"))
			if one, two := w.pending(t), w.pending(t); one.arn == two.arn {
				t.Error("without a token two calls make one CA")
			}
		}},
		{operation: "CreateCertificateAuthorityAuditReport", id: "idempotency", holds: "an SDK's retry of a call, told by amz-sdk-invocation-id, gets the answer of the call; another call gets another report (audit-report.md 4)", check: func(t *testing.T, w *world) {
			s := w.active(t)
			report := func(invocation string) string {
				t.Helper()
				a := w.send(t, call{operation: "CreateCertificateAuthorityAuditReport", body: encodeJSON(t, w.reportOf(s)), who: w.admin, edit: func(r *http.Request) {
					r.Header.Set("Amz-Sdk-Invocation-Id", invocation)
				}})
				if a.status != 200 {
					t.Fatalf("%s %s", a.code, a.message)
				}
				s.report = string(a.body)[len(`{"AuditReportId":"`):][:36]
				return s.report
			}
			first := report("one")
			w.written(t, s)
			if report("one") != first || report("two") == first {
				t.Error("the invocation does not decide")
			}
		}},
		{operation: "IssueCertificate", id: "idempotency 6", holds: "a token stands for its first ARN for five minutes, also with another validity; never two certificates", check: func(t *testing.T, _ *world) {
			w := smallWorld(t, nil)
			s := w.active(t)
			body := with(w.issue(t, s), "IdempotencyToken", "token")
			arn := w.together(t, "IssueCertificate", "CertificateArn", body)
			if got := w.ok(t, "IssueCertificate", with(body, "Validity", m{"Type": "DAYS", "Value": 1}))["CertificateArn"]; got != arn {
				t.Errorf("%v, want %v", got, arn)
			}
			other := w.active(t)
			if got := w.ok(t, "IssueCertificate", with(body, "CertificateAuthorityArn", other.arn))["CertificateArn"]; got == arn {
				t.Error("a token stands for another CA's certificate")
			}
			w.pass(5*time.Minute + time.Second)
			if got := w.ok(t, "IssueCertificate", body)["CertificateArn"]; got == arn {
				t.Error("a token stands for longer than five minutes")
			}
		}},
	}
}

// together sends one call sixteen times at once; all have one answer.
func (w *world) together(t *testing.T, operation, member string, body m) any {
	t.Helper()
	var mu sync.Mutex
	answers := map[any]bool{}
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			out, a := w.answer(t, operation, body)
			mu.Lock()
			defer mu.Unlock()
			if a.status == 200 {
				answers[out[member]] = true
			} else if a.code != inProgress {
				t.Errorf("%s %s", a.code, a.message)
			}
		})
	}
	wg.Wait()
	for arn := range answers {
		if len(answers) == 1 {
			return arn
		}
	}
	t.Fatalf("%d answers: %v", len(answers), answers)
	return nil
}

// constrained is a subordinate whose parent lets it name inside.example.com alone.
func (w *world) constrained(t *testing.T) *subject {
	t.Helper()
	key := newKey(t)
	now := w.house.cfg.now()
	parent := &x509.Certificate{
		SerialNumber: big.NewInt(7), Subject: pkix.Name{CommonName: "Parent"}, NotBefore: now.Add(-time.Hour), NotAfter: now.AddDate(5, 0, 0),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign, PermittedDNSDomainsCritical: true, PermittedDNSDomains: []string{"inside.example.com"},
	}
	parentDER := must(x509.CreateCertificate(rand.Reader, parent, parent, key.Public(), key))(t)
	s := w.create(t, "SUBORDINATE")
	block, _ := pem.Decode(w.csr(t, s))
	request := must(x509.ParseCertificateRequest(block.Bytes))(t)
	child := &x509.Certificate{
		SerialNumber: big.NewInt(8), Subject: request.Subject, NotBefore: now.Add(-time.Hour), NotAfter: now.AddDate(1, 0, 0),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	childDER := must(x509.CreateCertificate(rand.Reader, child, parent, request.PublicKey, key))(t)
	encode := func(der []byte) []byte { return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}) }
	w.ok(t, "ImportCertificateAuthorityCertificate", m{"CertificateAuthorityArn": s.arn, "Certificate": encode(childDER), "CertificateChain": encode(parentDER)})
	return s
}
