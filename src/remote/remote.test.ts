// Endpoints that are processes of their own, over HTTP, and misbehave when they are told to.

import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { type AddressInfo, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { buildTeacher, TeacherServer } from "../../test/helpers/teacher-server.ts";
import { modelOf, writeText } from "./endpoint.ts";
import { type EndpointOptions, EndpointPool } from "./pool.ts";

const quick: EndpointOptions = { backoffMs: 10, timeoutMs: 10_000, model: "rule" };
let dir: string;
let a: TeacherServer;
let b: TeacherServer;

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), "pith-remote-"));
  await buildTeacher(dir, false);
  [a, b] = await Promise.all([TeacherServer.start(dir), TeacherServer.start(dir)]);
}, 30_000);
beforeEach(async () => {
  await Promise.all([a.misbehave(), b.misbehave()]);
});
afterAll(async () => {
  await Promise.all([a.kill(), b.kill()]);
  await rm(dir, { recursive: true, force: true });
});

const ask = (pool: EndpointPool, i: number, signal?: AbortSignal) =>
  writeText(pool, "rule", { prompt: `request ${i}`, maxTokens: 50, seed: i }, signal);
/** A port that nobody listens on. */
async function closedPort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, "close");
  return port;
}
const all = (pool: EndpointPool, n: number, from = 0) =>
  Promise.all(Array.from({ length: n }, (_, i) => ask(pool, from + i)));

test("every fault that may pass is tried again, and every request is answered once", async () => {
  const pool = new EndpointPool([a.url], { ...quick, concurrency: 4 });
  const right = (await all(pool, 12)).map(({ text }) => text);
  expect(new Set(right).size).toBe(12);
  await a.misbehave(
    { kind: "cut", times: 2 },
    { kind: "garbage", times: 1 },
    { kind: "status", status: 500, times: 2, body: '{"error": {"message": "engine died"}}' },
    { kind: "status", status: 429, times: 1, headers: { "retry-after": "0.2" } },
    { kind: "slow", ms: 50, times: 4 },
  );
  expect((await all(pool, 12)).map(({ text }) => text)).toEqual(right);
  const [usage] = pool.usage;
  expect(usage).toMatchObject({ host: a.host, answered: 24, failed: 6 });
  expect(usage!.completion_tokens).toBeGreaterThan(24 * 5);
  expect((await a.seen()).most).toBe(4);
  pool.close();
});

test("the name of the model is asked for where it is not given", async () => {
  const pool = new EndpointPool(`${a.url}/, ${b.url}`, quick);
  expect(await modelOf(pool, undefined)).toBe("rule");
  expect(await modelOf(pool, "mine")).toBe("mine");
  pool.close();
});

test("Retry-After is kept to", async () => {
  const pool = new EndpointPool(a.url, quick);
  await a.misbehave({ kind: "status", status: 429, times: 1, headers: { "retry-after": "0.4" } });
  const from = performance.now();
  await ask(pool, 1);
  expect(performance.now() - from).toBeGreaterThan(390);
  pool.close();
});

test("a URL that dies and comes back: others take its work, all samples arrive once, and it works again", async () => {
  const pool = new EndpointPool([a.url, b.url], { ...quick, concurrency: 3 });
  const right = (await all(pool, 150)).map(({ text }) => text);
  await Promise.all([
    a.misbehave({ kind: "slow", ms: 8, times: 1e9 }),
    b.misbehave({ kind: "slow", ms: 8, times: 1e9 }),
  ]);
  const settled: number[] = [];
  const work = Promise.all(
    Array.from({ length: 150 }, (_, i) =>
      ask(pool, i).then((answer) => {
        settled.push(i);
        return answer;
      }),
    ),
  );
  while (settled.length < 20) await new Promise((done) => setTimeout(done, 2));
  await a.kill();
  while (settled.length < 70) await new Promise((done) => setTimeout(done, 2));
  await a.start();
  const found = await work;
  const before = pool.usage[0]!.answered;
  while (pool.usage[0]!.answered === before) await ask(pool, 0); // until the first URL is back
  const [first, second] = pool.usage;
  expect(found.map(({ text }) => text)).toEqual(right);
  expect([...settled].sort((x, y) => x - y)).toEqual(right.map((_, i) => i));
  expect(first!.failed).toBeGreaterThan(0);
  expect(second!.failed).toBe(0);
  expect((await a.seen()).seen.length).toBeGreaterThan(0); // of the process that came back
  pool.close();
}, 20_000);

test("what cannot pass is an error that names the host and what it answered", async () => {
  const pool = new EndpointPool(a.url, { ...quick, tries: 2 });
  await a.misbehave({ kind: "garbage", times: 2 });
  await expect(ask(pool, 0)).rejects.toThrow(
    `Cannot POST ${a.url}/completions: its answer is no JSON: "<html>{\\"choices\\": not here</html>" (2 tries)`,
  );
  await a.misbehave({
    kind: "status",
    status: 400,
    times: 1,
    body: '{"error":{"message":"max_tokens is too large"}}',
  });
  await expect(ask(pool, 0)).rejects.toThrow(
    `${a.url}/completions: it answered 400: "max_tokens is too large"`,
  );
  await a.misbehave({ kind: "hang", times: 2 });
  const slow = new EndpointPool(a.url, { ...quick, tries: 2, timeoutMs: 50 });
  await expect(ask(slow, 0)).rejects.toThrow("no whole answer within 0.05 s (2 tries)");
  const logprobs = writeText(pool, "rule", { prompt: "x", maxTokens: 5, logprobs: 2 });
  await expect(logprobs).rejects.toThrow(`Cannot get logprobs from ${a.host}: it answered`);
  const nowhere = new EndpointPool(`http://127.0.0.1:${await closedPort()}/v1`, { ...quick, patienceMs: 60 });
  await expect(ask(nowhere, 0)).rejects.toThrow(
    /connection failed: connect ECONNREFUSED.*no endpoint has answered for/,
  );
  const wrongPath = new EndpointPool(a.url.replace("/v1", "/v2"), quick);
  await expect(ask(wrongPath, 0)).rejects.toThrow("it answered 404");
  for (const one of [pool, slow, nowhere, wrongPath]) one.close();
});

test("redirects are not followed", async () => {
  const pool = new EndpointPool(a.url, quick);
  await a.misbehave({ kind: "redirect", times: 1, body: `${b.url}/completions` });
  const before = (await b.seen()).seen.length;
  await expect(ask(pool, 0)).rejects.toThrow(
    `it answered 307, redirected to "${b.url}/completions", which is not followed`,
  );
  expect((await b.seen()).seen.length).toBe(before);
  pool.close();
});

test("the key is sent, and is in no message, even where the server repeats it", async () => {
  const pool = new EndpointPool(a.url, { ...quick, tries: 1 }, { PITH_API_KEY: " sk-very-secret\n" });
  await ask(pool, 0);
  expect((await a.seen()).seen.at(-1)!.authorization).toBe("Bearer sk-very-secret");
  for (const status of [401, 500, 400]) {
    await a.misbehave({ kind: "status", status, times: 1, body: '{"error":{"message":"found KEY"}}' });
    const error = await ask(new EndpointPool(a.url, { ...quick, tries: 1, key: "sk-very-secret" }), 0).catch(
      (e) => e,
    );
    expect(error.message).toContain("Bearer ***");
    expect(String(error.stack)).not.toContain("secret");
  }
  expect(() => new EndpointPool(a.url, { key: "ключ" })).toThrow(
    "has characters that no HTTP header may have",
  );
  pool.close();
});

test("an abort ends what runs and what waits, and the rest goes on", async () => {
  await a.misbehave({ kind: "hang", times: 1 });
  const pool = new EndpointPool(a.url, { ...quick, concurrency: 1 });
  const abort = new AbortController();
  const [running, waiting, other] = [ask(pool, 0, abort.signal), ask(pool, 1, abort.signal), ask(pool, 2)];
  setTimeout(() => abort.abort(new Error("enough")), 30);
  await expect(running).rejects.toThrow("enough");
  await expect(waiting).rejects.toThrow("enough");
  expect((await other).text).toContain("Book a table");
  await a.misbehave({ kind: "hang", times: 1 });
  const left = ask(pool, 3);
  setTimeout(() => pool.close(), 20);
  await expect(left).rejects.toThrow("they were closed");
  await expect(ask(pool, 4)).rejects.toThrow("they were closed");
});

test("nothing leaves the machine unless the host is named", () => {
  const far = "https://api.example.com:8443/v1";
  expect(() => new EndpointPool([a.url, far])).toThrow(
    "Cannot send anything to api.example.com:8443: nothing leaves this machine unless you say so; allow it with --allow-host api.example.com:8443",
  );
  expect(() => new EndpointPool(far, { allowHosts: ["other.example.com"] })).toThrow(
    "nothing leaves this machine",
  );
  new EndpointPool(far, { allowHosts: ["API.example.com"] }).close();
  new EndpointPool(far, { allowHosts: ["api.example.com:8443"] }).close();
  for (const inside of [
    "http://192.168.1.5/v1",
    "http://0.0.0.0/v1",
    "http://localhost.example.com/v1",
    "http://[::2]/v1",
  ])
    expect(() => new EndpointPool(inside)).toThrow("nothing leaves this machine");
  for (const here of ["http://localhost:1/v1", "http://127.1:1/v1", "http://[::1]:1/v1"])
    new EndpointPool(here).close();
  expect(() => new EndpointPool(a.url, {}, { NODE_USE_ENV_PROXY: "1", HTTP_PROXY: "http://p" })).toThrow(
    "through the proxy",
  );
  new EndpointPool(a.url, {}, { HTTP_PROXY: "http://p" }).close(); // fetch does not look at it
});

test.each([
  ["", "found no URL"],
  ["ftp://a/v1", "wanted a URL with http or https"],
  ["a:8000", "wanted a URL with http or https"],
  ["http://me:secret@127.0.0.1/v1", "has a name or password"],
  ["http://127.0.0.1/v1?key=1", "has a query or fragment"],
  ["http://127.0.0.1/v1,http://127.0.0.1/v1/", "twice"],
])("the URL %j is refused", (url, message) => {
  let error: unknown;
  try {
    new EndpointPool(url);
  } catch (thrown) {
    error = thrown;
  }
  expect(String(error)).toContain(message);
  expect(String(error)).not.toContain("secret");
});

test("settings out of range are refused", () => {
  for (const settings of [{ concurrency: 0 }, { tries: 1.5 }, { timeoutMs: 400_000 }, { backoffMs: NaN }])
    expect(() => new EndpointPool(a.url, settings)).toThrow(
      /Cannot use endpoints with \w+ \S+: wanted a whole number/,
    );
});
