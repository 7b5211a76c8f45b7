package local

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net/http"
	"strconv"
	"strings"
)

// canonicalUser is the S3 user id of an account.
func canonicalUser(account string) string {
	h := sha256.Sum256([]byte("chirograph canonical user " + account))
	return hex.EncodeToString(h[:])
}

func appendOwner(d *document, account string) {
	d.open("Owner")
	d.text("ID", canonicalUser(account))
	d.text("DisplayName", account)
	d.close("Owner")
}

// limitParameter reads a count parameter; S3 caps it silently.
func (q *request) limitParameter(name string, most int) (int, error) {
	v := q.query.Get(name)
	if v == "" {
		return most, nil
	}
	n, err := strconv.ParseInt(v, 10, 32)
	if err != nil || n < 0 {
		return 0, errInvalidArgument(name, v, "Argument %s must be an integer between 0 and 2147483647", name)
	}
	return min(int(n), most), nil
}

func encodeToken(after string) string {
	return base64.RawURLEncoding.EncodeToString([]byte("1" + after))
}

func decodeToken(token string) (string, error) {
	b, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil || len(b) == 0 || b[0] != '1' {
		return "", errInvalidArgument("continuation-token", token, "The continuation token provided is incorrect")
	}
	return string(b[1:]), nil
}

// listBuckets lists the buckets of the caller's account. Internal ones are
// never listed.
func (s *Service) listBuckets(q *request) (*reply, error) {
	if q.principal == nil {
		return nil, errAccessDenied()
	}
	if err := s.authorizeIn(q, "ListAllMyBuckets", "*", nil); err != nil {
		return nil, err
	}
	limit, err := q.limitParameter("max-buckets", 10_000)
	if err != nil {
		return nil, err
	}
	after := ""
	if t := q.query.Get("continuation-token"); t != "" {
		if after, err = decodeToken(t); err != nil {
			return nil, err
		}
	}
	prefix, region := q.query.Get("prefix"), q.query.Get("bucket-region")
	ctx := q.http.Context()
	rows, err := s.index.r.QueryContext(ctx, `SELECT `+bucketColumns+` FROM bucket WHERE account = ? AND name > ? ORDER BY name`, q.account(), after)
	if err != nil {
		return nil, fmt.Errorf("listing buckets: %w", err)
	}
	defer rows.Close()
	d := newDocument("ListAllMyBucketsResult")
	appendOwner(d, q.account())
	d.open("Buckets")
	n, last, more := 0, "", false
	for rows.Next() {
		b, err := scanBucket(rows)
		if err != nil {
			return nil, fmt.Errorf("listing buckets: %w", err)
		}
		if s.internal(b.name) || !strings.HasPrefix(b.name, prefix) || region != "" && b.region != region {
			continue
		}
		if n == limit {
			more = true
			break
		}
		n, last = n+1, b.name
		d.open("Bucket")
		d.text("Name", b.name)
		d.time("CreationDate", b.created)
		d.text("BucketRegion", b.region)
		d.text("BucketArn", "arn:aws:s3:::"+b.name)
		d.close("Bucket")
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("listing buckets: %w", err)
	}
	d.close("Buckets")
	if more {
		d.text("ContinuationToken", encodeToken(last))
	}
	d.optional("Prefix", prefix)
	return xmlReply(http.StatusOK, d, "ListAllMyBucketsResult"), nil
}

// createBucket makes a bucket with S3's defaults: public access blocked, ACLs off.
func (s *Service) createBucket(q *request) (*reply, error) {
	if q.principal == nil {
		return nil, errAccessDenied()
	}
	body, err := s.readAll(q, 64<<10)
	if err != nil {
		return nil, err
	}
	b := &bucket{name: q.bucket, account: q.account(), region: s.cfg.Region, created: s.cfg.Now(), ownership: ownerEnforced, publicAccess: blockAll}
	if len(body) > 0 {
		var in struct {
			LocationConstraint string
			Location           *struct{}
			Bucket             *struct{}
		}
		if err := decodeXML(body, "CreateBucketConfiguration", &in); err != nil {
			return nil, err
		}
		if in.Location != nil || in.Bucket != nil {
			return nil, errNotImplemented("directory buckets")
		}
		if in.LocationConstraint != "" {
			if !validRegion(in.LocationConstraint) {
				return nil, errorf("InvalidLocationConstraint", "The specified location-constraint is not valid").with("LocationConstraint", in.LocationConstraint)
			}
			b.region = in.LocationConstraint
			if b.region == "EU" {
				b.region = "eu-west-1"
			}
		}
	}
	if v := q.header.Get("X-Amz-Object-Ownership"); v != "" {
		if !validOwnership(v) {
			return nil, errInvalidArgument("x-amz-object-ownership", v, "Invalid x-amz-object-ownership header: %s", v)
		}
		b.ownership = v
	}
	switch v := q.header.Get("X-Amz-Bucket-Object-Lock-Enabled"); strings.ToLower(v) {
	case "", "false":
	case "true":
		if err := s.authorizeIn(q, "PutBucketObjectLockConfiguration", q.resource(), nil); err != nil {
			return nil, err
		}
		b.objectLock = true
	default:
		return nil, errInvalidArgument("x-amz-bucket-object-lock-enabled", v, "Invalid x-amz-bucket-object-lock-enabled header")
	}
	if b.acl, err = checkACL(q, &parsedBucket{bucket: b}, true); err != nil {
		return nil, err
	}
	ctx := q.http.Context()
	err = s.index.write(ctx, func(ctx context.Context, tx *txn) error {
		var account string
		err := tx.QueryRowContext(ctx, `SELECT account FROM bucket WHERE name = ?`, b.name).Scan(&account)
		if err == nil && account == b.account {
			return errorf("BucketAlreadyOwnedByYou", "Your previous request to create the named bucket succeeded and you already own it.").with("BucketName", b.name)
		}
		if err == nil {
			return errorf("BucketAlreadyExists", "The requested bucket name is not available. The bucket namespace is shared by all users of the system. Please select a different name and try again.").with("BucketName", b.name)
		}
		if err != sql.ErrNoRows {
			return fmt.Errorf("looking for a bucket: %w", err)
		}
		if _, err = tx.ExecContext(ctx, `INSERT INTO bucket (`+bucketColumns+`) VALUES (?,?,?,?,?,?,?,?,NULL,'',0,0)`,
			b.name, b.account, b.region, b.created.UnixMilli(), b.acl, b.ownership, b.publicAccess, b.objectLock); err != nil {
			return fmt.Errorf("making a bucket: %w", err)
		}
		return nil
	})
	s.forget(b.name)
	if err != nil {
		return nil, err
	}
	r := newReply(http.StatusOK)
	r.header.Set("Location", "/"+b.name)
	r.header.Set("X-Amz-Bucket-Arn", "arn:aws:s3:::"+b.name)
	return r, nil
}

func validRegion(v string) bool {
	if len(v) > 64 {
		return false
	}
	for i := range len(v) {
		c := v[i]
		if !(c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '-') {
			return v == "EU"
		}
	}
	return true
}

func (s *Service) headBucket(q *request) (*reply, error) {
	r := newReply(http.StatusOK)
	r.header.Set("X-Amz-Bucket-Region", q.owner.region)
	r.header.Set("X-Amz-Bucket-Arn", "arn:aws:s3:::"+q.bucket)
	r.header.Set("X-Amz-Access-Point-Alias", "false")
	return r, nil
}

// deleteBucket removes an empty bucket; uploads under way in it end.
func (s *Service) deleteBucket(q *request) (*reply, error) {
	ctx := q.http.Context()
	err := s.index.write(ctx, func(ctx context.Context, tx *txn) error {
		var used bool
		if err := tx.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM object WHERE state = 1 AND bucket = ?)`, q.bucket).Scan(&used); err != nil {
			return fmt.Errorf("looking for objects: %w", err)
		}
		if used {
			return errorf("BucketNotEmpty", "The bucket you tried to delete is not empty").with("BucketName", q.bucket)
		}
		if _, err := tx.ExecContext(ctx, `UPDATE object SET state = 2 WHERE state = 0 AND bucket = ?`, q.bucket); err != nil {
			return fmt.Errorf("ending uploads: %w", err)
		}
		res, err := tx.ExecContext(ctx, `DELETE FROM bucket WHERE name = ?`, q.bucket)
		if err != nil {
			return fmt.Errorf("deleting a bucket: %w", err)
		}
		if n, err := res.RowsAffected(); err != nil || n == 0 {
			return errNoSuchBucket(q.bucket)
		}
		return nil
	})
	s.forget(q.bucket)
	if err != nil {
		return nil, err
	}
	s.wake()
	return newReply(http.StatusNoContent), nil
}

// bucketExists is checked in the transaction that adds to a bucket, because
// the bucket may have been deleted since the request began.
func bucketExists(ctx context.Context, tx *txn, name string) error {
	var there bool
	if err := tx.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM bucket WHERE name = ?)`, name).Scan(&there); err != nil {
		return fmt.Errorf("looking for a bucket: %w", err)
	}
	if !there {
		return errNoSuchBucket(name)
	}
	return nil
}

func (s *Service) getBucketLocation(q *request) (*reply, error) {
	d := &document{b: []byte(`<?xml version="1.0" encoding="UTF-8"?>` + "\n" + `<LocationConstraint xmlns="` + namespace + `">`)}
	if q.owner.region != "us-east-1" { // which is S3's empty location
		d.b = appendEscaped(d.b, q.owner.region)
	}
	return xmlReply(http.StatusOK, d, "LocationConstraint"), nil
}

// getBucketEncryption says the truth: no encryption is configured, and objects
// lie on the disk as they are.
func (s *Service) getBucketEncryption(q *request) (*reply, error) {
	return nil, errorf("ServerSideEncryptionConfigurationNotFoundError", "The server side encryption configuration was not found").with("BucketName", q.bucket)
}

func (s *Service) getBucketVersioning(q *request) (*reply, error) {
	return xmlReply(http.StatusOK, newDocument("VersioningConfiguration"), "VersioningConfiguration"), nil
}
