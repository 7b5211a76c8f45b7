# A user, a role, a session and an account through the aws CLI.
set -euo pipefail
export AWS_PAGER= AWS_MAX_ATTEMPTS=1
refused() {
	local code=$1
	shift
	if out=$("$@" 2>&1); then
		echo "not refused: $*"
		exit 1
	fi
	grep -q "($code)" <<<"$out" || { echo "$out"; exit 1; }
}
ACCOUNT=$(aws sts get-caller-identity --query Account --output text)
aws iam create-user --user-name cli --tags Key=team,Value=audit
aws iam wait user-exists --user-name cli
refused EntityAlreadyExists aws iam create-user --user-name cli
aws iam attach-user-policy --user-name cli --policy-arn arn:aws:iam::aws:policy/AWSPrivateCAAuditor
aws iam list-attached-user-policies --user-name cli --query 'AttachedPolicies[].PolicyName' --output text | grep -x AWSPrivateCAAuditor
read -r ID SECRET < <(aws iam create-access-key --user-name cli --query 'AccessKey.[AccessKeyId,SecretAccessKey]' --output text)
cli() { AWS_ACCESS_KEY_ID=$ID AWS_SECRET_ACCESS_KEY=$SECRET aws "$@"; }
cli sts get-caller-identity --query Arn --output text | grep -x "arn:aws:iam::$ACCOUNT:user/cli"
cli acm-pca list-certificate-authorities
refused AccessDenied cli iam create-access-key
refused AccessDenied cli iam list-users
refused AccessDeniedException cli organizations list-accounts
refused AccessDeniedException cli acm-pca issue-certificate --certificate-authority-arn "arn:aws:acm-pca:us-east-1:$ACCOUNT:certificate-authority/00000000-0000-4000-8000-000000000000" --csr "fileb://$AWS_CONFIG_FILE" --signing-algorithm SHA256WITHECDSA --validity Value=1,Type=DAYS
TRUST='{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::'$ACCOUNT':user/cli"},"Action":"sts:AssumeRole"}]}'
ROLE=$(aws iam create-role --role-name clirole --assume-role-policy-document "$TRUST" --query Role.Arn --output text)
aws iam get-role --role-name clirole --query 'Role.AssumeRolePolicyDocument.Statement[0].Action' --output text | grep -x sts:AssumeRole
cli sts assume-role --role-arn "$ROLE" --role-session-name c1 --query AssumedRoleUser.Arn --output text | grep -x "arn:aws:sts::$ACCOUNT:assumed-role/clirole/c1"
printf '[profile clirole]\nregion = us-east-1\nservices = chirograph\nrole_arn = %s\nsource_profile = cli\n[profile cli]\nservices = chirograph\n' "$ROLE" | cat "$AWS_CONFIG_FILE" - > "$HOME/config"
printf '[cli]\naws_access_key_id = %s\naws_secret_access_key = %s\n' "$ID" "$SECRET" > "$HOME/credentials"
AWS_CONFIG_FILE=$HOME/config AWS_SHARED_CREDENTIALS_FILE=$HOME/credentials aws sts get-caller-identity --profile clirole --query Arn --output text | grep ":assumed-role/clirole/"
aws iam create-policy --policy-name clipolicy --policy-document '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"acm-pca:Get*","Resource":"*"}]}' --query Policy.Arn --output text
aws iam get-policy-version --policy-arn "arn:aws:iam::$ACCOUNT:policy/clipolicy" --version-id v1 --query 'PolicyVersion.Document.Statement[0].Action' --output text | grep -x 'acm-pca:Get\*'
aws iam delete-policy --policy-arn "arn:aws:iam::$ACCOUNT:policy/clipolicy"
NEW=$(aws organizations create-account --account-name cli --email cli@example.com --query CreateAccountStatus.AccountId --output text)
aws organizations list-accounts --query 'Accounts[].Id' --output text | grep "$NEW"
aws organizations describe-account --account-id "$NEW" --query Account.JoinedTimestamp --output text | grep -E '^[0-9]'
aws organizations close-account --account-id "$NEW"
refused AccessDenied aws sts assume-role --role-arn "arn:aws:iam::$NEW:role/OrganizationAccountAccessRole" --role-session-name c2
aws iam delete-role --role-name clirole
aws iam delete-access-key --user-name cli --access-key-id "$ID"
refused InvalidClientTokenId cli sts get-caller-identity
aws iam detach-user-policy --user-name cli --policy-arn arn:aws:iam::aws:policy/AWSPrivateCAAuditor
aws iam delete-user --user-name cli
refused NoSuchEntity aws iam get-user --user-name cli
