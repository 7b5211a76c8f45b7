package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"filippo.io/torchwood"
	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/service/acmpca"
	"github.com/aws/aws-sdk-go-v2/service/acmpca/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
	"golang.org/x/sync/errgroup"

	"chirograph.dev/internal/auditlog"
	"chirograph.dev/internal/certlog"
	"chirograph.dev/internal/proof"
)

// grow appends n issue entries to the log of a CA, without certificates.
func (s *served) grow(t *testing.T, a authority, n int) {
	t.Helper()
	var g errgroup.Group
	g.SetLimit(64)
	for i := range n {
		g.Go(func() error {
			e := certlog.Entry{Type: certlog.TypeIssue, Time: time.Now().UnixMilli(), Serial: fmt.Appendf([]byte{1}, "%08d", i), Subject: []byte("CN=grown")}
			b, err := e.Append(nil)
			if err == nil {
				_, err = s.house.entries.Append(t.Context(), a.id(t), certlog.Record{Entry: b})
			}
			return err
		})
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
}

func (a authority) id(t *testing.T) string {
	t.Helper()
	return must(caID(a.arn))(t)
}

// log signs a request below a log's path and gives the answer.
func (s *served) log(t *testing.T, who aws.Credentials, method, path string, header http.Header) (*http.Response, []byte) {
	t.Helper()
	cfg := s.aws.Copy()
	cfg.Credentials = aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) { return who, nil })
	r := must(http.NewRequestWithContext(t.Context(), method, s.API+path, nil))(t)
	if header != nil {
		r.Header = header
	}
	resp := must(signing{cfg, http.DefaultClient, v4.NewSigner()}.RoundTrip(r))(t)
	defer resp.Body.Close()
	return resp, must(io.ReadAll(resp.Body))(t)
}

// TestLogEndpoints: C2SP's paths, and who may read them.
func TestLogEndpoints(t *testing.T) {
	t.Parallel()
	s := serveHouse(t, func(c *serveConfig) { c.Throttle = "pcaaudit:GetCheckpoint=0.001:20" })
	a := s.root(t)
	s.grow(t, a, 300)
	folder := auditlog.PathPrefix + a.id(t) + "/"
	auditor := s.user(t, "AUDITOR", "123456789012", `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"pcaaudit:Get*","Resource":"`+a.arn+`"},{"Effect":"Deny","Action":"pcaaudit:GetProof","Resource":"*","Condition":{"StringEquals":{"aws:ResourceTag/closed":"yes"}}}]}`)
	stranger := s.user(t, "STRANGER", "210987654321", `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"*","Resource":"*"}}`)
	for _, c := range []struct {
		who            aws.Credentials
		method, path   string
		status         int
		code, contains string
	}{
		{auditor, "GET", folder + "checkpoint", 200, "", "/audit/" + a.id(t) + "\n"},
		{auditor, "HEAD", folder + "checkpoint", 200, "", ""},
		{auditor, "GET", folder + "key", 200, "", "\nendorsement SHA256WITHECDSA "},
		{auditor, "GET", folder + "tile/0/000", 200, "", ""},
		{auditor, "GET", folder + "tile/0/001.p/40", 200, "", ""},
		{auditor, "GET", folder + "tile/1/000.p/1", 200, "", ""},
		{auditor, "GET", folder + "tile/entries/000", 200, "", "CN=grown"},
		{auditor, "GET", folder + "tile/entries/001.p/3", 200, "", "CN=grown"},
		{auditor, "GET", folder + "proof?index=7", 200, "", "c2sp.org/tlog-proof@v1\nextra "},

		{auditor, "GET", folder + "tile/0/001", 404, "ResourceNotFoundException", "entries"},
		{auditor, "GET", folder + "tile/0/001.p/255", 404, "ResourceNotFoundException", ""},
		{auditor, "GET", folder + "tile/1/000.p/2", 404, "ResourceNotFoundException", ""},
		{auditor, "GET", folder + "tile/60/000.p/1", 404, "ResourceNotFoundException", ""},
		{auditor, "GET", folder + "tile/entries/x072/x057/x594/x037/x927/936", 404, "ResourceNotFoundException", ""}, // times 256 is 0 in 64 bits
		{auditor, "GET", folder + "tile/0/1", 404, "UnknownOperationException", ""},
		{auditor, "GET", folder + "tile/entries/000.p/256", 404, "UnknownOperationException", ""},
		{auditor, "GET", folder + "tile/8/0/000", 404, "UnknownOperationException", ""},
		{auditor, "GET", folder, 404, "UnknownOperationException", "checkpoint, key, proof"},
		{auditor, "GET", auditlog.PathPrefix + strings.ToUpper(a.id(t)) + "/checkpoint", 404, "UnknownOperationException", ""},
		{auditor, "POST", folder + "checkpoint", 404, "UnknownOperationException", ""},
		{auditor, "GET", folder + "proof?index=100000", 404, "ResourceNotFoundException", "no entry 100000"},
		{auditor, "GET", folder + "proof?serial=1234", 404, "ResourceNotFoundException", "serial number 1234"},
		{auditor, "GET", folder + "proof?serial=xy", 400, "ValidationException", ""},
		{auditor, "GET", folder + "proof?index=-1", 400, "ValidationException", ""},
		{auditor, "GET", folder + "proof?index=1&serial=1234", 400, "ValidationException", ""},
		{auditor, "GET", folder + "proof", 400, "ValidationException", ""},

		{auditor, "POST", folder + "rotate-key", 403, "AccessDeniedException", "pcaaudit:RotateKey on resource: " + a.arn},
		{auditor, "GET", auditlog.PathPrefix + "11223344-1234-1122-2233-112233445566/checkpoint", 403, "AccessDeniedException", ""},
		// A CA of another account is one that there is not.
		{stranger, "GET", folder + "checkpoint", 404, "ResourceNotFoundException", "210987654321"},
		{stranger, "GET", auditlog.PathPrefix + "11223344-1234-1122-2233-112233445566/checkpoint", 404, "ResourceNotFoundException", "210987654321"},
	} {
		resp, body := s.log(t, c.who, c.method, c.path, nil)
		if resp.StatusCode != c.status || resp.Header.Get("X-Amzn-Errortype") != c.code || !strings.Contains(string(body), c.contains) || resp.Header.Get("X-Amzn-Requestid") == "" {
			t.Errorf("%s %s: %d %v\n%.300s", c.method, c.path, resp.StatusCode, resp.Header, body)
		}
		immutable := strings.HasSuffix(c.path, "/000") && c.status == 200
		if strings.Contains(resp.Header.Get("Cache-Control"), "immutable") != immutable {
			t.Errorf("%s: Cache-Control %q", c.path, resp.Header.Get("Cache-Control"))
		}
		if (resp.Header.Get("Content-Type") == "application/x-amz-json-1.1") != (c.status != 200) {
			t.Errorf("%s: Content-Type %q", c.path, resp.Header.Get("Content-Type"))
		}
	}
	// Entries are packed for those who ask, hashes never.
	for path, packed := range map[string]bool{"tile/entries/000": true, "tile/0/000": false} {
		_, plain := s.log(t, auditor, "GET", folder+path, http.Header{"Accept-Encoding": {"identity"}})
		resp, body := s.log(t, auditor, "GET", folder+path, http.Header{"Accept-Encoding": {"br, gzip;q=0.5"}})
		if (resp.Header.Get("Content-Encoding") == "gzip") != packed {
			t.Errorf("%s: %v", path, resp.Header)
		}
		if packed {
			body = must(io.ReadAll(must(gzip.NewReader(bytes.NewReader(body)))(t)))(t)
		}
		if !bytes.Equal(body, plain) {
			t.Errorf("%s: packed it has other bytes", path)
		}
	}
	// Tags of the CA count.
	must(a.pca.TagCertificateAuthority(t.Context(), &acmpca.TagCertificateAuthorityInput{CertificateAuthorityArn: &a.arn, Tags: []types.Tag{{Key: aws.String("closed"), Value: aws.String("yes")}}}))(t)
	if resp, body := s.log(t, auditor, "GET", folder+"tile/0/000", nil); resp.StatusCode != 403 || !strings.Contains(string(body), "explicit deny") {
		t.Errorf("a denied tag: %d %s", resp.StatusCode, body)
	}
	// Rates count as those of operations do.
	status := 0
	for range 21 {
		resp, _ := s.log(t, auditor, "GET", folder+"checkpoint", nil)
		status = resp.StatusCode
	}
	if status != http.StatusTooManyRequests {
		t.Errorf("over the rate: status %d", status)
	}
	if n := s.metric(t, `pca_api_requests_total{code="AccessDeniedException",operation="pcaaudit:GetProof"}`); n != "1" {
		t.Errorf("the metrics count %q refused proofs", n)
	}
}

// tree reads the files of a folder.
func tree(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	if err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		files[strings.TrimPrefix(path, dir)] = string(b)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return files
}

func sameTrees(t *testing.T, got, want string) {
	t.Helper()
	a, b := tree(t, got), tree(t, want)
	for name := range b {
		if a[name] != b[name] {
			t.Errorf("%s: %s differs from that of %s", got, name, want)
		}
	}
	for name := range a {
		if _, ok := b[name]; !ok {
			t.Errorf("%s has %s", got, name)
		}
	}
}

// TestLogCommands reads a log in every way, and has torchwood, which is not
// ours, check what comes out.
func TestLogCommands(t *testing.T) {
	t.Parallel()
	s := serveHouse(t, nil)
	c := commands{t, s.DataDir}
	a := s.root(t)
	arn := must(a.issue(t.Context(), newCSR(t, newKey(t), "leaf.example.com"), nil))(t)
	leaf, _ := a.get(t, arn)
	if err := a.revoke(t, serialOf(arn), types.RevocationReasonKeyCompromise); err != nil {
		t.Fatal(err)
	}
	s.grow(t, a, 250) // the first tile is not full yet
	dir := t.TempDir()
	file := func(name string) string { return filepath.Join(dir, name) }
	type head struct {
		Origin, Root, Key, Checkpoint string
		Size                          uint64
		Endorsed                      bool
	}
	var first, second head
	c.json(&first, "log", "checkpoint", "--ca", a.arn, "--out", file("first"))
	policy := must(logPolicy(first.Key))(t)
	if cp, _, err := torchwood.VerifyCheckpoint([]byte(first.Checkpoint), policy); err != nil || uint64(cp.N) != first.Size || !first.Endorsed {
		t.Fatalf("%+v: %v", first, err)
	}
	if text := string(must(os.ReadFile(file("first")))(t)); text != first.Checkpoint {
		t.Errorf("kept %q", text)
	}
	c.ok("log", "export", "--ca", a.arn, "--to", file("tiles"))
	c.ok("log", "export", "--ca", a.arn, "--to", file("packs"), "--packs")
	s.grow(t, a, 400)
	// A proof of the last entry needs a head that has it.
	c.ok("log", "prove", "--ca", a.arn, "--index", fmt.Sprint(first.Size+399))
	c.json(&second, "log", "checkpoint", "--ca", a.arn, "--out", file("second"), "--log-key", first.Key)
	if second.Size <= first.Size || second.Origin != first.Origin {
		t.Errorf("from %+v to %+v", first, second)
	}

	// Proofs, by each way to name the entry.
	if err := os.WriteFile(file("leaf.pem"), []byte(leaf), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, which := range [][]string{{"--serial", serialOf(arn)}, {"--cert", file("leaf.pem")}} {
		var p struct {
			Proof string
			Entry shownEntry
		}
		c.json(&p, append([]string{"log", "prove", "--ca", a.arn, "--out", file("proof")}, which...)...)
		text := must(os.ReadFile(file("proof")))(t)
		entry := must(torchwood.ProofExtraData(text))(t)
		if err := torchwood.VerifyProof(policy, tlog.RecordHash(entry), text); err != nil || string(text) != p.Proof {
			t.Errorf("%q: %v", text, err)
		}
		if p.Entry.Serial != serialOf(arn) || p.Entry.Type != "issue" || p.Entry.Template == "" {
			t.Errorf("%+v", p.Entry)
		}
	}
	if out := c.ok("log", "prove", "--ca", a.arn, "--index", "0"); !strings.HasPrefix(out, "c2sp.org/tlog-proof@v1\nextra ") || !strings.Contains(out, "\nindex 0\n") {
		t.Error(out)
	}
	c.fails(exitFailure, "no certificate with the serial number", "log", "prove", "--ca", a.arn, "--serial", "12:34")
	c.fails(exitFailure, "not the one that --log-key names", "log", "prove", "--ca", a.arn, "--index", "0", "--log-key", "other+12345678+AXXX")
	c.fails(exitUsage, "one of --serial, --cert and --index", "log", "prove", "--ca", a.arn)

	// Exports: what grew, what was written anew, and what came from packs are
	// the same files.
	if out := c.ok("log", "export", "--ca", a.arn, "--to", file("tiles")); !strings.Contains(out, ", 400 of them new") {
		t.Error(out)
	}
	if out := c.ok("log", "export", "--ca", a.arn, "--to", file("packs"), "--packs"); !strings.Contains(out, ", 400 of them new") {
		t.Error(out)
	}
	c.ok("log", "export", "--ca", a.arn, "--to", file("anew"))
	c.ok("log", "export", "--log", file("packs"), "--to", file("converted"), "--tiles")
	c.ok("log", "export", "--log", file("tiles"), "--to", file("back"), "--packs")
	sameTrees(t, file("anew"), file("tiles"))
	sameTrees(t, file("converted"), file("tiles"))
	// Without a checkpoint an export is not complete: it goes on with what is there.
	if err := os.Remove(filepath.Join(file("anew"), proof.CheckpointName)); err != nil {
		t.Fatal(err)
	}
	c.ok("log", "export", "--ca", a.arn, "--to", file("anew"))
	sameTrees(t, file("anew"), file("tiles"))
	if back, packs := must(proof.OpenPacks(os.DirFS(file("back"))))(t), must(proof.OpenPacks(os.DirFS(file("packs"))))(t); back.End() != second.Size || packs.End() != second.Size {
		t.Errorf("%d and %d entries in packs of %d", back.End(), packs.End(), second.Size)
	}

	// torchwood reads every entry, from the server and from the folder.
	known := must(openHead([]byte(second.Checkpoint), second.Key))(t)
	remote := must(newRemoteLog(s.aws, a.id(t), ""))(t)
	fetcher := must(torchwood.NewTileFetcher(remote.base, torchwood.WithHTTPClient(remote.http), torchwood.WithConcurrencyLimit(4)))(t)
	for name, tiles := range map[string]torchwood.TileReader{"the server": fetcher, "the folder": must(torchwood.NewTileFS(os.DirFS(file("tiles"))))(t)} {
		client := must(torchwood.NewClient(tiles))(t)
		n := uint64(0)
		for index := range client.AllEntries(t.Context(), known.tree(), 0) {
			if uint64(index) != n {
				t.Fatalf("entry %d after %d", index, n)
			}
			n++
		}
		if err := client.Err(); err != nil || n != second.Size {
			t.Errorf("torchwood read %d of %d entries from %s: %v", n, second.Size, name, err)
		}
	}

	// Entries in words.
	shown := c.ok("log", "show", "--ca", a.arn)
	for _, where := range []string{"tiles", "packs"} {
		if got := c.ok("log", "show", "--log", file(where)); got != shown {
			t.Errorf("the %s show other entries than the server", where)
		}
	}
	lines := strings.Split(strings.TrimSpace(shown), "\n")
	var genesis shownEntry
	if err := json.Unmarshal([]byte(lines[0]), &genesis); err != nil || genesis.Type != "genesis" || genesis.Label != first.Origin || uint64(len(lines)) != second.Size {
		t.Errorf("%d lines, the first is %s", len(lines), lines[0])
	}
	if !strings.Contains(shown, `"type":"revoke"`) || !strings.Contains(shown, `"reason":"KEY_COMPROMISE"`) {
		t.Error("no revocation is shown")
	}
	if out := c.ok("log", "show", "--ca", a.arn, "--from", "300", "--to", "302"); out != lines[300]+"\n"+lines[301]+"\n" {
		t.Error(out)
	}

	// One history, and two.
	c.ok("log", "compare", file("second"), file("first"), "--ca", a.arn)
	c.ok("log", "compare", file("first"), file("second"), "--log", file("packs"))
	c.ok("log", "compare", file("first"), file("second"), "--log", file("tiles"))
	c.ok("log", "compare", file("first"), file("first"), "--log-key", first.Key)
	c.fails(exitUsage, "no key is at hand", "log", "compare", file("first"), file("first"))
	c.fails(exitUsage, "give the log with --log DIR", "log", "compare", file("first"), file("second"), "--log-key", first.Key)
	other := s.otherHead(t, a, first.Size)
	if err := os.WriteFile(file("other"), other, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{file("first"), "--log-key", first.Key}, {file("second"), "--log", file("packs")}, {file("second"), "--ca", a.arn}} {
		c.fails(exitFailure, "split view", append([]string{"log", "compare", file("other")}, args...)...)
	}

	// A tile that was changed: the export does not go on from it.
	tile := filepath.Join(file("tiles"), "tile", "0", "002.p")
	names := must(os.ReadDir(tile))(t)
	if len(names) != 1 {
		t.Fatalf("partial tiles of earlier sizes stay: %v", names)
	}
	tile = filepath.Join(tile, names[0].Name())
	b := must(os.ReadFile(tile))(t)
	b[3] ^= 1
	if err := os.WriteFile(tile, b, 0o600); err != nil {
		t.Fatal(err)
	}
	c.fails(exitFailure, errTile.Error(), "log", "export", "--ca", a.arn, "--to", file("tiles"))
}

// TestLogBesideReports: manifests are of one history, and the packs beside them
// make the same tiles as the server.
func TestLogBesideReports(t *testing.T) {
	t.Parallel()
	s := serveHouse(t, nil)
	c := commands{t, s.DataDir}
	a := s.root(t)
	bucket := s.bucket(t, "audit-reports", true)
	dir := t.TempDir()
	file := func(name string) string { return filepath.Join(dir, name) }
	for _, name := range []string{"a", "b"} {
		s.grow(t, a, 20)
		key, _ := a.report(t, bucket, types.AuditReportResponseFormatJson)
		s.fetch(t, bucket, key+proof.ManifestSuffix, file(name))
	}
	if out := c.ok("log", "compare", file("b"), file("a")); !strings.Contains(out, "one history") {
		t.Error(out)
	}
	prefix := proof.LogFolder(a.id(t), 1) + "/"
	list := must(s.s3.ListObjectsV2(t.Context(), &s3.ListObjectsV2Input{Bucket: &bucket, Prefix: &prefix}))(t)
	for _, o := range list.Contents {
		s.fetch(t, bucket, *o.Key, filepath.Join(file("log"), filepath.FromSlash(strings.TrimPrefix(*o.Key, prefix))))
	}
	c.ok("log", "export", "--log", file("log"), "--to", file("tiles"))
	c.ok("log", "export", "--ca", a.arn, "--to", file("served"))
	sameTrees(t, file("tiles"), file("served"))

	// A key that was changed: heads of both keys are of one history.
	c.ok("log", "checkpoint", "--ca", a.arn, "--out", file("before"))
	key := strings.TrimSpace(c.ok("log", "rotate-key", "--ca", a.arn))
	c.ok("log", "checkpoint", "--ca", a.arn, "--out", file("after"), "--log-key", key)
	c.fails(exitFailure, "not the one that --log-key names", "log", "checkpoint", "--ca", a.arn, "--log-key", key+"A")
	c.ok("log", "export", "--ca", a.arn, "--to", file("served"))
	c.ok("log", "compare", file("before"), file("after"), "--log", file("served"))
	c.ok("log", "compare", file("a"), file("after"), "--ca", a.arn)
}

// fetch downloads an object.
func (s *served) fetch(t *testing.T, bucket, key, file string) {
	t.Helper()
	o := must(s.s3.GetObject(t.Context(), &s3.GetObjectInput{Bucket: &bucket, Key: &key}))(t)
	defer o.Body.Close()
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, must(io.ReadAll(o.Body))(t), 0o600); err != nil {
		t.Fatal(err)
	}
}

// otherHead is a head of another tree that the log's own key signed.
func (s *served) otherHead(t *testing.T, a authority, size uint64) []byte {
	t.Helper()
	key := must(must(newRemoteLog(s.aws, a.id(t), ""))(t).logKey(t.Context()))(t)
	signer := logSigner{must(note.NewVerifier(key.text))(t), must(s.house.keys.Signer(t.Context(), a.id(t)+"-audit"))(t)}
	return must(proof.SignCheckpoint(signer, size, tlog.Hash{1}))(t)
}

// logSigner signs notes as a log.
type logSigner struct {
	note.Verifier
	key crypto.Signer
}

func (s logSigner) Sign(msg []byte) ([]byte, error) { return s.key.Sign(nil, msg, crypto.Hash(0)) }

// TestTreeWriter compares roots and the way back from files with the library.
func TestTreeWriter(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	var hashes []tlog.Hash
	reader := tlog.HashReaderFunc(func(indexes []int64) (list []tlog.Hash, err error) {
		for _, i := range indexes {
			list = append(list, hashes[i])
		}
		return list, nil
	})
	w := &treeWriter{dir: dir}
	for n := int64(0); n < 65_900; n++ {
		if n%4099 == 0 || n > 65_530 && n < 65_540 || n < 4 {
			if got, want := w.treeHash(), must(tlog.TreeHash(n, reader))(t); n > 0 && got != want {
				t.Fatalf("the root of %d entries is %v, want %v", n, got, want)
			}
		}
		if n == 65_537 || n == 512 || n == 700 { // goes on from what was kept
			if err := w.finish(); err != nil {
				t.Fatal(err)
			}
			before := &signedHead{size: w.size, root: w.treeHash()}
			w = &treeWriter{dir: dir}
			if err := w.resume(before); err != nil {
				t.Fatal(err)
			}
		}
		entry := fmt.Appendf(nil, "entry %d", n)
		if err := w.add(entry); err != nil {
			t.Fatal(err)
		}
		hashes = append(hashes, must(tlog.StoredHashes(n, entry, reader))(t)...)
	}
}
