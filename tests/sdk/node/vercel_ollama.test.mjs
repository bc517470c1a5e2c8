// The Vercel AI SDK with tools and structured output, for models of Ollama.
import assert from "node:assert/strict";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import {
  Output, embedMany, generateObject, generateText, isStepCount, streamObject,
  streamText, tool,
} from "ai";
import { z } from "zod";
import {
  BASE_URL, CALLS, LAST_WORD, PNG, TOKEN, checkNativeHistory, ownModel,
  runTool, seen, test,
} from "./helpers.mjs";

const provider = createOpenAICompatible({
  name: "llm-proxy", baseURL: BASE_URL, apiKey: TOKEN, includeUsage: true,
  supportsStructuredOutputs: true,
});
const KINDS = ["native", "parser", "old"];
const MANY = 5;
const prompt = "Weather and time?";
const schema = z.object({
  name: z.string(), age: z.number(), mood: z.enum(["sad", "glad"]),
});
const ADA = { name: "Ada <\u00e9>", age: 0.5, mood: "glad" };

function tools(ran) {
  const make = (name, inputSchema) => tool({
    description: name, inputSchema,
    execute: async (asked) => {
      ran.push([name, asked]);
      return runTool(name, asked);
    },
  });
  return {
    get_weather: make("get_weather",
      z.object({ city: z.string(), days: z.number() })),
    get_time: make("get_time", z.object({})),
  };
}

async function checkSteps(model, steps, text, ran) {
  assert.equal(text, LAST_WORD);
  assert.deepEqual(ran, CALLS);
  assert.deepEqual(steps.map((step) => step.finishReason),
    ["tool-calls", "tool-calls", "stop"]);
  const ids = steps.flatMap((step) => step.toolCalls)
    .map((call) => call.toolCallId);
  checkNativeHistory(await seen(model), ids);
}

test("AI SDK: generateText with tools", async () => {
  for (const kind of KINDS) {
    const model = ownModel(`tools-${kind}`);
    const ran = [];
    const { text, steps } = await generateText({
      model: provider(`ollama:${model}`), prompt, tools: tools(ran),
      stopWhen: isStepCount(MANY),
    });
    await checkSteps(model, steps, text, ran);
  }
});

test("AI SDK: streamText with tools", async () => {
  for (const kind of KINDS) {
    const model = ownModel(`tools-${kind}`);
    const ran = [];
    const result = streamText({
      model: provider(`ollama:${model}`), prompt, tools: tools(ran),
      stopWhen: isStepCount(MANY), onError: ({ error }) => assert.fail(error),
    });
    let text = "";
    for await (const piece of result.textStream) {
      text += piece;
    }
    const said = kind === "native" ? "" : "I will call. ".repeat(2);
    assert.equal(text, said + LAST_WORD);
    await checkSteps(model, await result.steps, await result.text, ran);
  }
});

test("AI SDK: generateObject", async () => {
  const model = ownModel("json");
  const { object } = await generateObject({
    model: provider(`ollama:${model}`), prompt, schema,
  });
  assert.deepEqual(object, ADA);
  const { format } = (await seen(model))[0].body;
  assert.deepEqual(Object.keys(format.properties), Object.keys(schema.shape));
});

test("AI SDK: Output.object", async () => {
  const { output } = await generateText({
    model: provider("ollama:json"), prompt,
    output: Output.object({ schema }),
  });
  assert.deepEqual(output, ADA);
});

test("AI SDK: streamed objects", async () => {
  const model = provider("ollama:json");
  const byObject = streamObject({ model, prompt, schema });
  const byOutput = streamText({
    model, prompt, output: Output.object({ schema }),
  });
  for (const [partial, whole] of [
    [byObject.partialObjectStream, () => byObject.object],
    [byOutput.partialOutputStream, () => byOutput.output],
  ]) {
    const parts = await Array.fromAsync(partial);
    assert.ok(parts.length > 2);
    assert.deepEqual(parts.at(-1), ADA);
    assert.deepEqual(await whole(), ADA);
  }
});

test("AI SDK: reasoning", async () => {
  const { text, reasoningText } = await generateText({
    model: provider("ollama:thinks"), prompt,
  });
  assert.equal(text, "The answer is 4");
  assert.equal(reasoningText, "Let me see <b>");
});

test("AI SDK: images", async () => {
  const { text } = await generateText({
    model: provider("ollama:sees"),
    messages: [{
      role: "user", content: [
        { type: "text", text: "What is it?" },
        { type: "file", data: PNG, mediaType: "image/png" },
      ],
    }],
  });
  assert.equal(text, "I see 1: png of 68 bytes");
});

test("AI SDK: embedMany of Ollama", async () => {
  const model = ownModel("vectors");
  const { embeddings, usage } = await embedMany({
    model: provider.embeddingModel(`ollama:${model}`),
    values: ["fox", "dog"],
  });
  assert.equal(usage.tokens, 2);
  assert.deepEqual(embeddings.map((one) => one.length), [8, 8]);
  assert.notDeepEqual(embeddings[0], embeddings[1]);
  assert.deepEqual((await seen(model)).map((one) => one.body.input),
    [["fox", "dog"]]);
});
