package identity

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"chirograph.dev/internal/iam"
	"chirograph.dev/internal/keystore"
	"chirograph.dev/internal/store"
	"chirograph.dev/internal/store/sqlite"
)

const (
	management = "123456789012"
	stranger   = "210987654321"
	aws        = "arn:aws:iam::aws:policy/"
	allowAll   = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}`
	caARN      = "arn:aws:acm-pca:us-east-1:123456789012:certificate-authority/11111111-2222-3333-4444-555555555555"
)

// house is a Service on a real store, whose clock can be moved.
type house struct {
	*Service
	dir    string
	db     *sqlite.DB
	mu     sync.Mutex
	offset time.Duration
}

type callKey struct{}

// callOf is the call of a context.
type callOf struct {
	p          *iam.Principal
	conditions map[string][]string
}

func newHouse(t testing.TB) *house {
	t.Helper()
	h := &house{dir: t.TempDir()}
	h.open(t)
	t.Cleanup(func() {
		if err := h.db.Close(); err != nil {
			t.Error(err)
		}
	})
	return h
}

func (h *house) open(t testing.TB) {
	t.Helper()
	var err error
	if h.db, err = sqlite.Open(t.Context(), sqlite.Config{Path: filepath.Join(h.dir, "c.db"), Log: slog.New(slog.DiscardHandler)}); err != nil {
		t.Fatal(err)
	}
	keys, err := keystore.Open(keystore.Config{Dir: filepath.Join(h.dir, "keys"), MasterKey: keystore.MasterKey{1}})
	if err != nil {
		t.Fatal(err)
	}
	h.Service, err = New(t.Context(), Config{
		Region: "eu-west-1", Account: management, Records: h.db, Sealer: keys, Key: [32]byte{2},
		Caller: func(ctx context.Context) *iam.Principal {
			c, _ := ctx.Value(callKey{}).(*callOf)
			if c == nil {
				return nil
			}
			return c.p
		},
		Conditions: func(ctx context.Context) map[string][]string {
			c, _ := ctx.Value(callKey{}).(*callOf)
			if c == nil {
				return nil
			}
			return c.conditions
		},
		Now: func() time.Time {
			h.mu.Lock()
			defer h.mu.Unlock()
			return time.Now().Add(h.offset)
		},
	})
	if err != nil {
		t.Fatal(err)
	}
}

// restart closes the store and opens everything again.
func (h *house) restart(t testing.TB) {
	t.Helper()
	if err := h.db.Close(); err != nil {
		t.Fatal(err)
	}
	h.open(t)
}

func (h *house) pass(d time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.offset += d
}

// as is the context of a call by a principal.
func as(t testing.TB, p *iam.Principal) context.Context {
	return context.WithValue(t.Context(), callKey{}, &callOf{p: p})
}

// root may do everything in an account.
func (h *house) root(t testing.TB, account string) context.Context {
	return as(t, h.Operator(account))
}

func must[T any](v T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func wantCode(t testing.TB, err error, code string) {
	t.Helper()
	e, ok := errors.AsType[*Error](err)
	if !ok || e.Code != code {
		t.Errorf("got %v, want %s", err, code)
	}
}

// user makes a user with a key, and with policies attached or inline.
func (h *house) user(t testing.TB, account, name string, policies ...string) *AccessKey {
	t.Helper()
	ctx := h.root(t, account)
	must(h.CreateUser(ctx, &CreateUserInput{UserName: name}))(t)
	for i, p := range policies {
		if strings.HasPrefix(p, "arn:") {
			must(h.AttachUserPolicy(ctx, &AttachUserPolicyInput{UserName: name, PolicyArn: p}))(t)
		} else {
			must(h.PutUserPolicy(ctx, &PutUserPolicyInput{UserName: name, PolicyName: fmt.Sprint("p", i), PolicyDocument: p}))(t)
		}
	}
	return must(h.CreateAccessKey(ctx, &CreateAccessKeyInput{UserName: name}))(t).AccessKey
}

// principalOfKey is who signs with a key.
func (h *house) who(t testing.TB, id, token string) *iam.Principal {
	t.Helper()
	return must(h.Principal(t.Context(), id, token))(t)
}

func can(p *iam.Principal, action, resource string) bool {
	d, _ := iam.Authorize(&iam.Request{Principal: p, Action: action, Resource: resource, Context: map[string][]string{"acm-pca:TemplateArn": {"arn:aws:acm-pca:::template/EndEntityCertificate/V1"}}}, nil, "")
	return d == iam.Allow
}

func TestUsers(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	ctx := h.root(t, management)
	u := must(h.CreateUser(ctx, &CreateUserInput{UserName: "Ann", Path: "/team/x/", Tags: []Tag{{"k", "v"}}}))(t).User
	if u.Arn != "arn:aws:iam::"+management+":user/team/x/Ann" || len(u.UserId) != 20 || !strings.HasPrefix(u.UserId, "AIDA") || u.Path != "/team/x/" || !slices.Equal(u.Tags, []Tag{{"k", "v"}}) {
		t.Errorf("%+v", u)
	}
	_, err := h.CreateUser(ctx, &CreateUserInput{UserName: "ANN"})
	wantCode(t, err, "EntityAlreadyExists")
	_, err = h.CreateUser(ctx, &CreateUserInput{UserName: "x", Path: "/a b/"})
	wantCode(t, err, "ValidationError")
	_, err = h.GetUser(ctx, &GetUserInput{UserName: "nobody"})
	wantCode(t, err, "NoSuchEntity")
	_, err = h.GetUser(ctx, &GetUserInput{})
	wantCode(t, err, "ValidationError") // the caller is no user
	_, err = h.GetUser(h.root(t, stranger), &GetUserInput{UserName: "Ann"})
	wantCode(t, err, "NoSuchEntity")

	must(h.UpdateUser(ctx, &UpdateUserInput{UserName: "Ann", NewUserName: "Bea", NewPath: "/"}))(t)
	if got := must(h.GetUser(ctx, &GetUserInput{UserName: "Bea"}))(t).User; got.UserId != u.UserId || got.Arn != "arn:aws:iam::"+management+":user/Bea" || !got.CreateDate.Equal(u.CreateDate) {
		t.Errorf("%+v", got)
	}
	key := h.user(t, management, "carl", allowAll)
	if got := must(h.GetUser(as(t, h.who(t, key.AccessKeyId, "")), &GetUserInput{}))(t).User; got.UserName != "carl" {
		t.Errorf("%+v", got)
	}
	_, err = h.UpdateUser(ctx, &UpdateUserInput{UserName: "carl", NewUserName: "BEA"})
	wantCode(t, err, "EntityAlreadyExists")

	// What hangs on a user keeps it.
	must(h.AttachUserPolicy(ctx, &AttachUserPolicyInput{UserName: "carl", PolicyArn: aws + "AWSPrivateCAAuditor"}))(t)
	remove := func() error { _, err := h.DeleteUser(ctx, &DeleteUserInput{UserName: "carl"}); return err }
	wantCode(t, remove(), "DeleteConflict")
	must(h.DetachUserPolicy(ctx, &DetachUserPolicyInput{UserName: "carl", PolicyArn: aws + "AWSPrivateCAAuditor"}))(t)
	wantCode(t, remove(), "DeleteConflict")
	must(h.DeleteUserPolicy(ctx, &DeleteUserPolicyInput{UserName: "carl", PolicyName: "p0"}))(t)
	wantCode(t, remove(), "DeleteConflict")
	must(h.DeleteAccessKey(ctx, &DeleteAccessKeyInput{UserName: "carl", AccessKeyId: key.AccessKeyId}))(t)
	if err := remove(); err != nil {
		t.Error(err)
	}
	wantCode(t, remove(), "NoSuchEntity")
	_, err = h.DetachUserPolicy(ctx, &DetachUserPolicyInput{UserName: "Bea", PolicyArn: aws + "AWSPrivateCAAuditor"})
	wantCode(t, err, "NoSuchEntity")
	_, err = h.DeleteUserPolicy(ctx, &DeleteUserPolicyInput{UserName: "Bea", PolicyName: "none"})
	wantCode(t, err, "NoSuchEntity")
	if out := must(h.ListGroupsForUser(ctx, &ListGroupsForUserInput{UserName: "Bea"}))(t); len(out.Groups) != 0 {
		t.Errorf("%+v", out)
	}
}

// TestTagsNeedTheirOwnAction: one who may make users, but not tag them, could
// otherwise give a user what a policy reads from tags.
func TestTagsNeedTheirOwnAction(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	key := h.user(t, management, "maker", `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":["iam:Create*","iam:UpdateUser"],"Resource":["arn:aws:iam::*:user/made/*","arn:aws:iam::*:user/x","arn:aws:iam::*:policy/*"]}}`)
	ctx := as(t, h.who(t, key.AccessKeyId, ""))
	_, err := h.CreateUser(ctx, &CreateUserInput{UserName: "x", Path: "/made/", Tags: []Tag{{"role", "admin"}}})
	wantCode(t, err, "AccessDenied")
	_, err = h.CreatePolicy(ctx, &CreatePolicyInput{PolicyName: "x", PolicyDocument: allowAll, Tags: []Tag{{"k", ""}}})
	wantCode(t, err, "AccessDenied")
	must(h.CreateUser(ctx, &CreateUserInput{UserName: "x", Path: "/made/"}))(t)
	// Nor may a user be moved to where the caller may not reach.
	_, err = h.UpdateUser(ctx, &UpdateUserInput{UserName: "x", NewPath: "/admins/"})
	wantCode(t, err, "AccessDenied")

	// Resources are named with their paths.
	if arn, _, err := h.Resource(t.Context(), &DeleteUserInput{UserName: "x"}, h.Operator(management)); err != nil || arn != "arn:aws:iam::"+management+":user/made/x" {
		t.Errorf("%s, %v", arn, err)
	}
	if arn, _, err := h.Resource(t.Context(), &DeleteUserInput{UserName: "none"}, h.Operator(management)); err != nil || arn != "arn:aws:iam::"+management+":user/none" {
		t.Errorf("%s, %v", arn, err)
	}
}

func TestTags(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	ctx := h.root(t, management)
	must(h.CreateUser(ctx, &CreateUserInput{UserName: "u", Tags: []Tag{{"Team", "a"}, {"env", ""}}}))(t)
	must(h.TagUser(ctx, &TagUserInput{UserName: "u", Tags: []Tag{{"team", "b"}}}))(t) // keys differ in case alone
	must(h.UntagUser(ctx, &UntagUserInput{UserName: "u", TagKeys: []string{"ENV", "none"}}))(t)
	if out := must(h.ListUserTags(ctx, &ListUserTagsInput{UserName: "u"}))(t); !slices.Equal(out.Tags, []Tag{{"team", "b"}}) {
		t.Errorf("%+v", out)
	}
	for _, tags := range [][]Tag{{{"aws:x", ""}}, {{"a", ""}, {"A", ""}}} {
		_, err := h.TagUser(ctx, &TagUserInput{UserName: "u", Tags: tags})
		wantCode(t, err, "InvalidInput")
	}
	var many []Tag
	for i := range maxTags {
		many = append(many, Tag{fmt.Sprint("k", i), ""})
	}
	_, err := h.TagUser(ctx, &TagUserInput{UserName: "u", Tags: many})
	wantCode(t, err, "LimitExceeded")
	key := must(h.CreateAccessKey(ctx, &CreateAccessKeyInput{UserName: "u"}))(t).AccessKey
	if p := h.who(t, key.AccessKeyId, ""); !slices.Equal(p.Context["aws:PrincipalTag/team"], []string{"b"}) {
		t.Errorf("%+v", p.Context)
	}
}

// TestKeys: a key is what its user is, at the very next request.
func TestKeys(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	ctx := h.root(t, management)
	key := h.user(t, management, "u", aws+"AWSPrivateCAAuditor")
	if len(key.AccessKeyId) != 20 || !strings.HasPrefix(key.AccessKeyId, "AKIA") || len(key.SecretAccessKey) != 40 || key.Status != "Active" {
		t.Errorf("%+v", key)
	}
	if secret, ok, err := h.Secret(t.Context(), key.AccessKeyId); err != nil || !ok || secret != key.SecretAccessKey {
		t.Errorf("%s, %v, %v", secret, ok, err)
	}
	valid := func() bool {
		_, ok, err := h.Secret(t.Context(), key.AccessKeyId)
		p, perr := h.Principal(t.Context(), key.AccessKeyId, "")
		if err != nil || ok != (p != nil) || !ok && !errors.Is(perr, iam.ErrInvalidToken) {
			t.Errorf("%v, %v, %v, %v", ok, err, p, perr)
		}
		return ok
	}
	p := h.who(t, key.AccessKeyId, "")
	if p.ARN != "arn:aws:iam::"+management+":user/u" || !strings.HasPrefix(p.ID, "AIDA") || p.Account != management || p.Context["aws:PrincipalOrgID"][0] != h.organization || !p.Expires.IsZero() {
		t.Errorf("%+v", p)
	}
	if h.who(t, key.AccessKeyId, "") != p {
		t.Error("the principal is made anew for every request")
	}
	if !can(p, "acm-pca:GetCertificate", caARN) || can(p, "acm-pca:IssueCertificate", caARN) {
		t.Error("the policy is not in force")
	}
	must(h.DetachUserPolicy(ctx, &DetachUserPolicyInput{UserName: "u", PolicyArn: aws + "AWSPrivateCAAuditor"}))(t)
	if can(h.who(t, key.AccessKeyId, ""), "acm-pca:GetCertificate", caARN) {
		t.Error("the policy is in force after it was detached")
	}
	set := func(status string) {
		must(h.UpdateAccessKey(ctx, &UpdateAccessKeyInput{UserName: "u", AccessKeyId: key.AccessKeyId, Status: status}))(t)
	}
	if set("Inactive"); valid() {
		t.Error("an inactive key is good")
	}
	if set("Active"); !valid() {
		t.Error("an active key is not good")
	}
	if _, err := h.Principal(t.Context(), key.AccessKeyId, "token"); !errors.Is(err, iam.ErrInvalidToken) {
		t.Errorf("a token beside a long-lived key: %v", err)
	}
	second := must(h.CreateAccessKey(ctx, &CreateAccessKeyInput{UserName: "u"}))(t).AccessKey
	_, err := h.CreateAccessKey(ctx, &CreateAccessKeyInput{UserName: "u"})
	wantCode(t, err, "LimitExceeded")
	if list := must(h.ListAccessKeys(ctx, &ListAccessKeysInput{UserName: "u"}))(t); len(list.AccessKeyMetadata) != 2 || list.IsTruncated {
		t.Errorf("%+v", list)
	}
	// A key of one user cannot be reached by the name of another.
	must(h.CreateUser(ctx, &CreateUserInput{UserName: "v"}))(t)
	_, err = h.DeleteAccessKey(ctx, &DeleteAccessKeyInput{UserName: "v", AccessKeyId: key.AccessKeyId})
	wantCode(t, err, "NoSuchEntity")
	must(h.DeleteAccessKey(ctx, &DeleteAccessKeyInput{UserName: "u", AccessKeyId: key.AccessKeyId}))(t)
	if valid() {
		t.Error("a deleted key is good")
	}
	if _, ok, err := h.Secret(t.Context(), "AKIANOBODY"); ok || err != nil {
		t.Errorf("%v, %v", ok, err)
	}

	// When a key was used last.
	last := func() *AccessKeyLastUsed {
		return must(h.GetAccessKeyLastUsed(ctx, &GetAccessKeyLastUsedInput{AccessKeyId: second.AccessKeyId}))(t).AccessKeyLastUsed
	}
	if l := last(); l.ServiceName != "N/A" || !l.LastUsedDate.IsZero() {
		t.Errorf("%+v", l)
	}
	must(h.For("s3").Principal(t.Context(), second.AccessKeyId, ""))(t)
	want := last()
	if want.ServiceName != "s3" || want.Region != "eu-west-1" || want.LastUsedDate.IsZero() {
		t.Errorf("%+v", want)
	}
	stopped, stop := context.WithCancel(t.Context())
	stop()
	if err := h.Run(stopped); err != nil {
		t.Fatal(err)
	}
	h.restart(t)
	if l := last(); *l != *want {
		t.Errorf("%+v, before %+v", l, want)
	}
	if secret, ok, err := h.Secret(t.Context(), second.AccessKeyId); err != nil || !ok || secret != second.SecretAccessKey {
		t.Errorf("after a restart: %v, %v", ok, err)
	}
	_, err = h.GetAccessKeyLastUsed(h.root(t, stranger), &GetAccessKeyLastUsedInput{AccessKeyId: second.AccessKeyId})
	wantCode(t, err, "NoSuchEntity")
}

// TestKeysUnderLoad: while requests go on, nobody sees an old principal after
// the change of it was answered.
func TestKeysUnderLoad(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	ctx := h.root(t, management)
	key := h.user(t, management, "u")
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					if _, err := h.Principal(t.Context(), key.AccessKeyId, ""); err != nil {
						t.Error(err)
						return
					}
				}
			}
		})
	}
	for range 20 {
		must(h.AttachUserPolicy(ctx, &AttachUserPolicyInput{UserName: "u", PolicyArn: aws + "AdministratorAccess"}))(t)
		if !can(h.who(t, key.AccessKeyId, ""), "s3:GetObject", "arn:aws:s3:::b/k") {
			t.Fatal("not allowed after the policy was attached")
		}
		must(h.DetachUserPolicy(ctx, &DetachUserPolicyInput{UserName: "u", PolicyArn: aws + "AdministratorAccess"}))(t)
		if can(h.who(t, key.AccessKeyId, ""), "s3:GetObject", "arn:aws:s3:::b/k") {
			t.Fatal("allowed after the policy was detached")
		}
	}
	close(stop)
	wg.Wait()
}

func TestManagedPolicies(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	ctx := h.root(t, management)
	p := must(h.CreatePolicy(ctx, &CreatePolicyInput{PolicyName: "Readers", Path: "/a/", PolicyDocument: `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"s3:Get*","Resource":"*"}}`, Description: "d"}))(t).Policy
	if p.Arn != "arn:aws:iam::"+management+":policy/a/Readers" || p.DefaultVersionId != "v1" || !strings.HasPrefix(p.PolicyId, "ANPA") || !p.IsAttachable {
		t.Errorf("%+v", p)
	}
	_, err := h.CreatePolicy(ctx, &CreatePolicyInput{PolicyName: "readers", PolicyDocument: allowAll})
	wantCode(t, err, "EntityAlreadyExists")
	for _, document := range []string{
		``, `{}`, `[]`, `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:*"}]}`,
		`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:*","Resource":"*","Condition":{"StringIs":{"aws:username":"x"}}}]}`,
		`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:*","Resource":"*","Condition":{"StringEquals":{"aws:NoSuchKey":"x"}}}]}`,
		`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":"*","Action":"s3:*","Resource":"*"}]}`,
	} {
		_, err := h.CreatePolicy(ctx, &CreatePolicyInput{PolicyName: "bad", PolicyDocument: document})
		wantCode(t, err, "MalformedPolicyDocument")
		_, err = h.CreatePolicyVersion(ctx, &CreatePolicyVersionInput{PolicyArn: p.Arn, PolicyDocument: document})
		wantCode(t, err, "MalformedPolicyDocument")
	}
	long := strings.Replace(allowAll, `"*"`, `["`+strings.Repeat(`s3:GetObject","`, 600)+`*"]`, 1)
	_, err = h.CreatePolicy(ctx, &CreatePolicyInput{PolicyName: "long", PolicyDocument: long})
	wantCode(t, err, "LimitExceeded")

	key := h.user(t, management, "u", p.Arn)
	may := func(action string) bool { return can(h.who(t, key.AccessKeyId, ""), action, "arn:aws:s3:::b/k") }
	if !may("s3:GetObject") || may("s3:PutObject") {
		t.Error("v1 is not in force")
	}
	v := must(h.CreatePolicyVersion(ctx, &CreatePolicyVersionInput{PolicyArn: p.Arn, PolicyDocument: `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"s3:Put*","Resource":"*"}}`}))(t).PolicyVersion
	if v.VersionId != "v2" || v.IsDefaultVersion || may("s3:PutObject") {
		t.Errorf("%+v", v)
	}
	must(h.SetDefaultPolicyVersion(ctx, &SetDefaultPolicyVersionInput{PolicyArn: p.Arn, VersionId: "v2"}))(t)
	if may("s3:GetObject") || !may("s3:PutObject") {
		t.Error("v2 is not in force")
	}
	_, err = h.DeletePolicyVersion(ctx, &DeletePolicyVersionInput{PolicyArn: p.Arn, VersionId: "v2"})
	wantCode(t, err, "DeleteConflict")
	_, err = h.DeletePolicyVersion(ctx, &DeletePolicyVersionInput{PolicyArn: p.Arn, VersionId: "v9"})
	wantCode(t, err, "NoSuchEntity")
	for range 3 {
		must(h.CreatePolicyVersion(ctx, &CreatePolicyVersionInput{PolicyArn: p.Arn, PolicyDocument: allowAll}))(t)
	}
	_, err = h.CreatePolicyVersion(ctx, &CreatePolicyVersionInput{PolicyArn: p.Arn, PolicyDocument: allowAll})
	wantCode(t, err, "LimitExceeded")
	must(h.DeletePolicyVersion(ctx, &DeletePolicyVersionInput{PolicyArn: p.Arn, VersionId: "v5"}))(t)
	if v := must(h.CreatePolicyVersion(ctx, &CreatePolicyVersionInput{PolicyArn: p.Arn, PolicyDocument: allowAll, SetAsDefault: true}))(t).PolicyVersion; v.VersionId != "v6" || !v.IsDefaultVersion {
		t.Errorf("a number was given twice, or the default is another: %+v", v)
	}
	list := must(h.ListPolicyVersions(ctx, &ListPolicyVersionsInput{PolicyArn: p.Arn, Page: Page{MaxItems: 2}}))(t)
	rest := must(h.ListPolicyVersions(ctx, &ListPolicyVersionsInput{PolicyArn: p.Arn, Page: Page{Marker: list.Marker}}))(t)
	var names []string
	for _, v := range append(list.Versions, rest.Versions...) {
		names = append(names, v.VersionId)
	}
	if strings.Join(names, " ") != "v6 v4 v3 v2 v1" {
		t.Errorf("%v", names)
	}
	if got := must(h.GetPolicyVersion(ctx, &GetPolicyVersionInput{PolicyArn: p.Arn, VersionId: "v3"}))(t).PolicyVersion; got.Document != allowAll {
		t.Errorf("%+v", got)
	}
	if got := must(h.GetPolicy(ctx, &GetPolicyInput{PolicyArn: p.Arn}))(t).Policy; got.AttachmentCount != 1 || got.DefaultVersionId != "v6" {
		t.Errorf("%+v", got)
	}
	entities := must(h.ListEntitiesForPolicy(ctx, &ListEntitiesForPolicyInput{PolicyArn: p.Arn}))(t)
	if len(entities.PolicyUsers) != 1 || entities.PolicyUsers[0].UserName != "u" {
		t.Errorf("%+v", entities)
	}
	drop := func() error { _, err := h.DeletePolicy(ctx, &DeletePolicyInput{PolicyArn: p.Arn}); return err }
	wantCode(t, drop(), "DeleteConflict") // versions
	for _, v := range names[1:] {
		must(h.DeletePolicyVersion(ctx, &DeletePolicyVersionInput{PolicyArn: p.Arn, VersionId: v}))(t)
	}
	wantCode(t, drop(), "DeleteConflict") // attached
	must(h.DetachUserPolicy(ctx, &DetachUserPolicyInput{UserName: "u", PolicyArn: p.Arn}))(t)
	if err := drop(); err != nil {
		t.Error(err)
	}
	wantCode(t, drop(), "NoSuchEntity")

	// AWS' own, and those of others.
	for arn, code := range map[string]string{
		aws + "AWSPrivateCAAuditor":                            "AccessDenied",
		aws + "NoSuchPolicy":                                   "NoSuchEntity",
		"arn:aws:iam::" + stranger + ":policy/x":               "NoSuchEntity",
		"arn:aws:s3:::bucket":                                  "InvalidInput",
		"arn:aws:iam::" + management + ":policy/none":          "NoSuchEntity",
		"arn:aws:iam::" + management + ":user/not-a-policy-xx": "InvalidInput",
	} {
		_, err := h.DeletePolicy(ctx, &DeletePolicyInput{PolicyArn: arn})
		wantCode(t, err, code)
		if code != "AccessDenied" {
			_, err = h.AttachUserPolicy(ctx, &AttachUserPolicyInput{UserName: "u", PolicyArn: arn})
			wantCode(t, err, code)
		}
	}
	n := 0
	for arn := range h.managed {
		_, err := h.AttachUserPolicy(ctx, &AttachUserPolicyInput{UserName: "u", PolicyArn: arn})
		if n++; n > maxAttached {
			wantCode(t, err, "LimitExceeded")
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
	attached := must(h.ListAttachedUserPolicies(ctx, &ListAttachedUserPoliciesInput{UserName: "u", Page: Page{MaxItems: 4}}))(t)
	if len(attached.AttachedPolicies) != 4 || !attached.IsTruncated {
		t.Errorf("%+v", attached)
	}
}

// TestPages: every list comes whole and in order, whatever its pages, and a
// marker is good for the list it came from alone.
func TestPages(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	ctx := h.root(t, management)
	var want []string
	for i := range 7 {
		name := fmt.Sprintf("user%d", i)
		path := "/even/"
		if i%2 == 1 {
			path = "/odd/"
		}
		must(h.CreateUser(ctx, &CreateUserInput{UserName: name, Path: path}))(t)
		must(h.CreatePolicy(ctx, &CreatePolicyInput{PolicyName: name, PolicyDocument: allowAll}))(t)
		want = append(want, name)
	}
	for size := 1; size < 9; size++ {
		var got []string
		in := &ListUsersInput{Page: Page{MaxItems: size}}
		for {
			out := must(h.ListUsers(ctx, in))(t)
			for _, u := range out.Users {
				got = append(got, u.UserName)
			}
			if in.Marker = out.Marker; !out.IsTruncated {
				break
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("pages of %d: %v", size, got)
		}
		got = nil
		policies := &ListPoliciesInput{Page: Page{MaxItems: size}}
		for {
			out := must(h.ListPolicies(ctx, policies))(t)
			for _, p := range out.Policies {
				got = append(got, p.PolicyName)
			}
			if policies.Marker = out.Marker; !out.IsTruncated {
				break
			}
		}
		if len(got) != len(h.managed)+7 || !slices.Equal(got[len(h.managed):], want) {
			t.Errorf("pages of %d: %v", size, got)
		}
	}
	odd := must(h.ListUsers(ctx, &ListUsersInput{PathPrefix: "/odd/", Page: Page{MaxItems: 3}}))(t)
	if len(odd.Users) != 3 || odd.IsTruncated {
		t.Errorf("%+v", odd)
	}
	first := must(h.ListUsers(ctx, &ListUsersInput{Page: Page{MaxItems: 1}}))(t)
	for _, in := range []*ListUsersInput{
		{Page: Page{Marker: "user3"}}, {Page: Page{Marker: first.Marker[:len(first.Marker)-4] + "AAA="}}, {PathPrefix: "/odd/", Page: Page{Marker: first.Marker}},
	} {
		_, err := h.ListUsers(ctx, in)
		wantCode(t, err, "ValidationError")
	}
	_, err := h.ListUsers(h.root(t, stranger), &ListUsersInput{Page: Page{Marker: first.Marker}})
	wantCode(t, err, "ValidationError")
	_, err = h.ListRoles(ctx, &ListRolesInput{Page: Page{Marker: first.Marker}})
	wantCode(t, err, "ValidationError")
	if out := must(h.ListPolicies(ctx, &ListPoliciesInput{Scope: "AWS", OnlyAttached: true}))(t); len(out.Policies) != 0 {
		t.Errorf("%+v", out)
	}
	if out := must(h.ListPolicies(ctx, &ListPoliciesInput{Scope: "Local"}))(t); len(out.Policies) != 7 {
		t.Errorf("%+v", out)
	}
}

func TestRolesAndBoundaries(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	ctx := h.root(t, management)
	for _, trust := range []string{`{}`, allowAll,
		trusting(`{"AWS":"rich"}`, ""), trusting(`{"AWS":["123456789012","12"]}`, ""), trusting(`{"AWS":"arn:aws:iam::12:root"}`, ""), trusting(`{"AWS":"arn:aws:iam::123456789012:user/*"}`, ""),
		`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"123456789012"},"Action":"s3:GetObject"}]}`,
		`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"123456789012"},"Action":"sts:AssumeRole","Resource":"*"}]}`,
		`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"123456789012"},"Action":"sts:AssumeRole","Condition":{"StringEquals":{"sts:Externalid2":"x"}}}]}`,
	} {
		_, err := h.CreateRole(ctx, &CreateRoleInput{RoleName: "r", AssumeRolePolicyDocument: trust})
		wantCode(t, err, "MalformedPolicyDocument")
	}
	trust := trusting(`{"AWS":"123456789012"}`, "")
	r := must(h.CreateRole(ctx, &CreateRoleInput{RoleName: "r", Path: "/p/", AssumeRolePolicyDocument: trust, Description: "d"}))(t).Role
	if r.Arn != "arn:aws:iam::"+management+":role/p/r" || r.MaxSessionDuration != 3600 || !strings.HasPrefix(r.RoleId, "AROA") || r.AssumeRolePolicyDocument != trust {
		t.Errorf("%+v", r)
	}
	must(h.UpdateRole(ctx, &UpdateRoleInput{RoleName: "r", MaxSessionDuration: 7200}))(t)
	if got := must(h.GetRole(ctx, &GetRoleInput{RoleName: "r"}))(t).Role; got.MaxSessionDuration != 7200 || got.Description != "d" {
		t.Errorf("%+v", got)
	}
	must(h.PutRolePolicy(ctx, &PutRolePolicyInput{RoleName: "r", PolicyName: "p", PolicyDocument: allowAll}))(t)
	if got := must(h.GetRolePolicy(ctx, &GetRolePolicyInput{RoleName: "r", PolicyName: "p"}))(t); got.PolicyDocument != allowAll {
		t.Errorf("%+v", got)
	}
	_, err := h.DeleteRole(ctx, &DeleteRoleInput{RoleName: "r"})
	wantCode(t, err, "DeleteConflict")
	must(h.DeleteRolePolicy(ctx, &DeleteRolePolicyInput{RoleName: "r", PolicyName: "p"}))(t)
	must(h.DeleteRole(ctx, &DeleteRoleInput{RoleName: "r"}))(t)

	boundary := must(h.CreatePolicy(ctx, &CreatePolicyInput{PolicyName: "b", PolicyDocument: `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"s3:*","Resource":"*"}}`}))(t).Policy.Arn
	_, err = h.CreateUser(ctx, &CreateUserInput{UserName: "u", PermissionsBoundary: boundary + "x"})
	wantCode(t, err, "NoSuchEntity")
	u := must(h.CreateUser(ctx, &CreateUserInput{UserName: "u", PermissionsBoundary: boundary}))(t).User
	if u.PermissionsBoundary == nil || u.PermissionsBoundary.PermissionsBoundaryArn != boundary {
		t.Errorf("%+v", u)
	}
	must(h.AttachUserPolicy(ctx, &AttachUserPolicyInput{UserName: "u", PolicyArn: aws + "AdministratorAccess"}))(t)
	key := must(h.CreateAccessKey(ctx, &CreateAccessKeyInput{UserName: "u"}))(t).AccessKey
	p := h.who(t, key.AccessKeyId, "")
	if !can(p, "s3:GetObject", "arn:aws:s3:::b/k") || can(p, "acm-pca:GetCertificate", caARN) {
		t.Error("the boundary does not limit")
	}
	_, err = h.DeletePolicy(ctx, &DeletePolicyInput{PolicyArn: boundary})
	wantCode(t, err, "DeleteConflict")
	must(h.DeleteUserPermissionsBoundary(ctx, &DeleteUserPermissionsBoundaryInput{UserName: "u"}))(t)
	if !can(h.who(t, key.AccessKeyId, ""), "acm-pca:GetCertificate", caARN) {
		t.Error("the boundary limits after it was taken away")
	}
	_, err = h.DeleteUserPermissionsBoundary(ctx, &DeleteUserPermissionsBoundaryInput{UserName: "u"})
	wantCode(t, err, "NoSuchEntity")
	_, err = h.PutUserPolicy(ctx, &PutUserPolicyInput{UserName: "u", PolicyName: "long", PolicyDocument: strings.Replace(allowAll, `"*"`, `["`+strings.Repeat(`s3:GetObject","`, 150)+`*"]`, 1)})
	wantCode(t, err, "LimitExceeded")
	if out := must(h.GetAccountSummary(ctx, &GetAccountSummaryInput{}))(t); out.SummaryMap["Users"] != 1 || out.SummaryMap["Policies"] != 1 {
		t.Errorf("%v", out)
	}
	simulated := must(h.SimulatePrincipalPolicy(ctx, &SimulatePrincipalPolicyInput{PolicySourceArn: u.Arn, ActionNames: []string{"acm-pca:GetCertificate", "s3:GetObject"}}))(t)
	if len(simulated.EvaluationResults) != 2 || simulated.EvaluationResults[0].EvalDecision != "allowed" {
		t.Errorf("%+v", simulated)
	}
}

func TestOrganization(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	ctx := h.root(t, management)
	org := must(h.DescribeOrganization(ctx, &DescribeOrganizationInput{}))(t).Organization
	if org.MasterAccountId != management || len(org.Id) != 12 {
		t.Errorf("%+v", org)
	}
	status := must(h.CreateAccount(ctx, &CreateAccountInput{AccountName: "Team", Email: "team@example.com"}))(t).CreateAccountStatus
	if status.State != "SUCCEEDED" || len(status.AccountId) != 12 || !strings.HasPrefix(status.Id, "car-") {
		t.Fatalf("%+v", status)
	}
	id := status.AccountId
	if again := must(h.CreateAccount(ctx, &CreateAccountInput{AccountName: "Team", Email: "TEAM@example.com"}))(t).CreateAccountStatus; again.State != "FAILED" || again.FailureReason != "EMAIL_ALREADY_EXISTS" {
		t.Errorf("%+v", again)
	}
	if got := must(h.DescribeCreateAccountStatus(ctx, &DescribeCreateAccountStatusInput{CreateAccountRequestId: status.Id}))(t).CreateAccountStatus; *got != *status {
		t.Errorf("%+v", got)
	}
	if list := must(h.ListCreateAccountStatus(ctx, &ListCreateAccountStatusInput{States: []string{"FAILED"}}))(t); len(list.CreateAccountStatuses) != 1 {
		t.Errorf("%+v", list)
	}
	list := must(h.ListAccounts(ctx, &ListAccountsInput{MaxResults: 1}))(t)
	rest := must(h.ListAccounts(ctx, &ListAccountsInput{NextToken: list.NextToken}))(t)
	if len(list.Accounts) != 1 || len(rest.Accounts) != 1 || rest.NextToken != "" {
		t.Errorf("%+v, %+v", list, rest)
	}
	_, err := h.ListAccounts(ctx, &ListAccountsInput{NextToken: "x"})
	wantCode(t, err, "InvalidInputException")

	// The management account comes in through the role; nobody else does.
	role := "arn:aws:iam::" + id + ":role/OrganizationAccountAccessRole"
	admin := h.user(t, management, "boss", aws+"AdministratorAccess")
	c := must(h.AssumeRole(as(t, h.who(t, admin.AccessKeyId, "")), &AssumeRoleInput{RoleArn: role, RoleSessionName: "in"}))(t).Credentials
	inside := h.who(t, c.AccessKeyId, c.SessionToken)
	if inside.Account != id || !can(inside, "iam:CreateUser", "*") {
		t.Errorf("%+v", inside)
	}
	other := must(h.CreateAccount(ctx, &CreateAccountInput{AccountName: "Other", Email: "other@example.com"}))(t).CreateAccountStatus.AccountId
	outsider := h.user(t, other, "boss", aws+"AdministratorAccess")
	_, err = h.AssumeRole(as(t, h.who(t, outsider.AccessKeyId, "")), &AssumeRoleInput{RoleArn: role, RoleSessionName: "in"})
	wantCode(t, err, "AccessDenied")
	for _, f := range []func(context.Context) error{
		func(ctx context.Context) error { _, err := h.ListAccounts(ctx, &ListAccountsInput{}); return err },
		func(ctx context.Context) error {
			_, err := h.CreateAccount(ctx, &CreateAccountInput{AccountName: "x", Email: "x@example.com"})
			return err
		},
		func(ctx context.Context) error {
			_, err := h.CloseAccount(ctx, &CloseAccountInput{AccountId: id})
			return err
		},
	} {
		wantCode(t, f(as(t, inside)), "AccessDeniedException")
	}

	// A closed account may do nothing, and says why.
	key := h.user(t, id, "member", aws+"AdministratorAccess")
	must(h.CloseAccount(ctx, &CloseAccountInput{AccountId: id}))(t)
	for _, p := range []*iam.Principal{h.who(t, key.AccessKeyId, ""), h.who(t, c.AccessKeyId, c.SessionToken)} {
		d, why := iam.Authorize(&iam.Request{Principal: p, Action: "s3:GetObject", Resource: "*"}, nil, "")
		if d == iam.Allow || !strings.Contains(why.Explain("x"), "closed") {
			t.Errorf("%v, %s", d, why.Explain("x"))
		}
		_, err := h.GetCallerIdentity(as(t, p), &GetCallerIdentityInput{})
		wantCode(t, err, "AccessDenied")
	}
	_, err = h.AssumeRole(as(t, h.who(t, admin.AccessKeyId, "")), &AssumeRoleInput{RoleArn: role, RoleSessionName: "in"})
	wantCode(t, err, "AccessDenied")
	_, err = h.CloseAccount(ctx, &CloseAccountInput{AccountId: id})
	wantCode(t, err, "AccountAlreadyClosedException")
	_, err = h.CloseAccount(ctx, &CloseAccountInput{AccountId: management})
	wantCode(t, err, "ConstraintViolationException")
	_, err = h.DescribeAccount(ctx, &DescribeAccountInput{AccountId: "999999999999"})
	wantCode(t, err, "AccountNotFoundException")
	if a := must(h.DescribeAccount(ctx, &DescribeAccountInput{AccountId: id}))(t).Account; a.Status != "SUSPENDED" || a.Email != "team@example.com" {
		t.Errorf("%+v", a)
	}
	h.restart(t)
	if again := must(h.DescribeOrganization(ctx, &DescribeOrganizationInput{}))(t).Organization; again.Id != org.Id {
		t.Errorf("the organization is another after a restart")
	}
}

// TestAdministrator: the first start makes one, and whoever locked everybody
// out gets in again.
func TestAdministrator(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	ctx := h.root(t, management)
	ensure := func() (id string, ok bool) {
		t.Helper()
		if err := h.EnsureAdministrator(t.Context()); err != nil {
			t.Fatal(err)
		}
		id, _, ok, err := h.AdministratorKey(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return id, ok
	}
	works := func(id string) {
		t.Helper()
		if p := h.who(t, id, ""); p.ARN != "arn:aws:iam::"+management+":user/admin" || !can(p, "anything:AtAll", "*") {
			t.Errorf("%+v", p)
		}
	}
	first, ok := ensure()
	if works(first); !ok {
		t.Error("no key")
	}
	if again, _ := ensure(); again != first {
		t.Error("a second start made another key")
	}
	must(h.DeleteAccessKey(ctx, &DeleteAccessKeyInput{UserName: "admin", AccessKeyId: first}))(t)
	if id, ok := ensure(); ok || id != first {
		t.Errorf("a deleted key came back: %s, %v", id, ok)
	}
	reset := func() string {
		t.Helper()
		if err := h.ResetAdministrator(t.Context()); err != nil {
			t.Fatal(err)
		}
		id, ok := ensure()
		if !ok {
			t.Error("no key")
		}
		works(id)
		return id
	}
	second := reset()
	// Without its policy, under a Deny, and behind a boundary.
	must(h.DetachUserPolicy(ctx, &DetachUserPolicyInput{UserName: "admin", PolicyArn: aws + "AdministratorAccess"}))(t)
	must(h.PutUserPolicy(ctx, &PutUserPolicyInput{UserName: "admin", PolicyName: "d", PolicyDocument: strings.Replace(allowAll, "Allow", "Deny", 1)}))(t)
	must(h.PutUserPermissionsBoundary(ctx, &PutUserPermissionsBoundaryInput{UserName: "admin", PermissionsBoundary: aws + "AWSPrivateCAAuditor"}))(t)
	third := reset()
	if third == second {
		t.Error("the key is not fresh")
	}
	works(second) // there was room for both
	reset()
	for _, id := range []string{second, third} {
		if _, err := h.Principal(t.Context(), id, ""); !errors.Is(err, iam.ErrInvalidToken) {
			t.Errorf("of two keys %s is left: %v", id, err)
		}
	}
	// Without the user.
	id, _ := ensure()
	must(h.DeleteAccessKey(ctx, &DeleteAccessKeyInput{UserName: "admin", AccessKeyId: id}))(t)
	must(h.DetachUserPolicy(ctx, &DetachUserPolicyInput{UserName: "admin", PolicyArn: aws + "AdministratorAccess"}))(t)
	must(h.DeleteUser(ctx, &DeleteUserInput{UserName: "admin"}))(t)
	reset()
}

func TestServicePrincipals(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	id, secret, err := h.ServiceKey(t.Context(), "acm.amazonaws.com")
	if err != nil {
		t.Fatal(err)
	}
	if again, same, err := h.ServiceKey(t.Context(), "acm.amazonaws.com"); err != nil || again != id || same != secret {
		t.Errorf("%s, %v", again, err)
	}
	p := h.who(t, id, "")
	if p.Service != "acm.amazonaws.com" || can(p, "acm-pca:IssueCertificate", caARN) {
		t.Errorf("%+v", p)
	}
	policy, err := iam.ParseResourcePolicy([]byte(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"acm.amazonaws.com"},"Action":"acm-pca:IssueCertificate","Resource":"*","Condition":{"StringEquals":{"aws:SourceAccount":"123456789012"}}}]}`))
	if err != nil {
		t.Fatal(err)
	}
	if d, _ := iam.Authorize(&iam.Request{Principal: p, Action: "acm-pca:IssueCertificate", Resource: caARN}, policy, management); d != iam.Allow {
		t.Error("a resource cannot grant it anything")
	}
	if err := h.DropServiceKeys(t.Context(), []string{"acm.amazonaws.com"}); err != nil {
		t.Fatal(err)
	}
	h.who(t, id, "")
	if err := h.DropServiceKeys(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	if _, err := h.Principal(t.Context(), id, ""); !errors.Is(err, iam.ErrInvalidToken) {
		t.Errorf("%v", err)
	}
}

// TestOutsideOfCalls: no operation works without a caller.
func TestOutsideOfCalls(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	if _, err := h.CreateUser(t.Context(), &CreateUserInput{UserName: "u"}); err == nil {
		t.Error("a user was made by nobody")
	}
	if _, err := h.db.Identity(t.Context(), management, store.KindUser, "u"); !errors.Is(err, store.ErrNotFound) {
		t.Error(err)
	}
}

// BenchmarkPrincipal is what finding the caller adds to a request.
func BenchmarkPrincipal(b *testing.B) {
	h := newHouse(b)
	key := h.user(b, management, "u", aws+"AdministratorAccess")
	role := h.newRole(b, management, "r", trusting(`{"AWS":"123456789012"}`, ""), aws+"AdministratorAccess")
	c := must(h.AssumeRole(as(b, h.who(b, key.AccessKeyId, "")), &AssumeRoleInput{RoleArn: role, RoleSessionName: "s-1"}))(b).Credentials
	for name, who := range map[string][2]string{"key": {key.AccessKeyId, ""}, "session": {c.AccessKeyId, c.SessionToken}} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, ok, err := h.Secret(b.Context(), who[0]); !ok || err != nil {
					b.Fatal(ok, err)
				}
				if _, err := h.Principal(b.Context(), who[0], who[1]); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	b.Run("new session", func(b *testing.B) {
		for b.Loop() {
			h.changed()
			if _, err := h.Principal(b.Context(), c.AccessKeyId, c.SessionToken); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// TestBoundaryOfResource: who may give rights to those with a boundary alone,
// gives none to others, and does not make one up in the request.
func TestBoundaryOfResource(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	ctx := h.root(t, management)
	boundary := aws + "AWSPrivateCAReadOnly"
	must(h.CreateUser(ctx, &CreateUserInput{UserName: "bounded", PermissionsBoundary: boundary}))(t)
	must(h.CreateUser(ctx, &CreateUserInput{UserName: "free"}))(t)
	for _, row := range []struct {
		in interface {
			Resource(partition string, caller *iam.Principal) string
		}
		want string
	}{
		{&AttachUserPolicyInput{UserName: "bounded"}, boundary},
		{&PutUserPolicyInput{UserName: "bounded"}, boundary},
		{&DeleteUserPermissionsBoundaryInput{UserName: "bounded"}, boundary},
		{&AttachUserPolicyInput{UserName: "free"}, ""},
		{&AttachUserPolicyInput{UserName: "none"}, ""},
		// These say by themselves which boundary there is to be.
		{&PutUserPermissionsBoundaryInput{UserName: "bounded", PermissionsBoundary: aws + "AdministratorAccess"}, ""},
		{&CreateUserInput{UserName: "bounded"}, ""},
	} {
		_, conditions, err := h.Resource(ctx, row.in, h.Operator(management))
		if got := strings.Join(conditions["iam:PermissionsBoundary"], " "); err != nil || got != row.want {
			t.Errorf("%T: %q, %v, want %q", row.in, got, err, row.want)
		}
	}
}

// TestSimulationEnds: a simulation stops with whoever asked for it.
func TestSimulationEnds(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.user(t, management, "u", allowAll)
	ctx, cancel := context.WithCancel(h.root(t, management))
	in := &SimulatePrincipalPolicyInput{PolicySourceArn: "arn:aws:iam::" + management + ":user/u", ActionNames: []string{"s3:GetObject"}}
	must(h.SimulatePrincipalPolicy(ctx, in))(t)
	// The store is asked before; what is cancelled is the simulation.
	h.Service.cfg.Conditions = func(context.Context) map[string][]string { cancel(); return nil }
	_, err := h.SimulatePrincipalPolicy(ctx, in)
	wantCode(t, err, "PolicyEvaluation")
}
