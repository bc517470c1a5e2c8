"""No token and no prompt shows up where it does not belong: every way through
the daemon is driven at the chattiest log level, and all it says is searched."""

import base64
import hashlib
import json
import signal
import time

import pytest
from daemon import SLOW, run_daemon
from raw import Client, chat, request

TOKENS = {"alice": "tok-alice-7f3a9c21", "bob": "tok-bob-55d0e81b",
          "off": "tok-off-90ce12ab", "old": "tok-old-4be1d077"}
STRANGER = "tok-nobody-12ab34cd"
KEYS = {"vllm": "key-for-vllm-6d2e", "ollama": "key-for-ollama-a91f"}
PROMPT = "prompt-mark-Zq81"
ANSWER = "answer-mark-Wx52"


def spellings(secret):
    """As it is, hashed, and in base64 at each of the three offsets."""
    data = secret.encode()
    found = {secret, secret[4:], hashlib.sha256(data).hexdigest()}
    for offset in range(3):
        coded = base64.b64encode(b"\0" * offset + data).decode()
        # Without the digits that depend on the neighbours.
        found.add(coded[4 if offset else 0:len(coded) // 4 * 4 - 4])
    return found


TOKEN_SPELLINGS = set().union(*map(spellings, [*TOKENS.values(), STRANGER]))
KEY_SPELLINGS = {name: spellings(key) for name, key in KEYS.items()}


def backend_of(kind):
    """Does what the model's name says; a backend that fails tells tales."""
    def handler(got, peer):
        if got.method == "GET":
            peer.whole({"models": [], "object": "list", "data": []})
            return
        body = got.json
        what = body["model"]
        said = json.dumps(body)
        if what == "refuses":
            peer.whole({"error": {"message": "bad: " + ANSWER}}, status=400)
        elif what == "rejects-key":
            peer.whole({"error": "no: " + str(got.header("Authorization"))},
                       status=401)
        elif what == "fails":
            peer.whole(("trace: " + said).encode(), status=500,
                       content_type="text/html")
        elif what == "junk":
            peer.send(b"NONSENSE " + said.encode() + b"\r\n\r\n")
            peer.close()
        elif what == "dies":
            peer.close()
        elif what == "resets":
            peer.reset()
        elif what == "sleeps":
            peer.wait_closed(20 * SLOW)
        elif what == "not-json":
            peer.whole(said.encode()[:-3], content_type="application/json")
        elif what == "cut" and kind == "vllm":
            peer.sse_head()
            peer.chunk(f'data: {{"x":"{ANSWER}"}}\n\ndata: {said[:40]}')
            peer.close()
        elif what == "cut":
            peer.ndjson_head()
            peer.chunk('{"message":{"content":"' + ANSWER + said[:40])
            peer.close()
        elif kind == "vllm":
            peer.whole({"choices": [{"message": {"content": ANSWER}}]})
        else:
            peer.whole({"message": {"role": "assistant", "content": ANSWER},
                        "done": True, "done_reason": "stop"})
    return handler


class Driven:
    """One daemon with all that was said to and by it."""

    def __init__(self, daemon, backend, form):
        self.behind = {name: backend(backend_of(name))
                       for name in KEYS}
        self.statuses = set()
        self.answers = b""
        self.daemon = daemon(
            VLLM_BASE_URL=self.behind["vllm"].url, VLLM_API_KEY=KEYS["vllm"],
            OLLAMA_BASE_URL=self.behind["ollama"].url,
            OLLAMA_API_KEY=KEYS["ollama"], LOG_LEVEL="debug", LOG_FORMAT=form,
            FIRST_BYTE_TIMEOUT=f"{300 * SLOW}ms", BODY_TIMEOUT="300ms",
            HEAD_TIMEOUT="300ms", MAX_BODY_BYTES=4000, tokens=[
                {"token": TOKENS["alice"], "label": "alice"},
                {"token_sha256":
                 hashlib.sha256(TOKENS["bob"].encode()).hexdigest(),
                 "label": "bob", "rpm": 1},
                {"token": TOKENS["off"], "label": "off", "disabled": True},
                {"token": TOKENS["old"], "label": "old",
                 "expires": "2020-01-01"}])
        self.speak_http()
        self.speak_to_backends()
        self.speak_nonsense()
        self.reload()
        self.daemon.stop()

    def send(self, data):
        with Client(self.daemon.port) as client:
            client.send(data)
            while client._more():
                pass
            self.answers += client.buffer
            if client.buffer:
                self.statuses.add(int(client.buffer.split(b" ", 2)[1]))

    def ask(self, **named):
        named.setdefault("token", TOKENS["alice"])
        headers = [*named.pop("headers", []), "Connection: close"]
        self.send(request(headers=headers, **named))

    def speak_to_backends(self):
        for kind in KEYS:
            for what in ("works", "refuses", "rejects-key", "fails", "junk",
                         "dies", "resets", "not-json", "cut", "sleeps"):
                for stream in (False, True):
                    self.ask(body=chat(f"{kind}:{what}", stream, PROMPT))
            with Client(self.daemon.port) as client:
                client.send(request(token=TOKENS["alice"], body=chat(
                    f"{kind}:sleeps", True, PROMPT)))
                time.sleep(0.02 * SLOW)
        for _ in range(2):  # the second one is over the limit
            self.ask(body=chat("vllm:works", text=PROMPT),
                     token=TOKENS["bob"])
        self.ask(path="/v1/models")

    def speak_http(self):
        body = chat("vllm:works", text=PROMPT)
        for token in (STRANGER, TOKENS["off"], TOKENS["old"],
                      TOKENS["alice"] + ","):
            self.ask(body=body, token=token)
        alice = TOKENS["alice"]
        for value in (f"Basic {base64.b64encode(alice.encode()).decode()}",
                      f"Bearer {alice} {alice}", alice, f"Bearer\t{alice}"):
            self.ask(body=body, token=None,
                     headers=[f"Authorization: {value}"])
        for path in (f"/v1/chat/completions?api_key={alice}",
                     f"/v1/models?token={alice}&p={PROMPT}",
                     f"/healthz?{alice}", f"/v1/nope?key={alice}"):
            self.ask(path=path, body=body if "chat" in path else None)
        for method in ("GET", "OPTIONS", "DELETE"):
            self.ask(path="/v1/chat/completions", method=method)
        for line in ("Content-Encoding: gzip", "Expect: tea",
                     f"Cookie: key={alice}", f"X-Api-Key: {alice}",
                     f"Api-Key: {alice}", f"Proxy-Authorization: {alice}",
                     f"X-Request-Id: {alice};{PROMPT}",
                     f"Referer: http://a/{alice}", "Accept: text/plain"):
            self.ask(body=body, headers=[line])

    def speak_nonsense(self):
        alice = TOKENS["alice"]
        for text in (f'{{"model":"vllm:works","messages":[{PROMPT}',
                     f'{{"model":"vllm:works","{PROMPT}":1,"{PROMPT}":2}}',
                     f'{{"model":7,"messages":"{PROMPT}"}}',
                     f'"{PROMPT}', f"{PROMPT}", f'{{"{PROMPT}":"\\ud8"}}',
                     f'{{"model":"ollama:works","messages":"{PROMPT}"}}',
                     f'{{"model":"ollama:works","messages":[{{"role":'
                     f'"{PROMPT}","content":"{PROMPT}"}}]}}',
                     f'{{"model":"ollama:works","messages":[],'
                     f'"stop":{{"{PROMPT}":"{PROMPT}"}}}}',
                     f'{{"model":"ollama:works","messages":[{{"role":"user",'
                     f'"content":[{{"type":"{PROMPT}"}}]}}]}}',
                     f'{{"model":"vllm:works","stream":"{PROMPT}"}}',
                     json.dumps(chat(text=PROMPT * 400))):
            self.ask(body=text.encode())
        whole = request(token=alice, body=chat("vllm:works", text=PROMPT))
        head, _, body = whole.partition(b"\r\n\r\n")
        for data in (
                head + b"\r\nBad Name: " + alice.encode() + b"\r\n\r\n" + body,
                head.replace(b"Authorization:", b"Authorization :"),
                head + b"\r\nContent-Length: 1\r\n\r\n" + body,
                head + b"\r\nAuthorization: Bearer " + alice.encode()
                + b"\r\n\r\n" + body,
                head + b"\r\nX: " + alice.encode() + b"\x01\r\n\r\n" + body,
                head + b"\r\n folded " + alice.encode() + b"\r\n\r\n" + body,
                head + b"\r\nX: " + alice.encode() * 4000 + b"\r\n\r\n",
                head + b"\r\nTransfer-Encoding: " + alice.encode()
                + b"\r\n\r\n" + body,
                b"GET /" + alice.encode() * 800 + b" HTTP/1.1\r\n\r\n",
                b"GET /v1/models HTTP/9." + alice.encode() + b"\r\n\r\n",
                alice.encode() + b" " + PROMPT.encode() + b"\r\n\r\n",
                head + b"\r\n\r\n" + body[:-9],     # 408
                head[:-1]):                          # 408
            self.send(data)

    def reload(self):
        one = self.daemon
        good = dict(one.settings)
        bad = json.loads(good["TOKENS_JSON"])
        for changes in (
                {"PORT": "x"},
                {"TOKENS_JSON": json.dumps([*bad, bad[0]])},
                {"TOKENS_JSON": json.dumps(bad)[:-4]},
                {"TOKENS_JSON": json.dumps([{TOKENS["alice"]: 1}])},
                {"VLLM_API_KEY": KEYS["vllm"] + " x"},
                {"VLLM_BASE_URL": f"http://u:{KEYS['vllm']}@a"}):
            one.write_config(**changes)
            one.reload(good=False)
            one.settings = dict(good)
        one.write_config()
        one.signal(signal.SIGHUP)
        one.wait_log("reloaded, 4 tokens")


@pytest.fixture(params=["text", "json"])
def driven(request, daemon, backend):
    return Driven(daemon, backend, request.param)


def leaks(text, words):
    """What of the words is in the text, with some of what is around it."""
    if isinstance(text, bytes):
        text = text.decode("latin-1")
    return [text[max(0, text.find(word) - 60):][:160] for word in words
            if word in text]


def test_nothing_leaks(driven):
    # All of this was really driven.
    assert not {200, 204, 400, 401, 403, 404, 405, 408, 413, 414, 415, 417,
                429, 431, 500, 501, 502, 504} - driven.statuses
    assert all(len(each.requests) > 20 for each in driven.behind.values())
    access = driven.daemon.access_path.read_text()
    assert access.count("\n") > 70 and len(driven.daemon.log) > 1000
    all_keys = set().union(*KEY_SPELLINGS.values())

    for text in (driven.daemon.log, access):
        assert not leaks(text, TOKEN_SPELLINGS | all_keys)
        assert not leaks(text, {PROMPT, ANSWER})
    assert not leaks(driven.answers, TOKEN_SPELLINGS)
    assert not leaks(driven.answers, all_keys)
    assert ANSWER.encode() in driven.answers

    for name, behind in driven.behind.items():
        foreign = all_keys - KEY_SPELLINGS[name]
        for got in behind.requests:
            assert got.header("Authorization") == f"Bearer {KEYS[name]}"
            assert not leaks(got.head + got.body, TOKEN_SPELLINGS | foreign)
            # The key is in that header and nowhere else.
            rest = got.head.replace(f"Bearer {KEYS[name]}".encode(), b"")
            assert not leaks(rest + got.body, KEY_SPELLINGS[name])
            assert not leaks(got.head, {PROMPT})


def test_the_dump_holds_no_secret(driven):
    for option in ("-T", "-t"):
        code, out, err = run_daemon(option, "-c", driven.daemon.config)
        assert code == 0
        assert not leaks(out + err, TOKEN_SPELLINGS)
        assert not leaks(out + err, set().union(*KEY_SPELLINGS.values()))


def test_without_keys_nothing_is_sent(proxy):
    """A client's own Authorization goes no further than the daemon."""
    both = {"/api/chat": backend_of("ollama")}
    daemon, behind = proxy(lambda got, peer: both.get(
        got.path, backend_of("vllm"))(got, peer))
    with Client(daemon.port) as client:
        for model in ("vllm:works", "ollama:works"):
            assert client.ask(body=chat(model)).status == 200
        client.ask("/v1/models")
    for got in behind.wait_requests(4):
        assert got.header("Authorization") is None
