// The official OpenAI Node SDK, unmodified, against the real daemon.
import assert from "node:assert/strict";
import OpenAI from "openai";
import {
  HELLO, TEXT, advance, arrived, both, client, countedFetch, isStraight, left,
  ownModel, seen, test, textOf,
} from "./helpers.mjs";

const WAIT_SLACK_MS = 100;

both("chat", async (backend) => {
  const answer = await client().chat.completions.create({
    model: `${backend}:demo`, messages: HELLO,
  });
  assert.equal(answer.model, backend === "ollama" ? "ollama:demo" : "demo");
  assert.equal(answer.choices[0].message.content, TEXT);
  assert.equal(answer.choices[0].finish_reason, "stop");
  assert.equal(answer.usage.total_tokens, 12);
});

both("stream", async (backend) => {
  const stream = await client().chat.completions.create({
    model: `${backend}:demo`, messages: HELLO, stream: true,
  });
  const chunks = await Array.fromAsync(stream);
  assert.equal(await textOf(chunks), TEXT);
  assert.equal(chunks[0].choices[0].delta.role, "assistant");
  assert.equal(chunks.at(-1).choices[0].finish_reason, "stop");
  assert.equal(new Set(chunks.map((chunk) => chunk.id)).size, 1);
});

both("stream with usage", async (backend) => {
  const stream = await client().chat.completions.create({
    model: `${backend}:demo`, messages: HELLO, stream: true,
    stream_options: { include_usage: true },
  });
  const chunks = await Array.fromAsync(stream);
  assert.equal(await textOf(chunks), TEXT);
  assert.deepEqual(chunks.at(-1).choices, []);
  assert.equal(chunks.at(-1).usage.completion_tokens, 5);
});

both("stream helper", async (backend) => {
  const runner = client().chat.completions.stream({
    model: `${backend}:demo`, messages: HELLO,
  });
  const final = await runner.finalChatCompletion();
  assert.equal(final.choices[0].message.content, TEXT);
});

both("response headers", async (backend) => {
  for (const stream of [false, true]) {
    const { data, response, request_id } = await client().chat.completions
      .create({ model: `${backend}:demo`, messages: HELLO, stream },
        { headers: { "X-Request-Id": "from-the-client-2" } })
      .withResponse();
    const limit = Number(response.headers.get("x-ratelimit-limit-requests"));
    const rest = Number(
      response.headers.get("x-ratelimit-remaining-requests"));
    assert.equal(request_id, "from-the-client-2");
    assert.equal(limit, 100_000);
    assert.ok(rest >= 0 && rest < limit);
    assert.match(response.headers.get("x-ratelimit-reset-requests"), /^\d/);
    assert.equal(
      stream ? await textOf(data) : data.choices[0].message.content, TEXT);
  }
});

test("a model without a prefix goes to the default backend", async () => {
  const model = ownModel("demo");
  await client().chat.completions.create({ model, messages: HELLO });
  assert.deepEqual((await seen(model)).map((request) => request.path),
    ["/api/chat"]);
});

both("503 is retried", async (backend) => {
  const model = ownModel("busy-1");
  const tries = countedFetch();
  const answer = await client(undefined, { fetch: tries.fetch })
    .chat.completions.create({
      model: `${backend}:${model}`, messages: HELLO,
    });
  assert.equal(answer.choices[0].message.content, TEXT);
  assert.deepEqual(tries.statuses, [503, 200]);
  assert.equal((await seen(model)).length, 2);
});

both("429 waits as told", async (backend) => {
  const tries = countedFetch();
  const minute = client(`node-minute-${backend}`, { fetch: tries.fetch });
  const ask = { model: `${backend}:demo`, messages: HELLO };
  await minute.chat.completions.create(ask);
  advance(58_000);

  const error = await minute.chat.completions.create(ask, { maxRetries: 0 })
    .then(assert.fail, (caught) => caught);
  const denied = performance.now();
  assert.equal(error.constructor, OpenAI.RateLimitError);
  assert.equal(error.code, "rate_limit_exceeded");
  const wait = Number(error.headers.get("retry-after-ms"));
  assert.ok(wait > 0 && wait <= 2000);

  await minute.chat.completions.create(ask);
  assert.ok(performance.now() - denied > wait - WAIT_SLACK_MS);
  assert.deepEqual(tries.statuses, [200, 429, 429, 200]);
});

test("429 of a day is not retried", async () => {
  const tries = countedFetch();
  const day = client("node-day", { fetch: tries.fetch });
  const ask = { model: "vllm:demo", messages: HELLO };
  await day.chat.completions.create(ask);
  await assert.rejects(day.chat.completions.create(ask),
    OpenAI.RateLimitError);
  assert.deepEqual(tries.statuses, [200, 429]);
});

both("timeout", async (backend) => {
  for (const stream of [false, true]) {
    const model = ownModel("silent");
    await assert.rejects(client().chat.completions.create(
      { model: `${backend}:${model}`, messages: HELLO, stream },
      { timeout: 500, maxRetries: 0 }), OpenAI.APIConnectionTimeoutError);
    await left(model);
  }
});

both("abort in mid-stream", async (backend) => {
  const model = ownModel("endless");
  const stream = await client().chat.completions.create({
    model: `${backend}:${model}`, messages: HELLO, stream: true,
  });
  let pieces = 0;
  for await (const chunk of stream) {
    assert.ok(chunk.choices[0]);
    if (++pieces === 5) {
      break;
    }
  }
  await left(model);
});

both("abort by a signal before the answer", async (backend) => {
  const model = ownModel("silent");
  const controller = new AbortController();
  const answer = client().chat.completions.create(
    { model: `${backend}:${model}`, messages: HELLO },
    { signal: controller.signal });
  const refused = assert.rejects(answer, OpenAI.APIUserAbortError);
  await arrived(model);
  controller.abort();
  await refused;
  await left(model);
});

both("50 at once", async (backend) => {
  const openai = client();
  const ask = async (number) => {
    const stream = number % 2 === 0;
    const answer = await openai.chat.completions.create({
      model: `${backend}:demo`, messages: HELLO, stream,
    });
    return stream ? textOf(answer) : answer.choices[0].message.content;
  };
  const texts = await Promise.all(
    Array.from({ length: 50 }, (_, number) => ask(number)));
  assert.deepEqual(texts, Array(50).fill(TEXT));
});

async function failure(token, request) {
  const error = await client(token, { maxRetries: 0 })
    .chat.completions.create(request).then(assert.fail, (caught) => caught);
  assert.ok(error.requestID, String(error));
  return [error.constructor, error.status, error.code];
}

test("errors of tokens and requests", async () => {
  const ask = { model: "vllm:demo", messages: HELLO };
  assert.deepEqual(await failure("nobody-has-this", ask),
    [OpenAI.AuthenticationError, 401, "invalid_api_key"]);
  assert.deepEqual(await failure("disabled", ask),
    [OpenAI.PermissionDeniedError, 403, "insufficient_permissions"]);
  assert.deepEqual(
    await failure("only-vllm", { ...ask, model: "ollama:demo" }),
    [OpenAI.NotFoundError, 404, "model_not_found"]);
  const large = [{ role: "user", content: "x".repeat(300_000) }];
  assert.deepEqual(await failure(undefined, { ...ask, messages: large }),
    [OpenAI.APIError, 413, "request_too_large"]);
});

both("errors of the backend", async (backend) => {
  for (const [mood, ...expected] of [
    ["bad", OpenAI.BadRequestError, 400, null],
    ["missing", OpenAI.NotFoundError, 404, "model_not_found"],
    ["busy-9", OpenAI.InternalServerError, 503, "backend_busy"],
    ["broken", OpenAI.InternalServerError, 500, "backend_error"],
  ]) {
    if (isStraight(backend)) {
      expected[2] = expected[1]; // vLLM's own code
    }
    for (const stream of [false, true]) {
      const model = `${backend}:${ownModel(mood)}`;
      assert.deepEqual(
        await failure(undefined, { model, messages: HELLO, stream }),
        expected);
    }
  }
});

both("errors in mid-stream", async (backend) => {
  for (const mood of ["fails", "breaks"]) {
    const stream = await client().chat.completions.create({
      model: `${backend}:${ownModel(mood)}`, messages: HELLO, stream: true,
    });
    let text = "";
    const read = async () => {
      for await (const chunk of stream) {
        text += chunk.choices[0]?.delta?.content ?? "";
      }
    };
    await assert.rejects(read, (error) => {
      if (isStraight(backend)) {
        return true; // what breaks off is no event, but seen all the same
      }
      assert.ok(error instanceof OpenAI.APIError, String(error));
      assert.ok(error.code === null || typeof error.code === "string");
      return true;
    });
    assert.equal(text, "Hello");
  }
});

test("models", async () => {
  const models = await Array.fromAsync(client().models.list());
  assert.deepEqual(models.map((model) => model.id).sort(),
    ["ollama:demo", "vllm:demo"]);
  const model = await client().models.retrieve("ollama:demo");
  assert.equal(model.id, "ollama:demo");
  assert.deepEqual(model.capabilities, ["completion", "tools"]);
});

both("completions", async (backend) => {
  const ask = { model: `${backend}:demo`, prompt: "Hello!" };
  const answer = await client().completions.create(ask);
  assert.equal(answer.choices[0].text, TEXT);
  let text = "";
  const stream = await client().completions.create({ ...ask, stream: true });
  for await (const piece of stream) {
    text += piece.choices[0].text;
  }
  assert.equal(text, TEXT);
});

both("embeddings", async (backend) => {
  // Without encoding_format the SDK asks for base64.
  for (const encoding_format of [undefined, "float", "base64"]) {
    const answer = await client().embeddings.create({
      model: `${backend}:demo`, input: ["a", "b"], encoding_format,
    });
    assert.equal(answer.data.length, 2);
    for (const item of answer.data) {
      const vector = encoding_format === "base64"
        ? new Float32Array(Uint8Array.from(
          Buffer.from(item.embedding, "base64")).buffer)
        : item.embedding;
      assert.deepEqual(Array.from(vector), [0.5, -1, 2]);
    }
  }
});
