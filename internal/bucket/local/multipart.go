package local

import (
	"context"
	"crypto/md5"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"chirograph.dev/internal/iam"
)

// createMultipartUpload begins an object that is built in parts.
func (s *Service) createMultipartUpload(q *request) (*reply, error) {
	o, err := s.newObject(q)
	if err != nil {
		return nil, err
	}
	o.algorithm = strings.ToUpper(q.header.Get("X-Amz-Checksum-Algorithm"))
	o.checksumType = strings.ToUpper(q.header.Get("X-Amz-Checksum-Type"))
	if o.algorithm != "" && newHash(o.algorithm) == nil {
		return nil, errInvalidArgument("x-amz-checksum-algorithm", o.algorithm, "Checksum algorithm provided is unsupported. Please try again with any of the valid types: [CRC32, CRC32C, CRC64NVME, SHA1, SHA256]")
	}
	switch o.checksumType {
	case "":
		switch o.algorithm {
		case "":
		case algCRC64NVME:
			o.checksumType = typeFullObject
		default:
			o.checksumType = typeComposite
		}
	case typeComposite, typeFullObject:
		full := strings.HasPrefix(o.algorithm, "CRC")
		if o.algorithm == "" || o.checksumType == typeFullObject && !full || o.checksumType == typeComposite && o.algorithm == algCRC64NVME {
			return nil, errorf("InvalidRequest", "The %s checksum type cannot be used with the %s checksum algorithm.", o.checksumType, strings.ToLower(o.algorithm))
		}
	default:
		return nil, errInvalidArgument("x-amz-checksum-type", o.checksumType, "Value for x-amz-checksum-type header is invalid.")
	}
	var id [24]byte
	_, _ = rand.Read(id[:]) // crypto/rand.Read never fails
	o.upload = hex.EncodeToString(id[:])
	ctx := q.http.Context()
	err = s.index.write(ctx, func(ctx context.Context, tx *txn) error {
		if err := bucketExists(ctx, tx, q.bucket); err != nil {
			return err
		}
		return insertObject(ctx, tx, o, stateUpload)
	})
	if err != nil {
		return nil, err
	}
	d := newDocument("InitiateMultipartUploadResult")
	d.text("Bucket", q.bucket)
	d.text("Key", q.key)
	d.text("UploadId", o.upload)
	r := xmlReply(http.StatusOK, d, "InitiateMultipartUploadResult")
	if o.algorithm != "" {
		r.header.Set("X-Amz-Checksum-Algorithm", o.algorithm)
		r.header.Set("X-Amz-Checksum-Type", o.checksumType)
	}
	return r, nil
}

// upload returns the multipart upload that the request names, as it was when
// first asked for: it may end, but does not change.
func (s *Service) upload(q *request) (*object, error) {
	if q.begun != nil {
		return q.begun, nil
	}
	ctx := q.http.Context()
	err := s.index.read(ctx, func(tx *txn) (err error) {
		q.begun, err = findUpload(ctx, tx, q.bucket, q.key, q.query.Get("uploadId"))
		return err
	})
	return q.begun, err
}

func (q *request) partNumber() (int, error) {
	v := q.query.Get("partNumber")
	n, err := strconv.Atoi(v)
	if err != nil || n < 1 || n > maxParts {
		return 0, errInvalidArgument("partNumber", v, "Part number must be an integer between 1 and 10000, inclusive")
	}
	return n, nil
}

// enterPart makes p the part of its number, in place of an earlier one.
func (s *Service) enterPart(q *request, p *part, check func(context.Context, *txn) error) error {
	ctx := q.http.Context()
	return s.index.write(ctx, func(ctx context.Context, tx *txn) error {
		if check != nil {
			if err := check(ctx, tx); err != nil {
				return err
			}
		}
		o, err := findUpload(ctx, tx, q.bucket, q.key, q.query.Get("uploadId"))
		if err != nil {
			return err
		}
		if err := retirePart(ctx, tx, o, p.number); err != nil {
			return err
		}
		return insertPart(ctx, tx, o.id, p)
	})
}

// uploadPart stores one part. When it answers, the part survives a crash.
func (s *Service) uploadPart(q *request) (*reply, error) {
	number, err := q.partNumber()
	if err != nil {
		return nil, err
	}
	upload, err := s.upload(q)
	if err != nil {
		return nil, err
	}
	if err := checkLockChecksum(q, upload, "Put Part"); err != nil {
		return nil, err
	}
	in, err := s.receive(q, upload.algorithm)
	if err != nil {
		return nil, err
	}
	in.number = number
	checksum := in.part.checksum
	if upload.algorithm == "" {
		in.part.checksum = "" // of an algorithm that the object will not have
	}
	err = s.enterPart(q, &in.part, nil)
	s.release(&in.part, err)
	if err != nil {
		return nil, err
	}
	s.wake()
	r := newReply(http.StatusOK)
	r.header.Set("Etag", `"`+in.etag+`"`)
	if in.algorithm != "" {
		r.header.Set(checksumHeader(in.algorithm), checksum)
	} else {
		r.header.Set(checksumHeader(algCRC64NVME), encodeCRC64(in.crc64))
	}
	return r, nil
}

// uploadPartCopy makes a part of a range of another object; no byte is copied.
func (s *Service) uploadPartCopy(q *request) (*reply, error) {
	number, err := q.partNumber()
	if err != nil {
		return nil, err
	}
	src, err := s.copySource(q)
	if err != nil {
		return nil, err
	}
	upload, err := s.upload(q)
	if err != nil {
		return nil, err
	}
	var c *copied
	err = retryCopy(q.http.Context(), func() error {
		if c, err = s.prepareCopy(q, src, q.header.Get("X-Amz-Copy-Source-Range"), upload.algorithm); err != nil {
			return err
		}
		c.number = number
		return s.enterPart(q, &c.part, c.still)
	})
	if err != nil {
		return nil, err
	}
	s.wake()
	d := newDocument("CopyPartResult")
	d.time("LastModified", c.modified)
	d.text("ETag", `"`+c.etag+`"`)
	if upload.algorithm != "" {
		d.text("Checksum"+upload.algorithm, c.checksum)
	} else {
		d.text("ChecksumCRC64NVME", encodeCRC64(c.crc64))
	}
	return xmlReply(http.StatusOK, d, "CopyPartResult"), nil
}

// completedPart is a part in the body of CompleteMultipartUpload.
type completedPart struct {
	PartNumber        int
	ETag              string
	ChecksumCRC32     string
	ChecksumCRC32C    string
	ChecksumCRC64NVME string
	ChecksumSHA1      string
	ChecksumSHA256    string
}

func (p *completedPart) checksum(algorithm string) string {
	switch algorithm {
	case algCRC32:
		return p.ChecksumCRC32
	case algCRC32C:
		return p.ChecksumCRC32C
	case algCRC64NVME:
		return p.ChecksumCRC64NVME
	case algSHA1:
		return p.ChecksumSHA1
	case algSHA256:
		return p.ChecksumSHA256
	}
	return ""
}

// choose matches the parts of a request with those that are stored.
func choose(o *object, wanted []completedPart, stored []part) ([]part, error) {
	invalid := func(p *completedPart) error {
		return errorf("InvalidPart", "One or more of the specified parts could not be found.  The part may not have been uploaded, or the specified entity tag may not match the part's entity tag.").
			with("UploadId", o.upload).with("PartNumber", strconv.Itoa(p.PartNumber)).with("ETag", strings.Trim(p.ETag, `"`))
	}
	for i := 1; i < len(wanted); i++ {
		if wanted[i].PartNumber <= wanted[i-1].PartNumber {
			return nil, errorf("InvalidPartOrder", "The list of parts was not in ascending order. Parts must be ordered by part number.").with("UploadId", o.upload)
		}
	}
	chosen := make([]part, 0, len(wanted))
	at := 0
	for i := range wanted {
		w := &wanted[i]
		for at < len(stored) && stored[at].number < w.PartNumber {
			at++
		}
		if at == len(stored) || stored[at].number != w.PartNumber || stored[at].etag != strings.Trim(strings.TrimSpace(w.ETag), `"`) {
			return nil, invalid(w)
		}
		p := stored[at]
		if v := w.checksum(o.algorithm); v != "" && v != p.checksum {
			return nil, invalid(w)
		}
		if w.ChecksumCRC64NVME != "" && w.ChecksumCRC64NVME != encodeCRC64(p.crc64) {
			return nil, invalid(w)
		}
		chosen = append(chosen, p)
	}
	for i := range chosen[:len(chosen)-1] {
		if p := &chosen[i]; p.size < minPartSize {
			return nil, errorf("EntityTooSmall", "Your proposed upload is smaller than the minimum allowed size").
				with("ETag", p.etag).with("MinSizeAllowed", strconv.Itoa(minPartSize)).with("PartNumber", strconv.Itoa(p.number)).
				with("ProposedSize", strconv.FormatInt(p.size, 10))
		}
	}
	return chosen, nil
}

// multipartETag is S3's: the MD5 of the parts' MD5s, and their number.
func multipartETag(parts []part) string {
	h := md5.New()
	for i := range parts {
		if b, err := hex.DecodeString(parts[i].etag); err == nil {
			h.Write(b)
		} else {
			h.Write([]byte(parts[i].etag))
		}
	}
	return hex.EncodeToString(h.Sum(nil)) + "-" + strconv.Itoa(len(parts))
}

// completeMultipartUpload turns an upload into an object in one transaction
// that touches the index only. A crash before its commit leaves the upload, one
// after it the whole object; asking again then gives the same answer.
func (s *Service) completeMultipartUpload(q *request) (*reply, error) {
	conditions, err := q.writeConditions()
	if err != nil {
		return nil, err
	}
	var in struct{ Part []completedPart }
	if err := s.readXML(q, "CompleteMultipartUpload", &in); err != nil {
		return nil, err
	}
	if len(in.Part) == 0 || len(in.Part) > maxParts {
		return nil, errMalformedXML()
	}
	algorithm, declared, _, err := declaredChecksum(completeChecksum(q.header))
	if err != nil {
		return nil, err
	}
	id := q.query.Get("uploadId")
	ctx := q.http.Context()
	var done *object
	err = s.index.write(ctx, func(ctx context.Context, tx *txn) error {
		o, err := findUpload(ctx, tx, q.bucket, q.key, id)
		var missing *apiError
		if errors.As(err, &missing) {
			// The answer to an earlier Complete may have been lost.
			old, ferr := findObject(ctx, tx, q.bucket, q.key)
			if ferr != nil {
				return ferr
			}
			if old != nil && old.upload == id && id != "" {
				done = old
				return nil
			}
		}
		if err != nil {
			return err
		}
		stored, err := listParts(ctx, tx, o.id, 0, maxParts)
		if err != nil {
			return err
		}
		parts, err := choose(o, in.Part, stored)
		if err != nil {
			return err
		}
		if err := s.replace(ctx, q, tx, o, conditions); err != nil {
			return err
		}
		kind := o.checksumType
		if o.algorithm == "" {
			o.algorithm, kind = algCRC64NVME, typeFullObject
		}
		var ok bool
		if o.checksum, ok = objectChecksum(o.algorithm, kind, parts); !ok {
			return fmt.Errorf("upload %s has a part without a %s checksum", o.upload, o.algorithm)
		}
		o.checksumType = kind
		if v := q.header.Get("X-Amz-Checksum-Type"); v != "" && v != kind {
			return errorf("InvalidRequest", "The upload was created using the %s checksum mode. The complete request must use the same checksum mode.", kind)
		}
		if sum, _, _ := strings.Cut(o.checksum, "-"); algorithm != "" && algorithm == o.algorithm && declared != sum {
			return errBadDigest(algorithm)
		}
		if algorithm != "" && algorithm != o.algorithm {
			return errorf("InvalidRequest", "Checksum Type mismatch occurred, expected checksum Type: %s, actual checksum Type: %s", strings.ToLower(o.algorithm), strings.ToLower(algorithm))
		}
		o.size, o.etag, o.parts, o.modified = 0, multipartETag(parts), len(parts), s.cfg.Now()
		for i := range parts {
			o.size += parts[i].size
		}
		if v := q.header.Get("X-Amz-Mp-Object-Size"); v != "" && v != strconv.FormatInt(o.size, 10) {
			return errorf("InvalidRequest", "The provided 'x-amz-mp-object-size' header value %s does not match what was computed: %d", v, o.size)
		}
		if len(parts) < len(stored) {
			keep := map[int]bool{}
			for i := range parts {
				keep[parts[i].number] = true
			}
			for i := range stored {
				if keep[stored[i].number] {
					continue
				}
				if err := retirePart(ctx, tx, o, stored[i].number); err != nil {
					return err
				}
			}
		}
		if _, err := tx.ExecContext(ctx, `UPDATE part SET start = p.at FROM
			(SELECT number AS n, sum(size) OVER (ORDER BY number) - size AS at FROM part WHERE object = ?1) p
			WHERE object = ?1 AND number = p.n`, o.id); err != nil {
			return fmt.Errorf("placing parts: %w", err)
		}
		if _, err := tx.ExecContext(ctx, `UPDATE object SET state = 1, modified = ?, size = ?, etag = ?, parts = ?, algorithm = ?, checksum_type = ?, checksum = ? WHERE id = ?`,
			o.modified.UnixMilli(), o.size, o.etag, o.parts, o.algorithm, o.checksumType, o.checksum, o.id); err != nil {
			return fmt.Errorf("completing an upload: %w", err)
		}
		done = o
		return nil
	})
	if err != nil {
		return nil, err
	}
	s.wake()
	d := newDocument("CompleteMultipartUploadResult")
	d.text("Location", "/"+q.bucket+"/"+encodeKey(q.key))
	d.text("Bucket", q.bucket)
	d.text("Key", q.key)
	d.text("ETag", `"`+done.etag+`"`)
	d.text("Checksum"+done.algorithm, done.checksum)
	d.text("ChecksumType", done.checksumType)
	return xmlReply(http.StatusOK, d, "CompleteMultipartUploadResult"), nil
}

// completeChecksum keeps the headers that, on CompleteMultipartUpload, declare
// the checksum of the object. A composite one may carry the number of parts,
// which the list of parts says too.
func completeChecksum(h http.Header) http.Header {
	out := http.Header{}
	for _, a := range algorithms {
		if v := h.Get(checksumHeader(a)); v != "" {
			if sum, _, ok := strings.Cut(v, "-"); ok {
				v = sum
			}
			out.Set(checksumHeader(a), v)
		}
	}
	return out
}

// mayAsInitiator decides an action that S3 allows to who began the upload,
// unless a policy denies it.
func (s *Service) mayAsInitiator(q *request, action string) (*object, error) {
	decision, reason := s.decide(q, action, q.resource(), q.state)
	if decision == iam.ExplicitDeny {
		return nil, s.denied(q, action, q.resource(), reason)
	}
	o, err := s.upload(q)
	if decision == iam.Allow {
		return o, err
	}
	if err == nil && q.principal != nil && o.initiator == q.callerID() {
		return o, nil
	}
	var known *apiError
	if err != nil && !errors.As(err, &known) {
		return nil, err
	}
	return nil, s.denied(q, action, q.resource(), reason)
}

func (s *Service) abortMultipartUpload(q *request) (*reply, error) {
	if _, err := s.mayAsInitiator(q, "AbortMultipartUpload"); err != nil {
		return nil, err
	}
	ctx := q.http.Context()
	err := s.index.write(ctx, func(ctx context.Context, tx *txn) error {
		o, err := findUpload(ctx, tx, q.bucket, q.key, q.query.Get("uploadId"))
		if err != nil {
			return err
		}
		return retire(ctx, tx, o.id)
	})
	if err != nil {
		return nil, err
	}
	s.wake()
	return newReply(http.StatusNoContent), nil
}

func (s *Service) listUploadParts(q *request) (*reply, error) {
	o, err := s.mayAsInitiator(q, "ListMultipartUploadParts")
	if err != nil {
		return nil, err
	}
	limit, err := q.limitParameter("max-parts", maxListed)
	if err != nil {
		return nil, err
	}
	after := 0
	if v := q.query.Get("part-number-marker"); v != "" {
		if after, err = strconv.Atoi(v); err != nil || after < 0 {
			return nil, errInvalidArgument("part-number-marker", v, "Argument part-number-marker must be an integer between 0 and 2147483647")
		}
	}
	ctx := q.http.Context()
	var parts []part
	err = s.index.read(ctx, func(tx *txn) error {
		if o, err = findUpload(ctx, tx, q.bucket, q.key, o.upload); err != nil {
			return err
		}
		parts, err = listParts(ctx, tx, o.id, after, limit+1)
		return err
	})
	if err != nil {
		return nil, err
	}
	more := len(parts) > limit
	if more {
		parts = parts[:limit]
	}
	d := newDocument("ListPartsResult")
	d.text("Bucket", q.bucket)
	d.text("Key", q.key)
	d.text("UploadId", o.upload)
	d.number("PartNumberMarker", int64(after))
	if len(parts) > 0 {
		d.number("NextPartNumberMarker", int64(parts[len(parts)-1].number))
	}
	d.number("MaxParts", int64(limit))
	d.bool("IsTruncated", more)
	d.optional("ChecksumAlgorithm", o.algorithm)
	d.optional("ChecksumType", o.checksumType)
	for i := range parts {
		p := &parts[i]
		d.open("Part")
		d.number("PartNumber", int64(p.number))
		d.time("LastModified", p.modified)
		d.text("ETag", `"`+p.etag+`"`)
		d.number("Size", p.size)
		if p.checksum != "" {
			d.text("Checksum"+o.algorithm, p.checksum)
		}
		d.close("Part")
	}
	appendInitiator(d, o.initiator)
	appendOwner(d, q.owner.account)
	d.text("StorageClass", "STANDARD")
	return xmlReply(http.StatusOK, d, "ListPartsResult"), nil
}

func appendInitiator(d *document, id string) {
	d.open("Initiator")
	d.text("ID", id)
	d.text("DisplayName", id)
	d.close("Initiator")
}

func (s *Service) listMultipartUploads(q *request) (*reply, error) {
	limit, err := q.limitParameter("max-uploads", maxListed)
	if err != nil {
		return nil, err
	}
	encode, err := q.keyEncoding()
	if err != nil {
		return nil, err
	}
	prefix, delimiter := q.query.Get("prefix"), q.query.Get("delimiter")
	keyMarker, idMarker := q.query.Get("key-marker"), q.query.Get("upload-id-marker")
	if keyMarker == "" {
		idMarker = ""
	}
	ctx := q.http.Context()
	var page []listed
	more := false
	err = s.index.read(ctx, func(tx *txn) error {
		page, more, err = uploadPage(ctx, tx, q.bucket, prefix, delimiter, keyMarker, idMarker, limit)
		return err
	})
	if err != nil {
		return nil, err
	}
	d := newDocument("ListMultipartUploadsResult")
	d.text("Bucket", q.bucket)
	d.text("KeyMarker", encode(keyMarker))
	d.text("UploadIdMarker", idMarker)
	if more {
		last := page[len(page)-1]
		d.text("NextKeyMarker", encode(last.name()))
		if last.object != nil {
			d.text("NextUploadIdMarker", last.object.upload)
		}
	}
	if delimiter != "" {
		d.text("Delimiter", encode(delimiter))
	}
	d.text("Prefix", encode(prefix))
	d.optional("EncodingType", q.query.Get("encoding-type"))
	d.number("MaxUploads", int64(limit))
	d.bool("IsTruncated", more)
	for _, l := range page {
		o := l.object
		if o == nil {
			continue
		}
		d.open("Upload")
		d.text("Key", encode(o.key))
		d.text("UploadId", o.upload)
		appendInitiator(d, o.initiator)
		appendOwner(d, q.owner.account)
		d.text("StorageClass", "STANDARD")
		d.time("Initiated", o.modified)
		d.optional("ChecksumAlgorithm", o.algorithm)
		d.optional("ChecksumType", o.checksumType)
		d.close("Upload")
	}
	appendPrefixes(d, page, encode)
	return xmlReply(http.StatusOK, d, "ListMultipartUploadsResult"), nil
}

// uploadPage lists uploads by key and id after a place; a key may have several.
func uploadPage(ctx context.Context, tx *txn, bucket, prefix, delimiter, key, id string, limit int) (page []listed, more bool, err error) {
	if limit == 0 {
		return nil, false, nil
	}
	if key != "" && id == "" {
		if key = above(key, prefix, delimiter); key == "" {
			return nil, false, nil
		}
	}
	if key < prefix {
		key, id = prefix, ""
	}
	to := successor(prefix)
	for {
		query, args := `SELECT `+objectColumns+` FROM object WHERE state = 0 AND bucket = ? AND (key, upload) > (?, ?)`, []any{bucket, []byte(key), id}
		if to != "" {
			query, args = query+` AND key < ?`, append(args, []byte(to))
		}
		const batch = 64
		rows, err := tx.QueryContext(ctx, query+` ORDER BY key, upload LIMIT ?`, append(args, batch)...)
		if err != nil {
			return nil, false, fmt.Errorf("listing uploads: %w", err)
		}
		n, skipped := 0, false
		for rows.Next() {
			o, err := scanObject(rows)
			if err != nil {
				rows.Close()
				return nil, false, fmt.Errorf("listing uploads: %w", err)
			}
			n++
			if len(page) == limit {
				rows.Close()
				return page, true, nil
			}
			if cp, ok := commonPrefix(o.key, prefix, delimiter); ok {
				page = append(page, listed{prefix: cp})
				if key, id = successor(cp), ""; key == "" {
					rows.Close()
					return page, false, nil
				}
				skipped = true
				break
			}
			page = append(page, listed{object: o})
			key, id = o.key, o.upload
		}
		rows.Close()
		if err := rows.Err(); err != nil {
			return nil, false, fmt.Errorf("listing uploads: %w", err)
		}
		if !skipped && n < batch {
			return page, false, nil
		}
	}
}
