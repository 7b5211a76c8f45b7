// Package storetest is the one suite that every engine of the store passes.
package storetest

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"chirograph.dev/internal/certlog"
	"chirograph.dev/internal/pca"
	"chirograph.dev/internal/store"
)

// Engine is all that an engine must do; each consumer asks for its part only.
type Engine interface {
	certlog.Store
	certlog.Sealer
	Authorities
	Overview
	Certificates
	CRLs
	Revoked
	FailedIssuances
	Reports
	Parts
	Segments
	AuditKeys
	Settings
	Identities
	IdentityLists
	Policies
	Providers
	AccessKeys
	Accounts
	Lifetime
}

// Authorities keeps CAs.
type Authorities interface {
	CreateCA(ctx context.Context, ca *store.CertificateAuthority, token *store.Token) error
	UpdateCA(ctx context.Context, ca *store.CertificateAuthority) error
	InstallCertificate(ctx context.Context, ca *store.CertificateAuthority, cert *store.InstalledCertificate) error
	CA(ctx context.Context, id string) (*store.CertificateAuthority, error)
	CAs(ctx context.Context, account string, afterCreated time.Time, afterID string, limit int) ([]*store.CertificateAuthority, error)
	InstalledCertificate(ctx context.Context, ca string, generation int64) (*store.InstalledCertificate, error)
}

// Overview looks over all CAs.
type Overview interface {
	SharedCAs(ctx context.Context, account string, afterCreated time.Time, afterID string, limit int) ([]*store.CertificateAuthority, error)
	CountCAs(ctx context.Context, account string, now time.Time) (int64, error)
	CountCertificates(ctx context.Context, ca string) (int64, error)
	LogSizes(ctx context.Context) (map[string]uint64, error)
}

// Certificates reads what the log's transactions stored.
type Certificates interface {
	Certificate(ctx context.Context, ca string, serial []byte) (*store.Certificate, error)
	CertificateStatus(ctx context.Context, ca string, serial []byte) (*store.Certificate, *store.Revocation, error)
	SerialRange(ctx context.Context, ca string, lo, hi []byte, limit int) ([]uint64, error)
	Revocations(ctx context.Context, ca string, lo, hi, before uint64, yield func(store.Revocation) error) error
	Token(ctx context.Context, key string, now time.Time) (string, error)
}

// FailedIssuances keeps why issuances failed after their ARN was answered.
type FailedIssuances interface {
	PutFailedIssuance(ctx context.Context, ca string, serial []byte, reason string, token *store.Token) error
	FailedIssuance(ctx context.Context, ca string, serial []byte) (string, error)
}

// Reports keeps the records of audit reports.
type Reports interface {
	Report(ctx context.Context, ca, id string) (*store.AuditReport, error)
	LastReport(ctx context.Context, ca string) (*store.AuditReport, error)
	PreviousReport(ctx context.Context, ca string, size uint64) (*store.AuditReport, error)
	Reports(ctx context.Context, ca string, before uint64, limit int) ([]*store.AuditReport, error)
	UnfinishedReports(ctx context.Context) ([]*store.AuditReport, error)
	UpdateReport(ctx context.Context, r *store.AuditReport) error
}

// Parts keeps what of a report is uploaded.
type Parts interface {
	PutUploadedParts(ctx context.Context, parts []store.UploadedPart) error
	UploadedParts(ctx context.Context, report string) ([]store.UploadedPart, error)
	DeleteUploadedParts(ctx context.Context, report string) error
}

// Segments keeps what of reports is kept for the next ones.
type Segments interface {
	SegmentSets(ctx context.Context) ([]store.SegmentSet, error)
	Segments(ctx context.Context, ca string, format pca.AuditReportResponseFormat) (store.SegmentSet, []store.Segment, error)
	MoveSegments(ctx context.Context, from, to store.SegmentSet, stale []uint64) error
	PutSegments(ctx context.Context, set store.SegmentSet, segments []store.Segment) error
}

// AuditKeys reads what a proof needs beside the log.
type AuditKeys interface {
	AuditKeys(ctx context.Context, ca string) ([]store.AuditKey, error)
	LogPack(ctx context.Context, ca string, block uint64) (frame []byte, err error)
}

// Identities keeps users and roles.
type Identities interface {
	CreateIdentity(ctx context.Context, i *store.Identity) error
	UpdateIdentity(ctx context.Context, i *store.Identity) error
	DeleteIdentity(ctx context.Context, i *store.Identity) error
	Identity(ctx context.Context, account, kind, name string) (*store.Identity, error)
	IdentityByID(ctx context.Context, id string) (*store.Identity, error)
}

// IdentityLists finds users and roles, and keeps when they were used.
type IdentityLists interface {
	Identities(ctx context.Context, account, kind, after string, limit int) ([]*store.Identity, error)
	IdentitiesWith(ctx context.Context, account, policy string) ([]*store.Identity, error)
	PutUses(ctx context.Context, uses []store.Use) error
}

// Policies keeps the managed policies of accounts.
type Policies interface {
	CreatePolicy(ctx context.Context, p *store.ManagedPolicy) error
	UpdatePolicy(ctx context.Context, p *store.ManagedPolicy) error
	DeletePolicy(ctx context.Context, p *store.ManagedPolicy) error
	Policy(ctx context.Context, arn string) (*store.ManagedPolicy, error)
	Policies(ctx context.Context, account, after string, limit int) ([]*store.ManagedPolicy, error)
}

// Providers keeps OIDC providers.
type Providers interface {
	CreateProvider(ctx context.Context, p *store.OIDCProvider) error
	UpdateProvider(ctx context.Context, p *store.OIDCProvider) error
	DeleteProvider(ctx context.Context, arn string) error
	Provider(ctx context.Context, arn string) (*store.OIDCProvider, error)
	Providers(ctx context.Context, account string) ([]*store.OIDCProvider, error)
}

// AccessKeys keeps long-lived credentials.
type AccessKeys interface {
	CreateAccessKey(ctx context.Context, k *store.AccessKey, limit int) error
	SetAccessKeyActive(ctx context.Context, id string, active bool) error
	DeleteAccessKey(ctx context.Context, id string) error
	AccessKey(ctx context.Context, id string) (*store.AccessKey, error)
	AccessKeys(ctx context.Context, user string) ([]*store.AccessKey, error)
}

// Accounts keeps the accounts.
type Accounts interface {
	CreateAccount(ctx context.Context, a *store.Account, request *store.AccountRequest) error
	UpdateAccount(ctx context.Context, a *store.Account) error
	Accounts(ctx context.Context) ([]*store.Account, error)
	PutAccountRequest(ctx context.Context, request *store.AccountRequest) error
	AccountRequests(ctx context.Context) ([]*store.AccountRequest, error)
}

// Settings keeps settings.
type Settings interface {
	Setting(ctx context.Context, name string) (string, error)
	PutSetting(ctx context.Context, name, value string) error
}

// Lifetime ends an engine, and begins a new one on the same store.
type Lifetime interface {
	Close() error
	Reopen(t *testing.T) Engine
}

// Run runs the suite. open opens an engine on a new, empty store, which is
// closed and removed when t ends.
func Run(t *testing.T, open func(t *testing.T) Engine) {
	for name, test := range map[string]func(*testing.T, Engine){
		"authorities":          testAuthorities,
		"authority list":       testAuthorityList,
		"install":              testInstall,
		"tokens":               testTokens,
		"failed issuances":     testFailedIssuances,
		"reports":              testReports,
		"report slot":          testReportSlot,
		"report slot race":     testReportSlotRace,
		"parts":                testParts,
		"segments":             testSegments,
		"audit keys":           testAuditKeys,
		"settings":             testSettings,
		"identities":           testIdentities,
		"identity lists":       testIdentityLists,
		"identity races":       testIdentityRaces,
		"managed policies":     testPolicies,
		"OIDC providers":       testProviders,
		"access keys":          testAccessKeys,
		"accounts":             testAccounts,
		"empty log":            testEmptyLog,
		"commit":               testCommit,
		"moved head":           testMovedHead,
		"row errors":           testRowErrors,
		"all row errors":       testAllRowErrors,
		"certificates":         testCertificates,
		"revocations":          testRevocations,
		"many revocations":     testManyRevocations,
		"CRLs":                 testCRLs,
		"bound CRLs":           testBoundCRLs,
		"responders":           testResponders,
		"concurrent appends":   testConcurrentAppends,
		"several logs":         testSeveralLogs,
		"sealing":              testSealing,
		"sealing under load":   testSealingUnderLoad,
		"sealing after crash":  testSealingLeftovers,
		"restart":              testRestart,
		"ended context":        testEndedContext,
		"sealing too early":    testSealTooEarly,
		"concurrent lifecycle": testConcurrentUpdates,
	} {
		t.Run(strings.ReplaceAll(name, " ", "-"), func(t *testing.T) {
			t.Parallel()
			test(t, open(t))
		})
	}
}

// caID is the UUID of a test's nth CA.
func caID(n int) string { return fmt.Sprintf("%08d-1111-4111-8111-111111111111", n) }

// Issue makes the record of one issued certificate: an entry of 236 bytes and
// a DER of 900, mostly alike from one to the next, as real ones are. rnd sets
// serial, key, signature and digest.
func Issue(ca string, rnd *rand.Rand, now int64) certlog.Record {
	return IssueSerial(ca, rnd, now, Serial(rnd, now))
}

// Serial makes a serial as the product does: 48 bits of time, 80 random ones.
func Serial(rnd *rand.Rand, now int64) []byte {
	s := binary.BigEndian.AppendUint64(nil, uint64(now)<<16|rnd.Uint64()&0xffff)
	s = binary.BigEndian.AppendUint64(s, rnd.Uint64())
	s[0] |= 1
	return s
}

// IssueSerial is Issue with a given serial.
func IssueSerial(ca string, rnd *rand.Rand, now int64, serial []byte) certlog.Record {
	der := make([]byte, 900)
	for i := range der {
		der[i] = byte(i * 7)
	}
	for _, at := range []int{100, 400, 408, 416, 424, 432, 440, 448, 456, 820, 828, 836, 844, 852, 860, 868, 876} {
		binary.BigEndian.PutUint64(der[at:], rnd.Uint64())
	}
	e := certlog.Entry{
		Type: certlog.TypeIssue, Time: now, Serial: serial, NotBefore: now / 1000, NotAfter: now/1000 + 86400*90,
		Account: []byte("123456789012"), Principal: []byte("arn:aws:iam::123456789012:user/admin"),
		TemplateARN: []byte("arn:aws:acm-pca:::template/EndEntityCertificate/V1"),
		Subject:     fmt.Appendf(nil, "CN=device-%012x.example.com,O=Example", rnd.Uint64()&(1<<48-1)),
	}
	for i := 0; i < len(e.CertSHA256); i += 8 {
		binary.BigEndian.PutUint64(e.CertSHA256[i:], rnd.Uint64())
	}
	b, err := e.Append(make([]byte, 0, 256))
	if err != nil {
		panic(err)
	}
	return certlog.Record{Entry: b, Rows: []certlog.Row{&store.Certificate{
		CA: ca, Serial: serial, Generation: 1, NotAfter: time.Unix(e.NotAfter, 0).UTC(), DER: der,
	}}}
}

// Revoke makes the record of the revocation of an issued certificate.
func Revoke(ca string, serial []byte, index uint64, now int64) certlog.Record {
	e := certlog.Entry{Type: certlog.TypeRevoke, Time: now, Serial: serial, IssueIndex: index, Reason: 4}
	b, err := e.Append(nil)
	if err != nil {
		panic(err)
	}
	return certlog.Record{Entry: b, Rows: []certlog.Row{&store.Revocation{CA: ca, IssueIndex: index, Time: now, Reason: 4, Serial: serial, NotAfter: time.Unix(now/1000+86400*90, 0).UTC()}}}
}

func random(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, seed)) }

const now = 1_790_000_000_000

// certificate is the row of a record that Issue made.
func certificate(r certlog.Record) *store.Certificate { return r.Rows[0].(*store.Certificate) }

// commit appends records to a log as it is.
func commit(t *testing.T, e certlog.Store, ca string, records ...certlog.Record) certlog.Head {
	t.Helper()
	b := batch(t, e, ca, records...)
	if err := e.CommitLog(t.Context(), []certlog.Batch{b}); err != nil {
		t.Fatal(err)
	}
	return b.To
}

func batch(t *testing.T, e certlog.Store, ca string, records ...certlog.Record) certlog.Batch {
	t.Helper()
	from, err := e.LogHead(t.Context(), ca)
	if err != nil {
		t.Fatal(err)
	}
	return extend(t, ca, from, records...)
}

func extend(t *testing.T, ca string, from certlog.Head, records ...certlog.Record) certlog.Batch {
	t.Helper()
	entries := make([][]byte, len(records))
	for i := range records {
		entries[i] = records[i].Entry
	}
	to, nodes, err := from.Extend(entries)
	if err != nil {
		t.Fatal(err)
	}
	return certlog.Batch{CA: ca, From: from, To: to, Records: records, Nodes: nodes}
}

// fill appends n issued certificates in large commits, and gives their
// records.
func fill(t *testing.T, e certlog.Store, ca string, n int, rnd *rand.Rand) []certlog.Record {
	t.Helper()
	all := make([]certlog.Record, 0, n)
	for len(all) < n {
		var records []certlog.Record
		for range min(1000, n-len(all)) {
			records = append(records, Issue(ca, rnd, now+int64(len(all)+len(records))))
		}
		commit(t, e, ca, records...)
		all = append(all, records...)
	}
	return all
}

// Verify checks a log against itself: the head against the entries and the
// nodes, and the certificates against the entries. It gives the head.
func Verify(t *testing.T, e Engine, ca string) certlog.Head {
	t.Helper()
	head, err := e.LogHead(t.Context(), ca)
	if err != nil {
		t.Fatal(err)
	}
	if err := head.Check(&certlog.Head{}); err != nil {
		t.Fatal(err)
	}
	var again certlog.Head
	next := uint64(0)
	serials := map[string]bool{}
	var nodes []certlog.Node
	var group [][]byte
	extend := func() error {
		to, n, err := again.Extend(group)
		again, nodes, group = to, append(nodes, n...), group[:0]
		return err
	}
	err = e.LogEntries(t.Context(), ca, 0, head.Size, func(i uint64, b []byte) error {
		if i != next {
			return fmt.Errorf("entry %d comes where %d should", i, next)
		}
		next++
		if group = append(group, bytes.Clone(b)); len(group) == 1024 || next == head.Size {
			if err := extend(); err != nil {
				return err
			}
		}
		var entry certlog.Entry
		if err := entry.Decode(b); err != nil {
			return err
		}
		if entry.Type != certlog.TypeIssue {
			return nil
		}
		if serials[string(entry.Serial)] {
			return fmt.Errorf("serial %x twice", entry.Serial)
		}
		serials[string(entry.Serial)] = true
		if i%509 != 0 && i+100 < head.Size {
			return nil
		}
		c, err := e.Certificate(t.Context(), ca, entry.Serial)
		if err != nil {
			return err
		}
		if c.Index != i || len(c.DER) == 0 {
			return fmt.Errorf("certificate of entry %d: %+v", i, c)
		}
		return nil
	})
	if err != nil || next != head.Size {
		t.Fatalf("%d entries of %d: %v", next, head.Size, err)
	}
	if head.Size > 0 && again.Root != head.Root {
		t.Fatalf("the entries hash to %v, the head of %d has %v", again.Root, head.Size, head.Root)
	}
	for _, n := range nodes {
		got, err := e.LogNodes(t.Context(), ca, n.Level, n.N, n.N+1)
		if err != nil || len(got) != 1 || got[0] != n.Hash {
			t.Fatalf("node %d of level %d: %v, %v", n.N, n.Level, got, err)
		}
	}
	if head.Size == 0 {
		return head
	}
	r := certlog.NewHashReader(t.Context(), e, ca, head.Size)
	root, err := tlog.TreeHash(int64(head.Size), r)
	if err != nil || root != head.Root {
		t.Fatalf("library's root %v, head's %v: %v", root, head.Root, err)
	}
	return head
}

func notFound(t *testing.T, what string, err error) {
	t.Helper()
	if !errors.Is(err, store.ErrNotFound) {
		t.Errorf("%s that is not there: %v", what, err)
	}
}
