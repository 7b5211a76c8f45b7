package main

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"chirograph.dev/internal/pca"
)

// behaviourRules are what api.md 5 and 8 and ca-lifecycle.md say of success.
func behaviourRules() []rule {
	status := func(t *testing.T, w *world, s *subject, want string) {
		t.Helper()
		if got := w.describe(t, s)["Status"]; got != want {
			t.Errorf("the status is %v, want %s", got, want)
		}
	}
	return []rule{
		{operation: "DescribeCertificateAuthority", id: "members 3", holds: "the serial number decimal, times as numbers: validity in seconds, changes in milliseconds", check: func(t *testing.T, w *world) {
			s := w.active(t)
			a := w.send(t, call{operation: "DescribeCertificateAuthority", body: encodeJSON(t, m{"CertificateAuthorityArn": s.arn}), who: w.admin})
			cert := parseCert(t, w.certificate(t, s, s.root)["Certificate"].(string))
			for _, want := range []string{
				`"Serial":"` + cert.SerialNumber.String() + `"`, fmt.Sprintf(`"NotBefore":%d[,}]`, cert.NotBefore.Unix()), fmt.Sprintf(`"NotAfter":%d[,}]`, cert.NotAfter.Unix()),
				`"CreatedAt":[0-9]{10}\.[0-9]{3}[,}]`, `"LastStateChangeAt":[0-9]{10}\.[0-9]{3}[,}]`,
			} {
				if !regexp.MustCompile(want).Match(a.body) {
					t.Errorf("no %s in %s", want, a.body)
				}
			}
		}},
		{operation: "DescribeCertificateAuthority", id: "statuses", holds: "shows each status; EXPIRED and the end of a deletion follow from the clock alone (ca-lifecycle.md 1)", check: func(t *testing.T, w *world) {
			for _, want := range statuses()[:7] {
				status(t, w, w.in(t, want), want)
			}
			if reason := w.describe(t, w.in(t, "FAILED"))["FailureReason"]; reason != "OTHER" {
				t.Errorf("the reason is %v", reason)
			}
		}},
		{operation: "ImportCertificateAuthorityCertificate", id: "consistency 8", holds: "ACTIVE at once, and issues at once; an expired CA is again what it was, also DISABLED", check: func(t *testing.T, _ *world) {
			w := smallWorld(t, nil)
			enabled, disabled := w.pending(t), w.pending(t)
			for _, s := range []*subject{enabled, disabled} {
				w.activate(t, s, m{"Type": "DAYS", "Value": 1})
				status(t, w, s, "ACTIVE")
				w.ok(t, "IssueCertificate", w.issue(t, s))
			}
			w.disable(t, disabled)
			w.pass(25 * time.Hour)
			for s, want := range map[*subject]string{enabled: "ACTIVE", disabled: "DISABLED"} {
				status(t, w, s, "EXPIRED")
				w.activate(t, s, m{"Type": "DAYS", "Value": 30})
				status(t, w, s, want)
			}
		}},
		{operation: "GetCertificateAuthorityCertificate", id: "text 5.9", holds: "the certificate as it was imported, and no chain of a root", check: func(t *testing.T, w *world) {
			s := w.active(t)
			out := w.ok(t, "GetCertificateAuthorityCertificate", m{"CertificateAuthorityArn": s.arn})
			if out["Certificate"] != w.certificate(t, s, s.root)["Certificate"] || len(out) != 1 {
				t.Errorf("%v", out)
			}
		}},
		{operation: "GetCertificateAuthorityCsr", id: "text 5.7", holds: "the same bytes at every call, also when the CA is active", check: func(t *testing.T, w *world) {
			s := w.pending(t)
			before := w.csr(t, s)
			w.activate(t, s, m{"Type": "YEARS", "Value": 1})
			if string(w.csr(t, s)) != string(before) || !strings.HasPrefix(string(before), "-----BEGIN CERTIFICATE REQUEST-----\n") {
				t.Errorf("%s", before)
			}
		}},
		{operation: "GetCertificate", id: "text 5.11", holds: "no newline at the end; a chain that ends with the root, and none of the root itself; revoked ones, too", check: func(t *testing.T, w *world) {
			s := w.active(t)
			w.ok(t, "RevokeCertificate", m{"CertificateAuthorityArn": s.arn, "CertificateSerial": serialOf(s.leaf), "RevocationReason": "UNSPECIFIED"})
			leaf, root := w.certificate(t, s, s.leaf), w.certificate(t, s, s.root)
			if strings.HasSuffix(leaf["Certificate"].(string), "\n") || leaf["CertificateChain"] != root["Certificate"] || root["CertificateChain"] != nil {
				t.Errorf("%v under %v", leaf, root)
			}
		}},
		{operation: "IssueCertificate", id: "consistency 8", holds: "GetCertificate has it at once; the ARN carries the serial number as 32 hexadecimal digits", check: func(t *testing.T, w *world) {
			s := w.active(t)
			arn := w.ok(t, "IssueCertificate", w.issue(t, s))["CertificateArn"].(string)
			cert := parseCert(t, w.certificate(t, s, arn)["Certificate"].(string))
			if arn != fmt.Sprintf("%s/certificate/%032x", s.arn, cert.SerialNumber) {
				t.Errorf("%s has the serial number %x", arn, cert.SerialNumber)
			}
		}},
		{operation: "IssueCertificate", id: "order 5.10", holds: "the status is judged before the template, the template before the CSR, the CSR before the algorithm, the algorithm before the validity", check: func(t *testing.T, w *world) {
			s := w.active(t)
			wrong := with(w.issue(t, s), "TemplateArn", "arn:aws:acm-pca:::template/NoSuchCertificate/V1", "Csr", []byte("none"), "SigningAlgorithm", "SHA256WITHRSA", "Validity", m{"Type": "YEARS", "Value": 99})
			w.disable(t, s)
			w.refused(t, "IssueCertificate", wrong, badState, "")
			w.ok(t, "UpdateCertificateAuthority", m{"CertificateAuthorityArn": s.arn, "Status": "ACTIVE"})
			w.refused(t, "IssueCertificate", wrong, "InvalidArgsException", "NoSuchCertificate")
			wrong = with(wrong, "TemplateArn", nil)
			w.refused(t, "IssueCertificate", wrong, "MalformedCSRException", "")
			wrong = with(wrong, "Csr", newCSR(t, newKey(t), "leaf.example.com"))
			w.refused(t, "IssueCertificate", wrong, "InvalidArgsException", "SHA256WITHRSA")
			w.refused(t, "IssueCertificate", with(wrong, "SigningAlgorithm", "SHA512WITHECDSA"), "ValidationException", "")
		}},
		{operation: "IssueCertificate", id: "validity", holds: "beyond the CA's own, in the past, or no date: ValidationException, and nothing is issued (ca-lifecycle.md 6)", check: func(t *testing.T, w *world) {
			s := w.active(t)
			for _, v := range []m{{"Type": "YEARS", "Value": 11}, {"Type": "ABSOLUTE", "Value": 1}, {"Type": "END_DATE", "Value": 511231235959}, {"Type": "END_DATE", "Value": 20300231000000}, {"Type": "DAYS", "Value": 9_000_000_000_000_000_000}} {
				w.refused(t, "IssueCertificate", with(w.issue(t, s), "Validity", v), "ValidationException", "")
			}
			w.refused(t, "IssueCertificate", with(w.issue(t, s), "ValidityNotBefore", m{"Type": "DAYS", "Value": 1}), "InvalidArgsException", "")
		}},
		{operation: "IssueCertificate", id: "algorithm", holds: "a signing algorithm of another kind of key is an InvalidArgsException (ca-lifecycle.md 3)", check: func(t *testing.T, w *world) {
			w.refused(t, "IssueCertificate", with(w.issue(t, w.active(t)), "SigningAlgorithm", "SHA256WITHRSA"), "InvalidArgsException", "")
		}},
		{operation: "RevokeCertificate", id: "serial 5.12", holds: "hexadecimal with and without colons, in any case, without leading zeros and of odd length", check: func(t *testing.T, w *world) {
			s := w.active(t)
			digits := serialOf(s.leaf)
			forms := []string{digits, strings.ToUpper(digits), strings.TrimLeft(digits, "0"), "0" + digits, regexp.MustCompile("..").ReplaceAllString(digits[:30], "$0:") + digits[30:]}
			for n, form := range forms {
				code := "RequestAlreadyProcessedException"
				if n == 0 {
					code = ok
				}
				w.outcome(t, "RevokeCertificate", m{"CertificateAuthorityArn": s.arn, "CertificateSerial": form, "RevocationReason": "SUPERSEDED"}, code)
			}
			w.refused(t, "RevokeCertificate", m{"CertificateAuthorityArn": s.arn, "CertificateSerial": "01", "RevocationReason": "SUPERSEDED"}, notFound, "")
		}},
		{operation: "RevokeCertificate", id: "consistency 8", holds: "revoked at once for a second call, and in the next audit report", check: func(t *testing.T, w *world) {
			s := w.in(t, "ACTIVE")
			body := m{"CertificateAuthorityArn": s.arn, "CertificateSerial": serialOf(s.leaf), "RevocationReason": "CESSATION_OF_OPERATION"}
			w.ok(t, "RevokeCertificate", body)
			w.refused(t, "RevokeCertificate", body, "RequestAlreadyProcessedException", "")
			_, file := authority{instance: w.instance, arn: s.arn}.report(t, w.bucket, "JSON")
			for _, r := range parseRows(t, file) {
				if r.CertificateArn == s.leaf && (r.RevokedAt == nil || r.Reason == nil || *r.Reason != "CESSATION_OF_OPERATION") {
					t.Errorf("the report has %+v", r)
				}
			}
			if !strings.Contains(string(file), s.leaf) {
				t.Errorf("the report does not list %s", s.leaf)
			}
		}},
		{operation: "UpdateCertificateAuthority", id: "status 5.4", holds: "disables and enables; the same status again is a success; each given part of the revocation settings is replaced", check: func(t *testing.T, w *world) {
			s := w.active(t)
			for _, want := range []string{"DISABLED", "DISABLED", "ACTIVE", "ACTIVE"} {
				w.ok(t, "UpdateCertificateAuthority", m{"CertificateAuthorityArn": s.arn, "Status": want})
				status(t, w, s, want)
			}
			w.ok(t, "UpdateCertificateAuthority", m{"CertificateAuthorityArn": s.arn, "RevocationConfiguration": m{"CrlConfiguration": m{"Enabled": false}}})
		}},
		{operation: "DeleteCertificateAuthority", id: "period", holds: "7 to 30 days, 30 unless it is said; Describe shows it until then (ca-lifecycle.md 7)", check: func(t *testing.T, w *world) {
			for days, body := range map[int]m{30: {}, 7: {"PermanentDeletionTimeInDays": 7}} {
				s := w.pending(t)
				now := w.house.cfg.now()
				w.ok(t, "DeleteCertificateAuthority", with(body, "CertificateAuthorityArn", s.arn))
				c := w.describe(t, s)
				until := time.UnixMilli(int64(c["RestorableUntil"].(float64) * 1000))
				if c["Status"] != "DELETED" || until.Sub(now.Add(time.Duration(days)*24*time.Hour)).Abs() > time.Minute {
					t.Errorf("%s until %s", c["Status"], until)
				}
			}
			for _, days := range []int{6, 31} {
				w.refused(t, "DeleteCertificateAuthority", m{"CertificateAuthorityArn": w.gone.arn, "PermanentDeletionTimeInDays": days}, "ValidationException", "permanentDeletionTimeInDays")
			}
		}},
		{operation: "RestoreCertificateAuthority", id: "period", holds: "what it was before, within the period; not found after it, whatever was issued (ca-lifecycle.md 7)", check: func(t *testing.T, _ *world) {
			w := smallWorld(t, nil)
			pending, disabled, late := w.pending(t), w.active(t), w.pending(t)
			w.disable(t, disabled)
			for _, s := range []*subject{pending, disabled, late} {
				w.ok(t, "DeleteCertificateAuthority", m{"CertificateAuthorityArn": s.arn, "PermanentDeletionTimeInDays": 7})
			}
			w.pass(7*24*time.Hour - time.Minute)
			for s, want := range map[*subject]string{pending: "PENDING_CERTIFICATE", disabled: "DISABLED"} {
				w.ok(t, "RestoreCertificateAuthority", m{"CertificateAuthorityArn": s.arn})
				status(t, w, s, want)
			}
			w.pass(2 * time.Minute)
			w.refused(t, "RestoreCertificateAuthority", m{"CertificateAuthorityArn": late.arn}, notFound, "")
			w.activate(t, pending, m{"Type": "YEARS", "Value": 1})
			w.ok(t, "UpdateCertificateAuthority", m{"CertificateAuthorityArn": disabled.arn, "Status": "ACTIVE"})
			w.ok(t, "IssueCertificate", w.issue(t, disabled))
		}},
		{operation: "TagCertificateAuthority", id: "values", holds: "an existing key's value is overwritten; keys tell case apart; a key may have no value (A-52, A-53)", check: func(t *testing.T, w *world) {
			s := w.pending(t)
			for _, list := range [][]m{{{"Key": "a", "Value": "1"}, {"Key": "A", "Value": "2"}}, {{"Key": "a", "Value": "3"}, {"Key": "none"}}} {
				w.ok(t, "TagCertificateAuthority", m{"CertificateAuthorityArn": s.arn, "Tags": list})
			}
			w.hasTags(t, s, "A=2 a=3 none=")
		}},
		{operation: "UntagCertificateAuthority", id: "values", holds: "by key, or by key and value when one is given; what is not there is no error (A-54)", check: func(t *testing.T, w *world) {
			s := w.pending(t)
			w.ok(t, "TagCertificateAuthority", m{"CertificateAuthorityArn": s.arn, "Tags": []m{{"Key": "a", "Value": "1"}, {"Key": "b", "Value": "2"}, {"Key": "c", "Value": "3"}}})
			w.ok(t, "UntagCertificateAuthority", m{"CertificateAuthorityArn": s.arn, "Tags": []m{{"Key": "a"}, {"Key": "b", "Value": "other"}, {"Key": "c", "Value": "3"}, {"Key": "d"}}})
			w.hasTags(t, s, "b=2")
		}},
		{operation: "CreatePermission", id: "values", holds: "the owner's account unless another is named; services other than ACM and other actions are refused (A-21 to A-23)", check: func(t *testing.T, w *world) {
			s := w.pending(t)
			w.refused(t, "CreatePermission", with(permissionFor(s), "Principal", "s3.amazonaws.com"), "ValidationException", "principal")
			w.refused(t, "CreatePermission", with(permissionFor(s), "Actions", []string{"RevokeCertificate"}), "ValidationException", "actions.1.member")
			w.ok(t, "CreatePermission", permissionFor(s))
			if p := w.ok(t, "ListPermissions", m{"CertificateAuthorityArn": s.arn})["Permissions"].([]any)[0].(m); p["SourceAccount"] != "123456789012" {
				t.Errorf("%v", p)
			}
		}},
		{operation: "ListPermissions", id: "members A-26", holds: "every member of a permission, with a policy of the same effect", check: func(t *testing.T, w *world) {
			s := w.pending(t)
			w.ok(t, "CreatePermission", permissionFor(s))
			list := w.ok(t, "ListPermissions", m{"CertificateAuthorityArn": s.arn})["Permissions"].([]any)
			if len(list) != 1 {
				t.Fatalf("%v", list)
			}
			p := list[0].(m)
			if p["CertificateAuthorityArn"] != s.arn || p["Principal"] != "acm.amazonaws.com" || fmt.Sprint(p["Actions"]) != "[IssueCertificate GetCertificate ListPermissions]" || p["CreatedAt"] == nil {
				t.Errorf("%v", p)
			}
			if text, _ := p["Policy"].(string); !json.Valid([]byte(text)) || !strings.Contains(text, "acm.amazonaws.com") {
				t.Errorf("the policy is %q", text)
			}
		}},
		{operation: "DeletePermission", id: "absent A-27", holds: "a permission that is not there is not found", check: func(t *testing.T, w *world) {
			s := w.pending(t)
			body := m{"CertificateAuthorityArn": s.arn, "Principal": "acm.amazonaws.com"}
			w.refused(t, "DeletePermission", body, notFound, "")
			w.ok(t, "CreatePermission", permissionFor(s))
			w.refused(t, "DeletePermission", with(body, "SourceAccount", otherAccount), notFound, "")
			w.ok(t, "DeletePermission", body)
			w.refused(t, "DeletePermission", body, notFound, "")
		}},
		{operation: "PutPolicy", id: "replaces A-30", holds: "one policy, which the next one replaces; GetPolicy has exactly its text", check: func(t *testing.T, w *world) {
			s := w.pending(t)
			for _, space := range []string{"", "\n\t "} {
				body := policyFor(s)
				body["Policy"] = space + body["Policy"].(string) + space
				w.ok(t, "PutPolicy", body)
				if got := w.ok(t, "GetPolicy", m{"ResourceArn": s.arn})["Policy"]; got != body["Policy"] {
					t.Errorf("%q, want %q", got, body["Policy"])
				}
			}
		}},
		{operation: "DeletePolicy", id: "absent A-32", holds: "a success when there is none", check: func(t *testing.T, w *world) {
			s := w.pending(t)
			w.ok(t, "PutPolicy", policyFor(s))
			for range 2 {
				w.ok(t, "DeletePolicy", m{"ResourceArn": s.arn})
				w.refused(t, "GetPolicy", m{"ResourceArn": s.arn}, notFound, "")
			}
		}},
	}
}

func (w *world) hasTags(t *testing.T, s *subject, want string) {
	t.Helper()
	var got []string
	for _, tag := range w.ok(t, "ListTags", m{"CertificateAuthorityArn": s.arn})["Tags"].([]any) {
		value := tag.(m)["Value"]
		if value == nil {
			value = ""
		}
		got = append(got, fmt.Sprintf("%v=%v", tag.(m)["Key"], value))
	}
	if strings.Join(got, " ") != want {
		t.Errorf("the tags are %v, want %s", got, want)
	}
}

// sharingRules are access.md 4: what another account may do with a CA whose
// policy shares it, one rule for every operation.
func sharingRules() (list []rule) {
	shareable := " DescribeCertificateAuthority GetCertificate GetCertificateAuthorityCertificate ListPermissions ListTags IssueCertificate RevokeCertificate "
	for _, op := range pca.Operations() {
		if op.Name == "CreateCertificateAuthority" || op.Name == "ListCertificateAuthorities" {
			continue // about no CA
		}
		r := rule{operation: op.Name, id: "cross-account A-4", holds: "denied to another account's administrator, whether the CA exists or not (A-7); no policy can share it"}
		shared := strings.Contains(shareable, " "+op.Name+" ")
		if shared {
			r.holds = "denied to another account's administrator, whether the CA exists or not (A-7), until a policy shares it and while none denies it"
		}
		r.check = func(t *testing.T, w *world) {
			s := w.in(t, "ACTIVE")
			body := w.request(t, op.Name, s)
			stranger := w.user(t, "AKIA"+strings.ToUpper(op.Name), otherAccount, administratorPolicy)
			as := func(body m) reply {
				return w.send(t, call{operation: op.Name, body: encodeJSON(t, body), who: stranger})
			}
			denied := func(body m) string {
				t.Helper()
				a := as(body)
				if a.code != "AccessDeniedException" || a.status != 403 {
					t.Errorf("%d %s %s", a.status, a.code, a.message)
				}
				return a.message
			}
			before := denied(body)
			w.ok(t, "DeletePolicy", m{"ResourceArn": s.arn})
			// A CA that there never was is denied in the same words.
			const unknown = "00000000-0000-4000-8000-000000000000"
			there := encodeJSON(t, body)
			var nowhere m
			if err := json.Unmarshal([]byte(strings.ReplaceAll(string(there), s.arn[len(s.arn)-36:], unknown)), &nowhere); err != nil {
				t.Fatal(err)
			}
			if op.Name != "PutPolicy" && strings.ReplaceAll(before, s.arn[len(s.arn)-36:], unknown) != denied(nowhere) {
				t.Errorf("a CA that exists is denied otherwise: %s", before)
			}
			grant := func(effect, actions string) m {
				return m{"ResourceArn": s.arn, "Policy": `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"` + otherAccount + `"},"Action":["acm-pca:` + op.Name + `"],"Resource":"` + s.arn + `"}` +
					map[bool]string{true: `,{"Effect":"Deny","Principal":{"AWS":"` + otherAccount + `"},"Action":["acm-pca:` + op.Name + `"],"Resource":"` + s.arn + `"}`}[effect == "Deny"] + `]}`}
			}
			if !shared {
				w.refused(t, "PutPolicy", grant("Allow", op.Name), "InvalidPolicyException", "")
				denied(body)
				return
			}
			w.ok(t, "PutPolicy", grant("Deny", op.Name))
			denied(body)
			w.ok(t, "PutPolicy", grant("Allow", op.Name))
			if a := as(body); a.status != 200 {
				t.Errorf("shared: %d %s %s", a.status, a.code, a.message)
			}
			// Its own account's policies have to allow it as well.
			poor := w.user(t, "AKIAPOOR"+strings.ToUpper(op.Name), otherAccount, `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"s3:*","Resource":"*"}}`)
			stranger = poor
			denied(body)
		}
		list = append(list, r)
	}
	return append(list,
		rule{operation: "ListCertificateAuthorities", id: "cross-account 4.3", holds: "SELF lists the caller's own, OTHER_ACCOUNTS those whose policy grants the caller anything", check: func(t *testing.T, _ *world) {
			w := smallWorld(t, nil)
			shared, own := w.pending(t), w.pending(t)
			w.ok(t, "PutPolicy", policyFor(shared))
			stranger := w.user(t, "AKIASTRANGER", otherAccount, administratorPolicy)
			other := w.user(t, "AKIAOTHER", "333333333333", administratorPolicy)
			lists := func(who aws.Credentials, owner string) string {
				a := w.send(t, call{operation: "ListCertificateAuthorities", body: encodeJSON(t, m{"ResourceOwner": owner}), who: who})
				var arns []string
				for _, s := range []*subject{shared, own} {
					if strings.Contains(string(a.body), s.arn) {
						arns = append(arns, s.arn)
					}
				}
				return strings.Join(arns, " ")
			}
			for _, c := range []struct {
				who         aws.Credentials
				owner, want string
			}{
				{w.admin, "SELF", shared.arn + " " + own.arn}, {w.admin, "OTHER_ACCOUNTS", ""},
				{stranger, "SELF", ""}, {stranger, "OTHER_ACCOUNTS", shared.arn}, {other, "OTHER_ACCOUNTS", ""},
			} {
				if got := lists(c.who, c.owner); got != c.want {
					t.Errorf("%s lists %s: %q, want %q", c.who.AccessKeyID, c.owner, got, c.want)
				}
			}
		}},
		rule{operation: "CreateCertificateAuthority", id: "access A-11", holds: "with tags it needs acm-pca:TagCertificateAuthority as well", check: func(t *testing.T, w *world) {
			creator := w.user(t, "AKIACREATOR", "123456789012", `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"acm-pca:CreateCertificateAuthority","Resource":"*"}}`)
			for code, body := range map[string]m{ok: creation(), "AccessDeniedException": creation("Tags", tags(0, 1))} {
				if a := w.send(t, call{operation: "CreateCertificateAuthority", body: encodeJSON(t, body), who: creator}); a.code != code {
					t.Errorf("%d %s %s, want %q", a.status, a.code, a.message, code)
				}
			}
		}},
		rule{operation: "IssueCertificate", id: "access A-10", holds: "policies see the template, also the default one", check: func(t *testing.T, w *world) {
			s := w.active(t)
			user := w.user(t, "AKIAUSER", "123456789012", `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"acm-pca:*","Resource":"*"},{"Effect":"Deny","Action":"acm-pca:IssueCertificate","Resource":"*","Condition":{"ArnNotLike":{"acm-pca:TemplateArn":"arn:aws:acm-pca:*:*:template/EndEntityCertificate/V*"}}}]}`)
			for template, code := range map[string]string{"": ok, "EndEntityCertificate": ok, "EndEntityClientAuthCertificate": "AccessDeniedException", "EndEntityCertificate_APIPassthrough": "AccessDeniedException"} {
				body := w.issue(t, s)
				if template != "" {
					body["TemplateArn"] = "arn:aws:acm-pca:::template/" + template + "/V1"
				}
				if a := w.send(t, call{operation: "IssueCertificate", body: encodeJSON(t, body), who: user}); a.code != code {
					t.Errorf("%q: %d %s %s, want %q", template, a.status, a.code, a.message, code)
				}
			}
		}})
}
