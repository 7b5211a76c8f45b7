package local

import (
	"bytes"
	"database/sql"
	"log/slog"
	"net/http"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

// TestObjectLockCLI is Object Lock with the unmodified aws CLI.
func TestObjectLockCLI(t *testing.T) {
	t.Parallel()
	f := start(t)
	refused := func(code string, args ...string) {
		t.Helper()
		if out, err := f.aws(t, args...); err == nil || !strings.Contains(out, "("+code+")") {
			t.Errorf("aws %v: %v %s, want %s", args, err, out, code)
		}
	}
	at := []string{"--bucket", "kept", "--key", "report.json"}
	api := func(op string, more ...string) []string { return append(append([]string{"s3api", op}, at...), more...) }

	f.mustAWS(t, "s3api", "create-bucket", "--bucket", "kept", "--object-lock-enabled-for-bucket")
	f.mustAWS(t, "s3api", "put-object-lock-configuration", "--bucket", "kept",
		"--object-lock-configuration", "ObjectLockEnabled=Enabled,Rule={DefaultRetention={Mode=GOVERNANCE,Days=1}}")
	if out := f.mustAWS(t, "s3api", "get-object-lock-configuration", "--bucket", "kept"); !strings.Contains(out, `"Days": 1`) || !strings.Contains(out, "GOVERNANCE") {
		t.Errorf("the configuration is %s", out)
	}
	f.mustAWS(t, api("put-object", "--body", "object_lock_test.go")...)
	refused("AccessDenied", api("delete-object")...)
	refused("AccessDenied", api("put-object")...)
	later := time.Now().Add(48 * time.Hour).UTC().Format(time.RFC3339)
	f.mustAWS(t, api("put-object-retention", "--retention", "Mode=COMPLIANCE,RetainUntilDate="+later, "--bypass-governance-retention")...)
	refused("AccessDenied", api("delete-object", "--bypass-governance-retention")...)
	refused("AccessDenied", "s3", "rm", "s3://kept/report.json")
	refused("AccessDenied", api("put-object-retention", "--retention", "Mode=COMPLIANCE,RetainUntilDate="+time.Now().Add(24*time.Hour).UTC().Format(time.RFC3339))...)
	f.mustAWS(t, api("put-object-legal-hold", "--legal-hold", "Status=ON")...)
	if out := f.mustAWS(t, api("get-object-legal-hold")...); !strings.Contains(out, "ON") {
		t.Errorf("the hold is %s", out)
	}
}

// TestObjectLock is a lock from its beginning to its end, over a restart, by
// the service's own clock.
func TestObjectLock(t *testing.T) {
	t.Parallel()
	var ahead atomic.Int64 // nanoseconds
	now := func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
	dir := filepath.Join(t.TempDir(), "buckets")
	admin := identity(t, accountA, "admin", administrator)
	careful := identity(t, accountA, "careful", `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:*","Resource":"*"},
		{"Effect":"Deny","Action":["s3:BypassGovernanceRetention","s3:PutObjectLegalHold"],"Resource":"*"}]}`)
	name := aws.String("kept")
	var c, without *s3.Client
	var service *Service
	open := func() {
		t.Helper()
		s, err := Open(Config{Dir: dir, Now: now, Log: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		service = s
		f := &fixture{Service: s}
		c, without = f.inside(t, admin), f.inside(t, careful)
	}
	open()
	defer func() {
		if err := service.Close(); err != nil {
			t.Error(err)
		}
	}()
	ctx := t.Context()
	if _, err := c.CreateBucket(ctx, &s3.CreateBucketInput{Bucket: name, ObjectLockEnabledForBucket: aws.Bool(true)}); err != nil {
		t.Fatal(err)
	}
	put := func(key string, change func(*s3.PutObjectInput)) error {
		in := &s3.PutObjectInput{Bucket: name, Key: &key, Body: strings.NewReader("x"), ChecksumAlgorithm: types.ChecksumAlgorithmCrc32}
		if change != nil {
			change(in)
		}
		_, err := c.PutObject(ctx, in)
		return err
	}
	remove := func(by *s3.Client, key string, bypass bool) error {
		in := &s3.DeleteObjectInput{Bucket: name, Key: &key}
		if bypass {
			in.BypassGovernanceRetention = aws.Bool(true)
		}
		_, err := by.DeleteObject(ctx, in)
		return err
	}
	retain := func(key string, mode types.ObjectLockRetentionMode, d time.Duration, bypass bool) error {
		in := &s3.PutObjectRetentionInput{Bucket: name, Key: &key, Retention: &types.ObjectLockRetention{Mode: mode}}
		if d != 0 {
			in.Retention.RetainUntilDate = aws.Time(now().Add(d))
		}
		if bypass {
			in.BypassGovernanceRetention = aws.Bool(true)
		}
		_, err := c.PutObjectRetention(ctx, in)
		return err
	}
	hold := func(by *s3.Client, key string, status types.ObjectLockLegalHoldStatus) error {
		_, err := by.PutObjectLegalHold(ctx, &s3.PutObjectLegalHoldInput{Bucket: name, Key: &key, LegalHold: &types.ObjectLockLegalHold{Status: status}})
		return err
	}
	for _, key := range []string{"free", "ruled", "kept", "held"} {
		if err := put(key, nil); err != nil {
			t.Fatal(err)
		}
	}

	// A retention goes on in its mode; only GOVERNANCE can be bypassed.
	wantCode(t, retain("ruled", "GOVERNANCE", time.Hour, false), "")
	wantCode(t, retain("ruled", "GOVERNANCE", 3*time.Hour, false), "")
	wantCode(t, retain("ruled", "GOVERNANCE", time.Hour, false), "AccessDenied")
	wantCode(t, retain("ruled", "COMPLIANCE", 4*time.Hour, false), "AccessDenied")
	wantCode(t, retain("kept", "COMPLIANCE", time.Hour, false), "")
	wantCode(t, retain("kept", "COMPLIANCE", 3*time.Hour, false), "")
	wantCode(t, retain("kept", "COMPLIANCE", time.Hour, true), "AccessDenied")
	wantCode(t, retain("kept", "GOVERNANCE", 4*time.Hour, true), "AccessDenied")
	wantCode(t, retain("kept", "", 0, true), "AccessDenied")
	for _, wrong := range []struct {
		mode types.ObjectLockRetentionMode
		for_ time.Duration
		code string
	}{{"GOVERNANCE", -time.Hour, "InvalidArgument"}, {"GOVERNANCE", 101 * 365 * 24 * time.Hour, "InvalidArgument"}, {"governance", time.Hour, "MalformedXML"}, {"GOVERNANCE", 0, "MalformedXML"}} {
		wantCode(t, retain("free", wrong.mode, wrong.for_, false), wrong.code)
	}
	wantCode(t, hold(without, "held", "ON"), "AccessDenied")
	wantCode(t, hold(c, "held", "ON"), "")
	wantCode(t, hold(c, "held", "on"), "MalformedXML")

	if err := service.Close(); err != nil {
		t.Fatal(err)
	}
	open()
	for _, key := range []string{"ruled", "kept", "held"} {
		wantCode(t, remove(c, key, false), "AccessDenied")
		wantCode(t, put(key, nil), "AccessDenied")
		_, err := c.CopyObject(ctx, &s3.CopyObjectInput{Bucket: name, Key: &key, CopySource: aws.String("kept/free")})
		wantCode(t, err, "AccessDenied")
		out, err := c.DeleteObjects(ctx, &s3.DeleteObjectsInput{Bucket: name, Delete: &types.Delete{Objects: []types.ObjectIdentifier{{Key: &key}}}})
		if err != nil || len(out.Errors) != 1 || aws.ToString(out.Errors[0].Code) != "AccessDenied" {
			t.Errorf("deleting many: %+v, %v", out, err)
		}
		u, err := c.CreateMultipartUpload(ctx, &s3.CreateMultipartUploadInput{Bucket: name, Key: &key})
		if err != nil {
			t.Fatal(err)
		}
		p, err := c.UploadPart(ctx, &s3.UploadPartInput{Bucket: name, Key: &key, UploadId: u.UploadId, PartNumber: aws.Int32(1), Body: strings.NewReader("y")})
		if err != nil {
			t.Fatal(err)
		}
		_, err = c.CompleteMultipartUpload(ctx, &s3.CompleteMultipartUploadInput{Bucket: name, Key: &key, UploadId: u.UploadId,
			MultipartUpload: &types.CompletedMultipartUpload{Parts: []types.CompletedPart{{PartNumber: aws.Int32(1), ETag: p.ETag}}}})
		wantCode(t, err, "AccessDenied")
	}
	wantCode(t, remove(without, "ruled", true), "AccessDenied")
	wantCode(t, remove(c, "kept", true), "AccessDenied")
	wantCode(t, remove(c, "held", true), "AccessDenied")
	wantCode(t, remove(c, "ruled", true), "")
	wantCode(t, hold(c, "held", "OFF"), "")
	wantCode(t, remove(c, "held", false), "")
	ahead.Store(int64(3*time.Hour + time.Minute))
	wantCode(t, remove(c, "kept", false), "")

	// What is sent with an object, and what comes of the bucket's default.
	configure := func(mode types.ObjectLockRetentionMode, days, years *int32) error {
		_, err := c.PutObjectLockConfiguration(ctx, &s3.PutObjectLockConfigurationInput{Bucket: name, ObjectLockConfiguration: &types.ObjectLockConfiguration{
			ObjectLockEnabled: "Enabled", Rule: &types.ObjectLockRule{DefaultRetention: &types.DefaultRetention{Mode: mode, Days: days, Years: years}}}})
		return err
	}
	one, none, tooMany := aws.Int32(1), aws.Int32(0), aws.Int32(36501)
	wantCode(t, configure("COMPLIANCE", none, nil), "InvalidRetentionPeriod")
	wantCode(t, configure("COMPLIANCE", tooMany, nil), "InvalidRetentionPeriod")
	wantCode(t, configure("COMPLIANCE", nil, aws.Int32(101)), "InvalidRetentionPeriod")
	wantCode(t, configure("COMPLIANCE", one, one), "MalformedXML")
	wantCode(t, configure("COMPLIANCE", nil, nil), "MalformedXML")
	wantCode(t, configure("compliance", one, nil), "MalformedXML")
	wantCode(t, configure("COMPLIANCE", nil, one), "")
	wantCode(t, put("default", nil), "")
	wantCode(t, put("own", func(in *s3.PutObjectInput) {
		in.ObjectLockMode, in.ObjectLockRetainUntilDate, in.ObjectLockLegalHoldStatus = "GOVERNANCE", aws.Time(now().Add(time.Hour)), "ON"
	}), "")
	wantCode(t, put("half", func(in *s3.PutObjectInput) { in.ObjectLockMode = "GOVERNANCE" }), "InvalidArgument")
	wantCode(t, put("odd", func(in *s3.PutObjectInput) { in.ObjectLockLegalHoldStatus = "on" }), "InvalidArgument")
	for key, want := range map[string]struct {
		mode types.ObjectLockMode
		d    time.Duration
		hold types.ObjectLockLegalHoldStatus
	}{"default": {"COMPLIANCE", 365 * 24 * time.Hour, ""}, "own": {"GOVERNANCE", time.Hour, "ON"}} {
		h, err := c.HeadObject(ctx, &s3.HeadObjectInput{Bucket: name, Key: &key})
		if err != nil {
			t.Fatal(err)
		}
		off := h.ObjectLockRetainUntilDate.Sub(now().Add(want.d))
		if h.ObjectLockMode != want.mode || h.ObjectLockLegalHoldStatus != want.hold || off.Abs() > 25*time.Hour {
			t.Errorf("%s has %s until %s, hold %q", key, h.ObjectLockMode, h.ObjectLockRetainUntilDate, h.ObjectLockLegalHoldStatus)
		}
	}
	if _, err := c.PutObjectLockConfiguration(ctx, &s3.PutObjectLockConfigurationInput{Bucket: name, ObjectLockConfiguration: &types.ObjectLockConfiguration{ObjectLockEnabled: "Enabled"}}); err != nil {
		t.Fatal(err)
	}
	wantCode(t, put("none", nil), "")
	_, err := c.GetObjectRetention(ctx, &s3.GetObjectRetentionInput{Bucket: name, Key: aws.String("none")})
	wantCode(t, err, "NoSuchObjectLockConfiguration")
	_, err = c.GetObjectLegalHold(ctx, &s3.GetObjectLegalHoldInput{Bucket: name, Key: aws.String("none")})
	wantCode(t, err, "NoSuchObjectLockConfiguration")

	// What is locked comes with a checksum.
	plain := func(method, key string, header ...string) int {
		r, err := http.NewRequestWithContext(ctx, method, "https://buckets.internal/kept/"+key, strings.NewReader("x"))
		if err != nil {
			t.Fatal(err)
		}
		for i := 0; i < len(header); i += 2 {
			r.Header.Set(header[i], header[i+1])
		}
		resp, err := service.Transport(admin).RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		return resp.StatusCode
	}
	if s := plain("PUT", "bare", "X-Amz-Object-Lock-Legal-Hold", "ON"); s != http.StatusBadRequest {
		t.Errorf("a locked object without a checksum: %d", s)
	}
	if s := plain("PUT", "summed", "X-Amz-Object-Lock-Legal-Hold", "ON", "Content-MD5", "nXlBUyGnvt2IPDMgAV7iDg=="); s != http.StatusBadRequest { // of another body
		t.Errorf("a locked object with another's checksum: %d", s)
	}

	// A bucket that was made without Object Lock has none and gets none.
	name = aws.String("open")
	if _, err := c.CreateBucket(ctx, &s3.CreateBucketInput{Bucket: name}); err != nil {
		t.Fatal(err)
	}
	wantCode(t, put("free", nil), "")
	wantCode(t, put("kept", func(in *s3.PutObjectInput) {
		in.ObjectLockMode, in.ObjectLockRetainUntilDate = "GOVERNANCE", aws.Time(now().Add(time.Hour))
	}), "InvalidRequest")
	wantCode(t, retain("free", "GOVERNANCE", time.Hour, false), "InvalidRequest")
	wantCode(t, hold(c, "free", "ON"), "InvalidRequest")
	wantCode(t, configure("GOVERNANCE", one, nil), "InvalidBucketState")
	_, err = c.GetObjectLockConfiguration(ctx, &s3.GetObjectLockConfigurationInput{Bucket: name})
	wantCode(t, err, "ObjectLockConfigurationNotFoundError")
	_, err = c.GetObjectLegalHold(ctx, &s3.GetObjectLegalHoldInput{Bucket: name, Key: aws.String("free")})
	wantCode(t, err, "InvalidRequest")
}

// TestIndexUpgrade opens a folder as version 1 of the format left it, when all
// part files were plain and as old as their last byte.
func TestIndexUpgrade(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s, err := Open(Config{Dir: dir, Plain: true, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	admin := identity(t, accountA, "admin", administrator)
	c := (&fixture{Service: s}).inside(t, admin)
	if _, err := c.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: aws.String("old"), ObjectLockEnabledForBucket: aws.Bool(true)}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.PutObject(t.Context(), &s3.PutObjectInput{Bucket: aws.String("old"), Key: aws.String("o"), Body: strings.NewReader("x"), ChecksumAlgorithm: types.ChecksumAlgorithmCrc32,
		ObjectLockMode: "COMPLIANCE", ObjectLockRetainUntilDate: aws.Time(time.Now().Add(time.Hour))}); err != nil {
		t.Fatal(err)
	}
	rows := reportRows(100_000)
	if _, err := c.PutObject(t.Context(), &s3.PutObjectInput{Bucket: aws.String("old"), Key: aws.String("rows"), Body: body(rows), ChecksumAlgorithm: types.ChecksumAlgorithmCrc32}); err != nil {
		t.Fatal(err)
	}
	touchFiles(t, s)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	db, err := sql.Open("sqlite", filepath.Join(dir, "index.db"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.Exec(`ALTER TABLE bucket DROP COLUMN default_mode; ALTER TABLE bucket DROP COLUMN default_days; ALTER TABLE bucket DROP COLUMN default_years;
		ALTER TABLE object DROP COLUMN legal_hold; ALTER TABLE extent DROP COLUMN stored; UPDATE format SET version = 1`); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if s, err = Open(Config{Dir: dir, Log: slog.New(slog.DiscardHandler)}); err != nil {
			t.Fatal(err)
		}
		c = (&fixture{Service: s}).inside(t, admin)
		_, err = c.DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: aws.String("old"), Key: aws.String("o")})
		wantCode(t, err, "AccessDenied")
		if _, err := c.CopyObject(t.Context(), &s3.CopyObjectInput{Bucket: aws.String("old"), Key: aws.String("copy"), CopySource: aws.String("old/rows")}); err != nil {
			t.Fatal(err)
		}
		if got := (&fixture{Service: s}).get(t, c, "old", "copy"); !bytes.Equal(got, rows) {
			t.Fatal("other bytes came back")
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
