package sqlite

import (
	"crypto/rand"
	"errors"
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
// certificates is bound to one. Certificates have no index by entry: where CAs
// revoked, it looks at all of their certificates, once.
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
		if err := upgradeRevokedOf(c, ca); err != nil {
			return fmt.Errorf("revocations of CA %s: %w", ca, err)
		}
	}
	return nil
}

func upgradeRevokedOf(c *conn, ca string) error {
	// CROSS JOIN is taken in this order. In the order of their key the rows are
	// appended to full pages, each of which is written once.
	r, err := c.query(`SELECT v.revoke_idx, c.serial, c.not_after, v.time, v.reason
		FROM certificate c CROSS JOIN revocation v ON v.ca = c.ca AND v.issue_idx = c.idx WHERE c.ca = ? ORDER BY v.revoke_idx`, ca)
	if err != nil {
		return err
	}
	for err == nil && r.next() {
		err = insertRevokedBytes(c, ca, &store.Revoked{RevokeIndex: uint64(r.int(0)), Serial: r.blob(1), NotAfter: r.int(2), Time: r.int(3), Reason: uint8(r.int(4))})
	}
	return errors.Join(err, r.close())
}
