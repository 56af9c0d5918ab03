// Ten adapters for CLINC150's ten domains over one small base, each beside the base and beside full tuning.
// Command: node bench/clinc150-adapters.mjs <base> <folder of clinc150.mjs> [--out folder] [--domains banking,auto]
//   [--part val|dev] [--lora "<options of pith tune>"] [--full "<options of pith tune>"] [--only lora|full]
// Prints a table: the share of utterances whose intent is the likeliest of the domain's 15. Models stay in --out; those
// that are there are not trained again. Needs dist/ (npm run build).
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { pith } from "./command.mjs";

const { values, positionals } = parseArgs({
  options: {
    out: { type: "string", default: "clinc150-adapters" },
    domains: { type: "string" },
    part: { type: "string", default: "val" },
    lora: { type: "string", default: "--rank 16 --alpha 32 --lr 3e-3 --epochs 8 --batch-tokens 512" },
    full: { type: "string", default: "--lr 5e-4 --epochs 8 --batch-tokens 512" },
    only: { type: "string" },
  },
  allowPositionals: true,
});
const [base = "", folder = ""] = positionals;
const { out } = values;
mkdirSync(out, { recursive: true });

/** The task file of a domain: the dev part gets its choices from the other one. @param {string} domain */
function task(domain) {
  const val = join(folder, `${domain}.val.jsonl`);
  if (values.part === "val") return val;
  const { choices } = JSON.parse(readFileSync(val, "utf8").split("\n", 1)[0] ?? "");
  const lines = readFileSync(join(folder, `${domain}.dev.jsonl`), "utf8")
    .trim()
    .split("\n");
  const file = join(out, `${domain}.dev-task.jsonl`);
  writeFileSync(file, lines.map((line) => `${JSON.stringify({ ...JSON.parse(line), choices })}\n`).join(""));
  return file;
}

/** @param {string} model @param {string} domain @param {string[]} more */
const score = (model, domain, more = []) =>
  JSON.parse(pith(["evaluate", model, "--task", task(domain), "--json", ...more])).scores.accuracy_sum.value;

/** @param {"lora" | "full"} method @param {string} domain */
function tuned(method, domain) {
  const to = join(out, `${domain}-${method}`);
  const data = (/** @type {string} */ part) => join(folder, `${domain}.${part}.jsonl`);
  const options = values[method].split(" ").filter(Boolean);
  if (!existsSync(join(to, "report.html")))
    pith([
      "tune",
      base,
      "--raw",
      "--data",
      data("train"),
      "--eval",
      data("dev"),
      "--method",
      method,
      "--out",
      to,
      ...options,
    ]);
  return method === "lora" ? score(base, domain, ["--adapter", to]) : score(to, domain);
}

const methods = /** @type {("lora" | "full")[]} */ (values.only ? [values.only] : ["lora", "full"]);
const domains =
  values.domains?.split(",") ??
  readdirSync(folder)
    .filter((name) => name.endsWith(".val.jsonl"))
    .map((name) => name.split(".")[0] ?? "");
const sums = [0, 0, 0];
console.log(`| domain | base | ${methods.join(" | ")} |\n|---|---|${"---|".repeat(methods.length)}`);
for (const domain of domains) {
  const shares = [score(base, domain), ...methods.map((method) => tuned(method, domain))];
  for (const [i, share] of shares.entries()) sums[i] = (sums[i] ?? 0) + share;
  console.log(`| ${[domain, ...shares.map((share) => (100 * share).toFixed(1))].join(" | ")} |`);
}
const means = sums.slice(0, methods.length + 1).map((sum) => ((100 * sum) / domains.length).toFixed(1));
console.log(`| mean | ${means.join(" | ")} |`);
