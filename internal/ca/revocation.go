package ca

import (
	"reflect"
	"strings"

	"chirograph.dev/internal/pca"
)

// PublishesRevocation says whether CRLs and OCSP responses are served. They are
// not yet, so switching them on is refused: never accepted and ignored.
const PublishesRevocation = false

// checkRevocation holds the rules of api.md 3.
func checkRevocation(r *pca.RevocationConfiguration) error {
	if r == nil {
		return nil
	}
	if c := r.CrlConfiguration; c != nil {
		extension := c.CrlDistributionPointExtensionConfiguration
		switch {
		case !c.Enabled && *c != (pca.CrlConfiguration{}):
			return pca.Errorf(pca.InvalidArgsException, "CrlConfiguration with Enabled set to false must have no other member.")
		case strings.Contains(c.CustomCname, "://"):
			return pca.Errorf(pca.InvalidArgsException, "The CustomCname of CrlConfiguration must be a name without a scheme such as http://.")
		case extension != nil && extension.OmitExtension && c.CustomCname != "":
			return pca.Errorf(pca.InvalidArgsException, "CrlConfiguration cannot have a CustomCname while OmitExtension is true: there is no extension to write it into.")
		case c.Enabled && !PublishesRevocation:
			return pca.Errorf(pca.InvalidArgsException, "CRLs are not served by this version. Leave CrlConfiguration out, or set its Enabled to false.")
		}
	}
	if o := r.OcspConfiguration; o != nil {
		switch {
		case !o.Enabled && o.OcspCustomCname != "":
			return pca.Errorf(pca.InvalidArgsException, "OcspConfiguration with Enabled set to false must have no other member.")
		case strings.Contains(o.OcspCustomCname, "://"):
			return pca.Errorf(pca.InvalidArgsException, "The OcspCustomCname must be a name without a scheme such as http://.")
		case o.Enabled && !PublishesRevocation:
			return pca.Errorf(pca.InvalidArgsException, "OCSP is not served by this version. Leave OcspConfiguration out, or set its Enabled to false.")
		}
	}
	return nil
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
