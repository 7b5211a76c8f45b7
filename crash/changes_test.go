package crash

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	mathrand "math/rand/v2"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/acmpca"
	"github.com/aws/aws-sdk-go-v2/service/acmpca/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	iamtypes "github.com/aws/aws-sdk-go-v2/service/iam/types"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"chirograph.dev/internal/bench"
)

const quickChangeRounds = 6

// thing is one thing on the server that one client alone changes. After a crash
// its state is the one last acknowledged, or the one that was asked for without
// an answer: nothing older, and nothing half.
type thing struct {
	acknowledged, asked string
}

// set asks for a state; false when the answer never came.
func (c *thing) set(state string, call func() error) bool {
	c.asked = state
	if call() != nil {
		return false
	}
	c.acknowledged = state
	return true
}

// found compares what is there after the restart.
func (c *thing) found(t *testing.T, what, state string) {
	t.Helper()
	if state != c.acknowledged && state != c.asked {
		t.Errorf("%s is %q; acknowledged was %q, then %q was asked for", what, state, c.acknowledged, c.asked)
	}
	c.acknowledged, c.asked = state, state
}

// changes is all that the clients of TestCrashChanges know.
type changes struct {
	ca, cycled              string // ARNs: of a CA that stays active, and of one that comes and goes
	tags, policy, permitted thing
	status                  thing
	authorities             []*authority
	users, roles            []*identity
	world                   *world // what the cycled CA issued and revoked
	serial                  int    // makes names and values unique
}

// authority is a CA that a client made, and perhaps deleted.
type authority struct {
	arn string
	is  thing // "there" or "gone"
}

// identity is a user with an access key and a policy, or a role with a policy.
type identity struct {
	name             string
	is, policy, keys thing
	key              *iamtypes.AccessKey // the last one that was told
}

// TestCrashChanges kills the server while clients change what is not in a log:
// tags, policies, permissions, the status of CAs, CAs themselves, users, roles
// and keys. After each restart what was acknowledged is there, whole; private
// keys are there for the CAs that are, and for no other; and a CA that was
// deleted and restored reports all that it ever issued and revoked.
func TestCrashChanges(t *testing.T) {
	rounds := roundsOr(t, quickChangeRounds)
	dir := t.TempDir()
	binary, err := bench.Build(dir)
	if err != nil {
		t.Fatal(err)
	}
	s := &server{binary: binary, dir: filepath.Join(dir, "data")}
	s.start(t)
	c := &changes{world: &world{issued: map[string]bool{}, revoked: map[string]string{}, reports: map[string]string{}}}
	for _, arn := range []*string{&c.ca, &c.cycled} {
		if *arn, err = s.MakeCA(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.MakeBucket(t.Context(), bucketName); err != nil {
		t.Fatal(err)
	}
	c.status = thing{"ACTIVE", "ACTIVE"}
	csrs := makeCSRs(t, 4)
	for round := range rounds {
		ctx, cancel := context.WithCancel(t.Context())
		var load sync.WaitGroup
		c.serial = (round + 1) * 1_000_000
		for _, client := range []func(context.Context, *server, int){
			c.tag, c.share, c.permit, c.makeAuthorities, c.makeUsers, c.makeRoles,
			func(ctx context.Context, s *server, _ int) { c.cycle(ctx, s, csrs) },
		} {
			load.Go(func() { client(ctx, s, c.serial) })
		}
		time.Sleep(time.Duration(20+mathrand.IntN(600)) * time.Millisecond)
		s.kill(t)
		cancel()
		load.Wait()

		s.start(t)
		c.check(t, s)
		// What has outlived some crashes will outlive more; the last ones are looked at again.
		c.authorities, c.users, c.roles = last(c.authorities), last(c.users), last(c.roles)
		if t.Failed() {
			t.Fatalf("round %d of %d\n%s", round+1, rounds, s.Log())
		}
	}
	t.Logf("%d rounds, %d certificates", rounds, len(c.world.issued))
}

func last[T any](list []T) []T { return list[max(0, len(list)-60):] }

// tag overwrites three tags at once.
func (c *changes) tag(ctx context.Context, s *server, n int) {
	for ; ctx.Err() == nil; n++ {
		value := fmt.Sprint(n)
		var tags []types.Tag
		for _, key := range []string{"a", "b", "c"} {
			tags = append(tags, types.Tag{Key: aws.String(key), Value: &value})
		}
		if !c.tags.set("a="+value+" b="+value+" c="+value, func() error {
			_, err := s.PCA.TagCertificateAuthority(ctx, &acmpca.TagCertificateAuthorityInput{CertificateAuthorityArn: &c.ca, Tags: tags})
			return err
		}) {
			return
		}
	}
}

// share puts policies and takes them away.
func (c *changes) share(ctx context.Context, s *server, n int) {
	for ; ctx.Err() == nil; n++ {
		text := fmt.Sprintf(`{"Version":"2012-10-17","Statement":[{"Sid":"n%d","Effect":"Allow","Principal":{"AWS":"111122223333"},"Action":"acm-pca:GetCertificate","Resource":%q}]}`, n, c.ca)
		if !c.policy.set(text, func() error {
			_, err := s.PCA.PutPolicy(ctx, &acmpca.PutPolicyInput{ResourceArn: &c.ca, Policy: &text})
			return err
		}) {
			return
		}
		if n%3 == 0 && !c.policy.set("", func() error {
			_, err := s.PCA.DeletePolicy(ctx, &acmpca.DeletePolicyInput{ResourceArn: &c.ca})
			return err
		}) {
			return
		}
	}
}

// permit creates a permission and deletes it.
func (c *changes) permit(ctx context.Context, s *server, _ int) {
	principal := aws.String("acm.amazonaws.com")
	for ctx.Err() == nil {
		if c.permitted.acknowledged == "" && !c.permitted.set("IssueCertificate GetCertificate", func() error {
			_, err := s.PCA.CreatePermission(ctx, &acmpca.CreatePermissionInput{
				CertificateAuthorityArn: &c.ca, Principal: principal, Actions: []types.ActionType{types.ActionTypeIssueCertificate, types.ActionTypeGetCertificate},
			})
			return err
		}) {
			return
		}
		if !c.permitted.set("", func() error {
			_, err := s.PCA.DeletePermission(ctx, &acmpca.DeletePermissionInput{CertificateAuthorityArn: &c.ca, Principal: principal})
			return err
		}) {
			return
		}
	}
}

// cycle issues and revokes, switches the CA off, deletes it, restores it, and
// switches it on again.
func (c *changes) cycle(ctx context.Context, s *server, csrs [][]byte) {
	update := func(to types.CertificateAuthorityStatus) func() error {
		return func() error {
			_, err := s.PCA.UpdateCertificateAuthority(ctx, &acmpca.UpdateCertificateAuthorityInput{CertificateAuthorityArn: &c.cycled, Status: to})
			return err
		}
	}
	restored := false
	for ctx.Err() == nil {
		ok := true
		switch c.status.acknowledged {
		case "ACTIVE":
			for range 3 {
				ok = ok && issue(ctx, s, c.world, c.cycled, csrs)
			}
			ok = ok && revoke(ctx, s, c.world, c.cycled) && c.status.set("DISABLED", update(types.CertificateAuthorityStatusDisabled))
			restored = false
		case "DISABLED":
			if restored {
				ok = c.status.set("ACTIVE", update(types.CertificateAuthorityStatusActive))
				break
			}
			ok = c.status.set("DELETED", func() error {
				_, err := s.PCA.DeleteCertificateAuthority(ctx, &acmpca.DeleteCertificateAuthorityInput{CertificateAuthorityArn: &c.cycled, PermanentDeletionTimeInDays: aws.Int32(7)})
				return err
			})
		case "DELETED":
			ok = c.status.set("DISABLED", func() error {
				_, err := s.PCA.RestoreCertificateAuthority(ctx, &acmpca.RestoreCertificateAuthorityInput{CertificateAuthorityArn: &c.cycled})
				return err
			})
			restored = true
		}
		if !ok {
			return
		}
	}
}

// makeAuthorities creates CAs and deletes every other one at once, while its
// key is being made: it is gone then, and its key with it.
func (c *changes) makeAuthorities(ctx context.Context, s *server, n int) {
	for ; ctx.Err() == nil; n++ {
		algorithm, signing := types.KeyAlgorithmRsa2048, types.SigningAlgorithmSha256withrsa
		if n%4 == 0 {
			algorithm, signing = types.KeyAlgorithmMlDsa44, types.SigningAlgorithmMlDsa44
		}
		out, err := s.PCA.CreateCertificateAuthority(ctx, &acmpca.CreateCertificateAuthorityInput{
			CertificateAuthorityType: types.CertificateAuthorityTypeRoot,
			CertificateAuthorityConfiguration: &types.CertificateAuthorityConfiguration{
				KeyAlgorithm: algorithm, SigningAlgorithm: signing, Subject: &types.ASN1Subject{CommonName: aws.String("Crash " + fmt.Sprint(n))},
			},
		})
		if err != nil {
			return
		}
		a := &authority{*out.CertificateAuthorityArn, thing{"there", "there"}}
		c.authorities = append(c.authorities, a)
		if n%2 == 0 {
			time.Sleep(30 * time.Millisecond)
			continue
		}
		if !a.is.set("gone", func() error {
			_, err := s.PCA.DeleteCertificateAuthority(ctx, &acmpca.DeleteCertificateAuthorityInput{CertificateAuthorityArn: &a.arn})
			return err
		}) {
			return
		}
	}
}

// makeUsers creates users with a policy and a key, and deletes some of them again.
func (c *changes) makeUsers(ctx context.Context, s *server, n int) {
	client := s.iam()
	for ; ctx.Err() == nil; n++ {
		u := &identity{name: fmt.Sprintf("user-%d", n), is: thing{"absent", "absent"}}
		c.users = append(c.users, u)
		text := policyText(n)
		ok := u.is.set("there", func() error {
			_, err := client.CreateUser(ctx, &iam.CreateUserInput{UserName: &u.name})
			return err
		}) && u.policy.set(text, func() error {
			_, err := client.PutUserPolicy(ctx, &iam.PutUserPolicyInput{UserName: &u.name, PolicyName: aws.String("p"), PolicyDocument: &text})
			return err
		}) && u.keys.set("Active", func() error {
			out, err := client.CreateAccessKey(ctx, &iam.CreateAccessKeyInput{UserName: &u.name})
			if err == nil {
				u.key = out.AccessKey
			}
			return err
		})
		if ok && n%2 == 0 {
			ok = u.keys.set("Inactive", func() error {
				_, err := client.UpdateAccessKey(ctx, &iam.UpdateAccessKeyInput{UserName: &u.name, AccessKeyId: u.key.AccessKeyId, Status: iamtypes.StatusTypeInactive})
				return err
			})
		}
		if ok && n%3 == 0 {
			ok = u.keys.set("", func() error {
				_, err := client.DeleteAccessKey(ctx, &iam.DeleteAccessKeyInput{UserName: &u.name, AccessKeyId: u.key.AccessKeyId})
				return err
			}) && u.policy.set("", func() error {
				_, err := client.DeleteUserPolicy(ctx, &iam.DeleteUserPolicyInput{UserName: &u.name, PolicyName: aws.String("p")})
				return err
			}) && u.is.set("absent", func() error {
				_, err := client.DeleteUser(ctx, &iam.DeleteUserInput{UserName: &u.name})
				return err
			})
		}
		if !ok {
			return
		}
	}
}

// makeRoles creates roles and changes the policy of each.
func (c *changes) makeRoles(ctx context.Context, s *server, n int) {
	client := s.iam()
	const trust = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"111122223333"},"Action":"sts:AssumeRole"}]}`
	for ; ctx.Err() == nil; n++ {
		r := &identity{name: fmt.Sprintf("role-%d", n), is: thing{"absent", "absent"}}
		c.roles = append(c.roles, r)
		if !r.is.set("there", func() error {
			_, err := client.CreateRole(ctx, &iam.CreateRoleInput{RoleName: &r.name, AssumeRolePolicyDocument: aws.String(trust)})
			return err
		}) {
			return
		}
		for version := range 3 {
			text := policyText(n + version)
			if !r.policy.set(text, func() error {
				_, err := client.PutRolePolicy(ctx, &iam.PutRolePolicyInput{RoleName: &r.name, PolicyName: aws.String("p"), PolicyDocument: &text})
				return err
			}) {
				return
			}
		}
	}
}

func policyText(n int) string {
	return fmt.Sprintf(`{"Version":"2012-10-17","Statement":[{"Sid":"n%d","Effect":"Allow","Action":"acm-pca:ListCertificateAuthorities","Resource":"*"}]}`, n)
}

func (s *server) iam() *iam.Client {
	return iam.NewFromConfig(s.Config, func(o *iam.Options) { o.Retryer = aws.NopRetryer{} })
}

// check is what must hold after a restart.
func (c *changes) check(t *testing.T, s *server) {
	t.Helper()
	ctx := t.Context()
	tags, err := s.PCA.ListTags(ctx, &acmpca.ListTagsInput{CertificateAuthorityArn: &c.ca})
	if err != nil {
		t.Fatal(err)
	}
	var texts []string
	for _, tag := range tags.Tags {
		texts = append(texts, *tag.Key+"="+*tag.Value)
	}
	c.tags.found(t, "the set of tags", strings.Join(texts, " "))

	text := ""
	policy, err := s.PCA.GetPolicy(ctx, &acmpca.GetPolicyInput{ResourceArn: &c.ca})
	if err == nil {
		text = *policy.Policy
	} else if _, none := errors.AsType[*types.ResourceNotFoundException](err); !none {
		t.Fatal(err)
	}
	c.policy.found(t, "the policy", text)

	permissions, err := s.PCA.ListPermissions(ctx, &acmpca.ListPermissionsInput{CertificateAuthorityArn: &c.ca})
	if err != nil {
		t.Fatal(err)
	}
	texts = nil
	for _, p := range permissions.Permissions {
		for _, a := range p.Actions {
			texts = append(texts, string(a))
		}
	}
	c.permitted.found(t, "the permission", strings.Join(texts, " "))

	c.checkCycled(t, s)
	for _, a := range c.authorities {
		c.checkAuthority(t, s, a)
	}
	for _, u := range c.users {
		checkUser(t, s, u)
	}
	for _, r := range c.roles {
		checkRole(t, s, r)
	}
}

// checkCycled brings the CA back to where it can report, and reads its report.
func (c *changes) checkCycled(t *testing.T, s *server) {
	t.Helper()
	ctx := t.Context()
	d, err := s.PCA.DescribeCertificateAuthority(ctx, &acmpca.DescribeCertificateAuthorityInput{CertificateAuthorityArn: &c.cycled})
	if err != nil {
		t.Fatal(err)
	}
	status := d.CertificateAuthority.Status
	if (status == types.CertificateAuthorityStatusDeleted) != (d.CertificateAuthority.RestorableUntil != nil) {
		t.Errorf("the CA is %s and can be restored until %v", status, d.CertificateAuthority.RestorableUntil)
	}
	c.status.found(t, "the status of the CA", string(status))
	if status == types.CertificateAuthorityStatusDeleted {
		if !c.status.set("DISABLED", func() error {
			_, err = s.PCA.RestoreCertificateAuthority(ctx, &acmpca.RestoreCertificateAuthorityInput{CertificateAuthorityArn: &c.cycled})
			return err
		}) {
			t.Fatal(err)
		}
	}
	check(t, s, c.world, c.cycled)
}

// checkAuthority looks for a CA, and for its private key in the folder.
func (c *changes) checkAuthority(t *testing.T, s *server, a *authority) {
	t.Helper()
	ctx := t.Context()
	id := a.arn[strings.LastIndexByte(a.arn, '/')+1:]
	key := filepath.Join(s.dir, "keys", id+".key")
	d, err := s.PCA.DescribeCertificateAuthority(ctx, &acmpca.DescribeCertificateAuthorityInput{CertificateAuthorityArn: &a.arn})
	if _, gone := errors.AsType[*types.ResourceNotFoundException](err); gone {
		a.is.found(t, "the CA "+id, "gone")
		// What the kill interrupted goes on by itself.
		for deadline := time.Now().Add(time.Minute); ; time.Sleep(5 * time.Millisecond) {
			if _, err := os.Stat(key); errors.Is(err, fs.ErrNotExist) {
				return
			}
			if time.Now().After(deadline) {
				t.Fatalf("the CA %s is gone and its key is there", id)
			}
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	if d.CertificateAuthority.Status == types.CertificateAuthorityStatusDeleted {
		// It had its CSR before the call came, and can be restored.
		a.is.found(t, "the CA "+id, "gone")
		a.is = thing{"there", "there"}
		if _, err := s.PCA.RestoreCertificateAuthority(ctx, &acmpca.RestoreCertificateAuthorityInput{CertificateAuthorityArn: &a.arn}); err != nil {
			t.Fatal(err)
		}
	} else {
		a.is.found(t, "the CA "+id, "there")
	}
	// With retries: an answer of more than one packet can outrun the SDK's look
	// for the end of its own request, upon which it drops the connection.
	reader := acmpca.NewFromConfig(s.Config)
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(5 * time.Millisecond) {
		_, err := reader.GetCertificateAuthorityCsr(ctx, &acmpca.GetCertificateAuthorityCsrInput{CertificateAuthorityArn: &a.arn})
		if err == nil {
			break
		}
		if _, making := errors.AsType[*types.RequestInProgressException](err); !making || time.Now().After(deadline) {
			t.Fatalf("the CSR of the CA %s: %v", id, err)
		}
	}
	if _, err := os.Stat(key); err != nil {
		t.Errorf("the CA %s is there and its key is not: %v", id, err)
	}
}

func checkUser(t *testing.T, s *server, u *identity) {
	t.Helper()
	ctx, client := t.Context(), s.iam()
	_, err := client.GetUser(ctx, &iam.GetUserInput{UserName: &u.name})
	u.is.found(t, u.name, presence(t, err))
	text := ""
	if policy, err := client.GetUserPolicy(ctx, &iam.GetUserPolicyInput{UserName: &u.name, PolicyName: aws.String("p")}); presence(t, err) == "there" {
		text = document(t, policy.PolicyDocument)
	}
	u.policy.found(t, "the policy of "+u.name, text)
	status := ""
	if keys, err := client.ListAccessKeys(ctx, &iam.ListAccessKeysInput{UserName: &u.name}); presence(t, err) == "there" {
		for _, k := range keys.AccessKeyMetadata {
			status += string(k.Status)
		}
	}
	u.keys.found(t, "the key of "+u.name, status)
	if u.key == nil {
		return // nobody was told of one
	}
	own := s.Config.Copy()
	own.Credentials = credentials.NewStaticCredentialsProvider(*u.key.AccessKeyId, *u.key.SecretAccessKey, "")
	_, err = sts.NewFromConfig(own, func(o *sts.Options) { o.Retryer = aws.NopRetryer{} }).GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{})
	if (err == nil) != (status == "Active") {
		t.Errorf("%s has the key %q, which answers: %v", u.name, status, err)
	}
}

func checkRole(t *testing.T, s *server, r *identity) {
	t.Helper()
	ctx, client := t.Context(), s.iam()
	_, err := client.GetRole(ctx, &iam.GetRoleInput{RoleName: &r.name})
	r.is.found(t, r.name, presence(t, err))
	text := ""
	if policy, err := client.GetRolePolicy(ctx, &iam.GetRolePolicyInput{RoleName: &r.name, PolicyName: aws.String("p")}); presence(t, err) == "there" {
		text = document(t, policy.PolicyDocument)
	}
	r.policy.found(t, "the policy of "+r.name, text)
}

// presence is what an answer says of a thing: "there" or "absent".
func presence(t *testing.T, err error) string {
	t.Helper()
	if err == nil {
		return "there"
	}
	if _, none := errors.AsType[*iamtypes.NoSuchEntityException](err); !none {
		t.Fatal(err)
	}
	return "absent"
}

// document is a policy as it was sent; IAM answers it in percent encoding.
func document(t *testing.T, encoded *string) string {
	t.Helper()
	text, err := url.PathUnescape(*encoded)
	if err != nil {
		t.Fatal(err)
	}
	return text
}
