// Broken and hostile adapters: files with bytes changed, cut or repeated, and configs with fields changed. What comes is
// an adapter that fits, or an error that names a file; never a crash, and soon.
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { mutate, random } from "../../../test/helpers/mutants.ts";
import { GOLDEN, TINY_BASES, writeTinyAdapter } from "../../../test/helpers/tiny-adapters.ts";
import { writeTinyModel } from "../../../test/helpers/tiny-models.ts";
import type { OpenedModel } from "../open.ts";
import { openModel } from "../open.ts";
import { composeAdapters, linearTargets, loadAdapter, openAdapter, saveAdapter } from "./index.ts";

/** Of each kind. ADAPTER_MUTANTS=3500 makes ten thousand in all. */
const MUTANTS = Number(process.env.ADAPTER_MUTANTS ?? 200);

let dir: string;
let model: OpenedModel;
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), "pith-adapters-"));
  await writeTinyModel(join(dir, "model"), TINY_BASES.llama);
  model = await openModel(join(dir, "model"));
  await writeTinyAdapter(join(dir, "patterns"), "llama", "patterns");
  const opened = await openAdapter(join(dir, "patterns"));
  const adapter = await loadAdapter(opened, model);
  await opened.close();
  const pairs = new Map(
    [...adapter.changes].flatMap(([path, change]) =>
      "replaced" in change ? [] : [[path, { ...change, alpha: change.scale * change.rank }] as const],
    ),
  );
  await saveAdapter(join(dir, "seed.gguf"), { base_model_name_or_path: "tiny", pairs }, model);
});
afterAll(async () => {
  await model.close();
  await rm(dir, { recursive: true, force: true });
});

const VALUES: readonly unknown[] = [
  0,
  -1,
  1,
  4,
  2 ** 31,
  1e308,
  null,
  true,
  "",
  "all-linear",
  ".*",
  "(a*)*b",
  "(((((.{9}){9}){9}){9}){9})",
  "(?=(.*)*x)".repeat(9),
  "[",
  "x".repeat(1e5),
  [],
  {},
  ["q_proj"],
  ["lm_head", ""],
  { q_proj: 1 },
  { ".*": 2 ** 15 },
  { "(.*)*": 4 },
  [[]],
  [null],
  "pissa",
];

function mutateConfig(config: Record<string, unknown>, next: (below: number) => number): string {
  const fields: Record<string, unknown> = { ...config };
  const keys = [
    ...Object.keys(config),
    "target_modules",
    "exclude_modules",
    "layers_to_transform",
    "layers_pattern",
    "modules_to_save",
    "bias",
    "use_dora",
    "alpha_pattern",
    "rank_pattern",
    "init_lora_weights",
    "lora_bias",
    "__proto__",
  ];
  for (let edits = 1 + next(3); edits > 0; edits--) {
    const key = keys[next(keys.length)]!;
    if (next(4) === 0) delete fields[key];
    else
      Object.defineProperty(fields, key, {
        value: VALUES[next(VALUES.length)],
        enumerable: true,
        configurable: true,
        writable: true,
      });
  }
  return JSON.stringify(fields);
}

/** Opens, checks, loads and composes. Gives the error, if any. */
async function use(path: string): Promise<unknown> {
  try {
    const adapter = await openAdapter(path);
    try {
      const loaded = await loadAdapter(adapter, model);
      const targets = linearTargets(model.definition, model.config);
      for (const change of composeAdapters([{ adapter: loaded, scale: 1 }], targets).values())
        if (!("replaced" in change)) expect(change.b.length % change.rank).toBe(0);
    } finally {
      await adapter.close();
    }
  } catch (error) {
    return error;
  }
  return undefined;
}

describe("mutants", () => {
  const run = async (
    target: string,
    path: string,
    make: (next: (below: number) => number) => Uint8Array | string,
  ) => {
    let fits = 0;
    for (let i = 0; i < MUTANTS; i++) {
      await writeFile(target, make(random(i)));
      const started = performance.now();
      const error = await use(path);
      const took = performance.now() - started;
      if (took > 2000) throw new Error(`mutant ${i} took ${took} ms`);
      if (error === undefined) {
        fits++;
        continue;
      }
      const message = error instanceof Error ? error.message : String(error);
      const builtIn = error instanceof Error && /^(Type|Range|Syntax)?Error$/.test(error.constructor.name);
      if (!builtIn || !/^Cannot [a-z]+ /.test(message) || message.length > 1200)
        throw new Error(`mutant ${i}: ${(error as Error)?.stack ?? message}`);
    }
    expect(fits).toBeGreaterThan(0);
    expect(fits).toBeLessThan(MUTANTS);
  };
  const folder = async (name: string) => {
    const path = join(dir, name);
    await mkdir(path);
    for (const file of ["adapter_config.json", "adapter_model.safetensors"])
      await writeFile(join(path, file), await readFile(join(dir, "patterns", file)));
    return path;
  };

  test("of the weights of a folder", async () => {
    const path = await folder("weights");
    const seed = await readFile(join(path, "adapter_model.safetensors"));
    await run(join(path, "adapter_model.safetensors"), path, (next) => mutate(seed, next));
  }, 600_000);

  test("of its config", async () => {
    const path = await folder("config");
    const { config } = GOLDEN.llama.adapters.patterns!;
    const seed = new TextEncoder().encode(JSON.stringify(config));
    await run(join(path, "adapter_config.json"), path, (next) =>
      next(3) === 0 ? mutate(seed, next) : mutateConfig(config, next),
    );
  }, 600_000);

  test("of a GGUF file", async () => {
    const seed = await readFile(join(dir, "seed.gguf"));
    const path = join(dir, "mutant.gguf");
    await run(path, path, (next) => mutate(seed, next));
  }, 600_000);
});
