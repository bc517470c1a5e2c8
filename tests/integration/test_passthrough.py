"""vLLM gets the client's own bytes, and the client the backend's."""

import pytest
from raw import Client, Closed, ask, chat, request

ODD_BODIES = [
    # What the client sends, what the backend must see.
    (b'{"messages":[],"model":"vllm:m","z":1e400,"a":-0}',
     b'{"messages":[],"model":"m","z":1e400,"a":-0}'),
    (b'{"model":"vllm:m","seed":123456789012345678901234567890}',
     b'{"model":"m","seed":123456789012345678901234567890}'),
    (b' {\n"model" : "vllm:m" ,\t"x":[ 1,2 ] }\r\n',
     b' {\n"model" : "m" ,\t"x":[ 1,2 ] }\r\n'),
    (b'{"prompt":"say \\"model\\":\\"evil\\" {","model":"vllm:m"}',
     b'{"prompt":"say \\"model\\":\\"evil\\" {","model":"m"}'),
    (b'{"a":{"model":"ollama:x"},"b":["model","ollama:y"],"model":"vllm:m"}',
     b'{"a":{"model":"ollama:x"},"b":["model","ollama:y"],"model":"m"}'),
    (b'{"model":"vllm:m","t":"\\ud83d lone \\u0000 \\/ \\u003c"}',
     b'{"model":"m","t":"\\ud83d lone \\u0000 \\/ \\u003c"}'),
    ('{"model":"vllm:m","t":"h\u00e9llo \u2028 \U0001f600"}'.encode(),
     '{"model":"m","t":"h\u00e9llo \u2028 \U0001f600"}'.encode()),
    (b'{"model":"vllm:org/Name-7B:v1","stream":false}',
     b'{"model":"org/Name-7B:v1","stream":false}'),
]


@pytest.fixture
def vllm(proxy):
    return lambda handler=None, **named: proxy(
        handler, DEFAULT_BACKEND="vllm", **named)


@pytest.mark.parametrize("sent, seen", ODD_BODIES)
def test_only_the_models_value_is_touched(vllm, sent, seen):
    daemon, behind = vllm()
    assert ask(daemon.port, body=sent).status == 200
    assert behind.requests[-1].body == seen


def test_without_prefix_nothing_is_touched(vllm):
    daemon, behind = vllm()
    sent = b'{ "model" : "mod\\u0065l:7b" , "messages":[] }'
    assert ask(daemon.port, body=sent).status == 200
    assert behind.requests[-1].body == sent


def test_an_escaped_prefix_is_found_and_taken_off(vllm):
    daemon, behind = vllm()
    ask(daemon.port, body=b'{"mod\\u0065l":"vllm\\u003am\\u0022x","a":1}')
    assert behind.requests[-1].json == {"model": 'm"x', "a": 1}


@pytest.mark.parametrize("front", [0, 3_000_000, 6_000_000])
def test_a_big_body_arrives_whole_wherever_the_model_stands(vllm, front):
    daemon, behind = vllm()
    sent = (b'{"x":"' + b"a" * front + b'","model":"vllm:m","y":"'
            + b"b" * (6_000_000 - front) + b'"}')
    assert ask(daemon.port, body=sent).status == 200
    assert behind.requests[-1].body == sent.replace(b"vllm:m", b"m")


def test_request_headers_are_an_allow_list(vllm):
    daemon, behind = vllm(VLLM_API_KEY="backend-secret")
    ask(daemon.port, body=chat(), headers=[
        "Cookie: a=b", "X-Stainless-Lang: python", "OpenAI-Beta: x",
        "X-Forwarded-For: 1.2.3.4", "Accept-Encoding: gzip",
        "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "X-Request-Id: abc-1"])
    seen = {name.lower(): value for name, value in behind.requests[-1].headers}
    assert seen.pop("user-agent").startswith("llm-proxyd/")
    assert seen.pop("host") == behind.url[7:]
    assert seen.pop("accept")
    assert seen == {
        "authorization": "Bearer backend-secret",
        "content-type": "application/json",
        "content-length": str(len(behind.requests[-1].body)),
        "traceparent":
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "x-request-id": "abc-1",
    }


def test_the_clients_token_stays_here(vllm):
    daemon, behind = vllm()
    ask(daemon.port, body=chat())
    assert behind.requests[-1].header("Authorization") is None


def test_answers_pass_byte_for_byte_without_hop_by_hop_fields(vllm):
    body = b'{ "id":"x", "n": 12345678901234567890, "t":"\\u003c\\ud83d" }\n'

    def handler(_request, peer):
        peer.whole(body, X_Kept="1", Connection="keep-alive, X-Hop",
                   X_Hop="2", Server="uvicorn", Set_Cookie="a=b",
                   Keep_Alive="timeout=5", Access_Control_Allow_Origin="*",
                   X_RateLimit_Limit_Requests="7")

    answer = ask(vllm(handler)[0].port, body=chat())
    assert answer.body == body
    names = [name.lower() for name, _ in answer.headers]
    assert answer.header("X-Kept") == "1"
    for dropped in ("x-hop", "server", "set-cookie", "keep-alive",
                    "access-control-allow-origin",
                    "x-ratelimit-limit-requests"):
        assert dropped not in names
    assert names.count("content-length") == 1
    assert names.count("date") == 1


@pytest.mark.parametrize("cut", [1, 3, 4, 7, 64])
def test_stream_bytes_are_the_backends_however_they_are_cut(vllm, cut):
    stream = (b': hello\n\nevent: x\r\ndata: {"id":1,  "a":"\\u003c"}\r\n\r\n'
              b'data: {"id":2,"t":"say data: [DONE] and \\n\\n"}\n\n'
              b'data: {"error":null,"choices":[]}\n\n'
              b'data:{"error":false}\r\n\r\n'
              b'data: {"error": null,"pad":"' + b"p" * 20_000 + b'"}\n\n'
              b'data: a\ndata: b\n\ndata: [DONE]\n\n')

    def handler(_request, peer):
        peer.sse_head()
        for at in range(0, len(stream), cut):
            peer.chunk(stream[at:at + cut])
        peer.end()

    answer = ask(vllm(handler)[0].port, body=chat(stream=True))
    assert answer.status == 200 and answer.complete
    assert answer.header("Content-Type") == "text/event-stream; charset=utf-8"
    assert answer.header("Cache-Control") == "no-cache"
    assert answer.header("X-Accel-Buffering") == "no"
    assert answer.body == stream


def test_what_follows_the_end_mark_is_dropped(vllm):
    def handler(_request, peer):
        peer.sse_head()
        peer.sse({"id": 1})
        peer.chunk(b"data: [DONE]\n\ndata: late\n\n")
        peer.end()

    daemon, _ = vllm(handler)
    with Client(daemon.port) as client:
        for _ in range(2):
            assert client.ask(body=chat(stream=True)).body.endswith(
                b"data: [DONE]\n\n")


def test_text_completions_and_embeddings_reach_vllm(vllm):
    daemon, behind = vllm()
    done = ask(daemon.port, "/v1/completions",
               {"model": "vllm:demo", "prompt": "x"})
    assert done.json["object"] == "text_completion"
    vectors = ask(daemon.port, "/v1/embeddings",
                  {"model": "vllm:demo", "input": ["a", "b"]})
    assert len(vectors.json["data"]) == 2
    assert [r.path for r in behind.requests] == ["/v1/completions",
                                                 "/v1/embeddings"]


def test_ollama_says_honestly_what_it_cannot(proxy):
    daemon, behind = proxy(ENDPOINTS="tokenize")
    answer = ask(daemon.port, "/tokenize",
                 {"model": "ollama:demo", "prompt": "x"})
    assert answer.status == 501
    assert answer.error["type"] == "server_error"
    assert "/tokenize" in answer.error["message"]
    assert behind.requests == []


def test_optional_endpoints_are_off_until_named(proxy):
    paths = {"/v1/responses": "responses", "/v1/rerank": "rerank",
             "/v1/score": "score", "/tokenize": "tokenize"}
    off, _ = proxy()
    for path in paths:
        assert ask(off.port, path, chat()).status == 404
    on, behind = proxy(ENDPOINTS=",".join(paths.values()))
    for path in paths:
        assert ask(on.port, path, chat()).status == 200
    assert [r.path for r in behind.requests] == list(paths)


def test_a_responses_stream_ends_with_its_own_mark(vllm):
    daemon, behind = vllm(ENDPOINTS="responses")
    answer = ask(daemon.port, "/v1/responses",
                 {"model": "vllm:m", "input": "x", "stream": True})
    assert answer.complete and b"event: response.completed" in answer.body

    def cut(_request, peer):
        peer.sse_head()
        peer.chunk('event: response.output_text.delta\ndata: {"a":1}\n\n')
        peer.end()

    behind.handler = cut
    with Client(daemon.port) as client:
        client.send(request("/v1/responses", {"model": "vllm:m",
                                              "stream": True}))
        answer = client.head()
        with pytest.raises(Closed):
            client.rest(answer)
    assert answer.events[-1]["error"]["code"] == "backend_error"
    assert b"response.completed" not in answer.body


@pytest.mark.parametrize("body, code, param", [
    (b'{"messages":[]}', "missing_required_parameter", "model"),
    (b'{"model":7}', "invalid_type", "model"),
    (b'{"model":""}', "invalid_value", "model"),
    (b'{"model":"vllm:"}', "invalid_value", "model"),
    (b'{"model":"m","stream":"yes"}', "invalid_type", "stream"),
    (b'{"model":"m","model":"m"}', "invalid_json", None),
    (b'{"model":"m","Model":"m"}', "invalid_json", None),
    (b'{"model":"m",}', "invalid_json", None),
    (b'\xef\xbb\xbf{"model":"m"}', "invalid_json", None),
    (b'{"model":"m","t":"\xff"}', "invalid_json", None),
    (b'["model"]', "invalid_json", None),
    (b'', "invalid_json", None),
])
def test_bad_bodies_are_refused_before_the_backend(vllm, body, code, param):
    daemon, behind = vllm()
    answer = ask(daemon.port, body=body)
    assert answer.status == 400
    assert (answer.error["code"], answer.error["param"]) == (code, param)
    if code == "invalid_json":
        assert "line 1, column" in answer.error["message"]
    assert behind.requests == []
