// What the Node tests share. test_node_sdk.py sets the environment: the
// proxy's address, the backend's, and the file that moves the proxy's clock.
import assert from "node:assert/strict";
import { readFileSync, renameSync, writeFileSync } from "node:fs";
import { randomUUID } from "node:crypto";
import { test as nodeTest } from "node:test";
import OpenAI from "openai";

const { PROXY_URL, MOODS_URL, CLOCK_FILE, STRAIGHT } = process.env;
export const BASE_URL = `${PROXY_URL}/v1`;
export const TOKEN = "demo-key-123";
export const TEXT = "Hello from the backend.";
export const HELLO = [{ role: "user", content: "Hello!" }];
export const ASK = [{ role: "user", content: "Weather and time?" }];
export const PNG = Buffer.concat([
  Buffer.from("\x89PNG\r\n\x1a\n", "latin1"), Buffer.alloc(60),
]).toString("base64");
// What the models of ollama_models.py call, in two rounds of two and one.
export const CALLS = [
  ["get_weather", { city: "Oslo <&> \u00e9\u2028", days: 3 }],
  ["get_weather", { city: "Bergen", days: 1 }],
  ["get_time", {}],
];
// Whether the answer is the backend's own, past the daemon.
export const isStraight = (backend) => backend === STRAIGHT;
const TEST_MS = 60_000;
const SOON_MS = 10_000;

// Names are read by test_node_sdk.py as well: keep the name on the line of
// the call.
export function test(name, run) {
  nodeTest(name, { timeout: TEST_MS }, run);
}

export function both(name, run) {
  for (const backend of ["ollama", "vllm"]) {
    test(`${name} [${backend}]`, () => run(backend));
  }
}

export function client(token = TOKEN, options = {}) {
  return new OpenAI({ baseURL: BASE_URL, apiKey: token, ...options });
}

// A model name that only this test uses, see moods.py.
export function ownModel(mood) {
  return `${mood}-${randomUUID()}`;
}

export async function seen(model) {
  const answer = await fetch(`${MOODS_URL}/_seen/${model}`);
  return answer.json();
}

// Resolves when `holds` is true of the first request for that model.
async function first(model, holds, sentence) {
  const deadline = Date.now() + SOON_MS;
  for (;;) {
    const [request] = await seen(model);
    if (request && holds(request)) {
      return;
    }
    assert.ok(Date.now() < deadline, sentence);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

export const arrived = (model) =>
  first(model, () => true, "nothing reached the backend");

export const left = (model) =>
  first(model, (request) => request.left, "the backend was not freed");

// Moves the proxy's clock on. It must never read half a file: time would go
// backwards.
export function advance(ms) {
  const next = `${CLOCK_FILE}.next`;
  writeFileSync(next, `${Number(readFileSync(CLOCK_FILE, "utf8")) + ms}\n`);
  renameSync(next, CLOCK_FILE);
}

export function runTool(name, asked) {
  return name === "get_time" ? "noon" : `${asked.city} ${asked.days}`;
}

// What they say when they have all results.
export const LAST_WORD = CALLS
  .map(([name, asked]) => `${name}=${runTool(name, asked)}`).join("; ");

// The third request of such a loop as it reached Ollama: arguments are
// objects, results have the names and ids of their calls.
export function checkNativeHistory(requests, ids) {
  assert.deepEqual(requests.map((request) => request.path),
    Array(3).fill("/api/chat"));
  const { messages } = requests[2].body;
  assert.deepEqual(
    messages.flatMap((message) => message.tool_calls ?? []).map((call) =>
      [call.function.name, call.function.arguments, call.function.index,
        call.id]),
    CALLS.map((call, i) => [...call, [0, 1, 0][i], ids[i]]));
  assert.deepEqual(
    messages.filter((message) => message.role === "tool").map((message) =>
      [message.tool_name, message.tool_call_id]),
    CALLS.map(([name], i) => [name, ids[i]]));
}

export const throughFloat32 = (vector) => Array.from(Float32Array.from(vector));

export async function textOf(stream) {
  let text = "";
  for await (const chunk of stream) {
    text += chunk.choices[0]?.delta?.content ?? "";
  }
  return text;
}

// A fetch that notes the status of each try the SDK makes.
export function countedFetch() {
  const statuses = [];
  const counted = async (...request) => {
    const answer = await fetch(...request);
    statuses.push(answer.status);
    return answer;
  };
  return { statuses, fetch: counted };
}
