// How fast floats are rounded to blocks: bytes read each second, and how long 10^9 weights would take. Random rows
// as wide as a 1B model's; with and without importance of columns.
// Command: node bench/encode.mjs [--types q4_k,q2_k] [--rows 4096] [--cols 2048] [--backend native|wasm] [--kernels name]
//   [--from f16] [--threads n] [--rounds 3]   (needs dist/: npx tsc -p tsconfig.build.json, and the native addon or the module)
import { parseArgs } from "node:util";
import { createBackend } from "../dist/engine/backends/index.js";
import { QUANT_TYPES } from "../dist/engine/grids.js";
import { f32ToBf16Array, f32ToF16Array } from "../dist/engine/half.js";
import { floatRows } from "../dist/engine/weights.js";

const { values: options } = parseArgs({
  options: {
    types: { type: "string" },
    rows: { type: "string", default: "4096" },
    cols: { type: "string", default: "2048" },
    from: { type: "string", default: "f16" },
    rounds: { type: "string", default: "3" },
    backend: { type: "string", default: "native" },
    kernels: { type: "string" },
    threads: { type: "string" },
  },
});
const [rows, cols, rounds] = [Number(options.rows), Number(options.cols), Number(options.rounds)];
const backend = await createBackend({
  backend: options.backend,
  ...(options.kernels ? { kernels: options.kernels } : {}),
  ...(options.threads ? { threads: Number(options.threads) } : {}),
});

let state = 1;
const random = () => {
  state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
  return ((state >>> 8) + 0.5) / 2 ** 24;
};
const values = Float32Array.from(
  { length: rows * cols },
  () => 0.02 * Math.sqrt(-2 * Math.log(random())) * Math.cos(2 * Math.PI * random()),
);
const halves = new Uint16Array(values.length);
if (options.from === "f16") f32ToF16Array(values, halves);
if (options.from === "bf16") f32ToBf16Array(values, halves);
const from =
  options.from === "f32" ? floatRows(values) : { type: options.from, bytes: new Uint8Array(halves.buffer) };
const importance = Float32Array.from({ length: cols }, () => Math.exp(4 * random() - 2));

/** Seconds of the fastest round. */
async function fastest(type, by) {
  let best = Number.POSITIVE_INFINITY;
  for (let i = 0; i < rounds; i++) {
    const start = performance.now();
    await backend.encode(type, from, cols, by);
    best = Math.min(best, (performance.now() - start) / 1000);
  }
  return best;
}

console.log(
  `${backend.name} ${backend.kernels}, ${backend.threads} threads, ${rows} x ${cols} of ${options.from}, best of ${rounds}\n`,
);
console.log("| type | GB/s | with importance | s for 10^9 weights |\n|---|---|---|---|");
for (const type of options.types?.split(",") ?? QUANT_TYPES) {
  const [plain, weighted] = [await fastest(type), await fastest(type, importance)];
  const rate = (seconds) => (from.bytes.length / seconds / 1e9).toFixed(2);
  console.log(
    `| ${type} | ${rate(plain)} | ${rate(weighted)} | ${((plain * 1e9) / values.length).toFixed(1)} |`,
  );
}
backend.close();
