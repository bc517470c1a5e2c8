"""The official OpenAI Python SDK with all that Ollama's native API can do."""

import asyncio
import base64
import json
import re
from typing import List, Literal, Optional

import openai
import pydantic
import pytest

import ollama_models as models
from moods import TEXT

PIXEL = base64.b64encode(models.PNG + bytes(60)).decode()
ASK = [{"role": "user", "content": "Ada, 36"}]
KINDS = pytest.mark.parametrize("kind", ["native", "parser", "old"])
IDS = {"native": "[a-z0-9]{32}", "parser": "call_[a-z0-9]{8}",
       "old": "call_[0-9a-f]{24}"}


class Town(pydantic.BaseModel):
    name: str
    people: int


class Person(pydantic.BaseModel):
    name: str
    age: int
    mood: Literal["sad", "glad"]
    towns: List[Town]
    nick: Optional[str]


ADA = Person(name="Ada <\u00e9>", age=36, mood="glad", nick="Ada <\u00e9>",
             towns=[Town(name="Ada <\u00e9>", people=36)] * 2)


class GetWeather(pydantic.BaseModel):
    city: str
    days: int


class GetTime(pydantic.BaseModel):
    pass


TOOLS = [openai.pydantic_function_tool(GetWeather, name="get_weather",
                                       description="The weather"),
         openai.pydantic_function_tool(GetTime, name="get_time")]


def run_tool(call):
    """What the caller's own functions say."""
    if call.function.name == "get_time":
        assert json.loads(call.function.arguments) == {}
        return "noon"
    asked = GetWeather.model_validate_json(call.function.arguments)
    return f"{asked.city} {asked.days}"


LAST_WORD = "; ".join([
    *(f"get_weather={where['city']} {where['days']}"
      for _, where in models.ROUNDS[0]), "get_time=noon"])


def calls_of(message):
    return [(call.function.name, json.loads(call.function.arguments))
            for call in message.tool_calls]


def loop(ask):
    """A tool loop as applications write it: (last message, the calls of
    each round, ids)."""
    messages = [{"role": "user", "content": "Weather and time?"}]
    rounds, ids = [], []
    while True:
        choice = ask(messages).choices[0]
        if choice.finish_reason != "tool_calls":
            assert choice.finish_reason == "stop"
            return choice.message, rounds, ids
        messages.append(choice.message)
        rounds.append(calls_of(choice.message))
        for call in choice.message.tool_calls:
            assert call.type == "function"
            ids.append(call.id)
            messages.append({"role": "tool", "tool_call_id": call.id,
                             "content": run_tool(call)})


def check_native_history(seen, ids):
    """The third request as it reached Ollama: objects, names and ids."""
    assert [one.path for one in seen] == ["/api/chat"] * 3
    history = seen[-1].body["messages"]
    calls = [call for message in history
             for call in message.get("tool_calls", ())]
    asked = models.ROUNDS[0] + models.ROUNDS[1]
    assert [(call["function"]["name"], call["function"]["arguments"])
            for call in calls] == asked
    assert [call["function"]["index"] for call in calls] == [0, 1, 0]
    assert [call["id"] for call in calls] == ids
    results = [message for message in history if message["role"] == "tool"]
    assert [(result["tool_name"], result["tool_call_id"])
            for result in results] == [
                (name, at) for (name, _), at in zip(asked, ids)]


def check_tool_loop(ask, kind, seen):
    message, rounds, ids = loop(ask)
    assert message.content == LAST_WORD
    assert rounds == models.ROUNDS
    assert len(set(ids)) == 3
    assert all(re.fullmatch(IDS[kind], one) for one in ids)
    check_native_history(seen(), ids)


# Tools

@KINDS
def test_tool_loop(client, moods, own_model, kind):
    name = own_model(f"tools-{kind}")
    check_tool_loop(
        lambda messages: client.chat.completions.create(
            model=f"ollama:{name}", messages=messages, tools=TOOLS),
        kind, lambda: moods.seen(name))


@KINDS
def test_tool_loop_by_the_stream_helper(client, moods, own_model, kind):
    name = own_model(f"tools-{kind}")

    def ask(messages):
        with client.chat.completions.stream(
                model=f"ollama:{name}", messages=messages,
                tools=TOOLS) as stream:
            stream.until_done()
            return stream.get_final_completion()

    check_tool_loop(ask, kind, lambda: moods.seen(name))


@KINDS
def test_events_of_the_stream_helper(client, own_model, kind):
    with client.chat.completions.stream(
            model=f"ollama:{own_model('tools-' + kind)}", tools=TOOLS,
            messages=ASK, stream_options={"include_usage": True}) as stream:
        events = list(stream)
        final = stream.get_final_completion()
    done = [event for event in events
            if event.type == "tool_calls.function.arguments.done"]
    assert [(event.index, event.name, json.loads(event.arguments))
            for event in done] == [
                (i, *call) for i, call in enumerate(models.ROUNDS[0])]
    assert all(isinstance(event.parsed_arguments, GetWeather)
               for event in done)
    deltas = [event for event in events
              if event.type == "tool_calls.function.arguments.delta"]
    assert [event.arguments for event in deltas] == \
        [event.arguments for event in done]
    assert final.choices[0].finish_reason == "tool_calls"
    said = "" if kind == "native" else models.PREAMBLE
    assert final.choices[0].message.content == said
    assert final.usage.prompt_tokens == models.PROMPT_TOKENS


def test_parsed_tool_calls(client, own_model):
    answer = client.chat.completions.parse(
        model=f"ollama:{own_model('tools-native')}", messages=ASK,
        tools=TOOLS)
    assert [call.function.parsed_arguments
            for call in answer.choices[0].message.tool_calls] == [
                GetWeather(**arguments) for _, arguments in models.ROUNDS[0]]


def test_tool_choice(client, moods, own_model):
    name = own_model("tools-parser")
    ask = dict(model=f"ollama:{name}", messages=ASK, tools=TOOLS)
    create = client.chat.completions.with_raw_response.create
    none = create(**ask, tool_choice="none")
    assert none.parse().choices[0].message.tool_calls is None
    required = create(**ask, tool_choice="required",
                      parallel_tool_calls=False)
    one = create(**ask, tool_choice={"type": "function",
                                     "function": {"name": "get_time"}})
    assert "X-Proxy-Dropped-Params" not in none.headers
    assert required.headers["X-Proxy-Dropped-Params"].split(",") == \
        ["tool_choice", "parallel_tool_calls"]
    assert one.headers["X-Proxy-Dropped-Params"] == "tool_choice"
    assert [[tool["function"]["name"] for tool in seen.body.get("tools", ())]
            for seen in moods.seen(name)] == [
                [], ["get_weather", "get_time"], ["get_time"]]


def test_a_model_without_tools(client, own_model):
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(model=f"ollama:{own_model('words')}",
                                       messages=ASK, tools=TOOLS)
    assert "does not support tools" in caught.value.message


# Structured output

def test_parse(client, moods, own_model):
    name = own_model("json")
    answer = client.chat.completions.parse(
        model=f"ollama:{name}", messages=ASK, response_format=Person)
    assert answer.choices[0].message.parsed == ADA
    native = moods.seen(name)[0].body["format"]
    assert set(native["properties"]) == set(Person.model_fields)
    assert native["additionalProperties"] is False


def test_parsed_stream(client, own_model):
    with client.chat.completions.stream(
            model=f"ollama:{own_model('json')}", messages=ASK,
            response_format=Person) as stream:
        events = list(stream)
    done = [event for event in events if event.type == "content.done"]
    assert [event.parsed for event in done] == [ADA]
    assert len([event for event in events
                if event.type == "content.delta"]) > 5


def test_json_object(client, moods, own_model):
    name = own_model("json")
    answer = client.chat.completions.create(
        model=f"ollama:{name}", messages=ASK,
        response_format={"type": "json_object"})
    assert json.loads(answer.choices[0].message.content) == {}
    assert moods.seen(name)[0].body["format"] == {"type": "object"}


# Images

def picture(url):
    return [{"role": "user", "content": [
        {"type": "text", "text": "What is it?"},
        {"type": "image_url", "image_url": {"url": url, "detail": "low"}},
        {"type": "text", "text": "One word."}]}]


def test_image_as_a_data_url(client, moods, own_model):
    name = own_model("sees")
    answer = client.chat.completions.create(
        model=f"ollama:{name}",
        messages=picture(f"data:image/png;base64,{PIXEL}"))
    assert answer.choices[0].message.content == "I see 1: png of 68 bytes"
    assert moods.seen(name)[0].body["messages"] == [
        {"role": "user", "content": "What is it?\nOne word.",
         "images": [PIXEL]}]


def test_remote_image(client, moods, own_model):
    name = own_model("sees")
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(
            model=f"ollama:{name}",
            messages=picture("https://x.example/cat.png"))
    assert caught.value.param == "messages[0].content[1]"
    assert "base64" in caught.value.message
    assert moods.seen(name) == []


def test_a_model_without_vision(client, own_model):
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(
            model=f"ollama:{own_model('words')}",
            messages=picture(f"data:image/png;base64,{PIXEL}"))
    assert "does not support multimodal requests" in caught.value.message
    assert "{" not in caught.value.message


# Reasoning

def test_reasoning(client, moods, own_model):
    name = own_model("thinks")
    ask = dict(model=f"ollama:{name}", messages=ASK)
    first = client.chat.completions.create(
        **ask, reasoning_effort="high").choices[0].message
    assert first.reasoning == "".join(models.THINKING)
    assert first.content == "".join(models.ANSWER)
    none = client.chat.completions.create(
        **ask, reasoning_effort="none").choices[0].message
    assert not hasattr(none, "reasoning")
    # And back again as history.
    client.chat.completions.create(model=ask["model"], messages=[
        *ASK, first.model_dump(exclude_none=True), *ASK])
    bodies = [seen.body for seen in moods.seen(name)]
    assert [body.get("think") for body in bodies] == ["high", False, None]
    assert bodies[2]["messages"][1] == {
        "role": "assistant", "content": first.content,
        "thinking": first.reasoning}


def test_reasoning_in_a_stream(client, own_model):
    deltas = [chunk.choices[0].delta for chunk in
              client.chat.completions.create(
                  model=f"ollama:{own_model('thinks')}", messages=ASK,
                  stream=True)]
    assert "".join(getattr(delta, "reasoning", "") for delta in deltas) == \
        "".join(models.THINKING)
    assert "".join(delta.content or "" for delta in deltas) == \
        "".join(models.ANSWER)


def test_reasoning_asked_of_a_model_without_it(client, moods, own_model):
    """Agents ask blindly; they are answered, and told."""
    name = own_model("words")
    raw = client.chat.completions.with_raw_response.create(
        model=f"ollama:{name}", messages=ASK, reasoning_effort="low")
    assert raw.parse().choices[0].message.content == TEXT
    assert raw.headers["X-Proxy-Dropped-Params"] == "reasoning_effort"
    assert [seen.body.get("think") for seen in moods.seen(name)] == \
        ["low", None]


# Logprobs, length, limits

def check_logprobs(content):
    assert [one.token for one in content] == models.WORDS
    assert bytes(content[0].bytes).decode() == models.WORDS[0]
    assert all(one.logprob < 0 for one in content)
    assert [[top.token for top in one.top_logprobs] for one in content] == \
        [[word, "{"] for word in models.WORDS]


def test_logprobs(client, own_model):
    ask = dict(model=f"ollama:{own_model('words')}", messages=ASK,
               logprobs=True, top_logprobs=2)
    answer = client.chat.completions.create(**ask)
    check_logprobs(answer.choices[0].logprobs.content)
    with client.chat.completions.stream(**ask) as stream:
        events = [event for event in stream
                  if event.type == "logprobs.content.done"]
        final = stream.get_final_completion()
    check_logprobs(final.choices[0].logprobs.content)
    assert len(events) == 1
    check_logprobs(events[0].content)


def test_length(client, moods, own_model):
    name = own_model("words")
    answer = client.chat.completions.create(
        model=f"ollama:{name}", messages=ASK, max_completion_tokens=2,
        stop="###", seed=11, temperature=0.2)
    assert answer.choices[0].finish_reason == "length"
    assert answer.choices[0].message.content == "".join(models.WORDS[:2])
    assert moods.seen(name)[0].body["options"] == {
        "num_predict": 2, "stop": ["###"], "seed": 11, "temperature": 0.2}
    # The SDK's parser takes a cut answer for an error of its own.
    with pytest.raises(openai.LengthFinishReasonError):
        client.chat.completions.parse(
            model=f"ollama:{name}", messages=ASK, response_format=Person,
            max_tokens=2)


@pytest.mark.parametrize("param, value, place", [
    ("n", 2, "n"), ("logit_bias", {"50256": -100}, "logit_bias"),
    ("audio", {"format": "wav", "voice": "alloy"}, "audio"),
    ("modalities", ["text", "audio"], "modalities[1]"),
    ("functions", [{"name": "f"}], "functions"),
    ("function_call", "auto", "function_call")])
def test_what_cannot_work_is_refused(client, moods, own_model, param, value,
                                     place):
    name = own_model("words")
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(model=f"ollama:{name}", messages=ASK,
                                       **{param: value})
    assert (caught.value.param, caught.value.code) == \
        (place, "unsupported_parameter")
    assert moods.seen(name) == []


def test_native_settings(client, moods, own_model):
    name = own_model("words")
    client.chat.completions.create(
        model=f"ollama:{name}", messages=ASK, temperature=0,
        extra_body={"options": {"num_ctx": 16384, "temperature": 0.9},
                    "keep_alive": "30m", "top_k": 10})
    body = moods.seen(name)[0].body
    assert body["options"] == {"temperature": 0, "num_ctx": 16384,
                               "top_k": 10}
    assert (body["keep_alive"], body["truncate"]) == ("30m", False)


# Completions

def test_suffix(client, moods, own_model):
    name = own_model("inserts")
    ask = dict(model=f"ollama:{name}", prompt="def add(a, b):\n",
               suffix="\n\n")
    answer = client.completions.create(**ask, max_tokens=20, stop=["\n\n"])
    filled = "".join(models.FILLED)
    assert answer.choices[0].text == filled
    pieces = list(client.completions.create(**ask, stream=True))
    assert "".join(piece.choices[0].text for piece in pieces) == filled
    assert [seen.body["suffix"] for seen in moods.seen(name)] == ["\n\n"] * 2
    with pytest.raises(openai.BadRequestError) as caught:
        client.completions.create(**{**ask, "model": "ollama:words"})
    assert "does not support insert" in caught.value.message


@pytest.mark.parametrize("echo", [False, True], ids=["plain", "echo"])
def test_several_prompts(client, moods, own_model, echo):
    name = own_model("repeats")
    prompts = ["one", "tw\u00f6 \u2028", "three"]
    wanted = [(prompt if echo else "") + "You said: " + prompt
              for prompt in prompts]
    ask = dict(model=f"ollama:{name}", prompt=prompts, echo=echo)
    answer = client.completions.create(**ask)
    assert [choice.index for choice in answer.choices] == [0, 1, 2]
    assert [choice.text for choice in answer.choices] == wanted
    assert answer.usage.prompt_tokens == 3 * models.PROMPT_TOKENS
    texts, reasons = ["", "", ""], []
    for piece in client.completions.create(
            **ask, stream=True, stream_options={"include_usage": True}):
        for choice in piece.choices:
            texts[choice.index] += choice.text
            reasons += [choice.finish_reason] * bool(choice.finish_reason)
    assert texts == wanted
    assert reasons == ["stop"] * 3
    assert piece.usage.completion_tokens == 3 * len(models.WORDS)
    assert [seen.body["prompt"] for seen in moods.seen(name)] == prompts * 2


def test_completion_logprobs(client, own_model):
    ask = dict(model=f"ollama:{own_model('words')}", prompt="Hi", logprobs=2)
    whole = client.completions.create(**ask).choices[0].logprobs
    offsets = [len("".join(models.WORDS[:i]))
               for i in range(len(models.WORDS))]
    assert whole.tokens == models.WORDS
    assert whole.text_offset == offsets
    assert [set(top) for top in whole.top_logprobs] == \
        [{word, "{"} for word in models.WORDS]
    pieces = [piece.choices[0].logprobs for piece in
              client.completions.create(**ask, stream=True)]
    pieces = [piece for piece in pieces if piece]
    assert sum((piece.tokens for piece in pieces), []) == whole.tokens
    assert sum((piece.text_offset for piece in pieces), []) == offsets
    assert sum((piece.token_logprobs for piece in pieces), []) == \
        whole.token_logprobs


# Embeddings

TEXTS = ["fox", "quick brown fox", ""]


@pytest.mark.parametrize("encoding", [None, "float", "base64"])
@pytest.mark.parametrize("dimensions", [None, 3])
def test_embeddings(client, moods, own_model, encoding, dimensions):
    name = own_model("vectors")
    ask = {"model": f"ollama:{name}", "input": TEXTS}
    if encoding:
        ask["encoding_format"] = encoding
    if dimensions:
        ask["dimensions"] = dimensions
    answer = client.embeddings.create(**ask)
    wanted = [models.embedding(text, dimensions) for text in TEXTS]
    got = [item.embedding for item in answer.data]
    if encoding == "base64":
        got = [list(memoryview(base64.b64decode(one)).cast("f"))
               for one in got]
    # A float32 that went through base64 is the nearest one, all the digits
    # of a double shown.
    assert [[models.float32(value) for value in one] for one in got] == wanted
    assert [item.index for item in answer.data] == [0, 1, 2]
    assert answer.usage.prompt_tokens == 4
    assert len(moods.seen(name)) == 1
    assert moods.seen(name)[0].body["input"] == TEXTS


# Async, where the SDK has code of its own for it

def test_async_stream_helpers(proxy, own_model):
    async def ask_all():
        async with proxy.async_client() as client:
            async with client.chat.completions.stream(
                    model=f"ollama:{own_model('tools-parser')}",
                    messages=ASK, tools=TOOLS) as stream:
                events = [event async for event in stream]
                called = await stream.get_final_completion()
            async with client.chat.completions.stream(
                    model=f"ollama:{own_model('json')}", messages=ASK,
                    response_format=Person) as stream:
                said = await stream.get_final_completion()
            parsed = await client.chat.completions.parse(
                model=f"ollama:{own_model('json')}", messages=ASK,
                response_format=Person)
            vectors = await client.embeddings.create(
                model=f"ollama:{own_model('vectors')}", input=TEXTS)
        return events, called, said, parsed, vectors

    events, called, said, parsed, vectors = asyncio.run(ask_all())
    assert [event.parsed_arguments for event in events
            if event.type == "tool_calls.function.arguments.done"] == [
                GetWeather(**arguments) for _, arguments in models.ROUNDS[0]]
    assert called.choices[0].finish_reason == "tool_calls"
    assert said.choices[0].message.parsed == ADA
    assert parsed.choices[0].message.parsed == ADA
    assert [[models.float32(value) for value in item.embedding]
            for item in vectors.data] == [models.embedding(text)
                                          for text in TEXTS]
