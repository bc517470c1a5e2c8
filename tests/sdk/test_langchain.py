"""LangChain's ChatOpenAI and OpenAIEmbeddings, for models of Ollama."""

import openai
import pydantic
import pytest
import tiktoken
import tiktoken.registry
from langchain_core.messages import HumanMessage, ToolMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI, OpenAIEmbeddings

import ollama_models as models
from daemon import TOKEN
from moods import TEXT
from test_python_ollama import (KINDS, LAST_WORD, PIXEL,
                                check_native_history)

STREAM = pytest.mark.parametrize("stream", [False, True],
                                 ids=["whole", "stream"])
NOWHERE = "http://127.0.0.1:1"


class Person(pydantic.BaseModel):
    """Somebody."""
    name: str
    age: int


@tool
def get_weather(city: str, days: int) -> str:
    """The weather."""
    return f"{city} {days}"


@tool
def get_time() -> str:
    """The time."""
    return "noon"


TOOLS = {one.name: one for one in (get_weather, get_time)}


@pytest.fixture
def chat(proxy):
    return lambda model, **more: ChatOpenAI(
        base_url=f"{proxy.url}/v1", api_key=TOKEN, model=f"ollama:{model}",
        **more)


def run(runnable, stream, asked):
    """The message, in one piece or added up from a stream."""
    if not stream:
        return runnable.invoke(asked)
    message = None
    for piece in runnable.stream(asked):
        message = piece if message is None else message + piece
    return message


@STREAM
def test_text_and_usage(chat, stream):
    message = run(chat("words", stream_usage=True), stream, "Hello!")
    assert message.content == TEXT
    assert message.usage_metadata["input_tokens"] == models.PROMPT_TOKENS
    assert message.usage_metadata["output_tokens"] == len(models.WORDS)
    assert message.usage_metadata["total_tokens"] == \
        models.PROMPT_TOKENS + len(models.WORDS)
    assert message.response_metadata["finish_reason"] == "stop"


def test_batch(chat):
    asked = [f"number {i}" for i in range(8)]
    answers = chat("repeats").batch(asked)
    assert [answer.content for answer in answers] == \
        [f"You said: {one}" for one in asked]


@KINDS
@STREAM
def test_tool_loop(chat, moods, own_model, kind, stream):
    name = own_model(f"tools-{kind}")
    bound = chat(name).bind_tools(list(TOOLS.values()))
    messages = [HumanMessage("Weather and time?")]
    rounds = []
    while True:
        message = run(bound, stream, messages)
        messages.append(message)
        if not message.tool_calls:
            break
        assert message.response_metadata["finish_reason"] == "tool_calls"
        assert message.invalid_tool_calls == []
        rounds.append([(call["name"], call["args"])
                       for call in message.tool_calls])
        messages += [TOOLS[call["name"]].invoke(call)
                     for call in message.tool_calls]
    assert message.content == LAST_WORD
    assert rounds == models.ROUNDS
    check_native_history(moods.seen(name),
                         [result.tool_call_id for result in messages
                          if isinstance(result, ToolMessage)])


@STREAM
@pytest.mark.parametrize("method", ["json_schema", "json_mode"])
def test_structured_output(chat, moods, own_model, method, stream):
    name = own_model("json")
    if method == "json_mode":
        # Without a schema a model's object is empty.
        bound = chat(name).with_structured_output(None, method=method)
        wanted = {}
    else:
        bound = chat(name).with_structured_output(Person, method=method)
        wanted = Person(name="Ada <\u00e9>", age=36)
    said = list(bound.stream("Ada, 36"))[-1] if stream \
        else bound.invoke("Ada, 36")
    assert said == wanted
    assert moods.seen(name)[0].body["format"]["type"] == "object"


def test_structured_output_by_a_tool(chat, own_model):
    class get_weather(pydantic.BaseModel):
        """The weather."""
        city: str
        days: int

    said = chat(own_model("tools-native")).with_structured_output(
        get_weather, method="function_calling").invoke("Weather?")
    assert said == get_weather(**models.ROUNDS[0][0][1])


def test_image(chat):
    said = chat("sees").invoke([HumanMessage([
        {"type": "text", "text": "What is it?"},
        {"type": "image", "base64": PIXEL, "mime_type": "image/png"}])])
    assert said.content == "I see 1: png of 68 bytes"


def test_settings(chat, moods, own_model):
    name = own_model("words")
    message = chat(name, temperature=0.5, seed=3, max_tokens=2, stop=["###"],
                   extra_body={"num_ctx": 8192},
                   logprobs=True).invoke("Hello!")
    assert message.content == "".join(models.WORDS[:2])
    assert message.response_metadata["finish_reason"] == "length"
    assert [one["token"] for one in
            message.response_metadata["logprobs"]["content"]] == \
        models.WORDS[:2]
    assert moods.seen(name)[0].body["options"] == {
        "temperature": 0.5, "seed": 3, "num_predict": 2, "stop": ["###"],
        "num_ctx": 8192}


def test_n_is_refused(chat):
    with pytest.raises(openai.BadRequestError) as caught:
        chat("words", n=2).invoke("Hello!")
    assert caught.value.param == "n"


# Embeddings

@pytest.fixture
def embeddings(proxy):
    return lambda model, **more: OpenAIEmbeddings(
        base_url=f"{proxy.url}/v1", api_key=TOKEN, model=f"ollama:{model}",
        **more)


@pytest.fixture
def bytes_for_tokens(monkeypatch):
    """tiktoken would download its vocabulary; among the encodings that it has
    at hand is one of our own, each byte a token. The proxies see to it that
    nothing is fetched all the same."""
    encoding = tiktoken.Encoding(
        name="cl100k_base", pat_str=r"[\s\S]", special_tokens={},
        mergeable_ranks={bytes([i]): i for i in range(256)})
    monkeypatch.setitem(tiktoken.registry.ENCODINGS, "cl100k_base", encoding)
    for name in ("HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, NOWHERE)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


def test_token_arrays_are_refused_with_a_hint(embeddings, moods, own_model,
                                              bytes_for_tokens):
    name = own_model("vectors")
    with pytest.raises(openai.BadRequestError) as caught:
        embeddings(name).embed_documents(["fox", "dog"])
    assert (caught.value.param, caught.value.code) == \
        ("input", "unsupported_parameter")
    assert "check_embedding_ctx_length=False" in caught.value.message
    assert moods.seen(name) == []


@pytest.mark.parametrize("dimensions", [None, 3])
def test_embeddings(embeddings, moods, own_model, dimensions):
    name = own_model("vectors")
    ours = embeddings(name, check_embedding_ctx_length=False,
                      dimensions=dimensions)
    texts = ["fox", "quick brown fox", "dog"]
    got = [*ours.embed_documents(texts), ours.embed_query("owl")]
    assert [[models.float32(value) for value in one] for one in got] == \
        [models.embedding(text, dimensions) for text in [*texts, "owl"]]
    assert [seen.body["input"] for seen in moods.seen(name)] == \
        [texts, ["owl"]]
