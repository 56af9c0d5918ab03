// What `pith inspect` shows of an adapter: plain data from its headers.

import { readdir, stat } from "node:fs/promises";
import { getString, openFile, readGguf, sniff } from "../../formats/index.ts";
import { type OpenedAdapter, rankOf } from "./adapter.ts";
import { PEFT_CONFIG } from "./peft.ts";

/** JSON-able. */
export interface AdapterInspection {
  readonly name: string;
  readonly format: "peft" | "gguf";
  readonly digest: string;
  /** The model that it says it was made for. */
  readonly made_for: string | null;
  readonly rank: number;
  readonly dora: boolean;
  readonly parameters: number;
  /** Of the files' tensors. */
  readonly bytes: number;
  /** Low-rank pairs by the last part of their paths, with the smallest and largest rank and scale. */
  readonly modules: readonly {
    readonly name: string;
    readonly count: number;
    readonly rank: readonly [number, number];
    readonly scale: readonly [number, number];
  }[];
  /** Parameters that it replaces as a whole. */
  readonly saved: readonly string[];
}

export function inspectAdapter(adapter: OpenedAdapter): AdapterInspection {
  const pairs = [...adapter.pairs, ...adapter.embeddings];
  const tensors = [
    ...pairs.flatMap(([, { a, b, magnitude }]) => (magnitude ? [a, b, magnitude] : [a, b])),
    ...adapter.saved.values(),
  ];
  const names = new Map<string, { rank: number; scale: number }[]>();
  for (const [path, { rank, scale }] of pairs) {
    const name = path.slice(path.lastIndexOf(".") + 1);
    names.set(name, [...(names.get(name) ?? []), { rank, scale }]);
  }
  const range = (values: readonly number[]) => [Math.min(...values), Math.max(...values)] as const;
  return {
    name: adapter.name,
    format: adapter.format,
    digest: adapter.digest,
    made_for: adapter.madeFor ?? null,
    rank: rankOf(adapter),
    dora: pairs.some(([, { magnitude }]) => magnitude !== undefined),
    parameters: tensors.reduce((sum, { shape }) => sum + shape.reduce((a, b) => a * b, 1), 0),
    bytes: tensors.reduce((sum, { bytes }) => sum + bytes, 0),
    modules: [...names].map(([name, all]) => ({
      name,
      count: all.length,
      rank: range(all.map(({ rank }) => rank)),
      scale: range(all.map(({ scale }) => scale)),
    })),
    saved: [...adapter.saved.keys()],
  };
}

/** Whether a path is an adapter and no model. */
export async function isAdapter(path: string): Promise<boolean> {
  const found = await stat(path).catch(() => undefined);
  if (!found) return false;
  if (found.isDirectory()) {
    const names = await readdir(path);
    return names.includes(PEFT_CONFIG) && !names.includes("config.json");
  }
  const source = await openFile(path);
  try {
    return (
      (await sniff(source)) === "gguf" && getString(await readGguf(source), "general.type") === "adapter"
    );
  } finally {
    await source.close();
  }
}
