"""GET /v1/models and /v1/models/{id}: what the backends have, under names
that can be sent back."""

import pytest
from daemon import TOKEN
from raw import ask, chat


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


@pytest.mark.parametrize("junk", [b"{bad", b"[]", b'{"data":[1]}',
                                  b'{"models":7}'])
def test_junk_lists_count_as_dead(proxy, junk):
    daemon, _ = proxy(lambda _r, peer: peer.whole(junk))
    answer = ask(daemon.port, "/v1/models")
    assert answer.status in (200, 502)
    if answer.status == 200:
        assert listing(answer) == []


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
