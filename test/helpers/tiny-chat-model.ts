// A tiny model with a tokenizer, loaded on the reference backend: what tests of generation talk to.
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Backend } from "../../src/engine/backend.ts";
import { ReferenceBackend } from "../../src/engine/backends/reference.ts";
import { Model } from "../../src/generate/model.ts";
import {
  adapterLoader,
  bitsPerWeight,
  createRuntime,
  modelIdentity,
  openModel,
  type RuntimeOptions,
} from "../../src/models/index.ts";
import { TINY, writeTinyModel } from "./tiny-models.ts";
import { writeTinyTokenizer } from "./tiny-tokenizer.ts";

/** A folder with the tiny model of a type and its tokenizer. The caller removes it. */
export async function tinyFolder(type: "llama" | "qwen2" = "llama"): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "pith-tiny-"));
  await writeTinyModel(folder, TINY[type]);
  await writeTinyTokenizer(folder);
  return folder;
}

/** Loads a folder as `loadModel` does, on the given backend. */
export async function loadOn(
  folder: string,
  options: RuntimeOptions = {},
  backend: Backend = new ReferenceBackend(),
): Promise<Model> {
  const opened = await openModel(folder);
  const runner = await createRuntime(opened, backend, { maxima: { T: 32, S: 8, R: 8 }, ...options });
  const tokenizer = await opened.tokenizer();
  const identity = await modelIdentity(opened);
  await opened.close();
  const { name, config, generationConfig } = opened;
  return new Model({
    name,
    config,
    generationConfig,
    runner,
    tokenizer,
    backend,
    bytes: { ...runner.bytes, perToken: runner.bytes.weights },
    bitsPerWeight: bitsPerWeight(opened),
    identity,
    loadAdapter: adapterLoader(name),
    release() {
      runner.close();
      backend.close();
    },
  });
}

/** A tiny model, loaded; closing it removes its files. */
export async function tinyChatModel(options: RuntimeOptions = {}): Promise<Model> {
  const folder = await tinyFolder();
  const model = await loadOn(folder, options);
  await rm(folder, { recursive: true });
  return model;
}
