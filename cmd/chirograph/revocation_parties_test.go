package main

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/acmpca"
	"github.com/aws/aws-sdk-go-v2/service/acmpca/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	s3types "github.com/aws/aws-sdk-go-v2/service/s3/types"
	"golang.org/x/crypto/ocsp"
)

// publicBucket is a bucket that CAs write to and everybody may read objects of
// that say so.
func (i *instance) publicBucket(t *testing.T, name string) string {
	t.Helper()
	i.bucket(t, name, true)
	must(i.s3.PutBucketOwnershipControls(t.Context(), &s3.PutBucketOwnershipControlsInput{Bucket: &name,
		OwnershipControls: &s3types.OwnershipControls{Rules: []s3types.OwnershipControlsRule{{ObjectOwnership: s3types.ObjectOwnershipBucketOwnerPreferred}}}}))(t)
	must(i.s3.DeletePublicAccessBlock(t.Context(), &s3.DeletePublicAccessBlockInput{Bucket: &name}))(t)
	return name
}

// publish has the revocations of a CA published from now on: by OCSP, and by
// CRLs as they are given.
func (a authority) publish(t *testing.T, crl types.CrlConfiguration) {
	t.Helper()
	crl.Enabled = aws.Bool(true)
	must(a.pca.UpdateCertificateAuthority(t.Context(), &acmpca.UpdateCertificateAuthorityInput{CertificateAuthorityArn: &a.arn,
		RevocationConfiguration: &types.RevocationConfiguration{CrlConfiguration: &crl, OcspConfiguration: &types.OcspConfiguration{Enabled: aws.Bool(true)}}}))(t)
}

// party is a certificate that relying parties look at.
type party struct {
	*x509.Certificate
	file, arn string
	key       *ecdsa.PrivateKey
}

func (a authority) party(t *testing.T, dir, name string, change func(*acmpca.IssueCertificateInput)) party {
	t.Helper()
	key := newKey(t)
	arn := must(a.issue(t.Context(), newCSR(t, key, name+".example.com"), change))(t)
	text, _ := a.get(t, arn)
	p := party{parseCert(t, text), filepath.Join(dir, name+".pem"), arn, key}
	write(t, p.file, []byte(text))
	return p
}

// own is the CA's certificate, in a file.
func (a authority) own(t *testing.T, dir, name string) party {
	t.Helper()
	out := must(a.pca.GetCertificateAuthorityCertificate(t.Context(), &acmpca.GetCertificateAuthorityCertificateInput{CertificateAuthorityArn: &a.arn}))(t)
	p := party{Certificate: parseCert(t, *out.Certificate), file: filepath.Join(dir, name+".pem")}
	write(t, p.file, []byte(*out.Certificate))
	return p
}

func (p party) serial() string { return serialOf(p.arn) }

// named is the CRL that the certificate names.
func (p party) named(t *testing.T) []byte {
	t.Helper()
	status, body := fetched(t, http.MethodGet, p.CRLDistributionPoints[0], "", nil)
	if status != http.StatusOK {
		t.Fatalf("%s answers %d %s", p.CRLDistributionPoints[0], status, body)
	}
	return body
}

// asked is what the responder answers that the certificate names.
func (p party) asked(t *testing.T, issuer party, hash crypto.Hash) []byte {
	t.Helper()
	request := must(ocsp.CreateRequest(p.Certificate, issuer.Certificate, &ocsp.RequestOptions{Hash: hash}))(t)
	status, body := fetched(t, http.MethodPost, p.OCSPServer[0], "application/ocsp-request", request)
	if status != http.StatusOK {
		t.Fatalf("%s answers %d %s", p.OCSPServer[0], status, body)
	}
	return body
}

// tool runs a foreign program, which is to succeed or not, and whose output
// holds each of want.
func tool(t *testing.T, ok bool, want []string, name string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, name, args...).CombinedOutput()
	if (err == nil) != ok {
		t.Errorf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	for _, w := range want {
		if !bytes.Contains(out, []byte(w)) {
			t.Errorf("%s %s does not say %q:\n%s", name, strings.Join(args, " "), w, out)
		}
	}
	return string(out)
}

// reasons are those of the API with their codes (RFC 5280 5.3.1).
var reasons = map[types.RevocationReason]int{
	types.RevocationReasonUnspecified: 0, types.RevocationReasonKeyCompromise: 1, types.RevocationReasonCertificateAuthorityCompromise: 2,
	types.RevocationReasonAffiliationChanged: 3, types.RevocationReasonSuperseded: 4, types.RevocationReasonCessationOfOperation: 5,
	types.RevocationReasonPrivilegeWithdrawn: 9, types.RevocationReasonAACompromise: 10,
}

// hierarchy is an RSA root with complete CRLs and an EC CA below it with
// partitions; a good and a revoked certificate of each.
type hierarchy struct {
	*instance
	dir, bucket    string
	root, low      authority
	rootCA, lowCA  party
	good, revoked  party // of low
	above, aboveNo party // of root
}

// TestRelyingParties: what foreign programs make of CRLs and OCSP, with the URLs
// that certificates carry and nothing else. Browsers that are built on Chromium
// ask neither for private CAs.
func TestRelyingParties(t *testing.T) {
	t.Parallel()
	h := hierarchy{instance: start(t, nil), dir: t.TempDir()}
	h.bucket = h.publicBucket(t, "crls")
	h.root = h.createNamed(t, types.CertificateAuthorityTypeRoot, types.KeyAlgorithmRsa2048, types.SigningAlgorithmSha256withrsa, &types.ASN1Subject{CommonName: aws.String("Root of the parties")})
	h.root.activate(t)
	h.root.publish(t, types.CrlConfiguration{ExpirationInDays: aws.Int32(7), S3BucketName: &h.bucket})
	h.low = h.root.subordinate(t, types.KeyAlgorithmEcPrime256v1, types.SigningAlgorithmSha256withecdsa, "arn:aws:acm-pca:::template/SubordinateCACertificate_PathLen0/V1")
	h.low.publish(t, types.CrlConfiguration{ExpirationInDays: aws.Int32(7), S3BucketName: &h.bucket, CrlType: types.CrlTypePartitioned})
	h.rootCA, h.lowCA = h.root.own(t, h.dir, "root"), h.low.own(t, h.dir, "low")
	h.good, h.revoked = h.low.party(t, h.dir, "good", nil), h.low.party(t, h.dir, "revoked", nil)
	h.above, h.aboveNo = h.root.party(t, h.dir, "above", nil), h.root.party(t, h.dir, "aboveno", nil)
	h.root.makeCRLs(t)
	h.low.makeCRLs(t)
	// A CRL of the second in which the certificate was issued is accepted. The
	// root names no CRL of its own: it is handed over.
	tool(t, true, []string{"OK"}, "openssl", "verify", "-crl_check_all", "-crl_download", "-CRLfile", h.asPEM(t, h.above), "-CAfile", h.rootCA.file, "-untrusted", h.lowCA.file, h.good.file)

	forms := []string{strings.ToUpper(h.revoked.serial()), "00:" + colons(h.aboveNo.serial())} // test 2
	for n, r := range []struct {
		a authority
		p party
	}{{h.low, h.revoked}, {h.root, h.aboveNo}} {
		if err := r.a.revoke(t, forms[n], types.RevocationReasonKeyCompromise); err != nil {
			t.Fatal(err)
		}
		wantCode(t, r.a.revoke(t, r.p.serial(), types.RevocationReasonSuperseded), "RequestAlreadyProcessedException")
	}
	h.root.makeCRLs(t)
	h.low.makeCRLs(t)

	h.withOpenSSL(t)
	h.withGnuTLS(t)
	h.withJava(t)
	h.withNSS(t)
	h.withCurl(t)
	h.withGo(t)
	h.withReports(t)
	h.withChecks(t)
}

func (h *hierarchy) withOpenSSL(t *testing.T) {
	t.Helper()
	for _, flag := range []string{"-crl_check", "-crl_check_all"} {
		verify := func(ok bool, want string, file string) {
			t.Helper()
			tool(t, ok, []string{want}, "openssl", "verify", flag, "-crl_download", "-CRLfile", h.asPEM(t, h.above), "-CAfile", h.rootCA.file, "-untrusted", h.lowCA.file, file)
		}
		verify(true, "good.pem: OK", h.good.file)
		verify(false, "certificate revoked", h.revoked.file)
		verify(true, "above.pem: OK", h.above.file)
		verify(false, "certificate revoked", h.aboveNo.file)
	}
	complete, partition := h.list(t, h.above), h.list(t, h.good)
	text := tool(t, true, []string{"X509v3 CRL Number", "X509v3 Authority Key Identifier", "CRL Reason Code", "Key Compromise", "sha256WithRSAEncryption"}, "openssl", "crl", "-inform", "DER", "-noout", "-text", "-in", complete)
	if strings.Contains(text, "Issuing Distribution Point") {
		t.Errorf("a complete CRL says that it is of one distribution point:\n%s", text)
	}
	tool(t, true, []string{"X509v3 Issuing Distribution Point: critical", "URI:" + h.good.CRLDistributionPoints[0], "ecdsa-with-SHA256"}, "openssl", "crl", "-inform", "DER", "-noout", "-text", "-in", partition)
	tool(t, true, []string{"verify OK"}, "openssl", "crl", "-inform", "DER", "-noout", "-in", partition, "-CAfile", h.rootCA.file, "-CAfile", h.lowCA.file)

	for _, c := range []struct {
		issuer party
		p      party
		want   string
	}{{h.lowCA, h.good, "good"}, {h.lowCA, h.revoked, "revoked"}, {h.rootCA, h.above, "good"}, {h.rootCA, h.aboveNo, "revoked"}, {h.rootCA, h.lowCA, "good"}} {
		for _, more := range [][]string{{"-sha1", "-nonce"}, {"-sha256", "-no_nonce"}} {
			args := append([]string{"ocsp", more[0], "-issuer", c.issuer.file, "-cert", c.p.file, "-CAfile", h.rootCA.file, "-verify_other", h.lowCA.file, "-url", c.p.OCSPServer[0]}, more[1])
			want := []string{"Response verify OK", c.p.file + ": " + c.want}
			if c.want == "revoked" {
				want = append(want, "Reason: keyCompromise", "Revocation Time: ")
			}
			if out := tool(t, true, want, "openssl", args...); more[1] == "-nonce" && strings.Contains(out, "no nonce") {
				t.Errorf("the nonce is not in the answer:\n%s", out)
			}
		}
	}
	// Of an issuer that is none here.
	tool(t, false, []string{"unauthorized"}, "openssl", "ocsp", "-issuer", h.good.file, "-serial", "1234", "-url", h.good.OCSPServer[0], "-CAfile", h.rootCA.file)
	// A serial number that was never issued.
	tool(t, false, []string{"unauthorized"}, "openssl", "ocsp", "-issuer", h.lowCA.file, "-serial", "1234", "-url", h.good.OCSPServer[0], "-CAfile", h.rootCA.file)
}

// list is the file of the CRL that a certificate names.
func (h *hierarchy) list(t *testing.T, p party) string {
	t.Helper()
	if len(p.CRLDistributionPoints) != 1 || len(p.OCSPServer) != 1 {
		t.Fatalf("%s has the CRLs %v and the OCSP servers %v", p.Subject, p.CRLDistributionPoints, p.OCSPServer)
	}
	file := strings.TrimSuffix(p.file, ".pem") + ".crl"
	write(t, file, p.named(t))
	return file
}

// asPEM is the same, as text.
func (h *hierarchy) asPEM(t *testing.T, p party) string {
	t.Helper()
	file := strings.TrimSuffix(p.file, ".pem") + ".crl.pem"
	write(t, file, pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: p.named(t)}))
	return file
}

func (h *hierarchy) withGnuTLS(t *testing.T) {
	t.Helper()
	for _, c := range []struct {
		p    party
		ok   bool
		want string
	}{{h.above, true, "Chain verification output: Verified"}, {h.aboveNo, false, "revoked"}} {
		tool(t, c.ok, []string{c.want}, "certtool", "--verify", "--load-ca-certificate", h.rootCA.file, "--load-crl", h.asPEM(t, c.p), "--infile", c.p.file)
	}
	tool(t, true, []string{"Verification output: Verified"}, "certtool", "--verify-crl", "--load-ca-certificate", h.rootCA.file, "--infile", h.asPEM(t, h.above))
	for _, c := range []struct {
		issuer, p party
		want      string
	}{{h.lowCA, h.good, "Certificate Status: good"}, {h.lowCA, h.revoked, "Certificate Status: revoked"}, {h.rootCA, h.aboveNo, "Certificate Status: revoked"}} {
		tool(t, true, []string{c.want, "Verifying OCSP Response: Success"}, "ocsptool", "--ask", "--load-cert", c.p.file, "--load-issuer", c.issuer.file, "--load-trust", c.issuer.file)
	}
}

func (h *hierarchy) withJava(t *testing.T) {
	t.Helper()
	out := tool(t, true, nil, "java", "-XX:TieredStopAtLevel=1", filepath.Join("testdata", "Revocation.java"),
		h.good.file, h.lowCA.file, h.rootCA.file, h.revoked.file, h.lowCA.file, h.rootCA.file,
		h.above.file, "-", h.rootCA.file, h.aboveNo.file, "-", h.rootCA.file)
	for _, method := range []string{"crl", "ocsp"} {
		for _, want := range []string{"good.pem " + method + " good\n", "revoked.pem " + method + " revoked KEY_COMPROMISE ", "above.pem " + method + " good\n", "aboveno.pem " + method + " revoked KEY_COMPROMISE "} {
			if !strings.Contains(out, want) {
				t.Errorf("Java does not say %q:\n%s", want, out)
			}
		}
	}
}

// withNSS uses the root's lists: NSS knows no critical issuing distribution point.
func (h *hierarchy) withNSS(t *testing.T) {
	t.Helper()
	db := "sql:" + t.TempDir()
	tool(t, true, nil, "certutil", "-N", "-d", db, "--empty-password")
	tool(t, true, nil, "certutil", "-A", "-d", db, "-n", "root", "-t", "CT,C,C", "-a", "-i", h.rootCA.file)
	tool(t, true, nil, "crlutil", "-I", "-d", db, "-i", h.list(t, h.above))
	tool(t, true, []string{"root "}, "crlutil", "-L", "-d", db)
	for _, method := range []string{"crl", "ocsp"} {
		check := []string{"-d", db, "-pp", "-u", "1", "-a", "-g", "leaf", "-h", "requireFreshInfo", "-m", method, "-s", "failIfNoInfo"}
		tool(t, true, []string{"Chain is good!"}, "vfychain", append(check, h.above.file)...)
		tool(t, false, []string{"revoked"}, "vfychain", append(check, h.aboveNo.file)...)
	}
}

// withCurl asks servers that staple, and with a list.
func (h *hierarchy) withCurl(t *testing.T) {
	t.Helper()
	for _, c := range []struct {
		p    party
		ok   bool
		want string
	}{{h.above, true, "hello"}, {h.aboveNo, false, "certificate revo"}} {
		staple := c.p.asked(t, h.rootCA, crypto.SHA1)
		l := must(tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{c.p.Raw, h.rootCA.Raw}, PrivateKey: c.p.key, OCSPStaple: staple}}}))(t)
		server := &http.Server{ErrorLog: log.New(io.Discard, "", 0), Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "hello") })}
		go server.Serve(l)
		_, port, _ := net.SplitHostPort(l.Addr().String())
		host := c.p.DNSNames[0]
		for _, flags := range [][]string{{"--cert-status"}, {"--crlfile", h.asPEM(t, h.above)}} {
			tool(t, c.ok, []string{c.want}, "curl", append(flags, "-sS", "--cacert", h.rootCA.file, "--connect-to", host+":443:127.0.0.1:"+port, "https://"+host+"/")...)
		}
		server.Close()
	}
}

// withGo reads lists and answers with Go's own libraries: every reason, the same
// second everywhere.
func (h *hierarchy) withGo(t *testing.T) {
	t.Helper()
	all := map[string]party{}
	for reason := range reasons {
		p := h.low.party(t, h.dir, strings.ToLower(strings.ReplaceAll(string(reason), "_", "-")), nil)
		if err := h.low.revoke(t, p.serial(), reason); err != nil {
			t.Fatal(err)
		}
		all[string(reason)] = p
	}
	h.low.makeCRLs(t)
	_, report := h.low.report(t, h.bucket, types.AuditReportResponseFormatJson)
	rows := map[string]row{}
	for _, r := range parseRows(t, report) {
		rows[strings.ReplaceAll(r.Serial, ":", "")] = r
	}
	list := must(x509.ParseRevocationList(h.good.named(t)))(t)
	if err := list.CheckSignatureFrom(h.lowCA.Certificate); err != nil {
		t.Error(err)
	}
	if made := time.UnixMilli(list.Number.Int64()); list.ThisUpdate.Unix() != made.Add(-time.Hour).Unix() || list.NextUpdate.Unix() != made.AddDate(0, 0, 7).Unix() || time.Since(made) > time.Minute {
		t.Errorf("number %v, thisUpdate %v, nextUpdate %v", list.Number, list.ThisUpdate, list.NextUpdate)
	}
	entries := map[string]x509.RevocationListEntry{}
	for _, e := range list.RevokedCertificateEntries {
		entries[fmt.Sprintf("%032x", e.SerialNumber)] = e
	}
	if len(entries) != len(reasons)+1 {
		t.Errorf("the list has %d entries", len(entries))
	}
	for reason, p := range all {
		code := reasons[types.RevocationReason(reason)]
		e, r := entries[p.serial()], rows[p.serial()]
		at := must(time.Parse("2006-01-02T15:04:05-0700", aws.ToString(r.RevokedAt)))(t)
		answer := must(ocsp.ParseResponseForCert(p.asked(t, h.lowCA, crypto.SHA256), p.Certificate, h.lowCA.Certificate))(t)
		if aws.ToString(r.Reason) != reason || e.ReasonCode != code || !e.RevocationTime.Equal(at) || code == 0 && len(e.Extensions) != 0 ||
			answer.Status != ocsp.Revoked || answer.RevocationReason != code || !answer.RevokedAt.Equal(at) {
			t.Errorf("%s: the report says %s at %v, the CRL %d at %v, OCSP %d (%d) at %v", reason, aws.ToString(r.Reason), at, e.ReasonCode, e.RevocationTime, answer.Status, answer.RevocationReason, answer.RevokedAt)
		}
	}
}

// withReports holds lists against reports: what an auditor does.
func (h *hierarchy) withReports(t *testing.T) {
	t.Helper()
	verify := func(a authority, ca, p party, code int, change func([]byte) []byte, want string) {
		t.Helper()
		crl := filepath.Join(h.dir, "audited.crl")
		write(t, crl, change(p.named(t)))
		key, _ := a.report(t, h.bucket, types.AuditReportResponseFormatCsv)
		id := strings.TrimSuffix(filepath.Base(key), filepath.Ext(key))
		if code, stdout, stderr := command(t, "audit-report", "download", "--data-dir", h.DataDir, "--ca", a.arn, "--id", id, "--to", h.dir); code != exitOK {
			t.Fatalf("download: exit code %d:\n%s%s", code, stdout, stderr)
		}
		got, stdout, stderr := command(t, "verify", filepath.Join(h.dir, filepath.Base(key)), "--state", "off", "--ca-certificate", ca.file, "--crl", crl)
		if got != code || !strings.Contains(strings.Join(strings.Fields(stdout), " "), want) {
			t.Errorf("exit code %d, want %d and %q:\n%s%s", got, code, want, stdout, stderr)
		}
	}
	as := func(b []byte) []byte { return b }
	verify(h.root, h.rootCA, h.above, 3, as, "It lists exactly the 1 certificates")
	verify(h.low, h.lowCA, h.good, 3, as, "revoke each of the 9 certificates that it lists")
	verify(h.low, h.lowCA, h.above, 1, as, "[crl] It is not signed by the CA's key")
	verify(h.root, h.rootCA, h.above, 1, func(b []byte) []byte { b[len(b)-300] ^= 1; return b }, "[crl]")
}

// withChecks damages what fsck compares: it says so, and nothing of an undamaged folder.
func (h *hierarchy) withChecks(t *testing.T) {
	t.Helper()
	key := strings.SplitN(h.above.CRLDistributionPoints[0], "/crls/", 2)[1]
	old := h.above.named(t)
	h.root.makeCRLs(t)
	if err := h.close(); err != nil {
		t.Fatal(err)
	}
	check := func(code int, want ...string) {
		t.Helper()
		got, stdout, stderr := command(t, "fsck", "--data-dir", h.DataDir)
		for _, w := range want {
			if got != code || !strings.Contains(stdout, w) {
				t.Errorf("exit code %d, want %d and %q:\n%s%s", got, code, w, stdout, stderr)
			}
		}
	}
	check(exitOK, "2 CRLs", "clean")
	files := must(filepath.Glob(filepath.Join(h.DataDir, crlFolder, "*.crl")))(t)
	if len(files) != 2 {
		t.Fatalf("the lists' files are %v", files)
	}
	kept := must(os.ReadFile(files[0]))(t)
	changed := bytes.Clone(kept)
	changed[len(changed)/2] ^= 1
	write(t, files[0], changed)
	check(exitFailure, "crl: the file of the CRL", "is not what was signed")
	if err := os.Remove(files[0]); err != nil {
		t.Fatal(err)
	}
	check(exitFailure, "is missing")
	write(t, files[0], kept)
	keys := must(filepath.Glob(filepath.Join(h.DataDir, "keys", "*-ocsp-*.key")))(t)
	if len(keys) != 2 {
		t.Fatalf("the keys of responders are %v", keys)
	}
	if err := os.Rename(keys[0], keys[0]+".away"); err != nil {
		t.Fatal(err)
	}
	check(exitFailure, "ocsp: the key of the OCSP responder")
	if err := os.Rename(keys[0]+".away", keys[0]); err != nil {
		t.Fatal(err)
	}

	// Somebody puts an old list back into the bucket.
	dir := h.DataDir
	h.instance = start(t, func(c *serveConfig) { c.DataDir = dir })
	// At another address, and so with another URI for the list at this place.
	if code, _, stderr := command(t, "crl", "publish", "--data-dir", dir, "--ca", h.root.arn); code != exitOK {
		t.Fatal(stderr)
	}
	must(h.s3.PutObject(t.Context(), &s3.PutObjectInput{Bucket: &h.bucket, Key: &key, Body: bytes.NewReader(old)}))(t)
	if err := h.close(); err != nil {
		t.Fatal(err)
	}
	check(exitFailure, "crl: the object s3://crls/"+key)
	var r struct {
		Findings []struct{ Class, Advice string }
	}
	_, stdout, _ := command(t, "fsck", "--data-dir", h.DataDir, "--output", "json")
	if err := json.Unmarshal([]byte(stdout), &r); err != nil || len(r.Findings) != 1 || r.Findings[0].Class != "crl" || !strings.Contains(r.Findings[0].Advice, "crl publish") {
		t.Errorf("%v: %s", err, stdout)
	}
}
