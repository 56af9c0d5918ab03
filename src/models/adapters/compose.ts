// Adapters with scales become the changes of linears that a backend takes. Several are one: their ranks end to end.

import type { LinearChange } from "../../engine/backend.ts";
import { quote } from "../../formats/errors.ts";
import type { LinearTarget } from "../targets.ts";
import { doraFactors, type LoadedAdapter, type LoadedChange } from "./load.ts";

export interface ScaledAdapter {
  readonly adapter: LoadedAdapter;
  /** Times its own alpha / rank. Whole weights that it replaces are not scaled. */
  readonly scale: number;
}

/** Names what a sequence runs with: digests and scales, in order. "" is the base alone. */
export function adapterKey(adapters: readonly ScaledAdapter[]): string {
  return adapters.map(({ adapter, scale }) => `${adapter.digest}=${scale}`).join("+");
}

/**
 * Linear -> change, by the linear's index. Applied one after the other, as PEFT does with several active adapters:
 * y <- y + s B A x, and with DoRA y <- g (y + s B A x). So for all together y <- G (y + [B₁/G₁ B₂/G₂ ..] [A₁; A₂; ..] x),
 * where Gᵢ is the product of the factors before adapter i and G of all.
 * @throws {RangeError} where two change one linear in ways that do not add up
 */
export function composeAdapters(
  adapters: readonly ScaledAdapter[],
  targets: ReadonlyMap<string, LinearTarget>,
): Map<number, LinearChange> {
  const changes = new Map<number, LinearChange>();
  for (const [path, { index, N, K }] of targets) {
    const own = adapters.flatMap(({ adapter, scale }) => {
      const change = adapter.changes.get(path);
      return change ? [{ change, scale }] : [];
    });
    if (own.length === 0) continue;
    if (own.some(({ change }) => "replaced" in change)) {
      if (own.length > 1)
        throw new RangeError(
          `Cannot use ${own.length} adapters at once: one replaces ${quote(path)}, which another changes too, wanted one that does`,
        );
      changes.set(index, own[0]!.change as { replaced: Float32Array });
    } else {
      changes.set(index, concatenate(path, own as Own[], N, K));
    }
  }
  return changes;
}

interface Own {
  readonly change: Exclude<LoadedChange, { replaced: Float32Array }>;
  readonly scale: number;
}

function concatenate(path: string, own: readonly Own[], N: number, K: number): LinearChange {
  const rank = own.reduce((sum, { change }) => sum + change.rank, 0);
  const a = new Float32Array(rank * K);
  const b = new Float32Array(N * rank);
  let magnitude: Float64Array | undefined;
  let at = 0;
  for (const { change, scale } of own) {
    const s = scale * change.scale;
    a.set(change.a, at * K);
    for (let n = 0; n < N; n++) {
      const before = magnitude ? magnitude[n]! : 1;
      if (before === 0)
        throw new RangeError(
          `Cannot use ${own.length} adapters at once: row ${n} of ${quote(path)} is 0 after a DoRA of magnitude 0, wanted it last`,
        );
      for (let j = 0; j < change.rank; j++)
        b[n * rank + at + j] = (s * change.b[n * change.rank + j]!) / before;
    }
    at += change.rank;
    if (change.dora) {
      const g = doraFactors(change.dora, s, path);
      magnitude = Float64Array.from(g, (x, n) => x * (magnitude ? magnitude[n]! : 1));
    }
  }
  return { a, b, rank, ...(magnitude && { magnitude: Float32Array.from(magnitude) }) };
}
