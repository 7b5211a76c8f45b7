#!/usr/bin/env bash
# The life of a CA through the aws CLI, all 23 operations, its three waiters,
# its pagination and its ways to pass input, in the folder $1. Stops at the first
# thing that is not as AWS has it.
set -euo pipefail
cd "$1"
export AWS_PAGER=
pca() { aws acm-pca "$@"; }
fail() { echo "aws.sh: $*" >&2; exit 1; }
same() { [[ $2 == "$3" ]] || fail "$1: got '$2', want '$3'"; }
# refused CODE TEXT OPERATION ARGUMENTS...: the CLI prints the code and exits 254 or 255.
refused() {
	local code=$1 text=$2 out
	shift 2
	if out=$(pca "$@" 2>&1); then fail "$1 was not refused"; fi
	[[ $out == *"An error occurred ($code) when calling the "* && $out == *"$text"* ]] || fail "$1: '$out' is not $code, $text"
}

same "the caller" "$(aws sts get-caller-identity --query Account --output text)" 123456789012

# Input as JSON, as the CLI's skeletons are filled in.
cat >root.json <<'JSON'
{
  "CertificateAuthorityType": "ROOT",
  "CertificateAuthorityConfiguration": {
    "KeyAlgorithm": "EC_prime256v1", "SigningAlgorithm": "SHA256WITHECDSA",
    "Subject": {"CommonName": "CLI root", "Organization": "Example", "Country": "US"}
  },
  "RevocationConfiguration": {"CrlConfiguration": {"Enabled": false}},
  "IdempotencyToken": "aws.sh",
  "Tags": [{"Key": "team", "Value": "pki"}]
}
JSON
CA=$(pca create-certificate-authority --cli-input-json file://root.json --query CertificateAuthorityArn --output text)
same "the same token" "$(pca create-certificate-authority --cli-input-json file://root.json --query CertificateAuthorityArn --output text)" "$CA"
ca=(--certificate-authority-arn "$CA")
pca wait certificate-authority-csr-created "${ca[@]}"
same "a new CA" "$(pca describe-certificate-authority "${ca[@]}" --query 'CertificateAuthority.[Status,UsageMode,KeyStorageSecurityStandard,RevocationConfiguration.CrlConfiguration.Enabled]' --output text)" \
	"$(printf 'PENDING_CERTIFICATE\tGENERAL_PURPOSE\tFIPS_140_2_LEVEL_3_OR_HIGHER\tFalse')"
refused InvalidStateException "" get-certificate-authority-certificate "${ca[@]}"
refused InvalidStateException "The certificate authority must be in the ACTIVE or DISABLED state to be updated" update-certificate-authority "${ca[@]}" --status DISABLED

# Activation: bytes go in with fileb://.
pca get-certificate-authority-csr "${ca[@]}" --output text >root.csr
openssl req -in root.csr -verify -noout 2>/dev/null
ROOT=$(pca issue-certificate "${ca[@]}" --csr fileb://root.csr --signing-algorithm SHA256WITHECDSA \
	--template-arn arn:aws:acm-pca:::template/RootCACertificate/V1 --validity Value=10,Type=YEARS --query CertificateArn --output text)
pca wait certificate-issued "${ca[@]}" --certificate-arn "$ROOT"
pca get-certificate "${ca[@]}" --certificate-arn "$ROOT" --query Certificate --output text >root.pem
pca import-certificate-authority-certificate "${ca[@]}" --certificate fileb://root.pem
pca get-certificate-authority-certificate "${ca[@]}" --query Certificate --output text >installed.pem
same "the installed certificate" "$(<installed.pem)" "$(<root.pem)"
same "an active CA" "$(pca describe-certificate-authority "${ca[@]}" --query CertificateAuthority.Status --output text)" ACTIVE

# A leaf whose names come with the call, and its revocation.
openssl req -new -newkey rsa:2048 -nodes -keyout www.key -out www.csr -subj /CN=www.example.com 2>/dev/null
LEAF=$(pca issue-certificate "${ca[@]}" --csr fileb://www.csr --signing-algorithm SHA256WITHECDSA --validity "Value=$(date -u -d '+30 days' +%Y%m%d%H%M%S),Type=END_DATE" \
	--template-arn arn:aws:acm-pca:::template/EndEntityCertificate_APIPassthrough/V1 \
	--api-passthrough 'Extensions={SubjectAlternativeNames=[{DnsName=www.example.com},{IpAddress=192.0.2.1}]}' --query CertificateArn --output text)
pca get-certificate "${ca[@]}" --certificate-arn "$LEAF" >leaf.json
python3 -c 'import json; print(json.load(open("leaf.json"))["Certificate"])' >www.pem
openssl verify -CAfile root.pem -purpose sslserver -verify_hostname www.example.com -verify_ip 192.0.2.1 www.pem >/dev/null
SERIAL=$(openssl x509 -in www.pem -noout -serial | cut -d= -f2 | sed 's/../&:/g; s/:$//')
pca revoke-certificate "${ca[@]}" --certificate-serial "$SERIAL" --revocation-reason CESSATION_OF_OPERATION
refused RequestAlreadyProcessedException "" revoke-certificate "${ca[@]}" --certificate-serial "${LEAF##*/}" --revocation-reason UNSPECIFIED
refused InvalidRequestException "Self-signed certificate can not be revoked" revoke-certificate "${ca[@]}" --certificate-serial "${ROOT##*/}" --revocation-reason UNSPECIFIED

# The audit report.
aws s3 mb s3://cli-reports >/dev/null
refused ValidationException "Check your S3 bucket permissions and try again" create-certificate-authority-audit-report "${ca[@]}" --s3-bucket-name cli-reports --audit-report-response-format CSV
aws s3api put-bucket-policy --bucket cli-reports --policy '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"acm-pca.amazonaws.com"},
	"Action":["s3:PutObject","s3:PutObjectAcl","s3:GetBucketAcl","s3:GetBucketLocation"],"Resource":["arn:aws:s3:::cli-reports/*","arn:aws:s3:::cli-reports"]}]}'
read -r ID KEY < <(pca create-certificate-authority-audit-report "${ca[@]}" --s3-bucket-name cli-reports --audit-report-response-format CSV --query '[AuditReportId,S3Key]' --output text)
pca wait audit-report-created "${ca[@]}" --audit-report-id "$ID"
same "the report" "$(pca describe-certificate-authority-audit-report "${ca[@]}" --audit-report-id "$ID" --query '[AuditReportStatus,S3BucketName,S3Key]' --output text)" "$(printf 'SUCCESS\tcli-reports\t%s' "$KEY")"
aws s3 cp --quiet "s3://cli-reports/$KEY" report.csv
same "rows of the report" "$(grep -c "$CA" report.csv)" 2
grep -q "$LEAF.*,CESSATION_OF_OPERATION," report.csv || fail "the revocation is not in the report"

# Tags, and pages of one.
pca tag-certificate-authority "${ca[@]}" --tags Key=stage,Value=test Key=owner,Value=me
same "pages of tags" "$(pca list-tags "${ca[@]}" --page-size 1 --query 'Tags[].Key' --output text | tr '\n\t' '  ' | xargs)" "owner stage team"
pca untag-certificate-authority "${ca[@]}" --tags Key=stage,Value=test Key=owner
same "tags" "$(pca list-tags "${ca[@]}" --query 'Tags[].[Key,Value]' --output text)" "$(printf 'team\tpki')"
SECOND=$(pca create-certificate-authority --certificate-authority-type SUBORDINATE --certificate-authority-configuration 'KeyAlgorithm=EC_secp384r1,SigningAlgorithm=SHA384WITHECDSA,Subject={CommonName=Second}' --query CertificateAuthorityArn --output text)
pca list-certificate-authorities --page-size 1 --max-items 1 >page.json
same "the first page" "$(python3 -c 'import json; print(*(c["Arn"] for c in json.load(open("page.json"))["CertificateAuthorities"]))')" "$CA"
NEXT=$(python3 -c 'import json; print(json.load(open("page.json"))["NextToken"])')
same "the second page" "$(pca list-certificate-authorities --page-size 1 --max-items 1 --starting-token "$NEXT" --query 'CertificateAuthorities[].Arn' --output text | head -1)" "$SECOND"
refused InvalidNextTokenException "" list-certificate-authorities --next-token forged --no-paginate

# Permissions.
pca create-permission "${ca[@]}" --principal acm.amazonaws.com --actions IssueCertificate GetCertificate ListPermissions
refused PermissionAlreadyExistsException "" create-permission "${ca[@]}" --principal acm.amazonaws.com --actions IssueCertificate
same "permissions" "$(pca list-permissions "${ca[@]}" --query 'Permissions[].[Principal,SourceAccount]' --output text)" "$(printf 'acm.amazonaws.com\t123456789012')"
pca delete-permission "${ca[@]}" --principal acm.amazonaws.com
refused ResourceNotFoundException "" delete-permission "${ca[@]}" --principal acm.amazonaws.com

# The policy.
refused ResourceNotFoundException "Could not find policy for resource $CA" get-policy --resource-arn "$CA"
cat >policy.json <<JSON
{"Version":"2012-10-17","Statement":[
{"Effect":"Allow","Principal":{"AWS":"210987654321"},"Resource":"$CA","Action":["acm-pca:DescribeCertificateAuthority","acm-pca:GetCertificate","acm-pca:GetCertificateAuthorityCertificate","acm-pca:ListPermissions","acm-pca:ListTags"]},
{"Effect":"Allow","Principal":{"AWS":"210987654321"},"Resource":"$CA","Action":"acm-pca:IssueCertificate","Condition":{"StringEquals":{"acm-pca:TemplateArn":"arn:aws:acm-pca:::template/EndEntityCertificate/V1"}}}]}
JSON
pca put-policy --resource-arn "$CA" --policy file://policy.json
same "the policy" "$(pca get-policy --resource-arn "$CA" --query Policy --output text)" "$(<policy.json)"
pca delete-policy --resource-arn "$CA"
refused InvalidPolicyException "" put-policy --resource-arn "$CA" --policy '{"Version":"2012-10-17"}'

# Its end, and its return.
refused InvalidStateException "The certificate authority is not in a valid state for deletion." delete-certificate-authority "${ca[@]}"
refused InvalidStateException "The certificate authority is not in a valid state for restoration." restore-certificate-authority "${ca[@]}"
pca update-certificate-authority "${ca[@]}" --status DISABLED
refused InvalidStateException "The certificate authority is not in a valid state for issuing certificates" issue-certificate "${ca[@]}" --csr fileb://www.csr --signing-algorithm SHA256WITHECDSA --validity Value=1,Type=DAYS
pca delete-certificate-authority "${ca[@]}" --permanent-deletion-time-in-days 7
refused InvalidStateException "The certificate authority is in the DELETED state" list-permissions "${ca[@]}"
pca restore-certificate-authority "${ca[@]}"
pca update-certificate-authority "${ca[@]}" --status ACTIVE
same "the CA at the end" "$(pca describe-certificate-authority "${ca[@]}" --query CertificateAuthority.Status --output text)" ACTIVE
