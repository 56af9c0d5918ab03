// How fast a loaded model is, measured through the public API: prompt, answer, eight at once, and a long past.

import { NativeBackend } from "../engine/backends/native.ts";
import type { Model } from "./model.ts";

/** Read in a round of `readBandwidth`: more than any cache holds. */
const READ_BYTES = 256 * 2 ** 20;

export interface BenchResult {
  /** A prompt of `prefill_tokens`, alone. */
  readonly prefill_tokens_per_second: number;
  readonly prefill_tokens: number;
  /** One sequence. */
  readonly decode_tokens_per_second: number;
  /** All tokens of eight sequences at once. */
  readonly decode_8_tokens_per_second: number;
  /** Milliseconds that `past_tokens` of past add to a token; absent where the context has no room for them. */
  readonly past_added_ms?: number;
  readonly past_tokens?: number;
  /** Bytes of weights that a token reads, times decode speed. */
  readonly decode_bytes_per_second: number;
}

export interface BenchOptions {
  /** Rounds of each; the median counts. Default 5. */
  readonly rounds?: number;
  /** Tokens of an answer. Default 64. */
  readonly tokens?: number;
  /** Whether a long past is measured, too, which takes longer than all the rest. Default true. */
  readonly past?: boolean;
  readonly signal?: AbortSignal;
  /** Called after each round, e.g. to measure memory beside it. */
  readonly onRound?: (round: number) => void;
}

/** Measures. Takes as long as rounds · (a prompt of 512 + about 10 answers). */
export async function bench(model: Model, options: BenchOptions = {}): Promise<BenchResult> {
  const { rounds = 5, onRound } = options;
  const room = model.ctx - 2;
  const tokens = Math.max(1, Math.min(options.tokens ?? 64, room >> 1));
  const prefill = Math.min(512, room);
  const past = options.past !== false && model.ctx >= 2048 + tokens + 1 ? 2048 : undefined;
  const speeds: Record<"prefill" | "decode" | "eight" | "past", number[]> = {
    prefill: [],
    decode: [],
    eight: [],
    past: [],
  };
  const run = (promptTokens: number, maxTokens: number) =>
    model.generate(randomIds(promptTokens, model.config.vocab_size), {
      maxTokens,
      temperature: 0,
      logitBias: noEnd(model),
      ...(options.signal && { signal: options.signal }),
    });
  await run(Math.min(8, room), 2); // memory is touched, threads are awake
  for (let round = 0; round < rounds; round++) {
    speeds.prefill.push((await run(prefill, 1)).stats.promptTokensPerSecond);
    speeds.decode.push((await run(Math.min(8, room >> 1), tokens)).stats.tokensPerSecond);
    const eight = await Promise.all(Array.from({ length: 8 }, () => run(Math.min(8, room >> 1), tokens)));
    speeds.eight.push(
      together(
        eight.map((result) => result.stats),
        tokens,
      ),
    );
    if (past !== undefined) speeds.past.push((await run(past, tokens)).stats.tokensPerSecond);
    onRound?.(round);
  }
  const decode = median(speeds.decode);
  return {
    prefill_tokens_per_second: median(speeds.prefill),
    prefill_tokens: prefill,
    decode_tokens_per_second: decode,
    decode_8_tokens_per_second: median(speeds.eight),
    ...(past !== undefined && {
      past_added_ms: 1000 / median(speeds.past) - 1000 / decode,
      past_tokens: past,
    }),
    decode_bytes_per_second: decode * model.bytes.perToken,
  };
}

/** Tokens a second of sequences that started together, after the first token of the last of them. */
function together(stats: readonly { firstTokenMs: number; totalMs: number }[], tokens: number): number {
  const first = Math.max(...stats.map((s) => s.firstTokenMs));
  const end = Math.max(...stats.map((s) => s.totalMs));
  return (stats.length * (tokens - 1) * 1000) / (end - first);
}

/** Bytes a second of a plain read of memory, where the addon can measure it. */
export function readBandwidth(threads: number): number | undefined {
  if (!NativeBackend.available()) return undefined;
  const backend = new NativeBackend({ threads });
  try {
    return backend.addon.bandwidth(READ_BYTES, threads, 2);
  } finally {
    backend.close();
  }
}

/** An end token would make an answer shorter than what is measured. */
export function noEnd(model: Model): Record<number, number> {
  return Object.fromEntries([...model.eosIds].map((id) => [id, -Infinity]));
}

/** Different ones each time: nothing may be found in the cache. */
export function randomIds(n: number, vocab_size: number): number[] {
  return Array.from({ length: n }, () => Math.floor(Math.random() * vocab_size));
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}
