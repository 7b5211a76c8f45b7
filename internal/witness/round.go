package witness

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"time"

	"filippo.io/torchwood"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// errPassed says that a witness has gone on to a tree that we have shown it
// after this one. That is no conflict: the checkpoint came late.
var errPassed = errors.New("the witness has cosigned a later checkpoint of this log already")

// round is one checkpoint on its way to the witnesses.
type round struct {
	client     *Client
	checkpoint []byte
	text       string // that is signed
	head       torchwood.Checkpoint
	prove      func(from, to uint64) (tlog.TreeProof, error)
	shown      uint64 // largest size of the log that any witness was ever shown by us
}

func (r *round) size() uint64 { return uint64(r.head.N) }

func (r *round) begin(ctx context.Context) (err error) {
	name := "witnessed/" + r.head.Origin
	if r.shown, err = r.client.size(ctx, name); err != nil {
		return err
	}
	if r.shown >= r.size() {
		return nil
	}
	r.shown = r.size()
	return r.client.remember(ctx, name, r.shown)
}

// ask has one witness cosign and returns its line. A witness that is at
// another size than remembered says so, and is asked again from there.
func (r *round) ask(ctx context.Context, w *witness) (line string, err error) {
	name := fmt.Sprintf("witnessed-by/%s+%08x/%s", w.name, w.key.KeyHash(), r.head.Origin)
	from, err := r.client.size(ctx, name)
	if err != nil {
		return "", err
	}
	for range maxTries {
		if from > r.size() {
			return "", errPassed // it would sign nothing smaller
		}
		a, err := r.post(ctx, w, from)
		if err != nil {
			return "", err
		}
		switch a.status {
		case http.StatusOK:
			if line, err = r.check(w, a.body); err != nil {
				return "", err
			}
			return line, r.client.remember(ctx, name, r.size())
		case http.StatusConflict:
			at, err := a.size()
			if err != nil {
				return "", err
			}
			if at > r.size() && at > r.shown || at == from && at == r.size() && at > 0 {
				return "", &ConflictError{Witness: w.name, Origin: r.head.Origin, Size: at, Have: r.size()}
			}
			if at < from {
				r.client.cfg.Log.WarnContext(ctx, "a witness has forgotten what it saw; whatever it vouched for before, it vouches for no longer", "witness", w.name, "log", r.head.Origin, "saw", from, "size", at)
			}
			if err := r.client.remember(ctx, name, at); err != nil {
				return "", err
			}
			from = at
		case http.StatusUnprocessableEntity:
			if from == 0 { // where nothing is known there is nothing to prove
				return "", fmt.Errorf("it answered %d to its first checkpoint of the log; %s", a.status, a.words())
			}
			// The proof is right for our tree and wrong for the witness's.
			return "", &ConflictError{Witness: w.name, Origin: r.head.Origin, Size: from, Have: r.size()}
		case http.StatusForbidden:
			return "", fmt.Errorf("it does not know the key that signed the checkpoint (403): add this log's key to the witness; %s", a.words())
		case http.StatusNotFound:
			return "", fmt.Errorf("it does not know the log %s (404), or the URL is not a witness's: add the log to the witness; %s", r.head.Origin, a.words())
		default:
			return "", fmt.Errorf("it answered %d; %s", a.status, a.words())
		}
	}
	return "", errors.New("its size kept changing")
}

// answer is what a witness said.
type answer struct {
	status int
	kind   string // media type
	body   []byte
}

// post asks once. from is the size that the witness is believed to be at.
func (r *round) post(ctx context.Context, w *witness, from uint64) (*answer, error) {
	var proof tlog.TreeProof
	if from > 0 && from < r.size() {
		var err error
		if proof, err = r.prove(from, r.size()); err != nil {
			return nil, fmt.Errorf("proving that %d entries extend %d: %w", r.size(), from, err)
		}
	}
	var body bytes.Buffer
	fmt.Fprintf(&body, "old %d\n", from)
	for _, h := range proof {
		body.WriteString(base64.StdEncoding.EncodeToString(h[:]) + "\n")
	}
	body.WriteByte('\n')
	body.Write(r.checkpoint)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, w.endpoint, &body)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "text/plain; charset=utf-8")
	resp, err := r.client.http.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err != nil {
		return nil, fmt.Errorf("reading its answer: %w", err)
	}
	if len(b) > maxAnswer {
		return nil, fmt.Errorf("its answer is longer than %d bytes", maxAnswer)
	}
	kind, _, err := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	if err != nil {
		kind = "" // none, or one that says nothing
	}
	return &answer{status: resp.StatusCode, kind: kind, body: b}, nil
}

// size is the one that a witness at another size names.
func (a *answer) size() (uint64, error) {
	line, ok := strings.CutSuffix(string(a.body), "\n")
	n, err := strconv.ParseUint(line, 10, 63)
	if a.kind != "text/x.tlog.size" || !ok || err != nil {
		return 0, fmt.Errorf("it answered 409 without the size of its tree; %s", a.words())
	}
	return n, nil
}

// words quotes the beginning of an answer.
func (a *answer) words() string { return fmt.Sprintf("it said %.200q", a.body) }

// check finds the witness's own cosignature among the lines of its answer.
func (r *round) check(w *witness, lines []byte) (line string, err error) {
	n, err := note.Open([]byte(r.text+"\n"+string(lines)), note.VerifierList(w.key))
	if err != nil {
		return "", fmt.Errorf("it answered no cosignature by its key: %w", err)
	}
	sig := n.Sigs[0]
	seconds, err := torchwood.CosignatureTimestamp(sig)
	if err != nil {
		return "", fmt.Errorf("its cosignature has no time: %w", err)
	}
	if off := time.Unix(seconds, 0).Sub(r.client.cfg.Now()); off.Abs() > MaxSkew {
		return "", fmt.Errorf("its cosignature is %s off our clock; set the clock that is wrong", off.Round(time.Second))
	}
	return fmt.Sprintf("— %s %s\n", sig.Name, sig.Base64), nil
}
