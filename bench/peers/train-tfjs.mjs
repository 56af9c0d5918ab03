// A step of nanoGPT's small model (4 layers, 4 heads, 128 wide, context 64, batch 12, characters) in TensorFlow.js, on its
// WASM backend with SIMD and threads or its plain JavaScript one. Prints JSON: milliseconds of a step, best and median.
// Command: node train-tfjs.mjs <wasm|cpu> <steps>, in this folder after npm install. See ../train-peers.mjs.
import { dirname } from "node:path";
import { fileURLToPath } from "node:url";
import tf from "@tensorflow/tfjs";
import wasm from "@tensorflow/tfjs-backend-wasm";

const [name = "wasm", steps = "5"] = process.argv.slice(2);
if (name === "wasm") {
  wasm.setThreadsCount(2);
  const module = fileURLToPath(import.meta.resolve("@tensorflow/tfjs-backend-wasm"));
  wasm.setWasmPaths(`${dirname(module)}/`);
}
await tf.setBackend(name);
await tf.ready();

const [L, H, D, C, B, V] = [4, 4, 128, 64, 12, 65];
/** @param {number[]} shape @param {number} std */
const weight = (shape, std) => tf.variable(tf.randomNormal(shape, 0, std, "float32", 1));
/** @param {number[]} shape @param {number} value */
const filled = (shape, value) => tf.variable(tf.fill(shape, value));
const layer = () => ({
  ln1: filled([D], 1),
  ln2: filled([D], 1),
  qkv: weight([D, 3 * D], 0.02),
  out: weight([D, D], 0.01),
  up: weight([D, 4 * D], 0.02),
  down: weight([4 * D, D], 0.01),
});
const m = {
  wte: weight([V, D], 0.02),
  wpe: weight([C, D], 0.02),
  ln: filled([D], 1),
  layers: Array.from({ length: L }, layer),
};
const mask = tf.tensor2d(
  Array.from({ length: C }, (_, i) => Array.from({ length: C }, (_, j) => (j > i ? -1e9 : 0))),
);

/** @param {tf.Tensor} x @param {tf.Tensor} w */
function norm(x, w) {
  const centred = x.sub(x.mean(-1, true));
  return centred.mul(centred.square().mean(-1, true).add(1e-5).rsqrt()).mul(w);
}

/** @param {tf.Tensor} x [B C, D] @param {ReturnType<typeof layer>} p */
function block(x, p) {
  const qkv = tf.split(norm(x, p.ln1).matMul(p.qkv), 3, 1);
  const [q, k, v] = qkv.map((t) => t.reshape([B, C, H, D / H]).transpose([0, 2, 1, 3]));
  const scores = tf
    .matMul(q, k, false, true)
    .mul(1 / Math.sqrt(D / H))
    .add(mask);
  const mixed = tf
    .matMul(tf.softmax(scores), v)
    .transpose([0, 2, 1, 3])
    .reshape([B * C, D]);
  const y = x.add(mixed.matMul(p.out));
  const up = norm(y, p.ln2).matMul(p.up);
  const gelu = up
    .mul(
      up
        .add(up.pow(3).mul(0.044715))
        .mul(Math.sqrt(2 / Math.PI))
        .tanh()
        .add(1),
    )
    .mul(0.5);
  return y.add(gelu.matMul(p.down));
}

const ids = Int32Array.from({ length: B * C }, (_, i) => (i * 7919) % V);
// Ids as one-hot rows: the WASM backend has no kernel for the gradient of a gather.
const tokens = tf.oneHot(tf.tensor1d(ids, "int32"), V).cast("float32");
const targets = tf
  .oneHot(
    tf.tensor1d(
      ids.map((id) => (id + 1) % V),
      "int32",
    ),
    V,
  )
  .cast("float32");
function loss() {
  let x = tokens
    .matMul(m.wte)
    .reshape([B, C, D])
    .add(m.wpe)
    .reshape([B * C, D]);
  for (const p of m.layers) x = block(x, p);
  const logits = norm(x, m.ln).matMul(m.wte, false, true);
  return tf
    .neg(targets.mul(tf.logSoftmax(logits)).sum(-1))
    .mean()
    .asScalar();
}

const optimizer = tf.train.adam(1e-3);
const times = [];
for (let i = 0; i < Number(steps) + 1; i++) {
  const start = performance.now();
  const value = optimizer.minimize(loss, true);
  const now = value?.dataSync()[0];
  times.push({ ms: performance.now() - start, loss: now });
  value?.dispose();
}
const sorted = times
  .slice(1)
  .map(({ ms }) => ms)
  .sort((a, b) => a - b);
console.log(
  JSON.stringify({
    best: sorted[0],
    median: sorted[sorted.length >> 1],
    tokens: B * C,
    losses: [times[0].loss, times.at(-1)?.loss],
  }),
);
