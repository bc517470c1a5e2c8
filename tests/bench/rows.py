"""What is asked of whom, row by row, and what must come back."""

import json
from dataclasses import dataclass

from parties import (ASKING, CROWDED, DAEMON, DIRECT, HAPROXY, LITELLM,
                     MANY_TOKENS, METERED, NGINX, PIECES, PYTHON, RELOADED,
                     SCALED, SHARED, TOKEN, TWO_WORKERS)

# What is sent. An SDK's request has about these headers, so every proxy reads
# and passes on as many as it will in practice.

def request(path, body=None, more=()):
    head = [
        f"{'POST' if body else 'GET'} {path} HTTP/1.1",
        "Host: 127.0.0.1",
        "Accept-Encoding: gzip, deflate",
        "Connection: keep-alive",
        "Accept: application/json",
        "User-Agent: OpenAI/Python 1.57.0",
        "X-Stainless-Lang: python",
        "X-Stainless-Package-Version: 1.57.0",
        "X-Stainless-OS: Linux",
        "X-Stainless-Arch: x64",
        "X-Stainless-Runtime: CPython",
        "X-Stainless-Runtime-Version: 3.11.7",
        "X-Stainless-Async: false",
        "X-Stainless-Retry-Count: 0",
        f"Authorization: Bearer {TOKEN}",
        *more,
    ]
    if body:
        head += ["Content-Type: application/json",
                 f"Content-Length: {len(body)}"]
    return "\r\n".join(head + ["", body or ""]).encode()


def chat(model, stream=False, path="/v1/chat/completions"):
    return request(path, json.dumps({
        "messages": [
            {"role": "system", "content": "You are a patient teacher who "
             "answers in short, plain sentences."},
            {"role": "user", "content": "What does a reverse proxy do, and "
             "how does one notice a good one?"},
        ],
        "model": model,
        "max_tokens": 256,
        "stream": stream,
        "temperature": 0.7,
    }, separators=(",", ":")))


def image_chat(body_bytes):
    """A chat of about so many bytes, nearly all of them one image."""
    image = "A" * (body_bytes // 4 * 4 - 1024)
    return request("/v1/chat/completions", json.dumps({
        "model": "ollama:bench",
        "messages": [{"role": "user", "content": [
            {"type": "text", "text": "What is it?"},
            {"type": "image_url",
             "image_url": {"url": "data:image/png;base64," + image}}]}]}))


def long_chat(body_bytes):
    return request("/v1/chat/completions", json.dumps({
        "model": "vllm:bench",
        "messages": [{"role": "user",
                      "content": "word " * ((body_bytes - 1024) // 5)}]}))


def embeddings():
    return request("/v1/embeddings", json.dumps({
        "model": "ollama:bench", "encoding_format": "base64",
        "input": ["a sentence"] * 256}))


# What must come back before a proxy is measured: fast nonsense has no number.

def is_chat(body):
    choice = json.loads(body)["choices"][0]
    return len(choice["message"]["content"]) > 250


def is_ollama_chat(body):
    return len(json.loads(body)["message"]["content"]) > 250


def is_sse(body):
    events = [event for event in body.split(b"\n\n") if event]
    return (events[-1] == b"data: [DONE]" and len(events) > PIECES
            and all(json.loads(event[6:])["choices"] for event in events[:-1]))


def is_ndjson(body):
    lines = body.splitlines()
    return len(lines) == PIECES and json.loads(lines[-1])["done"]


def is_embeddings(body):
    return len(json.loads(body)["data"]) == 256


def is_anything(body):
    return body is not None


@dataclass
class Row:
    name: str
    title: str
    # What each is asked: (request, check of its answer or None).
    asked: dict
    per: str = "answers"      # or "events"
    target: float = None      # ratio to nginx that this release aims at
    budget: float = None      # ratio that the design allows
    paced: bool = False
    kind: str = "cost"
    connections: int = 64     # of those that are not paced
    awake: bool = True        # the load never sleeps, unless it is paced


ROWS = [
    Row("chat", "plain chat to vLLM",
        {NGINX: (chat("bench"), is_chat),
         HAPROXY: (chat("bench"), is_chat),
         DAEMON: (chat("vllm:bench"), is_chat)}, target=2.5, budget=2.0),
    Row("burst", "200-piece vLLM stream in one burst",
        {NGINX: (chat("bench", True), is_sse),
         HAPROXY: (chat("bench", True), is_sse),
         DAEMON: (chat("vllm:bench", True), is_sse)}, target=1.0, budget=0.7),
    Row("ollama-chat", "plain chat to Ollama, translated; others untranslated",
        {NGINX: (chat("bench", path="/api/chat"), is_ollama_chat),
         HAPROXY: (chat("bench", path="/api/chat"), is_ollama_chat),
         DAEMON: (chat("ollama:bench"), is_chat)}, budget=2.5),
    Row("ollama-burst",
        "200-piece Ollama stream in one burst, translated; others not",
        {NGINX: (chat("bench", True, "/api/chat"), is_ndjson),
         HAPROXY: (chat("bench", True, "/api/chat"), is_ndjson),
         DAEMON: (chat("ollama:bench", True), is_sse)}, budget=1.5),
    Row("paced", "paced vLLM stream, per piece",
        {NGINX: (chat("paced", True), None),
         HAPROXY: (chat("paced", True), None),
         DAEMON: (chat("vllm:paced", True), None)},
        per="events", budget=1.2, paced=True),
    Row("local", "answered by itself: /healthz against `return 200`",
        {NGINX: (request("/empty"), is_anything),
         DAEMON: (request("/healthz"), is_anything)}),
    Row("authz", "a question of nginx's (/internal/authz) against `return "
        "200`",
        {NGINX: (request("/empty"), is_anything),
         DAEMON: (request("/internal/authz", more=[
             "X-Original-URI: /v1/chat/completions",
             "X-Original-Method: POST"]), is_anything)}, budget=2.0),
]
MIB = 1024 * 1024
BODIES = [
    Row(f"body-{size}m", f"chat of {size} MiB to vLLM",
        {NGINX: (long_chat(size * MIB), is_chat),
         HAPROXY: (long_chat(size * MIB), is_chat),
         DAEMON: (long_chat(size * MIB), is_chat)}, budget=1.5,
        connections=clients)
    for size, clients in ((1, 8), (20, 2))]
# Rows of another kind: microseconds over direct, and memory.
LATENCY = Row("latency", "added latency, one client, plain chat",
              {DIRECT: (chat("bench"), is_chat), **ROWS[0].asked},
              kind="latency")
TIMES = Row("times", "p99 of how long a piece is held, and of how long a "
            "backend works for a client that left",
            {DIRECT: (chat("paced", True), None), **ROWS[4].asked},
            paced=True, kind="times")
MEMORY = Row("memory", "RssAnon: at start, per open stream", ROWS[4].asked,
             paced=True, kind="memory")
OLLAMA_MEMORY = Row(
    "ollama-memory", "the same, translated streams of Ollama",
    {DAEMON: (chat("ollama:paced", True), None)}, paced=True, kind="memory")
LARGEST = 20 * MIB
TURNS = [
    Row("turn-image", "longest turn of the loop: 20 MiB image to Ollama",
        {METERED: (image_chat(LARGEST), is_chat)}, kind="turns"),
    Row("turn-embeddings", "longest turn: 256 embeddings of 1024 from Ollama",
        {METERED: (embeddings(), is_embeddings)}, kind="turns"),
    Row("turn-chat", "longest turn: 20 MiB chat to vLLM",
        {METERED: (long_chat(LARGEST), is_chat)}, kind="turns"),
]
# What asks for the longest turns, together.
MIXED = [*(Row(row.name, row.title, row.asked, awake=False)
           for row in TURNS),
         Row("turn-streams", "streams", {
             METERED: (chat("vllm:paced", True), None)}, paced=True)]
TURNS_MIXED = Row("turn-mixed", "longest turn: all these at once, beside "
                  "many streams", {}, kind="mixed")
EMBEDDINGS = Row("embeddings", "256 embeddings of 1024 to base64, ratio to "
                 "jansson reading them", {}, budget=2.0, kind="embeddings")
# Requests per second of all processes on one core, nginx with nothing to ask
# and the shipped shape 1, which fetches from vLLM itself.
ORACLE = Row("oracle", "chats per second: nginx alone, and asking llm-proxyd "
             "first (shape 1)",
             {NGINX: (chat("bench"), is_chat), ASKING: (chat("bench"), is_chat)},
             kind="oracle")
# What limits cost: beside the daemon with its memory the same one on Redis.
DECISION = Row("decision", "a decision on a token's limits, in memory", {},
               kind="decision")
REDIS = Row("redis", "the same by Redis, over memory: CPU; p50 and p99 of one "
            "client",
            {DAEMON: ROWS[0].asked[DAEMON], SHARED: ROWS[0].asked[DAEMON]},
            kind="redis")
START = Row("start", "from the start to the first answer", {}, kind="start")
RELOAD = Row("reload", "reload of 10,000 tokens, the longest turn meanwhile",
             {RELOADED: ROWS[0].asked[DAEMON]}, kind="reload")
# What many clients and many tokens cost those who ask.
CROWD = Row("crowd", "plain chat beside 1,000 and 9,000 open clients, over 10",
            {CROWDED: ROWS[0].asked[DAEMON]}, kind="crowd")
IDLE = Row("idle", "an open client that asks nothing; CPU with 9,000",
           {CROWDED: (request("/healthz"), is_anything)}, kind="idle")
SPREAD = Row("workers", "plain chat with WORKERS=2, and with 10,000 tokens, "
             "over one of each",
             {DAEMON: ROWS[0].asked[DAEMON],
              TWO_WORKERS: ROWS[0].asked[DAEMON],
              MANY_TOKENS: ROWS[0].asked[DAEMON]}, kind="spread")
# Whether what is measured against is fast enough.
PROOF = Row("proof", "chats a second by wrk: through each; the backend alone "
            "(one round)", {DIRECT: ROWS[0].asked[NGINX], **ROWS[0].asked},
            kind="proof")
# Only when asked for: what takes long.
SCALE = Row("scale", "9,000 paced streams at 5 pieces a second; ratios from 100 on "
            "(one round)",
            {NGINX: ROWS[4].asked[NGINX], SCALED: ROWS[4].asked[DAEMON]},
            paced=True, kind="scale")
# The design that this one replaces.
REFERENCE = Row("python", "plain chat, and by FastAPI, httpx and uvicorn",
                {NGINX: ROWS[0].asked[NGINX], DAEMON: ROWS[0].asked[DAEMON],
                 PYTHON: ROWS[0].asked[NGINX]}, kind="reference")
GATEWAY = Row("litellm", "plain chat, and by LiteLLM with one key",
              {NGINX: ROWS[0].asked[NGINX], DAEMON: ROWS[0].asked[DAEMON],
               LITELLM: ROWS[0].asked[NGINX]}, kind="reference",
              connections=8)
DECISION_BUDGET_US = 1
REDIS_BUDGET_US = 15
# So many clients ask 5,000 times a second or more.
REDIS_CLIENTS = 4
TURN_BUDGET_US = 5000
STREAM_BUDGET_US = (5000, 50_000)   # held, left
SPREAD_BUDGET = (0.10, 0.15)        # two workers, many tokens
CROWD_BUDGET = 0.15
IDLE_BUDGET = (6, 0.001)            # KiB a client, share of a core
LATENCY_BUDGET_US = (100, 500)      # p50, p99
MEMORY_BUDGET_KIB = (4096, 24)      # at start, per stream
ALL_ROWS = (ROWS + BODIES
            + [PROOF, REFERENCE, ORACLE, LATENCY, TIMES, MEMORY, OLLAMA_MEMORY]
            + TURNS + [TURNS_MIXED, EMBEDDINGS, DECISION, REDIS, CROWD, IDLE,
                       SPREAD, START, RELOAD])
MORE_ROWS = [SCALE, GATEWAY]
