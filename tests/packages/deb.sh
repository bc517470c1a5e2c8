#!/bin/sh
# Installs, upgrades, removes and purges what `make deb` made, twice, in a
# root of a release of Debian that debootstrap makes once; runs its autopkgtests
# there, and then the package's life under systemd. The last line is the sum.
# Needs root and a network.
#
#   tests/packages/deb.sh RELEASE FOLDER        bookworm build/deb
set -eu

here=$(cd "$(dirname "$0")" && pwd)

make_root() {
    rm -rf "$root.new"
    debootstrap --variant=minbase "$release" "$root.new" \
        "${DEBIAN_MIRROR:-http://deb.debian.org/debian}"
    mkdir "$root.new/deb"
    mv "$root.new" "$root"
}

enter() {
    mount --bind "$debs" "$root/deb"
    mount -t proc proc "$root/proc"
    mount --rbind /dev "$root/dev"
    mount -t tmpfs tmpfs "$root/tmp"
    mount -t tmpfs tmpfs "$root/run"
    mkdir "$root/run/lock"
    cp "$here/deb.sh" "$here/steps.sh" "$root/tmp/"
    exec chroot "$root" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root \
        LANG=C.UTF-8 DEBIAN_FRONTEND=noninteractive \
        http_proxy="${http_proxy-}" https_proxy="${https_proxy-}" \
        /tmp/deb.sh --inside
}

# Maintainer scripts must not complain either.
quietly() {
    "$@" >/tmp/apt.log 2>&1 || { cat /tmp/apt.log; return 1; }
    cat /tmp/apt.log
    fails grep -Ei '^(warning|error|.*: not found|dpkg: (warning|error))' \
        /tmp/apt.log
}

add() {
    quietly apt-get install -qy --no-install-recommends "$@"
}

says_what_is_missing() {
    code=0
    said=$(llm-proxyd -t 2>&1) || code=$?
    echo "$said"
    [ "$code" -eq 78 ] && echo "$said" | grep -q TOKENS
}

is_in_place() {
    [ "$(stat -c '%a %U:%G' /etc/llm-proxy/llm-proxy.conf)" = \
        "640 root:llm-proxy" ]
    [ "$(stat -c '%a %U' /var/lib/llm-proxy)" = "700 llm-proxy" ]
    [ -L /etc/systemd/system/multi-user.target.wants/llm-proxyd.service ]
}

# With a token it serves, by the script of init.d, and is the package's user.
starts_by_init() {
    cp /etc/llm-proxy/llm-proxy.conf /tmp/kept.conf
    echo 'TOKENS_JSON=[{"token":"tester-key-123","label":"t"}]' \
        >>/etc/llm-proxy/llm-proxy.conf
    code=0
    { /etc/init.d/llm-proxyd start && /etc/init.d/llm-proxyd status &&
        llm-proxyd --healthcheck http://127.0.0.1:8080/healthz &&
        [ "$(stat -c %U "/proc/$(cat /run/llm-proxyd.pid)")" = llm-proxy ] &&
        /etc/init.d/llm-proxyd reload && /etc/init.d/llm-proxyd rotate &&
        /etc/init.d/llm-proxyd stop; } || code=$?
    cat /tmp/kept.conf >/etc/llm-proxy/llm-proxy.conf
    return "$code"
}

nothing_is_left() {
    left=$(find / -xdev -name '*llm-proxy*' ! -path '/deb/*' \
        ! -path '/proc/*' ! -path '/var/cache/apt/*')
    echo "$left"
    [ -z "$left" ]
}

# The tests of debian/tests/control, as autopkgtest would run them.
run_tests() {
    cd "$(dirname "$(ls -d /deb/llm-proxy-*/debian)")"
    sed -n 's/^Depends: @, //p' debian/tests/control | tr -d , | tr ' ' '\n' |
        sort -u >/tmp/needs
    # shellcheck disable=SC2046  # a list of names
    step "what the tests need" add $(cat /tmp/needs)
    tests=$(sed -n 's/^Tests: //p' debian/tests/control)
    for test in $tests; do
        step "autopkgtest $test" "debian/tests/$test"
    done
}

# policy CODE: 101 denies services to packages, 104 allows them.
policy() {
    printf '#!/bin/sh\nexit %d\n' "$1" >/usr/sbin/policy-rc.d
    chmod 755 /usr/sbin/policy-rc.d
}

# The log that was, and one that the daemon writes on to.
rotates() {
    cp /etc/llm-proxy/llm-proxy.conf /tmp/kept.conf
    cat >>/etc/llm-proxy/llm-proxy.conf <<'END'
TOKENS_JSON=[{"token":"tester-key-123","label":"t"}]
LOG_FILE=/var/log/llm-proxy/error.log
END
    policy 104
    code=0
    { /etc/init.d/llm-proxyd start &&
        logrotate -f /etc/logrotate.d/llm-proxy &&
        eventually grep -q 'logs reopened' /var/log/llm-proxy/error.log &&
        /etc/init.d/llm-proxyd stop &&
        is_rotated &&
        [ "$(stat -c '%a %U' /var/log/llm-proxy/error.log)" = \
            "640 llm-proxy" ]; } || code=$?
    policy 101
    cat /tmp/kept.conf >/etc/llm-proxy/llm-proxy.conf
    return "$code"
}

inside() {
    # shellcheck source=tests/packages/steps.sh
    . /tmp/steps.sh
    policy 101
    # What a run that was cut off has left.
    apt-get purge -qy llm-proxy >/dev/null 2>&1 || :
    package=$(ls /deb/llm-proxy_*.deb)
    step "apt-get update" apt-get update -q
    for round in 1 2; do
        step "$round: install" add "$package"
        step "$round: it says what is missing" says_what_is_missing
        step "$round: files, folders and units" is_in_place
        step "$round: it starts once a token is set" starts_by_init
        repack "$package" >/dev/null
        step "$round: upgrade" quietly dpkg -i /tmp/higher.deb
        step "$round: files after it" is_in_place
        step "$round: remove" quietly apt-get remove -qy llm-proxy
        step "$round: settings are kept" test -e /etc/llm-proxy/llm-proxy.conf
        step "$round: purge" quietly apt-get purge -qy llm-proxy
        step "$round: nothing is left" nothing_is_left
    done
    step "install for the tests" add "$package" apparmor logrotate
    step "logrotate" rotates
    step "AppArmor takes the profile" apparmor_parser --skip-kernel-load \
        --skip-cache /etc/apparmor.d/usr.sbin.llm-proxyd
    run_tests
    step "purge" quietly apt-get purge -qy llm-proxy
    step "what a machine with systemd has" add systemd dbus
    sum
}

case ${1-} in
--enter)
    root=$2
    debs=$3
    enter
    ;;
--inside)
    inside
    exit
    ;;
esac
[ $# -eq 2 ] || { echo "usage: deb.sh RELEASE FOLDER" >&2; exit 64; }
[ "$(id -u)" -eq 0 ] || {
    echo "deb.sh: makes a root and mounts, for which it must be root" >&2
    exit 77
}
release=$1
debs=$(cd "$2" && pwd)
root=$here/../../build/deb-$release
[ -d "$root" ] || make_root
root=$(cd "$root" && pwd)
cp -L /etc/resolv.conf /etc/hosts "$root/etc/"
echo 0 0 >"$root/steps"
code=0
unshare --mount --pid --fork --kill-child "$here/deb.sh" --enter "$root" \
    "$debs" || code=$?
"$here/systemd.sh" "$root" "$debs" || code=$?
[ "$code" -eq 0 ]
