package pca

import (
	"encoding/hex"
	"strings"

	"github.com/google/uuid"
)

// Service is the service segment of every ARN and the service of SigV4 scopes.
const Service = "acm-pca"

// ARN is a certificate authority's ARN or the ARN of a certificate below it (api.md 2).
type ARN struct {
	Partition, Region, Account string
	CA                         string // the CA's UUID, lower case
	Certificate                string // 32 or more lower-case hex digits; empty for a CA
}

// String is the ARN's text.
func (a ARN) String() string {
	s := a.CAARN()
	if a.Certificate != "" {
		s += "/certificate/" + a.Certificate
	}
	return s
}

// CAARN is the text of the certificate authority's ARN.
func (a ARN) CAARN() string {
	return "arn:" + a.Partition + ":" + Service + ":" + a.Region + ":" + a.Account + ":certificate-authority/" + a.CA
}

// WithCertificate is the ARN of the certificate with that serial (16 octets) below the CA.
func (a ARN) WithCertificate(serial []byte) ARN {
	a.Certificate = hex.EncodeToString(serial)
	return a
}

// ParseARN reads the ARN of a CA or of a certificate; anything else, also
// another partition, is an InvalidArnException. Serial digits are accepted in
// either case and returned in lower case.
func ParseARN(s, partition string) (ARN, error) {
	invalid := func() (ARN, error) {
		return ARN{}, Errorf(InvalidArnException, "The ARN %s is not the ARN of a certificate authority or certificate in the partition %s.", s, partition)
	}
	f := strings.SplitN(s, ":", 6)
	if len(f) != 6 || f[0] != "arn" || f[1] != partition || f[2] != Service || len(f[4]) != 12 || f[3] == "" {
		return invalid()
	}
	a := ARN{Partition: f[1], Region: f[3], Account: f[4]}
	for i := range len(a.Account) {
		if a.Account[i] < '0' || a.Account[i] > '9' {
			return invalid()
		}
	}
	rest, ok := strings.CutPrefix(f[5], "certificate-authority/")
	if !ok {
		return invalid()
	}
	var sub string
	a.CA, sub, ok = strings.Cut(rest, "/")
	if len(a.CA) != 36 || uuid.Validate(a.CA) != nil || strings.ToLower(a.CA) != a.CA {
		return invalid()
	}
	if !ok {
		return a, nil
	}
	serial, ok := strings.CutPrefix(sub, "certificate/")
	serial = strings.ToLower(serial)
	if _, err := hex.DecodeString(serial); !ok || err != nil || len(serial) < 32 || len(serial) > 40 {
		return invalid()
	}
	a.Certificate = serial
	return a, nil
}

// ParseCAARN reads the ARN of a CA; any other ARN is an InvalidArnException.
func ParseCAARN(s, partition string) (ARN, error) {
	a, err := ParseARN(s, partition)
	if err == nil && a.Certificate != "" {
		err = Errorf(InvalidArnException, "The ARN %s is the ARN of a certificate; give the ARN of its certificate authority.", s)
	}
	if err != nil {
		return ARN{}, err
	}
	return a, nil
}

// DefaultTemplate is the template of requests that name none.
const DefaultTemplate = "EndEntityCertificate"

// TemplateARN is the ARN of a certificate template in a partition (templates.md T-1).
func TemplateARN(partition, name string) string {
	return "arn:" + partition + ":" + Service + ":::template/" + name + "/V1"
}
