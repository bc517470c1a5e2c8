"""X-Accel-Redirect: a trusted web server is sent to the backend itself."""

import pytest
from raw import Client, ask, chat

MODE = "X-Accel-Mode: on"
TOKENS = [{"token": "demo-key-123", "label": "alice", "rpm": 5},
          {"token": "other-key-456", "label": "bob", "models": ["vllm:m"]},
          {"token": "single-key-012", "label": "dave", "concurrency": 1}]


def ok(_request, peer):
    peer.whole({"ok": 1})


def front(proxy, **settings):
    """A daemon that trusts whoever connects from this machine."""
    return proxy(ok, **{"tokens": TOKENS, "TRUSTED_PROXIES": "127.0.0.1",
                        "ACCEL_REDIRECT": "all", **settings})


def remaining(answer):
    return answer.header("X-RateLimit-Remaining-Requests")


def target(answer):
    assert answer.status == 200
    return answer.header("X-Accel-Redirect")


def test_what_the_web_server_is_told(proxy):
    daemon, behind = front(proxy)
    answer = ask(daemon.port, body=chat("vllm:m"),
                 headers=[MODE, "X-Request-Id: abc"])
    assert target(answer) == "@vllm"
    assert answer.body == b""
    assert answer.header("Content-Length") == "0"
    assert answer.header("X-Model") == "m"
    assert answer.header("X-Proxy-Backend") == "vllm"
    assert answer.header("X-Proxy-Label") == "alice"
    assert answer.header("X-Request-Id") == "abc"
    assert remaining(answer) == "4"
    assert not behind.requests
    line = daemon.wait_access()[0]
    assert line["cause"] == "redirected"
    assert (line["label"], line["backend"]) == ("alice", "vllm")


@pytest.mark.parametrize("setting, default, model, redirected", [
    ("off", "vllm", "m", False),
    ("bare", "vllm", "m", True),
    ("bare", "vllm", "vllm:m", False),
    ("bare", "ollama", "vllm:m", False),
    ("all", "ollama", "vllm:m", True),
    ("all", "vllm", "m", True),
    ("all", "vllm", "m:7b", True),
    # vLLM would not know a name with blanks; the daemon takes them off.
    ("all", "vllm", " m", False),
    ("all", "ollama", " vllm:m ", False),
    ("all", "ollama", "m", False),
    ("all", "vllm", "ollama:m", False),
])
def test_which_models(proxy, setting, default, model, redirected):
    daemon, behind = front(proxy, ACCEL_REDIRECT=setting,
                           DEFAULT_BACKEND=default)
    answer = ask(daemon.port, body=chat(model), headers=[MODE])
    assert answer.header("X-Accel-Redirect") == (
        "@vllm" if redirected else None)
    assert bool(behind.requests) != redirected


@pytest.mark.parametrize("trusted, header, redirected", [
    ("127.0.0.0/8", MODE, True),
    ("127.0.0.0/8", "X-Accel-Mode: ON", True),
    ("127.0.0.0/8", "X-Accel-Mode: off", False),
    ("127.0.0.0/8", "X-Accel-Redirect: @vllm", False),
    ("192.0.2.1", MODE, False),
    (None, MODE, False),
])
def test_only_a_trusted_proxy_that_asks_for_it(proxy, trusted, header,
                                               redirected):
    daemon, behind = front(proxy, TRUSTED_PROXIES=trusted)
    answer = ask(daemon.port, body=chat("vllm:m"), headers=[header])
    assert answer.header("X-Accel-Redirect") == (
        "@vllm" if redirected else None)
    assert bool(behind.requests) != redirected
    # Nor does a stranger see names that are not for clients.
    is_trusted = trusted == "127.0.0.0/8"
    assert (answer.header("X-Proxy-Label") is not None) == is_trusted
    assert (answer.header("X-Proxy-Backend") is not None) == is_trusted


def test_who_may_open_the_socket_is_trusted(proxy, tmp_path):
    path = f"{tmp_path}/s"
    front(proxy, TRUSTED_PROXIES=None, LISTEN=f"127.0.0.1:0,unix:{path}")
    with Client(None, unix=path) as client:
        for _ in range(2):
            assert target(client.ask(body=chat("vllm:m"),
                                     headers=[MODE])) == "@vllm"


def test_all_other_checks_come_first(proxy):
    daemon, behind = front(proxy)

    def status(body, **more):
        answer = ask(daemon.port, body=body, headers=[MODE], **more)
        assert answer.header("X-Accel-Redirect") is None
        return answer.status, answer.error["code"]

    assert status(b"{") == (400, "invalid_json")
    assert status(chat("vllm:m"), token=None) == (401, "missing_api_key")
    assert status(chat("vllm:other"), token="other-key-456") == (
        404, "model_not_found")
    assert status(b'{"model":"vllm:m","model":"x"}')[0] == 400
    for left in range(4, -1, -1):
        assert remaining(ask(daemon.port, body=chat("vllm:m"),
                             headers=[MODE])) == str(left)
    assert status(chat("vllm:m")) == (429, "rate_limit_exceeded")
    assert not behind.requests


def test_a_count_of_what_runs_needs_its_end(proxy):
    daemon, behind = front(proxy)
    answer = ask(daemon.port, body=chat("vllm:m"), headers=[MODE],
                 token="single-key-012")
    assert answer.json == {"ok": 1}
    assert len(behind.requests) == 1


def test_the_names_stay_with_an_error(daemon):
    lonely = daemon(tokens=TOKENS, TRUSTED_PROXIES="127.0.0.1",
                    ACCEL_REDIRECT="all")
    answer = ask(lonely.port, body=chat("ollama:m"), headers=[MODE])
    assert answer.status == 502
    assert answer.header("X-Proxy-Label") == "alice"
    assert answer.header("X-Proxy-Backend") == "ollama"
    assert remaining(answer) == "5"


def test_a_reload_changes_it(proxy):
    daemon, _ = front(proxy, ACCEL_REDIRECT=None)
    assert target(ask(daemon.port, body=chat("vllm:m"),
                      headers=[MODE])) is None
    daemon.write_config(ACCEL_REDIRECT="all")
    daemon.reload()
    assert target(ask(daemon.port, body=chat("vllm:m"),
                      headers=[MODE])) == "@vllm"
