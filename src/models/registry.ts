// The model types that exist. A new one is a file beside this and a line here.

import { bert } from "./bert.ts";
import type { Definition } from "./definition.ts";
import { gemma3, gemma3_text } from "./gemma3_text.ts";
import { gemma4, gemma4_text } from "./gemma4_text.ts";
import { gpt2 } from "./gpt2.ts";
import { granite } from "./granite.ts";
import { lfm2 } from "./lfm2.ts";
import { llama } from "./llama.ts";
import { mistral } from "./mistral.ts";
import { phi3 } from "./phi3.ts";
import { qwen2 } from "./qwen2.ts";
import { qwen3 } from "./qwen3.ts";
import { qwen3_5, qwen3_5_text } from "./qwen3_5.ts";
import { smollm3 } from "./smollm3.ts";

export const MODEL_TYPES: Readonly<Record<string, Definition>> = {
  llama,
  mistral,
  qwen2,
  qwen3,
  phi3,
  smollm3,
  granite,
  lfm2,
  qwen3_5_text,
  qwen3_5,
  gemma3_text,
  gemma3,
  gemma4_text,
  gemma4,
  gpt2,
  bert,
};

/**
 * The definition of a model type.
 * @param file what the error calls the model
 * @throws {TypeError} for a type that does not exist, with those that do.
 */
export function definitionOf(model_type: string, file: string): Definition {
  const known = Object.hasOwn(MODEL_TYPES, model_type) ? MODEL_TYPES[model_type] : undefined;
  if (!known) throw unknown("its model type", model_type, Object.keys(MODEL_TYPES), file);
  return known;
}

/**
 * The definition of what a GGUF file calls its architecture: of those that share one, the first, or with a window the
 * first that can have one.
 * @throws {TypeError} for one that does not exist, with those that do.
 */
export function definitionOfGguf(architecture: string, windowed: boolean, file: string): Definition {
  const all = Object.values(MODEL_TYPES);
  const sharing = all.filter(({ gguf }) => gguf.architecture === architecture);
  const names = [...new Set(all.map(({ gguf }) => gguf.architecture))];
  if (!sharing[0]) throw unknown("general.architecture", architecture, names, file);
  return sharing.find(({ sliding }) => windowed && sliding) ?? sharing[0];
}

function unknown(what: string, found: string, known: string[], file: string): TypeError {
  return new TypeError(
    `Cannot open ${JSON.stringify(file)}: ${what} is ${JSON.stringify(found.slice(0, 60))}, wanted one of ${known.join(", ")}`,
  );
}
