import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { createBackend } from "../../engine/backends/index.ts";
import { bf16ToF32, f16ToF32, f32ToBf16, f32ToF16 } from "../../engine/half.ts";
import { dequantize, floatRows } from "../../engine/weights.ts";
import { linearTargets, type OpenedModel, openModel, parameterValues } from "../../models/index.ts";
import { type ScratchOptions, train } from "../scratch.ts";

const root = await mkdtemp(join(tmpdir(), "pith-ternary-"));
afterAll(() => rm(root, { recursive: true, force: true }));
let folders = 0;
const folder = () => join(root, `out${folders++}`);
const data = join(root, "rhyme.txt");
await writeFile(data, "the cat sat on the mat. the dog sat on the log. ".repeat(40));

const TINY: Omit<ScratchOptions, "out"> = {
  config: { layers: 2, heads: 2, width: 32, ctx: 16 },
  ...{ data, eval_share: 0.1, batch_tokens: 128, max_steps: 60, lr: 1e-2, threads: 1, method: "ternary" },
};
const weights = async (out: string) => (await readFile(join(out, "model.safetensors"))).toString("hex");

/** Magnitudes of every group of columns of every linear but the head: of each the values that are not 0. */
async function magnitudes(model: OpenedModel, group?: number): Promise<Set<number>[]> {
  const found: Set<number>[] = [];
  for (const [path, { weight }] of linearTargets(model.definition, model.config)) {
    if (path === "lm_head") continue;
    const values = await parameterValues(model, weight);
    const n = group ?? values.length;
    for (let start = 0; start < values.length; start += n)
      found.push(new Set(values.subarray(start, start + n).map(Math.abs)));
  }
  return found;
}

test("a ternary model learns from nothing; what is written has three values a scale, exact in every float type", async () => {
  const out = folder();
  const result = await train({ ...TINY, out }).result;
  expect(result.eval_loss).toBeLessThan(1.2);
  const model = await openModel(out);
  const found = await magnitudes(model);
  expect(found.length).toBe(14);
  for (const set of found) {
    const scales = [...set].filter((v) => v !== 0);
    expect(set.size).toBeLessThanOrEqual(2);
    expect(scales.length).toBe(1);
    expect(bf16ToF32(f32ToBf16(scales[0]!))).toBe(scales[0]);
    expect(f16ToF32(f32ToF16(scales[0]!))).toBe(scales[0]);
  }
  const embedding = await parameterValues(model, "model.embed_tokens.weight");
  expect(new Set(embedding.map(Math.abs)).size).toBeGreaterThan(100);
  await model.close();

  for (const type of ["bf16", "f16"] as const) {
    const other = folder();
    await train({ ...TINY, out: other, type }).result;
    const half = await openModel(other);
    expect(await magnitudes(half)).toEqual(found);
    await half.close();
  }
});

test("rows of whole blocks of 256 columns have a scale for each, which ternary types hold exactly", async () => {
  const out = folder();
  const config = join(root, "config.json");
  await writeFile(
    config,
    JSON.stringify({
      ...{ model_type: "llama", hidden_size: 256, intermediate_size: 512, num_hidden_layers: 1 },
      ...{ num_attention_heads: 4, num_key_value_heads: 2, max_position_embeddings: 16 },
      ...{ rms_norm_eps: 1e-5, rope_theta: 10000, hidden_act: "silu", tie_word_embeddings: true },
    }),
  );
  await train({ ...TINY, config, max_steps: 2, out }).result;
  const model = await openModel(out);
  const found = await magnitudes(model, 256);
  expect(found.length).toBe(256 + 128 + 128 + 256 + 2 * 512 + 2 * 256);
  for (const set of found) expect([...set].filter((v) => v !== 0).length).toBe(1);
  expect(new Set(found.flatMap((set) => [...set])).size).toBeGreaterThan(50);
  const backend = await createBackend({ threads: 1 });
  for (const [path, { weight, K }] of linearTargets(model.definition, model.config))
    for (const type of path === "lm_head" ? [] : (["tq2_0", "tq1_0"] as const)) {
      const values = await parameterValues(model, weight);
      const blocks = new Float32Array(values.length);
      dequantize(type, await backend.encode(type, floatRows(values), K), blocks);
      expect(blocks.findIndex((v, i) => v !== values[i])).toBe(-1); // -0 equals 0
    }
  backend.close();
  await model.close();
});

test("stopped and resumed, the same ternary model comes out; another method or arithmetic is refused", async () => {
  const [whole, out] = [folder(), folder()];
  const options = { ...TINY, max_steps: 6, eval_steps: 2, save_steps: 2 };
  await train({ ...options, out: whole }).result;
  const job = train({ ...options, out });
  for await (const { step } of job) if (step === 3) break;
  await expect(job.result).rejects.toThrow("stopped after step");
  const resumed = (other: Partial<ScratchOptions>) =>
    train({ ...options, ...other, out, resume: true }).result;
  await expect(resumed({ method: "full" })).rejects.toThrow('method was "ternary" when the run began');
  await expect(resumed({ compute: "bf16" })).rejects.toThrow("compute was not set");
  await resumed({});
  expect(await weights(out)).toBe(await weights(whole));
  await expect(train({ ...options, out: folder(), method: "dora" as never }).result).rejects.toThrow(
    'Cannot train by the method "dora": wanted full or ternary',
  );
});
