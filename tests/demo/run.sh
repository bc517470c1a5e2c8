#!/usr/bin/env bash
# `make run`: serves with the settings of .env, or else of .env.example (the
# environment wins over both). A backend that does not answer is stood in for
# by the scripted one, so that the first request works without any model.
set -eu
cd "$(dirname "$0")/../.."

proxyd=${LLM_PROXYD:-build/llm-proxyd}
if [ ! -x "$proxyd" ]; then
    echo "run: $proxyd is not there; build it with 'make'" >&2
    exit 69
fi
conf=.env
if [ ! -f $conf ]; then
    # The daemon warns of secrets that everyone may read; these are no secret.
    conf=build/env.example
    mkdir -p build
    install -m 600 .env.example $conf
fi

settings=$("$proxyd" -c $conf -T)
setting() {
    sed -n "s/^$1=//p" <<<"$settings"
}

address=$(setting LISTEN)
address=${address%%[, ]*}
[ -n "$address" ] || address=$(setting HOST):$(setting PORT)
host=${address%:*}
port=${address##*:}
case $host in
'' | '*' | 0.0.0.0 | '[::]' | ::) host=127.0.0.1 ;;
esac
if [[ $address != unix:* ]] &&
    (exec 3<>"/dev/tcp/${host//[][]/}/$port") 2>/dev/null; then
    echo "run: something already listens on $host:$port (another" \
        "llm-proxyd?). Stop it, or choose a port: PORT=8081 make run" >&2
    exit 71
fi

# Whatever answers HTTP counts: a status of 401 or 404 is a server as well.
answers() {
    curl --silent --insecure --noproxy '*' --max-time 2 --output /dev/null "$1"
}

scripted=
for name in OLLAMA VLLM; do
    url=$(setting ${name}_BASE_URL)
    if answers "$url"; then
        echo "$name: using the server at $url"
    else
        echo "$name: nothing answers at $url"
        scripted="$scripted $name"
    fi
done

model=
if [ -n "$scripted" ]; then
    # The scripted backend ends with its input. The daemon inherits the other
    # end, so however it stops, nothing is left behind.
    coproc BACKEND {
        trap '' INT
        exec python3 tests/scripted/backend.py --ollama-port 0 --vllm-port 0
    }
    for _ in OLLAMA VLLM; do
        if ! read -r -t 10 wire url <&"${BACKEND[0]}"; then
            echo "run: the scripted backend did not start" >&2
            exit 70
        fi
        name=${wire^^}
        if [[ "$scripted " == *" $name "* ]]; then
            export "${name}_BASE_URL=$url"
            echo "$name: using the bundled SCRIPTED backend at $url." \
                "It is no model: it always says the same."
            [ -n "$model" ] || model=$wire:demo
        fi
    done
    # Opened anew: a duplicate would be closed by exec like the original.
    exec 9>"/dev/fd/${BACKEND[1]}"
else
    model=$(curl --silent --insecure --noproxy '*' --max-time 2 \
        "$(setting OLLAMA_BASE_URL)/api/tags" | python3 -c '
import json, sys
try:
    print("ollama:" + json.load(sys.stdin)["models"][0]["name"])
except (ValueError, LookupError, TypeError):
    print("ollama:YOUR-MODEL")')
fi

token=demo-key-123
if ! grep -q "$token" $conf && [[ ${TOKENS_JSON-} != *$token* ]]; then
    token=YOUR-TOKEN
fi

if [[ $address != unix:* ]]; then
    cat <<EOF

Try it from another terminal (Ctrl-C here stops everything):

curl -N http://$host:$port/v1/chat/completions -H 'Authorization: Bearer $token' --json '{"model":"$model","stream":true,"messages":[{"role":"user","content":"Hello!"}]}'

or with the official Python SDK (pip install openai):

from openai import OpenAI
client = OpenAI(base_url="http://$host:$port/v1", api_key="$token")
for piece in client.chat.completions.create(model="$model", stream=True,
        messages=[{"role": "user", "content": "Hello!"}]):
    print(piece.choices[0].delta.content or "", end="", flush=True)

EOF
fi
exec "$proxyd" -c $conf
