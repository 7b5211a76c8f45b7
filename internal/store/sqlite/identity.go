package sqlite

import (
	"context"
	"database/sql/driver"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"chirograph.dev/internal/store"
)

// Identities, policies and providers have parts in tables of their own. They
// are read in one statement, so that nobody sees half of a change, and their
// parts are written anew with every change.

// pairs reads what json_group_array(json_array(a, b)) gave, sorted by a.
func pairs[T any](text string, make func(a, b string) T) ([]T, error) {
	var list [][2]string
	if err := json.Unmarshal([]byte(text), &list); err != nil || len(list) == 0 {
		return nil, err
	}
	slices.SortFunc(list, func(a, b [2]string) int { return strings.Compare(a[0], b[0]) })
	out := []T(nil)
	for _, p := range list {
		out = append(out, make(p[0], p[1]))
	}
	return out, nil
}

func newTag(key, value string) store.IdentityTag { return store.IdentityTag{Key: key, Value: value} }

func newInline(name, document string) store.InlinePolicy {
	return store.InlinePolicy{Name: name, Document: document}
}

const tagsOf = "(SELECT json_group_array(json_array(key, value)) FROM identity_tag WHERE owner = "

func writeTags(c *conn, owner string, tags []store.IdentityTag) error {
	if _, err := c.exec("DELETE FROM identity_tag WHERE owner = ?", owner); err != nil {
		return err
	}
	for _, t := range tags {
		if _, err := c.exec("INSERT INTO identity_tag (owner, key, value) VALUES (?, ?, ?)", owner, t.Key, t.Value); err != nil {
			return err
		}
	}
	return nil
}

const identityColumns = "id, kind, account, name, path, trust, description, max_session, boundary, created_at, last_used_at, last_used_region, version"

const selectIdentity = "SELECT " + identityColumns + `,
	(SELECT json_group_array(json_array(name, document)) FROM inline_policy WHERE identity = i.id),
	(SELECT json_group_array(json_array(policy, '')) FROM attached_policy WHERE identity = i.id),
	` + tagsOf + "i.id) FROM identity i "

func scanIdentity(r *rows) (*store.Identity, error) {
	i := &store.Identity{
		ID: r.text(0), Kind: r.text(1), Account: r.text(2), Name: r.text(3), Path: r.text(4), Trust: r.text(5), Description: r.text(6),
		MaxSession: time.Duration(r.int(7)) * time.Second, Boundary: r.text(8), CreatedAt: at(r.int(9)), LastUsedAt: at(r.int(10)), LastUsedRegion: r.text(11), Version: r.int(12),
	}
	var err1, err2, err3 error
	i.Inline, err1 = pairs(r.text(13), newInline)
	i.Attached, err2 = pairs(r.text(14), func(arn, _ string) string { return arn })
	i.Tags, err3 = pairs(r.text(15), newTag)
	return i, errors.Join(err1, err2, err3)
}

func identityValues(i *store.Identity) []driver.Value {
	return []driver.Value{
		i.ID, i.Kind, i.Account, i.Name, i.Path, i.Trust, i.Description, int64(i.MaxSession / time.Second), i.Boundary,
		ms(i.CreatedAt), ms(i.LastUsedAt), i.LastUsedRegion, i.Version, strings.ToLower(i.Name),
	}
}

// writeParts writes what hangs on an identity. A customer's policy that is not
// there (any more) is store.ErrNotFound.
func writeParts(c *conn, i *store.Identity) error {
	for _, table := range []string{"inline_policy", "attached_policy"} {
		if _, err := c.exec("DELETE FROM "+table+" WHERE identity = ?", i.ID); err != nil {
			return err
		}
	}
	for _, p := range i.Inline {
		if _, err := c.exec("INSERT INTO inline_policy (identity, name, document) VALUES (?, ?, ?)", i.ID, p.Name, p.Document); err != nil {
			return err
		}
	}
	for _, arn := range i.Attached {
		if err := knowPolicy(c, arn); err != nil {
			return err
		}
		if _, err := c.exec("INSERT INTO attached_policy (identity, policy) VALUES (?, ?)", i.ID, arn); err != nil {
			return err
		}
	}
	if i.Boundary != "" {
		if err := knowPolicy(c, i.Boundary); err != nil {
			return err
		}
	}
	return writeTags(c, i.ID, i.Tags)
}

// knowPolicy makes sure that a policy of an account exists; those of AWS are
// not in the store.
func knowPolicy(c *conn, arn string) error {
	if strings.Contains(arn, ":iam::aws:policy/") {
		return nil
	}
	found, err := c.queryRow(func(*rows) {}, "SELECT 1 FROM managed_policy WHERE arn = ?", arn)
	if err := must(found, err); err != nil {
		return fmt.Errorf("policy %s: %w", arn, err)
	}
	return nil
}

// identityNameTaken is an ExistsError when another identity of the account has
// the name.
func identityNameTaken(c *conn, i *store.Identity) error {
	taken, err := c.queryRow(func(*rows) {}, "SELECT 1 FROM identity WHERE account = ? AND kind = ? AND name_key = ? AND id <> ?", i.Account, i.Kind, strings.ToLower(i.Name), i.ID)
	if err == nil && taken {
		return &store.ExistsError{Kind: store.KindIdentity, Value: i.Name}
	}
	return err
}

// CreateIdentity stores a new user or role as its Version 1. A name that is
// taken gives a *store.ExistsError, an attached policy that is not there wraps
// store.ErrNotFound; nothing is stored then.
func (db *DB) CreateIdentity(ctx context.Context, i *store.Identity) error {
	created := *i
	created.Version = 1
	err := db.write(ctx, func(c *conn) error { return insertIdentity(c, &created) })
	if err != nil {
		return fmt.Errorf("creating %s %s: %w", i.Kind, i.Name, err)
	}
	i.Version = 1
	return nil
}

func insertIdentity(c *conn, i *store.Identity) error {
	if err := identityNameTaken(c, i); err != nil {
		return err
	}
	if _, err := c.exec("INSERT INTO identity ("+identityColumns+", name_key) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", identityValues(i)...); err != nil {
		return err
	}
	return writeParts(c, i)
}

// UpdateIdentity stores a changed user or role if its Version is the one that
// is stored, and counts the Version of i up; otherwise the error wraps
// store.ErrConflict, or store.ErrNotFound. Other errors as CreateIdentity.
func (db *DB) UpdateIdentity(ctx context.Context, i *store.Identity) error {
	next := *i
	next.Version++
	err := db.write(ctx, func(c *conn) error {
		err := versioned(c, "SELECT 1 FROM identity WHERE id = ?", i.ID,
			"UPDATE identity SET ("+identityColumns+", name_key) = (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) WHERE id = ? AND version = ?"+
				" AND NOT EXISTS (SELECT 1 FROM identity o WHERE o.account = ? AND o.kind = ? AND o.name_key = ? AND o.id <> ?)",
			append(identityValues(&next), i.ID, i.Version, i.Account, i.Kind, strings.ToLower(i.Name), i.ID)...)
		if errors.Is(err, store.ErrConflict) {
			if taken := identityNameTaken(c, i); taken != nil {
				return taken
			}
		}
		if err != nil {
			return err
		}
		return writeParts(c, &next)
	})
	if err != nil {
		return fmt.Errorf("updating %s %s: %w", i.Kind, i.Name, err)
	}
	i.Version++
	return nil
}

// DeleteIdentity deletes a user or role if its Version is the one that is
// stored, with all that hangs on it; otherwise the error wraps
// store.ErrConflict, or store.ErrNotFound. A user that has access keys is kept:
// a *store.ExistsError.
func (db *DB) DeleteIdentity(ctx context.Context, i *store.Identity) error {
	err := db.write(ctx, func(c *conn) error {
		var key string
		held, err := c.queryRow(func(r *rows) { key = r.text(0) }, "SELECT id FROM access_key WHERE identity = ? LIMIT 1", i.ID)
		if err != nil {
			return err
		}
		if held {
			return &store.ExistsError{Kind: store.KindAccessKey, Value: key}
		}
		if err := versioned(c, "SELECT 1 FROM identity WHERE id = ?", i.ID, "DELETE FROM identity WHERE id = ? AND version = ?", i.ID, i.Version); err != nil {
			return err
		}
		return writeParts(c, &store.Identity{ID: i.ID})
	})
	if err != nil {
		return fmt.Errorf("deleting %s %s: %w", i.Kind, i.Name, err)
	}
	return nil
}

func (db *DB) identity(ctx context.Context, where string, args ...driver.Value) (i *store.Identity, err error) {
	var scanErr error
	err = db.one(ctx, func(r *rows) { i, scanErr = scanIdentity(r) }, selectIdentity+where, args...)
	if err := errors.Join(err, scanErr); err != nil {
		return nil, fmt.Errorf("reading identity: %w", err)
	}
	return i, nil
}

// Identity gives a user or role by its exact name, or store.ErrNotFound.
func (db *DB) Identity(ctx context.Context, account, kind, name string) (*store.Identity, error) {
	return db.identity(ctx, "WHERE account = ? AND kind = ? AND name_key = ? AND name = ?", account, kind, strings.ToLower(name), name)
}

// IdentityByID gives a user or role by its id, or store.ErrNotFound.
func (db *DB) IdentityByID(ctx context.Context, id string) (*store.Identity, error) {
	return db.identity(ctx, "WHERE id = ?", id)
}

func (db *DB) identities(ctx context.Context, where string, args ...driver.Value) (list []*store.Identity, err error) {
	var scanErr error
	err = db.list(ctx, func(r *rows) {
		i, err := scanIdentity(r)
		list, scanErr = append(list, i), errors.Join(scanErr, err)
	}, selectIdentity+where, args...)
	if err := errors.Join(err, scanErr); err != nil {
		return nil, fmt.Errorf("listing identities: %w", err)
	}
	return list, nil
}

// Identities lists the users or roles of an account by their names without
// regard to case, beginning after the name after.
func (db *DB) Identities(ctx context.Context, account, kind, after string, limit int) ([]*store.Identity, error) {
	return db.identities(ctx, "WHERE account = ? AND kind = ? AND name_key > ? ORDER BY name_key LIMIT ?", account, kind, strings.ToLower(after), int64(limit))
}

// IdentitiesWith lists the users and roles of an account that a managed policy
// is attached to, or that it is the boundary of, by kind and name.
func (db *DB) IdentitiesWith(ctx context.Context, account, policy string) ([]*store.Identity, error) {
	return db.identities(ctx, "WHERE account = ? AND (boundary = ? OR id IN (SELECT identity FROM attached_policy WHERE policy = ?)) ORDER BY kind, name_key", account, policy, policy)
}

const policyColumns = "arn, id, account, name, path, description, default_version, last_version, created_at, updated_at, version"

const selectPolicy = "SELECT " + policyColumns + `,
	(SELECT json_group_array(json_array(number, document, created_at)) FROM managed_policy_version WHERE policy = p.arn),
	` + tagsOf + `p.arn),
	(SELECT count(*) FROM attached_policy WHERE policy = p.arn),
	(SELECT count(*) FROM identity WHERE boundary = p.arn) FROM managed_policy p `

func scanPolicy(r *rows) (*store.ManagedPolicy, error) {
	p := &store.ManagedPolicy{
		ARN: r.text(0), ID: r.text(1), Account: r.text(2), Name: r.text(3), Path: r.text(4), Description: r.text(5),
		Default: r.int(6), Last: r.int(7), CreatedAt: at(r.int(8)), UpdatedAt: at(r.int(9)), Version: r.int(10),
		Attachments: int(r.int(13)), Boundaries: int(r.int(14)),
	}
	var versions [][3]any
	err1 := json.Unmarshal([]byte(r.text(11)), &versions)
	for _, v := range versions {
		number, _ := v[0].(float64)
		document, _ := v[1].(string)
		created, _ := v[2].(float64)
		p.Versions = append(p.Versions, store.PolicyVersion{Number: int64(number), Document: document, CreatedAt: at(int64(created))})
	}
	slices.SortFunc(p.Versions, func(a, b store.PolicyVersion) int { return int(a.Number - b.Number) })
	var err2 error
	p.Tags, err2 = pairs(r.text(12), newTag)
	return p, errors.Join(err1, err2)
}

func policyValues(p *store.ManagedPolicy) []driver.Value {
	return []driver.Value{p.ARN, p.ID, p.Account, p.Name, p.Path, p.Description, p.Default, p.Last, ms(p.CreatedAt), ms(p.UpdatedAt), p.Version, strings.ToLower(p.Name)}
}

func writeVersions(c *conn, p *store.ManagedPolicy) error {
	if _, err := c.exec("DELETE FROM managed_policy_version WHERE policy = ?", p.ARN); err != nil {
		return err
	}
	for _, v := range p.Versions {
		if _, err := c.exec("INSERT INTO managed_policy_version (policy, number, document, created_at) VALUES (?, ?, ?, ?)", p.ARN, v.Number, v.Document, ms(v.CreatedAt)); err != nil {
			return err
		}
	}
	return writeTags(c, p.ARN, p.Tags)
}

// CreatePolicy stores a new managed policy as its Version 1. A name that the
// account has already gives a *store.ExistsError.
func (db *DB) CreatePolicy(ctx context.Context, p *store.ManagedPolicy) error {
	created := *p
	created.Version = 1
	err := db.write(ctx, func(c *conn) error {
		n, err := c.exec("INSERT INTO managed_policy ("+policyColumns+", name_key) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING", policyValues(&created)...)
		if err != nil {
			return err
		}
		if n == 0 {
			return &store.ExistsError{Kind: store.KindPolicy, Value: p.ARN}
		}
		return writeVersions(c, &created)
	})
	if err != nil {
		return fmt.Errorf("creating policy %s: %w", p.ARN, err)
	}
	p.Version = 1
	return nil
}

// UpdatePolicy stores a changed managed policy if its Version is the one that
// is stored, and counts the Version of p up; otherwise the error wraps
// store.ErrConflict, or store.ErrNotFound.
func (db *DB) UpdatePolicy(ctx context.Context, p *store.ManagedPolicy) error {
	next := *p
	next.Version++
	err := db.write(ctx, func(c *conn) error {
		err := versioned(c, "SELECT 1 FROM managed_policy WHERE arn = ?", p.ARN,
			"UPDATE managed_policy SET ("+policyColumns+", name_key) = (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) WHERE arn = ? AND version = ?",
			append(policyValues(&next), p.ARN, p.Version)...)
		if err != nil {
			return err
		}
		return writeVersions(c, &next)
	})
	if err != nil {
		return fmt.Errorf("updating policy %s: %w", p.ARN, err)
	}
	p.Version++
	return nil
}

// DeletePolicy deletes a managed policy if its Version is the one that is
// stored; otherwise the error wraps store.ErrConflict, or store.ErrNotFound. One
// that is attached, or a boundary, is kept: a *store.ExistsError.
func (db *DB) DeletePolicy(ctx context.Context, p *store.ManagedPolicy) error {
	err := db.write(ctx, func(c *conn) error {
		var holder string
		held, err := c.queryRow(func(r *rows) { holder = r.text(0) },
			"SELECT identity FROM attached_policy WHERE policy = ? UNION ALL SELECT id FROM identity WHERE boundary = ? LIMIT 1", p.ARN, p.ARN)
		if err != nil {
			return err
		}
		if held {
			return &store.ExistsError{Kind: store.KindAttachment, Value: holder}
		}
		if err := versioned(c, "SELECT 1 FROM managed_policy WHERE arn = ?", p.ARN, "DELETE FROM managed_policy WHERE arn = ? AND version = ?", p.ARN, p.Version); err != nil {
			return err
		}
		return writeVersions(c, &store.ManagedPolicy{ARN: p.ARN})
	})
	if err != nil {
		return fmt.Errorf("deleting policy %s: %w", p.ARN, err)
	}
	return nil
}

// Policy gives a managed policy by its ARN, or store.ErrNotFound.
func (db *DB) Policy(ctx context.Context, arn string) (p *store.ManagedPolicy, err error) {
	var scanErr error
	err = db.one(ctx, func(r *rows) { p, scanErr = scanPolicy(r) }, selectPolicy+"WHERE arn = ?", arn)
	if err := errors.Join(err, scanErr); err != nil {
		return nil, fmt.Errorf("reading policy %s: %w", arn, err)
	}
	return p, nil
}

// Policies lists the managed policies of an account by their names without
// regard to case, beginning after the name after.
func (db *DB) Policies(ctx context.Context, account, after string, limit int) (list []*store.ManagedPolicy, err error) {
	var scanErr error
	err = db.list(ctx, func(r *rows) {
		p, err := scanPolicy(r)
		list, scanErr = append(list, p), errors.Join(scanErr, err)
	}, selectPolicy+"WHERE account = ? AND name_key > ? ORDER BY name_key LIMIT ?", account, strings.ToLower(after), int64(limit))
	if err := errors.Join(err, scanErr); err != nil {
		return nil, fmt.Errorf("listing policies: %w", err)
	}
	return list, nil
}

const providerColumns = "arn, account, url, client_ids, thumbprints, created_at, version"

const selectProvider = "SELECT " + providerColumns + ", " + tagsOf + "p.arn) FROM oidc_provider p "

func scanProvider(r *rows) (*store.OIDCProvider, error) {
	p := &store.OIDCProvider{ARN: r.text(0), Account: r.text(1), URL: r.text(2), CreatedAt: at(r.int(5)), Version: r.int(6)}
	err1 := json.Unmarshal([]byte(r.text(3)), &p.ClientIDs)
	err2 := json.Unmarshal([]byte(r.text(4)), &p.Thumbprints)
	var err3 error
	p.Tags, err3 = pairs(r.text(7), newTag)
	return p, errors.Join(err1, err2, err3)
}

func providerValues(p *store.OIDCProvider) ([]driver.Value, error) {
	clients, err1 := json.Marshal(p.ClientIDs)
	thumbprints, err2 := json.Marshal(p.Thumbprints)
	return []driver.Value{p.ARN, p.Account, p.URL, string(clients), string(thumbprints), ms(p.CreatedAt), p.Version}, errors.Join(err1, err2)
}

// CreateProvider stores a new OIDC provider as its Version 1, or gives a
// *store.ExistsError.
func (db *DB) CreateProvider(ctx context.Context, p *store.OIDCProvider) error {
	created := *p
	created.Version = 1
	vals, err := providerValues(&created)
	if err == nil {
		err = db.write(ctx, func(c *conn) error {
			n, err := c.exec("INSERT INTO oidc_provider ("+providerColumns+") VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING", vals...)
			if err == nil && n == 0 {
				err = &store.ExistsError{Kind: store.KindProvider, Value: p.ARN}
			}
			if err != nil {
				return err
			}
			return writeTags(c, p.ARN, p.Tags)
		})
	}
	if err != nil {
		return fmt.Errorf("creating OIDC provider %s: %w", p.ARN, err)
	}
	p.Version = 1
	return nil
}

// UpdateProvider stores a changed OIDC provider if its Version is the one that
// is stored, and counts the Version of p up; otherwise the error wraps
// store.ErrConflict, or store.ErrNotFound.
func (db *DB) UpdateProvider(ctx context.Context, p *store.OIDCProvider) error {
	next := *p
	next.Version++
	vals, err := providerValues(&next)
	if err == nil {
		err = db.write(ctx, func(c *conn) error {
			err := versioned(c, "SELECT 1 FROM oidc_provider WHERE arn = ?", p.ARN,
				"UPDATE oidc_provider SET ("+providerColumns+") = (?, ?, ?, ?, ?, ?, ?) WHERE arn = ? AND version = ?", append(vals, p.ARN, p.Version)...)
			if err != nil {
				return err
			}
			return writeTags(c, p.ARN, p.Tags)
		})
	}
	if err != nil {
		return fmt.Errorf("updating OIDC provider %s: %w", p.ARN, err)
	}
	p.Version++
	return nil
}

// DeleteProvider deletes an OIDC provider, or gives store.ErrNotFound.
func (db *DB) DeleteProvider(ctx context.Context, arn string) error {
	err := db.write(ctx, func(c *conn) error {
		n, err := c.exec("DELETE FROM oidc_provider WHERE arn = ?", arn)
		if err := must(n > 0, err); err != nil {
			return err
		}
		return writeTags(c, arn, nil)
	})
	if err != nil {
		return fmt.Errorf("deleting OIDC provider %s: %w", arn, err)
	}
	return nil
}

// Provider gives an OIDC provider by its ARN, or store.ErrNotFound.
func (db *DB) Provider(ctx context.Context, arn string) (p *store.OIDCProvider, err error) {
	var scanErr error
	err = db.one(ctx, func(r *rows) { p, scanErr = scanProvider(r) }, selectProvider+"WHERE arn = ?", arn)
	if err := errors.Join(err, scanErr); err != nil {
		return nil, fmt.Errorf("reading OIDC provider %s: %w", arn, err)
	}
	return p, nil
}

// Providers lists the OIDC providers of an account by their ARNs.
func (db *DB) Providers(ctx context.Context, account string) (list []*store.OIDCProvider, err error) {
	var scanErr error
	err = db.list(ctx, func(r *rows) {
		p, err := scanProvider(r)
		list, scanErr = append(list, p), errors.Join(scanErr, err)
	}, selectProvider+"WHERE account = ? ORDER BY arn", account)
	if err := errors.Join(err, scanErr); err != nil {
		return nil, fmt.Errorf("listing OIDC providers: %w", err)
	}
	return list, nil
}

const keyColumns = "id, sealed_secret, account, identity, service, active, created_at, last_used_at, last_used_service, last_used_region"

func keyValues(k *store.AccessKey) []driver.Value {
	active := int64(0)
	if k.Active {
		active = 1
	}
	return []driver.Value{k.ID, blob(k.SealedSecret), k.Account, k.User, k.Service, active, ms(k.CreatedAt), ms(k.LastUsedAt), k.LastUsedService, k.LastUsedRegion}
}

func scanKey(r *rows) *store.AccessKey {
	return &store.AccessKey{
		ID: r.text(0), SealedSecret: r.blob(1), Account: r.text(2), User: r.text(3), Service: r.text(4), Active: r.int(5) != 0,
		CreatedAt: at(r.int(6)), LastUsedAt: at(r.int(7)), LastUsedService: r.text(8), LastUsedRegion: r.text(9),
	}
}

// CreateAccessKey stores a new access key. A user that has limit keys already
// gives a *store.ExistsError, one that is not there store.ErrNotFound. A
// service's key belongs to no user and has no limit.
func (db *DB) CreateAccessKey(ctx context.Context, k *store.AccessKey, limit int) error {
	err := db.write(ctx, func(c *conn) error {
		if k.User != "" {
			var users, keys int64
			_, err := c.queryRow(func(r *rows) { users, keys = r.int(0), r.int(1) },
				"SELECT (SELECT count(*) FROM identity WHERE id = ?), (SELECT count(*) FROM access_key WHERE identity = ?)", k.User, k.User)
			if err := must(users > 0, err); err != nil {
				return err
			}
			if keys >= int64(limit) {
				return &store.ExistsError{Kind: store.KindAccessKey, Value: k.User}
			}
		}
		return insertKey(c, k)
	})
	if err != nil {
		return fmt.Errorf("storing access key %s: %w", k.ID, err)
	}
	return nil
}

func insertKey(c *conn, k *store.AccessKey) error {
	_, err := c.exec("INSERT INTO access_key ("+keyColumns+") VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", keyValues(k)...)
	return err
}

// SetAccessKeyActive switches an access key on or off; store.ErrNotFound when
// there is none.
func (db *DB) SetAccessKeyActive(ctx context.Context, id string, active bool) error {
	value := int64(0)
	if active {
		value = 1
	}
	if err := db.change(ctx, "UPDATE access_key SET active = ? WHERE id = ?", value, id); err != nil {
		return fmt.Errorf("switching access key %s: %w", id, err)
	}
	return nil
}

// DeleteAccessKey deletes an access key, or gives store.ErrNotFound.
func (db *DB) DeleteAccessKey(ctx context.Context, id string) error {
	if err := db.change(ctx, "DELETE FROM access_key WHERE id = ?", id); err != nil {
		return fmt.Errorf("deleting access key %s: %w", id, err)
	}
	return nil
}

// AccessKey gives an access key by its id, or store.ErrNotFound.
func (db *DB) AccessKey(ctx context.Context, id string) (key *store.AccessKey, err error) {
	err = db.one(ctx, func(r *rows) { key = scanKey(r) }, "SELECT "+keyColumns+" FROM access_key WHERE id = ?", id)
	if err != nil {
		return nil, fmt.Errorf("reading access key: %w", err)
	}
	return key, nil
}

// AccessKeys lists the access keys of a user, by the user's id, or those of
// services when user is empty; oldest first.
func (db *DB) AccessKeys(ctx context.Context, user string) (keys []*store.AccessKey, err error) {
	err = db.list(ctx, func(r *rows) { keys = append(keys, scanKey(r)) }, "SELECT "+keyColumns+" FROM access_key WHERE identity = ? ORDER BY created_at, id", user)
	if err != nil {
		return nil, fmt.Errorf("listing access keys: %w", err)
	}
	return keys, nil
}

// PutUses keeps when keys and roles were used last; ids that are gone are passed over.
func (db *DB) PutUses(ctx context.Context, uses []store.Use) error {
	err := db.write(ctx, func(c *conn) error {
		for _, u := range uses {
			if _, err := c.exec("UPDATE access_key SET last_used_at = ?, last_used_service = ?, last_used_region = ? WHERE id = ?", ms(u.At), u.Service, u.Region, u.ID); err != nil {
				return err
			}
			// Not a change of the role: its version stays.
			if _, err := c.exec("UPDATE identity SET last_used_at = ?, last_used_region = ? WHERE id = ?", ms(u.At), u.Region, u.ID); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("storing when keys were used: %w", err)
	}
	return nil
}

const accountColumns = "id, name, email, status, joined, joined_at, version"

func scanAccount(r *rows) *store.Account {
	return &store.Account{ID: r.text(0), Name: r.text(1), Email: r.text(2), Status: r.text(3), Joined: r.text(4), JoinedAt: at(r.int(5)), Version: r.int(6)}
}

// CreateAccount stores a new account as its Version 1, with the record of the
// call that asked for it, which may be nil. An id or e-mail address that is
// taken gives a *store.ExistsError.
func (db *DB) CreateAccount(ctx context.Context, a *store.Account, request *store.AccountRequest) error {
	err := db.write(ctx, func(c *conn) error {
		n, err := c.exec("INSERT INTO account ("+accountColumns+") VALUES (?, ?, ?, ?, ?, ?, 1) ON CONFLICT DO NOTHING", a.ID, a.Name, a.Email, a.Status, a.Joined, ms(a.JoinedAt))
		if err != nil {
			return err
		}
		if n == 0 {
			return &store.ExistsError{Kind: store.KindAccount, Value: a.ID}
		}
		if request == nil {
			return nil
		}
		return insertRequest(c, request)
	})
	if err != nil {
		return fmt.Errorf("creating account %s: %w", a.ID, err)
	}
	a.Version = 1
	return nil
}

func insertRequest(c *conn, r *store.AccountRequest) error {
	_, err := c.exec("INSERT INTO account_request (id, name, state, requested_at, account, failure_reason) VALUES (?, ?, ?, ?, ?, ?)", r.ID, r.Name, r.State, ms(r.RequestedAt), r.Account, r.FailureReason)
	return err
}

// PutAccountRequest keeps the record of a call whose account was not made.
func (db *DB) PutAccountRequest(ctx context.Context, request *store.AccountRequest) error {
	if err := db.write(ctx, func(c *conn) error { return insertRequest(c, request) }); err != nil {
		return fmt.Errorf("storing account request %s: %w", request.ID, err)
	}
	return nil
}

// AccountRequests lists all records of calls for accounts, newest first.
func (db *DB) AccountRequests(ctx context.Context) (list []*store.AccountRequest, err error) {
	err = db.list(ctx, func(r *rows) {
		list = append(list, &store.AccountRequest{ID: r.text(0), Name: r.text(1), State: r.text(2), RequestedAt: at(r.int(3)), Account: r.text(4), FailureReason: r.text(5)})
	}, "SELECT id, name, state, requested_at, account, failure_reason FROM account_request ORDER BY requested_at DESC, id")
	if err != nil {
		return nil, fmt.Errorf("listing account requests: %w", err)
	}
	return list, nil
}

// UpdateAccount stores a changed account if its Version is the one that is
// stored, and counts the Version of a up; otherwise the error wraps
// store.ErrConflict, or store.ErrNotFound.
func (db *DB) UpdateAccount(ctx context.Context, a *store.Account) error {
	err := db.write(ctx, func(c *conn) error {
		return versioned(c, "SELECT 1 FROM account WHERE id = ?", a.ID, "UPDATE account SET ("+accountColumns+") = (?, ?, ?, ?, ?, ?, ?) WHERE id = ? AND version = ?",
			a.ID, a.Name, a.Email, a.Status, a.Joined, ms(a.JoinedAt), a.Version+1, a.ID, a.Version)
	})
	if err != nil {
		return fmt.Errorf("updating account %s: %w", a.ID, err)
	}
	a.Version++
	return nil
}

// Accounts lists all accounts in the order of their joining, then by id.
func (db *DB) Accounts(ctx context.Context) (list []*store.Account, err error) {
	err = db.list(ctx, func(r *rows) { list = append(list, scanAccount(r)) }, "SELECT "+accountColumns+" FROM account ORDER BY joined_at, id")
	if err != nil {
		return nil, fmt.Errorf("listing accounts: %w", err)
	}
	return list, nil
}
