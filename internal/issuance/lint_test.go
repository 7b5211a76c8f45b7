package issuance

import (
	"testing"

	zx509 "github.com/zmap/zcrypto/x509"
	"github.com/zmap/zlint/v3"
	"github.com/zmap/zlint/v3/lint"
)

// Reasons that several findings share.
const (
	web     = "a rule of the public web's PKI (CA/Browser Forum); this CA is private, and AWS's templates do not follow it: "
	asAsked = "the caller asks for it and AWS copies it unjudged: "
)

// acceptedFindings are those of zlint's findings that are as they must be, with
// the reason.
var acceptedFindings = map[string]string{
	"e_ecdsa_allowed_ku":                              "the end-entity templates fix keyEncipherment whatever the key is (templates 1.2)",
	"e_key_usage_and_extended_key_usage_inconsistent": asAsked + "cRLSign and nonRepudiation with timeStamping (T-52)",
	"e_path_len_constraint_improperly_included":       "blank CA templates fix the path length and leave the key usage to the caller (templates 1.2)",
	"w_ext_key_usage_not_critical":                    asAsked + "a CSR's key usage keeps its critical flag (T-26)",

	"e_sub_cert_basic_constraints_not_critical":                     web + "basicConstraints of end entities is not critical (templates 1.2, T-24)",
	"w_ext_subject_key_identifier_not_recommended_subscriber":       web + "every certificate has a subjectKeyIdentifier (T-19a)",
	"e_ca_key_usage_missing":                                        web + "blank templates define no key usage",
	"e_root_ca_key_usage_present":                                   web + "blank templates define no key usage",
	"e_cabf_ecc_allowed_key_usages":                                 web + "key usage is the template's or the caller's",
	"e_sub_cert_eku_missing":                                        web + "blank templates define no extended key usage",
	"w_root_ca_basic_constraints_path_len_constraint_field_present": web + "BlankRootCACertificate_PathLenN",

	"e_missing_crl_distrib_point":                              web + "revocation may be switched off",
	"e_sub_ca_crl_distribution_points_missing":                 web + "revocation may be switched off",
	"e_sub_cert_aia_missing":                                   web + "revocation may be switched off",
	"w_sub_ca_aia_missing":                                     web + "revocation may be switched off",
	"w_sub_cert_aia_does_not_contain_issuing_ca_url":           web + "there is no caIssuers (T-21)",
	"w_sub_cert_aia_contains_internal_names":                   web + "the test's URL has an internal name",
	"e_ocsp_cert_cdp_forbidden":                                web + "OCSPSigningCertificate has CRL distribution points like any other (T-20)",
	"e_ocsp_cert_cp_forbidden":                                 asAsked + "certificate policies",
	"e_ocsp_id_pkix_ocsp_nocheck_ext_not_included_server_auth": web + "no template defines id-pkix-ocsp-nocheck (templates 1.2)",

	"e_invalid_ca_certificate_policies":          web + "policies are the caller's",
	"e_sub_ca_certificate_policies_missing":      web + "policies are the caller's",
	"e_sub_cert_cert_policy_empty":               web + "policies are the caller's",
	"e_sub_cert_certificate_policies_missing":    web + "policies are the caller's",
	"e_ca_country_name_missing":                  web + "names are the caller's",
	"e_sub_cert_country_name_must_appear":        web + "names are the caller's",
	"e_sub_cert_locality_name_must_appear":       web + "names are the caller's",
	"e_sub_cert_province_must_appear":            web + "names are the caller's",
	"e_subject_common_name_not_exactly_from_san": web + "names are the caller's",
	"w_subject_common_name_included":             web + "names are the caller's",
	"e_ext_san_missing":                          web + "names are the caller's",
	"e_dnsname_not_valid_tld":                    web + "names are the caller's",
}

// Every certificate of the matrix is linted. A finding that nobody accepted
// fails, and so does an accepted one that is found no more.
func TestLint(t *testing.T) {
	t.Parallel()
	root := p256Root()
	found := map[string]bool{}
	for _, c := range matrix(t, root) {
		out, err := root.issuer(t).Issue(c.request)
		if err != nil {
			t.Errorf("%s: %v", &c, err)
			continue
		}
		cert, err := zx509.ParseCertificate(out.DER)
		if err != nil {
			t.Errorf("%s: %v", &c, err)
			continue
		}
		for name, r := range zlint.LintCertificate(cert).Results {
			if r.Status < lint.Warn {
				continue
			}
			if acceptedFindings[name] == "" && !found[name] {
				t.Errorf("%s: %s: %s (%s) %s", &c, r.Status, name, r.LintMetadata.Description, r.Details)
			}
			found[name] = true
		}
	}
	for name := range acceptedFindings {
		if !found[name] {
			t.Errorf("%s is accepted and no longer found: remove it from the table", name)
		}
	}
}
