package bucket

import (
	"context"
	"fmt"
	"mime"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// Link is a URL at which whoever has it reads one object for as long as life,
// and which browsers save under a name. It is signed with Config.Credentials and
// goes to Config.Endpoint, so that a client of a Transport has none.
func (c *Client) Link(ctx context.Context, bucket, key, fileName string, life time.Duration) (string, error) {
	if c.cfg.Transport != nil {
		return "", fmt.Errorf("%s is reached in process, where nothing is signed", c.name)
	}
	signed, err := s3.NewPresignClient(c.s3, s3.WithPresignExpires(life)).PresignGetObject(ctx, &s3.GetObjectInput{
		Bucket: &bucket, Key: &key,
		ResponseContentDisposition: aws.String(mime.FormatMediaType("attachment", map[string]string{"filename": fileName})),
	}, func(o *s3.PresignOptions) { o.ClientOptions = append(o.ClientOptions, c.in(bucket)) })
	if err != nil {
		return "", fmt.Errorf("signing a link to %s of bucket %s: %w", key, bucket, err)
	}
	return signed.URL, nil
}
