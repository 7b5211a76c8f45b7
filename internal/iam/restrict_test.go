package iam

import "testing"

func TestRestrict(t *testing.T) {
	t.Parallel()
	const text = `{"Version":"2012-10-17","Statement":[
		{"Effect":"Allow","Principal":"*","Action":"s:A","Resource":"*","Condition":{"StringEquals":{"aws:username":"u"}}},
		{"Effect":"Allow","Principal":"*","Action":"s:B","Resource":"*"},
		{"Effect":"Deny","Principal":"*","Action":"s:C","Resource":"*"}]}`
	whole, err := ParseResourcePolicy([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	narrow, err := whole.Restrict(func(s *Statement) bool { return s.Actions[0] != "s:B" }, Condition{Operator: "StringLikeIfExists", Key: "s:Key", Values: []string{"x*"}})
	if err != nil {
		t.Fatal(err)
	}
	user := &Principal{Account: "1", ARN: "arn:aws:iam::1:user/u"}
	for _, c := range []struct {
		action, key string
		whole, then Decision
	}{
		{"s:A", "", Allow, Allow},
		{"s:A", "xy", Allow, Allow},
		{"s:A", "y", Allow, ImplicitDeny},
		{"s:B", "y", Allow, Allow},
		{"s:C", "y", ExplicitDeny, ExplicitDeny},
	} {
		r := &Request{Principal: user, Action: c.action, Resource: "arn:aws:s:::r", Context: map[string][]string{}}
		if c.key != "" {
			r.Context["s:Key"] = []string{c.key}
		}
		if got := whole.Evaluate(r); got != c.whole {
			t.Errorf("%s %s: %v, want %v", c.action, c.key, got, c.whole)
		}
		if got := narrow.Evaluate(r); got != c.then {
			t.Errorf("%s %s, restricted: %v, want %v", c.action, c.key, got, c.then)
		}
	}
	if _, err := whole.Restrict(func(*Statement) bool { return true }, Condition{Operator: "StringOdd", Key: "k", Values: []string{"v"}}); err == nil {
		t.Error("an operator that nobody knows is accepted")
	}
}

func TestCheckConditions(t *testing.T) {
	t.Parallel()
	for condition, good := range map[string]bool{
		`{"StringEquals":{"aws:username":"u"}}`:            true,
		`{"ForAnyValue:ArnLikeIfExists":{"k":"arn:a:b*"}}`: false, // no ARN
		`{"StringOdd":{"k":"v"}}`:                          false,
		`{"Bool":{"k":"maybe"}}`:                           false,
		`{"IpAddress":{"aws:SourceIp":"10.0.0.0/8"}}`:      true,
	} {
		p, err := ParseResourcePolicy([]byte(`{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":"*","Action":"s:A","Resource":"*","Condition":` + condition + `}}`))
		if err != nil {
			t.Fatal(err)
		}
		if err := p.CheckConditions(); (err == nil) != good {
			t.Errorf("%s: %v", condition, err)
		}
	}
}
