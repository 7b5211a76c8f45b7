"""What programs on boto3 lean on besides the calls themselves: waiters,
paginators, exception classes, retries. lifecycle.py has the calls."""

import subprocess
import sys
from datetime import datetime, timezone

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError, WaiterError

pca = boto3.client("acm-pca")
UNKNOWN = "00000000-0000-4000-8000-000000000000"


def new(kind="ROOT", **more):
    return pca.create_certificate_authority(
        CertificateAuthorityType=kind,
        CertificateAuthorityConfiguration={"KeyAlgorithm": "EC_prime256v1", "SigningAlgorithm": "SHA256WITHECDSA", "Subject": {"CommonName": "boto3"}},
        **more)["CertificateAuthorityArn"]


def raises(exception, call, **arguments):
    """The error is of the client's own class, which programs catch by name."""
    try:
        call(**arguments)
    except exception as e:
        assert e.response["Error"]["Message"] and e.response["ResponseMetadata"]["RequestId"], e.response
        assert e.response["ResponseMetadata"]["HTTPStatusCode"] == 400, e.response
        return
    raise AssertionError(f"{exception.__name__} expected")


# Waiters.
assert sorted(pca.waiter_names) == ["audit_report_created", "certificate_authority_csr_created", "certificate_issued"]
arn = new(Tags=[{"Key": f"k{n}", "Value": str(n)} for n in range(5)])
pca.get_waiter("certificate_authority_csr_created").wait(CertificateAuthorityArn=arn)
csr = pca.get_certificate_authority_csr(CertificateAuthorityArn=arn)["Csr"].encode()
try:  # any other error ends a waiter at once
    pca.get_waiter("certificate_issued").wait(CertificateAuthorityArn=arn, CertificateArn=f"{arn}/certificate/{'0' * 32}")
    raise AssertionError("the waiter ended well")
except WaiterError as e:
    assert e.last_response["Error"]["Code"] == "ResourceNotFoundException", e

# The exceptions of the client.
x = pca.exceptions
other = arn.rsplit("/", 1)[0] + "/" + UNKNOWN
issue = dict(CertificateAuthorityArn=arn, Csr=csr, SigningAlgorithm="SHA256WITHECDSA", Validity={"Type": "DAYS", "Value": 30})
raises(x.ResourceNotFoundException, pca.describe_certificate_authority, CertificateAuthorityArn=other)
raises(x.InvalidArnException, pca.describe_certificate_authority, CertificateAuthorityArn=arn + "/certificate/" + "0" * 32)
raises(x.InvalidStateException, pca.issue_certificate, **issue)
raises(x.InvalidNextTokenException, pca.list_tags, CertificateAuthorityArn=arn, NextToken="forged")
raises(x.InvalidTagException, pca.tag_certificate_authority, CertificateAuthorityArn=arn, Tags=[{"Key": "aws:x"}])
raises(x.TooManyTagsException, pca.tag_certificate_authority, CertificateAuthorityArn=arn, Tags=[{"Key": f"t{n}"} for n in range(46)])
raises(x.InvalidPolicyException, pca.put_policy, ResourceArn=arn, Policy="{}")
raises(x.MalformedCertificateException, pca.import_certificate_authority_certificate, CertificateAuthorityArn=arn, Certificate=b"no")
cert = pca.issue_certificate(**{**issue, "Validity": {"Type": "YEARS", "Value": 5}}, TemplateArn="arn:aws:acm-pca:::template/RootCACertificate/V1")["CertificateArn"]
pca.get_waiter("certificate_issued").wait(CertificateAuthorityArn=arn, CertificateArn=cert)
root = pca.get_certificate(CertificateAuthorityArn=arn, CertificateArn=cert)["Certificate"].encode()
second = new()
pca.get_waiter("certificate_authority_csr_created").wait(CertificateAuthorityArn=second)
raises(x.CertificateMismatchException, pca.import_certificate_authority_certificate, CertificateAuthorityArn=second, Certificate=root)
raises(x.InvalidRequestException, pca.import_certificate_authority_certificate, CertificateAuthorityArn=arn, Certificate=root, CertificateChain=root)
pca.import_certificate_authority_certificate(CertificateAuthorityArn=arn, Certificate=root)
raises(x.InvalidArgsException, pca.update_certificate_authority, CertificateAuthorityArn=arn)
raises(x.MalformedCSRException, pca.issue_certificate, **{**issue, "Csr": b"no"})
pca.create_permission(CertificateAuthorityArn=arn, Principal="acm.amazonaws.com", Actions=["IssueCertificate"])
raises(x.PermissionAlreadyExistsException, pca.create_permission, CertificateAuthorityArn=arn, Principal="acm.amazonaws.com", Actions=["GetCertificate"])
request = subprocess.run(["openssl", "req", "-new", "-newkey", "rsa:2048", "-nodes", "-keyout", "/dev/null", "-subj", "/CN=www.example.com"], check=True, capture_output=True).stdout
leaf = pca.issue_certificate(**{**issue, "Csr": request})["CertificateArn"]
revoke = dict(CertificateAuthorityArn=arn, CertificateSerial=leaf.rsplit("/", 1)[1], RevocationReason="SUPERSEDED")
pca.revoke_certificate(**revoke)
raises(x.RequestAlreadyProcessedException, pca.revoke_certificate, **revoke)

# Times are aware of their zone, and precise.
ca = pca.describe_certificate_authority(CertificateAuthorityArn=arn)["CertificateAuthority"]
assert abs((datetime.now(timezone.utc) - ca["CreatedAt"]).total_seconds()) < 120, ca
assert ca["NotAfter"].microsecond == 0 and ca["NotAfter"] > ca["NotBefore"], ca

# Paginators: each in pages of one.
assert [op for op in pca.meta.method_to_api_mapping if pca.can_paginate(op)] == ["list_certificate_authorities", "list_permissions", "list_tags"]
pages = list(pca.get_paginator("list_tags").paginate(CertificateAuthorityArn=arn, PaginationConfig={"PageSize": 1}))
assert [p["Tags"][0]["Key"] for p in pages] == [f"k{n}" for n in range(5)] and "NextToken" not in pages[-1], pages
assert len(list(pca.get_paginator("list_permissions").paginate(CertificateAuthorityArn=arn, PaginationConfig={"PageSize": 1}))) == 1
first = pca.get_paginator("list_certificate_authorities").paginate(ResourceOwner="SELF", PaginationConfig={"PageSize": 1, "MaxItems": 1}).build_full_result()
rest = pca.get_paginator("list_certificate_authorities").paginate(ResourceOwner="SELF", PaginationConfig={"PageSize": 1, "StartingToken": first["NextToken"]}).build_full_result()
assert len({c["Arn"] for c in first["CertificateAuthorities"] + rest["CertificateAuthorities"]}) == 2, (first, rest)
assert pca.list_certificate_authorities(ResourceOwner="OTHER_ACCOUNTS")["CertificateAuthorities"] == []

# Retries: ListTags is served five times in a second here, two of them at once.
once = boto3.client("acm-pca", config=Config(retries={"mode": "standard", "total_max_attempts": 1}))
try:
    for _ in range(100):
        once.list_tags(CertificateAuthorityArn=arn)
    raise AssertionError("ListTags has no rate")
except ClientError as e:
    assert (e.response["Error"]["Code"], e.response["Error"]["Message"]) == ("ThrottlingException", "Rate exceeded"), e.response
for mode in ("legacy", "standard"):
    patient, retries = boto3.client("acm-pca", config=Config(retries={"mode": mode, "max_attempts": 10})), 0
    for _ in range(8):
        retries += patient.list_tags(CertificateAuthorityArn=arn)["ResponseMetadata"]["RetryAttempts"]
    assert retries, f"{mode}: nothing was retried"
# What is not a matter of time is not retried.
try:
    patient.describe_certificate_authority(CertificateAuthorityArn=other)
except x.ResourceNotFoundException as e:
    assert e.response["ResponseMetadata"]["RetryAttempts"] == 0, e.response
print("ok", file=sys.stderr)
