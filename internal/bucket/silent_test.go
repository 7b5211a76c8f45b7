package bucket_test

import (
	"context"
	"crypto/sha256"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"chirograph.dev/internal/bucket"
)

type silent struct{}

func (silent) RoundTrip(r *http.Request) (*http.Response, error) {
	<-r.Context().Done()
	return nil, r.Context().Err()
}

// TestSilentService: who has ten seconds for a write is not kept for another
// minute to look behind it.
func TestSilentService(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, err := bucket.New(bucket.Config{Transport: silent{}, Authorization: bucket.AuthorizeCredentials})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		began := time.Now()
		_, err = c.Put(ctx, bucket.Object{Bucket: "anchors", Key: "k", Account: "123456789012"}, []byte("x"), sha256.Sum256([]byte("x")))
		if took := time.Since(began); err == nil || took > 20*time.Second {
			t.Errorf("%v after %s", err, took)
		}
	})
}
