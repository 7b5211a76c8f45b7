package storetest

import (
	"errors"
	"fmt"
	"reflect"
	"sync"
	"testing"
	"time"

	"chirograph.dev/internal/store"
)

const account = "123456789012"

func newIdentity(kind, name string) *store.Identity {
	return &store.Identity{
		ID: "ID-" + kind + name, Kind: kind, Account: account, Name: name, Path: "/a/", Trust: "{}", Description: "d", MaxSession: time.Hour,
		Inline:    []store.InlinePolicy{{Name: "a", Document: "{}"}, {Name: "b", Document: `{"x":"ü"}`}},
		Attached:  []string{"arn:aws:iam::aws:policy/A", "arn:aws:iam::aws:policy/B"},
		Tags:      []store.IdentityTag{{Key: "k", Value: "v"}, {Key: "l"}},
		CreatedAt: epoch,
	}
}

func newPolicy(name string) *store.ManagedPolicy {
	return &store.ManagedPolicy{
		ARN: "arn:aws:iam::" + account + ":policy/" + name, ID: "ANPA" + name, Account: account, Name: name, Path: "/", Description: "d", Default: 1, Last: 2,
		Versions:  []store.PolicyVersion{{Number: 1, Document: "{}", CreatedAt: epoch}, {Number: 2, Document: "{ }", CreatedAt: epoch.Add(time.Millisecond)}},
		Tags:      []store.IdentityTag{{Key: "k", Value: "v"}},
		CreatedAt: epoch, UpdatedAt: epoch,
	}
}

func wantKind(t *testing.T, err error, kind string) {
	t.Helper()
	var e *store.ExistsError
	if !errors.As(err, &e) || e.Kind != kind {
		t.Errorf("got %v, want an ExistsError of kind %s", err, kind)
	}
}

func wantConflict(t *testing.T, err error) {
	t.Helper()
	if !errors.Is(err, store.ErrConflict) {
		t.Errorf("got %v, want a conflict", err)
	}
}

func same(t *testing.T, got, want any, err error) {
	t.Helper()
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v, want %+v", got, err, want)
	}
}

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func testIdentities(t *testing.T, e Engine) {
	ctx := t.Context()
	u := newIdentity(store.KindUser, "Ann")
	ok(t, e.CreateIdentity(ctx, u))
	ok(t, e.CreateIdentity(ctx, newIdentity(store.KindRole, "Ann"))) // another kind
	got, err := e.Identity(ctx, account, store.KindUser, "Ann")
	same(t, got, u, err)
	got, err = e.IdentityByID(ctx, u.ID)
	same(t, got, u, err)
	_, err = e.Identity(ctx, account, store.KindUser, "ann")
	notFound(t, "name in another case", err)
	_, err = e.Identity(ctx, "210987654321", store.KindUser, "Ann")
	notFound(t, "name of another account", err)

	clash := newIdentity(store.KindUser, "ANN")
	wantKind(t, e.CreateIdentity(ctx, clash), store.KindIdentity)
	bob := newIdentity(store.KindUser, "bob")
	ok(t, e.CreateIdentity(ctx, bob))
	bob.Name = "ANN"
	wantKind(t, e.UpdateIdentity(ctx, bob), store.KindIdentity)

	stale := *u
	u.Name, u.Path, u.Inline, u.Attached, u.Tags, u.Boundary = "ann", "/", nil, []string{"arn:aws:iam::aws:policy/C"}, nil, "arn:aws:iam::aws:policy/D"
	ok(t, e.UpdateIdentity(ctx, u))
	got, err = e.Identity(ctx, account, store.KindUser, "ann")
	same(t, got, u, err)
	wantConflict(t, e.UpdateIdentity(ctx, &stale))
	wantConflict(t, e.DeleteIdentity(ctx, &stale))

	bad := *u
	bad.Attached = []string{"arn:aws:iam::" + account + ":policy/none"}
	notFound(t, "attaching a policy that is not there", e.UpdateIdentity(ctx, &bad))
	bad.Attached, bad.Boundary = nil, "arn:aws:iam::"+account+":policy/none"
	notFound(t, "a boundary that is not there", e.UpdateIdentity(ctx, &bad))
	got, err = e.Identity(ctx, account, store.KindUser, "ann")
	same(t, got, u, err)

	ok(t, e.DeleteIdentity(ctx, u))
	notFound(t, "deleting again", e.DeleteIdentity(ctx, u))
	notFound(t, "updating what is gone", e.UpdateIdentity(ctx, u))
	// Nothing of it is left for one that comes after it.
	again := &store.Identity{ID: u.ID, Kind: store.KindUser, Account: account, Name: "ann", Path: "/", CreatedAt: epoch}
	ok(t, e.CreateIdentity(ctx, again))
	got, err = e.IdentityByID(ctx, u.ID)
	same(t, got, again, err)
}

func testIdentityLists(t *testing.T, e Engine) {
	ctx := t.Context()
	for _, name := range []string{"b", "A", "d", "C"} {
		ok(t, e.CreateIdentity(ctx, newIdentity(store.KindUser, name)))
	}
	names := func(after string, limit int) (s string) {
		list, err := e.Identities(ctx, account, store.KindUser, after, limit)
		ok(t, err)
		for _, i := range list {
			s += i.Name
		}
		return s
	}
	if all, two, rest, none := names("", 9), names("", 2), names("B", 9), names("d", 9); all != "AbCd" || two != "Ab" || rest != "Cd" || none != "" {
		t.Errorf("%s %s %s %s", all, two, rest, none)
	}
	r := newIdentity(store.KindRole, "r")
	r.Attached, r.Boundary = nil, "arn:aws:iam::aws:policy/A"
	ok(t, e.CreateIdentity(ctx, r))
	with, err := e.IdentitiesWith(ctx, account, "arn:aws:iam::aws:policy/A")
	if err != nil || len(with) != 5 || with[0].Name != "r" || with[4].Name != "d" {
		t.Errorf("%v, %v", with, err)
	}
	if with, err := e.IdentitiesWith(ctx, "210987654321", "arn:aws:iam::aws:policy/A"); err != nil || len(with) != 0 {
		t.Errorf("%v, %v", with, err)
	}
	ok(t, e.PutUses(ctx, []store.Use{{ID: r.ID, At: epoch.Add(time.Hour), Region: "eu-west-1"}, {ID: "gone", At: epoch}}))
	r.LastUsedAt, r.LastUsedRegion = epoch.Add(time.Hour), "eu-west-1"
	got, err := e.IdentityByID(ctx, r.ID)
	same(t, got, r, err)
}

// testIdentityRaces: of changes at once every one that was accepted is in the
// end, and a policy is not deleted under those who attach it.
func testIdentityRaces(t *testing.T, e Engine) {
	ctx := t.Context()
	u, p := newIdentity(store.KindUser, "u"), newPolicy("p")
	u.Tags = nil
	ok(t, e.CreateIdentity(ctx, u))
	ok(t, e.CreatePolicy(ctx, p))
	var wg sync.WaitGroup
	for n := range 6 {
		wg.Go(func() {
			for {
				u, err := e.IdentityByID(ctx, u.ID)
				if err != nil {
					t.Error(err)
					return
				}
				u.Tags = append(u.Tags, store.IdentityTag{Key: fmt.Sprint(n)})
				if n == 0 {
					u.Attached = []string{p.ARN}
				}
				if err = e.UpdateIdentity(ctx, u); !errors.Is(err, store.ErrConflict) {
					if err != nil && !errors.Is(err, store.ErrNotFound) {
						t.Error(err)
					}
					return
				}
			}
		})
	}
	var deleted error
	wg.Go(func() { deleted = e.DeletePolicy(ctx, p) })
	wg.Wait()
	u, err := e.IdentityByID(ctx, u.ID)
	ok(t, err)
	attached := len(u.Attached) == 1
	if attached == (deleted == nil) || len(u.Tags) != 6 && attached {
		t.Errorf("attached %v, deleted: %v, tags %v", u.Attached, deleted, u.Tags)
	}
}

func testPolicies(t *testing.T, e Engine) {
	ctx := t.Context()
	p := newPolicy("P")
	ok(t, e.CreatePolicy(ctx, p))
	got, err := e.Policy(ctx, p.ARN)
	same(t, got, p, err)
	clash := newPolicy("p")
	wantKind(t, e.CreatePolicy(ctx, clash), store.KindPolicy)
	stale := *p
	p.Versions, p.Default, p.Tags, p.UpdatedAt = p.Versions[1:], 2, nil, epoch.Add(time.Hour)
	ok(t, e.UpdatePolicy(ctx, p))
	got, err = e.Policy(ctx, p.ARN)
	same(t, got, p, err)
	wantConflict(t, e.UpdatePolicy(ctx, &stale))
	wantConflict(t, e.DeletePolicy(ctx, &stale))

	u := newIdentity(store.KindUser, "u")
	u.Attached, u.Boundary = []string{p.ARN}, p.ARN
	ok(t, e.CreateIdentity(ctx, u))
	if got, err := e.Policy(ctx, p.ARN); err != nil || got.Attachments != 1 || got.Boundaries != 1 {
		t.Errorf("%+v, %v", got, err)
	}
	wantKind(t, e.DeletePolicy(ctx, p), store.KindAttachment)
	u.Attached = nil
	ok(t, e.UpdateIdentity(ctx, u))
	wantKind(t, e.DeletePolicy(ctx, p), store.KindAttachment)
	u.Boundary = ""
	ok(t, e.UpdateIdentity(ctx, u))

	ok(t, e.CreatePolicy(ctx, newPolicy("q")))
	if list, err := e.Policies(ctx, account, "p", 9); err != nil || len(list) != 1 || list[0].Name != "q" {
		t.Errorf("%v, %v", list, err)
	}
	ok(t, e.DeletePolicy(ctx, p))
	notFound(t, "deleting again", e.DeletePolicy(ctx, p))
	_, err = e.Policy(ctx, p.ARN)
	notFound(t, "policy", err)
	if list, err := e.Policies(ctx, account, "", 9); err != nil || len(list) != 1 {
		t.Errorf("%v, %v", list, err)
	}
}

func testProviders(t *testing.T, e Engine) {
	ctx := t.Context()
	p := &store.OIDCProvider{ARN: "arn:aws:iam::" + account + ":oidc-provider/h/p", Account: account, URL: "https://h/p", ClientIDs: []string{"b", "a"}, Thumbprints: []string{"00"},
		Tags: []store.IdentityTag{{Key: "k", Value: "v"}}, CreatedAt: epoch}
	ok(t, e.CreateProvider(ctx, p))
	wantKind(t, e.CreateProvider(ctx, p), store.KindProvider)
	got, err := e.Provider(ctx, p.ARN)
	same(t, got, p, err)
	stale := *p
	p.ClientIDs = []string{"c"}
	ok(t, e.UpdateProvider(ctx, p))
	wantConflict(t, e.UpdateProvider(ctx, &stale))
	list, err := e.Providers(ctx, account)
	same(t, list, []*store.OIDCProvider{p}, err)
	ok(t, e.DeleteProvider(ctx, p.ARN))
	notFound(t, "deleting again", e.DeleteProvider(ctx, p.ARN))
	notFound(t, "updating what is gone", e.UpdateProvider(ctx, p))
	_, err = e.Provider(ctx, p.ARN)
	notFound(t, "provider", err)
}

func testAccessKeys(t *testing.T, e Engine) {
	ctx := t.Context()
	u := newIdentity(store.KindUser, "u")
	key := func(n int, user string) *store.AccessKey {
		return &store.AccessKey{ID: fmt.Sprint("AKIA", n), SealedSecret: []byte{0, 1}, Account: account, User: user, Active: true, CreatedAt: epoch.Add(-time.Duration(n) * time.Second)}
	}
	notFound(t, "a key of nobody", e.CreateAccessKey(ctx, key(1, u.ID), 2))
	ok(t, e.CreateIdentity(ctx, u))
	one, two := key(1, u.ID), key(2, u.ID)
	ok(t, e.CreateAccessKey(ctx, one, 2))
	ok(t, e.CreateAccessKey(ctx, two, 2))
	wantKind(t, e.CreateAccessKey(ctx, key(3, u.ID), 2), store.KindAccessKey)
	service := key(4, "")
	service.Service = "acm.amazonaws.com"
	ok(t, e.CreateAccessKey(ctx, service, 0))
	list, err := e.AccessKeys(ctx, u.ID)
	same(t, list, []*store.AccessKey{two, one}, err)
	list, err = e.AccessKeys(ctx, "")
	same(t, list, []*store.AccessKey{service}, err)

	ok(t, e.SetAccessKeyActive(ctx, one.ID, false))
	notFound(t, "switching a key that is not there", e.SetAccessKeyActive(ctx, "none", false))
	ok(t, e.PutUses(ctx, []store.Use{{ID: one.ID, At: epoch, Service: "s3", Region: "eu-west-1"}}))
	one.Active, one.LastUsedAt, one.LastUsedService, one.LastUsedRegion = false, epoch, "s3", "eu-west-1"
	got, err := e.AccessKey(ctx, one.ID)
	same(t, got, one, err)

	wantKind(t, e.DeleteIdentity(ctx, u), store.KindAccessKey)
	for _, k := range []*store.AccessKey{one, two} {
		ok(t, e.DeleteAccessKey(ctx, k.ID))
		notFound(t, "deleting again", e.DeleteAccessKey(ctx, k.ID))
		_, err := e.AccessKey(ctx, k.ID)
		notFound(t, "key", err)
	}
	ok(t, e.DeleteIdentity(ctx, u))
}

func testAccounts(t *testing.T, e Engine) {
	ctx := t.Context()
	first := &store.Account{ID: account, Name: "first", Email: "a@example.com", Status: "ACTIVE", Joined: "INVITED", JoinedAt: epoch}
	ok(t, e.CreateAccount(ctx, first, nil))
	second := &store.Account{ID: "111122223333", Name: "second", Email: "b@example.com", Status: "ACTIVE", Joined: "CREATED", JoinedAt: epoch.Add(time.Second)}
	request := &store.AccountRequest{ID: "car-1", Name: "second", State: "SUCCEEDED", RequestedAt: epoch, Account: second.ID}
	ok(t, e.CreateAccount(ctx, second, request))
	clash := *second
	clash.ID = "999999999999"
	wantKind(t, e.CreateAccount(ctx, &clash, nil), store.KindAccount)
	failed := &store.AccountRequest{ID: "car-2", Name: "third", State: "FAILED", RequestedAt: epoch.Add(time.Second), FailureReason: "EMAIL_ALREADY_EXISTS"}
	ok(t, e.PutAccountRequest(ctx, failed))
	requests, err := e.AccountRequests(ctx)
	same(t, requests, []*store.AccountRequest{failed, request}, err)

	stale := *second
	second.Status = "SUSPENDED"
	ok(t, e.UpdateAccount(ctx, second))
	wantConflict(t, e.UpdateAccount(ctx, &stale))
	list, err := e.Accounts(ctx)
	same(t, list, []*store.Account{first, second}, err)
}
