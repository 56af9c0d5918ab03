// What quantizing loses: every type by every method, of one model, on text that no method has seen; llama.cpp's own
// quantizer beside it. Perplexity, KL divergence and same top token are against the original in 16 bits.
// Command: node bench/quantize.mjs <model> --calibration <file> --text <file> --out <folder>
//   [--types q8_0,q6_k,q5_k,q4_k,q4_0,q3_k,q2_k,tq2_0] [--methods rtn,imatrix,awq,gptq,learned] [--pure] [--ctx 256]
//   [--limit <windows>] [--llama <folder of llama.cpp's programs>] [--more="<options of pith quantize>"] [--decode] [--name x]
// --llama: files of llama-quantize too, with and without llama-imatrix, and every file's perplexity by llama-perplexity.
// --name: of a set of options, where one folder holds several. Files and figures in --out are kept and not made again.
// SmolLM2-135M, 4 bits, with text of your own:
//   node dist/cli/main.js pull HuggingFaceTB/SmolLM2-135M
//   node bench/quantize.mjs HuggingFaceTB/SmolLM2-135M --calibration a.txt --text b.txt --ctx 512 --out smollm2
// Needs dist/ (npm run build).
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { evaluate, loadModel } from "../dist/index.js";
import { bitsPerWeight, openModel } from "../dist/models/index.js";
import { pith } from "./command.mjs";

const { values, positionals } = parseArgs({
  options: {
    calibration: { type: "string", default: "" },
    text: { type: "string", default: "" },
    out: { type: "string", default: "quantized" },
    types: { type: "string", default: "q8_0,q6_k,q5_k,q4_k,q4_0,q3_k,q2_k,tq2_0" },
    methods: { type: "string", default: "rtn,imatrix,awq,gptq,learned" },
    pure: { type: "boolean", default: false },
    ctx: { type: "string", default: "256" },
    limit: { type: "string" },
    llama: { type: "string" },
    more: { type: "string", default: "" },
    name: { type: "string", default: "" },
    decode: { type: "boolean", default: false },
  },
  allowPositionals: true,
});
const { out, llama, calibration, ctx } = values;
const source = positionals[0] ?? "";
mkdirSync(out, { recursive: true });

/** A program's output, how long it took, and its peak memory. @param {string} program @param {string[]} args */
function run(program, args) {
  const started = performance.now();
  const { status, stdout, stderr } = spawnSync(program, args, { encoding: "utf8", maxBuffer: 2 ** 28 });
  if (status !== 0)
    throw new Error(`${program} ${args.join(" ")} ended with ${status}: ${stderr.slice(-2000)}`);
  const mib = Number(/peak memory (\d+) MiB/.exec(stderr)?.[1] ?? Number.NaN);
  return { output: stdout + stderr, seconds: (performance.now() - started) / 1000, mib };
}

const main = fileURLToPath(new URL("../dist/cli/main.js", import.meta.url));
const peak = new URL("./peak.mjs", import.meta.url).href;
const base = join(out, "f16.gguf");
if (!existsSync(base)) pith(["convert", source, base, "--type", "f16"]);

/** @typedef {{ file: string, seconds?: number, mib?: number }} Made */
/** File by name, made where it is not there. @param {string} name @param {(file: string) => { seconds: number, mib?: number }} make @returns {Made} */
function made(name, make) {
  const file = join(out, `${name}.gguf`);
  const note = join(out, `${name}.json`);
  if (!existsSync(file)) {
    const { seconds, mib } = make(file);
    writeFileSync(note, JSON.stringify({ seconds, mib }));
  }
  return { file, ...(existsSync(note) && JSON.parse(readFileSync(note, "utf8"))) };
}

/** llama.cpp's names of the same types; its mixes of middle size. */
const LLAMA = { q3_k: "Q3_K_M", q4_k: "Q4_K_M", q5_k: "Q5_K_M" };
const suffix = `${values.pure ? "-pure" : ""}${values.name ? `-${values.name}` : ""}`;
const text = readFileSync(values.text, "utf8").replace(/\n$/, "");
const original = await loadModel(base);
const rows = [];

/** @param {string} label @param {Made} found */
async function row(label, { file, seconds, mib }) {
  const note = join(out, `score-${label.replaceAll(/[^\w.]+/g, "-")}-${ctx}-${values.limit ?? "all"}.json`);
  let score;
  if (existsSync(note)) score = JSON.parse(readFileSync(note, "utf8"));
  else {
    const model = await loadModel(file);
    const limit = values.limit && { limit: Number(values.limit) };
    score = await evaluate(model, { text, ctx: Number(ctx), ...limit, base: original });
    await model.close();
    const opened = await openModel(file);
    score.bits = bitsPerWeight(opened);
    await opened.close();
    if (llama) {
      const args = ["-m", file, "-f", values.text, "-c", ctx, "-t", "2"];
      const { output } = run(join(llama, "llama-perplexity"), [
        ...args,
        ...(values.limit ? ["--chunks", values.limit] : []),
      ]);
      score.theirs = Number(/PPL = ([\d.]+)/.exec(output)?.[1]);
    }
    writeFileSync(note, JSON.stringify(score));
  }
  const speed = values.decode ? JSON.parse(pith(["bench", file, "--rounds", "3", "--json"])) : undefined;
  const { bits, perplexity, log_ratio = 0, log_ratio_se = 0, kl_mean = 0, top1 = 1, theirs } = score;
  const percent = (/** @type {number} */ x) => `${(100 * Math.expm1(x)).toFixed(2)}`;
  const line = [
    label,
    bits.toFixed(2),
    (statSync(file).size / 1e6).toFixed(2),
    perplexity.toFixed(4),
    `${percent(log_ratio)} ± ${percent(log_ratio_se)}`,
    kl_mean.toFixed(5),
    (100 * top1).toFixed(1),
    seconds?.toFixed(1) ?? "",
    mib ?? "",
    ...(llama ? [(perplexity / theirs).toFixed(4)] : []),
    ...(speed ? [String(speed.decode_tokens_per_second ?? JSON.stringify(speed))] : []),
  ];
  rows.push(line);
  console.log(`| ${line.join(" | ")} |`);
}

const heads = ["", "bits a weight", "MB", "perplexity", "loss %", "KL", "same top %", "s", "MiB"];
if (llama) heads.push("perplexity / llama.cpp's");
if (values.decode) heads.push("tok/s");
console.log(`| ${heads.join(" | ")} |\n|${"---|".repeat(heads.length)}`);
await row("f16", { file: base });
if (llama && !existsSync(join(out, "imatrix.gguf")))
  run(join(llama, "llama-imatrix"), [
    "-m",
    base,
    "-f",
    calibration,
    "-o",
    join(out, "imatrix.gguf"),
    "-c",
    ctx,
  ]);
for (const type of values.types.split(",")) {
  for (const method of values.methods.split(",")) {
    const label = `${type} ${method}${suffix.replaceAll("-", " ")}`;
    try {
      const found = made(`${type}-${method}${suffix}`, (file) =>
        run(process.execPath, [
          ...["--import", peak, main, "quantize", source, "--to", type, "--method", method, "--out", file],
          ...(method === "rtn" ? [] : ["--calibration", calibration]),
          ...(values.pure ? ["--pure"] : []),
          ...values.more.split(" ").filter(Boolean),
        ]),
      );
      await row(label, found);
    } catch (error) {
      console.log(`| ${label} | ${/** @type {Error} */ (error).message.split("\n").slice(-3).join(" ")} |`);
    }
  }
  if (!llama || values.name) continue;
  for (const imatrix of [false, true]) {
    const theirs = values.pure
      ? type.toUpperCase()
      : (LLAMA[/** @type {"q4_k"} */ (type)] ?? type.toUpperCase());
    if (imatrix && (type === "q8_0" || type.startsWith("tq"))) continue;
    const found = made(`${type}-llama${imatrix ? "-imatrix" : ""}${suffix}`, (file) =>
      run(join(llama, "llama-quantize"), [
        ...(imatrix ? ["--imatrix", join(out, "imatrix.gguf")] : []),
        ...(values.pure ? ["--pure", "--token-embedding-type", type, "--output-tensor-type", type] : []),
        ...[base, file, theirs],
      ]),
    );
    await row(`llama.cpp ${theirs}${imatrix ? " imatrix" : ""}${suffix.replaceAll("-", " ")}`, found);
  }
}
await original.close();
