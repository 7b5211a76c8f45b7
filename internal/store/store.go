// Package store holds the records other than the log itself: certificate
// authorities, certificates, revocations, idempotency tokens, audit reports,
// accounts, users, roles, policies, access keys. The engines are below it (sqlite); storetest is the one suite
// that every engine passes.
//
// An engine is one type that satisfies certlog.Store, certlog.Sealer and the
// interfaces that stand at the consumers.
package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"chirograph.dev/internal/pca"
)

// ErrNotFound says that the record is not there.
var ErrNotFound = errors.New("no such record")

// ErrConflict says that the record was changed since it was read (its Version
// moved); read it again and decide again. Nothing was stored.
var ErrConflict = errors.New("record was changed by someone else")

// Kinds of rows that an ExistsError names.
const (
	KindCertificate = "certificate"
	KindRevocation  = "revocation"
	KindToken       = "token"
	KindReportSlot  = "report slot"
	KindAuditKey    = "audit key"
	KindIdentity    = "identity"       // of that kind and name
	KindAccessKey   = "access key"     // the user has as many as it may, or still has some
	KindPolicy      = "managed policy" // of that ARN
	KindAttachment  = "attachment"     // the policy is attached to an identity
	KindProvider    = "OIDC provider"
	KindAccount     = "account" // of that id, or with that e-mail address
)

// ExistsError is the cause of a certlog.RowError, or the answer to a create:
// a row with that key is there already and Value is what it holds.
type ExistsError struct {
	Kind  string // one of the Kind constants
	Value string
}

func (e *ExistsError) Error() string { return fmt.Sprintf("%s exists: %s", e.Kind, e.Value) }

// CertificateAuthority is a CA's record. Status is the stored one; EXPIRED and
// "gone" are derived on read (ca-lifecycle.md 1).
type CertificateAuthority struct {
	ID                string // UUID, the last segment of the ARN
	ARN               string
	Account           string
	Type              pca.CertificateAuthorityType
	Status            pca.CertificateAuthorityStatus
	FailureReason     pca.FailureReason
	Configuration     pca.CertificateAuthorityConfiguration
	Revocation        pca.RevocationConfiguration
	KeyStandard       pca.KeyStorageSecurityStandard
	UsageMode         pca.CertificateAuthorityUsageMode
	Tags              []pca.Tag
	CreatedAt         time.Time                      // milliseconds
	LastStateChangeAt time.Time                      // milliseconds
	RestorableUntil   time.Time                      // zero unless Status is DELETED; DELETED and zero is a tombstone, gone for good
	DeletedFrom       pca.CertificateAuthorityStatus // the stored status before a deletion; empty unless Status is DELETED
	CSR               []byte                         // DER; nil while CREATING
	KeyID             string                         // name of the key in the keystore; empty once it is destroyed
	AuditKey          string                         // note verifier key that the log's genesis names; see AuditKey for later ones
	Installed         int64                          // Generation of the installed certificate; 0 when none
	NotAfter          time.Time                      // of the installed certificate; zero when none
	Permissions       []Permission
	Policy            string // resource policy as it was put, IAM JSON; empty for none
	Version           int64  // counts changes; a writer must present the one it read
}

// EachCA calls yield for the CAs of all accounts as list gives them: ordered by
// CreatedAt and ID, those after the given pair, of every account for an empty one.
// An error of yield ends it.
func EachCA(ctx context.Context, list func(ctx context.Context, account string, afterCreated time.Time, afterID string, limit int) ([]*CertificateAuthority, error), yield func(*CertificateAuthority) error) error {
	const page = 100
	var created time.Time
	var id string
	for {
		cas, err := list(ctx, "", created, id, page)
		if err != nil {
			return fmt.Errorf("listing CAs: %w", err)
		}
		for _, c := range cas {
			created, id = c.CreatedAt, c.ID
			if err := yield(c); err != nil {
				return err
			}
		}
		if len(cas) < page {
			return nil
		}
	}
}

// Permission is what a service may do with a CA (access.md 3). A CA has at most
// one for a principal and source account.
type Permission struct {
	Principal     string // service principal
	SourceAccount string
	Actions       []pca.ActionType
	CreatedAt     time.Time // milliseconds
}

// InstalledCertificate is one certificate that was imported into a CA. All are
// kept: an issued certificate names the Generation that signed it, so that its
// chain never changes (api.md 5.11).
type InstalledCertificate struct {
	CA          string
	Generation  int64  // 1, 2, ...
	Certificate string // PEM, as imported
	Chain       string // PEM, as imported; empty for a root
	InstalledAt time.Time
}

// Certificate is an issued certificate. It is a row of the issue entry's transaction.
type Certificate struct {
	CA         string
	Serial     []byte // big-endian without leading zeros
	Index      uint64 // of the issue entry; set by the store at commit
	Generation int64  // of the CA certificate that signed it; 0 for a self-signed one
	NotAfter   time.Time
	CRL        int64 // ID of the CRL that it is bound to, whose count it adds to; 0: none
	DER        []byte
}

// LogRow marks a row of the log's transaction.
func (*Certificate) LogRow() {}

// Revocation makes the revocation of one certificate unique and findable by the
// issue entry it points into. It is a row of the revoke entry's transaction; a
// second one for the same IssueIndex is an ExistsError.
type Revocation struct {
	CA          string
	IssueIndex  uint64
	RevokeIndex uint64 // of the revoke entry; set by the store at commit
	Time        int64  // milliseconds since the epoch, as in the entry
	Reason      uint8  // CRLReason

	// What CRLs need of the certificate; written, and read by Revoked alone.
	Serial   []byte // never empty
	NotAfter time.Time
	CRL      int64 // as in the certificate's row
}

// LogRow marks a row of the log's transaction.
func (*Revocation) LogRow() {}

// Revoked is a revoked certificate as a CRL lists it.
type Revoked struct {
	Serial      []byte // big-endian without leading zeros
	NotAfter    int64  // milliseconds since the epoch, as Time
	Time        int64
	Reason      uint8
	RevokeIndex uint64
	CRL         int64
}

// CRL is one revocation list of a CA: where it is written, and how far it has
// come. A CA gets another one when its configuration changes, and a partitioned
// one when a partition is full; the old ones are kept up to date for as long as
// certificates refer to them.
type CRL struct {
	CA string
	ID int64 // 1, 2, ...; Certificate.CRL names it

	Name        string // of the partition, 11 letters and digits; empty in a list of all certificates
	Partitioned bool   // lists the certificates that are bound to it alone, and says so (IssuingDistributionPoint)
	Open        bool   // new certificates are bound to it; at most one of a CA
	Active      bool   // kept up to date
	Bucket, Key string
	ACL         pca.S3ObjectAcl
	URI         string // of its distribution point, byte for byte as certificates have it
	Days        int    // ExpirationInDays

	// Kept by the rows of certificates and revocations, not by UpdateCRL.
	Certificates int64     // bound to it
	NotAfter     time.Time // the latest of theirs
	RevokeIndex  uint64    // of the newest revocation that it is to list; 0: none
	ChangedAt    time.Time // of the oldest revocation that Base did not list when it was accepted

	Base, Delta SignedCRL
	// Due is when something is to be done with it: earlier when a certificate
	// or a revocation came; zero: nothing.
	Due      time.Time
	Failures int64 // to write, one after the other; 0 after a success
	FailedAt time.Time
	Failure  string // the last one's reason, in words
	Version  int64  // counts changes, but for those by rows of certificates and revocations
}

// SignedCRL is the newest CRL of its kind that was signed, and has an entry in the log.
type SignedCRL struct {
	Number      int64     // CRLNumber: milliseconds since the epoch, the time of its making; 0: there is none
	BaseNumber  int64     // of a delta CRL
	Index       uint64    // of its log entry
	Covered     uint64    // it is a reading of the log's first Covered entries
	Since       time.Time // certificates that expired before are not listed
	NextUpdate  time.Time
	Entries     uint64
	Bytes       int64
	SHA256      []byte
	Certificate int64     // Generation of the CA certificate whose name it has
	WrittenAt   time.Time // zero: not in the bucket
}

// SignedCRLRow makes a SignedCRL durable with its crl entry. Index is set by the
// store at commit. A CRL that somebody else changed since (Version) is an
// ErrConflict of the row.
type SignedCRLRow struct {
	CRL   *CRL // with Base or Delta, Due and Failures as they are to be; Version as it was read, counted up by the commit
	Delta bool
}

// LogRow marks a row of the log's transaction.
func (*SignedCRLRow) LogRow() {}

// Responder is a certificate that signs OCSP responses for a CA (RFC 6960
// 4.2.2.2). It is a row of the entry that issued it, beside the Certificate.
type Responder struct {
	CA         string
	Serial     []byte
	Index      uint64 // of the issue entry; set by the store at commit
	Generation int64  // of the CA certificate that signed it
	KeyID      string // name of the key in the keystore
	NotBefore  time.Time
	NotAfter   time.Time
}

// LogRow marks a row of the log's transaction.
func (*Responder) LogRow() {}

// Token reserves an idempotency token until Expires (api.md 6); one that is
// reserved already and not expired at Now is an ExistsError with its Value. It
// is a row of the entry's transaction, or goes with CreateCA.
type Token struct {
	Key     string // account, operation, CA and token, joined with "/"
	Value   string // the ARN that was answered
	Now     time.Time
	Expires time.Time
}

// LogRow marks a row of the log's transaction.
func (*Token) LogRow() {}

// ClockSkew is how far the clocks that stamp reports may differ.
const ClockSkew = 15 * time.Minute

// AuditReport is a report's record. It is a row of the report entry's
// transaction; TreeSize is then that entry's index + 1. A CA has one report
// slot: a row is refused with an ExistsError (Value: the id of the report that
// holds the slot) while a report of the CA is CREATING, or while one is SUCCESS
// and its CreatedAt plus the new row's Interval lies after the new row's
// CreatedAt. A FAILED one frees the slot, and so does a SUCCESS whose CreatedAt lies more than
// ClockSkew after the new row's: the clock was wrong then, and must not keep
// reports away for as long as it was.
type AuditReport struct {
	ID         string
	CA         string // the CA's UUID
	CAARN      string
	Account    string
	Bucket     string
	Key        string
	Format     pca.AuditReportResponseFormat
	Status     pca.AuditReportStatus
	Reason     string    // of a failure, in words
	CreatedAt  time.Time // milliseconds
	FinishedAt time.Time
	TreeSize   uint64
	Interval   time.Duration // the interval rule in force; 0 is off
	Invocation string        // amz-sdk-invocation-id and caller, for retries of the call
	Rows       uint64        // issued certificates listed
	Revoked    uint64
	Bytes      uint64
	SHA256     []byte
	UploadID   string
	Version    int64  // counts changes
	Checkpoint []byte // signed note of the tree head of TreeSize entries; nil until it was taken
}

// LogRow marks a row of the log's transaction.
func (*AuditReport) LogRow() {}

// AuditKey is an endorsed key that signs the heads of a CA's log (proof.md
// 2.2). It is a row of the entry that came with it: the `sign` entry of the
// endorsement for the log's first key, the `key` or `recovery` entry for a later
// one. A second one with the same Verifier is an ExistsError.
type AuditKey struct {
	CA          string
	Verifier    string // note verifier key, whose name is the log's origin
	Index       uint64 // of that entry; set by the store at commit
	KeyID       string // name of the key in the keystore
	Algorithm   pca.SigningAlgorithm
	Endorsement []byte // by the CA key, over certlog.EndorsementText
}

// LogRow marks a row of the log's transaction.
func (*AuditKey) LogRow() {}

// LogShape is what a log consists of, by count.
type LogShape struct {
	Packs, PacksTo uint64 // how many packs there are; one more than the number of the last
	Loose, LooseTo uint64 // how many entries are in no pack; one more than the index of the last
	NodesBeyond    uint64 // nodes that cover entries which the log does not have
}

// UploadedPart is a part of a report that is in the bucket already (destination.md D-23).
type UploadedPart struct {
	Report   string
	Number   int32
	Lo, Hi   uint64 // log range
	Rows     uint64
	Revoked  uint64
	Bytes    uint64
	ETag     string
	Checksum string // CRC64NVME, base64; empty when the store takes none
	SHA256   []byte
}

// SegmentSet is the state of the segments of a CA's reports of one format
// (destination.md D-24). A set of another rendering or another place is dropped
// whole, and so is one of size 0.
type SegmentSet struct {
	CA        string
	Format    pca.AuditReportResponseFormat
	Rendering int64  // version of the rendering
	Place     string // bucket service and bucket that hold the segments
	Size      uint64 // revocations of the log's first Size entries are in the segments, or made them stale
}

// Segment is a run of whole rows of a report, as it is in an object of the
// server's own. The segments of a set do not overlap.
type Segment struct {
	Lo, Hi   uint64 // log range
	Rows     uint64
	Revoked  uint64
	Bytes    uint64
	SHA256   []byte
	Checksum string // CRC64NVME, base64; empty when the store takes none
	ETag     string
	Key      string // of the object; empty when there is none, which is stale
	Stale    bool   // what the object holds is not what a report says now
}
