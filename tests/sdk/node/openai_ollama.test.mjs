// The official OpenAI Node SDK with all that Ollama's native API can do; what
// the models do is in ollama_models.py.
import assert from "node:assert/strict";
import OpenAI from "openai";
import { zodFunction, zodResponseFormat } from "openai/helpers/zod";
import { z } from "zod";
import {
  ASK, CALLS, HELLO, LAST_WORD, PNG, TEXT, checkNativeHistory, client,
  ownModel, runTool, seen, test, throughFloat32,
} from "./helpers.mjs";

const IDS = {
  native: /^[a-z0-9]{32}$/, parser: /^call_[a-z0-9]{8}$/,
  old: /^call_[0-9a-f]{24}$/,
};

const Person = z.object({
  name: z.string(),
  age: z.number().int(),
  mood: z.enum(["sad", "glad"]),
  towns: z.array(z.object({ name: z.string(), people: z.number() })),
  nick: z.string().nullable(),
});
const ADA = {
  name: "Ada <\u00e9>", age: 36, mood: "glad", nick: "Ada <\u00e9>",
  towns: [{ name: "Ada <\u00e9>", people: 0.5 },
    { name: "Ada <\u00e9>", people: 0.5 }],
};

function tools(ran = []) {
  const tool = (name, parameters) => zodFunction({
    name, parameters,
    function: (asked) => {
      ran.push([name, asked]);
      return runTool(name, asked);
    },
  });
  return [
    tool("get_weather", z.object({ city: z.string(), days: z.number() })),
    tool("get_time", z.object({})),
  ];
}

function checkRunner(runner, ran, kind) {
  assert.deepEqual(ran, CALLS);
  const ids = runner.messages.flatMap((message) => message.tool_calls ?? [])
    .map((call) => call.id);
  assert.equal(new Set(ids).size, 3);
  for (const id of ids) {
    assert.match(id, IDS[kind]);
  }
  return ids;
}

test("runTools", async () => {
  for (const kind of ["native", "parser", "old"]) {
    for (const stream of [false, true]) {
      const model = ownModel(`tools-${kind}`);
      const ran = [];
      const runner = client().chat.completions.runTools({
        model: `ollama:${model}`, messages: ASK, stream, tools: tools(ran),
      });
      assert.equal(await runner.finalContent(), LAST_WORD);
      checkNativeHistory(await seen(model), checkRunner(runner, ran, kind));
    }
  }
});

test("stream helper with tool calls", async () => {
  for (const kind of ["native", "parser", "old"]) {
    const runner = client().chat.completions.stream({
      model: `ollama:${ownModel(`tools-${kind}`)}`, messages: ASK,
      tools: tools(), stream_options: { include_usage: true },
    });
    const done = [];
    runner.on("tool_calls.function.arguments.done",
      (event) => done.push([event.index, event.name,
        event.parsed_arguments]));
    const final = await runner.finalChatCompletion();
    const first = CALLS.slice(0, 2);
    assert.deepEqual(done, first.map((call, index) => [index, ...call]));
    const [choice] = final.choices;
    assert.equal(choice.finish_reason, "tool_calls");
    assert.deepEqual(choice.message.tool_calls.map((call) =>
      [call.function.name, JSON.parse(call.function.arguments)]), first);
    assert.equal(final.usage.prompt_tokens, 7);
  }
});

test("parsed tool calls", async () => {
  const answer = await client().chat.completions.parse({
    model: `ollama:${ownModel("tools-native")}`, messages: ASK,
    tools: tools(),
  });
  assert.deepEqual(answer.choices[0].message.tool_calls.map((call) =>
    [call.function.name, call.function.parsed_arguments]),
  CALLS.slice(0, 2));
});

test("parse with zod", async () => {
  const model = ownModel("json");
  const answer = await client().chat.completions.parse({
    model: `ollama:${model}`, messages: ASK,
    response_format: zodResponseFormat(Person, "person"),
  });
  assert.deepEqual(answer.choices[0].message.parsed, ADA);
  const { format } = (await seen(model))[0].body;
  assert.deepEqual(Object.keys(format.properties), Object.keys(Person.shape));
});

test("stream helper with zod", async () => {
  const runner = client().chat.completions.stream({
    model: `ollama:${ownModel("json")}`, messages: ASK,
    response_format: zodResponseFormat(Person, "person"),
  });
  let deltas = 0;
  runner.on("content.delta", () => (deltas += 1));
  const final = await runner.finalChatCompletion();
  assert.deepEqual(final.choices[0].message.parsed, ADA);
  assert.ok(deltas > 5);
});

const picture = (url) => [{
  role: "user", content: [
    { type: "text", text: "What is it?" },
    { type: "image_url", image_url: { url, detail: "low" } },
  ],
}];

test("images", async () => {
  const model = ownModel("sees");
  const answer = await client().chat.completions.create({
    model: `ollama:${model}`,
    messages: picture(`data:image/png;base64,${PNG}`),
  });
  assert.equal(answer.choices[0].message.content,
    "I see 1: png of 68 bytes");
  assert.deepEqual((await seen(model))[0].body.messages,
    [{ role: "user", content: "What is it?", images: [PNG] }]);
});

async function refused(request) {
  const error = await client().chat.completions.create(
    { messages: ASK, ...request }).then(assert.fail, (caught) => caught);
  assert.equal(error.constructor, OpenAI.BadRequestError);
  return error;
}

test("what cannot work is refused", async () => {
  const model = ownModel("sees");
  const ask = { model: `ollama:${model}` };
  const remote = await refused(
    { ...ask, messages: picture("https://x.example/cat.png") });
  assert.equal(remote.param, "messages[0].content[1]");
  for (const [param, value] of [
    ["n", 2], ["logit_bias", { 50256: -100 }],
    ["functions", [{ name: "f" }]],
  ]) {
    const error = await refused({ ...ask, [param]: value });
    assert.deepEqual([error.param, error.code],
      [param, "unsupported_parameter"]);
  }
  assert.deepEqual(await seen(model), []);
});

test("reasoning", async () => {
  const model = ownModel("thinks");
  const ask = { model: `ollama:${model}`, messages: ASK };
  const { message } = (await client().chat.completions.create(
    { ...ask, reasoning_effort: "high" })).choices[0];
  assert.equal(message.reasoning, "Let me see <b>");
  assert.equal(message.content, "The answer is 4");
  let reasoning = "";
  const stream = await client().chat.completions.create(
    { ...ask, stream: true, messages: [...ASK, message, ...HELLO] });
  for await (const chunk of stream) {
    reasoning += chunk.choices[0].delta.reasoning ?? "";
  }
  assert.equal(reasoning, message.reasoning);
  const [first, second] = await seen(model);
  assert.equal(first.body.think, "high");
  assert.equal(second.body.messages[1].thinking, message.reasoning);
});

test("logprobs", async () => {
  const ask = {
    model: "ollama:words", messages: ASK, logprobs: true, top_logprobs: 2,
  };
  const answer = await client().chat.completions.create(ask);
  const runner = client().chat.completions.stream(ask);
  for (const { choices } of [answer, await runner.finalChatCompletion()]) {
    const { content } = choices[0].logprobs;
    assert.equal(content.map((one) => one.token).join(""), TEXT);
    assert.deepEqual(content[0].top_logprobs.map((one) => one.token),
      ["Hello", "{"]);
    assert.equal(Buffer.from(content[0].bytes).toString(), "Hello");
  }
});

test("completions with suffix, echo and several prompts", async () => {
  const filled = await client().completions.create({
    model: "ollama:inserts", prompt: "def add(a, b):\n", suffix: "\n\n",
  });
  assert.equal(filled.choices[0].text, "    return a + b");
  const ask = { model: "ollama:repeats", prompt: ["one", "two"], echo: true };
  const wanted = ["oneYou said: one", "twoYou said: two"];
  const answer = await client().completions.create(ask);
  assert.deepEqual(answer.choices.map((choice) => choice.text), wanted);
  const texts = ["", ""];
  const stream = await client().completions.create({ ...ask, stream: true });
  for await (const { choices: [choice] } of stream) {
    texts[choice.index] += choice.text;
  }
  assert.deepEqual(texts, wanted);
});

test("embeddings of Ollama", async () => {
  const model = ownModel("vectors");
  const ask = { model: `ollama:${model}`, input: ["fox", "dog", ""] };
  const floats = await client().embeddings.create(
    { ...ask, encoding_format: "float" });
  // By itself the SDK asks for base64, and decodes it.
  const decoded = await client().embeddings.create(ask);
  const short = await client().embeddings.create({ ...ask, dimensions: 3 });
  assert.deepEqual(
    decoded.data.map((item) => Array.from(item.embedding)),
    floats.data.map((item) => throughFloat32(item.embedding)));
  for (const { embedding } of [...decoded.data, ...short.data]) {
    const norm = Math.hypot(...embedding);
    assert.ok(Math.abs(norm - 1) < 1e-6, String(norm));
  }
  assert.deepEqual(decoded.data.map((item) => item.embedding.length),
    [8, 8, 8]);
  assert.deepEqual(short.data.map((item) => item.embedding.length),
    [3, 3, 3]);
  assert.equal(decoded.usage.prompt_tokens, 2);
  assert.deepEqual((await seen(model)).map((one) => one.body.input.length),
    [3, 3, 3]);
});
