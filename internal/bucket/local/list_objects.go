package local

import (
	"context"
	"fmt"
	"net/http"
	"strings"
)

const maxListed = 1000

// listed is one line of a listing: an object, or a common prefix.
type listed struct {
	object *object
	prefix string
}

// successor is the least string above every string that begins with prefix;
// empty when there is none.
func successor(prefix string) string {
	b := []byte(prefix)
	for i := len(b) - 1; i >= 0; i-- {
		if b[i] != 0xff {
			b[i]++
			return string(b[:i+1])
		}
	}
	return ""
}

// commonPrefix is what a key is rolled up to; ok is false when it is not.
func commonPrefix(key, prefix, delimiter string) (string, bool) {
	if delimiter == "" {
		return "", false
	}
	i := strings.Index(key[len(prefix):], delimiter)
	if i < 0 {
		return "", false
	}
	return key[:len(prefix)+i+len(delimiter)], true
}

// above is the least key that is listed after a marker: the next one, or what
// comes after a common prefix that the marker names. Empty: none.
func above(marker, prefix, delimiter string) string {
	if strings.HasPrefix(marker, prefix) {
		if cp, ok := commonPrefix(marker, prefix, delimiter); ok && cp == marker {
			return successor(cp)
		}
	}
	return marker + "\x00"
}

// listPage returns the lines after a key or common prefix, in order, and
// whether there are more. The keys under a common prefix are passed over by
// one seek.
func listPage(prefix, delimiter, after string, limit int, keysFrom func(from, to string, n int) ([]*object, error)) (page []listed, more bool, err error) {
	from, to := prefix, successor(prefix)
	if after != "" && after >= from {
		if from = above(after, prefix, delimiter); from == "" {
			return nil, false, nil
		}
	}
	for {
		want := limit + 1 - len(page)
		if delimiter != "" {
			want = min(want, 64) // most of them may be under one prefix
		}
		batch, err := keysFrom(from, to, want)
		if err != nil {
			return nil, false, err
		}
		skipped := false
		for _, o := range batch {
			if len(page) == limit {
				return page, true, nil
			}
			if cp, ok := commonPrefix(o.key, prefix, delimiter); ok {
				page = append(page, listed{prefix: cp})
				if from = successor(cp); from == "" {
					return page, false, nil
				}
				skipped = true
				break
			}
			page = append(page, listed{object: o})
			from = o.key + "\x00"
		}
		if !skipped && len(batch) < want {
			return page, false, nil
		}
	}
}

// keysFrom reads objects of a bucket in [from, to).
func keysFrom(ctx context.Context, tx *txn, bucket string) func(from, to string, n int) ([]*object, error) {
	return func(from, to string, n int) ([]*object, error) {
		query, args := `SELECT `+objectColumns+` FROM object WHERE state = 1 AND bucket = ? AND key >= ?`, []any{bucket, []byte(from)}
		if to != "" {
			query, args = query+` AND key < ?`, append(args, []byte(to))
		}
		rows, err := tx.QueryContext(ctx, query+` ORDER BY key LIMIT ?`, append(args, n)...)
		if err != nil {
			return nil, fmt.Errorf("listing objects: %w", err)
		}
		defer rows.Close()
		var list []*object
		for rows.Next() {
			o, err := scanObject(rows)
			if err != nil {
				return nil, fmt.Errorf("listing objects: %w", err)
			}
			list = append(list, o)
		}
		return list, rows.Err()
	}
}

// keyEncoding is how keys are written: as they are, or percent-encoded
// (encoding-type=url).
func (q *request) keyEncoding() (func(string) string, error) {
	switch v := q.query.Get("encoding-type"); v {
	case "":
		return func(s string) string { return s }, nil
	case "url":
		return encodeKey, nil
	default:
		return nil, errInvalidArgument("encoding-type", v, "Invalid Encoding Method specified in Request")
	}
}

func encodeKey(s string) string {
	const hexDigits = "0123456789ABCDEF"
	var b strings.Builder
	for i := range len(s) {
		c := s[i]
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("-_.*/", c) >= 0 {
			b.WriteByte(c)
			continue
		}
		b.WriteByte('%')
		b.WriteByte(hexDigits[c>>4])
		b.WriteByte(hexDigits[c&15])
	}
	return b.String()
}

func appendListed(d *document, page []listed, encode func(string) string, owner string) {
	for _, l := range page {
		o := l.object
		if o == nil {
			continue
		}
		d.open("Contents")
		d.text("Key", encode(o.key))
		d.time("LastModified", o.modified)
		d.text("ETag", `"`+o.etag+`"`)
		d.optional("ChecksumAlgorithm", o.algorithm)
		d.optional("ChecksumType", o.checksumType)
		d.number("Size", o.size)
		if owner != "" {
			appendOwner(d, owner)
		}
		d.text("StorageClass", "STANDARD")
		d.close("Contents")
	}
	appendPrefixes(d, page, encode)
}

func appendPrefixes(d *document, page []listed, encode func(string) string) {
	for _, l := range page {
		if l.object == nil {
			d.open("CommonPrefixes")
			d.text("Prefix", encode(l.prefix))
			d.close("CommonPrefixes")
		}
	}
}

func (s *Service) page(q *request, after string, limit int) (page []listed, more bool, err error) {
	if limit == 0 {
		return nil, false, nil
	}
	ctx := q.http.Context()
	err = s.index.read(ctx, func(tx *txn) error {
		page, more, err = listPage(q.query.Get("prefix"), q.query.Get("delimiter"), after, limit, keysFrom(ctx, tx, q.bucket))
		return err
	})
	return page, more, err
}

func (l listed) name() string {
	if l.object != nil {
		return l.object.key
	}
	return l.prefix
}

func (s *Service) listObjectsV2(q *request) (*reply, error) {
	limit, err := q.limitParameter("max-keys", maxListed)
	if err != nil {
		return nil, err
	}
	encode, err := q.keyEncoding()
	if err != nil {
		return nil, err
	}
	token, after := q.query.Get("continuation-token"), q.query.Get("start-after")
	if q.query.Has("continuation-token") {
		if token == "" {
			return nil, errInvalidArgument("continuation-token", "", "The continuation token provided is incorrect")
		}
		if after, err = decodeToken(token); err != nil {
			return nil, err
		}
	}
	page, more, err := s.page(q, after, limit)
	if err != nil {
		return nil, err
	}
	d := newDocument("ListBucketResult")
	d.text("Name", q.bucket)
	d.text("Prefix", encode(q.query.Get("prefix")))
	if v := q.query.Get("delimiter"); v != "" {
		d.text("Delimiter", encode(v))
	}
	d.optional("StartAfter", encode(q.query.Get("start-after")))
	d.number("MaxKeys", int64(limit))
	d.optional("EncodingType", q.query.Get("encoding-type"))
	d.number("KeyCount", int64(len(page)))
	d.optional("ContinuationToken", token)
	d.bool("IsTruncated", more)
	if more {
		d.text("NextContinuationToken", encodeToken(page[len(page)-1].name()))
	}
	owner := ""
	if q.query.Get("fetch-owner") == "true" {
		owner = q.owner.account
	}
	appendListed(d, page, encode, owner)
	return xmlReply(http.StatusOK, d, "ListBucketResult"), nil
}

func (s *Service) listObjects(q *request) (*reply, error) {
	limit, err := q.limitParameter("max-keys", maxListed)
	if err != nil {
		return nil, err
	}
	encode, err := q.keyEncoding()
	if err != nil {
		return nil, err
	}
	page, more, err := s.page(q, q.query.Get("marker"), limit)
	if err != nil {
		return nil, err
	}
	d := newDocument("ListBucketResult")
	d.text("Name", q.bucket)
	d.text("Prefix", encode(q.query.Get("prefix")))
	d.text("Marker", encode(q.query.Get("marker")))
	if v := q.query.Get("delimiter"); v != "" {
		d.text("Delimiter", encode(v))
		if more {
			d.text("NextMarker", encode(page[len(page)-1].name()))
		}
	}
	d.number("MaxKeys", int64(limit))
	d.optional("EncodingType", q.query.Get("encoding-type"))
	d.bool("IsTruncated", more)
	appendListed(d, page, encode, q.owner.account)
	return xmlReply(http.StatusOK, d, "ListBucketResult"), nil
}
