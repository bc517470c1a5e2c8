# shellcheck shell=sh
# Sourced: steps that are counted, each with what it printed if it failed.

# What was counted before goes on, from /steps of a root.
[ ! -r /steps ] || read -r passed failed </steps
# step NAME COMMAND...: a function of many lines ends at the first that fails
step() {
    name=$1
    shift
    set +e
    (
        set -e
        "$@"
    ) >/tmp/step.log 2>&1 </dev/null
    code=$?
    set -e
    if [ $code -eq 0 ]; then
        echo "ok      $name"
        passed=$((passed + 1))
    else
        echo "FAILED  $name"
        sed 's/^/    /' /tmp/step.log
        failed=$((failed + 1))
    fi
}

# A failure that is wanted; that there is no such command is none.
fails() {
    wanted=0
    "$@" || wanted=$?
    [ $wanted -ne 0 ] && [ $wanted -ne 127 ]
}

# eventually COMMAND...: within 20 s
eventually() {
    tries=0
    until "$@"; do
        tries=$((tries + 1))
        [ $tries -lt 200 ] || return 1
        sleep 0.1
    done
}

# A package of a higher version with the same in it.
repack() {
    dpkg-deb -R "$1" /tmp/higher
    sed -i 's/^Version: .*/&+higher/' /tmp/higher/DEBIAN/control
    dpkg-deb -b /tmp/higher /tmp/higher.deb
    rm -rf /tmp/higher
}

# The daemon has ended since, and said so in the new file.
is_rotated() {
    [ -s /var/log/llm-proxy/error.log.1 ] &&
        grep ended /var/log/llm-proxy/error.log &&
        fails grep ended /var/log/llm-proxy/error.log.1
}

# The last line; false if a step failed.
sum() {
    echo "$passed $failed" >/steps
    echo "$passed passed, $failed failed"
    [ "$failed" -eq 0 ]
}
