#!/usr/bin/env python3
"""A model server without a model.

As a program it is the bundled scripted backend behind `make run` and
`make demo`: it speaks Ollama's wire on one port and vLLM's on another, streams
at a human pace, and says in every answer that it is scripted.

    backend.py [--ollama-port N] [--vllm-port N] [--pace SECONDS]

prints "ollama http://127.0.0.1:PORT" and "vllm http://127.0.0.1:PORT" when it
is ready, and ends with SIGTERM or with the end of its input.

As a library it is the backend of the integration tests: Backend(handler) calls
handler(request, peer) for each request on a thread of its own, and the handler
does to the peer what the test wants: answer in pieces, stall, reset, lie.
"""

import argparse
import json
import math
import re
import select
import signal
import socket
import struct
import sys
import threading
import time

PACE = 0.04
CREATED = "2026-11-24T12:00:00.5Z"
CREATED_S = 1795521600


class Request:
    """One request as it came over the wire."""

    def __init__(self, head, body, connection_id):
        self.head = head  # bytes, from the request line to the empty line
        self.body = body
        self.connection_id = connection_id
        lines = head.decode("latin1").split("\r\n")
        self.method, self.path, self.version = lines[0].split(" ", 2)
        self.headers = [tuple(line.split(": ", 1)) for line in lines[1:]
                        if ": " in line]

    def header(self, name):
        for key, value in self.headers:
            if key.lower() == name.lower():
                return value
        return None

    @property
    def json(self):
        return json.loads(self.body)


class Gone(Exception):
    """The peer has closed the connection."""


class Peer:
    """The connection of one request, as a handler sees it."""

    def __init__(self, sock):
        self.sock = sock
        self.open = True  # False: the handler has closed it

    def send(self, data):
        try:
            self.sock.sendall(data)
        except OSError as error:
            raise Gone from error

    def head(self, status=200, content_type="application/json", length=None,
             **headers):
        lines = [f"HTTP/1.1 {status} Scripted"]
        if content_type:
            lines.append(f"Content-Type: {content_type}")
        lines += [f"{name.replace('_', '-')}: {value}"
                  for name, value in headers.items()]
        lines.append("Transfer-Encoding: chunked" if length is None
                     else f"Content-Length: {length}")
        self.send(("\r\n".join(lines) + "\r\n\r\n").encode("latin1"))

    def whole(self, body, status=200, content_type="application/json",
              **headers):
        if not isinstance(body, bytes):
            body = json.dumps(body).encode()
        self.head(status, content_type, len(body), **headers)
        self.send(body)

    def chunk(self, data):
        if isinstance(data, str):
            data = data.encode()
        self.send(b"%x\r\n%s\r\n" % (len(data), data))

    def end(self):
        self.send(b"0\r\n\r\n")

    def sse_head(self, **headers):
        self.head(200, "text/event-stream; charset=utf-8", **headers)

    def sse(self, event):
        if not isinstance(event, str):
            event = json.dumps(event)
        self.chunk(f"data: {event}\n\n")

    def ndjson_head(self, **headers):
        self.head(200, "application/x-ndjson", **headers)

    def line(self, obj):
        self.chunk(json.dumps(obj, separators=(",", ":")) + "\n")

    def close(self):
        self.open = False
        self.sock.close()

    def reset(self):
        """Closes with RST instead of FIN."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER,
                             struct.pack("ii", 1, 0))
        self.close()

    def wait_closed(self, seconds):
        """The time.monotonic() at which the peer closed, or None."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            ready, _, _ = select.select([self.sock], [], [],
                                        max(0, end - time.monotonic()))
            if not ready:
                return None
            try:
                if not self.sock.recv(65536):
                    return time.monotonic()
            except OSError:
                return time.monotonic()
        return None

    def pause(self, seconds):
        """Waits, but not for a peer that is gone."""
        if self.wait_closed(seconds):
            raise Gone


class Backend:
    """A server on a port of its own; see the module's text."""

    def __init__(self, handler=None, port=0, tls=None):
        self.handler = handler or demo
        self.requests = []
        self.connections = 0
        self._lock = threading.Lock()
        self._arrived = threading.Condition(self._lock)
        self._open = set()
        self._tls = tls
        self._listener = socket.create_server(("127.0.0.1", port),
                                              backlog=1024)
        self.port = self._listener.getsockname()[1]
        scheme = "https" if tls else "http"
        self.url = f"{scheme}://127.0.0.1:{self.port}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._lock:
                self.connections += 1
                number = self.connections
            threading.Thread(target=self._serve, args=(sock, number),
                             daemon=True).start()

    def _serve(self, sock, number):
        try:
            if self._tls:
                sock = self._tls.wrap_socket(sock, server_side=True)
        except OSError:
            sock.close()
            return
        with self._lock:
            self._open.add(sock)
        peer = Peer(sock)
        buffer = b""
        try:
            while peer.open:
                buffer = self._one(sock, peer, buffer, number)
        except (Gone, OSError, ValueError):
            pass
        finally:
            with self._lock:
                self._open.discard(sock)
            if peer.open:
                sock.close()

    def _one(self, sock, peer, buffer, number):
        while b"\r\n\r\n" not in buffer:
            data = sock.recv(65536)
            if not data:
                raise Gone
            buffer += data
        head, _, buffer = buffer.partition(b"\r\n\r\n")
        length = 0
        for line in head.split(b"\r\n"):
            if line.lower().startswith(b"content-length:"):
                length = int(line.split(b":")[1])
        parts = [buffer]
        have = len(buffer)
        while have < length:
            data = sock.recv(1 << 20)
            if not data:
                raise Gone
            parts.append(data)
            have += len(data)
        buffer = b"".join(parts)
        request = Request(head, buffer[:length], number)
        with self._arrived:
            self.requests.append(request)
            self._arrived.notify_all()
        self.handler(request, peer)
        return buffer[length:]

    def wait_requests(self, count, seconds=10):
        """The requests so far, once there are `count`."""
        with self._arrived:
            ok = self._arrived.wait_for(lambda: len(self.requests) >= count,
                                        seconds)
            assert ok, f"{len(self.requests)} of {count} requests came"
            return list(self.requests)

    @property
    def open_connections(self):
        with self._lock:
            return len(self._open)

    def stop(self):
        try:
            self._listener.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self._listener.close()
        with self._lock:
            for sock in list(self._open):
                try:
                    sock.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass


# What the demo says ------------------------------------------------------

def last_words(body):
    """The last user message's text, to be talked about."""
    for message in reversed(body.get("messages") or []):
        content = message.get("content")
        if message.get("role") == "user" and isinstance(content, str):
            return content
    prompt = body.get("prompt") or body.get("input") or ""
    return prompt if isinstance(prompt, str) else ""


def speech(wire, body):
    words = (f"This is the scripted {wire} backend; no model runs here. "
             f"It got {len(last_words(body).split())} words from you and "
             "answers with these, one after the other, at a human pace.")
    return [(" " if i else "") + w for i, w in enumerate(words.split())]


def tokens_of(body):
    return max(1, len(json.dumps(body.get("messages") or last_words(body)))
               // 4)


def vector(text, size=8):
    values = [math.sin(1 + i + sum(text.encode())) for i in range(size)]
    norm = math.sqrt(sum(v * v for v in values))
    return [v / norm for v in values]


def demo(request, peer):
    """Both wires on one port, told apart by the path."""
    routes = {
        ("GET", "/"): lambda r, p: p.whole(b"Ollama is running",
                                           content_type="text/plain"),
        ("GET", "/api/tags"): ollama_tags,
        ("GET", "/api/version"): lambda r, p: p.whole({"version": "0.33.0"}),
        ("POST", "/api/show"): ollama_show,
        ("POST", "/api/chat"): ollama_chat,
        ("POST", "/api/generate"): ollama_generate,
        ("POST", "/api/embed"): ollama_embed,
        ("GET", "/health"): lambda r, p: p.whole(b"", content_type=None),
        ("GET", "/v1/models"): vllm_models,
        ("POST", "/v1/chat/completions"): vllm_chat,
        ("POST", "/v1/completions"): vllm_completion,
        ("POST", "/v1/embeddings"): vllm_embeddings,
        ("POST", "/v1/responses"): vllm_responses,
        ("POST", "/tokenize"): lambda r, p: p.whole(
            {"count": 3, "max_model_len": 4096, "tokens": [1, 2, 3]}),
        ("POST", "/v1/score"): vllm_score,
        ("POST", "/v1/rerank"): vllm_rerank,
    }
    handler = routes.get((request.method, request.path.split("?")[0]))
    if handler is None:
        peer.whole({"error": {"message": "Not Found", "type": "Not Found",
                              "param": None, "code": 404}}, status=404)
    else:
        handler(request, peer)


def ollama_tags(_request, peer):
    peer.whole({"models": [
        {"name": "demo:latest", "model": "demo:latest",
         "modified_at": "2026-11-01T10:00:00Z", "size": 1,
         "digest": "0", "details": {"family": "scripted"}}]})


def display_name(name):
    """As Ollama spells a model, or None where it is none."""
    found = re.fullmatch(r"(?:(?:([\w.:-]+)/)?([\w-]+)/)?(\w[\w.-]*)"
                         r"(?::(\w[\w.-]*))?",
                         name.strip().removesuffix(":local"), re.ASCII)
    if not found:
        return None
    host, space, model, tag = found.groups()
    before = "" if space in (None, "library") else space + "/"
    if host not in (None, "registry.ollama.ai"):
        before = f"{host}/{space}/"
    return f"{before}{model}:{tag or 'latest'}"


SHOWN = {
    "modelfile": "# Modelfile generated by \"ollama show\"\n"
                 "FROM /models/blobs/sha256-0\nTEMPLATE {{ .Prompt }}\n",
    "template": "{{ .Prompt }}",
    "details": {"parent_model": "", "format": "gguf", "family": "llama",
                "families": ["llama"], "parameter_size": "1.62M",
                "quantization_level": "unknown"},
    "model_info": {"general.architecture": "llama", "general.file_type": 0,
                   "general.parameter_count": 1623936,
                   "llama.block_count": 2, "llama.context_length": 2048,
                   "llama.embedding_length": 384,
                   "tokenizer.ggml.merges": None,
                   "tokenizer.ggml.token_type": None,
                   "tokenizer.ggml.tokens": None},
    "tensors": [{"name": "token_embd.weight", "type": "F16",
                 "shape": [384, 384]}],
    "capabilities": ["completion", "tools"],
    "modified_at": "2026-11-01T10:00:00.042455084Z",
}


def ollama_show(request, peer):
    try:
        body = request.json
    except ValueError:
        peer.whole({"error": "unexpected EOF"}, 400)
        return
    name = body.get("model") or body.get("name")
    shown = display_name(name) if name else None
    if not name:
        peer.whole({"error": "model is required"}, 400)
    elif not shown:
        peer.whole({"error": "invalid model name"}, 400)
    elif shown.lower() != "demo:latest":
        peer.whole({"error": f"model '{shown}' not found"}, 404)
    else:
        peer.whole(SHOWN)


def ollama_stream(request, peer, field):
    body = request.json
    words = speech("ollama", body)
    model = body.get("model")

    def line(text, **more):
        said = ({"message": {"role": "assistant", "content": text}}
                if field == "message" else {"response": text})
        return {"model": model, "created_at": CREATED, **said,
                "done": False, **more}

    last = {"done": True, "done_reason": "stop",
            "prompt_eval_count": tokens_of(body), "eval_count": len(words)}
    if body.get("stream", True) is False:
        peer.whole(line("".join(words), **last))
        return
    peer.ndjson_head()
    for word in words:
        peer.line(line(word))
        peer.pause(PACE)
    peer.line(line("", **last))
    peer.end()


def ollama_chat(request, peer):
    ollama_stream(request, peer, "message")


def ollama_generate(request, peer):
    ollama_stream(request, peer, "response")


def ollama_embed(request, peer):
    inputs = request.json.get("input") or []
    inputs = [inputs] if isinstance(inputs, str) else inputs
    peer.whole({"model": request.json.get("model"),
                "embeddings": [vector(text) for text in inputs],
                "prompt_eval_count": sum(len(t.split()) for t in inputs)})


def vllm_models(_request, peer):
    peer.whole({"object": "list", "data": [
        {"id": "demo", "object": "model", "created": CREATED_S,
         "owned_by": "vllm", "max_model_len": 4096}]})


def usage_of(body, words):
    prompt = tokens_of(body)
    return {"prompt_tokens": prompt, "completion_tokens": len(words),
            "total_tokens": prompt + len(words)}


def vllm_stream(request, peer, kind):
    """Chat (kind "chat") and text completions differ in where text stands."""
    body = request.json
    words = speech("vllm", body)
    chat = kind == "chat"
    common = {"id": ("chatcmpl-" if chat else "cmpl-")
              + (request.header("X-Request-Id") or "scripted"),
              "created": CREATED_S, "model": body.get("model")}
    if not body.get("stream"):
        text = "".join(words)
        said = ({"message": {"role": "assistant", "content": text}}
                if chat else {"text": text})
        peer.whole({**common,
                    "object": "chat.completion" if chat else "text_completion",
                    "choices": [{"index": 0, **said, "logprobs": None,
                                 "finish_reason": "stop"}],
                    "usage": usage_of(body, words)})
        return
    common["object"] = "chat.completion.chunk" if chat else "text_completion"

    def piece(said, reason=None):
        peer.sse({**common, "choices": [{"index": 0, **said,
                                         "finish_reason": reason}]})

    peer.sse_head()
    if chat:
        piece({"delta": {"role": "assistant", "content": ""}})
    for word in words:
        piece({"delta": {"content": word}} if chat else {"text": word})
        peer.pause(PACE)
    piece({"delta": {}} if chat else {"text": ""}, "stop")
    if (body.get("stream_options") or {}).get("include_usage"):
        peer.sse({**common, "choices": [], "usage": usage_of(body, words)})
    peer.sse("[DONE]")
    peer.end()


def vllm_chat(request, peer):
    vllm_stream(request, peer, "chat")


def vllm_completion(request, peer):
    vllm_stream(request, peer, "text")


def vllm_embeddings(request, peer):
    import base64
    body = request.json
    inputs = body.get("input") or []
    inputs = [inputs] if isinstance(inputs, str) else inputs
    data = []
    for i, text in enumerate(inputs):
        values = vector(str(text))
        if body.get("encoding_format") == "base64":
            values = base64.b64encode(
                struct.pack(f"<{len(values)}f", *values)).decode()
        data.append({"object": "embedding", "index": i, "embedding": values})
    peer.whole({"object": "list", "data": data, "model": body.get("model"),
                "usage": {"prompt_tokens": len(data),
                          "total_tokens": len(data)}})


def vllm_responses(request, peer):
    body = request.json
    words = speech("vllm", body)
    whole = {"id": "resp_scripted", "object": "response",
             "created_at": CREATED_S, "model": body.get("model"),
             "status": "completed",
             "output": [{"type": "message", "id": "msg_1",
                         "role": "assistant", "status": "completed",
                         "content": [{"type": "output_text",
                                      "text": "".join(words),
                                      "annotations": []}]}]}
    if not body.get("stream"):
        peer.whole(whole)
        return
    peer.sse_head()
    for number, word in enumerate(words):
        event = {"type": "response.output_text.delta", "delta": word,
                 "sequence_number": number, "item_id": "msg_1",
                 "output_index": 0, "content_index": 0}
        peer.chunk(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n")
        peer.pause(PACE)
    event = {"type": "response.completed", "response": whole,
             "sequence_number": len(words)}
    peer.chunk(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n")
    peer.end()


def vllm_score(request, peer):
    peer.whole({"id": "score-1", "object": "list", "created": CREATED_S,
                "model": request.json.get("model"),
                "data": [{"index": 0, "object": "score", "score": 0.5}],
                "usage": {}})


def vllm_rerank(request, peer):
    documents = request.json.get("documents") or []
    peer.whole({"id": "rerank-1", "model": request.json.get("model"),
                "results": [{"index": i, "relevance_score": 1 / (i + 1)}
                            for i in range(len(documents))]})


def main():
    parser = argparse.ArgumentParser(description="scripted model servers")
    parser.add_argument("--ollama-port", type=int, default=11434)
    parser.add_argument("--vllm-port", type=int, default=8000)
    parser.add_argument("--pace", type=float, default=PACE,
                        help="seconds between two words")
    options = parser.parse_args()
    globals()["PACE"] = options.pace
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    for name in ("ollama", "vllm"):
        try:
            backend = Backend(port=getattr(options, name + "_port"))
        except OSError as error:
            sys.exit(f"backend.py: {name}: {error}")
        print(name, backend.url, flush=True)
    try:
        # The end of input means that whoever started this is gone.
        while sys.stdin.buffer.read(4096):
            pass
    except KeyboardInterrupt:
        pass


if __name__ == "__main__":
    main()
