package auditreport

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
