// Writes a wider model that computes what a smaller one does: hidden states, heads and neurons are there twice, weights
// between them halved and made to differ by what cancels out ("HyperCloning": Samragh et al. 2024, "Scaling Smart").
// Trained on from there, it is a teacher that need not begin anew. Needs a built pith.
//
// node models/caller/grow.mjs --model folder --out folder [--noise 0.5] [--seed 1]

import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { dequantize } from "../../dist/engine/weights.js";
import { openFile, readSafetensors, writeSafetensors } from "../../dist/formats/index.js";
import { Chance } from "./data/random.mjs";

const { values: args } = parseArgs({
  options: {
    model: { type: "string" },
    out: { type: "string" },
    noise: { type: "string", default: "0.5" },
    seed: { type: "string", default: "1" },
  },
});
if (!args.model || !args.out) throw new TypeError("Cannot grow: wanted --model folder and --out folder");
const { model, out } = args;
const noise = Number(args.noise);
const chance = new Chance(Number(args.seed), "grow");

const config = JSON.parse(readFileSync(join(model, "config.json"), "utf8"));
for (const name of ["hidden_size", "intermediate_size", "num_attention_heads", "num_key_value_heads"])
  config[name] *= 2;
config.torch_dtype = "float32";
const source = await openFile(join(model, "model.safetensors"));
const { tensors } = await readSafetensors(source);

async function read({ name, type, offset, bytes, shape }) {
  if (type !== "f32" && type !== "bf16")
    throw new TypeError(`Cannot grow ${name} [${shape}]: its type is ${type}, wanted f32 or bf16`);
  const values = new Float32Array(shape.reduce((size, n) => size * n, 1));
  dequantize(type, await source.read(offset, bytes), values);
  return values;
}

/** Rows and columns twice: W becomes [[W/2 + n, W/2 - n], [W/2 + m, W/2 - m]], which x, x take to W x, W x. */
function linear(values, [rows, cols]) {
  const grown = new Float32Array(4 * rows * cols);
  const deviation = noise * Math.sqrt(values.reduce((sum, v) => sum + v * v, 0) / values.length);
  for (let r = 0; r < 2 * rows; r++)
    for (let c = 0; c < cols; c++) {
      const half = values[(r % rows) * cols + c] / 2;
      // The sum of twelve is near enough to a normal deviate.
      let n = -6;
      for (let i = 0; i < 12; i++) n += chance.next();
      grown[r * 2 * cols + c] = half + n * deviation;
      grown[r * 2 * cols + cols + c] = half - n * deviation;
    }
  return grown;
}

/** Columns twice: what a token looks like is there twice. */
function embedding(values, [rows, cols]) {
  const grown = new Float32Array(2 * rows * cols);
  for (let r = 0; r < rows; r++)
    for (const half of [0, 1])
      grown.set(values.subarray(r * cols, (r + 1) * cols), r * 2 * cols + half * cols);
  return grown;
}

const twice = (values, factor) => Float32Array.from([...values, ...values], (value) => value * factor);

const grown = [];
for (const [name, info] of tensors) {
  const { shape } = info;
  const values = await read({ name, ...info });
  // The head is the embedding, which sums what is there twice: the last norm halves it.
  const data =
    name === "model.embed_tokens.weight"
      ? embedding(values, shape)
      : shape.length === 1
        ? twice(values, name === "model.norm.weight" ? 0.5 : 1)
        : linear(values, shape);
  const size = name === "model.embed_tokens.weight" ? [shape[0], shape[1] * 2] : shape.map((n) => n * 2);
  const bytes = new Uint8Array(data.buffer);
  grown.push({ name, type: "f32", shape: size, data: async () => bytes });
}
await source.close();
mkdirSync(out, { recursive: true });
await writeSafetensors(join(out, "model.safetensors"), grown);
writeFileSync(join(out, "config.json"), `${JSON.stringify(config, null, 2)}\n`);
for (const file of [
  "tokenizer.json",
  "tokenizer_config.json",
  "generation_config.json",
  "chat_template.jinja",
])
  try {
    copyFileSync(join(model, file), join(out, file));
  } catch (error) {
    if (error.code !== "ENOENT") throw error;
  }
