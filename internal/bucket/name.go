package bucket

import (
	"net/netip"
	"strings"

	"chirograph.dev/internal/pca"
)

// CheckName checks S3's rules for the names of general purpose buckets; a name
// that breaks one is an InvalidArgsException that says which.
func CheckName(name string) error {
	bad := func(rule string) error {
		return pca.Errorf(pca.InvalidArgsException, "%q is not a valid S3 bucket name: %s.", name, rule)
	}
	if len(name) < 3 || len(name) > 63 {
		return bad("it must have 3 to 63 characters")
	}
	for i := range len(name) {
		c := name[i]
		alnum := 'a' <= c && c <= 'z' || '0' <= c && c <= '9'
		if !alnum && c != '-' && c != '.' {
			return bad("it may hold lower-case letters, digits, dots and hyphens only")
		}
		if !alnum && (i == 0 || i == len(name)-1) {
			return bad("it must begin and end with a letter or a digit")
		}
	}
	if strings.Contains(name, "..") {
		return bad("two dots must not follow each other")
	}
	if _, err := netip.ParseAddr(name); err == nil {
		return bad("it must not look like an IP address")
	}
	for _, p := range []string{"xn--", "sthree-"} {
		if strings.HasPrefix(name, p) {
			return bad("names that begin with " + p + " are reserved")
		}
	}
	for _, s := range []string{"-s3alias", "--ol-s3", ".mrap", "--x-s3", "--table-s3"} {
		if strings.HasSuffix(name, s) {
			return bad("names that end with " + s + " are reserved")
		}
	}
	return nil
}
