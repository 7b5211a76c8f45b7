package identity

import (
	"errors"
	"testing"
	"time"

	"chirograph.dev/internal/iam"
)

// TestReadObject: who holds the session reads the one object until it ends, and
// nothing else, whatever a policy of the bucket gives the account.
func TestReadObject(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	const object = "arn:aws:s3:::reports/a/*$?.json"
	c, err := h.ReadObject(management, "reports", "a/*$?.json", 5*time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	h.restart(t)
	p := h.who(t, c.AccessKeyId, c.SessionToken)
	wide, err := iam.ParseResourcePolicy([]byte(`{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":{"AWS":["` + management + `","arn:aws:iam::` + management + `:root","arn:aws:iam::` + management + `:role/chirograph"]},"Action":"*","Resource":"*"}}`))
	if err != nil {
		t.Fatal(err)
	}
	for _, policy := range []*iam.Policy{nil, wide} {
		for _, r := range []struct {
			action, resource string
			want             bool
		}{
			{"s3:GetObject", object, true},
			{"s3:GetObject", "arn:aws:s3:::reports/a/b$c.json", false},
			{"s3:GetObject", "arn:aws:s3:::others/a/*$?.json", false},
			{"s3:DeleteObject", object, false},
			{"s3:ListBucket", "arn:aws:s3:::reports", false},
			{"s3:GetBucketPolicy", "arn:aws:s3:::reports", false},
			{"iam:CreateUser", "*", false},
		} {
			if d, _ := iam.Authorize(&iam.Request{Principal: p, Action: r.action, Resource: r.resource}, policy, management); (d == iam.Allow) != r.want {
				t.Errorf("%s on %s: %v", r.action, r.resource, d)
			}
		}
	}
	if _, err := h.Principal(t.Context(), c.AccessKeyId, c.SessionToken[:len(c.SessionToken)-2]+"AA"); !errors.Is(err, iam.ErrInvalidToken) {
		t.Errorf("an altered token: %v", err)
	}
	h.pass(5 * time.Minute)
	if _, err := h.Principal(t.Context(), c.AccessKeyId, c.SessionToken); !errors.Is(err, iam.ErrExpiredToken) {
		t.Errorf("after five minutes: %v", err)
	}
}
