"""The scripted models answer in the shapes of a recorded Ollama."""

import json
import pathlib
import urllib.error
import urllib.request

import pytest

FOLDER = pathlib.Path(__file__).resolve().parents[1] / "data/recorded"
RECORDED = {one["name"]: one for name in ("chat", "generate", "embed")
            for one in map(json.loads, (FOLDER / f"{name}.jsonl")
                           .read_text().splitlines())}
# {recorded: the scripted model that is to be like it}
ALIKE = {
    "chat_think_default": "thinks", "chat_think_default_ns": "thinks",
    "chat_think_true_unsupported": "words",
    "chat_tools_generic": "tools-parser",
    "chat_tools_generic_ns": "tools-parser",
    "chat_tools_native": "tools-native",
    "chat_tools_native_ns": "tools-native",
    "chat_logprobs_top2": "words", "chat_logprobs_top2_stream": "words",
    "chat_logprobs_think_stream": "thinks",
    "chat_logprobs_tools_native_ns": "tools-native",
    "chat_image_no_vision": "words", "chat_image_bad_base64": "words",
    "generate_think_parser_stream": "thinks",
    "generate_suffix_ok": "inserts",
    "generate_suffix_ok_stream": "inserts",
    "generate_suffix_unsupported": "words", "generate_logprobs": "words",
    "embed_array": "vectors", "embed_dim_8": "vectors",
    "embed_array_number": "vectors",
}


def shape(value, name=None):
    """What a value is made of, its members in their order. What a model's
    words are is its own affair."""
    if name in ("arguments", "context", "bytes"):
        return type(value).__name__
    if isinstance(value, dict):
        return [(key, shape(one, key)) for key, one in value.items()]
    if isinstance(value, list):
        return [shape(value[0])] if value else []
    if name == "error" and value.startswith("{"):
        return shape(json.loads(value))
    if name in ("done", "done_reason", "error", "message"):
        return value
    return "number" if isinstance(value, (int, float)) else "string"


def shapes(text):
    seen = []
    for line in text.splitlines():
        one = shape(json.loads(line))
        if one not in seen:
            seen.append(one)
    return seen


@pytest.mark.parametrize("name", ALIKE)
def test_shape(moods, name):
    recorded = RECORDED[name]
    request = recorded["request"]
    model = ALIKE[name]
    own = urllib.request.Request(
        moods.url + request["path"],
        json.dumps({**request["body"], "model": model}).encode())
    try:
        with urllib.request.urlopen(own, timeout=10) as answer:
            status, body = answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        status, body = error.code, error.read().decode()
    theirs = recorded["body"].replace(request["body"]["model"], model)
    assert (status, shapes(body)) == (recorded["status"], shapes(theirs))
