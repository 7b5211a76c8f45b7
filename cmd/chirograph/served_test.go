package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/service/acmpca"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/google/uuid"
)

// served is a server whose rooms are in reach: a test turns the clock of its
// CAs, changes its records, and looks into its store.
type served struct {
	*instance
	house *house
	admin aws.Credentials
	ahead atomic.Int64 // how far the clock of the CAs is ahead
}

// serveHouse runs a server as serve does, but for its listeners.
func serveHouse(t *testing.T, change func(*serveConfig)) *served {
	t.Helper()
	var lines bytes.Buffer
	s := &served{instance: &instance{log: &lines}}
	cfg := defaultServeConfig()
	cfg.DataDir = filepath.Join(t.TempDir(), "data")
	cfg.AuditMinInterval = 0
	cfg.now = func() time.Time { return time.Now().Add(time.Duration(s.ahead.Load())) }
	if change != nil {
		change(&cfg)
	}
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	h, err := openHouse(ctx, cfg, slog.New(slog.NewTextHandler(&lines, nil)))
	if err != nil {
		stop()
		t.Fatal(err)
	}
	s.house = h
	done := make(chan error, 1)
	go func() { done <- h.run(ctx) }()
	api, buckets := httptest.NewServer(h.api), httptest.NewServer(h.s3)
	h.ready.Store(true)
	t.Cleanup(func() {
		api.Close()
		buckets.Close()
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if err := h.Close(); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			text := lines.String()
			t.Logf("the end of the server's log:\n%s", text[max(0, len(text)-10_000):])
		}
	})
	s.endpoints = endpoints{API: api.URL, S3: buckets.URL, DataDir: h.dataDir}
	if s.Credentials, err = h.writeClientFiles(s.endpoints); err != nil {
		t.Fatal(err)
	}
	s.use(clientConfig(t, h.dataDir))
	s.admin = must(s.aws.Credentials.Retrieve(t.Context()))(t)
	return s
}

// use makes the clients of a configuration.
func (i *instance) use(cfg aws.Config) {
	i.aws = cfg
	i.pca = acmpca.NewFromConfig(cfg)
	i.s3 = s3.NewFromConfig(cfg, func(o *s3.Options) { o.UsePathStyle = true })
	i.sts = sts.NewFromConfig(cfg)
}

// user makes a user with one policy and gives its access key.
func (s *served) user(t *testing.T, id, account, policy string) aws.Credentials {
	t.Helper()
	keyOf{ID: id, Account: account, Policy: policy}.add(t, s.house.db, s.house.keys)
	return aws.Credentials{AccessKeyID: id, SecretAccessKey: id}
}

// pass turns the clock of the CAs on.
func (s *served) pass(d time.Duration) { s.ahead.Add(int64(d)) }

// call is one signed request of an operation, as the wire has it.
type call struct {
	operation string
	body      []byte
	who       aws.Credentials // empty: unsigned
	region    string          // of the signature; empty: us-east-1
	service   string          // empty: acm-pca
	at        time.Duration   // of the signature, from now
	edit      func(*http.Request)
}

type reply struct {
	status        int
	code, message string // of an error
	body          []byte
}

func (s *served) send(t *testing.T, c call) reply {
	t.Helper()
	r := must(http.NewRequestWithContext(t.Context(), "POST", s.API+"/", bytes.NewReader(c.body)))(t)
	r.Header.Set("Content-Type", "application/x-amz-json-1.1")
	r.Header.Set("X-Amz-Target", "ACMPrivateCA."+c.operation)
	if c.who.AccessKeyID != "" {
		region, service := c.region, c.service
		if region == "" {
			region = "us-east-1"
		}
		if service == "" {
			service = "acm-pca"
		}
		sum := sha256.Sum256(c.body)
		if err := v4.NewSigner().SignHTTP(t.Context(), c.who, r, hex.EncodeToString(sum[:]), service, region, time.Now().Add(c.at)); err != nil {
			t.Fatal(err)
		}
	}
	if c.edit != nil {
		c.edit(r)
	}
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatalf("%s: %v", c.operation, err)
	}
	defer res.Body.Close()
	a := reply{status: res.StatusCode, body: must(io.ReadAll(res.Body))(t)}
	if h := res.Header; h.Get("Content-Type") != "application/x-amz-json-1.1" || uuid.Validate(h.Get("X-Amzn-Requestid")) != nil || h.Get("Date") == "" || res.ContentLength != int64(len(a.body)) {
		t.Errorf("%s: the headers %v of %d bytes", c.operation, h, len(a.body))
	}
	if a.status == http.StatusOK {
		return a
	}
	var e struct {
		Type    string `json:"__type"`
		Message string `json:"message"`
	}
	if err := json.Unmarshal(a.body, &e); err != nil || e.Type == "" || e.Message == "" {
		t.Fatalf("%s: %d with the body %q", c.operation, a.status, a.body)
	}
	if got := res.Header.Get("X-Amzn-Errortype"); got != e.Type {
		t.Errorf("%s: x-amzn-ErrorType %q, __type %q", c.operation, got, e.Type)
	}
	a.code, a.message = e.Type, e.Message
	return a
}

// stored is everything that the database holds, by table, but for when keys
// were used last.
func (s *served) stored(t *testing.T) map[string]string {
	t.Helper()
	db := must(sql.Open("sqlite", "file:"+filepath.Join(s.DataDir, "chirograph.db")+"?mode=ro"))(t)
	defer db.Close()
	content := map[string]string{}
	for _, table := range column(t, db, "SELECT name FROM sqlite_master WHERE type = 'table' AND name <> 'access_key'") {
		rows := column(t, db, "SELECT * FROM "+table)
		slices.Sort(rows)
		content[table] = strings.Join(rows, "\n")
	}
	return content
}

// column gives every row of a query as one text.
func column(t *testing.T, db *sql.DB, query string) (list []string) {
	t.Helper()
	rows := must(db.QueryContext(t.Context(), query))(t)
	defer rows.Close()
	names := must(rows.Columns())(t)
	for rows.Next() {
		values := make([]any, len(names))
		targets := make([]any, len(names))
		for i := range values {
			targets[i] = &values[i]
		}
		if err := rows.Scan(targets...); err != nil {
			t.Fatal(err)
		}
		list = append(list, strings.Trim(fmt.Sprint(values), "[]"))
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return list
}

// unchanged fails when the store holds anything else than before.
func (s *served) unchanged(t *testing.T, before map[string]string) {
	t.Helper()
	for table, rows := range s.stored(t) {
		if rows != before[table] {
			t.Errorf("the table %s holds\n%.2000s\nand held\n%.2000s", table, rows, before[table])
		}
	}
}
