// Parameters with fewer rows and columns: read from the model's file by the rows that stay, in the type that they have.

import { dequantize, WEIGHT_TYPES } from "../engine/weights.ts";
import type { Config, Definition, RowSource } from "../models/index.ts";
import { axesOf, type Kept, keptIndices } from "./layout.ts";

/** The parameters of the smaller model, of the old ones' rows. @param factors of norms, by the old names */
export function slicedRows(
  rows: readonly RowSource[],
  kept: Kept,
  config: Config,
  smaller: { readonly definition: Definition; readonly config: Config },
  factors: ReadonlyMap<string, number>,
): RowSource[] {
  const old = new Map(rows.map((row) => [row.name, row]));
  return [...smaller.definition.params(smaller.config)].map(([name, shape]) => {
    const { axes, layer } = axesOf(name);
    const from = layer === undefined ? name : name.replace(`.${layer}.`, `.${kept.layers[layer]}.`);
    const source = old.get(from)!;
    const [rows, columns] = axes.map((axis) => keptIndices(axis, kept, layer, config));
    const sliced = slice(source, name, rows!, columns);
    if (sliced.shape.join() !== shape.join())
      throw new RangeError(
        `Cannot prune ${JSON.stringify(from)}: [${sliced.shape}] of it would stay, wanted [${shape}]`,
      );
    const factor = factors.get(from);
    return factor === undefined ? sliced : scaled(sliced, factor);
  });
}

/** Whole rows are read, runs of them at once. Float types only, so that a column is 2 or 4 bytes. */
function slice(
  source: RowSource,
  name: string,
  rows: Int32Array,
  columns: Int32Array | undefined,
): RowSource {
  const { type, order, shape } = source;
  const cols = shape.length > 1 ? shape.at(-1)! : 1;
  const all = columns === undefined || columns.length === cols;
  const width = all ? cols : columns.length;
  const Values = WEIGHT_TYPES[type].blockBytes === 2 ? Uint16Array : Uint32Array;
  return {
    name,
    shape: columns ? [rows.length, width] : [rows.length],
    type,
    order,
    async read(first, count) {
      const out = new Values(count * width);
      for (let at = first; at < first + count; ) {
        let end = at + 1;
        while (end < first + count && rows[end] === rows[end - 1]! + 1) end++;
        const bytes = await source.read(rows[at]!, end - at);
        const found = new Values(bytes.slice().buffer);
        const to = (at - first) * width;
        if (all) out.set(found, to);
        else
          for (let r = 0; r < end - at; r++)
            for (let c = 0; c < width; c++) out[to + r * width + c] = found[r * cols + columns[c]!]!;
        at = end;
      }
      return new Uint8Array(out.buffer);
    },
  };
}

function scaled(source: RowSource, factor: number): RowSource {
  return {
    ...source,
    type: "f32",
    async read(first, count) {
      const values = new Float32Array(count);
      dequantize(source.type, await source.read(first, count), values);
      return new Uint8Array(values.map((x) => x * factor).buffer);
    },
  };
}
