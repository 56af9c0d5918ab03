// What a student of a quarter of its teacher learns from labels alone, from the teacher, from the teacher's synthetic data,
// and on its own answers: the tasks of distill-data.mjs, some seeds each, equal steps.
// Command: node bench/distill-tasks.mjs <teacher> <student> <folder of distill-data.mjs> --out <folder> [--seeds 1,2,3]
//   [--steps 600] [--batch-tokens 2048] [--lr 1e-3] [--synthetic 10000] [--variants labels,distilled,synthetic,on-policy]
//   [--more "<options of pith distill>"]
// <student>: the model that all begin with (pith prune), or "random", of 4 layers, 128 wide. Prints a table: intents right
// (CLINC150), F1 of slots and whole calls right (SNIPS), held-out loss. Results stay in --out and are not made again.
// Needs dist/ (npm run build).
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { pith } from "./command.mjs";

const { values, positionals } = parseArgs({
  options: {
    out: { type: "string", default: "distill-tasks" },
    seeds: { type: "string", default: "1,2,3" },
    steps: { type: "string", default: "600" },
    "batch-tokens": { type: "string", default: "2048" },
    lr: { type: "string", default: "1e-3" },
    synthetic: { type: "string", default: "10000" },
    variants: { type: "string", default: "labels,distilled,synthetic,on-policy" },
    more: { type: "string", default: "" },
  },
  allowPositionals: true,
});
const [teacher = "", student = "", data = ""] = positionals;
const { out } = values;
mkdirSync(out, { recursive: true });

const train = join(data, "train.jsonl");
const synthetic = join(out, "synthetic.jsonl");
const begin =
  student === "random"
    ? ["--layers", "4", "--heads", "4", "--width", "128", "--ctx", "256"]
    : ["--student", student];
/** @param {string} seed */
const loop = (seed) => [
  ...[
    "--raw",
    "--eval",
    join(data, "dev.jsonl"),
    "--steps",
    values.steps,
    "--epochs",
    "1000",
    "--lr",
    values.lr,
  ],
  ...["--batch-tokens", values["batch-tokens"], "--warmup", "0.05", "--seed", seed],
];
/** What is learned from. @type {Record<string, string[]>} */
const VARIANTS = {
  labels: ["--kd-weight", "0", "--ce-weight", "1", "--data", train],
  distilled: ["--on-policy", "0", "--data", train],
  synthetic: ["--on-policy", "0", "--data", train, "--data", synthetic],
  "on-policy": ["--data", train, "--data", synthetic],
};

/** @param {string} variant @param {string} seed */
function score(variant, seed) {
  const to = join(out, `${variant}-${seed}`);
  const file = `${to}.json`;
  if (existsSync(file)) return JSON.parse(readFileSync(file, "utf8"));
  if (variant === "synthetic" && !existsSync(synthetic))
    pith([
      ...[
        "synthesize",
        "--teacher",
        teacher,
        "--seeds",
        train,
        "--count",
        values.synthetic,
        "--out",
        synthetic,
      ],
      ...[
        "--raw",
        "--answer-shots",
        "0",
        "--max-tokens",
        "96",
        "--prompt-tokens",
        "64",
        "--temperature",
        "0.8",
      ],
    ]);
  const more = values.more.split(" ").filter(Boolean);
  const given = [...(VARIANTS[variant] ?? []), ...loop(seed), ...more];
  if (!existsSync(join(to, "report.html")))
    pith(["distill", "--teacher", teacher, ...begin, ...given, "--out", to]);
  /** @param {string} task @param {string} stop */
  const evaluate = (task, stop) =>
    JSON.parse(pith(["evaluate", to, "--task", join(data, `${task}.jsonl`), "--stop", stop, "--json"]))
      .scores;
  const [clinc, snips] = [evaluate("clinc", "\n"), evaluate("snips", "\n")];
  const losses = readFileSync(join(to, "metrics.jsonl"), "utf8")
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line).eval_loss)
    .filter((loss) => loss !== undefined);
  const result = {
    clinc: 100 * clinc.normalized_match.value,
    f1: 100 * snips.f1.value,
    calls: 100 * snips.whole_right.value,
    loss: Math.min(...losses),
  };
  writeFileSync(file, JSON.stringify(result));
  return result;
}

console.log("| | CLINC150 right | SNIPS F1 | calls right | held-out loss |\n|---|---|---|---|---|");
for (const variant of values.variants.split(",")) {
  const all = values.seeds.split(",").map((seed) => score(variant, seed));
  /** Mean and how far the seeds are apart. @param {"clinc" | "f1" | "calls" | "loss"} key @param {number} digits */
  const figure = (key, digits) => {
    const found = all.map((one) => one[key]);
    const mean = found.reduce((a, b) => a + b, 0) / found.length;
    return `${mean.toFixed(digits)} (${Math.min(...found).toFixed(digits)} to ${Math.max(...found).toFixed(digits)})`;
  };
  console.log(
    `| ${variant} | ${figure("clinc", 1)} | ${figure("f1", 1)} | ${figure("calls", 1)} | ${figure("loss", 4)} |`,
  );
}
