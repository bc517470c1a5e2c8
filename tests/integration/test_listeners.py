"""Listening sockets that come and go while the daemon serves."""

import os
import pty
import re
import signal
import socket

import pytest
from daemon import TOKEN, eventually
from raw import Client, ask, chat, request


def ok(_request, peer):
    peer.whole({"ok": 1})


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return taken.getsockname()[1]


def refused(port, unix=None):
    try:
        Client(port, unix=unix and str(unix)).close()
    except (ConnectionRefusedError, ConnectionResetError, FileNotFoundError):
        return True
    return False


def on_unix(path):
    with Client(None, unix=str(path)) as client:
        return client.ask(body=chat()).status


@pytest.mark.threads
def test_a_reload_adds_and_closes_listeners(proxy, workers, tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    port = free_port()
    daemon, _ = proxy(ok, WORKERS=workers, DRAIN_TIMEOUT="1s",
                      LISTEN=f"127.0.0.1:0,unix:{first}")
    on_first = Client(None, unix=str(first))
    assert on_first.ask(body=chat()).status == 200
    daemon.write_config(LISTEN=f"127.0.0.1:{port},127.0.0.1:0,unix:{second}")
    daemon.reload()
    assert f"notice: listening on 127.0.0.1:{port}\n" in daemon.log
    assert f"notice: no longer listening on unix:{first}\n" in daemon.log
    assert daemon.log.count(f"listening on 127.0.0.1:{daemon.port}\n") == 1
    for each in port, daemon.port:
        assert ask(each, body=chat()).status == 200
    assert on_unix(second) == 200
    eventually(lambda: not first.exists())
    # Who came by it stays.
    assert on_first.ask(body=chat()).status == 200
    daemon.write_config(LISTEN=f"unix:{first}")
    daemon.reload()
    eventually(lambda: refused(port) and refused(daemon.port)
               and refused(None, second))
    assert on_unix(first) == 200
    daemon.reload()  # the same once more
    assert on_unix(first) == 200
    assert daemon.log.count("listening on unix:") == 5


def test_host_and_port_are_addresses_too(proxy):
    daemon, _ = proxy(ok, LISTEN=None, HOST="127.0.0.1", PORT=0)
    port = free_port()
    daemon.write_config(PORT=port)
    daemon.reload()
    assert ask(port, body=chat()).status == 200
    eventually(lambda: refused(daemon.port))


@pytest.mark.threads
def test_nobody_is_lost_with_a_listener(proxy, tmp_path):
    """Whom the kernel has let in when it closes has an answer."""
    daemon, _ = proxy(ok, WORKERS=1)
    port = free_port()
    daemon.freeze()
    waiting = [Client(daemon.port) for _ in range(20)]
    for client in waiting:
        client.send(request(body=chat()))
    daemon.write_config(LISTEN=f"127.0.0.1:{port}")
    daemon.signal(signal.SIGHUP)
    daemon.thaw()
    assert [client.answer().status for client in waiting] == [200] * 20
    eventually(lambda: refused(daemon.port))


@pytest.mark.threads
def test_an_address_that_is_taken_keeps_the_old_settings(proxy, tmp_path):
    daemon, _ = proxy(ok)
    unix = tmp_path / "http"
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        daemon.write_config(MAX_BODY_BYTES=10, LISTEN=(
            f"unix:{unix},127.0.0.1:{port},127.0.0.1:0"))
        daemon.reload(good=False)
        assert (f"error: cannot listen on 127.0.0.1:{port}: bind: Address "
                "already in use") in daemon.log
        assert not unix.exists()
        assert ask(daemon.port, body=chat()).status == 200
    daemon.reload()
    assert ask(port, body=chat()).status == 413
    assert unix.exists()


def test_a_log_that_cannot_be_opened_opens_no_listener(proxy, tmp_path):
    daemon, _ = proxy(ok)
    unix = tmp_path / "http"
    daemon.write_config(LISTEN=f"127.0.0.1:0,unix:{unix}",
                        LOG_FILE="/nonexistent/log")
    daemon.reload(good=False)
    assert not unix.exists()
    assert ask(daemon.port, body=chat()).status == 200


def test_what_takes_a_restart_is_named(proxy):
    daemon, _ = proxy(ok, WORKERS=2)
    daemon.write_config(WORKERS=3, HEAD_TIMEOUT="9s")
    daemon.reload()
    named = re.findall(r"warning: (\w+) has changed: takes a restart",
                       daemon.log)
    assert named == ["WORKERS"]
    assert "reloaded, 1 tokens; changed: HEAD_TIMEOUT\n" in daemon.log
    assert ask(daemon.port, body=chat()).status == 200


# SIGWINCH ---------------------------------------------------------------------

@pytest.mark.threads
def test_a_winch_stops_accepting(proxy, workers, tmp_path):
    unix = tmp_path / "http"
    daemon, _ = proxy(ok, WORKERS=workers, preexec=os.setsid,
                      LISTEN=f"127.0.0.1:0,unix:{unix}")
    kept = Client(daemon.port)
    assert kept.ask("/readyz").status == 200
    daemon.signal(signal.SIGWINCH)
    daemon.wait_log("accepting no more; SIGHUP begins anew")
    eventually(lambda: refused(daemon.port) and refused(None, unix))
    for _ in range(2):
        told = kept.ask(body=chat())
        assert told.status == 200 and told.header("Connection") is None
    assert kept.ask("/readyz").status == 503
    daemon.reload()
    assert kept.ask("/readyz").status == 200
    assert on_unix(unix) == 200
    daemon.signal(signal.SIGWINCH)
    daemon.signal(signal.SIGTERM)
    assert daemon.wait_exit() == 0
    assert kept.closed()


def test_a_window_that_is_resized_stops_nothing(proxy):
    """A terminal sends SIGWINCH to all that run in it."""
    master, slave = pty.openpty()

    def in_terminal():
        os.setsid()
        os.close(os.open(os.ttyname(slave), os.O_RDWR))

    daemon, _ = proxy(ok, preexec=in_terminal)
    daemon.signal(signal.SIGWINCH)
    daemon.signal(signal.SIGUSR1)
    daemon.wait_log("logs reopened")
    assert "accepting no more" not in daemon.log
    assert ask(daemon.port, body=chat(), token=TOKEN).status == 200
    os.close(slave)
    daemon.stop()
    os.close(master)
