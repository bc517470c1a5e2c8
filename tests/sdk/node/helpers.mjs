// What the Node tests share. test_node_sdk.py sets the environment: the
// proxy's address, the backend's, and the file that moves the proxy's clock.
import assert from "node:assert/strict";
import { readFileSync, renameSync, writeFileSync } from "node:fs";
import { randomUUID } from "node:crypto";
import { test as nodeTest } from "node:test";
import OpenAI from "openai";

const { PROXY_URL, MOODS_URL, CLOCK_FILE } = process.env;
export const BASE_URL = `${PROXY_URL}/v1`;
export const TOKEN = "demo-key-123";
export const TEXT = "Hello from the backend.";
export const HELLO = [{ role: "user", content: "Hello!" }];
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
