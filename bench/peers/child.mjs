// node-llama-cpp as one engine of the comparison: its own process, its own package folder.
import { answer } from "../child.mjs";
import { llama } from "./llama.mjs";

/** @type {import("node-llama-cpp").LlamaModel} */
let model;
/** @type {import("node-llama-cpp").LlamaContext} */
let context;
/** @type {import("node-llama-cpp").LlamaContextSequence[]} */
const idle = [];

answer({
  async load({ file, threads, ctx, sequences }) {
    model ??= await llama.loadModel({ modelPath: file });
    idle.length = 0;
    await context?.dispose();
    context = await model.createContext({
      contextSize: ctx,
      sequences,
      batchSize: Math.min(ctx, 512),
      threads,
      ignoreMemorySafetyChecks: true,
    });
    for (let i = 0; i < sequences; i++) idle.push(context.getSequence());
  },
  async generate(ids, tokens) {
    const sequence = idle.pop();
    if (!sequence) throw new Error("Cannot generate: no sequence is free");
    try {
      await sequence.clearHistory();
      let count = 0;
      let first = 0;
      const stream = sequence.evaluate(/** @type {any} */ (ids), { yieldEogToken: true });
      for await (const _ of stream) {
        if (count++ === 0) first = performance.now();
        if (count === tokens) break;
      }
      return { first, last: performance.now() };
    } finally {
      idle.push(sequence);
    }
  },
  about: async () => ({
    engine: "node-llama-cpp",
    release: llama.llamaCppRelease.release,
    threads: context.currentThreads,
  }),
});
