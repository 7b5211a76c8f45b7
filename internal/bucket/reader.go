package bucket

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// ErrChanged says that an object was replaced while it was read.
var ErrChanged = errors.New("the object was replaced while it was read")

// ErrRefused says that the store does not let us read an object, or hides
// that there is none.
var ErrRefused = errors.New("the bucket service does not let this server read the object")

// windowSize is how much a Reader asks for at a time, and windows how many such
// stretches it holds: as many as read one object at different places.
const (
	windowSize = 2 << 20
	windows    = 2
)

// Reader reads an object at any place, as it was when it was opened. Memory does
// not grow with the object. It is safe for concurrent use, and needs no closing.
type Reader struct {
	client *Client
	ctx    context.Context // of the reading as a whole: io.ReaderAt has none
	in     s3.GetObjectInput
	size   int64

	mu     sync.Mutex
	held   [windows]window
	filled int // counts; the window that was filled longest ago is filled next
}

// window is a stretch of an object.
type window struct {
	at    int64
	bytes []byte
}

// Open looks at an object, for it to be read until ctx ends. The error wraps
// ErrNoObject or ErrRefused, or is Temporary.
func (c *Client) Open(ctx context.Context, bucket, account, key string) (*Reader, error) {
	short, cancel := context.WithTimeout(ctx, shortStep)
	defer cancel()
	r := &Reader{client: c, ctx: ctx, in: s3.GetObjectInput{Bucket: &bucket, Key: &key, ExpectedBucketOwner: c.ownerOf(account)}}
	out, err := c.owner.HeadObject(short, &s3.HeadObjectInput{Bucket: &bucket, Key: &key, ExpectedBucketOwner: r.in.ExpectedBucketOwner}, c.in(bucket))
	if err != nil {
		return nil, r.failed(err)
	}
	r.size, r.in.IfMatch = aws.ToInt64(out.ContentLength), out.ETag
	return r, nil
}

// Size is the object's length in bytes.
func (r *Reader) Size() int64 { return r.size }

// ReadAt implements io.ReaderAt. The error may also wrap ErrChanged.
func (r *Reader) ReadAt(p []byte, at int64) (n int, err error) {
	if at < 0 {
		return 0, fmt.Errorf("reading %s of bucket %s before its beginning", *r.in.Key, *r.in.Bucket)
	}
	if at >= r.size {
		return 0, io.EOF
	}
	end := false
	if rest := r.size - at; int64(len(p)) > rest {
		p, end = p[:rest], true
	}
	if len(p) >= windowSize {
		n, err = r.get(p, at)
	} else {
		n, err = r.readWindows(p, at)
	}
	if err == nil && end {
		err = io.EOF
	}
	return n, err
}

// readWindows reads what is less than a window.
func (r *Reader) readWindows(p []byte, at int64) (n int, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for n < len(p) {
		w, err := r.window(at + int64(n))
		if err != nil {
			return n, err
		}
		n += copy(p[n:], w.bytes[at+int64(n)-w.at:])
	}
	return n, nil
}

// window gives the stretch that has a place before the end; mu is held.
func (r *Reader) window(at int64) (*window, error) {
	for i := range r.held {
		if w := &r.held[i]; w.at <= at && at < w.at+int64(len(w.bytes)) {
			return w, nil
		}
	}
	w := &r.held[r.filled%windows]
	r.filled++
	if w.bytes == nil {
		w.bytes = make([]byte, min(windowSize, r.size))
	}
	b := w.bytes[:cap(w.bytes)]
	b = b[:min(int64(len(b)), r.size-at)]
	w.bytes = b[:0] // holds nothing if this fails
	if _, err := r.get(b, at); err != nil {
		return nil, err
	}
	w.at, w.bytes = at, b
	return w, nil
}

// get fills p from the object.
func (r *Reader) get(p []byte, at int64) (int, error) {
	ctx, cancel := context.WithTimeout(r.ctx, partStep)
	defer cancel()
	in := r.in
	in.Range = aws.String(fmt.Sprintf("bytes=%d-%d", at, at+int64(len(p))-1))
	out, err := r.client.owner.GetObject(ctx, &in, r.client.in(*in.Bucket))
	if err != nil {
		return 0, r.failed(err)
	}
	defer out.Body.Close()
	if n := aws.ToInt64(out.ContentLength); n != int64(len(p)) {
		return 0, r.failed(fmt.Errorf("asked for %d bytes, the store answers with %d", len(p), n))
	}
	n, err := io.ReadFull(out.Body, p)
	if err != nil {
		return n, r.failed(err)
	}
	return n, nil
}

func (r *Reader) failed(err error) error {
	switch status(err) {
	case http.StatusNotFound:
		err = fmt.Errorf("%w: %w", ErrNoObject, err)
	case http.StatusForbidden:
		err = fmt.Errorf("%w: %w", ErrRefused, err)
	case http.StatusPreconditionFailed:
		err = fmt.Errorf("%w: %w", ErrChanged, err)
	}
	return fmt.Errorf("reading %s of bucket %s: %w", *r.in.Key, *r.in.Bucket, err)
}
