// What the steps towards a model of one's own take for models of the published shapes, as the dry runs tell it: the tables of
// docs/your-own-model.md. Folders have the right config.json, a tokenizer, and a model.safetensors with every tensor in its
// header and nothing but a hole behind it, so no weights are needed and the zeros take no disk.
// Command: node bench/dry-runs.mjs [name ...] [--no-time | --time: without LoRA | --pairs: those alone]   (needs dist/ and the addon: npm run build)
//
// Times are those of steps by one thread, as it had the processor, and given for two by SPEEDUP: other work on the machine
// shows less then. On an idle one, `pith tune --dry-run` says them itself.
import {
  closeSync,
  copyFileSync,
  ftruncateSync,
  mkdirSync,
  openSync,
  readdirSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { loadavg } from "node:os";
import { join } from "node:path";
import { dryDistill } from "../dist/distill/index.js";
import { dryRunQuantize, inspect } from "../dist/index.js";
import { definitionOf, openModel, parseConfig } from "../dist/models/index.js";
import { prepare } from "../dist/train/index.js";
import { cache } from "./models.mjs";
import { data } from "./vocab.mjs";

const llama3 = {
  rope_type: "llama3",
  factor: 32,
  low_freq_factor: 1,
  high_freq_factor: 4,
  original_max_position_embeddings: 8192,
};
const ones = Array.from({ length: 48 }, () => 1);
const common = {
  rms_norm_eps: 1e-5,
  tie_word_embeddings: true,
  bos_token_id: 1,
  eos_token_id: 2,
  torch_dtype: "bfloat16",
};

/** config.json of each, less what does not change sizes. @type {Record<string, Record<string, any>>} */
// biome-ignore format: a table
const MODELS = {
  "SmolLM2-135M": { model_type: "llama", hidden_size: 576, intermediate_size: 1536, num_hidden_layers: 30, num_attention_heads: 9, num_key_value_heads: 3, vocab_size: 49152, max_position_embeddings: 8192, rope_theta: 1e5 },
  "Gemma-3-270M": { model_type: "gemma3_text", hidden_size: 640, intermediate_size: 2048, num_hidden_layers: 18, num_attention_heads: 4, num_key_value_heads: 1, head_dim: 256, vocab_size: 262144, max_position_embeddings: 32768, rope_theta: 1e6, rope_local_base_freq: 1e4, sliding_window: 512, query_pre_attn_scalar: 256 },
  "SmolLM2-360M": { model_type: "llama", hidden_size: 960, intermediate_size: 2560, num_hidden_layers: 32, num_attention_heads: 15, num_key_value_heads: 5, vocab_size: 49152, max_position_embeddings: 8192, rope_theta: 1e5 },
  "Qwen3-0.6B": { model_type: "qwen3", hidden_size: 1024, intermediate_size: 3072, num_hidden_layers: 28, num_attention_heads: 16, num_key_value_heads: 8, head_dim: 128, vocab_size: 151936, max_position_embeddings: 40960, rope_theta: 1e6 },
  "Gemma-3-1B": { model_type: "gemma3_text", hidden_size: 1152, intermediate_size: 6912, num_hidden_layers: 26, num_attention_heads: 4, num_key_value_heads: 1, head_dim: 256, vocab_size: 262144, max_position_embeddings: 32768, rope_theta: 1e6, rope_local_base_freq: 1e4, sliding_window: 512, query_pre_attn_scalar: 256 },
  "Llama-3.2-1B": { model_type: "llama", hidden_size: 2048, intermediate_size: 8192, num_hidden_layers: 16, num_attention_heads: 32, num_key_value_heads: 8, vocab_size: 128256, max_position_embeddings: 131072, rope_theta: 5e5, rope_scaling: llama3 },
  "SmolLM2-1.7B": { model_type: "llama", hidden_size: 2048, intermediate_size: 8192, num_hidden_layers: 24, num_attention_heads: 32, num_key_value_heads: 32, vocab_size: 49152, max_position_embeddings: 8192, rope_theta: 1.3e5 },
  "Qwen3-1.7B": { model_type: "qwen3", hidden_size: 2048, intermediate_size: 6144, num_hidden_layers: 28, num_attention_heads: 16, num_key_value_heads: 8, head_dim: 128, vocab_size: 151936, max_position_embeddings: 40960, rope_theta: 1e6 },
  "Llama-3.2-3B": { model_type: "llama", hidden_size: 3072, intermediate_size: 8192, num_hidden_layers: 28, num_attention_heads: 24, num_key_value_heads: 8, head_dim: 128, vocab_size: 128256, max_position_embeddings: 131072, rope_theta: 5e5, rope_scaling: llama3 },
  "Phi-4-mini": { model_type: "phi3", hidden_size: 3072, intermediate_size: 8192, num_hidden_layers: 32, num_attention_heads: 24, num_key_value_heads: 8, vocab_size: 200064, max_position_embeddings: 131072, original_max_position_embeddings: 4096, rope_theta: 1e4, partial_rotary_factor: 0.75, rope_scaling: { type: "longrope", short_factor: ones, long_factor: ones } },
};
/** As their cards state it. @type {Record<string, string>} */
const LICENCES = {
  "SmolLM2-135M": "Apache 2.0",
  "Gemma-3-270M": "Gemma terms",
  "SmolLM2-360M": "Apache 2.0",
  "Qwen3-0.6B": "Apache 2.0",
  "Gemma-3-1B": "Gemma terms",
  "Llama-3.2-1B": "Llama 3.2 community",
  "SmolLM2-1.7B": "Apache 2.0",
  "Qwen3-1.7B": "Apache 2.0",
  "Llama-3.2-3B": "Llama 3.2 community",
  "Phi-4-mini": "MIT",
};
/** Students that have their teacher's vocabulary. @type {[string, string, "full" | "lora"][]} */
const PAIRS = [
  ["SmolLM2-1.7B", "SmolLM2-135M", "full"],
  ["SmolLM2-1.7B", "SmolLM2-360M", "full"],
  ["Qwen3-1.7B", "Qwen3-0.6B", "lora"],
  ["Llama-3.2-3B", "Llama-3.2-1B", "lora"],
];

/** Samples, their tokens each, and passes: what the times are for. */
const SAMPLES = 1000;
const EPOCHS = 3;
/** Measured on an idle machine: a LoRA step of 135M by two threads beside one. */
const SPEEDUP = 1.8;
const MIB = 2 ** 20;

const folder = join(cache, "dry");
mkdirSync(folder, { recursive: true });
const file = join(folder, "samples.jsonl");
writeFileSync(file, Array.from({ length: SAMPLES }, (_, i) => JSON.stringify(sample(i))).join("\n"));

/** About 110 tokens, of which some 30 are learned. @param {number} i */
function sample(i) {
  const words = ["order", "invoice", "customer", "delivery", "Thursday", "refund", "address", "number"];
  const text = (/** @type {number} */ n, /** @type {number} */ from) =>
    Array.from({ length: n }, (_, j) => words[(i * 7 + j * 5 + from) % words.length]).join(" ");
  return { prompt: `${text(70, i)} ${i}?`, completion: text(30, i + 3) };
}

/** Makes the folder of a model. @param {string} name */
function place(name) {
  const config = { ...common, ...MODELS[name] };
  const path = join(folder, name);
  mkdirSync(path, { recursive: true });
  writeFileSync(join(path, "config.json"), JSON.stringify(config));
  const tokenizer = join(data, "tokenizers", /Qwen/.test(name) ? "qwen2.5" : "smollm2");
  for (const one of readdirSync(tokenizer))
    if (/^(tokenizer|vocab|merges|added|special|chat)/.test(one))
      copyFileSync(join(tokenizer, one), join(path, one));
  const parsed = parseConfig(name, JSON.stringify(config));
  const definition = definitionOf(parsed.model_type, name);
  /** @type {Record<string, object>} */
  const header = { __metadata__: { format: "pt" } };
  let end = 0;
  for (const [tensor, shape] of definition.params(parsed)) {
    const bytes = 2 * shape.reduce((a, b) => a * b, 1);
    header[tensor] = { dtype: "BF16", shape, data_offsets: [end, end + bytes] };
    end += bytes;
  }
  const text = JSON.stringify(header);
  const json = Buffer.from(text.padEnd(Math.ceil(text.length / 8) * 8));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(json.length));
  const out = openSync(join(path, "model.safetensors"), "w");
  writeSync(out, length);
  writeSync(out, json);
  ftruncateSync(out, 8 + json.length + end);
  closeSync(out);
  return path;
}

/**
 * What a tuning would take, and of `steps` of them (after a first one) the time that the processor had.
 * @param {string} path @param {import("../dist/train/index.js").PrepareOptions} options @param {number} steps
 */
async function planned(path, options, steps) {
  const model = await openModel(path);
  const prepared = await prepare(model, options, new AbortController().signal);
  try {
    const { learner, data, plan } = prepared;
    let micros = 0;
    for (let i = 0; steps > 0 && i <= steps; i++) {
      const before = process.cpuUsage();
      await learner.step(data.step(i).batches, { lr: 0 });
      const { user, system } = process.cpuUsage(before);
      if (i > 0) micros += user + system;
    }
    return { plan, hours: steps > 0 ? ((micros / steps) * data.steps) / SPEEDUP / 3.6e9 : undefined };
  } finally {
    prepared.close();
    await model.close();
  }
}

const gib = (/** @type {number} */ bytes) => (bytes / 2 ** 30).toFixed(1);
const mib = (/** @type {number} */ bytes) =>
  bytes < 2 ** 30 ? `${Math.round(bytes / MIB)} MiB` : `${gib(bytes)} GiB`;
const time = (/** @type {number | undefined} */ hours) =>
  hours === undefined
    ? ""
    : hours < 1
      ? `${Math.max(1, Math.round(60 * hours))} min`
      : `${hours.toFixed(1)} h`;
const row = (/** @type {unknown[]} */ ...cells) => console.log(`| ${cells.join(" | ")} |`);

const timed = !process.argv.includes("--no-time");
const named = process.argv.slice(2).filter((word) => !word.startsWith("--"));
const names = Object.keys(MODELS).filter((name) => named.length === 0 || named.includes(name));
const settings = { data: file, ctx: 512, epochs: EPOCHS, batch_tokens: 128, threads: 1, recompute: true };

/** @type {Record<"sizes" | "tuning" | "quantizing" | "distilling", unknown[][]>} */
const tables = {
  sizes: [["base", "parameters", "16 bits", "4 bits (q4_k)", "memory at work", "licence"]],
  tuning: [["base", "LoRA", "QLoRA", "time of either"]],
  quantizing: [["base", "rtn", "gptq", "learned"]],
  distilling: [["teacher", "student", "method", "memory"]],
};
const timeAlone = process.argv.includes("--time");
const pairsAlone = process.argv.includes("--pairs");
for (const name of pairsAlone ? [] : names) {
  const path = place(name);
  const { variants } = await dryRunQuantize(path, {
    to: "q4_k",
    method: ["rtn", "gptq", "learned"],
    calibration: file,
    out: join(folder, "none"),
  });
  const [rtn, gptq, learned] = variants;
  const opened = await openModel(path);
  const { memory } = await inspect(opened, [4096]);
  await opened.close();
  const { cache: kv, work } = memory.find((one) => one.kv === "f16");
  const { plan } = rtn;
  // Both methods take about as long; one is timed.
  const how = { ...settings, compute: /** @type {const} */ ("bf16") };
  const lora = timeAlone ? undefined : await planned(path, { ...how, method: "lora" }, 0);
  const qlora = await planned(path, { ...how, method: "qlora" }, timed ? 2 : 0);
  const size = `${(plan.parameters / 1e6).toFixed(0)} M`;
  const at_work = plan.bytes.after + kv + work;
  tables.sizes.push([name, size, mib(plan.bytes.f16), mib(plan.bytes.after), mib(at_work), LICENCES[name]]);
  tables.tuning.push([
    name,
    lora ? mib(lora.plan.memory.total) : "",
    mib(qlora.plan.memory.total),
    time(qlora.hours),
  ]);
  tables.quantizing.push([name, ...[rtn, gptq, learned].map(({ memory }) => mib(memory.total))]);
  console.error(`${name}: ${qlora.plan.tokens} tokens, micro-batches of ${qlora.plan.size.tokens}`);
}
for (const [teacher, student, method] of PAIRS.filter(
  (pair) => timed && pair.slice(0, 2).every((one) => names.includes(one)),
)) {
  const how = {
    ...settings,
    teacher: place(teacher),
    method,
    on_policy: 0,
    compute: /** @type {const} */ ("bf16"),
  };
  const result = await dryDistill(place(student), how, { samples: 0 });
  tables.distilling.push([teacher, student, method, mib(result.plan.memory.total)]);
}
for (const [header, ...rows] of Object.values(tables)) {
  row(...header);
  row(...header.map(() => "---"));
  for (const cells of rows) row(...cells);
  console.log("");
}
console.error(
  `load ${loadavg()
    .map((x) => x.toFixed(1))
    .join(", ")}; ${SAMPLES} samples, ${EPOCHS} passes`,
);
