// llama.cpp as the reference that pith must agree with: token ids, and raw logits at every position.
import { GgmlType, getLlama, LlamaLogLevel } from "node-llama-cpp";

const openLlama = () =>
  getLlama({
    gpu: false,
    build: "never",
    skipDownload: true,
    progressLogs: false,
    logLevel: LlamaLogLevel.error,
  });

/**
 * Open a model with an f32 KV cache.
 * @param {string} file @param {number} ctx @param {{ filePath: string, scale: number }[]} [adapters] GGUF files
 */
export async function openReference(file, ctx, adapters = []) {
  const llama = await openLlama();
  const model = await llama.loadModel({ modelPath: file });
  const context = await model.createContext({
    contextSize: ctx,
    batchSize: ctx,
    threads: 2,
    // llama.cpp's flash attention turns an f32 cache into f16 on the way.
    flashAttention: false,
    experimentalKvCacheKeyType: GgmlType.F32,
    experimentalKvCacheValueType: GgmlType.F32,
    ignoreMemorySafetyChecks: true,
    ...(adapters.length > 0 && { lora: { adapters } }),
  });
  const sequence = context.getSequence();
  return {
    release: llama.llamaCppRelease.release,
    kv: `${GgmlType[context.kvCacheKeyType]}/${GgmlType[context.kvCacheValueType]}`,
    vocabSize: model.fileInfo.metadata.tokenizer.ggml.tokens.length,
    /** Ids of plain text: control tokens in it are text. @param {string} text @returns {number[]} */
    tokenize: (text) => [...model.tokenize(text, false)],
    /** Logits after each of `ids`, as they come: `onRow(position, logits)`. @param {number[]} ids @param {(position: number, logits: Float32Array) => void} onRow */
    async logits(ids, onRow) {
      await sequence.clearHistory();
      const vocab = this.vocabSize;
      // A few at a time: each position's logits come as a Map of the whole vocabulary.
      for (let from = 0; from < ids.length; from += 16) {
        const part = ids.slice(from, from + 16);
        const input = part.map((id) => /** @type {any} */ ([id, { generateNext: { logits: true } }]));
        const results = await sequence.controlledEvaluate(input);
        for (const [i, result] of results.entries()) {
          const row = new Float32Array(vocab).fill(Number.NaN);
          for (const [id, value] of result?.next.logits ?? []) row[id] = value;
          onRow(from + i, row);
        }
      }
    },
    close: () => llama.dispose(),
  };
}

/** Open an encoder for vectors of texts. @param {string} file */
export async function openEmbeddings(file) {
  const llama = await openLlama();
  const model = await llama.loadModel({ modelPath: file });
  const context = await model.createEmbeddingContext({ threads: 2, ignoreMemorySafetyChecks: true });
  return {
    /** @param {string} text @returns {Promise<readonly number[]>} */
    vector: async (text) => (await context.getEmbeddingFor(text)).vector,
    close: () => llama.dispose(),
  };
}
