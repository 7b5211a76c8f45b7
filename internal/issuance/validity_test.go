package issuance

import (
	"crypto/elliptic"
	"crypto/x509"
	"encoding/hex"
	"math"
	"strings"
	"testing"
	"time"

	"chirograph.dev/internal/pca"
)

func at(t testing.TB, text string) time.Time {
	t.Helper()
	v, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// The test table of CA lifecycle 6.4, through Issue.
func TestValidityTable(t *testing.T) {
	t.Parallel()
	key := ecKey(t, elliptic.P256())
	basic := []Extension{{OID: oidBasicConstraints, Critical: true, Value: unhex(t, "30030101ff")}}
	caCert := certSpec{subject: name(t, pca.ASN1Subject{CommonName: "CA"}), extensions: basic, notBefore: at(t, "2020-01-01T00:00:00Z"), notAfter: at(t, "2035-01-01T00:00:00Z")}.der(t, key, key)
	t0 := at(t, "2024-01-31T10:20:30.9Z")
	csr := csrSpec{subject: name(t, pca.ASN1Subject{CommonName: "x"})}.pem(t, key)
	const hourBefore = "2024-01-31T09:20:30Z"
	days, months, years, absolute, end := pca.ValidityPeriodType_DAYS, pca.ValidityPeriodType_MONTHS, pca.ValidityPeriodType_YEARS, pca.ValidityPeriodType_ABSOLUTE, pca.ValidityPeriodType_END_DATE
	seconds := func(n int64) *pca.Validity { return &pca.Validity{Type: absolute, Value: n} }
	for _, c := range []struct {
		kind      pca.ValidityPeriodType
		value     int64
		begin     *pca.Validity
		short     bool
		notBefore string
		notAfter  string // or the code of the refusal
	}{
		{days, 1, nil, false, hourBefore, "2024-02-01T10:20:30Z"},
		{days, 365, nil, false, hourBefore, "2025-01-30T10:20:30Z"},
		{months, 1, nil, false, hourBefore, "2024-02-29T10:20:30Z"},
		{months, 13, nil, false, hourBefore, "2025-02-28T10:20:30Z"},
		{years, 10, nil, false, hourBefore, "2034-01-31T10:20:30Z"},
		{years, 11, nil, false, "", "ValidationException"},
		{absolute, 2051222400, nil, false, hourBefore, "2035-01-01T00:00:00Z"},
		{absolute, 2051222401, nil, false, "", "ValidationException"},
		{end, 301231235959, nil, false, hourBefore, "2030-12-31T23:59:59Z"},
		{end, 20301231235959, nil, false, hourBefore, "2030-12-31T23:59:59Z"},
		{end, 91231235959, nil, false, "", "ValidationException"},
		{end, 511231235959, nil, false, "", "ValidationException"},
		{days, 30, seconds(1700000000), false, "2023-11-14T22:13:20Z", "2024-03-01T10:20:30Z"},
		{days, 1, seconds(1710000000), false, "", "ValidationException"},
		{days, 30, &pca.Validity{Type: days, Value: 1}, false, "", "InvalidArgsException"},
		{days, 7, nil, true, hourBefore, "2024-02-07T10:20:30Z"},
		{days, 8, nil, true, "", "ValidationException"},
		{months, 1, nil, true, "", "ValidationException"},

		{absolute, t0.Unix() + 7*86400, nil, true, hourBefore, "2024-02-07T10:20:30Z"},
		{absolute, t0.Unix() + 7*86400 + 1, nil, true, "", "ValidationException"},
		{absolute, t0.Unix() + 1, nil, false, hourBefore, "2024-01-31T10:20:31Z"},
		{absolute, t0.Unix(), nil, false, "", "ValidationException"},
		{absolute, t0.Unix() - 60, nil, false, "", "ValidationException"},
		{days, 1, seconds(t0.Unix() + 86400), false, "", "ValidationException"},
		{days, 1, seconds(t0.Unix() + 86399), false, "2024-02-01T10:20:29Z", "2024-02-01T10:20:30Z"},
		{days, 1, seconds(1), false, "1970-01-01T00:00:01Z", "2024-02-01T10:20:30Z"},
		{days, 1, seconds(math.MaxInt64), false, "", "ValidationException"},
		{days, 0, nil, false, "", "ValidationException"},
		{"", 1, nil, false, "", "ValidationException"},
	} {
		cfg := IssuerConfig{Type: pca.CertificateAuthorityType_ROOT, Signer: key, Certificate: caCert}
		if c.short {
			cfg.UsageMode = pca.CertificateAuthorityUsageMode_SHORT_LIVED_CERTIFICATE
		}
		i, err := NewIssuer(cfg)
		if err != nil {
			t.Fatal(err)
		}
		r := request(t, "EndEntityCertificate", csr)
		r.Now, r.Validity, r.NotBefore = t0, pca.Validity{Type: c.kind, Value: c.value}, c.begin
		out, err := i.Issue(r)
		if strings.HasSuffix(c.notAfter, "Exception") {
			if out != nil {
				t.Errorf("%s %d: issued until %v", c.kind, c.value, out.NotAfter)
				continue
			}
			wantCode(t, err, pca.Code(c.notAfter))
			continue
		}
		if err != nil {
			t.Errorf("%s %d: %v", c.kind, c.value, err)
			continue
		}
		cert, err := x509.ParseCertificate(out.DER)
		if err != nil {
			t.Fatal(err)
		}
		for what, got := range map[string][2]time.Time{"certificate": {cert.NotBefore, cert.NotAfter}, "answer": {out.NotBefore, out.NotAfter}} {
			if !got[0].Equal(at(t, c.notBefore)) || !got[1].Equal(at(t, c.notAfter)) {
				t.Errorf("%s %d: %s valid from %v to %v, want %s to %s", c.kind, c.value, what, got[0], got[1], c.notBefore, c.notAfter)
			}
		}
	}
}

func TestNotAfter(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		kind     pca.ValidityPeriodType
		value    int64
		t0, want string // empty want: ValidationException
	}{
		{"MONTHS", 1, "2023-01-31T00:00:00Z", "2023-02-28T00:00:00Z"},
		{"MONTHS", 1, "2024-12-31T23:59:59Z", "2025-01-31T23:59:59Z"},
		{"MONTHS", 12, "2024-02-29T01:02:03Z", "2025-02-28T01:02:03Z"},
		{"MONTHS", 48, "2024-02-29T01:02:03Z", "2028-02-29T01:02:03Z"},
		{"MONTHS", 3, "2024-08-31T00:00:00Z", "2024-11-30T00:00:00Z"},
		{"YEARS", 1, "2024-02-29T12:00:00Z", "2025-02-28T12:00:00Z"},
		{"YEARS", 4, "2024-02-29T12:00:00Z", "2028-02-29T12:00:00Z"},
		{"YEARS", 76, "2024-02-29T12:00:00Z", "2100-02-28T12:00:00Z"},
		{"MONTHS", 1, "2024-01-31T22:30:00-05:00", "2024-03-01T03:30:00Z"},
		{"DAYS", 90, "2020-10-12T00:00:00Z", "2021-01-10T00:00:00Z"},
		{"ABSOLUTE", 2524608000, "2024-01-01T00:00:00Z", "2050-01-01T00:00:00Z"},
		{"END_DATE", 491231235959, "2024-01-01T00:00:00Z", "2049-12-31T23:59:59Z"},
		{"END_DATE", 500101000000, "2024-01-01T00:00:00Z", "1950-01-01T00:00:00Z"},
		{"END_DATE", 991231235959, "2024-01-01T00:00:00Z", "1999-12-31T23:59:59Z"},
		{"END_DATE", 101000000, "2024-01-01T00:00:00Z", "2000-01-01T00:00:00Z"},
		{"END_DATE", 20240229000000, "2024-01-01T00:00:00Z", "2024-02-29T00:00:00Z"},
		{"END_DATE", 99991231235959, "2024-01-01T00:00:00Z", "9999-12-31T23:59:59Z"},
		{"END_DATE", 20230229000000, "2024-01-01T00:00:00Z", ""},
		{"END_DATE", 20241301000000, "2024-01-01T00:00:00Z", ""},
		{"END_DATE", 20241231240000, "2024-01-01T00:00:00Z", ""},
		{"END_DATE", 20241231235960, "2024-01-01T00:00:00Z", ""},
		{"END_DATE", 1, "2024-01-01T00:00:00Z", ""},
		{"END_DATE", 2024123123595, "2024-01-01T00:00:00Z", ""},
		{"END_DATE", 202412312359590, "2024-01-01T00:00:00Z", ""},
		{"END_DATE", math.MaxInt64, "2024-01-01T00:00:00Z", ""},
		{"ABSOLUTE", 253402300799, "2024-01-01T00:00:00Z", "9999-12-31T23:59:59Z"},
		{"ABSOLUTE", 253402300800, "2024-01-01T00:00:00Z", ""},
		{"ABSOLUTE", math.MaxInt64, "2024-01-01T00:00:00Z", ""},
		{"DAYS", 2912808, "2024-12-31T23:59:59Z", "9999-12-31T23:59:59Z"},
		{"DAYS", 2912809, "2024-12-31T23:59:59Z", ""},
		{"DAYS", math.MaxInt64, "2024-01-01T00:00:00Z", ""},
		{"DAYS", math.MaxInt64 / 86400, "2024-01-01T00:00:00Z", ""},
		{"MONTHS", 12 * 7975, "2024-12-31T23:59:59Z", "9999-12-31T23:59:59Z"},
		{"MONTHS", 12*7975 + 1, "2024-12-31T23:59:59Z", ""},
		{"MONTHS", math.MaxInt64, "2024-01-01T00:00:00Z", ""},
		{"YEARS", 7975, "2024-12-31T23:59:59Z", "9999-12-31T23:59:59Z"},
		{"YEARS", 7976, "2024-01-01T00:00:00Z", ""},
		{"YEARS", math.MaxInt64, "2024-01-01T00:00:00Z", ""},
	} {
		got, err := NotAfter(pca.Validity{Type: c.kind, Value: c.value}, at(t, c.t0))
		if c.want == "" {
			if err == nil {
				t.Errorf("%s %d: %v", c.kind, c.value, got)
				continue
			}
			wantCode(t, err, pca.ValidationException)
			continue
		}
		if err != nil || !got.Equal(at(t, c.want)) || got.Location() != time.UTC {
			t.Errorf("%s %d at %s: %v, %v; want %s", c.kind, c.value, c.t0, got, err, c.want)
		}
	}
	_, err := NotAfter(pca.Validity{Type: "DAYS"}, now)
	if got, want := wantCode(t, err, pca.ValidationException), "1 validation error detected: Value '0' at 'validity.value' failed to satisfy constraint: Member must have value greater than or equal to 1"; got != want {
		t.Errorf("message %q", got)
	}
}

func TestTimeEncoding(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"2024-01-31T10:20:30Z": "170d" + hex.EncodeToString([]byte("240131102030Z")), "1970-01-01T00:00:01Z": "170d" + hex.EncodeToString([]byte("700101000001Z")),
		"2049-12-31T23:59:59Z": "170d" + hex.EncodeToString([]byte("491231235959Z")), "2050-01-01T00:00:00Z": "180f" + hex.EncodeToString([]byte("20500101000000Z")),
		"9999-12-31T23:59:59Z": "180f" + hex.EncodeToString([]byte("99991231235959Z")),
	} {
		if got := hex.EncodeToString(appendTime(nil, at(t, text))); got != want {
			t.Errorf("%s: %s, want %s", text, got, want)
		}
	}
}
