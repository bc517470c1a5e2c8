#!/usr/bin/env python3
"""One client process: COUNT requests, one after the other, to daemons in
turn. One that is gone is left out from then on. Prints what came, as JSON.

    flood.py COUNT PORT...
"""

import json
import socket
import sys

from raw import chat, request


def answer(sock, buffer):
    """The status of the next answer; what follows it stays in the buffer."""
    while b"\r\n\r\n" not in buffer:
        data = sock.recv(65536)
        if not data:
            raise ConnectionError
        buffer += data
    head, _, rest = bytes(buffer).partition(b"\r\n\r\n")
    fields = dict(line.lower().split(b": ", 1)
                  for line in head.split(b"\r\n")[1:])
    length = int(fields[b"content-length"])
    while len(rest) < length:
        data = sock.recv(65536)
        if not data:
            raise ConnectionError
        rest += data
    buffer[:] = rest[length:]
    return int(head.split(b" ", 2)[1])


def main(count, ports):
    asked = request(body=chat())
    links = []
    for port in ports:
        sock = socket.create_connection(("127.0.0.1", port), 60)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        links.append((sock, bytearray()))
    came = {}
    # The parent lets all begin at once.
    print("ready", flush=True)
    sys.stdin.readline()
    for i in range(count):
        link = links[i % len(links)]
        try:
            link[0].sendall(asked)
            status = answer(*link)
        except OSError:
            status = "lost"
            links.remove(link)
        came[status] = came.get(status, 0) + 1
    print(json.dumps(came), flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]), [int(port) for port in sys.argv[2:]])
