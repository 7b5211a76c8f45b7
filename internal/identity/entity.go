package identity

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"unicode"

	"chirograph.dev/internal/iam"
	"chirograph.dev/internal/store"
)

// Quotas of AWS, its defaults.
const (
	maxUsers       = 5000
	maxRoles       = 1000
	maxPolicies    = 1500
	maxProviders   = 100
	maxKeys        = 2  // of a user
	maxAttached    = 10 // to a user or role
	maxVersions    = 5  // of a managed policy
	maxTags        = 50
	maxPolicyText  = 6144 // characters of a managed policy without white space
	maxUserInline  = 2048 // characters of all inline policies together
	maxRoleInline  = 10240
	maxTrustText   = 2048
	maxSessionText = 2048
)

// find reads a user or role of the caller's account.
func (s *Service) find(ctx context.Context, account, kind, name string) (*store.Identity, error) {
	i, err := s.cfg.Records.Identity(ctx, account, kind, name)
	if errors.Is(err, store.ErrNotFound) {
		return nil, noSuchEntity("The %s with name %s cannot be found.", kind, name)
	}
	return i, err
}

// change reads a user or role of the caller's account, lets f change it, and
// stores it.
func (s *Service) change(ctx context.Context, kind, name string, f func(*store.Identity) error) error {
	p, err := s.caller(ctx)
	if err != nil {
		return err
	}
	defer s.changed()
	return again(func() error {
		i, err := s.find(ctx, p.Account, kind, name)
		if err != nil {
			return err
		}
		if err := f(i); err != nil {
			return err
		}
		err = s.cfg.Records.UpdateIdentity(ctx, i)
		switch {
		case exists(err, store.KindIdentity):
			return entityExists("%s with name %s already exists.", title(kind), i.Name)
		case errors.Is(err, store.ErrNotFound):
			// The identity or a policy that it was to have is gone by now.
			if _, gone := s.find(ctx, p.Account, kind, name); gone != nil {
				return gone
			}
			return noSuchEntity("A policy of %s %s does not exist or is not attachable.", kind, name)
		}
		return err
	})
}

func title(kind string) string { return strings.ToUpper(kind[:1]) + kind[1:] }

// create stores a new user or role.
func (s *Service) create(ctx context.Context, p *iam.Principal, i *store.Identity, boundary string, tags []Tag, limit int) error {
	var err error
	if i.Path == "" {
		i.Path = "/"
	}
	if err := checkPath(i.Path); err != nil {
		return err
	}
	if i.Tags, err = mergeTags(nil, tags); err != nil {
		return err
	}
	if len(tags) > 0 {
		if err := s.also(ctx, p, "iam:Tag"+title(i.Kind), s.arnOf(i)); err != nil {
			return err
		}
	}
	if boundary != "" {
		if i.Boundary, err = s.attachable(ctx, p.Account, boundary); err != nil {
			return err
		}
	}
	if all, err := s.cfg.Records.Identities(ctx, p.Account, i.Kind, "", limit); err != nil {
		return err
	} else if len(all) >= limit {
		return limitExceeded("Cannot exceed quota for %ssPerAccount: %d", title(i.Kind), limit)
	}
	defer s.changed()
	err = s.cfg.Records.CreateIdentity(ctx, i)
	switch {
	case exists(err, store.KindIdentity):
		return entityExists("%s with name %s already exists.", title(i.Kind), i.Name)
	case errors.Is(err, store.ErrNotFound):
		return noSuchEntity("Policy %s does not exist or is not attachable.", boundary)
	}
	return err
}

// remove deletes a user or role that nothing hangs on any more.
func (s *Service) remove(ctx context.Context, kind, name string) error {
	p, err := s.caller(ctx)
	if err != nil {
		return err
	}
	defer s.changed()
	return again(func() error {
		i, err := s.find(ctx, p.Account, kind, name)
		switch {
		case err != nil:
			return err
		case len(i.Attached) > 0:
			return deleteConflict("Cannot delete entity, must detach all policies first.")
		case len(i.Inline) > 0:
			return deleteConflict("Cannot delete entity, must delete policies first.")
		}
		err = s.cfg.Records.DeleteIdentity(ctx, i)
		switch {
		case exists(err, store.KindAccessKey):
			return deleteConflict("Cannot delete entity, must delete access keys first.")
		case errors.Is(err, store.ErrNotFound):
			return noSuchEntity("The %s with name %s cannot be found.", kind, name)
		case err == nil:
			s.forgetUse(i.ID)
		}
		return err
	})
}

// list gives a page of the users or roles of the caller's account.
func (s *Service) list(ctx context.Context, kind, prefix string, p Page) ([]*store.Identity, NextPage, error) {
	caller, err := s.caller(ctx)
	if err != nil {
		return nil, NextPage{}, err
	}
	return pages(s, p,
		func(after string, limit int) ([]*store.Identity, error) {
			return s.cfg.Records.Identities(ctx, caller.Account, kind, after, limit)
		},
		func(i *store.Identity) string { return i.Name },
		func(i *store.Identity) bool { return strings.HasPrefix(i.Path, prefix) },
		"identities", caller.Account, kind, prefix)
}

var pathPattern = regexp.MustCompile(`^(/|/[!-~]+/)$`)

func checkPath(path string) error {
	if !pathPattern.MatchString(path) || len(path) > 512 {
		return invalid("The specified value for path is invalid. It must begin and end with / and contain only alphanumeric characters and/or / characters.")
	}
	return nil
}

// Tags.

// mergeTags adds tags to those that are there; a key that is there gets the
// new value.
func mergeTags(have []store.IdentityTag, tags []Tag) ([]store.IdentityTag, error) {
	seen := map[string]bool{}
	for _, t := range tags {
		key := strings.ToLower(t.Key)
		switch {
		case strings.HasPrefix(key, "aws:"):
			return nil, refuse(http.StatusBadRequest, "InvalidInput", "The tag key %s begins with aws:, which is reserved.", t.Key)
		case seen[key]:
			return nil, refuse(http.StatusBadRequest, "InvalidInput", "Duplicate tag keys found. Please note that Tag keys are case insensitive.")
		}
		seen[key] = true
	}
	out := slices.DeleteFunc(slices.Clone(have), func(t store.IdentityTag) bool { return seen[strings.ToLower(t.Key)] })
	for _, t := range tags {
		out = append(out, store.IdentityTag{Key: t.Key, Value: t.Value})
	}
	if len(out) > maxTags {
		return nil, limitExceeded("The number of tags has reached the maximum limit: %d", maxTags)
	}
	slices.SortFunc(out, func(a, b store.IdentityTag) int { return strings.Compare(a.Key, b.Key) })
	return out, nil
}

func dropTags(have []store.IdentityTag, keys []string) []store.IdentityTag {
	return slices.DeleteFunc(slices.Clone(have), func(t store.IdentityTag) bool {
		return slices.ContainsFunc(keys, func(k string) bool { return strings.EqualFold(k, t.Key) })
	})
}

func tagsOf(tags []store.IdentityTag) []Tag {
	var out []Tag
	for _, t := range tags {
		out = append(out, Tag(t))
	}
	return out
}

func (s *Service) tag(ctx context.Context, kind, name string, tags []Tag) error {
	return s.change(ctx, kind, name, func(i *store.Identity) (err error) {
		i.Tags, err = mergeTags(i.Tags, tags)
		return err
	})
}

func (s *Service) untag(ctx context.Context, kind, name string, keys []string) error {
	return s.change(ctx, kind, name, func(i *store.Identity) error {
		i.Tags = dropTags(i.Tags, keys)
		return nil
	})
}

func (s *Service) listTags(ctx context.Context, kind, name string, p Page) ([]Tag, NextPage, error) {
	i, err := s.own(ctx, kind, name)
	if err != nil {
		return nil, NextPage{}, err
	}
	return page(s, p, tagsOf(i.Tags), func(t Tag) string { return t.Key }, "tags", i.ID)
}

// own reads a user or role of the caller's account.
func (s *Service) own(ctx context.Context, kind, name string) (*store.Identity, error) {
	p, err := s.caller(ctx)
	if err != nil {
		return nil, err
	}
	return s.find(ctx, p.Account, kind, name)
}

// Inline policies.

// characters counts as AWS does: white space does not.
func characters(text string) (n int) {
	for _, r := range text {
		if !unicode.IsSpace(r) {
			n++
		}
	}
	return n
}

func (s *Service) putInline(ctx context.Context, kind, name, policy, document string) error {
	if _, err := iam.ParsePolicy([]byte(document)); err != nil {
		return malformedPolicy(err)
	}
	limit := maxUserInline
	if kind == store.KindRole {
		limit = maxRoleInline
	}
	return s.change(ctx, kind, name, func(i *store.Identity) error {
		i.Inline = slices.DeleteFunc(i.Inline, func(p store.InlinePolicy) bool { return p.Name == policy })
		i.Inline = append(i.Inline, store.InlinePolicy{Name: policy, Document: document})
		total := 0
		for _, p := range i.Inline {
			total += characters(p.Document)
		}
		if total > limit {
			return limitExceeded("Maximum policy size of %d bytes exceeded for %s %s", limit, kind, name)
		}
		return nil
	})
}

func (s *Service) getInline(ctx context.Context, kind, name, policy string) (string, error) {
	i, err := s.own(ctx, kind, name)
	if err != nil {
		return "", err
	}
	for _, p := range i.Inline {
		if p.Name == policy {
			return p.Document, nil
		}
	}
	return "", noInline(kind, policy)
}

func noInline(kind, policy string) error {
	return noSuchEntity("The %s policy with name %s cannot be found.", kind, policy)
}

func (s *Service) deleteInline(ctx context.Context, kind, name, policy string) error {
	return s.change(ctx, kind, name, func(i *store.Identity) error {
		n := len(i.Inline)
		if i.Inline = slices.DeleteFunc(i.Inline, func(p store.InlinePolicy) bool { return p.Name == policy }); len(i.Inline) == n {
			return noInline(kind, policy)
		}
		return nil
	})
}

func (s *Service) listInline(ctx context.Context, kind, name string, p Page) ([]string, NextPage, error) {
	i, err := s.own(ctx, kind, name)
	if err != nil {
		return nil, NextPage{}, err
	}
	var names []string
	for _, p := range i.Inline {
		names = append(names, p.Name)
	}
	return page(s, p, names, itself, "inline", i.ID)
}

func itself(s string) string { return s }

// Attached policies.

// attachable checks that a policy can be attached in the account, and gives its ARN.
func (s *Service) attachable(ctx context.Context, account, arn string) (string, error) {
	_, err := s.findPolicy(ctx, account, arn)
	if e, ok := errors.AsType[*Error](err); ok && e.Code == "NoSuchEntity" {
		return "", noSuchEntity("Policy %s does not exist or is not attachable.", arn)
	}
	return arn, err
}

func (s *Service) attach(ctx context.Context, kind, name, arn string) error {
	return s.change(ctx, kind, name, func(i *store.Identity) error {
		if slices.Contains(i.Attached, arn) {
			return nil
		}
		if _, err := s.attachable(ctx, i.Account, arn); err != nil {
			return err
		}
		if len(i.Attached) >= maxAttached {
			return limitExceeded("Cannot exceed quota for PoliciesPer%s: %d", title(kind), maxAttached)
		}
		i.Attached = append(i.Attached, arn)
		return nil
	})
}

func (s *Service) detach(ctx context.Context, kind, name, arn string) error {
	return s.change(ctx, kind, name, func(i *store.Identity) error {
		n := len(i.Attached)
		if i.Attached = slices.DeleteFunc(i.Attached, func(a string) bool { return a == arn }); len(i.Attached) == n {
			return noSuchEntity("Policy %s was not found.", arn)
		}
		return nil
	})
}

func (s *Service) listAttached(ctx context.Context, kind, name, prefix string, p Page) ([]AttachedPolicy, NextPage, error) {
	i, err := s.own(ctx, kind, name)
	if err != nil {
		return nil, NextPage{}, err
	}
	var list []AttachedPolicy
	for _, arn := range i.Attached {
		path, policy := splitPolicyARN(arn)
		if strings.HasPrefix(path, prefix) {
			list = append(list, AttachedPolicy{PolicyName: policy, PolicyArn: arn})
		}
	}
	return page(s, p, list, func(a AttachedPolicy) string { return a.PolicyArn }, "attached", i.ID, prefix)
}

// splitPolicyARN gives the path and the name in the ARN of a managed policy.
func splitPolicyARN(arn string) (path, name string) {
	_, full, _ := strings.Cut(arn, ":policy")
	cut := strings.LastIndexByte(full, '/') + 1
	return full[:cut], full[cut:]
}

// Boundaries.

func (s *Service) putBoundary(ctx context.Context, kind, name, arn string) error {
	return s.change(ctx, kind, name, func(i *store.Identity) (err error) {
		i.Boundary, err = s.attachable(ctx, i.Account, arn)
		return err
	})
}

func (s *Service) deleteBoundary(ctx context.Context, kind, name string) error {
	return s.change(ctx, kind, name, func(i *store.Identity) error {
		if i.Boundary == "" {
			return noSuchEntity("The %s %s has no permissions boundary.", kind, name)
		}
		i.Boundary = ""
		return nil
	})
}

func boundaryOf(i *store.Identity) *AttachedPermissionsBoundary {
	if i.Boundary == "" {
		return nil
	}
	return &AttachedPermissionsBoundary{PermissionsBoundaryType: "PermissionsBoundaryPolicy", PermissionsBoundaryArn: i.Boundary}
}

// Resource names the resource of an input as policies do, with the path of the
// user or role, which the input itself does not know; conditions are its tags
// and, where rights are given or taken, its permissions boundary.
func (s *Service) Resource(ctx context.Context, in interface {
	Resource(partition string, caller *iam.Principal) string
}, caller *iam.Principal) (arn string, conditions map[string][]string, err error) {
	arn = in.Resource(s.cfg.Partition, caller)
	var found *store.Identity // of policies and providers, the tags alone
	if in, ok := in.(*GetAccessKeyLastUsedInput); ok {
		arn, found, err = s.keyResource(ctx, in, arn, caller)
	} else {
		arn, found, err = s.tagged(ctx, arn, caller)
	}
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return "", nil, fmt.Errorf("looking for %s: %w", arn, err)
	}
	if found == nil {
		return arn, nil, nil
	}
	conditions = resourceTags(found.Tags)
	switch in.(type) {
	case *AttachUserPolicyInput, *DetachUserPolicyInput, *PutUserPolicyInput, *DeleteUserPolicyInput, *DeleteUserPermissionsBoundaryInput,
		*AttachRolePolicyInput, *DetachRolePolicyInput, *PutRolePolicyInput, *DeleteRolePolicyInput, *DeleteRolePermissionsBoundaryInput:
		// Those that create, or put a boundary, say themselves which one.
		if found.Boundary != "" {
			conditions["iam:PermissionsBoundary"] = []string{found.Boundary}
		}
	}
	return arn, conditions, nil
}

// resourceTags are the tags of a resource as condition keys.
func resourceTags(tags []store.IdentityTag) map[string][]string {
	m := make(map[string][]string, 2*len(tags))
	for _, t := range tags {
		m["aws:ResourceTag/"+t.Key], m["iam:ResourceTag/"+t.Key] = []string{t.Value}, []string{t.Value}
	}
	return m
}

// tagged finds what an ARN of the caller's account names, by its name alone
// where it is a user or role; store.ErrNotFound leaves the ARN as it is.
func (s *Service) tagged(ctx context.Context, arn string, caller *iam.Principal) (string, *store.Identity, error) {
	parts := strings.SplitN(arn, ":", 6)
	if len(parts) != 6 || parts[2] != "iam" || parts[4] != caller.Account {
		return arn, nil, nil
	}
	kind, name, ok := strings.Cut(parts[5], "/")
	if !ok || name == "" || strings.Contains(name, "*") {
		return arn, nil, nil
	}
	switch kind {
	case store.KindUser, store.KindRole:
		if strings.Contains(name, "/") {
			return arn, nil, nil
		}
		i, err := s.cfg.Records.Identity(ctx, caller.Account, kind, name)
		if err != nil {
			return arn, nil, err
		}
		return s.arnOf(i), i, nil
	case "policy":
		p, err := s.cfg.Records.Policy(ctx, arn)
		if err != nil {
			return arn, nil, err
		}
		return arn, &store.Identity{Tags: p.Tags}, nil
	case "oidc-provider":
		p, err := s.cfg.Records.Provider(ctx, arn)
		if err != nil {
			return arn, nil, err
		}
		return arn, &store.Identity{Tags: p.Tags}, nil
	}
	return arn, nil, nil
}

// keyResource is the user of a key of the caller's account; any user, which is
// what arn says, for other keys, which the operation does not find.
func (s *Service) keyResource(ctx context.Context, in *GetAccessKeyLastUsedInput, arn string, caller *iam.Principal) (string, *store.Identity, error) {
	k, err := s.cfg.Records.AccessKey(ctx, in.AccessKeyId)
	if err != nil || k.User == "" || k.Account != caller.Account {
		return arn, nil, err
	}
	i, err := s.cfg.Records.IdentityByID(ctx, k.User)
	if err != nil { // not found: it has gone since
		return arn, nil, err
	}
	return s.arnOf(i), i, nil
}
