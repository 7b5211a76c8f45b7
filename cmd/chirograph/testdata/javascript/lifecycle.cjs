// A CA's life through the AWS SDK for JavaScript, version 3, with nothing set
// but the variables that `chirograph env` prints. Exits non-zero at the first
// thing that is not as AWS has it.
"use strict";
const assert = require("node:assert/strict");
const { execFileSync } = require("node:child_process");
const { X509Certificate } = require("node:crypto");
const pcaSDK = require("@aws-sdk/client-acm-pca");
const { STSClient, GetCallerIdentityCommand } = require("@aws-sdk/client-sts");

const { ACMPCAClient, waitUntilCertificateAuthorityCSRCreated, waitUntilCertificateIssued, paginateListTags, paginateListCertificateAuthorities } = pcaSDK;
const client = new ACMPCAClient({});
const call = (operation, input) => client.send(new pcaSDK[`${operation}Command`](input));
const waiting = { client, maxWaitTime: 60, minDelay: 1 };

// refused expects an exception of the SDK's own class.
async function refused(code, operation, input) {
  await assert.rejects(call(operation, input), (e) => {
    assert.equal(e.name, code);
    assert.ok(pcaSDK[code] === undefined || e instanceof pcaSDK[code], `${code} is not its own class`);
    assert.ok(e.message && e.$metadata.requestId, "no message or request id");
    return true;
  });
}

async function main() {
  const identity = await new STSClient({}).send(new GetCallerIdentityCommand({}));
  assert.match(identity.Arn, /^arn:aws:iam::123456789012:user\//);

  const { CertificateAuthorityArn } = await call("CreateCertificateAuthority", {
    CertificateAuthorityType: "ROOT",
    CertificateAuthorityConfiguration: { KeyAlgorithm: "EC_prime256v1", SigningAlgorithm: "SHA256WITHECDSA", Subject: { CommonName: "JavaScript root" } },
    Tags: [{ Key: "team", Value: "pki" }, { Key: "stage", Value: "test" }],
  });
  const ca = { CertificateAuthorityArn };
  await waitUntilCertificateAuthorityCSRCreated(waiting, ca);
  const { Csr } = await call("GetCertificateAuthorityCsr", ca);
  const issue = (csr, more) => call("IssueCertificate", { ...ca, Csr: Buffer.from(csr), SigningAlgorithm: "SHA256WITHECDSA", Validity: { Type: "DAYS", Value: 30 }, ...more });
  await refused("InvalidStateException", "GetCertificateAuthorityCertificate", ca);
  const self = await issue(Csr, { TemplateArn: "arn:aws:acm-pca:::template/RootCACertificate/V1", Validity: { Type: "YEARS", Value: 10 } });
  await waitUntilCertificateIssued(waiting, { ...ca, ...self });
  const root = await call("GetCertificate", { ...ca, ...self });
  assert.equal(root.CertificateChain, undefined);
  await call("ImportCertificateAuthorityCertificate", { ...ca, Certificate: Buffer.from(root.Certificate) });
  const described = (await call("DescribeCertificateAuthority", ca)).CertificateAuthority;
  assert.equal(described.Status, "ACTIVE");
  assert.ok(described.CreatedAt instanceof Date && Math.abs(Date.now() - described.CreatedAt) < 60e3, `created at ${described.CreatedAt}`);
  assert.deepEqual(described.RevocationConfiguration.CrlConfiguration.Enabled, false);

  const csr = execFileSync("openssl", ["req", "-new", "-newkey", "rsa:2048", "-nodes", "-keyout", "/dev/null", "-subj", "/CN=www.example.com"], { stdio: ["ignore", "pipe", "ignore"] });
  const leaf = await issue(csr, { IdempotencyToken: "javascript" });
  assert.deepEqual((await issue(csr, { IdempotencyToken: "javascript", Validity: { Type: "DAYS", Value: 31 } })).CertificateArn, leaf.CertificateArn);
  const got = await call("GetCertificate", { ...ca, ...leaf });
  assert.equal(got.CertificateChain, root.Certificate);
  assert.ok(new X509Certificate(got.Certificate).verify(new X509Certificate(root.Certificate).publicKey));
  const serial = { ...ca, CertificateSerial: leaf.CertificateArn.split("/").pop(), RevocationReason: "SUPERSEDED" };
  await call("RevokeCertificate", serial);
  await refused("RequestAlreadyProcessedException", "RevokeCertificate", serial);
  await refused("MalformedCSRException", "IssueCertificate", { ...ca, Csr: Buffer.from("no"), SigningAlgorithm: "SHA256WITHECDSA", Validity: { Type: "DAYS", Value: 1 } });
  await refused("InvalidNextTokenException", "ListCertificateAuthorities", { NextToken: "forged" });
  await refused("ValidationException", "ListCertificateAuthorities", { MaxResults: 0 });

  const tags = [];
  for await (const page of paginateListTags({ client, pageSize: 1 }, ca)) tags.push(...page.Tags.map((t) => t.Key));
  assert.deepEqual(tags, ["stage", "team"]);
  const arns = [];
  for await (const page of paginateListCertificateAuthorities({ client }, {})) arns.push(...page.CertificateAuthorities.map((c) => c.Arn));
  assert.deepEqual(arns, [CertificateAuthorityArn]);

  await refused("InvalidStateException", "DeleteCertificateAuthority", ca);
  await call("UpdateCertificateAuthority", { ...ca, Status: "DISABLED" });
  await call("DeleteCertificateAuthority", { ...ca, PermanentDeletionTimeInDays: 7 });
  const deleted = (await call("DescribeCertificateAuthority", ca)).CertificateAuthority;
  assert.equal(deleted.Status, "DELETED");
  assert.ok(deleted.RestorableUntil > new Date());
  await call("RestoreCertificateAuthority", ca);
  assert.equal((await call("DescribeCertificateAuthority", ca)).CertificateAuthority.Status, "DISABLED");
}

main().catch((e) => {
  console.error(e);
  process.exit(1);
});
