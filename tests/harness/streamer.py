"""A backend whose streams stay open, and clients of them."""

import threading

from raw import Client, chat, request


class Streamer:
    """Streams one event, waits for the gate, and ends properly. A request
    that is no stream waits for the gate, too."""

    def __init__(self):
        self.gate = threading.Event()

    def __call__(self, got, peer):
        streams = got.json.get("stream")
        if streams:
            peer.sse_head()
            peer.sse({"n": 1})
        while not self.gate.is_set():
            peer.pause(0.01)
        if streams:
            peer.sse({"n": 2})
            peer.sse("[DONE]")
            peer.end()
        else:
            peer.whole({"ok": 1})


def start_stream(daemon, **named):
    """A client that has read the first event, and its answer."""
    client = Client(daemon.port)
    client.send(request(body=chat(stream=True), **named))
    answer = client.head()
    client.chunk(answer)
    return client, answer
