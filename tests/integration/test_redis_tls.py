"""rediss://: who is believed to be the store, and that limits are as exact
as without TLS. A build without TLS refuses each of these configurations."""

import contextlib
import re
import socket
import ssl
import threading
import time

import pytest
from certs import Authority
from daemon import SLOW, run_daemon
from raw import Client, ask, chat, crowd
from test_limits import limited, ok
from test_redis import KEY, statuses
from test_redis_faults import by_redis

SPEAKS_TLS = "(TLS)" in run_daemon("--version")[1]
WITHOUT = re.compile(r"c\.conf:2: REDIS_URL: rediss:// needs a build with the "
                     r"TLS library of hiredis 1\.0 or later, and this one has "
                     r"none; use redis:// in a private network, unix:// or a "
                     r"tunnel\n")
LOST = "does not decide"
HERE = ("DNS:localhost", "IP:127.0.0.1")


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("tls") / "ca", "tests' authority")


@pytest.fixture(scope="module")
def stranger(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("tls") / "ca", "a stranger")


@pytest.fixture(scope="module")
def identity(authority):
    return authority.issue(*HERE)


@pytest.fixture
def verdict(connect):
    """verdict(url, SETTING=value): what -t --connect says; None is good."""
    def run(url, **settings):
        code, err = connect(url, **settings)
        if not SPEAKS_TLS:
            assert code == 78 and WITHOUT.search(err), err
            return "no TLS"
        if code == 0:
            assert err == "configuration is ok\n"
            return None
        assert code == 69, err
        shown = re.sub(r"//.*@", "//***@", url)
        assert shown.split("//")[1] in err
        return err.split(": ", 2)[2].rstrip()
    return run


@pytest.fixture
def secure(proxy, connect, authority):
    """secure(url, SETTING=value): a daemon that counts there by TLS, or None
    in a build without, which says so at -t."""
    def make(url, handler=ok, **named):
        named.setdefault("REDIS_CA_FILE", authority.file)
        named.setdefault("REDIS_TIMEOUT", "2s")
        if not SPEAKS_TLS:
            code, err = connect(url)
            assert code == 78 and WITHOUT.search(err), err
            return None
        daemon, _ = proxy(handler, RATE_LIMIT_STORE="redis", REDIS_URL=url,
                          **named)
        return daemon
    return make


def good(said):
    return said == (None if SPEAKS_TLS else "no TLS")


def says(said, pattern):
    return re.fullmatch(pattern if SPEAKS_TLS else "no TLS", said)


class Listener:
    """Accepts, waits for the first bytes and does something about them."""

    def __init__(self, act):
        self.act = act
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"rediss://127.0.0.1:{self.socket.getsockname()[1]}"
        self.accepted = []
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self):
        with contextlib.suppress(OSError):
            while True:
                peer, _ = self.socket.accept()
                self.accepted.append(peer)
                peer.recv(4096)
                self.act(peer)

    def close(self):
        for each in [self.socket, *self.accepted]:
            each.close()


# Who is believed -------------------------------------------------------------

@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
def test_a_good_certificate(redis, authority, identity, verdict, host):
    store = redis(identity)
    assert good(verdict(f"rediss://{host}:{store.port}/3",
                        REDIS_CA_FILE=authority.file))
    assert store.keys() == []


@pytest.mark.parametrize("version", ["TLSv1.2", "TLSv1.3"])
def test_versions(redis, authority, identity, verdict, version):
    store = redis(identity, tls_protocols=version)
    assert good(verdict(store.url, REDIS_CA_FILE=authority.file))


def test_an_unknown_issuer(redis, stranger, identity, verdict):
    store = redis(identity)
    for settings in {}, {"REDIS_CA_FILE": stranger.file}:
        assert says(verdict(store.url, **settings),
                    "tls: the server's certificate is refused: unable to get "
                    "local issuer certificate; REDIS_CA_FILE must hold the "
                    "certificate of its issuer")


def test_a_certificate_that_nobody_signed(redis, authority, stranger,
                                          verdict):
    store = redis(stranger.identity)
    assert says(verdict(store.url, REDIS_CA_FILE=authority.file),
                "tls: the server's certificate is refused: self-signed "
                "certificate; REDIS_CA_FILE must hold the certificate of its "
                "issuer")


@pytest.mark.parametrize("names, host, what", [
    (["DNS:redis.test", "IP:127.0.0.1"], "localhost", "hostname"),
    (["DNS:localhost"], "127.0.0.1", "IP address"),
    (["DNS:localhost", "IP:127.0.0.2"], "127.0.0.1", "IP address"),
    (["DNS:127.0.0.1"], "127.0.0.1", "IP address"),
])
def test_another_host(redis, authority, verdict, names, host, what):
    store = redis(authority.issue(*names))
    assert says(verdict(f"rediss://{host}:{store.port}",
                        REDIS_CA_FILE=authority.file),
                f"tls: the server's certificate is refused: {what} mismatch; "
                "REDIS_URL must name the host as it does")


@pytest.mark.parametrize("time, what", [
    ({"end": "20240101000000Z"}, "certificate has expired"),
    ({"begin": "20480101000000Z"}, "certificate is not yet valid"),
])
def test_another_time(redis, authority, verdict, time, what):
    store = redis(authority.issue(*HERE, **time))
    assert says(verdict(store.url, REDIS_CA_FILE=authority.file),
                "tls: the server's certificate is refused: " + what)


def test_the_host_is_told(fake_redis, authority, identity, verdict):
    """SNI, which is for names only."""
    told = []
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*identity)
    context.sni_callback = lambda _sock, name, _context: told.append(name)
    store = fake_redis(
        lambda words: b"*8\r\n:1\r\n:0\r\n:1\r\n:0\r\n:-1\r\n:0\r\n:0\r\n:0\r\n"
        if words[0] == "EVALSHA" else None, context=context)
    for host in "localhost", "127.0.0.1":
        said = verdict(f"rediss://{host}:{store.port}",
                       REDIS_CA_FILE=authority.file)
        assert good(said), said
    assert told == (["localhost", None] if SPEAKS_TLS else [])


def test_a_server_that_wants_a_certificate(redis, authority, identity,
                                           verdict):
    store = redis(identity, tls_auth_clients="yes",
                  tls_ca_cert_file=authority.file)
    assert says(verdict(store.url, REDIS_CA_FILE=authority.file),
                "tls: tlsv13 alert certificate required; the server must do "
                "without one: tls-auth-clients no")


@pytest.mark.parametrize("certificates, exit_code", [
    ("", 78), ("-----BEGIN CERTIFICATE-----\nAAAA\n", 78)])
def test_a_broken_ca_file(tmp_path, redis, identity, connect, certificates,
                          exit_code):
    path = tmp_path / "ca.pem"
    path.write_text(certificates)
    code, err = connect(redis(identity).url, REDIS_CA_FILE=path)
    assert code == exit_code
    assert re.search(rf"REDIS_CA_FILE: \"?{path}\"? holds .*certificate.* in "
                     r"PEM format" if SPEAKS_TLS or not certificates
                     else WITHOUT, err), err


# What is no TLS --------------------------------------------------------------

NO_ANSWER = ("unreachable: no answer in TLS within a second; the port may be "
             "one without TLS")
NO_TLS = "tls: wrong version number; the port may be one without TLS"


def test_a_plain_port(redis, authority, verdict):
    """It takes the hello for commands, and waits where their line's end is
    missing."""
    store = redis()
    assert says(verdict(store.url.replace("redis", "rediss"),
                        REDIS_CA_FILE=authority.file),
                f"{NO_ANSWER}|{NO_TLS}")


@pytest.mark.parametrize("act, said", [
    (lambda peer: None, NO_ANSWER),
    (lambda peer: peer.sendall(b"-ERR unknown command\r\n"), NO_TLS),
    (lambda peer: peer.shutdown(socket.SHUT_RDWR),
     "lost: Server closed the connection"),
], ids=["silent", "plain", "closed"])
def test_a_server_without_tls(authority, verdict, act, said):
    server = Listener(act)
    try:
        assert says(verdict(server.url, REDIS_CA_FILE=authority.file), said)
    finally:
        server.close()


def test_plain_words_to_a_tls_port(redis, identity, connect):
    store = redis(identity)
    code, err = connect(store.url.replace("rediss", "redis"))
    assert code == 69 and "lost: " in err


# Logging in ------------------------------------------------------------------

def test_passwords(redis, authority, identity, verdict):
    store = redis(identity, requirepass="pw-of-redis")
    store.ask("ACL", "SETUSER", "llm", "on", ">of-llm", "~llmp:*", "+@all")
    for login, said in [
            ("", "noauth: the server asks for a password; .*"),
            (":wrong-pw@", "wrongpass: the server refuses the user or the "
             "password of REDIS_URL"),
            (":pw-of-redis@", None),
            ("llm:of-llm@", None),
            ("llm:pw-of-redis@", "wrongpass: .*")]:
        got = verdict(f"rediss://{login}127.0.0.1:{store.port}/1",
                      REDIS_CA_FILE=authority.file)
        assert good(got) if said is None else says(got, said), got


def test_secrets_are_nowhere(redis, identity, secure):
    store = redis(identity, requirepass="hunter2secret")
    daemon = secure(f"rediss://:hunter2secret@127.0.0.1:{store.port}/5",
                    tokens=limited(rpm=2), LOG_LEVEL="debug")
    if daemon is None:
        return
    assert statuses(daemon, 3) == [200, 200, 429]
    assert store.keys() == []
    link = store.link()
    link.ask("SELECT", 5)
    assert link.ask("KEYS", "*") == [KEY]
    link.close()
    store.kill()
    daemon.wait_log(LOST)
    assert "hunter2" not in daemon.log


# Counting --------------------------------------------------------------------

@pytest.mark.threads
def test_n_means_n(redis, identity, secure, workers):
    store = redis(identity)
    daemons = [secure(store.url, WORKERS=workers, tokens=limited(rpm=60))
               for _ in range(2)]
    if daemons == [None, None]:
        return
    got = []

    def go(daemon):
        with Client(daemon.port) as client:
            got.extend(client.ask(body=chat()).status for _ in range(10))

    threads = [threading.Thread(target=go, args=(daemons[i % 2],))
               for i in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert got.count(200) == 60
    assert got.count(429) == 100
    assert store.ask("HGET", KEY, "c") == "60"
    assert not any(LOST in daemon.log for daemon in daemons)


def test_many_answers_at_once(redis, identity, secure):
    """More than a record of TLS holds."""
    store = redis(identity)
    daemon = secure(store.url, WORKERS=1, REDIS_TIMEOUT="60s",
                    tokens=limited(rpm=10_000))
    if daemon is None:
        return
    assert statuses(daemon, 1) == [200]
    store.freeze()
    assert crowd(daemon.port, 700, store.thaw) == [200] * 700
    assert store.ask("HGET", KEY, "c") == "701"


def test_it_dies_and_comes_back(redis, identity, secure):
    store = redis(identity)
    daemon = secure(store.url, REDIS_TIMEOUT="60s", tokens=limited(rpm=40),
                    RATE_LIMIT_INSTANCES=4)
    if daemon is None:
        return
    assert statuses(daemon, 1) == [200]
    store.freeze()
    got = crowd(daemon.port, 20, store.kill)
    assert (got.count(200), got.count(429)) == (10, 10)
    assert len(re.findall(LOST, daemon.log)) == 1
    assert re.search(r"; (lost|unreachable): ", daemon.log)
    store.start()
    by_redis(daemon, "40")


def test_the_ca_file_is_read_again(tmp_path, redis, authority, stranger,
                                   secure):
    """By a reload, and for the next connection: this one stays."""
    path = tmp_path / "ca.pem"
    path.write_bytes(authority.file.read_bytes())
    store = redis(authority.issue(*HERE))
    daemon = secure(store.url, REDIS_CA_FILE=path, WORKERS=1,
                    tokens=limited(rpm=40), RATE_LIMIT_INSTANCES=4)
    if daemon is None:
        return
    assert statuses(daemon, 1) == [200]
    # A reload that cannot be: all stays.
    path.write_text("-----BEGIN CERTIFICATE-----\nAAAA\n")
    daemon.reload(good=False)
    assert f"REDIS_CA_FILE: {path} holds" in daemon.log
    path.write_bytes(stranger.file.read_bytes())
    daemon.reload()
    assert statuses(daemon, 1) == [200]
    assert LOST not in daemon.log
    store.kill()
    new = stranger.issue(*HERE)
    store.settings.update(tls_cert_file=new.cert, tls_key_file=new.key)
    store.start()
    by_redis(daemon, "40")


def test_the_wrong_ca_file_until_a_reload(redis, authority, stranger,
                                          identity, secure):
    store = redis(identity)
    daemon = secure(store.url, REDIS_CA_FILE=stranger.file,
                    tokens=limited(rpm=40), RATE_LIMIT_INSTANCES=4)
    if daemon is None:
        return
    daemon.wait_log(LOST)
    assert statuses(daemon, 11) == [200] * 10 + [429]
    assert "; tls: the server's certificate is refused: " in daemon.log
    assert store.keys() == []
    daemon.write_config(REDIS_CA_FILE=authority.file)
    daemon.reload()
    by_redis(daemon, "40")
    assert len(re.findall(LOST, daemon.log)) == 1


def test_a_handshake_holds_nobody_up(secure):
    server = Listener(lambda peer: None)
    daemon = secure(server.url, WORKERS=1, REDIS_TIMEOUT="60s",
                    tokens=limited(rpm=4))
    if daemon is not None:
        while not server.accepted:
            time.sleep(0.01)
        begin = time.monotonic()
        with Client(daemon.port) as client:
            for _ in range(100):
                assert client.ask("/healthz").status == 200
        assert time.monotonic() - begin < 0.5 * SLOW
    server.close()


def test_errors_of_backends_are_not_the_stores(tmp_path, redis, identity,
                                               secure):
    """Both are spoken to in TLS by one thread, where OpenSSL keeps one list
    of errors. libcurl leaves those of a broken CA file there."""
    path = tmp_path / "ca.pem"
    path.write_text("-----BEGIN CERTIFICATE-----\nAAAA\n")
    store = redis(identity)
    server = Listener(lambda peer: None)
    daemon = secure(store.url, WORKERS=1, REDIS_TIMEOUT="300ms",
                    tokens=limited(rpm=1000))
    if daemon is not None:
        daemon.write_config(OLLAMA_BASE_URL=server.url.replace("rediss",
                                                               "https"),
                            OLLAMA_CA_FILE=path)
        daemon.reload()
        assert ask(daemon.port, body=chat("ollama:m")).status == 502
        store.wait_field(KEY, "c", 0)
        store.freeze()
        # At the deadline hiredis looks once more, and there is nothing.
        assert ask(daemon.port, body=chat("vllm:m")).status == 200
        store.thaw()
        by_redis(daemon, "1000")
        assert re.findall(LOST + ".*; ([a-z]+): ", daemon.log) == ["timeout"]
    server.close()
