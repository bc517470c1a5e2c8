"""The official OpenAI Python SDK, unmodified, against the real daemon."""

import asyncio
import math
import re
import time

import openai
import pytest

import moods as backend_moods

HELLO = [{"role": "user", "content": "Hello!"}]
TEXT = backend_moods.TEXT
BACKENDS = pytest.mark.parametrize("backend", ["ollama", "vllm"])
SOON = 10  # seconds something may take that should come at once


def text_of(chunks):
    return "".join(chunk.choices[0].delta.content or "" for chunk in chunks
                   if chunk.choices)


# Chat

@BACKENDS
def test_chat(client, backend):
    answer = client.chat.completions.create(model=f"{backend}:demo",
                                            messages=HELLO)
    assert answer.object == "chat.completion"
    assert answer.id and answer.created
    # Ollama's answers name what was asked for; vLLM's are not touched.
    assert answer.model == ("ollama:demo" if backend == "ollama" else "demo")
    assert answer.choices[0].message.role == "assistant"
    assert answer.choices[0].message.content == TEXT
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage.prompt_tokens == backend_moods.PROMPT_TOKENS
    assert answer.usage.total_tokens == backend_moods.PROMPT_TOKENS \
        + len(backend_moods.WORDS)


@BACKENDS
def test_stream(client, backend):
    chunks = list(client.chat.completions.create(
        model=f"{backend}:demo", messages=HELLO, stream=True))
    assert text_of(chunks) == TEXT
    assert chunks[0].choices[0].delta.role == "assistant"
    assert [chunk.choices[0].finish_reason for chunk in chunks
            if chunk.choices[0].finish_reason] == ["stop"]
    assert len({chunk.id for chunk in chunks}) == 1
    assert all(chunk.usage is None for chunk in chunks)


@BACKENDS
def test_stream_with_usage(client, backend):
    chunks = list(client.chat.completions.create(
        model=f"{backend}:demo", messages=HELLO, stream=True,
        stream_options={"include_usage": True}))
    assert text_of(chunks) == TEXT
    assert chunks[-1].choices == []
    assert chunks[-1].usage.completion_tokens == len(backend_moods.WORDS)
    assert all(chunk.usage is None for chunk in chunks[:-1])


@BACKENDS
def test_stream_helper(client, backend):
    with client.chat.completions.stream(model=f"{backend}:demo",
                                        messages=HELLO) as stream:
        deltas = [event.delta for event in stream
                  if event.type == "content.delta"]
        final = stream.get_final_completion()
    assert "".join(deltas) == TEXT
    assert final.choices[0].message.content == TEXT


def test_model_without_a_prefix_goes_to_the_default_backend(
        client, moods, own_model):
    name = own_model("demo")
    answer = client.chat.completions.create(model=name, messages=HELLO)
    assert answer.choices[0].message.content == TEXT
    assert [seen.path for seen in moods.seen(name)] == ["/api/chat"]


# Headers

def check_headers(headers):
    assert headers["x-request-id"]
    limit = int(headers["x-ratelimit-limit-requests"])
    assert limit == 100_000
    assert 0 <= int(headers["x-ratelimit-remaining-requests"]) < limit
    assert re.fullmatch(r"\d+ms|\d+(\.\d{1,3})?s|(\d+h)?\d+m\d+s",
                        headers["x-ratelimit-reset-requests"])


@BACKENDS
def test_raw_response_headers(client, backend):
    raw = client.chat.completions.with_raw_response.create(
        model=f"{backend}:demo", messages=HELLO,
        extra_headers={"X-Request-Id": "from-the-client-1"})
    check_headers(raw.headers)
    assert raw.headers["content-type"].startswith("application/json")
    assert raw.headers["x-request-id"] == "from-the-client-1"
    answer = raw.parse()
    assert answer.choices[0].message.content == TEXT
    assert answer._request_id == "from-the-client-1"


@BACKENDS
def test_streaming_response_headers(client, backend):
    with client.chat.completions.with_streaming_response.create(
            model=f"{backend}:demo", messages=HELLO, stream=True) as raw:
        check_headers(raw.headers)
        assert raw.headers["content-type"].startswith("text/event-stream")
        assert raw.headers["cache-control"] == "no-cache"
        assert raw.headers["x-accel-buffering"] == "no"
        assert text_of(raw.parse()) == TEXT


# Retries

@BACKENDS
def test_503_is_retried(client, backend, moods, own_model):
    name = own_model("busy-1")
    raw = client.chat.completions.with_raw_response.create(
        model=f"{backend}:{name}", messages=HELLO)
    assert raw.parse().choices[0].message.content == TEXT
    assert raw.retries_taken == 1
    assert len(moods.seen(name)) == 2


@BACKENDS
def test_503_without_retries(client, proxy, backend, moods, own_model):
    name = own_model("busy-9")
    with pytest.raises(openai.InternalServerError) as caught:
        client.with_options(max_retries=0).chat.completions.create(
            model=f"{backend}:{name}", messages=HELLO)
    assert caught.value.status_code == 503
    if proxy.is_straight(backend):
        assert caught.value.code == "503"  # vLLM's own
    else:
        assert caught.value.code == "backend_busy"
        assert int(caught.value.response.headers["retry-after"]) >= 1
    assert len(moods.seen(name)) == 1


@BACKENDS
def test_429_waits_as_told(proxy, backend, moods, own_model):
    """The second request of a token with rpm 1, two seconds before its
    window ends."""
    name = own_model("demo")
    client = proxy.client(f"python-minute-{backend}")
    ask = dict(model=f"{backend}:{name}", messages=HELLO)
    client.chat.completions.create(**ask)
    proxy.advance(58_000)

    with pytest.raises(openai.RateLimitError) as caught:
        client.with_options(max_retries=0).chat.completions.create(**ask)
    denied = time.monotonic()
    headers = caught.value.response.headers
    wait = float(headers["retry-after-ms"]) / 1000
    assert caught.value.type == "requests"
    assert caught.value.code == "rate_limit_exceeded"
    assert headers["x-ratelimit-remaining-requests"] == "0"
    assert headers["retry-after"] == str(max(1, math.ceil(wait)))
    assert 0 < wait <= 2

    raw = client.chat.completions.with_raw_response.create(**ask)
    assert time.monotonic() - denied > wait - 0.1
    assert raw.retries_taken == 1
    assert len(moods.seen(name)) == 2  # denied requests reach no backend


def test_429_of_a_day_is_not_retried(proxy):
    client = proxy.client("python-day")
    ask = dict(model="vllm:demo", messages=HELLO)
    client.chat.completions.create(**ask)
    with pytest.raises(openai.RateLimitError) as caught:
        client.chat.completions.create(**ask)
    assert caught.value.response.headers["x-should-retry"] == "false"
    assert caught.value.request.headers["x-stainless-retry-count"] == "0"


# Leaving

@BACKENDS
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_timeout(client, backend, stream, moods, own_model):
    name = own_model("silent")
    with pytest.raises(openai.APITimeoutError):
        client.with_options(max_retries=0, timeout=0.5) \
            .chat.completions.create(model=f"{backend}:{name}",
                                     messages=HELLO, stream=stream)
    assert moods.seen(name)[0].left.wait(SOON)


@BACKENDS
def test_abort_in_mid_stream(client, backend, moods, own_model):
    name = own_model("endless")
    stream = client.chat.completions.create(
        model=f"{backend}:{name}", messages=HELLO, stream=True)
    assert text_of(chunk for chunk, _ in zip(stream, range(5)))
    assert not moods.seen(name)[0].left.is_set()
    stream.close()
    assert moods.seen(name)[0].left.wait(SOON)


# Async

@BACKENDS
def test_async_50_at_once(proxy, backend):
    async def ask(client, number):
        request = client.chat.completions.create(
            model=f"{backend}:demo", messages=HELLO, stream=number % 2 == 0)
        if number % 2:
            return (await request).choices[0].message.content
        return text_of([chunk async for chunk in await request])

    async def ask_all():
        async with proxy.async_client() as client:
            return await asyncio.gather(*(ask(client, number)
                                          for number in range(50)))

    assert asyncio.run(ask_all()) == [TEXT] * 50


@BACKENDS
def test_async_abort_in_mid_stream(proxy, backend, moods, own_model):
    name = own_model("endless")

    async def leave_early():
        async with proxy.async_client() as client:
            async with await client.chat.completions.create(
                    model=f"{backend}:{name}", messages=HELLO,
                    stream=True) as stream:
                async for _ in stream:
                    break

    asyncio.run(leave_early())
    assert moods.seen(name)[0].left.wait(SOON)


# Errors

@pytest.mark.parametrize("token, error, status, code", [
    ("nobody-has-this", openai.AuthenticationError, 401, "invalid_api_key"),
    ("disabled", openai.PermissionDeniedError, 403,
     "insufficient_permissions"),
])
def test_token_errors(proxy, token, error, status, code):
    with pytest.raises(error) as caught:
        proxy.client(token).chat.completions.create(model="vllm:demo",
                                                    messages=HELLO)
    check_error(caught.value, error, status, code)


def test_model_outside_of_the_tokens_list(proxy):
    client = proxy.client("only-vllm")
    assert client.chat.completions.create(model="vllm:demo", messages=HELLO)
    assert [model.id for model in client.models.list()] == ["vllm:demo"]
    with pytest.raises(openai.NotFoundError) as caught:
        client.chat.completions.create(model="ollama:demo", messages=HELLO)
    check_error(caught.value, openai.NotFoundError, 404, "model_not_found")
    assert caught.value.param == "model"


@BACKENDS
@pytest.mark.parametrize("mood, error, status, code", [
    ("bad", openai.BadRequestError, 400, None),
    ("missing", openai.NotFoundError, 404, "model_not_found"),
    ("broken", openai.InternalServerError, 500, "backend_error"),
])
def test_backend_errors(client, proxy, backend, mood, error, status, code,
                        own_model):
    if proxy.is_straight(backend):
        code = str(status)  # vLLM's own
    for stream in (False, True):
        with pytest.raises(error) as caught:
            client.with_options(max_retries=0).chat.completions.create(
                model=f"{backend}:{own_model(mood)}", messages=HELLO,
                stream=stream)
        check_error(caught.value, error, status, code)
    if mood == "bad":
        assert backend_moods.BAD_REQUEST in caught.value.message


def test_request_errors(client):
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(model="ollama:demo", messages=[])
    assert caught.value.param == "messages"
    with pytest.raises(openai.BadRequestError):
        client.chat.completions.create(model="", messages=HELLO)
    with pytest.raises(openai.APIStatusError) as caught:
        client.chat.completions.create(model="vllm:demo", messages=[
            {"role": "user", "content": "x" * 300_000}])
    check_error(caught.value, openai.APIStatusError, 413, "request_too_large")


def test_unreachable_backend(lonely_proxy):
    for backend in ("ollama", "vllm"):
        with pytest.raises(openai.InternalServerError) as caught:
            lonely_proxy.client().with_options(max_retries=0) \
                .chat.completions.create(model=f"{backend}:demo",
                                         messages=HELLO)
        check_error(caught.value, openai.InternalServerError, 502,
                    "backend_unreachable")


def check_error(error, kind, status, code):
    assert type(error) is kind
    assert error.status_code == status
    assert error.code == code
    assert error.message and error.type
    assert error.request_id


@BACKENDS
@pytest.mark.parametrize("mood", ["fails", "breaks"])
def test_error_in_mid_stream(client, proxy, backend, mood, own_model):
    chunks = []
    # What breaks off is an error event of the daemon's; past it, the SDK sees
    # that the answer is not whole.
    straight = proxy.is_straight(backend)
    error = openai.APIConnectionError if straight and mood == "breaks" \
        else openai.APIError
    with pytest.raises(error) as caught:
        for chunk in client.chat.completions.create(
                model=f"{backend}:{own_model(mood)}", messages=HELLO,
                stream=True):
            chunks.append(chunk)
    assert type(caught.value) is error
    if not straight:
        assert caught.value.message
        assert caught.value.code is None or isinstance(caught.value.code, str)
    assert text_of(chunks) == backend_moods.WORDS[0]


# Other endpoints

def test_models(client):
    listed = {model.id: model for model in client.models.list()}
    assert set(listed) == {"ollama:demo", "vllm:demo"}
    for name in listed:
        assert client.models.retrieve(name).id == name
    model = client.models.retrieve("ollama:demo")
    assert model.capabilities == ["completion", "tools"]
    assert model.context_length == 4096
    for name in ("vllm:unheard-of", "ollama:unheard-of"):
        with pytest.raises(openai.NotFoundError):
            client.models.retrieve(name)


@BACKENDS
def test_completions(client, backend):
    ask = dict(model=f"{backend}:demo", prompt="Hello!")
    answer = client.completions.create(**ask)
    assert answer.object == "text_completion"
    assert answer.choices[0].text == TEXT
    assert answer.choices[0].finish_reason == "stop"
    pieces = list(client.completions.create(**ask, stream=True))
    assert "".join(piece.choices[0].text for piece in pieces) == TEXT
    assert [piece.choices[0].finish_reason for piece in pieces
            if piece.choices[0].finish_reason] == ["stop"]


def test_completions_of_ollama(client):
    ask = dict(model="ollama:demo", prompt=["Hello!"], echo=True)
    answer = client.completions.create(**ask)
    assert answer.choices[0].text == "Hello!" + TEXT
    assert answer.usage.prompt_tokens == backend_moods.PROMPT_TOKENS
    pieces = list(client.completions.create(
        **ask, stream=True, stream_options={"include_usage": True}))
    assert "".join(piece.choices[0].text
                   for piece in pieces[:-1]) == "Hello!" + TEXT
    assert pieces[-1].choices == []
    assert pieces[-1].usage.completion_tokens == len(backend_moods.WORDS)
    with pytest.raises(openai.BadRequestError) as caught:
        client.completions.create(model="ollama:demo", prompt=[[1, 2]])
    assert caught.value.param == "prompt"


@BACKENDS
def test_embeddings(client, moods, own_model, backend):
    name = own_model("demo")
    answer = client.embeddings.create(model=f"{backend}:{name}",
                                      input=["a", "b"])
    assert [item.embedding for item in answer.data] == \
        [backend_moods.VECTOR] * 2
    assert [item.index for item in answer.data] == [0, 1]
    assert answer.usage.total_tokens == 1
    # What the SDK asks for when the caller says nothing; Ollama knows no
    # base64.
    asked = moods.seen(name)[0].body.get("encoding_format")
    assert asked == ("base64" if backend == "vllm" else None)
    answer = client.embeddings.create(model=f"{backend}:demo", input="a",
                                      encoding_format="float")
    assert answer.data[0].embedding == backend_moods.VECTOR


def test_embeddings_of_ollama(client):
    answer = client.embeddings.with_raw_response.create(
        model="ollama:demo", input="a", dimensions=3, user="u",
        extra_body={"keep_alive": "5m", "options": {"num_ctx": 512}})
    assert answer.headers["X-Proxy-Dropped-Params"] == "user"
    assert answer.parse().model == "ollama:demo"
    with pytest.raises(openai.BadRequestError) as caught:
        client.embeddings.create(model="ollama:demo", input=[[1, 2], [3]])
    assert (caught.value.param, caught.value.code) == \
        ("input", "unsupported_parameter")
    with pytest.raises(openai.BadRequestError) as caught:
        client.embeddings.create(model="ollama:bad", input="long")
    assert (caught.value.param, caught.value.code) == \
        ("input", "context_length_exceeded")
