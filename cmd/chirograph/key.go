package main

import (
	"context"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"
	"github.com/spf13/cobra"
)

func newAccessKey() *cobra.Command {
	return group("key", "Manage the access keys of users",
		newKeyCreate(), newKeyList(),
		newKeyStatus("activate", "Let an access key in again", types.StatusTypeActive),
		newKeyStatus("deactivate", "Shut an access key out, until it is activated again", types.StatusTypeInactive),
		newKeyDelete(), newKeyRotate())
}

// keyInfo is an access key without its secret.
type keyInfo struct {
	ID       string     `json:"accessKeyId"`
	User     string     `json:"user"`
	Status   string     `json:"status"` // Active, Inactive
	Created  time.Time  `json:"createdAt"`
	LastUsed *time.Time `json:"lastUsedAt,omitempty"` // of list
	Service  string     `json:"lastUsedService,omitempty"`
}

type keyList struct {
	Keys []keyInfo `json:"keys"`
}

func (l keyList) rows() [][]string {
	table := [][]string{{"ACCESS KEY", "USER", "STATUS", "CREATED", "LAST USED"}}
	for _, k := range l.Keys {
		used := "never"
		if k.LastUsed != nil {
			used = when(*k.LastUsed) + " " + k.Service
		}
		table = append(table, []string{k.ID, k.User, k.Status, when(k.Created), used})
	}
	return table
}

// newKeyInfo is a new access key. Its secret is shown this once.
type newKeyInfo struct {
	ID      string `json:"accessKeyId"`
	Secret  string `json:"secretAccessKey,omitempty"` // absent when it went into a profile
	Profile string `json:"profile,omitempty"`
	User    string `json:"user"`
	// Replaced is the key that a rotation shuts out.
	Replaced string `json:"replaced,omitempty"`
}

func (k newKeyInfo) rows() [][]string {
	table := [][]string{{"access key", k.ID}}
	if k.Secret != "" {
		table = append(table, []string{"secret", k.Secret})
	}
	if k.Profile != "" {
		table = append(table, []string{"profile", k.Profile})
	}
	if k.Replaced != "" {
		table = append(table, []string{"replaces", k.Replaced})
	}
	return table
}

// createKey makes a key. With a profile the secret goes there and nowhere else.
func (a *access) createKey(ctx context.Context, user, profile string) (*newKeyInfo, error) {
	out, err := a.iam.CreateAccessKey(ctx, &iam.CreateAccessKeyInput{UserName: &user})
	if isCode(err, "LimitExceeded") {
		return nil, twoKeys(user)
	}
	if err != nil {
		return nil, accessFailure("making the access key", err)
	}
	k := &newKeyInfo{ID: aws.ToString(out.AccessKey.AccessKeyId), Secret: aws.ToString(out.AccessKey.SecretAccessKey), Profile: profile, User: user}
	if profile == "" {
		if a.flags.output == "text" {
			a.note("the secret is shown this once; keep it")
		}
		return k, nil
	}
	if err := a.writeProfile(profile, profileKeys{id: k.ID, secret: k.Secret}); err != nil {
		// Nobody has seen the secret, so the key is of no use.
		_, undo := a.iam.DeleteAccessKey(ctx, &iam.DeleteAccessKeyInput{UserName: &user, AccessKeyId: &k.ID})
		if undo != nil {
			a.note("the key %s is left over; delete it", k.ID)
		}
		return nil, err
	}
	k.Secret = ""
	return k, nil
}

// twoKeys is the answer for a user who has as many keys as a user may.
func twoKeys(user string) error {
	return &exitError{code: exitFailure, hint: self() + " key list --user " + user + " shows them; delete one: " + self() + " key delete KEY", err: fmt.Errorf("the user %s has two keys already", user)}
}

func newKeyCreate() *cobra.Command {
	var user, profile string
	cmd := accessCommand("create --user NAME [--profile PROFILE]", "Make an access key, and print it", nil, func(ctx context.Context, a *access, _ []string) error {
		if user == "" {
			return usageError("chirograph key create --user NAME", "--user is needed")
		}
		if err := a.checkProfile(profile); err != nil {
			return err
		}
		k, err := a.createKey(ctx, user, profile)
		if err != nil {
			return err
		}
		return a.print(k)
	})
	keyUserFlag(cmd, &user)
	cmd.Flags().StringVar(&profile, "profile", "", "write the key into the data folder's client files as this profile, instead of printing its secret")
	return cmd
}

func keyUserFlag(cmd *cobra.Command, user *string) {
	cmd.Flags().StringVar(user, "user", "", "user whose key it is")
	completeFlag(cmd, "user", userNames)
}

func (a *access) keys(ctx context.Context, user string) ([]keyInfo, error) {
	in := &iam.ListAccessKeysInput{}
	if user != "" {
		in.UserName = &user
	}
	keys := []keyInfo{}
	pages := iam.NewListAccessKeysPaginator(a.iam, in)
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, accessFailure("listing access keys", err)
		}
		for _, k := range page.AccessKeyMetadata {
			keys = append(keys, keyInfo{ID: aws.ToString(k.AccessKeyId), User: aws.ToString(k.UserName), Status: string(k.Status), Created: aws.ToTime(k.CreateDate).UTC()})
		}
	}
	return keys, nil
}

func newKeyList() *cobra.Command {
	var user string
	cmd := accessCommand("list [--user NAME]", "List the access keys of a user, or of all users", nil, func(ctx context.Context, a *access, _ []string) error {
		names := []string{user}
		if user == "" {
			var err error
			if names, err = userNames(ctx, a); err != nil {
				return err
			}
		}
		list := keyList{Keys: []keyInfo{}}
		for _, name := range names {
			keys, err := a.keys(ctx, name)
			if err != nil {
				return err
			}
			for _, k := range keys {
				out, err := a.iam.GetAccessKeyLastUsed(ctx, &iam.GetAccessKeyLastUsedInput{AccessKeyId: &k.ID})
				if err != nil {
					return accessFailure("asking when "+k.ID+" was used", err)
				}
				if used := out.AccessKeyLastUsed; used != nil && used.LastUsedDate != nil {
					at := used.LastUsedDate.UTC()
					k.LastUsed, k.Service = &at, aws.ToString(used.ServiceName)
				}
				list.Keys = append(list.Keys, k)
			}
		}
		return a.print(list)
	})
	keyUserFlag(cmd, &user)
	return cmd
}

// owner finds the user of a key, unless it was named.
func (a *access) owner(ctx context.Context, user, key string) (string, error) {
	if user != "" {
		return user, nil
	}
	out, err := a.iam.GetAccessKeyLastUsed(ctx, &iam.GetAccessKeyLastUsedInput{AccessKeyId: &key})
	if err != nil {
		return "", accessFailure("finding the user of "+key, err)
	}
	return aws.ToString(out.UserName), nil
}

// keyIDs completes access keys.
func keyIDs(ctx context.Context, a *access) ([]string, error) {
	users, err := userNames(ctx, a)
	if err != nil {
		return nil, err
	}
	var ids []string
	for _, user := range users {
		keys, err := a.keys(ctx, user)
		if err != nil {
			return nil, err
		}
		for _, k := range keys {
			ids = append(ids, k.ID)
		}
	}
	return ids, nil
}

func newKeyStatus(name, short string, status types.StatusType) *cobra.Command {
	var user string
	cmd := accessCommand(name+" KEY", short, []string{"KEY"}, func(ctx context.Context, a *access, args []string) error {
		user, err := a.owner(ctx, user, args[0])
		if err != nil {
			return err
		}
		if _, err := a.iam.UpdateAccessKey(ctx, &iam.UpdateAccessKeyInput{UserName: &user, AccessKeyId: &args[0], Status: status}); err != nil {
			return accessFailure("changing the access key", err)
		}
		return a.print(outcome{Status: name + "d", Kind: "key", Name: args[0]})
	})
	keyUserFlag(cmd, &user)
	completeFirst(cmd, keyIDs)
	return cmd
}

func newKeyDelete() *cobra.Command {
	var user string
	cmd := accessCommand("delete KEY", "Delete an access key", []string{"KEY"}, func(ctx context.Context, a *access, args []string) error {
		user, err := a.owner(ctx, user, args[0])
		if err != nil {
			return err
		}
		if _, err := a.iam.DeleteAccessKey(ctx, &iam.DeleteAccessKeyInput{UserName: &user, AccessKeyId: &args[0]}); err != nil {
			return accessFailure("deleting the access key", err)
		}
		return a.print(outcome{Status: "deleted", Kind: "key", Name: args[0]})
	})
	keyUserFlag(cmd, &user)
	completeFirst(cmd, keyIDs)
	return cmd
}

func newKeyRotate() *cobra.Command {
	var user, profile string
	var deleteOld bool
	cmd := accessCommand("rotate --user NAME", "Make a new access key in place of the active one, which is shut out", nil, func(ctx context.Context, a *access, _ []string) error {
		if user == "" {
			return usageError("chirograph key rotate --user NAME", "--user is needed")
		}
		if err := a.checkProfile(profile); err != nil {
			return err
		}
		keys, err := a.keys(ctx, user)
		if err != nil {
			return err
		}
		var old *keyInfo
		for _, k := range keys {
			if k.Status != string(types.StatusTypeActive) {
				continue
			}
			if old != nil {
				return &exitError{code: exitFailure, hint: "deactivate one of them: " + self() + " key deactivate KEY", err: fmt.Errorf("the user %s has two active keys, %s and %s", user, old.ID, k.ID)}
			}
			old = &k
		}
		if old == nil {
			return &exitError{code: exitFailure, hint: "make one: " + self() + " key create --user " + user, err: fmt.Errorf("the user %s has no active key", user)}
		}
		out, err := a.iam.CreateAccessKey(ctx, &iam.CreateAccessKeyInput{UserName: &user})
		if isCode(err, "LimitExceeded") {
			return twoKeys(user)
		}
		if err != nil {
			return accessFailure("making the access key", err)
		}
		fresh := profileKeys{id: aws.ToString(out.AccessKey.AccessKeyId), secret: aws.ToString(out.AccessKey.SecretAccessKey)}
		k := newKeyInfo{ID: fresh.id, Secret: fresh.secret, User: user, Replaced: old.ID}
		if profile != "" {
			if err := a.writeProfile(profile, fresh); err != nil {
				return err
			}
			k.Secret, k.Profile = "", profile
		}
		// The new key is printed before the old one goes: who rotates the key
		// that this command signs with must not lose both.
		if err := a.print(k); err != nil {
			return err
		}
		if err := a.replaceKey(old.ID, fresh); err != nil {
			return err
		}
		if deleteOld {
			_, err = a.iam.DeleteAccessKey(ctx, &iam.DeleteAccessKeyInput{UserName: &user, AccessKeyId: &old.ID})
		} else {
			_, err = a.iam.UpdateAccessKey(ctx, &iam.UpdateAccessKeyInput{UserName: &user, AccessKeyId: &old.ID, Status: types.StatusTypeInactive})
		}
		if err != nil {
			return accessFailure("shutting out the old key "+old.ID, err)
		}
		return nil
	})
	keyUserFlag(cmd, &user)
	cmd.Flags().StringVar(&profile, "profile", "", "write the new key into the data folder's client files as this profile, instead of printing its secret")
	cmd.Flags().BoolVar(&deleteOld, "delete-old", false, "delete the old key instead of keeping it inactive")
	return cmd
}
