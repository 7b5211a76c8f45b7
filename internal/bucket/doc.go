// Package bucket is how reports reach a bucket: a client for AWS S3, for
// S3-compatible services and for the embedded bucket service (bucket/local),
// all through one code path, and the gate that decides whether a CA may write
// into a bucket at all (destination.md).
//
// Invariants: nothing is written before the gate has allowed it; nothing is
// read or copied from the user's bucket to build a report (D-15); an object
// appears whole, in one step, or not at all.
package bucket
