// One step of a runtime, straight through the executable: what a scheduler does, without one.
import type { Backend } from "../../src/engine/index.ts";
import { createRuntime, openModel, type Runtime } from "../../src/models/index.ts";

/** Tokens of one sequence in a step. */
export interface Part {
  readonly ids: readonly number[];
  /** Tokens of the sequence that are in the cache already. */
  readonly past: number;
  /** The sequence's page numbers, in order. The first is its row of a recurrent state too. */
  readonly pages: readonly number[];
}

/** Runs the parts as one step and gives the logits of every token: [T][vocab_size]. */
export async function step(runtime: Runtime, parts: readonly Part[]): Promise<Float32Array[]> {
  const tokens = parts.flatMap((part) => part.ids);
  const positions = parts.flatMap((part) => part.ids.map((_, i) => part.past + i));
  let start = 0;
  const segments = parts.flatMap((part) => {
    const row = [start, part.ids.length, part.past, -1];
    start += part.ids.length;
    return row;
  });
  const P = runtime.pagesPerSequence;
  const pages = parts.flatMap((part) => Array.from({ length: P }, (_, i) => part.pages[i] ?? 0));
  const i32 = (list: readonly number[]) => Int32Array.from(list);
  await runtime.executable.run(
    { T: tokens.length, S: parts.length, R: tokens.length },
    {
      tokens: i32(tokens),
      positions: i32(positions),
      segments: i32(segments),
      pages: i32(pages),
      slots: i32(parts.flatMap(({ past, pages }) => [past > 0 ? pages[0]! : -1, pages[0]!])),
      rows: i32(tokens.map((_, i) => i)),
    },
  );
  return tokens.map((_, r) => {
    const row = new Float32Array(runtime.vocab_size);
    runtime.executable.read("logits", row, r * runtime.vocab_size);
    return row;
  });
}

/** Index of the largest value, the lowest of equals. */
export function argmax(row: ArrayLike<number>): number {
  let best = 0;
  for (let i = 1; i < row.length; i++) if (row[i]! > row[best]!) best = i;
  return best;
}

/** A model with an f32 cache on a backend of its own, for as long as `use` takes. */
export async function withRuntime(
  make: () => Backend | Promise<Backend>,
  path: string,
  ctx: number,
  use: (runtime: Runtime) => Promise<void>,
): Promise<void> {
  const backend = await make();
  const model = await openModel(path);
  try {
    const runtime = await createRuntime(model, backend, {
      ctx,
      kv: "f32",
      cacheTokens: 1024,
      maxima: { T: 256, S: 4, R: 256 },
    });
    await use(runtime);
    runtime.close();
  } finally {
    await model.close();
    backend.close();
  }
}
