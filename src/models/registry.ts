// The model types that exist. A new one is a file beside this and a line here.

import type { Definition } from "./definition.ts";
import { llama } from "./llama.ts";
import { qwen2 } from "./qwen2.ts";

export const MODEL_TYPES: Readonly<Record<string, Definition>> = { llama, qwen2 };

/**
 * The definition of a model type.
 * @param file what the error calls the model
 * @throws {TypeError} for a type that does not exist, with those that do.
 */
export function definitionOf(model_type: string, file: string): Definition {
  const known = Object.hasOwn(MODEL_TYPES, model_type) ? MODEL_TYPES[model_type] : undefined;
  if (!known)
    throw new TypeError(
      `Cannot open ${JSON.stringify(file)}: its model type is ${JSON.stringify(model_type.slice(0, 60))}, wanted one of ${Object.keys(MODEL_TYPES).join(", ")}`,
    );
  return known;
}
