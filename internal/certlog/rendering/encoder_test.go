package rendering

import (
	"testing"
	"time"
)

func TestAppendTime(t *testing.T) {
	t.Parallel()
	var d day
	check := func(sec int64) {
		t.Helper()
		if got, want := string(d.appendTime(nil, sec)), time.Unix(sec, 0).UTC().Format(timeLayout); got != want {
			t.Fatalf("%d: %s, want %s", sec, got, want)
		}
	}
	// Every day of 800 years and the ends of every year of the calendar.
	for day := time.Date(1600, 1, 1, 0, 0, 0, 0, time.UTC); day.Year() < 2400; day = day.AddDate(0, 0, 1) {
		check(day.Unix() + 86399)
	}
	for year := range 10000 {
		for _, d := range []time.Time{
			time.Date(year, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(year, 2, 28, 12, 34, 56, 0, time.UTC),
			time.Date(year, 3, 1, 0, 0, 0, 0, time.UTC), time.Date(year, 12, 31, 23, 59, 59, 0, time.UTC),
		} {
			check(d.Unix())
			check(d.Unix() - 1)
		}
	}
	for _, sec := range []int64{-62167219201, 253402300800, 1 << 50, -1 << 50} {
		check(sec)
	}
}
