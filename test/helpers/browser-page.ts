// What the browser test runs inside the page, and its Node side too: only modules that need nothing of Node.
import { PAGE } from "../../src/engine/backend.ts";
import { ReferenceBackend } from "../../src/engine/backends/reference.ts";
import { CASES } from "../../src/engine/conformance/cases.ts";
import { failures } from "../../src/engine/conformance/run.ts";
import { fuse } from "../../src/engine/fuse.ts";
import { WasmBackend, type WasmOptions } from "../../src/engine/index.ts";
import { readSafetensors } from "../../src/formats/safetensors.ts";
import { asWeight } from "../../src/formats/tensors.ts";
import { parseConfig } from "../../src/models/config.ts";
import { KV, modelTables } from "../../src/models/layers.ts";
import { ADAPTERS, recordGeneration } from "../../src/models/programs.ts";
import { definitionOf } from "../../src/models/registry.ts";
import { linearTargets } from "../../src/models/targets.ts";

export interface Answer<T> {
  readonly kernels: string;
  readonly threads: number;
  readonly result: T;
}

/** The conformance suite: what failed. */
export async function conformance(options: WasmOptions): Promise<Answer<string[]>> {
  const backend = await WasmBackend.create(options);
  const reference = new ReferenceBackend();
  const result: string[] = [];
  for (const c of CASES) result.push(...(await failures(backend, reference, c)));
  backend.close();
  return { kernels: backend.kernels, threads: backend.threads, result };
}

/** Ids that a model chooses, the likeliest each time, and the sum of the last logits. */
export async function story(
  files: { config: string; weights: Uint8Array },
  tokens: number,
  options: WasmOptions,
): Promise<Answer<{ ids: number[]; sum: number }>> {
  const backend = await WasmBackend.create(options);
  const config = parseConfig("config.json", files.config);
  const ctx = Math.min(512, config.max_position_embeddings);
  const definition = definitionOf(config.model_type, "config.json");
  const program = fuse(recordGeneration(definition, config, ctx));
  const executable = backend.compile(program, { T: 8, S: 1, R: 1 });
  const bytes = files.weights;
  const { tensors } = await readSafetensors({
    name: "model.safetensors",
    size: bytes.length,
    read: async (offset, length) => bytes.subarray(offset, offset + length),
    close: async () => {},
  });
  const tables = modelTables(config, ctx);
  for (const { name } of program.params) {
    const table = tables.get(name!);
    const info = table ? undefined : asWeight(tensors.get(name!)!);
    executable.bind(
      name!,
      table ? backend.dense("f32", table.shape, table.data) : await backend.weight({ ...info!, name: name! }),
    );
  }
  const { num_hidden_layers: layers, num_key_value_heads, head_dim } = config;
  const pages = Math.ceil(ctx / PAGE);
  executable.bind(KV, backend.kv({ layers, num_key_value_heads, head_dim, pages, type: "f16" }));

  executable.bind(ADAPTERS, backend.adapters(1, [...linearTargets(definition, config).values()]));

  const ids = [1, 2, 3, 4, 5];
  const logits = new Float32Array(config.vocab_size);
  for (let past = 0; ids.length < tokens; ) {
    const fed = ids.slice(past);
    await executable.run(
      { T: fed.length, S: 1, R: 1 },
      {
        tokens: Int32Array.from(fed),
        positions: Int32Array.from(fed, (_, i) => past + i),
        segments: Int32Array.of(0, fed.length, past, -1),
        pages: Int32Array.from({ length: pages }, (_, i) => i),
        rows: Int32Array.of(fed.length - 1),
      },
    );
    past = ids.length;
    executable.read("logits", logits);
    ids.push(logits.reduce((best, x, i) => (x > logits[best]! ? i : best), 0));
  }
  backend.close();
  const result = { ids, sum: logits.reduce((a, b) => a + b, 0) };
  return { kernels: backend.kernels, threads: backend.threads, result };
}
