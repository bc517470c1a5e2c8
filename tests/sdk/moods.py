"""A backend for the SDK tests whose model names say how it behaves.

One port speaks both wires: Ollama's /api/* and vLLM's /v1/*. A model is called
MOOD or MOOD-ANYTHING; the rest makes it one test's own, so that suites in
several languages share one backend and each finds its own requests again with
GET /_seen/MODEL. What only Ollama's models do is in ollama_models.py.
"""

import base64
import json
import struct
import threading
import time
import urllib.parse

import ollama_models
from backend import Backend, Gone

WORDS = ollama_models.WORDS
TEXT = "".join(WORDS)
VECTOR = [0.5, -1.0, 2.0]
PROMPT_TOKENS = ollama_models.PROMPT_TOKENS
PIECE_GAP = 0.01
PATIENCE = 60  # seconds a silent model waits for the client to leave
CREATED = 1_795_000_000
BAD_REQUEST = "the temperature of the soup is out of range"


class Seen:
    """One request as the backend got it."""

    def __init__(self, path, headers, body):
        self.path = path
        self.headers = headers
        self.body = body
        self.left = threading.Event()  # the peer closed before the end

    def as_json(self):
        return {"path": self.path, "headers": self.headers, "body": self.body,
                "left": self.left.is_set()}


class Vllm:
    stream_type = "text/event-stream; charset=utf-8"

    def __init__(self, body):
        self.body = body

    def _chunk(self, **fields):
        return "data: " + json.dumps({
            "id": "chatcmpl-1", "object": "chat.completion.chunk",
            "created": CREATED, "model": self.body["model"],
            **fields}) + "\n\n"

    def _choice(self, delta, finish_reason=None):
        return self._chunk(choices=[{"index": 0, "delta": delta,
                                     "finish_reason": finish_reason}])

    def opening(self):
        return self._choice({"role": "assistant", "content": ""})

    def piece(self, text):
        return self._choice({"content": text})

    def end(self):
        ending = self._choice({}, "stop")
        if (self.body.get("stream_options") or {}).get("include_usage"):
            ending += self._chunk(choices=[], usage=usage())
        return ending + "data: [DONE]\n\n"

    def failure(self, message):
        return f"data: {self.error(500, 'InternalServerError', message)}\n\n" \
            "data: [DONE]\n\n"

    def whole(self):
        return json.dumps({
            "id": "chatcmpl-1", "object": "chat.completion",
            "created": CREATED, "model": self.body["model"],
            "choices": [{"index": 0, "finish_reason": "stop",
                         "message": {"role": "assistant", "content": TEXT}}],
            "usage": usage()})

    @staticmethod
    def error(status, kind, message):
        return json.dumps({"error": {"message": message, "type": kind,
                                     "param": None, "code": status}})


class Ollama:
    stream_type = "application/x-ndjson"

    def __init__(self, body):
        self.body = body

    def _object(self, text, **fields):
        return json.dumps({
            "model": self.body["model"], "created_at": "2026-11-24T10:00:00Z",
            "message": {"role": "assistant", "content": text},
            **(fields or {"done": False})}, separators=(",", ":"))

    def _done(self, text):
        return self._object(text, done=True, done_reason="stop",
                            prompt_eval_count=PROMPT_TOKENS,
                            eval_count=len(WORDS))

    def opening(self):
        return ""

    def piece(self, text):
        return self._object(text) + "\n"

    def end(self):
        return self._done("") + "\n"

    def failure(self, message):
        return json.dumps({"error": message}) + "\n"

    def whole(self):
        return self._done(TEXT)

    @staticmethod
    def error(_status, _kind, message):
        return json.dumps({"error": message})


class Generate(Ollama):
    """The wire of /api/generate."""

    def _object(self, text, **fields):
        return json.dumps({
            "model": self.body["model"], "created_at": "2026-11-24T10:00:00Z",
            "response": text, **(fields or {"done": False})},
            separators=(",", ":"))


def usage():
    return {"prompt_tokens": PROMPT_TOKENS, "completion_tokens": len(WORDS),
            "total_tokens": PROMPT_TOKENS + len(WORDS)}


class Completion(Vllm):
    """The wire of /v1/completions."""

    def piece(self, text, finish_reason=None):
        return self._chunk(object="text_completion", choices=[
            {"index": 0, "text": text, "logprobs": None,
             "finish_reason": finish_reason}])

    def opening(self):
        return ""

    def end(self):
        return self.piece("", "stop") + "data: [DONE]\n\n"

    def whole(self):
        return self.piece(TEXT, "stop")[len("data: "):]


WIRES = {"/api/chat": Ollama, "/api/generate": Generate,
         "/v1/chat/completions": Vllm, "/v1/completions": Completion}


class Moods(Backend):
    """The backend. Each request runs in a thread of its own."""

    def __init__(self):
        self._seen = {}
        super().__init__(self._answer)

    def seen(self, model):
        """The requests for that model so far, oldest first."""
        return list(self._seen.get(model, ()))

    def _answer(self, request, peer):
        if request.method == "GET":
            self._show(request.path, peer)
            return
        body = json.loads(request.body)
        # As vLLM with --served-model-name demo vllm:demo, which answers to
        # both and calls itself by the first.
        body["model"] = body["model"].removeprefix("vllm:")
        if request.path == "/api/show":
            self._show_model(body["model"], peer)
            return
        seen = Seen(request.path, {name.lower(): value for name, value
                                   in request.headers}, body)
        self._seen.setdefault(body["model"], []).append(seen)
        try:
            if ollama_models.answers(request.path, body):
                ollama_models.answer(request.path, body, peer)
            elif request.path in WIRES:
                wire = WIRES[request.path](body)
                mood = body["model"].split("-")[0]
                MOODS[mood](self, wire, peer)
            elif request.path == "/v1/embeddings":
                vllm_embeddings(body, peer)
            elif request.path == "/api/embed":
                ollama_embeddings(body, peer)
            else:
                peer.whole({"error": "no such path"}, 404)
        except Gone:
            seen.left.set()
            raise

    def _show(self, path, peer):
        if path.startswith("/_seen/"):
            model = urllib.parse.unquote(path[len("/_seen/"):])
            peer.whole([seen.as_json() for seen in self.seen(model)])
        elif path == "/v1/models":
            peer.whole({"object": "list", "data": [
                {"id": "demo", "object": "model", "created": CREATED,
                 "owned_by": "vllm"}]})
        elif path == "/api/tags":
            peer.whole({"models": [
                {"name": "demo", "model": "demo",
                 "modified_at": "2026-11-24T10:00:00Z", "size": 1,
                 "digest": "0" * 64, "details": {}}]})
        else:
            peer.whole({})

    @staticmethod
    def _show_model(name, peer):
        if name != "demo":
            peer.whole({"error": f"model '{name}:latest' not found"}, 404)
            return
        peer.whole({"modified_at": "2026-11-24T10:00:00Z", "details": {},
                    "capabilities": ["completion", "tools"],
                    "model_info": {"general.architecture": "llama",
                                   "llama.context_length": 4096}})

    # Moods

    def demo(self, wire, peer):
        if not wire.body.get("stream"):
            peer.whole(wire.whole().encode())
            return
        start_stream(wire, peer)
        for word in WORDS:
            peer.chunk(wire.piece(word))
            time.sleep(PIECE_GAP)
        peer.chunk(wire.end())
        peer.end()

    def busy(self, wire, peer):
        """busy-N-...: 503 to the first N requests."""
        model = wire.body["model"]
        if len(self.seen(model)) > int(model.split("-")[1]):
            self.demo(wire, peer)
        else:
            refuse(wire, peer, 503, "ServiceUnavailable", "server busy")

    def silent(self, _wire, peer):
        """Never answers."""
        peer.pause(PATIENCE)
        peer.close()

    def endless(self, wire, peer):
        """Streams until the peer leaves."""
        start_stream(wire, peer)
        while True:
            peer.chunk(wire.piece("more "))
            peer.pause(PIECE_GAP)

    def breaks(self, wire, peer):
        """Resets the connection in mid-stream."""
        start_stream(wire, peer)
        peer.chunk(wire.piece(WORDS[0]))
        peer.pause(5 * PIECE_GAP)
        peer.reset()

    def fails(self, wire, peer):
        """Reports an error in mid-stream."""
        start_stream(wire, peer)
        peer.chunk(wire.piece(WORDS[0]))
        peer.pause(5 * PIECE_GAP)
        peer.chunk(wire.failure("the GPU fell off the bus"))
        peer.end()

    def bad(self, wire, peer):
        refuse(wire, peer, 400, "BadRequestError", BAD_REQUEST)

    def missing(self, wire, peer):
        refuse(wire, peer, 404, "NotFoundError",
               f"model '{wire.body['model']}' not found")

    def broken(self, wire, peer):
        refuse(wire, peer, 500, "InternalServerError", "out of memory")


MOODS = {mood.__name__: mood for mood in (
    Moods.demo, Moods.busy, Moods.silent, Moods.endless, Moods.breaks,
    Moods.fails, Moods.bad, Moods.missing, Moods.broken)}


def start_stream(wire, peer):
    peer.head(200, wire.stream_type)
    if wire.opening():
        peer.chunk(wire.opening())


def refuse(wire, peer, status, kind, message):
    peer.whole(wire.error(status, kind, message).encode(), status)


def vllm_embeddings(body, peer):
    texts = body["input"]
    vector = VECTOR
    if body.get("encoding_format") == "base64":
        packed = struct.pack(f"<{len(VECTOR)}f", *VECTOR)
        vector = base64.b64encode(packed).decode()
    peer.whole({
        "object": "list", "model": body["model"],
        "data": [{"object": "embedding", "index": i, "embedding": vector}
                 for i in range(1 if isinstance(texts, str) else len(texts))],
        "usage": {"prompt_tokens": 1, "total_tokens": 1}})


def ollama_embeddings(body, peer):
    if body["model"].startswith("bad"):
        peer.whole({"error": "the input length exceeds the context length"},
                   400)
        return
    peer.whole({"model": body["model"],
                "embeddings": [VECTOR for _ in body["input"]],
                "total_duration": 1, "prompt_eval_count": 1})
