"""Calls the server with boto3 and prints what each call came to, as JSON."""
import datetime
import json
import os
import sys

import boto3
import botocore.auth
import botocore.config
import botocore.exceptions

endpoint = sys.argv[1]
key, secret = "AKIDADMIN", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
arn = "arn:aws:acm-pca:us-east-1:123456789012:certificate-authority/11223344-1234-1122-2233-112233445566"
out = {}


def client(service="acm-pca", key=key, secret=secret, region="us-east-1", **more):
    return boto3.client(
        service, endpoint_url=endpoint, region_name=region, aws_access_key_id=key, aws_secret_access_key=secret,
        config=botocore.config.Config(retries={"total_max_attempts": 1}), **more)


def record(name, call):
    try:
        r = call()
        meta = r.pop("ResponseMetadata")
        out[name] = {"status": meta["HTTPStatusCode"], "id": meta["RequestId"], "out": r}
    except botocore.exceptions.ClientError as e:
        meta = e.response["ResponseMetadata"]
        out[name] = {"status": meta["HTTPStatusCode"], "id": meta["RequestId"],
                     "code": e.response["Error"]["Code"], "message": e.response["Error"]["Message"]}


pca = client()
describe = {"CertificateAuthorityArn": arn}
record("describe", lambda: pca.describe_certificate_authority(**describe))
record("issue", lambda: pca.issue_certificate(
    CertificateAuthorityArn=arn, Csr=b"-----BEGIN", SigningAlgorithm="SHA256WITHECDSA", Validity={"Value": 30, "Type": "DAYS"}))
record("revoke", lambda: pca.revoke_certificate(CertificateAuthorityArn=arn, CertificateSerial="01", RevocationReason="UNSPECIFIED"))
record("identity", lambda: client("sts").get_caller_identity())
record("identity elsewhere", lambda: client("sts", region="ap-southeast-2").get_caller_identity())

record("unknown operation", lambda: pca.get_policy(ResourceArn=arn))
record("pattern", lambda: pca.describe_certificate_authority(CertificateAuthorityArn="arn:aws:s3:::bucket"))
record("enum", lambda: pca.revoke_certificate(CertificateAuthorityArn=arn, CertificateSerial="01", RevocationReason="BOREDOM"))
record("kind of ARN", lambda: pca.describe_certificate_authority(CertificateAuthorityArn="arn:aws:acm-pca:::template/EndEntityCertificate/V1"))
record("not found", lambda: pca.describe_certificate_authority(CertificateAuthorityArn=arn.replace("11223344-", "99999999-")))
record("panic", lambda: pca.describe_certificate_authority(CertificateAuthorityArn=arn.replace("11223344-", "00000000-")))
record("throttled", lambda: pca.describe_certificate_authority(CertificateAuthorityArn=arn.replace("11223344-", "11111111-")))
record("denied", lambda: client(key="AKIDAUDITOR").revoke_certificate(**describe, CertificateSerial="01", RevocationReason="UNSPECIFIED"))
record("unknown key", lambda: client(key="AKIDNOBODY").describe_certificate_authority(**describe))
record("wrong secret", lambda: client(secret="wrong").describe_certificate_authority(**describe))
record("session token", lambda: client(aws_session_token="token").describe_certificate_authority(**describe))
record("wrong region", lambda: client(region="eu-west-1").describe_certificate_authority(**describe))
record("sts unknown key", lambda: client("sts", key="AKIDNOBODY").get_caller_identity())
record("sts wrong secret", lambda: client("sts", secret="wrong").get_caller_identity())
record("sts other action", lambda: client("sts").get_session_token())


def tamper(request, **_):
    request.data = request.body = b'{"CertificateAuthorityArn":"' + arn.replace("11223344-", "99999999-").encode() + b'"}'
    request.headers["Content-Length"] = str(len(request.body))


tampered = client()
tampered.meta.events.register("before-send.acm-pca", tamper)
record("tampered body", lambda: tampered.describe_certificate_authority(**describe))


def unsign(request, **_):
    del request.headers["Authorization"]


unsigned = client()
unsigned.meta.events.register("before-send.acm-pca", unsign)
record("unsigned", lambda: unsigned.describe_certificate_authority(**describe))

honest = botocore.auth.get_current_datetime
botocore.auth.get_current_datetime = lambda *a, **k: honest(*a, **k) - datetime.timedelta(minutes=20)
record("clock skew", lambda: client().describe_certificate_authority(**describe))
record("sts clock skew", lambda: client("sts").get_caller_identity())

json.dump(out, sys.stdout, default=str)
