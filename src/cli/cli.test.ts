import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from "vitest";
import { pith } from "../../test/helpers/command-line.ts";
import { type HubServer, hubServer } from "../../test/helpers/hub-server.ts";
import { writeTinyBert } from "../../test/helpers/tiny-bert.ts";
import { tinyFolder } from "../../test/helpers/tiny-chat-model.ts";
import { answerRoom } from "./chat.ts";
import { bytes, figure, oneLine, visible } from "./output.ts";

let folder: string;
beforeAll(async () => {
  folder = await tinyFolder();
});
afterAll(() => rm(folder, { recursive: true }));
afterEach(() => {
  vi.restoreAllMocks();
  process.exitCode = undefined;
});

const run = (...args: string[]) =>
  pith("run", folder, "--backend", "reference", "--max-tokens", "8", ...args);

describe("pith run", () => {
  it("answers with a document of a schema, and says when it is not whole", async () => {
    const file = join(folder, "schema.json");
    await writeFile(
      file,
      JSON.stringify({ type: "array", items: { enum: [1, "a"] }, minItems: 2, maxItems: 3 }),
    );
    const ask = (...args: string[]) =>
      pith("run", "models/stories", "Once", "--schema", file, "--seed", "1", ...args);
    const whole = await ask();
    expect(whole.code).toBe(0);
    expect(JSON.parse(whole.out).length).toBeGreaterThan(1);
    expect(JSON.parse((await ask("--json")).out).parsed).toEqual(JSON.parse(whole.out));
    const { err } = await ask("--max-tokens", "2");
    expect(err).toMatch(/Cannot give the whole document: --max-tokens/);
    expect(process.exitCode).toBe(1);
    process.exitCode = undefined;
    await writeFile(file, "{");
    expect((await ask()).err).toMatch(/--schema.*It is no JSON/);
  });

  it("keeps what was computed in a session", async () => {
    const file = join(folder, "talk.safetensors");
    const prompt = "Once upon a time there was a small cat. ".repeat(12);
    const ask = (...args: string[]) =>
      pith("run", "models/stories", prompt, "--session", file, "--max-tokens", "4", "--seed", "1", ...args);
    const [first, second] = [await ask(), await ask("--json")];
    expect([first.code, second.code]).toEqual([0, 0]);
    const json = JSON.parse(second.out);
    expect(json.cached_tokens).toBe(json.prompt_tokens - 1 - ((json.prompt_tokens - 1) % 64));
    expect(json.cached_tokens).toBeGreaterThanOrEqual(64);
    expect(json.text.trim()).toBe(first.out.trim());
    await writeFile(file, "no session");
    expect((await ask()).code).toBe(1);
  });

  it("puts the text alone on stdout and figures on stderr", async () => {
    const { code, out, err } = await run("the land", "--seed", "7");
    expect(code).toBe(0);
    expect(err).toMatch(/^prompt 6 tokens, [\d.,]+\/s · answer \d tokens, [\d.,]+\/s · (length|stop)\n$/);
    const again = await run("the", "land", "--seed", "7", "--json");
    const json = JSON.parse(again.out);
    expect(again.err).toBe("");
    expect(json).toMatchObject({ seed: 7, prompt_tokens: 6, model: folder });
    expect(out).toBe(`${json.text}\n`);
  });

  it("continues the text as it stands with --raw", async () => {
    const { prompt_tokens } = JSON.parse((await run("<s>the land", "--raw", "--json")).out);
    expect(prompt_tokens).toBe(5);
  });

  it("passes every setting on", async () => {
    const json = async (...args: string[]) =>
      JSON.parse((await run("a", "--json", "--seed", "1", ...args)).out);
    expect((await json("--max-tokens", "3", "--temperature", "5")).completion_tokens).toBeLessThanOrEqual(3);
    const greedy = (await json("--temperature", "0")).ids;
    expect((await json("--top-k", "1")).ids).toEqual(greedy);
    expect((await json("--top-p", "0")).ids).toEqual(greedy);
    expect((await json("--min-p", "1")).ids).toEqual(greedy);
    const { text } = await json("--temperature", "0");
    if (text.length > 1)
      expect((await json("--temperature", "0", "--stop", text.slice(1, 2))).text).toBe(
        text.slice(0, text.indexOf(text[1])),
      );
    expect((await json("--system", "and on")).prompt_tokens).toBeGreaterThan((await json()).prompt_tokens);
  });

  it("refuses to switch thinking where the template has no switch", async () => {
    for (const flag of ["--think", "--no-think"]) {
      const { code, out, err } = await run("the", flag);
      expect({ code, out }).toEqual({ code: 1, out: "" });
      expect(err).toMatch(/Cannot turn thinking (on|off) for .*: its chat template makes the same/);
    }
  });

  it("says what is wrong, with exit code 1", async () => {
    const { code, out, err } = await run("the", "--ctx", "100000");
    expect({ code, out }).toEqual({ code: 1, out: "" });
    expect(err).toMatch(
      /^pith: Cannot load .* with a context of 100000: wanted a whole number from 1 to 256/,
    );
    expect((await pith("run", "/nowhere/at all", "x")).err).toMatch(
      /^pith: Cannot open model "\/nowhere\/at all"/,
    );
  });

  it("says how it is called, with exit code 2", async () => {
    const typo = await pith("run", folder, "x", "--temprature", "0");
    expect(typo.code).toBe(2);
    expect(typo.err).toMatch(/unknown option '--temprature'\n\(Did you mean --temperature\?\)/);
    expect((await pith("rnu")).err).toMatch(/Did you mean run\?/);
    expect((await run("x", "--threads", "none")).err).toMatch(/Wanted a whole number, 1 or more/);
    expect((await run("x", "--backend", "gpu")).err).toMatch(/Allowed choices are native, wasm, reference/);
    expect((await pith("--help")).code).toBe(0);
    expect((await pith("--version")).out).toMatch(/^\d+\.\d+\.\d+\n$/);
  });
});

describe("pith inspect, convert, bench, doctor", () => {
  it("inspects without loading", async () => {
    const { out } = await pith("inspect", folder, "--ctx", "128");
    expect(out).toMatch(/architecture +llama: 3 layers of 32, 6 heads \(2 key-value\) of 8/);
    expect(out).toMatch(/memory .* at 128 tokens, f16 cache/);
    expect(out).toMatch(/chat template +yes/);
    const json = JSON.parse((await pith("inspect", folder, "--json")).out);
    expect(json).toMatchObject({ format: "folder", types: [{ type: "f32" }], bits_per_weight: 32 });
  });

  it("converts, and the result gives the same text", async () => {
    const gguf = join(folder, "tiny.gguf");
    expect((await pith("convert", folder, gguf, "--type", "f32")).err).toMatch(
      /^wrote .*tiny\.gguf \(gguf, f32\)\n$/,
    );
    const text = async (path: string) =>
      (
        await pith(
          "run",
          path,
          "the land",
          "--backend",
          "reference",
          "--raw",
          "--seed",
          "3",
          "--max-tokens",
          "8",
        )
      ).out;
    expect(await text(gguf)).toBe(await text(folder));
    const again = await pith("convert", folder, gguf);
    expect(again.code).toBe(1);
    expect(again.err).toMatch(/it exists/);
  });

  it("measures", async () => {
    const { out, code } = await pith(
      "bench",
      folder,
      "--backend",
      "reference",
      "--ctx",
      "40",
      "--rounds",
      "1",
      "--json",
    );
    expect(code).toBe(0);
    const json = JSON.parse(out);
    for (const name of [
      "prefill_tokens_per_second",
      "decode_tokens_per_second",
      "load_ms",
      "first_token_ms",
      "peak_rss_mib",
    ])
      expect(json[name], name).toBeGreaterThan(0);
    expect(json).toMatchObject({ backend: "reference", kernels: "float64", threads: 1 });
    expect("bandwidth_share" in json).toBe(true);
  });

  it("looks at the machine", async () => {
    const { out } = await pith("doctor");
    expect(out).toMatch(/^pith +\d+\.\d+\.\d+ on Node v/);
    for (const name of ["processor", "features", "backend", "threads", "huge pages", "bandwidth"])
      expect(out).toMatch(new RegExp(`^${name} +\\S`, "m"));
  });
});

describe("pith evaluate", () => {
  const evaluate = (...args: string[]) => pith("evaluate", folder, "--backend", "reference", ...args);
  const file = async (name: string, text: string) => {
    await writeFile(join(folder, name), text);
    return join(folder, name);
  };

  it("tells the perplexity of a text, and how far it is from a base", async () => {
    const text = await file("text.txt", "the land and the inn on a hill. ".repeat(8));
    const { out, code } = await evaluate("--text", text, "--ctx", "32");
    expect(code).toBe(0);
    expect(out).toMatch(
      /^perplexity +[\d.]+ ± [\d.]+\ntokens +\d+ scored\nconvention +windows: \d, 32 tokens each/,
    );
    const json = JSON.parse((await evaluate("--text", text, "--ctx", "32", "--base", folder, "--json")).out);
    expect(Object.keys(json)).toEqual(
      expect.arrayContaining(
        "perplexity tokens log_ratio log_ratio_se kl_mean kl_median kl_p99 top1 bits_per_weight".split(" "),
      ),
    );
    expect(json).toMatchObject({
      convention: "windows",
      log_ratio: 0,
      kl_mean: 0,
      top1: 1,
      bits_per_weight: 32,
    });
    expect(out).toContain(String(Number(json.perplexity.toPrecision(5))));
    const strided = JSON.parse(
      (await evaluate("--text", text, "--ctx", "32", "--stride", "8", "--json")).out,
    );
    expect(strided).toMatchObject({ convention: "strided", stride: 8 });
    expect(strided.tokens).toBeGreaterThan(json.tokens);
  });

  it("measures a task and keeps the answers", async () => {
    const task = await file(
      "task.jsonl",
      '{"prompt": "the", "completion": "land"}\n{"prompt": "a", "completion": "b"}\n',
    );
    const out = join(folder, "answers.jsonl");
    const result = await evaluate("--task", task, "--out", out, "--max-tokens", "4", "--json");
    expect(JSON.parse(result.out)).toMatchObject({ metric: "exact", lines: 2, max_tokens: 4 });
    const answers = (await readFile(out, "utf8"))
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line));
    expect(answers).toMatchObject([
      { line: 1, completion: "land" },
      { line: 2, completion: "b" },
    ]);
    const table = await evaluate("--task", task, "--metric", "label", "--max-tokens", "4", "--limit", "1");
    expect(table.out).toMatch(/accuracy +\d+\.\d % \(95 %: /);
  });

  it("says what is wrong", async () => {
    expect((await evaluate()).err).toMatch(/found neither --text and --task, wanted one of them/);
    expect((await evaluate("--text", "/nowhere")).err).toMatch(/Cannot read "\/nowhere": found no such file/);
    expect((await evaluate("--text", await file("empty.txt", ""))).err).toMatch(/empty\.txt" *: it is empty/);
    const bad = await file("bad.jsonl", '{"prompt": "a", "completion": "b"}\n{"prompt": 1}\n');
    const { code, err } = await evaluate("--task", bad);
    expect([code, err]).toEqual([
      1,
      expect.stringMatching(/bad\.jsonl, line 2": "prompt" is a number, wanted text/),
    ]);
  });
});

describe("output", () => {
  it("spells control characters out", () => {
    expect(visible("a\u001b[2J\u0007b\n\tc")).toBe("a\\x1b[2J\\x07b\n\tc");
    expect(oneLine("a\nb\r\u202ec")).toBe("a\\nb\\r\\u202ec");
  });

  it("writes figures for reading", () => {
    expect([figure(1234567), figure(123.6), figure(1.23456), figure(0)]).toEqual([
      "1,234,567",
      "124",
      "1.23",
      "0",
    ]);
    expect([bytes(2048), bytes(3 * 2 ** 20), bytes(2 ** 31)]).toEqual(["2 KiB", "3 MiB", "2.00 GiB"]);
  });

  it("keeps a part of the context for an answer", () => {
    expect([answerRoom(4096), answerRoom(4096, 10), answerRoom(2)]).toEqual([1024, 10, 1]);
  });
});

describe("models of the hub", () => {
  let hub: HubServer;
  let cache: string;
  beforeAll(async () => {
    const files: Record<string, Uint8Array> = {};
    for (const name of await readdir(folder)) files[name] = await readFile(join(folder, name));
    hub = await hubServer("owner/tiny", files);
    cache = await mkdtemp(join(tmpdir(), "pith-cli-"));
    vi.stubEnv("HF_ENDPOINT", hub.endpoint);
    vi.stubEnv("HF_HUB_CACHE", cache);
  });
  afterAll(async () => {
    vi.unstubAllEnvs();
    await hub.close();
    await rm(cache, { recursive: true });
  });
  const words = ["the land", "--backend", "reference", "--max-tokens", "2"];

  it("are not downloaded unasked", async () => {
    const { code, err } = await pith("run", "owner/tiny", ...words);
    expect(code).toBe(1);
    expect(err).toContain("download it first, with: pith pull owner/tiny");
    expect(hub.requests).toEqual([]);
  });

  it("are pulled with --pull, listed, run by name, and removed", async () => {
    expect((await pith("run", "owner/tiny", ...words, "--pull")).code).toBe(0);
    hub.requests.length = 0;
    expect((await pith("run", "owner/tiny", ...words)).code).toBe(0);
    expect(hub.requests).toEqual([]);
    expect((await pith("list")).out).toMatch(/^owner\/tiny +[\d.]+ KiB, safetensors, \d{4}-\d\d-\d\d\n$/);
    const again = await pith("pull", "owner/tiny");
    expect(again.err).toContain("all of it was here, every digest right");
    expect(again.out.trim()).toBe(join(cache, "models--owner--tiny/snapshots", hub.commit));
    const unasked = await pith("remove", "owner/tiny");
    expect([unasked.code, unasked.err]).toEqual([1, expect.stringContaining("use --yes")]);
    expect((await pith("remove", "owner/tiny", "--yes")).err).toContain("removed owner/tiny");
    expect((await pith("list")).err).toContain("no models are in the hub cache");
  });
});

describe("pith embed", () => {
  it("prints a line of JSON for each text, from arguments and from a file", async () => {
    const bert = await mkdtemp(join(tmpdir(), "pith-bert-"));
    await writeTinyBert(bert);
    const embed = (...args: string[]) => pith("embed", bert, "--backend", "reference", ...args);
    const { code, out, err } = await embed("--text", "the land", "--text", "the sea ".repeat(40));
    const lines = out
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line));
    expect({ code, count: lines.length }).toEqual({ code: 0, count: 2 });
    expect(lines[0]).toMatchObject({ index: 0, tokens: 4 });
    expect(lines[1]).toMatchObject({ index: 1, truncated: true });
    expect(err).toBe("1 of 2 texts are longer than 32 tokens: only their beginning counts\n");
    const file = join(bert, "texts.jsonl");
    await writeFile(file, '{"text": "the land"}\n\n"the sea"\n');
    const target = join(bert, "out.jsonl");
    expect(await embed("--file", file, "--out", target)).toEqual({ code: 0, out: "", err: "" });
    const written = (await readFile(target, "utf8")).trim().split("\n");
    expect(written.length).toBe(2);
    expect(`${written[0]}\n`).toBe(out.slice(0, out.indexOf("\n") + 1));
    await writeFile(file, '{"text": 3}\n');
    expect((await embed("--file", file)).err).toMatch(/line 1 has no text, wanted a string or/);
    expect((await embed()).err).toBe(
      "pith: Cannot embed: wanted texts, with --text <text> or --file <file>, one of both\n",
    );
    expect((await pith("embed", folder, "--text", "x")).err).toMatch(/llama is a decoder, wanted an encoder/);
    expect((await pith("run", bert, "x")).err).toMatch(/bert is an encoder, wanted a decoder; embed makes/);
    await rm(bert, { recursive: true });
  });
});
