// The one call of this folder.

import type { Model } from "../generate/model.ts";
import { evaluateText, type TextOptions, type TextResult } from "./text.ts";

/**
 * Perplexity of a text, and against a `base` how far the model is from it.
 * @throws {RangeError | TypeError} on an empty text, one shorter than a window, or a base of another vocabulary
 * An abort of `signal` rejects with its reason; `onProgress` has what was finished until then.
 */
export function evaluate(model: Model, options: TextOptions): Promise<TextResult> {
  return evaluateText(model, options);
}
