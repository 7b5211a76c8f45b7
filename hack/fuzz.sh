#!/usr/bin/env bash
# Runs every fuzz target of the module, SECONDS for all of them together. An
# input that fails is kept in testdata/fuzz of its package, where every later
# run of the tests tries it. Usage: fuzz.sh SECONDS
set -euo pipefail
seconds=$1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

mapfile -t targets < <(grep -rEo --include='*_test.go' '^func Fuzz[A-Za-z0-9_]+' cmd internal | sed 's/:func / /' | sort)
((${#targets[@]})) || { echo "no fuzz target" >&2; exit 1; }
each=$((seconds / ${#targets[@]}))
((each)) || each=1
echo "${#targets[@]} fuzz targets, $each s each"
failed=0
for target in "${targets[@]}"; do
	read -r file name <<<"$target"
	package=$(dirname "$file")
	binary=$work/${package//\//-}
	# What go test -fuzz does, but for our packages alone: the coverage that leads
	# the fuzzer is theirs, and the others need not be compiled once more.
	[[ -x $binary ]] || go test -c -gcflags='chirograph.dev/...=-d=libfuzzer' -o "$binary" "./$package"
	fuzz() { (cd "$package" && "$binary" -test.run '^$' -test.fuzz "^$name\$" -test.fuzztime "${each}s" -test.fuzzcachedir "$work/corpus/$package") >"$work/out" 2>&1; }
	# On a busy machine Go's fuzzer now and then takes the end of its own time for
	# a failure (go.dev/issue/75804): that, without an input that fails, is tried again.
	ended() { grep -qx '    context deadline exceeded' "$work/out" && ! grep -q 'Failing input' "$work/out"; }
	if ! fuzz && ! { ended && fuzz; }; then
		echo "FAIL $package $name"
		cat "$work/out"
		failed=1
		continue
	fi
	echo "ok   $package $name: $(grep -Eo 'execs: [0-9]+' "$work/out" | tail -1)"
done
exit $failed
