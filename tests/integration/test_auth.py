"""Who gets in, and what strangers are told."""

import hashlib

import pytest
from raw import ask, chat

TOKENS = [
    {"token": "demo-key-123", "label": "demo"},
    {"token_sha256": hashlib.sha256(b"hashed-key-1").hexdigest(),
     "label": "hashed"},
    {"token": "disabled-key", "label": "off", "disabled": True},
    {"token": "expired-key-1", "label": "old", "expires": "2020-01-01"},
    {"token": "later-key-123", "label": "later", "expires": "2099-01-01"},
    {"token": "vllm-only-key", "label": "narrow", "models": ["vllm:*"]},
]


@pytest.fixture
def port(proxy):
    return proxy(tokens=TOKENS)[0].port


@pytest.mark.parametrize("token", ["demo-key-123", "hashed-key-1",
                                   "later-key-123"])
def test_known_tokens_get_in(port, token):
    assert ask(port, body=chat(), token=token).status == 200


@pytest.mark.parametrize("token, status, code", [
    (None, 401, "missing_api_key"),
    ("wrong-key-123", 401, "invalid_api_key"),
    ("demo-key-12", 401, "invalid_api_key"),
    ("expired-key-1", 401, "invalid_api_key"),
    ("disabled-key", 403, "insufficient_permissions"),
])
def test_others_are_told_why(port, token, status, code):
    answer = ask(port, body=chat(), token=token)
    assert (answer.status, answer.error["code"]) == (status, code)
    wants = (answer.header("WWW-Authenticate") or "").startswith("Bearer ")
    assert wants == (status == 401)
    assert token is None or token not in answer.body.decode()


@pytest.mark.parametrize("value, status", [
    ("bearer demo-key-123", 200),
    ("Bearer   demo-key-123", 200),
    ("Bearer\tdemo-key-123", 401),
    ("Basic ZGVtbzpkZW1v", 401),
    ("Bearer demo-key-123 more", 401),
    ("Bearer", 401),
])
def test_spellings_of_authorization(port, value, status):
    answer = ask(port, body=chat(), token=None,
                 headers=[f"Authorization: {value}"])
    assert answer.status == status


def test_a_token_sees_only_its_models(port):
    allowed = ask(port, body=chat("vllm:demo"), token="vllm-only-key")
    assert allowed.status == 200
    refused = ask(port, body=chat("ollama:demo"), token="vllm-only-key")
    assert refused.status == 404
    assert refused.error["code"] == "model_not_found"
    assert refused.error["param"] == "model"
    listed = ask(port, "/v1/models", token="vllm-only-key").json["data"]
    assert [model["id"] for model in listed] == ["vllm:demo"]


def test_health_is_open(port):
    for path in ("/healthz", "/readyz"):
        assert ask(port, path, token=None).status == 200


def test_a_known_path_asks_for_the_token_before_the_body(port):
    answer = ask(port, body=b"x" * 100, token=None)
    assert answer.status == 401
