// Does pith agree with llama.cpp? Random-weight models written by pith are opened by both: token ids of real text,
// and the distribution at every position with an f32 KV cache. Then files that llama.cpp quantized are opened here.
// Command: npm run check:full -- [--positions 512] [--shapes tiny-llama,tiny-qwen2,tiny-llama3,<names of bench/types.mjs>]
// [--backend native] [--types all|q4_k,...]; --types: only files of these types that llama.cpp alone writes, pure and by its default mix
// Needs `npm install` in bench/peers, and a C compiler for the last part. Ends with 1 when a bound is missed.
import { existsSync, mkdirSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { openFile, readGguf, readTensor } from "../dist/formats/index.js";
import { embed, loadEncoder, loadModel } from "../dist/index.js";
import { cache, makeModel } from "./models.mjs";
import { openEmbeddings, openReference } from "./peers/reference.mjs";
import { llamaQuantizer, MOSTLY } from "./quantizer.mjs";
import { makeType, types } from "./types.mjs";
import { data } from "./vocab.mjs";

const { values: options } = parseArgs({
  options: {
    positions: { type: "string", default: "512" },
    shapes: {
      type: "string",
      default:
        "tiny-llama,tiny-qwen2,tiny-llama3,qwen3,mistral,phi,smollm3,granite,llama-yarn,gemma3,gemma4,gemma4-dense,gpt2,lfm2,qwen3.5,bert",
    },
    backend: { type: "string" },
    types: { type: "string" },
  },
});
const positions = Number(options.positions);
const CTX = 576;
/**
 * Llama 3's rope scaling and a head apart are the same in every weight type; its vocabulary makes it slow. Ternary weights
 * want widths of whole blocks of 256.
 */
const TYPES = /** @type {const} */ ({
  "tiny-llama3": ["f32"],
  "tiny-qwen2": ["f32", "q8_0", "q4_0", "tq2_0", "tq1_0"],
});
/** @param {string} type */
const ternary = (type) => type === "tq2_0" || type === "tq1_0";
/** Least share of positions with the same top token, most mean KL divergence in nats. */
const BOUNDS = { f32: { top: 0.99, kl: 1e-4 }, quantized: { top: 0.97, kl: 2e-3 } };
/** Blocks of 256: llama.cpp rounds activations per 256 there, pith per 32. More apart by nature, in default mixes too. */
const MIXED = { top: 0.9, kl: 2e-3 };
/** Types that only llama.cpp writes here. */
const READ = /** @type {(keyof typeof MOSTLY)[]} */ (Object.keys(MOSTLY)).filter(
  (t) => t !== "q4_0" && t !== "q8_0",
);
/** @param {string} shape @param {any} type */
const make = (shape, type) => (shape in types ? makeType(shape, type) : makeModel(shape, type));
let failures = 0;

/** @param {boolean} good @param {string} line */
function report(good, line) {
  if (!good) failures++;
  console.log(`${good ? "ok  " : "FAIL"} ${line}`);
}

/** Texts to compare: as much of each as both tokenize in a moment. */
const texts = existsSync(join(data, "text"))
  ? readdirSync(join(data, "text")).map((name) => ({
      name,
      text: readFileSync(join(data, "text", name), "utf8").slice(0, 300_000),
    }))
  : [
      {
        name: "built in",
        text: "The quick brown fox jumps over 13 lazy dogs.\n\tÜber naïve 日本語 🙂!\r\n".repeat(200),
      },
    ];

/** @param {Float32Array} row */
function normalizer(row) {
  let top = 0;
  for (let i = 1; i < row.length; i++) if (row[i] > row[top]) top = i;
  let sum = 0;
  for (let i = 0; i < row.length; i++) sum += Math.exp(row[i] - row[top]);
  return { top, log: row[top] + Math.log(sum) };
}

/** KL(p || q) in nats of the distributions that two rows of logits stand for. @param {Float32Array} p @param {Float32Array} q */
function compare(p, q) {
  const [a, b] = [normalizer(p), normalizer(q)];
  let kl = 0;
  for (let i = 0; i < p.length; i++) {
    const logP = p[i] - a.log;
    kl += Math.exp(logP) * (logP - (q[i] - b.log));
  }
  return { same: a.top === b.top, kl };
}

/** @param {string} file */
const load = (file) =>
  loadModel(file, {
    ctx: CTX,
    kv: "f32",
    ...(options.backend && { backend: /** @type {any} */ (options.backend) }),
  });

/** @param {string} file @param {string} label @param {{ top: number, kl: number }} bound @param {boolean} withTexts */
async function agree(file, label, bound, withTexts) {
  const reference = await openReference(file, CTX);
  const model = await load(file);
  try {
    if (withTexts) {
      for (const { name, text } of texts) {
        const theirs = reference.tokenize(text);
        const ours = model.tokenizer.encode(text, { addSpecial: false });
        const at = theirs.findIndex((id, i) => ours[i] !== id);
        const equal = at < 0 && ours.length === theirs.length;
        report(
          equal,
          `${label}: ${theirs.length} ids of ${name}${equal ? " equal" : `, different at ${at}`}`,
        );
      }
    }
    // A prompt of varied text: the start of each, one after another.
    const each = Math.ceil(positions / texts.length);
    const ids = texts
      .flatMap(({ text }) => reference.tokenize(text.slice(0, each * 12)).slice(0, each))
      .slice(0, positions);
    const logits = await model.logits(ids);
    const vocab = logits.length / ids.length;
    let rows = 0;
    let same = 0;
    let sum = 0;
    let most = 0;
    await reference.logits(ids, (i, row) => {
      const c = compare(row, logits.subarray(i * vocab, (i + 1) * vocab));
      rows++;
      same += c.same ? 1 : 0;
      sum += c.kl;
      most = Math.max(most, c.kl);
    });
    const [top, kl] = [same / rows, sum / rows];
    report(
      rows === ids.length && top >= bound.top && kl < bound.kl,
      `${label}: ${rows} positions, same top token ${(top * 100).toFixed(2)} % (wanted ${bound.top * 100}), mean KL ${kl.toExponential(2)} (wanted < ${bound.kl}), largest ${most.toExponential(2)}; ${model.backend.name} ${model.backend.kernels}, KV ${reference.kv}`,
    );
  } finally {
    await model.close();
    await reference.close();
  }
}

/** Vectors of an encoder beside llama.cpp's: the cosine of each pair. @param {string} file @param {string} label @param {number} least */
async function agreeVectors(file, label, least) {
  const reference = await openEmbeddings(file);
  const model = await loadEncoder(file);
  try {
    const some = texts.flatMap(({ text }) => [40, 200, 900].map((length) => text.slice(3000, 3000 + length)));
    const { vectors } = await embed(model, some, { normalize: true });
    let lowest = 1;
    for (const [i, text] of some.entries()) {
      const theirs = await reference.vector(text);
      const length = Math.hypot(...theirs);
      const cosine = theirs.reduce((sum, x, k) => sum + (x / length) * vectors[i][k], 0);
      lowest = Math.min(lowest, cosine);
    }
    report(lowest >= least, `${label}: ${some.length} vectors, lowest cosine ${lowest} (wanted ${least})`);
  } finally {
    await model.close();
    await reference.close();
  }
}

/** Whether two files hold the same tensors, byte for byte. @param {string} a @param {string} b */
async function sameTensors(a, b) {
  const [left, right] = await Promise.all([openFile(a), openFile(b)]);
  try {
    const [l, r] = await Promise.all([readGguf(left), readGguf(right)]);
    if (l.tensors.size !== r.tensors.size) return `${l.tensors.size} and ${r.tensors.size} tensors`;
    for (const [name, tensor] of l.tensors) {
      const other = r.tensors.get(name);
      if (!other || other.type !== tensor.type) return `${name} is ${tensor.type} and ${other?.type}`;
      if (Buffer.compare(await readTensor(tensor), await readTensor(other)) !== 0) return `${name} differs`;
    }
    return undefined;
  } finally {
    await left.close();
    await right.close();
  }
}

/** Whether pith computes the same from two files. @param {string} a @param {string} b */
async function sameLogits(a, b) {
  const rows = [];
  for (const file of [a, b]) {
    const model = await load(file);
    rows.push(Buffer.from((await model.logits(Array.from({ length: 32 }, (_, i) => 1000 + 37 * i))).buffer));
    await model.close();
  }
  return rows[0].equals(rows[1]);
}

mkdirSync(cache, { recursive: true });
const quantize = llamaQuantizer();
if (!quantize)
  console.log("gap: no prebuilt llama.cpp found in bench/peers: files that it quantized are not checked");
for (const shape of options.shapes.split(",")) {
  if (quantize && shape.startsWith("tiny-") && shape !== "tiny-llama3")
    for (const type of READ.filter(
      (t) => (options.types ?? "all") === "all" || options.types?.split(",").includes(t),
    ))
      for (const variant of /** @type {const} */ (["pure", "default"])) {
        const theirs = join(cache, `${shape}-${type}-llama-${variant}.gguf`);
        if (!existsSync(theirs)) quantize(await make(shape, "f32"), theirs, type, variant);
        await agree(theirs, `${shape} ${type} by llama.cpp (${variant})`, MIXED, false);
      }
  if (options.types) continue;
  for (const type of TYPES[/** @type {keyof typeof TYPES} */ (shape)] ??
    /** @type {const} */ (["f32", "q8_0", "q4_0"])) {
    const file = await make(shape, type);
    if (shape === "bert") {
      await agreeVectors(file, `${shape} ${type}`, type === "f32" ? 0.99999 : 0.999);
      continue;
    }
    const bound = type === "f32" ? BOUNDS.f32 : ternary(type) ? MIXED : BOUNDS.quantized;
    await agree(file, `${shape} ${type}`, bound, type === "f32");
    if (type === "f32" || ternary(type) || !quantize) continue;
    for (const variant of /** @type {const} */ (["pure", "default"])) {
      const theirs = join(cache, `${shape}-${type}-llama-${variant}.gguf`);
      quantize(await make(shape, "f32"), theirs, type, variant);
      const label = `${shape} ${type} by llama.cpp (${variant})`;
      const difference = await sameTensors(file, theirs);
      if (variant === "pure")
        report(!difference, `${label}: tensors ${difference ?? "the same byte for byte"}`);
      if (difference) await agree(theirs, label, variant === "pure" ? BOUNDS.quantized : MIXED, false);
      else report(await sameLogits(file, theirs), `${label}: opens, and gives the same logits bit for bit`);
    }
  }
}
console.log(failures ? `${failures} checks failed` : "all agree");
process.exitCode = failures ? 1 : 0;
