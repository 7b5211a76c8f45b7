package witness_test

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"filippo.io/torchwood"

	"chirograph.dev/internal/store"
	"chirograph.dev/internal/witness"
)

const origin = "pca.example.com/audit/11111111-2222-3333-4444-555555555555"

// someone is a witness as c2sp.org/tlog-witness wants it, which keeps its state.
type someone struct {
	URL string

	signer *torchwood.CosignatureSigner
	mu     sync.Mutex
	known  tlog.Tree
	asked  int
	answer http.HandlerFunc // instead of what a witness answers; nil: as one
	log    note.Verifier
}

func (w *someone) witness() witness.Witness {
	return witness.Witness{URL: w.URL, Key: w.signer.Verifier().String()}
}

func newWitness(t *testing.T, l *log, name string) *someone {
	t.Helper()
	w := &someone{signer: cosigner(t, name), log: l.verifier}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/add-checkpoint", w.addCheckpoint)
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	w.URL = server.URL + "/v1/"
	return w
}

func cosigner(t *testing.T, name string) *torchwood.CosignatureSigner {
	t.Helper()
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	s, err := torchwood.NewCosignatureSigner(name, key)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// answers makes it answer something else from now on; nil: as a witness again.
func (w *someone) answers(h http.HandlerFunc) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.answer = h
}

// knows makes it know a tree.
func (w *someone) knows(tree tlog.Tree) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.known = tree
}

func (w *someone) requests() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.asked
}

func (w *someone) addCheckpoint(rw http.ResponseWriter, r *http.Request) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.asked++
	if w.answer != nil {
		w.answer(rw, r)
		return
	}
	body, err := io.ReadAll(r.Body)
	head, signed, ok := strings.Cut(string(body), "\n\n")
	lines := strings.Split(head, "\n")
	old, err2 := strconv.ParseInt(strings.TrimPrefix(lines[0], "old "), 10, 64)
	var proof tlog.TreeProof
	for _, line := range lines[1:] {
		h, err := tlog.ParseHash(line)
		if err != nil {
			ok = false
		}
		proof = append(proof, h)
	}
	if err != nil || err2 != nil || !ok {
		http.Error(rw, "malformed", http.StatusBadRequest)
		return
	}
	n, err := note.Open([]byte(signed), note.VerifierList(w.log))
	if err != nil {
		http.Error(rw, "unknown key", http.StatusForbidden)
		return
	}
	c, err := torchwood.ParseCheckpoint(n.Text)
	switch {
	case err != nil || old > c.N:
		http.Error(rw, "malformed", http.StatusBadRequest)
	case old != w.known.N, old == c.N && c.Hash != w.known.Hash && old > 0:
		rw.Header().Set("Content-Type", "text/x.tlog.size")
		rw.WriteHeader(http.StatusConflict)
		fmt.Fprintf(rw, "%d\n", w.known.N)
	case old > 0 && tlog.CheckTree(proof, c.N, c.Hash, old, w.known.Hash) != nil:
		http.Error(rw, "bad proof", http.StatusUnprocessableEntity)
	default:
		w.known = c.Tree
		rw.Write(cosignature(w.signer, n.Text))
	}
}

func cosignature(s note.Signer, text string) []byte {
	signed, err := note.Sign(&note.Note{Text: text}, s)
	if err != nil {
		panic(err)
	}
	_, lines, _ := strings.Cut(string(signed), "\n\n")
	return []byte(lines)
}

// log is a log in memory with its signer.
type log struct {
	signer   note.Signer
	verifier note.Verifier
	hashes   []tlog.Hash
	n        int64
}

func newLog(t *testing.T) *log {
	t.Helper()
	private, public, err := note.GenerateKey(nil, origin)
	if err != nil {
		t.Fatal(err)
	}
	l := &log{}
	l.signer, err = note.NewSigner(private)
	if err != nil {
		t.Fatal(err)
	}
	if l.verifier, err = note.NewVerifier(public); err != nil {
		t.Fatal(err)
	}
	return l
}

func (l *log) reader() tlog.HashReader {
	return tlog.HashReaderFunc(func(at []int64) (list []tlog.Hash, err error) {
		for _, i := range at {
			list = append(list, l.hashes[i])
		}
		return list, nil
	})
}

// grow adds entries that say the word.
func (l *log) grow(n int, word string) *log {
	for range n {
		hashes, err := tlog.StoredHashes(l.n, fmt.Appendf(nil, "%s %d", word, l.n), l.reader())
		if err != nil {
			panic(err)
		}
		l.hashes = append(l.hashes, hashes...)
		l.n++
	}
	return l
}

// rewritten is another log of the same signer.
func (l *log) rewritten(n int) *log {
	return (&log{signer: l.signer, verifier: l.verifier}).grow(n, "rewritten")
}

func (l *log) checkpoint(t *testing.T, n int64) []byte {
	t.Helper()
	root, err := tlog.TreeHash(n, l.reader())
	if err != nil {
		t.Fatal(err)
	}
	b, err := note.Sign(&note.Note{Text: torchwood.Checkpoint{Origin: origin, Tree: tlog.Tree{N: n, Hash: root}}.String()}, l.signer)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func (l *log) prove(from, to uint64) (tlog.TreeProof, error) {
	return tlog.ProveTree(int64(to), int64(from), l.reader())
}

// state is the settings of a store.
type state struct {
	mu sync.Mutex
	m  map[string]string
}

func (s *state) Setting(_ context.Context, name string) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	v, ok := s.m[name]
	if !ok {
		return "", store.ErrNotFound
	}
	return v, nil
}

func (s *state) PutSetting(_ context.Context, name, value string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.m[name] = value
	return nil
}

func client(t *testing.T, s *state, quorum int, all ...*someone) *witness.Client {
	t.Helper()
	cfg := witness.Config{Quorum: quorum, State: s, Log: slog.New(slog.DiscardHandler)}
	for _, w := range all {
		cfg.Witnesses = append(cfg.Witnesses, w.witness())
	}
	c, err := witness.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// cosigned checks who signed a checkpoint beside its log.
func cosigned(t *testing.T, l *log, checkpoint []byte, by ...*someone) {
	t.Helper()
	verifiers := []note.Verifier{l.verifier}
	for _, w := range by {
		verifiers = append(verifiers, w.signer.Verifier())
	}
	n, err := note.Open(checkpoint, note.VerifierList(verifiers...))
	if err != nil || len(n.Sigs) != len(verifiers) || len(n.UnverifiedSigs) != 0 {
		t.Errorf("%v; the checkpoint is\n%s", err, checkpoint)
	}
}

func TestCosign(t *testing.T) {
	t.Parallel()
	l := newLog(t).grow(40, "entry")
	w := newWitness(t, l, "witness.example.com/w1")
	memory := &state{m: map[string]string{}}
	c := client(t, memory, 0, w)
	asks := func(l *log, size int64, requests int, wants ...*someone) error {
		t.Helper()
		before := w.requests()
		got, err := c.Cosign(t.Context(), l.checkpoint(t, size), l.prove)
		if asked := w.requests() - before; asked != requests {
			t.Errorf("%d requests for size %d, want %d", asked, size, requests)
		}
		cosigned(t, l, got, wants...)
		return err
	}
	fine := func(size int64, requests int) {
		t.Helper()
		if err := asks(l, size, requests, w); err != nil {
			t.Error(err)
		}
	}
	fine(7, 1)  // first contact
	fine(7, 1)  // again
	fine(20, 1) // growth
	for name := range memory.m {
		if strings.HasPrefix(name, "witnessed-by/") {
			delete(memory.m, name)
		}
	}
	fine(25, 2) // what it saw is not remembered: it says so
	w.knows(tlog.Tree{})
	fine(30, 2) // it has forgotten

	// A checkpoint that comes late is not asked for and no evidence.
	if err := asks(l, 28, 0); !errors.Is(err, witness.ErrQuorum) {
		t.Errorf("a late checkpoint: %v", err)
	}
	for name := range memory.m {
		if strings.HasPrefix(name, "witnessed-by/") {
			delete(memory.m, name)
		}
	}
	if err := asks(l, 28, 1); !errors.Is(err, witness.ErrQuorum) || errors.As(err, new(*witness.ConflictError)) {
		t.Errorf("a late checkpoint, with less remembered: %v", err)
	}

	conflict := func(err error, size, have uint64) {
		t.Helper()
		var e *witness.ConflictError
		if !errors.As(err, &e) || e.Size != size || e.Have != have || e.Witness != "witness.example.com/w1" || e.Origin != origin || !errors.Is(err, witness.ErrQuorum) {
			t.Errorf("%v, want a conflict of %d with %d", err, have, size)
		}
	}
	// The store is what it was at size 20.
	memory.m = map[string]string{"witnessed/" + origin: "20"}
	conflict(asks(l, 20, 1), 30, 20)
	conflict(asks(l, 22, 1), 30, 22)
	// It went on from there, without being asked, with other entries.
	conflict(asks(l.rewritten(35), 35, 2), 30, 35)
	// Another tree of the same size.
	memory.m = map[string]string{}
	conflict(asks(l.rewritten(30), 30, 2), 30, 30)
	fine(40, 1) // the true one goes on
}

// TestAnswers is what a witness may answer and what it counts for.
func TestAnswers(t *testing.T) {
	t.Parallel()
	l := newLog(t).grow(3, "entry")
	w := newWitness(t, l, "witness.example.com")
	c := client(t, &state{m: map[string]string{}}, 1, w)
	text, _, _ := strings.Cut(string(l.checkpoint(t, 3)), "\n\n")
	text += "\n"
	forger := cosigner(t, "witness.example.com")
	own := string(cosignature(w.signer, text))
	says := func(status int, kind, body string) http.HandlerFunc {
		return func(rw http.ResponseWriter, _ *http.Request) {
			rw.Header().Set("Content-Type", kind)
			rw.WriteHeader(status)
			io.WriteString(rw, body)
		}
	}
	elsewhere := httptest.NewServer(says(200, "", own))
	defer elsewhere.Close()
	for name, answer := range map[string]http.HandlerFunc{
		"forged":            says(200, "", string(cosignature(forger, text))),
		"forged, same name": says(200, "", strings.Replace(string(cosignature(forger, text)), " "+keyOf(forger, text), " "+keyOf(w.signer, text), 1)),
		"of another":        says(200, "", string(cosignature(w.signer, strings.Replace(text, "\n3\n", "\n4\n", 1)))),
		"nothing":           says(200, "", ""),
		"no lines":          says(200, "text/html", "<html>hello</html>"),
		"too long":          says(200, "", own+strings.Repeat(own, 200)),
		"unknown key":       says(403, "", "who?"),
		"unknown log":       says(404, "", "what?"),
		"broken":            says(500, "", "sorry"),
		"moved":             func(rw http.ResponseWriter, r *http.Request) { http.Redirect(rw, r, elsewhere.URL, 307) },
		"no size":           says(409, "text/plain", "3\n"),
		"not a size":        says(409, "text/x.tlog.size", "-3\n"),
		"half a size":       says(409, "text/x.tlog.size", "3"),
		"undecided": func(rw http.ResponseWriter, r *http.Request) {
			says(409, "text/x.tlog.size", strconv.Itoa(w.asked%2+1)+"\n")(rw, r)
		},
	} {
		w.answers(answer)
		got, err := c.Cosign(t.Context(), l.checkpoint(t, 3), l.prove)
		if !errors.Is(err, witness.ErrQuorum) || errors.As(err, new(*witness.ConflictError)) {
			t.Errorf("%s: %v", name, err)
		}
		cosigned(t, l, got)
	}
	// 422 is what many programs answer to a request that they do not understand.
	w.answers(says(422, "application/json", `{"detail":"not a JSON body"}`))
	if _, err := client(t, &state{m: map[string]string{}}, 1, w).Cosign(t.Context(), l.checkpoint(t, 3), l.prove); !errors.Is(err, witness.ErrQuorum) || errors.As(err, new(*witness.ConflictError)) {
		t.Errorf("a proof of nothing is refused: %v", err)
	}
	// Only its own line is taken.
	w.answers(says(200, "", string(cosignature(forger, text))+own+string(cosignature(cosigner(t, "else.example.com"), text))))
	got, err := c.Cosign(t.Context(), l.checkpoint(t, 3), l.prove)
	if err != nil {
		t.Error(err)
	}
	cosigned(t, l, got, w)

	for _, now := range []time.Duration{-witness.MaxSkew - time.Minute, witness.MaxSkew + time.Minute} {
		c, err := witness.New(witness.Config{Witnesses: []witness.Witness{w.witness()}, State: &state{m: map[string]string{}}, Log: slog.New(slog.DiscardHandler),
			Now: func() time.Time { return time.Now().Add(now) }})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Cosign(t.Context(), l.checkpoint(t, 3), l.prove); !errors.Is(err, witness.ErrQuorum) {
			t.Errorf("a cosignature %s off: %v", now, err)
		}
	}
	for _, wrong := range []string{"", "hello\n", text, text + "\n"} {
		if _, err := c.Cosign(t.Context(), []byte(wrong), l.prove); err == nil {
			t.Errorf("%q is taken for a checkpoint", wrong)
		}
	}
}

// keyOf is the beginning of a signature, which names its key.
func keyOf(s note.Signer, text string) string {
	return strings.Fields(string(cosignature(s, text)))[2][:6]
}

// TestQuorum is two of three, one of them silent or gone.
func TestQuorum(t *testing.T) {
	t.Parallel()
	l := newLog(t).grow(20, "entry")
	w1, w2, w3 := newWitness(t, l, "one.example.com"), newWitness(t, l, "two.example.com"), newWitness(t, l, "three.example.com")
	c := client(t, &state{m: map[string]string{}}, 0, w1, w2, w3)
	if k, n := c.Quorum(); k != 2 || n != 3 {
		t.Errorf("a majority of 3 is %d of %d", k, n)
	}
	gone := func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }
	w3.answers(gone)
	got, err := c.Cosign(t.Context(), l.checkpoint(t, 5), l.prove)
	if err != nil {
		t.Error(err)
	}
	cosigned(t, l, got, w1, w2)
	w2.answers(gone)
	got, err = c.Cosign(t.Context(), l.checkpoint(t, 6), l.prove)
	if !errors.Is(err, witness.ErrQuorum) {
		t.Error(err)
	}
	cosigned(t, l, got, w1)
	w2.answers(nil)
	w3.answers(nil)
	got, err = c.Cosign(t.Context(), l.checkpoint(t, 7), l.prove) // each from where it is
	if err != nil {
		t.Error(err)
	}
	cosigned(t, l, got, w1, w2, w3)

	// One that knows better outweighs the quorum.
	w1.knows(tlog.Tree{N: 19})
	got, err = c.Cosign(t.Context(), l.checkpoint(t, 8), l.prove)
	if !errors.As(err, new(*witness.ConflictError)) || errors.Is(err, witness.ErrQuorum) {
		t.Errorf("a conflict with one of three: %v", err)
	}
	cosigned(t, l, got, w2, w3)
}

// TestSlow is a witness that does not answer: it costs Timeout and no more.
func TestSlow(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newLog(t).grow(2, "entry")
		quick, slow := &someone{URL: "http://quick.example.com", signer: cosigner(t, "quick.example.com")}, &someone{URL: "http://slow.example.com", signer: cosigner(t, "slow.example.com")}
		checkpoint := l.checkpoint(t, 2)
		text, _, _ := strings.Cut(string(checkpoint), "\n\n")
		c, err := witness.New(witness.Config{Witnesses: []witness.Witness{quick.witness(), slow.witness()}, Quorum: 1, State: &state{m: map[string]string{}}, Log: slog.New(slog.DiscardHandler),
			HTTP: &http.Client{Transport: transport(func(r *http.Request) (*http.Response, error) {
				if strings.HasPrefix(r.URL.Host, "slow") {
					<-r.Context().Done()
					return nil, r.Context().Err()
				}
				return &http.Response{StatusCode: 200, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(string(cosignature(quick.signer, text+"\n")))), Request: r}, nil
			})}})
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		got, err := c.Cosign(t.Context(), checkpoint, l.prove)
		if took := time.Since(began); err != nil || took != witness.Timeout {
			t.Errorf("%v after %s", err, took)
		}
		cosigned(t, l, got, quick)
	})
}

type transport func(*http.Request) (*http.Response, error)

func (f transport) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestCheck(t *testing.T) {
	t.Parallel()
	key := cosigner(t, "witness.example.com").Verifier().String()
	_, logKey, err := note.GenerateKey(nil, origin)
	if err != nil {
		t.Fatal(err)
	}
	good := witness.Witness{URL: "https://witness.example.com/prefix", Key: key}
	other := witness.Witness{URL: "http://127.0.0.1:7380", Key: cosigner(t, "other.example.com").Verifier().String()}
	if err := errors.Join(witness.Check([]witness.Witness{good, other}, 2), witness.Check([]witness.Witness{good}, 0)); err != nil {
		t.Error(err)
	}
	for _, wrong := range []struct {
		words  string
		quorum int
		list   []witness.Witness
	}{
		{"no witness", 0, nil},
		{"a quorum of 3 among 2", 3, []witness.Witness{good, other}},
		{"a quorum of -1", -1, []witness.Witness{good}},
		{"twice", 0, []witness.Witness{good, {URL: other.URL, Key: key}}},
		{"its address is a URL", 0, []witness.Witness{{URL: "witness.example.com", Key: key}}},
		{"its address is a URL", 0, []witness.Witness{{URL: "https://me:secret@witness.example.com", Key: key}}},
		{"its address is a URL", 0, []witness.Witness{{URL: "ftp://witness.example.com", Key: key}}},
		{"the key of a log", 0, []witness.Witness{{URL: good.URL, Key: logKey}}},
		{"not the verifier key of a witness", 0, []witness.Witness{{URL: good.URL, Key: "x"}}},
		{"not the verifier key of a witness", 0, []witness.Witness{{URL: good.URL, Key: key[:len(key)-4] + "AAA="}}},
	} {
		if err := witness.Check(wrong.list, wrong.quorum); err == nil || !strings.Contains(err.Error(), wrong.words) {
			t.Errorf("%v, want %q", err, wrong.words)
		}
	}
	if _, err := witness.New(witness.Config{Witnesses: []witness.Witness{good}}); err == nil {
		t.Error("a client without a memory")
	}
}
