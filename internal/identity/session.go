package identity

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base32"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"strings"
	"time"

	"chirograph.dev/internal/iam"
	"chirograph.dev/internal/store"
)

// sessionPrefix begins the ids of session keys.
const sessionPrefix = "ASIA"

// session is what a token says. Its JSON form is sealed in the token; part of
// the format.
type session struct {
	Identity       string            `json:"i"`           // id of the role or user
	Name           string            `json:"n,omitempty"` // RoleSessionName
	Issued         int64             `json:"t"`           // seconds
	Expires        int64             `json:"e"`
	Policy         string            `json:"p,omitempty"` // session policy, IAM JSON
	PolicyARNs     []string          `json:"a,omitempty"`
	Tags           map[string]string `json:"g,omitempty"`
	Transitive     map[string]string `json:"v,omitempty"`
	SourceIdentity string            `json:"s,omitempty"`
	Provider       string            `json:"f,omitempty"` // ARN of the OIDC provider
	Operator       string            `json:"o,omitempty"` // account for which the server itself acts; then there is no Identity
}

// sessionKey makes an id. Its last characters vouch for the first: ids that
// others made up are nobody's.
func (s *Service) sessionKey() string {
	id := sessionPrefix + rand.Text()[:11]
	return id + s.check(id)
}

func (s *Service) check(id string) string {
	return base32.StdEncoding.EncodeToString(s.mac("id", id))[:5]
}

func (s *Service) mac(purpose, id string) []byte {
	h := hmac.New(sha256.New, s.secrets[:])
	h.Write([]byte(purpose + " " + id))
	return h.Sum(nil)
}

func (s *Service) sessionSecret(id string) (string, bool) {
	const length = len(sessionPrefix) + 16
	if len(id) != length || subtle.ConstantTimeCompare([]byte(s.check(id[:length-5])), []byte(id[length-5:])) != 1 {
		return "", false
	}
	return base64.StdEncoding.EncodeToString(s.mac("secret", id)[:30]), true
}

// newSession makes the credentials of a session that lasts for d.
func (s *Service) newSession(in session, d time.Duration) (*Credentials, error) {
	now := s.cfg.Now()
	in.Issued, in.Expires = now.Unix(), now.Add(d).Unix()
	text, err := json.Marshal(&in)
	if err != nil {
		return nil, err
	}
	id := s.sessionKey()
	secret, _ := s.sessionSecret(id)
	return &Credentials{AccessKeyId: id, SecretAccessKey: secret, SessionToken: s.seal("session "+id, text), Expiration: time.Unix(in.Expires, 0).UTC()}, nil
}

// openSession reads a token and finds who the session acts for now. A session
// whose role or user is gone is as good as a foreign one.
func (s *Service) openSession(ctx context.Context, id, token string) (*person, error) {
	invalid := fmt.Errorf("session of %s: %w", id, iam.ErrInvalidToken)
	secret, ok := s.sessionSecret(id)
	if !ok {
		return nil, invalid
	}
	text, ok := s.open("session "+id, token)
	if !ok {
		return nil, invalid
	}
	var in session
	if err := json.Unmarshal(text, &in); err != nil {
		return nil, fmt.Errorf("reading the session of %s: %w", id, err)
	}
	if s.cfg.Now().Unix() >= in.Expires {
		return nil, fmt.Errorf("session of %s: %w", id, iam.ErrExpiredToken)
	}
	if in.Operator != "" {
		p, err := s.operatorPrincipal(ctx, &in)
		if err != nil {
			return nil, err
		}
		return &person{secret: secret, token: token, principal: p}, nil
	}
	i, err := s.cfg.Records.IdentityByID(ctx, in.Identity)
	if errors.Is(err, store.ErrNotFound) {
		return nil, invalid
	}
	if err != nil {
		return nil, err
	}
	p, err := s.sessionPrincipal(ctx, i, &in)
	if errors.Is(err, store.ErrNotFound) { // a policy that it was made with
		return nil, invalid
	}
	if err != nil {
		return nil, err
	}
	who := &person{secret: secret, token: token, principal: p}
	if i.Kind == store.KindRole {
		who.uses = []*use{s.used(i.ID)}
	}
	return who, nil
}

// sessionPrincipal is who acts in a session of a role or user.
func (s *Service) sessionPrincipal(ctx context.Context, i *store.Identity, in *session) (*iam.Principal, error) {
	p, err := s.principalOf(ctx, i)
	if err != nil {
		return nil, err
	}
	dated(p, in)
	if i.Kind == store.KindUser {
		p.Session = []*iam.Policy{s.restrictions}
		return p, nil
	}
	p.Role = p.ARN
	p.ARN = "arn:" + s.cfg.Partition + ":sts::" + i.Account + ":assumed-role/" + i.Name + "/" + in.Name
	p.ID += ":" + in.Name
	p.Federated, p.Transitive = in.Provider, in.Transitive
	for k, v := range in.Tags {
		// A tag of the session hides one of the role, whatever the case of its key.
		maps.DeleteFunc(p.Context, func(have string, _ []string) bool { return strings.EqualFold(have, "aws:PrincipalTag/"+k) })
		p.Context["aws:PrincipalTag/"+k] = []string{v}
	}
	if in.SourceIdentity != "" {
		p.Context["aws:SourceIdentity"] = []string{in.SourceIdentity}
	}
	if in.Policy != "" {
		policy, err := s.policy(in.Policy)
		if err != nil {
			return nil, fmt.Errorf("reading the policy of session %s: %w", p.ARN, err)
		}
		p.Session = append(p.Session, policy)
	}
	for _, arn := range in.PolicyARNs {
		policy, err := s.policyInForce(ctx, arn)
		if err != nil {
			return nil, err
		}
		p.Session = append(p.Session, policy)
	}
	return p, nil
}

// dated gives a principal what every session has.
func dated(p *iam.Principal, in *session) {
	p.Expires = time.Unix(in.Expires, 0).UTC()
	p.Context["aws:TokenIssueTime"] = []string{time.Unix(in.Issued, 0).UTC().Format(time.RFC3339)}
	p.Context["aws:MultiFactorAuthPresent"] = []string{"false"} // there are no second factors here
}

// sessionRestrictions is what a session of GetSessionToken may do of what its
// user may: as at AWS without a second factor, nothing of IAM, and little of STS.
const sessionRestrictions = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","NotAction":["iam:*","sts:*"],"Resource":"*"},
	{"Effect":"Allow","Action":["sts:AssumeRole","sts:TagSession","sts:SetSourceIdentity","sts:GetCallerIdentity"],"Resource":"*"}]}`
