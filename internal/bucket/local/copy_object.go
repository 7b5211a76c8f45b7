package local

import (
	"context"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/minio/crc64nvme"
)

// maxPartExtents bounds what one copied part may be made of.
const maxPartExtents = 10_000

// copyRetries is how often a copy begins again because its source was replaced.
const copyRetries = 5

var errSourceChanged = errors.New("the source of a copy was replaced")

// source is what a copy reads.
type source struct {
	bucket *parsedBucket
	key    string
}

// splitCopySource reads x-amz-copy-source: an encoded bucket/key, which may
// begin with a slash and end with a version.
func splitCopySource(v string) (bucket, key string, err error) {
	bad := errInvalidArgument("x-amz-copy-source", v, "Copy Source must mention the source bucket and key: sourcebucket/sourcekey")
	path, query, _ := strings.Cut(v, "?")
	if query != "" {
		version, ok := strings.CutPrefix(query, "versionId=")
		if !ok {
			return "", "", bad
		}
		if version != "null" {
			return "", "", errorf("NoSuchVersion", "The specified version does not exist. Versions are not kept.").with("VersionId", version)
		}
	}
	path, err = url.PathUnescape(path)
	if err != nil {
		return "", "", bad
	}
	bucket, key, ok := strings.Cut(strings.TrimPrefix(path, "/"), "/")
	if !ok || bucket == "" || key == "" || len(key) > maxKeyLength || !utf8.ValidString(key) {
		return "", "", bad
	}
	return bucket, key, nil
}

// copySource finds the bucket and key of x-amz-copy-source.
func (s *Service) copySource(q *request) (*source, error) {
	name, key, err := splitCopySource(q.header.Get("X-Amz-Copy-Source"))
	if err != nil {
		return nil, err
	}
	if !validBucketName(name) || s.hidden(name, q) {
		return nil, errNoSuchBucket(name)
	}
	b, err := s.bucketState(q.http.Context(), name)
	if err != nil {
		return nil, err
	}
	if b == nil {
		return nil, errNoSuchBucket(name)
	}
	if want := q.header.Get("X-Amz-Source-Expected-Bucket-Owner"); want != "" && want != b.account {
		return nil, errAccessDenied()
	}
	return &source{bucket: b, key: key}, nil
}

// copied is a part made of references to the part files of its source.
type copied struct {
	part
	source *object
}

// prepareCopy finds what the range of a copy is made of, and that its part files
// are there as they were written: a copy must not spread a damage. The bytes are
// read only where that cannot be seen from outside, or a checksum cannot be had
// otherwise: extents cut by the range, and an algorithm that the source was not
// stored with.
func (s *Service) prepareCopy(q *request, src *source, rangeHeader, algorithm string) (*copied, error) {
	ctx := q.http.Context()
	c := &copied{}
	reader := &extentReader{s: s, ticket: s.files.enter()}
	defer reader.Close()
	var whole []extent
	err := s.index.read(ctx, func(tx *txn) error {
		var err error
		if c.source, err = s.findReadable(ctx, q, tx, src.bucket, src.key); err != nil {
			return err
		}
		if err := readConditions(q.header, "X-Amz-Copy-Source-", c.source); err != nil {
			return err
		}
		span, err := copyRange(rangeHeader, c.source.size)
		if err != nil {
			return err
		}
		c.size = span.to - span.from
		if c.size > maxObjectUpload {
			return errorf("InvalidRequest", "The specified copy source is larger than the maximum allowable size for a copy source: %d", int64(maxObjectUpload))
		}
		c.extents, whole, err = listExtents(ctx, tx, c.source.id, span.from, span.to)
		return err
	})
	if err != nil {
		return nil, err
	}
	if len(c.extents) > maxPartExtents {
		return nil, errorf("InvalidRequest", "The copy source is made of more than %d pieces; copy it in smaller parts, or upload it again.", maxPartExtents)
	}
	all := c.size == c.source.size
	var sum hash.Hash
	switch {
	case algorithm == "" || algorithm == algCRC64NVME:
	case all && c.source.algorithm == algorithm && c.source.checksumType == typeFullObject:
		c.checksum = c.source.checksum
	default:
		sum = newHash(algorithm)
	}
	for i := range c.extents {
		e := &c.extents[i]
		if err := reader.check(ctx, whole[i]); err != nil {
			return nil, err
		}
		if *e != whole[i] || sum != nil {
			crc := crc64nvme.New()
			var w io.Writer = crc
			if sum != nil {
				w = io.MultiWriter(crc, sum)
			}
			reader.extents = append(reader.extents[:0], *e)
			if _, err := s.readThrough(ctx, w, reader); err != nil {
				return nil, err
			}
			e.crc64 = crc.Sum64()
		}
		c.crc64 = combineCRC64(c.crc64, e.crc64, e.size)
	}
	if sum != nil {
		c.checksum = encodeChecksum(sum.Sum(nil))
	}
	if algorithm == algCRC64NVME {
		c.checksum = encodeCRC64(c.crc64)
	}
	c.etag = opaqueETag(c.crc64, c.size)
	if all && c.source.parts == 0 {
		c.etag = c.source.etag
	}
	c.modified = s.cfg.Now()
	return c, nil
}

// readThrough reads to the end with a buffer of the service's.
func (s *Service) readThrough(ctx context.Context, w io.Writer, r *extentReader) (int64, error) {
	buffer := s.buffers.Get().(*[]byte)
	defer s.buffers.Put(buffer)
	var total int64
	for {
		n, err := r.Read(*buffer)
		if n > 0 {
			total += int64(n)
			if _, werr := w.Write((*buffer)[:n]); werr != nil {
				return total, werr
			}
		}
		if err == io.EOF {
			return total, nil
		}
		if err != nil {
			return total, err
		}
		if err := ctx.Err(); err != nil {
			return total, err
		}
	}
}

// still checks, in the transaction that adds the references, that the source
// is as it was: then the index refers to its files, and they stay.
func (c *copied) still(ctx context.Context, tx *txn) error {
	var there bool
	if err := tx.QueryRowContext(ctx, objectThere, c.source.id).Scan(&there); err != nil {
		return fmt.Errorf("looking for the source of a copy: %w", err)
	}
	if !there {
		return errSourceChanged
	}
	return nil
}

// retryCopy runs a copy again while its source changes under it.
func retryCopy(ctx context.Context, fn func() error) error {
	for range copyRetries {
		err := fn()
		if !errors.Is(err, errSourceChanged) {
			return err
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	return errorf("OperationAborted", "A conflicting conditional operation is currently in progress against this resource. Please try again.")
}

// copyRange is x-amz-copy-source-range applied to a size; empty: all.
func copyRange(v string, size int64) (byteRange, error) {
	if v == "" {
		return byteRange{to: size}, nil
	}
	bad := errInvalidArgument("x-amz-copy-source-range", v, "The x-amz-copy-source-range value must be of the form bytes=first-last where first and last are the zero-based offsets of the first and last bytes to copy")
	spec, ok := strings.CutPrefix(v, "bytes=")
	if !ok {
		return byteRange{}, bad
	}
	first, last, ok := strings.Cut(spec, "-")
	if !ok {
		return byteRange{}, bad
	}
	from, err1 := strconv.ParseUint(first, 10, 62)
	to, err2 := strconv.ParseUint(last, 10, 62)
	if err1 != nil || err2 != nil || to < from {
		return byteRange{}, bad
	}
	if int64(to) >= size {
		return byteRange{}, errInvalidArgument("x-amz-copy-source-range", v, "Range specified is not valid for source object of size: %d", size)
	}
	return byteRange{from: int64(from), to: int64(to) + 1, partial: true}, nil
}

// copyObject makes an object of the part files of another; no byte is copied.
func (s *Service) copyObject(q *request) (*reply, error) {
	src, err := s.copySource(q)
	if err != nil {
		return nil, err
	}
	o, err := s.newObject(q)
	if err != nil {
		return nil, err
	}
	conditions, err := q.writeConditions()
	if err != nil {
		return nil, err
	}
	keep := true
	switch v := q.header.Get("X-Amz-Metadata-Directive"); v {
	case "", "COPY":
	case "REPLACE":
		keep = false
	default:
		return nil, errInvalidArgument("x-amz-metadata-directive", v, "Unknown metadata directive.")
	}
	if keep && src.bucket.name == q.bucket && src.key == q.key && !q.asksLock() {
		return nil, errorf("InvalidRequest", "This copy request is illegal because it is trying to copy an object to itself without changing the object's metadata, storage class, website redirect location or encryption attributes.")
	}
	wanted := strings.ToUpper(q.header.Get("X-Amz-Checksum-Algorithm"))
	if wanted != "" && newHash(wanted) == nil {
		return nil, errInvalidArgument("x-amz-checksum-algorithm", wanted, "Checksum algorithm provided is unsupported.")
	}
	ctx := q.http.Context()
	err = retryCopy(ctx, func() error {
		algorithm := wanted
		if algorithm == "" {
			// Like S3: the algorithm of the source, if it is of the whole object.
			err := s.index.read(ctx, func(tx *txn) error {
				from, err := findObject(ctx, tx, src.bucket.name, src.key)
				if err == nil && from != nil && from.checksumType == typeFullObject {
					algorithm = from.algorithm
				}
				return err
			})
			if err != nil {
				return err
			}
			if algorithm == "" {
				algorithm = algCRC64NVME
			}
		}
		c, err := s.prepareCopy(q, src, "", algorithm)
		if err != nil {
			return err
		}
		if keep {
			o.headers = c.source.headers
		}
		o.size, o.etag, o.algorithm, o.checksumType, o.checksum = c.size, c.etag, algorithm, typeFullObject, c.checksum
		o.modified = c.modified
		c.number = 1
		return s.index.write(ctx, func(ctx context.Context, tx *txn) error {
			if err := c.still(ctx, tx); err != nil {
				return err
			}
			if err := s.replace(ctx, q, tx, o, conditions); err != nil {
				return err
			}
			if err := insertObject(ctx, tx, o, stateObject); err != nil {
				return err
			}
			return insertPart(ctx, tx, o.id, &c.part)
		})
	})
	if err != nil {
		return nil, err
	}
	s.wake()
	d := newDocument("CopyObjectResult")
	d.time("LastModified", o.modified)
	d.text("ETag", `"`+o.etag+`"`)
	d.text("Checksum"+o.algorithm, o.checksum)
	d.text("ChecksumType", o.checksumType)
	return xmlReply(http.StatusOK, d, "CopyObjectResult"), nil
}
