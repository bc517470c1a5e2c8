#!/bin/sh
# Prepares build/apk for abuild and runs it where there is one.
#
#   contrib/alpine/build.sh TARBALL    the one that `make dist` leaves
set -eu

here=$(dirname "$0")
tarball=$1
top=$PWD/build/apk

rm -rf "$top"
mkdir -p "$top"
cp "$tarball" "$here/APKBUILD" "$here/llm-proxy.pre-install" "$top/"
cd "$top"
printf '\nsha512sums="\n%s\n"\n' "$(sha512sum llm-proxy-*.tar.gz)" \
    >>APKBUILD
if ! command -v abuild >/dev/null 2>&1; then
    echo "make apk: not built, abuild is missing here; on Alpine:" \
        "cd build/apk && abuild -r"
    exit 0
fi
abuild -r -P "$top/packages"
