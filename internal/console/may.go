package console

import (
	"context"
	"maps"
	"regexp"
	"strings"

	"chirograph.dev/internal/awsjson"
	"chirograph.dev/internal/iam"
	"chirograph.dev/internal/pca"
)

// maxActions is how many actions one request may ask about.
const maxActions = 64

var actionName = regexp.MustCompile(`^[a-z0-9-]{1,32}:[A-Za-z]{1,128}$`)

// Decision says whether the caller may do something, and if not, why.
type Decision struct {
	Allowed bool   `json:"allowed"`
	Reason  string `json:"reason"` // a sentence; empty when it is allowed
}

// may is POST may: what the API, asked by the same caller under the same
// conditions, would decide of actions on a resource. Of buckets the caller's
// own policies are looked at, not the bucket's.
func (c *Console) may(ctx context.Context, in *request) (any, error) {
	var body struct {
		Resource string   `json:"resource"`
		Actions  []string `json:"actions"`
		Template string   `json:"template"` // of IssueCertificate; empty: the default
	}
	if err := in.read(&body); err != nil {
		return nil, err
	}
	p, err := caller(ctx)
	if err != nil {
		return nil, err
	}
	if len(body.Actions) == 0 || len(body.Actions) > maxActions || body.Resource == "" || len(body.Resource) > 2048 {
		return nil, pca.Errorf(pca.ValidationException, "Name a resource and 1 to %d actions.", maxActions)
	}
	account := ""
	if strings.HasPrefix(body.Resource, "arn:"+c.cfg.API.Partition+":"+pca.Service+":") {
		arn, err := pca.ParseCAARN(body.Resource, c.cfg.API.Partition)
		if err != nil {
			return nil, err
		}
		account = arn.Account
	}
	conditions := maps.Clone(awsjson.Conditions(ctx))
	if body.Template == "" {
		body.Template = pca.TemplateARN(c.cfg.API.Partition, pca.DefaultTemplate)
	}
	conditions["acm-pca:TemplateArn"] = []string{body.Template}
	decisions := make(map[string]Decision, len(body.Actions))
	for _, action := range body.Actions {
		if !actionName.MatchString(action) {
			return nil, pca.Errorf(pca.ValidationException, "%.200q is not an action such as acm-pca:IssueCertificate.", action)
		}
		if decisions[action], err = c.decide(ctx, &iam.Request{Principal: p, Action: action, Resource: body.Resource, Context: conditions}, account); err != nil {
			return nil, err
		}
	}
	return map[string]any{"decisions": decisions}, nil
}

// decide asks the API's own rule. account owns the resource; see awsjson.Config.
func (c *Console) decide(ctx context.Context, r *iam.Request, account string) (Decision, error) {
	if r.Action != "acm-pca:IssueCertificate" {
		q := *r
		q.Context = maps.Clone(r.Context)
		delete(q.Context, "acm-pca:TemplateArn")
		r = &q
	}
	d, why, err := c.cfg.API.Authorize(ctx, r, account)
	if err != nil || d == iam.Allow {
		return Decision{Allowed: err == nil}, err
	}
	text := strings.TrimSpace(why.Explain(r.Action))
	if reason, ok := strings.CutPrefix(text, "because "); ok {
		text = strings.ToUpper(reason[:1]) + reason[1:] + "."
	} else {
		text = "There is" + strings.TrimPrefix(text, "with") + ", which forbids the " + r.Action + " action."
	}
	return Decision{Reason: text}, nil
}
