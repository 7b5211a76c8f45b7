package identity

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"strings"
	"time"

	"chirograph.dev/internal/iam"
	"chirograph.dev/internal/store"
)

// GetAccountSummary is iam:GetAccountSummary: what there is, and AWS' quotas.
func (s *Service) GetAccountSummary(ctx context.Context, _ *GetAccountSummaryInput) (*GetAccountSummaryOutput, error) {
	p, err := s.caller(ctx)
	if err != nil {
		return nil, err
	}
	users, err1 := s.cfg.Records.Identities(ctx, p.Account, store.KindUser, "", maxUsers)
	roles, err2 := s.cfg.Records.Identities(ctx, p.Account, store.KindRole, "", maxRoles)
	policies, err3 := s.cfg.Records.Policies(ctx, p.Account, "", maxPolicies)
	providers, err4 := s.cfg.Records.Providers(ctx, p.Account)
	if err := errors.Join(err1, err2, err3, err4); err != nil {
		return nil, err
	}
	versions := 0
	for _, p := range policies {
		versions += len(p.Versions)
	}
	return &GetAccountSummaryOutput{SummaryMap: map[string]int{
		"Users": len(users), "UsersQuota": maxUsers, "Roles": len(roles), "RolesQuota": maxRoles, "Policies": len(policies), "PoliciesQuota": maxPolicies,
		"PolicyVersionsInUse": versions, "VersionsPerPolicyQuota": maxVersions, "PolicySizeQuota": maxPolicyText, "Providers": len(providers),
		"AccessKeysPerUserQuota": maxKeys, "AttachedPoliciesPerUserQuota": maxAttached, "AttachedPoliciesPerRoleQuota": maxAttached,
		"UserPolicySizeQuota": maxUserInline, "RolePolicySizeQuota": maxRoleInline, "AssumeRolePolicySizeQuota": maxTrustText,
		"Groups": 0, "GroupsPerUserQuota": 0, "MFADevices": 0, "AccountMFAEnabled": 0, "AccountAccessKeysPresent": 0, "InstanceProfiles": 0, "ServerCertificates": 0,
	}}, nil
}

// ListAccountAliases is iam:ListAccountAliases: there are none.
func (s *Service) ListAccountAliases(ctx context.Context, _ *ListAccountAliasesInput) (*ListAccountAliasesOutput, error) {
	_, err := s.caller(ctx)
	return &ListAccountAliasesOutput{}, err
}

// simulationTime is how long a simulation may take: with the longest policies
// and lists one request could keep a processor busy for hours.
const simulationTime = 5 * time.Second

// SimulatePrincipalPolicy is iam:SimulatePrincipalPolicy: what would be decided
// for a user or role of the caller's account, with the same evaluator.
func (s *Service) SimulatePrincipalPolicy(ctx context.Context, in *SimulatePrincipalPolicyInput) (*SimulatePrincipalPolicyOutput, error) {
	caller, err := s.caller(ctx)
	if err != nil {
		return nil, err
	}
	if in.CallerArn != "" && in.CallerArn != in.PolicySourceArn {
		return nil, refuse(http.StatusBadRequest, "InvalidInput", "The CallerArn of a simulation is its PolicySourceArn here; leave it out.")
	}
	f := strings.SplitN(in.PolicySourceArn, ":", 6)
	var i *store.Identity
	if len(f) == 6 && f[2] == "iam" && f[4] == caller.Account {
		kind, name, _ := strings.Cut(f[5], "/")
		if i, err = s.find(ctx, caller.Account, kind, name[strings.LastIndexByte(name, '/')+1:]); err != nil {
			return nil, err
		}
	}
	if i == nil || s.arnOf(i) != in.PolicySourceArn {
		return nil, noSuchEntity("The user or role %s cannot be found.", in.PolicySourceArn)
	}
	p, err := s.principalOf(ctx, i)
	if err != nil {
		return nil, err
	}
	for _, text := range in.PolicyInputList {
		policy, err := iam.ParsePolicy([]byte(text))
		if err != nil {
			return nil, refuse(http.StatusBadRequest, "InvalidInput", "%s", err.Error())
		}
		p.Policies = append(p.Policies, policy)
	}
	var resource *iam.Policy
	if in.ResourcePolicy != "" {
		if resource, err = iam.ParseResourcePolicy([]byte(in.ResourcePolicy)); err != nil {
			return nil, refuse(http.StatusBadRequest, "InvalidInput", "%s", err.Error())
		}
	}
	conditions := maps.Clone(s.cfg.Conditions(ctx))
	if conditions == nil {
		conditions = map[string][]string{}
	}
	for _, e := range in.ContextEntries {
		conditions[e.ContextKeyName] = e.ContextKeyValues
	}
	resources := in.ResourceArns
	if len(resources) == 0 {
		resources = []string{"*"}
	}
	out := &SimulatePrincipalPolicyOutput{}
	ctx, cancel := context.WithTimeout(ctx, simulationTime)
	defer cancel()
	for _, action := range in.ActionNames {
		for _, r := range resources {
			if ctx.Err() != nil {
				return nil, refuse(http.StatusBadRequest, "PolicyEvaluation", "The simulation takes too long; ask for fewer actions and resources at a time.")
			}
			account := ""
			if f := strings.SplitN(r, ":", 6); len(f) == 6 {
				account = f[4]
			}
			d, _ := iam.Authorize(&iam.Request{Principal: p, Action: action, Resource: r, Context: conditions}, resource, account)
			out.EvaluationResults = append(out.EvaluationResults, EvaluationResult{EvalActionName: action, EvalResourceName: r, EvalDecision: decisions[d]})
		}
	}
	return out, nil // at most 100 times 100, in one page
}

// decisions are the names of iam's decisions in a simulation.
var decisions = [...]string{iam.ImplicitDeny: "implicitDeny", iam.Allow: "allowed", iam.ExplicitDeny: "explicitDeny"}
