// The Vercel AI SDK: its decoder reads past [DONE], demands a finish reason
// and takes reasoning and errors from fields of its own choice.
import assert from "node:assert/strict";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { embedMany, generateText, streamText } from "ai";
import { BASE_URL, TEXT, TOKEN, both, ownModel } from "./helpers.mjs";

const provider = createOpenAICompatible({
  name: "llm-proxy", baseURL: BASE_URL, apiKey: TOKEN, includeUsage: true,
});

both("AI SDK: generateText", async (backend) => {
  const { text, finishReason } = await generateText({
    model: provider(`${backend}:demo`), prompt: "Hello!",
  });
  assert.equal(text, TEXT);
  assert.equal(finishReason, "stop");
});

both("AI SDK: streamText", async (backend) => {
  const result = streamText({
    model: provider(`${backend}:demo`), prompt: "Hello!",
  });
  let pieces = 0;
  let text = "";
  for await (const piece of result.textStream) {
    pieces += 1;
    text += piece;
  }
  assert.equal(text, TEXT);
  assert.ok(pieces > 1);
  assert.equal(await result.finishReason, "stop");
  assert.equal((await result.usage).outputTokens, 5);
});

both("AI SDK: embedMany", async (backend) => {
  const { embeddings } = await embedMany({
    model: provider.embeddingModel(`${backend}:demo`),
    values: ["a", "b"],
  });
  assert.deepEqual(embeddings, [[0.5, -1, 2], [0.5, -1, 2]]);
});

// The error event comes to onError; the missing last chunk makes the stream
// throw as well, whichever is first.
both("AI SDK: an error in mid-stream", async (backend) => {
  const errors = [];
  const onError = ({ error }) => errors.push(error);
  const result = streamText({
    model: provider(`${backend}:${ownModel("fails")}`), prompt: "Hello!",
    onError,
  });
  let text = "";
  try {
    for await (const piece of result.textStream) {
      text += piece;
    }
  } catch (error) {
    onError({ error });
  }
  assert.equal(text, "Hello");
  assert.notEqual(errors.length, 0);
});
