package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/acmpca/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"chirograph.dev/internal/auditreport"
	"chirograph.dev/internal/bucket"
	"chirograph.dev/internal/bucket/buckettest"
	"chirograph.dev/internal/console"
	"chirograph.dev/internal/inventory"
	"chirograph.dev/internal/pca"
)

// visitor is somebody who is signed in to the console.
type visitor struct {
	s            *served
	cookie, csrf string
}

// visit signs somebody in.
func (s *served) visit(t *testing.T, who aws.Credentials) *visitor {
	t.Helper()
	v := &visitor{s: s}
	body := must(json.Marshal(map[string]string{"accessKeyId": who.AccessKeyID, "secretAccessKey": who.SecretAccessKey}))(t)
	res := must(http.Post(s.API+"/console/api/session", "application/json", bytes.NewReader(body)))(t)
	defer res.Body.Close()
	var session struct{ CSRF string }
	if err := json.NewDecoder(res.Body).Decode(&session); err != nil || res.StatusCode != 200 || len(res.Cookies()) == 0 {
		t.Fatalf("signing in as %s: %d, %v", who.AccessKeyID, res.StatusCode, err)
	}
	v.cookie, v.csrf = res.Cookies()[0].Value, session.CSRF
	return v
}

// ask sends a request of a page: a query, or with POST a body. The code is that
// of an error.
func (v *visitor) ask(t *testing.T, method, path string, in map[string]string, out any) (code, message string) {
	t.Helper()
	query := url.Values{}
	var body []byte
	if method == http.MethodPost {
		body = must(json.Marshal(in))(t)
	} else {
		for name, value := range in {
			query.Set(name, value)
		}
	}
	r := must(http.NewRequestWithContext(t.Context(), method, v.s.API+"/console/api/"+path+"?"+query.Encode(), bytes.NewReader(body)))(t)
	r.AddCookie(&http.Cookie{Name: "chirograph-session", Value: v.cookie})
	r.Header.Set("X-CSRF-Token", v.csrf)
	r.Header.Set("Content-Type", "application/json")
	res := must(http.DefaultClient.Do(r))(t)
	defer res.Body.Close()
	answer := must(io.ReadAll(res.Body))(t)
	if bytes.ContainsAny(answer, "<>") {
		t.Errorf("%s %s: the answer %q has what a browser could take for HTML", method, path, answer)
	}
	if res.StatusCode != http.StatusOK {
		var e struct {
			Type    string `json:"__type"`
			Message string `json:"message"`
		}
		if err := json.Unmarshal(answer, &e); err != nil || e.Type == "" || e.Message == "" {
			t.Fatalf("%s %s: %d with %q", method, path, res.StatusCode, answer)
		}
		return e.Type, e.Message
	}
	if out != nil {
		if err := json.Unmarshal(answer, out); err != nil {
			t.Fatalf("%s %s: %v in %s", method, path, err, answer)
		}
	}
	return "", ""
}

func (v *visitor) get(t *testing.T, path string, in map[string]string, out any) {
	t.Helper()
	if code, message := v.ask(t, http.MethodGet, path, in, out); code != "" {
		t.Fatalf("GET %s: %s: %s", path, code, message)
	}
}

// refused has a request refused with a code and words.
func (v *visitor) refused(t *testing.T, method, path string, in map[string]string, code, words string) {
	t.Helper()
	if got, message := v.ask(t, method, path, in, nil); got != code || !strings.Contains(message, words) {
		t.Errorf("%s %s %v: %q: %s; want %s: %s", method, path, in, got, message, code, words)
	}
}

// verified has a report verified and waits for it.
func (v *visitor) verified(t *testing.T, in map[string]string) (out auditreport.Verification) {
	t.Helper()
	if code, message := v.ask(t, http.MethodPost, "report/verification", in, &out); code != "" || out.State != auditreport.VerificationRunning {
		t.Fatalf("%s: %s; %+v", code, message, out)
	}
	for deadline := time.Now().Add(3 * time.Minute); out.State == auditreport.VerificationRunning && time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		v.get(t, "report/verification", in, &out)
	}
	return out
}

// fetch follows a link as a browser or curl does.
func fetch(t *testing.T, method, link string) (status int, header http.Header, body []byte) {
	t.Helper()
	r := must(http.NewRequestWithContext(t.Context(), method, link, nil))(t)
	res := must(http.DefaultClient.Do(r))(t)
	defer res.Body.Close()
	return res.StatusCode, res.Header, must(io.ReadAll(res.Body))(t)
}

func allowing(actions ...string) string {
	return `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["` + strings.Join(actions, `","`) + `"],"Resource":"*"}]}`
}

const elsewhere = "210987654321"

// TestConsoleReports: a page makes a bucket, shows, downloads and verifies
// reports, and can do what its person may and nothing else.
func TestConsoleReports(t *testing.T) {
	t.Parallel()
	s := serveHouse(t, func(c *serveConfig) {
		c.AuditMinInterval, c.ConsoleIdle, c.ConsoleSession = 30*time.Minute, 24*time.Hour, 24*time.Hour
	})
	a := s.root(t)
	admin := s.visit(t, s.admin)
	foreign := s.visit(t, s.user(t, "AKIAFOREIGN000000000", elsewhere, allowing("*")))
	nobody := s.visit(t, s.user(t, "AKIANOBODY0000000000", "123456789012", allowing("acm-pca:ListCertificateAuthorities")))
	reader := s.visit(t, s.user(t, "AKIAREADER0000000000", "123456789012", allowing("acm-pca:DescribeCertificateAuthorityAuditReport", "pcaaudit:GetReport")))
	maker := s.visit(t, s.user(t, "AKIAMAKER00000000000", "123456789012", allowing("s3:CreateBucket")))
	ca := func(more ...string) map[string]string {
		in := map[string]string{"ca": a.arn}
		for i := 0; i < len(more); i += 2 {
			in[more[i]] = more[i+1]
		}
		return in
	}

	// Buckets.
	var list struct {
		Buckets []bucket.Listed
		Service string
	}
	admin.get(t, "buckets", nil, &list)
	if len(list.Buckets) != 0 || list.Service != "this server" {
		t.Errorf("%+v", list)
	}
	admin.refused(t, "POST", "bucket", ca("bucket", "Upper"), "InvalidArgsException", "lower-case")
	admin.refused(t, "POST", "bucket", ca("bucket", "chirograph-internal-segments"), "InvalidArgsException", "Choose another name")
	maker.refused(t, "POST", "bucket", ca("bucket", "made-in-vain"), "AccessDeniedException", "s3:PutBucketPolicy")
	var access bucket.Access
	admin.get(t, "bucket", ca("bucket", "made-in-vain"), &access)
	if access.Exists || access.Allowed {
		t.Errorf("a bucket whose policy was refused: %+v", access)
	}
	foreign.refused(t, "POST", "bucket", ca("bucket", "not-there"), "AccessDeniedException", "belongs to the account")
	other := strings.Replace(a.arn, "123456789012", elsewhere, 1)
	if code, message := foreign.ask(t, "POST", "bucket", map[string]string{"ca": other, "bucket": "taken-elsewhere"}, nil); code != "" {
		t.Fatal(code, message)
	}
	admin.refused(t, "POST", "bucket", ca("bucket", "taken-elsewhere"), "BucketAlreadyExists", "another account")
	admin.refused(t, "GET", "bucket", ca("bucket", "taken-elsewhere"), "AccessDeniedException", "s3:GetBucketPolicy")
	if code, message := admin.ask(t, "POST", "bucket", ca("bucket", "console-reports"), &access); code != "" || !access.Exists || !access.Allowed || access.Policy != access.Needed {
		t.Fatalf("%s: %s; %+v", code, message, access)
	}
	admin.refused(t, "POST", "bucket", ca("bucket", "console-reports"), "BucketAlreadyOwnedByYou", "exists already")
	s.bucket(t, "without-policy", false)
	admin.get(t, "bucket", ca("bucket", "without-policy"), &access)
	if !access.Exists || access.Allowed || access.Reason != "It has no bucket policy." || access.Policy != "" || !strings.Contains(access.Needed, `"aws:SourceAccount": "123456789012"`) {
		t.Errorf("a bucket without a policy: %+v", access)
	}
	maker.refused(t, "POST", "bucket/policy", ca("bucket", "without-policy"), "AccessDeniedException", "s3:GetBucketPolicy")
	looker := s.visit(t, s.user(t, "AKIALOOKER0000000000", "123456789012", allowing("s3:GetBucketPolicy")))
	looker.refused(t, "POST", "bucket/policy", ca("bucket", "without-policy"), "AccessDeniedException", "s3:PutBucketPolicy")
	admin.refused(t, "POST", "bucket/policy", ca("bucket", "not-there"), "ResourceNotFoundException", "does not exist")
	s.bucket(t, "to-be-repaired", false)
	if code, message := admin.ask(t, "POST", "bucket/policy", ca("bucket", "to-be-repaired"), &access); code != "" || !access.Allowed || access.Policy != access.Needed {
		t.Fatalf("%s: %s; %+v", code, message, access)
	}
	admin.refused(t, "POST", "bucket/policy", ca("bucket", "to-be-repaired"), "ValidationException", "it is not replaced")
	admin.get(t, "buckets", nil, &list)
	if names := []string{list.Buckets[0].Name, list.Buckets[1].Name}; len(list.Buckets) != 3 || !slices.Equal(names, []string{"console-reports", "to-be-repaired"}) {
		t.Errorf("%+v", list)
	}

	// Reports of both formats, with what a requester may write into a subject.
	const evil = `<img src=x onerror=alert(1)>,"'&</script>`
	issued := must(a.issue(t.Context(), newCSR(t, newKey(t), evil), nil))(t)
	if err := a.revoke(t, serialOf(issued), types.RevocationReasonKeyCompromise); err != nil {
		t.Fatal(err)
	}
	files := map[string][]byte{}
	for _, format := range types.AuditReportResponseFormat("").Values() {
		key, file := a.report(t, "console-reports", format)
		files[key] = file
		s.pass(31 * time.Minute)
	}
	var all []console.Report
	for cursor, pages := "", 0; pages == 0 || cursor != ""; pages++ {
		var page struct {
			Reports []console.Report
			Cursor  string
		}
		reader.get(t, "reports", ca("limit", "1", "cursor", cursor), &page)
		all, cursor = append(all, page.Reports...), page.Cursor
	}
	if len(all) != 2 || all[0].CreatedAt.Before(all[1].CreatedAt) {
		t.Fatalf("%+v", all)
	}
	admin.refused(t, "GET", "reports", ca("cursor", "x"), "ValidationException", "cursor")
	admin.refused(t, "GET", "reports", ca("limit", "0"), "ValidationException", "limit")
	var previews []console.Preview
	for _, r := range all {
		file := files[r.Key]
		if r.Status != "SUCCESS" || r.Rows != 2 || r.Revoked != 1 || r.Bytes != uint64(len(file)) || r.Proof != "SIGNED" || r.VerifiedAt != nil || r.FinishedAt == nil || len(r.SHA256) != 64 || r.Done != r.Total {
			t.Errorf("%+v", r)
		}
		var p console.Preview
		reader.get(t, "report/preview", ca("report", r.ID), &p)
		if len(p.Rows) != 2 || p.More || !strings.Contains(p.Rows[1][slices.Index(p.Columns, "subject")], "onerror") {
			t.Errorf("%+v", p)
		}
		previews = append(previews, p)

		// Who may read the report needs no permission on the bucket.
		for what, want := range map[string][]byte{"report": file, "manifest": nil} {
			var link struct {
				URL     string
				Expires time.Time
			}
			reader.get(t, "report/link", ca("report", r.ID, "file", what), &link)
			status, header, body := fetch(t, "GET", link.URL)
			u := must(url.Parse(link.URL))(t)
			if status != 200 || want != nil && !bytes.Equal(body, want) || len(body) == 0 || u.Query().Get("X-Amz-Expires") != "300" {
				t.Errorf("the link to the %s: %d, %d bytes", what, status, len(body))
			}
			name := strings.TrimPrefix(u.Path[strings.LastIndexByte(u.Path, '/'):], "/")
			if d := header.Get("Content-Disposition"); d != "attachment; filename="+name || !strings.HasPrefix(name, r.ID+".") {
				t.Errorf("the %s is saved as %q", what, d)
			}
		}
	}
	if !reflect.DeepEqual(previews[0], previews[1]) {
		t.Errorf("the formats differ: %+v", previews)
	}

	// A link is good for its object and for nothing else.
	var link struct{ URL string }
	reader.get(t, "report/link", ca("report", all[0].ID), &link)
	for _, altered := range []string{
		strings.Replace(link.URL, all[0].Key, all[1].Key, 1), strings.Replace(link.URL, "attachment", "inline", 1),
		strings.Replace(link.URL, "X-Amz-Expires=300", "X-Amz-Expires=900", 1), link.URL[:len(link.URL)-1], strings.Split(link.URL, "?")[0],
	} {
		if status, _, body := fetch(t, "GET", altered); status < 400 {
			t.Errorf("%s: %d %s", altered, status, body)
		}
	}
	if status, _, _ := fetch(t, "DELETE", link.URL); status < 400 {
		t.Errorf("deleting with a link: %d", status)
	}
	s.pass(6 * time.Minute)
	if status, _, body := fetch(t, "GET", link.URL); status == 200 || !bytes.Contains(body, []byte("ExpiredToken")) {
		t.Errorf("after six minutes: %d %s", status, body)
	}

	// Verification.
	in := ca("report", all[0].ID)
	if v := reader.verified(t, in); v.State != auditreport.VerificationDone || !v.Verified() || v.Rows != 2 || v.Done != int64(all[0].Bytes) {
		t.Errorf("%+v", v)
	}
	var shown console.Report
	reader.get(t, "report", in, &shown)
	if shown.Proof != "VERIFIED" || shown.VerifiedAt == nil {
		t.Errorf("%+v", shown)
	}
	put := func(body []byte) {
		t.Helper()
		must(s.s3.PutObject(t.Context(), &s3.PutObjectInput{Bucket: aws.String("console-reports"), Key: &all[0].Key, Body: bytes.NewReader(body)}))(t)
	}
	put(bytes.Replace(files[all[0].Key], []byte("KEY_COMPROMISE"), []byte("SUPERSEDED    "), 1))
	if v := reader.verified(t, in); !v.Failed() {
		t.Errorf("a changed report: %+v", v)
	}
	reader.get(t, "report", in, &shown)
	if shown.Proof != "FAILED" {
		t.Errorf("%+v", shown)
	}
	put([]byte("not a report"))
	reader.refused(t, "GET", "report/preview", in, "RequestFailedException", "cannot be read as the report")
	must(s.s3.DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: aws.String("console-reports"), Key: &all[0].Key}))(t)
	if v := reader.verified(t, in); v.State != auditreport.VerificationError || !strings.Contains(v.Error, "not in the bucket any more") {
		t.Errorf("a report that is gone: %+v", v)
	}
	reader.refused(t, "GET", "report/link", in, "ResourceNotFoundException", "any more")
	reader.refused(t, "GET", "report/preview", in, "ResourceNotFoundException", "any more")

	// A report that failed, and when the next one may be.
	var detail struct {
		ReportAllowed struct {
			Allowed bool
			At      *time.Time
		}
	}
	record := must(s.house.db.Report(t.Context(), a.arn[strings.LastIndexByte(a.arn, '/')+1:], all[0].ID))(t)
	admin.get(t, "authority", ca(), &detail)
	if !detail.ReportAllowed.Allowed {
		t.Errorf("37 minutes later: %+v", detail)
	}
	s.pass(-10 * time.Minute)
	admin.get(t, "authority", ca(), &detail)
	if at := record.CreatedAt.Add(30*time.Minute + time.Second - time.Millisecond).Truncate(time.Second); detail.ReportAllowed.Allowed || detail.ReportAllowed.At == nil || !detail.ReportAllowed.At.Equal(at) {
		t.Errorf("27 minutes later: %+v, want %v", detail, at)
	}
	record.Status, record.Reason = pca.AuditReportStatus_FAILED, "The bucket <b>refused</b>."
	if err := s.house.db.UpdateReport(t.Context(), record); err != nil {
		t.Fatal(err)
	}
	reader.get(t, "report", in, &shown)
	if shown.Status != "FAILED" || shown.Reason != record.Reason || shown.Proof != "NONE" {
		t.Errorf("%+v", shown)
	}
	for _, path := range []string{"report/link", "report/preview"} {
		reader.refused(t, "GET", path, in, "InvalidStateException", "FAILED")
	}
	reader.refused(t, "POST", "report/verification", in, "InvalidStateException", "FAILED")

	// Who may not.
	mine := ca("report", all[1].ID)
	for _, r := range []struct {
		method, path string
		in           map[string]string
	}{
		{"GET", "reports", ca()}, {"GET", "report", mine}, {"GET", "report/link", mine}, {"GET", "report/preview", mine}, {"GET", "report/verification", mine},
		{"POST", "report/verification", mine}, {"GET", "buckets", nil}, {"GET", "bucket", ca("bucket", "console-reports")}, {"POST", "bucket", ca("bucket", "another")}, {"POST", "bucket/policy", ca("bucket", "without-policy")},
		{"GET", "certificates", ca()}, {"GET", "certificate", ca("serial", serialOf(issued))}, {"GET", "statistics", ca()},
	} {
		nobody.refused(t, r.method, r.path, r.in, "AccessDeniedException", "")
		if r.path != "buckets" {
			foreign.refused(t, r.method, r.path, r.in, "AccessDeniedException", "")
		}
		if r.in["ca"] != "" && !strings.HasPrefix(r.path, "bucket") {
			// Of the caller's own account, where no such CA is.
			in := map[string]string{"ca": other, "report": r.in["report"], "serial": r.in["serial"]}
			if r.method == "POST" {
				delete(in, "serial")
			}
			foreign.refused(t, r.method, r.path, in, "ResourceNotFoundException", "")
		}
	}
	admin.refused(t, "GET", "report", ca("report", "00000000-0000-4000-8000-000000000000"), "ResourceNotFoundException", "has no audit report")
}

// TestConsoleElsewhere: with another bucket service people's own policies decide,
// and the server's credentials do it.
func TestConsoleElsewhere(t *testing.T) {
	t.Parallel()
	f := buckettest.StartForeign(t)
	c := must(f.Credentials.Retrieve(t.Context()))(t)
	s := serveHouse(t, func(cfg *serveConfig) {
		cfg.Destination, cfg.DestinationAuthorization = f.Endpoint, "credentials"
		cfg.DestinationAccessKeyID, cfg.DestinationSecretKey = c.AccessKeyID, c.SecretAccessKey
		cfg.AuditAllowedBuckets = "*=console-elsewhere"
	})
	s.s3 = f.S3
	a := s.root(t)
	admin := s.visit(t, s.admin)
	maker := s.visit(t, s.user(t, "AKIAMAKER00000000000", "123456789012", allowing("s3:CreateBucket")))
	in := map[string]string{"ca": a.arn, "bucket": "console-elsewhere"}
	maker.refused(t, "POST", "bucket", in, "AccessDeniedException", "s3:PutBucketPolicy")
	maker.refused(t, "GET", "bucket", in, "AccessDeniedException", "s3:GetBucketPolicy")
	maker.refused(t, "GET", "buckets", nil, "AccessDeniedException", "s3:ListAllMyBuckets")
	admin.refused(t, "POST", "bucket", map[string]string{"ca": a.arn, "bucket": "another"}, "InvalidArgsException", "audit-allowed-buckets")
	var access bucket.Access
	if code, message := admin.ask(t, "POST", "bucket", in, &access); code != "" || !access.Allowed || access.Needed != "" || !strings.Contains(access.Reason, "its own access control") {
		t.Fatalf("%s: %s; %+v", code, message, access)
	}
	s.bucket(t, "of-somebody-else", false)
	policy := `{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Principal":{"AWS":"*"},"Action":"s3:DeleteBucket","Resource":"arn:aws:s3:::of-somebody-else"}]}`
	must(s.s3.PutBucketPolicy(t.Context(), &s3.PutBucketPolicyInput{Bucket: aws.String("of-somebody-else"), Policy: &policy}))(t)
	if admin.get(t, "bucket", map[string]string{"ca": a.arn, "bucket": "of-somebody-else"}, &access); access.Allowed || access.Policy != "" || !strings.Contains(access.Reason, "audit-allowed-buckets") {
		t.Errorf("%+v", access)
	}
	foreign := s.visit(t, s.user(t, "AKIAFOREIGN000000000", elsewhere, allowing("*")))
	foreign.refused(t, "GET", "bucket", in, "AccessDeniedException", "Sign in to the account")
	var list struct {
		Buckets []bucket.Listed
		Service string
	}
	if admin.get(t, "buckets", nil, &list); len(list.Buckets) != 1 || list.Buckets[0].Name != "console-elsewhere" || !strings.HasPrefix(list.Service, "the bucket service at ") {
		t.Errorf("%+v", list)
	}
	key, file := a.report(t, "console-elsewhere", types.AuditReportResponseFormatJson)
	in["report"] = strings.TrimSuffix(key[strings.LastIndexByte(key, '/')+1:], ".json")
	var link struct{ URL string }
	admin.get(t, "report/link", in, &link)
	if status, _, body := fetch(t, "GET", link.URL); status != 200 || !bytes.Equal(body, file) {
		t.Errorf("the link: %d %s", status, body)
	}
	if v := admin.verified(t, map[string]string{"ca": a.arn, "report": in["report"]}); !v.Verified() {
		t.Errorf("%+v", v)
	}
}

// TestConsoleCertificates: certificates are found by what is known of them, and
// shown as the log has them.
func TestConsoleCertificates(t *testing.T) {
	t.Parallel()
	s := serveHouse(t, nil)
	a := s.root(t)
	admin := s.visit(t, s.admin)
	getter := s.visit(t, s.user(t, "AKIAGETTER0000000000", "123456789012", allowing("acm-pca:GetCertificate")))
	arns := map[string]string{}
	for i := range 3 {
		name := fmt.Sprintf("host-%d.example.com", i)
		arns[name] = must(a.issue(t.Context(), newCSR(t, newKey(t), name), nil))(t)
	}
	if err := a.revoke(t, serialOf(arns["host-1.example.com"]), types.RevocationReasonSuperseded); err != nil {
		t.Fatal(err)
	}
	type page struct {
		Certificates []console.Certificate
		Cursor       string
		Behind       uint64
	}
	search := func(more ...string) (out page) {
		t.Helper()
		in := map[string]string{"ca": a.arn}
		for i := 0; i < len(more); i += 2 {
			in[more[i]] = more[i+1]
		}
		admin.get(t, "certificates", in, &out)
		return out
	}
	all := search()
	for deadline := time.Now().Add(time.Minute); (all.Behind > 0 || len(all.Certificates) < 4) && time.Now().Before(deadline); all = search() {
		time.Sleep(time.Millisecond)
	}
	if len(all.Certificates) != 4 || all.Certificates[0].ARN != arns["host-2.example.com"] || all.Certificates[0].Status != "VALID" || all.Certificates[0].KeyAlgorithm != "EC_prime256v1" {
		t.Fatalf("%+v", all)
	}
	revoked := search("subject", "host-1", "status", "REVOKED").Certificates
	if len(revoked) != 1 || revoked[0].RevocationReason != "SUPERSEDED" || revoked[0].RevokedAt == nil || !strings.Contains(revoked[0].Serial, ":") {
		t.Fatalf("%+v", revoked)
	}
	first := search("limit", "3")
	if rest := search("limit", "3", "cursor", first.Cursor); len(first.Certificates) != 3 || len(rest.Certificates) != 1 || rest.Cursor != "" {
		t.Errorf("%+v, %+v", first, rest)
	}
	if found := search("serial", revoked[0].Serial[:23], "issuedFrom", "2020-01-01T00:00:00Z", "expiresTo", "2020-01-01T00:00:00Z").Certificates; len(found) != 0 {
		t.Errorf("%+v", found)
	}
	for name, value := range map[string]string{"status": "GONE", "issuedTo": "yesterday", "cursor": "x", "serial": "xyz", "limit": "9999"} {
		admin.refused(t, "GET", "certificates", map[string]string{"ca": a.arn, name: value}, "ValidationException", "")
	}

	var one struct {
		Certificate console.Certificate
		Decoded     console.Decoded
		PEM         string
		ChainPEM    string
	}
	in := map[string]string{"ca": a.arn, "serial": revoked[0].Serial}
	admin.get(t, "certificate", in, &one)
	cert, chain := a.get(t, arns["host-1.example.com"])
	if one.Certificate.Account != "123456789012" || one.PEM != cert || one.ChainPEM != chain || one.Decoded.Serial == "" {
		t.Errorf("%+v", one)
	}
	if want := revoked[0]; !reflect.DeepEqual(one.Certificate, want) {
		t.Errorf("%+v, in the list %+v", one.Certificate, want)
	}
	// Who asked for it, and what became of it, is for who may search.
	getter.get(t, "certificate", in, &one)
	if one.Certificate.Account != "" || one.Certificate.Status != "UNKNOWN" || one.PEM != cert {
		t.Errorf("%+v", one.Certificate)
	}
	admin.refused(t, "GET", "certificate", map[string]string{"ca": a.arn, "serial": "00:ff"}, "ResourceNotFoundException", "")
	admin.refused(t, "GET", "certificate", map[string]string{"ca": a.arn, "serial": "x"}, "ValidationException", "")

	var n inventory.Statistics
	admin.get(t, "statistics", map[string]string{"ca": a.arn}, &n)
	if n.Issued != 4 || n.Revoked != 1 || n.Valid != 3 || len(n.PerDay) != 90 || len(n.Expiring) != 91 || n.PerDay[89].Issued != 4 || n.Behind != 0 || len(n.KeyAlgorithms) == 0 {
		t.Errorf("%+v", n)
	}
}
