package pca

import (
	"errors"
	"strings"
	"testing"
)

const testCA = "arn:aws:acm-pca:us-east-1:123456789012:certificate-authority/11223344-1234-1122-2233-112233445566"

func TestParseARN(t *testing.T) {
	t.Parallel()
	const serial = "e8cbd2bedb122329f97706bcfec990f8"
	for _, row := range []struct {
		text string
		ca   bool // is the ARN of a CA
		cert bool // is the ARN of a certificate
	}{
		{testCA, true, false},
		{testCA + "/certificate/" + serial, false, true},
		{testCA + "/certificate/" + strings.ToUpper(serial), false, true},
		{testCA + "/certificate/" + serial + "00112233", false, true},
		{strings.Replace(testCA, "us-east-1", "mars-north-9", 1), true, false},
		{strings.Replace(testCA, "arn:aws:", "arn:aws-cn:", 1), false, false},
		{strings.Replace(testCA, "acm-pca", "acm", 1), false, false},
		{strings.Replace(testCA, "us-east-1", "", 1), false, false},
		{strings.Replace(testCA, "123456789012", "12345678901", 1), false, false},
		{strings.Replace(testCA, "123456789012", "12345678901a", 1), false, false},
		{strings.Replace(testCA, "123456789012", "", 1), false, false},
		{strings.Replace(testCA, "certificate-authority", "template", 1), false, false},
		{strings.Replace(testCA, "11223344-", "1122334-", 1), false, false},
		{strings.Replace(testCA, "11223344-1234", "11223344x1234", 1), false, false},
		{strings.Replace(testCA, "112233445566", "11223344556A", 1), false, false}, // lookups tell case apart
		{strings.Replace(testCA, "112233445566", "11223344556g", 1), false, false},
		{testCA + "/", false, false},
		{testCA + "/certificate", false, false},
		{testCA + "/certificate/", false, false},
		{testCA + "/certificate/" + serial[1:], false, false},
		{testCA + "/certificate/" + serial[:30] + "zz", false, false},
		{testCA + "/certificate/" + serial + "0011223344", false, false},
		{testCA + "/certificate/" + serial + "/x", false, false},
		{testCA + "/permission/" + serial, false, false},
		{testCA + ":x", false, false},
		{"arn:aws:acm-pca:::template/EndEntityCertificate/V1", false, false},
		{"", false, false},
		{"arn:aws:acm-pca", false, false},
	} {
		a, err := ParseARN(row.text, "aws")
		if (err == nil) != (row.ca || row.cert) {
			t.Errorf("ParseARN(%q): %v", row.text, err)
		}
		if err == nil && (a.String() != strings.ToLower(row.text) || (a.Certificate != "") != row.cert || !strings.HasPrefix(row.text, a.CAARN())) {
			t.Errorf("ParseARN(%q) = %+v", row.text, a)
		}
		b, caErr := ParseCAARN(row.text, "aws")
		if (caErr == nil) != row.ca {
			t.Errorf("ParseCAARN(%q): %v", row.text, caErr)
		}
		if row.ca && b != a || !row.ca && b != (ARN{}) {
			t.Errorf("ParseCAARN(%q) = %+v", row.text, b)
		}
		for _, err := range []error{err, caErr} {
			var e *Error
			if err != nil && (!errors.As(err, &e) || e.Code != InvalidArnException || e.Message == "") {
				t.Errorf("%q: %v", row.text, err)
			}
		}
	}
	a, err := ParseCAARN(testCA, "aws")
	if err != nil {
		t.Fatal(err)
	}
	if got := a.WithCertificate([]byte{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 255}).String(); got != testCA+"/certificate/000102030405060708090a0b0c0d0eff" {
		t.Errorf("WithCertificate: %s", got)
	}
	if a.Certificate != "" {
		t.Error("WithCertificate changed its receiver")
	}
}

func FuzzParseARN(f *testing.F) {
	f.Add(testCA)
	f.Add(testCA + "/certificate/e8cbd2bedb122329f97706bcfec990f8")
	f.Fuzz(func(t *testing.T, s string) {
		a, err := ParseARN(s, "aws")
		if err != nil {
			return
		}
		if b, err := ParseARN(a.String(), "aws"); err != nil || b != a {
			t.Fatalf("%q: %+v, then %+v, %v", s, a, b, err)
		}
	})
}
