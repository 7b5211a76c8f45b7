package ca

import (
	"context"

	"chirograph.dev/internal/iam"
	"chirograph.dev/internal/pca"
	"chirograph.dev/internal/store"
)

// PutPolicy replaces the resource policy of a CA, which shares it with other
// accounts. What a policy may say is the table of access.md 4.2.
func (s *Service) PutPolicy(ctx context.Context, in *pca.PutPolicyRequest) (*struct{}, error) {
	_, a, err := s.find(ctx, in.ResourceArn)
	if err != nil {
		return nil, err
	}
	return nil, s.change(ctx, a, func(next *store.CertificateAuthority) (bool, error) {
		if err := s.governable(next); err != nil {
			return false, err
		}
		p, err := iam.ParseResourcePolicy([]byte(in.Policy))
		if err != nil {
			return false, invalidPolicy(err)
		}
		// Before the form is checked, which would hide it behind another error:
		// a Deny of these actions is never of the right form.
		if err := s.checkLockout(ctx, p, next.ARN); err != nil {
			return false, err
		}
		if err := s.checkForm(p, next.ARN); err != nil {
			return false, invalidPolicy(err)
		}
		changed := next.Policy != in.Policy
		next.Policy = in.Policy
		return changed, nil
	})
}

// governable refuses the states in which permissions and policies of a CA
// cannot be touched (api.md 4).
func (s *Service) governable(rec *store.CertificateAuthority) error {
	return s.usable(rec, pca.CertificateAuthorityStatus_CREATING, pca.CertificateAuthorityStatus_FAILED, pca.CertificateAuthorityStatus_DELETED)
}

func invalidPolicy(err error) error {
	return &pca.Error{Code: pca.InvalidPolicyException, Message: "The policy is not valid: " + err.Error() + "."}
}

// checkLockout refuses a policy that would keep its author from changing it again.
func (s *Service) checkLockout(ctx context.Context, p *iam.Policy, ca string) error {
	caller := s.Caller(ctx)
	for _, action := range []string{"acm-pca:PutPolicy", "acm-pca:GetPolicy", "acm-pca:DeletePolicy"} {
		r := &iam.Request{Principal: caller.Principal, Action: action, Resource: ca, Context: caller.Conditions}
		if p.Evaluate(r) == iam.ExplicitDeny {
			return pca.Errorf(pca.LockoutPreventedException, "The policy denies %s to %s, who could then not change it again. Leave the caller out of the Deny.", action, caller.ARN)
		}
	}
	return nil
}
