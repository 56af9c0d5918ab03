/** Imports point one way: engine <- formats, tokenizer <- models <- { generate, embed, train, quantize, evaluate } <- cli. */
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";
import { expect, test } from "vitest";

const SRC = resolve(import.meta.dirname, "../src");

/** What each folder may import, besides itself. `index.ts` of the package may import everything. */
const MAY: Record<string, readonly string[]> = {
  engine: [],
  formats: ["engine"],
  hub: ["formats"],
  tokenizer: ["engine", "formats"],
  models: ["engine", "formats", "hub", "tokenizer"],
  generate: ["engine", "formats", "tokenizer", "models"],
  embed: ["engine", "formats", "tokenizer", "models"],
  // Pages and charts of what other folders found.
  report: ["engine", "formats"],
  train: ["engine", "formats", "tokenizer", "models", "report"],
  tools: ["engine", "formats", "tokenizer", "models", "generate"],
  // Tasks are answered by generating.
  evaluate: ["engine", "formats", "tokenizer", "models", "generate", "tools"],
  // Teachers elsewhere: endpoints over HTTP.
  remote: ["formats", "hub", "tokenizer"],
  prune: ["engine", "formats", "tokenizer", "models", "report", "train"],
  distill: [
    "engine",
    "formats",
    "tokenizer",
    "models",
    "report",
    "generate",
    "train",
    "evaluate",
    "remote",
    "prune",
  ],
  // Variants are measured (evaluate), learned ones trained (train, distill).
  quantize: [
    "engine",
    "formats",
    "tokenizer",
    "models",
    "report",
    "generate",
    "train",
    "evaluate",
    "distill",
  ],
  // A pipeline of all verbs that make something.
  recipe: [
    "engine",
    "formats",
    "hub",
    "tokenizer",
    "models",
    "generate",
    "train",
    "evaluate",
    "compare",
    "remote",
    "prune",
    "distill",
    "quantize",
  ],
  compare: ["engine", "formats", "tokenizer", "models", "report", "generate", "train", "evaluate", "remote"],
  // The whole story: every verb that it shows.
  demo: [
    "engine",
    "formats",
    "models",
    "report",
    "generate",
    "train",
    "tools",
    "evaluate",
    "prune",
    "distill",
    "quantize",
    "compare",
  ],
  cli: [
    "engine",
    "formats",
    "hub",
    "tokenizer",
    "models",
    "generate",
    "train",
    "evaluate",
    "remote",
    "prune",
    "distill",
    "quantize",
    "recipe",
    "tools",
    "compare",
    "demo",
    "index.ts",
    "embed",
  ],
};
/** Exceptions, each with its reason. */
const ALSO: Record<string, string> = {};

const files = (readdirSync(SRC, { recursive: true }) as string[]).filter((f) => f.endsWith(".ts"));

test("imports point one way", () => {
  const wrong: string[] = [];
  for (const file of files) {
    const folder = file.split("/")[0]!;
    if (file === "index.ts") continue;
    const own = MAY[folder];
    expect(own, `src/${folder} is not in the list of layers`).toBeDefined();
    const text = readFileSync(join(SRC, file), "utf8");
    for (const [, path] of text.matchAll(/(?:from|import)\s*\(?\s*"(\.[^"]+)"/g)) {
      const target = relative(SRC, resolve(SRC, dirname(file), path!));
      const to = target.split("/")[0]!;
      const helper = file.endsWith(".test.ts") && target.startsWith("../test/helpers/");
      const allowed = helper || to === folder || own!.includes(to) || ALSO[`${file} -> ${to}`] !== undefined;
      if (!allowed) wrong.push(`${file} imports ${target}`);
    }
  }
  expect(wrong).toEqual([]);
});

test("no file is over 600 lines", () => {
  const root = resolve(import.meta.dirname, "..");
  const all = ["src", "kernels", "test", "bench", "scripts"].flatMap((dir) =>
    (readdirSync(join(root, dir), { recursive: true }) as string[])
      .filter((f) => /\.(ts|mjs|cc|h|c)$/.test(f) && !f.includes("node_modules"))
      .map((f) => join(dir, f)),
  );
  const long = all
    .map((f) => [f, readFileSync(join(root, f), "utf8").split("\n").length] as const)
    .filter(([, n]) => n > 600);
  expect(long).toEqual([]);
});
