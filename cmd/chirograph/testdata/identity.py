"""A user, a role, a session and an account through boto3."""

import json
import time
import urllib.parse

import boto3
import botocore.exceptions

iam, sts, organizations = boto3.client("iam"), boto3.client("sts"), boto3.client("organizations")
account = sts.get_caller_identity()["Account"]


def refused(code, call, **arguments):
    try:
        call(**arguments)
    except botocore.exceptions.ClientError as e:
        assert e.response["Error"]["Code"] == code, e
        assert e.response["ResponseMetadata"]["RequestId"], e.response
        return
    raise AssertionError(f"{call} was not refused with {code}")


user = iam.create_user(UserName="boto", Tags=[{"Key": "team", "Value": "ä @ b"}])["User"]
assert user["Arn"] == f"arn:aws:iam::{account}:user/boto" and user["Tags"][0]["Value"] == "ä @ b", user
assert abs(user["CreateDate"].timestamp() - time.time()) < 60
iam.get_waiter("user_exists").wait(UserName="boto")
refused("EntityAlreadyExists", iam.create_user, UserName="boto")
refused("NoSuchEntity", iam.get_user, UserName="nobody")
refused("MalformedPolicyDocument", iam.put_user_policy, UserName="boto", PolicyName="p", PolicyDocument="{}")

document = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "iam:GetUser", "Resource": "*"}]}
iam.put_user_policy(UserName="boto", PolicyName="p", PolicyDocument=json.dumps(document))
assert iam.get_user_policy(UserName="boto", PolicyName="p")["PolicyDocument"] == document
assert iam.list_groups_for_user(UserName="boto")["Groups"] == []

policies = [p["PolicyName"] for page in iam.get_paginator("list_policies").paginate(PaginationConfig={"PageSize": 3}) for p in page["Policies"]]
assert "AWSPrivateCAAuditor" in policies and len(policies) == len(set(policies)), policies

key = iam.create_access_key(UserName="boto")["AccessKey"]
mine = boto3.Session(key["AccessKeyId"], key["SecretAccessKey"])
assert mine.client("iam").get_user()["User"]["UserName"] == "boto"
refused("AccessDenied", mine.client("iam").list_users)
refused("AccessDeniedException", mine.client("organizations").list_accounts)
refused("AccessDeniedException", mine.client("acm-pca").list_certificate_authorities)

trust = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": {"AWS": user["Arn"]}, "Action": "sts:AssumeRole"}]}
role = iam.create_role(RoleName="botorole", AssumeRolePolicyDocument=json.dumps(trust))["Role"]
assert role["AssumeRolePolicyDocument"] == trust, role
iam.attach_role_policy(RoleName="botorole", PolicyArn="arn:aws:iam::aws:policy/AWSPrivateCAReadOnly")
session = mine.client("sts").assume_role(RoleArn=role["Arn"], RoleSessionName="b1")["Credentials"]
there = boto3.Session(session["AccessKeyId"], session["SecretAccessKey"], session["SessionToken"])
assert there.client("sts").get_caller_identity()["Arn"] == f"arn:aws:sts::{account}:assumed-role/botorole/b1"
assert there.client("acm-pca").list_certificate_authorities()["CertificateAuthorities"] == []

new = organizations.create_account(AccountName="boto", Email="boto@example.com")["CreateAccountStatus"]
assert new["State"] == "SUCCEEDED", new
ids = [a["Id"] for page in organizations.get_paginator("list_accounts").paginate() for a in page["Accounts"]]
assert account in ids and new["AccountId"] in ids, ids

# A presigned GetCallerIdentity, as Kubernetes authenticators and Vault use it.
url = sts.generate_presigned_url("get_caller_identity", HttpMethod="GET")
import urllib.request

assert f"arn:aws:iam::{account}:user/admin" in urllib.request.urlopen(url).read().decode(), urllib.parse.urlsplit(url)

iam.detach_role_policy(RoleName="botorole", PolicyArn="arn:aws:iam::aws:policy/AWSPrivateCAReadOnly")
iam.delete_role(RoleName="botorole")
iam.delete_access_key(UserName="boto", AccessKeyId=key["AccessKeyId"])
iam.delete_user_policy(UserName="boto", PolicyName="p")
iam.delete_user(UserName="boto")
refused("NoSuchEntity", iam.delete_user, UserName="boto")
