import { mkdir, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from "vitest";
import { pith } from "../../test/helpers/command-line.ts";
import { TINY_BASES, writeTinyAdapter } from "../../test/helpers/tiny-adapters.ts";
import { tinyFolder } from "../../test/helpers/tiny-chat-model.ts";
import { writeTinyModel } from "../../test/helpers/tiny-models.ts";
import { parseAdapter } from "./adapters.ts";

let folder: string;
let plain: string;
beforeAll(async () => {
  folder = await tinyFolder();
  await writeTinyModel(folder, TINY_BASES.llama);
  plain = await writeTinyAdapter(join(folder, "plain"), "llama", "plain");
  await writeTinyAdapter(join(folder, "dora"), "llama", "dora");
  await mkdir(join(folder, "a=2"));
});
afterAll(() => rm(folder, { recursive: true }));
afterEach(() => {
  vi.restoreAllMocks();
  process.exitCode = undefined;
});

const run = async (model: string, ...args: string[]) => {
  const settings = ["--backend", "reference", "--max-tokens", "12", "--temperature", "0", "--raw", "--json"];
  const { out, err } = await pith("run", model, "the land and the land", ...settings, ...args);
  return out === "" ? { err } : JSON.parse(out);
};

describe("--adapter", () => {
  it("takes a path, with a scale or without", () => {
    expect(parseAdapter("a/b")).toEqual({ path: "a/b", scale: 1 });
    expect(parseAdapter("a=b/c=-0.5")).toEqual({ path: "a=b/c", scale: -0.5 });
    expect(parseAdapter(join(folder, "a=2"))).toEqual({ path: join(folder, "a=2"), scale: 1 });
    for (const bad of ["a=", "a=x", "a=Infinity"]) expect(() => parseAdapter(bad)).toThrow("wanted a number");
  });

  it("is evaluated, beside the model without it", async () => {
    const text = join(folder, "text.txt");
    await writeFile(text, "the land and the land and on. ".repeat(20));
    const evaluate = async (...args: string[]) =>
      JSON.parse((await pith("evaluate", folder, "--text", text, "--ctx", "32", "--json", ...args)).out);
    const plainly = await evaluate();
    const changed = await evaluate("--adapter", plain, "--base", folder);
    expect(changed.perplexity).not.toBe(plainly.perplexity);
    expect(changed.base_perplexity).toBeCloseTo(plainly.perplexity, 6);
    expect(changed.kl_mean).toBeGreaterThan(0);
  });

  it("changes the answer, by its scale, and several together", async () => {
    const base = (await run(folder)).ids;
    const one = await run(folder, "--adapter", plain);
    expect(one.ids).not.toEqual(base);
    expect(one.adapters).toMatchObject([{ name: plain }]);
    expect((await run(folder, "--adapter", `${plain}=0`)).ids).toEqual(base);
    const both = await run(folder, "--adapter", plain, "--adapter", `${folder}/dora=0.5`);
    expect(both.adapters.length).toBe(2);
    expect(both.ids).not.toEqual(one.ids);
  });

  it("says what is wrong with it", async () => {
    expect((await run(folder, "--adapter", "/nowhere")).err).toMatch(
      /^pith: Cannot open adapter "\/nowhere": found no such file or folder/,
    );
  });
});

describe("pith fuse and inspect", () => {
  it("merges: the answer is that of the adapter", async () => {
    const out = join(folder, "merged");
    const { err, code } = await pith(
      "fuse",
      folder,
      out,
      "--adapter",
      `${plain}=2`,
      "--adapter",
      `${folder}/dora`,
    );
    expect(err).toMatch(/^wrote .*merged \(folder, f32\), 21 tensors changed\n$/);
    expect(code).toBe(0);
    const apart = await run(folder, "--adapter", `${plain}=2`, "--adapter", `${folder}/dora`);
    const { text } = await run(out);
    expect(text).toBe(apart.text);
  });

  it("into quantized weights only with --requantize, and says what it costs", async () => {
    const [base, out] = [join(folder, "base.gguf"), join(folder, "out.gguf")];
    await pith("quantize", folder, "--to", "q8_0", "--pure", "--out", base);
    const refused = await pith("fuse", base, out, "--adapter", plain);
    expect([refused.code, refused.err]).toEqual([1, expect.stringContaining("--requantize")]);
    const { err } = await pith("fuse", base, out, "--adapter", plain, "--requantize");
    expect(err).toMatch(
      /rounding to .*q8_0.* moved the changed weights by [\d.]+ % of their size, which is [\d.]+ % of what the adapters changed/,
    );
    expect((await pith("fuse", base, out)).err).toMatch(/wanted an adapter, with --adapter path/);
  });

  it("exports: rsLoRA and patterns as GGUF and back are the same adapter, DoRA is refused", async () => {
    const patterns = await writeTinyAdapter(join(folder, "patterns"), "llama", "patterns");
    const [gguf, back] = [join(folder, "patterns.gguf"), join(folder, "back")];
    const { err, code } = await pith("export", folder, patterns, gguf);
    expect(err).toMatch(/wrote .*patterns.gguf: mean KL divergence [\d.e-]+ nats over 504 tokens .* 100 %/);
    expect(code).toBe(0);
    const json = JSON.parse((await pith("export", folder, gguf, back, "--json")).out);
    expect(json.kl_mean).toBeLessThan(1e-9);
    expect(json.kl_base).toBeGreaterThan(1e-2);
    expect((await pith("export", folder, patterns, gguf)).err).toMatch(/it exists; --overwrite replaces it/);
    const refused = await pith("export", folder, `${folder}/dora`, join(folder, "dora.gguf"));
    expect([refused.code, refused.err]).toEqual([1, expect.stringContaining("merge it with pith fuse")]);
    const strict = await pith("export", folder, patterns, join(folder, "x.gguf"), "--max-kl", "-1");
    expect(strict.err).toMatch(/differs by a mean KL divergence of [\d.e-]+ nats, wanted at most -1/);
  });

  it("shows what an adapter is", async () => {
    const { out } = await pith("inspect", plain);
    expect(out).toMatch(/made for +tiny\nmethod +LoRA\nrank +4\n/);
    expect(out).toMatch(/v_proj: 3 pairs, rank 4, scale 2/);
    expect(JSON.parse((await pith("inspect", plain, "--json")).out)).toMatchObject({
      format: "peft",
      dora: false,
      made_for: "tiny",
    });
  });
});
