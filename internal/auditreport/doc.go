// Package auditreport makes audit reports: it renders a prefix of a CA's log
// as JSON or CSV, writes it into a bucket, and serves the two operations of
// the API (audit-report.md).
//
// Invariants: a report is a pure function of its record, so that every retry
// writes the same bytes; its object is absent or whole; SUCCESS is set only
// after the object is durable and looked at; memory does not grow with the
// number of certificates.
package auditreport
