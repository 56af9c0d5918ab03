// GFLOPS of an f32 product [M, K] x [K, N] in another JavaScript library: what its training can at most reach.
// Command: node products.mjs <tfjs|jax-js> <M> <N> <K>, in this folder after npm install. See ../train-peers.mjs.
import { dirname } from "node:path";
import { fileURLToPath } from "node:url";

const [name, ...sizes] = process.argv.slice(2);
const [M = 768, N = 512, K = 128] = sizes.map(Number);

/** @returns {Promise<() => unknown>} makes the product and waits for it */
async function product() {
  if (name === "jax-js") {
    const { init, defaultDevice, numpy: np, blockUntilReady, jit } = await import("@jax-js/jax");
    await init("wasm");
    defaultDevice("wasm");
    const [x, w] = [np.ones([M, K]), np.ones([K, N])];
    const matmul = jit((/** @type {any} */ a, /** @type {any} */ b) => np.matmul(a, b));
    return () => blockUntilReady(matmul(x.ref, w.ref)).then((/** @type {any} */ y) => y.dispose());
  }
  const { default: tf } = await import("@tensorflow/tfjs");
  const { default: wasm } = await import("@tensorflow/tfjs-backend-wasm");
  wasm.setThreadsCount(2);
  wasm.setWasmPaths(`${dirname(fileURLToPath(import.meta.resolve("@tensorflow/tfjs-backend-wasm")))}/`);
  await tf.setBackend("wasm");
  const [x, w] = [tf.ones([M, K]), tf.ones([K, N])];
  return () => tf.tidy(() => tf.matMul(x, w).dataSync());
}

const run = await product();
let best = Infinity;
for (let i = 0; i < 30; i++) {
  const start = performance.now();
  await run();
  best = Math.min(best, performance.now() - start);
}
console.log(JSON.stringify({ gflops: (2e-6 * M * N * K) / best }));
