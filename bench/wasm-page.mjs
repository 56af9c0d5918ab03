// What bench/wasm.mjs runs inside a page of Chromium: pith's WebAssembly backend from dist/, and wllama (llama.cpp built to
// WebAssembly) from bench/peers. Each gives decode(past, tokens) and prefill(tokens), in ms a token.
const argmax = (/** @type {Float32Array} */ x) => {
  let best = 0;
  for (let i = 1; i < x.length; i++) if (x[i] > x[best]) best = i;
  return best;
};

/** @param {{ model: string, threads: number, kernels: "relaxed-simd" | "simd128", prompt: number }} options */
export async function pith({ model, threads, kernels, prompt }) {
  const at = async (/** @type {string} */ path) => import(`/dist/${path}.js`);
  const { WasmBackend } = await at("engine/backends/wasm");
  const { fuse } = await at("engine/fuse");
  const { readGguf } = await at("formats/gguf");
  const { asWeight } = await at("formats/tensors");
  const { configFromGguf, ggufDefinition } = await at("models/gguf-config");
  const { fromGgufName, interleavedHeads } = await at("models/gguf-names");
  const { KV, modelTables } = await at("models/layers");
  const { ADAPTERS, recordGeneration } = await at("models/programs");
  const { linearTargets } = await at("models/targets");

  const bytes = new Uint8Array(await (await fetch(model)).arrayBuffer());
  const gguf = await readGguf({
    name: model,
    size: bytes.length,
    read: async (/** @type {number} */ offset, /** @type {number} */ length) =>
      bytes.subarray(offset, offset + length),
    close: async () => {},
  });
  const definition = ggufDefinition(gguf);
  const config = configFromGguf(gguf);
  const tensors = new Map();
  for (const [name, info] of gguf.tensors) tensors.set(fromGgufName(definition.gguf.names, name), info);
  const ctx = 1024;
  const backend = await WasmBackend.create({ threads, kernels });
  const program = fuse(recordGeneration(definition, config, ctx));
  const executable = backend.compile(program, { T: prompt, S: 1, R: 1 });
  const tables = modelTables(config, ctx);
  for (const { name } of program.params) {
    const table = tables.get(name);
    if (table) {
      executable.bind(name, backend.dense("f32", table.shape, table.data));
      continue;
    }
    const { type, shape, offset, bytes: length, source } = asWeight(tensors.get(name));
    if (shape.length === 1) {
      const values = new Float32Array((await source.read(offset, length)).slice().buffer); // norms are f32
      executable.bind(name, backend.dense("f32", shape, values));
      continue;
    }
    const heads = interleavedHeads(definition.gguf, config, name);
    const from = { name, source, offset, bytes: length, type, shape };
    executable.bind(name, await backend.weight({ ...from, ...(heads && { interleavedHeads: heads }) }));
  }
  const { num_hidden_layers: layers, num_key_value_heads, head_dim } = config;
  const pages = ctx / 64;
  executable.bind(KV, backend.kv({ layers, num_key_value_heads, head_dim, pages, type: "f16" }));
  executable.bind(ADAPTERS, backend.adapters(1, [...linearTargets(definition, config).values()]));

  const logits = new Float32Array(config.vocab_size);
  /** Feeds ids behind `past` others; gives the likeliest next one. */
  const feed = async (/** @type {number[]} */ ids, /** @type {number} */ past) => {
    await executable.run(
      { T: ids.length, S: 1, R: 1 },
      {
        tokens: Int32Array.from(ids),
        positions: Int32Array.from(ids, (_, i) => past + i),
        segments: Int32Array.of(0, ids.length, past, -1),
        pages: Int32Array.from({ length: pages }, (_, i) => i),
        rows: Int32Array.of(ids.length - 1),
      },
    );
    executable.read("logits", logits);
    return argmax(logits);
  };
  let seed = 0;
  const ids = (/** @type {number} */ n) =>
    Array.from({ length: n }, (_, i) => 1000 + ((seed++ + i * 7919) % 20000));
  return {
    about: `pith in Chromium, ${backend.kernels}, ${backend.threads} threads`,
    decode: async (/** @type {number} */ past, /** @type {number} */ tokens) => {
      let next = await feed(ids(past), 0);
      const start = performance.now();
      for (let i = 0; i < tokens; i++) next = await feed([next], past + i);
      return (performance.now() - start) / tokens;
    },
    prefill: async (/** @type {number} */ tokens) => {
      const prompted = ids(tokens);
      const start = performance.now();
      await feed(prompted, 0);
      return (performance.now() - start) / tokens;
    },
  };
}

/** Prompts of wllama are at most so long: it takes minutes for 512 tokens on a busy machine. */
const WLLAMA_PROMPT = 128;

/** @param {{ model: string, threads: number }} options */
export async function wllama({ model, threads }) {
  const folder = "/bench/peers/node_modules/@wllama/wllama/esm";
  const { Wllama } = await import(`${folder}/index.js`);
  const silent = { debug() {}, log() {}, warn() {}, error: console.error };
  const engine = new Wllama({ default: `${folder}/wasm/wllama.wasm` }, { logger: silent });
  const blob = await (await fetch(model)).blob();
  await engine.loadModel([blob], { n_ctx: 1024, n_batch: 512, n_threads: threads, n_gpu_layers: 0 });
  let seed = 0;
  // Its own times, of which the prompt's are without what was kept of the one before: other words come first.
  const run = async (/** @type {number} */ words, /** @type {number} */ tokens) => {
    const first = ++seed;
    const prompt = Array.from({ length: words }, (_, i) => `${(first * 7919 + i * 104729) % 9973}`).join(" ");
    const { timings } = await engine.createCompletion({
      prompt,
      max_tokens: tokens,
      temperature: 0,
      ignore_eos: true,
    });
    return timings;
  };
  const { prompt_n } = await run(16, 1);
  return {
    about: `wllama in Chromium, ${engine.getNumThreads()} threads`,
    decode: async (/** @type {number} */ past, /** @type {number} */ tokens) => {
      const { predicted_n, predicted_ms } = await run(
        Math.max(1, Math.round((past * 16) / prompt_n)),
        tokens,
      );
      return predicted_ms / predicted_n;
    },
    prefill: async (/** @type {number} */ tokens) => {
      const timings = await run(Math.round((Math.min(tokens, WLLAMA_PROMPT) * 16) / prompt_n), 1);
      return timings.prompt_ms / timings.prompt_n;
    },
  };
}
