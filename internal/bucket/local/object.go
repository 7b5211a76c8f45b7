package local

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"chirograph.dev/internal/iam"
)

// keptHeaders are stored with an object and sent with it, besides x-amz-meta-.
var keptHeaders = [...]string{"Cache-Control", "Content-Disposition", "Content-Encoding", "Content-Language", "Content-Type", "Expires"}

// objectHeaders takes from a request what is kept with an object, and refuses
// what S3 would keep and this service does not.
func objectHeaders(q *request) (url.Values, error) {
	h := q.header
	for _, name := range []string{"X-Amz-Server-Side-Encryption", "X-Amz-Server-Side-Encryption-Customer-Algorithm", "X-Amz-Tagging",
		"X-Amz-Website-Redirect-Location", "X-Amz-Write-Offset-Bytes"} {
		if h.Get(name) != "" {
			return nil, errNotImplemented(strings.ToLower(name))
		}
	}
	if v := h.Get("X-Amz-Storage-Class"); v != "" && v != "STANDARD" {
		return nil, errorf("InvalidStorageClass", "The storage class you specified is not valid").with("StorageClassRequested", v)
	}
	kept := url.Values{}
	size := 0
	for name, values := range h {
		if meta, ok := strings.CutPrefix(name, "X-Amz-Meta-"); ok {
			v := strings.Join(values, ",")
			size += len(meta) + len(v)
			kept.Set(strings.ToLower(name), v)
		}
	}
	if size > maxMetadata {
		return nil, errorf("MetadataTooLarge", "Your metadata headers exceed the maximum allowed metadata size").
			with("Size", strconv.Itoa(size)).with("MaxSizeAllowed", strconv.Itoa(maxMetadata))
	}
	for _, name := range keptHeaders {
		v := strings.Join(h.Values(name), ",")
		if name == "Content-Encoding" {
			v = withoutChunked(v)
		}
		if len(v) > 4096 {
			return nil, errInvalidArgument(name, v[:64], "The header %s is too long", name)
		}
		if v != "" {
			kept.Set(strings.ToLower(name), v)
		}
	}
	if kept.Get("content-type") == "" {
		kept.Set("content-type", "binary/octet-stream")
	}
	return kept, nil
}

// withoutChunked removes aws-chunked, which is of the transfer, not of the object.
func withoutChunked(v string) string {
	var out []string
	for _, c := range strings.Split(v, ",") {
		if c = strings.TrimSpace(c); c != "" && !strings.EqualFold(c, "aws-chunked") {
			out = append(out, c)
		}
	}
	return strings.Join(out, ",")
}

// writeConditions are the preconditions of a request that replaces an object.
type writeConditions struct{ match, noneMatch string }

func (q *request) writeConditions() (writeConditions, error) {
	c := writeConditions{match: q.header.Get("If-Match"), noneMatch: q.header.Get("If-None-Match")}
	if c.noneMatch != "" && c.noneMatch != "*" {
		return c, errNotImplemented("If-None-Match other than * on a write")
	}
	if c.match != "" && c.noneMatch != "" {
		return c, errNotImplemented("If-Match together with If-None-Match")
	}
	return c, nil
}

// check decides on the object that is there; nil: none.
func (c writeConditions) check(old *object, key string) error {
	switch {
	case c.noneMatch != "" && old != nil:
		return errPrecondition("If-None-Match")
	case c.match != "" && old == nil:
		return errNoSuchKey(key)
	case c.match != "" && !etagMatches(c.match, old.etag):
		return errPrecondition("If-Match")
	}
	return nil
}

func etagMatches(list, etag string) bool {
	for _, v := range strings.Split(list, ",") {
		v = strings.TrimPrefix(strings.TrimSpace(v), "W/")
		if v == "*" || strings.Trim(v, `"`) == etag {
			return true
		}
	}
	return false
}

// replace makes o, which has its parts or gets them from insert, the object of
// its key in one step with the checks that it may.
func (s *Service) replace(ctx context.Context, q *request, tx *txn, o *object, c writeConditions) error {
	if err := bucketExists(ctx, tx, o.bucket); err != nil {
		return err
	}
	old, err := findObject(ctx, tx, o.bucket, o.key)
	if err != nil {
		return err
	}
	if err := c.check(old, o.key); err != nil {
		return err
	}
	if old == nil {
		return nil
	}
	if err := s.checkLock(q, old, q.resource()); err != nil {
		return err
	}
	return retire(ctx, tx, old.id)
}

// refuseEarly answers a write that its conditions or a lock forbid before its
// body is read; the decision is made again when the object is entered.
func (s *Service) refuseEarly(q *request, c writeConditions) error {
	ctx := q.http.Context()
	return s.index.read(ctx, func(tx *txn) error {
		old, err := findObject(ctx, tx, q.bucket, q.key)
		if err != nil {
			return err
		}
		if err := c.check(old, q.key); err != nil {
			return err
		}
		return s.checkLock(q, old, q.resource())
	})
}

// objectACL checks the ACL of a new object; asking for one is an action of its own.
func (s *Service) objectACL(q *request) (string, error) {
	acl, err := checkACL(q, q.state, false)
	if err != nil {
		return "", err
	}
	if q.header.Get("X-Amz-Acl") != "" {
		if err := s.authorize(q, "PutObjectAcl", q.resource()); err != nil {
			return "", err
		}
	}
	return acl, nil
}

// newObject collects what PutObject, CopyObject and CreateMultipartUpload have
// in common.
func (s *Service) newObject(q *request) (*object, error) {
	headers, err := objectHeaders(q)
	if err != nil {
		return nil, err
	}
	o := &object{bucket: q.bucket, key: q.key, headers: headers, initiator: q.callerID(), modified: s.cfg.Now()}
	if o.acl, err = s.objectACL(q); err != nil {
		return nil, err
	}
	return o, s.lockNew(q, o)
}

// putObject stores one body as an object.
func (s *Service) putObject(q *request) (*reply, error) {
	o, err := s.newObject(q)
	if err != nil {
		return nil, err
	}
	conditions, err := q.writeConditions()
	if err != nil {
		return nil, err
	}
	if err := s.refuseEarly(q, conditions); err != nil {
		return nil, err
	}
	if err := checkLockChecksum(q, o, "Put Object"); err != nil {
		return nil, err
	}
	in, err := s.receive(q, "")
	if err != nil {
		return nil, err
	}
	o.size, o.etag, o.checksumType = in.size, in.etag, typeFullObject
	o.algorithm, o.checksum = in.algorithm, in.checksum
	if o.algorithm == "" {
		o.algorithm, o.checksum = algCRC64NVME, encodeCRC64(in.crc64)
	}
	o.modified = s.cfg.Now()
	in.number = 1
	in.part.checksum = o.checksum
	ctx := q.http.Context()
	err = s.index.write(ctx, func(ctx context.Context, tx *txn) error {
		if err := s.replace(ctx, q, tx, o, conditions); err != nil {
			return err
		}
		if err := insertObject(ctx, tx, o, stateObject); err != nil {
			return err
		}
		return insertPart(ctx, tx, o.id, &in.part)
	})
	s.release(&in.part, err)
	if err != nil {
		return nil, err
	}
	s.wake()
	r := newReply(http.StatusOK)
	r.header.Set("Etag", `"`+o.etag+`"`)
	r.header.Set(checksumHeader(o.algorithm), o.checksum)
	r.header.Set("X-Amz-Checksum-Type", o.checksumType)
	return r, nil
}

// byteRange is a Range header applied to a size.
type byteRange struct {
	from, to int64 // [from, to)
	partial  bool
}

// parseRange applies a Range header. What is not a single well-formed range is
// passed over, as S3 does.
func parseRange(v string, size int64) (byteRange, error) {
	whole := byteRange{to: size}
	spec, ok := strings.CutPrefix(strings.TrimSpace(v), "bytes=")
	if !ok {
		return whole, nil
	}
	first, last, ok := strings.Cut(strings.TrimSpace(spec), "-")
	if !ok {
		return whole, nil
	}
	unsatisfiable := errorf("InvalidRange", "The requested range is not satisfiable").with("RangeRequested", v).
		with("ActualObjectSize", strconv.FormatInt(size, 10))
	unsatisfiable.header = http.Header{"Content-Range": {"bytes */" + strconv.FormatInt(size, 10)}}
	number := func(s string) (int64, bool) {
		n, err := strconv.ParseUint(s, 10, 63)
		return int64(n), err == nil
	}
	if first == "" {
		n, ok := number(last)
		if !ok {
			return whole, nil
		}
		if n == 0 || size == 0 {
			return whole, unsatisfiable
		}
		return byteRange{from: max(0, size-n), to: size, partial: true}, nil
	}
	from, ok := number(first)
	if !ok {
		return whole, nil
	}
	to := size
	if last != "" {
		n, ok := number(last)
		if !ok || n < from {
			return whole, nil
		}
		to = min(size, n)
		if n < size {
			to = n + 1
		}
	}
	if from >= size {
		return whole, unsatisfiable
	}
	return byteRange{from: from, to: to, partial: true}, nil
}

// readConditions decides If-Match and its like on a read, in RFC 9110's order.
func readConditions(h http.Header, prefix string, o *object) error {
	modified := o.modified.Truncate(time.Second)
	if v := h.Get(prefix + "If-Match"); v != "" {
		if !etagMatches(v, o.etag) {
			return errPrecondition("If-Match")
		}
	} else if t, err := http.ParseTime(h.Get(prefix + "If-Unmodified-Since")); err == nil && modified.After(t) {
		return errPrecondition("If-Unmodified-Since")
	}
	unchanged := false
	if v := h.Get(prefix + "If-None-Match"); v != "" {
		unchanged = etagMatches(v, o.etag)
	} else if t, err := http.ParseTime(h.Get(prefix + "If-Modified-Since")); err == nil {
		unchanged = !modified.After(t)
	}
	if !unchanged {
		return nil
	}
	if prefix != "" { // a copy has no 304
		return errPrecondition("If-None-Match")
	}
	e := errorf("NotModified", "Not Modified")
	e.header = http.Header{"Etag": {`"` + o.etag + `"`}, "Last-Modified": {modified.UTC().Format(http.TimeFormat)}}
	for _, name := range [...]string{"Cache-Control", "Expires"} { // RFC 9110 15.4.5
		if v := o.headers.Get(strings.ToLower(name)); v != "" {
			e.header.Set(name, v)
		}
	}
	return e
}

// findReadable returns the object of a key when the caller may read it.
// Whether a missing one is missing is told only to who may list.
func (s *Service) findReadable(ctx context.Context, q *request, tx *txn, b *parsedBucket, key string) (*object, error) {
	resource := "arn:aws:s3:::" + b.name + "/" + key
	decision, reason := s.decide(q, "GetObject", resource, b)
	o, err := findObject(ctx, tx, b.name, key)
	if err != nil {
		return nil, err
	}
	switch {
	case decision == iam.Allow:
	case decision == iam.ImplicitDeny && o != nil && q.granted(o.acl, b, reason):
	default:
		return nil, s.denied(q, "GetObject", resource, reason)
	}
	if o == nil {
		if err := s.authorizeIn(q, "ListBucket", "arn:aws:s3:::"+b.name, b); err != nil {
			return nil, err
		}
		return nil, errNoSuchKey(key)
	}
	return o, nil
}

// getObject serves GetObject and HeadObject.
func (s *Service) getObject(q *request) (*reply, error) {
	ctx := q.http.Context()
	head := q.method == http.MethodHead
	var o *object
	var span byteRange
	var extents []extent
	var partCount int
	// The ticket is taken before the snapshot: what the snapshot refers to
	// stays on the disk until the reader is closed.
	body := &extentReader{s: s, ticket: s.files.enter()}
	err := s.index.read(ctx, func(tx *txn) error {
		var err error
		if o, err = s.findReadable(ctx, q, tx, q.state, q.key); err != nil {
			return err
		}
		if err := readConditions(q.header, "", o); err != nil {
			return err
		}
		span = byteRange{to: o.size}
		if v := q.query.Get("partNumber"); v != "" {
			if q.header.Get("Range") != "" {
				return errorf("InvalidRequest", "Cannot specify both Range header and partNumber query parameter")
			}
			if span, partCount, err = partRange(ctx, tx, o, v); err != nil {
				return err
			}
		} else if v := q.header.Get("Range"); v != "" && (q.header.Get("If-Range") == "" || etagMatches(q.header.Get("If-Range"), o.etag)) {
			if span, err = parseRange(v, o.size); err != nil {
				return err
			}
		}
		if head || span.from == span.to {
			return nil
		}
		extents, _, err = listExtents(ctx, tx, o.id, span.from, span.to)
		if err != nil {
			return err
		}
		var n int64
		for i := range extents {
			n += extents[i].size
		}
		if n != span.to-span.from {
			return fmt.Errorf("object %d has %d bytes of extents where %d were asked for", o.id, n, span.to-span.from)
		}
		return nil
	})
	if err != nil {
		body.Close()
		return nil, err
	}
	r := newReply(http.StatusOK)
	s.describe(r.header, o)
	if q.signed != nil || q.inProcess {
		for _, name := range keptHeaders {
			if v := q.query.Get("response-" + strings.ToLower(name)); v != "" && !strings.ContainsAny(v, "\r\n") {
				r.header.Set(name, v)
			}
		}
	}
	if partCount > 0 {
		r.header.Set("X-Amz-Mp-Parts-Count", strconv.Itoa(partCount))
	}
	if strings.EqualFold(q.header.Get("X-Amz-Checksum-Mode"), "ENABLED") && span.from == 0 && span.to == o.size && o.checksum != "" {
		r.header.Set(checksumHeader(o.algorithm), o.checksum)
		r.header.Set("X-Amz-Checksum-Type", o.checksumType)
	}
	if span.partial {
		r.status = http.StatusPartialContent
		r.header.Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", span.from, span.to-1, o.size))
	}
	r.length = span.to - span.from
	if head {
		body.Close()
		return r, nil
	}
	body.extents = extents
	r.body = body
	return r, nil
}

// partRange is the place of one part in an object.
func partRange(ctx context.Context, tx *txn, o *object, v string) (byteRange, int, error) {
	n, err := strconv.Atoi(v)
	if err != nil || n < 1 || n > maxParts {
		return byteRange{}, 0, errInvalidArgument("partNumber", v, "Part number must be an integer between 1 and 10000, inclusive")
	}
	list, err := listParts(ctx, tx, o.id, n-1, 1)
	if err != nil {
		return byteRange{}, 0, err
	}
	if len(list) == 0 || list[0].number != n {
		return byteRange{}, 0, errorf("InvalidPartNumber", "The requested partnumber is not satisfiable").with("PartNumberRequested", v)
	}
	p := list[0]
	return byteRange{from: p.start, to: p.start + p.size, partial: p.size > 0}, o.parts, nil
}

// describe sets the headers of an object.
func (s *Service) describe(h http.Header, o *object) {
	for name, values := range o.headers {
		h.Set(name, values[0])
	}
	h.Set("Etag", `"`+o.etag+`"`)
	h.Set("Last-Modified", o.modified.UTC().Format(http.TimeFormat))
	h.Set("Accept-Ranges", "bytes")
	describeLock(h, o)
	// Objects come from many writers: a browser must not guess their type, and
	// runs no script of theirs as this host's, whose cookies know no ports. What
	// browsers run as a page is not told by the type alone, and a URL may give another.
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Security-Policy", "sandbox")
}

func formatDate(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }

// deleteObject removes an object; that there is none is no error.
func (s *Service) deleteObject(q *request) (*reply, error) {
	ctx := q.http.Context()
	err := s.index.write(ctx, func(ctx context.Context, tx *txn) error {
		return s.remove(ctx, q, tx, q.key, q.header.Get("If-Match"))
	})
	if err != nil {
		return nil, err
	}
	s.wake()
	return newReply(http.StatusNoContent), nil
}

// remove takes an object away, or changes nothing.
func (s *Service) remove(ctx context.Context, q *request, tx *txn, key, match string) error {
	old, err := findObject(ctx, tx, q.bucket, key)
	if err != nil {
		return err
	}
	if match != "" {
		if err := (writeConditions{match: match}).check(old, key); err != nil {
			return err
		}
	}
	if old == nil {
		return nil
	}
	if err := s.checkLock(q, old, "arn:aws:s3:::"+q.bucket+"/"+key); err != nil {
		return err
	}
	return retire(ctx, tx, old.id)
}

func (s *Service) deleteObjects(q *request) (*reply, error) {
	algorithm, _, _, err := declaredChecksum(q.header)
	if err != nil {
		return nil, err
	}
	if algorithm == "" && q.header.Get("Content-Md5") == "" && !q.inProcess {
		return nil, errorf("InvalidRequest", "Missing required header for this request: Content-MD5 OR x-amz-checksum-*")
	}
	var in struct {
		Quiet  bool
		Object []struct{ Key, VersionId, ETag string }
	}
	if err := s.readXML(q, "Delete", &in); err != nil {
		return nil, err
	}
	if len(in.Object) == 0 || len(in.Object) > maxListed {
		return nil, errMalformedXML()
	}
	refused := make([]*apiError, len(in.Object)) // by place in the list
	ctx := q.http.Context()
	err = s.index.write(ctx, func(ctx context.Context, tx *txn) error {
		clear(refused)
		for i, o := range in.Object {
			var err error
			switch {
			case o.Key == "" || len(o.Key) > maxKeyLength:
				err = errorf("KeyTooLongError", "Your key is empty or too long")
			case o.VersionId != "" && o.VersionId != "null":
				err = errorf("NoSuchVersion", "The specified version does not exist. Versions are not kept.")
			default:
				if err = s.authorize(q, "DeleteObject", "arn:aws:s3:::"+q.bucket+"/"+o.Key); err == nil {
					err = s.remove(ctx, q, tx, o.Key, o.ETag)
				}
			}
			if err != nil && !errors.As(err, &refused[i]) {
				return err // the disk fails: the rest would too
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	s.wake()
	d := newDocument("DeleteResult")
	for i, o := range in.Object {
		e := refused[i]
		if e == nil {
			if !in.Quiet {
				d.open("Deleted")
				d.text("Key", o.Key)
				d.close("Deleted")
			}
			continue
		}
		d.open("Error")
		d.text("Key", o.Key)
		d.optional("VersionId", o.VersionId)
		d.text("Code", e.code)
		d.text("Message", e.message)
		d.close("Error")
	}
	return xmlReply(http.StatusOK, d, "DeleteResult"), nil
}

// find returns the object of the request, which must be there.
func (s *Service) find(q *request) (o *object, err error) {
	ctx := q.http.Context()
	err = s.index.read(ctx, func(tx *txn) error {
		if o, err = findObject(ctx, tx, q.bucket, q.key); err != nil {
			return err
		}
		if o == nil {
			return errNoSuchKey(q.key)
		}
		return nil
	})
	return o, err
}

func (s *Service) getObjectAttributes(q *request) (*reply, error) {
	wanted := map[string]bool{}
	for _, line := range q.header.Values("X-Amz-Object-Attributes") {
		for _, name := range strings.Split(line, ",") {
			switch name = strings.TrimSpace(name); name {
			case "ETag", "Checksum", "ObjectParts", "StorageClass", "ObjectSize":
				wanted[name] = true
			default:
				return nil, errInvalidArgument("x-amz-object-attributes", name, "Invalid attribute name specified.")
			}
		}
	}
	if len(wanted) == 0 {
		return nil, errInvalidArgument("x-amz-object-attributes", "", "The x-amz-object-attributes header specifying the attributes to be retrieved is either missing or empty")
	}
	limit, after := maxListed, 0
	for name, at := range map[string]*int{"X-Amz-Max-Parts": &limit, "X-Amz-Part-Number-Marker": &after} {
		if v := q.header.Get(name); v != "" {
			n, err := strconv.Atoi(v)
			if err != nil || n < 0 {
				return nil, errInvalidArgument(strings.ToLower(name), v, "Provided %s not an integer or within integer range", strings.ToLower(name))
			}
			*at = n
		}
	}
	limit = min(limit, maxListed)
	ctx := q.http.Context()
	var o *object
	var parts []part
	err := s.index.read(ctx, func(tx *txn) error {
		var err error
		if o, err = s.findReadable(ctx, q, tx, q.state, q.key); err != nil {
			return err
		}
		if wanted["ObjectParts"] && o.parts > 0 {
			parts, err = listParts(ctx, tx, o.id, after, limit+1)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	d := newDocument("GetObjectAttributesResponse")
	if wanted["ETag"] {
		d.text("ETag", o.etag)
	}
	if wanted["Checksum"] && o.checksum != "" {
		d.open("Checksum")
		d.text("Checksum"+o.algorithm, o.checksum)
		d.text("ChecksumType", o.checksumType)
		d.close("Checksum")
	}
	if wanted["ObjectParts"] && o.parts > 0 {
		more := len(parts) > limit
		if more {
			parts = parts[:limit]
		}
		d.open("ObjectParts")
		d.number("PartsCount", int64(o.parts))
		d.number("PartNumberMarker", int64(after))
		if more {
			d.number("NextPartNumberMarker", int64(parts[len(parts)-1].number))
		}
		d.number("MaxParts", int64(limit))
		d.bool("IsTruncated", more)
		for i := range parts {
			p := &parts[i]
			d.open("Part")
			d.number("PartNumber", int64(p.number))
			d.number("Size", p.size)
			d.optional("Checksum"+o.algorithm, p.checksum)
			d.close("Part")
		}
		d.close("ObjectParts")
	}
	if wanted["StorageClass"] {
		d.text("StorageClass", "STANDARD")
	}
	if wanted["ObjectSize"] {
		d.number("ObjectSize", o.size)
	}
	r := xmlReply(http.StatusOK, d, "GetObjectAttributesResponse")
	r.header.Set("Last-Modified", o.modified.UTC().Format(http.TimeFormat))
	return r, nil
}

func (s *Service) getObjectACL(q *request) (*reply, error) {
	o, err := s.find(q)
	if err != nil {
		return nil, err
	}
	d := newDocument("AccessControlPolicy")
	appendACL(d, q.owner.account, o.acl)
	return xmlReply(http.StatusOK, d, "AccessControlPolicy"), nil
}

// changeObject updates columns of the visible object of a key.
func (s *Service) changeObject(q *request, check func(*object) error, set string, args ...any) error {
	ctx := q.http.Context()
	return s.index.write(ctx, func(ctx context.Context, tx *txn) error {
		o, err := findObject(ctx, tx, q.bucket, q.key)
		if err != nil {
			return err
		}
		if o == nil {
			return errNoSuchKey(q.key)
		}
		if err := check(o); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, `UPDATE object SET `+set+` WHERE id = ?`, append(args, o.id)...); err != nil {
			return fmt.Errorf("changing an object: %w", err)
		}
		return nil
	})
}

func (s *Service) putObjectACL(q *request) (*reply, error) {
	if err := s.noACLBody(q); err != nil {
		return nil, err
	}
	acl, err := checkACL(q, q.state, false)
	if err != nil {
		return nil, err
	}
	if err := s.changeObject(q, func(*object) error { return nil }, `acl = ?`, acl); err != nil {
		return nil, err
	}
	return newReply(http.StatusOK), nil
}

// getObjectTagging answers that there are no tags, because the aws CLI asks
// before it copies an object in parts.
func (s *Service) getObjectTagging(q *request) (*reply, error) {
	if _, err := s.find(q); err != nil {
		return nil, err
	}
	d := newDocument("Tagging")
	d.text("TagSet", "")
	return xmlReply(http.StatusOK, d, "Tagging"), nil
}
