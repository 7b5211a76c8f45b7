package identity

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"chirograph.dev/internal/iam"
)

// Operator is the server itself acting for an account's owner, which may do
// everything.
func (s *Service) Operator(account string) *iam.Principal {
	return &iam.Principal{
		Account: account, ARN: s.iamARN(account, "root"), ID: account,
		Policies: []*iam.Policy{s.managed[s.managedARN("AdministratorAccess")].parsed},
	}
}

// operatorRole is what the sessions of ReadObject are called. No role has the
// name, since an account's are not paths, and they are not its root: a policy
// that names the root of the account gives them nothing.
const operatorRole = "chirograph:server"

// ReadObject makes the credentials of a session of the server itself that ends
// after d and may do nothing but read one object of the account's buckets, where
// the bucket's policy does not forbid it. A URL that is signed with them gives
// its holder that object and nothing else.
func (s *Service) ReadObject(account, bucket, key string, d time.Duration) (*Credentials, error) {
	literal := strings.NewReplacer("$", "${$}", "*", "${*}", "?", "${?}")
	type statement struct{ Effect, Action, Resource string }
	policy, err := json.Marshal(struct {
		Version   string
		Statement statement
	}{"2012-10-17", statement{"Allow", "s3:GetObject", "arn:aws:s3:::" + bucket + "/" + literal.Replace(key)}})
	if err != nil {
		return nil, fmt.Errorf("writing the policy of a session: %w", err)
	}
	return s.newSession(session{Operator: account, Policy: string(policy)}, d)
}

// operatorPrincipal is who acts in a session of ReadObject.
func (s *Service) operatorPrincipal(ctx context.Context, in *session) (*iam.Principal, error) {
	p := s.Operator(in.Operator)
	p.ARN = "arn:" + s.cfg.Partition + ":sts::" + in.Operator + ":assumed-role/" + operatorRole + "/reader"
	p.ID = operatorRole + ":reader"
	policy, err := s.policy(in.Policy)
	if err != nil {
		return nil, fmt.Errorf("reading the policy of a session of the server: %w", err)
	}
	p.Session = []*iam.Policy{policy}
	p.Context = map[string][]string{}
	dated(p, in)
	p.Suspended, err = s.suspended(ctx, in.Operator)
	return p, err
}
