package main

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"strings"
	"time"

	"filippo.io/torchwood"
	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/service/acmpca"
	"golang.org/x/mod/sumdb/tlog"
	"golang.org/x/sync/errgroup"

	"chirograph.dev/internal/auditlog"
	"chirograph.dev/internal/certlog"
	"chirograph.dev/internal/pca"
	"chirograph.dev/internal/proof"
)

// caID is the UUID in the ARN of a CA.
func caID(arn string) (string, error) {
	_, rest, _ := strings.Cut(arn, ":")
	partition, _, _ := strings.Cut(rest, ":")
	a, err := pca.ParseCAARN(arn, partition)
	if err != nil {
		return "", usageError("it looks like arn:aws:acm-pca:us-east-1:123456789012:certificate-authority/11223344-1234-1122-2233-112233445566", "--ca: %q is not the ARN of a certificate authority", arn)
	}
	return a.CA, nil
}

// remote is paths of a server that its API's protocol does not have. Safe for
// concurrent use.
type remote struct {
	base   string            // URL of the paths, with a slash
	asking string            // what messages say before a path
	doing  string            // what they say instead of both; may be empty
	denied map[string]string // hints for those who may not, by method
	http   *http.Client
}

func newRemote(cfg aws.Config, prefix, ca string) (remote, error) {
	options := acmpca.NewFromConfig(cfg).Options() // what the SDK makes of files and environment
	endpoint := aws.ToString(options.BaseEndpoint)
	if endpoint == "" {
		return remote{}, usageError("give --endpoint-url, or --data-dir of a local server", "no endpoint is configured, and AWS has no such commands")
	}
	return remote{
		base: strings.TrimSuffix(endpoint, "/") + prefix + ca + "/",
		http: &http.Client{Transport: signing{cfg, options.HTTPClient, v4.NewSigner()}},
	}, nil
}

// remoteLog is a CA's log on a server. Safe for concurrent use.
type remoteLog struct {
	remote
	key string // pinned verifier key; empty: the one that the server names
}

func newRemoteLog(cfg aws.Config, ca, key string) (*remoteLog, error) {
	r, err := newRemote(cfg, auditlog.PathPrefix, ca)
	r.asking = "asking for the log's "
	r.denied = map[string]string{http.MethodGet: "the policies PCAAuditor and PCAWitness let somebody read logs", http.MethodPost: "this is for administrators"}
	return &remoteLog{r, key}, err
}

// signing is a transport that signs each request as the SDK does.
type signing struct {
	cfg    aws.Config
	client acmpca.HTTPClient
	signer *v4.Signer
}

func (s signing) RoundTrip(r *http.Request) (*http.Response, error) {
	credentials, err := s.cfg.Credentials.Retrieve(r.Context())
	if err != nil {
		return nil, err
	}
	hash := sha256.New()
	if r.GetBody != nil {
		body, err := r.GetBody()
		if err != nil {
			return nil, err
		}
		defer body.Close()
		if _, err := io.Copy(hash, body); err != nil {
			return nil, err
		}
	}
	r = r.Clone(r.Context()) // a transport must not change its request
	if err := s.signer.SignHTTP(r.Context(), credentials, r, hex.EncodeToString(hash.Sum(nil)), pca.Service, s.cfg.Region, time.Now()); err != nil {
		return nil, err
	}
	return s.client.Do(r)
}

// attempts are how often a request is tried that the server is too busy for.
const attempts = 6

// do sends a request for a path and gives the body of the answer.
func (l *remote) do(ctx context.Context, method, path string, body []byte) ([]byte, error) {
	for n := 1; ; n++ {
		b, status, err := l.once(ctx, method, path, body)
		busy := status == http.StatusTooManyRequests || status == http.StatusServiceUnavailable
		if err == nil || !busy || n == attempts || method != http.MethodGet {
			return b, err
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(100 * time.Millisecond << n):
		}
	}
}

func (l *remote) once(ctx context.Context, method, path string, body []byte) (answer []byte, status int, err error) {
	r, err := http.NewRequestWithContext(ctx, method, l.base+path, bytes.NewReader(body))
	if err != nil {
		return nil, 0, err
	}
	doing, _, _ := strings.Cut(path, "?")
	doing = cmp.Or(l.doing, l.asking+doing)
	resp, err := l.http.Do(r)
	if err != nil {
		return nil, 0, apiFailure(doing, err)
	}
	defer resp.Body.Close()
	if answer, err = io.ReadAll(resp.Body); err != nil {
		return nil, 0, apiFailure(doing, err)
	}
	if resp.StatusCode == http.StatusOK {
		return answer, resp.StatusCode, nil
	}
	var e struct {
		Type    string `json:"__type"`
		Message string `json:"message"`
	}
	if json.Unmarshal(answer, &e) != nil || e.Type == "" {
		e.Type, e.Message = resp.Status, "is this a chirograph server?"
	}
	hint := ""
	switch pca.Code(e.Type) {
	case pca.AccessDeniedException:
		hint = l.denied[method]
	case pca.UnrecognizedClientException, pca.ExpiredTokenException:
		hint = lockedOutHint()
	}
	return nil, resp.StatusCode, &exitError{code: exitFailure, hint: hint, err: fmt.Errorf("%s: %s: %s", doing, printable(e.Type), printable(e.Message))}
}

func (l *remote) get(ctx context.Context, path string) ([]byte, error) {
	return l.do(ctx, http.MethodGet, path, nil)
}

// signedHead is a checkpoint whose signature was checked.
type signedHead struct {
	origin   string
	size     uint64
	root     tlog.Hash
	key      string // that signed it
	endorsed bool   // the CA's key endorses the key
	signed   []byte
}

// cosigners are those who signed besides the log; their signatures are
// verify's to check, which knows the witnesses' keys.
func (h *signedHead) cosigners() []string {
	names := []string{}
	_, signatures, _ := strings.Cut(string(h.signed), "\n\n")
	for line := range strings.Lines(signatures) {
		if f := strings.Fields(line); len(f) == 3 && f[1] != h.origin {
			names = append(names, f[1])
		}
	}
	return names
}

// policy is what a tlog-proof under a checkpoint of the log must meet.
func (h *signedHead) policy() (torchwood.Policy, error) { return logPolicy(h.key) }

func (h *signedHead) tree() tlog.Tree { return tlog.Tree{N: int64(h.size), Hash: h.root} }

// openHead checks a signed checkpoint.
func openHead(signed []byte, key string) (*signedHead, error) {
	h := &signedHead{key: key, signed: signed}
	var err error
	h.origin, h.size, h.root, err = proof.OpenCheckpoint(signed, key)
	if err == nil && h.size > math.MaxInt64>>8 {
		err = fmt.Errorf("%w: %d entries", proof.ErrCheckpoint, h.size)
	}
	return h, err
}

// checkpoint fetches the newest signed checkpoint and checks it.
func (l *remoteLog) checkpoint(ctx context.Context) (*signedHead, error) {
	for again := range 2 {
		signed, err := l.get(ctx, "checkpoint")
		if err != nil {
			return nil, err
		}
		key, err := l.logKey(ctx)
		if err != nil {
			return nil, err
		}
		h, err := openHead(signed, key.text)
		if err == nil {
			h.endorsed = key.endorsed
			return h, nil
		}
		// The key may have changed between the two answers.
		if again == 1 || !errors.Is(err, proof.ErrSignature) {
			return nil, &exitError{code: exitFailure, hint: "the answer is not from the log with that key; keep it, and ask the operator", err: fmt.Errorf("checking the checkpoint: %w", err)}
		}
	}
	return nil, nil
}

// logKey is a log's verifier key, and whether the CA's key stands behind it.
type logKey struct {
	text     string
	endorsed bool
}

// logKey asks for the log's key. The pinned key goes before the server's.
func (l *remoteLog) logKey(ctx context.Context) (logKey, error) {
	b, err := l.get(ctx, "key")
	if err != nil {
		return logKey{}, err
	}
	value := map[string]string{}
	for line := range strings.Lines(string(b)) {
		name, v, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		value[name] = v
	}
	key := logKey{text: value["key"]}
	if l.key != "" && l.key != key.text {
		return logKey{}, &exitError{code: exitFailure, hint: "the log's key was changed, or this is another log; ask the operator for the endorsement of the new key before you trust it",
			err: fmt.Errorf("the log's key is %s, not the one that --log-key names", printable(key.text))}
	}
	if value["endorsement"] == "" {
		return key, nil
	}
	spki, err := base64.StdEncoding.DecodeString(value["spki"])
	if algorithm, signature, ok := certlog.ParseEndorsement(value["endorsement"]); !ok {
		err = errors.New("its endorsement cannot be read")
	} else if err == nil {
		origin, _, _ := strings.Cut(key.text, "+") // base64 may have a + too
		err = (&proof.Endorsement{Algorithm: algorithm, Signature: signature}).Check(spki, origin, key.text)
	}
	if err != nil {
		return logKey{}, &exitError{code: exitFailure, err: fmt.Errorf("checking the log's key: %w", err)}
	}
	key.endorsed = true
	return key, nil
}

// parallelTiles is how many tiles are asked for at the same time.
const parallelTiles = 8

// ReadTiles implements torchwood.TileReader.
func (l *remoteLog) ReadTiles(ctx context.Context, tiles []tlog.Tile) ([][]byte, error) {
	data := make([][]byte, len(tiles))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(parallelTiles)
	for i, t := range tiles {
		g.Go(func() (err error) {
			data[i], err = l.get(ctx, torchwood.TilePath(t))
			return err
		})
	}
	return data, g.Wait()
}

// SaveTiles implements torchwood.TileReader.
func (l *remoteLog) SaveTiles([]tlog.Tile, [][]byte) {}

// ReadEndpoint implements torchwood.TileReader.
func (l *remoteLog) ReadEndpoint(ctx context.Context, path string) ([]byte, error) {
	return l.get(ctx, path)
}

// tileOf is the tile of entries that begins at lo, in a log of that size.
func tileOf(lo, size uint64) tlog.Tile {
	return tlog.Tile{H: torchwood.TileHeight, L: -1, N: int64(lo / torchwood.TileWidth), W: int(min(torchwood.TileWidth, size-lo))}
}

// entries yields the entries [lo, hi) of the first size; lo is a multiple of
// 256. kept, not nil, may have a full bundle already.
func (l *remoteLog) entries(ctx context.Context, size, lo, hi uint64, kept func(tlog.Tile) []byte, yield func(index uint64, entry []byte) error) error {
	for lo < hi {
		var missing []tlog.Tile
		bundles := map[tlog.Tile][]byte{}
		window := make([]tlog.Tile, 0, 4*parallelTiles)
		for at := lo; at < hi && len(window) < cap(window); at += torchwood.TileWidth {
			t := tileOf(at, size)
			window = append(window, t)
			if kept != nil {
				bundles[t] = kept(t)
			}
			if bundles[t] == nil {
				missing = append(missing, t)
			}
		}
		fetched, err := l.ReadTiles(ctx, missing)
		if err != nil {
			return err
		}
		for i, t := range missing {
			bundles[t] = fetched[i]
		}
		for _, t := range window {
			if err := cutBundle(bundles[t], t.W, func(entry []byte) error {
				err := error(nil)
				if lo < hi {
					err = yield(lo, entry)
				}
				lo++
				return err
			}); err != nil {
				return err
			}
		}
	}
	return nil
}

// cutBundle yields the entries of a bundle that must have exactly n.
func cutBundle(bundle []byte, n int, yield func(entry []byte) error) error {
	for range n {
		entry, rest, ok := certlog.CutBundled(bundle)
		if !ok {
			return errBundle
		}
		if err := yield(entry); err != nil {
			return err
		}
		bundle = rest
	}
	if len(bundle) > 0 {
		return errBundle
	}
	return nil
}

var errBundle = errors.New("an entry bundle does not have the entries that it must have")
