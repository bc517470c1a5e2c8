#!/bin/sh
# Builds what is committed twice, in folders of different names and depths, by
# no compiler's cache, and compares the programs byte for byte.
set -eu

tree=$(cd "$(dirname "$0")/.." && pwd)
out=$tree/build/reproducible
programs='src/llm-proxyd src/llm-proxyctl'
export CCACHE_DISABLE=1
commit=$(git -C "$tree" rev-parse HEAD)

rm -rf "$out"
passed=0
failed=0
for place in here another/place/elsewhere; do
    mkdir -p "$out/$place"
    git -C "$tree" archive "$commit" | tar -x -C "$out/$place"
    (
        cd "$out/$place"
        make build/release/build.ninja >"$out/log" 2>&1 &&
            make build-release PROGRAM="$programs" >>"$out/log" 2>&1
    ) || {
        tail -n 40 "$out/log"
        echo "reproducible.sh: the build in $out/$place failed" >&2
        exit 1
    }
done
for program in $programs; do
    one=$out/here/build/release/$program
    other=$out/another/place/elsewhere/build/release/$program
    if cmp "$one" "$other"; then
        passed=$((passed + 1))
        sha256sum "$one" | sed "s|  .*|  $program, both times|"
    else
        failed=$((failed + 1))
    fi
done
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
