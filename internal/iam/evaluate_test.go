package iam

import "testing"

// TestTagsOfTwoCases: the tags of a CA tell keys apart that conditions do not.
// With both, an Allow wants both to fit and a Deny one; which of them was read
// first must not decide.
func TestTagsOfTwoCases(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		effect, condition string
		team, Team        string // of aws:RequestTag
		want              Decision
	}{
		{"Allow", `{"StringEquals":{"aws:RequestTag/team":"red"}}`, "red", "red", Allow},
		{"Allow", `{"StringEquals":{"aws:RequestTag/team":"red"}}`, "red", "blue", ImplicitDeny},
		{"Allow", `{"StringEquals":{"aws:RequestTag/TEAM":"red"}}`, "blue", "red", ImplicitDeny},
		{"Allow", `{"StringNotEquals":{"aws:RequestTag/team":"blue"}}`, "red", "blue", ImplicitDeny},
		{"Allow", `{"ForAnyValue:StringEquals":{"aws:RequestTag/team":"red"}}`, "red", "blue", ImplicitDeny},
		{"Allow", `{"StringEqualsIfExists":{"aws:RequestTag/team":"red"}}`, "red", "blue", ImplicitDeny},
		{"Allow", `{"Null":{"aws:RequestTag/team":"false"}}`, "red", "blue", Allow},
		{"Deny", `{"StringEquals":{"aws:RequestTag/team":"blue"}}`, "red", "blue", ExplicitDeny},
		{"Deny", `{"StringNotEquals":{"aws:RequestTag/team":"red"}}`, "red", "blue", ExplicitDeny},
		{"Deny", `{"ForAllValues:StringEquals":{"aws:RequestTag/team":"blue"}}`, "red", "blue", ExplicitDeny},
		{"Deny", `{"StringNotEquals":{"aws:RequestTag/team":"red"}}`, "red", "red", ImplicitDeny},
	} {
		p, err := ParsePolicy([]byte(`{"Version":"2012-10-17","Statement":{"Effect":"` + c.effect + `","Action":"*","Resource":"*","Condition":` + c.condition + `}}`))
		if err != nil {
			t.Fatal(err)
		}
		for range 20 { // maps are read in any order
			r := &Request{Action: "s:A", Resource: "*", Context: map[string][]string{"aws:RequestTag/team": {c.team}, "aws:RequestTag/Team": {c.Team}}}
			if got := p.Evaluate(r); got != c.want {
				t.Fatalf("%s %s with %s and %s: %v, want %v", c.effect, c.condition, c.team, c.Team, got, c.want)
			}
		}
	}
}

// TestExceptionWithoutValue: what an Allow excepts by a variable is not open to
// those who have no value for it.
func TestExceptionWithoutValue(t *testing.T) {
	t.Parallel()
	for effect, want := range map[string][2]Decision{"Allow": {Allow, ImplicitDeny}, "Deny": {ExplicitDeny, ExplicitDeny}} {
		p, err := ParsePolicy([]byte(`{"Version":"2012-10-17","Statement":{"Effect":"` + effect + `","Action":"*","NotResource":"arn:aws:s3:::b/${aws:username}"}}`))
		if err != nil {
			t.Fatal(err)
		}
		for i, arn := range []string{"arn:aws:iam::1:user/u", "arn:aws:sts::1:assumed-role/r/s"} {
			if got := p.Evaluate(&Request{Principal: &Principal{Account: "1", ARN: arn}, Action: "s3:GetObject", Resource: "arn:aws:s3:::b/x"}); got != want[i] {
				t.Errorf("%s, %s: %v, want %v", effect, arn, got, want[i])
			}
		}
	}
}

// TestYears: four digits are a year, not a moment in 1970.
func TestYears(t *testing.T) {
	t.Parallel()
	p, err := ParsePolicy([]byte(`{"Version":"2012-10-17","Statement":{"Effect":"Deny","Action":"*","Resource":"*","Condition":{"DateLessThan":{"aws:CurrentTime":"2030"}}}}`))
	if err != nil {
		t.Fatal(err)
	}
	for now, want := range map[string]Decision{"2029-12-31T23:59:59Z": ExplicitDeny, "2030-01-01T00:00:00Z": ImplicitDeny} {
		if got := p.Evaluate(&Request{Action: "s:A", Resource: "*", Context: map[string][]string{"aws:CurrentTime": {now}}}); got != want {
			t.Errorf("%s: %v, want %v", now, got, want)
		}
	}
}
