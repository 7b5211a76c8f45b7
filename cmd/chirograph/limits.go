package main

import (
	"cmp"
	"math"
	"strconv"
	"strings"

	"chirograph.dev/internal/auditlog"
	"chirograph.dev/internal/awsjson"
	"chirograph.dev/internal/crl"
	"chirograph.dev/internal/pca"
)

const (
	// defaultInFlight is more than clients that wait for their answers send,
	// and little enough to hold in memory.
	defaultInFlight = 2048
	// defaultConnections is for each of the two addresses.
	defaultConnections = 4096
)

// awsRates are the requests per second that AWS serves an account in a region
// (operations.md 4).
var awsRates = map[string]float64{
	"CreateCertificateAuthority":              1,
	"CreateCertificateAuthorityAuditReport":   1,
	"CreatePermission":                        1,
	"DeletePermission":                        1,
	"GetPolicy":                               5,
	"PutPolicy":                               5,
	"DeletePolicy":                            5,
	"ListPermissions":                         5,
	"DeleteCertificateAuthority":              10,
	"GetCertificateAuthorityCsr":              10,
	"ImportCertificateAuthorityCertificate":   10,
	"UpdateCertificateAuthority":              10,
	"TagCertificateAuthority":                 10,
	"UntagCertificateAuthority":               10,
	"DescribeCertificateAuthority":            20,
	"DescribeCertificateAuthorityAuditReport": 20,
	"GetCertificateAuthorityCertificate":      20,
	"ListCertificateAuthorities":              20,
	"ListTags":                                20,
	"RestoreCertificateAuthority":             20,
	"RevokeCertificate":                       20,
	"IssueCertificate":                        25,
	"GetCertificate":                          75,
}

// parseThrottle reads --throttle: "off", or items separated by commas that are
// read from left to right: aws, OPERATION=RATE, OPERATION=RATE:BURST and
// OPERATION=off. Reading an audit log is the operations pcaaudit:GetCheckpoint
// and pcaaudit:GetProof, making CRLs at once pcaaudit:PublishCRL; AWS has no
// figures for them. Without a burst it is twice the rate (O-20).
func parseThrottle(s string) (map[string]awsjson.Rate, error) {
	rates := map[string]awsjson.Rate{}
	known := map[string]bool{}
	for _, op := range pca.Operations() {
		known[op.Name] = true
	}
	for _, action := range []string{auditlog.ActionGetCheckpoint, auditlog.ActionGetProof, crl.ActionPublish} {
		known[action] = true
	}
	wrong := func(item string) error {
		return usageError("use off, aws, or items such as aws,IssueCertificate=100,GetCertificate=200:500,RevokeCertificate=off", "--throttle: %q is not a rate", item)
	}
	for item := range strings.SplitSeq(s, ",") {
		item = strings.TrimSpace(item)
		name, value, set := strings.Cut(item, "=")
		switch {
		case item == "off" || item == "":
			clear(rates)
		case item == "aws":
			for op, r := range awsRates {
				rates[op] = awsjson.Rate{PerSecond: r, Burst: burstOf(r)}
			}
		case !set || !known[name]:
			return nil, wrong(item)
		case value == "off":
			delete(rates, name)
		default:
			perSecond, burst, both := strings.Cut(value, ":")
			r, err := strconv.ParseFloat(perSecond, 64)
			if err != nil || !(r > 0 && r <= 1e6) { // also NaN
				return nil, wrong(item)
			}
			n := burstOf(r)
			if both {
				if n, err = strconv.Atoi(burst); err != nil || n < 1 {
					return nil, wrong(item)
				}
			}
			rates[name] = awsjson.Rate{PerSecond: r, Burst: n}
		}
	}
	return rates, nil
}

// ofPaths takes the rates of the server's own paths out of rates.
func ofPaths(rates map[string]awsjson.Rate) map[string]awsjson.Rate {
	paths := map[string]awsjson.Rate{}
	for name, r := range rates {
		if strings.HasPrefix(name, "pcaaudit:") {
			paths[name] = r
			delete(rates, name)
		}
	}
	return paths
}

// checkLimits refuses limits that cannot be read.
func (c *serveConfig) checkLimits() error {
	if c.MaxInFlight < 0 {
		return usageError("", "--max-in-flight must not be negative")
	}
	if c.MaxConnections < 1 {
		return usageError("", "--max-connections must be at least 1")
	}
	_, throttle := parseThrottle(c.Throttle)
	_, quota := parseQuota(c.Quota)
	_, buckets := parseAllowedBuckets(c.AuditAllowedBuckets)
	_, standards := parseStandards(c.KeyStandards)
	if c.VisibilityDelay < 0 {
		return usageError("", "--visibility-delay must not be negative")
	}
	return cmp.Or(throttle, quota, buckets, standards)
}

func burstOf(perSecond float64) int { return max(1, int(math.Ceil(2*perSecond))) }

// quotas bound what there may be; 0 is any number (O-22).
type quotas struct {
	CertificateAuthorities int64 // of an account, with those that can be restored
	CertificatesPerCA      int64 // over the life of a CA
	RevokedPerCA           int64 // and not expired, of a CA whose CRLs are complete
}

// parseQuota reads --quota: "off", or items separated by commas: aws,
// certificate-authorities=N, certificates-per-ca=N and revoked-per-ca=N, N or off.
func parseQuota(s string) (quotas, error) {
	var q quotas
	for item := range strings.SplitSeq(s, ",") {
		item = strings.TrimSpace(item)
		name, value, _ := strings.Cut(item, "=")
		var n int64
		if value != "" && value != "off" {
			var err error
			if n, err = strconv.ParseInt(value, 10, 64); err != nil || n < 1 {
				return quotas{}, wrongQuota(item)
			}
		}
		switch {
		case item == "off" || item == "":
			q = quotas{}
		case item == "aws":
			q = quotas{CertificateAuthorities: 200, CertificatesPerCA: 100_000_000, RevokedPerCA: 1_000_000}
		case name == "certificate-authorities" && value != "":
			q.CertificateAuthorities = n
		case name == "certificates-per-ca" && value != "":
			q.CertificatesPerCA = n
		case name == "revoked-per-ca" && value != "":
			q.RevokedPerCA = n
		default:
			return quotas{}, wrongQuota(item)
		}
	}
	return q, nil
}

func wrongQuota(item string) error {
	return usageError("use off, aws, or items such as aws,certificate-authorities=1000,certificates-per-ca=off", "--quota: %q is not a quota", item)
}

// allowedBuckets are the buckets that an account's reports may go to; an
// account without an entry may use any.
type allowedBuckets map[string]map[string]bool

// parseAllowedBuckets reads --audit-allowed-buckets: ACCOUNT=BUCKET items
// separated by commas; the account * stands for every account.
func parseAllowedBuckets(s string) (allowedBuckets, error) {
	allowed := allowedBuckets{}
	for item := range strings.SplitSeq(s, ",") {
		item = strings.TrimSpace(item)
		if item == "" {
			continue
		}
		account, name, _ := strings.Cut(item, "=")
		if account != "*" && !accountID.MatchString(account) || name == "" {
			return nil, usageError("use items such as 123456789012=audit-reports or *=audit-reports, separated by commas", "--audit-allowed-buckets: %q names no account and bucket", item)
		}
		if allowed[account] == nil {
			allowed[account] = map[string]bool{}
		}
		allowed[account][name] = true
	}
	return allowed, nil
}

func (a allowedBuckets) allow(account, bucket string) bool {
	every, own := a["*"], a[account]
	return len(every) == 0 && len(own) == 0 || every[bucket] || own[bucket]
}

// parseStandards reads --key-standards; nil is all.
func parseStandards(s string) (list []pca.KeyStorageSecurityStandard, err error) {
	for _, name := range splitList(s) {
		standard := pca.KeyStorageSecurityStandard(name)
		switch standard {
		case pca.KeyStorageSecurityStandard_FIPS_140_2_LEVEL_2_OR_HIGHER, pca.KeyStorageSecurityStandard_FIPS_140_2_LEVEL_3_OR_HIGHER, pca.KeyStorageSecurityStandard_CCPC_LEVEL_1_OR_HIGHER:
			list = append(list, standard)
		default:
			return nil, usageError("use FIPS_140_2_LEVEL_2_OR_HIGHER, FIPS_140_2_LEVEL_3_OR_HIGHER or CCPC_LEVEL_1_OR_HIGHER, separated by commas", "--key-standards: %q is not a standard of the API", name)
		}
	}
	return list, nil
}

// splitList gives the items of a list that commas separate.
func splitList(s string) (list []string) {
	for item := range strings.SplitSeq(s, ",") {
		if item = strings.TrimSpace(item); item != "" {
			list = append(list, item)
		}
	}
	return list
}
