// Package proof has the formats that stand beside an audit report, so that it
// proves itself, and the verifier of them: no store, no network, no trust in
// who wrote the report (proof.md).
//
// A report is a pure function of the first N entries of its CA's log. The
// verifier replays these entries and compares bytes: what the log commits to
// and the report does not show, or the other way round, is one comparison.
package proof
