"""What the operator of an Ollama says about its clients' requests."""

import pytest
from raw import Client, ask, chat, request

ANSWER = {"model": "m", "created_at": "2026-09-01T08:31:00Z",
          "message": {"role": "assistant", "content": "x"},
          "done": True, "done_reason": "stop"}
NO_THINKING = {"error": "\"m\" does not support thinking"}


def answering(_, peer):
    peer.whole(ANSWER)


def thoughtless(got, peer):
    if got.json.get("think"):
        peer.whole(NO_THINKING, 400)
    elif got.json["stream"]:
        peer.ndjson_head()
        peer.line(ANSWER)
        peer.end()
    else:
        peer.whole(ANSWER)


def sent(proxy, members, **settings):
    """What Ollama gets of a chat with these members."""
    daemon, behind = proxy(answering, **settings)
    answer = ask(daemon.port, body=chat("ollama:m", **members))
    assert answer.status == 200, answer.body
    return behind.requests[-1].json


def refused(proxy, members, **settings):
    daemon, behind = proxy(answering, **settings)
    answer = ask(daemon.port, body=chat("ollama:m", **members))
    assert answer.status == 400 and not behind.requests
    return answer.error["code"], answer.error["param"]


@pytest.mark.threads
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("member, named", [
    ({"reasoning_effort": "high"}, "reasoning_effort"),
    ({"reasoning": {"effort": "low"}}, "reasoning")])
def test_a_model_without_reasoning_is_asked_again(proxy, workers, member,
                                                  named, stream):
    daemon, behind = proxy(thoughtless, WORKERS=workers)
    text = "x" * 30_000
    with Client(daemon.port) as client:
        for _ in range(2):
            answer = client.ask(body=chat("ollama:m", stream, text, **member))
            assert answer.status == 200, answer.body
            assert answer.header("X-Proxy-Dropped-Params") == named
            if not stream:
                assert answer.json["model"] == "ollama:m"
            else:
                assert answer.events[0]["model"] == "ollama:m"
    first, second = [got.json for got in behind.requests[:2]]
    assert first.pop("think") in ("high", "low")
    assert first == second
    assert second["messages"][0]["content"] == text


def test_it_is_asked_again_once_and_if_the_operator_wants(proxy):
    daemon, behind = proxy(lambda _, peer: peer.whole(NO_THINKING, 400))
    for members, requests in (({"reasoning_effort": "low"}, 2),
                              ({"think": True}, 3),
                              ({"reasoning_effort": "low", "think": True}, 4)):
        answer = ask(daemon.port, body=chat("ollama:m", **members))
        assert answer.status == 400
        assert "does not support thinking" in answer.error["message"]
        assert len(behind.requests) == requests
    daemon.write_config(OLLAMA_RELAX_THINK=0)
    daemon.reload()
    answer = ask(daemon.port, body=chat("ollama:m", reasoning_effort="low"))
    assert answer.status == 400
    assert len(behind.requests) == 5


def test_a_dense_request_is_asked_again_too(proxy):
    daemon, behind = proxy(thoughtless)
    body = {"model": "ollama:m", "reasoning_effort": "high", "messages": [
        {"role": "user", "content": f"word {i}"} for i in range(4000)]}
    answer = ask(daemon.port, body=body)
    assert answer.status == 200
    assert [got.json["messages"] for got in behind.requests] == \
        [body["messages"]] * 2


def test_a_backend_that_dies_when_asked_again(proxy):
    def handler(got, peer):
        if got.json.get("think"):
            peer.whole(NO_THINKING, 400)
        else:
            peer.reset()

    daemon, behind = proxy(handler)
    answer = ask(daemon.port, body=chat("ollama:m", reasoning_effort="high"))
    assert answer.status == 502
    assert len(behind.requests) >= 2
    assert daemon.wait_access(1)[0]["cause"] == "backend_error"


def test_who_leaves_when_it_is_asked_again(proxy):
    def handler(got, peer):
        if got.json.get("think"):
            peer.whole(NO_THINKING, 400)
        else:
            peer.pause(10)

    daemon, behind = proxy(handler)
    with Client(daemon.port) as client:
        client.send(request(body=chat("ollama:m", reasoning_effort="high")))
        behind.wait_requests(2)
    assert daemon.wait_access(1)[0]["cause"] == "client_gone"


def test_options_that_reload_the_model_are_to_be_allowed(proxy):
    assert refused(proxy, {"options": {"num_gpu": 1}}) == \
        ("unsupported_parameter", "options.num_gpu")
    body = sent(proxy, {"options": {"num_gpu": 1, "use_mmap": False}},
                OLLAMA_OPTIONS_ALLOW="num_gpu,use_mmap")
    assert body["options"] == {"num_gpu": 1, "use_mmap": False}
    assert refused(proxy, {"options": {"use_mmap": 1}},
                   OLLAMA_OPTIONS_ALLOW="all") == \
        ("invalid_type", "options.use_mmap")


def test_a_list_of_options_is_all_there_is(proxy):
    for members, param in (({"options": {"top_k": 1}}, "options.top_k"),
                           ({"num_ctx": 512}, "num_ctx")):
        assert refused(proxy, members, OLLAMA_OPTIONS_ALLOW="min_p") == \
            ("unsupported_parameter", param)
    # What OpenAI has itself is no setting of Ollama's.
    body = sent(proxy, {"temperature": 0.5, "max_tokens": 5, "min_p": 0.1},
                OLLAMA_OPTIONS_ALLOW="min_p")
    assert body["options"] == {"temperature": 0.5, "num_predict": 5,
                               "min_p": 0.1}


def test_defaults_stand_below_what_clients_say(proxy):
    defaults = '{"num_ctx":8192,"temperature":0.1,"num_gpu":2}'
    body = sent(proxy, {"temperature": 0.9}, OLLAMA_DEFAULT_OPTIONS=defaults)
    assert body["options"] == {"temperature": 0.9, "num_ctx": 8192,
                               "num_gpu": 2}


@pytest.mark.parametrize("asked, got", [(100_000, 4096), (4096, 4096),
                                        (2048, 2048), (None, None)])
def test_the_context_has_a_bound(proxy, asked, got):
    members = {} if asked is None else {"options": {"num_ctx": asked}}
    body = sent(proxy, members, OLLAMA_NUM_CTX_MAX=4096)
    assert body.get("options", {}).get("num_ctx") == got


@pytest.mark.parametrize("asked, got", [
    (None, 1800), ("5m", "5m"), (60, 60), ("2h", 3600), (-1, 3600),
    ("-1s", 3600), (1e12, 3600), ("1.5s", "1.5s"), (0, 0)])
def test_keep_alive_has_a_default_and_a_bound(proxy, asked, got):
    members = {} if asked is None else {"keep_alive": asked}
    body = sent(proxy, members, OLLAMA_KEEP_ALIVE="30m",
                OLLAMA_KEEP_ALIVE_MAX="1h")
    assert body["keep_alive"] == got


def test_without_settings_nothing_is_added(proxy):
    body = sent(proxy, {})
    assert sorted(body) == ["messages", "model", "stream", "truncate"]
    body = sent(proxy, {}, OLLAMA_KEEP_ALIVE="-1")
    assert body["keep_alive"] == -1


OTHERS = [
    ("/v1/completions", {"prompt": "x"},
     {"model": "m", "response": "x", "done": True, "done_reason": "stop"}),
    ("/v1/embeddings", {"input": "x"}, {"model": "m", "embeddings": [[1]]})]


@pytest.mark.parametrize("path, body, reply", OTHERS,
                         ids=lambda value: str(value)[:15])
def test_other_endpoints_know_the_operator_too(proxy, path, body, reply):
    daemon, behind = proxy(
        lambda _, peer: peer.whole(reply), OLLAMA_NUM_CTX_MAX=4096,
        OLLAMA_DEFAULT_OPTIONS='{"num_ctx":1e6,"num_gpu":2,"stop":["a"]}',
        OLLAMA_OPTIONS_ALLOW="num_ctx", OLLAMA_KEEP_ALIVE="30m",
        OLLAMA_KEEP_ALIVE_MAX="1h")

    def asked(**members):
        answer = ask(daemon.port, path, {"model": "ollama:m", **body,
                                         **members})
        if answer.status != 200:
            return answer.error["code"], answer.error["param"]
        sent = behind.requests[-1].json
        return sent["options"], sent["keep_alive"]

    defaults = {"num_gpu": 2, "stop": ["a"]}
    assert asked() == ({"num_ctx": 4096, **defaults}, 1800)
    assert asked(num_ctx=512, keep_alive="2h") == \
        ({"num_ctx": 512, **defaults}, 3600)
    assert asked(options={"num_ctx": 100_000}, keep_alive=-1) == \
        ({"num_ctx": 4096, **defaults}, 3600)
    count = len(behind.requests)
    assert asked(options={"num_gpu": 1}) == \
        ("unsupported_parameter", "options.num_gpu")
    assert asked(options={"top_k": 1}) == \
        ("unsupported_parameter", "options.top_k")
    assert len(behind.requests) == count


def test_a_bound_holds_for_numbers_with_an_exponent(proxy):
    defaults = '{"num_ctx":1e6}'
    body = sent(proxy, {}, OLLAMA_DEFAULT_OPTIONS=defaults,
                OLLAMA_NUM_CTX_MAX=4096)
    assert body["options"] == {"num_ctx": 4096}
    body = sent(proxy, {"num_ctx": 1e6}, OLLAMA_NUM_CTX_MAX=4096)
    assert body["options"] == {"num_ctx": 4096}


def test_both_ways_to_say_how_hard_to_think(proxy):
    daemon, behind = proxy(thoughtless)
    answer = ask(daemon.port, body=chat(
        "ollama:m", reasoning={"effort": "low"}, reasoning_effort="high"))
    assert answer.status == 200
    assert answer.header("X-Proxy-Dropped-Params") == \
        "reasoning,reasoning_effort"
    assert [got.json.get("think") for got in behind.requests] == ["low", None]
