package local

import (
	"bytes"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestAWSCLI is a day with the unmodified aws CLI.
func TestAWSCLI(t *testing.T) {
	t.Parallel()
	f := start(t)
	dir := t.TempDir()
	write := func(name string, b []byte) string {
		p := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(p), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, b, 0o600); err != nil {
			t.Fatal(err)
		}
		return p
	}
	same := func(path string, want []byte) {
		t.Helper()
		got, err := os.ReadFile(path)
		if err != nil || !bytes.Equal(got, want) {
			t.Fatalf("%s: %v, %d bytes where %d were written", path, err, len(got), len(want))
		}
	}
	contains := func(out string, wants ...string) {
		t.Helper()
		for _, w := range wants {
			if !strings.Contains(out, w) {
				t.Fatalf("%q is not in\n%s", w, out)
			}
		}
	}

	f.mustAWS(t, "s3", "mb", "s3://reports")
	if out, err := f.aws(t, "s3", "mb", "s3://reports"); err == nil || !strings.Contains(out, "BucketAlreadyOwnedByYou") {
		t.Fatalf("%v %s", err, out)
	}
	contains(f.mustAWS(t, "s3", "ls"), "reports")

	big, small := append(random(9<<20, 2), reportRows(21<<20)...)[:30<<20], []byte("serial,subject\n")
	f.mustAWS(t, "s3", "cp", write("big.bin", big), "s3://reports/audit/big.bin")
	f.mustAWS(t, "s3", "cp", write("small.csv", small), "s3://reports/audit/small file.csv", "--metadata", "ca=one", "--content-type", "text/csv")
	contains(f.mustAWS(t, "s3", "ls", "s3://reports/audit/"), "31457280 big.bin", "small file.csv")
	contains(f.mustAWS(t, "s3", "ls", "s3://reports"), "PRE audit/")
	f.mustAWS(t, "s3", "cp", "s3://reports/audit/big.bin", filepath.Join(dir, "back.bin"))
	same(filepath.Join(dir, "back.bin"), big)
	if out := f.mustAWS(t, "s3", "cp", "s3://reports/audit/small file.csv", "-"); out != string(small) {
		t.Fatalf("%q", out)
	}
	contains(f.mustAWS(t, "s3api", "head-object", "--bucket", "reports", "--key", "audit/small file.csv", "--checksum-mode", "ENABLED"),
		`"ca": "one"`, `"ContentType": "text/csv"`, "ChecksumType")
	contains(f.mustAWS(t, "s3api", "get-object-attributes", "--bucket", "reports", "--key", "audit/big.bin", "--object-attributes", "ETag", "ObjectParts", "ObjectSize", "Checksum"),
		`"TotalPartsCount": 4`, `"ObjectSize": 31457280`)

	f.mustAWS(t, "s3", "cp", "s3://reports/audit/big.bin", "s3://reports/copy/big.bin") // UploadPartCopy
	f.mustAWS(t, "s3", "mv", "s3://reports/audit/small file.csv", "s3://reports/copy/small.csv")
	f.mustAWS(t, "s3", "cp", "s3://reports/copy/big.bin", filepath.Join(dir, "copy.bin"))
	same(filepath.Join(dir, "copy.bin"), big)
	if out, err := f.aws(t, "s3", "cp", "s3://reports/audit/small file.csv", "-"); err == nil || !strings.Contains(out, "404") {
		t.Fatalf("%v %s", err, out)
	}

	tree := filepath.Join(dir, "tree")
	for _, n := range []string{"a.txt", "b/c.txt", "b/d/e.txt"} {
		write("tree/"+n, []byte(n))
	}
	f.mustAWS(t, "s3", "sync", tree, "s3://reports/tree")
	if out := f.mustAWS(t, "s3", "sync", tree, "s3://reports/tree"); strings.Contains(out, "upload:") {
		t.Fatalf("the second sync uploaded again: %s", out)
	}
	down := filepath.Join(dir, "down")
	f.mustAWS(t, "s3", "sync", "s3://reports/tree", down)
	same(filepath.Join(down, "b", "d", "e.txt"), []byte("b/d/e.txt"))

	url := strings.TrimSpace(f.mustAWS(t, "s3", "presign", "s3://reports/copy/small.csv"))
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if b, err := io.ReadAll(resp.Body); err != nil || resp.StatusCode != 200 || !bytes.Equal(b, small) {
		t.Fatalf("%v %s %q", err, resp.Status, b)
	}

	policy := write("policy.json", []byte(foundingPolicy("reports")))
	f.mustAWS(t, "s3api", "put-bucket-policy", "--bucket", "reports", "--policy", "file://"+policy)
	contains(f.mustAWS(t, "s3api", "get-bucket-policy", "--bucket", "reports", "--query", "Policy", "--output", "text"), "acm-pca.amazonaws.com")
	contains(f.mustAWS(t, "s3api", "get-bucket-policy-status", "--bucket", "reports"), `"IsPublic": false`)
	contains(f.mustAWS(t, "s3api", "get-public-access-block", "--bucket", "reports"), `"BlockPublicPolicy": true`)
	contains(f.mustAWS(t, "s3api", "get-bucket-ownership-controls", "--bucket", "reports"), "BucketOwnerEnforced")
	contains(f.mustAWS(t, "s3api", "get-bucket-acl", "--bucket", "reports"), "FULL_CONTROL")
	contains(f.mustAWS(t, "s3api", "get-object-acl", "--bucket", "reports", "--key", "copy/small.csv"), "FULL_CONTROL")
	f.mustAWS(t, "s3api", "get-bucket-location", "--bucket", "reports")
	f.mustAWS(t, "s3api", "get-bucket-versioning", "--bucket", "reports")
	for code, args := range map[string][]string{
		"MalformedPolicy":                     {"put-bucket-policy", "--bucket", "reports", "--policy", `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":"*","Action":"s3:*","Resource":"arn:aws:s3:::other/*"}]}`},
		"NoSuchBucket":                        {"list-objects-v2", "--bucket", "not-there"},
		"InvalidBucketName":                   {"create-bucket", "--bucket", "Not_Valid"},
		"NotImplemented":                      {"put-bucket-cors", "--bucket", "reports", "--cors-configuration", `{"CORSRules":[{"AllowedMethods":["GET"],"AllowedOrigins":["*"]}]}`},
		"BucketNotEmpty":                      {"delete-bucket", "--bucket", "reports"},
		"ServerSideEncryptionConfigurationNo": {"get-bucket-encryption", "--bucket", "reports"},
	} {
		if out, err := f.aws(t, append([]string{"s3api"}, args...)...); err == nil || !strings.Contains(out, code) {
			t.Fatalf("%s: %v\n%s", code, err, out)
		}
	}
	f.mustAWS(t, "s3api", "delete-bucket-policy", "--bucket", "reports")

	f.mustAWS(t, "s3", "rm", "s3://reports/audit", "--recursive")
	f.mustAWS(t, "s3", "rb", "s3://reports", "--force")
	if out := f.mustAWS(t, "s3", "ls"); strings.TrimSpace(out) != "" {
		t.Fatalf("left: %s", out)
	}
	if n := f.partFiles(t); n != 0 {
		t.Fatalf("%d part files are left", n)
	}
}

func foundingPolicy(bucket string) string {
	return `{
    "Version": "2012-10-17",
    "Statement": [
        {
            "Effect": "Allow",
            "Principal": {
                "Service": "acm-pca.amazonaws.com"
            },
            "Action": [
                "s3:PutObject",
                "s3:PutObjectAcl",
                "s3:GetBucketAcl",
                "s3:GetBucketLocation"
            ],
            "Resource": [
                "arn:aws:s3:::` + bucket + `/*",
                "arn:aws:s3:::` + bucket + `"
            ]
        }
    ]
}`
}

const botoScript = `
import boto3, os, sys, io, hashlib, base64
from botocore.config import Config
from botocore.exceptions import ClientError
s3 = boto3.client('s3', config=Config(signature_version='s3v4', retries={'max_attempts': 1}))
def code(fn, **kw):
    try:
        fn(**kw)
    except ClientError as e:
        return e.response['Error']['Code']
    return None
s3.create_bucket(Bucket='boto-bucket')
data = os.urandom(9 << 20) + b'serial,subject\n' * 800000 # the end is packed on the disk
s3.upload_fileobj(io.BytesIO(data), 'boto-bucket', 'big')
out = io.BytesIO(); s3.download_fileobj('boto-bucket', 'big', out)
assert out.getvalue() == data
for alg in ['CRC32', 'CRC32C', 'SHA1', 'SHA256', 'CRC64NVME']:
    try:
        s3.put_object(Bucket='boto-bucket', Key='k ' + alg, Body=b'hello', ChecksumAlgorithm=alg)
    except Exception as e:
        if type(e).__name__ in ('MissingDependencyException', 'FlexibleChecksumError'):
            continue
        raise
    h = s3.head_object(Bucket='boto-bucket', Key='k ' + alg, ChecksumMode='ENABLED')
    assert 'Checksum' + alg in h, h
    assert s3.get_object(Bucket='boto-bucket', Key='k ' + alg)['Body'].read() == b'hello'
assert code(s3.put_object, Bucket='boto-bucket', Key='bad', Body=b'hello', ChecksumSHA256=base64.b64encode(b'0' * 32).decode()) == 'BadDigest'
assert code(s3.put_object, Bucket='boto-bucket', Key='bad', Body=b'hello', ContentMD5=base64.b64encode(b'0' * 16).decode()) == 'BadDigest'
assert code(s3.get_object, Bucket='boto-bucket', Key='bad') == 'NoSuchKey'
e = s3.put_object(Bucket='boto-bucket', Key='etag', Body=b'hello')['ETag']
assert e == '"' + hashlib.md5(b'hello').hexdigest() + '"', e
assert code(s3.put_object, Bucket='boto-bucket', Key='etag', Body=b'x', IfNoneMatch='*') == 'PreconditionFailed'
assert code(s3.put_object, Bucket='boto-bucket', Key='etag', Body=b'x', IfMatch='"0"') == 'PreconditionFailed'
assert code(s3.get_object, Bucket='boto-bucket', Key='etag', IfNoneMatch=e) in ('304', 'NotModified')
assert code(s3.get_object, Bucket='boto-bucket', Key='etag', Range='bytes=99-') == 'InvalidRange'
assert s3.get_object(Bucket='boto-bucket', Key='etag', Range='bytes=1-2')['Body'].read() == b'el'
assert s3.get_object(Bucket='boto-bucket', Key='etag', Range='bytes=-2')['Body'].read() == b'lo'
up = s3.create_multipart_upload(Bucket='boto-bucket', Key='parts')['UploadId']
one = s3.upload_part(Bucket='boto-bucket', Key='parts', UploadId=up, PartNumber=1, Body=b'x')['ETag']
two = s3.upload_part(Bucket='boto-bucket', Key='parts', UploadId=up, PartNumber=2, Body=b'y')['ETag']
def complete(*parts):
    return code(s3.complete_multipart_upload, Bucket='boto-bucket', Key='parts', UploadId=up, MultipartUpload={'Parts': [{'PartNumber': n, 'ETag': t} for n, t in parts]})
c = complete((1, one), (2, two))
assert c == 'EntityTooSmall', c
assert complete((2, two), (1, one)) == 'InvalidPartOrder'
assert complete((1, two)) == 'InvalidPart'
assert complete((3, one)) == 'InvalidPart'
assert len(s3.list_multipart_uploads(Bucket='boto-bucket')['Uploads']) == 1
assert complete((2, two)) is None
assert s3.get_object(Bucket='boto-bucket', Key='parts')['Body'].read() == b'y'
assert code(s3.abort_multipart_upload, Bucket='boto-bucket', Key='parts', UploadId=up) == 'NoSuchUpload'
weird = ['a\x01b', 'sp ace', 'plus+', 'ünï', '<&>"', 'x/../y', '%41', 'tail/']
for k in weird:
    s3.put_object(Bucket='boto-bucket', Key='w/' + k, Body=k.encode())
got = [o['Key'] for o in s3.list_objects_v2(Bucket='boto-bucket', Prefix='w/')['Contents']]
assert got == sorted('w/' + k for k in weird), got
for k in weird:
    assert s3.get_object(Bucket='boto-bucket', Key='w/' + k)['Body'].read() == k.encode()
keys = [o['Key'] for p in s3.get_paginator('list_objects_v2').paginate(Bucket='boto-bucket', PaginationConfig={'PageSize': 2}) for o in p['Contents']]
v1 = [o['Key'] for p in s3.get_paginator('list_objects').paginate(Bucket='boto-bucket', PaginationConfig={'PageSize': 2}) for o in p['Contents']]
assert keys == v1 == sorted(keys), (keys, v1)
page = s3.list_objects_v2(Bucket='boto-bucket', Delimiter='/')
assert [p['Prefix'] for p in page['CommonPrefixes']] == ['w/'] and len(page['Contents']) == len(keys) - len(weird)
r = s3.delete_objects(Bucket='boto-bucket', Delete={'Objects': [{'Key': k} for k in keys if '\x01' not in k]})
assert len(r['Deleted']) == len(keys) - 1 and 'Errors' not in r
s3.delete_object(Bucket='boto-bucket', Key='w/a\x01b')
s3.delete_bucket(Bucket='boto-bucket')
assert code(s3.head_bucket, Bucket='boto-bucket') == '404'
lock = s3.create_bucket(Bucket='boto-lock', ObjectLockEnabledForBucket=True)
import datetime
until = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(days=1)
s3.put_object(Bucket='boto-lock', Key='kept', Body=b'1', ObjectLockMode='COMPLIANCE', ObjectLockRetainUntilDate=until)
s3.put_object(Bucket='boto-lock', Key='ruled', Body=b'1', ObjectLockMode='GOVERNANCE', ObjectLockRetainUntilDate=until)
for k in ('kept', 'ruled'):
    assert code(s3.delete_object, Bucket='boto-lock', Key=k) == 'AccessDenied'
    assert code(s3.put_object, Bucket='boto-lock', Key=k, Body=b'2') == 'AccessDenied'
assert code(s3.delete_object, Bucket='boto-lock', Key='kept', BypassGovernanceRetention=True) == 'AccessDenied'
assert s3.get_object_retention(Bucket='boto-lock', Key='kept')['Retention']['Mode'] == 'COMPLIANCE'
assert code(s3.put_object_retention, Bucket='boto-lock', Key='kept', Retention={'Mode': 'COMPLIANCE', 'RetainUntilDate': until - datetime.timedelta(hours=1)}) == 'AccessDenied'
s3.put_object_retention(Bucket='boto-lock', Key='kept', Retention={'Mode': 'COMPLIANCE', 'RetainUntilDate': until + datetime.timedelta(hours=1)})
s3.delete_object(Bucket='boto-lock', Key='ruled', BypassGovernanceRetention=True)
assert code(s3.put_bucket_versioning, Bucket='boto-lock', VersioningConfiguration={'Status': 'Enabled'}) == 'NotImplemented'
assert code(s3.delete_bucket, Bucket='boto-lock') == 'BucketNotEmpty'
assert s3.get_object(Bucket='boto-lock', Key='kept')['Body'].read() == b'1'
bad = boto3.client('s3', aws_access_key_id='AKADMIN', aws_secret_access_key='wrong', config=Config(signature_version='s3v4', retries={'max_attempts': 1}))
assert code(bad.list_buckets) == 'SignatureDoesNotMatch'
bad = boto3.client('s3', aws_access_key_id='AKUNKNOWN', aws_secret_access_key='x', config=Config(signature_version='s3v4', retries={'max_attempts': 1}))
assert code(bad.list_buckets) == 'InvalidAccessKeyId'
url = s3.generate_presigned_url('put_object', Params={'Bucket': 'boto-lock', 'Key': 'by url'}, ExpiresIn=60)
import urllib.request
assert urllib.request.urlopen(urllib.request.Request(url, data=b'presigned', method='PUT')).status == 200
assert s3.get_object(Bucket='boto-lock', Key='by url')['Body'].read() == b'presigned'
print('ok')
`

// TestBoto3 runs a script of the Python SDK with its default checksums.
func TestBoto3(t *testing.T) {
	t.Parallel()
	f := start(t)
	if out, err := f.command(t, "python3", "-c", botoScript); err != nil || !strings.HasSuffix(out, "ok\n") {
		t.Fatalf("%v\n%s", err, out)
	}
}
