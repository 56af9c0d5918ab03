// The same perplexity as llama.cpp's? Both score the same file on the same text, with the same windows; and with --base,
// the KL divergence to it. Ends with 1 when the perplexities are further apart than 0.2 %.
// Command: node bench/perplexity.mjs --llama <path of llama-perplexity> --text <file> [--ctx 512] [--chunks 20]
//          [--threads 2] [--base <base.gguf>] <model.gguf> ...
// Needs `npx tsc -p tsconfig.build.json` before. llama.cpp drops the last line end of a text, so this does too.
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { parseArgs } from "node:util";
import { evaluate, loadModel } from "../dist/index.js";

const { values: options, positionals: models } = parseArgs({
  options: {
    llama: { type: "string" },
    text: { type: "string" },
    ctx: { type: "string", default: "512" },
    chunks: { type: "string" },
    threads: { type: "string", default: "2" },
    base: { type: "string" },
  },
  allowPositionals: true,
});
if (!options.llama || !options.text || models.length === 0)
  throw new TypeError(
    "Wanted: node bench/perplexity.mjs --llama <llama-perplexity> --text <file> <model.gguf> ...",
  );
const BOUND = 0.002;
const { llama, ctx } = options;
const folder = mkdtempSync(join(tmpdir(), "pith-perplexity-"));
const text = readFileSync(options.text, "utf8").replace(/\n$/, "");
let failures = 0;

/** @param {string} model @param {string[]} more */
function runLlama(model, ...more) {
  const chunks = options.chunks ? ["--chunks", options.chunks] : [];
  const args = ["-m", model, "-f", /** @type {string} */ (options.text), "-c", ctx, "-t", options.threads];
  const started = performance.now();
  const run = spawnSync(/** @type {string} */ (llama), [...args, ...chunks, ...more], {
    encoding: "utf8",
    maxBuffer: 2 ** 28,
  });
  const output = run.stdout + run.stderr;
  /** @param {RegExp} pattern */
  const number = (pattern) => Number(pattern.exec(output)?.[1] ?? Number.NaN);
  return { output, seconds: (performance.now() - started) / 1000, number };
}

/** @param {number} x */
const short = (x) => Number(x.toPrecision(6));

try {
  const logits = join(folder, "base.kld");
  const base = options.base && (await loadModel(options.base, { threads: Number(options.threads) }));
  if (options.base) runLlama(options.base, "--kl-divergence-base", logits);
  for (const file of models) {
    const model = await loadModel(file, { threads: Number(options.threads) });
    const started = performance.now();
    const ours = await evaluate(model, {
      text,
      ctx: Number(ctx),
      ...(options.chunks && { limit: Number(options.chunks) }),
      ...(base && { base }),
    });
    const seconds = (performance.now() - started) / 1000;
    await model.close();
    const theirs = base ? runLlama(file, "--kl-divergence-base", logits, "--kl-divergence") : runLlama(file);
    const perplexity = theirs.number(base ? /Mean PPL\(Q\)\s*:\s*([\d.]+)/ : /PPL = ([\d.]+)/);
    const ratio = ours.perplexity / perplexity;
    const good = Math.abs(ratio - 1) < BOUND;
    if (!good) failures++;
    console.log(
      `${good ? "ok  " : "FAIL"} ${basename(file)}: perplexity ${short(ours.perplexity)}, llama.cpp's ${perplexity}: ratio ${ratio.toFixed(5)} (${ours.tokens} tokens; ${seconds.toFixed(1)} s and ${theirs.seconds.toFixed(1)} s with loading)`,
    );
    if (base)
      console.log(
        [
          `     log-ratio ${short(ours.log_ratio ?? 0)} ± ${short(ours.log_ratio_se ?? 0)} (llama.cpp ${theirs.number(/ln\(PPL\(Q\)\/PPL\(base\)\)\s*:\s*([-\d.]+)/)})`,
          `KL mean ${short(ours.kl_mean ?? 0)} (${theirs.number(/Mean\s+KLD:\s*([-\d.]+)/)})`,
          `median ${short(ours.kl_median ?? 0)} (${theirs.number(/Median\s+KLD:\s*([-\d.]+)/)})`,
          `99 % ${short(ours.kl_p99 ?? 0)} (${theirs.number(/99\.0%\s+KLD:\s*([-\d.]+)/)})`,
          `same top ${short(100 * (ours.top1 ?? 0))} % (${theirs.number(/Same top p:\s*([-\d.]+)/)} %)`,
        ].join(", "),
      );
  }
  if (base) await base.close();
} finally {
  rmSync(folder, { recursive: true });
}
process.exitCode = failures > 0 ? 1 : 0;
