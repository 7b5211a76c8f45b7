package identity

import (
	"context"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/chacha20poly1305"

	"chirograph.dev/internal/iam"
	"chirograph.dev/internal/store"
)

// Identities keeps users and roles. See sqlite.DB for the errors, here and below.
type Identities interface {
	CreateIdentity(ctx context.Context, i *store.Identity) error
	UpdateIdentity(ctx context.Context, i *store.Identity) error
	DeleteIdentity(ctx context.Context, i *store.Identity) error
	Identity(ctx context.Context, account, kind, name string) (*store.Identity, error)
	IdentityByID(ctx context.Context, id string) (*store.Identity, error)
}

// IdentityLists finds users and roles, and keeps when they were used.
type IdentityLists interface {
	Identities(ctx context.Context, account, kind, after string, limit int) ([]*store.Identity, error)
	IdentitiesWith(ctx context.Context, account, policy string) ([]*store.Identity, error)
	PutUses(ctx context.Context, uses []store.Use) error
}

// Policies keeps the managed policies of accounts.
type Policies interface {
	CreatePolicy(ctx context.Context, p *store.ManagedPolicy) error
	UpdatePolicy(ctx context.Context, p *store.ManagedPolicy) error
	DeletePolicy(ctx context.Context, p *store.ManagedPolicy) error
	Policy(ctx context.Context, arn string) (*store.ManagedPolicy, error)
	Policies(ctx context.Context, account, after string, limit int) ([]*store.ManagedPolicy, error)
}

// Providers keeps OIDC providers.
type Providers interface {
	CreateProvider(ctx context.Context, p *store.OIDCProvider) error
	UpdateProvider(ctx context.Context, p *store.OIDCProvider) error
	DeleteProvider(ctx context.Context, arn string) error
	Provider(ctx context.Context, arn string) (*store.OIDCProvider, error)
	Providers(ctx context.Context, account string) ([]*store.OIDCProvider, error)
}

// AccessKeys keeps long-lived credentials.
type AccessKeys interface {
	CreateAccessKey(ctx context.Context, k *store.AccessKey, limit int) error
	SetAccessKeyActive(ctx context.Context, id string, active bool) error
	DeleteAccessKey(ctx context.Context, id string) error
	AccessKey(ctx context.Context, id string) (*store.AccessKey, error)
	AccessKeys(ctx context.Context, user string) ([]*store.AccessKey, error)
}

// Accounts keeps the accounts.
type Accounts interface {
	CreateAccount(ctx context.Context, a *store.Account, request *store.AccountRequest) error
	UpdateAccount(ctx context.Context, a *store.Account) error
	Accounts(ctx context.Context) ([]*store.Account, error)
	PutAccountRequest(ctx context.Context, request *store.AccountRequest) error
	AccountRequests(ctx context.Context) ([]*store.AccountRequest, error)
}

// Settings keeps settings.
type Settings interface {
	Setting(ctx context.Context, name string) (string, error)
	PutSetting(ctx context.Context, name, value string) error
}

// Records is the store: one engine has it all.
type Records interface {
	Identities
	IdentityLists
	Policies
	Providers
	AccessKeys
	Accounts
	Settings
}

// Sealer seals the secrets of access keys; context binds a sealed secret to its key.
type Sealer interface {
	SealSecret(secret []byte, context string) ([]byte, error)
	OpenSecret(sealed []byte, context string) ([]byte, error)
}

// Config is all that a Service needs.
type Config struct {
	Partition string // of ARNs; default aws
	Region    string // where keys are said to be used
	// Account is the management account of a new folder; one that has accounts
	// keeps the one it began with.
	Account string
	Records Records
	Sealer  Sealer
	// Key is a secret of this server that stays: session keys, session tokens
	// and page markers follow from it. With another one all sessions end.
	Key [32]byte
	// Caller and Conditions tell who called, and the condition keys of the
	// request, which AssumeRole decides with.
	Caller     func(ctx context.Context) *iam.Principal
	Conditions func(ctx context.Context) map[string][]string
	Log        *slog.Logger     // nil: slog.Default
	Now        func() time.Time // nil: time.Now
}

// Names of settings. Part of the format.
const (
	settingOrganization  = "organization"
	settingManagement    = "management-account"
	settingAdministrator = "administrator-key"
)

// Service is the identities of a server. It is safe for concurrent use.
type Service struct {
	cfg     Config
	aead    cipher.AEAD // of tokens and markers
	secrets [32]byte    // of session keys

	managed      map[string]*awsPolicy // by ARN
	managedNames []string              // their ARNs in order
	restrictions *iam.Policy           // of the sessions of GetSessionToken

	organization string // o-...
	management   string // account

	known struct {
		sync.RWMutex
		generation uint64 // counts changes
		keys       map[string]*person
		policies   map[string]*iam.Policy // by document, which many share
		bytes      int                    // of documents and tokens in both maps
	}
	uses struct {
		sync.Mutex
		m map[string]*use // by id of a key or role
	}
	issuers issuers
}

// person is who an access key belongs to, ready for requests.
type person struct {
	secret    string
	token     string // of a session
	principal *iam.Principal
	uses      []*use
}

// use is when a key or role was used last.
type use struct {
	at      atomic.Int64 // milliseconds
	service atomic.Pointer[string]
	saved   int64 // under uses' lock
}

const (
	// maxKnown bounds the keys and sessions whose principals are held; more
	// than that at a time cost a look into the store each.
	maxKnown = 10_000
	// maxKnownBytes bounds the documents and tokens that they are made of. In
	// memory a document takes some 16 times its length.
	maxKnownBytes = 8 << 20
	// saveUses is how often the times of use are stored.
	saveUses = time.Minute
)

// New opens the identities of a server. A new folder gets its organization and
// its management account.
func New(ctx context.Context, cfg Config) (*Service, error) {
	if cfg.Partition == "" {
		cfg.Partition = "aws"
	}
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Conditions == nil {
		cfg.Conditions = func(context.Context) map[string][]string { return nil }
	}
	s := &Service{cfg: cfg}
	s.known.keys, s.known.policies = map[string]*person{}, map[string]*iam.Policy{}
	s.uses.m = map[string]*use{}
	key, err1 := hkdf.Key(sha256.New, cfg.Key[:], nil, "chirograph session tokens 1", chacha20poly1305.KeySize)
	secrets, err2 := hkdf.Key(sha256.New, cfg.Key[:], nil, "chirograph session secrets 1", len(s.secrets))
	if err := errors.Join(err1, err2); err != nil {
		return nil, fmt.Errorf("deriving the keys of sessions: %w", err)
	}
	copy(s.secrets[:], secrets)
	var err error
	if s.aead, err = chacha20poly1305.NewX(key); err != nil {
		return nil, fmt.Errorf("deriving the keys of sessions: %w", err)
	}
	if err := s.loadManaged(); err != nil {
		return nil, err
	}
	return s, s.openOrganization(ctx)
}

// Run keeps the times of use until ctx ends, and a last time then.
func (s *Service) Run(ctx context.Context) error {
	t := time.NewTicker(saveUses)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
			defer cancel()
			return s.saveUses(last)
		case <-t.C:
			if err := s.saveUses(ctx); err != nil {
				s.cfg.Log.ErrorContext(ctx, "keeping when access keys were used", slog.Any("error", err))
			}
		}
	}
}

func (s *Service) saveUses(ctx context.Context) error {
	s.uses.Lock()
	var changed []store.Use
	for id, u := range s.uses.m {
		if at := u.at.Load(); at > u.saved {
			u.saved = at
			changed = append(changed, store.Use{ID: id, At: time.UnixMilli(at).UTC(), Service: *u.service.Load(), Region: s.cfg.Region})
		}
	}
	s.uses.Unlock()
	if len(changed) == 0 {
		return nil
	}
	return s.cfg.Records.PutUses(ctx, changed)
}

// used gives the time of use of a key or role, for all requests to note theirs.
func (s *Service) used(id string) *use {
	s.uses.Lock()
	defer s.uses.Unlock()
	u := s.uses.m[id]
	if u == nil {
		u = &use{}
		u.service.Store(new(string))
		s.uses.m[id] = u
	}
	return u
}

// forgetUse drops the time of use of what is deleted.
func (s *Service) forgetUse(id string) {
	s.uses.Lock()
	defer s.uses.Unlock()
	delete(s.uses.m, id)
}

// lastUse is the time of use that is not stored yet; ok is false for none.
func (s *Service) lastUse(id string) (at time.Time, service string, ok bool) {
	s.uses.Lock()
	defer s.uses.Unlock()
	u := s.uses.m[id]
	if u == nil || u.at.Load() == 0 {
		return time.Time{}, "", false
	}
	return time.UnixMilli(u.at.Load()).UTC(), *u.service.Load(), true
}

// changed is called after every change, and after every attempt at one whose
// outcome is not known: whoever is looked up from now on is looked up anew.
func (s *Service) changed() {
	s.known.Lock()
	defer s.known.Unlock()
	s.known.generation++
	for _, p := range s.known.keys {
		s.known.bytes -= len(p.token)
	}
	clear(s.known.keys)
}

// For is the Service as the Credentials of a front: the time of use of a key
// names the service.
func (s *Service) For(service string) iam.Credentials { return &front{s, &service} }

type front struct {
	*Service
	service *string
}

func (f *front) Principal(ctx context.Context, id, token string) (*iam.Principal, error) {
	return f.Service.principal(ctx, id, token, f.service)
}

// Secret implements iam.Credentials.
func (s *Service) Secret(ctx context.Context, id string) (string, bool, error) {
	s.known.RLock()
	p := s.known.keys[id]
	s.known.RUnlock()
	if p != nil {
		return p.secret, true, nil
	}
	if strings.HasPrefix(id, sessionPrefix) {
		secret, ok := s.sessionSecret(id)
		return secret, ok, nil
	}
	p, err := s.person(ctx, id, "")
	if p == nil {
		return "", false, err
	}
	return p.secret, true, nil
}

// Principal implements iam.Credentials.
func (s *Service) Principal(ctx context.Context, id, token string) (*iam.Principal, error) {
	return s.principal(ctx, id, token, new("sts"))
}

func (s *Service) principal(ctx context.Context, id, token string, service *string) (*iam.Principal, error) {
	session := strings.HasPrefix(id, sessionPrefix)
	if session != (token != "") {
		return nil, fmt.Errorf("access key %s: %w", id, iam.ErrInvalidToken)
	}
	p, err := s.person(ctx, id, token)
	switch {
	case err != nil:
		return nil, err
	case p == nil:
		return nil, fmt.Errorf("access key %s: %w", id, iam.ErrInvalidToken)
	}
	now := s.cfg.Now()
	if session && !now.Before(p.principal.Expires) {
		return nil, fmt.Errorf("access key %s: %w", id, iam.ErrExpiredToken)
	}
	for _, u := range p.uses {
		u.at.Store(now.UnixMilli())
		u.service.Store(service)
	}
	return p.principal, nil
}

// person finds who has an access key; nil when nobody has it.
func (s *Service) person(ctx context.Context, id, token string) (*person, error) {
	s.known.RLock()
	p, generation := s.known.keys[id], s.known.generation
	s.known.RUnlock()
	if p != nil && p.token == token {
		return p, nil
	}
	var err error
	if token != "" {
		p, err = s.openSession(ctx, id, token)
	} else {
		p, err = s.openKey(ctx, id)
	}
	if err != nil || p == nil {
		return nil, err
	}
	s.known.Lock()
	defer s.known.Unlock()
	// What was read before a change is not kept: it would outlive the change.
	if s.known.generation == generation {
		if other := s.known.keys[id]; other != nil {
			s.known.bytes -= len(other.token)
		}
		s.room(len(p.token))
		s.known.keys[id] = p
	}
	return p, nil
}

// room makes room for one more of what is known; known is locked.
func (s *Service) room(bytes int) {
	if len(s.known.keys) >= maxKnown || s.known.bytes+bytes > maxKnownBytes {
		clear(s.known.keys)
		clear(s.known.policies)
		s.known.bytes = 0
	}
	s.known.bytes += bytes
}

// policy reads a document. Those who have the same one share it, or the
// sessions of one role could fill the memory.
func (s *Service) policy(document string) (*iam.Policy, error) {
	s.known.RLock()
	p := s.known.policies[document]
	s.known.RUnlock()
	if p != nil {
		return p, nil
	}
	p, err := iam.ParsePolicy([]byte(document))
	if err != nil {
		return nil, err
	}
	s.known.Lock()
	defer s.known.Unlock()
	if first := s.known.policies[document]; first != nil {
		return first, nil
	}
	s.room(len(document))
	s.known.policies[document] = p
	return p, nil
}

// openKey reads a long-lived access key.
func (s *Service) openKey(ctx context.Context, id string) (*person, error) {
	k, err := s.cfg.Records.AccessKey(ctx, id)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return nil, nil
	case err != nil:
		return nil, err
	case !k.Active:
		return nil, nil
	}
	secret, err := s.cfg.Sealer.OpenSecret(k.SealedSecret, accessKeyContext(id))
	if err != nil {
		return nil, fmt.Errorf("opening the secret of access key %s: %w", id, err)
	}
	p := &person{secret: string(secret), uses: []*use{s.used(id)}}
	if k.Service != "" {
		p.principal = &iam.Principal{Account: k.Account, ARN: k.Service, Service: k.Service, Context: map[string][]string{"aws:SourceAccount": {k.Account}}}
		return p, nil
	}
	u, err := s.cfg.Records.IdentityByID(ctx, k.User)
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil // deleted in between
	}
	if err == nil {
		p.principal, err = s.principalOf(ctx, u)
	}
	if err != nil {
		return nil, err
	}
	return p, nil
}

func accessKeyContext(id string) string { return "access key " + id }

// principalOf is a user or role with its policies. Of a role it is the base of
// the sessions' principals.
func (s *Service) principalOf(ctx context.Context, i *store.Identity) (*iam.Principal, error) {
	p := &iam.Principal{Account: i.Account, ARN: s.arnOf(i), ID: i.ID, Context: map[string][]string{
		"aws:PrincipalOrgID":    {s.organization},
		"aws:PrincipalOrgPaths": {s.organization + "/" + rootOf(s.organization) + "/"},
	}}
	for _, t := range i.Tags {
		p.Context["aws:PrincipalTag/"+t.Key] = []string{t.Value}
	}
	for _, inline := range i.Inline {
		policy, err := s.policy(inline.Document)
		if err != nil {
			return nil, fmt.Errorf("reading the policy %s of %s: %w", inline.Name, p.ARN, err)
		}
		p.Policies = append(p.Policies, policy)
	}
	for _, arn := range i.Attached {
		policy, err := s.policyInForce(ctx, arn)
		if err != nil {
			return nil, err
		}
		p.Policies = append(p.Policies, policy)
	}
	var err error
	if i.Boundary != "" {
		if p.Boundary, err = s.policyInForce(ctx, i.Boundary); err != nil {
			return nil, err
		}
	}
	p.Suspended, err = s.suspended(ctx, i.Account)
	return p, err
}

func (s *Service) suspended(ctx context.Context, account string) (bool, error) {
	a, err := s.account(ctx, account)
	if err != nil {
		return false, err
	}
	return a != nil && a.Status == statusSuspended, nil
}

func (s *Service) iamARN(account, resource string) string {
	return "arn:" + s.cfg.Partition + ":iam::" + account + ":" + resource
}

func (s *Service) arnOf(i *store.Identity) string {
	return s.iamARN(i.Account, i.Kind+i.Path+i.Name)
}

// now is the time of a record.
func (s *Service) now() time.Time { return s.cfg.Now().UTC().Truncate(time.Millisecond) }

// newID makes an id as AWS' are: a prefix that tells the kind, and 16 characters.
func newID(prefix string) string { return prefix + rand.Text()[:16] }

// caller is who called, or an error outside of a call.
func (s *Service) caller(ctx context.Context) (*iam.Principal, error) {
	p := s.cfg.Caller(ctx)
	switch {
	case p == nil:
		return nil, errors.New("identity: an operation outside of a call")
	case p.Suspended:
		return nil, denied("The account %s is closed; its credentials are not accepted.", p.Account)
	}
	return p, nil
}

// also authorises one more action of the call, which an input's members need.
func (s *Service) also(ctx context.Context, p *iam.Principal, action, resource string) error {
	if d, why := iam.Authorize(&iam.Request{Principal: p, Action: action, Resource: resource, Context: s.cfg.Conditions(ctx)}, nil, ""); d != iam.Allow {
		return s.notAuthorized(p, action, resource, why.Explain(action))
	}
	return nil
}

func (s *Service) notAuthorized(p *iam.Principal, action, resource, why string) error {
	who := p.ARN
	if who == "" {
		who = p.Service
	}
	return denied("User: %s is not authorized to perform: %s on resource: %s%s", who, action, resource, why)
}
