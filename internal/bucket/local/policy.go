package local

import (
	"context"
	"fmt"
	"net/http"
	"net/netip"
	"strings"

	"chirograph.dev/internal/iam"
)

// The bits of a bucket's public access block.
const (
	blockPublicACLs = 1 << iota
	ignorePublicACLs
	blockPublicPolicy
	restrictPublicBuckets

	blockAll = blockPublicACLs | ignorePublicACLs | blockPublicPolicy | restrictPublicBuckets
)

// Ownership settings.
const (
	ownerEnforced  = "BucketOwnerEnforced"
	ownerPreferred = "BucketOwnerPreferred"
	objectWriter   = "ObjectWriter"
)

// parsedBucket is a bucket with its policy ready to evaluate. It does not change.
type parsedBucket struct {
	*bucket
	policy *iam.Policy // nil: none
	public bool        // the policy grants something to everybody
}

func (b *parsedBucket) blocks(bit int) bool { return b.publicAccess > 0 && b.publicAccess&bit != 0 }
func (b *parsedBucket) restricted() bool    { return b.public && b.blocks(restrictPublicBuckets) }

// bucketState returns a bucket from memory or the index; nil when there is none.
func (s *Service) bucketState(ctx context.Context, name string) (*parsedBucket, error) {
	// The lock is held while reading, so that what a change drops cannot come back.
	s.policies.Lock()
	defer s.policies.Unlock()
	if b := s.policies.m[name]; b != nil {
		return b, nil
	}
	row, err := s.index.bucket(ctx, name)
	if err != nil || row == nil {
		return nil, err
	}
	b := &parsedBucket{bucket: row}
	if row.policy != nil {
		if b.policy, err = iam.ParseResourcePolicy(row.policy); err != nil {
			return nil, fmt.Errorf("reading the stored policy of bucket %s: %w", name, err)
		}
		b.public = publicPolicy(b.policy)
	}
	if len(s.policies.m) >= 4096 {
		clear(s.policies.m)
	}
	s.policies.m[name] = b
	return b, nil
}

// changeBucket updates columns of a bucket, durably, and forgets its state in memory.
func (s *Service) changeBucket(ctx context.Context, name, set string, args ...any) error {
	defer s.forget(name)
	return s.index.write(ctx, func(ctx context.Context, tx *txn) error {
		res, err := tx.ExecContext(ctx, `UPDATE bucket SET `+set+` WHERE name = ?`, append(args, name)...)
		if err != nil {
			return fmt.Errorf("changing a bucket: %w", err)
		}
		if n, err := res.RowsAffected(); err != nil || n == 0 {
			return errNoSuchBucket(name)
		}
		return nil
	})
}

func (s *Service) forget(name string) {
	s.policies.Lock()
	delete(s.policies.m, name)
	s.policies.Unlock()
}

// publicPolicy says whether a policy grants something to everybody, in the
// sense of S3's block public access: an Allow to everyone whose conditions do
// not hold it to fixed sources or principals.
func publicPolicy(p *iam.Policy) bool {
	for _, st := range p.Statements() {
		if st.Effect != iam.Allow {
			continue
		}
		everyone := st.NotPrincipal
		for _, who := range st.Principals {
			if who.Value == "*" {
				everyone = true
			}
		}
		if everyone && !restricts(st.Conditions) {
			return true
		}
	}
	return false
}

func restricts(conditions []iam.Condition) bool {
	for _, c := range conditions {
		if len(c.Values) == 0 {
			continue
		}
		fixed := true
		switch strings.ToLower(c.Key) {
		case "aws:sourceip":
			if !strings.EqualFold(c.Operator, "IpAddress") {
				continue
			}
			for _, v := range c.Values {
				if p, err := netip.ParsePrefix(v); err == nil && p.Bits() < 8 {
					fixed = false
				}
			}
		case "aws:sourcearn", "aws:sourceaccount", "aws:sourceorgid", "aws:sourceowner", "aws:sourcevpc", "aws:sourcevpce",
			"aws:principalorgid", "aws:principalorgpaths", "aws:principalarn", "aws:principalaccount", "aws:userid":
			switch strings.ToLower(c.Operator) {
			case "stringequals", "stringequalsignorecase", "stringlike", "arnequals", "arnlike",
				"foranyvalue:stringequals", "foranyvalue:stringlike":
			default:
				continue
			}
			for _, v := range c.Values {
				// A wildcard may stand for the resource of an ARN, not for its account.
				if f := strings.SplitN(v, ":", 6); len(f) == 6 && f[0] == "arn" {
					v = f[4]
				}
				// A variable may be the very key that it is compared with.
				if strings.ContainsAny(v, "*?") || strings.Contains(v, "${") {
					fixed = false
				}
			}
		default:
			continue
		}
		if fixed {
			return true
		}
	}
	return false
}

func errMalformedPolicy(message string) *apiError { return errorf("MalformedPolicy", "%s", message) }

// checkPolicy is what S3 refuses in a bucket's policy beyond IAM's grammar.
func checkPolicy(p *iam.Policy, bucket string) error {
	arn := "arn:aws:s3:::" + bucket
	for _, st := range p.Statements() {
		if len(st.Principals) == 0 {
			return errMalformedPolicy("Missing required field Principal")
		}
		for _, who := range st.Principals {
			if who.Type == "AWS" && who.Value != "*" && !validAWSPrincipal(who.Value) {
				return errMalformedPolicy("Invalid principal in policy").with("Detail", `"AWS" : "`+who.Value+`"`)
			}
		}
		if len(st.Actions) == 0 {
			return errMalformedPolicy("Missing required field Action")
		}
		for _, a := range st.Actions {
			if service, _, ok := strings.Cut(a, ":"); a != "*" && (!ok || !strings.EqualFold(service, "s3")) {
				return errMalformedPolicy("Policy has invalid action").with("Detail", a)
			}
		}
		if len(st.Resources) == 0 {
			return errMalformedPolicy("Missing required field Resource")
		}
		for _, r := range st.Resources {
			if r != arn && !strings.HasPrefix(r, arn+"/") && r != arn+"*" {
				return errMalformedPolicy("Policy has invalid resource").with("Detail", r)
			}
		}
	}
	return nil
}

func validAWSPrincipal(v string) bool {
	account := v
	if f := strings.SplitN(v, ":", 6); len(f) == 6 {
		if f[0] != "arn" || f[2] != "iam" && f[2] != "sts" || f[5] == "" || strings.ContainsAny(v, "*?") {
			return false
		}
		account = f[4]
	}
	if len(account) != 12 {
		return false
	}
	return strings.Trim(account, "0123456789") == ""
}

func (s *Service) getBucketPolicy(q *request) (*reply, error) {
	if q.owner.policy == nil {
		return nil, errorf("NoSuchBucketPolicy", "The bucket policy does not exist").with("BucketName", q.bucket)
	}
	r := newReply(http.StatusOK)
	r.header.Set("Content-Type", "application/json")
	r.setBody(q.owner.policy)
	return r, nil
}

func (s *Service) putBucketPolicy(q *request) (*reply, error) {
	text, err := s.readAll(q, maxPolicy+1)
	if err != nil {
		return nil, err
	}
	if len(text) > maxPolicy {
		return nil, errMalformedPolicy("Policies must not be larger than 20 KB")
	}
	if len(text) == 0 || text[0] != '{' {
		return nil, errMalformedPolicy("Policies must be valid JSON and the first byte must be '{'")
	}
	p, err := iam.ParseResourcePolicy(text)
	if err != nil {
		return nil, errMalformedPolicy("The policy is not valid: " + err.Error())
	}
	if err := checkPolicy(p, q.bucket); err != nil {
		return nil, err
	}
	if q.state.blocks(blockPublicPolicy) && publicPolicy(p) {
		return nil, errorf("AccessDenied", "User is not authorized to perform: s3:PutBucketPolicy because public policies are prevented by the BlockPublicPolicy setting in S3 Block Public Access.")
	}
	ctx := q.http.Context()
	if err := s.changeBucket(ctx, q.bucket, `policy = ?`, text); err != nil {
		return nil, err
	}
	return newReply(http.StatusNoContent), nil
}

func (s *Service) deleteBucketPolicy(q *request) (*reply, error) {
	if err := s.changeBucket(q.http.Context(), q.bucket, `policy = NULL`); err != nil {
		return nil, err
	}
	return newReply(http.StatusNoContent), nil
}

func (s *Service) getBucketPolicyStatus(q *request) (*reply, error) {
	if q.owner.policy == nil {
		return nil, errorf("NoSuchBucketPolicy", "The bucket policy does not exist").with("BucketName", q.bucket)
	}
	d := newDocument("PolicyStatus")
	d.bool("IsPublic", q.state.public)
	return xmlReply(http.StatusOK, d, "PolicyStatus"), nil
}

type publicAccessBlock struct {
	BlockPublicAcls       bool
	IgnorePublicAcls      bool
	BlockPublicPolicy     bool
	RestrictPublicBuckets bool
}

func (s *Service) getPublicAccessBlock(q *request) (*reply, error) {
	bits := q.owner.publicAccess
	if bits < 0 {
		return nil, errorf("NoSuchPublicAccessBlockConfiguration", "The public access block configuration was not found").with("BucketName", q.bucket)
	}
	d := newDocument("PublicAccessBlockConfiguration")
	d.bool("BlockPublicAcls", bits&blockPublicACLs != 0)
	d.bool("IgnorePublicAcls", bits&ignorePublicACLs != 0)
	d.bool("BlockPublicPolicy", bits&blockPublicPolicy != 0)
	d.bool("RestrictPublicBuckets", bits&restrictPublicBuckets != 0)
	return xmlReply(http.StatusOK, d, "PublicAccessBlockConfiguration"), nil
}

func (s *Service) putPublicAccessBlock(q *request) (*reply, error) {
	var in publicAccessBlock
	if err := s.readXML(q, "PublicAccessBlockConfiguration", &in); err != nil {
		return nil, err
	}
	bits := 0
	for bit, on := range map[int]bool{blockPublicACLs: in.BlockPublicAcls, ignorePublicACLs: in.IgnorePublicAcls,
		blockPublicPolicy: in.BlockPublicPolicy, restrictPublicBuckets: in.RestrictPublicBuckets} {
		if on {
			bits |= bit
		}
	}
	if err := s.changeBucket(q.http.Context(), q.bucket, `public_access = ?`, bits); err != nil {
		return nil, err
	}
	return newReply(http.StatusOK), nil
}

func (s *Service) deletePublicAccessBlock(q *request) (*reply, error) {
	if err := s.changeBucket(q.http.Context(), q.bucket, `public_access = -1`); err != nil {
		return nil, err
	}
	return newReply(http.StatusNoContent), nil
}

func validOwnership(v string) bool {
	return v == ownerEnforced || v == ownerPreferred || v == objectWriter
}

func (s *Service) getOwnershipControls(q *request) (*reply, error) {
	if q.owner.ownership == "" {
		return nil, errorf("OwnershipControlsNotFoundError", "The bucket ownership controls were not found").with("BucketName", q.bucket)
	}
	d := newDocument("OwnershipControls")
	d.open("Rule")
	d.text("ObjectOwnership", q.owner.ownership)
	d.close("Rule")
	return xmlReply(http.StatusOK, d, "OwnershipControls"), nil
}

func (s *Service) putOwnershipControls(q *request) (*reply, error) {
	var in struct {
		Rule []struct{ ObjectOwnership string }
	}
	if err := s.readXML(q, "OwnershipControls", &in); err != nil {
		return nil, err
	}
	if len(in.Rule) != 1 || !validOwnership(in.Rule[0].ObjectOwnership) {
		return nil, errMalformedXML()
	}
	v := in.Rule[0].ObjectOwnership
	if v == ownerEnforced && q.owner.acl != "private" {
		return nil, errorf("InvalidBucketAclWithObjectOwnership", "Bucket cannot have ACLs set with ObjectOwnership's BucketOwnerEnforced setting")
	}
	if err := s.changeBucket(q.http.Context(), q.bucket, `ownership = ?`, v); err != nil {
		return nil, err
	}
	return newReply(http.StatusOK), nil
}

func (s *Service) deleteOwnershipControls(q *request) (*reply, error) {
	if err := s.changeBucket(q.http.Context(), q.bucket, `ownership = ''`); err != nil {
		return nil, err
	}
	return newReply(http.StatusNoContent), nil
}

// checkACL decides about a canned ACL in a request; "" becomes private.
// Grants to single users are not kept.
func checkACL(q *request, b *parsedBucket, onBucket bool) (string, error) {
	for name := range q.header {
		if strings.HasPrefix(name, "X-Amz-Grant-") {
			return "", errNotImplemented(strings.ToLower(name) + " (canned ACLs only)")
		}
	}
	acl := q.header.Get("X-Amz-Acl")
	switch acl {
	case "", "private":
		acl = "private"
	case "bucket-owner-full-control", "bucket-owner-read":
		// The bucket's owner owns every object here.
		if onBucket {
			acl = "private"
		}
		if b.ownership == ownerEnforced && acl == "bucket-owner-read" {
			return "", errACLNotSupported()
		}
	case "aws-exec-read":
		acl = "private"
	case "public-read", "authenticated-read":
		if b.ownership == ownerEnforced {
			return "", errACLNotSupported()
		}
		if b.blocks(blockPublicACLs) {
			return "", errorf("AccessDenied", "Access Denied because public access control lists are prevented by the BlockPublicAcls setting in S3 Block Public Access.")
		}
	case "public-read-write", "log-delivery-write":
		return "", errNotImplemented("x-amz-acl " + acl)
	default:
		return "", errInvalidArgument("x-amz-acl", acl, "Invalid canned ACL")
	}
	return acl, nil
}

func errACLNotSupported() error {
	return errorf("AccessControlListNotSupported", "The bucket does not allow ACLs")
}

// granted says whether a canned ACL lets a caller read whom no policy allows
// to, reason being the policies'. An ACL cannot stand in for the identity
// policy that a principal of another account needs, nor get around what limits
// a principal.
func (q *request) granted(acl string, b *parsedBucket, reason iam.Reason) bool {
	if b == nil || b.ownership == ownerEnforced || b.blocks(ignorePublicACLs) {
		return false
	}
	if q.principal != nil && (q.principal.Service != "" || q.principal.Account != b.account && reason == iam.NoIdentityAllow) {
		return false
	}
	if reason == iam.NoBoundaryAllow || reason == iam.NoSessionAllow {
		return false
	}
	return acl == "public-read" || acl == "authenticated-read" && q.principal != nil
}

func appendACL(d *document, account, acl string) {
	d.open("Owner")
	d.text("ID", canonicalUser(account))
	d.text("DisplayName", account)
	d.close("Owner")
	d.open("AccessControlList")
	const xsi = ` xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:type=`
	d.open("Grant")
	d.b = append(d.b, `<Grantee`+xsi+`"CanonicalUser">`...)
	d.text("ID", canonicalUser(account))
	d.text("DisplayName", account)
	d.close("Grantee")
	d.text("Permission", "FULL_CONTROL")
	d.close("Grant")
	group := map[string]string{
		"public-read":        "http://acs.amazonaws.com/groups/global/AllUsers",
		"authenticated-read": "http://acs.amazonaws.com/groups/global/AuthenticatedUsers",
	}[acl]
	if group != "" {
		d.open("Grant")
		d.b = append(d.b, `<Grantee`+xsi+`"Group">`...)
		d.text("URI", group)
		d.close("Grantee")
		d.text("Permission", "READ")
		d.close("Grant")
	}
	d.close("AccessControlList")
}

func (s *Service) getBucketACL(q *request) (*reply, error) {
	d := newDocument("AccessControlPolicy")
	appendACL(d, q.owner.account, q.owner.acl)
	return xmlReply(http.StatusOK, d, "AccessControlPolicy"), nil
}

// noACLBody refuses ACLs as XML, which hold grants to single users.
func (s *Service) noACLBody(q *request) error {
	b, err := s.readAll(q, 64<<10)
	if err != nil {
		return err
	}
	if len(b) > 0 {
		return errNotImplemented("an ACL in the body (canned ACLs only: x-amz-acl)")
	}
	return nil
}

func (s *Service) putBucketACL(q *request) (*reply, error) {
	if err := s.noACLBody(q); err != nil {
		return nil, err
	}
	acl, err := checkACL(q, q.state, true)
	if err != nil {
		return nil, err
	}
	if err := s.changeBucket(q.http.Context(), q.bucket, `acl = ?`, acl); err != nil {
		return nil, err
	}
	return newReply(http.StatusOK), nil
}
