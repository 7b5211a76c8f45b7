package ca

import (
	"context"
	"reflect"
	"strconv"
	"strings"

	"chirograph.dev/internal/bucket"
	"chirograph.dev/internal/pca"
	"chirograph.dev/internal/store"
)

// revocationOf judges the configuration of a request by itself (revocation.md
// 2.3) and gives it with its defaults written out; nil for none.
func (s *Service) revocationOf(given *pca.RevocationConfiguration) (*pca.RevocationConfiguration, error) {
	if given == nil {
		return nil, nil
	}
	next := *given
	if c := given.CrlConfiguration; c != nil {
		if err := s.checkCRL(c); err != nil {
			return nil, err
		}
		filled := *c
		if c.Enabled {
			if c.S3ObjectAcl == "" {
				filled.S3ObjectAcl = pca.S3ObjectAcl_PUBLIC_READ
			}
			if c.CrlType == "" {
				filled.CrlType = pca.CrlType_COMPLETE
			}
		}
		next.CrlConfiguration = &filled
	}
	if o := given.OcspConfiguration; o != nil {
		switch {
		case !o.Enabled && o.OcspCustomCname != "":
			return nil, pca.Errorf(pca.InvalidArgsException, "OcspConfiguration with Enabled set to false must have no other member.")
		case o.Enabled && s.OCSPURL == nil:
			return nil, pca.Errorf(pca.InvalidArgsException, "OCSP is not served by this server. Leave OcspConfiguration out, or set its Enabled to false.")
		}
		if err := checkCname("OcspCustomCname", o.OcspCustomCname); err != nil {
			return nil, err
		}
	}
	return &next, nil
}

func (s *Service) checkCRL(c *pca.CrlConfiguration) error {
	switch {
	case !c.Enabled && *c != (pca.CrlConfiguration{}):
		return pca.Errorf(pca.InvalidArgsException, "CrlConfiguration with Enabled set to false must have no other member.")
	case !c.Enabled:
		return nil
	case s.CRLs == nil:
		return pca.Errorf(pca.InvalidArgsException, "CRLs are not served by this server. Leave CrlConfiguration out, or set its Enabled to false.")
	}
	if err := checkCname("CustomCname of CrlConfiguration", c.CustomCname); err != nil {
		return err
	}
	switch {
	case omitsCRL(c) && c.CustomCname != "":
		return pca.Errorf(pca.InvalidArgsException, "CrlConfiguration cannot have a CustomCname while OmitExtension is true: there is no extension to write it into.")
	case c.ExpirationInDays == 0:
		return pca.Errorf(pca.InvalidArgsException, "CrlConfiguration with Enabled set to true must have ExpirationInDays, the number of days that a CRL is valid.")
	case c.S3BucketName == "":
		return pca.Errorf(pca.InvalidArgsException, "CrlConfiguration with Enabled set to true must have an S3BucketName, the bucket that CRLs are written to.")
	}
	for part := range strings.SplitSeq(c.CustomPath, "/") {
		if part == "." || part == ".." {
			return pca.Errorf(pca.InvalidArgsException, "The CustomPath of CrlConfiguration must not have . or .. between slashes: whoever fetches the CRL would take them out of its URL.")
		}
	}
	return bucket.CheckName(c.S3BucketName)
}

// omitsCRL tells whether certificates do not say where their CRL is.
func omitsCRL(c *pca.CrlConfiguration) bool {
	e := c.CrlDistributionPointExtensionConfiguration
	return e != nil && e.OmitExtension
}

// checkCname refuses what is not hostname[:port][/path] in visible ASCII: it
// stands in URLs behind http:// (R-21). Empty is fine.
func checkCname(member, name string) error {
	if name == "" {
		return nil
	}
	if strings.Contains(name, "://") {
		return pca.Errorf(pca.InvalidArgsException, "The %s must be a name without a scheme such as http://.", member)
	}
	authority, path, _ := strings.Cut(name, "/")
	host, port, hasPort := strings.Cut(authority, ":")
	valid := host != "" && visible(path)
	for label := range strings.SplitSeq(strings.TrimSuffix(host, "."), ".") {
		valid = valid && label != "" && len(label) <= 63 && strings.Trim(strings.ToLower(label), "abcdefghijklmnopqrstuvwxyz0123456789-_") == "" &&
			label[0] != '-' && label[len(label)-1] != '-'
	}
	if n, err := strconv.ParseUint(port, 10, 16); hasPort && (err != nil || n == 0) {
		valid = false
	}
	if !valid {
		return pca.Errorf(pca.InvalidArgsException, "The %s is %q, which is not a host name, with or without a port and a path: such as pki.example.com or pki.example.com:8080/ca.", member, name)
	}
	return nil
}

// visible tells whether text can be the path of a URL as it stands.
func visible(path string) bool {
	for i := 0; i < len(path); i++ {
		switch c := path[i]; {
		case c <= ' ' || c > '~' || strings.IndexByte("?#\"<>\\^`{|}", c) >= 0:
			return false
		case c == '%':
			if _, err := strconv.ParseUint(path[i+1:min(i+3, len(path))], 16, 8); err != nil || i+3 > len(path) {
				return false
			}
		}
	}
	return true
}

// revocation is a configuration with what is off by default written out.
func revocation(r pca.RevocationConfiguration) pca.RevocationConfiguration {
	if r.CrlConfiguration == nil {
		r.CrlConfiguration = &pca.CrlConfiguration{}
	}
	if r.OcspConfiguration == nil {
		r.OcspConfiguration = &pca.OcspConfiguration{}
	}
	return r
}

// replaceRevocation gives a configuration with each sub-structure that is given in the place of the old one.
func replaceRevocation(old pca.RevocationConfiguration, given *pca.RevocationConfiguration) (next pca.RevocationConfiguration, changed bool) {
	next = old
	if given.CrlConfiguration != nil {
		next.CrlConfiguration = given.CrlConfiguration
	}
	if given.OcspConfiguration != nil {
		next.OcspConfiguration = given.OcspConfiguration
	}
	return next, !reflect.DeepEqual(revocation(old), revocation(next))
}

// crlOf is the configuration of the CRLs that a CA makes; nil when it makes none.
func crlOf(r *pca.RevocationConfiguration) *pca.CrlConfiguration {
	if r == nil || r.CrlConfiguration == nil || !r.CrlConfiguration.Enabled {
		return nil
	}
	return r.CrlConfiguration
}

// checkBucket refuses a configuration whose CRLs cannot be written. It
// asks the bucket, which takes a while: no CA is locked.
func (s *Service) checkBucket(ctx context.Context, rec *store.CertificateAuthority) error {
	if crlOf(&rec.Revocation) == nil {
		return nil
	}
	return s.CRLs.Check(ctx, rec)
}

// ocspURL is the URL of the OCSP responder that certificates of a CA have;
// empty for none (revocation.md 5.3).
func (s *Service) ocspURL(rec *store.CertificateAuthority) string {
	o := rec.Revocation.OcspConfiguration
	switch {
	case o == nil || !o.Enabled:
		return ""
	case o.OcspCustomCname != "":
		return "http://" + o.OcspCustomCname
	}
	return s.OCSPURL()
}
