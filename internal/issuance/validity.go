package issuance

import (
	"fmt"
	"math"
	"strconv"
	"time"

	"chirograph.dev/internal/pca"
)

const (
	// backdating is how long before its acceptance a certificate becomes valid
	// when the request names no beginning (T-72).
	backdating = time.Hour
	// shortLived bounds what a SHORT_LIVED_CERTIFICATE CA issues (T-76).
	shortLived = 7 * 24 * time.Hour
	// lastSecond is 9999-12-31T23:59:59Z, the last one that DER can say.
	lastSecond = 253402300799
)

func invalidValidity(format string, args ...any) error {
	return pca.Errorf(pca.ValidationException, format, args...)
}

// NotAfter is the end of a validity that is accepted at t0, in whole seconds
// UTC (CA lifecycle 6.2). It is a ValidationException when no such instant
// exists or it lies after the year 9999.
func NotAfter(v pca.Validity, t0 time.Time) (time.Time, error) {
	t0 = t0.Truncate(time.Second).UTC()
	beyond := func() (time.Time, error) {
		return time.Time{}, invalidValidity("The validity %d %s ends after 9999-12-31T23:59:59Z, the last instant that a certificate can name.", v.Value, v.Type)
	}
	if v.Value < 1 {
		return time.Time{}, invalidValidity("1 validation error detected: Value '%d' at 'validity.value' failed to satisfy constraint: Member must have value greater than or equal to 1", v.Value)
	}
	seconds := int64(math.MaxInt64)
	switch v.Type {
	case pca.ValidityPeriodType_DAYS:
		if v.Value <= lastSecond/86400 {
			seconds = t0.Unix() + v.Value*86400
		}
	case pca.ValidityPeriodType_MONTHS:
		if v.Value <= 12*9999 {
			seconds = addMonths(t0, int(v.Value)).Unix()
		}
	case pca.ValidityPeriodType_YEARS:
		if v.Value <= 9999 {
			seconds = addMonths(t0, 12*int(v.Value)).Unix()
		}
	case pca.ValidityPeriodType_ABSOLUTE:
		seconds = v.Value
	case pca.ValidityPeriodType_END_DATE:
		t, err := endDate(v.Value)
		if err != nil {
			return time.Time{}, &pca.Error{Code: pca.ValidationException, Err: err,
				Message: fmt.Sprintf("%d is not an END_DATE. Give a UTC time as 14 digits YYYYMMDDHHMMSS or 12 digits YYMMDDHHMMSS.", v.Value)}
		}
		seconds = t.Unix()
	default:
		return time.Time{}, invalidValidity("The validity type %q is unknown.", string(v.Type))
	}
	if seconds > lastSecond {
		return beyond()
	}
	return time.Unix(seconds, 0).UTC(), nil
}

// addMonths keeps day and time and clamps the day to the month's last, unlike
// time.AddDate, which runs over into the next month.
func addMonths(t time.Time, n int) time.Time {
	year, month, day := t.Date()
	first := time.Date(year, month+time.Month(n), 1, t.Hour(), t.Minute(), t.Second(), 0, time.UTC)
	last := first.AddDate(0, 1, -1).Day()
	return first.AddDate(0, 0, min(day, last)-1)
}

// endDate reads YYYYMMDDHHMMSS, or YYMMDDHHMMSS whose leading zeros an integer
// has lost; years from 50 on are in the last century.
func endDate(n int64) (time.Time, error) {
	digits := strconv.FormatInt(n, 10)
	if len(digits) <= 12 {
		digits = fmt.Sprintf("%012d", n)
		century := "20"
		if digits >= "5" {
			century = "19"
		}
		digits = century + digits
	}
	return time.Parse("20060102150405", digits)
}

// period is when a certificate is valid, both seconds included.
type period struct{ notBefore, notAfter time.Time }

// requestedPeriod computes the period that a request asks for, without regard
// to the CA (CA lifecycle 6.1, 6.2).
func requestedPeriod(r *Request) (p period, err error) {
	t0 := r.Now.Truncate(time.Second).UTC()
	if p.notAfter, err = NotAfter(r.Validity, t0); err != nil {
		return p, err
	}
	p.notBefore = t0.Add(-backdating)
	if nb := r.NotBefore; nb != nil {
		if nb.Type != pca.ValidityPeriodType_ABSOLUTE {
			return p, invalidArgs("ValidityNotBefore must be of type ABSOLUTE, in seconds since 1970-01-01T00:00:00Z, not %s.", nb.Type)
		}
		if p.notBefore, err = NotAfter(*nb, t0); err != nil {
			return p, err
		}
	}
	if p.notAfter.Before(t0.Add(time.Second)) {
		return p, invalidValidity("The certificate would end at %s, which is not in the future.", p.notAfter.Format(time.RFC3339))
	}
	if !p.notAfter.After(p.notBefore) {
		return p, invalidValidity("The certificate would end at %s, before it begins at %s.", p.notAfter.Format(time.RFC3339), p.notBefore.Format(time.RFC3339))
	}
	return p, nil
}

// appendTime appends a Time: UTCTime through 2049, then GeneralizedTime (T-77).
func appendTime(dst []byte, t time.Time) []byte {
	if t.Year() < 2050 {
		return t.AppendFormat(append(dst, 23, 13), "060102150405Z")
	}
	return t.AppendFormat(append(dst, 24, 15), "20060102150405Z")
}
