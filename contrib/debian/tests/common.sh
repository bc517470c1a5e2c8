# shellcheck shell=sh
# Sourced by each test: the installed daemon before a scripted model server,
# with settings of its own and no service manager.
set -eu
work=$(mktemp -d)
chmod 755 "$work"
pids=

clean_up() {
    status=$?
    [ $status -eq 0 ] || cat "$work"/*log >&2 || true
    for pid in $pids $(cat "$work/pid" 2>/dev/null); do
        kill -KILL "$pid" 2>/dev/null || true
    done
    rm -rf "$work"
    exit $status
}
trap clean_up EXIT
trap 'exit 1' HUP INT TERM

# eventually COMMAND...: within 10 s
eventually() {
    tries=0
    until "$@"; do
        tries=$((tries + 1))
        [ $tries -lt 100 ] || { echo "never: $*" >&2; exit 1; }
        sleep 0.1
    done
}

serve_models() {
    mkfifo "$work/hold"
    sleep 600 >"$work/hold" &
    pids="$pids $!"
    python3 tests/scripted/backend.py --pace 0.2 <"$work/hold" \
        >"$work/models" 2>"$work/models.log" &
    pids="$pids $!"
    eventually grep -q '^vllm ' "$work/models"
}

# settings LINE...
settings() {
    digest=$(echo tester-key-123 | llm-proxyd --hash-token |
        grep -o '[0-9a-f]\{64\}')
    {
        echo "OLLAMA_BASE_URL=$(sed -n 's/^ollama //p' "$work/models")"
        echo "VLLM_BASE_URL=$(sed -n 's/^vllm //p' "$work/models")"
        echo "TOKENS_JSON=[{\"token_sha256\":\"$digest\",\"label\":\"t\",\"rpm\":3}]"
        echo "CONTROL_SOCKET=$work/control.sock"
        echo "LOG_FILE=$work/daemon.log"
        printf '%s\n' "$@"
    } >"$work/conf"
    chmod 640 "$work/conf"
}

start() {
    : >"$work/daemon.log"
    llm-proxyd -c "$work/conf" -t
    llm-proxyd -c "$work/conf" -d -p "$work/pid"
}

base=http://127.0.0.1:8080
# status URL-PATH [curl's options]: what a request is answered with
status() {
    path=$1
    shift
    curl -s -o "$work/body" -w '%{http_code}' "$@" "$base$path"
}

chat() {
    status /v1/chat/completions -H 'Content-Type: application/json' \
        -H "Authorization: Bearer ${token:-tester-key-123}" \
        -d '{"model":"ollama:demo","messages":[{"role":"user","content":"Hi"}]}'
}

# is WHAT EXPECTED
is() {
    [ "$1" = "$2" ] || { echo "expected $2, got $1" >&2; exit 1; }
    echo "as expected: $2"
}
