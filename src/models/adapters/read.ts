// Reading an adapter for a model that is loaded: the model's headers are opened again, as DoRA asks for its weights.

import { openModel } from "../open.ts";
import { type LoadedAdapter, loadAdapter } from "./load.ts";
import { openAdapter } from "./open.ts";

/**
 * Reads the adapter at `path`. `known` gives what is loaded of the same digest: it is not read again then.
 * @throws {Error} as `openAdapter` and `loadAdapter`
 */
export type AdapterLoader = (
  path: string,
  known: (digest: string) => LoadedAdapter | undefined,
  signal?: AbortSignal,
) => Promise<LoadedAdapter>;

/** Reads adapters for the model at a path. */
export function adapterLoader(model: string): AdapterLoader {
  return async (path, known, signal) => {
    const adapter = await openAdapter(path, signal);
    try {
      const there = known(adapter.digest);
      if (there) return there;
      const base = await openModel(model);
      try {
        return await loadAdapter(adapter, base, signal);
      } finally {
        await base.close();
      }
    } finally {
      await adapter.close();
    }
  };
}
