import { access, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, describe, expect, test } from "vitest";
import { TINY, tinyIds, writeTinyModel } from "../../test/helpers/tiny-models.ts";
import { writeTinyTokenizer } from "../../test/helpers/tiny-tokenizer.ts";
import { TINY_TYPES, writeTinyType } from "../../test/helpers/tiny-types.ts";
import { writeSafetensors } from "../formats/index.ts";
import { loadModel } from "../generate/index.ts";
import { convert, openModel, parameterValues } from "../models/index.ts";
import { dryRunQuantize, type QuantizeOptions, quantize } from "./index.ts";

const STORIES = fileURLToPath(new URL("../../models/stories", import.meta.url));
const dir = await mkdtemp(join(tmpdir(), "pith-quantize-"));
afterAll(() => rm(dir, { recursive: true, force: true }));

// The text that the small model in this repository was trained on, of other seeds.
const { stories } = await import(new URL("../../models/stories/corpus.mjs", import.meta.url).href);
const calibration = join(dir, "stories.jsonl");
const lines: string[] = stories(60, 11).map((text: string) => `${JSON.stringify({ text })}\n`);
await writeFile(calibration, lines.join(""));
const evaluation = join(dir, "evaluation.txt");
await writeFile(evaluation, stories(40, 12).join("\n"));

let made = 0;
const fresh = (ending = ".gguf") => join(dir, `out-${made++}${ending}`);
const run = (options: Omit<QuantizeOptions, "out"> & Partial<QuantizeOptions>, model = STORIES) =>
  quantize(model, { out: fresh(), threads: 1, ...options }).result;
const exists = (path: string) =>
  access(path).then(
    () => true,
    () => false,
  );
/** Type and bytes of a tensor, as the file has them. */
async function tensorOf(path: string, name: string) {
  const model = await openModel(path);
  const { source, offset, bytes, type } = model.tensors.get(name)!;
  const read = { type, bytes: Buffer.from(await source.read(offset, bytes)) };
  await model.close();
  return read;
}
type Read = Awaited<ReturnType<typeof tensorOf>>;
const same = (a: Read, b: Read) => a.type === b.type && a.bytes.equals(b.bytes);
async function valuesOf(path: string, name: string) {
  const model = await openModel(path);
  const values = await parameterValues(model, name);
  await model.close();
  return values;
}
async function logitsOf(path: string, ids: readonly number[]) {
  await using model = await loadModel(path, { threads: 1, ctx: 64 });
  return await model.logits(ids);
}

describe("one file", () => {
  test("rounds what the plan says, and nothing else; the report tells what it cost", async () => {
    const { variants, original, report } = await run({ to: "q4_0", eval: evaluation, eval_limit: 4 });
    const [variant] = variants;
    const { path, plan, file_bytes, errors, measured } = variant!;
    const file = await openModel(path);
    for (const { name, type, shape } of plan.tensors)
      expect([name, file.tensors.get(name)?.type, file.tensors.get(name)?.shape]).toEqual([
        name,
        type,
        shape,
      ]);
    await file.close();
    expect(file_bytes).toBeGreaterThan(plan.bytes.after);
    expect(file_bytes).toBeLessThan(plan.bytes.after + 120_000);
    const [exact, rounded] = await Promise.all(
      [STORIES, path].map((from) => valuesOf(from, "model.layers.2.mlp.down_proj.weight")),
    );
    const error = Math.sqrt(
      exact!.reduce((sum, x, i) => sum + (x - rounded![i]!) ** 2, 0) /
        exact!.reduce((sum, x) => sum + x * x, 0),
    );
    const told = errors.find(({ name }) => name === "model.layers.2.mlp.down_proj.weight")!;
    expect(told.relative_error! / error).toBeGreaterThan(0.97);
    expect(told.relative_error! / error).toBeLessThan(1.03);
    expect(measured!.kl_mean).toBeGreaterThan(0);
    expect(measured!.top1).toBeGreaterThan(0.8);
    expect(
      Math.abs(measured!.log_ratio - Math.log(measured!.perplexity / original!.perplexity)),
    ).toBeLessThan(1e-6);
    const page = await readFile(report, "utf8");
    for (const text of [
      "q4_0-rtn",
      "as it was",
      "Error of the weights by layer",
      "the head is the embedding",
    ])
      expect(page).toContain(text);
  });

  test("rows that GGUF moves are moved, and a GGUF file gives the same file", async () => {
    const folder = join(dir, "tiny");
    await writeTinyModel(folder, { ...TINY.llama, intermediate_size: 64 });
    await writeTinyTokenizer(folder);
    const gguf = fresh();
    const opened = await openModel(folder);
    await convert(opened, gguf, { type: "f32" });
    await opened.close();
    const [a, b] = [
      (await run({ to: "q8_0", method: "rtn" }, folder)).variants[0]!.path,
      (await run({ to: "q8_0" }, gguf)).variants[0]!.path,
    ];
    expect((await readFile(a)).equals(await readFile(b))).toBe(true);
    const ids = tinyIds(20, 50);
    const [exact, close] = [await logitsOf(folder, ids), await logitsOf(a, ids)];
    const far = Math.max(...exact.map((x, i) => Math.abs(x - close[i]!)));
    expect(far).toBeLessThan(0.05 * Math.max(...exact.map(Math.abs)));
  });

  test("columns that GGUF moves are moved before they are rounded", async () => {
    const folder = join(dir, "qwen3_5");
    const sizes = { hidden_size: 64, linear_key_head_dim: 16, linear_value_head_dim: 16 };
    await writeTinyType(folder, { ...TINY_TYPES["qwen3_5_text-tiled"]!.config, ...sizes });
    await writeTinyTokenizer(folder);
    const exact = fresh();
    const model = await openModel(folder);
    await convert(model, exact, { type: "f32" });
    await model.close();
    const { path } = (await run({ to: "q8_0", pure: true }, folder)).variants[0]!;
    for (const part of ["out_proj", "in_proj_qkv"]) {
      const name = `model.layers.0.linear_attn.${part}.weight`;
      expect((await tensorOf(path, name)).type).toBe("q8_0");
      const [a, b] = [await valuesOf(exact, name), await valuesOf(path, name)];
      expect(Math.max(...a.map((x, i) => Math.abs(x - b[i]!)))).toBeLessThan(
        0.01 * Math.max(...a.map(Math.abs)),
      );
    }
  });

  test("what has the type already keeps its bytes", async () => {
    const first = (await run({ to: "q4_0", pure: true })).variants[0]!.path;
    const second = (await run({ to: "q4_0", pure: true }, first)).variants[0]!;
    const name = "model.layers.1.mlp.up_proj.weight";
    expect(same(await tensorOf(second.path, name), await tensorOf(first, name))).toBe(true);
    expect(second.errors).toEqual([]);
    const again = (await run({ to: "q8_0" }, first)).variants[0]!;
    expect(again.notes.join()).toMatch(/\d+ matrices were rounded before \(q4_0\)/);
  });
});

describe("calibrated", () => {
  test("imatrix rounds each column by what it is multiplied with", async () => {
    const data = { calibration, tokens: 2048 };
    const { variants } = await run({
      to: "q4_0",
      pure: true,
      method: ["rtn", "imatrix"],
      ...data,
      out: fresh(""),
    });
    const name = "model.layers.1.mlp.down_proj.weight";
    const [plain, weighted] = await Promise.all(variants.map(({ path }) => tensorOf(path, name)));
    expect(plain!.bytes.equals(weighted!.bytes)).toBe(false);
    expect(variants.map(({ errors }) => errors[0]!.relative_error)).toEqual([
      expect.any(Number),
      expect.any(Number),
    ]);
  });

  test("gptq errs less where it counts; an interrupted run goes on to the same bytes", async () => {
    const options = { to: "q4_0", pure: true, method: "gptq", calibration, tokens: 2048, ctx: 64 } as const;
    const whole = (await run(options)).variants[0]!;
    const errors = whole.errors.filter(({ output_error }) => output_error !== undefined);
    expect(errors.length).toBeGreaterThan(20);
    const out = fresh();
    const stop = new AbortController();
    const job = quantize(STORIES, { ...options, out, threads: 1, signal: stop.signal });
    const follow = async () => {
      for await (const { done } of job) if (done > 3) stop.abort(new Error("enough"));
    };
    await expect(follow()).rejects.toThrow("enough");
    expect(await exists(out)).toBe(false);
    expect(await readdir(`${out}.unfinished`)).toContain("part-00002.safetensors");
    await expect(run({ ...options, out })).rejects.toThrow(
      "go on with it (resume), or begin again (overwrite)",
    );
    await expect(run({ ...options, out, resume: true, seed: 1 })).rejects.toThrow(
      "seed was 0 when the run began, and is 1 now",
    );
    await run({ ...options, out, resume: true });
    expect((await readFile(out)).equals(await readFile(whole.path))).toBe(true);
    expect(await exists(`${out}.unfinished`)).toBe(false);
  });

  test("learned writes what was trained, norms too, and clears its checkpoints", async () => {
    const data = { calibration, tokens: 4096, ctx: 64, steps: 12 };
    const options = { to: "q4_0", pure: true, method: ["gptq", "learned"], ...data } as const;
    const { variants } = await run({ ...options, out: fresh("") });
    const [start, end] = variants.map(({ path }) => path);
    const name = (part: string) => `model.layers.1.${part}.weight`;
    for (const part of ["mlp.down_proj", "input_layernorm"])
      expect(same(await tensorOf(start!, name(part)), await tensorOf(end!, name(part)))).toBe(false);
    expect((await tensorOf(end!, name("mlp.down_proj"))).type).toBe("q4_0");
    expect((await readdir(join(end!, ".."))).sort()).toEqual([
      "q4_0-gptq.gguf",
      "q4_0-learned.gguf",
      "quantize.json",
      "report.html",
    ]);
  });

  test("several variants are files in a folder with one report; a resumed run makes what is missing", async () => {
    const out = fresh("");
    const options = { to: ["q4_0", "q8_0"], out, eval: evaluation, eval_limit: 1 } as const;
    const first = await run(options);
    expect((await readdir(out)).sort()).toEqual([
      "q4_0-rtn.gguf",
      "q8_0-rtn.gguf",
      "quantize.json",
      "report.html",
    ]);
    const [small, large] = first.variants.map(({ measured }) => measured!);
    expect(small!.kl_mean).toBeGreaterThan(large!.kl_mean);
    await expect(run(options)).rejects.toThrow("it exists; ask to overwrite it");
    const kept = await readFile(join(out, "q4_0-rtn.gguf"));
    await rm(join(out, "q8_0-rtn.gguf"));
    const second = await run({ ...options, resume: true });
    expect(kept.equals(await readFile(join(out, "q4_0-rtn.gguf")))).toBe(true);
    expect(second.variants[0]!.seconds).toBe(first.variants[0]!.seconds);
    expect(second.variants.map(({ measured }) => measured)).toEqual(
      first.variants.map(({ measured }) => measured),
    );
  });

  test("bits go where they save the most, under the limit", async () => {
    const options = { calibration, tokens: 1024, ctx: 64 };
    const { variants } = await run({ bits: 6.5, to: ["q4_0", "q8_0"], ...options });
    const { plan, mix, name, to } = variants[0]!;
    expect(name).toBe("6.5bits-rtn");
    expect(plan.bits_per_weight).toBeLessThanOrEqual(6.5);
    expect(plan.bits_per_weight).toBeGreaterThan(6);
    const types = new Set(plan.tensors.map(({ type }) => type));
    expect([...types].sort()).toEqual(["f32", "q4_0", "q8_0"]);
    expect(["q4_0", "q8_0"]).toContain(to);
    for (const { type, group, kl } of mix!.trials)
      if (type === "q8_0") expect(kl).toBeLessThan(mix!.trials.find((t) => t.group === group)!.kl);
    const all = mix!.trials.filter(({ type }) => type === "q4_0").reduce((sum, { kl }) => sum + kl, 0);
    expect(mix!.kl).toBeLessThan(0.5 * all);
    expect(mix!.kl / mix!.predicted_kl).toBeGreaterThan(0.5);
    expect(mix!.kl / mix!.predicted_kl).toBeLessThan(2);
    await expect(run({ bits: 2, to: ["q4_0", "q8_0"], ...options })).rejects.toThrow(
      /to 2 bits a weight: in q4_0 it takes 4\.\d+, wanted that or more/,
    );
  });
});

describe("a folder of compressed-tensors", () => {
  test.each(["q4_0", "q8_0"] as const)("%s: opened again it is the same matrices", async (to) => {
    const out = fresh("");
    const packed = (await run({ to, out })).variants[0]!;
    const gguf = (await run({ to, pure: true })).variants[0]!;
    const config = JSON.parse(await readFile(join(out, "config.json"), "utf8"));
    expect(config.quantization_config).toMatchObject({
      quant_method: "compressed-tensors",
      format: "pack-quantized",
      quantization_status: "compressed",
      config_groups: {
        group_0: {
          targets: ["Linear"],
          weights: {
            num_bits: to === "q4_0" ? 4 : 8,
            type: "int",
            symmetric: true,
            strategy: "group",
            group_size: 32,
          },
        },
      },
      ignore: ["lm_head"],
    });
    for (const part of ["self_attn.v_proj", "mlp.down_proj", "mlp.gate_proj"]) {
      const name = `model.layers.3.${part}.weight`;
      expect(same(await tensorOf(out, name), await tensorOf(gguf.path, name))).toBe(true);
    }
    expect((await tensorOf(out, "model.embed_tokens.weight")).type).toBe("f16");
    expect(packed.plan.tensors.find(({ name }) => name === "model.embed_tokens.weight")).toMatchObject({
      type: "f16",
      reason: "kept",
    });
    const ids = [1, 5, 9, 200, 17];
    const [a, b] = [await logitsOf(out, ids), await logitsOf(gguf.path, ids)];
    expect(Math.max(...a.map((x, i) => Math.abs(x - b[i]!)))).toBeLessThan(2);
    expect((await readdir(out)).sort()).toContain("report.html");
  });

  test("other types, mixes and transposed matrices are refused", async () => {
    await expect(run({ to: "q5_0", out: fresh("") })).rejects.toThrow(
      "a folder holds q4_0 and q8_0 (compressed-tensors), found q5_0",
    );
    await expect(run({ to: "q4_0", mix: "down_proj=q8_0", out: fresh("") })).rejects.toThrow("wanted no mix");
  });
});

describe("bad input", () => {
  const cal = (content: string, ending = "txt") => {
    const path = join(dir, `c${made++}.${ending}`);
    return writeFile(path, content).then(() => path);
  };

  test("calibration text that is empty, too short or missing", async () => {
    const by = async (file: string | undefined) => {
      const out = fresh();
      const given = file === undefined ? {} : { calibration: file };
      const error = await run({ to: "q4_0", method: "imatrix", out, ...given }).catch((e: Error) => e);
      expect(await exists(out)).toBe(false);
      expect(await exists(`${out}.unfinished`)).toBe(false);
      return (error as Error).message;
    };
    expect(await by(await cal(""))).toContain("it has 0 bytes, wanted samples");
    expect(await by(await cal(" \n"))).toContain("nothing but white space");
    expect(await by(await cal("once"))).toMatch(
      /has \d tokens to predict, wanted 64 or more|no sample has a token/,
    );
    expect(await by(join(dir, "none.txt"))).toContain("no such file");
    expect(await by(undefined)).toContain(
      "Cannot quantize by imatrix: wanted text or samples to calibrate on",
    );
  });

  test("ids that the model does not know", async () => {
    // A tokenizer of more tokens than the embedding has rows.
    const folder = join(dir, "foreign");
    await writeTinyModel(folder, { ...TINY.qwen2, max_position_embeddings: 64 });
    for (const file of ["tokenizer.json", "tokenizer_config.json"])
      await writeFile(join(folder, file), await readFile(join(STORIES, file)));
    await expect(run({ to: "q8_0", method: "imatrix", calibration }, folder)).rejects.toThrow(
      /its text has token \d+, but the model knows 70, wanted the tokenizer of this model/,
    );
  });

  test("a type that no width can take", async () => {
    await expect(run({ to: "q6_k" })).rejects.toThrow(
      /its matrices have widths of 128, 352, wanted some of whole blocks of 256; .*q8_0.* would do/,
    );
  });

  test.each([
    ["NaN", Number.NaN],
    ["infinity", Number.POSITIVE_INFINITY],
  ])("%s in the weights is named, and nothing is left", async (_, bad) => {
    const folder = join(dir, `bad-${made++}`);
    await writeTinyModel(folder, { ...TINY.llama, intermediate_size: 64 });
    await writeTinyTokenizer(folder);
    const model = await openModel(folder);
    const tensors = await Promise.all(
      [...model.tensors].map(async ([name, { shape }]) => {
        const values = await parameterValues(model, name);
        if (name === "model.layers.1.mlp.up_proj.weight") values[40] = bad;
        return { name, shape, type: "f32" as const, data: async () => new Uint8Array(values.buffer) };
      }),
    );
    await model.close();
    await writeSafetensors(join(folder, "model.safetensors"), tensors);
    await expect(run({ to: "q8_0", out: join(dir, "bad.gguf") }, folder)).rejects.toThrow(
      /Cannot quantize tensor "model\.layers\.1\.mlp\.up_proj\.weight": .*(NaN|Infinity)/,
    );
    expect((await readdir(dir)).filter((name) => name.includes("bad.gguf"))).toEqual([]);
  });

  test("an output that exists, of another kind, or the model itself", async () => {
    const out = (await run({ to: "q8_0" })).variants[0]!.path;
    await expect(run({ to: "q4_0", out })).rejects.toThrow("it exists; ask to overwrite it");
    await run({ to: "q4_0", out, overwrite: true });
    expect((await tensorOf(out, "model.layers.0.mlp.up_proj.weight")).type).toBe("q4_0");
    await expect(run({ to: "q4_0", out, overwrite: true }, out)).rejects.toThrow(
      "it is the model that is quantized, wanted another name",
    );
    await expect(run({ to: "q4_0", out: join(dir, "no", "x.gguf") })).rejects.toThrow("there is no folder");
    await expect(run({ to: ["q4_0", "q8_0"] })).rejects.toThrow("wanted the name of a folder");
    await expect(run({ to: [] })).rejects.toThrow("wanted a type (to), or bits");
  });

  test("an abort leaves nothing", async () => {
    const out = fresh();
    const stop = new AbortController();
    const job = quantize(STORIES, { to: "q8_0", out, threads: 1, signal: stop.signal });
    const follow = async () => {
      for await (const _ of job) stop.abort(new Error("enough"));
    };
    await expect(follow()).rejects.toThrow("enough");
    expect((await readdir(dir)).filter((name) => name.includes(out.split("/").at(-1)!))).toEqual([]);
  });
});

test("a dry run tells types, sizes and memory, and writes nothing", async () => {
  const out = fresh("");
  const { variants } = await dryRunQuantize(STORIES, {
    to: ["q4_0", "q8_0"],
    method: ["rtn", "imatrix", "gptq"],
    calibration,
    tokens: 4096,
    out,
  });
  expect(await exists(out)).toBe(false);
  expect(variants.map(({ name }) => name)).toContain("q8_0-gptq");
  const [rtn, imatrix, gptq] = variants.map(({ memory }) => memory);
  expect(rtn!.total).toBeLessThan(imatrix!.total);
  expect(imatrix!.total).toBeLessThan(gptq!.total);
  const hidden = imatrix!.parts.find(({ what }) => what.startsWith("hidden states"))!;
  expect(hidden).toMatchObject({ formula: "2 · 4 · 4096 tokens · 128", bytes: 8 * 4096 * 128 });
  // q, k, v read one input, o, gate and up, and down another: 128, 128, 128 and 352 columns.
  const products = gptq!.parts.find(({ what }) => what.startsWith("XᵀX"))!;
  expect(products.bytes).toBe(4 * (3 * 128 ** 2 + 352 ** 2));
});
