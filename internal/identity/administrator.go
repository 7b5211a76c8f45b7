package identity

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"chirograph.dev/internal/store"
)

// administratorName is the user that a first start makes, in the management account.
const administratorName = "admin"

// EnsureAdministrator makes the first user and its access key, unless a start
// before did. What people made of them since stays.
func (s *Service) EnsureAdministrator(ctx context.Context) error {
	_, err := s.cfg.Records.Setting(ctx, settingAdministrator)
	if !errors.Is(err, store.ErrNotFound) {
		return err
	}
	return s.ResetAdministrator(ctx)
}

// ResetAdministrator makes a fresh access key for the user admin of the
// management account, for those who locked themselves out. The user is made
// anew if it is gone; it gets AdministratorAccess as its one policy, without a
// boundary, since any other could forbid it something. Two keys that it has
// already are replaced. A crash in between leaves what doing it again completes.
func (s *Service) ResetAdministrator(ctx context.Context) error {
	defer s.changed()
	u, err := s.cfg.Records.Identity(ctx, s.management, store.KindUser, administratorName)
	policies := []string{s.managedARN("AdministratorAccess")}
	switch {
	case errors.Is(err, store.ErrNotFound):
		u = &store.Identity{ID: newID("AIDA"), Kind: store.KindUser, Account: s.management, Name: administratorName, Path: "/", Attached: policies, CreatedAt: s.now()}
		err = s.cfg.Records.CreateIdentity(ctx, u)
	case err == nil && (u.Boundary != "" || len(u.Inline) > 0 || !slices.Equal(u.Attached, policies)):
		u.Attached, u.Inline, u.Boundary = policies, nil, ""
		err = s.cfg.Records.UpdateIdentity(ctx, u)
	}
	if err != nil {
		return fmt.Errorf("making the user %s: %w", administratorName, err)
	}
	keys, err := s.cfg.Records.AccessKeys(ctx, u.ID)
	if err != nil {
		return err
	}
	if len(keys) >= maxKeys {
		for _, k := range keys {
			if err := s.cfg.Records.DeleteAccessKey(ctx, k.ID); err != nil {
				return err
			}
		}
	}
	k := &store.AccessKey{Account: u.Account, User: u.ID}
	if _, err := s.newKey(ctx, k, maxKeys); err != nil {
		return fmt.Errorf("making the access key of the user %s: %w", administratorName, err)
	}
	return s.cfg.Records.PutSetting(ctx, settingAdministrator, k.ID)
}

// AdministratorKey gives the access key that was made for the administrator
// last, with its secret; ok is false when it was deleted or switched off.
func (s *Service) AdministratorKey(ctx context.Context) (id, secret string, ok bool, err error) {
	if id, err = s.cfg.Records.Setting(ctx, settingAdministrator); err != nil {
		return "", "", false, err
	}
	secret, ok, err = s.Secret(ctx, id)
	return id, secret, ok, err
}

// ServiceKey gives the access key of a service principal in the management
// account, with its secret, and makes it if there is none. A service may do
// what resources grant it, such as a CA's permission for acm.amazonaws.com.
func (s *Service) ServiceKey(ctx context.Context, service string) (id, secret string, err error) {
	keys, err := s.cfg.Records.AccessKeys(ctx, "")
	if err != nil {
		return "", "", err
	}
	for _, k := range keys {
		if k.Service == service && k.Account == s.management && k.Active {
			secret, _, err := s.Secret(ctx, k.ID)
			return k.ID, secret, err
		}
	}
	k := &store.AccessKey{Account: s.management, Service: service}
	secret, err = s.newKey(ctx, k, 0)
	return k.ID, secret, err
}

// DropServiceKeys deletes the access keys of service principals that are not
// in keep.
func (s *Service) DropServiceKeys(ctx context.Context, keep []string) error {
	defer s.changed()
	keys, err := s.cfg.Records.AccessKeys(ctx, "")
	if err != nil {
		return err
	}
	for _, k := range keys {
		if !slices.Contains(keep, k.Service) {
			if err := s.cfg.Records.DeleteAccessKey(ctx, k.ID); err != nil {
				return err
			}
		}
	}
	return nil
}
