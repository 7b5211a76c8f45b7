#!/bin/bash
# Runs every program under bench/ and draws their pictures.
#
#   hack/bench.sh [FOLDER]        results and pictures, docs/performance if not given
#
# Sizes, and flags of single programs, come from the environment:
#
#   BENCH_SIZES=1M,10M            stores that reports and look-ups are measured with
#   BENCH_STORE='--data-dir D --ca ARN --bucket B'
#                                 one more store, seeded before, for the reports
#   BENCH_ONLY='report lookup'    these programs alone; the results of others stay
#   BENCH_DIR=FOLDER              where the stores are made
set -euo pipefail
cd "$(dirname "$0")/.."
to=$(realpath -m "${1:-docs/performance}")
sizes=${BENCH_SIZES:-1M,10M}
mkdir -p "$to"

# measure NAME PROGRAM FLAGS... writes NAME.json when the program has done all.
measure() {
	local name=$1 program=$2
	shift 2
	case " ${BENCH_ONLY:-$program} " in *" $program "*) ;; *) return 0 ;; esac
	echo "== $program $*" >&2
	go run "./bench/$program" ${BENCH_DIR:+--dir "$BENCH_DIR"} --output json "$@" > "$to/$name.json.new"
	mv "$to/$name.json.new" "$to/$name.json"
}

measure issue issue
measure revoke revoke
measure ocsp ocsp
measure lookup lookup --certificates "100k,$sizes"
measure search search --certificates "$sizes"
measure start start --certificates "100k,$sizes"
measure stall stall
measure report report --certificates "$sizes"
if [ -n "${BENCH_STORE:-}" ]; then
	# shellcheck disable=SC2086 # flags
	measure report-store report $BENCH_STORE
fi
measure proof proof --certificates "$sizes"
(cd bench/chart && go run . --to "$to" "$to"/*.json)
