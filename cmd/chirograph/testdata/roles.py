"""Credentials that boto3 gets by itself: the role of a profile, and the web
identity of a Kubernetes service account. argv[1] is a CA."""

import os
import sys

import boto3
from botocore.exceptions import ClientError

CA = sys.argv[1]


def works_as(session, who):
    assert session.client("sts").get_caller_identity()["Arn"] == who
    pca = session.client("acm-pca")
    assert pca.describe_certificate_authority(CertificateAuthorityArn=CA)["CertificateAuthority"]["Arn"] == CA
    try:
        pca.revoke_certificate(CertificateAuthorityArn=CA, CertificateSerial="01", RevocationReason="UNSPECIFIED")
        raise AssertionError("the role may revoke")
    except ClientError as e:
        assert e.response["Error"]["Code"] == "AccessDeniedException", e.response
        assert f"User: {who} is not authorized to perform: acm-pca:RevokeCertificate on resource: {CA}" in e.response["Error"]["Message"], e.response


account = CA.split(":")[4]
works_as(boto3.Session(profile_name="issuing"), f"arn:aws:sts::{account}:assumed-role/issuing/boto3")

del os.environ["AWS_SHARED_CREDENTIALS_FILE"]
os.environ |= {"AWS_ROLE_ARN": os.environ["TEST_ROLE_ARN"], "AWS_WEB_IDENTITY_TOKEN_FILE": os.environ["TEST_TOKEN_FILE"], "AWS_ROLE_SESSION_NAME": "pod"}
works_as(boto3.Session(), f"arn:aws:sts::{account}:assumed-role/irsa/pod")
print("ok", file=sys.stderr)
