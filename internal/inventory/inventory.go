// Package inventory is a searchable index of the certificates that the logs
// hold, with their statistics. It follows the logs and is derived from them: a
// file of its own, which may be deleted at any time and is then made again. What
// it says of a CA is true of a prefix of the CA's log, and it says how many
// entries are missing. Nobody who issues ever waits for it.
package inventory

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"chirograph.dev/internal/certlog"
)

// ErrQuery says that a Query cannot be answered; the text around it says what
// is wrong with it.
var ErrQuery = errors.New("the search is not valid")

// ErrCursor says that a Query's Cursor is not one that its other fields gave.
var ErrCursor = errors.New("the cursor is not of this search")

// Logs is what the index follows; the store is one.
type Logs interface {
	certlog.Store
	// LogSizes gives the number of entries of all logs that have some.
	LogSizes(ctx context.Context) (map[string]uint64, error)
}

// Certificates are those that the logs' entries name; the store is one.
type Certificates interface {
	// LogDERs calls yield for the certificates of the entries [lo, hi) of one
	// block. der is valid during the call only.
	LogDERs(ctx context.Context, ca string, lo, hi uint64, yield func(index uint64, der []byte) error) error
	// SerialRange gives the entries of the certificates whose serial lies in
	// [lo, hi), a nil hi being no bound, in the order of the serials and at most
	// limit.
	SerialRange(ctx context.Context, ca string, lo, hi []byte, limit int) ([]uint64, error)
}

// Config is what an Index needs.
type Config struct {
	Path         string // of the database; its folder exists
	Logs         Logs
	Certificates Certificates
	Log          *slog.Logger     // nil is slog.Default()
	Now          func() time.Time // nil is time.Now; tells what is expired
}

// Status is what has become of a certificate.
type Status string

// The statuses. A revoked certificate stays REVOKED when it expires.
const (
	Valid   Status = "VALID"
	Revoked Status = "REVOKED"
	Expired Status = "EXPIRED"
)

// Query asks for certificates of one CA. Fields that are empty do not matter;
// the others must all hold.
type Query struct {
	CA string // UUID

	// Subject is words, separated by spaces. Each stands somewhere in the subject or
	// the alternative names, where a word begins, in upper or lower case.
	Subject     string
	Serial      string // the first digits, in hexadecimal, with or without colons
	Status      Status
	TemplateARN string

	IssuedFrom, IssuedTo   time.Time // when the log took it: from on, and before to
	ExpiresFrom, ExpiresTo time.Time // notAfter: from on, and before to

	Limit  int    // of the page; 0 is 50, and more than 1000 are never given
	Cursor string // of the page before
}

// Certificate is one row of a page.
type Certificate struct {
	Serial       []byte // big-endian, without leading zeros
	Subject      string // as reports have it
	TemplateARN  string
	Account      string // of who asked for it
	Principal    string // ARN of who asked for it
	KeyAlgorithm string // as the API names it, such as EC_prime256v1
	NotBefore    time.Time
	NotAfter     time.Time
	IssuedAt     time.Time // of the entry
	Status       Status    // at the time of the search
	RevokedAt    time.Time // zero unless revoked
	Reason       uint8     // CRLReason of RFC 5280; 0 unless revoked
	Index        uint64    // of the entry
}

// Page is the answer to a Query, newest certificates first. It may have fewer
// than Query.Limit, and even none, and yet a Cursor: finding more takes longer than
// one search may, and the next goes on from there.
type Page struct {
	Certificates []Certificate
	Cursor       string // for the rest; empty when there is none
	Behind       uint64 // entries of the log that are not indexed yet
}

// Counts is how many certificates a CA has issued.
type Counts struct {
	Issued, Revoked uint64
	Behind          uint64 // entries of the log that are not counted yet
}

// Day counts what happened on a day, in UTC.
type Day struct {
	Date    string `json:"date"` // 2006-01-02
	Issued  uint64 `json:"issued"`
	Revoked uint64 `json:"revoked"`
}

// DayCount counts certificates by a day, in UTC.
type DayCount struct {
	Date  string `json:"date"` // 2006-01-02
	Count uint64 `json:"count"`
}

// NameCount counts certificates by a name.
type NameCount struct {
	Name  string `json:"name"`
	Count uint64 `json:"count"`
}

// Statistics tells of all certificates of a CA.
type Statistics struct {
	Issued  uint64 `json:"issued"`
	Revoked uint64 `json:"revoked"`
	// Of those that are not revoked; one counts as expired from the end of that hour on.
	Valid   uint64 `json:"valid"`
	Expired uint64 `json:"expired"`
	Behind  uint64 `json:"behind"` // entries of the log that are not counted yet

	PerDay        []Day       `json:"perDay"`    // the last 90 days, today last
	Expiring      []DayCount  `json:"expiring"`  // today and the next 90 days: what is neither revoked nor expired
	Templates     []NameCount `json:"templates"` // most first
	KeyAlgorithms []NameCount `json:"keyAlgorithms"`
}
