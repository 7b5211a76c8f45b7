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
