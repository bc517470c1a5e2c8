"""Plays the service manager: hears what the daemon says of itself."""

import socket
import time

from daemon import SLOW


class Manager:
    """`name`: a path, or @name in the abstract space."""

    def __init__(self, name):
        self.name = str(name)
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.sock.bind(self.name.replace("@", "\0", 1))

    def close(self):
        self.sock.close()

    def message(self, seconds=10):
        """The next datagram as a dictionary; None if none comes."""
        self.sock.settimeout(seconds * SLOW)
        try:
            text = self.sock.recv(65536).decode()
        except TimeoutError:
            return None
        assert text.endswith("\n")
        return dict(line.split("=", 1) for line in text.splitlines())

    def wait(self, name, seconds=10):
        """The first datagram from now on that has a `name`."""
        end = time.monotonic() + seconds * SLOW
        while time.monotonic() < end:
            message = self.message()
            if message and name in message:
                return message
        raise AssertionError(f"nobody said {name}")

    def quiet(self, name, seconds):
        """True if no datagram with a `name` comes for so long."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.sock.settimeout(max(end - time.monotonic(), 0.001))
            try:
                text = self.sock.recv(65536).decode()
            except TimeoutError:
                return True
            if f"{name}=" in text:
                return False
        return True
