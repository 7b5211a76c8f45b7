package pca

import (
	"fmt"
	"strconv"
	"time"
)

// Timestamp is a point in time that the API writes as epoch seconds with three decimals (api.md 1).
type Timestamp time.Time

// EpochSeconds is a point in time that the API writes as whole epoch seconds (NotBefore, NotAfter).
type EpochSeconds time.Time

// NewTimestamp is the Timestamp of t.
func NewTimestamp(t time.Time) *Timestamp { v := Timestamp(t); return &v }

// NewEpochSeconds is the EpochSeconds of t.
func NewEpochSeconds(t time.Time) *EpochSeconds { v := EpochSeconds(t); return &v }

// MarshalJSON writes a number such as 1526401743.081.
func (t Timestamp) MarshalJSON() ([]byte, error) {
	ms := time.Time(t).UnixMilli()
	if ms < 0 {
		return nil, fmt.Errorf("timestamp %d ms lies before the epoch", ms)
	}
	return fmt.Appendf(nil, "%d.%03d", ms/1000, ms%1000), nil
}

// UnmarshalJSON reads what MarshalJSON writes.
func (t *Timestamp) UnmarshalJSON(b []byte) error {
	f, err := strconv.ParseFloat(string(b), 64)
	if err != nil {
		return fmt.Errorf("timestamp %q: %w", b, err)
	}
	*t = Timestamp(time.UnixMilli(int64(f*1000 + 0.5)).UTC())
	return nil
}

// MarshalJSON writes an integer.
func (t EpochSeconds) MarshalJSON() ([]byte, error) {
	return strconv.AppendInt(nil, time.Time(t).Unix(), 10), nil
}

// UnmarshalJSON reads what MarshalJSON writes.
func (t *EpochSeconds) UnmarshalJSON(b []byte) error {
	n, err := strconv.ParseInt(string(b), 10, 64)
	if err != nil {
		return fmt.Errorf("epoch seconds %q: %w", b, err)
	}
	*t = EpochSeconds(time.Unix(n, 0).UTC())
	return nil
}
