"""A backend for the SDK tests whose model names say how it behaves.

One port speaks both wires: Ollama's /api/* and vLLM's /v1/*. A model is called
MOOD or MOOD-ANYTHING; the rest makes it one test's own, so that suites in
several languages share one backend and each finds its own requests again with
GET /_seen/MODEL.
"""

import base64
import http.server
import json
import select
import struct
import threading
import time
import urllib.parse

WORDS = ["Hello", " from", " the", " backend", "."]
TEXT = "".join(WORDS)
VECTOR = [0.5, -1.0, 2.0]
PROMPT_TOKENS = 7
PIECE_GAP = 0.01
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
            "created": CREATED, "model": self.body["model"], **fields}) + "\n\n"

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


def usage():
    return {"prompt_tokens": PROMPT_TOKENS, "completion_tokens": len(WORDS),
            "total_tokens": PROMPT_TOKENS + len(WORDS)}


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *_):
        pass

    # Answers

    def reply(self, text, status=200):
        data = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def start_stream(self, wire):
        self.send_response(200)
        self.send_header("Content-Type", wire.stream_type)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self.chunk(wire.opening())

    def chunk(self, text):
        data = text.encode()
        if data:
            self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))

    def end_stream(self):
        self.wfile.write(b"0\r\n\r\n")

    def peer_left(self, seconds):
        """Waits that long; True as soon as the peer closes."""
        readable, _, _ = select.select([self.connection], [], [], seconds)
        return bool(readable)

    # Moods

    def demo(self, wire, _seen):
        if not wire.body.get("stream"):
            self.reply(wire.whole())
            return
        self.start_stream(wire)
        for word in WORDS:
            self.chunk(wire.piece(word))
            time.sleep(PIECE_GAP)
        self.chunk(wire.end())
        self.end_stream()

    def busy(self, wire, seen):
        """busy-N-...: 503 to the first N requests."""
        model = wire.body["model"]
        if len(self.server.moods.seen(model)) > int(model.split("-")[1]):
            self.demo(wire, seen)
        else:
            self.reply(wire.error(503, "ServiceUnavailable", "server busy"),
                       503)

    def silent(self, _wire, seen):
        """Never answers."""
        if self.peer_left(60):
            seen.left.set()
        self.close_connection = True

    def endless(self, wire, seen):
        """Streams until the peer leaves."""
        self.start_stream(wire)
        while not self.peer_left(PIECE_GAP):
            self.chunk(wire.piece("more "))
        seen.left.set()
        self.close_connection = True

    def breaks(self, wire, _seen):
        """Closes the connection in mid-stream."""
        self.start_stream(wire)
        self.chunk(wire.piece(WORDS[0]))
        time.sleep(5 * PIECE_GAP)
        self.close_connection = True

    def fails(self, wire, _seen):
        """Reports an error in mid-stream."""
        self.start_stream(wire)
        self.chunk(wire.piece(WORDS[0]))
        time.sleep(5 * PIECE_GAP)
        self.chunk(wire.failure("the GPU fell off the bus"))
        self.end_stream()

    def bad(self, wire, _seen):
        self.reply(wire.error(400, "BadRequestError", BAD_REQUEST), 400)

    def missing(self, wire, _seen):
        self.reply(wire.error(404, "NotFoundError",
                              f"model '{wire.body['model']}' not found"), 404)

    def broken(self, wire, _seen):
        self.reply(wire.error(500, "InternalServerError", "out of memory"),
                   500)

    MOODS = {"demo": demo, "busy": busy, "silent": silent, "endless": endless,
             "breaks": breaks, "fails": fails, "bad": bad, "missing": missing,
             "broken": broken}

    # Requests

    def do_POST(self):
        length = int(self.headers.get("Content-Length", 0))
        body = json.loads(self.rfile.read(length))
        seen = Seen(self.path, {name.lower(): value for name, value
                                in self.headers.items()}, body)
        self.server.moods.note(seen)
        try:
            if self.path in ("/api/chat", "/v1/chat/completions"):
                wire = (Ollama if self.path == "/api/chat" else Vllm)(body)
                self.MOODS[body["model"].split("-")[0]](self, wire, seen)
            elif self.path == "/v1/completions":
                self.completion(body)
            elif self.path == "/v1/embeddings":
                self.embeddings(body)
            else:
                self.reply('{"error":"no such path"}', 404)
        except ConnectionError:
            seen.left.set()
            self.close_connection = True

    def do_GET(self):
        moods = self.server.moods
        if self.path.startswith("/_seen/"):
            model = urllib.parse.unquote(self.path[len("/_seen/"):])
            self.reply(json.dumps([s.as_json() for s in moods.seen(model)]))
        elif self.path == "/v1/models":
            self.reply(json.dumps({"object": "list", "data": [
                {"id": "demo", "object": "model", "created": CREATED,
                 "owned_by": "vllm"}]}))
        elif self.path == "/api/tags":
            self.reply(json.dumps({"models": [
                {"name": "demo", "model": "demo",
                 "modified_at": "2026-11-24T10:00:00Z", "size": 1,
                 "digest": "0" * 64, "details": {}}]}))
        else:
            self.reply("{}")

    def completion(self, body):
        def choice(text, finish_reason):
            return json.dumps({
                "id": "cmpl-1", "object": "text_completion",
                "created": CREATED, "model": body["model"],
                "choices": [{"index": 0, "text": text, "logprobs": None,
                             "finish_reason": finish_reason}]})
        if not body.get("stream"):
            self.reply(choice(TEXT, "stop"))
            return
        self.start_stream(Completion)
        for number, word in enumerate(WORDS, 1):
            last = number == len(WORDS)
            self.chunk(f"data: {choice(word, 'stop' if last else None)}\n\n")
        self.chunk("data: [DONE]\n\n")
        self.end_stream()

    def embeddings(self, body):
        vector = VECTOR
        if body.get("encoding_format") == "base64":
            packed = struct.pack(f"<{len(VECTOR)}f", *VECTOR)
            vector = base64.b64encode(packed).decode()
        self.reply(json.dumps({
            "object": "list", "model": body["model"],
            "data": [{"object": "embedding", "index": 0, "embedding": vector}],
            "usage": {"prompt_tokens": 1, "total_tokens": 1}}))


class Completion:
    stream_type = Vllm.stream_type

    @staticmethod
    def opening():
        return ""


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, *_):
        pass  # a peer that resets is what some tests are about


class Moods:
    """The backend, running in threads of this process."""

    def __init__(self):
        self._lock = threading.Lock()
        self._seen = {}
        self._server = Server(("127.0.0.1", 0), Handler)
        self._server.moods = self
        self.url = "http://127.0.0.1:%d" % self._server.server_port
        threading.Thread(target=self._server.serve_forever,
                         daemon=True).start()

    def note(self, seen):
        with self._lock:
            self._seen.setdefault(seen.body.get("model"), []).append(seen)

    def seen(self, model):
        """The requests for that model so far, oldest first."""
        with self._lock:
            return list(self._seen.get(model, ()))

    def stop(self):
        self._server.shutdown()
        self._server.server_close()
