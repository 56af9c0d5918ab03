// Do adapters do in pith what they do in llama.cpp? GGUF adapters that pith writes, one and two at once with scales, on
// random-weight models: the distribution at every position, with an f32 KV cache. Then the merged model in llama.cpp
// beside the adapters apart in pith. Command: node bench/agree-adapters.mjs [--positions 96]
// Needs `npm run build` and `npm install` in bench/peers. Ends with 1 when a bound is missed.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { loadModel } from "../dist/index.js";
import { fuse, linearTargets, openAdapter, openModel, saveAdapter } from "../dist/models/index.js";
import { makeModel } from "./models.mjs";
import { openReference } from "./peers/reference.mjs";

const { values: options } = parseArgs({ options: { positions: { type: "string", default: "96" } } });
const ids = Array.from({ length: Number(options.positions) }, (_, i) => 300 + ((i * i * 31 + i * 7) % 20000));
const CTX = 576;
const dir = mkdtempSync(join(tmpdir(), "pith-agree-"));
let failures = 0;

/** @param {string} out @param {string} base @param {number} seed @param {boolean} rslora */
async function makeAdapter(out, base, seed, rslora) {
  const model = await openModel(base);
  let state = seed;
  const uniform = () => {
    state = (Math.imul(state, 1103515245) + 12345) >>> 0;
    return (state >>> 8) / 2 ** 23 - 1;
  };
  const pairs = new Map();
  for (const [path, { N, K }] of linearTargets(model.definition, model.config)) {
    if (path === "lm_head") continue; // llama.cpp knows no adapter of a tied head
    const rank = path.endsWith("q_proj") ? 4 : 8;
    pairs.set(path, {
      a: Float32Array.from({ length: rank * K }, () => uniform() / Math.sqrt(K)),
      b: Float32Array.from({ length: N * rank }, () => 0.3 * uniform()),
      rank,
      alpha: rslora ? 4 : 12,
    });
  }
  await saveAdapter(out, { base_model_name_or_path: "random", use_rslora: rslora, pairs }, model);
  await model.close();
}

/** @param {Float32Array} row */
function logSum(row) {
  const most = row.reduce((a, b) => Math.max(a, b));
  return most + Math.log(row.reduce((sum, x) => sum + Math.exp(x - most), 0));
}

/** @param {string} label @param {Float32Array} ours @param {Awaited<ReturnType<typeof openReference>>} reference @param {number} bound */
async function compare(label, ours, reference, bound) {
  const vocab = ours.length / ids.length;
  let kl = 0;
  await reference.logits(ids, (i, p) => {
    const q = ours.subarray(i * vocab, (i + 1) * vocab);
    const [a, b] = [logSum(p), logSum(q)];
    for (let k = 0; k < vocab; k++) kl += (Math.exp(p[k] - a) * (p[k] - a - (q[k] - b))) / ids.length;
  });
  await reference.close();
  if (!(kl < bound)) failures++;
  console.log(`${kl < bound ? "ok  " : "FAIL"} ${label}: mean KL ${kl.toExponential(2)} (wanted < ${bound})`);
}

for (const [shape, type] of /** @type {const} */ ([
  ["tiny-llama", "f32"],
  ["tiny-llama", "q8_0"],
  ["tiny-qwen2", "f32"],
])) {
  const file = await makeModel(shape, type);
  const bound = type === "f32" ? 1e-4 : 2e-3;
  const adapters = [join(dir, "one.gguf"), join(dir, "two.gguf")];
  for (const [i, path] of adapters.entries()) await makeAdapter(path, file, 7 + i, i === 1);
  const model = await loadModel(file, { ctx: CTX, kv: "f32" });
  for (const path of adapters) await model.adapter(path);
  const [one, two] = [
    { adapter: "one", scale: 1 },
    { adapter: "two", scale: 0.5 },
  ];
  const files = [
    { filePath: adapters[0], scale: 1 },
    { filePath: adapters[1], scale: 0.5 },
  ];
  const label = `${shape} ${type}`;
  const both = await model.logits(ids, { adapter: [one, two] });
  const alone = await model.logits(ids, { adapter: one });
  const base = await model.logits(ids);
  await model.close();
  const vocab = base.length / ids.length;
  let moved = 0;
  for (let i = 0; i < ids.length; i++) {
    const [p, q] = [base, alone].map((all) => all.subarray(i * vocab, (i + 1) * vocab));
    const [a, b] = [logSum(p), logSum(q)];
    for (let k = 0; k < vocab; k++) moved += (Math.exp(p[k] - a) * (p[k] - a - (q[k] - b))) / ids.length;
  }
  console.log(`     ${label}: the adapter moves the base by ${moved.toFixed(3)} nats`);
  await compare(`${label}, one adapter`, alone, await openReference(file, CTX, files.slice(0, 1)), bound);
  await compare(`${label}, two with scales`, both, await openReference(file, CTX, files), bound);
  if (type !== "f32") continue;
  const opened = await openModel(file);
  const toFuse = await Promise.all(
    [1, 0.5].map(async (scale, i) => ({ adapter: await openAdapter(adapters[i]), scale })),
  );
  const merged = join(dir, `${shape}-merged.gguf`);
  await fuse(opened, toFuse, merged);
  for (const { adapter } of toFuse) await adapter.close();
  await opened.close();
  await compare(`${label}, merged`, both, await openReference(merged, CTX), bound);
}
rmSync(dir, { recursive: true });
process.exitCode = failures > 0 ? 1 : 0;
