// Makes the model in this folder from nothing: corpus, tokenizer, half an hour of training on two busy cores, files.
// Run again: npm run build && node models/stories/make.mjs [steps] [out folder]

import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { createBackend } from "../../dist/engine/backends/index.js";
import { writeSafetensors } from "../../dist/formats/index.js";
import { definitionOf, parseConfig } from "../../dist/models/index.js";
import { loadTokenizerJson, trainTokenizer } from "../../dist/tokenizer/index.js";
import { loadFull, TrainStep } from "../../dist/train/index.js";
import { generator, stories } from "./corpus.mjs";

const steps = Number(process.argv[2] ?? 2200);
const out = process.argv[3] ?? import.meta.dirname;
const SEED = 1;
const [CTX, ROWS] = [256, 16]; // tokens a sequence, sequences a step

const config = {
  architectures: ["LlamaForCausalLM"],
  model_type: "llama",
  hidden_size: 128,
  intermediate_size: 352,
  num_hidden_layers: 4,
  num_attention_heads: 8,
  num_key_value_heads: 4,
  head_dim: 16,
  vocab_size: 1024,
  max_position_embeddings: 512,
  rms_norm_eps: 1e-5,
  rope_theta: 10000,
  hidden_act: "silu",
  tie_word_embeddings: true,
  attention_bias: false,
  mlp_bias: false,
  bos_token_id: 0,
  eos_token_id: 0,
  torch_dtype: "bfloat16",
};

const texts = stories(20_000, SEED);
const heldOut = stories(200, SEED + 1);
const tokenizer = await trainTokenizer(texts.slice(0, 5000), {
  vocabSize: config.vocab_size,
  special: ["<|endoftext|>"],
  split: "qwen2",
});
const tokenizerConfig = {
  tokenizer_class: "PreTrainedTokenizerFast",
  bos_token: "<|endoftext|>",
  eos_token: "<|endoftext|>",
  add_bos_token: true,
  clean_up_tokenization_spaces: false,
  model_max_length: 512,
};
const encoder = loadTokenizerJson(tokenizer, tokenizerConfig, "stories");
const encode = (text) => [0, ...encoder.encode(text, { addSpecial: false }), 0];

const random = generator(SEED + 2);
const normal = () => Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());
const parsed = parseConfig("config.json", JSON.stringify(config));
const definition = definitionOf("llama", "config.json");
const shapes = definition.params(parsed);
const initial = new Map();
for (const [name, shape] of shapes) {
  const n = shape.reduce((a, b) => a * b);
  const residual = /o_proj|down_proj/.test(name) ? 1 / Math.sqrt(2 * config.num_hidden_layers) : 1;
  initial.set(
    name,
    shape.length === 1
      ? new Float32Array(n).fill(1)
      : Float32Array.from({ length: n }, () => 0.04 * residual * normal()),
  );
}

/** Stories end to end, cut into sequences of CTX tokens that each start at a story. */
function batch(list) {
  const tokens = [];
  const targets = [];
  const starts = [];
  for (const text of list) {
    const ids = encode(text).slice(0, CTX + 1);
    starts.push(tokens.length);
    tokens.push(...ids.slice(0, -1));
    targets.push(...ids.slice(1));
  }
  return { tokens: Int32Array.from(tokens), targets: Int32Array.from(targets), starts };
}

const backend = await createBackend();
const trainable = await loadFull(definition, parsed, backend, (name) => initial.get(name));
const trainer = new TrainStep(backend, trainable, {
  ctx: CTX,
  tokens: CTX * ROWS,
  sequences: ROWS,
});
const [PEAK, WARMUP] = [3e-3, 100];
const started = Date.now();
let [seen, loss] = [0, 0];
for (let i = 0; i < steps; i++) {
  const lr =
    i < WARMUP
      ? (PEAK * (i + 1)) / WARMUP
      : PEAK * (0.05 + 0.95 * 0.5 * (1 + Math.cos((Math.PI * (i - WARMUP)) / (steps - WARMUP))));
  const list = Array.from({ length: ROWS }, () => texts[Math.floor(random() * texts.length)]);
  const result = await trainer.step([batch(list)], { lr, weight_decay: 0.1, beta2: 0.95, max_grad_norm: 1 });
  seen += result.tokens;
  loss = result.loss;
  if (i % 50 === 0 || i === steps - 1)
    console.log(
      `step ${i} loss ${loss.toFixed(4)} ${Math.round((seen / (Date.now() - started)) * 1000)} tokens/s`,
    );
}
let [nll, count] = [0, 0];
for (let i = 0; i + 10 <= heldOut.length; i += 10) {
  const r = await trainer.evaluate(batch(heldOut.slice(i, i + 10)));
  nll += r.loss * r.tokens;
  count += r.tokens;
}
console.log(`held-out loss ${(nll / count).toFixed(4)} after ${seen} tokens`);

await mkdir(out, { recursive: true });
const bf16 = (values) => {
  const bits = new Uint32Array(values.buffer, values.byteOffset, values.length);
  const half = Uint16Array.from(bits, (b) => (b + 0x7fff + ((b >>> 16) & 1)) >>> 16);
  return new Uint8Array(half.buffer);
};
await writeSafetensors(
  join(out, "model.safetensors"),
  [...shapes].map(([name, shape]) => ({
    name,
    type: "bf16",
    shape,
    data: async () => bf16(trainer.read(name)),
  })),
  { metadata: { format: "pt" } },
);
const json = (file, value) => writeFile(join(out, file), `${JSON.stringify(value, null, 1)}\n`);
await json("config.json", config);
await json("generation_config.json", {
  bos_token_id: 0,
  eos_token_id: [0],
  do_sample: true,
  temperature: 0.8,
  top_p: 0.95,
});
await json("tokenizer_config.json", tokenizerConfig);
await writeFile(join(out, "tokenizer.json"), JSON.stringify(tokenizer));
trainer.close();
backend.close();
