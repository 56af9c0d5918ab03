// pith as one engine of the comparison: its own process, through the public library alone.
import { answer } from "./child.mjs";

const pith = await import("../dist/index.js").catch((error) => ({ error }));
/** @type {import("../dist/index.js").Model | undefined} */
let model;
/** Random weights may choose an end token; a measurement goes on. @type {Record<number, number>} */
let noEnd = {};

answer({
  async load({ file, threads, ctx, sequences }) {
    if ("error" in pith) {
      throw new Error(`Cannot import dist/index.js (run "npm run build"): ${pith.error.message}`);
    }
    await model?.close();
    model = await pith.loadModel(file, { threads, ctx, sequences, kv: "f16" });
    const ends = [...model.generationConfig.eos_token_id, ...model.tokenizer.eosIds];
    noEnd = Object.fromEntries(ends.map((id) => [id, Number.NEGATIVE_INFINITY]));
  },
  async generate(ids, tokens) {
    if (!model) throw new Error("Cannot generate: no model is loaded");
    const start = performance.now();
    const generation = model.generate(ids, { maxTokens: tokens, temperature: 0, logitBias: noEnd });
    for await (const _ of generation);
    const { stats, ids: made } = await generation;
    if (made.length !== tokens)
      throw new Error(`Cannot measure: ${made.length} tokens came, wanted ${tokens}`);
    return { first: start + stats.firstTokenMs, last: start + stats.totalMs };
  },
  about: async () => ({ engine: "pith", ...model?.backend }),
});
