// Adapters on the command line: --adapter path[=scale], as often as wanted; all of them count together.

import { existsSync } from "node:fs";
import type { AdapterChoice } from "../generate/adapters.ts";
import type { Model } from "../generate/model.ts";

export interface AdapterSpec {
  readonly path: string;
  readonly scale: number;
}

/** `path` or `path=scale`; a path that is there counts as it stands, whatever is in it. */
export function parseAdapter(text: string): AdapterSpec {
  const at = text.lastIndexOf("=");
  const number = text.slice(at + 1);
  if (at < 1 || existsSync(text)) return { path: text, scale: 1 };
  const scale = Number(number);
  if (number.trim() === "" || !Number.isFinite(scale))
    throw new TypeError(
      `Cannot use --adapter ${JSON.stringify(text)}: its scale is ${JSON.stringify(number)}, wanted a number`,
    );
  return { path: text.slice(0, at), scale };
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
