package ca

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"chirograph.dev/internal/iam"
	"chirograph.dev/internal/issuance"
)

// checkForm is the table of access.md 4.2: what the policy of a CA may look
// like. The error tells the author what to change.
func (s *Service) checkForm(p *iam.Policy, ca string) error {
	var top struct{ Version string }
	if err := json.Unmarshal([]byte(p.Text()), &top); err != nil {
		return err
	}
	if top.Version == "" {
		return errors.New(`it has no Version; write "Version": "2012-10-17"`)
	}
	if err := p.CheckConditions(); err != nil {
		return err
	}
	for i, st := range p.Statements() {
		if err := s.checkStatement(&st, ca); err != nil {
			return fmt.Errorf("statement %d: %w", i+1, err)
		}
	}
	if s.StrictAWS2023 {
		return checkForm2023(p.Statements())
	}
	return nil
}

func (s *Service) checkStatement(st *iam.Statement, ca string) error {
	if st.NotAction {
		return errors.New("NotAction is not possible here; list the actions in Action")
	}
	for _, a := range st.Actions {
		if !slices.ContainsFunc(shareable(), func(known string) bool { return strings.EqualFold(a, known) }) {
			return fmt.Errorf("the action %s cannot be granted or denied by the policy of a certificate authority; possible are %s", a, strings.Join(shareable(), ", "))
		}
	}
	if st.NotResource || slices.ContainsFunc(st.Resources, func(r string) bool { return r != ca && r != "*" }) {
		return fmt.Errorf("the Resource must be this certificate authority, %s", ca)
	}
	for _, c := range st.Conditions {
		if !policyKey(c.Key) {
			return fmt.Errorf("the condition key %s cannot stand in the policy of a certificate authority", c.Key)
		}
	}
	if st.NotPrincipal {
		return errors.New("NotPrincipal is not possible here; name the principals in Principal")
	}
	for _, p := range st.Principals {
		if err := s.checkPrincipal(p, st); err != nil {
			return err
		}
	}
	if st.Effect != iam.Allow {
		return nil
	}
	return s.checkTemplates(st)
}

func (s *Service) checkPrincipal(p iam.PrincipalPattern, st *iam.Statement) error {
	switch {
	case p.Value == "*":
		if st.Effect == iam.Allow && !slices.ContainsFunc(st.Conditions, narrows) {
			return errors.New("it grants to everybody; name the principals, or limit it with aws:PrincipalOrgID, aws:PrincipalOrgPaths, aws:PrincipalAccount, aws:SourceAccount or aws:SourceArn")
		}
		return nil
	case p.Type == "Service" && strings.Contains(p.Value, "."):
		return nil
	case p.Type == "AWS" && (isAccount(p.Value) || s.isIdentity(p.Value)):
		return nil
	}
	return fmt.Errorf("the principal %s %q is neither an account, nor the ARN of an account's root, a user or a role, nor a service", p.Type, p.Value)
}

func isAccount(s string) bool { return len(s) == 12 && strings.Trim(s, "0123456789") == "" }

func (s *Service) isIdentity(arn string) bool {
	f := strings.SplitN(arn, ":", 6)
	if len(f) != 6 || f[0] != "arn" || f[1] != s.Partition || f[2] != "iam" || f[3] != "" || !isAccount(f[4]) {
		return false
	}
	kind, name, _ := strings.Cut(f[5], "/")
	return f[5] == "root" || name != "" && (kind == "user" || kind == "role")
}

// narrows says whether a condition ends a grant to everybody: it fixes the
// caller's account or organization, and no value leaves that open.
func narrows(c iam.Condition) bool {
	operator := strings.TrimPrefix(strings.ToLower(c.Operator), "foranyvalue:")
	switch operator {
	case "stringequals", "stringequalsignorecase", "stringlike", "arnequals", "arnlike":
	default:
		return false // it matches what is absent, or what is not listed
	}
	var fixed func(string) bool
	switch strings.ToLower(c.Key) {
	case "aws:principalaccount", "aws:sourceaccount":
		fixed = isAccount
	case "aws:principalorgid":
		fixed = isOrganization
	case "aws:principalorgpaths":
		fixed = func(v string) bool {
			organization, _, _ := strings.Cut(v, "/")
			return isOrganization(organization)
		}
	case "aws:sourcearn":
		fixed = func(v string) bool {
			f := strings.SplitN(v, ":", 6)
			return len(f) == 6 && isAccount(f[4])
		}
	default:
		return false
	}
	return !slices.ContainsFunc(c.Values, func(v string) bool { return !fixed(v) })
}

func isOrganization(s string) bool {
	id, ok := strings.CutPrefix(s, "o-")
	return ok && id != "" && strings.Trim(id, "abcdefghijklmnopqrstuvwxyz0123456789") == ""
}

// checkTemplates refuses a grant that names a template for roots (access.md 4.2, row 6).
func (s *Service) checkTemplates(st *iam.Statement) error {
	for _, c := range st.Conditions {
		if !strings.EqualFold(c.Key, templateKey) || strings.Contains(strings.ToLower(c.Operator), "not") {
			continue
		}
		for _, v := range c.Values {
			_, name, _ := strings.Cut(v, ":template/")
			if t, err := issuance.LookupTemplate(v, s.Partition); err == nil && t.SelfSigned || strings.HasPrefix(name, "Root") || strings.HasPrefix(name, "BlankRoot") {
				return fmt.Errorf("the template %s makes root certificates, which a policy cannot grant", v)
			}
		}
	}
	return nil
}

// policyKey says whether a condition key may stand in a CA's policy (A-12,
// with the key of the row on principals). Names compare without case.
func policyKey(key string) bool {
	key = strings.ToLower(key)
	if name, tag, ok := strings.Cut(key, "/"); ok {
		return tag != "" && slices.Contains([]string{"aws:principaltag", "aws:resourcetag", "aws:requesttag"}, name)
	}
	switch key {
	case "acm-pca:templatearn",
		"aws:principalaccount", "aws:principalarn", "aws:principalorgid", "aws:principalorgpaths", "aws:sourceip", "aws:currenttime",
		"aws:securetransport", "aws:sourceaccount", "aws:sourcearn", "aws:tagkeys", "aws:multifactorauthpresent", "aws:userid", "aws:username":
		return true
	}
	return false
}

// checkForm2023 takes the two statements of 2023 alone: five reads, and
// IssueCertificate by one template. Only who, and which CA, may differ.
func checkForm2023(statements []iam.Statement) error {
	reads, issues := 0, 0
	for _, st := range statements {
		actions := make([]string, len(st.Actions))
		for i, a := range st.Actions {
			actions[i] = strings.ToLower(a)
		}
		slices.Sort(actions)
		templates := 0
		for _, c := range st.Conditions {
			switch {
			case c.Operator != "StringEquals":
				return fmt.Errorf("the condition operator %s is not part of the form of 2023", c.Operator)
			case strings.EqualFold(c.Key, templateKey) && len(c.Values) == 1:
				templates++
			case !strings.EqualFold(c.Key, "aws:PrincipalOrgID"):
				return fmt.Errorf("the condition on %s is not part of the form of 2023", c.Key)
			}
		}
		switch {
		case st.Effect != iam.Allow:
			return errors.New("a Deny is not part of the form of 2023")
		case slices.Equal(actions, []string{"acm-pca:describecertificateauthority", "acm-pca:getcertificate", "acm-pca:getcertificateauthoritycertificate", "acm-pca:listpermissions", "acm-pca:listtags"}) && templates == 0:
			reads++
		case slices.Equal(actions, []string{strings.ToLower(issueAction)}) && templates == 1:
			issues++
		}
	}
	if len(statements) != 2 || reads != 1 || issues != 1 {
		return errors.New("the form of 2023 has two statements: one allows DescribeCertificateAuthority, GetCertificate, GetCertificateAuthorityCertificate, ListPermissions and ListTags, the other IssueCertificate with StringEquals on acm-pca:TemplateArn")
	}
	return nil
}
