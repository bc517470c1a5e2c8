#!/bin/sh
# Runs the OpenRC script of contrib/openrc under OpenRC itself, as root on
# Debian: in name spaces of its own, over a file system that ends with them.
# OpenRC is unpacked, not installed: its package would take the place of this
# machine's init scripts.
#
#   tests/packages/openrc.sh           after `make build-release`
set -eu

work=$PWD/build/openrc
fail() {
    echo "openrc.sh: $*" >&2
    exit 1
}

# The root that the service sees: this system, and what it needs on top.
make_root() {
    mount -t tmpfs -o mode=755 tmpfs "$work/layers"
    mkdir "$work/layers/upper" "$work/layers/work" "$work/layers/root"
    root=$work/layers/root
    mount -t overlay overlay -o "lowerdir=/,upperdir=$work/layers/upper" \
        -o "workdir=$work/layers/work" "$root"
    mount -t proc proc "$root/proc"
    mount -t tmpfs -o mode=755 tmpfs "$root/run"
    mount --bind /dev "$root/dev"
    for archive in "$work"/*.deb; do
        dpkg-deb --fsys-tarfile "$archive" |
            tar -x -C "$root" --keep-directory-symlink
    done
    # What OpenRC makes at boot, and Debian's insserv is asked for.
    for name in starting started stopping inactive wasinactive failed \
        hotplugged daemons options exclusive scheduled init.d tmp; do
        mkdir -p "$root/run/openrc/$name"
    done
    touch "$root/run/openrc/softlevel" "$root/etc/insserv.conf"
    mkdir -p "$root/etc/conf.d" "$root/etc/llm-proxy"
    install -m 755 build/release/src/llm-proxyd "$root/usr/sbin/"
    install -m 755 contrib/openrc/llm-proxyd.initd \
        "$root/etc/init.d/llm-proxyd"
    install -m 644 contrib/openrc/llm-proxyd.confd \
        "$root/etc/conf.d/llm-proxyd"
    # The network is there, but no service of OpenRC brought it up; and the
    # limits of this machine may not be raised everywhere.
    cat >>"$root/etc/conf.d/llm-proxyd" <<'END'
rc_need="!net"
rc_ulimit="-n 1024"
END
    cat contrib/llm-proxy.conf - >"$root/etc/llm-proxy/llm-proxy.conf" <<'END'
LISTEN=unix:/run/llm-proxy/http.sock
TOKENS_JSON=[{"token": "openrc-openrc-openrc", "label": "openrc"}]
END
    install -m 755 "$0" "$root/openrc.sh"
}

service() {
    echo "-- $*"
    /etc/init.d/llm-proxyd "$@"
}

wait_until() {
    for _ in $(seq 100); do
        ! "$@" >/dev/null 2>&1 || return 0
        sleep 0.1
    done
    fail "not within ten seconds: $*"
}

serves() {
    curl -fs -m 2 --unix-socket /run/llm-proxy/http.sock http://x/healthz
}

another_serves() {
    [ "$(pgrep -x llm-proxyd)" != "$1" ] && serves
}

check_service() {
    settings=/etc/llm-proxy/llm-proxy.conf
    getent passwd llm-proxy >/dev/null ||
        useradd --system --home-dir /var/lib/llm-proxy llm-proxy
    chown root:llm-proxy "$settings"
    chmod 640 "$settings"

    service checkconfig
    service start
    wait_until serves
    service status
    daemon=$(pgrep -x llm-proxyd)
    [ "$(ps -o user:20= -p "$daemon")" = llm-proxy ] || fail "wrong user"
    [ "$(stat -c %a:%U:%G /etc/llm-proxy)" = 750:root:llm-proxy ] ||
        fail "/etc/llm-proxy is not what the service made of it"

    service reload
    wait_until grep -q 'reloaded, 1 tokens' /var/log/llm-proxy/llm-proxyd.log
    echo PORTX=1 >>"$settings"
    ! service reload || fail "reloaded wrong settings"
    serves >/dev/null || fail "does not serve after a refused reload"
    sed -i '/^PORTX/d' "$settings"
    service reopen
    wait_until grep -q 'logs reopened' /var/log/llm-proxy/llm-proxyd.log

    kill -KILL "$daemon"
    wait_until another_serves "$daemon"

    service stop
    ! pgrep -x llm-proxyd >/dev/null || fail "still there after stop"
    echo PORTX=1 >>"$settings"
    ! service start || fail "started with wrong settings"
    echo "openrc.sh: passed"
}

case ${1:-} in
inside)
    make_root
    exec chroot "$root" /openrc.sh check ;;
check) check_service ;;
*)
    [ "$(id -u)" -eq 0 ] || fail "run as root"
    mkdir -p "$work/layers"
    cd "$work"
    apt-get -q download openrc librc1 libeinfo1
    cd - >/dev/null
    exec unshare --mount --pid --fork "$0" inside ;;
esac
