package identity

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"

	"chirograph.dev/internal/iam"
	"chirograph.dev/internal/store"
)

// GetCallerIdentity is sts:GetCallerIdentity.
func (s *Service) GetCallerIdentity(ctx context.Context, _ *GetCallerIdentityInput) (*GetCallerIdentityOutput, error) {
	p, err := s.caller(ctx)
	if err != nil {
		return nil, err
	}
	return &GetCallerIdentityOutput{UserId: p.ID, Account: p.Account, Arn: p.ARN}, nil
}

// GetAccessKeyInfo is sts:GetAccessKeyInfo, for the caller's account alone:
// which account another key belongs to is nobody's business.
func (s *Service) GetAccessKeyInfo(ctx context.Context, in *GetAccessKeyInfoInput) (*GetAccessKeyInfoOutput, error) {
	p, err := s.caller(ctx)
	if err != nil {
		return nil, err
	}
	k, err := s.cfg.Records.AccessKey(ctx, in.AccessKeyId)
	if errors.Is(err, store.ErrNotFound) || err == nil && k.Account != p.Account {
		return nil, invalid("The access key %s is not one of this account.", in.AccessKeyId)
	}
	if err != nil {
		return nil, err
	}
	return &GetAccessKeyInfoOutput{Account: k.Account}, nil
}

// GetSessionToken is sts:GetSessionToken: a session of the calling user.
func (s *Service) GetSessionToken(ctx context.Context, in *GetSessionTokenInput) (*GetSessionTokenOutput, error) {
	p, err := s.caller(ctx)
	switch {
	case err != nil:
		return nil, err
	case !isUser(p) || !p.Expires.IsZero():
		return nil, denied("Cannot call GetSessionToken with session credentials")
	case in.SerialNumber != "" || in.TokenCode != "":
		return nil, noMFA()
	}
	d := time.Duration(in.DurationSeconds) * time.Second
	if d == 0 {
		d = 12 * time.Hour
	}
	if d < 15*time.Minute || d > 36*time.Hour {
		return nil, invalid("The requested DurationSeconds must lie between 900 and 129600.")
	}
	c, err := s.newSession(session{Identity: p.ID}, d)
	return &GetSessionTokenOutput{Credentials: c}, err
}

func noMFA() error {
	return denied("MultiFactorAuthentication failed: this server knows no MFA devices. Leave SerialNumber and TokenCode out.")
}

var roleARN = regexp.MustCompile(`^arn:([^:]+):iam::(\d{12}):role(/|/[!-~]+/)([\w+=,.@-]{1,64})$`)

// role finds the role of an ARN; nil when there is none with just this ARN.
func (s *Service) role(ctx context.Context, arn string) (*store.Identity, error) {
	m := roleARN.FindStringSubmatch(arn)
	if m == nil {
		return nil, invalid("%s is invalid", arn)
	}
	i, err := s.cfg.Records.Identity(ctx, m[2], store.KindRole, m[4])
	if errors.Is(err, store.ErrNotFound) || err == nil && s.arnOf(i) != arn {
		return nil, nil
	}
	return i, err
}

// AssumeRole is sts:AssumeRole. The role's trust policy must allow the caller;
// where it names the caller's account alone, and for a caller of another
// account, the caller's own policies must allow it as well. A role that is not
// there looks like one that does not trust the caller.
func (s *Service) AssumeRole(ctx context.Context, in *AssumeRoleInput) (*AssumeRoleOutput, error) {
	caller, err := s.caller(ctx)
	if err != nil {
		return nil, err
	}
	if in.SerialNumber != "" || in.TokenCode != "" {
		return nil, noMFA()
	}
	role, err := s.role(ctx, in.RoleArn)
	if err != nil {
		return nil, err
	}
	next := session{Name: in.RoleSessionName, Policy: in.Policy, SourceIdentity: in.SourceIdentity}
	actions := []string{"sts:AssumeRole"}
	if len(in.Tags) > 0 || len(in.TransitiveTagKeys) > 0 {
		actions = append(actions, "sts:TagSession")
	}
	if in.SourceIdentity != "" {
		actions = append(actions, "sts:SetSourceIdentity")
	}
	conditions := maps.Clone(s.cfg.Conditions(ctx))
	if conditions == nil {
		conditions = map[string][]string{}
	}
	maps.Copy(conditions, in.Conditions())
	if role != nil {
		maps.Copy(conditions, resourceTags(role.Tags))
	}
	if len(in.TransitiveTagKeys) > 0 {
		conditions["sts:TransitiveTagKeys"] = in.TransitiveTagKeys
	}
	for _, action := range actions {
		r := &iam.Request{Principal: caller, Action: action, Resource: in.RoleArn, Context: conditions}
		if err := s.trusts(ctx, role, r); err != nil {
			return nil, err
		}
	}
	longest := role.MaxSession
	if caller.Role != "" {
		longest = min(longest, time.Hour) // role chaining
	}
	d, err := duration(in.DurationSeconds, longest, caller.Role != "")
	if err != nil {
		return nil, err
	}
	// What the caller's session passes on cannot be set anew.
	if have := caller.Context["aws:SourceIdentity"]; len(have) > 0 {
		if in.SourceIdentity != "" && in.SourceIdentity != have[0] {
			return nil, denied("The source identity of a session cannot be changed; it is %s.", have[0])
		}
		next.SourceIdentity = have[0]
	}
	tags, err := sessionTags(in.Tags)
	if err != nil {
		return nil, err
	}
	next.Tags, next.Transitive = tags, maps.Clone(caller.Transitive)
	if next.Transitive == nil {
		next.Transitive = map[string]string{}
	}
	for _, key := range in.TransitiveTagKeys {
		value, ok := tags[key]
		if !ok {
			return nil, refuse(http.StatusBadRequest, "InvalidParameterValue", "The transitive tag key %s is none of the tags of the session.", key)
		}
		next.Transitive[key] = value
	}
	for key, value := range caller.Transitive {
		// Whatever its case: one hides the other in the session.
		if slices.ContainsFunc(in.Tags, func(t Tag) bool { return strings.EqualFold(t.Key, key) }) {
			return nil, refuse(http.StatusBadRequest, "InvalidParameterValue", "One of the specified transitive tag keys can't be set because it conflicts with a transitive tag key from the calling session.")
		}
		tags[key] = value
	}
	c, who, packed, err := s.assume(ctx, role, next, in.PolicyArns, d)
	if err != nil {
		return nil, err
	}
	return &AssumeRoleOutput{Credentials: c, AssumedRoleUser: who, PackedPolicySize: packed, SourceIdentity: next.SourceIdentity}, nil
}

// trusts refuses r unless the trust policy of the role, and the caller's own
// policies where they count, allow it.
func (s *Service) trusts(ctx context.Context, role *store.Identity, r *iam.Request) error {
	if role == nil {
		return s.notAuthorized(r.Principal, r.Action, r.Resource, "")
	}
	trust, err := iam.ParseTrustPolicy([]byte(role.Trust))
	if err != nil {
		return err
	}
	d := iam.ImplicitDeny
	// Without the role's trust nobody assumes it, in its own account neither.
	if trust.Evaluate(r) == iam.Allow {
		d, _ = iam.Authorize(r, trust, role.Account)
	}
	if d == iam.Allow {
		if closed, err := s.suspended(ctx, role.Account); err != nil || !closed {
			return err
		}
		return denied("The account %s is closed; its roles cannot be assumed.", role.Account)
	}
	// Why is not told: a stranger would learn of roles and whom they trust.
	return s.notAuthorized(r.Principal, r.Action, r.Resource, "")
}

// duration is how long a session of a role lasts.
func duration(seconds int, longest time.Duration, chained bool) (time.Duration, error) {
	d := time.Duration(seconds) * time.Second
	switch {
	case seconds == 0:
		return min(time.Hour, longest), nil
	case d > longest && chained:
		return 0, invalid("The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining")
	case d > longest:
		return 0, invalid("The requested DurationSeconds exceeds the MaxSessionDuration set for this role.")
	case d < 15*time.Minute:
		return 0, invalid("The requested DurationSeconds must be at least 900.")
	}
	return d, nil
}

func sessionTags(tags []Tag) (map[string]string, error) {
	if _, err := mergeTags(nil, tags); err != nil {
		return nil, err
	}
	m := map[string]string{}
	for _, t := range tags {
		m[t.Key] = t.Value
	}
	return m, nil
}

// assume makes a session of a role that trusts the caller.
func (s *Service) assume(ctx context.Context, role *store.Identity, next session, policies []PolicyDescriptorType, d time.Duration) (*Credentials, *AssumedRoleUser, int, error) {
	next.Identity = role.ID
	if next.Policy != "" {
		if _, err := iam.ParsePolicy([]byte(next.Policy)); err != nil {
			return nil, nil, 0, malformedPolicy(err)
		}
	}
	for _, p := range policies {
		if _, err := s.attachable(ctx, role.Account, p.Arn); err != nil {
			return nil, nil, 0, err
		}
		if !slices.Contains(next.PolicyARNs, p.Arn) {
			next.PolicyARNs = append(next.PolicyARNs, p.Arn)
		}
	}
	if len(next.PolicyARNs) > maxAttached {
		return nil, nil, 0, limitExceeded("A session can have up to %d managed policies.", maxAttached)
	}
	if characters(next.Policy) > maxSessionText {
		return nil, nil, 0, refuse(http.StatusBadRequest, "PackedPolicyTooLarge", "The session policy must not have more than %d characters.", maxSessionText)
	}
	// How full the token is: what the caller put into it, of what it may.
	const most = 8 << 10
	used, err := json.Marshal([]any{next.Policy, next.PolicyARNs, next.Tags})
	if err != nil {
		return nil, nil, 0, err
	}
	packed := 0
	if next.Policy != "" || len(next.PolicyARNs)+len(next.Tags) > 0 {
		packed = 1 + 100*len(used)/most
	}
	if packed > 100 {
		return nil, nil, 0, refuse(http.StatusBadRequest, "PackedPolicyTooLarge", "Policies and tags together take %d%% of the room of a session; make them shorter.", packed)
	}
	c, err := s.newSession(next, d)
	if err != nil {
		return nil, nil, 0, err
	}
	arn := strings.Join([]string{"arn", s.cfg.Partition, "sts", "", role.Account, "assumed-role/" + role.Name + "/" + next.Name}, ":")
	return c, &AssumedRoleUser{AssumedRoleId: role.ID + ":" + next.Name, Arn: arn}, packed, nil
}
