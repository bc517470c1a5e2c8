#!/bin/sh
# Builds and tests on Debian 13 (trixie): its Valkey, TLS by its hiredis, its
# compiler and llhttp. Debootstrap makes the root in build/trixie, once; the
# working tree is mounted there read-only, with a build folder of its own.
# All of it runs in namespaces of its own: nothing stays mounted or running.
# Needs root and a network.
#
#   tests/trixie.sh [SUITE...]        as tests/check.py --list names them;
#                                     all that "make check" runs if none
#   tests/trixie.sh --make TARGET...
set -eu

fail() {
    status=$1
    shift
    echo "trixie.sh: $*" >&2
    exit "$status"
}

tree=$(cd "$(dirname "$0")/.." && pwd)
root=$tree/build/trixie
host_ca=/etc/ssl/host-ca.crt

make_root() {
    rm -rf "$root.new"
    mkdir -p "$root.new"
    debootstrap --variant=minbase --include=make,ca-certificates trixie \
        "$root.new" "${DEBIAN_MIRROR:-http://deb.debian.org/debian}" ||
        fail 69 "debootstrap failed, see above; another mirror is named by" \
            "DEBIAN_MIRROR"
    mkdir "$root.new/src" "$root.new/build"
    mv "$root.new" "$root"
}

# What this machine knows of the network: names, and whom it trusts.
share_network() {
    cp -L /etc/resolv.conf /etc/hosts "$root/etc/"
    for bundle in /etc/ssl/certs/ca-certificates.crt \
        /etc/pki/tls/certs/ca-bundle.crt; do
        if [ -r "$bundle" ]; then
            cp -L "$bundle" "$root$host_ca"
            break
        fi
    done
}

# In namespaces of its own.
enter() {
    mount --bind "$tree" "$root/src"
    mount -o remount,bind,ro "$root/src"
    mount --bind "$root/build" "$root/src/build"
    mount -t proc proc "$root/proc"
    mount --rbind /dev "$root/dev"
    mount -t tmpfs tmpfs "$root/tmp"
    exec chroot "$root" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root \
        LANG=C.UTF-8 CI="${CI-}" http_proxy="${http_proxy-}" \
        https_proxy="${https_proxy-}" no_proxy="${no_proxy-}" \
        PYTHONDONTWRITEBYTECODE=1 /src/tests/trixie.sh --inside "$@"
}

# In the root. No exec at the end: the first process of a namespace must wait
# for whatever loses its parent, as a shell does.
run_suites() {
    if [ -e "$host_ca" ]; then
        export SSL_CERT_FILE="$host_ca" PIP_CERT="$host_ca" \
            NODE_EXTRA_CA_CERTS="$host_ca"
    fi
    # The tree may be another user's.
    export GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0=safe.directory \
        GIT_CONFIG_VALUE_0=/src
    cd /src
    if [ "${1-}" = --make ]; then
        shift
        make "$@"
        return
    fi
    contrib/deps.sh run check
    make build/venv/.done
    build/venv/bin/python tests/check.py "$@"
}

case ${1-} in
--enter)
    shift
    enter "$@"
    ;;
--inside)
    shift
    run_suites "$@"
    exit
    ;;
esac
[ "$(id -u)" -eq 0 ] ||
    fail 77 "makes a root and mounts, for which it must be root: use sudo"
command -v debootstrap >/dev/null ||
    fail 69 "debootstrap is missing: install the package of that name"
command -v unshare >/dev/null ||
    fail 69 "unshare is missing: install the package util-linux"
[ -d "$root" ] || make_root
share_network
exec unshare --mount --pid --fork --kill-child \
    "$tree/tests/trixie.sh" --enter "$@" </dev/null
