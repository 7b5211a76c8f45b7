package sqlite

import (
	"crypto/rand"
	"fmt"
	"regexp"
	"strings"
	"time"

	"chirograph.dev/internal/store"
)

// administratorSetting names the access key that the client files hold; format
// 1 took the oldest one.
const administratorSetting = "administrator-key"

var userName = regexp.MustCompile(`^[\w+=,.@-]{1,64}$`)

// upgradeKeys makes users of the access keys of format 1, where each key
// carried an ARN and a policy of its own. Keys with the same ARN and policy
// become one user's; where the policies differ, a user of its own keeps a key
// from gaining what another had.
func upgradeKeys(c *conn) error {
	type oldKey struct {
		store.AccessKey
		arn, id, policy string
	}
	var old []oldKey
	r, err := c.query("SELECT id, sealed_secret, account, principal_arn, principal_id, service, policy, created_at FROM access_key_1 ORDER BY created_at, id")
	if err != nil {
		return err
	}
	for r.next() {
		old = append(old, oldKey{
			store.AccessKey{ID: r.text(0), SealedSecret: r.blob(1), Account: r.text(2), Service: r.text(5), Active: true, CreatedAt: at(r.int(7))},
			r.text(3), r.text(4), r.text(6),
		})
	}
	if err := r.close(); err != nil {
		return err
	}
	users, ids, accounts := map[string]*store.Identity{}, map[string]bool{}, map[string]bool{} // users by account and name
	for _, k := range old {
		if !accounts[k.Account] {
			accounts[k.Account] = true
			_, err := c.exec("INSERT INTO account ("+accountColumns+") VALUES (?, ?, ?, 'ACTIVE', 'INVITED', ?, 1)", k.Account, k.Account, k.Account+"@accounts.invalid", ms(k.CreatedAt))
			if err != nil {
				return fmt.Errorf("account %s: %w", k.Account, err)
			}
		}
		if k.Service != "" {
			if err := insertKey(c, &k.AccessKey); err != nil {
				return err
			}
			continue
		}
		path, name := "/", k.ID
		if _, full, ok := strings.Cut(k.arn, ":user/"); ok {
			cut := strings.LastIndexByte(full, '/') + 1
			if userName.MatchString(full[cut:]) {
				path, name = "/"+full[:cut], full[cut:]
			}
		}
		slot := k.Account + "/" + strings.ToLower(name)
		if u := users[slot]; u != nil && (u.Inline[0].Document != k.policy || u.Path != path) {
			name = k.ID
			slot = k.Account + "/" + strings.ToLower(name)
		}
		u := users[slot]
		if u == nil {
			u = &store.Identity{ID: k.id, Kind: store.KindUser, Account: k.Account, Name: name, Path: path, CreatedAt: k.CreatedAt, Version: 1,
				Inline: []store.InlinePolicy{{Name: "access-key-policy", Document: k.policy}}}
			if u.CreatedAt.IsZero() {
				u.CreatedAt = time.UnixMilli(1).UTC()
			}
			if u.ID == "" || ids[u.ID] {
				u.ID = "AIDA" + rand.Text()[:16]
			}
			users[slot], ids[u.ID] = u, true
			if err := insertIdentity(c, u); err != nil {
				return fmt.Errorf("user of access key %s: %w", k.ID, err)
			}
		}
		k.User = u.ID
		if err := insertKey(c, &k.AccessKey); err != nil {
			return err
		}
	}
	if len(old) > 0 {
		if _, err := c.exec("INSERT INTO setting (name, value) VALUES (?, ?)", administratorSetting, old[0].ID); err != nil {
			return err
		}
	}
	_, err = c.exec("DROP TABLE access_key_1")
	return err
}

// upgradeRevoked lists the revocations of format 4 for CRLs. None of the
// certificates is bound to one.
func upgradeRevoked(c *conn) error {
	var cas []string
	r, err := c.query("SELECT DISTINCT ca FROM revocation")
	if err != nil {
		return err
	}
	for r.next() {
		cas = append(cas, r.text(0))
	}
	if err := r.close(); err != nil {
		return err
	}
	for _, ca := range cas {
		if err := listRevoked(c, ca); err != nil {
			return fmt.Errorf("revocations of CA %s: %w", ca, err)
		}
	}
	return nil
}
