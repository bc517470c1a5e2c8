"""What becomes of every member of the official SDK's request schemas when the
model is one of Ollama's. Each is sent with a real value; what Ollama got, what
the answer says and what was refused make up the list in
contrib/openai-fields.md, which must be the one that is there."""

import json
import pathlib
import re
import typing

import pytest
from openai.types import completion_create_params, embedding_create_params
from openai.types.chat import completion_create_params as chat_create_params

from raw import ask

LIST = pathlib.Path(__file__).resolve().parents[2] / "contrib/openai-fields.md"
SHORT = 30
HELLO = [{"role": "user", "content": "Hello!"}]
TOOLS = [{"type": "function", "function": {"name": name}}
         for name in ("f", "g")]
SCHEMA = {"type": "json_schema", "json_schema": {
    "name": "p", "schema": {"type": "object"}}}
NAMED = {"type": "function", "function": {"name": "g"}}


def members(*params):
    return set().union(*(typing.get_type_hints(one) for one in params))


# {member: values}
GENERATION = {
    "stream": [True], "stream_options": [{"include_usage": True}],
    "max_tokens": [9], "temperature": [0.5], "top_p": [0.5], "seed": [5],
    "frequency_penalty": [0.5], "presence_penalty": [0.5],
    "stop": ["###", ["a", "b"]], "n": [1, 2], "user": ["u-7"],
    "logit_bias": [{}, {"50256": -100}],
}
# What some need beside them.
BESIDE = {"stream_options": {"stream": True}, "top_logprobs":
          {"logprobs": True}, "tool_choice": {"tools": TOOLS}}
# {name: (path, the SDK's members, the least that it takes, {member: values})}
ENDPOINTS = {
    "chat": ("/v1/chat/completions", members(
        chat_create_params.CompletionCreateParamsNonStreaming,
        chat_create_params.CompletionCreateParamsStreaming),
        {"messages": HELLO}, {
            **GENERATION,
            "messages": [[*HELLO, *HELLO]],
            "max_completion_tokens": [9], "response_format": [
                {"type": "text"}, {"type": "json_object"}, SCHEMA],
            "tools": [TOOLS, [{"type": "custom", "custom": {"name": "c"}}]],
            "tool_choice": ["auto", "none", "required", NAMED],
            "reasoning_effort": ["none", "high", "xhigh"],
            "logprobs": [True], "top_logprobs": [2],
            "functions": [[{"name": "f"}]], "function_call": ["auto"],
            "modalities": [["text"], ["text", "audio"]],
            "audio": [{"format": "wav", "voice": "alloy"}],
            "parallel_tool_calls": [True, False], "metadata": [{"a": "b"}],
            "moderation": [{"model": "omni-moderation-latest"}],
            "prediction": [{"type": "content", "content": "x"}],
            "prompt_cache_key": ["k"], "prompt_cache_retention": ["24h"],
            "prompt_cache_options": [{"mode": "explicit"}],
            "safety_identifier": ["s"], "service_tier": ["flex"],
            "store": [True], "verbosity": ["low"],
            "web_search_options": [{}, {"search_context_size": "low"}]}),
    "text": ("/v1/completions", members(
        completion_create_params.CompletionCreateParamsNonStreaming,
        completion_create_params.CompletionCreateParamsStreaming),
        {"prompt": "Hello!"}, {
            **GENERATION,
            "prompt": ["Bye", ["Bye", "Bye"], [1, 2]], "best_of": [1, 2],
            "echo": [True], "suffix": ["end"], "logprobs": [2]}),
    "embed": ("/v1/embeddings", members(
        embedding_create_params.EmbeddingCreateParams), {"input": "Hello!"}, {
            "input": ["Bye", ["Bye", "Bye"], [1, 2], [[1, 2], [3]]],
            "dimensions": [3], "encoding_format": ["float", "base64"],
            "user": ["u-7"]}),
}


def flat(value, name=""):
    """{path: value} of the members, those of options by themselves."""
    if name in ("", "options") and isinstance(value, dict):
        return {path: one for key, member in value.items() for path, one in
                flat(member, f"{name}.{key}".strip(".")).items()}
    return {name: value}


class Answered:
    """One request: what Ollama got of it, and what the client."""

    def __init__(self, proxy, moods, path, model, body):
        answer = ask(proxy.port, path, {"model": f"ollama:{model}", **body})
        self.refused = answer.status == 400
        self.param = answer.error["param"] if self.refused else None
        self.dropped = (answer.header("X-Proxy-Dropped-Params")
                        or "").split(",")
        assert self.refused or answer.status == 200, answer.body
        got = [seen.body for seen in moods.seen(model)]
        assert self.refused == (got == [])
        for one in got:
            assert one.pop("model") == model
        # Of several prompts the others; the last one is what differs.
        self.native = flat(got[-1]) if got else {}
        self.requests = len(got)
        self.text = re.sub(r'"(id|created)":("[^"]*"|\d+)', "",
                           answer.body.decode().replace(model, "MODEL"))


def mapped(path, native):
    """Where to, and as what if that is short."""
    if path not in native:
        return f"no `{path}`"
    value = json.dumps(native[path])
    return f"`{path}`" + (f" = `{value}`" if len(value) < SHORT else "")


def outcome(member, plain, sent):
    """What is said of one value in the list."""
    if sent.refused:
        assert sent.param.split("[")[0].split(".")[0] == member
        return "refused"
    said = []
    changed = [path for path in {**plain.native, **sent.native}
               if plain.native.get(path) != sent.native.get(path)]
    if changed:
        said.append("mapped: " + ", ".join(mapped(path, sent.native)
                                           for path in changed))
    if sent.requests > 1:
        said.append(f"one request for each of {sent.requests}")
    if sent.text != plain.text and not changed:
        said.append("mapped: the answer is as asked")
    if member in sent.dropped:
        said.append("dropped, and reported")
    return "; ".join(said)


def default_of(member, value):
    """Values that ask for nothing: what OpenAI does without them."""
    return (member, value) in [
        ("n", 1), ("best_of", 1), ("logit_bias", {}),
        ("response_format", {"type": "text"}), ("tool_choice", "auto"),
        ("parallel_tool_calls", True),
        ("modalities", ["text"]), ("encoding_format", "float")]


def classified(proxy, moods, own_model, endpoint):
    """(member, value, what became of it) of every member."""
    path, _, least, samples = ENDPOINTS[endpoint]
    rows = [("model", '"ollama:NAME"', 'mapped: `model` = `"NAME"`')]
    for member in sorted(samples):
        beside = {**least, **BESIDE.get(member, {})}
        plain = Answered(proxy, moods, path, own_model("demo"), beside)
        assert not plain.refused
        for value in samples[member]:
            sent = Answered(proxy, moods, path, own_model("demo"),
                            {**beside, member: value})
            said = outcome(member, plain, sent)
            if default_of(member, value):
                assert said == "", (member, value, said)
                said = "the default"
            rows.append((member, json.dumps(value), said))
    return rows


@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_every_member_has_a_sample(endpoint):
    _, schema, _, samples = ENDPOINTS[endpoint]
    assert {*samples, "model"} == schema


def table_of(rows):
    return "\n".join(["| field | sent | what becomes of it |", "|---|---|---|",
                      *(f"| `{member}` | `{value}` | {said} |"
                        for member, value, said in rows)])


def listed():
    """{path: table} of the list."""
    sections = LIST.read_text().split("\n## ")[1:]
    return {path: table.strip() for path, table in
            (section.split("\n", 1) for section in sections)}


@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_the_list_of_fields(proxy, moods, own_model, endpoint):
    rows = classified(proxy, moods, own_model, endpoint)
    assert [row for row in rows if not row[2]] == [], "dropped in silence"
    table = table_of(rows)
    path = ENDPOINTS[endpoint][0]
    print(f"## {path}\n\n{table}\n")  # pytest -s: the list, made anew
    assert table == listed().get(path)


@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_null_is_as_good_as_nothing(proxy, moods, own_model, endpoint):
    path, _, least, samples = ENDPOINTS[endpoint]
    plain = Answered(proxy, moods, path, own_model("demo"), least)
    nulls = {member: None for member in samples if member not in least}
    sent = Answered(proxy, moods, path, own_model("demo"),
                    {**least, **nulls})
    assert (sent.native, sent.text, sent.dropped) == \
        (plain.native, plain.text, [""])
