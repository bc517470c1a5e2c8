"""The scripted models of an Ollama, for the SDK tests.

They are called MOOD or MOOD-ANYTHING as in moods.py, and answer /api/chat,
/api/generate and /api/embed. What they say depends on what really reached
them, and what Ollama would refuse they refuse in its words. The shapes are
those of a recorded Ollama: test_recorded_shapes.py holds them against it.
"""

import base64
import binascii
import json
import math
import secrets
import string
import struct

from backend import vector

CREATED = "2026-11-24T10:00:00.168427050Z"
WORDS = ["Hello", " from", " the", " backend", "."]
THINKING = ["Let me", " see <b>"]
ANSWER = ["The answer", " is 4"]
FILLED = ["    return", " a", " +", " b"]
PREAMBLE = "I will call. "
PROMPT_TOKENS = 7
PNG = b"\x89PNG\r\n\x1a\n"
# Two rounds; in the first one two calls at once.
ROUNDS = [[("get_weather", {"city": "Oslo <&> \u00e9\u2028", "days": 3}),
           ("get_weather", {"city": "Bergen", "days": 1})],
          [("get_time", {})]]


class Refused(Exception):
    def __init__(self, status, text):
        super().__init__(text)
        self.status = status
        self.text = text


def runner_error(status, kind, text):
    """What a runner says comes as JSON within the string."""
    return Refused(status, json.dumps({"error": {
        "code": status, "message": text, "type": kind}}))


def go_json(value):
    """Compact, with the escapes of Go."""
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    for sign in "<>&\u2028\u2029":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return text


# What Ollama refuses

def check_message(message):
    if not isinstance(message.get("content", ""), str):
        raise Refused(400, "json: cannot unmarshal array into Go struct field "
                      "ChatRequest.messages.content of type string")
    for image in message.get("images") or []:
        check_image(image)
    for call in message.get("tool_calls") or []:
        arguments = call["function"].get("arguments")
        if not isinstance(arguments, (dict, type(None))):
            raise Refused(400, "Value looks like object, but can't find "
                          "closing '}' symbol")


def check_image(image):
    try:
        base64.b64decode(image, validate=True)
    except (binascii.Error, ValueError):
        raise Refused(400, "illegal base64 data at input byte 0") from None


def check_abilities(body, abilities):
    name = body["model"]
    full = f"registry.ollama.ai/library/{name}:latest"
    if body.get("tools") and "tools" not in abilities:
        raise Refused(400, f"{full} does not support tools")
    if body.get("suffix") and "insert" not in abilities:
        raise Refused(400, f"{full} does not support insert")
    if body.get("think") and "thinking" not in abilities:
        raise Refused(400, f'"{name}" does not support thinking')
    pictured = [body, *body.get("messages", [])]
    if any(part.get("images") for part in pictured) \
            and "vision" not in abilities:
        raise runner_error(
            400, "invalid_request_error", "Multimodal data provided, but "
            "model does not support multimodal requests.")
    if body.get("logprobs") and body.get("tools"):
        raise runner_error(400, "invalid_request_error",
                           "logprobs is not supported with tools + stream")


def check_stop(body):
    stop = (body.get("options") or {}).get("stop")
    if not isinstance(stop, (list, type(None))):
        raise Refused(500, 'option "stop" must be of type array')


def check_history(messages):
    """Templates of tool models insist on calls and results that match."""
    open_calls = {}
    for message in messages:
        for call in message.get("tool_calls") or []:
            open_calls[call.get("id")] = call["function"]["name"]
        if message["role"] != "tool":
            continue
        called = open_calls.pop(message.get("tool_call_id"), None)
        if called is None or message.get("tool_name") != called:
            raise runner_error(500, "server_error",
                               "a tool result that nobody called for")


# What the models say. Each yields pieces, the members of a line's message;
# what it returns stands in the last line, the one with done:true.

def say_words(body, words=None):
    words = words or WORDS
    limit = (body.get("options") or {}).get("num_predict", len(words))
    for word in words[:limit]:
        yield {"content": word}
    return {"done_reason": "length" if limit < len(words) else "stop"}


def repeat(body):
    prompt = body.get("prompt")
    if prompt is None:
        prompt = body["messages"][-1]["content"]
    yield {"content": "You said: "}
    yield {"content": prompt}


def think(body):
    if body.get("think") is not False:
        for thought in THINKING:
            yield {"content": "", "thinking": thought}
    for text in ANSWER:
        yield {"content": text}


def look(body):
    images = [base64.b64decode(image)
              for part in [body, *body.get("messages", [])]
              for image in part.get("images") or []]
    kinds = ["png" if image.startswith(PNG) else "no picture"
             for image in images]
    yield {"content": f"I see {len(images)}: " + ", ".join(
        f"{kind} of {len(image)} bytes"
        for kind, image in zip(kinds, images))}


def fill_in(body):
    return (yield from say_words(body, FILLED))


def instance(schema, definitions):
    """A value that the schema allows."""
    if "$ref" in schema:
        return instance(definitions[schema["$ref"].split("/")[-1]],
                        definitions)
    if "anyOf" in schema:
        return instance(schema["anyOf"][0], definitions)
    if "enum" in schema:
        return schema["enum"][-1]
    kind = schema.get("type")
    if isinstance(kind, list):
        kind = kind[0]
    if kind == "object":
        return {name: instance(one, definitions)
                for name, one in schema.get("properties", {}).items()}
    if kind == "array":
        return [instance(schema["items"], definitions)] * 2
    return {"string": "Ada <\u00e9>", "integer": 36, "number": 0.5,
            "boolean": True}.get(kind)


def fill_schema(body):
    """Models with a template of their own ignore format "json"."""
    schema = body.get("format")
    if isinstance(schema, dict):
        text = json.dumps(instance(schema, schema.get("$defs", {})),
                          ensure_ascii=False)
    else:
        text = "Ada is thirty-six."
    for at in range(0, len(text), 5):
        yield {"content": text[at:at + 5]}


def tool_rounds(body):
    """The calls that are next, or [] for the last word."""
    asked = sum(bool(message.get("tool_calls"))
                for message in body["messages"])
    return ROUNDS[asked] if body.get("tools") and asked < len(ROUNDS) else []


def letters(count):
    return "".join(secrets.choice(string.ascii_lowercase + string.digits)
                   for _ in range(count))


def call_tools(body):
    """tools-KIND-...: where calls stand and what ids they have depends on
    how Ollama runs the model, and on its age."""
    check_history(body["messages"])
    kind = body["model"].split("-")[1]
    calls = []
    for index, (name, arguments) in enumerate(tool_rounds(body)):
        function = {"index": index, "name": name, "arguments": arguments}
        if kind == "old":
            calls.append({"function": {**function, "index": 0}})
        else:
            calls.append({"id": letters(32) if kind == "native"
                          else "call_" + letters(8), "function": function})
    if not calls:
        results = [f"{message['tool_name']}={message['content']}"
                   for message in body["messages"]
                   if message["role"] == "tool"]
        yield {"content": "; ".join(results) or "nothing to call"}
        return {}
    if kind == "native":
        return {"tool_calls": calls}
    yield {"content": PREAMBLE}
    for call in calls:
        yield {"content": "", "tool_calls": [call]}
    return {}


# {mood: (what it says, what it can)}
MODELS = {"words": (say_words, ()), "repeats": (repeat, ()),
          "thinks": (think, ("thinking",)), "sees": (look, ("vision",)),
          "inserts": (fill_in, ("insert",)), "json": (fill_schema, ()),
          "tools": (call_tools, ("tools",))}


# How Ollama puts it

def logprobs_of(text, body):
    said = {"token": text, "logprob": -1.1920928955078125e-07,
            "bytes": list(text.encode())}
    other = {"token": "{", "logprob": -15.996928215026855, "bytes": [123]}
    top = [dict(said), other][:body.get("top_logprobs") or 0]
    return [{**said, **({"top_logprobs": top} if top else {})}]


class Line:
    """Makes the lines of one answer; the order of members is Ollama's."""

    def __init__(self, path, body):
        self.chat = path == "/api/chat"
        self.body = body

    def _said(self, text, piece):
        more = {name: piece[name] for name in ("thinking", "tool_calls")
                if piece.get(name)}
        if self.chat:
            return {"message": {"role": "assistant", "content": text, **more}}
        return {"response": text, **more}

    def make(self, piece, done=None):
        text = piece.get("content", "")
        logprobs = {"logprobs": piece["logprobs"]} \
            if piece.get("logprobs") else {}
        line = {"model": self.body["model"], "created_at": CREATED,
                **self._said(text, piece), "done": done is not None}
        if done is None:
            return {**line, **logprobs}
        line["done_reason"] = done.get("done_reason", "stop")
        metrics = {"total_duration": 30097926, "load_duration": 9062467,
                   "prompt_eval_count": PROMPT_TOKENS,
                   "prompt_eval_duration": 1176000,
                   "eval_count": len(WORDS), "eval_duration": 13098000}
        if self.chat:
            return {**line, **logprobs, **metrics}
        context = {} if self.body.get("raw") else {"context": [259, 104, 262]}
        return {**line, **context, **metrics, **logprobs}


def pieces_of(speech, body, last):
    """The pieces that are not in the last line; that one's go to `last`."""
    while True:
        try:
            piece = next(speech)
        except StopIteration as end:
            last.update(end.value or {})
            return
        if body.get("logprobs"):
            said = piece.get("thinking") or piece["content"]
            piece["logprobs"] = logprobs_of(said, body)
        yield piece


def whole_of(pieces, last):
    """Without a stream everything stands in the one object."""
    piece = {"content": "".join(one["content"] for one in pieces),
             "thinking": "".join(one.get("thinking", "") for one in pieces)}
    for name in ("tool_calls", "logprobs"):
        piece[name] = sum((one.get(name, []) for one in pieces), []) \
            + last.get(name, [])
    return piece


def generate(path, body, peer):
    say, abilities = MODELS[body["model"].split("-")[0]]
    for message in body.get("messages", [body]):
        check_message(message)
    check_stop(body)
    check_abilities(body, abilities)
    line = Line(path, body)
    last = {}
    # All of it first: an error before the first word has its status.
    pieces = list(pieces_of(say(body), body, last))
    if body.get("stream") is False:
        peer.whole(go_json(line.make(whole_of(pieces, last), last)).encode(),
                   content_type="application/json; charset=utf-8")
        return
    peer.ndjson_head()
    for piece in pieces:
        peer.chunk(go_json(line.make(piece)) + "\n")
    peer.chunk(go_json(line.make({"tool_calls": last.get("tool_calls")},
                                 last)) + "\n")
    peer.end()


def float32(value):
    """As Go prints one: the shortest digits that give it back."""
    packed = struct.pack("<f", value)
    value, = struct.unpack("<f", packed)
    return next(near for near in (float(f"{value:.{digits}g}")
                                  for digits in range(1, 10))
                if struct.pack("<f", near) == packed)


def embedding(text, dimensions=None):
    """What `vectors` gives for a text: cut short, and of length 1 again."""
    values = vector(text)[:dimensions]
    norm = math.sqrt(sum(value * value for value in values))
    return [float32(value / norm) for value in values]


def embed(_path, body, peer):
    texts = body["input"]
    if isinstance(texts, str):
        texts = [texts] if texts else []
    if not all(isinstance(text, str) for text in texts):
        raise Refused(400, "invalid input type")
    peer.whole(go_json({
        "model": body["model"],
        "embeddings": [embedding(text, body.get("dimensions"))
                       for text in texts],
        "total_duration": 296733791, "load_duration": 276434192,
        "prompt_eval_count": sum(len(text.split()) for text in texts),
    }).encode(), content_type="application/json; charset=utf-8")


def answers(path, body):
    """Whether the model is one of these."""
    mood = body["model"].split("-")[0]
    return path in ("/api/chat", "/api/generate") and mood in MODELS \
        or path == "/api/embed" and mood == "vectors"


def answer(path, body, peer):
    try:
        (embed if path == "/api/embed" else generate)(path, body, peer)
    except Refused as refused:
        peer.whole(go_json({"error": refused.text}).encode(), refused.status,
                   "application/json; charset=utf-8")
