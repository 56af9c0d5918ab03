import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { openModel, parameterValues } from "../models/index.ts";
import { configOfShape, initialValues } from "./initial.ts";
import { type ScratchOptions, train } from "./scratch.ts";
import { holdOut } from "./split.ts";
import { tune } from "./tune.ts";

const root = await mkdtemp(join(tmpdir(), "pith-scratch-"));
afterAll(() => rm(root, { recursive: true, force: true }));
let folders = 0;
const folder = () => join(root, `out${folders++}`);
const file = async (name: string, content: string | Uint8Array) => {
  await writeFile(join(root, name), content);
  return join(root, name);
};

const text = await file("rhyme.txt", "the cat sat on the mat. the dog sat on the log. ".repeat(40));
const TINY: Omit<ScratchOptions, "out"> = {
  config: { layers: 2, heads: 2, width: 32, ctx: 16 },
  data: text,
  eval_share: 0.1,
  batch_tokens: 128,
  max_steps: 60,
  lr: 5e-3,
  threads: 1,
};
const weights = async (out: string) => (await readFile(join(out, "model.safetensors"))).toString("hex");

test("a model of characters made from nothing learns its text, and the seed decides what comes out", async () => {
  const out = folder();
  const result = await train({ ...TINY, out }).result;
  expect(Math.abs(result.first_eval! - Math.log(14))).toBeLessThan(0.3);
  expect(result.eval_loss).toBeLessThan(1);
  const again = folder();
  await train({ ...TINY, out: again }).result;
  expect(await weights(again)).toBe(await weights(out));
  const other = folder();
  await train({ ...TINY, out: other, seed: 1, max_steps: 1 }).result;
  expect(await weights(other)).not.toBe(await weights(out));
});

test("stopped and resumed, the same model comes out; changed text or measures are refused", async () => {
  const [whole, out] = [folder(), folder()];
  const options = { ...TINY, max_steps: 12, eval_steps: 4, save_steps: 5 };
  await train({ ...options, out: whole }).result;
  for (let at = 4; at < 12; at += 4) {
    const job = train({ ...options, out, resume: true });
    await expect(
      (async () => {
        for await (const { step } of job) if (step >= at) break;
        await job.result;
      })(),
    ).rejects.toThrow("stopped after step");
  }
  const resumed = (other: Partial<ScratchOptions>) => train({ ...options, ...other, out, resume: true });
  const changed = join(root, "rhyme.txt");
  const before = await readFile(changed);
  await writeFile(changed, `${before}x`);
  await expect(resumed({}).result).rejects.toThrow(/Cannot resume .*(data|model).*was .* and is .* now/);
  await writeFile(changed, before);
  await expect(resumed({ config: { layers: 1, heads: 2, width: 32, ctx: 16 } }).result).rejects.toThrow(
    "model.num_hidden_layers was 2 when the run began, and is 1 now",
  );
  await expect(resumed({ seed: 5 }).result).rejects.toThrow("seed was 0");
  await resumed({}).result;
  expect(await weights(out)).toBe(await weights(whole));
});

test("samples are packed, end with a token of their own, and take a vocabulary made for them", async () => {
  const lines = ["one two", "three four five", "six", "seven eight nine ten"];
  const data = await file("s.jsonl", lines.map((text) => JSON.stringify({ text })).join("\n"));
  const out = folder();
  const job = train({ ...TINY, data, eval_share: 0.25, tokenizer: 270, max_steps: 3, out, type: "bf16" });
  const plan = await job.result.then((r) => r.plan);
  expect(plan.eval_tokens).toBeGreaterThan(1);
  const model = await openModel(out);
  expect(model.generationConfig).toEqual({ bos_token_id: 0, eos_token_id: [0] });
  expect(model.tensors.get("model.embed_tokens.weight")!.type).toBe("bf16");
  const tokenizer = await model.tokenizer();
  expect(tokenizer.decode(tokenizer.encode("three seven"), { skipSpecial: true })).toBe("three seven");
  await model.close();
});

test("a text's vocabulary has a token that ends it, so that the model can be tuned on answers", async () => {
  const out = folder();
  const options = {
    ...TINY,
    data: [text, await file("more.txt", "the end")],
    tokenizer: 280,
    max_steps: 2,
    out,
  };
  await train({ ...options, eval_share: 0 }).result;
  const model = await openModel(out);
  const tokenizer = await model.tokenizer();
  expect(model.generationConfig.eos_token_id).toEqual([0]);
  expect([tokenizer.addsBos, tokenizer.decode([0])]).toEqual([false, "<|endoftext|>"]);
  const data = await file("pairs.jsonl", JSON.stringify({ prompt: "one", completion: " two" }));
  const tuned = tune(model, { data, raw: true, out: folder(), max_steps: 1, batch_tokens: 16 });
  expect((await tuned.result).step).toBe(1);
  await model.close();
});

test("a gpt2 of the same measures is nanoGPT's, and its first weights are GPT-2's", async () => {
  const out = folder();
  const shape = { model_type: "gpt2", layers: 2, heads: 2, width: 32, ctx: 16 };
  const result = await train({ ...TINY, config: shape, out, max_steps: 1 }).result;
  // Embeddings 14 x 32 and 16 x 32, and per layer 12 width² + 13 width, then a norm.
  expect(result.plan.parameters).toBe(30 * 32 + 2 * (12 * 32 ** 2 + 13 * 32) + 64);
  const config = { num_hidden_layers: 8 } as Parameters<typeof initialValues>[0];
  const values = initialValues(config, 0);
  const deviation = (name: string) => {
    const found = values(name, [200, 100]);
    return Math.sqrt(found.reduce((sum, x) => sum + x * x, 0) / found.length);
  };
  expect(deviation("transformer.h.0.attn.c_attn.weight")).toBeCloseTo(0.02, 3);
  expect(deviation("transformer.h.0.attn.c_proj.weight")).toBeCloseTo(0.005, 4);
  expect(deviation("model.layers.0.mlp.down_proj.weight")).toBeCloseTo(0.005, 4);
  expect([...values("transformer.h.0.ln_1.bias", [2])]).toEqual([0, 0]);
  expect([...values("model.norm.weight", [2])]).toEqual([1, 1]);
  expect(configOfShape({ layers: 1, heads: 2, width: 128, ctx: 8 }).intermediate_size).toBe(352);
});

test("a gemma4 keeps what transformers does not train", async () => {
  const fields = {
    model_type: "gemma4_text",
    hidden_size: 32,
    intermediate_size: 48,
    num_hidden_layers: 2,
    num_attention_heads: 2,
    num_key_value_heads: 1,
    head_dim: 8,
    global_head_dim: 16,
    hidden_size_per_layer_input: 4,
    vocab_size_per_layer_input: 14,
    vocab_size: 14,
    max_position_embeddings: 16,
    layer_types: ["sliding_attention", "full_attention"],
  };
  const config = await file("gemma4.json", JSON.stringify(fields));
  const out = folder();
  const result = await train({ ...TINY, config, out, max_steps: 30 }).result;
  expect(result.eval_loss).toBeLessThan(result.first_eval! - 0.3);
  const model = await openModel(out);
  const scalar = async (i: number) => [...(await parameterValues(model, `model.layers.${i}.layer_scalar`))];
  expect([await scalar(0), await scalar(1)]).toEqual([[1], [1]]);
  await model.close();
});

test("what cannot be trained is refused before anything is written, and says why", async () => {
  const out = folder();
  const refused = (other: Partial<ScratchOptions>) =>
    expect(train({ ...TINY, ...other, out }).result).rejects;
  await refused({ data: [] }).toThrow("wanted at least one");
  await refused({ data: join(root, "none.txt") }).toThrow("no such file");
  await refused({ data: await file("empty.txt", "") }).toThrow("it has 0 bytes");
  await refused({ data: await file("latin.txt", Uint8Array.of(97, 0xe9, 97)) }).toThrow("not UTF-8");
  await refused({ data: [text, await file("x.jsonl", '{"text":"a"}')] }).toThrow("text and samples at once");
  await refused({ eval_share: 0, eval: await file("other.txt", "Ä") }).toThrow(
    "characters that have no token",
  );
  await refused({ eval: text }).toThrow("wanted one, eval or eval_share");
  await refused({ eval_share: 1 }).toThrow("wanted a share below 1");
  await refused({ data: await file("short.txt", "abc"), eval_share: 0 }).toThrow(
    "it has 3, wanted more than 16",
  );
  const config = await file(
    "config.json",
    JSON.stringify({ ...configOfShape(TINY.config as never), vocab_size: 5 }),
  );
  await refused({ config }).toThrow("vocab_size is 5, but the tokenizer has 14 tokens");
  await refused({ config: text }).toThrow("want JSON");
  await refused({ lr: -1 }).toThrow("Cannot train with lr -1");
  await refused({ tokenizer: join(root, "nothing.json") }).toThrow("nothing.json");
  await refused({ config: { layers: 2, heads: 3, width: 32, ctx: 16 } }).toThrow("hidden_size");
  await expect(readFile(join(out, "metrics.jsonl"))).rejects.toThrow("ENOENT");
  await mkdir(out);
});

test("a share is held out by the seed, and the rest is kept in order", () => {
  const items = Array.from({ length: 20 }, (_, i) => i);
  const [kept, held] = holdOut(items, 0.2, 3);
  expect(held.length).toBe(4);
  expect([...kept, ...held].sort((a, b) => a - b)).toEqual(items);
  expect(kept).toEqual([...kept].sort((a, b) => a - b));
  expect(holdOut(items, 0.2, 4)[1]).not.toEqual(held);
  expect(holdOut(items, 0.001, 4)[1].length).toBe(1);
  expect(holdOut(items, 0, 4)).toEqual([items, []]);
  expect(() => holdOut([1], 0.5, 0)).toThrow("none would be left");
});
