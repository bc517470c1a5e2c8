"""HTTP as bytes on a socket, for what client libraries would hide."""

import contextlib
import json
import socket
import time

from daemon import SETTLE, SLOW, TOKEN


class Closed(Exception):
    """The daemon closed the connection before the answer was whole."""

    def __init__(self, answer):
        super().__init__("connection closed")
        self.answer = answer


class Answer:
    def __init__(self, status, headers):
        self.status = status
        self.headers = headers  # list of (name, value)
        self.body = b""
        self.pieces = []  # (time.monotonic(), bytes) of each chunk
        self.complete = False

    def header(self, name):
        for key, value in self.headers:
            if key.lower() == name.lower():
                return value
        return None

    @property
    def json(self):
        return json.loads(self.body)

    @property
    def error(self):
        return self.json["error"]

    @property
    def events(self):
        """The data of each event: objects, and "[DONE]"."""
        found = []
        for block in self.body.decode().split("\n\n"):
            for line in block.split("\n"):
                if line.startswith("data: "):
                    data = line[6:]
                    found.append(data if data == "[DONE]"
                                 else json.loads(data))
        return found


def request(path="/v1/chat/completions", body=None, method=None, token=TOKEN,
            headers=(), version="1.1"):
    """The bytes of a request; `body` may be bytes or something for JSON."""
    if body is not None and not isinstance(body, bytes):
        body = json.dumps(body).encode()
    method = method or ("GET" if body is None else "POST")
    lines = [f"{method} {path} HTTP/{version}", "Host: proxy"]
    if token:
        lines.append(f"Authorization: Bearer {token}")
    if body is not None:
        lines += ["Content-Type: application/json",
                  f"Content-Length: {len(body)}"]
    lines += headers
    return "\r\n".join(lines).encode("latin1") + b"\r\n\r\n" + (body or b"")


def chat(model="vllm:m", stream=False, text="hi", **more):
    body = {"model": model, "messages": [{"role": "user", "content": text}],
            **more}
    if stream:
        body["stream"] = True
    return body


class Client:
    """One connection to the daemon."""

    def __init__(self, port, unix=None, timeout=20, receive_buffer=None):
        kind = socket.AF_UNIX if unix else socket.AF_INET
        self.sock = socket.socket(kind, socket.SOCK_STREAM)
        if receive_buffer:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF,
                                 receive_buffer)
        self.sock.settimeout(timeout * SLOW)
        self.sock.connect(unix or ("127.0.0.1", port))
        if not unix:
            self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.sock.close()

    def send(self, data, piece=0):
        """Sends at once, or in pieces of `piece` bytes."""
        if not piece:
            self.sock.sendall(data)
            return
        for at in range(0, len(data), piece):
            self.sock.sendall(data[at:at + piece])

    def _more(self):
        try:
            data = self.sock.recv(65536)
        except ConnectionResetError:
            return False
        self.buffer += data
        return bool(data)

    def _until(self, mark, answer=None):
        while mark not in self.buffer:
            if not self._more():
                raise Closed(answer)
        found, self.buffer = self.buffer.split(mark, 1)
        return found

    def _exactly(self, length, answer):
        while len(self.buffer) < length:
            if not self._more():
                answer.body += self.buffer
                raise Closed(answer)
        found, self.buffer = self.buffer[:length], self.buffer[length:]
        return found

    def head(self):
        """Reads up to the end of the next answer's head (100 included)."""
        lines = self._until(b"\r\n\r\n").decode("latin1").split("\r\n")
        headers = [tuple(line.split(": ", 1)) for line in lines[1:]]
        return Answer(int(lines[0].split(" ")[1]), headers)

    def chunk(self, answer):
        """Reads one chunk into the answer; b"" is the end."""
        size = int(self._until(b"\r\n", answer), 16)
        data = self._exactly(size + 2, answer)[:-2]
        if data:
            answer.pieces.append((time.monotonic(), data))
            answer.body += data
        else:
            answer.complete = True
        return data

    def rest(self, answer, head_only=False):
        length = answer.header("Content-Length")
        if head_only or answer.status in (100, 204):
            answer.complete = True
        elif answer.header("Transfer-Encoding") == "chunked":
            while self.chunk(answer):
                pass
        elif length is not None:
            answer.body = self._exactly(int(length), answer)
            answer.complete = True
        else:
            while self._more():
                pass
            answer.body, self.buffer = self.buffer, b""
            answer.complete = True
        return answer

    def answer(self, head_only=False):
        return self.rest(self.head(), head_only)

    def ask(self, *arguments, **named):
        """Sends request(...) and reads the whole answer."""
        data = request(*arguments, **named)
        self.send(data)
        return self.answer(head_only=data.startswith(b"HEAD "))

    def closed(self, seconds=5):
        """True if the daemon closes without another byte."""
        self.sock.settimeout(seconds * SLOW)
        try:
            return self.buffer == b"" and self.sock.recv(1) == b""
        except ConnectionResetError:
            return True
        except TimeoutError:
            return False


def crowd(port, count, then):
    """The statuses of `count` chats that are all sent before then()."""
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(Client(port)) for _ in range(count)]
        for client in clients:
            client.send(request(body=chat()))
        then()
        return [client.answer().status for client in clients]


def settle(port):
    """A daemon with one worker has seen all that was sent to it before. The
    first answer may be older than that, if both came in the same turn."""
    for _ in range(2):
        assert ask(port, "/healthz", token=None,
                   headers=[f"X-Request-Id: {SETTLE}"]).status == 200


def ask(port, *arguments, **named):
    """One request on a connection of its own."""
    with Client(port) as client:
        return client.ask(*arguments, **named)
