package local

import (
	"bytes"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

func TestSDKDefaults(t *testing.T) {
	t.Parallel()
	f := start(t)
	for name, c := range map[string]*s3.Client{"network": f.bucket(t, "first-bucket"), "inside": f.inside(t, everybody(t)["AKADMIN"])} {
		t.Run(name, func(t *testing.T) {
			data := random(100_000, 1)
			put, err := c.PutObject(t.Context(), &s3.PutObjectInput{Bucket: aws.String("first-bucket"), Key: aws.String("a/b c+ü//../x"),
				Body: body(data), Metadata: map[string]string{"report-id": "7"}, ContentType: aws.String("text/plain")})
			if err != nil {
				t.Fatal(err)
			}
			t.Log(aws.ToString(put.ETag), put.ChecksumType)
			if got := f.get(t, c, "first-bucket", "a/b c+ü//../x"); !bytes.Equal(got, data) {
				t.Fatal("other bytes came back")
			}
			list, err := c.ListObjectsV2(t.Context(), &s3.ListObjectsV2Input{Bucket: aws.String("first-bucket")})
			if err != nil || len(list.Contents) != 1 || *list.Contents[0].Key != "a/b c+ü//../x" {
				t.Fatalf("%v %v", list, err)
			}
		})
	}
}
