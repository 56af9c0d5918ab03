// The protocol between the driver and an engine's process: one question at a time over Node's IPC channel.
// An engine answers `load`, `decode`, `prefill`, `batch`, each with a number; between questions it must be idle.
import { performance } from "node:perf_hooks";

/**
 * @typedef {object} Engine
 * @property {(o: { file: string, threads: number, ctx: number, sequences: number }) => Promise<unknown>} load
 * @property {(ids: number[], tokens: number) => Promise<{ first: number, last: number }>} generate so many tokens,
 *   greedily and past any end token, taken one by one as a user would; when the first and the last came, in ms of
 *   `performance.now()`
 * @property {() => Promise<Record<string, unknown>>} about what the engine says of itself
 */

/**
 * Token ids that no cache of prefixes has seen, from the middle of any vocabulary used here.
 * @param {number} count @param {number} seed
 */
export function promptIds(count, seed) {
  let x = (Math.imul(seed + 1, 0x9e3779b1) ^ 0x2545f491) >>> 0;
  return Array.from({ length: count }, () => {
    x = (Math.imul(x, 1664525) + 1013904223) >>> 0;
    return 300 + ((x >>> 8) % 40000);
  });
}

let seed = Math.floor(performance.now() * 1e3) + process.pid;

/** Answer the driver until it closes the channel. @param {Engine} engine */
export function answer(engine) {
  /** @type {Record<string, (args: any) => Promise<unknown>>} */
  const verbs = {
    load: async (args) => {
      const start = performance.now();
      await engine.load(args);
      return performance.now() - start;
    },
    about: () => engine.about(),
    /** ms a token, after `past` tokens; the first token ends the prompt and is not counted. */
    decode: async ({ past, tokens }) => {
      const { first, last } = await engine.generate(promptIds(past, seed++), tokens + 1);
      return (last - first) / tokens;
    },
    /** ms a token of a prompt, from its ids to the first token after it. */
    prefill: async ({ tokens }) => {
      const start = performance.now();
      return ((await engine.generate(promptIds(tokens, seed++), 1)).first - start) / tokens;
    },
    /** ms a token of any sequence, once every sequence has its first. */
    batch: async ({ sequences, past, tokens }) => {
      const all = await Promise.all(
        Array.from({ length: sequences }, () => engine.generate(promptIds(past, seed++), tokens + 1)),
      );
      const start = Math.max(...all.map((t) => t.first));
      const end = Math.max(...all.map((t) => t.last));
      // A sequence that began earlier made some of its tokens before `start`.
      const made = all.reduce((sum, t) => sum + (tokens * (t.last - start)) / (t.last - t.first), 0);
      return (end - start) / made;
    },
    usage: async () => {
      const { userCPUTime, systemCPUTime, maxRSS } = process.resourceUsage();
      return { cpuMs: (userCPUTime + systemCPUTime) / 1e3, peakRssMib: maxRSS / 1024 };
    },
  };
  process.on("message", async (/** @type {{ verb: string, args: unknown }} */ { verb, args }) => {
    try {
      process.send?.({ value: await verbs[verb](args) });
    } catch (error) {
      process.send?.({ error: error instanceof Error ? error.message : String(error) });
    }
  });
  process.on("disconnect", () => process.exit(0));
  process.send?.({ value: "ready" });
}
