// What training quantized blocks is worth, with its settings side by side: a model's matrices rounded to a type (weighted by what
// flows into them), then scales, minima and norms trained by the divergence from the model as it was, with fixed codes and
// with codes trained straight through. Loss of perplexity and divergence on text of the same domain, by the training
// program itself (activations as they are).
// Run: npm run build && node bench/learned.mjs <model folder> <calibration.txt> <evaluation.txt> [types, default q4_k,q2_k]
//   [JSON: settings of `learn`, and "tokens" of calibration, "evaluation" tokens, "threads", "ways": [[name, settings], ..],
//   "start": "gptq" for GPTQ's blocks instead of rounded ones]

import { DistillStep, LocalTeacher } from "../dist/distill/index.js";
import { createBackend } from "../dist/engine/backends/index.js";
import { floatRows } from "../dist/engine/weights.js";
import { linearTargets, openModel, parameterValues } from "../dist/models/index.js";
import { quantizeCalibrated } from "../dist/quantize/calibrated.js";
import { learn } from "../dist/quantize/learned.js";
import { measureImportance } from "../dist/quantize/stream.js";
import { quantizedTrainable, readCalibration } from "../dist/train/index.js";

const [folder, calibrationFile, evaluationFile, types = "q4_k,q2_k", given = "{}"] = process.argv.slice(2);
const WAYS = [
  ["scales", { codes: () => false }],
  ["scales and codes", { codes: () => true }],
];
const {
  tokens = 131072,
  evaluation: evaluated = 32768,
  threads,
  start = "imatrix",
  ways = WAYS,
  ...settings
} = JSON.parse(given);
const signal = new AbortController().signal;
const model = await openModel(folder);
const backend = await createBackend({ ...(threads && { threads }) });
const read = (calibration, tokens) => readCalibration("measure", model, { calibration, tokens }, signal);
const calibration = await read(calibrationFile, tokens);
const evaluation = await read(evaluationFile, evaluated);
const { ctx, tokens: most } = evaluation.limits;
const importance = await measureImportance(model, backend, calibration, { signal });
const weights = new Set(
  [...linearTargets(model.definition, model.config).values()].map(({ weight }) => weight),
);

const teacher = await LocalTeacher.load(model, backend, { ctx });
const distance = { loss: "forward_kl", beta: 0.5, temperature: 1, scale_temperature: false };

/** Means over the evaluation text: of the loss, and of the divergence. */
async function measured(blocks, vectors = new Map()) {
  const trainable = await quantizedTrainable(model, backend, blocks);
  const step = new DistillStep(
    backend,
    trainable,
    { ctx, tokens: most, sequences: 128 },
    { source: { teacher, top_k: 0, vocab_size: model.config.vocab_size }, mix: { ce: 0, kd: 1, distance } },
  );
  for (const [name, values] of vectors) step.write(name, values);
  const sum = { loss: 0, kl: 0, tokens: 0 };
  for (const batch of evaluation.batches) {
    const { loss, kl, tokens } = await step.evaluate(batch);
    sum.loss += loss * tokens;
    sum.kl += kl * tokens;
    sum.tokens += tokens;
  }
  step.close();
  return { loss: sum.loss / sum.tokens, kl: sum.kl / sum.tokens };
}

/** Every matrix in blocks of `type`. */
async function started(type) {
  const blocks = new Map();
  if (start === "gptq") {
    const types = new Map([...weights].map((name) => [name, type]));
    for await (const part of quantizeCalibrated(model, backend, {
      method: "gptq",
      types,
      calibration,
      signal,
    }))
      for (const [name, block] of part.blocks) blocks.set(name, block);
    return blocks;
  }
  for (const [name, [, cols]] of model.definition.params(model.config)) {
    if (!weights.has(name)) continue;
    const values = await parameterValues(model, name);
    blocks.set(name, {
      type,
      bytes: await backend.encode(type, floatRows(values), cols, importance.get(name)),
    });
  }
  return blocks;
}

const original = await measured(new Map());
console.log(`${folder}: perplexity ${Math.exp(original.loss).toFixed(3)} over ${evaluation.targets} tokens`);
const row = (...cells) => console.log(`| ${cells.join(" | ")} |`);
const shown = ({ loss, kl }) => [
  `${(100 * (Math.exp(loss - original.loss) - 1)).toFixed(2)} %`,
  kl.toFixed(5),
];
row("type", "way", "loss of perplexity", "KL", "on what was kept aside", "steps", "tok/s");
row(...Array(7).fill("---"));
for (const type of types.split(",")) {
  const blocks = await started(type);
  row(type, start, ...shown(await measured(blocks)), "", "", "");
  for (const [name, way] of ways) {
    const codes = typeof way.codes === "boolean" ? { codes: () => way.codes } : {};
    const {
      fit,
      blocks: learned,
      vectors,
    } = await learn(model, backend, blocks, {
      calibration,
      ...settings,
      ...way,
      ...codes,
    }).result;
    const result = await measured(new Map([...blocks, ...learned]), vectors);
    const aside = `${fit.first_eval.toFixed(5)} to ${fit.eval_loss.toFixed(5)}`;
    row(type, name, ...shown(result), aside, fit.step, Math.round(fit.tokens / fit.seconds));
  }
}
teacher.free();
backend.close();
await model.close();
