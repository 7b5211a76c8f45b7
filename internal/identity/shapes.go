package identity

import (
	"fmt"
	"time"

	"chirograph.dev/internal/iam"
)

// The shapes of AWS IAM, STS and Organizations, as far as this server has
// them. Members have AWS' names. The front reads the tags:
//
//	aws:"required"  the request is refused without it
//	aws:"always"    answers have it even when it is empty
//	aws:"url"       a policy document, which answers carry URL-encoded
//	min, max        characters of a string or of each string of a list, or the range of a number
//	count           "min,max" entries of a list
//	pattern         what the whole string, or each string of a list, looks like
//	enum            the strings that it can be, parted by |
//
// A zero value is an absent member, except where a pointer tells them apart.
//
// The front authorises every input for <service>:<operation> on Resource,
// except those of the STS operations: GetCallerIdentity, GetAccessKeyInfo and
// GetSessionToken need no permission, AssumeRole and AssumeRoleWithWebIdentity
// are judged by the role's trust policy, in their methods.

// Error is an error that the caller is told of, with AWS' code.
type Error struct {
	Code    string // such as NoSuchEntity
	Message string
	Status  int   // HTTP status of the Query protocol; 0: 400
	Err     error // the cause, for the log alone; may be nil
}

func (e *Error) Error() string {
	if e.Err != nil {
		return e.Code + ": " + e.Message + ": " + e.Err.Error()
	}
	return e.Code + ": " + e.Message
}

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Err }

// ErrorCode is the code, for the fronts.
func (e *Error) ErrorCode() string { return e.Code }

// ErrorMessage is the message, for the fronts.
func (e *Error) ErrorMessage() string { return e.Message }

// HTTPStatus is the HTTP status, for the fronts.
func (e *Error) HTTPStatus() int {
	if e.Status == 0 {
		return 400
	}
	return e.Status
}

func entityARN(partition string, caller *iam.Principal, kind, name string) string {
	return fmt.Sprintf("arn:%s:iam::%s:%s/%s", partition, caller.Account, kind, name)
}

// userARN names the user, or the caller when no user is named.
func userARN(partition string, caller *iam.Principal, name string) string {
	if name == "" {
		return caller.ARN
	}
	return entityARN(partition, caller, "user", name)
}

// Tag is a key and its value.
type Tag struct {
	Key   string `aws:"required" min:"1" max:"128" pattern:"[\\p{L}\\p{Z}\\p{N}_.:/=+\\-@]+"`
	Value string `aws:"always" max:"256" pattern:"[\\p{L}\\p{Z}\\p{N}_.:/=+\\-@]*"`
}

// Page is the paging members of IAM's list requests.
type Page struct {
	Marker   string `min:"1" max:"2048"`
	MaxItems int    `min:"1" max:"1000"`
}

// NextPage is the paging members of IAM's list answers.
type NextPage struct {
	IsTruncated bool
	Marker      string
}

// Users.

// AttachedPermissionsBoundary is the policy that limits a user or role.
type AttachedPermissionsBoundary struct {
	PermissionsBoundaryType string // PermissionsBoundaryPolicy
	PermissionsBoundaryArn  string
}

// User is a user.
type User struct {
	Path                string
	UserName            string
	UserId              string
	Arn                 string
	CreateDate          time.Time
	PasswordLastUsed    time.Time
	PermissionsBoundary *AttachedPermissionsBoundary
	Tags                []Tag
}

type CreateUserInput struct {
	Path                string `min:"1" max:"512" pattern:"/|/[!-~]+/"`
	UserName            string `aws:"required" min:"1" max:"64" pattern:"[\\w+=,.@-]+"`
	PermissionsBoundary string `min:"20" max:"2048"`
	Tags                []Tag  `count:"0,50"`
}
type CreateUserOutput struct{ User *User }

func (in *CreateUserInput) Resource(partition string, caller *iam.Principal) string {
	path := in.Path
	if path == "" {
		path = "/"
	}
	return entityARN(partition, caller, "user"+path[:len(path)-1], in.UserName)
}

// GetUserInput without a name asks for the caller.
type GetUserInput struct {
	UserName string `min:"1" max:"128" pattern:"[\\w+=,.@-]+"`
}
type GetUserOutput struct{ User *User }

func (in *GetUserInput) Resource(partition string, caller *iam.Principal) string {
	return userARN(partition, caller, in.UserName)
}

type ListUsersInput struct {
	PathPrefix string `min:"1" max:"512"`
	Page
}
type ListUsersOutput struct {
	Users []User
	NextPage
}

func (in *ListUsersInput) Resource(partition string, caller *iam.Principal) string {
	return entityARN(partition, caller, "user", "")
}

type UpdateUserInput struct {
	UserName    string `aws:"required" min:"1" max:"128" pattern:"[\\w+=,.@-]+"`
	NewPath     string `min:"1" max:"512" pattern:"/|/[!-~]+/"`
	NewUserName string `min:"1" max:"64" pattern:"[\\w+=,.@-]+"`
}
type UpdateUserOutput struct{}

func (in *UpdateUserInput) Resource(partition string, caller *iam.Principal) string {
	return userARN(partition, caller, in.UserName)
}

type DeleteUserInput struct {
	UserName string `aws:"required" min:"1" max:"128" pattern:"[\\w+=,.@-]+"`
}
type DeleteUserOutput struct{}

func (in *DeleteUserInput) Resource(partition string, caller *iam.Principal) string {
	return userARN(partition, caller, in.UserName)
}

type PutUserPermissionsBoundaryInput struct {
	UserName            string `aws:"required" min:"1" max:"64" pattern:"[\\w+=,.@-]+"`
	PermissionsBoundary string `aws:"required" min:"20" max:"2048"`
}
type PutUserPermissionsBoundaryOutput struct{}

func (in *PutUserPermissionsBoundaryInput) Resource(partition string, caller *iam.Principal) string {
	return userARN(partition, caller, in.UserName)
}

type DeleteUserPermissionsBoundaryInput struct {
	UserName string `aws:"required" min:"1" max:"64" pattern:"[\\w+=,.@-]+"`
}
type DeleteUserPermissionsBoundaryOutput struct{}

func (in *DeleteUserPermissionsBoundaryInput) Resource(partition string, caller *iam.Principal) string {
	return userARN(partition, caller, in.UserName)
}

type TagUserInput struct {
	UserName string `aws:"required" min:"1" max:"128" pattern:"[\\w+=,.@-]+"`
	Tags     []Tag  `aws:"required" count:"1,50"`
}
type TagUserOutput struct{}

func (in *TagUserInput) Resource(partition string, caller *iam.Principal) string {
	return userARN(partition, caller, in.UserName)
}

type UntagUserInput struct {
	UserName string   `aws:"required" min:"1" max:"128" pattern:"[\\w+=,.@-]+"`
	TagKeys  []string `aws:"required" count:"1,50" min:"1" max:"128"`
}
type UntagUserOutput struct{}

func (in *UntagUserInput) Resource(partition string, caller *iam.Principal) string {
	return userARN(partition, caller, in.UserName)
}

type ListUserTagsInput struct {
	UserName string `aws:"required" min:"1" max:"128" pattern:"[\\w+=,.@-]+"`
	Page
}
type ListUserTagsOutput struct {
	Tags []Tag
	NextPage
}

func (in *ListUserTagsInput) Resource(partition string, caller *iam.Principal) string {
	return userARN(partition, caller, in.UserName)
}

// ListGroupsForUser: there are no groups; the list is empty. Clients ask
// before they delete a user.
type ListGroupsForUserInput struct {
	UserName string `aws:"required" min:"1" max:"128" pattern:"[\\w+=,.@-]+"`
	Page
}
type ListGroupsForUserOutput struct {
	Groups []struct{}
	NextPage
}

func (in *ListGroupsForUserInput) Resource(partition string, caller *iam.Principal) string {
	return userARN(partition, caller, in.UserName)
}

// Access keys.

// AccessKey is a new access key with its secret.
type AccessKey struct {
	UserName        string
	AccessKeyId     string
	Status          string // Active, Inactive
	SecretAccessKey string
	CreateDate      time.Time
}

// AccessKeyMetadata is an access key without its secret.
type AccessKeyMetadata struct {
	UserName    string
	AccessKeyId string
	Status      string
	CreateDate  time.Time
}

// AccessKeyLastUsed says when, where and for what a key was used; service and
// region are N/A for a key that never was.
type AccessKeyLastUsed struct {
	LastUsedDate time.Time
	ServiceName  string
	Region       string
}

// CreateAccessKeyInput without a name is for the caller, as with the other
// operations of keys.
type CreateAccessKeyInput struct {
	UserName string `min:"1" max:"128" pattern:"[\\w+=,.@-]+"`
}
type CreateAccessKeyOutput struct{ AccessKey *AccessKey }

func (in *CreateAccessKeyInput) Resource(partition string, caller *iam.Principal) string {
	return userARN(partition, caller, in.UserName)
}

type ListAccessKeysInput struct {
	UserName string `min:"1" max:"128" pattern:"[\\w+=,.@-]+"`
	Page
}
type ListAccessKeysOutput struct {
	AccessKeyMetadata []AccessKeyMetadata
	NextPage
}

func (in *ListAccessKeysInput) Resource(partition string, caller *iam.Principal) string {
	return userARN(partition, caller, in.UserName)
}

type UpdateAccessKeyInput struct {
	UserName    string `min:"1" max:"128" pattern:"[\\w+=,.@-]+"`
	AccessKeyId string `aws:"required" min:"16" max:"128" pattern:"\\w+"`
	Status      string `aws:"required" enum:"Active|Inactive"`
}
type UpdateAccessKeyOutput struct{}

func (in *UpdateAccessKeyInput) Resource(partition string, caller *iam.Principal) string {
	return userARN(partition, caller, in.UserName)
}

type DeleteAccessKeyInput struct {
	UserName    string `min:"1" max:"128" pattern:"[\\w+=,.@-]+"`
	AccessKeyId string `aws:"required" min:"16" max:"128" pattern:"\\w+"`
}
type DeleteAccessKeyOutput struct{}

func (in *DeleteAccessKeyInput) Resource(partition string, caller *iam.Principal) string {
	return userARN(partition, caller, in.UserName)
}

type GetAccessKeyLastUsedInput struct {
	AccessKeyId string `aws:"required" min:"16" max:"128" pattern:"\\w+"`
}
type GetAccessKeyLastUsedOutput struct {
	UserName          string
	AccessKeyLastUsed *AccessKeyLastUsed
}

func (in *GetAccessKeyLastUsedInput) Resource(partition string, caller *iam.Principal) string {
	return entityARN(partition, caller, "user", "*")
}

// Roles.

// RoleLastUsed says when and where a role was used.
type RoleLastUsed struct {
	LastUsedDate time.Time
	Region       string
}

// Role is a role.
type Role struct {
	Path                     string
	RoleName                 string
	RoleId                   string
	Arn                      string
	CreateDate               time.Time
	AssumeRolePolicyDocument string `aws:"url"`
	Description              string
	MaxSessionDuration       int // seconds
	PermissionsBoundary      *AttachedPermissionsBoundary
	Tags                     []Tag
	RoleLastUsed             *RoleLastUsed
}

type CreateRoleInput struct {
	Path                     string `min:"1" max:"512" pattern:"/|/[!-~]+/"`
	RoleName                 string `aws:"required" min:"1" max:"64" pattern:"[\\w+=,.@-]+"`
	AssumeRolePolicyDocument string `aws:"required" min:"1" max:"131072" pattern:"[\\t\\n\\r\\x{20}-\\x{FF}]+"`
	Description              string `max:"1000"`
	MaxSessionDuration       int    `min:"3600" max:"43200"`
	PermissionsBoundary      string `min:"20" max:"2048"`
	Tags                     []Tag  `count:"0,50"`
}
type CreateRoleOutput struct{ Role *Role }

func (in *CreateRoleInput) Resource(partition string, caller *iam.Principal) string {
	path := in.Path
	if path == "" {
		path = "/"
	}
	return entityARN(partition, caller, "role"+path[:len(path)-1], in.RoleName)
}

type GetRoleInput struct {
	RoleName string `aws:"required" min:"1" max:"64" pattern:"[\\w+=,.@-]+"`
}
type GetRoleOutput struct{ Role *Role }

func (in *GetRoleInput) Resource(partition string, caller *iam.Principal) string {
	return entityARN(partition, caller, "role", in.RoleName)
}

type ListRolesInput struct {
	PathPrefix string `min:"1" max:"512"`
	Page
}
type ListRolesOutput struct {
	Roles []Role
	NextPage
}

func (in *ListRolesInput) Resource(partition string, caller *iam.Principal) string {
	return entityARN(partition, caller, "role", "")
}

// UpdateRoleInput: a member that is absent stays as it is.
type UpdateRoleInput struct {
	RoleName           string  `aws:"required" min:"1" max:"64" pattern:"[\\w+=,.@-]+"`
	Description        *string `max:"1000"`
	MaxSessionDuration int     `min:"3600" max:"43200"`
}

// UpdateRoleOutput has nothing in it, but answers carry it all the same.
type UpdateRoleOutput struct{ _ struct{} }

func (in *UpdateRoleInput) Resource(partition string, caller *iam.Principal) string {
	return entityARN(partition, caller, "role", in.RoleName)
}

type UpdateRoleDescriptionInput struct {
	RoleName    string `aws:"required" min:"1" max:"64" pattern:"[\\w+=,.@-]+"`
	Description string `max:"1000"`
}
type UpdateRoleDescriptionOutput struct{ Role *Role }

func (in *UpdateRoleDescriptionInput) Resource(partition string, caller *iam.Principal) string {
	return entityARN(partition, caller, "role", in.RoleName)
}

type UpdateAssumeRolePolicyInput struct {
	RoleName       string `aws:"required" min:"1" max:"64" pattern:"[\\w+=,.@-]+"`
	PolicyDocument string `aws:"required" min:"1" max:"131072" pattern:"[\\t\\n\\r\\x{20}-\\x{FF}]+"`
}
type UpdateAssumeRolePolicyOutput struct{}

func (in *UpdateAssumeRolePolicyInput) Resource(partition string, caller *iam.Principal) string {
	return entityARN(partition, caller, "role", in.RoleName)
}

type DeleteRoleInput struct {
	RoleName string `aws:"required" min:"1" max:"64" pattern:"[\\w+=,.@-]+"`
}
type DeleteRoleOutput struct{}

func (in *DeleteRoleInput) Resource(partition string, caller *iam.Principal) string {
	return entityARN(partition, caller, "role", in.RoleName)
}

type PutRolePermissionsBoundaryInput struct {
	RoleName            string `aws:"required" min:"1" max:"64" pattern:"[\\w+=,.@-]+"`
	PermissionsBoundary string `aws:"required" min:"20" max:"2048"`
}
type PutRolePermissionsBoundaryOutput struct{}

func (in *PutRolePermissionsBoundaryInput) Resource(partition string, caller *iam.Principal) string {
	return entityARN(partition, caller, "role", in.RoleName)
}

type DeleteRolePermissionsBoundaryInput struct {
	RoleName string `aws:"required" min:"1" max:"64" pattern:"[\\w+=,.@-]+"`
}
type DeleteRolePermissionsBoundaryOutput struct{}

func (in *DeleteRolePermissionsBoundaryInput) Resource(partition string, caller *iam.Principal) string {
	return entityARN(partition, caller, "role", in.RoleName)
}

type TagRoleInput struct {
	RoleName string `aws:"required" min:"1" max:"64" pattern:"[\\w+=,.@-]+"`
	Tags     []Tag  `aws:"required" count:"1,50"`
}
type TagRoleOutput struct{}

func (in *TagRoleInput) Resource(partition string, caller *iam.Principal) string {
	return entityARN(partition, caller, "role", in.RoleName)
}

type UntagRoleInput struct {
	RoleName string   `aws:"required" min:"1" max:"64" pattern:"[\\w+=,.@-]+"`
	TagKeys  []string `aws:"required" count:"1,50" min:"1" max:"128"`
}
type UntagRoleOutput struct{}

func (in *UntagRoleInput) Resource(partition string, caller *iam.Principal) string {
	return entityARN(partition, caller, "role", in.RoleName)
}

type ListRoleTagsInput struct {
	RoleName string `aws:"required" min:"1" max:"64" pattern:"[\\w+=,.@-]+"`
	Page
}
type ListRoleTagsOutput struct {
	Tags []Tag
	NextPage
}

func (in *ListRoleTagsInput) Resource(partition string, caller *iam.Principal) string {
	return entityARN(partition, caller, "role", in.RoleName)
}

// ListInstanceProfilesForRole: there are no instance profiles; the list is
// empty. Clients ask before they delete a role.
type ListInstanceProfilesForRoleInput struct {
	RoleName string `aws:"required" min:"1" max:"64" pattern:"[\\w+=,.@-]+"`
	Page
}
type ListInstanceProfilesForRoleOutput struct {
	InstanceProfiles []struct{}
	NextPage
}

func (in *ListInstanceProfilesForRoleInput) Resource(partition string, caller *iam.Principal) string {
	return entityARN(partition, caller, "role", in.RoleName)
}

// Managed policies.

// Policy is a managed policy.
type Policy struct {
	PolicyName                    string
	PolicyId                      string
	Arn                           string
	Path                          string
	DefaultVersionId              string
	AttachmentCount               int
	PermissionsBoundaryUsageCount int
	IsAttachable                  bool
	Description                   string
	CreateDate                    time.Time
	UpdateDate                    time.Time
	Tags                          []Tag
}

// PolicyVersion is one version of a managed policy. Lists leave Document out.
type PolicyVersion struct {
	Document         string `aws:"url"`
	VersionId        string // v1, v2, ...
	IsDefaultVersion bool
	CreateDate       time.Time
}

type CreatePolicyInput struct {
	PolicyName     string `aws:"required" min:"1" max:"128" pattern:"[\\w+=,.@-]+"`
	Path           string `max:"512" pattern:"/|/[!-~]+/"`
	PolicyDocument string `aws:"required" min:"1" max:"131072" pattern:"[\\t\\n\\r\\x{20}-\\x{FF}]+"`
	Description    string `max:"1000"`
	Tags           []Tag  `count:"0,50"`
}
type CreatePolicyOutput struct{ Policy *Policy }

func (in *CreatePolicyInput) Resource(partition string, caller *iam.Principal) string {
	path := in.Path
	if path == "" {
		path = "/"
	}
	return entityARN(partition, caller, "policy"+path[:len(path)-1], in.PolicyName)
}

type GetPolicyInput struct {
	PolicyArn string `aws:"required" min:"20" max:"2048"`
}
type GetPolicyOutput struct{ Policy *Policy }

func (in *GetPolicyInput) Resource(string, *iam.Principal) string { return in.PolicyArn }

type ListPoliciesInput struct {
	Scope             string `enum:"All|AWS|Local"`
	OnlyAttached      bool
	PathPrefix        string `min:"1" max:"512"`
	PolicyUsageFilter string `enum:"PermissionsPolicy|PermissionsBoundary"`
	Page
}
type ListPoliciesOutput struct {
	Policies []Policy
	NextPage
}

func (in *ListPoliciesInput) Resource(string, *iam.Principal) string { return "*" }

type DeletePolicyInput struct {
	PolicyArn string `aws:"required" min:"20" max:"2048"`
}
type DeletePolicyOutput struct{}

func (in *DeletePolicyInput) Resource(string, *iam.Principal) string { return in.PolicyArn }

type CreatePolicyVersionInput struct {
	PolicyArn      string `aws:"required" min:"20" max:"2048"`
	PolicyDocument string `aws:"required" min:"1" max:"131072" pattern:"[\\t\\n\\r\\x{20}-\\x{FF}]+"`
	SetAsDefault   bool
}
type CreatePolicyVersionOutput struct{ PolicyVersion *PolicyVersion }

func (in *CreatePolicyVersionInput) Resource(string, *iam.Principal) string { return in.PolicyArn }

type GetPolicyVersionInput struct {
	PolicyArn string `aws:"required" min:"20" max:"2048"`
	VersionId string `aws:"required" pattern:"v[1-9][0-9]*(\\.[A-Za-z0-9-]*)?"`
}
type GetPolicyVersionOutput struct{ PolicyVersion *PolicyVersion }

func (in *GetPolicyVersionInput) Resource(string, *iam.Principal) string { return in.PolicyArn }

type ListPolicyVersionsInput struct {
	PolicyArn string `aws:"required" min:"20" max:"2048"`
	Page
}
type ListPolicyVersionsOutput struct {
	Versions []PolicyVersion
	NextPage
}

func (in *ListPolicyVersionsInput) Resource(string, *iam.Principal) string { return in.PolicyArn }

type SetDefaultPolicyVersionInput struct {
	PolicyArn string `aws:"required" min:"20" max:"2048"`
	VersionId string `aws:"required" pattern:"v[1-9][0-9]*(\\.[A-Za-z0-9-]*)?"`
}
type SetDefaultPolicyVersionOutput struct{}

func (in *SetDefaultPolicyVersionInput) Resource(string, *iam.Principal) string { return in.PolicyArn }

type DeletePolicyVersionInput struct {
	PolicyArn string `aws:"required" min:"20" max:"2048"`
	VersionId string `aws:"required" pattern:"v[1-9][0-9]*(\\.[A-Za-z0-9-]*)?"`
}
type DeletePolicyVersionOutput struct{}

func (in *DeletePolicyVersionInput) Resource(string, *iam.Principal) string { return in.PolicyArn }

// AttachedPolicy names an attached managed policy.
type AttachedPolicy struct {
	PolicyName string
	PolicyArn  string
}

type AttachUserPolicyInput struct {
	UserName  string `aws:"required" min:"1" max:"64" pattern:"[\\w+=,.@-]+"`
	PolicyArn string `aws:"required" min:"20" max:"2048"`
}
type AttachUserPolicyOutput struct{}

func (in *AttachUserPolicyInput) Resource(partition string, caller *iam.Principal) string {
	return userARN(partition, caller, in.UserName)
}

type DetachUserPolicyInput struct {
	UserName  string `aws:"required" min:"1" max:"64" pattern:"[\\w+=,.@-]+"`
	PolicyArn string `aws:"required" min:"20" max:"2048"`
}
type DetachUserPolicyOutput struct{}

func (in *DetachUserPolicyInput) Resource(partition string, caller *iam.Principal) string {
	return userARN(partition, caller, in.UserName)
}

type ListAttachedUserPoliciesInput struct {
	UserName   string `aws:"required" min:"1" max:"64" pattern:"[\\w+=,.@-]+"`
	PathPrefix string `min:"1" max:"512"`
	Page
}
type ListAttachedUserPoliciesOutput struct {
	AttachedPolicies []AttachedPolicy
	NextPage
}

func (in *ListAttachedUserPoliciesInput) Resource(partition string, caller *iam.Principal) string {
	return userARN(partition, caller, in.UserName)
}

type AttachRolePolicyInput struct {
	RoleName  string `aws:"required" min:"1" max:"64" pattern:"[\\w+=,.@-]+"`
	PolicyArn string `aws:"required" min:"20" max:"2048"`
}
type AttachRolePolicyOutput struct{}

func (in *AttachRolePolicyInput) Resource(partition string, caller *iam.Principal) string {
	return entityARN(partition, caller, "role", in.RoleName)
}

type DetachRolePolicyInput struct {
	RoleName  string `aws:"required" min:"1" max:"64" pattern:"[\\w+=,.@-]+"`
	PolicyArn string `aws:"required" min:"20" max:"2048"`
}
type DetachRolePolicyOutput struct{}

func (in *DetachRolePolicyInput) Resource(partition string, caller *iam.Principal) string {
	return entityARN(partition, caller, "role", in.RoleName)
}

type ListAttachedRolePoliciesInput struct {
	RoleName   string `aws:"required" min:"1" max:"64" pattern:"[\\w+=,.@-]+"`
	PathPrefix string `min:"1" max:"512"`
	Page
}
type ListAttachedRolePoliciesOutput struct {
	AttachedPolicies []AttachedPolicy
	NextPage
}

func (in *ListAttachedRolePoliciesInput) Resource(partition string, caller *iam.Principal) string {
	return entityARN(partition, caller, "role", in.RoleName)
}

// PolicyUser is a user that a policy is attached to.
type PolicyUser struct {
	UserName string
	UserId   string
}

// PolicyRole is a role that a policy is attached to.
type PolicyRole struct {
	RoleName string
	RoleId   string
}

type ListEntitiesForPolicyInput struct {
	PolicyArn         string `aws:"required" min:"20" max:"2048"`
	EntityFilter      string `enum:"User|Role|Group|LocalManagedPolicy|AWSManagedPolicy"`
	PathPrefix        string `min:"1" max:"512"`
	PolicyUsageFilter string `enum:"PermissionsPolicy|PermissionsBoundary"`
	Page
}
type ListEntitiesForPolicyOutput struct {
	PolicyGroups []struct{}
	PolicyUsers  []PolicyUser
	PolicyRoles  []PolicyRole
	NextPage
}

func (in *ListEntitiesForPolicyInput) Resource(string, *iam.Principal) string { return in.PolicyArn }

// Inline policies.

type PutUserPolicyInput struct {
	UserName       string `aws:"required" min:"1" max:"128" pattern:"[\\w+=,.@-]+"`
	PolicyName     string `aws:"required" min:"1" max:"128" pattern:"[\\w+=,.@-]+"`
	PolicyDocument string `aws:"required" min:"1" max:"131072" pattern:"[\\t\\n\\r\\x{20}-\\x{FF}]+"`
}
type PutUserPolicyOutput struct{}

func (in *PutUserPolicyInput) Resource(partition string, caller *iam.Principal) string {
	return userARN(partition, caller, in.UserName)
}

type GetUserPolicyInput struct {
	UserName   string `aws:"required" min:"1" max:"128" pattern:"[\\w+=,.@-]+"`
	PolicyName string `aws:"required" min:"1" max:"128" pattern:"[\\w+=,.@-]+"`
}
type GetUserPolicyOutput struct {
	UserName       string
	PolicyName     string
	PolicyDocument string `aws:"url"`
}

func (in *GetUserPolicyInput) Resource(partition string, caller *iam.Principal) string {
	return userARN(partition, caller, in.UserName)
}

type DeleteUserPolicyInput struct {
	UserName   string `aws:"required" min:"1" max:"128" pattern:"[\\w+=,.@-]+"`
	PolicyName string `aws:"required" min:"1" max:"128" pattern:"[\\w+=,.@-]+"`
}
type DeleteUserPolicyOutput struct{}

func (in *DeleteUserPolicyInput) Resource(partition string, caller *iam.Principal) string {
	return userARN(partition, caller, in.UserName)
}

type ListUserPoliciesInput struct {
	UserName string `aws:"required" min:"1" max:"128" pattern:"[\\w+=,.@-]+"`
	Page
}
type ListUserPoliciesOutput struct {
	PolicyNames []string
	NextPage
}

func (in *ListUserPoliciesInput) Resource(partition string, caller *iam.Principal) string {
	return userARN(partition, caller, in.UserName)
}

type PutRolePolicyInput struct {
	RoleName       string `aws:"required" min:"1" max:"64" pattern:"[\\w+=,.@-]+"`
	PolicyName     string `aws:"required" min:"1" max:"128" pattern:"[\\w+=,.@-]+"`
	PolicyDocument string `aws:"required" min:"1" max:"131072" pattern:"[\\t\\n\\r\\x{20}-\\x{FF}]+"`
}
type PutRolePolicyOutput struct{}

func (in *PutRolePolicyInput) Resource(partition string, caller *iam.Principal) string {
	return entityARN(partition, caller, "role", in.RoleName)
}

type GetRolePolicyInput struct {
	RoleName   string `aws:"required" min:"1" max:"64" pattern:"[\\w+=,.@-]+"`
	PolicyName string `aws:"required" min:"1" max:"128" pattern:"[\\w+=,.@-]+"`
}
type GetRolePolicyOutput struct {
	RoleName       string
	PolicyName     string
	PolicyDocument string `aws:"url"`
}

func (in *GetRolePolicyInput) Resource(partition string, caller *iam.Principal) string {
	return entityARN(partition, caller, "role", in.RoleName)
}

type DeleteRolePolicyInput struct {
	RoleName   string `aws:"required" min:"1" max:"64" pattern:"[\\w+=,.@-]+"`
	PolicyName string `aws:"required" min:"1" max:"128" pattern:"[\\w+=,.@-]+"`
}
type DeleteRolePolicyOutput struct{}

func (in *DeleteRolePolicyInput) Resource(partition string, caller *iam.Principal) string {
	return entityARN(partition, caller, "role", in.RoleName)
}

type ListRolePoliciesInput struct {
	RoleName string `aws:"required" min:"1" max:"64" pattern:"[\\w+=,.@-]+"`
	Page
}
type ListRolePoliciesOutput struct {
	PolicyNames []string
	NextPage
}

func (in *ListRolePoliciesInput) Resource(partition string, caller *iam.Principal) string {
	return entityARN(partition, caller, "role", in.RoleName)
}

// OpenID Connect providers.

type CreateOpenIDConnectProviderInput struct {
	Url            string   `aws:"required" min:"1" max:"255"`
	ClientIDList   []string `count:"0,100" min:"1" max:"255"`
	ThumbprintList []string `count:"0,5" min:"40" max:"40"`
	Tags           []Tag    `count:"0,50"`
}
type CreateOpenIDConnectProviderOutput struct {
	OpenIDConnectProviderArn string
	Tags                     []Tag
}

func (in *CreateOpenIDConnectProviderInput) Resource(partition string, caller *iam.Principal) string {
	return entityARN(partition, caller, "oidc-provider", withoutScheme(in.Url))
}

type GetOpenIDConnectProviderInput struct {
	OpenIDConnectProviderArn string `aws:"required" min:"20" max:"2048"`
}
type GetOpenIDConnectProviderOutput struct {
	Url            string // without https://, as AWS answers
	ClientIDList   []string
	ThumbprintList []string
	CreateDate     time.Time
	Tags           []Tag
}

func (in *GetOpenIDConnectProviderInput) Resource(string, *iam.Principal) string {
	return in.OpenIDConnectProviderArn
}

// OpenIDConnectProviderListEntry names a provider.
type OpenIDConnectProviderListEntry struct{ Arn string }

type ListOpenIDConnectProvidersInput struct{}
type ListOpenIDConnectProvidersOutput struct {
	OpenIDConnectProviderList []OpenIDConnectProviderListEntry
}

func (in *ListOpenIDConnectProvidersInput) Resource(string, *iam.Principal) string { return "*" }

type UpdateOpenIDConnectProviderThumbprintInput struct {
	OpenIDConnectProviderArn string   `aws:"required" min:"20" max:"2048"`
	ThumbprintList           []string `aws:"required" count:"1,5" min:"40" max:"40"`
}
type UpdateOpenIDConnectProviderThumbprintOutput struct{}

func (in *UpdateOpenIDConnectProviderThumbprintInput) Resource(string, *iam.Principal) string {
	return in.OpenIDConnectProviderArn
}

type AddClientIDToOpenIDConnectProviderInput struct {
	OpenIDConnectProviderArn string `aws:"required" min:"20" max:"2048"`
	ClientID                 string `aws:"required" min:"1" max:"255"`
}
type AddClientIDToOpenIDConnectProviderOutput struct{}

func (in *AddClientIDToOpenIDConnectProviderInput) Resource(string, *iam.Principal) string {
	return in.OpenIDConnectProviderArn
}

type RemoveClientIDFromOpenIDConnectProviderInput struct {
	OpenIDConnectProviderArn string `aws:"required" min:"20" max:"2048"`
	ClientID                 string `aws:"required" min:"1" max:"255"`
}
type RemoveClientIDFromOpenIDConnectProviderOutput struct{}

func (in *RemoveClientIDFromOpenIDConnectProviderInput) Resource(string, *iam.Principal) string {
	return in.OpenIDConnectProviderArn
}

type DeleteOpenIDConnectProviderInput struct {
	OpenIDConnectProviderArn string `aws:"required" min:"20" max:"2048"`
}
type DeleteOpenIDConnectProviderOutput struct{}

func (in *DeleteOpenIDConnectProviderInput) Resource(string, *iam.Principal) string {
	return in.OpenIDConnectProviderArn
}

// The account, and what would be decided.

type GetAccountSummaryInput struct{}
type GetAccountSummaryOutput struct{ SummaryMap map[string]int }

func (in *GetAccountSummaryInput) Resource(string, *iam.Principal) string { return "*" }

type ListAccountAliasesInput struct{ Page }
type ListAccountAliasesOutput struct {
	AccountAliases []string
	NextPage
}

func (in *ListAccountAliasesInput) Resource(string, *iam.Principal) string { return "*" }

// ContextEntry is one condition key of a simulated request.
type ContextEntry struct {
	ContextKeyName   string   `aws:"required" min:"5" max:"256"`
	ContextKeyValues []string `aws:"required"`
	ContextKeyType   string
}

// EvaluationResult is one decision of a simulation.
type EvaluationResult struct {
	EvalActionName       string
	EvalResourceName     string
	EvalDecision         string // allowed, explicitDeny, implicitDeny
	MatchedStatements    []struct{}
	MissingContextValues []string
}

type SimulatePrincipalPolicyInput struct {
	PolicySourceArn string         `aws:"required" min:"20" max:"2048"`
	ActionNames     []string       `aws:"required" count:"1,100" min:"3" max:"128"`
	ResourceArns    []string       `count:"0,100" min:"1" max:"2048"`
	ContextEntries  []ContextEntry `count:"0,100"`
	PolicyInputList []string       `count:"0,10" min:"1" max:"131072"`
	ResourcePolicy  string         `min:"1" max:"131072"`
	CallerArn       string         `min:"1" max:"2048"`
	Page
}
type SimulatePrincipalPolicyOutput struct {
	EvaluationResults []EvaluationResult
	NextPage
}

func (in *SimulatePrincipalPolicyInput) Resource(string, *iam.Principal) string {
	return in.PolicySourceArn
}

// STS.

// Credentials are those of a session.
type Credentials struct {
	AccessKeyId     string
	SecretAccessKey string
	SessionToken    string
	Expiration      time.Time
}

// AssumedRoleUser is who a session of a role is.
type AssumedRoleUser struct {
	AssumedRoleId string // <role id>:<session name>
	Arn           string
}

// PolicyDescriptorType names a managed policy that limits a session.
type PolicyDescriptorType struct {
	Arn string `name:"arn" aws:"required" min:"20" max:"2048"`
}

type GetCallerIdentityInput struct{}
type GetCallerIdentityOutput struct {
	UserId  string
	Account string
	Arn     string
}

type AssumeRoleInput struct {
	RoleArn           string                 `aws:"required" min:"20" max:"2048"`
	RoleSessionName   string                 `aws:"required" min:"2" max:"64" pattern:"[\\w+=,.@-]*"`
	Policy            string                 `min:"1"`
	PolicyArns        []PolicyDescriptorType `count:"0,10"`
	DurationSeconds   int                    `min:"900" max:"43200"`
	Tags              []Tag                  `count:"0,50"`
	TransitiveTagKeys []string               `count:"0,50" min:"1" max:"128"`
	ExternalId        string                 `min:"2" max:"1224" pattern:"[\\w+=,.@:/-]*"`
	SerialNumber      string                 `min:"9" max:"256"`
	TokenCode         string                 `min:"6" max:"6" pattern:"[0-9]*"`
	SourceIdentity    string                 `min:"2" max:"64" pattern:"[\\w+=,.@-]*"`
}
type AssumeRoleOutput struct {
	Credentials      *Credentials
	AssumedRoleUser  *AssumedRoleUser
	PackedPolicySize int // percent
	SourceIdentity   string
}

// AssumeRoleWithWebIdentityInput comes unsigned; its token says who asks.
type AssumeRoleWithWebIdentityInput struct {
	RoleArn          string                 `aws:"required" min:"20" max:"2048"`
	RoleSessionName  string                 `aws:"required" min:"2" max:"64" pattern:"[\\w+=,.@-]*"`
	WebIdentityToken string                 `aws:"required" min:"4" max:"20000"`
	ProviderId       string                 `min:"4" max:"2048"`
	Policy           string                 `min:"1"`
	PolicyArns       []PolicyDescriptorType `count:"0,10"`
	DurationSeconds  int                    `min:"900" max:"43200"`
}
type AssumeRoleWithWebIdentityOutput struct {
	Credentials                 *Credentials
	SubjectFromWebIdentityToken string
	AssumedRoleUser             *AssumedRoleUser
	PackedPolicySize            int
	Provider                    string
	Audience                    string
	SourceIdentity              string
}

type GetSessionTokenInput struct {
	DurationSeconds int    `min:"900" max:"129600"`
	SerialNumber    string `min:"9" max:"256"`
	TokenCode       string `min:"6" max:"6" pattern:"[0-9]*"`
}
type GetSessionTokenOutput struct{ Credentials *Credentials }

type GetAccessKeyInfoInput struct {
	AccessKeyId string `aws:"required" min:"16" max:"128" pattern:"\\w*"`
}
type GetAccessKeyInfoOutput struct{ Account string }

// Organizations.

// PolicyTypeSummary is a kind of policy that an organization has; ours has none.
type PolicyTypeSummary struct{ Type, Status string }

// Organization is this server.
type Organization struct {
	Id                   string
	Arn                  string
	FeatureSet           string // ALL
	MasterAccountArn     string
	MasterAccountId      string
	MasterAccountEmail   string
	AvailablePolicyTypes []PolicyTypeSummary
}

// Account is an account.
type Account struct {
	Id              string
	Arn             string
	Email           string
	Name            string
	Status          string // ACTIVE, SUSPENDED
	State           string // ACTIVE, CLOSED
	JoinedMethod    string // INVITED for the first, CREATED
	JoinedTimestamp time.Time
}

// CreateAccountStatus is how far the making of an account is.
type CreateAccountStatus struct {
	Id                 string // car-...
	AccountName        string
	State              string // SUCCEEDED, FAILED
	RequestedTimestamp time.Time
	CompletedTimestamp time.Time
	AccountId          string
	FailureReason      string
}

type DescribeOrganizationInput struct{}
type DescribeOrganizationOutput struct{ Organization *Organization }

func (in *DescribeOrganizationInput) Resource(string, *iam.Principal) string { return "*" }

type CreateAccountInput struct {
	Email                  string `aws:"required" min:"6" max:"64" pattern:"[^\\s@]+@[^\\s@]+\\.[^\\s@]+"`
	AccountName            string `aws:"required" min:"1" max:"50" pattern:"[ -~]+"`
	RoleName               string `max:"64" pattern:"[\\w+=,.@-]{1,64}"`
	IamUserAccessToBilling string `enum:"ALLOW|DENY"`
	Tags                   []Tag
}
type CreateAccountOutput struct{ CreateAccountStatus *CreateAccountStatus }

func (in *CreateAccountInput) Resource(string, *iam.Principal) string { return "*" }

type DescribeCreateAccountStatusInput struct {
	CreateAccountRequestId string `aws:"required" max:"36" pattern:"car-[a-z0-9]{8,32}"`
}
type DescribeCreateAccountStatusOutput struct{ CreateAccountStatus *CreateAccountStatus }

func (in *DescribeCreateAccountStatusInput) Resource(string, *iam.Principal) string { return "*" }

type ListCreateAccountStatusInput struct {
	States     []string `enum:"IN_PROGRESS|SUCCEEDED|FAILED"`
	NextToken  string   `max:"100000"`
	MaxResults int      `min:"1" max:"20"`
}
type ListCreateAccountStatusOutput struct {
	CreateAccountStatuses []CreateAccountStatus
	NextToken             string
}

func (in *ListCreateAccountStatusInput) Resource(string, *iam.Principal) string { return "*" }

type ListAccountsInput struct {
	NextToken  string `max:"100000"`
	MaxResults int    `min:"1" max:"20"`
}
type ListAccountsOutput struct {
	Accounts  []Account
	NextToken string
}

func (in *ListAccountsInput) Resource(string, *iam.Principal) string { return "*" }

type DescribeAccountInput struct {
	AccountId string `aws:"required" max:"12" pattern:"[0-9]{12}"`
}
type DescribeAccountOutput struct{ Account *Account }

// Resource is the account.
func (in *DescribeAccountInput) Resource(partition string, caller *iam.Principal) string {
	return accountARN(partition, caller, in.AccountId)
}

type CloseAccountInput struct {
	AccountId string `aws:"required" max:"12" pattern:"[0-9]{12}"`
}
type CloseAccountOutput struct{}

// Resource is the account.
func (in *CloseAccountInput) Resource(partition string, caller *iam.Principal) string {
	return accountARN(partition, caller, in.AccountId)
}

func accountARN(partition string, caller *iam.Principal, account string) string {
	organization := "o-"
	if ids := caller.Context["aws:PrincipalOrgID"]; len(ids) == 1 {
		organization = ids[0]
	}
	return fmt.Sprintf("arn:%s:organizations::%s:account/%s/%s", partition, caller.Account, organization, account)
}

func withoutScheme(url string) string {
	if len(url) > 8 && url[:8] == "https://" {
		return url[8:]
	}
	return url
}

// Condition keys that requests give, besides those of every request.

func tagConditions(tags []Tag) map[string][]string {
	m := map[string][]string{}
	for _, t := range tags {
		m["aws:RequestTag/"+t.Key] = []string{t.Value}
		m["aws:TagKeys"] = append(m["aws:TagKeys"], t.Key)
	}
	return m
}

func tagKeyConditions(keys []string) map[string][]string {
	return map[string][]string{"aws:TagKeys": keys}
}

func policyCondition(arn string) map[string][]string {
	return map[string][]string{"iam:PolicyARN": {arn}}
}

func boundaryConditions(arn string, tags []Tag) map[string][]string {
	m := tagConditions(tags)
	if arn != "" {
		m["iam:PermissionsBoundary"] = []string{arn}
	}
	return m
}

// Conditions are the condition keys that the request gives.
func (in *CreateUserInput) Conditions() map[string][]string {
	return boundaryConditions(in.PermissionsBoundary, in.Tags)
}
func (in *CreateRoleInput) Conditions() map[string][]string {
	return boundaryConditions(in.PermissionsBoundary, in.Tags)
}
func (in *PutUserPermissionsBoundaryInput) Conditions() map[string][]string {
	return boundaryConditions(in.PermissionsBoundary, nil)
}
func (in *PutRolePermissionsBoundaryInput) Conditions() map[string][]string {
	return boundaryConditions(in.PermissionsBoundary, nil)
}
func (in *TagUserInput) Conditions() map[string][]string      { return tagConditions(in.Tags) }
func (in *TagRoleInput) Conditions() map[string][]string      { return tagConditions(in.Tags) }
func (in *UntagUserInput) Conditions() map[string][]string    { return tagKeyConditions(in.TagKeys) }
func (in *UntagRoleInput) Conditions() map[string][]string    { return tagKeyConditions(in.TagKeys) }
func (in *CreatePolicyInput) Conditions() map[string][]string { return tagConditions(in.Tags) }
func (in *CreateOpenIDConnectProviderInput) Conditions() map[string][]string {
	return tagConditions(in.Tags)
}
func (in *CreateAccountInput) Conditions() map[string][]string { return tagConditions(in.Tags) }
func (in *AttachUserPolicyInput) Conditions() map[string][]string {
	return policyCondition(in.PolicyArn)
}
func (in *DetachUserPolicyInput) Conditions() map[string][]string {
	return policyCondition(in.PolicyArn)
}
func (in *AttachRolePolicyInput) Conditions() map[string][]string {
	return policyCondition(in.PolicyArn)
}
func (in *DetachRolePolicyInput) Conditions() map[string][]string {
	return policyCondition(in.PolicyArn)
}

// Conditions are the condition keys that the request gives.
func (in *AssumeRoleInput) Conditions() map[string][]string {
	m := tagConditions(in.Tags)
	m["sts:RoleSessionName"] = []string{in.RoleSessionName}
	if in.ExternalId != "" {
		m["sts:ExternalId"] = []string{in.ExternalId}
	}
	if in.SourceIdentity != "" {
		m["sts:SourceIdentity"] = []string{in.SourceIdentity}
	}
	return m
}

// Conditions are the condition keys that the request gives; those of the token
// come with its verification.
func (in *AssumeRoleWithWebIdentityInput) Conditions() map[string][]string {
	return map[string][]string{"sts:RoleSessionName": {in.RoleSessionName}}
}
