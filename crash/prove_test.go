package crash

import (
	"bytes"
	"io"
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"chirograph.dev/internal/proof"
)

// prove verifies a report by what lies beside it, and against the report of
// the round before.
func (w *world) prove(t *testing.T, s *server, key string, log fs.FS) {
	t.Helper()
	report := readObject(t, s, key)
	cfg := proof.VerifyConfig{Report: bytes.NewReader(report), ReportSize: int64(len(report)), Manifest: readObject(t, s, key+proof.ManifestSuffix), Log: log}
	want := []string{proof.Integrity, proof.Completeness}
	if w.known != nil {
		known, err := proof.ParseKnown(w.known, "the report of the round before")
		if err != nil {
			t.Fatal(err)
		}
		cfg.Known, want = known, append(want, proof.Consistency)
	}
	r, err := proof.Verify(t.Context(), cfg)
	if err != nil {
		t.Fatalf("%s: %v", key, err)
	}
	for _, name := range want {
		if v := r.Verdict(name); v.Status != proof.Pass || r.ExitCode() == 1 {
			t.Errorf("%s does not prove itself: %+v", key, r.Verdicts)
		}
	}
	w.proven++
}

// readLog reads the packs beside the reports under a prefix: of those with one
// beginning the longest, which has what the others have.
func readLog(t *testing.T, s *server, prefix string) fs.FS {
	t.Helper()
	prefix += "log/"
	longest := map[uint64]string{}
	pages := s3.NewListObjectsV2Paginator(s.S3, &s3.ListObjectsV2Input{Bucket: aws.String(bucketName), Prefix: aws.String(prefix + proof.EntriesFolder + "/")})
	for pages.HasMorePages() {
		page, err := pages.NextPage(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, o := range page.Contents { // in the order of their ends
			name := strings.TrimPrefix(*o.Key, prefix)
			if lo, _, ok := proof.ParsePackName(strings.TrimPrefix(name, proof.EntriesFolder+"/")); ok {
				longest[lo] = name
			}
		}
	}
	log := fstest.MapFS{}
	for _, name := range longest {
		log[name] = &fstest.MapFile{Data: readObject(t, s, prefix+name)}
	}
	return log
}

func readObject(t *testing.T, s *server, key string) []byte {
	t.Helper()
	out, err := s.S3.GetObject(t.Context(), &s3.GetObjectInput{Bucket: aws.String(bucketName), Key: &key})
	if err != nil {
		t.Fatalf("reading %s: %v", key, err)
	}
	defer out.Body.Close()
	b, err := io.ReadAll(out.Body)
	if err != nil {
		t.Fatalf("reading %s: %v", key, err)
	}
	return b
}
