# shellcheck shell=sh
# Sourced: steps that are counted, each with what it printed if it failed.

# What was counted before goes on, from /steps.
read -r passed failed </steps
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

# A failure that is wanted.
fails() {
    if "$@"; then
        return 1
    fi
}

# The last line; false if a step failed.
sum() {
    echo "$passed $failed" >/steps
    echo "$passed passed, $failed failed"
    [ "$failed" -eq 0 ]
}
