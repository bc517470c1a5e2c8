#!/bin/sh
# Makes every package and runs every check of one, one target after the other,
# whatever becomes of those before it. A line for each, what was made, and as
# the last line the sum. Logs are in build/packages.log. Needs root and a
# network.
#
#   tests/packages/all.sh [TARGET...]
set -u

logs=build/packages.log
mkdir -p $logs
: >$logs/began
[ $# -gt 0 ] || set -- all check-deb check-deb-trixie rpm check-rpm apk \
    check-openrc check-container check-sandbox check-clang \
    check-reproducible sbom

# The sums that a log ends with: "N passed, N failed" of scripts and pytest.
count() {
    found=$(grep -oE '[0-9]+ '"$2" "$1" | tail -n 1)
    echo "${found%% *}"
}

passed=0
failed=0
for target in "$@"; do
    began=$(date +%s)
    # What is missing is an error.
    if CI=true make "$target" >"$logs/$target.log" 2>&1 </dev/null; then
        said=ok
        ok=$(count "$logs/$target.log" passed)
        wrong=0
        if grep 'not built' "$logs/$target.log"; then
            said=absent
            ok=0
        fi
    else
        said=FAILED
        ok=$(count "$logs/$target.log" passed)
        wrong=$(count "$logs/$target.log" failed)
        [ "${wrong:-0}" -gt 0 ] || wrong=1
        [ -n "$ok" ] || ok=0
    fi
    # A target without counts of its own is one.
    passed=$((passed + ${ok:-1}))
    failed=$((failed + wrong))
    printf '%-7s %-18s %5d passed %4d failed %5d s\n' $said "$target" \
        "${ok:-1}" "$wrong" $(($(date +%s) - began))
    [ $said != FAILED ] || tail -n 20 "$logs/$target.log" | sed 's/^/    /'
done
find build/dist build/deb build/rpm build/apk build/trixie/build/deb \
    build/sbom.spdx.json -type f -newer $logs/began \( -name '*.deb' -o \
    -name '*.rpm' -o -name '*.apk' -o -name 'llm-proxy-*.tar.gz' -o \
    -name '*.spdx.json' \) -printf '%10s  %p\n' 2>/dev/null
echo "$passed passed, $failed failed"
[ $failed -eq 0 ]
