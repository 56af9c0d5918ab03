// The identity of an adapter: SHA-256 over its files. Read in pieces; the event loop stays free.

import { createHash } from "node:crypto";
import type { Source } from "../../formats/index.ts";

const PIECE_BYTES = 4 * 2 ** 20;

/** SHA-256, in hex, of sources end to end. */
export async function digestOf(sources: readonly Source[], signal?: AbortSignal): Promise<string> {
  const hash = createHash("sha256");
  for (const source of sources)
    for (let at = 0; at < source.size; at += PIECE_BYTES) {
      signal?.throwIfAborted();
      hash.update(await source.read(at, Math.min(PIECE_BYTES, source.size - at)));
    }
  return hash.digest("hex");
}
