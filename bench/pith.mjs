// pith as one engine of the comparison: its own process, through the public library alone.
import { answer } from "./child.mjs";

const pith = await import("../dist/index.js").catch((error) => ({ error }));
/** @type {any} */
let model;

answer({
  async load({ file, threads, ctx }) {
    if ("error" in pith)
      throw new Error(`Cannot import dist/index.js (run "npm run build"): ${pith.error.message}`);
    await model?.close();
    model = await pith.loadModel(file, { threads, ctx, kv: "f16" });
  },
  async *generate(ids, tokens) {
    for await (const part of model.generate(ids, { maxTokens: tokens, temperature: 0, ignoreEos: true }))
      yield part.id;
  },
  about: async () => ({
    engine: "pith",
    backend: model.backend,
    kernels: model.kernels,
    threads: model.threads,
  }),
});
