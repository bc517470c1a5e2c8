#!/bin/sh
# The package's life on a machine that systemd runs: installs it in the root
# that deb.sh has made, where systemd is the first process, in namespaces of
# their own and without a network, and does there what an administrator does.
# The last line is the sum. Needs root.
#
#   tests/packages/systemd.sh ROOT FOLDER       where the .deb is
set -eu

here=$(cd "$(dirname "$0")" && pwd)

# Becomes the first process of the root.
boot() {
    mount --make-rprivate /
    mount --bind "$root" "$root"
    mount --bind "$debs" "$root/deb"
    mount -t proc proc "$root/proc"
    mount -t sysfs sysfs "$root/sys"
    mount --rbind /dev "$root/dev"
    mount -t tmpfs tmpfs "$root/tmp"
    mount -t tmpfs -o mode=755 tmpfs "$root/run"
    mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
    # The kernel's settings are the host's.
    mkdir -p "$root/run/systemd/system"
    for unit in sysctl modules-load binfmt udevd; do
        ln -s /dev/null "$root/run/systemd/system/systemd-$unit.service"
    done
    cp "$here/systemd.sh" "$here/steps.sh" "$root/run/" # it empties /tmp
    ip link set lo up
    # Not chroot: the unit makes a user namespace, which is denied in one.
    cd "$root"
    mkdir -p run/host
    pivot_root . run/host
    umount -l /run/host
    exec env -i container=test PATH=/usr/sbin:/usr/bin:/sbin:/bin \
        /lib/systemd/systemd --log-target=null --show-status=0 \
        --unit=multi-user.target </dev/null >/dev/null 2>&1
}

conf=/etc/llm-proxy/llm-proxy.conf
unit=llm-proxyd.service

show() {
    systemctl show --value --property "$1" $unit
}

# answers KEY STATUS: 400 to a good key, for no model server is at hand
answers() {
    [ "$(curl -s -o /dev/null -w '%{http_code}' \
        -H "Authorization: Bearer $1" -H 'Content-Type: application/json' \
        -d '{"model":""}' http://127.0.0.1:8080/v1/chat/completions)" = "$2" ]
}

# The journal of a root that was used before has more in it.
has_failed() {
    [ "$(show ActiveState) $(show ExecMainStatus)" = "failed 78" ] &&
        journalctl --no-pager _SYSTEMD_INVOCATION_ID="$(show InvocationID)" |
        grep -q 'no tokens:'
}

says_what_is_missing() {
    systemctl is-enabled $unit
    eventually has_failed
    [ "$(show NRestarts)" = 0 ]
}

starts() {
    echo 'TOKENS_JSON=[{"token":"tester-key-123","label":"t"}]' >>$conf
    systemctl reset-failed $unit
    systemctl start $unit
    systemctl is-active $unit
    answers tester-key-123 400
    answers wrong-key-123 401
    [ "$(show StatusText)" != "" ]
}

is_held_back() {
    cat "/proc/$(show MainPID)/status" >/tmp/status
    grep -x 'NoNewPrivs:	1' /tmp/status
    grep -x 'Seccomp:	2' /tmp/status
    grep -xE 'CapEff:	0+' /tmp/status
    grep -xE 'CapBnd:	0+' /tmp/status
    [ "$(stat -c %U "/proc/$(show MainPID)")" = llm-proxy ]
    systemd-analyze security --no-pager --threshold=15 $unit
}

reloads() {
    pid=$(show MainPID)
    sed -i 's/tester-key-123/tester-key-456/' $conf
    systemctl reload $unit
    eventually answers tester-key-456 400
    answers tester-key-123 401
    cp $conf /tmp/good.conf
    echo MAX_BODY_BYTES=lots >>$conf
    fails systemctl reload $unit
    answers tester-key-456 400
    cat /tmp/good.conf >$conf
    [ "$(show MainPID)" = "$pid" ]
}

is_another_than() {
    [ "$(show MainPID)" != 0 ] && [ "$(show MainPID)" != "$1" ] &&
        systemctl is-active $unit
}

is_started_anew() {
    pid=$(show MainPID)
    [ "$pid" -gt 1 ] # 0 would be the whole process group
    kill -KILL "$pid"
    eventually is_another_than "$pid"
    answers tester-key-456 400
}

# Also: the service goes on while its package is replaced.
upgrades() {
    pid=$(show MainPID)
    repack /deb/llm-proxy_*.deb
    dpkg -i /tmp/higher.deb
    [ "$(show MainPID)" = "$pid" ]
    systemctl kill --signal=USR2 --kill-who=main $unit
    eventually is_another_than "$pid"
    systemctl is-active $unit
    answers tester-key-456 400
}

rotates() {
    echo LOG_FILE=/var/log/llm-proxy/error.log >>$conf
    systemctl restart $unit
    logrotate -f /etc/logrotate.d/llm-proxy
    eventually grep -q 'logs reopened' /var/log/llm-proxy/error.log
    systemctl stop $unit
    is_rotated
}

is_started_by_its_socket() {
    systemctl start llm-proxyd.socket
    fails systemctl is-active $unit
    answers tester-key-456 400
    systemctl is-active $unit
    systemctl stop llm-proxyd.socket $unit
}

is_removed() {
    systemctl start $unit
    apt-get purge -qy llm-proxy
    [ "$(show LoadState)" = not-found ]
    fails pgrep -x llm-proxyd
    [ "$(systemctl is-system-running)" = running ]
}

inside() {
    # shellcheck source=tests/packages/steps.sh
    . /run/steps.sh
    rm -f /usr/sbin/policy-rc.d
    package=$(ls /deb/llm-proxy_*.deb)
    # What it depends on is there since deb.sh.
    step "systemd: install" dpkg -i "$package"
    step "systemd: it says what is missing" says_what_is_missing
    step "systemd: it starts once a token is set" starts
    step "systemd: it has no rights" is_held_back
    step "systemd: reload" reloads
    step "systemd: started anew after kill -9" is_started_anew
    step "systemd: upgrade" upgrades
    step "systemd: logrotate" rotates
    step "systemd: started by its socket" is_started_by_its_socket
    step "systemd: purge" is_removed
    sum
}

case ${1-} in
--boot)
    root=$2
    debs=$3
    boot
    ;;
--inside)
    inside
    exit
    ;;
esac
root=$1
debs=$2
# shellcheck source=tests/packages/steps.sh
. "$here/steps.sh"
unshare --mount --pid --net --ipc --uts --cgroup --fork --kill-child \
    "$here/systemd.sh" --boot "$root" "$debs" &
outer=$!
trap 'kill -KILL $outer' EXIT
trap 'exit 130' HUP INT TERM
# The first process of the namespaces is unshare's child.
first=
is_up() {
    first=$(pgrep -P $outer) &&
        in_root systemctl is-system-running >/dev/null 2>&1
}
in_root() {
    nsenter --target "$first" --mount --pid --net --ipc --uts --cgroup --root \
        --wd env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root \
        LANG=C.UTF-8 "$@"
}
eventually is_up || {
    echo "systemd.sh: systemd does not come up in $root" >&2
    exit 1
}
in_root /run/systemd.sh --inside
