"""The life of certificate authorities through boto3, all 23 operations of the
API, with nothing set but the two variables that `chirograph env` prints. Exits
non-zero at the first thing that is not as AWS has it."""

import csv
import io
import json
import subprocess
import sys

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

pca, s3, sts = boto3.client("acm-pca"), boto3.client("s3"), boto3.client("sts")
# Sends what botocore itself would refuse.
unchecked = boto3.client("acm-pca", config=Config(parameter_validation=False))

called = set()
pca.meta.events.register("before-call.acm-pca", lambda model, **kwargs: called.add(model.name))


def refused(code, call, **arguments):
    try:
        call(**arguments)
    except ClientError as e:
        got = e.response["Error"]["Code"]
        assert got == code, f"{got}: {e}; want {code}"
        return e.response["Error"]["Message"]
    raise AssertionError(f"{code} expected")


identity = sts.get_caller_identity()
assert identity["Account"] == "123456789012" and ":user/" in identity["Arn"], identity

arn = pca.create_certificate_authority(
    CertificateAuthorityType="ROOT",
    CertificateAuthorityConfiguration={
        "KeyAlgorithm": "RSA_2048",
        "SigningAlgorithm": "SHA256WITHRSA",
        "Subject": {"CommonName": "boto3 root", "Country": "US"},
    },
    Tags=[{"Key": "team", "Value": "pki"}],
)["CertificateAuthorityArn"]
pca.get_waiter("certificate_authority_csr_created").wait(CertificateAuthorityArn=arn)
csr = pca.get_certificate_authority_csr(CertificateAuthorityArn=arn)["Csr"]
root = pca.issue_certificate(
    CertificateAuthorityArn=arn, Csr=csr.encode(), SigningAlgorithm="SHA256WITHRSA",
    TemplateArn="arn:aws:acm-pca:::template/RootCACertificate/V1", Validity={"Type": "YEARS", "Value": 10},
)["CertificateArn"]
pca.get_waiter("certificate_issued").wait(CertificateAuthorityArn=arn, CertificateArn=root)
got = pca.get_certificate(CertificateAuthorityArn=arn, CertificateArn=root)
assert "CertificateChain" not in got
pca.import_certificate_authority_certificate(CertificateAuthorityArn=arn, Certificate=got["Certificate"].encode())
ca = pca.describe_certificate_authority(CertificateAuthorityArn=arn)["CertificateAuthority"]
assert ca["Status"] == "ACTIVE" and ca["Serial"].isdecimal(), ca
assert [c["Arn"] for c in pca.get_paginator("list_certificate_authorities").paginate().search("CertificateAuthorities[]")] == [arn]

request = subprocess.run(
    ["openssl", "req", "-new", "-newkey", "rsa:2048", "-nodes", "-keyout", "/dev/null", "-subj", "/C=US/O=Example/emailAddress=sales@example.com/CN=www.example.com"],
    check=True, capture_output=True).stdout
leaves = [
    pca.issue_certificate(CertificateAuthorityArn=arn, Csr=request, SigningAlgorithm="SHA256WITHRSA", Validity={"Type": "DAYS", "Value": days})["CertificateArn"]
    for days in (1, 30, 365)
]
pca.revoke_certificate(CertificateAuthorityArn=arn, CertificateSerial=leaves[1].rsplit("/", 1)[1], RevocationReason="KEY_COMPROMISE")

# What is refused, as the caller sees it.
refused("MalformedCSRException", pca.issue_certificate, CertificateAuthorityArn=arn, Csr=b"not a CSR", SigningAlgorithm="SHA256WITHRSA", Validity={"Type": "DAYS", "Value": 1})
refused("InvalidArgsException", pca.issue_certificate, CertificateAuthorityArn=arn, Csr=request, SigningAlgorithm="SHA256WITHECDSA", Validity={"Type": "DAYS", "Value": 1})
refused("ValidationException", pca.issue_certificate, CertificateAuthorityArn=arn, Csr=request, SigningAlgorithm="MD5WITHRSA", Validity={"Type": "DAYS", "Value": 1})
text = refused("ValidationException", unchecked.issue_certificate, CertificateAuthorityArn=arn, Csr=request, SigningAlgorithm="SHA256WITHRSA", Validity={"Type": "DAYS", "Value": 0})
assert "Value '0' at 'validity.value' failed to satisfy constraint: Member must have value greater than or equal to 1" in text, text
refused("ValidationException", pca.issue_certificate, CertificateAuthorityArn=arn, Csr=request, SigningAlgorithm="SHA256WITHRSA", Validity={"Type": "YEARS", "Value": 11})
refused("ResourceNotFoundException", pca.describe_certificate_authority, CertificateAuthorityArn=arn[:-1] + ("0" if arn[-1] != "0" else "1"))
refused("InvalidArnException", pca.describe_certificate_authority, CertificateAuthorityArn=root)
refused("InvalidNextTokenException", pca.list_certificate_authorities, NextToken="forged")

bucket = "boto3-reports"
s3.create_bucket(Bucket=bucket)
refused("ValidationException", pca.create_certificate_authority_audit_report, CertificateAuthorityArn=arn, S3BucketName=bucket, AuditReportResponseFormat="JSON")
s3.put_bucket_policy(Bucket=bucket, Policy=json.dumps({
    "Version": "2012-10-17",
    "Statement": [{
        "Effect": "Allow",
        "Principal": {"Service": "acm-pca.amazonaws.com"},
        "Action": ["s3:PutObject", "s3:PutObjectAcl", "s3:GetBucketAcl", "s3:GetBucketLocation"],
        "Resource": [f"arn:aws:s3:::{bucket}/*", f"arn:aws:s3:::{bucket}"],
        "Condition": {"StringEquals": {"aws:SourceAccount": "123456789012", "aws:SourceArn": arn}},
    }],
}))
files = {}
for form in ("JSON", "CSV"):
    report = pca.create_certificate_authority_audit_report(CertificateAuthorityArn=arn, S3BucketName=bucket, AuditReportResponseFormat=form)
    pca.get_waiter("audit_report_created").wait(CertificateAuthorityArn=arn, AuditReportId=report["AuditReportId"])
    assert report["S3Key"] == f"audit-report/{arn.rsplit('/', 1)[1]}/{report['AuditReportId']}.{form.lower()}", report
    files[form] = s3.get_object(Bucket=bucket, Key=report["S3Key"])["Body"].read().decode()
rows = json.loads(files["JSON"])
assert [r["certificateArn"] for r in rows] == [root, *leaves], rows
assert [r.get("revocationReason") for r in rows] == [None, None, "KEY_COMPROMISE", None], rows
assert rows[1]["subject"] == "CN=www.example.com,1.2.840.113549.1.9.1=#161173616c6573406578616d706c652e636f6d,O=Example,C=US", rows[1]
records = list(csv.DictReader(io.StringIO(files["CSV"])))
assert [{k: v for k, v in r.items() if v} for r in records] == rows, records

# Tags. Untag takes pairs.
ca = {"CertificateAuthorityArn": arn}
pca.tag_certificate_authority(**ca, Tags=[{"Key": "team", "Value": "security"}, {"Key": "empty", "Value": ""}])
pca.untag_certificate_authority(**ca, Tags=[{"Key": "team", "Value": "pki"}])
pages = pca.get_paginator("list_tags").paginate(**ca, PaginationConfig={"PageSize": 1})
assert list(pages.search("Tags[].[Key, Value]")) == [["empty", ""], ["team", "security"]]
refused("InvalidTagException", pca.tag_certificate_authority, **ca, Tags=[{"Key": "aws:x"}])
refused("TooManyTagsException", pca.tag_certificate_authority, **ca, Tags=[{"Key": f"k{n}"} for n in range(49)])
refused("InvalidNextTokenException", pca.list_tags, **ca, NextToken="forged")
pca.untag_certificate_authority(**ca, Tags=[{"Key": "team"}, {"Key": "empty"}])
assert pca.list_tags(**ca)["Tags"] == []

# Permissions of ACM.
permission = {"Principal": "acm.amazonaws.com", "SourceAccount": "123456789012"}
pca.create_permission(**ca, Principal="acm.amazonaws.com", Actions=["IssueCertificate", "GetCertificate", "ListPermissions"])
refused("PermissionAlreadyExistsException", pca.create_permission, **ca, **permission, Actions=["GetCertificate"])
refused("ValidationException", pca.create_permission, **ca, Principal="ec2.amazonaws.com", Actions=["GetCertificate"])
[listed] = pca.get_paginator("list_permissions").paginate(**ca).search("Permissions[]")
assert listed["Actions"] == ["IssueCertificate", "GetCertificate", "ListPermissions"] and permission.items() <= listed.items(), listed
assert json.loads(listed["Policy"])["Statement"][0]["Principal"] == {"Service": "acm.amazonaws.com"}, listed
pca.delete_permission(**ca, **permission)
refused("ResourceNotFoundException", pca.delete_permission, **ca, **permission)
assert pca.list_permissions(**ca)["Permissions"] == []

# The policy that shares a CA, as AWS shows it.
text = refused("ResourceNotFoundException", pca.get_policy, ResourceArn=arn)
assert f"Could not find policy for resource {arn}." in text, text
policy = json.dumps({
    "Version": "2012-10-17",
    "Statement": [
        {"Sid": "1", "Effect": "Allow", "Principal": {"AWS": "111122223333"}, "Resource": arn,
         "Action": ["acm-pca:DescribeCertificateAuthority", "acm-pca:GetCertificate", "acm-pca:GetCertificateAuthorityCertificate", "acm-pca:ListPermissions", "acm-pca:ListTags"]},
        {"Sid": "1", "Effect": "Allow", "Principal": {"AWS": "111122223333"}, "Resource": arn, "Action": ["acm-pca:IssueCertificate"],
         "Condition": {"StringEquals": {"acm-pca:TemplateArn": "arn:aws:acm-pca:::template/EndEntityCertificate/V1"}}},
    ],
}, indent=1)
pca.put_policy(ResourceArn=arn, Policy=policy)
assert pca.get_policy(ResourceArn=arn)["Policy"] == policy
refused("InvalidPolicyException", pca.put_policy, ResourceArn=arn, Policy=policy.replace('"AWS": "111122223333"', '"AWS": "*"'))
refused("InvalidPolicyException", pca.put_policy, ResourceArn=arn, Policy=policy.replace("acm-pca:GetCertificate\"", "acm-pca:CreateCertificateAuthorityAuditReport\""))
refused("LockoutPreventedException", pca.put_policy, ResourceArn=arn, Policy=json.dumps({
    "Version": "2012-10-17", "Statement": {"Effect": "Deny", "Principal": "*", "Action": "acm-pca:*", "Resource": arn}}))
pca.delete_policy(ResourceArn=arn)
pca.delete_policy(ResourceArn=arn)
assert pca.list_certificate_authorities(ResourceOwner="OTHER_ACCOUNTS")["CertificateAuthorities"] == []

# Switched off and on, deleted and restored.
refused("InvalidStateException", pca.delete_certificate_authority, **ca)
refused("InvalidArgsException", pca.update_certificate_authority, **ca, RevocationConfiguration={"OcspConfiguration": {"Enabled": True, "OcspCustomCname": "http://ocsp.example.com"}})
pca.update_certificate_authority(**ca, RevocationConfiguration={"OcspConfiguration": {"Enabled": True}})
pca.update_certificate_authority(**ca, RevocationConfiguration={"CrlConfiguration": {"Enabled": False}})
pca.update_certificate_authority(**ca, Status="DISABLED")
text = refused("InvalidStateException", pca.issue_certificate, **ca, Csr=request, SigningAlgorithm="SHA256WITHRSA", Validity={"Type": "DAYS", "Value": 1})
assert "The certificate authority is not in a valid state for issuing certificates" in text, text
assert pca.get_certificate_authority_certificate(**ca)["Certificate"] == got["Certificate"]
pca.delete_certificate_authority(**ca, PermanentDeletionTimeInDays=7)
deleted = pca.describe_certificate_authority(**ca)["CertificateAuthority"]
assert deleted["Status"] == "DELETED" and (deleted["RestorableUntil"] - deleted["LastStateChangeAt"]).days == 7, deleted
text = refused("InvalidStateException", pca.list_permissions, **ca)
assert "The certificate authority is in the DELETED state" in text, text
pca.restore_certificate_authority(**ca)
refused("InvalidStateException", pca.restore_certificate_authority, **ca)
pca.update_certificate_authority(**ca, Status="ACTIVE")
restored = pca.describe_certificate_authority(**ca)["CertificateAuthority"]
assert restored["Status"] == "ACTIVE" and "RestorableUntil" not in restored, restored
pca.issue_certificate(**ca, Csr=request, SigningAlgorithm="SHA256WITHRSA", Validity={"Type": "DAYS", "Value": 1})

# As Terraform destroys one that never got its certificate.
pending = {"CertificateAuthorityArn": pca.create_certificate_authority(
    CertificateAuthorityType="SUBORDINATE",
    CertificateAuthorityConfiguration={"KeyAlgorithm": "EC_prime256v1", "SigningAlgorithm": "SHA256WITHECDSA", "Subject": {"CommonName": "never"}},
)["CertificateAuthorityArn"]}
pca.get_waiter("certificate_authority_csr_created").wait(**pending)
text = refused("InvalidStateException", pca.update_certificate_authority, **pending, Status="DISABLED")
assert "The certificate authority must be in the ACTIVE or DISABLED state to be updated" in text, text
pca.delete_certificate_authority(**pending, PermanentDeletionTimeInDays=7)
refused("InvalidStateException", pca.get_certificate_authority_csr, **pending)

# Nothing of the API was left out.
assert called == set(pca.meta.service_model.operation_names) and len(called) == 23, set(pca.meta.service_model.operation_names) - called
print("ok", file=sys.stderr)
