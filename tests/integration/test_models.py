"""GET /v1/models and /v1/models/{id}: what the backends have, under names
that can be sent back."""

import contextlib
import threading

import pytest
from backend import SHOWN, demo
from daemon import TOKEN
from raw import Client, ask, chat, request


def listing(answer):
    return [model["id"] for model in answer.json["data"]]


def test_both_backends_are_merged_under_routable_names(proxy):
    daemon, _ = proxy()
    answer = ask(daemon.port, "/v1/models")
    assert answer.json["object"] == "list"
    assert listing(answer) == ["ollama:demo:latest", "vllm:demo"]
    for model in answer.json["data"]:
        assert model["object"] == "model"
        assert isinstance(model["created"], int)
        assert model["owned_by"]
        assert ask(daemon.port, body=chat(model["id"])).status == 200
    assert answer.json["data"][1]["max_model_len"] == 4096
    assert answer.header("X-Proxy-Partial") is None


@pytest.mark.parametrize("alive, dead, names", [
    ("VLLM", "ollama", ["vllm:demo"]),
    ("OLLAMA", "vllm", ["ollama:demo:latest"])])
def test_a_dead_backend_is_left_out_and_named(daemon, backend, alive, dead,
                                              names):
    one = daemon(**{alive + "_BASE_URL": backend().url})
    answer = ask(one.port, "/v1/models")
    assert answer.status == 200
    assert listing(answer) == names
    assert answer.header("X-Proxy-Partial") == dead


def test_all_dead(daemon):
    answer = ask(daemon().port, "/v1/models")
    assert answer.status == 502
    assert answer.error["code"] == "backend_unreachable"


@pytest.mark.parametrize("id_, status", [
    ("vllm:demo", 200), ("ollama:demo:latest", 200), ("ollama:demo", 200),
    ("ollama%3Ademo", 200), ("demo", 200), ("vllm:nope", 404), ("nope", 404),
])
def test_one_model(proxy, id_, status):
    answer = ask(proxy()[0].port, f"/v1/models/{id_}")
    assert answer.status == status
    if status == 200:
        assert answer.json["object"] == "model"
    else:
        assert answer.error["code"] == "model_not_found"


def test_names_with_slashes(proxy):
    def handler(got, peer):
        if got.path == "/v1/models":
            peer.whole({"object": "list", "data": [
                {"id": "org/Name-7B", "object": "model", "created": 1,
                 "owned_by": "vllm"}]})
        else:
            peer.whole({"models": []})

    daemon, _ = proxy(handler)
    assert listing(ask(daemon.port, "/v1/models")) == ["vllm:org/Name-7B"]
    for path in ("vllm:org/Name-7B", "vllm:org%2FName-7B"):
        assert ask(daemon.port, f"/v1/models/{path}").status == 200


def test_lists_are_kept_for_a_moment(proxy):
    daemon, behind = proxy(WORKERS=1)
    for _ in range(5):
        ask(daemon.port, "/v1/models")
    assert len(behind.requests) == 2


@pytest.mark.parametrize("junk", [b"{bad", b"[]", b'{"models":7}',
                                  b'{"data":7}'])
def test_junk_lists_count_as_dead(proxy, junk):
    daemon, _ = proxy(lambda _r, peer: peer.whole(junk))
    answer = ask(daemon.port, "/v1/models")
    assert answer.status == 502
    assert answer.error["code"] == "backend_unreachable"


def test_junk_in_a_list_is_left_out(proxy):
    daemon, _ = proxy(lambda _r, peer: peer.whole(
        {"data": [1, {"id": 7}, {"id": "m", "object": "model"}]}))
    answer = ask(daemon.port, "/v1/models")
    assert listing(answer) == ["vllm:m"]
    assert answer.header("X-Proxy-Partial") == "ollama"


def test_nobody_waits_for_what_others_ask_later(proxy):
    gates = {path: threading.Event() for path in ("/v1/models", "/api/tags")}
    asked = threading.Semaphore(0)

    def handler(got, peer):
        if got.path == "/api/tags":
            asked.release()
            if len([r for r in backend.requests if r.path == got.path]) == 1:
                peer.whole({"error": "no"}, status=500)
                return
        gates[got.path].wait(20)
        peer.whole({"object": "list", "data": [], "models": []})

    daemon, backend = proxy(handler, WORKERS=1)
    with contextlib.ExitStack() as clients:
        first = clients.enter_context(Client(daemon.port))
        first.send(request("/v1/models"))
        assert asked.acquire(timeout=10)
        # Until the failure is old enough for Ollama to be asked again.
        while True:
            other = clients.enter_context(Client(daemon.port))
            other.send(request("/v1/models"))
            if asked.acquire(timeout=0.1):
                break
        gates["/v1/models"].set()
        answer = first.answer()
        assert answer.header("X-Proxy-Partial") == "ollama"
        gates["/api/tags"].set()
        assert other.answer().header("X-Proxy-Partial") is None


def test_a_token_may_use_what_it_is_shown(proxy):
    for models, shown, refused in (
            (["demo*"], ["ollama:demo:latest"], ["vllm:demo"]),
            (["vllm:*"], ["vllm:demo"], ["demo", "ollama:demo:latest"]),
            (["*"], ["ollama:demo:latest", "vllm:demo"], [])):
        daemon, _ = proxy(tokens=[{"token": TOKEN, "label": "a",
                                   "models": models}])
        assert listing(ask(daemon.port, "/v1/models")) == shown
        for name in shown:
            assert ask(daemon.port, f"/v1/models/{name}").status == 200
            assert ask(daemon.port, body=chat(name)).status == 200
        for name in refused:
            assert ask(daemon.port, f"/v1/models/{name}").status == 404
            answer = ask(daemon.port, body=chat(name))
            assert answer.status == 404
            assert answer.error["message"] == \
                f"The model '{name}' does not exist."


def test_a_moved_backend_is_asked_at_once(proxy, backend):
    daemon, _ = proxy(WORKERS=1)
    assert "vllm:demo" in listing(ask(daemon.port, "/v1/models"))
    other = backend(lambda _, peer: peer.whole(
        {"object": "list", "data": [{"id": "other", "object": "model"}]}))
    daemon.write_config(VLLM_BASE_URL=other.url)
    daemon.reload()
    names = listing(ask(daemon.port, "/v1/models"))
    assert "vllm:other" in names and "vllm:demo" not in names


OLLAMA_NAMES = ["llama3.2:latest", "acme/bot:v1", "vllm:7b", "ollama:7b",
                "vllm/m:1b", "gpt-oss:120b-cloud", "gpt-oss:Cloud"]
VLLM_NAMES = ["org/Name-7B", "ollama:x", "qwen"]


def named(got, peer):
    """Both wires, with names that may be taken for others."""
    if got.path == "/api/tags":
        peer.whole({"models": [{"name": name} for name in OLLAMA_NAMES]})
    elif got.path == "/v1/models":
        peer.whole({"object": "list", "data": [
            {"id": name, "object": "model"} for name in VLLM_NAMES]})
    elif got.path == "/api/show":
        peer.whole(SHOWN)
    else:
        demo(got, peer)


@pytest.mark.parametrize("default, bare", [
    ("ollama", {"llama3.2:latest", "acme/bot:v1", "vllm/m:1b"}),
    ("vllm", {"org/Name-7B", "qwen"})])
def test_names_without_prefix_can_be_sent_back(proxy, default, bare):
    daemon, behind = proxy(named, DEFAULT_BACKEND=default, MODELS_PREFIX=0)
    ids = listing(ask(daemon.port, "/v1/models"))
    assert {id_ for id_ in ids
            if not id_.startswith(("ollama:", "vllm:"))} == bare
    meant = [("/api/chat", name) for name in OLLAMA_NAMES[:5]] + \
        [("/v1/chat/completions", name) for name in VLLM_NAMES]
    assert len(ids) == len(meant)
    for id_, (path, name) in zip(ids, meant):
        answer = ask(daemon.port, f"/v1/models/{id_}")
        assert answer.status == 200 and answer.json["id"] == id_
        assert ask(daemon.port, body=chat(id_)).status == 200
        got = behind.requests[-1]
        assert (got.path, got.json["model"]) == (path, name)
        # With its prefix it goes by the same name, as everywhere.
        whole = f"{'ollama' if path == '/api/chat' else 'vllm'}:{name}"
        assert ask(daemon.port, f"/v1/models/{whole}").status == 200
    daemon.write_config(MODELS_PREFIX=1)
    daemon.reload()
    assert listing(ask(daemon.port, "/v1/models")) == \
        ["ollama:" + name for name in OLLAMA_NAMES[:5]] + \
        ["vllm:" + name for name in VLLM_NAMES]


CLOUD = ["ollama:gpt-oss:120b-cloud", "gpt-oss:20b:cloud", "ollama:m:CLOUD",
         "m:1B-Cloud", "ollama:m: cloud\u00a0", "reg:5000/team/bot:x-cloud"]


@pytest.mark.parametrize("path, more", [
    ("/v1/chat/completions", {"messages": []}),
    ("/v1/completions", {"prompt": "x"}), ("/v1/embeddings", {"input": "x"})])
def test_prompts_do_not_go_to_the_cloud(proxy, path, more):
    daemon, behind = proxy(named, tokens=[
        {"token": TOKEN, "label": "a", "rpm": 1}])
    for name in CLOUD:
        answer = ask(daemon.port, path, {"model": name, **more})
        assert answer.status == 403
        assert answer.error == {
            "message": f"The model '{name}' runs in Ollama's cloud, which is "
                       "not allowed here (OLLAMA_ALLOW_CLOUD).",
            "type": "permission_error", "param": "model",
            "code": "insufficient_permissions"}
        assert answer.header("x-ratelimit-remaining-requests") == "1"
    assert not behind.requests
    assert daemon.wait_access(1)[0]["cause"] == "client_error"


def test_the_cloud_is_hidden_until_it_is_allowed(proxy):
    daemon, behind = proxy(named, WORKERS=1)
    hidden = ["ollama:gpt-oss:120b-cloud", "ollama:gpt-oss:Cloud"]
    ids = listing(ask(daemon.port, "/v1/models"))
    assert "ollama:acme/bot:v1" in ids and not set(hidden) & set(ids)
    asked = len(behind.requests)
    for id_ in hidden:
        answer = ask(daemon.port, f"/v1/models/{id_}")
        assert answer.status == 403
        assert answer.error["param"] == "model"
    assert ask(daemon.port, "/v1/models/vllm:m:cloud").status == 404
    assert all(got.path != "/api/show" for got in behind.requests[asked:])
    assert ask(daemon.port, body=chat("vllm:m:cloud")).status == 200
    daemon.write_config(OLLAMA_ALLOW_CLOUD=1)
    daemon.reload()
    assert set(hidden) <= set(listing(ask(daemon.port, "/v1/models")))
    for id_ in hidden:
        assert ask(daemon.port, f"/v1/models/{id_}").status == 200
        assert ask(daemon.port, body=chat(id_)).status == 200


def test_a_token_without_the_model_does_not_hear_of_the_cloud(proxy):
    daemon, _ = proxy(named, tokens=[
        {"token": TOKEN, "label": "a", "models": ["vllm:*"]}])
    for answer in (ask(daemon.port, "/v1/models/ollama:m:cloud"),
                   ask(daemon.port, body=chat("ollama:m:cloud"))):
        assert answer.status == 404
        assert answer.error["code"] == "model_not_found"
