#!/bin/sh
# Holds the rpm of `make rpm` against rpmlint, the deb of `make deb` and what
# `make install` does.
#
#   tests/packages/rpm.sh
set -eu

one() {
    found=$(find "$1" -name "$2" 2>/dev/null) || :
    case $found in
    '' | *"
"*)
        echo "rpm.sh: not one $2 in $1, but '$found': run 'make $3'" >&2
        exit 66 ;;
    esac
    echo "$found"
}

rpm=$(one build/rpm/RPMS 'llm-proxy-[0-9]*.rpm' rpm)
source=$(one build/rpm/SRPMS 'llm-proxy-[0-9]*.rpm' rpm)
rpmlint --strict -c contrib/rpm/rpmlint.toml "$rpm" "$source" \
    contrib/rpm/llm-proxy.spec

folder=build/packages
rm -rf "$folder"
DESTDIR=$PWD/$folder meson install -C build/release --no-rebuild --quiet
tests/packages/compare.py "$rpm" "$folder"
deb=$(one build/deb 'llm-proxy_*.deb' deb)
tests/packages/compare.py "$rpm" "$deb"
