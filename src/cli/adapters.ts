// Adapters on the command line: --adapter path[=scale], as often as wanted; all of them count together.

import { existsSync } from "node:fs";
import type { AdapterChoice } from "../generate/adapters.ts";
import type { Model } from "../generate/model.ts";

export interface AdapterSpec {
  readonly path: string;
  readonly scale: number;
}

/** `path` or `path=number`, 1 where there is none; a path that is there counts as it stands, whatever is in it. */
export function pathAndNumber(text: string, of: string, what: string): { path: string; number: number } {
  const at = text.lastIndexOf("=");
  const digits = text.slice(at + 1);
  if (at < 1 || existsSync(text)) return { path: text, number: 1 };
  const number = Number(digits);
  if (digits.trim() === "" || !Number.isFinite(number))
    throw new TypeError(
      `Cannot use ${of} ${JSON.stringify(text)}: its ${what} is ${JSON.stringify(digits)}, wanted a number`,
    );
  return { path: text.slice(0, at), number };
}

export function parseAdapter(text: string): AdapterSpec {
  const { path, number } = pathAndNumber(text, "--adapter", "scale");
  return { path, scale: number };
}

/** Attaches what --adapter names. */
export async function attachAdapters(
  model: Model,
  texts: readonly string[] | undefined,
): Promise<AdapterChoice | undefined> {
  if (texts === undefined || texts.length === 0) return undefined;
  const choice: AdapterChoice[] = [];
  for (const { path, scale } of texts.map(parseAdapter))
    choice.push({ adapter: await model.adapter(path, { name: path }), scale });
  return choice as AdapterChoice;
}
