package console

import (
	"context"

	"chirograph.dev/internal/bucket"
	"chirograph.dev/internal/pca"
)

const (
	actionListBuckets     = "s3:ListAllMyBuckets"
	actionGetBucketPolicy = "s3:GetBucketPolicy"
	actionCreateBucket    = "s3:CreateBucket"
	actionPutBucketPolicy = "s3:PutBucketPolicy"
)

// asCaller is the bucket service as the caller reaches it: the embedded one
// knows who asks and decides; of another one the caller's own policies have to
// allow the actions on the bucket, and the server asks.
func (c *Console) asCaller(ctx context.Context, account, caARN, name string, actions ...string) (*bucket.Client, error) {
	p, err := caller(ctx)
	if err != nil {
		return nil, err
	}
	client, decides, err := c.cfg.Buckets(ctx, p, account, caARN)
	if err != nil || decides {
		return client, err
	}
	// There the server asks, which sees every account's buckets.
	if p.Account != account {
		return nil, pca.Errorf(pca.AccessDeniedException, "Sign in to the account %s to look at buckets for its audit reports.", account)
	}
	for _, action := range actions {
		if err := c.authorizeS3(ctx, action, name); err != nil {
			return nil, err
		}
	}
	return client, nil
}

// buckets is GET buckets: those of the caller's account that its reports may go to.
func (c *Console) buckets(ctx context.Context, _ *request) (any, error) {
	p, err := caller(ctx)
	if err != nil {
		return nil, err
	}
	client, err := c.asCaller(ctx, p.Account, "", "", actionListBuckets)
	if err != nil {
		return nil, err
	}
	all, err := client.Buckets(ctx)
	if err != nil {
		return nil, err
	}
	list := []bucket.Listed{}
	for _, b := range all {
		if c.cfg.Reports.MayUse(p.Account, b.Name) {
			list = append(list, b)
		}
	}
	service := client.Name()
	if client.Embedded() {
		service = "this server"
	}
	return map[string]any{"buckets": list, "service": service}, nil
}

// bucket is GET bucket: what the gate says of a bucket, which is not tried.
func (c *Console) bucket(ctx context.Context, in *request) (any, error) {
	arn, err := pca.ParseCAARN(in.Get("ca"), c.cfg.API.Partition)
	if err != nil {
		return nil, err
	}
	name := in.Get("bucket")
	if err := bucket.CheckName(name); err != nil {
		return nil, err
	}
	client, err := c.asCaller(ctx, arn.Account, arn.CAARN(), name, actionGetBucketPolicy)
	if err != nil {
		return nil, err
	}
	return c.look(ctx, client, arn, name)
}

func (c *Console) look(ctx context.Context, client *bucket.Client, arn pca.ARN, name string) (*bucket.Access, error) {
	a, err := c.cfg.Reports.Look(ctx, client, arn, name)
	if err != nil {
		return nil, err
	}
	if !c.cfg.Reports.MayUse(arn.Account, name) { // it may be another account's
		a.Policy = ""
	}
	return &a, nil
}

// createBucket is POST bucket: a new bucket for the reports of a CA, which
// "creates and attaches the necessary policy" (founding document).
func (c *Console) createBucket(ctx context.Context, in *request) (any, error) {
	return c.changeBucket(ctx, in, (*bucket.Client).CreateBucket, actionCreateBucket, actionPutBucketPolicy)
}

// attachPolicy is POST bucket/policy: an existing bucket that has no policy gets
// the one that the reports of a CA need.
func (c *Console) attachPolicy(ctx context.Context, in *request) (any, error) {
	return c.changeBucket(ctx, in, (*bucket.Client).AttachPolicy, actionGetBucketPolicy, actionPutBucketPolicy)
}

func (c *Console) changeBucket(ctx context.Context, in *request, change func(*bucket.Client, context.Context, bucket.CreateBucketRequest) error, actions ...string) (any, error) {
	var body struct {
		CA     string `json:"ca"`
		Bucket string `json:"bucket"`
	}
	if err := in.read(&body); err != nil {
		return nil, err
	}
	arn, err := pca.ParseCAARN(body.CA, c.cfg.API.Partition)
	if err != nil {
		return nil, err
	}
	if err := bucket.CheckName(body.Bucket); err != nil {
		return nil, err
	}
	p, err := caller(ctx)
	if err != nil {
		return nil, err
	}
	// The bucket is or becomes the caller's account's, and reports go to buckets
	// of their CA's account.
	if p.Account != arn.Account {
		return nil, pca.Errorf(pca.AccessDeniedException, "The certificate authority %s belongs to the account %s. Sign in to that account to prepare a bucket for its audit reports.", arn, arn.Account)
	}
	client, err := c.asCaller(ctx, arn.Account, arn.CAARN(), body.Bucket, actions...)
	if err != nil {
		return nil, err
	}
	if !c.cfg.Reports.MayUse(arn.Account, body.Bucket) {
		return nil, pca.Errorf(pca.InvalidArgsException, "Audit reports of the account %s may not go to the bucket %s. Name a bucket that the server's setting audit-allowed-buckets lists for the account.", arn.Account, body.Bucket)
	}
	if err := change(client, ctx, bucket.CreateBucketRequest{Bucket: body.Bucket, Account: arn.Account, CAARN: arn.CAARN()}); err != nil {
		return nil, err
	}
	// Who may change a bucket need not be one who may look at its policy.
	return c.look(ctx, nil, arn, body.Bucket)
}
