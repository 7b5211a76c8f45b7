// Package witness has checkpoints cosigned by witnesses, as a client of
// c2sp.org/tlog-witness. A witness is somebody else's program that remembers the
// newest tree head it has seen of a log, signs a newer one only if that extends
// it, and so makes sure that everybody is shown the same history, and that no
// part of it is taken back.
//
// What a witness answers is not trusted further than its key: a cosignature
// counts when it verifies and its time is now. That a log was rolled back or
// rewritten is said by a *ConflictError.
package witness

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"filippo.io/torchwood"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"chirograph.dev/internal/store"
)

// Bounds of one Cosign.
const (
	// Timeout is how long the witnesses have, all together.
	Timeout = 10 * time.Second
	// MaxSkew is how far a cosignature's time may be from ours.
	MaxSkew = 10 * time.Minute

	maxAnswer = 16 << 10 // bytes
	maxTries  = 4        // a witness whose size another of our requests has moved
)

// ErrQuorum says that fewer witnesses cosigned than Config.Quorum. The
// cosignatures that there are came with it.
var ErrQuorum = errors.New("too few witnesses cosigned the checkpoint")

// ConflictError says that a witness knows another history of the log than the
// checkpoint's: one that is longer than any that this server has shown it, or
// one that the checkpoint's tree does not extend. Either the store was rolled
// back or rewritten, or two servers write one log.
type ConflictError struct {
	Witness string // name, from its key
	Origin  string
	Size    uint64 // of the tree that the witness knows
	Have    uint64 // of the checkpoint's
}

func (e *ConflictError) Error() string {
	if e.Size > e.Have {
		return fmt.Sprintf("witness %s knows %d entries of the log %s, which has %d here: the store was rolled back", e.Witness, e.Size, e.Origin, e.Have)
	}
	return fmt.Sprintf("witness %s knows other first %d entries of the log %s: the store was rewritten", e.Witness, e.Size, e.Origin)
}

// Witness is how a witness is reached, and known.
type Witness struct {
	URL string // prefix of its API: add-checkpoint is below it
	Key string // verifier key of its cosignatures (c2sp.org/signed-note)
}

// State remembers the sizes that witnesses have seen. Losing it costs a request
// per witness, and with it what tells an old checkpoint from a rollback.
type State interface {
	// Setting gives the value of a setting, or store.ErrNotFound.
	Setting(ctx context.Context, name string) (string, error)
	PutSetting(ctx context.Context, name, value string) error
}

// Config says who the witnesses are.
type Config struct {
	Witnesses []Witness
	// Quorum is how many must cosign; default: more than half of them.
	Quorum int
	State  State
	// HTTP does the requests; default: a client with Go's own transport and TLS
	// settings. Redirects are not followed whatever it says.
	HTTP *http.Client
	Log  *slog.Logger     // default slog.Default
	Now  func() time.Time // default time.Now
}

// Client has checkpoints cosigned. Safe for concurrent use.
type Client struct {
	cfg       Config
	http      *http.Client
	witnesses []witness

	mu      sync.Mutex
	origins map[string]*sync.Mutex // one Cosign of a log at a time
}

type witness struct {
	name     string // of its key
	endpoint string
	key      note.Verifier
}

// New checks the configuration; it does not reach for the witnesses.
func New(cfg Config) (*Client, error) {
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.State == nil {
		return nil, errors.New("witnesses need a place to remember sizes in")
	}
	witnesses, err := parse(cfg.Witnesses, cfg.Quorum)
	if err != nil {
		return nil, err
	}
	if cfg.Quorum == 0 {
		cfg.Quorum = len(witnesses)/2 + 1
	}
	c := &Client{cfg: cfg, http: &http.Client{}, witnesses: witnesses, origins: map[string]*sync.Mutex{}}
	if cfg.HTTP != nil {
		*c.http = *cfg.HTTP
	}
	c.http.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return c, nil
}

// Check tells what is wrong with witnesses and a quorum of them, in words for
// whoever named them.
func Check(witnesses []Witness, quorum int) error {
	_, err := parse(witnesses, quorum)
	return err
}

func parse(witnesses []Witness, quorum int) (list []witness, err error) {
	if len(witnesses) == 0 {
		return nil, errors.New("no witness is named")
	}
	if quorum < 0 || quorum > len(witnesses) {
		return nil, fmt.Errorf("a quorum of %d among %d witnesses: it is at least 1 and at most as many as there are", quorum, len(witnesses))
	}
	seen := map[string]bool{}
	for _, w := range witnesses {
		parsed, err := w.parse()
		if err != nil {
			return nil, err
		}
		if seen[w.Key] {
			return nil, fmt.Errorf("witness %s is named twice, and would count twice", parsed.name)
		}
		seen[w.Key] = true
		list = append(list, *parsed)
	}
	return list, nil
}

// Quorum is how many witnesses must cosign, of how many.
func (c *Client) Quorum() (k, n int) { return c.cfg.Quorum, len(c.witnesses) }

func (w Witness) parse() (*witness, error) {
	u, err := url.Parse(w.URL)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return nil, fmt.Errorf("witness %q: its address is a URL such as https://witness.example.com", w.URL)
	}
	key, err := torchwood.NewCosignatureVerifier(w.Key)
	if err != nil {
		if _, other := note.NewVerifier(w.Key); other == nil {
			return nil, fmt.Errorf("witness %s: %q is the key of a log, not of a witness; a witness prints its own when it starts", w.URL, w.Key)
		}
		return nil, fmt.Errorf("witness %s: %q is not the verifier key of a witness, such as witness.example.com+1a2b3c4d+BAbc...: %w", w.URL, w.Key, err)
	}
	return &witness{name: key.Name(), endpoint: u.JoinPath("add-checkpoint").String(), key: key}, nil
}

// Cosign sends a signed checkpoint to all witnesses at a time and returns it
// with the cosignatures that came within Timeout. prove gives the consistency
// proof between two sizes of the log.
//
// Sizes of a log must be cosigned in order: a witness signs no tree smaller
// than the one it knows. Asked for one, Cosign counts that witness as silent.
//
// The checkpoint comes back with an error, too: ErrQuorum, and *ConflictError,
// which says that the log must not go on. Both may come at a time.
func (c *Client) Cosign(ctx context.Context, checkpoint []byte, prove func(from, to uint64) (tlog.TreeProof, error)) (cosigned []byte, err error) {
	text, signatures, ok := strings.Cut(string(checkpoint), "\n\n")
	head, err := torchwood.ParseCheckpoint(text + "\n")
	if err != nil || !ok || !strings.HasSuffix(signatures, "\n") {
		return checkpoint, fmt.Errorf("the checkpoint to cosign is not one: %w", errors.Join(err, errors.New("no signed note")))
	}
	release := c.lock(head.Origin)
	defer release()
	ctx, cancel := context.WithTimeout(ctx, Timeout)
	defer cancel()

	// What is shown is remembered first: a crash after a witness signed and
	// before we know must not make our own checkpoint look like a rollback.
	r := &round{client: c, checkpoint: checkpoint, text: text + "\n", head: head, prove: prove}
	if err := r.begin(ctx); err != nil {
		return checkpoint, err
	}
	type answer struct {
		line string
		err  error
	}
	answers := make([]answer, len(c.witnesses))
	var wg sync.WaitGroup
	for i := range c.witnesses {
		wg.Go(func() { answers[i].line, answers[i].err = r.ask(ctx, &c.witnesses[i]) })
	}
	wg.Wait()

	cosigned = checkpoint[:len(checkpoint):len(checkpoint)]
	var conflict *ConflictError
	signed := 0
	for i, a := range answers {
		switch {
		case a.err == nil:
			signed++
			cosigned = append(cosigned, a.line...)
		case errors.As(a.err, &conflict):
			err = errors.Join(err, a.err)
		default:
			c.cfg.Log.WarnContext(ctx, "a witness did not cosign", slog.String("witness", c.witnesses[i].name), slog.String("log", head.Origin), slog.Int64("size", head.N), slog.Any("error", a.err))
		}
	}
	if signed < c.cfg.Quorum {
		err = errors.Join(err, fmt.Errorf("%w: %d of %d, and %d are needed", ErrQuorum, signed, len(c.witnesses), c.cfg.Quorum))
	}
	return cosigned, err
}

// lock lets one Cosign of a log run at a time, so that sizes arrive in order.
func (c *Client) lock(origin string) (release func()) {
	c.mu.Lock()
	m := c.origins[origin]
	if m == nil {
		m = new(sync.Mutex)
		c.origins[origin] = m
	}
	c.mu.Unlock()
	m.Lock()
	return m.Unlock
}

// size reads a remembered size; 0 when none is.
func (c *Client) size(ctx context.Context, name string) (uint64, error) {
	value, err := c.cfg.State.Setting(ctx, name)
	if errors.Is(err, store.ErrNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("reading what witnesses have seen: %w", err)
	}
	n, err := strconv.ParseUint(value, 10, 63)
	if err != nil {
		return 0, fmt.Errorf("reading what witnesses have seen: %w", err)
	}
	return n, nil
}

func (c *Client) remember(ctx context.Context, name string, size uint64) error {
	// A size that was learned is kept though the caller has gone.
	if err := c.cfg.State.PutSetting(context.WithoutCancel(ctx), name, strconv.FormatUint(size, 10)); err != nil {
		return fmt.Errorf("remembering what witnesses have seen: %w", err)
	}
	return nil
}
