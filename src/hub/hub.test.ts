import { existsSync, readdirSync } from "node:fs";
import {
  lstat,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  readlink,
  rm,
  truncate,
  writeFile,
} from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { gitSha1, type HubServer, hubServer, sha256 } from "../../test/helpers/hub-server.ts";
import { listModels, removeModel } from "./cache.ts";
import { parseHubName, quantOf } from "./name.ts";
import { pull } from "./pull.ts";

const REPO = "owner/model";
/** Bytes that compress and repeat nowhere. */
function noise(length: number, seed: number): Uint8Array {
  const bytes = new Uint8Array(length);
  let x = seed >>> 0 || 1;
  for (let i = 0; i < length; i++) {
    x = (Math.imul(x, 1664525) + 1013904223) >>> 0;
    bytes[i] = x >>> 24;
  }
  return bytes;
}
const text = (s: string) => new TextEncoder().encode(s);
const WEIGHTS = noise(300_000, 7);
const FILES = {
  "config.json": text("{}"),
  "tokenizer.json": noise(50_000, 3),
  "model.safetensors": WEIGHTS,
  "1_Pooling/config.json": text('{"pooling_mode_mean_tokens":true}'),
  "pytorch_model.bin": noise(2000, 1),
  "onnx/model.onnx": noise(2000, 2),
  empty: new Uint8Array(0),
  LICENSE: new Uint8Array(0),
};

let outside: string;
let dir: string;
let hub: HubServer;
beforeEach(async () => {
  outside = await mkdtemp(join(tmpdir(), "pith-hub-"));
  dir = join(outside, "cache");
  await mkdir(dir);
  hub = await hubServer(REPO, FILES);
});
afterEach(async () => {
  vi.unstubAllEnvs();
  await hub.close();
  await rm(outside, { recursive: true, force: true });
});
const bring = (name = REPO, more: Parameters<typeof pull>[1] = {}) =>
  pull(name, { endpoint: hub.endpoint, cache: dir, backoffMs: 1, stallMs: 2000, ...more });
const folder = () => join(dir, "models--owner--model");
const snapshot = () => join(folder(), "snapshots", hub.commit);
const sentOf = (path: string) =>
  hub.requests.filter((r) => r.path === `/cdn/${path}`).reduce((sum, r) => sum + r.sent, 0);

describe("names", () => {
  test.each([
    ["owner/name", { repo: "owner/name", revision: "main" }],
    ["hf:owner/name:Q4_K_M@v1", { repo: "owner/name", quant: "Q4_K_M", revision: "v1" }],
    ["gpt2@refs/pr/1", { repo: "gpt2", revision: "refs/pr/1" }],
  ])("%s", (name, parsed) => expect(parseHubName(name)).toEqual(parsed));
  test.each([
    "a/b/c",
    "../x",
    "/abs",
    "a//b",
    "a/..",
    "o/n@../x",
    "o/n:",
    "",
    "a b",
    "o/n.git",
    "http://x/y",
  ])("not %j", (name) => expect(parseHubName(name)).toBeUndefined());
  test("quantizations of file names", () => {
    expect(quantOf("x/Model-1B-Instruct-Q4_K_M.gguf")).toBe("Q4_K_M");
    expect(quantOf("model.iq4_nl.gguf")).toBe("IQ4_NL");
    expect(quantOf("model-f16-00001-of-00002.gguf")).toBe("F16");
    expect(quantOf("ggml-model.gguf")).toBeUndefined();
  });
});

describe("pull", () => {
  test("brings what belongs to a model, in the layout that Python shares, each digest checked", async () => {
    const seen: number[] = [];
    const result = await bring(REPO, { onProgress: (p) => seen.push(p.bytes) });
    expect(result.path).toBe(snapshot());
    expect(result.files.map((f) => f.path).sort()).toEqual([
      "1_Pooling/config.json",
      "LICENSE",
      "config.json",
      "model.safetensors",
      "tokenizer.json",
    ]);
    expect(result.fetchedBytes).toBe(result.bytes);
    expect(seen.at(-1)).toBe(result.bytes);
    expect(await readFile(join(folder(), "refs/main"), "utf8")).toBe(hub.commit);
    expect(await readlink(join(snapshot(), "model.safetensors"))).toBe(`../../blobs/${sha256(WEIGHTS)}`);
    expect(await readlink(join(snapshot(), "1_Pooling/config.json"))).toBe(
      `../../../blobs/${gitSha1(FILES["1_Pooling/config.json"])}`,
    );
    for (const { path } of result.files)
      expect(new Uint8Array(await readFile(join(snapshot(), path)))).toEqual(
        FILES[path as keyof typeof FILES],
      );
  });

  test("a second time fetches nothing", async () => {
    await bring();
    hub.requests.length = 0;
    expect((await bring()).fetchedBytes).toBe(0);
    expect(hub.requests.map((r) => r.path)).toEqual(["/api/models/owner/model/revision/main"]);
  });

  test("cut connections, errors and stalls are gone on from, without fetching a byte twice", async () => {
    let requests = 0;
    hub.misbehave = (path, _request, right) => {
      if (path !== "model.safetensors") return right;
      requests++;
      if (requests === 2) return { status: 503, headers: { "retry-after": "0" } };
      if (requests === 5) return { ...right, stallAt: 1000 };
      return requests < 8 ? { ...right, cutAt: 20_000 + requests * 1111 } : right;
    };
    const result = await bring(REPO, { stallMs: 200 });
    expect(result.fetchedBytes).toBe(result.bytes);
    expect(sha256(await readFile(join(snapshot(), "model.safetensors")))).toBe(sha256(WEIGHTS));
    const ranges = hub.requests.filter((r) => r.path === "/cdn/model.safetensors").map((r) => r.range);
    expect(ranges.length).toBe(8);
    expect(ranges[0]).toBeUndefined();
    expect(ranges[2]).toBe(`bytes=${20_000 + 1111}-`);
  });

  test("a partial file of another program is gone on from", async () => {
    await mkdir(join(folder(), "blobs"), { recursive: true });
    const partial = join(folder(), "blobs", `${sha256(WEIGHTS)}.incomplete`);
    await writeFile(partial, WEIGHTS.subarray(0, 123_456));
    await bring();
    expect(sentOf("model.safetensors")).toBe(WEIGHTS.length - 123_456);
    expect(existsSync(partial)).toBe(false);
  });

  test("a wrong byte in what was here is found, and mended from the beginning", async () => {
    await mkdir(join(folder(), "blobs"), { recursive: true });
    const wrong = WEIGHTS.slice(0, 100_000);
    wrong[5]! ^= 1;
    await writeFile(join(folder(), "blobs", `${sha256(WEIGHTS)}.incomplete`), wrong);
    await bring();
    expect(sha256(await readFile(join(snapshot(), "model.safetensors")))).toBe(sha256(WEIGHTS));
  });

  test.each([
    ["longer than the file", WEIGHTS.length + 5],
    ["as long as the file", WEIGHTS.length],
  ])("a partial file %s, of other bytes", async (_, length) => {
    await mkdir(join(folder(), "blobs"), { recursive: true });
    await writeFile(join(folder(), "blobs", `${sha256(WEIGHTS)}.incomplete`), noise(length, 99));
    await bring();
    expect(sha256(await readFile(join(snapshot(), "model.safetensors")))).toBe(sha256(WEIGHTS));
  });

  test("a wrong byte from the server is found: nothing gets a name", async () => {
    hub.misbehave = (path, _request, right) => {
      const body = right.body!.slice();
      if (path === "model.safetensors") body[70_000]! ^= 4;
      return { ...right, body };
    };
    await expect(bring()).rejects.toThrow(
      new RegExp(
        `Cannot download "model.safetensors" of owner/model: its 300000 bytes have the sha256 [0-9a-f]{64}, wanted ${sha256(WEIGHTS)}`,
      ),
    );
    expect(existsSync(join(snapshot(), "model.safetensors"))).toBe(false);
    expect(existsSync(join(folder(), "refs/main"))).toBe(false);
    hub.misbehave = undefined;
    await bring();
    expect(sha256(await readFile(join(snapshot(), "model.safetensors")))).toBe(sha256(WEIGHTS));
  });

  test("a wrong byte in a small file is found by git's id", async () => {
    hub.misbehave = (path, _request, right) =>
      path === "config.json" ? { ...right, body: text("[]") } : right;
    await expect(bring()).rejects.toThrow('"config.json" of owner/model: its 2 bytes have the git-sha1');
  });

  test("a server that knows no ranges: what is here is passed over", async () => {
    let cut = true;
    hub.misbehave = (path, _request, right) => {
      if (path !== "model.safetensors") return right;
      const whole = { status: 200, body: WEIGHTS };
      if (!cut) return whole;
      cut = false;
      return { ...whole, cutAt: 100_000 };
    };
    await bring();
    expect(sha256(await readFile(join(snapshot(), "model.safetensors")))).toBe(sha256(WEIGHTS));
  });

  test.each([
    ["a later byte", "bytes 200000-299999/300000"],
    ["no numbers", "bytes"],
  ])("a range that begins at %s is not taken", async (_, range) => {
    let requests = 0;
    hub.misbehave = (path, _request, right) => {
      if (path !== "model.safetensors") return right;
      if (requests++ === 0) return { ...right, cutAt: 50_000 };
      return { ...right, headers: { "content-range": range }, body: WEIGHTS.subarray(200_000) };
    };
    await expect(bring(REPO, { tries: 2 })).rejects.toThrow(/the server began at byte 200000|Content-Range/);
    hub.misbehave = undefined;
    await bring();
    expect(sha256(await readFile(join(snapshot(), "model.safetensors")))).toBe(sha256(WEIGHTS));
  });

  test("more bytes than the listing states are not written", async () => {
    hub.misbehave = (path, _request, right) =>
      path === "tokenizer.json" ? { ...right, body: noise(5_000_000, 3) } : right;
    await bring();
    expect((await lstat(join(folder(), "blobs", sha256(FILES["tokenizer.json"])))).size).toBe(50_000);
  });

  test("a server that only fails is given up, with the reason and the number of tries", async () => {
    hub.misbehave = (path, _request, right) => (path === "tokenizer.json" ? { status: 500 } : right);
    await expect(bring(REPO, { tries: 3 })).rejects.toThrow(
      'Cannot download "tokenizer.json" of owner/model: the hub answered 500 Internal Server Error (3 tries)',
    );
  });

  test.each([
    ["http elsewhere", "http://example.com/x"],
    ["this machine", "https://127.0.0.1/x"],
    ["the cloud's metadata", "https://169.254.169.254/latest"],
    ["an inner name", "https://db.internal/x"],
    ["IPv6 loopback", "https://[::1]/x"],
    ["another port of this host", "http://127.0.0.1:1/x"],
    ["a file", "file:///etc/passwd"],
    ["data", "data:text/plain,x"],
    ["a name and password", "https://a:b@example.com/x"],
  ])("a redirect to %s is refused before it is followed", async (_, location) => {
    hub.misbehave = (path, _request, right) =>
      path === "tokenizer.json" ? { status: 302, headers: { location } } : right;
    await expect(bring()).rejects.toThrow(/redirected to ".*", wanted https at a public host/);
  });

  test("redirects that never end", async () => {
    hub.misbehave = (_path, request) => ({ status: 302, headers: { location: request.path } });
    await expect(bring()).rejects.toThrow("found more than 5 redirects");
  });

  test("the token goes to the hub's own host", async () => {
    await bring(REPO, { token: "hf_secret" });
    expect(hub.requests.every((r) => r.authorization === "Bearer hf_secret")).toBe(true);
  });

  test.each([
    [401, undefined, "the model is private, gated or does not exist: set HF_TOKEN"],
    [403, "hf_x", "the token in HF_TOKEN has no access"],
    [404, undefined, "no such model, revision or file"],
  ])("a listing that is refused with %i", async (status, token, message) => {
    hub.listing = () => ({ status, body: "" });
    await expect(bring(REPO, { ...(token && { token }) })).rejects.toThrow(message);
  });

  test.each<[string, (right: { siblings: Record<string, unknown>[]; sha: unknown }) => unknown, string]>([
    [
      "a path that leaves the folder",
      (r) => (r.siblings[0]!.rfilename = "../../x"),
      "a path inside the model",
    ],
    ["an absolute path", (r) => (r.siblings[0]!.rfilename = "/etc/passwd"), "a path inside the model"],
    ["a path with a backslash", (r) => (r.siblings[0]!.rfilename = "a\\..\\b"), "a path inside the model"],
    ["a commit that is a path", (r) => (r.sha = "../../x"), "a git id"],
    ["a digest that is a path", (r) => (r.siblings[2]!.lfs = { sha256: "../../x", size: 3 }), "a sha256"],
    ["an id that is a path", (r) => (r.siblings[0]!.blobId = "../x"), "a git blob's id"],
    ["a negative size", (r) => (r.siblings[0]!.size = -1), "a whole number"],
    ["no files", (r) => ((r as { siblings: unknown }).siblings = null), "no list of files"],
  ])("a listing with %s", async (_, change, message) => {
    hub.listing = (right) => {
      const copy = structuredClone(right) as { siblings: Record<string, unknown>[]; sha: unknown };
      change(copy);
      return { body: JSON.stringify(copy) };
    };
    await expect(bring()).rejects.toThrow(message);
    expect(readdirSync(outside)).toEqual(["cache"]);
  });

  test("a listing that is cut or no JSON is asked for again", async () => {
    let asked = 0;
    hub.listing = (right) => ({ body: JSON.stringify(right).slice(0, ++asked < 3 ? 40 : undefined) });
    expect((await bring()).files.length).toBe(5);
    expect(asked).toBe(3);
  });

  test("a disk that is too small is known before", async () => {
    hub.listing = (right) => {
      const copy = structuredClone(right) as { siblings: { lfs?: { size: number } }[] };
      copy.siblings.find((s) => s.lfs)!.lfs!.size = Number.MAX_SAFE_INTEGER;
      return { body: JSON.stringify(copy) };
    };
    await expect(bring()).rejects.toThrow(/bytes are missing, but the disk of .* has \d+ free/);
  });

  test("aborted, it keeps what it has", async () => {
    hub.misbehave = (path, _request, right) =>
      path === "model.safetensors" ? { ...right, rate: 500_000 } : right;
    const controller = new AbortController();
    const stopped = bring(REPO, {
      signal: controller.signal,
      onProgress: (p) =>
        p.file === "model.safetensors" && p.bytes > 100_000 && controller.abort(new Error("enough")),
    });
    await expect(stopped).rejects.toThrow("enough");
    const { size } = await lstat(join(folder(), "blobs", `${sha256(WEIGHTS)}.incomplete`));
    expect(size).toBeGreaterThan(0);
    hub.misbehave = undefined;
    hub.requests.length = 0;
    await bring();
    expect(sentOf("model.safetensors")).toBe(WEIGHTS.length - size);
  });

  test("two at once fetch every byte once", async () => {
    hub.misbehave = (_path, _request, right) => ({ ...right, rate: 3_000_000 });
    const [a, b] = await Promise.all([bring(), bring()]);
    expect(a.path).toBe(b.path);
    expect(sentOf("model.safetensors")).toBe(WEIGHTS.length);
  });

  test("a lock of a process that is gone holds nobody up", async () => {
    await mkdir(join(dir, ".locks/models--owner--model"), { recursive: true });
    const { hostname } = await import("node:os");
    await writeFile(
      join(dir, ".locks/models--owner--model", `${sha256(WEIGHTS)}.pith`),
      `999999999 ${hostname()} 00`,
    );
    await bring();
  });

  test.each(["1", "true"])("HF_HUB_OFFLINE=%s", async (value) => {
    vi.stubEnv("HF_HUB_OFFLINE", value);
    await expect(bring()).rejects.toThrow("Cannot reach the hub: HF_HUB_OFFLINE is set");
    expect(hub.requests).toEqual([]);
  });

  test("what is no hub name", async () => {
    await expect(bring("../x")).rejects.toThrow(TypeError);
  });

  test("only pickles", async () => {
    hub.files.delete("model.safetensors");
    await expect(bring()).rejects.toThrow('found weights only in "pytorch_model.bin"');
  });
});

describe("GGUF repositories", () => {
  beforeEach(() => {
    hub.files.clear();
    for (const quant of ["Q4_K_M", "Q8_0", "IQ4_NL"])
      hub.files.set(`m-${quant}.gguf`, new Uint8Array([...text("GGUF"), ...noise(4000, quant.length)]));
    hub.files.set("README.md", text("card"));
  });

  test("one quantization: the usual one, or the one that is named", async () => {
    expect((await bring()).files.map((f) => f.path)).toEqual(["README.md", "m-Q4_K_M.gguf"]);
    const { path } = await bring(`${REPO}:q8_0`);
    expect(path).toBe(join(snapshot(), "m-Q8_0.gguf"));
  });

  test("one that is not there names those that are", async () => {
    await expect(bring(`${REPO}:Q2_K`)).rejects.toThrow(
      "owner/model:IQ4_NL, owner/model:Q4_K_M, owner/model:Q8_0",
    );
  });

  test("a model in several parts is refused before a byte of it comes", async () => {
    hub.files.set("big-F16-00001-of-00002.gguf", noise(4000, 1));
    hub.files.set("big-F16-00002-of-00002.gguf", noise(4000, 2));
    await expect(bring(`${REPO}:F16`)).rejects.toThrow("is one part of several");
    expect(hub.requests.length).toBe(1);
  });

  test("list, and remove: a quantization, then all", async () => {
    await bring();
    await bring(`${REPO}:Q8_0`);
    const [model] = await listModels({ cache: dir });
    expect(model).toMatchObject({
      name: REPO,
      quants: ["Q4_K_M", "Q8_0"],
      bytes: 2 * 4004 + 4,
      incompleteBytes: 0,
    });
    expect(model!.revisions[0]).toMatchObject({ commit: hub.commit, refs: ["main"] });
    expect(await removeModel(`${REPO}:Q8_0`, { cache: dir })).toEqual({
      name: `${REPO}:Q8_0`,
      files: 1,
      bytes: 4004,
    });
    expect(await readdir(join(folder(), "blobs"))).toHaveLength(2);
    await expect(removeModel(`${REPO}:Q8_0`, { cache: dir })).rejects.toThrow("found Q4_K_M");
    expect((await removeModel(REPO, { cache: dir })).bytes).toBe(4004 + 4);
    expect(await listModels({ cache: dir })).toEqual([]);
    await expect(removeModel(REPO, { cache: dir })).rejects.toThrow("it is not in the hub cache");
  });

  test("an unfinished download is listed as that", async () => {
    hub.files.set("config.json", text("{}"));
    hub.files.set("model.safetensors", WEIGHTS);
    hub.misbehave = (path, _request, right) =>
      path === "model.safetensors" ? { ...right, cutAt: 1000, status: right.status ?? 200 } : right;
    await expect(bring(REPO, { tries: 1 })).rejects.toThrow("model.safetensors");
    expect((await listModels({ cache: dir }))[0]!.incompleteBytes).toBeGreaterThan(0);
  });
});

test("a partial download that was cut short on the disk loses nothing else", async () => {
  await bring();
  const blob = join(folder(), "blobs", sha256(WEIGHTS));
  await truncate(blob, 1000);
  await bring();
  expect(sha256(await readFile(blob))).toBe(sha256(WEIGHTS));
});
