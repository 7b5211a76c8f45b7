#!/usr/bin/env bash
# Installs the programs that the tests talk to, where they are missing: the aws
# CLI, boto3, OpenSSL, GnuTLS, NSS, strace, a Java runtime, Node.js, Chromium
# (Debian packages), a second OpenSSL that has ML-DSA, the AWS SDK for JavaScript,
# what the console is built with and a newer Node.js for it (npm), and versitygw, a
# foreign S3 server (Go module). Usage: tools.sh DIR VERSITYGW-MODULE; tools.sh DIR
# installs no more than `make console` needs.
set -euo pipefail
dir=$1 versitygw=${2:-}
nodejs=22.23.3
mkdir -p "$dir"

# again tries three times: registries have their bad minutes.
again() { "$@" || { sleep 5 && "$@"; } || { sleep 20 && "$@"; }; }

# npm_ci installs what a folder's package-lock.json says, unless it did before. It
# runs without this project's own node, which Debian's npm would not find its parts
# from; and not with --prefix, since npm would look for the machine's settings there.
npm_ci() {
	cmp -s "$1/package-lock.json" "$1/node_modules/installed.json" && return
	echo "installing $2"
	(cd "$1" && PATH=${PATH#"$dir:"} again npm ci --ignore-scripts --no-audit --no-fund --loglevel error >/dev/null)
	cp "$1/package-lock.json" "$1/node_modules/installed.json"
}

missing=()
command -v node >/dev/null || missing+=(nodejs)
command -v npm >/dev/null || missing+=(npm)
if [[ -n $versitygw ]]; then
	command -v aws >/dev/null || missing+=(awscli)
	python3 -c 'import boto3' 2>/dev/null || missing+=(python3-boto3)
	command -v openssl >/dev/null || missing+=(openssl)
	command -v certtool >/dev/null && command -v ocsptool >/dev/null || missing+=(gnutls-bin)
	command -v crlutil >/dev/null && command -v vfychain >/dev/null || missing+=(libnss3-tools)
	command -v strace >/dev/null || missing+=(strace)
	command -v java >/dev/null || missing+=(default-jdk-headless)
	command -v gcc >/dev/null || missing+=(gcc libc6-dev)
	command -v chromium >/dev/null || missing+=(chromium)
	[[ -e /usr/share/keyrings/debian-archive-keyring.gpg ]] || missing+=(debian-archive-keyring)
fi
if ((${#missing[@]})); then
	sudo=()
	if [[ $(id -u) != 0 ]]; then sudo=(sudo); fi
	echo "installing Debian packages: ${missing[*]}"
	again "${sudo[@]}" apt-get update -qq
	DEBIAN_FRONTEND=noninteractive again "${sudo[@]}" apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
fi

# Vite wants Node.js 20.19 or 22.12; Debian 12 has 18. npm has the program itself, too.
if ! node -e 'const [a, b] = process.versions.node.split(".").map(Number); process.exit((a === 20 && b >= 19) || (a === 22 && b >= 12) || a > 22 ? 0 : 1)'; then
	echo "fetching Node.js $nodejs"
	case $(uname -m) in
	x86_64) machine=x64 ;;
	aarch64) machine=arm64 ;;
	*) echo "the console needs Node.js 20.19, 22.12 or newer: install it" >&2 && exit 1 ;;
	esac
	mkdir -p "$dir/node.d" && echo '{"private":true}' >"$dir/node.d/package.json"
	(cd "$dir/node.d" && PATH=${PATH#"$dir:"} again npm install --ignore-scripts --no-audit --no-fund --loglevel error "node-linux-$machine@$nodejs" >/dev/null)
	ln -sf "$dir/node.d/node_modules/node-linux-$machine/bin/node" "$dir/node"
fi
npm_ci internal/console/ui "what the console is built with"
[[ -n $versitygw ]] || exit 0

# OpenSSL has ML-DSA since 3.5. Where the system's is older, that of Debian 13 is
# unpacked beside it, with the C library that it needs; nothing is installed.
if [[ ! -x $dir/openssl35 ]]; then
	rm -rf "$dir/openssl35.d" && mkdir -p "$dir/openssl35.d"/{lists/partial,cache/archives/partial,root}
	if openssl list -public-key-algorithms | grep ML-DSA-65 >/dev/null; then
		ln -sf "$(command -v openssl)" "$dir/openssl35"
	else
		echo "fetching OpenSSL 3.5 from Debian 13"
		keys=/usr/share/keyrings/debian-archive-keyring.gpg
		# From where this machine has its packages; DEBIAN_MIRROR for one that is no Debian.
		mirror=${DEBIAN_MIRROR:-$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | sed '/security/d' | sed -n 1p)}
		echo "deb [signed-by=$keys] $mirror trixie main" >"$dir/openssl35.d/sources.list"
		options=(-qq -o Debug::NoLocking=1 -o APT::Sandbox::User= -o Acquire::Retries=3 -o Acquire::Languages=none
			-o Dir::Etc::SourceList="$dir/openssl35.d/sources.list" -o Dir::Etc::SourceParts=-
			-o Dir::State::Lists="$dir/openssl35.d/lists" -o Dir::State::Status=/dev/null -o Dir::Cache="$dir/openssl35.d/cache")
		apt-get "${options[@]}" update
		(cd "$dir/openssl35.d" && apt-get "${options[@]}" download openssl libssl3t64 libc6 libzstd1 zlib1g)
		for package in "$dir"/openssl35.d/*.deb; do
			dpkg-deb -x "$package" "$dir/openssl35.d/root"
		done
		rm -rf "$dir"/openssl35.d/{lists,cache} "$dir"/openssl35.d/*.deb
		libraries=$(dirname "$(find "$dir/openssl35.d/root" -name libcrypto.so.3 -print -quit)")
		loader=$(find "$libraries" -name 'ld-linux*.so.*' -print -quit)
		program=$(find "$dir/openssl35.d/root" -type f -name openssl -perm -u+x -print -quit)
		cat >"$dir/openssl35.d/openssl" <<EOF
#!/usr/bin/env bash
exec "$loader" --library-path "$libraries" "$program" "\$@"
EOF
		chmod +x "$dir/openssl35.d/openssl"
		"$dir/openssl35.d/openssl" list -public-key-algorithms | grep ML-DSA-65 >/dev/null
		ln -sf "$dir/openssl35.d/openssl" "$dir/openssl35"
	fi
fi

if [[ ! -x $dir/versitygw ]]; then
	echo "building $versitygw"
	GOFLAGS=-mod=mod GOBIN=$dir again go install "$versitygw"
fi

mkdir -p "$dir/javascript"
cp cmd/chirograph/testdata/javascript/package*.json "$dir/javascript/"
npm_ci "$dir/javascript" "the AWS SDK for JavaScript"

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
