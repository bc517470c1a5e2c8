#!/bin/sh
# Installs what building, testing or measuring llm-proxy needs and is not
# there yet. Asks for root, and for the network, only when something is
# missing.
#
#   contrib/deps.sh GROUP...      run | check | bench | container | package
set -eu

usage() {
    echo "usage: contrib/deps.sh run|check|bench|container|package ..." >&2
    exit 64
}

# Package names: GROUP as Debian, Fedora and Alpine call it. A|B is A where
# the release has it, otherwise B.
packages() {
    case $1:$2 in
    apt:run)
        echo build-essential meson ninja-build pkg-config ccache \
            libevent-dev libcurl4-openssl-dev libjansson-dev libhiredis-dev \
            libssl-dev libcmocka-dev "libllhttp-dev|node-llhttp" python3 \
            python3-venv ca-certificates curl ;;
    apt:check)
        echo clang clang-format libclang-rt-dev mandoc \
            shellcheck nginx-light haproxy caddy \
            "valkey-server|redis-server" openssl systemd zsh fish \
            valgrind strace procps libseccomp2 git rpm ;;
    apt:bench)
        echo wrk haproxy nginx-light "valkey-server|redis-server" ;;
    apt:container)
        echo debootstrap util-linux iproute2 curl binutils ;;
    apt:package)
        echo git dpkg-dev debhelper dh-apparmor lintian blhc debootstrap rpm \
            rpmlint ;;
    dnf:run)
        echo gcc gcc-c++ make meson ninja-build pkgconf-pkg-config ccache \
            libevent-devel libcurl-devel jansson-devel hiredis-devel \
            openssl-devel libcmocka-devel llhttp-devel python3 \
            ca-certificates curl ;;
    dnf:check)
        echo clang clang-tools-extra compiler-rt libasan libubsan libtsan \
            mandoc ShellCheck nginx haproxy caddy redis openssl systemd zsh \
            fish valgrind strace procps-ng libseccomp git rpm-build dpkg ;;
    dnf:bench)
        echo wrk haproxy nginx redis ;;
    dnf:container)
        echo debootstrap util-linux iproute curl binutils ;;
    dnf:package)
        echo git rpm-build rpmlint systemd-rpm-macros dpkg ;;
    apk:run)
        echo build-base meson ninja pkgconf ccache libevent-dev curl-dev \
            jansson-dev hiredis-dev openssl-dev cmocka-dev llhttp-dev \
            linux-headers python3 py3-pip ca-certificates curl bash ;;
    apk:check)
        echo clang clang-extra-tools compiler-rt mandoc shellcheck nginx \
            haproxy caddy redis openssl zsh fish valgrind strace procps \
            libseccomp git rpm dpkg ;;
    apk:bench)
        echo wrk haproxy nginx redis ;;
    apk:container)
        echo debootstrap util-linux iproute2 curl binutils ;;
    apk:package)
        echo git abuild ;;
    *) usage ;;
    esac
}

alternatives() {
    echo "$1" | tr '|' ' '
}

is_installed() {
    case $manager in
    apt)
        for one in $(alternatives "$1"); do
            [ "$(dpkg-query -W -f='${db:Status-Status}' "$one" 2>/dev/null)" \
                != installed ] || return 0
        done
        return 1 ;;
    dnf) rpm -q --quiet --whatprovides "$1" ;;
    apk) apk info --quiet --installed "$1" ;;
    esac
}

as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    elif command -v sudo >/dev/null 2>&1; then
        sudo "$@"
    else
        echo "deps.sh: run as root, or install sudo: $*" >&2
        exit 77
    fi
}

# Debian starts a service as soon as its package is there, unless this file
# says no. The tests run their own nginx and redis on their own ports.
policy=/usr/sbin/policy-rc.d
install_apt() {
    if [ ! -e $policy ]; then
        trap 'as_root rm -f $policy' EXIT
        trap 'exit 1' HUP INT TERM
        printf '#!/bin/sh\nexit 101\n' | as_root tee $policy >/dev/null
        as_root chmod 755 $policy
    fi
    as_root apt-get update -q
    chosen=
    for name in "$@"; do
        for one in $(alternatives "$name"); do
            ! apt-cache show "$one" >/dev/null 2>&1 || break
        done
        chosen="$chosen $one"
    done
    # shellcheck disable=SC2086  # a list of names
    as_root env DEBIAN_FRONTEND=noninteractive \
        apt-get install -qy --no-install-recommends $chosen </dev/null
}

[ $# -gt 0 ] || usage
for manager in apt dnf apk none; do
    case $manager in
    apt) tool=apt-get ;;
    *) tool=$manager ;;
    esac
    if command -v "$tool" >/dev/null 2>&1; then
        break
    fi
done
if [ "$manager" = none ]; then
    echo "deps.sh: no apt-get, dnf or apk here; see contrib/HACKING.md for" \
        "what to install by hand" >&2
    exit 69
fi

missing=
for group in "$@"; do
    names=$(packages "$manager" "$group") || exit $?
    for name in $names; do
        is_installed "$name" || missing="$missing $name"
    done
done
[ -n "$missing" ] || exit 0

echo "deps.sh: installing$missing"
# shellcheck disable=SC2086  # a list of names
case $manager in
apt) install_apt $missing ;;
dnf) as_root dnf install -qy $missing ;;
apk) as_root apk add --quiet $missing ;;
esac
