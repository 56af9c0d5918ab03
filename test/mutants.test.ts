// Broken and hostile models, whole: files of a tiny model with bytes changed, cut or repeated are opened, loaded and
// run. What comes is a model that computes or an error that names a file; never a crash, and soon.
import { copyFile, mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Backend } from "../src/engine/backend.ts";
import { convert, createRuntime, inspect, openModel } from "../src/models/index.ts";
import { backends } from "./helpers/backends.ts";
import { mutate, random } from "./helpers/mutants.ts";
import { step } from "./helpers/step.ts";
import { TINY, writeTinyModel } from "./helpers/tiny-models.ts";
import { writeTinyTokenizer } from "./helpers/tiny-tokenizer.ts";

const MUTANTS = 400;
/** Bytes of a header that are worth changing; what follows is data, where every byte is valid. */
const HEADER = 12_000;

let dir: string;
/** The native one where there is one: what reaches it must have been checked. */
let backend: Backend;
beforeAll(async () => {
  backend = await backends.at(-1)![1]();
  dir = await mkdtemp(join(tmpdir(), "pith-mutants-"));
  await writeTinyModel(join(dir, "folder"), { ...TINY.llama, num_hidden_layers: 1 });
  await writeTinyTokenizer(join(dir, "folder"));
  const model = await openModel(join(dir, "folder"));
  await convert(model, join(dir, "seed.gguf"));
  await model.close();
});
afterAll(async () => {
  backend.close();
  await rm(dir, { recursive: true, force: true });
});

/** Opens, looks, loads and runs. Gives the error, if any. */
async function use(path: string): Promise<unknown> {
  try {
    const model = await openModel(path);
    try {
      const { tokenizer } = await inspect(model);
      const options = { ctx: 1, maxima: { T: 2, S: 1, R: 2 }, availableMemory: 2 ** 28 };
      const runtime = await createRuntime(model, backend, options);
      const [row] = await step(runtime, [{ ids: [0], past: 0, pages: [0] }]);
      expect(row!.length).toBe(model.config.vocab_size);
      runtime.close();
      if ("error" in tokenizer) return new Error(tokenizer.error);
    } finally {
      await model.close();
    }
  } catch (error) {
    return error;
  }
  return undefined;
}

describe.each(["seed.gguf", "config.json", "model.safetensors", "tokenizer.json"])("%s", (file) => {
  test(`${MUTANTS} mutants`, async () => {
    const isGguf = file.endsWith(".gguf");
    const seed = await readFile(join(dir, isGguf ? file : join("folder", file)));
    const folder = join(dir, `mutant-${file}`);
    await mkdir(folder);
    if (!isGguf)
      for (const other of ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"])
        await copyFile(join(dir, "folder", other), join(folder, other));
    let refused = 0;
    for (let i = 1; i <= MUTANTS; i++) {
      await writeFile(join(folder, isGguf ? "m.gguf" : file), mutate(seed, random(i), HEADER));
      const started = performance.now();
      const error = await use(isGguf ? join(folder, "m.gguf") : folder);
      expect(performance.now() - started).toBeLessThan(5000);
      if (error === undefined) continue;
      refused++;
      expect(error).toBeInstanceOf(Error);
      const { message } = error as Error;
      expect(message, `mutant ${i}`).toMatch(/^Cannot (read|open|load) .*mutant-/s);
      expect(message.length).toBeLessThan(1000);
    }
    expect(refused).toBeGreaterThan(MUTANTS / 10);
  });
});
