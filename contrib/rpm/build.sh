#!/bin/sh
# Builds the source and the binary package; everything stays below build/rpm.
#
#   contrib/rpm/build.sh TARBALL       the one that `make dist` leaves
set -eu

here=$(dirname "$0")
tarball=$1
name=$(basename "$tarball" .tar.gz)
top=$PWD/build/rpm

if ! command -v rpmbuild >/dev/null 2>&1; then
    echo "make rpm: rpmbuild is missing: 'contrib/deps.sh package' installs" \
        "it" >&2
    exit 69
fi

set -- --define "_topdir $top" --define "_tmppath $top/tmp"
if [ -z "$(rpm --eval '%{?meson}')" ]; then
    # What is installed is in another package manager's books; meson says what
    # is missing.
    set -- --load "$here/macros.fedora" --nodeps --dbpath "$top/db" "$@"
    echo "make rpm: not a Fedora system: macros of $here/macros.fedora, and" \
        "a package that asks for the libraries of this one"
fi

rm -rf "$top"
mkdir -p "$top/SOURCES" "$top/SPECS" "$top/db" "$top/tmp"
cp "$tarball" "$top/SOURCES/"
tar -xOf "$tarball" "$name/contrib/sysusers.d/llm-proxyd.conf" \
    >"$top/SOURCES/llm-proxyd.sysusers"
cp "$here/llm-proxy.spec" "$top/SPECS/"
rpmbuild "$@" -ba "$top/SPECS/llm-proxy.spec"
find "$top/RPMS" "$top/SRPMS" -name '*.rpm'
