package auditlog

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"filippo.io/torchwood"
	"github.com/google/uuid"
	"golang.org/x/mod/sumdb/tlog"

	"chirograph.dev/internal/awsjson"
	"chirograph.dev/internal/certlog"
	"chirograph.dev/internal/pca"
	"chirograph.dev/internal/store"
)

// PathPrefix is the path below which every log has its endpoints.
const PathPrefix = "/audit-log/"

// The actions of the endpoints (access.md A-42). They have a prefix of their
// own so that acm-pca:* does not widen silently.
const (
	ActionGetCheckpoint = "pcaaudit:GetCheckpoint"
	ActionGetProof      = "pcaaudit:GetProof"
	ActionRotateKey     = "pcaaudit:RotateKey"
	ActionRecover       = "pcaaudit:Recover"
)

// maxKnown is the largest body of a request to recover: checkpoints, and
// manifests of large reports.
const maxKnown = 8 << 20

// SignedHead is what the endpoints need of a signed tree head.
type SignedHead struct {
	Size   uint64
	Signed []byte // checkpoint with its cosignatures
	Key    string // text of the key record, see Endpoints
}

// Endpoints is how a log is read over HTTP, under PathPrefix and the CA's UUID:
//
//	GET  checkpoint               the newest signed, cosigned checkpoint (C2SP tlog-checkpoint)
//	GET  key                      the key that signed it, and the CA key's endorsement, as a manifest's lines key, spki, endorsement
//	GET  tile/<L>/<N>[.p/<W>]     hashes, and
//	GET  tile/entries/<N>[.p/<W>] entries, as C2SP tlog-tiles has them
//	GET  proof?serial=HEX         that an entry is in the log, with the entry as extra data (C2SP tlog-proof)
//	GET  proof?index=N
//	POST rotate-key               changes the audit key
//	POST recover                  goes on with a log that lost entries
//
// Each request is authorised on the CA's ARN. What a request costs is bounded:
// it reads one block of the log at the most.
type Endpoints struct {
	Partition, Region string

	Store        certlog.Store
	Certificates interface {
		Certificate(ctx context.Context, ca string, serial []byte) (*store.Certificate, error)
	}
	// Find gives the ARN and the account of the CA with an id, whoever owns it; gone: ResourceNotFoundException.
	Find func(ctx context.Context, id string) (arn, account string, err error)
	// Newest gives the newest signed head, signing one when none has atLeast entries.
	Newest func(ctx context.Context, ca string, atLeast uint64) (*SignedHead, error)
	// RotateKey and Recover do what their paths say and give the answer's body.
	RotateKey func(ctx context.Context, ca string) ([]byte, error)
	Recover   func(ctx context.Context, ca string, known []byte) ([]byte, error)

	mu    sync.Mutex
	heads map[string]*recentHead // by CA
}

// recentHead is the head that readers of a log get. mu is held while one of them
// has a newer one signed, which may take as long as a witness does; those who
// come meanwhile get the same.
type recentHead struct {
	mu sync.Mutex
	*SignedHead
	at time.Time
}

// A head is signed when somebody asks and the log grew, but not more often
// than every headAge, since witnesses see each of them. One that too few
// witnesses cosigned gets another chance after cosignAge.
const (
	headAge   = time.Second
	cosignAge = time.Minute
)

// head gives a signed head of the log as it is now, or was a moment ago, with
// at least so many entries.
func (e *Endpoints) head(ctx context.Context, ca string, atLeast uint64) (*SignedHead, error) {
	size, err := e.size(ctx, ca)
	if err != nil {
		return nil, err
	}
	recent := e.recent(ca)
	recent.mu.Lock()
	defer recent.mu.Unlock()
	age := time.Since(recent.at)
	if recent.SignedHead != nil && recent.Size >= atLeast && (age < headAge || recent.Size == size && age < cosignAge) {
		return recent.SignedHead, nil
	}
	h, err := e.Newest(ctx, ca, max(size, atLeast))
	if errors.Is(err, certlog.ErrHead) && !errors.Is(err, certlog.ErrDamaged) {
		return nil, &pca.Error{Code: pca.InternalFailure, Message: "The log is not what others know of it: it was rolled back or rewritten. Nothing of it is signed until an administrator recovers it with chirograph log recover.", Err: err}
	}
	if err != nil {
		return nil, err
	}
	recent.SignedHead, recent.at = h, time.Now()
	return h, nil
}

func (e *Endpoints) recent(ca string) *recentHead {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.heads == nil {
		e.heads = map[string]*recentHead{}
	}
	if e.heads[ca] == nil {
		e.heads[ca] = &recentHead{}
	}
	return e.heads[ca]
}

// forget makes the next reader see a head with the key that is in force.
func (e *Endpoints) forget(ca string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.heads, ca)
}

// Route takes a request apart; it is the route of an awsjson.Plain.
func (e *Endpoints) Route(r *http.Request) (awsjson.Route, error) {
	id, what, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, PathPrefix), "/")
	read := r.Method == http.MethodGet || r.Method == http.MethodHead
	switch {
	case !strings.HasPrefix(r.URL.Path, PathPrefix) || len(id) != 36 || uuid.Validate(id) != nil || strings.ToLower(id) != id:
	case what == "checkpoint" && read:
		return e.reading(id, ActionGetCheckpoint, func(ctx context.Context) ([]byte, error) { return e.checkpoint(ctx, id) }), nil
	case what == "key" && read:
		return e.reading(id, ActionGetCheckpoint, func(ctx context.Context) ([]byte, error) { return e.key(ctx, id) }), nil
	case what == "proof" && read:
		query, err := url.ParseQuery(r.URL.RawQuery)
		if err != nil {
			return awsjson.Route{}, pca.Errorf(pca.ValidationException, "The query string is not well formed.")
		}
		return e.reading(id, ActionGetProof, func(ctx context.Context) ([]byte, error) { return e.proof(ctx, id, query) }), nil
	case strings.HasPrefix(what, "tile/") && read:
		t, err := torchwood.ParseTilePath(what)
		if err != nil {
			break
		}
		packed := t.L < 0 && acceptsGzip(r.Header)
		return e.reading(id, ActionGetProof, func(ctx context.Context) ([]byte, error) { return e.tile(ctx, id, t, packed) }), nil
	case what == "rotate-key" && r.Method == http.MethodPost:
		return awsjson.Route{Action: ActionRotateKey, Serve: func(ctx context.Context, _ []byte) ([]byte, error) {
			if err := e.authorize(ctx, id, ActionRotateKey); err != nil {
				return nil, err
			}
			defer e.forget(id)
			return e.RotateKey(ctx, id)
		}}, nil
	case what == "recover" && r.Method == http.MethodPost:
		return awsjson.Route{Action: ActionRecover, MaxBody: maxKnown, Serve: func(ctx context.Context, known []byte) ([]byte, error) {
			if err := e.authorize(ctx, id, ActionRecover); err != nil {
				return nil, err
			}
			defer e.forget(id)
			return e.Recover(ctx, id, known)
		}}, nil
	}
	return awsjson.Route{}, pca.Errorf(pca.UnknownOperationException, "%.20s %.200q is not a path of the audit log; the paths are %s<id of a CA>/ and checkpoint, key, proof, tile/<level>/<n> or tile/entries/<n>.", r.Method, r.URL.Path, PathPrefix)
}

func (e *Endpoints) reading(id, action string, serve func(context.Context) ([]byte, error)) awsjson.Route {
	return awsjson.Route{Action: action, Serve: func(ctx context.Context, _ []byte) ([]byte, error) {
		if err := e.authorize(ctx, id, action); err != nil {
			return nil, err
		}
		return serve(ctx)
	}}
}

// authorize decides an action on the CA with an id.
func (e *Endpoints) authorize(ctx context.Context, id, action string) error {
	return awsjson.AuthorizeID(ctx, action, pca.ARN{Partition: e.Partition, Region: e.Region, CA: id}, e.Find)
}

func plainText(ctx context.Context, cache string) {
	awsjson.SetHeader(ctx, "Content-Type", "text/plain; charset=utf-8")
	awsjson.SetHeader(ctx, "Cache-Control", cache)
}

func (e *Endpoints) checkpoint(ctx context.Context, ca string) ([]byte, error) {
	head, err := e.head(ctx, ca, 0)
	if err != nil {
		return nil, err
	}
	plainText(ctx, "no-cache")
	return head.Signed, nil
}

func (e *Endpoints) key(ctx context.Context, ca string) ([]byte, error) {
	head, err := e.head(ctx, ca, 0)
	if err != nil {
		return nil, err
	}
	plainText(ctx, "no-cache")
	return []byte(head.Key), nil
}

// noTile is the answer for what lies beyond the log.
func noTile(t tlog.Tile, size uint64) error {
	return pca.Errorf(pca.ResourceNotFoundException, "The log has no %s: it has %d entries.", torchwood.TilePath(t), size)
}

func (e *Endpoints) tile(ctx context.Context, ca string, t tlog.Tile, packed bool) ([]byte, error) {
	size, err := e.size(ctx, ca)
	if err != nil {
		return nil, err
	}
	// Levels of 2^64 entries and more shift to nothing, as they must.
	hashes := size >> (torchwood.TileHeight * max(0, t.L))
	lo := uint64(t.N) * torchwood.TileWidth
	if uint64(t.N) > hashes/torchwood.TileWidth || lo+uint64(t.W) > hashes {
		return nil, noTile(t, size)
	}
	var data []byte
	if t.L < 0 {
		data, err = e.bundle(ctx, ca, lo, lo+uint64(t.W))
	} else {
		data, err = tlog.ReadTileData(t, certlog.NewHashReader(ctx, e.Store, ca, size))
	}
	if err != nil {
		return nil, fmt.Errorf("reading %s of log %s: %w", torchwood.TilePath(t), ca, err)
	}
	if packed {
		if data, err = zip(data); err != nil {
			return nil, err
		}
		awsjson.SetHeader(ctx, "Content-Encoding", "gzip")
	}
	if t.L < 0 {
		awsjson.SetHeader(ctx, "Vary", "Accept-Encoding")
	}
	// A full tile stays; a cache of them is good until the log's origin changes.
	cache := "no-cache"
	if t.W == torchwood.TileWidth {
		cache = "private, max-age=31536000, immutable"
	}
	awsjson.SetHeader(ctx, "Content-Type", "application/octet-stream")
	awsjson.SetHeader(ctx, "Cache-Control", cache)
	return data, nil
}

func (e *Endpoints) bundle(ctx context.Context, ca string, lo, hi uint64) (data []byte, err error) {
	err = e.Store.LogEntries(ctx, ca, lo, hi, func(_ uint64, entry []byte) error {
		data = certlog.AppendBundled(data, entry)
		return nil
	})
	return data, err
}

func zip(data []byte) ([]byte, error) {
	var b bytes.Buffer
	w, err := gzip.NewWriterLevel(&b, gzip.BestSpeed)
	if err != nil {
		return nil, err
	}
	if _, err := w.Write(data); err != nil {
		return nil, err
	}
	err = w.Close()
	return b.Bytes(), err
}

// acceptsGzip reads Accept-Encoding (RFC 9110 section 12.5.3).
func acceptsGzip(h http.Header) bool {
	for item := range strings.SplitSeq(strings.Join(h.Values("Accept-Encoding"), ","), ",") {
		name, weight, _ := strings.Cut(item, ";")
		if strings.EqualFold(strings.TrimSpace(name), "gzip") {
			q, err := strconv.ParseFloat(strings.TrimPrefix(strings.TrimSpace(weight), "q="), 64)
			return weight == "" || err == nil && q > 0
		}
	}
	return false
}
