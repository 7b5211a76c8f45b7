// Package rendering is version 1 of how an audit report writes the entries of
// a log: the rows in both formats, byte for byte. Who writes reports and who
// verifies them use the same code.
package rendering

import "chirograph.dev/internal/certlog"

// Version is the version of the rendering, as manifests name it. What a
// version renders never changes.
const Version = 1

// Row is one certificate of a report. Slices are borrowed and not changed.
type Row struct {
	Account   []byte // who asked for the certificate; 12 digits
	Principal []byte // service principal that asked; empty for people and programs
	CAARN     []byte // the certificate's ARN is CAARN + "/certificate/" + serial
	Serial    []byte // big-endian; shown with leading zeros up to 16 octets
	Subject   []byte // as audit-report.md 8.5
	NotBefore int64  // seconds since the epoch
	NotAfter  int64  // seconds since the epoch
	IssuedAt  int64  // seconds since the epoch
	Revoked   bool
	RevokedAt int64 // seconds since the epoch; only when Revoked
	Reason    uint8 // CRLReason; only when Revoked
	Template  []byte
}

// Issued sets r to the row of an issue entry of a CA; it is not revoked.
func (r *Row) Issued(e *certlog.Entry, caARN []byte) {
	*r = Row{
		Account: e.Account, Principal: ServicePrincipal(e.Principal), CAARN: caARN, Serial: e.Serial, Subject: e.Subject,
		NotBefore: e.NotBefore, NotAfter: e.NotAfter, IssuedAt: e.Time / 1000, Template: e.TemplateARN,
	}
}

// Revoke adds the revocation to r: its time in milliseconds since the epoch,
// as an entry has it, and its CRLReason.
func (r *Row) Revoke(time int64, reason uint8) {
	r.Revoked, r.RevokedAt, r.Reason = true, time/1000, reason
}

// ServicePrincipal is what stands in requestedByServicePrincipal: the caller
// when it is a service. People and programs have ARNs, services have not.
func ServicePrincipal(caller []byte) []byte {
	if len(caller) > 4 && string(caller[:4]) == "arn:" {
		return nil
	}
	return caller
}
