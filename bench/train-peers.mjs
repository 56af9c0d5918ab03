// A training step beside other JavaScript libraries, in one run: nanoGPT's small model (4 layers, 4 heads, 128 wide,
// context 64, batch 12, 65 characters) in pith and in TensorFlow.js, and products as large as pith's and as those that
// TensorFlow.js and jax-js multiply. Prints tokens/s and GFLOPS, and pith's as a ratio.
// Command: node bench/train-peers.mjs [--steps 20]. Needs dist/ (npm run build), and npm install in bench/peers.
import { execFileSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { createBackend } from "../dist/engine/backends/index.js";
import { matmul_nn } from "../dist/engine/nn.js";
import { record } from "../dist/engine/program.js";
import { definitionOf, parseConfig } from "../dist/models/index.js";
import { configOfShape, initialValues } from "../dist/train/initial.js";
import { loadFull } from "../dist/train/methods/full.js";
import { TrainStep } from "../dist/train/step.js";

const { values } = parseArgs({ options: { steps: { type: "string", default: "20" } } });
const steps = Number(values.steps);
const [sequences, ctx, vocab_size] = [12, 64, 65];
const T = sequences * ctx;

/** @param {string} file @param {readonly (string | number)[]} given */
function peer(file, given) {
  const cwd = fileURLToPath(new URL("peers", import.meta.url));
  const output = execFileSync(process.execPath, [file, ...given.map(String)], { cwd, encoding: "utf8" });
  return JSON.parse(output.trim().split("\n").at(-1) ?? "");
}

/** Least milliseconds of some runs. @param {number} times @param {() => Promise<unknown>} run */
async function best(times, run) {
  await run();
  let least = Infinity;
  for (let i = 0; i < times; i++) {
    const start = performance.now();
    await run();
    least = Math.min(least, performance.now() - start);
  }
  return least;
}

/** @param {"native" | "wasm"} name */
async function step(name) {
  const backend = await createBackend({ backend: name, threads: 2 });
  const shape = { model_type: "gpt2", layers: 4, heads: 4, width: 128, ctx };
  const config = parseConfig("bench", JSON.stringify({ ...configOfShape(shape), vocab_size }));
  const trainable = await loadFull(definitionOf("gpt2", "bench"), config, backend, initialValues(config, 1));
  const learner = new TrainStep(backend, trainable, { ctx, tokens: T, sequences });
  const tokens = Int32Array.from({ length: T }, (_, i) => (i * 7919) % vocab_size);
  const targets = tokens.map((id) => (id + 1) % vocab_size);
  const starts = Array.from({ length: sequences }, (_, i) => i * ctx);
  const ms = await best(steps, () => learner.step([{ tokens, targets, starts }], { lr: 1e-3 }));
  learner.close();
  backend.close();
  return ms;
}

/** GFLOPS. @param {"native" | "wasm"} name @param {readonly number[]} size */
async function product(name, [M = 0, N = 0, K = 0]) {
  const backend = await createBackend({ backend: name, threads: 2 });
  const program = record((g) => ({ y: matmul_nn(g.input("x", "f32", ["T", K]), g.param("w", [K, N])) }));
  const dims = { T: M, S: 0, R: 0 };
  const executable = backend.compile(program, dims);
  executable.bind("w", backend.dense("f32", [K, N], new Float32Array(K * N).fill(1)));
  const x = new Float32Array(M * K).fill(1);
  const ms = await best(20, () => executable.run(dims, { x }));
  backend.close();
  return (2e-6 * M * N * K) / ms;
}

/** @param {string} name @param {number} value @param {string} unit @param {number} beside */
const line = (name, value, unit, beside) =>
  console.log(
    `  ${name.padEnd(22)}${value.toFixed(value < 100 ? 1 : 0).padStart(8)} ${unit}   ${(value / beside).toFixed(2)}`,
  );

const rate = (/** @type {number} */ ms) => (1000 * T) / ms;
const tf = rate(peer("train-tfjs.mjs", ["wasm", 5]).best);
console.log("a step of nanoGPT's small model, 2 threads; times TensorFlow.js");
line("pith, native", rate(await step("native")), "tok/s", tf);
line("pith, WASM", rate(await step("wasm")), "tok/s", tf);
line("TensorFlow.js, WASM", tf, "tok/s", tf);
for (const size of [
  [T, 512, 128],
  [1024, 1024, 1024],
]) {
  const jax = peer("products.mjs", ["jax-js", ...size]).gflops;
  console.log(`f32 product ${size.join(" x ")} (M, N, K); times jax-js`);
  line("pith, native", await product("native", size), "GFLOPS", jax);
  line("pith, WASM", await product("wasm", size), "GFLOPS", jax);
  line("TensorFlow.js, WASM", peer("products.mjs", ["tfjs", ...size]).gflops, "GFLOPS", jax);
  line("jax-js, WASM", jax, "GFLOPS", jax);
}
