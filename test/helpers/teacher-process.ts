// A process that serves an OpenAI-compatible API on loopback and misbehaves when it is told to. Texts and logprobs come
// from a model of the repository, or texts by a rule from the request alone, so that any server gives the same ones.
// Arguments: a port (0: any), and a model's folder or "rule".

import { createHash } from "node:crypto";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import type { Model } from "../../src/generate/index.ts";

/** What is done to the next `times` requests of the API, in place of a right answer. */
export interface Fault {
  readonly kind:
    | "cut"
    | "status"
    | "slow"
    | "hang"
    | "garbage"
    | "bare"
    | "redirect"
    | "wrong-ids"
    | "texts"
    | "echo";
  readonly times: number;
  readonly status?: number;
  readonly headers?: Record<string, string>;
  readonly ms?: number;
  /** Of an answer of this status; the key that came is put in place of KEY. */
  readonly body?: string;
}

export interface Seen {
  readonly path: string;
  readonly authorization: string | undefined;
  readonly body: { readonly [name: string]: unknown };
  readonly fault: string | undefined;
  readonly at: number;
}

/** What a request may have in it; tests send nothing else. */
interface Body {
  readonly prompt?: string | number[];
  readonly messages: { readonly content: string }[];
  readonly max_tokens: number;
  readonly temperature?: number;
  readonly seed?: number;
  readonly stop?: string[];
  readonly echo?: boolean;
  readonly logprobs?: number;
  readonly prompt_logprobs?: number;
}

const [port, what] = process.argv.slice(2);
const model: Model | undefined =
  what === "rule"
    ? undefined
    : await (await import("./generate/" + "index.js")).loadModel(what, { threads: 1, sequences: 8 });
const seen: Seen[] = [];
let faults: { fault: Fault; left: number }[] = [];
let most = 0;
let running = 0;

const server = createServer((request, response) => {
  void answer(request, response).catch((error: unknown) => {
    if (!response.headersSent) response.writeHead(500);
    response.end(JSON.stringify({ error: { message: String(error) } }));
  });
});
server.listen(Number(port), "127.0.0.1", () => {
  process.stdout.write(`${(server.address() as AddressInfo).port}\n`);
});

async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const parts: Buffer[] = [];
  for await (const part of request) parts.push(part as Buffer);
  const body = parts.length > 0 ? JSON.parse(Buffer.concat(parts).toString("utf8")) : {};
  const path = request.url!;
  if (path === "/control") {
    if (request.method === "POST") faults = (body as Fault[]).map((fault) => ({ fault, left: fault.times }));
    return void response.end(JSON.stringify({ seen, most }));
  }
  const { authorization } = request.headers;
  const next = path === "/v1/models" ? undefined : faults.find(({ left }) => left > 0);
  if (next) next.left--;
  const fault = next?.fault;
  seen.push({ path, authorization, body, fault: fault?.kind, at: Date.now() });
  most = Math.max(most, ++running);
  try {
    if (fault?.kind === "hang") return;
    if (fault?.kind === "slow") await new Promise((done) => setTimeout(done, fault.ms));
    if (fault?.kind === "redirect")
      return void response.writeHead(307, { location: fault.body! }).end("elsewhere");
    if (fault?.kind === "status")
      return void response
        .writeHead(fault.status!, { "content-type": "application/json", ...fault.headers })
        .end((fault.body ?? "{}").replace("KEY", authorization ?? ""));
    if (fault?.kind === "garbage") return void response.end('<html>{"choices": not here</html>');
    const right = await rightAnswer(path, body, fault?.kind);
    if (!right) return void response.writeHead(404).end('{"error": {"message": "no such path"}}');
    const text = JSON.stringify(right);
    response.writeHead(200, {
      "content-type": "application/json",
      "content-length": String(Buffer.byteLength(text)),
    });
    if (fault?.kind !== "cut") return void response.end(text);
    response.write(text.slice(0, text.length / 2), () => setTimeout(() => response.destroy(), 5));
  } finally {
    running--;
  }
}

async function rightAnswer(path: string, body: Body, fault: string | undefined) {
  if (path === "/v1/models")
    return { object: "list", data: [{ id: model?.name ?? "rule", object: "model" }] };
  if (path !== "/v1/completions" && path !== "/v1/chat/completions") return undefined;
  const chat = path === "/v1/chat/completions";
  const prompt: string | number[] = chat ? body.messages.at(-1)!.content : body.prompt!;
  if (body.echo) return scored(prompt as number[], body, fault);
  const { text, finish_reason, tokens } = model ? await byModel(prompt, body) : byRule(prompt, body);
  const choice = chat ? { message: { role: "assistant", content: text } } : { text };
  const length = typeof prompt === "string" ? Math.ceil(prompt.length / 4) : prompt.length;
  return {
    object: chat ? "chat.completion" : "text_completion",
    choices: [{ index: 0, ...choice, finish_reason }],
    usage: { prompt_tokens: length, completion_tokens: tokens, total_tokens: length + tokens },
  };
}

async function byModel(prompt: string | number[], body: Body) {
  const { text, finishReason, usage } = await model!.generate(prompt, {
    maxTokens: body.max_tokens,
    temperature: body.temperature ?? 1,
    ...(body.seed !== undefined && { seed: body.seed }),
    ...(body.stop && { stop: body.stop }),
  });
  return { text, finish_reason: finishReason, tokens: usage.completionTokens };
}

/** Requests for places, and answers as JSON about them, of which some are prose. */
function byRule(prompt: string | number[], body: Body) {
  const hash = createHash("sha256")
    .update(JSON.stringify([prompt, body.seed]))
    .digest();
  const word = (i: number) =>
    Array.from(
      { length: 3 },
      (_, j) => "ba be bi bo bu da de di do du ka ke ki ko ku ma".split(" ")[hash[i * 3 + j]! % 16],
    ).join("");
  const asked = /request/i.test(String(prompt));
  const json = JSON.stringify({ place: word(0), guests: hash[20]! % 9 });
  const text = asked
    ? `Book a table at ${word(0)} ${word(1)} near ${word(2)} for ${(hash[20]! % 9) + 1}`
    : hash[21]! % 4 === 0
      ? `Certainly, ${word(0)} it is`
      : hash[21]! % 4 === 1
        ? JSON.stringify({ place: word(0), guests: "many" })
        : json;
  return {
    text,
    finish_reason: hash[22]! % 16 === 0 ? "length" : "stop",
    tokens: Math.ceil(text.length / 4),
  };
}

/** Log-softmax of every position of the prompt: the k likeliest and the token itself, under their ids. */
async function scored(ids: number[], body: Body, fault: string | undefined) {
  const { vocab_size } = model!.config;
  const logits = await model!.logits(ids);
  const k: number = (body.prompt_logprobs ?? body.logprobs)!;
  const rows = ids.map((id, i) => {
    if (i === 0) return null;
    const row = logits.subarray((i - 1) * vocab_size, i * vocab_size);
    const top = row.reduce((a, b) => Math.max(a, b), -Infinity);
    const sum = top + Math.log(row.reduce((a, b) => a + Math.exp(b - top), 0));
    const order = Array.from(row.keys()).sort((a, b) => row[b]! - row[a]!);
    const named = new Set([fault === "wrong-ids" ? (id + 7) % vocab_size : id, ...order.slice(0, k)]);
    if (fault === "wrong-ids") named.delete(id);
    const spell = (token: number) => (fault === "texts" ? "other" : model!.tokenizer.decode([token]));
    return Object.fromEntries(
      [...named].map((token) => [
        String(token),
        { logprob: row[token]! - sum, rank: order.indexOf(token) + 1, decoded_token: spell(token) },
      ]),
    );
  });
  const choice = { index: 0, text: "", finish_reason: "length" };
  const byId = (token: number | string) => `token_id:${token}`;
  const logprobs = {
    tokens: ids.map(byId),
    token_logprobs: rows.map((row, i) => row?.[String(ids[i])]?.logprob ?? null),
    top_logprobs: rows.map(
      (row) => row && Object.fromEntries(Object.entries(row).map(([id, { logprob }]) => [byId(id), logprob])),
    ),
  };
  const usage = { prompt_tokens: ids.length, completion_tokens: 0, total_tokens: ids.length };
  return {
    object: "text_completion",
    choices: [
      fault === "bare"
        ? { ...choice, logprobs: null }
        : fault === "echo"
          ? { ...choice, logprobs }
          : { ...choice, prompt_logprobs: rows },
    ],
    usage,
  };
}
