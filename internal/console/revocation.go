package console

import (
	"context"

	"chirograph.dev/internal/crl"
)

// revocationRoutes are the routes about what relying parties are told.
func (c *Console) revocationRoutes() map[string]route {
	return map[string]route{
		"GET crls":          {action: actionDescribe, serve: c.crls},
		"POST crls/publish": {action: crl.ActionPublish, maxBody: maxBody, serve: c.publishCRLs},
	}
}

// crls is GET crls: the lists of a CA as they are now, and where OCSP is.
func (c *Console) crls(ctx context.Context, in *request) (any, error) {
	arn, err := c.existing(ctx, actionDescribe, in.Get("ca"))
	if err != nil {
		return nil, err
	}
	lists, err := c.cfg.CRLs.List(ctx, arn.CA)
	if err != nil {
		return nil, err
	}
	return map[string]any{"crls": lists, "ocspUrl": c.cfg.OCSPURL()}, nil
}

// publishCRLs is POST crls/publish: all lists are made and written now.
func (c *Console) publishCRLs(ctx context.Context, in *request) (any, error) {
	var body struct {
		CA string `json:"ca"`
	}
	if err := in.read(&body); err != nil {
		return nil, err
	}
	arn, err := c.existing(ctx, crl.ActionPublish, body.CA)
	if err != nil {
		return nil, err
	}
	if err := c.cfg.CRLs.Publish(ctx, arn.CA); err != nil {
		return nil, err
	}
	lists, err := c.cfg.CRLs.List(ctx, arn.CA)
	return map[string]any{"crls": lists}, err
}
