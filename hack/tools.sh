#!/usr/bin/env bash
# Installs the programs that the tests talk to, where they are missing: the aws
# CLI, boto3, OpenSSL, strace, a Java runtime (Debian packages) and versitygw, a
# foreign S3 server (Go module). Usage: tools.sh DIR VERSITYGW-MODULE
set -euo pipefail
dir=$1 versitygw=$2
mkdir -p "$dir"

missing=()
command -v aws >/dev/null || missing+=(awscli)
python3 -c 'import boto3' 2>/dev/null || missing+=(python3-boto3)
command -v openssl >/dev/null || missing+=(openssl)
command -v strace >/dev/null || missing+=(strace)
command -v java >/dev/null || missing+=(default-jdk-headless)
command -v gcc >/dev/null || missing+=(gcc libc6-dev)
if ((${#missing[@]})); then
	sudo=()
	if [[ $(id -u) != 0 ]]; then sudo=(sudo); fi
	echo "installing Debian packages: ${missing[*]}"
	"${sudo[@]}" apt-get update -qq
	DEBIAN_FRONTEND=noninteractive "${sudo[@]}" apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
fi

if [[ ! -x $dir/versitygw ]]; then
	echo "building $versitygw"
	GOFLAGS=-mod=mod GOBIN=$dir go install "$versitygw"
fi

# The aws CLI reads endpoint URLs from its configuration since 2.13 and 1.29
# (July 2023); Debian 12 has 2.9. For an older one, a command of the same name
# passes the URL of the service with --endpoint-url.
rm -f "$dir/aws"
version=$(aws --version 2>&1 | sed -E 's/^aws-cli\/([0-9]+)\.([0-9]+)\..*/\1 \2/')
read -r major minor <<<"$version"
if ((major == 2 && minor < 13 || major == 1 && minor < 29)); then
	cat >"$dir/aws" <<EOF
#!/usr/bin/env bash
section=\${1//-/_}; [[ \$section == s3api ]] && section=s3
url=\$(sed -n "/^\\[services/,\\\$ { /^\$section =/,/endpoint_url/ s/^ *endpoint_url = //p }" "\${AWS_CONFIG_FILE:-/dev/null}")
specific=AWS_ENDPOINT_URL_\${section^^}
url=\${url:-\${!specific:-\${AWS_ENDPOINT_URL:-}}}
exec $(command -v aws) \${url:+--endpoint-url "\$url"} "\$@"
EOF
	chmod +x "$dir/aws"
fi
