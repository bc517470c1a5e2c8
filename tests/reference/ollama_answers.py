#!/usr/bin/env python3
"""What a client must get for what Ollama answered: the adapter's rules a
second time, written from Ollama's API and OpenAI's and not from the adapter,
so that the two can be held against each other.

    ollama_answers.py FILE ...

reads recorded exchanges, one JSON object a line, and prints an example for
each way that a client may have asked for such an answer, in the form of the
files in tests/data/ollama: the client's request, what Ollama is asked, what it
answers, and what the client gets. Ids of our own making are ID.
"""

import base64
import datetime
import json
import struct
import sys

UNFINISHED = "the backend ended its answer without finishing it"
KINDS = {"/api/chat": "messages", "/api/generate": "prompt",
         "/api/embed": "input"}


# -- errors -----------------------------------------------------------------

def shown(text):
    """The backend's words: short, and without control bytes."""
    text = text.encode()[:1024].decode(errors="ignore").strip(" \t")
    return "".join(" " if ord(c) < 32 or ord(c) == 127 else c for c in text)


def failure(status, code, message, param=None, no_retry=False):
    client = {"status": status, "no_retry": no_retry, "error": {"error": {
        "message": shown(message), "param": param, "code": code,
        "type": "invalid_request_error" if status < 500 else "server_error",
    }}}
    client["retry_after"] = (1 if status in (502, 503) and not no_retry
                             else 0)
    return client


def unfinished():
    """A runner's failure that Ollama hides."""
    return failure(502, "backend_error", UNFINISHED, no_retry=True)


def unwrapped(text):
    """A runner's own error comes as JSON inside Ollama's: (text, type)."""
    try:
        inner = json.loads(text)["error"]
        return inner["message"], inner["type"]
    except (ValueError, KeyError, TypeError):
        return text, None


def said_error(status, text, subject):
    """Ollama's own words, with a status or (500) without one."""
    text, kind = unwrapped(text)
    too_long = (kind == "exceed_context_size_error"
                or "context length" in text
                or "exceeds the available context size" in text)
    if too_long and status in (400, 500):
        return failure(400, "context_length_exceeded", text, subject)
    if status == 404:
        return failure(404, "model_not_found", text, "model")
    if status == 400 or "image input is not supported" in text:
        return failure(400, None, text)
    if status == 501:
        return failure(400, "unsupported_model", text, "model")
    if status == 503:
        return failure(503, "backend_busy", text)
    assert status == 500, status
    return failure(500, "backend_error", text,
                   no_retry="invalid tool call arguments" in text)


def refusal(record, subject):
    status = record["status"]
    if status in (401, 403):
        return failure(502, "backend_auth", "The ollama backend rejected the "
                       "proxy's credentials.", no_retry=True)
    if status == 405:
        return failure(502, "backend_bad_response", "The backend does not "
                       "know Ollama's API; check its base URL.", no_retry=True)
    if status == 204:
        return failure(502, "backend_bad_response", "The backend answered "
                       "with a status that has no use here.", no_retry=True)
    return said_error(status, json.loads(record["body"])["error"], subject)


# -- parts of answers -------------------------------------------------------

def rounded(value):
    """To the digits that 32 bits hold."""
    return float(f"{value:.9g}") if isinstance(value, float) else value


def unix_seconds(created_at):
    seconds = created_at.split(".")[0].rstrip("Z")
    moment = datetime.datetime.fromisoformat(seconds)
    moment = moment.replace(tzinfo=datetime.timezone.utc)
    return int(moment.timestamp())


def usage_of(last):
    prompt = last.get("prompt_eval_count", 0)
    completion = last.get("eval_count", 0)
    return {"prompt_tokens": prompt, "completion_tokens": completion,
            "total_tokens": prompt + completion}


def finish_reason(last, calls):
    reason = last.get("done_reason", "")
    if reason == "length":
        return "length"
    return "tool_calls" if calls and reason in ("stop", "") else "stop"


def chat_logprobs(line):
    def completed(item, top):
        item = {**item, "bytes": item.get("bytes")}
        if top:
            item["top_logprobs"] = [completed(each, False) for each
                                    in item.get("top_logprobs", [])]
        return item

    if not line.get("logprobs"):
        return None
    return {"content": [completed(item, True) for item in line["logprobs"]],
            "refusal": None}


def legacy_logprobs(line, offset):
    """The recorded tokens are all of the text and whole characters."""
    items = line.get("logprobs")
    if not items:
        return None
    offsets = []
    for item in items:
        offsets.append(offset)
        offset += len(item["token"])
    tops = [{top["token"]: top["logprob"]
             for top in item.get("top_logprobs", [])} or None
            for item in items]
    return {"tokens": [item["token"] for item in items],
            "token_logprobs": [item["logprob"] for item in items],
            "top_logprobs": tops, "text_offset": offsets}


def tool_call(call, index=None):
    function = call["function"]
    numbered = {} if index is None else {"index": index}
    return {**numbered, "id": call["id"], "type": "function", "function": {
        "name": function["name"],
        "arguments": json.dumps(function["arguments"], ensure_ascii=False,
                                separators=(",", ":"))}}


# -- answers ----------------------------------------------------------------

class Chat:
    prefix, whole, piece = "chatcmpl-", "chat.completion", \
        "chat.completion.chunk"

    def __init__(self):
        self.calls = 0
        self.first = True

    def choice_of_line(self, delta, logprobs=None, finish=None):
        if self.first:
            delta = {"role": "assistant", "content": "", **delta}
            self.first = False
        return {"index": 0, "delta": delta, "logprobs": logprobs,
                "finish_reason": finish}

    def choices(self, line):
        """Those of the pieces that a streamed line becomes."""
        message = line["message"]
        content = message.get("content", "")
        thinking = message.get("thinking", "")
        calls = [tool_call(call, self.calls + at) for at, call
                 in enumerate(message.get("tool_calls", []))]
        self.calls += len(calls)
        logprobs = chat_logprobs(line)
        rest = {"content": content}
        if calls:
            rest["tool_calls"] = calls
        has_rest = bool(content or calls)
        found = []
        if thinking:
            found.append(self.choice_of_line({"reasoning": thinking},
                                             logprobs))
            logprobs = None
        if has_rest or (not thinking and (logprobs or self.first)):
            found.append(self.choice_of_line(rest, logprobs))
        if line["done"]:
            found.append(self.choice_of_line(
                {}, None, finish_reason(line, self.calls)))
        return found

    @staticmethod
    def whole_choice(line):
        given = line["message"]
        message = {"role": "assistant", "content": given.get("content", "")}
        if given.get("thinking"):
            message["reasoning"] = given["thinking"]
        calls = given.get("tool_calls", [])
        if calls:
            message["tool_calls"] = [tool_call(call) for call in calls]
        return {"index": 0, "message": message,
                "logprobs": chat_logprobs(line),
                "finish_reason": finish_reason(line, calls)}


class Completion:
    prefix, whole, piece = "cmpl-", "text_completion", "text_completion"

    def __init__(self):
        self.size = 0

    def choices(self, line):
        if not (line["response"] or line.get("logprobs") or line["done"]):
            return []
        choice = self.whole_choice(line, self.size)
        self.size += len(line["response"])
        if not line["done"]:
            choice["finish_reason"] = None
        return [choice]

    @staticmethod
    def whole_choice(line, offset=0):
        return {"index": 0, "text": line["response"],
                "logprobs": legacy_logprobs(line, offset),
                "finish_reason": finish_reason(line, False)}


def frame(kind, line, model, stream):
    return {"id": kind.prefix + "ID",
            "object": kind.piece if stream else kind.whole,
            "created": unix_seconds(line["created_at"]), "model": model,
            "system_fingerprint": "fp_ollama"}


def streamed(kind, lines, model, subject):
    """With stream_options.include_usage."""
    events = []
    for line in lines:
        if "error" in line:
            error = said_error(500, line["error"], subject)
            if not events:
                return error
            return {"status": 200, "no_retry": error["no_retry"],
                    "events": events + [error["error"]]}
        if not events:
            head = frame(kind, line, model, True)
        events += [{**head, "choices": [choice]}
                   for choice in kind.choices(line)]
        if line["done"]:
            return {"status": 200, "events": events + [
                {**head, "choices": [], "usage": usage_of(line)}, "[DONE]"]}
    if not events:
        return unfinished()
    return {"status": 200, "no_retry": True,
            "events": events + [unfinished()["error"]]}


def whole(kind, line, model, subject):
    if line is None or not line.get("done") and "error" not in line:
        return unfinished()
    if "error" in line:
        return said_error(500, line["error"], subject)
    return {"status": 200, "json": {
        **frame(kind, line, model, False),
        "choices": [kind.whole_choice(line)], "usage": usage_of(line)}}


def embeddings(reply, model, encoding):
    def encoded(vector):
        if encoding == "base64":
            return base64.b64encode(struct.pack(
                f"<{len(vector)}f", *vector)).decode()
        return [rounded(value) for value in vector]

    # It was not asked for a vector; our requests always do.
    if not reply["embeddings"]:
        return failure(502, "backend_bad_response", "The backend's "
                       "embeddings are not as many as the inputs.")
    tokens = reply.get("prompt_eval_count", 0)
    return {"status": 200, "json": {
        "object": "list", "model": model,
        "data": [{"object": "embedding", "index": index,
                  "embedding": encoded(vector)}
                 for index, vector in enumerate(reply["embeddings"])],
        "usage": {"prompt_tokens": tokens, "total_tokens": tokens}}}


# -- examples ---------------------------------------------------------------

def examples(record):
    """Every way to ask for this answer."""
    path = record["request"]["path"]
    subject = KINDS[path]
    model = "ollama:" + record["name"]
    ok = record["status"] == 200
    example = {"path": path, "status": record["status"],
               "content_type": record["headers"].get("Content-Type", ""),
               "reply": record["body"]}

    def filled(form, asked, sent, client):
        body = {"model": model, **asked}
        upstream = {"model": record["name"], **sent, "truncate": False}
        return {"about": f"{record['name']} {form}", **example,
                "request": body, "upstream": upstream, "client": client}

    if path == "/api/embed":
        count = 1
        if ok:
            count = len(json.loads(record["body"])["embeddings"]) or 1
        for encoding in ("float", "base64"):
            client = (embeddings(json.loads(record["body"]), model, encoding)
                      if ok else refusal(record, subject))
            yield filled(encoding,
                         {"input": ["x"] * count,
                          "encoding_format": encoding},
                         {"input": ["x"] * count}, client)
        return
    kind = Chat if path == "/api/chat" else Completion
    said = ({"messages": [{"role": "user", "content": "hi"}]}
            if kind is Chat else {"prompt": "hi"})
    lines = [json.loads(line) for line in record["body"].split("\n")
             if line] if ok else []
    # The object without a time, nor anything else, never answers these.
    if not lines or not lines[0].get("created_at", "").startswith("0001"):
        yield filled("stream",
                     {**said, "stream": True,
                      "stream_options": {"include_usage": True}},
                     {**said, "stream": True},
                     streamed(kind(), lines, model, subject) if ok
                     else refusal(record, subject))
    # Ollama answers with many lines only to those who asked for a stream.
    if len(lines) <= 1 and not record["body"].endswith("\n"):
        yield filled("whole", said, {**said, "stream": False},
                     whole(kind(), lines[0] if lines else None, model,
                           subject) if ok else refusal(record, subject))


def read(paths):
    for path in paths:
        with open(path, encoding="utf-8") as lines:
            yield from map(json.loads, lines)


def main():
    for record in read(sys.argv[1:]):
        for example in examples(record):
            print(json.dumps(example, separators=(",", ":")))


if __name__ == "__main__":
    main()
