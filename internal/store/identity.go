package store

import "time"

// Account is an account of the organization that the server is.
type Account struct {
	ID       string // 12 digits
	Name     string
	Email    string
	Status   string // ACTIVE or SUSPENDED
	Joined   string // INVITED for the first, CREATED for the others
	JoinedAt time.Time
	Version  int64 // counts changes; a writer must present the one it read
}

// AccountRequest is the record of a call that asked for an account.
type AccountRequest struct {
	ID            string // car-...
	Name          string
	State         string // SUCCEEDED or FAILED
	RequestedAt   time.Time
	Account       string
	FailureReason string
}

// Kinds of identities. Part of the format.
const (
	KindUser = "user"
	KindRole = "role"
)

// Identity is a user or a role with all that hangs on it, read and written as a
// whole. Within an account and kind names are unique without regard to case.
type Identity struct {
	ID             string // AIDA... or AROA...; stays when the name changes
	Kind           string // KindUser or KindRole
	Account        string
	Name           string
	Path           string // "/" or "/a/b/"
	Trust          string // of a role: who may assume it, IAM JSON
	Description    string
	MaxSession     time.Duration // of a role, seconds
	Boundary       string        // ARN of a managed policy; empty for none
	Inline         []InlinePolicy
	Attached       []string // ARNs of managed policies, sorted
	Tags           []IdentityTag
	CreatedAt      time.Time // milliseconds
	LastUsedAt     time.Time // of a role
	LastUsedRegion string
	Version        int64
}

// InlinePolicy is a policy that lies in its identity; sorted by name.
type InlinePolicy struct{ Name, Document string }

// IdentityTag is a tag of an identity, a policy or a provider; sorted by key.
type IdentityTag struct{ Key, Value string }

// ManagedPolicy is a policy of an account with its versions.
type ManagedPolicy struct {
	ARN         string
	ID          string // ANPA...
	Account     string
	Name        string
	Path        string
	Description string
	Default     int64 // number of the version in force
	Last        int64 // highest number ever given
	Versions    []PolicyVersion
	Tags        []IdentityTag
	CreatedAt   time.Time
	UpdatedAt   time.Time
	Version     int64
	Attachments int // identities it is attached to; read only
	Boundaries  int // identities it is the boundary of; read only
}

// PolicyVersion is one text of a managed policy; sorted by number.
type PolicyVersion struct {
	Number    int64
	Document  string
	CreatedAt time.Time
}

// OIDCProvider is an issuer of web identity tokens that an account trusts.
type OIDCProvider struct {
	ARN         string
	Account     string
	URL         string // with its scheme
	ClientIDs   []string
	Thumbprints []string
	Tags        []IdentityTag
	CreatedAt   time.Time
	Version     int64
}

// AccessKey is a long-lived credential of a user or of a service.
type AccessKey struct {
	ID              string
	SealedSecret    []byte // sealed by the keystore's master key
	Account         string
	User            string // id of the user; empty for a service's
	Service         string // service principal name; empty for a user's
	Active          bool
	CreatedAt       time.Time
	LastUsedAt      time.Time // zero: never
	LastUsedService string
	LastUsedRegion  string
}

// Use says when an access key or role, by its id, was used last.
type Use struct {
	ID      string
	At      time.Time
	Service string
	Region  string
}
