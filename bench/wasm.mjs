// The WebAssembly backend beside the native one, llama.cpp and a raw read of memory inside WebAssembly, in interleaved
// rounds of one process (the memory's speed changes by the minute, so ratios are taken within a round; medians).
// Command: node bench/wasm.mjs [--shapes 135m,0.5b] [--threads 2] [--rounds 7] [--past 16] [--prompt 512]
//          [--llama-bench path] [--browser] [--quick] [--json file]
// Needs dist/ (npm run build). Beside these, in one run: a raw read by as many threads, of 256 MiB of module memory.
// --browser: both builds in Chromium too, and wllama beside them (llama.cpp in WebAssembly; `npm install` in bench/peers;
// its prompts are of 128 tokens at most).
// All of it, on an idle machine:
//   npm run build && (cd bench/peers && npm install) &&
//     node bench/wasm.mjs --shapes 135m --rounds 5 --browser --llama-bench <path>
import { writeFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { WasmBackend } from "../dist/engine/backends/wasm.js";
import { loadModel } from "../dist/index.js";
import { browser, hasWllama } from "./browser.mjs";
import { LlamaPrograms, machine } from "./engines.mjs";
import { bytesPerToken, makeModel, shapes } from "./models.mjs";

const { values: options } = parseArgs({
  options: {
    shapes: { type: "string", default: "135m,0.5b" },
    threads: { type: "string", default: "2" },
    rounds: { type: "string" },
    past: { type: "string", default: "16" },
    prompt: { type: "string", default: "512" },
    "llama-bench": { type: "string" },
    browser: { type: "boolean", default: false },
    quick: { type: "boolean", default: false },
    json: { type: "string" },
  },
});
const rounds = Number(options.rounds ?? (options.quick ? 3 : 7));
const threads = Number(options.threads);
const past = Number(options.past);
const prompt = Number(options.prompt);
const tokens = options.quick ? 16 : 32;
const READ_BYTES = 256 << 20;

const llama = options["llama-bench"] ? new LlamaPrograms(options["llama-bench"]) : undefined;
const median = (/** @type {number[]} */ v) => v.toSorted((a, b) => a - b)[v.length >> 1] ?? Number.NaN;

/** GB/s that the backend's own threads read. @param {WasmBackend} backend */
function reader(backend) {
  const block = backend.module.alloc(READ_BYTES, "memory to read");
  backend.module.bytes(block.address, READ_BYTES).fill(1);
  return async () => {
    const start = performance.now();
    await backend.pool?.run(() =>
      backend.module.exports.job_read(block.address, READ_BYTES, backend.threads),
    );
    return READ_BYTES / 1e6 / (performance.now() - start);
  };
}

/** @param {string} file @param {object} how */
async function engine(file, how) {
  const model = await loadModel(file, { ctx: 1024, kv: "f16", ...how });
  const ends = [...model.generationConfig.eos_token_id, ...model.tokenizer.eosIds];
  const noEnd = Object.fromEntries(ends.map((id) => [id, Number.NEGATIVE_INFINITY]));
  const ids = Array.from({ length: prompt }, (_, i) => 1000 + ((i * 7919) % 20000));
  /** ms: until the first token, and for each one after it */
  const time = async (/** @type {number} */ length, /** @type {number} */ maxTokens) => {
    const generation = model.generate(ids.slice(0, length), { maxTokens, temperature: 0, logitBias: noEnd });
    for await (const _ of generation);
    const { stats } = await generation;
    return [stats.firstTokenMs, (stats.totalMs - stats.firstTokenMs) / (maxTokens - 1)];
  };
  let turn = 0;
  return {
    about: `${model.backend.kernels}, ${model.backend.threads} threads`,
    decode: async () => {
      ids[0] = 1000 + ++turn; // no prefix that was kept
      return (await time(past, tokens + 1))[1];
    },
    prefill: async () => {
      ids[0] = 1000 + ++turn;
      return (await time(prompt, 2))[0] / prompt;
    },
    close: () => model.close(),
  };
}

const table = [];
for (const shape of options.shapes.split(",")) {
  const file = await makeModel(shape, "q4_0", { log: console.error });
  const bytes = bytesPerToken(shapes[shape], "q4_0");
  const wasm = (/** @type {string} */ kernels, n = threads) => ({ backend: "wasm", kernels, threads: n });
  const ways = {
    native: { backend: "native", threads },
    "wasm relaxed": wasm("relaxed-simd"),
    "wasm plain": wasm("simd128"),
    ...(threads > 1 && { "wasm relaxed, 1 thread": wasm("relaxed-simd", 1) }),
    ...(threads > 1 && { "wasm plain, 1 thread": wasm("simd128", 1) }),
  };
  const engines = {};
  for (const [name, how] of Object.entries(ways)) engines[name] = await engine(file, how);
  const chrome = options.browser ? await browser(file) : undefined;
  if (chrome) {
    const pages = {
      "wasm relaxed, Chromium": ["pith", { threads, kernels: "relaxed-simd", prompt }],
      "wasm plain, Chromium": ["pith", { threads, kernels: "simd128", prompt }],
      ...(hasWllama && { "wllama, Chromium": ["wllama", { threads }] }),
    };
    for (const [name, [what, how]] of Object.entries(pages)) {
      const page = await chrome.engine(what, how);
      engines[name] = {
        ...page,
        decode: () => page.decode(past, tokens),
        prefill: () => page.prefill(prompt),
      };
    }
    if (!hasWllama) console.error("wllama is not there: npm install in bench/peers");
  }
  for (const [name, e] of Object.entries(engines)) console.error(`${shape}: ${name}: ${e.about}`);
  const backend = await WasmBackend.create({ threads });
  const read = reader(backend);
  const ms = { decode: {}, prefill: {} };
  const raw = [];
  for (let round = -1; round < rounds; round++)
    for (const row of ["decode", "prefill"]) {
      for (const [name, e] of Object.entries(engines)) {
        const took = await e[row]();
        if (round >= 0) (ms[row][name] ??= []).push(took);
      }
      if (llama && round >= 0) {
        const what = row === "decode" ? { tokens, past } : { prompt };
        (ms[row]["llama.cpp"] ??= []).push(await llama.time(file, { threads, ...what }));
      }
      if (row === "decode" && round >= 0) raw.push(Math.max(await read(), await read(), await read()));
    }
  for (const [row, times] of Object.entries(ms))
    for (const [name, all] of Object.entries(times)) {
      const ratio = (/** @type {string} */ peer) =>
        times[peer] ? median(all.map((t, i) => times[peer][i] / t)).toFixed(2) : "";
      const share =
        row === "decode" ? median(all.map((t, i) => bytes / 1e6 / t / raw[i])).toFixed(2) : undefined;
      table.push({
        shape,
        row,
        engine: name,
        "tok/s": Number((1e3 / median(all)).toFixed(1)),
        "of native": ratio("native"),
        "of llama.cpp": ratio("llama.cpp"),
        ...(options.browser && { "of wllama": ratio("wllama, Chromium") }),
        "of a raw read in wasm": share ?? "",
      });
    }
  console.error(`${shape}: raw read in wasm ${median(raw).toFixed(1)} GB/s`);
  for (const e of Object.values(engines)) await e.close();
  await chrome?.close();
  backend.close();
}
console.log(machine());
console.table(table);
if (options.json) writeFileSync(options.json, JSON.stringify({ node: process.version, table }, null, 1));
