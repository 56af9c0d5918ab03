// Opening an adapter by path: a PEFT folder, or a GGUF file.

import { stat } from "node:fs/promises";
import { openFile, sniff } from "../../formats/index.ts";
import type { OpenedAdapter } from "./adapter.ts";
import { openGgufAdapter } from "./gguf-adapter.ts";
import { openPeft } from "./peft.ts";

/**
 * Opens an adapter: headers and identity; no value is read.
 * @param path a folder with adapter_config.json and adapter_model.safetensors, or a GGUF adapter
 * @throws {Error} naming the file, what was found and what was wanted
 */
export async function openAdapter(path: string, signal?: AbortSignal): Promise<OpenedAdapter> {
  signal?.throwIfAborted();
  const found = await stat(path).catch(() => undefined);
  if (!found)
    throw new Error(
      `Cannot open adapter ${JSON.stringify(path)}: found no such file or folder, wanted a PEFT folder or a GGUF adapter`,
    );
  if (found.isDirectory()) return openPeft(path, signal);
  const source = await openFile(path);
  try {
    if ((await sniff(source)) === "safetensors")
      throw new TypeError(
        `Cannot open adapter ${JSON.stringify(path)}: found a safetensors file, wanted a folder or a GGUF file; give the folder that it lies in`,
      );
  } finally {
    await source.close();
  }
  return openGgufAdapter(path, signal);
}
