// pith beside node-llama-cpp, llama.cpp's own programs and a raw memory read: the same files, the same questions,
// in interleaved rounds (the memory's speed changes by the minute, so ratios are taken within a round).
// Command: npm run bench:peers -- [--shapes 135m,0.5b,1b] [--rounds 7] [--threads 2] [--rows decode,prefill,...]
//          [--type q4_0; tq2_0, tq1_0: random digits; q4_k, q6_k, ...: as llama.cpp quantizes them, every matrix alike] [--llama-bench path] [--engines pith,node-llama-cpp,llama.cpp] [--quick] [--json file]
import { createReadStream, existsSync, writeFileSync } from "node:fs";
import { cpus } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";
import { openFile, readGguf } from "../dist/formats/index.js";
import { Child, coldStart, LlamaPrograms, machine, Probe } from "./engines.mjs";
import { bytesPerToken, cache, kvBytesPerToken, makeModel, shapes } from "./models.mjs";
import { llamaQuantizer, MOSTLY } from "./quantizer.mjs";
import { markdown } from "./report.mjs";

const { values: options } = parseArgs({
  options: {
    shapes: { type: "string", default: "135m,0.5b,1b" },
    rounds: { type: "string" },
    threads: { type: "string", default: "2" },
    rows: { type: "string", default: "decode,prefill,batch,past,single,start" },
    engines: { type: "string", default: "pith,node-llama-cpp,llama.cpp" },
    "llama-bench": { type: "string" },
    type: { type: "string", default: "q4_0" },
    quick: { type: "boolean", default: false },
    json: { type: "string" },
  },
});
const rounds = Number(options.rounds ?? (options.quick ? 3 : 7));
const threads = Number(options.threads);
const wanted = options.engines.split(",");
const rows = options.rows.split(",");
const DECODE = options.quick ? 32 : 64;
const PROMPT = 512;
const SEQUENCES = 8;
const PAST = 2048;
const CTX = 1024;
const log = (/** @type {string} */ line) => process.stderr.write(`${line}\n`);

/**
 * What was measured of one row: a list of one number per round, by engine, and the raw read beside each round.
 * @typedef {{ row: string, samples: Record<string, number[]>, raw: number[] }} Measured
 */

/** The questions that a kept process answers; each reply is ms a token. */
const questions = {
  decode: { verb: "decode", args: { past: 16, tokens: DECODE } },
  prefill: { verb: "prefill", args: { tokens: PROMPT } },
  batch: { verb: "batch", args: { sequences: SEQUENCES, past: 16, tokens: 32 } },
};

/** Start an engine with a model loaded, or say why there is none. @param {"pith" | "node-llama-cpp"} name @param {any} load @param {string} [cores] */
async function started(name, load, cores) {
  const child = new Child(name, cores);
  try {
    await child.ask("load", load);
    return child;
  } catch (error) {
    await child.close();
    log(`gap: ${name} is not measured: ${error instanceof Error ? error.message : error}`);
    return undefined;
  }
}

/**
 * node-llama-cpp's better configuration for each question: it decodes small models faster with fewer threads than
 * it reads prompts with. "pinned" keeps the whole process on as many cores as it has threads.
 * @param {string} file
 */
async function calibrate(file) {
  const cores = cpus().length;
  const candidates = [];
  for (let t = 1; t <= threads; t++) {
    candidates.push({ name: `${t} thread${t > 1 ? "s" : ""}`, threads: t, cores: undefined });
    const pin = Array.from({ length: t }, (_, i) => cores - 1 - i).join(",");
    if (t < cores && process.platform === "linux")
      candidates.push({ name: `${t} pinned`, threads: t, cores: pin });
  }
  /** @type {Record<string, { ms: number, candidate: typeof candidates[0] }>} */
  const best = {};
  for (const candidate of candidates) {
    const load = { file, threads: candidate.threads, ctx: CTX, sequences: SEQUENCES };
    const child = await started("node-llama-cpp", load, candidate.cores);
    if (!child) return undefined;
    for (const [row, { verb, args }] of Object.entries(questions)) {
      const ms = Math.min(await child.ask(verb, args), await child.ask(verb, args));
      if (ms < (best[row]?.ms ?? Infinity)) best[row] = { ms, candidate };
    }
    await child.close();
  }
  return best;
}

/** Processor time that a process takes while nothing is asked of it, in percent of one core. @param {Child} child */
async function idleShare(child) {
  await sleep(500);
  const before = await child.ask("usage");
  await sleep(1000);
  return (await child.ask("usage")).cpuMs / 10 - before.cpuMs / 10;
}

/**
 * Rounds in which every engine answers once, the first to go changing from round to round.
 * @param {string} row @param {Record<string, () => Promise<number | undefined>>} ask @param {Probe} probe @param {number} [probeThreads]
 * @returns {Promise<Measured>}
 */
async function interleave(row, ask, probe, probeThreads = threads) {
  const names = Object.keys(ask);
  /** @type {Measured} */
  const out = { row, samples: Object.fromEntries(names.map((n) => [n, []])), raw: [] };
  for (let r = 0; r < rounds; r++) {
    const before = await probe.ask(probeThreads);
    for (let i = 0; i < names.length; i++) {
      const name = names[(i + r) % names.length];
      const ms = await ask[name]();
      if (ms !== undefined) out.samples[name].push(ms);
    }
    out.raw.push((before + (await probe.ask(probeThreads))) / 2);
  }
  log(`  ${row}: ${rounds} rounds`);
  return out;
}

/** Read a file once, so that a start is measured with the file in the system's cache for every engine alike. @param {string} file */
async function warm(file) {
  for await (const _ of createReadStream(file, { highWaterMark: 1 << 22 }));
}

/** The file to measure, and the bytes of it that a token reads. @param {string} shape */
async function modelOf(shape) {
  const type = /** @type {keyof typeof MOSTLY} */ (options.type);
  if (type === "q4_0" || type === "q8_0" || type === "tq2_0" || type === "tq1_0")
    return { file: await makeModel(shape, type, { log }), bytes: bytesPerToken(shapes[shape], type) };
  const file = join(cache, `${shape}-${type}-llama-pure.gguf`);
  if (!existsSync(file)) {
    const quantize = llamaQuantizer();
    if (!quantize || !(type in MOSTLY))
      throw new Error(`Cannot make ${file}: no prebuilt llama.cpp, or no such type`);
    quantize(await makeModel(shape, "f16", { log }), file, type, "pure");
  }
  const source = await openFile(file);
  const { tensors } = await readGguf(source);
  await source.close();
  const read = [...tensors.values()].filter(({ name }) => shapes[shape].tied || name !== "token_embd.weight");
  return { file, bytes: read.reduce((sum, tensor) => sum + tensor.bytes, 0) };
}

/** @param {string} shape @param {LlamaPrograms | undefined} llama @param {Probe} probe */
async function measure(shape, llama, probe) {
  const { file, bytes } = await modelOf(shape);
  log(`${shape}: ${file}`);
  await warm(file);
  const best = wanted.includes("node-llama-cpp") ? await calibrate(file) : undefined;
  /** @type {Measured[]} */
  const measured = [];
  /** @type {Record<string, unknown>} */
  const about = {};
  /** @type {Record<string, number>} */
  const idle = {};

  if (rows.some((r) => r in questions)) {
    const pith = wanted.includes("pith")
      ? await started("pith", { file, threads, ctx: CTX, sequences: SEQUENCES })
      : undefined;
    /** @type {Map<string, Child>} */
    const peers = new Map();
    for (const { candidate } of Object.values(best ?? {})) {
      if (peers.has(candidate.name)) continue;
      const load = { file, threads: candidate.threads, ctx: CTX, sequences: SEQUENCES };
      const child = await started("node-llama-cpp", load, candidate.cores);
      if (child) peers.set(candidate.name, child);
    }
    for (const [name, child] of [["pith", pith], ...peers]) {
      if (!child) continue;
      about[name] = await child.ask("about");
      for (const { verb, args } of Object.values(questions)) await child.ask(verb, args);
      idle[name] = await idleShare(child);
      if (idle[name] > 5) log(`warning: ${name} takes ${idle[name].toFixed(0)} % of a core while idle`);
    }
    for (const row of /** @type {(keyof typeof questions)[]} */ (Object.keys(questions))) {
      if (!rows.includes(row)) continue;
      const { verb, args } = questions[row];
      /** @type {Record<string, () => Promise<number | undefined>>} */
      const ask = {};
      if (pith) ask.pith = () => pith.ask(verb, args);
      const peer = best && peers.get(best[row].candidate.name);
      if (peer) ask["node-llama-cpp"] = () => peer.ask(verb, args);
      if (llama && row === "decode") ask["llama.cpp"] = () => llama.time(file, { threads, tokens: DECODE });
      if (llama && row === "prefill") ask["llama.cpp"] = () => llama.time(file, { threads, prompt: PROMPT });
      if (llama?.batched && row === "batch")
        ask["llama.cpp"] = () => llama.batch(file, { threads, ...questions.batch.args });
      measured.push(await interleave(row, ask, probe));
    }
    await pith?.close();
    for (const peer of peers.values()) await peer.close();
  }

  if (rows.includes("past")) measured.push(await measurePast(file, best?.prefill.candidate, llama, probe));

  if (rows.includes("single")) {
    const pith = wanted.includes("pith")
      ? await started("pith", { file, threads: 1, ctx: CTX, sequences: 1 })
      : undefined;
    /** @type {Record<string, () => Promise<number | undefined>>} */
    const ask = {};
    if (pith) {
      await pith.ask("decode", { past: 16, tokens: 8 });
      ask.pith = () => pith.ask("decode", questions.decode.args);
    }
    if (llama) ask["llama.cpp"] = () => llama.time(file, { threads: 1, tokens: DECODE });
    measured.push(await interleave("single", ask, probe, 1));
    await pith?.close();
  }

  /** @type {Record<string, { loadMs?: number, firstTokenMs: number, peakRssMib: number }[]>} */
  const starts = {};
  if (rows.includes("start")) {
    await warm(file);
    for (let r = 0; r < rounds; r++) {
      for (const name of /** @type {const} */ (["pith", "node-llama-cpp"])) {
        if (
          !wanted.includes(name) ||
          (name === "pith" && measured.length > 0 && !measured.some((m) => m.samples.pith))
        )
          continue;
        const t = name === "pith" ? threads : (best?.prefill.candidate.threads ?? threads);
        (starts[name] ??= []).push(await coldStart(name, file, t));
      }
      const cold = await llama?.coldStart(file, threads);
      if (cold) (starts["llama.cpp"] ??= []).push(cold);
    }
    log("  start");
  }
  const configurations = Object.fromEntries(
    Object.entries(best ?? {}).map(([row, b]) => [row, b.candidate.name]),
  );
  const s = shapes[shape];
  return {
    shape, type: options.type, headType: `${options.type}${s.tied ? ", the embedding" : ""}`, ctx: CTX, threads, rounds,
    bytesPerToken: bytes, pastBytes: PAST * kvBytesPerToken(s, 2), past: PAST,
    configurations, about, idle, measured, starts,
  }; // biome-ignore format: a record
}

/**
 * Milliseconds that `PAST` tokens of past add to a token: decoding after that many, less decoding after 16.
 * @param {string} file @param {{ threads: number, cores?: string | undefined } | undefined} config @param {LlamaPrograms | undefined} llama @param {Probe} probe
 */
async function measurePast(file, config, llama, probe) {
  const ctx = PAST + 256;
  const pith = wanted.includes("pith")
    ? await started("pith", { file, threads, ctx, sequences: 1 })
    : undefined;
  const peer =
    config &&
    (await started("node-llama-cpp", { file, threads: config.threads, ctx, sequences: 1 }, config.cores));
  const tokens = 32;
  /** @param {Child} child */
  const added = (child) => async () => {
    const long = await child.ask("decode", { past: PAST, tokens });
    return long - (await child.ask("decode", { past: 16, tokens }));
  };
  /** @type {Record<string, () => Promise<number | undefined>>} */
  const ask = {};
  if (pith) ask.pith = added(pith);
  if (peer) ask["node-llama-cpp"] = added(peer);
  if (llama) {
    ask["llama.cpp"] = async () => {
      const long = await llama.time(file, { threads, tokens, past: PAST });
      return long - (await llama.time(file, { threads, tokens, past: 16 }));
    };
  }
  const out = await interleave("past", ask, probe);
  await pith?.close();
  await peer?.close();
  return out;
}

const llama =
  options["llama-bench"] && wanted.includes("llama.cpp")
    ? new LlamaPrograms(options["llama-bench"])
    : undefined;
const probe = await Probe.start();
const results = [];
try {
  for (const shape of options.shapes.split(",")) {
    results.push(await measure(shape, llama, probe));
    console.log(markdown(results.at(-1)));
  }
} finally {
  probe.close();
}
const report = {
  ...machine(),
  date: new Date().toISOString(),
  llamaBuild: llama?.build,
  probe: probe.pages,
  results,
};
if (options.json) writeFileSync(options.json, `${JSON.stringify(report, null, 1)}\n`);
